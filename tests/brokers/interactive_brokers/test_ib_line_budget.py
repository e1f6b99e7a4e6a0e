"""The subscription budget as a policy: who has a line, who is polled, and that nothing oscillates."""

import math
import random
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from moondev_ibkr.brokers.domain.subscriptions import Tier
from moondev_ibkr.brokers.interactive_brokers.ib_line_budget import LineBudget
from moondev_ibkr.brokers.interactive_brokers.ib_line_budget_terms import TERMS, BudgetTerms
from moondev_ibkr.brokers.interactive_brokers.ib_line_budget_wants import Turn


class Clock:
    """Seconds that go on when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Keeper:
    """Carries out what the budget says, and knows which lines are open."""

    def __init__(self, lines, terms=TERMS):
        self.clock = Clock()
        self.budget = LineBudget(lines, self.clock, terms)
        self.open = set()
        self.opened = Counter()
        self.most = 0

    def do(self, changes):
        assert set(changes.close) <= self.open
        self.open -= set(changes.close)
        assert not set(changes.open) & self.open
        self.open |= set(changes.open)
        self.opened.update(changes.open)
        self.most = max(self.most, len(self.open))
        return changes

    def hold(self, *numbers):
        for number in numbers:
            self.do(self.budget.hold(number))

    def tier(self, number):
        return self.budget.want(number).tier

    def count(self, tier):
        return sum(want.tier is tier for want in self.budget.wants())

    def pass_time(self, seconds):
        self.clock.now += seconds
        self.do(self.budget.settle())

    def poll_all(self, *, changed=lambda number: False, within=math.inf):
        """Serve every poll that is due, at once; answers the numbers."""
        done = []
        ends = self.clock.now + within
        while self.clock.now < ends:
            number = self.budget.next_poll()
            if number is None:
                break
            done.append(number)
            self.do(self.budget.poll_ended(number, changed=changed(number)))
            self.clock.now += self.budget.terms.poll_spacing
        return done


def test_all_have_a_line_while_there_is_room_and_nothing_is_kept_for_polls():
    keeper = Keeper(100)
    keeper.hold(*range(90))
    assert keeper.count(Tier.WARM) == 90
    assert keeper.budget.slots == 0
    keeper.do(keeper.budget.pin({500}))
    assert keeper.tier(500) is Tier.HOT
    assert len(keeper.open) == 91, "positions have lines of their own"


def test_two_hundred_symbols_live_on_a_hundred_lines():
    keeper = Keeper(100)
    keeper.hold(*range(200))
    budget = keeper.budget
    assert keeper.most <= 90
    assert keeper.count(Tier.WARM) + budget.slots == 90
    assert keeper.count(Tier.COLD) == 200 - keeper.count(Tier.WARM)
    assert budget.refresh_bound() <= TERMS.refresh_within


def test_the_first_that_were_wanted_keep_their_lines():
    keeper = Keeper(20, BudgetTerms(reserved=0))
    keeper.hold(*range(30))
    assert keeper.open == set(range(len(keeper.open)))


def test_a_line_is_shared_and_goes_when_the_last_consumer_does():
    keeper = Keeper(1)
    keeper.hold(7, 7)
    keeper.do(keeper.budget.unhold(7))
    assert keeper.tier(7) is Tier.WARM
    assert keeper.budget.want(7).holders == 1
    keeper.do(keeper.budget.unhold(7))
    keeper.do(keeper.budget.unhold(7))
    assert keeper.budget.want(7).holders == 0, "never negative"
    turn, changes = keeper.budget.ask(8)
    keeper.do(changes)
    assert turn is Turn.LINE, "what nobody holds makes room"
    assert keeper.open == {8}


def test_a_promoted_symbol_gets_a_line_at_once_and_cools_down():
    keeper = Keeper(100)
    keeper.hold(*range(200))
    assert keeper.tier(199) is Tier.COLD
    promoted, changes = keeper.budget.promote(199, "VOLUME_SPIKE")
    keeper.do(changes)
    assert promoted
    assert keeper.tier(199) is Tier.HOT
    assert 199 in keeper.open
    keeper.pass_time(TERMS.hot_for - 1)
    assert keeper.tier(199) is Tier.HOT
    keeper.pass_time(1)
    assert keeper.tier(199) is Tier.WARM, "it keeps the line until another needs it"
    assert keeper.budget.swaps == 1 + TERMS_SLOTS_AT_200


#: Lines that were given to polls while 200 symbols were asked for one by one.
TERMS_SLOTS_AT_200 = 13


def test_a_promotion_beyond_the_hot_share_is_refused_until_one_is_old_enough():
    keeper = Keeper(100)
    keeper.hold(*range(200))
    most = keeper.budget.most_promoted
    answers = []
    for number in range(150, 200):
        promoted, changes = keeper.budget.promote(number, "PRICE_SURGE")
        keeper.do(changes)
        answers.append(promoted)
    assert answers == [True] * most + [False] * (50 - most)
    keeper.pass_time(TERMS.least_hot)
    promoted, changes = keeper.budget.promote(199, "PRICE_SURGE")
    keeper.do(changes)
    assert promoted
    assert keeper.tier(150) is not Tier.HOT, "the one whose event is the longest ago gives way"


def test_positions_take_lines_from_whatever_has_them_even_from_promoted_symbols():
    keeper = Keeper(20, BudgetTerms(reserved=2, hot_share=1.0))
    keeper.hold(*range(30))
    for number in range(30):
        keeper.do(keeper.budget.promote(number, "event")[1])
    keeper.do(keeper.budget.pin(range(100, 118)))
    assert set(range(100, 118)) <= keeper.open
    assert len(keeper.open) <= 20


def test_a_symbol_that_stands_gives_its_line_to_one_that_moves_and_not_back():
    keeper = Keeper(12, BudgetTerms(reserved=0))
    keeper.hold(*range(20))
    cold = [want.number for want in keeper.budget.wants() if want.tier is Tier.COLD]
    lively = cold[0]
    swaps = keeper.budget.swaps
    for _ in range(120):
        keeper.pass_time(5)
        for number in keeper.open - {0}:
            keeper.budget.changed(number, keeper.clock.now)
        keeper.poll_all(changed=lambda number: number == lively)
    assert lively in keeper.open
    assert 0 not in keeper.open, "it told nothing for minutes"
    assert keeper.budget.swaps == swaps + 1


def test_nothing_is_swapped_while_all_stand_as_after_the_close():
    keeper = Keeper(12, BudgetTerms(reserved=0))
    keeper.hold(*range(20))
    swaps, lines = keeper.budget.swaps, set(keeper.open)
    for _ in range(1000):
        keeper.pass_time(10)
        keeper.poll_all()
    assert keeper.open == lines
    assert keeper.budget.swaps == swaps


def test_cold_symbols_are_polled_in_turn_and_never_too_often():
    keeper = Keeper(12, BudgetTerms(reserved=0))
    keeper.hold(*range(20))
    cold = {want.number for want in keeper.budget.wants() if want.tier is Tier.COLD}
    first = keeper.poll_all(within=TERMS.poll_every - 0.01)
    assert set(first) == cold
    assert len(first) == len(cold)
    keeper.clock.now += TERMS.poll_every
    assert keeper.poll_all(within=TERMS.poll_every - 0.01) == first


def test_a_question_waits_for_others_or_takes_a_warm_line_and_gives_it_back():
    keeper = Keeper(10, BudgetTerms(reserved=0))
    keeper.hold(*range(10))
    turn, changes = keeper.budget.lend()
    keeper.do(changes)
    assert turn is Turn.LINE
    before = set(keeper.open)
    assert len(before) <= 8, "one for the question, one for polls"
    keeper.do(keeper.budget.give_back(questions=1))
    assert keeper.open == before, "a line that was just taken does not come back at once"
    keeper.pass_time(TERMS.least_cold)
    assert keeper.open == set(range(10))


def test_a_question_is_refused_only_where_all_lines_are_hot():
    keeper = Keeper(4, BudgetTerms(reserved=0))
    keeper.do(keeper.budget.pin({1, 2, 3, 4}))
    turn, changes = keeper.budget.lend()
    assert turn is Turn.NEVER
    assert not changes.close


def test_a_refused_line_lowers_what_is_believed_and_is_polled():
    keeper = Keeper(100, BudgetTerms(reserved=0))
    keeper.hold(*range(60))
    keeper.open.discard(59)
    keeper.do(keeper.budget.refused(59))
    assert keeper.budget.allowance.believed == 59
    assert keeper.tier(59) is Tier.COLD
    assert keeper.budget.slots == 1
    assert keeper.budget.next_poll() is not None


def test_what_is_believed_rises_by_trials_and_a_refused_one_doubles_the_wait():
    keeper = Keeper(100, BudgetTerms(reserved=0))
    allowance = keeper.budget.allowance
    keeper.hold(*range(60))
    keeper.open.discard(59)
    keeper.do(keeper.budget.refused(59))
    refusals = []
    start = keeper.clock.now
    while keeper.clock.now - start < 6 * 3600:
        keeper.pass_time(5)
        if len(keeper.open) > 50:  # the account has fifty by now
            refused = sorted(keeper.open)[-1]
            keeper.open.discard(refused)
            refusals.append(keeper.clock.now - start)
            keeper.do(keeper.budget.refused(refused))
            keeper.clock.now += 0.1
    assert len(refusals) < 50, "no storm of refusals in six hours"
    late = [time for time in refusals if time > 3600]
    assert len(late) <= 8
    assert allowance.believed <= 51


def test_the_whole_allowance_comes_back_when_the_other_client_goes():
    keeper = Keeper(100, BudgetTerms(reserved=0))
    keeper.hold(*range(120))
    for number in sorted(keeper.open)[40:]:
        if number in keeper.open:
            keeper.open.discard(number)
            keeper.do(keeper.budget.refused(number))
    assert keeper.budget.allowance.believed <= 60
    for _ in range(200):
        keeper.pass_time(5)
    assert keeper.budget.allowance.believed == 100


class Day(RuleBasedStateMachine):
    """Anything in any order; the allowance holds, counts are never negative, HOT comes first."""

    @initialize(lines=st.integers(1, 14), reserved=st.integers(0, 4))
    def begin(self, lines, reserved):
        self.keeper = Keeper(lines, BudgetTerms(reserved=reserved, polls_per_slot=3))
        self.held = Counter()
        self.questions = self.news = 0
        self.polling = set()

    numbers = st.integers(1, 20)

    def do(self, changes):
        self.keeper.do(changes)

    @rule(number=numbers)
    def hold(self, number):
        self.held[number] += 1
        self.do(self.keeper.budget.hold(number))

    @rule(number=numbers)
    def unhold(self, number):
        self.held[number] = max(0, self.held[number] - 1)
        self.do(self.keeper.budget.unhold(number))

    @rule(numbers=st.frozensets(numbers, max_size=6))
    def pin(self, numbers):
        self.do(self.keeper.budget.pin(numbers))

    @rule(number=numbers)
    def promote(self, number):
        self.do(self.keeper.budget.promote(number, "event")[1])

    @rule(number=numbers)
    def ask(self, number):
        if number not in self.keeper.open:
            self.do(self.keeper.budget.ask(number)[1])

    @rule(seconds=st.sampled_from([0.3, 6.0, 61.0, 301.0]))
    def wait(self, seconds):
        self.keeper.pass_time(seconds)

    @rule(changed=st.booleans())
    def poll(self, changed):
        number = self.keeper.budget.next_poll()
        if number is not None:
            self.polling.add(number)
        elif self.polling:
            self.do(self.keeper.budget.poll_ended(self.polling.pop(), changed=changed))

    @rule()
    def question(self):
        turn, changes = self.keeper.budget.lend()
        self.do(changes)
        self.questions += turn is Turn.LINE

    @rule()
    def answer(self):
        if self.questions:
            self.questions -= 1
            self.do(self.keeper.budget.give_back(questions=1))

    @rule()
    def news_line(self):
        turn, changes = self.keeper.budget.lend_news()
        self.do(changes)
        self.news += turn is Turn.LINE

    @rule(number=numbers)
    def refuse(self, number):
        if number in self.keeper.open:
            self.keeper.open.discard(number)
            self.do(self.keeper.budget.refused(number))

    @rule(number=numbers)
    def bar(self, number):
        self.keeper.open.discard(number)
        self.do(self.keeper.budget.barred(number, 60.0))

    @invariant()
    def holds(self):
        if not hasattr(self, "keeper"):
            return
        budget, open_lines = self.keeper.budget, self.keeper.open
        assert {want.number for want in budget.wants() if want.has_line} == open_lines
        assert (budget.questions, budget.news) == (self.questions, self.news)
        leased = self.questions + self.news + budget.polling
        if budget.allowance.refusals == 0:
            assert len(open_lines) + leased <= budget.allowance.configured
        wants = {want.number: want for want in budget.wants()}
        assert {n: c for n, c in self.held.items() if c} == {n: w.holders for n, w in wants.items() if w.holders}
        now = self.keeper.clock.now
        ordinary = [want for want in wants.values() if want.has_line and not want.is_pinned]
        assert len(ordinary) <= budget.room, "what is reserved was lent"
        book = budget._book
        assert (book.lines, book.polling) == (len(open_lines), sum(want.is_polling for want in wants.values()))
        assert book.idle == sum(want.is_idle for want in wants.values())
        assert book.ordinary == sum(want.is_wanted and not want.is_pinned for want in wants.values())
        for want in wants.values():
            if want.is_promoted and not want.is_pinned:
                assert want.has_line, "HOT and without a line"
        pinned = [want for want in wants.values() if want.is_pinned and want.no_line_before <= now]
        lacking = [want for want in pinned if not want.has_line and not want.is_polling]
        if lacking:
            had = sum(want.has_line for want in wants.values() if want.is_pinned)
            full = budget.used >= budget.allowance.believed
            assert had >= budget.allowance.believed - self.questions - self.news - budget.slots or full
            assert not ordinary or not full or budget.polling


TestDay = Day.TestCase
TestDay.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_simulated_day_of_two_hundred_symbols_on_a_hundred_lines_does_not_oscillate():
    """6.5 hours in steps of a second: events, positions that come and go, symbols that wake and fall asleep, snapshots
    that take up to their eleven seconds."""
    rng = random.Random(20261128)
    keeper = Keeper(100)
    budget, clock = keeper.budget, keeper.clock
    keeper.hold(*range(200))
    opening = budget.swaps
    active = set(rng.sample(range(200), 120))
    running, positions, promotions = {}, set(), 0
    polled = dict.fromkeys(range(200), clock.now)
    longest = 0.0
    for second in range(int(6.5 * 3600)):
        for number in [n for n, ends in running.items() if ends <= clock.now]:
            del running[number]
            polled[number] = clock.now
            keeper.do(budget.poll_ended(number, changed=number in active))
        for _ in range(4):  # a quarter of a second apart
            if (number := budget.next_poll()) is not None:
                running[number] = clock.now + rng.choice((0.5, 2.0, 11.0))
            clock.now += TERMS.poll_spacing
        if second % 5 == 0:
            for number in active & keeper.open:
                budget.changed(number, clock.now)
        if second % 60 == 0:
            active ^= {rng.randrange(200)}
        if rng.random() < 1 / 30:
            promoted, changes = budget.promote(rng.randrange(200), "VOLUME_SPIKE")
            promotions += promoted
            keeper.do(changes)
        if second % 300 == 0:
            positions = set(rng.sample(range(200), rng.randrange(12)))
            keeper.do(budget.pin(positions))
        keeper.do(budget.settle())
        if second % 10 == 0:
            polled |= dict.fromkeys(keeper.open, clock.now)
            longest = max(longest, clock.now - min(polled.values()))
        assert budget.used <= 100
        assert positions <= keeper.open
        assert budget._book.hot <= keeper.open
        ordinary = [n for n in keeper.open if n not in positions]
        assert len(ordinary) <= 100 - max(10, len(positions)) - budget.slots
    assert longest <= TERMS.refresh_within, "every COLD symbol was refreshed"
    pins = 12 * int(6.5 * 12)
    assert budget.swaps - opening <= promotions + pins + 6.5 * 3600 / TERMS.swap_every
    assert max(keeper.opened.values()) <= 6.5 * 3600 / TERMS.least_cold / 3


def test_the_table_in_the_docs_is_the_one_in_force():
    page = (Path(__file__).parents[3] / "docs" / "subscriptions.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.M))
    assert {name: float(value) for name, value in told.items()} == {
        row.name: float(getattr(TERMS, row.name)) for row in fields(TERMS)
    }
    keeper = Keeper(100)
    keeper.hold(*range(200))
    counts = (
        f"{keeper.count(Tier.WARM)} have a line, {keeper.budget.slots} lines poll the other {keeper.count(Tier.COLD)}"
    )
    assert counts in page
