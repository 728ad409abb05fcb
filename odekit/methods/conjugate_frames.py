"""P and W of a conjugate integrator's step, as the equation of its change of variables has them."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from odekit.exceptions import MethodError
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.matrix import Acting, MatrixCoordinates
from odekit.fields.operator_predictions import semilinear
from odekit.fields.operator_weights import collocated
from odekit.fields.weights import moments, ratio, total, weights
from odekit.methods.damping import Damping
from odekit.operators import Block, Operator, Scalar
from odekit.processes.entries import block
from odekit.processes.linear import exponentials


def frame_of(damping: Damping, f: Coordinates, separate: bool = False) -> Frame:
    """The frame of B for coordinates; `separate`: each channel in that of its own diagonal entry alone."""
    if not separate and damping.multiple is not None and _has_closed_flow(f):
        return Multiple(damping, f)
    skips = f.prediction.name == "velocity" or f.prediction.skip is not None
    closed = damping.is_constant and not skips and _is_constant(f.process)
    kinds = (Separate, SeparateExponential) if separate else (Frame, Exponential)
    return kinds[closed](damping, f)


class Frame:
    """P and W by collocation of order 20, for every B, drift and C_skip: the definition itself."""

    def __init__(self, damping: Damping, f: Coordinates):
        self.B, self.f = damping, f

    def damping(self, at: Instant) -> Any:
        """B at an instant."""
        return Acting(self.B.at(at.time))

    def factors(self, to: Instant, at: Instant) -> tuple[Any, Any]:
        """(P, W) of the step from ``at`` to ``to``."""
        return self._collocated(self.forcing, to, at)

    def linear(self, t: Any) -> Operator:
        """A - B at times t."""
        B = self.B.at(t) if self.B.multiple is None else Scalar(self.B.number(t))
        return semilinear(self.f.prediction, self.f.process, t)[0] - B

    def forcing(self, t: Any) -> Operator:
        """What N is multiplied by in the flow, at times t."""
        return semilinear(self.f.prediction, self.f.process, t)[1] + 0 * self.linear(t)

    def _collocated(self, forcing: Callable[[Any], Operator], to: Instant, at: Instant) -> tuple[Acting, Acting]:
        if self.f.numbers.is_mpmath:
            raise MethodError(
                f"{self.B.name}: P has no closed form for this B and prediction on {type(self.f.process).__name__}, so"
                " that its digits are those of float64"
            )
        P, W = collocated(self.linear, forcing, to.time, at.time)
        return Acting(P), Acting(W)


class Multiple(Frame):
    """B = b I: P = exp(int b) Psi_A, and of W, the one of B = 0 and what b adds."""

    def damping(self, at: Instant) -> Any:
        return self.B.number(at.time)

    def factors(self, to: Instant, at: Instant) -> tuple[Any, Any]:
        flow, growth = ratio(self.f, to, at), self.B.growth(to.time, at.time)
        (more,) = moments(self.f, to, at, [lambda r: self.B.gain(to.time, r.time)])
        whole = total(self.f, to, at)
        if isinstance(self.f, MatrixCoordinates):
            whole, more, flow = map(_operator, (whole, more, flow))
            return Acting(growth * flow), Acting(whole + more)
        return growth * flow, whole + more


class Exponential(Frame):
    """A - B constant: P is its exponential, W by quadrature; in every number kind."""

    def factors(self, to: Instant, at: Instant) -> tuple[Any, Any]:
        P = Acting(self.propagator(self.f.process, to.time, at.time))
        return P, weights(self._weighing, to, at, (at,), "t")[0]

    @functools.cached_property
    def _weighing(self) -> Coordinates:
        weighing = copy.copy(self.f)
        weighing.prediction = replace(self.f.prediction, propagator=self.propagator, primitive=None)
        return weighing

    def propagator(self, process: Any, s: Any, r: Any) -> Block:
        """exp((s - r) (A - B))."""

        def formula(words: Any, h: Any, *entries: Any) -> tuple:
            a, b, c, d = (h * entry for entry in entries)
            half = (a - d) / 2
            even, odd = exponentials(words, (a + d) / 2, half * half + b * c)
            return (even + odd * half, odd * b), (odd * c, even - odd * half)

        return block(formula, s - r, *_entries(self.linear(r)))


class Separate(Frame):
    """Each channel in the frame of its own entries of A and B; what couples them is carried along, see `coupling`."""

    def damping(self, at: Instant) -> Any:
        return Acting(_part(self.B.at(at.time), own=True))

    def linear(self, t: Any) -> Operator:
        return _part(super().linear(t), own=True)

    def coupling(self, to: Instant, at: Instant) -> Acting:
        """int Psi_{A-B}(s, r) A_ij dr over the step, i other than j: what the other channel, held, adds to each."""
        return self._collocated(self._across, to, at)[1]

    def _across(self, t: Any) -> Operator:
        A = semilinear(self.f.prediction, self.f.process, t)[0]
        return _part(A + 0 * self.B.at(t), own=False)


class SeparateExponential(Separate, Exponential):
    """The same where A - B is constant."""

    def coupling(self, to: Instant, at: Instant) -> Acting:
        def formula(words: Any, h: Any, x: Any, b: Any, c: Any, m: Any) -> tuple:
            def mean(k: Any) -> Any:
                z = words.where(k * h == 0, 1 + 0 * k * h, k * h)
                return h * words.where(k * h == 0, 1 + 0 * z, words.expm1(z) / z)

            return (0 * h, b * mean(x)), (c * mean(m), 0 * h)

        x, _, _, m = _entries(self.linear(at.time))
        _, b, c, _ = _entries(self._across(at.time))
        return Acting(block(formula, to.time - at.time, x, b, c, m))


def _entries(matrix: Operator) -> tuple:
    return tuple(matrix.value[..., i, j] for i in (0, 1) for j in (0, 1))


def _part(matrix: Operator, own: bool) -> Block:
    """The diagonal of a block, or what is beside it."""
    mask = np.eye(2) if own else 1 - np.eye(2)
    return Block(matrix.value * (torch.from_numpy(mask) if torch.is_tensor(matrix.value) else mask))


def _operator(coefficient: Any) -> Operator:
    return coefficient.operator if isinstance(coefficient, Acting) else Scalar(coefficient)


def _has_closed_flow(f: Coordinates) -> bool:
    """Whether Psi_A need not be solved for."""
    if getattr(f.process, "carrier", None) != "block" or f.prediction.name == "velocity":
        return True
    return f.prediction.skip is None or f.prediction.propagator is not None


def _is_constant(process: Any) -> bool:
    """Whether F is the same at 33 Chebyshev points, as no polynomial of that degree is, and nothing periodic."""
    shares = (1 - torch.cos(torch.linspace(0, math.pi, 33, dtype=torch.float64))) / 2
    drifts = process.drift(process.t_min + shares * (process.t_max - process.t_min)).value
    return bool((drifts == drifts[0]).all())
