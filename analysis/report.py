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
from analysis.svg import Series, comparison_plot, convergence_plot
from analysis.verify import as_json, merged

MARKS = {PASS: "✓", FAIL: "✗", UNDETERMINED: "?"}
SHOWN = ("euler", "ddim", "dpmpp-2m", "heun-edm", "deis-tab-3", "ab-4", "rk4", "dp5", "dop853")
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


def rendered(template: str, **values: Any) -> str:
    """A page from a template of this package: what it names must be there, and text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(order=order_text, error=error_text, anchor=anchor, interval=interval_text)
    return environment.get_template(template).render(**values)


def build_page(document: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML text: style and figures inline, nothing fetched."""
    results = list(document["results"])
    cases = {_case(row): _Case(row) for row in results}
    methods = [_Section(about, results) for about in _about(document)]
    methods.sort(key=lambda one: (one.family, one.formula_order or 0, one.name))
    families: dict[str, list[_Section]] = {}
    for one in methods:
        families.setdefault(one.family, []).append(one)
    return rendered(
        "report.html.j2",
        methods=methods,
        families=families,
        counts={verdict: sum(one.verdict == verdict for one in methods) for verdict in MARKS},
        row_counts={verdict: sum(row["verdict"] == verdict for row in results) for verdict in MARKS},
        total=len(results),
        cases=cases,
        problems=_problems(results),
        comparison=_comparison(methods, next(iter(cases), "")),
        marks=MARKS,
        words=WORDS,
        width=WIDTH,
        margin=MARGIN,
        versions=document.get("versions") or versions(),
        created=document.get("created") or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=document.get("seconds"),
        seeds=sorted({row["seed"] for row in results if row.get("seed") is not None}),
    )


class _Case:
    """What a column of the page stands for: one process, one prediction, one grid; or fields without a process."""

    def __init__(self, row: Mapping[str, Any]):
        self.grid = row.get("grid", "")
        self.process, self.prediction = row.get("process") or "plain fields", row.get("prediction") or self.grid


class _Panel:
    """One method on one case: its rows, one claim each, and what else was measured there."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]):
        first = rows[0]
        title = " · ".join(str(first[part]) for part in ("process", "prediction") if first.get(part))
        self.title = title or str(first.get("problem", ""))
        self.setting = ", ".join(str(first[part]) for part in ("problem", "grid") if first.get(part))
        self.rows = merged(rows)
        self.few = next((row["few"] for row in rows if row.get("few")), [])
        self.round_trip = next((row["round_trip"] for row in rows if row.get("round_trip")), None)

    @property
    def plot(self) -> str:
        colours = {"formula": "a"}
        ladders = [
            Series(row["kind"], row["steps"], row["errors"], colours.get(row["kind"], "b"), *_window(row))
            for row in self.rows
        ]
        return convergence_plot(f"{self.title}, {self.setting}", ladders, self.rows[0]["claimed_order"])


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
        by_case: dict[str, list[Mapping[str, Any]]] = {}
        for row in self.rows:
            by_case.setdefault(_case(row), []).append(row)
        self.panels = {case: _Panel(rows) for case, rows in by_case.items()}

    @property
    def verdict(self) -> str:
        """The worst verdict of its rows: one failing claim fails the method."""
        verdicts = {row["verdict"] for row in self.rows}
        return FAIL if FAIL in verdicts else PASS if verdicts == {PASS} else UNDETERMINED

    def error_at(self, evaluations: int) -> float | None:
        """Median over the cases of the error at so many evaluations."""
        points = [point for panel in self.panels.values() for point in panel.few]
        errors = sorted(p["error"] for p in points if p["evaluations"] == evaluations and p["error"] is not None)
        return errors[len(errors) // 2] if errors else None

    @property
    def findings(self) -> list[str]:
        """What was found, and where; what several rows say is said once."""
        where: dict[str, list[str]] = {}
        for row in self.rows:
            for text in row.get("findings", ()):
                where.setdefault(text, []).append(str(row.get("process", "")))
        return [f"{', '.join(dict.fromkeys(places))}: {text}" for text, places in where.items()]


def _comparison(methods: Sequence[_Section], case: str) -> str:
    """Well-known methods in one plot, error against evaluations; empty where fewer than two were measured."""
    known = {one.name: one.panels[case].rows[-1] for one in methods if case in one.panels}
    common = next((row.get("problem") for row in known.values()), None)
    known = {name: row for name, row in known.items() if row.get("problem") == common and row["observed_order"]}
    shown = [name for name in SHOWN if name in known]
    ladders = []
    for i, name in enumerate(shown):
        row = known[name]
        work = dict(zip(row["steps"], row["nfe"], strict=True))
        ladders.append(Series(name, row["nfe"], row["errors"], f"c{i}", *(work.get(n) for n in _window(row))))
    return comparison_plot(f"error against evaluations: {case}", ladders, "model evaluations") if shown[1:] else ""


def _about(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is known about each method; a results file without the catalogue still makes a page."""
    known = list(document.get("methods", ()))
    names = {one["name"] for one in known}
    return known + [{"name": n} for n in dict.fromkeys(row["method"] for row in document["results"]) if n not in names]


def _window(row: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """First and last step number of the asymptotic window."""
    return row.get("asymptotic_from"), row.get("asymptotic_to")


def _case(row: Mapping[str, Any]) -> str:
    return " · ".join(str(row[part]) for part in ("process", "prediction", "grid") if row.get(part))


def _problems(results: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """One row for each process, prediction, grid and mixture."""
    problems: dict[str, Mapping[str, Any]] = {}
    for row in results:
        problems.setdefault(f"{_case(row)} · {row.get('problem', '')}", row)
    return dict(sorted(problems.items(), key=lambda item: str(item[1].get("problem"))))


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


def anchor(name: str) -> str:
    """A name as a fragment of an address."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
