"""Threat score: how much of what is known of a symbol is out of the ordinary, 0 (nothing) to 100, with its reasons.

Factors are joined as independent ones: 1 less the product of what each leaves. A factor adds at most its weight, a
missing one adds nothing, so that unknown is neither calm nor alarm; `coverage` states how much was known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ...brokers.errors import NoData
from ..llm.assessment import Assessment
from ..llm.assessment import Factor as CitedFactor
from ..llm.request import Evidence
from .options_flow import ramp


class Group(StrEnum):
    """What a factor is about; a finding is named by the group that leads."""

    PRICE = "price"
    VOLUME = "volume"
    VOLATILITY = "volatility"
    OPTIONS = "options"
    NEWS = "news"


@dataclass(frozen=True, slots=True)
class ThreatFactor:
    """A row of the table: the size of the value counts from `calm` (nothing) to `full` (the whole weight); `pulls` is
    whether its sign tells a direction."""

    evidence: str
    group: Group
    weight: float
    calm: float
    full: float
    text: str
    pulls: bool = False


#: How each piece of evidence counts. The weights are a choice, published.
FACTORS: tuple[ThreatFactor, ...] = (
    ThreatFactor(
        "price.sigma", Group.PRICE, 0.50, 1.5, 5.0, "today moved {:+.1f} of its usual daily moves", pulls=True
    ),
    ThreatFactor("price.gap_pct", Group.PRICE, 0.35, 2.0, 8.0, "opened {:+.1f} % from the close before", pulls=True),
    ThreatFactor("price.change_3d_pct", Group.PRICE, 0.20, 8.0, 25.0, "{:+.1f} % in three sessions", pulls=True),
    ThreatFactor("volume.ratio", Group.VOLUME, 0.40, 1.5, 5.0, "volume {:.1f}x what is usual by now"),
    ThreatFactor("volume.last_session_ratio", Group.VOLUME, 0.20, 2.0, 5.0, "last session's volume {:.1f}x usual"),
    ThreatFactor("volatility.range_atr", Group.VOLATILITY, 0.25, 1.5, 3.5, "today's range {:.1f}x its average"),
    ThreatFactor("volatility.hv_ratio", Group.VOLATILITY, 0.20, 1.5, 3.0, "5-session volatility {:.1f}x the usual"),
    ThreatFactor("options.flow_score", Group.OPTIONS, 0.55, 30.0, 85.0, "options flow {:.0f} of 100"),
    ThreatFactor("aegs.points", Group.PRICE, 0.15, 40.0, 110.0, "oversold, {:.0f} AEGS points"),
    ThreatFactor("news.threat", Group.NEWS, 0.20, 0.0, 1.0, "news, severity {:.2f} of 1"),
)
#: A halt is no number; it counts this much.
HALTED = 0.60
#: Share of the table's weight that must be known; below it there is no score.
LEAST_COVERAGE = 0.25
#: Threat scores from which an alert goes out.
ALERT_AT = 70
_TOTAL = sum(factor.weight for factor in FACTORS)


@dataclass(frozen=True, slots=True)
class Reason:
    """One factor that counts: `effect` is its share alone, 0 to its weight."""

    evidence: str
    group: Group
    effect: float
    text: str


@dataclass(frozen=True, slots=True)
class Threat:
    """`score` 0 to 100; `coverage` 0 to 1; reasons by effect, the largest first; `leading` None without reasons."""

    score: int
    direction: Literal["up", "down", "unclear"]
    coverage: float
    reasons: tuple[Reason, ...]

    @property
    def leading(self) -> Group | None:
        return self.reasons[0].group if self.reasons else None


def threat(values: Mapping[str, float | str]) -> Threat:
    """The score of what is known, by evidence id. Raises NoData when less than a quarter of the weight is known."""
    known = [factor for factor in FACTORS if isinstance(values.get(factor.evidence), float)]
    coverage = sum(factor.weight for factor in known) / _TOTAL
    if coverage < LEAST_COVERAGE:
        raise NoData(
            "threat score",
            f"{coverage:.0%} of its weight is known, {LEAST_COVERAGE:.0%} are needed",
            "look at the missing evidence",
        )
    reasons, pull = [], 0.0
    for factor in known:
        value = float(values[factor.evidence])
        effect = factor.weight * ramp(abs(value), factor.calm, factor.full)
        if effect > 0:
            reasons.append(Reason(factor.evidence, factor.group, effect, factor.text.format(value)))
            pull += (effect if value > 0 else -effect) if factor.pulls else 0.0
    if values.get("quote.halted") == "yes":
        reasons.append(Reason("quote.halted", Group.PRICE, HALTED, "trading is halted"))
    pull += _option_pull(values, reasons) + _news_pull(values, reasons)
    left = 1.0
    for reason in reasons:
        left *= 1 - reason.effect
    ordered = tuple(sorted(reasons, key=lambda reason: (-reason.effect, reason.evidence)))
    return Threat(round(100 * (1 - left)), _direction(pull), round(coverage, 4), ordered)


def with_news(score: int, values: Mapping[str, float | str]) -> int:
    """A score that was made without the news, joined with them as `threat` joins its factors: they add at most their
    weight, whatever a model made of the rest."""
    factor = next(row for row in FACTORS if row.group is Group.NEWS)
    value = values.get(factor.evidence)
    effect = factor.weight * ramp(abs(value), factor.calm, factor.full) if isinstance(value, float) else 0.0
    return round(100 - (100 - score) * (1 - effect))


def rules_assessment(evidence: Mapping[str, Evidence]) -> Assessment:
    """The rule behind every ladder: `threat` in the words of a model's answer. Raises NoData."""
    values = {id: row.value for id, row in evidence.items() if row.value is not None}
    found = threat(values)
    cited = tuple(reason.evidence for reason in found.reasons[:8]) or (next(iter(sorted(values))),)
    told = "; ".join(reason.text for reason in found.reasons[:8]) or "nothing is out of the ordinary"
    return Assessment(
        reasoning=f"By rules, {found.coverage:.0%} of the evidence known: {told}."[:1200],
        factors=tuple(
            CitedFactor(name=reason.text[:80], effect="raises", evidence_ids=(reason.evidence,))
            for reason in found.reasons[:8]
        ),
        score=found.score,
        confidence=round(min(1.0, found.coverage), 4),
        direction=found.direction,
        evidence_ids=cited,
    )


def _option_pull(values: Mapping[str, float | str], reasons: list[Reason]) -> float:
    effect = next((reason.effect for reason in reasons if reason.evidence == "options.flow_score"), 0.0)
    return {"up": effect, "down": -effect}.get(str(values.get("options.direction")), 0.0)


def _news_pull(values: Mapping[str, float | str], reasons: list[Reason]) -> float:
    effect = next((reason.effect for reason in reasons if reason.group is Group.NEWS), 0.0)
    return {"up": effect, "down": -effect}.get(str(values.get("news.direction")), 0.0)


def _direction(pull: float) -> Literal["up", "down", "unclear"]:
    if abs(pull) < 0.05:
        return "unclear"
    return "up" if pull > 0 else "down"
