"""diffusers' own schedulers, traced: the table is the scheduler, and `same` says which method it is."""

import copy
import logging

import pytest
import torch

import odekit as ok
from odekit.interop.diffusers import adapt, grid_of, process_of
from odekit.plan.dense import live

diffusers = pytest.importorskip("diffusers")
diffusers.utils.logging.set_verbosity(logging.ERROR)

SINGLE = 2.0**-23


def scheduler(name, steps=10, timesteps=None, sigmas=None, **config):
    made = getattr(diffusers, name + "Scheduler")(**config)
    if timesteps is not None:
        made.set_timesteps(timesteps=timesteps)
    elif sigmas is not None:
        made.set_timesteps(sigmas=sigmas)
    else:
        made.set_timesteps(steps)
    return made


def start(count=3, dtype=torch.float64):
    return torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(3), dtype=dtype)


def model(x, t):
    """Nonlinear, time-dependent, mixing elements; t is process time."""
    return torch.tanh(1.3 * x + 0.3 * x.flip(-1)) + torch.cos(7 * torch.as_tensor(t).double()).to(x.dtype)


def own_run(made, x):
    """The scheduler's own loop, straight from the protocol."""
    placed, made = adapt(made), copy.deepcopy(made)
    for t in made.timesteps:
        y = made.scale_model_input(x, t) if hasattr(made, "scale_model_input") else x
        x = made.step(model(y, placed.time(float(t))), t, x).prev_sample
    return x


def flow(plan):
    return ok.ProbabilityFlow(plan.process, model, prediction=plan.prediction)


def recognised(made, method, grid=None, **options):
    traced = ok.trace(made)
    return ok.same(traced, ok.plan(method, flow(traced), grid_of(made) if grid is None else grid, **options))


PLAIN = [
    ("DDIM", dict(clip_sample=False)),
    ("DDIM", dict(clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction")),
    ("DDIM", dict(clip_sample=False, prediction_type="sample")),
    ("EulerDiscrete", {}),
    ("EulerDiscrete", dict(prediction_type="v_prediction")),
    ("DPMSolverMultistep", {}),
    ("DPMSolverMultistep", dict(solver_type="heun", prediction_type="v_prediction")),
    ("PNDM", {}),
    ("PNDM", dict(skip_prk_steps=True)),
]


def identity(case):
    if not isinstance(case, dict):
        return str(case)
    # A function's address differs from process to process, and workers must agree on the names of tests.
    return ",".join(f"{k}={getattr(v, '__name__', v)}" for k, v in case.items()) or "default"


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


class TestRecognition:
    """Which method of ours a scheduler is: at float32 tolerance, and at that tolerance no other."""

    @pytest.mark.parametrize("steps", [2, 10, 20, 50, 250])
    @pytest.mark.parametrize("ends_at_one", [True, False])
    def test_ddim(self, steps, ends_at_one):
        made = scheduler("DDIM", steps, clip_sample=False, set_alpha_to_one=ends_at_one)
        assert recognised(made, "ddim")
        for other in ("euler", "deis-rhoab-1", "dpmpp-2m") if steps > 2 else ("euler",):
            assert not recognised(made, other)

    @pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
    def test_ddim_in_any_prediction(self, prediction):
        assert recognised(scheduler("DDIM", 10, clip_sample=False, prediction_type=prediction), "ddim")

    @pytest.mark.parametrize("steps", [2, 10, 50])
    def test_euler_discrete_is_ddim_in_another_state_scale(self, steps):
        """Karras et al. 2022, C.5: Euler in sigma is DDIM; the scheduler carries x / alpha."""
        made = scheduler("EulerDiscrete", steps, timestep_spacing="trailing")
        assert ok.trace(made).state_scale[0] > 100
        assert recognised(made, "ddim")
        assert not recognised(made, "euler")

    @pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
    @pytest.mark.parametrize("steps", [5, 14, 15, 50])
    def test_dpm_solver_multistep_is_2m(self, steps, spacing):
        made = scheduler("DPMSolverMultistep", steps, timestep_spacing=spacing)
        assert recognised(made, "dpmpp-2m")
        for other, options in (("ddim", {}), ("exponential-ab-2", {"prediction": "data"}), ("exponential-ab-2", {})):
            found = recognised(made, other, **options)
            assert not found and found.first_difference.startswith("evaluation 2 takes")

    @pytest.mark.parametrize("steps", [5, 20, 250])
    def test_the_last_step_is_seen_however_small_it_is(self, steps):
        """final_sigmas_type="sigma_min" ends before sigma = 0; lower_order_final then applies below 15 steps."""
        lowered = scheduler("DPMSolverMultistep", steps, final_sigmas_type="sigma_min", euler_at_final=True)
        full = scheduler("DPMSolverMultistep", steps, final_sigmas_type="sigma_min", lower_order_final=False)
        assert recognised(lowered, "dpmpp-2m", last="lower") and recognised(full, "dpmpp-2m")
        for made, last in ((lowered, "full"), (full, "lower")):
            found = recognised(made, "dpmpp-2m", last=last)
            assert not found and found.first_difference.startswith("the output takes")

    def test_few_steps_lower_the_order_at_the_end(self):
        made = scheduler("DPMSolverMultistep", 10, final_sigmas_type="sigma_min")
        assert recognised(made, "dpmpp-2m", last="lower") and not recognised(made, "dpmpp-2m")

    @pytest.mark.parametrize("steps", [5, 50])
    def test_the_heun_type_is_another_method_which_we_also_know(self, steps):
        made = scheduler("DPMSolverMultistep", steps, solver_type="heun")
        assert not recognised(made, "dpmpp-2m")
        assert recognised(made, "exponential-ab-2", prediction="data")

    def test_dpm_solver_of_order_one_is_ddim(self):
        assert recognised(scheduler("DPMSolverMultistep", 10, solver_order=1), "ddim")

    def test_heun_discrete_is_edm_heun(self):
        made = scheduler("HeunDiscrete", 8, timestep_spacing="leading")
        assert recognised(made, "heun-edm") and not recognised(made, "ddim")

    def test_flow_match_euler_is_euler(self):
        made = scheduler("FlowMatchEulerDiscrete", 10, shift=3.0)
        traced = ok.trace(made)
        assert traced.process == ok.RectifiedFlow() and traced.prediction == "velocity"
        assert recognised(made, "euler") and recognised(made, "ab-1") and not recognised(made, "ab-2")

    def test_another_step_in_the_table_is_another_program(self):
        made = scheduler("DDIM", 20, clip_sample=False)
        grid = grid_of(made)
        grid[12] *= 1 + 1e-4
        assert not recognised(made, "ddim", grid)

    def test_single_precision_counts_as_such_only(self):
        """At float64 tolerance the float32 tables are not ours: the tolerance does decide."""
        made = scheduler("DDIM", 20, clip_sample=False)
        traced = ok.trace(made)
        exact = ok.plan("ddim", flow(traced), grid_of(made))
        found = ok.same(traced, exact)
        assert found and 1e-9 < found.gap < 2 * 20 * SINGLE
        assert not ok.same(traced, exact, tol=1e-12)


class TestFindings:
    """What tracing brings to light in the installed package; the pins say which version was looked at."""

    def test_ddim_steps_by_a_stride_and_not_along_its_grid(self):
        """1000 // N is no step of a trailing grid unless N divides 1000 (huggingface/diffusers #12633)."""
        good, bad = (scheduler("DDIM", n, clip_sample=False, timestep_spacing="trailing") for n in (10, 14))
        assert recognised(good, "ddim")
        assert recognised(bad, "ddim").first_difference.startswith("evaluation 2 takes")

    @pytest.mark.parametrize("option", ["use_karras_sigmas", "use_lu_lambdas", "use_exponential_sigmas"])
    def test_the_network_is_told_rounded_times_on_other_grids(self, option):
        found = recognised(scheduler("DPMSolverMultistep", 20, **{option: True}), "dpmpp-2m")
        assert " is at time 0." in found.first_difference

    def test_the_network_of_euler_is_told_a_slightly_other_time_between_table_entries(self):
        """sigma is interpolated linearly, ln alpha of the process too: 1e-5 apart where labels are fractions."""
        found = recognised(scheduler("EulerDiscrete", 50), "ddim")
        assert " is at time 0." in found.first_difference and found.gap < 1e-4

    @pytest.mark.parametrize("name", ["DDIM", "PNDM"])
    def test_a_last_step_of_no_length_wastes_an_evaluation(self, name):
        """Leading timesteps end at label 0, and without set_alpha_to_one the last step goes to alpha of label 0."""
        config = {"clip_sample": False} if name == "DDIM" else {"skip_prk_steps": True}
        for offset, wasted in ((0, 1), (1, 0)):
            made = scheduler(
                name, 10, timestep_spacing="leading", set_alpha_to_one=False, steps_offset=offset, **config
            )
            assert int((~live(ok.trace(made).dense())).sum()) == wasted
            assert len(grid_of(made)) == 11 - wasted

    @pytest.mark.parametrize("steps", [2, 3])
    def test_heun_loses_digits_in_differences_and_is_traced_all_the_same(self, steps):
        """(x - (x - sigma N)) / sigma with sigma = 0.03 and x of the size 25: 10 eps and more from its own table."""
        made = scheduler("HeunDiscrete", steps)
        assert recognised(made, "heun-edm")

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_pndm_cannot_do_few_steps_by_itself(self, steps):
        with pytest.raises(ValueError, match="could not be broadcast"):
            scheduler("PNDM", steps)

    def test_registers_are_the_memory_of_the_method(self):
        """PLMS keeps x and three outputs; in its Runge-Kutta start also a sum of stages beside two outputs and x."""
        registers = {
            "DDIM": ok.trace(scheduler("DDIM", 20, clip_sample=False)).registers,
            "2M": ok.trace(scheduler("DPMSolverMultistep", 20)).registers,
            "UniPC-2": ok.trace(scheduler("UniPCMultistep", 20)).registers,
            "PLMS": ok.trace(scheduler("PNDM", 20, skip_prk_steps=True)).registers,
            "PNDM": ok.trace(scheduler("PNDM", 20)).registers,
        }
        assert registers == {"DDIM": 1, "2M": 2, "UniPC-2": 3, "PLMS": 4, "PNDM": 5}
        *_, last = [s for s in ok.trace(scheduler("PNDM", 40)).segments if s.steps > 10]
        assert len(last.slots) == 4


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
