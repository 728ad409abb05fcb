"""Variation of constants with operators: the weights of an exponential multistep formula on matrix processes.

With x' = A x + B N and N interpolated in t on its nodes,

    x_s = Psi_A(s, t) x_t + sum_j C_j N_j,    C_j = int_t^s Psi_A(s, r) B_r l_j(r) dr.

Let T(r) = int_r^s Psi_A(s, u) B_u du, which is M_s - Psi_A(s, r) M_r where a primitive M of the forcing is known (R_t
for the R-noise). By parts,

    C_j = T(t) l_j(t) + int_t^s T(r) l_j'(r) dr,

without an inverse of M, which matters near t = 0 where R_t^-1 grows without bound; for one node it is T(t), closed.
Else Psi_A B l_j is integrated as it stands. The total sum_j C_j = T(t) is imposed, only the others are integrated,
in sqrt(t), of which the coefficients are smooth functions up to t = 0.
Source: Zhang, Tao & Chen 2023 (gDDIM, arXiv 2206.05564), eqs. 19-21; primitive and parts are derived here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from odekit.exceptions import MethodError
from odekit.fields.coordinates import Instant
from odekit.fields.matrix import Acting, MatrixCoordinates
from odekit.operators import Block, Operator
from odekit.processes.propagate import propagate, propagated


def ratio(f: MatrixCoordinates, to: Instant, at: Instant) -> Acting:
    """Psi_A(to, at) of the coordinates' prediction."""
    return Acting(propagator(f, to.time, at.time))


def weights(f: MatrixCoordinates, to: Instant, at: Instant, nodes: tuple, clock: str, rule: str) -> list[Acting]:
    """The weights of the model outputs at ``nodes`` (instants) for the step from ``at`` to ``to``.

    Raises MethodError for a clock or rule that isotropic processes alone have.
    """
    s, t = to.time, at.time
    stations = [node.time for node in nodes]
    if len(nodes) > 1 and (clock, rule) != ("t", "interpolating"):
        raise MethodError(
            f"on {f.process!r} model outputs are interpolated in t; clock {clock!r} with the rule {rule!r} is for "
            "isotropic processes"
        )
    if f.prediction.primitive_on(f.process) is None:
        older = _integrated(f, s, t, stations)
        whole = older.pop(0)
    else:
        whole = _remaining(f, s, t)
        older = _by_parts(f, s, t, stations, whole)
    for weight in older:
        whole = whole - weight
    return [Acting(weight) for weight in (whole, *older)]


def propagator(f: MatrixCoordinates, s: Any, t: Any) -> Operator:
    """Psi_A(s, t) of the coordinates' prediction."""
    prediction = f.prediction
    if prediction.propagator is not None:
        return prediction.propagator(f.process, s, t)
    if prediction.skip is None:
        return f.process.transition(s, t)
    return propagated(lambda r: prediction.semilinear(f.process, r)[0], s, t)


def moments(f: MatrixCoordinates, to: Instant, at: Instant, functions: Sequence[Callable[[Instant], Any]]) -> list:
    """int Psi_A(to, r) B_r g(r) dr over the step for each function g of an instant, a number there."""
    s, t = to.time, at.time

    def integral(r: Any, weigh: Any) -> list[Operator]:
        forcing = propagator(f, s, r) @ f.prediction.forcing(f.process, r)
        return [weigh(g(Instant(r)) * forcing) for g in functions]

    return [Acting(moment) for moment in _quadrature(f, s, t, integral)]


def collocated(linear: Callable, forcing: Callable, to: Any, at: Any) -> tuple[Block, Block]:
    """P and W of y_s = P y_t + W N for y' = A(t) y + B(t) N with N held, `linear` and `forcing` the blocks A and B.

    Both are blocks of the flow of (y, N)' = [[A, B], [0, 0]] (y, N), so that neither is taken for an exponential of an
    integral. Times are floats or float64 tensors; raises OdekitError for others.
    """
    to, at = torch.broadcast_tensors(*(torch.as_tensor(t, dtype=torch.float64) for t in (to, at)))

    def system(times: torch.Tensor) -> torch.Tensor:
        t = times.flatten()
        above = torch.cat([linear(t).value.expand(len(t), -1, -1), forcing(t).value.expand(len(t), -1, -1)], 2)
        return torch.cat([above, 0 * above], 1).reshape(*times.shape, above.shape[2], above.shape[2])

    flow = propagate(system, to, at)
    n = flow.shape[-1] // 2
    return Block(flow[..., :n, :n]), Block(flow[..., :n, n:])


def _remaining(f: MatrixCoordinates, s: Any, r: Any) -> Operator:
    """T(r) from the primitive."""
    M = f.prediction.primitive
    return M(f.process, s) - propagator(f, s, r) @ M(f.process, r)


def _by_parts(f: MatrixCoordinates, s: Any, t: Any, stations: list, whole: Operator) -> list[Operator]:
    if len(stations) == 1:
        return []
    size, part = (_largest(operator) for operator in (f.prediction.primitive(f.process, s), whole))

    def integral(r: Any, weigh: Any) -> list[Operator]:
        rest = _remaining(f, s, r)
        return [weigh(_slope(r, stations, j) * rest) for j in range(1, len(stations))]

    found = _quadrature(f, s, t, integral, condition=8 * len(stations) * size / part)
    return [_lagrange(t, stations, j) * whole + inner for j, inner in enumerate(found, start=1)]


def _integrated(f: MatrixCoordinates, s: Any, t: Any, stations: list) -> list[Operator]:
    """The total and the weights of all nodes but the first, by quadrature of Psi_A B l_j."""

    def integral(r: Any, weigh: Any) -> list[Operator]:
        forcing = propagator(f, s, r) @ f.prediction.forcing(f.process, r)
        older = [weigh(_lagrange(r, stations, j) * forcing) for j in range(1, len(stations))]
        return [weigh(forcing), *older]

    return _quadrature(f, s, t, integral)


def _quadrature(f: MatrixCoordinates, s: Any, t: Any, integral: Any, condition: float = 1.0) -> list[Operator]:
    """What ``integral(r, weigh)`` makes of the points r, with ``weigh`` summing an operator over them."""
    from odekit.fields.weights import converged, gauss

    start, end = t**0.5, s**0.5
    carrier: list[type[Operator]] = []

    def values(count: int) -> list:
        points, masses = gauss(f, count, start)
        root = start + points * (end - start)
        density = 2 * root * (end - start) * masses

        def weigh(operator: Operator) -> Any:
            carrier[:] = [type(operator)]
            return (density * operator).value.sum(0)

        return integral(root * root, weigh)

    return [carrier[0](value) for value in converged(f, values, 16, condition)]


def _lagrange(r: Any, stations: list, j: int) -> Any:
    """l_j(r)."""
    product = 1
    for i, other in enumerate(stations):
        if i != j:
            product = product * ((r - other) / (stations[j] - other))
    return product


def _slope(r: Any, stations: list, j: int) -> Any:
    """l_j'(r), as a sum of products: it has no pole at the nodes."""
    own, total = stations[j], 0
    for k, left_out in enumerate(stations):
        if k != j:
            product = 1 / (own - left_out)
            for i, other in enumerate(stations):
                if i not in (j, k):
                    product = product * ((r - other) / (own - other))
            total = total + product
    return total


def _largest(operator: Operator) -> float:
    value = operator.value
    return float(abs(value.detach() if torch.is_tensor(value) else value).max())
