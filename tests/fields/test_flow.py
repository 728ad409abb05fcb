"""The probability flow: every prediction is the same field, with forms that stay finite where they can."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit.exceptions import PredictionError
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.predictions import PREDICTIONS, conversion, prediction

PROCESSES = [ok.VP(), ok.SubVP(), ok.Cosine(), ok.VE(), ok.EDM(), ok.RectifiedFlow()]
NAMES = sorted(PREDICTIONS)


def states(count=7):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", NAMES)
def test_every_prediction_is_the_flow_of_its_process(process, name):
    """dx/dt = F x - G^2/2 score (Song et al. 2021, eq. 13), whatever the model returns."""
    target = ok.targets.aniso3()
    t = 0.3 * process.t_max
    x = states() * process.sigma(t)
    drift, half = process.drift(t), process.diffusion_squared(t) / 2
    expected = drift * x - half * target.score(x, process.alpha(t), process.sigma(t))
    found = ok.ProbabilityFlow(process, target, prediction=name)(x, t)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-11


@pytest.mark.parametrize(
    ("name", "A", "B"),
    [
        ("noise", "alpha_rate/alpha", "sigma_rate - alpha_rate*sigma/alpha"),
        ("data", "sigma_rate/sigma", "alpha_rate - alpha*sigma_rate/sigma"),
        ("velocity", "0", "1"),
    ],
)
def test_semilinear_forms_are_derived_to_the_published_ones(name, A, B):
    import sympy

    symbols = {s: sympy.Symbol(s) for s in ("alpha", "sigma", "alpha_rate", "sigma_rate")}
    for found, expected in zip(prediction(name).semilinear, (A, B), strict=True):
        assert sympy.simplify(sympy.sympify(found, symbols) - sympy.sympify(expected, symbols)) == 0


def test_v_prediction_is_minus_edm_with_unit_data_under_a_variance_preserving_process():
    edm = ok.fields.predictions.edm("1")
    c, d = conversion(edm, prediction("v"), ok.VP(), 0.37)
    assert float(c) == pytest.approx(-1.0, abs=1e-14) and float(d) == pytest.approx(0.0, abs=1e-14)


def test_velocity_is_finite_at_both_ends_of_rectified_flow():
    flow = ok.ProbabilityFlow(ok.RectifiedFlow(), ok.targets.ring6(), prediction="velocity")
    for t in (0.0, 1.0):
        assert torch.isfinite(flow(states(), t)).all()
    x = states()
    mean = flow.target.mean
    assert torch.allclose(flow(x, 1.0), x - mean, atol=1e-13)  # pure noise: velocity = eps - E[x_0]


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.floats(0.01, 0.99))
def test_conversions_are_inverse_to_each_other_and_agree_with_the_models(source, into, t):
    process, target = ok.VP(), ok.targets.ring6()
    x = states()
    models = [ok.ProbabilityFlow(process, target, prediction=p).model for p in (source, into)]
    time = torch.tensor(t, dtype=torch.float64)
    c, d = conversion(prediction(source), prediction(into), process, t)
    expected = models[1](x, time)
    size = float(max(expected.abs().max(), abs(c) * models[0](x, time).abs().max(), abs(d) * x.abs().max()))
    assert float((c * models[0](x, time) + d * x - expected).abs().max()) < 1e-12 * size
    back_c, back_d = conversion(prediction(into), prediction(source), process, t)
    assert float(back_c) * float(c) == pytest.approx(1.0, rel=1e-12)
    assert float(back_c * d + back_d) == pytest.approx(0.0, abs=1e-12 * max(1.0, abs(float(back_d))))


@pytest.mark.parametrize("name", NAMES)
def test_prepared_models_answer_as_plain_ones(name):
    flow = ok.ProbabilityFlow(ok.VP(), ok.targets.aniso3(), prediction=name)
    times = [0.9, 0.31, 0.002]
    call = flow.model.prepare(times)
    for k, t in enumerate(times):
        plain = flow.model(states(), torch.tensor(t, dtype=torch.float64))
        assert float((call(k, states()) - plain).abs().max() / plain.abs().max()) < 1e-13


@pytest.mark.parametrize("name", ["noise", "data", "velocity", "edm"])
def test_gradients_pass_through_the_time_of_the_model(name):
    flow = ok.ProbabilityFlow(ok.VP(), ok.targets.ring6(), prediction=name)
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(flow.model(states(), t).sum(), t)
    up, down = (flow.model(states(), torch.tensor(0.3 + d, dtype=torch.float64)).sum() for d in (1e-6, -1e-6))
    assert float(gradient) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


def test_a_model_of_the_user_takes_the_place_of_a_target():
    flow = ok.ProbabilityFlow(ok.VP(), lambda x, t: x * float(t), prediction="noise")
    assert torch.allclose(flow.model(states(), torch.tensor(0.5)), 0.5 * states())
    assert flow.target is None and flow.prediction == "noise"


def test_a_prediction_of_the_user_is_derived_like_ours():
    """Noise plus a quarter of the state: P = 1/4, Q = -sigma."""
    process, target = ok.VP(), ok.targets.ring6()
    mine = ok.Prediction("shifted-noise", P="1/4", Q="-sigma")
    flow = ok.ProbabilityFlow(process, target, prediction=mine)
    plain = ok.ProbabilityFlow(process, target, prediction="noise")
    assert torch.allclose(flow(states(), 0.4), plain(states(), 0.4), rtol=1e-12, atol=1e-12)
    assert flow.prediction is mine


@pytest.mark.parametrize("name", ["velocity", "noise", "data"])
def test_straight_coordinates_make_the_flow_a_plain_quadrature_of_the_prediction(name):
    """dy/dtau = N with y = x/a: the chain rule, by central differences of scale and clock."""
    process, target = ok.VP(), ok.targets.ring6()
    flow = ok.ProbabilityFlow(process, target, prediction=name)
    f = Coordinates(flow, name)
    t, h = 0.4, 1e-5
    scale, clock = ([float(g(Instant(t + d))) for d in (-h, 0.0, h)] for g in (f.scale, f.clock))
    x = states()
    a_rate, tau_rate = ((g[2] - g[0]) / (2 * h) for g in (scale, clock))
    N = flow.model(x, torch.tensor(t, dtype=torch.float64))
    expected = x * a_rate / scale[1] + scale[1] * tau_rate * N
    assert float((flow(x, t) - expected).abs().max() / expected.abs().max()) < 1e-8


class TestRefusals:
    def test_an_unknown_prediction_names_its_neighbours(self):
        with pytest.raises(ok.OdekitError, match="unknown prediction 'nose'; did you mean 'noise'"):
            ok.ProbabilityFlow(ok.VP(), ok.targets.ring6(), prediction="nose")

    def test_a_prediction_without_score(self):
        with pytest.raises(ok.OdekitError, match="does not contain the score"):
            _ = ok.Prediction("nothing", P="1").affine

    def test_neither_target_nor_model(self):
        with pytest.raises(ok.OdekitError, match="target with a score or a model"):
            ok.ProbabilityFlow(ok.VP(), 3.0)

    def test_expressions_of_predictions_are_data(self):
        with pytest.raises(ok.OdekitError):
            _ = ok.Prediction("evil", Q="__import__('os')").affine


@pytest.mark.parametrize("value", [[[1, 0], [0, 1]], 1.0, torch.eye(2)], ids=["rows", "number", "tensor"])
def test_weights_of_a_prediction_are_text(value):
    with pytest.raises(PredictionError, match=r"'mine': Q is of type .*; expected text in alpha, sigma") as caught:
        ok.Prediction("mine", Q=value)
    assert "\n" not in str(caught.value)
