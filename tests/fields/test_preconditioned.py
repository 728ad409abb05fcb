"""Preconditioned scores: EDM's on numbers, C_skip and C_out of matrices, one step for Gaussian data, conversions."""

import math
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
import torch

import odekit as ok
from odekit import methods
from odekit.exceptions import OdekitError, PredictionError
from odekit.fields import predictions
from odekit.fields.operator_predictions import OperatorPrediction, operator_prediction
from odekit.fields.preconditioned import Coefficients, Preconditioned
from odekit.processes import CLD, PSLD, VE, VP, Blurring, LinearSDE
from odekit.targets import under


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


MODES = ok.GaussianMixture(numbers([-1.0], [1.2]), numbers(0.4, 0.5), numbers(0.4, 0.6))
SIGNALS = ok.GaussianMixture(numbers([-1.0, 0.3, 0.2], [0.8, -0.4, 0.5]), numbers(0.4, 0.5), numbers(0.4, 0.6))
UNEVEN = numbers(0.8, 0.62, 0.51, 0.33, 0.2, 0.16)
V = Fraction(3, 10)
FOUND = Coefficients(V)
TIME = sympy.Symbol("t")
BETA = sympy.Rational(1, 10) + sympy.Rational(199, 10) * TIME
ONE = LinearSDE(sympy.Matrix([[-BETA / 2]]), sympy.Matrix([sympy.sqrt(BETA)]))  # VP as a matrix
G, X = sympy.sqrt(8), 3 * sympy.sqrt(3)  # the chain is critically damped: one eigenvalue, three times
CHAIN = sympy.Matrix([[0, 1, 0], [-1, 0, G], [0, -G, -X]])
THREE = LinearSDE(CHAIN, sympy.Matrix([0, 0, sympy.sqrt(2 * X)]), initial=(0, 1, 1))
PROCESSES = {"psld": PSLD(), "cld": CLD(), "wide": PSLD(position_variance=0.1), "three": THREE, "one": ONE}


def states(count, seed=1, channels=2):
    return torch.randn(count, channels, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------ the coefficients


@pytest.mark.parametrize("which", PROCESSES)
def test_coefficients_are_those_of_the_definition(which):
    """C_skip = -S^-1 and C_out diag(1, 0, ...) C_out^T = Sigma^-1 - S^-1, at sixty digits and at both ends of time, of
    which float64 keeps all but the last."""
    process = PROCESSES[which]
    for t in (1e-6, 1.0):
        with mpmath.workdps(60):
            at = mpmath.mpf(t)
            to_matrix = lambda block: mpmath.matrix(block.value.tolist())  # noqa: E731
            mean, sigma = to_matrix(process.mean(at)), to_matrix(process.covariance(at))
            S = sigma + mpmath.mpf(3) / 10 * mean[:, 0] * mean[:, 0].T
            gap = sigma**-1 - S**-1
            skip, out, into = (to_matrix(f(process, at)) for f in (FOUND.skip, FOUND.out, FOUND.into))
            assert mpmath.mnorm(skip + S**-1) < mpmath.mpf(10) ** -40 * mpmath.mnorm(S**-1)
            assert mpmath.mnorm(out[:, 0] * out[:, 0].T - gap) < mpmath.mpf(10) ** -35 * mpmath.mnorm(gap)
            assert mpmath.mnorm(into * out - mpmath.eye(process.channels)) < mpmath.mpf(10) ** -35
            expected = [np.array(m.tolist(), dtype=float) for m in (skip, out, into)]
        for f, value in zip((FOUND.skip, FOUND.out, FOUND.into), expected, strict=True):
            assert np.abs(f(process, t).value.numpy() - value).max() < 1e-13 * np.abs(value).max()


def test_the_difference_taken_as_such_loses_eleven_digits():
    process = PSLD()
    one, other = (process.covariance(1.0).value, FOUND.covariance(process, 1.0).value)
    naive = torch.linalg.inv(one) - torch.linalg.inv(other)
    column = FOUND.out(process, 1.0).value[:, :1]
    assert 1e-13 < (naive - column @ column.T).abs().max() / naive.abs().max() < 1e-3


def test_it_is_edm_where_coefficients_are_numbers():
    """On VE c_skip and c_out of Table 1; on blurring without blur, and as a matrix, the same numbers."""
    process, x = VE(), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    assert predictions.scalar_prediction(Preconditioned(), process) == predictions.PREDICTIONS["edm"]
    assert ok.ProbabilityFlow(process, MODES, Preconditioned(0.25)).prediction == "edm"
    flow = ok.ProbabilityFlow(process, MODES, Preconditioned(V))
    for t in (0.1, 3.0, 50.0):
        sigma, v = process.sigma(t), float(V)
        skip, out = v / (sigma**2 + v), sigma * math.sqrt(v) / math.sqrt(sigma**2 + v)
        denoised = MODES.denoiser(x, 1.0, sigma)
        assert (flow.model(x, t) - (denoised - skip * x) / out).abs().max() < 1e-12 * (1 + 1 / sigma)
    other = ok.ProbabilityFlow(process, MODES, Preconditioned(2 * V))  # the control: another network
    assert (other.model(x, 3.0) - flow.model(x, 3.0)).abs().max() > 1e-2


def test_a_matrix_of_one_channel_is_edm_on_numbers():
    """C_skip = -1/(sigma^2 + v alpha^2), C_out = sqrt(v) alpha/(sigma sqrt(sigma^2 + v alpha^2)): c_skip and c_out."""
    number, x, v = VP(), states(5, channels=1), float(V)
    one, other = (ok.ProbabilityFlow(process, MODES, Preconditioned(V)) for process in (ONE, number))
    for t in (1e-3, 0.3, 1.0):
        alpha, sigma = number.alpha(t), number.sigma(t)
        S = sigma**2 + v * alpha**2
        assert FOUND.skip(ONE, t).value.item() == pytest.approx(-1 / S, rel=1e-13)
        assert FOUND.out(ONE, t).value.item() == pytest.approx(v**0.5 * alpha / (sigma * S**0.5), rel=1e-13)
        assert (one.model(x, t) - other.model(x[:, 0], t)[:, None]).abs().max() < 1e-11


def test_blurring_has_edm_at_each_frequency():
    process = Blurring(shape=(3,), blur=2.0)
    flow = ok.ProbabilityFlow(process, SIGNALS, Preconditioned(V))
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in (0.01, 0.4, 0.9):
        m, s, v = process.mean(t).value, process.factor(t).value, float(V)
        denoised = under(process, SIGNALS).denoiser(y, t)
        S = m**2 * v + s**2
        expected = (denoised - v * m / S * y) * S.sqrt() / (math.sqrt(v) * s)
        assert (flow.model(y, t) - expected).abs().max() < 1e-10
    several = Preconditioned([1.0, 0.3, 0.1])
    S = Coefficients(several.data_variance).covariance(process, 0.4).value
    m, s = process.mean(0.4).value, process.factor(0.4).value
    assert (S - (m**2 * numbers(1.0, 0.3, 0.1) + s**2)).abs().max() < 1e-15


@pytest.mark.parametrize("which", PROCESSES)
def test_the_momentum_of_an_exact_score_is_zero(which):
    """And N_x is EDM's: E[x_0 | u] = v a^T S^-1 u + sqrt(v/(1 + v q)) N_x. A score that is not exact shows."""
    process, v = PROCESSES[which], float(V)
    u = states(6, channels=process.channels)
    law = under(process, MODES)
    for t in (1e-3, 0.3, 1.0):
        N = ok.ProbabilityFlow(process, MODES, Preconditioned(V)).model(u, t)
        assert process.channels == 1 or N[:, 1:].abs().max() < 1e-11
        assert N[:, 0].abs().max() < 5
        a, S = process.mean(t).value[:, 0], FOUND.covariance(process, t).value
        q = a @ torch.linalg.solve(process.covariance(t).value, a)
        linear = v * torch.einsum("i,bik->bk", torch.linalg.solve(S, a), u)
        if which != "wide":
            assert (linear + (v / (1 + v * q)).sqrt() * N[:, 0] - law.denoiser(u, t)).abs().max() < 1e-11
    score = law.score(u, 0.3)
    score[:, -1] *= 1.01
    wrong = FOUND.into(process, 0.3).apply(score) - (FOUND.into(process, 0.3) @ FOUND.skip(process, 0.3)).apply(u)
    assert process.channels == 1 or wrong[:, 1:].abs().max() > 1e-4


@pytest.mark.parametrize("process", [PSLD(), Blurring(shape=(3,), blur=2.0)], ids=["psld", "blurring"])
def test_the_variance_of_n_is_one_for_gaussian_data(process):
    """N = C_out^-1 (score - C_skip u) has the identity for covariance where the score is that of single data: of
    conditional scores -Sigma^-1 (u - a x_0) the part that S does not explain."""
    for t in (0.01, 0.4, 0.95):
        back = FOUND.into(process, t).value
        if process.carrier == "diagonal":
            m, s, S = process.mean(t).value, process.factor(t).value, FOUND.covariance(process, t).value
            assert (back**2 * float(V) * m**2 / (s**2 * S) - 1).abs().max() < 1e-13
            continue
        gap = torch.linalg.inv(process.covariance(t).value) - torch.linalg.inv(FOUND.covariance(process, t).value)
        assert (back @ gap @ back.T - numbers([1, 0], [0, 0])).abs().max() < 1e-8


# ------------------------------------------------------------ its flow


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    "process",
    [PSLD(), CLD(), Blurring(shape=(1,), blur=2.0), VP(), ONE, THREE],
    ids=["psld", "cld", "blurring", "vp", "one", "three"],
)
def test_gaussian_data_in_one_step(process, steps):
    """C_skip = -S^-1 and B = 0: exact for N(0, v) data, in one step from t = 0.95 to 0.02; without C_skip, or with half
    the variance, not."""
    isotropic = not hasattr(process, "carrier")
    plain = "noise" if isotropic else "l-noise"
    flow = ok.ProbabilityFlow(process, ok.Gaussian(numbers(0.0), numbers([float(V)])), plain)
    z = states(4)[:, 0] if isotropic or process.carrier == "diagonal" else states(4, channels=process.channels)
    grid = torch.linspace(0.95, 0.02, steps + 1, dtype=torch.float64)
    exact = ok.solve(flow, z, "dop853", torch.linspace(0.95**0.5, 0.02**0.5, 97, dtype=torch.float64) ** 2)
    run = lambda prediction: ok.solve(flow, z, "lambda-ddim-1", grid, rate=0.0, prediction=prediction)  # noqa: E731
    assert (run(Preconditioned(V)) - exact).abs().max() < 1e-10 * z.abs().max()
    assert (run(Preconditioned(V / 2)) - exact).abs().max() > 1e-3
    assert (run(plain) - exact).abs().max() > 1e-2


def test_a_process_of_ones_own_has_its_flow_by_collocation(monkeypatch):
    process, (s, t) = PSLD(), (0.2, 0.9)
    closed = FOUND.propagator(process, s, t).value
    monkeypatch.setattr("odekit.fields.preconditioned._widened", lambda process, variance: None)
    assert (FOUND.propagator(process, s, t).value - closed).abs().max() < 1e-11
    assert (process.transition(s, t).value - closed).abs().max() > 0.1


def test_drifts_that_vary_have_it_too():
    beta = 2 + 4 * TIME
    F = beta * sympy.Matrix([[0, 2], [sympy.Rational(-1, 2), -2]])
    process = LinearSDE(F, sympy.Matrix([0, sympy.sqrt(beta)]), initial=(0, sympy.Rational(1, 25)))
    flow = ok.ProbabilityFlow(process, ok.Gaussian(numbers(0.0), numbers([float(V)])), Preconditioned(V))
    z = states(3)
    exact = ok.solve(flow, z, "dop853", torch.linspace(0.9, 0.1, 33, dtype=torch.float64))
    got = ok.solve(flow, z, "lambda-ddim-1", numbers(0.9, 0.1), rate=0.0, prediction=Preconditioned(V))
    assert (got - exact).abs().max() < 1e-10


# ------------------------------------------------------------ plans


@pytest.mark.parametrize("process", [PSLD(), CLD(), Blurring(shape=(3,), blur=2.0)], ids=lambda p: p.name)
def test_plans_are_reexpressed_and_compared(process):
    """The same program over registers of l-noise, of the score and of N; C_skip with B = 0 is exponential AB1 of the
    shifted prediction, and no exponential AB1 of another."""
    target = SIGNALS if process.carrier == "diagonal" else MODES
    skipped, noise = (ok.ProbabilityFlow(process, target, name) for name in (Preconditioned(V), "l-noise"))
    own = ok.plan("lambda-ddim-1", skipped, UNEVEN, rate=0.0, prediction=Preconditioned(V))
    over = ok.plan("lambda-ddim-1", noise, UNEVEN, rate=0.0, prediction=Preconditioned(V))
    assert ok.same(own, over) and ok.same(over, own)
    assert ok.same(own, ok.plan("exponential-ab-1", noise, UNEVEN, prediction=Preconditioned(V), clock="t"))
    assert not ok.same(own, ok.plan("exponential-ab-1", noise, UNEVEN, prediction="l-noise", clock="t"))
    assert not ok.same(own, ok.plan("lambda-ddim-1", noise, UNEVEN, rate=0.0, prediction=Preconditioned(2 * V)))
    back = over.reexpress(Preconditioned(V)).reexpress("score")
    x = states(3) if process.carrier == "block" else states(9).reshape(-1, 3)[:3]
    score = ok.ProbabilityFlow(process, target, "score")
    assert (back(score.model, x) - own(skipped.model, x)).abs().max() < 1e-10


def test_plans_are_stored(tmp_path):
    plan = ok.plan("lambda-ddim-1", ok.ProbabilityFlow(PSLD(), MODES, Preconditioned(V)), UNEVEN, rate=0.5)
    plan.save(tmp_path / "plan.json")
    assert ok.Plan.load(tmp_path / "plan.json").prediction == Preconditioned(V)
    assert ok.same(plan, ok.Plan.load(tmp_path / "plan.json"))


def test_higher_degrees_and_every_other_method_take_it():
    flow = ok.ProbabilityFlow(PSLD(), MODES, Preconditioned(V))
    x, errors = under(PSLD(), MODES).sample(8, 0.8, seed=0), []
    exact = ok.solve(flow, x, "dop853", torch.linspace(0.8, 0.2, 60, dtype=torch.float64))
    for steps in (24, 48):
        grid = torch.linspace(0.8, 0.2, steps + 1, dtype=torch.float64)
        found = ok.solve(flow, x, "exponential-ab-2", grid, prediction=Preconditioned(V), clock="t")
        errors.append((found - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
    for name in ("rvv", "gddim-1", "rk4"):  # whose own prediction is another
        assert bool(ok.solve(flow, x, name, UNEVEN).isfinite().all())


def test_it_is_data():
    one = Preconditioned([0.5, 0.25])
    assert one == Preconditioned((Fraction(1, 2), "1/4")) and hash(one) == hash(pickle.loads(pickle.dumps(one)))
    flow = ok.ProbabilityFlow(PSLD(), MODES, Preconditioned(V))
    assert flow.prediction == Preconditioned(V)
    assert ok.ProbabilityFlow(PSLD(), MODES, "edm").prediction == "edm"
    assert operator_prediction(Preconditioned(), PSLD()) == operator_prediction(predictions.PREDICTIONS["edm"], PSLD())


# ------------------------------------------------------------ refusals


REFUSED = {
    "no variance": (lambda: Preconditioned(0), "positive"),
    "text": (lambda: Preconditioned("many"), "positive"),
    "several on a matrix": (lambda: ok.ProbabilityFlow(PSLD(), MODES, Preconditioned([1, 2])), "one variance"),
    "several on numbers": (lambda: ok.ProbabilityFlow(VP(), MODES, Preconditioned([1, 2])), "only blurring"),
    "too many": (lambda: ok.ProbabilityFlow(Blurring(shape=(3,)), SIGNALS, Preconditioned([1, 2])), "components"),
    "several on three": (lambda: ok.ProbabilityFlow(THREE, MODES, Preconditioned([1, 2, 3])), "one variance, got 3"),
    "an EDM of one's own": (lambda: ok.ProbabilityFlow(PSLD(), MODES, predictions.edm("3/10")), "Preconditioned"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    call, expected = REFUSED[name]
    with pytest.raises(PredictionError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value) and isinstance(caught.value, OdekitError)


def test_methods_take_it_as_an_option():
    assert "edm(3/10)" in methods.get("lambda-ddim-1", prediction=Preconditioned(V)).source
    assert methods.get("lambda-ddim-2", prediction="edm").key() != methods.get("lambda-ddim-2").key()


def test_the_primitive_under_blurring_solves_its_equation():
    """M' = A M + B, A and B of the semilinear form, by differences at fifty digits; another variance does not."""
    process, t = Blurring(shape=(4,)), 0.4
    found = operator_prediction(Preconditioned(V), process)
    with mpmath.workdps(50):
        at, h = mpmath.mpf(t), mpmath.mpf(10) ** -16
        A, B = (part.value for part in found.semilinear(process, at))
        slope = (found.primitive(process, at + h).value - found.primitive(process, at - h).value) / (2 * h)
        for value, bound in ((V, 0), (2 * V, 1e-2)):
            gap = max(abs(slope - A * Coefficients(value).primitive(process, at).value - B))
            assert gap < 1e-25 if not bound else gap > bound


def test_weights_from_the_primitive_are_those_of_the_quadrature(monkeypatch):
    process = Blurring(shape=(4,))
    flow = ok.ProbabilityFlow(process, lambda x, t: x, prediction="score")
    method = ok.methods.get("exponential-ab-3", prediction=Preconditioned(V), clock="t")
    closed = ok.plan(method, flow, UNEVEN).dense().output
    monkeypatch.setattr(OperatorPrediction, "primitive_on", lambda self, process: None)
    solved = ok.plan(method, flow, UNEVEN).dense().output
    assert (closed - solved).abs().max() < 1e-12 * closed.abs().max() and not torch.equal(closed, solved)
