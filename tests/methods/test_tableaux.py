"""Every tableau of the package against all order conditions, in the arithmetic its entries are printed in."""

import dataclasses
import tomllib
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
import sympy
from trees import attained, density, failures, principal_norm, shown, symmetry, trees

from odekit.exceptions import MethodError
from odekit.expressions import FLOAT64, mpfield
from odekit.methods import tableau as module
from odekit.methods.files import get, names, read_method_file
from odekit.methods.tableau import Tableau, exact, is_zero

CONTROLS = Path(__file__).parent / "data"
ASKED = {
    *("euler", "midpoint", "heun2", "ralston", "ssp33", "kutta3", "heun3", "bs3", "rk4", "rk38", "ralston4", "dp5"),
    *("tsit5", "verner6", "dop853", "cash-karp", "fehlberg45", "implicit-euler", "implicit-midpoint", "trapezoidal"),
    *("sdirk2", "sdirk3", "sdirk4", "crouzeix-3", "gauss-2", "gauss-3", "radau-iia-2", "radau-iia-3"),
}


def in_ring(tableau):
    """(A, b, b_embedded) in the field that the entries generate: rationals, or rationals with their square root."""
    _, A, b, embedded = tableau.exact
    parts = [*A, b, *([embedded] if embedded else [])]
    entries = [entry for part in parts for entry in part]
    if all(isinstance(entry, Fraction) for entry in entries):
        return A, b, embedded
    _, elements = sympy.construct_domain([sympy.sympify(entry) for entry in entries], extension=True)
    ring = dict(zip(entries, elements, strict=True))
    return [[ring[a] for a in row] for row in A], [ring[w] for w in b], embedded and [ring[w] for w in embedded]


def tolerance(tableau):
    """Zero for exact tables; else what the last printed digit can do, with room for the size of the entries."""
    return 0 if tableau.digits is None else Fraction(1, 10 ** (tableau.digits - 2))


def rational(path):
    """A, b, b_embedded of a file, read without any of the package's checks."""
    data = tomllib.loads(path.read_text())
    stages = len(data["b"])
    A = [[*map(Fraction, row), *[Fraction(0)] * (stages - len(row))] for row in data["A"]]
    return A, list(map(Fraction, data["b"])), list(map(Fraction, data.get("b_embedded", [])))


# The trees themselves, against spec/theory.md section C.


def test_tree_counts_and_identities():
    assert [len(trees(n)) for n in range(1, 11)] == [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]
    for n in range(1, 8):
        assert sum(Fraction(mpmath.factorial(n).__int__(), symmetry(t)) for t in trees(n)) == n ** (n - 1)
        labelled = sum(Fraction(int(mpmath.factorial(n)), symmetry(t) * density(t)) for t in trees(n))
        assert labelled == mpmath.factorial(n - 1)
    table = {shown(t): (density(t), symmetry(t)) for n in range(1, 6) for t in trees(n)}
    assert table["[[[τ]],τ]"] == (30, 1) and table["[[τ],[τ]]"] == (20, 2) and table["[τ,τ,τ,τ]"] == (5, 24)


# The catalogue.


def test_the_catalogue_holds_what_was_asked_for():
    assert set(names()) >= ASKED
    assert all(get(name).name == name and get(name).source for name in names())


@pytest.mark.parametrize("name", sorted(ASKED))
def test_order_is_the_claim_and_no_more(name):
    tableau = get(name)
    A, b, embedded = in_ring(tableau)
    assert attained(A, b, tableau.order + 1, tolerance(tableau)) == tableau.order
    assert (embedded is None) == (tableau.embedded_order is None)
    if embedded:
        assert attained(A, embedded, tableau.embedded_order + 1, tolerance(tableau)) == tableau.embedded_order


def test_kinds():
    implicit = {"gauss-2", "gauss-3", "radau-iia-2", "radau-iia-3"}
    diagonal = {"implicit-euler", "implicit-midpoint", "trapezoidal", "sdirk2", "sdirk3", "sdirk4", "crouzeix-3"}
    kinds = {name: get(name).kind for name in ASKED}
    assert {name for name, kind in kinds.items() if kind == "implicit"} == implicit
    assert {name for name, kind in kinds.items() if kind == "diagonally-implicit"} == diagonal
    assert {name for name, kind in kinds.items() if kind == "explicit"} == ASKED - implicit - diagonal


ROOT = mpmath.sqrt
NORMS = {  # spec/theory.md section C: closed forms, then printed decimals with their tolerance
    "euler": (mpmath.mpf(1) / 2, 1e-14),
    "midpoint": (ROOT(17) / 24, 1e-14),
    "heun2": (ROOT(5) / 12, 1e-14),
    "ssp33": (1 / ROOT(192), 1e-14),
    "heun3": (mpmath.mpf(5) / 108, 1e-14),
    "kutta3": (1 / ROOT(288), 1e-14),
    "rk4": (ROOT(1745) / 2880, 1e-14),
    "bs3": (0.04181109229, 2e-10),
    "fehlberg45": (0.003355744693, 2e-10),
    "cash-karp": (9.482886175e-4, 2e-10),
    "dp5": (3.990801609e-4, 2e-10),
    "dop853": (6.263412404e-6, 2e-10),
    "gauss-2": (0.004330621975, 2e-10),
    "gauss-3": (1.650466905e-4, 4e-10),
    "radau-iia-3": (9.895285073e-4, 2e-10),
}


@pytest.mark.parametrize("name", sorted(NORMS))
def test_principal_error_norm(name):
    tableau = get(name)
    expected, tolerance = NORMS[name]
    numbers = tableau.exact
    with mpmath.workdps(40):
        A = [[mpmath.mpmathify(str(sympy.N(a, 40))) for a in row] for row in numbers.A]
        b = [mpmath.mpmathify(str(sympy.N(w, 40))) for w in numbers.b]
        assert abs(principal_norm(A, b, tableau.order) / expected - 1) < tolerance


# Negative controls: each must be refused, and by the check that is meant to catch it.


def test_four_stages_with_the_stability_polynomial_of_rk4_are_of_order_2():
    A, b, _ = rational(CONTROLS / "four-stage.toml")
    assert read_method_file(CONTROLS / "four-stage.toml").order == 4  # sums are right: only the trees can tell
    assert attained(A, b) == 2
    broken = failures(A, b, 4)
    assert broken["[τ,τ]"] == Fraction(1, 4) - Fraction(1, 3)
    assert not {"τ", "[τ]", "[[τ]]", "[[[τ]]]"} & set(broken)


def test_cash_karp_18574_is_refused_when_made_and_has_embedded_order_0():
    path = CONTROLS / "cash-karp-18574.toml"
    with pytest.raises(MethodError, match="b_embedded sums to 48383/48384"):
        read_method_file(path)
    A, b, embedded = rational(path)
    assert attained(A, b) == 5 and attained(A, embedded) == 0


def test_fehlberg_3554_is_refused_when_made_and_has_order_1():
    path = CONTROLS / "fehlberg45-3554.toml"
    with pytest.raises(MethodError, match="row 6 of A sums to 509/1026, but c6 is 1/2"):
        read_method_file(path)
    A, b, embedded = rational(path)
    assert attained(A, b) == 1
    assert attained(A, embedded) == 4  # the weight of the broken stage is zero there: this is how it stayed hidden


def test_tsit5_with_the_last_embedded_weight_1_40_is_refused():
    true = get("tsit5")
    assert true.b_embedded[-1] == "1/66"
    with pytest.raises(MethodError, match="b_embedded sums to 1.009"):
        dataclasses.replace(true, b_embedded=(*true.b_embedded[:-1], "1/40"))


def test_dormand_prince_mutant_is_of_order_3():
    path = CONTROLS / "dp5-mutant.toml"
    mutant, true = read_method_file(path), get("dp5")
    assert (mutant.c, mutant.b) == (true.c, true.b) and mutant.A != true.A
    A, b, _ = rational(path)
    assert attained(A, b) == 3
    broken = failures(A, b, 5)
    assert "[[τ,τ]]" in broken and not {"[[[τ]]]", "[[[[τ]]]]", "[[τ],τ]", "[τ,τ,τ,τ]"} & set(broken)


@pytest.mark.parametrize("name", ["rk4", "dp5", "bs3", "cash-karp"])
def test_each_entry_counts(name):
    """No coefficient can be off by one part in a million without the order, or a sum, noticing."""
    tableau = get(name)
    shift = Fraction(1, 10**6)
    _, A, b, _ = tableau.exact
    last = tableau.stages - (1 if tableau.fsal else 0)  # after it comes what only b_embedded uses
    for i in range(1, last):
        for j in range(i):
            moved = [list(row) for row in A]
            moved[i][j] += shift
            assert attained(moved, b, tableau.order) < tableau.order, (i, j)


# Construction.

EULER = {"name": "e", "order": 1, "source": "", "c": ["0"], "A": [[]], "b": ["1"]}
HEUN = {"name": "h", "order": 2, "source": "", "c": ["0", "1"], "A": [[], ["1"]], "b": ["1/2", "1/2"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": [[], ["3/8"]]}, "h: row 2 of A sums to 3/8, but c2 is 1"),
        ({"A": [["1/4"], ["1"]]}, "h: row 1 of A sums to 1/4, but c1 is 0"),
        ({"b": ["1/2", "1/3"]}, "h: b sums to 5/6, but the sum of weights is 1"),
        ({"b_embedded": ["1", "1/9"], "embedded_order": 1}, "h: b_embedded sums to 10/9"),
        ({"b_embedded": ["1", "0"]}, "come together"),
        ({"embedded_order": 1}, "come together"),
        ({"b_embedded": ["1"], "embedded_order": 1}, "b_embedded has 1 entries, but b has 2"),
        ({"c": ["0"]}, "c has 1 entries, but b has 2"),
        ({"A": [[]]}, "A has 1 rows, but b has 2"),
        ({"A": [[], ["1", "0", "0"]]}, "row 2 of A has 3 entries, but b has only 2"),
        ({"A": [[], "1"]}, "row 2 of A must be a list"),
        ({"A": "rk4"}, "A must be a list"),
        ({"b": []}, "b has 0 entries"),
        ({"b": ["1/2", None]}, "entry 2 of b must be a number"),
        ({"b": ["1/2", True]}, "entry 2 of b must be a number"),
        ({"b": ["1/2", 0.5]}, "entry 2 of b must be a number"),
        ({"b": ["1/2", "1/0"]}, "entry 2 of b: '1/0' divides by zero"),
        ({"b": ["1/2", "1e16"]}, "larger than 1e15"),
        ({"b": ["1/2", 10**5000]}, "larger than 1e15"),
        ({"b": ["1/2", "sqrt(-1)"]}, "entry 2 of b"),
        ({"b": ["1/2", "x"]}, "entry 2 of b"),
        ({"b": ["1/2", "__import__('os')"]}, "entry 2 of b"),
        ({"b": ["1/2", "9" * 3000]}, "3000 characters"),
        ({"order": 0}, "order must be an integer from 1 to 20, got 0"),
        ({"order": 2.0}, "order must be an integer"),
        ({"order": True}, "order must be an integer"),
        ({"digits": 0}, "digits must be an integer"),
        ({"name": ""}, "name must be a line"),
        ({"name": "a\nb"}, "name must be a line"),
        ({"source": 3}, "source must be text"),
        ({"c": ["0", "0.99999999999999999"]}, "state `digits` if the source prints decimals"),
    ],
)
def test_refusals_name_the_place(change, message):
    with pytest.raises(ValueError) as caught:
        Tableau(**{**HEUN, **change})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_more_stages_than_a_method_has_are_refused():
    with pytest.raises(MethodError, match="1 to 64 stages"):
        Tableau("wide", 1, "", ["0"] * 65, [[]] * 65, ["1/65"] * 65)


def test_equal_methods_compare_equal_however_their_rows_are_written():
    square = Tableau(**{**HEUN, "A": [["0", "0"], ["1", 0]], "b": [Fraction(1, 2), "1/2"]})
    assert square == Tableau(**HEUN) and hash(square) == hash(Tableau(**HEUN)) and square.A == ((), ("1",))
    assert get("trapezoidal").A == (("0",), ("1/2", "1/2"))


def test_printed_decimals_are_checked_to_their_digits_only():
    decimals = {**HEUN, "c": ["0", "0.6667"], "A": [[], ["0.6666"]], "b": ["1/4", "3/4"]}
    assert Tableau(**decimals, digits=4).digits == 4
    with pytest.raises(MethodError, match="row 2 of A"):
        Tableau(**decimals, digits=5)
    with pytest.raises(MethodError, match="row 2 of A"):
        Tableau(**decimals)


def test_roots_are_decided_exactly():
    root = {**HEUN, "c": ["0", "sqrt(2)/2"], "b": ["1/2", "1/2"]}
    assert Tableau(**{**root, "A": [[], ["1/sqrt(2)"]]}).stages == 2
    with pytest.raises(MethodError, match="row 2 of A sums to"):
        Tableau(**{**root, "A": [[], ["0.70710678118654752440084436210484903928"]]})


def test_coefficients_are_the_nearest_numbers_of_the_field():
    c, A, b, embedded = get("dp5").coefficients(FLOAT64)
    assert embedded[0] == 5179 / 57600 and A[5][1] == -355 / 33 and c[4] == 8 / 9
    assert [type(b[1]), b[1]] == [int, 0] and [len(row) for row in A] == list(range(7))
    fifty = get("radau-iia-3").coefficients(mpfield(50))
    with mpmath.workdps(60):
        assert abs(fifty.c[0] - (4 - mpmath.sqrt(6)) / 10) < mpmath.mpf("1e-50")
    assert get("radau-iia-3").coefficients(FLOAT64).c[0] == float(fifty.c[0])
    assert get("rk4").coefficients(FLOAT64).b_embedded is None


def test_rational_tables_load_without_the_expression_parser(monkeypatch):
    def never(text):
        raise AssertionError(f"SymPy was asked for {text}")

    monkeypatch.setattr(module, "_algebraic", never)
    exact.cache_clear()
    get.cache_clear()
    try:
        for name in ("rk4", "dp5", "tsit5", "verner6", "cash-karp", "sdirk3"):
            assert get(name).fsal in (True, False) and get(name).kind
        with pytest.raises(AssertionError):
            get("dop853")
    finally:
        exact.cache_clear()
        get.cache_clear()


def test_entries():
    assert exact("-3/4") == Fraction(-3, 4) and exact(" .5 ") == Fraction(1, 2) and exact("1e-3") == Fraction(1, 1000)
    assert exact("1/2 + 1/3") == Fraction(5, 6) and exact("sqrt(4)/3") == Fraction(2, 3)
    assert is_zero(exact("(sqrt(3)+1)*(sqrt(3)-1)") - 2) and not is_zero(exact("sqrt(2)") - exact("1.41421356"))
