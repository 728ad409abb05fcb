"""Linear multistep methods on any steps, given or symbolic, in closed form.

A method is sum_j alpha_j y(t + c_j h) = h sum_j beta_j f(t + c_j h): h is the current step, from t to t + h, and the
nodes c_j run from the newest point back: 1, 0, -1/w1, -1/w1 - 1/(w1 w2), ... with the ratios of steps
w1 = h / (the step before), w2 = (the step before) / (the one before that), ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod
from random import Random
from typing import Any

from odekit.algebra.numbers import is_symbolic, is_zero, plain
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError

MAX_STEPS = 20
MAX_SYMBOLIC = 10  # beyond, closed forms on symbolic ratios fill pages and minutes


@dataclass(frozen=True)
class Multistep:
    """A linear multistep method: nodes from the newest point back, and alpha, beta on them, in any field.

    >>> ab2 = adams_bashforth(2)
    >>> ab2.nodes, ab2.alpha, ab2.beta, ab2.steps
    ((Fraction(1, 1), Fraction(0, 1), Fraction(-1, 1)), (1, -1, 0), (0, Fraction(3, 2), Fraction(-1, 2)), 2)
    """

    name: str
    nodes: tuple[Any, ...]
    alpha: tuple[Any, ...]
    beta: tuple[Any, ...]
    order: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        if not len(self.nodes) == len(self.alpha) == len(self.beta) >= 2:
            raise AlgebraError(f"{self.name}: {len(self.nodes)} nodes, {len(self.alpha)} alpha, {len(self.beta)} beta")
        if is_zero(_value(self.alpha[0])):
            raise AlgebraError(f"{self.name}: the newest value does not occur (alpha_0 = 0)")

    @property
    def steps(self) -> int:
        """How many steps back the method reaches."""
        used = [j for j in range(len(self.nodes)) if not (is_null(self.alpha[j]) and is_null(self.beta[j]))]
        return used[-1]

    @property
    def is_explicit(self) -> bool:
        """Whether the derivative at the new point does not occur."""
        return is_null(self.beta[0])

    @property
    def is_uniform(self) -> bool:
        """Whether all steps are equal."""
        return all(is_null(a - b - 1) for a, b in zip(self.nodes, self.nodes[1:], strict=False))

    def at(self, ratios: Sequence[Any]) -> Multistep:
        """A method on symbolic ratios at given ones."""
        values = [Fraction(w) for w in ratios]

        def value(v: Any) -> Any:
            if not hasattr(v, "field"):
                return v
            above, below = (sum(c * prod(map(pow, values, m)) for m, c in terms(p)) for p in (v.numer, v.denom))
            if is_null(below):
                raise AlgebraError(
                    f"{self.name}: a coefficient is infinite for the ratios {', '.join(map(str, values))}"
                )
            return plain(above / below)

        parts = (tuple(map(value, part)) for part in (self.nodes, self.alpha, self.beta))
        return Multistep(self.name, *parts, self.order, self.source)

    def at_random(self) -> Multistep:
        """A method on symbolic ratios at random ones, the same in every run."""
        generator = Random(0)
        count = self.nodes[0].field.ngens
        return self.at([Fraction(generator.getrandbits(60) + 1, generator.getrandbits(60) + 1) for _ in range(count)])

    def expressions(self) -> tuple[list, list]:
        """alpha and beta as SymPy expressions, factored: the closed forms in the ratios w1, w2, ...

        >>> adams_bashforth(2, symbolic=True).expressions()
        ([1, -1, 0], [0, (w1 + 2)/2, -w1/2])
        """
        import sympy

        return tuple([sympy.factor(_expression(v)) for v in part] for part in (self.alpha, self.beta))

    def latex(self) -> str:
        """The formula, for the values y_{n+1}, y_n, y_{n-1}, ...

        >>> adams_bashforth(2, symbolic=True).latex()
        'y_{n+1} - y_{n} = h \\\\left(\\\\frac{w_{1} + 2}{2} f_{n} - \\\\frac{w_{1}}{2} f_{n-1}\\\\right)'
        """
        alpha, beta = self.expressions()
        return f"{_sum(alpha, 'y')} = h \\left({_sum(beta, 'f')}\\right)"

    def python(self) -> str:
        """Source of a function of the ratios that returns (alpha, beta); runs without odekit."""
        import sympy

        alpha, beta = self.expressions()
        names = sorted({str(s) for v in (*alpha, *beta) for s in v.free_symbols})
        head = f"def {self.name.replace('-', '_')}({', '.join(names)}):"
        rows = (f"[{', '.join(sympy.pycode(v) for v in row)}]" for row in (alpha, beta))
        return "\n".join([head, *(f"    {n} = {row}" for n, row in zip(("alpha", "beta"), rows, strict=True)),
                          "    return alpha, beta"])  # fmt: skip


def terms(polynomial: Any) -> list[tuple[tuple[int, ...], Any]]:
    """The monomials of a polynomial in the ratios, each with its coefficient: a Fraction, or a SymPy number."""
    return [(m, plain(polynomial.ring.domain.to_sympy(c))) for m, c in polynomial.terms()]


def _value(value: Any) -> Any:
    return value.as_expr() if hasattr(value, "as_expr") and not is_symbolic(value) else value


def is_null(value: Any) -> bool:
    """Whether a number, an expression or an element of a field is zero."""
    return bool(value == 0) or (is_symbolic(value) and is_zero(value))


def _expression(value: Any) -> Any:
    import sympy

    value = _value(value)
    return sympy.Rational(value.numerator, value.denominator) if isinstance(value, Fraction) else sympy.sympify(value)


def _sum(coefficients: Sequence[Any], name: str) -> str:
    import sympy

    text = ""
    for j, v in enumerate(coefficients):
        if v != 0:
            shown = sympy.latex(v)
            negative = shown.startswith("-")
            shown = shown.lstrip("- ")
            sign = (" - " if text else "-") if negative else (" + " if text else "")
            bracketed = rf"\left({shown}\right)" if v.is_Add else shown
            factor = "" if shown == "1" else bracketed + " "
            text += f"{sign}{factor}{name}_{{n{f'{1 - j:+d}' if j != 1 else ''}}}"
    return text or "0"


# Nodes.


def nodes(steps: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> tuple[Any, ...]:
    """The points a method of `steps` steps uses, in units of the current step: 1, 0, -1/w1, ...

    Equal steps where neither `ratios` (numbers, `steps` - 1 of them) nor `symbolic` (elements of the field of rational
    functions in w1, w2, ...) are asked for.

    >>> nodes(3, ["2", "1/2"])
    (Fraction(1, 1), Fraction(0, 1), Fraction(-1, 2), Fraction(-3, 2))
    """
    limit = MAX_SYMBOLIC if symbolic else MAX_STEPS
    if not 1 <= steps <= limit:
        raise AlgebraError(f"a method of {steps} steps: expected 1 to {limit}")
    if symbolic:
        ratios = field_of_ratios(steps - 1)
    elif ratios is None:
        ratios = [Fraction(1)] * (steps - 1)
    else:
        from odekit.algebra.splitting import exact_number

        ratios = [exact_number(w) for w in ratios]
        if len(ratios) != steps - 1 or not all(is_symbolic(w) or w > 0 for w in ratios):
            raise AlgebraError(f"a method of {steps} steps needs {steps - 1} positive ratios, not {len(ratios)}")
    return _nodes(ratios)


def _nodes(ratios: Sequence[Any]) -> tuple[Any, ...]:
    one = ratios[0] ** 0 if ratios else Fraction(1)
    found, length = [one, one * 0], one
    for w in ratios:
        length = length / w
        found.append(found[-1] - length)
    return tuple(found)


@cache
def field_of_ratios(count: int, roots: frozenset = frozenset()) -> tuple[Any, ...]:
    """w1, w2, ... of the field of rational functions in so many ratios, over the rationals with some roots."""
    from sympy import QQ
    from sympy import field as rational_functions

    numbers = QQ.algebraic_field(*sorted(roots, key=str)) if roots else QQ
    return tuple(rational_functions([f"w{j}" for j in range(1, count + 1)], numbers)[1:]) if count else ()


def from_text(
    name: str,
    order: int,
    alpha: Sequence[str],
    beta: Sequence[str],
    source: str = "",
    parameters: Mapping[str, str] | None = None,
) -> Multistep:
    """The method with these coefficients on any steps: texts, from the newest point back, in the ratios w1, w2, ...

    `order` is the claim. `parameters` are symbols that stand in the texts, each with its value, itself exact text.
    A formula for equal steps has no ratios in its coefficients; its nodes have them all the same, so that its order on
    unequal steps can be asked. Raises OdekitError, naming the entry.

    >>> method = from_text("ab2", 2, ["1", "-1", "0"], ["0", "1 + w1/2", "-w1/2"])
    >>> method.at([1]).beta
    (0, Fraction(3, 2), Fraction(-1, 2))
    """
    from sympy import Pow, sympify

    from odekit.expressions import exact_value, parse

    if len(alpha) != len(beta):
        raise AlgebraError(f"{name}: {len(alpha)} alpha and {len(beta)} beta; one each is expected for every point")
    steps = len(alpha) - 1
    nodes(steps, symbolic=True)  # refuses a number of steps that is none
    values = {key: sympify(exact_value(value)) for key, value in (parameters or {}).items()}
    symbols = [f"w{j}" for j in range(1, steps)]
    found: list[Any] = []
    for part, texts in (("alpha", alpha), ("beta", beta)):
        for j, text in enumerate(texts):
            try:
                found.append(parse(str(text), symbols=[*symbols, *values]).subs(values))
            except OdekitError as error:
                raise type(error)(f"{name}: entry {j + 1} of {part}: {error}") from None
            if not found[-1].is_rational_function() or found[-1].has(sympify("zoo"), sympify("nan")):
                raise AlgebraError(f"{name}: entry {j + 1} of {part}: {text} is no rational function of the ratios")
    roots = frozenset(root for v in found for root in v.atoms(Pow) if root.is_number and not root.is_Rational)
    ratios = field_of_ratios(steps - 1, roots)
    entries = [ratios[0].field.from_expr(v) for v in found] if ratios else [plain(v) for v in found]
    return Multistep(name, _nodes(ratios), tuple(entries[: steps + 1]), tuple(entries[steps + 1 :]), order, source)


# Interpolation on any nodes. On symbolic ones everything is a polynomial once the oldest step is the unit; quotients
# are formed last, from known factors, so that no greatest common divisor of large polynomials is ever sought.


def _polynomial_nodes(points: Sequence[Any]) -> tuple[list[Any], Any]:
    """The nodes times a unit, and the unit: polynomials where they are rational functions, else as they are."""
    if not hasattr(points[0], "denom") or isinstance(points[0], Fraction):
        return list(points), points[0]
    unit = points[-1].denom
    scale = points[0].field(unit)
    return [(c * scale).numer for c in points], unit


def _quotient(above: Sequence[Any], below: Sequence[Any], like: Any) -> Any:
    """The product of some factors over that of others, in the field `like` lies in."""
    if not hasattr(like, "field"):
        return prod(above, start=like * 0 + 1) / prod(below)
    above, below = list(above), list(below)
    for factor in list(below):
        for i, numerator in enumerate(above):
            quotient, rest = divmod(numerator, factor)
            if not rest:
                above[i] = quotient
                below.remove(factor)
                break
    numerator, denominator = prod(above, start=like.field.ring.one), prod(below, start=like.field.ring.one)
    shared = tuple(min(*ks) for ks in zip(*numerator.monoms(), *denominator.monoms(), strict=True)) if numerator else ()
    if any(shared):
        monomial = like.field.ring({shared: like.field.ring.domain.one})
        numerator, denominator = numerator.exquo(monomial), denominator.exquo(monomial)
    content = denominator.LC
    return like.field.raw_new(numerator.mul_ground(1 / content), denominator.mul_ground(1 / content))


def _without(points: Sequence[Any], j: int) -> list[Any]:
    """The coefficients, from the constant up, of the polynomial that vanishes at all points but the j-th."""
    coefficients = [points[j] * 0 + 1]
    for i, c in enumerate(points):
        if i != j:
            shifted = [points[j] * 0, *coefficients]
            for k, v in enumerate(coefficients):
                shifted[k] = shifted[k] - c * v
            coefficients = shifted
    return coefficients


def _integral(coefficients: Sequence[Any], upper: Any) -> Any:
    total = upper * 0
    for k in reversed(range(len(coefficients))):
        total = (total + coefficients[k] / (k + 1)) * upper
    return total


def quadrature(points: Sequence[Any], alpha: Sequence[Any], used: Sequence[int]) -> tuple[Any, ...]:
    """The beta on the points numbered in `used` for which a method with these alpha (numbers) has the highest order.

    beta_j = sum_i alpha_i int^{c_i} l_j. Source: Hairer, Norsett, Wanner I, theorem III.2.4 (for given rho).

    >>> [str(b) for b in quadrature(nodes(2), [1, 0, -1], [0, 1, 2])]
    ['1/3', '4/3', '1/3']
    """
    scaled, unit = _polynomial_nodes(points)
    beta: list[Any] = [0] * len(points)
    chosen = [scaled[j] for j in used]
    for k, j in enumerate(used):
        polynomial = _without(chosen, k)
        total = scaled[0] * 0
        for a, c in zip(alpha, scaled, strict=True):
            if a != 0:
                total = total + _integral(polynomial, c) * a
        if total != 0:
            factors = [chosen[k] - c for i, c in enumerate(chosen) if i != k]
            beta[j] = _quotient([total], [unit, *factors], points[0])
    return tuple(beta)


def _integrating(name: str, order: int, implicit: bool, back: int, **steps: Any) -> Multistep:
    """y(1) - y(c_back) = integral of the interpolant of `order` derivatives."""
    if order < 1:
        raise AlgebraError(f"order {order} of a multistep method: expected 1 to {MAX_STEPS}")
    count = max(order - 1 if implicit else order, back)
    points = nodes(count, **steps)
    alpha = [0] * (count + 1)
    alpha[0], alpha[back] = 1, -1
    first = 0 if implicit else 1
    beta = quadrature(points, alpha, range(first, first + order))
    return Multistep(name, points, tuple(alpha), beta, order, "Hairer, Norsett, Wanner I, section III.1")


def adams_bashforth(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The explicit Adams method of an order. Source: Hairer, Norsett, Wanner I, III.1 (1.5), III.5 for any steps.

    >>> [str(b) for b in adams_bashforth(4).beta]
    ['0', '55/24', '-59/24', '37/24', '-3/8']
    """
    return _integrating(f"ab-{order}", order, False, 1, ratios=ratios, symbolic=symbolic)


def adams_moulton(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The implicit Adams method of an order: 1 is the implicit Euler method, 2 the trapezoidal rule.

    >>> [str(b) for b in adams_moulton(4).beta]
    ['3/8', '19/24', '-5/24', '1/24']
    """
    return _integrating(f"am-{order}", order, True, 1, ratios=ratios, symbolic=symbolic)


def nystroem(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The explicit method over two steps (order 1 and 2 are the midpoint rule on equal steps).

    Source: Hairer, Norsett, Wanner I, III.1 (1.13).
    """
    return _integrating(f"nystroem-{order}", order, False, 2, ratios=ratios, symbolic=symbolic)


def milne_simpson(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The implicit method over two steps; with three derivatives and equal steps it is Simpson's rule, of order 4."""
    return _integrating(f"milne-simpson-{order}", order, True, 2, ratios=ratios, symbolic=symbolic)


def bdf(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """Backward differentiation: the slope at the new point of the polynomial through all values, alpha_0 = 1.

    Source: Hairer, Norsett, Wanner I, III.1 (1.22'), III.5 for any steps.

    >>> [str(a) for a in bdf(2).alpha], [str(v) for v in bdf(2, symbolic=True).expressions()[0]]
    (['1', '-4/3', '1/3'], ['1', '-(w1 + 1)**2/(2*w1 + 1)', 'w1**2/(2*w1 + 1)'])
    """
    points = nodes(order, ratios, symbolic)
    scaled, unit = _polynomial_nodes(points)
    ahead = [scaled[0] - c for c in scaled]
    others = [prod(ahead[1:j] + ahead[j + 1 :], start=ahead[0] * 0 + 1) for j in range(1, order + 1)]
    slope = sum(others[1:], start=others[0])  # of the polynomial for the newest point, there
    alpha: list[Any] = [1]
    for j in range(1, order + 1):
        factors = [scaled[j] - c for i, c in enumerate(scaled) if i not in (0, j)]
        alpha.append(-_quotient([others[j - 1], others[j - 1]], [slope, *factors], points[0]))
    beta = (_quotient(ahead[1:], [unit, slope], points[0]), *[0] * order)
    return Multistep(f"bdf-{order}", points, tuple(alpha), beta, order, "Hairer, Norsett, Wanner I, III.1 (1.22')")


FAMILIES = {
    "adams-bashforth": adams_bashforth,
    "adams-moulton": adams_moulton,
    "nystroem": nystroem,
    "milne-simpson": milne_simpson,
    "bdf": bdf,
}
