"""Samplers for isotropic processes: each is its paper and no neighbour, has its certificate, and a row on the page."""

import math
from functools import partial
from pathlib import Path

import pndm_in_print as printed
import pytest
import torch
from isotropic_samplers import FLOWS, NAMES, PROCESSES, VP, gap, rough, start

import odekit as ok
from odekit.algebra.certificates import certificate
from odekit.exceptions import MethodError
from odekit.methods import dpm_v3, exponential_catalogue, extrapolation, files, pndm
from odekit.methods.base import Claim

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
