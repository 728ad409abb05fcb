"""Test problems that are sums of parts, with what each can testify of splitting methods.

The error of a splitting of order p is a combination of brackets of the parts of grade p + 1; a problem testifies to
order q when the brackets of every grade up to q, on Lyndon words, are linearly independent along its solutions. Where
the kinetic energy is quadratic and the potential a function of position, [B,[B,[B,A]]] = 0 and its kin hide: such a
problem testifies for Nystroem methods, which count on that, and to order three for all others. The tests compute the
brackets and find these ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from odekit.fields.parts import Part, SplitField, linear, shear
from odekit.fields.problems import Excitation, Problem, problem


@dataclass(frozen=True, eq=False)
class SplitProblem(Problem):
    """A problem whose field is made of parts: `excitation` speaks of trees, `brackets` and `nystrom` of splittings."""

    brackets: Excitation | None = None
    nystrom: Excitation | None = None

    def solution(self, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The states at t and an error estimate each: as `Problem.solution`, all starts of the batch at once."""
        t = float(t)
        if self.exact is None and t not in self._references:
            from odekit.solve import reference

            found = reference(self.field, self.x0, t, t_start=self.t_start)
            self._references[t] = found.x, found.error
        return super().solution(t)

    def testimony(self, method: Any) -> Excitation:
        """What it can testify of a method: of splittings by brackets, of Nystroem's by those that are left to them."""
        if getattr(method, "family", "") != "splitting":
            return self.excitation
        return self.nystrom if getattr(method, "nystrom", False) else self.brackets


WAVES = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, -1.0, 1.0]], dtype=torch.float64)
HEIGHTS = torch.tensor([1.0, 1 / 2, 1 / 3, 1 / 4], dtype=torch.float64)
PHASES = torch.tensor([0.0, 0.0, 0.0, torch.pi / 2], dtype=torch.float64)
MASS = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


def _force(q: torch.Tensor) -> torch.Tensor:
    """Minus the gradient of V = -cos q1 - cos(q2)/2 - cos(q1 - q2)/3 + sin(q1 + q2)/4: two pendulums and a spring."""
    waves = WAVES.to(q)
    return (HEIGHTS.to(q) * torch.sin(q @ waves + PHASES.to(q))) @ -waves.T


def _canonical(drift: Callable[[torch.Tensor], torch.Tensor], force: Callable[[torch.Tensor], torch.Tensor]) -> dict:
    """The parts A (positions move) and B (momenta move) of q' = drift(p), p' = force(q), states (B, 2, d)."""

    def of_drift(x: torch.Tensor, t: Any) -> torch.Tensor:
        p = x[..., 1, :]
        return torch.stack([drift(p), torch.zeros_like(p)], -2)

    def of_force(x: torch.Tensor, t: Any) -> torch.Tensor:
        q = x[..., 0, :]
        return torch.stack([torch.zeros_like(q), force(q)], -2)

    return {"A": shear(of_drift), "B": shear(of_force)}


def _states(*rows: Any) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


_STARTS = torch.rand(12, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
"""Several, because where the leading error of one changes sign, that of the others does not."""


@problem("pendulums")
def pendulums() -> Problem:
    """Two coupled pendulums, H = |p|^2/2 + V(q), split into kinetic (A) and potential energy (B)."""
    return SplitProblem(
        "pendulums",
        SplitField(_canonical(lambda p: p, _force), (2, 2), "pendulums"),
        _STARTS,
        0.0,
        4.0,
        None,
        Excitation(4, "the force depends on the position alone: F([t,[t,t]]) = 0", ("[t,[t,t]]",)),
        brackets=Excitation(3, "the kinetic energy is quadratic: [B,[B,[B,A]]] = 0", ("[[[A,B],B],B]",)),
        nystrom=Excitation(8, "brackets of higher grades were not computed"),
    )


@problem("relativistic-pendulums")
def relativistic_pendulums() -> Problem:
    """The same pendulums with H = sqrt(1 + |p|^2 + p1 p2) + V(q): no bracket vanishes, so that any splitting shows."""

    def drift(p: torch.Tensor) -> torch.Tensor:
        velocity = p @ MASS.to(p)
        return velocity / torch.sqrt(1 + (p * velocity).sum(-1, keepdim=True))

    return SplitProblem(
        "relativistic-pendulums",
        SplitField(_canonical(drift, _force), (2, 2), "relativistic-pendulums"),
        _STARTS,
        0.0,
        2.0,
        None,
        Excitation(None, "no limit known: the differentials of all trees to order five are independent"),
        brackets=Excitation(8, "brackets of higher grades were not computed"),
        nystrom=Excitation(8, "brackets of higher grades were not computed"),
    )


@problem("noncommuting-matrices")
def noncommuting_matrices(size: int = 6, seed: int = 0) -> Problem:
    """x' = (A + B) x with two random matrices of norm one half, exact by one exponential: brackets are commutators."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    a, b = a / torch.linalg.matrix_norm(a, 2) / 2, b / torch.linalg.matrix_norm(b, 2) / 2
    x0 = torch.eye(size, dtype=torch.float64)
    whole = linear(a + b)
    return SplitProblem(
        "noncommuting-matrices",
        SplitField({"A": linear(a), "B": linear(b)}, (size,), "noncommuting-matrices"),
        x0,
        0.0,
        8.0,
        lambda t: whole.flow(x0, 0.0, t),
        Excitation(2, "an autonomous linear field excites tall trees only", ("[t,t]",)),
        brackets=Excitation(8, "brackets of higher grades were not computed"),
        nystrom=Excitation(8, "brackets of higher grades were not computed"),
    )


@problem("forced-spiral")
def forced_spiral() -> Problem:
    """x' = L x - x^3 + (cos t, sin 2t): linear (A), cubic (B) and driving parts (C, the clock), all flows closed."""
    turn = _states([-0.1, -1.5], [1.0, -0.2])

    def cubic(x: torch.Tensor, t: Any, h: Any) -> torch.Tensor:
        return x / torch.sqrt(1 + 2 * h * x * x)

    def drive(x: torch.Tensor, t: Any) -> torch.Tensor:
        t = torch.as_tensor(t, dtype=torch.float64)
        return torch.stack([t.cos(), (2 * t).sin()], -1).to(x).expand_as(x)

    def driven(x: torch.Tensor, t: Any, h: Any) -> torch.Tensor:
        t, end = torch.as_tensor(t, dtype=torch.float64), torch.as_tensor(t + h, dtype=torch.float64)
        return x + torch.stack([end.sin() - t.sin(), ((2 * t).cos() - (2 * end).cos()) / 2], -1).to(x)

    parts = {"A": linear(turn), "B": Part(lambda x, t: -x * x * x, cubic), "C": Part(drive, driven)}
    return SplitProblem(
        "forced-spiral",
        SplitField(parts, (2,), "forced-spiral", clock="C"),
        _states([0.8, -0.4], [0.3, 0.9], [-0.6, 0.2]),
        0.0,
        3.0,
        None,
        Excitation(None, "no limit known: the differentials of all trees to order five are independent"),
        brackets=Excitation(4, "brackets of higher grades were not computed"),
        nystrom=Excitation(4, "brackets of higher grades were not computed"),
    )
