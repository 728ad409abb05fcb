"""The audit of installed packages: each defect comes out of their code by computation, in the versions pinned here."""

import json
from dataclasses import replace
from importlib import metadata

import pytest
import torch

from analysis import foreign as f
from analysis.cli import main
from analysis.foreign import Foreign, draws_noise, foreign, proof, settings, table
from analysis.moments import moments_of
from analysis.shipped import ladder, look, repeated, slope
from analysis.studies.audit import audit_page, audit_row, document, tasks
from odekit.interop.driven import Driven

PINNED = {"diffusers": "0.42.1", "k-diffusion": "0.1.1.post1", "torchdiffeq": "0.2.5", "torchsde": "0.2.6"}
MULTISTEP, SINGLESTEP, UNIPC = (
    f"diffusers:{name}Scheduler" for name in ("DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep")
)
SDE = {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}


def pinned(package):
    """The installed version, or a skip: a repair elsewhere is no failure of ours."""
    name = f.DISTRIBUTIONS.get(package, package)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    if version != PINNED[name]:
        pytest.skip(f"{name} {version} is installed; what is asserted here was found in {PINNED[name]}")


def certified(what, **config):
    pinned(what.partition(":")[0])
    subject = foreign(what, config)
    return proof(subject, draws_noise(table(subject)))


ORDERS = [  # claim, order of the formula, order with its start
    ("diffusers:DDIMScheduler", {}, 1, 1, 1),
    ("diffusers:EulerDiscreteScheduler", {}, 1, 1, 1),
    ("diffusers:HeunDiscreteScheduler", {}, 2, 2, 2),
    ("diffusers:LMSDiscreteScheduler", {}, 4, 4, 2),
    ("diffusers:PNDMScheduler", {}, 2, 2, 2),
    ("diffusers:IPNDMScheduler", {}, 4, 2, 2),
    ("diffusers:DEISMultistepScheduler", {"solver_order": 3}, 3, 3, 2),
    (MULTISTEP, {}, 2, 2, 2),
    (MULTISTEP, {"solver_order": 3}, 3, 2, 2),
    (SINGLESTEP, {"solver_order": 3}, 3, 3, 3),
    (UNIPC, {}, 3, 3, 3),
    (UNIPC, {"solver_order": 3}, 4, 4, 3),
    ("diffusers:EDMDPMSolverMultistepScheduler", {"solver_order": 3}, 3, 2, 2),
    ("diffusers:FlowMatchHeunDiscreteScheduler", {}, 2, 2, 2),
    ("k_diffusion.sampling:sample_dpmpp_2m", {}, 2, 2, 2),
    ("k_diffusion.sampling:sample_dpmpp_3m_sde", {"eta": 0.0}, 3, 2, 2),
    ("k_diffusion.sampling:sample_heun", {}, 2, 2, 2),
    ("k_diffusion.sampling:sample_lms", {}, 4, 4, 2),
    ("torchdiffeq:rk4", {}, 4, 4, 4),
    ("torchsde:heun", {}, 2, 2, 2),
]


@pytest.mark.parametrize(
    ("what", "config", "claim", "order", "with_start"),
    ORDERS,
    ids=[f"{what.partition(':')[2]}-{'-'.join(map(str, config.values()))}" for what, config, *_ in ORDERS],
)
def test_what_is_claimed_and_what_the_own_tables_prove(what, config, claim, order, with_start):
    found = certified(what, **config)
    assert (found.claimed, found.order, found.method_order) == (claim, order, with_start)
    assert any("as claimed" in text for text in found.findings()) == (order < claim)


@pytest.mark.parametrize(
    ("what", "config"),
    [
        (MULTISTEP, {"solver_order": 3}),
        (MULTISTEP, {"solver_order": 3, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
        ("diffusers:EDMDPMSolverMultistepScheduler", {"solver_order": 3}),
        ("k_diffusion.sampling:sample_dpmpp_3m_sde", {}),
    ],
    ids=["data", "noise", "edm", "k-diffusion-sde"],
)
def test_the_third_order_formula_gives_half_of_psi_3_everywhere(what, config):
    found = certified(what, **config)
    assert found.failing[0].startswith("psi_3, missed by O(h^3)") and "give 0.5 of what they should" in found.failing[0]
    assert found.moments.parts[2] == pytest.approx(0.5, abs=1e-9)


def test_the_stochastic_third_order_step_is_of_order_one():
    """The sign of 1/2 in its last weight: by moments where it asks once a step, by trees where it has stages."""
    found = certified(MULTISTEP, **SDE)
    assert found.stochastic and found.order == 1 and found.moments.c == pytest.approx(2, abs=1e-8)
    assert found.failing[0].startswith("psi_3, missed by O(h^2)")
    assert certified(SINGLESTEP, **SDE).order == 3
    heun = certified(SINGLESTEP, **SDE, solver_type="heun")
    assert heun.order == 1 and heun.failing[0].startswith("[tau]")


def test_a_right_weight_has_order_three():
    """The negative control: the published formula with its last weight doubled meets psi_3, and no other is touched."""
    pinned("diffusers")
    from diffusers import DPMSolverMultistepScheduler

    class Corrected(DPMSolverMultistepScheduler):
        def multistep_dpm_solver_third_order_update(self, outputs, sample=None, **rest):
            m0, m1, m2 = outputs[-1], outputs[-2], outputs[-3]
            lam = [-torch.log(self.sigmas[self.step_index + i]) for i in (1, 0, -1, -2)]
            h, r0, r1 = lam[0] - lam[1], (lam[1] - lam[2]) / (lam[0] - lam[1]), (lam[2] - lam[3]) / (lam[0] - lam[1])
            second = ((m0 - m1) / r0 - (m1 - m2) / r1) / (r0 + r1)
            alpha = 1 / (1 + self.sigmas[self.step_index + 1] ** 2) ** 0.5
            missing = -alpha * ((torch.exp(-h) - 1 + h) / h**2 - 0.5) * second
            return super().multistep_dpm_solver_third_order_update(outputs, sample=sample, **rest) + missing

    def make(**more):
        return Corrected(
            **{"solver_order": 3, "lower_order_final": False, "final_sigmas_type": "sigma_min"}
            | {key: more[key] for key in more if key == "num_train_timesteps"}
        )

    given = foreign(MULTISTEP, {"solver_order": 3})
    right = Driven("Corrected", "vp", "noise", "sigmas", make)
    wrong, found = (moments_of(sampler, given.exact) for sampler in (given.sampler, right))
    assert (wrong.order, found.order) == (2, 3) and found.parts[2] == pytest.approx(1, abs=1e-9)


def shipped(what, steps=20, nearest=None, **config):
    pinned("diffusers")
    return look(foreign(what, config).make, steps, nearest)


def test_two_m_is_itself_until_the_last_step_which_is_ddim():
    assert shipped(MULTISTEP, nearest="dpmpp-2m").last == (
        "identical to dpmpp-2m until the last step, which is DDIM to sigma = 0"
    )
    assert shipped("diffusers:DDIMScheduler", nearest="ddim").last == "identical to ddim"
    assert "parts from dpmpp-2m" in shipped(MULTISTEP, nearest="dpmpp-2m", solver_order=3).last


@pytest.mark.parametrize(
    ("what", "config"),
    [
        (UNIPC, {"solver_type": "bh1"}),
        ("diffusers:EDMDPMSolverMultistepScheduler", {"solver_order": 3, "final_sigmas_type": "sigma_min"}),
    ],
    ids=["unipc-bh1", "edm-sigma-min"],
)
def test_nan_as_shipped_is_told_and_the_formula_has_none(what, config):
    assert "NaN or inf" in shipped(what, **config).refused
    assert certified(what, **config).order >= 2


def test_levels_that_the_network_is_not_told():
    told = [text for text in shipped(MULTISTEP, use_exponential_sigmas=True).findings if "noise level" in text]
    assert len(told) == 1 and "its state is at" in told[0]
    assert shipped(MULTISTEP, use_exponential_sigmas=True).off_level > 0.05
    assert shipped(MULTISTEP).off_level < 1e-3


def test_a_last_step_to_zero_costs_the_order_of_whole_runs():
    pinned("diffusers")
    steps, errors = ladder(foreign(MULTISTEP, {"solver_order": 3}).make, (100, 200, 400))
    assert 1 < slope(steps, errors) < 1.7
    assert errors[0] < 3e-3


def test_float32_tables_against_their_own_levels_in_float64():
    found = shipped("diffusers:DEISMultistepScheduler", solver_order=3)
    assert 5e-6 < found.float32 < 1e-3 and any("float32" in text for text in found.findings)
    assert shipped(MULTISTEP).float32 < 1e-5


def test_evaluations_that_are_asked_again_are_counted():
    pinned("torchsde")
    found = table(foreign("torchsde:srk"))
    assert len(found.times) == 10 * 12 and repeated(found) == [
        "84 of 120 evaluations repeat an earlier one (same state, same time)"
    ]
    assert repeated(table(foreign("torchsde:heun"))) == []


def test_a_row_holds_algebra_and_whole_solves_together():
    pinned("diffusers")
    row = audit_row(MULTISTEP, {"solver_order": 3})
    assert (row["claimed_order"], row["order"], row["verdict"], row["nearest"]) == (3, 2, "fail", "dpmpp-3m")
    assert row["observed_order"] == pytest.approx(2, abs=0.1) and row["failing"].startswith("psi_3")
    assert [text for text in row["notes"] if "until the last step, which is DDIM" in text]
    page = audit_page(document([row, audit_row("diffusers:LCMScheduler")], ["k-diffusion is not audited"]))
    assert "psi_3" in page and "LCMScheduler" in page and "consistency" in page and "k-diffusion is not audited" in page


def test_explicit_adams_diverges_as_shipped():
    pinned("torchdiffeq")
    row = audit_row("torchdiffeq:explicit_adams")
    assert row["verdict"] == "fail" and any("not finite on grids of" in text for text in row["notes"])


def test_every_scheduler_is_asked_and_absent_packages_are_named(monkeypatch):
    pinned("diffusers")
    from odekit.interop import driven, kdiffusion_trace

    asked, _ = tasks(["diffusers"])
    assert {task.what.partition(":")[2] for task in asked} == set(driven.names()) and len(driven.names()) > 45
    monkeypatch.setattr(kdiffusion_trace.importlib.util, "find_spec", lambda name: None)
    kdiffusion_trace.kdiffusion.cache_clear()
    asked, absent = tasks(["k_diffusion.sampling"])
    assert asked == [] and "pip install --no-deps k-diffusion" in absent[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["diffusers:UniPCScheduler"], ["unknown scheduler of diffusers 'UniPCScheduler'"]),
        (["diffusers:DDIMScheduler", "--config", "beta_sart=1e-3"], ["'beta_sart'", "did you mean 'beta_start'"]),
        (["diffusers:DDIMScheduler", "--config", "eta"], ["expected key=value"]),
        (["diffusers:DDIMScheduler", "--steps", "2000"], ["2000 steps", "1000 training timesteps", "take fewer"]),
        (["diffusers:CogVideoXDPMScheduler"], ["step needs old_pred_original_sample, timestep_back"]),
        (["diffusers:LCMScheduler"], ["consistency models"]),
        (["diffusers:DDIMScheduler", "--process", "ve"], ["are its own"]),
        (["diffusers:DPMSolverMultistepScheduler", "--config", "algorithm_type=dpm"], ["cannot be made so"]),
        (["diffusers:DDIMScheduler", "--config", "clip_sample=True"], ["clip_sample=True", "not linear"]),
        (["diffusers:DDIMScheduler", "--config", "thresholding=True"], ["thresholding=True", "not linear"]),
        (["k_diffusion.sampling:sample_dpmpp_2n"], ["did you mean 'sample_dpmpp_2m'"]),
        (["k_diffusion.sampling:sample_dpm_adaptive"], ["chooses its steps from the data"]),
        (["torchdiffeq:rk5"], ["unknown fixed-step method of torchdiffeq 'rk5'"]),
        (["rk4", "--config", "order=3"], ["settings are for solvers of other packages"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(arguments, named, capsys):
    for package in ("diffusers", "k_diffusion.sampling", "torchdiffeq"):
        if arguments[0].startswith(package):
            pinned(package)
    assert main(["certify", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and all(text in err for text in named)


def test_the_command_certifies_by_name(tmp_path, capsys):
    pinned("torchdiffeq")
    path = tmp_path / "page.json"
    assert main(["certify", "torchdiffeq:heun3", "--steps", "12,18,24,36,48,72,96", "--json", str(path)]) == 0
    found = json.loads(path.read_text())["certificate"]
    assert (found["claimed_order"], found["order"], found["nearest"]) == (3, 3, "heun3")
    assert "claims order 3: pass" in capsys.readouterr().out


def test_settings_are_read_as_data():
    assert settings(["solver_order=3", "solver_type=bh1", "lower_order_final=false"]) == {
        "solver_order": 3,
        "solver_type": "bh1",
        "lower_order_final": False,
    }
    assert isinstance(replace(Foreign("p", "n", {}, None, None, 1, "v"), claim=2), Foreign)
