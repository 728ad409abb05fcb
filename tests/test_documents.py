"""Every example a reader may copy is run: docstrings, README, manual, notebook."""

import doctest
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import analysis
import odekit

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    module.name
    for package in (odekit, analysis)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["odekit", "analysis", *MODULES])
def test_docstring_examples(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("name", ["README.md", "docs/manual.md", "docs/samplers.md"])
def test_python_examples_of_a_page(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / name).read_text()
    for path, body in re.findall(r"```toml\n# (\S+\.toml)\n(.*?)```", text, flags=re.S):
        (tmp_path / path).write_text(body)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        exec(compile(block, name, "exec"), names)


def test_cells_of_the_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = json.loads((ROOT / "notebooks" / "first_steps.ipynb").read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "first_steps.ipynb", "exec"), names)


def test_rooms_import_only_rooms_below_them():
    """What stands above is looked up by name when it is asked for, if at all: never at import."""
    order = "exceptions operators expressions algebra processes targets fields grids methods engine plan".split()
    order += ["interop", "trace", "solve"]
    for path in (ROOT / "odekit").rglob("*.py"):
        room = path.relative_to(ROOT / "odekit").with_suffix("").parts[0]
        if room == "__init__":
            continue
        for other in re.findall(r"^(?:from|import) odekit\.(\w+)", path.read_text(), flags=re.M):
            assert order.index(other) <= order.index(room), f"{path} imports odekit.{other}, which stands above it"


def test_importing_odekit_does_no_symbolic_work_and_loads_no_figures():
    check = (
        "import odekit, sys; print([m for m in ('sympy', 'matplotlib', 'sklearn', 'diffusers') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "[]"
