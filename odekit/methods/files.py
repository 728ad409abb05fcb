"""Method files: TOML read as data, never evaluated, and the tableaus that come with the package."""

from __future__ import annotations

import os
import tomllib
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from odekit.exceptions import MethodError, OdekitError, unknown
from odekit.methods.families import method_from
from odekit.methods.tableau import Tableau
from odekit.methods.writing import as_toml, data_of, named, write_method_file

__all__ = ["as_toml", "data_from", "data_of", "get", "method_from", "names", "read_method_file", "write_method_file"]

MAX_BYTES = 1_000_000
DATA = Path(__file__).parent / "data"


def read_method_file(path: str | os.PathLike, **values: Any) -> Any:
    """The method that a TOML file describes, as the exact object of its family; `values` replace parameters' defaults.

    Raises OdekitError in one line, with the file's name, for a file that is missing, no regular file, larger than
    1 MB, not UTF-8, not TOML (with the line), or that holds no consistent method. The format is in `method_from`.

    >>> read_method_file(DATA / "rk4.toml").b
    ('1/6', '1/3', '1/3', '1/6')
    """
    return _method(path, data_from(path), values)


def read_with_options(path: str | os.PathLike, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The method of a file, and what of the options is left for the method that runs.

    Options that are parameters of the file are put in; a `start` that the file states is added where none is given.
    """
    data = data_from(path)
    declared = data.get("parameters")
    values = {key: value for key, value in options.items() if isinstance(declared, dict) and key in declared}
    method = _method(path, data, values)
    rest = {key: value for key, value in options.items() if key not in values}
    if "start" in data and not isinstance(method, dict):  # the fields of an Adams formula hold theirs
        rest = {"start": data["start"], **rest}
    return method, rest


def _method(path: str | os.PathLike, data: dict[str, Any], values: dict[str, Any]) -> Any:
    try:
        return method_from(data, **values)
    except OdekitError as error:
        raise type(error)(f"{named(path)}: {error}") from None


def data_from(path: str | os.PathLike) -> dict[str, Any]:
    """The mapping that a TOML file holds, whatever its keys are."""
    name = named(path)
    text = _text(path, name)
    try:
        # A decimal written without quotes keeps its digits; a float would not.
        return tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        raise MethodError(f"{name} is nested too deeply for a method file") from None
    except ValueError as error:  # also integers of more digits than python converts
        raise MethodError(f"{name} is not TOML: {' '.join(str(error).split())}") from None


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
