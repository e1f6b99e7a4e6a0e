"""The half of a pool that is spread: questions about the market, each at the gateway that should get the next one."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Sequence

from ..domain.instrument import Instrument
from ..domain.market_data import Bar
from ..errors import BrokerError, LinkError, NoPermission, NotSupported
from .ib_pool_lines import PoolLines
from .ib_pool_member import PoolMember
from .ib_question_half import Answer, QuestionHalf
from .ib_shared_lines import SharedLine
from .ib_transport import BarListener, BarRequest, IbTransport

#: Refusals for a gateway's own reasons: another user, or another kind of gateway, may have the answer.
ELSEWHERE = (LinkError, NoPermission, NotSupported)


class PoolQuestions(QuestionHalf):
    """Market data over `candidates`: those who may be asked now, the best first, and never none."""

    lines: PoolLines

    @abc.abstractmethod
    def candidates(self, is_line: bool = False) -> Sequence[PoolMember]: ...

    async def _read(self, ask: Callable[[IbTransport], Awaitable[Answer]]) -> Answer:
        """One question; at another gateway, once each, when one is lost meanwhile or may not answer. The first refusal
        is raised when none does."""
        asked: list[PoolMember] = []
        refusal: BrokerError | None = None
        while True:
            left = [member for member in self.candidates() if member not in asked and (member.is_ready or not asked)]
            if not left:
                assert refusal is not None  # there always is a first candidate, and it refused
                raise refusal
            asked.append(left[0])
            try:
                return await left[0].ask(ask)
            except ELSEWHERE as error:
                refusal = refusal or error

    def subscribe_quotes(self, instrument: Instrument) -> SharedLine:
        return self.lines.subscribe(instrument)

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        self.lines.unsubscribe(instrument)

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        return self.lines.open_stream(instrument, lambda door: door.subscribe_ticks(instrument, kind))

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self.lines.open_stream(instrument, lambda door: door.subscribe_depth(instrument, rows))

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        return self.lines.open_stream(instrument, lambda door: door.subscribe_news(instrument, providers))

    def unsubscribe(self, handle: int) -> None:
        self.lines.close(handle)

    async def live_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        return await self.lines.open_bars(request, listener)
