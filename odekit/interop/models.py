"""Networks made elsewhere as ``model(x, t)`` of a process: what they are told, given, and what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from odekit.exceptions import PredictionError, unknown
from odekit.fields.predictions import Prediction
from odekit.fields.predictions import prediction as resolve
from odekit.interop.diffusers import process_of
from odekit.interop.settings import PREDICTIONS, as_labels, label_of
from odekit.processes import EDM

NAMES = {**PREDICTIONS, "flow": "velocity"}
STATES = ("process", "ve")


class Network:
    """A network as ``model(x, t)``: x (B, *shape) the state of ``process``, t its time, the result ``prediction``.

    ``told``: "label" (the training label, ``training`` of them, a 0-d tensor), "time", "sigma" (sigma/alpha) or
    "logsnr" (of shape (B,)), or a function of the time, whose number is passed as a tensor (B,). ``state``: what the
    network takes, "process" or "ve" (x / alpha). ``prediction``: odekit's names or diffusers', or a `Prediction`.
    Further arguments go to the network with every call (``encoder_hidden_states=...``); guidance stays with the caller,
    who wraps a function. A network with parameters is called in their dtype, the result has that of x.

    >>> import odekit as ok
    >>> model = Network(lambda x, sigma: 0 * x, ok.EDM(), "data", told="sigma")
    >>> ok.solve(model.flow, torch.ones(2, 1), "ddim", torch.tensor([2.0, 1.0]))
    tensor([[0.5000],
            [0.5000]])
    """

    def __init__(
        self,
        network: Callable,
        process: Any,
        prediction: str | Prediction,
        told: str | Callable[[float], float] = "label",
        state: str = "process",
        training: int = 1000,
        **arguments: Any,
    ):
        if not callable(network):
            raise PredictionError(f"a network is called as network(x, t); got a {type(network).__name__}")
        if not callable(told) and told not in TOLD:
            raise unknown("way to tell a network the time", told, TOLD)
        if state not in STATES:
            raise unknown("state of a network", state, STATES)
        self.network, self.process, self.arguments = network, process, arguments
        self.prediction = prediction if isinstance(prediction, Prediction) else NAMES.get(prediction, prediction)
        resolve(self.prediction)
        self._told, self._state, self._training = told, state, training

    @property
    def flow(self):
        """The probability flow of this network."""
        from odekit.fields.flow import ProbabilityFlow

        return ProbabilityFlow(self.process, self, prediction=self.prediction)

    def __call__(self, x: torch.Tensor, t: Any) -> torch.Tensor:
        """The network's output at states x (B, *shape) and process time t."""
        return self._ask(x, *self._at(float(t)))

    def prepare(self, times: list[float]) -> Callable[[int, torch.Tensor], torch.Tensor]:
        """Bind to a list of times: ``call(k, x)`` does no scalar work."""
        bound = [self._at(t) for t in times]
        return lambda k, x: self._ask(x, *bound[k])

    def _at(self, t: float) -> tuple[torch.Tensor, float]:
        """What the network is told at t, and what x is divided by."""
        if self._told == "label":
            told = as_labels([label_of(self.process, t, self._training)])[0]
        else:
            number = float((TOLD.get(self._told) or self._told)(*self._about(t)))
            told = torch.tensor([number], dtype=torch.float64)
        return told, 1.0 if self._state == "process" else float(self.process.alpha(t))

    def _about(self, t: float) -> tuple:
        return (t,) if callable(self._told) else (self.process, t)

    def _ask(self, x: torch.Tensor, told: torch.Tensor, scale: float) -> torch.Tensor:
        dtype = _dtype(self.network, x)
        state = (x if scale == 1.0 else x / scale).to(dtype)
        if told.ndim:  # numbers come in the dtype of the state, labels keep theirs
            told = told.to(dtype).expand(len(x))
        output = self.network(state, told.to(x.device), **self.arguments)
        if isinstance(output, tuple):
            output = output[0]
        output = getattr(output, "sample", output)
        return output.to(x.dtype) if torch.is_tensor(output) else output

    def __repr__(self) -> str:
        return f"Network({type(self.network).__name__}, {self.process!r}, {self.prediction!r})"


def _dtype(network: Callable, x: torch.Tensor) -> torch.dtype:
    weight = next(network.parameters(), None) if isinstance(network, torch.nn.Module) else None
    return x.dtype if weight is None else weight.dtype


TOLD: dict[str, Callable[[Any, float], float] | None] = {
    "label": None,
    "time": lambda process, t: t,
    "sigma": lambda process, t: process.kappa(t),
    "logsnr": lambda process, t: process.logsnr(t),
}


def from_diffusers(network: Callable, scheduler: Any, prediction: str | None = None, **arguments: Any) -> Network:
    """A diffusers network with the process, the prediction and the labels of the scheduler it belongs to.

    ``network(x, label, **arguments)`` returns a tensor, a tuple, or an output with ``sample``. ``prediction`` overrides
    the scheduler's. Raises TraceError for schedulers of processes odekit does not know.

    >>> import diffusers, odekit as ok
    >>> scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction")
    >>> model = from_diffusers(lambda x, label: x * 0, scheduler)
    >>> model.prediction, ok.solve(model.flow, torch.ones(1, 1), "ddim", [1.0, 0.5]).shape
    ('v', torch.Size([1, 1]))
    """
    config = scheduler.config
    own = prediction or getattr(config, "prediction_type", None) or "flow_prediction"
    return Network(network, process_of(scheduler), own, training=config.num_train_timesteps, **arguments)


def from_kdiffusion(denoiser: Callable, process: Any = None, **arguments: Any) -> Network:
    """A k-diffusion denoiser D(x, sigma, **arguments), x = x_0 + sigma noise, as a model of a process (by default EDM).

    >>> model = from_kdiffusion(lambda x, sigma: x / (1 + sigma[:, None] ** 2))         # the data are N(0, 1)
    >>> float(model(torch.full((1, 1), 5.0), 2.0))
    1.0
    """
    return Network(denoiser, EDM() if process is None else process, "data", told="sigma", state="ve", **arguments)
