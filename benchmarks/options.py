"""How long a benchmark may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`rounds` of both sides in turns; `quick` shrinks every amount to what shows that it works (no figure counts)."""

    rounds: int = 5
    quick: bool = False

    def amount(self, full: int, quick: int) -> int:
        return quick if self.quick else full
