"""Many measurements at once: over processes, resumable, with a progress display, safe to interrupt.

A task is a picklable object with `.description()` (what its result depends on), `.label` and `.run()`, which returns
rows of results.json. Rows that were measured before are read from the cache; every new one is kept the moment it
arrives, so an interruption loses only what was under way.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import Any, Protocol

from analysis.cache import Cache, key_of
from analysis.order import FAIL, PASS, UNDETERMINED
from odekit.exceptions import OdekitError

Row = dict[str, Any]


class Task(Protocol):
    label: str

    def description(self) -> Mapping[str, Any]: ...

    def run(self) -> list[Row]: ...


def run_tasks(
    tasks: Sequence[Task],
    cache: Cache | None = None,
    executor: Executor | None = None,
    on_result: Callable[[Task, list[Row], bool], None] = lambda task, rows, cached: None,
) -> list[Row]:
    """The rows of the tasks, in their order; those in the cache are not measured again.

    executor: any concurrent.futures.Executor; without one the tasks run here, one after the other. on_result is
    called with each task, its rows and whether they came from the cache. An error in a task that is not a refusal
    (OdekitError) is raised.
    """
    keys = [key_of(task.description()) if cache else "" for task in tasks]
    found: list[list[Row] | None] = [cache.get(key) if cache else None for key in keys]
    for task, rows in zip(tasks, found, strict=True):
        if rows is not None:
            on_result(task, rows, True)
    missing = [i for i, rows in enumerate(found) if rows is None]
    for i, rows in _measured(tasks, missing, executor):
        rows = plain(rows)
        if cache:
            cache.put(keys[i], rows)
        found[i] = rows
        on_result(tasks[i], rows, False)
    return [row for rows in found if rows is not None for row in rows]


def _measured(
    tasks: Sequence[Task], which: Sequence[int], executor: Executor | None
) -> Iterator[tuple[int, list[Row]]]:
    if executor is None:
        for i in which:
            yield i, tasks[i].run()
        return
    waiting = {executor.submit(_run, tasks[i]): i for i in which}
    for done in as_completed(waiting):
        yield waiting[done], done.result()


def _run(task: Task) -> list[Row]:
    return task.run()


@contextlib.contextmanager
def process_pool(workers: int = 2) -> Iterator[Executor | None]:
    """A local pool of processes with one torch thread each; None (run here) for fewer than two workers.

    Workers ignore Ctrl-C: the main process hears it, ends them and keeps what is finished. They are spawned, not
    forked, because a forked torch may wait for threads it does not have.
    """
    if workers < 2:
        _quiet_torch()
        yield None
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    try:
        yield pool
    except BaseException:
        # What waits is not cancelled first: the pool's own thread stumbles over cancelled work when workers end.
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()
        pool.shutdown()
        raise
    pool.shutdown()


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _quiet_torch()


def _quiet_torch() -> None:
    import torch

    torch.set_num_threads(1)


def available_cores() -> int:
    """Cores this process may use, two at most: the report is meant for a laptop that does other things too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2, cores)


@contextlib.contextmanager
def progress(total: int, title: str) -> Iterator[Callable[[Task, list[Row], bool], None]]:
    """A progress bar on stderr when that is a terminal, nothing otherwise; yields the callback for `run_tasks`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda task, rows, cached: None
        return
    tally = {PASS: 0, FAIL: 0, UNDETERMINED: 0}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bar:
        job = bar.add_task(title, total=total, note="")

        def advance(task: Task, rows: list[Row], cached: bool) -> None:
            for row in rows:
                tally[row["verdict"]] += 1
            counts = f"{tally[PASS]} pass, {tally[FAIL]} fail, {tally[UNDETERMINED]} undetermined"
            bar.update(job, advance=1, note=f"{counts}  {task.label}")

        yield advance


def verdict_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """One verdict over several rows: fail if one fails, pass if all pass (and there is one), else undetermined."""
    verdicts = {row["verdict"] for row in rows}
    return FAIL if FAIL in verdicts else PASS if verdicts == {PASS} else UNDETERMINED


def merged(rows: Sequence[Row]) -> list[Row]:
    """The rows, the two claims of a method with neither start nor special last step made one, of kind "both"."""
    apart = {"kind": None, "few": None, "round_trip": None}
    shown: list[Row] = []
    for row in rows:
        if shown and {**shown[-1], **apart} == {**row, **apart}:
            shown[-1] = {**row, "kind": "both"}
        else:
            shown.append(row)
    return shown


def plain(value: Any) -> Any:
    """The same value in JSON's own types: tuples become lists, nan and infinities become null.

    >>> plain({"slope": float("nan"), "window": (1, 2)})
    {'slope': None, 'window': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def as_json(document: Mapping[str, Any]) -> str:
    """Strict JSON text (no NaN), one level of indentation, ladders on one line each."""
    document = plain(document)
    blocks = []
    for name, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n".join("    " + json.dumps(one, allow_nan=False, ensure_ascii=False) for one in value)
            blocks.append(f"  {json.dumps(name)}: [\n{inner}\n  ]")
        else:
            blocks.append(f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False, ensure_ascii=False)}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def refused(task_fields: Mapping[str, Any], error: OdekitError) -> Row:
    """The row of a measurement that could not be made: undetermined, with the refusal as its reason."""
    empty = {"observed_order": None, "order_low": None, "order_high": None, "asymptotic_from": None}
    row = {**task_fields, **empty, "steps": [], "errors": [], "nfe": [], "findings": [], "refused": True}
    return {**row, "verdict": UNDETERMINED, "reason": f"could not be measured: {error}"}


def timed() -> Callable[[], float]:
    """Seconds since this call, by a clock that does not jump."""
    start = time.perf_counter()
    return lambda: time.perf_counter() - start
