"""What processes with matrix coefficients cost: `python tests/benchmarks/matrix.py`.

Nothing here is asserted: machines differ. Shortest of several runs in milliseconds, one thread. What running costs is
a ratio of steps of blocks and of numbers on as many numbers, with a model that costs nothing, run in turn.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import sympy
import torch

import odekit as ok
from odekit import engine
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


PAIRS = {"gddim-0": "ddim", "gddim-2": "deis-tab-2", "gddim-pece-2": "abm-3", "rse": "euler", "rvv": "heun2"}
SHAPES = [(B, 2, d) for B in (1, 16, 1024, 65536) for d in (1, 2, 8, 64)] + [(16, 2, 3, 32, 32), (64, 2, 3, 64, 64)]


def intervals(plan: object, start: torch.Tensor) -> list[float]:
    """Seconds from one step's first evaluation to the next one's, of a run whose model only looks at the clock."""
    output, seen, each = torch.randn_like(start), [], max(segment.evaluations for segment in plan.segments)

    def call(k: int, y: torch.Tensor) -> torch.Tensor:
        seen.append(time.perf_counter())
        return output

    engine.run(plan.segments, call, [start])
    steady = seen[4 * each : -2 * each : each]
    return [after - before for before, after in itertools.pairwise(steady)]


def running(budget: float = 1.0) -> None:
    """Cost of a step beyond the model: blocks on (B, 2, *shape) over numbers on (B, 2 * ...).

    Lower deciles of the steps of runs that take turns: unlike means they are the same on a busy machine.
    """
    print("\nstep of blocks / of numbers (us)   " + "  ".join(f"{name:>14s}" for name in PAIRS))
    plans = []
    for names in PAIRS.items():
        for process, name, prediction in zip((ok.PSLD(), ok.VP()), names, ("r-noise", "noise"), strict=True):
            flow = ok.ProbabilityFlow(process, lambda x, t: x, prediction)
            plans.append(ok.plan(name, flow, ok.grid("time-quadratic", process, 24)))
    for dtype, shape in itertools.product((torch.float64, torch.float32), SHAPES):
        cells, start = [], torch.randn(shape, dtype=dtype)
        for blocks, numbers in zip(plans[::2], plans[1::2], strict=True):
            taken, end = ([], []), time.perf_counter() + budget
            while len(taken[0]) < 30 or time.perf_counter() < end:
                taken[0].extend(intervals(blocks, start))
                taken[1].extend(intervals(numbers, start.flatten(1)))
            matrix, scalar = (1e6 * torch.tensor(part).quantile(0.1).item() for part in taken)
            cells.append(f"{matrix / scalar:5.2f} ({scalar:6.0f})")
        print(f"{str(dtype)[6:]} {str(shape):25s}  " + "  ".join(f"{cell:>14s}" for cell in cells), flush=True)


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
    running()
