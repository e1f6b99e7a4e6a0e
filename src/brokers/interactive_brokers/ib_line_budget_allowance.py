"""How many market-data lines this session may have: configured, lowered by refusals, raised again by careful trials."""

from __future__ import annotations

from collections.abc import Callable

from .ib_line_budget_terms import BudgetTerms


class LineAllowance:
    """The account's allowance is shared with TWS and with every other client, so a line may be refused (error 101)
    below the configured number. `believed` is then what was seen to work. While it is used up, one more line is tried
    after `trial_after` seconds, then two, four …, `trial_every` apart; a refusal ends the row, and a trial that was
    refused at once doubles the wait. All times are seconds of the injected clock."""

    def __init__(self, configured: int, terms: BudgetTerms, clock: Callable[[], float]) -> None:
        self._terms = terms
        self._clock = clock
        self._wait = terms.trial_after
        self._step = 1
        self._next_trial = 0.0
        #: Until when a refusal is the answer to a trial.
        self._trial_ends = 0.0
        self.refusals = 0
        self.configured = self.believed = configured

    def configure(self, lines: int) -> None:
        """Start again from another number."""
        self.configured = self.believed = lines
        self._wait, self._step, self._trial_ends = self._terms.trial_after, 1, 0.0

    @property
    def is_learnt(self) -> bool:
        return self.believed < self.configured

    @property
    def next_trial(self) -> float | None:
        """When one more line is tried; None while nothing was refused."""
        return self._next_trial if self.is_learnt else None

    def refused(self, working: int) -> None:
        """A line was refused while `working` others were had."""
        self.refusals += 1
        now = self._clock()
        self.believed = max(1, min(self.believed - 1, working))
        if now < self._trial_ends:
            self._wait = min(self._wait * 2, self._terms.longest_trial_wait)
        self._step, self._trial_ends = 1, 0.0
        self._next_trial = now + self._wait

    def look(self) -> bool:
        """To be called while all lines are used and more are wanted: whether more are believed in from now on."""
        now = self._clock()
        if not self.is_learnt or now < self._next_trial:
            return False
        self.believed = min(self.configured, self.believed + self._step)
        self._step *= 2
        self._next_trial = self._trial_ends = now + self._terms.trial_every
        return True
