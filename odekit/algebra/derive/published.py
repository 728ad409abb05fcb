"""Samplers as their papers and their code print them, transcribed to be compared with what is derived.

A row is x at its own end: a coefficient of x_s and one of each combination of model outputs N0, N1, ... (the newest of
a multistep formula first, N0 that at s). Symbols: alpha and sigma at the step's start (_s) and at the row's end (_t),
h > 0 the step in log-SNR, c2, c3 the nodes of stages, r1, r2 the ratios of earlier steps to h; phi0 is exp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odekit.algebra.derive.comparison import first_difference
from odekit.algebra.derive.derivation import Difference

_DPM = "Lu et al., arXiv:2206.00927"
_PP = "Lu et al., arXiv:2211.01095"
_SYMBOLS = ("alpha_s", "alpha_t", "sigma_s", "sigma_t", "h", "z", "c2", "c3", "r1", "r2", "r3", "B")
_OUTPUTS = ("N0", "N1", "N2", "N3")


@dataclass(frozen=True)
class Row:
    """x at `node` (in units of h): the coefficient of x_s, and (combination of outputs, its coefficient) pairs."""

    node: str
    x: str
    terms: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Published:
    """A formula in print; `prediction` is what the outputs are."""

    name: str
    source: str
    prediction: str
    rows: Sequence[Row]

    def difference(self, derived: Any, **at: str) -> Difference:
        """This beside an exact method of the same prediction, in the combinations that are printed here.

        The first coefficient that differs is named; `at` gives values to symbols of the printed formula.
        """
        import sympy

        values = {sympy.Symbol(name): _parse(value) for name, value in at.items()}
        theirs, ours = [], []
        for row, line in zip(self.rows, _lines(derived), strict=True):
            here = "" if row.node == "1" else f" at {row.node}"
            printed, wanted = self._printed(row, len(line)), _wanted(row, line)
            theirs += [(f"coefficient of {name}{here}", v.subs(values)) for name, v in printed]
            ours += [(name, v.subs(values)) for name, v in wanted]
        return Difference(self.name, self.source, first_difference(theirs, ours))

    def _printed(self, row: Row, count: int) -> list[tuple[str, Any]]:
        """(name, expression in z) of the row's coefficients in x/sigma with g = -N (noise), or x/alpha with g = N."""
        import sympy

        own, sign = ("sigma", 1) if self.prediction == "noise" else ("alpha", -1)
        start, end, h = (sympy.Symbol(name) for name in (f"{own}_s", f"{own}_t", "h"))
        grown = _parse(f"phi0(({row.node})*h)*alpha_s*sigma_t/sigma_s")  # what alpha_t is, h being the step in log-SNR

        def in_z(value: Any) -> Any:
            plain = sympy.expand(value.subs(sympy.Symbol("alpha_t"), grown))
            return plain.subs(h, sign * sympy.Symbol("z"))

        absent = [(name, sympy.Integer(0)) for name in _absent(row, count)]
        terms = [(name, in_z(-sign * _parse(value) / (end * h))) for name, value in row.terms]
        return [("x", in_z(_parse(row.x) * start / end)), *absent, *terms]


def _lines(derived: Any) -> Sequence[Sequence[Any]]:
    """The rows of weights of an exact method, in z: those of the stages and of the step, or the one of a formula."""
    from odekit.algebra.exponential import ExponentialTableau

    if not isinstance(derived, ExponentialTableau):
        return [derived.expressions[1]]
    _, A, b, _ = derived.expressions
    return [*(row[:i] for i, row in enumerate(A) if i), b]


def _absent(row: Row, count: int) -> list[str]:
    used = {str(n) for name, _ in row.terms for n in _parse(name).free_symbols}
    return [n for n in _OUTPUTS[:count] if n not in used]


def _wanted(row: Row, line: Sequence[Any]) -> list[tuple[str, Any]]:
    """The derived row under the names of the printed one: its weights of N0, N1, ... in terms of the combinations."""
    import sympy

    absent = _absent(row, len(line))
    weights = dict(zip(_OUTPUTS, line, strict=False))
    used = [n for n in weights if n not in absent]
    basis = sympy.Matrix([[sympy.diff(_parse(name), sympy.Symbol(n)) for name, _ in row.terms] for n in used])
    values = basis.inv() * sympy.Matrix([weights[n] for n in used])
    start = _parse(f"phi0(({row.node})*z)")
    return [("x", start), *((n, weights[n]) for n in absent), *zip((n for n, _ in row.terms), values, strict=True)]


def _parse(text: Any) -> Any:
    from odekit.expressions import parse

    return parse(text, (*_SYMBOLS, *_OUTPUTS)) if isinstance(text, str) else text


def _stages(noise: bool, second: Mapping[str, str], *middle: Row) -> tuple[Row, ...]:
    """The first stage and the last row, which all methods of a prediction share but for the second term."""
    x, head = ("alpha_t/alpha_s", "-sigma_t*(phi0({})-1)") if noise else ("sigma_t/sigma_s", "-alpha_t*(phi0(-{})-1)")
    first = Row("c2", x, [("N0", head.format("c2*h"))])
    return (first, *middle, Row("1", x, [("N0", head.format("h")), *second.items()]))


def _steps(second: Mapping[str, str]) -> tuple[Row, ...]:
    return _stages(False, second)[-1:]


_SECOND_STAGE = Row(
    "c3", "alpha_t/alpha_s",
    [("N0", "-sigma_t*(phi0(c3*h)-1)"), ("N1-N0", "-sigma_t*c3/c2*((phi0(c3*h)-1)/(c3*h)-1)")],
)  # fmt: skip
_D10, _D11 = "(N0-N1)/r1", "(N1-N2)/r2"

FORMULAS: dict[str, Published] = {
    formula.name: formula
    for formula in (
        Published(
            "ddim", "Song et al., arXiv:2010.02502, (12) with eta = 0", "noise",
            [Row("1", "alpha_t/alpha_s", [("N0", "sigma_t - alpha_t*sigma_s/alpha_s")])],
        ),
        Published(
            "ddim in the data", "Song et al., arXiv:2010.02502, (12) with eta = 0", "data",
            [Row("1", "sigma_t/sigma_s", [("N0", "alpha_t - sigma_t*alpha_s/sigma_s")])],
        ),
        Published(
            "dpm-solver-2", f"{_DPM}, DPM-Solver-2", "noise",
            _stages(True, {"N1-N0": "-sigma_t/(2*c2)*(phi0(h)-1)"}),
        ),
        Published(
            "dpm-solver-2 'taylor'", "code of DPM-Solver, solver_type 'taylor'", "noise",
            _stages(True, {"N1-N0": "-sigma_t/c2*((phi0(h)-1)/h-1)"}),
        ),
        Published(
            "dpm-solver-3", f"{_DPM}, DPM-Solver-3", "noise",
            _stages(True, {"N2-N0": "-sigma_t/c3*((phi0(h)-1)/h-1)"}, _SECOND_STAGE),
        ),
        Published(
            "dpmpp-2s", f"{_PP}, algorithm 1", "data",
            _stages(False, {"N1-N0": "-alpha_t*(phi0(-h)-1)/(2*c2)"}),
        ),
        Published(
            "dpmpp-2s 'taylor'", "code of DPM-Solver, solver_type 'taylor'", "data",
            _stages(False, {"N1-N0": "alpha_t/c2*((phi0(-h)-1)/h+1)"}),
        ),
        Published("dpmpp-2m", f"{_PP}, algorithm 2", "data", _steps({_D10: "-alpha_t/2*(phi0(-h)-1)"})),
        Published(
            "dpmpp-2m 'heun'", "code of DPM-Solver, 'taylor'; diffusers, 'heun'", "data",
            _steps({_D10: "alpha_t*((phi0(-h)-1)/h+1)"}),
        ),
        Published(
            "dpmpp-3m", f"code of DPM-Solver++ ({_PP}), third-order multistep", "data",
            _steps({
                f"{_D10} + r1/(r1+r2)*({_D10}-{_D11})": "alpha_t*((phi0(-h)-1)/h+1)",
                f"({_D10}-{_D11})/(r1+r2)": "-alpha_t*(((phi0(-h)-1)/h+1)/h-1/2)",
            }),
        ),
    )
}  # fmt: skip
"""By name. Where the third output of a stage has no weight of its own its combination is absent."""


def unipc(p: int, corrector: bool, prediction: str, B: str, shortcut: bool = True) -> Published:
    """UniP-p or UniC-p: R a = b with R_jm = r_m^(j-1), b_j = j! h phi_{j+1}(h)/B, and what the step makes of a.

    `B` is "bh1" (h), "bh2" (e^h - 1), or "any": a symbol. With `shortcut` the single difference of UniP-2 and of UniC-1
    has a = 1/2, as in the code. For the data h is -h throughout. Outputs: that at s, then that of the corrector, then
    those before s. Source: Zhao et al., arXiv:2302.04867, algorithms 1 and 2, and theorem 3.1.
    """
    import sympy

    sign = "" if prediction == "noise" else "-"
    own, other = ("sigma", "alpha") if prediction == "noise" else ("alpha", "sigma")
    before = ["-" + "-".join(f"r{i}" for i in range(1, j)) for j in range(2, p + 1)]
    nodes = ["1", *before] if corrector else before
    z, exp = _parse(f"{sign}h"), _parse(f"phi0({sign}h)")
    scale, chosen = _parse("B"), {"bh1": z, "bh2": exp - 1, "any": _parse("B")}[B]
    right, moment = [], (exp - 1) / z - 1  # h phi_{j+1} for j = 1, 2, ...
    for j in range(1, len(nodes) + 1):
        right.append(sympy.factorial(j) * moment / scale)
        moment = moment / z - sympy.Rational(1, sympy.factorial(j + 1))
    if shortcut and len(nodes) == 1:
        a = [sympy.Rational(1, 2)]
    else:
        r = [_parse(x) for x in nodes]
        a = list(sympy.Matrix(len(r), len(r), lambda j, m: r[m] ** j).LUsolve(sympy.Matrix(right))) if r else []
    terms = [("N0", f"-{own}_t*(phi0({sign}h)-1)")]
    for m, (node, value) in enumerate(zip(nodes, a, strict=True), 1):
        terms.append((f"(N{m}-N0)/({node})", -_parse(f"{own}_t") * sympy.expand(scale * value).subs(scale, chosen)))
    name = f"{'unic' if corrector else 'unip'}-{p}" + ("" if B == "any" else f" with {B}")
    row = Row("1", f"{other}_t/{other}_s", terms)
    return Published(name, "Zhao et al., arXiv:2302.04867", prediction, [row])
