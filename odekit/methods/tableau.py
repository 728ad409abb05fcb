"""Runge-Kutta tableaus as exact data: what a paper prints, checked when it is made, converted to numbers on demand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from odekit.exceptions import MethodError, OdekitError

if TYPE_CHECKING:
    from odekit.expressions import Field

MAX_STAGES = 64
MAX_ORDER = 20
MAX_TEXT = 2000  # characters of an entry or a label
LARGEST = 10**15  # beyond it the sum of a row means nothing in float64

# Apart from the expression grammar, so that tables of plain numbers load without SymPy.
_NUMBER = re.compile(r"[+-]?(\d+(/\d+)?|(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d{1,3})?)", re.ASCII)

Exact = Any  # a Fraction, or a SymPy expression where roots occur
Row = tuple[str, ...]


class Coefficients(NamedTuple):
    """The four parts of a tableau in one kind of number; `b_embedded` is None for a method without one."""

    c: tuple
    A: tuple[tuple, ...]
    b: tuple
    b_embedded: tuple | None


@lru_cache(maxsize=8192)
def exact(text: str) -> Exact:
    """The number that an entry stands for: a Fraction where it is rational, else a real SymPy expression.

    Raises ExpressionError for text outside the grammar of `odekit.expressions`, MethodError for what is no number,
    not finite, not real or larger than 1e15.

    >>> exact("-3/4"), exact("0.1"), exact("(2-sqrt(2))/2")
    (Fraction(-3, 4), Fraction(1, 10), 1 - sqrt(2)/2)
    """
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise MethodError(f"an entry of {len(text)} characters; at most {MAX_TEXT} are read")
    if _NUMBER.fullmatch(text):
        try:
            number = Fraction(text)
        except ZeroDivisionError:
            raise MethodError(f"{shown(text)} divides by zero") from None
    else:
        number = _algebraic(text)
    if abs(number) > LARGEST:
        raise MethodError(f"{shown(text)} is larger than 1e15, no method's coefficient is")
    return number


def _algebraic(text: str) -> Exact:
    from odekit.expressions import parse

    expression = parse(text)
    if not expression.is_number:
        raise MethodError(f"{shown(text)} is not a number")
    if expression.is_Rational:
        return Fraction(int(expression.p), int(expression.q))
    value = expression.evalf(30)
    if not (value.is_Float and value.is_finite):
        raise MethodError(f"{shown(text)} is not a finite real number")
    return expression


def is_zero(number: Exact) -> bool:
    """Whether an exact number is zero: exactly for rationals, from 50 digits where roots occur.

    Fifty digits can only err by calling zero what is below 1e-40; expanding roots exactly has no bound on its cost.
    """
    if isinstance(number, Fraction | int) or number.is_Rational:
        return bool(number == 0)
    return bool(abs(number.evalf(50)) < Fraction(1, 10**40))


def shown(value: object, width: int = 60) -> str:
    """A value on one short line, for a message."""
    if isinstance(value, Fraction):
        short = max(value.numerator.bit_length(), value.denominator.bit_length()) <= 128
        return str(value) if short else f"{float(value):.17g}"
    if hasattr(value, "evalf"):
        return str(value.evalf(17))
    line = repr(value)
    return line if len(line) <= width else f"{line[: width - 3]}..."


@dataclass(frozen=True)
class Tableau:
    """A Runge-Kutta method as its source prints it, with the order claimed for it.

    `c` (s,), `A` (s rows) and `b` (s,) hold numbers as text ("1/2", "(2-sqrt(2))/2", long decimals); integers,
    Fractions and Decimals are taken as well. Rows of `A` may stop early; they are stored without the zeros that the
    kind of the method implies (row i keeps i entries when explicit, i + 1 when diagonally implicit, s otherwise,
    counted from 0). `b_embedded` and `embedded_order` come together. `digits` is None where the entries are exact,
    else the number of significant digits to which the source prints them; sums are then checked to these.

    Raises MethodError for rows that do not fit, row sums that differ from `c`, weights that do not sum to one.
    Source: Butcher, Numerical Methods for Ordinary Differential Equations, section 232.

    >>> heun = Tableau("heun", 2, "Heun 1900", c=("0", "1"), A=((), ("1",)), b=("1/2", "1/2"))
    >>> heun.kind, heun.stages, heun.exact.b
    ('explicit', 2, (Fraction(1, 2), Fraction(1, 2)))
    """

    name: str
    order: int
    source: str
    c: Row
    A: tuple[Row, ...]
    b: Row
    b_embedded: Row | None = None
    embedded_order: int | None = None
    digits: int | None = None

    def __post_init__(self) -> None:
        check_label("name", self.name)
        checks = _Checks(self.name)
        checks.integer("order", self.order, MAX_ORDER)
        if not isinstance(self.source, str) or len(self.source) > MAX_TEXT:
            checks.refuse(f"source must be text of at most {MAX_TEXT} characters, got {shown(self.source)}")
        if self.digits is not None:
            checks.integer("digits", self.digits, MAX_TEXT)
        if (self.b_embedded is None) != (self.embedded_order is None):
            checks.refuse("b_embedded and embedded_order come together, one of them is missing")

        checks.shapes(self.c, self.A, self.b)  # before any entry is parsed: a file may hold a million
        c, b = checks.row("c", self.c), checks.row("b", self.b)
        A = checks.trimmed([checks.row(f"row {i} of A", row) for i, row in enumerate(self.A, start=1)])
        embedded = None
        if self.b_embedded is not None:
            checks.integer("embedded_order", self.embedded_order, MAX_ORDER)
            checks.vector("b_embedded", self.b_embedded, len(b))
            embedded = checks.row("b_embedded", self.b_embedded)
        for name, value in (("c", c), ("A", A), ("b", b), ("b_embedded", embedded)):
            object.__setattr__(self, name, value)  # the canonical form, so that equal methods compare equal
        self._check_sums(checks)

    def _check_sums(self, checks: _Checks) -> None:
        c, A, b, b_embedded = self.exact
        for i, (row, abscissa) in enumerate(zip(A, c, strict=True), start=1):
            checks.total(f"row {i} of A", row, abscissa, f"c{i}", self.digits)
        checks.total("b", b, Fraction(1), "the sum of weights", self.digits)
        if b_embedded is not None:
            checks.total("b_embedded", b_embedded, Fraction(1), "the sum of weights", self.digits)

    @property
    def family(self) -> str:
        """The catalogue's family, "runge-kutta"."""
        return "runge-kutta"

    @property
    def stages(self) -> int:
        """The number of stages s."""
        return len(self.b)

    @cached_property
    def kind(self) -> str:
        """Where `A` has entries: "explicit" (below the diagonal), "diagonally-implicit" (and on it), "implicit"."""
        return _KINDS[min(max(len(row) - i for i, row in enumerate(self.A)), 2)]

    @cached_property
    def exact(self) -> Coefficients:
        """(c, A, b, b_embedded) as exact numbers, `A` a full square."""
        square = tuple(row + ("0",) * (self.stages - len(row)) for row in self.A)
        return _mapped(exact, self.c, square, self.b, self.b_embedded)

    @cached_property
    def fsal(self) -> bool:
        """First same as last: the first stage is f at the start of the step, the last stage f at its end."""
        c, A, b, _ = self.exact
        starts = all(is_zero(a) for a in A[0])
        return starts and is_zero(c[-1] - 1) and all(is_zero(a - w) for a, w in zip(A[-1], b, strict=True))

    def coefficients(self, field: Field) -> Coefficients:
        """(c, A, b, b_embedded) as numbers of `field`, rows of `A` as stored; an exact zero is the python int 0.

        Shapes: c (s,), A s rows (see the class), b (s,). Entries are rounded once, from what the source prints; in a
        field of more than `digits` digits the method is still only of its order to these.
        """
        return _converted(self, field)


_LISTS = (list, tuple)
_KINDS = ("explicit", "diagonally-implicit", "implicit")


def _mapped(convert: Any, c: Iterable, A: Iterable[Iterable], b: Iterable, embedded: Iterable | None) -> Coefficients:
    def vector(row: Iterable) -> tuple:
        return tuple(map(convert, row))

    return Coefficients(vector(c), tuple(map(vector, A)), vector(b), None if embedded is None else vector(embedded))


@lru_cache(maxsize=256)
def _converted(tableau: Tableau, field: Field) -> Coefficients:
    def number(text: str) -> Any:
        value = exact(text)
        return 0 if is_zero(value) else field.number(value)

    return _mapped(number, tableau.c, tableau.A, tableau.b, tableau.b_embedded)


def key_of(table: Any) -> dict[str, Any]:
    """What determines the coefficients of a tableau, of numbers or of functions of the step, as plain data."""
    return {name: getattr(table, name) for name in ("c", "A", "b", "b_embedded", "order")}


def check_label(key: str, value: object) -> None:
    """Refuse what cannot be a name: not text, empty, longer than 100 characters, or not on one printable line."""
    if not (isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable() and value.strip()):
        raise MethodError(f"{key} must be a line of 1 to 100 printable characters, got {shown(value)}")


class _Checks:
    """The refusals of a tableau, each of which names the method."""

    def __init__(self, name: str) -> None:
        self.name = name

    def refuse(self, message: str) -> None:
        raise MethodError(f"{self.name}: {message}")

    def integer(self, key: str, value: object, largest: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            self.refuse(f"{key} must be an integer from 1 to {largest}, got {shown(value)}")

    def shapes(self, c: object, A: object, b: object) -> None:
        self.list("b", b)
        if not 1 <= len(b) <= MAX_STAGES:
            self.refuse(f"b has {len(b)} entries; 1 to {MAX_STAGES} stages are possible")
        self.vector("c", c, len(b))
        self.list("A", A)
        if len(A) != len(b):
            self.refuse(f"A has {len(A)} rows, but b has {len(b)} entries; one a stage is expected")
        for i, row in enumerate(A, start=1):
            self.list(f"row {i} of A", row)
            if len(row) > len(b):
                self.refuse(f"row {i} of A has {len(row)} entries, but b has only {len(b)}")

    def vector(self, key: str, values: object, stages: int) -> None:
        self.list(key, values)
        if len(values) != stages:
            self.refuse(f"{key} has {len(values)} entries, but b has {stages}; one a stage is expected")

    def list(self, key: str, values: object) -> None:
        if not isinstance(values, _LISTS):
            self.refuse(f"{key} must be a list, got {shown(values)}")

    def row(self, key: str, values: Sequence) -> Row:
        return tuple(self.entry(f"entry {j} of {key}", value) for j, value in enumerate(values, start=1))

    def entry(self, where: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | Fraction | Decimal):
            self.refuse(f'{where} must be a number as text, like "1/2", got {shown(value)}')
        if isinstance(value, int) and abs(value) > LARGEST:
            self.refuse(f"{where} is larger than 1e15, no method's coefficient is")
        text = str(value).strip()
        try:
            exact(text)
        except OdekitError as error:
            raise type(error)(f"{self.name}: {where}: {error}") from None
        return text

    def trimmed(self, A: Sequence[Row]) -> tuple[Row, ...]:
        """Rows without the zeros that the kind implies, and with the zeros that it does not."""
        stages = len(A)
        reach = 0
        for i, row in enumerate(A):
            used = max((j for j, a in enumerate(row) if not is_zero(exact(a))), default=-1)
            reach = max(reach, min(used - i + 1, 2))  # 0 below the diagonal, 1 up to it, 2 beyond
        widths = (stages if reach == 2 else i + reach for i in range(stages))
        return tuple((row + ("0",) * stages)[:width] for row, width in zip(A, widths, strict=True))

    def total(self, what: str, terms: Sequence[Exact], expected: Exact, label: str, digits: int | None) -> None:
        found = sum(terms)
        difference = found - expected
        if digits is None:
            fits = is_zero(difference)
        else:  # each number is off by at most half a unit of its last printed digit
            scale = sum(map(abs, terms)) + abs(expected)
            fits = abs(difference) <= scale * Fraction(1, 2 * 10 ** (digits - 1))
        if not fits:
            near = "" if abs(difference) > 1e-8 else "; state `digits` if the source prints decimals"
            off = f"off by {float(difference):.2g}"
            self.refuse(f"{what} sums to {shown(found)}, but {label} is {shown(expected)} ({off}{near})")
