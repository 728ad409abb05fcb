"""What derived source and LaTeX say: docstrings, imports, refusals, rounded literals, balanced braces."""

import ast

import pytest
from method_data import ABOUT, CLASSICAL, PARAMETRIC, SAMPLERS, SEMILINEAR, SPLITTINGS, adams

from odekit.algebra import stochastic_tables
from odekit.algebra.derive.source import latex, literal, python
from odekit.exceptions import OdekitError
from odekit.expressions import FLOAT64
from odekit.methods.files import data_of

EVERY = {**CLASSICAL, **SAMPLERS, **SEMILINEAR, "strang": SPLITTINGS["strang"]}
EVERY |= {name: data_of(stochastic_tables.get(name)) for name in ("sra1", "sriw1", "ri1")}


@pytest.mark.parametrize("name", EVERY)
def test_source_says_what_it_is(name):
    source = python(EVERY[name])
    tree = ast.parse(source)
    doc = ast.get_docstring(tree)
    assert doc.startswith(f"{EVERY[name]['name']}: a method of order {EVERY[name]['order']}")
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"math", "numpy"} and max(map(len, source.splitlines())) <= 125
    assert "At c2 = 2/3." in doc if name == "parametric" else True


def test_a_name_or_source_cannot_escape_its_docstring():
    wild = CLASSICAL["rk4"] | {"name": 'a""" + b \\', "source": '"""\nimport os\n"""\\u0000 \\N{x} \x07'}
    tree = ast.parse(python(wild))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


@pytest.mark.parametrize(
    "data, why",
    [
        (data_of(stochastic_tables.get("rs1")), "SRA, SRI, RI, not for RS"),
        (SAMPLERS["data, two steps"] | {"start": "dpmpp-2s"}, "start = 'rising'"),
        (adams(2, prediction="score", clock="t"), "not for score"),
        ({"name": "x"}, "'family' is missing"),
    ],
)
def test_what_no_source_is_written_for_is_said(data, why):
    with pytest.raises(OdekitError, match=why):
        python(data)


def test_literals_are_rounded_once():
    for text in ("1/3", "-2/7", "sqrt(2)/3", "0.1", "123456789012345/777", "0", "(5-sqrt(15))/10"):
        assert eval(literal(text)) == float(FLOAT64.number(text))


@pytest.mark.parametrize("name", EVERY)
def test_latex_is_balanced(name):
    text = latex(EVERY[name])
    assert text.count("{") == text.count("}") and text.count("\\left") == text.count("\\right")
    assert text.count("\\begin") == text.count("\\end") and "*" not in text.replace("{*}", "")


def test_latex_keeps_free_parameters_and_printed_decimals():
    assert "\\frac{1}{2 c_{2}}" in latex(PARAMETRIC)
    flows = {
        "name": "s",
        "family": "splitting",
        **ABOUT,
        "digits": 3,
        "steps": [["A", "-0.25"], ["B", "1"], ["A", "1.25"]],
    }
    assert latex(flows) == "\\Phi_h = \\varphi^{A}_{1.25 h} \\circ \\varphi^{B}_{h} \\circ \\varphi^{A}_{-0.25 h}"
