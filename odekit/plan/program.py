"""Plan: a solver on a grid, as the straight-line program over model evaluations that it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from odekit import engine
from odekit.engine import Segment
from odekit.exceptions import DivergenceError, ModelError, OdekitError
from odekit.expressions import FLOAT64, Field, mpfield
from odekit.fields.matrix import require_states


@dataclass(frozen=True, eq=False)
class Table:
    """The whole program as one table over x_T and the model outputs N_k (n evaluations).

    ``times`` (n,); ``inputs`` (n, 1+n), row k the coefficients of x_T, N_0, N_1, ... in the input of evaluation k;
    ``output`` (1+n,). Noise draws stand apart: ``noise_inputs`` (n, m), ``noise_output`` (m,), ``noise_intervals``.
    Coefficients that are operators have axes of their own behind, `Plan.form`.
    """

    times: Any
    inputs: Any
    output: Any
    noise_inputs: Any = None
    noise_output: Any = None
    noise_intervals: Any = None
    prediction: Any = "velocity"
    state_scale: tuple[float, float] = (1.0, 1.0)
    precision: Any = "float64"


@dataclass(frozen=True, eq=False)
class Plan:
    """Segments of equal steps with their coefficient tables, and the gauge in which they are written.

    ``prediction``: what the registers hold. ``process``: what the times mean (None: nothing). ``state_scale``: the
    start and the result of the program are these multiples of the process's own state. ``precision``: "float64",
    "float32", or decimal digits.

    >>> import odekit as ok
    >>> decay = ok.VectorField(lambda x, t: -x)
    >>> plan = ok.plan("rk4", decay, ok.grid("time-uniform", (0.0, 1.0), 2))
    >>> plan.evaluations, plan.dense().inputs.shape
    (8, torch.Size([8, 9]))
    """

    segments: tuple[Segment, ...]
    prediction: Any = "velocity"
    process: Any = None
    state_scale: tuple[float, float] = (1.0, 1.0)
    precision: Any = "float64"
    name: str = ""

    @property
    def evaluations(self) -> int:
        """Model evaluations of the whole program."""
        return sum(s.steps * s.evaluations for s in self.segments)

    @property
    def draws(self) -> int:
        """Noise draws of the whole program."""
        return sum(s.steps * s.draws for s in self.segments)

    @property
    def form(self) -> tuple[int, ...]:
        """The shape of a coefficient: () for numbers, (F,) for one a component, (n, n) for matrices on the channels."""
        return max((tuple(s.outputs.shape[3:]) for s in self.segments), key=len)

    @property
    def registers(self) -> int:
        """The most registers alive between two steps, the state among them."""
        return max(len(s.slots) for s in self.segments)

    @functools.cached_property
    def times(self):
        """When the model is asked, in order (n,)."""
        flat = [s.times.reshape(-1) for s in self.segments]
        if torch.is_tensor(flat[0]):
            return torch.cat(flat)
        import numpy

        return numpy.concatenate(flat)

    @property
    def numbers(self) -> Field:
        """The number field of the tables."""
        return mpfield(self.precision) if isinstance(self.precision, int) else FLOAT64

    def __call__(
        self,
        model: Callable,
        x: torch.Tensor,
        noise: Callable[[int], torch.Tensor] | None = None,
        differentiable: bool = False,
        watch: Callable[[torch.Tensor], None] | None = None,
        carry: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        """Run the program from x (B, *shape) with ``model(x, t)``; ``noise(k)`` answers draw number k.

        ``differentiable`` keeps the gradients of the table and passes times to the model as tensors; ``carry`` are the
        registers beside x that a plan built to take up a run under way starts with. Raises ModelError
        for a model that returns a wrong shape, a wrong dtype or NaN, DivergenceError for a state that overflows.
        """
        if not (torch.is_tensor(x) and x.is_floating_point() and x.ndim >= 1):
            raise OdekitError(f"the start must be a floating-point tensor (B, *shape); got {_described(x)}")
        require_states(self.process, x)
        if len(self.form) == 2 and x.shape[1:2] != self.form[:1]:
            n = self.form[0]
            raise OdekitError(f"the plan's coefficients are {n}x{n} blocks on (B, {n}, *shape); got {_described(x)}")
        if self.draws and noise is None:
            raise OdekitError(f"this plan draws noise {self.draws} times: give noise=, a function of the draw's number")
        ask = self._bound(model, differentiable)

        def call(k: int, y: torch.Tensor) -> torch.Tensor:
            output = ask(k, y)
            if not torch.is_tensor(output) or output.shape != y.shape or output.dtype != y.dtype:
                raise ModelError(
                    f"evaluation {k} (t = {float(self.times[k]):.6g}): the model returned {_described(output)}; "
                    f"expected {_described(y)}, like its input"
                )
            return output

        result = engine.run(self.segments, call, [x, *carry], noise, differentiable, watch)
        if not torch.isfinite(result.detach()).all():  # the one wait for the device, at the end
            self._diagnose(call, [x, *carry], noise)
        return result

    def _bound(self, model: Callable, differentiable: bool) -> Callable:
        if hasattr(model, "prepare") and not differentiable:
            known, call = vars(self).get("_prepared", (None, None))
            if known is not model:  # binding costs about as much as the first run: the last one is kept
                call = model.prepare([float(t) for t in self.times])
                vars(self)["_prepared"] = (model, call)
            return call
        times = self.times if torch.is_tensor(self.times) else torch.tensor(self.times.astype(float))
        moments = (times if differentiable else times.detach()).unbind()
        return lambda k, y: model(y, moments[k])

    def _diagnose(self, call: Callable, start: list[torch.Tensor], noise) -> None:
        """Run again, slowly, to name the evaluation at which the numbers broke."""

        def watched(k: int, y: torch.Tensor) -> torch.Tensor:
            at = f"evaluation {k} (t = {float(self.times[k]):.6g})"
            if not torch.isfinite(y).all() or y.abs().max() > torch.finfo(y.dtype).max ** 0.5:
                raise DivergenceError(
                    f"{at}: the state overflows: {self.name or 'the solver'} diverges on "
                    "this grid; take more steps or a more stable method"
                )
            output = call(k, y)
            if not torch.isfinite(output).all():
                raise ModelError(f"{at}: the model returned NaN or inf for a finite input")
            return output

        engine.run(self.segments, watched, start, noise)
        raise DivergenceError(f"the last step of {self.name or 'the solver'} overflows; take more steps")

    def dense(self) -> Table:
        """The program as one table (a view for reading and comparing, not the storage)."""
        from odekit.plan.dense import table

        with self.numbers.context:
            return table(self)

    def reexpress(self, prediction: Any = None, state_scale: tuple[float, float] | None = None) -> Plan:
        """The same program with registers that hold another prediction, or with start and end scaled otherwise."""
        from odekit.plan.gauge import reexpressed

        return reexpressed(self, prediction or self.prediction, state_scale or self.state_scale)

    def compress(self) -> Plan:
        """The same program with as few live registers as its Hankel rank allows."""
        from odekit.plan.dense import compressed

        return compressed(self.dense(), self)

    def save(self, path) -> None:
        """Write the plan as JSON data."""
        from odekit.plan.storage import save

        with self.numbers.context:
            save(self, path)

    @staticmethod
    def load(path) -> Plan:
        """Read a plan that `save` wrote."""
        from odekit.plan.storage import load

        return load(path)

    def replaced(self, **changes) -> Plan:
        """A copy with some of its fields changed."""
        return replace(self, **changes)

    def __reduce__(self) -> tuple:
        """Pickled by its fields, without the model it ran last."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def __repr__(self) -> str:
        return (
            f"<Plan {self.name or 'traced'}: {self.evaluations} evaluations, {self.registers} registers, "
            f"prediction {self.prediction!r}, {self.precision}>"
        )


def _described(value: Any) -> str:
    if not torch.is_tensor(value):
        return f"a {type(value).__name__}"
    return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
