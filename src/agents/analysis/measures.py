"""Numbers from one quote and the daily bars before it: how today compares with this symbol's own history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise
from statistics import fmean, median, stdev
from zoneinfo import ZoneInfo

from ...brokers.domain.market_data import Bar, Quote
from ...brokers.errors import BrokerError
from ..trading.aegs_score import Score, score
from .evidence import EvidenceRow, evidence_row
from .session_share import TOO_EARLY, volume_share

#: The trading day that a moment belongs to is New York's.
EXCHANGE_ZONE = ZoneInfo("America/New_York")
#: Sessions in a year, for volatilities.
YEAR = 252
LONG, SHORT, MONTH, ATR = 60, 5, 20, 14
#: A standard deviation of a volatility below which it counts as standing still.
LEAST_SPREAD = 1e-6


def trading_date(moment: datetime) -> date:
    """The New York date of `moment`."""
    return moment.astimezone(EXCHANGE_ZONE).date()


def closed_before(bars: Sequence[Bar], now: datetime) -> list[Bar]:
    """Bars of the days before `now`'s trading date, ascending: today's own is never looked at."""
    today = trading_date(now)
    return sorted((bar for bar in bars if bar.time.date() < today), key=lambda bar: bar.time)


def volatility_z(now: float | None, bars: Sequence[Bar]) -> tuple[float | None, str | None]:
    """(standard deviations of `now` from the closes of the last 20 closed `bars` of it, why there is none)."""
    closes = [bar.close for bar in bars[-MONTH:]]
    if now is None:
        return None, "implied volatility not told"
    if len(closes) < MONTH:
        return None, f"only {len(closes)} of {MONTH} sessions have an implied volatility"
    spread = stdev(closes)
    if spread <= LEAST_SPREAD:
        return None, f"it did not move in {MONTH} sessions"
    return (now - fmean(closes)) / spread, None


def quote_rows(quote: Quote, bars: Sequence[Bar], time_share: float | None) -> list[EvidenceRow]:
    """What the quote tells. The close before is the last of the closed daily `bars`, the quote's own without any: a
    line that has been open for days may still tell an old one. Before the open the gap is the present price's."""
    at, last = quote.time, price_of(quote)
    close = bars[-1].close if bars else quote.close
    spread = None
    if quote.mid is not None and quote.bid is not None and quote.ask is not None:
        spread = (quote.ask - quote.bid) / quote.mid * 10_000
    opening = last if time_share == 0 else quote.open
    halted = None if quote.halted is None else "yes" if quote.halted else "no"
    return [
        evidence_row("quote.last", last, at, "neither a last price nor a two-sided quote"),
        evidence_row("quote.spread_bps", spread, at, "the quote is not two-sided"),
        evidence_row("quote.halted", halted, at, "the broker does not tell"),
        evidence_row("price.change_pct", _change(last, close), at, "no last price or no previous close"),
        evidence_row("price.gap_pct", _change(opening, close), at, "no opening price or no previous close"),
    ]


def history_rows(quote: Quote | None, bars: Sequence[Bar], time_share: float | None) -> list[EvidenceRow]:
    """Today against the closed daily `bars`. `time_share` is the share of today's session that has passed, None when
    that is not known."""
    at = quote.time if quote is not None else None
    bar_time = bars[-1].time if bars else None
    last = None if quote is None else price_of(quote)
    moves = returns(bars)
    few = f"{len(bars)} closed daily bars are too few"
    sigma = None
    if last is not None and bars and len(moves) >= LONG and (spread := stdev(moves[-LONG:])) > 0:
        sigma = math.log(last / bars[-1].close) / spread
    ratio, no_ratio = volume_ratio(quote, bars, time_share)
    return [
        evidence_row(
            "price.sigma", sigma, at, few if len(moves) < LONG else "no last price, or no move in 60 sessions"
        ),
        evidence_row("price.change_3d_pct", _change(last, bars[-3].close) if len(bars) >= 3 else None, at, few),
        evidence_row("volume.ratio", ratio, at, no_ratio),
        evidence_row("volume.last_session_ratio", _last_session_ratio(bars), bar_time, few),
        evidence_row("volatility.hv20_pct", realised(moves, MONTH), bar_time, few),
        evidence_row("volatility.hv_ratio", _hv_ratio(moves), bar_time, few),
        evidence_row("volatility.range_atr", _range_atr(quote, bars), at, "no range today, or too few bars"),
        *_aegs_rows(bars, bar_time),
    ]


def price_of(quote: Quote) -> float | None:
    """The last price, else half way between bid and ask; None when there is neither."""
    return quote.last if quote.last is not None and quote.last > 0 else quote.mid


def returns(bars: Sequence[Bar]) -> list[float]:
    """Logarithmic returns from close to close."""
    closes = [bar.close for bar in bars if bar.close > 0]
    return [math.log(after / before) for before, after in pairwise(closes)]


def realised(moves: Sequence[float], sessions: int) -> float | None:
    """Volatility of the last `sessions` returns in percent a year; None for fewer."""
    return None if len(moves) < sessions else stdev(moves[-sessions:]) * math.sqrt(YEAR) * 100


def true_ranges(bars: Sequence[Bar]) -> list[float]:
    """Each bar's range, the gap from the close before it included; the first bar has none."""
    pairs = pairwise(bars)
    return [max(bar.high, before.close) - min(bar.low, before.close) for before, bar in pairs]


def wilder(values: Sequence[float], length: int) -> float | None:
    """Wilder's smoothed mean; None for fewer values than `length`."""
    if len(values) < length:
        return None
    mean = fmean(values[:length])
    for value in values[length:]:
        mean += (value - mean) / length
    return mean


def volume_ratio(quote: Quote | None, bars: Sequence[Bar], time_share: float | None) -> tuple[float | None, str]:
    """(today's volume against what the median of 20 sessions had by now, why there is none)."""
    usual = _median_volume(bars[-MONTH:])
    if quote is None or quote.volume is None:
        return None, "the quote has no volume"
    if usual is None:
        return None, "too few bars with a volume"
    if time_share is None:
        return None, "the session's hours are not known"
    if time_share < TOO_EARLY:
        return None, "the session has only just begun"
    return quote.volume / (usual * volume_share(time_share)), ""


def _aegs_rows(bars: Sequence[Bar], time: datetime | None) -> list[EvidenceRow]:
    found: Score | None = None
    why = None
    try:
        found = aegs(bars)
    except BrokerError as error:
        why = f"{error.what}: {error.why}"
    values = found.indicators if found is not None else None
    return [
        evidence_row("aegs.points", None if found is None else float(found.points), time, why),
        evidence_row("aegs.rsi", None if values is None else values.rsi, time, why),
        evidence_row("aegs.bb_position", None if values is None else values.bb_position, time, why),
        evidence_row("aegs.distance_pct", None if values is None else values.distance_pct, time, why),
    ]


def aegs(bars: Sequence[Bar]) -> Score:
    """The live AEGS score of closed daily bars. Raises NoData, InvalidData."""
    import pandas as pd

    rows = [(bar.close, math.nan if bar.volume is None else bar.volume) for bar in bars]
    return score(pd.DataFrame(rows, columns=["Close", "Volume"], dtype="float64"))


def _change(price: float | None, base: float | None) -> float | None:
    return None if price is None or base is None or base <= 0 or price <= 0 else (price / base - 1) * 100


def _median_volume(bars: Sequence[Bar]) -> float | None:
    volumes = [bar.volume for bar in bars if bar.volume is not None]
    found = median(volumes) if len(volumes) >= MONTH // 2 else 0.0
    return found if found > 0 else None


def _last_session_ratio(bars: Sequence[Bar]) -> float | None:
    usual = _median_volume(bars[-MONTH - 1 : -1])
    return None if usual is None or bars[-1].volume is None else bars[-1].volume / usual


def _hv_ratio(moves: Sequence[float]) -> float | None:
    brief, long = realised(moves, SHORT), realised(moves, LONG)
    return None if brief is None or not long else brief / long


def _range_atr(quote: Quote | None, bars: Sequence[Bar]) -> float | None:
    average = wilder(true_ranges(bars), ATR)
    if quote is None or quote.high is None or quote.low is None or not average:
        return None
    return (max(quote.high, bars[-1].close) - min(quote.low, bars[-1].close)) / average
