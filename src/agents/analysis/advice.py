"""The only way from an analysis to an order: a caution, which makes a size smaller and never larger."""

from __future__ import annotations

from decimal import Decimal

from ..trading.caution import Caution
from .report import AnalysisRow

#: Threat from which an order keeps this factor of its size, the highest first.
FACTORS: tuple[tuple[int, Decimal], ...] = ((85, Decimal(0)), (70, Decimal("0.25")), (50, Decimal("0.5")))


def caution_of(row: AnalysisRow) -> Caution:
    """What the row advises; a symbol that could not be scored is not known to be calm and keeps half its size."""
    if row.threat is None:
        return Caution(Decimal("0.5"), f"{row.symbol} could not be scored")
    factor = next((factor for bound, factor in FACTORS if row.threat >= bound), Decimal(1))
    return Caution(factor, f"threat {row.threat} of {row.symbol}")
