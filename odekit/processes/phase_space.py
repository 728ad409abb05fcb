"""Critically damped Langevin dynamics: PSLD and CLD, closed forms of the double eigenvalue throughout."""

from __future__ import annotations

import functools
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from ..exceptions import OdekitError
from ..expressions import exact_value
from .entries import Entries
from .matrix import MatrixProcess

SERIES = 4.0  # below: all-positive series, above: closed form, either right to rounding


class CriticallyDamped(MatrixProcess):
    """du = beta F u dt + sqrt(beta D) dw with F = 1/2 [[-Gamma, 1/M], [-1, -nu]], D = diag(Gamma, M nu).

    1/M = (nu - Gamma)^2/4 gives F the double eigenvalue -a, a = (Gamma + nu)/4, and exp(b F) = e^(-a b) (I + b N) with
    N = F + a I nilpotent. Subclasses state `constants`. Source: Pandey and Mandt 2023 (arXiv 2303.01748), equation 7.
    """

    @property
    def constants(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """(Gamma, nu, beta, M) of the form above, exact."""
        raise NotImplementedError

    @property
    def equilibrium_variances(self) -> tuple[float, float]:
        """Variances (1, M) of the law N(0, diag(1, M)) that the dynamics keep, the start of samplers."""
        return 1.0, float(self.constants[3])

    @functools.cached_property
    def initial_variances(self) -> tuple[Any, Any]:
        """Variances of (x, m) at t = 0 given the clean data: the momentum has `momentum_variance` M, not that alone."""
        return exact_value(self.position_variance), exact_value(self.momentum_variance) * self.constants[3]

    def check(self) -> None:
        for name in ("position_variance", "momentum_variance"):
            if self.parameters[name] < 0:
                raise OdekitError(f"{type(self).__name__}: {name} = {self.parameters[name]} must not be negative")

    def _drift(self, words: Any, t: Any) -> Entries:
        Gamma, nu, beta, M = map(words.constant, self.constants)
        half = beta / 2 + 0 * t
        return (-Gamma * half, half / M), (-half, -nu * half)

    def _diffusion(self, words: Any, t: Any) -> Entries:
        Gamma, nu, beta, M = map(words.constant, self.constants)
        rate = beta + 0 * t
        return (rate * Gamma, 0 * rate), (0 * rate, rate * M * nu)

    def _nilpotent(self, words: Any) -> tuple[Any, Any, Any]:
        """p, q, r of N = [[p, q], [-r, -p]], p^2 = q r."""
        Gamma, nu, _, M = map(words.constant, self.constants)
        return (nu - Gamma) / 4, 1 / (2 * M), words.constant(Fraction(1, 2))

    def _transition(self, words: Any, to: Any, at: Any) -> Entries:
        Gamma, nu, beta, _ = map(words.constant, self.constants)
        p, q, r = self._nilpotent(words)
        b = beta * (to - at)
        decay = words.exp(-(Gamma + nu) / 4 * b)
        return (decay * (1 + b * p), decay * b * q), (-decay * b * r, decay * (1 - b * p))

    def _noise(self, words: Any, t: Any) -> tuple[Any, Any, Any]:
        """int_0^b e^(-2 a s) (I + s N) D (I + s N)^T ds: Q - E Q E^T without its cancellation."""
        Gamma, nu, beta, M = map(words.constant, self.constants)
        p, q, r = self._nilpotent(words)
        b, D = beta * t, M * nu
        g0, g1, g2 = moments(words, (Gamma + nu) / 2 * b)
        i0, i1, i2 = b * g0, b * b * g1, b * b * b * g2
        return (
            Gamma * (i0 + 2 * p * i1 + p * p * i2) + D * q * q * i2,
            D * q * (i1 - p * i2) - Gamma * r * (i1 + p * i2),
            Gamma * r * r * i2 + D * (i0 - 2 * p * i1 + p * p * i2),
        )


def moments(words: Any, z: Any) -> tuple[Any, Any, Any]:
    """g_k(z) = int_0^1 u^k e^(-z u) du for k = 0, 1, 2 and z >= 0, each right to rounding.

    g_2 by e^-z 1F1(1; 4; z)/3, whose terms are all positive, or in closed form; then down, (e^-z + z g_k)/k.
    """
    decay = words.exp(-z)
    if words.exact:
        g2 = decay * words.hyp1f1(1, 4, z) / 3
    else:
        small, large = z.clamp(max=SERIES), z.clamp(min=SERIES)
        term = total = 0 * z + 1 / 3
        for n in range(4, 36):
            term = term * small / n
            total = total + term
        closed = 2 / large**3 * (1 - words.exp(-large) * (1 + large + large**2 / 2))
        g2 = words.where(z < SERIES, words.exp(-small) * total, closed)
    g1 = (decay + z * g2) / 2
    return decay + z * g1, g1, g2


class PSLD(CriticallyDamped):
    """Phase space Langevin diffusion (Pandey and Mandt 2023, arXiv 2303.01748, equation 7), critically damped.

    dx = beta/2 (-Gamma x + m/M) dt + sqrt(beta Gamma) dw,  dm = beta/2 (-x - nu m) dt + sqrt(beta M nu) dw, with
    1/M = (nu - Gamma)^2/4. Given clean data, m_0 ~ N(0, momentum_variance M) (the literature's kappa M) and x_0 has
    `position_variance`, zero unless a start away from the singular Sigma_0 is wanted. `M`, if given, must be the
    critical one. States are (B, 2, *shape), (x, m) on axis 1; times are [0, inf), samplers' [1e-3, 1].

    Raises `OdekitError` for an M that is not critical, for nu <= Gamma (at nu = Gamma, 1/M = 0: the position decouples
    and is VP with beta Gamma for its beta), and for negative variances.

    >>> PSLD().covariance(0.3).value
    tensor([[0.8627, 0.0457],
            [0.0457, 0.2347]], dtype=torch.float64)
    >>> PSLD().M
    Fraction(1, 4)
    """

    name = "psld"
    defaults = MappingProxyType(
        {"Gamma": 0.01, "nu": 4.01, "beta": 8.0, "momentum_variance": 0.04, "position_variance": 0.0}
    )

    def __init__(self, *, M: Any = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        if M is not None and exact_value(M) != self.M:
            raise OdekitError(
                f"PSLD: M = {M} is not critical for Gamma = {self.Gamma}, nu = {self.nu}; expected M = 4/(nu - Gamma)^2"
                f" = {float(self.M):g} (LinearSDE takes any M)"
            )

    def check(self) -> None:
        super().check()
        self._positive("beta")
        if self.Gamma < 0:
            raise OdekitError(f"PSLD: Gamma = {self.Gamma} must not be negative")
        if self.nu == self.Gamma:
            rate = float(exact_value(self.beta) * exact_value(self.Gamma))
            raise OdekitError(
                f"PSLD: nu = Gamma = {self.Gamma} leaves no finite mass, 1/M = (nu - Gamma)^2/4 = 0, and the position"
                f" decouples; expected nu > Gamma, or VP(beta_0={rate:g}, beta_1={rate:g})"
            )
        if self.nu < self.Gamma:
            raise OdekitError(f"PSLD: nu = {self.nu} must exceed Gamma = {self.Gamma}")

    @property
    def M(self) -> Fraction:
        """The critical mass, 4/(nu - Gamma)^2."""
        return 4 / (exact_value(self.nu) - exact_value(self.Gamma)) ** 2

    @functools.cached_property
    def constants(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """(Gamma, nu, beta, M), exact."""
        return exact_value(self.Gamma), exact_value(self.nu), exact_value(self.beta), self.M


class CLD(CriticallyDamped):
    """Critically damped Langevin diffusion (Dockhorn, Vahdat and Kreis 2022, arXiv 2112.07068, equation 5).

    dx = beta m/M dt,  dm = -beta x dt - beta Gamma m/M dt + sqrt(2 Gamma beta) dw, with Gamma^2 = 4 M: PSLD's Gamma = 0
    with nu = Gamma/M and twice the beta. `momentum_variance` M is the variance of m_0 (the literature's gamma M),
    `position_variance` that of x_0 (zero; public code puts 1e-6). States are (B, 2, *shape), (x, m) on axis 1.

    Raises `OdekitError` unless Gamma^2 = 4 M, and for negative variances.

    >>> CLD().transition(0.3, 0.0).value
    tensor([[ 0.3084,  0.4354],
            [-0.1089, -0.1270]], dtype=torch.float64)
    """

    name = "cld"
    defaults = MappingProxyType(
        {"beta": 4.0, "Gamma": 1.0, "M": 0.25, "momentum_variance": 0.04, "position_variance": 0.0}
    )

    def check(self) -> None:
        super().check()
        self._positive("beta", "Gamma", "M")
        Gamma, M = exact_value(self.Gamma), exact_value(self.M)
        if Gamma**2 != 4 * M:
            raise OdekitError(
                f"CLD: Gamma = {self.Gamma} and M = {self.M} are not critically damped; expected Gamma^2 = 4 M, such as"
                f" M = {float(Gamma**2 / 4):g} (LinearSDE takes any damping)"
            )

    @functools.cached_property
    def constants(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """(Gamma, nu, beta, M) of PSLD, exact."""
        return (
            Fraction(0),
            exact_value(self.Gamma) / exact_value(self.M),
            2 * exact_value(self.beta),
            exact_value(self.M),
        )
