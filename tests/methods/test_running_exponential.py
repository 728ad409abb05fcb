"""Exponential samplers are their papers: every name against a straight transcription, on two processes and grids."""

import math
from functools import partial

import papers
import pytest
import torch

import odekit as ok
from odekit.algebra import exponential_methods
from odekit.methods.exponential_catalogue import ANY, METHODS

PROCESSES = {"vp": ok.VP(), "cosine": ok.processes.Cosine()}
FLOWS = {name: ok.ProbabilityFlow(p, ok.targets.ring6(), prediction="noise") for name, p in PROCESSES.items()}


def rough(process, steps=6):
    """A grid whose steps in log-SNR differ by factors of up to four."""
    gaps = torch.rand(steps, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3
    first, last = (float(process.logsnr(t)) for t in (0.8, 0.05))
    nodes = first + (last - first) * torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0) / gaps.sum()])
    return process.time_at_logsnr(nodes)


def equal(process, steps=6):
    return ok.grid("logsnr", process, steps, t_start=0.8, t_end=0.05)


GRIDS = {"equal": equal, "rough": rough}


def start():
    return torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def gap(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def of_the_data(name):
    return papers.exponential(exponential_methods.get(name).substitute(**ANY[name]), "data")


PAPERS = {
    "dpm-solver-1": papers.singlestep(lambda f, x, s, t, h: f.a(t) / f.a(s) * x - f.s(t) * math.expm1(h) * f.eps(x, s)),
    "dpmpp-1": papers.singlestep(lambda f, x, s, t, h: f.s(t) / f.s(s) * x - f.a(t) * math.expm1(-h) * f.data(x, s)),
    "dpm-solver-2": papers.dpm_solver_2,
    "dpm-solver-2-taylor": partial(papers.dpm_solver_2, taylor=True),
    "dpm-solver-3": papers.dpm_solver_3,
    "dpm-solver-3-taylor": partial(papers.dpm_solver_3, taylor=True),
    "dpmpp-2s": papers.dpmpp_2s,
    "dpmpp-3s": papers.dpmpp_3s,
    "dpmpp-3s-taylor": partial(papers.dpmpp_3s, taylor=True),
    "res-2s": partial(papers.dpmpp_2s, taylor=True),
    "res-3s": papers.res_3s,
    "etdrk4": papers.etdrk4,
    "lawson4": papers.lawson4,
    **{name: of_the_data(name) for name in ANY if name not in ("etdrk4", "lawson4")},
    "dpmpp-3m": papers.dpmpp_multistep,
    "res-2m": partial(papers.dpmpp_multistep, order=2, heun=True),
    **{f"unipc-{p}": partial(papers.unipc, order=p) for p in range(1, 7)},
    **{f"unip-{p}": partial(papers.unipc, order=p, corrector=False) for p in range(1, 7)},
}
ELSEWHERE = {"dpm-solver-fast", "dpmpp-3m-corrected"}  # other starts or orders of the ones above: tested below


def test_every_name_has_its_paper():
    assert {*PAPERS, *ELSEWHERE} == set(METHODS)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", PAPERS)
def test_samplers_are_their_papers(name, process, grid):
    flow, times = FLOWS[process], GRIDS[grid](PROCESSES[process])
    expected = PAPERS[name](flow.model, start(), times, PROCESSES[process])
    assert gap(ok.solve(flow, start(), name, times), expected) < 1e-12


OPTIONS = [
    ("dpm-solver-2", {"r1": "0.3"}, partial(papers.dpm_solver_2, r1=0.3)),
    ("dpm-solver-3", {"r1": "1/4", "r2": "3/5"}, partial(papers.dpm_solver_3, r1=0.25, r2=0.6)),
    ("dpm-solver-3-taylor", {"r1": 0.25, "r2": 0.6}, partial(papers.dpm_solver_3, r1=0.25, r2=0.6, taylor=True)),
    ("dpmpp-2s", {"r1": "1"}, partial(papers.dpmpp_2s, r1=1.0)),
    ("res-3s", {"c2": "1/3", "c3": "3/4"}, partial(papers.res_3s, c2=1 / 3, c3=0.75)),
    ("dpmpp-3m-corrected", {"start": "rising"}, partial(papers.dpmpp_multistep, factor=2, heun=True)),
    ("dpmpp-2m", {"rule": "interpolating"}, partial(papers.dpmpp_multistep, order=2, heun=True)),
    ("unipc-1", {"variant": "bh1"}, partial(papers.unipc, order=1, variant="bh1")),
    ("unipc-2", {"variant": "bh1"}, partial(papers.unipc, order=2, variant="bh1")),
    ("unipc-2", {"variant": "vary"}, partial(papers.unipc, order=2, variant="vary")),
    ("unipc-3", {"prediction": "noise"}, partial(papers.unipc, noise=True)),
    ("unipc-2", {"prediction": "noise", "variant": "bh1"}, partial(papers.unipc, order=2, noise=True, variant="bh1")),
    *((name, {"prediction": "noise"}, None) for name in sorted(ANY)),
]


@pytest.mark.parametrize(
    ("name", "options", "paper"), OPTIONS, ids=[f"{n}-{'-'.join(map(str, o.values()))}" for n, o, _ in OPTIONS]
)
def test_options_are_the_papers_own(name, options, paper):
    paper = paper or papers.exponential(exponential_methods.get(name).substitute(**ANY[name]), "noise")
    flow, process = FLOWS["vp"], PROCESSES["vp"]
    times = rough(process)
    assert gap(ok.solve(flow, start(), name, times, **options), paper(flow.model, start(), times, process)) < 1e-12


def test_the_corrected_third_order_starts_with_two_steps_of_2s():
    """Straight: two steps of DPM-Solver++(2S), whose first evaluations are the history of the third."""
    flow, process, times = FLOWS["vp"], PROCESSES["vp"], rough(PROCESSES["vp"])
    f, x, old = papers.Flow(flow.model, process), start(), []
    for i, (s, t) in enumerate(zip(times[:-1].tolist(), times[1:].tolist(), strict=True)):
        d = f.data(x, s)
        if i < 2:
            x = papers.dpmpp_2s(flow.model, x, times[i : i + 2], process)
        else:
            # the polynomial through three points, integrated by phi functions: int e^((1-u)z) u^k du = k! phi_(k+1)
            h = f.lam(t) - f.lam(s)
            nodes = torch.tensor([(f.lam(times[i - j].item()) - f.lam(s)) / h for j in range(3)], dtype=torch.float64)
            moments = torch.tensor([math.factorial(k) * papers.phi(k + 1, -h) for k in range(3)], dtype=torch.float64)
            w = torch.linalg.solve(torch.stack([nodes**k for k in range(3)]), moments)
            x = f.s(t) / f.s(s) * x + f.a(t) * h * (w[0] * d + w[1] * old[0] + w[2] * old[1])
        old = [d, *old][:2]
    assert gap(ok.solve(flow, start(), "dpmpp-3m-corrected", times), x) < 1e-12


@pytest.mark.parametrize("last", ["full", "2", "1", "2-1"])
def test_dpm_solver_fast_lowers_the_order_at_the_end(last):
    flow, process, times = FLOWS["vp"], PROCESSES["vp"], rough(PROCESSES["vp"])
    ending = [] if last == "full" else [int(q) for q in last.split("-")]
    steps = {1: PAPERS["dpm-solver-1"], 2: papers.dpm_solver_2, 3: papers.dpm_solver_3}
    x = start()
    for i, q in enumerate([3] * (len(times) - 1 - len(ending)) + ending):
        x = steps[q](flow.model, x, times[i : i + 2], process)
    assert gap(ok.solve(flow, start(), "dpm-solver-fast", times, last=last), x) < 1e-12


@pytest.mark.parametrize("name", ["dpm-solver-3", "dpmpp-3m", "unipc-3"])
def test_a_swapped_sampler_is_told_apart(name):
    """Negative control: the paper's own formula with one wrong sign or step ratio is far from the method."""
    flow, process, times = FLOWS["vp"], PROCESSES["vp"], rough(PROCESSES["vp"])
    wrong = {
        "dpm-solver-3": partial(papers.dpm_solver_3, r2=0.66),
        "dpmpp-3m": partial(papers.dpmpp_multistep, factor=-1),
        "unipc-3": partial(papers.unipc, variant="bh1"),
    }[name]
    assert gap(ok.solve(flow, start(), name, times), wrong(flow.model, start(), times, process)) > 1e-5
