"""Times from noise levels: closed forms where there are any, Newton where not, and the ends of the range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..exceptions import OdekitError, TimeRangeError
from .kinds import Floats, Mpmath, Tensors, number
from .newton import newton

if TYPE_CHECKING:
    from .base import IsotropicProcess

ENDS = {"logsnr": (math.inf, -math.inf), "kappa": (0.0, math.inf), "alpha_over_sigma": (math.inf, 0.0)}
"""What each level is where there is no noise, and where there is no signal."""


def time_at(process: IsotropicProcess, level: str, x: Any) -> Any:
    """The time where `level` ("logsnr", "kappa" or "alpha_over_sigma") has the value x (float, tensor or mpf)."""
    kind, x = number(x)
    if kind is not Mpmath:
        return _solve(process, level, kind, x)
    from mpmath import mp

    with mp.workprec(mp.prec + 30):
        t = _solve(process, level, kind, x)
    return +t


def _solve(process: IsotropicProcess, level: str, kind: type, x: Any) -> Any:
    _check_reached(process, level, kind, x)
    low, high = process.domain
    noiseless, signalless = ENDS[level]
    at_high = x == signalless
    # a closed form knows its way to kappa = 0, and its gradient there
    at_low = (x == noiseless) & (level == "logsnr" or _closed_form(process, level) is None)
    at_end = at_low | at_high
    if not kind.any(at_end):
        return _solve_inside(process, level, kind, x)
    t = _solve_inside(process, level, kind, kind.where(at_end, _stand_in(process, level), x))
    return kind.where(at_low, low, kind.where(at_high, high, t))


def _solve_inside(process: IsotropicProcess, level: str, kind: type, x: Any) -> Any:
    low, high = process.domain
    closed = _closed_form(process, level)
    if closed is None:
        return kind.clip(by_newton(process, level, kind, x), low, high)
    t = process._run(closed, level, kind, x)
    lost = ~kind.isfinite(t) if kind is Tensors else not kind.isfinite(t)
    if kind.any(lost):  # the closed form overflowed on its way: solve there, and keep its NaN out of the graph
        spare = _stand_in(process, level)
        solved = by_newton(process, level, kind, kind.where(lost, x, spare))
        t = kind.where(lost, solved, process._run(closed, level, kind, kind.where(lost, spare, x)))
    return kind.clip(t, low, high)


def by_newton(process: IsotropicProcess, level: str, kind: type, x: Any) -> Any:
    """The time where `level` is x, without the closed form."""
    target = x if level == "logsnr" else kind.log(x) if level == "alpha_over_sigma" else -kind.log(x)

    def function(quantity: str) -> Callable[[Any], Any]:
        code = process._code(quantity)  # of any kind: the search for a scalar's time runs on tensors
        return lambda t: process._run(code, "t", *number(t))

    return newton(function("logsnr"), function("logsnr_rate"), target, process.domain)


def _closed_form(process: IsotropicProcess, level: str) -> Any:
    name = "time_at_" + level
    return None if process.expressions[name] is None else process._code(name)


def _stand_in(process: IsotropicProcess, level: str) -> float:
    """A value that `level` takes in the middle of the sampling range, where nothing is singular."""
    return process._run(process._code(level), "t", Floats, (process.t_min + process.t_max) / 2)


def _check_reached(process: IsotropicProcess, level: str, kind: type, x: Any) -> None:
    if level not in process._limits:
        process._limits[level] = reached(process, level)
    low, high = process._limits[level]
    missed = ~((x >= low) & (x <= high)) if kind is Tensors else not low <= x <= high
    if kind.any(missed):
        culprit = x[missed].flatten()[0].item() if kind is Tensors else x
        name = type(process).__name__
        raise TimeRangeError(f"{name} never has {level} = {culprit}; its values are [{low:.6g}, {high:.6g}]")


def reached(process: IsotropicProcess, level: str) -> tuple[float, float]:
    """The least and the greatest value that `level` takes on the domain, with room for rounding."""
    ends = []
    for end, vanishing, limit in zip(process.domain, ("sigma", "alpha"), ENDS[level], strict=True):
        value = process._run(process._code(level), "t", Floats, end)
        # a zero is one exactly: cos(pi/2) of floats is none
        ends.append(limit if math.isnan(value) or _vanishes(process, vanishing, end) else value)
    if (ends[0] < ends[1]) != (level == "kappa"):
        raise OdekitError(
            f"{type(process).__name__}: log-SNR must decrease in t; {level} goes from {ends[0]} to {ends[1]}"
        )
    low, high = sorted(ends)
    relative, absolute = 1e-12, 1e-12 if level == "logsnr" else 0.0
    return (
        low - relative * abs(low) - absolute if math.isfinite(low) else low,
        high + relative * abs(high) + absolute if math.isfinite(high) else high,
    )


def _vanishes(process: IsotropicProcess, quantity: str, t: float) -> bool:
    if math.isinf(t):
        return False
    import sympy

    exact = dict(zip(process._arguments(), (t, *process._values("t", Floats, t)), strict=True))
    exact = {symbol: sympy.Rational(str(value)) for symbol, value in exact.items()}
    return process.expressions[quantity].subs(exact) == 0
