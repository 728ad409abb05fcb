"""Small convergence plots drawn as SVG text: a report of hundreds stays one light page without any other file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 252, 176
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 20, 30
GAP = 9  # smallest vertical distance of two tick labels


@dataclass(frozen=True)
class Series:
    """One ladder: evaluations (or steps) and errors, and the first step number of its asymptotic window."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    css: str = "a"
    slope: float | None = None
    asymptotic_from: float | None = None
    points: list[tuple[float, float]] = field(init=False)

    def __post_init__(self):
        usable = [(x, y) for x, y in zip(self.x, self.y, strict=True) if y is not None and math.isfinite(y) and y > 0]
        object.__setattr__(self, "points", usable)


def convergence_plot(title: str, series: Sequence[Series], claim: float | None = None) -> str:
    """Errors against steps, both logarithmic, as one <svg>; the thin line has the claimed slope.

    Points inside a series' asymptotic window are filled, the others hollow. A ladder without a finite positive error
    is left out; with none at all the plot says so.
    """
    drawn = [one for one in series if one.points]
    label = escape(title, quote=True)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        f'<text class="title" x="{LEFT}" y="12">{escape(title)}</text>',
    ]
    if not drawn:
        middle = f'x="{WIDTH / 2:g}" y="{HEIGHT / 2:g}" text-anchor="middle"'
        return "".join([*parts, f"<text {middle}>no finite error to draw</text></svg>"])
    axes = _Axes([p for one in drawn for p in one.points])
    parts += axes.frame()
    if claim is not None:
        parts.append(_claimed_line(axes, drawn[0].points[-1], claim))
    parts += [_ladder(axes, one) for one in drawn]
    return "".join([*parts, "</svg>"])


class _Axes:
    """Logarithmic axes over a cloud of points, a little wider than it."""

    def __init__(self, points: list[tuple[float, float]]):
        x = [math.log10(p[0]) for p in points]
        y = [math.log10(p[1]) for p in points]
        self.x0, self.x1 = min(x) - 0.08, max(x) + 0.08
        self.y0, self.y1 = min(y) - 0.4, max(y) + 0.4

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point given by the logarithms of its coordinates."""
        across = LEFT + (x - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)
        down = TOP + (self.y1 - y) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    def frame(self) -> list[str]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = []
        decades = range(math.ceil(self.y0), math.floor(self.y1) + 1)
        every = max(1, math.ceil(GAP * 1.6 * len(decades) / (HEIGHT - TOP - BOTTOM)))
        for decade in decades:
            if decade % every:
                continue
            _, down = self.at(self.x0, decade)
            parts.append(f'<path class="grid" d="M{LEFT} {down}H{right}"/>')
            text = f'1<tspan dx="-.5">0</tspan><tspan dy="-3" class="power">{decade}</tspan>'.replace("-", "\u2212")
            text = text.replace('dx="\u2212', 'dx="-').replace('dy="\u2212', 'dy="-')
            parts.append(f'<text x="{LEFT - 4}" y="{down + 3}" text-anchor="end">{text}</text>')
        for power in range(math.ceil(self.x0 / math.log10(2)), math.floor(self.x1 / math.log10(2)) + 1):
            across, _ = self.at(power * math.log10(2), self.y0)
            parts.append(f'<path class="grid" d="M{across} {TOP}V{bottom}"/>')
            parts.append(f'<text x="{across}" y="{bottom + 11}" text-anchor="middle">{2**power:g}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        parts.append(
            f'<text class="label" x="{(LEFT + right) / 2:g}" y="{HEIGHT - 4}" text-anchor="middle">steps</text>'
        )
        return parts


def _claimed_line(axes: _Axes, anchor: tuple[float, float], claim: float) -> str:
    """The claimed slope through the finest point, cut where it leaves the frame."""
    x, y = math.log10(anchor[0]), math.log10(anchor[1])
    ends = []
    for end in (axes.x0, axes.x1):
        at = y - claim * (end - x)
        if claim and not axes.y0 <= at <= axes.y1:
            at = min(max(at, axes.y0), axes.y1)
            end = x - (at - y) / claim
        ends.append(axes.at(end, at))
    (xa, ya), (xb, yb) = ends
    return f'<path class="claim" d="M{xa} {ya}L{xb} {yb}"/>'


def _ladder(axes: _Axes, one: Series) -> str:
    places = [(*axes.at(math.log10(x), math.log10(y)), x) for x, y in one.points]
    path = "M" + "L".join(f"{a} {b}" for a, b, _ in places)
    dots = "".join(f'<circle cx="{a}" cy="{b}" r="2.4"{_hollow(one, x)}/>' for a, b, x in places)
    return f'<g class="series {one.css}"><path d="{path}"/>{dots}</g>'


def _hollow(one: Series, x: float) -> str:
    inside = one.asymptotic_from is not None and x >= one.asymptotic_from * (1 - 1e-9)
    return "" if inside else ' class="out"'
