"""Scripted events of what analysts look at: options that trade unusually much, and headlines of any wording."""

from __future__ import annotations

from collections.abc import Sequence

from .faults import Fault, Faults, Place


def _unusual_options(faults: Faults, arguments: Sequence[str]) -> None:
    symbol, days, factor, right = [*arguments, *("", "0-14", "8", "")[len(arguments) :]][:4]
    first, _, last = (days or "0-14").partition("-")
    faults.door.options.surge(symbol, int(first), int(last or first), float(factor or 8), right.upper() or None)


def _usual_options(faults: Faults) -> None:
    faults.door.options.end_surges()


def _headline(faults: Faults, arguments: Sequence[str]) -> None:
    symbol, provider, *words = arguments
    faults.door.news.publish(symbol, ":".join(words), provider or "PPRW")
    faults.door.flush()


ROWS: tuple[Fault, ...] = (
    Fault(
        "unusual-options",
        Place.MARKET,
        "options that expire DAYS ahead (0-14) trade FACTOR (8) times their volume; RIGHT is C or P",
        _unusual_options,
        ":SYMBOL[:DAYS[:FACTOR[:RIGHT]]]",
        lasting=True,
        end=_usual_options,
    ),
    Fault(
        "headline",
        Place.MARKET,
        "a headline of any wording is published (PROVIDER empty: PPRW)",
        _headline,
        ":SYMBOL:PROVIDER:TEXT",
    ),
)
