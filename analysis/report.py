"""The page that tells somebody who was not there what was measured, how, and what came of it."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2

from analysis.cache import write_atomically
from analysis.order import FAIL, MARGIN, PASS, UNDETERMINED, WIDTH
from analysis.svg import Series, convergence_plot
from analysis.verify import as_json

KINDS = ("formula", "with start")
MARKS = {PASS: "✓", FAIL: "✗", UNDETERMINED: "?"}
WORDS = {PASS: "confirmed", FAIL: "failing", UNDETERMINED: "undetermined"}


def versions() -> dict[str, str]:
    """Versions of everything a number in the report may depend on."""
    packages = {name: _version(name) for name in ("odekit", "torch", "numpy", "scipy", "sympy", "mpmath")}
    return {"python": platform.python_version(), **packages, "platform": platform.platform(terse=True)}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def write_report(document: Mapping[str, Any], folder: str | Path) -> Path:
    """Write index.html and results.json into a folder, each atomically; returns the path of the page.

    document: {"results": [...], "methods": [...]} as `analysis.verify.document` makes it.
    """
    folder = Path(folder)
    write_atomically(folder / "results.json", as_json(document))
    write_atomically(folder / "index.html", build_page(document))
    return folder / "index.html"


def build_page(document: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML text: style and figures inline, nothing fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        order=order_text, error=error_text, anchor=anchor, interval=interval_text, span=span_text
    )
    environment.filters["last_error"] = lambda errors: error_text(errors[-1] if errors else None)
    results = list(document["results"])
    methods = [_Section(about, results) for about in _about(document)]
    methods.sort(key=lambda one: (one.family, one.formula_order or 0, one.name))
    families: dict[str, list[_Section]] = {}
    for one in methods:
        families.setdefault(one.family, []).append(one)
    columns = list(dict.fromkeys((_problem(row), row["kind"]) for row in results))
    columns.sort(key=lambda pair: (pair[0], KINDS.index(pair[1]) if pair[1] in KINDS else len(KINDS)))
    return environment.get_template("report.html.j2").render(
        methods=methods,
        families=families,
        counts={verdict: sum(one.verdict == verdict for one in methods) for verdict in MARKS},
        row_counts={verdict: sum(row["verdict"] == verdict for row in results) for verdict in MARKS},
        total=len(results),
        columns=columns,
        problems=_problems(results),
        marks=MARKS,
        words=WORDS,
        width=WIDTH,
        margin=MARGIN,
        versions=document.get("versions") or versions(),
        created=document.get("created") or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=document.get("seconds"),
        seeds=sorted({row.get("seed", 0) for row in results}),
    )


class _Section:
    """Everything the page says about one method."""

    def __init__(self, about: Mapping[str, Any], results: Iterable[Mapping[str, Any]]):
        self.name = about["name"]
        self.family = about.get("family") or "other"
        self.source = about.get("source") or ""
        self.formula_order, self.method_order = about.get("formula_order"), about.get("method_order")
        self.evaluations = about.get("evaluations")
        self.plannable = about.get("plannable")
        self.rows = [row for row in results if row["method"] == self.name]
        self.rows.sort(key=lambda row: (_problem(row), row["kind"]))
        self.cells = {(_problem(row), row["kind"]): row for row in self.rows}
        self.few = [(_problem(row), row["few"]) for row in self.rows if row.get("few")]

    @property
    def verdict(self) -> str:
        """The worst verdict of its rows: one failing claim fails the method."""
        verdicts = {row["verdict"] for row in self.rows}
        return FAIL if FAIL in verdicts else PASS if verdicts == {PASS} else UNDETERMINED

    @property
    def at_ten(self) -> float | None:
        """Median over the problems of the error at ten evaluations."""
        errors = sorted(
            point["error"]
            for _, few in self.few
            for point in few
            if point["evaluations"] == 10 and point["error"] is not None
        )
        return errors[len(errors) // 2] if errors else None

    @property
    def findings(self) -> list[str]:
        return [f"{_problem(row)}, {row['kind']}: {text}" for row in self.rows for text in row.get("findings", ())]

    @property
    def plots(self) -> list[str]:
        drawn: dict[str, list[Series]] = {}
        claims: dict[str, float | None] = {}
        for row in self.rows:
            css = "a" if row["kind"] == "formula" else "b"
            start = row.get("asymptotic_from")
            ladder = Series(row["kind"], row["steps"], row["errors"], css, row["observed_order"], start)
            drawn.setdefault(_problem(row), []).append(ladder)
            claims[_problem(row)] = row["claimed_order"]
        return [convergence_plot(problem, ladders, claims[problem]) for problem, ladders in drawn.items()]


def _about(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is known about each method; a results file without the catalogue still makes a page."""
    known = list(document.get("methods", ()))
    names = {one["name"] for one in known}
    return known + [{"name": n} for n in dict.fromkeys(row["method"] for row in document["results"]) if n not in names]


def _problem(row: Mapping[str, Any]) -> str:
    return " · ".join(str(row[part]) for part in ("process", "prediction", "problem") if row.get(part))


def _problems(results: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    problems: dict[str, Mapping[str, Any]] = {}
    for row in results:
        problems.setdefault(_problem(row), row)
    return dict(sorted(problems.items()))


def order_text(order: float | None) -> str:
    """An order for reading: `3`, `2.96`, or a dash where there is none.

    >>> order_text(3.0), order_text(2.957), order_text(None)
    ('3', '2.96', '–')
    """
    if order is None or not math.isfinite(order):
        return "–"
    return (f"{order:g}" if float(order).is_integer() else f"{order:.2f}").replace("-", "−")


def interval_text(row: Mapping[str, Any]) -> str:
    """`2.96 [2.91, 3.02]`, or a dash."""
    if row["observed_order"] is None:
        return "–"
    low, high = (f"{row[name]:.2f}".replace("-", "−") for name in ("order_low", "order_high"))
    return f"{row['observed_order']:.2f} [{low}, {high}]".replace("-", "−")


def error_text(error: float | None) -> str:
    """`1.3e−4`, short enough for a table.

    >>> error_text(0.00013), error_text(None)
    ('1.3e−4', '–')
    """
    if error is None or not math.isfinite(error):
        return "–"
    mantissa, exponent = f"{error:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−") if int(exponent) else mantissa


def span_text(steps: Sequence[int]) -> str:
    """The first and last step count of a ladder: `4…64`."""
    return f"{steps[0]}…{steps[-1]}" if steps else "–"


def anchor(name: str) -> str:
    """A name as a fragment of an address."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
