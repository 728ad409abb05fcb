"""Methods of ours in real diffusers pipelines: the image is the one that odekit itself would make."""

import json

import pytest
import torch
from exported_pipelines import ASK_BELOW, NET, SD, diffusers, distance, loop, made, own, pipeline, start, unet

import odekit as ok
from odekit.interop.diffusers import Scheduler
from odekit.interop.models import Network, from_diffusers

METHODS = {
    "ddim": {}, "dpmpp-2m": {}, "dpmpp-3m-corrected": {}, "deis-tab-3": {}, "deis-rhoab-3": {}, "unipc-3": {},
    "ab-2": {}, "ab-4": {}, "abm-3": {}, "heun2": {}, "rk4": {}, "dp5": {}, "heun-edm": {},
    "exponential-ab-4": {"start": "rising"},
    "ho3": {}, "etdrk4": {}, "res-2s": {}, "dpm-solver-fast": {}, "dpm-solver-3": {},
}  # fmt: skip


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
