"""Mixtures seen through a process with matrix coefficients: score, Jacobian, posterior mean and density of u_t."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..exceptions import TargetError
from .mixture import GaussianMixture, settled


class AtTime:
    """The law of u_t at one time, ready to be evaluated: one Gaussian a component, states u of the process.

    Subclasses give, for states flattened as they like: `components(u)`, the logs (B, K) of w_k times each component's
    density, and the components' scores (B, K, *state); `precise(v)` (B, K, *state), the precisions times v;
    `posterior(u)` (B, K, d), the components' posterior means of x_0.
    """

    def __init__(self, seen: SeenThrough):
        self.seen = seen

    def score(self, u: Tensor) -> Tensor:
        """Gradient of the log-density, shaped like the states u."""

        def formula(u: Tensor) -> Tensor:
            logits, g = self.components(u)
            return _weighted(torch.softmax(logits, 1), g)

        return self._by_rows(formula, u)

    def score_jvp(self, u: Tensor, v: Tensor) -> Tensor:
        """The Jacobian of the score at u, times v: -sum r_k P_k v + sum r_k g_k (g_k . v) - s (s . v)."""

        def formula(u: Tensor, v: Tensor) -> Tensor:
            logits, g = self.components(u)
            r = torch.softmax(logits, 1)
            along = (g * v.unsqueeze(1)).flatten(2).sum(2)
            # covariances, not differences of second moments: the mean over k is taken off first
            centred = r * (along - (r * along).sum(1, keepdim=True))
            return _weighted(centred, g) - _weighted(r, self.precise(v))

        return self._by_rows(formula, u, v)

    def denoiser(self, u: Tensor) -> Tensor:
        """Posterior mean E[x_0 | u_t] (B, *shape), for Blurring of the transformed x_0."""

        def formula(u: Tensor) -> Tensor:
            return _weighted(torch.softmax(self.components(u)[0], 1), self.posterior(u))

        return self._by_rows(formula, u, form=self.seen.mixture.shape)

    def log_density(self, u: Tensor) -> Tensor:
        """Log-density (B,) of u_t."""
        return self._by_rows(lambda u: torch.logsumexp(self.components(u)[0], 1), u, form=())

    def components(self, u: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def precise(self, v: Tensor) -> Tensor:
        raise NotImplementedError

    def posterior(self, u: Tensor) -> Tensor:
        raise NotImplementedError

    def _by_rows(self, formula: Callable, *states: Tensor, form: tuple[int, ...] | None = None) -> Tensor:
        flat = [self.seen.flat(state) for state in states]
        if flat[0].shape != flat[-1].shape:
            raise TargetError(f"u and v must have one shape, got {tuple(states[0].shape)} and {tuple(states[1].shape)}")
        mixture = self.seen.mixture
        rows = max(1, mixture.budget // (64 * mixture.means.numel()))
        parts = [formula(*part) for part in zip(*(s.split(rows) for s in flat), strict=True)]
        result = parts[0] if len(parts) == 1 else torch.cat(parts)
        return result.reshape(states[0].shape if form is None else (len(flat[0]), *form)).to(states[0].dtype)


class SeenThrough:
    """The law of u_t for data drawn from a mixture: exact score, Jacobian, posterior mean, density and draws.

    Made by `under(process, mixture)`. Times are python floats or 0-d float64 tensors (with autograd); states have the
    shape the process documents, in any floating dtype; coefficients are float64 and cast last.
    """

    law: type[AtTime]

    def __init__(self, process: Any, mixture: GaussianMixture):
        self.process, self.mixture = process, mixture
        self._kept = functools.lru_cache(maxsize=256)(lambda t: self.law(self, t))

    def __reduce__(self) -> tuple:
        return type(self), (self.process, self.mixture)

    def __repr__(self) -> str:
        return f"under({self.process!r}, {self.mixture!r})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one state."""
        raise NotImplementedError

    def at(self, t: Any) -> AtTime:
        """The law at time t, its tables ready: `.score(u)`, `.score_jvp(u, v)`, `.denoiser(u)`, `.log_density(u)`."""
        t = settled(t)
        return self.law(self, t) if isinstance(t, Tensor) else self._kept(float(t))

    def laws(self, times: Tensor) -> list[AtTime]:
        """The laws at times (m,)."""
        return [self.at(t) for t in times.tolist()]

    def prepare(self, times: Any) -> Callable[[int, Tensor], Tensor]:
        """Bind the scores to a plan's times: `call(k, u)` is the score at times[k], its tables kept from then on."""
        laws: dict[int, AtTime] = {}

        def call(k: int, u: Tensor) -> Tensor:
            if k not in laws:
                laws[k] = self.law(self, float(times[k]))
            return laws[k].score(u)

        return call

    def score(self, u: Tensor, t: Any) -> Tensor:
        """Gradient of the log-density of u_t at states u."""
        return self.at(t).score(u)

    def score_jvp(self, u: Tensor, v: Tensor, t: Any) -> Tensor:
        """Jacobian of the score at states u, times v: the Hessian of the log-density, symmetric."""
        return self.at(t).score_jvp(u, v)

    def denoiser(self, u: Tensor, t: Any) -> Tensor:
        """Posterior mean E[x_0 | u_t] (B, *shape), for Blurring of the transformed x_0."""
        return self.at(t).denoiser(u)

    def log_density(self, u: Tensor, t: Any) -> Tensor:
        """Log-density (B,) of u_t at states u."""
        return self.at(t).log_density(u)

    def sample(self, count: int, t: Any, seed: int | torch.Generator = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Independent draws of u_t, reproducible from the seed."""
        generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        clean = self.process.embed(self.mixture.sample(count, generator))
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        return (self.process.mean(t).apply(clean) + self.process.factor(t, "L").apply(noise)).to(dtype)

    def flat(self, u: Tensor) -> Tensor:
        """States as the tables take them; raises `TargetError` for what is no state."""
        expected = ", ".join(map(str, ("batch", *self.shape)))
        if not isinstance(u, Tensor) or not u.is_floating_point():
            raise TargetError(f"states must be a floating point tensor ({expected}), got {type(u).__name__}")
        if tuple(u.shape[1:]) != self.shape:
            raise TargetError(f"states must be ({expected}), got shape {tuple(u.shape)}" + self._hint(u))
        return u.float() if u.dtype in (torch.float16, torch.bfloat16) else u

    def _hint(self, u: Tensor) -> str:
        return ""


def _weighted(weights: Tensor, rows: Tensor) -> Tensor:
    return torch.einsum("bk,bk...->b...", weights, rows)


LOG_TWO_PI = math.log(2 * math.pi)
