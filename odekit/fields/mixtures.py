"""Diffusion problems: the probability flow of a mixture, started where its components compete.

From pure noise the field is almost constant and hides a start-up of low order; these problems begin at the log-SNR of
VP at t = 0.4 and end at that of t = 0.05, whatever the process, so that errors on different processes compare.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from odekit import processes, targets
from odekit.fields.flow import ProbabilityFlow
from odekit.fields.matrix import is_isotropic
from odekit.fields.problems import Excitation, Problem, problem

NAMES = ("ring6", "aniso3", "trio", "trio-sharp")
LOGSNR_START, LOGSNR_END = -0.7072, 1.7479
SEEN = Excitation(None, "all 200 trees to order 8 were computed and are independent: nonlinear, non-autonomous, planar")
MATRICES = Excitation(
    6, "all 37 trees to order 6 were computed and are independent; nested derivatives of the score take minutes beyond"
)
"""What these mixtures excite under CLD, PSLD and blurring."""


def excitation(name: str, process: Any) -> Excitation | None:
    """What the flow of a named mixture under a process excites; None where that was not computed.

    >>> [excitation("trio", processes.get(process)).max_order for process in ("vp", "cld")]
    [None, 6]
    """
    if name not in NAMES:
        return None
    return SEEN if is_isotropic(process) else MATRICES


def time_at_logsnr(process: Any, logsnr: float) -> float:
    """When the log-SNR of a process has a value; of the position in phase space, of the lowest frequency in blurring.

    >>> round(time_at_logsnr(processes.get("cld"), 0.0), 4)
    0.1504
    """
    if is_isotropic(process):
        return float(process.time_at_logsnr(logsnr))
    from scipy.optimize import brentq

    def excess(t: float) -> float:
        mean, variance = (operator.value.reshape(-1)[0].item() for operator in (process.mean(t), process.covariance(t)))
        return math.log(mean) - math.log(variance) / 2 - logsnr

    return brentq(excess, process.t_min, process.t_max, xtol=1e-14)


def mixture_problem(name: str, process: Any, prediction: str, batch: int, seed: int) -> Problem:
    """The flow of a named target under a process (its key or itself), from ``batch`` samples of its own marginal.

    >>> problem = mixture_problem("trio", "psld", "score", batch=3, seed=0)
    >>> problem.shape, problem.excitation.covers(6), problem.excitation.covers(7)
    ((2, 2), True, False)
    """
    target = targets.get(name)
    if isinstance(process, str):
        process = processes.get(process, **({"shape": target.shape} if process == "blurring" else {}))
    start, end = (time_at_logsnr(process, v) for v in (LOGSNR_START, LOGSNR_END))
    if is_isotropic(process):
        x0 = target.marginal(process.alpha(start), process.sigma(start)).sample(batch, seed=seed)
    else:
        x0 = targets.under(process, target).sample(batch, t=start, seed=seed, dtype=torch.float64)
    field = ProbabilityFlow(process, target, prediction=prediction)
    return Problem(name, field, x0.double(), start, end, None, excitation(name, process))


def _enter(name: str) -> None:
    @problem(name)
    def factory(process: Any = "vp", prediction: str = "noise", batch: int = 16, seed: int = 0) -> Problem:
        return mixture_problem(name, process, prediction, batch, seed)


for _name in NAMES:
    _enter(_name)
