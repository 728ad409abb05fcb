"""Gauss, Radau, Lobatto: their simplifying assumptions, hence their orders, and the tables that are printed."""

import mpmath
import numpy as np
import pytest
import sympy

from odekit.algebra.derive import derive
from odekit.algebra.derive.collocation import FAMILIES
from odekit.exceptions import OdekitError
from odekit.expressions import mpfield

# below the order 2 s: B(2s - lost), C(s - c), D(s - d)
ASSUMPTIONS = {"gauss": (0, 0, 0), "radau-ia": (1, 1, 0), "radau-iia": (1, 0, 1), "lobatto-iiia": (2, 0, 2),
               "lobatto-iiib": (2, 2, 0), "lobatto-iiic": (2, 1, 1)}  # fmt: skip


def assumptions(tableau, digits=38):
    """The largest p, eta, zeta with B(p), C(eta), D(zeta), in so many digits. Source: Butcher 1964."""
    mp = mpmath.mp.clone()
    mp.dps = digits
    with mpmath.workdps(digits):
        c, A, b, _ = tableau.coefficients(mpfield(digits))
        s = len(b)
        A, zero = [[*row, *[0] * (s - len(row))] for row in A], mpmath.mpf(10) ** (-digits + 8)

        def holds(gaps):
            return all(abs(gap) < zero for gap in gaps)

        def B(q):
            return [sum(w * x ** (q - 1) for w, x in zip(b, c, strict=True)) - mpmath.mpf(1) / q]

        def C(q):
            return [sum(a * x ** (q - 1) for a, x in zip(A[i], c, strict=True)) - c[i] ** q / q for i in range(s)]

        def D(q):
            return [
                sum(b[i] * c[i] ** (q - 1) * A[i][j] for i in range(s)) - b[j] * (1 - c[j] ** q) / q for j in range(s)
            ]

        def reach(what):
            q = 0
            while q < 2 * s + 2 and holds(what(q + 1)):
                q += 1
            return q

        return reach(B), reach(C), reach(D)


@pytest.mark.parametrize("stages", [3, 4, 5, 7, 9])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_simplifying_assumptions_give_the_order(name, stages):
    lost, eta, zeta = ASSUMPTIONS[name]
    derivation = derive(name, stages=stages)
    found = assumptions(derivation.method)
    assert found == (2 * stages - lost, stages - eta, stages - zeta)
    order = min(found[0], found[1] + found[2] + 1, 2 * found[1] + 2)  # Butcher 1964, theorem 7
    assert order == derivation.data["order"] == 2 * stages - lost


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_certificates(name):
    for stages in range(FAMILIES[name].least, 5):
        derivation = derive(name, stages=stages)
        found = derivation.certificate()
        assert found.order == 2 * stages - FAMILIES[name].below and found.findings() == []
        assert found.stability.is_a_stable
        assert found.stability.is_l_stable == (name in ("radau-ia", "radau-iia", "lobatto-iiic"))
        assert bool(found.symplectic) == (name == "gauss")
        assert bool(found.symmetric) == (name in ("gauss", "lobatto-iiia", "lobatto-iiib"))
        assert not any(derivation.published)


def test_tables_of_the_catalogue_are_recovered():
    compared = {p.published for name in FAMILIES for s in (1, 2, 3) if s >= FAMILIES[name].least
                for p in derive(name, stages=s).published}  # fmt: skip
    assert compared == {
        "implicit-midpoint",
        "gauss-2",
        "gauss-3",
        "implicit-euler",
        "radau-iia-2",
        "radau-iia-3",
        "trapezoidal",
    }


@pytest.mark.parametrize(
    ("name", "stages", "A"),
    [  # Hairer, Wanner II, tables IV.5.3, IV.5.9, IV.5.11 and Radau IA of table IV.5.4
        ("radau-ia", 2, [["1/4", "-1/4"], ["1/4", "5/12"]]),
        ("radau-ia", 3, [["1/9", "(-1-sqrt(6))/18", "(-1+sqrt(6))/18"],
                         ["1/9", "(88+7*sqrt(6))/360", "(88-43*sqrt(6))/360"],
                         ["1/9", "(88+43*sqrt(6))/360", "(88-7*sqrt(6))/360"]]),
        ("lobatto-iiia", 3, [["0", "0", "0"], ["5/24", "1/3", "-1/24"], ["1/6", "2/3", "1/6"]]),
        ("lobatto-iiib", 3, [["1/6", "-1/6", "0"], ["1/6", "1/3", "0"], ["1/6", "5/6", "0"]]),
        ("lobatto-iiic", 2, [["1/2", "-1/2"], ["1/2", "1/2"]]),
        ("lobatto-iiic", 3, [["1/6", "-1/3", "1/6"], ["1/6", "5/12", "-1/12"], ["1/6", "2/3", "1/6"]]),
    ],
)  # fmt: skip
def test_printed_tables(name, stages, A):
    found = derive(name, stages=stages).method.exact.A
    wanted = [[sympy.sympify(a) for a in row] for row in A]
    gaps = [
        sympy.simplify(sympy.sympify(x) - y)
        for row, other in zip(found, wanted, strict=True)
        for x, y in zip(row, other, strict=True)
    ]
    assert not any(gaps)


@pytest.mark.parametrize("stages", [4, 6, 10])
def test_nodes_are_those_of_numpy(stages):
    nodes, weights = np.polynomial.legendre.leggauss(stages)
    data = derive("gauss", stages=stages).data
    assert np.allclose([float(x) for x in data["c"]], (nodes + 1) / 2, rtol=0, atol=1e-15)
    assert np.allclose([float(x) for x in data["b"]], weights / 2, rtol=0, atol=1e-15)


def test_more_digits_agree_with_fewer():
    few, many = (derive("radau-iia", stages=5, digits=n).data for n in (30, 70))
    for row, other in zip([*few["A"], few["b"]], [*many["A"], many["b"]], strict=True):
        for x, y in zip(row, other, strict=True):
            assert abs(sympy.Rational(x) - sympy.Rational(y)) <= abs(sympy.Rational(y)) * sympy.Rational(10) ** -29
    assert assumptions(derive("gauss", stages=5, digits=70).method, 68) == (10, 5, 5)


def test_lobatto_with_five_stages_is_exact():
    data = derive("lobatto-iiic", stages=5).data
    assert "digits" not in data and data["b"] == ["1/20", "49/180", "16/45", "49/180", "1/20"]
    assert assumptions(derive("lobatto-iiic", stages=5).method) == (8, 4, 4)


def test_collocation_at_given_nodes():
    gauss = derive("collocation", nodes=["(3-sqrt(3))/6", "(3+sqrt(3))/6"])
    assert gauss.data["order"] == 4 and gauss.method.exact == derive("gauss", stages=2).method.exact
    for nodes, order in ((["0", "1/3", "1"], 3), (["1/3", "1"], 3), (["1/4", "3/4"], 2), ("0,1/3,2/3,1", 4)):
        found = derive("collocation", nodes=nodes)
        assert found.data["order"] == order == found.certificate().order and found.certificate().findings() == []


def test_a_node_a_little_off_loses_the_order():
    found = derive("collocation", nodes=["1/3+1/1000", "1"])
    assert found.data["order"] == found.certificate().order == 2


@pytest.mark.parametrize(
    ("name", "choices", "match"),
    [
        ("lobatto-iiib", {"stages": 2}, "takes 3 stages or more"),
        ("radau-ia", {"stages": 1}, "takes 2 stages or more"),
        ("gauss", {"stages": 11}, "order 22; methods are described up to order 20"),
        ("gauss", {"stages": 0}, "must be a whole number"),
        ("gauss", {"stages": 4, "digits": 5}, "digits must be"),
        ("gauss", {}, "needs stages"),
        ("collocation", {"nodes": ["0", "1/2", "0.5"]}, "distinct"),
        ("collocation", {"nodes": ["c2"]}, "unknown symbol"),
        ("radau-iib", {"stages": 2}, "did you mean 'radau-iia'"),
    ],
    ids=str,
)
def test_refusals(name, choices, match):
    with pytest.raises(OdekitError, match=match) as error:
        derive(name, **choices)
    assert "\n" not in str(error.value)
