"""Isotropic diffusion processes: a few lines of SymPy in, every coefficient a solver needs out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from ..exceptions import OdekitError, TimeRangeError
from ..expressions import exact_value
from .inverse import time_at
from .kinds import Floats, Mpmath, Tensors, elementwise
from .process import Process

if TYPE_CHECKING:
    import sympy

    from ..operators import Scalar

Number = float | torch.Tensor | Any  # python float, float64 tensor, mpmath.mpf, or an object array of them


class IsotropicProcess(Process):
    """A forward process with x_t = alpha(t) x_0 + sigma(t) eps, defined by SymPy expressions for alpha and sigma.

    A subclass gives `define(t, **parameters)`, whose signature declares the parameters and their defaults, and which
    returns a dict with "alpha" or "log_alpha" and with "sigma" or "log_sigma"; without a sigma the process preserves
    variance, sigma^2 = 1 - alpha^2. Optional are `stable(t, **parameters)`, the same or derived quantities rewritten so
    that they do not cancel; `inverse(kappa, **parameters)`, t in closed form; `domain`, where t is valid; `t_min`,
    `t_max`, where samplers work; and `check()`, which refuses bad parameters. Log-SNR must decrease in t.

    All else is derived: every method that takes a time also takes a float64 tensor of times (any shape, with autograd),
    an mpmath number (at the ambient precision) or an object array of them, and returns the same kind. t has no unit but
    the process's own. At an end where alpha or sigma vanishes, floats and tensors are +-inf where the mathematics is.
    Times outside `domain` raise `TimeRangeError`.

    Instances are immutable, hashable, equal by class and parameters, and pickle by constructor arguments.

    >>> class Cubic(IsotropicProcess):
    ...     name, t_min, t_max = "cubic", 0.1, 4.0
    ...     def define(t, scale=2):
    ...         return {"alpha": 1, "sigma": scale * t**3}
    >>> Cubic().diffusion_squared(1.0), round(Cubic(scale=3).time_at_kappa(24.0), 12)
    (24.0, 2.0)
    """

    define: Callable[..., dict[str, Any]]
    stable: Callable[..., dict[str, Any]] | None = None
    inverse: Callable[..., Any] | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        if "define" in vars(cls):
            declared = list(inspect.signature(cls.define).parameters.values())[1:]
            for parameter in declared:
                if hasattr(IsotropicProcess, parameter.name):
                    raise OdekitError(
                        f"{cls.__name__}: a parameter cannot be called {parameter.name!r}, a process has one"
                    )
            cls.defaults = MappingProxyType({p.name: p.default for p in declared})
        super().__init_subclass__(**keywords)

    @functools.cached_property
    def _exact(self) -> tuple:
        return tuple(exact_value(self.parameters[name]) for name in self.defaults)

    @functools.cached_property
    def _floats(self) -> tuple[float, ...]:
        return tuple(map(float, self._exact))

    @functools.cached_property
    def _limits(self) -> dict[str, tuple[float, float]]:
        return {}

    # ------------------------------------------------------------ symbols and code

    @property
    def t(self) -> sympy.Symbol:
        """The SymPy symbol of time that all expressions use."""
        from .derivation import TIME

        return TIME

    @property
    def expressions(self) -> Mapping[str, sympy.Expr]:
        """Quantity name -> SymPy expression in `t` and the parameters' symbols, derived on first use.

        >>> from odekit.processes import RectifiedFlow
        >>> RectifiedFlow().expressions["diffusion_squared"]
        2*t/(1 - t)
        """
        from .derivation import derivation

        return derivation(type(self))

    def compile(self, expression: Any) -> Callable[[Number], Number]:
        """A function of time, in every number kind, from a SymPy expression in `t` and the parameters' symbols.

        Expressions are rewritten with expm1 and log1p before they are printed; what cancels otherwise is the caller's
        to simplify. Compiled once per expression, whatever the parameters' values.

        >>> from odekit.processes import VP
        >>> process = VP()
        >>> process.compile(1 - process.expressions["alpha"] ** 2)(1e-5)
        1.0009944...e-06
        """
        from .code import as_expression, compiled

        code = compiled(as_expression(expression), self._arguments())

        def function(t: Number) -> Number:
            return elementwise(lambda s: self._run(code, "t", *self._checked_time(s)), t)

        return function

    def _arguments(self) -> tuple[sympy.Symbol, ...]:
        return (self.t, *self.expressions.parameters.values())

    def _code(self, quantity: str) -> Any:
        return _code(type(self), quantity)

    def _run(self, code: Any, variable: str, kind: type, x: Any) -> Any:
        """`code` at `x`, which means a time, or a value of the variable that an inverse starts from."""
        run = {Floats: code.on_float, Tensors: code.on_torch, Mpmath: code.on_mpmath}[kind]
        result = run(x, *self._values(variable, kind, x))
        infinite = kind.isinf(result)
        if variable != "t" or not kind.any(infinite):
            return result
        # 1/0 at an end of the range: zeros have lost their sign on the way, the limit from inside has it
        within = x + ((self.t_min + self.t_max) / 2 - x) * 2.0**-30
        turned = infinite & (run(within, *self._values(variable, kind, within)) * result < 0)
        return kind.where(turned, -result, result)

    def _values(self, variable: str, kind: type, x: Any) -> tuple:
        """The parameters' values where `variable` is `x` (constants here; a tabulated process looks its cell up)."""
        return self._exact if kind is Mpmath else self._floats

    def _at(self, quantity: str, t: Number) -> Number:
        code = self._code(quantity)
        return elementwise(lambda s: self._run(code, "t", *self._checked_time(s)), t)

    # ------------------------------------------------------------ functions of time

    def alpha(self, t: Number) -> Number:
        """Scale of the data in x_t = alpha x_0 + sigma eps."""
        return self._at("alpha", t)

    def sigma(self, t: Number) -> Number:
        """Standard deviation of the noise in x_t = alpha x_0 + sigma eps."""
        return self._at("sigma", t)

    def log_alpha(self, t: Number) -> Number:
        """ln alpha, accurate also where alpha is near one."""
        return self._at("log_alpha", t)

    def log_sigma(self, t: Number) -> Number:
        """ln sigma, accurate also where sigma is near one."""
        return self._at("log_sigma", t)

    def logsnr(self, t: Number) -> Number:
        """ln(alpha/sigma): half of what much of the literature calls log-SNR (lambda of Lu et al. 2022, section 3)."""
        return self._at("logsnr", t)

    def kappa(self, t: Number) -> Number:
        """Noise-to-signal ratio sigma/alpha ("EDM's sigma", rho of DEIS)."""
        return self._at("kappa", t)

    def alpha_over_sigma(self, t: Number) -> Number:
        """Signal-to-noise ratio alpha/sigma."""
        return self._at("alpha_over_sigma", t)

    def alpha_rate(self, t: Number) -> Number:
        """d alpha/dt."""
        return self._at("alpha_rate", t)

    def sigma_rate(self, t: Number) -> Number:
        """d sigma/dt."""
        return self._at("sigma_rate", t)

    def logsnr_rate(self, t: Number) -> Number:
        """d/dt ln(alpha/sigma), which is negative."""
        return self._at("logsnr_rate", t)

    def drift(self, t: Number) -> Number:
        """F in dx = F x dt + G dw: alpha'/alpha (Song et al. 2021, equation 5)."""
        return self._at("drift", t)

    def diffusion_squared(self, t: Number) -> Number:
        """G^2 in dx = F x dt + G dw: d(sigma^2)/dt - 2 F sigma^2 (Lu et al. 2022, section 2.1)."""
        return self._at("diffusion_squared", t)

    # ------------------------------------------------------------ inverses

    def time_at_logsnr(self, logsnr: Number) -> Number:
        """The time where ln(alpha/sigma) has this value; +-inf give the ends, where the process reaches them.

        Closed form where there is one, else a safeguarded Newton iteration with the implicit function's gradient.
        Raises `TimeRangeError` for a value the process never takes.

        >>> from odekit.processes import VP
        >>> process = VP()
        >>> process.time_at_logsnr(float("inf")), process.time_at_logsnr(process.logsnr(0.5))
        (0.0, 0.5)
        """
        return elementwise(lambda x: time_at(self, "logsnr", x), logsnr)

    def time_at_kappa(self, kappa: Number) -> Number:
        """The time where sigma/alpha has this value; 0 and inf give the ends, where the process reaches them."""
        return elementwise(lambda x: time_at(self, "kappa", x), kappa)

    def time_at_alpha_over_sigma(self, ratio: Number) -> Number:
        """The time where alpha/sigma has this value; inf and 0 give the ends, where the process reaches them."""
        return elementwise(lambda x: time_at(self, "alpha_over_sigma", x), ratio)

    # ------------------------------------------------------------ operators

    def transition(self, t: Number, s: Number) -> Scalar:
        """Psi(t, s) = alpha_t/alpha_s, which carries the mean from time s to time t, as an operator."""
        from ..operators import Scalar

        source = self.alpha(s)
        vanishes = source == 0
        if vanishes.any() if hasattr(vanishes, "any") else vanishes:
            raise TimeRangeError(f"{type(self).__name__}: no transition starts at t = {s}, where alpha = 0")
        return Scalar(self.alpha(t) / source)

    def covariance(self, t: Number) -> Scalar:
        """Covariance sigma_t^2 of the noise in x_t, as an operator."""
        from ..operators import Scalar

        return Scalar(self.sigma(t) ** 2)

    def factor(self, t: Number) -> Scalar:
        """sigma_t, a factor of the covariance, as an operator."""
        from ..operators import Scalar

        return Scalar(self.sigma(t))

    def latex(self) -> str:
        """alpha, sigma, drift and diffusion as a paper would print them: an `align` block."""
        from .derivation import latex

        return latex(self.expressions)


@functools.cache
def _code(process: type, quantity: str) -> Any:
    """The compiled quantity of a process class: parameters are arguments, so its instances share it."""
    from .code import compiled
    from .derivation import INVERSES, TIME, derivation

    known = derivation(process)
    return compiled(known[quantity], (INVERSES.get(quantity, TIME), *known.parameters.values()))
