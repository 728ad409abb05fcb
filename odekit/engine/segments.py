"""Tables of equal steps, and the programs of terms that they are read as."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Segment:
    """Tables of m equal steps with S slots in, S' slots out, E evaluations and Z noise draws a step.

    ``times`` (m, E): when the model is asked. ``inputs`` (m, E, S+E+Z): what it is asked at. ``outputs``
    (m, S', S+E+Z): what is carried on. Torch float64 (with gradients where the grid has them) or object arrays of
    mpmath numbers. Coefficients that are operators add the axes of their carrier to both tables: (F,) of a `Diagonal`
    on states of F components, (n, n) of a `Block` on the channels of states (B, n, *shape). ``pattern`` says which
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
        heard = self.evaluations and self.draws and any(j >= born for row in self.columns[0] for j in row)
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
                for table, kept in zip(tables, self.columns, strict=True)
            )
            for tables in zip(self.inputs, self.outputs, strict=True)
        ]

    @functools.cached_property
    def columns(self) -> list:
        """For both tables and each of their rows, the columns that are structurally there."""
        masks = self.pattern or [
            _numbers((table != 0).reshape(*table.shape[:3], math.prod(table.shape[3:])).any(-1).any(0))
            for table in (self.inputs, self.outputs)
        ]
        return [[[j for j, there in enumerate(row) if there] for row in mask] for mask in masks]

    def rows(self, differentiable: bool = False) -> list:
        """For both tables and each of their rows, (columns, coefficients (m, J, *own)), coefficients of one term that
        is the register itself None."""
        found = []
        for table, rows in zip((self.inputs, self.outputs), self.columns, strict=True):
            table = table if torch.is_tensor(table) else torch.from_numpy(table.astype(float))
            table = table if differentiable else table.detach()
            found.append([(columns, _unless_one(table[:, r, columns])) for r, columns in enumerate(rows)])
        return found

    def kept(self, key: tuple, make) -> Any:
        """What ``make`` returns for a key, remembered for the last key alone: tables of one dtype on one device."""
        known = vars(self).setdefault("_cast", {})
        if key not in known:
            known.clear()
            known[key] = make()
        return known[key]


def _unless_one(table: torch.Tensor) -> torch.Tensor | None:
    one = torch.eye(table.shape[-1]) if table.ndim == 4 else torch.ones(())
    copies = table.shape[1] == 1 and not table.requires_grad and bool((table == one.to(table)).all())
    return None if copies else table


def _terms(row: list) -> list:
    return [(j, c) for j, c in enumerate(row) if c != 0.0]


def _numbers(table: Any) -> list:
    """A table as nested lists of python floats."""
    return table.detach().tolist() if torch.is_tensor(table) else table.astype(float).tolist()
