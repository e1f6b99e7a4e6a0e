"""`demo failover`: TWS dies right after an order's bytes were sent, the portal goes on, and every book agrees."""

from __future__ import annotations

import pytest

from .conftest import Command


@pytest.mark.parametrize("users", ["two", "one"])
def test_the_agent_goes_on_through_the_portal_and_no_key_has_two_orders(command: Command, users: str) -> None:
    answer = command("demo", "failover", "--users", users, "--json")
    assert answer.code == 0, answer.err
    told = answer.data
    assert told["equal"], told["differences"]
    assert told["was_in_doubt"], "the fault met an order in flight"
    assert told["hand_overs"] == 1
    assert told["status"]["pen"] == "portal"
    assert told["status"]["in_doubt"] == []
    assert set(told["orders"].values()) == {1}
    assert told["fills"] >= 3, "it traded before and after"


def test_the_demo_needs_sessions_after_the_fault(command: Command) -> None:
    answer = command("demo", "failover", "--cycles", "2", "--fails-in", "2")
    assert answer.code == 2
    assert "some must follow" in answer.err
