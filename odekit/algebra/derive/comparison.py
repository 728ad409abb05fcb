"""A published formula beside the derived one, coefficient by coefficient, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odekit.algebra.derive.ansatz import tidy
from odekit.algebra.derive.derivation import Difference
from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.algebra.exponential_polynomials import Ring

Row = Sequence[tuple[str, Any]]


def compare(published: Any, derived: Any, at: Mapping[str, str] | None = None) -> Difference:
    """Compare two exact methods of one family, entry by entry; the first that differs is named.

    >>> from odekit.algebra.exponential_methods import get
    >>> print(compare(get("dpmpp-2m"), get("dpmpp-2m-heun")).what)
    w_0: (2*r1 + 1)*phi1(z)/(2*r1), derived phi1(z) + phi2(z)/r1; published minus derived is z/(12*r1) + ...
    """
    what = first_difference(entries(published), entries(derived))
    where = f", where {', '.join(f'{k} = {v}' for k, v in at.items())}" if at else ""
    return Difference(published.name + where, published.source, what)


def entries(method: ExponentialTableau | ExponentialMultistep) -> list[tuple[str, Any]]:
    """(name, expression in z) for every coefficient of a method."""
    if isinstance(method, ExponentialMultistep):
        nodes, weights = method.expressions
        return [
            *((f"theta_{i}", x) for i, x in enumerate(nodes)),
            *((f"w_{i}", w) for i, w in enumerate(weights)),
        ]
    c, A, b, _ = method.expressions
    return [
        *((f"c{i}", x) for i, x in enumerate(c, 1)),
        *((f"a{i}{j}", x) for i, row in enumerate(A, 1) for j, x in enumerate(row, 1)),
        *((f"b{i}", x) for i, x in enumerate(b, 1)),
    ]


def first_difference(published: Row, derived: Row) -> str:
    """The first of two lists of (name, expression in z) that is not the same function, and by what; "" for none."""
    import sympy

    if len(published) != len(derived):
        return f"{len(published)} coefficients, not {len(derived)}"
    ring = Ring([e for row in (published, derived) for _, e in row])
    for (name, theirs), (_, ours) in zip(published, derived, strict=True):
        mine, other = ring.element(ours), ring.element(theirs)
        if other != mine:
            return f"{name}: {sympy.factor(theirs)}, derived {tidy(ours)}; {_by(ring, other, mine)}"
    return ""


def _by(ring: Ring, other: Any, mine: Any) -> str:
    """A constant factor where there is one, else the leading term of the difference."""
    if other.terms and mine.terms:
        key = next(iter(mine.terms))
        if key in other.terms:
            factor = mine.terms[key] / other.terms[key]
            if other * factor == mine:
                return f"a factor {ring.domain.to_sympy(factor)} is missing"
    return f"published minus derived is {(other - mine).leading()} + ..."
