"""The plot of the scale rows as an SVG text: cost of a tick against symbols and against consumers, raw beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

WIDTH, HEIGHT = 860, 340
#: Of each of the two panels: left edges, width, top and height of the drawing.
LEFTS, PANEL, TOP, FALL = (70, 500), 330, 60, 210
SIDES = (("raw", "raw ib_async", "#b4552d"), ("ours", "this package", "#2d6fb4"))
STYLE = "font-family: sans-serif; font-size: 12px; fill: #333"

Point = tuple[float, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """`points`: size -> µs a tick by side. Both axes are logarithmic, `low` and `high` are whole decades."""

    title: str
    points: Sequence[Point]
    left: float
    low: int
    high: int

    def x(self, size: float) -> float:
        first, last = self.points[0][0], self.points[-1][0]
        return self.left + PANEL * log10(size / first) / log10(last / first)

    def y(self, cost: float) -> float:
        return TOP + FALL * (self.high - log10(cost)) / (self.high - self.low)


def plot(data: Mapping[str, Any]) -> str:
    """Of the data that `--json` writes. ValueError when it has no scale rows."""
    rows = [row for row in data["rows"] if row["bench"] == "scale"]
    if not rows:
        raise ValueError("there are no scale rows to plot: run the benchmark `scale` as well")
    costs = [row[side] for row in rows for side in ("raw", "ours")]
    low, high = int(log10(min(costs)) // 1), -int(-log10(max(costs)) // 1)
    panels = (
        Panel("symbols (1 consumer)", _points(rows, "symbols", "consumers", 1), LEFTS[0], low, high),
        Panel("consumers (100 symbols)", _points(rows, "consumers", "symbols", 100), LEFTS[1], low, high),
    )
    drawn = [line for panel in panels for line in _draw(panel)]
    machine = data["machine"]
    about = f"{machine['time'][:10]}, {machine['cpus']} CPUs, Python {machine['python']}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            "<title>Microseconds a tick against symbols and consumers</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<g style="{STYLE}">',
            f'<text x="{LEFTS[0]}" y="24" style="font-size: 15px">Microseconds a tick, less is better</text>',
            f'<text x="{WIDTH - 30}" y="24" text-anchor="end">{about}</text>',
            *drawn,
            *_legend(),
            "</g>",
            "</svg>\n",
        )
    )


def _points(rows: Sequence[Mapping[str, Any]], along: str, fixed: str, at: int) -> list[Point]:
    return sorted(
        (row["extra"][along], {side: row[side] for side, *_ in SIDES}) for row in rows if row["extra"][fixed] == at
    )


def _draw(panel: Panel) -> list[str]:
    bottom, right = TOP + FALL, panel.left + PANEL
    lines = []
    for decade in range(panel.low, panel.high + 1):
        at = panel.y(10.0**decade)
        lines.append(f'<line x1="{panel.left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{panel.left - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
    for size, _ in panel.points:
        lines.append(f'<text x="{panel.x(size):.1f}" y="{bottom + 18}" text-anchor="middle">{size:,.0f}</text>')
    middle = panel.left + PANEL / 2
    lines.append(f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">{panel.title}</text>')
    for side, _, colour in SIDES:
        places = [(panel.x(size), panel.y(costs[side]), costs[side]) for size, costs in panel.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, cost in places:
            lines.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{cost:.3g}</title></circle>'
            )
    return lines


def _legend() -> list[str]:
    lines = []
    for place, (_, name, colour) in enumerate(SIDES):
        x = LEFTS[0] + 150 * place
        lines.append(f'<rect x="{x}" y="38" width="14" height="4" fill="{colour}"/>')
        lines.append(f'<text x="{x + 20}" y="44">{name}</text>')
    return lines
