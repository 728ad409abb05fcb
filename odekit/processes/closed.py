"""The processes of the literature whose coefficients have closed forms. Each is what its paper prints."""

from __future__ import annotations

import math
from typing import Any

from .base import IsotropicProcess


class VP(IsotropicProcess):
    """Variance preserving with linear beta(t) = beta_0 + (beta_1 - beta_0) t (Song et al. 2021, equation 32).

    ln alpha = -(beta_1 - beta_0) t^2/4 - beta_0 t/2, sigma^2 = 1 - alpha^2. Both betas are positive; where beta falls,
    times end at its zero. Raises `OdekitError` for a beta that is not positive.

    >>> process = VP()
    >>> process.logsnr(1.0), process.diffusion_squared(1.0)
    (-5.02497..., 20.0)
    """

    name = "vp"

    @staticmethod
    def define(t: Any, beta_0: float = 0.1, beta_1: float = 20.0) -> dict[str, Any]:
        return {"log_alpha": -(beta_1 - beta_0) * t**2 / 4 - beta_0 * t / 2}

    @staticmethod
    def inverse(kappa: Any, beta_0: Any, beta_1: Any) -> Any:
        from sympy import log

        return _time_at_integrated_beta(log(1 + kappa**2), beta_0, beta_1)

    @property
    def domain(self) -> tuple[float, float]:
        """Times where beta(t) is not negative."""
        falling = self.beta_0 - self.beta_1
        return 0.0, self.beta_0 / falling if falling > 0 else math.inf

    def check(self) -> None:
        self._positive("beta_0", "beta_1")


class SubVP(VP):
    """Sub-VP: alpha of VP, sigma = 1 - alpha^2, so that the variance stays below VP's (Song et al. 2021, equation 29).

    >>> SubVP().sigma(1.0) < VP().sigma(1.0)
    True
    """

    name = "subvp"

    @staticmethod
    def define(t: Any, beta_0: float = 0.1, beta_1: float = 20.0) -> dict[str, Any]:
        from sympy import exp

        log_alpha = -(beta_1 - beta_0) * t**2 / 4 - beta_0 * t / 2
        return {"log_alpha": log_alpha, "sigma": 1 - exp(2 * log_alpha)}

    @staticmethod
    def stable(t: Any, beta_0: Any, beta_1: Any) -> dict[str, Any]:
        from sympy import exp

        beta = beta_0 + (beta_1 - beta_0) * t
        return {"diffusion_squared": beta * (1 - exp(-(beta_1 - beta_0) * t**2 - 2 * beta_0 * t))}

    @staticmethod
    def inverse(kappa: Any, beta_0: Any, beta_1: Any) -> Any:
        from sympy import asinh

        # kappa = 1/alpha - alpha = 2 sinh(-ln alpha)
        return _time_at_integrated_beta(2 * asinh(kappa / 2), beta_0, beta_1)


def _time_at_integrated_beta(integral: Any, beta_0: Any, beta_1: Any) -> Any:
    """t where the integral of beta, which is -2 ln alpha, has this value: the root without cancellation."""
    from sympy import sqrt

    return 2 * integral / (sqrt(beta_0**2 + 2 * (beta_1 - beta_0) * integral) + beta_0)


class Cosine(IsotropicProcess):
    """Variance preserving with alpha = cos(u(t))/cos(u(0)), u = (t + c)/(1 + c) pi/2 (Nichol, Dhariwal 2021, eq. 17).

    Times end at 1, where alpha = 0; samplers start at 0.9946 (Lu et al. 2022, appendix D).

    >>> Cosine().alpha(1.0), Cosine().kappa(1.0)
    (0.0, inf)
    """

    name = "cosine"
    domain = (0.0, 1.0)
    t_max = 0.9946

    @staticmethod
    def define(t: Any, c: float = 0.008) -> dict[str, Any]:
        from sympy import cos, pi

        return {"alpha": cos((t + c) / (1 + c) * pi / 2) / cos(c / (1 + c) * pi / 2)}

    @staticmethod
    def stable(t: Any, c: Any) -> dict[str, Any]:
        # products of sines: differences of cosines cancel at t = 0, cosines near pi/2 lose digits at t = 1
        from sympy import cos, log, pi, sin, sqrt

        unit = pi / 2 / (1 + c)
        signal, noise, offset = sin(unit * (1 - t)), sqrt(sin(unit * t) * sin(unit * (t + 2 * c))), cos(unit * c)
        slope = unit * sin(unit * (t + c))
        return {
            "alpha": signal / offset,
            "sigma": noise / offset,
            "log_alpha": -log(1 + noise**2 / signal**2) / 2,
            "log_sigma": -log(1 + signal**2 / noise**2) / 2,
            "logsnr": log(signal / noise),
            "kappa": noise / signal,
            "alpha_over_sigma": signal / noise,
            "alpha_rate": -slope / offset,
            "drift": -slope / signal,
            "logsnr_rate": -slope * offset**2 / signal / noise**2,
        }

    @staticmethod
    def inverse(kappa: Any, c: Any) -> Any:
        # tan u - tan u(0), rationalised, inside the difference formula of the arc tangent
        from sympy import atan, cos, pi, sin, sqrt

        start = pi / 2 * c / (1 + c)
        root = sqrt(sin(start) ** 2 + kappa**2)
        angle = kappa**2 * cos(start) / ((root + sin(start)) * (cos(start) ** 2 + sin(start) * root))
        return atan(angle) * 2 * (1 + c) / pi

    def check(self) -> None:
        self._positive("c")


class EDM(IsotropicProcess):
    """Variance exploding with sigma = t: time is the standard deviation of the noise (Karras et al. 2022, table 1).

    >>> EDM().kappa(2.0), EDM().diffusion_squared(2.0)
    (2.0, 4.0)
    """

    name = "edm"
    t_min, t_max = 0.002, 80.0

    @staticmethod
    def define(t: Any) -> dict[str, Any]:
        return {"alpha": 1, "sigma": t}


class VE(EDM):
    """Variance exploding, alpha = 1, over the noise levels of Song et al. 2021 (0.02 to 100), with sigma = t.

    Time is the standard deviation of the noise. The literature's other clocks, sigma = sqrt(t) (Karras et al. 2022,
    table 1) and sigma geometric in t (Song et al. 2021, equation 30), run through the same marginals, and the same
    probability flow in sigma; with them the range [0.02, 100], which lists noise levels, would not be one of times.

    >>> VE().sigma(0.02), VE().time_at_kappa(100.0)
    (0.02, 100.0)
    """

    name = "ve"
    t_min, t_max = 0.02, 100.0


class RectifiedFlow(IsotropicProcess):
    """Straight paths between data and noise: alpha = 1 - t, sigma = t (Liu et al. 2023, section 2.1, t reversed).

    >>> RectifiedFlow().alpha_rate(1.0), RectifiedFlow().kappa(1.0)
    (-1.0, inf)
    """

    name = "rectified-flow"
    domain = (0.0, 1.0)
    t_min, t_max = 0.0, 1.0

    @staticmethod
    def define(t: Any) -> dict[str, Any]:
        return {"alpha": 1 - t, "sigma": t}
