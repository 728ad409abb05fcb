"""Float64 code against the same expressions at fifty digits: every quantity keeps its digits over the whole range."""

import mpmath
import pytest
import torch
from mpmath import mp

from odekit.processes import EDM, VE, VP, Cosine, DiscreteVP, IsotropicProcess, RectifiedFlow, SubVP

BETAS = [1e-4 + i * (2e-2 - 1e-4) / 999 for i in range(1000)]
PROCESSES = [VP(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(), DiscreteVP(BETAS), VP(beta_0=0.3, beta_1=0.3)]
QUANTITIES = (
    *("alpha", "sigma", "log_alpha", "log_sigma", "kappa", "alpha_over_sigma", "alpha_rate", "sigma_rate"),
    *("logsnr", "logsnr_rate", "drift", "diffusion_squared"),
)


def times(process):
    """Times over the whole range and beyond its lower end, dense towards both ends."""
    low = max(process.t_min, 1e-5)
    powers = [low * (process.t_max / low) ** (i / 40) for i in range(41)]
    top = [process.t_max - (process.t_max - low) * 10.0**-k for k in range(1, 9)]
    return sorted({t for t in [1e-5, *powers, *top] if process.domain[0] < t < process.domain[1]})


def worst_error(process, quantity, nodes):
    """Largest relative error of the float and the tensor code against fifty digits."""
    function = getattr(process, quantity)
    batch = function(torch.tensor(nodes, dtype=torch.float64)).tolist()
    worst = 0.0
    for t, vectorised in zip(nodes, batch, strict=True):
        with mp.workdps(50):
            exact = function(mpmath.mpf(t))
            # where log-SNR passes through zero there is no relative accuracy to be had
            scale = max(abs(exact), 1) if quantity == "logsnr" else abs(exact) or 1
            worst = max([worst] + [float(abs(value - exact) / scale) for value in (function(t), vectorised)])
    return worst


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_float_code_agrees_with_fifty_digits(process):
    errors = {quantity: worst_error(process, quantity, times(process)) for quantity in QUANTITIES}
    # exp(L) and the sums behind it allow |L| eps, at most 5 eps or so on these ranges; measured: 1.9e-15
    assert max(errors.values()) <= 3e-15, errors


def test_a_naive_printing_fails_where_ours_does_not():
    process = VP()
    naive = process.alpha(1e-5)
    with mp.workdps(50):
        exact = float(process.sigma(mpmath.mpf(1e-5)))
    assert abs((1 - naive**2) ** 0.5 / exact - 1) > 1e-12
    assert abs(process.sigma(1e-5) / exact - 1) < 3e-16


def test_the_check_notices_an_expression_that_cancels():
    class Careless(IsotropicProcess):
        t_min, t_max, domain = 1e-3, 1.0, (0.0, 1.0)

        @staticmethod
        def define(t):
            from sympy import cos

            return {"alpha": 1 - t / 2, "sigma": 1 - cos(t)}  # a cosine that no expm1 rescues

    assert worst_error(Careless(), "sigma", [1e-5, 1e-3]) > 1e-10


def parameter_values(process, t):
    return dict(zip(process.expressions.parameters.values(), process._values("t", *_number(t)), strict=True))


def _number(t):
    from odekit.processes.kinds import number

    return number(t)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("where", [1e-3, 0.3, 0.77, 0.999])
def test_everything_follows_from_alpha_and_sigma(process, where):
    """Derived quantities against textbook formulas, with numerical derivatives at sixty digits of what was defined."""
    t = process.t_min + where * (process.t_max - process.t_min)
    if isinstance(process, DiscreteVP):
        t = (int(t * 1000) + 0.4) / 1000  # away from the kinks, and from cells that a step would leave
    with mp.workdps(60):
        t = mpmath.mpf(t)
        alpha, sigma = process.alpha(t), process.sigma(t)
        step = {"h": mpmath.mpf(10) ** -25}
        alpha_rate, sigma_rate = mpmath.diff(process.alpha, t, **step), mpmath.diff(process.sigma, t, **step)
        expected = {
            "log_alpha": mpmath.log(alpha),
            "log_sigma": mpmath.log(sigma),
            "logsnr": mpmath.log(alpha / sigma),
            "kappa": sigma / alpha,
            "alpha_over_sigma": alpha / sigma,
            "alpha_rate": alpha_rate,
            "sigma_rate": sigma_rate,
            "drift": alpha_rate / alpha,
            "diffusion_squared": 2 * sigma * sigma_rate - 2 * alpha_rate / alpha * sigma**2,
            "logsnr_rate": alpha_rate / alpha - sigma_rate / sigma,
        }
        for quantity, value in expected.items():
            error = abs(getattr(process, quantity)(t) - value)
            assert error <= mpmath.mpf(10) ** -18 * max(abs(value), mpmath.mpf(10) ** -6), (quantity, float(error))


@pytest.mark.parametrize("process", [p for p in PROCESSES if not isinstance(p, DiscreteVP)], ids=repr)
def test_stable_rewritings_equal_the_definition(process):
    """What code is printed from equals what the paper defines, at fifty digits."""
    import sympy

    definition = process.expressions.definition
    for name, expression in definition.items():
        for t in ("1/1000", "1/3", "99/100"):
            values = {process.t: sympy.Rational(t), **parameter_values(process, mpmath.mpf(1) / 2)}
            with mp.workdps(50):
                paper = expression.subs({k: sympy.Rational(str(v)) if v else 0 for k, v in values.items()})
                ours = getattr(process, name)(mpmath.mpf(sympy.Rational(t).p) / sympy.Rational(t).q)
                assert abs(mpmath.mpf(str(sympy.N(paper, 55))) - ours) <= mpmath.mpf(10) ** -47
