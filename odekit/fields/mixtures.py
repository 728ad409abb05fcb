"""Diffusion problems: the probability flow of a mixture, started where its components compete.

From pure noise the field is almost constant and hides a start-up of low order; these problems begin at the log-SNR of
VP at t = 0.4 and end at that of t = 0.05, whatever the process, so that errors on different processes compare.
"""

from __future__ import annotations

from typing import Any

from odekit import processes, targets
from odekit.fields.flow import ProbabilityFlow
from odekit.fields.problems import Excitation, Problem, problem

LOGSNR_START, LOGSNR_END = -0.7072, 1.7479
SEEN = Excitation(None, "all 200 trees to order 8 were computed and are independent: nonlinear, non-autonomous, planar")


def mixture_problem(name: str, process: Any, prediction: str, batch: int, seed: int) -> Problem:
    """The flow of a named target under a process (its key or itself), from ``batch`` samples of its own marginal."""
    process = processes.get(process) if isinstance(process, str) else process
    target = targets.get(name)
    start, end = (float(process.time_at_logsnr(v)) for v in (LOGSNR_START, LOGSNR_END))
    x0 = target.marginal(process.alpha(start), process.sigma(start)).sample(batch, seed=seed)
    field = ProbabilityFlow(process, target, prediction=prediction)
    return Problem(name, field, x0.double(), start, end, None, SEEN)


def _enter(name: str) -> None:
    @problem(name)
    def factory(process: Any = "vp", prediction: str = "noise", batch: int = 16, seed: int = 0) -> Problem:
        return mixture_problem(name, process, prediction, batch, seed)


for _name in ("ring6", "aniso3", "trio", "trio-sharp"):
    _enter(_name)
