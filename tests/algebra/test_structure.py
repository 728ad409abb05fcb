"""What maps preserve and what they are conjugate to: methods known to, and methods known not to."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.algebra.backward import modified_equation
from odekit.algebra.conjugacy import conjugate_symplectic, conjugate_to_exact, processor
from odekit.algebra.runge_kutta import average_vector_field, series
from odekit.algebra.series import Series, compose, exact, field
from odekit.algebra.structure import energy_preserving, symmetric, symplectic
from odekit.algebra.trees import AlgebraError, table, tree


@pytest.mark.parametrize("name,order", [("implicit-midpoint", 9), ("gauss-2", 7), ("gauss-3", 7)])
def test_gauss_methods_are_symplectic_and_symmetric(name, order):
    a = series(name, order)
    assert symplectic(a) and symmetric(a) and symplectic(a.log())
    assert symplectic(a).order == order and not energy_preserving(a)


@pytest.mark.parametrize(
    "name,order,failing",
    [
        ("midpoint", 2, "tau o [tau]: -1/4, not 0"),
        ("rk4", 4, "[tau] o [[tau]]: 1/48, not 0"),
        ("trapezoidal", 2, "tau o [tau]: 1/4, not 0"),
        ("radau-iia-2", 3, "[tau] o [tau]: 1/36, not 0"),
    ],
)
def test_others_are_not_and_the_relation_is_named(name, order, failing):
    verdict = symplectic(series(name, 7))
    assert (bool(verdict), verdict.order, verdict.failing) == (False, order, failing)
    assert symplectic(modified_equation(name, 7)).order == order


def test_floats_are_judged_with_a_tolerance():
    assert symplectic(series("gauss-2", 7, exact=False)) and symmetric(series("gauss-2", 7, exact=False))
    assert symplectic(series("rk4", 7, exact=False)).order == 4


def test_partitioned_methods():
    half = Fraction(1, 2)
    verlet = [([[half, 0], [half, 0]], [half, half]), ([[0, 0], [half, half]], [half, half])]  # Lobatto IIIB, IIIA
    a = series(verlet, 6)
    assert symplectic(a, partitioned=True) and symmetric(a) and not symplectic(a)
    assert not symplectic(series(verlet[::-1], 6), partitioned=True) or symmetric(series(verlet[::-1], 6))
    both_explicit = series(["euler", "euler"], 4)
    assert symplectic(both_explicit, partitioned=True).order == 1
    other_weights = [([[0]], [1]), ([[1]], [half])]
    assert symplectic(series(other_weights, 3), partitioned=True).failing.startswith("tau_0 - tau_1: 1/2")
    with pytest.raises(AlgebraError, match="two colours"):
        symplectic(series("rk4", 3), partitioned=True)


def test_symmetry():
    assert symmetric(series("trapezoidal", 8)) and symmetric(exact(6))
    assert symmetric(series("rk4", 7)).order == 5 and symmetric(series("radau-iia-2", 6)).order == 3


def test_energy():
    assert energy_preserving(average_vector_field(9)) and energy_preserving(exact(6)) and energy_preserving(field(6))
    assert not symplectic(average_vector_field(5))
    for name, order in (("implicit-midpoint", 2), ("rk4", 4), ("gauss-2", 4)):
        assert energy_preserving(series(name, 7)).order == order
    assert energy_preserving(series("implicit-midpoint", 4)).failing == "the free tree of [tau,tau,tau]: -1/24, not 0"


def test_one_wrong_coefficient_of_the_average_vector_field_shows():
    wrong = average_vector_field(6)
    wrong.coefficients[tree("[[tau],[tau]]").id] *= 2
    assert energy_preserving(wrong).order == 4
    wrong = average_vector_field(6)
    wrong.coefficients[tree("[[tau,tau],tau]").id] *= 2  # t o tau is [tau,tau] o [tau,tau]: no change of energy yet
    assert energy_preserving(wrong).order == 5


def test_energy_along_trees_with_two_vertices_cancels_itself():
    # H'(F([tau])) belongs to the path with three vertices, [tau] o tau = -(tau o [tau]): nothing can change there...
    c = Series(table(2), [0, 1, 5])
    assert not energy_preserving(c) and energy_preserving(c).failing.startswith("the free tree of [tau,tau]")
    # ... while the path with four vertices is u o u and does cancel.
    c = Series(table(3), [0, 1, 0, 0, 7])
    assert str(c) == "1 tau + 7 [[tau]]" and energy_preserving(c)


# Conjugacy.


@pytest.mark.parametrize("name", ["trapezoidal", "implicit-midpoint"])
def test_the_trapezoidal_rule_is_conjugate_to_the_midpoint_rule(name):
    assert conjugate_symplectic(series(name, 8))


def test_average_vector_field_is_conjugate_symplectic_to_order_four():
    # Hairer 2010, Energy-preserving variant of collocation methods: order 2r + 2, here r = 1.
    assert conjugate_symplectic(average_vector_field(6)).order == 4


def test_explicit_methods_are_not_conjugate_symplectic():
    assert conjugate_symplectic(series("midpoint", 6)).order == 3
    assert conjugate_symplectic(series("rk4", 6)).failing == "[tau] o [[tau]] at order 5"


@pytest.mark.parametrize("name,order", [("euler", 1), ("heun2", 2), ("rk4", 4), ("gauss-2", 4)])
def test_a_conjugate_of_a_method_keeps_its_effective_order(name, order):
    chi = Series(table(6), [1, 1, *range(3, len(table(6)) + 1)])
    hidden = compose(chi.inverse(), series(name, 6), chi)
    assert conjugate_to_exact(hidden).order == conjugate_to_exact(series(name, 6)).order == order
    assert hidden.truncated(3) != series(name, 3)


def test_euler_from_both_sides_is_conjugate_to_order_two():
    # Half a step of implicit and half a step of explicit Euler is the trapezoidal rule the other way round; a single
    # explicit Euler step between them hides the order: Butcher's idea of effective order.
    half = series("euler", 5).scaled(0.5).map(lambda v: v)
    hidden = compose(half.inverse(), series("implicit-midpoint", 5, exact=False), half)
    assert abs(hidden["[tau,tau]"] - 1 / 3) > 1e-3 and conjugate_to_exact(hidden).order == 2


@given(st.integers(1, 36), st.fractions(min_value=-1, max_value=1, max_denominator=5))
@settings(max_examples=10)
def test_the_processor_undoes_a_conjugation(number, value):
    beta = field(6) * 0
    beta.coefficients[number] = value
    chi = beta.exp()
    hidden = compose(chi, exact(6), chi.inverse())
    found = processor(hidden)
    assert conjugate_to_exact(hidden) and compose(found.inverse(), hidden, found) == exact(6)


def test_refusals():
    with pytest.raises(AlgebraError, match="one colour"):
        energy_preserving(exact(3, colours=2))
    with pytest.raises(AlgebraError, match="one colour"):
        conjugate_to_exact(exact(3, colours=2))
    with pytest.raises(AlgebraError, match="inconsistent"):
        conjugate_to_exact(exact(3, step=2))
