"""The ring in which coefficients of exponential integrators live, with an exact test for zero.

Reduced by phi_k(cz) = (e^(cz) - sum_{j<k} (cz)^j/j!)/(cz)^k, every combination of phi functions becomes a finite sum
of q z^n e^(cz) with q and c in a number field (rationals, roots, free parameters) and n an integer. For distinct pairs
(c, n) these functions are linearly independent, so a sum vanishes exactly when it has no terms left. Products in
*different* variables (coefficients with an arbitrary operator between them) are tensors: tuples of such pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import product
from math import factorial
from typing import TYPE_CHECKING, Any

from odekit.algebra.phi import index_of
from odekit.algebra.trees import AlgebraError

if TYPE_CHECKING:
    import sympy

MAX_POWER = 64
Key = tuple[tuple[Any, int], ...]  # a pair (c, n) for each variable


class Ring:
    """The exponential polynomials in one variable that given expressions need; makes elements and constants.

    `expressions` are SymPy's, in formal phiK, the variable, free parameters and roots of rationals. Raises AlgebraError
    for roots of parameters and for other constants (pi).

    >>> from odekit.expressions import parse
    >>> one, two = (parse(text, symbols=("z", "c")) for text in ("phi1(c*z)", "phi1(z)*phi0(c*z)"))
    >>> ring = Ring([one, two], "z")
    >>> c = ring.constant("c")
    >>> ring.element(two) == ring.phi(1, c + 1) * (c + 1) - ring.element(one) * c
    True
    """

    def __init__(self, expressions: Iterable[sympy.Expr], variable: str = "z"):
        import sympy

        self.variable = sympy.Symbol(variable)
        expressions = [sympy.sympify(e) for e in expressions]
        roots, symbols = set(), set()
        for e in expressions:
            symbols |= e.free_symbols
            roots |= {power for power in e.atoms(sympy.Pow) if not power.exp.is_Integer}
            if e.has(sympy.pi) or any(power.free_symbols for power in roots):
                raise AlgebraError(f"{e} is outside the exact ring: only rationals, roots of them, parameters and phiK")
        self.parameters = sorted(symbols - {self.variable}, key=str)
        self.domain = sympy.QQ.algebraic_field(*sorted(roots, key=str)) if roots else sympy.QQ
        if self.parameters:
            self.domain = self.domain.frac_field(*self.parameters)
        self._canonical: dict[Any, Any] = {}
        self.zero, self.one = ExponentialPolynomial(self, {}), self.make({(self.domain.zero, 0): self.domain.one})

    def make(self, terms: dict[tuple[Any, int], Any]) -> ExponentialPolynomial:
        """The sum of q z^n e^(cz) over pairs (c, n) and their q."""
        return ExponentialPolynomial(self, {(key,): q for key, q in terms.items() if q})

    def exponent(self, c: Any) -> Any:
        """The constant c as a key: SymPy's fractions compare unequal where numerator and denominator change sign."""
        if not self.parameters:
            return c
        if c not in self._canonical:
            numerator, denominator = c.numer.cancel(c.denom)
            lead = denominator.LC
            monic = self.domain.field.raw_new(numerator.quo_ground(lead), denominator.quo_ground(lead))
            self._canonical[c] = monic
        return self._canonical[c]

    def constant(self, value: Any) -> Any:
        """An element of the number field, from an integer, a Fraction, a text or a SymPy expression."""
        import sympy

        if isinstance(value, str):
            from odekit.expressions import parse

            value = parse(value, self.parameters)
        elif not isinstance(value, sympy.Expr):
            value = sympy.Rational(value.numerator, value.denominator)
        try:
            return self.domain.from_sympy(value)
        except (sympy.CoercionFailed, NotImplementedError, ZeroDivisionError):
            raise AlgebraError(f"{value} is no number of {self.domain}") from None

    def phi(self, k: int, c: Any) -> ExponentialPolynomial:
        """phi_k(cz) for a constant c of the number field."""
        one, zero = self.domain.one, self.domain.zero
        if not c:
            return self.make({(zero, 0): one / factorial(k)})
        terms = {(zero, j - k): -(c ** (j - k)) / factorial(j) for j in range(k)}
        terms[(self.exponent(c), -k)] = c**-k
        return self.make(terms)

    def element(self, expression: sympy.Expr) -> ExponentialPolynomial:
        """An expression as an element. Raises AlgebraError where it divides by a sum, or phiK is taken of one."""
        if expression == self.variable:
            return self.make({(self.domain.zero, 1): self.domain.one})
        if not expression.has(self.variable) and not expression.is_Function:
            if not any(index_of(f.func.__name__) is not None for f in _functions(expression)):
                return self.one * self.constant(expression)
        if expression.is_Add or expression.is_Mul:
            parts = [self.element(part) for part in expression.args]
            return reduce(lambda a, b: a + b if expression.is_Add else a * b, parts)
        if expression.is_Pow and expression.exp.is_Integer and abs(expression.exp) <= MAX_POWER:
            base, exponent = self.element(expression.base), int(expression.exp)
            return reduce(lambda a, b: a * b, [base if exponent > 0 else base.inverse()] * abs(exponent), self.one)
        k = index_of(expression.func.__name__) if expression.is_Function else None
        if k is None:
            raise AlgebraError(f"{expression} is no exponential polynomial in {self.variable}")
        argument = self.element(expression.args[0]).terms
        if set(argument) - {((self.domain.zero, 1),)}:
            raise AlgebraError(f"phi{k} is taken of multiples of {self.variable} only, not of {expression.args[0]}")
        return self.phi(k, argument.get(((self.domain.zero, 1),), self.domain.zero))


def _functions(expression: sympy.Expr) -> set:
    import sympy

    return expression.atoms(sympy.Function)


class ExponentialPolynomial:
    """A sum of q z^n e^(cz), or of products of such in several variables; made by a Ring, equal where identical.

    >>> from odekit.expressions import parse
    >>> expression = parse("phi1(z)*(phi0(z)+1) - 2*phi1(2*z)", symbols="z")
    >>> Ring([expression], "z").element(expression).is_zero
    True
    """

    __slots__ = ("ring", "terms")

    def __init__(self, ring: Ring, terms: dict[Key, Any]):
        self.ring, self.terms = ring, terms

    @property
    def is_zero(self) -> bool:
        """Whether this is the zero function."""
        return not self.terms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExponentialPolynomial) and (self - other).is_zero

    __hash__ = None

    def __add__(self, other: ExponentialPolynomial) -> ExponentialPolynomial:
        terms = dict(self.terms)
        for key, q in other.terms.items():
            total = terms[key] + q if key in terms else q
            if total:
                terms[key] = total
            else:
                del terms[key]
        return ExponentialPolynomial(self.ring, terms)

    def __neg__(self) -> ExponentialPolynomial:
        return ExponentialPolynomial(self.ring, {key: -q for key, q in self.terms.items()})

    def __sub__(self, other: ExponentialPolynomial) -> ExponentialPolynomial:
        return self + (-other)

    def __mul__(self, other: Any) -> ExponentialPolynomial:
        """The product with another one in the same variables, or with a constant of the number field or an integer."""
        if not isinstance(other, ExponentialPolynomial):
            return ExponentialPolynomial(self.ring, {key: q * other for key, q in self.terms.items()} if other else {})
        total: dict[Key, Any] = {}
        exponent = self.ring.exponent
        for key, q in self.terms.items():
            for factor, p in other.terms.items():
                here = tuple([(exponent(c + d), n + m) for (c, n), (d, m) in zip(key, factor, strict=True)])
                total[here] = total[here] + q * p if here in total else q * p
        return ExponentialPolynomial(self.ring, {key: q for key, q in total.items() if q})

    def tensor(self, other: ExponentialPolynomial) -> ExponentialPolynomial:
        """The product in separate variables: those of this one first."""
        terms = {key + more: q * p for key, q in self.terms.items() for more, p in other.terms.items()}
        return ExponentialPolynomial(self.ring, terms)

    def inverse(self) -> ExponentialPolynomial:
        """One over this; raises AlgebraError unless it is a single term."""
        if len(self.terms) != 1:
            raise AlgebraError(f"division by {self} leaves the ring: only single terms are invertible")
        ((key, q),) = self.terms.items()
        return ExponentialPolynomial(self.ring, {tuple((self.ring.exponent(-c), -n) for c, n in key): 1 / q})

    def coefficient(self, powers: Sequence[int]) -> Any:
        """The coefficient of z0^p0 z1^p1 ... in the expansion at the origin, in the number field.

        >>> ring = Ring([], "z")
        >>> phi_2 = ring.phi(2, ring.constant(-1))
        >>> [str(phi_2.coefficient((power,))) for power in range(3)]
        ['1/2', '-1/6', '1/24']
        """
        total = self.ring.domain.zero
        for key, q in self.terms.items():
            for (c, n), power in zip(key, powers, strict=True):
                if power < n or (not c and power > n):
                    break
                q = q * c ** (power - n) / factorial(power - n) if power > n else q
            else:
                total += q
        return total

    def at_origin(self) -> ExponentialPolynomial:
        """The value where the first variable is zero, in the others; for functions without a pole there."""
        total: dict[Key, Any] = {}
        for ((c, n), *rest), q in self.terms.items():
            if n <= 0 and (c or not n):
                rest, q = tuple(rest), q * c**-n / factorial(-n) if n else q
                total[rest] = total[rest] + q if rest in total else q
        return ExponentialPolynomial(self.ring, {key: q for key, q in total.items() if q})

    @property
    def variables(self) -> int:
        """The number of variables (0 for zero, which has any)."""
        return len(next(iter(self.terms), ()))

    def order(self, limit: int = 40) -> int | None:
        """The lowest total degree in the expansion at the origin; None for zero."""
        if self.terms:
            for degree in range(limit + 1):
                if self.homogeneous(degree):
                    return degree
        return None

    def homogeneous(self, degree: int) -> dict[tuple[int, ...], Any]:
        """The part of one total degree in the expansion at the origin: a mapping from powers to constants."""
        powers = (p for p in product(range(degree + 1), repeat=self.variables) if sum(p) == degree)
        return {p: q for p in powers if (q := self.coefficient(p))}

    def equations(self) -> list[sympy.Expr]:
        """The polynomials in the free parameters that must all vanish for this to be zero, as SymPy expressions.

        >>> from odekit.expressions import parse
        >>> psi = parse("phi2(z) - x*phi1(z) - y*phi2(z)*c", symbols=("z", "c", "x", "y"))
        >>> Ring([psi], "z").element(psi).equations()
        [-c*y + 1, -x, c*y + x - 1, c*y - 1]
        """
        import sympy

        numerators = (sympy.fraction(sympy.cancel(self.ring.domain.to_sympy(q)))[0] for q in self.terms.values())
        return sorted(set(numerators), key=str)

    def expression(self, symbols: Sequence[Any] = ()) -> sympy.Expr:
        """The same as a SymPy expression; `symbols` name the variables (z, or z0, z1, ... where there are several)."""
        import sympy

        z = self._symbols(symbols)
        number = self.ring.domain.to_sympy
        return sympy.Add(
            *(
                number(q) * sympy.prod(x**n * sympy.exp(number(c) * x) for x, (c, n) in zip(z, key, strict=True))
                for key, q in self.terms.items()
            )
        )

    def leading(self, symbols: Sequence[Any] = ()) -> sympy.Expr:
        """The part of lowest degree in the expansion at the origin, as a SymPy expression."""
        import sympy

        degree = self.order()
        if degree is None:
            return sympy.Integer(0)
        z = self._symbols(symbols)
        terms = []
        for powers, q in self.homogeneous(degree).items():
            number = sympy.factor(self.ring.domain.to_sympy(q))
            terms.append(number * sympy.prod(x**p for x, p in zip(z, powers, strict=True)))
        return sympy.Add(*terms)

    def _symbols(self, symbols: Sequence[Any]) -> Sequence[Any]:
        import sympy

        return symbols or ([self.ring.variable] if self.variables == 1 else sympy.symbols(f"z:{self.variables}"))

    def __str__(self) -> str:
        return str(self.expression())

    def __repr__(self) -> str:
        return f"<{self}>"
