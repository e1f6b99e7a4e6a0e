"""The symbols of `analyze --scan`: what the broker's scanner is asked, and the list that an interrupted run keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Protocol

from ..agents.analysis.analysis_store import AnalysisStore
from ..brokers.domain.instrument import Instrument
from ..brokers.domain.scan import MOST_ROWS, ScanRequest
from ..brokers.errors import InvalidRequest, NoData

#: Name of the one row under which a scanned list is kept.
_LIST = "list"


class Scanning(Protocol):
    """The verb of a broker that scans."""

    async def scan(self, request: ScanRequest) -> list[Instrument]: ...


def scan_request(text: str | None) -> ScanRequest | None:
    """`CODE` or `CODE:rows` of the option; None without one. Raises InvalidRequest."""
    if text is None:
        return None
    code, colon, rows = text.strip().partition(":")
    if colon and not (rows.isascii() and rows.isdigit()):
        raise InvalidRequest(f"--scan {text!r:.60}", f"{rows!r:.20} is no number of rows", "write TOP_PERC_GAIN:20")
    return ScanRequest(code.upper(), rows=int(rows) if colon else MOST_ROWS)


async def scanned(broker: Scanning, request: ScanRequest) -> list[str]:
    """Symbols as the scanner ranks them now."""
    return [found.symbol for found in await broker.scan(request)]


class ScannedList:
    """The list of one scan on one trading day: kept until its report is whole, so that a run goes on with it."""

    def __init__(self, store: AnalysisStore, request: ScanRequest, day: date) -> None:
        self._store, self._request = store, request
        self._name = f"scan {request.code}:{request.rows} {day:%Y%m%d}"

    async def symbols(self, broker: Scanning) -> Sequence[str]:
        """The kept list, else what is ranked now. Raises NoData where nothing is ranked."""
        kept = self._store.kept_rows(self._name).get(_LIST)
        if kept is not None:
            return [str(name) for name in json.loads(kept)]
        found = await scanned(broker, self._request)
        if not found:
            raise NoData(str(self._request), "the scanner ranks nothing now", "try another code, or in the session")
        self._store.keep_row(self._name, _LIST, json.dumps(found))
        return found

    def drop(self) -> None:
        self._store.drop_rows(self._name)
