"""Exponential methods of the literature by name, and how exact data of these families become methods that run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from odekit.algebra.exponential import ExponentialTableau, classical_order
from odekit.methods.base import Method
from odekit.methods.exponential import ExponentialRungeKutta


def from_exponential(tableau: ExponentialTableau) -> Callable[..., Method]:
    """The factory that makes a method of an exponential tableau; its free parameters are options of the factory."""

    def make(data: ExponentialTableau, prediction: Any = None, last: str = "full", **values: Any) -> Method:
        return ExponentialRungeKutta(at(data, values), prediction, last)

    return _signed(make, dict.fromkeys(tableau.parameters, inspect.Parameter.empty))


def at(tableau: ExponentialTableau, values: dict[str, Any]) -> ExponentialTableau:
    """The tableau at numbers for its free parameters, claiming no more than it reaches there.

    >>> from odekit.algebra import exponential_methods
    >>> [at(exponential_methods.get("dpm-solver-3"), {"r1": "1/3", "r2": r2}).order for r2 in ("2/3", "3/4")]
    [3, 2]
    """
    if not values:
        return tableau
    fixed = tableau.substitute(**{name: str(value) for name, value in values.items()})
    return replace(fixed, order=min(tableau.order, int(classical_order(fixed, tableau.order))))


def _signed(make: Callable[..., Method], values: dict[str, Any]) -> Callable[..., Method]:
    """A factory whose signature names its free parameters, with their defaults."""
    known = [p for p in inspect.signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD]
    free = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in values.items()]
    make.__signature__ = inspect.Signature([*known, *free])
    return make
