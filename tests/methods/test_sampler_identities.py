"""Samplers for isotropic processes: which are the same on any grid, on some grids, and what they are exact on."""

import math
from functools import partial

import pndm_in_print as printed
import pytest
import torch
from isotropic_samplers import FLOWS, NAMES, PROCESSES, VP, gap, rough, same, start

import odekit as ok
from odekit.methods import dpm_v3, pndm
from odekit.methods.corrected import Corrected


def kappas(process, steps=6):
    """A grid uniform in sigma/alpha."""
    ends_ = (float(VP.kappa(t)) for t in (0.6, 0.05))
    return process.time_at_kappa(torch.linspace(*ends_, steps + 1, dtype=torch.float64))


# Which are the same.

CLASSES = {
    "vp": [
        {"plms-1", "ipndm-1", "deis-rhork-1euler", "lms-1"},
        {"pie", "deis-rhork-2heun"},
        {"s-pndm", "plms-2"},
        {"ipndm-v", "lms-4"},
        {"edm-euler", "flow-matching-euler"},
        {"edm-heun", "flow-matching-heun"},
    ],
    "edm": [  # sigma(t) = t, s = 1: time is sigma/alpha and the velocity is the noise
        {"plms-1", "ipndm-1", "deis-rhork-1euler", "lms-1", "edm-euler", "flow-matching-euler"},
        {"pie", "deis-rhork-2heun", "edm-heun", "flow-matching-heun"},
        {"s-pndm", "plms-2"},
        {"ipndm-v", "lms-4"},
        {"prk", "deis-rhork-4rk", "flow-matching-rk4"},
        {"richardson-ddim", "flow-matching-midpoint"},  # Euler's method extrapolated is the midpoint rule
    ],
    "rectified-flow": [  # Euler along straight lines is DDIM; Heun is not Heun in sigma/alpha
        {"plms-1", "ipndm-1", "deis-rhork-1euler", "lms-1", "edm-euler", "flow-matching-euler"},
        {"pie", "deis-rhork-2heun"},
        {"s-pndm", "plms-2"},
        {"ipndm-v", "lms-4"},
        {"edm-heun", "flow-matching-heun"},
        {"richardson-ddim", "flow-matching-midpoint"},
    ],
}


@pytest.mark.parametrize("process", CLASSES)
def test_which_samplers_are_the_same_is_found(process):
    """Every pair is compared on three rough grids; these classes come out, and no others."""
    flow, classes = FLOWS[process], []
    grids = [rough(PROCESSES[process], seed) for seed in range(3)]
    for name in NAMES:
        plans = [ok.plan(name, flow, grid) for grid in grids]
        for members, known in classes:
            if all(ok.same(a, b) for a, b in zip(plans, known, strict=True)):
                members.add(name)
                break
        else:
            classes.append(({name}, plans))
    found = [members for members, _ in classes if len(members) > 1]
    assert sorted(map(sorted, found)) == sorted(sorted(c) for c in CLASSES[process] if len(c) > 1)


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        *((f"lms-{k}", f"deis-rhoab-{k - 1}", {}) for k in (1, 2, 3, 4)),
        *((f"deis-logrho-{q}", f"exponential-ab-{q + 1}", {}) for q in (1, 2, 3)),
        ("pie", "heun-edm", {}),
        ("edm-heun", "heun2", {}),
        ("flow-matching-rk4", "rk4", {}),
        ("fon", "ab-4", {"start": "rk4"}),
        ("s-fon", "ab-2", {"start": "heun2"}),
        ("s-pndm", "plms-2", {}),
        ("unip-1", "ddim", {}),
        ("sa-solver", "unipc-3", {"variant": "vary"}),
        ("deis-logrho-2", "unip-3", {"prediction": "noise", "variant": "vary"}),
    ],
    ids=str,
)
def test_equalities_with_the_rest_of_the_catalogue(a, b, options):
    assert same(a, ok.methods.get(b, **options))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("prediction", ["data", "noise"])
def test_unipc_is_the_corrector_behind_exponential_adams(order, prediction):
    predictor = ok.methods.get(f"exponential-ab-{order}", prediction=prediction)
    assert same(Corrected(predictor), ok.methods.get(f"unipc-{order}", prediction=prediction, variant="vary"))
    assert not same(Corrected(predictor), ok.methods.get(f"unip-{order}", prediction=prediction))


@pytest.mark.parametrize(
    ("l", "s", "prediction"), [(1, 0, "data"), (0, -1, "noise")], ids=["dpm-solver++", "dpm-solver"]
)
def test_degenerate_statistics_make_unipc(l, s, prediction):  # noqa: E741
    known = dpm_v3.Statistics((-8.0, 8.0), *(torch.tensor([[v], [0.0]]).double().numpy() for v in (l, s)))
    method = ok.methods.get("dpm-solver-v3", statistics=known)
    assert same(method, ok.methods.get("unipc-3", prediction=prediction, variant="vary"))


# Identities: transfer, weights, clocks.


def test_the_transfer_is_ddim_and_a_group():
    """I1, I13: eq. 11 is DDIM's update; moving on and back leaves the state."""
    eps, x = printed.Noise(FLOWS["vp"].model, VP), start()
    e = torch.randn(4, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    t, r, s = 0.7, 0.4, 0.2
    a = {v: float(VP.alpha(v)) for v in (t, s)}
    ddim = a[s] / a[t] * x + (float(VP.sigma(s)) - a[s] / a[t] * float(VP.sigma(t))) * e
    assert gap(printed.phi(eps, x, e, t, s), ddim) < 1e-13
    assert gap(printed.phi(eps, printed.phi(eps, x, e, t, r), e, r, s), ddim) < 1e-13
    assert gap(printed.phi(eps, ddim, e, s, t), x) < 1e-13


BY_NOISE = [
    name for name in NAMES if getattr(ok.methods.get(name), "prediction", "") == "noise" and name not in dpm_v3.METHODS
]


@pytest.mark.parametrize("name", BY_NOISE)
def test_weights_sum_to_the_exact_total(name):
    """I2, I11: on constant noise every method is exact, whatever the steps."""
    times = rough(VP)
    table = ok.plan(name, FLOWS["vp"], times).dense()
    ratio = VP.alpha(times[-1]) / VP.alpha(times[0])
    assert abs(float(table.output[0] - ratio)) < 1e-13
    assert abs(float(table.output[1:].sum() - (VP.sigma(times[-1]) - ratio * VP.sigma(times[0])))) < 1e-13
    point = torch.tensor([0.3, -1.2], dtype=torch.float64)
    delta = ok.ProbabilityFlow(
        VP, lambda x, t: (x - VP.alpha(float(t)) * point) / VP.sigma(float(t)), prediction="noise"
    )
    noise = (start() - VP.alpha(times[0]) * point) / VP.sigma(times[0])
    expected = VP.alpha(times[-1]) * point + VP.sigma(times[-1]) * noise
    assert gap(ok.solve(delta, start(), name, times), expected) < 1e-12


def test_pseudo_methods_are_runge_kutta_where_the_clock_is_straight():
    """I3, I4."""
    assert same("pie", "deis-rhork-2heun")
    assert same(pndm.pseudo_rk4("kappa"), "deis-rhork-4rk") and not same("prk", "deis-rhork-4rk")


def test_on_equal_steps_in_kappa_uniform_weights_are_the_right_ones():
    """I5; off such grids they are not."""
    even = [kappas(VP)]
    rhoab = partial(ok.methods.get, start="heun2")
    assert same("ipndm-4", "deis-rhoab-3", grids=even) and not same("ipndm-4", "deis-rhoab-3")
    assert same("plms-2", rhoab("deis-rhoab-1"), grids=even) and not same("plms-2", rhoab("deis-rhoab-1"))
    started = ok.methods.get("deis-rhoab-3", start="rk4")
    assert same(pndm.f_pndm(clock="kappa"), started, grids=even) and not same("f-pndm", started, grids=even)


def test_where_time_is_kappa_all_clocks_are_one():
    """I6."""
    even = [kappas(PROCESSES["edm"])]
    for q in range(4):
        assert same(f"deis-tab-{q}", f"deis-rhoab-{q}", "edm")
    assert same("prk", "rk4", "edm") and same("f-pndm", ok.methods.get("ab-4", start="rk4"), "edm", even)


@pytest.mark.parametrize("q", [0, 1, 2, 3])
def test_polynomials_in_kappa_are_exact(q):
    """I12: rhoAB-q from exact history, for noise kappa^k: exact for k <= q, not for k = q + 1."""
    times = rough(VP, steps=7)

    def state(k, t):
        return VP.alpha(t) * (1 + VP.kappa(t) ** (k + 1) / (k + 1))

    for k in (q, q + 1):
        flow = ok.ProbabilityFlow(VP, lambda x, t, k=k: 0 * x + VP.kappa(float(t)) ** k, prediction="noise")
        x = torch.ones(1, 1, dtype=torch.float64)
        history = torch.stack([state(k, t) * x for t in times[: q + 1]]) if q else None
        found = ok.solve(flow, state(k, times[0]) * x, f"deis-rhoab-{q}", times, history=history)
        assert (gap(found, state(k, times[-1]) * x) < 1e-12) == (k == q)


def test_rotations_pass_through():
    """I13: a sampler of a rotated model is the rotated sampler."""
    c, s = math.cos(0.7), math.sin(0.7)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    base = FLOWS["vp"].model
    turned = ok.ProbabilityFlow(VP, lambda x, t: base(x @ turn, t) @ turn.T, prediction="noise")
    for name in ("f-pndm", "sa-solver", "dpm2", "richardson-heun-edm"):
        expected = ok.solve(FLOWS["vp"], start(), name, rough(VP)) @ turn.T
        assert gap(ok.solve(turned, start() @ turn.T, name, rough(VP)), expected) < 1e-12


@pytest.mark.parametrize("name", ["ddim", "plms-1", "lms-1", "deis-rhork-1euler", "unip-1"])
def test_euler_on_a_gaussian_is_a_product_of_cosines(name):
    """I14 and section 8.1 of the schedules: the error of DDIM on N(0, c^2), on any grid."""
    c, times = 0.7, rough(VP)
    flow = ok.ProbabilityFlow(VP, ok.Gaussian([0.0], [[c**2]]), prediction="noise")
    theta = torch.atan(VP.kappa(times) / c)
    x = torch.tensor([[1.0]], dtype=torch.float64)
    expected = VP.alpha(times[-1]) / VP.alpha(times[0]) * theta[0].cos() / theta[-1].cos()
    expected = expected * (theta[:-1] - theta[1:]).cos().prod()
    assert gap(ok.solve(flow, x, name, times), expected * x) < 1e-13
