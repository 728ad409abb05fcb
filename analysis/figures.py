"""Figures for papers: convergence and local error of several methods, as PNG, SVG and PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SUFFIXES = (".png", ".svg", ".pdf")
SHOWN = ("euler", "heun2", "rk4", "dp5", "ab-2", "ddim", "dpmpp-2m", "heun-edm")
STYLE = {
    "figure.figsize": (5.2, 3.7),
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
        axes.loglog(work, errors, color=colour, label=f"{row['method']}{order}", zorder=2)
        start = row["asymptotic_from"]
        inside = [start is not None and p[0] >= start for p in points]
        faces = [colour if one else "white" for one in inside]
        axes.scatter(work, errors, s=14, c=faces, edgecolors=colour, linewidths=1, zorder=3)
    axes.set_xlabel({"steps": "steps", "nfe": "model evaluations"}[x])
    axes.set_ylabel("error (rms over trajectories)")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(title, fontsize=9, loc="left")
    if axes.has_data():
        axes.legend(title="method (observed order)", title_fontsize=8, ncols=1 + (len(rows) > 6))
    return axes


def draw_figures(names: Sequence[str], case: Any, folder: Path, fresh: bool = False) -> list[Path]:
    """Measure and draw convergence and local error of the methods on a case; the paths of the files written."""
    from analysis.cache import Cache
    from analysis.measure import local_error, method_of
    from analysis.tasks import OrderTask
    from analysis.verify import run_tasks
    from odekit import methods

    names = list(names) or [name for name in SHOWN if name in methods.names()]
    tasks = [OrderTask(name, case, ("with start",)) for name in names]
    rows = run_tasks(tasks, Cache(fresh=fresh))
    local = [local_error(method_of(name), case).row for name in names]
    paths = save(rows, folder / "convergence", title=f"Convergence: {case.name}")
    paths += save(rows, folder / "work", x="nfe", title=f"Error against work: {case.name}")
    paths += save(local, folder / "local-error", title=f"Error of one step: {case.name}")
    return paths


def save(rows: Sequence[Mapping[str, Any]], stem: Path, x: str = "steps", title: str = "") -> list[Path]:
    """One figure of these rows as PNG, SVG and PDF; the same rows give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    with matplotlib.rc_context(STYLE):
        figure = Figure(layout="constrained")
        plot_rows(rows, figure.subplots(), x, title)
        for suffix in SUFFIXES:
            path = stem.with_name(stem.name + suffix)
            undated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
            figure.savefig(path, metadata=undated)
            paths.append(path)
    return paths
