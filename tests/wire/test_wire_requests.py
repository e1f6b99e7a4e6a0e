"""Requests: what the real ib_async Client sends is read into equal values, and whatever else comes is named."""

from __future__ import annotations

from typing import Any

import pytest
from ib_async.client import Client
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.contract import (
    Contract,
)
from moondev_ibkr.brokers.simulation.tws.messages_in import REQUESTS, parse, spec_of
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest
from moondev_ibkr.brokers.simulation.tws.request import Request

from .wire_calls import CALLS, OURS, THEIRS, WSH, client_at, sent
from .wire_samples import VERSIONS

#: ids of reference sections 2.1 and 2.2
SERVED_SECTION = {*range(1, 26), *range(49, 60), *range(61, 65), 71, *range(74, 105)}
#: the most that the project allows itself to refuse
MAY_REFUSE = {18, 19, 21, 88, 89, *range(100, 105)}
#: windows and partner logins of TWS, not in section 2.2
TWS_ONLY = {65, 66, 67, 68, 69, 70, 72, 73}


def test_table_has_every_id_of_the_protocol() -> None:
    assert set(REQUESTS) == SERVED_SECTION | TWS_ONLY


def test_nothing_is_refused_but_what_may_be() -> None:
    refused = {number for number, spec in REQUESTS.items() if not spec.handled}
    assert refused == MAY_REFUSE | TWS_ONLY


def test_every_request_has_its_own_class_and_name() -> None:
    assert len({spec.cls for spec in REQUESTS.values()}) == len(REQUESTS)
    assert len({spec.name for spec in REQUESTS.values()}) == len(REQUESTS)


def test_every_method_of_the_real_client_is_driven() -> None:
    names = {name for name in vars(Client) if name.startswith(("req", "cancel", "calculate", "verify", "replace"))}
    assert names - {"reqId"} <= {name for name, _, _ in CALLS} | {"reqContractDetails", "reqWshEventData"}


def test_every_request_is_driven_by_the_real_client() -> None:
    driven = {type(expected) for _, _, expected in CALLS}
    own_tests = {PlaceOrderRequest, r.ReqContractDetails, r.ReqWshEventData}
    assert {spec.cls for spec in REQUESTS.values()} == driven | own_tests


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("method", "args", "expected"), CALLS, ids=[name for name, _, _ in CALLS])
async def test_ib_async_request_is_read_into_equal_values(
    version: int, method: str, args: tuple[Any, ...], expected: Request
) -> None:
    client = client_at(version)
    getattr(client, method)(*args)
    request = parse(version, sent(client))
    assert request == expected
    assert spec_of(request).name == method


async def test_contract_details_has_an_issuer_since_176() -> None:
    for version, issuer in ((157, ""), (175, ""), (176, "e1"), (178, "e1")):
        client = client_at(version)
        client.reqContractDetails(9, THEIRS)
        assert parse(version, sent(client)) == r.ReqContractDetails(
            reqId=9, contract=OURS, includeExpired=True, secIdType="ISIN", secId="US0378331005", issuerId=issuer
        )


async def test_wall_street_horizon_grows_at_171_and_173() -> None:
    client = client_at(178)
    client.reqWshEventData(9, WSH)
    assert parse(178, sent(client)) == r.ReqWshEventData(
        reqId=9,
        conId=8314,
        filter="{}",
        fillWatchlist=True,
        fillPortfolio=False,
        fillCompetitors=True,
        startDate="20260101",
        endDate="20260201",
        totalLimit=7,
    )
    client = client_at(171)
    client.reqWshEventData(9, WSH)
    request = parse(171, sent(client))
    assert isinstance(request, r.ReqWshEventData)
    assert (request.filter, request.endDate, request.totalLimit) == ("{}", "", None)


async def test_manual_cancel_time_since_169() -> None:
    client = client_at(169)
    client.cancelOrder(9, "20260102-10:00:00")
    assert parse(169, sent(client)) == r.CancelOrder(orderId=9, manualCancelOrderTime="20260102-10:00:00")


def test_version_fields_are_not_looked_at() -> None:
    assert parse(178, ["2", "1", "9"]) == parse(178, ["2", "x", "9"]) == r.CancelMktData(reqId=9)
    assert parse(178, ["76", "2", "9", "DU1", "", "1"]) == r.ReqAccountUpdatesMulti(
        reqId=9, account="DU1", modelCode="", ledgerAndNLV=True
    )


def test_options_that_some_clients_leave_off() -> None:
    contract = ["265598", "AAPL", "STK", "", "", "", "", "SMART", "", "USD", "", ""]
    assert parse(178, ["54", "3", "9", *contract, "1.5", "2.5", ""]) == r.CalculateImpliedVolatility(
        reqId=9,
        contract=Contract(conId=265598, symbol="AAPL", secType="STK", exchange="SMART", currency="USD"),
        optionPrice=1.5,
        underPrice=2.5,
        options=("",),
    )
    depth = parse(178, ["10", "5", "9", *contract, "5", "1"])
    assert isinstance(depth, r.ReqMktDepth)
    assert depth.mktDepthOptions == ()
