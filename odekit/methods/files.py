"""Method files: TOML read as data, never evaluated, and the tableaus that come with the package."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from odekit.exceptions import MethodError, OdekitError, unknown
from odekit.methods.tableau import MAX_ORDER, MAX_TEXT, Tableau, check_label, shown

MAX_BYTES = 1_000_000
DATA = Path(__file__).parent / "data"
LATER = ("exponential-runge-kutta", "splitting", "stochastic-runge-kutta")
PREDICTIONS = ("noise", "data", "velocity", "score", "edm", "r-noise", "l-noise")
WEIGHTS = ("interpolating", "lumped")

_TABLEAU = ("name", "order", "source", "c", "A", "b")
_TABLEAU_OPTIONAL = ("b_embedded", "embedded_order", "digits")
_MULTISTEP = ("name", "order")
_MULTISTEP_OPTIONAL = ("source", "prediction", "clock", "weights", "coordinates", "start", "last")


def read_method_file(path: str | os.PathLike) -> Tableau | dict[str, Any]:
    """The method that a TOML file describes: a Tableau for the family "runge-kutta", else its checked fields as a dict.

    Raises OdekitError in one line, with the file's name, for a file that is missing, no regular file, larger than
    1 MB, not UTF-8, not TOML (with the line), or that holds no consistent method. The format is in `method_from`.

    >>> read_method_file(DATA / "rk4.toml").b
    ('1/6', '1/3', '1/3', '1/6')
    """
    name = _named(path)
    text = _text(path, name)
    try:
        # A decimal written without quotes keeps its digits; a float would not.
        data = tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        raise MethodError(f"{name} is nested too deeply for a method file") from None
    except ValueError as error:  # also integers of more digits than python converts
        raise MethodError(f"{name} is not TOML: {' '.join(str(error).split())}") from None
    try:
        return method_from(data)
    except OdekitError as error:
        raise type(error)(f"{name}: {error}") from None


def _named(path: str | os.PathLike) -> str:
    line = repr(os.fspath(path))
    return line if len(line) <= 200 else f"...{line[-197:]}"  # the end tells files apart


def _text(path: str | os.PathLike, name: str) -> str:
    try:
        file = Path(path)
        if file.is_dir():
            raise MethodError(f"{name} is a directory; a method file (TOML) was expected")
        if file.exists() and not file.is_file():  # a pipe would block, a device never end
            raise MethodError(f"{name} is not a regular file; a method file (TOML) was expected")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OdekitError:
        raise
    except FileNotFoundError:
        raise MethodError(f"{name} does not exist; a method file (TOML) was expected") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte or a lone surrogate in the path
        reason = getattr(error, "strerror", None) or error
        raise MethodError(f"{name} cannot be read: {' '.join(str(reason).split())}") from None
    if len(content) > MAX_BYTES:
        raise MethodError(f"{name} is larger than {MAX_BYTES} bytes, a method file is not")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise MethodError(f"{name} is not UTF-8 text (byte {error.start}, line {line})") from None


def method_from(data: Mapping[str, Any]) -> Tableau | dict[str, Any]:
    """The method that a mapping describes, keys and types checked.

    All families have `name`, `family`, `order` (the claim) and `source`. "runge-kutta" adds `c`, `A`, `b`, and may add
    `b_embedded` with `embedded_order`, and `digits`; numbers are text. "multistep" and "exponential-multistep" may
    add `prediction`, `clock`, `weights` ("interpolating" or "lumped"), `coordinates`, `start`, `last`, all text; the
    exponential one needs `prediction` and `clock`. Their dict holds every key, None where the file says nothing.

    Raises OdekitError for a missing, unknown or ill-typed key, naming it and what is near it.
    """
    if not isinstance(data, Mapping):
        raise MethodError(f"a method file holds keys and values, got {shown(data)}")
    if "family" not in data:
        raise MethodError(f"the key 'family' is missing; known families: {', '.join(sorted(_READERS))}")
    family = data["family"]
    if isinstance(family, str) and family in LATER:
        known = ", ".join(sorted(_READERS))
        raise MethodError(f"family {family!r} comes with a later release; known: {known}")
    if not isinstance(family, str):
        raise MethodError(f"family must be text, got {shown(family)}")
    if family not in _READERS:
        raise unknown("family", _line(family), _READERS)
    return _READERS[family](data)


def _tableau(data: Mapping[str, Any]) -> Tableau:
    _check_keys(data, _TABLEAU, _TABLEAU_OPTIONAL)
    return Tableau(**{key: value for key, value in data.items() if key != "family"})


def _multistep(data: Mapping[str, Any], also: tuple[str, ...] = ()) -> dict[str, Any]:
    _check_keys(data, _MULTISTEP + also, _MULTISTEP_OPTIONAL)
    check_label("name", data["name"])
    order = data["order"]
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= MAX_ORDER:
        raise MethodError(f"{data['name']}: order must be an integer from 1 to {MAX_ORDER}, got {shown(order)}")
    for key in _MULTISTEP_OPTIONAL:
        if key == "source" and isinstance(data.get(key, ""), str) and len(data.get(key, "")) <= MAX_TEXT:
            continue
        if key in data:
            check_label(f"{data['name']}: {key}", data[key])
    for key, values in (("prediction", PREDICTIONS), ("weights", WEIGHTS)):
        if key in data and data[key] not in values:
            raise unknown(key, data[key], values)
    return {key: data.get(key) for key in ("family", *_MULTISTEP, *_MULTISTEP_OPTIONAL)}


def _exponential(data: Mapping[str, Any]) -> dict[str, Any]:
    return _multistep(data, also=("prediction", "clock"))


_READERS: dict[str, Callable[[Mapping[str, Any]], Tableau | dict[str, Any]]] = {
    "runge-kutta": _tableau,
    "multistep": _multistep,
    "exponential-multistep": _exponential,
}


def _check_keys(data: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    known = {"family", *required, *optional}
    for key in data:
        if key not in known:
            raise unknown("key", _line(key), known)
    missing = [key for key in required if key not in data]
    if missing:
        raise MethodError(f"the key{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))} missing")


def _line(text: object) -> str:
    return str(text)[:60]


def write_method_file(tableau: Tableau, path: str | os.PathLike) -> None:
    """Write a tableau as a method file; `read_method_file` gives the same tableau back, entry for entry.

    The file appears complete or not at all. Raises MethodError where it cannot be written.
    """
    lines = [f"name = {_quoted(tableau.name)}", f"family = {_quoted(tableau.family)}", f"order = {tableau.order}"]
    lines.append(f"source = {_quoted(tableau.source)}")
    if tableau.digits is not None:
        lines.append(f"digits = {tableau.digits}")
    lines.append(f"c = {_array(tableau.c)}")
    lines += ["A = [", *(f"    {_array(row)}," for row in tableau.A), "]"]
    lines.append(f"b = {_array(tableau.b)}")
    if tableau.b_embedded is not None:
        lines += [f"b_embedded = {_array(tableau.b_embedded)}", f"embedded_order = {tableau.embedded_order}"]
    target = Path(path)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.write_text("\n".join(lines) + "\n", encoding="utf-8")
        scratch.replace(target)
    except (OSError, ValueError) as error:
        scratch.unlink(missing_ok=True)
        raise MethodError(f"{_named(path)} cannot be written: {' '.join(str(error).split())}") from None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one control character JSON leaves


def _array(row: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quoted, row))}]"


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The tableaus that come with the package, by name: the stems of the data files, none of which is read."""
    return tuple(sorted(file.stem for file in DATA.glob("*.toml")))


@cache
def get(name: str) -> Tableau:
    """A tableau of the package, read on first use; raises UnknownNameError with the names near it.

    >>> get("rk4").order
    4
    """
    if name not in names():
        raise unknown("tableau", name, names())
    return read_method_file(DATA / f"{name}.toml")
