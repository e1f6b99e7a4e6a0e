"""Framing and handshake: any split, any burst, any hostile length."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.tws.codec import (
    MAX_FRAME_LENGTH,
    ClientHello,
    FrameError,
    FrameReader,
    HandshakeError,
    Opening,
    frame,
    negotiate,
    pack,
    parse_hello,
    unpack,
    version_frame,
)
from moondev_ibkr.brokers.simulation.tws.values import escape, number_text, unescape

from .wire_samples import samples

PAYLOADS = [b"", b"9\x001\x0041\x00", b"x" * 300, b"\xff\xfe\x00", b"49\x001\x00"]


def test_split_at_every_byte() -> None:
    reader = FrameReader()
    stream = b"".join(map(frame, PAYLOADS))
    got = [payload for at in range(len(stream)) for payload in reader.feed(stream[at : at + 1])]
    assert got == PAYLOADS
    assert reader.pending == 0


def test_every_message_split_at_every_place() -> None:
    for whole in samples(178).values():
        for at in range(1, len(whole), 7):
            reader = FrameReader()
            assert reader.feed(whole[:at]) + reader.feed(whole[at:]) == [whole[4:]]


def test_coalesced_in_one_burst() -> None:
    frames = list(samples(178).values())
    assert FrameReader().feed(b"".join(frames)) == [whole[4:] for whole in frames]


@given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_any_split_of_any_burst(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, payloads))
    reader, got, at = FrameReader(), [], 0
    while at < len(stream):
        cut = cuts[at % len(cuts)]
        got += reader.feed(stream[at : at + cut])
        at += cut
    assert got == payloads


def test_a_burst_is_cut_in_one_pass() -> None:
    """What made ib_async's reader quadratic: the buffer is trimmed once per burst, not once per message."""
    message = frame(b"1\x006\x00100\x001\x00150.25\x00300\x000\x00")
    reader = FrameReader()
    assert len(reader.feed(message * 50_000 + message[:9])) == 50_000
    assert reader.pending == 9


@pytest.mark.parametrize("length", [MAX_FRAME_LENGTH + 1, 2**31, 2**32 - 1, int.from_bytes(b"GET ", "big")])
def test_hostile_length_is_refused_after_what_was_complete(length: int) -> None:
    with pytest.raises(FrameError) as caught:
        FrameReader().feed(frame(b"ok") + struct.pack(">I", length) + b"tail")
    assert caught.value.frames == [b"ok"]
    assert (caught.value.length, caught.value.limit) == (length, MAX_FRAME_LENGTH)


def test_longest_frame_is_taken() -> None:
    assert FrameReader(limit=10).feed(frame(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(FrameError):
        FrameReader(limit=10).feed(frame(b"x" * 11))


@pytest.mark.parametrize(
    ("payload", "hello"),
    [
        (b"v157..178", ClientHello(157, 178)),
        (b"v100..225", ClientHello(100, 225)),
        (b"v157", ClientHello(157, 157)),
        (b"v157..178 +PACEAPI", ClientHello(157, 178, "+PACEAPI")),
        (b"v157..178\x00", ClientHello(157, 178)),
    ],
)
def test_hello(payload: bytes, hello: ClientHello) -> None:
    assert parse_hello(payload) == hello


@pytest.mark.parametrize("payload", [b"", b"157", b"v", b"v157..", b"va..b", b"v157-178", b"v" + b"9" * 99, b"\xff"])
def test_hello_that_is_none(payload: bytes) -> None:
    with pytest.raises(HandshakeError):
        parse_hello(payload)


@pytest.mark.parametrize(
    ("low", "high", "version"),
    [
        (157, 178, 178),  # ib_async
        (100, 187, 178),
        (100, 176, 176),
        (100, 157, 157),  # ibapi 9.81.1
        (100, 158, 157),
        (157, 157, 157),
        (159, 159, 159),
    ],
)
def test_negotiation(low: int, high: int, version: int) -> None:
    assert negotiate(ClientHello(low, high)) == version


@pytest.mark.parametrize(("low", "high"), [(100, 156), (158, 158), (179, 225), (178, 170), (0, 0)])
def test_negotiation_that_finds_nothing(low: int, high: int) -> None:
    with pytest.raises(HandshakeError, match=f"v{low}..{high}"):
        negotiate(ClientHello(low, high))


def test_opening_in_single_bytes_keeps_what_follows() -> None:
    opening = Opening()
    stream = b"API\0" + frame(b"v157..178")
    hellos = [opening.feed(stream[at : at + 1]) for at in range(len(stream))]
    assert hellos[:-1] == [None] * (len(stream) - 1)
    assert hellos[-1] == ClientHello(157, 178)
    whole = Opening()
    assert whole.feed(stream + b"rest") == ClientHello(157, 178)
    assert whole.rest == b"rest"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"A" * 9, b"\x16\x03\x01", b"63\x00", b"API\0\x7f\xff\xff\xff"]
)
def test_opening_refuses_at_the_first_wrong_byte(data: bytes) -> None:
    with pytest.raises(HandshakeError):
        Opening().feed(data)


def test_version_frame_has_exactly_two_fields() -> None:
    assert unpack(version_frame(178, "20260102 10:00:00 EST")[4:]) == ["178", "20260102 10:00:00 EST"]


def test_every_field_ends_with_nul() -> None:
    assert pack(["9", "1", ""]) == b"\0\0\0\x05" + b"9\x001\x00\x00"
    assert unpack(b"9\x001\x00\x00") == ["9", "1", ""]
    assert unpack(b"9\x00\xff\x00") == ["9", "\\xff"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(100.0, "100"), (150.25, "150.25"), (0.0, "0"), (-0.0, "0"), (1e-05, "0.00001"), (1e15, "1000000000000000"),
     (-1.5, "-1.5"), (1e22, "10000000000000000000000"), (float("inf"), "Infinity"), (7, "7")],
)  # fmt: skip
def test_numbers_have_no_exponent_and_no_idle_point(number: float, text: str) -> None:
    assert number_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_its_text(number: float) -> None:
    text = number_text(number)
    assert float(text) == number
    assert "e" not in text.lower()


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_escaped_text_is_ascii_and_comes_back(text: str) -> None:
    assert escape(text).isascii()
    assert "\0" not in escape(text)
    assert unescape(escape(text)) == text
