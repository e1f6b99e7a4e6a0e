"""Requests about contracts: details, symbol search, market rules, exchanges, option chains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from ....domain.instrument import InstrumentDetails, SecType
from ...contracts import EXCHANGE_LETTERS, MARKET_RULES, with_hours
from ...options.listing import MULTIPLIER, OPTION_EXCHANGES
from .. import requests as r
from ..messages_out import DepthExchange, PriceIncrement, SmartComponent, SymbolSample
from ..orders_out import contract_details
from ..request import Request
from ..session import Refusal, Session
from ..times import zone_text
from ..wire_contract import NOT_FOUND, check_security_type, find, wire_contract

#: What derivatives are on; index futures are all that there is beside options on stocks.
_UNDERLYING = {SecType.OPTION: SecType.STOCK}
#: bboExchange of tickReqParams: the only set of components that there is.
BBO_EXCHANGE = "9c0001"


def details(session: Session, request: r.ReqContractDetails) -> None:
    wanted = request.contract
    if not wanted.conId:
        check_security_type(wanted)
    catalogue: Iterable[InstrumentDetails] = session.door.listed(wanted)
    if request.secId:
        catalogue = [row for row in catalogue if (request.secIdType, request.secId) in row.identifiers]
    found = list(catalogue) if request.secId else find(catalogue, wanted)
    if not request.includeExpired:
        today = session.door.now.date()
        found = [row for row in found if row.instrument.expiry is None or row.instrument.expiry >= today]
    if not found:
        raise Refusal(200, NOT_FOUND)
    for row in found:
        session.write(details_frame(session, request.reqId, row, wanted.exchange))
    session.send("contractDetailsEnd", reqId=request.reqId)


def details_frame(session: Session, req_id: int, row: InstrumentDetails, exchange: str = "") -> bytes:
    """contractDetails of one catalogue row, with the hours from today on."""
    row = with_hours(row, session.door.source.calendar, session.door.now)
    instrument = row.instrument
    contract = wire_contract(instrument, exchange or instrument.exchange)
    stock = instrument.sec_type is SecType.STOCK
    return contract_details(
        session.version,
        req_id,
        contract,
        marketName=row.market_name,
        minTick=float(min(step.increment for step in row.increments)),
        orderTypes=",".join(sorted(row.order_types)),
        validExchanges=",".join(row.valid_exchanges),
        underConId=row.under_con_id or 0,
        longName=row.long_name,
        contractMonth=row.contract_month,
        industry=row.industry,
        category=row.category,
        subcategory=row.subcategory,
        timeZoneId=zone_text(row.time_zone),
        tradingHours=row.trading_hours,
        liquidHours=row.liquid_hours,
        secIdList=tuple(row.identifiers),
        underSymbol="" if stock else instrument.symbol,
        underSecType="" if stock else _UNDERLYING.get(instrument.sec_type, SecType.INDEX).value,
        marketRuleIds=",".join(str(number) for number in row.market_rule_ids),
        realExpirationDate=f"{instrument.expiry:%Y%m%d}" if instrument.expiry else "",
        stockType=row.stock_type,
        minSize=row.min_size,
        sizeIncrement=row.size_increment,
        suggestedSizeIncrement=Decimal(100) if stock else row.size_increment,
    )


def matching_symbols(session: Session, request: r.ReqMatchingSymbols) -> None:
    samples = [
        SymbolSample(
            row.instrument.con_id or 0,
            row.instrument.symbol,
            row.instrument.sec_type.value,
            row.instrument.primary_exchange or row.instrument.exchange,
            row.instrument.currency,
            (SecType.OPTION.value,) if session.door.options.listing(row.instrument.con_id or 0) else (),
            row.long_name,
        )
        for row in session.door.source.contracts.matching(request.pattern)
    ]
    session.send("symbolSamples", reqId=request.reqId, samples=samples)


def option_chains(session: Session, request: r.ReqSecDefOptParams) -> None:
    """Strikes and expiries listed on the underlying; none means the end mark alone, as for options on futures."""
    door = session.door
    if door.exchange.details(request.underlyingConId) is None:
        raise Refusal(200, NOT_FOUND)
    listing = None if request.futFopExchange else door.options.listing(request.underlyingConId)
    if listing is not None:
        for exchange in sorted(OPTION_EXCHANGES):
            session.send(
                "securityDefinitionOptionParameter",
                reqId=request.reqId,
                exchange=exchange,
                underlyingConId=request.underlyingConId,
                tradingClass=listing.trading_class,
                multiplier=f"{MULTIPLIER:f}",
                expirations=[f"{day:%Y%m%d}" for day in listing.days],
                strikes=[float(strike) for strike in listing.strikes],
            )
    session.send("securityDefinitionOptionParameterEnd", reqId=request.reqId)


def market_rule(session: Session, request: r.ReqMarketRule) -> None:
    rule = MARKET_RULES.get(request.marketRuleId)
    if rule is None:
        raise Refusal(321, "Error validating request.-'cn' : cause - Invalid market rule id", -1)
    session.send(
        "marketRule",
        marketRuleId=request.marketRuleId,
        priceIncrements=[PriceIncrement(step.low_edge, step.increment) for step in rule],
    )


def depth_exchanges(session: Session, request: r.ReqMktDepthExchanges) -> None:
    venues = {name for row in session.door.exchange.catalogue() for name in row.valid_exchanges} - {"SMART"}
    session.send(
        "mktDepthExchanges",
        exchanges=[
            DepthExchange(name, "STK" if name in EXCHANGE_LETTERS else "FUT", "", "Deep2", None)
            for name in sorted(venues)
        ],
    )


def smart_components(session: Session, request: r.ReqSmartComponents) -> None:
    if request.bboExchange != BBO_EXCHANGE:
        raise Refusal(321, "Error validating request.-'ce' : cause - Invalid BBO exchange mapping key")
    components = [SmartComponent(bit, name, letter) for bit, (name, letter) in enumerate(EXCHANGE_LETTERS.items())]
    session.send("smartComponents", reqId=request.reqId, components=components)


HANDLERS: dict[type[Request], Callable[..., Any]] = {
    r.ReqContractDetails: details,
    r.ReqMatchingSymbols: matching_symbols,
    r.ReqSecDefOptParams: option_chains,
    r.ReqMarketRule: market_rule,
    r.ReqMktDepthExchanges: depth_exchanges,
    r.ReqSmartComponents: smart_components,
}
