"""What the exchange's companies report today: the figures behind both reports. All of it is made up (`companies`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from ..domain.fundamentals import Fundamentals, Reported, Span
from ..domain.instrument import InstrumentDetails
from .companies import Company, Quarter, company_of, fiscal_year_end

if TYPE_CHECKING:
    from .exchange import Exchange

#: Quarters and years that a summary reaches back.
QUARTERS, YEARS = 12, 3


class CompanyReports:
    """The reports of the stocks of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def of(self, details: InstrumentDetails) -> Fundamentals | None:
        """As of now, at the close before; None for a fund, for what is no stock, and before its first price."""
        exchange = self._exchange
        company = company_of(exchange.prices, details, exchange.settings.seed)
        view = exchange.market(details.instrument.con_id or 0)
        close = view.close if view.close is not None else view.last
        if company is None or close is None:
            return None
        now, price = exchange.now, float(close)
        quarters = company.published(now.date(), QUARTERS)
        year_end = fiscal_year_end(now)
        years = [[company.quarter(end) for end in _ends(year_end.year - back)] for back in range(YEARS - 1, -1, -1)]
        ratios = _ratios(company, quarters[-4:], price)
        return Fundamentals(
            details.instrument,
            now,
            details.instrument.currency,
            employees=float(company.employees),
            shares_outstanding=float(company.shares),
            float_shares=float(company.floating),
            revenues=_series(quarters, years, lambda quarter: round(quarter.revenue, -3)),
            earnings=_series(quarters, years, lambda quarter: round(quarter.per_share, 4)),
            dividends=_series(quarters, years, lambda quarter: round(quarter.dividend, 4)),
            source="paper",
            **ratios,
        )


def _ratios(company: Company, year: Sequence[Quarter], price: float) -> dict[str, Any]:
    """At that price over the last four quarters; what a loss makes meaningless is None. Rounded as reports print."""
    income = sum(quarter.net_income for quarter in year)
    ebitda = sum(quarter.ebitda for quarter in year)
    worth, cash = company.market_value(price), company.cash * company.shares
    per_share = income / company.shares
    return {
        "price": round(price, 4),
        "market_cap": _millions(worth),
        "enterprise_value": _millions(worth - cash),
        "revenue": _millions(sum(quarter.revenue for quarter in year)),
        "ebitda": _millions(ebitda),
        "net_income": _millions(income),
        "book_per_share": round(company.book, 4),
        "cash_per_share": round(company.cash, 4),
        "cash_flow_per_share": round(ebitda * 0.8 / company.shares, 4),
        "gross_margin": round(100 * company.gross_margin, 4),
        "return_on_equity": round(100 * per_share / company.book, 4),
        "price_to_earnings": round(price / per_share, 4) if per_share > 0 else None,
        "price_to_book": round(price / company.book, 4),
    }


def _millions(amount: float) -> float:
    """To ten dollars, as a report in millions with five digits tells it."""
    return round(amount, -1)


def _ends(year: int) -> list[date]:
    return [date(year, 3, 31), date(year, 6, 30), date(year, 9, 30), date(year, 12, 31)]


def _series(
    quarters: Sequence[Quarter], years: Sequence[Sequence[Quarter]], figure: Callable[[Quarter], float]
) -> tuple[Reported, ...]:
    single = [Reported(quarter.end, Span.QUARTER, figure(quarter)) for quarter in quarters]
    whole = [Reported(year[-1].end, Span.YEAR, round(sum(figure(quarter) for quarter in year), 4)) for year in years]
    return tuple(sorted((*single, *whole), key=lambda one: (one.end, one.span)))
