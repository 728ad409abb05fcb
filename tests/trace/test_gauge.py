"""Changing the gauge of a plan changes no program; comparing plans sees every step."""

from dataclasses import replace

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from textbook import PROCESS, random_grid

import odekit as ok
from odekit.fields.predictions import PREDICTIONS
from odekit.plan.dense import whole

METHODS = ["ddim", "rk4", "dpmpp-2m", "deis-tab-3", "abm-3", "heun-edm"]
NAMES = sorted(PREDICTIONS)


def flow(prediction="noise", process=PROCESS):
    return ok.ProbabilityFlow(process, ok.targets.ring6(), prediction=prediction)


def start():
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@given(
    st.sampled_from(METHODS),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.integers(0, 10**6),
    st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
)
def test_there_and_back_is_the_same_program(method, first, second, seed, scale):
    plan = ok.plan(method, flow(first), random_grid(seed, 6))
    there = plan.reexpress(second, state_scale=scale)
    back = there.reexpress(first, state_scale=(1.0, 1.0))
    assert (there.prediction, there.state_scale) == (second, scale)
    found = ok.same(plan, back)
    assert found and found.gap < 1e-12
    assert ok.same(plan, there) and ok.same(there, plan)
    assert there.registers == back.registers == plan.registers


@pytest.mark.parametrize("into", NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_the_other_register_contents_give_the_same_result(method, into):
    plan = ok.plan(method, flow(), random_grid(1))
    other = plan.reexpress(into)
    torch.testing.assert_close(other(flow(into).model, start()), plan(flow().model, start()), rtol=1e-11, atol=1e-12)
    if into != "noise":  # and it is not the same table under another name
        assert abs(whole(other.dense()) - whole(plan.dense())).max() > 1e-3


@pytest.mark.parametrize("into", NAMES)
@pytest.mark.parametrize(("process", "ends"), [
    (PROCESS, (1.0, 1e-6)), (ok.RectifiedFlow(), (1 - 1e-6, 1e-6)), (ok.EDM(), (1e3, 1e-5)),
], ids=["vp", "rectified-flow", "edm"])  # fmt: skip
def test_near_the_ends_the_change_costs_no_more_than_its_condition(process, ends, into):
    """alpha down to 1e-6, sigma down to 1e-5: against the plan built for the other prediction in fifty digits."""
    grid = random_grid(2, 12, process, ends)
    changed = ok.plan("dpmpp-2m", flow("noise", process), grid).reexpress(into).dense()
    exact = ok.plan("dpmpp-2m", flow(into, process), grid, precision=50).dense()
    found = ok.same(ok.plan("dpmpp-2m", flow("noise", process), grid), ok.plan("dpmpp-2m", flow(into, process), grid))
    assert found, str(found)
    size = abs(exact.output).max()
    assert float(abs(changed.output.numpy() - exact.output).max() / size) < 1e-9


class TestStateScale:
    @given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
    def test_start_and_result_are_multiples_of_the_processes_state(self, first, last):
        plan = ok.plan("dpmpp-2m", flow(), random_grid(0))
        scaled = plan.reexpress(state_scale=(first, last))
        there = scaled(flow().model, first * start())
        torch.testing.assert_close(there, last * plan(flow().model, start()), rtol=1e-12, atol=1e-12 * last)

    def test_the_model_sees_the_same_states(self):
        seen = []
        for plan in (p := ok.plan("rk4", flow(), random_grid(0, 2)), p.reexpress(state_scale=(3.0, 5.0))):
            asked = []
            plan(lambda x, t, asked=asked: asked.append(x.clone()) or x, plan.state_scale[0] * start())
            seen.append(torch.stack(asked))
        torch.testing.assert_close(*seen, rtol=1e-13, atol=1e-13)


class TestKept:
    def test_gradients(self):
        nodes = random_grid(0, 5)

        def loss(g):
            table = ok.plan("dpmpp-2m", flow(), g).reexpress("velocity", state_scale=(2.0, 0.5)).dense()
            return (table.output * torch.arange(1.0, len(table.output) + 1).double()).sum()

        free = nodes.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(free), free)
        for k in range(6):
            shift = torch.zeros_like(nodes)
            shift[k] = 1e-6
            central = float(loss(nodes + shift) - loss(nodes - shift)) / 2e-6
            assert float(gradient[k]) == pytest.approx(central, rel=1e-6, abs=1e-6 * float(gradient.abs().max()))

    @pytest.mark.parametrize(
        ("method", "first", "second"), [("dpmpp-2m", "noise", "data"), ("ab-3", "velocity", "noise")]
    )
    def test_gradients_through_a_differentiable_run(self, method, first, second):
        free = random_grid(0, 5).requires_grad_()
        plan = ok.plan(method, flow(first), free)
        gradients = []
        for p in (plan, plan.reexpress(second)):
            result = p(flow(p.prediction).model, start(), differentiable=True).square().sum()
            gradients.append(torch.autograd.grad(result, free, retain_graph=True)[0])
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize("into", ["data", "velocity"])
    def test_fifty_digits(self, into):
        grid = random_grid(0, 4)
        changed = ok.plan("dpmpp-2m", flow(), grid, precision=50).reexpress(into, state_scale=(3.0, 7.0))
        native = ok.plan("dpmpp-2m", flow(into), grid, precision=50)
        with mpmath.workdps(50):
            pairs = list(zip(changed.dense().output, native.dense().output, strict=True))
            gaps = [abs(a - 7 * b / (3 if k == 0 else 1)) for k, (a, b) in enumerate(pairs)]
            assert max(gaps) < mpmath.mpf(10) ** -45


class TestRefusals:
    @pytest.mark.parametrize(("into", "t"), [("noise", "1"), ("score", "1")])
    def test_a_prediction_that_is_singular_there(self, into, t):
        process = ok.RectifiedFlow()
        plan = ok.plan("rk4", flow("velocity", process), ok.grid("time-uniform", (1.0, 0.5), 3))
        with pytest.raises(ok.OdekitError, match=rf"the evaluation at t = {t} cannot be expressed in '{into}'"):
            plan.reexpress(into)
        assert ok.same(plan, plan.reexpress("data"))

    def test_a_plan_without_a_process(self):
        plan = ok.plan("rk4", ok.VectorField(lambda x, t: -x), random_grid(0))
        with pytest.raises(ok.OdekitError, match="without a process cannot change its prediction 'velocity'"):
            plan.reexpress("noise")

    def test_an_unknown_prediction(self):
        with pytest.raises(ok.OdekitError, match="unknown prediction 'nois'; did you mean 'noise'"):
            ok.plan("ddim", flow(), random_grid(0)).reexpress("nois")


def changed(plan, step, factor):
    """The plan with the weight of the current output in one step multiplied."""
    (segment,) = plan.segments
    outputs = segment.outputs.clone()
    outputs[step, 0, len(segment.slots)] *= factor
    return plan.replaced(segments=(replace(segment, outputs=outputs),))


class TestSame:
    """On all of VP the coefficients of x_T grow to 150, so that an absolute measure is blind to the last steps."""

    PLAN = ok.plan("ddim", flow(), random_grid(0, 50, ends=(1.0, 1e-3))).replaced(precision="float32")

    @pytest.mark.parametrize("step", [0, 10, 25, 40, 48, 49])
    def test_a_wrong_weight_is_seen_in_every_step(self, step):
        wrong = changed(self.PLAN, step, 1.001)
        found = ok.same(self.PLAN, wrong)
        where = "the output" if step == 49 else f"evaluation {step + 1}"
        assert not found and found.first_difference.startswith(f"{where} takes") and f"of N_{step} " in str(found)
        assert ok.same(wrong, self.PLAN).first_difference is not None

    def test_a_change_below_single_precision_is_none(self):
        pair = [self.PLAN, changed(self.PLAN, 25, 1 + 2.0**-23)]
        assert ok.same(*pair)
        assert not ok.same(*(p.replaced(precision="float64") for p in pair))

    @given(st.sampled_from(METHODS), st.sampled_from(METHODS), st.integers(0, 99))
    def test_it_is_symmetric(self, first, second, seed):
        grid = random_grid(seed, 5)
        a, b = ok.plan(first, flow("noise"), grid), ok.plan(second, flow("data"), grid)
        assert bool(ok.same(a, b)) == bool(ok.same(b, a)) == (first == second)

    def test_times_are_compared_whatever_the_coefficients(self):
        grid = random_grid(0)
        told = grid.clone()
        told[3] *= 1 + 1e-9
        found = ok.same(ok.plan("ddim", flow(), grid), ok.plan("ddim", flow(), grid, network_times=told))
        assert not found and found.first_difference.startswith("evaluation 3 is at time")

    def test_times_of_single_precision_near_the_end_of_a_process(self):
        """At t = 0.9999 of a rectified flow a rounded time moves alpha by 6e-4 of itself, and is the same time."""
        process = ok.RectifiedFlow()
        grid = torch.tensor([0.9999, 0.9998, 0.6, 0.2], dtype=torch.float64)
        told = grid.float().double()
        plans = [
            ok.plan("euler", flow("velocity", process), grid, network_times=times).replaced(precision="float32")
            for times in (grid, told)
        ]
        assert float((grid - told).abs().max()) > 1e-9 and ok.same(*plans)

    def test_one_path_told_in_two_times_is_one(self):
        """VP and Cosine pass the same (alpha, sigma) at different times: DDIM through the same nodes is one table."""
        other, grid = ok.Cosine(), random_grid(0, 8)
        times = other.time_at_kappa(PROCESS.kappa(grid))
        assert float((times - grid).abs().max()) > 0.05
        plan = ok.plan("ddim", flow(), grid)
        assert ok.same(plan, ok.plan("ddim", flow("noise", other), times))
        told = times.clone()
        told[3] *= 1.0001
        found = ok.same(plan, ok.plan("ddim", flow("noise", other), times, network_times=told))
        assert not found and found.first_difference.startswith("evaluation 3 is at time")

    def test_wasted_evaluations_are_no_difference(self):
        grid = random_grid(0)

        def wasteful(model, x, times):
            for t, s in zip(times[:-1], times[1:], strict=True):
                model(x, s)
                x = x + (s - t) * model(x, t)
            return x

        from textbook import euler

        assert ok.same(ok.trace(wasteful, grid=grid), ok.trace(euler, grid=grid))

    def test_what_cancels_in_one_program_leaves_no_difference(self):
        def careful(model, x):
            first = model(x, 0.9)
            return x + model(x + 0.3 * first, 0.5) + 0.1 * first

        def careless(model, x):
            first = model(x, 0.9)
            x = x + 0.1 * first + 0.2 * first
            second = model(x, 0.5)
            return x - 0.3 * first + 0.1 * first + second

        assert ok.same(ok.trace(careful), ok.trace(careless))

    def test_an_evaluation_whose_weights_cancel_is_wasted(self):
        def careless(model, x):
            first = model(x, 0.9)
            x = x + 0.1 * first + 0.2 * first - 0.3 * first
            return x + model(x, 0.5)

        traced = ok.trace(careless)
        assert 0 < abs(float(traced.dense().output[1])) < 1e-16
        assert ok.same(traced, ok.trace(lambda model, x: x + model(x, 0.5)))

    @pytest.mark.parametrize("pair", [("edm", "score"), ("score", "data"), ("velocity", "noise")])
    def test_other_predictions_may_cancel_leading_digits_but_no_more(self, pair):
        """Six steps across a rectified flow, down to sigma = 1e-3."""
        process = ok.RectifiedFlow()
        grid = random_grid(6, 6, process, (0.999, 1e-3))
        a, b = (ok.plan("deis-tab-2", flow(p, process), grid) for p in pair)
        assert ok.same(a, b) and ok.same(b, a)
        (*before, last) = b.segments
        outputs = last.outputs.clone()
        outputs[-1] *= 1 + 1e-9
        assert not ok.same(a, b.replaced(segments=(*before, replace(last, outputs=outputs))))

    def test_it_says_what_it_did(self):
        plan = ok.plan("ddim", flow(), random_grid(0))
        assert str(ok.same(plan, plan)).startswith("same on this grid (gap 0.0e+00 <= 1.3e-13; prediction noise")
        assert str(ok.same(plan, ok.plan("rk4", flow(), random_grid(0)))).startswith("different: 9 live evaluations")
