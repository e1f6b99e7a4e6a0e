"""Slow readers get conflated quotes, never lost orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.tws.outbox import Outbox, Overflow


def make(**options: object) -> tuple[Outbox, list[bytes]]:
    written: list[bytes] = []
    return Outbox(written.append, **options), written  # type: ignore[arg-type]


def test_everything_goes_in_one_write_and_in_order() -> None:
    outbox, written = make()
    outbox.send(b"a")
    outbox.quote((1, 1), b"b")
    outbox.send(b"c")
    outbox.flush()
    assert written == [b"abc"]


def test_a_paused_client_keeps_its_orders_and_only_the_newest_quotes() -> None:
    outbox, written = make()
    outbox.pause()
    outbox.quote((1, 1), b"old")
    outbox.send(b"<fill>")
    outbox.quote((1, 2), b"ask")
    outbox.quote((1, 1), b"new")
    outbox.flush()
    assert written == []
    assert outbox.waiting == 3

    outbox.resume()
    assert b"".join(written) == b"<fill>asknew"
    assert outbox.conflated == 1


def test_without_conflation_every_quote_is_kept() -> None:
    outbox, written = make(conflate=False)
    outbox.pause()
    outbox.quote(1, b"a")
    outbox.quote(1, b"b")
    outbox.resume()
    assert b"".join(written) == b"ab"


def test_a_client_that_never_reads_is_given_up_but_never_for_quotes() -> None:
    outbox, _ = make(limit=10)
    outbox.pause()
    for _ in range(100):
        outbox.quote(1, b"quote")
    outbox.send(b"0123456789")
    with pytest.raises(Overflow):
        outbox.send(b"x")


@given(st.lists(st.tuples(st.sampled_from("sqpr"), st.integers(0, 3)), max_size=60))
def test_no_order_is_lost_or_overtaken_whatever_the_reader_does(steps: list[tuple[str, int]]) -> None:
    outbox, written = make()
    sent, newest, paused = [], {}, False
    for number, (step, key) in enumerate(steps):
        if step == "s":
            sent.append(f"s{number};")
            outbox.send(sent[-1].encode())
        elif step == "q":
            newest[key] = f"q{key}.{number};"
            outbox.quote(key, newest[key].encode())
        elif step == "p":
            paused = True
            outbox.pause()
        elif paused:
            paused = False
            outbox.resume()
        outbox.flush()
    outbox.resume()
    outbox.flush()
    told = b"".join(written).decode().split(";")[:-1]
    assert [line + ";" for line in told if line.startswith("s")] == sent
    for key, value in newest.items():
        assert [line + ";" for line in told if line.startswith(f"q{key}.")][-1] == value
