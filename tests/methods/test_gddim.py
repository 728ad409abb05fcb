"""gDDIM against published tables of errors, exact solutions, DEIS and its own definition."""

import numpy as np
import pytest
import torch

import odekit as ok
from odekit.exceptions import MethodError, OdekitError, UnknownNameError
from odekit.fields.coordinates import Instant
from odekit.fields.matrix import MatrixCoordinates
from odekit.fields.operator_predictions import OPERATOR_PREDICTIONS
from odekit.fields.weights import total, weights
from odekit.methods.adams import Adams
from odekit.operators import Block
from odekit.processes import CLD, PSLD, Blurring

TWO_MODES = ok.GaussianMixture([[-1.0], [0.8]], [0.3, 0.2], [0.3, 0.7])
OTHER_MODES = ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6])
POINT = ok.GaussianMixture([[0.7]], [0.0], [1.0])


def starts(columns):
    return torch.from_numpy(np.asarray(columns)).reshape(-1, 2, 1)


def quadratic(steps, t_end):
    """The stride of PSLD's public code: t = t_end + (1 - t_end) (1 - i/N)^2."""
    return t_end + (1 - t_end) * (1 - torch.arange(steps + 1, dtype=torch.float64) / steps) ** 2


class TestPublishedErrors:
    """Largest errors of six trajectories of CLD with two modes, t from 1 to 1e-3, 10 to 160 quadratic steps.

    The table does not say of how many trajectories it is. An integrator in NumPy that shares nothing with this one
    (L by `numpy.linalg.cholesky`, C_j by 400 Gauss points, DOP853 of SciPy as reference) gives every entry with five
    or six starts of this seed. With four, two entries in the frame of L are 1.50 and 1.80 instead of 1.9 and 2.2, with
    eight, 7.9 is 15; quadrature (down to two points), Sigma_0, the kind of factor, other seeds and grids do not do it.
    """

    TABLE = {
        "gddim-0": (1.3, 0.80, 0.35, 0.17, 0.084),
        "gddim-1": (1.3, 0.44, 0.13, 0.039, 0.011),
        "gddim-2": (1.3, 0.29, 0.059, 0.010, 0.0015),
        "gddim-3": (1.3, 0.19, 0.029, 0.0029, 0.0002),
        "gddim-pece-1": (1.5, 0.15, 0.042, 0.010, 0.0025),
        "gddim-pece-2": (1.4, 0.13, 0.015, 0.0015, 0.0002),
        "gddim-0 in L": (7.9, 1.9, 1.5, 0.41, 0.33),
        "gddim-3 in L": (6.4e4, 2.8e3, 2.2, 0.072, 0.023),
    }
    ORDERS = {"gddim-0": 1.0, "gddim-1": 1.9, "gddim-2": 2.8, "gddim-3": 3.9, "gddim-pece-1": 2.0, "gddim-pece-2": 3.0}

    @pytest.fixture(scope="class")
    @classmethod
    def problem(cls):
        process = CLD(position_variance=1e-6)
        flow = ok.ProbabilityFlow(process, TWO_MODES, "r-noise")
        x = starts(np.random.default_rng(0).standard_normal((6, 2)) * [1, 0.5])
        smooth = ok.ProbabilityFlow(process, TWO_MODES, "velocity")
        return flow, x, ok.reference(smooth, x, 1e-3, tol=1e-9).x

    @staticmethod
    def error(problem, method, steps, **options):
        flow, x, exact = problem
        grid = ok.grid("time-quadratic", flow.process, steps)
        return (ok.solve(flow, x, method, grid, **options) - exact).abs().max().item()

    @pytest.mark.parametrize("name", TABLE)
    def test_the_table(self, problem, name):
        method, _, factor = name.partition(" in ")
        errors = [self.error(problem, method, n, factor=factor or "R") for n in (10, 20, 40, 80, 160)]
        assert errors == pytest.approx(self.TABLE[name], rel=0.05)
        if name in self.ORDERS:  # the pair of degree two is printed with "about", and its last two slopes are 3.3, 2.8
            over = 4 if name == "gddim-pece-2" else 2
            observed = np.log(errors[4 - over // 2] / errors[4]) / np.log(over)
            assert observed == pytest.approx(self.ORDERS[name], abs=0.1)

    def test_euler_is_lost_at_two_hundred_steps(self, problem):
        assert self.error(problem, "euler", 200) == pytest.approx(1.4, rel=0.05)

    def test_the_table_knows_which_frame(self, problem):
        """Negative control: the entries of one frame are not those of the other."""
        for q in (0, 3):
            printed = self.TABLE[f"gddim-{q} in L"]
            errors = [self.error(problem, f"gddim-{q}", n) for n in (10, 20, 40)]
            assert all(error < row / 1.5 for error, row in zip(errors, printed, strict=False))

    @pytest.mark.parametrize(
        ("steps", "momentum", "printed"),
        [
            ("uniform", 1.0, {"R": (0.294, 0.171, 0.0221), "L": (1.30, 0.847, 0.0988)}),
            ("quadratic", 0.04, {"R": (0.175, 0.0951, 0.0131), "L": (1.59, 1.11, 0.156)}),
        ],
        ids=["uniform", "quadratic"],
    )
    def test_the_rows_of_the_conjugate_family_without_conjugation(self, steps, momentum, printed):
        flow = ok.ProbabilityFlow(PSLD(momentum_variance=momentum), OTHER_MODES, "r-noise")
        random = np.random.default_rng(0)
        x = starts(np.stack([random.standard_normal(16), random.standard_normal(16) / 2], 1))
        t_end = 0.02 if steps == "uniform" else 1e-3
        exact = ok.reference(flow, x, t_end, tol=1e-9).x
        for i, n in enumerate((32, 64, 512)):
            grid = torch.linspace(1, t_end, n + 1, dtype=torch.float64) if steps == "uniform" else quadratic(n, t_end)
            for factor, errors in printed.items():
                gap = ok.solve(flow, x, "gddim-0", grid, factor=factor) - exact
                found = gap.square().sum((1, 2)).mean().sqrt().item()
                assert found == pytest.approx(errors[i], rel=5e-3), (n, factor)


class TestOnePoint:
    """Where the data is a point, the noise in the frame of R is constant along a solution, in that of L it turns."""

    @staticmethod
    def missed(process, method, steps, **options):
        flow = ok.ProbabilityFlow(process, POINT, "r-noise")
        t_end = 0.01
        u = flow.model.marginals.sample(8, process.t_max)
        # u_t = Psi(t, 0)(x_0, 0) + R_t e with e constant
        clean, R = process.embed(torch.full((8, 1), 0.7, dtype=torch.float64)), process.factor
        e = R(process.t_max).inverse().apply(u - process.mean(process.t_max).apply(clean))
        exact = process.mean(t_end).apply(clean) + R(t_end).apply(e)
        grid = ok.grid("time-quadratic", process, steps, t_end=t_end)
        return (ok.solve(flow, u, method, grid, **options) - exact).abs().max().item()

    @pytest.mark.parametrize("process", [CLD(), PSLD(), PSLD(Gamma=0.5, nu=2.5)], ids=["cld", "psld", "psld-2"])
    @pytest.mark.parametrize("method", ["gddim-0", "gddim-2", "gddim-pece-2"])
    def test_exact_in_one_step_and_in_several_with_r(self, process, method):
        assert self.missed(process, method, 1) < 1e-11
        assert self.missed(process, method, 4) < 1e-10

    @pytest.mark.parametrize("process", [CLD(), PSLD()], ids=["cld", "psld"])
    def test_not_with_l(self, process):
        assert self.missed(process, "gddim-0", 1, factor="L") > 1e3
        assert self.missed(process, "gddim-0", 32, factor="L") > 0.1

    def test_where_frequencies_do_not_mix_both_frames_are_the_same(self):
        process = Blurring(shape=(4,))
        flow = ok.ProbabilityFlow(process, ok.GaussianMixture([[1.0, 2.0, 0.0, -1.0]], [0.3], [1.0]), "r-noise")
        grid = ok.grid("time-quadratic", process, 6, t_end=0.02)
        assert ok.same(ok.plan("gddim-2", flow, grid), ok.plan("gddim-2", flow, grid, factor="L"))
        assert not ok.same(ok.plan("gddim-2", flow, grid), ok.plan("gddim-1", flow, grid))


class TestWeights:
    PROCESS = CLD()

    def coordinates(self, name="r-noise"):
        flow = ok.ProbabilityFlow(self.PROCESS, OTHER_MODES, "r-noise")
        return MatrixCoordinates(flow, name)

    def direct(self, name, s, t, times, j):
        """int_t^s Psi(s, r) G G^T K_r^-T/2 l_j(r) dr by 200 points, which needs the inverse of K."""
        points, masses = np.polynomial.legendre.leggauss(200)
        r = torch.from_numpy(t + (points + 1) / 2 * (s - t))
        K = self.PROCESS.factor(r, name[0].upper())
        values = (self.PROCESS.transition(s + 0 * r, r) @ self.PROCESS.diffusion(r) @ K.inverse().transpose()).value / 2
        basis = np.prod([(r.numpy() - v) / (times[j] - v) for i, v in enumerate(times) if i != j], axis=0)
        return (torch.from_numpy(masses * (s - t) / 2 * basis)[:, None, None] * values).sum(0)

    @pytest.mark.parametrize("name", ["r-noise", "l-noise"])
    @pytest.mark.parametrize("times", [(0.4, 0.5, 0.7), (0.3, 0.4, 0.5, 0.7), (0.4,)], ids=["old", "new", "one"])
    def test_by_parts_as_integrated(self, name, times):
        f = self.coordinates(name)
        at, to = Instant(torch.tensor(0.4, dtype=torch.float64)), Instant(torch.tensor(0.3, dtype=torch.float64))
        nodes = tuple(at if t == 0.4 else Instant(torch.tensor(t, dtype=torch.float64)) for t in times)
        found = weights(f, to, at, nodes, "t")
        for j, weight in enumerate(found):
            expected = self.direct(name, 0.3, 0.4, times, j)
            assert torch.allclose(weight.operator.value, expected, rtol=0, atol=1e-13 * max(1, expected.abs().max()))

    def test_the_sum_is_closed(self):
        f = self.coordinates()
        s, t = torch.tensor([0.5, 0.3], dtype=torch.float64), torch.tensor([0.6, 0.5], dtype=torch.float64)
        R = self.PROCESS.factor
        closed = R(s) - self.PROCESS.transition(s, t) @ R(t)
        nodes = (Instant(t), Instant(t + 0.1))
        summed = sum(w.operator.value for w in weights(f, Instant(s), nodes[0], nodes, "t"))
        assert torch.allclose(summed, closed.value, rtol=0, atol=1e-15)
        assert torch.equal(total(f, Instant(s), Instant(t)).operator.value, closed.value)

    def test_fifty_digits(self):
        flow = ok.ProbabilityFlow(self.PROCESS, OTHER_MODES, "r-noise")
        grid = ok.grid("time-quadratic", self.PROCESS, 2, t_end=0.1)
        exact, plain = ok.plan("gddim-0", flow, grid, precision=30), ok.plan("gddim-0", flow, grid)
        gap = exact.dense().output.astype(float) - plain.dense().output.numpy()
        assert np.abs(gap).max() < 1e-13 * np.abs(plain.dense().output.numpy()).max()

    def test_only_time_interpolates(self):
        flow = ok.ProbabilityFlow(self.PROCESS, OTHER_MODES, "r-noise")
        grid = ok.grid("time-quadratic", self.PROCESS, 4)
        with pytest.raises(MethodError, match="interpolated in t"):
            ok.plan(Adams(2, "r-noise", "t", rule="lumped"), flow, grid)
        with pytest.raises(OdekitError, match="straight coordinates"):
            ok.plan("rk4", flow, grid, prediction="r-noise")


class TestOrders:
    """From exact history, on a stretch where the modes compete: the slope of the formula."""

    @pytest.mark.parametrize("process", [CLD(), Blurring(shape=(2,), blur=1.0)], ids=["cld", "blurring"])
    @pytest.mark.parametrize(
        ("name", "claim"),
        [("gddim-0", 1), ("gddim-1", 2), ("gddim-2", 3), ("gddim-3", 4), ("gddim-pece-2", 3), ("gddim-pec-2", 3)],
    )
    def test_slopes(self, process, name, claim):
        shape = 2 if process.carrier == "diagonal" else 1
        mixture = ok.GaussianMixture(OTHER_MODES.means.expand(2, shape), [0.4, 0.5], [0.4, 0.6])
        flow = ok.ProbabilityFlow(process, mixture, "r-noise")
        method = ok.methods.get(name)
        assert method.order.formula == claim
        u = flow.model.marginals.sample(16, 0.5)
        errors = []
        exact = ok.solve(flow, u, "dop853", ok.grid("time-uniform", (0.5, 0.2), 32))
        for steps in (96, 192):
            grid = ok.grid("time-uniform", (0.5, 0.2), steps)
            path = ok.solve(flow, u, "dop853", grid[: max(method.history, 1) + 1], full=True).trajectory
            x = ok.solve(flow, u, name, grid, history=path[: method.history + 1])
            errors.append((x - exact).square().mean().sqrt().item())
        slope = np.log2(errors[0] / errors[1])
        assert abs(slope - claim) < 0.2, (slope, errors)

    def test_a_wrong_frame_is_seen(self, monkeypatch):
        """R without its rotation, L called R: the closed form of q = 0 is then no integral of anything."""
        flow = ok.ProbabilityFlow(CLD(), OTHER_MODES, "r-noise")
        wrong = OPERATOR_PREDICTIONS["r-noise"].__class__(
            "r-noise",
            out=lambda process, t: -process.factor(t, "R").inverse().transpose(),
            primitive=lambda process, t: process.factor(t, "L"),
        )
        monkeypatch.setitem(OPERATOR_PREDICTIONS, "r-noise", wrong)
        wrongly = ok.ProbabilityFlow(CLD(), OTHER_MODES, "r-noise")
        u = flow.model.marginals.sample(16, 0.5)
        exact = ok.solve(flow, u, "dop853", ok.grid("time-uniform", (0.5, 0.2), 200))
        for steps in (100, 200):
            x = ok.solve(wrongly, u, "gddim-0", ok.grid("time-uniform", (0.5, 0.2), steps))
            assert (x - exact).abs().max() > 0.1


class TestTheScalarCase:
    @pytest.mark.parametrize("q", range(4))
    @pytest.mark.parametrize("factor", ["R", "L"])
    def test_on_vp_it_is_deis_in_t(self, q, factor):
        flow = ok.ProbabilityFlow(ok.VP(), TWO_MODES, "noise")
        grid = ok.grid("logsnr", flow.process, 11)
        assert ok.same(ok.plan(f"gddim-{q}", flow, grid, factor=factor), ok.plan(f"deis-tab-{q}", flow, grid))

    def test_without_blur_the_frequencies_are_a_scalar_process(self):
        process = Blurring(shape=(3,), blur=0.0)
        flow = ok.ProbabilityFlow(process, ok.GaussianMixture([[0.0, 1.0, 2.0]], [0.4], [1.0]), "r-noise")
        table = ok.plan("gddim-2", flow, ok.grid("time-quadratic", process, 6)).dense().output
        assert torch.allclose(table, table[:, :1].expand_as(table), rtol=1e-13, atol=0)


class TestRefusals:
    def test_degrees_and_frames(self):
        from odekit.methods.gddim import GDDIM, GDDIMPair

        with pytest.raises(MethodError, match="degree -1"):
            GDDIM(-1)
        with pytest.raises(MethodError, match="from 1 to 11"):
            GDDIMPair(0)
        with pytest.raises(UnknownNameError, match="factor"):
            GDDIM(1, "Q")

    @pytest.mark.parametrize(("name", "expected"), [("gddim-pece-2", 2 * 9 - 1), ("gddim-pec-2", 9), ("gddim-2", 9)])
    def test_evaluations(self, name, expected):
        flow = ok.ProbabilityFlow(CLD(), TWO_MODES, "r-noise")
        assert ok.plan(name, flow, ok.grid("time-quadratic", CLD(), 9)).evaluations == expected

    def test_a_block_of_another_shape(self):
        flow = ok.ProbabilityFlow(CLD(), TWO_MODES, "r-noise")
        with pytest.raises(OdekitError, match="shape"):
            ok.solve(flow, torch.zeros(3, 1).double(), "gddim-1", ok.grid("time-quadratic", CLD(), 4))
        assert isinstance(CLD().factor(0.5), Block)
