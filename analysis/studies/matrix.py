"""The studies of matrix diffusions by name, and what writes their tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis.studies import conjugate, frames, phase_space
from analysis.studies.comparison import Table
from odekit.exceptions import unknown


class Study(NamedTuple):
    """What makes the table, what draws it, in how many panels, and the size of the figure in inches."""

    make: Callable[..., Table]
    draw: Callable[[Table, Any], None]
    panels: int
    size: tuple[float, float]


STUDIES: dict[str, Study] = {
    "one-step": Study(frames.one_step, frames.draw_one_step, 2, (7.2, 3.2)),
    "frames": Study(frames.frames, frames.draw_frames, 2, (7.6, 3.9)),
    "blurring": Study(frames.blurring, frames.draw_blurring, 1, (6.6, 3.6)),
    "conjugate-lambda": Study(conjugate.sweep, conjugate.draw_sweep, 3, (9.4, 3.3)),
    "conjugate-stability": Study(conjugate.stability, conjugate.draw_stability, 3, (9.8, 3.6)),
    "naive-reduced": Study(phase_space.naive_and_reduced, phase_space.draw_naive_and_reduced, 3, (9.4, 3.4)),
    "verlet-bend": Study(phase_space.bend, phase_space.draw_bend, 2, (8.2, 3.4)),
    "budgets": Study(phase_space.budgets, phase_space.draw_budgets, 3, (9.8, 3.8)),
}
"""Comparisons of methods on CLD, PSLD and blurring, in the order of docs/studies.md."""


def draw_studies(names: Sequence[str], folder: Path) -> list[Path]:
    """Make the studies of these names ("all": every one) and write tables and figures; the paths of the files.

    Raises UnknownNameError for a study that there is not.
    """
    from analysis.figures import write

    if "all" in names:
        names = list(STUDIES)
    for name in names:
        if name not in STUDIES:
            raise unknown("study", name, ["all", *STUDIES])
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        study = STUDIES[name]
        table = study.make()
        paths += table.write(folder)
        paths += write(folder / name, lambda axes, s=study, t=table: s.draw(t, axes), study.panels, study.size)
    return paths
