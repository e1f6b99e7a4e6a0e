"""The figures of the subscription budget, in one table (docs/subscriptions.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """Seconds are monotonic; see docs/subscriptions.md for what each does."""

    #: Lines that only symbols of positions and open orders may have; never more than a quarter of the allowance.
    reserved: int = 10
    #: How long a symbol stays HOT after its last event.
    hot_for: float = 300.0
    #: Share of the lines that are not reserved which promoted symbols may have.
    hot_share: float = 0.5
    #: A promoted symbol gives way to a later one after this long at the earliest.
    least_hot: float = 60.0
    #: A line is not swapped for a WARM reason before it was open this long …
    least_line: float = 60.0
    #: … and a symbol that lost its line gets one back, unless it is HOT, after this long.
    least_cold: float = 60.0
    #: A line whose value stood for this long may go to a COLD symbol that changed in its last `lively_polls` polls.
    stale_after: float = 300.0
    lively_polls: int = 3
    #: Between two such swaps, whichever the symbols.
    swap_every: float = 10.0
    #: COLD symbols that one line for snapshots serves.
    polls_per_slot: int = 10
    #: IB ends a snapshot after this long at the latest.
    snapshot_life: float = 11.0
    #: Between two polls of one symbol, and between any two polls (each is two messages of IB's 50 a second).
    poll_every: float = 5.0
    poll_spacing: float = 0.25
    #: A line that was refused for a missing permission is asked for again after this long, any other after `retry`.
    permission_retry: float = 600.0
    retry: float = 60.0
    #: After error 101: when one more line is tried, and then between the next trials.
    trial_after: float = 300.0
    trial_every: float = 60.0
    longest_trial_wait: float = 3600.0

    @property
    def refresh_within(self) -> float:
        """The longest that a COLD symbol waits for its next poll while `polls_per_slot` can be kept."""
        return self.polls_per_slot * self.snapshot_life + 2 * self.poll_every


TERMS = BudgetTerms()
