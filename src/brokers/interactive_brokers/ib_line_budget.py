"""Which symbols have a market-data line, and which are polled: the policy alone, with no I/O and an injected clock.

HOT symbols (of positions and open orders, and those that an event promoted) always have a line. WARM ones have one
while there is room. COLD ones are wanted and have none: they are polled by snapshots, through lines kept for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..domain.subscriptions import Tier
from .ib_line_budget_allowance import LineAllowance
from .ib_line_budget_terms import TERMS, BudgetTerms
from .ib_line_budget_wants import Changes, Turn, Want, WantBook

_NOTHING = Changes()


class LineBudget:
    """Not thread-safe. Whoever calls carries out the `Changes` at once, the closing first. `share_for_questions` of the
    allowance may be taken from streams for questions that open a line of their own."""

    def __init__(
        self, lines: int, clock: Callable[[], float], terms: BudgetTerms = TERMS, *, share_for_questions: float = 0.3
    ) -> None:
        self.terms = terms
        self._clock = clock
        self._share_for_questions = share_for_questions
        self.allowance = LineAllowance(lines, terms, clock)
        self._book = WantBook()
        #: Lines of their own, which no quote shares: of running questions, and of streams of news.
        self.questions = 0
        self.news = 0
        self._last_swap = -math.inf
        self._last_poll = -math.inf
        #: Lines that were taken from a symbol which is wanted.
        self.swaps = 0

    # What can be read

    def want(self, number: int) -> Want | None:
        return self._book.find(number)

    def wants(self) -> list[Want]:
        return list(self._book)

    @property
    def used(self) -> int:
        """Lines in use, running polls included."""
        return self._book.lines + self._book.polling + self.questions + self.news

    @property
    def polling(self) -> int:
        return self._book.polling

    @property
    def reserve(self) -> int:
        """Lines that only positions and open orders may have."""
        return min(self.terms.reserved, self.allowance.believed // 4)

    @property
    def slots(self) -> int:
        """Lines kept for polls: none while everything wanted has a line."""
        shared, kept = self._shared(), self._kept()
        lacking = kept + self._book.ordinary - shared
        if lacking <= 0 or shared < 1:
            return 0
        most, each = max(1, (shared - kept) // 2), self.terms.polls_per_slot
        # each line kept for polls makes one symbol more that is polled
        return min(most, math.ceil(lacking / (each - 1)))

    @property
    def room(self) -> int:
        """Lines that symbols without a position or open order may have, those that they have included."""
        return max(0, self._shared() - self._kept() - self.slots)

    def _shared(self) -> int:
        return self.allowance.believed - self.questions - self.news

    def _kept(self) -> int:
        return max(self.reserve, self._book.pinned)

    def _free(self) -> int:
        return self.room - (self._book.lines - self._book.pinned_lines)

    @property
    def is_full(self) -> bool:
        """Whether lines of news and questions leave not even one for polls."""
        return self._shared() < 1

    @property
    def most_promoted(self) -> int:
        """How many symbols events may make HOT at once."""
        return int(self.room * self.terms.hot_share) or min(1, self.room)

    def refresh_bound(self) -> float:
        """Seconds within which each COLD symbol is polled, were every snapshot to take its longest."""
        cold = sum(want.tier is Tier.COLD and want.is_wanted for want in self._book)
        by_lines = math.ceil(cold / max(1, self.slots)) * self.terms.snapshot_life
        return max(by_lines, cold * self.terms.poll_spacing) + 2 * self.terms.poll_every

    # What is wanted

    def hold(self, number: int) -> Changes:
        """One more consumer wants this contract until `unhold`."""
        want = self._book.get(number)
        if not want.holders:
            want.wanted = self._book.next_place()
            want.line_moved = want.line_moved if want.has_line else -math.inf
        want.holders += 1
        return self._noted(want)

    def unhold(self, number: int) -> Changes:
        want = self._book.find(number)
        if want is None or not want.holders:
            return _NOTHING
        want.holders -= 1
        return self._noted(want)

    def use(self, number: int) -> None:
        """Its line was read; the least recently used one that nobody holds goes first."""
        self._book.get(number).used = self._book.next_place()

    def begin_waiting(self, number: int) -> None:
        """Somebody waits for the first value of its line, which stays open meanwhile."""
        want = self._book.get(number)
        want.awaited += 1
        self._book.note(want, self._clock())

    def end_waiting(self, number: int) -> Changes:
        want = self._book.find(number)
        if want is None or not want.awaited:
            return _NOTHING
        want.awaited -= 1
        return self._noted(want)

    def pin(self, numbers: Iterable[int]) -> Changes:
        """The contracts of all positions and open orders, as they are now."""
        pinned, now = frozenset(numbers), self._clock()
        for want in [self._book.get(number) for number in pinned] + [one for one in self._book if one.is_pinned]:
            want.is_pinned = want.number in pinned
            self._book.note(want, now)
        return self.settle()

    def promote(self, number: int, why: str) -> tuple[bool, Changes]:
        """Something happened: HOT from now on for `hot_for` seconds. False when as many are HOT as may be, and none
        of them long enough to give way, or when its line was refused."""
        now, want = self._clock(), self._book.get(number)
        self._cool(now)
        if not want.is_promoted:
            if want.no_line_before > now or not self._make_way(now):
                return False, self._noted(want)
            want.is_promoted, want.promoted_at = True, now
        want.hot_until, want.why = now + self.terms.hot_for, why
        changes = self._noted(want)
        return want.is_promoted, changes

    def _make_way(self, now: float) -> bool:
        hot = [one for one in self._book.hot_wants() if not one.is_pinned]
        if len(hot) < self.most_promoted:
            return True
        oldest = min(hot, key=lambda one: one.hot_until, default=None)
        if oldest is None or now - oldest.promoted_at < self.terms.least_hot:
            return False
        self._demote(oldest, now)
        return True

    def _cool(self, now: float) -> None:
        for want in self._book.hot_wants():
            if want.is_promoted and want.hot_until <= now:
                self._demote(want, now)

    def _demote(self, want: Want, now: float) -> None:
        want.is_promoted, want.hot_until, want.why = False, -math.inf, ""
        self._book.note(want, now)

    def _noted(self, want: Want) -> Changes:
        self._book.note(want, self._clock())
        return self.settle()

    # Callers that want one value

    def ask(self, number: int) -> tuple[Turn, Changes]:
        """A caller wants a value of a contract that has no line: LINE opens one for it, POLL tells that streams have
        all lines."""
        now, want = self._clock(), self._book.get(number)
        self.use(number)
        if now < want.no_line_before and now >= want.no_poll_before:
            return self._ask_poll(want)
        idle = None if self._may_open(want) else self._book.longest_idle()
        closed = () if idle is None else self._close(idle)
        if self._may_open(want):
            self._set_line(want, True)
            return Turn.LINE, Changes(closed, (number,))
        waits = idle is not None or self.questions or any(one.awaited and not one.is_wanted for one in self._book)
        if not waits and not self.is_full:
            return self._ask_poll(want)
        self._book.note(want, now)
        return (Turn.WAIT if waits else Turn.NEVER), Changes(closed)

    def _ask_poll(self, want: Want) -> tuple[Turn, Changes]:
        want.is_asked = True
        return Turn.POLL, self._noted(want)

    def ask_poll(self, number: int) -> Changes:
        """A caller wants a new value of a contract that is polled."""
        return self._ask_poll(self._book.get(number))[1]

    def lend(self) -> tuple[Turn, Changes]:
        """A line for a question of its own, until `give_back`. Streams give lines for a share of the questions, HOT
        symbols give none."""
        turn, changes = self._lease(self.questions < self.allowance.believed * self._share_for_questions)
        self.questions += turn is Turn.LINE
        return turn, self._and_settle(changes)

    def lend_news(self) -> tuple[Turn, Changes]:
        """As `lend`, for one symbol's news."""
        turn, changes = self._lease(True)
        self.news += turn is Turn.LINE
        return turn, self._and_settle(changes)

    def _lease(self, may_demote: bool) -> tuple[Turn, Changes]:
        closed: tuple[int, ...] = ()
        if self._free() < 1 or self.used >= self.allowance.believed:
            victim = self._book.longest_idle() or (self._victim() if may_demote else None)
            if victim is None:
                waits = self.questions or any(one.awaited or one.is_polling for one in self._book)
                return (Turn.WAIT if waits else Turn.NEVER), _NOTHING
            closed = self._close(victim)
        return (Turn.LINE if self.used < self.allowance.believed else Turn.WAIT), Changes(closed)

    def _and_settle(self, before: Changes) -> Changes:
        after = self.settle()
        again = set(before.close) & set(after.open)
        return Changes(
            tuple(one for one in before.close if one not in again) + after.close,
            tuple(one for one in after.open if one not in again),
        )

    def give_back(self, questions: int = 0, news: int = 0) -> Changes:
        self.questions = max(0, self.questions - questions)
        self.news = max(0, self.news - news)
        return self.settle()

    # What happened to a line or poll

    def changed(self, number: int, at: float) -> None:
        """The value of its line changed at `at`."""
        want = self._book.find(number)
        if want is not None and at > want.changed:
            want.changed = at

    def refused(self, number: int) -> Changes:
        """Its line was refused because there are too many (101)."""
        self._set_line(self._book.get(number), False)
        return self.too_many(self.used)

    def too_many(self, working: int) -> Changes:
        """A poll or a question was refused (101) while `working` lines were had."""
        self.allowance.refused(working)
        return self.settle()

    def barred(self, number: int, seconds: float, *, polls_too: bool = False) -> Changes:
        """Its line was refused for a reason of its own: it is polled meanwhile, or nothing at all with `polls_too`."""
        want, now = self._book.get(number), self._clock()
        want.no_line_before = now + seconds
        if polls_too:
            want.no_poll_before, want.is_asked = now + seconds, False
        want.is_promoted = False
        self._set_line(want, False)
        return self.settle()

    def closed(self, number: int) -> Changes:
        """Its line was given up by its owner."""
        want = self._book.find(number)
        if want is None or not want.has_line:
            return _NOTHING
        self._set_line(want, False)
        return self.settle()

    # Polls

    def next_poll(self) -> int | None:
        """The contract whose snapshot is due now, counted as running until `poll_ended`; None while none is."""
        now = self._clock()
        if self.used >= self.allowance.believed or self._book.polling >= max(1, self.slots):
            return None
        if now - self._last_poll < self.terms.poll_spacing:
            return None
        due = [want for want in self._book if want.is_due(now, self.terms.poll_every)]
        if not due:
            return None
        want = min(due, key=lambda one: (not one.is_asked, one.polled, one.wanted))
        want.is_polling, want.polled, self._last_poll = True, now, now
        self._book.note(want, now)
        return want.number

    def poll_ended(self, number: int, *, changed: bool) -> Changes:
        want = self._book.find(number)
        if want is None:
            return _NOTHING
        want.is_polling = want.is_asked = False
        want.lively = want.lively + 1 if changed else 0
        if changed:
            want.changed = self._clock()
        return self._noted(want)

    def end(self) -> None:
        """Nothing is wanted any more, and no line is open; what was learnt stays."""
        self._book = WantBook()
        self.questions = self.news = 0

    # Settling

    def settle(self) -> Changes:
        """Bring lines and wants together; the same again changes nothing."""
        now = self._clock()
        self._cool(now)
        if self.allowance.is_learnt and self.slots:
            self.allowance.look()
        closed: list[int] = []
        opened: list[int] = []
        self._trim(closed, now)
        self._fill(opened, closed, now)
        self._swap_stale(opened, closed, now)
        both = set(closed) & set(opened)
        if both:
            closed, opened = [n for n in closed if n not in both], [n for n in opened if n not in both]
        return Changes(tuple(closed), tuple(opened)) if closed or opened else _NOTHING

    def _trim(self, closed: list[int], now: float) -> None:
        while self._free() < 0 or self._book.lines + self.questions + self.news > self.allowance.believed:
            victim = self._book.longest_idle() or self._victim() or self._book.coolest()
            if victim is None:
                return
            closed.extend(self._close(victim))
            self._demote(victim, now)

    def _fill(self, opened: list[int], closed: list[int], now: float) -> None:
        # where nothing is free, only HOT ones get a line; this runs often
        candidates = self._book if self._free() > 0 or self._book.idle else self._book.hot_wants()
        lacking = [one for one in candidates if self._lacks_line(one, now)]
        for want in sorted(lacking, key=lambda one: (not one.is_pinned, -one.hot_until, one.wanted)):
            if not self._may_open(want) and not self._is_crowded(want):
                victim = self._book.longest_idle() or (self._victim() if want.is_hot else None)
                if victim is not None:
                    closed.extend(self._close(victim))
            if self._may_open(want):
                self._set_line(want, True)
                opened.append(want.number)
            elif not want.is_hot:
                return
            elif not want.is_pinned:
                self._demote(want, now)

    def _lacks_line(self, want: Want, now: float) -> bool:
        if want.has_line or now < want.no_line_before:
            return False
        return want.is_hot or (want.holders > 0 and now - want.line_moved >= self.terms.least_cold)

    def _may_open(self, want: Want) -> bool:
        if want.has_line or self.used >= self.allowance.believed:
            return False
        return not self._is_crowded(want) if want.is_pinned else self._free() > 0

    def _is_crowded(self, want: Want) -> bool:
        """Positions and open orders have every line that they may have."""
        return want.is_pinned and self._book.pinned_lines >= self._shared() - self.slots

    def _victim(self) -> Want | None:
        return self._book.least_worth(self._clock(), self.terms)

    def _swap_stale(self, opened: list[int], closed: list[int], now: float) -> None:
        if now - self._last_swap < self.terms.swap_every or self._free() > 0:
            return
        lively = [one for one in self._book if one.lively >= self.terms.lively_polls and self._lacks_line(one, now)]
        best = max(lively, key=lambda one: (one.lively, -one.wanted), default=None)
        victim = self._victim() if best is not None else None
        if best is None or victim is None or now - max(victim.changed, victim.line_moved) < self.terms.stale_after:
            return
        self._last_swap = now
        closed.extend(self._close(victim))
        if self._may_open(best):
            self._set_line(best, True)
            opened.append(best.number)

    def _close(self, want: Want) -> tuple[int, ...]:
        self.swaps += want.is_wanted
        self._set_line(want, False)
        return (want.number,)

    def _set_line(self, want: Want, has_line: bool) -> None:
        now = self._clock()
        if want.has_line is not has_line:
            want.has_line, want.line_moved, want.lively = has_line, now, 0
        self._book.note(want, now)
