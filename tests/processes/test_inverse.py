"""Times from noise levels: round trips, ends, extremes, gradients, and Newton against the closed forms."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from odekit.exceptions import TimeRangeError
from odekit.processes import EDM, VE, VP, Cosine, DiscreteVP, IsotropicProcess, RectifiedFlow, SubVP
from odekit.processes.inverse import by_newton, reached
from odekit.processes.kinds import number

DISCRETE = DiscreteVP([1e-4 + i * (2e-2 - 1e-4) / 999 for i in range(1000)])
PROCESSES = [VP(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(), DISCRETE, VP(beta_0=2, beta_1=0.5), VP(beta_1=0.1)]
LEVELS = ("logsnr", "kappa", "alpha_over_sigma")


class Gompertz(IsotropicProcess):
    """No closed inverse: alpha = exp(-t^2), sigma = tanh(t)."""

    name, t_min, t_max = "gompertz", 1e-3, 3.0

    @staticmethod
    def define(t):
        from sympy import exp, tanh

        return {"alpha": exp(-(t**2)), "sigma": tanh(t)}


class Warped(IsotropicProcess):
    """No closed inverse, on a bounded domain: alpha = cos(pi t/2), sigma = t^2."""

    name, domain, t_min, t_max = "warped", (0.0, 1.0), 1e-3, 0.999

    @staticmethod
    def define(t):
        from sympy import cos, pi

        return {"alpha": cos(pi * t / 2), "sigma": t**2}


def round_trip(process, level, t):
    return getattr(process, "time_at_" + level)(getattr(process, level)(t))


@pytest.mark.parametrize("process", [*PROCESSES, Gompertz(), Warped()], ids=repr)
@settings(deadline=None, max_examples=40)
@given(where=st.floats(0, 1), level=st.sampled_from(LEVELS))
def test_round_trip(process, where, level):
    # dt/t = d(logsnr) near t = 0, where logsnr is large: float64 itself allows |logsnr| eps, 1e-14 down to t = 1e-12
    low = max(process.t_min, 1e-12 * process.t_max)
    for t in (low * (process.t_max / low) ** where, process.t_min + where * (process.t_max - process.t_min)):
        t = min(max(t, low), process.t_max)
        assert abs(round_trip(process, level, t) - t) <= 1e-14 * t


@pytest.mark.parametrize("process", [*PROCESSES, Gompertz(), Warped()], ids=repr)
@pytest.mark.parametrize("level", LEVELS)
def test_round_trip_at_both_ends_in_every_kind(process, level):
    ends = [process.t_min, process.t_max]
    for t in ends:
        assert abs(round_trip(process, level, t) - t) <= 1e-14 * t
        with mp.workdps(50):
            exact = mpmath.mpf(t)
            assert abs(round_trip(process, level, exact) - exact) <= mpmath.mpf(10) ** -48 * exact
    ends = torch.tensor(ends, dtype=torch.float64)
    assert bool(((round_trip(process, level, ends) - ends).abs() <= 1e-14 * ends).all())


def test_a_wrong_inverse_is_noticed():
    class Wrong(EDM):
        @staticmethod
        def inverse(kappa):
            return kappa * (1 + kappa / 10**9)

    assert abs(round_trip(Wrong(), "logsnr", 3.0) - 3.0) > 1e-14 * 3.0


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("level", LEVELS)
def test_newton_agrees_with_the_closed_form(process, level):
    """The iteration that user-defined processes get, on processes whose answer is known."""
    low, high = max(process.t_min, 1e-6), min(process.t_max, process.domain[1] * (1 - 1e-9))
    times = torch.logspace(math.log10(low), math.log10(high), 50, dtype=torch.float64)
    levels = getattr(process, level)(times)
    solved = by_newton(process, level, *number(levels))
    assert bool(((solved - times).abs() <= 1e-14 * times).all())
    for t in times[::10].tolist():
        with mp.workdps(40):
            exact = mpmath.mpf(t)
            found = by_newton(process, level, *number(getattr(process, level)(exact)))
            assert abs(found - exact) <= mpmath.mpf(10) ** -37 * exact


@pytest.mark.parametrize("process", [*PROCESSES, Gompertz(), Warped()], ids=repr)
def test_infinite_levels_are_the_ends_of_the_domain(process):
    low, high = process.domain
    reaches_high = reached(process, "kappa")[1] == math.inf
    cases = {("logsnr", math.inf): low, ("kappa", 0.0): low, ("alpha_over_sigma", math.inf): low}
    if reaches_high:
        cases |= {("logsnr", -math.inf): high, ("kappa", math.inf): high, ("alpha_over_sigma", 0.0): high}
    for (level, value), end in cases.items():
        inverse = getattr(process, "time_at_" + level)
        ordinary = getattr(process, level)(process.t_max)
        assert inverse(value) == end
        assert inverse(mpmath.mpf(value)) == end
        mixed = inverse(torch.tensor([value, ordinary], dtype=torch.float64))
        assert mixed.tolist() == pytest.approx([end, process.t_max], rel=1e-13)
    if not reaches_high:
        with pytest.raises(TimeRangeError, match="never has kappa = inf"):
            process.time_at_kappa(math.inf)


@pytest.mark.parametrize("level", [1000.0, 1e5, -400.0, -1000.0, -1e5])
def test_no_overflow_at_extreme_levels(level):
    vp = VP()
    t = vp.time_at_logsnr(level)
    with mp.workdps(40):
        assert t == pytest.approx(float(vp.time_at_logsnr(mpmath.mpf(level))), rel=1e-14)
    for process in (SubVP(), Cosine(), EDM(), RectifiedFlow(), Gompertz(), Warped()):
        found = process.time_at_logsnr(torch.tensor([level, 0.0], dtype=torch.float64))
        assert not bool(found.isnan().any())
        assert process.domain[0] <= found[0] <= process.domain[1]
    assert SubVP().time_at_logsnr(-1000.0) == pytest.approx(vp.time_at_logsnr(-1000.0), rel=1e-12)


@pytest.mark.parametrize("process", [*PROCESSES, Gompertz(), Warped()], ids=repr)
@pytest.mark.parametrize("level", LEVELS)
def test_gradients_through_inverses(process, level):
    t = torch.tensor([0.1104, 0.3504, 0.7004], dtype=torch.float64) * process.t_max  # off the table's kinks
    x = getattr(process, level)(t).detach().requires_grad_()
    inverse = getattr(process, "time_at_" + level)
    assert torch.autograd.gradcheck(inverse, x, eps=1e-6 * float(x.detach().abs().min()), rtol=1e-4, atol=1e-9)
    (slope,) = torch.autograd.grad(inverse(x).sum(), x)
    rate = {"logsnr": 1.0, "kappa": -process.kappa(t), "alpha_over_sigma": process.alpha_over_sigma(t)}[level]
    assert slope == pytest.approx(1 / (process.logsnr_rate(t) * rate), rel=1e-12)


@pytest.mark.parametrize("process", [VP(), Gompertz(), Warped()], ids=repr)
def test_second_derivatives_of_inverses(process):
    """Newton's two steps with a graph carry the curvature of the implicit function: t'' = -l''/l'^3."""
    t = torch.tensor([0.2, 0.6], dtype=torch.float64, requires_grad=True)
    (curvature,) = torch.autograd.grad(process.logsnr_rate(t).sum(), t)
    x = process.logsnr(t.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(process.time_at_logsnr(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), x)
    assert second.tolist() == pytest.approx((-curvature / process.logsnr_rate(t) ** 3).tolist(), rel=1e-10)


def test_gradients_stay_finite_next_to_an_end():
    x = torch.tensor([0.0, 0.5], dtype=torch.float64, requires_grad=True)
    for process in (VP(), EDM(), RectifiedFlow(), Cosine(), SubVP()):
        (slope,) = torch.autograd.grad(process.time_at_kappa(x).sum(), x)
        assert bool(slope.isfinite().all())
    x = torch.tensor([math.inf, 0.5, -math.inf], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Warped().time_at_logsnr(x).sum(), x)
    assert slope[0] == slope[2] == 0.0 and slope[1] < 0


@pytest.mark.parametrize("bad", [-1.0, math.nan, mpmath.mpf(-2)])
def test_levels_that_no_process_has_are_refused(bad):
    for process in (VP(), DISCRETE, Gompertz()):
        with pytest.raises(TimeRangeError, match="never has kappa"):
            process.time_at_kappa(bad)
    with pytest.raises(TimeRangeError, match="never has logsnr = -7.0"):
        DISCRETE.time_at_logsnr(torch.tensor([0.0, -7.0], dtype=torch.float64))
