"""When a position should be left: one table of pure functions over what is held, its mark and the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ...brokers.domain.account import Position
from ...brokers.domain.market_data import DataType, Quote
from ...brokers.errors import UsageError
from .aegs_holdings import trading_date


@dataclass(frozen=True, slots=True)
class ExitRules:
    """What makes an exit due; None leaves a condition out. Fractions are of the entry price, 0.2 is 20 %.

    `trailing_fraction` is the part of the best mark that may be given back; the best mark is the best one that the
    manager has seen, so it begins anew with each process (a TRAIL order at the broker does not). `max_days` is calendar
    days in New York since the oldest share was bought or shorted. A quote older than `quote_age` (market time) gives no
    mark; a delayed one only where `allow_delayed`.
    """

    stop_fraction: Decimal | None = Decimal("0.20")
    target_fraction: Decimal | None = Decimal("0.30")
    trailing_fraction: Decimal | None = None
    max_days: int | None = 60
    quote_age: timedelta = timedelta(seconds=60)
    allow_delayed: bool = False

    def __post_init__(self) -> None:
        for name in ("stop_fraction", "target_fraction", "trailing_fraction"):
            value: Decimal | None = getattr(self, name)
            if value is not None and not (value.is_finite() and value > 0):
                raise UsageError(f"{name} {value}", "it must be a number above 0", "None leaves the condition out")
        if self.max_days is not None and self.max_days < 0:
            raise UsageError(f"max_days {self.max_days}", "it must be 0 or more", "None leaves the condition out")

    @property
    def needs_mark(self) -> bool:
        """Whether a condition looks at the price."""
        return any(part is not None for part in (self.stop_fraction, self.target_fraction, self.trailing_fraction))


@dataclass(frozen=True, slots=True)
class Held:
    """An owned position as the conditions see it.

    `entry_price` per share is the average of the executions that are still open, or the broker's average cost where
    executions do not explain the position (adopted ones). `entered` None where that is not known. `mark` is what it can
    be left at (the bid of a long, the ask of a short), None when there is no such price now. `best` is the best mark
    seen, None before the first.
    """

    position: Position
    entry_price: Decimal
    entered: datetime | None
    now: datetime
    mark: Decimal | None = None
    best: Decimal | None = None

    @property
    def symbol(self) -> str:
        return self.position.instrument.symbol

    @property
    def sign(self) -> int:
        """+1 long, -1 short."""
        return 1 if self.position.quantity > 0 else -1

    @property
    def gain(self) -> Decimal | None:
        """Fraction of the entry price; above 0 in profit, for longs and shorts alike. None without a mark."""
        if self.mark is None or not self.entry_price:
            return None
        return self.sign * (self.mark - self.entry_price) / self.entry_price

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """In the instrument's currency, fees left out; None without a mark. A short gains when the price falls."""
        if self.mark is None:
            return None
        return (self.mark - self.entry_price) * self.position.quantity * self.position.instrument.multiplier


@dataclass(frozen=True, slots=True)
class ExitDue:
    """A position should be left: by which condition, and why in words."""

    condition: str
    why: str


@dataclass(frozen=True, slots=True)
class ExitCondition:
    """`check` says why the position should be left, None when it should not or when that cannot be told."""

    name: str
    check: Callable[[Held, ExitRules], str | None]


def _stop(held: Held, rules: ExitRules) -> str | None:
    gain, limit = held.gain, rules.stop_fraction
    if limit is None or gain is None or gain > -limit:
        return None
    return f"{gain:+.1%} from {held.entry_price:.2f}, the stop is -{limit:.1%}"


def _trailing(held: Held, rules: ExitRules) -> str | None:
    limit = rules.trailing_fraction
    if limit is None or held.mark is None or not held.best:
        return None
    given_back = held.sign * (held.best - held.mark) / held.best
    return f"{given_back:.1%} given back from {held.best}, {limit:.1%} may be" if given_back >= limit else None


def _target(held: Held, rules: ExitRules) -> str | None:
    gain, limit = held.gain, rules.target_fraction
    if limit is None or gain is None or gain < limit:
        return None
    return f"{gain:+.1%} from {held.entry_price:.2f}, the target is +{limit:.1%}"


def _too_long(held: Held, rules: ExitRules) -> str | None:
    if rules.max_days is None or held.entered is None:
        return None
    days = (trading_date(held.now) - trading_date(held.entered)).days
    return f"held {days} days, {rules.max_days} may be" if days >= rules.max_days else None


#: Asked from top to bottom; the first that holds is the answer.
CONDITIONS: tuple[ExitCondition, ...] = (
    ExitCondition("stop", _stop),
    ExitCondition("trailing", _trailing),
    ExitCondition("target", _target),
    ExitCondition("max_days", _too_long),
)


def exit_due(held: Held, rules: ExitRules) -> ExitDue | None:
    """The first condition that holds, None when none does."""
    for condition in CONDITIONS:
        why = condition.check(held, rules)
        if why is not None:
            return ExitDue(condition.name, why)
    return None


def mark_of(quote: Quote, quantity: Decimal, now: datetime, rules: ExitRules) -> tuple[Decimal | None, str]:
    """What `quantity` (signed) can be left at, or None and why there is no such price."""
    if not quote.is_two_sided:
        return None, f"no two-sided quote (bid {quote.bid}, ask {quote.ask})"
    if quote.halted:
        return None, "trading in it is halted"
    if quote.suspect is not None:
        return None, f"the quote is doubtful: {quote.suspect}"
    if quote.data_type is not DataType.LIVE and not rules.allow_delayed:
        return None, f"the quote is {quote.data_type}, not live"
    if quote.age(now) > rules.quote_age:
        return None, f"the quote is {quote.age(now).total_seconds():.0f} s old"
    price = quote.bid if quantity > 0 else quote.ask
    return Decimal(str(price)), ""
