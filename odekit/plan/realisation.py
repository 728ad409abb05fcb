"""From a dense table to a Plan: as few live registers as its Hankel rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from odekit.engine import Segment
from odekit.plan.carriers import flat, folded


def equilibrated(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) scales such that sizes / row / column has no entry above 1 and a 1 in every column.

    ``sizes`` are tables (..., R, C), each with scales of its own.
    What counts as large in a table depends on the row and on the register: with a noise prediction on VP the
    coefficients of x_T grow to 1/alpha_T, those of the last model output are of the size of sigma, and both matter as
    much.
    """
    rows, columns = np.ones(sizes.shape[:-1]), np.ones((*sizes.shape[:-2], sizes.shape[-1]))
    for _ in range(2):
        rows *= _largest(sizes / rows[..., None] / columns[..., None, :], axis=-1)
        columns *= _largest(sizes / rows[..., None] / columns[..., None, :], axis=-2)
    return rows, columns


def _largest(sizes: np.ndarray, axis: int) -> np.ndarray:
    largest = sizes.max(axis=axis, initial=0.0)
    return np.where(largest > 0, largest, 1.0)


def heard(sizes: np.ndarray, channels: int, rounding: float) -> np.ndarray:
    """Which columns of a table of sizes (R, C) are more than rounding (C,), channel by channel of its registers.

    Where only one channel of an output is used, a change of prediction leaves rounding in the columns of the others:
    nothing beside that one in every row. Equilibrated, they would look like signal.
    """
    shares = (sizes / _largest(sizes, axis=-1)[..., None]).max(axis=0).reshape(-1, channels)
    return (shares > rounding * shares.max(axis=1, keepdims=True)).ravel()


def realised(rows: np.ndarray, kinds: list[str], times: np.ndarray, epsilon: float) -> list[Segment]:
    """Segments with as few live registers as possible, from rows (n+1, 1+events) over x_T and the events in order.

    ``kinds`` names the events, "evaluation" or "draw"; the last row is the output; ``epsilon`` is the rounding unit of
    the arithmetic that made the rows. The map from past registers to all later rows is a Hankel matrix: its numerical
    rank is the number of registers that must stay alive (minimal realisation of a time-varying system: Dewilde & van
    der Veen 1998, chapter 3). The bases are rows themselves, the next input first. They are found from the end
    backwards, where an event adds one row and takes one column away: n events cost n small factorisations.

    Rows of operators have axes of their own behind. A register holds all channels of a state and all its components:
    rows enter a basis by channels together, and one basis serves all components; it may be larger than a rank.
    """
    own = rows.ndim - 2
    channels = rows.shape[-1] if own == 2 else 1
    tolerance = 64 * epsilon * max(1.0, len(rows)) ** 0.5
    table = flat(rows, own) if own == 1 else flat(rows, own)[None]  # (components, rows, columns) of numbers
    if channels > 1:
        table = table * heard(np.abs(table[0]), channels, tolerance)
    scale, columns = equilibrated(np.abs(table))
    scaled = table / scale[..., None] / columns[:, None]

    def spread(which: Sequence[int]) -> list[int]:
        return [channels * k + i for k in which for i in range(channels)]

    def operators(part: np.ndarray) -> np.ndarray:
        return folded(part if own == 1 else part[0], rows.shape[2:])

    asked = len(rows) - 1
    following, steps = [asked], []  # after the last event only the output is left
    for begin, end in reversed(_moves(kinds)):
        evaluates = kinds[begin] == "evaluation"
        asked -= evaluates
        needed = [asked, *following] if evaluates else following
        lines, seen, born = spread(needed), channels * (begin + 1), channels * (end + 1)
        if begin:
            basis, known = _independent(scaled[:, lines, :seen], channels, tolerance, asked_first=evaluates)
            known *= scale[:, lines, None] / scale[:, lines][:, None, spread(basis)]
        else:
            basis, known = [0], table[:, lines, :channels]
        first = channels * int(evaluates)
        carry = np.concatenate([known[:, first:], table[:, spread(following), seen:born]], axis=2)
        steps.append((times[asked : asked + evaluates], operators(known[:, :first]), operators(carry)))
        following = [needed[i] for i in basis]
    return list(_grouped(steps[::-1]))


def _moves(kinds: list[str]) -> list[tuple[int, int]]:
    """Events (begin, end) that make one step: an evaluation and the draws that follow it; or draws that come first."""
    begins = [e for e, kind in enumerate(kinds) if e == 0 or kind == "evaluation"]
    return list(zip(begins, [*begins[1:], len(kinds)], strict=True))


def _independent(rows: np.ndarray, channels: int, tolerance: float, asked_first: bool) -> tuple[list[int], np.ndarray]:
    """Which rows (by channels together, for all components) are numerically independent, and all in terms of those."""
    rest, chosen = rows.copy(), []

    def sizes() -> np.ndarray:
        squares = (rest * rest).sum(axis=2).reshape(len(rest), -1, channels).sum(axis=2)
        return np.sqrt(squares.max(axis=0))

    size = sizes()
    pick = 0 if asked_first and size[0] > tolerance else int(size.argmax())
    while size[pick] > tolerance:
        chosen.append(pick)
        for line in range(channels * pick, channels * (pick + 1)):
            length = np.sqrt((rest[:, line] ** 2).sum(axis=1, keepdims=True))
            direction = np.where(length > tolerance, rest[:, line], 0.0) / np.where(length > tolerance, length, 1.0)
            rest -= (rest @ direction[..., None]) * direction[:, None]
            rest[:, line] = 0.0
        size = sizes()
        pick = int(size.argmax())
    chosen = sorted(chosen) or [0]  # a register holding zero where nothing of the past is needed
    lines = [channels * k + i for k in chosen for i in range(channels)]
    known = np.zeros((len(rows), rows.shape[1], len(lines)))
    known[:, lines, range(len(lines))] = 1.0
    others = [i for i in range(rows.shape[1]) if i not in lines]
    if others:
        basis, wanted = (torch.from_numpy(rows[:, some].swapaxes(1, 2).copy()) for some in (lines, others))
        found = torch.linalg.lstsq(basis, wanted, driver="gelsd").solution.numpy().swapaxes(1, 2)
        known[:, others] = np.where(np.abs(found) < tolerance / 64, 0.0, found)
    return chosen, known


def _grouped(steps: list):
    """Consecutive steps with equally shaped tables share a segment."""
    i = 0
    while i < len(steps):
        j = i
        while j + 1 < len(steps) and [t.shape for t in steps[j + 1]] == [t.shape for t in steps[i]]:
            j += 1
        when, asks, carries = (torch.from_numpy(np.stack(part)) for part in zip(*steps[i : j + 1], strict=True))
        slots, fresh = (asks.shape[2], carries.shape[2] - asks.shape[2])
        # no input takes what is not there yet
        unborn = torch.zeros(*asks.shape[:2], fresh, *asks.shape[3:], dtype=torch.float64)
        names = tuple(f"r.{s}" for s in range(slots))
        yield Segment(when, torch.cat([asks, unborn], dim=2), carries, names, draws=fresh - asks.shape[1])
        i = j + 1
