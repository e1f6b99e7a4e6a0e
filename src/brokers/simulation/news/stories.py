"""The words of simulated news. Every headline says that it is simulated: real companies stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

#: Provider code -> name. The codes are none of IB's.
PROVIDERS: Mapping[str, str] = {
    "PPRW": "Paper Newswire (simulated)",
    "PPRA": "Paper Analyst Notes (simulated)",
}
MARK = "[Simulated]"
_CLOSING = "This text was made by the paper gateway. It reports nothing that happened."
#: A session moves a stock notably from this share on.
_NOTABLE = 0.01


@dataclass(frozen=True, slots=True)
class Template:
    """`tone` +1 good, 0 neutral, -1 bad news for the share. {name} is the company, {move} the last session's change."""

    provider: str
    tone: int
    headline: str
    body: str


#: Of the session before; chosen by what the price did.
RECAPS: tuple[Template, ...] = (
    Template("PPRW", 1, "{name} gains {move} in the last session", "Shares of {name} closed {move} higher."),
    Template(
        "PPRW", 1, "Buyers lift {name} by {move}", "Demand for {name} held until the close, {move} up on the day."
    ),
    Template("PPRW", -1, "{name} loses {move} in the last session", "Shares of {name} closed {move} lower."),
    Template("PPRW", -1, "Sellers push {name} down {move}", "{name} gave back {move} and closed near its low."),
    Template(
        "PPRW", 0, "{name} little changed before today's open", "Shares of {name} ended close to where they began."
    ),
)
#: Of anything else.
OTHERS: tuple[Template, ...] = (
    Template("PPRA", 1, "Estimate for {name} raised on firmer orders", "Two of three models now expect higher sales."),
    Template(
        "PPRA", 0, "View on {name} unchanged ahead of results", "Nothing in the quarter so far asks for a new view."
    ),
    Template("PPRA", -1, "Estimate for {name} cut on rising costs", "Input costs grow faster than prices can follow."),
    Template(
        "PPRA", -1, "Option traders hedge {name} against a fall", "Puts trade at a wider premium than last month."
    ),
    Template(
        "PPRW", 1, "{name} signs a supply agreement for three years", "Terms were not told; deliveries begin soon."
    ),
    Template("PPRW", 1, "{name} to buy back more of its shares", "The programme was enlarged by a quarter."),
    Template(
        "PPRW", 0, "{name} to present at an industry conference", "A recording will stand on the company's pages."
    ),
    Template("PPRW", 0, "{name} names a new head of operations", "The change takes effect at the end of the month."),
    Template("PPRW", -1, "Outage at {name} lasts for hours", "Services were back by the evening; the cause is open."),
    Template(
        "PPRW", -1, "{name} looks into unauthorised access", "The company says that it is too early to tell more."
    ),
    Template("PPRW", -1, "Supplier delay reaches {name}", "Some deliveries move into the next quarter."),
)


def choose(chance: Random, move: float | None, *, recap: bool) -> Template:
    """`move` is the last session's change as a share; None: not known."""
    if not recap or move is None:
        return chance.choice(OTHERS)
    tone = 0 if abs(move) < _NOTABLE else 1 if move > 0 else -1
    return chance.choice([row for row in RECAPS if row.tone == tone])


def worded(template: Template, name: str, move: float | None) -> tuple[str, str]:
    """Headline and article."""
    words = {"name": name.title() if name.isupper() else name, "move": f"{abs(move or 0):.1%}"}
    headline = f"{MARK} {template.headline.format(**words)}"
    return headline, f"{headline}\n\n{template.body.format(**words)}\n\n{_CLOSING}"


def scripted_article(text: str) -> str:
    return f"{text}\n\n{_CLOSING}"
