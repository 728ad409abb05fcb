"""What a map preserves, and to which order: symmetry, symplecticity, energy; and what it is conjugate to.

Every question is a set of linear relations on the coefficients of each order (bilinear ones for a symplectic map, which
become linear for its modified equation); the answer names the first relation that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import lcm

import numpy as np

from odekit.algebra.numbers import is_zero, like, numbers
from odekit.algebra.series import Series
from odekit.algebra.trees import AlgebraError, Trees, table

TOLERANCE = 1e-11
"""Below it a relation among floats counts as holding."""

Relations = tuple[np.ndarray, int, Callable[[int], str]]
"""What must vanish at one order, the integer all of it is multiplied by, and the name of the k-th relation."""


@dataclass(frozen=True)
class Verdict:
    """`order`: to which order the property holds; true where that is the whole series; `failing`: what does not."""

    property: str
    order: int
    holds: bool
    failing: str = ""

    def __bool__(self) -> bool:
        return self.holds


def symmetric(a: Series) -> Verdict:
    """Whether the map is its own adjoint: a step back undoes a step. Source: Hairer, Lubich, Wanner, II.3, V.1.

    >>> from odekit.algebra.runge_kutta import series
    >>> bool(symmetric(series("implicit-midpoint", 6))), symmetric(series("rk4", 6)).order
    (True, 5)
    """
    there_and_back = a.then(a.scaled(-1))
    (gap,), leave = numbers((there_and_back.coefficients, a.trees.orders))

    def relations(n: int) -> Relations:
        ids = a.trees.of_order(n)
        return gap[ids.start : ids.stop], 1, lambda k: str(a.trees[ids[k]])

    return _verdict("symmetric", a, relations, leave)


def symplectic(a: Series, partitioned: bool = False) -> Verdict:
    """Whether the map (or the flow of the field) is symplectic for every Hamiltonian system.

    a(u o v) + a(v o u) = a(u) a(v), the right side 0 for a field; in several colours for the sum of several Hamiltonian
    systems. With `partitioned`, colours 0 and 1 are the equations of momenta and positions: then u and v have roots of
    different colours, and a must not depend on the colour of the root.
    Source: Calvo, Sanz-Serna 1994; Araujo, Murua, Sanz-Serna 1997; Hairer, Lubich, Wanner, VI.7 and IX.9.

    >>> from odekit.algebra.runge_kutta import series
    >>> symplectic(series("midpoint", 5))
    Verdict(property='symplectic', order=2, holds=False, failing='tau o [tau]: -1/4, not 0')
    >>> symplectic_euler = series([([[0]], [1]), ([[1]], [1])], 5)
    >>> bool(symplectic(symplectic_euler, partitioned=True)), bool(symplectic(symplectic_euler))
    (True, False)
    """
    if partitioned and a.colours != 2:
        raise AlgebraError(f"a partitioned system has two colours, not {a.colours}")
    (values,), leave = numbers((a.coefficients, a.trees.orders))
    flow = not is_zero(a.constant)

    def relations(n: int) -> Relations:
        u, v = pairs(a.trees, n)
        if partitioned:
            mixed = a.trees.colour[u] != a.trees.colour[v]
            u, v = u[mixed], v[mixed]
        gap = values[a.trees.graft(u, v)] + values[a.trees.graft(v, u)]
        gap = gap - values[u] * values[v] if flow else gap
        if not partitioned:
            return gap, 1, lambda k: f"{a.trees[u[k]]} o {a.trees[v[k]]}"
        ids = np.asarray(a.trees.of_order(n))
        ids = ids[a.trees.colour[ids] == 0]
        other = a.trees.merge(np.full_like(ids, 2), ids)  # the same tree on a root of colour 1
        names = [f"{a.trees[i]} o {a.trees[j]}" for i, j in zip(u, v, strict=True)]
        names += [f"{a.trees[i]} - {a.trees[j]}" for i, j in zip(ids, other, strict=True)]
        return np.concatenate([gap, values[ids] - values[other]]), 1, names.__getitem__

    return _verdict("symplectic", a, relations, leave)


def energy_preserving(a: Series) -> Verdict:
    """Whether the map (or the flow of the field) preserves the energy of every Hamiltonian system, f = J^-1 grad H.

    Along sum c(t)/sigma(t) F(t) the energy changes by elementary Hamiltonians, H'(F(t)) = -H(t o tau), which only
    depend, up to the sign of H(u o v) = -H(v o u), on the tree without its root; so one sum for each free tree that
    does not cancel itself must vanish.
    Source: Faou, Hairer, Pham 2004; Celledoni, McLachlan, Owren, Quispel 2010; Hairer, Lubich, Wanner, IX.9.

    >>> from odekit.algebra.runge_kutta import average_vector_field, series
    >>> bool(energy_preserving(average_vector_field(6))), energy_preserving(series("implicit-midpoint", 6)).order
    (True, 2)
    """
    if a.colours > 1:
        raise AlgebraError("energy preservation is decided for trees of one colour")
    change = a if is_zero(a.constant) else a.log()
    (values,), leave = numbers((change.coefficients, a.trees.orders))

    def relations(n: int) -> Relations:
        trees, ids, plus, minus, count = _free_trees(n)
        common = lcm(*trees.symmetry[ids].tolist())
        shares = values[ids] * like(values, common // trees.symmetry[ids])
        sums = np.zeros(count, dtype=values.dtype)
        np.add.at(sums, plus, shares)
        np.subtract.at(sums, minus, shares)
        members = trees.graft(ids, 1)

        def label(k: int) -> str:
            return f"the free tree of {trees[members[(plus == k) | (minus == k)][0]]}"

        return sums, common, label

    return _verdict("energy-preserving", a, relations, leave)


@cache
def _free_trees(n: int) -> tuple[Trees, np.ndarray, np.ndarray, np.ndarray, int]:
    """For each tree t of order n the class of +(t o tau), and of -(t o tau), when trees may be rooted elsewhere."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    trees = table(n + 1)
    first, size = trees.first[n + 1], len(trees.of_order(n + 1))
    u, v = pairs(trees, n + 1)
    there, back = trees.graft(u, v) - first, trees.graft(v, u) - first
    rows, columns = np.concatenate([there, there + size]), np.concatenate([back + size, back])
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(2 * size, 2 * size))
    count, label = connected_components(links, directed=False)
    ids = np.asarray(trees.of_order(n))
    at = trees.graft(ids, np.ones_like(ids)) - first
    return trees, ids, label[at], label[at + size], count


def pairs(trees: Trees, n: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of ids u <= v with n vertices together."""
    left, right = [], []
    for k in range(1, n // 2 + 1):
        u, v = (np.asarray(trees.of_order(m)) for m in (k, n - k))
        i, j = np.meshgrid(u, v, indexing="ij")
        keep = i <= j
        left.append(i[keep])
        right.append(j[keep])
    return tuple(np.concatenate(x) if x else np.zeros(0, dtype=int) for x in (left, right))


def _verdict(name: str, a: Series, relations: Callable[[int], Relations], leave: Callable) -> Verdict:
    for n in range(1, a.order + 1):
        gap, scale, label = relations(n)
        broken = np.flatnonzero(gap != 0 if gap.dtype == object else abs(gap) > TOLERANCE)
        if len(broken):
            k = int(broken[0])
            return Verdict(name, n - 1, False, f"{label(k)}: {leave(gap[k : k + 1], n)[0] / scale}, not 0")
    return Verdict(name, a.order, True)
