"""Blurring against SciPy's transform, the published constants, fifty digits and its own differential equation."""

import math
import pickle

import mpmath
import numpy as np
import pytest
import scipy.fft
import torch

import odekit as ok
from odekit.exceptions import OdekitError

SIGNALS = {"1-d": (7,), "2-d": (4, 6), "channels": (3, 5, 4), "odd": (1,)}
WIDE = ok.Blurring(shape=(4, 6))


def close(a, b, tolerance):
    gap = (torch.as_tensor(a) - torch.as_tensor(b)).abs().max().item()
    assert gap <= tolerance, gap


@pytest.mark.parametrize("shape", SIGNALS.values(), ids=SIGNALS)
def test_the_basis_is_scipys_orthonormal_dct(shape):
    process = ok.Blurring(shape=shape)
    x = torch.randn(2, *shape, dtype=torch.float64)
    axes = (-1,) if len(shape) == 1 else (-2, -1)
    close(process.embed(x), scipy.fft.dctn(x.numpy(), axes=axes, norm="ortho"), 1e-14)
    close(process.project(process.embed(x)), x, 1e-14)


def test_published_constants():
    """alpha^2 at both ends, and the end T where BDM's rho reaches 80 (printed .99598, alpha^2 there 1.56e-4)."""
    flat = ok.Blurring(shape=(1,), blur=0)
    assert [f"{flat.mean(t).value.item() ** 2:.5f}" for t in (0.0, 1.0)] == ["0.99996", "0.00004"]
    assert f"{flat.mean(1.0).value.item() ** 2:.1e}" == "3.9e-05"
    end = flat.t_max
    squared, start = flat.mean(end).value.item() ** 2, flat.mean(0.0).value.item() ** 2
    assert f"{squared:.2e}" == "1.56e-04"
    rho = math.sqrt(start * (1 - squared) / squared) - math.sqrt(1 - start)
    assert rho == pytest.approx(80, rel=1e-3)


def test_coefficients_are_the_formulas():
    """m_t and s_t entry by entry, from the paper's formula, for the frequencies of a 4 x 6 image."""
    t = 0.37
    u, tau = math.pi / 2 * (t + 0.004) / 1.008, (10 * math.sin(math.pi * t / 2) ** 2) ** 2 / 2
    mean, sigma = WIDE.mean(t).value.reshape(4, 6), WIDE.factor(t).value.reshape(4, 6)
    for i in range(4):
        for j in range(6):
            heat = ((math.pi * i / 4) ** 2 + (math.pi * j / 6) ** 2) * tau
            assert mean[i, j].item() == pytest.approx(math.cos(u) * (0.001 + 0.999 * math.exp(-heat)), rel=1e-13)
            assert sigma[i, j].item() == pytest.approx(math.sin(u), rel=1e-14)


@pytest.mark.parametrize("t", ["0.001", "0.2", "0.9"])
def test_rates_are_derivatives(t):
    """F = (ln m)', (s^2)' = 2 F s^2 + G^2, R' = (F + G^2/(2 s^2)) R: by differences of forty digits."""
    with mpmath.workdps(40):
        t = mpmath.mpf(t)
        F, D = WIDE.drift(t).value, WIDE.diffusion(t).value
        for k in (0, 1, 7, 23):
            rate = mpmath.diff(lambda s, k=k: mpmath.log(WIDE.mean(s).value[k]), t)
            assert abs(F[k] - rate) < 1e-15 * (1 + abs(rate))
            s2, r = WIDE.covariance(t).value[k], WIDE.factor(t).value[k]
            slope = mpmath.diff(lambda s, k=k: WIDE.covariance(s).value[k], t)
            assert abs(slope - (2 * F[k] * s2 + D[k])) < 1e-15
            assert abs(mpmath.diff(lambda s, k=k: WIDE.factor(s).value[k], t) - (F[k] + D[k] / s2 / 2) * r) < 1e-15
    ours = WIDE.drift(float(t)).value, WIDE.diffusion(float(t)).value
    for mine, exact in zip(ours, (F, D), strict=True):
        exact = torch.tensor(exact.astype(float))
        assert ((mine - exact).abs() <= 1e-13 * exact.abs() + 1e-15).all()
    assert (ours[1] >= 0).all()


def test_covariance_given_the_start_keeps_its_digits():
    for t in (1e-12, 1e-6, 1e-3, 0.5):
        ours = WIDE.covariance(t, initial=False).value
        with mpmath.workdps(60):
            m, s2 = WIDE.mean(mpmath.mpf(t)).value, WIDE.covariance(mpmath.mpf(t)).value
            m0, s0 = WIDE.mean(mpmath.mpf(0)).value, WIDE.covariance(mpmath.mpf(0)).value
            exact = s2 - (m / m0) ** 2 * s0
        assert all(abs(mine - e) <= 1e-14 * e for mine, e in zip(ours.tolist(), exact, strict=True))


def test_operators():
    t = torch.tensor([0.1, 0.5, 0.99], dtype=torch.float64)
    close(WIDE.factor(t, "L").value, WIDE.factor(t, "R").value, 0.0)
    close(WIDE.mean(t)[1].value, WIDE.mean(0.5).value, 0.0)
    there = WIDE.transition(0.9, 0.4) @ WIDE.transition(0.4, 0.1)
    close(there.value, WIDE.transition(0.9, 0.1).value, 1e-15)
    close((WIDE.transition(0.2, 0.9) @ WIDE.transition(0.9, 0.2)).value, torch.ones(24), 1e-14)
    x = torch.randn(3, 4, 6)
    assert WIDE.mean(t).apply(x).dtype == torch.float32
    assert np.array(WIDE.mean(mpmath.mpf("0.5")).value).dtype == object
    assert WIDE.carrier == "diagonal" and pickle.loads(pickle.dumps(WIDE)) == WIDE


REFUSED = {
    "no shape": (lambda: ok.Blurring(), "Blurring needs a value for shape"),
    "four axes": (lambda: ok.Blurring(shape=(1, 2, 3, 4)), r"is no signal; expected positive \(n,\)"),
    "a number": (lambda: ok.Blurring(shape=4), "shape = 4 is no signal"),
    "empty": (lambda: ok.Blurring(shape=(0,)), r"shape = \(0,\) is no signal"),
    "negative blur": (lambda: ok.Blurring(shape=(4,), blur=-1), "expected blur >= 0"),
    "floor": (lambda: ok.Blurring(shape=(4,), floor=0), "floor = 0 must be positive"),
    "late": (lambda: WIDE.mean(1.5), r"t = 1.5 is outside the range of Blurring, \[0, 1\]"),
    "another signal": (lambda: WIDE.embed(torch.zeros(2, 6, 4)), r"are \(batch, 4, 6\), got shape \(2, 6, 4\)"),
    "a block": (lambda: WIDE.mean(0.5) @ ok.PSLD().mean(0.5), "Diagonal does not mix with Block"),
    "a block on a signal": (lambda: ok.PSLD().mean(0.5).apply(torch.zeros(2, 4, 6)), r"acts on states \(B, 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, words = REFUSED[name]
    with pytest.raises(OdekitError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
