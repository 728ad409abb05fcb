"""The coefficient algebra: linear maps on states in three carriers with one set of verbs.

`Scalar` serves isotropic processes, `Diagonal` one number a frequency (blurring, in the DCT basis), `Block` n x n
matrices on the channel axis (phase space), and `identity` is neutral in any of them. Nothing else asks which it holds.
A carrier's `value` is of any number kind (python number, torch tensor, mpmath number, object array of mpmath numbers);
axes in front of the carrier's own are steps, so one operator can hold a coefficient for each step of a plan.

>>> import torch
>>> (Scalar(2.0) @ Diagonal(torch.tensor([1.0, 3.0]))).apply(torch.ones(1, 2))
tensor([[2., 6.]])
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np
import torch

from odekit.exceptions import OperatorError

__all__ = ["Block", "Diagonal", "Identity", "Operator", "Scalar", "identity"]


class Operator:
    """A linear map on states x of shape (B, *shape), held as the `value` of its carrier; immutable by convention.

    Verbs: `apply(x)`, `compose(other)` (also `a @ b`: first b, then a), `+`, `-`, multiplication by numbers,
    `inverse()`, `transpose()`, `factor()` and `operator[k]` for step k. An operator over m steps applies its step i to
    x[i]. A `Scalar` mixes with every carrier; `Diagonal` with `Block` raises `OperatorError`, as do shapes that do not
    fit and maps that have no inverse or factor.

    >>> (identity + Scalar(2.0)).inverse().value
    0.3333333333333333
    """

    __slots__ = ("value",)
    __array_ufunc__ = None  # numpy leaves `array * operator` to __rmul__
    own_axes = 0  # axes of `value` that belong to the carrier; those in front count steps

    def __init__(self, value: Any):
        self.value = value

    def apply(self, x: Any) -> Any:
        """The image of x, in the dtype and on the device of x (coefficients are cast last)."""
        raise NotImplementedError

    def inverse(self) -> Operator:
        """The inverse map; raises `OperatorError` where there is none."""
        return type(self)(_reciprocal(self.value))

    def transpose(self) -> Operator:
        """The adjoint for the Euclidean inner product: <A x, y> = <x, A^T y>."""
        return self

    def factor(self) -> Operator:
        """The lower Cholesky factor L, L L^T = self; raises `OperatorError` off the positive semi-definite ones."""
        return type(self)(_root(self.value))

    def compose(self, other: Operator) -> Operator:
        """This map after the other one."""
        if isinstance(other, Identity):
            return self
        if isinstance(self, Identity):
            return other
        carrier, a, b = _common(self, other)
        return carrier(carrier._product(a, b))

    @staticmethod
    def _product(a: Any, b: Any) -> Any:
        return a * b

    @staticmethod
    def _embed(value: Any, like: Any) -> Any:
        """The value this carrier gives to a Scalar; `like` supplies the number kind."""
        return value

    def __matmul__(self, other: Operator) -> Operator:
        return self.compose(other) if isinstance(other, Operator) else NotImplemented

    def __add__(self, other: Operator) -> Operator:
        if not isinstance(other, Operator):
            return NotImplemented
        carrier, a, b = _common(self, other)
        return carrier(a + b)

    def __sub__(self, other: Operator) -> Operator:
        return self + (-other) if isinstance(other, Operator) else NotImplemented

    def __neg__(self) -> Operator:
        return self * -1

    def __mul__(self, number: Any) -> Operator:
        if isinstance(number, Operator):
            raise OperatorError("operators compose with `a @ b`; `*` multiplies by a number")
        return Scalar(number).compose(self)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Operator:
        return self * _reciprocal(number)

    def __getitem__(self, step: Any) -> Operator:
        if _ndim(self.value) == self.own_axes:
            raise OperatorError(f"{self!r} holds a single step and cannot be indexed by step {step!r}")
        return type(self)(self.value[step])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class Scalar(Operator):
    """A multiple of the identity: one number, or one a step (m,).

    >>> Scalar(3.0).compose(identity).apply(torch.ones(2, 4)).sum().item()
    24.0
    """

    __slots__ = ()

    def apply(self, x: Any) -> Any:
        return _over_steps(self.value, 0, x) * x


class Identity(Scalar):
    """The neutral element of every carrier; use the instance `identity`."""

    __slots__ = ()

    def __init__(self):
        super().__init__(1)

    def apply(self, x: Any) -> Any:
        return x

    def inverse(self) -> Operator:
        return self

    def factor(self) -> Operator:
        return self

    def __getitem__(self, step: Any) -> Operator:
        return self

    def __reduce__(self):
        return "identity"

    def __repr__(self) -> str:
        return "identity"


class Diagonal(Operator):
    """One number a component: values (F,) or (m, F) over steps, F the number of components of a state.

    The state is given in the basis in which the map is diagonal.

    >>> Diagonal(torch.tensor([4.0, 9.0])).factor().value
    tensor([2., 3.])
    """

    __slots__ = ()
    own_axes = 1

    def __init__(self, values: Any):
        super().__init__(_array(values))
        if _ndim(self.value) < 1:
            raise OperatorError("Diagonal expects values of shape (F,) or (m, F); for one number use Scalar")

    def apply(self, x: Any) -> Any:
        shape, components = tuple(x.shape[1:]), self.value.shape[-1]
        if math.prod(shape) != components:
            raise OperatorError(f"Diagonal of {components} components applied to states of shape {shape}")
        value = _over_steps(self.value, 1, x)
        return value.reshape(value.shape[: value.ndim - 1] + shape) * x

    @staticmethod
    def _embed(value: Any, like: Any) -> Any:
        return value[..., None] if _ndim(value) else value


class Block(Operator):
    """An n x n matrix on the channels of states (B, n, *shape), as in phase space: (n, n), or (m, n, n) over steps.

    >>> Block([[0.0, 1.0], [-1.0, 0.0]]).apply(torch.tensor([[1.0, 2.0]]))
    tensor([[ 2., -1.]])
    """

    __slots__ = ()
    own_axes = 2

    def __init__(self, matrix: Any):
        super().__init__(_array(matrix))
        shape = tuple(self.value.shape)
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise OperatorError(f"Block expects square matrices (n, n) or (m, n, n), got shape {shape}")

    def apply(self, x: Any) -> Any:
        n = self.value.shape[-1]
        if len(x.shape) < 2 or x.shape[1] != n:
            raise OperatorError(f"Block of {n} channels acts on states (B, {n}, *shape), got shape {tuple(x.shape)}")
        rows = [[Scalar(self.value[..., i, j]).apply(x[:, j]) for j in range(n)] for i in range(n)]
        return _stack([functools.reduce(operator.add, row) for row in rows], 1)

    def inverse(self) -> Operator:
        if self.value.shape[-1] != 2:
            return Block(_inverted(self.value))
        a, b, c, d = (self.value[..., i, j] for i in range(2) for j in range(2))
        over = _reciprocal(a * d - b * c)
        return Block(_matrix([[d * over, -b * over], [-c * over, a * over]]))

    def transpose(self) -> Operator:
        return Block(self.value.swapaxes(-1, -2))

    def factor(self, rounding: float = 1e-15) -> Operator:
        """The lower Cholesky factor; a pivot of less than ``rounding`` of its variance is zero, and so is its column.

        Pivots are judged against their own variances: a graded covariance keeps the digits of its smallest entries.
        """
        n, a = self.value.shape[-1], self.value
        size = [abs(a[..., i, i]) for i in range(n)]
        rows: list[list] = []
        for i in range(n):
            row: list = []
            for j, pivot in enumerate(above[-1] for above in rows):
                rest, slack = a[..., i, j], 1e-12 * (size[i] + size[j])
                if not _all(abs(rest - a[..., j, i]) <= slack):
                    raise OperatorError("a matrix that is not symmetric has no Cholesky factor; expected a covariance")
                for k in range(j):
                    rest = rest - row[k] * rows[j][k]
                row.append(_where(pivot == 0, 0 * rest, rest / _where(pivot == 0, pivot + 1, pivot)))
                if not _all(abs(rest - row[j] * pivot) <= slack):
                    raise OperatorError("a variance of zero with a covariance beside it is not positive semi-definite")
            rest = functools.reduce(lambda total, entry: total - entry * entry, row, a[..., i, i])
            rows.append([*row, _root(_where(abs(rest) <= rounding * size[i], 0 * rest, rest))])
        return Block(_matrix([row + [0 * row[0]] * (n - len(row)) for row in rows]))

    @staticmethod
    def _product(a: Any, b: Any) -> Any:
        return a @ b

    @staticmethod
    def _embed(value: Any, like: Any) -> Any:
        one, kind = (torch, like.dtype) if isinstance(like, torch.Tensor) else (np, object)
        eye = one.eye(like.shape[-1], dtype=kind)
        return (value[..., None, None] if _ndim(value) else value) * eye


SINGULAR = "a singular operator has no inverse: a coefficient or a determinant is zero"

identity = Identity()


def _common(a: Operator, b: Operator) -> tuple[type[Operator], Any, Any]:
    """The carrier in which both fit, and both values in it."""
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return Scalar, a.value, b.value
    if isinstance(a, Scalar):
        return type(b), b._embed(a.value, b.value), b.value
    if isinstance(b, Scalar):
        return type(a), a.value, a._embed(b.value, a.value)
    if type(a) is not type(b):
        raise OperatorError(f"{type(a).__name__} does not mix with {type(b).__name__}; only Scalar fits both")
    if a.value.shape[-1] != b.value.shape[-1]:
        raise OperatorError(f"{type(a).__name__} of {a.value.shape[-1]} components met one of {b.value.shape[-1]}")
    return type(a), a.value, b.value


def _over_steps(value: Any, own_axes: int, x: Any) -> Any:
    """The value shaped to multiply x: steps along the first axis of x, then room for the axes of the state."""
    steps = _ndim(value) - own_axes
    if steps > 0:
        if tuple(value.shape[:steps]) != tuple(x.shape[:steps]):
            expected, got = tuple(value.shape[:steps]), tuple(x.shape)
            raise OperatorError(f"an operator over steps {expected} applies its step i to x[i]; x has shape {got}")
        if own_axes == 0:
            value = value.reshape(tuple(value.shape) + (1,) * (len(x.shape) - steps))
    if isinstance(value, torch.Tensor) and isinstance(x, torch.Tensor) and value.ndim:
        value = value.to(dtype=x.dtype, device=x.device)  # 0-d host tensors never promote and stay as they are
    return value


def _array(value: Any) -> Any:
    """Torch tensors and object arrays as they are; sequences of plain numbers become float64 tensors."""
    if isinstance(value, torch.Tensor):
        return value
    array = np.asarray(value)
    return array if array.dtype == object else torch.as_tensor(array, dtype=torch.float64)


def _ndim(value: Any) -> int:
    return getattr(value, "ndim", 0)


def _stack(parts: list[Any], axis: int) -> Any:
    if isinstance(parts[0], torch.Tensor):
        return torch.stack(parts, axis)
    return np.stack([np.asarray(part, object) for part in parts], axis)


def _matrix(rows: list[list]) -> Any:
    return _stack([_stack(row, -1) for row in rows], -2)


def _inverted(matrices: Any) -> Any:
    """The inverses of (..., n, n) by elimination with scaled pivots: sizes of rows may differ by powers of ten."""
    exact = not isinstance(matrices, torch.Tensor)
    size = abs(matrices).max(-1, keepdims=True) if exact else matrices.detach().abs().amax(-1, keepdim=True)
    rows = matrices * _reciprocal(size)
    if not exact:
        inverses, failed = torch.linalg.inv_ex(rows)
        _reciprocal(failed == 0)
        return inverses / size.mT
    from mpmath import mp

    try:
        found = [list(mp.inverse(mp.matrix(one.tolist()))) for one in rows.reshape(-1, *rows.shape[-2:])]
    except ZeroDivisionError:
        raise OperatorError(SINGULAR) from None
    return np.array(found, object).reshape(rows.shape) / size.swapaxes(-1, -2)


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return torch.where(condition, yes, no) if isinstance(no, torch.Tensor) else np.where(condition, yes, no)


def _all(condition: Any) -> bool:
    return bool(condition.all()) if hasattr(condition, "all") else bool(condition)


def _reciprocal(value: Any) -> Any:
    if not _all(value != 0):
        raise OperatorError(SINGULAR)
    return 1 / value


def _root(value: Any) -> Any:
    if not _all(value >= 0):
        raise OperatorError("a negative variance has no factor; expected a positive semi-definite operator")
    if isinstance(value, torch.Tensor):
        there = value > 0  # a variable without noise has a deviation of zero, with a gradient of zero
        return torch.where(there, torch.where(there, value, 1.0).sqrt(), 0 * value)
    import mpmath

    if isinstance(value, np.ndarray):
        return np.asarray(np.frompyfunc(mpmath.sqrt, 1, 1)(value), object)
    return mpmath.sqrt(value) if isinstance(value, mpmath.mpf) else math.sqrt(value)
