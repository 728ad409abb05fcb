"""Weak errors of samplers with noise, exact for Gaussian data: the table in print, claims, wrong methods refused."""

import functools
import math

import pytest
import torch

import odekit as ok
from analysis.order import estimate_order
from analysis.weak import distance, law, pushed, weak_order
from odekit import methods
from odekit.exceptions import OdekitError
from odekit.methods import stochastic_splitting
from odekit.methods.stochastic_splitting import StochasticSplitting

DATA = ok.Gaussian([0.7], [[0.25]])
UNEVEN = torch.tensor([0.9, 0.62, 0.51, 0.33, 0.2, 0.16], dtype=torch.float64)


def sde_of(process, eta=1.0):
    return ok.ReverseSDE(process, DATA, eta=eta, prediction="score")


# ------------------------------------------------------------ time-varying beta


def test_a_varying_rate_is_a_change_of_time():
    """beta(t) = 8 (1/2 + t), b = int beta/8: what the noise adds in a step is what PSLD's adds between the b(t)."""
    import sympy

    t, half = sympy.Symbol("t"), sympy.Rational(1, 2)
    rate = 8 * (half + t)
    F, D = sympy.Matrix([[-half, 1], [-1, -5 * half]]) / 2, sympy.diag(half, 5 * half)  # M = 1
    varying = ok.LinearSDE(rate * F, (rate * D).applyfunc(sympy.sqrt), initial=(0, sympy.Rational(1, 25)))
    pairs = (varying, UNEVEN), (ok.PSLD(Gamma=0.5, nu=2.5), UNEVEN / 2 + UNEVEN**2 / 2)
    first, second = (ok.plan("rbao", sde_of(process), grid).segments[0].outputs[:, 0, -1] for process, grid in pairs)
    torch.testing.assert_close(first, second, rtol=1e-13, atol=1e-15)
    for name, order in (("robab", 1), ("sscs-midpoint", 2)):
        sde = sde_of(varying)
        errors = [weak_error(methods.get(name), sde, n, end=0.1) for n in (64, 128)]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


# ------------------------------------------------------------ weak errors in print

PROBLEMS = {  # parameters, end, power of the grid
    "W1": ({"momentum_variance": 1.0}, 0.02, 1),
    "W2": ({"momentum_variance": 1.0, "Gamma": 0.5, "nu": 2.5}, 0.02, 1),
    "W3": ({}, 1e-3, 2),
}
ROWS = {  # method and options: errors of W1 and W2 at 64 steps and of W3 at 50
    ("euler-maruyama", ()): (1.11e-1, 1.29e-1, 1.96e-2),
    ("noba", ()): (9.61e-2, 3.98e-2, 6.25e-2),
    ("roba", ()): (9.69e-2, 4.15e-2, 6.29e-2),
    ("roba", (("corrected", True),)): (1.34e-1, 9.62e-2, 7.49e-2),
    ("nbao", ()): (9.73e-2, 2.86e-2, 5.47e-2),
    ("rbao", ()): (9.81e-2, 2.33e-2, 5.51e-2),
    ("nobab", ()): (3.42e-2, 2.72e-2, 1.10e-2),
    ("robab", ()): (1.36e-2, 1.74e-2, 1.70e-2),
    ("robab", (("corrected", False),)): (3.39e-2, 2.70e-2, 1.12e-2),
    ("robabo", ()): (1.23e-2, 1.07e-2, 9.46e-3),
    ("baoab", (("naive", True),)): (2.38e-2, 3.12e-2, 8.02e-3),
    ("baoab", ()): (1.49e-2, 1.51e-2, 1.08e-2),
    ("sscs", ()): (2.56e-2, 3.29e-2, 1.19e-2),
    ("sscs", (("centred", True),)): (2.01e-2, 1.76e-2, 1.94e-2),
    ("sscs-midpoint", ()): (1.36e-3, 2.39e-3, 2.09e-3),
}


@functools.cache
def problem(which, eta=1.0):
    parameters, end, power = PROBLEMS[which]
    return sde_of(ok.PSLD(**parameters), eta), end, power


def weak_error(method, sde, steps, end=0.02, power=1):
    share = 1 - torch.arange(steps + 1, dtype=torch.float64) / steps
    plan = ok.plan(method, sde, end + (1 - end) * share**power)
    return distance(pushed(plan, sde.model, (2, 1), law(sde, 1.0)), law(sde, end))


@pytest.mark.parametrize("key", ROWS, ids=lambda key: "-".join([key[0], *(f"{k}={v}" for k, v in key[1])]))
def test_weak_errors_are_those_in_print(key):
    method = methods.get(key[0], **dict(key[1]))
    for which, printed in zip(PROBLEMS, ROWS[key], strict=True):
        sde, end, power = problem(which)
        assert f"{weak_error(method, sde, 50 if which == 'W3' else 64, end, power):.2e}" == f"{printed:.2e}"


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.5])
def test_every_eta_is_of_weak_order_one(eta):
    sde, end, _ = problem("W2", eta)
    errors = [weak_error(methods.get("roba"), sde, n, end) for n in (64, 128)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["roba", "robab", "sscs", "sscs-midpoint", "euler-maruyama"])
def test_claimed_weak_orders_hold(name):
    study = weak_order(name)
    assert study.verdict == "pass" and study.row["claimed_order"] == (2 if name == "sscs-midpoint" else 1)
    assert study.row["nfe"] == [n * methods.get(name).evaluations for n in study.row["steps"]]


# ------------------------------------------------------------ negative controls


def test_a_wrong_noise_is_of_weak_order_zero(monkeypatch):
    draw = stochastic_splitting.draw
    monkeypatch.setattr(stochastic_splitting, "draw", lambda *given: 1.05 * draw(*given))
    study = weak_order("robabo", steps=(32, 45, 64, 91, 128))
    assert study.verdict == "fail" and abs(study.slope) < 0.5


@pytest.mark.parametrize("name", ["robabo", "baoab", "sscs"])
def test_symmetric_words_of_euler_steps_are_refused_order_two(name):
    assert weak_order(name, claim=2, steps=(23, 32, 45, 64, 91)).verdict == "fail"


def test_a_score_asked_at_the_wrong_time_costs_the_midpoint_its_order():
    wrong = StochasticSplitting("wrong", "LSL", (0,), "", order=2, inner="midpoint")
    steps = (32, 45, 64, 91, 128)
    sde, end, _ = problem("W2")
    errors = [weak_error(wrong, sde, n, end) for n in steps]
    assert estimate_order([1 / n for n in steps], errors, 2).verdict == "fail"


def test_data_that_are_not_gaussian_are_refused():
    with pytest.raises(OdekitError, match="one Gaussian"):
        weak_order("roba", ok.ReverseSDE(ok.PSLD(), ok.targets.bimodal(), prediction="score"))
