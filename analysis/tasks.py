"""What the report is made of: one task for each method, problem and claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.problems import Case
from analysis.verify import Row, refused
from odekit.exceptions import OdekitError

KINDS = ("formula", "with start")
BUDGET = 4000  # evaluations of a ladder; see `analysis.ladder.climb`


@dataclass(frozen=True)
class OrderTask:
    """One claim of one method on one problem. method: a catalogue name or the path of a method file."""

    method: str
    case: Case
    kind: str
    steps: tuple[int, ...] | None = None
    budget: int = BUDGET

    @property
    def label(self) -> str:
        return f"{self.method}, {self.case.name}, {self.kind}"

    def description(self) -> Mapping[str, Any]:
        """Everything the result depends on besides the sources: coefficients, problem, grid, settings."""
        from analysis.convergence import method_of

        method = method_of(self.method)
        return {
            "method": method.name,
            "coefficients": method.key(),
            "claim": list(method.order),
            "case": self.case.description(),
            "kind": self.kind,
            "steps": self.steps,
            "budget": self.budget,
        }

    def run(self) -> Row:
        from analysis.convergence import convergence, method_of

        method = method_of(self.method)
        try:
            return convergence(method, self.case, steps=self.steps, kind=self.kind, budget=self.budget).row
        except OdekitError as error:
            case = self.case
            about = {"method": method.name, "process": case.process, "prediction": case.prediction}
            about |= {"problem": case.problem, "grid": case.grid, "seed": case.seed, "kind": self.kind}
            claim = method.order.formula if self.kind == KINDS[0] else method.order.method
            return refused(about | {"claimed_order": claim}, error)


def order_tasks(
    methods: Iterable[str], cases: Iterable[Case], steps: Sequence[int] | None = None, budget: int = BUDGET
) -> list[OrderTask]:
    """Both claims of every method on every case, cases outermost: a worker that has a reference makes use of it."""
    steps = None if steps is None else tuple(steps)
    methods, cases = list(methods), list(cases)
    return [OrderTask(m, case, kind, steps, budget) for case in cases for m in methods for kind in KINDS]


def about_method(name: str) -> dict[str, Any]:
    """What `odekit list` and the report say of a method before it is measured."""
    from analysis.convergence import method_of

    method = method_of(name)
    return {
        "name": method.name,
        "family": method.family,
        "formula_order": method.order.formula,
        "method_order": method.order.method,
        "evaluations": method.evaluations,
        "plannable": method.is_plannable,
        "source": method.source,
    }


def document(rows: Sequence[Row], methods: Iterable[str], seconds: float | None = None) -> dict[str, Any]:
    """The content of results.json: rows, methods, versions, date."""
    from analysis.report import versions

    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = [about_method(name) for name in methods]
    return {"results": list(rows), "methods": about, "versions": versions(), "created": created, "seconds": seconds}
