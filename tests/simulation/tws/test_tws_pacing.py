"""IB's limits, exactly: what is admitted, what is struck, and when it is forgiven."""

from __future__ import annotations

from moondev_ibkr.brokers.simulation.tws.pacing import HISTORY_RULES, HistoryPacing, MessageRate, Verdict


def test_fifty_messages_a_second_pass_and_the_next_is_a_strike() -> None:
    rate = MessageRate(50)
    assert {rate.admit(0.01 * n) for n in range(50)} == {Verdict.ADMITTED}
    assert rate.admit(0.5) is Verdict.WARNED


def test_three_offences_end_the_connection_and_a_burst_is_one() -> None:
    rate = MessageRate(50)
    verdicts = [rate.admit(second + 0.001 * n) for second in (0, 10, 20) for n in range(200)]
    assert verdicts.count(Verdict.WARNED) == 2
    assert verdicts.count(Verdict.DISCONNECTED) == 1


def test_a_rate_of_exactly_fifty_never_offends() -> None:
    rate = MessageRate(50)
    assert {rate.admit(n / 50) for n in range(500)} == {Verdict.ADMITTED}


def test_zero_turns_the_rate_off() -> None:
    rate = MessageRate(0)
    assert {rate.admit(0.0) for _ in range(1000)} == {Verdict.ADMITTED}
    assert rate.wait(0.0) == 0.0


def test_a_paced_client_waits_until_a_place_is_free() -> None:
    rate = MessageRate(2)
    rate.admit(0.0)
    assert rate.wait(0.1) == 0.0
    rate.admit(0.1)
    assert rate.wait(0.2) == 0.8
    assert rate.wait(1.0) == 0.0


def test_history_rules_break_at_their_limits() -> None:
    pacing = HistoryPacing(HISTORY_RULES)
    assert pacing.admit(0.0, "a", "AAPL") is None
    assert "15 seconds" in (pacing.admit(14.9, "a", "AAPL") or "")
    assert pacing.admit(15.0, "a", "AAPL") is None

    assert [pacing.admit(100.0, f"x{n}", "MSFT") is None for n in range(6)] == [True] * 5 + [False]
    assert pacing.admit(102.0, "y", "MSFT") is None


def test_sixty_in_ten_minutes_and_bid_ask_counts_twice() -> None:
    pacing = HistoryPacing(HISTORY_RULES)
    admitted = [pacing.admit(3.0 * n, n, n, weight=2) is None for n in range(40)]
    assert admitted.count(True) == 30
    assert pacing.admit(600.0, "late", "late") is None


def test_no_rules_no_pacing() -> None:
    pacing = HistoryPacing(())
    assert all(pacing.admit(0.0, "same", "same") is None for _ in range(100))
