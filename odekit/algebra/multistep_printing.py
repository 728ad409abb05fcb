"""Multistep formulas as LaTeX and as Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def latex(alpha: Sequence[Any], beta: Sequence[Any]) -> str:
    """The formula of SymPy coefficients, newest first, for the values y_{n+1}, y_n, y_{n-1}, ..."""
    return f"{_sum(alpha, 'y')} = h \\left({_sum(beta, 'f')}\\right)"


def _sum(coefficients: Sequence[Any], name: str) -> str:
    import sympy

    text = ""
    for j, v in enumerate(coefficients):
        if v != 0:
            shown = sympy.latex(v)
            negative = shown.startswith("-")
            shown = shown.lstrip("- ")
            sign = (" - " if text else "-") if negative else (" + " if text else "")
            bracketed = rf"\left({shown}\right)" if v.is_Add else shown
            factor = "" if shown == "1" else bracketed + " "
            text += f"{sign}{factor}{name}_{{n{f'{1 - j:+d}' if j != 1 else ''}}}"
    return text or "0"


def python(name: str, alpha: Sequence[Any], beta: Sequence[Any]) -> str:
    """Source of a function of the ratios that returns (alpha, beta)."""
    import sympy

    ratios = sorted({str(s) for v in (*alpha, *beta) for s in v.free_symbols}, key=lambda text: (len(text), text))
    lines = [f"def {name.replace('-', '_')}({', '.join(ratios)}):"]
    for part, row in (("alpha", alpha), ("beta", beta)):
        lines.append(f"    {part} = [{', '.join(sympy.pycode(v) for v in row)}]")
    return "\n".join([*lines, "    return alpha, beta"])
