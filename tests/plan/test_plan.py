"""A Plan is its method: it runs like the eager step code, in any prediction, and survives every change of form."""

import json
import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit.methods import conjugate, flow_splitting, phase_splitting, stochastic_splitting

METHODS = ["euler", "rk4", "dp5", "dop853", "ddim", "heun-edm", "dpmpp-2m", "ab-4", "abm-4", "deis-tab-3",
           "deis-rhoab-2", "exponential-ab-3"]  # fmt: skip
PROCESS = ok.VP()


def flow(prediction="noise", process=PROCESS):
    return ok.ProbabilityFlow(process, ok.targets.ring6(), prediction=prediction)


def grid(steps=12, seed=0, process=PROCESS):
    """A non-uniform grid, away from t = 1 where the field hides everything."""
    generator = torch.Generator().manual_seed(seed)
    gaps = torch.rand(steps, generator=generator, dtype=torch.float64) + 0.5
    fractions = torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0) / gaps.sum()])
    ends = [float(process.logsnr(t)) for t in (0.6, 0.05)]
    return process.time_at_logsnr(ends[0] + fractions * (ends[1] - ends[0]))


def start(count=5, dtype=torch.float64):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(3), dtype=dtype)


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


ELSEWHERE = {
    **conjugate.METHODS, **flow_splitting.METHODS, **phase_splitting.METHODS, **stochastic_splitting.METHODS,
}  # fmt: skip
PLANNABLE = [name for name in ok.methods.names() if ok.methods.get(name).is_plannable and name not in ELSEWHERE]


@pytest.mark.parametrize("method", PLANNABLE)
def test_plan_and_eager_agree(method):
    planned, eager = (ok.solve(flow(), start(), method, grid(), eager=e) for e in (False, True))
    assert relative(planned, eager) < 1e-13


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prediction", ["data", "velocity", "score", "edm", "v"])
def test_the_prediction_of_the_model_does_not_change_the_solver(method, prediction):
    ours, other = ok.plan(method, flow("noise"), grid()), ok.plan(method, flow(prediction), grid())
    assert relative(ours(flow("noise").model, start()), other(flow(prediction).model, start())) < 1e-12
    assert ok.same(ours, other)
    assert ok.same(other.reexpress("noise"), ours)


@pytest.mark.parametrize("method", METHODS)
def test_dense_table_reproduces_the_run(method):
    plan = ok.plan(method, flow(), grid())
    table, outputs = plan.dense(), []

    def model(x, t):
        row = table.inputs[len(outputs)]
        rebuilt = sum((row[1 + j] * n for j, n in enumerate(outputs)), row[0] * start())
        assert relative(rebuilt, x) < 1e-12
        outputs.append(flow().model(x, t))
        return outputs[-1]

    result = plan(model, start())
    rebuilt = sum((table.output[1 + j] * n for j, n in enumerate(outputs)), table.output[0] * start())
    assert relative(rebuilt, result) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_compression_keeps_the_program_and_needs_no_more_registers(method):
    plan = ok.plan(method, flow(), grid())
    small = plan.compress()
    assert ok.same(plan, small)
    assert relative(small(flow().model, start()), plan(flow().model, start())) < 1e-12


@pytest.mark.parametrize(("method", "rank"), [("ddim", 1), ("dpmpp-2m", 2), ("deis-tab-3", 4), ("exponential-ab-2", 2)])
def test_registers_between_steps_are_the_hankel_rank(method, rank):
    assert ok.plan(method, flow(), grid()).registers == rank
    assert ok.plan(method, flow(), grid()).compress().registers == rank


@pytest.mark.parametrize("method", ["dp5", "dpmpp-2m"])
def test_saved_plans_come_back_to_the_bit(method, tmp_path):
    plan = ok.plan(method, flow(), grid())
    plan.save(tmp_path / "plan.json")
    back = ok.Plan.load(tmp_path / "plan.json")
    assert torch.equal(back(flow().model, start()), plan(flow().model, start()))
    assert back.process == plan.process and back.prediction == plan.prediction


def test_fifty_digit_plans_are_saved_too(tmp_path):
    plan = ok.plan("dpmpp-2m", flow(), grid(3), precision=50)
    plan.save(tmp_path / "plan.json")
    back = ok.Plan.load(tmp_path / "plan.json")
    import mpmath

    with mpmath.workdps(50):
        pairs = zip(back.dense().output, plan.dense().output, strict=True)
        assert all(abs(a - b) < mpmath.mpf(10) ** -45 for a, b in pairs)


def test_draws_before_the_first_evaluation_are_saved_too(tmp_path):
    def churned(model, x):
        x = x + torch.randn_like(x)
        return x + model(x, 0.5)

    plan = ok.trace(churned)
    plan.save(tmp_path / "plan.json")
    back = ok.Plan.load(tmp_path / "plan.json")
    assert back.draws == 1 and ok.same(plan, back)


def test_models_of_fifty_digit_plans_are_told_times_in_double_precision():
    told = []
    ok.plan("ddim", flow(), torch.tensor([0.8, 0.3], dtype=torch.float64), precision=50)(
        lambda x, t: told.append(float(t)) or x, start()
    )
    assert told == [0.8]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "odekit-plan-1"}', "\x00", '{"format": "odekit-plan-1", '
                                  '"segments": [{"slots": ["x"], "draws": 0, "times": [[0]], "inputs": [[[1]]], '
                                  '"outputs": [[[1]]]}], "prediction": "noise", "process": null, "state_scale": [1, 1],'
                                  ' "precision": "float64", "name": ""}'])  # fmt: skip
def test_files_that_hold_no_plan_are_refused_in_one_line(text, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(ok.OdekitError) as refusal:
        ok.Plan.load(path)
    assert "\n" not in str(refusal.value) and "plan" in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("name", "prediction", "process", "state_scale", "precision", "segments", "slots", "draws", "times", "inputs",
        "outputs")  # fmt: skip


@given(st.sampled_from(KEYS), JSON, st.booleans())
def test_any_damage_to_a_plan_file_is_a_plan_or_a_refusal(key, value, remove):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        ok.plan("dpmpp-2m", flow(), grid(2)).save(path)
        document = json.loads(path.read_text())
        holder = document if key in document else document["segments"][-1]
        if remove:
            del holder[key]
        else:
            holder[key] = value
        path.write_text(json.dumps(document))
        try:
            plan = ok.Plan.load(path)
        except ok.OdekitError as refusal:
            assert "\n" not in str(refusal)
        else:
            assert plan.evaluations >= 0


@pytest.mark.parametrize("method", ["rk4", "deis-tab-2", "dpmpp-2m", "exponential-ab-3", "ab-3"])
def test_the_table_is_differentiable_in_the_grid(method):
    nodes = grid(6)
    index, step = 2, 1e-6

    def loss(g):
        table = ok.plan(method, flow(), g).dense()
        return (table.output * torch.arange(1.0, len(table.output) + 1).double()).sum() + table.inputs.sum()

    free = nodes.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(free), free)
    shift = torch.zeros_like(nodes)
    shift[index] = step
    central = (loss(nodes + shift) - loss(nodes - shift)) / (2 * step)
    assert float(gradient[index]) == pytest.approx(float(central), rel=1e-7, abs=1e-7 * float(gradient.abs().max()))


def test_gradients_of_a_solve_reach_the_grid_through_the_model_too():
    nodes = grid(5)

    def loss(g):
        return ok.plan("dpmpp-2m", flow(), g)(flow().model, start(), differentiable=True).square().sum()

    free = nodes.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(free), free)
    shift = torch.zeros_like(nodes)
    shift[2] = 1e-6
    central = float(loss(nodes + shift) - loss(nodes - shift)) / 2e-6
    assert float(gradient[2]) == pytest.approx(central, rel=1e-6)


def test_network_times_are_what_the_model_is_told_and_nothing_else():
    nodes, told = grid(4), []
    shifted = nodes * 1.01

    def model(x, t):
        told.append(float(t))
        return x

    plan = ok.plan("ddim", flow(), nodes, network_times=shifted)
    plan(model, start())
    assert told == [float(t) for t in shifted[:-1]]
    assert torch.equal(plan.dense().output, ok.plan("ddim", flow(), nodes).dense().output)
    with pytest.raises(ok.OdekitError, match="network_times has 3 entries"):
        ok.plan("ddim", flow(), nodes, network_times=shifted[:3])


def test_float32_states_stay_float32_and_coefficients_are_cast_last():
    low = ok.solve(flow(), start(dtype=torch.float32), "dpmpp-2m", grid())
    high = ok.solve(flow(), start(dtype=torch.float32).double(), "dpmpp-2m", grid())
    assert low.dtype == torch.float32
    assert relative(low.double(), high) < 1e-5


@given(st.integers(2, 9), st.integers(0, 10**6), st.sampled_from(METHODS))
def test_every_consistent_plan_is_exact_for_data_at_a_point(steps, seed, method):
    """With data at one point the noise is constant on trajectories: every formula in straight noise coordinates that
    is consistent moves x = alpha x_0 + sigma eps to alpha' x_0 + sigma' eps."""
    options = {"prediction": "noise"} if method in ("euler", "rk4", "dp5", "dop853", "ab-4", "abm-4") else {}
    if method == "dpmpp-2m":  # its own prediction, the data, is constant as well
        options = {}
    nodes = grid(steps, seed)
    x0, eps = start(3), start(3).flip(0)
    a, s = (float(f(float(nodes[0]))) for f in (PROCESS.alpha, PROCESS.sigma))
    plan = ok.plan(method, flow(), nodes, **options)
    result = plan(lambda x, t: eps, a * x0 + s * eps)
    a, s = (float(f(float(nodes[-1]))) for f in (PROCESS.alpha, PROCESS.sigma))
    assert relative(result, a * x0 + s * eps) < 1e-12


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_handful_of_steps_is_enough_for_any_method(method, steps):
    assert torch.isfinite(ok.solve(flow(), start(), method, grid(steps))).all()


class TestRefusals:
    def test_a_model_of_the_wrong_shape(self):
        with pytest.raises(ok.OdekitError, match=r"evaluation 0 \(t = 0\.6\).*\(5, 1\).*expected.*\(5, 2\)"):
            ok.plan("rk4", flow(), grid())(lambda x, t: x[:, :1], start())

    def test_a_model_of_the_wrong_dtype(self):
        with pytest.raises(ok.OdekitError, match=r"evaluation 0 .*float32; expected .*float64"):
            ok.plan("rk4", flow(), grid())(lambda x, t: x.float(), start())

    def test_a_model_that_turns_nan_is_named_with_its_evaluation_and_time(self):
        calls = []

        def model(x, t):
            calls.append(t)
            return x * float("nan") if float(t) < 0.3 else x

        nodes = grid()
        first = next(i for i, t in enumerate(nodes.tolist()) if t < 0.3)
        with pytest.raises(ok.OdekitError, match=rf"evaluation {first} \(t = .*NaN"):
            ok.plan("ddim", flow(), nodes)(model, start())

    def test_a_solver_that_diverges_is_told_from_a_broken_model(self):
        stiff = ok.VectorField(lambda x, t: -1e200 * x)
        with pytest.raises(ok.OdekitError, match="diverges"):
            ok.solve(stiff, torch.ones(1, 1).double(), "euler", ok.grid("time-uniform", (0.0, 1.0), 8))

    def test_integers_are_no_states(self):
        with pytest.raises(ok.OdekitError, match="floating-point tensor"):
            ok.solve(flow(), torch.zeros(3, 2, dtype=torch.long), "ddim", grid())

    def test_states_of_another_shape(self):
        with pytest.raises(ok.OdekitError, match=r"\(5, 3\); expected \(B, 2\)"):
            ok.solve(flow(), torch.zeros(5, 3).double(), "ddim", grid())

    def test_a_prediction_that_is_singular_at_the_end_of_the_process(self):
        process = ok.RectifiedFlow()
        nodes = ok.grid("time-uniform", (1.0, 0.1), 5)
        with pytest.raises(ok.OdekitError, match="singular"):
            ok.plan("ddim", flow("noise", process), nodes)
        assert ok.plan("rk4", flow("velocity", process), nodes).evaluations == 20

    def test_a_plain_field_has_no_noise(self):
        with pytest.raises(ok.OdekitError, match="plain field"):
            ok.plan("ddim", ok.VectorField(lambda x, t: -x), ok.grid("time-uniform", (0.0, 1.0), 4))

    def test_what_is_no_grid_no_process_and_no_plan(self):
        for grid_ in ("logsnr", [0.5, "x"], 3.0, [0.5, 0.4, 0.4], [0.4, 0.5, 0.3]):
            for run in (ok.solve, lambda f, x, m, g: ok.plan(m, f, g)):
                with pytest.raises(ok.OdekitError, match="grid"):
                    run(flow(), start(), "rk4", grid_)
        with pytest.raises(ok.OdekitError, match="a flow needs a process"):
            ok.ProbabilityFlow("vp", ok.targets.ring6())
        with pytest.raises(ok.OdekitError, match="two plans are compared; got a str"):
            ok.same(ok.plan("rk4", flow(), grid()), "rk4")

    def test_float32_and_plain_grids_are_taken_in_double_precision(self):
        nodes = [0.6, 0.4, 0.1]
        for taken in (nodes, torch.tensor(nodes, dtype=torch.float64)):
            assert ok.plan("ddim", flow(), taken).times.tolist() == nodes[:-1]
        assert ok.plan("ddim", flow(), torch.tensor(nodes).requires_grad_()).times.dtype == torch.float64


def test_different_methods_are_told_apart_at_the_right_place():
    different = ok.same(ok.plan("deis-tab-3", flow(), grid()), ok.plan("deis-tab-2", flow(), grid()))
    assert not different and different.first_difference.startswith("evaluation 4 takes")
    assert not ok.same(ok.plan("ddim", flow(), grid(6)), ok.plan("ddim", flow(), grid(7)))
    assert "at time" in ok.same(ok.plan("ddim", flow(), grid(6)), ok.plan("ddim", flow(), grid(6, 1))).first_difference


def test_a_coefficient_off_by_one_part_in_a_billion_is_seen():
    plan = ok.plan("dpmpp-2m", flow(), grid())
    segment = plan.segments[-1]
    outputs = segment.outputs.clone()
    outputs[0, 0, 0] *= 1 + 1e-9
    from dataclasses import replace

    broken = plan.replaced(segments=(*plan.segments[:-1], replace(segment, outputs=outputs)))
    assert not ok.same(plan, broken)


def test_the_growth_of_rk4_is_its_stability_polynomial():
    field = ok.VectorField(lambda x, t: -x)
    table = ok.plan("rk4", field, ok.grid("time-uniform", (0.0, 1.0), 1)).dense()
    x = torch.ones(1, 1).double()
    z = -1.0
    expected = sum(z**k / math.factorial(k) for k in range(5))
    assert float(ok.solve(field, x, "rk4", ok.grid("time-uniform", (0.0, 1.0), 1))) == pytest.approx(
        expected, abs=1e-15
    )
    assert table.inputs.shape == (4, 5) and float(table.output[1:].sum()) == pytest.approx(1.0, abs=1e-15)
