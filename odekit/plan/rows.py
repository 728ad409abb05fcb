"""Rows: formal linear combinations of registers, on which a method's step runs to become a program."""

from __future__ import annotations

from typing import Any

from odekit.fields.coordinates import ZERO
from odekit.operators import Operator


class Row:
    """sum_j c_j r_j with coefficients c_j of any number kind, or operators; what a tensor is in the eager run.

    A product with an operator applies it: it stands to the left of what was there.

    >>> x, n = Row({0: 1.0}), Row({1: 1.0})
    >>> (x + 0.5 * n - x * 0.25).terms
    {0: 0.75, 1: 0.5}
    """

    __slots__ = ("terms",)
    __array_ufunc__ = None  # object arrays of mpmath numbers leave the product to us

    def __init__(self, terms: dict[int, Any]):
        self.terms = terms

    def __add__(self, other: Row) -> Row:
        if other is ZERO:
            return self
        terms = dict(self.terms)
        for j, c in other.terms.items():
            terms[j] = terms[j] + c if j in terms else c
        return Row(terms)

    __radd__ = __add__

    def __mul__(self, factor: Any) -> Row:
        if factor is ZERO:
            return ZERO
        if isinstance(factor, int | float) and factor == 1:
            return self
        if isinstance(factor, Operator):
            return Row({j: factor @ c for j, c in self.terms.items()})
        return Row({j: factor * c for j, c in self.terms.items()})

    __rmul__ = __mul__

    def __neg__(self) -> Row:
        return self * -1

    def __sub__(self, other: Row) -> Row:
        return self + -1 * other


class Recorder:
    """The oracle of a step that runs on rows: every question becomes an evaluation, every answer a new register, every
    draw one as well (`columns` says in which order they stand in a table).

    ``one``: the coefficient of a register in itself, 1.0 or the identity where coefficients are operators.
    """

    def __init__(self, slots: int, one: Any = 1.0):
        self.slots = slots
        self.one = one
        self.times: list = []
        self.inputs: list[Row] = []
        self.intervals: list[tuple] = []

    def __call__(self, x: Row, time: Any) -> Row:
        self.times.append(time)
        self.inputs.append(x)
        return self.register(self.slots + len(self.times) - 1)

    def draw(self, start: Any, end: Any) -> Row:
        """A standard normal draw for what acts between two times."""
        self.intervals.append((start, end))
        return self.register(~(len(self.intervals) - 1))

    @property
    def columns(self) -> list[int]:
        """The registers in the order of a table: slots, model outputs, draws (numbered -1, -2, ... while recording)."""
        return [*range(self.slots + len(self.inputs)), *(~z for z in range(len(self.intervals)))]

    def register(self, number: int) -> Row:
        """The row that is one register."""
        return Row({number: self.one})


def flatten(carry: dict) -> tuple[tuple[str, ...], list[Row]]:
    """Names and rows of a carry, tuples spread out, the state first."""
    names, rows = [], []
    for key in sorted(carry, key=lambda k: (k != "x", k)):
        entry = carry[key]
        if isinstance(entry, tuple):
            names += [f"{key}.{i}" for i in range(len(entry))]
            rows += list(entry)
        else:
            names.append(key)
            rows.append(entry)
    return tuple(names), rows


def unflatten(names: tuple[str, ...], rows: list) -> dict:
    """The carry whose flat form this is."""
    carry: dict[str, Any] = {}
    for name, row in zip(names, rows, strict=True):
        key, dot, _ = name.partition(".")
        carry[key] = (*carry.get(key, ()), row) if dot else row
    return carry
