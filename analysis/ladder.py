"""Climbing a ladder of step counts until the order can be read, or rounding or the budget ends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.order import EPS, OrderEstimate, estimate_order, rounding_floor

RATIO = math.sqrt(2.0)
SETTLED = 0.1  # interval width at which more points would change nothing
SMALL = 1e-4  # a settled slope is trusted only when the error has become this small (relative to the scale)
LEAST = 7  # points before a ladder may stop early


@dataclass(frozen=True)
class Ladder:
    """Step counts, errors (nan where a solve was not finite), evaluations and what they say about the order."""

    steps: tuple[int, ...]
    errors: tuple[float, ...]
    evaluations: tuple[int, ...]
    estimate: OrderEstimate

    @property
    def asymptotic_from(self) -> int | None:
        """The smallest number of steps inside the asymptotic window."""
        start = self.estimate.asymptotic_from
        return None if start is None else round(1 / start)


def rungs(first: int, ratio: float = RATIO) -> list[int]:
    """Distinct step counts in a constant ratio, rounded, from `first` to about a million.

    >>> rungs(4)[:6]
    [4, 6, 8, 11, 16, 23]
    """
    counts = [round(first * ratio**i) for i in range(200) if first * ratio**i < 2**20]
    return list(dict.fromkeys(counts))


def climb(
    error_at: Callable[[int], tuple[float, int]],
    steps: list[int],
    claim: float | None = None,
    scale: float = 1.0,
    reference_error: float = 0.0,
    budget: int = 20_000,
    early: bool = True,
) -> Ladder:
    """Measure errors at growing step counts; (error, evaluations) = error_at(steps).

    The ladder ends below the rounding floor, when the evaluations spent reach `budget`, or, with `early`, when the
    slope has settled at a small error. None of these looks at the claim, so the claim cannot choose its window.
    """
    done: list[int] = []
    errors: list[float] = []
    evaluations: list[int] = []
    below = 0
    for n in steps:
        if done and sum(evaluations) + evaluations[-1] * n / done[-1] > budget:
            break
        error, used = error_at(n)
        done.append(n)
        errors.append(error)
        evaluations.append(used)
        floor = float(rounding_floor(scale, [n], reference_error)[0])
        below = below + 1 if error <= floor else 0
        if below == 2:
            break
        if early and len(done) >= LEAST and error < SMALL * scale:
            so_far = _estimate(done, errors, None, scale, reference_error)
            if so_far.width <= SETTLED and len(so_far.window) >= 5 and done[so_far.window[-1]] == n:
                break
    estimate = _estimate(done, errors, claim, scale, reference_error)
    return Ladder(tuple(done), tuple(errors), tuple(evaluations), estimate)


def _estimate(steps, errors, claim, scale, reference_error) -> OrderEstimate:
    floor = rounding_floor(scale, steps, reference_error) if steps else 100 * EPS
    return estimate_order(1 / np.asarray(steps, dtype=float), errors, claim, floor)
