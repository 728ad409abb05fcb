"""Exponential multistep methods from their coefficients: weights as exact expressions in h and the step ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.exceptions import MethodError
from odekit.fields.coordinates import Coordinates, Instant
from odekit.methods.adams import Adams
from odekit.methods.entries import compiled
from odekit.methods.exponential import FORMS, forcing, form_of, logsnr_step


class ExponentialFormula(Adams):
    """An explicit formula on x/sigma (``prediction="noise"``) or x/alpha ("data"), in the log-SNR, on any grid.

    Its nodes are the grid's, newest first; a formula in h > 0 brings its own prediction, one in z = hA runs on either.
    ``start``, ``last``: as for `Adams`; where the start rises through fewer points, ``opening`` may hold the formulas
    for them, by their number, instead of exponential Adams formulas.
    Source: Hochbruck & Ostermann 2011 (BIT 51); Lu et al. 2022 (arXiv 2211.01095), Algorithm 2.
    Raises MethodError for a formula that is implicit or has other nodes or parameters.

    >>> from odekit.algebra import exponential_methods
    >>> ExponentialFormula(exponential_methods.get("dpmpp-2m")).order
    Claim(formula=2, method=2)
    """

    def __init__(
        self,
        formula: ExponentialMultistep,
        prediction: str | None = None,
        start: str = "rising",
        last: str = "full",
        starter: Any = None,
        opening: Mapping[int, ExponentialMultistep] | None = None,
    ):
        chosen = form_of(formula, prediction)
        self.formulas = {len(formula.nodes): formula, **(opening or {})}
        for one in self.formulas.values():
            _check(one)
        # Exponential Euler's weight is the exact total, which is finite where sigma = 0 as well: Adams has it.
        self.formulas = {k: one for k, one in self.formulas.items() if not _is_euler(one)}
        super().__init__(
            len(formula.nodes), chosen, "logsnr", start=start, last=last, formula=formula.order,
            name=formula.name, source=formula.source, starter=starter,
        )  # fmt: skip

    def weights(self, f: Coordinates, to: Instant, at: Instant, nodes: tuple) -> list:
        formula = self.formulas.get(len(nodes))
        return formula_weights(f, to, at, nodes, formula) if formula else super().weights(f, to, at, nodes)

    def key(self) -> dict:
        formulas = {
            str(k): {"nodes": m.nodes, "weights": m.weights, "variable": "z" if m.prediction is None else "h"}
            for k, m in self.formulas.items()
        }
        return {**super().key(), "formulas": formulas}


def formula_weights(f: Coordinates, to: Instant, at: Instant, nodes: tuple, formula: ExponentialMultistep) -> list:
    """What a formula's weights are for the step from ``at`` to ``to``, on N at ``nodes``; they lie in its own order."""
    h = logsnr_step(f, to, at)
    past = [n for n in nodes if n is not to]
    ratios = [logsnr_step(f, b, a) / h for b, a in zip(past[:-1], past[1:], strict=True)]
    scale = forcing(f, to, h)
    return [scale * w for w in _program(formula)(f.numbers, FORMS[f.prediction.name][1] * h, *ratios)]


def _ratios(formula: ExponentialMultistep) -> tuple[str, ...]:
    """The names of its step ratios; a node ahead of the step has none."""
    return tuple(f"r{j}" for j in range(1, len(formula.nodes) - formula.nodes.count("1")))


def _check(formula: ExponentialMultistep) -> None:
    """Refuse nodes that are not 0, -r1, -r1-r2, ..., and parameters that are no step ratios."""
    import sympy

    symbols, nodes = sympy.symbols(_ratios(formula)), formula.expressions[0]
    for j, node in enumerate(nodes):
        if sympy.expand(node + sum(symbols[:j])) != 0:
            expected = ", ".join(str(-sum(symbols[:i])) for i in range(len(nodes)))
            raise MethodError(f"{formula.name}: nodes {', '.join(formula.nodes)}; expected {expected}, the grid's own")
    free = sorted(set(formula.parameters) - set(_ratios(formula)))
    if free:
        raise MethodError(f"{formula.name} has the free parameters {', '.join(free)}: give each one a value")


def _is_euler(formula: ExponentialMultistep) -> bool:
    return [str(weight) for weight in formula.expressions[1]] == ["phi1(z)"]


@lru_cache(maxsize=64)
def _program(formula: ExponentialMultistep) -> Callable[..., list]:
    return compiled(formula.expressions[1], ("z", *_ratios(formula)))
