"""phi functions of matrices, against references that are exact: integer similarities, Jordan blocks, long series."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.linalg
import sympy

from odekit.algebra.phi import phi, phi_mp
from odekit.algebra.phi_matrix import phi_matrix
from odekit.algebra.trees import AlgebraError

EPS = 2.0**-52


def bound(Z):
    """The issue's: 4 eps (1 + ||Z||), relative to ||phi_k(Z)||."""
    return 4 * EPS * (1 + np.linalg.norm(Z, 2))


def error(value, exact):
    """The relative error in norm; `exact` an object array of mpmath numbers."""
    with mpmath.workdps(60):
        difference = exact - np.array([[mpmath.mpmathify(complex(v)) for v in row] for row in value], dtype=object)
        scale = max(abs(v) for v in exact.flat)
        wrong, right = (np.array([[complex(v / scale) for v in row] for row in part]) for part in (difference, exact))
        return np.linalg.norm(wrong, 2) / np.linalg.norm(right, 2)


def similar(d, seed, size):
    """Z = S D S^-1 with integer S of determinant 1, exact in float64 and far from normal; and its exact phi_k."""
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.integers(-1, 2, (d, d)), -1) + np.eye(d, dtype=int)
    upper = np.triu(rng.integers(-1, 2, (d, d)), 1) + np.eye(d, dtype=int)
    S = (lower @ upper).astype(object)
    inverse = np.array(sympy.Matrix(S.tolist()).inv().applyfunc(int).tolist(), dtype=object)
    D = np.array([int(v) for v in rng.integers(-8, 9, d)], dtype=object)
    Z = ((S * D) @ inverse).astype(float)
    scale = 2.0 ** math.floor(math.log2(size / np.linalg.norm(Z, 2)))

    def exact(k):
        with mpmath.workdps(90):
            values = {v: phi_mp(k, mpmath.mpf(v) * scale, 80) for v in set(D)}
            return (S * np.array([values[v] for v in D], dtype=object)) @ inverse

    return Z * scale, exact


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 700.0])
@pytest.mark.parametrize("d", [2, 5, 16])
def test_integer_similarities(d, size):
    Z, exact = similar(d, d, size)
    for k in (0, 1, 2, 5, 8):
        assert error(phi_matrix(k, Z), exact(k)) < bound(Z)


def test_floating_point_scaling_and_squaring_misses_the_bound():
    """Negative control: SciPy's expm, good as it is, does not reach it on a matrix that is far from normal."""
    d = 8
    triangular = np.diag(-np.arange(float(d))) + np.triu(np.full((d, d), 20.0), 1)
    turn = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    Z = turn @ triangular @ turn.T
    with mpmath.workdps(60):
        exact = np.array(mpmath.expm(mpmath.matrix(Z.tolist()), method="taylor").tolist(), dtype=object)
    assert error(scipy.linalg.expm(Z), exact) > 10 * bound(Z) > 100 * error(phi_matrix(0, Z), exact)


def test_the_recurrence_on_matrices_cancels():
    """Negative control: phi_{k+1} = Z^-1 (phi_k - 1/k!) at a small norm."""
    Z, exact = similar(4, 1, 1e-2)
    value = scipy.linalg.expm(Z)
    for j in range(4):
        value = np.linalg.solve(Z, value - np.eye(4) / math.factorial(j))
    assert error(value, exact(4)) > 1e3 * bound(Z)


@pytest.mark.parametrize("value", [0.0, -1.0, 300.0, -650.0])
def test_jordan_blocks(value):
    """Derivatives stand above the diagonal: phi_k^(m)(z)/m! = sum_i (-1)^i binom(m,i) (k)_i phi_{k+i}/m!."""
    d = 6
    Z = np.diag([value] * d) + np.diag([1.0] * (d - 1), 1)
    for k in (0, 1, 4):
        with mpmath.workdps(60):
            first = []
            for m in range(d):
                terms = [(-1) ** i * math.comb(m, i) * mpmath.rf(k, i) * phi_mp(k + i, value, 60) for i in range(m + 1)]
                first.append(mpmath.fsum(terms) / math.factorial(m))
            exact = np.array([[first[j - i] if j >= i else mpmath.mpf(0) for j in range(d)] for i in range(d)])
        assert error(phi_matrix(k, Z), exact) < bound(Z)


@pytest.mark.parametrize("size", [0.5, 20.0, 60.0])
def test_random_matrices_against_a_long_series(size):
    """sum Z^j/(j+k)! in integers with 600 bits: no scaling, no doubling."""
    rng = np.random.default_rng(5)
    bits, d = 600, 6
    for is_complex in (False, True):
        Z = rng.standard_normal((d, d)) + (1j * rng.standard_normal((d, d)) if is_complex else 0)
        Z *= size / np.linalg.norm(Z, 2)
        full = np.block([[Z.real, -Z.imag], [Z.imag, Z.real]])
        W = np.array([[int(Fraction(x) * 2**bits) for x in row] for row in full], dtype=object)
        for k in (0, 2, 8):
            term = np.eye(2 * d, dtype=int).astype(object) * (2**bits // math.factorial(k))
            total, j = term.copy(), k
            while j < k + 40 + 4 * size:
                j += 1
                term = (W @ term >> bits) // j
                total = total + term
            with mpmath.workdps(60):
                scaled = np.array([[mpmath.ldexp(v, -bits) for v in row] for row in total[:, :d]], dtype=object)
                exact = scaled[:d] + mpmath.mpc(0, 1) * scaled[d:]
            assert error(phi_matrix(k, Z), exact) < bound(Z)


def test_rotations_where_phi_1_vanishes():
    """Z = [[0, w], [-w, 0]] with w near 2 pi: phi_1 is tiny, and still right to its last digits."""
    w = 2 * math.pi
    value = phi_matrix(1, [[0.0, w], [-w, 0.0]])
    with mpmath.workdps(60):
        exact = [[mpmath.sin(w) / w, (1 - mpmath.cos(w)) / w], [-(1 - mpmath.cos(w)) / w, mpmath.sin(w) / w]]
    assert error(value, np.array(exact, dtype=object)) < 4 * EPS


def test_scalars_agree_with_the_scalar_function():
    for z in (0.0, 1e-300, 0.3, -20.0, 690.0, 2 + 3j):
        for k in (0, 1, 8):
            assert phi_matrix(k, [[z]])[0, 0] == pytest.approx(phi(k, z), rel=1e-14)


def test_more_digits():
    Z = [[mpmath.mpf(1) / 4, 1], [0, -2]]
    value = phi_matrix(3, Z, digits=50)
    with mpmath.workdps(50):
        a, b = phi_mp(3, mpmath.mpf("0.25"), 55), phi_mp(3, -2, 55)
        for found, exact in ((value[0, 0], a), (value[1, 1], b), (value[0, 1], (a - b) / mpmath.mpf("2.25"))):
            assert abs(found - exact) < mpmath.mpf(10) ** -49


def test_refusals():
    for bad, words in (
        ([[1.0, 2.0]], "square"),
        ([], "square"),
        ([[math.nan]], "finite"),
        ([[math.inf]], "finite"),
        ([[1e6]], "norm"),
        (np.eye(65), "64 rows"),
    ):
        with pytest.raises(AlgebraError, match=words):
            phi_matrix(1, bad)
    with pytest.raises(AlgebraError, match="range of float64"):
        phi_matrix(0, [[800.0]])
