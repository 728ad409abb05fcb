"""Stochastic Runge-Kutta methods as data: Roessler's, and Debrabant and Roessler's, with exact coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from odekit.algebra.splitting import exact_number
from odekit.exceptions import unknown


@dataclass(frozen=True)
class StochasticTable:
    """The coefficients of a stochastic Runge-Kutta method: exact numbers by name, vectors and matrices."""

    name: str
    family: str
    coefficients: Mapping[str, Any]
    order: Fraction
    source: str = ""

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.coefficients["alpha"])

    def changed(self, name: str, value: Any, *place: int) -> StochasticTable:
        """The same table with one entry changed."""
        given = dict(self.coefficients)
        rows = [list(row) if isinstance(row, Sequence) else row for row in given[name]]
        if len(place) == 1:
            rows[place[0]] = exact_number(value)
        else:
            rows[place[0]][place[1]] = exact_number(value)
        given[name] = tuple(tuple(row) if isinstance(row, list) else row for row in rows)
        return StochasticTable(f"{self.name}, changed", self.family, given, self.order)


ROESSLER_2010 = "Roessler 2010 (SIAM J. Numer. Anal. 48, 922-952)"
ROESSLER_2009 = "Roessler 2009 (SIAM J. Numer. Anal. 47, 1713-1738)"
ROESSLER_2007 = "Roessler 2007 (BIT 47, 657-680)"
DEBRABANT = "Debrabant, Roessler 2009 (Appl. Numer. Math. 59, 582-594)"

_SRI = {
    "A1": "; 1/4; 1; 0 0 1/4",
    "beta1": "-1 4/3 2/3 0",
    "beta3": "2 -4/3 -2/3 0",
    "beta4": "-2 5/3 -2/3 1",
}
_RI = {"A2": "", "B2": "; 1; -1", "beta4": "0 1/2 -1/2"}
_RI1 = _RI | {"A1": "; 1; 1", "B1": "; 1; -1", "beta1": "1/2 1/4 1/4", "beta2": "0 1/2 -1/2", "beta3": "-1/2 1/4 1/4"}
_RDI = {
    "A1": "; 2/3; 2/3",
    "A2": "",
    "B1": "; sqrt(2/3); -sqrt(2/3)",
    "B2": "; sqrt(2); -sqrt(2)",
    "beta1": "1/4 3/8 3/8",
    "beta2": "0 sqrt(6)/4 -sqrt(6)/4",
    "beta3": "-1/4 1/8 1/8",
    "beta4": "0 sqrt(2)/4 -sqrt(2)/4",
}
_SIX = ("(6-sqrt(6))/10", "(3+2*sqrt(6))/5")
_RS = {
    "A1": "; ; 1; 1",
    "A2": "",
    "B0": "; ; 1/4 3/4; ",
    "B1": "; 2/3; 1/12 1/4; -5/4 1/4 2",
    "B2": "; 1; -1; ",
    "B3": "; ; 1/4 3/4; 1/4 3/4",
    "beta1": "1/8 3/8 3/8 1/8",
    "beta2": "0 -1/4 1/4 0",
}
_P, _Q = "491/513*sqrt(221/4955)", "214/513*sqrt(1105/991)"

# name: (family, order, source, coefficients); a matrix is its rows from the left, zeros left out at their ends.
_TABLES: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "sra1": (
        *("SRA", "3/2", ROESSLER_2010),
        {"A0": "; 3/4", "B0": "; 3/2", "c1": "1 0", "alpha": "1/3 2/3", "beta1": "1 0", "beta2": "-1 1"},
    ),
    "sra2": (
        *("SRA", "3/2", ROESSLER_2010),
        {"A0": "; 3/4", "B0": "; 3/2", "c1": "1/3 1", "alpha": "1/3 2/3", "beta1": "0 1", "beta2": "3/2 -3/2"},
    ),
    "sra3": (
        *("SRA", "3/2", ROESSLER_2010),
        {
            "A0": "; 1; 1/4 1/4",
            "B0": "; ; 1 1/2",
            "c1": "1 0 0",
            "alpha": "1/6 1/6 2/3",
            "beta1": "1 0 0",
            "beta2": "-1 1 0",
        },
    ),
    "sriw1": (
        *("SRI", "3/2", ROESSLER_2010),
        _SRI
        | {
            "A0": "; 3/4; ; ",
            "B0": "; 3/2; ; ",
            "B1": "; 1/2; -1; -5 3 1/2",
            "alpha": "1/3 2/3 0 0",
            "beta2": "-1 4/3 -1/3 0",
        },
    ),
    "sriw2": (
        *("SRI", "3/2", ROESSLER_2010),
        _SRI
        | {
            "A0": "; 1; 1/4 1/4; ",
            "B0": "; ; 1 1/2; ",
            "B1": "; -1/2; 1; 2 -1 1/2",
            "alpha": "1/6 1/6 2/3 0",
            "beta2": "1 -4/3 1/3 0",
        },
    ),
    "ri1": (*("RI", "2", ROESSLER_2009), _RI1 | {"A0": "; 2/3; -1/3 1", "B0": "; 1; ", "alpha": "1/4 1/2 1/4"}),
    "ri3": (
        *("RI", "2", ROESSLER_2009),
        _RI1 | {"A0": "; 1; 1/4 1/4", "B0": "; (3-2*sqrt(6))/5; (6+sqrt(6))/10", "alpha": "1/6 1/6 2/3"},
    ),
    "ri5": (
        *("RI", "2", ROESSLER_2009),
        _RI
        | {
            "A0": "; 1; 25/144 35/144",
            "A1": "; 1/4; 1/4",
            "B0": "; 1/3; -5/6",
            "B1": "; 1/2; -1/2",
            "alpha": "1/10 3/14 24/35",
            "beta1": "1 -1 -1",
            "beta2": "0 1 -1",
            "beta3": "1/2 -1/4 -1/4",
        },
    ),
    "ri6": (*("RI", "2", ROESSLER_2009), _RI1 | {"A0": "; 1; ", "B0": "; 1; ", "alpha": "1/2 1/2 0"}),
    "dri1": (
        *("RI", "2", DEBRABANT),
        {
            "A0": "; 1/2; -1 2",
            "A1": "; 342/491; 342/491",
            "A2": "",
            "B0": f"; {_SIX[0]}; {_SIX[1]}",
            "B1": "; 3*sqrt(38/491); -3*sqrt(38/491)",
            "B2": f"; -{_Q} -{_P} -{_P}; {_Q} {_P} {_P}",
            "alpha": "1/6 2/3 1/6",
            "beta1": "193/684 491/1368 491/1368",
            "beta2": "0 1/6*sqrt(491/38) -1/6*sqrt(491/38)",
            "beta3": "-4955/7072 4955/14144 4955/14144",
            "beta4": "0 -1/8*sqrt(4955/221) 1/8*sqrt(4955/221)",
        },
    ),
    "rdi1wm": (
        *("RI", "1", DEBRABANT),
        {
            **dict.fromkeys(("A1", "A2", "B1", "B2"), ""),
            "A0": "; 2/3",
            "B0": "; 2/3",
            "alpha": "1/4 3/4",
            "beta1": "1 0",
            **dict.fromkeys(("beta2", "beta3", "beta4"), "0 0"),
        },
    ),
    "rdi2wm": (*("RI", "2", DEBRABANT), _RDI | {"A0": "; 1; ", "B0": "; 1; ", "alpha": "1/2 1/2 0"}),
    "rdi3wm": (
        *("RI", "2", DEBRABANT),
        _RDI | {"A0": "; 1/2; 0 3/4", "B0": "; (9-2*sqrt(15))/14; (18+3*sqrt(15))/28", "alpha": "2/9 1/3 4/9"},
    ),
    "rdi4wm": (
        *("RI", "2", DEBRABANT),
        _RDI | {"A0": "; 1/2; -1 2", "B0": f"; {_SIX[0]}; {_SIX[1]}", "alpha": "1/6 2/3 1/6"},
    ),
    "rs1": (*("RS", "2", ROESSLER_2007), _RS | {"A0": "; ; 1; ", "alpha": "0 0 1/2 1/2"}),
    "rs2": (*("RS", "2", ROESSLER_2007), _RS | {"A0": "; 2/3; 1/6 1/2; ", "alpha": "1/4 1/4 1/2 0"}),
}


def names() -> tuple[str, ...]:
    """The known tables, by name."""
    return tuple(sorted(_TABLES))


@cache
def get(name: str) -> StochasticTable:
    """A table with exact coefficients; raises UnknownNameError with the names near it.

    >>> get("sra1").coefficients["A0"]
    ((Fraction(0, 1), Fraction(0, 1)), (Fraction(3, 4), Fraction(0, 1)))
    """
    if name not in _TABLES:
        raise unknown("stochastic Runge-Kutta method", name, _TABLES)
    family, order, source, texts = _TABLES[name]
    s = len(texts["alpha"].split())
    coefficients = {}
    for key, text in texts.items():
        if key[0] in "AB":
            rows = [row.split() for row in text.split(";")] if text else []
            rows += [[]] * (s - len(rows))
            coefficients[key] = tuple(tuple(map(exact_number, [*row, *["0"] * (s - len(row))])) for row in rows)
        else:
            coefficients[key] = tuple(map(exact_number, text.split()))
    return StochasticTable(name, family, coefficients, Fraction(order), source)
