"""Order conditions: how they print, what they are as polynomials, and that they hold where they should."""

import re
from fractions import Fraction

import numpy as np
import pytest
import sympy

from odekit.algebra.conditions import principal_error, residuals
from odekit.algebra.families import order_conditions
from odekit.algebra.runge_kutta import Scheme, scheme, series
from odekit.algebra.trees import AlgebraError, tree
from odekit.exceptions import UnknownNameError
from odekit.methods.tableau import Tableau


def test_counts():
    for order, total in enumerate([1, 2, 4, 8, 17, 37, 85, 200, 486, 1205], start=1):
        assert len(order_conditions("runge-kutta", order)) == total
    assert [len(order_conditions("partitioned-runge-kutta", n)) for n in (1, 2, 3, 4)] == [2, 6, 20, 72]
    assert len(order_conditions("additive-runge-kutta", 3, colours=3)) == 57


def test_textbook_form():
    rows = {str(c.tree): c for c in order_conditions("runge-kutta", 5)}
    expected = {
        "tau": (r"\sum_{i} b_{i} = 1", "sum(b) - 1"),
        "[tau,tau]": (r"\sum_{i} b_{i} c_{i}^{2} = \frac{1}{3}", "b @ c ** 2 - 1/3"),
        "[[tau],tau]": (r"\sum_{i,j} b_{i} c_{i} a_{ij} c_{j} = \frac{1}{8}", "b @ (c * (A @ c)) - 1/8"),
        "[[tau],[tau]]": (
            r"\sum_{i,j,k} b_{i} a_{ij} c_{j} a_{ik} c_{k} = \frac{1}{20}",
            "b @ (A @ c) ** 2 - 1/20",
        ),
        "[[[tau],tau]]": (
            r"\sum_{i,j,k} b_{i} a_{ij} c_{j} a_{jk} c_{k} = \frac{1}{40}",
            "b @ (A @ (c * (A @ c))) - 1/40",
        ),
    }
    for name, (latex, python) in expected.items():
        assert (rows[name].latex(), rows[name].python()) == (latex, python)
    assert str(rows["[[tau],tau]"]) == "[[tau],tau]: Phi = 1/8"
    two = {str(c.tree): c.latex() for c in order_conditions("partitioned-runge-kutta", 3)}
    assert two["[[tau_1]_0]_1"] == r"\sum_{i,j} b^{[1]}_{i} a^{[0]}_{ij} c^{[1]}_{j} = \frac{1}{6}"
    assert two["[tau_1,tau_1]_0"] == r"\sum_{i} b^{[0]}_{i} (c^{[1]}_{i})^{2} = \frac{1}{3}"


def test_printed_python_is_the_residual():
    generator = np.random.default_rng(0)
    A, b = generator.normal(size=(4, 4)), generator.normal(size=4)
    found = residuals((A.tolist(), b.tolist()), 8, exact=False)
    for condition in order_conditions("runge-kutta", 8):
        value = eval(condition.python(), {"A": A, "b": b, "c": A.sum(axis=1), "sum": np.sum})
        assert value == pytest.approx(found[condition.tree], rel=1e-9, abs=1e-12)


def test_printed_python_of_two_colours():
    generator = np.random.default_rng(1)
    A, b = generator.normal(size=(2, 3, 3)), generator.normal(size=(2, 3))
    found = residuals(Scheme("", tuple(A.tolist()), tuple(b.tolist())), 5, exact=False)
    for condition in order_conditions("additive-runge-kutta", 5):
        value = eval(condition.python(), {"A": A, "b": b, "c": A.sum(axis=2), "sum": np.sum})
        assert value == pytest.approx(found[condition.tree], rel=1e-9, abs=1e-12)


def test_latex_is_the_residual():
    """The printed sums, read back as nested loops over stages."""
    A, b = np.array([[0, 0, 0], [0.5, 0, 0], [-1, 2, 0]]), np.array([1, 4, 1]) / 6
    values = {"b": b, "c": A.sum(axis=1), "a": A}
    found = residuals("kutta3", 6, exact=False)
    for condition in order_conditions("runge-kutta", 6):
        letters, body, right = re.fullmatch(r"\\sum_\{(.*?)\} (.*) = (.*)", condition.latex()).groups()
        operands, indices = [], []
        for name, index, power in re.findall(r"([abc])_\{(\w+)\}(?:\^\{(\d+)\})?", body):
            operands.append(values[name] ** int(power or 1))
            indices.append(index)
        total = np.einsum(",".join(indices) + "->", *operands)
        assert set("".join(indices)) == set(letters.split(","))
        wanted = 1 if right == "1" else 1 / int(re.search(r"\{(\d+)\}$", right)[1])
        assert total - wanted == pytest.approx(found[condition.tree], abs=1e-14)


# Polynomials.


def test_polynomials_of_three_explicit_stages():
    a32, b1, b2, b3, c2, c3 = sympy.symbols("a32 b1 b2 b3 c2 c3")
    found = [c.residual for c in order_conditions("runge-kutta", 4, stages=3)]
    half, third, sixth = (sympy.Rational(1, n) for n in (2, 3, 6))
    expected = [b1 + b2 + b3 - 1, b2 * c2 + b3 * c3 - half, b2 * c2**2 + b3 * c3**2 - third, a32 * b3 * c2 - sixth]
    assert [sympy.expand(p - q) for p, q in zip(found, expected, strict=False)] == [0] * 4
    assert found[-1] == -sympy.Rational(1, 24)  # no explicit method with three stages is of order four


@pytest.mark.parametrize(
    "kind,name", [("explicit", "rk38"), ("diagonally-implicit", "sdirk3"), ("implicit", "gauss-3")]
)
def test_polynomials_take_the_value_of_the_method(kind, name):
    given = scheme(name)
    values = {}
    for i, row in enumerate(given.A[0], start=1):
        values[f"c{i}"], values[f"b{i}"] = sum(row), given.b[0][i - 1]
        values |= {f"a{i}{j}": entry for j, entry in enumerate(row, start=1)}
    values = {key: sympy.sympify(value) for key, value in values.items()}
    weights = series(name, 5)
    for condition in order_conditions("runge-kutta", 5, stages=given.stages, kind=kind):
        ring = condition.weight.ring
        at = condition.residual.subs({s: values[str(s)] for s in ring.symbols}, simultaneous=True)
        assert abs((at - sympy.sympify(weights[condition.tree] - condition.value)).evalf(40)) < 1e-35


def test_polynomials_of_two_colours():
    rows = {str(c.tree): c for c in order_conditions("partitioned-runge-kutta", 3, stages=2, kind="implicit")}
    b1, b2, a11, a12, a21, a22, c1, c2 = sympy.symbols("b1_0 b2_0 a11_1 a12_1 a21_1 a22_1 c1_0 c2_0")
    found = rows["[[tau_0]_1]_0"].residual
    wanted = b1 * (a11 * c1 + a12 * c2) + b2 * (a21 * c1 + a22 * c2) - sympy.Rational(1, 6)
    assert sympy.expand(found - wanted) == 0


def test_two_hundred_conditions_for_four_stages():
    conditions = order_conditions("runge-kutta", 8, stages=4)
    assert len(conditions) == 200 and conditions[-1].tree.order == 8
    ring = conditions[0].weight.ring
    rk4 = dict(b1="1/6", b2="1/3", b3="1/3", b4="1/6", c2="1/2", c3="1/2", c4="1", a32="1/2", a43="1")
    point = [
        sympy.QQ(Fraction(rk4.get(str(s), 0)).numerator, Fraction(rk4.get(str(s), 1)).denominator) for s in ring.symbols
    ]
    held = [
        bool(c.weight.evaluate(list(zip(ring.gens, point, strict=True))) == c.value) for c in conditions if c.weight
    ]
    assert held[:8] == [True] * 8 and not any(held[8:17])


def test_more_than_nine_stages_have_unambiguous_names():
    names = {str(s) for s in order_conditions("runge-kutta", 2, stages=12)[0].weight.ring.symbols}
    assert {"a12_1", "a11_10", "b12"} <= names and len(names) == 11 + 12 + 66


# Asked about methods.


def test_residuals_of_a_tableau_in_every_form():
    from odekit.methods import files, get

    table_, method = files.get("rk4"), get("rk4")
    assert isinstance(table_, Tableau)
    forms = ("rk4", table_, method, (table_.exact.A, table_.exact.b), scheme("rk4"), series("rk4", 6))
    assert all(residuals(form, 6) == residuals("rk4", 6) for form in forms)
    assert residuals("rk4", 4).coefficients.any() is np.False_ or not any(residuals("rk4", 4).values())
    assert not any(residuals("dp5", 4, embedded=True).values()) and any(residuals("dp5", 5, embedded=True).values())
    with pytest.raises(AlgebraError, match="no embedded weights"):
        residuals("rk4", 4, embedded=True)


def test_an_implicit_explicit_pair_of_order_two_has_its_coupling_conditions():
    # ARS(2,2,2), Ascher, Ruuth, Spiteri 1997, section 2.6: both tableaus of order 2, and so is the pair.
    gamma = 1 - sympy.sqrt(2) / 2
    delta = 1 - 1 / (2 * gamma)
    explicit = [[0, 0, 0], [gamma, 0, 0], [delta, 1 - delta, 0]], [delta, 1 - delta, 0]
    implicit = [[0, 0, 0], [0, gamma, 0], [0, 1 - gamma, gamma]], [0, 1 - gamma, gamma]
    assert not any(residuals([explicit, implicit], 2).values()) and any(residuals([explicit, implicit], 3).values())
    shifted = [[0, 0, 0], [gamma, 0, 0], [delta, 1 - delta, 0]], [0, 1 - gamma, gamma]  # explicit weights of the other
    assert residuals([shifted, implicit], 2)["[tau_0]_0"] == 0
    wrong = [[0, 0, 0], [gamma, 0, 0], [delta, 1 - delta, 0]], [1 - gamma, gamma, 0]
    broken = {str(t) for t, v in residuals([wrong, implicit], 2).items() if v}
    assert broken == {"[tau_0]_0", "[tau_1]_0"}


def test_principal_errors():
    error = principal_error("rk4", 4)
    assert error.norm_squared == Fraction(1745, 2880**2) and error.largest == 1 / 120
    assert error.terms[tree("[[[[tau]]]]")] == Fraction(-1, 120) and len(error.terms) == 9
    floats = principal_error("dop853", 8, exact=False)
    assert floats.norm == pytest.approx(6.263412404e-6, rel=1e-8) and len(floats.terms) == 286
    with pytest.raises(AlgebraError, match="order 4"):
        principal_error(residuals("rk4", 3), 3)


def test_refusals():
    with pytest.raises(UnknownNameError, match="did you mean 'runge-kutta'"):
        order_conditions("runge-kuta", 3)
    with pytest.raises(UnknownNameError, match="did you mean 'explicit'"):
        order_conditions("runge-kutta", 3, stages=2, kind="explict")
    with pytest.raises(AlgebraError, match="how many stages"):
        str(order_conditions("runge-kutta", 1)[0].residual)
