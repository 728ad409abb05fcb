"""Vector fields: what every integrator integrates, dx/dt = f(x, t)."""

from __future__ import annotations

from collections.abc import Callable

import torch


class VectorField:
    """A plain field dx/dt = f(x, t) with x of shape (B, *shape); its own prediction is its velocity.

    >>> field = VectorField(lambda x, t: -x, name="decay")
    >>> field(torch.ones(3, 1), 0.0).tolist()
    [[-1.0], [-1.0], [-1.0]]
    """

    prediction = "velocity"
    process = None
    target = None

    def __init__(self, function: Callable[[torch.Tensor, object], torch.Tensor], shape: tuple = (), name: str = ""):
        self.model = function
        self.shape = tuple(shape)
        self.name = name or getattr(function, "__name__", "field")

    def __call__(self, x: torch.Tensor, t: object) -> torch.Tensor:
        """dx/dt at states x (B, *shape) and time t."""
        return self.model(x, t)

    def __repr__(self) -> str:
        return f"VectorField({self.name!r})"
