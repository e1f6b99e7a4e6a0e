"""Every request of the protocol is served or refused; none falls through."""

from __future__ import annotations

from moondev_ibkr.brokers.simulation.tws.handlers import HANDLERS
from moondev_ibkr.brokers.simulation.tws.messages_in import REQUESTS
from moondev_ibkr.brokers.simulation.tws.requests import StartApi


def test_handlers_are_exactly_the_handled_requests() -> None:
    handled = {spec.cls for spec in REQUESTS.values() if spec.handled}
    assert set(HANDLERS) == handled
    assert StartApi in handled


def test_only_the_agreed_requests_are_refused() -> None:
    refused = {spec.id for spec in REQUESTS.values() if not spec.handled}
    agreed = {18, 19, 21, 88, 89, *range(100, 105)}
    outside_the_reference = {*range(65, 71), 72, 73}
    assert refused <= agreed | outside_the_reference
