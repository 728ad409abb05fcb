"""The engine: runs bare tables. It knows slots, evaluations and coefficients, nothing of methods or processes.

A segment is a stretch of equal steps. Its registers are numbered along the columns of its tables: first the slots
carried in (slot 0 is the state), then the outputs of the step's own evaluations, then its noise draws.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Segment:
    """Tables of m equal steps with S slots in, S' slots out, E evaluations and Z noise draws a step.

    ``times`` (m, E): when the model is asked. ``inputs`` (m, E, S+E+Z): what it is asked at. ``outputs``
    (m, S', S+E+Z): what is carried on. Torch float64 (with gradients where the grid has them) or object arrays of
    mpmath numbers. Coefficients that are operators add the axes of their carrier to both tables: (F,) of a `Diagonal`
    on states of F components, (2, 2) of a `Block` on the channels of states (B, 2, *shape). ``pattern`` says which
    entries are structurally there (two boolean tables without the step axis): an entry that happens to vanish on one
    grid may still have a gradient. None: those that do not vanish. ``intervals`` (m, Z, 2): the times between which
    each draw acts; None where that is not known.
    """

    times: Any
    inputs: Any
    outputs: Any
    slots: tuple[str, ...]
    draws: int = 0
    pattern: tuple | None = None
    intervals: Any = None

    @property
    def steps(self) -> int:
        return self.times.shape[0]

    @property
    def evaluations(self) -> int:
        return self.times.shape[1]

    @property
    def own_axes(self) -> int:
        """How many axes a coefficient has: 0 a number, 1 a number a component, 2 a matrix on the channels."""
        return self.outputs.ndim - 3

    @functools.cached_property
    def events(self) -> list[int]:
        """Evaluations and draws of a step, by column behind the slots, in order: draws are made first where one of the
        evaluations hears them."""
        born = len(self.slots) + self.evaluations
        heard = self.evaluations and self.draws and any(j >= born for row in self._columns()[0] for j in row)
        asks, fresh = range(self.evaluations), range(self.evaluations, self.evaluations + self.draws)
        return [*fresh, *asks] if heard else [*asks, *fresh]

    @functools.cached_property
    def program(self) -> list:
        """Per step ([(row of terms) per evaluation], [row of terms per slot out]); a term is (column, number)."""
        return [
            ([_terms(row) for row in asked], [_terms(row) for row in carried])
            for asked, carried in zip(_numbers(self.inputs), _numbers(self.outputs), strict=True)
        ]

    def graph(self) -> list:
        """The same with 0-d tensors that keep their gradients."""
        return [
            tuple(
                [[(j, row[j]) for j in columns] for row, columns in zip(table, kept, strict=True)]
                for table, kept in zip(tables, self._columns(), strict=True)
            )
            for tables in zip(self.inputs, self.outputs, strict=True)
        ]

    def _columns(self) -> list:
        """For both tables and each of their rows, the columns that are structurally there."""
        masks = self.pattern or [
            _numbers((table != 0).reshape(*table.shape[:3], math.prod(table.shape[3:])).any(-1).any(0))
            for table in (self.inputs, self.outputs)
        ]
        return [[[j for j, there in enumerate(row) if there] for row in mask] for mask in masks]

    def operators(self, like: torch.Tensor, differentiable: bool = False) -> list:
        """The program of operator coefficients, cast to the dtype and device of ``like``: a row of terms is
        (columns, coefficients), coefficients side by side (2, 2J) or one after the other (J, *shape); None copies."""
        known = vars(self).setdefault("_cast", {})
        key = (like.dtype, like.device, like.shape[1:] if self.own_axes == 1 else None)
        if key in known and not differentiable:
            return known[key]
        parts = []
        for table, rows in zip((self.inputs, self.outputs), self._columns(), strict=True):
            table = table if torch.is_tensor(table) else torch.from_numpy(table.astype(float))
            table = table if differentiable else table.detach()
            parts.append([self._operators(table[:, r, columns], columns, like) for r, columns in enumerate(rows)])
        asked, carried = ([list(step) for step in zip(*part, strict=True)] or [[]] * self.steps for part in parts)
        program = list(zip(asked, carried, strict=True))
        if not differentiable:
            known.clear()
            known[key] = program
        return program

    def _operators(self, table: torch.Tensor, columns: list[int], like: torch.Tensor) -> list:
        """One row of every step; ``table`` (m, J, *own)."""
        matrices = self.own_axes == 2
        one = torch.eye(2, dtype=torch.float64) if matrices else torch.ones((), dtype=torch.float64)
        if len(columns) == 1 and not table.requires_grad and bool((table == one).all()):
            return [(columns, None)] * len(table)
        shape = (2, -1) if matrices else (len(columns), *like.shape[1:])
        ordered = table.transpose(1, 2) if matrices else table
        return [(columns, c) for c in ordered.reshape(len(table), *shape).to(like.device, like.dtype).unbind()]


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
    if any(segment.own_axes == 2 for segment in segments):
        return _on_channels(segments, call, start, noise, differentiable, watch)
    return _run(segments, call, start, noise, differentiable, watch)


def _run(segments: list[Segment], call, start, noise, differentiable, watch) -> torch.Tensor:
    registers, k, z = list(start), 0, 0
    for segment in segments:
        program, mix = _program(segment, start[0], differentiable)
        for asked, carried in program:
            born = len(registers)
            registers += [None] * (segment.evaluations + segment.draws)
            for j in segment.events:
                if j < segment.evaluations:
                    registers[born + j] = call(k, mix(asked[j], registers, start[0]))
                    k += 1
                else:
                    registers[born + j] = noise(z)
                    z += 1
            registers = [mix(terms, registers, start[0]) for terms in carried]
            if watch is not None:
                watch(registers[0])
    return registers[0]


WIDE = 2**10
"""Numbers in a channel from which states stay as they are, and each is multiplied by itself."""


def _on_channels(segments: list[Segment], call, start, noise, differentiable, watch) -> torch.Tensor:
    """The same on states (B, 2, *shape), on whose channels a Block is one matrix product.

    Wide ones are matrices (B, 2, M); narrow ones are held as one matrix (2, B M), and the model sees a transposed view.
    """
    batch, _, *shape = start[0].shape
    width = math.prod(shape)

    def inside(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(batch, 2, -1) if width >= WIDE else x.transpose(0, 1).reshape(2, -1)

    def outside(y: torch.Tensor) -> torch.Tensor:
        return y.view(batch, 2, *shape) if width >= WIDE else y.view(2, batch, *shape).transpose(0, 1)

    return outside(
        _run(
            segments,
            lambda k, y: inside(call(k, outside(y))),
            [inside(x) for x in start],
            lambda z: inside(noise(z)),
            differentiable,
            watch and (lambda y: watch(outside(y))),
        )
    )


def _program(segment: Segment, like: torch.Tensor, differentiable: bool) -> tuple[list, Callable]:
    if not segment.own_axes:
        return (segment.graph() if differentiable else segment.program), combine
    return segment.operators(like, differentiable), (_scaled, _mixed)[segment.own_axes - 1]


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


def _scaled(terms: tuple, registers: list, like: torch.Tensor) -> torch.Tensor:
    """The same with a coefficient for every component of the state."""
    columns, coefficients = terms
    if not columns:
        return torch.zeros_like(like)
    if coefficients is None:
        return registers[columns[0]]
    total = registers[columns[0]] * coefficients[0]
    for j, c in zip(columns[1:], coefficients[1:], strict=True):
        total = torch.addcmul(total, c, registers[j])
    return total


SMALL = 2**13
"""Numbers in a register up to which it pays to lay registers side by side and multiply once."""


def _mixed(terms: tuple, registers: list, like: torch.Tensor) -> torch.Tensor:
    """The same with matrices on the channels of registers (2, M) or (B, 2, M)."""
    columns, matrices = terms
    if not columns:
        return torch.zeros_like(like)
    if matrices is None:
        return registers[columns[0]]
    first, *others = columns
    if like.ndim == 2 and others and like.numel() <= SMALL:
        return matrices @ torch.cat([registers[j] for j in columns])
    parts = matrices.split(2, 1)
    if like.ndim == 2:
        total = parts[0] @ registers[first]
        for j, matrix in zip(others, parts[1:], strict=True):
            total.addmm_(matrix, registers[j])
        return total
    parts = [part.expand(len(like), 2, 2) for part in parts]
    total = torch.bmm(parts[0], registers[first])
    for j, matrix in zip(others, parts[1:], strict=True):
        total.baddbmm_(matrix, registers[j])
    return total


def _terms(row: list) -> list:
    return [(j, c) for j, c in enumerate(row) if c != 0.0]


def _numbers(table: Any) -> list:
    """A table as nested lists of python floats."""
    return table.detach().tolist() if torch.is_tensor(table) else table.astype(float).tolist()
