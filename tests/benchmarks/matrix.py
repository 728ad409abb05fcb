"""What processes with matrix coefficients cost: `python tests/benchmarks/matrix.py`.

Nothing here is asserted: machines differ. Shortest of several runs in milliseconds, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sympy
import torch

import odekit as ok
from odekit.targets import aniso3, under

STEPS = torch.linspace(1.0, 1e-3, 100, dtype=torch.float64)


def best(function: Callable[[], object], repeats: int = 7) -> float:
    """The shortest of several runs in milliseconds, after one that warms up."""
    runs = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        runs.append(time.perf_counter() - start)
    return 1e3 * min(runs[1:])


def main() -> None:
    torch.set_num_threads(1)
    t = sympy.Symbol("t")
    general = ok.LinearSDE(sympy.Matrix([[-t, 1 + t], [-2, -3 * t**2]]), sympy.diag(1, 2), initial=(0, 0.1))
    for process in (ok.PSLD(), ok.CLD(), ok.Blurring(shape=(3, 32, 32)), general):
        start = time.perf_counter()
        process.factor(0.5)
        tabulated = 1e3 * (time.perf_counter() - start)
        costs = [
            best(lambda p=process: p.factor(STEPS)),
            best(lambda p=process: p.covariance(STEPS)),
            best(lambda p=process: p.transition(STEPS[1:], STEPS[:-1])),
        ]
        listed = "  ".join(f"{name} {cost:7.2f}" for name, cost in zip(("R", "Sigma", "Psi"), costs, strict=True))
        print(f"{process.name:12s} first R {tabulated:7.1f} ms, then 100 steps: {listed} ms")
    seen = under(ok.PSLD(), aniso3())
    u, law = seen.sample(1000, 0.3), seen.at(0.3)
    print(f"1000 scores of aniso3: psld {best(lambda: law.score(u)):.2f} ms, ", end="")
    print(f"scalar {best(lambda: aniso3().score(u[:, 0], 0.8, 0.6)):.2f} ms")


if __name__ == "__main__":
    main()
