"""What the real ib_async reads in a frame, brought into a form that can be compared."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import math
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ib_async.decoder import Decoder
from ib_async.wrapper import Wrapper
from moondev_ibkr.brokers.simulation.tws import messages_out as out
from moondev_ibkr.brokers.simulation.tws.codec import unpack
from moondev_ibkr.brokers.simulation.tws.values import unescape


class IbAsync:
    """The real Decoder over a wrapper that records calls, each checked against the real Wrapper's signature."""

    def __init__(self, server_version: int, caplog: pytest.LogCaptureFixture) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.ib = SimpleNamespace(TimezoneTWS=None)
        self.defaultTimezone = UTC
        self.decoder = Decoder(self, server_version)  # type: ignore[arg-type]
        self._caplog = caplog

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def record(*args: Any) -> None:
            method = getattr(Wrapper, name, None)
            if method is not None:
                inspect.signature(method).bind(None, *args)
            self.calls.append((name, args))

        return record

    def read(self, fields: list[str]) -> list[tuple[str, tuple[Any, ...]]]:
        self.calls = []
        self._caplog.clear()
        with self._caplog.at_level(logging.ERROR, logger="ib_async.Decoder"):
            self.decoder.interpret(list(fields))
        return self.calls

    @property
    def errors(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records]


def plain(value: Any) -> Any:
    """Values of both sides in one form: numbers as floats, unset as None, objects as their fields."""
    if value is None or isinstance(value, str):
        return unescape(value) if value else value
    if isinstance(value, datetime):
        return value.timestamp()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    number = float(value)
    unset = (number > 1e300 and not math.isinf(number)) or number == 2147483647
    return None if unset else number


def readings(calls: list[tuple[str, tuple[Any, ...]]]) -> dict[str, Any]:
    """What ib_async's callback received: by parameter name, and by attribute of the objects it received."""
    found: dict[str, Any] = {}
    for name, args in calls:
        method = getattr(Wrapper, name, None)
        if method is None:  # no callback of that name: its arguments come in the order of the fields
            rows = [row.name for row in out.RESPONSES[name].layout.rows if row.name]
            found.update(zip(rows, map(plain, args), strict=True))
            continue
        for parameter, value in list(inspect.signature(method).bind(None, *args).arguments.items())[1:]:
            found[parameter] = plain(value)
            if dataclasses.is_dataclass(value):
                found.update(plain(value))
                contract = getattr(value, "contract", None)
                if contract is not None:
                    found.update(plain(contract))
    return found


def read(version: int, frame: bytes, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    client = IbAsync(version, caplog)
    calls = client.read(unpack(frame[4:]))
    assert client.errors == []
    return readings(calls)
