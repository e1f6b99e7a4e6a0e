"""Clients of the portal that read too slowly: quotes are conflated, orders never lost, and nobody else waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from moondev_ibkr.brokers.simulation.portal.backlog import Backlog, Overflow

from .sockets import client_of, raw_stream, serving, until


def test_a_slow_reader_gets_every_order_and_only_the_newest_quote() -> None:
    backlog = Backlog(conflate_above=2, limit=5)
    for number in range(4):
        backlog.put({"topic": "smd+1", "31": str(number), f"only{number}": "x"})
        backlog.put({"topic": "sor", "args": [number]})
    frames = []
    while (found := backlog.take()) is not None:
        frames.append(found)
    assert [found["args"] for found in frames if found["topic"] == "sor"] == [[0], [1], [2], [3]]
    assert frames[0] == {"topic": "smd+1", "31": "3", "only0": "x", "only1": "x", "only2": "x", "only3": "x"}
    assert backlog.conflated == 3


def test_a_ladder_is_replaced_whole_and_what_was_taken_is_not_changed_any_more() -> None:
    backlog = Backlog(conflate_above=1)
    backlog.put({"topic": "sbd+1", "data": [1], "old": True})
    taken = backlog.take()
    for number in (2, 3):
        backlog.put({"topic": "sbd+1", "data": [number]})
    assert taken == {"topic": "sbd+1", "data": [1], "old": True}
    assert backlog.take() == {"topic": "sbd+1", "data": [3]}
    assert backlog.take() is None


def test_a_reader_that_is_too_slow_even_for_its_orders_is_given_up() -> None:
    backlog = Backlog(limit=3)
    for number in range(3):
        backlog.put({"topic": "sor", "args": [number]})
    with pytest.raises(Overflow):
        backlog.put({"topic": "sor", "args": [3]})


async def test_a_client_that_does_not_read_holds_nobody_up_and_misses_no_order() -> None:
    async with serving(gateway={"stall_seconds": 0.1}) as gateway, client_of(gateway) as client:
        reader, writer = await raw_stream(gateway, limit=1024)
        other = await client.stream()
        await until(other, "sts")
        assert len(gateway.portal.streams) == 2
        for number in range(3000):
            gateway.portal.session.publish({"topic": "blt", "args": {"number": number, "message": "x" * 4000}})
        await until(other, "blt")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await gateway.advance_to(gateway.now + timedelta(seconds=1))
        assert loop.time() - began < 5.0
        began = loop.time()
        for _ in range(20):
            await gateway.advance_to(gateway.now + timedelta(seconds=1))
        assert loop.time() - began < 1.0
        assert (await client.post("/tickle"))[0] == 200
        await other.close()

        heard, seen = b"", 0
        async with asyncio.timeout(20.0):
            while b'"number":2999,' not in heard:
                heard = heard[-64:] + await reader.read(1 << 16)
                seen += 1
        assert seen > 100
        writer.transport.abort()
