"""Certificates of other people's packages: a solver by its name there, what it claims, and what is found in it.

`diffusers:UniPCMultistepScheduler`, `k_diffusion.sampling:sample_dpmpp_2m`, `torchdiffeq:rk4`, `torchsde:heun`. The
formula of a scheduler is certified on grids of our choice; what ships around it is looked at on grids of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

from analysis.elementary import WeightsCertificate, mean_tableau, of_sampler
from analysis.exact import ExactProblem, exact_problem
from analysis.moments import Moments, moments_of
from analysis.problems import Case
from odekit.exceptions import MethodError, OdekitError

PACKAGES = ("diffusers", "k_diffusion.sampling", "torchdiffeq", "torchsde")
DISTRIBUTIONS = {"k_diffusion.sampling": "k-diffusion"}
STEPS = 20  # as shipped
TRIPLES = (6, 12, 18, 24, 36, 48, 72, 96, 144, 192, 288)  # whole steps of methods that span two or three intervals

CLAIMS: Mapping[str, Any] = {
    **dict.fromkeys(("DDIMScheduler", "DDIMParallelScheduler", "CogVideoXDDIMScheduler", "EulerDiscreteScheduler"), 1),
    **dict.fromkeys(("EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"), 1),
    **dict.fromkeys(("HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "KDPM2DiscreteScheduler"), 2),
    "LMSDiscreteScheduler": 4,  # step(order=4)
    "IPNDMScheduler": 4,  # "a fourth-order improved pseudo linear multistep scheduler"
    "PNDMScheduler": 2,  # Liu et al. 2022 (arXiv 2202.09778), theorem 3.2
    **dict.fromkeys(("DEISMultistepScheduler", "DPMSolverMultistepScheduler"), "solver_order"),
    **dict.fromkeys(("DPMSolverMultistepInverseScheduler", "DPMSolverSinglestepScheduler"), "solver_order"),
    **dict.fromkeys(("EDMDPMSolverMultistepScheduler", "CosineDPMSolverMultistepScheduler"), "solver_order"),
    "UniPCMultistepScheduler": "solver_order + 1",  # "the effective order of accuracy is solver_order + 1 due to UniC"
    "SASolverScheduler": "predictor and corrector",  # Xue et al. 2023, theorem 5.2: min(p + 1, p^) where tau = 0
    "sample_euler": 1, "sample_euler_ancestral": 1, "sample_heun": 2, "sample_dpm_2": 2, "sample_dpm_2_ancestral": 2,
    "sample_lms": 4, "sample_dpm_fast": 3, "sample_dpmpp_2s_ancestral": 2, "sample_dpmpp_sde": 2, "sample_dpmpp_2m": 2,
    "sample_dpmpp_2m_sde": 2, "sample_dpmpp_3m_sde": 3,
}  # fmt: skip
"""The order that each claims, by its name, its documentation or its paper."""


@dataclass(frozen=True)
class Foreign:
    """A solver of an installed package: its sampler, where it is measured, what it claims, and how it ships.

    ``make(steps)`` gives the scheduler on a grid of its own; None where there is none. ``whole``: the step counts it
    is measured with, where not any will do; ``staged``: nodes of its grid are stages of longer steps.
    """

    package: str
    name: str
    config: Mapping[str, Any]
    sampler: Callable
    case: Case
    claim: float | None
    version: str
    make: Callable[[int], Any] | None = None
    steps: int = STEPS
    whole: tuple[int, ...] | None = None
    staged: bool = False

    @property
    def title(self) -> str:
        """The name with the settings that were asked for."""
        given = ", ".join(f"{key}={value}" for key, value in self.config.items())
        return f"{self.name}({given})" if given else self.name

    @property
    def exact(self) -> ExactProblem:
        """The problem it is certified on."""
        return exact_problem(self.case)


def is_foreign(what: Any) -> bool:
    """Whether a text names a solver of a package that is known here."""
    return isinstance(what, str) and what.partition(":")[0] in PACKAGES and ":" in what


def foreign(what: str, config: Mapping[str, Any] | None = None, steps: int | None = None) -> Foreign:
    """The solver that ``package:name`` is with a configuration; raises OdekitError in one line for whatever it is not.

    >>> found = foreign("diffusers:DDIMScheduler")                                               # doctest: +SKIP
    >>> found.claim, found.case.process                                                          # doctest: +SKIP
    (1, 'vp')
    """
    package, _, name = what.partition(":")
    config = dict(config or {})
    version = _version(package)
    if steps is not None and (package != "diffusers" or steps < 1):
        raise MethodError(f"steps={steps}: only schedulers of diffusers make a grid of their own, of 1 step or more")
    if package == "diffusers":
        return _of_diffusers(name, config, version, steps or STEPS)
    if package == "k_diffusion.sampling":
        from odekit.interop.kdiffusion_trace import kdiffusion_sampler

        sampler = kdiffusion_sampler(name, **config)
        grid = "logsnr" if name == "sample_dpm_fast" else "edm"  # the first makes its own grid, even in the log-SNR
        case = Case("edm", "data", "trio", grid)
        claim = config.get("order") if name == "sample_lms" and "order" in config else CLAIMS.get(name)
        return Foreign(package, name, config, sampler, case, claim, version)
    from odekit.interop.kdiffusion_trace import fixed_step_sampler, fixed_steps

    sampler = fixed_step_sampler(package, name, **config)
    case = Case("", "", "warped-spiral", "time-uniform")
    return Foreign(package, name, config, sampler, case, fixed_steps(package)[name], version)


def _of_diffusers(name: str, config: dict[str, Any], version: str, steps: int) -> Foreign:
    from odekit.interop.diffusers import require_linear
    from odekit.interop.driven import drive, scheduler

    driven = drive(name, **config)
    scheduler(name, steps, **config)  # more steps than there are, a last step that does not fit: refused here
    shown = {**({"clip_sample": False} if "clip_sample" in scheduler(name, **config).config else {}), **config}
    own = driven.make()
    require_linear(name, own.config)
    # A grid even in no clock of a formula; flow matching has one clock, its time.
    grid = "time-uniform" if driven.process == "rectified-flow" else "edm"
    case = Case(driven.process, driven.prediction, "trio", grid)
    staged = hasattr(own, "order_list")
    whole = TRIPLES if staged or hasattr(own, "prk_timesteps") else None
    return Foreign(
        "diffusers", name, config, driven, case, _claim(name, own.config), version,
        lambda n: scheduler(name, n, **shown), steps, whole, staged,
    )  # fmt: skip


def _claim(name: str, config: Any) -> int | None:
    claim = CLAIMS.get(name)
    if claim == "predictor and corrector":
        return min(config.predictor_order + 1, config.corrector_order) if config.corrector_order else None
    if isinstance(claim, str):
        return config.solver_order + claim.endswith("+ 1")
    return claim


def _version(package: str) -> str:
    name = DISTRIBUTIONS.get(package, package)
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        raise MethodError(f"{name} is not installed: pip install {name}") from None


# The proof.


@dataclass(frozen=True)
class ForeignCertificate:
    """What the own tables of a solver prove: the order of its formula, and that of it with its start.

    ``weights``: by elementary weights of the whole program, of its mean where it draws noise. ``moments``: of its
    formula, where it asks once a step.
    """

    name: str
    claimed: float | None
    weights: WeightsCertificate
    moments: Moments | None
    stochastic: bool = False
    family: str = field(default="sampler", init=False)

    @property
    def method_order(self) -> int:
        """The order of the whole, its start included."""
        return self.weights.order

    @property
    def order(self) -> int:
        """The order of the formula: that of the whole at least, more where only the start is of a lower one."""
        return max(self.method_order, self.moments.order if self.moments else 0)

    @property
    def failing(self) -> tuple[str, ...]:
        """The first condition that holds the formula back."""
        if self.moments is not None and self.moments.order == self.order and self.moments.failing:
            return (self.moments.failing,)
        return self.weights.failing if self.weights.order == self.order else ()

    def findings(self) -> list[str]:
        """Claims that do not hold; a start of lower order; evaluations off the clock of their state."""
        found = []
        if self.claimed is not None and self.order < self.claimed:
            found.append(f"order {self.order}, not {self.claimed} as claimed: {'; '.join(self.failing)}")
        if self.method_order < self.order:
            found.append(f"with its start the order is {self.method_order}: {self.weights.failing[0]}")
        found += [text for text in self.weights.findings() if not text.startswith("order")]
        if self.stochastic:
            found.append(f"it draws noise: what is certified is its drift part ({self.weights.gauge})")
        return found

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        rows = [("order of the formula", str(self.order) + (f"; next: {self.failing[0]}" if self.failing else ""))]
        if self.moments is not None:
            rows.append(
                ("moments", f"of {self.moments.points} weights in the {self.moments.gauge}: {self.moments.order}")
            )
        return rows + [(f"with start: {label}", text) for label, text in self.weights.rows()]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "name": self.name, "family": self.family, "claimed_order": self.claimed, "order": self.order,
            "method_order": self.method_order, "failing": list(self.failing), "stochastic": self.stochastic,
            "findings": self.findings(),
        }  # fmt: skip


def table(subject: Foreign) -> Any:
    """The table of a solver on twelve steps; raises TraceError where it has none."""
    import odekit as ok

    exact = subject.exact
    field, shape = exact.field, tuple(exact.x.shape[1:])
    return ok.trace(
        subject.sampler, shape, process=field.process, prediction=field.prediction, grid=exact.grid(12)
    ).dense()


def draws_noise(dense: Any) -> bool:
    """Whether noise reaches the result."""
    return dense.noise_output is not None and bool((dense.noise_output != 0).any())


def proof(subject: Foreign, draws: bool = False) -> ForeignCertificate:
    """The orders of a solver from its own tables, of its mean where it ``draws`` noise.

    Raises OdekitError where it has none.
    """
    exact, process, moments = subject.exact, subject.exact.field.process, None
    if process is not None and not subject.staged:
        moments = moments_of(subject.sampler, exact)
    weights = of_sampler(subject.sampler, exact, subject.claim, subject.title, mean_tableau if draws else None)
    return ForeignCertificate(subject.title, subject.claim, weights, moments, draws)


def page(subject: Any, problem: Case | None = None, steps: Sequence[int] | None = None) -> Any:
    """The certificate page of a subject of `analysis.subjects` that is a foreign solver; see `analysis.certify`."""
    from analysis.blackbox import certify_callable
    from analysis.certificate import ABSENT, ROUTES, CertificatePage, Route, proved, route_of, testimony_of
    from analysis.shipped import look, repeated, wasted

    given: Foreign = subject.foreign
    exact = exact_problem(problem or given.case)
    told, claim, algebra, draws, dense = [], subject.claim, None, False, None
    try:
        dense = table(given)
        draws = draws_noise(dense)
        algebra = proof(given, draws)
        first = proved(algebra, claim)
        if algebra.method_order < algebra.order:
            reason = f"formula: {first.reason}; with its start order {algebra.method_order}"
            first = replace(first, order=algebra.method_order, reason=reason)
    except OdekitError as error:
        first = Route(ROUTES[0], None, ABSENT, str(error))
    local = Route(ROUTES[1], None, ABSENT, "a sampler takes no exact history: its first step is its start's")
    nearest, measured = None, Route(ROUTES[2], None, ABSENT, "it draws noise: no solve to measure")
    if not draws:
        whole = None if algebra is None else algebra.method_order
        held = claim if claim is None or whole is None or whole >= claim or algebra.order < claim else whole
        rows = certify_callable(given.sampler, exact, held, steps or given.whole, given.title)
        nearest, measured = rows[0].get("nearest"), route_of(ROUTES[2], rows, held)
        told += rows[0]["findings"]
    if dense is not None:
        told += [*repeated(dense), *(wasted(dense) if draws else [])]
    if given.make is not None:
        same = nearest if told and told[0].startswith("the same method as") else None
        told += look(given.make, given.steps, same).findings
    routes = {route.name: route for route in (first, local, measured)}
    return CertificatePage(subject, algebra, routes, testimony_of(exact), tuple(dict.fromkeys(told)), nearest)


def value(text: str) -> Any:
    """A setting from its text: numbers, true, false, none; else the text itself.

    >>> [value(text) for text in ("3", "0.5", "true", "none", "bh1")]
    [3, 0.5, True, None, 'bh1']
    """
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """{key: value} from texts key=value; raises MethodError for another form."""
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise MethodError(f"--config {pair!r}: expected key=value, e.g. solver_order=3")
        found[key] = value(text)
    return found
