"""What the commands of `odekit` are given: options that several share, step counts, names, files to write to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click


def check_file(context: click.Context, option: click.Parameter, path: str | None) -> str | None:
    """Refuse, before anything is measured, a file that cannot be written."""
    if path not in (None, "-") and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise click.UsageError(f"{option.opts[0]} {path}: expected a file in a folder that exists")
    return path


def output(name: str, what: str) -> Callable:
    """The option --name FILE that `what` is written to."""
    return click.option(f"--{name}", metavar="FILE", callback=check_file, help=f"Write {what} to FILE ('-': stdout).")


JSON = click.option(
    "--json", "json_path", metavar="FILE", callback=check_file, help="Write the results to FILE ('-': stdout)."
)
FRESH = click.option("--fresh", is_flag=True, help="Measure again, whatever was measured before.")
STEPS = click.option("--steps", metavar="N,N,...", help="The step counts of the ladder, e.g. 8,16,32,64.")


def problem_options(command: Callable) -> Callable:
    """--process, --prediction, --problem and --grid."""
    options = [
        click.option("--process", metavar="NAME", help="The noising process, e.g. vp (default: three)."),
        click.option("--prediction", metavar="NAME", help="What the model returns, e.g. noise (default: three)."),
        click.option(
            "--problem", metavar="NAME", help="A mixture (trio, ring6, ...) or a classical problem (kepler, ...)."
        ),
        click.option("--grid", metavar="NAME", help="The schedule of the steps, e.g. logsnr, time-uniform."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def step_counts(text: str | None) -> list[int] | None:
    """The counts that --steps N,N,... spells, or the refusal."""
    if text is None:
        return None
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--steps {text!r}: expected step counts separated by commas, e.g. 8,16,32,64") from None
    if min(counts) < 1 or max(counts) > 100_000 or len(set(counts)) < len(counts):
        raise click.UsageError(f"--steps {text!r}: expected distinct whole numbers between 1 and 100000")
    return counts


def method_name(name: str) -> str:
    """A known name or a readable file, or the refusal."""
    if ":" in name or name.endswith(".py"):
        raise click.UsageError(f"{name!r} is no method: for a sampler, use odekit certify module:callable")
    from analysis.measure import method_of

    method_of(name)
    return name
