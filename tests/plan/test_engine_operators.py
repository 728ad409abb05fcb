"""Blocks of n channels in the engine: hand-made tables against their definition, whoever holds which memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import odekit as ok
from odekit import engine
from odekit.engine import Segment, channels

SHAPES = {"a number": (), "slim": (3, 1), "narrow": (5,), "image": (2, 4), "wide": (channels.WIDE,)}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tables(n, steps=4):
    """One slot into three, steps of two evaluations and a draw, then numbers: three slots into one."""
    first = Segment(random(1, 1), itself(1, n), random(1, 3, 2, n, n, seed=1) / 2, ("x",))
    inputs, outputs = random(steps, 2, 6, n, n, seed=2) / 3, random(steps, 3, 6, n, n, seed=3) / 3
    inputs[:, 0, 3:], inputs[:, 1, 4:] = 0, 0  # no evaluation hears of itself, of later ones or of the draw
    inputs[:, 0, 1] = 0
    outputs[:, 1] = 0
    outputs[:, 1, 4] = torch.eye(n)  # the second output, as it is
    outputs[:, 2, :, : n // 2] = 0
    middle = Segment(random(steps, 2), inputs, outputs, ("x", "N", "y"), draws=1)
    numbers = random(1, 1, 4, seed=5) * torch.tensor([1.0, 1.0, 0.0, 0.0])
    return [first, middle, Segment(random(1, 1), numbers, random(1, 1, 4, seed=6), ("x", "N", "y"))]


def itself(steps, n):
    """The input of a step that asks at its state."""
    return torch.stack([torch.eye(n), torch.zeros(n, n)]).double().expand(steps, 1, 2, n, n)


def by_definition(segments, call, start, noise):
    def taken(row, registers):
        row = row if row.ndim > 1 else row[:, None, None] * torch.eye(start.shape[1], dtype=torch.float64)
        return sum(torch.einsum("ij,bj...->bi...", c, r) for c, r in zip(row, registers, strict=False))

    registers, k, z = [start], 0, 0
    for segment in segments:
        for asked, carried in zip(segment.inputs, segment.outputs, strict=True):
            for row in asked:
                registers.append(call(k, taken(row, registers)))
                k += 1
            for _ in range(segment.draws):
                registers.append(noise(z))
                z += 1
            registers = [taken(row, registers) for row in carried]
    return registers[0]


def model(k, y):
    return torch.tanh(y + 0.1 * k)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
class TestDefinition:
    def test_what_the_tables_say(self, n, batch, shape):
        start = random(batch, n, *SHAPES[shape])

        def noise(z):
            return random(*start.shape, seed=z)

        expected = by_definition(tables(n), model, start, noise)
        found = engine.run(tables(n), model, [start], noise)
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
        single = engine.run(tables(n), model, [start.float()], lambda z: noise(z).float())
        assert single.dtype == torch.float32 and torch.allclose(single.double(), expected, rtol=1e-4, atol=1e-4)
        wrong = tables(n)
        wrong[1].outputs[2, 0, 3] *= 1 + 1e-6
        assert not torch.allclose(engine.run(wrong, model, [start], noise), expected, rtol=1e-10, atol=1e-10)

    def test_nobody_is_handed_memory_that_changes_later(self, n, batch, shape):
        start, kept = random(batch, n, *SHAPES[shape]), []

        def keep(y):
            assert y.is_contiguous() and y.shape == start.shape
            kept.append((y, y.clone()))
            return y

        def call(k, y):
            return keep(model(k, keep(y)))

        def noise(z):
            return keep(random(*start.shape, seed=z))

        found = engine.run(tables(n), call, [keep(start)], noise, watch=keep)
        again = keep(engine.run(tables(n), call, [start], noise))
        assert torch.equal(found, again) and len(kept) > 50
        assert all(torch.equal(y, then) for y, then in kept)


def halves(n=2, steps=12):
    """Steps x' = A x + C N, as one segment."""
    return [Segment(random(steps, 1), itself(steps, n), random(steps, 1, 2, n, n) / 2, ("x",))]


class TestGradients:
    @pytest.mark.parametrize("since", [0, 5])
    def test_of_what_the_model_is_made_of(self, since):
        """A parameter that is heard of at the first evaluation, or only after registers were overwritten."""
        start, weight = random(3, 2, 4), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

        def call(k, y):
            return torch.tanh(weight * y) if k >= since else torch.tanh(y)

        found = torch.autograd.grad(engine.run(halves(), call, [start]).square().sum(), weight)[0]
        expected = torch.autograd.grad(by_definition(halves(), call, start, None).square().sum(), weight)[0]
        assert torch.allclose(found, expected, rtol=1e-12)

    def test_of_the_start_forward_and_backward(self):
        start, direction = random(3, 2, 4), random(3, 2, 4, seed=1)

        def end(x, run=lambda x: engine.run(halves(), model, [x])):
            return run(x).square().sum()

        def defined(x):
            return end(x, lambda x: by_definition(halves(), model, x, None))

        gradient = torch.func.grad(end)(start)
        assert torch.allclose(gradient, torch.func.grad(defined)(start), rtol=1e-12)
        assert torch.allclose(torch.autograd.functional.vjp(end, start)[1], gradient, rtol=1e-12)
        assert torch.func.jvp(end, (start,), (direction,))[1].item() == pytest.approx(
            (gradient * direction).sum().item()
        )

    def test_of_the_tables(self):
        (segment,) = halves()
        table = segment.outputs.clone().requires_grad_()
        start = random(3, 2, 4)

        def end(run):
            return run([Segment(segment.times, segment.inputs, table, ("x",))]).square().sum()

        found = torch.autograd.grad(end(lambda s: engine.run(s, model, [start], differentiable=True)), table)[0]
        expected = torch.autograd.grad(end(lambda s: by_definition(s, model, start, None)), table)[0]
        assert torch.allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 2, channels.WIDE)])
def test_lower_precision_of_the_model_is_not_that_of_the_sums(shape):
    start = random(*shape).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = engine.run(halves(), model, [start])
    assert torch.equal(found, engine.run(halves(), model, [start]))


class Kernels(TorchDispatchMode):
    """Operations that touch numbers, counted."""

    FREE = (
        "view",
        "transpose",
        "slice",
        "select",
        "split",
        "expand",
        "empty",
        "unsqueeze",
        "alias",
        "detach",
        "unbind",
    )

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not any(word in function.__name__ for word in self.FREE)
        return function(*args, **(kwargs or {}))


def kernels(plan, start):
    def call(k, y):
        return start

    engine.run(plan.segments, call, [start])  # casts the tables
    with Kernels() as seen:
        engine.run(plan.segments, call, [start])
    return seen.count


PAIRS = {"gddim-0": "ddim", "gddim-2": "deis-tab-2", "gddim-pece-2": "abm-3", "rse": "euler", "rvv": "heun2"}


@pytest.mark.parametrize("method", PAIRS)
@pytest.mark.parametrize("shape", [(4, 2, 3), (1, 2, 3), (4, 2, channels.WIDE)])
def test_blocks_take_at_most_twice_the_kernels_of_numbers(method, shape):
    counts = []
    for process, name, prediction in ((ok.PSLD(), method, "r-noise"), (ok.VP(), PAIRS[method], "noise")):
        flow = ok.ProbabilityFlow(process, lambda x, t: x, prediction)
        counts.append(kernels(ok.plan(name, flow, ok.grid("time-quadratic", process, 20)), random(*shape)))
    blocks, numbers = counts
    assert numbers >= 20 and blocks <= 2 * numbers
