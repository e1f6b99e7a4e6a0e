"""Contracts: search, chains, definitions, trading rules. Source: client-portal.md section 2.1.

Strikes and the contracts of a month are there once a search has shown the underlying, as at IB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ....domain.instrument import InstrumentDetails, SecType, normalize_symbol
from ....errors import InvalidInstrument
from .. import contract_rows as rows
from ..conids import known, read_conid
from ..market_lines import MarketLines
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier

if TYPE_CHECKING:
    from ..session import PortalSession

MOST_CONIDS = 200
NOT_FOUND = "No symbol found"
#: Security types of `secdef/search`, `strikes` and `info`.
_SEARCHED = ("STK", "IND", "BOND")
_CHAINED = ("OPT", "WAR", "FOP")


class Searches:
    """The underlyings that a search of this brokerage session has shown. One by name shows no chains (`name=true`)."""

    def __init__(self, session: PortalSession) -> None:
        self.underlyings: set[int] = set()

    def close(self) -> None:
        self.underlyings.clear()

    def cool(self) -> None:
        """Chains want a new search."""
        self.underlyings.clear()


def _listed(session: PortalSession) -> list[InstrumentDetails]:
    """Everything that has not expired."""
    today = session.door.now.date()
    catalogue = session.door.exchange.catalogue()
    return [row for row in catalogue if row.instrument.expiry is None or row.instrument.expiry >= today]


def _symbols(text: str) -> list[str]:
    """Raises PortalRefusal when there is none."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise PortalRefusal("Bad Request: symbols is required")
    return found


def _same_symbol(details: InstrumentDetails, text: str) -> bool:
    try:
        return details.instrument.symbol == normalize_symbol(text)
    except InvalidInstrument:
        return False


def _learn(session: PortalSession, found: Iterable[InstrumentDetails]) -> None:
    """The session may now ask for the data of these."""
    if session.authenticated:
        session.brokerage(MarketLines).learn(found)


def stocks(session: PortalSession, request: PortalRequest) -> Answer:
    """A list a symbol, empty for one that is not traded."""
    wanted = _symbols(request.text("symbols"))
    listed = [row for row in _listed(session) if row.instrument.sec_type is SecType.STOCK]
    return Answer({text: [rows.stock_row(row) for row in listed if _same_symbol(row, text)] for text in wanted})


def futures(session: PortalSession, request: PortalRequest) -> Answer:
    """All futures on each symbol that have not expired, the last one first."""
    wanted = _symbols(request.text("symbols"))
    listed = [row for row in _listed(session) if row.instrument.sec_type is SecType.FUTURE]
    listed.sort(key=lambda row: str(row.instrument.expiry), reverse=True)
    _learn(session, [row for row in listed for text in wanted if _same_symbol(row, text)])
    return Answer({text: [rows.future_row(row) for row in listed if _same_symbol(row, text)] for text in wanted})


def definitions(session: PortalSession, request: PortalRequest) -> Answer:
    """Definitions by conid, of those that exist. Raises PortalRefusal for more than 200."""
    body = request.body.get("conids") if isinstance(request.body, dict) else None
    listed = body if isinstance(body, list) else request.text("conids").split(",")
    conids = [read_conid(session, value) for value in listed if str(value).strip()]
    if not conids or len(conids) > MOST_CONIDS:
        raise PortalRefusal(f"Bad Request: 1 to {MOST_CONIDS} conids")
    found = [conid.details for conid in conids if conid.details is not None]
    _learn(session, found)
    return Answer({"secdef": [rows.definition_row(row) for row in found]})


def search(session: PortalSession, request: PortalRequest) -> Answer:
    """By symbol, or by company with name=true; `secType` STK, IND or BOND, all without it. Raises PortalRefusal when
    there is no such symbol."""
    pattern = request.text("symbol").strip()
    kind = request.text("secType").upper()
    if not pattern:
        raise PortalRefusal("Bad Request: symbol is required")
    if kind and kind not in _SEARCHED:
        raise PortalRefusal(f"Bad Request: secType {kind}")
    by_name = request.flag("name")
    listed = _listed(session)
    named = session.door.source.contracts.matching(pattern) if by_name else []
    found = named or [row for row in listed if _same_symbol(row, pattern)]
    companies = {
        number: row for number, row in _companies(found, listed).items() if kind in ("", row["sections"][0]["secType"])
    }
    if not companies:
        raise PortalRefusal(NOT_FOUND, 500)
    _learn(session, [row for row in listed if rows.underlying_id(row) in companies] + found)
    if not by_name:
        session.brokerage(Searches).underlyings.update(companies)
    return Answer(list(companies.values()))


def _companies(found: Sequence[InstrumentDetails], listed: Sequence[InstrumentDetails]) -> dict[int, dict[str, Any]]:
    """A row an underlying: stocks, and the indexes that futures are on."""
    companies: dict[int, dict[str, Any]] = {}
    for details in found:
        stock = details.instrument.sec_type in (SecType.STOCK, SecType.INDEX)
        number = (details.instrument.con_id or 0) if stock else rows.underlying_id(details)
        if number and number not in companies:
            derived = [row for row in listed if rows.underlying_id(row) == number]
            companies[number] = _company(number, details, derived, kind="STK" if stock else "IND")
    return companies


def _company(
    number: int, details: InstrumentDetails, derived: Sequence[InstrumentDetails], *, kind: str
) -> dict[str, Any]:
    exchange = rows.listing_exchange(details)
    sections: list[dict[str, Any]] = [{"secType": kind}]
    for word in dict.fromkeys(row.instrument.sec_type.value for row in derived):
        of_kind = [row for row in derived if row.instrument.sec_type.value == word]
        of_kind.sort(key=lambda row: str(row.instrument.expiry))
        months = dict.fromkeys(rows.month_word(row) for row in of_kind)
        exchanges = dict.fromkeys(name for row in of_kind for name in row.valid_exchanges)
        sections.append({"secType": word, "months": ";".join(months), "exchange": ";".join(exchanges)})
    return {
        "conid": str(number),
        "companyHeader": f"{details.long_name} - {exchange}",
        "companyName": details.long_name,
        "symbol": details.instrument.symbol,
        "description": exchange,
        "restricted": None,
        "sections": sections,
    }


def _chain(session: PortalSession, request: PortalRequest) -> list[InstrumentDetails]:
    """The contracts of a kind and month on an underlying; none before a search has shown it."""
    text = request.text("conid")
    if not text.isascii() or not text.isdigit():
        raise PortalRefusal("Bad Request: conid is required")
    kind = (request.text("sectype") or request.text("secType")).upper()
    if not kind:
        raise PortalRefusal("Bad Request: sectype is required")
    number, month = int(text), request.text("month").upper()
    if number not in session.brokerage(Searches).underlyings:
        return []
    exchange = request.text("exchange")
    return [
        row
        for row in _listed(session)
        if rows.underlying_id(row) == number
        and row.instrument.sec_type.value == kind
        and month in ("", rows.month_word(row))
        and (not exchange or exchange in row.valid_exchanges)
    ]


def strikes(session: PortalSession, request: PortalRequest) -> Answer:
    """Strikes of a month, ascending; empty lists before the search of the underlying."""
    kind = (request.text("sectype") or request.text("secType")).upper()
    if kind not in _CHAINED:
        raise PortalRefusal(f"Bad Request: sectype must be one of {', '.join(_CHAINED)}")
    if not request.text("month"):
        raise PortalRefusal("Bad Request: month is required")
    chain = _chain(session, request)
    answer = {}
    for word, right in (("call", "C"), ("put", "P")):
        found = {float(row.instrument.strike or 0) for row in chain if row.instrument.right == right}
        answer[word] = sorted(found)
    return Answer(answer)


def info(session: PortalSession, request: PortalRequest) -> Answer:
    """The contracts of a month and strike, or the underlying itself for its own type."""
    kind = (request.text("sectype") or request.text("secType")).upper()
    exchange = request.text("exchange")
    if kind in _SEARCHED:
        return Answer([rows.derivative_row(known(session, request.text("conid")), exchange)])
    strike, right = request.text("strike"), request.text("right").upper()
    if right not in ("", "C", "P", "0"):
        raise PortalRefusal("Bad Request: right must be C or P")
    found = [
        row
        for row in _chain(session, request)
        if (not strike or strike == "0" or _is_strike(row, strike)) and right in ("", "0", row.instrument.right)
    ]
    if not found:
        raise PortalRefusal("no contracts retrieved", 500)
    return Answer([rows.derivative_row(row, exchange) for row in found])


def _is_strike(details: InstrumentDetails, text: str) -> bool:
    try:
        return float(details.instrument.strike or 0) == float(text)
    except ValueError:
        raise PortalRefusal(f"Bad Request: strike {text!r}") from None


def contract_info(session: PortalSession, request: PortalRequest) -> Answer:
    details = known(session, request.parts["conid"])
    _learn(session, [details])
    return Answer(rows.info_row(details))


def info_and_rules(session: PortalSession, request: PortalRequest) -> Answer:
    details = known(session, request.parts["conid"])
    _learn(session, [details])
    return Answer(rows.info_with_rules(details, session.door.exchange.market(details.instrument.con_id or 0).last))


def contract_rules(session: PortalSession, request: PortalRequest) -> Answer:
    """The same for a buy, a sell and a change of an order: this exchange's rules do not differ."""
    details = known(session, request.text("conid"))
    exchange = request.text("exchange")
    if exchange and exchange not in details.valid_exchanges:
        raise PortalRefusal(f"No contract found for conid {request.text('conid')}@{exchange}", 500)
    price = session.door.exchange.market(details.instrument.con_id or 0).last
    return Answer(rows.rules_row(details, price, session.door.exchange.accounts))


def currency_pairs(session: PortalSession, request: PortalRequest) -> Answer:
    """The currency pairs of the catalogue on one currency; an empty list when it has none."""
    currency = request.text("currency").upper()
    if not currency:
        raise PortalRefusal("Bad Request: currency is required")
    pairs = [row.instrument for row in _listed(session) if row.instrument.sec_type is SecType.FOREX]
    return Answer(
        {
            currency: [
                {"symbol": f"{pair.symbol}.{pair.currency}", "conid": pair.con_id, "ccyPair": pair.currency}
                for pair in pairs
                if pair.symbol == currency
            ]
        }
    )


def exchange_rate(session: PortalSession, request: PortalRequest) -> Answer:
    """How many units of `target` one unit of `source` is. Everything here is in one currency: others have no rate."""
    source, target = request.text("source").upper(), request.text("target").upper()
    if not source or not target:
        raise PortalRefusal("Bad Request: source and target are required")
    traded = {row.instrument.currency for row in session.door.exchange.catalogue()}
    if source != target or source not in traded:
        raise PortalRefusal(f"No exchange rate for {source}.{target}", 500)
    return Answer({"rate": 1.0})


ROUTES: tuple[Route, ...] = (
    Route(("GET",), "/trsrv/stocks", stocks, Tier.LOGIN, "stocks by symbol"),
    Route(("GET",), "/trsrv/futures", futures, Tier.LOGIN, "futures by symbol"),
    Route(("GET", "POST"), "/trsrv/secdef", definitions, Tier.LOGIN, "definitions by conid"),
    Route(("GET", "POST"), "/iserver/secdef/search", search, Tier.BROKERAGE, "underlyings by symbol or name"),
    Route(("GET",), "/iserver/secdef/strikes", strikes, Tier.BROKERAGE, "strikes of a month"),
    Route(("GET",), "/iserver/secdef/info", info, Tier.BROKERAGE, "contracts of a month"),
    Route(("GET",), "/iserver/contract/{conid}/info", contract_info, Tier.BROKERAGE, "one contract"),
    Route(
        ("GET",), "/iserver/contract/{conid}/info-and-rules", info_and_rules, Tier.BROKERAGE, "one contract, its rules"
    ),
    Route(("POST",), "/iserver/contract/rules", contract_rules, Tier.BROKERAGE, "what an order of it may be"),
    Route(("GET",), "/iserver/currency/pairs", currency_pairs, Tier.BROKERAGE, "currency pairs"),
    Route(("GET",), "/iserver/exchangerate", exchange_rate, Tier.BROKERAGE, "rate between two currencies"),
)
