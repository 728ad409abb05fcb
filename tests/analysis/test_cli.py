"""The command line answers in one line, with exit status 0, 1 or 2, and never with a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import answer, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.cli import main

COMMANDS = ["list", "verify", "certify", "derive", "figures", "report"]


def test_help_is_quick_and_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys; from analysis.cli import main; status = main(['--help']); "
        "print(status, [name for name in ('torch', 'sympy', 'matplotlib', 'rich', 'jinja2') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert result.stdout.endswith("0 []\n"), result.stdout + result.stderr
    for command in COMMANDS:
        assert command in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    status, out, err = answer(capsys, command, "--help")
    assert status == 0 and err == "" and "Usage: odekit " + command in out


def test_without_a_command_there_is_help(capsys):
    status, out, err = answer(capsys)
    assert status == 0 and "verify" in out


def test_the_version_is_told(capsys):
    status, out, _ = answer(capsys, "--version")
    assert status == 0 and out.startswith("odekit ")


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["verfy"], ["verfy", "did you mean 'verify'"]),
        (["verify", "--stepz", "4"], ["--stepz"]),
        (["verify", "--steps", "4,x"], ["4,x", "separated by commas"]),
        (["verify", "--steps", "0,4"], ["0,4", "between 1 and"]),
        (["verify", "--steps", "4,4"], ["distinct"]),
        (["verify", "--steps", ""], ["separated by commas"]),
        (["verify", "--kind", "both"], ["both", "formula"]),
        (["certify"], ["MODULE:CALLABLE"]),
        (["list", "surplus"], ["surplus"]),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, arguments, named):
    err = refused(capsys, *arguments)
    for text in named:
        assert text in err, err


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["verify", "deis-tap-9"], ["unknown method 'deis-tap-9'", "did you mean 'deis-tab-", "in all"]),
        (["verify", "rk4", "--process", "vpp"], ["unknown process", "did you mean 'vp'"]),
        (["verify", "rk4", "--prediction", "nois"], ["unknown prediction", "did you mean 'noise'"]),
        (["verify", "rk4", "--problem", "ring7"], ["unknown problem", "did you mean 'ring6'"]),
        (["verify", "rk4", "--grid", "lognsr"], ["unknown grid", "did you mean 'logsnr'"]),
        (["verify", "rk4", "--grid", "leading"], ["leading", "tabulated process"]),
        (["verify", "ab-8", "--steps", "2,4,8"], ["[2, 4, 8]", "ab-8 needs whole numbers of at least 8"]),
        (["verify", "no-such.toml"], ["no-such.toml", "does not exist"]),
        (["verify", "folder.toml"], ["folder.toml", "directory"]),
        (["verify", "binary.toml"], ["binary.toml", "UTF-8"]),
        (["verify", "half.toml"], ["half.toml", "not TOML"]),
        (["verify", "sampler.py"], ["sampler.py", "odekit certify"]),
        (["verify", "module:sampler"], ["odekit certify"]),
        (["verify", "rk4", "--json", "folder.toml"], ["folder.toml", "folder that exists"]),
        (["verify", "rk4", "--json", "nowhere/rows.json"], ["nowhere/rows.json", "folder that exists"]),
        (["report", "--folder", "half.toml"], ["half.toml"]),
        (["figures", "rk5"], ["unknown method 'rk5'"]),
    ],
)
def test_bad_names_and_files_are_refused_in_one_line(capsys, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODEKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "half.toml").write_text("name = ")
    err = refused(capsys, *arguments)
    for text in named:
        assert text in err, err


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_file_brings_a_traceback(tmp_path_factory, content):
    import contextlib
    import io

    path = tmp_path_factory.mktemp("fuzz") / "method.toml"
    path.write_bytes(content)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["verify", str(path)]) == 2
    assert out.getvalue() == "" and err.getvalue().count("\n") == 1 and "Traceback" not in err.getvalue()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=12) | st.sampled_from(["--steps", "--kind", "--json", "-h", "--order"]), max_size=5))
def test_no_arguments_bring_a_traceback(words):
    """The first word is no command, or the command refuses the rest before it measures anything."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words if not words or words[0] not in COMMANDS else ["list", "--no-such-option"])
    assert status in (0, 1, 2)
    assert "Traceback" not in err.getvalue()
    assert err.getvalue().count("\n") == (status == 2)
