"""Effective orders, processed kernels, and splitting methods that are refined and optimised."""

from fractions import Fraction

import pytest

from odekit.algebra import compositions
from odekit.algebra.processing import effective_residuals, processing
from odekit.algebra.splitting import Splitting, effective_error, error_norm, order_of
from odekit.algebra.splitting_design import inverse, joined, optimised, processed, refined
from odekit.algebra.trees import AlgebraError


def test_trotter_is_conjugate_to_strang():
    found = processing(compositions.get("trotter"))
    assert found.order == 2
    assert found.remains == {"[[C,B],B]": Fraction(1, 24)} == processing(compositions.get("strang")).remains


def test_counts_of_effective_conditions():
    method = Splitting("m", tuple(zip("ABABAB", [Fraction(k + 1, 6) for k in range(6)], strict=True)))
    grades = [k.count("B") + k.count("C") for k in effective_residuals(method, 7)]
    assert [grades.count(n) for n in range(1, 8)] == [2, 0, 1, 1, 3, 3, 9]


def test_conjugation_leaves_the_effective_order():
    inner = compositions.get("forest-ruth")
    outer = Splitting("outer", (("A", "1/3"), ("B", "-1/5")))
    moved = joined("moved", outer, inner, inverse(outer), order=4)
    assert (order_of(moved), processing(moved).order) == (1, 4)
    assert processing(compositions.get("strang")).order == 2


def test_processed_method():
    kernel, processor = processed("ABABABA", 4, starts=8)
    assert (order_of(kernel), processing(kernel).order, kernel.stages) == (2, 4, 3)
    whole = joined("whole", processor, kernel, inverse(processor))
    assert order_of(whole, 5) == 4
    assert order_of(joined("half", processor, kernel), 5) < 4
    assert processing(kernel).norm < 0.25 * processing(compositions.get("forest-ruth")).norm


def test_refined_methods():
    method = refined(compositions.get("yoshida-8-a"), 40)
    assert method.digits == 38 and order_of(method, 9) == 8
    assert method.steps[0][1].startswith("1.042426208699")
    wrong = Splitting("wrong", compositions.get("strang").steps, order=4)
    with pytest.raises(AlgebraError, match="does not converge"):
        refined(wrong)


def test_optimised_methods():
    method = optimised("ABABABABABABA", 4, starts=8)
    assert order_of(method, 5) == 4 and method.is_symmetric and method.digits == 28
    # its norm is below that of Blanes and Moan's, which was found for another basis
    assert error_norm(method) < error_norm(compositions.get("blanes-moan-4"))
    assert effective_error(method) < effective_error(compositions.get("pefrl"))
    assert order_of(optimised("ABABABA", 4), 5) == 4  # no freedom: Forest and Ruth's
    with pytest.raises(AlgebraError, match="palindrome"):
        optimised("ABAB", 4)
    with pytest.raises(AlgebraError, match="no real solution"):
        optimised("ABABA", 4, starts=3)


def test_triple_jump_and_fractal_are_exact():
    for make in (compositions.triple_jump, compositions.fractal):
        assert [order_of(make(p), p + 1) for p in (2, 4, 6)] == [2, 4, 6]
        with pytest.raises(AlgebraError, match="even order"):
            make(5)
    assert len(compositions.fractal(8).steps) == 125
    assert max(abs(float(v)) for v in compositions.fractal(8).numbers(20)) < 1
