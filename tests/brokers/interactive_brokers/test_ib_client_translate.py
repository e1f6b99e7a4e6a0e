"""What IB says becomes what we mean: no sentinel gets through, nothing is lost, nothing of the caller's is touched."""

import math
import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async.contract import Contract, ContractDetails, TagValue
from ib_async.objects import BarData, CommissionReport, Execution
from ib_async.order import Order, OrderState
from ib_async.ticker import Ticker
from ib_async.util import UNSET_DOUBLE, UNSET_INTEGER
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.market_data import DataType, Quote
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.reports import BrokerStatus, WireOrder
from moondev_ibkr.brokers.errors import InvalidData, InvalidInstrument
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import contracts, market_values, translate
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import quote_maker
from moondev_ibkr.brokers.interactive_brokers.ib_vocabulary import (
    DATA_TYPES,
    to_halted,
    to_market_price,
    to_market_size,
)
from moondev_ibkr.config.settings import TickDecoder

D = Decimal
NOW = datetime(2025, 1, 2, 15, tzinfo=UTC)
AAPL = Instrument("AAPL", con_id=265598, primary_exchange="NASDAQ", local_symbol="AAPL", trading_class="NMS")
OPTION = Instrument(
    "AAPL",
    SecType.OPTION,
    con_id=700001,
    expiry=date(2026, 6, 19),
    strike=D("200.5"),
    right="C",
    multiplier=D(100),
    local_symbol="AAPL  260619C00200500",
)
FUTURE = Instrument("MES", SecType.FUTURE, exchange="CME", con_id=637533641, expiry=date(2025, 3, 21), multiplier=D(5))


@pytest.mark.parametrize("instrument", [AAPL, OPTION, FUTURE, Instrument("BRK.B", con_id=72063691)])
def test_contracts_survive_the_way_there_and_back(instrument):
    assert contracts.to_instrument(contracts.to_contract(instrument)) == instrument


def test_share_classes_travel_in_ibs_spelling():
    assert contracts.to_contract(Instrument("brk-b")).symbol == "BRK B"


def test_an_unknown_security_type_is_an_error_not_a_stock():
    with pytest.raises(InvalidInstrument):
        contracts.to_instrument(Contract(symbol="X", secType="CRYPTO", conId=5))


def test_what_is_held_is_routed_by_smart_and_futures_stay_where_they_are():
    listed = Contract(symbol="AAPL", secType="STK", exchange="NASDAQ", currency="USD", conId=265598)
    assert contracts.to_held(listed).exchange == "SMART"
    assert contracts.to_held(contracts.to_contract(FUTURE)).exchange == "CME"


def test_contract_details():
    details = ContractDetails(
        contract=contracts.to_contract(AAPL),
        marketName="NMS",
        minTick=0.01,
        orderTypes="LMT,MKT,",
        validExchanges="SMART,NYSE",
        marketRuleIds="26,557",
        timeZoneId="US/Eastern",
        minSize=1.0,
        sizeIncrement=100.0,
        secIdList=[TagValue("ISIN", "US0378331005")],
    )
    told = contracts.to_details(details)
    assert told.instrument == AAPL
    assert told.increments[0].increment == D("0.01")
    assert (told.min_size, told.size_increment) == (1, 100)
    assert told.order_types == {"LMT", "MKT"}
    assert told.market_rule_ids == (26, 557)
    assert told.identifiers == (("ISIN", "US0378331005"),)
    assert contracts.to_details(ContractDetails(contract=contracts.to_contract(AAPL))).increments[0].increment > 0
    with pytest.raises(InvalidData):
        contracts.to_details(ContractDetails())


def wire(**fields):
    intent = NewOrder(AAPL, Side.BUY, D(10), key="k1", **fields)
    return WireOrder(5, intent, "DU1", transmit=False, parent_id=4)


def test_an_order_is_built_fresh_and_complete():
    order = wire(
        type=OrderType.STOP_LIMIT,
        stop_price=D("10.1"),
        limit_price=D("10.2"),
        tif=TimeInForce.GTD,
        good_till=NOW,
        outside_rth=True,
        oca_group="oca-k1",
    )
    first, second = translate.to_ib_order(order), translate.to_ib_order(order)
    assert first is not second
    assert (first.orderType, first.auxPrice, first.lmtPrice) == ("STP LMT", 10.1, 10.2)
    assert (first.goodTillDate, first.tif, first.outsideRth) == ("20250102-15:00:00", "GTD", True)
    assert (first.ocaGroup, first.ocaType, first.orderRef) == ("oca-k1", 1, "k1")
    assert (first.transmit, first.parentId, first.account) == (False, 4, "DU1")


@pytest.mark.parametrize(
    "fields",
    [
        {"type": OrderType.MARKET},
        {"type": OrderType.LIMIT, "limit_price": D("10.25")},
        {"type": OrderType.TRAIL, "trail_amount": D("0.5"), "stop_price": D("9.5")},
        {"type": OrderType.TRAIL, "trail_percent": D("5")},
        {"type": OrderType.MIDPRICE, "limit_price": D("10.5")},
    ],
)
def test_the_echo_of_an_order_is_the_order(fields):
    order = wire(**fields)
    echo = translate.to_ib_order(order)
    echo.permId = 77
    told = translate.to_broker_order(5, contracts.to_contract(AAPL), echo, OrderState(status="Submitted"))
    assert (told.type, told.quantity, told.key, told.perm_id) == (order.intent.type, 10, "k1", 77)
    assert told.status is BrokerStatus.SUBMITTED
    for name in ("limit_price", "stop_price", "trail_amount", "trail_percent"):
        assert getattr(told, name) == getattr(order.intent, name)


def test_a_foreign_order_of_a_kind_we_do_not_know_keeps_ibs_own_word():
    order = Order(action="SSHORT", totalQuantity=3, orderType="PEG MID", lmtPrice=0.0, auxPrice=UNSET_DOUBLE, tif="FOK")
    told = translate.to_broker_order(-1, contracts.to_contract(AAPL), order, OrderState(status="Odd"))
    assert (told.type, told.type_text, told.side, told.tif, told.status) == (None, "PEG MID", Side.SELL, None, None)
    assert (told.limit_price, told.key) == (None, None)
    with pytest.raises(InvalidData):
        translate.to_broker_order(1, contracts.to_contract(AAPL), Order(action="?"), OrderState())


def test_a_completed_order_tells_its_size_and_time():
    order = Order(action="BUY", totalQuantity=0.0, filledQuantity=25.0, orderType="MKT", tif="DAY")
    state = OrderState(status="Filled", completedTime="20250102 10:00:00 US/Eastern", completedStatus="Filled Size: 25")
    told = translate.to_broker_order(0, contracts.to_contract(AAPL), order, state)
    assert (told.quantity, told.completed_time) == (25, NOW)
    broken = OrderState(status="Filled", completedTime="yesterday")
    assert translate.to_broker_order(0, contracts.to_contract(AAPL), order, broken).completed_time is None


def test_executions_and_commissions():
    execution = Execution(
        execId="0001.01",
        time=NOW,
        acctNumber="DU1",
        exchange="ARCA",
        side="SLD",
        shares=7.0,
        price=10.125,
        permId=9,
        clientId=2,
        orderId=5,
        liquidation=1,
        cumQty=7.0,
        orderRef="k1",
    )
    fill = translate.to_fill(contracts.to_contract(AAPL), execution)
    assert (fill.side, fill.quantity, fill.price, fill.order_key) == (Side.SELL, 7, D("10.125"), "k1")
    assert fill.liquidation
    assert fill.commission is None
    report = CommissionReport(execId="0001.01", commission=1.0, currency="USD", realizedPNL=UNSET_DOUBLE)
    fill = translate.to_fill(contracts.to_contract(AAPL), execution, report)
    assert (fill.commission, fill.realized_pnl) == (1, None)
    assert translate.to_commission(CommissionReport("x", UNSET_DOUBLE)) is None
    for broken in (Execution(side="?"), Execution(side="BOT", shares=0.0), Execution(side="BOT", shares=float("nan"))):
        with pytest.raises(InvalidData):
            translate.to_fill(contracts.to_contract(AAPL), broken)


def test_o34_what_a_what_if_does_not_tell_is_none():
    state = OrderState(initMarginChange="3000.5", maintMarginAfter="", equityWithLoanAfter="1.7976931348623157E308")
    told = translate.to_what_if(state)
    assert told.initial_margin_change == D("3000.5")
    assert (told.maintenance_margin_after, told.equity_after, told.commission) == (None, None, None)
    assert told.excess_liquidity_after is None


def test_account_values():
    values = {
        ("NetLiquidation", "EUR"): "100000.50",
        ("BuyingPower", "EUR"): "400000",
        ("UnrealizedPnL", "BASE"): "-12.5",
        ("UnrealizedPnL", "USD"): "-13",
        ("RealizedPnL", "EUR"): "3",
        ("DayTradesRemaining", ""): "-1",
        ("AccountType", ""): "INDIVIDUAL",
    }
    told = translate.to_account_summary("DU1", values, NOW)
    assert (told.currency, told.net_liquidation, told.buying_power) == ("EUR", D("100000.50"), 400000)
    assert (told.unrealized_pnl, told.realized_pnl) == (D("-12.5"), 3)
    assert told.day_trades_remaining is None
    assert told.total_cash is None
    assert translate.to_account_summary("DU1", {("DayTradesRemaining", ""): "3"}, NOW).day_trades_remaining == 3


def test_h06_bars_are_utc_and_impossible_ones_are_refused():
    daily = market_values.to_bar(
        BarData(date=date(2025, 1, 2), open=1, high=2, low=0.5, close=1.5, volume=-1, average=0)
    )
    assert daily.time == datetime(2025, 1, 2, tzinfo=UTC)
    assert (daily.volume, daily.average) == (None, None)
    assert market_values.to_bar(BarData(date=NOW, open=1, high=2, low=0.5, close=1.5, volume=0)).volume == 0
    with pytest.raises(InvalidData):
        market_values.to_bar(BarData(date=NOW, open=-1, high=-1, low=-1, close=-1))


def test_d06_a_ticker_with_nothing_in_it_is_a_quote_of_nothing():
    ticker = Ticker(contract=contracts.to_contract(AAPL))
    quote = market_values.to_quote(ticker, AAPL, NOW, "tws")
    values = [getattr(quote, name) for name in ("bid", "ask", "last", "bid_size", "volume", "close", "halted")]
    assert values == [None] * 7
    ticker.bid, ticker.ask, ticker.last = -1.0, 0.0, 150.0
    ticker.bidSize, ticker.marketDataType, ticker.halted = 0.0, 3, 1.0
    quote = market_values.to_quote(ticker, AAPL, NOW, "tws")
    assert (quote.bid, quote.ask, quote.last, quote.bid_size) == (None, None, 150.0, 0.0)
    assert quote.data_type is DataType.DELAYED
    assert quote.halted is True


ANY_NUMBER = st.one_of(
    st.sampled_from([-1.0, 0.0, math.nan, math.inf, -math.inf, UNSET_DOUBLE, UNSET_INTEGER, 1.0, 2.0, None]),
    st.floats(),
)
PRICE_FIELDS = {
    "bid": "bid",
    "ask": "ask",
    "last": "last",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
}
SIZE_FIELDS = {"bid_size": "bidSize", "ask_size": "askSize", "last_size": "lastSize", "volume": "volume"}


#: Both of them where the extension was built, and the pure one twice elsewhere.
QUOTE_MAKERS = [quote_maker(TickDecoder.PURE), quote_maker()]


@pytest.mark.parametrize("to_quote", QUOTE_MAKERS, ids=["pure", "auto"])
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_quote_holds_what_the_vocabulary_says_of_each_field_and_is_an_ordinary_frozen_quote(to_quote, data):
    ticker = Ticker(contract=contracts.to_contract(AAPL))
    for name in (*PRICE_FIELDS.values(), *SIZE_FIELDS.values(), "halted"):
        setattr(ticker, name, data.draw(ANY_NUMBER))
    ticker.marketDataType = data.draw(st.integers(0, 5))
    expected = Quote(
        AAPL,
        NOW,
        **{ours: to_market_price(getattr(ticker, theirs)) for ours, theirs in PRICE_FIELDS.items()},
        **{ours: to_market_size(getattr(ticker, theirs)) for ours, theirs in SIZE_FIELDS.items()},
        halted=to_halted(ticker.halted),
        data_type=DATA_TYPES.get(ticker.marketDataType, DataType.LIVE),
        source="tws",
    )
    quote = to_quote(ticker, AAPL, NOW, "tws")
    assert type(quote) is Quote
    assert (quote, hash(quote), repr(quote)) == (expected, hash(expected), repr(expected))
    assert replace(quote, suspect="x") == replace(expected, suspect="x")
    assert pickle.loads(pickle.dumps(quote)) == expected
    with pytest.raises(FrozenInstanceError):
        quote.bid = 1.0
