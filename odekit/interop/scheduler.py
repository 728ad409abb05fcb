"""Any method on any grid as a diffusers scheduler; reached as `odekit.interop.diffusers.Scheduler`."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin, SchedulerOutput

from odekit import grids, methods
from odekit.exceptions import MethodError, OdekitError, TimeRangeError, unknown
from odekit.fields.flow import ProbabilityFlow
from odekit.interop.nodes import nodes
from odekit.interop.programs import Replay, exported, never_asked, working
from odekit.interop.settings import PREDICTIONS, as_labels, betas, label_of, tabulated, time_of, translated
from odekit.plan.program import Plan
from odekit.processes import RectifiedFlow

ENDS = ("zero", "sigma_min")


class Scheduler(SchedulerMixin, ConfigMixin):
    """A method of odekit on a grid of odekit, for diffusers pipelines.

    ``method`` with ``method_options``: what `odekit.methods.get` takes (a name, or the path of a method file).
    ``grid`` with ``grid_options``: what `odekit.grid` takes; by default "trailing", and "flow" for flow matching.
    ``prediction_type``: what the network returns: "epsilon", "sample", "v_prediction", or "flow_prediction", which
    also says that the process is the straight one of flow matching, with its ``shift`` (exp(mu) of `set_timesteps`
    instead under ``use_dynamic_shifting``). ``final_sigmas_type``: "zero" spends the last step on going to sigma = 0,
    "sigma_min" stops at label 0. ``round_timesteps`` moves the nodes to whole labels, for networks that know no other.
    The rest is diffusers' own. State: that of the process (alpha x_0 + sigma noise).

    The table is computed on the host in float64 by `set_timesteps`; ``plan`` and ``grid`` show it. Every evaluation is
    one entry of ``timesteps``. Samples of half precision are kept in float32 between calls. A sample that was changed
    between two calls (inpainting, a callback) moves the state with it.

    Gradients pass through `step`. Raises OdekitError for settings that do not exist or fit, in one line.

    >>> scheduler = Scheduler("heun2", grid="karras", prediction_type="v_prediction")
    >>> scheduler.set_timesteps(4)
    >>> scheduler.order, len(scheduler.timesteps), len(scheduler.grid)
    (2, 7, 5)
    """

    _compatibles = [
        *(entry.name for entry in KarrasDiffusionSchedulers),
        *(f"{name}Scheduler" for name in ("LCM", "IPNDM", "SASolver", "EDMDPMSolverMultistep", "CogVideoXDDIM")),
        *(f"FlowMatch{name}Scheduler" for name in ("EulerDiscrete", "HeunDiscrete", "LCM")),
    ]

    @register_to_config
    def __init__(
        self,
        method: str = "dpmpp-2m",
        method_options: dict | None = None,
        grid: str | None = None,
        grid_options: dict | None = None,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        prediction_type: str = "epsilon",
        final_sigmas_type: str = "zero",
        shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        round_timesteps: bool = False,
        **kwargs: Any,
    ):
        for key in kwargs:
            raise unknown("config key", key, _keys())
        if prediction_type not in PREDICTIONS:
            raise unknown("prediction_type", prediction_type, PREDICTIONS)
        if final_sigmas_type not in ENDS:
            raise unknown("final_sigmas_type", final_sigmas_type, ENDS)
        self.method = methods.get(method, **(method_options or {}))
        if not self.method.is_plannable:
            raise MethodError(f"{self.method.name} is no scheduler: it runs eagerly; {self.method.plannable_variant}")
        if prediction_type == "flow_prediction":
            self.process = RectifiedFlow()
        else:
            table = betas(beta_schedule, num_train_timesteps, beta_start, beta_end, trained_betas)
            self.process = tabulated(tuple(table.tolist()))
            self.alphas_cumprod = (1 - table).cumprod(0).float()
            self.betas = table.float()
        if grid is not None:
            grids.get(grid)
        self._flow = ProbabilityFlow(self.process, never_asked, PREDICTIONS[prediction_type])
        self.init_noise_sigma = 1.0
        self.order = self.method.evaluations
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.sigmas: torch.Tensor | None = None
        self.num_inference_steps: int | None = None
        self.grid: torch.Tensor | None = None
        self.plan: Plan | None = None
        self._begin_index: int | None = None
        self._index: int | None = None
        self._run: Replay | None = None

    def __len__(self) -> int:
        return self.config.num_train_timesteps

    # ------------------------------------------------------------ settings

    @classmethod
    def extract_init_dict(cls, config_dict, **kwargs):
        """diffusers' hook of from_config: another scheduler's settings are translated, unknown ones refused."""
        # Values are meant, though diffusers counts positional arguments among the defaults, which it would leave out.
        config_dict = {key: value for key, value in config_dict.items() if key != "_use_default_values"}
        own, known = set(_keys()), _keys_of_diffusers()
        for key in (*config_dict, *kwargs):
            if not key.startswith("_") and key not in own | known:
                raise unknown("config key", key, own)
        if "method" in config_dict or not config_dict:
            return super().extract_init_dict(config_dict, **kwargs)
        other = getattr(diffusers, config_dict.get("_class_name", ""), None)
        changed = {key: kwargs.pop(key) for key in [*kwargs] if key in known - own}
        theirs = (_defaults(other) if other else {}) | config_dict | changed
        ours = translated(theirs)
        if "grid" in kwargs:
            ours.pop("grid_options", None)
        taken, _, _ = super().extract_init_dict(ours, **kwargs)
        return taken, {}, {k: v for k, v in theirs.items() if k not in own and k != "_diffusers_version"}

    # ------------------------------------------------------------ the table

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Compute the table: N steps of the grid, or nodes of one's own as ``timesteps`` (labels) or ``sigmas``.

        Own nodes are taken as they are and decrease strictly; the final one, if it is sigma = 0, may be left out.
        Sigmas are sigma/alpha, and those of flow matching sigma itself, shifted by ``mu`` under
        ``use_dynamic_shifting``. Raises OdekitError for nodes that are none, for more steps than training timesteps,
        and for a device that is not there.
        """
        self.grid = nodes(self.process, self.config, num_inference_steps, timesteps, sigmas, mu)
        self.plan = exported(self.method, self._flow, self.grid)
        self._labels = self._told(self.plan)
        self.num_inference_steps = len(self.grid) - 1
        self.order = self._order()
        try:
            self.timesteps = as_labels(self._labels, device)
        except (RuntimeError, AssertionError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise OdekitError(f"timesteps cannot be put on device {str(device)!r}: {reason}; is it there?") from None
        times = torch.cat([self.plan.times, self.grid[-1:]])
        self.sigmas = (times if isinstance(self.process, RectifiedFlow) else self.process.kappa(times)).float()
        self._begin_index = self._index = self._run = None

    def _told(self, built: Plan) -> list[float]:
        """The labels the network is told, one an evaluation."""
        labels = [label_of(self.process, t, len(self)) for t in built.times.tolist()]
        for k, label in enumerate(labels if self.config.round_timesteps else ()):
            if label != round(label):
                raise MethodError(
                    f"{built.name} asks the network at label {label:.6g} (evaluation {k}); round_timesteps=True needs "
                    "a method that asks at the nodes only"
                )
        return labels

    def _starts(self) -> list[int]:
        """For each step the entry of ``timesteps`` at its first node: its own first one, or the last of the step before
        (methods whose last stage is the next one's first)."""
        counts = [segment.evaluations for segment in self.plan.segments for _ in range(segment.steps)]
        begins, times = [sum(counts[:i]) for i in range(len(counts))], [*self.plan.times.tolist(), math.nan]
        return [k if times[k] == t else k - 1 for k, t in zip(begins, self.grid.tolist(), strict=False)]

    def _order(self) -> int:
        """Entries a step, where step i begins at entry i * order of ``timesteps``; else 1."""
        starts = self._starts()
        each = starts[1] if len(starts) > 1 else len(self._labels)
        return each if starts == [i * each for i in range(len(starts))] else 1

    # ------------------------------------------------------------ where a run begins

    @property
    def step_index(self) -> int | None:
        """The entry of ``timesteps`` whose model output `step` takes next; None before the first one."""
        return self._index

    @property
    def begin_index(self) -> int | None:
        """The entry that a run begins with, where a pipeline has said so."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin a run with this entry of ``timesteps`` (image to image); it must be the first of a step."""
        if self.plan is not None:
            self._from(begin_index)
        self._begin_index = begin_index
        self._index = self._run = None

    def index_for_timestep(self, timestep: Any, schedule_timesteps: Any = None) -> int:
        """The entry of ``timesteps`` at which a step begins with this label; stages with the same label are none."""
        self._require_timesteps()
        label = float(torch.as_tensor(timestep).reshape(-1)[0])
        schedule = self._labels if schedule_timesteps is None else [float(s) for s in schedule_timesteps]
        near = min(schedule, key=lambda s: abs(s - label))
        if not abs(near - label) <= 1e-6 * len(self):
            raise TimeRangeError(f"no step begins at timestep {label:.9g}; the nearest entry is {near:.9g}")
        entries = [k for k, s in enumerate(schedule) if s == near]
        return next((k for k in entries if k in self._starts()), entries[0])

    def _from(self, k: int) -> Plan:
        """The plan of a run that begins with entry k: the method starts anew there, and must ask for what is left."""
        if k == 0:
            return self.plan
        if not 0 <= k < len(self._labels):
            raise OdekitError(f"begin index {k} lies outside the {len(self._labels)} entries of timesteps")
        starts = self._starts()
        if k not in starts:
            shown = ", ".join(map(str, starts[:8])) + (", ..." if len(starts) > 8 else "")
            raise OdekitError(f"entry {k} of timesteps is inside a step of {self.plan.name}: begin with one of {shown}")
        rest = exported(self.method, self._flow, self.grid[starts.index(k) :])
        if self._told(rest) != self._labels[k:]:
            raise OdekitError(
                f"{self.plan.name} cannot begin anew at entry {k} of timesteps: its start asks at other times than "
                "those left; take one that does not, such as method_options={'start': 'rising'}"
            )
        return rest

    # ------------------------------------------------------------ the protocol of a pipeline

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        """The sample itself: the state is the process's own."""
        return sample

    def step(
        self,
        model_output: torch.Tensor,
        timestep: Any,
        sample: torch.Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        generator: Any = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[torch.Tensor]:
        """Take the model's output at ``sample`` (B, *shape); the next sample to ask it at, and the result at last.

        ``timestep`` is checked against the entry whose turn it is, where that needs no wait for a device. Raises
        OdekitError for another entry's timestep, outputs of another shape, and settings that draw or clip.
        """
        self._require_timesteps()
        if eta or use_clipped_model_output:
            setting = "eta" if eta else "use_clipped_model_output"
            raise OdekitError(
                f"{setting} is set, but {self.plan.name} solves the ODE, without noise or clipping: leave it out"
            )
        if tuple(model_output.shape) != tuple(sample.shape):
            raise OdekitError(
                f"the model returned {tuple(model_output.shape)} for a sample {tuple(sample.shape)}; expected the same "
                "shape (of a model that also predicts a variance, take the first half of the channels)"
            )
        state = working(sample)
        if self._run is None:
            begin = self.index_for_timestep(timestep) if self._begin_index is None else self._begin_index
            self._run, self._index = Replay(self._from(begin), state), begin
        else:
            self._run.moved(state.sub_(self._run.asked.to(sample.dtype)))
        self._check(timestep)
        asked = self._run.tell(model_output.to(state, copy=True))
        self._index += 1
        moved = asked.to(sample.dtype, copy=True)
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def _require_timesteps(self) -> None:
        if self.plan is None:
            raise OdekitError("this scheduler has no timesteps yet: call set_timesteps(N) first")

    def _check(self, timestep: Any) -> None:
        if self._run.is_done:
            raise OdekitError(f"all {len(self._labels)} evaluations are done: call set_timesteps() for another run")
        if torch.is_tensor(timestep) and timestep.device.type != "cpu":
            return
        expected, told = self._labels[self._index], float(torch.as_tensor(timestep).reshape(-1)[0])
        if not abs(told - expected) < 1:
            raise OdekitError(
                f"step() was given timestep {told:.9g} where entry {self._index} of timesteps is {expected:.9g}: pass "
                "the entries in their order, and call set_timesteps() or set_begin_index() before another run"
            )

    # ------------------------------------------------------------ noise

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: Any) -> torch.Tensor:
        """alpha x_0 + sigma noise at the timesteps (B,) or (), in the dtype of the samples."""
        alpha, sigma = self._levels(timesteps, original_samples)
        return alpha * original_samples + sigma * noise.to(original_samples)

    def scale_noise(self, sample: torch.Tensor, timestep: Any, noise: torch.Tensor) -> torch.Tensor:
        """`add_noise` under the name and the order of arguments that pipelines of flow matching use."""
        return self.add_noise(sample, noise, timestep)

    def get_velocity(self, sample: torch.Tensor, noise: torch.Tensor, timesteps: Any) -> torch.Tensor:
        """v = alpha noise - sigma x_0 at the timesteps (Salimans & Ho 2022, section 4)."""
        alpha, sigma = self._levels(timesteps, sample)
        return alpha * noise.to(sample) - sigma * sample

    def _levels(self, timesteps: Any, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.as_tensor(timesteps).detach().double().cpu().reshape(-1)
        times = time_of(self.process, labels, len(self))
        if bool((times < 0).any() or (times > 1).any()):
            raise TimeRangeError(f"timesteps lie between 0 and {len(self) - 1}; got {labels.tolist()}"[:200])
        shape = (-1, *(1 for _ in like.shape[1:]))
        return tuple(f(times).reshape(shape).to(like) for f in (self.process.alpha, self.process.sigma))


Scheduler.__module__ = "odekit.interop.diffusers"  # where pipelines and pickles look it up


def _keys() -> list[str]:
    return list(_defaults(Scheduler))


@functools.cache
def _keys_of_diffusers() -> frozenset[str]:
    return frozenset(key for kind in Scheduler._get_compatibles() for key in _defaults(kind))


def _defaults(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters
    return {key: p.default for key, p in parameters.items() if key not in ("self", "kwargs")}
