"""The paper gateway's contract catalogue: real numbers where they are certain, numbers of our own where not.

A derived contract number starts at 900 000 000, far above those that IB has given out, so that nobody mistakes one for
IB's own. Details follow what a real IB Gateway sent for AAPL (message 10).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ..domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType, normalize_symbol
from ..errors import InvalidData, InvalidInstrument
from .history import SessionCalendar
from .hours import Hours, venue_of
from .walk import seed_for

DERIVED_CON_IDS = range(900_000_000, 990_000_000)

_CENT = (PriceIncrement(Decimal(0), Decimal("0.01")),)
_SUB_DOLLAR = (PriceIncrement(Decimal(0), Decimal("0.0001")), PriceIncrement(Decimal(1), Decimal("0.01")))
_QUARTER = (PriceIncrement(Decimal(0), Decimal("0.25")),)
_PENNY_OPTIONS = (PriceIncrement(Decimal(0), Decimal("0.01")), PriceIncrement(Decimal(3), Decimal("0.05")))

#: Market rule id -> price increments (messages 92/93). 26 is IB's for US stocks; 9001 is our own, for stocks that trade
#: below one dollar (Regulation NMS rule 612), and so is 9002, for options of the penny programme; 67 is IB's for equity
#: index futures in quarter points.
MARKET_RULES: dict[int, tuple[PriceIncrement, ...]] = {
    26: _CENT,
    67: _QUARTER,
    9001: _SUB_DOLLAR,
    9002: _PENNY_OPTIONS,
}

#: What the paper exchange matches, in IB's words (contractData field orderTypes).
STOCK_ORDER_TYPES = frozenset(
    (
        "COND",
        "DAY",
        "GAT",
        "GTC",
        "GTD",
        "IOC",
        "LMT",
        "LOC",
        "MIDPX",
        "MKT",
        "MOC",
        "OCA",
        "OPG",
        "RTH",
        "STP",
        "STPLMT",
    )
) | {"TRAIL", "WHATIF"}
FUTURE_ORDER_TYPES = STOCK_ORDER_TYPES - {"LOC", "MIDPX", "MOC", "OPG"}
STOCK_EXCHANGES = ("SMART", "NYSE", "NASDAQ", "ARCA", "BATS", "IEX")
#: The letters of US exchanges on the tape, which SMART's bid and ask exchanges are made of.
EXCHANGE_LETTERS = {"NYSE": "N", "NASDAQ": "Q", "ARCA": "P", "BATS": "Z", "IEX": "V"}

MATCHING_SYMBOLS = 16  #: at most so many answers to reqMatchingSymbols


@dataclass(frozen=True, slots=True)
class StockRow:
    con_id: int
    primary_exchange: str
    trading_class: str
    long_name: str
    industry: str = ""
    category: str = ""
    stock_type: str = "COMMON"


#: Contract numbers that IB itself has given out.
STOCKS: dict[str, StockRow] = {
    "AAPL": StockRow(265598, "NASDAQ", "NMS", "APPLE INC", "Technology", "Computers"),
    "MSFT": StockRow(272093, "NASDAQ", "NMS", "MICROSOFT CORP", "Technology", "Software"),
    "IBM": StockRow(8314, "NYSE", "IBM", "INTL BUSINESS MACHINES CORP", "Technology", "Computers"),
    "GOOG": StockRow(208813720, "NASDAQ", "NMS", "ALPHABET INC-CL C", "Communications", "Internet"),
    "GOOGL": StockRow(208813719, "NASDAQ", "NMS", "ALPHABET INC-CL A", "Communications", "Internet"),
    "AMZN": StockRow(3691937, "NASDAQ", "NMS", "AMAZON.COM INC", "Communications", "Internet"),
    "META": StockRow(107113386, "NASDAQ", "NMS", "META PLATFORMS INC-CLASS A", "Communications", "Internet"),
    "NVDA": StockRow(4815747, "NASDAQ", "NMS", "NVIDIA CORP", "Technology", "Semiconductors"),
    "TSLA": StockRow(76792991, "NASDAQ", "NMS", "TESLA INC", "Consumer, Cyclical", "Auto Manufacturers"),
    "NFLX": StockRow(15124833, "NASDAQ", "NMS", "NETFLIX INC", "Communications", "Internet"),
    "INTC": StockRow(270639, "NASDAQ", "NMS", "INTEL CORP", "Technology", "Semiconductors"),
    "AMD": StockRow(4391, "NASDAQ", "NMS", "ADVANCED MICRO DEVICES", "Technology", "Semiconductors"),
    "SPY": StockRow(756733, "ARCA", "SPY", "SPDR S&P 500 ETF TRUST", stock_type="ETF"),
    "QQQ": StockRow(320227571, "NASDAQ", "NMS", "INVESCO QQQ TRUST SERIES 1", stock_type="ETF"),
}

#: The future of the recordings: June 2026 Micro E-mini S&P 500.
MES = InstrumentDetails(
    Instrument(
        "MES",
        SecType.FUTURE,
        exchange="CME",
        con_id=770561194,
        local_symbol="MESM6",
        trading_class="MES",
        expiry=date(2026, 6, 18),
        multiplier=Decimal(5),
    ),
    long_name="Micro E-Mini S&P 500 Stock Price Index",
    market_name="MES",
    increments=_QUARTER,
    order_types=FUTURE_ORDER_TYPES,
    valid_exchanges=("CME",),
    time_zone="America/Chicago",
    contract_month="202606",
    market_rule_ids=(67,),
)


#: Indexes, by IB's own contract numbers; they are quoted by their last value alone, and nobody trades them.
INDEXES: dict[str, tuple[int, str]] = {
    "SPX": (416904, "S&P 500 Stock Index"),
    "VIX": (13455763, "CBOE Volatility Index"),
}


def index(symbol: str) -> InstrumentDetails:
    """Details of one of `INDEXES`, without trading hours."""
    con_id, name = INDEXES[symbol]
    return InstrumentDetails(
        Instrument(symbol, SecType.INDEX, exchange="CBOE", con_id=con_id, local_symbol=symbol, trading_class=symbol),
        long_name=name,
        market_name=symbol,
        increments=_CENT,
        # what can be done with an index at IB: have an alert on it
        order_types=frozenset({"ALERT"}),
        valid_exchanges=("CBOE",),
    )


def listed(symbol: str) -> InstrumentDetails:
    """Details of a symbol in its normal spelling: the future, an index, or else a US stock."""
    if symbol == "MES":
        return MES
    return index(symbol) if symbol in INDEXES else stock(symbol)


def derived_con_id(symbol: str) -> int:
    """A contract number of our own for a symbol whose real one is not known; the same in every run."""
    return DERIVED_CON_IDS.start + seed_for("con_id", symbol) % len(DERIVED_CON_IDS)


def stock(symbol: str, *, sub_dollar: bool = False) -> InstrumentDetails:
    """A US stock's details without trading hours (see `with_hours`). `sub_dollar`: it trades below 1.00 at times."""
    symbol = normalize_symbol(symbol)
    row = STOCKS.get(symbol) or StockRow(derived_con_id(symbol), "NASDAQ", "NMS", symbol)
    rule = 9001 if sub_dollar else 26
    return InstrumentDetails(
        Instrument(
            symbol,
            primary_exchange=row.primary_exchange,
            con_id=row.con_id,
            local_symbol=symbol,
            trading_class=row.trading_class,
        ),
        long_name=row.long_name,
        market_name=row.trading_class,
        increments=MARKET_RULES[rule],
        order_types=STOCK_ORDER_TYPES,
        valid_exchanges=STOCK_EXCHANGES,
        industry=row.industry,
        category=row.category,
        subcategory=row.category,
        stock_type=row.stock_type,
        market_rule_ids=(rule,) * len(STOCK_EXCHANGES),
    )


def with_hours(
    details: InstrumentDetails, calendar: SessionCalendar, now: datetime, days: int = 6
) -> InstrumentDetails:
    """`details` with the trading and liquid hours of the `days` days from `now` on, as IB words them."""
    zone = ZoneInfo(details.time_zone)
    first = now.astimezone(zone).date()
    hours = Hours(calendar)
    trading, liquid = [], []
    for offset in range(days):
        day = first + timedelta(days=offset)
        session = hours.day(venue_of(details.instrument), day)
        if session is None:
            trading.append(f"{day:%Y%m%d}:CLOSED")
            liquid.append(f"{day:%Y%m%d}:CLOSED")
            continue
        extended = details.instrument.sec_type is not SecType.OPTION
        trading.append(
            _hours(*((session.pre_open, session.post_close) if extended else (session.open, session.close)), zone)
        )
        liquid.append(_hours(session.open, session.close, zone))
    return replace(details, trading_hours=";".join(trading), liquid_hours=";".join(liquid))


def _hours(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    return f"{start.astimezone(zone):%Y%m%d:%H%M}-{end.astimezone(zone):%Y%m%d:%H%M}"


class ContractBook:
    """Looks contracts up as the TWS does: by number, or by the fields of a description."""

    def __init__(self, catalogue: Iterable[InstrumentDetails]) -> None:
        self._by_id: dict[int, InstrumentDetails] = {}
        for details in catalogue:
            con_id = details.instrument.con_id
            if con_id is None or con_id in self._by_id:
                raise InvalidData(
                    f"contract {details.instrument}",
                    f"contract number {con_id} is missing or taken",
                    "rename one of the symbols",
                    con_id=con_id,
                )
            self._by_id[con_id] = details

    def all(self) -> Sequence[InstrumentDetails]:
        return tuple(self._by_id.values())

    def by_id(self, con_id: int) -> InstrumentDetails | None:
        return self._by_id.get(con_id)

    def find(
        self,
        symbol: str = "",
        sec_type: SecType | str = "",
        *,
        exchange: str = "",
        currency: str = "",
        primary_exchange: str = "",
        local_symbol: str = "",
        trading_class: str = "",
        expiry: str = "",
    ) -> list[InstrumentDetails]:
        """Every contract that fits all the fields given; an empty field fits anything. Several answers: ambiguous.

        `expiry` is `YYYYMM` or `YYYYMMDD`. With neither symbol nor local symbol nothing fits.
        """
        try:
            symbol = normalize_symbol(symbol) if symbol else ""
        except InvalidInstrument:
            return []
        if not symbol and not local_symbol:
            return []
        wanted = {
            "symbol": symbol,
            "sec_type": str(sec_type),
            "currency": currency,
            "local_symbol": local_symbol,
            "trading_class": trading_class,
        }
        return [
            details
            for details in self._by_id.values()
            if all(not value or value == str(getattr(details.instrument, name)) for name, value in wanted.items())
            and _on_exchange(details, exchange, primary_exchange)
            and (not expiry or _expires(details.instrument, expiry))
        ]

    def matching(self, pattern: str) -> list[InstrumentDetails]:
        """Answers to reqMatchingSymbols: symbols that start with the pattern, then names with a word that does."""
        wanted = " ".join(pattern.upper().replace(".", " ").split())
        if not wanted:
            return []
        by_symbol = [row for row in self._by_id.values() if row.instrument.symbol.startswith(wanted)]
        by_symbol.sort(key=lambda row: (row.instrument.symbol != wanted, row.instrument.symbol))
        by_name = [row for row in self._by_id.values() if row not in by_symbol and _named(row, wanted)]
        by_name.sort(key=lambda row: row.instrument.symbol)
        return (by_symbol + by_name)[:MATCHING_SYMBOLS]


def _on_exchange(details: InstrumentDetails, exchange: str, primary_exchange: str) -> bool:
    # IB calls NASDAQ "ISLAND" in older API versions.
    names = {"ISLAND": "NASDAQ"}
    exchange, primary = names.get(exchange, exchange), names.get(primary_exchange, primary_exchange)
    listed = details.instrument.primary_exchange
    return (not exchange or exchange in details.valid_exchanges) and (
        not primary or listed is None or primary == listed
    )


def _expires(instrument: Instrument, expiry: str) -> bool:
    return instrument.expiry is not None and f"{instrument.expiry:%Y%m%d}".startswith(expiry[:8])


def _named(details: InstrumentDetails, wanted: str) -> bool:
    name = details.long_name.upper()
    return name.startswith(wanted) or f" {wanted}" in name
