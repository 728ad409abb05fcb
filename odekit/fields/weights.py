"""Variation of constants: the weights of an exponential multistep formula, in any clock and any prediction.

With x' = A x + B N and N interpolated on nodes in a clock c,

    x_s = Psi_A(s, t) x_t + sum_j w_j N_j,    w_j = int_t^s Psi_A(s, r) B_r l_j(c(r)) dr      (interpolating)
                                              w_j = (int_t^s Psi_A B dr) int_0^1 l_j du       (lumped, u uniform in c)

The exact total sum_j w_j is imposed and only differences are integrated, in a variable in which the integrand is
smooth up to the ends (kappa, alpha/sigma, time or the log-SNR), by Gauss-Legendre with the points doubled until two
results agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from odekit.exceptions import QuadratureError
from odekit.fields import operator_weights
from odekit.fields.coordinates import CLOSED, Coordinates, Instant
from odekit.fields.matrix import MatrixCoordinates

CLOCKS = ("t", "logsnr", "kappa", "alpha_over_sigma", "index")
RULES = ("interpolating", "lumped")


def ratio(f: Coordinates, to: Instant, at: Instant):
    """Psi_A(to, at) of the coordinates' prediction."""
    if f.prediction.name == "velocity":
        return 1
    if isinstance(f, MatrixCoordinates):
        return operator_weights.ratio(f, to, at)
    if f.prediction.scale is not None:
        return f.scale(to) / f.scale(at)
    return _integrated(f, to, at)[0]


def total(f: Coordinates, to: Instant, at: Instant):
    """int Psi_A B dr over the step: the sum of the weights of every consistent formula."""
    if f.prediction.name == "velocity":
        return to.time - at.time
    if isinstance(f, MatrixCoordinates):
        return operator_weights.weights(f, to, at, (at,), "t", "interpolating")[0]
    own = {"noise": "sigma", "r-noise": "sigma", "l-noise": "sigma", "data": "alpha"}.get(f.prediction.name)
    if own:
        value = getattr(f.process, own)
        return value(to.time) - ratio(f, to, at) * value(at.time)
    return _integrated(f, to, at)[1]


def weights(f: Coordinates, to: Instant, at: Instant, nodes: tuple, clock: str, rule: str = "interpolating") -> list:
    """The weights w_j of the model outputs at ``nodes`` (instants, newest first) for the step from ``at`` to ``to``.

    Source: Hochbruck & Ostermann 2010, section 2.5 (exponential multistep methods); Zhang & Chen 2023
    (arXiv 2204.13902), eq. 15 for the noise with c = t.
    """
    if isinstance(f, MatrixCoordinates) and f.prediction.name != "velocity":
        return operator_weights.weights(f, to, at, nodes, clock, rule)
    whole = total(f, to, at)
    if len(nodes) == 1:
        return [whole]
    stations = [f.clock(n, clock) for n in nodes]
    if rule == "lumped":
        start, end = f.clock(at, clock), f.clock(to, clock)
        points, masses = gauss(f, (len(nodes) + 1) // 2, start)
        basis = _lagrange(start + points * (end - start), stations)
        older = [whole * (masses * part).sum(0) for part in basis[1:]]
    else:
        older = _interpolating(f, to, at, stations, clock)
    return [whole - sum(older[1:], older[0]), *older]


def moments(f: Coordinates, to: Instant, at: Instant, functions: Sequence[Callable[[Instant], Any]]) -> list:
    """int Psi_A(to, r) B_r g(r) dr over the step for each function g of an instant: what exact weights sum to on g.

    Integrated in the log-SNR; in time for the velocity, and in the straight clock where the log-SNR is infinite.
    """
    if isinstance(f, MatrixCoordinates) and f.prediction.name != "velocity":
        return operator_weights.moments(f, to, at, functions)
    straight = f.prediction.name == "velocity" or (f.prediction.name in CLOSED and not _has_ends(f, to, at))
    own = (CLOSED[f.prediction.name] or "t") if straight else "logsnr"
    start, end = f.clock(at, own), f.clock(to, own)

    def integral(count: int) -> list:
        points, masses = gauss(f, count, start)
        inner = Instant(_time_at(f, own, start + points * (end - start)))
        factor = (end - start) * (
            f.scale(to) if straight else _rate(f, inner) * _propagator(f, to, start, end, points, masses, inner)
        )
        return [(masses * g(inner) * factor).sum(0) for g in functions]

    return converged(f, integral, 16)


def _has_ends(f: Coordinates, *ends: Instant) -> bool:
    """Whether the log-SNR is finite at both ends of every step."""
    largest = (abs(f.clock(end, "logsnr")) for end in ends)
    return all(math.isfinite(float(value.max() if getattr(value, "shape", ()) else value)) for value in largest)


def _interpolating(f: Coordinates, to: Instant, at: Instant, stations: list, clock: str) -> list:
    straight = f.prediction.name in CLOSED and clock != "logsnr"
    own = (CLOSED[f.prediction.name] or "t") if straight else "logsnr"
    start, end = f.clock(at, own), f.clock(to, own)

    marks = _marks(f, start, end, own) if clock == "t" else None

    def integral(count: int) -> list:
        points, masses = gauss(f, count, start)
        if marks is not None:  # from mark to mark
            lengths = marks[1:] - marks[:-1]
            points, masses = (
                value.reshape(-1, *value.shape[2:])
                for value in (marks[:-1, None] + points * lengths[:, None], masses * lengths[:, None])
            )
        variable = start + points * (end - start)
        if straight:
            factor = f.scale(to) * (end - start)
            clocks = variable if clock == own else f.clock(Instant(_time_at(f, own, variable)), clock)
        else:
            inner = Instant(f.process.time_at_logsnr(variable))
            density = _rate(f, inner)
            factor = (end - start) * density * _propagator(f, to, start, end, points, masses, inner)
            clocks = variable if clock == "logsnr" else f.clock(inner, clock)
        return [(masses * part * factor).sum(0) for part in _lagrange(clocks, stations)[1:]]

    if straight and clock == own:  # polynomials: exact with few points
        return integral((len(stations) + 1) // 2)
    return converged(f, integral, 16 if marks is None else 4, _condition(stations))


def _marks(f: Coordinates, start, end, own: str):
    """Where time has kinks as a function of the clock ``own`` (tabulated processes): fractions of each step in order,
    0 and 1 with them, steps with few of them filled up with 1; None where time is smooth."""
    breaks = getattr(f.process, "breaks", ())
    if not breaks:
        return None
    import numpy

    places = f.clock(Instant(f.numbers.stack([f.numbers.number(t) for t in breaks])), own)
    fractions = (places.reshape(-1, *(1 for _ in getattr(start, "shape", ()))) - start) / (end - start)
    first, fractions = 0 * fractions[:1], fractions.clip(0, 1)
    is_tensor = torch.is_tensor(fractions)
    fractions = fractions.sort(0).values if is_tensor else numpy.sort(fractions, axis=0)
    before, inside = (fractions <= 0).sum(0), ((fractions > 0) & (fractions < 1)).sum(0)
    rows = torch.arange(int(inside.max())) if is_tensor else numpy.arange(int(numpy.max(inside)))
    rows = (rows.reshape(-1, *(1 for _ in getattr(start, "shape", ()))) + before).clip(0, len(breaks) - 1)
    if is_tensor:
        return torch.cat([first, torch.take_along_dim(fractions, rows, 0), first + 1])
    return numpy.concatenate([first, numpy.take_along_axis(fractions, rows, 0), first + 1])


def _condition(stations: list) -> float:
    """How much the rounding of a clock is magnified in its differences."""
    worst, plain = 1.0, [s.detach() if torch.is_tensor(s) else s for s in stations]
    for a, b in zip(plain[:-1], plain[1:], strict=True):
        magnified = abs(a) / abs(a - b)
        worst = max(worst, float(magnified.max() if getattr(magnified, "shape", ()) else magnified))
    return worst


def _time_at(f: Coordinates, own: str, value):
    return value if own == "t" else getattr(f.process, f"time_at_{own}")(value)


def _rate(f: Coordinates, at: Instant):
    """B dt/dlambda at an instant."""
    _, B = f.prediction.evaluate("semilinear", f.process, at.time)
    return B / f.process.logsnr_rate(at.time)


def _propagator(f: Coordinates, to: Instant, start, end, points, masses, inner: Instant):
    """Psi_A(to, r) at the quadrature points r, closed where the prediction has a scale, else exp int_r^to A."""
    if f.prediction.scale is not None:
        return f.scale(to) / f.scale(inner)
    # Nested quadrature: a second set of points between each r and the end of the step, along one more leading axis.
    outer = start + points * (end - start)
    within = Instant(f.process.time_at_logsnr(outer + points[:, None] * (end - outer)))
    A, _ = f.prediction.evaluate("semilinear", f.process, within.time)
    return _exp((masses[:, None] * (A / f.process.logsnr_rate(within.time)) * (end - outer)).sum(0))


def _exp(number):
    if torch.is_tensor(number):
        return number.exp()
    import mpmath
    import numpy

    return numpy.frompyfunc(mpmath.exp, 1, 1)(number)


def _integrated(f: Coordinates, to: Instant, at: Instant) -> tuple:
    """(Psi_A, int Psi_A B dr) by quadrature in the log-SNR, for predictions where neither is closed."""
    start, end = f.clock(at, "logsnr"), f.clock(to, "logsnr")

    def integral(count: int) -> list:
        points, masses = gauss(f, count, start)
        inner = Instant(f.process.time_at_logsnr(start + points * (end - start)))
        forcing = _rate(f, inner) * _propagator(f, to, start, end, points, masses, inner)
        A, _ = f.prediction.evaluate("semilinear", f.process, inner.time)
        growth = _exp((masses * (A / f.process.logsnr_rate(inner.time)) * (end - start)).sum(0))
        return [growth, (masses * forcing * (end - start)).sum(0)]

    return tuple(converged(f, integral, 16))


def _lagrange(clocks, stations: list) -> list:
    basis = []
    for j, own in enumerate(stations):
        product = None
        for i, other in enumerate(stations):
            if i != j:
                factor = (clocks - other) / (own - other)
                product = factor if product is None else product * factor
        basis.append(product)
    return basis


def gauss(f: Coordinates, count: int, like) -> tuple:
    """Nodes and weights on [0, 1] along a new leading axis, ready to broadcast against ``like``."""
    points, masses = (f.numbers.stack(v) for v in f.numbers.gauss_legendre(count))
    shape = (-1, *(1 for _ in getattr(like, "shape", ())))
    return points.reshape(shape), masses.reshape(shape)


def converged(f: Coordinates, integral, count: int, condition: float = 1.0) -> list:
    """Double the points until two results agree to the working precision, times the condition of what is integrated."""
    exact = f.numbers.is_mpmath
    epsilon = 10.0**-f.numbers.digits if exact else 2.2e-16
    tolerance = epsilon * (1e4 if exact else 100.0) + 32 * epsilon * condition
    count = max(count, f.numbers.digits) if exact else count
    result = integral(count)
    for _ in range(5):
        count *= 2
        finer = integral(count)
        if all(_close(a, b, tolerance) for a, b in zip(result, finer, strict=True)):
            return finer
        result = finer
    raise QuadratureError(
        f"the weights of {f.prediction.name!r} did not converge with {count} quadrature points: the step spans "
        "too much of the process; use more steps or end before sigma = 0"
    )


def _close(a, b, tolerance: float) -> bool:
    if torch.is_tensor(b):
        a, b = a.detach(), b.detach()
        return bool(((a - b).abs() <= tolerance * b.abs().max().clamp_min(1e-300)).all())
    gap, size = abs(a - b), abs(b)
    if hasattr(size, "max"):
        return bool((gap <= tolerance * size.max()).all())
    return bool(gap <= tolerance * size)
