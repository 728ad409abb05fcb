"""Eager execution: the same step code on tensors, one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from odekit.exceptions import DivergenceError, ModelError, OdekitError
from odekit.fields.coordinates import Instant
from odekit.methods.base import Method


def instants(grid: torch.Tensor) -> list[Instant]:
    """The nodes of a grid as instants with 0-d times."""
    return [Instant(t, index=torch.tensor(float(i), dtype=torch.float64)) for i, t in enumerate(grid.unbind())]


def march(
    method: Method,
    field,
    grid: torch.Tensor,
    x: torch.Tensor,
    noise_free_end: bool,
    history: torch.Tensor | None = None,
    watch: Callable[[torch.Tensor], None] | None = None,
    noise: Callable[[int], torch.Tensor] | None = None,
) -> torch.Tensor:
    """The state at grid[-1]; with ``history`` (k, B, *shape), exact states at grid[:k], marching starts at grid[k-1]
    with the full formula. ``noise(k)`` answers draw number k."""
    nodes = instants(grid)
    steps = len(nodes) - 1
    phases = method.phases(steps, noise_free_end)
    first, carry = (0, {"x": x}) if history is None else under_way(method, field, nodes, history)
    f = method.coordinates(field) if noise is None else method.coordinates(field, Drawing(field.model, noise))
    for i in range(first, steps):
        window = tuple(nodes[max(0, i - method.history) : i + 2][::-1])
        carry = method.step(f, window, carry, phases[i])
        if watch is not None:
            watch(carry["x"])
    return carry["x"]


def under_way(method: Method, field, nodes: list[Instant], history: torch.Tensor) -> tuple[int, dict]:
    """The step to go on with, and the carry there, from exact states at the first nodes of a grid."""
    first = len(history) - 1
    if not method.history <= first < len(nodes) - 1:
        raise OdekitError(
            f"history holds {len(history)} states; {method.name} looks back over {method.history + 1} nodes of a grid, "
            f"and this one has {len(nodes)}"
        )
    past = slice(first - method.history, first + 1)
    carry = method.carry_from(method.coordinates(field), nodes[past][::-1], list(history[past].flip(0)))
    return first, carry


class Drawing:
    """The oracle of a step that draws: it answers model outputs, and draws in the order in which they are made."""

    def __init__(self, model: Callable, noise: Callable[[int], torch.Tensor]):
        self.model, self.noise, self.made = model, noise, 0

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.model(x, t)

    def draw(self, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        """The next draw, for what acts between two times."""
        self.made += 1
        return self.noise(self.made - 1)


class Counted:
    """A field whose model counts its calls and has its answers checked (eager runs only: a check waits for the device).

    Raises ModelError, naming evaluation and time, for a wrong shape, a wrong dtype or NaN, and DivergenceError where
    the state itself has overflowed; with ``finite=False`` numbers that are none pass, for a caller that rejects them.
    Of a field made of parts the flows are watched; `evaluations` are those of the part that is asked most often.
    """

    def __init__(self, flow, finite: bool = True):
        self.finite = finite
        self.process, self.prediction, self._ask, self._name = flow.process, flow.prediction, flow.model, repr(flow)
        self.target = getattr(flow.model, "target", None)
        self.evaluations, self.eta = 0, getattr(flow, "eta", None)
        self.parts, self.clock = getattr(flow, "parts", {}), getattr(flow, "clock", "")
        self.parts = {x: replace(part, flow=self._watched(x, part.flow)) for x, part in self.parts.items()}
        self._flows = dict.fromkeys(self.parts, 0)

    def model(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The field's own model, watched."""
        at = f"evaluation {self.evaluations} (t = {float(t):.6g})"
        if self.finite and not torch.isfinite(x).all():
            raise DivergenceError(f"{at}: the state overflows: take smaller steps or a more stable method")
        output = self._ask(x, t)
        if not torch.is_tensor(output) or output.shape != x.shape or output.dtype != x.dtype:
            got = (tuple(output.shape), output.dtype) if torch.is_tensor(output) else type(output).__name__
            raise ModelError(f"{at}: the model returned {got}; expected {(tuple(x.shape), x.dtype)}, like its input")
        if self.finite and not torch.isfinite(output).all():
            if x.abs().max() > torch.finfo(x.dtype).max ** 0.5:
                raise DivergenceError(f"{at}: the state overflows: take smaller steps or a more stable method")
            raise ModelError(f"{at}: the model returned NaN or inf for a finite input")
        self.evaluations += 1
        return output

    def _watched(self, letter: str, flow: Callable) -> Callable:
        def watched(x: torch.Tensor, t: object, h: object) -> torch.Tensor:
            moved = flow(x, t, h)
            at = f"flow {self._flows[letter]} of part {letter} (t = {float(t):.6g})"
            if moved.shape != x.shape or moved.dtype != x.dtype:
                got, wanted = (tuple(moved.shape), moved.dtype), (tuple(x.shape), x.dtype)
                raise ModelError(f"{at} returned {got}; expected {wanted}, like its start")
            if self.finite and not torch.isfinite(moved).all():
                raise DivergenceError(f"{at}: the state overflows: take smaller steps or a more stable method")
            self._flows[letter] += 1
            self.evaluations = max(self._flows.values())
            return moved

        return watched

    def __repr__(self) -> str:
        return self._name
