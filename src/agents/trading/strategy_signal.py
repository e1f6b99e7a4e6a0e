"""What a strategy says about one symbol, typed; and the host framework's dictionaries read into it, strictly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from numbers import Real
from typing import Any

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.errors import InvalidRequest
from .caution import Caution, buying_cautions


class Direction(StrEnum):
    BUY = "BUY"
    SELL = "SELL"
    NOTHING = "NOTHING"


#: Spelling of a host's strategy -> direction. Anything else is refused, never guessed.
DIRECTIONS: Mapping[str, Direction] = {
    "BUY": Direction.BUY,
    "SELL": Direction.SELL,
    "NOTHING": Direction.NOTHING,
    "NEUTRAL": Direction.NOTHING,
}

KEY_PREFIX = "ta-"
#: Characters of an entry's key; the legs of its bracket need two more of the 32 that a broker takes.
_KEY_LENGTH = 30


@dataclass(frozen=True, slots=True)
class StrategySignal:
    """`strength` 0 to 1: the part of the full target size that is wanted; a SELL closes all, whatever its strength.

    `id` names the signal for ever: a signal repeated under its id is the same order. None: one entry per symbol and
    trading day. Raises InvalidRequest for a strength outside its range, InvalidInstrument for no ticker.
    """

    symbol: str
    direction: Direction
    strength: Decimal = Decimal(1)
    id: str | None = None
    strategy: str = ""
    reason: str = ""
    cautions: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbol", normalize_symbol(self.symbol))
        object.__setattr__(self, "direction", Direction(self.direction))
        what, value = f"signal for {self.symbol}", self.strength
        number = Decimal("NaN")
        if isinstance(value, Decimal | Real) and not isinstance(value, bool):
            number = Decimal(str(value))
        if not number.is_finite() or not 0 <= number <= 1:
            raise InvalidRequest(what, f"strength {value!r} is not a number from 0 to 1", "0.85 is 85 % of the target")
        object.__setattr__(self, "strength", number)

    @classmethod
    def from_host(cls, row: Mapping[str, Any]) -> StrategySignal:
        """A host's {'token', 'signal', 'direction', 'metadata'}, also with 'strategy_name' and 'id'.

        `metadata` may hold advice (`caution.ADVICE`), 'reason' and 'id'; the advice applies to buying only. Raises
        InvalidRequest or InvalidInstrument, naming the field that cannot be read.
        """
        what = f"signal for {row.get('token')!r}"
        for name in ("token", "signal", "direction"):
            if row.get(name) is None:
                raise InvalidRequest(what, f"{name} is missing", "token, signal (0 to 1) and direction are needed")
        direction = DIRECTIONS.get(row["direction"]) if isinstance(row["direction"], str) else None
        if direction is None:
            raise InvalidRequest(
                what, f"direction {row['direction']!r} is not one of {', '.join(DIRECTIONS)}", "spell it exactly"
            )
        metadata = row.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise InvalidRequest(what, f"metadata {metadata!r} is not a mapping", "leave it out, or give a mapping")
        identity = row.get("id", metadata.get("id"))
        return cls(
            symbol=row["token"],
            direction=direction,
            strength=row["signal"],
            id=None if identity is None else str(identity),
            strategy=str(row.get("strategy_name", "")),
            reason=str(metadata.get("reason", "")),
            cautions=buying_cautions(metadata) if direction is Direction.BUY else (),
        )


def signal_key(signal: StrategySignal, day: date) -> str:
    """The key of the entry that the signal asks for: by its id, or by symbol and trading day (New York).

    An id that two symbols share makes two keys.
    """
    name = re.sub("[^A-Z0-9]", "-", signal.symbol)
    if signal.id is None:
        return f"{KEY_PREFIX}{name[:18]}-{day:%Y%m%d}"
    digest = hashlib.sha256(f"{signal.id}\n{signal.symbol}".encode()).hexdigest()
    return f"{KEY_PREFIX}{name[:8]}-{digest}"[:_KEY_LENGTH]
