"""Blocks on the channels of states (B, n, *shape): a row of terms is one product of a matrix with the registers.

Matrix products want the channels first and everything else behind, (n, M); models want plain states. Registers
therefore lie in one memory of rows (places x n, B M): what enters is copied into a place and what a model sees is
copied out, so that neither side holds the other's memory, and registers in neighbouring places are one matrix, read
by one product. Where a place is free next to its neighbours is settled when the program is cast.

Wide states, whose channels are matrices enough, and those with gradients stay tensors of their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from odekit.engine.segments import Segment

WIDE = 2**9
"""Numbers in a channel from which states stay as they are, and each is multiplied by itself."""
SLIM = 3
"""Numbers in a channel up to which registers have the batch last: copies run along it."""


class Row(NamedTuple):
    """A row of terms of one step: of the registers in ``columns``, by place, into a ``place``.

    ``parts``: a matrix (b, n, n) each; None: the register itself. ``runs``: the same for registers that are
    neighbours, [(matrix (n, nR), first place, last place + 1)].
    """

    columns: list[int]
    place: int
    parts: tuple | None
    runs: list[tuple]


def registers(segments: list[Segment], start: list[torch.Tensor], differentiable: bool) -> Apart:
    """The registers of a run: in one memory, or apart."""
    like = start[0]
    limit = max(sum(segment.outputs.shape[1:3]) for segment in segments)  # all a step hears of, and all it makes
    programs, entered, places = [], list(range(len(start))), list(range(len(start)))
    for segment in segments:
        key = (like.dtype, like.device, *_first_axes(like), limit, *places)
        if differentiable:
            program, fresh, places = _cast(segment, places, limit, like, True)
        else:
            program, fresh, places = segment.kept(key, lambda s=segment, at=places: _cast(s, at, limit, like))
        programs.append(program)
        entered += fresh
    if differentiable or math.prod(like.shape[2:]) >= WIDE:
        return Apart(like, programs)
    return Together(like, programs, entered, limit)


class Apart:
    """Registers as tensors (b, n, M): wide states as they are, b = B; others with channels first, b = 1."""

    def __init__(self, like: torch.Tensor, programs: list):
        self.programs = programs
        self.batch, self.n, *self.shape = like.shape
        self.width = math.prod(self.shape)
        self.is_wide = self.width >= WIDE
        behind = range(2, like.ndim)
        self.axes = (1, *behind, 0) if self.width <= SLIM else (1, 0, *behind)
        self.back = sorted(range(like.ndim), key=self.axes.__getitem__)
        self.inner = [like.shape[axis] for axis in self.axes]

    def enter(self, x: torch.Tensor) -> Any:
        """A state as a register."""
        if self.is_wide:
            return x.reshape(self.batch, self.n, self.width)
        return x.permute(self.axes).reshape(1, self.n, self.batch * self.width)

    def leave(self, register: Any) -> torch.Tensor:
        """A register as a state (B, n, *shape) in plain memory."""
        if self.is_wide:
            return register.view(self.batch, self.n, *self.shape)
        return register.view(self.inner).permute(self.back).contiguous()

    def mixed(self, row: Row, registers: list, like: Any) -> Any:
        """The sum of a row's terms."""
        if not row.columns:
            return torch.zeros_like(like)
        if row.parts is None:
            return registers[row.columns[0]]
        # In place even the first: what is not in place obeys autocast, and half of the digits would be gone.
        total = torch.empty_like(like)
        for k, (j, part) in enumerate(zip(row.columns, row.parts, strict=True)):
            total.baddbmm_(part, registers[j], beta=min(k, 1))
        return total


class Together(Apart):
    """Registers as places in one memory, until something with a gradient enters: then they go apart."""

    def __init__(self, like: torch.Tensor, programs: list, entered: list[int], count: int):
        super().__init__(like, programs)
        self.memory = like.new_empty((count * self.n, self.batch * self.width))
        places = self.memory.view(count, *self.inner)
        self.states = [places[k].permute(self.back) for k in range(count)]
        self.channels = [state.split(1, 1) for state in self.states]
        self.is_plain = self.batch == 1 or self.width <= SLIM
        self.windows: dict = {}
        self.entered = iter(entered)
        self.is_apart = False

    def enter(self, x: torch.Tensor) -> Any:
        place = next(self.entered)
        self.is_apart = self.is_apart or x.requires_grad
        if self.is_apart:
            return super().enter(x)
        self.states[place].copy_(x)
        return place

    def leave(self, register: Any) -> torch.Tensor:
        if torch.is_tensor(register):
            return super().leave(register)
        if self.is_plain:
            return self.states[register].clone(memory_format=torch.contiguous_format)
        return torch.cat(self.channels[register], 1)

    def mixed(self, row: Row, registers: list, like: Any) -> Any:
        if row.columns and row.parts is None:
            return registers[row.columns[0]]
        if self.is_apart:
            known = {j: self._taken_out(registers[j]) for j in row.columns}
            return super().mixed(row, known, self._taken_out(like))
        total = self._window(row.place, row.place + 1)
        if not row.columns:
            total.zero_()
        for k, (matrix, first, end) in enumerate(row.runs):
            total.addmm_(matrix, self._window(first, end), beta=min(k, 1))
        return row.place

    def _window(self, first: int, end: int) -> torch.Tensor:
        if (first, end) not in self.windows:
            self.windows[first, end] = self.memory[first * self.n : end * self.n]
        return self.windows[first, end]

    def _taken_out(self, register: Any) -> torch.Tensor:
        return register if torch.is_tensor(register) else self._window(register, register + 1)[None]


def _cast(
    segment: Segment, places: list[int], limit: int, like: torch.Tensor, differentiable: bool = False
) -> tuple[list, list, list]:
    """The program of a segment whose registers lie in these places, the places that its evaluations and draws enter,
    and those of its slots at the end; coefficients in the dtype and on the device of ``like``."""
    tables = [rows for part in segment.rows(differentiable) for rows in part]
    wholes = [(columns, table is None) for columns, table in tables]
    entered, found = [], []
    for _ in range(segment.steps):
        settled, fresh, places = _settled(segment, wholes, places, limit)
        entered += fresh
        found.append(settled)
    parts = [_rows(*table, [step[r] for step in found], like) for r, table in enumerate(tables)]
    steps = [list(step) for step in zip(*parts, strict=True)]
    asked = segment.evaluations
    return [(rows[:asked], rows[asked:]) for rows in steps], entered, places


def _settled(segment: Segment, rows: list, places: list[int], limit: int) -> tuple[list, list, list]:
    """Of one step: (place, places of the columns) of every row, the places entered, and those of the slots out."""
    live = places + [-1] * (segment.evaluations + segment.draws)
    taken, settled, entered, out = set(places), [None] * segment.evaluations, [], []

    def placed(columns: list[int], copies: bool) -> tuple:
        sources = [live[j] for j in columns]
        return (sources[0] if copies else _free(taken, limit, sources)), sources

    for j in segment.events:
        if j < segment.evaluations:
            settled[j] = placed(*rows[j])
        live[len(places) + j] = _free(taken, limit)
        taken.add(live[len(places) + j])
        entered.append(live[len(places) + j])
    for row in rows[segment.evaluations :]:
        settled.append(placed(*row))
        out.append(settled[-1][0])
        taken.add(out[-1])
    return settled, entered, out


def _free(taken: set[int], limit: int, sources: Sequence[int] = ()) -> int:
    """The free place nearest to those taken; for what is made of sources, beyond them if there is one."""
    low, high = (f(sources or taken) for f in (min, max))
    free = [p for p in range(limit) if p not in taken]
    beyond = [p for p in free if not (sources and low <= p <= high)]
    return min(beyond or free, key=lambda p: abs(2 * p - low - high))


def _rows(columns: list[int], table: torch.Tensor | None, settled: list, like: torch.Tensor) -> list[Row]:
    """One row at every step, its terms in the order of their places."""
    if table is None or not columns:
        return [Row(columns, place, None, []) for place, _ in settled]
    orders = [sorted(range(len(columns)), key=sources.__getitem__) for _, sources in settled]
    if table.ndim == 2:  # numbers among matrices
        table = table[..., None, None] * torch.eye(like.shape[1], dtype=table.dtype)
    batch, n = _first_axes(like)
    table = table[torch.arange(len(table))[:, None], torch.tensor(orders)].to(like.device, like.dtype)
    parts = table.unsqueeze(2).expand(-1, -1, batch, -1, -1)
    matrices = table.transpose(1, 2).reshape(len(table), n, -1)
    return [
        Row([columns[k] for k in order], place, part.unbind(), _runs(matrix, sorted(sources)))
        for order, (place, sources), part, matrix in zip(orders, settled, parts, matrices, strict=True)
    ]


def _first_axes(like: torch.Tensor) -> tuple[int, int]:
    """(b, n) of registers apart."""
    return (len(like) if math.prod(like.shape[2:]) >= WIDE else 1), like.shape[1]


def _runs(matrix: torch.Tensor, places: list[int]) -> list[tuple]:
    """A matrix cut where its registers are no neighbours."""
    n = len(matrix)
    cuts = [0, *(k for k in range(1, len(places)) if places[k] != places[k - 1] + 1), len(places)]
    if len(cuts) == 2:
        return [(matrix, places[0], places[-1] + 1)]
    return [(matrix[:, a * n : b * n], places[a], places[b - 1] + 1) for a, b in itertools.pairwise(cuts)]
