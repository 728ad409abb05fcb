"""Methods of ours in real diffusers pipelines: the image is the one that odekit itself would make."""

import copy
import json
import math
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from odekit.interop.models import Network, from_diffusers

diffusers = pytest.importorskip("diffusers")
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

from odekit.interop.diffusers import Scheduler, grid_of, process_of  # noqa: E402

SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SINGLE = 2.0**-23


def unet(dtype=torch.float32):
    """Random weights, small, nonlinear, and sensitive to the time it is told."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
            norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        )  # fmt: skip
    return net.to(dtype).eval()


NET = unet()


def pipeline(scheduler, net=NET, kind=diffusers.DDPMPipeline):
    pipe = kind(net, diffusers.DDIMScheduler())
    pipe.scheduler = scheduler  # DDIMPipeline makes any scheduler it is given a DDIMScheduler
    pipe.set_progress_bar_config(disable=True)
    return pipe


def start(dtype=torch.float32, seed=0):
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(scheduler, net=NET, steps=6, kind=diffusers.DDPMPipeline):
    """What a real pipeline ends with, before it is made an image (which is checked to be that image)."""
    seen, step = [], scheduler.step

    def watched(*args, **kwargs):
        seen.append(step(*args, **kwargs))
        return seen[-1]

    scheduler.step = watched
    call = dict(batch_size=2, generator=torch.Generator().manual_seed(0), num_inference_steps=steps, output_type="pt")
    image = pipeline(scheduler, net, kind)(**call).images
    del scheduler.step
    image = torch.as_tensor(image) if kind is diffusers.DDPMPipeline else image
    assert torch.equal(image.float(), (seen[-1].prev_sample / 2 + 0.5).clamp(0, 1).float().reshape(image.shape))
    return seen[-1].prev_sample


def own(scheduler, x, net=NET, grid=None, ends_apart=False):
    """The same by `odekit.solve`; ``ends_apart`` takes the step to sigma = 0 as one of order one."""
    flow, grid = from_diffusers(net, scheduler).flow, scheduler.grid if grid is None else grid
    with torch.no_grad():
        if ends_apart:
            before = ok.solve(flow, x, scheduler.method, grid[:-1]) if len(grid) > 2 else x
            return ok.solve(flow, before, "dpmpp-1", grid[-2:])
        return ok.solve(flow, x, scheduler.method, grid)


def loop(scheduler, x, net=NET, timesteps=None, change=None):
    """The loop that every pipeline has; ``change(k, x)`` is what a callback does after call k."""
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps if timesteps is None else timesteps):
            x = scheduler.step(net(x, t).sample, t, x, return_dict=False)[0]
            x = x if change is None else change(k, x)
    return x


def distance(a, b):
    return float((a - b).abs().max() / b.abs().max())


METHODS = {
    "ddim": {}, "dpmpp-2m": {}, "dpmpp-3m-corrected": {}, "deis-tab-3": {}, "deis-rhoab-3": {}, "unipc-3": {},
    "ab-2": {}, "ab-4": {}, "abm-3": {}, "heun2": {}, "rk4": {}, "dp5": {}, "heun-edm": {},
    "exponential-ab-4": {"start": "rising"},
    "ho3": {}, "etdrk4": {}, "res-2s": {}, "dpm-solver-fast": {}, "dpm-solver-3": {},
}  # fmt: skip
ASK_BELOW = ("abm-3", "heun2", "rk4", "dp5")
"""Those whose last step would ask the network between the last noise level and none."""


class TestPipelines:
    @pytest.mark.parametrize("end", ["zero", "sigma_min"])
    @pytest.mark.parametrize("method", METHODS)
    def test_a_pipeline_makes_what_solve_makes(self, method, end):
        scheduler = Scheduler(method, METHODS[method], grid="karras", final_sigmas_type=end, **SD)
        result = made(scheduler)
        assert len(scheduler.timesteps) == scheduler.plan.evaluations and scheduler.num_inference_steps == 6
        expected = own(scheduler, start(), ends_apart=end == "zero" and method in ASK_BELOW)
        assert distance(result, expected) < 1e-6

    def test_the_comparison_sees_another_method_another_grid_and_another_label(self):
        scheduler = Scheduler("dpmpp-2m", grid="karras", **SD)
        result = made(scheduler)
        assert distance(result, own(scheduler, start())) < 1e-6
        flow = from_diffusers(NET, scheduler).flow
        off_by_one = Network(lambda x, t: NET(x, t + 1), scheduler.process, "noise").flow
        grid = scheduler.grid.clone()
        grid[2] *= 1.01
        for other, method, nodes in (
            (flow, "ddim", scheduler.grid), (flow, "dpmpp-2m", grid), (off_by_one, "dpmpp-2m", scheduler.grid)
        ):  # fmt: skip
            with torch.no_grad():
                assert distance(ok.solve(other, start(), method, nodes), result) > 1e-5

    @pytest.mark.parametrize("method", ["ddim", "dpmpp-2m", "unipc-3", "rk4", "heun-edm"])
    def test_in_bfloat16_the_network_is_all_that_is_coarse(self, method):
        """Between calls the registers are float32, so the result is that of a float32 solve, rounded once."""
        net, scheduler = unet(torch.bfloat16), Scheduler(method, final_sigmas_type="sigma_min", **SD)
        result = made(scheduler, net)
        assert result.dtype == torch.bfloat16
        expected = own(scheduler, start(torch.bfloat16).float(), net)
        assert torch.equal(result, expected.to(torch.bfloat16))

    @pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
    @pytest.mark.parametrize("method", ["unipc-2", "rk4"])
    def test_predictions(self, method, prediction):
        scheduler = Scheduler(method, prediction_type=prediction, final_sigmas_type="sigma_min", grid="logsnr")
        assert distance(made(scheduler), own(scheduler, start())) < 1e-6

    @pytest.mark.parametrize("method", ["euler", "heun2", "ab-3", "dpmpp-2m", "unipc-2", "ho3"])
    def test_flow_matching(self, method):
        """From pure noise, where data and noise predictions are singular: there the first step is Euler's."""
        scheduler = Scheduler(method, prediction_type="flow_prediction", shift=3.0)
        result, grid = made(scheduler), scheduler.grid
        torch.testing.assert_close(grid, ok.grid("flow", ok.RectifiedFlow(), 6, shift=3.0), rtol=0, atol=0)
        assert float(scheduler.timesteps[0]) == 1000 and float(scheduler.sigmas[-1]) == 0
        flow, singular = from_diffusers(NET, scheduler).flow, method in ("unipc-2", "ho3")
        with torch.no_grad():
            x = ok.solve(flow, start(), "euler", grid[:2]) if singular else start()
            grid = grid[1:] if singular else grid
            x = own(scheduler, x, grid=grid, ends_apart=method == "heun2")
        assert distance(result, x) < 1e-6

    def test_the_pipeline_of_ddim_passes_arguments_of_its_own(self):
        scheduler = Scheduler("dpmpp-2m", **SD)
        assert torch.equal(made(scheduler, kind=diffusers.DDIMPipeline), made(scheduler))

    def test_saved_and_loaded_with_its_pipeline(self, tmp_path):
        scheduler = Scheduler("rk4", grid="karras", grid_options={"rho": 5.0}, **SD)
        before = made(scheduler, steps=3)
        pipeline(scheduler).save_pretrained(tmp_path)
        assert json.loads((tmp_path / "model_index.json").read_text())["scheduler"] == [
            "odekit.interop.diffusers", "Scheduler"
        ]  # fmt: skip
        again = diffusers.DDPMPipeline.from_pretrained(tmp_path)
        assert type(again.scheduler) is Scheduler
        assert torch.equal(made(again.scheduler, again.unet, steps=3), before)


class TestImageToImage:
    """A run that begins in the middle is a run of its own: history starts anew."""

    @pytest.mark.parametrize("told", ["index", "timestep"])
    @pytest.mark.parametrize(
        "method", ["ddim", "dpmpp-2m", "deis-rhoab-3", "unipc-3", "heun2", "rk4", "dp5", "heun-edm", "ho3", "abm-3"]
    )
    def test_from_the_middle(self, method, told):
        options = {"start": "rising"} if method == "abm-3" else None
        scheduler = Scheduler(method, options, grid="karras", final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(7)
        first = 3
        left = scheduler.timesteps[first * scheduler.order :]  # as pipelines do
        if told == "index":
            scheduler.set_begin_index(first * scheduler.order)
        noise, image = start(seed=1), torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
        x = scheduler.add_noise(image, noise, left[:1])
        t = float(scheduler.grid[first])
        noisy = scheduler.process.alpha(t) * image + scheduler.process.sigma(t) * noise
        torch.testing.assert_close(x, noisy, rtol=1e-6, atol=1e-6)
        assert distance(loop(scheduler, x, timesteps=left), own(scheduler, x, grid=scheduler.grid[first:])) < 1e-6
        assert scheduler.step_index == len(scheduler.timesteps)

    def test_it_is_another_run_than_the_end_of_a_whole_one(self):
        scheduler = Scheduler("dpmpp-2m", grid="karras", **SD)
        scheduler.set_timesteps(7)
        middle = []
        whole = loop(scheduler, start(), change=lambda k, x: middle.append(x) or x)
        scheduler.set_begin_index(3)
        assert distance(loop(scheduler, middle[2], timesteps=scheduler.timesteps[3:]), whole) > 1e-5

    def test_a_start_with_more_evaluations_cannot_begin_anew(self):
        scheduler = Scheduler("ab-4", grid="karras", **SD)
        scheduler.set_timesteps(8)
        with pytest.raises(ok.OdekitError, match=r"ab-4 cannot begin anew at entry 9 .*'start': 'rising'"):
            scheduler.set_begin_index(9)
        rising = Scheduler("ab-4", {"start": "rising"}, grid="karras", **SD)
        rising.set_timesteps(8)
        rising.set_begin_index(4)
        x = start()
        assert distance(loop(rising, x, timesteps=rising.timesteps[4:]), own(rising, x, grid=rising.grid[4:])) < 1e-6

    def test_stages_are_no_beginning(self):
        scheduler = Scheduler("rk4", grid="karras", **SD)
        scheduler.set_timesteps(3)
        assert scheduler.order == 4
        with pytest.raises(
            ok.OdekitError, match=r"entry 3 of timesteps is inside a step of rk4: begin with one of 0, 4, 8$"
        ):
            scheduler.set_begin_index(3)
        label = scheduler.timesteps[4]
        assert (scheduler.timesteps == label).sum() == 2  # the last stage of one step, and the next step
        assert scheduler.index_for_timestep(label) == 4

    @pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
    @pytest.mark.parametrize("method", ["heun2", "dpm-solver-3", "dpmpp-2m", "dp5"])
    def test_any_strength(self, method, strength):
        """`get_timesteps` of the pipelines of Stable Diffusion."""
        scheduler = Scheduler(method, **SD)
        scheduler.set_timesteps(10)
        first = max(10 - min(int(10 * strength), 10), 0)
        scheduler.set_begin_index(first * scheduler.order)
        left = scheduler.timesteps[first * scheduler.order :]
        assert float(left[0]) == pytest.approx(float(scheduler.grid[first]) * 1000 - 1, rel=1e-6)
        x = start()
        ends_apart = method in ASK_BELOW
        expected = own(scheduler, x, grid=scheduler.grid[first:], ends_apart=ends_apart)
        assert distance(loop(scheduler, x, timesteps=left), expected) < 1e-6


class TestHabits:
    """What pipelines and callbacks do to a scheduler."""

    @pytest.mark.parametrize("method", ["ddim", "dpmpp-2m", "unipc-3", "rk4"])
    def test_copies_and_changes_in_place_after_use(self, method):
        scheduler = Scheduler(method, **SD)
        scheduler.set_timesteps(5)
        plain = loop(scheduler, start())

        def copied(k, x):
            fresh = x.clone()
            x.fill_(float("nan"))  # whoever gave it has no use for it any more
            return fresh

        scheduler.set_timesteps(5)
        assert torch.equal(loop(scheduler, start(), change=copied), plain)

    def test_a_network_that_reuses_its_output(self):
        """CUDA graphs hand out the same memory every time."""
        memory = torch.empty(2, 1, 8, 8)

        class Reusing(torch.nn.Module):
            def forward(self, x, t):
                return diffusers.models.unets.unet_2d.UNet2DOutput(memory.copy_(NET(x, t).sample))

        results = []
        for net in (NET, Reusing()):
            scheduler = Scheduler("deis-rhoab-3", **SD)
            scheduler.set_timesteps(6)
            results.append(loop(scheduler, start(), net))
        assert torch.equal(*results)

    @pytest.mark.parametrize("method", ["ddim", "dpmpp-2m", "deis-rhoab-2", "heun2"])
    def test_a_sample_changed_at_a_node_is_the_new_state(self, method):
        """Inpainting: part of the sample is put in by hand. What the model has said before stays as it is."""
        scheduler = Scheduler(method, grid="karras", final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(5)
        mask = torch.zeros(1, 1, 8, 8)
        mask[..., :4] = 1
        each = scheduler.order

        def change(k, x):
            return x * (1 - mask) + 0.25 * mask if (k + 1) % each == 0 else x

        result = loop(scheduler, start(), change=change)
        flow, x, dense = from_diffusers(NET, scheduler).flow, start(), scheduler.plan
        with torch.no_grad():  # the engine's registers by hand
            registers, k = [x], 0
            for segment in dense.segments:
                for i in range(segment.steps):
                    for e in range(segment.evaluations):
                        y = sum(float(c) * r for c, r in zip(segment.inputs[i, e], registers, strict=False))
                        registers.append(flow.model(y, segment.times[i, e]))
                        k += 1
                    registers = [
                        sum(float(c) * r for c, r in zip(row, registers, strict=True)) for row in segment.outputs[i]
                    ]
                    registers[0] = registers[0] * (1 - mask) + 0.25 * mask
        assert distance(result, registers[0]) < 1e-6

    def test_a_changed_stage_moves_the_state_so_that_it_is_the_stage_asked_for(self):
        scheduler = Scheduler("midpoint", final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(1)
        t0, t1 = scheduler.grid.tolist()
        model, x = from_diffusers(NET, scheduler), start()
        bump = 0.1 * torch.ones_like(x)
        result = loop(scheduler, x, change=lambda k, y: y + bump if k == 0 else y)
        inputs, outputs = (
            table[0].tolist() for table in (scheduler.plan.segments[0].inputs, scheduler.plan.segments[0].outputs)
        )
        with torch.no_grad():
            first = model(x, t0)
            second = model(inputs[1][0] * x + inputs[1][1] * first + bump, (t0 + t1) / 2)
        expected = outputs[0][0] * (x + bump / inputs[1][0]) + outputs[0][1] * first + outputs[0][2] * second
        assert distance(result, expected) < 1e-6

    @pytest.mark.parametrize("method", ["dpmpp-2m", "rk4"])
    def test_gradients_pass(self, method):
        scheduler = Scheduler(method, final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(3)
        model, slopes = from_diffusers(NET, scheduler), []
        for replayed in (True, False):
            x = y = start().requires_grad_()
            for t in scheduler.timesteps if replayed else ():
                y = scheduler.step(NET(y, t).sample, t, y).prev_sample
            y = y if replayed else scheduler.plan(model, x)
            slopes.append(torch.autograd.grad(y.square().sum(), x)[0])
        assert distance(*slopes) < 1e-5

    def test_both_forms_of_result_and_an_unused_generator(self):
        scheduler = Scheduler("ddim", **SD)
        scheduler.set_timesteps(2)
        x, t = start(), scheduler.timesteps
        scheduled = scheduler.step(0 * x, t[0], x, generator=torch.Generator())
        assert torch.equal(scheduled["prev_sample"], scheduled.prev_sample)
        assert isinstance(scheduler.step(0 * x, t[1], scheduled.prev_sample, return_dict=False), tuple)
        assert scheduler.init_noise_sigma == 1 and scheduler.scale_model_input(x, t[0]) is x and len(scheduler) == 1000

    def test_copies_and_pickles(self):
        scheduler = Scheduler("unipc-2", **SD)
        scheduler.set_timesteps(4)
        halfway = loop(scheduler, start(), timesteps=scheduler.timesteps[:2])
        again = [copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))]
        ends = [loop(s, halfway, timesteps=s.timesteps[2:]) for s in (scheduler, *again)]
        assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])

    def test_noise_and_velocity(self):
        scheduler, x, z = Scheduler(**SD), start(), start(seed=1)
        labels = torch.tensor([3, 700])
        bar = scheduler.alphas_cumprod[labels].reshape(2, 1, 1, 1)
        expected = bar.sqrt() * x + (1 - bar).sqrt() * z
        torch.testing.assert_close(scheduler.add_noise(x, z, labels), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            scheduler.get_velocity(x, z, labels), bar.sqrt() * z - (1 - bar).sqrt() * x, rtol=1e-6, atol=1e-6
        )
        theirs = diffusers.DDIMScheduler(**SD)
        torch.testing.assert_close(theirs.add_noise(x, z, labels), expected, rtol=1e-6, atol=1e-6)
        straight = Scheduler(prediction_type="flow_prediction")
        torch.testing.assert_close(straight.scale_noise(x, 250.0, z), 0.75 * x + 0.25 * z)


class TestGrids:
    def test_whole_labels_are_integers_as_in_diffusers(self):
        scheduler = Scheduler("ddim", **SD)
        scheduler.set_timesteps(10)
        assert scheduler.timesteps.dtype == torch.int64 and scheduler.timesteps.tolist() == list(range(999, 0, -100))
        scheduler = Scheduler("ddim", grid="karras", **SD)
        scheduler.set_timesteps(10)
        assert scheduler.timesteps.dtype == torch.float32

    def test_the_network_is_told_the_time_that_belongs_to_the_noise(self):
        """Rounding moves the nodes, and not what the network is told about them (spec/samplers.md, finding 5)."""
        for rounds in (False, True):
            scheduler = Scheduler("dpmpp-2m", grid="karras", round_timesteps=rounds, **SD)
            scheduler.set_timesteps(10)
            bar = scheduler.process.alpha((scheduler.timesteps.double() + 1) / 1000) ** 2
            torch.testing.assert_close(((1 - bar) / bar).sqrt().float(), scheduler.sigmas[:-1], rtol=1e-5, atol=0)
        assert scheduler.timesteps.dtype == torch.int64
        theirs = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True, **SD)
        theirs.set_timesteps(10)
        bar = theirs.alphas_cumprod[theirs.timesteps]
        assert float((((1 - bar) / bar).sqrt() / theirs.sigmas[:-1] - 1).abs().max()) > 1e-3

    def test_timesteps_and_sigmas_of_ones_own_are_taken_as_they_are(self):
        labels = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]  # Align Your Steps (arXiv 2404.14507)
        sigmas = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0]
        scheduler = Scheduler("dpmpp-2m", **SD)
        scheduler.set_timesteps(timesteps=labels)
        assert scheduler.timesteps.tolist() == labels and float(scheduler.grid[-1]) == 0
        scheduler.set_timesteps(sigmas=sigmas)
        torch.testing.assert_close(scheduler.sigmas, torch.tensor(sigmas), rtol=1e-3, atol=0)
        torch.testing.assert_close(scheduler.sigmas[1:], torch.tensor(sigmas[1:]), rtol=1e-6, atol=0)
        scheduler = Scheduler("ddim", final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(timesteps=[900, 500, 0])
        assert scheduler.timesteps.tolist() == [900, 500]
        scheduler.set_timesteps(timesteps=[900, 500])
        assert scheduler.timesteps.tolist() == [900, 500] and float(scheduler.grid[-1]) == 1e-3

    def test_dynamic_shifting(self):
        """Flux: sigmas and mu come from the pipeline."""
        theirs = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        scheduler = Scheduler.from_config(theirs.config, method="euler")
        sigmas = [1.0, 0.75, 0.5, 0.25]
        for one in (theirs, scheduler):
            one.set_timesteps(sigmas=sigmas, mu=1.15)
        torch.testing.assert_close(scheduler.sigmas, theirs.sigmas, rtol=1e-6, atol=0)
        torch.testing.assert_close(scheduler.timesteps, theirs.timesteps, rtol=1e-6, atol=0)
        scheduler.set_timesteps(4, mu=1.15)
        torch.testing.assert_close(scheduler.sigmas, theirs.sigmas, rtol=1e-6, atol=0)
        assert float(scheduler.sigmas[1]) == pytest.approx(0.75 * math.exp(1.15) / (1 + 0.75 * (math.exp(1.15) - 1)))


class TestBesideDiffusers:
    """Where diffusers has the method and the grid, the image is its image, to the rounding of its float32 tables."""

    @pytest.mark.parametrize(
        ("name", "config", "method"),
        [
            ("DDIM", dict(clip_sample=False), "ddim"),
            ("DDIM", dict(clip_sample=False, set_alpha_to_one=False, steps_offset=1), "ddim"),
            ("DDIM", dict(clip_sample=False, timestep_spacing="trailing", prediction_type="v_prediction"), "ddim"),
            ("DPMSolverMultistep", {}, "dpmpp-2m"),
            ("DPMSolverMultistep", dict(timestep_spacing="leading", prediction_type="sample"), "dpmpp-2m"),
            ("DPMSolverMultistep", dict(solver_type="heun", timestep_spacing="trailing"), "res-2m"),
        ],
        ids=lambda case: "-".join(map(str, case.values())) or "default" if isinstance(case, dict) else case,
    )
    def test_the_same_image(self, name, config, method):
        theirs = getattr(diffusers, f"{name}Scheduler")(**SD, **config)
        scheduler = Scheduler.from_config(theirs.config, method=method)
        result, expected = made(scheduler, steps=10), made(theirs, steps=10)
        assert scheduler.timesteps.tolist() == theirs.timesteps.tolist()
        assert distance(result, expected) < 200 * SINGLE
        assert grid_of(scheduler) == pytest.approx(grid_of(theirs), rel=1e-5)
        assert distance(made(Scheduler.from_config(theirs.config, method="ho2"), steps=10), expected) > 1e-4

    def test_the_same_flow(self):
        theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
        scheduler = Scheduler.from_config(theirs.config, method="euler")
        scheduler.set_timesteps(5)
        theirs.set_timesteps(sigmas=[1.0, 0.8, 0.6, 0.4, 0.2])
        torch.testing.assert_close(scheduler.timesteps, theirs.timesteps, rtol=1e-6, atol=0, check_dtype=False)
        assert distance(loop(scheduler, start()), loop(theirs, start())) < 200 * SINGLE

    @pytest.mark.parametrize(
        "name", ["DDIM", "DDPM", "EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "UniPCMultistep", "DEISMultistep"]
    )
    def test_settings_of_any_of_them_are_taken(self, name):
        theirs = getattr(diffusers, f"{name}Scheduler")(**SD)
        scheduler = Scheduler.from_config(theirs.config, clip_sample=False)
        assert process_of(scheduler) == scheduler.process
        torch.testing.assert_close(scheduler.alphas_cumprod, theirs.alphas_cumprod, rtol=2e-5, atol=0)
        scheduler.set_timesteps(10)
        theirs.set_timesteps(10)
        labels = theirs.timesteps.unique().double().flip(0)
        torch.testing.assert_close(scheduler.timesteps.double(), labels.round(), rtol=0, atol=1)
        # And back: what only they know is still there.
        again = type(theirs).from_config(scheduler.config)
        assert again.config.beta_schedule == "scaled_linear" and again.config.beta_end == SD["beta_end"]

    def test_flows_of_other_schedulers_and_their_end(self):
        theirs = diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="sigma_min"
        )
        scheduler = Scheduler.from_config(theirs.config, method="heun2")
        scheduler.set_timesteps(4)
        expected = ok.grid("flow", ok.RectifiedFlow(), 4, shift=3.0, t_end=1e-3)
        assert scheduler.process == ok.RectifiedFlow() and torch.equal(scheduler.grid, expected)

    def test_traced_it_is_its_own_plan(self):
        for method in ("ddim", "dpmpp-2m", "unipc-3", "rk4", "dpm-solver-fast"):
            scheduler = Scheduler(method, **SD)
            scheduler.set_timesteps(8)
            traced = ok.trace(scheduler)
            found = ok.same(traced, scheduler.plan)
            assert found and found.gap < 1e-12
            assert not ok.same(
                traced, ok.plan("deis-rhoab-1", ok.ProbabilityFlow(traced.process, NET), grid_of(scheduler))
            )


class TestConfig:
    @settings(max_examples=25)
    @given(
        method=st.sampled_from([("ddim", None), ("ab-3", {"start": "rising"}), ("rk4", None), ("unipc-2", {})]),
        grid=st.sampled_from([(None, None), ("karras", {"rho": 5.0}), ("logsnr", {}), ("trailing", None)]),
        noise=st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", [0.01, 0.02, 0.1, 0.3] * 5]),
        prediction=st.sampled_from(["epsilon", "sample", "v_prediction"]),
        end=st.sampled_from(["zero", "sigma_min"]),
        steps=st.integers(3, 6),
    )
    def test_round_trip(self, method, grid, noise, prediction, end, steps, tmp_path_factory):
        table = {"trained_betas": noise} if isinstance(noise, list) else {"beta_schedule": noise}
        scheduler = Scheduler(
            *method, *grid, num_train_timesteps=20, prediction_type=prediction, final_sigmas_type=end, **table
        )
        folder = tmp_path_factory.mktemp("config")
        scheduler.save_pretrained(folder)
        stored = json.loads((folder / "scheduler_config.json").read_text())
        others = [
            Scheduler.from_pretrained(folder),
            Scheduler.from_config(scheduler.config),
            Scheduler.from_config(stored),
        ]
        scheduler.set_timesteps(steps)
        for other in others:
            assert dict(other.config) | {"_use_default_values": 0} == dict(scheduler.config) | {
                "_use_default_values": 0
            }
            other.set_timesteps(steps)
            tables = (other.plan.dense(), scheduler.plan.dense())
            assert torch.equal(tables[0].inputs, tables[1].inputs) and torch.equal(tables[0].output, tables[1].output)

    def test_a_method_file(self, tmp_path):
        path = tmp_path / "mine.toml"
        path.write_text(
            'name = "mine"\nfamily = "runge-kutta"\norder = 2\nsource = "here"\n'
            'c = ["0", "2/3"]\nA = [[], ["2/3"]]\nb = ["1/4", "3/4"]\n'
        )
        scheduler = Scheduler(str(path), final_sigmas_type="sigma_min", **SD)
        assert distance(made(scheduler), own(scheduler, start())) < 1e-6

    def test_changes_on_the_way(self):
        theirs = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True, **SD)
        assert Scheduler.from_config(theirs.config).config.grid == "karras"
        changed = Scheduler.from_config(theirs.config, method="rk4", grid="logsnr", num_train_timesteps=500)
        assert (changed.config.method, changed.config.grid, len(changed)) == ("rk4", "logsnr", 500)


REFUSED = {
    "unknown key": (lambda: Scheduler(metod="ddim"), "unknown config key 'metod'; did you mean 'method'"),
    "unknown key from a file": (
        lambda: Scheduler.from_config({"method": "ddim", "beta_stort": 0.1}), "unknown config key 'beta_stort'"
    ),
    "unknown key on the way": (
        lambda: Scheduler.from_config(diffusers.PNDMScheduler().config, metod="rk4"), "did you mean 'method'"
    ),
    "unknown method": (lambda: Scheduler("rk5"), "unknown method 'rk5'"),
    "unknown option": (lambda: Scheduler("ab-3", {"begin": "rising"}), "unknown option of ab-3 'begin'"),
    "implicit": (lambda: Scheduler("bdf-2"), "bdf-2 is no scheduler: it runs eagerly"),
    "unknown grid": (lambda: Scheduler(grid="karas"), "unknown grid 'karas'; did you mean 'karras'"),
    "unknown betas": (lambda: Scheduler(beta_schedule="quadratic"), "unknown beta_schedule 'quadratic'"),
    "unknown prediction": (lambda: Scheduler(prediction_type="eps"), "unknown prediction_type 'eps'"),
    "unknown end": (lambda: Scheduler(final_sigmas_type="one"), "unknown final_sigmas_type 'one'"),
    "clips": (
        lambda: Scheduler.from_config(diffusers.DDIMScheduler().config), "clip_sample=True, .*clip_sample=False"
    ),
    "thresholds": (
        lambda: Scheduler.from_config(diffusers.UniPCMultistepScheduler(thresholding=True).config), "thresholding=True"
    ),
    "another process": (lambda: Scheduler.from_config(diffusers.EDMDPMSolverMultistepScheduler().config), "no process"),
    "more steps than timesteps": (
        lambda: Scheduler(num_train_timesteps=50).set_timesteps(51), "51 steps of a network trained at 50 timesteps"
    ),
    "no steps": (lambda: Scheduler().set_timesteps(0), "steps = 0, expected a whole number of at least 1"),
    "nothing": (lambda: Scheduler().set_timesteps(), "takes num_inference_steps, or one of timesteps= and sigmas="),
    "both": (lambda: Scheduler().set_timesteps(timesteps=[9], sigmas=[1.0]), "or one of timesteps= and sigmas="),
    "equal timesteps": (lambda: Scheduler().set_timesteps(timesteps=[9, 9, 3]), r"grid\[1\] = 0.01 repeats"),
    "a device that is not there": (
        lambda: Scheduler().set_timesteps(5, device="cuda:99"), "cannot be put on device 'cuda:99'.* is it there"
    ),
    "no mu": (
        lambda: Scheduler(prediction_type="flow_prediction", use_dynamic_shifting=True).set_timesteps(5), "give .* mu="
    ),
    "rounded between labels": (
        lambda: Scheduler("midpoint", round_timesteps=True).set_timesteps(3), "asks the network at label 832.5"
    ),
    "no timesteps to look in": (lambda: Scheduler().index_for_timestep(3), "no timesteps yet: call set_timesteps"),
    "no timesteps yet": (lambda: Scheduler().step(start(), 1, start()), "no timesteps yet: call set_timesteps"),
}  # fmt: skip


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_one_line_that_says_what_to_change(self, case):
        call, words = REFUSED[case]
        with pytest.raises(ok.OdekitError, match=words) as refusal:
            call()
        assert "\n" not in str(refusal.value)

    def test_steps_out_of_order(self):
        scheduler, x = Scheduler("ddim"), start()
        scheduler.set_timesteps(4)
        with pytest.raises(
            ok.OdekitError, match="eta is set, but ddim solves the ODE, without noise or clipping: leave it out"
        ):
            scheduler.step(x, 999, x, eta=1.0)
        with pytest.raises(ok.OdekitError, match="use_clipped_model_output is set"):
            scheduler.step(x, 999, x, use_clipped_model_output=True)
        with pytest.raises(ok.OdekitError, match=r"returned \(2, 2, 8, 8\) for a sample \(2, 1, 8, 8\)"):
            scheduler.step(torch.cat([x, x], 1), 999, x)
        with pytest.raises(ok.OdekitError, match="no step begins at timestep 998; the nearest entry is 999"):
            scheduler.step(x, 998, x)
        scheduler.step(x, 999, x)
        with pytest.raises(ok.OdekitError, match="given timestep 999 where entry 1 of timesteps is 749"):
            scheduler.step(x, 999, x)
        for t in (749, 499, 249):
            scheduler.step(x, t, x)
        with pytest.raises(ok.OdekitError, match="all 4 evaluations are done"):
            scheduler.step(x, 249, x)

    def test_without_diffusers(self):
        code = (
            "import sys; sys.modules['diffusers'] = None; import odekit.interop.diffusers as d\n"
            "try: d.Scheduler\nexcept ValueError as error: print(error)"
        )
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert said.strip() == "Scheduler needs diffusers, which is not installed: pip install diffusers"
