"""The engine: runs bare tables. It knows slots, evaluations and coefficients, nothing of methods or processes.

A segment is a stretch of equal steps. Its registers are numbered along the columns of its tables: first the slots
carried in (slot 0 is the state), then the outputs of the step's own evaluations, then its noise draws.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Segment:
    """Tables of m equal steps with S slots in, S' slots out, E evaluations and Z noise draws a step.

    ``times`` (m, E): when the model is asked. ``inputs`` (m, E, S+E+Z): what it is asked at. ``outputs``
    (m, S', S+E+Z): what is carried on. Torch float64 (with gradients where the grid has them) or object arrays of
    mpmath numbers. ``pattern`` says which entries are structurally there (two boolean tables without the step axis):
    an entry that happens to vanish on one grid may still have a gradient. None: those that do not vanish.
    """

    times: Any
    inputs: Any
    outputs: Any
    slots: tuple[str, ...]
    draws: int = 0
    pattern: tuple | None = None

    @property
    def steps(self) -> int:
        return self.times.shape[0]

    @property
    def evaluations(self) -> int:
        return self.times.shape[1]

    @functools.cached_property
    def program(self) -> list:
        """Per step ([(row of terms) per evaluation], [row of terms per slot out]); a term is (column, number)."""
        return [
            ([_terms(row) for row in asked], [_terms(row) for row in carried])
            for asked, carried in zip(_numbers(self.inputs), _numbers(self.outputs), strict=True)
        ]

    def graph(self) -> list:
        """The same with 0-d tensors that keep their gradients."""
        masks = self.pattern or [_numbers((table != 0).any(0)) for table in (self.inputs, self.outputs)]
        rows = [[[j for j, there in enumerate(row) if there] for row in mask] for mask in masks]
        return [
            tuple(
                [[(j, row[j]) for j in columns] for row, columns in zip(table, kept, strict=True)]
                for table, kept in zip(tables, rows, strict=True)
            )
            for tables in zip(self.inputs, self.outputs, strict=True)
        ]


def run(
    segments: list[Segment],
    call: Callable[[int, torch.Tensor], torch.Tensor],
    start: list[torch.Tensor],
    noise: Callable[[int], torch.Tensor] | None = None,
    differentiable: bool = False,
    watch: Callable[[torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """The state after all segments, from the registers alive at the start, the state (B, *shape) first.

    ``call(k, y)`` is model evaluation number k.

    Coefficients are python floats (0-d tensors when ``differentiable``): they reach the kernels as arguments, x keeps
    its dtype and device and nothing waits for the device. ``watch`` sees the state after every step.
    """
    registers, k, z = list(start), 0, 0
    for segment in segments:
        for asked, carried in segment.graph() if differentiable else segment.program:
            for terms in asked:
                y = combine(terms, registers, start[0])
                registers.append(call(k, y))
                k += 1
            for _ in range(segment.draws):
                registers.append(noise(z))
                z += 1
            registers = [combine(terms, registers, start[0]) for terms in carried]
            if watch is not None:
                watch(registers[0])
    return registers[0]


def combine(terms: list, registers: list, like: torch.Tensor) -> torch.Tensor:
    """sum_j c_j r_j in as many kernels as there are terms, one less where the first coefficient is one."""
    if not terms:
        return torch.zeros_like(like)
    (j, c), *rest = terms
    if torch.is_tensor(c):
        total = c * registers[j]
        for j, c in rest:
            total = total + c * registers[j]
        return total
    if not rest:
        return registers[j] if c == 1.0 else registers[j] * c
    if c == 1.0:
        total = torch.add(registers[j], registers[rest[0][0]], alpha=rest[0][1])
        rest = rest[1:]
    else:
        total = registers[j] * c
    for j, c in rest:
        total.add_(registers[j], alpha=c)
    return total


def _terms(row: list) -> list:
    return [(j, c) for j, c in enumerate(row) if c != 0.0]


def _numbers(table: Any) -> list:
    """A table as nested lists of python floats."""
    return table.detach().tolist() if torch.is_tensor(table) else table.astype(float).tolist()
