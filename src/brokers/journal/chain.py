"""Reads a journal back and finds where it first stops agreeing with itself."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal

from ..domain.order import exec_base_id
from .codec import decimal_text, to_json
from .database import Database, chain_hash
from .rows import ChainBreak


def first_break(database: Database) -> ChainBreak | None:
    """Walk the chain, then compare the tables of intents, executions and holdings with what the events say."""
    previous, seq = "", 0
    requests: dict[str, tuple[int, str]] = {}
    fills: dict[str, tuple[int, str]] = {}
    adopted: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for number, time, kind, key, body, stored in database.query(
        "SELECT seq, time, kind, key, body, hash FROM events ORDER BY seq"
    ):
        if number != seq + 1:
            return ChainBreak(seq + 1, f"event {seq + 1} is missing")
        previous, seq = chain_hash(previous, number, time, kind, key, body), number
        if previous != stored:
            return ChainBreak(seq, f"event {seq} ({kind}) was changed after it was written")
        if kind == "INTENT":
            requests[key] = (seq, to_json(json.loads(body)["request"]))
        elif kind in ("FILL", "CORRECTION"):
            fills[exec_base_id(json.loads(body)["exec_id"])] = (seq, body)
        elif kind == "ADOPT":
            data = json.loads(body)
            adopted[data["account"], data["instrument_key"]] += Decimal(data["quantity"])
    head = database.query("SELECT head_seq, head_hash FROM state WHERE id = 1")
    if head != [(seq, previous)]:
        return ChainBreak(seq + 1, "the chain's end was cut off")
    return (
        _compare("intent", requests, dict(database.query("SELECT key, request FROM intents")), seq)
        or _compare("execution", fills, dict(database.query("SELECT base_id, fill FROM executions")), seq)
        or _compare_holdings(database, adopted, seq)
    )


def _compare(noun: str, told: dict[str, tuple[int, str]], stored: dict[str, str], end: int) -> ChainBreak | None:
    breaks = [
        ChainBreak(seq, f"the {noun} {name} differs from its event")
        for name, (seq, text) in told.items()
        if stored.get(name) != text
    ]
    breaks += [ChainBreak(end, f"the {noun} {name} has no event") for name in stored.keys() - told.keys()]
    return min(breaks, key=lambda item: item.seq) if breaks else None


def _compare_holdings(
    database: Database, adopted: defaultdict[tuple[str, str], Decimal], end: int
) -> ChainBreak | None:
    total = adopted
    for account, key, signed in database.query(
        "SELECT account, instrument_key, signed_quantity FROM executions WHERE order_key IS NOT NULL"
    ):
        total[account, key] += Decimal(signed)
    stored = {(account, key): text for account, key, text in database.query("SELECT * FROM holdings") if text != "0"}
    expected = {where: decimal_text(quantity) for where, quantity in total.items() if quantity != 0}
    if stored == expected:
        return None
    account, key = sorted(set(stored.items()) ^ set(expected.items()))[0][0]
    return ChainBreak(end, f"the holding of {key} in {account} is not what its fills add up to")
