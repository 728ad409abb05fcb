"""The entries of a method file: numbers as text, walked through with their places, parameters put in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from odekit.exceptions import MethodError, OdekitError, unknown
from odekit.methods.tableau import LARGEST, exact, shown

MAX_LIST = 64  # entries of a vector, rows of a matrix
MAX_FLOWS = 1000  # flows of a splitting method: Yoshida's compositions of compositions are long
MAX_PARAMETERS = 20
MAX_PHI = 20

_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,29}")
_RESERVED = re.compile(r"h|z|pi|sqrt|phi\d+")
_PLAIN = re.compile(r"[+-]?\d+(/\d+|\.\d*)?", re.ASCII)
_LETTER = re.compile(r"[A-Z]|M\*")

Data = Mapping[str, Any]
Visit = Callable[[str, Any], str]
Walk = Callable[[str, Any, Visit], Any]
Symbols = Callable[[Data, str], tuple[str, ...]]


def substituted(data: Data, walks: Mapping[str, Walk], symbols: Symbols, values: Data) -> dict[str, Any]:
    """The fields of a file with the parameters put into every entry; one that is unused is refused.

    `walks` tells how to go through the entries of a key, `symbols(data, key)` which names are variables in them.
    """
    numbers, used = parameters(data, values), set()
    fields = {key: value for key, value in data.items() if key != "parameters"}
    for key, walk in walks.items():
        if key in data:
            variables = symbols(data, key)
            if taken := sorted(set(variables) & set(numbers)):
                raise MethodError(f"parameter {taken[0]!r} is a step ratio in this family: choose another name")
            reader = _Reader(variables, numbers, used)
            fields[key] = walk(key, data[key], reader.entry)
    for name in numbers:
        if name not in used:
            raise MethodError(f"parameter {name!r} is used by no entry")
    return fields


def parameters(data: Data, values: Data | None = None) -> dict[str, Any]:
    """The parameters of a file as exact numbers, by name: its defaults, and the given values in their place."""
    declared, values = data.get("parameters", {}), values or {}
    if not isinstance(declared, Mapping):
        raise MethodError(f'parameters must be a table, like c2 = "1/2", got {shown(declared)}')
    if len(declared) > MAX_PARAMETERS:
        raise MethodError(f"{len(declared)} parameters; at most {MAX_PARAMETERS} are read")
    for name in declared:
        if not isinstance(name, str) or not _SYMBOL.fullmatch(name) or _RESERVED.fullmatch(name):
            raise MethodError(f"parameter {shown(name)}: expected a name like c2, other than h, z, pi and phi1")
    for name in values:
        if name not in declared:
            raise unknown("parameter", name, declared)
    return {name: number(f"parameter {name}", value) for name, value in {**declared, **values}.items()}


class _Reader:
    """Reads the entries of one key: `symbols` stay, parameters become their `values`; who is used is remembered."""

    def __init__(self, symbols: tuple[str, ...], values: Mapping[str, Any], used: set[str]):
        self.symbols, self.values, self.used = symbols, values, used

    def entry(self, where: str, value: Any) -> str:
        """The text of an entry with the parameters put in; as it was where it uses none."""
        text = as_text(where, value)
        if _PLAIN.fullmatch(text) or not (self.symbols or self.values):
            number(where, text)
            return text
        from odekit.expressions import parse

        try:
            expression = parse(text, self.symbols, self.values)
        except OdekitError as error:
            raise type(error)(f"{where}: {error}") from None
        for k in re.findall(r"\bphi(\d+)", text):
            if int(k) > MAX_PHI:
                raise MethodError(f"{where}: phi{k}: the index is at most {MAX_PHI}")
        mentioned = set(re.findall(r"[A-Za-z]\w*", text)) & set(self.values)
        self.used |= mentioned
        found = str(expression) if mentioned else text
        if not self.symbols:
            number(where, found)
        return found


def as_text(where: str, value: Any) -> str:
    """An entry as text: text, or a number that TOML gives exactly."""
    if isinstance(value, bool) or not isinstance(value, str | int | Fraction | Decimal):
        raise MethodError(f'{where} must be a number as text, like "1/2", got {shown(value)}')
    if isinstance(value, int) and abs(value) > LARGEST:
        raise MethodError(f"{where} is larger than 1e15, no method's coefficient is")
    return str(value).strip()


def number(where: str, value: Any) -> Any:
    try:
        return exact(as_text(where, repr(value) if isinstance(value, float) else value))
    except OdekitError as error:
        message = str(error)
        raise type(error)(message if message.startswith(where) else f"{where}: {message}") from None


def _list(where: str, values: Any, longest: int = MAX_LIST) -> Sequence:
    if not isinstance(values, list | tuple):
        raise MethodError(f"{where} must be a list, got {shown(values)}")
    if not 0 <= len(values) <= longest:
        raise MethodError(f"{where} has {len(values)} entries; at most {longest} are read")
    return values


def vector(where: str, values: Any, visit: Visit) -> tuple[str, ...]:
    return tuple(visit(f"entry {i} of {where}", value) for i, value in enumerate(_list(where, values), start=1))


def matrix(where: str, rows: Any, visit: Visit) -> tuple[tuple[str, ...], ...]:
    return tuple(vector(f"row {i} of {where}", row, visit) for i, row in enumerate(_list(where, rows), start=1))


def flows(where: str, steps: Any, visit: Visit) -> tuple[tuple[str, str], ...]:
    found = []
    for i, step in enumerate(_list(where, steps, MAX_FLOWS), start=1):
        if not (isinstance(step, list | tuple) and len(step) == 2 and isinstance(step[0], str)):
            raise MethodError(
                f'entry {i} of {where} must be a letter and a number, like ["A", "1/2"], got {shown(step)}'
            )
        if not _LETTER.fullmatch(step[0]):
            raise MethodError(f"entry {i} of {where}: {shown(step[0])} is no flow; expected a capital letter or M*")
        found.append((step[0], visit(f"entry {i} of {where}", step[1])))
    return tuple(found)


def table(where: str, value: Any, visit: Visit) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise MethodError(f"{where} must be a table of vectors and matrices, got {shown(value)}")
    if len(value) > MAX_PARAMETERS:
        raise MethodError(f"{where} has {len(value)} entries; at most {MAX_PARAMETERS} are read")
    return {
        str(name): (matrix if str(name)[:1] in ("A", "B") else vector)(str(name)[:60], rows, visit)
        for name, rows in value.items()
    }
