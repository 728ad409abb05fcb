"""Values that the literature and the specification print, and the formulas of each process typed independently."""

import math

import mpmath
import pytest
from mpmath import mp

from odekit.processes import EDM, VE, VP, Cosine, DiscreteVP, RectifiedFlow, SubVP


def test_vp_ranges_of_the_specification():
    process = VP()
    assert process.logsnr(1.0) == pytest.approx(-5.024978, abs=5e-7)
    assert process.logsnr(1e-3) == pytest.approx(4.557715, abs=5e-7)
    assert process.kappa(1e-3) == pytest.approx(0.0104860, abs=5e-8)
    assert process.kappa(1.0) == pytest.approx(152.167, abs=5e-4)


def test_edm_form_of_vp():
    # Karras et al. 2022, table 1: sigma(t) = sqrt(exp(beta_d t^2/2 + beta_min t) - 1)
    for t in (1e-3, 0.1, 0.7, 1.0):
        assert VP().kappa(t) == pytest.approx(math.sqrt(math.expm1(19.9 * t * t / 2 + 0.1 * t)), rel=1e-14)


@pytest.mark.parametrize("t", [0.01, 0.3, 0.99])
def test_vp_and_subvp_as_song_et_al_print_them(t):
    beta, integral = 0.1 + 19.9 * t, 0.1 * t + 19.9 * t * t / 2
    vp, subvp = VP(), SubVP()
    assert vp.alpha(t) == pytest.approx(math.exp(-integral / 2), rel=1e-14)
    assert vp.sigma(t) == pytest.approx(math.sqrt(-math.expm1(-integral)), rel=1e-14)
    assert vp.drift(t) == subvp.drift(t) == pytest.approx(-beta / 2, rel=1e-14)
    assert vp.diffusion_squared(t) == pytest.approx(beta, rel=1e-14)
    assert subvp.sigma(t) == pytest.approx(-math.expm1(-integral), rel=1e-14)
    assert subvp.diffusion_squared(t) == pytest.approx(beta * -math.expm1(-2 * integral), rel=1e-14)


def test_cosine():
    process = Cosine()
    assert (process.t_min, process.t_max) == (1e-3, 0.9946)
    for t in (0.001, 0.25, 0.9946):
        u = (t + 0.008) / 1.008 * math.pi / 2
        assert process.alpha(t) == pytest.approx(math.cos(u) / math.cos(0.008 / 1.008 * math.pi / 2), rel=1e-13)
        assert process.alpha(t) ** 2 + process.sigma(t) ** 2 == pytest.approx(1.0, abs=4e-16)
        assert process.diffusion_squared(t) == pytest.approx(math.pi / 1.008 * math.tan(u), rel=1e-12)


def test_variance_exploding_and_flow():
    for process, low, high in ((EDM(), 0.002, 80.0), (VE(), 0.02, 100.0)):
        assert (process.t_min, process.t_max) == (low, high)
        assert (process.alpha(3.0), process.sigma(3.0), process.kappa(3.0)) == (1.0, 3.0, 3.0)
        assert (process.drift(3.0), process.diffusion_squared(3.0)) == (0.0, 6.0)
    flow = RectifiedFlow()
    assert (flow.t_min, flow.t_max, flow.alpha(0.25), flow.sigma(0.25)) == (0.0, 1.0, 0.75, 0.25)
    assert flow.logsnr(0.5) == 0.0


def linear_betas():
    return [1e-4 + i * (2e-2 - 1e-4) / 999 for i in range(1000)]


def cosine_betas():
    def f(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    return [min(1 - f((i + 1) / 1000) / f(i / 1000), 0.999) for i in range(1000)]


@pytest.mark.parametrize(
    ("betas", "values"),
    [
        (linear_betas(), {0: (0.9999, 5e-15), 901: (2.65e-4, 5e-7), 981: (5.79e-5, 5e-8), 999: (4.04e-5, 5e-8)}),
        (
            cosine_betas(),
            {0: (0.99996, 5e-6), 500: (0.4923, 5e-5), 981: (7.9e-4, 5e-6), 998: (2.43e-6, 5e-9), 999: (2.43e-9, 5e-12)},
        ),
    ],
    ids=["linear", "cosine"],
)
def test_pndm_schedules(betas, values):
    process = DiscreteVP(betas)
    for i, (value, rounding) in values.items():
        assert process.alpha((i + 1) / 1000) ** 2 == pytest.approx(value, abs=rounding)


def test_nodes_of_the_table_at_fifty_digits():
    betas = linear_betas()
    process = DiscreteVP(betas)
    with mp.workdps(50):
        product = mpmath.mpf(1)
        for i, beta in enumerate(betas):
            product *= 1 - mpmath.mpf(str(beta))
            if i % 111 == 0:
                assert abs(process.alpha(mpmath.mpf(i + 1) / 1000) ** 2 / product - 1) < mpmath.mpf(10) ** -46
                assert process.alpha((i + 1) / 1000) ** 2 == pytest.approx(float(product), rel=3e-15)
