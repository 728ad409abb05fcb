"""Tracing is the inverse of planning, and textbook code is recognised as what it is and as nothing else."""

import pytest
import torch
from textbook import (
    PROCESS,
    ab2,
    ab2_in_data,
    alpha,
    ddim,
    dpmpp_2m,
    dpmpp_2m_swapped,
    euler,
    heun,
    heun_edm,
    random_grid,
    rk4,
    sigma,
)

import odekit as ok
from odekit.methods import conjugate, flow_splitting, phase_splitting, stochastic_splitting

ELSEWHERE = {
    **conjugate.METHODS, **flow_splitting.METHODS, **phase_splitting.METHODS, **stochastic_splitting.METHODS,
}  # fmt: skip
PLANNABLE = [name for name in ok.methods.names() if ok.methods.get(name).is_plannable and name not in ELSEWHERE]


def flow(prediction="noise", process=PROCESS):
    return ok.ProbabilityFlow(process, ok.targets.ring6(), prediction=prediction)


class TestTracedPlans:
    @pytest.mark.parametrize("method", PLANNABLE)
    def test_the_trace_of_a_plan_is_the_plan(self, method):
        for seed, prediction in enumerate(("noise", "data", "velocity")):
            plan = ok.plan(method, flow(prediction), random_grid(seed, steps=5 + 4 * seed))
            traced = ok.trace(plan)
            found = ok.same(plan, traced)
            assert found and ok.same(traced, plan), str(found)
            assert found.gap < 2e-15 * plan.evaluations
            assert (traced.prediction, traced.process, traced.precision) == (prediction, PROCESS, "float64")
            x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            model = flow(prediction).model
            torch.testing.assert_close(traced(model, x), plan(model, x), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("process", [ok.RectifiedFlow(), ok.EDM(), ok.Cosine()], ids=repr)
    @pytest.mark.parametrize("method", ["rk4", "dpmpp-2m", "deis-tab-2", "heun-edm", "abm-3"])
    def test_on_other_processes(self, method, process):
        ends = {"edm": (80.0, 0.002)}.get(process.name, (0.99, 0.002))
        plan = ok.plan(method, flow("velocity", process), random_grid(4, 12, process, ends))
        assert ok.same(plan, ok.trace(plan))

    def test_upwards_too(self):
        plan = ok.plan("rk4", flow(), random_grid(0).flip(0))
        assert ok.same(plan, ok.trace(plan))

    def test_a_plan_of_another_grid_is_another_plan(self):
        plans = [ok.plan("dpmpp-2m", flow(), random_grid(seed)) for seed in (0, 1)]
        assert not ok.same(plans[0], ok.trace(plans[1]))

    def test_plans_of_fifty_digits_are_traced_in_double_precision(self):
        plan = ok.plan("dpmpp-2m", flow(), random_grid(0, 4), precision=50)
        traced = ok.trace(plan)
        assert traced.precision == "float64" and ok.same(plan, traced)


# Each sampler with the prediction its model returns and the one catalogue row it is.
SAMPLERS = [
    (ddim, "noise", "ddim", {}),
    (euler, "velocity", "euler", {}),
    (heun, "velocity", "heun2", {}),
    (heun_edm, "noise", "heun-edm", {}),
    (rk4, "velocity", "rk4", {}),
    (dpmpp_2m, "noise", "dpmpp-2m", {}),
    (ab2, "velocity", "ab-2", {}),
    (dpmpp_2m_swapped, "noise", None, {}),
    (ab2_in_data, "noise", None, {}),
]
ROWS = [
    ("ddim", {}),
    ("euler", {}),
    ("heun2", {}),
    ("heun-edm", {}),
    ("rk4", {}),
    ("rk38", {}),
    ("dpmpp-2m", {}),
    ("exponential-ab-2", {}),
    ("exponential-ab-2", {"prediction": "data"}),
    ("deis-rhoab-1", {}),
    ("deis-tab-1", {}),
    ("ab-2", {}),
    ("ab-2", {"start": "heun2"}),
]


@pytest.mark.parametrize(("sampler", "prediction", "row", "options"), SAMPLERS, ids=lambda v: getattr(v, "__name__", v))
def test_textbook_code_is_its_row_of_the_catalogue_and_no_other(sampler, prediction, row, options):
    expected = [] if row is None else [(row, options)]
    for seed in range(3):
        grid = random_grid(seed)
        traced = ok.trace(sampler, grid=grid, process=PROCESS, prediction=prediction)
        plans = [(r, o, ok.plan(r, flow(prediction), grid, **o)) for r, o in ROWS]
        assert [(r, o) for r, o, plan in plans if ok.same(traced, plan)] == expected
        assert [(r, o) for r, o, plan in plans if ok.same(plan, traced)] == expected


def test_the_first_difference_is_where_the_swapped_step_is():
    grid = random_grid(5)
    right, swapped = (ok.trace(s, grid=grid, process=PROCESS) for s in (dpmpp_2m, dpmpp_2m_swapped))
    assert ok.same(right, swapped).first_difference.startswith("evaluation 2 takes")
    # On a grid of equal steps in the log-SNR they are one method: a test on such a grid sees nothing.
    even = ok.grid("logsnr", PROCESS, 9)
    assert ok.same(*(ok.trace(s, grid=even, process=PROCESS) for s in (dpmpp_2m, dpmpp_2m_swapped)))


def test_a_bound_sampler_is_traced_without_its_times():
    grid = random_grid(0)
    bound = ok.trace(lambda model, x: dpmpp_2m(model, x, grid), process=PROCESS)
    assert ok.same(bound, ok.trace(dpmpp_2m, grid=grid, process=PROCESS))
    assert bound.name == "<lambda>" and ok.trace(dpmpp_2m, grid=grid).name == "dpmpp_2m"


def test_the_model_may_be_told_sigma_or_the_log_snr():
    grid, plan = random_grid(0), ok.plan("ddim", flow(), random_grid(0))

    def told(value):
        return lambda model, x, times: ddim(lambda y, t: model(y, value(t)), x, times)

    for times, value in (
        ("process", lambda t: t),
        ("kappa", PROCESS.kappa),
        ("logsnr", PROCESS.logsnr),
        (lambda label: label / 1000, lambda t: 1000 * t),
    ):
        traced = ok.trace(told(value), grid=grid, process=PROCESS, times=times)
        assert ok.same(traced, plan)
    assert not ok.same(ok.trace(told(PROCESS.kappa), grid=grid, process=PROCESS), plan)


def test_images_and_batched_times_are_no_obstacle():
    """k-diffusion style: the model is told sigma once a sample, coefficients are spread over the state."""

    def sampler(model, x):
        for t, s in zip(random_grid(0)[:-1], random_grid(0)[1:], strict=True):
            noise = model(x, t * x.new_ones([len(x)]))
            x = x.new_full((len(x), 1, 1, 1), alpha_ratio(t, s)) * x + (sigma_gap(t, s)) * noise
        return x

    def alpha_ratio(t, s):
        return float(PROCESS.alpha(float(s)) / PROCESS.alpha(float(t)))

    def sigma_gap(t, s):
        return float(PROCESS.sigma(float(s))) - alpha_ratio(t, s) * float(PROCESS.sigma(float(t)))

    traced = ok.trace(sampler, shape=(3, 4, 4), process=PROCESS)
    assert ok.same(traced, ok.plan("ddim", flow(), random_grid(0)))


def test_a_sampler_with_the_signature_and_the_habits_of_k_diffusion():
    """model(x, sigma[B], **extra) -> denoised, sigmas in sigma / alpha, a callback, gradients switched off."""
    process = ok.EDM()

    @torch.inference_mode()
    def sample_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for i in range(len(sigmas) - 1):
            denoised = model(x, sigmas[i] * x.new_ones([x.shape[0]]), **(extra_args or {}))
            x = x + (x - denoised) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
        return x

    sigmas = random_grid(0, 8, process, (80.0, 0.002))
    traced = ok.trace(sample_euler, grid=sigmas, times="kappa", process=process, prediction="data")
    assert ok.same(traced, ok.plan("ddim", flow("data", process), sigmas))
    to_zero = torch.cat([sigmas, torch.zeros(1).double()])
    traced = ok.trace(sample_euler, grid=to_zero, times="kappa", process=process, prediction="data")
    assert ok.same(traced, ok.plan("ddim", flow("data", process), to_zero))


@pytest.mark.parametrize("kind", ["partial", "module", "method", "starred"])
def test_any_kind_of_callable(kind):
    import functools

    class Sampler(torch.nn.Module):
        def forward(self, model, x):
            return ddim(model, x, grid)

        sample = forward

    grid = random_grid(0)
    made = {
        "partial": functools.partial(ddim, times=grid),
        "module": Sampler(),
        "method": Sampler().sample,
        "starred": lambda *arguments: ddim(*arguments, grid),
    }[kind]
    assert ok.same(ok.trace(made, process=PROCESS), ok.trace(ddim, grid=grid, process=PROCESS))


def test_samplers_that_write_into_their_arguments():
    def careless(model, x, times):
        for t, s in zip(times[:-1], times[1:], strict=True):
            x.mul_(alpha(s) / alpha(t)).add_(model(x, t).mul_(sigma(s)))
        return x

    def careful(model, x, times):
        for t, s in zip(times[:-1], times[1:], strict=True):
            x = alpha(s) / alpha(t) * x
            x = x + sigma(s) * model(x, t)
        return x

    grid = random_grid(0)
    assert ok.same(ok.trace(careless, grid=grid), ok.trace(careful, grid=grid))
    assert not ok.same(ok.trace(careless, grid=grid), ok.trace(ddim, grid=grid))


class TestCompression:
    @pytest.mark.parametrize(
        ("method", "rank"),
        [("ddim", 1), ("euler", 1), ("heun2", 2), ("rk4", 3), ("dpmpp-2m", 2), ("deis-tab-3", 4), ("ab-5", 5)],
    )
    def test_registers_are_the_hankel_rank(self, method, rank):
        options = {"start": "rising"} if method == "ab-5" else {}
        traced = ok.trace(ok.plan(method, flow(), random_grid(2, 14), **options))
        assert traced.registers == rank == traced.compress().registers

    @pytest.mark.parametrize("steps", [60, 200])
    def test_the_last_steps_of_a_long_program_keep_their_memory(self, steps):
        """On all of VP the coefficients of x_T grow to 1/alpha_T = 150, those of the last outputs are 1e-5 of them."""
        grid = random_grid(1, steps, ends=(0.9999, 1e-4))
        plan = ok.plan("dpmpp-2m", flow(), grid)
        traced = ok.trace(plan)
        assert all(len(s.slots) == 2 for s in traced.segments if s.steps > 1)
        x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        torch.testing.assert_close(traced(flow().model, x), plan(flow().model, x), rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize("method", ["rk4", "dpmpp-2m", "deis-tab-3", "dp5"])
    def test_the_first_register_is_the_next_input(self, method):
        """What a reader takes for the state is one, and what `watch` shows of a run."""
        for segment in ok.trace(ok.plan(method, flow(), random_grid(0))).segments:
            inputs = segment.inputs[:, 0]
            assert torch.equal(inputs, torch.eye(inputs.shape[1]).double()[:1].expand_as(inputs))
