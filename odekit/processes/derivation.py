"""Everything a process is asked for, derived once per class from the few expressions that define it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import sympy

from ..exceptions import OdekitError
from ..expressions import exact_value
from .code import FUNCTIONS, as_expression

TIME = sympy.Symbol("t", positive=True)
LOGSNR = sympy.Symbol("logsnr_", real=True)
KAPPA = sympy.Symbol("kappa_", positive=True)
RATIO = sympy.Symbol("snr_", positive=True)

QUANTITIES = (
    *("alpha", "sigma", "log_alpha", "log_sigma", "logsnr", "kappa", "alpha_over_sigma"),
    *("alpha_rate", "sigma_rate", "logsnr_rate", "drift", "diffusion_squared"),
)
INVERSES = {"time_at_logsnr": LOGSNR, "time_at_kappa": KAPPA, "time_at_alpha_over_sigma": RATIO}


class Derivation(Mapping):
    """Quantity name -> SymPy expression in `TIME` (inverses: in their own variable) and the parameters' symbols.

    An inverse without closed form is None. Expressions are derived when first asked for.
    """

    def __init__(self, process: Any) -> None:
        for name in process.defaults:
            if name in (*FUNCTIONS, "t", "ratio", "pi", "e"):
                raise OdekitError(f"a parameter cannot be called {name!r}: expressions use that name already")
        self.parameters = {name: sympy.Symbol(name, real=True) for name in process.defaults}
        self.definition = _checked(process.define(TIME, **self.parameters))
        extra = process.stable(TIME, **self.parameters) if process.stable else {}
        self._known: dict[str, sympy.Expr | None] = {**self.definition, **_sympified(extra)}
        self._inverse = process.inverse
        self.inside = {TIME: sympy.Rational(process.t_min + process.t_max) / 2}
        for name, symbol in self.parameters.items():
            if process.defaults[name] is not inspect.Parameter.empty:
                self.inside[symbol] = as_expression(exact_value(process.defaults[name]))
        self.is_variance_preserving = not {"sigma", "log_sigma"} & set(self.definition)

    def __getitem__(self, name: str) -> sympy.Expr | None:
        if name not in self._known:
            self._known[name] = getattr(self, "_" + name)()
        return self._known[name]

    def __iter__(self):
        return iter(QUANTITIES)

    def __len__(self) -> int:
        return len(QUANTITIES)

    # each rule is one line of a textbook; variance-preserving processes have shorter ones, without cancellation

    def _alpha(self) -> sympy.Expr:
        return sympy.exp(self["log_alpha"])

    def _log_alpha(self) -> sympy.Expr:
        return sympy.log(self["alpha"])

    def _sigma(self) -> sympy.Expr:
        return sympy.sqrt(1 - self["alpha"] ** 2) if self.is_variance_preserving else sympy.exp(self["log_sigma"])

    def _log_sigma(self) -> sympy.Expr:
        return sympy.log(1 - self["alpha"] ** 2) / 2 if self.is_variance_preserving else sympy.log(self["sigma"])

    def _alpha_rate(self) -> sympy.Expr:
        return sympy.diff(self["alpha"], TIME)

    def _sigma_rate(self) -> sympy.Expr:
        if self.is_variance_preserving:
            return -self["alpha"] * self["alpha_rate"] / self["sigma"]
        return sympy.diff(self["sigma"], TIME)

    def _drift(self) -> sympy.Expr:
        if "log_alpha" in self.definition:
            return sympy.diff(self["log_alpha"], TIME)
        return tidy(self["alpha_rate"] / self["alpha"], self.inside)

    def _logsnr_rate(self) -> sympy.Expr:
        if self.is_variance_preserving:
            return self["drift"] / self["sigma"] ** 2
        return tidy(self["drift"] - self["sigma_rate"] / self["sigma"], self.inside)

    def _diffusion_squared(self) -> sympy.Expr:
        if self.is_variance_preserving:
            return -2 * self["drift"]
        return tidy(2 * self["sigma"] * (self["sigma_rate"] - self["drift"] * self["sigma"]), self.inside)

    def _logsnr(self) -> sympy.Expr:
        return self["log_alpha"] - self["log_sigma"]

    def _kappa(self) -> sympy.Expr:
        return self["sigma"] / self["alpha"]

    def _alpha_over_sigma(self) -> sympy.Expr:
        return self["alpha"] / self["sigma"]

    def _time_at_kappa(self) -> sympy.Expr | None:
        if self._inverse:
            return as_expression(self._inverse(KAPPA, **self.parameters))
        return solved(self["kappa"])

    def _time_at_alpha_over_sigma(self) -> sympy.Expr | None:
        time = self["time_at_kappa"]
        return None if time is None else _cancelled(time.subs(KAPPA, 1 / RATIO))

    def _time_at_logsnr(self) -> sympy.Expr | None:
        # by way of alpha/sigma: 1/(1 + e^l) stays finite where e^-l/(1 + e^-l) is inf/inf
        time = self["time_at_alpha_over_sigma"]
        return None if time is None else time.subs(RATIO, sympy.exp(LOGSNR))


def _sympified(expressions: Mapping[str, Any]) -> dict[str, sympy.Expr]:
    return {name: as_expression(value) for name, value in expressions.items()}


def _checked(definition: Any) -> dict[str, sympy.Expr]:
    if not isinstance(definition, Mapping) or not {"alpha", "log_alpha"} & set(definition):
        raise OdekitError("define(t, ...) must return a dict with 'alpha' or 'log_alpha', and 'sigma' or 'log_sigma'")
    strange = set(definition) - {"alpha", "log_alpha", "sigma", "log_sigma"}
    if strange:
        raise OdekitError(f"define(t, ...) returned {sorted(strange)}; known: alpha, log_alpha, sigma, log_sigma")
    return _sympified(definition)


def tidy(expression: sympy.Expr, inside: Mapping[sympy.Symbol, Any]) -> sympy.Expr:
    """Common factors cancelled (t/t at an end of the range is 0/0) and exponentials merged, where that is shorter.

    Denominators are turned so that they are positive `inside` the range: 1/(t - 1) would reach the end t = 1 as +inf.
    """
    shortest = min(sympy.powsimp(sympy.factor(expression)), expression, key=sympy.count_ops)

    def is_negative_denominator(e: sympy.Basic) -> bool:
        odd = e.is_Pow and e.exp.is_Integer and e.exp < 0 and e.exp % 2 == 1
        return bool(odd and e.base.is_Add and e.base.subs(inside).is_negative)

    return shortest.replace(is_negative_denominator, lambda e: -((-e.base) ** e.exp))


def _cancelled(expression: sympy.Expr) -> sympy.Expr:
    return sympy.cancel(expression) if expression.is_rational_function(RATIO) else expression


def solved(kappa: sympy.Expr) -> sympy.Expr | None:
    """t from kappa where that has one obvious closed form: kappa linear-fractional, a power or an exponential in t."""
    factor, rest = kappa.as_independent(TIME, as_Add=False)
    base, exponent = rest.as_base_exp()
    if base == TIME and not exponent.has(TIME):
        return (KAPPA / factor) ** (1 / exponent)
    if not base.has(TIME) and exponent.is_polynomial(TIME) and sympy.degree(exponent, TIME) == 1:
        slope, offset = sympy.Poly(exponent, TIME).all_coeffs()
        return (sympy.log(KAPPA / factor) / sympy.log(base) - offset) / slope
    if not kappa.is_rational_function(TIME):
        return None
    numerator = sympy.Poly(sympy.fraction(sympy.together(kappa - KAPPA))[0], TIME)
    if numerator.degree() != 1:
        return None
    slope, offset = numerator.all_coeffs()
    return sympy.cancel(-offset / slope)


def latex(expressions: Derivation) -> str:
    """alpha, sigma, drift and diffusion as an align block, from the definition, not from its stable rewriting."""
    given = expressions.definition

    def printed(name: str) -> str:
        if name in given:
            return sympy.latex(given[name])
        if "log_" + name in given:
            return sympy.latex(sympy.exp(given["log_" + name]))
        return r"\sqrt{1 - \alpha(t)^2}" if name == "sigma" else sympy.latex(expressions[name])

    lines = [rf"\alpha(t) &= {printed('alpha')}", rf"\sigma(t) &= {printed('sigma')}"]
    lines += [rf"f(t) &= {printed('drift')}", rf"g(t)^2 &= {printed('diffusion_squared')}"]
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"


@functools.cache
def derivation(process: type) -> Derivation:
    """The derivation of a process class, made on first use and kept."""
    return Derivation(process)
