"""Method files: what is read, what is refused and how, and that nothing else can happen."""

import os
import tomllib
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.exceptions import MethodError, OdekitError, UnknownNameError
from odekit.methods.files import DATA, as_toml, data_of, get, method_from, names, read_method_file, write_method_file
from odekit.methods.tableau import Tableau, exact

RK3 = """
name = "my-rk3"
family = "runge-kutta"
order = 3
source = "who, where, equation"
c = ["0", "1/2", "1"]
A = [[], ["1/2"], ["-1", "2"]]
b = ["1/6", "2/3", "1/6"]
b_embedded = ["0", "1", "0"]
embedded_order = 2
"""
DDIM = {"name": "mine", "family": "exponential-multistep", "order": 2, "prediction": "noise", "clock": "logsnr"}


def write(folder, text):
    path = folder / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder, text):
    with pytest.raises(OdekitError) as caught:
        read_method_file(write(folder, text))
    message = str(caught.value)
    assert "\n" not in message and "mine.toml" in message
    return message


def test_the_format_of_the_design(tmp_path):
    tableau = read_method_file(write(tmp_path, RK3))
    assert (tableau.name, tableau.order, tableau.embedded_order, tableau.family) == ("my-rk3", 3, 2, "runge-kutta")
    assert tableau.A == ((), ("1/2",), ("-1", "2")) and tableau.kind == "explicit"
    assert read_method_file(write(tmp_path, "\ufeff" + RK3)) == tableau  # editors on Windows
    assert read_method_file(write(tmp_path, RK3.replace("\n", "\r\n"))) == tableau


def test_numbers_without_quotes_keep_their_digits(tmp_path):
    text = RK3.replace('["0", "1/2", "1"]', "[0, 0.5, 1]").replace('["1/2"]', "[0.50]")
    assert read_method_file(write(tmp_path, text)).exact.c == (0, Fraction(1, 2), 1)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('b = ["1/6"', 'b = ["1/7"', ["my-rk3", "b sums to 41/42"]),
        ('["-1", "2"]', '["-1", "3"]', ["row 3 of A sums to 2, but c3 is 1"]),
        ("embedded_order", "embeded_order", ["'embeded_order'", "did you mean 'embedded_order'"]),
        ('b_embedded = ["0", "1", "0"]\n', "", ["b_embedded and embedded_order come together"]),
        ("order = 3", "", ["'order' missing"]),
        ('family = "runge-kutta"', "", ["'family' is missing", "runge-kutta"]),
        ('"runge-kutta"', '"runge-kuta"', ["did you mean 'runge-kutta'"]),
        ('"runge-kutta"', '"splitting"', ["unknown key 'c' (known: ", "steps"]),
        ('"runge-kutta"', "3", ["family must be text"]),
        ("order = 3", 'order = "3"', ["order must be an integer"]),
        ("order = 3", "order = 3.0", ["order must be an integer"]),
        ("order = 3", "order = 999", ["from 1 to 20, got 999"]),
        ('c = ["0", "1/2", "1"]', "c = nan", ["c must be a list"]),
        ('c = ["0", "1/2", "1"]', "c = [0, inf, 1]", ["entry 2 of c"]),
        ('c = ["0", "1/2", "1"]', "c = [0, 1e999999999, 1]", ["entry 2 of c"]),
        ('c = ["0", "1/2", "1"]', "c = [0, 1979-05-27, 1]", ["entry 2 of c must be a number"]),
        ("order = 3", "order = = 3", ["not TOML", "line 4"]),
        ("order = 3", "order = 3\norder = 3", ["not TOML", "line 5"]),
        ("order = 3", f"order = {'9' * 5000}", ["not TOML"]),
        ("order = 3", f"order = {'[' * 100_000}", ["nested too deeply"]),
        ('"my-rk3"', '"my\\nrk3"', ["name must be a line"]),
    ],
)
def test_refusals(tmp_path, old, new, parts):
    assert old in RK3
    message = refusal(tmp_path, RK3.replace(old, new, 1))
    assert all(part in message for part in parts), message


def test_files_that_are_none(tmp_path):
    assert "not UTF-8 text (byte 11, line 2)" in refusal(tmp_path, b'name = "a"\n\xff\xfe')
    assert "larger than 1000000 bytes" in refusal(tmp_path, b"#" * 1_000_001)
    assert "'family' is missing" in refusal(tmp_path, b"")
    for path, reason in [
        (tmp_path, "is a directory"),
        (tmp_path / "nowhere" / "none.toml", "does not exist"),
        (tmp_path / ("x" * 300), "cannot be read"),
        (tmp_path / "null\0byte", "cannot be read"),
        ("/dev/zero", "not a regular file"),
    ]:
        with pytest.raises(MethodError, match=reason) as caught:
            read_method_file(path)
        assert "\n" not in str(caught.value)
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(MethodError, match="not a regular file"):
        read_method_file(tmp_path / "pipe.toml")


def test_multistep_families_give_checked_fields():
    fields = method_from({**DDIM, "weights": "lumped"})
    assert fields["clock"] == "logsnr" and fields["weights"] == "lumped" and fields["start"] is None
    assert method_from({"name": "ab", "family": "multistep", "order": 3})["prediction"] is None
    for change, message in [
        ({"prediction": "nois"}, "did you mean 'noise'"),
        ({"weights": "lump"}, "did you mean 'lumped'"),
        ({"clock": 3}, "clock must be a line"),
        ({"order": False}, "order must be an integer"),
        ({"b": ["1"]}, "unknown key 'b'"),
    ]:
        with pytest.raises(OdekitError, match=message):
            method_from({**DDIM, **change})
    with pytest.raises(MethodError, match="'clock' missing"):
        method_from({key: value for key, value in DDIM.items() if key != "clock"})
    with pytest.raises(MethodError, match="keys and values"):
        method_from([1, 2])


def test_unknown_tableau_names_its_neighbours():
    with pytest.raises(UnknownNameError, match="unknown tableau 'dop835'; did you mean 'dop853'"):
        get("dop835")
    with pytest.raises(UnknownNameError):
        get("../data/rk4")


@pytest.mark.parametrize("name", names())
def test_every_tableau_survives_writing_and_reading(name, tmp_path):
    path = tmp_path / "copy.toml"
    write_method_file(get(name), path)
    assert read_method_file(path) == get(name)
    assert path.read_bytes() == (DATA / f"{name}.toml").read_bytes()  # the package's files are in canonical form


def test_writing_says_why_it_cannot(tmp_path):
    with pytest.raises(MethodError, match="cannot be written"):
        write_method_file(get("rk4"), tmp_path / "nowhere" / "rk4.toml")
    broken = Tableau("lone", 1, "a surrogate \ud800", ["0"], [[]], ["1"])
    with pytest.raises(MethodError, match="cannot be written"):
        write_method_file(broken, tmp_path / "lone.toml")
    assert list(tmp_path.iterdir()) == []


rationals = st.fractions(min_value=-5, max_value=5, max_denominator=50)


@st.composite
def tableaus(draw):
    stages = draw(st.integers(1, 5))
    width = draw(st.sampled_from([lambda i: i, lambda i: i + 1, lambda i: stages]))
    A = [[draw(rationals) for _ in range(width(i))] for i in range(stages)]
    b = [draw(rationals) for _ in range(stages - 1)]
    embedded = draw(st.booleans())
    return Tableau(
        name=draw(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)),
        order=draw(st.integers(1, 20)),
        source=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=40)),
        c=[sum(row, Fraction(0)) for row in A],
        A=A,
        b=[*b, 1 - sum(b)],
        b_embedded=[*[0] * (stages - 1), 1] if embedded else None,
        embedded_order=1 if embedded else None,
    )


@settings(deadline=None, max_examples=60)
@given(tableaus())
def test_round_trip(tmp_path_factory, tableau):
    path = tmp_path_factory.getbasetemp() / "round-trip.toml"
    write_method_file(tableau, path)
    assert read_method_file(path) == tableau
    # Construction is idempotent: the stored form stands for itself.
    assert Tableau(*(getattr(tableau, key) for key in tableau.__dataclass_fields__)) == tableau


# The other families, one complete example each.

HEAD = {"name": "mine", "order": 2, "source": "where"}
FAMILIES = {
    "runge-kutta": {
        **{"family": "runge-kutta", "parameters": {"c2": "2/3"}},
        **{"c": ["0", "c2"], "A": [[], ["c2"]], "b": ["1 - 1/(2*c2)", "1/(2*c2)"]},
    },
    "multistep": {
        "family": "multistep",
        "alpha": ["1", "-1", "0"],
        "beta": ["0", "(w1 + 2)/2", "-w1/2"],
        "start": "midpoint",
    },
    "exponential-runge-kutta": {
        **{"family": "exponential-runge-kutta", "prediction": "data", "stiff_order": 2, "parameters": {"c2": "1/2"}},
        **{"c": ["0", "c2"], "A": [[], ["c2*phi1(-c2*h)"]], "b": ["phi1(-h) - phi2(-h)/c2", "phi2(-h)/c2"]},
    },
    "classical exponential-runge-kutta": {
        **{"family": "exponential-runge-kutta", "c": ["0", "1"], "A": [[], ["phi1(z)"]]},
        **{"b": ["phi1(z)-phi2(z)", "phi2(z)"], "b_embedded": ["phi1(z)", "0"], "embedded_order": 1},
    },
    "exponential-multistep": {
        **{"family": "exponential-multistep", "prediction": "noise", "nodes": ["0", "-r1"]},
        **{"weights": ["phi1(h) + phi2(h)/r1", "-phi2(h)/r1"], "start": "rising"},
    },
    "adams": {"family": "exponential-multistep", "prediction": "noise", "clock": "kappa", "weights": "interpolating"},
    "splitting": {
        **{"family": "splitting", "nystrom": True, "parameters": {"a": "1/2"}},
        **{"steps": [["A", "a"], ["B", "1"], ["A", "1 - a"]]},
    },
    "processed splitting": {
        **{"family": "splitting", "digits": 20, "steps": [["A", "1"], ["B", "1"]], "processor": [["B", "1/2"]]},
    },
    "stochastic-runge-kutta": {
        **{"family": "stochastic-runge-kutta", "kind": "SRA", "order": "3/2", "parameters": {"b": "3/2"}},
        "coefficients": {
            **{"A0": [[], ["b/2"]], "B0": [[], ["b"]], "c1": ["1", "0"], "alpha": ["1/3", "2/3"]},
            **{"beta1": ["1", "0"], "beta2": ["-1", "1"]},
        },
    },
}
FAMILIES = {name: {**HEAD, **data} for name, data in FAMILIES.items()}


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


def test_parameters_have_defaults_that_can_be_replaced(tmp_path):
    import odekit as ok

    path = tmp_path / "mine.toml"
    write_method_file(FAMILIES["runge-kutta"], path)
    assert read_method_file(path).c == ("0", "2/3")
    for value in ("1/2", Fraction(1, 2), 0.5, Decimal("0.5")):
        assert read_method_file(path, c2=value).exact.b == (0, 1)
    assert ok.methods.load(path, c2="3/4", prediction="noise").tableau.b == ("1/3", "2/3")
    assert read_method_file(path, c2="sqrt(2)/2").exact.c[1] ** 2 == Fraction(1, 2)
    with pytest.raises(UnknownNameError, match="unknown parameter 'c3'; did you mean 'c2'"):
        read_method_file(path, c3="1")
    with pytest.raises(OdekitError, match="unknown option of mine 'c3'"):
        ok.methods.load(path, c3="1")


def test_a_start_in_the_file_is_the_methods_start(tmp_path):
    import odekit as ok

    path = tmp_path / "mine.toml"
    write_method_file(FAMILIES["multistep"], path)
    assert ok.methods.load(path).starter.name == "midpoint"
    assert ok.methods.load(path, start="heun2").starter.name == "heun2"


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


# Fuzzing: a method, or a refusal in one line.


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


@pytest.mark.parametrize("value", [Decimal("0.5"), Decimal("-1e-3")])
def test_decimals_are_exact(value):
    assert exact(str(value)) == Fraction(value)
