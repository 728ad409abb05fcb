"""Certificates of one-step methods whose coefficients are matrices, from the series of the step that runs.

Along a step of length h the flow is z' = L z + B z + C N(z, t): B what the method takes by Euler, L all else that is
linear, N what the model answers. A tree is a product of these letters (with x or m behind them, of what moves that
variable alone). The flow has 1/gamma of each in its series, the method its elementary weight Phi, and it is of order p
where they agree for all trees of at most p vertices. With x the tensor product, for some derivative of N stands
between, and the names of `odekit.plan.step_series`, they are read from

    order 1   L, B: a;   N: sum w_j;
    order 2   [r]_q: a;   [N]_q, [t]_C: sum w_j;   [t]_N: sum w_j tau_j;   [q]_N: sum w_j x a_j;   [N]_N: sum w_j x w_jk

on several processes with matrices of no special form: linear equations, more of them than there are weights, and every
weight that is a fraction is told as one. [t]_C is the factor of N that moves, [t]_N the model itself.
Source: Araujo, Murua & Sanz-Serna 1997 (coloured trees); Hochbruck & Ostermann 2010, section 2.4; the equations are
derived here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from odekit.algebra.proof import Proof
from odekit.methods.base import Method
from odekit.plan.step_series import StepSeries, carrier_of, samples

ZERO = 1e-7  # what counts as nothing, and how near to a fraction a weight is that fraction
LIMIT = 2
DENOMINATOR = 100
EACH = 3  # processes for each part that moves by itself: more equations than trees
PART = r"(?<=[A-Z])[xm]"
ALIKE = tuple(map(re.compile, (PART, rf"{PART}(?=\])", rf"{PART}$")))
"""The parts of all letters, of the child, of the root."""

Weight = tuple[Any, Fraction]
"""Phi and 1/gamma."""


class Weights:
    """The weights Phi of some trees of one order: found from `data`, a sum of Phi times what each tree is (its column).

    A tree that is a multiple of others on every sample (as of a B that commutes with L) is told with them: the weight
    of the sum is what must be right. `left`: how much of the data is no sum of these trees.
    """

    def __init__(self, order: int, data: np.ndarray, trees: dict[str, np.ndarray]):
        self.order = order
        names: list[str] = []
        wanted: list[Fraction] = []
        basis = np.zeros((data.size, 0))
        for name, column in ((name, column.ravel()) for name, column in trees.items()):
            size, (shares, rest) = np.linalg.norm(column), _solved(basis, column)
            if size <= ZERO:
                continue
            if np.linalg.norm(rest) > ZERO * size:
                names.append(name)
                wanted.append(Fraction(1, order))
                basis = np.column_stack([basis, column])
                continue
            for i in np.flatnonzero(abs(shares) > ZERO):
                share = _exact(shares[i])
                wanted[i] += share / order
                names[i] += f" + {name}" if share == 1 else f" + {_shown(share)} {name}"
        found, rest = _solved(basis, data.ravel())
        self.left = float(np.linalg.norm(rest) / max(1.0, np.linalg.norm(data)))
        self.trees: dict[str, Weight] = dict(zip(names, zip(map(_exact, found), wanted, strict=True), strict=True))

    @property
    def broken(self) -> dict[str, Weight]:
        """The trees that fail; those of x and of m as one where they are alike."""
        found = {name: pair for name, pair in self.trees.items() if abs(pair[0] - pair[1]) > ZERO}
        for pattern in ALIKE:
            found = _gathered(found, pattern)
        return found

    @property
    def failing(self) -> list[str]:
        """The same in words, and what belongs to no tree."""
        known = [f"{name}: {_shown(phi)}, not {_shown(wanted)}" for name, (phi, wanted) in self.broken.items()]
        return known + [f"{self.left:.2g} of the step is no tree of order {self.order}"] * (self.left > ZERO)


class OperatorCertificate(Proof):
    """What is proved of a one-step method on matrix processes, to order two; see the module.

    >>> from odekit.methods import get
    >>> OperatorCertificate(get("lambda-ddim-2")).failing[:3]
    ('[B]_L: 1, not 1/2', '[L]_B: 0, not 1/2', '[B]_B: 0, not 1/2')
    >>> OperatorCertificate(get("lambda-ddim-2", rate=0.0)).failing
    ('[t]_N: 0, not 1/2', '[L]_N: 0, not 1/2', '[N]_N: 0, not 1/2')
    """

    def __init__(self, method: Method):
        self.method, self.name, self.family = method, method.name, method.family
        self.claimed = method.order.formula
        self.parts = ("x", "m") if getattr(method, "word", "euler") != "euler" else ("",)
        self.carrier = carrier_of(method)

    @cached_property
    def weights(self) -> tuple[Weights, ...]:
        """The elementary weights, equation by equation."""
        known = samples(self.carrier)
        known = known[: EACH * len(self.parts)] if self.carrier == "block" else known
        steps = [StepSeries(self.method, sample, self.parts) for sample in known]

        def over(of: Callable[[StepSeries], Any]) -> np.ndarray:
            return np.array([of(step) for step in steps])

        letters = {name: over(lambda s, n=name: s.letters[n]) for name in steps[0].letters}
        rates = {name: over(lambda s, n=name: s.rates[n]) for name in letters}
        linear, forces = [q for q in letters if q[0] != "N"], [n for n in letters if n[0] == "N"]

        def products(roots: list[str], children: list[str], form: str) -> dict[str, np.ndarray]:
            return {
                f"[{child}]_{root}": np.einsum(form, letters[root], letters[child])
                for root, child in product(roots, children)
            }

        after, beside = "sab,sbc->sac", "sab,scd->sabcd"
        moving = {f"[t]_{q}": rates[q] for q in linear}
        carried = {f"[t]_{n.replace('N', 'C')}": rates[n] for n in forces}
        return (
            Weights(1, over(lambda s: s.at_rest), {}),
            Weights(1, over(lambda s: s.a[1]), {q: letters[q] for q in linear}),
            Weights(1, over(lambda s: s.w[1].sum(0)), {n: letters[n] for n in forces}),
            Weights(2, over(lambda s: s.a[2]), products(linear, linear, after) | moving),
            Weights(2, over(lambda s: s.w[2].sum(0)), products(linear, forces, after) | carried),
            Weights(2, over(lambda s: s.asked_late), {f"[t]_{n}": letters[n] for n in forces}),
            Weights(2, over(lambda s: s.through_a), products(forces, linear, beside)),
            Weights(2, over(lambda s: s.through_w), products(forces, forces, beside)),
        )

    @cached_property
    def order(self) -> int:
        """The order that all trees allow, at most two."""
        return min([LIMIT, *(w.order - 1 for w in self.weights if w.failing)])

    @property
    def _next(self) -> list[Weights]:
        return [w for w in self.weights if w.order == self.order + 1]

    @property
    def failing(self) -> tuple[str, ...]:
        """The trees of the next order that fail; none of a method of order two."""
        return tuple(text for w in self._next for text in w.failing)

    @property
    def errors(self) -> dict[str, Any]:
        """Phi - 1/gamma of these trees."""
        return {name: phi - wanted for w in self._next for name, (phi, wanted) in w.broken.items()}

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        split = "; x, m behind: what moves that variable" if len(self.parts) > 1 else ""
        kind = {"block": "linear SDEs of two channels", "scalar": "VP processes"}[self.carrier]
        rows = [
            ("route", f"the series of the step that runs, tree by tree, read on {kind}"),
            ("letters", f"z' = L z + B z + C N: B taken by Euler, N asked of the model, L the rest; t: time{split}"),
            ("assumed", "smooth coefficients and a smooth model, of which nothing else is known"),
            ("consistency", "yes" if self.order else f"no: {self.failing[0]}"),
            ("order", str(self.order) + (f"; next: {self.failing[0]}" if self.failing else " at least")),
        ]
        if self.failing:
            rows.append((f"what fails at order {self.order + 1}", "; ".join(self.failing)))
            terms = [f"{_shown(gap)} at {name}" for name, gap in self.errors.items()]
            rows.append(("principal error", "; ".join(terms)))
        return rows

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        trees = {name: list(map(_shown, pair)) for w in self.weights for name, pair in w.trees.items()}
        return {"trees": trees, "principal_error": {name: _shown(gap) for name, gap in self.errors.items()}}


def _gathered(found: dict[str, Weight], pattern: re.Pattern) -> dict[str, Weight]:
    """Trees that differ in what the pattern takes out, as one: where there are all of them, and alike."""
    groups: dict[str, list[str]] = {}
    for name in found:
        short, removed = pattern.subn("", name)
        groups.setdefault(short if removed and " + " not in name else name, []).append(name)
    told: dict[str, Weight] = {}
    for short, names in groups.items():
        whole = len(names) == 2 ** pattern.subn("", names[0])[1] and len({found[name] for name in names}) == 1
        told |= {short: found[names[0]]} if whole else {name: found[name] for name in names}
    return told


def _solved(basis: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares coefficients and what they leave."""
    if not basis.shape[1]:
        return np.zeros(0), data
    values = np.linalg.lstsq(basis, data, rcond=None)[0]
    return values, data - basis @ values


def _exact(value: float) -> Fraction | float:
    """The fraction a weight is, where it is one to rounding."""
    near = Fraction(float(value)).limit_denominator(DENOMINATOR)
    return near if abs(float(near) - value) < ZERO else float(value)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Fraction | int) else f"{value:.6g}"
