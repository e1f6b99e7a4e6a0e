"""Contracts: search, definitions and trading rules, and which instrument a row of the portal is about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ...domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType
from ...errors import InvalidInstrument, NoData, NotSupported
from ..ib_transport import SymbolMatch
from .answers import expect_list, expect_object
from .limits import Priority
from .session import Session
from .wire import HttpCall
from .words import RULE_TYPES, SEC_TYPES, TIF_WORDS, to_int, to_number, to_price

#: Candidates of one description that are looked at.
MOST_CANDIDATES = 20
#: Security types that a row alone describes.
_PLAIN = frozenset({SecType.STOCK, SecType.INDEX, SecType.BOND})
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Contracts:
    """Questions about contracts, and the instruments that they made known."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[int, Instrument] = {}
        self._finders: Mapping[SecType, Callable[[Instrument], Coroutine[Any, Any, list[int]]]] = {
            SecType.STOCK: self._stocks,
            SecType.INDEX: self._indexes,
            SecType.FUTURE: self._futures,
            SecType.OPTION: self._options,
            SecType.FOREX: self._pairs,
        }

    # Rows

    def known(self, con_id: int) -> Instrument | None:
        return self._known.get(con_id)

    def knows(self, row: Mapping[str, Any]) -> bool:
        """Whether `of_row` can tell the instrument."""
        con_id = to_int(row.get("conid"))
        return con_id in self._known or _sec_type(row) in _PLAIN

    def of_row(self, row: Mapping[str, Any]) -> Instrument:
        """The instrument of an order's, execution's or position's row. Raises InvalidInstrument."""
        con_id = to_int(row.get("conid"))
        known = self._known.get(con_id or 0)
        if known is not None:
            return known
        kind = _sec_type(row)
        symbol = row.get("ticker") or row.get("symbol") or row.get("contractDesc") or row.get("description1")
        if con_id is None or kind not in _PLAIN or not symbol:
            raise InvalidInstrument(f"contract {con_id} {symbol}", "its definition has not been read yet", "ask again")
        listed = row.get("listingExchange") or row.get("listing_exchange")
        return Instrument(
            str(symbol),
            kind,
            str(row.get("cashCcy") or row.get("currency") or "USD"),
            primary_exchange=str(listed) if listed else None,
            con_id=con_id,
        )

    async def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Read the definitions that rows need and that are not known. Raises what asking raises."""
        needed = {to_int(row.get("conid")) for row in rows if not self.knows(row)}
        numbers = sorted(number for number in needed if number)
        if numbers:
            for definition in await self._definitions(numbers):
                self._instrument(definition, {})

    # Details

    async def contract_details(self, instrument: Instrument) -> Sequence[InstrumentDetails]:
        """Every contract that fits; empty when the portal knows none. Raises NotSupported for combinations and bonds
        that have no number."""
        if instrument.con_id is not None:
            return await self._details([instrument.con_id])
        finder = self._finders.get(instrument.sec_type)
        if finder is None:
            raise NotSupported(
                f"contract {instrument}",
                f"the portal does not search {instrument.sec_type}",
                "give its contract number, or ask through TWS",
            )
        try:
            found = await finder(instrument)
        except NoData:
            return []
        return await self._details(found[:MOST_CANDIDATES])

    async def _details(self, numbers: Sequence[int]) -> list[InstrumentDetails]:
        if not numbers:
            return []
        definitions = await self._definitions(numbers)
        rules = await asyncio.gather(*(self._rules(definition) for definition in definitions))
        return [self._to_details(one, info) for one, info in zip(definitions, rules, strict=True)]

    async def _definitions(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        call = HttpCall("GET", "/trsrv/secdef", {"conids": ",".join(map(str, numbers))}, what="contract definitions")
        body = expect_object(call, await self._session.ask(call))
        return expect_list(call, body.get("secdef"))

    async def _rules(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        number = to_int(definition.get("conid"))
        call = HttpCall(
            "GET", f"/iserver/contract/{number}/info-and-rules", {"isBuy": "true"}, what=f"rules of contract {number}"
        )
        return expect_object(call, await self._session.ask(call))

    def _instrument(self, definition: Mapping[str, Any], info: Mapping[str, Any]) -> Instrument:
        """Raises InvalidInstrument."""
        number = to_int(definition.get("conid"))
        kind = SEC_TYPES.get(str(definition.get("assetClass") or info.get("instrument_type") or ""), SecType.STOCK)
        derived = kind in (SecType.OPTION, SecType.FUTURE)
        right = str(definition.get("putOrCall") or "")[:1]
        multiplier = to_number(definition.get("multiplier")) if derived else None
        listed = definition.get("listingExchange")
        smart = kind in (SecType.STOCK, SecType.OPTION)
        instrument = Instrument(
            str(definition.get("ticker") or info.get("symbol") or ""),
            kind,
            str(definition.get("currency") or info.get("currency") or "USD"),
            exchange="SMART" if smart else str(listed or info.get("exchange") or "SMART"),
            primary_exchange=str(listed) if listed and smart else None,
            con_id=number,
            local_symbol=str(info["local_symbol"]) if info.get("local_symbol") else None,
            trading_class=str(info["trading_class"]) if info.get("trading_class") else None,
            expiry=_day(definition.get("lastTradingDay") or definition.get("expiry")) if derived else None,
            strike=to_price(definition.get("strike")) if kind is SecType.OPTION else None,
            right=right if right in ("C", "P") else None,
            multiplier=multiplier or Decimal(1),
        )
        if number is not None:
            self._known[number] = instrument
        return instrument

    def _to_details(self, definition: Mapping[str, Any], info: Mapping[str, Any]) -> InstrumentDetails:
        instrument = self._instrument(definition, info)
        rules: Mapping[str, Any] = info["rules"] if isinstance(info.get("rules"), dict) else {}
        offered = {RULE_TYPES[word] for word in rules.get("orderTypes") or () if word in RULE_TYPES}
        exchanges = str(info.get("valid_exchanges") or definition.get("allExchanges") or instrument.exchange)
        return InstrumentDetails(
            instrument,
            long_name=str(info.get("company_name") or definition.get("name") or ""),
            increments=_increments(definition, rules),
            # the rules' sizeIncrement is the ticket's preset, not a lot (fault O49)
            order_types=frozenset(offered | set(TIF_WORDS.values())) if offered else frozenset(),
            valid_exchanges=tuple(filter(None, exchanges.split(","))),
            industry=str(info.get("industry") or ""),
            category=str(info.get("category") or ""),
            stock_type=str(definition.get("type") or ""),
            contract_month=str(info.get("contract_month") or ""),
            under_con_id=to_int(definition.get("undConid")) or None,
        )

    # Searching

    async def _stocks(self, asked: Instrument) -> list[int]:
        """US listings where there are any and dollars are asked for, every listing else."""
        call = HttpCall("GET", "/trsrv/stocks", {"symbols": asked.symbol}, what=f"stocks of {asked.symbol}")
        body = expect_object(call, await self._session.ask(call))
        listings = [
            listing
            for company in expect_list(call, body.get(asked.symbol, []))
            for listing in company.get("contracts") or ()
            if isinstance(listing, dict)
        ]
        american = [row for row in listings if row.get("isUS") is True]
        if asked.currency == "USD" and american:
            listings = american
        if asked.primary_exchange is not None:
            listings = [row for row in listings if row.get("exchange") == asked.primary_exchange] or listings
        return _numbers(row.get("conid") for row in listings)

    async def _search(self, symbol: str, kind: str) -> list[dict[str, Any]]:
        call = HttpCall("GET", "/iserver/secdef/search", {"symbol": symbol, "secType": kind}, what=f"search {symbol}")
        body = await self._session.ask(call)
        return [] if body is None else expect_list(call, body)

    async def _indexes(self, asked: Instrument) -> list[int]:
        rows = await self._search(asked.symbol, "IND")
        return _numbers(
            row.get("conid")
            for row in rows
            if any(section.get("secType") == "IND" for section in row.get("sections") or ())
        )

    async def _futures(self, asked: Instrument) -> list[int]:
        call = HttpCall("GET", "/trsrv/futures", {"symbols": asked.symbol}, what=f"futures of {asked.symbol}")
        body = expect_object(call, await self._session.ask(call))
        rows = expect_list(call, body.get(asked.symbol, []))
        if asked.expiry is not None:
            rows = [row for row in rows if asked.expiry in (_day(row.get("ltd")), _day(row.get("expirationDate")))]
        return _numbers(row.get("conid") for row in rows)

    async def _options(self, asked: Instrument) -> list[int]:
        """The search must come first: it makes the chain known to the portal."""
        assert asked.expiry is not None  # an option without one cannot be made
        month = f"{_MONTHS[asked.expiry.month - 1]}{asked.expiry:%y}"
        found: list[int] = []
        for company in await self._search(asked.symbol, "STK"):
            chains = [row for row in company.get("sections") or () if row.get("secType") == "OPT"]
            if not any(month in str(row.get("months", "")) for row in chains):
                continue
            query = {
                "conid": str(company.get("conid")),
                "sectype": "OPT",
                "month": month,
                "strike": f"{asked.strike:f}",
                "right": str(asked.right),
            }
            call = HttpCall("GET", "/iserver/secdef/info", query, what=f"options of {asked}")
            rows = expect_list(call, await self._session.ask(call))
            found += _numbers(row.get("conid") for row in rows if _day(row.get("maturityDate")) == asked.expiry)
        return found

    async def _pairs(self, asked: Instrument) -> list[int]:
        call = HttpCall("GET", "/iserver/currency/pairs", {"currency": asked.symbol}, what=f"pairs of {asked.symbol}")
        body = expect_object(call, await self._session.ask(call))
        rows = expect_list(call, body.get(asked.symbol, []))
        wanted = f"{asked.symbol}.{asked.currency}"
        return _numbers(row.get("conid") for row in rows if row.get("symbol") == wanted)

    async def matching_symbols(self, pattern: str) -> list[SymbolMatch]:
        try:
            rows = await self._search(pattern, "STK")
        except NoData:
            return []
        return [_match(row) for row in rows if row.get("symbol") and to_int(row.get("conid"))]

    async def exchange_rate(self, source: str, target: str) -> Decimal | None:
        """Units of `target` for one of `source`; None when not told."""
        call = HttpCall(
            "GET", "/iserver/exchangerate", {"source": source, "target": target}, what=f"rate {source}.{target}"
        )
        body = expect_object(call, await self._session.ask(call, Priority.DATA))
        return to_number(body.get("rate"))


def _match(row: Mapping[str, Any]) -> SymbolMatch:
    kinds = tuple(str(one.get("secType")) for one in row.get("sections") or () if isinstance(one, dict))
    kind = next((SEC_TYPES[word] for word in kinds if word in ("STK", "IND")), SecType.STOCK)
    listed = str(row.get("description") or "") or None
    instrument = Instrument(str(row["symbol"]), kind, primary_exchange=listed, con_id=to_int(row.get("conid")))
    return SymbolMatch(instrument, str(row.get("companyName") or ""), kinds)


def _sec_type(row: Mapping[str, Any]) -> SecType | None:
    word = row.get("secType") or row.get("sec_type") or row.get("assetClass")
    return SEC_TYPES.get(str(word or ""))


def _numbers(values: Iterable[Any]) -> list[int]:
    return list(dict.fromkeys(number for value in values if (number := to_int(value)) is not None))


def _day(value: Any) -> date | None:
    """From "20261218" or the number."""
    try:
        return datetime.strptime(str(value or ""), "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None


def _increments(definition: Mapping[str, Any], rules: Mapping[str, Any]) -> tuple[PriceIncrement, ...]:
    """The definition's bands, else the one step of the rules, else a cent."""
    bands = [
        PriceIncrement(edge, step)
        for row in definition.get("incrementRules") or ()
        if (edge := to_number(row.get("lowerEdge"))) is not None
        and (step := to_price(row.get("increment"))) is not None
    ]
    if bands:
        return tuple(sorted(bands, key=lambda band: band.low_edge))
    step = to_price(rules.get("increment")) or Decimal("0.01")
    return (PriceIncrement(Decimal(0), step),)
