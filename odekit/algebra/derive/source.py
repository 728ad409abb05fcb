"""Derived methods as text: LaTeX, and Python that runs without odekit."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from importlib import import_module
from typing import Any

LARGEST = 2**53  # integers below it are floats, so that the quotient of two is rounded once

_WRITERS = {
    "runge-kutta": ("source_classical", "runge_kutta"),
    "multistep": ("source_classical", "multistep"),
    "splitting": ("source_classical", "splitting"),
    "exponential-runge-kutta": ("source_exponential", "runge_kutta"),
    "exponential-multistep": ("source_exponential", "multistep"),
    "adams": ("source_adams", "adams"),
    "stochastic-runge-kutta": ("source_stochastic", "stochastic"),
    "non-stationary": ("source_nonstationary", "non_stationary"),
}


def python(data: Mapping[str, Any]) -> str:
    """Python source of the method that a method file's mapping describes; it runs without odekit.

    A module with one function to call: `integrate(f, t, x)` for classical methods, f(x, t) and the times t in the order
    they are run through; `sample(model, x, times, alpha, sigma, ...)` for those on the probability flow;
    `integrate(flows, t, x)` for splittings, with flow(x, h) by letter; `integrate(drift, diffusion, t, x, ...)` for
    stochastic methods. Explicit ones take numbers, NumPy arrays and torch tensors. Free parameters are at their
    defaults. Raises OdekitError for a mapping that is no method, and for the few that no source is written for.

    >>> source = python({"name": "euler", "family": "runge-kutta", "order": 1, "source": "Euler 1768",
    ...                  "c": ["0"], "A": [[]], "b": ["1"]})
    >>> names = {}
    >>> exec(source, names)
    >>> names["integrate"](lambda x, t: 2 * t, [0.0, 1.0, 2.0], 1.0)
    3.0
    """
    from odekit.methods.families import form_of, method_from
    from odekit.methods.reading import substituted

    method_from(data)  # refuses what is no method
    form = form_of(data)
    fields = substituted(data, form.entries, form.symbols, {})
    kind = data["family"] if form.entries else "adams"
    module, name = _WRITERS[kind]
    imports, doc, body = getattr(import_module(f"odekit.algebra.derive.{module}"), name)(fields)
    gap = "\n" if body.lstrip().startswith(("def", "#")) else ""
    text = "\n\n".join([_docstring(data, doc), *([f"{imports}{gap}"] if imports else []), body.strip()]) + "\n"
    ast.parse(text)
    return text


def latex(data: Mapping[str, Any]) -> str:
    """The coefficients of the method that a method file's mapping describes, as LaTeX; free parameters stay symbols.

    >>> lie = {"name": "lie", "family": "splitting", "order": 1, "source": "", "steps": [["A", "1"], ["B", "1"]]}
    >>> print(latex(lie))
    \\Phi_h = \\varphi^{B}_{h} \\circ \\varphi^{A}_{h}
    """
    from odekit.algebra.derive import source_latex

    return source_latex.latex(data)


def _docstring(data: Mapping[str, Any], doc: str) -> str:
    order = f" of order {data['order']}" if "order" in data else ""
    lines = [f"{data['name']}: a method{order} ({data['family']}).", ""]
    lines += textwrap.wrap(doc, 100)
    if parameters := data.get("parameters"):
        lines += ["", f"At {', '.join(f'{name} = {value}' for name, value in parameters.items())}."]
    if data.get("source"):
        lines += ["", *textwrap.wrap(f"Source: {data['source']}", 100)]
    lines += ["", "Written by odekit; runs without it."]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    return f'"""{text}\n"""'


# Numbers and expressions as Python.


def literal(text: Any) -> str:
    """An exact number as a Python expression that float64 rounds once.

    >>> literal("1/3"), literal("sqrt(2)"), literal("4/2")
    ('1 / 3', '1.4142135623730951', '2')
    """
    from odekit.expressions import FLOAT64
    from odekit.methods.tableau import exact

    number = exact(str(text))
    if isinstance(number, Fraction) and max(abs(number.numerator), number.denominator) < LARGEST:
        return f"{number.numerator} / {number.denominator}" if number.denominator > 1 else str(number.numerator)
    return repr(FLOAT64.number(number))


def listed(entries: Sequence[str], indent: int = 0) -> str:
    """Entries as a Python list: on one line where they fit, else on one each."""
    line = f"[{', '.join(entries)}]"
    if len(line) + indent <= 100:
        return line
    inner = "".join(f"{' ' * (indent + 4)}{entry},\n" for entry in entries)
    return f"[\n{inner}{' ' * indent}]"


def literals(row: Sequence[Any]) -> str:
    """A row of exact numbers as a Python list."""
    return listed([*map(literal, row)])


def matrix(rows: Sequence[Sequence[Any]], written: Callable[[Any], str] = literal, indent: int = 0) -> str:
    """Rows of entries as a Python list of lists, a row a line where it fits."""
    inner = "".join(f"{' ' * (indent + 4)}{listed([*map(written, row)], indent + 4)},\n" for row in rows)
    return f"[\n{inner}{' ' * indent}]"


def expression(text: str) -> str:
    """An entry in variables as Python, phi1(z) as phi(1, z).

    >>> expression("(1+1/(2*r1))*phi1(-h)")
    '(1 + 1 / (2 * r1)) * phi(1, -h)'
    """
    return ast.unparse(ast.parse(re.sub(r"\bphi(\d+)\(", r"phi(\1, ", text).strip(), mode="eval"))


def imports_of(body: str, *modules: str) -> str:
    """The import lines a body needs: math with the functions it names, and the modules given."""
    names = [name for name in ("pi", "sqrt") if re.search(rf"(?<![\w.]){name}\b", body)]
    lines = ["import math"] if "math." in body else []
    lines += [f"from math import {', '.join(names)}"] if names else []
    return "\n".join([*lines, *(["", *modules] if lines and modules else modules)])


def filled(template: str, **parts: str) -> str:
    """A template with its <names> replaced."""
    for name, text in parts.items():
        template = template.replace(f"<{name}>", text)
    return template.strip("\n")
