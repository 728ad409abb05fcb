"""Small convergence plots drawn as SVG text: a report of hundreds stays one light page without any other file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Frame:
    """Size of a drawing and the margins around its axes, in units of the drawing."""

    width: int = 300
    height: int = 186
    left: int = 36
    right: int = 8
    top: int = 8
    bottom: int = 28


PANEL = Frame()
WIDE = Frame(760, 360, 44, 90, 10, 34)
GAP = 9  # smallest vertical distance of two tick labels
LABEL_GAP = 13  # and of two labels of lines


@dataclass(frozen=True)
class Series:
    """One ladder: steps (or evaluations) and errors, and between which of them its asymptotic window lies."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    css: str = "a"
    asymptotic_from: float | None = None
    asymptotic_to: float | None = None
    points: list[tuple[float, float]] = field(init=False)

    def __post_init__(self):
        usable = [(x, y) for x, y in zip(self.x, self.y, strict=True) if y is not None and math.isfinite(y) and y > 0]
        object.__setattr__(self, "points", usable)


def convergence_plot(title: str, series: Sequence[Series], claim: float | None = None) -> str:
    """Errors against steps, both logarithmic, as one <svg>; the dashed line, through the end of the window, has the
    claimed slope.

    Points inside a series' asymptotic window are filled, the others hollow. A ladder without a finite positive error
    is left out; with none at all the plot says so.
    """
    drawn = [one for one in series if one.points]
    if not drawn:
        return _empty(title)
    axes = _Axes([p for one in drawn for p in one.points], PANEL)
    parts = axes.ticks("steps")
    if claim is not None:
        inside = [point for point in drawn[0].points if not _hollow(drawn[0], point[0])]
        parts.append(_claimed_line(axes, (inside or drawn[0].points)[-1], claim))
    return _svg(title, PANEL, [*parts, *(_ladder(axes, one) for one in drawn)])


def comparison_plot(title: str, series: Sequence[Series], x_label: str) -> str:
    """Several ladders in one wide <svg>, each named at its end."""
    drawn = [one for one in series if one.points]
    if not drawn:
        return _empty(title)
    axes = _Axes([p for one in drawn for p in one.points], WIDE)
    parts = [*axes.ticks(x_label), *(_ladder(axes, one) for one in drawn)]
    ends = sorted((axes.at(*map(math.log10, one.points[-1])), one) for one in drawn)
    lowest = -math.inf
    for (across, down), one in sorted(ends, key=lambda end: end[0][1]):
        lowest = max(down + 3, lowest + LABEL_GAP)
        parts.append(f'<text class="name {one.css}" x="{across + 8}" y="{lowest:.1f}">{escape(one.label)}</text>')
    return _svg(title, WIDE, parts)


def _svg(title: str, frame: Frame, parts: Sequence[str]) -> str:
    label = escape(title, quote=True)
    size = f'viewBox="0 0 {frame.width} {frame.height}"'
    return "".join([f'<svg class="plot" {size} role="img" aria-label="{label}">', *parts, "</svg>"])


def _empty(title: str) -> str:
    middle = f'x="{PANEL.width / 2:g}" y="{PANEL.height / 2:g}" text-anchor="middle"'
    return _svg(title, PANEL, [f"<text {middle}>no finite error to draw</text>"])


class _Axes:
    """Logarithmic axes over a cloud of points, a little wider than it."""

    def __init__(self, points: list[tuple[float, float]], frame: Frame):
        x = [math.log10(p[0]) for p in points]
        y = [math.log10(p[1]) for p in points]
        self.x0, self.x1 = min(x) - 0.08, max(x) + 0.08
        self.y0, self.y1 = min(y) - 0.4, max(y) + 0.4
        self.frame = frame

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point given by the logarithms of its coordinates."""
        f = self.frame
        across = f.left + (x - self.x0) / (self.x1 - self.x0) * (f.width - f.left - f.right)
        down = f.top + (self.y1 - y) / (self.y1 - self.y0) * (f.height - f.top - f.bottom)
        return round(across, 1), round(down, 1)

    def ticks(self, x_label: str) -> list[str]:
        f = self.frame
        bottom, right = f.height - f.bottom, f.width - f.right
        parts = []
        decades = range(math.ceil(self.y0), math.floor(self.y1) + 1)
        every = max(1, math.ceil(GAP * 1.6 * len(decades) / (bottom - f.top)))
        for decade in decades:
            if decade % every:
                continue
            _, down = self.at(self.x0, decade)
            parts.append(f'<path class="grid" d="M{f.left} {down}H{right}"/>')
            power = f"\u2212{-decade}" if decade < 0 else f"{decade}"
            text = f'10<tspan dy="-3" class="power">{power}</tspan>'
            parts.append(f'<text x="{f.left - 4}" y="{down + 3}" text-anchor="end">{text}</text>')
        for power in range(math.ceil(self.x0 / math.log10(2)), math.floor(self.x1 / math.log10(2)) + 1):
            across, _ = self.at(power * math.log10(2), self.y0)
            parts.append(f'<path class="grid" d="M{across} {f.top}V{bottom}"/>')
            parts.append(f'<text x="{across}" y="{bottom + 11}" text-anchor="middle">{2**power:g}</text>')
        parts.append(f'<path class="axis" d="M{f.left} {f.top}V{bottom}H{right}"/>')
        middle = f'x="{(f.left + right) / 2:g}" y="{f.height - 4}" text-anchor="middle"'
        return [*parts, f'<text class="label" {middle}>{escape(x_label)}</text>']


def _claimed_line(axes: _Axes, anchor: tuple[float, float], claim: float) -> str:
    """The claimed slope through a point, cut where it leaves the frame."""
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
    inside = one.asymptotic_from is not None and one.asymptotic_from <= x <= (one.asymptotic_to or math.inf)
    return "" if inside else ' class="out"'
