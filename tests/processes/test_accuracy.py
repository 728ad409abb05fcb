"""Float64 code against the same expressions at fifty digits: every quantity keeps its digits over the whole range."""

import math

import mpmath
import pytest
import torch
from mpmath import mp

from odekit.processes import EDM, VE, VP, Cosine, DiscreteVP, RectifiedFlow, SubVP

BETAS = [1e-4 + i * (2e-2 - 1e-4) / 999 for i in range(1000)]
PROCESSES = [VP(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(), DiscreteVP(BETAS), VP(beta_0=0.3, beta_1=0.3)]
QUANTITIES = (
    *("alpha", "sigma", "log_alpha", "log_sigma", "kappa", "alpha_over_sigma", "alpha_rate", "sigma_rate"),
    *("logsnr", "logsnr_rate", "drift", "diffusion_squared"),
)


def times(process):
    low = max(process.t_min, 1e-5)
    powers = [low * (process.t_max / low) ** (i / 60) for i in range(61)]
    top = [process.t_max - (process.t_max - low) * 10.0**-k for k in range(1, 9)]
    return sorted({t for t in [1e-5, *powers, *top] if process.domain[0] < t < process.domain[1]})


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_float_code_agrees_with_fifty_digits(process, quantity):
    nodes = times(process)
    function = getattr(process, quantity)
    batch = function(torch.tensor(nodes, dtype=torch.float64)).tolist()
    for t, vectorised in zip(nodes, batch, strict=True):
        with mp.workdps(50):
            exact = function(mpmath.mpf(t))
            # a zero of log-SNR inside the range has no relative accuracy to offer
            scale = max(abs(exact), 1 if quantity == "logsnr" else 0)
            errors = [abs(value - exact) / scale if scale else abs(value) for value in (function(t), vectorised)]
            assert max(errors) <= 3e-15, (t, float(exact), [float(e) for e in errors])
