"""Climbing a ladder of step counts until the order can be read, or rounding or the budget ends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.order import OrderEstimate, estimate_order

RATIO = math.sqrt(2.0)
SETTLED = 0.03  # width of the interval, limit included, at which more points would change nothing
SMALL = 1e-4  # a settled slope is trusted only when the error has become this small (relative to the scale)
LEAST = 7  # points before a ladder may stop early
COARSE = 40  # steps: an error that is rounding from here on has had no asymptotic range
FILLED = 7  # rungs between which rungs are added


@dataclass(frozen=True)
class Ladder:
    """Step counts, errors (nan where a solve was not finite), evaluations and what they say about the order.

    rounded_at: the number of steps from which on the error was seen to be rounding.
    """

    steps: tuple[int, ...]
    errors: tuple[float, ...]
    evaluations: tuple[int, ...]
    estimate: OrderEstimate
    rounded_at: int | None = None

    @property
    def asymptotic_from(self) -> int | None:
        """The smallest number of steps inside the asymptotic window."""
        return self.steps[self.estimate.window[0]] if self.estimate.asymptotic_from else None

    @property
    def asymptotic_to(self) -> int | None:
        """The largest: beyond it there is rounding."""
        return self.steps[self.estimate.window[-1]] if self.estimate.asymptotic_from else None

    @property
    def too_short(self) -> bool:
        """Whether rounding ended it while its grids were coarse: no telling what would be asymptotic."""
        return self.rounded_at is not None and self.rounded_at < COARSE


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
    floor: Callable[[int], float] = lambda steps: 1e-14,
    scale: float = 1.0,
    budget: int = 20_000,
    adapt: bool = True,
    period: int = 1,
) -> Ladder:
    """Measure errors at growing step counts; (error, evaluations) = error_at(steps), rounding = floor(steps).

    The ladder ends below the rounding floor, when the evaluations spent reach `budget`, or, with `adapt`, when the
    slope has settled at a small error. With `adapt` a ladder that has reached rounding before its slope settled (the
    error of a method of order eight is gone after five rungs) gets rungs between its last ones, multiples of `period`.
    None of this looks at the claim, so the claim cannot choose its window.
    """
    rungs_done: dict[int, tuple[float, int]] = {}
    under, rounded_at = 0, None
    for n in steps:
        if rungs_done and _spent(rungs_done) + max(n, rungs_done[max(rungs_done)][1] * n / max(rungs_done)) > budget:
            break
        rungs_done[n] = error_at(n)
        error = rungs_done[n][0]
        under = under + 1 if error <= floor(n) else 0
        if under == 2:
            rounded_at = n
            break
        if adapt and len(rungs_done) >= LEAST and error < SMALL * scale:
            so_far = _estimate(rungs_done, None, floor)
            if so_far.width <= SETTLED and len(so_far.window) >= 5 and so_far.window[-1] == len(rungs_done) - 1:
                break
    if adapt and rounded_at and not _estimate(rungs_done, None, floor).width <= SETTLED:
        last = sorted(rungs_done)[-FILLED:]
        between = {period * round(math.sqrt(a * b) / period) for a, b in zip(last[:-1], last[1:], strict=True)}
        rungs_done |= {n: error_at(n) for n in sorted(between - set(last))}
    done = dict(sorted(rungs_done.items()))
    errors, evaluations = zip(*done.values(), strict=True) if done else ((), ())
    return Ladder(tuple(done), errors, evaluations, _estimate(done, claim, floor), rounded_at)


def _spent(done: dict[int, tuple[float, int]]) -> int:
    """Evaluations so far; a step costs one at least, though a sampler that asks for none would run for ever."""
    return sum(max(n, evaluations) for n, (_, evaluations) in done.items())


def _estimate(done: dict[int, tuple[float, int]], claim: float | None, floor: Callable[[int], float]) -> OrderEstimate:
    steps = np.array(list(done), dtype=float)
    errors = [error for error, _ in done.values()]
    return estimate_order(1 / steps, errors, claim, [floor(n) for n in done])
