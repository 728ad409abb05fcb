"""Exact identities of gDDIM where coefficients are operators, and printed numbers of its weights."""

import functools
import math

import numpy as np
import pytest
import sympy
import torch

import odekit as ok
from odekit.fields.coordinates import Instant
from odekit.fields.matrix import MatrixCoordinates
from odekit.fields.weights import ratio, weights
from odekit.processes import CLD, PSLD, Blurring, LinearSDE

PROCESSES = {"cld": CLD(), "psld": PSLD(Gamma=0.5, nu=2.5), "blurring": Blurring(shape=(3,), blur=1.0)}
GRID = torch.tensor([0.8, 0.7, 0.62, 0.5, 0.43, 0.3], dtype=torch.float64)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def state(process):
    shape = (2, 2, 3) if process.carrier == "block" else (2, 3)
    return torch.linspace(-1, 2, math.prod(shape), dtype=torch.float64).reshape(shape)


@functools.cache
def forcing(name, kind, end):
    """int Psi(s, r) G G^T K_r^-T r^k/2 dr for k = 0 to 4 from the grid's start, by 60 Gauss points."""
    process, (points, masses) = PROCESSES[name], np.polynomial.legendre.leggauss(60)
    span = end - GRID[0].item()
    r = torch.from_numpy(GRID[0].item() + (points + 1) / 2 * span)
    values = process.transition(end + 0 * r, r) @ process.diffusion(r) @ process.factor(r, kind).inverse().transpose()
    return [(torch.from_numpy(masses * span / 4) * r**k * values) for k in range(5)]


def forced(name, kind, x, powers, end):
    """The solution at ``end`` with the noise p(t) = sum_k t^k powers_k."""
    found = PROCESSES[name].transition(end, GRID[0].item()).apply(x)
    for integrand, value in zip(forcing(name, kind, end), powers, strict=False):
        found = found + type(integrand)(integrand.value.sum(0)).apply(value)
    return found


class TestPolynomialsInTime:
    """Where the noise is a polynomial p(t), whatever x is, degree q is exact if and only if deg p <= q."""

    @pytest.mark.parametrize("name", PROCESSES)
    @pytest.mark.parametrize("factor", ["R", "L"])
    @pytest.mark.parametrize("method", ["gddim-1", "gddim-2", "gddim-3", "gddim-pece-2", "gddim-pec-2"])
    def test_exact_up_to_the_degree(self, name, factor, method):
        process, q = PROCESSES[name], int(method[-1])
        x = state(process)
        powers = [torch.sin(x + k) for k in range(q + 2)]
        # A pair corrects with the output it has predicted: p itself, since x does not matter.
        for degree in (q, q + 1):

            def model(u, t, kept=powers[: degree + 1]):
                return sum(float(t) ** k * value for k, value in enumerate(kept))

            flow = ok.ProbabilityFlow(process, model, f"{factor.lower()}-noise")
            made = ok.methods.get(method, factor=factor)
            path = torch.stack([forced(name, factor, x, powers[: degree + 1], t) for t in GRID.tolist()])
            found = ok.solve(flow, x, made, GRID, history=path[: made.history + 1])
            gap = (found - path[-1]).abs().max() / path[-1].abs().max()
            assert gap < 1e-12 if degree == q else gap > 1e-7


class TestSteps:
    @pytest.mark.parametrize("name", PROCESSES)
    def test_there_and_back_with_the_same_noise(self, name):
        """x_t -> x_s -> x_t, since R_t - Psi(t, s) R_s = -Psi(t, s) (R_s - Psi(s, t) R_t)."""
        process = PROCESSES[name]
        x, noise = state(process), torch.cos(state(process))
        f = MatrixCoordinates(ok.ProbabilityFlow(process, lambda u, t: noise, "r-noise"), "r-noise")
        ends = [Instant(scalar(0.7)), Instant(scalar(0.4))]
        moved = x
        for at, to in (ends, ends[::-1]):
            (weight,) = weights(f, to, at, (at,), "t")
            moved = ratio(f, to, at) * moved + weight * noise
        assert torch.allclose(moved, x, rtol=0, atol=1e-11)

    def test_q_zero_under_blurring_is_ddim_of_each_frequency(self):
        """y_s = (m_s/m_t) y_t + (s_s - (m_s/m_t) s_t) eps: DDIM with the mean's coefficient of the frequency."""
        process = PROCESSES["blurring"]
        y, noise = state(process), torch.cos(state(process))
        flow = ok.ProbabilityFlow(process, lambda u, t: noise, "r-noise")
        grid = torch.tensor([0.7, 0.4], dtype=torch.float64)
        m = process.mean(grid).value
        s = process.covariance(grid).value.sqrt()
        kept = m[1] / m[0]
        assert torch.allclose(ok.solve(flow, y, "gddim-0", grid), kept * y + (s[1] - kept * s[0]) * noise, rtol=1e-13)
        assert kept[-1] > 1.1 * kept[0] > 0  # the frequencies differ

    @pytest.mark.parametrize("method", ["gddim-0", "gddim-2", "gddim-pece-2"])
    def test_one_level_of_noise_has_one_frame(self, method):
        """Under blurring, and on one channel, L = R: both frames are closed, from t_max to the end in one step too."""
        t = sympy.Symbol("t")
        alone = LinearSDE(sympy.Matrix([[-2 * t]]), sympy.Matrix([[sympy.sqrt(4 * t)]]))
        for process in (Blurring(shape=(3, 4)), alone):
            flow = ok.ProbabilityFlow(process, lambda u, t: torch.cos(u), "r-noise")
            for steps in (1, 5):
                grid = ok.grid("time-quadratic", process, steps)
                assert ok.same(*(ok.plan(method, flow, grid, factor=factor) for factor in "RL"))
        several = ok.ProbabilityFlow(CLD(), lambda u, t: u, "r-noise")
        assert not ok.same(*(ok.plan(method, several, GRID, factor=factor) for factor in "RL"))

    @pytest.mark.parametrize("name", ["cld", "psld"])
    def test_the_flow_does_not_know_the_frame(self, name):
        """Fine grids in both frames end at one point, coarse ones do not."""
        process = PROCESSES[name]
        mixture = ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6])
        flow = ok.ProbabilityFlow(process, mixture, "r-noise")
        u = flow.model.marginals.sample(8, 0.5)

        def apart(steps):
            grid = ok.grid("time-uniform", (0.5, 0.2), steps)
            R, L = (ok.solve(flow, u, "gddim-4", grid, factor=k, start=None) for k in "RL")
            return (R - L).abs().max().item()

        assert apart(128) < 1e-6 < 1e-4 < apart(8)


class TestPrintedNumbers:
    def test_the_rectangle_rule_of_the_public_code(self):
        """C from t = 1 to 0.5 on CLD: 10,000 left end points are off by 0.087, where |C| = 205.

        The entries depend on the rotation that R_t leaves free: the printed one is that of R_0 diagonal, theta_0 = 0.
        """
        process = CLD(position_variance=1e-6)
        exact = (process.factor(0.5) - process.transition(0.5, 1.0) @ process.factor(1.0)).value
        r = torch.from_numpy(1 - np.arange(10_000) / 20_000)
        forcing = process.transition(0.5 + 0 * r, r) @ process.diffusion(r) @ process.factor(r).inverse().transpose()
        rectangle = -0.5 / 10_000 * forcing.value.sum(0) / 2
        assert (rectangle - exact).abs().max().item() == pytest.approx(0.087, abs=5e-4)
        turned = -process.rotation(0.0)
        c, s = math.cos(turned), math.sin(turned)
        diagonal_at_zero = exact @ torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        assert diagonal_at_zero.abs().max().item() == pytest.approx(205, abs=1)
        assert exact.abs().max() > 215
