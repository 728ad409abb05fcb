"""Exponential Runge-Kutta methods measured: slopes, classical and stiff, and published updates as steps of tableaus."""

import math

import numpy as np
import pytest

from odekit.algebra.exponential import stiff_order
from odekit.algebra.exponential_methods import get


def integrate(tableau, linear, g, u, steps, end=1.0):
    """The method step by step, in the basis where A is diagonal; g takes and gives values in that basis."""
    h = end / steps
    c, A, b = tableau.coefficients(h * linear)
    stage_factors, factor = [np.exp(x * h * linear) for x in c], np.exp(h * linear)
    for n in range(steps):
        values = []
        for i in range(tableau.stages):
            inner = sum((h * A[i][j] * values[j] for j in range(i)), stage_factors[i] * u)
            values.append(g((n + c[i]) * h, inner))
        u = factor * u + sum(h * w * value for w, value in zip(b, values, strict=True))
    return u


def slopes(errors):
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@pytest.mark.parametrize("name", ["ho2-weak", "ho3", "etd3rk", "etdrk4", "krogstad4", "ho4", "exprk5s8", "lawson4"])
def test_classical_orders_are_seen_on_a_small_system(name):
    tableau = get(name).substitute(c2="1/3") if get(name).parameters else get(name)
    linear = np.array([-1.0, 0.5, 2.0])
    mix = np.array([[1.0, 0.4, -0.3], [0.2, -0.8, 0.5], [-0.6, 0.3, 0.7]])

    def g(t, u):
        return np.sin(mix @ u + t) + 0.3 * (mix.T @ u) ** 2 * np.cos(t)

    start = np.array([0.3, -0.2, 0.1])
    exact = integrate(get("exprk5s8"), linear, g, start, 1024)
    errors = [np.abs(integrate(tableau, linear, g, start, n) - exact).max() for n in (16, 32, 64, 128)]
    assert slopes(errors)[-1] == pytest.approx(tableau.order, abs=0.12)


# name: the range of the last slope on the nonlocal parabolic problem
STIFF_SLOPES = {
    "etd2rk": (1.75, 2.15),
    "ho2-weak": (1.85, 2.15),
    "ho3": (2.85, 3.15),
    "etd3rk": (2.0, 2.6),
    "etdrk4": (2.0, 2.7),
    "krogstad4": (2.9, 3.4),
    "strehmel-weiner4": (2.9, 3.4),
    "ho4": (3.8, 4.2),
    "exprk5s8": (4.7, 5.3),
    "lawson4": (0.9, 1.3),
}


@pytest.mark.parametrize("name", sorted(STIFF_SLOPES))
def test_stiff_orders_are_seen_on_a_parabolic_problem(name):
    """u_t = u_xx + int u dx + Phi, u = x(1-x) e^t, where g' does not respect the boundary: orders reduce to the stiff
    ones, by a fraction less. After Hochbruck, Ostermann 2005, section 6. Central differences are exact here."""
    tableau = get(name).substitute(c2="1/3") if get(name).parameters else get(name)
    points = 160
    k = np.arange(1, points + 1)
    x = k / (points + 1)
    sines = np.sqrt(2 / (points + 1)) * np.sin(np.pi * np.outer(k, x))
    linear = -4.0 * (points + 1) ** 2 * np.sin(np.pi * x / 2) ** 2
    width = 1 / (points + 1)
    shape = x * (1 - x)

    def g(t, u):
        growth = math.exp(t)
        return sines @ (width * (sines @ u).sum() + growth * (shape + 2 - width * shape.sum()))

    errors = [
        np.abs(sines @ integrate(tableau, linear, g, sines @ shape, n) - shape * math.e).max()
        for n in (8, 16, 32, 64, 128)
    ]
    low, high = STIFF_SLOPES[name]
    assert low < np.mean(slopes(errors)[-2:]) < high
    assert low - 0.1 < int(stiff_order(tableau, weak=True)) + 0.1 or name == "lawson4"


def test_stability_function_has_the_classical_order():
    for name in ("etd2rk", "etdrk4", "ho4", "exprk5s8"):
        tableau = get(name)
        errors = [abs(tableau.stability(-0.7 * t, 0.4j * t) - np.exp((-0.7 + 0.4j) * t)) for t in (0.4, 0.2)]
        assert slopes(errors)[0] > tableau.order + 0.7
        assert tableau.stability(-0.7, 0.0) == pytest.approx(math.exp(-0.7), rel=1e-15)


def one_step(tableau, g, u, start, h, sign):
    """A step of size h in log-SNR on u' = sign u + g(log-SNR, u), by the tableau."""
    c, A, b = tableau.coefficients(sign * h)
    values = []
    for i in range(tableau.stages):
        inner = math.exp(sign * c[i] * h) * u + h * sum(A[i][j] * values[j] for j in range(i))
        values.append(g(start + c[i] * h, inner))
    return math.exp(sign * h) * u + h * sum(w * value for w, value in zip(b, values, strict=True))


def test_the_published_updates_are_steps_of_the_tableaus():
    """DPM-Solver-3 in x/sigma and DPM-Solver++(2S) in x/alpha, the updates of spec/samplers.md on a VP process."""

    def scales(lam):
        return 1 / math.sqrt(1 + math.exp(-2 * lam)), 1 / math.sqrt(1 + math.exp(2 * lam))

    def noise(x, lam):
        return math.sin(2 * x) + 0.3 * lam

    def data(x, lam):
        return (x - scales(lam)[1] * noise(x, lam)) / scales(lam)[0]

    x, lam, h, r1, r2 = 0.7, -0.4, 0.9, 0.4, 0.8
    (a0, s0), (a1, s1), (a2, s2), (a, s) = (scales(lam + r * h) for r in (0, r1, r2, 1))

    e0 = noise(x, lam)
    e1 = noise(a1 / a0 * x - s1 * math.expm1(r1 * h) * e0, lam + r1 * h)
    phi2 = math.expm1(r2 * h) / (r2 * h) - 1  # r2 h phi_2(r2 h)
    u2 = a2 / a0 * x - s2 * math.expm1(r2 * h) * e0 - s2 * r2 / r1 * phi2 * (e1 - e0)
    e2 = noise(u2, lam + r2 * h)
    published = a / a0 * x - s * math.expm1(h) * e0 - s / r2 * (math.expm1(h) / h - 1) * (e2 - e0)
    solver = get("dpm-solver-3").substitute(r1="2/5", r2="4/5")
    ours = s * one_step(solver, lambda t, v: -noise(scales(t)[1] * v, t), x / s0, lam, h, 1)
    assert ours == pytest.approx(published, rel=1e-14)

    d0 = data(x, lam)
    d1 = data(s1 / s0 * x - a1 * math.expm1(-r1 * h) * d0, lam + r1 * h)
    published = s / s0 * x - a * math.expm1(-h) * ((1 - 1 / (2 * r1)) * d0 + d1 / (2 * r1))
    solver = get("dpmpp-2s").substitute(r1="2/5")
    ours = a * one_step(solver, lambda t, w: data(scales(t)[0] * w, t), x / a0, lam, h, -1)
    assert ours == pytest.approx(published, rel=1e-14)
    assert abs(a * one_step(solver, lambda t, w: data(scales(t)[0] * w, t), x / a0, lam, h, 1) - published) > 1e-3
