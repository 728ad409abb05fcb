"""Somebody else's sampler, measured as it runs: its order, the method it is, and the evaluations it wastes."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from analysis.exact import ExactProblem, exact_problem
from analysis.ladder import Ladder, climb, rungs
from analysis.measure import WITH_START, as_row
from analysis.problems import Case
from analysis.recognise import recognise
from odekit.exceptions import MethodError, OdekitError, unknown
from odekit.interop.blackbox import advice

Sampler = Callable[[Callable, torch.Tensor, torch.Tensor], torch.Tensor]


def load_callable(where: str) -> Sampler:
    """The callable behind `module:callable` or `file.py:callable`; the working folder is searched as well.

    This imports, hence runs, the module. Raises MethodError in one line for whatever does not lead to a callable.
    """
    module_name, _, attribute = where.rpartition(":")
    if not module_name or not attribute:
        raise MethodError(f"{where!r} names no sampler: expected module:callable or file.py:callable")
    module = _module(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise unknown(f"callable in {module_name}", attribute, [n for n in dir(module) if not n.startswith("_")])
        found = getattr(found, part)
    if not callable(found):
        raise MethodError(
            f"{where!r} cannot be called ({type(found).__name__}): expected sampler(model, x, times) -> x"
        )
    return found


def _module(name: str) -> Any:
    try:
        if name.endswith(".py"):
            path = Path(name)
            if not path.is_file():
                raise MethodError(f"{name!r} is no file: expected module:callable or file.py:callable")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)
    except OdekitError:
        raise
    except (Exception, SystemExit) as error:
        raise MethodError(f"module {name!r} cannot be imported: {type(error).__name__}: {error}") from None


def certify_callable(
    sampler: Sampler,
    problem: Case | ExactProblem,
    claim: float | None = None,
    steps: Sequence[int] | None = None,
    name: str = "",
) -> list[dict[str, Any]]:
    """Two rows of results.json for sampler(model, x, times) -> x: on smooth grids, and on rough ones.

    The sampler is run on grids of n, 1.4 n, 2 n, ... steps from the same starting points and its end points are
    compared with the exact ones. times: (n+1,) float64, in the process's time, from start to end. Formulas for equal
    steps may keep their order on smooth grids, where neighbouring steps are nearly equal; steps 3 : 1 : 2 tell.
    The first row has `nearest`, the method of the catalogue it is or resembles, and findings. Without a claim the
    verdict is undetermined. Raises MethodError when the sampler raises or returns something of another shape.
    """
    smooth = exact_problem(problem) if isinstance(problem, Case) else problem
    rows = []
    for exact in (smooth, smooth.rough()):
        row, ladder = _measured(sampler, exact, claim, steps)
        rows.append({"method": name or getattr(sampler, "__name__", "sampler"), **row})
        if any(math.isnan(error) for error in ladder.errors):
            blown = [n for n, error in zip(ladder.steps, ladder.errors, strict=True) if math.isnan(error)]
            rows[-1]["findings"].append(f"not finite on grids of {', '.join(map(str, blown))} steps")
    nearest, told = recognise(sampler, smooth)
    rows[0] |= {"nearest": nearest, "findings": [*told, *rows[0]["findings"]]}
    return rows


def _measured(
    sampler: Sampler, exact: ExactProblem, claim: float | None, steps: Sequence[int] | None
) -> tuple[dict[str, Any], Ladder]:
    def error_at(n: int) -> tuple[float, int]:
        x, calls = run(sampler, exact, n)
        return exact.error(x), calls

    counts = [n for n in sorted(set(steps)) if n > 0] if steps else rungs(4)
    counts = list(dict.fromkeys(exact.period * max(1, round(n / exact.period)) for n in counts))
    ladder = climb(
        error_at, counts, claim, exact.floor, exact.scale, budget=4000, adapt=steps is None, period=exact.period
    )
    return as_row(exact, WITH_START, claim, ladder), ladder


def run(sampler: Sampler, exact: ExactProblem, n: int) -> tuple[torch.Tensor, int]:
    calls = 0

    def model(x: torch.Tensor, t: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return exact.field.model(x, t)

    try:
        x = sampler(model, exact.x.clone(), exact.grid(n))
    except OdekitError:
        raise
    except Exception as error:
        hint = f"; {advice(str(error))}" if "device" in advice(str(error)) else ""
        raise MethodError(f"the sampler raised on a grid of {n} steps: {type(error).__name__}: {error}{hint}") from None
    if not torch.is_tensor(x) or x.shape != exact.x.shape:
        got = f"shape {tuple(x.shape)}" if torch.is_tensor(x) else type(x).__name__
        raise MethodError(
            f"the sampler returned {got}: expected a tensor of shape {tuple(exact.x.shape)}, as it was given"
        )
    return x.detach(), calls
