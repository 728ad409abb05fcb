"""Adaptive steps: counted, compared with an independent program, and refused where they cannot work."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.exceptions import (
    DivergenceError,
    GridError,
    MethodError,
    ModelError,
    OdekitError,
    TimeRangeError,
    UnknownNameError,
)
from odekit.fields import VectorField, problems
from odekit.methods import files
from odekit.methods.runge_kutta import RungeKutta
from odekit.solve import solve
from odekit.solve.adaptive import GROW, SHRINK, Control

DECAY = VectorField(lambda x, t: -x, name="decay")
ONE = torch.ones(1, 1, dtype=torch.float64)


class Counting(VectorField):
    """A field that counts its calls and remembers their times."""

    def __init__(self, function):
        self.times = []

        def counted(x, t):
            assert torch.is_tensor(t) and t.ndim == 0 and t.dtype == torch.float64
            self.times.append(float(t))
            return function(x, t)

        super().__init__(counted)


def classical(name, method, samples=1, **options):
    problem = problems.get(name)
    span = {"t_start": problem.t_start, "t_end": problem.t_end}
    solution = solve(problem.field, problem.x0[:samples], method, full=True, **span, **options)
    exact, _ = problem.solution(problem.t_end)
    return solution, float((solution.x - exact[:samples]).abs().max())


def mixture(process=None, prediction="noise", samples=3):
    process = process or ok.VP()
    flow = ok.ProbabilityFlow(process, ok.targets.ring6(), prediction=prediction)
    generator = torch.Generator().manual_seed(0)
    x = flow.target.sample(samples, seed=1)
    x = process.alpha(0.5) * x + process.sigma(0.5) * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return flow, x


# Counts.


@pytest.mark.parametrize("method, stages, fsal", [("dp5", 7, True), ("bs3", 4, True), ("cash-karp", 6, False)])
@pytest.mark.parametrize("h0", [None, 0.05])
def test_every_evaluation_is_counted_and_none_is_wasted(method, stages, fsal, h0):
    field = Counting(problems.get("van-der-pol").field)
    x = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    s = solve(field, x, method, t_start=0.0, t_end=3.0, rtol=1e-4, atol=1e-4, h0=h0, full=True).statistics
    accepted, rejected = int(s.accepted), int(s.rejected)
    assert accepted > 5 and rejected > 0
    # The first slope, one probe for the first step, the other stages of every attempt; where the last stage is not the
    # next step's first, one more for every step but the last. A rejected step keeps its first stage.
    expected = 1 + (h0 is None) + (stages - 1) * (accepted + rejected) + (0 if fsal else accepted - 1)
    assert int(s.evaluations) == len(field.times) == expected


@pytest.mark.parametrize("method, program, rtol", [("dp5", "RK45", 1e-6), ("dp5", "RK45", 1e-9), ("bs3", "RK23", 1e-5)])
def test_as_many_steps_as_an_independent_program(method, program, rtol):
    problem = problems.get("arenstorf")
    ours, _ = classical("arenstorf", method, rtol=rtol, atol=rtol, controller="i")
    theirs = solve_ivp(
        lambda t, y: problem.field(torch.from_numpy(y.copy()).reshape(1, 2, 2), t).flatten().numpy(),
        (problem.t_start, problem.t_end), problem.x0.flatten().numpy(), method=program, rtol=rtol, atol=rtol,
    )  # fmt: skip
    assert int(ours.statistics.accepted) == pytest.approx(len(theirs.t) - 1, rel=0.05)
    assert int(ours.statistics.evaluations) == pytest.approx(theirs.nfev, rel=0.05)


PINNED = {
    ("arenstorf", "dp5", "pi"): (335, 46),
    ("arenstorf", "dp5", "i"): (320, 32),
    ("arenstorf", "dop853", "pi"): (195, 52),
    ("kepler", "tsit5", "i"): (79, 6),
    ("kepler", "verner6", "i"): (48, 9),
    ("kepler", "dp5", "i"): (75, 2),
}


def attempts(solution):
    return int(solution.statistics.accepted) + int(solution.statistics.rejected)


@pytest.mark.parametrize("name, method, controller", PINNED)
def test_step_counts_do_not_move(name, method, controller):
    solution, _ = classical(name, method, rtol=1e-8, atol=1e-8, controller=controller)
    assert attempts(solution) == pytest.approx(sum(PINNED[name, method, controller]), rel=0.05)


@pytest.mark.parametrize("entry, shift", [(4, "1/1000"), (6, "1/2000")])
def test_a_wrong_embedded_weight_shows_in_the_step_count(entry, shift):
    table = files.get("dp5")
    wrong = list(table.b_embedded)
    wrong[entry], wrong[3] = f"{wrong[entry]}+{shift}", f"{wrong[3]}-{shift}"  # consistent, and of order one
    mutant = RungeKutta(dataclasses.replace(table, b_embedded=tuple(wrong)))
    solution, _ = classical("kepler", mutant, rtol=1e-8, atol=1e-8, controller="i")
    assert attempts(solution) > 1.2 * sum(PINNED["kepler", "dp5", "i"])


# Accuracy.


def proportionality(method, *tolerances):
    """The slope of log error against log tolerance."""
    errors = [classical("kepler", method, rtol=tol, atol=tol, controller="i")[1] for tol in tolerances]
    return math.log(errors[0] / errors[-1]) / math.log(tolerances[0] / tolerances[-1])


@pytest.mark.parametrize("method", ["bs3", "dp5", "tsit5", "verner6"])
def test_the_error_is_proportional_to_the_tolerance(method):
    tolerances = (1e-5, 1e-7) if method == "bs3" else (1e-8, 1e-11)
    assert proportionality(method, *tolerances) == pytest.approx(1.0, abs=0.15)


def test_with_an_estimate_of_another_order_it_is_not():
    table = dataclasses.replace(files.get("dp5"), b_embedded=("1", *"000000"), embedded_order=1)
    assert proportionality(RungeKutta(table), 1e-3, 1e-5) > 1.5  # order 5 behind an estimate h^2: tol^(5/2)


@pytest.mark.parametrize("method", ["dp5", "dop853"])
@pytest.mark.parametrize("process", [ok.VP(), ok.RectifiedFlow()], ids=["vp", "rectified-flow"])
@pytest.mark.parametrize("control", ["per-sample", "batch"])
def test_mixture_flows_to_the_tolerance(method, process, control):
    flow, x = mixture(process)
    exact = ok.reference(flow, x, 0.02, t_start=0.5)
    errors = []
    for tol in (1e-6, 1e-9):
        result = solve(flow, x, method, t_start=0.5, t_end=0.02, rtol=tol, atol=tol, control=control)
        errors.append(float((result - exact.x).abs().max()))
        assert errors[-1] < 300 * tol
    assert errors[1] < errors[0] / 100


def test_a_method_runs_in_its_own_coordinates():
    flow, x = mixture()
    exact = ok.reference(flow, x, 0.01, t_start=0.5).x
    runs = {
        p: solve(flow, x, "dp5", prediction=p, t_start=0.5, t_end=0.01, rtol=1e-8, atol=1e-8, full=True)
        for p in ("velocity", "noise", "data")
    }
    for run in runs.values():
        assert (run.x - exact).abs().max() < 1e-6
    assert len({tuple(run.statistics.accepted.tolist()) for run in runs.values()}) == 3


def test_defaults_are_the_range_of_the_process():
    process = ok.VP()
    flow = ok.ProbabilityFlow(process, ok.targets.ring6())
    x = torch.randn(2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    solution = solve(flow, x, "dp5", full=True)
    for times in solution.times:
        assert times[0] == process.t_max and times[-1] == process.t_min and (times.diff() < 0).all()


# Control.


@pytest.mark.parametrize("method", ["dp5", "dop853"])
def test_pi_does_not_bounce_off_the_stability_boundary(method):
    problem = problems.get("van-der-pol", mu=50.0)
    start = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    rejected = {}
    for controller in ("i", "pi"):
        run = solve(
            problem.field, start, method, t_start=0.0, t_end=3.0, rtol=1e-3, atol=1e-3, controller=controller, full=True
        )
        rejected[controller] = int(run.statistics.rejected)
    assert rejected["pi"] <= 3 < 10 < rejected["i"]


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0, 1e6),
    st.one_of(st.none(), st.floats(0, 1)),
    st.booleans(),
    st.integers(2, 9),
    st.sampled_from(["i", "pi"]),
)
def test_laws_of_the_step(error, previous, rejected, k, controller):
    factor = Control(1e-3, 1e-3, k, controller).factor(error, previous, rejected)
    assert SHRINK <= factor <= GROW
    if error > 1 or rejected:
        assert factor <= 1
    if error > 1:
        assert factor <= 0.9


def test_both_laws_rest_at_the_same_error_and_a_number_that_is_none_shrinks():
    for k in (3, 5, 9):
        for controller in ("i", "pi"):
            rule = Control(1e-3, 1e-3, k, controller)
            assert rule.factor(0.9**k, 0.9**k, False) == pytest.approx(1)
            assert rule.factor(math.nan, 0.1, False) == rule.factor(math.inf, None, False) == SHRINK


def test_the_norm_is_relative_to_the_larger_end_and_rms_over_a_sample():
    rule = Control(rtol=0.1, atol=0.01, k=5, controller="i")
    before = torch.tensor([[1.0, 0.0, -3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    after = torch.tensor([[-2.0, 0.0, 1.0], [0.0, 0.0, 0.4]], dtype=torch.float64)
    error = torch.tensor([[0.21, 0.02, -0.31], [0.0, 0.0, 0.05]], dtype=torch.float64)
    assert rule.norm(error, before, after) == pytest.approx(math.sqrt((1 + 4 + 1) / 3))
    assert rule.norm(error[1:], before[1:], after[1:]) == pytest.approx(math.sqrt(1 / 3))


def test_a_sample_does_not_depend_on_its_company():
    flow, x = mixture(samples=5)
    options = {"t_start": 0.5, "t_end": 0.05, "rtol": 1e-5, "atol": 1e-5}
    together = solve(flow, x, "dp5", full=True, **options)
    order = [3, 0, 4, 1, 2]
    assert torch.equal(solve(flow, x[order], "dp5", **options), together.x[order])
    for i in range(5):
        alone = solve(flow, x[i : i + 1], "dp5", full=True, **options)
        assert torch.equal(alone.x[0], together.x[i])
        assert torch.equal(alone.times[0], together.times[i])
        for count in ("evaluations", "accepted", "rejected"):
            assert getattr(alone.statistics, count)[0] == getattr(together.statistics, count)[i]
    # The negative control: one step for all does depend on it.
    batch = solve(flow, x, "dp5", control="batch", **options)
    assert any(
        not torch.equal(solve(flow, x[i : i + 1], "dp5", control="batch", **options)[0], batch[i]) for i in range(5)
    )


def test_the_norm_of_a_batch_is_its_worst_sample():
    field = problems.get("van-der-pol").field
    hard = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    easy = torch.zeros(63, 2, dtype=torch.float64)  # an equilibrium: no error at all
    options = {"t_start": 0.0, "t_end": 5.0, "control": "batch", "full": True, "h0": 0.01}
    alone, both = (solve(field, x, "dp5", **options) for x in (hard, torch.cat([easy, hard])))
    assert torch.equal(alone.times, both.times) and torch.equal(alone.x[0], both.x[-1])
    assert isinstance(both.statistics.evaluations, int) and both.statistics.evaluations == alone.statistics.evaluations
    assert both.trajectory.shape == (len(both.times), 64, 2) and both.statistics.accepted == len(both.times) - 1


# Ends and directions.


@pytest.mark.parametrize("control", ["per-sample", "batch"])
def test_there_and_back(control):
    flow, x = mixture()
    options = {"rtol": 1e-10, "atol": 1e-10, "control": control}
    there = solve(flow, x, "dop853", t_start=0.5, t_end=0.05, **options)
    back = solve(flow, there, "dop853", t_start=0.05, t_end=0.5, **options)
    assert (there - x).abs().max() > 0.1
    assert (back - x).abs().max() < 1e-8


@settings(deadline=None, max_examples=25)
@given(st.floats(-3, 3), st.floats(-3, 3), st.sampled_from([None, 1e-3, 10.0]))
def test_the_last_step_lands_on_the_end(start, end, h0):
    if start == end:
        return
    run = solve(DECAY, ONE, "bs3", t_start=start, t_end=end, rtol=1e-3, atol=1e-3, h0=h0, full=True)
    (times,), (states,) = run.times, run.trajectory
    assert times[0] == start and times[-1] == end and len(times) == int(run.statistics.accepted) + 1
    assert (times.diff() * math.copysign(1, end - start) > 0).all()
    assert torch.equal(states[0], ONE[0]) and torch.equal(states[-1], run.x[0])
    assert abs(run.x.item() - math.exp(start - end)) < 0.05 * max(1.0, math.exp(start - end))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(dtype):
    x = torch.linspace(0.1, 1, 12, dtype=dtype).reshape(2, 3, 2)
    result = solve(DECAY, x, "dp5", t_start=0.0, t_end=1.0, rtol=1e-5, atol=1e-5)
    assert result.dtype == dtype and result.shape == x.shape
    assert torch.allclose(result, x * math.exp(-1), rtol=1e-4)
    flat = solve(DECAY, x[:, 0, 0], "dp5", t_start=0.0, t_end=1.0, rtol=1e-5, atol=1e-5)
    assert flat.shape == (2,) and torch.allclose(flat, x[:, 0, 0] * math.exp(-1), rtol=1e-4)


def test_a_trial_step_that_overflows_is_only_rejected():
    field = VectorField(lambda x, t: -torch.exp(x * x))
    x = torch.full((1, 1), 3.0, dtype=torch.float64)
    run = solve(field, x, "dp5", t_start=0.0, t_end=0.1, h0=0.1, full=True)
    assert int(run.statistics.rejected) > 0
    assert (run.x - ok.reference(field, x, 0.1, t_start=0.0).x).abs().max() < 1e-4


# Refusals.


def test_nan_is_named_by_evaluation_and_time():
    field = Counting(lambda x, t: x * math.nan if float(t) > 0.5 else -x)
    with pytest.raises(ModelError) as refusal:
        solve(field, ONE, "dp5", t_start=0.0, t_end=1.0)
    first = next(i for i, t in enumerate(field.times) if t > 0.5)
    assert f"evaluation {first} (t = {field.times[first]:.6g})" in str(refusal.value)
    assert "NaN" in str(refusal.value) and "sample 0" in str(refusal.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_the_model_cannot_answer_is_its_fault(value):
    with pytest.raises(ModelError, match=r"evaluation 0 \(t = 2\)"):
        solve(VectorField(lambda x, t: x * value), ONE, "dp5", t_start=2.0, t_end=3.0, control="batch")


def test_a_wrong_shape_is_named():
    with pytest.raises(ModelError, match=r"evaluation 0 .*expected"):
        solve(VectorField(lambda x, t: x[:, :0]), ONE, "dp5", t_start=0.0, t_end=1.0)


def test_a_singularity_underflows_at_its_time():
    with pytest.raises(DivergenceError, match=r"underflows at t = (0\.99999|1\.00000|1[^.])"):
        solve(VectorField(lambda x, t: x * x), ONE, "dp5", t_start=0.0, t_end=2.0)


def test_a_tolerance_beyond_the_dtype_says_so():
    field = problems.get("van-der-pol").field
    with pytest.raises(DivergenceError, match="float32.*rtol >= "):
        solve(field, torch.tensor([[2.0, 0.5]]), "dp5", t_start=0.0, t_end=3.0, rtol=1e-12, atol=1e-12, max_steps=500)


def test_too_many_steps_give_advice():
    with pytest.raises(DivergenceError, match=r"7 steps \(\d rejected\) reached t = .*implicit"):
        classical("arenstorf", "dp5", max_steps=7)


@pytest.mark.parametrize(
    "changed, error, says",
    [
        ({"rtol": 0.0}, OdekitError, "rtol = 0.0"),
        ({"rtol": math.nan}, OdekitError, "rtol = nan"),
        ({"atol": -1e-3}, OdekitError, "atol = -0.001"),
        ({"atol": "small"}, OdekitError, "atol = 'small'"),
        ({"h0": -0.1}, OdekitError, "h0"),
        ({"t_end": 0.0}, GridError, "nothing to integrate"),
        ({"t_end": math.inf}, GridError, "finite"),
        ({"t_end": None}, GridError, "t_start and t_end"),
        ({"control": "per-samples"}, UnknownNameError, "did you mean 'per-sample'"),
        ({"controller": "pid"}, UnknownNameError, "did you mean 'pi'"),
        ({"method": "rk4"}, MethodError, "rk4 has no embedded pair.*dp5"),
        ({"method": "ab-3"}, MethodError, "ab-3 has no embedded pair.*tsit5"),
        ({"method": "dp6"}, UnknownNameError, "dp5"),
        ({"prediction": "noise"}, OdekitError, "plain field"),
    ],
)
def test_refusals(changed, error, says):
    options = {"method": "dp5", "t_start": 0.0, "t_end": 1.0} | changed
    with pytest.raises(error, match=says):
        solve(DECAY, ONE, **options)


def test_times_outside_the_process_and_infinite_clocks_are_refused():
    flow, x = mixture(ok.RectifiedFlow())
    with pytest.raises(TimeRangeError, match="1.5"):
        solve(flow, x, "dp5", t_start=1.5)
    with pytest.raises(GridError, match="infinite at t = 0"):
        solve(flow, x, "dp5", prediction="data", t_start=0.5, t_end=0.0)
    with pytest.raises(OdekitError, match="empty"):
        solve(flow, x[:0], "dp5", t_start=0.5, t_end=0.1)
