"""Methods: how a field is integrated; exact data, one textbook step a family, and the catalogue of names."""

from __future__ import annotations

import inspect
import os
from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.methods import catalogue, ends, files
from odekit.methods.base import Claim, Method
from odekit.methods.tableau import Tableau

__all__ = ["Claim", "Method", "Tableau", "get", "load", "names"]


def names() -> tuple[str, ...]:
    """Every name of the catalogue, sorted.

    >>> "rk4" in names() and "ddim" in names()
    True
    """
    return tuple(sorted({*catalogue.FACTORIES, *files.names()}))


def get(method: str | Method | Tableau, **options: Any) -> Method:
    """The method behind a name, a tableau or the path of a method file; a Method passes through.

    ``options`` are the factory's own (``start=``, ``last=``, ``prediction=``, ``clock=``, ``final=``), with the
    literature's defaults; ``last="lower"`` and ``last="denoise"`` are every method's.
    Raises UnknownNameError, or MethodError for an option the method does not have.

    >>> get("ab-3").order
    Claim(formula=3, method=3)
    >>> get("ab-3", start="rising").order
    Claim(formula=3, method=2)
    """
    if isinstance(method, Method):
        if options:
            raise MethodError(f"{method.name} is made already: it takes no options ({', '.join(options)})")
        return method
    for kind, factory_of in catalogue.MAKERS.items():
        if isinstance(method, kind):
            return _called(factory_of(method), method.name, options, method)
    if isinstance(method, os.PathLike) or (isinstance(method, str) and method.endswith(".toml")):
        return load(method, **options)
    if not isinstance(method, str):
        raise MethodError(f"a method is a name, a Method, a Tableau or a file; got a {type(method).__name__}")
    if method in catalogue.FACTORIES:
        return _called(catalogue.FACTORIES[method], method, options)
    if method in files.names():
        return get(files.get(method), **options)
    if made := catalogue.numbered(method):
        return _called(made, method, options)
    raise unknown("method", method, names())


def load(path: str | os.PathLike, **options: Any) -> Method:
    """The method a TOML file describes (data only, never evaluated); options are its parameters (c2="2/3") and those of
    the method. Raises OdekitError naming what is wrong in it, or that methods of its family do not run."""
    exact, options = files.read_with_options(path, **options)
    if isinstance(exact, dict):
        return _called(catalogue.from_data, exact["name"], options, exact)
    if not isinstance(exact, tuple(catalogue.MAKERS)):
        raise MethodError(f"{exact.name} has no numerical run in odekit; its algebraic order: odekit certify {path}")
    return get(exact, **options)


def _called(factory: Any, name: str, options: dict, *arguments: Any) -> Method:
    known = list(inspect.signature(factory).parameters)[len(arguments) :]
    if "last" in options and ("last" not in known or options["last"] == "denoise"):
        last = options.pop("last")  # a rule that every method can be given
        return ends.ended(_called(factory, name, options, *arguments), last)
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    return factory(*arguments, **options)
