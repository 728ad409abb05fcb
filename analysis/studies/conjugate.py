"""Conjugate integrators: what lambda does to the error, and to the spectrum of the true one-step factor.

Repeats, with exact scores and trajectory errors, the choice of lambda and the stability analysis of Pandey, Rudolph &
Mandt 2023 (arXiv 2310.07894). Their analysis is of the conjugate variable, whose Jacobian is similar to
I - h (W J + B); what is stepped is z, and there the back projection undoes the shift but for O(h^2).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from analysis.figures import COLOURS
from analysis.studies.comparison import Table, pslds, steps_for

RATES = tuple(i / 4 for i in range(-8, 25))
PARTS = 4  # steps of dop853 between two nodes: the exact flow to 1e-9
VARIANTS = (
    ("I", "lambda-ddim-1", "l-noise"),
    ("II", "lambda-ddim-2", "l-noise"),
    ("II, frame R", "lambda-ddim-2", "r-noise"),
    ("II, conjugate Verlet", "cvv", "l-noise"),
)


def sweep(rates: Sequence[float] = RATES, budgets: Sequence[int] = (20, 50, 100)) -> Table:
    """The error of conjugate integrators against lambda, at fixed numbers of evaluations."""
    import odekit as ok

    bench, rows = pslds("P2", 16), []
    for label, name, prediction in VARIANTS:
        for evaluations in budgets:
            for rate in rates:
                method = ok.methods.get(name, rate=rate, prediction=prediction)
                error = bench.error(method, steps_for(method, evaluations))
                rows.append({"variant": label, "evaluations": evaluations, "lambda": rate, "error": error})
    for name in ("rse", "rvv", "gddim-0"):
        method = ok.methods.get(name)
        for evaluations in budgets:
            error = bench.error(method, steps_for(method, evaluations))
            rows.append({"variant": name, "evaluations": evaluations, "lambda": None, "error": error})
    table = Table(
        "conjugate-lambda",
        "Conjugate integrators: error against lambda",
        rows,
        "PSLD with the published constants, two modes, t from 1 to 1e-3 (quadratic grid), 16 starts from N(0, diag(1,"
        " M)); error: rms over the starts. rse, rvv and gddim-0 (frame R) have no lambda.",
    )
    for label, _, _ in VARIANTS:
        for evaluations in budgets:
            best = best_rate(table, label, evaluations)
            (none,) = (row["error"] for row in table.where(variant=label, evaluations=evaluations, **{"lambda": 0.0}))
            end = ", the end of the range" if best["lambda"] in (rates[0], rates[-1]) else ""
            table.findings.append(
                f"{label}, {evaluations} evaluations: best lambda {best['lambda']:g}{end}, error {best['error']:.3g}"
                f" (lambda = 0: {none:.3g})"
            )
    for evaluations in budgets:
        told = ", ".join(
            f"{name} {table.where(variant=name, evaluations=evaluations)[0]['error']:.3g}"
            for name in ("rse", "rvv", "gddim-0")
        )
        table.findings.append(f"without lambda, {evaluations} evaluations: {told}")
    return table


def best_rate(table: Table, variant: str, evaluations: int) -> dict[str, Any]:
    """The row of the lambda with the least error."""
    rows = [row for row in table.where(variant=variant, evaluations=evaluations) if math.isfinite(row["error"])]
    return min(rows, key=lambda row: row["error"])


def draw_sweep(table: Table, axes: Any) -> None:
    """One panel a budget: error against lambda, and what needs none as horizontal lines."""
    budgets = sorted({row["evaluations"] for row in table.rows})
    for axis, evaluations in zip(axes, budgets, strict=True):
        for i, (label, _, _) in enumerate(VARIANTS):
            rows = table.where(variant=label, evaluations=evaluations)
            axis.plot([row["lambda"] for row in rows], [row["error"] for row in rows], color=COLOURS[i], label=label)
            best = best_rate(table, label, evaluations)
            axis.plot([best["lambda"]], [best["error"]], "o", color=COLOURS[i])
        for style, name in zip((":", "--", "-."), ("rse", "rvv", "gddim-0"), strict=True):
            (row,) = table.where(variant=name, evaluations=evaluations)
            axis.axhline(row["error"], color="#5b6470", linestyle=style, linewidth=1, label=name)
        axis.set_yscale("log")
        axis.set_ylim(0.03, 4.0)  # what is larger than the data is no answer
        axis.set_xlabel("lambda")
        axis.set_title(f"{evaluations} evaluations", fontsize=9, loc="left")
    axes[0].set_ylabel("error (rms over trajectories)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def stability(
    rates: Sequence[float] = tuple(i / 4 for i in range(33)), steps: int = 20, kinds: Sequence[str] = ("I", "II")
) -> Table:
    """The eigenvalues of one step's Jacobian in z, and in the conjugate variable, as lambda moves; and of the flow.

    factor: of the step as it is taken, differenced; conjugate: P^-1 times it, what the published analysis looks at;
    exact: of the flow between the same times. The step is in the middle of a solve of `steps` uniform steps, from an
    exact point. growth: the spectral radius of the product of all factors along the exact trajectory.
    """
    bench, rows = pslds("P1", 4), []
    names = {label: name for label, name, _ in VARIANTS}
    path = _exact_path(bench, steps)
    exact = [_jacobian(functools.partial(_flow, bench, a, b), z) for z, a, b in path]
    middle = steps // 2
    for kind in kinds:
        for rate in rates:
            factors = [_jacobian(functools.partial(_step, bench, names[kind], rate, a, b), z) for z, a, b in path]
            factor = factors[middle]
            back = torch.linalg.inv(_propagator(bench, names[kind], rate, path[middle][1], path[middle][2]))
            product = functools.reduce(lambda whole, one: one @ whole, factors)
            true = functools.reduce(lambda whole, one: one @ whole, exact)
            rows.append(
                {
                    "kind": kind,
                    "lambda": rate,
                    **_eigenvalues("factor", factor),
                    **_eigenvalues("conjugate", back @ factor),
                    **_eigenvalues("exact", exact[middle]),
                    "growth": _radius(product),
                    "exact growth": _radius(true),
                }
            )
    table = Table(
        "conjugate-stability",
        "Conjugate integrators: the spectrum of one step as lambda moves",
        rows,
        f"PSLD (Gamma 0.01, nu 4.01), two modes, the step from t = {path[middle][1]:.3g} to {path[middle][2]:.3g} of"
        f" {steps} uniform ones, at a point of an exact trajectory; growth: spectral radius of the product of all"
        " steps' Jacobians along it.",
    )
    for kind in kinds:
        last = table.where(kind=kind)[-1]
        radii = {part: max(abs(_complex(last, f"{part} {i}")) for i in (1, 2)) for part in ("conjugate", "factor")}
        nearest = min(table.where(kind=kind), key=lambda row: abs(math.log(row["growth"] / row["exact growth"])))
        table.findings.append(
            f"{kind}, lambda = {last['lambda']:g}: spectral radius {radii['conjugate']:.2f} in the conjugate variable,"
            f" {radii['factor']:.2f} in z; growth over the solve {last['growth']:.2g}, of the exact flow"
            f" {last['exact growth']:.2g}, nearest to it at lambda = {nearest['lambda']:g}"
        )
    return table


def draw_stability(table: Table, axes: Any) -> None:
    """Paths of the eigenvalues in the complex plane, in z and in the conjugate variable, and the exact ones."""
    from matplotlib.patches import Circle

    kinds = list(dict.fromkeys(row["kind"] for row in table.rows))
    for axis, kind in zip(axes, kinds, strict=False):
        rows = table.where(kind=kind)
        for colour, part, text in ((COLOURS[0], "factor", "of z"), (COLOURS[1], "conjugate", "of the conjugate")):
            for i in (1, 2):
                values = [_complex(row, f"{part} {i}") for row in rows]
                x, y = [v.real for v in values], [v.imag for v in values]
                axis.plot(x, y, ".", markersize=3, color=colour, label=text if i == 1 else None)
                axis.plot(x[:1], y[:1], "o", color=colour, markersize=6, markerfacecolor="white")
                axis.plot(x[-1:], y[-1:], "s", color=colour, markersize=5)
        for i in (1, 2):
            value, text = _complex(rows[0], f"exact {i}"), "exact flow" if i == 1 else None
            axis.plot([value.real], [value.imag], "*", color="black", markersize=9, label=text)
        axis.add_patch(Circle((0, 0), 1, fill=False, color="#9aa3ad", linewidth=0.8))
        axis.set_aspect("equal", adjustable="datalim")
        first, last = rows[0]["lambda"], rows[-1]["lambda"]
        axis.set_title(f"{kind}: lambda from {first:g} (ring) to {last:g} (square)", fontsize=9, loc="left")
        axis.set_xlabel("real part")
    axes[0].set_ylabel("imaginary part")
    for i, kind in enumerate(kinds):
        rows = table.where(kind=kind)
        axes[-1].plot([r["lambda"] for r in rows], [r["growth"] for r in rows], color=COLOURS[2 + i], label=kind)
    axes[-1].axhline(rows[0]["exact growth"], color="black", linewidth=1, linestyle=":", label="exact flow")
    axes[-1].set_yscale("log")
    axes[-1].set_xlabel("lambda")
    axes[-1].set_title("growth over the whole solve", fontsize=9, loc="left")
    axes[0].legend(loc="center left", bbox_to_anchor=(0.1, 0.5), fontsize=7)
    axes[-1].legend(fontsize=7)


def _exact_path(bench: Any, steps: int) -> list[tuple[torch.Tensor, float, float]]:
    """Exact states along the first trajectory, each with the ends of the step that begins there."""
    import odekit as ok

    nodes = bench.grid(steps)
    inner = nodes[:-1, None] + nodes.diff()[:, None] * torch.arange(PARTS, dtype=torch.float64) / PARTS
    fine = torch.cat([inner.reshape(-1), nodes[-1:]])
    flow = ok.ProbabilityFlow(bench.process, bench.mixture, prediction="velocity")
    run = ok.solve(flow, bench.x[:1], "dop853", fine, full=True).trajectory[::PARTS]
    return [(z, a.item(), b.item()) for z, a, b in zip(run[:-1], nodes[:-1], nodes[1:], strict=True)]


def _step(bench: Any, name: str, rate: float, a: float, b: float, z: torch.Tensor) -> torch.Tensor:
    import odekit as ok

    method = ok.methods.get(name, rate=rate)
    return ok.solve(bench.flow(method), z, method, torch.tensor([a, b], dtype=torch.float64))


def _flow(bench: Any, a: float, b: float, z: torch.Tensor) -> torch.Tensor:
    import odekit as ok

    flow = ok.ProbabilityFlow(bench.process, bench.mixture, prediction="velocity")
    return ok.solve(flow, z, "dop853", torch.linspace(a, b, PARTS + 1, dtype=torch.float64))


def _propagator(bench: Any, name: str, rate: float, a: float, b: float) -> torch.Tensor:
    """P = A_s^-1 A_t of the step: the linear part undone, whatever the damping."""
    import odekit as ok
    from odekit.methods.conjugate import method_propagator

    return method_propagator(ok.methods.get(name, rate=rate))(bench.process, b, a).value.double()


def _jacobian(step: Any, z: torch.Tensor, h: float = 1e-4) -> torch.Tensor:
    """(2, 2) Jacobian of a step at a state (1, 2, 1), by differences of order four: all that is asked in one batch."""
    offsets = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64) * h
    weights = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=torch.float64) / (12 * h)
    shifted = z + (offsets[None, :, None, None] * torch.eye(2, dtype=torch.float64)[:, None, :, None])
    found = step(shifted.reshape(8, 2, 1)).reshape(2, 4, 2)
    return torch.einsum("k,jki->ij", weights, found)


def _eigenvalues(name: str, matrix: torch.Tensor) -> dict[str, float]:
    values = sorted(torch.linalg.eigvals(matrix).tolist(), key=lambda v: (-v.imag, -v.real))
    return {f"{name} {i} {part}": getattr(v, part) for i, v in enumerate(values, 1) for part in ("real", "imag")}


def _complex(row: dict[str, Any], name: str) -> complex:
    return complex(row[f"{name} real"], row[f"{name} imag"])


def _radius(matrix: torch.Tensor) -> float:
    return torch.linalg.eigvals(matrix).abs().max().item()
