"""The order of a multistep formula somebody runs, from the moments of the weights in its own table.

A step of a linear exponential formula is x_t = Psi x_s + sum_j w_j N_j. Were N a polynomial in the log-SNR l, the exact
step would be an integral of it, so the weights of a formula of order p meet, to O(h^(p+1)),

    psi_(m+1):  sum_j w_j (l_j - l_s)^m  =  c m! h^(m+1) phi_(m+1)(h) (-sigma_t)       for the noise,
                                         =  c m! h^(m+1) phi_(m+1)(-c h) alpha_t       for the data,

h = l_t - l_s. For a probability flow c = 1; a sampler that draws noise steps a mean with c = 1 + tau^2 (Xue et al.
2023, arXiv 2309.05019, eq. 9), read off its Psi (data) or off its first moment (noise).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.elementary import STEPS, traced
from analysis.exact import ExactProblem
from odekit.exceptions import OdekitError
from odekit.plan.dense import as_array

POWERS = ("constant", "linear", "quadratic", "cubic", "quartic")
MOST = len(POWERS)  # moments that are asked
FAR = 50  # a multiple of what it should be that is none any more
NEAR = 0.05  # from 1: it tends to it, and what it is on one grid says nothing
ROUNDING = 1e-13
SUPPORT = 1e-9  # weights smaller than this, relative to the largest, are rounding


@dataclass(frozen=True)
class Moments:
    """The moments of a formula: `rates[m]`, the power of h at which moment m is missed (inf: not at all), and `parts`,
    what its weights give on the finest grid, as a multiple of what they should."""

    gauge: str
    points: int
    c: float
    rates: tuple[float, ...]
    parts: tuple[float, ...]

    @property
    def order(self) -> int:
        """The order of the formula: missing a moment by O(h^(p+1)) in each step leaves O(h^p)."""
        return max(0, min([MOST - 1, *(round(rate) - 1 for rate in self.rates if math.isfinite(rate))]))

    @property
    def failing(self) -> str:
        """The first condition that holds the order back."""
        for m, rate in enumerate(self.rates):
            if math.isfinite(rate) and round(rate) - 1 <= self.order:
                part = self.parts[m]
                given = f"give {part:.3g} of what they should" if abs(part) < FAR else "are far from it"
                where = f"where the {self.gauge} is {POWERS[m]} in the log-SNR the weights {given}"
                missed = f"psi_{m + 1}, missed by O(h^{round(rate)})"
                return missed if abs(part - 1) < NEAR else f"{missed}: {where}"
        return ""


def moments_of(sampler: Callable, exact: ExactProblem) -> Moments | None:
    """The moments of sampler(model, x, times) with one evaluation a step, on a problem; None where it has more.

    Raises TraceError for what is no straight-line program.
    """
    process, prediction = exact.field.process, exact.field.prediction
    found: dict[str, list] = {}
    for n in STEPS:
        times, plan = exact.grid(n), traced(sampler, exact, n)
        if plan.evaluations != n:
            return None
        for gauge in ("noise", "data"):
            try:
                dense = plan.reexpress(gauge).dense()
            except OdekitError:
                continue
            found.setdefault(gauge, []).append(_missed(dense, times, process, gauge))
    found = {gauge: rows for gauge, rows in found.items() if len(rows) == len(STEPS)}
    if not found:
        return None
    gauge = min(found, key=lambda g: (found[g][-1][2], g != prediction))  # its own: where fewest points take part
    missed, parts, points, c = zip(*found[gauge], strict=True)
    rates = tuple(_rate([row[m] for row in missed], parts[-1][m]) for m in range(MOST))
    return Moments(gauge, points[-1], c[-1], rates, tuple(parts[-1]))


def _missed(dense: Any, times: torch.Tensor, process: Any, gauge: str) -> tuple[list, list, int, float]:
    """By how much each moment is missed, at most, in the steps of the middle; what is given of it; points; c."""
    rows = np.vstack([as_array(dense.inputs), as_array(dense.output)[None]])
    alpha, sigma, logsnr = (
        np.array([float(getattr(process, k)(t)) for t in times]) for k in ("alpha", "sigma", "logsnr")
    )
    n = len(times) - 1
    missed, parts, points, rate = np.zeros(MOST), [[] for _ in range(MOST)], 0, 1.0
    for i in range(n // 2, n // 2 + n // 6):
        h, at = logsnr[i + 1] - logsnr[i], logsnr[:n] - logsnr[i]
        psi = alpha[i + 1] / alpha[i] if gauge == "noise" else rows[i + 1, 0] / rows[i, 0]
        weights = rows[i + 1, 1:] - psi * rows[i, 1:]
        points = max(points, int((abs(weights) > SUPPORT * abs(weights).max()).sum()))
        if gauge == "noise":
            rate = weights.sum() / (-sigma[i + 1] * math.expm1(h))
            rate = rate if abs(rate - 1) > 0.3 else 1.0
        else:
            rate = -math.log(abs(psi) * alpha[i] / alpha[i + 1]) / h
        for m in range(MOST):
            z, outside = (h, -sigma[i + 1] * rate) if gauge == "noise" else (-rate * h, alpha[i + 1] * rate)
            wanted = outside * h ** (m + 1) * _integral(m, z)
            given = float(weights @ at**m)
            missed[m] = max(missed[m], abs(given - wanted))
            parts[m].append(given / wanted)
    return list(missed), [float(np.median(part)) for part in parts], points, float(rate)


def _integral(m: int, z: float) -> float:
    """m! phi_(m+1)(z) = int_0^1 e^(z (1 - u)) u^m du."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    u = (nodes + 1) / 2
    return float((weights / 2 * np.exp(z * (1 - u)) * u**m).sum())


def _rate(missed: list[float], part: float) -> float:
    """The slope at which a moment is missed; infinite where it is met to rounding."""
    if missed[-1] <= ROUNDING or abs(part - 1) < SUPPORT:
        return math.inf
    return float(np.log2(max(missed[0], ROUNDING) / missed[-1]) / 2)
