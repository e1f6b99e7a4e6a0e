"""Options flow: how unusual the trading in a symbol's options is, 0 to 100, and which way it points.

One market-data line tells the underlying's own part; contracts are asked for only where that part is already hot. The
weights below are a choice, published; a part without data leaves the score and lowers `coverage`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.domain.options import OptionActivity
from ...brokers.errors import BrokerError, InvalidInstrument, NoData
from .option_contracts import ContractFigures, UnusualContract, figures_of_hot
from .reader import MarketReader
from .session_share import TOO_EARLY, session_time_share, volume_share


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Weight:
    """A part of the score: 0 at `calm` or below, 1 at `full` or above, straight between."""

    weight: float
    calm: float
    full: float
    text: str


#: Part -> its weight and range. The weights add up to 1. `put_call` is |ln ratio|, so 2 and 0.5 count the same.
WEIGHTS: Mapping[str, Weight] = {
    "volume_spike": Weight(0.25, 1.0, 5.0, "option volume {:.1f}x its average by now"),
    "volume_oi": Weight(0.10, 0.2, 1.0, "option volume {:.2f}x open interest"),
    "put_call": Weight(0.15, math.log(1.2), math.log(4.0), "put/call volume {:.2f}"),
    "concentration": Weight(0.10, 0.5, 0.9, "{:.0%} of option volume on one side"),
    "iv_hv": Weight(0.10, 1.0, 2.0, "implied volatility {:.2f}x historical"),
    "unusual": Weight(0.15, 0.0, 5.0, "{:.0f} contracts with unusual activity"),
    "short_dated": Weight(0.05, 0.4, 0.9, "{:.0%} of volume within 7 days of expiry"),
    "otm_puts": Weight(0.05, 0.2, 0.6, "{:.0%} of put volume far below the price"),
    "skew": Weight(0.05, 0.05, 0.20, "out-of-the-money puts {:.2f} of volatility above calls"),
}
#: Contracts traded, or open, below which a put/call ratio says nothing.
LEAST_CONTRACTS = 500
#: Put/call ratio of volume above which flow is bearish, below which bullish; and calls' share that is bullish.
BEARISH, BULLISH, CALLS_LEAD = 2.0, 0.5, 0.7
#: Less of the weights than this is no score.
LEAST_COVERAGE = 0.3
#: From this score of the underlying's part on, a symbol's contracts are looked at.
HOT = 35.0


@dataclass(frozen=True, slots=True)
class FlowPart:
    """One part: `value` as measured, `severity` 0 to 1; both None when `missing` says why."""

    name: str
    weight: float
    value: float | None
    severity: float | None
    text: str = ""
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class FlowScore:
    """`score` is 0 (usual) to 100; None when less than `LEAST_COVERAGE` of the weights had data. `coverage` is their
    share, 0 to 1. Ratios are None below 500 contracts or without calls; `call_share` is of volume. `time` is the
    activity's (market time, aware UTC)."""

    symbol: str
    time: datetime
    score: float | None
    coverage: float
    direction: Direction
    parts: tuple[FlowPart, ...]
    put_call_volume: float | None = None
    put_call_open_interest: float | None = None
    call_share: float | None = None
    implied_volatility: float | None = None
    total_volume: float | None = None
    unusual: tuple[UnusualContract, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Parts that count, the heaviest first."""
        counted = [part for part in self.parts if part.severity]
        return tuple(part.text for part in sorted(counted, key=lambda part: -(part.weight * (part.severity or 0))))

    def part(self, name: str) -> FlowPart:
        return next(part for part in self.parts if part.name == name)


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """`hot` is the score of the underlying's part from which contracts are asked for, of at most `most_hot` symbols
    and `contracts_each` contracts of one: these are market-data lines."""

    hot: float = HOT
    most_hot: int = 5
    contracts_each: int = 24


async def get_options_flow_score(reader: MarketReader, symbol: str, settings: FlowSettings | None = None) -> FlowScore:
    """The score of one symbol, its contracts looked at when it is hot. Raises what the broker raises for it."""
    found = await scan_options_flow(reader, [symbol], settings)
    answer = next(iter(found.values()), None)
    if answer is None:
        raise NoData(f"options flow of {symbol}", "the broker left it out")
    if isinstance(answer, BrokerError):
        raise answer
    return answer


async def scan_options_flow(
    reader: MarketReader,
    symbols: Iterable[str],
    settings: FlowSettings | None = None,
    *,
    time_shares: Mapping[str, float | None] | None = None,
) -> dict[str, FlowScore | BrokerError]:
    """Scores keyed by normalised symbol, hot ones with their contracts; a symbol that fails has its error as value.

    One line an underlying, asked for in one round. `time_shares` are shares of the session that have passed, by
    symbol, where the caller knows them already. Raises what concerns the whole round (NotSupported, LinkError).
    """
    chosen = settings or FlowSettings()
    names = list(dict.fromkeys(_spelling(symbol) for symbol in symbols))
    activity = await reader.option_activity(names)
    shares = time_shares if time_shares is not None else await _time_shares(reader, activity)
    found: dict[str, FlowScore | BrokerError] = {}
    hot: dict[str, tuple[float, OptionActivity]] = {}
    for name in names:
        row = activity.get(name, NoData(f"option activity of {name}", "the broker left it out"))
        if isinstance(row, BrokerError):
            found[name] = row
            continue
        found[name] = first = flow_score(name, row, shares.get(name))
        heat = first.score if first.score is not None else 0.0
        if heat >= chosen.hot:
            hot[name] = heat, row
    hottest = sorted(hot, key=lambda name: (-hot[name][0], name))[: chosen.most_hot]
    figures = await figures_of_hot(reader, hottest, chosen.contracts_each)
    for name in hottest:
        found[name] = flow_score(name, hot[name][1], shares.get(name), figures[name])
    return found


def flow_score(
    symbol: str,
    activity: OptionActivity,
    time_share: float | None,
    contracts: ContractFigures | BrokerError | None = None,
) -> FlowScore:
    """The score from one underlying's activity and, where they were looked at, its contracts' figures."""
    calls, puts = activity.call_volume, activity.put_volume
    total = None if calls is None or puts is None else calls + puts
    ratio = bounded_ratio(puts, calls)
    share = None if total is None or calls is None or total < LEAST_CONTRACTS else calls / total
    measured = _underlying_values(activity, total, ratio, share, time_share) | _contract_values(contracts)
    parts = tuple(_part(name, row, *measured[name]) for name, row in WEIGHTS.items())
    coverage = sum(part.weight for part in parts if part.severity is not None)
    weighted = sum(part.weight * part.severity for part in parts if part.severity is not None)
    return FlowScore(
        symbol,
        activity.time,
        100 * weighted / coverage if coverage >= LEAST_COVERAGE else None,
        round(coverage, 4),
        _direction(ratio, share),
        parts,
        ratio,
        bounded_ratio(activity.put_open_interest, activity.call_open_interest),
        share,
        activity.implied_volatility,
        total,
        contracts.unusual if isinstance(contracts, ContractFigures) else (),
    )


def bounded_ratio(puts: float | None, calls: float | None) -> float | None:
    """Puts over calls; None when one is not known, there are no calls, or fewer than 500 of both."""
    return None if puts is None or not calls or puts + calls < LEAST_CONTRACTS else puts / calls


_Measured = tuple[float | None, str]


def _underlying_values(
    activity: OptionActivity, total: float | None, ratio: float | None, share: float | None, time_share: float | None
) -> dict[str, _Measured]:
    few = f"fewer than {LEAST_CONTRACTS} contracts, or not told"
    return {
        "volume_spike": _spike(total, activity.average_volume, time_share),
        "volume_oi": _over(total, _sum(activity.call_open_interest, activity.put_open_interest), "open interest"),
        "put_call": (ratio, few),
        "concentration": (None if share is None else max(share, 1 - share), few),
        "iv_hv": _over(activity.implied_volatility, activity.historical_volatility, "volatility"),
    }


def _contract_values(contracts: ContractFigures | BrokerError | None) -> dict[str, _Measured]:
    if isinstance(contracts, ContractFigures):
        few = "too little volume or no volatility in the contracts looked at"
        return {
            "unusual": (float(len(contracts.unusual)), ""),
            "short_dated": (contracts.short_dated_share, few),
            "otm_puts": (contracts.otm_put_share, few),
            "skew": (contracts.skew, few),
        }
    why = "contracts are asked for only where the underlying's options are busy" if contracts is None else contracts.why
    return dict.fromkeys(("unusual", "short_dated", "otm_puts", "skew"), (None, why or "the broker did not answer"))


def _part(name: str, row: Weight, value: float | None, missing: str) -> FlowPart:
    if value is None:
        return FlowPart(name, row.weight, None, None, missing=missing)
    on_scale = value
    if name == "put_call":
        # No puts at all is as one-sided as it gets.
        on_scale = abs(math.log(value)) if value > 0 else math.inf
    return FlowPart(name, row.weight, value, ramp(on_scale, row.calm, row.full), row.text.format(value))


def ramp(value: float, calm: float, full: float) -> float:
    """0 at `calm` or below, 1 at `full` or above, straight between."""
    return min(1.0, max(0.0, (value - calm) / (full - calm)))


def _spike(total: float | None, average: float | None, time_share: float | None) -> _Measured:
    if time_share is None:
        return None, "the session's hours are not known"
    if time_share < TOO_EARLY:
        return None, "the session has only just begun"
    return _over(total, None if average is None else average * volume_share(time_share), "average option volume")


def _over(value: float | None, base: float | None, name: str) -> _Measured:
    return (None, f"{name} not told") if value is None or not base else (value / base, "")


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _direction(ratio: float | None, share: float | None) -> Direction:
    if ratio is not None and ratio > BEARISH:
        return Direction.DOWN
    if (ratio is not None and ratio < BULLISH) or (share is not None and share > CALLS_LEAD):
        return Direction.UP
    return Direction.UNCLEAR


async def _time_shares(
    reader: MarketReader, activity: Mapping[str, OptionActivity | BrokerError]
) -> dict[str, float | None]:
    """Shares of the session that have passed, by the contract's own hours; None where those are not known."""
    now = await reader.market_time()
    shares: dict[str, float | None] = {}
    for name, row in activity.items():
        try:
            if not isinstance(row, BrokerError):
                shares[name] = session_time_share(await reader.details(row.instrument), now)
        except BrokerError:
            shares[name] = None
    return shares


def _spelling(symbol: str) -> str:
    try:
        return normalize_symbol(symbol)
    except InvalidInstrument:
        return symbol
