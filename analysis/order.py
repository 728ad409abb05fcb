"""The order of a method, read off a ladder of step sizes and errors, with an interval and a verdict.

The order is the *signed* slope of log error against log h. It is read where it means something: on the finest points
above the rounding floor. Coarse points never decide (a method whose start-up is of order two behaves like order four
until the start-up error is all that is left), and the claim never chooses the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odekit.exceptions import OdekitError

PASS, FAIL, UNDETERMINED = "pass", "fail", "undetermined"

WIDTH = 0.3  # an interval wider than this decides nothing
MARGIN = 0.1  # how far the interval may lie below the claim
SMOOTH = 0.1  # neighbouring slopes near the floor that differ by more are rounding
NEAR, RISING = 0.25, 0.005  # slopes that rise towards a claim this near do not refute it
HIGHER = 0.5  # an order this much above the claim is a finding
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class OrderEstimate:
    """What a ladder of errors says about the order.

    `slope` is the least-squares slope over the last three intervals of the window, `low` and `high` bound the last
    three local slopes and their limit h -> 0; `nan` where fewer than four points can be used. `window` holds indices
    into the ladder as given, coarse to fine; `asymptotic_from` is the step size the window begins with.
    """

    slope: float
    low: float
    high: float
    window: tuple[int, ...]
    asymptotic_from: float | None
    verdict: str
    reason: str
    claim: float | None = None
    limit: float = math.nan
    findings: tuple[str, ...] = ()

    @property
    def width(self) -> float:
        return self.high - self.low


def rounding_floor(scale: float, steps: np.ndarray | Sequence[int]) -> np.ndarray:
    """Errors below this are rounding: 10 eps * scale * sqrt(steps), for want of a measured floor.

    scale: typical norm of a state (same norm as the errors). steps: (n,) numbers of steps. Returns (n,).

    >>> float(rounding_floor(1.0, [100])[0]) < 3e-14
    True
    """
    return 10 * EPS * scale * np.sqrt(np.asarray(steps, dtype=float))


def local_slopes(h: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Signed slopes of log error against log h between neighbours, (n,), (n,) -> (n-1,).

    >>> local_slopes(np.array([1.0, 0.5, 0.25]), np.array([1.0, 4.0, 16.0])).tolist()
    [-2.0, -2.0]
    """
    return np.diff(np.log(errors)) / np.diff(np.log(h))


def estimate_order(
    h: np.ndarray | Sequence[float],
    errors: np.ndarray | Sequence[float],
    claim: float | None = None,
    floor: float | np.ndarray | Sequence[float] = 100 * EPS,
) -> OrderEstimate:
    """The order of a method from errors at several step sizes, with an interval, and the verdict on a claim.

    h: (n,) step sizes, any order, any ratios (1/N serves). errors: (n,) not negative; nan or inf where a solve blew
    up. floor: scalar or (n,), errors at or below it are rounding (see `rounding_floor`). claim: the order claimed.

    pass: the interval is at most 0.3 wide and begins at most 0.1 below the claim; fail: it ends more than 0.1 below
    the claim; else undetermined, with the reason in one sentence. A diverging method has a negative order.
    Raises OdekitError for step sizes that are not positive, finite and distinct, and for negative errors.

    >>> h = [1/8, 1/16, 1/32, 1/64, 1/128]
    >>> estimate_order(h, [x**4 for x in h], claim=4).verdict
    'pass'
    >>> estimate_order(h, [x**-2 for x in h], claim=2).slope
    -2.0
    """
    h, errors, floor = _checked(h, errors, floor)
    order = np.argsort(-h, kind="stable")
    h, errors, floor = h[order], errors[order], floor[order]

    broken = np.flatnonzero(~np.isfinite(errors))
    if broken.size and broken[-1] == len(h) - 1:
        return _blown_up(claim)
    first = broken[-1] + 1 if broken.size else 0
    first, last = _above_the_floor(h, errors, floor, first)
    if last - first < 3:
        return _too_few(errors, first, last, order, claim)

    slopes = local_slopes(h[first : last + 1], errors[first : last + 1])
    length = _window_length(slopes)
    low, high, limit = _interval(h[last - length : last + 1], slopes[-length:])
    window = order[last - length : last + 1]
    slope = float(np.polyfit(np.log(h[last - 3 : last + 1]), np.log(errors[last - 3 : last + 1]), 1)[0])
    slope = min(max(slope, low), high)
    verdict, reason, findings = _verdict(slope, low, high, slopes[-3:], claim)
    settled = high - low <= WIDTH
    return OrderEstimate(
        slope=slope,
        low=low,
        high=high,
        window=tuple(int(i) for i in window),
        asymptotic_from=float(h[last - length]) if settled else None,
        verdict=verdict,
        reason=reason,
        claim=claim,
        limit=limit,
        findings=findings,
    )


def _checked(h, errors, floor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h, errors = np.asarray(h, dtype=float), np.asarray(errors, dtype=float)
    if h.ndim != 1 or h.shape != errors.shape:
        raise OdekitError(f"a ladder needs as many errors as step sizes: got shapes {errors.shape} and {h.shape}")
    if not (np.isfinite(h).all() and (h > 0).all() and len(np.unique(np.log(h))) == len(h)):
        raise OdekitError("the step sizes of a ladder must be positive, finite and distinct")
    if (errors < 0).any():
        raise OdekitError(f"an error cannot be negative: got {errors.min():g}; pass its norm")
    floor = np.broadcast_to(np.asarray(floor, dtype=float), h.shape)
    if not (np.isfinite(floor).all() and (floor >= 0).all()):
        raise OdekitError("the rounding floor must be finite and not negative")
    return h, errors, np.maximum(floor, np.finfo(float).tiny)


def _above_the_floor(h: np.ndarray, errors: np.ndarray, floor: np.ndarray, first: int) -> tuple[int, int]:
    """First and last index that can be used, at least up to the last clear signal.

    Clear is an error so far above the floor that rounding cannot move the last slope by SMOOTH. Between
    there and the floor rounding may or may not show: points are kept as long as their slope continues the one before
    (a plateau or a zigzag is where rounding begins), and of the ends this leaves, the one with the narrowest interval
    is taken.
    """
    gaps = -np.diff(np.log(h))
    spacing = np.maximum(1e-6, np.append(gaps[:1], gaps)) if gaps.size else np.ones(len(h))
    clear = np.flatnonzero((errors > math.sqrt(2) / (SMOOTH * spacing) * floor)[first:])
    if not clear.size:
        return first, first - 1
    last = first + int(clear[-1])
    under = np.flatnonzero(errors[first:last] <= floor[first:last])
    first += int(under[-1]) + 1 if under.size else 0
    ends = [last]
    while ends[-1] + 1 < len(h) and errors[ends[-1] + 1] > floor[ends[-1] + 1]:
        end = ends[-1] + 1
        slopes = local_slopes(h[first : end + 1], errors[first : end + 1])
        if slopes[-1] < SMOOTH or (len(slopes) >= 2 and abs(slopes[-1] - slopes[-2]) > SMOOTH):
            break
        ends.append(end)
    wide = [end for end in ends if end - first >= 3]
    return first, min(wide, key=lambda end: _width(h[first : end + 1], errors[first : end + 1]), default=ends[-1])


def _width(h: np.ndarray, errors: np.ndarray) -> float:
    slopes = local_slopes(h, errors)
    length = _window_length(slopes)
    low, high, _ = _interval(h[-length - 1 :], slopes[-length:])
    return high - low


def _window_length(slopes: np.ndarray) -> int:
    """How many slopes, counted from the finest, stay within WIDTH of the last one; three at least."""
    off = np.flatnonzero(np.abs(slopes - slopes[-1]) > WIDTH)
    return max(3, len(slopes) - 1 - int(off[-1]) if off.size else len(slopes))


def _interval(h: np.ndarray, slopes: np.ndarray) -> tuple[float, float, float]:
    """Range of the last three slopes and of their limit h -> 0; (n+1,), (n,) -> low, high, limit.

    For e = C h^p exp(D h) the slope between two steps is p + D m, m their logarithmic mean, exactly: the limit is
    that of the straight line through the slopes of the window, over m or a power of it, whichever fits them best.
    (Through the last two alone it would cost 2.4 times their noise on a ladder of ratio sqrt 2.) Slopes that are
    still on their way get an interval that says so: it reaches as far beyond the limit as the limit lies beyond the
    last slope, and where it is wider than WIDTH, by the excess again on either side (an error that only grows is
    settled enough).
    """
    mean = np.diff(h) / np.diff(np.log(h))
    mean, slopes = mean[-6:], slopes[-6:]
    limit = min((_straight(mean**power, slopes) for power in (1, 2, 3)), key=lambda fit: fit[1])[0]
    reach = [*slopes[-3:], limit]
    if max(reach) - min(reach) > WIDTH:
        reach.append(2 * limit - slopes[-1])
    diverging = max(slopes[-3:]) < 0
    unsettled = 0.0 if diverging else max(0.0, max(reach) - min(reach) - WIDTH)
    return float(min(reach) - unsettled), float(max(reach) + unsettled), limit


def _straight(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Value at zero of the straight line through points, and the sum of squares it leaves."""
    line = np.polyfit(x, y, 1)
    return float(line[1]), float(np.square(np.polyval(line, x) - y).sum())


def _verdict(slope, low, high, slopes, claim) -> tuple[str, str, tuple[str, ...]]:
    shown = f"observed order {slope:.2f} in [{low:.2f}, {high:.2f}]"
    if claim is None:
        return UNDETERMINED, f"no order was claimed; {shown}", ()
    if high < claim - MARGIN and claim - high < NEAR and slopes[-1] - slopes[0] > RISING:
        trail = ", ".join(f"{s:.2f}" for s in slopes)
        return UNDETERMINED, f"the last slopes {trail} still rise towards the claimed {claim:g}: {shown}", ()
    if high < claim - MARGIN:
        diverges = " (the error grows as the step shrinks)" if high < 0 else ""
        return FAIL, f"{shown} lies below the claimed {claim:g}{diverges}", ()
    if high - low > WIDTH:
        trail = ", ".join(f"{s:.2f}" for s in slopes)
        return UNDETERMINED, f"the last slopes {trail} have not settled: interval [{low:.2f}, {high:.2f}]", ()
    if low < claim - MARGIN:
        return UNDETERMINED, f"the interval [{low:.2f}, {high:.2f}] straddles the claimed {claim:g}", ()
    if low > claim + HIGHER:
        return PASS, f"{shown}", (f"{shown}, higher than the claimed {claim:g}",)
    return PASS, shown, ()


def _blown_up(claim: float | None) -> OrderEstimate:
    verdict = UNDETERMINED if claim is None else FAIL
    reason = "the solve at the smallest step is not finite: the method does not converge here"
    return OrderEstimate(math.nan, math.nan, math.nan, (), None, verdict, reason, claim)


def _too_few(errors, first, last, order, claim) -> OrderEstimate:
    count = max(0, last - first + 1)
    if count == 0:
        reason = "every error lies at the rounding floor: the method is exact on this problem"
    else:
        reason = f"only {count} of {len(errors)} errors can be used, four are needed: add steps above the floor"
    window = tuple(int(i) for i in order[first : last + 1])
    return OrderEstimate(math.nan, math.nan, math.nan, window, None, UNDETERMINED, reason, claim)
