"""Stability regions against known intervals and against the solvers that run; pictures that show what they should."""

import cmath
import math

import numpy as np
import pytest

import odekit as ok
from analysis.stability import draw_stability, largest_root, stability
from odekit.algebra import multistep, stability_function
from odekit.algebra.compositions import get as splitting
from odekit.algebra.exponential_methods import get as exponential
from odekit.exceptions import OdekitError

FORMULAS = {
    **{f"ab-{k}": multistep.adams_bashforth(k) for k in range(1, 6)},
    **{f"bdf-{k}": multistep.bdf(k) for k in range(1, 7)},
}


def ends_at(region, point, by=1e-6):
    """Whether the region's boundary crosses the ray to a point there."""
    inside, outside = region.contains([point * (1 - by), point * (1 + by)])
    return bool(inside and not outside)


# Runge-Kutta.


@pytest.mark.parametrize(
    "name, real, imaginary",
    [("rk4", 2.7852935634, 2 * math.sqrt(2)), ("kutta3", 2.5127453266, math.sqrt(3)), ("heun2", 2, None)],
)
def test_intervals_of_explicit_methods(name, real, imaginary):
    region = stability(name)
    assert ends_at(region, -real)
    assert imaginary is None or ends_at(region, 1j * imaginary)
    left, right, bottom, top = region.box
    assert left < -real < 0 < right and bottom == -top


@pytest.mark.parametrize("name", ["gauss-2", "radau-iia-3", "sdirk3", "trapezoidal"])
def test_a_stable_methods_hold_the_left_half_plane(name):
    generator = np.random.default_rng(0)
    points = -(10 ** generator.uniform(-3, 3, 500)) + 1j * generator.normal(0, 100, 500)
    assert stability(name).contains(points).all()


def test_radau_is_stable_again_far_out_on_the_positive_axis():
    region = stability("radau-iia-3")
    edge = stability_function("radau-iia-3").positive_axis
    assert edge == pytest.approx(11.84, abs=0.005)
    assert region.contains([edge * 1.001]).all() and not region.contains([edge * 0.999]).any()
    assert region.box[1] > edge


@pytest.mark.parametrize("name, order", [("euler", 1), ("rk4", 4), ("dp5", 5), ("gauss-2", 4), ("radau-iia-3", 5)])
def test_order_stars_have_two_sectors_for_each_power_of_the_error(name, order):
    """Near the origin |R/e^z| - 1 = -Re(C z^(p+1)): p + 1 dark sectors and as many white ones (Wanner 1978)."""
    around = 0.05 * np.exp(2j * np.pi * (np.arange(4000) + 0.5) / 4000)
    dark = stability(name, star=True).growth(around) > 1
    assert np.count_nonzero(dark != np.roll(dark, 1)) == 2 * (order + 1)


# Multistep.

AB = {1: 2, 2: 1, 3: 6 / 11, 4: 3 / 10, 5: 90 / 551}


@pytest.mark.parametrize("k", sorted(AB))
def test_intervals_of_adams_bashforth(k):
    assert ends_at(stability(FORMULAS[f"ab-{k}"]), -AB[k], 1e-5)


@pytest.mark.parametrize("k, alpha", [(3, 86.0324), (4, 73.3517), (5, 51.8398), (6, 17.8398)])
def test_sectors_of_bdf(k, alpha):
    region, lengths = stability(FORMULAS[f"bdf-{k}"]), np.geomspace(1e-2, 30, 3000)
    inside, outside = (-lengths * np.exp(1j * np.radians(alpha + off)) for off in (-0.02, 0.02))
    assert region.contains(inside).all() and not region.contains(outside).all()


def test_a_root_lies_on_the_unit_circle_all_along_the_locus():
    for name in ("ab-3", "bdf-4"):
        region = stability(FORMULAS[name])
        roots = region.growth(region.locus[np.isfinite(region.locus)])
        assert (roots > 1 - 1e-9).all()


@pytest.mark.parametrize("name", ["ab-3", "abm-4"])
def test_the_largest_root_is_what_the_running_method_grows_by(name):
    """An independent route: solve y' = lambda y with many steps and look at the last ones."""
    import torch

    h, z, steps = 0.1, -0.45, 400
    field = ok.VectorField(lambda x, t: (z / h) * x)
    grid = ok.grid("time-uniform", (0.0, h * steps), steps)
    path = ok.solve(field, torch.ones(1, 1, dtype=torch.float64), name, grid, full=True).trajectory.flatten()
    grown = abs(float(path[-1] / path[-11])) ** 0.1
    assert grown == pytest.approx(float(stability(name).growth([z])[0]), rel=1e-6)


def test_the_largest_root_is_what_an_exponential_recursion_grows_by():
    z, w, old, now = -1.0, 0.3, 1.0, 1.0
    _, weights = exponential("dpmpp-2m-heun").coefficients(z, r1=1.0)  # exponential Adams-Bashforth of two steps
    for _ in range(400):
        old, now = now, math.exp(z) * now + w * (weights[0] * now + weights[1] * old)
    grown = stability("exponential-ab-2").growth([w], "z = \u22121")[0]
    assert now / old == pytest.approx(float(grown), rel=1e-9)


def test_largest_roots_of_known_polynomials():
    roots = np.array([[0.5, -0.25, 0.1], [2.0, 1j, -1j], [1.0, 1.0, 0.0]])
    coefficients = np.array([-np.poly(r)[1:] for r in roots])
    assert largest_root(coefficients) == pytest.approx([0.5, 2.0, 1.0], rel=1e-7)


# Exponential.


@pytest.mark.parametrize("name", ["etdrk4", "krogstad4", "lawson4", "exprk5s8"])
def test_exponential_growth_is_that_of_the_tableau(name):
    region, method = stability(name), exponential(name)
    for z in (0.0, -3.0):
        for w in (0.4, -1.2 + 0.7j):
            label = f"z = {z:g}".replace("-", "\u2212")
            assert region.growth([w], label)[0] == pytest.approx(abs(method.stability(z, w)), rel=1e-12)


def test_the_linear_part_alone_is_solved_exactly():
    for name in ("krogstad4", "dpmpp-2m", "exponential-ab-3"):
        region = stability(name)
        for label in region.growths:
            z = float(label.removeprefix("z = ").replace("\u2212", "-"))
            assert region.growth([0], label)[0] == pytest.approx(math.exp(z), rel=1e-12)


def test_at_z_zero_the_classical_region_is_left():
    w = np.array([-2.0, 1j, -1 + 2j, 0.3])
    assert stability("krogstad4").growth(w) == pytest.approx(stability("rk4").growth(w), rel=1e-13)


# Splitting.


def test_intervals_of_splittings_on_the_oscillator():
    assert stability("strang").limit == 2.0
    assert stability("triple-jump-4").limit == pytest.approx(1.573, abs=1e-3)
    assert stability(splitting("strang").adjoint()).limit == 2.0
    assert stability("trotter").limit == 2.0  # conjugate to Stoermer-Verlet


@pytest.mark.parametrize("name", ["strang", "mclachlan-4", "suzuki-4"])
def test_half_the_trace_is_what_eigenvalues_of_a_step_say(name):
    h, given = 0.8, splitting(name).as_flows()
    step = np.eye(2)
    for letter, a in given.flat():
        drift, kick = np.array([[1, float(a) * h], [0, 1]]), np.array([[1, 0], [-float(a) * h, 1]])
        step = (drift if letter == given.parts[0] else kick) @ step
    eigenvalues = np.linalg.eigvals(step)
    assert sum(eigenvalues).real / 2 == pytest.approx(float(stability(name).half_trace(h)), rel=1e-12)
    assert abs(eigenvalues) == pytest.approx([1, 1], rel=1e-12)
    assert cmath.phase(max(eigenvalues, key=lambda x: x.imag)) == pytest.approx(h, abs=0.05)


# What has none, and the pictures.


@pytest.mark.parametrize(
    "method, options, named",
    [
        ("sra1", {}, "no stability region for StochasticTable"),
        (exponential("ho2"), {}, "needs numbers for c2"),
        ("bdf-2", {"star": True}, "an order star is drawn for a Runge-Kutta method"),
        ("krogstad5", {}, "unknown method 'krogstad5'; did you mean 'krogstad4'"),
    ],
    ids=["stochastic", "parameters", "star", "name"],
)
def test_what_has_no_region_is_refused_in_one_line(method, options, named):
    with pytest.raises(OdekitError, match=named):
        stability(method, **options)


@pytest.mark.parametrize("name", ["rk4", "ab-4", "krogstad4", "dpmpp-2m", "bdf-4"])
def test_the_box_shows_the_whole_boundary(name):
    """Along the frame of the picture a bounded region is not met; an unbounded one is on the left."""
    region = stability(name)
    left, right, bottom, top = region.box
    frame = np.concatenate([np.linspace(left, right, 200) + 1j * top, right + 1j * np.linspace(bottom, top, 200)])
    label = list(region.growths)[-1]
    assert not (region.growth(frame, label) <= 1).any() or name.startswith("bdf")
    x, y, growth = region.raster(60, label)
    assert growth.shape == (60, 60) and 0.05 < (growth <= 1).mean() < 0.95


def test_figures_have_equal_axes_and_the_same_bytes_every_time(tmp_path):
    axes = stability("rk4").plot()
    assert axes.get_aspect() == 1 and axes.get_xlabel() == "Re z" and axes.get_ylabel() == "Im z"
    first = draw_stability(["rk4", "strang"], tmp_path / "a")
    again = draw_stability(["rk4", "strang"], tmp_path / "b")
    assert [p.name for p in first[::3]] == ["stability-rk4.png", "order-star-rk4.png", "stability-strang.png"]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, again, strict=True))
