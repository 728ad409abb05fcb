"""Conjugate integrators: what lambda does to the error, and to the spectrum of the true one-step factor.

Repeats, with exact scores and trajectory errors, the choice of lambda and the stability analysis of Pandey, Rudolph &
Mandt 2023 (arXiv 2310.07894). Their analysis is of the conjugate variable, whose Jacobian is similar to
I - h (W J + B); what is stepped is z, and there the back projection undoes the shift but for O(h^2). The published
preconditioned scores have other coefficients than these, which are `odekit.Preconditioned`'s for the data's variance.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from analysis.figures import COLOURS
from analysis.rates import conjugate_factors, step_factors
from analysis.studies.comparison import MARKERS, Table, pslds, steps_for
from odekit import Preconditioned

RATES = tuple(i / 4 for i in range(-8, 25))
PARTS = 4  # steps of dop853 between two nodes: the exact flow to 1e-9
PRECONDITIONED = Preconditioned("1.3756")  # the variance of comparison.OTHER_MODES
VARIANTS = (
    ("I", "lambda-ddim-1", "l-noise"),
    ("II", "lambda-ddim-2", "l-noise"),
    ("II, frame R", "lambda-ddim-2", "r-noise"),
    ("II, conjugate Verlet", "cvv", "l-noise"),
    ("I, preconditioned", "lambda-ddim-1", PRECONDITIONED),
    ("II, preconditioned", "lambda-ddim-2", PRECONDITIONED),
)
KINDS = ("I", "II", "I, preconditioned", "II, preconditioned")


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
            look = {"color": COLOURS[i], "linewidth": 2.2 if "preconditioned" in label else 1.2, "label": label}
            least = rows.index(best_rate(table, label, evaluations))
            look |= {"marker": MARKERS[i], "markersize": 6, "markevery": [least]}
            axis.plot([row["lambda"] for row in rows], [row["error"] for row in rows], **look)
        for style, name in zip((":", "--", "-."), ("rse", "rvv", "gddim-0"), strict=True):
            (row,) = table.where(variant=name, evaluations=evaluations)
            axis.axhline(row["error"], color="#5b6470", linestyle=style, linewidth=1, label=name)
        axis.set_yscale("log")
        axis.set_ylim(0.012, 4.0)  # what is larger than the data is no answer
        axis.set_xlabel("lambda")
        axis.set_title(f"{evaluations} evaluations", fontsize=9, loc="left")
    axes[0].set_ylabel("error (rms over trajectories)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def stability(
    rates: Sequence[float] = tuple(i / 4 for i in range(33)), steps: int = 20, kinds: Sequence[str] = KINDS
) -> Table:
    """The eigenvalues of one step's Jacobian in z, and in the conjugate variable, as lambda moves; and of the flow.

    factor: of the step as it is taken, P (I - h B + W J); conjugate: P^-1 times it, what the published analysis looks
    at; exact: of the flow between the same times. The step is in the middle of a solve of `steps` uniform steps, from
    an exact point. growth: the spectral radius of the product of all factors along the exact trajectory.
    """
    import odekit as ok

    bench, rows = pslds("P1", 4), []
    options = {label: (name, prediction) for label, name, prediction in VARIANTS}
    path, nodes, middle = _exact_path(bench, steps), bench.grid(steps), steps // 2
    states = torch.cat([z for z, _, _ in path])
    exact = torch.stack([_jacobian(functools.partial(_flow, bench, a, b), z) for z, a, b in path])
    for kind in kinds:
        name, prediction = options[kind]
        flow = ok.ProbabilityFlow(bench.process, bench.mixture, prediction=prediction)
        linear = _linearised(flow, states, nodes)
        for rate in rates:
            method = ok.methods.get(name, rate=rate, prediction=prediction)
            factors = step_factors(method, linear, states, nodes)
            rows.append(
                {
                    "kind": kind,
                    "lambda": rate,
                    **_eigenvalues("factor", factors[middle]),
                    **_eigenvalues("conjugate", conjugate_factors(method, linear, states, nodes)[middle]),
                    **_eigenvalues("exact", exact[middle]),
                    "growth": _growth(factors),
                    "exact growth": _growth(exact),
                }
            )
    table = Table(
        "conjugate-stability",
        "Conjugate integrators: the spectrum of one step as lambda moves",
        rows,
        f"PSLD (Gamma 0.01, nu 4.01), two modes, the step from t = {path[middle][1]:.3g} to {path[middle][2]:.3g} of"
        f" {steps} uniform ones, at a point of an exact trajectory; growth: spectral radius of the product of all"
        " steps' Jacobians along it. Preconditioned for the variance of the data.",
    )
    for kind in kinds:
        first, last = table.where(kind=kind)[0], table.where(kind=kind)[-1]
        radii = {part: max(abs(_complex(last, f"{part} {i}")) for i in (1, 2)) for part in ("conjugate", "factor")}
        nearest = min(table.where(kind=kind), key=lambda row: abs(math.log(row["growth"] / row["exact growth"])))
        table.findings.append(
            f"{kind}, lambda = {last['lambda']:g}: spectral radius {radii['conjugate']:.2f} in the conjugate variable,"
            f" {radii['factor']:.2f} in z; growth over the solve {last['growth']:.2g}, at lambda = {first['lambda']:g}"
            f" {first['growth']:.2g}, of the exact flow {last['exact growth']:.2g}, nearest to it at lambda ="
            f" {nearest['lambda']:g}; farthest of the eigenvalues from the exact ones {_gap(first):.2g} at lambda ="
            f" {first['lambda']:g}"
        )
    return table


def draw_stability(table: Table, axes: Any) -> None:
    """Paths of the eigenvalues in the complex plane, in z and in the conjugate variable, and the exact ones.

    One panel a type of B, with what preconditioning leaves of it; the last: growth over the solve.
    """
    from matplotlib.patches import Circle

    kinds = list(dict.fromkeys(row["kind"] for row in table.rows))
    plain = [kind for kind in kinds if "," not in kind]
    for axis, kind in zip(axes, plain, strict=False):
        lines = [(COLOURS[0], kind, "factor", "of z"), (COLOURS[1], kind, "conjugate", "of the conjugate")]
        lines += [
            (COLOURS[2], other, "factor", "of z, preconditioned")
            for other in kinds
            if other == f"{kind}, preconditioned"
        ]
        for colour, which, part, text in lines:
            rows = table.where(kind=which)
            for i in (1, 2):
                values = [_complex(row, f"{part} {i}") for row in rows]
                x, y = [v.real for v in values], [v.imag for v in values]
                axis.plot(x, y, ".", markersize=3, color=colour, label=text if i == 1 else None)
                axis.plot(x[:1], y[:1], "o", color=colour, markersize=6, markerfacecolor="white")
                axis.plot(x[-1:], y[-1:], "s", color=colour, markersize=5)
        rows = table.where(kind=kind)
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
        look = {"color": COLOURS[3 + i], "linestyle": "--" if "," in kind else "-", "label": kind}
        axes[-1].plot([r["lambda"] for r in rows], [r["growth"] for r in rows], **look)
    axes[-1].axhline(rows[0]["exact growth"], color="black", linewidth=1, linestyle=":", label="exact flow")
    axes[-1].set_yscale("log")
    axes[-1].set_xlabel("lambda")
    axes[-1].set_title("growth over the whole solve", fontsize=9, loc="left")
    axes[0].legend(loc="center left", bbox_to_anchor=(0.02, 0.5), fontsize=7)
    axes[-1].legend(fontsize=7)


def _linearised(flow: Any, states: torch.Tensor, nodes: torch.Tensor) -> Any:
    """The flow whose model is, at the time of each node, the tangent of the flow's at the state there.

    A step of one evaluation has the same Jacobian there, whatever its B: the model's is found once.
    """
    import odekit as ok

    size = states[0].numel()
    known = {}
    for z, t in zip(states.unsqueeze(1), nodes.tolist(), strict=False):
        J = torch.autograd.functional.jacobian(lambda z, t=t: flow.model(z, t), z).reshape(size, size)
        known[t] = (z, flow.model(z, t), J)

    def model(x: torch.Tensor, t: Any) -> torch.Tensor:
        z, N, J = known[float(t)]
        return N + ((x - z).reshape(-1, size) @ J.T).reshape(x.shape)

    return ok.ProbabilityFlow(flow.process, model, prediction=flow.prediction)


def _exact_path(bench: Any, steps: int) -> list[tuple[torch.Tensor, float, float]]:
    """Exact states along the first trajectory, each with the ends of the step that begins there."""
    import odekit as ok

    nodes = bench.grid(steps)
    inner = nodes[:-1, None] + nodes.diff()[:, None] * torch.arange(PARTS, dtype=torch.float64) / PARTS
    fine = torch.cat([inner.reshape(-1), nodes[-1:]])
    flow = ok.ProbabilityFlow(bench.process, bench.mixture, prediction="velocity")
    run = ok.solve(flow, bench.x[:1], "dop853", fine, full=True).trajectory[::PARTS]
    return [(z, a.item(), b.item()) for z, a, b in zip(run[:-1], nodes[:-1], nodes[1:], strict=True)]


def _flow(bench: Any, a: float, b: float, z: torch.Tensor) -> torch.Tensor:
    import odekit as ok

    flow = ok.ProbabilityFlow(bench.process, bench.mixture, prediction="velocity")
    return ok.solve(flow, z, "dop853", torch.linspace(a, b, PARTS + 1, dtype=torch.float64))


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


def _growth(factors: torch.Tensor) -> float:
    """The spectral radius of the product of factors (steps, n, n), the first step to the right."""
    return torch.linalg.eigvals(functools.reduce(lambda whole, one: one @ whole, factors)).abs().max().item()


def _gap(row: dict[str, Any]) -> float:
    """How far an eigenvalue of the step is from its partner of the flow, the pairing with the least of it."""
    values, exact = ([_complex(row, f"{part} {i}") for i in (1, 2)] for part in ("factor", "exact"))
    pairings = (zip(values, partners, strict=True) for partners in (exact, exact[::-1]))
    return min(max(abs(a - b) for a, b in pairs) for pairs in pairings)
