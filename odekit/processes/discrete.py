"""Variance-preserving processes given by a table, as trained networks come with one."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from ..exceptions import OdekitError
from ..expressions import exact_value
from .base import IsotropicProcess
from .kinds import Floats, Tensors


class DiscreteVP(IsotropicProcess):
    """Variance preserving with ln alpha linear between tabulated values (Lu et al. 2022, appendix D).

    Of `betas` and `alphas_cumprod` (M values; alphas_cumprod[i] = prod_{j<=i} (1 - betas[j]) = alpha^2) give one. The
    nodes are t_0 = 0, where alpha = 1 and sigma = 0, and t_{i+1} = (i + 1)/M, where alpha^2 = alphas_cumprod[i]; times
    end at 1, samplers at 1/M. Between the nodes beta(t) is constant, so rates jump at nodes (they are the next cell's).
    Table entries mean the decimals they print, as parameters do: the mpmath table starts from those.

    Raises `OdekitError` for betas outside (0, 1), and for alphas_cumprod that do not decrease strictly within (0, 1).

    >>> process = DiscreteVP([0.1, 0.2, 0.3, 0.4])
    >>> process.t_min, round(process.alpha(0.5) ** 2, 15)
    (0.25, 0.72)
    """

    name = "discrete-vp"
    domain = (0.0, 1.0)

    @staticmethod
    def define(t: Any, start: Any = 0, slope: Any = 0, node: Any = 0) -> dict[str, Any]:
        # the three "parameters" are looked up for each time: code, derivatives and LaTeX are those of any process
        return {"log_alpha": start + slope * (t - node)}

    @staticmethod
    def inverse(kappa: Any, start: Any, slope: Any, node: Any) -> Any:
        from sympy import log

        return node - (log(1 + kappa**2) / 2 + start) / slope

    def __init__(
        self,
        betas: Sequence[float] | None = None,
        *,
        alphas_cumprod: Sequence[float] | None = None,
        t_min: float | None = None,
        t_max: float = 1.0,
    ) -> None:
        if (betas is None) == (alphas_cumprod is None):
            raise OdekitError("DiscreteVP needs either betas or alphas_cumprod, and not both")
        name, given = ("betas", betas) if alphas_cumprod is None else ("alphas_cumprod", alphas_cumprod)
        table = _checked(name, given)
        vars(self).update(_source=name, _cells={})
        options = {"t_min": 1 / len(table) if t_min is None else t_min, "t_max": t_max}
        self._fix({name: table} | {key: self._parameter(key, value) for key, value in options.items()})

    def __repr__(self) -> str:
        table = self.parameters[self._source]
        shown = ", ".join(map(str, table[:2])) + (f", ... {len(table)} values" if len(table) > 2 else "")
        return f"DiscreteVP({self._source}=[{shown}], t_min={self.t_min!r}, t_max={self.t_max!r})"

    @property
    def breaks(self) -> tuple[Fraction, ...]:
        """The inner nodes i/M, where beta jumps and time has a kink as a function of the noise level.

        >>> DiscreteVP([0.1, 0.2, 0.3]).breaks
        (Fraction(1, 3), Fraction(2, 3))
        """
        levels = len(self.parameters[self._source])
        return tuple(Fraction(i, levels) for i in range(1, levels))

    # ------------------------------------------------------------ the table

    def _values(self, variable: str, kind: type, x: Any) -> tuple:
        """(start, slope, node) of the cell that each value falls into."""
        columns = self._columns("torch" if kind is Tensors else "float")
        if variable == "t":
            sought, key = x, columns[2]
        else:  # -ln alpha increases along the table, like the nodes
            code = _minus_log_alpha(variable)
            sought = code.on_torch(x) if kind is Tensors else code.on_float(float(x))
            key = columns[3]
        if kind is Tensors:
            cell = torch.searchsorted(key.to(x.device), sought.detach().contiguous(), right=True) - 1
            return tuple(columns[:3].to(x.device)[:, cell.clamp(0, len(key) - 1)])
        cell = min(max(bisect.bisect_right(key, float(sought)) - 1, 0), len(key) - 1)
        if kind is Floats:
            return tuple(column[cell] for column in columns[:3])
        from mpmath import mp

        return tuple(column[cell] for column in self._columns(mp.prec)[:3])

    def _columns(self, form: str | int) -> Any:
        """The table (start, slope, node, -start) in one form: floats, tensors, or mpmath at a binary precision."""
        if form not in self._cells:
            self._cells[form] = self._tabulated(form)
        return self._cells[form]

    def _tabulated(self, form: str | int) -> Any:
        if form == "torch":
            return torch.tensor(self._columns("float"), dtype=torch.float64)
        if form == "float":  # rounded once, from 100 bits: differences of logarithms lose nothing
            return tuple([float(entry) for entry in column] for column in self._columns(100))
        from mpmath import mp

        entries = [exact_value(entry) for entry in self.parameters[self._source]]
        steps = len(entries)
        with mp.workprec(form + 50):
            if self._source == "betas":
                steps_of_log = (mp.log1p(-mp.mpf(b.numerator) / b.denominator) / 2 for b in entries)
                logs = list(itertools.accumulate(steps_of_log))
            else:
                logs = [mp.log(mp.mpf(a.numerator) / a.denominator) / 2 for a in entries]
            starts = [mp.mpf(0), *logs[:-1]]
            slopes = [(after - before) * steps for before, after in zip(starts, logs, strict=True)]
            return starts, slopes, [mp.mpf(i) / steps for i in range(steps)], [-start for start in starts]


def _checked(name: str, given: Sequence[float]) -> tuple[float, ...]:
    try:
        array = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        array = None
    if array is None or array.ndim != 1:
        raise OdekitError(f"DiscreteVP: {name} must be a list of numbers") from None
    table = tuple(array.tolist())
    if not table:
        raise OdekitError(f"DiscreteVP: {name} is empty")
    above = 1.0
    for i, value in enumerate(table):
        if name == "betas" and not 0.0 < value < 1.0:
            raise OdekitError(f"DiscreteVP: betas[{i}] = {value} must lie strictly between 0 and 1")
        if name == "alphas_cumprod" and not 0.0 < value < above:
            where = "1, the value at t = 0" if i == 0 else f"alphas_cumprod[{i - 1}] = {above}"
            raise OdekitError(f"DiscreteVP: alphas_cumprod[{i}] = {value} must lie strictly between 0 and {where}")
        above = value
    return table


@functools.cache
def _minus_log_alpha(variable: str) -> Any:
    """Code for -ln alpha of a variance-preserving process as a function of an inverse's variable."""
    import sympy

    from .code import compiled
    from .derivation import INVERSES

    x = INVERSES["time_at_" + variable]
    squared = {"logsnr": sympy.exp(-2 * x), "kappa": x**2, "alpha_over_sigma": x**-2}[variable]
    return compiled(sympy.log(1 + squared) / 2, (x,))
