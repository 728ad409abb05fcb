"""Blurring diffusion: heat dissipation and noise, diagonal in the cosine basis of the signal."""

from __future__ import annotations

import functools
import inspect
import math
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ..exceptions import OdekitError, OperatorError, unknown
from ..operators import Diagonal
from .entries import diagonal
from .process import Process

Number = float | torch.Tensor | Any


class Blurring(Process):
    """y_t = m_t y_0 + s_t eps on the DCT-II coefficients y of a signal (Hoogeboom and Salimans 2023, arXiv 2209.05557).

    Per frequency, with lam = (pi i/n)^2 (+ (pi j/w)^2 in two dimensions), u = pi/2 (t + c/2)/(1 + c):

        m_t = cos(u) (floor + (1 - floor) exp(-lam tau)),  s_t = sin(u),  tau = (blur sin(pi t/2)^2)^2/2,

    blur the largest standard deviation of the blur in pixels; blur=0 is a cosine variance-preserving process. `shape`
    is that of one signal: (n,), (h, w), or (channels, h, w) with each channel transformed alone. States (B, *shape) are
    coefficients in the orthonormal basis: `embed` transforms data, `project` transforms back; scores and operators are
    those of the coefficients. Data at t = 0 carry the noise s_0 = sin(pi c/(4 (1 + c))), as published.

    Raises `OdekitError` for shapes that are no signal, for a negative blur and a floor outside (0, 1].

    >>> process = Blurring(shape=(4,))
    >>> process.mean(0.5).value
    tensor([0.7071, 0.0010, 0.0007, 0.0007], dtype=torch.float64)
    """

    name = "blurring"
    carrier = "diagonal"
    domain = (0.0, 1.0)
    t_min, t_max = 1e-5, 0.99598
    defaults = MappingProxyType({"shape": inspect.Parameter.empty, "blur": 10.0, "floor": 0.001, "c": 0.008})

    def _parameter(self, name: str, value: Any) -> Any:
        if name != "shape":
            return super()._parameter(name, value)
        whole = isinstance(value, (tuple, list, torch.Size)) and all(isinstance(n, int) and n > 0 for n in value)
        if not whole or len(value) not in (1, 2, 3):
            raise OdekitError(
                f"Blurring: shape = {value!r} is no signal; expected positive (n,), (h, w) or (channels, h, w)"
            )
        return tuple(value)

    def check(self) -> None:
        self._positive("c", "floor")
        if self.blur < 0 or self.floor > 1:
            raise OdekitError(f"Blurring: expected blur >= 0 and floor <= 1, got {self.blur} and {self.floor}")

    # ------------------------------------------------------------ coefficients

    def drift(self, t: Number) -> Diagonal:
        """F_t = d/dt ln m_t of dy = F_t y dt + G_t dw, per frequency."""
        return self._diagonal(lambda words, square, s: self._rates(words, square, s)[0], t)

    def diffusion(self, t: Number) -> Diagonal:
        """G_t^2 = d(s_t^2)/dt - 2 F_t s_t^2, per frequency."""
        return self._diagonal(lambda words, square, s: self._rates(words, square, s)[1], t)

    def mean(self, t: Number) -> Diagonal:
        """m_t, which takes an embedded clean signal to the mean of y_t; m_0 = s_0's cosine, not 1."""
        return self._diagonal(
            lambda words, square, s: words.cos(self._angle(words, s)) * self._damping(words, square, s), t
        )

    def transition(self, to: Number, at: Number) -> Diagonal:
        """Psi(to, at) = m_to/m_at, per frequency."""

        def formula(words: Any, square: Any, s: Any, r: Any) -> Any:
            fade = words.cos(self._angle(words, s)) / words.cos(self._angle(words, r))
            return fade * (self._damping(words, square, s) / self._damping(words, square, r))

        return self._diagonal(formula, to, at)

    def covariance(self, t: Number, initial: bool = True) -> Diagonal:
        """s_t^2, the covariance of y_t given the clean signal; with ``initial=False`` that given y_0."""

        def given_start(words: Any, square: Any, s: Any) -> Any:
            # s^2 - (m/m_0)^2 s_0^2 by sines of sums, and 1 - D^2 by factors: no cancellation at t = 0
            u, start = self._angle(words, s), self._angle(words, 0 * s)
            turned = words.pi / 2 * s / (1 + words.constant(self.c))
            heat, floor = square * words.pi**2 * self._blur_time(words, s), words.constant(self.floor)
            lost = -(1 - floor) * words.expm1(-heat)
            blurred = (words.cos(u) * words.sin(start)) ** 2 * lost * (2 - lost)
            return (words.sin(turned) * words.sin(u + start) + blurred) / words.cos(start) ** 2

        whole = lambda words, square, s: words.sin(self._angle(words, s)) ** 2 + 0 * square  # noqa: E731
        return self._diagonal(whole if initial else given_start, t)

    def factor(self, t: Number, kind: str = "R") -> Diagonal:
        """s_t for every frequency: with one noise level for all of them, L_t = R_t."""
        if kind not in ("R", "L"):
            raise unknown("factor", kind, ("R", "L"))
        return self._diagonal(lambda words, square, s: words.sin(self._angle(words, s)) + 0 * square, t)

    def _diagonal(self, formula: Any, *times: Number) -> Diagonal:
        for t in times:
            self.check_times(t)
        distinct, places = self._frequencies
        return Diagonal(diagonal(formula, distinct, *times).value[..., places])

    def _angle(self, words: Any, t: Any) -> Any:
        c = words.constant(self.c)
        return words.pi / 2 * (t + c / 2) / (1 + c)

    def _blur_time(self, words: Any, t: Any) -> Any:
        return (words.constant(self.blur) * words.sin(words.pi * t / 2) ** 2) ** 2 / 2

    def _damping(self, words: Any, square: Any, t: Any) -> Any:
        floor = words.constant(self.floor)
        return floor + (1 - floor) * words.exp(-square * words.pi**2 * self._blur_time(words, t))

    def _rates(self, words: Any, square: Any, t: Any) -> tuple[Any, Any]:
        """F and G^2 = 2 tan(u) u' - 2 sin(u)^2 D'/D."""
        u, floor = self._angle(words, t), words.constant(self.floor)
        turn = words.pi / 2 / (1 + words.constant(self.c)) * words.sin(u) / words.cos(u)
        sine, cosine = words.sin(words.pi * t / 2), words.cos(words.pi * t / 2)
        heating = square * words.pi**3 * words.constant(self.blur) ** 2 * sine**3 * cosine
        damping = self._damping(words, square, t)
        loss = -heating * (damping - floor) / damping
        return loss - turn, 2 * turn - 2 * words.sin(u) ** 2 * loss

    # ------------------------------------------------------------ the basis

    @property
    def transformed(self) -> tuple[int, ...]:
        """Lengths of the axes that the cosine transform runs over, the last ones of a state."""
        return self.shape[-2:]

    @functools.cached_property
    def _squares(self) -> list[Fraction]:
        """lam/pi^2 of every component of a state."""
        squares = [Fraction(0)]
        for n in self.transformed:
            squares = [before + Fraction(k, n) ** 2 for before in squares for k in range(n)]
        return squares * (math.prod(self.shape) // len(squares))

    @functools.cached_property
    def _frequencies(self) -> tuple[list[Fraction], np.ndarray]:
        """The distinct ones of them, and the place there of each component: an image has a tenth as many."""
        place = {square: k for k, square in enumerate(dict.fromkeys(self._squares))}
        return list(place), np.array([place[square] for square in self._squares])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """DCT-II coefficients (B, *shape) of signals x (B, *shape), orthonormal."""
        return self._turned(x, inverse=False)

    def project(self, y: torch.Tensor) -> torch.Tensor:
        """The signals (B, *shape) of coefficients y (B, *shape)."""
        return self._turned(y, inverse=True)

    def _turned(self, x: torch.Tensor, inverse: bool) -> torch.Tensor:
        self.check_states(x)
        for axis, n in enumerate(reversed(self.transformed), 1):
            matrix = cosines(n).to(x)
            x = (x.movedim(-axis, -1) @ (matrix if inverse else matrix.T)).movedim(-1, -axis)
        return x

    def check_states(self, x: torch.Tensor) -> None:
        """Raises `OperatorError` unless x is (B, *shape)."""
        if tuple(x.shape[1:]) != self.shape:
            expected = ", ".join(map(str, ("batch", *self.shape)))
            raise OperatorError(f"signals of {self!r} are ({expected}), got shape {tuple(x.shape)}")


@functools.cache
def cosines(n: int) -> torch.Tensor:
    """The orthonormal DCT-II as a matrix (n, n): rows are frequencies.

    >>> torch.allclose(cosines(5) @ cosines(5).T, torch.eye(5, dtype=torch.float64), atol=1e-15)
    True
    """
    # whole multiples of pi/(2n), reduced before they are rounded
    angle = torch.arange(n).unsqueeze(1) * (2 * torch.arange(n) + 1) % (4 * n)
    matrix = torch.cos(angle.double() * (math.pi / (2 * n))) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix
