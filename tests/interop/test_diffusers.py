"""diffusers' own schedulers, traced: the table is the scheduler, with its grid, scale and noise."""

import pytest
import torch
from traced_schedulers import PLAIN, SINGLE, diffusers, identity, model, own_run, scheduler, start

import odekit as ok
from odekit.interop.diffusers import adapt, grid_of, process_of


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("steps", [5, 14, 25])
@pytest.mark.parametrize(("name", "config"), PLAIN, ids=identity)
def test_the_table_reproduces_the_schedulers_own_output(name, config, steps, spacing):
    made = scheduler(name, steps, timestep_spacing=spacing, **config)
    plan, x = ok.trace(made), start() * (100 if name == "EulerDiscrete" else 1)
    own = own_run(made, x)
    assert plan.precision == "float32"
    assert float((plan(model, x) - own).abs().max()) < 32 * SINGLE * float(own.abs().max())


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("UniPCMultistep", {}),
        ("DEISMultistep", {}),
        ("HeunDiscrete", {}),
        ("LMSDiscrete", {}),
        ("KDPM2Discrete", {}),
        ("DPMSolverSinglestep", {}),
        ("SASolver", dict(tau_func=lambda t: 0)),  # draws, and multiplies by zero
        ("FlowMatchEulerDiscrete", dict(shift=3.0)),
        ("FlowMatchHeunDiscrete", {}),
        ("CogVideoXDDIM", dict(clip_sample=False)),
        ("DPMSolverMultistepInverse", {}),
    ],
    ids=identity,
)
def test_other_schedulers_that_keep_the_protocol_are_traced_as_well(name, config):
    made = scheduler(name, 12, **config)
    plan = ok.trace(made)
    x = start() * plan.state_scale[0]
    own = own_run(made, x)
    result = plan(model, x, noise=lambda k: torch.randn_like(x))
    assert float((result - own).abs().max()) < 32 * SINGLE * float(own.abs().max())


@pytest.mark.parametrize(
    ("name", "custom"),
    [
        ("EulerDiscrete", dict(timesteps=[999, 760, 333, 120, 3])),
        ("EulerDiscrete", dict(sigmas=[100.0, 31.0, 8.0, 1.7, 0.2, 0.0])),
        ("DPMSolverMultistep", dict(timesteps=[999, 760, 333, 120, 3])),
        ("DDPM", dict(timesteps=[999, 760, 333, 120, 3], clip_sample=False)),
        ("FlowMatchEulerDiscrete", dict(sigmas=[1.0, 0.7, 0.33, 0.1])),
    ],
    ids=identity,
)
def test_custom_timesteps_and_sigmas(name, custom):
    made = scheduler(name, **custom)
    plan, grid = ok.trace(made), grid_of(made)
    assert len(grid) == plan.evaluations + 1 and float(grid[-1]) == 0
    # The network of this Euler is told labels interpolated in log sigma, ours the table's own times: 5e-4 apart.
    torch.testing.assert_close(plan.times, grid[:-1], rtol=2e-3 if "sigmas" in custom else 1e-6, atol=0)
    if name != "DDPM":
        x = start() * plan.state_scale[0]
        own = own_run(made, x)
        assert float((plan(model, x) - own).abs().max()) < 32 * SINGLE * float(own.abs().max())


class TestStateScale:
    def test_the_scaled_program_is_the_same_in_the_processes_own_state(self):
        made = scheduler("EulerDiscrete", 10)
        carried = ok.trace(made)
        plain = carried.reexpress(state_scale=(1.0, 1.0))
        x = start()
        there = carried(model, x * carried.state_scale[0]) / carried.state_scale[1]
        torch.testing.assert_close(plain(model, x), there, rtol=1e-12, atol=1e-12)
        assert plain.state_scale == (1.0, 1.0) and ok.same(plain, carried) and ok.same(carried, plain)

    def test_what_is_scaled_is_x_over_alpha(self):
        made = scheduler("EulerDiscrete", 10, final_sigmas_type="sigma_min")
        traced = ok.trace(made)
        alphas = [float(traced.process.alpha(float(t))) for t in (traced.times[0], grid_of(made)[-1])]
        assert traced.state_scale == pytest.approx([1 / a for a in alphas], rel=1e-6)
        # The model sees the process's own state: its first input is alpha times the scheduler's.
        assert float(traced.dense().inputs[0, 0]) == pytest.approx(alphas[0], rel=1e-6)


class TestGrid:
    @pytest.mark.parametrize(("name", "config"), PLAIN, ids=identity)
    def test_the_model_is_asked_where_steps_begin(self, name, config):
        made = scheduler(name, 10, timestep_spacing="trailing", **config)
        asked, grid = ok.trace(made).times, grid_of(made)
        assert len(grid) == 11 and bool((grid.diff() < 0).all())
        distances = (grid[:-1, None] - asked).abs().min(dim=1).values
        assert float(distances.max()) < 1e-7

    def test_where_it_ends(self):
        ends = {
            one: grid_of(scheduler("DDIM", 10, clip_sample=False, set_alpha_to_one=one))[-1] for one in (True, False)
        }
        assert float(ends[True]) == 0.0 and float(ends[False]) == pytest.approx(1e-3)
        assert float(grid_of(scheduler("PNDM", 10))[-1]) == pytest.approx(1e-3)  # set_alpha_to_one=False by default
        assert float(grid_of(scheduler("DDPM", 10))[-1]) == 0.0
        assert float(grid_of(scheduler("DPMSolverMultistep", 10, final_sigmas_type="sigma_min"))[-1]) == pytest.approx(
            1e-3, rel=1e-5
        )

    def test_repeated_sigmas_of_stages_count_once(self):
        assert len(grid_of(scheduler("HeunDiscrete", 6))) == 7


class TestNoise:
    """Schedulers that draw: fed the same noises, the plan is the scheduler."""

    @pytest.mark.parametrize(
        ("name", "config", "dtype"),
        [
            ("DDPM", dict(clip_sample=False), torch.float64),
            ("DDPM", dict(clip_sample=False, variance_type="fixed_large"), torch.float64),
            ("EulerAncestralDiscrete", {}, torch.float64),
            ("KDPM2AncestralDiscrete", {}, torch.float64),
            ("DPMSolverMultistep", dict(algorithm_type="sde-dpmsolver++"), torch.float32),
            ("LCM", dict(clip_sample=False), torch.float64),
            ("FlowMatchEulerDiscrete", dict(stochastic_sampling=True), torch.float64),
        ],
        ids=identity,
    )
    def test_the_plan_reproduces_the_scheduler_fed_the_same_noises(self, name, config, dtype):
        made = scheduler(name, 9, **config)
        plan = ok.trace(made)
        assert plan.draws > 0
        x = start() * plan.state_scale[0]
        torch.manual_seed(11)
        own = own_run(made, x)
        torch.manual_seed(11)
        noises = [torch.randn(x.shape, dtype=dtype).double() for _ in range(plan.draws)]
        assert float((plan(model, x, noise=noises.__getitem__) - own).abs().max()) < 32 * SINGLE * float(
            own.abs().max()
        )
        other = plan(model, x, noise=lambda k: noises[-k])
        assert float((other - own).abs().max()) > 1e-3 * float(own.abs().max())

    def test_the_noise_of_ddpm_is_its_posterior(self):
        """Ho et al. 2020, eq. 7: variance beta_t (1 - abar_s) / (1 - abar_t), beta_t = 1 - abar_t / abar_s."""
        made = scheduler("DDPM", 50, clip_sample=False)
        table = ok.trace(made).dense()
        direct = table.noise_inputs.diagonal(-1)  # draw j enters the input of evaluation j + 1 first
        abar = made.alphas_cumprod.double()[made.timesteps]
        later, earlier = abar[:-1], abar[1:]
        expected = ((1 - later / earlier) * (1 - earlier) / (1 - later)).sqrt()
        torch.testing.assert_close(direct, expected, rtol=2e-5, atol=0)
        assert table.noise_output.shape == (49,) and table.noise_intervals is None

    def test_tracing_leaves_the_generator_alone(self):
        made = scheduler("DDPM", 5, clip_sample=False)
        torch.manual_seed(5)
        before = torch.random.get_rng_state()
        ok.trace(made)
        assert torch.equal(before, torch.random.get_rng_state())


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "config", "words"),
        [
            ("DDIM", dict(clip_sample=True), "DDIMScheduler is set to clip_sample=True.*clip_sample=False"),
            ("DPMSolverMultistep", dict(thresholding=True), "set to thresholding=True.*thresholding=False"),
            ("CMStochasticIterative", {}, "CMStochasticIterativeScheduler cannot be placed on a process"),
            ("IPNDM", {}, "IPNDMScheduler cannot be placed on a process: it has neither alphas_cumprod"),
            ("EulerDiscrete", dict(timestep_type="continuous", prediction_type="v_prediction"), "cannot be placed"),
            ("FlowMatchEulerDiscrete", dict(invert_sigmas=True), "cannot be placed on a process"),
            (
                "RePaint",
                dict(clip_sample=False),
                "sampler failed .*missing 2 required positional arguments: 'original_image' and 'mask'",
            ),
            ("DDIM", dict(clip_sample=False, rescale_betas_zero_snr=True), r"alphas_cumprod\[999\] = 0"),
        ],
        ids=identity,
    )
    def test_one_line_that_says_what_and_why(self, name, config, words):
        with pytest.raises(ok.OdekitError, match=words) as refusal:
            ok.trace(scheduler(name, 4, **config))
        assert "\n" not in str(refusal.value)

    def test_a_scheduler_without_timesteps(self):
        with pytest.raises(ok.OdekitError, match=r"DDIMScheduler has no timesteps yet: call scheduler.set_timesteps"):
            ok.trace(diffusers.DDIMScheduler(clip_sample=False))
        with pytest.raises(ok.OdekitError, match="no timesteps yet"):
            grid_of(diffusers.DDIMScheduler(clip_sample=False))
        with pytest.raises(ok.OdekitError, match="DDIMInverseScheduler does not step down its timesteps"):
            grid_of(scheduler("DDIMInverse", 5))

    def test_coefficients_that_are_not_finite(self):
        """UniPC's bh1 divides infinity by infinity in the step to sigma = 0 (spec/samplers.md, finding 4)."""
        made = scheduler("UniPCMultistep", 6, solver_type="bh1")
        with pytest.raises(ok.OdekitError, match="the result holds NaN or inf"):
            ok.trace(made)


def test_process_times_and_labels_belong_together():
    made = scheduler("DDIM", 10, clip_sample=False)
    process, placed = process_of(made), adapt(made)
    for label in (0, 500, 999):
        assert float(process.alpha(placed.time(label))) ** 2 == pytest.approx(
            float(made.alphas_cumprod[label]), rel=1e-7
        )
