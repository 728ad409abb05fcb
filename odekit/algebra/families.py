"""Order conditions by family: one question, whatever the methods are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odekit.algebra.conditions import runge_kutta_conditions
from odekit.exceptions import unknown


def _coloured(order: int, colours: int = 2, **choices: Any) -> list:
    return runge_kutta_conditions(order, colours=colours, **choices)


def _exponential(order: int, stiff: bool = False) -> list:
    from odekit.algebra.exponential_conditions import classical_conditions, stiff_conditions

    return list(stiff_conditions(order) if stiff else classical_conditions(order))


def _exponential_multistep(order: int, stiff: bool = False) -> list:
    from odekit.algebra.exponential_multistep import multistep_conditions

    return list(multistep_conditions(order, stiff))


def _multistep(order: int, steps: int | None = None, start: bool = False) -> list:
    from odekit.algebra.multistep_conditions import multistep_conditions

    return multistep_conditions(order, steps, start)


def _splitting(order: int, **choices: Any) -> list:
    from odekit.algebra.splitting_conditions import splitting_conditions

    return splitting_conditions(order, **choices)


def _stochastic(order: Any, kind: str = "RI") -> list:
    from odekit.algebra.stochastic import stochastic_conditions

    return stochastic_conditions(kind, order)


FAMILIES: dict[str, Callable[..., list]] = {
    "runge-kutta": runge_kutta_conditions,
    "additive-runge-kutta": _coloured,
    "partitioned-runge-kutta": _coloured,
    "exponential-runge-kutta": _exponential,
    "exponential-multistep": _exponential_multistep,
    "multistep": _multistep,
    "splitting": _splitting,
    "stochastic": _stochastic,
}


def order_conditions(family: str, order: int, **choices: Any) -> list:
    """The order conditions of a family of methods, from the lowest order up; each names its tree, word or moment.

    `choices` are the family's own (`stages=` for Runge-Kutta, `stiff=` for exponential methods, `pattern=` for
    splittings, `kind=` one of SRA, SRI, RI, RS for stochastic ones). Raises UnknownNameError for a family that is not
    known.

    >>> [str(condition) for condition in order_conditions("runge-kutta", 3)]
    ['tau: Phi = 1', '[tau]: Phi = 1/2', '[tau,tau]: Phi = 1/3', '[[tau]]: Phi = 1/6']
    >>> order_conditions("runge-kutta", 3, stages=3)[-1].residual
    a32*b3*c2 - 1/6
    >>> [len(order_conditions(family, 4)) for family in ("splitting", "multistep")]
    [8, 5]
    >>> len(order_conditions("exponential-runge-kutta", 6, stiff=True)) - 2  # beside psi_1 and the row sums
    36
    >>> len(order_conditions("stochastic", "3/2", kind="SRI"))
    25
    """
    if family not in FAMILIES:
        raise unknown("family of order conditions", family, FAMILIES)
    return FAMILIES[family](order, **choices)
