"""What the subscription budget knows of each contract, counted as it changes, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..domain.subscriptions import Tier
from .ib_line_budget_terms import BudgetTerms


@dataclass(slots=True)
class Want:
    """One contract. Times are seconds of the budget's clock, -inf where it never was."""

    number: int
    #: Streams and tables that hold it, and callers that wait for its first value.
    holders: int = 0
    awaited: int = 0
    #: A position or an open order is in it; an event promoted it.
    is_pinned: bool = False
    is_promoted: bool = False
    promoted_at: float = -math.inf
    hot_until: float = -math.inf
    has_line: bool = False
    #: When it got or lost its line, and when its tier began.
    line_moved: float = -math.inf
    since: float = -math.inf
    tier: Tier = Tier.COLD
    why: str = ""
    #: Its place in the order of use and of wanting: the lower, the longer ago.
    used: int = 0
    wanted: int = 0
    changed: float = -math.inf
    #: Polls: whether somebody waits for one, one runs, when the last began, and how many in a row brought a change.
    is_asked: bool = False
    is_polling: bool = False
    polled: float = -math.inf
    lively: int = 0
    #: Neither a line nor a poll is asked for before.
    no_line_before: float = -math.inf
    no_poll_before: float = -math.inf

    @property
    def is_wanted(self) -> bool:
        """Whether it is polled when it has no line."""
        return self.holders > 0 or self.is_pinned or self.is_promoted or self.is_asked

    @property
    def is_hot(self) -> bool:
        return self.is_pinned or self.is_promoted

    @property
    def is_idle(self) -> bool:
        """It has a line that nobody needs."""
        return self.has_line and not self.awaited and not self.is_wanted

    def is_due(self, now: float, poll_every: float) -> bool:
        """Whether it may be polled now."""
        if self.has_line or self.is_polling or now < self.no_poll_before or not self.is_wanted:
            return False
        return self.is_asked or now - self.polled >= poll_every


class Turn(Enum):
    """How a caller gets a value or a line."""

    LINE = "line"
    POLL = "poll"
    #: Lines will come free.
    WAIT = "wait"
    #: Every line is of a kind that is never taken away.
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Changes:
    """Lines to be closed, then lines to be opened. The budget counts them as done."""

    close: tuple[int, ...] = ()
    open: tuple[int, ...] = ()


class WantBook:
    """Every contract that is wanted, has a line or is asked about. `note` after each change keeps the counts."""

    def __init__(self) -> None:
        self._wants: dict[int, Want] = {}
        self._counted: dict[int, tuple[int, ...]] = {}
        self._order = 0
        #: Lines that are open; of those the ones of positions and open orders, and those that nobody needs; and polls.
        self.lines = self.pinned_lines = self.idle = self.polling = 0
        #: Contracts of positions and open orders, and the wanted ones that are not.
        self.pinned = self.ordinary = 0
        self.hot: set[int] = set()

    def __iter__(self) -> Iterator[Want]:
        return iter(self._wants.values())

    def find(self, number: int) -> Want | None:
        return self._wants.get(number)

    def get(self, number: int) -> Want:
        want = self._wants.get(number)
        if want is None:
            want = self._wants[number] = Want(number, wanted=self.next_place())
        return want

    def hot_wants(self) -> list[Want]:
        return [self.get(number) for number in self.hot]

    def next_place(self) -> int:
        self._order += 1
        return self._order

    def note(self, want: Want, now: float) -> None:
        """Count it as it is now, follow its tier, and forget it when nobody needs it."""
        pinned = want.is_pinned
        counts = (
            int(want.has_line),
            int(want.has_line and pinned),
            int(want.is_idle),
            int(want.is_polling),
            int(pinned),
            int(want.is_wanted and not pinned),
        )
        before = self._counted.get(want.number, (0,) * 6)
        if counts != before:
            self.lines += counts[0] - before[0]
            self.pinned_lines += counts[1] - before[1]
            self.idle += counts[2] - before[2]
            self.polling += counts[3] - before[3]
            self.pinned += counts[4] - before[4]
            self.ordinary += counts[5] - before[5]
            self._counted[want.number] = counts
        (self.hot.add if want.is_hot else self.hot.discard)(want.number)
        tier = Tier.HOT if want.is_hot else Tier.WARM if want.has_line else Tier.COLD
        if tier is not want.tier or want.since == -math.inf:
            want.tier, want.since = tier, now
        if not (want.has_line or want.awaited or want.is_polling or want.is_wanted):
            self._wants.pop(want.number, None)
            self._counted.pop(want.number, None)

    # Which line gives way

    def longest_idle(self) -> Want | None:
        """The least recently used line that nobody holds or waits for."""
        if not self.idle:
            return None
        return min((one for one in self if one.is_idle), key=lambda one: one.used)

    def least_worth(self, now: float, terms: BudgetTerms) -> Want | None:
        """The WARM line that is worth least: one that was open for a while before one that was not, the most stale."""

        def worth(one: Want) -> tuple[bool, int, int]:
            # in steps, so that two lively lines do not change places with every tick
            stale = math.floor((now - max(one.changed, one.line_moved)) / terms.stale_after)
            return now - one.line_moved < terms.least_line, -stale, -one.wanted

        warm = (one for one in self if one.has_line and one.holders and not one.awaited and not one.is_hot)
        return min(warm, key=worth, default=None)

    def coolest(self) -> Want | None:
        """The HOT line without a position or order whose event is the longest ago."""
        hot = (one for one in self if one.has_line and not one.is_pinned and not one.awaited)
        return min(hot, key=lambda one: one.hot_until, default=None)
