"""Refusals: every error a user can cause is a `ValueError` that says what to do next, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OdekitError(ValueError):
    """Base of all refusals; its message names what was wrong, what was expected and what is near it."""


class UnknownNameError(OdekitError):
    """A name that no room knows."""


class ExpressionError(OdekitError):
    """Text that is not an expression of the whitelisted grammar."""


class TimeRangeError(OdekitError):
    """A time outside the range where the process is defined."""


class GridError(OdekitError):
    """A grid that repeats, turns back, or runs out of range."""


class TargetError(OdekitError):
    """A data distribution that is none: negative weights, a covariance that is not positive, points that do not fit."""


class PredictionError(OdekitError):
    """A prediction that does not exist or is singular where it was asked for."""


class MethodError(OdekitError):
    """A method whose coefficients contradict each other, or that cannot do what was asked."""


class ModelError(OdekitError):
    """A model that returned the wrong shape, the wrong dtype or a number that is none."""


class QuadratureError(MethodError):
    """A method whose weights are integrals that no number of points resolves on this grid."""


class DivergenceError(OdekitError):
    """A solver whose state overflowed, or whose nonlinear equations it could not solve."""


class TraceError(OdekitError):
    """A sampler that is not a straight-line program over model evaluations."""


class OperatorError(OdekitError):
    """Linear maps whose carriers or shapes do not fit."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for an unknown name: says what it was taken for and what is near it.

    >>> str(unknown("grid", "logsnt", ["logsnr", "karras"]))
    "unknown grid 'logsnt'; did you mean 'logsnr'? (known: karras, logsnr)"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    most = 10 if near else 40  # a long list hides the hint
    shown = ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "")
    return UnknownNameError(f"unknown {kind} {name!r}{hint} (known: {shown})")


def brief(value: object, width: int = 160) -> str:
    """A value on one line of a message: whole up to this many characters, else cut with "..." at its end.

    >>> brief("ab" * 20, 12)
    "'abababab..."
    """
    line = " ".join(repr(value).split())
    return line if len(line) <= width else f"{line[: width - 3]}..."
