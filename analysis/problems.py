"""The problems on which orders are verified: a process, a prediction, a mixture, and an interval where it is hard.

Every interval begins where components of the mixture compete. From pure noise the field is almost constant and hides
a start of low order. The intervals of all processes cover the same log-SNR range, so their errors compare.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from odekit.exceptions import OdekitError, unknown
from odekit.methods.conjugate import Conjugate
from odekit.methods.flow_splitting import FlowSplitting
from odekit.methods.phase_splitting import PhaseSplitting

LOGSNR_START, LOGSNR_END = -0.7072, 1.0  # ln(alpha/sigma); that of VP at t = 0.4, where the modes still compete
BATCH = 256  # trajectories: where the leading error of one changes sign, that of the others does not
MATRIX = ("cld", "psld", "blurring")  # processes with operators for coefficients
FRAMES = ("r-noise", "l-noise")  # what methods made for them predict
FEWER = 48  # trajectories there, where a score costs thirty times as much


@dataclass(frozen=True)
class Case:
    """A problem by name, small enough to send to another process; see `analysis.exact.exact_problem`.

    process, prediction, problem, grid: catalogue names; the problem is a mixture, or a classical one, which has neither
    process nor prediction ("") and an interval and starting points of its own. batch: number of trajectories, drawn
    with `seed` from the exact marginal at the start. sharper: the mixture for methods so accurate that on `problem`
    they reach rounding while their grids are still coarse ("": none). rough: steps repeat the lengths 3, 1, 2.
    parameters: those of the process that are not its defaults, as pairs.
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
    rough: bool = False
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return " · ".join(part for part in (self.process_name, self.prediction, self.problem) if part)

    @property
    def process_name(self) -> str:
        """The process as results.json names it, with the parameters that are not its defaults."""
        given = ", ".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.process}({given})" if given else self.process

    @property
    def share(self) -> float:
        """How many evaluations a ladder here may spend, in units of what it may on the default cases."""
        return {"": 2.0, "cld": 0.16, "psld": 0.16}.get(self.process, 1.0)

    def description(self) -> dict[str, Any]:
        return asdict(self)


def default_cases() -> list[Case]:
    """Three processes and three predictions; their grids differ, so that each method sees steps uneven in its clock."""
    parts = (("vp", "noise", "logsnr"), ("rectified-flow", "velocity", "time-uniform"), ("cosine", "data", "edm"))
    return [Case(process, prediction, "trio", grid, sharper="trio-sharp") for process, prediction, grid in parts]


def matrix_cases(*processes: str) -> list[Case]:
    """The cases on processes with operators for coefficients, all of them unless told which."""
    own = {"blurring": (("blur", 0.5),)}  # of signals of two samples, as the mixture has them
    return [
        Case(process, "score", "trio", "time-quadratic", batch=FEWER, parameters=own.get(process, ()))
        for process in processes or MATRIX
    ]


def own_cases(method: Any) -> list[Case]:
    """The cases of a method that cannot run on the default ones, because it needs a field of a kind of its own.

    Splitting methods need a field made of parts. Those of Nystroem's kind are measured where the kinetic energy is
    quadratic, as they require; all others where it is not, and no bracket of the parts vanishes, and on matrices, where
    methods of order eight are not at rounding at once. On rough grids a processed method must undo its processor at
    every change of the step.

    Methods of phase space, and those that predict the noise in the frame of a factor of the covariance, are measured
    where coefficients are matrices. The first case there is PSLD with a position that has much noise of its own: with
    little, velocity Verlet's error of order one has so small a factor that it looks like order two for long.
    """
    if isinstance(method, PhaseSplitting | FlowSplitting | Conjugate):
        found = matrix_cases("psld", "cld")
        return [replace(found[0], parameters=(("Gamma", 0.5), ("nu", 2.5))), *found]
    if getattr(method, "prediction", None) in FRAMES:
        return matrix_cases()
    if method.family != "splitting":
        return []
    general = "noncommuting-matrices" if method.order.formula > 6 else "relativistic-pendulums"
    smooth, rough = ("pendulums", "pendulums") if method.nystrom else (general, "noncommuting-matrices")
    return [Case("", "", smooth, "time-uniform"), Case("", "", rough, "time-uniform", rough=True)]


def cases(process: str | None, prediction: str | None, problem: str | None, grid: str | None) -> list[Case]:
    """The default cases with what the user fixed; fixing a part leaves no duplicates.

    A classical problem is one case, on a grid uniform in time unless told otherwise. Raises UnknownNameError, and
    OdekitError for a process or prediction given to a classical problem.
    """
    import odekit as ok

    for kind, value, known in (
        ("process", process, ok.processes.names()),
        ("prediction", prediction, PREDICTIONS),
        ("problem", problem, ok.problems.names()),
        ("grid", grid, ok.grids.names()),
    ):
        if value is not None and value not in known:
            raise unknown(kind, value, known)
    if problem is not None and problem not in ok.targets.names():
        if process or prediction:
            raise OdekitError(f"{problem!r} is a plain field: it has no process and no prediction; leave them out")
        return [Case("", "", problem, grid or "time-uniform")]
    fixed = {"process": process, "prediction": prediction, "problem": problem, "grid": grid}
    fixed = {name: value for name, value in fixed.items() if value is not None}
    if process in MATRIX:
        return list(dict.fromkeys(replace(case, **fixed) for case in matrix_cases(process)))
    if problem is not None:
        fixed["sharper"] = ""
    return list(dict.fromkeys(replace(case, **fixed) for case in default_cases()))


PREDICTIONS = ("noise", "data", "velocity", "score", "edm", *FRAMES)
