"""The market data fields of the portal: what each code is, and how its text is made.

Codes and meanings: IB's Web API documentation, "Market Data Fields" (client-portal.md section 2.2). A field whose
`read` is None exists at IB and has no data in this market; like IB, the portal then leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..contracts import EXCHANGE_LETTERS
from ..depth_levels import Level
from .contract_rows import description, listing_exchange
from .figures import amount_text, percent_text, price_text, short_text, size_text
from .sheet import Sheet

Read = Callable[[Sheet], str | None]


@dataclass(frozen=True, slots=True)
class Field:
    """`slow`: IB fetches it elsewhere, so that a snapshot has it a moment later than the others."""

    code: str
    about: str
    read: Read | None = None
    slow: bool = False


def _last(sheet: Sheet) -> str | None:
    text = price_text(sheet.last, sheet.digits)
    if text is None:
        return None
    if sheet.view.halted:
        return "H" + text
    return text if sheet.traded_today else "C" + text


def _change_percent(sheet: Sheet) -> str | None:
    if sheet.change is None or not sheet.view.close:
        return None
    return percent_text(100 * sheet.change / sheet.view.close)


def _letter(level: Level | None) -> str | None:
    return None if level is None else EXCHANGE_LETTERS.get(level.maker, level.maker)


def _last_exchange(sheet: Sheet) -> str | None:
    """Where the last trade was: at the exchange whose quote it met."""
    bid, ask, last = sheet.best_bid, sheet.best_ask, sheet.last
    if bid is None or ask is None or last is None:
        return None
    return _letter(ask if last - bid.price > ask.price - last else bid)


def _year_range(side: int) -> Read:
    def read(sheet: Sheet) -> str | None:
        found = sheet.weeks.ranges.get(52)
        return None if found is None else price_text(found[side], sheet.digits)

    return read


def _market_value(sheet: Sheet) -> str | None:
    return None if sheet.position is None else amount_text(sheet.position.market_value)


def _quantity(sheet: Sheet) -> str | None:
    return None if sheet.position is None else size_text(sheet.position.quantity)


def _average_price(sheet: Sheet) -> str | None:
    """Per unit of the underlying: the average cost less the contract's multiplier."""
    position = sheet.position
    return None if position is None else amount_text(position.average_cost / sheet.details.instrument.multiplier)


def _unrealized(sheet: Sheet) -> str | None:
    return None if sheet.position is None else amount_text(sheet.position.unrealized_pnl)


def _unrealized_percent(sheet: Sheet) -> str | None:
    position = sheet.position
    if position is None or position.unrealized_pnl is None:
        return None
    cost = abs(position.average_cost * position.quantity)
    return percent_text(100 * position.unrealized_pnl / cost) if cost else None


def _formatted_unrealized(sheet: Sheet) -> str | None:
    return None if sheet.position is None else short_text(sheet.position.unrealized_pnl)


def _volatility(sheet: Sheet) -> str | None:
    return None if sheet.volatility is None else f"{100 * sheet.volatility:.2f}%"


def _service_parameters(sheet: Sheet) -> str | None:
    services = (122, 123, 203, 775, 204, 206, 108, 109)
    return "".join(f"&serviceID{number}={service}" for number, service in enumerate(services, 1))


FIELDS: dict[str, Field] = {
    row.code: row
    for row in (
        Field("31", "last price; C before it: the close before; H: halted", _last),
        Field("55", "symbol", lambda s: s.details.instrument.symbol),
        Field("58", "text: the company's name", lambda s: s.details.long_name or None),
        Field("70", "high of today", lambda s: price_text(s.view.high, s.digits)),
        Field("71", "low of today", lambda s: price_text(s.view.low, s.digits)),
        Field("73", "market value of the position", _market_value, slow=True),
        Field("74", "average price of the position", _average_price, slow=True),
        Field("75", "unrealized P&L of the position", _unrealized, slow=True),
        Field("76", "formatted position", _quantity, slow=True),
        Field("77", "formatted unrealized P&L", _formatted_unrealized, slow=True),
        Field("78", "daily P&L of the position", lambda s: amount_text(s.pnl.daily), slow=True),
        Field("79", "realized P&L of the position", lambda s: amount_text(s.pnl.realized), slow=True),
        Field("80", "unrealized P&L, % of the cost", _unrealized_percent, slow=True),
        Field("82", "change since the close before", lambda s: price_text(s.change, s.digits)),
        Field("83", "change since the close before, %", _change_percent),
        Field("84", "bid price", lambda s: price_text(s.view.bid, s.digits)),
        Field("85", "ask size", lambda s: size_text(s.view.ask_size)),
        Field("86", "ask price", lambda s: price_text(s.view.ask, s.digits)),
        Field("87", "volume of today, short", lambda s: short_text(s.view.volume)),
        Field("88", "bid size", lambda s: size_text(s.view.bid_size)),
        Field("6004", "exchange", lambda s: s.details.instrument.exchange),
        Field("6008", "conid", lambda s: str(s.con_id)),
        Field("6070", "security type", lambda s: s.details.instrument.sec_type.value),
        Field("6119", "the server that delivers", lambda s: s.server_id),
        Field("6457", "conid of the underlying", lambda s: str(s.details.under_con_id or "") or None),
        Field("6508", "service parameters", _service_parameters),
        Field("6509", "availability", lambda s: s.availability),
        Field("7051", "company name", lambda s: s.details.long_name or None),
        Field("7057", "exchange of the ask", lambda s: _letter(s.best_ask)),
        Field("7058", "exchange of the last trade", _last_exchange),
        Field("7059", "size of the last trade", lambda s: size_text(s.view.last_size)),
        Field("7068", "exchange of the bid", lambda s: _letter(s.best_bid)),
        Field("7094", "conid and exchange", lambda s: f"{s.con_id}@{s.details.instrument.exchange}"),
        Field("7219", "contract description", lambda s: description(s.details)),
        Field("7220", "contract description, listing", lambda s: listing_exchange(s.details)),
        Field("7221", "listing exchange", lambda s: listing_exchange(s.details)),
        Field("7280", "industry", lambda s: s.details.industry or None, slow=True),
        Field("7281", "category", lambda s: s.details.category or None, slow=True),
        Field("7282", "average volume of 90 days", lambda s: short_text(s.weeks.average_volume), slow=True),
        Field("7283", "implied volatility of the underlying's options, %"),
        Field("7284", "historical volatility of 30 days, %", _volatility, slow=True),
        Field("7293", "high of 52 weeks", _year_range(1), slow=True),
        Field("7294", "low of 52 weeks", _year_range(0), slow=True),
        Field("7295", "open of today", lambda s: price_text(s.view.open, s.digits)),
        Field("7296", "close: the last one known", lambda s: price_text(s.view.close, s.digits)),
        Field("7308", "delta"),
        Field("7309", "gamma"),
        Field("7310", "theta"),
        Field("7311", "vega"),
        Field("7633", "implied volatility of the option, %"),
        Field("7635", "mark price", lambda s: price_text(s.mark, s.digits)),
        Field("7636", "shortable shares", lambda s: short_text(s.shortable_shares), slow=True),
        Field("7638", "open interest of the option"),
        Field("7741", "prior close", lambda s: price_text(s.view.close, s.digits)),
        Field("7762", "volume of today, exact", lambda s: f"{s.view.volume:.0f}"),
    )
}
#: In every row, asked for or not.
ALWAYS = ("6119", "6509")


def values(sheet: Sheet, codes: frozenset[str], *, slow: bool) -> dict[str, str]:
    """The texts of the fields asked for that this market has; an unknown code has none. `slow`: slow ones too."""
    found = {}
    for code, row in FIELDS.items():
        if code in codes and row.read is not None and (slow or not row.slow):
            text = row.read(sheet)
            if text is not None:
                found[code] = text
    return found
