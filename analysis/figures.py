"""Figures for papers: convergence and local error of several methods, as PNG, SVG and PDF."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".png", ".svg", ".pdf")
SHOWN = ("ddim", "dpmpp-2m", "heun-edm", "deis-tab-3", "ab-4", "rk4", "dp5", "dop853")
FINEST = 256  # steps: ladders of one figure cover the same grids
STYLE = {
    "figure.figsize": (6.6, 3.7),
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "odekit",
    "svg.fonttype": "none",
}
COLOURS = ("#2457a6", "#c2571a", "#1a7f4b", "#8e44ad", "#b3261e", "#00798c", "#7a6a00", "#5b6470", "#d1559a", "#3d348b")


def plot_rows(rows: Sequence[Mapping[str, Any]], axes: Any = None, x: str = "steps", title: str = "") -> Any:
    """Ladders of results.json in one plot, error against `steps` or `nfe`; returns the matplotlib axes.

    Filled markers lie in the asymptotic window; the legend tells the observed order. Ladders without a finite
    positive error are left out.
    """
    if axes is None:
        from matplotlib import pyplot

        with pyplot.rc_context(STYLE):
            axes = pyplot.subplots(layout="constrained")[1]
    drawn = []
    for i, row in enumerate(rows):
        points = [
            (n, work, error)
            for n, work, error in zip(row["steps"], row[x], row["errors"], strict=True)
            if error is not None and 0 < error < float("inf")
        ]
        if not points:
            continue
        colour = COLOURS[i % len(COLOURS)]
        order = "" if row["observed_order"] is None else f" ({row['observed_order']:.2f})"
        work, errors = [p[1] for p in points], [p[2] for p in points]
        line = axes.loglog(work, errors, color=colour, label=f"{row['method']}{order}", zorder=2)[0]
        drawn.append((float(np.interp(math.log(_shared(rows, x)), np.log(work), np.log(errors))), line))
        start, end = row["asymptotic_from"], row.get("asymptotic_to") or math.inf
        inside = [start is not None and start <= p[0] <= end for p in points]
        faces = [colour if one else "white" for one in inside]
        axes.scatter(work, errors, s=14, c=faces, edgecolors=colour, linewidths=1, zorder=3)
    axes.set_xlabel({"steps": "steps", "nfe": "model evaluations"}[x])
    axes.set_ylabel("error (rms over trajectories)")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(title, fontsize=9, loc="left")
    if axes.has_data():
        lines = [line for _, line in sorted(drawn, key=lambda pair: -pair[0])]
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "alignment": "left"}
        axes.legend(handles=lines, title="method (observed order)", title_fontsize=8, **beside)
    return axes


def _shared(rows: Sequence[Mapping[str, Any]], x: str) -> float:
    """A place on the x axis that most ladders pass: the legend lists them in their order there."""
    return statistics.median(row[x][-1] for row in rows if row[x])


def draw_figures(names: Sequence[str], case: Any, folder: Path, fresh: bool = False) -> list[Path]:
    """Measure and draw convergence and local error of the methods on a case; the paths of the files written."""
    from analysis.cache import Cache
    from analysis.ladder import rungs
    from analysis.measure import history_of, local_error, method_of
    from analysis.tasks import OrderTask
    from analysis.verify import run_tasks

    names = list(names) or list(SHOWN)
    found = [method_of(name) for name in names]
    counts = [tuple(n for n in rungs(4) if 1 + history_of(one) < n <= FINEST) for one in found]
    tasks = [OrderTask(name, case, ("with start",), steps) for name, steps in zip(names, counts, strict=True)]
    rows = run_tasks(tasks, Cache(fresh=fresh))
    local = [local_error(one, case).row for one in found]
    paths = save(rows, folder / "convergence", title=f"Convergence: {case.name}")
    paths += save(rows, folder / "work", x="nfe", title=f"Error against work: {case.name}")
    paths += save(local, folder / "local-error", title=f"Error of one step: {case.name}")
    return paths


def save(rows: Sequence[Mapping[str, Any]], stem: Path, x: str = "steps", title: str = "") -> list[Path]:
    """One figure of these rows as PNG, SVG and PDF; the same rows give the same bytes."""
    return write(stem, lambda axes: plot_rows(rows, axes, x, title))


def write(
    stem: Path, draw: Callable[[Any], Any], panels: int = 1, size: tuple[float, float] | None = None
) -> list[Path]:
    """What `draw(axes)` draws, as PNG, SVG and PDF; the same drawing gives the same bytes.

    panels: how many axes side by side; of more than one, `draw` gets them all. size: in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    with matplotlib.rc_context(STYLE):
        figure = Figure(layout="constrained", figsize=size)
        draw(figure.subplots(1, panels))
        for suffix in SUFFIXES:
            path = stem.with_name(stem.name + suffix)
            undated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
            figure.savefig(path, metadata=undated)
            paths.append(path)
    return paths
