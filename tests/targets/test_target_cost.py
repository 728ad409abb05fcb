"""What a call costs: kernels counted, memory measured."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from odekit.targets import Empirical, GaussianMixture, LowRank

VIEWS = {
    "view",
    "_unsafe_view",
    "unsqueeze",
    "squeeze",
    "expand",
    "t",
    "transpose",
    "permute",
    "slice",
    "split",
    "select",
}
VIEWS |= {"detach", "alias", "reshape", "as_strided", "split_with_sizes"}


class Kernels(TorchDispatchMode):
    """Names of the operations that do work."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if name not in VIEWS:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


class Memory(TorchDispatchMode):
    """Bytes of the storages made inside that are alive at once, graphs included: their peak."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and function.__name__.split(".")[0] not in VIEWS:
                storage = tensor.untyped_storage()
                if storage._cdata not in self.alive:
                    self.alive[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, storage._cdata)
                    self.peak = max(self.peak, sum(self.alive.values()))
        return result


def mixture(kind, count, d):
    g = torch.Generator().manual_seed(0)
    means = torch.randn(count, d, generator=g, dtype=torch.float64)
    factors = torch.randn(count, d, d, generator=g, dtype=torch.float64)
    scales = {
        "shared": torch.full((count,), 0.4),
        "isotropic": torch.rand(count, generator=g) + 0.2,
        "diagonal": torch.rand(count, d, generator=g) + 0.2,
        "full": factors @ factors.mT / d + torch.eye(d),
        "low-rank": LowRank(factors[:, :, :1], torch.rand(count, generator=g) + 0.2),
    }
    return GaussianMixture(means, scales[kind], torch.full((count,), 1 / count, dtype=torch.float64))


@pytest.mark.parametrize(
    "kind, count, d, allowed",
    [
        ("shared", 16, 2, 6),
        ("isotropic", 16, 2, 7),
        ("diagonal", 16, 2, 7),
        ("full", 16, 2, 8),
        ("low-rank", 16, 2, 12),
        ("shared", 1000, 8, 3),
        ("isotropic", 1000, 8, 6),
        ("diagonal", 1000, 8, 6),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_kernels_of_a_prepared_call(kind, count, d, allowed, dtype):
    target = mixture(kind, count, d)
    call = target.prepare([0.8], [0.6], [(0.1, 0.2, 0.3)])
    x = torch.randn(64, d, generator=torch.Generator().manual_seed(1), dtype=dtype)
    call(0, x)
    with Kernels() as kernels:
        call(0, x)
    assert len(kernels.names) <= allowed, kernels.names
    assert "_to_copy" not in kernels.names and "_local_scalar_dense" not in kernels.names
    with Kernels() as unprepared:  # negative control: the counter sees the scalar work that preparing removes
        target.score(x, 0.8, 0.6)
    assert len(unprepared.names) > 2 * allowed


@pytest.mark.parametrize("name", ["score", "denoiser", "log_density", "score_jvp", "prepared", "gradient"])
def test_memory_is_bounded_whatever_the_number_of_points(name):
    budget = 4 * 2**20
    g = torch.Generator().manual_seed(0)
    points = torch.randn(50_000, 8, generator=g, dtype=torch.float64)
    target = Empirical(points, budget=budget)
    x = torch.randn(200, 8, generator=g, dtype=torch.float64)
    whole = len(x) * len(points) * 8
    assert whole > 15 * budget
    call = target.prepare([0.9], [0.5], [(0.0, 1.0, 0.0)])
    functions = {
        "score": lambda: target.score(x, 0.9, 0.5),
        "denoiser": lambda: target.denoiser(x, 0.9, 0.5),
        "log_density": lambda: target.log_density(x, 0.9, 0.5),
        "score_jvp": lambda: target.score_jvp(x, x, 0.9, 0.5),
        "prepared": lambda: call(0, x),
        "gradient": lambda: torch.autograd.grad(target.log_density(x.requires_grad_(), 0.9, 0.5).sum(), x),
    }
    functions[name]()  # parameters are placed once
    with Memory() as memory:
        functions[name]()
    assert budget / 50 < memory.peak < budget, memory.peak / budget


def test_blocks_change_nothing():
    """Log-sum-exps merged over blocks equal the evaluation in one piece; so do gradients recomputed block by block."""
    g = torch.Generator().manual_seed(0)
    points = torch.randn(3000, 4, generator=g, dtype=torch.float64)
    cut, whole = Empirical(points, budget=2**18), Empirical(points)
    x = torch.randn(300, 4, generator=g, dtype=torch.float64)
    for alpha, sigma in ((0.9, 0.3), (1.0, 0.01), (0.0, 1.0)):
        for name in ("score", "denoiser", "log_density"):
            a, b = (getattr(t, name)(x, alpha, sigma) for t in (cut, whole))
            assert (a - b).abs().max() <= 1e-11 * (1 + b.abs().max())
        a, b = (t.score_jvp(x, x, alpha, sigma) for t in (cut, whole))
        assert (a - b).abs().max() <= 1e-8 * (1 + b.abs().max())
        y = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(cut.log_density(y, alpha, sigma).sum(), y)
        assert (gradient - whole.score(x, alpha, sigma)).abs().max() <= 1e-11 * (1 + gradient.abs().max())


def test_rows_do_not_depend_on_their_batch():
    target = mixture("full", 16, 2)
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    small = mixture("full", 16, 2)
    small.budget = 2**15
    assert (small.score(x, 0.8, 0.1) - target.score(x, 0.8, 0.1)).abs().max() < 1e-11
    assert (target.score(x[7:8], 0.8, 0.1) - target.score(x, 0.8, 0.1)[7:8]).abs().max() < 1e-12


def test_the_meter_sees_what_a_graph_keeps():
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    with Memory() as kept:
        value = x.exp().exp().exp().sum()
    with torch.no_grad(), Memory() as dropped:
        x.exp().exp().exp().sum()
    assert kept.peak >= 3 * x.nbytes > dropped.peak and value.requires_grad
