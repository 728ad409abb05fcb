"""Entries of exponential methods as numbers: exact expressions in phi functions, compiled once for every number field.

One compiled function serves floats, float64 tensors (0-d or one number a step), mpmath numbers and object arrays of
them. On tensors phi_k has its exact derivative, phi_k' = phi_k - k phi_{k+1}, so that coefficients can be
differentiated with respect to the grid, as often as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from odekit.algebra import phi as exact
from odekit.exceptions import ExpressionError
from odekit.expressions import Field


class _Phi(torch.autograd.Function):
    @staticmethod
    def forward(z: torch.Tensor, k: int) -> torch.Tensor:
        return torch.as_tensor(exact.phi(k, z.detach().numpy()), dtype=torch.float64)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
        z, ctx.k = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        (z,) = ctx.saved_tensors
        return gradient * sum(m * _Phi.apply(z, k) for k, m in exact.derivative(ctx.k).items()), None


def phi(k: int, z: Any) -> Any:
    """phi_k of a number of any kind, as accurate as `odekit.algebra.phi`.

    >>> z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.grad(phi(1, z), z)[0].item()
    0.5
    """
    if torch.is_tensor(z):
        return _Phi.apply(z, k)
    if isinstance(z, np.ndarray) and z.dtype == object:
        return np.frompyfunc(partial(exact.phi, k), 1, 1)(z)
    return exact.phi(k, z)


def compiled(expressions: Sequence, names: Sequence[str]) -> Callable[..., list]:
    """A function (field, *numbers) -> the expressions' values (nested like `expressions`), one number a name.

    What repeats is computed once; constants that binary floats cannot hold enter in the field's own numbers; an entry
    that is zero is the python int 0.

    >>> import mpmath
    >>> from odekit.expressions import FLOAT64, mpfield, parse
    >>> run = compiled([parse("phi1(z/3)/3", "z"), parse("0")], "z")
    >>> run(FLOAT64, 0.0)
    [0.3333333333333333, 0]
    >>> with mpmath.workdps(30):
    ...     print(run(mpfield(30), mpmath.mpf(0))[0])
    0.333333333333333333333333333333
    """
    import sympy
    from sympy.core.function import AppliedUndef

    constants: dict[Any, Any] = {}

    def named(expression: Any) -> Any:
        if expression.is_Rational and not expression.q & (expression.q - 1):
            return expression
        if expression.is_number and not expression.atoms(AppliedUndef):
            return constants.setdefault(expression, sympy.Symbol(f"constant{len(constants)}"))
        return expression.func(*map(named, expression.args)) if expression.args else expression

    def nested(block: Any) -> Any:
        return [*map(nested, block)] if isinstance(block, list | tuple) else named(sympy.sympify(block))

    bodies = nested(expressions)
    used = {symbol.name for e in sympy.flatten(bodies) for symbol in e.free_symbols} - set(names)
    unknown = used - {symbol.name for symbol in constants.values()}
    if unknown:
        raise ExpressionError(f"{sorted(unknown)[0]} has no value: give it one ({', '.join(names)} are known)")
    functions = {f"phi{k}": partial(phi, k) for k in range(exact.MAX_K + 1)} | {"sqrt": lambda number: number**0.5}
    arguments = [*map(sympy.Symbol, names), *constants.values()]
    run = sympy.lambdify(arguments, bodies, modules=[functions], cse=True)
    return lambda field, *numbers: run(*numbers, *_converted(field, tuple(constants)))


def _converted(field: Field, constants: tuple) -> list:
    return [field.number(constant) for constant in constants]
