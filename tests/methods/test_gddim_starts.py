"""gDDIM of any degree: orders from exact history and with each start, names, fifty digits."""

import math

import mpmath
import numpy as np
import pytest
import torch

import odekit as ok
from odekit.exceptions import MethodError, OdekitError, UnknownNameError
from odekit.processes import CLD, PSLD, Blurring

PROCESSES = {"cld": CLD(), "psld": PSLD(), "blurring": Blurring(shape=(2,), blur=1.0)}
STRETCH = (0.5, 0.3)  # where the modes compete
COUNTS = {"cld": (32, 64), "psld": (32, 64), "blurring": (64, 128)}


@pytest.fixture(scope="module")
def problems():
    """For each process: the flow of the R-noise, that of the velocity, states at the start, and where they go."""
    found = {}
    for name, process in PROCESSES.items():
        components = 2 if name == "blurring" else 1
        means = torch.tensor([[-1.0], [1.2]], dtype=torch.float64).expand(2, components)
        mixture = ok.GaussianMixture(means, [0.4, 0.5], [0.4, 0.6])
        flow, smooth = (ok.ProbabilityFlow(process, mixture, p) for p in ("r-noise", "velocity"))
        u = flow.model.marginals.sample(64 if name == "blurring" else 16, STRETCH[0], seed=0)
        found[name] = flow, smooth, u, ok.solve(smooth, u, "dop853", ok.grid("time-uniform", STRETCH, 32))
    return found


def slope(problem, counts, method, exact_history=False):
    flow, smooth, u, exact = problem
    errors = []
    for n in counts:
        grid, history = ok.grid("time-uniform", STRETCH, n), None
        if exact_history:
            path = ok.solve(smooth, u, "dop853", grid[: max(method.history, 1) + 1], full=True).trajectory
            history = path[: method.history + 1]
        gap = ok.solve(flow, u, method, grid, history=history) - exact
        errors.append(gap.square().mean().sqrt().item())
    return math.log(errors[0] / errors[1]) / math.log(counts[1] / counts[0])


class TestOrders:
    @pytest.mark.parametrize("name", ["cld", "blurring"])
    @pytest.mark.parametrize("q", [4, 5])
    def test_high_degrees_from_exact_history(self, problems, name, q):
        method = ok.methods.get(f"gddim-{q}")
        assert method.order.formula == q + 1
        assert abs(slope(problems[name], COUNTS[name], method, exact_history=True) - (q + 1)) < 0.35

    @pytest.mark.parametrize("name", PROCESSES)
    @pytest.mark.parametrize("method", ["gddim-1", "gddim-2", "gddim-3", "gddim-4", "gddim-pece-3", "gddim-pec-3"])
    def test_a_start_of_its_order_loses_nothing(self, problems, name, method):
        made = ok.methods.get(method, start=None)
        assert made.order.method == made.order.formula == int(method[-1]) + 1
        assert abs(slope(problems[name], COUNTS[name], made) - made.order.method) < 0.35

    @pytest.mark.parametrize("name", ["cld", "blurring"])
    @pytest.mark.parametrize(
        ("method", "options"),
        [("gddim-4", {}), ("gddim-4", {"start": "euler"}), ("gddim-pece-3", {}), ("gddim-pec-3", {})],
    )
    def test_the_published_start_caps_the_order(self, problems, name, method, options):
        """Negative control: first steps of order one show, however high the degree; a corrector gains one order."""
        made = ok.methods.get(method, **options)
        assert made.order.method == (3 if "-pe" in method else 2)
        assert abs(slope(problems[name], COUNTS[name], made) - made.order.method) < 0.25

    @pytest.mark.parametrize("factor", ["R", "L"])
    def test_both_frames_have_the_order_and_the_solution(self, problems, factor):
        made = ok.methods.get("gddim-2", factor=factor, start="kutta3")
        assert made.order == (3, 3)
        assert abs(slope(problems["cld"], (96, 192), made) - 3) < 0.25

    @pytest.mark.parametrize("method", ["gddim-3", "gddim-pece-2", "gddim-pec-2"])
    def test_eager_as_planned(self, problems, method):
        flow, _, u, _ = problems["cld"]
        grid = ok.grid("time-uniform", STRETCH, 6)
        planned = ok.solve(flow, u, method, grid, start=None)
        assert (ok.solve(flow, u, method, grid, start=None, eager=True) - planned).abs().max() < 1e-12

    def test_evaluations_with_a_start(self, problems):
        """q steps of the tableau, its stages each; a pair evaluates twice but in the last step."""
        flow, grid = problems["cld"][0], ok.grid("time-uniform", STRETCH, 9)
        assert ok.plan("gddim-3", flow, grid, start="rk4").evaluations == 3 * 4 + 6
        assert ok.plan("gddim-pece-3", flow, grid, start="rk4").evaluations == 3 * 4 + 2 * 6 - 1

    def test_on_vp_the_start_changes_nothing_after_it(self):
        flow = ok.ProbabilityFlow(ok.VP(), ok.targets.bimodal(), "noise")
        grid = ok.grid("logsnr", flow.process, 8)
        plans = [ok.plan("gddim-2", flow, grid, start=s).segments[-1] for s in ("rising", "kutta3")]
        assert torch.equal(plans[0].outputs[-4:], plans[1].outputs[-4:])


class TestNames:
    def test_any_degree_has_a_name(self):
        for name, order in (("gddim-5", 6), ("gddim-11", 12), ("gddim-pece-4", 5), ("gddim-pec-4", 5)):
            method = ok.methods.get(name)
            assert (method.name, method.order.formula) == (name, order)
            assert name not in ok.methods.names()
        assert ok.methods.get("ab-9").order == (9, 9) and ok.methods.get("deis-tab-5").order.formula == 6

    def test_what_there_is_not(self):
        for name, text in (
            ("gddim-12", "from 0 to 11"),
            ("gddim-pece-0", "from 1 to 11"),
            ("gddim-pec-0", "at least 1"),
            ("ab-13", "expected 1 to 12"),
        ):
            with pytest.raises(MethodError, match=text):
                ok.methods.get(name)
        for name in ("gddim-05", "gddim-x", "gddim--1", "gddim-123"):
            with pytest.raises(UnknownNameError, match="did you mean 'gddim"):
                ok.methods.get(name)

    def test_what_starts_nothing(self):
        with pytest.raises(MethodError, match="order 9 is at hand"):
            ok.methods.get("gddim-9", start=None)
        with pytest.raises(UnknownNameError, match="starter"):
            ok.methods.get("gddim-2", start="rk44")
        with pytest.raises(OdekitError, match="implicit"):
            ok.methods.get("gddim-2", start="gauss-2")

    def test_keys_know_the_start(self):
        keys = {str(ok.methods.get("gddim-2", start=s).key()) for s in ("rising", "heun2", "midpoint")}
        assert len(keys) == 3


class TestDigits:
    @staticmethod
    def gap(flow, method, steps, digits=(40, 60)):
        grid = ok.grid("time-uniform", STRETCH, steps)
        tables = [ok.plan(method, flow, grid, precision=d).dense() for d in digits]
        with mpmath.workdps(max(digits)):
            pairs = [
                zip(*(getattr(t, part).flat for t in tables), strict=True)
                for part in ("inputs", "output")  # every coefficient of the program
            ]
            return max(abs(a - b) for pair in pairs for a, b in pair)

    @pytest.mark.parametrize(
        ("name", "method"),
        [
            ("cld", "gddim-3"),  # degrees 0 to 3: they rise
            ("cld", "gddim-pece-1"),
            ("psld", "gddim-2"),
            ("psld", "gddim-pec-1"),
            ("blurring", "gddim-3"),
            ("blurring", "gddim-pec-3"),
            ("blurring", "gddim-pece-3"),
        ],
    )
    def test_forty_and_sixty_digits_agree(self, problems, name, method):
        assert self.gap(problems[name][0], method, int(method[-1]) + 1) < 1e-38

    def test_a_factor_of_sixteen_digits_is_seen(self, problems, monkeypatch):
        """Negative control: R_t rounded to float64 on its way."""
        rotation = CLD.rotation

        def rounded(process, t):
            exact = rotation(process, t)
            return exact + mpmath.mpf(10) ** -17 if mpmath.mp.dps > 50 else exact

        monkeypatch.setattr(CLD, "rotation", rounded)
        assert self.gap(problems["cld"][0], "gddim-0", 1) > 1e-18

    def test_the_table_of_the_angle_is_its_integral(self):
        from odekit.processes.entries import MpmathWords

        process = CLD()
        with mpmath.workdps(30):
            t, mp = mpmath.mpf("0.6"), mpmath.mp
            ends = [mp.log(process.t_max), mp.log(t)]
            direct = mp.quad(lambda u: mp.exp(u) * process.angle_rate(MpmathWords, mp.exp(u)), ends)
            assert abs(process.rotation(t) - direct) < mpmath.mpf(10) ** -28
            assert abs(float(process.rotation(t)) - process.rotation(0.6)) < 1e-14

    def test_float64_is_near(self, problems):
        flow, grid = problems["psld"][0], ok.grid("time-uniform", STRETCH, 3)
        exact = ok.plan("gddim-2", flow, grid, precision=30).dense().output.astype(float)
        plain = ok.plan("gddim-2", flow, grid).dense().output.numpy()
        assert np.abs(exact - plain).max() < 1e-13 * np.abs(plain).max()
