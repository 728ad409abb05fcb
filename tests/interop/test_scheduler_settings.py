"""Settings of an exported scheduler: saved, loaded, changed on the way, and refused in one line."""

import json
import subprocess
import sys

import pytest
import torch
from exported_pipelines import SD, diffusers, distance, made, own, start
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from odekit.interop.diffusers import Scheduler


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
