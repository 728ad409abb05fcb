"""Finished work that survives an interruption: one small JSON file per result, named by everything it depends on.

The key is the sha256 of a description (coefficients of the method, problem, grid, settings) together with a hash of
the sources of both packages and the versions of torch and numpy: editing one coefficient, or one line of code, makes
a new key. Files are written to a temporary name and moved into place, so a reader never sees half of one; a file that
cannot be read, or was written for another key, counts as missing and is computed again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any


def default_folder() -> Path:
    """Where results are kept: $ODEKIT_CACHE, or `odekit` in the user's cache folder."""
    if named := os.environ.get("ODEKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "odekit"


def key_of(description: Any, sources: str | None = None) -> str:
    """sha256 of a JSON-like description and of the package sources, as hexadecimal text.

    >>> key_of({"b": 1, "a": 2}, "x") == key_of({"a": 2, "b": 1}, "x") != key_of({"a": 2, "b": 1}, "y")
    True
    """
    text = json.dumps(description, sort_keys=True, default=str, allow_nan=True)
    return hashlib.sha256(f"{sources if sources is not None else source_hash()}\n{text}".encode()).hexdigest()


@functools.cache
def source_hash() -> str:
    """sha256 over every source and data file of both packages, and the versions of torch and numpy.

    The pages, figures and commands that only show results are left out: editing a template redoes no measurement.
    """
    import odekit

    digest = hashlib.sha256()
    for name in ("torch", "numpy"):
        digest.update(f"{name} {metadata.version(name)}\n".encode())
    shows_only = {"report.py", "figures.py", "cli.py", "progress.py"}
    for package in (Path(odekit.__file__).parent, Path(__file__).parent):
        for path in sorted(p for suffix in ("*.py", "*.toml") for p in package.rglob(suffix)):
            if path.parent == Path(__file__).parent and path.name in shows_only:
                continue
            digest.update(f"{package.name}/{path.relative_to(package).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Cache:
    """JSON values by key in a folder; safe against interruption and against several writers.

    folder: created on first write. fresh: read nothing that was there before (but write, so that a fresh run that is
    interrupted loses nothing the next plain run could use).

    >>> import tempfile
    >>> cache = Cache(tempfile.mkdtemp())
    >>> cache.put("00ff", {"slope": 4.0}); cache.get("00ff")
    {'slope': 4.0}
    >>> cache.get("0100") is None
    True
    """

    def __init__(self, folder: str | os.PathLike | None = None, fresh: bool = False):
        self.folder = Path(folder) if folder is not None else default_folder()
        self.fresh = fresh
        self._written: set[str] = set()

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Any | None:
        """The value stored under a key, or None where there is none that can be trusted."""
        if self.fresh and key not in self._written:
            return None
        try:
            entry = json.loads(self.path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(entry, dict) or entry.get("key") != key or _digest(entry.get("value")) != entry.get("digest"):
            return None
        return entry["value"]

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value under a key, atomically."""
        write_atomically(self.path(key), json.dumps({"key": key, "digest": _digest(value), "value": value}))
        self._written.add(key)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_atomically(path: str | os.PathLike, text: str) -> None:
    """Write a text file so that nobody ever sees half of it; makes the folders it needs."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
