"""Programs that leave the house: plans whose ends any network can bear, run one model evaluation at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from odekit import grids, methods
from odekit.engine import combine
from odekit.exceptions import OdekitError, PredictionError, TimeRangeError
from odekit.plan import plan
from odekit.plan.program import Plan

FROM_NOISE, TO_DATA = "euler", "dpmpp-1"
"""The step from alpha = 0 (Euler in x, where DDIM has no finite form) and the one to sigma = 0 (DDIM, x_0 itself)."""

HALF = (torch.float16, torch.bfloat16)


def exported(method: Any, flow, grid: torch.Tensor) -> Plan:
    """The plan of a method on a grid (N+1,), with its first and last step made fit for a network.

    A step to sigma = 0 is one of order one, with one evaluation at its start, where the formula is not finite or asks
    the model between the last noise level and none, where it was never trained. So is a step from alpha = 0 where the
    formula is not finite. Raises what `odekit.plan` raises where the method cannot be built all the same, and
    OdekitError for a method that does not begin at the state it is given.

    >>> import odekit as ok
    >>> flow = ok.ProbabilityFlow(ok.EDM(), lambda x, t: x, prediction="data")
    >>> [len(exported(name, flow, torch.tensor([9.0, 1.0, 0.0])).times) for name in ("rk4", "dpmpp-2m")]
    [5, 2]
    """
    method, grid = methods.get(method), grids.check(grid, flow.process)
    steps = len(grid) - 1
    from_noise = float(flow.process.alpha(float(grid[0]))) == 0.0
    to_data = float(flow.process.sigma(float(grid[-1]))) == 0.0
    refusal = None
    for first, last in ((0, 0), (0, 1), (1, 0), (1, 1)):
        if first > from_noise or last > to_data:
            continue
        try:
            with np.errstate(all="ignore"):
                built = _pieces(method, flow, grid, first, steps - last)
        except (PredictionError, TimeRangeError) as error:
            refusal = refusal or error
            continue
        if last or not to_data or not bool((built.times < grid[-2]).any()):
            return _beginning_at_x(built)
    raise refusal


def _pieces(method: methods.Method, flow, grid: torch.Tensor, begin: int, end: int) -> Plan:
    pieces = [plan(FROM_NOISE, flow, grid[: begin + 1])] if begin else []
    if end > begin:
        pieces.append(plan(method, flow, grid[begin : end + 1]))
    if end < len(grid) - 1 and end >= begin:
        pieces.append(plan(TO_DATA, flow, grid[end:]))
    segments = [s for piece in pieces[:-1] for s in _state_only(piece.segments)]
    return pieces[-1].replaced(segments=(*segments, *pieces[-1].segments), name=method.name)


def _state_only(segments: tuple) -> list:
    """Segments whose last step hands on nothing but the state."""
    *before, last = segments
    split = [
        replace(last, times=last.times[rows], inputs=last.inputs[rows], outputs=last.outputs[rows], pattern=None)
        for rows in (slice(None, -1), slice(-1, None))
    ]
    final = replace(split[1], outputs=split[1].outputs[:, :1])
    return [*before, *([split[0]] if last.steps > 1 else []), final]


def _beginning_at_x(built: Plan) -> Plan:
    first = built.segments[0].inputs[0, 0].tolist() if built.segments[0].evaluations else [0.0]
    if abs(first[0] - 1) < 1e-12 and not any(first[1:]):
        return built
    raise OdekitError(f"{built.name} first asks elsewhere than at its start: a loop around the model cannot run it")


def working(x: torch.Tensor) -> torch.Tensor:
    """A copy to calculate with: half precision becomes float32."""
    return x.to(torch.float32 if x.dtype in HALF else x.dtype, copy=True)


def never_asked(x: torch.Tensor, t: Any) -> torch.Tensor:
    """The model of a flow whose plan is run from outside."""
    raise AssertionError("a table is made without asking the model")


class Replay:
    """A plan run from outside: ``asked`` is where the model is asked next, `tell` takes its answer.

    Answers must be tensors of their own, in the dtype and on the device of x: they are kept.

    >>> import odekit as ok
    >>> grid = ok.grid("time-uniform", (0.0, 1.0), 1)
    >>> run = Replay(ok.plan("heun2", ok.VectorField(lambda x, t: -x), grid), torch.ones(1).double())
    >>> float(run.tell(-run.asked)), float(run.tell(-run.asked)), run.is_done
    (0.0, 0.5, True)
    """

    def __init__(self, built: Plan, x: torch.Tensor):
        if built.draws:
            raise OdekitError(f"{built.name} draws noise, which a loop around the model cannot hand to it")
        self._steps = [step for segment in built.segments for step in segment.program]
        self._like = x
        self._registers = [x]
        self._step, self._stage = 0, 0
        self._settle()

    @property
    def is_done(self) -> bool:
        """Whether every evaluation has been answered; ``asked`` is then the result."""
        return self._step == len(self._steps)

    def tell(self, output: torch.Tensor) -> torch.Tensor:
        """Take the model's answer; the next input, or the result."""
        self._registers.append(output)
        self._stage += 1
        return self._settle()

    def moved(self, by: torch.Tensor) -> None:
        """The input was changed by this much from outside: change the state so that it is the input asked for."""
        row = [] if self.is_done else self._steps[self._step][0][self._stage]
        of_state = dict(row).get(0, 0.0)
        if of_state:
            self._registers[0] = torch.add(self._registers[0], by, alpha=1 / of_state)
            self.asked = self.asked + by

    def _settle(self) -> torch.Tensor:
        while not self.is_done:
            asked, carried = self._steps[self._step]
            if self._stage < len(asked):
                self.asked = combine(asked[self._stage], self._registers, self._like)
                return self.asked
            self._registers = [combine(terms, self._registers, self._like) for terms in carried]
            self._step, self._stage = self._step + 1, 0
        self.asked = self._registers[0]
        return self.asked
