"""The parser: exact SymPy numbers from untrusted text.

Text is data. `parse` walks Python's syntax tree against a white list and builds exact numbers node by node; nothing is
ever evaluated, and every operation is bounded before it is carried out, so that a hostile file costs a message, not an
hour.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from odekit.exceptions import ExpressionError

if TYPE_CHECKING:
    import sympy

MAX_LENGTH = 2000
MAX_EXPONENT = 64
MAX_BITS = 2048  # of any numerator or denominator met on the way
MAX_ROOT_BITS = 512  # of a number under a root
MAX_DEPTH = 150
MAX_DECIMAL_EXPONENT = 400
MAX_ARGUMENT = 64  # of a function, where it is a number
MAX_ARGUMENT_EXPONENT = 8  # in what a function is taken of: SymPy expands it to tell its sign

FUNCTIONS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh")
"""Functions that `parse` reads where it is told to."""

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FOREIGN = re.compile(r"[^0-9A-Za-z_+\-*/()., \t\r\n]")
_PHI = re.compile(r"phi\d{1,2}")
_GRAMMAR = "numbers, + - * / **, parentheses, sqrt(...), pi, phiK(...) and the declared symbols"


def parse(
    text: str, symbols: Iterable[Any] = (), values: Mapping[str, Any] | None = None, functions: Iterable[str] = ()
) -> sympy.Expr:
    """The exact SymPy expression that `text` spells.

    Numbers are exact: "0.1" is 1/10. Allowed are + - * / ** (rational exponents, at most 64 in size), unary signs,
    parentheses, sqrt, pi, the declared `symbols` (names or SymPy symbols) and phi0(...), phi1(...), ... of exponential
    integrators, which stay formal functions. `values` are numbers (SymPy's) by the names that stand for them; they are
    put in while reading, so that every bound holds for what comes out. `functions` are names out of `FUNCTIONS` that
    are read too; of numbers up to 64 in size, of powers up to 8, and not of functions.

    Raises `ExpressionError`, naming the position (1-based), for anything else, for values that are not real and finite,
    and for texts or numbers too large to be meant seriously.

    >>> parse("(2-sqrt(2))/2")
    1 - sqrt(2)/2
    >>> parse("0.1 + phi1(-c2*h)", symbols=("c2", "h"))
    phi1(-c2*h) + 1/10
    >>> parse("exp(-t/2)*cos(3*t)", symbols="t", functions=FUNCTIONS)
    exp(-t/2)*cos(3*t)
    """
    if not isinstance(text, str):
        raise ExpressionError(f"an expression is text, not {type(text).__name__}: write it as a string, like '1/2'")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"expression of {len(text)} characters; at most {MAX_LENGTH} are read")
    foreign = _FOREIGN.search(text)
    if foreign:
        hint = " (powers are written **)" if foreign.group() == "^" else ""
        raise ExpressionError(f"unexpected {foreign.group()!r} at position {foreign.start() + 1}{hint}")
    line = re.sub(r"[\t\r\n]", " ", text)
    start = len(line) - len(line.lstrip())
    if not line.strip():
        raise ExpressionError("an empty text is no expression; write '0' for zero")
    return _Parser(line.strip(), start, symbols, values or {}, tuple(functions)).expression()


class _Parser:
    """One text on its way to an expression; keeps what an error message needs."""

    def __init__(
        self, text: str, start: int, symbols: Iterable[Any], values: Mapping[str, Any], functions: tuple[str, ...]
    ) -> None:
        import sympy

        self.text, self.start, self.sympy, self.functions = text, start, sympy, functions
        self.symbols = {str(s): s if isinstance(s, sympy.Symbol) else sympy.Symbol(str(s)) for s in symbols}
        self.symbols |= {name: sympy.sympify(value, strict=True) for name, value in values.items()}  # never text
        for name in self.symbols:
            if name in ("pi", "sqrt", *functions) or _PHI.fullmatch(name):
                raise ExpressionError(f"{name!r} cannot be declared as a symbol: the grammar already uses it")

    def expression(self) -> sympy.Expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "1(2)" makes Python's parser warn before we refuse it
                tree = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            end = len(self.text) + 1  # Python reports an unfinished text at offset 0
            where = min(error.offset or end, end)
            raise ExpressionError(f"not an expression: {self._quote()} breaks off at {self._at(where)}") from None
        except (RecursionError, MemoryError, ValueError, OverflowError):
            raise ExpressionError(f"not an expression: {self._quote()} is nested too deeply") from None
        return self._walk(tree.body, MAX_DEPTH)

    def _quote(self) -> str:
        return repr(self.text if len(self.text) <= 60 else self.text[:57] + "...")

    def _at(self, column: int) -> str:
        return f"position {self.start + column}"

    def _refuse(self, node: ast.AST, what: str) -> ExpressionError:
        return ExpressionError(f"{what} at {self._at(node.col_offset + 1)} of {self._quote()}")

    def _walk(self, node: ast.expr, depth: int) -> sympy.Expr:
        if depth == 0:
            raise self._refuse(node, f"nested deeper than {MAX_DEPTH} levels")
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name(id=name):
                if name in self.symbols:
                    return self.symbols[name]
                if name == "pi":
                    return self.sympy.pi
                known = ", ".join(sorted(self.symbols)) or "none"
                raise self._refuse(node, f"unknown symbol {name!r} (declared: {known})")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._walk(operand, depth - 1)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._walk(operand, depth - 1)
            case ast.BinOp():
                spine = []  # a long sum leans to the left: walk it in a loop, so that only brackets cost depth
                while isinstance(node, ast.BinOp):
                    spine.append(node)
                    node = node.left
                value = self._walk(node, depth - 1)
                for joint in reversed(spine):
                    value = self._binary(joint, value, joint.op, self._walk(joint.right, depth - 1))
                return value
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if not isinstance(
                argument, ast.Starred
            ):
                inner = self._walk(argument, depth - 1)
                if name == "sqrt":
                    return self._power(node, inner, self.sympy.Rational(1, 2))
                if _PHI.fullmatch(name):
                    return self.sympy.Function(name)(inner)
                if name in self.functions:
                    return self._function(node, name, inner)
                known = ", ".join(("sqrt", *self.functions))
                raise self._refuse(node, f"unknown function {name!r} (known: {known}, phi0, phi1, ...)")
        raise self._refuse(node, f"only {_GRAMMAR} are read; found something else")

    def _function(self, node: ast.expr, name: str, inner: sympy.Expr) -> sympy.Expr:
        if inner.atoms(self.sympy.Function):
            raise self._refuse(node, f"{name} of a function")
        if any(not abs(power.exp) <= MAX_ARGUMENT_EXPONENT for power in inner.atoms(self.sympy.Pow)):
            raise self._refuse(node, f"{name} of a power beyond {MAX_ARGUMENT_EXPONENT}")
        if inner.is_number and abs(inner.evalf(15)) > MAX_ARGUMENT:
            raise self._refuse(node, f"{name} of a number beyond {MAX_ARGUMENT}")
        return self._bounded(node, getattr(self.sympy, name)(inner))

    def _number(self, node: ast.Constant) -> sympy.Rational:
        text = self.text[node.col_offset : node.end_col_offset]  # the text, not Python's float of it: "0.1" is 1/10
        spelt = _NUMBER.fullmatch(text)
        if not spelt:
            raise self._refuse(node, f"{text!r} is not a decimal number")
        if spelt.group(2) and abs(int(spelt.group(2)[1:])) > MAX_DECIMAL_EXPONENT:
            raise self._refuse(node, f"decimal exponent beyond {MAX_DECIMAL_EXPONENT}")
        value = Fraction(text)
        return self._bounded(node, self.sympy.Rational(value.numerator, value.denominator))

    def _binary(self, node: ast.BinOp, left: sympy.Expr, op: ast.operator, right: sympy.Expr) -> sympy.Expr:
        match op:
            case ast.Add():
                return self._bounded(node, left + right)
            case ast.Sub():
                return self._bounded(node, left - right)
            case ast.Mult():
                return self._bounded(node, left * right)
            case ast.Div():
                if right.is_zero:
                    raise self._refuse(node, "division by zero")
                return self._bounded(node, left / right)
            case ast.Pow():
                return self._power(node, left, right)
        raise self._refuse(node, f"only {_GRAMMAR} are read; found another operator")

    def _power(self, node: ast.expr, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        if not exponent.is_Rational:
            raise self._refuse(node, f"an exponent must be a rational number, not {exponent},")
        if abs(exponent) > MAX_EXPONENT or exponent.q > MAX_EXPONENT:
            raise self._refuse(node, f"exponent {exponent} is beyond {MAX_EXPONENT}")
        if exponent < 0 and base.is_zero:
            raise self._refuse(node, "division by zero")
        bits = max(map(_bits, base.atoms(self.sympy.Rational)), default=0)
        if bits * abs(exponent) > MAX_BITS:
            raise self._refuse(node, "power too large")
        # SymPy writes (p/q)^(1/n) as (p q^(n-1))^(1/n)/q and factors what is under the root; roots of roots multiply n
        nested = max((e.exp.q for e in base.atoms(self.sympy.Pow) if e.exp.is_Rational), default=1)
        if not exponent.is_integer and bits * exponent.q * nested > MAX_ROOT_BITS:
            raise self._refuse(node, "root of too large a number, or of too high a degree")
        if not exponent.is_integer and base.is_number and base.is_negative:
            raise self._refuse(node, "root of a negative number")
        return self._bounded(node, base**exponent)

    def _bounded(self, node: ast.expr, value: sympy.Expr) -> sympy.Expr:
        """`value`, unless it grew out of proportion: what comes next would have to carry it."""
        if value.is_Rational and _bits(value) > MAX_BITS:
            raise self._refuse(node, f"number of more than {MAX_BITS} bits")
        if value.is_Pow and value.exp.is_Rational and abs(value.exp) > MAX_EXPONENT:
            raise self._refuse(node, f"exponent {value.exp} is beyond {MAX_EXPONENT}")
        if value.is_number and (value.is_finite is False or value.is_real is False):
            raise self._refuse(node, "not a finite real number")
        return value


def _bits(value: sympy.Rational) -> int:
    return max(int(value.p).bit_length(), int(value.q).bit_length())
