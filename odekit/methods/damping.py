"""The matrix B_t of a conjugate integrator: given by name, numbers, texts or symbols, evaluated in any number kind."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from odekit.exceptions import MethodError, OdekitError, unknown
from odekit.expressions import exact_value, parse
from odekit.operators import Diagonal, Operator
from odekit.processes.entries import block, gathered
from odekit.processes.propagate import propagated

SHAPES = {"identity": 1, "ones": ((1, 1), (1, 1))}
"""What B is a multiple of: lambda-DDIM-I and II."""


class Damping:
    """B_t = rate * shape, a multiple of the identity on any carrier or a matrix on two channels.

    ``rate``: a number. ``shape``: a name of `SHAPES`; a number, a text or a SymPy expression in one symbol, the time t:
    a multiple of the identity; 2x2 rows of such entries, or a SymPy matrix. Texts are read by the safe parser.
    ``entries`` are exact: numbers, and expressions in t; one entry, or four by rows. Raises MethodError naming what
    else was given.

    >>> Damping("mine", 2.0, [["1", "t"], ["0", "1/2"]]).at(0.25).value
    tensor([[2.0000, 0.5000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """

    def __init__(self, name: str, rate: Any, shape: Any):
        self.name, self.shape = name, shape
        self.rate = self._number("rate", rate)
        known = isinstance(shape, str) and shape in SHAPES
        self.entries = self._read(SHAPES[shape] if known else shape)
        self.of_channels = len(self.entries) == 4

    def _read(self, shape: Any) -> tuple:
        rows = shape.tolist() if hasattr(shape, "tolist") else shape
        single = not isinstance(rows, list | tuple)
        if not single and [len(row) if isinstance(row, list | tuple) else 0 for row in rows] != [2, 2]:
            raise self._refused(shape)
        entries = [self._entry(entry) for entry in ([rows] if single else [*rows[0], *rows[1]])]
        symbols = {symbol for entry in entries for symbol in getattr(entry, "free_symbols", ())}
        if len(symbols) > 1:
            raise self._refused(shape)
        return tuple(map(_in_time, entries))

    def _entry(self, value: Any) -> Any:
        if isinstance(value, str):
            if value.isidentifier() and value not in ("t", "pi"):
                raise unknown(f"shape of {self.name}", value, SHAPES)
            value = parse(value, ("t",))
        if not getattr(value, "free_symbols", ()):
            return self._number("shape", value)
        import sympy
        from sympy.core.function import AppliedUndef

        if not isinstance(value, sympy.Expr) or value.atoms(AppliedUndef):
            raise self._refused(value)
        return sympy.nsimplify(value, rational=True) if value.has(sympy.Float) else value

    def _number(self, what: str, value: Any) -> Any:
        try:
            found = exact_value(value) if not isinstance(value, bool) else math.nan
            if math.isfinite(found):
                return found
        except (OdekitError, TypeError, ValueError, OverflowError):
            pass
        raise MethodError(f"{self.name}: {what} = {_on_one_line(value)} is no finite number")

    def _refused(self, shape: Any) -> MethodError:
        return MethodError(
            f"{self.name}: shape = {_on_one_line(shape)} is neither {' nor '.join(SHAPES)}, nor an expression in the"
            " time t, nor 2x2 rows of numbers or such expressions (or a SymPy matrix in one symbol)"
        )

    # ------------------------------------------------------------ what it is

    @property
    def is_constant(self) -> bool:
        """Whether B is the same at all times."""
        return not any(hasattr(entry, "free_symbols") and entry.free_symbols for entry in self.entries)

    @property
    def multiple(self) -> Any:
        """b(t) where B = rate b I, else None; the zero matrix is one."""
        if self.rate == 0:
            return Fraction(0)
        first, *others = self.entries
        return first if not others or (first == others[2] and others[0] == others[1] == 0) else None

    def key(self) -> dict[str, Any]:
        """Rate and entries as plain data."""
        return {"rate": str(self.rate), "shape": [*map(str, self.entries)]}

    # ------------------------------------------------------------ its numbers

    def at(self, t: Any) -> Operator:
        """B at times t, as a block."""
        entries = self.entries if self.of_channels else (self.entries[0], 0, 0, self.entries[0])

        def formula(words: Any, t: Any) -> tuple:
            a, b, c, d = (self._value(words, entry, t) for entry in entries)
            return (a, b), (c, d)

        return block(formula, t)

    def number(self, t: Any) -> Any:
        """rate b(t) of a multiple of the identity, in the numbers of t."""
        return gathered(lambda words, t: (self._value(words, self.multiple, t),), t, form=())

    def growth(self, to: Any, at: Any) -> Any:
        """exp(int_to^at rate b dt) of a multiple of the identity."""
        return gathered(lambda words, z: (words.exp(z),), self._exponent(to, at), form=())

    def gain(self, to: Any, at: Any) -> Any:
        """`growth` - 1 without the cancellation."""
        return gathered(lambda words, z: (words.expm1(z),), self._exponent(to, at), form=())

    def _exponent(self, to: Any, at: Any) -> Any:
        """int_to^at rate b dt: closed where b is a polynomial, else by quadrature in float64."""
        b = self.multiple
        if not getattr(b, "free_symbols", ()):
            return gathered(lambda words, s, t: (self._value(words, b, t) * (t - s),), to, at, form=())
        (time,) = b.free_symbols
        if not b.is_polynomial(time):
            return propagated(lambda t: Diagonal(self.number(t)[..., None]), at, to).value[..., 0].log()
        whole = b.integrate(time)
        return gathered(
            lambda words, s, t: (self._value(words, whole, t) - self._value(words, whole, s),), to, at, form=()
        )

    def _value(self, words: Any, entry: Any, t: Any) -> Any:
        """rate * entry at t."""
        rate = words.constant(self.rate)
        if not getattr(entry, "free_symbols", ()):
            return rate * words.constant(entry) + 0 * t
        from odekit.processes.code import compiled

        code = compiled(entry, tuple(entry.free_symbols))
        return rate * (code.on_mpmath(t) if words.exact else code.on_torch(t))


def _in_time(entry: Any) -> Any:
    """An entry in the one symbol that processes use for time."""
    if not getattr(entry, "free_symbols", ()):
        return entry
    from odekit.processes.derivation import TIME

    (symbol,) = entry.free_symbols
    return entry.xreplace({symbol: TIME})


def _on_one_line(value: Any) -> str:
    return " ".join(repr(value).split())[:60]
