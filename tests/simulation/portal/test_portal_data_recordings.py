"""Contracts, market data and alerts have the shape of what IB's own servers sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, SecType
from moondev_ibkr.brokers.simulation.flat import FlatTape
from moondev_ibkr.brokers.simulation.portal.request import Answer
from moondev_ibkr.brokers.simulation.tapes import WalkedPrices

from .recordings import assert_like, differences, names, needs_recordings
from .rig import AAPL_ID, ACCOUNT, PRICES, START, Rig

CALL_IDS = {Decimal(260): 901, Decimal(270): 902}


class OptionTape(FlatTape):
    """A call on AAPL of June 2026 at one price."""

    def __init__(self, strike: Decimal, price: float) -> None:
        super().__init__(f"AAPL{strike}", price, calendar_for(), START.date(), 10, 1_000)
        option = Instrument(
            "AAPL",
            SecType.OPTION,
            con_id=CALL_IDS[strike],
            expiry=date(2026, 6, 18),
            strike=strike,
            right="C" if strike == 260 else "P",
            multiplier=Decimal(100),
            trading_class="AAPL",
        )
        self._details = InstrumentDetails(
            option,
            long_name="APPLE INC",
            order_types=frozenset(("LMT", "MKT")),
            valid_exchanges=("SMART", "CBOE"),
            under_con_id=AAPL_ID,
            contract_month="202606",
        )


class WithOptions(WalkedPrices):
    """The rig's flat market and two options on AAPL."""

    def __init__(self) -> None:
        calendar = calendar_for()
        tapes = [FlatTape(symbol, price, calendar, START.date(), 390, 10_000_000) for symbol, price in PRICES.items()]
        super().__init__([*tapes, *(OptionTape(strike, 8.5) for strike in CALL_IDS)], calendar, START, seed=0)


def price_alert(name: str = "AAPL Price Alert", value: str = "300") -> dict[str, object]:
    condition = {
        "type": 1,
        "conidex": f"{AAPL_ID}@SMART",
        "operator": ">=",
        "triggerMethod": "0",
        "value": value,
        "logicBind": "n",
    }
    return {
        "alertName": name,
        "alertMessage": "AAPL is high",
        "alertRepeatable": 0,
        "outsideRth": 1,
        "tif": "GTC",
        "conditions": [condition],
    }


def _strikes(rig: Rig) -> Answer:
    rig.get("/iserver/secdef/search", symbol="AAPL")
    return rig.get("/iserver/secdef/strikes", conid=AAPL_ID, sectype="OPT", month="JUN26")


def _unsubscribed(rig: Rig) -> Answer:
    rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields="31")
    return rig.post("/iserver/marketdata/unsubscribe", {"conid": AAPL_ID})


def _alerts(rig: Rig) -> Answer:
    rig.post(f"/iserver/account/{ACCOUNT}/alert", price_alert())
    return rig.get(f"/iserver/account/{ACCOUNT}/alerts")


ASKED: dict[str, Callable[[Rig], Answer]] = {
    "Contracts_GET-contract-info-and-rules": lambda rig: rig.get(
        f"/iserver/contract/{AAPL_ID}/info-and-rules", isBuy="true"
    ),
    "Contracts_GET-contract-info": lambda rig: rig.get(f"/iserver/contract/{AAPL_ID}/info"),
    "Contracts_GET-secdef-search": lambda rig: rig.get("/iserver/secdef/search", symbol="AAPL"),
    "Contracts_GET-secdef-strikes": _strikes,
    "Contracts_GET-trsrv-futures": lambda rig: rig.get("/trsrv/futures", symbols="MES"),
    "Contracts_POST-contract-rules": lambda rig: rig.post(
        "/iserver/contract/rules", {"conid": AAPL_ID, "exchange": "SMART", "isBuy": True}
    ),
    "MarketData_GET-history": lambda rig: rig.get(
        "/iserver/marketdata/history", conid=AAPL_ID, period="1d", bar="1min"
    ),
    "MarketData_GET-unsubscribeall": lambda rig: rig.get("/iserver/marketdata/unsubscribeall"),
    "MarketData_POST-unsubscribe": _unsubscribed,
    "Alerts_GET-alerts-list": _alerts,
    "Alerts_POST-create-alert": lambda rig: rig.post(f"/iserver/account/{ACCOUNT}/alert", price_alert()),
}


@pytest.fixture
def options() -> Rig:
    return Rig(source=WithOptions())


@needs_recordings
@pytest.mark.parametrize("name", sorted(ASKED))
def test_an_answer_has_the_shape_of_ibs_own(options: Rig, name: str) -> None:
    answer = ASKED[name](options)
    assert answer.status == 200, answer.body
    assert_like(name, answer)
    options.check()


@needs_recordings
def test_every_recording_of_contracts_data_and_alerts_is_compared() -> None:
    mine = [name for name in names() if name.split("_")[0] in ("Contracts", "MarketData", "Alerts")]
    assert sorted(ASKED) == mine


def test_a_comparison_sees_keys_types_and_absences() -> None:
    theirs = {"a": 1, "rows": [{"x": "1", "y": None}], "flag": False}
    assert differences("", theirs, {"a": 2.5, "rows": [{"x": "9", "y": None}], "flag": True}) == []
    found = differences("", theirs, {"a": "1", "rows": [{"x": "9"}, {"x": "1", "y": None, "z": 0}], "flag": None})
    assert [text for _, _, text in found] == [
        "a: number at IB, text here",
        "flag: true or false at IB, null here",
        "rows[].y: only at IB",
        "rows[].z: only here",
    ]


def test_strikes_and_contracts_of_a_month_want_a_search_first(options: Rig) -> None:
    asked = {"conid": AAPL_ID, "sectype": "OPT", "month": "JUN26"}
    assert options.get("/iserver/secdef/strikes", **asked).body == {"call": [], "put": []}
    options.get("/iserver/secdef/search", symbol="apple", name="true")
    assert options.get("/iserver/secdef/strikes", **asked).body == {"call": [], "put": []}
    options.get("/iserver/secdef/search", symbol="AAPL")
    assert options.get("/iserver/secdef/strikes", **asked).body == {"call": [260.0], "put": [270.0]}
    assert options.get("/iserver/secdef/strikes", **(asked | {"month": "JUL26"})).body == {"call": [], "put": []}
    (call,) = options.get("/iserver/secdef/info", **asked, strike="260", right="C").body
    assert (call["conid"], call["maturityDate"], call["multiplier"]) == (901, "20260618", "100")
    assert (call["strike"], call["right"], call["desc2"]) == (260.0, "C", "JUN26 260 Call")
    refused = options.get("/iserver/secdef/info", **asked, strike="265", right="C")
    assert (refused.status, refused.body) == (500, {"error": "no contracts retrieved"})


def test_an_options_data_comes_once_a_contract_endpoint_has_shown_it(options: Rig) -> None:
    ask = {"conids": "902", "fields": "84,7308"}
    options.get("/iserver/marketdata/snapshot", **ask)
    assert options.get("/iserver/marketdata/snapshot", **ask).body == [{"conid": 902, "conidEx": "902"}]
    options.get("/iserver/secdef/search", symbol="AAPL")
    options.get("/iserver/marketdata/snapshot", **ask)
    (row,) = options.get("/iserver/marketdata/snapshot", **ask).body
    assert row["84"] == "8.49"
    assert "7308" not in row
