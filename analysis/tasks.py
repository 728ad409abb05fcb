"""What the report is made of: one task for each method, problem and claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from analysis.exactness import ExactnessTask
from analysis.order import UNDETERMINED
from analysis.problems import Case, default_cases, own_cases
from analysis.verify import Row, refused
from analysis.weak import WeakOrderTask
from odekit.exceptions import OdekitError

KINDS = ("formula", "with start")
BUDGET = 4000  # evaluations of a ladder on the default cases; see `analysis.ladder.climb`
CORE = frozenset(
    "euler heun2 midpoint ssp33 bs3 rk4 dp5 dop853 implicit-midpoint gauss-2 radau-iia-2 sdirk2 ab-3 abm-3 am-3 bdf-3 "
    "ddim deis-tab-2 dpmpp-2m dpmpp-3m-corrected exponential-ab-3 heun-edm ho4 unipc-3 strang blanes-moan-4".split()
)
"""The methods that the report measures on every case; all others on the first case that decides."""


@dataclass(frozen=True)
class OrderTask:
    """The claims of one method on one problem. method: a catalogue name or the path of a method file.

    otherwise: the cases to turn to, one after the other, while a claim is undetermined.
    """

    method: str
    case: Case
    kinds: tuple[str, ...] = KINDS
    steps: tuple[int, ...] | None = None
    budget: int = BUDGET
    otherwise: tuple[Case, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.method}, {self.case.name}"

    def description(self) -> Mapping[str, Any]:
        """Everything the result depends on besides the sources: coefficients, problem, grid, settings."""
        from analysis.measure import method_of

        method = method_of(self.method)
        return {
            "method": method.name,
            "coefficients": method.key(),
            "claim": list(method.order),
            "case": self.case.description(),
            "kinds": self.kinds,
            "steps": self.steps,
            "budget": self.budget,
            "otherwise": [case.description() for case in self.otherwise],
        }

    def run(self) -> list[Row]:
        """One row a kind; a method without start-up and special last step is measured once, for both claims."""
        from analysis.measure import has_start_or_last, method_of

        method = method_of(self.method)
        rows: list[Row] = []
        for kind in sorted(self.kinds, reverse=True):
            try:
                if rows and not has_start_or_last(method):
                    rows.append({**rows[0], "kind": kind, "few": None, "round_trip": None})
                    continue
                rows.append(self._measured(method, kind))
            except OdekitError as error:
                rows.append(refused(self._about(method, kind), error))
        if not self.otherwise or all(row["verdict"] != UNDETERMINED for row in rows):
            return rows[::-1]
        case, *rest = self.otherwise
        found = replace(self, case=case, otherwise=tuple(rest)).run()
        return [{**row, "findings": [f"undetermined on {self.case.name}", *row["findings"]]} for row in found]

    def _measured(self, method: Any, kind: str) -> Row:
        """One claim on the case, or, of a method that reaches rounding on coarse grids, on the sharper mixture."""
        from analysis.measure import convergence

        study = convergence(method, self.case, steps=self.steps, kind=kind, budget=self.budget)
        if not (self.case.sharper and study.ladder.too_short):
            return study.row
        sharper = replace(self.case, problem=self.case.sharper, sharper="")
        row = convergence(method, sharper, steps=self.steps, kind=kind, budget=self.budget).row
        finding = f"on {self.case.problem!r} nothing but rounding is left from {study.ladder.rounded_at} steps on"
        return {
            **row,
            **{name: study.row[name] for name in ("few", "round_trip") if name in study.row},
            "findings": [f"{finding}: measured on the sharper mixture", *row["findings"]],
        }

    def _about(self, method: Any, kind: str) -> Row:
        case = self.case
        claim = method.order.formula if kind == KINDS[0] else method.order.method
        return {
            "method": method.name,
            "process": case.process or None,
            "prediction": case.prediction or None,
            "problem": case.problem,
            "grid": case.grid,
            "seed": case.seed,
            "kind": kind,
            "claimed_order": claim,
        }


def order_tasks(
    methods: Iterable[str],
    cases: Iterable[Case],
    steps: Sequence[int] | None = None,
    kinds: Sequence[str] = KINDS,
    budget: int = BUDGET,
) -> list[OrderTask | ExactnessTask | WeakOrderTask]:
    """All claims of every method on every case, cases outermost: a worker that has a reference makes use of it.

    Where the cases are the default ones, a method that needs a field of its own kind has its own. A non-stationary
    method has no order: its task is to be exact where it says so. That of a method which draws noise is its weak order.
    """
    from analysis.measure import method_of

    steps, cases = None if steps is None else tuple(steps), list(cases)
    usual = cases == default_cases()
    methods = list(methods)
    alone = [method for method in methods if method_of(method).family == "non-stationary"]
    drawing = [method for method in methods if getattr(method_of(method), "draws", 0)]
    methods = [method for method in methods if method not in (*alone, *drawing)]
    chosen = {method: usual and own_cases(method_of(method)) or cases for method in methods}
    every = dict.fromkeys(case for found in chosen.values() for case in found)
    first = [ExactnessTask(method) for method in alone]
    first += [WeakOrderTask(name, case, steps) for name in drawing for case in ([None] if usual else cases)]
    return first + [
        OrderTask(method, case, tuple(kinds), steps, budget)
        for case in every
        for method, found in chosen.items()
        if case in found
    ]


def report_tasks(methods: Iterable[str]) -> list[OrderTask | WeakOrderTask]:
    """What the report measures: the methods of `CORE` on every case, all others on the first case that decides.

    Orders are proved from coefficients by the tests; here the code that runs is seen to have them. The last resort is
    the warped spiral, on which methods too accurate for the mixtures still have an error to measure.
    """
    from analysis.measure import method_of

    core, others = [], []
    for name in methods:
        (core if name in CORE else others).append(name)
    tasks = order_tasks(core, default_cases())
    for name in others:
        if getattr(method_of(name), "draws", 0):
            tasks.append(WeakOrderTask(name))
            continue
        first, *rest = own_cases(method_of(name)) or [*default_cases(), Case("", "", "warped-spiral", "time-uniform")]
        tasks.append(OrderTask(name, first, otherwise=tuple(rest)))
    return tasks


def about_method(name: str) -> dict[str, Any]:
    """What `odekit list` and the report say of a method before it is measured."""
    from analysis.measure import method_of

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
