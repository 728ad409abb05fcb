"""The studies of matrix diffusions by name, and what writes their tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from analysis.studies import budgets, conjugate, frames, orders, page, phase_space
from analysis.studies.comparison import Table
from odekit.exceptions import unknown


class Study(NamedTuple):
    """What makes the table, what draws it, in how many panels, the size of the figure in inches, and what a page
    shows of the table (None: all of it)."""

    make: Callable[..., Table]
    draw: Callable[[Table, Any], None]
    panels: int
    size: tuple[float, float]
    page: Callable[[Table], str] | None = None


STUDIES: dict[str, Study] = {
    "one-step": Study(frames.one_step, frames.draw_one_step, 2, (7.2, 3.2)),
    "frames": Study(frames.frames, frames.draw_frames, 2, (7.6, 3.9), page.frames),
    "blurring": Study(frames.blurring, frames.draw_blurring, 1, (6.6, 3.6)),
    "conjugate-lambda": Study(conjugate.sweep, conjugate.draw_sweep, 3, (9.4, 3.3), page.sweep),
    "conjugate-stability": Study(conjugate.stability, conjugate.draw_stability, 3, (9.8, 3.6)),
    "naive-reduced": Study(
        phase_space.naive_and_reduced, phase_space.draw_naive_and_reduced, 3, (9.4, 3.4), page.naive_and_reduced
    ),
    "naive-reduced-laws": Study(phase_space.laws, phase_space.draw_laws, 2, (8.2, 3.5), page.laws),
    "verlet-bend": Study(phase_space.bend, phase_space.draw_bend, 2, (8.2, 3.4)),
    "budgets": Study(budgets.budgets, budgets.draw_budgets, 3, (9.8, 3.9), page.budgets),
    **{
        f"budgets-{name}": Study(partial(budgets.budgets, name), budgets.draw_budgets, 3, (9.8, 3.9), page.best)
        for name in ("cld", "blurring")
    },
    "orders": Study(orders.orders, orders.draw_orders, 2, (8.2, 5.4), page.orders),
    **{
        f"orders-{name}": Study(partial(orders.orders, name), orders.draw_orders, 2, (8.2, 5.4), page.orders)
        for name in ("cld", "blurring")
    },
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
        paths += table.write(folder, study.page and study.page(table))
        paths += write(folder / name, lambda axes, s=study, t=table: s.draw(t, axes), study.panels, study.size)
    return paths
