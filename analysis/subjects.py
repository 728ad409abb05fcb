"""What somebody wants certified, in whatever form it comes: a method that runs, exact coefficients, or a sampler."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.blackbox import load_callable
from odekit.exceptions import MethodError, OdekitError


@dataclass(frozen=True)
class Subject:
    """What is certified: a method that runs, its exact coefficients, or a sampler; and the order claimed for it."""

    name: str
    family: str
    source: str = ""
    claim: Any = None
    method: Any = None
    exact: Any = None
    sampler: Callable | None = None
    cannot_run: str = ""
    foreign: Any = None  # a solver of another package, an `analysis.foreign.Foreign`


def subject_of(what: Any, claim: float | None = None, config: Mapping[str, Any] | None = None) -> Subject:
    """The subject behind what was given, in any of the forms that `certify` takes."""
    from analysis.foreign import foreign, is_foreign

    if is_foreign(what):
        given = dict(config or {})
        found = foreign(what, given, given.pop("inference_steps", None))
        claim = found.claim if claim is None else claim
        return Subject(found.title, "sampler", found.version, claim, sampler=found.sampler, foreign=found)
    if config:
        raise MethodError("settings are for solvers of other packages, e.g. diffusers:UniPCMultistepScheduler")
    if isinstance(what, str | os.PathLike) and ":" in os.fspath(what) and not os.fspath(what).endswith(".toml"):
        found = subject_of(load_callable(os.fspath(what)), claim)
        return replace(found, name=os.fspath(what)) if found.sampler else found
    if isinstance(what, str) and what.endswith(".py"):
        raise MethodError(f"{what!r}: which sampler in it? expected module:callable or file.py:callable")
    if callable(what) and not hasattr(what, "step") and not hasattr(what, "order"):
        required = _required(what)
        if required == 0:
            return subject_of(what(), claim)
        name = getattr(what, "__name__", type(what).__name__)
        return Subject(name, "sampler", claim=claim, sampler=what)
    if isinstance(what, Mapping) and "family" not in what:
        what, claim = _butcher(what), claim if claim is not None else what.get("order")
    elif isinstance(what, tuple | list):
        what = _butcher(dict(zip(("c", "A", "b") if len(what) == 3 else ("A", "b"), what, strict=True)))
    else:
        claim = claim if claim is not None else ...
    return _of_method(what, claim)


def _required(function: Callable) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 3
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def _of_method(what: Any, claim: Any) -> Subject:
    """A method with exact coefficients, or one that runs, or both; a claim of ... is the method's own."""
    import odekit as ok
    from odekit.algebra.certificates import exact_object

    exact, no_proof = None, ""
    try:
        exact = exact_object(what)
    except OdekitError as error:
        no_proof = str(error)
    method, cannot_run = None, ""
    given = what if exact is None or _is_name_or_method(what) else exact
    try:
        method = ok.methods.get(given)
    except OdekitError as error:
        if exact is None:
            raise MethodError(no_proof) from error
        cannot_run = f"a {type(exact).__name__} does not run on a flow"
    known = method if method is not None else exact
    own = getattr(known, "order", None)
    own = getattr(own, "formula", own)
    family = "" if method is None else method.family
    if claim is ...:
        claim = own or None
    return Subject(known.name, family, getattr(known, "source", ""), claim, method, exact, None, cannot_run)


def _is_name_or_method(what: Any) -> bool:
    """Whether the catalogue knows it as it is: with options of its own, a start, a prediction."""
    import odekit as ok

    if isinstance(what, str):
        return what in ok.methods.names() or what.endswith(".toml")
    return isinstance(what, os.PathLike | ok.methods.Method)


def _butcher(table: Mapping[str, Any]) -> Any:
    """A Tableau from rows of numbers; its own claim is the order the algebra finds."""
    from odekit.algebra.properties import certificate
    from odekit.methods import Tableau

    for key in table:
        if key not in ("name", "order", "source", "c", "A", "b", "b_embedded", "embedded_order", "digits"):
            raise MethodError(f"a Butcher tableau has c, A and b; {key!r} is none of its parts")
    missing = [key for key in ("A", "b") if key not in table]
    if missing:
        raise MethodError(f"a Butcher tableau needs A and b; {' and '.join(missing)} missing")
    A, b = [list(row) for row in table["A"]], list(table["b"])
    A = [[*row, *[0] * (len(b) - len(row))] for row in A]
    rows = {"c": list(table.get("c") or map(sum, _numbers(A))), "b": b}
    if table.get("b_embedded") is not None:
        rows["b_embedded"] = list(table["b_embedded"])
    entries = [*(x for row in A for x in row), *(x for row in rows.values() for x in row)]
    digits = table.get("digits", 15 if any(isinstance(x, float) for x in entries) else None)
    texts = {key: tuple(map(str, row)) for key, row in rows.items()}
    A = tuple(tuple(map(str, row)) for row in A)
    about = {key: table[key] for key in ("source", "embedded_order") if key in table}
    made = Tableau(table.get("name", "tableau"), 1, **{"source": "given", **about}, A=A, digits=digits, **texts)
    return replace(made, order=table.get("order") or max(certificate(made).order, 1))


def _numbers(A: list[list]) -> list[list]:
    from odekit.methods.tableau import exact

    return [[exact(x) if isinstance(x, str) else x for x in row] for row in A]
