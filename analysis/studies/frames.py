"""gDDIM with the noise in the frame of R_t against L_t: on point data, on mixtures, and under blurring.

Repeats the comparisons of Zhang, Tao & Chen 2023 (arXiv 2206.05564), tables 1 and 2 and the multistep ablation, with
exact scores and trajectory errors where the paper has networks and FID.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from analysis.figures import COLOURS
from analysis.studies.comparison import TWO_MODES, Bench, Table, mixture_of, signals, slope, starts

COUNTS = (10, 20, 40, 80, 160)


def one_step(counts: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)) -> Table:
    """Point data: gDDIM is exact in the frame of R_t, with any number of steps; in that of L_t it is not."""
    import odekit as ok

    point = ok.GaussianMixture([[0.7]], [0.0], [1.0])
    rows = _along_a_solution(ok.CLD(), point)
    for process in (ok.CLD(), ok.PSLD()):
        bench = Bench(process, point, starts(process, 8), 0.1, tol=1e-12)
        for q in (0, 1):
            for factor in ("R", "L"):
                method = ok.methods.get(f"gddim-{q}", factor=factor)
                for n in counts:
                    error = bench.error(method, n)
                    rows.append({"process": process.name, "q": q, "frame": factor, "steps": n, "error": error})
    table = Table(
        "one-step",
        "Point data: exact in the frame of R, not in that of L",
        rows,
        "Data in one point (x_0 = 0.7), t from 1 to 0.1 in uniform steps, 8 starts from N(0, diag(1, M));"
        " error: rms over the starts. noise_x and noise_m: the noise in a frame along one exact solution on CLD.",
    )
    worst = max(row["error"] for row in table.where(frame="R"))
    best = min(row["error"] for row in table.where(frame="L"))
    first = max(row["error"] for row in table.where(frame="L", steps=counts[0]))
    table.findings.append(f"R: the largest error of all is {worst:.1e}, with one step as with {counts[-1]}")
    table.findings.append(f"L: {first:.1e} with {counts[0]} step{'s' * (counts[0] > 1)}, still {best:.1e} at best")
    for frame in "RL":
        seen = [row["noise_x"] for row in table.where(noise_in=frame)]
        table.findings.append(f"{frame}: along one solution noise_x varies by {max(seen) - min(seen):.1e}")
    return table


def _along_a_solution(process: Any, point: Any) -> list[dict[str, Any]]:
    """The noise in both frames at the exact states of one solution, from t = 1 to 0.1."""
    import odekit as ok

    times = torch.linspace(1, 0.1, 37, dtype=torch.float64)
    smooth = ok.ProbabilityFlow(process, point, prediction="velocity")
    path = ok.solve(smooth, starts(process, 1), "dop853", torch.linspace(1, 0.1, 145, dtype=torch.float64), full=True)
    rows = []
    for frame in "RL":
        model = ok.ProbabilityFlow(process, point, prediction=f"{frame.lower()}-noise").model
        for t, x in zip(times, path.trajectory[::4], strict=True):
            noise_x, noise_m = model(x, t).flatten().tolist()
            rows.append({"noise_in": frame, "t": float(t), "noise_x": noise_x, "noise_m": noise_m})
    return rows


def draw_one_step(table: Table, axes: Any) -> None:
    """Errors against steps, and beside them why: the noise along one solution in both frames."""
    colour = dict(zip("RL", COLOURS, strict=False))
    for frame in "RL":
        for q in (0, 1):
            _line(axes[0], table.where(process="cld", frame=frame, q=q), "steps", f"q = {q}", colour[frame], q)
    _logarithmic(axes[0], "steps from t = 1 to 0.1", "CLD, all data in one point: error of gDDIM")
    axes[0].set_ylabel("distance from the exact solution")
    axes[0].set_ylim(1e-14, 1e7)
    told = "frame of R$_t$: exact with one step,\nas with 64; what is left is rounding"
    axes[0].text(2, 3e-10, told, color=colour["R"])
    axes[0].text(2.5, 1e5, "frame of L$_t$ (Cholesky)", color=colour["L"])
    handles = axes[0].get_legend_handles_labels()[0][:2]
    axes[0].legend(handles, ["filled: q = 0", "hollow: q = 1"], loc="center right")
    for frame in "RL":
        rows = table.where(noise_in=frame)
        for name, style in (("noise_x", "-"), ("noise_m", "--")):
            axes[1].plot([row["t"] for row in rows], [row[name] for row in rows], style, color=colour[frame])
    axes[1].invert_xaxis()
    axes[1].set_xlabel("t, from noise to data")
    axes[1].set_ylabel("noise (solid: of x, dashed: of m)")
    axes[1].set_title("why: the noise along one exact solution", fontsize=9, loc="left")
    low, high = axes[1].get_ylim()
    axes[1].set_ylim(low, high + 0.3 * (high - low))
    for height, frame, told in (
        (0.92, "R", "in the frame of R$_t$ it is constant"),
        (0.83, "L", "in L$_t$'s it turns"),
    ):
        axes[1].text(0.03, height, told, color=colour[frame], transform=axes[1].transAxes)


def frames(counts: Sequence[int] = COUNTS) -> Table:
    """CLD with two modes: q = 0..3 in both frames, PECE and PEC in that of R."""
    import odekit as ok

    bench = cld_bench()
    chosen = [(f"gddim-{q}", frame) for frame in "RL" for q in range(4)]
    chosen += [(f"gddim-{kind}-{q}", "R") for kind in ("pece", "pec") for q in (1, 2)]
    table = _orders(bench, [(name, frame, ok.methods.get(name, factor=frame)) for name, frame in chosen], counts)
    rows = table.rows
    table = Table(
        "frames",
        "gDDIM on CLD: the frames R and L, q = 0 to 3, predictor and pairs",
        rows,
        "CLD with position_variance 1e-6, two modes on a line, t from 1 to 1e-3 (quadratic grid), 6 starts;"
        " error: largest component over the starts; order between the last two counts; constant = error N^order_claimed"
        " at the finest.",
    )
    for q in range(4):
        R, L = (table.where(method=f"gddim-{q}", frame=frame)[-1] for frame in "RL")
        table.findings.append(
            f"q = {q}: R has order {R['order']:.2f} and error {R['error']:.2g} at N = {counts[-1]};"
            f" L {L['error']:.2g}, {L['error'] / R['error']:.0f} times as much"
        )
    coarse = table.where(method="gddim-3", frame="L")[0]
    table.findings.append(f"L with q = 3 at N = {counts[0]}: {coarse['error']:.1e}, as L turns between the nodes")
    return table


def cld_bench() -> Bench:
    """CLD as gDDIM's authors have it, 6 trajectories."""
    import numpy as np

    import odekit as ok

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 2)) * [1, 0.5])[:, :, None]
    return Bench(ok.CLD(position_variance=1e-6), mixture_of(TWO_MODES), x, 1e-3, "time-quadratic")


def blurring(counts: Sequence[int] = COUNTS) -> Table:
    """Blurring diffusion on signals of eight samples: gDDIM, DDIM's ignorance of frequencies, Runge-Kutta."""
    import odekit as ok

    bench = signals(16)
    chosen = [(f"gddim-{q}", "R", ok.methods.get(f"gddim-{q}")) for q in range(4)]
    chosen += [("gddim-pece-2", "R", ok.methods.get("gddim-pece-2"))]
    chosen += [(name, "", ok.methods.get(name)) for name in ("euler", "heun2", "rk4")]
    table = _orders(bench, chosen, counts)
    found = Table(
        "blurring",
        "gDDIM on blurring diffusion, per frequency",
        table.rows,
        "Blurring(shape=(8,)), three modes of eight samples, t from 0.99 to 0.01 (quadratic grid), 16 starts from the"
        " exact law; error: largest component over the starts.",
    )
    for budget in (20, 80):
        ranked = sorted((row for row in found.rows if budget - 1 <= row["nfe"] <= budget), key=lambda row: row["error"])
        told = ", ".join(f"{row['method']} {row['error']:.2g}" for row in ranked[:3])
        found.findings.append(f"{budget} evaluations: {told}; gddim-0 {_at(found, 'gddim-0', budget):.2g}")
    found.findings.append(
        "the frames R and L are one here, since the covariance is a number times the identity: nothing turns, and with"
        " exact scores one-step methods of order two and four need fewer evaluations than multistep ones"
    )
    return found


def _at(table: Table, method: str, evaluations: int) -> float:
    return next(row["error"] for row in table.where(method=method) if row["nfe"] == evaluations)


def _orders(bench: Bench, chosen: Sequence[tuple[str, str, Any]], counts: Sequence[int]) -> Table:
    rows: list[dict[str, Any]] = []
    for name, frame, method in chosen:
        errors: list[float] = []
        for n in counts:
            found = bench.run(method, n)
            errors.append(math.nan if found is None else (found - bench.exact).abs().max().item())
            nfe = n * method.evaluations - int(getattr(method, "pece", False))
            row = {"method": name, "frame": frame, "steps": n, "nfe": nfe, "error": errors[-1]}
            order = slope(counts[: len(errors)], errors) if len(errors) > 1 else math.nan
            claim = method.order.formula
            rows.append({**row, "order": order, "claim": claim, "constant": errors[-1] * n**claim})
    return Table("", "", rows)


def draw_frames(table: Table, axes: Any) -> None:
    """Predictors in both frames; pairs beside them, by evaluations."""
    for q in range(4):
        for frame, style in (("R", "-"), ("L", ":")):
            rows = table.where(method=f"gddim-{q}", frame=frame)
            _line(axes[0], rows, "steps", f"{frame}, q = {q}", COLOURS[q], 0, style)
    shown = [("gddim-0", "q = 0"), ("gddim-1", "q = 1"), ("gddim-2", "q = 2"), ("gddim-3", "q = 3")]
    for i, (name, text) in enumerate(shown):
        _line(axes[1], table.where(method=name, frame="R"), "nfe", text, COLOURS[i])
    for name in ("gddim-pece-1", "gddim-pece-2", "gddim-pec-1", "gddim-pec-2"):
        kind, q = name.split("-")[1:]
        style = "--" if kind == "pece" else "-."
        _line(axes[1], table.where(method=name), "nfe", f"{kind.upper()}, q = {q}", COLOURS[int(q)], 1, style)
    _logarithmic(axes[0], "steps", "predictors: R solid, L dotted")
    _logarithmic(axes[1], "model evaluations", "frame R: predictors and pairs")
    axes[0].set_ylabel("error (largest component)")
    for axis in axes:
        axis.legend(loc="lower left", fontsize=7, ncols=2)
    low = min(row["error"] for row in table.rows if row["error"] > 0)
    for axis in axes:
        axis.set_ylim(low / 60, 1e2 if axis is axes[0] else 10)


def draw_blurring(table: Table, axes: Any) -> None:
    """Errors against evaluations."""
    for i, name in enumerate(dict.fromkeys(row["method"] for row in table.rows)):
        _line(axes, table.where(method=name), "nfe", name, COLOURS[i])
    _logarithmic(axes, "model evaluations", table.title)
    axes.set_ylabel("error (largest component)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _line(axis: Any, rows: Sequence[dict], x: str, text: str, colour: str, hollow: int = 0, style: str = "-") -> None:
    points = [(row[x], row["error"]) for row in rows if math.isfinite(row["error"]) and row["error"] > 0]
    face = "white" if hollow else colour
    if points:
        axis.plot(*zip(*points, strict=True), style, marker="o", color=colour, markerfacecolor=face, label=text)


def _logarithmic(axis: Any, x: str, title: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel(x)
    axis.set_title(title, fontsize=9, loc="left")
