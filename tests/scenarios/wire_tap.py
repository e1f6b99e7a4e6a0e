"""What really arrived at the gateway, in order: the witness of tests about bytes that must not leave, or must first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.tws.messages_in import spec_of


class WireTap:
    """`names` and `requests` grow as the gateway takes messages up, whatever it does with them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.requests: list[Any] = []

    def count(self, name: str) -> int:
        return self.names.count(name)

    def of(self, name: str) -> list[Any]:
        return [request for kind, request in zip(self.names, self.requests, strict=True) if kind == name]

    def orders(self) -> list[Any]:
        """Orders and changes; a what-if is a question."""
        return [request for request in self.of("placeOrder") if not request.whatIf]


@contextmanager
def wire_tap(gateway: Gateway) -> Iterator[WireTap]:
    tap = WireTap()
    serve = gateway.door.serve

    def listen(session: Any, request: Any) -> None:
        tap.names.append(spec_of(request).name)
        tap.requests.append(request)
        serve(session, request)

    gateway.door.serve = listen  # type: ignore[method-assign]
    try:
        yield tap
    finally:
        gateway.door.serve = serve  # type: ignore[method-assign]
