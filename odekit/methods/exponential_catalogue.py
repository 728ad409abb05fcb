"""Exponential methods of the literature by name, and how exact data of these families become methods that run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from odekit.algebra.exponential import ExponentialTableau, classical_order
from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.exceptions import unknown
from odekit.methods import files
from odekit.methods.base import Method
from odekit.methods.exponential import ExponentialRungeKutta, MixedOrders
from odekit.methods.exponential_multistep import ExponentialFormula
from odekit.methods.runge_kutta import RungeKutta
from odekit.methods.unipc import UniPC

FIRST = {
    "dpm-solver-1": ("noise", "Lu et al. 2022 (arXiv 2206.00927), eq. 3.7; DDIM"),
    "dpmpp-1": ("data", "Lu et al. 2022 (arXiv 2211.01095), section 4; DDIM"),
}
"""The names of exponential Euler, with their predictions."""

STATED: dict[str, dict[str, str]] = {
    "dpm-solver-2": {"r1": "1/2"},
    "dpm-solver-2-taylor": {"r1": "1/2"},
    "dpm-solver-3": {"r1": "1/3", "r2": "2/3"},
    "dpm-solver-3-taylor": {"r1": "1/3", "r2": "2/3"},
    "dpmpp-2s": {"r1": "1/2"},
    "dpmpp-3s": {"r1": "1/3", "r2": "2/3"},
    "dpmpp-3s-taylor": {"r1": "1/3", "r2": "2/3"},
    "res-2s": {"c2": "1/2"},
    "res-3s": {"c2": "1/2", "c3": "1"},
}
"""The one-step methods stated for one prediction, with their free parameters at the literature's values."""

ANY: dict[str, dict[str, str]] = {
    "ho2": {"c2": "1/2"},
    "ho3": {"c2": "1/2"},
    **dict.fromkeys(("etd2rk", "etd3rk", "etdrk4", "krogstad4", "strehmel-weiner4", "ho4", "exprk5s8", "lawson4"), {}),
}
"""The one-step methods that run on the data or the noise; their free parameters are free in the literature, too."""


def _exact(name: str) -> Any:
    from odekit.algebra import exponential_methods  # loads sympy: only when a method is asked for

    return exponential_methods.get(name)


def _signed(make: Callable[..., Method], values: dict[str, Any]) -> Callable[..., Method]:
    """A factory whose signature names its free parameters, with their defaults."""
    known = [p for p in inspect.signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD]
    free = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in values.items()]
    make.__signature__ = inspect.Signature([*known, *free])
    return make


def from_exponential(tableau: ExponentialTableau) -> Callable[..., Method]:
    """The factory that makes a method of an exponential tableau; its free parameters are options of the factory."""

    def make(data: ExponentialTableau, prediction: Any = None, last: str = "full", **values: Any) -> Method:
        return ExponentialRungeKutta(at(data, values), prediction, last)

    return _signed(make, dict.fromkeys(tableau.parameters, inspect.Parameter.empty))


def from_formula(formula: ExponentialMultistep) -> Callable[..., Method]:
    """The factory that makes a method of the coefficients of an exponential multistep formula."""

    def make(data: ExponentialMultistep, prediction: Any = None, start: str = "rising", last: str = "full") -> Method:
        return _multistep(data, prediction, start, last)

    return make


def at(data: Any, values: dict[str, Any]) -> Any:
    """A tableau at numbers for its free parameters, claiming no more than it reaches there.

    >>> from odekit.algebra import exponential_methods
    >>> third = exponential_methods.get("dpm-solver-3")
    >>> [at(third, {"r1": "1/3", "r2": r2}).order for r2 in ("2/3", "3/4")]
    [3, 2]
    """
    return _fixed(data, tuple((name, str(value)) for name, value in values.items())) if values else data


@lru_cache(maxsize=256)
def _fixed(data: Any, values: tuple[tuple[str, str], ...]) -> Any:
    return judged(data.substitute(**dict(values)))


def judged(data: Any) -> Any:
    """Exact data that claim no more than the order conditions grant."""
    return replace(data, order=min(data.order, int(classical_order(data, data.order))))


def one_step(name: str, prediction: Any, coordinates: str = "straight") -> Method:
    """The one-step method that starts a multistep one, by name, in the prediction of what it starts.

    ``coordinates``: those of a tableau.
    """
    values = {**STATED, **ANY}
    if name in values:
        return ExponentialRungeKutta(at(_exact(name), values[name]), prediction)
    if name not in files.names():
        raise unknown("starter", name, ("rising", *files.names(), *values))
    return RungeKutta(files.get(name), prediction, coordinates=coordinates)


def _stated(name: str) -> Callable[..., Method]:
    def make(last: str = "full", **values: Any) -> Method:
        return ExponentialRungeKutta(at(_exact(name), {**STATED[name], **values}), last=last)

    return _signed(make, STATED[name])


def _any(name: str) -> Callable[..., Method]:
    def make(prediction: str = "data", last: str = "full", **values: Any) -> Method:
        return ExponentialRungeKutta(at(_exact(name), {**ANY[name], **values}), prediction, last)

    return _signed(make, ANY[name])


def _first(name: str) -> Method:
    prediction, source = FIRST[name]
    return ExponentialRungeKutta(replace(_exact("etd1"), name=name, source=source), prediction)


def _multistep(
    formula: ExponentialMultistep, prediction: Any, start: str, last: str, opening: dict | None = None
) -> Method:
    starter = None if start == "rising" else one_step(start, prediction or formula.prediction or "data")
    return ExponentialFormula(formula, prediction, start, last, starter, opening)


def _dpmpp_3m(start: str = "rising", last: str = "full") -> Method:
    second = _exact("dpmpp-2m")
    return _multistep(judged(_exact("dpmpp-3m")), None, start, last, opening={2: second})


def _dpmpp_3m_corrected(start: str = "dpmpp-2s", last: str = "full") -> Method:
    return _multistep(_exact("dpmpp-3m-corrected"), None, start, last)


def _res_2m(start: str = "rising", last: str = "full") -> Method:
    formula = _exact("dpmpp-2m-heun")
    source = "Zhang et al., arXiv:2308.02157, multistep; DPM-Solver++(2M), solver_type 'heun'"
    return _multistep(replace(formula, name="res-2m", source=source), None, start, last)


def _unipc(order: int, corrector: bool) -> Callable[..., Method]:
    def make(prediction: str = "data", variant: str = "bh2", last: str = "full") -> Method:
        return UniPC(order, prediction, variant, last, corrector)

    return make


def _fast(last: str = "2") -> Method:
    parts = {1: _first("dpm-solver-1"), 2: one_step("dpm-solver-2", "noise"), 3: one_step("dpm-solver-3", "noise")}
    return MixedOrders("dpm-solver-fast", "Lu et al. 2022 (arXiv 2206.00927), section 3.4", parts, last)


METHODS: dict[str, Callable[..., Method]] = {
    **{name: partial(_first, name) for name in FIRST},
    **{name: _stated(name) for name in STATED},
    **{name: _any(name) for name in ANY},
    "dpm-solver-fast": _fast,
    "dpmpp-3m": _dpmpp_3m,
    "dpmpp-3m-corrected": _dpmpp_3m_corrected,
    "res-2m": _res_2m,
    **{f"unipc-{p}": _unipc(p, corrector=True) for p in range(1, 7)},
    **{f"unip-{p}": _unipc(p, corrector=False) for p in range(1, 7)},
}
