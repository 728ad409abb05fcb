"""Certificates of gDDIM's formulas: the moments of their weights, which are matrices, in phase space.

    sum_j C_j (t_j - t)^m = int_t^s Psi(s, r) B_r (r - t)^m dr,    m = 0, 1, ...

What interpolates through k outputs has the first k of them exactly, whatever the step, and an order of k.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from odekit.fields.coordinates import Instant
from odekit.fields.matrix import MatrixCoordinates
from odekit.fields.operator_weights import propagator
from odekit.fields.weights import weights
from odekit.methods.adams_properties import EXACT, STEPS, MomentsCertificate
from odekit.processes import PSLD

BEGIN, SIZES = 0.4, (64, 128)
ROUNDING = 1e-12
POINTS = 40  # of Gauss in the square root of time, in which coefficients are smooth


class OperatorMoments(MomentsCertificate):
    """The order of interpolating weights in the frame of a factor, on uneven steps of PSLD in float64: computed.

    >>> OperatorMoments(2, False, "r-noise").order
    2
    """

    finest = SIZES[1]

    def __init__(self, points: int, implicit: bool, prediction: str):
        self.points, self.implicit, self.clock, self.rule = points, implicit, "t", "interpolating"
        self.prediction, self.name = prediction, f"{points} points of the {prediction} in t"

    @cached_property
    def moments(self) -> list[tuple[float, float]]:
        """For m = 0, ..., points: the largest entry of what is left at the finer step, and its rate."""
        coarse, fine = (self._left(1 / n) for n in SIZES)
        return [
            (left, EXACT if left <= ROUNDING * terms else float(np.log2(before / left)))
            for (before, _), (left, terms) in zip(coarse, fine, strict=True)
        ]

    def _left(self, h: Any) -> list[tuple[float, float]]:
        """For each m the largest entry of what is left, and that of the terms it is the sum of."""
        flow = type("Flow", (), {"process": PSLD(Gamma=0.5, nu=2.5), "prediction": self.prediction, "model": None})
        f = MatrixCoordinates(flow, self.prediction)
        lengths = [float(text) * h for text in STEPS[: self.points]]  # the last step first: time runs down
        instants = [Instant(BEGIN - lengths[0] + sum(lengths[:j])) for j in range(self.points + 1)]
        to, at = instants[:2]
        nodes = instants[: self.points] if self.implicit else instants[1:]
        found = [part.operator.value for part in weights(f, to, at, tuple(nodes), self.clock, self.rule)]
        x, mass = np.polynomial.legendre.leggauss(POINTS)
        start, end = at.time**0.5, to.time**0.5
        roots, density = (start + end + (end - start) * x) / 2, (end - start) / 2 * mass
        kernel = [
            2 * root * (propagator(f, to.time, root**2) @ f.prediction.semilinear(f.process, root**2)[1]).value
            for root in roots.tolist()
        ]
        left = []
        for m in range(self.points + 1):
            wanted = sum(d * (r**2 - at.time) ** m * part for d, r, part in zip(density, roots, kernel, strict=True))
            terms = [(node.time - at.time) ** m * part for node, part in zip(nodes, found, strict=True)]
            left.append((float(abs(sum(terms) - wanted).max()), float(max(abs(term).max() for term in terms) or 1.0)))
        return left
