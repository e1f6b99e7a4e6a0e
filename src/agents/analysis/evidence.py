"""Evidence: one fact about one symbol, computed here, with its unit, its source and its time; or why it is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...brokers.errors import InvalidData


@dataclass(frozen=True, slots=True)
class Kind:
    """What an evidence id stands for. `private` rows are of the user's account: they are reported, and no language
    model reads them."""

    name: str
    unit: str
    source: str
    private: bool = False


#: Every evidence id but those of news. Percentages in percent; ratios and shares plain, 1 is all of it.
KINDS: Mapping[str, Kind] = {
    "quote.last": Kind("last price", "USD", "quote"),
    "quote.spread_bps": Kind("bid-ask spread", "bps of mid", "quote"),
    "quote.halted": Kind("trading halted", "yes/no", "quote"),
    "price.change_pct": Kind("last against previous close", "%", "quote"),
    "price.gap_pct": Kind("open against previous close", "%", "quote"),
    "price.sigma": Kind("today's move", "standard deviations of 60 daily moves", "quote, daily bars"),
    "price.change_3d_pct": Kind("last against the close three sessions before", "%", "quote, daily bars"),
    "volume.ratio": Kind("today's volume against what 20 sessions' median had by now", "x", "quote, daily bars"),
    "volume.last_session_ratio": Kind("last session's volume against the median of 20 before it", "x", "daily bars"),
    "volatility.hv20_pct": Kind("realised volatility of 20 sessions, a year", "%", "daily bars"),
    "volatility.hv_ratio": Kind("realised volatility of 5 sessions against 60", "x", "daily bars"),
    "volatility.range_atr": Kind("today's true range against ATR14", "x", "quote, daily bars"),
    "aegs.points": Kind("AEGS live score", "points of 165", "daily bars"),
    "aegs.rsi": Kind("RSI, 14 sessions, simple mean", "0 to 100", "daily bars"),
    "aegs.bb_position": Kind("place between the Bollinger bands", "0 lower, 1 upper", "daily bars"),
    "aegs.distance_pct": Kind("last close against SMA20", "%", "daily bars"),
    "options.flow_score": Kind("options flow score", "0 to 100", "options"),
    "options.coverage": Kind("share of the flow score's weights that had data", "of 1", "options"),
    "options.direction": Kind("way of the options flow", "word", "options"),
    "options.volume_spike": Kind("option volume against its average by now", "x", "options"),
    "options.volume_oi": Kind("option volume against open interest", "x", "options"),
    "options.pcr_volume": Kind("put/call ratio of volume", "x", "options"),
    "options.pcr_oi": Kind("put/call ratio of open interest", "x", "options"),
    "options.call_share": Kind("calls' share of option volume", "of 1", "options"),
    "options.iv_pct": Kind("implied volatility, 30 days", "%", "options"),
    "options.iv_z20": Kind("implied volatility against its own 20 sessions", "standard deviations", "options, IV bars"),
    "options.iv_hv": Kind("implied against historical volatility", "x", "options"),
    "options.os_ratio": Kind("option volume per 100 shares traded", "contracts", "options, quote"),
    "options.unusual_contracts": Kind("contracts with unusual activity", "contracts", "option contracts"),
    "options.short_dated_share": Kind("volume within 7 days of expiry", "of 1", "option contracts"),
    "options.otm_put_share": Kind("volume of puts at 95 % of the price or lower", "of all puts", "option contracts"),
    "options.skew": Kind("volatility of out-of-the-money puts less at-the-money calls", "of 1", "option contracts"),
    "contract.type": Kind("type of stock", "word", "contract details"),
    "contract.industry": Kind("industry", "word", "contract details"),
    "contract.category": Kind("category", "word", "contract details"),
    "fundamentals.market_cap_m": Kind("market capitalisation", "million", "company report"),
    "fundamentals.pe": Kind("price against earnings of four quarters", "x", "company report"),
    "fundamentals.price_to_book": Kind("price against book value", "x", "company report"),
    "fundamentals.ev_to_ebitda": Kind("enterprise value against EBITDA of four quarters", "x", "company report"),
    "fundamentals.gross_margin_pct": Kind("gross margin", "%", "company report"),
    "fundamentals.ebitda_margin_pct": Kind("EBITDA margin", "%", "company report"),
    "fundamentals.net_margin_pct": Kind("net margin", "%", "company report"),
    "fundamentals.return_on_equity_pct": Kind("return on equity", "%", "company report"),
    "fundamentals.cash_to_price_pct": Kind("cash a share against the price", "%", "company report"),
    "fundamentals.employees": Kind("employees", "people", "company report"),
    "fundamentals.revenue_per_employee_k": Kind("revenue an employee in a year", "thousand", "company report"),
    "fundamentals.float_pct": Kind("shares that float, of all", "%", "company report"),
    "fundamentals.revenue_growth_pct": Kind("revenue of four quarters against the four before", "%", "company report"),
    "fundamentals.eps_growth_pct": Kind(
        "earnings a share of four quarters against the four before", "%", "company report"
    ),
    "fundamentals.dividend_yield_pct": Kind("dividends of four quarters against the price", "%", "company report"),
    "position.weight_pct": Kind("position's share of net liquidation, negative short", "%", "account", private=True),
    "position.unrealized_pct": Kind("unrealised profit against cost", "%", "account", private=True),
    "position.day_pct": Kind("position's profit today against net liquidation", "%", "account", private=True),
    "account.day_pct": Kind("account's profit today against net liquidation", "%", "account", private=True),
}


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One fact. `value` is None exactly when `missing` says why; `time` is the value's own (market time, aware UTC),
    None where nothing was told. Raises InvalidData for a number that is not finite or a row that is both or neither."""

    id: str
    name: str
    value: float | str | None
    unit: str
    source: str
    time: datetime | None
    missing: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.missing):
            raise InvalidData(f"evidence {self.id}", "a row has a value or says why it has none, never both or neither")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise InvalidData(f"evidence {self.id}", f"{self.value} is not a finite number", "leave it missing")

    @property
    def text(self) -> str:
        """The row in words: `today's move: 4.2 standard deviations of 60 daily moves (quote, daily bars)`."""
        if self.value is None:
            return f"{self.name}: not known, {self.missing}"
        shown = self.value if isinstance(self.value, str) else f"{self.value:.4g}"
        unit = "" if self.unit in ("word", "yes/no") else f" {self.unit}"
        return f"{self.name}: {shown}{unit} ({self.source})"


@dataclass(frozen=True, slots=True)
class EvidenceSet:
    """All that is known of one symbol at `time` (market time, aware UTC)."""

    symbol: str
    time: datetime
    rows: tuple[EvidenceRow, ...]

    def row(self, id: str) -> EvidenceRow | None:
        return next((row for row in self.rows if row.id == id), None)

    def number(self, id: str) -> float | None:
        """The row's number; None when it is missing or a word."""
        row = self.row(id)
        return row.value if row is not None and isinstance(row.value, float) else None

    @property
    def values(self) -> dict[str, float | str]:
        """What is known, by id."""
        return {row.id: row.value for row in self.rows if row.value is not None}

    @property
    def missing(self) -> dict[str, str]:
        """Why the others are not, by id."""
        return {row.id: row.missing for row in self.rows if row.missing is not None}


def evidence_row(id: str, value: float | str | None, time: datetime | None, missing: str | None = None) -> EvidenceRow:
    """A row of `KINDS`. A number that is not finite counts as missing; `missing` is used where there is no value."""
    kind = KINDS[id]
    if isinstance(value, int | float):
        value = float(value) if math.isfinite(value) else None
    elif value is not None and not value.strip():
        value = None
    why = None if value is not None else missing or "it cannot be computed from what the broker sent"
    return EvidenceRow(id, kind.name, value, kind.unit, kind.source, time, why, kind.private)


def missing_rows(ids: Iterable[str], why: str) -> list[EvidenceRow]:
    """Rows that are all missing for the same reason."""
    return [evidence_row(id, None, None, why) for id in ids]


def ids_of(*groups: str) -> list[str]:
    """Ids of `KINDS` whose first part is one of `groups`."""
    return [id for id in KINDS if id.partition(".")[0] in groups]


def row_json(row: EvidenceRow) -> dict[str, Any]:
    """The row for a report; its time as ISO 8601."""
    return {
        "id": row.id,
        "name": row.name,
        "value": row.value,
        "unit": row.unit,
        "source": row.source,
        "time": None if row.time is None else row.time.isoformat(),
        "missing": row.missing,
    }
