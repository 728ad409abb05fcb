"""Method files of every family: each is read and written, and every refusal names its place."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from method_files import FAMILIES, rationals, write

from odekit.exceptions import MethodError, OdekitError
from odekit.methods.files import as_toml, data_of, method_from, read_method_file, write_method_file


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_read_and_written(name, tmp_path):
    data = FAMILIES[name]
    path = tmp_path / "mine.toml"
    write_method_file(data, path)
    found = read_method_file(path)
    assert data_of(found) == data_of(method_from(data))
    if "parameters" not in data:  # else they are put in; a start is the running method's
        assert {**data_of(found), "start": None} == {**data, "start": None}
    again = read_method_file(write(tmp_path, as_toml(found)))
    assert data_of(again) == data_of(found)


def test_what_the_families_make():
    assert method_from(FAMILIES["runge-kutta"]).b == ("1/4", "3/4")
    half = method_from(FAMILIES["exponential-runge-kutta"])
    assert half.A[1][0] == "phi1(-h/2)/2" and half.parameters == () and half.stiff_order == 2
    assert method_from(FAMILIES["exponential-multistep"]).parameters == ("r1",)
    assert [str(b) for b in method_from(FAMILIES["multistep"]).at(["1"]).beta] == ["0", "3/2", "-1/2"]
    assert method_from(FAMILIES["splitting"]).steps == (("A", "1/2"), ("B", "1"), ("A", "1/2"))
    processed = method_from(FAMILIES["processed splitting"])
    assert processed.processor.steps == (("B", "1/2"),) and processed.kernel.digits == 20
    from odekit.algebra.stochastic_tables import get as stochastic

    assert method_from(FAMILIES["stochastic-runge-kutta"]).coefficients == stochastic("sra1").coefficients


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        (
            "runge-kutta",
            {"b": ["1 - 1/(2*c3)", "1/(2*c2)"]},
            ["mine: entry 1 of b: unknown symbol 'c3'", "position 10"],
        ),
        ("runge-kutta", {"A": [[], ["c2^2"]]}, ["entry 1 of row 2 of A: unexpected '^' at position 3"]),
        ("runge-kutta", {"parameters": {"c2": "0"}}, ["entry 1 of b: division by zero at position 5"]),
        ("runge-kutta", {"parameters": {"c2": "1/2", "c3": "1"}}, ["parameter 'c3' is used by no entry"]),
        ("runge-kutta", {"parameters": {"c2": "phi1(2)"}}, ["parameter c2"]),
        ("runge-kutta", {"parameters": {"c2": "c2"}}, ["parameter c2: unknown symbol 'c2' (declared: none)"]),
        ("runge-kutta", {"parameters": {"h": "1"}}, ["parameter 'h': expected a name like c2"]),
        ("runge-kutta", {"parameters": {"phi1": "1"}}, ["expected a name like c2"]),
        ("runge-kutta", {"parameters": ["c2"]}, ["parameters must be a table"]),
        ("multistep", {"beta": ["0", "1 + w2/2", "-w1/2"]}, ["entry 2 of beta: unknown symbol 'w2' (declared: w1)"]),
        ("multistep", {"beta": ["0", "1"]}, ["3 alpha", "2 beta"]),
        ("multistep", {"alpha": ["1", "-1", "w1**64*(w1+1)**64"], "order": 0}, ["order must be an integer from 1"]),
        ("multistep", {"beta": ["0", "sqrt(w1)", "0"]}, ["entry 2 of beta", "no rational function"]),
        ("multistep", {"alpha": ["0", "-1", "0"]}, ["alpha_0 = 0"]),
        ("multistep", {"parameters": {"w1": "1"}}, ["parameter 'w1' is a step ratio"]),
        ("exponential-runge-kutta", {"c": ["0", "h"]}, ["entry 2 of c: unknown symbol 'h' (declared: c2)"]),
        (
            "exponential-runge-kutta",
            {"b": ["phi1(-z)", "phi2(-h)/c2"]},
            ["entry 1 of b: unknown symbol 'z'", "position 7"],
        ),
        ("exponential-runge-kutta", {"b": ["exp(h)", "0"]}, ["entry 1 of b: unknown function 'exp'"]),
        ("exponential-runge-kutta", {"b": ["phi99(h)/c2", "0"]}, ["entry 1 of b: phi99", "at most 20"]),
        ("exponential-runge-kutta", {"prediction": "velocity"}, ["unknown prediction 'velocity'", "data, noise"]),
        ("exponential-runge-kutta", {"stiff_order": "2"}, ["stiff_order must be an integer"]),
        ("exponential-multistep", {"nodes": ["0", "-r2"]}, ["entry 2 of nodes: unknown symbol 'r2' (declared: r1)"]),
        ("exponential-multistep", {"weights": ["1"]}, ["2 nodes and 1 weights"]),
        ("exponential-multistep", {"weights": "lumped"}, ["weights must be a list"]),
        ("splitting", {"steps": [["A", "a"], ["b", "1"]]}, ["entry 2 of steps: 'b' is no flow"]),
        ("splitting", {"steps": [["A", "a", "B"]]}, ["entry 1 of steps must be a letter and a number"]),
        ("splitting", {"steps": [["A", "a"], ["B", "1+"]]}, ["entry 2 of steps", "position"]),
        ("splitting", {"steps": [["A", "a"], ["M", "1"]]}, ["do not mix"]),
        ("splitting", {"steps": []}, ["a method without steps", "parameter 'a' is used by no entry"]),
        ("splitting", {"nystrom": "yes"}, ["nystrom must be true or false"]),
        ("stochastic-runge-kutta", {"kind": "SRB"}, ["unknown kind 'SRB'", "did you mean"]),
        ("stochastic-runge-kutta", {"order": "4/3"}, ["order must be a multiple of one half"]),
        (
            "stochastic-runge-kutta",
            {"coefficients": {"alpha": ["b"]}},
            ["the coefficients A0, B0, c1, beta1, beta2 of SRA"],
        ),
    ],
)
def test_every_refusal_names_its_place(name, change, parts):
    with pytest.raises(OdekitError) as caught:
        method_from({**FAMILIES[name], **change})
    assert any(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)
    if "parameter 'a' is used by no entry" not in parts:
        assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize("name", ["ho2", "krogstad4", "dpm-solver-2", "dpmpp-2m", "etdrk4"])
def test_exponential_methods_of_the_literature_survive_writing(name):
    from odekit.algebra import exponential_methods

    method = exponential_methods.get(name)
    free = [p for p in method.parameters if p != "r1" or not hasattr(method, "nodes")]
    if free:
        with pytest.raises(MethodError, match="substitute numbers"):
            data_of(method)
        method = method.substitute(**dict.fromkeys(free, "1/3"))
    assert method_from(data_of(method)) == method


def test_compositions_and_stochastic_tables_survive_writing():
    from odekit.algebra import compositions, stochastic_tables

    for place in (compositions, stochastic_tables):
        for name in place.names():
            method = place.get(name)
            assert method_from(tomllib.loads(as_toml(method))) == method, name


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ABC"), rationals), min_size=1, max_size=8), st.integers(1, 20))
def test_round_trip_of_splittings(steps, order):
    from odekit.algebra.splitting import Splitting

    method = Splitting("any", tuple((x, str(v)) for x, v in steps), order)
    assert method_from(tomllib.loads(as_toml(method))) == method


entries = st.recursive(
    rationals.map(str) | st.sampled_from(["h", "phi1(h)", "phi2(-h/2)", "sqrt(2)", "phi0(h)"]),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
    max_leaves=4,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(entries, min_size=2, max_size=2), entries, st.sampled_from(["noise", "data"]))
def test_round_trip_of_exponential_tableaus(b, a, prediction):
    from odekit.algebra.exponential import ExponentialTableau

    method = ExponentialTableau("any", 1, "", ("0", "1/2"), ((), (a,)), tuple(b), prediction=prediction)
    assert method_from(tomllib.loads(as_toml(method))) == method
