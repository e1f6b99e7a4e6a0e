"""Advice from news, sentiment and language models: it may shrink a size and bring a stop nearer, and nothing else.

An advice that cannot be read is refused, never taken as consent: the caller reports it and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from numbers import Real
from typing import Any

from ...brokers.errors import InvalidRequest

ONE = Decimal(1)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Caution:
    """One advice. `factor` multiplies a size, 0 (do not trade) to 1 (nothing to say); `reason` is free text.

    `stop_fraction` is the distance of the stop from the entry as a fraction of its price, above 0 and below 1; None
    leaves the stop alone. Raises InvalidRequest for a factor or a fraction outside its range, NaN and text: an advice
    is never rounded into its range, because what it meant is not known.
    """

    factor: Decimal
    reason: str
    stop_fraction: Decimal | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", _number(self.factor, f"caution {self.reason!r}", ZERO, ONE))
        if self.stop_fraction is not None:
            fraction = _number(self.stop_fraction, f"stop of caution {self.reason!r}", ZERO, ONE)
            if not 0 < fraction < 1:
                raise InvalidRequest(
                    f"stop of caution {self.reason!r}", f"{fraction} is not between 0 and 1", "0.1 is 10 % away"
                )
            object.__setattr__(self, "stop_fraction", fraction)


def cautious_quantity(base: Decimal, cautions: Iterable[Caution]) -> Decimal:
    """`base` shares times every factor, rounded down to whole shares; never above `base`, whatever is advised.

    Raises InvalidRequest for a `base` that is not a finite number of at least 0.
    """
    quantity = _number(base, "base quantity", ZERO, None)
    for caution in cautions:
        quantity *= caution.factor
    return min(quantity, base).to_integral_value(rounding=ROUND_FLOOR)


def tightened_stop(base: Decimal, cautions: Iterable[Caution]) -> Decimal:
    """The nearest of `base` and every advised stop fraction; never further away than `base`."""
    return min([base, *(caution.stop_fraction for caution in cautions if caution.stop_fraction is not None)])


def buying_cautions(metadata: Mapping[str, Any]) -> tuple[Caution, ...]:
    """What a signal's metadata advises a buyer, by the table `ADVICE`; other entries are not advice and are ignored.

    Raises InvalidRequest for an entry of the table whose value cannot be read.
    """
    found = []
    for name, reader in ADVICE.items():
        value = metadata.get(name)
        if value is not None:
            found.append(reader(name, value))
    return tuple(found)


def _confidence(name: str, value: Any) -> Caution:
    """0 to 1, or per cent above 1 and up to 100."""
    number = _number(value, f"metadata {name}", ZERO, Decimal(100))
    factor = number if number <= 1 else number / 100
    return Caution(factor, f"{name} {value}")


def _mood(name: str, value: Any) -> Caution:
    """-1 (worst) to 1, a word of `MOODS`, or a mapping with `factor` and `reason`. Good news enlarge nothing."""
    if isinstance(value, Mapping):
        if "factor" not in value:
            raise InvalidRequest(f"metadata {name}", "the mapping holds no factor", "give factor, from 0 to 1")
        return Caution(value["factor"], str(value.get("reason", name)))
    if isinstance(value, str) and value.strip().lower() in MOODS:
        return Caution(MOODS[value.strip().lower()], f"{name} {value.strip()}")
    number = _number(value, f"metadata {name}", -ONE, ONE)
    return Caution(ONE + min(number, ZERO), f"{name} {value}")


def _stop(name: str, value: Any) -> Caution:
    return Caution(ONE, f"{name} {value}", _number(value, f"metadata {name}", ZERO, ONE))


#: Words of mood -> factor for a buyer.
MOODS: Mapping[str, Decimal] = {
    "bullish": ONE,
    "positive": ONE,
    "neutral": ONE,
    "negative": Decimal("0.5"),
    "bearish": Decimal("0.5"),
    "very negative": ZERO,
    "very bearish": ZERO,
}

#: Entry of a signal's metadata -> how it is read.
ADVICE: Mapping[str, Callable[[str, Any], Caution]] = {
    "confidence": _confidence,
    "sentiment": _mood,
    "news": _mood,
    "stop_fraction": _stop,
}


def _number(value: Any, what: str, low: Decimal, high: Decimal | None) -> Decimal:
    """A finite Decimal from `low` to `high` (None: no upper end); text and truth values are not numbers."""
    span = f"from {low} to {high}" if high is not None else f"of at least {low}"
    number = Decimal("NaN")
    if isinstance(value, Decimal | Real) and not isinstance(value, bool):
        number = Decimal(str(value))
    if not number.is_finite() or number < low or (high is not None and number > high):
        raise InvalidRequest(what, f"{value!r} is not a number {span}", "leave it out, or give such a number")
    return number
