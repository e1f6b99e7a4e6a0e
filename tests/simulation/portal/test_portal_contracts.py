"""Contracts at the portal door: search, definitions, rules, and what is said about what does not exist."""

from __future__ import annotations

import pytest

from .rig import AAPL_ID, ACCOUNT, MES_ID, MSFT_ID, Rig


def test_stocks_are_listed_by_symbol_and_an_unknown_one_is_an_empty_list(rig: Rig) -> None:
    answer = rig.get("/trsrv/stocks", symbols="AAPL, zzzz,msft")
    assert answer.status == 200
    (apple,) = answer.body["AAPL"]
    assert (apple["name"], apple["assetClass"]) == ("APPLE INC", "STK")
    assert apple["contracts"] == [{"conid": AAPL_ID, "exchange": "NASDAQ", "isUS": True}]
    assert answer.body["zzzz"] == []
    assert answer.body["msft"][0]["contracts"][0]["conid"] == MSFT_ID


def test_a_future_names_its_expiry_as_numbers_and_its_underlying(rig: Rig) -> None:
    (mes,) = rig.get("/trsrv/futures", symbols="MES").body["MES"]
    assert (mes["conid"], mes["expirationDate"], mes["ltd"]) == (MES_ID, 20260618, 20260618)
    (company,) = rig.get("/iserver/secdef/search", symbol="MES").body
    assert company["conid"] == str(mes["underlyingConid"])
    assert company["sections"] == [{"secType": "IND"}, {"secType": "FUT", "months": "JUN26", "exchange": "CME"}]
    chain = {"conid": company["conid"], "sectype": "FUT", "month": "JUN26"}
    (contract,) = rig.get("/iserver/secdef/info", **chain).body
    assert (contract["conid"], contract["multiplier"], contract["right"]) == (MES_ID, "5", "?")
    assert rig.get("/iserver/secdef/info", **(chain | {"month": "SEP26"})).status == 500


def test_search_takes_symbol_and_name_from_query_or_body(rig: Rig) -> None:
    by_query = rig.get("/iserver/secdef/search", symbol="aapl").body
    by_body = rig.post("/iserver/secdef/search", {"symbol": "AAPL", "secType": "STK"}).body
    by_name = rig.post("/iserver/secdef/search", {"symbol": "microsoft", "name": True}).body
    assert by_query == by_body
    assert [row["conid"] for row in by_query] == [str(AAPL_ID)]
    assert [row["symbol"] for row in by_name] == ["MSFT"]
    assert len(rig.get("/iserver/secdef/search", symbol="MES", secType="IND").body) == 1
    assert rig.get("/iserver/secdef/search", symbol="MES", secType="STK").status == 500
    assert rig.get("/iserver/secdef/search", symbol="AAPL", secType="FUND").status == 400
    missing = rig.get("/iserver/secdef/search", symbol="ZZZZ")
    assert (missing.status, missing.body) == (500, {"error": "No symbol found"})


def test_definitions_come_by_query_or_body_and_leave_unknown_ones_out(rig: Rig) -> None:
    rows = rig.post("/trsrv/secdef", {"conids": [AAPL_ID, 1, MES_ID]}).body["secdef"]
    assert [row["conid"] for row in rows] == [AAPL_ID, MES_ID]
    assert rows == rig.get("/trsrv/secdef", conids=f"{AAPL_ID},{MES_ID}").body["secdef"]
    apple, mes = rows
    assert (apple["ticker"], apple["strike"], apple["isUS"], apple["multiplier"]) == ("AAPL", "0", True, 0.0)
    assert (mes["assetClass"], mes["expiry"], mes["multiplier"]) == ("FUT", "20260618", 5.0)
    assert rig.post("/trsrv/secdef", {"conids": [AAPL_ID] * 201}).status == 400


def test_rules_list_only_the_order_types_of_this_door(rig: Rig) -> None:
    rules = rig.post("/iserver/contract/rules", {"conid": AAPL_ID, "isBuy": True}).body
    assert rules["orderTypes"] == ["limit", "midprice", "market", "stop", "stop_limit"]
    assert (rules["increment"], rules["incrementDigits"], rules["limitPrice"]) == (0.01, 2, 265.0)
    assert rules["canTradeAcctIds"] == [ACCOUNT]
    futures = rig.get(f"/iserver/contract/{MES_ID}/info-and-rules", isBuy="false").body["rules"]
    assert futures["orderTypes"] == ["limit", "market", "stop", "stop_limit"]
    assert (futures["increment"], futures["defaultSize"]) == (0.25, 1)


@pytest.mark.parametrize("path", ["/iserver/contract/1/info", "/iserver/contract/1/info-and-rules"])
def test_an_unknown_contract_is_said_to_be_unknown(rig: Rig, path: str) -> None:
    answer = rig.get(path)
    assert (answer.status, answer.body) == (500, {"error": "No contract found for conid 1"})


def test_a_conid_that_is_no_number_is_a_bad_request(rig: Rig) -> None:
    for answer in (
        rig.get("/iserver/contract/apple/info"),
        rig.get("/trsrv/secdef", conids="apple"),
        rig.get("/iserver/secdef/strikes", conid="apple", sectype="OPT", month="JUN26"),
        rig.get("/iserver/marketdata/snapshot", conids="apple", fields="31"),
        rig.get("/iserver/marketdata/history", conid="apple", period="1d"),
    ):
        assert answer.status == 400
        assert "Bad Request" in answer.body["error"]


def test_money_is_of_one_currency_here(rig: Rig) -> None:
    assert rig.get("/iserver/exchangerate", source="USD", target="USD").body == {"rate": 1.0}
    assert rig.get("/iserver/exchangerate", source="USD", target="EUR").status == 500
    assert rig.get("/iserver/currency/pairs", currency="USD").body == {"USD": []}


def test_contracts_of_the_brokerage_session_want_it_and_definitions_do_not(rig: Rig) -> None:
    rig.session.end_brokerage()
    assert rig.get("/trsrv/futures", symbols="MES").status == 200
    refused = rig.get("/iserver/secdef/search", symbol="AAPL")
    assert (refused.status, refused.body["error"]) == (400, "Init session first")
