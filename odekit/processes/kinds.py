"""The number kinds a coefficient function takes: python float, float64 tensor, mpmath number, arrays of either."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..exceptions import OdekitError


class Floats:
    """Decisions on python floats, in words that also fit tensors."""

    @staticmethod
    def where(condition: bool, yes: Any, no: Any) -> Any:
        return yes if condition else no

    any = staticmethod(bool)
    isfinite = staticmethod(math.isfinite)
    isinf = staticmethod(math.isinf)

    @staticmethod
    def log(x: float) -> float:
        return math.log(x) if x > 0 else -math.inf

    @staticmethod
    def clip(x: Any, low: float, high: float) -> Any:
        return min(max(x, low), high)


class Tensors:
    """The same on float64 tensors, elementwise."""

    @staticmethod
    def where(condition: torch.Tensor, yes: Any, no: Any) -> torch.Tensor:
        # two python numbers would give torch's default dtype
        return torch.where(condition, *(torch.as_tensor(v, dtype=torch.float64) for v in (yes, no)))

    @staticmethod
    def any(condition: torch.Tensor) -> bool:
        return bool(condition.any())

    isfinite = staticmethod(torch.isfinite)
    isinf = staticmethod(torch.isinf)
    log = staticmethod(torch.log)
    clip = staticmethod(torch.clamp)


class Mpmath(Floats):
    """The same on mpmath numbers, at the ambient precision."""

    @staticmethod
    def isfinite(x: Any) -> bool:
        from mpmath import mp

        return bool(mp.isfinite(x))

    @staticmethod
    def isinf(x: Any) -> bool:
        from mpmath import mp

        return bool(mp.isinf(x))

    @staticmethod
    def log(x: Any) -> Any:
        from mpmath import mp

        return mp.log(x) if x > 0 else mp.ninf


def number(x: Any) -> tuple[type, Any]:
    """The kind of a number and the number in it: ints become floats, tensors float64."""
    if isinstance(x, torch.Tensor):
        if x.is_complex() or x.dtype == torch.bool:
            raise OdekitError(f"expected a real number or float64 tensor, not a tensor of {x.dtype}")
        return Tensors, x.to(torch.float64)
    if isinstance(x, (float, int, np.floating, np.integer)) and not isinstance(x, bool):
        return Floats, float(x)
    from mpmath import mpf

    if isinstance(x, mpf):
        return Mpmath, mpf(x)
    raise OdekitError(f"expected a float, a float64 tensor or an mpmath number, not {type(x).__name__}")


def elementwise(function: Callable[[Any], Any], x: Any) -> Any:
    """`function` on a number or tensor; on a NumPy array too, object arrays (of mpmath numbers) element by element."""
    if not isinstance(x, np.ndarray):
        return function(x)
    if x.dtype == object:
        with np.errstate(all="ignore"):  # NumPy looks at hardware flags that mpmath's numbers never set on purpose
            return np.frompyfunc(function, 1, 1)(x)
    return function(torch.from_numpy(np.ascontiguousarray(x))).numpy()
