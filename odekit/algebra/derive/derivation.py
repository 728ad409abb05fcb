"""What a derivation hands out, and the list of recipes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, NamedTuple

from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

RUNGE_KUTTA = ("runge_kutta", "rk_pairs", "rk_error", "rk_stability", "rk_implicit", "collocation")
MODULES = (*RUNGE_KUTTA, "multistep", "exponential", "samplers", "splitting", "odekit.solve.recipes")
"""The modules that hold recipes, of this room unless a room is named; loaded when a recipe is asked for."""

_RECIPES: dict[str, Callable[..., Derivation]] = {}


class Difference(NamedTuple):
    """A published formula beside the derived one: `what` differs ("" where nothing does)."""

    published: str
    source: str
    what: str

    def __bool__(self) -> bool:
        return bool(self.what)

    def __str__(self) -> str:
        return f"{self.published} ({self.source}): {self.what or 'the same formula'}"


@dataclass(frozen=True)
class Derivation:
    """Derived coefficients: the method file they make, what was solved, and how they compare with the literature.

    `data` is the mapping that a method file holds (every family's keys are in `odekit.methods.files`), numbers as exact
    text; free parameters are symbols in it, with a default each under "parameters". `route` says in one line each what
    was solved, chosen and minimised.
    """

    data: Mapping[str, Any]
    route: tuple[str, ...] = ()
    published: tuple[Difference, ...] = ()

    @property
    def name(self) -> str:
        """The name of the derived method."""
        return self.data["name"]

    @property
    def free(self) -> Mapping[str, str]:
        """The free parameters, each with its default."""
        return self.data.get("parameters", {})

    def at(self, **values: Any) -> Derivation:
        """The derivation with other defaults for its free parameters; exact text, integers and Fractions are taken."""
        for key in values:
            if key not in self.free:
                raise unknown(f"free parameter of {self.name}", key, self.free)
        chosen = {**self.free, **{key: str(value) for key, value in values.items()}}
        return replace(self, data={**self.data, "parameters": chosen})

    @property
    def method(self) -> Any:
        """The method at the defaults of its free parameters, as the exact object of its family."""
        from odekit.methods.files import method_from

        return method_from(self.data)

    def certificate(self) -> Any:
        """The certificate of the method."""
        from odekit.algebra import certificate

        return certificate(dict(self.data))

    def toml(self) -> str:
        """The method file: `odekit verify` takes it."""
        from odekit.methods.files import as_toml

        return as_toml(self.data)

    def json(self) -> str:
        """The same data, with the route and the comparisons, as JSON."""
        import json

        extra = {"route": self.route, "published": [{**d._asdict(), "differs": bool(d)} for d in self.published]}
        return json.dumps({**self.data, **extra}, indent=2, ensure_ascii=False)

    def latex(self) -> str:
        """The coefficients as LaTeX."""
        from odekit.algebra.derive.source import latex

        return latex(self.data)

    def python(self) -> str:
        """Source that runs the method without odekit: Python, and torch where tensors are asked for."""
        from odekit.algebra.derive.source import python

        return python(self.data)


def recipe(name: str) -> Callable[[Callable[..., Derivation]], Callable[..., Derivation]]:
    """Register a recipe under the name of what it derives."""

    def register(function: Callable[..., Derivation]) -> Callable[..., Derivation]:
        _RECIPES[name] = function
        return function

    return register


def recipes() -> dict[str, Callable[..., Derivation]]:
    """Every recipe by name; the parameters of the function are the choices.

    Raises nothing; modules are loaded on the first call.
    """
    for module in MODULES:
        import_module(module if "." in module else f"odekit.algebra.derive.{module}")
    return dict(sorted(_RECIPES.items()))


def derive(name: str, **choices: Any) -> Derivation:
    """Derive a method: solve the conditions of its family for the choices given.

    Raises UnknownNameError for a recipe or a choice that is not known, AlgebraError where no method exists.
    """
    known = recipes()
    if name not in known:
        raise unknown("recipe", name, known)
    parameters = inspect.signature(known[name]).parameters
    for choice in choices:
        if choice not in parameters:
            raise unknown(f"choice of {name}", choice, parameters)
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in choices]
    if missing:
        raise AlgebraError(f"{name} needs {' and '.join(missing)}: its choices are {', '.join(parameters)}")
    return known[name](**choices)
