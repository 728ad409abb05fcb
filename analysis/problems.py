"""The problems on which orders are verified: a process, a prediction, a mixture, and an interval where it is hard.

Every interval begins where components of the mixture compete. From pure noise the field is almost constant and hides
a start of low order. The intervals of all processes cover the same log-SNR range, so their errors compare.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from typing import Any

from odekit.exceptions import unknown

LOGSNR_START, LOGSNR_END = -0.7072, 1.0  # ln(alpha/sigma); that of VP at t = 0.4, where the modes still compete
BATCH = 256  # trajectories: where the leading error of one changes sign, that of the others does not


@dataclass(frozen=True)
class Case:
    """A diffusion problem by name, small enough to send to another process; see `analysis.exact.exact_problem`.

    process, prediction, problem (a mixture), grid: catalogue names. batch: number of trajectories, drawn with `seed`
    from the exact marginal at the start. sharper: the mixture for methods so accurate that on `problem` they reach
    rounding while their grids are still coarse ("": none).
    """

    process: str = "vp"
    prediction: str = "noise"
    problem: str = "trio"
    grid: str = "logsnr"
    batch: int = BATCH
    seed: int = 0
    logsnr_start: float = LOGSNR_START
    logsnr_end: float = LOGSNR_END
    sharper: str = ""

    @property
    def name(self) -> str:
        return f"{self.process} · {self.prediction} · {self.problem}"

    def description(self) -> dict[str, Any]:
        return asdict(self)


def default_cases() -> list[Case]:
    """Three processes and three predictions; their grids differ, so that each method sees steps uneven in its clock."""
    parts = (("vp", "noise", "logsnr"), ("rectified-flow", "velocity", "time-uniform"), ("cosine", "data", "edm"))
    return [Case(process, prediction, "trio", grid, sharper="trio-sharp") for process, prediction, grid in parts]


def cases(process: str | None, prediction: str | None, problem: str | None, grid: str | None) -> list[Case]:
    """The default cases with what the user fixed; fixing a part leaves no duplicates."""
    fixed = {"process": process, "prediction": prediction, "problem": problem, "grid": grid}
    fixed = {name: value for name, value in fixed.items() if value is not None}
    if problem is not None:
        fixed["sharper"] = ""
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
        "trio-sharp": functools.cache(lambda: _trio(0.5)),
        "ring6": functools.cache(ok.targets.ring6),
        "aniso3": functools.cache(ok.targets.aniso3),
    }


def _trio(size: float = 1.0) -> Any:
    """Three overlapping anisotropic components: every tree is excited, and the field is smooth enough for order 8.

    size: of the components. The smaller they are, the finer the grids on which a method is still above rounding.
    """
    import odekit as ok

    means = [[-1.0, 0.3], [1.0, 0.5], [0.1, -1.1]]
    scales = [[0.84 * size, 0.6 * size], [0.6 * size, 0.72 * size], [0.72 * size, 0.54 * size]]
    return ok.GaussianMixture(means, scales, [0.4, 0.35, 0.25])


PREDICTIONS = ("noise", "data", "velocity", "score", "edm")
