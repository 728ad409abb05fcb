"""What the commands of `odekit` print and write: the table of methods, verdicts, JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click


def write(path: str, text: str) -> None:
    """To the file, or to stdout for '-'."""
    from analysis.cache import write_atomically

    if path == "-":
        click.echo(text, nl=False)
    else:
        write_atomically(path, text)


def write_json(path: str | None, document: dict[str, Any]) -> bool:
    """Whether results were asked for and went to a file or stdout."""
    from analysis.verify import as_json

    if path is None:
        return False
    write(path, as_json(document))
    return True


def method_table(known: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of `odekit list`: methods in the order given, under the names of their families."""
    header = ("method", "formula", "with start", "evaluations", "runs", "source")
    lines = [
        (
            one["name"],
            _number(one["formula_order"]),
            _number(one["method_order"]),
            _number(one["evaluations"]),
            "planned" if one["plannable"] else "eager",
            one["source"],
        )
        for one in known
    ]
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(5)]
    family = None
    yield _table_line(header, widths)
    for one, line in zip(known, lines, strict=True):
        if one["family"] != family:
            family = one["family"]
            yield f"\n{family}"
        yield _table_line(line, widths)


def tell(row: dict[str, Any]) -> None:
    """A measured claim in a line, and a line for each finding."""
    where = " · ".join(str(row[part]) for part in ("process", "prediction", "problem", "grid") if row.get(part))
    claimed = "" if row["claimed_order"] is None else f"claimed {_number(row['claimed_order'])}, "
    line = f"{row['verdict']:<12} {row['method']:<16} {row['kind']:<10} {where}: {claimed}{row['reason']}"
    if trip := row.get("round_trip"):
        line += f"; there and back in {trip['steps']} steps each: off by {trip['error']:.1e}"
    _echo_with(line, row["findings"])


def tell_audited(row: dict[str, Any]) -> None:
    """Another package's solver that fails its claim in a line, and a line for each defect."""
    settings = f" ({row['settings']})" if row["settings"] else ""
    _echo_with(f"fail {row['package']}:{row['name']}{settings}: claimed {row['claimed_order']}", row["defects"])


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """How many claims pass, fail and are undetermined."""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("pass", "fail", "undetermined")}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def _echo_with(line: str, details: Sequence[str]) -> None:
    click.echo(line)
    for detail in details:
        click.echo(f"  - {detail}")


def _table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, cells[-1]]).rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
