"""Samplers of reverse SDEs: maps written apart, draws in every way of running, the family of reverse SDEs."""

import math

import pytest
import torch

import odekit as ok
from analysis.weak import law
from odekit import methods
from odekit.exceptions import GridError, MethodError, OdekitError
from odekit.methods.stochastic_splitting import METHODS, StochasticSplitting
from odekit.noise import normal

DATA = ok.Gaussian([0.7], [[0.25]])
MODES = ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6])
UNEVEN = torch.tensor([0.9, 0.62, 0.51, 0.33, 0.2, 0.16], dtype=torch.float64)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def sde_of(process=None, target=MODES, eta=1.0, prediction="score"):
    return ok.ReverseSDE(process or ok.PSLD(Gamma=0.5, nu=2.5), target, eta=eta, prediction=prediction)


def states(count=3, seed=1):
    return torch.randn(count, 2, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------ the maps, transcribed apart

BETA, GAMMA, NU = 8.0, 0.5, 2.5
M = 4 / (NU - GAMMA) ** 2


def move_a(x, m, s, h, eta):
    w = 1 + eta**2
    return x + h * BETA / 2 * (w * GAMMA * x - m / M + w * GAMMA * s[:, 0]), m


def move_b(x, m, s, h, eta):
    w = 1 + eta**2
    return x, m + h * BETA / 2 * (x + w * NU * m + w * M * NU * s[:, 1])


def move_o(x, m, z, h, eta):
    """x -> e^(-eta^2 beta Gamma h/2) x + sqrt(1 - e^(-eta^2 beta Gamma h)) xi, and the like for m."""
    rx, rm = eta**2 * BETA * GAMMA * h, eta**2 * BETA * NU * h
    x = math.exp(-rx / 2) * x + math.sqrt(-math.expm1(-rx)) * z[:, 0]
    return x, math.exp(-rm / 2) * m + math.sqrt(-M * math.expm1(-rm)) * z[:, 1]


def move_l(x, m, z, h, eta):
    """Half a step of SSCS: exp of beta h/2 [[-Gamma, -1/M], [1, -nu]], the noise by Q - E Q E^T; eta = 1."""
    from scipy.linalg import expm

    E = torch.from_numpy(expm(torch.tensor([[-GAMMA, -1 / M], [1.0, -NU]]).double().numpy() * h * BETA / 2))
    Q = torch.diag(numbers(1.0, M))
    u = torch.stack([x, m], 1) @ E.T + z @ torch.linalg.cholesky(Q - E @ Q @ E.T).T
    return u[:, 0], u[:, 1]


def move_s(x, m, s, h, eta):
    return x + h * BETA * GAMMA * (s[:, 0] + x), m + h * BETA * M * NU * (s[:, 1] + m / M)


MAPS = {"A": move_a, "B": move_b, "O": move_o, "L": move_l, "S": move_s}
IN_PRINT = {  # moves: letter, share of the step, and for a score whether it is new and where on the step it is asked
    "noba": "O 1; B 1 new 0; A 1 new 0",
    "roba": "O 1; B 1 new 0; A 1 old 0",
    "nbao": "B 1 new 0; A 1 new 0; O 1",
    "rbao": "B 1 new 0; A 1 old 0; O 1",
    "nobab": "O 1; B .5 new 0; A 1 new 0; B .5 new 0",
    "robab": "O 1; B .5 new 0; A 1 old 0; B .5 new 1",
    "robabo": "O .5; B .5 new 0; A 1 old 0; B .5 new 1; O .5",
    "baoab": "B .5 new 0; A .5 old 0; O 1; A .5 new 1; B .5 old 0",
    "baoab naive": "B .5 new 0; A .5 new 0; O 1; A .5 new 0; B .5 new 0",
    "roba corrected": "O 1; B 1 new 1; A 1 old 0",
    "robab not": "O 1; B .5 new 0; A 1 old 0; B .5 new 0",
    "sscs": "L .5; S 1 new 0; L .5",
    "sscs centred": "L .5; S 1 new .5; L .5",
}
OPTIONS = {
    "naive": {"naive": True},
    "corrected": {"corrected": True},
    "not": {"corrected": False},
    "centred": {"centred": True},
}


def run_apart(text, law, u, grid, noise, eta=1.0):
    x, m, drawn, s = u[:, 0, 0], u[:, 1, 0], 0, None
    for t, t_next in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        h = t - t_next
        for move in text.split(";"):
            letter, share, *score = move.split()
            if letter in "OL":
                given, drawn = noise(drawn)[:, :, 0], drawn + 1
            else:
                if score[0] == "new":
                    s = law.score(torch.stack([x, m], 1)[:, :, None], t - float(score[1]) * h)[:, :, 0]
                given = s
            x, m = MAPS[letter](x, m, given, float(share) * h, eta)
    return torch.stack([x, m], 1)[:, :, None]


@pytest.mark.parametrize("case", IN_PRINT)
def test_maps_are_those_written_apart(case):
    name, *option = case.split()
    method, sde, u = methods.get(name, **(OPTIONS[option[0]] if option else {})), sde_of(prediction="l-noise"), states()
    expected = run_apart(IN_PRINT[case], ok.targets.under(sde.process, MODES), u, UNEVEN, normal(3, u))
    for eager in (False, True):
        found = ok.solve(sde, u, method, UNEVEN, seed=3, eager=eager)
        assert (found - expected).abs().max() < 1e-12 * expected.abs().max()


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("name", ["roba", "robabo"])
def test_other_noises_are_those_written_apart(name, eta):
    sde, u = sde_of(eta=eta), states()
    expected = run_apart(IN_PRINT[name], ok.targets.under(sde.process, MODES), u, UNEVEN, normal(3, u), eta)
    assert (ok.solve(sde, u, name, UNEVEN, seed=3) - expected).abs().max() < 1e-12 * expected.abs().max()


def test_euler_maruyama_on_a_scalar_process():
    """x' = x + h (F x - (1 + eta^2)/2 g^2 s) + eta g sqrt(|h|) z."""
    process, eta, x = ok.VP(), 0.7, states()[:, 0]
    sde = ok.ReverseSDE(process, MODES, eta=eta)
    expected, noise = x, normal(3, x)
    for k, (t, s) in enumerate(zip(UNEVEN[:-1].tolist(), UNEVEN[1:].tolist(), strict=True)):
        score = MODES.score(expected, process.alpha(t), process.sigma(t))
        g2 = process.diffusion_squared(t)
        slope = process.drift(t) * expected - (1 + eta**2) / 2 * g2 * score
        expected = expected + (s - t) * slope + eta * math.sqrt(g2 * (t - s)) * noise(k)
    for eager in (False, True):
        found = ok.solve(sde, x, "euler-maruyama", UNEVEN, seed=3, eager=eager)
        assert (found - expected).abs().max() < 1e-13 * expected.abs().max()


def test_a_last_step_that_denoises():
    """One evaluation more, at the end, and no noise behind it."""
    sde, x = ok.ReverseSDE(ok.VP(), MODES), states()[:, 0]
    found = [ok.solve(sde, x, "euler-maruyama", UNEVEN, seed=3, eager=e, last="denoise") for e in (False, True)]
    noisy, t = ok.solve(sde, x, "euler-maruyama", UNEVEN, seed=3), float(UNEVEN[-1])
    expected = MODES.denoiser(noisy, ok.VP().alpha(t), ok.VP().sigma(t))
    for one in found:
        torch.testing.assert_close(one, expected, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------ evaluations, draws, tables

EVALUATIONS = {"noba": 2, "roba": 1, "nbao": 2, "rbao": 1, "nobab": 3, "robab": 2, "robabo": 2, "baoab": 2, "sscs": 1,
               "sscs-midpoint": 2, "euler-maruyama": 1}  # fmt: skip
DRAWS = {name: 2 if name in ("robabo", "sscs", "sscs-midpoint") else 1 for name in EVALUATIONS}


def test_evaluations_and_draws_a_step():
    assert set(EVALUATIONS) == set(METHODS) <= set(methods.names())
    for name in METHODS:
        plan = ok.plan(name, sde_of(), UNEVEN)
        assert (methods.get(name).evaluations, methods.get(name).draws) == (EVALUATIONS[name], DRAWS[name])
        assert (plan.evaluations, plan.draws) == (5 * EVALUATIONS[name], 5 * DRAWS[name])
    assert methods.get("baoab", naive=True).evaluations == 4


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("process", ["psld", "cld"])
def test_plan_and_eager_agree(name, process):
    sde, u = sde_of(ok.processes.get(process)), states()
    planned, eager = (ok.solve(sde, u, name, UNEVEN, seed=5, eager=e) for e in (False, True))
    assert (planned - eager).abs().max() < 1e-13 * eager.abs().max()
    assert not torch.allclose(planned, ok.solve(sde, u, name, UNEVEN, seed=6))


def test_the_dense_table_says_when_draws_act():
    plan = ok.plan("robabo", sde_of(), UNEVEN)
    table = plan.dense()
    assert table.noise_inputs.shape == (10, 10, 2, 2) and table.noise_output.shape == (10, 2, 2)
    middle = (UNEVEN[:-1] + UNEVEN[1:]) / 2
    expected = torch.stack([torch.stack([UNEVEN[:-1], middle], 1), torch.stack([middle, UNEVEN[1:]], 1)], 1)
    torch.testing.assert_close(table.noise_intervals, expected.reshape(-1, 2), rtol=1e-15, atol=0)
    assert torch.equal(plan.compress().dense().noise_intervals, table.noise_intervals)


@pytest.mark.parametrize("name", ["roba", "rbao", "robabo", "sscs"])
def test_every_form_of_a_plan_is_the_same(name, tmp_path):
    sde, u = sde_of(), states()
    plan = ok.plan(name, sde, UNEVEN)
    plan.save(tmp_path / "plan.json")
    expected = plan(sde.model, u, normal(3, u))
    others = [ok.Plan.load(tmp_path / "plan.json"), plan.compress(), ok.trace(plan)]
    for other in (*others, plan.reexpress("r-noise")):
        model = sde_of(prediction=other.prediction).model
        assert ok.same(plan, other) and plan.draws == other.draws
        torch.testing.assert_close(other(model, u, normal(3, u)), expected, rtol=1e-11, atol=1e-11)


def test_fifty_digits():
    short, long = ok.plan("robabo", sde_of(), UNEVEN), ok.plan("robabo", sde_of(), UNEVEN, precision=40)
    assert ok.same(short, long)
    exact = ok.plan("sscs", sde_of(), UNEVEN, precision=40)
    assert ok.same(ok.plan("sscs", sde_of(), UNEVEN), exact)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("name", ["roba", "sscs", "euler-maruyama"])
def test_a_state_keeps_its_dtype_and_gradients_reach_the_grid(name, eta):
    """On CLD the position has no noise of its own, with eta = 0 nothing has."""
    sde, u = sde_of(ok.CLD(), eta=eta), states()
    assert ok.solve(sde, u.float(), name, UNEVEN, seed=1).dtype == torch.float32
    grid = UNEVEN.clone().requires_grad_()
    ok.solve(sde, u, name, grid, seed=1).square().sum().backward()
    step = torch.zeros_like(UNEVEN)
    step[2] = 1e-6
    up, down = (ok.solve(sde, u, name, UNEVEN + e * step, seed=1).square().sum() for e in (1, -1))
    assert float(grid.grad[2]) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


def test_draws_of_a_seed_are_a_function_of_their_number():
    noise = normal(4, torch.zeros(2, 3))
    first = [noise(k) for k in range(4)]
    assert all(torch.equal(noise(k), first[k]) for k in (2, 0, 3, 1))
    assert not torch.equal(first[0], normal(5, torch.zeros(2, 3))(0)) and first[0].dtype == torch.float32


# ------------------------------------------------------------ the reverse SDE


@pytest.mark.parametrize("process", [ok.VP(), ok.PSLD(), ok.CLD(), ok.Blurring(shape=(1,))], ids=lambda p: p.name)
def test_without_noise_it_is_the_probability_flow(process):
    prediction = "noise" if process.name == "vp" else "score"
    sde = ok.ReverseSDE(process, MODES, eta=0.0, prediction=prediction)
    flow, x = ok.ProbabilityFlow(process, MODES, prediction), states()
    x = x if isinstance(process, ok.PSLD | ok.CLD) else x[:, 0]
    assert torch.equal(sde.drift(x, 0.4), flow(x, 0.4))
    assert torch.equal(ok.solve(sde, x, "rk4", UNEVEN), ok.solve(flow, x, "rk4", UNEVEN))
    gap = ok.solve(sde, x, "euler-maruyama", UNEVEN, seed=0) - ok.solve(flow, x, "euler", UNEVEN)
    assert gap.abs().max() < 1e-13


def test_every_eta_has_the_marginals_of_the_flow():
    """d/dt of mean and covariance under drift and noise, against those of the process's own law."""
    for eta in (0.0, 0.6, 1.0):
        sde, t, h = sde_of(target=DATA, eta=eta), 0.4, 1e-5
        mean, covariance = law(sde, t)
        basis = torch.cat([mean[None], mean + torch.eye(2, dtype=torch.float64)])[..., None]
        slopes = sde.drift(basis, t)[..., 0]
        J, G = (slopes[1:] - slopes[0]).T, sde.noise(t).value
        (m0, c0), (m1, c1) = law(sde, t - h), law(sde, t + h)
        torch.testing.assert_close(slopes[0], (m1 - m0) / (2 * h), rtol=1e-7, atol=1e-8)
        rate = J @ covariance + covariance @ J.T - G @ G.T
        torch.testing.assert_close(rate, (c1 - c0) / (2 * h), rtol=1e-7, atol=1e-8)


REFUSED = {
    "a flow": (
        lambda u: ok.solve(ok.ProbabilityFlow(ok.PSLD(), MODES, "score"), u, "roba", UNEVEN, seed=0),
        "ReverseSDE",
    ),
    "an ODE method": (lambda u: ok.solve(sde_of(), u, "rk4", UNEVEN), "sde.flow"),
    "no grid": (lambda u: ok.solve(sde_of(), u, "dp5"), "on a grid"),
    "no seed": (lambda u: ok.solve(sde_of(), u, "roba", UNEVEN), "seed="),
    "both": (lambda u: ok.solve(sde_of(), u, "roba", UNEVEN, seed=0, noise=normal(0, u)), "seed="),
    "a seed for nothing": (
        lambda u: ok.solve(ok.ProbabilityFlow(ok.PSLD(), MODES, "score"), u, "rvv", UNEVEN, seed=0),
        "neither",
    ),
    "upwards": (lambda u: ok.solve(sde_of(), u, "roba", UNEVEN.flip(0), seed=0), "runs down"),
    "no momentum": (
        lambda u: ok.solve(ok.ReverseSDE(ok.VP(), MODES), u[:, 0], "roba", UNEVEN, seed=0),
        "position and momentum",
    ),
    "eta": (lambda u: sde_of(eta=-1.0), "eta = -1.0"),
    "a seed that is none": (lambda u: ok.solve(sde_of(), u, "roba", UNEVEN, seed="one"), "whole number"),
    "a letter": (lambda u: StochasticSplitting("x", "OBC", (0, 0), ""), "unknown move"),
    "when asked": (lambda u: StochasticSplitting("x", "OBA", (0,), ""), "expected when"),
    "first by reuse": (lambda u: StochasticSplitting("x", "OBA", (None, 0), ""), "expected when"),
    "an inner method": (lambda u: StochasticSplitting("x", "OBA", (0, 0), "", inner="rk4"), "midpoint"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    call, expected = REFUSED[name]
    with pytest.raises(OdekitError, match=expected) as caught:
        call(states())
    assert "\n" not in str(caught.value)


def test_what_is_refused_is_a_matter_of_methods_and_grids():
    for call, kind in ((REFUSED["an ODE method"], MethodError), (REFUSED["upwards"], GridError)):
        with pytest.raises(kind):
            call[0](states())
