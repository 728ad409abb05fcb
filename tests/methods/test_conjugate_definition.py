"""Conjugate integrators against their definition, dT/dt = T (B_t - A), on drifts and matrices that vary in time."""

import math

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import odekit as ok
from odekit import methods
from odekit.exceptions import OdekitError
from odekit.fields.preconditioned import Coefficients, Preconditioned
from odekit.methods import conjugate_frames
from odekit.methods.conjugate import CONSTRUCTIONS
from odekit.methods.damping import Damping
from odekit.processes import CLD, PSLD, VE, VP, Blurring, LinearSDE

T = sympy.Symbol("t")


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


MIXTURE = ok.GaussianMixture(numbers([-1.0], [1.2]), numbers(0.4, 0.5), numbers(0.4, 0.6))
UNEVEN = numbers(0.8, 0.62, 0.51, 0.33, 0.2, 0.16)
SKIP = Preconditioned(0.25)


def varying(commutes=True):
    """PSLD's equations with beta rising in time; or with a friction that rises alone, so that F(t) and F(s) do not
    commute."""
    beta, nu = 2 + 8 * T, 4 if commutes else 4 + 3 * T
    F = beta / 2 * sympy.Matrix([[0, 4], [-1, -nu]])
    return LinearSDE(F, sympy.Matrix([0, sympy.sqrt(beta * nu) / 2]), initial=(0, sympy.Rational(1, 100)))


def flow_of(process, prediction="score", target=MIXTURE):
    return ok.ProbabilityFlow(process, target, prediction=prediction)


def tables(method, process, grid=UNEVEN, **options):
    """(P (I - h B), W) of each step, as arrays (steps, ...)."""
    method = methods.get(method, **options)
    flow = flow_of(process, method.prediction, target_of(process))
    (segment,) = ok.plan(method, flow, grid).segments
    return segment.outputs[:, 0, 0], segment.outputs[:, 0, 1]


def target_of(process):
    return signals() if isinstance(process, Blurring) else MIXTURE


def signals():
    return ok.GaussianMixture(numbers([-1.0, 0.3, 0.2], [0.8, -0.4, 0.5]), numbers(0.4, 0.5), numbers(0.4, 0.6))


# ------------------------------------------------------------ the equation, solved apart


def by_definition(process, B, K, skip, t, s):
    """P = T_s^-1 T_t and W = T_s^-1 (1/2) int_s^t T G G^T C_out dr, integrated as dT/dt and dPhi/dt from T_s = I."""

    def rates(r, y):
        conj = y[:4].reshape(2, 2)
        F, GG = process.drift(r).value.numpy(), process.diffusion(r).value.numpy()
        C = skip(r) if skip else np.zeros((2, 2))
        return np.concatenate([(conj @ (B(r) - F + GG @ C / 2)).ravel(), (conj @ GG @ K(r) / 2).ravel()])

    end = solve_ivp(rates, (s, t), [1, 0, 0, 1, 0, 0, 0, 0], method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return end[:4].reshape(2, 2), end[4:].reshape(2, 2)


def shapes():
    return {
        "constant": ([[1.0, 0.5], [-2.0, 3.0]], lambda r: np.array([[1, 0.5], [-2, 3]])),
        "texts": ([["1", "t"], ["-t**2", "2*t"]], lambda r: np.array([[1, r], [-(r**2), 2 * r]])),
        "symbols": (
            sympy.Matrix([[sympy.cos(3 * T), 1], [0, sympy.exp(-T)]]),
            lambda r: np.array([[np.cos(3 * r), 1], [0, np.exp(-r)]]),
        ),
        "a text": ("1 + 3*t", lambda r: (1 + 3 * r) * np.eye(2)),
        "a symbol": (sympy.exp(T) / 2, lambda r: np.exp(r) / 2 * np.eye(2)),
    }


PROCESSES = {
    "psld": lambda: PSLD(),
    "beta(t)": lambda: varying(),
    "nu(t)": lambda: varying(commutes=False),
}
PREDICTIONS = {"l-noise": ("l-noise", None), "edm": (SKIP, True)}


CASES = [(which, prediction, shape) for which in PROCESSES for prediction in PREDICTIONS for shape in shapes()]


@pytest.mark.parametrize(
    ("which", "prediction", "shape"), [CASES[i] for i in (*range(0, 20, 2), *range(1, 20, 6), 21, 28)]
)
def test_p_and_w_are_those_of_the_equation(which, prediction, shape):
    process, (given, B), rate = PROCESSES[which](), shapes()[shape], 1.5
    name, skips = PREDICTIONS[prediction]
    found = Coefficients(SKIP.data_variance)
    K = (lambda r: found.out(process, r).value.numpy()) if skips else _out(process)
    skip = (lambda r: found.skip(process, r).value.numpy()) if skips else None
    t, s = 0.6, 0.4
    whole, W = tables("lambda-ddim-1", process, numbers(t, s), rate=rate, shape=given, prediction=name)
    P, forced = by_definition(process, lambda r: rate * B(r), K, skip, t, s)
    expected = P @ (np.eye(2) - (t - s) * rate * B(t))
    assert np.abs(whole[0].numpy() - expected).max() < 2e-11 * np.abs(P).max()
    assert np.abs(W[0].numpy() - forced).max() < 2e-11 * np.abs(P).max()


def _out(process):
    return lambda r: -np.linalg.inv(np.linalg.cholesky(process.covariance(r).value.numpy())).T


@pytest.mark.parametrize("case", ["beta(t), ones", "C_skip, ones", "C_skip alone", "B(t)"])
def test_the_exponential_of_the_integral_is_another_matrix(case):
    """The control: exp(int (B - F + G G^T C_skip / 2)), as printed, where the integrand does not commute with itself;
    and the same formula is right where it does."""
    ones = lambda r: 2 * np.ones((2, 2))  # noqa: E731
    process = varying() if case == "beta(t), ones" else PSLD()
    B = {"C_skip alone": lambda r: np.zeros((2, 2)), "B(t)": lambda r: np.array([[0, 9 * r], [0, 0]])}.get(case, ones)
    found = Coefficients(SKIP.data_variance)
    skip = (lambda r: found.skip(process, r).value.numpy()) if case.startswith("C_skip") else None
    t, s = 0.7, 0.25
    P = by_definition(process, B, _out(process), skip, t, s)[0]
    nodes, masses = np.polynomial.legendre.leggauss(60)
    integral = sum(
        w * (t - s) / 2 * (B(r) - process.drift(r).value.numpy() + (0 if skip is None else _half(process, r) @ skip(r)))
        for r, w in zip((t + s) / 2 + (t - s) / 2 * nodes, masses, strict=True)
    )
    assert np.abs(expm(integral) - P).max() > 1e-3 * np.abs(P).max()
    alone = varying()
    own = sum(
        w * (t - s) / 2 * (np.eye(2) - alone.drift(r).value.numpy())
        for r, w in zip((t + s) / 2 + (t - s) / 2 * nodes, masses, strict=True)
    )
    right = by_definition(alone, lambda r: np.eye(2), _out(alone), None, t, s)[0]
    assert np.abs(expm(own) - right).max() < 1e-11 * np.abs(right).max()


def _half(process, r):
    return process.diffusion(r).value.numpy() / 2


@pytest.mark.parametrize("word", ["cse", "cvv"])
@pytest.mark.parametrize("construction", ["joint", "separate"])
def test_conjugate_splittings_run_on_any_drift(word, construction):
    """With order one, B in texts."""
    process, x = varying(commutes=False), torch.randn(4, 2, 1, generator=torch.Generator().manual_seed(1)).double()
    flow = flow_of(process)
    exact = ok.solve(flow, x, "dop853", torch.linspace(0.7, 0.4, 17, dtype=torch.float64))
    method, errors = methods.get(word, rate=1.0, shape=[["1", "t"], ["-t", "1/2"]], construction=construction), []
    for steps in (64, 128):
        grid = torch.linspace(0.7, 0.4, steps + 1, dtype=torch.float64)
        errors.append((ok.solve(flow, x, method, grid) - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("name", "options"),
    [("lambda-ddim-2", {}), *((word, {"construction": kind}) for word in ("cse", "cvv") for kind in CONSTRUCTIONS)],
)
def test_collocation_is_the_exponential_where_nothing_varies(name, options, monkeypatch):
    closed = ok.plan(name, flow_of(PSLD()), UNEVEN, rate=1.7, **options).dense().output
    monkeypatch.setattr(conjugate_frames, "_is_constant", lambda process: False)
    solved = ok.plan(name, flow_of(PSLD()), UNEVEN, rate=1.7, **options).dense().output
    assert (closed - solved).abs().max() < 1e-12 * closed.abs().max() and not torch.equal(closed, solved)


def test_a_drift_that_returns_is_not_constant():
    """A cubic beta that is 1 at both ends and in between: P is not the exponential of what it is at a few times."""
    ends = [sympy.Rational(*ratio) for ratio in ((1, 1000), (37063, 100000), (1, 1))]
    beta = 1 + 40 * sympy.prod([T - end for end in ends])
    process = LinearSDE(beta * sympy.Matrix([[0, 4], [-1, -4]]), sympy.Matrix([0, 1]), initial=(0, 0.01))
    B = lambda r: np.ones((2, 2)) * 0.7  # noqa: E731
    P, _ = by_definition(process, B, lambda r: np.zeros((2, 2)), None, 0.6, 0.2)
    (found,) = tables("lambda-ddim-2", process, numbers(0.6, 0.2), rate=0.7)[0].numpy()
    assert np.abs(found - P @ (np.eye(2) - 0.4 * B(0))).max() < 1e-9
    frozen = expm(0.4 * (B(0) - process.drift(1.0).value.numpy())) @ (np.eye(2) - 0.4 * B(0))
    assert np.abs(found - frozen).max() > 0.1


# ------------------------------------------------------------ what B = 0 is, and what B is not


CARRIERS = {
    "vp": (VP, "l-noise"),
    "vp, v": (VP, "v"),
    "vp, data": (VP, "data"),
    "ve, edm": (VE, SKIP),
    "blurring": (lambda: Blurring(shape=(3,), blur=2.0), "l-noise"),
    "blurring, edm": (lambda: Blurring(shape=(3,), blur=2.0), SKIP),
    "psld": (PSLD, "l-noise"),
    "psld, R": (PSLD, "r-noise"),
    "cld, edm": (CLD, SKIP),
    "beta(t)": (varying, "l-noise"),
}


@pytest.mark.parametrize("case", CARRIERS)
def test_without_b_it_is_exponential_euler_and_with_b_it_is_not(case):
    """`ok.same` finds lambda = 0 to be exponential Adams-Bashforth of one point in its own prediction, C_skip included;
    lambda = 0.1 not. They are O(h^2) apart."""
    make, prediction = CARRIERS[case]
    process = make()
    flow = flow_of(process, prediction, target_of(process))
    for seed in range(3):
        inner = 0.2 + 0.6 * torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        grid = torch.cat([numbers(0.85), inner.sort(descending=True).values, numbers(0.15)])
        euler = ok.plan("exponential-ab-1", flow, grid, prediction=prediction, clock="t")
        still, moved = (ok.plan("lambda-ddim-1", flow, grid, rate=rate, prediction=prediction) for rate in (0.0, 0.1))
        assert ok.same(still, euler)
        assert not ok.same(moved, euler)
    gaps = []
    for h in (0.004, 0.002):
        one, other = (
            ok.plan("lambda-ddim-1", flow, numbers(0.5, 0.5 - h), rate=rate, prediction=prediction).dense().output
            for rate in (0.0, 2.0)
        )
        gaps.append((one - other).abs().max().item())
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("shape", [0, "0*t", [[0, 0], [0, 0]], sympy.zeros(2, 2)], ids=str)
def test_a_b_of_zero_however_written(shape):
    plan = ok.plan("lambda-ddim-1", flow_of(PSLD()), UNEVEN, shape=shape, rate=1.0)
    assert ok.same(plan, ok.plan("lambda-ddim-2", flow_of(PSLD()), UNEVEN, rate=0.0))


@pytest.mark.parametrize("shape", [[[1, 0], [0, 1]], "1", sympy.eye(2)], ids=str)
def test_a_multiple_of_the_identity_however_written(shape):
    """And the equation agrees with the closed form of it."""
    plan = ok.plan("lambda-ddim-1", flow_of(PSLD()), UNEVEN, shape=shape, rate=1.3)
    assert ok.same(plan, ok.plan("lambda-ddim-1", flow_of(PSLD()), UNEVEN, rate=1.3))
    nearly = ok.plan("lambda-ddim-1", flow_of(PSLD()), UNEVEN, shape=[["1", 0], [0, "1 + 1e-14"]], rate=1.3)
    assert (nearly.dense().output - plan.dense().output).abs().max() < 1e-11 * plan.dense().output.abs().max()


# ------------------------------------------------------------ scalar processes


@pytest.mark.parametrize("rate", [0.0, 1.5])
@pytest.mark.parametrize("prediction", ["noise", "v", "data"])
def test_closed_forms_of_vp(prediction, rate):
    """With A_t = e^(lambda t)/alpha, e^(lambda t), e^(lambda t)/sigma and Phi of lambda = 0: sigma/alpha, arccos alpha,
    alpha/sigma. W by 200 points of the definition; for lambda = 0 the difference of Phi."""
    process, (t, s) = VP(), (0.6, 0.45)
    found = tables("lambda-ddim-1", process, numbers(t, s), rate=rate, prediction=prediction)
    whole, W = (value.item() for value in found)
    A, rate_of = {
        "noise": (lambda r: 1 / process.alpha(r), lambda r: process.sigma(r) / process.alpha(r)),
        "v": (lambda r: 1.0, lambda r: math.acos(process.alpha(r))),
        "data": (lambda r: 1 / process.sigma(r), lambda r: process.alpha(r) / process.sigma(r)),
    }[prediction]
    grown = lambda r: math.exp(rate * r) * A(r)  # noqa: E731
    assert whole == pytest.approx(grown(t) / grown(s) * (1 - (t - s) * rate), rel=1e-14)
    nodes, masses = np.polynomial.legendre.leggauss(200)
    d = 1e-4
    phi = sum(
        w * (s - t) / 2 * math.exp(rate * r)
        * (8 * (rate_of(r + d) - rate_of(r - d)) - rate_of(r + 2 * d) + rate_of(r - 2 * d)) / (12 * d)
        for r, w in zip((t + s) / 2 + (s - t) / 2 * nodes, masses, strict=True)
    )  # fmt: skip
    assert W == pytest.approx(phi / grown(s), rel=1e-10)
    if rate == 0:
        assert W == pytest.approx((rate_of(s) - rate_of(t)) / A(s), rel=1e-13)


@pytest.mark.parametrize("prediction", ["noise", "data"])
def test_without_b_it_is_ddim(prediction):
    for seed in range(3):
        inner = 0.2 + 0.6 * torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        grid = torch.cat([numbers(0.85), inner.sort(descending=True).values, numbers(0.15)])
        plan = lambda name, **options: ok.plan(name, flow_of(VP(), "noise"), grid, **options)  # noqa: B023, E731
        assert ok.same(plan("lambda-ddim-1", rate=0.0, prediction=prediction), plan("ddim"))
        assert not ok.same(plan("lambda-ddim-1", rate=0.0, prediction="v"), plan("ddim"))


def test_steps_that_end_without_noise():
    process = ok.RectifiedFlow()
    flow = flow_of(process, "noise")
    end = ok.solve(flow, numbers([0.3], [-0.4]), "lambda-ddim-1", numbers(0.9, 0.5, 0.0), rate=0.7)
    assert bool(end.isfinite().all())


@pytest.mark.parametrize("make", [VP, PSLD], ids=["vp", "psld"])
def test_digits(make):
    """Fifty digits where P is closed, in every form of B that is a polynomial in time."""
    process = make()
    flow = flow_of(process, "noise" if make is VP else "l-noise")
    for shape in ("identity", "1 + t"):
        method = methods.get("lambda-ddim-1", rate=0.7, shape=shape, prediction=flow.prediction)
        exact, plain = (ok.plan(method, flow, UNEVEN[:3], precision=p).dense().output for p in (40, None))
        assert np.abs(np.asarray(exact, dtype=float) - plain.numpy()).max() < 1e-13


@pytest.mark.parametrize("shape", ["identity", "1 + t", "ones", [["1", "t"], ["0", "1"]]], ids=str)
def test_gradients_reach_the_grid(shape):
    flow = flow_of(PSLD(), "l-noise")
    method = methods.get("lambda-ddim-1", rate=0.7, shape=shape)
    grid = UNEVEN[:3].clone().requires_grad_()
    slope = torch.autograd.grad(ok.plan(method, flow, grid).dense().output.sum(), grid)[0][1].item()
    moved = [UNEVEN[:3] + numbers(0, step, 0) for step in (1e-5, -1e-5)]
    up, down = (ok.plan(method, flow, nodes).dense().output.sum().item() for nodes in moved)
    assert slope == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


# ------------------------------------------------------------ refusals

REFUSED = {
    "ones on VP": (
        lambda: ok.plan("lambda-ddim-2", flow_of(VP(), "noise"), UNEVEN),
        r"B = rate times ones is a 2x2 matrix.* VP\(.*shape='identity', a number or a text in t, or .*CLD, PSLD",
    ),
    "a matrix on blurring": (
        lambda: ok.plan(
            "lambda-ddim-1",
            flow_of(Blurring(shape=(3,)), "l-noise", signals()),
            UNEVEN,
            shape=[["1", "t"], ["0", "1"]],
        ),  # fmt: skip
        "CLD, PSLD",
    ),
    "a word on VP": (lambda: ok.plan("cse", flow_of(VP(), "noise"), UNEVEN), "position and momentum"),
    "noise in phase space": (
        lambda: ok.plan("lambda-ddim-1", flow_of(PSLD()), UNEVEN, prediction="noise"),
        "no prediction 'noise'",
    ),
    "two symbols": (lambda: methods.get("cse", shape=sympy.Matrix([[T, sympy.Symbol("s")], [0, 1]])), "one symbol"),
    "another symbol in a text": (lambda: methods.get("cse", shape=[["u", "0"], ["0", "1"]]), "ones|unknown symbol"),
    "a function of no kind": (lambda: methods.get("cse", shape=[["phi1(t)", "0"], ["0", "1"]]), "expression"),
    "a call": (lambda: methods.get("lambda-ddim-1", shape="__import__('os')"), "position"),
    "three rows": (lambda: methods.get("lambda-ddim-1", shape=sympy.eye(3)), "2x2"),
    "an infinite rate": (lambda: methods.get("lambda-ddim-1", rate=math.inf), "finite"),
    "no number": (lambda: methods.get("lambda-ddim-1", shape=[[1, None], [0, 1]]), "finite number"),
    "digits without a closed form": (
        lambda: ok.plan("lambda-ddim-2", flow_of(varying()), UNEVEN, precision=30),
        "digits",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    call, expected = REFUSED[name]
    with pytest.raises(OdekitError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_b_of_time_is_read_once():
    one = Damping("x", 2, "t/2")
    assert one.number(0.5).item() == 0.5 and one.growth(0.0, 1.0).item() == pytest.approx(math.exp(0.5), rel=1e-15)
    odd = Damping("x", 1, sympy.cos(T))
    assert odd.gain(0.1, 0.9).item() == pytest.approx(math.expm1(math.sin(0.9) - math.sin(0.1)), rel=1e-14)
