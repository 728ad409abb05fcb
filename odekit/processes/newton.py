"""Times from noise levels where no closed form exists: a safeguarded Newton iteration on tensors and mpmath numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Function = Callable[[Any], Any]

REACH = 700.0  # the search covers |log t| <= 700: e^700 leaves room for a product in float64


def newton(logsnr: Function, rate: Function, target: Any, domain: tuple[float, float]) -> Any:
    """The t in `domain` with logsnr(t) = target, for a logsnr that decreases; `target` float, float64 tensor or mpf.

    Works in u = log(t - lo), or log((t - lo)/(hi - t)), where log-SNR is nearly straight towards both ends.
    """
    if isinstance(target, torch.Tensor):
        return _on_tensors(logsnr, rate, target, domain)
    if isinstance(target, float):
        return _on_tensors(logsnr, rate, torch.tensor(target, dtype=torch.float64), domain).item()
    return _on_mpmath(logsnr, rate, target, domain)


def _on_tensors(logsnr: Function, rate: Function, target: torch.Tensor, domain: tuple[float, float]) -> torch.Tensor:
    """Search without a graph, then two Newton steps in t with one.

    A Newton step doubles the number of right digits and of right derivatives: after two, autograd through the result is
    the implicit function's to third order.
    """

    def polished(t: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            t = t - (logsnr(t) - target) / rate(t)
        return t

    with torch.no_grad():
        u = _search(logsnr, rate, target, domain)
        found, _ = _chart(u, domain, torch.exp)
        found = torch.where(u.abs() > REACH - 1e-3, torch.where(u > 0, domain[1], domain[0]), found)
        inside = (found > domain[0]) & (found < domain[1])
        middle, _ = _chart(torch.zeros_like(found), domain, torch.exp)
        start = torch.where(inside, found, middle)
        # a target beyond what float64 can tell from the end of the domain is left to the search
        settled = inside & ((polished(start, target) - found).abs() <= 1e-6 * found.abs())
        start = torch.where(settled, found, middle)
        stand_in = logsnr(middle)
    return torch.where(settled, polished(start, torch.where(settled, target, stand_in)), found)


def _on_mpmath(logsnr: Function, rate: Function, target: Any, domain: tuple[float, float]) -> Any:
    """Newton at the ambient precision from the float64 solution."""
    from mpmath import mp

    u = mp.mpf(_search(logsnr, rate, torch.tensor(float(target), dtype=torch.float64), domain).item())
    for _ in range(200):
        t, slope = _chart(u, domain, mp.exp)
        step = (logsnr(t) - target) / (rate(t) * slope)
        if not mp.isfinite(step):  # t has been rounded to the end of the domain
            break
        u -= step
        if abs(step) <= 4 * mp.eps * (1 + abs(u)):
            break
    return _chart(u, domain, mp.exp)[0]


def _chart(u: Any, domain: tuple[float, float], exp: Function) -> tuple[Any, Any]:
    """t(u) and dt/du: the real line onto the domain."""
    low, high = domain
    if math.isinf(high):
        return low + exp(u), exp(u)
    weight = exp(-abs(u))
    near, far = (high - low) * weight / (1 + weight), (high - low) / (1 + weight)
    slope = near / (1 + weight)
    if isinstance(u, torch.Tensor):
        return torch.where(u < 0, low + near, low + far), slope
    return low + (near if u < 0 else far), slope


def _search(logsnr: Function, rate: Function, target: torch.Tensor, domain: tuple[float, float]) -> torch.Tensor:
    """u with logsnr(t(u)) = target to the last digit or so; where no u within reach has it, the edge.

    Newton steps that leave the bracket or fail to halve are replaced by bisection (rtsafe; Press et al. 2007, 9.4).
    """
    left, right = torch.full_like(target, -REACH), torch.full_like(target, REACH)
    u, last = torch.zeros_like(target), 2 * right
    for _ in range(400):
        t, slope = _chart(u, domain, torch.exp)
        gap = logsnr(t) - target
        left, right = torch.where(gap > 0, u, left), torch.where(gap > 0, right, u)
        proposal = u - gap / (rate(t) * slope)
        # NaN (an end reached in rounding) compares false and bisects
        good = (proposal > left) & (proposal < right) & (2 * (proposal - u).abs() <= last.abs())
        new = torch.where(good, proposal, (left + right) / 2)
        last, u = new - u, new
        if bool((last.abs() <= 1e-15 * (1 + u.abs())).all()):
            break
    return u
