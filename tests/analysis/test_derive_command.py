"""The command `odekit derive`: recipes with their choices, files of a derivation, and what is refused."""

import ast
import json

import pytest
from command_line import answer, refused

import odekit as ok
from odekit.algebra import stochastic_tables
from odekit.algebra.derive import Derivation, Difference, derivation, derive
from odekit.exceptions import MethodError
from odekit.methods.files import write_method_file


@pytest.fixture
def tiny(monkeypatch):
    """A recipe of two choices, and a published formula that differs."""
    known = dict(derivation.recipes())
    monkeypatch.setattr(derivation, "_RECIPES", known)

    @derivation.recipe("tiny")
    def tiny(order: int, c2: str = "1/2", bold: bool = False, size: float = 1.0) -> Derivation:
        """Two stages, for this test."""
        differences = (Difference("heun2", "Heun 1900", "b[1]: 0, not 1/2"), Difference("itself", "here", ""))
        two_stages = derive("explicit-runge-kutta", order=2).data
        data = two_stages | {"name": "tiny", "order": order, "parameters": {"c2": c2}}
        return Derivation(data, (f"solved; bold {bold}, size {size}",), differences)

    return tiny


def test_recipes_are_listed_with_their_choices(capsys, tiny):
    status, out, err = answer(capsys, "derive")
    assert status == 0 and err == ""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("tiny "))
    assert (
        "order [c2=1/2] [bold=False] [size=1.0]" in lines[at] and lines[at + 1].strip() == "Two stages, for this test."
    )
    assert "explicit-runge-kutta" in out


def test_a_derivation_is_told_with_its_mismatch(capsys, tiny):
    status, out, err = answer(capsys, "derive", "tiny", "order=2", "bold=true", "size=0.5", "c2=1/3")
    assert status == 0 and err == ""
    for text in ["tiny: runge-kutta, order 2", "bold True, size 0.5", "at: c2 = 1/3", "A[2,1] = c2", "certificate"]:
        assert text in out
    assert "MISMATCH  heun2 (Heun 1900): b[1]: 0, not 1/2" in out and "the same  itself: here" in out


def test_a_claim_that_does_not_hold_is_no_success(capsys, tiny):
    status, out, _ = answer(capsys, "derive", "tiny", "order=3")
    assert status == 1 and "not 3" in out


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["tinny"], ["unknown recipe 'tinny'", "did you mean 'tiny'"]),
        (["tiny"], ["tiny needs order"]),
        (["tiny", "order"], ["'order'", "choice=value"]),
        (["tiny", "order=two"], ["order=two", "a whole number"]),
        (["tiny", "order=2", "bold=perhaps"], ["bold=perhaps", "true or false"]),
        (["tiny", "order=2", "size=big"], ["size=big", "a number"]),
        (["tiny", "order=2", "order=3"], ["twice"]),
        (["tiny", "order=2", "c3=1"], ["unknown choice of tiny 'c3'", "c2"]),
        (["tiny", "order=2", "c2=0"], ["division by zero", "entry 1 of b"]),
        (["tiny", "order=2", "c2=x"], ["parameter c2", "'x'"]),
        (["tiny", "order=2", "--toml", "nowhere/t.toml"], ["--toml nowhere/t.toml", "folder that exists"]),
    ],
)
def test_bad_choices_are_refused_in_one_line(capsys, tiny, arguments, named):
    err = refused(capsys, "derive", *arguments)
    for text in named:
        assert text in err, err


def test_derived_files_are_read_back_and_verified(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ODEKIT_CACHE", str(tmp_path / "cache"))
    files = {name: tmp_path / f"mine.{name}" for name in ("toml", "latex", "python", "json")}
    options = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    status, out, _ = answer(capsys, "derive", "explicit-runge-kutta", "order=2", "c2=3/4", *options)
    assert status == 0 and "explicit-2" in out
    told = json.loads(files["json"].read_text())
    assert (
        told["parameters"] == {"c2": "3/4"} and told["route"] and told["published"][0].keys() >= {"differs", "source"}
    )
    assert files["latex"].read_text().startswith("\\begin{array}")
    names = {}
    exec(files["python"].read_text(), names)
    assert names["B"] == [1 / 3, 2 / 3]
    narrow = ["--problem", "exp-sin", "--steps", "64,128,256,512"]
    assert answer(capsys, "verify", str(files["toml"]), *narrow)[0] == 0
    text = files["toml"].read_text()
    files["toml"].write_text(text.replace("order = 2", "order = 3"))
    assert answer(capsys, "verify", str(files["toml"]), *narrow)[0] == 1
    files["toml"].write_text(text.replace('"c2"],', '"c2/2"],'))
    status, _, err = answer(capsys, "verify", str(files["toml"]), *narrow)
    assert status == 2 and "row 2 of A sums to 3/8" in err


def test_one_format_on_stdout_stands_alone(capsys):
    status, out, _ = answer(capsys, "derive", "explicit-runge-kutta", "order=2", "--python", "-")
    assert status == 0 and out.startswith('"""explicit-2: ')
    ast.parse(out)


def test_a_family_that_does_not_run_says_so_in_one_line(capsys, tmp_path):
    path = tmp_path / "sra.toml"
    write_method_file(stochastic_tables.get("sra1"), path)
    status, out, err = answer(capsys, "verify", str(path))
    assert status == 2 and out == "" and "no numerical run" in err and "odekit certify" in err
    with pytest.raises(MethodError, match="no numerical run"):
        ok.methods.load(path)
