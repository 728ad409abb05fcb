"""Rooted trees, plain or coloured, as tables of integer ids: the one data structure that carries the theory.

Every tree but a single vertex is `trunk o branch`: the tree without its largest child, and that child (Butcher's
product). Within an order, trees are sorted by branch, then trunk; so the trees with a given branch stand in a row, the
id of a product is arithmetic on the ids of its factors, and whole orders are computed as arrays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from math import factorial

import numpy as np

from odekit.exceptions import OdekitError

MAX_ORDER = 20  # beyond it densities leave 64 bits
MAX_TREES = 2_000_000


class AlgebraError(OdekitError):
    """Trees, series or conditions that do not fit together, or more of them than can be held."""


@cache
def count(order: int, colours: int = 1) -> int:
    """The number of rooted trees with `order` vertices, each in one of `colours` colours.

    Source: Cayley's recursion, OEIS A000081; Hairer, Norsett, Wanner I, table II.2.1.

    >>> [count(n) for n in range(1, 13)], [count(n, colours=2) for n in range(1, 5)]
    ([1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766], [2, 4, 14, 52])
    """
    if order == 1:
        return colours
    # n T(n+1) = sum_k (sum over d | k of d T(d)) T(n+1-k), for trees whose roots have one given colour
    rest = order - 1
    total = sum(
        sum(d * count(d, colours) for d in range(1, k + 1) if k % d == 0) * count(order - k, colours)
        for k in range(1, rest + 1)
    )
    return total // rest


class Trees:
    """All rooted trees with at most `order` vertices in `colours` colours, by id; made by `table`.

    Ids run through the orders 1, 2, ...; they do not change when the table grows, and 0 is the empty tree. Arrays
    over ids: `orders`, `colour` (of the root, from 0), `trunk` and `branch` (0 for a single vertex), `density` gamma,
    `symmetry` sigma. `first[n]` is the first id of order n, so that `first[n]:first[n + 1]` are the trees of order n.
    """

    def __init__(self, order: int, colours: int, smaller: Trees | None = None):
        self.order, self.colours = order, colours
        if smaller is None:
            single = np.arange(colours)
            self.first = (0, 1, 1 + colours)
            self.colour = np.concatenate([[0], single])
            self.orders, self.density, self.symmetry = (np.array([k, *[1] * colours]) for k in (0, 1, 1))
            self.trunk, self.branch, self._run = (np.zeros(1 + colours, dtype=np.int64) for _ in range(3))
            self._base, self._place = np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64)
        else:
            self._grow(smaller)
        for values in vars(self).values():
            if isinstance(values, np.ndarray):
                values.flags.writeable = False  # tables are shared

    def _grow(self, old: Trees) -> None:
        n = self.order
        counts, starts = [], []  # how many trunks go with each branch, and the first of them
        for size in range(1, n):
            branches, trunks = old.of_order(size), old.of_order(n - size)
            largest = old.branch[trunks.start : trunks.stop]  # sorted: trunks without a larger child are a prefix
            counts.append(np.searchsorted(largest, np.arange(branches.start, branches.stop), side="right"))
            starts.append(np.full(len(branches), trunks.start))
        counts, starts = np.concatenate(counts), np.concatenate(starts)
        before = np.cumsum(counts) - counts
        branch = np.repeat(np.arange(1, len(old)), counts)
        trunk = np.arange(len(branch)) - np.repeat(before, counts) + np.repeat(starts, counts)

        run = np.where(old.branch[trunk] == branch, old._run[trunk], 0) + 1
        new = {
            "orders": np.full(len(branch), n),
            "colour": old.colour[trunk],
            "trunk": trunk,
            "branch": branch,
            "_run": run,
            "density": old.density[trunk] // (n - old.orders[branch]) * n * old.density[branch],
            "symmetry": old.symmetry[trunk] * old.symmetry[branch] * run,
        }
        for name, values in new.items():
            setattr(self, name, np.concatenate([getattr(old, name), values]))
        self.first = (*old.first, len(self.orders))
        self._base = np.append(old._base, len(old._place))
        self._place = np.concatenate([old._place, [0], len(old) + before])

    def __len__(self) -> int:
        """The number of ids, that of the empty tree included."""
        return self.first[-1]

    def __repr__(self) -> str:
        return f"<{len(self) - 1} trees to order {self.order} in {self.colours} colour{'s' * (self.colours > 1)}>"

    def __getitem__(self, number: int) -> Tree:
        return Tree(self, int(number))

    def __iter__(self) -> Iterator[Tree]:
        """The trees, without the empty one."""
        return (Tree(self, number) for number in range(1, len(self)))

    def of_order(self, n: int) -> range:
        """The ids of the trees with n vertices."""
        return range(self.first[n], self.first[n + 1])

    def graft(self, u, v):
        """Butcher's product u o v, element by element: the tree u with the tree v as one more child of its root.

        Ids or arrays of ids; the orders of u and v together must not exceed the table's.

        >>> trees = table(4)
        >>> str(trees[trees.graft(tree("[tau]").id, tree("[tau]").id)])
        '[[tau],tau]'
        """
        u, v = (x.copy() for x in np.broadcast_arrays(np.asarray(u), np.asarray(v)))
        if u.ndim == 0:
            return int(self.graft(u[None], v[None])[0])
        inner = np.flatnonzero(self.branch[u] > v)  # v belongs below the largest child, which stays the largest
        if len(inner):
            largest = self.branch[u[inner]]
            u[inner], v[inner] = self.graft(self.trunk[u[inner]], v[inner]), largest
        k = self.orders[u]
        return self._place[self._base[k + self.orders[v]] + v] + u - np.asarray(self.first)[k]

    def merge(self, u, v):
        """The tree with the children of u and of v, on the root of u; element by element."""
        u, v = (x.copy() for x in np.broadcast_arrays(np.asarray(u), np.asarray(v)))
        if u.ndim == 0:
            return int(self.merge(u[None], v[None])[0])
        while True:
            left = np.flatnonzero(self.branch[v])
            if not len(left):
                return u
            u[left], v[left] = self.graft(u[left], self.branch[v[left]]), self.trunk[v[left]]

    def children(self, number: int) -> tuple[int, ...]:
        """The ids of a tree's children, largest first."""
        found = []
        while self.branch[number]:
            found.append(int(self.branch[number]))
            number = self.trunk[number]
        return tuple(found)

    def find(self, children: tuple[int, ...] = (), colour: int = 0) -> int:
        """The id of the tree with these children, in any order, and a root of this colour."""
        number = 1 + colour
        for child in sorted(children):
            number = self.graft(number, child)
        return number


@cache
def table(order: int, colours: int = 1) -> Trees:
    """The table of all trees with at most `order` vertices (1 to 20) in `colours` colours.

    Raises AlgebraError where it would hold more than two million trees.

    >>> table(5)
    <17 trees to order 5 in 1 colour>
    >>> [str(t) for t in table(4) if t.order == 4]
    ['[tau,tau,tau]', '[[tau],tau]', '[[tau,tau]]', '[[[tau]]]']
    """
    if not 1 <= order <= MAX_ORDER:
        raise AlgebraError(f"order {order} of rooted trees: expected 1 to {MAX_ORDER}")
    if colours < 1:
        raise AlgebraError(f"{colours} colours of vertices: expected at least one")
    total = sum(count(n, colours) for n in range(1, order + 1))
    if total > MAX_TREES:
        raise AlgebraError(f"{total} trees to order {order} in {colours} colours: at most {MAX_TREES} are tabled")
    return Trees(order, colours, table(order - 1, colours) if order > 1 else None)


class Tree:
    """One rooted tree: an id, and the table it was found in; made by `tree` or by a table.

    >>> t = tree("[[tau],tau]")
    >>> t.order, t.density, t.symmetry, t.alpha, [str(child) for child in t.children]
    (4, 8, 1, 3, ['[tau]', 'tau'])
    """

    __slots__ = ("id", "table")

    def __init__(self, table: Trees, id: int):
        if not 1 <= id < len(table):
            raise AlgebraError(f"tree number {id}: the table holds 1 to {len(table) - 1}")
        self.table, self.id = table, id

    @property
    def colours(self) -> int:
        """How many colours the table has."""
        return self.table.colours

    @property
    def colour(self) -> int:
        """The colour of the root, from 0."""
        return int(self.table.colour[self.id])

    @property
    def order(self) -> int:
        """The number of vertices."""
        return int(self.table.orders[self.id])

    @property
    def density(self) -> int:
        """gamma: the order times the densities of the children."""
        return int(self.table.density[self.id])

    @property
    def symmetry(self) -> int:
        """sigma: the number of automorphisms."""
        return int(self.table.symmetry[self.id])

    @property
    def alpha(self) -> int:
        """The number of monotonic labellings, n!/(sigma gamma)."""
        return factorial(self.order) // (self.symmetry * self.density)

    @property
    def children(self) -> tuple[Tree, ...]:
        """The trees that hang on the root, largest first."""
        return tuple(Tree(self.table, child) for child in self.table.children(self.id))

    @property
    def parent(self) -> Tree | None:
        """The trunk: the tree without its largest child; None for a single vertex."""
        trunk = int(self.table.trunk[self.id])
        return Tree(self.table, trunk) if trunk else None

    def graft(self, other: Tree) -> Tree:
        """Butcher's product: this tree with the other as one more child of its root."""
        trees = table(self.order + other.order, max(self.colours, other.colours))
        if self.colours != other.colours:
            raise AlgebraError(f"trees in {self.colours} and in {other.colours} colours have no product")
        return trees[trees.graft(self.id, other.id)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and (self.id, self.colours) == (other.id, other.colours)

    def __hash__(self) -> int:
        return hash((self.id, self.colours))

    def __lt__(self, other: Tree) -> bool:
        return (self.colours, self.id) < (other.colours, other.id)

    def __reduce__(self):
        return _restored, (self.id, self.order, self.colours)

    def __str__(self) -> str:
        mark = f"_{self.colour}" if self.colours > 1 else ""
        return f"[{','.join(map(str, self.children))}]{mark}" if self.order > 1 else f"tau{mark}"

    def __repr__(self) -> str:
        return f"tree({str(self)!r}{f', colours={self.colours}' if self.colours > 1 else ''})"

    def latex(self) -> str:
        r"""The bracket notation as LaTeX, powers for repeated children.

        >>> tree("[[tau],tau,tau]").latex()
        '[[\\tau],\\tau^{2}]'
        """
        mark = f"_{{{self.colour}}}" if self.colours > 1 else ""
        if self.order == 1:
            return rf"\tau{mark}"
        parts = [child.latex() + (f"^{{{k}}}" if k > 1 else "") for child, k in Counter(self.children).items()]
        return f"[{','.join(parts)}]{mark}"

    def svg(self) -> str:
        """A drawing with the root at the bottom, as the text of an SVG file."""
        from odekit.algebra.drawing import svg

        return svg(self)

    def tikz(self) -> str:
        """A drawing with the root at the bottom, as a TikZ picture."""
        from odekit.algebra.drawing import tikz

        return tikz(self)

    _repr_svg_ = svg


def _restored(id: int, order: int, colours: int) -> Tree:
    return table(order, colours)[id]


_TOKEN = re.compile(r"\s*(?:(tau|τ|\])(?:_(\d+))?|([\[,]))")


def tree(text: str | Tree, colours: int = 1) -> Tree:
    """The tree that a text in brackets stands for: "tau" is a vertex, "[t1,t2]" joins t1 and t2 to a new root.

    The Greek letter is read as well; where there are several colours, a vertex and a closing bracket carry theirs as
    "_0", "_1" (none means 0). Raises AlgebraError with the position of what cannot be read.
    Source: Butcher 2016, section 301.

    >>> tree("[τ,[tau]]"), tree("[tau_1,tau]_1", colours=2)
    (tree('[[tau],tau]'), tree('[tau_1,tau_0]_1', colours=2))
    """
    if isinstance(text, Tree):
        return text
    order = len(re.findall(r"tau|τ|\[", text))
    if order > MAX_ORDER:
        raise AlgebraError(f"a tree of {order} vertices; at most {MAX_ORDER} are tabled")
    trees = table(max(order, 1), colours)
    text = text.rstrip()
    levels: list[list[int]] = [[]]  # the children read so far, of every bracket still open
    position, complete = 0, False  # complete: a tree has just ended
    while position < len(text):
        match = _TOKEN.match(text, position)
        token = match and (match[1] or match[3])
        opening = token in ("tau", "τ", "[")
        if not token or opening == complete or (complete and len(levels) == 1):
            expected = "a tree" if not complete else "',' or ']'" if len(levels) > 1 else "the end"
            raise _unreadable(text, expected, position)
        colour = int(match[2] or 0)
        if colour >= colours:
            raise _unreadable(text, f"a colour below {colours}", position)
        if token == "[":
            levels.append([])
        elif token == "]":
            children = levels.pop()
            levels[-1].append(trees.find(tuple(children), colour))
        elif token != ",":
            levels[-1].append(1 + colour)
        complete = token not in "[,"
        position = match.end()
    if len(levels) > 1 or not complete:
        raise _unreadable(text, "']'" if complete else "a tree", position)
    return trees[levels[0][0]]


def _unreadable(text: str, expected: str, position: int) -> AlgebraError:
    return AlgebraError(f"{text[:60]!r} is no tree: {expected} expected at position {position + 1}")
