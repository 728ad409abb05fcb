"""Whatever a method file holds, it is a method or is refused in one line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from method_files import FAMILIES, RK3

from odekit.exceptions import OdekitError
from odekit.methods.files import as_toml, method_from, read_method_file
from odekit.methods.tableau import Tableau, exact


def method_or_refusal(read, *arguments):
    try:
        found = read(*arguments)
    except OdekitError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
    else:
        assert isinstance(found, Tableau | dict) or hasattr(found, "name")


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_arbitrary_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(content)
    method_or_refusal(read_method_file, path)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(RK3)), st.integers(0, 12), st.text(st.characters(codec="utf-8"), max_size=8))
def test_a_file_with_a_slip(tmp_path_factory, start, length, text):
    path = tmp_path_factory.getbasetemp() / "slip.toml"
    path.write_text(RK3[:start] + text + RK3[start + length :])
    method_or_refusal(read_method_file, path)


formulas = st.text("0123456789+-*/(). sqrtpiehwrzc", max_size=30)
leaves = formulas | st.text(max_size=8) | st.integers() | st.booleans() | st.floats() | st.none() | st.decimals()
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner))
KEYS = sorted({key for data in FAMILIES.values() for key in data} | {"digits", "last", "coordinates"})


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=10), values),
    st.sampled_from([data["family"] for data in FAMILIES.values()]) | values,
)
def test_arbitrary_mappings(data, family):
    method_or_refusal(method_from, {**data, "family": family})


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(FAMILIES)), st.sampled_from(KEYS), values)
def test_one_wrong_value(name, key, value):
    method_or_refusal(method_from, {**FAMILIES[name], key: value})


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(FAMILIES)), st.data())
def test_a_file_of_any_family_with_a_slip(tmp_path_factory, name, data):
    path, text = tmp_path_factory.getbasetemp() / "slipped.toml", as_toml(FAMILIES[name]).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.binary(max_size=3) | st.sampled_from([b"**9", b"((", b"phi7(", b"9e9", b'","', b"[", b"w1**9"]))
    path.write_bytes(text[:at] + new + text[at + data.draw(st.integers(0, 3)) :])
    method_or_refusal(read_method_file, path)


HOSTILE = [
    *(
        "9**9**9",
        "9**9**9**9",
        "(((9**64)**64)**64)",
        "1e999999",
        "2**(1/64)" + "*2**(1/63)" * 100,
        "(" * 5000,
        "1" * 3000,
    ),
    *("+".join(["sqrt(2)"] * 280), "sqrt(" * 100 + "2" + ")" * 100, "__import__('os')", "h.real", "(lambda: 1)()"),
    *("phi1(phi1(phi1(h)))", "(w1+1)**64", "1/(w1+1)" + "+1/(w1+2)" * 200, "(w1**64+1)**64", "(h**64+1)**64", "p**64"),
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:16] for text in HOSTILE])
def test_hostile_entries_are_answered(text):
    for name, key in [
        *(("runge-kutta", "b"), ("multistep", "beta"), ("exponential-runge-kutta", "b")),
        *(("exponential-multistep", "weights"), ("splitting", "steps")),
    ]:
        data = dict(FAMILIES[name])
        data["parameters"] = {**data.get("parameters", {}), "p": "9**64"}
        row = [*data[key]]
        row[-1] = ["B", text] if key == "steps" else f"{text}"
        method_or_refusal(method_from, {**data, key: row})
        method_or_refusal(method_from, {**data, "parameters": {"p": text}})


@settings(deadline=None, max_examples=300)
@given(formulas)
def test_entries_are_numbers_or_refused(text):
    try:
        number = exact(text)
    except OdekitError as error:
        assert "\n" not in str(error)
    else:
        assert abs(float(number)) <= 1e15
