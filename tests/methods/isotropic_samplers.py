"""The samplers for isotropic processes, flows to run them on, rough grids, and whether two are the same program."""

import math

import torch

import odekit as ok
from odekit.methods import corrected, dpm_v3, edm, extrapolation, pndm

NAMES = [*pndm.METHODS, *edm.METHODS, *corrected.METHODS, *extrapolation.METHODS, *dpm_v3.METHODS]
PROCESSES = {"vp": ok.VP(), "rectified-flow": ok.RectifiedFlow(), "edm": ok.EDM()}
FLOWS = {name: ok.ProbabilityFlow(p, ok.targets.ring6(), prediction="noise") for name, p in PROCESSES.items()}
VP = PROCESSES["vp"]


def rough(process, seed=1, steps=6):
    """A grid whose steps in log-SNR differ by factors of up to four, over the range of VP from 0.8 to 0.05."""
    gaps = torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.3
    first, last = float(VP.logsnr(0.8)), float(VP.logsnr(0.05))
    nodes = first + (last - first) * torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0) / gaps.sum()])
    return process.time_at_logsnr(nodes)


def start(process=VP, seed=2):
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x * math.hypot(float(process.alpha(rough(process)[0])), float(process.sigma(rough(process)[0])))


def gap(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def same(a, b, process="vp", grids=None):
    """Whether two methods are the same program on the grids, three rough ones unless told otherwise."""
    flow = FLOWS[process]
    a, b = (ok.methods.get(m) if isinstance(m, str) else m for m in (a, b))
    grids = grids or [rough(PROCESSES[process], seed) for seed in range(3)]
    return all(ok.same(ok.plan(a, flow, grid), ok.plan(b, flow, grid)) for grid in grids)
