"""Exported schedulers beside diffusers' own: time labels, grids, images, settings."""

import math

import pytest
import torch
from exported_pipelines import NET, SD, diffusers, distance, loop, made, start

import odekit as ok
from odekit.interop.diffusers import Scheduler, grid_of, process_of

SINGLE = 2.0**-23


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
