"""The families of method files: the keys of each, and what they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, prod
from typing import Any

from odekit.exceptions import MethodError, OdekitError, unknown
from odekit.methods.reading import MAX_LIST, Data, Visit, flows, matrix, number, substituted, table, vector
from odekit.methods.tableau import MAX_ORDER, MAX_TEXT, Tableau, check_label, exact, shown

# Of a rational function in the step ratios: terms of its numerator, degree of the common denominator of a sum, degree
# of the field its roots make. Beyond, greatest common divisors take minutes.
MAX_TERMS, MAX_COMMON, MAX_ROOTS = 13_000, 6, 4

PREDICTIONS = ("noise", "data", "velocity", "score", "edm", "r-noise", "l-noise")
WEIGHTS = ("interpolating", "lumped")


@dataclass(frozen=True)
class Form:
    """What a file of a family looks like: its keys in the order they are written, and what is made of them.

    `entries` says for each key that holds numbers how to walk through them, `symbols` which names stand for variables
    in it. `make` gets the fields with every parameter put in.
    """

    keys: tuple[str, ...]
    optional: tuple[str, ...]
    entries: Mapping[str, Callable[[str, Any, Visit], Any]]
    make: Callable[[dict[str, Any]], Any]
    symbols: Callable[[Data, str], tuple[str, ...]] = lambda data, key: ()

    def check_keys(self, data: Data) -> None:
        """Refuse a key that is unknown or missing."""
        known = {"family", "parameters", *self.keys}
        for key in data:
            if key not in known:
                raise unknown("key", str(key)[:60], known)
        missing = [key for key in self.keys if key not in data and key not in self.optional]
        if missing:
            raise MethodError(f"the key{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))} missing")


def form_of(data: Data) -> Form:
    """The form a mapping has: by its family, and in the two multistep families by whether it gives coefficients."""
    if not isinstance(data, Mapping):
        raise MethodError(f"a method file holds keys and values, got {shown(data)}")
    if "family" not in data:
        raise MethodError(f"the key 'family' is missing; known families: {', '.join(sorted(FORMS))}")
    family = data["family"]
    if not isinstance(family, str):
        raise MethodError(f"family must be text, got {shown(family)}")
    if family not in FORMS:
        raise unknown("family", family[:60], FORMS)
    marks, with_coefficients, without = FORMS[family]
    return with_coefficients if without is None or any(key in data for key in marks) else without


def method_from(data: Data, **values: Any) -> Any:
    """The method that a mapping describes, keys, types and entries checked, its parameters put in.

    All families have `name`, `family`, `order` (the claim), `source`, and may have `parameters`, a table of symbols
    with a default each, which entries may use; `values` take the place of defaults. Numbers are text. By family:

    - "runge-kutta": `c`, `A`, `b`, maybe `b_embedded` with `embedded_order`, `digits`; gives a Tableau;
    - "multistep": `alpha`, `beta` from the newest point back, in the step ratios w1, w2, ..., maybe `start`; gives an
      `odekit.algebra.multistep.Multistep`. Without coefficients an Adams formula: maybe `prediction`, `clock`,
      `weights` ("interpolating" or "lumped"), `coordinates`, `start`, `last`; gives a dict, None where nothing is said;
    - "exponential-runge-kutta": `c`, `A`, `b` in phi0, phi1, ..., of h > 0 (the step in log-SNR) where `prediction` is
      "noise" or "data", else of z = h lambda; maybe `stiff_order`, `b_embedded` with `embedded_order`;
    - "exponential-multistep": `nodes`, `weights`, in the same functions and the ratios r1, r2, ... of earlier steps to
      h, maybe `start`; or the Adams form, which needs `prediction` and `clock`;
    - "splitting": `steps`, pairs of a letter and a number, maybe `digits`, `nystrom`, `processor`;
    - "stochastic-runge-kutta": `kind` and the table `coefficients`;
    - "non-stationary", which has no order: `process`, `prediction`, the nodes `grid`, rows of `weights`, maybe
      `process_parameters`, `exact` (functions of time); gives an `odekit.methods.nonstationary.NonStationary`.

    Raises OdekitError for what is missing, unknown or ill-typed, naming it, its position and what is near it.
    """
    form = form_of(data)
    form.check_keys(data)
    check_label("name", data["name"])
    try:
        return form.make(substituted(data, form.entries, form.symbols, values))
    except OdekitError as error:
        prefix = f"{data['name']}: "
        raise type(error)(f"{prefix}{str(error).removeprefix(prefix)}") from None


# What fields make.


def _integer(key: str, value: Any, largest: int = MAX_ORDER, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
        raise MethodError(f"{key} must be an integer from {least} to {largest}, got {shown(value)}")


def _labelled(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, once order, source and digits are what they should be."""
    _integer("order", fields["order"])
    if not isinstance(fields["source"], str) or len(fields["source"]) > MAX_TEXT:
        raise MethodError(f"source must be text of at most {MAX_TEXT} characters, got {shown(fields['source'])}")
    for key, least, largest in (
        ("stiff_order", 0, MAX_ORDER),
        ("embedded_order", 1, MAX_ORDER),
        ("digits", 1, MAX_TEXT),
    ):
        if key in fields:
            _integer(key, fields[key], largest, least)
    if "start" in fields:
        check_label("start", fields["start"])
    return {key: value for key, value in fields.items() if key not in ("family", "start")}


def _tableau(fields: dict[str, Any]) -> Tableau:
    return Tableau(**{key: value for key, value in fields.items() if key != "family"})


def _tableau_entries(key: str, value: Any, visit: Visit) -> Any:
    """The entries of a tableau of numbers: a Tableau checks its shapes before them, so what does not fit is left."""
    rows = value if isinstance(value, list | tuple) else ()
    if len(rows) > MAX_LIST or (key == "A" and any(not isinstance(r, list | tuple) or len(r) > MAX_LIST for r in rows)):
        return value
    return (matrix if key == "A" else vector)(key, value, visit) if rows else value


def _adams(fields: dict[str, Any]) -> dict[str, Any]:
    _integer("order", fields["order"])
    for key in ADAMS:
        if key == "source" and isinstance(fields.get(key, ""), str) and len(fields.get(key, "")) <= MAX_TEXT:
            continue
        if key in fields and key != "order":
            check_label(key, fields[key])
    for key, values in (("prediction", PREDICTIONS), ("weights", WEIGHTS)):
        if key in fields and fields[key] not in values:
            raise unknown(key, fields[key], values)
    return {key: fields.get(key) for key in ("family", *ADAMS)}


def _multistep(fields: dict[str, Any]) -> Any:
    from odekit.algebra.multistep import from_text

    fields = _labelled(fields)
    _check_size({key: fields[key] for key in ("alpha", "beta")}, len(fields["alpha"]) - 2)
    return from_text(**fields)


def _check_size(parts: Mapping[str, Sequence[str]], count: int) -> None:
    """Refuse, before it is expanded, what is a large polynomial in `count` step ratios, or lies in a large field."""
    from sympy import Pow

    from odekit.expressions import parse

    roots = set()
    for key, texts in parts.items():
        for i, text in enumerate(texts, start=1):
            expression = parse(text, (f"w{j}" for j in range(1, count + 1)))
            above, below, common = _degrees(expression)
            degree = max(above, below)
            if comb(degree + count, max(count, 0)) > MAX_TERMS or common > MAX_COMMON:
                raise MethodError(f"entry {i} of {key}: a rational function of degree {degree} is too large here")
            roots |= {e for e in expression.atoms(Pow) if e.is_number and not e.is_Rational}
    if count > 0 and prod(e.exp.q for e in roots) > MAX_ROOTS:
        raise MethodError("entries with step ratios have one square or cube root at most, or two square roots")


def _degrees(e: Any) -> tuple[int, int, int]:
    """Bounds on the degrees of numerator and denominator, and of the common denominators of sums on the way."""
    if e.is_Symbol:
        return 1, 0, 0
    if e.is_Pow and e.exp.is_Integer:
        *sides, common = _degrees(e.base)
        above, below = sides if e.exp > 0 else reversed(sides)
        return above * abs(int(e.exp)), below * abs(int(e.exp)), common
    parts = [_degrees(a) for a in e.args] if e.is_Add or e.is_Mul else [(0, 0, 0)]
    below, common = sum(b for _, b, _ in parts), max(c for *_, c in parts)
    if e.is_Add:
        return (
            max(a + below - b for a, b, _ in parts),
            below,
            max(common, below if sum(b > 0 for _, b, _ in parts) > 1 else 0),
        )
    return sum(a for a, *_ in parts), below, common


def _exponential(fields: dict[str, Any]) -> Any:
    from odekit.algebra.exponential import ExponentialTableau

    return ExponentialTableau(**_labelled(fields))


def _exponential_multistep(fields: dict[str, Any]) -> Any:
    from odekit.algebra.exponential_multistep import ExponentialMultistep

    fields = _labelled(fields)
    used = {r for v in (*fields["nodes"], *fields["weights"]) for r in re.findall(r"\br\d+\b", v)}
    return ExponentialMultistep(**fields, parameters=tuple(sorted(used, key=lambda r: int(r[1:]))))


def _splitting(fields: dict[str, Any]) -> Any:
    from odekit.algebra.splitting_files import splitting_from

    return splitting_from(_labelled(fields))


_CLASSES = {
    "SRA": "A0 B0 c1 alpha beta1 beta2",
    "SRI": "A0 A1 B0 B1 alpha beta1 beta2 beta3 beta4",
    "RI": "A0 A1 A2 B0 B1 B2 alpha beta1 beta2 beta3 beta4",
    "RS": "A0 A1 A2 B0 B1 B2 B3 alpha beta1 beta2",
}
"""The coefficients of each class of stochastic Runge-Kutta methods; `odekit.algebra.stochastic` has the formulas."""


def _stochastic(fields: dict[str, Any]) -> Any:
    from odekit.algebra.stochastic_tables import StochasticTable

    kind, given = fields["kind"], fields["coefficients"]
    order = number("order", fields["order"])
    if not isinstance(order, Fraction) or (2 * order).denominator != 1 or not 0 < order <= MAX_ORDER:
        raise MethodError(f'order must be a multiple of one half, like "3/2", got {shown(fields["order"])}')
    _labelled({**fields, "order": 1})
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise unknown("kind", shown(kind).strip("'"), _CLASSES)
    expected = _CLASSES[kind].split()
    for name in given:
        if name not in expected:
            raise unknown(f"coefficient of {kind}", name[:60], expected)
    missing = [name for name in expected if name not in given]
    if missing:
        raise MethodError(f"the coefficients {', '.join(missing)} of {kind} are missing")
    stages = len(given["alpha"])
    return StochasticTable(
        fields["name"], kind, {name: _sized(name, given[name], stages) for name in expected}, order, fields["source"]
    )


def _sized(name: str, value: Sequence, stages: int) -> tuple:
    """Exact numbers; rows of a matrix may stop early, and last rows be left out."""
    if not 1 <= stages:
        raise MethodError("alpha has no entries; one a stage is expected")
    if name[0] in "AB":
        rows = [*value, *[()] * (stages - len(value))]
        if len(rows) > stages or any(len(row) > stages for row in rows):
            raise MethodError(f"{name} has more than {stages} rows or columns, but alpha has {stages} entries")
        return tuple(tuple(map(exact, [*row, *["0"] * (stages - len(row))])) for row in rows)
    if len(value) != stages:
        raise MethodError(f"{name} has {len(value)} entries, but alpha has {stages}; one a stage is expected")
    return tuple(map(exact, value))


def _non_stationary(fields: dict[str, Any]) -> Any:
    from odekit.methods.nonstationary import from_fields

    return from_fields(fields)


def _numbers(where: str, value: Any, visit: Visit) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise MethodError(f"{where} must be a table of numbers, got {shown(value)}")
    return {str(name): visit(f"{name} of {where}", text) for name, text in value.items()}


# The forms.


def _in_steps(data: Data, key: str) -> tuple[str, ...]:
    longest = max((len(v) for k in ("alpha", "beta") if isinstance(v := data.get(k), list | tuple)), default=0)
    return tuple(f"w{j}" for j in range(1, min(longest, MAX_LIST) - 1))


def _in_log_snr(data: Data, key: str) -> tuple[str, ...]:
    """The variable of an exponential method, h or z, and the step ratios where it has several steps; c has neither."""
    prediction = data.get("prediction")
    if prediction not in (None, "noise", "data"):
        raise unknown("prediction", shown(prediction).strip("'"), ("noise", "data"))
    variable = ("z" if prediction is None else "h",) if key not in ("c", "nodes") else ()
    count = len(data["nodes"]) if isinstance(data.get("nodes"), list | tuple) else 0
    return (*variable, *(f"r{j}" for j in range(1, min(count, MAX_LIST))))


_HEAD = ("name", "order", "source")
ADAMS = (*_HEAD, "prediction", "clock", "weights", "coordinates", "start", "last")

_TABLEAU = Form(
    (*_HEAD, "digits", "c", "A", "b", "b_embedded", "embedded_order"),
    ("digits", "b_embedded", "embedded_order"),
    {key: lambda where, value, visit: _tableau_entries(where, value, visit) for key in ("c", "A", "b", "b_embedded")},
    _tableau,
)
_EXPONENTIAL = Form(
    ("name", "order", "stiff_order", "source", "prediction", "c", "A", "b", "b_embedded", "embedded_order"),
    ("stiff_order", "prediction", "b_embedded", "embedded_order"),
    {"c": vector, "A": matrix, "b": vector, "b_embedded": vector},
    _exponential,
    _in_log_snr,
)
_SPLITTING = Form(
    (*_HEAD, "digits", "nystrom", "steps", "processor"),
    ("digits", "nystrom", "processor"),
    {"steps": flows, "processor": flows},
    _splitting,
)
_STOCHASTIC = Form(
    ("name", "kind", "order", "source", "coefficients"), (), {"coefficients": table}, _stochastic
)  # fmt: skip

_NON_STATIONARY = Form(
    ("name", "source", "process", "process_parameters", "prediction", "grid", "weights", "exact"),
    ("source", "process_parameters", "exact"),
    {"process_parameters": _numbers, "grid": vector, "weights": matrix},
    _non_stationary,
)

FORMS: dict[str, tuple[tuple[str, ...], Form, Form | None]] = {
    "runge-kutta": ((), _TABLEAU, None),
    "multistep": (
        ("alpha", "beta"),
        Form((*_HEAD, "alpha", "beta", "start"), ("start",), {"alpha": vector, "beta": vector}, _multistep, _in_steps),
        Form(ADAMS, ADAMS[2:], {}, _adams),
    ),
    "exponential-runge-kutta": ((), _EXPONENTIAL, None),
    "exponential-multistep": (
        ("nodes",),
        Form(
            (*_HEAD, "prediction", "nodes", "weights", "start"),
            ("prediction", "start"),
            {"nodes": vector, "weights": vector},
            _exponential_multistep,
            _in_log_snr,
        ),
        Form(ADAMS, tuple(key for key in ADAMS[2:] if key not in ("prediction", "clock")), {}, _adams),
    ),
    "splitting": ((), _SPLITTING, None),
    "stochastic-runge-kutta": ((), _STOCHASTIC, None),
    "non-stationary": ((), _NON_STATIONARY, None),
}
"""For each family: the keys that tell its coefficients are given, the form with them, and the one without."""
