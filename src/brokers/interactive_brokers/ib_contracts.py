"""Instruments and IB's contract numbers: asked for once, cached in memory and on disk, never guessed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..base_broker import Symbol
from ..domain.clock import Clock
from ..domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType
from ..errors import AmbiguousInstrument, BrokerError, DeadlineExceeded, LinkError, RequestFailed, UnknownInstrument
from .ib_transport import IbTransport

logger = logging.getLogger(__name__)

#: Trading hours in contract details reach a few days ahead; the rest hardly changes.
DETAILS_LIFE = timedelta(hours=12)
#: How long a "no such contract" is believed, in monotonic seconds.
UNKNOWN_LIFE = 60.0
#: Seconds by which the write of the cache file is put off.
SAVE_DELAY = 1.0
CACHE_VERSION = 1

#: What names a contract when its number is not known.
Key = tuple[str, ...]


def as_instrument(symbol: Symbol) -> Instrument:
    """Text names a US stock; `brk.b`, `BRK-B` and `BRK B` are one. Raises InvalidInstrument."""
    return symbol if isinstance(symbol, Instrument) else Instrument(symbol)


def key_of(instrument: Instrument) -> Key:
    """One key per description: instruments that differ in nothing but their number share it."""
    return tuple(
        "" if value is None else str(value)
        for value in (
            instrument.symbol,
            instrument.sec_type.value,
            instrument.currency,
            instrument.exchange,
            instrument.primary_exchange,
            instrument.local_symbol,
            instrument.trading_class,
            instrument.expiry,
            instrument.strike,
            instrument.right,
        )
    )


def fits(asked: Instrument, found: Instrument) -> bool:
    """Whether `found` is what `asked` describes: every field that was given must be equal; no nearest match."""
    if asked.con_id is not None:
        return found.con_id == asked.con_id
    given = (
        (asked.primary_exchange, found.primary_exchange),
        (asked.local_symbol, found.local_symbol),
        (asked.trading_class, found.trading_class),
        (asked.expiry, found.expiry),
        (asked.strike, found.strike),
        (asked.right, found.right),
    )
    return (
        found.symbol == asked.symbol
        and found.sec_type is asked.sec_type
        and found.currency == asked.currency
        and all(wanted is None or wanted == had for wanted, had in given)
    )


def choose(asked: Instrument, candidates: Iterable[InstrumentDetails]) -> InstrumentDetails:
    """The one contract that fits. Raises UnknownInstrument or AmbiguousInstrument; never picks the first (H11)."""
    by_number: dict[int | None, InstrumentDetails] = {}
    for details in candidates:
        if not fits(asked, details.instrument):
            continue
        held = by_number.get(details.instrument.con_id)
        if held is None or details.instrument.exchange == asked.exchange:
            by_number[details.instrument.con_id] = details
    if not by_number:
        raise UnknownInstrument(
            f"contract {asked}",
            f"the broker knows no {asked.sec_type} of this description in {asked.currency}",
            "check the spelling; another country's listing needs its currency and exchange",
            symbol=asked.symbol,
        )
    if len(by_number) > 1:
        found = tuple(details.instrument for details in by_number.values())
        raise AmbiguousInstrument(
            f"contract {asked}",
            f"{len(found)} contracts fit: "
            + ", ".join(f"{one} {one.primary_exchange or one.exchange} conId {one.con_id}" for one in found[:8]),
            "name the primary exchange, the expiry or the contract number",
            candidates=found,
        )
    return next(iter(by_number.values()))


@dataclass(slots=True)
class _Entry:
    details: InstrumentDetails
    told_at: datetime


class ContractBook:
    """Qualifies instruments. Concurrent questions about one contract share one request.

    `path` None keeps nothing on disk. A cache file that cannot be read is replaced, never trusted in part.
    """

    def __init__(self, transport: IbTransport, clock: Clock, path: Path | None = None) -> None:
        self._transport = transport
        self._clock = clock
        self._path = path
        self._by_key: dict[Key, _Entry] = {}
        self._by_number: dict[int, _Entry] = {}
        self._rules: dict[int, tuple[PriceIncrement, ...]] = {}
        self._asking: dict[Key, asyncio.Task[InstrumentDetails]] = {}
        self._unknown: dict[Key, tuple[float, UnknownInstrument]] = {}
        self._saving: asyncio.TimerHandle | None = None
        #: Requests made to the broker, and answers given from the cache.
        self.asked = 0
        self.answered_from_cache = 0
        if path is not None:
            self._load(path)

    def known(self, symbol: Symbol) -> InstrumentDetails | None:
        """What the cache holds, of any age; None when it holds nothing. Asks nobody."""
        instrument = as_instrument(symbol)
        entry = self._by_number.get(instrument.con_id) if instrument.con_id is not None else None
        entry = entry or self._by_key.get(key_of(instrument))
        return entry.details if entry else None

    def by_number(self, con_id: int) -> InstrumentDetails | None:
        entry = self._by_number.get(con_id)
        return entry.details if entry else None

    async def details(self, symbol: Symbol) -> InstrumentDetails:
        """Qualify. Raises UnknownInstrument, AmbiguousInstrument, or RequestFailed while a farm is down (H10)."""
        instrument = as_instrument(symbol)
        key = key_of(instrument) if instrument.con_id is None else (str(instrument.con_id), instrument.exchange)
        entry = self._by_key.get(key) or self._routed_alike(instrument)
        if entry is not None and self._clock.now() - entry.told_at < DETAILS_LIFE:
            self.answered_from_cache += 1
            return entry.details
        self._raise_if_known_unknown(key)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(instrument, key))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._forget_question(key, done))
        try:
            return await asyncio.shield(task)
        except (RequestFailed, LinkError, DeadlineExceeded):
            if entry is not None:
                return entry.details
            raise

    def _routed_alike(self, instrument: Instrument) -> _Entry | None:
        """What is known of a contract number, if it was asked for with the same routing."""
        entry = self._by_number.get(instrument.con_id) if instrument.con_id is not None else None
        return entry if entry is not None and entry.details.instrument.exchange == instrument.exchange else None

    async def qualify(self, symbol: Symbol) -> Instrument:
        """The instrument with its contract number."""
        return (await self.details(symbol)).instrument

    def _forget_question(self, key: Key, done: asyncio.Task[InstrumentDetails]) -> None:
        if self._asking.get(key) is done:
            del self._asking[key]
        if not done.cancelled():
            done.exception()  # whoever waited has it; a question that nobody awaits any more must not warn

    def _raise_if_known_unknown(self, key: Key) -> None:
        held = self._unknown.get(key)
        if held is None:
            return
        told, error = held
        if self._clock.monotonic() - told < UNKNOWN_LIFE and not self._transport.farms_down:
            raise error
        del self._unknown[key]

    async def _ask(self, instrument: Instrument, key: Key) -> InstrumentDetails:
        self.asked += 1
        candidates = await self._transport.contract_details(instrument)
        try:
            chosen = choose(instrument, candidates)
        except UnknownInstrument as error:
            down = self._transport.farms_down
            if down:
                raise RequestFailed(
                    f"contract {instrument}",
                    f"the broker says it knows none, while {', '.join(sorted(down))} is down",
                    "ask again when the data farm is back",
                    code=200,
                ) from error
            self._unknown[key] = (self._clock.monotonic(), error)
            raise
        chosen, exact = await self._with_increments(chosen)
        self._keep(chosen, (key,))
        if exact:
            self._save_soon()
        return chosen

    async def _with_increments(self, details: InstrumentDetails) -> tuple[InstrumentDetails, bool]:
        """Price steps from the market rule of the exchange that is routed to; the contract's minimum tick else."""
        rule_id = rule_of(details)
        if rule_id is None:
            return details, True
        rule = self._rules.get(rule_id)
        if rule is None:
            try:
                rule = await self._transport.market_rule(rule_id)
            except BrokerError as error:
                logger.warning("market rule %d of %s is not known: %s", rule_id, details.instrument, error)
                return details, False
            self._rules[rule_id] = rule
        return (replace(details, increments=rule), True) if rule else (details, False)

    def _keep(self, details: InstrumentDetails, keys: Sequence[Key]) -> None:
        entry = _Entry(details, self._clock.now())
        for key in keys:
            self._by_key[key] = entry
        if details.instrument.con_id is not None:
            self._by_number[details.instrument.con_id] = entry

    # The cache on disk

    def _load(self, path: Path) -> None:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("contract cache %s cannot be read, starting without: %s", path, error)
            return
        try:
            data = json.loads(text)
            if data["version"] != CACHE_VERSION:
                return
            rows = [
                (tuple(map(str, row["key"])), _Entry(details_from_row(row["details"]), _moment(row["told_at"])))
                for row in data["contracts"]
            ]
        except (ValueError, KeyError, TypeError, ArithmeticError, BrokerError) as error:
            logger.warning("contract cache %s is corrupt and will be rebuilt: %s", path, error)
            return
        for key, entry in rows:
            self._by_key[key] = entry
            if entry.details.instrument.con_id is not None:
                self._by_number[entry.details.instrument.con_id] = entry

    def _save_soon(self) -> None:
        if self._path is not None and self._saving is None:
            # one write for a list of symbols, not one for each
            self._saving = asyncio.get_running_loop().call_later(SAVE_DELAY, self.save)

    def save(self) -> None:
        """Write the cache now; a file that cannot be written is logged, never an error for the caller."""
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
        if self._path is None:
            return
        rows = [
            {"key": list(key), "told_at": entry.told_at.isoformat(), "details": row_from_details(entry.details)}
            for key, entry in self._by_key.items()
        ]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
            draft.write_text(json.dumps({"version": CACHE_VERSION, "contracts": rows}), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            logger.warning("contract cache %s cannot be written: %s", self._path, error)


def rule_of(details: InstrumentDetails) -> int | None:
    """The market rule in force on the instrument's exchange: IB lists one per valid exchange, in the same order."""
    rules = details.market_rule_ids
    if not rules:
        return None
    try:
        position = details.valid_exchanges.index(details.instrument.exchange)
    except ValueError:
        position = 0
    return rules[position] if position < len(rules) else rules[0]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} carries no time zone")
    return moment


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal | date):
        return str(value)
    if isinstance(value, frozenset | tuple):
        return [_plain(one) for one in (sorted(value) if isinstance(value, frozenset) else value)]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def row_from_details(details: InstrumentDetails) -> dict[str, Any]:
    """Details as JSON values."""
    return {name: _plain(value) for name, value in asdict(details).items()}


#: How the fields that JSON cannot hold come back.
_INSTRUMENT_READERS: dict[str, Callable[[Any], Any]] = {
    "sec_type": SecType,
    "expiry": date.fromisoformat,
    "strike": Decimal,
    "multiplier": Decimal,
}
_DETAILS_READERS: dict[str, Callable[[Any], Any]] = {
    "instrument": lambda row: Instrument(**_read(row, Instrument, _INSTRUMENT_READERS)),
    "increments": lambda rows: tuple(
        PriceIncrement(Decimal(row["low_edge"]), Decimal(row["increment"])) for row in rows
    ),
    "min_size": Decimal,
    "size_increment": Decimal,
    "order_types": frozenset,
    "valid_exchanges": tuple,
    "market_rule_ids": tuple,
    "identifiers": lambda rows: tuple((tag, value) for tag, value in rows),
}


def _read(row: dict[str, Any], kind: type, readers: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {
        name: readers[name](value) if name in readers and value is not None else value
        for name, value in row.items()
        if name in names
    }


def details_from_row(row: dict[str, Any]) -> InstrumentDetails:
    """The reverse of `row_from_details`. Raises KeyError, TypeError or ValueError for what it did not write."""
    return InstrumentDetails(**_read(row, InstrumentDetails, _DETAILS_READERS))
