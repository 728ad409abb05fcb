"""From SymPy to code: one expression printed once, run on floats, float64 tensors and mpmath numbers alike.

An expression is first rewritten so that it keeps its digits: 1 - exp(u) becomes -expm1(u), log(1 + u) becomes
log1p(u), and the logarithms of 1 +- exp(u) become functions of their own. The primitives of a process can then be
written the way a paper writes them. SymPy is imported here, so this module is imported on first use only.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import sympy
import torch
from sympy.codegen.cfunctions import log1p
from sympy.codegen.rewriting import expm1_opt, optimize
from sympy.printing.pycode import PythonCodePrinter

from ..exceptions import OdekitError

LN2 = math.log(2.0)


class Log1mExp(sympy.Function):
    """log(1 - e^u) for u < 0, accurate at both ends (Maechler 2012, equation 7)."""


class Softplus(sympy.Function):
    """log(1 + e^u), which neither overflows nor forgets small e^u."""


def as_expression(value: Any) -> sympy.Expr:
    """A SymPy expression or number as an expression; text is refused, for SymPy would evaluate it."""
    try:
        expression = sympy.sympify(value, strict=True)
    except sympy.SympifyError:
        raise OdekitError(
            f"expected a SymPy expression, not {type(value).__name__} (text goes through odekit.expressions.parse)"
        ) from None
    if expression.is_Matrix:
        rows, columns = expression.shape
        raise OdekitError(
            f"a {rows}x{columns} matrix where a process has scalar coefficients; expected an expression (LinearSDE is"
            " the process with matrices for coefficients)"
        )
    return expression


def rewrite(expression: sympy.Expr) -> sympy.Expr:
    """The same expression in a form that does not cancel (C99's expm1 and log1p, log(1 -+ e^u) as one function).

    >>> t = sympy.Symbol("t")
    >>> rewrite(1 - sympy.exp(-t)), rewrite(sympy.log(1 - sympy.exp(-t)))
    (-expm1(-t), Log1mExp(-t))
    """

    def fused(log: sympy.Expr) -> sympy.Expr:
        rest = log.args[0] - 1
        if isinstance(rest, sympy.exp):
            return Softplus(rest.args[0])
        if isinstance(-rest, sympy.exp):
            return Log1mExp((-rest).args[0])
        return log1p(rest) if log.args[0].is_Add and sympy.S.One in log.args[0].args else log

    logs_done = expression.replace(lambda e: isinstance(e, sympy.log), fused)
    # sum by sum: on a whole expression SymPy's rewriting would also turn denominators round, and with them infinities
    return logs_done.replace(lambda e: e.is_Add and e.has(sympy.exp), lambda e: optimize(e, (expm1_opt,)))


# ---------------------------------------------------------------- one vocabulary, four dialects


def _log1mexp(u: Any, m: Any) -> Any:
    return m.log(-m.expm1(u)) if u > -LN2 else m.log1p(-m.exp(u))


def _softplus(u: Any, m: Any) -> Any:
    return u + m.log1p(m.exp(-u)) if u > 0 else m.log1p(m.exp(u))


def _tensor_log1mexp(u: Any) -> Any:
    if not isinstance(u, torch.Tensor):
        return _log1mexp(u, math)
    near, far = u.clamp(min=-LN2), u.clamp(max=-LN2)  # clamped, so that the branch not taken has no NaN in its gradient
    return torch.where(u > -LN2, torch.log(-torch.expm1(near)), torch.log1p(-torch.exp(far)))


def _tensor_softplus(u: Any) -> Any:
    # torch's own softplus drops e^u beyond u = 20
    return torch.logaddexp(u, torch.zeros_like(u)) if isinstance(u, torch.Tensor) else _softplus(u, math)


def _on_either(name: str) -> Callable:
    """A function of tensors that also takes the plain numbers left over from parameters and constants."""
    of_tensor, of_float = getattr(torch, name), getattr(math, name)
    return lambda x: of_tensor(x) if isinstance(x, torch.Tensor) else of_float(x)


FUNCTIONS = (
    "exp log sqrt expm1 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh".split()  # in every dialect
)
_NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"} | {
    name: "arc" + name[1:] for name in ("asinh", "acosh", "atanh")
}


@functools.cache
def dialect(kind: str) -> dict[str, Any]:
    """What the names in printed code mean for numbers of this kind."""
    if kind == "torch":
        words: dict[str, Any] = {name: _on_either(name) for name in FUNCTIONS}
        words |= {"Log1mExp": _tensor_log1mexp, "Softplus": _tensor_softplus}
    else:
        library = {"float": math, "numpy": np, "mpmath": mpmath.mp}[kind]
        names = _NUMPY_NAMES if kind == "numpy" else {}
        words = {name: getattr(library, names.get(name, name)) for name in FUNCTIONS}
        words |= {"Log1mExp": lambda u: _log1mexp(u, library), "Softplus": lambda u: _softplus(u, library)}
    if kind == "mpmath":
        return words | {"ratio": lambda p, q: mpmath.mpf(p) / q, "pi": mpmath.mp.pi, "e": mpmath.mp.e}
    return words | {"ratio": operator.truediv, "pi": math.pi, "e": math.e}


class _Printer(PythonCodePrinter):
    """Python with bare function names; rationals become calls, so that mpmath never sees a rounded 1/3."""

    def __init__(self) -> None:
        super().__init__({"fully_qualified_modules": False, "allow_unknown_functions": True})

    def _print_Rational(self, expr: sympy.Rational) -> str:
        return f"ratio({expr.p}, {expr.q})"

    _print_Half = _print_Rational

    def _print_Float(self, expr: sympy.Float) -> str:  # 0.1 typed into a definition means 1/10
        value = Fraction(str(expr))
        return f"ratio({value.numerator}, {value.denominator})"


class Code:
    """A scalar expression compiled for every number kind; `source` is what was printed.

    Calls take the arguments in the order given; which kind is the caller's choice: `on_float`, `on_torch`, `on_mpmath`.
    """

    def __init__(self, expression: sympy.Expr, arguments: tuple[sympy.Symbol, ...]) -> None:
        stray = expression.free_symbols - set(arguments)
        if stray:
            raise OdekitError(
                f"the expression contains {', '.join(sorted(map(str, stray)))}; known here: "
                f"{', '.join(map(str, arguments))}"
            )
        stable = rewrite(expression)
        for node in sympy.preorder_traversal(stable):
            self._check_printable(node)
        steps, (result,) = sympy.cse([stable], symbols=sympy.numbered_symbols("_s"), list=True)
        put = _Printer().doprint
        lines = [f"    {name} = {put(value)}" for name, value in steps]
        head = f"def code({', '.join(map(str, arguments))}):"
        self.source = "\n".join([head, *lines, f"    return {put(result)}"])

    @staticmethod
    def _check_printable(node: sympy.Basic) -> None:
        plain = (
            node.is_Symbol or node.is_Number or node.is_Add or node.is_Mul or node.is_Pow or node in (sympy.pi, sympy.E)
        )
        if not plain and type(node).__name__ not in (*FUNCTIONS, "Log1mExp", "Softplus"):
            raise OdekitError(f"no code for {type(node).__name__} in {node}; known functions: {', '.join(FUNCTIONS)}")

    @functools.cache  # noqa: B019 - a Code lives as long as the process class it belongs to
    def _for(self, kind: str) -> Callable:
        namespace = dict(dialect(kind))
        exec(compile(self.source, f"<odekit code for {kind}>", "exec"), namespace)
        return namespace["code"]

    def on_float(self, *arguments: float) -> float:
        """On python floats; where `math` raises, IEEE's infinities answer instead."""
        try:
            return self._for("float")(*arguments) + 0.0  # no negative zeros: somebody may divide by them
        except (ZeroDivisionError, OverflowError, ValueError):
            with np.errstate(all="ignore"):
                return float(self._for("numpy")(*map(np.float64, arguments))) + 0.0

    def on_torch(self, x: torch.Tensor, *arguments: Any) -> torch.Tensor:
        """On a float64 tensor `x` (other arguments: floats, or tensors of its shape); has its shape, and its graph."""
        result = self._for("torch")(x, *arguments)
        if isinstance(result, torch.Tensor) and result.requires_grad == x.requires_grad:
            return result + 0.0
        return result + 0.0 * x.clamp(-1.0, 1.0)  # a constant of time; clamped because 0 * inf is NaN

    def on_mpmath(self, *arguments: Any) -> Any:
        """On mpmath numbers at the ambient precision, with guard digits; exact fractions are converted there."""
        mp = mpmath.mp
        with mp.workprec(mp.prec + 30):
            numbers = [mp.mpf(a.numerator) / a.denominator if isinstance(a, Fraction) else mp.mpf(a) for a in arguments]
            try:
                result = mp.mpf(self._for("mpmath")(*numbers))
            except ZeroDivisionError:  # a pole: its sign is found on floats
                result = mp.mpf(self.on_float(*map(float, numbers)))
        return +result


@functools.lru_cache(maxsize=2048)
def compiled(expression: sympy.Expr, arguments: tuple[sympy.Symbol, ...]) -> Code:
    """The `Code` of an expression, built once however many processes share it."""
    return Code(expression, arguments)
