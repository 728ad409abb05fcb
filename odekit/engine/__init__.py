"""The engine: runs bare tables. It knows slots, evaluations and coefficients, nothing of methods or processes.

A segment is a stretch of equal steps. Its registers are numbered along the columns of its tables: first the slots
carried in (slot 0 is the state), then the outputs of the step's own evaluations, then its noise draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from odekit.engine import channels
from odekit.engine.segments import Segment

__all__ = ["Segment", "combine", "run"]


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
    like = start[0]
    if not any(segment.own_axes == 2 for segment in segments):
        programs = (_program(segment, like, differentiable) for segment in segments)
        return _run(segments, programs, call, list(start), noise, watch)
    states = channels.registers(segments, start, differentiable)
    programs = ((program, states.mixed) for program in states.programs)
    return states.leave(
        _run(
            segments,
            programs,
            lambda k, y: states.enter(call(k, states.leave(y))),
            [states.enter(x) for x in start],
            lambda z: states.enter(noise(z)),
            watch and (lambda y: watch(states.leave(y))),
        )
    )


def _run(segments: list[Segment], programs: Iterable, call, registers: list, noise, watch):
    like, k, z = registers[0], 0, 0
    for segment, (program, mix) in zip(segments, programs, strict=True):
        for asked, carried in program:
            born = len(registers)
            registers += [None] * (segment.evaluations + segment.draws)
            for j in segment.events:
                if j < segment.evaluations:
                    registers[born + j] = call(k, mix(asked[j], registers, like))
                    k += 1
                else:
                    registers[born + j] = noise(z)
                    z += 1
            registers = [mix(terms, registers, like) for terms in carried]
            if watch is not None:
                watch(registers[0])
    return registers[0]


def _program(segment: Segment, like: torch.Tensor, differentiable: bool) -> tuple[list, Callable]:
    if not segment.own_axes:
        return (segment.graph() if differentiable else segment.program), combine
    if differentiable:
        return _scales(segment, like, True), _scaled
    key = (like.dtype, like.device, like.shape[1:])
    return segment.kept(key, lambda: _scales(segment, like)), _scaled


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


def _scales(segment: Segment, like: torch.Tensor, differentiable: bool = False) -> list:
    """The program of coefficients that are a number a component, (columns, coefficients (J, *shape)) a row."""

    def steps(columns: list[int], table: torch.Tensor | None) -> list:
        if table is None:
            return [(columns, None)] * segment.steps
        table = table.reshape(segment.steps, len(columns), *like.shape[1:]).to(like.device, like.dtype)
        return [(columns, c) for c in table.unbind()]

    parts = ([steps(*row) for row in rows] for rows in segment.rows(differentiable))
    asked, carried = ([list(step) for step in zip(*part, strict=True)] or [[]] * segment.steps for part in parts)
    return list(zip(asked, carried, strict=True))


def _scaled(terms: tuple, registers: list, like: torch.Tensor) -> torch.Tensor:
    """The same with a coefficient for every component of the state."""
    columns, coefficients = terms
    if not columns:
        return torch.zeros_like(like)
    if coefficients is None:
        return registers[columns[0]]
    total = registers[columns[0]] * coefficients[0]
    for j, c in zip(columns[1:], coefficients[1:], strict=True):
        total.addcmul_(c, registers[j])
    return total
