"""The classical test problems, with what each of them can and cannot testify.

The excitations are not opinions: the tests compute the elementary differentials of every field along its solutions and
find these ranks. A second-order system whose force is nonlinear in the position alone (Kepler, Arenstorf) never sees
the tree [t,[t,t]], however wild it looks; a polynomial field of degree d sees no vertex with d + 1 children.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from odekit.exceptions import OdekitError
from odekit.fields.problems import Excitation, Problem, problem
from odekit.fields.vector import VectorField


def _states(*rows: Any) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _time(t: Any) -> torch.Tensor:
    """Time as a 0-d float64 host tensor (which never promotes the state)."""
    return torch.as_tensor(t, dtype=torch.float64)


@problem("dahlquist")
def dahlquist(rate: Any = -1.0) -> Problem:
    """x' = rate x, the linear test equation (Dahlquist 1963); rate a number, complex too, or one a sample (B,)."""
    rate = torch.as_tensor(rate)
    rate = rate.to(torch.complex128 if rate.is_complex() else torch.float64)
    if rate.ndim > 1:
        raise OdekitError(f"rate of 'dahlquist' is a number or one a sample (B,), got shape {tuple(rate.shape)}")
    x0 = torch.ones_like(rate) if rate.ndim else _states(1.0, 0.5, -2.0).to(rate.dtype)
    return Problem(
        "dahlquist",
        VectorField(lambda x, t: rate.to(x.dtype) * x if rate.ndim else rate * x, name="dahlquist"),
        x0,
        0.0,
        2.0,
        lambda t: x0 * torch.exp(rate * _time(t)),
        Excitation(2, "an autonomous linear field excites tall trees only", ("[t,t]",)),
    )


@problem("prothero-robinson")
def prothero_robinson(rate: float = -10.0) -> Problem:
    """x' = rate (x - cos t) - sin t, solution cos t + (x0 - 1) e^(rate t) (Prothero & Robinson 1974).

    The first start lies on the smooth curve; a large negative rate makes the problem stiff.
    """
    x0 = _states(1.0, 1.5, 0.0)

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        return rate * (x - _time(t).cos()) - _time(t).sin()

    return Problem(
        "prothero-robinson",
        VectorField(velocity, name="prothero-robinson"),
        x0,
        0.0,
        2.0,
        lambda t: _time(t).cos() + (x0 - 1) * torch.exp(rate * _time(t)),
        Excitation(3, "linear with a constant Jacobian: a vertex with two children sees leaves only", ("[t,[t]]",)),
    )


@problem("exp-sin")
def exp_sin() -> Problem:
    """x' = cos(t) x, solution x0 exp(sin t) (Hull et al. 1972, problem A3): linear, non-autonomous."""
    x0 = _states(1.0, 0.5, -2.0)
    return Problem(
        "exp-sin",
        VectorField(lambda x, t: _time(t).cos() * x, name="exp-sin"),
        x0,
        0.0,
        3.0,
        lambda t: x0 * torch.exp(_time(t).sin()),
        Excitation(
            4,
            "linear in x: no vertex has two children that are no leaves, and x is one number",
            ("[t,t,t,t]", "[t,t,[t]]", "[t,[t,t]]", "[t,[[t]]]", "[[t],[t]]", "[[t,t,t]]", "[[t,[t]]]", "[[[t,t]]]"),
        ),
    )


@problem("cos-sin")
def cos_sin() -> Problem:
    """x' = cos(t) sin(x), solution tan(x/2) = tan(x0/2) exp(sin t): a smooth scalar field, nonlinear in x and t."""
    x0 = _states(0.5, 1.5, -1.0)
    return Problem(
        "cos-sin",
        VectorField(lambda x, t: _time(t).cos() * torch.sin(x), name="cos-sin"),
        x0,
        0.0,
        3.0,
        lambda t: 2 * torch.atan(torch.tan(x0 / 2) * torch.exp(_time(t).sin())),
        Excitation(4, "a scalar equation cannot tell all trees of order five apart", ("[t,[[t]]]", "[[t,[t]]]")),
    )


@problem("riccati")
def riccati() -> Problem:
    """x' = -x^2, solution x0 / (1 + x0 t)."""
    x0 = _states(1.0, 0.5, 2.0)
    return Problem(
        "riccati",
        VectorField(lambda x, t: -x * x, name="riccati"),
        x0,
        0.0,
        2.0,
        lambda t: x0 / (1 + x0 * _time(t)),
        Excitation(2, "homogeneous and scalar: all F of one order are multiples of one power of x", ("[t,t]", "[[t]]")),
    )


@problem("lotka-volterra")
def lotka_volterra() -> Problem:
    """u' = u (v - 2), v' = v (1 - u); ln u - u + 2 ln v - v is constant (Hairer, Lubich & Wanner, I.1.1)."""

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        u, v = x.unbind(-1)
        return torch.stack([u * (v - 2), v * (1 - u)], -1)

    return Problem(
        "lotka-volterra",
        VectorField(velocity, (2,), "lotka-volterra"),
        _states((2.0, 2.0), (3.0, 1.5), (0.5, 1.0)),
        0.0,
        5.0,
        None,
        Excitation(3, "a quadratic field sees no vertex with three children", ("[t,t,t]",)),
    )


@problem("kepler")
def kepler(eccentricity: float = 0.6) -> Problem:
    """q'' = -q/|q|^3 over one period 2 pi, states (B, 2, 2) of position and momentum (HLW, I.2.2).

    Three starts on ellipses of semi-axis 1: at the pericentre, and two later ones on turned ellipses. The solution
    solves Kepler's equation E - e sin E = M by Newton's method.
    """
    if not 0 <= eccentricity < 1:
        raise OdekitError(f"eccentricity = {eccentricity!r}, expected a number in [0, 1)")
    anomaly, turn = _states(0.0, 1.0, 4.0), _states(0.0, 0.7, -2.0)
    minor = math.sqrt((1 - eccentricity) * (1 + eccentricity))

    def exact(t: Any) -> torch.Tensor:
        mean = anomaly + _time(t)
        e = mean + eccentricity * torch.sin(mean)
        for _ in range(50):  # a contraction for any e < 1 once bracketed by |E - M| <= e
            step = (e - eccentricity * torch.sin(e) - mean) / (1 - eccentricity * torch.cos(e))
            e = torch.minimum(torch.maximum(e - step, mean - eccentricity), mean + eccentricity)
        rate = 1 / (1 - eccentricity * torch.cos(e))
        q = torch.stack([torch.cos(e) - eccentricity, minor * torch.sin(e)], -1)
        p = torch.stack([-torch.sin(e), minor * torch.cos(e)], -1) * rate[:, None]
        c, s = torch.cos(turn), torch.sin(turn)
        rotation = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
        return torch.stack([q, p], 1) @ rotation.transpose(-1, -2)

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        q, p = x.unbind(-2)
        return torch.stack([p, -q / (q * q).sum(-1, keepdim=True) ** 1.5], -2)

    return Problem(
        "kepler",
        VectorField(velocity, (2, 2), "kepler"),
        exact(0.0),
        0.0,
        2 * math.pi,
        exact,
        Excitation(4, "the force depends on the position alone: F([t,[t,t]]) = f''(f, f''(f,f)) = 0", ("[t,[t,t]]",)),
    )


@problem("nonlinear-oscillator")
def nonlinear_oscillator() -> Problem:
    """u' = J u / |u|^2, solution a rotation by t/|u0|^2 (Ketcheson 2019, SIAM J. Numer. Anal. 57)."""
    x0 = _states((1.0, 0.0), (0.6, -0.9), (-1.2, 0.5))

    def exact(t: Any) -> torch.Tensor:
        angle = _time(t) / (x0 * x0).sum(-1)
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.stack([c * x0[:, 0] - s * x0[:, 1], s * x0[:, 0] + c * x0[:, 1]], -1)

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        u, v = x.unbind(-1)
        return torch.stack([-v, u], -1) / (x * x).sum(-1, keepdim=True)

    return Problem(
        "nonlinear-oscillator",
        VectorField(velocity, (2,), "nonlinear-oscillator"),
        x0,
        0.0,
        5.0,
        exact,
        Excitation(
            2, "rotation and reflection leave every F of one order on one line: u or J u by turns", ("[t,t]", "[[t]]")
        ),
    )


@problem("van-der-pol")
def van_der_pol(mu: float = 1.0) -> Problem:
    """x'' = mu (1 - x^2) x' - x, states (B, 2) of position and velocity (van der Pol 1926); stiff for large mu."""

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        position, speed = x.unbind(-1)
        return torch.stack([speed, mu * (1 - position * position) * speed - position], -1)

    return Problem(
        "van-der-pol",
        VectorField(velocity, (2,), "van-der-pol"),
        _states((2.0, 0.0), (0.5, 0.5), (-1.0, 2.0)),
        0.0,
        5.0,
        None,
        Excitation(4, "a cubic field sees no vertex with four children", ("[t,t,t,t]",)),
    )


_ARENSTORF = {  # speed of the start below the moon, period: to all digits of Hairer, Norsett & Wanner
    4: (-2.00158510637908252240537862224, 17.0652165601579625588917206249),
    3: (-2.0317326295573368357302057924, 11.124340337266085134999734047),
}


@problem("arenstorf")
def arenstorf(loops: int = 4) -> Problem:
    """The restricted three-body problem over one periodic orbit, mu = 0.012277471, states (B, 2, 2) (HNW, II.0.1-2).

    `loops` chooses between the two published orbits, of four loops and of three.
    """
    if loops not in _ARENSTORF:
        raise OdekitError(f"loops = {loops!r}, expected one of {sorted(_ARENSTORF)} (the published orbits)")
    speed, period = _ARENSTORF[loops]
    mu = 0.012277471

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        q, p = x.unbind(-2)
        a, b = q.unbind(-1)
        va, vb = p.unbind(-1)
        earth = ((a + mu) ** 2 + b**2) ** 1.5
        moon = ((a - 1 + mu) ** 2 + b**2) ** 1.5
        force_a = a + 2 * vb - (1 - mu) * (a + mu) / earth - mu * (a - 1 + mu) / moon
        force_b = b - 2 * va - (1 - mu) * b / earth - mu * b / moon
        return torch.stack([p, torch.stack([force_a, force_b], -1)], -2)

    return Problem(
        "arenstorf",
        VectorField(velocity, (2, 2), "arenstorf"),
        _states(((0.994, 0.0), (0.0, speed))),
        0.0,
        period,
        None,
        Excitation(4, "the force is nonlinear in the position alone: F([t,[t,t]]) = 0", ("[t,[t,t]]",)),
    )


@problem("warped-spiral")
def warped_spiral() -> Problem:
    """The spiral y' = (-1/4 + (1 + cos(t)/2) J) y seen through y = (sinh x_1, x_2 - cos x_1), states (B, 2).

    Ours: smooth, planar, nonlinear and non-autonomous, with the solution in closed form for every start, and no tree
    of order seven or less hides from it.
    """
    x0 = _states((0.9, 1.6), (-0.4, 0.2), (0.2, 2.0))

    def enter(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.sinh(x[..., 0]), x[..., 1] - torch.cos(x[..., 0])], -1)

    def leave(y: torch.Tensor) -> torch.Tensor:
        first = torch.asinh(y[..., 0])
        return torch.stack([first, y[..., 1] + torch.cos(first)], -1)

    def exact(t: Any) -> torch.Tensor:
        t, y = _time(t), enter(x0)
        angle = t + t.sin() / 2
        turned = torch.stack([-y[..., 1], y[..., 0]], -1)
        return leave(torch.exp(-t / 4) * (angle.cos() * y + angle.sin() * turned))

    def velocity(x: torch.Tensor, t: Any) -> torch.Tensor:
        y = enter(x)
        turn = 1 + _time(t).cos() / 2
        first = (-y[..., 0] / 4 - turn * y[..., 1]) / torch.cosh(x[..., 0])
        second = -y[..., 1] / 4 + turn * y[..., 0]
        return torch.stack([first, second - torch.sin(x[..., 0]) * first], -1)

    return Problem(
        "warped-spiral",
        VectorField(velocity, (2,), "warped-spiral"),
        x0,
        0.0,
        4.0,
        exact,
        Excitation(None, "no limit known: the elementary differentials of all trees to order seven are independent"),
    )
