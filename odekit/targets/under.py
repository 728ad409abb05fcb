"""Which law a mixture has under which process."""

from __future__ import annotations

from typing import Any

from ..exceptions import TargetError, brief
from ..processes.blurring import Blurring
from ..processes.matrix import MatrixProcess
from .blurred import BlurredMixture
from .mixture import GaussianMixture
from .phase_space import PhaseSpaceMixture
from .seen import SeenThrough


def under(process: Any, mixture: GaussianMixture) -> SeenThrough:
    """The law of u_t under a process with matrix coefficients, for data drawn from a Gaussian mixture.

    It has `score(u, t)`, `score_jvp(u, v, t)`, `denoiser(u, t)` (E[x_0 | u_t]), `log_density(u, t)`,
    `sample(count, t, seed)`, `at(t)` (tables ready for one time) and in phase space `marginal_x(t)`. States are those
    of the process: (B, n, *shape) in phase space, cosine coefficients (B, *shape) under blurring, its `denoiser` too.
    Raises `TargetError` for a process with scalar coefficients, whose scores the mixture itself has, and for data that
    are no mixture.

    >>> from odekit.processes import PSLD
    >>> from odekit.targets import bimodal
    >>> seen = under(PSLD(), bimodal())
    >>> u = seen.sample(3, t=0.5, seed=0)
    >>> u.shape, seen.score(u, 0.5).shape, seen.denoiser(u, 0.5).shape
    (torch.Size([3, 2, 1]), torch.Size([3, 2, 1]), torch.Size([3, 1]))
    """
    if not isinstance(mixture, GaussianMixture):
        raise TargetError(f"exact scores need a Gaussian mixture or a data set as one, got {type(mixture).__name__}")
    if isinstance(process, Blurring):
        return BlurredMixture(process, mixture)
    if isinstance(process, MatrixProcess):
        return PhaseSpaceMixture(process, mixture)
    if hasattr(process, "alpha"):
        raise TargetError(
            f"{type(process).__name__} has scalar coefficients: ask the mixture itself, score(x, alpha, sigma)"
        )
    raise TargetError(f"expected a process such as PSLD(), CLD() or Blurring(shape=...), got {brief(process)}")
