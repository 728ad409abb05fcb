"""What is no straight-line program is refused in one line that says where and why."""

import time

import pytest
import torch
from textbook import ddim, euler, random_grid

import odekit as ok

GRID = random_grid(0)


def steps(change):
    """Euler with something done to the state after every step, from the third on."""

    def sampler(model, x):
        for i, (t, s) in enumerate(zip(GRID[:-1], GRID[1:], strict=True)):
            x = x + (s - t) * model(x, t)
            if i >= 2:
                x = change(x)
        return x

    return sampler


def blur(x):
    return (x + x.roll(1, -1)) / 2


def dynamic_threshold(x):
    """Saharia et al. 2022, section 2.3."""
    s = x.flatten(1).abs().quantile(0.995, dim=1).clamp(min=1.0).reshape(-1, *(1,) * (x.ndim - 1))
    return x.clamp(-s, s) / s


def norm_controlled(model, x):
    t, h = 1.0, 0.1
    while t > 0.2:
        slope = model(x, t)
        h = 0.2 if float(slope.norm()) < 100 else 0.1
        x, t = x - h * slope, t - h
    return x


def norm_timed(model, x):
    for i in range(5):
        x = x - 0.1 * model(x, 1 - 0.1 * i / (1 + float(x.norm())))
    return x


class Remembering:
    """Multistep history that survives the run."""

    def __init__(self):
        self.old = None

    def __call__(self, model, x):
        slope = model(x, 0.5)
        x = x + slope if self.old is None else x + 2 * slope - self.old
        self.old = slope
        return x


class Counting:
    """A scheduler's step index that survives the run."""

    def __init__(self):
        self.step = 0

    def __call__(self, model, x):
        for _ in range(3):
            x = x - 0.1 * model(x, 1 / (1 + self.step))
            self.step += 1
        return x


def per_sample(model, x):
    return x - model(x, torch.linspace(0.5, 1.0, len(x)))


def failing(model, x):
    model(x, 0.5)
    return x.reshape(3, 7, -1)


NONLINEAR = [
    ("a clamp", steps(lambda x: x.clamp(-1, 1)), (), "evaluation 3 .*clipping or thresholding"),
    ("a wide clamp", steps(lambda x: x.clamp(-200, 200)), (), "clipping or thresholding"),
    ("a saturation", steps(torch.tanh), (), "evaluation 3 is no fixed linear combination"),
    ("dynamic thresholding", steps(dynamic_threshold), (2, 3), "evaluation 3 .*clipping or thresholding"),
    ("a square", steps(lambda x: x * x), (), "evaluation 3 .*no fixed linear combination.*nonlinear step"),
    ("a normalised state", steps(lambda x: x / x.abs().clamp_min(1e-30)), (), "no fixed linear combination"),
    ("a little of a square", steps(lambda x: x + 1e-9 * x * x), (), "evaluation 3 is linear for small states only"),
    ("a little of a modulus", steps(lambda x: x + 1e-7 * x.abs()), (), "evaluation 3 .*no fixed linear combination"),
    ("a constant", steps(lambda x: x + 0.01), (), "evaluation 3 contains a constant: the sampler is affine"),
    ("a small constant", steps(lambda x: x + 1e-9), (), "evaluation 3 contains a constant"),
    ("a blur", steps(blur), (4,), "evaluation 3 mixes the elements of a sample"),
    ("a mask", steps(lambda x: x * torch.tensor([1.0, 1.0, 0.5])), (3,), "evaluation 3 treats the elements of a"),
    ("centring the batch", steps(lambda x: x - x.mean(0)), (2,), "evaluation 3 mixes the samples of a batch"),
    ("a uniform draw", steps(lambda x: x + torch.rand_like(x)), (), "differs from run to run: draws .*rand_like"),
    ("numpy noise", steps(lambda x: x + __import__("numpy").random.randn()), (), "differs from run to run"),
    ("a draw for one sample", steps(lambda x: x + torch.randn(1, 2).double()), (2,), "draws that are no normal ones"),
    ("a remembering sampler", Remembering(), (), "failed on states .* after 1 evaluations"),
    ("a counting sampler", Counting(), (), "evaluation 0 is asked at time 1 .* does not start afresh"),
    ("a number of steps that depends on the data", norm_controlled, (), "data-dependent loop"),
    ("times that depend on the data", norm_timed, (), "evaluation 1 is asked at time .* on one batch and"),
    ("times that differ over the batch", per_sample, (), "evaluation 0: samples of one batch are asked at different"),
    ("an endless loop", lambda m, x: [m(x, 0.5) for _ in iter(int, 1)], (), "more than 8192 model calls"),
    ("an endless loop without calls", lambda m, x: [x * 0.5 for _ in iter(int, 1)], (), "without asking the model"),
    ("a wrong shape asked", lambda m, x: m(x[:2], 0.5), (), r"evaluation 0: .* asks the model at \(2,\) of float64"),
    ("two states in one call", lambda m, x: m(torch.cat([x, x]), 0.5), (), r"asks the model at \(10,\)"),
    ("something that is no state", lambda m, x: m([1.0], 0.5), (), "asks the model at a list"),
    ("a wrong shape returned", lambda m, x: m(x, 0.5).sum(), (), r"the sampler returned \(\) of float64"),
    ("a trajectory returned", lambda m, x: [x, m(x, 0.5)], (), "the sampler returned a list"),
    ("nothing returned", lambda m, x: m(x, 0.5) and None, (2,), "the sampler failed|returned a NoneType"),
    ("no time", lambda m, x: m(x), (), "evaluation 0: the model is told no time"),
    ("a time by another name", lambda m, x: m(x, sigma=0.5), (), "evaluation 0: the model is told no time"),
    ("a time that is none", lambda m, x: m(x, float("nan")), (), "evaluation 0: the model is asked at time nan"),
    ("no evaluation", lambda m, x: 2 * x, (), "never asks the model"),
    ("a failure", failing, (), r"failed on states \(5,\) after 1 evaluations: RuntimeError: .*; shape= says"),
    ("a division by zero", lambda m, x: x / 0.0 + m(x, 0.5), (), "the result holds NaN or inf"),
]  # fmt: skip


@pytest.mark.parametrize(("sampler", "shape", "words"), [c[1:] for c in NONLINEAR], ids=[c[0] for c in NONLINEAR])
def test_what_is_no_linear_program_is_named(sampler, shape, words):
    before = time.process_time()  # a guard against loops that never end, not a measure of speed
    with pytest.raises(ok.OdekitError, match=words) as refusal:
        ok.trace(sampler, shape=shape)
    assert "\n" not in str(refusal.value) and time.process_time() - before < 60


@pytest.mark.parametrize(
    ("what", "options", "words"),
    [
        ("rk4", {}, "a sampler is a function .* got a str"),
        (None, {}, "a sampler is a function .* got a NoneType"),
        (ddim, {}, "the sampler takes times: give grid="),
        (lambda model, x: model(x, 0.5), {"grid": GRID}, "the sampler takes no times"),
        (euler, {"grid": GRID, "carrier": "block"}, r"carrier 'block' are \(B, 2, ...\): expected shape=\(2, ...\)"),
        (euler, {"grid": GRID, "times": "kappa"}, "times='kappa': .*together with process="),
        (euler, {"grid": GRID, "times": "sigma"}, "times='sigma': expected 'process'"),
    ],
    ids=["a name", "nothing", "no grid", "no times", "carrier", "process", "times"],
)
def test_questions_that_cannot_be_answered(what, options, words):
    with pytest.raises(ok.OdekitError, match=words) as refusal:
        ok.trace(what, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("device", ["cuda:7", "mps", "xpu", "meta", "no such device"])
def test_a_device_that_is_not_there_is_the_device(device):
    """The hint is what to change, and not the shape of a sample."""

    def moving(model, x):
        return x.to(device) + model(x, 0.5)

    with pytest.raises(ok.OdekitError, match="keep everything on x.device$") as refusal:
        ok.trace(moving, shape=(2,))
    assert "\n" not in str(refusal.value) and "shape=" not in str(refusal.value)


def test_harmless_things_are_not_refused():
    """Controls: what looks suspicious and is linear all the same."""

    def harmless(model, x):
        torch.rand(3)  # drawn and not used
        scale = torch.tensor([0.5]).double()
        for t, s in zip(GRID[:-1], GRID[1:], strict=True):
            x = x + (s - t) * model(x, t)
            x = x * scale / 0.5
        return torch.where(torch.ones_like(x) > 0, x, x + 1)

    traced = ok.trace(harmless, shape=(3,))
    assert ok.same(traced, ok.trace(euler, grid=GRID))


def test_a_sampler_that_loses_digits_is_linear_all_the_same():
    """Rounding is told from nonlinearity by its scale: multiplied by powers of two it stays the same to the bit."""

    def lossy(model, x):
        for t in (0.9, 0.5, 0.1):
            x = (x + 1e6 * model(x, t)) - (1e6 - 1) * model(x, t - 0.05)
            x = (1e7 * x + x) - 1e7 * x
        return x

    traced = ok.trace(lossy)
    assert traced.evaluations == 6 and traced.registers == 2
    assert float(traced.dense().output[0]) == pytest.approx(1.0, rel=1e-6)


def test_interrupting_is_not_a_failure_of_the_sampler():
    def interrupted(model, x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ok.trace(interrupted)
