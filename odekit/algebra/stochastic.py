"""Order conditions of stochastic Runge-Kutta methods after Roessler: as data, one labelled rooted tree in each.

A weight such as beta1[A1[B0],B1] stands for beta1^T ((A1 (B0 e)) * (B1 e)): a rooted tree whose root carries a vector
of weights and whose other vertices the matrix that leads to them. Four classes of methods (drift a, diffusions b^k):

- "SRA", additive noise: H0 = y + A0 a h + B0 b I_10/h; step alpha a(H0) h + (beta1 I_1 + beta2 I_10/h) b(t + c1 h);
- "SRI", Ito, scalar or diagonal noise: H0 = y + A0 a(H0) h + B0 b(H1) I_10/h, H1 = y + A1 a(H0) h + B1 b(H1) sqrt(h);
  step alpha a(H0) h + (beta1 I_1 + beta2 I_11/sqrt(h) + beta3 I_10/h + beta4 I_111/h) b(H1);
- "RI", Ito, weak: H0 = y + A0 a(H0) h + sum_l B0 b^l(H^l) I_l, H^k = y + A1 a(H0) h + B1 b^k(H^k) sqrt(h),
  K^k = y + A2 a(H0) h + sum_(l != k) B2 b^l(H^l) I_kl/sqrt(h); step alpha a(H0) h + sum_k ((beta1 I_k +
  beta2 I_kk/sqrt(h)) b^k(H^k) + (beta3 I_k + beta4 sqrt(h)) b^k(K^k));
- "RS", Stratonovich, weak: as RI with H^k = y + A1 a(H0) h + B1 b^k(H^k) I_k + sum_(l != k) B3 b^l(H^l) I_l, step
  alpha a(H0) h + sum_k (beta1 I_k b^k(H^k) + beta2 sqrt(h) b^k(K^k)).

`stochastic_orders` derives what is stated here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

from odekit.algebra.numbers import is_symbolic, is_zero
from odekit.algebra.trees import AlgebraError, Tree, tree
from odekit.exceptions import unknown

if TYPE_CHECKING:
    from odekit.algebra.stochastic_tables import StochasticTable

GREEK = {"alpha": r"\alpha", "beta": r"\beta"}


@dataclass(frozen=True)
class Weight:
    """A rooted tree with a vector of weights on the root and a matrix (or a vector of times) on every other vertex.

    >>> w = weight("beta1[A1[B0],B1]")
    >>> str(w.tree()), w.python()
    ('[[tau_1]_0,tau_1]_1', 'beta1 @ ((A1 @ (B0 @ e)) * (B1 @ e))')
    """

    name: str
    children: tuple[Weight, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}[{','.join(map(str, self.children))}]" if self.children else self.name

    @property
    def is_noise(self) -> bool:
        """Whether the vertex stands for a diffusion."""
        return self.name.startswith("beta") or self.name.startswith("B")

    def value(self, table: Mapping[str, Any]) -> Any:
        """The number, or below the root the vector, that a table of coefficients gives it."""
        if self.name.startswith("c"):
            return list(table[self.name])
        rows = [table[self.name]] if self.name[0] in "ab" else table[self.name]
        factors = [child.value(table) for child in self.children]
        inner = [prod(column) for column in zip(*factors, strict=True)] if factors else [1] * len(rows[0])
        found = [sum((a * v for a, v in zip(row, inner, strict=True)), start=Fraction(0)) for row in rows]
        return found[0] if self.name[0] in "ab" else found

    def tree(self, colours: int = 2) -> Tree:
        """The tree of drift (colour 0) and diffusions; in three colours B2 and B3 lead to another noise."""
        return tree(self._bracketed(0, colours), colours)

    def _bracketed(self, above: int, colours: int) -> str:
        colour = 0
        if self.is_noise:
            colour = 3 - above if self.name in ("B2", "B3") and above and colours == 3 else above or 1
        inner = ",".join(child._bracketed(colour, colours) for child in self.children)
        return f"[{inner}]_{colour}" if inner else f"tau_{colour}"

    def latex(self) -> str:
        """The weight in matrix notation, products component by component."""
        name, index = re.fullmatch(r"([A-Za-z]+)(\d?)", self.name).groups()
        head = GREEK.get(name, name) + (f"^{{({index}){'T' if name in GREEK else ''}}}" if index else "")
        if name == "alpha":
            head += "^{T}"
        if name == "c":
            return head
        parts = []
        for child, power in Counter(self.children).items():
            inner = child.latex()
            alone = len(set(self.children)) == 1 and power == 1
            parts.append(inner if alone else f"({inner})" + (f"^{{{power}}}" if power > 1 else ""))
        joined = "".join(parts) or "e"
        return head + (f"({joined})" if len(parts) > 1 else joined)

    def python(self) -> str:
        """The weight as NumPy: a number, or below the root a vector; e holds ones."""
        if self.name.startswith("c"):
            return self.name
        parts = []
        for child, power in Counter(self.children).items():
            inner = child.python()
            inner = inner if inner.isidentifier() else f"({inner})"
            parts.append(inner + (f"**{power}" if power > 1 else ""))
        inner = " * ".join(parts) or "e"
        return f"{self.name} @ {f'({inner})' if len(parts) > 1 else inner}"


@cache
def weight(text: str) -> Weight:
    """The weight that a text stands for; raises AlgebraError with the position of what cannot be read.

    >>> weight("beta4[B2,A2[B0]]").children[0]
    Weight(name='A2', children=(Weight(name='B0', children=()),))
    """
    position = 0

    def read() -> Weight:
        nonlocal position
        match = re.compile(r"alpha|beta\d|[AB]\d|c\d").match(text, position)
        if not match:
            raise AlgebraError(f"{text!r} is no weight: a name expected at position {position + 1}")
        position = match.end()
        children = []
        if text.startswith("[", position):
            while text.startswith(("[", ","), position):
                position += 1
                children.append(read())
            if not text.startswith("]", position):
                raise AlgebraError(f"{text!r} is no weight: ',' or ']' expected at position {position + 1}")
            position += 1
        return Weight(match[0], tuple(sorted(children, key=str)))

    found = read()
    if position != len(text) or found.name[0] not in "ab":
        raise AlgebraError(f"{text!r} is no weight: {'the end' if position < len(text) else 'alpha or beta'} expected")
    return found


@dataclass(frozen=True)
class StochasticCondition:
    r"""An equation between weights: sum of factor * product of weights = value.

    `order` is the lowest order that needs it: strong for SRA and SRI, weak for RI and RS.

    >>> c = stochastic_conditions("SRI", Fraction(3, 2))[11]
    >>> print(c, c.latex(), c.python(), sep="; ")
    SRI 12, [tau_1,tau_1]_0: alpha[B0,B0] = 3/2; \alpha^{T}(B^{(0)}e)^{2} = \frac{3}{2}; alpha @ (B0 @ e)**2 - 3/2
    """

    family: str
    number: int
    terms: tuple[tuple[Fraction, tuple[Weight, ...]], ...]
    value: Fraction
    order: Fraction

    @property
    def trees(self) -> tuple[Tree, ...]:
        """The trees of the weights: colour 0 the drift, 1 a noise, 2 another noise (weak methods)."""
        colours = 3 if self.family in ("RI", "RS") else 2
        return tuple(dict.fromkeys(w.tree(colours) for _, weights in self.terms for w in weights))

    def __str__(self) -> str:
        left = " + ".join(("" if f == 1 else f"{f} ") + " * ".join(map(str, weights)) for f, weights in self.terms)
        return f"{self.family} {self.number}, {' '.join(map(str, self.trees))}: {left} = {self.value}"

    def residual(self, table: Mapping[str, Any]) -> Any:
        """Left side less right side on a table of exact coefficients."""
        total = -self.value
        for factor, weights in self.terms:
            total = total + prod((w.value(table) for w in weights), start=factor)
        return total

    def latex(self) -> str:
        """The condition in matrix notation."""
        terms = []
        for factor, weights in self.terms:
            powers = Counter(weights).items()
            parts = [f"({w.latex()})^{{{k}}}" if k > 1 else w.latex() for w, k in powers]
            terms.append(("" if factor == 1 else _fraction(factor) + " ") + r" \cdot ".join(parts))
        return f"{' + '.join(terms)} = {_fraction(self.value)}"

    def python(self) -> str:
        """The residual as NumPy source."""
        terms = []
        for factor, weights in self.terms:
            one = len(weights) == 1 and factor == 1
            parts = [w.python() if one else f"({w.python()})" for w in weights]
            terms.append(" * ".join(([] if factor == 1 else [f"{factor}"]) + parts))
        return " + ".join(terms) + (f" - {self.value}" if self.value else "")


def _fraction(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _read(family: str, order: Fraction, number: int, line: str) -> StochasticCondition:
    left, right = line.split("=")
    terms = []
    for term in left.split("+"):
        factor, weights = Fraction(1), []
        for part in term.split():
            if re.fullmatch(r"\d+/\d+", part):
                factor = Fraction(part)
            else:
                weights.append(weight(part))
        terms.append((factor, tuple(weights)))
    return StochasticCondition(family, number, tuple(terms), Fraction(right.strip()), order)


# family: [(order, conditions)]; a line is an equation, weights that stand side by side are multiplied.
_PUBLISHED: dict[str, list[tuple[str, str]]] = {
    # Roessler 2010 (SIAM J. Numer. Anal. 48, 922-952), strong order for additive noise
    "SRA": [
        ("1", "alpha = 1; beta1 = 1; beta2 = 0"),
        ("3/2", "alpha[B0] = 1; alpha[A0] = 1/2; alpha[B0,B0] = 3/2; beta1[c1] = 1; beta2[c1] = -1"),
    ],
    # the same, strong orders 1 and 3/2 for scalar and diagonal noise
    "SRI": [
        (
            "1",
            "alpha = 1; beta1 = 1; beta2 = 0; beta3 = 0; beta4 = 0;"
            "beta1[B1] = 0; beta2[B1] = 1; beta3[B1] = 0; beta4[B1] = 0",
        ),
        (
            "3/2",
            "alpha[A0] = 1/2; alpha[B0] = 1; alpha[B0,B0] = 3/2;"
            "beta1[A1] = 1; beta2[A1] = 0; beta3[A1] = -1; beta4[A1] = 0;"
            "beta1[B1,B1] = 1; beta2[B1,B1] = 0; beta3[B1,B1] = -1; beta4[B1,B1] = 2;"
            "beta1[B1[B1]] = 0; beta2[B1[B1]] = 0; beta3[B1[B1]] = 0; beta4[B1[B1]] = 1;"
            "1/2 beta1[A1[B0]] + 1/3 beta3[A1[B0]] = 0",
        ),
    ],
    # Roessler 2009 (SIAM J. Numer. Anal. 47, 1713-1738), weak orders 1 and 2, Ito
    "RI": [
        (
            "1",
            "alpha = 1; beta4 = 0; beta3 = 0; beta1 beta1 = 1; beta2 = 0;"
            "beta1[B1] = 0; beta4[A2] = 0; beta3[B2] = 0; beta4[B2,B2] = 0",
        ),
        (
            "2",
            "alpha[A0] = 1/2; alpha[B0,B0] = 1/2; beta1 alpha[B0] = 1/2; beta1 beta1[A1] = 1/2; beta3[A2] = 0;"
            "beta2[B1] = 1; beta4[B2] = 1; beta1 beta1[B1,B1] = 1/2; beta1 beta3[B2,B2] = 1/2;"
            "beta1[B1[B1]] = 0; beta3[B2[B1]] = 0; beta3[B2[B1[B1]]] = 0; beta1[A1[B0]] = 0; beta3[A2[B0]] = 0;"
            "beta4[A2,A2] = 0; beta4[A2[A0]] = 0; alpha[B0[B1]] = 0; beta2[A1] = 0; beta1[A1,B1] = 0;"
            "beta3[A2,B2] = 0; beta4[A2[B0]] = 0; beta2[A1[B0]] = 0; beta4[B2,B2,A2] = 0; beta4[A2[B0,B0]] = 0;"
            "beta2[A1[B0,B0]] = 0; beta1[B1[A1]] = 0; beta3[B2[A1]] = 0; beta2[B1,B1] = 0; beta4[B2[B1]] = 0;"
            "beta2[B1[B1]] = 0; beta1[B1,B1,B1] = 0; beta3[B2,B2,B2] = 0; beta1[B1[B1,B1]] = 0;"
            "beta3[B2[B1,B1]] = 0; beta4[B2,B2,B2,B2] = 0; beta4[B2[B1],B2[B1]] = 0; beta4[B2,B2[B1]] = 0;"
            "alpha[B0,B0[B1]] = 0; beta1[A1[B0],B1] = 0; beta3[A2[B0],B2] = 0; beta1[A1[B0[B1]]] = 0;"
            "beta3[A2[B0[B1]]] = 0; beta4[B2[A1],B2] = 0; beta1[B1[A1[B0]]] = 0; beta3[B2[A1[B0]]] = 0;"
            "beta1[B1,B1[B1]] = 0; beta3[B2,B2[B1]] = 0; beta1[B1[B1[B1]]] = 0; beta4[B2,B2[B1,B1]] = 0;"
            "beta4[B2,B2[B1[B1]]] = 0",
        ),
    ],
    # Roessler 2007 (BIT 47, 657-680), weak orders 1 and 2, Stratonovich
    "RS": [
        ("1", "alpha = 1; beta1 beta1 = 1; beta2 = 0; beta1[B1] = 1/2; beta2[A2] = 0; beta2[B2,B2] = 0"),
        (
            "2",
            "alpha[A0] = 1/2; alpha[B0[B1]] = 1/4; alpha[B0,B0] = 1/2; beta1 alpha[B0] = 1/2;"
            "beta1 beta1[A1] = 1/2; beta1[B1[A1]] = 1/4; beta1[A1,B1] = 1/4; beta1[B3] = 1/2;"
            "beta1 beta1[B1,B1] = 1/3; beta1 beta1[B3,B3] = 1/2; beta1[B3[B3]] = 0; beta2[B2] beta2[B2] = 1/4;"
            "beta1[B1,B1,B1] = 1/4; beta1[B1[B1,B1]] = 1/12; beta1[B1[B3,B3]] = 1/4; beta1[A1[B0]] = 0;"
            "beta2[A2,A2] = 0; beta2[A2[A0]] = 0; beta1[B1[B1[B1]]] = 1/24; beta2[A2[B0]] = 0;"
            "beta2[A2[B0,B0]] = 0; beta2[B2,B2,B2,B2] = 0; beta2[B2[B1],B2[B1]] = 0; beta2[B2[B3],B2[B3]] = 0;"
            "beta1[B1,B3,B3] = 1/4; beta2[A2,B2,B2] = 0; beta1[B1[B3[B1]]] = 1/8; beta1[B3[B3[B3]]] = 0;"
            "beta1[B3[B1[B3]]] = 0; beta2[A2[B0[B1]]] = 0; beta1 beta1[B1,B3] = 1/4; beta1 beta1[B1[B1]] = 1/6;"
            "beta1 beta1[B3[B1]] = 1/4; beta1 beta1[B1[B3]] = 1/4; beta1[B1,B1[B1]] = 1/8; beta1[B1,B3[B1]] = 1/8;"
            "beta1[B3,B1[B3]] = 1/4; beta1[B3,B3[B3]] = 0; beta1[B3[B1,B3]] = 0; beta2[B2[A1],B2] = 0;"
            "beta2[B2,B2[B1]] = 0; beta2[B2,B2[B3]] = 0; beta2[B2,B2[B1,B1]] = 0; beta2[B2,B2[B3,B3]] = 0;"
            "beta2[B2,B2[B1,B3]] = 0; beta2[B2,B2[B1[B1]]] = 0; beta2[B2,B2[B3[B1]]] = 0;"
            "beta2[B2,B2[B3[B3]]] = 0; beta2[B2,B2[B1[B3]]] = 0",
        ),
    ],
}


@cache
def _conditions(family: str) -> tuple[StochasticCondition, ...]:
    found: list[StochasticCondition] = []
    for order, lines in _PUBLISHED[family]:
        for line in lines.split(";"):
            found.append(_read(family, Fraction(order), len(found) + 1, line))
    return tuple(found)


def stochastic_conditions(family: str, order: Any) -> list[StochasticCondition]:
    """The published conditions of a class of methods ("SRA", "SRI", "RI", "RS") to an order.

    Orders are strong for SRA and SRI (1 and 3/2), weak for RI and RS (1 and 2).
    Source: Roessler 2007, 2009, 2010; the lists are held against a derivation in `stochastic_orders`.

    >>> [len(stochastic_conditions(f, p)) for f, p in (("SRI", 1), ("SRI", "3/2"), ("RI", 1), ("RI", 2), ("RS", 2))]
    [9, 25, 9, 59, 55]
    """
    if family not in _PUBLISHED:
        raise unknown("class of stochastic Runge-Kutta methods", family, _PUBLISHED)
    order = Fraction(order)
    known = [Fraction(p) for p, _ in _PUBLISHED[family]]
    if order not in known:
        kind = "strong" if family.startswith("SR") else "weak"
        raise AlgebraError(
            f"{kind} order {order} of {family}: conditions are known for {' and '.join(map(str, known))}"
        )
    return [c for c in _conditions(family) if c.order <= order]


def residuals(table: StochasticTable, order: Any = None) -> dict[StochasticCondition, Any]:
    """What the published conditions leave, exactly; all zero for a method of the order."""
    found = {}
    for condition in stochastic_conditions(table.family, table.order if order is None else order):
        value = condition.residual(table.coefficients)
        found[condition] = value.expand() if is_symbolic(value) else value
    return found


def failing(table: StochasticTable, order: Any = None) -> list[StochasticCondition]:
    """The conditions a table does not meet, from the lowest order up."""
    return [c for c, v in residuals(table, order).items() if not is_zero(v)]


def order_of(table: StochasticTable) -> Fraction:
    """The highest order whose published conditions all hold: strong for SRA and SRI, weak for RI and RS; 0 for none.

    >>> from odekit.algebra.stochastic_tables import get
    >>> order_of(get("sriw1")), order_of(get("ri6")), order_of(get("rdi1wm"))
    (Fraction(3, 2), Fraction(2, 1), Fraction(1, 1))
    """
    reached = Fraction(0)
    for order, _ in _PUBLISHED[table.family]:
        if failing(table, order):
            break
        reached = Fraction(order)
    return reached
