"""DPM-Solver-v3: exponential Adams methods after a linear change of the model output, chosen by statistics of the data.

In u = x/alpha and lambda the flow is u' = -l u - f with f = (sigma noise - l x) / alpha, and with

    g = e^(-S) f - int e^(-S) b,    S = int s,    L = int l,

    u_t = e^(L_s - L_t) (u_s - int_s^t e^(L + S - L_s - S_s) (g + int e^(S_s - S) b) dlambda),

where g is interpolated in lambda on the nodes. l makes the Jacobian of f small, s and b its derivative along the flow,
both in the mean over the data; (l, s, b) = (1, 0, 0) is the data's exponential Adams method, (0, -1, 0) the noise's.
They are functions of lambda alone. With one l and s for all coordinates and no b the method is isotropic, a Plan; as
published, with three numbers a coordinate, it runs eagerly.
Source: Zheng et al. 2023 (arXiv 2310.13268), sections 3.1 and 3.2, Algorithm 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant
from odekit.methods.base import Claim, Method
from odekit.methods.ends import capped
from odekit.methods.entries import phi
from odekit.methods.exponential import LAST

SOURCE = "Zheng et al. 2023 (arXiv 2310.13268), Algorithm 2"
POINTS = 20  # of Gauss-Legendre in a step
STEP = 1e-4  # of the central differences in log-SNR


@dataclass(frozen=True, eq=False)
class Statistics:
    """l, s and b over the log-SNR: Chebyshev coefficients (n, d) each on ``span``; see `statistics`.

    Isotropic ones have d = 1 and no b.
    """

    span: tuple[float, float]
    l: np.ndarray  # noqa: E741 (the paper's letter)
    s: np.ndarray
    b: np.ndarray | None = None

    @property
    def is_isotropic(self) -> bool:
        """Whether the same numbers serve all coordinates, and nothing is added to the state."""
        return self.b is None and self.l.shape[1] == 1

    def key(self) -> list:
        """All numbers, as plain data."""
        return [list(self.span), *(part if part is None else part.tolist() for part in (self.l, self.s, self.b))]


@lru_cache(maxsize=8)
def statistics(
    target: Any,
    isotropic: bool = True,
    span: tuple[float, float] = (-7.0, 7.0),
    samples: int = 1024,
    degree: int = 40,
    seed: int = 0,
) -> Statistics:
    """The statistics of a target: means over ``samples`` of its noisy points, the same ones at every log-SNR.

    l = E diag(sigma d noise/dx), by exact Jacobians; s and b are the regression of df/dlambda along the flow on f,
    coordinate by coordinate, or ``isotropic``: means over the coordinates, and b = 0. In x/alpha nothing depends on the
    process.
    Source: Zheng et al. 2023 (arXiv 2310.13268), eq. 6 and eq. 11.

    >>> import odekit as ok
    >>> found = statistics(ok.Gaussian([0.0], [[4.0]]))
    >>> round(float(chebyshev.chebval(0.0, found.l)[0]), 2)     # of N(0, c^2): 1 / (1 + c^2 e^(2 lambda))
    0.2
    """
    clean = target.sample(samples, seed=seed).double()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    places = chebyshev.chebpts1(2 * degree)  # least squares: means over samples are not smooth to every digit
    logsnrs = ((sum(span) + (span[1] - span[0]) * places) / 2).tolist()

    def noisy(logsnr: float) -> torch.Tensor:
        return clean + math.exp(-logsnr) * noise

    def jacobian(logsnr: float) -> torch.Tensor:
        found = _mean_jacobian(target, noisy(logsnr), math.exp(-logsnr))
        return found.mean(0, keepdim=True) if isotropic else found

    def fitted(values: list) -> np.ndarray:
        return chebyshev.chebfit(places, torch.stack(values).numpy(), degree)

    l_fit = fitted([jacobian(v) for v in logsnrs])
    values = torch.from_numpy(np.atleast_2d(chebyshev.chebval(places, l_fit))).T
    slopes = [(jacobian(v + STEP) - jacobian(v - STEP)) / (2 * STEP) for v in logsnrs]
    pairs = [
        _regression(target, noisy(v), v, *known, isotropic) for v, *known in zip(logsnrs, values, slopes, strict=True)
    ]
    return Statistics(span, l_fit, fitted([s for s, _ in pairs]), None if isotropic else fitted([b for _, b in pairs]))


def _scaled_noise(target: Any, u: torch.Tensor, kappa: float) -> torch.Tensor:
    """kappa times the noise at u = x/alpha, which is -du/dlambda; (n, d)."""
    return -(kappa**2) * target.score(u, 1.0, kappa).flatten(1)


def _mean_jacobian(target: Any, u: torch.Tensor, kappa: float) -> torch.Tensor:
    flat = u.flatten(1)
    found = torch.empty(flat.shape[1], dtype=torch.float64)
    for d in range(flat.shape[1]):
        along = torch.zeros_like(flat)
        along[:, d] = 1
        found[d] = -(kappa**2) * target.score_jvp(u, along.reshape(u.shape), 1.0, kappa).flatten(1)[:, d].mean()
    return found


def _regression(
    target: Any,
    u: torch.Tensor,
    logsnr: float,
    l: torch.Tensor,  # noqa: E741
    slope: torch.Tensor,
    isotropic: bool,
) -> tuple:
    """(s, b) that make E |f' - s f - b|^2 least; the derivative along the flow is a central difference."""
    now = _scaled_noise(target, u, math.exp(-logsnr))
    moved = now.reshape(u.shape)
    ahead, behind = (_scaled_noise(target, u - d * moved, math.exp(-logsnr - d)) for d in (STEP, -STEP))
    f = now - l * u.flatten(1)
    rate = (ahead - behind) / (2 * STEP) - slope * u.flatten(1) + l * now
    mean, drift = f.mean(0), rate.mean(0)
    if isotropic:
        f, rate, mean, drift = f.reshape(-1, 1), rate.reshape(-1, 1), torch.zeros(1), torch.zeros(1)
    variance, covariance = f.square().mean(0) - mean**2, (f * rate).mean(0) - mean * drift
    known = variance > 1e-12 * now.square().mean()  # f of a Gaussian does not vary: there is nothing to scale
    s = torch.where(known, covariance / variance.clamp_min(1e-300), torch.zeros_like(variance))
    return s, drift - s * mean


class _Functions:
    """l, S, L and the integrals of b as functions of the log-SNR, for numbers of any kind and samples of one shape."""

    def __init__(self, known: Statistics, f: Coordinates, x: Any):
        self.f, self.span, self.shape = f, known.span, () if known.is_isotropic else tuple(x.shape[1:])
        scale = (known.span[1] - known.span[0]) / 2
        L, S = (chebyshev.chebint(part, scl=scale) for part in (known.l, known.s))
        self.l, self.L, self.S, self.both = ([self._entry(row) for row in part] for part in (known.l, L, S, L + S))
        self.b = None if known.b is None else [self._entry(row) for row in known.b]

    def _entry(self, row: np.ndarray) -> Any:
        return (
            torch.from_numpy(np.array(row)).reshape(self.shape) if self.shape else self.f.numbers.number(float(row[0]))
        )

    def at(self, coefficients: list, logsnr: Any) -> Any:
        """A Chebyshev series by Clenshaw's recurrence."""
        low, high = (self.f.numbers.number(end) for end in self.span)
        z = (logsnr * 2 - low - high) / (high - low)
        z = self.spread(z)
        one, two = 0 * z, 0 * z
        for c in coefficients[:0:-1]:
            one, two = 2 * z * one - two + c, one
        return z * one - two + coefficients[0]

    def spread(self, values: Any) -> Any:
        """Numbers with the axes of a sample behind their own."""
        return values.reshape(*values.shape, *(1 for _ in self.shape)) if self.shape else values

    def drift(self, start: Any, end: Any) -> Any:
        """int_start^end e^(S_start - S) b; 0 without a b. Eager only: start and end are 0-d or (m,)."""
        if self.b is None:
            return 0
        points, masses = self.gauss(end)
        inner = start + points * (end - start)
        growth = phi(0, self.at(self.S, start) - self.at(self.S, inner))
        return (self.spread(masses * (end - start)) * growth * self.at(self.b, inner)).sum(0)

    def gauss(self, like: Any) -> tuple:
        """Nodes and weights of a step along a new leading axis."""
        points, masses = (self.f.numbers.stack(v) for v in self.f.numbers.gauss_legendre(POINTS))
        shape = (-1, *(1 for _ in getattr(like, "shape", ())))
        return points.reshape(shape), masses.reshape(shape)


class DPMSolverV3(Method):
    """Predictor of ``order`` points and corrector of ``corrector`` points (0: none) on g, with orders that rise.

    ``statistics``: of the data; without them isotropic ones of the flow's own target, with a fixed seed. Without
    ``corrector`` it has one point more than the predictor; with as many, it is the authors' code. As in UniPC the
    corrected state is followed by the output at the predicted one (of f, not of the noise), and the last step is not
    corrected. A step to sigma = 0 is DDIM's.
    """

    family, name, source, prediction = "exponential-multistep", "dpm-solver-v3", SOURCE, "noise"
    plannable_variant = "its coefficients differ between coordinates; statistics(target, isotropic=True) make a Plan"

    def __init__(
        self, order: int = 3, corrector: int | None = None, statistics: Statistics | None = None, last: str = "full"
    ):
        self.k, self.points = order, order + 1 if corrector is None else corrector
        if not 1 <= order <= 6 or self.points not in (0, order, order + 1):
            raise MethodError(f"order {order} with a corrector of {self.points} points: expected 1 to 6, as many or +1")
        if last not in LAST:
            raise unknown("last", last, LAST)
        self.statistics, self.last, self.corrects = statistics, last, bool(self.points)
        self.is_plannable = statistics is None or statistics.is_isotropic
        self.history = max(order, self.points) - 1
        reached = max(order, self.points)
        self.order = capped(Claim(reached, min(reached, 3 if self.points > order else 2)), last)

    @property
    def evaluations(self) -> int:
        return 1

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        f = super().coordinates(field, oracle, **options)
        target = getattr(field, "target", None) or getattr(field.model, "target", None)
        if self.statistics is None and target is None:
            raise MethodError("dpm-solver-v3 on a model needs statistics of its data: give statistics=")
        f.statistics = self.statistics or statistics(target)
        return f

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        """(points of the correction, points of the prediction) of each step; the former 0 or two at least."""
        orders: list = [min(i + 1, self.k) for i in range(steps)]
        if self.last == "lower":
            orders[-1] = 1
        late = [0, *(q + self.points - self.k for q in orders[:-1])] if self.points else [0] * steps
        if noise_free_end:
            orders[-1] = 0
        return [(c if c > 1 else 0, q) for c, q in zip(late, orders, strict=True)]

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        correcting, predicting = phase
        to, at = window[:2]
        x, known = carry["x"], _Functions(f.statistics, f, carry["x"])
        _check(f, window)
        outputs = (self._output(f, known, x, at), *carry.get("f", ()))
        if correcting:
            x = self._moved(f, known, at, window[2], carry["base"], window[1 : 1 + correcting], outputs)
        if not predicting:  # to sigma = 0: DDIM on what was predicted
            c = known.at(known.l, f.clock(at, "logsnr"))
            return {"x": f.process.alpha(to.time) * (x * ((1 - c) / f.process.alpha(at.time)) - outputs[0])}
        moved = self._moved(f, known, to, at, x, window[1 : 1 + predicting], outputs)
        kept = {"f": outputs[: self.history]} if self.history else {}
        return {"x": moved, "base": x, **kept} if self.points else {"x": moved, **kept}

    def _output(self, f: Coordinates, known: _Functions, x: Any, at: Instant) -> Any:
        """f = (sigma noise - l x) / alpha."""
        scale = 1 / f.process.alpha(at.time)
        own = known.at(known.l, f.clock(at, "logsnr"))
        return f.predict(x, at) * (f.process.sigma(at.time) * scale) - x * (own * scale)

    def _moved(
        self, f: Coordinates, known: _Functions, to: Instant, at: Instant, x: Any, nodes: tuple, outputs: tuple
    ) -> Any:
        start, end, *places = (f.clock(n, "logsnr") for n in (at, to, *nodes))
        points, masses = known.gauss(start)
        inner = start + points * (end - start)
        growth = phi(0, known.at(known.both, inner) - known.at(known.both, start))
        density = known.spread(masses * (end - start)) * growth
        total, drifts = x * (1 / f.process.alpha(at.time)), []
        for j, place in enumerate(places):
            weight = density
            for i, other in enumerate(places):
                if i != j:
                    weight = weight * known.spread((inner - other) / (place - other))
            weight = weight.sum(0)
            away = phi(0, known.at(known.S, start) - known.at(known.S, place))
            total = total - outputs[j] * (weight * away)
            if known.b is not None:
                drifts.append(weight * known.drift(start, place))
        if known.b is not None:
            total = total + sum(drifts) - (density * known.drift(start, inner)).sum(0)
        decay = phi(0, known.at(known.L, start) - known.at(known.L, end))
        return total * (decay * f.process.alpha(to.time))

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        known = _Functions(f.statistics, f, states[0])
        old = zip(states[1:], instants[1:], strict=True)
        outputs = tuple(self._output(f, known, x, at) for x, at in old)[: self.history]
        carry = {"x": states[0], "base": states[min(1, len(states) - 1)]} if self.points else {"x": states[0]}
        return {**carry, "f": outputs} if outputs else carry

    def key(self) -> dict:
        known = self.statistics.key() if self.statistics else "of the target"
        return {"family": self.name, "order": self.k, "points": self.points, "statistics": known, "last": self.last}


def _check(f: Coordinates, window: tuple) -> None:
    """Refuse a step outside the range of the statistics."""
    low, high = f.statistics.span
    for at in window[1:2]:
        value = np.asarray(f.clock(at, "logsnr").detach() if torch.is_tensor(at.time) else f.clock(at, "logsnr"))
        value = value.astype(float)
        if value.min() < low or value.max() > high:
            worst = value.min() if value.min() < low else value.max()
            raise MethodError(
                f"a node at log-SNR {worst:.4g}: the statistics cover {low:g} to {high:g}; make some with span= to fit"
            )


METHODS = {"dpm-solver-v3": DPMSolverV3}
