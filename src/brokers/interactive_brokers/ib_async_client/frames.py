"""From received bytes to messages: framing by offset, with the tick messages decoded on the spot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any

from ib_async.objects import TickAttribBidAsk, TickAttribLast, TickData

if TYPE_CHECKING:
    from .wrapper import LinkWrapper

logger = logging.getLogger(__name__)

#: The largest message that IB's own clients accept; a longer length prefix is garbage.
MAX_FRAME_BYTES = 0xFFFFFF

_length_at = Struct(">I").unpack_from
_new_tick = tuple.__new__


class FrameReader:
    """Splits the byte stream into messages, whatever the reads' boundaries, in time linear in the bytes.

    `on_message(fields)` gets every message but the ticks; `on_malformed(fields, error)` a tick message that could
    not be decoded; `on_corrupt(why)` is called once when the stream can no longer be a TWS stream. After that,
    and after `close`, nothing is read any more.
    """

    def __init__(
        self,
        wrapper: LinkWrapper,
        on_message: Callable[[list[str]], None],
        on_malformed: Callable[[list[str], Exception], None],
        on_corrupt: Callable[[str], None],
        max_frame: int = MAX_FRAME_BYTES,
    ) -> None:
        self._wrapper = wrapper
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_corrupt = on_corrupt
        self._max_frame = max_frame
        self._carry = bytearray()
        self._need = 4
        self._open = True
        self._scan: Callable[[bytes], int] = self._read
        #: Messages read.
        self.messages = 0
        self._tick_handlers: dict[bytes, Callable[[list[bytes]], None]] = {
            b"12": self._depth,
            b"13": self._depth_l2,
            b"45": self._generic,
            b"46": self._string,
            b"99": self._tick_by_tick,
        }

    def close(self) -> None:
        self._open = False
        self._carry.clear()

    def feed(self, data: bytes) -> None:
        """Read one packet: what it completes is dispatched, what it leaves over is kept."""
        if not self._open:
            return
        if self._carry:
            self._carry += data
            if len(self._carry) < self._need:
                return
            data = bytes(self._carry)
            self._carry.clear()
        wrapper = self._wrapper
        wrapper.tcpDataArrived()
        used = self._scan(data)
        if self._open:
            if used < len(data):
                self._carry += memoryview(data)[used:]
            wrapper.tcpDataProcessed()

    def _read(self, data: bytes) -> int:
        """Dispatch the complete messages of `data`; how many bytes they took.

        One long body on purpose: prices and sizes of bid and ask are most of the traffic, and each call that is
        not made saves about a tenth of their cost. The semantics are those of ib_async's `priceSizeTick` and
        `tickSize`; tests compare the two on random streams. The lines of `wrapper.quoted` have Tickers of their own,
        which nobody listens to: theirs are written, and the line is put into `wrapper.changed`.
        """
        wrapper = self._wrapper
        size, position, messages = len(data), 0, 0
        self._need = 4
        by_request, pending, now = wrapper.reqId2Ticker, wrapper.pendingTickers, None
        quoted, changed = wrapper.quoted, wrapper.changed
        no_price, no_size = wrapper.defaultEmptyPrice, wrapper.defaultEmptySize
        handlers = self._tick_handlers
        touched: dict[bytes, Any] = {}  # request id as bytes -> ticker that is already pending
        while size - position >= 4:
            start = position + 4
            end = _length_at(data, position)[0] + start
            if end > size:
                if end - start > self._max_frame:
                    self._corrupt(f"a message of {end - start} bytes was announced")
                self._need = end - position
                break
            fields = data[start:end].split(b"\0")
            position = end
            messages += 1
            kind = fields[0]
            try:
                if kind == b"1":
                    _, _, request, tick_type, price_text, size_text, _, _ = fields
                    if not price_text:
                        continue
                    price, quantity = float(price_text), float(size_text or 0)
                    line = quoted.get(request)
                    if line is not None and (tick_type == b"1" or tick_type == b"2"):
                        # nobody reads a line's former values and tick list, so they are not kept
                        if quantity == 0:
                            price, quantity = no_price, no_size
                        ticker: Any = line.ticker
                        if tick_type == b"1":
                            ticker.bid, ticker.bidSize = price, quantity
                        else:
                            ticker.ask, ticker.askSize = price, quantity
                        if not line.is_changed:
                            line.is_changed = True
                            changed.append(line)
                        continue
                    ticker = touched.get(request)
                    if ticker is None:
                        ticker = by_request.get(int(request))
                        if ticker is None:
                            wrapper.count_stray(int(request))
                            continue
                        if tick_type == b"1" or tick_type == b"2":
                            touched[request] = ticker
                            pending.add(ticker)
                    if now is None:
                        now = wrapper.lastTime
                    if tick_type == b"1":
                        if quantity == 0:
                            price, quantity = no_price, no_size
                        ticker.prevBid, ticker.prevBidSize = ticker.bid, ticker.bidSize
                        ticker.bid, ticker.bidSize = price, quantity
                        if price or quantity:
                            ticker.ticks.append(_new_tick(TickData, (now, 1, price, quantity)))
                    elif tick_type == b"2":
                        if quantity == 0:
                            price, quantity = no_price, no_size
                        ticker.prevAsk, ticker.prevAskSize = ticker.ask, ticker.askSize
                        ticker.ask, ticker.askSize = price, quantity
                        if price or quantity:
                            ticker.ticks.append(_new_tick(TickData, (now, 2, price, quantity)))
                    else:
                        wrapper.priceSizeTick(int(request), int(tick_type), price, quantity)
                elif kind == b"2":
                    _, _, request, tick_type, size_text, _ = fields
                    quantity = float(size_text or 0)
                    line = quoted.get(request)
                    if line is not None:
                        ticker = line.ticker
                    else:
                        ticker = touched.get(request) or by_request.get(int(request))
                    if ticker is None:
                        wrapper.count_stray(int(request))
                    elif tick_type == b"0":
                        if quantity != ticker.bidSize:
                            wrapper.tickSize(int(request), 0, quantity)
                    elif tick_type == b"3":
                        if quantity != ticker.askSize:
                            wrapper.tickSize(int(request), 3, quantity)
                    else:
                        wrapper.tickSize(int(request), int(tick_type or 0), quantity)
                elif kind in handlers:
                    handlers[kind](fields)
                else:
                    if end - start > self._max_frame:
                        self._corrupt(f"a message of {end - start} bytes arrived")
                        return size
                    text = data[start:end].decode(errors="backslashreplace").split("\0")
                    text.pop()
                    self._on_message(text)
                    if not self._open:
                        return size
                    # a message may start or end streams, so nothing remembered of them holds any longer
                    touched.clear()
                    by_request, pending = wrapper.reqId2Ticker, wrapper.pendingTickers
            except (
                ArithmeticError,
                AssertionError,
                AttributeError,
                LookupError,
                OSError,
                TypeError,
                ValueError,
            ) as error:
                self._on_malformed([field.decode(errors="backslashreplace") for field in fields[:-1]], error)
        self.messages += messages
        return position

    def _corrupt(self, why: str) -> None:
        self.close()
        self._on_corrupt(why)

    def _known(self, request: bytes) -> bool:
        if int(request) in self._wrapper.reqId2Ticker:
            return True
        self._wrapper.count_stray(int(request))
        return False

    def _generic(self, fields: list[bytes]) -> None:
        _, _, request, tick_type, value, _ = fields
        self._wrapper.tickGeneric(int(request or 0), int(tick_type or 0), float(value or 0))

    def _string(self, fields: list[bytes]) -> None:
        _, _, request, tick_type, value, _ = fields
        text = value.decode(errors="backslashreplace")
        self._wrapper.tickString(int(request or 0), int(tick_type or 0), text)

    def _depth(self, fields: list[bytes]) -> None:
        _, _, request, place, operation, side, price, size, _ = fields
        if not self._known(request):
            return
        self._wrapper.updateMktDepthL2(
            int(request), int(place), "", int(operation), int(side), float(price or 0), float(size or 0)
        )

    def _depth_l2(self, fields: list[bytes]) -> None:
        _, _, request, place, maker, operation, side, price, size, smart, _ = fields
        if not self._known(request):
            return
        self._wrapper.updateMktDepthL2(
            int(request),
            int(place),
            maker.decode(errors="backslashreplace"),
            int(operation),
            int(side),
            float(price or 0),
            float(size or 0),
            bool(int(smart or 0)),
        )

    def _tick_by_tick(self, fields: list[bytes]) -> None:
        request, kind, time = int(fields[1]), fields[2], int(fields[3])
        if not self._known(fields[1]):
            return
        if kind == b"3":
            _, _, _, _, bid, ask, bid_size, ask_size, mask_text, _ = fields
            mask = int(mask_text)
            attributes = TickAttribBidAsk(bidPastLow=bool(mask & 1), askPastHigh=bool(mask & 2))
            self._wrapper.tickByTickBidAsk(
                request, time, float(bid), float(ask), float(bid_size), float(ask_size), attributes
            )
        elif kind == b"1" or kind == b"2":
            _, _, _, _, price, size, mask_text, exchange, conditions, _ = fields
            mask = int(mask_text)
            self._wrapper.tickByTickAllLast(
                request,
                int(kind),
                time,
                float(price),
                float(size),
                TickAttribLast(pastLimit=bool(mask & 1), unreported=bool(mask & 2)),
                exchange.decode(errors="backslashreplace"),
                conditions.decode(errors="backslashreplace"),
            )
        elif kind == b"4":
            self._wrapper.tickByTickMidPoint(request, time, float(fields[4]))
        else:
            raise ValueError(f"tick-by-tick of unknown kind {kind!r}")
