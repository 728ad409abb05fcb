"""Method files: what is read, what is refused and how, and that writing and reading are inverse."""

import os
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from method_files import FAMILIES, RK3, rationals, write

from odekit.exceptions import MethodError, OdekitError, UnknownNameError
from odekit.methods.files import DATA, get, method_from, names, read_method_file, write_method_file
from odekit.methods.tableau import Tableau, exact

DDIM = {"name": "mine", "family": "exponential-multistep", "order": 2, "prediction": "noise", "clock": "logsnr"}


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


@pytest.mark.parametrize("value", [Decimal("0.5"), Decimal("-1e-3")])
def test_decimals_are_exact(value):
    assert exact(str(value)) == Fraction(value)
