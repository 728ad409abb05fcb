"""Adams methods: textbook weights in exact arithmetic, published samplers transcribed straight, claims."""

import math
from fractions import Fraction

import pytest
import torch

import odekit as ok
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.weights import weights

FIELD = ok.VectorField(lambda x, t: torch.cos(t) * x)
PROCESS = ok.VP()
NOISE = ok.ProbabilityFlow(PROCESS, ok.targets.ring6(), prediction="noise")


def lagrange_integral(nodes, j, a, b):
    """int_a^b l_j in Fractions, straight from the coefficients of the polynomial."""
    poly = [Fraction(1)]
    for i, node in enumerate(nodes):
        if i != j:
            width = nodes[j] - node
            shifted = [Fraction(0), *poly]
            poly = [(s - node * p) / width for s, p in zip(shifted, [*poly, Fraction(0)], strict=True)]
    return sum(c * (b ** (k + 1) - a ** (k + 1)) / (k + 1) for k, c in enumerate(poly))


UNIFORM = {  # Hairer, Norsett & Wanner 1993, III.1, (1.5) and (1.9), newest first
    ("bashforth", 2): (Fraction(3, 2), Fraction(-1, 2)),
    ("bashforth", 3): (Fraction(23, 12), Fraction(-16, 12), Fraction(5, 12)),
    ("bashforth", 4): (Fraction(55, 24), Fraction(-59, 24), Fraction(37, 24), Fraction(-9, 24)),
    ("moulton", 2): (Fraction(1, 2), Fraction(1, 2)),
    ("moulton", 3): (Fraction(5, 12), Fraction(8, 12), Fraction(-1, 12)),
    ("moulton", 4): (Fraction(9, 24), Fraction(19, 24), Fraction(-5, 24), Fraction(1, 24)),
}


@pytest.mark.parametrize(("kind", "k"), sorted(UNIFORM))
def test_weights_on_a_uniform_grid_are_the_textbook_ones(kind, k):
    offset = 1 if kind == "moulton" else 0
    nodes = tuple(Instant(float(offset - j)) for j in range(k))
    found = weights(Coordinates(FIELD, "velocity"), Instant(1.0), Instant(0.0), nodes, "t")
    assert [float(w) for w in found] == pytest.approx([float(w) for w in UNIFORM[kind, k]], abs=2e-15)


@pytest.mark.parametrize("k", range(2, 9))
def test_weights_on_any_grid_are_the_exact_integrals(k):
    exact = [Fraction(7, 8), Fraction(1, 2), Fraction(1, 3), Fraction(1, 9), Fraction(0), Fraction(-2, 7),
             Fraction(-3, 7), Fraction(-1), Fraction(-5, 4)]  # fmt: skip
    nodes = exact[1 : k + 1]
    f = Coordinates(FIELD, "velocity")
    found = weights(f, Instant(float(exact[0])), Instant(float(nodes[0])), tuple(Instant(float(n)) for n in nodes), "t")
    expected = [lagrange_integral(nodes, j, nodes[0], exact[0]) for j in range(k)]
    size = max(abs(float(w)) for w in expected)
    assert [float(w) for w in found] == pytest.approx([float(w) for w in expected], abs=1e-13 * size)


def test_lumped_weights_of_the_index_clock_are_those_of_the_uniform_grid():
    f = Coordinates(NOISE, "noise")
    to, *nodes = (Instant(t, index=float(i)) for t, i in zip((0.3, 0.5, 0.55, 0.9), (3, 2, 1, 0), strict=True))
    found = weights(f, to, nodes[0], tuple(nodes), "index", "lumped")
    whole = float(PROCESS.alpha(0.3)) * (PROCESS.kappa(0.3) - PROCESS.kappa(0.5))
    assert [float(w) / whole for w in found] == pytest.approx([23 / 12, -16 / 12, 5 / 12], abs=1e-13)


def grid(steps=7):
    generator = torch.Generator().manual_seed(1)
    gaps = torch.rand(steps, generator=generator, dtype=torch.float64) + 0.3
    return 0.6 - 0.5 * torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0) / gaps.sum()])


def start():
    return torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def dpmpp_2m(model, x, times, process, swapped=False):
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095), Algorithm 2, as printed; or with -h_last in place of -h."""
    old = None
    for i in range(len(times) - 1):
        s, t = float(times[i]), float(times[i + 1])
        h = process.logsnr(t) - process.logsnr(s)
        data = (x - process.sigma(s) * model(x, times[i])) / process.alpha(s)
        last = h if old is None else process.logsnr(s) - process.logsnr(float(times[i - 1]))
        r = last / h
        direction = data if old is None else (1 + 1 / (2 * r)) * data - 1 / (2 * r) * old
        weight = process.alpha(t) * math.expm1(-(last if swapped else h))
        x = process.sigma(t) / process.sigma(s) * x - weight * direction
        old = data
    return x


def ddim(model, x, times, process):
    """DDIM, Song, Meng & Ermon 2020 (arXiv 2010.02502), eq. 12 with eta = 0, as printed."""
    for s, t in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        noise = model(x, torch.tensor(s, dtype=torch.float64))
        data = (x - process.sigma(s) * noise) / process.alpha(s)
        x = process.alpha(t) * data + process.sigma(t) * noise
    return x


def rho_ab2(model, x, times, process):
    """rho-AB-DEIS-1: variable-step Adams-Bashforth in rho = sigma/alpha on x/alpha (arXiv 2204.13902, section 3)."""
    old, before = None, None
    z = x / process.alpha(float(times[0]))
    for s, t in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        noise = model(process.alpha(s) * z, torch.tensor(s, dtype=torch.float64))
        step = process.kappa(t) - process.kappa(s)
        if old is None:
            z = z + step * noise
        else:
            z = z + step * (1 + step / (2 * before)) * noise - step**2 / (2 * before) * old
        old, before = noise, step
    return process.alpha(float(times[-1])) * z


def edm_heun(model, x, times, process):
    """EDM, Karras et al. 2022 (arXiv 2206.00364), Algorithm 1, on x/alpha and sigma/alpha."""
    x = x / process.alpha(float(times[0]))
    for i in range(len(times) - 1):
        s, t = (process.kappa(float(v)) for v in times[i : i + 2])
        d = model(x * process.alpha(float(times[i])), times[i])
        euler = x + (t - s) * d
        x = euler if t == 0 else x + (t - s) * (d + model(euler * process.alpha(float(times[i + 1])), times[i + 1])) / 2
    return x * process.alpha(float(times[-1]))


@pytest.mark.parametrize(
    ("name", "published"),
    [("dpmpp-2m", dpmpp_2m), ("ddim", ddim), ("deis-rhoab-1", rho_ab2), ("heun-edm", edm_heun)],
)
def test_samplers_are_their_papers(name, published):
    found = ok.solve(NOISE, start(), name, grid())
    expected = published(NOISE.model, start(), grid(), PROCESS)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-12


def test_a_swapped_step_ratio_is_not_dpmpp_2m():
    """Negative control: -h_last in place of -h (k-diffusion issue 56)."""
    gap = ok.solve(NOISE, start(), "dpmpp-2m", grid()) - dpmpp_2m(NOISE.model, start(), grid(), PROCESS, swapped=True)
    assert float(gap.abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["dpmpp-2m", "heun-edm", "exponential-ab-3"])
def test_a_last_step_to_sigma_zero_is_of_order_one_and_finite(name):
    nodes = torch.cat([grid(), torch.zeros(1, dtype=torch.float64)])
    plan = ok.plan(name, NOISE, nodes)
    assert torch.isfinite(plan(NOISE.model, start())).all()
    before = ok.plan(name, NOISE, grid())(NOISE.model, start())
    t = float(nodes[-2])
    data = (before - PROCESS.sigma(t) * NOISE.model(before, nodes[-2])) / PROCESS.alpha(t)
    assert float((plan(NOISE.model, start()) - data).abs().max()) < 1e-12


@pytest.mark.parametrize(
    ("name", "options", "claim"),
    [
        ("ab-3", {}, (3, 3)),
        ("ab-3", {"start": "rising"}, (3, 2)),
        ("ab-2", {"start": "rising"}, (2, 2)),
        ("abm-4", {"start": None}, (4, 4)),
        ("deis-tab-3", {}, (4, 2)),
        ("dpmpp-2m", {}, (2, 2)),
        ("ddim", {}, (1, 1)),
    ],
)
def test_claims_are_pairs(name, options, claim):
    assert tuple(ok.methods.get(name, **options).order) == claim


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ab-3", {"strat": "rising"}, "did you mean 'start'"),
        ("ab-3", {"start": "rk44"}, "did you mean 'rk4'"),
        ("exponential-ab-2", {"clock": "logsnt"}, "did you mean 'logsnr'"),
        ("exponential-ab-2", {"prediction": "nois"}, "did you mean 'noise'"),
        ("dpmpp-2mm", {}, "did you mean 'dpmpp-2m'"),
        (7, {}, "a method is a name"),
    ],
)
def test_unknown_names_and_options_are_refused_with_their_neighbours(name, options, message):
    with pytest.raises(ok.OdekitError, match=message):
        ok.methods.get(name, **options)


def test_names_of_the_catalogue_can_all_be_made_and_say_where_they_come_from():
    for name in ok.methods.names():
        method = ok.methods.get(name)
        assert method.name == name and method.source and method.order.formula >= method.order.method >= 1
