"""Every example a reader may copy is run: docstrings, README, manual, notebook."""

import ast
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


ROOMS = "exceptions operators expressions algebra processes targets fields noise grids methods engine plan".split()
ROOMS += ["interop", "trace", "solve"]
ASKED_FOR = {("algebra", "methods"), ("fields", "methods"), ("fields", "solve")}
"""Rooms above that are looked into inside a function: names and files of methods, and references of problems."""


def imports_of_rooms():
    """(file, room, room imported, whether at the head of the file) of every import between rooms."""
    for path in (ROOT / "odekit").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = parts[1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                above = parts[: len(parts) - node.level] if node.level else ()  # a relative import counts too
                names = [".".join((*above, *filter(None, (node.module, alias.name)))) for alias in node.names]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                package, _, rest = name.partition(".")
                other = rest.partition(".")[0]
                if room != "__init__" and package == "odekit" and other in ROOMS:
                    yield path, room, other, node.col_offset == 0


def test_rooms_import_only_rooms_below_them():
    """What stands above is looked up by name when it is asked for, if at all: never at import."""
    found = list(imports_of_rooms())
    assert len(found) > 1000
    for path, room, other, at_head in found:
        below = ROOMS.index(other) <= ROOMS.index(room)
        assert below or (not at_head and (room, other) in ASKED_FOR), f"{path} imports odekit.{other}, above it"


def test_importing_odekit_does_no_symbolic_work_and_loads_no_figures():
    check = (
        "import odekit, sys; print([m for m in ('sympy', 'matplotlib', 'sklearn', 'diffusers') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "[]"
