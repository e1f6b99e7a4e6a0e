"""The table of error codes: complete, consistent, and harmless for codes that nobody has written down."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.interactive_brokers.ib_error_codes import (
    ERROR_CODES,
    PERMISSION_CODES,
    ConnectionEffect,
    Farm,
    OrderEffect,
    OrderPhase,
    RequestEffect,
    Severity,
    error_code,
    farm_name,
    is_pacing,
    new_port,
    request_effect,
)

NEW, MODIFYING, LIVE = OrderPhase.NEW, OrderPhase.MODIFYING, OrderPhase.LIVE

#: Every code that tws-protocol.md §2.6 asks an emulator for, and those of faults.md.
REFERENCED = {
    *(100, 101, 102, 103, 104, 105, 110, 111, 113, 135, 161, 162, 164, 165, 200, 201, 202, 203, 300, 309, 316, 317),
    *(320, 321, 322, 326, 329, 354, 366, 387, 399, 404, 420, 430, 434, 460, 492, 1100, 1101, 1102, 1300),
    *range(2100, 2111),
    *(2119, 2157, 2158, 2174, 10089, 10090, 10147, 10148, 10167, 10168, 10182, 10186, 10187, 10190, 10197, 10225),
    *(10243, 10285, 10311, 10314, 10318, 10326, 10349, 2150),
}


def test_every_referenced_code_has_a_row() -> None:
    assert set(ERROR_CODES) >= REFERENCED


def test_rows_are_unique_and_complete() -> None:
    assert len(ERROR_CODES) == len(set(ERROR_CODES))
    for code, row in ERROR_CODES.items():
        assert row.code == code
        assert row.meaning
        assert row.action
        assert row.source
        assert row.known


def test_a_warning_never_changes_an_order() -> None:
    for row in ERROR_CODES.values():
        if row.severity is not Severity.ERROR and row.code != 202:
            effects = {row.order_effect(phase) for phase in OrderPhase}
            # 2102 refuses a change, which leaves the order as it was
            assert effects <= {OrderEffect.NONE, OrderEffect.MODIFY_REJECTED}, row.code


def test_only_new_orders_are_rejected_and_only_202_cancels() -> None:
    for row in ERROR_CODES.values():
        for phase in (MODIFYING, LIVE):
            assert row.order_effect(phase) is not OrderEffect.REJECTED, row.code
        if row.code != 202:
            assert OrderEffect.CANCELLED not in {row.order_effect(phase) for phase in OrderPhase}


def test_q7_no_code_outside_the_table_touches_an_order() -> None:
    for code in range(-1, 20001):
        row = error_code(code)
        if code not in ERROR_CODES:
            assert not row.known
            assert {row.order_effect(phase) for phase in OrderPhase} == {OrderEffect.NONE}
            assert row.connection is ConnectionEffect.NONE
            expected = RequestEffect.ADVISORY if 2100 <= code < 2200 else RequestEffect.FAILS
            assert row.request is expected
        else:
            assert row is ERROR_CODES[code]


@pytest.mark.parametrize("code", [110, 321, 329, 10318, 10326, 135])
def test_o04_a_refused_change_leaves_the_original_live(code: int) -> None:
    row = error_code(code)
    assert row.order_effect(NEW) is OrderEffect.REJECTED
    assert row.order_effect(MODIFYING) is OrderEffect.MODIFY_REJECTED
    assert row.order_effect(LIVE) is OrderEffect.MODIFY_REJECTED


@pytest.mark.parametrize("code", [200, 201, 203, 460])
def test_o28_a_definitive_refusal_ends_a_new_order_and_questions_a_live_one(code: int) -> None:
    assert error_code(code).order_effect(NEW) is OrderEffect.REJECTED
    assert error_code(code).order_effect(LIVE) is OrderEffect.UNKNOWN


@pytest.mark.parametrize("code", [10147, 10148, 161, 136])
def test_o05_a_refused_cancel(code: int) -> None:
    assert {error_code(code).order_effect(phase) for phase in OrderPhase} == {OrderEffect.CANCEL_REJECTED}


@pytest.mark.parametrize("code", [399, 404, 2109, 10349, 10311, 492])
def test_o03_o29_o30_orders_stay_live(code: int) -> None:
    assert {error_code(code).order_effect(phase) for phase in OrderPhase} == {OrderEffect.NONE}


def test_o06_202_confirms_a_cancel() -> None:
    assert {error_code(202).order_effect(phase) for phase in OrderPhase} == {OrderEffect.CANCELLED}


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        (1100, ConnectionEffect.LINK_LOST),
        (2110, ConnectionEffect.LINK_LOST),
        (1101, ConnectionEffect.LINK_RESTORED_LOST),
        (1102, ConnectionEffect.LINK_RESTORED_KEPT),
        (1300, ConnectionEffect.PORT_CHANGED),
        (326, ConnectionEffect.CLIENT_ID_IN_USE),
        (100, ConnectionEffect.RATE_EXCEEDED),
        (2103, ConnectionEffect.FARM_DOWN),
        (2105, ConnectionEffect.FARM_DOWN),
        (2157, ConnectionEffect.FARM_DOWN),
        (2104, ConnectionEffect.FARM_UP),
        (2106, ConnectionEffect.FARM_UP),
        (2158, ConnectionEffect.FARM_UP),
        (2107, ConnectionEffect.FARM_IDLE),
        (2108, ConnectionEffect.FARM_IDLE),
    ],
)
def test_connection_effects(code: int, effect: ConnectionEffect) -> None:
    assert error_code(code).connection is effect


def test_farm_messages_name_their_farm() -> None:
    for row in ERROR_CODES.values():
        is_farm = row.connection.name.startswith("FARM")
        assert (row.farm is not None) == is_farm, row.code
    assert error_code(2105).farm is Farm.HISTORICAL
    assert farm_name("Market data farm connection is OK:usfarm.nj") == "usfarm.nj"
    assert farm_name("no farm at all") == ""


def test_c06_the_new_port_is_in_the_text() -> None:
    assert new_port("Socket port has been reset and this connection is being dropped. Please reconnect: 7498") == 7498
    assert new_port("nothing here") is None


@pytest.mark.parametrize(
    ("code", "text", "effect"),
    [
        (162, "Historical Market Data Service error message:HMDS query returned no data: X@SMART", "EMPTY_RESULT"),
        (162, "Historical Market Data Service error message:API historical data pacing violation", "FAILS"),
        (165, "Historical Market Data Service query message:no items retrieved", "EMPTY_RESULT"),
        (366, "No historical data query found for ticker id", "FAILS"),
        (354, "Requested market data is not subscribed", "STREAM_ENDS"),
        (10182, "Failed to request live updates (disconnected)", "STREAM_ENDS"),
        (10090, "Part of requested market data is not subscribed", "ADVISORY"),
        (10167, "Displaying delayed market data", "ADVISORY"),
        (10197, "No market data during competing live session", "ADVISORY"),
        (200, "No security definition has been found", "FAILS"),
        (2150, "Invalid position trade derived value", "ADVISORY"),
    ],
)
def test_what_a_code_does_to_a_request(code: int, text: str, effect: str) -> None:
    assert request_effect(code, text) is RequestEffect[effect]


def test_pacing_and_permission() -> None:
    assert is_pacing(162, "API historical data query pacing violation")
    assert not is_pacing(162, "HMDS query returned no data")
    assert is_pacing(100, "Max rate of messages per second has been exceeded")
    assert set(ERROR_CODES) >= PERMISSION_CODES
