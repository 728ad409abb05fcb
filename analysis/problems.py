"""The problems on which orders are verified: a process, a prediction, a mixture, and an interval where it is hard.

Every interval begins where components of the mixture compete. From pure noise the field is almost constant and hides
a start of low order. The intervals of all processes cover the same log-SNR range, so their errors compare.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import asdict, dataclass, replace
from typing import Any

from odekit.exceptions import unknown

LOGSNR_START, LOGSNR_END = -0.6, 1.0  # ln(alpha/sigma): modes two apart compete until their noise is about one


@dataclass(frozen=True)
class Case:
    """A diffusion problem by name, small enough to send to another process; see `analysis.exact.exact_problem`.

    process, prediction, problem (a mixture), grid: catalogue names. batch: number of trajectories, drawn with `seed`
    from the exact marginal at the start.
    """

    process: str = "vp"
    prediction: str = "noise"
    problem: str = "trio"
    grid: str = "logsnr"
    batch: int = 8
    seed: int = 0
    logsnr_start: float = LOGSNR_START
    logsnr_end: float = LOGSNR_END

    @property
    def name(self) -> str:
        return f"{self.process} · {self.prediction} · {self.problem}"

    def description(self) -> dict[str, Any]:
        return asdict(self)


def default_cases() -> list[Case]:
    """Two processes times two predictions; the clocks of the grids differ, so that steps are uneven for each method."""
    pairs = itertools.product((("vp", "logsnr"), ("rectified-flow", "time-uniform")), ("noise", "data"))
    return [Case(process=process, grid=grid, prediction=prediction) for (process, grid), prediction in pairs]


def cases(process: str | None, prediction: str | None, problem: str | None, grid: str | None) -> list[Case]:
    """The default cases with what the user fixed; fixing a part leaves no duplicates."""
    fixed = {"process": process, "prediction": prediction, "problem": problem, "grid": grid}
    fixed = {name: value for name, value in fixed.items() if value is not None}
    return list(dict.fromkeys(replace(case, **fixed) for case in default_cases()))


def target_of(name: str) -> Any:
    """The mixture of a problem by name: those made for orders here, the planar mixtures and the digits of odekit.

    Raises UnknownNameError.
    """
    makers = _targets()
    if name not in makers:
        raise unknown("problem", name, makers)
    return makers[name]()


def target_names() -> list[str]:
    return sorted(_targets())


@functools.cache
def _targets() -> dict[str, Any]:
    import odekit as ok

    return {
        "trio": functools.cache(_trio),
        "ring6": functools.cache(ok.targets.ring6),
        "aniso3": functools.cache(ok.targets.aniso3),
    }


def _trio() -> Any:
    """Three overlapping anisotropic components: every tree is excited, and the field is smooth enough for order 8."""
    import odekit as ok

    means = [[-1.0, 0.3], [1.0, 0.5], [0.1, -1.1]]
    scales = [[0.7, 0.5], [0.5, 0.6], [0.6, 0.45]]
    return ok.GaussianMixture(means, scales, [0.4, 0.35, 0.25])


PREDICTIONS = ("noise", "data", "velocity", "score", "edm")
