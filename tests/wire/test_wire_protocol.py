"""A connection of the door as a state machine: what a client may say when, and what may be said to it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.codec import frame, pack, unpack
from moondev_ibkr.brokers.simulation.tws.messages_in import REQUESTS, write
from moondev_ibkr.brokers.simulation.tws.protocol import (
    TRANSITIONS,
    Event,
    Malformed,
    Negotiated,
    Refused,
    ServerProtocol,
    State,
    Trigger,
    Violation,
)

from .wire_samples import ORDERS

HELLO = b"API\0" + frame(b"v157..178")
START = pack(["71", "2", "7", ""])
TIME = pack(["49", "1"])


def ready() -> ServerProtocol:
    protocol = ServerProtocol()
    protocol.receive(HELLO + START)
    return protocol


def test_a_connection_opens() -> None:
    protocol = ServerProtocol()
    assert protocol.receive(HELLO) == [Negotiated(178, "")]
    assert unpack(protocol.version_frame("20260102 10:00:00 EST")[4:]) == ["178", "20260102 10:00:00 EST"]
    assert protocol.receive(START) == [r.StartApi(clientId=7)]
    assert (protocol.state, protocol.client_id, protocol.server_version) == (State.READY, 7, 178)
    assert unpack(protocol.message("nextValidId", orderId=1)[4:]) == ["9", "1", "1"]
    assert unpack(protocol.error(-1, 2104, "OK")[4:]) == ["4", "2", "-1", "2104", "OK", ""]


def test_everything_in_one_read() -> None:
    place = pack(write(178, ORDERS["plain"]))
    events = ServerProtocol().receive(HELLO + START + TIME + place)
    assert events == [Negotiated(178, ""), r.StartApi(clientId=7), r.ReqCurrentTime(), ORDERS["plain"]]


def test_everything_in_single_bytes() -> None:
    protocol = ServerProtocol()
    stream = HELLO + START + TIME
    events: list[Event] = []
    for at in range(len(stream)):
        events += protocol.receive(stream[at : at + 1])
    assert events == [Negotiated(178, ""), r.StartApi(clientId=7), r.ReqCurrentTime()]


def test_nothing_is_sent_between_version_and_start() -> None:
    protocol = ServerProtocol()
    protocol.receive(HELLO)
    with pytest.raises(ValueError, match="AWAIT_START_API"):
        protocol.message("nextValidId", orderId=1)
    with pytest.raises(ValueError, match="HANDSHAKE"):
        ServerProtocol().message("nextValidId", orderId=1)
    with pytest.raises(ValueError, match="READY"):
        ready().version_frame("now")


@pytest.mark.parametrize("early", [TIME, pack(["9", "8"]), pack(["nonsense"]), frame(b"")])
def test_a_request_before_start_ends_the_connection(early: bytes) -> None:
    protocol = ServerProtocol()
    events = protocol.receive(HELLO + early + START)
    assert [type(event) for event in events] == [Negotiated, Violation]
    assert protocol.state is State.CLOSED
    assert protocol.receive(START) == []


def test_a_second_start_ends_the_connection() -> None:
    protocol = ready()
    (event,) = protocol.receive(START)
    assert isinstance(event, Violation)
    assert "once" in str(event.error)


def test_a_malformed_request_is_answered_and_the_connection_stays() -> None:
    protocol = ready()
    malformed, time = protocol.receive(pack(["1", "11", "9", "one"]) + TIME)
    assert isinstance(malformed, Malformed)
    assert (malformed.reqId, malformed.code) == (9, 320)
    assert "reqMktData.contract.conId" in malformed.text
    assert time == r.ReqCurrentTime()


def test_a_refused_request_carries_the_error_of_ib() -> None:
    (refused,) = ready().receive(pack(["89", "9"]))
    assert refused == Refused(r.CancelHistogramData(reqId=9), 9, 300, "Can't find EId with tickerId:9")
    (refused,) = ready().receive(pack(["18", "1", "1"]))
    assert isinstance(refused, Refused)
    assert (refused.reqId, refused.code) == (-1, 321)
    contract = ["0", "AAPL", "STK", "", "", "", "", "SMART", "", "USD", "", ""]
    (refused,) = ready().receive(pack(["88", "9", *contract, "0", "1", "3 days"]))
    assert isinstance(refused, Refused)
    assert refused.text.endswith("No market data permissions for SMART STK")


def test_every_refusal_has_a_code_and_a_text() -> None:
    for spec in REQUESTS.values():
        if spec.refusal is not None:
            assert spec.refusal.code > 0
            assert spec.refusal.text


@pytest.mark.parametrize("version", [b"v100..156", b"v179..225", b"v158", b"hello"])
def test_a_client_that_shares_no_version_is_dropped(version: bytes) -> None:
    protocol = ServerProtocol()
    (event,) = protocol.receive(b"API\0" + frame(version))
    assert isinstance(event, Violation)
    assert protocol.state is State.CLOSED


def test_a_hostile_length_ends_the_connection_after_what_was_complete() -> None:
    protocol = ready()
    events = protocol.receive(TIME + struct.pack(">I", 2**31) + b"x" * 100)
    assert events[0] == r.ReqCurrentTime()
    assert isinstance(events[1], Violation)
    assert protocol.receive(TIME) == []


def test_a_closed_connection_hears_and_says_nothing() -> None:
    protocol = ServerProtocol()
    protocol.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert protocol.receive(HELLO) == []
    with pytest.raises(ValueError, match="CLOSED"):
        protocol.error(-1, 502, "no")


def test_every_state_but_closed_can_end() -> None:
    ending = {state for (state, trigger) in TRANSITIONS if trigger is Trigger.VIOLATION}
    assert ending == set(State) - {State.CLOSED}
    assert not [key for key in TRANSITIONS if key[0] is State.CLOSED]


@given(st.lists(st.binary(max_size=40), max_size=12), st.booleans())
def test_no_bytes_raise(chunks: list[bytes], opened: bool) -> None:
    protocol = ready() if opened else ServerProtocol()
    for chunk in chunks:
        protocol.receive(chunk)
    assert protocol.state in State


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_no_frames_raise_and_each_gets_one_event(payloads: list[bytes]) -> None:
    protocol = ready()
    events = protocol.receive(b"".join(map(frame, payloads)))
    if protocol.state is State.READY:
        assert len(events) == len(payloads)
