"""Closed-form schedules of the literature, one function each, under their names in lower case with hyphens.

A schedule says where the inner nodes lie; the ends belong to the caller. `law(span, **parameters)` returns the times at
the fractions u = k/N, k = 1..N-1; `spacing(span, **parameters)` returns the N training indices before the final node.
Throughout, kappa = sigma/alpha (EDM's sigma) and logsnr = -ln kappa, both of the process the grid is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from odekit.exceptions import GridError

__all__ = ["SCHEDULES", "Schedule", "Span"]


@dataclass(frozen=True)
class Span:
    """What a schedule has to divide: a process (None for a bare interval), its ends in time, the number of steps.

    `levels` is the number M of training levels of a tabulated process, 0 for any other.
    """

    name: str
    process: Any
    start: float
    end: float
    steps: int
    levels: int = 0

    @property
    def u(self) -> torch.Tensor:
        """Fractions k/N of the inner nodes, (N-1,)."""
        return torch.arange(1, self.steps, dtype=torch.float64) / self.steps

    def between(self, at_start: float, at_end: float) -> torch.Tensor:
        """Values at the inner nodes, linear from one end to the other."""
        return at_start + (at_end - at_start) * self.u

    @property
    def kappas(self) -> tuple[float, float]:
        return self._finite("kappa")

    @property
    def logsnrs(self) -> tuple[float, float]:
        return self._finite("logsnr")

    def _finite(self, clock: str) -> tuple[float, float]:
        """A clock of the process at both ends; refused where it is infinite there (no noise, or no data, left)."""
        values = [float(getattr(self.process, clock)(time)) for time in (self.start, self.end)]
        for time, value in zip((self.start, self.end), values, strict=True):
            if not math.isfinite(value):
                raise GridError(
                    f"grid {self.name!r} needs a finite {clock} at both ends, but it is infinite at t = {time!r} of "
                    f"{self.process.name!r}; move that end inside with t_start= or t_end=, or use 'time-uniform'"
                )
        return values[0], values[1]


@dataclass(frozen=True)
class Schedule:
    """A named schedule: its function, and what it needs ("interval", "process" or "table")."""

    function: Callable[..., Any]
    needs: str


SCHEDULES: dict[str, Schedule] = {}


def schedule(needs: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function under its own name, hyphens for underscores."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        SCHEDULES[function.__name__.replace("_", "-")] = Schedule(function, needs)
        return function

    return enter


def positive(**values: float) -> None:
    """Refuse parameters that are not positive numbers."""
    for name, value in values.items():
        if not (isinstance(value, (int, float)) and 0 < value < math.inf):
            raise GridError(f"{name} = {value!r} is no positive number")


# In time: these also divide a bare interval, in either direction.


@schedule("interval")
def time_uniform(span: Span) -> torch.Tensor:
    """t linear (DPM-Solver, arXiv 2206.00927, `time_uniform`)."""
    return span.between(span.start, span.end)


@schedule("interval")
def time_quadratic(span: Span, order: float = 2.0) -> torch.Tensor:
    """t^(1/order) linear (DPM-Solver `time_quadratic`; DM-NonUniform): dense near t = 0."""
    positive(order=order)
    if min(span.start, span.end) < 0:
        raise GridError(f"grid {span.name!r} takes roots of times, but one end is negative: {span.start}, {span.end}")
    return span.between(span.start ** (1 / order), span.end ** (1 / order)) ** order


@schedule("interval")
def time_power(span: Span, rho: float = 2.0) -> torch.Tensor:
    """t = t_end + (t_start - t_end) (1 - u)^rho (LD3, arXiv 2405.15506, `time_quadratic`, `poly`): dense near t_end."""
    positive(rho=rho)
    return span.end + (span.start - span.end) * (1 - span.u) ** rho


# In the noise level of a process.


@schedule("process")
def logsnr(span: Span) -> torch.Tensor:
    """logsnr linear (DPM-Solver, arXiv 2206.00927, `logSNR`)."""
    return span.process.time_at_logsnr(span.between(*span.logsnrs))


@schedule("process")
def exponential(span: Span) -> torch.Tensor:
    """ln kappa linear (k-diffusion `get_sigmas_exponential`): logsnr by another name."""
    return logsnr(span)


@schedule("process")
def edm_ve(span: Span) -> torch.Tensor:
    """kappa^2 geometric (EDM, arXiv 2206.00364, table 1, column VE): logsnr by another name."""
    return logsnr(span)


@schedule("process")
def polyexponential(span: Span, rho: float = 1.0) -> torch.Tensor:
    """ln kappa = ln kappa_end + (1 - u)^rho ln(kappa_start / kappa_end) (k-diffusion `get_sigmas_polyexponential`)."""
    positive(rho=rho)
    first, last = span.logsnrs
    return span.process.time_at_logsnr(last + (first - last) * (1 - span.u) ** rho)


@schedule("process")
def lu_lambdas(span: Span, rho: float = 1.0) -> torch.Tensor:
    """(ln kappa)^(1/rho) linear (diffusers `use_lu_lambdas`, after Lu et al.): logsnr at rho = 1.

    Any other rho takes roots of ln kappa and is refused where that is negative, on every usual range.
    """
    positive(rho=rho)
    first, last = (-value for value in span.logsnrs)
    if rho != 1 and min(first, last) < 0:
        raise GridError(f"lu-lambdas with rho = {rho} takes roots of ln kappa, which falls to {min(first, last):.3g}")
    if rho == 1:
        return logsnr(span)
    return span.process.time_at_logsnr(-(span.between(first ** (1 / rho), last ** (1 / rho)) ** rho))


@schedule("process")
def kappa_uniform(span: Span) -> torch.Tensor:
    """kappa linear: equal steps of DDIM's own variable (DDIM, arXiv 2010.02502, equation 14)."""
    return span.process.time_at_kappa(span.between(*span.kappas))


@schedule("process")
def edm(span: Span, rho: float = 7.0) -> torch.Tensor:
    """kappa^(1/rho) linear (EDM, arXiv 2206.00364, equation 5)."""
    positive(rho=rho)
    first, last = span.kappas
    return span.process.time_at_kappa(span.between(first ** (1 / rho), last ** (1 / rho)) ** rho)


@schedule("process")
def karras(span: Span, rho: float = 7.0) -> torch.Tensor:
    """EDM's law under the name k-diffusion and diffusers give it (`get_sigmas_karras`, `use_karras_sigmas`)."""
    return edm(span, rho)


@schedule("process")
def edm_vp(span: Span, epsilon_s: float = 1e-3) -> torch.Tensor:
    """kappa = sqrt(exp(beta_d s^2/2 + beta_min s) - 1), s linear from 1 to epsilon_s (EDM, table 1, column VP).

    beta_d and beta_min are fitted to the ends, as EDM does; on `VP`, t from 1 to epsilon_s, this is time-uniform.
    """
    if not (isinstance(epsilon_s, (int, float)) and 0 < epsilon_s < 1):
        raise GridError(f"epsilon_s = {epsilon_s!r} is no number between 0 and 1")
    at_start, at_end = (math.log1p(kappa**2) for kappa in span.kappas)
    ends, high, low = (1.0, epsilon_s), max(at_start, at_end), min(at_start, at_end)
    if at_start < at_end:
        ends = ends[::-1]
    beta_d = 2 * (high - low / epsilon_s) / (1 - epsilon_s)
    beta_min = high - beta_d / 2
    if min(beta_d + beta_min, beta_d * epsilon_s + beta_min) <= 0:
        raise GridError(
            f"grid {span.name!r} fits a law that turns back inside kappa = {span.kappas}, epsilon_s = {epsilon_s}; "
            "choose epsilon_s nearer to the ratio of the two ends in time"
        )
    s = span.between(*ends)
    return span.process.time_at_kappa(torch.expm1(beta_d * s**2 / 2 + beta_min * s).sqrt())


@schedule("process")
def vp(span: Span, epsilon_s: float = 1e-3) -> torch.Tensor:
    """edm-vp under the name k-diffusion gives it (`get_sigmas_vp`)."""
    return edm_vp(span, epsilon_s)


@schedule("process")
def edm_iddpm(span: Span, levels: int = 1000, c1: float = 0.001, c2: float = 0.008) -> torch.Tensor:
    """Every so many of iDDPM's cosine levels u_j (EDM, arXiv 2206.00364, table 1, column iDDPM, and appendix C.3).

    u_M = 0, u_{j-1} = sqrt((u_j^2 + 1) / max(abar_{j-1} / abar_j, c1) - 1), abar_j = sin^2(pi/2 j / (M (1 + c2)));
    those inside the range are divided by rounding, as EDM does; the ends are the range's own.
    """
    positive(levels=levels, c1=c1, c2=c2)
    bar = [math.sin(math.pi / 2 * j / (levels * (1 + c2))) ** 2 for j in range(levels + 1)]
    u = [0.0] * (levels + 1)
    for j in range(levels, 0, -1):
        u[j - 1] = math.sqrt((u[j] ** 2 + 1) / max(bar[j - 1] / bar[j], c1) - 1)
    first, last = span.kappas
    inside = [value for value in u if min(first, last) <= value <= max(first, last)]
    if first < last:
        inside.reverse()
    if span.steps > len(inside) - 1:
        raise GridError(
            f"grid {span.name!r} has {len(inside)} levels in this range and cannot be cut into {span.steps} steps; "
            f"ask for fewer steps or for more levels than {levels}"
        )
    chosen = [inside[round((len(inside) - 1) / span.steps * k)] for k in range(1, span.steps)]
    return span.process.time_at_kappa(torch.tensor(chosen, dtype=torch.float64))


@schedule("process")
def beta(span: Span, alpha: float = 0.6, beta: float = 0.6) -> torch.Tensor:
    """kappa at quantiles of a Beta(alpha, beta) law (diffusers `use_beta_sigmas`; arXiv 2407.12173)."""
    from scipy.stats import beta as law

    positive(alpha=alpha, beta=beta)
    first, last = span.kappas
    quantiles = torch.from_numpy(law.ppf((1 - span.u).numpy(), alpha, beta))
    return span.process.time_at_kappa(last + (first - last) * quantiles)


@schedule("process")
def tangent(span: Span, c: float = 1.0) -> torch.Tensor:
    """kappa = c tan(theta), theta linear: the best grid of DDIM for data N(0, c^2).

    There the endpoint error is 1 - prod cos(theta_k - theta_{k+1}), least for equal angles; in d dimensions take
    c = sqrt(tr Cov / d). The ends may have infinite or zero kappa.
    """
    positive(c=c)
    theta = span.between(*(math.atan(float(span.process.kappa(time)) / c) for time in (span.start, span.end)))
    return span.process.time_at_kappa(c * torch.tan(theta))


@schedule("process")
def flow(span: Span, shift: float = 3.0) -> torch.Tensor:
    """sigma = shift u / (1 + (shift - 1) u), u linear (Stable Diffusion 3, arXiv 2403.03206, equation 23).

    There sigma = t of the rectified flow; with kappa = sigma / (1 - sigma) this reads kappa = shift u / (1 - u), which
    any process understands. The ends may have infinite or zero kappa; shift = 1 is time-uniform on `RectifiedFlow`.
    """
    positive(shift=shift)
    ends = []
    for time in (span.start, span.end):
        kappa = float(span.process.kappa(time))
        ends.append(1.0 if math.isinf(kappa) else kappa / (shift + kappa))
    u = span.between(*ends)
    return span.process.time_at_kappa(shift * u / (1 - u))


# Over the training indices 0..M-1 of a tabulated process, index i at time (i + 1)/M; the final node follows.


def _family(family: str) -> bool:
    if family not in ("dpm", "ddim"):
        raise GridError(f"family = {family!r}, expected 'dpm' (its multistep solvers) or 'ddim' (all other schedulers)")
    return family == "dpm"


@schedule("table")
def linspace(span: Span, family: str = "dpm") -> list[int]:
    """Rounded equal spacing from index M-1 (diffusers `timestep_spacing="linspace"`).

    The dpm family divides M-1..0 into N steps and hands the last node to the final one; all others ("ddim") take N
    nodes down to index 0 itself, after which only final="zero" is a step.
    """
    cuts = span.steps if _family(family) else max(span.steps - 1, 1)
    return [round((span.levels - 1) * (cuts - k) / cuts) for k in range(span.steps)]


@schedule("table")
def leading(span: Span, family: str = "dpm", offset: int = 0) -> list[int]:
    """Multiples of M // (N+1) (dpm) or M // N (ddim), plus an offset (diffusers `timestep_spacing="leading"`).

    It does not begin at t_max: the literature's own grid begins below it.
    """
    last = 1 if _family(family) else 0  # the dpm family leaves the multiple 0 to the final node
    ratio = span.levels // (span.steps + last)
    return [(span.steps - 1 - k + last) * ratio + offset for k in range(span.steps)]


@schedule("table")
def trailing(span: Span) -> list[int]:
    """round(M - k M/N) - 1 (diffusers `timestep_spacing="trailing"`; arXiv 2305.08891)."""
    return [round(span.levels - k * span.levels / span.steps) - 1 for k in range(span.steps)]


@schedule("table")
def lcm(span: Span, origin_steps: int = 50) -> list[int]:
    """N of the S distillation levels j (M // S) - 1, j = S..1, at floor(k S/N) (LCM, arXiv 2310.04378; diffusers).

    It begins below t_max where S does not divide M.
    """
    if not (isinstance(origin_steps, int) and 1 <= origin_steps <= span.levels):
        raise GridError(f"origin_steps = {origin_steps!r} is no whole number between 1 and {span.levels} levels")
    origin = [j * (span.levels // origin_steps) - 1 for j in range(origin_steps, 0, -1)]
    return [origin[k * origin_steps // span.steps] for k in range(span.steps)]
