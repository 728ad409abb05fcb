"""What the algebra costs, beside what was published of others: `python tests/benchmarks/algebra.py`.

Nothing here is asserted: machines differ. Shortest of several runs, one thread. Published times are those of the
BSeries.jl documentation (spec/theory.md, section D: 4 vCPU of an AMD EPYC 7763); rivals that are installed beside
odekit (kauri, nodepy) are timed in the same run.
"""

from __future__ import annotations

import importlib
import platform
import time
from collections.abc import Callable

from odekit import algebra
from odekit.algebra import coproduct, structure
from odekit.algebra.properties import certificate
from odekit.algebra.trees import table
from odekit.methods import files


def best(function: Callable[[], object], repeats: int = 5, before: Callable[[], None] | None = None) -> float:
    """The shortest of several runs in milliseconds, after one that warms up; `before` each run is not counted."""
    runs = []
    for _ in range(repeats + 1):
        if before:
            before()
        start = time.perf_counter()
        function()
        runs.append(time.perf_counter() - start)
    return 1e3 * min(runs[1:])


def forget() -> None:
    """Empty the tables."""
    for cached in (table, coproduct.cuts, coproduct._of_order):
        cached.cache_clear()


def row(what: str, milliseconds: float, wanted: float | None, published: float | None = None) -> None:
    """One line: the time, the project's own limit, and the published time of BSeries.jl as a multiple of ours."""
    limit = f"{wanted:8.0f}" if wanted else " " * 8
    ratio = f"{published:8.1f} {published / milliseconds:7.1f}x" if published else ""
    print(f"  {what:<58}{milliseconds:9.2f}{limit} {ratio}")


def ours() -> None:
    """The reach of issue 3, and the rows of the published comparison."""
    dop853, dp5 = files.get("dop853"), files.get("dp5")
    midpoint = files.get("midpoint")
    avf = algebra.average_vector_field(9)
    print(f"\n  {'odekit':<58}{'ms':>9}{'limit':>8} {'BSeries.jl':>9} ratio")
    row("trees to order 12, 4766 of order 12, from nothing", best(lambda: table(12), before=forget), 100)
    row("cuts to order 10, 38908 terms, from nothing", best(lambda: coproduct.cuts(10), before=forget), None)
    for order, limit in ((9, 100), (10, None)):
        name = f"modified equation, exact, order {order}"
        row(name, best(lambda n=order: algebra.modified_equation(midpoint, n)), limit, 54 if order == 9 else None)
    whole = best(lambda: algebra.modified_equation(midpoint, 9), before=forget)
    row("modified equation, exact, order 9, with its tables", whole, 300, 147)
    row("modified equation, float, order 10", best(lambda: algebra.modified_equation(midpoint, 10, exact=False)), 50)
    row("modifying integrator, exact, order 9", best(lambda: algebra.modifying_integrator(midpoint, 9)), None, 27)
    row("average vector field preserves energy, order 9", best(lambda: structure.energy_preserving(avf)), None, 58)
    implicit = files.get("implicit-midpoint")
    both = best(lambda: structure.symplectic(algebra.series(implicit, 9)))
    row("implicit midpoint is symplectic, order 9", both, None, 0.78)
    errors = best(lambda: algebra.principal_error(algebra.residuals(dop853, 9, exact=False), 8).norm)
    row("residuals and principal error of dop853, float, order 9", errors, 5)
    row("the same of dp5, exact, to order 9", best(lambda: algebra.residuals(dp5, 9)), None)
    row("the same of dop853, exact (square roots), to order 9", best(lambda: algebra.residuals(dop853, 9)), None)
    symbolic = best(lambda: algebra.order_conditions("runge-kutta", 8, stages=4))
    row("200 symbolic conditions, explicit, s = 4, order 8", symbolic, 50)
    row("certificate of dop853", best(lambda: certificate(dop853).to_dict(), 3), 1000)
    row("certificate of dp5", best(lambda: certificate(dp5).to_dict(), 3), None)


def rivals() -> None:
    """The same questions to packages that happen to be installed."""
    kauri, nodepy = map(_installed, ("kauri", "nodepy"))
    print(f"\n  {'rivals':<58}{'ms':>9}")
    if kauri:
        for order in (6, 7):  # 16 s at order 8, 212 s at order 9
            weights = kauri.midpoint.modified_equation_map()
            start = time.perf_counter()
            total = sum(weights(t) for t in kauri.trees_up_to_order(order))
            name = f"kauri: modified equation, order {order}, first call"
            print(f"  {name:<58}{1e3 * (time.perf_counter() - start):9.1f}   sum {total}")
    if nodepy:
        method = nodepy.rk.loadRKM("PD8")
        name = "nodepy: principal error norm of a 13-stage method, order 9"
        print(f"  {name:<58}{best(method.principal_error_norm, 1):9.1f}")


def _installed(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"  {name} is not installed")
        return None


if __name__ == "__main__":
    print(f"Python {platform.python_version()}, {platform.machine()}")
    ours()
    rivals()
