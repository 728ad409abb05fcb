"""Runge-Kutta methods in the frame of the linear flow: orders on operators, planned, traced and eager alike."""

import math

import numpy as np
import pytest
import torch

import odekit as ok
from odekit.exceptions import OdekitError, PredictionError, UnknownNameError
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.lawson import Lawson
from odekit.processes import CLD, PSLD, Blurring

PROCESSES = {"cld": CLD(), "psld": PSLD(), "blurring": Blurring(shape=(2,), blur=1.0), "vp": ok.VP()}
BLURRED_AND_PHASE = ("cld", "psld", "blurring")


def setting(name, t_start=0.5, batch=4):
    """(process, mixture, starting points) where the modes compete."""
    process = PROCESSES[name]
    components = 2 if name == "blurring" else 1
    means = torch.tensor([[-1.0], [1.2]], dtype=torch.float64).expand(2, components)
    mixture = ok.GaussianMixture(means, [0.4, 0.5], [0.4, 0.6])
    if name == "vp":
        marginal = mixture.marginal(float(process.alpha(t_start)), float(process.sigma(t_start)))
        return process, mixture, marginal.sample(batch, seed=0, dtype=torch.float64)
    return process, mixture, ok.targets.under(process, mixture).sample(batch, t_start)


def slope(name, method, counts, field="r-noise", t_end=0.3):
    process, mixture, u = setting(name)
    flow = ok.ProbabilityFlow(process, mixture, field)
    smooth = ok.ProbabilityFlow(process, mixture, "velocity")
    exact = ok.solve(smooth, u, "dop853", ok.grid("time-uniform", (0.5, t_end), 32))
    errors = [
        (ok.solve(flow, u, method, ok.grid("time-uniform", (0.5, t_end), n)) - exact).square().mean().sqrt().item()
        for n in counts
    ]
    return math.log(errors[0] / errors[1]) / math.log(counts[1] / counts[0])


class TestOrders:
    @pytest.mark.parametrize(
        ("name", "tableau"),
        [(name, tableau) for name in PROCESSES for tableau in ("heun2", "kutta3", "rk4")]
        + [(name, "fehlberg45") for name in BLURRED_AND_PHASE],
    )
    def test_slopes(self, name, tableau):
        method = ok.methods.get(tableau, prediction="r-noise", coordinates="lawson")
        stretch, counts = (0.3, (24, 36)) if name in ("cld", "psld") else (0.1, (10, 20))
        found = slope(name, method, counts, "noise" if name == "vp" else "r-noise", stretch)
        assert abs(found - method.order.formula) < 0.25, found

    @pytest.mark.parametrize("name", BLURRED_AND_PHASE)
    def test_a_forcing_at_the_wrong_time_is_of_order_one(self, name, monkeypatch):
        """Negative control: the forcing is taken where the step begins, as in a frame that does not move."""
        forcing = Lawson._forcing
        monkeypatch.setattr(Lawson, "_forcing", lambda f, at: forcing(f, f.anchor))
        method = ok.methods.get("rk4", prediction="r-noise", coordinates="lawson")
        assert abs(slope(name, method, (24, 36)) - 1) < 0.2

    def test_an_implicit_tableau(self):
        method = ok.methods.get("gauss-2", prediction="r-noise", coordinates="lawson")
        assert abs(slope("cld", method, (8, 12)) - 4) < 0.25


class TestOneMethod:
    """B N = -G G^T score / 2 whatever the factor: without C_skip, Lawson methods are one method in all predictions."""

    @pytest.mark.parametrize("name", BLURRED_AND_PHASE)
    @pytest.mark.parametrize("tableau", ["rk4", "dp5"])
    def test_every_factor_is_the_score(self, name, tableau):
        process, mixture, _ = setting(name)
        flow = ok.ProbabilityFlow(process, mixture, "r-noise")
        grid = ok.grid("time-quadratic", process, 5, t_start=0.5, t_end=1e-3)
        plans = {
            p: ok.plan(tableau, flow, grid, prediction=p, coordinates="lawson") for p in ("r-noise", "l-noise", "score")
        }
        assert ok.same(plans["r-noise"], plans["l-noise"]) and ok.same(plans["r-noise"], plans["score"])
        assert not ok.same(plans["r-noise"], ok.plan(tableau, flow, grid))

    @pytest.mark.parametrize("name", ["cld", "blurring"])
    def test_a_preconditioned_score_has_another_linear_part(self, name):
        """With C_skip there is more in A: another method of the same order, the propagator by collocation."""
        process, mixture, _ = setting(name)
        flow, grid = ok.ProbabilityFlow(process, mixture, "score"), ok.grid("time-uniform", (0.5, 0.3), 3)
        plans = [ok.plan("heun2", flow, grid, prediction=p, coordinates="lawson") for p in ("edm", "score")]
        assert not ok.same(*plans)
        method = ok.methods.get("rk4", prediction="edm", coordinates="lawson")
        assert abs(slope(name, method, (6, 12), "score") - 4) < 0.25

    @pytest.mark.parametrize("name", BLURRED_AND_PHASE)
    @pytest.mark.parametrize("t_end", [1e-3, 1e-8])
    def test_near_the_data_the_inverse_factor_costs_no_digits(self, name, t_end):
        process, mixture, u = setting(name)
        grid = ok.grid("time-quadratic", process, 6, t_start=0.5, t_end=t_end)
        ends = [
            ok.solve(ok.ProbabilityFlow(process, mixture, p), u, "rk4", grid, prediction=p, coordinates="lawson")
            for p in ("r-noise", "score")
        ]
        assert (ends[0] - ends[1]).abs().max() < 1e-13

    @pytest.mark.parametrize("name", PROCESSES)
    def test_of_the_velocity_it_is_the_textbook(self, name):
        process, mixture, _ = setting(name)
        flow = ok.ProbabilityFlow(process, mixture, "velocity")
        grid = ok.grid("time-uniform", (0.5, 0.1), 4)
        assert ok.same(ok.plan("rk4", flow, grid, coordinates="lawson"), ok.plan("rk4", flow, grid))

    def test_euler_on_the_noise_of_vp(self):
        """x_s = (a_s/a_t) (x + h (kappa'(t) a_t) N): one step by hand."""
        process, mixture, x = setting("vp")
        flow = ok.ProbabilityFlow(process, mixture, "noise")
        grid = torch.tensor([0.5, 0.4], dtype=torch.float64)
        tenth = 1e-6
        rate = float(process.kappa(0.5 + tenth) - process.kappa(0.5 - tenth)) / (2 * tenth)
        moved = x - 0.1 * rate * float(process.alpha(0.5)) * flow.model(x, 0.5)
        expected = float(process.alpha(0.4) / process.alpha(0.5)) * moved
        found = ok.solve(flow, x, "euler", grid, prediction="noise", coordinates="lawson")
        assert torch.allclose(found, expected, rtol=1e-8, atol=0)


class TestRuns:
    @pytest.mark.parametrize("name", PROCESSES)
    @pytest.mark.parametrize("tableau", ["kutta3", "dp5"])
    def test_eager_as_planned(self, name, tableau):
        process, mixture, u = setting(name)
        flow = ok.ProbabilityFlow(process, mixture, "noise" if name == "vp" else "r-noise")
        grid = ok.grid("time-uniform", (0.5, 0.1), 4)
        options = {"prediction": "r-noise", "coordinates": "lawson"}
        planned = ok.solve(flow, u, tableau, grid, **options)
        assert (ok.solve(flow, u, tableau, grid, eager=True, **options) - planned).abs().max() < 1e-13

    def test_a_hand_written_sampler_is_recognised(self):
        """Lawson's Heun on CLD as one would write it down, without the library's coordinates."""
        process, mixture, _ = setting("cld")
        flow = ok.ProbabilityFlow(process, mixture, "score")
        grid = ok.grid("time-quadratic", process, 4, t_start=0.5)
        noise = torch.tensor([[0.0, 0.0], [0.0, -0.5 * 8]], dtype=torch.float64)  # -G G^T/2, Gamma beta = 4

        def act(matrix, u):
            return torch.einsum("ij,bj...->bi...", matrix.to(u.dtype), u)

        def sampler(model, u, times):
            for t, s in zip(times[:-1], times[1:], strict=True):
                psi = process.transition(float(s), float(t)).value
                first = act(noise, model(u, t))
                second = act(noise, model(act(psi, u + (s - t) * first), s))
                u = act(psi, u + (s - t) / 2 * first) + (s - t) / 2 * second
            return u

        traced = ok.trace(lambda model, u: sampler(model, u, grid), process=process, prediction="score")
        planned = ok.plan("heun2", flow, grid, prediction="score", coordinates="lawson")
        assert ok.same(traced, planned)
        assert not ok.same(traced, ok.plan("midpoint", flow, grid, prediction="score", coordinates="lawson"))

    def test_adaptive_steps(self):
        process, mixture, u = setting("cld")
        flow = ok.ProbabilityFlow(process, mixture, "r-noise")
        smooth = ok.ProbabilityFlow(process, mixture, "velocity")
        exact = ok.solve(smooth, u, "dop853", ok.grid("time-uniform", (0.5, 0.4), 16))
        span = {"t_start": 0.5, "t_end": 0.4, "rtol": 1e-6, "atol": 1e-6}
        x = ok.solve(flow, u[:2], "dp5", prediction="r-noise", coordinates="lawson", **span)
        assert (x - exact[:2]).abs().max() < 1e-5

    def test_forty_digits(self):
        process, mixture, _ = setting("cld")
        flow = ok.ProbabilityFlow(process, mixture, "score")
        grid = ok.grid("time-uniform", (0.5, 0.1), 2)
        options = {"prediction": "score", "coordinates": "lawson"}
        exact, plain = ok.plan("rk4", flow, grid, precision=40, **options), ok.plan("rk4", flow, grid, **options)
        gap = exact.dense().output.astype(float) - plain.dense().output.numpy()
        assert np.abs(gap).max() < 1e-13 * np.abs(plain.dense().output.numpy()).max()

    def test_a_last_step_of_order_one(self):
        process, mixture, u = setting("cld")
        flow = ok.ProbabilityFlow(process, mixture, "r-noise")
        grid = ok.grid("time-uniform", (0.5, 0.1), 1)
        options = {"prediction": "r-noise", "coordinates": "lawson", "last": "lower"}
        assert torch.allclose(ok.solve(flow, u, "dp5", grid, **options), ok.solve(flow, u, "gddim-0", grid), rtol=1e-13)


class TestFrame:
    def test_entering_and_leaving_undo_each_other(self):
        process, mixture, u = setting("psld")
        f = Lawson(ok.methods.get("gddim-0").coordinates(ok.ProbabilityFlow(process, mixture, "score")), Instant(0.5))
        assert torch.allclose(f.leave(f.enter(u, Instant(0.2)), Instant(0.2)), u, rtol=1e-12, atol=1e-12)
        assert f.clock(Instant(0.2)) == 0.2 and f.between(Instant(0.5), Instant(0.1), 0.25).time == pytest.approx(0.4)

    def test_refusals(self):
        process, mixture, u = setting("cld")
        flow = ok.ProbabilityFlow(process, mixture, "r-noise")
        grid = ok.grid("time-uniform", (0.5, 0.1), 4)
        with pytest.raises(UnknownNameError, match="did you mean 'lawson'"):
            ok.solve(flow, u, "rk4", grid, coordinates="lawsen")
        with pytest.raises(UnknownNameError, match="coordinates"):
            ok.methods.get("gauss-2", coordinates="raw")
        with pytest.raises(PredictionError, match="coordinates='lawson'"):
            ok.solve(flow, u, "rk4", grid, prediction="r-noise")
        with pytest.raises(PredictionError, match="coordinates='lawson'"):
            ok.solve(flow, u, "dp5", t_start=0.5, t_end=0.1, prediction="r-noise")
        with pytest.raises(OdekitError):
            Lawson(Coordinates(ok.ProbabilityFlow(ok.VP(), mixture), "nothing"), Instant(0.5))

    def test_keys_differ(self):
        keys = [str(ok.methods.get("rk4", prediction="noise", coordinates=c).key()) for c in ("straight", "lawson")]
        assert keys[0] != keys[1]
