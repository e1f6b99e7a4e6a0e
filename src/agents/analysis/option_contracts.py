"""What single option contracts add: unusual ones, short-dated and far puts' share of the volume, and the skew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from statistics import fmean

from ...brokers.domain.instrument import Instrument
from ...brokers.domain.options import OptionChain, OptionQuote
from ...brokers.errors import BrokerError, LinkError, NoData
from .measures import price_of, trading_date
from .reader import MarketReader

#: A contract is unusual above each of these (Barchart's rule): volume, open interest, last price, volume over interest.
UNUSUAL_VOLUME, UNUSUAL_INTEREST, UNUSUAL_PRICE, UNUSUAL_RATIO = 500, 100, 0.10, 1.25
#: Days to expiry that count as short, and those that the skew is taken near.
SHORT_DAYS, SKEW_DAYS = 7, 30
#: Strike over the underlying's price: far puts, the skew's puts and its calls.
FAR_PUT = 0.95
SKEW_PUTS, SKEW_CALLS = (0.80, 0.95), (0.95, 1.05)
#: Strikes that are looked at, over the underlying's price.
NEAR = (0.80, 1.15)
#: Contracts traded below which a share of the volume says nothing.
LEAST_VOLUME = 100


@dataclass(frozen=True, slots=True)
class UnusualContract:
    """One contract that passed the rule; `ratio` is volume over open interest."""

    instrument: Instrument
    volume: float
    open_interest: float
    last: float
    ratio: float


@dataclass(frozen=True, slots=True)
class ContractFigures:
    """Of the contracts looked at. Shares 0 to 1, None below 100 contracts traded; `skew` is far puts' implied
    volatility less at-the-money calls', a year (0.05 is 5 points), None when one side has none."""

    looked_at: int
    answered: int
    unusual: tuple[UnusualContract, ...]
    short_dated_share: float | None
    otm_put_share: float | None
    skew: float | None


async def figures_of_hot(
    reader: MarketReader, symbols: Sequence[str], contracts_each: int
) -> dict[str, ContractFigures | BrokerError]:
    """Figures by symbol; a symbol that fails has its error. Raises LinkError: then nothing more can be told."""
    if not symbols:
        return {}
    quotes = await reader.quotes(symbols)
    today = trading_date(await reader.market_time())

    async def one(symbol: str) -> ContractFigures | BrokerError:
        price = price_of(quotes[symbol]) if symbol in quotes else None
        if price is None:
            return NoData(f"option contracts of {symbol}", "the underlying has no price")
        try:
            chains = await reader.option_chain(symbol)
            chosen = contracts_to_ask(chains[0], price, today, contracts_each)
            answers = await reader.option_quotes(chosen)
        except LinkError:
            raise
        except BrokerError as error:
            return error
        return contract_figures(answers, price, today)

    found = await asyncio.gather(*(one(symbol) for symbol in symbols))
    return dict(zip(symbols, found, strict=True))


def contracts_to_ask(chain: OptionChain, price: float, today: date, most: int) -> list[Instrument]:
    """At most `most` contracts, puts and calls alike: of the first expiry and the one nearest 30 days, the strikes
    nearest the price within `NEAR`."""
    expiries = [day for day in chain.expiries if day >= today]
    if not expiries:
        return []
    second = min(expiries, key=lambda day: abs((day - today).days - SKEW_DAYS))
    wanted = sorted({expiries[0], second})
    strikes = [strike for strike in chain.strikes if NEAR[0] <= float(strike) / price <= NEAR[1]]
    each = max(1, most // (2 * len(wanted)))
    nearest = spread_out(strikes, each)
    return [chain.option(day, strike, right) for day in wanted for strike in nearest for right in ("C", "P")][:most]


def spread_out(strikes: Sequence[Decimal], most: int) -> list[Decimal]:
    """At most `most` of ascending strikes, evenly from the first to the last."""
    if len(strikes) <= most:
        return list(strikes)
    step = (len(strikes) - 1) / max(1, most - 1)
    return [strikes[round(place * step)] for place in range(most)]


def contract_figures(
    answers: Mapping[Instrument, OptionQuote | BrokerError], price: float, today: date
) -> ContractFigures:
    """Figures from the contracts' quotes; `price` is the underlying's."""
    quotes = {asked: answer for asked, answer in answers.items() if isinstance(answer, OptionQuote)}
    traded = {asked: quote.volume for asked, quote in quotes.items() if quote.volume is not None}
    puts = {asked: volume for asked, volume in traded.items() if asked.right == "P"}
    short = [asked for asked in traded if asked.expiry is not None and (asked.expiry - today).days <= SHORT_DAYS]
    far = [asked for asked in puts if moneyness(asked, price) <= FAR_PUT]
    unusual = (unusual_contract(asked, quote) for asked, quote in quotes.items())
    return ContractFigures(
        len(answers),
        len(quotes),
        tuple(sorted((row for row in unusual if row is not None), key=lambda row: -row.ratio)),
        _share(short, traded),
        _share(far, puts),
        _skew(quotes, price, today),
    )


def unusual_contract(asked: Instrument, quote: OptionQuote) -> UnusualContract | None:
    """The contract when it passes the rule on volume, open interest, last price and their ratio; None otherwise."""
    volume, interest, last = quote.volume, quote.open_interest, quote.last
    if volume is None or interest is None or last is None:
        return None
    if volume > UNUSUAL_VOLUME and interest > UNUSUAL_INTEREST and last > UNUSUAL_PRICE:
        ratio = volume / interest
        return UnusualContract(asked, volume, interest, last, ratio) if ratio >= UNUSUAL_RATIO else None
    return None


def moneyness(option: Instrument, price: float) -> float:
    """Strike over the underlying's price."""
    return float(option.strike or 0) / price


def _share(some: Iterable[Instrument], all_of: Mapping[Instrument, float]) -> float | None:
    total = sum(all_of.values())
    return None if total < LEAST_VOLUME else sum(all_of[one] for one in some) / total


def _skew(quotes: Mapping[Instrument, OptionQuote], price: float, today: date) -> float | None:
    """At the expiry nearest 30 days, where both sides have a volatility."""
    days = {asked.expiry for asked in quotes if asked.expiry is not None}
    for day in sorted(days, key=lambda day: abs((day - today).days - SKEW_DAYS)):
        puts = _volatilities(quotes, day, "P", SKEW_PUTS, price)
        calls = _volatilities(quotes, day, "C", SKEW_CALLS, price)
        if puts and calls:
            return fmean(puts) - fmean(calls)
    return None


def _volatilities(
    quotes: Mapping[Instrument, OptionQuote], day: date, right: str, band: tuple[float, float], price: float
) -> list[float]:
    return [
        quote.implied_volatility
        for asked, quote in quotes.items()
        if asked.expiry == day
        and asked.right == right
        and quote.implied_volatility is not None
        and band[0] <= moneyness(asked, price) <= band[1]
    ]
