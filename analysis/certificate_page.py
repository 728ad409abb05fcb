"""A certificate as one self-contained page: routes, properties, figures, coefficients."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from analysis.order import FAIL, PASS, UNDETERMINED
from analysis.report import rendered, versions
from analysis.svg import Series, convergence_plot
from odekit.exceptions import OdekitError

MARKS = {PASS: "\u2713", FAIL: "\u2717", UNDETERMINED: "?", "absent": "\u2013"}
MOST = 20  # trees of a principal error that are drawn
LONGEST = 60  # characters of a coefficient in the table


def as_html(page: Any) -> str:
    """The page of an `analysis.certify.CertificatePage`: style and figures inline, nothing fetched."""
    return rendered(
        "certificate.html.j2",
        page=page,
        claim=None if page.claim is None else str(page.claim),
        properties=page.algebra.rows() if page.algebra else [],
        ladders=[*_ladders(page, "global slope"), *_ladders(page, "local slope")],
        stability=_stability(page),
        principal=_principal(page),
        coefficients=coefficients(_exact(page)),
        marks=MARKS,
        versions=versions(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _exact(page: Any) -> Any:
    """The exact object whose coefficients are shown: of an Adams method, the formula that it is in its clock."""
    main = getattr(page.algebra, "main", None)
    return getattr(main, "method", None) or page.subject.exact


def _ladders(page: Any, route: str) -> list[tuple[str, str]]:
    """(caption, svg) of a route's measurements; the two claims of a method in one plot, grids apart."""
    rows = page.routes[route].rows
    by_grid: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if len(row["steps"]) > 1:  # a method of one grid has no slope
            by_grid.setdefault(row["grid"], []).append(row)
    what = "One step from exact points" if route == "local slope" else "Whole solves"
    plots = []
    for grid, group in by_grid.items():
        series = [
            Series(row["kind"], row["steps"], row["errors"], css, row["asymptotic_from"], row["asymptotic_to"])
            for css, row in zip("ab", group, strict=False)
        ]
        kinds = f" ({' blue, '.join(row['kind'] for row in group)} orange)" if len(group) > 1 else ""
        where = " \u00b7 ".join(str(group[0][k]) for k in ("process", "prediction", "problem") if group[0].get(k))
        caption = f"{what}: {where}, {grid}{kinds}"
        plots.append((caption, convergence_plot(caption, series, group[0]["claimed_order"])))
    return plots


def _stability(page: Any) -> list[tuple[str, str]]:
    """(caption, svg) of the stability region, and the order star of a Runge-Kutta method, where there are such."""
    from analysis.stability import stability

    exact, figures = page.subject.exact, []
    if exact is None:
        return []
    for star, caption in ((False, "Stability"), (True, "Order star")):
        try:
            figures.append((caption, inline_svg(stability(exact, star=star).plot)))
        except OdekitError:
            continue
    return figures


def inline_svg(draw: Callable[[Any], Any], size: tuple[float, float] = (4.2, 3.5)) -> str:
    """What `draw(axes)` draws, as <svg> text that takes the width it is given."""
    import matplotlib
    from matplotlib.figure import Figure

    from analysis.figures import STYLE

    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "figure.figsize": size}):
        figure = Figure(layout="constrained")
        draw(figure.subplots())
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    width, height = (72 * side for side in size)
    return svg.replace(f'width="{width:g}pt" height="{height:g}pt"', 'class="figure"', 1)


def _principal(page: Any) -> list[dict[str, Any]]:
    """The largest terms of the principal error: tree, drawing, value, and the length of its bar in percent."""
    from odekit.algebra.drawing import svg

    error = page.principal_error if page.failing else None
    if error is None:
        return []
    terms = sorted(error.terms.items(), key=lambda item: -abs(float(item[1])))
    largest = abs(float(terms[0][1]))
    return [
        {
            "tree": str(tree),
            "drawing": svg(tree, 11),
            "value": _short(value),
            "bar": 100 * abs(float(value)) / largest,
            "sign": "minus" if float(value) < 0 else "plus",
        }
        for tree, value in terms[:MOST]
        if value
    ]


def coefficients(exact: Any) -> list[tuple[str, list[list[str]]]]:
    """(caption, rows of cells) of a method's coefficients, whatever its family; empty for what has none.

    >>> from odekit.methods.files import get
    >>> coefficients(get("heun2"))
    [('c, A; b', [['0', '', ''], ['1', '1', ''], ['', '1/2', '1/2']])]
    """
    kind = type(exact).__name__
    if kind == "Scheme":  # an additive method: a table for each part of the field
        tables = enumerate(zip(exact.A, exact.b, strict=True))
        return [(f"A; b of part {part}", _cells([*A, b])) for part, (A, b) in tables]
    if hasattr(exact, "b") and hasattr(exact, "A"):
        stages = len(exact.b)
        rows = []
        for c, a in zip(exact.c, exact.A, strict=True):
            used = max((j + 1 for j, entry in enumerate(a) if entry != "0"), default=0)
            rows.append([c, *a[:used], *[""] * (stages - used)])
        rows += [["", *row] for row in (exact.b, exact.b_embedded) if row is not None]
        return [("c, A; b", _cells(rows))]
    if hasattr(exact, "nodes") and hasattr(exact, "weights"):
        return [("node, weight", _cells(zip(exact.nodes, exact.weights, strict=True)))]
    if hasattr(exact, "alpha") and hasattr(exact, "beta"):
        return [("node, alpha, beta", _cells(zip(exact.nodes, exact.alpha, exact.beta, strict=True)))]
    if hasattr(exact, "steps") and kind == "Splitting":
        return [("flow, step", _cells(exact.steps))]
    if hasattr(exact, "coefficients") and kind == "StochasticTable":
        parts = exact.coefficients.items()
        return [(name, _cells(part if isinstance(part[0], tuple) else [part])) for name, part in parts]
    return []


def _cells(rows: Any) -> list[list[str]]:
    return [[_short(value) for value in row] for row in rows]


def _short(value: Any) -> str:
    text = str(value)
    if len(text) <= LONGEST:
        return text
    try:
        return f"{float(value):.16g}"
    except (TypeError, ValueError):
        return f"{text[: LONGEST - 1]}\u2026"
