"""Method files as LaTeX, their free parameters as symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_DECIMAL = re.compile(r"[+-]?\d*\.\d+")

Read = Callable[[str], Any]


def latex(data: Mapping[str, Any]) -> str:
    """The coefficients that a method file's mapping holds, as its family is printed in the literature."""
    from sympy import Symbol

    from odekit.expressions import parse
    from odekit.methods.families import form_of, method_from
    from odekit.methods.reading import parameters

    method_from(data)  # refuses what is no method
    form, names = form_of(data), tuple(parameters(data))

    def read(key: str) -> Read:
        symbols = (*form.symbols(data, key), *names)

        def entry(text: Any) -> Any:
            text = str(text).strip()
            if not _DECIMAL.fullmatch(text):
                return parse(text, symbols)
            return Symbol(text.lstrip("+-")) * (-1 if text.startswith("-") else 1)  # as it is printed

        return entry

    return (_WRITERS[data["family"]] if form.entries else _adams)(data, read)


def _written(expression: Any) -> str:
    from odekit.algebra.exponential import latex as written

    return written(expression)


def _array(rows: Sequence[Sequence[str]], columns: str) -> str:
    lines = [" & ".join(row) for row in rows]
    body = " \\\\\n".join(lines).replace("\\hline & ", "\\hline\n & ")  # a line of its own in the source
    return f"\\begin{{array}}{{{columns}}}\n{body}\n\\end{{array}}"


def _tableau(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    s, rows = len(data["b"]), []
    for i, (c, row) in enumerate(zip(data["c"], data["A"], strict=True)):
        cells = ["" if str(a) == "0" and j >= i else _written(read("A")(a)) for j, a in enumerate(row)]
        rows.append([_written(read("c")(c)), *cells, *[""] * (s - len(row))])
    rows.append(["\\hline", *(_written(read("b")(b)) for b in data["b"])])
    if data.get("b_embedded"):
        rows.append(["", *(_written(read("b")(b)) for b in data["b_embedded"])])
    return _array(rows, f"c|{'c' * s}")


def _multistep(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    def side(key: str, name: str) -> str:
        return _sum(map(read(key), data[key]), [_at(name, 1 - j) for j in range(len(data[key]))])

    return f"{side('alpha', 'y')} = h \\left({side('beta', 'f')}\\right)"


def _at(name: str, j: int) -> str:
    return f"{name}_{{n{f'{j:+d}' if j else ''}}}"


def _sum(weights: Iterable[Any], terms: Sequence[str]) -> str:
    text = ""
    for weight, term in zip(weights, terms, strict=True):
        if weight == 0:
            continue
        negative = not weight.is_Add and weight.could_extract_minus_sign()
        size = _written(-weight if negative else weight)
        factor = "" if size == "1" else f"\\left({size}\\right) " if weight.is_Add else f"{size} "
        sign = (" - " if text else "-") if negative else (" + " if text else "")
        text += f"{sign}{factor}{term}"
    return text or "0"


def _exponential_multistep(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    terms = [_at("N", -j) if str(node) != "1" else _at("N", 1) for j, node in enumerate(data["nodes"])]
    total = _sum(map(read("weights"), data["weights"]), terms)
    flow = {
        "noise": "x_{n+1} = \\frac{\\alpha_{n+1}}{\\alpha_n} x_n - \\sigma_{n+1} h",
        "data": "x_{n+1} = \\frac{\\sigma_{n+1}}{\\sigma_n} x_n + \\alpha_{n+1} h",
    }
    start = flow.get(data.get("prediction"), "u_{n+1} = e^{z} u_n + h")
    return f"{start} \\left({total}\\right)"


def _splitting(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    def composed(key: str) -> str:
        flows = []
        for letter, value in data[key]:
            share = read(key)(value)
            size = _sum([share], ["h"])
            name = {"M": "\\Phi", "M*": "\\Phi^{*}", "S": "\\Phi"}.get(letter, f"\\varphi^{{{letter}}}")
            flows.append(f"{name}_{{{size}}}")
        return " \\circ ".join(reversed(flows))  # the first flow stands on the right

    name = "\\Psi" if data["steps"][0][0] in ("M", "M*", "S") else "\\Phi"
    return f"{name}_h = {composed('steps')}" + (
        f", \\quad \\pi_h = {composed('processor')}" if "processor" in data else ""
    )


def _stochastic(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    table, parts = data["coefficients"], []
    s = len(table["alpha"])
    for name, value in table.items():
        letter = {"a": "\\alpha", "b": "\\beta"}.get(name[0], name[0])
        label = f"{letter}^{{({name[-1]})}}" if name != "alpha" else "\\alpha^T"
        rows = [[*row, *["0"] * (s - len(row))] for row in value] if name[0] in "AB" else [value]
        rows += [["0"] * s] * (s - len(rows)) if name[0] in "AB" else []
        body = " \\\\\n".join(" & ".join(_written(read("coefficients")(v)) for v in row) for row in rows)
        parts.append(f"{label} = \\begin{{pmatrix}}\n{body}\n\\end{{pmatrix}}")
    return ", \\quad\n".join(parts)


def _adams(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    """The formula by its definition: its weights depend on the grid."""
    order, clock = data["order"], _CLOCKS.get(data.get("clock") or "t", "c")
    names = {"noise": ("\\alpha", "\\frac{\\sigma}{\\alpha}"), "data": ("\\sigma", "\\frac{\\alpha}{\\sigma}")}
    scale, tau = names.get(data.get("prediction"), ("", "t"))
    basis = f"\\prod_{{i \\ne j}} \\frac{{{clock} - {clock}_{{n-i}}}}{{{clock}_{{n-j}} - {clock}_{{n-i}}}}"
    if data.get("weights") == "lumped":
        over = f"\\int_{{{clock}_n}}^{{{clock}_{{n+1}}}} {basis}\\, d{clock}"
        weight = f"w_j = \\frac{{\\Delta \\tau}}{{\\Delta {clock}}} {over}"
    else:
        weight = f"w_j = \\int_{{\\tau_n}}^{{\\tau_{{n+1}}}} {basis}\\, d\\tau"
    scaled = f"\\frac{{x_n}}{{{scale}_n}}" if scale else "x_n"
    bracket = f"\\left({scaled} + \\sum_{{j=0}}^{{{order - 1}}} w_j N_{{n-j}}\\right)"
    return f"x_{{n+1}} = {f'{scale}_{{n+1}} ' if scale else ''}{bracket}, \\quad {weight}, \\quad \\tau = {tau}"


_CLOCKS = {"t": "t", "logsnr": "\\lambda", "kappa": "\\kappa", "alpha_over_sigma": "\\rho", "index": "n"}


def _non_stationary(data: Mapping[str, Any], read: Callable[[str], Read]) -> str:
    """The step, and its weights as a matrix of six digits."""
    rows = [[f"{float(w):.6g}" for w in row] for row in data["weights"]]
    step = r"x_{i+1} = \Psi(t_{i+1}, t_i)\, x_i + \sum_{j \le i} w_{ij} N_j"
    return f"{step}, \\qquad w = \\left({_array(rows, 'r' * len(rows))}\\right)"


_WRITERS = {
    "runge-kutta": _tableau,
    "exponential-runge-kutta": _tableau,
    "multistep": _multistep,
    "exponential-multistep": _exponential_multistep,
    "splitting": _splitting,
    "stochastic-runge-kutta": _stochastic,
    "non-stationary": _non_stationary,
}
