"""The tabulated process: nodes, interpolation, inverses at and between nodes, refusals."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from odekit.exceptions import OdekitError
from odekit.processes import DiscreteVP

BETAS = np.linspace(1e-4, 2e-2, 1000)


def test_nodes_and_straight_lines_between():
    table = [0.9, 0.5, 0.1]
    process = DiscreteVP(alphas_cumprod=table)
    assert (process.t_min, process.t_max, process.alpha(0.0), process.sigma(0.0)) == (1 / 3, 1.0, 1.0, 0.0)
    for i, value in enumerate(table):
        assert process.alpha((i + 1) / 3) ** 2 == pytest.approx(value, rel=1e-15)
    for left, right, weight in ((0, 1, 0.25), (1, 2, 0.5)):
        t = (left + 1 + weight) / 3
        straight = (1 - weight) * math.log(table[left]) / 2 + weight * math.log(table[right]) / 2
        assert process.log_alpha(t) == pytest.approx(straight, rel=1e-14)
    assert process.log_alpha(1 / 6) == pytest.approx(math.log(0.9) / 4, rel=1e-15)
    # beta is constant within a cell, the right one's at a node
    assert process.diffusion_squared(0.4) == pytest.approx(-3 * math.log(0.5 / 0.9), rel=1e-14)
    assert process.diffusion_squared(1 / 3) == process.diffusion_squared(0.4)


def test_betas_and_their_products_are_one_process_in_two_spellings():
    from_betas = DiscreteVP(BETAS)
    products = DiscreteVP(alphas_cumprod=torch.tensor(np.cumprod(1 - BETAS)))
    t = torch.linspace(0, 1, 5003, dtype=torch.float64)[1:]
    assert torch.allclose(from_betas.logsnr(t), products.logsnr(t), rtol=0, atol=1e-12)
    assert from_betas != products


def test_floats_tensors_and_mpmath_agree_on_and_around_nodes():
    process = DiscreteVP(BETAS.tolist())
    times = [i / 1000 + shift for i in (1, 7, 333, 500, 999) for shift in (-1e-12, 0.0, 1e-12)] + [1.0]
    batch = process.logsnr(torch.tensor(times, dtype=torch.float64)).tolist()
    for t, vectorised in zip(times, batch, strict=True):
        with mp.workdps(50):
            exact = process.logsnr(mpmath.mpf(t))
            assert abs(process.logsnr(t) - exact) < 3e-15 and abs(vectorised - exact) < 3e-15


@settings(deadline=None, max_examples=60)
@given(
    table=st.lists(st.floats(1e-6, 0.999), min_size=2, max_size=12),
    where=st.floats(0, 1),
)
def test_round_trip_on_any_table(table, where):
    process = DiscreteVP(table)
    t = process.t_min + where * (process.t_max - process.t_min)
    cell = min(int(t * len(table)), len(table) - 1)
    # where a beta is small beside the noise so far, log-SNR is flat: an ulp of it is this much in t
    flat = 4e-16 * (1 + abs(process.logsnr(t))) / abs(process.logsnr_rate((cell + 0.5) / len(table)))
    assert abs(process.time_at_logsnr(process.logsnr(t)) - t) <= 1e-14 * t + 4 * flat


def test_one_step_is_enough():
    process = DiscreteVP([0.5], t_min=0.25)
    assert process.alpha(1.0) ** 2 == pytest.approx(0.5, rel=1e-15)
    assert process.time_at_kappa(process.kappa(0.3)) == pytest.approx(0.3, rel=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either betas or alphas_cumprod"),
        ({"betas": [0.1], "alphas_cumprod": [0.9]}, "either betas or alphas_cumprod"),
        ({"betas": []}, "betas is empty"),
        ({"betas": [0.1, 0.0]}, r"betas\[1\] = 0.0 must lie strictly between 0 and 1"),
        ({"betas": [1.0]}, r"betas\[0\] = 1.0"),
        ({"betas": [0.1, math.nan]}, r"betas\[1\] = nan"),
        ({"betas": ["a"]}, "betas must be a list of numbers"),
        ({"betas": [[0.1], [0.2]]}, "betas must be a list of numbers"),
        ({"alphas_cumprod": [0.9, 0.9]}, r"alphas_cumprod\[1\] = 0.9 .* between 0 and alphas_cumprod\[0\] = 0.9"),
        ({"alphas_cumprod": [0.5, 0.7]}, r"alphas_cumprod\[1\] = 0.7"),
        ({"alphas_cumprod": [1.0, 0.7]}, r"alphas_cumprod\[0\] = 1.0 .* between 0 and 1, the value at t = 0"),
        ({"alphas_cumprod": [0.9, 0.0]}, r"alphas_cumprod\[1\] = 0.0"),
        ({"betas": [0.1, 0.2], "t_max": 1.5}, "t_max = 1.5 must satisfy"),
    ],
)
def test_bad_tables_are_refused_by_entry(options, message):
    with pytest.raises(OdekitError, match=message):
        DiscreteVP(**options)
