"""Samplers for isotropic processes: each is its paper, which are the same, what they are exact on, what caps them."""

import math
from functools import partial
from pathlib import Path

import pndm_in_print as printed
import pytest
import torch

import analysis
import odekit as ok
from odekit.algebra.certificates import certificate
from odekit.exceptions import MethodError
from odekit.methods import corrected, dpm_v3, edm, ends, exponential_catalogue, extrapolation, files, pndm
from odekit.methods.base import Claim
from odekit.methods.corrected import Corrected
from odekit.methods.extrapolation import richardson

NAMES = [*pndm.METHODS, *edm.METHODS, *corrected.METHODS, *extrapolation.METHODS, *dpm_v3.METHODS]
PROCESSES = {"vp": ok.VP(), "cosine": ok.Cosine(), "rectified-flow": ok.RectifiedFlow(), "edm": ok.EDM()}
FLOWS = {name: ok.ProbabilityFlow(p, ok.targets.ring6(), prediction="noise") for name, p in PROCESSES.items()}
VP = PROCESSES["vp"]


def rough(process, seed=1, steps=6):
    """A grid whose steps in log-SNR differ by factors of up to four, over the range of VP from 0.8 to 0.05."""
    gaps = torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.3
    first, last = float(VP.logsnr(0.8)), float(VP.logsnr(0.05))
    nodes = first + (last - first) * torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0) / gaps.sum()])
    return process.time_at_logsnr(nodes)


def kappas(process, steps=6):
    """A grid uniform in sigma/alpha."""
    ends_ = (float(VP.kappa(t)) for t in (0.6, 0.05))
    return process.time_at_kappa(torch.linspace(*ends_, steps + 1, dtype=torch.float64))


def start(process=VP, seed=2):
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x * math.hypot(float(process.alpha(rough(process)[0])), float(process.sigma(rough(process)[0])))


def gap(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def same(a, b, process="vp", grids=None, **options):
    """Whether two methods are the same program on the grids, three rough ones unless told otherwise."""
    flow = FLOWS[process]
    a, b = (ok.methods.get(m) if isinstance(m, str) else m for m in (a, b))
    grids = grids or [rough(PROCESSES[process], seed) for seed in range(3)]
    return all(ok.same(ok.plan(a, flow, grid), ok.plan(b, flow, grid)) for grid in grids)


# Each is its paper.

PIE, PRK = printed.improved_euler, printed.pseudo_rk4
EULER, HEUN = partial(printed.edm, alpha=None), partial(printed.edm, alpha=1.0)
PAPERS = {
    "pie": printed.one_step(PIE),
    "prk": printed.one_step(PRK),
    "s-pndm": printed.pndm(2, PIE, 1),
    "f-pndm": printed.pndm(4, PRK, 3),
    "plms-1": printed.pndm(1),
    **{f"plms-{k}": printed.pndm(k, PIE, 1) for k in (2, 3, 4)},
    **{f"ipndm-{k}": printed.pndm(k) for k in (1, 2, 3, 4)},
    "ipndm-v": printed.lms(4),
    **{f"lms-{k}": printed.lms(k) for k in (1, 2, 3, 4)},
    **{f"deis-logrho-{q}": printed.log_rho(q + 1) for q in (1, 2, 3)},
    **{f"deis-rhork-{name}": printed.rho_rk(name) for name in printed.DEIS_RK},
    "dpm2": printed.dpm2,
    "edm-euler": EULER,
    "edm-heun": HEUN,
    "flow-matching-euler": EULER,
    "flow-matching-midpoint": partial(printed.edm, alpha=0.5),
    "flow-matching-heun": HEUN,
    "sa-solver": printed.sa_solver(3, 4),
    "dpmpp-2m-unic": printed.sa_solver(2, 3, printed.dpmpp_2m_predictor),
}
ON_TIME = {"fon": printed.fon(4, 3), "s-fon": printed.fon(2, 1)}  # stated for equal steps in time
ELSEWHERE = {"flow-matching-rk4", "deis-tab-2-unic", "dpm-solver-v3", *extrapolation.METHODS}  # tested below


def test_every_sampler_has_its_paper():
    assert {*PAPERS, *ON_TIME, *ELSEWHERE} == set(NAMES)


@pytest.mark.parametrize("process", ["vp", "rectified-flow"])
@pytest.mark.parametrize("name", PAPERS)
def test_samplers_are_their_papers(name, process):
    flow, times, x = FLOWS[process], rough(PROCESSES[process]), start(PROCESSES[process])
    expected = PAPERS[name](flow.model, x, times, PROCESSES[process])
    assert gap(ok.solve(flow, x, name, times), expected) < 1e-12


@pytest.mark.parametrize("name", ON_TIME)
def test_classical_counterparts_are_their_paper_on_equal_steps_in_time(name):
    times = torch.linspace(0.6, 0.2, 7, dtype=torch.float64)
    expected = ON_TIME[name](FLOWS["vp"].model, start(), times, VP)
    assert gap(ok.solve(FLOWS["vp"], start(), name, times), expected) < 1e-12


@pytest.mark.parametrize(
    ("name", "options", "paper"),
    [
        ("edm-heun", {"alpha": "2/3"}, partial(printed.edm, alpha=2 / 3)),
        ("sa-solver", {"predictor": 2, "corrector": 2}, printed.sa_solver(2, 2)),
        ("sa-solver", {"predictor": 3, "corrector": 0}, printed.sa_solver(3, 0)),
        ("sa-solver", {"predictor": 1, "corrector": 3}, printed.sa_solver(1, 3)),
    ],
    ids=["alpha", "pc22", "p3", "pc13"],
)
def test_options_are_the_papers_own(name, options, paper):
    times = rough(VP)
    expected = paper(FLOWS["vp"].model, start(), times, VP)
    assert gap(ok.solve(FLOWS["vp"], start(), name, times, **options), expected) < 1e-12


@pytest.mark.parametrize(("order", "points"), [(3, 4), (3, 3), (2, 0), (1, 2)])
@pytest.mark.parametrize("isotropic", [True, False], ids=["isotropic", "by-coordinate"])
def test_dpm_solver_v3_is_its_paper(order, points, isotropic):
    known = dpm_v3.statistics(ok.targets.get("aniso3"), isotropic, samples=64, degree=12)
    method = ok.methods.get("dpm-solver-v3", order=order, corrector=points, statistics=known)
    assert method.is_plannable == isotropic
    times = rough(VP, steps=4)
    flow = ok.ProbabilityFlow(VP, ok.targets.get("aniso3"), prediction="noise")
    expected = printed.dpm_v3(known, order, points)(flow.model, start(), times, VP)
    assert gap(ok.solve(flow, start(), method, times), expected) < 1e-11


def test_statistics_of_a_gaussian_are_known():
    """noise = sigma x / (alpha^2 c^2 + sigma^2): l is exact, f vanishes, and one step of any length is exact."""
    c, mean = 0.7, 0.0
    target = ok.Gaussian([mean], [[c**2]])
    flow = ok.ProbabilityFlow(VP, target, prediction="noise")
    x = torch.tensor([[1.3], [-0.4]], dtype=torch.float64)
    times = torch.tensor([0.7, 0.1], dtype=torch.float64)
    spread = [math.hypot(float(VP.alpha(t)) * c, float(VP.sigma(t))) for t in times.tolist()]
    one = dpm_v3.statistics(target, span=(-3.0, 4.0), degree=60)
    found = ok.solve(flow, x, ok.methods.get("dpm-solver-v3", statistics=one), times)
    assert gap(found, x * spread[1] / spread[0]) < 1e-9  # what the Chebyshev series of l leaves
    assert gap(ok.solve(flow, x, "unipc-3", times), x * spread[1] / spread[0]) > 0.05


def test_dpm_solver_v3_without_a_target_or_beyond_its_statistics_is_refused():
    grid = ok.grid("logsnr", VP, 4)
    model = ok.ProbabilityFlow(VP, lambda x, t: x, prediction="noise")
    with pytest.raises(MethodError, match="give statistics="):
        ok.solve(model, start(), "dpm-solver-v3", grid)
    narrow = dpm_v3.statistics(ok.targets.ring6(), span=(-1.0, 1.0), samples=64, degree=8)
    with pytest.raises(MethodError, match="the statistics cover -1 to 1"):
        ok.solve(model, start(), ok.methods.get("dpm-solver-v3", statistics=narrow), grid)


# Wrong ones are told apart.


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("f-pndm", printed.pndm(4, PRK, 2)),  # one step too few of the start
        ("s-pndm", printed.pndm(2)),  # iPNDM's start
        ("plms-3", printed.pndm(3)),
        ("prk", printed.rho_rk("4rk")),  # the middle in sigma/alpha instead of time
        ("dpm2", printed.rho_rk("2heun")),
        ("ipndm-4", printed.lms(4)),  # the weights of the steps it takes
        ("deis-logrho-2", printed.lms(3)),
        ("sa-solver", printed.sa_solver(3, 3)),
        ("edm-heun", printed.rho_rk("2heun")),
    ],
)
def test_a_neighbour_is_not_the_sampler(name, wrong):
    found = ok.solve(FLOWS["vp"], start(), name, rough(VP))
    assert gap(found, wrong(FLOWS["vp"].model, start(), rough(VP), VP)) > 1e-5


def test_ipndm_v_of_diff_sampler_is_no_adams_method():
    """Its weights of order four on equal steps, (57, -65, 43, -11)/24, miss the third moment."""

    def moments(weights):  # sum_j w_j (-j)^m, which should be 24/(m + 1)
        return [sum(w * (-j) ** m for j, w in enumerate(weights)) for m in range(4)]

    assert moments((55, -59, 37, -9)) == [24, 12, 8, 6]
    assert moments((57, -65, 43, -11)) == [24, 12, 8, 18]


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


# Identities of spec: transfer, weights, clocks.


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


# Golden values of the specification: maximal errors on a mixture in one dimension, uniform t.

GOLDEN = {  # N = 40 and 1280
    "ddim": (3.05e-2, 9.72e-4),
    "s-pndm": (9.34e-3, 1.13e-5),
    "f-pndm": (6.53e-4, 4.02e-7),
    "prk": (4.23e-4, 4.02e-7),
    "pie": (4.16e-3, 4.31e-6),
    "rk4": (6.1e-6, 8.9e-12),
}


@pytest.fixture(scope="module")
def golden():
    target = ok.GaussianMixture([[-1.0], [0.8]], [0.3, 0.2], [0.3, 0.7])
    flow = ok.ProbabilityFlow(VP, target, prediction="noise")
    x = torch.tensor([[-1.3], [-0.4], [0.2], [1.1]], dtype=torch.float64)
    return flow, x, ok.reference(flow, x, 0.02, t_start=1.0).x


@pytest.mark.parametrize("name", GOLDEN)
def test_errors_are_those_measured_elsewhere(golden, name):
    flow, x, expected = golden
    for n, value in zip((40, 1280), GOLDEN[name], strict=True):
        grid = torch.linspace(1.0, 0.02, n + 1, dtype=torch.float64)
        error = float((ok.solve(flow, x, name, grid) - expected).abs().max())
        assert abs(error / value - 1) < 0.02 or error < 2e-11


# Starts and ends.


@pytest.mark.parametrize("name", ["rk4", "sa-solver", "unipc-3", "fon"])
def test_a_last_step_of_order_one_caps_at_two(name):
    method = ok.methods.get(name, last="lower")
    assert method.order.method == 2 < method.order.formula
    assert analysis.convergence(method).verdict == "pass"
    assert analysis.convergence(method, claim=3).verdict == "fail"
    rows = dict(certificate(method).rows())
    assert "order is two at most" in rows["last step"]


@pytest.mark.parametrize(("process", "cap"), [("vp", 1), ("rectified-flow", 2)])
def test_a_step_to_sigma_zero_caps_at_what_the_grid_makes_of_it(process, cap):
    """On equal steps in time sigma/alpha of the node before falls like N^(-1/2) on VP, like 1/N on rectified flow."""
    own, flow = PROCESSES[process], FLOWS[process]
    assert ends.cap_at_zero(own) == cap

    def solved(method, steps, power):
        grid = 0.4 * torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** power
        return ok.solve(flow, start(), method, grid)

    exact = solved("deis-rhork-4rk", 1500, 2)  # in sigma/alpha the flow is smooth to the end
    errors = [float((solved("dpmpp-3s", n, 1) - exact).norm()) for n in (256, 512, 1024)]
    slopes = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert all(abs(slope - cap) < 0.1 for slope in slopes)


@pytest.mark.parametrize(("start_", "order"), [("rising", 2), ("rk4", 4)])
def test_a_first_step_of_order_one_caps_at_two(start_, order):
    method = ok.methods.get("deis-rhoab-3", start=start_)
    assert method.order == (4, order) and analysis.convergence(method).verdict == "pass"
    assert f"order {order} with it" in dict(certificate(method).rows())["start"]


@pytest.mark.parametrize("name", ["unipc-3", "dpmpp-2m", "dpmpp-2s", "sa-solver", "heun-edm"])
def test_denoising_is_a_step_of_order_one_to_sigma_zero(name):
    nodes = rough(VP)
    to_zero = torch.cat([nodes, torch.zeros(1, dtype=torch.float64)])
    flow = FLOWS["vp"]
    assert ok.same(ok.plan(ok.methods.get(name, last="denoise"), flow, nodes), ok.plan(name, flow, to_zero))


def test_rules_that_do_not_exist_are_refused_with_their_neighbours():
    for name in ("rk4", "unipc-3"):
        with pytest.raises(ok.OdekitError, match="did you mean 'lower'"):
            ok.methods.get(name, last="lowr")
    with pytest.raises(MethodError, match="cannot end"):
        ok.methods.get("strang", last="lower")
    with pytest.raises(MethodError, match="nothing is free to correct"):
        Corrected(ok.methods.get("unipc-2"))
    with pytest.raises(MethodError, match="nothing is free to correct"):
        Corrected(ok.methods.get("bs3"))


# Extrapolation.


@pytest.mark.parametrize("name", ["ddim", "rk4", "dpm-solver-3", "dpmpp-2m", "deis-tab-2", "plms-4", "unipc-3"])
def test_extrapolation_gains_an_order(name):
    method = richardson(name)
    assert method.order.method == ok.methods.get(name).order.method + 1
    assert analysis.convergence(method).verdict == "pass"
    assert analysis.convergence(method, claim=method.order.method + 1).verdict == "fail"


@pytest.mark.parametrize("name", ["ddim", "heun-edm", "rk4"])
def test_extrapolation_is_written_out(name):
    """Two runs combined by hand: every step of a one-step method."""
    flow, times, x = FLOWS["vp"], rough(VP), start()
    p = ok.methods.get(name).order.method
    for s, t in zip(times[:-1], times[1:], strict=True):
        long = ok.solve(flow, x, name, torch.stack([s, t]))
        short = ok.solve(flow, x, name, torch.stack([s, (s + t) / 2, t]))
        x = (2**p * short - long) / (2**p - 1)
    assert gap(ok.solve(flow, start(), richardson(name), times), x) < 1e-12


@pytest.mark.parametrize("name", ["dpmpp-2m", "ab-3", "unipc-2"])
def test_extrapolation_of_a_method_with_history_is_two_whole_runs(name):
    flow, times, p = FLOWS["vp"], rough(VP), ok.methods.get(name).order.method
    halved = torch.stack([times[:-1], (times[:-1] + times[1:]) / 2], dim=1).flatten()
    fine = ok.solve(flow, start(), name, torch.cat([halved, times[-1:]]))
    expected = (2**p * fine - ok.solve(flow, start(), name, times)) / (2**p - 1)
    assert gap(ok.solve(flow, start(), richardson(name), times), expected) < 1e-12


def test_removing_the_wrong_order_gains_nothing():
    assert richardson("rk4", order=3).order == (4, 4)
    assert analysis.convergence(richardson("rk4", order=3)).verdict == "pass"
    with pytest.raises(MethodError, match="no extrapolation removes"):
        richardson("unipc-3", last="lower")


# Certificates.


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_has_a_certificate_that_holds(name):
    method = ok.methods.get(name)
    found = certificate(method)
    assert found.order == method.order.formula and not found.findings() and found.to_dict()


@pytest.mark.parametrize(("tableau", "clock", "order"), [("rk4", "kappa", 4), ("rk4", "t", 2), ("kutta3", "logsnr", 2)])
def test_certificates_tell_pseudo_methods_from_runge_kutta(tableau, clock, order):
    method = pndm.PseudoRungeKutta(files.get(tableau), clock)
    method.order = Claim(files.get(tableau).order, files.get(tableau).order)  # what its classical weights suggest
    found = certificate(method)
    assert found.order == order and bool(found.findings()) == (order == 2)


# The page.

PAGE = Path(__file__).parents[2] / "docs" / "samplers.md"
ALSO = ("ddim", "dpmpp-2m", "heun-edm", *(f"exponential-ab-{k}" for k in range(1, 7)))
DEIS = [f"deis-{kind}-{q}" for kind in ("tab", "rhoab") for q in range(4)]


def test_the_page_tells_of_every_sampler_what_it_is():
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in PAGE.open() if line.startswith("| `")]
    told = {row[0].strip("`"): tuple(row[1:2] + row[3:6]) for row in rows}
    expected = {}
    for name in {*NAMES, *exponential_catalogue.METHODS, *ALSO, *DEIS}:
        method = ok.methods.get(name)
        expected[name] = (method.source, *map(str, method.order), str(method.evaluations))
    assert len(told) == len(rows) and told == expected
    assert all(len(row) == 7 and row[2] for row in rows)
