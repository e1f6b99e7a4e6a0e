"""ib_async's decoder with layouts that are checked, conversions that are compiled, and failures that are counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ib_async.contract import Contract, ContractDetails
from ib_async.decoder import Decoder
from ib_async.objects import Execution
from ib_async.order import Order, OrderState

from .layouts import LAYOUTS, Layout
from .listener import MalformedMessage
from .plans import (
    BOND_DETAILS,
    COMPLETED_ORDER,
    CONTRACT_DETAILS,
    EXECUTION,
    OPEN_ORDER,
    Parts,
    Step,
    blank,
    compile_plan,
    conversions,
    unescape,
)
from .timestamps import parse_ib_time

logger = logging.getLogger(__name__)

_CONVERT: dict[type, Callable[[str], Any]] = {
    str: str,
    int: lambda text: int(text or 0),
    float: lambda text: float(text or 0),
    bool: lambda text: bool(int(text or 0)),
}

_UNKNOWN = Layout("unknown", None)


class LinkDecoder(Decoder):
    """Decodes one message at a time into calls of the wrapper.

    A message that cannot be read is counted under its id, reported to `on_malformed`, and ends the request it
    answers with an error; nothing is swallowed and nothing stops the messages behind it.
    """

    def __init__(
        self, wrapper: Any, serverVersion: int = 0, on_malformed: Callable[[MalformedMessage], None] | None = None
    ) -> None:
        super().__init__(wrapper, serverVersion)
        self.on_malformed = on_malformed or _log_malformed
        #: Messages of a wrong layout or content, by message id.
        self.malformed: Counter[int] = Counter()
        #: Messages with an id outside the table, by that id.
        self.unknown: Counter[int] = Counter()
        self._plans: dict[tuple[int, int], Step] = {}
        self._conversions: dict[type, tuple[tuple[str, Callable[[str], Any], Any], ...]] = {}
        self.handlers.update(
            {
                5: self.openOrder,
                10: self.contractDetails,
                11: self.execDetails,
                18: self.bondContractDetails,
                101: self.completedOrder,
            }
        )

    def wrap(self, methodName: str, types: Sequence[type], skip: int = 2) -> Callable[[Sequence[str]], None]:
        """A handler that converts the fields after the first `skip` and calls the wrapper; errors propagate."""
        converters = tuple(_CONVERT[kind] for kind in types)

        def handler(fields: Sequence[str]) -> None:
            method = getattr(self.wrapper, methodName, None)
            if method is not None:
                method(*[convert(text) for convert, text in zip(converters, fields[skip:], strict=False)])

        return handler

    def interpret(self, fields: list[str]) -> None:
        """Check the layout of one message and dispatch it."""
        message_id = int(fields[0])
        handler = self.handlers.get(message_id)
        if handler is None:
            self.unknown[message_id] += 1
            self._report(message_id, _UNKNOWN, fields, "no such message id", decoded=False)
            return
        layout = LAYOUTS[message_id]
        count = layout.count
        try:
            if count is not None:
                expected = count if isinstance(count, int) else count(fields, self.serverVersion)
                if len(fields) < expected:
                    raise ValueError(f"{expected - len(fields)} of {expected} fields are missing")
                if len(fields) > expected:
                    left = len(fields) - expected
                    self._report(message_id, layout, fields, f"{left} fields too many", decoded=True)
                    fields = fields[:expected]
            handler(fields)
        except Exception as error:  # the boundary of one message: the ones behind it must still be read
            logger.warning("message %d could not be read", message_id, exc_info=True)
            self.fail(message_id, fields, error)

    def fail(self, message_id: int, fields: Sequence[str], error: Exception) -> None:
        """Count and report a message that could not be read, and end the request that it answers."""
        layout = LAYOUTS.get(message_id, _UNKNOWN)
        self._report(message_id, layout, fields, f"{type(error).__name__}: {error}", decoded=False)
        if layout.request is not None and len(fields) > layout.request:
            self.wrapper.malformed_answer(fields[layout.request], layout.name, error)

    def _report(self, message_id: int, layout: Layout, fields: Sequence[str], why: str, decoded: bool) -> None:
        self.malformed[message_id] += 1
        self.on_malformed(
            MalformedMessage(message_id, layout.name, why, layout.needs_reconcile, decoded, tuple(fields))
        )

    def parse(self, obj: Any) -> None:
        """Convert the numeric attributes of a dataclass in place, by their defaults' types."""
        cls = type(obj)
        rows = self._conversions.get(cls)
        if rows is None:
            rows = self._conversions[cls] = conversions(cls)
        values = vars(obj)
        for name, convert, default in rows:
            value = values[name]
            values[name] = convert(value) if value else default

    def _follow(self, message_id: int, plan: Sequence[Any], fields: Sequence[str], parts: Parts) -> None:
        key = (message_id, self.serverVersion)
        step = self._plans.get(key)
        if step is None:
            step = self._plans[key] = compile_plan(plan, self.serverVersion)
        end = step(fields, 1, parts)
        if end < len(fields):
            why = f"{len(fields) - end} fields too many"
            self._report(message_id, LAYOUTS[message_id], fields, why, decoded=True)

    def openOrder(self, fields: Sequence[str]) -> None:
        order, contract, state = blank(Order), blank(Contract), blank(OrderState)
        parts = {"o": order, "c": contract, "s": state, "t": order.softDollarTier}
        self._follow(5, OPEN_ORDER, fields, parts)
        self.wrapper.openOrder(order.orderId, contract, order, state)

    def completedOrder(self, fields: Sequence[str]) -> None:
        order, contract, state = Order(), Contract(), OrderState()
        self._follow(101, COMPLETED_ORDER, fields, {"o": order, "c": contract, "s": state})
        self.wrapper.completedOrder(contract, order, state)

    def execDetails(self, fields: Sequence[str]) -> None:
        contract, execution = Contract(), Execution()
        parts: Parts = {"c": contract, "x": execution}
        self._follow(11, EXECUTION, fields, parts)
        execution.time = parse_ib_time(parts["time"], self.wrapper.naive_zone)
        self.wrapper.execDetails(int(parts["request"]), contract, execution)

    def contractDetails(self, fields: Sequence[str]) -> None:
        self._details(10, CONTRACT_DETAILS, fields, self.wrapper.contractDetails)

    def bondContractDetails(self, fields: Sequence[str]) -> None:
        self._details(18, BOND_DETAILS, fields, self.wrapper.bondContractDetails)

    def _details(
        self, message_id: int, plan: Sequence[Any], fields: Sequence[str], deliver: Callable[..., None]
    ) -> None:
        details = ContractDetails()
        details.contract = contract = Contract()
        parts: Parts = {"c": contract, "d": details}
        self._follow(message_id, plan, fields, parts)
        deliver(int(parts["request"]), details)

    def errorMsg(self, fields: Sequence[str]) -> None:
        advanced = fields[5] if self.serverVersion >= 166 else ""
        self.wrapper.error(int(fields[2]), int(fields[3]), unescape(fields[4]), advanced)

    def tickOptionComputation(self, fields: Sequence[str]) -> None:
        _, request, tick_type, attribute, *numbers = fields
        self.wrapper.optionComputation(
            int(request), int(tick_type), int(attribute or 0), [float(text) if text else None for text in numbers]
        )


def _log_malformed(message: MalformedMessage) -> None:
    logger.error("message %d (%s): %s", message.message_id, message.name, message.why)
