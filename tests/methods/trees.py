"""Rooted trees for the tests of this room: an enumerator of its own, so that no table is checked by the code it feeds.

A tree is the sorted tuple of its children, the single vertex is `()`. All arithmetic stays in the ring the tableau's
entries live in: rationals, the field that its square roots generate, or mpmath numbers for printed decimals.

Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.2, (2.7) and theorem 2.13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from math import factorial, prod

import mpmath

Tree = tuple["Tree", ...]


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with `order` vertices."""
    return tuple(sorted(_forests(order - 1, order - 1)))


@cache
def _forests(vertices: int, largest: int) -> tuple[Tree, ...]:
    """Multisets of trees, `vertices` in all, none with more than `largest`: as sorted tuples."""
    if vertices == 0:
        return ((),)
    found = set()
    for size in range(1, min(vertices, largest) + 1):
        for tree in trees(size):
            found.update(tuple(sorted((tree, *rest))) for rest in _forests(vertices - size, size))
    return tuple(found)


@cache
def vertices(tree: Tree) -> int:
    return 1 + sum(map(vertices, tree))


@cache
def density(tree: Tree) -> int:
    """gamma(t) = |t| times the product of the children's densities."""
    return vertices(tree) * prod(map(density, tree))


@cache
def symmetry(tree: Tree) -> int:
    """sigma(t): the number of automorphisms."""
    return prod(factorial(count) * symmetry(child) ** count for child, count in Counter(tree).items())


def shown(tree: Tree) -> str:
    return "τ" if not tree else "[" + ",".join(map(shown, sorted(tree, key=vertices, reverse=True))) + "]"


def residuals(A: Sequence[Sequence], b: Sequence, order: int) -> Iterator[tuple[Tree, object]]:
    """Phi(t) - 1/gamma(t) of each tree with `order` vertices; `A` a full square matrix."""
    rows = [[(j, a) for j, a in enumerate(row) if a] for row in A]

    @cache
    def inside(tree: Tree) -> tuple:  # prod over children of A @ inside(child): what the root multiplies with b
        return _product([tuple(_dot(row, inside(child)) for row in rows) for child in tree], len(rows))

    weights = [(j, weight) for j, weight in enumerate(b) if weight]
    for tree in trees(order):
        yield tree, (density(tree) * _dot(weights, inside(tree)) - 1) / density(tree)


def _dot(row: list[tuple[int, object]], column: tuple) -> object:
    return sum((a * column[j] for j, a in row), start=Fraction(0))


def _product(factors: list[tuple], size: int) -> tuple:
    return tuple(prod((factor[i] for factor in factors), start=Fraction(1)) for i in range(size))


def _broken(residual: object, tolerance: object) -> bool:
    return abs(residual) > tolerance if tolerance else bool(residual)  # elements of a field know zero by bool only


def failures(A: Sequence[Sequence], b: Sequence, order: int, tolerance: object = 0) -> dict[str, object]:
    """The conditions with at most `order` vertices that do not hold: shown tree -> Phi - 1/gamma."""
    return {
        shown(tree): residual
        for size in range(1, order + 1)
        for tree, residual in residuals(A, b, size)
        if _broken(residual, tolerance)
    }


def attained(A: Sequence[Sequence], b: Sequence, limit: int = 12, tolerance: object = 0) -> int:
    """The order: the largest p <= limit for which every condition with at most p vertices holds."""
    for order in range(1, limit + 1):
        if any(_broken(residual, tolerance) for _, residual in residuals(A, b, order)):
            return order - 1
    return limit


def principal_norm(A: Sequence[Sequence], b: Sequence, order: int) -> mpmath.mpf:
    """2-norm of (Phi - 1/gamma)/sigma over the trees with order + 1 vertices; entries are mpmath numbers."""
    return mpmath.sqrt(sum((residual / symmetry(tree)) ** 2 for tree, residual in residuals(A, b, order + 1)))
