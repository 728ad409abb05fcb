"""Zero-stability of multistep methods on unequal steps: how fast steps may grow, and what any sequence can do."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import numpy as np

from odekit.algebra.multistep import Multistep


def differences(method: Multistep) -> np.ndarray:
    """How the step moves the differences of successive values where f = 0: a matrix, zero-stability is its powers'."""
    a = [-float(v) / float(method.alpha[0]) for v in method.alpha[1:]]
    matrix = np.eye(max(len(a) - 1, 1), k=-1)
    if len(a) > 1:
        matrix[0] = [-sum(a[i + 1 :]) for i in range(len(a) - 1)]
    return matrix


def ratio_limit(family: Callable[..., Multistep], order: int, maximum: float = 100.0) -> float:
    """How fast steps may grow, all in the same ratio, before a family's method stops being zero-stable.

    For BDF of order 2, exactly what bounds all step sequences; above it is a necessary bound only.
    Source: Grigorieff 1983; Hairer, Norsett, Wanner I, section III.5.

    >>> from odekit.algebra.multistep import bdf
    >>> [round(ratio_limit(bdf, k), 3) for k in (2, 3, 4, 5, 6)]
    [2.414, 1.618, 1.281, 1.127, 1.044]
    """

    def radius(ratio: float) -> float:
        matrix = differences(family(order, [Fraction(ratio)] * (order - 1)))
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    if order == 1 or radius(maximum) <= 1:
        return math.inf
    low = next((r for r in np.geomspace(maximum, 1, 2000) if radius(r) <= 1), None)
    if low is None:
        return 0.0
    low, high = float(low), float(low) * maximum ** (1 / 1999)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) <= 1 else (low, middle)
    return low


class Growth(NamedTuple):
    """Bounds of the growth per step over sequences of steps; below 1 is stable, `worst` are the ratios of `least`."""

    least: float
    most: float
    worst: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """ "stable" on the ratios tried, "unstable" (with the sequence that shows it), or "undetermined"."""
        return "unstable" if self.least > 1 + 1e-9 else "stable" if self.most < 1 else "undetermined"


def growth(family: Callable[..., Multistep], order: int, bound: float, length: int = 7) -> Growth:
    """How much differences can grow per step where ratios of steps are 1/bound, 1 or bound in any sequence.

    From below by periodic sequences (their spectral radius), from above by all products of `length` steps (the largest
    norm, in the frame of the eigenvectors at equal steps). "unstable" is a proof; "stable" holds for these ratios.

    >>> from odekit.algebra.multistep import bdf
    >>> [growth(bdf, k, bound).verdict for k, bound in ((2, 2.3), (2, 2.5), (3, 1.2), (3, 1.7))]
    ['stable', 'unstable', 'stable', 'unstable']
    """
    choices = (1 / bound, 1.0, bound)
    k = order - 1
    if k < 1:
        return Growth(0.0, 0.0, ())
    matrices = {w: differences(family(order, [Fraction(v) for v in w])) for w in product(choices, repeat=k)}
    _, frame = np.linalg.eig(matrices[(1.0,) * k])
    back = np.linalg.inv(frame)
    framed = {w: back @ m @ frame for w, m in matrices.items()}
    least, worst = 0.0, ()
    for period in range(1, min(length, 7) + 1):
        for ratios in product(choices, repeat=period):
            total = np.eye(len(frame))
            for i in range(period):  # newest ratio first in a window
                total = framed[tuple(ratios[(i - j) % period] for j in range(k))] @ total
            radius = float(np.abs(np.linalg.eigvals(total)).max()) ** (1 / period)
            if radius > least + 1e-12:
                least, worst = radius, ratios
    windows = {w: (np.eye(len(frame))[None], w) for w in product(choices, repeat=k)}
    level = {w: windows[w][0] for w in windows}
    most = math.inf
    for n in range(1, length + 1):
        following: dict[tuple, list] = {w: [] for w in level}
        for w, totals in level.items():
            for choice in choices:
                new = (choice, *w[:-1])
                following[new].append(framed[new] @ totals)
        level = {w: np.concatenate(parts) for w, parts in following.items()}
        largest = max(float(np.linalg.norm(t, 2, axis=(1, 2)).max()) for t in level.values())
        most = min(most, largest ** (1 / n))
    return Growth(least, most, worst)
