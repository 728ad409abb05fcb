"""Test problems: fields with exact or reference solutions, each saying which order it can testify to.

The registry is open: a module enters its problems with `@problem("name")` and is imported at the end of this file.

>>> from odekit.fields import problems
>>> kepler = problems.get("kepler", eccentricity=0.3)
>>> x, error = kepler.solution(kepler.t_end)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from odekit.exceptions import OdekitError, unknown
from odekit.fields.vector import VectorField

__all__ = ["Excitation", "Problem", "REGISTRY", "get", "names", "problem"]


@dataclass(frozen=True)
class Excitation:
    """Up to which order a problem can testify, and why.

    A method of order p has its error at order p + 1 multiplied by elementary differentials F(tree) of the field. A
    problem testifies to order q when for every order up to q the F of all trees are linearly independent along its
    solutions: where one vanishes or two coincide, a wrong coefficient can hide. `max_order` is None where no limit is
    known; `unseen` names the trees of order max_order + 1 whose F vanishes or is a combination of the others', a leaf
    written t.

    >>> Excitation(2, "F([t,t]) vanishes", ("[t,t]",)).covers(3)
    False
    """

    max_order: int | None
    reason: str
    unseen: tuple[str, ...] = ()

    def covers(self, order: int) -> bool:
        """Whether a claim of this order can be confirmed."""
        return self.max_order is None or order <= self.max_order


@dataclass(frozen=True, eq=False)
class Problem:
    """An initial value problem x' = field(x, t), x(t_start) = x0, for a batch of starts x0 (B, *shape) in float64.

    `exact(t)` returns the states at t (B, *shape) and is None where there is no closed form; `solution(t)` always
    answers. Problems pickle by name and parameters.

    >>> decay = get("dahlquist", rate=-2.0)
    >>> bool(torch.allclose(decay.exact(1.0), decay.x0 * 0.1353352832366127))
    True
    """

    name: str
    field: VectorField
    x0: torch.Tensor
    t_start: float
    t_end: float
    exact: Callable[[Any], torch.Tensor] | None
    excitation: Excitation
    parameters: dict[str, Any] = field(default_factory=dict)
    _references: dict[float, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""
        return tuple(self.x0.shape[1:])

    def solution(self, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The states at t (B, *shape) and an estimate of their error, one number a sample (B,).

        With a closed form the error is its rounding. Without, DOP853 at rtol 1e-13 is the solution and its distance to
        a run at ten times the tolerance the estimate; both are cached.
        """
        t = float(t)
        if self.exact is not None:
            x = self.exact(t)
            return x, 16 * torch.finfo(torch.float64).eps * x.abs().reshape(len(x), -1).amax(1)
        if t not in self._references:
            x, coarse = self._dop853(t, 1e-13), self._dop853(t, 1e-12)
            self._references[t] = x, (x - coarse).abs().reshape(len(x), -1).amax(1)
        return self._references[t]

    def _dop853(self, t: float, rtol: float) -> torch.Tensor:
        from scipy.integrate import solve_ivp

        if t == self.t_start:
            return self.x0.clone()

        def right_side(time: float, y: Any) -> Any:
            return self.field(torch.from_numpy(y.copy()).reshape(1, *self.shape), time).reshape(-1).numpy()

        ends = []
        for start in self.x0:  # one at a time: the step size must answer to each sample alone
            run = solve_ivp(
                right_side, (self.t_start, t), start.reshape(-1).numpy(), method="DOP853", rtol=rtol, atol=rtol / 10
            )
            if not run.success:
                raise OdekitError(
                    f"problem {self.name!r} has no reference at t = {t}: {run.message}; ask nearer t_start"
                )
            ends.append(torch.from_numpy(run.y[:, -1].copy()).reshape(self.shape))
        return torch.stack(ends)

    def __reduce__(self):
        return _rebuild, (self.name, self.parameters)


REGISTRY: dict[str, Callable[..., Problem]] = {}


def problem(name: str) -> Callable[[Callable[..., Problem]], Callable[..., Problem]]:
    """Enter a factory `f(**parameters) -> Problem` under a name."""

    def enter(factory: Callable[..., Problem]) -> Callable[..., Problem]:
        REGISTRY[name] = factory
        return factory

    return enter


def names() -> list[str]:
    """The names `get` knows, sorted.

    >>> "kepler" in names()
    True
    """
    return sorted(REGISTRY)


def get(name: str, **parameters: Any) -> Problem:
    """The problem of that name; raises `UnknownNameError` for names and parameters that do not exist.

    >>> get("prothero-robinson", rate=-1e6).parameters
    {'rate': -1000000.0}
    """
    if name not in REGISTRY:
        raise unknown("problem", name, REGISTRY)
    known = list(inspect.signature(REGISTRY[name]).parameters)
    for key in parameters:
        if key not in known:
            raise unknown(f"parameter of problem {name!r}", key, known)
    return replace(REGISTRY[name](**parameters), parameters=dict(parameters))


def _rebuild(name: str, parameters: dict[str, Any]) -> Problem:
    return get(name, **parameters)


# The rooms that enter problems; diffusion problems (mixtures under processes) join here.
import odekit.fields.classical  # noqa: E402, F401
import odekit.fields.mixtures  # noqa: E402, F401
import odekit.fields.split  # noqa: E402, F401
