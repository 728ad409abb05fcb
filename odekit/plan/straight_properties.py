"""Certificates of one-step methods that are a tableau only once the step is known: stages where a clock puts them.

In the straight clock of its prediction one step of length h is an explicit tableau A(h), b(h). It is of order p where

    Phi_h(tree) - 1/gamma(tree) = O(h^(p + 1 - |tree|))

for all trees: those up to order p need not hold exactly, they have to be approached fast enough. Pseudo numerical
methods (PRK, DPM-2) and extrapolated ones are of this kind.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from odekit.algebra.proof import Proof
from odekit.algebra.runge_kutta import elementary_weights
from odekit.algebra.trees import AlgebraError, Tree, table
from odekit.expressions import mpfield
from odekit.fields.coordinates import Coordinates, Instant
from odekit.methods.adams_properties import CLOCKS, DIGITS, EXACT
from odekit.plan.build import segments
from odekit.plan.program import Plan
from odekit.processes import VP

SIZES = (512, 1024)
BEGIN = 0.4  # in the time of VP, where every clock bends


class StraightCertificate(Proof):
    """Which trees a step gets right, and how fast the others are approached as it shrinks: computed, not proved.

    >>> from odekit.methods import get
    >>> StraightCertificate(get("prk")).failing
    ('[tau]: 0.5004 at h = 1/1024, off like h^1, not 1/2',)
    """

    def __init__(self, method: Any):
        if method.history or str(method.prediction) not in CLOCKS:
            raise AlgebraError(f"{method.name} is no one-step method in a straight clock ({', '.join(CLOCKS)})")
        self.method, self.name, self.family = method, method.name, method.family
        self.claimed: int | None = method.order.formula
        self.trees = table((self.claimed or 3) + 1)

    @cached_property
    def gaps(self) -> dict[Tree, tuple[float, float]]:
        """For each tree: Phi - 1/gamma at the smaller step, and its rate, infinite where nothing is left."""
        import mpmath

        with mpmath.workdps(DIGITS):
            wanted = [mpmath.mpf(1) / int(density) for density in self.trees.density[1:]]
            found = [elementary_weights(self.trees, *self._tableau(1 / n))[1:] for n in SIZES]
            zero = mpmath.mpf(10) ** (12 - DIGITS)
            result = {}
            for i, want in enumerate(wanted):
                a, b = (weights[i] - want for weights in found)
                exact = abs(a) <= zero and abs(b) <= zero
                result[self.trees[i + 1]] = (float(b), EXACT if exact else float(mpmath.log(abs(a / b), 2)))
            return result

    def _tableau(self, h: float) -> tuple[np.ndarray, np.ndarray]:
        """A (1, s, s) and b (1, s) of one step of VP, of length h in t."""
        process, own = VP(), str(self.method.prediction)
        flow = type("Flow", (), {"process": process, "prediction": own, "model": None})
        grid = torch.tensor([BEGIN, BEGIN - h], dtype=torch.float64)
        made = segments(self.method, flow, grid, precision=DIGITS)
        dense = Plan(tuple(made), own, process, precision=DIGITS).dense()
        f = Coordinates(flow, own, numbers=mpfield(DIGITS))
        start, end = (Instant(f.numbers.number(float(t))) for t in grid)
        step = f.clock(end) - f.clock(start)
        scales = np.array([f.scale(Instant(t)) for t in dense.times], dtype=object)
        return (dense.inputs[:, 1:] / scales[:, None] / step)[None], (dense.output[1:] / f.scale(end) / step)[None]

    @property
    def order(self) -> int:
        """What every tree allows: one less than the smallest of its order and rate together."""
        seen = self.trees.order
        return min([seen, *(t.order + round(rate) - 1 for t, (_, rate) in self.gaps.items() if rate != EXACT)])

    @property
    def failing(self) -> tuple[str, ...]:
        """The first tree that holds the order back."""
        for tree, (gap, rate) in self.gaps.items():
            if rate != EXACT and tree.order + round(rate) - 1 == self.order:
                value = 1 / float(tree.density) + gap
                off = f"off like h^{round(rate)}" if round(rate) else "whatever h"
                return (f"{tree}: {value:.4g} at h = 1/{SIZES[1]}, {off}, not 1/{tree.density}",)
        return ()

    def findings(self) -> list[str]:
        """Claims that do not hold."""
        if self.claimed is None or self.order >= self.claimed:
            return []
        return [f"order {self.order}, not {self.claimed} as claimed: {self.failing[0]}"]

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        exact = sum(rate == EXACT for _, rate in self.gaps.values())
        clock = CLOCKS[str(self.method.prediction)]
        next_one = f"; next: {self.failing[0]}" if self.failing else " at least"
        return [
            ("route", f"the tableau of one step in {clock}, as the step shrinks"),
            ("consistency", "yes" if self.order >= 1 else f"no: {self.failing[0]}"),
            ("order", f"{self.order}{next_one}"),
            ("trees that hold exactly", f"{exact} of {len(self.gaps)}"),
        ]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        rates = {str(t): [gap, None if rate == EXACT else rate] for t, (gap, rate) in self.gaps.items()}
        return {"trees": rates}

    def __repr__(self) -> str:
        return f"<certificate of {self.name}: order {self.order}, by its tableau as the step shrinks>"
