"""Networks of other projects as models: an exact one, told and given what a convention wants, answers exactly."""

import pytest
import torch

import odekit as ok
from odekit.interop.models import Network, from_diffusers, from_kdiffusion

diffusers = pytest.importorskip("diffusers")

from diffusers.models.unets.unet_2d import UNet2DOutput  # noqa: E402

TARGET = ok.targets.ring6()
TABLE = ok.DiscreteVP(betas=torch.linspace(1e-4, 0.02, 100, dtype=torch.float64).tolist())
X = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def exact(process, prediction):
    return ok.ProbabilityFlow(process, TARGET, prediction=prediction).model


@pytest.mark.parametrize("prediction", ["noise", "data", "v", "velocity", "score"])
@pytest.mark.parametrize("process", [TABLE, ok.VP(), ok.RectifiedFlow(), ok.EDM()], ids=lambda p: p.name)
@pytest.mark.parametrize("told", ["label", "time", "sigma", "logsnr", "function"])
@pytest.mark.parametrize("state", ["process", "ve"])
def test_every_convention(prediction, process, told, state):
    """The network undoes what it is told and given, and then is the exact model."""
    model, first = exact(process, prediction), 1 if process is TABLE else 0
    undo = {
        "label": lambda s: (float(s) + first) / 100,
        "time": lambda s: float(s[0]),
        "sigma": lambda s: float(process.time_at_kappa(s[0].double())),
        "logsnr": lambda s: float(process.time_at_logsnr(s[0].double())),
        "function": lambda s: float(s[0]) / 7,
    }[told]

    def network(x, s, shift):
        assert s.shape == (() if told == "label" else (len(x),)) and shift == 2.0
        t = undo(s)
        return model(x * process.alpha(t) if state == "ve" else x, t) + shift

    how = (lambda t: 7 * t) if told == "function" else told
    wrapped = Network(network, process, prediction, told=how, state=state, training=100, shift=2.0)
    t = 0.37
    near = 2e-4 if told == "label" else 1e-9  # fractional labels are float32
    torch.testing.assert_close(wrapped(X, torch.tensor(t, dtype=torch.float64)) - 2, model(X, t), rtol=near, atol=near)
    call = wrapped.prepare([0.5, t])
    torch.testing.assert_close(call(1, X), wrapped(X, t), rtol=0, atol=0)
    assert wrapped.flow.prediction == prediction and wrapped.flow.process is process


def test_the_result_is_that_of_the_exact_flow_and_a_wrong_label_is_seen():
    grid = ok.grid("logsnr", TABLE, 6)
    expected = ok.solve(ok.ProbabilityFlow(TABLE, TARGET, prediction="v"), X, "dpmpp-2m", grid)
    model = exact(TABLE, "v")
    for offset, holds in ((1, True), (0, False)):  # label i is time (i + 1) / M
        wrapped = Network(lambda x, s, o=offset: model(x, (float(s) + o) / 100), TABLE, "v_prediction", training=100)
        gap = float((ok.solve(wrapped.flow, X, "dpmpp-2m", grid) - expected).abs().max())
        assert gap < 1e-5 if holds else gap > 1e-3


@pytest.mark.parametrize("process", [ok.EDM(), ok.VP(), TABLE], ids=lambda p: p.name)
def test_denoisers_of_kdiffusion_serve_any_process(process):
    """D(x / alpha, sigma / alpha) is the data prediction of every process."""

    def denoiser(x, sigma):
        return TARGET.denoiser(x, 1.0, float(sigma[0]))

    model = from_kdiffusion(denoiser, process)
    for t in (0.05, 0.4, 0.9):
        torch.testing.assert_close(model(X, t), exact(process, "data")(X, t), rtol=1e-9, atol=1e-9)
    assert from_kdiffusion(denoiser).process == ok.EDM()


class TestDiffusers:
    @pytest.mark.parametrize(
        ("scheduler", "prediction", "first"),
        [
            (diffusers.DDIMScheduler(), "noise", 1),
            (diffusers.EulerDiscreteScheduler(prediction_type="v_prediction"), "v", 1),
            (diffusers.UniPCMultistepScheduler(prediction_type="sample"), "data", 1),
            (diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), "velocity", 0),
        ],
        ids=["ddim", "euler", "unipc", "flow"],
    )
    def test_process_prediction_and_labels_are_the_schedulers(self, scheduler, prediction, first):
        told = []

        def network(x, label):
            told.append(label)
            return x * 0

        model = from_diffusers(network, scheduler)
        assert model.prediction == prediction
        model(X, 0.5)
        model(X, 0.50025)
        assert told[0].dtype == torch.int64 and int(told[0]) == 500 - first
        assert told[1].dtype == torch.float32 and float(told[1]) == pytest.approx(500.25 - first)
        assert from_diffusers(network, scheduler, prediction="sample").prediction == "data"

    def test_forms_of_output_and_dtypes(self):
        scheduler = diffusers.DDIMScheduler()

        class Half(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.bfloat16))

            def forward(self, x, label, form, extra=None):
                assert x.dtype == torch.bfloat16 and extra is TARGET
                y = self.weight * x
                return {"tensor": y, "tuple": (y,), "output": UNet2DOutput(y)}[form]

        for form in ("tensor", "tuple", "output"):
            model = from_diffusers(Half(), scheduler, form=form, extra=TARGET)
            y = model(X, 0.5)
            assert y.dtype == torch.float64 and torch.equal(y, X.to(torch.bfloat16).double())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Network(3, TABLE, "noise"), r"called as network\(x, t\); got a int"),
        (lambda: Network(len, TABLE, "epsilom"), "unknown prediction 'epsilom'"),
        (lambda: Network(len, TABLE, "noise", told="sigmas"), "unknown way .* 'sigmas'; did you mean 'sigma'"),
        (lambda: Network(len, TABLE, "noise", state="vp"), "unknown state of a network 'vp'"),
        (lambda: from_diffusers(len, diffusers.EDMEulerScheduler()), "EDMEulerScheduler cannot be placed on a process"),
    ],
    ids=["callable", "prediction", "told", "state", "scheduler"],
)
def test_refusals(call, words):
    with pytest.raises(ok.OdekitError, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)
