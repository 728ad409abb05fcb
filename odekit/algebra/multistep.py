"""Linear multistep methods on any steps, given or symbolic, in closed form.

A method is sum_j alpha_j y(t + c_j h) = h sum_j beta_j f(t + c_j h): h is the current step, from t to t + h, and the
nodes c_j run from the newest point back: 1, 0, -1/w1, -1/w1 - 1/(w1 w2), ... with the ratios of steps
w1 = h / (the step before), w2 = (the step before) / (the one before that), ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, partial
from math import prod
from random import Random
from typing import Any

from odekit.algebra.multistep_rules import Coefficients, differentiating, integrating
from odekit.algebra.numbers import is_symbolic, is_zero, plain
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError, unknown

Rule = Callable[[Sequence[Any]], Coefficients]
MAX_STEPS = 20
MAX_SYMBOLIC = 10  # beyond, closed forms on symbolic ratios fill pages and minutes


@dataclass(frozen=True)
class Multistep:
    """A linear multistep method: nodes from the newest point back, and alpha, beta on them, in any field.

    `order` is the claim; `rule` gives (alpha, beta) for any nodes, where a rule is known.

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
    rule: Rule | None = field(default=None, compare=False, repr=False)

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

    @property
    def varies(self) -> bool:
        """Whether `at` gives the method on other steps: not for numbers that came without a rule."""
        return self.rule is not None or len(self.nodes) == 2 or hasattr(self.nodes[0], "field")

    def at(self, ratios: Sequence[Any]) -> Multistep:
        """The method at given ratios of steps.

        >>> [str(a) for a in bdf(2).at(["3/2"]).alpha]
        ['1', '-25/16', '9/16']
        """
        if not self.varies:
            raise AlgebraError(f"{self.name} is known on its own steps only")
        points = nodes(len(self.nodes) - 1, ratios)
        if self.rule:
            return replace(self, nodes=points, **dict(zip(("alpha", "beta"), self.rule(points), strict=True)))
        values = [Fraction(w) for w in ratios]

        def value(v: Any) -> Any:
            if not hasattr(v, "field"):
                return v
            above, below = (sum(c * prod(map(pow, values, m)) for m, c in terms(p)) for p in (v.numer, v.denom))
            if is_null(below):
                raise AlgebraError(
                    f"{self.name}: a coefficient is infinite for the ratios {', '.join(map(str, ratios))}"
                )
            return plain(above / below)

        alpha, beta = (tuple(map(value, part)) for part in (self.alpha, self.beta))
        return replace(self, nodes=points, alpha=alpha, beta=beta)

    @property
    def on_equal_steps(self) -> Multistep:
        """The method on equal steps."""
        return self.at([1] * (len(self.nodes) - 2)) if self.varies else self

    def at_random(self) -> Multistep:
        """The method at random ratios, the same in every run."""
        generator = Random(0)
        count = len(self.nodes) - 2
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
        from odekit.algebra.multistep_printing import latex

        return latex(*self.expressions())

    def python(self) -> str:
        """Source of a function of the ratios that returns (alpha, beta); runs without odekit."""
        from odekit.algebra.multistep_printing import python

        return python(self.name, *self.expressions())


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
    return nodes_at(ratios)


def nodes_at(ratios: Sequence[Any]) -> tuple[Any, ...]:
    """The nodes for ratios of any kind, vectors over the steps of a grid among them; unchecked."""
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
    (Fraction(0, 1), Fraction(3, 2), Fraction(-1, 2))
    """
    from sympy import Pow, nan, pi, sympify, zoo

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
                found.append(parse(str(text), symbols, values))
            except OdekitError as error:
                raise type(error)(f"{name}: entry {j + 1} of {part}: {error}") from None
            if not found[-1].is_rational_function() or found[-1].has(pi, zoo, nan):
                raise AlgebraError(f"{name}: entry {j + 1} of {part}: {text} is no rational function of the ratios")
    roots = frozenset(root for v in found for root in v.atoms(Pow) if root.is_number and not root.is_Rational)
    ratios = field_of_ratios(steps - 1, roots)
    entries = [ratios[0].field.from_expr(v) for v in found] if ratios else [plain(v) for v in found]
    return Multistep(name, nodes_at(ratios), tuple(entries[: steps + 1]), tuple(entries[steps + 1 :]), order, source)


# The classical families.


def _made(name: str, order: int, source: str, rule: Rule, points: tuple[Any, ...]) -> Multistep:
    return Multistep(name, points, *rule(points), order, source, rule)


def _integrating(name: str, claim: int, back: int, first: int, count: int, source: str, **steps: Any) -> Multistep:
    if not 1 <= count <= MAX_STEPS:
        raise AlgebraError(f"{name}: {count} derivatives, expected 1 to {MAX_STEPS}")
    rule = partial(integrating, back=back, first=first, count=count)
    points = nodes(max(first + count - 1, back), **steps)
    return _made(name, claim, f"Hairer, Norsett, Wanner I, III.1 {source}", rule, points)


def adams_bashforth(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The explicit Adams method of an order. Source: Hairer, Norsett, Wanner I, III.1 (1.5), III.5 for any steps.

    >>> [str(b) for b in adams_bashforth(4).beta]
    ['0', '55/24', '-59/24', '37/24', '-3/8']
    """
    return _integrating(f"ab-{order}", order, 1, 1, order, "(1.5)", ratios=ratios, symbolic=symbolic)


def adams_moulton(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The implicit Adams method of an order: 1 is the implicit Euler method, 2 the trapezoidal rule.

    Source: Hairer, Norsett, Wanner I, III.1 (1.9), III.5 for any steps.

    >>> [str(b) for b in adams_moulton(4).beta]
    ['3/8', '19/24', '-5/24', '1/24']
    """
    return _integrating(f"am-{order}", order, 1, 0, order, "(1.9)", ratios=ratios, symbolic=symbolic)


def nystroem(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The explicit method over two steps: 2 is the explicit midpoint rule, or leapfrog, on equal steps.

    Source: Hairer, Norsett, Wanner I, III.1 (1.13).
    """
    return _integrating(f"nystroem-{order}", order, 2, 1, order, "(1.13)", ratios=ratios, symbolic=symbolic)


def milne_simpson(steps: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """The implicit method over two steps, from the derivatives at all points of so many steps (two at least).

    2 is Simpson's rule: of order 4 on equal steps and on smooth grids, of order 3 where steps jump. Others have the
    order steps + 1. Source: Hairer, Norsett, Wanner I, III.1 (1.15).

    >>> [str(b) for b in milne_simpson(2).beta]
    ['1/3', '4/3', '1/3']
    """
    if steps < 2:
        raise AlgebraError(f"milne-simpson-{steps}: at least 2 steps are needed")
    claim = 4 if steps == 2 else steps + 1
    return _integrating(f"milne-simpson-{steps}", claim, 2, 0, steps + 1, "(1.15)", ratios=ratios, symbolic=symbolic)


def bdf(order: int, ratios: Sequence[Any] | None = None, symbolic: bool = False) -> Multistep:
    """Backward differentiation: the slope at the new point of the polynomial through all values, alpha_0 = 1.

    Source: Hairer, Norsett, Wanner I, III.1 (1.22'), III.5 for any steps.

    >>> [str(a) for a in bdf(2).alpha], [str(v) for v in bdf(2, symbolic=True).expressions()[0]]
    (['1', '-4/3', '1/3'], ['1', '-(w1 + 1)**2/(2*w1 + 1)', 'w1**2/(2*w1 + 1)'])
    """
    points = nodes(order, ratios, symbolic)
    return _made(f"bdf-{order}", order, "Hairer, Norsett, Wanner I, III.1 (1.22')", differentiating, points)


FAMILIES = {
    "ab": adams_bashforth,
    "am": adams_moulton,
    "nystroem": nystroem,
    "milne-simpson": milne_simpson,
    "bdf": bdf,
}
"""By what the catalogue calls them; the number in a name is the order, for Milne-Simpson the steps."""


def names() -> tuple[str, ...]:
    """Names that `get` takes; it takes any number of steps up to 20.

    >>> "ab-3" in names() and "milne-simpson-2" in names()
    True
    """
    lowest = {"nystroem": 2, "milne-simpson": 2}
    return tuple(f"{family}-{k}" for family in FAMILIES for k in range(lowest.get(family, 1), 9))


def get(name: str) -> Multistep:
    """The method of a name such as "ab-3" or "bdf-2", on equal steps; `.at(ratios)` is the same method on others.

    >>> [str(b) for b in get("ab-2").beta], [str(b) for b in get("ab-2").at(["1/2"]).beta]
    (['0', '3/2', '-1/2'], ['0', '5/4', '-1/4'])
    """
    family, _, k = name.rpartition("-")
    if family not in FAMILIES or not re.fullmatch("[1-9][0-9]?", k) or int(k) > MAX_STEPS:
        raise unknown("multistep method", name, names())
    return FAMILIES[family](int(k))
