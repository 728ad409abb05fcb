"""What `odekit derive` does: choices from text, and a derivation told in lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from odekit.exceptions import OdekitError, unknown


def listing() -> list[str]:
    """One line a recipe: its name, its choices with their defaults, and what it derives.

    >>> [line for line in listing() if line.startswith("explicit-runge-kutta")][0].split()[1]
    'order'
    """
    from odekit.algebra.derive import recipes

    found = [(name, _choices(make), _first_line(make)) for name, make in recipes().items()]
    width = max(len(name) for name, *_ in found)
    return [
        line
        for name, choices, what in found
        for line in (f"{name.ljust(width)}  {choices}".rstrip(), f"{' ' * width}    {what}")
    ]


def _choices(make: Callable) -> str:
    parameters = inspect.signature(make).parameters.values()
    return " ".join(p.name if p.default is p.empty else f"[{p.name}={_shown(p.default)}]" for p in parameters)


def _shown(value: Any) -> str:
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _first_line(make: Callable) -> str:
    return (make.__doc__ or "").strip().splitlines()[0] if make.__doc__ else ""


def derivation(name: str, pairs: Sequence[str]) -> Any:
    """The derivation that a recipe's name and texts "choice=value" ask for; free parameters are given alike.

    Raises OdekitError for a recipe, a choice or a value that does not exist.

    >>> derivation("explicit-runge-kutta", ["order=2", "c2=2/3"]).method.b
    ('1/4', '3/4')
    """
    from odekit.algebra.derive import derive, recipes

    known = recipes()
    if name not in known:
        raise unknown("recipe", name, known)
    parameters = inspect.signature(known[name]).parameters
    choices: dict[str, Any] = {}
    free: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise OdekitError(f"{pair!r}: expected choice=value; the choices of {name}: {_choices(known[name])}")
        if key in choices or key in free:
            raise OdekitError(f"{key} is chosen twice")
        if key in parameters:
            choices[key] = read_choice(key, text, parameters[key])
        else:
            free[key] = text
    found = derive(name, **choices)
    for key in free:
        if key not in found.free:
            raise unknown(f"choice of {name}", key, [*parameters, *found.free])
    return found.at(**free) if free else found


def read_choice(name: str, text: str, parameter: inspect.Parameter) -> Any:
    """The value that a choice's text stands for, by the annotation of its parameter, else by its default's type.

    Annotations are int, float, bool and str, alone or with None, and sequences of them, with commas between; what has
    another one gets the text, exact as it is.
    """
    kind = _kind(parameter)
    if text.lower() == "none" and (parameter.default is None or "None" in str(parameter.annotation)):
        return None
    if kind == "sequence":
        return tuple(part.strip() for part in text.split(","))
    convert = _CONVERT.get(kind)
    if convert is None:
        return text
    try:
        return convert(text)
    except (ValueError, KeyError, OverflowError):
        expected = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind]
        raise OdekitError(f"{name}={text[:60]}: expected {expected}") from None


def _truth(text: str) -> bool:
    return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]


_CONVERT: Mapping[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _truth}


def _kind(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    names = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    first = names.replace("Optional[", "").split("|")[0].strip()
    if first.startswith(("Sequence", "tuple", "list", "Iterable")):
        return "sequence"
    if first in ("Any", "", "_empty"):
        return "bool" if isinstance(parameter.default, bool) else "text"
    return first


def told(found: Any) -> tuple[list[str], bool]:
    """The lines that tell a derivation, and whether its certificate grants what it claims."""
    data = found.data
    lines = [f"{data['name']}: {data['family']}" + (f", order {data['order']}" if "order" in data else "")]
    lines += [f"  {line}" for line in found.route]
    if found.free:
        values = ", ".join(f"{key} = {value}" for key, value in found.free.items())
        lines.append(f"free parameters, at: {values}")
    lines += ["", *coefficients(data)]
    if found.published:
        lines += ["", "published formulas"]
        lines += [
            f"  MISMATCH  {one}" if one else f"  the same  {one.published}: {one.source}" for one in found.published
        ]
    proof = found.certificate()
    findings = proof.findings()
    lines += ["", "certificate"]
    rows = [(label, text) for label, text in proof.rows() if text]
    width = max((len(label) for label, _ in rows), default=0)
    lines += [f"  {label.ljust(width)}  {text}" for label, text in rows]
    lines += [f"  - {finding}" for finding in findings]
    return lines, not findings


def coefficients(data: Mapping[str, Any]) -> Iterator[str]:
    """The entries of a method file, a line each, with their places."""
    labels = {"name", "family", "order", "source", "parameters"}
    for key, value in data.items():
        if key in labels or value is None:
            continue
        if isinstance(value, Mapping):
            yield from coefficients(value)
        elif key in ("steps", "processor"):
            yield f"{key} = {' '.join(f'{letter}({number})' for letter, number in value)}"
        elif isinstance(value, list | tuple):
            yield from _entries(key, value)
        else:
            yield f"{key} = {value}"


def _entries(key: str, value: Sequence) -> Iterator[str]:
    for i, entry in enumerate(value, start=1):
        if isinstance(entry, list | tuple):
            for j, inner in enumerate(entry, start=1):
                if str(inner) != "0":
                    yield f"{key}[{i},{j}] = {inner}"
        else:
            yield f"{key}[{i}] = {entry}"


def texts(found: Any, formats: Sequence[str]) -> dict[str, str]:
    """The derivation in each of the formats asked for."""
    return {name: getattr(found, name)().rstrip("\n") + "\n" for name in formats}
