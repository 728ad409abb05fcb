"""How precise a sampler's numbers are is found out, not assumed: float64 states do not make float64 coefficients."""

import numpy as np
import pytest
import torch
from textbook import PROCESS, ab2, ddim, dpmpp_2m, euler, heun_edm, random_grid, rk4

import odekit as ok

GRID = random_grid(0)
ALPHA, SIGMA = PROCESS.alpha(GRID), PROCESS.sigma(GRID)


def table_ddim(alphas, sigmas):
    """DDIM from tables, in whatever kind of number they are."""

    def sampler(model, x):
        for i, t in enumerate(GRID[:-1]):
            noise = model(x, t)
            x = alphas[i + 1] / alphas[i] * (x - sigmas[i] * noise) + sigmas[i + 1] * noise
        return x

    return sampler


def read_inside(number):
    """The same with tables of float32 tensors, read in the loop."""
    alphas, sigmas = ALPHA.float(), SIGMA.float()

    def sampler(model, x):
        for i, t in enumerate(GRID[:-1]):
            noise = model(x, t)
            ratio = number(alphas[i + 1]) / number(alphas[i])
            x = ratio * x + (number(sigmas[i + 1]) - ratio * number(sigmas[i])) * noise
        return x

    return sampler


def in_single(model, x):
    """diffusers' habit: the step in float32, the state handed on in its own dtype."""
    for t, s in zip(GRID[:-1], GRID[1:], strict=True):
        x = (x.float() + float(s - t) * model(x, t).float()).to(x.dtype)
    return x


def numpy_single(model, x):
    alphas, sigmas = ALPHA.numpy().astype(np.float32), SIGMA.numpy().astype(np.float32)
    return table_ddim(alphas, sigmas)(model, x)


COARSE = {
    "tables of float32 tensors": table_ddim(ALPHA.float(), SIGMA.float()),
    "float32 numbers as python floats": table_ddim(ALPHA.float().tolist(), SIGMA.float().tolist()),
    "float32 numbers in float64 tensors": table_ddim(ALPHA.float().double(), SIGMA.float().double()),
    "numpy float32 scalars": numpy_single,
    "read by item()": read_inside(lambda v: v.item()),
    "read by float()": read_inside(float),
    "read by double()": read_inside(lambda v: v.double()),
    "read through numpy": read_inside(lambda v: float(v.numpy())),
    "steps in float32": in_single,
}


@pytest.mark.parametrize("sampler", COARSE.values(), ids=COARSE)
def test_float32_is_found_under_float64_states(sampler):
    traced = ok.trace(sampler, process=PROCESS)
    assert traced.precision == "float32"
    assert traced.times.dtype == torch.float64


@pytest.mark.parametrize("sampler", [c for n, c in COARSE.items() if n != "steps in float32"])
def test_at_that_precision_it_is_the_exact_method_and_at_float64_it_is_not(sampler):
    traced = ok.trace(sampler, process=PROCESS)
    exact = ok.plan("ddim", ok.ProbabilityFlow(PROCESS, ok.targets.ring6()), GRID)
    assert ok.same(traced, exact)
    assert not ok.same(traced.replaced(precision="float64"), exact)


EXACT = {
    "tables of float64 tensors": table_ddim(ALPHA, SIGMA),
    "python floats": table_ddim(ALPHA.tolist(), SIGMA.tolist()),
    "numpy": table_ddim(ALPHA.numpy(), SIGMA.numpy()),
    **{s.__name__: lambda model, x, s=s: s(model, x, GRID) for s in (ddim, euler, heun_edm, rk4, dpmpp_2m, ab2)},
    "short float32 numbers": lambda model, x: x * torch.tensor(0.5) + 0.25 * model(x, torch.tensor(981.0)),
    "labels in float32": lambda model, x: x + 0.1 * model(x, torch.arange(1000, dtype=torch.float32)[999]),
    "a dyadic grid": lambda model, x: euler(model, x, torch.linspace(1, 0, 257)),
}


@pytest.mark.parametrize("sampler", EXACT.values(), ids=EXACT)
def test_float64_samplers_are_not_suspected(sampler):
    assert ok.trace(sampler, process=PROCESS).precision == "float64"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_states_own_dtype_counts(dtype):
    traced = ok.trace(table_ddim(ALPHA.tolist(), SIGMA.tolist()), dtype=dtype, process=PROCESS)
    assert traced.precision == str(dtype).removeprefix("torch.")
    assert ok.same(traced, ok.plan("ddim", ok.ProbabilityFlow(PROCESS, ok.targets.ring6()), GRID))


def test_half_precision_still_tells_methods_apart():
    traced = ok.trace(ddim, grid=GRID, dtype=torch.float16, process=PROCESS)
    flow = ok.ProbabilityFlow(PROCESS, ok.targets.ring6())
    assert ok.same(traced, ok.plan("ddim", flow, GRID)) and not ok.same(traced, ok.plan("dpmpp-2m", flow, GRID))


def test_registers_are_counted_at_the_precision_of_the_arithmetic():
    """Rounded states would look like a memory of everything at float64's rounding unit."""
    grid = random_grid(3, 60, ends=(0.999, 1e-3))
    double = ok.trace(dpmpp_2m, grid=grid, process=PROCESS)
    single = ok.trace(lambda m, x: dpmpp_2m(m, x, grid), dtype=torch.float32, process=PROCESS)
    assert (double.registers, single.registers) == (2, 2)
    assert ok.same(double, single) and ok.same(single, double)
