"""Rooted trees: counts, identities and notation, against the literature and against brute force."""

import pickle
import xml.etree.ElementTree as xml
from collections import Counter
from fractions import Fraction
from itertools import product
from math import factorial, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odekit.algebra.coproduct import cuts
from odekit.algebra.trees import AlgebraError, count, table, tree

A000081 = [
    *(1, 1, 2, 4, 9, 20, 48, 115, 286, 719),
    *(1842, 4766, 12486, 32973, 87811, 235381, 634847, 1721159, 4688676, 12826228),
]
TWO = [2, 4, 14, 52, 214, 916, 4116, 18996]
THREE = [3, 9, 45, 246, 1485, 9432]


def test_counts():
    assert [count(n) for n in range(1, 21)] == A000081
    assert [len(table(12).of_order(n)) for n in range(1, 13)] == A000081[:12]
    for colours, expected in ((2, TWO), (3, THREE)):
        assert [count(n, colours) for n in range(1, len(expected) + 1)] == expected
        trees = table(len(expected), colours)
        assert [len(trees.of_order(n)) for n in range(1, len(expected) + 1)] == expected
    assert np.cumsum([count(n) for n in range(1, 11)]).tolist() == [1, 2, 4, 8, 17, 37, 85, 200, 486, 1205]


def test_identities_of_labelled_trees():
    for n in range(1, 11):
        ids = table(n).of_order(n)
        sigma, gamma = (
            [int(x) for x in values[ids.start : ids.stop]] for values in (table(n).symmetry, table(n).density)
        )
        assert sum(Fraction(factorial(n), s) for s in sigma) == n ** (n - 1)
        assert sum(Fraction(factorial(n), s * g) for s, g in zip(sigma, gamma, strict=True)) == factorial(n - 1)


def test_the_identities_notice_one_wrong_symmetry():
    sigma = [t.symmetry for t in table(5) if t.order == 5]
    sigma[3] += 1
    assert sum(Fraction(120, s) for s in sigma) != 625


TO_ORDER_FIVE = """
    tau 1 1 1 1; [tau] 2 2 1 1; [[tau]] 3 6 1 1; [tau,tau] 3 3 2 1; [[tau,tau]] 4 12 2 1; [[[tau]]] 4 24 1 1
    [[tau],tau] 4 8 1 3; [tau,tau,tau] 4 4 6 1; [[tau,tau,tau]] 5 20 6 1; [[[tau],tau]] 5 40 1 3
    [[[[tau]]]] 5 120 1 1; [[[tau,tau]]] 5 60 2 1; [[tau,tau],tau] 5 15 2 4; [[[tau]],tau] 5 30 1 4
    [[tau],[tau]] 5 20 2 3; [[tau],tau,tau] 5 10 2 6; [tau,tau,tau,tau] 5 5 24 1
"""


def test_order_density_symmetry_and_labellings_to_order_five():
    rows = [row.split() for row in TO_ORDER_FIVE.replace("\n", ";").split(";") if row.strip()]
    assert {text for text, *_ in rows} == {str(t) for t in table(5)} and len(rows) == 17
    for text, *numbers in rows:
        t = tree(text)
        assert [t.order, t.density, t.symmetry, t.alpha] == [int(x) for x in numbers], text


def nested(t):
    """A tree as nested sorted tuples with its colour, apart from the tables."""
    return (t.colour, tuple(sorted(nested(child) for child in t.children)))


def by_hand(t):
    """Order, density and symmetry from their recursive definitions."""
    _, children = t
    parts = [by_hand(child) for child in children]
    order = 1 + sum(p[0] for p in parts)
    repeats = Counter(children).values()
    return order, order * prod(p[1] for p in parts), prod(p[2] for p in parts) * prod(map(factorial, repeats))


@pytest.mark.parametrize("order,colours", [(8, 1), (5, 2), (4, 3)])
def test_tables_agree_with_the_recursive_definitions(order, colours):
    shapes = [nested(t) for t in table(order, colours)]
    assert len(set(shapes)) == len(shapes)
    for t, shape in zip(table(order, colours), shapes, strict=True):
        assert by_hand(shape) == (t.order, t.density, t.symmetry)


def test_ids_stay_when_the_table_grows():
    assert [str(t) for t in table(6)] == [str(t) for t in table(9)][:37]
    assert table(6)[20] == table(9)[20] and hash(table(6)[20]) == hash(table(9)[20])
    assert table(3)[1] != table(3, 2)[1]


def test_products():
    u, v = tree("[tau]"), tree("[[tau],tau]")
    assert str(u.graft(v)) == "[[[tau],tau],tau]" and str(v.graft(u)) == "[[tau],[tau],tau]"
    assert u.parent == tree("tau") and tree("tau").parent is None
    trees = table(8)
    assert str(trees[trees.merge(v.id, tree("[tau,[[tau]]]").id)]) == "[[[tau]],[tau],tau,tau]"
    with pytest.raises(AlgebraError, match="no product"):
        tree("tau").graft(tree("tau", colours=2))


@given(st.integers(1, 200), st.integers(1, 200))
def test_grafting_adds_one_child(i, j):
    trees = table(8)
    if trees.orders[i] + trees.orders[j] > 8:
        return
    found = trees.graft(i, j)
    assert Counter(trees.children(found)) == Counter([*trees.children(i), j])
    assert trees.find(trees.children(found)[::-1]) == found


def test_notation_goes_round():
    for t in [*table(7), *table(4, 3)]:
        assert tree(str(t), t.colours) == t == pickle.loads(pickle.dumps(t))
    assert tree("[τ, [τ,τ]]") == tree("[[tau,tau],tau]")
    assert tree("[tau_1,tau]_1", colours=2).latex() == r"[\tau_{1},\tau_{0}]_{1}"
    assert tree("[tau,tau,[tau]]").latex() == r"[[\tau],\tau^{2}]"


@pytest.mark.parametrize(
    "text",
    ["", "[", "]", "[]", "[tau", "tau tau", "[tau,]", "[,tau]", "tau_1", "[tau]x", "[_0tau]", "tau,tau", "[tau]]"],
)
def test_text_that_is_no_tree_is_refused_with_its_position(text):
    with pytest.raises(AlgebraError, match="position"):
        tree(text)


@given(st.text(alphabet="[],tau τ_01x", max_size=30))
def test_any_text_is_a_tree_or_refused(text):
    try:
        assert tree(str(tree(text, 2)), 2) == tree(text, 2)
    except AlgebraError:
        pass


def test_tables_that_cannot_be_held_are_refused():
    for order, colours, message in ((0, 1, "order 0"), (21, 1, "order 21"), (12, 4, "at most"), (3, 0, "colours")):
        with pytest.raises(AlgebraError, match=message):
            table(order, colours)
    with pytest.raises(AlgebraError, match="tree number 0"):
        table(3)[0]


# Cuts.


def subsets(t):
    """All cuts that keep the root, one edge subset at a time: (cut branches, trunk), on nested tuples."""
    colour, children = t
    found = []
    for choice in product(*([None, *subsets(child)] for child in children)):  # None: this child is cut off
        off, on = [], []
        for child, kept in zip(children, choice, strict=True):
            if kept is None:
                off.append(child)
            else:
                off += kept[0]
                on.append(kept[1])
        found.append((tuple(sorted(off)), (colour, tuple(sorted(on)))))
    return found


@pytest.mark.parametrize("order,colours", [(7, 1), (4, 2)])
def test_cuts_agree_with_enumerated_edge_subsets(order, colours):
    trees, kept = table(order, colours), cuts(order, colours)
    for t in trees:
        mine = slice(kept.start[t.id - 1], kept.start[t.id])
        rows = zip(kept.forest[mine], kept.trunk[mine], kept.times[mine], strict=True)
        found = {(nested(trees[f])[1], nested(trees[s])): int(m) for f, s, m in rows}
        assert found == Counter(subsets(nested(t))), str(t)


def test_number_of_distinct_cuts():
    for order, expected in ((6, 311), (8, 3282), (9, 11179), (10, 38908)):
        assert len(cuts(order).trunk) + len(table(order)) == expected  # with the full cuts, the empty tree's included


# Drawings.


@pytest.mark.parametrize("text,colours", [("tau", 1), ("[[tau,tau],[tau],tau]", 1), ("[tau_1,[tau]_1]", 2)])
def test_drawings_have_a_vertex_for_each_vertex_and_an_edge_for_each_edge(text, colours):
    t = tree(text, colours)
    root = xml.fromstring(t.svg())
    tags = Counter(element.tag.rpartition("}")[2] for element in root)
    assert (tags["circle"], tags["line"]) == (t.order, t.order - 1)
    places = {(c.get("cx"), c.get("cy")) for c in root if c.tag.endswith("circle")}
    assert len(places) == t.order
    assert t.tikz().count(r"\filldraw") == t.order and t.tikz().count("--") == t.order - 1
    if colours == 2:
        assert "white" in t.svg() and "black" in t.svg()
