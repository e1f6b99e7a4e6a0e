"""ib_async's contracts to instruments and back, with what IB tells of them. No state, no talk."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import OptionChain as IbOptionChain

from ...domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType
from ...domain.options import OptionChain
from ...errors import InvalidData, InvalidInstrument
from ..ib_vocabulary import (
    SEC_TYPE_WORDS,
    to_decimal,
)


@lru_cache(maxsize=4096)
def to_contract(instrument: Instrument) -> Contract:
    """The contract of an instrument. Shared: callers must not change it."""
    return Contract(
        secType=instrument.sec_type.value,
        conId=instrument.con_id or 0,
        symbol=instrument.symbol,
        lastTradeDateOrContractMonth=f"{instrument.expiry:%Y%m%d}" if instrument.expiry else "",
        strike=float(instrument.strike or 0),
        right=instrument.right or "",
        multiplier=str(instrument.multiplier) if instrument.multiplier != 1 else "",
        exchange=instrument.exchange,
        primaryExchange=instrument.primary_exchange or "",
        currency=instrument.currency,
        localSymbol=instrument.local_symbol or "",
        tradingClass=instrument.trading_class or "",
    )


def to_instrument(contract: Contract) -> Instrument:
    """Raises InvalidInstrument for a security type that this package has no name for."""
    return _instrument(
        contract.symbol,
        contract.secType,
        contract.currency,
        contract.exchange or "SMART",
        contract.primaryExchange,
        contract.conId,
        contract.localSymbol,
        contract.tradingClass,
        contract.lastTradeDateOrContractMonth,
        contract.strike,
        contract.right,
        contract.multiplier,
    )


def to_held(contract: Contract) -> Instrument:
    """The instrument of a position or an execution. Both name the place of listing or of the trade as the exchange;
    what is held is traded by SMART where IB routes it."""
    instrument = to_instrument(contract)
    if instrument.sec_type in (SecType.STOCK, SecType.OPTION) and instrument.exchange != "SMART":
        return _routed(instrument)
    return instrument


@lru_cache(maxsize=4096)
def _routed(instrument: Instrument) -> Instrument:
    return replace(instrument, exchange="SMART")


@lru_cache(maxsize=4096)
def _instrument(
    symbol: str,
    sec_type: str,
    currency: str,
    exchange: str,
    primary: str,
    number: int,
    local: str,
    trading_class: str,
    expiry: str,
    strike: float,
    right: str,
    multiplier: str,
) -> Instrument:
    kind = SEC_TYPE_WORDS.get(sec_type)
    if kind is None:
        raise InvalidInstrument(f"contract {local or symbol or number}", f"security type {sec_type!r} is not known")
    is_derivative = kind in (SecType.OPTION, SecType.FUTURE)
    return Instrument(
        symbol,
        kind,
        currency or "USD",
        exchange,
        primary or None,
        number or None,
        local or None,
        trading_class or None,
        _expiry(expiry) if is_derivative else None,
        to_decimal(strike) if kind is SecType.OPTION else None,
        right[:1] if kind is SecType.OPTION and right[:1] in ("C", "P") else None,
        to_decimal(multiplier) or Decimal(1),
    )


def _expiry(text: str) -> date | None:
    digits = text.split()[0] if text else ""
    if len(digits) != 8 or not digits.isdigit():
        return None  # a contract month alone names no last trading day
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def to_details(details: ContractDetails) -> InstrumentDetails:
    """`increments` hold the minimum tick alone; the exchange's market rule is a question of its own."""
    if details.contract is None:
        raise InvalidData("contract details", "they carry no contract")
    defaults = InstrumentDetails(to_instrument(details.contract))
    minimum = to_decimal(details.minTick)
    return InstrumentDetails(
        instrument=defaults.instrument,
        long_name=details.longName,
        market_name=details.marketName,
        increments=(PriceIncrement(Decimal(0), minimum),) if minimum else defaults.increments,
        min_size=to_decimal(details.minSize) or defaults.min_size,
        size_increment=to_decimal(details.sizeIncrement) or defaults.size_increment,
        order_types=frozenset(filter(None, details.orderTypes.split(","))),
        valid_exchanges=tuple(filter(None, details.validExchanges.split(","))) or defaults.valid_exchanges,
        time_zone=details.timeZoneId or defaults.time_zone,
        trading_hours=details.tradingHours,
        liquid_hours=details.liquidHours,
        industry=details.industry,
        category=details.category,
        subcategory=details.subcategory,
        stock_type=details.stockType,
        contract_month=details.contractMonth,
        under_con_id=details.underConId or None,
        market_rule_ids=tuple(int(rule) for rule in details.marketRuleIds.split(",") if rule.strip().isdigit()),
        identifiers=tuple((str(row.tag), str(row.value)) for row in details.secIdList or ()),
    )


def to_chain(row: IbOptionChain, underlying: Instrument) -> OptionChain:
    """Dates and strikes that cannot be read are left out."""
    days = {day for text in row.expirations if (day := _expiry(text)) is not None}
    strikes = {strike for value in row.strikes if (strike := to_decimal(value))}
    return OptionChain(
        underlying,
        row.tradingClass,
        to_decimal(row.multiplier) or Decimal(1),
        tuple(sorted(days)),
        tuple(sorted(strikes)),
        row.exchange,
    )


def to_increments(rows: Any) -> tuple[PriceIncrement, ...]:
    """A market rule (message 93), ascending from 0."""
    steps = [(to_decimal(row.lowEdge), to_decimal(row.increment)) for row in rows or ()]
    return tuple(sorted((PriceIncrement(edge, step) for edge, step in steps if edge is not None and step), key=_edge))


def _edge(row: PriceIncrement) -> Decimal:
    return row.low_edge
