"""Non-stationary methods verified: on their one grid, run on models for which they say they are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.integrate import solve_ivp

from analysis.order import FAIL, PASS, UNDETERMINED
from analysis.verify import Row

ALLOWED = 1e-10
"""Of the run against SciPy's DOP853 at 1e-13, relative to the state: exact weights leave rounding, others much more."""


@dataclass(frozen=True)
class ExactnessTask:
    """What one non-stationary method claims, a function each. method: the path of a method file."""

    method: str

    @property
    def label(self) -> str:
        return f"{self.method}, exactness"

    def description(self) -> Mapping[str, Any]:
        return {"exactness": method_at(self.method).key()}

    def run(self) -> list[Row]:
        return rows(method_at(self.method))


def method_at(name: str) -> Any:
    from analysis.measure import method_of

    return method_of(name)


def rows(method: Any) -> list[Row]:
    """A row for each function: the method is run on a model that returns it, from step `k` on exact for function k.

    Step i has i + 1 outputs; before step k, function k is integrated by DOP853, so that only what is claimed is asked.
    """
    found = [_row(method, text, k) for k, text in enumerate(method.exact)]
    nothing = {**_about(method), "verdict": UNDETERMINED, "reason": "claims to be exact on nothing", "errors": []}
    return found or [nothing]


def _about(method: Any) -> Row:
    return {
        "method": method.name,
        "process": method.process.name,
        "prediction": str(method.prediction),
        "problem": None,
        "grid": f"{len(method.weights)} steps",
        "seed": None,
        "kind": "exactness",
        "claimed_order": None,
        **dict.fromkeys(("observed_order", "order_low", "order_high", "asymptotic_from", "asymptotic_to")),
        "steps": [len(method.weights)],
        "errors": [],
        "nfe": [len(method.weights)],
        "findings": [],
    }


def _row(method: Any, text: str, k: int) -> Row:
    error = run_error(method, text, k)
    verdict = PASS if error <= ALLOWED else FAIL
    reason = f"on {text}: off by {error:.1e} at the end" + (f", from step {k} on" if k else "")
    return {**_about(method), "errors": [error], "verdict": verdict, "reason": reason}


def run_error(method: Any, text: str, first: int = 0) -> float:
    """How far the method's end is from the exact one for a model that returns a function of time, from x = 1.

    The steps before `first` are taken exactly. Relative to the larger of one and the state.
    """
    from odekit.algebra.phi import evaluate
    from odekit.expressions import parse
    from odekit.fields.predictions import prediction
    from odekit.methods.nonstationary import FUNCTIONS

    process, expression = method.process, parse(text, FUNCTIONS)
    kind = prediction(method.prediction)

    def function(t: float) -> float:
        clocks = {"t": t, "logsnr": float(process.logsnr(t)), "kappa": float(process.kappa(t))}
        return float(evaluate(expression, clocks))

    def slope(t: float, x: Any) -> list[float]:
        A, B = kind.evaluate("semilinear", process, t)
        return [float(A) * x[0] + float(B) * function(t)]

    def exact(start: float, end: float, x: float) -> float:
        return float(solve_ivp(slope, (start, end), [x], method="DOP853", rtol=1e-13, atol=1e-14).y[0, -1])

    nodes = method.grid.tolist()
    first = min(first, len(nodes) - 1)
    x = exact(nodes[0], nodes[first], 1.0) if first else 1.0
    wanted = exact(nodes[first], nodes[-1], x) if first < len(nodes) - 1 else x
    outputs = torch.tensor([function(t) for t in nodes[:-1]], dtype=torch.float64)
    ratios = method.ratios.tolist()
    for i in range(first, len(nodes) - 1):
        x = ratios[i] * x + float(method.weights[i] @ outputs)
    return abs(x - wanted) / max(1.0, abs(wanted))
