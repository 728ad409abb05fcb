"""Methods of ours as k-diffusion functions, beside that project's formulas written out by hand."""

import pytest
import torch

import odekit as ok
from odekit.interop.kdiffusion import as_k_sampler

EDM = ok.EDM()
TARGET = ok.targets.ring6()
FLOW = ok.ProbabilityFlow(EDM, TARGET, prediction="data")
SIGMAS = torch.cat([ok.grid("karras", EDM, 7, t_start=20.0, t_end=0.05), torch.zeros(1).double()])


def denoiser(x, sigma, **extra):
    assert sigma.shape == (len(x),) and bool((sigma == sigma[0]).all())
    return TARGET.denoiser(x, 1.0, float(sigma[0]))


def start(dtype=torch.float64):
    return (20 * torch.randn(6, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)).to(dtype)


# What k-diffusion's functions do (crowsonkb/k-diffusion, sampling.py), from their formulas.


def euler(model, x, sigmas):
    for s, t in zip(sigmas, sigmas[1:], strict=False):
        x = x + (x - model(x, s.expand(len(x)))) / s * (t - s)
    return x


def heun(model, x, sigmas):
    for s, t in zip(sigmas, sigmas[1:], strict=False):
        slope = (x - model(x, s.expand(len(x)))) / s
        ahead = x + slope * (t - s)
        x = ahead if t == 0 else x + (slope + (ahead - model(ahead, t.expand(len(x)))) / t) / 2 * (t - s)
    return x


def dpmpp_2m(model, x, sigmas):
    before = None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        denoised = model(x, s.expand(len(x)))
        mixed, h = denoised, (s / t).log()
        if before is not None and t > 0:
            r = (sigmas[i - 1] / s).log() / h
            mixed = (1 + 1 / (2 * r)) * denoised - before / (2 * r)
        x = t / s * x - torch.expm1(-h) * mixed
        before = denoised
    return x


def lms(model, x, sigmas, order=4):
    slopes = []
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        slopes = [(x - model(x, s.expand(len(x)))) / s, *slopes][:order]
        nodes = [float(sigmas[i - j]) for j in range(len(slopes))]
        powers = torch.tensor([[n**p for n in nodes] for p in range(len(nodes))], dtype=torch.float64)
        integrals = torch.stack([(t ** (p + 1) - s ** (p + 1)) / (p + 1) for p in range(len(nodes))])
        masses = torch.linalg.solve(powers, integrals)
        x = x + sum(m * d for m, d in zip(masses, slopes, strict=True))
    return x


@pytest.mark.parametrize(
    ("theirs", "method"), [(euler, "ddim"), (heun, "heun-edm"), (dpmpp_2m, "dpmpp-2m"), (lms, "deis-rhoab-3")]
)
def test_the_functions_everybody_knows(theirs, method):
    expected = theirs(denoiser, start(), SIGMAS)
    found = as_k_sampler(method)(denoiser, start(), SIGMAS)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    other = as_k_sampler("ho2")(denoiser, start(), SIGMAS)
    assert float((other - expected).abs().max()) > 1e-4


@pytest.mark.parametrize("end", [0.0, 0.05])
@pytest.mark.parametrize(
    "method",
    ["ddim", "dpmpp-2m", "unipc-3", "deis-tab-2", "ab-4", "abm-3", "rk4", "dp5", "ho3", "res-2s", "dpm-solver-3"],
)
def test_what_solve_makes(method, end):
    sigmas = SIGMAS if end == 0 else SIGMAS[:-1]
    found = as_k_sampler(method)(denoiser, start(), sigmas)
    if end == 0 and method in ("abm-3", "rk4", "dp5"):  # these would ask at sigma = 0
        expected = ok.solve(FLOW, ok.solve(FLOW, start(), method, sigmas[:-1]), "dpmpp-1", sigmas[-2:])
    else:
        expected = ok.solve(FLOW, start(), method, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("end", [True, False])
def test_in_the_clock_of_another_process(end):
    """DEIS in the time of VP is not DEIS in sigma; x is x / alpha of that process."""
    vp = ok.VP()
    grid = ok.grid("logsnr", vp, 8, final="zero") if end else ok.grid("logsnr", vp, 8)
    sigmas = vp.kappa(grid)
    first, last = (float(vp.alpha(t)) for t in (grid[0], grid[-1]))
    x = start() / 20 * sigmas[0]
    expected = ok.solve(ok.ProbabilityFlow(vp, TARGET, prediction="data"), x * first, "deis-tab-2", grid) / last
    found = as_k_sampler("deis-tab-2", vp)(denoiser, x, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert float((as_k_sampler("deis-tab-2")(denoiser, x, sigmas) - expected).abs().max()) > 1e-5


@pytest.mark.parametrize("method", ["dpmpp-2m", "heun2", "rk4", "dp5", "unipc-2"])
def test_callbacks_see_the_state_at_each_node(method):
    seen = []
    as_k_sampler(method)(denoiser, start(), SIGMAS, callback=lambda d: seen.append(d), disable=True)
    assert [d["i"] for d in seen] == list(range(len(SIGMAS) - 1))
    for d in seen:
        assert d["sigma"] == SIGMAS[d["i"]] == d["sigma_hat"]
        torch.testing.assert_close(d["denoised"], denoiser(d["x"], d["sigma"].expand(6)))
    path = ok.solve(FLOW, start(), method, SIGMAS[:-1], full=True).trajectory
    for d in seen[:-1] if method != "unipc-2" else seen[:1]:  # UniPC asks at the prediction and corrects it later
        torch.testing.assert_close(d["x"], path[d["i"]], rtol=1e-9, atol=1e-9)


def test_arguments_dtypes_and_gradients():
    asked = []

    def model(x, sigma, scale, bias=0.0):
        asked.append((x.dtype, sigma.dtype, x.requires_grad))
        return scale * x / (1 + sigma[:, None] ** 2).to(x.dtype) + bias

    for dtype in (torch.float32, torch.bfloat16):
        x = start(dtype).requires_grad_()
        found = as_k_sampler("dpmpp-2m")(model, x, SIGMAS.float(), extra_args={"scale": 0.5, "bias": 0.1})
        assert found.dtype == dtype and not found.requires_grad
        assert asked[-1] == (dtype, dtype, False)
    exact = as_k_sampler("dpmpp-2m")(model, start(), SIGMAS.float().tolist(), {"scale": 0.5, "bias": 0.1})
    assert float((found.double() - exact).abs().max()) < 2 * 2.0**-8 * float(exact.abs().max())


def test_traced_it_is_its_own_plan():
    for method in ("dpmpp-2m", "deis-rhoab-2", "heun-edm"):
        sampler = as_k_sampler(method)
        traced = ok.trace(
            lambda model, x, s=sampler: s(lambda y, sigma: model(y, sigma[0]), x, SIGMAS),
            process=EDM,
            prediction="data",
        )
        assert ok.same(traced, ok.plan(method, FLOW, SIGMAS))
        assert not ok.same(traced, ok.plan("exponential-ab-3", FLOW, SIGMAS))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: as_k_sampler("bdf-2"), "bdf-2 is no sampler function: it runs eagerly"),
        (lambda: as_k_sampler("dpmpp-2n"), "unknown method 'dpmpp-2n'; did you mean .*'dpmpp-2m'"),
        (
            lambda: as_k_sampler("ddim")(denoiser, start(), SIGMAS.flip(0)),
            "at least two .* decrease strictly",
        ),
        (lambda: as_k_sampler("ddim")(denoiser, start(), [2.0, 1.0, 1.0]), "decrease strictly .* got .2.0, 1.0, 1.0."),
        (lambda: as_k_sampler("ddim")(denoiser, start(), [2.0, -1.0]), "strictly to 0 or above"),
        (lambda: as_k_sampler("ddim")(denoiser, start(), [2.0]), "at least two numbers"),
        (
            lambda: as_k_sampler("rk4")(lambda x, sigma: x[:2], start(), [2.0, 1.0]),
            r"evaluation 0 \(sigma = 2\): the model returned \(2, 2\); expected \(6, 2\)",
        ),
    ],
    ids=["implicit", "unknown", "upwards", "repeated", "negative", "single", "shape"],
)
def test_refusals(call, words):
    with pytest.raises(ok.OdekitError, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_a_sampler_that_moves_data_to_a_device_that_is_not_there():
    def elsewhere(model, x):
        return model(x.to("cuda:99"), 0.5)

    with pytest.raises(ok.OdekitError, match="the sampler failed .*") as refusal:
        ok.trace(elsewhere)
    assert "\n" not in str(refusal.value)
