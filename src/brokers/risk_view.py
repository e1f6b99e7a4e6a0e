"""What the risk rules look at: caches, read without waiting. Every broker fills this view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from .domain.account import AccountSummary, Position
from .domain.instrument import Instrument, InstrumentDetails
from .domain.market_data import Quote
from .domain.order import Order
from .domain.sessions import Session, TradingDay

_EASTERN = ZoneInfo("America/New_York")


@lru_cache(maxsize=8)
def day_began(day: date) -> datetime:
    """00:00 New York time of `day`, in UTC: moments of one zone compare without asking for their offsets."""
    return datetime.combine(day, time(0), tzinfo=_EASTERN).astimezone(UTC)


#: The day asked for last and its two midnights: the same one, several times an order.
_latest = (date.min, datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def loss_day(moment: datetime) -> date:
    """The day that the daily loss of `moment` counts for: it begins at 00:00 New York time."""
    global _latest
    day, began, ends = _latest
    if not began <= moment < ends:
        day = moment.astimezone(_EASTERN).date()
        _latest = (day, day_began(day), day_began(day + timedelta(days=1)))
    return day


@dataclass(frozen=True, slots=True)
class DayStart:
    """The account as its loss day began; kept in the journal, so that a restart does not forget a loss.

    `net_liquidation` in `currency` at the first reading at or after 00:00 ET of `day`; `transfers` is what was paid
    in since then less what was paid out, in the same currency.
    """

    day: date
    net_liquidation: Decimal
    transfers: Decimal = Decimal(0)
    currency: str = "USD"


class RiskView(Protocol):
    """Synchronous reads from caches; none may wait or do I/O. None means "not known", which is never "fine".

    `account` is an account id; instruments may be unqualified (compare with `same_contract`).
    """

    def now(self) -> datetime:
        """Market time, aware UTC."""
        ...

    def default_account(self) -> str:
        """The account of orders that name none."""
        ...

    def session(self, instrument: Instrument) -> Session: ...

    def trading_day(self, instrument: Instrument) -> TradingDay | None:
        """Today's session times (exchange's date of now()), None when it does not trade or is not known."""
        ...

    def quote(self, instrument: Instrument) -> Quote | None: ...

    def details(self, instrument: Instrument) -> InstrumentDetails | None: ...

    def positions(self, account: str) -> Sequence[Position]:
        """All positions of the account as the broker tells them, foreign ones included."""
        ...

    def owned_position(self, account: str, instrument: Instrument) -> Decimal:
        """Signed quantity that this journal opened (or adopted) and still holds."""
        ...

    def working_orders(self, account: str) -> Sequence[Order]:
        """Every order of the account that may still fill, foreign ones flagged `foreign`."""
        ...

    def recent_orders(self, since: datetime) -> Sequence[Order]:
        """This journal's orders with `created_at` at or after `since`, in any state."""
        ...

    def messages_sent(self, since: datetime) -> int:
        """New orders and modifies that this journal sent at or after `since`; cancels do not count."""
        ...

    def account(self, account: str) -> AccountSummary | None: ...

    def day_start(self, account: str) -> DayStart | None: ...

    def fx_rate(self, currency: str) -> Decimal | None:
        """USD for one unit of `currency`; 1 for USD."""
        ...

    def kill_switch(self) -> str | None:
        """Why trading is halted; None while it is not."""
        ...

    def in_doubt(self, instrument: Instrument) -> str | None:
        """Why nothing may be opened in this contract (a mismatch, a failover in progress); None when all is clear.
        Orders in state UNKNOWN are found by the rules themselves."""
        ...

    def shortable_shares(self, instrument: Instrument) -> Decimal | None:
        """Shares available to borrow; 0 when none, None when not told."""
        ...
