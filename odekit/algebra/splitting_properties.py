"""What can be said of a splitting or composition method for certain: its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from odekit.algebra.numbers import is_zero
from odekit.algebra.processing import processing
from odekit.algebra.proof import Proof
from odekit.algebra.splitting import MAX_ORDER, Splitting, error_terms, first_failure, to_digits
from odekit.algebra.splitting_files import Processed

LIMIT = 10
"""The order beyond which no condition is asked."""

Numbers = float | np.ndarray


@dataclass(frozen=True)
class BracketFailure:
    """A bracket of the parts whose coefficient in the modified field is not that of the field itself: 1 or 0."""

    bracket: str
    order: int
    found: Any
    wanted: int

    def __str__(self) -> str:
        return f"{self.bracket}: {_shown(self.found)}, not {self.wanted}"


class SplittingCertificate(Proof):
    """The numbers of one splitting, composition or processed method, each computed when it is asked for.

    >>> from odekit.algebra.compositions import get
    >>> strang = splitting_certificate(get("strang"))
    >>> strang.order, str(strang.failing[0]), strang.symmetric, strang.stages, strang.stability_interval
    (2, '[A,[A,B]]: -1/24, not 0', True, 1, 2.0)
    """

    family = "splitting"

    def __init__(self, method: Splitting | Processed):
        processed = isinstance(method, Processed)
        self.method: Splitting = method.whole if processed else method
        self.kernel: Splitting = method.kernel if processed else method
        self.name, self.claimed, self.is_processed = method.name, method.order, processed

    @cached_property
    def order(self) -> int:
        """The order: exactly for rational steps, to 60 digits for roots, else to the digits that are known."""
        return first_failure(self.method, LIMIT)[0]

    @cached_property
    def failing(self) -> tuple[BracketFailure, ...]:
        """The terms of the modified field at the first order at which it is not the field; none at order 10."""
        if self.order >= min(LIMIT, MAX_ORDER - 1):
            return ()
        digits = self.method.decimals
        limit = 0 if digits is None else 10.0 ** (3 - digits)
        grade = self.order + 1
        whole = self.method.parts if self.method.kind == "flows" else ("Y1",)
        terms = {k: v for k, v in self.error.items() if not is_zero(v, limit)}
        return tuple(
            BracketFailure(k, grade, v + 1 if k in whole else v, int(k in whole))
            for k, v in (terms or self.error).items()
        )

    @cached_property
    def error(self) -> dict[str, Any]:
        """The leading error, of order p + 1: the coefficients of the brackets of parts, or of Y1, Y2, ... of a base."""
        import mpmath

        digits = self.method.decimals
        if digits is None:
            return error_terms(self.method, self.order)
        with mpmath.workdps(digits + 15):
            return error_terms(self.method.at(digits + 15), self.order)

    @property
    def error_norm(self) -> float:
        """The 2-norm of the leading error in the basis of brackets on Lyndon words."""
        return sum(float(v) ** 2 for v in self.error.values()) ** 0.5

    @property
    def effective_error(self) -> float:
        """stages * norm^(1/order), the error at equal cost. Source: Blanes, Moan 2002."""
        return self.stages * self.error_norm ** (1 / max(self.order, 1))

    @cached_property
    def effective_order(self) -> int | None:
        """The order of the best method conjugate to it, asked up to 6; None for Nystroem methods and three parts."""
        if self.kernel.nystrom or self.kernel.kind == "flows" and not set(self.kernel.parts) <= {"A", "B"}:
            return None
        return max(processing(self.kernel, max(self.order, min(self.order + 2, 6))).order, self.order)

    @property
    def symmetric(self) -> bool:
        """Whether a step back undoes a step; with reversible parts the method is then time-reversible."""
        return self.method.is_symmetric

    @property
    def stages(self) -> int:
        """How often the costliest part is evaluated a step, a last flow shared with the next step."""
        return self.kernel.stages

    @cached_property
    def largest(self) -> float:
        """The largest coefficient in size."""
        return max(abs(float(v)) for _, v in self.method.flat())

    @cached_property
    def negative(self) -> tuple[str, ...]:
        """The parts that step back: all of them at orders above two (Sheng 1989; Suzuki 1991; Goldman, Kaper 1996)."""
        return tuple(sorted({x for x, v in self.method.as_flows().flat() if float(v) < 0}))

    def half_trace(self, h: Numbers) -> Numbers:
        """Half the trace of a step for q' = p, p' = -q, A the drift and B the kick; h is the step times the frequency.

        >>> from odekit.algebra.compositions import get
        >>> float(splitting_certificate(get("strang")).half_trace(1.0))
        0.5
        """
        q, p = np.stack([np.ones_like(h), np.zeros_like(h)]), np.stack([np.zeros_like(h), np.ones_like(h)])
        for x, a in self._steps:
            q, p = (q + a * h * p, p) if x == "A" else (q, p - a * h * q)
        return (q[0] + p[1]) / 2

    @cached_property
    def stability_interval(self) -> float | None:
        """The largest step, times the frequency, up to which the harmonic oscillator stays bounded; at most 2 stages.

        None for more than two parts. Source: Blanes, Casas, Murua 2008, On the linear stability of splitting methods.
        """
        if set(self.kernel.as_flows().parts) != {"A", "B"}:
            return None
        h = np.linspace(0, 2 * self.stages + 0.01, 2000 * self.stages)
        size = abs(self.half_trace(h))
        # Where size peaks between two nodes, the parabola through three of them says by how much.
        left, middle, right = size[:-2], size[1:-1], size[2:]
        at = np.flatnonzero((middle > left) & (middle > right) & (middle < 2))
        peak = middle.copy()
        peak[at] += (right - left)[at] ** 2 / (8 * (2 * middle - left - right)[at])
        beyond = np.flatnonzero(peak > 1 + 1e-9)
        if not len(beyond):
            return float(h[-1])
        low, high = h[beyond[0]], h[beyond[0] + 1] if middle[beyond[0]] > 1 else h[beyond[0] + 2]
        for _ in range(60):
            between = (low + high) / 2
            low, high = (between, high) if abs(self.half_trace(between)) <= 1 + 1e-12 else (low, between)
        return round(float(low), 9)

    @cached_property
    def _steps(self) -> list[tuple[str, float]]:
        return [(x, float(to_digits(v, 30))) for x, v in self.kernel.as_flows().flat()]

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        beyond = f"; next: {self.failing[0]}" if self.failing else " at least"
        rows = [("order", f"{self.order}{beyond}")]
        if self.effective_order is not None:
            rows.append(("effective order", f"{self.effective_order}, of the best method conjugate to it"))
        if self.failing:
            found = max(self.failing, key=lambda f: abs(float(f.found - f.wanted)))
            rows.append(("leading error", f"{self.error_norm:.10g}; largest {_shown(found.found)} at {found.bracket}"))
            rows.append(("effective error", f"{self.effective_error:.10g}, stages times norm to the 1/{self.order}"))
        interval = self.stability_interval
        return [
            *rows,
            ("made for", "A quadratic in the momenta, B a force" if self.kernel.nystrom else "any parts"),
            ("stages", str(self.stages)),
            ("symmetric", "yes" if self.symmetric else "no"),
            ("largest step", f"{self.largest:.10g}"),
            ("steps back", ", ".join(self.negative) or "none"),
            ("stability interval", "for two parts only" if interval is None else f"{interval:.10g}, h times frequency"),
        ]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        return {
            "kind": self.method.kind,
            "effective_order": self.effective_order,
            "error": {k: _shown(v) for k, v in self.error.items()} if self.failing else {},
            "error_norm": self.error_norm if self.failing else 0.0,
            "effective_error": self.effective_error if self.failing else 0.0,
            "nystrom": self.kernel.nystrom,
            "processed": self.is_processed,
            "stages": self.stages,
            "symmetric": self.symmetric,
            "largest_coefficient": self.largest,
            "negative_parts": list(self.negative),
            "stability_interval": self.stability_interval,
        }


def splitting_certificate(method: Splitting | Processed) -> SplittingCertificate:
    """The certificate of a splitting, composition or processed method.

    >>> from odekit.algebra.compositions import get
    >>> lie = splitting_certificate(get("trotter"))
    >>> lie.order, lie.effective_order, lie.findings()
    (1, 2, [])
    """
    return SplittingCertificate(method)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{float(value):.10g}"
