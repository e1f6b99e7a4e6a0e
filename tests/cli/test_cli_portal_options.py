"""The portal's options of `moondev-ibkr gateway`: what they become, and what they refuse."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.simulation.portal.settings import OrderIds, PortalSettings, SoftInit, Visibility
from moondev_ibkr.cli.portal_options import OPTIONS, portal_port, portal_values


@pytest.mark.parametrize(
    ("text", "tws_port", "port"),
    [(None, 14002, 15000), (None, 0, 0), ("0", 14002, 0), ("15001", 0, 15001), ("off", 14002, None), ("OFF", 0, None)],
)
def test_the_port_is_a_number_or_off(text: str | None, tws_port: int, port: int | None) -> None:
    assert portal_port(text, tws_port) == port


@pytest.mark.parametrize("text", ["", "-1", "65536", "open"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--portal-port"):
        portal_port(text, 14002)


def test_every_kind_of_setting_can_be_given() -> None:
    values = portal_values(
        [
            "cross-visibility=none",
            "soft_init=take",
            "order_ids=perm",
            "cross_cancel=false",
            "penalty_seconds=600",
            "requests_per_second=0",
            "tws_reclaim_seconds=2.5",
            "questions=o163, o354",
            "no_data=MSFT",
            "ca_file=/tmp/ca.pem",
        ]
    )
    chosen = PortalSettings(**values)
    assert (chosen.cross_visibility, chosen.soft_init, chosen.order_ids) == (
        Visibility.NONE,
        SoftInit.TAKE,
        OrderIds.PERM,
    )
    assert (chosen.cross_cancel, chosen.penalty_seconds, chosen.requests_per_second) == (False, 600.0, 0)
    assert (chosen.tws_reclaim_seconds, chosen.questions, chosen.no_data) == (2.5, ("o163", "o354"), {"MSFT"})
    assert chosen.ca_file == Path("/tmp/ca.pem")
    assert portal_values(["tws_reclaim_seconds=none"]) == {"tws_reclaim_seconds": None}


def test_every_setting_has_a_way_from_the_command_line() -> None:
    for field in fields(PortalSettings):
        if field.name in OPTIONS:
            continue
        default = getattr(PortalSettings(), field.name)
        text = ",".join(default) if isinstance(default, (tuple, frozenset)) else str(default)
        assert portal_values([f"{field.name}={text}"]) == {field.name: default}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("gremlin=1", "settings are"),
        ("soft_init", "KEY=VALUE"),
        ("soft_init=maybe", "fail, take"),
        ("cross_cancel=perhaps", "true or false"),
        ("idle_seconds=-1", "zero or above"),
        ("idle_seconds=soon", "could not convert"),
        ("port=1", "--portal-port"),
        ("user=me", "--portal-user"),
    ],
)
def test_what_is_no_setting_is_refused(entry: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        portal_values([entry])
