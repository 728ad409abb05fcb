"""Method files written: the mapping of an exact method, and mappings as TOML."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from odekit.exceptions import MethodError
from odekit.methods.families import form_of
from odekit.methods.tableau import shown


def data_of(method: Any) -> dict[str, Any]:
    """The mapping that a method file of an exact method holds; `method_from` gives the method back.

    `method` is a Tableau, Multistep, ExponentialTableau, ExponentialMultistep, Splitting, Processed or StochasticTable,
    or the fields of an Adams formula. Raises MethodError for what no file can hold.

    >>> from odekit.methods.files import get
    >>> data_of(get("heun2"))["b"]
    ['1/2', '1/2']
    """
    if isinstance(method, Mapping):
        fields = dict(method)
    else:
        describe = _DESCRIPTIONS.get(type(method).__name__)
        if describe is None:
            known = ", ".join(sorted(_DESCRIPTIONS))
            raise MethodError(f"a {type(method).__name__} makes no method file; expected a mapping, or one of {known}")
        fields = describe(method)
    return {key: value for key, value in fields.items() if value is not None}


def as_toml(method: Any) -> str:
    """The text of a method file for a mapping, or for an exact method; `method_from` reads it back entry for entry.

    Raises MethodError for what no file can hold.

    >>> print(as_toml({"name": "mine", "family": "splitting", "order": 1, "source": "", "steps": [["A", "1"]]}), end="")
    name = "mine"
    family = "splitting"
    order = 1
    source = ""
    steps = [
        ["A", "1"],
    ]
    """
    data = data_of(method)
    form = form_of(data)
    form.check_keys(data)
    order = ["name", "family", *form.keys[1:]]
    lines = [f"{key} = {_value(key, data[key])}" for key in order if key in data and not isinstance(data[key], Mapping)]
    for key in ("parameters", *order):
        if key in data and isinstance(data[key], Mapping) and data[key]:
            lines += ["", f"[{key}]", *(f"{_key(name)} = {_value(name, value)}" for name, value in data[key].items())]
    return "\n".join(lines) + "\n"


def write_method_file(method: Any, path: str | os.PathLike) -> None:
    """Write a method as a file; `read_method_file` gives the same method back, entry for entry.

    The file appears complete or not at all. Raises MethodError where it cannot be written.
    """
    text, target = as_toml(method), Path(path)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
    except (OSError, ValueError) as error:
        scratch.unlink(missing_ok=True)
        raise MethodError(f"{named(path)} cannot be written: {' '.join(str(error).split())}") from None


def named(path: str | os.PathLike) -> str:
    """A path on a short line, for a message; the end tells files apart."""
    line = repr(os.fspath(path))
    return line if len(line) <= 200 else f"...{line[-197:]}"


def _value(key: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str() | Fraction() | Decimal():
            return _quoted(str(value))
        case list() | tuple():
            inner = [_value(key, one) for one in value]
            if any(isinstance(one, list | tuple) for one in value):
                return "\n".join(["[", *(f"    {one}," for one in inner), "]"])
            return f"[{', '.join(inner)}]"
    raise MethodError(f"{key}: {shown(value)} cannot be written; numbers are exact text in a method file")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one control character JSON leaves


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else _quoted(name)


# The mappings of exact methods.


def _tableau(t: Any) -> dict[str, Any]:
    return {
        **_head(t),
        "digits": t.digits,
        "c": list(t.c),
        "A": [list(row) for row in t.A],
        "b": list(t.b),
        "b_embedded": None if t.b_embedded is None else list(t.b_embedded),
        "embedded_order": t.embedded_order,
    }


def _exponential(t: Any) -> dict[str, Any]:
    if t.parameters:
        raise MethodError(f"{t.name} has free parameters, {', '.join(t.parameters)}: substitute numbers for them first")
    A = [list(row[:i]) if all(v == "0" for v in row[i:]) else list(row) for i, row in enumerate(t.A)]
    embedded = None if t.b_embedded is None else list(t.b_embedded)
    parts = {"c": list(t.c), "A": A, "b": list(t.b), "b_embedded": embedded, "embedded_order": t.embedded_order}
    return {**_head(t), "stiff_order": t.stiff_order, "prediction": t.prediction, **parts}


def _exponential_multistep(t: Any) -> dict[str, Any]:
    known = {f"r{j}" for j in range(1, len(t.nodes))}
    if extra := sorted(set(t.parameters) - known):
        raise MethodError(f"{t.name} has free parameters, {', '.join(extra)}: substitute numbers for them first")
    return {**_head(t), "prediction": t.prediction, "nodes": list(t.nodes), "weights": list(t.weights)}


def _multistep(t: Any) -> dict[str, Any]:
    if not (t.is_uniform or hasattr(t.nodes[0], "field")):
        raise MethodError(f"{t.name} is made for certain steps; a method file holds equal steps or symbolic ratios")
    alpha, beta = t.expressions()
    return {**_head(t), "alpha": [str(v) for v in alpha], "beta": [str(v) for v in beta]}


def _splitting(t: Any) -> dict[str, Any]:
    from odekit.algebra.splitting_files import splitting_data

    return {**_head(t), **splitting_data(t)}


def _stochastic(t: Any) -> dict[str, Any]:
    def texts(value: Sequence) -> list:
        return [texts(v) if isinstance(v, tuple | list) else str(v) for v in value]

    coefficients = {name: texts(value) for name, value in t.coefficients.items()}
    head = {**_head(t), "family": "stochastic-runge-kutta", "order": str(t.order)}
    return {**head, "kind": t.family, "coefficients": coefficients}


def _non_stationary(t: Any) -> dict[str, Any]:
    rows = [[repr(w) for w in row[: i + 1]] for i, row in enumerate(t.weights.tolist())]
    given = {key: repr(value) for key, value in t.process.parameters.items()}
    head = {"name": t.name, "family": t.family, "source": t.source, "process": t.process.name}
    parts = {"prediction": str(t.prediction), "grid": [repr(v) for v in t.grid.tolist()], "weights": rows}
    return {**head, **parts, "exact": list(t.exact), "process_parameters": given}


_FAMILIES = {"Multistep": "multistep", "Splitting": "splitting", "Processed": "splitting"}


def _head(t: Any) -> dict[str, Any]:
    if not t.order:
        raise MethodError(f"{t.name} claims no order; a method file needs one")
    family = _FAMILIES.get(type(t).__name__) or t.family
    return {"name": t.name, "family": family, "order": t.order, "source": t.source}


_DESCRIPTIONS = {
    "Tableau": _tableau,
    "Multistep": _multistep,
    "ExponentialTableau": _exponential,
    "ExponentialMultistep": _exponential_multistep,
    "Splitting": _splitting,
    "Processed": _splitting,
    "StochasticTable": _stochastic,
    "NonStationary": _non_stationary,
}
"""By the name of the type, so that nothing of the theory is loaded before it is needed."""
