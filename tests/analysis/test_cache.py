"""Finished work is kept, half-written or damaged work is not, and one changed coefficient is new work."""

import json
import multiprocessing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import cache as caches
from analysis.cache import Cache, key_of, source_hash, write_atomically

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(value=JSON)
def test_what_is_put_is_got(tmp_path_factory, value):
    cache = Cache(tmp_path_factory.mktemp("cache"))
    cache.put(key_of(value, "s"), {"value": value})
    assert cache.get(key_of(value, "s")) == {"value": value}


def test_the_key_depends_on_every_coefficient_and_on_the_sources():
    method = {"name": "rk2", "b": ["1/2", "1/2"]}
    edited = {"name": "rk2", "b": ["1/2", "1/3"]}
    assert key_of(method) != key_of(edited)
    assert key_of(method, "one") != key_of(method, "two")
    assert key_of(method) == key_of(dict(reversed(method.items())))


def test_sources_are_hashed_with_their_data_but_without_pages():
    first = source_hash()
    assert len(first) == 64 and first == source_hash.__wrapped__()


def test_editing_a_source_changes_the_hash(tmp_path, monkeypatch):
    import odekit

    package = tmp_path / "odekit"
    (package / "methods").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    data = package / "methods" / "rk4.toml"
    data.write_text('b = ["1/6"]')
    monkeypatch.setattr(odekit, "__file__", str(package / "__init__.py"))
    before = source_hash.__wrapped__()
    data.write_text('b = ["1/7"]')
    assert source_hash.__wrapped__() != before


def test_fresh_reads_nothing_old_but_what_it_wrote_itself(tmp_path):
    Cache(tmp_path).put("ab", 1)
    fresh = Cache(tmp_path, fresh=True)
    assert fresh.get("ab") is None
    fresh.put("ab", 2)
    assert fresh.get("ab") == 2 and Cache(tmp_path).get("ab") == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("0.25", "0.26"),
        lambda text: json.dumps({**json.loads(text), "key": "cd"}),
        lambda text: "\x00" * 50,
    ],
)
def test_a_damaged_entry_counts_as_missing(tmp_path, damage):
    cache = Cache(tmp_path)
    cache.put("ab", {"slope": 0.25})
    path = cache.path("ab")
    path.write_text(damage(path.read_text()))
    assert cache.get("ab") is None


def test_an_entry_that_is_not_text_or_not_a_file_counts_as_missing(tmp_path):
    cache = Cache(tmp_path)
    cache.put("ab", 1)
    cache.path("ab").write_bytes(b"\xff\xfe\x80")
    assert cache.get("ab") is None
    cache.path("cd").mkdir(parents=True)
    assert cache.get("cd") is None


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomically(path, "old")

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(caches.os, "replace", broken)
    with pytest.raises(OSError):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def _write_many(folder):
    cache = Cache(folder)
    for i in range(50):
        cache.put(f"{i % 5:02d}", list(range(i % 5 * 100)))


def test_two_writers_never_leave_half_an_entry(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    cache = Cache(tmp_path)
    while any(writer.is_alive() for writer in writers):
        for i in range(5):
            assert cache.get(f"{i:02d}") in (None, list(range(i * 100)))
            assert not cache.path(f"{i:02d}").exists() or cache.get(f"{i:02d}") is not None
    for writer in writers:
        writer.join()


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("ODEKIT_CACHE", str(tmp_path / "here"))
    assert Cache().folder == tmp_path / "here"
