"""The page stands alone, says what was measured, and is well-formed whatever the names are."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures import SUFFIXES, save
from analysis.order import estimate_order, rounding_floor
from analysis.report import build_page, write_report
from analysis.svg import Series, convergence_plot

VOID = {"meta", "br", "link", "img", "input", "hr"}


def row(method="rk4", observed=4.0, claim=4, kind="with start", process="vp", prediction="noise", scale=1.0):
    """A row as the measurement writes it, from a synthetic ladder."""
    steps = [4, 6, 8, 11, 16, 23, 32, 45, 64]
    errors = [scale * n**-observed for n in steps]
    estimate = estimate_order([1 / n for n in steps], errors, claim, rounding_floor(1.0, steps))
    return {
        "method": method,
        "process": process,
        "prediction": prediction,
        "problem": "trio",
        "grid": "logsnr",
        "seed": 3,
        "kind": kind,
        "t_start": 0.4,
        "t_end": 0.05,
        "reference_error": 3e-14,
        "claimed_order": claim,
        "observed_order": estimate.slope,
        "order_low": estimate.low,
        "order_high": estimate.high,
        "verdict": estimate.verdict,
        "reason": estimate.reason,
        "asymptotic_from": 4,
        "steps": steps,
        "errors": errors,
        "nfe": [4 * n for n in steps],
        "findings": list(estimate.findings),
        "few": [{"evaluations": n, "used": n // 4 * 4, "error": 10.0**-n if n > 5 else None} for n in (5, 10, 20)],
    }


def about(name, family="runge-kutta", order=4):
    return {
        "name": name,
        "family": family,
        "formula_order": order,
        "method_order": order,
        "evaluations": 4,
        "plannable": True,
        "source": "Kutta 1901, p. 440 & <others>",
    }


def sample():
    rows = [
        row(process=process, prediction=prediction, kind=kind)
        for process in ("vp", "rectified-flow")
        for prediction in ("noise", "data")
        for kind in ("formula", "with start")
    ]
    rows += [row("wrong", 2.0, 4, "formula"), row("diverging", -2.0, 2)]
    return {
        "results": rows,
        "methods": [about("rk4"), about("wrong"), about("diverging", "exponential", 2)],
        "versions": {"python": "3.11.0", "torch": "2.13.0", "platform": "Linux-x"},
        "created": "2026-01-02 03:04 UTC",
        "seconds": 12.3,
    }


class _Balance(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    reader = _Balance()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_is_one_well_formed_file_that_fetches_nothing():
    page = build_page(sample())
    reader = parsed(page)
    assert len(reader.ids) == len(set(reader.ids)) == 3
    assert all(link == "results.json" or link[1:] in reader.ids for link in reader.links)
    assert not re.search(r"""(src=|@import|url\(|https?://|<script)""", page)


def test_the_page_tells_what_the_issue_asks_for():
    text = " ".join("".join(parsed(build_page(sample())).text).split())
    for said in (
        "1 method confirmed",
        "2 methods failing",
        "0 methods undetermined",
        "8 of 10 measurements",
        "logsnr",
        "torch 2.13.0",
        "python 3.11.0",
        "2026-01-02 03:04 UTC",
        "Kutta 1901, p. 440 & <others>",
        "lies below the claimed 4",
        "the error grows as the step shrinks",
        "root mean square",
        "seed 3",
    ):
        assert said in text, said
    assert re.search(r">evaluations</th><th[^>]*>5</th><th[^>]*>10</th><th[^>]*>20</th>", build_page(sample()))
    assert "Not confirmed: diverging , wrong ." in text or "Not confirmed: diverging, wrong." in text


def test_a_method_with_one_failing_row_is_not_confirmed():
    document = sample()
    document["results"].append(row("rk4", 3.0, 4, "formula", prediction="velocity"))
    assert "3 methods failing" in " ".join("".join(parsed(build_page(document)).text).split())


def test_every_plot_is_an_image_of_its_own():
    page = build_page(sample())
    plots = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(plots) == 4 + 1 + 1
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.attrib["role"] == "img" and root.attrib["aria-label"]


def test_rows_that_could_not_be_measured_still_make_a_page():
    broken = {**row(), "observed_order": None, "order_low": None, "order_high": None, "asymptotic_from": None}
    broken |= {"steps": [4, 6], "errors": [None, None], "verdict": "undetermined", "reason": "not measured", "few": []}
    page = build_page({"results": [broken], "methods": []})
    assert "not measured" in page and "no finite error" in page
    empty = {**broken, "steps": [], "errors": [], "nfe": []}
    parsed(build_page({"results": [empty], "methods": [about("rk4")]}))


def test_names_cannot_break_the_page():
    name = '<script>alert("1")</script>&amp;'
    page = build_page({"results": [row(name)], "methods": [about(name)]})
    assert "<script" not in page
    parsed(page)


def test_report_writes_both_files_and_stays_small(tmp_path):
    rows = [{**one, "method": f"method-{i}"} for i in range(60) for one in sample()["results"][:8]]
    page = write_report({**sample(), "results": rows, "methods": [about(f"method-{i}") for i in range(60)]}, tmp_path)
    assert page == tmp_path / "index.html"
    assert page.stat().st_size < 5_000_000
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert len(kept["results"]) == 480
    asked = "method process prediction problem claimed_order observed_order order_low order_high verdict".split()
    asked += "asymptotic_from steps errors nfe kind reason grid seed findings".split()
    assert set(asked) <= set(kept["results"][0])


@settings(deadline=None, max_examples=80)
@given(
    points=st.lists(
        st.tuples(st.integers(1, 10**6), st.none() | st.floats(allow_nan=True, allow_infinity=True)), max_size=8
    ),
    claim=st.none() | st.floats(-3, 12),
    title=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12),
)
def test_any_ladder_can_be_drawn(points, claim, title):
    points = sorted(points, key=lambda point: point[0])
    ladder = Series("formula", [p[0] for p in points], [p[1] for p in points], asymptotic_from=10)
    root = ElementTree.fromstring(convergence_plot(title, [ladder], claim))
    for dot in root.iter("circle"):
        assert math.isfinite(float(dot.attrib["cx"])) and math.isfinite(float(dot.attrib["cy"]))


def test_the_dashed_line_has_the_claimed_slope():
    """Through the finest point of an exact ladder of that order it passes every other point as well."""
    steps = [4, 8, 16, 32]
    plot = convergence_plot("p", [Series("a", steps, [n**-3.0 for n in steps], asymptotic_from=8)], 3)
    root = ElementTree.fromstring(plot)
    dots = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter("circle")]
    line = next(p.attrib["d"] for p in root.iter("path") if p.attrib["class"] == "claim")
    (xa, ya), (xb, yb) = (map(float, end.split()) for end in line[1:].split("L"))
    for x, y in dots:
        assert y == pytest.approx(ya + (x - xa) / (xb - xa) * (yb - ya), abs=0.4)
    assert [c.attrib.get("class") for c in root.iter("circle")] == ["out", None, None, None]


def test_figures_come_in_three_formats_and_the_same_twice(tmp_path):
    rows = [row("rk4"), row("euler", 1.0, 1), {**row("nothing"), "errors": [None] * 9}]
    first = [path.read_bytes() for path in save(rows, tmp_path / "a" / "convergence", title="vp")]
    second = [path.read_bytes() for path in save(rows, tmp_path / "b" / "convergence", title="vp")]
    assert first == second and len(first) == len(SUFFIXES) == 3
    assert first[0].startswith(b"\x89PNG") and b"<svg" in first[1] and first[2].startswith(b"%PDF")
    assert b"rk4 (4.00)" in first[1]
