"""The start-up queries of a portal session: what is not known blocks trading, and is asked again (fault C09)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ...errors import BrokerError, DeadlineExceeded, LinkError, RequestFailed
from ..ib_transport import StartupSection

Query = Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class _Section:
    known: bool = False
    why: str = "not asked yet"


class Sections:
    """`deadline` seconds for each query, `again` between attempts at those that failed."""

    def __init__(self, deadline: float, again: float) -> None:
        self._deadline = deadline
        self._again = again
        self._rows: dict[str, _Section] = {}

    def told(self) -> Sequence[StartupSection]:
        return tuple(StartupSection(name, row.known, row.why) for name, row in self._rows.items())

    @property
    def is_known(self) -> bool:
        """Whether every query was answered."""
        return bool(self._rows) and all(row.known for row in self._rows.values())

    def forget(self, why: str) -> None:
        for row in self._rows.values():
            row.known, row.why = False, why

    async def ask(self, queries: Mapping[str, Query]) -> list[str]:
        """Every query at once; the names of those that are not known after it."""
        self._rows = {name: _Section() for name in queries}
        await asyncio.gather(*(self._one(name, query) for name, query in queries.items()))
        return [name for name, row in self._rows.items() if not row.known]

    async def ask_again(self, queries: Mapping[str, Query], is_wanted: Callable[[], bool]) -> None:
        """Until all are known, or nobody wants them any more."""
        while is_wanted() and not self.is_known:
            await asyncio.sleep(self._again)
            unknown = [name for name, row in self._rows.items() if not row.known]
            await asyncio.gather(*(self._one(name, queries[name]) for name in unknown))

    async def _one(self, name: str, query: Query) -> None:
        row = self._rows[name]
        try:
            async with asyncio.timeout(self._deadline):
                await query()
        except TimeoutError:
            error: BrokerError = DeadlineExceeded(
                f"start-up query: {name}", timedelta(seconds=self._deadline), "it is asked again"
            )
            row.known, row.why = False, str(error)
        except (RequestFailed, LinkError) as failure:
            row.known, row.why = False, str(failure)
        else:
            row.known, row.why = True, ""
