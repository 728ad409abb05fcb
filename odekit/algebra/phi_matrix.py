"""phi functions of small matrices, correctly rounded: scaling and doubling in integers, with a bound of every error.

Floating-point scaling and squaring loses ||Z|| in accuracy, and more where e^(tZ) rises before it falls. Integers of
as many bits as the bound asks for lose nothing, and for small matrices cost no more than a Pade approximation.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from odekit.algebra.phi import check_index
from odekit.algebra.trees import AlgebraError

MAX_SIZE, MAX_NORM = 64, 1e5


def phi_matrix(k: int, Z: Any, digits: int | None = None) -> Any:
    """phi_k of one square matrix (d, d), d <= 64, as a float64 or complex128 array; as an mpmath matrix with `digits`.

    Correctly rounded up to one unit of its norm, so well below 4 eps (1 + ||Z||) ||phi_k(Z)||, for matrices however
    far from normal: scaling and doubling run in integers, the rounding errors are bounded on the way, and more bits
    are taken where the bound asks for them. Meant for small matrices: milliseconds at d = 2, 0.1 s at d = 16.
    Raises AlgebraError for what is not square or not finite, and for ||Z|| > 1e5.
    Source: Skaflestad, Wright, Appl. Numer. Math. 59 (2009), on scaling and doubling.

    >>> phi_matrix(1, [[0.0, 1.0], [0.0, 0.0]]).tolist()
    [[1.0, 0.5], [0.0, 1.0]]
    """
    check_index(k)
    exact, size = _fractions(Z)
    wanted = 55 if digits is None else math.ceil(digits / math.log10(2)) + 2
    bits = wanted + 64
    if k == 0:  # |det e^Z|^(1/d) <= ||e^Z|| may be as small as e^(-||Z||)
        bits += math.ceil(max(-float(sum(exact[0].diagonal())) / len(exact[0]), 0.0) / math.log(2))
    while True:
        value, error = _fixed_point(k, exact, size, bits)
        missing = wanted + error.bit_length() - _norm(value).bit_length()
        if missing <= 0:
            break
        bits += missing + 16
    if digits is None:
        try:  # the division of integers is correctly rounded
            parts = [np.array([[int(v) / (1 << bits) for v in row] for row in part]) for part in value]
        except OverflowError:
            raise AlgebraError(f"phi_{k} of this matrix is beyond the range of float64; ask for digits") from None
        return parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
    import mpmath

    with mpmath.workdps(digits):
        parts = [mpmath.matrix([[mpmath.ldexp(int(v), -bits) for v in row] for row in part]) for part in value]
        return parts[0] if len(parts) == 1 else parts[0] + mpmath.mpc(0, 1) * parts[1]


def _fractions(Z: Any) -> tuple[np.ndarray, float]:
    """(1, d, d) for real, (2, d, d) for complex matrices, as exact fractions; and a bound of the norm."""
    rows = [list(row) for row in (Z.tolist() if hasattr(Z, "tolist") else Z)]
    if not 1 <= len(rows) <= MAX_SIZE or any(len(row) != len(rows) for row in rows):
        raise AlgebraError(f"phi of a matrix needs a square one of 1 to {MAX_SIZE} rows")
    try:
        parts = [[[_fraction(getattr(x, part, 0)) for x in row] for row in rows] for part in ("real", "imag")]
    except (ValueError, OverflowError, TypeError):
        raise AlgebraError("phi of a matrix needs finite numbers as entries") from None
    exact = np.array(parts if any(x for row in parts[1] for x in row) else parts[:1], dtype=object)
    size = float(_norm(exact))
    if size > MAX_NORM:
        raise AlgebraError(f"phi of a matrix of norm {size:.2g}: at most {MAX_NORM:.0g} is computed")
    return exact, size


def _fraction(x: Any) -> Fraction:
    if hasattr(x, "man_exp"):  # mpmath's, where infinities have an empty mantissa
        mantissa, exponent = x.man_exp
        if not mantissa and x != 0:
            raise ValueError
        return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return Fraction(x if isinstance(x, int | float | Fraction) else float(x))


def _norm(parts: np.ndarray) -> Any:
    """The largest row sum, an upper bound of it for complex matrices."""
    return max(np.abs(parts).sum(axis=(0, 2)))


def _fixed_point(k: int, exact: np.ndarray, size: float, bits: int) -> tuple[np.ndarray, int]:
    """phi_k times 2^bits in Python's integers, and a bound of the error: series, recurrence downwards, doublings."""
    doublings = max(math.frexp(size)[1] - 1, 0)  # now ||W|| <= 2
    one, d = 1 << bits, exact.shape[-1]
    W = np.array([round(x * one / (1 << doublings)) for x in exact.flat], dtype=object).reshape(exact.shape)
    unit = np.zeros(W.shape, dtype=object)
    unit[0] = np.array([[int(i == j) for j in range(d)] for i in range(d)], dtype=object)
    rounding = 2 * d  # of a matrix, entry by entry, as a norm in units of 2^-bits

    def product(a: np.ndarray, b: np.ndarray, divisor: int = 1) -> np.ndarray:
        if len(a) == 1:
            full = a @ b
        else:
            real, imaginary = a[0] @ b[0], a[1] @ b[1]
            full = np.array([real - imaginary, (a[0] + a[1]) @ (b[0] + b[1]) - real - imaginary], dtype=object)
        return full // (divisor << bits) if divisor > 1 else full >> bits

    def spread(a: int, error_a: int, b: int, error_b: int) -> int:  # error of a product, from norms and errors
        return ((a * error_b + error_a * b + error_a * error_b) >> bits) + 1 + rounding

    value, error, count = unit * one, 8, 1
    while math.factorial(count + k) // math.factorial(k) >> count < one:
        count += 1
    for j in range(count, 0, -1):  # k! phi_k(W) = 1 + W/(k+1) (1 + W/(k+2) (1 + ...
        error = spread(2 * one, rounding, _norm(value), error) // (k + j) + 1
        value = product(W, value, k + j) + unit * one
    below, errors_below = [value // math.factorial(k)], [error // math.factorial(k) + rounding]
    for j in range(k - 1, -1, -1):  # phi_j = W phi_{j+1} + 1/j!
        errors_below.append(spread(2 * one, rounding, _norm(below[-1]), errors_below[-1]) + 1)
        below.append(product(W, below[-1]) + unit * (one // math.factorial(j)))
    phis, errors = below[::-1], errors_below[::-1]
    for _ in range(doublings):
        # 2^j phi_j(2W) = e^W phi_j(W) + sum_{i=1..j} phi_i(W)/(j-i)!
        norms = [_norm(p) for p in phis]
        doubled = [product(phis[0], p) for p in phis]
        errors_doubled = [spread(norms[0], errors[0], n, e) for n, e in zip(norms, errors, strict=True)]
        for j in range(1, k + 1):
            weights = [math.factorial(j) // math.factorial(j - i) for i in range(1, j + 1)]
            total = sum(phis[i] * w for i, w in enumerate(weights, start=1))
            doubled[j] = (doubled[j] + total // math.factorial(j)) >> j
            total = sum(errors[i] * w for i, w in enumerate(weights, start=1))
            errors_doubled[j] = ((errors_doubled[j] + total // math.factorial(j)) >> j) + 2 * rounding
        phis, errors = doubled, errors_doubled
    return phis[k], errors[k]
