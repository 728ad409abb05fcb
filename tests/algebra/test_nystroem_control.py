"""A copied row in a Runge-Kutta-Nystroem method is caught: the conditions for y'' = f(y), from integrals of monomials.

Source of the method: Dormand, El-Mikkawy, Prince 1987, IMA J. Numer. Anal. 7, RKN5(4). One public version has the row
of the sixth stage, cut short, in place of the fifth.
"""

from fractions import Fraction as Q
from itertools import product

import pytest

C = [Q(0), Q(1, 8), Q(1, 4), Q(1, 2), Q(3, 4), Q(1)]
ROWS = ["", "1/128", "1/96 1/48", "1/24 0 1/12", "9/128 0 9/64 9/128", "7/90 0 4/15 1/15 4/45"]
POSITION = "7/90 0 4/15 1/15 4/45 0"
VELOCITY = "7/90 0 16/45 2/15 16/45 7/90"


def numbers(text):
    return [Q(entry) for entry in text.split()]


def failing(rows, order=5):
    """The first condition that fails: rows, then trees whose nodes are powers of c and one second integral."""
    A = [numbers(row) + [Q(0)] * (6 - len(row.split())) for row in rows]
    b, v = numbers(POSITION), numbers(VELOCITY)
    for i, row in enumerate(A):
        if sum(row) != C[i] ** 2 / 2:
            return f"row {i + 1}: {sum(row)}, not {C[i] ** 2 / 2}"
    inner = {k: [sum(a * c**k for a, c in zip(row, C, strict=True)) for row in A] for k in range(order)}
    for k, power in product(range(order), range(order)):
        # f at c^power times the k-th second integral of c, which is c^(k + 2)/((k + 1)(k + 2)); y' loses one order
        for what, weights, height in (("y'", v, 1), ("y", b, 2)):
            if power + height <= order and k == 0:
                exact = Q(1, power + 1) if height == 1 else Q(1, (power + 1) * (power + 2))
                found = sum(w * c**power for w, c in zip(weights, C, strict=True))
                if found != exact:
                    return f"{what}, c^{power}: {found}, not {exact}"
            if power + k + 2 + height <= order:
                n = power + k + 2
                exact = Q(1, (k + 1) * (k + 2)) * (Q(1, n + 1) if height == 1 else Q(1, (n + 1) * (n + 2)))
                found = sum(w * c**power * a for w, c, a in zip(weights, C, inner[k], strict=True))
                if found != exact:
                    return f"{what}, c^{power} A c^{k}: {found}, not {exact}"
    return ""


def test_the_published_method_holds():
    assert failing(ROWS) == ""


@pytest.mark.parametrize(
    "row, says",
    [("7/90 0 4/15 1/15", "row 5: 37/90, not 9/32"), ("9/128 9/64 0 9/128", "y', c^0 A c^1")],
    ids=["copied", "shifted"],
)
def test_a_wrong_fifth_row_does_not(row, says):
    assert failing([*ROWS[:4], row, ROWS[5]]).startswith(says)
