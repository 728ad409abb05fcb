"""Fields that are sums of parts, each with a flow of its own: what splitting methods compose.

Time is a coordinate that moves along with one part, the clock: the flow of that part takes x from t to t + h, those of
the others move x for a duration h while t stands still. Every such splitting of (x, t)' = (f, 1) is a splitting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from odekit.exceptions import OdekitError
from odekit.fields.vector import VectorField

Velocity = Callable[[torch.Tensor, Any], torch.Tensor]
Flow = Callable[[torch.Tensor, Any, Any], torch.Tensor]


@dataclass(frozen=True)
class Part:
    """One part of a field: `velocity(x, t)`, and `flow(x, t, h)`, its solution at duration h from x (B, *shape) at t.

    The flow must obey flow(flow(x, t, h), t + h, k) = flow(x, t, h + k) where it is exact; h may be negative.

    >>> decay = Part(lambda x, t: -x, lambda x, t, h: x * torch.exp(-h))
    >>> round(decay.flow(torch.ones(1, 1).double(), 0.0, torch.tensor(1.0).double()).item(), 12)
    0.367879441171
    """

    velocity: Velocity
    flow: Flow


def linear(matrix: Any, kept: int = 64) -> Part:
    """x' = matrix x for states x (B, ..., d), with its exact flow exp(h matrix); the exponentials are kept by h.

    >>> turn = linear([[0.0, -1.0], [1.0, 0.0]])
    >>> turn.flow(torch.tensor([[1.0, 0.0]]).double(), 0.0, torch.pi / 2).round(decimals=12).tolist()
    [[0.0, 1.0]]
    """
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise OdekitError(f"a linear part needs a square matrix, got shape {tuple(matrix.shape)}")
    known: dict[float, torch.Tensor] = {}
    from scipy.linalg import expm

    def flow(x: torch.Tensor, t: Any, h: Any) -> torch.Tensor:
        h = float(h)
        if h not in known:
            if len(known) >= kept:
                known.clear()
            # torch.linalg.matrix_exp is wrong by 7e-13 where h |matrix| is about 0.05 (version 2.13); this is not.
            known[h] = torch.from_numpy(expm(h * matrix.T.numpy()))
        return x @ known[h].to(x)

    return Part(lambda x, t: x @ matrix.T.to(x), flow)


def shear(velocity: Velocity) -> Part:
    """A part whose velocity does not change along its own flow, as of T(p) and of V(q): x + h velocity(x, t), exactly.

    >>> drift = shear(lambda x, t: torch.stack([x[..., 1], 0 * x[..., 1]], -1))
    >>> drift.flow(torch.tensor([[0.0, 2.0]]), 0.0, 3.0).tolist()
    [[6.0, 2.0]]
    """
    return Part(velocity, lambda x, t, h: x + h * velocity(x, t))


def approximated(velocity: Velocity, method: Any = "rk4", clock: bool = False, steps: int = 1) -> Part:
    """A part without a flow in closed form: its flow is `steps` steps of a one-step method, by name or as a Method.

    The order of a composition is then that of the sub-flow at most. With `clock` time moves along, else it stands still
    within the flow.

    >>> part = approximated(lambda x, t: -x, "euler", steps=2)
    >>> part.flow(torch.ones(1, 1).double(), 0.0, 1.0).item()
    0.25
    """
    from odekit import methods
    from odekit.exceptions import MethodError
    from odekit.fields.coordinates import Instant

    method = methods.get(method)
    if method.history:
        raise MethodError(f"{method.name} is a multistep method; a flow is made of steps of a one-step method")

    def flow(x: torch.Tensor, t: Any, h: Any) -> torch.Tensor:
        field = VectorField(velocity if clock else lambda x, _: velocity(x, t))
        f, carry = method.coordinates(field), {"x": x}
        nodes = [Instant(torch.as_tensor(t + i * h / steps, dtype=torch.float64)) for i in range(steps + 1)]
        for i, phase in enumerate(method.phases(steps)):
            carry = method.step(f, (nodes[i + 1], nodes[i]), carry, phase)
        return carry["x"]

    return Part(velocity, flow)


class SplitField(VectorField):
    """x' = the sum of its parts, named A, B, ...; time moves along with the part `clock` (A where none is named).

    `field(x, t)` is the whole velocity, so that every method runs on it; splitting methods ask `field.parts`.
    Raises OdekitError for names that are no letters, and for a clock that is no part.

    >>> import odekit as ok
    >>> spring = ok.SplitField({"A": linear([[0, 1], [0, 0]]), "B": linear([[0, 0], [-1, 0]])}, (2,), "spring")
    >>> x = torch.tensor([[1.0, 0.0]]).double()
    >>> ok.solve(spring, x, "strang", ok.grid("time-uniform", (0.0, 1.0), 100)).round(decimals=4).tolist()
    [[0.5403, -0.8415]]
    """

    def __init__(self, parts: Mapping[str, Part], shape: tuple = (), name: str = "", clock: str = ""):
        for letter, part in parts.items():
            if not (len(letter) == 1 and "A" <= letter <= "Z" and letter not in "MS" and isinstance(part, Part)):
                raise OdekitError(f"a part is a Part named A, B, ... (not M or S); got {letter!r:.20}: {part!r:.40}")
        if len(parts) < 2:
            raise OdekitError(f"a split field has two parts or more, got {len(parts)}")
        self.parts = dict(sorted(parts.items()))
        self.clock = clock or min(parts)
        if self.clock not in parts:
            raise OdekitError(f"clock = {clock!r}: expected one of the parts {', '.join(self.parts)}")
        super().__init__(self._velocity, shape, name or "split field")

    def _velocity(self, x: torch.Tensor, t: Any) -> torch.Tensor:
        first, *others = (part.velocity(x, t) for part in self.parts.values())
        return sum(others, first)

    def __repr__(self) -> str:
        return f"SplitField({self.name!r}, {'+'.join(self.parts)})"
