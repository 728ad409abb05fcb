"""The command `odekit`: list | verify | certify | derive | figures | report.

Exit status 0 when every claim holds, 1 when one fails or is undetermined, 2 for bad input, which is one line on
stderr naming what was wrong, what was expected and what is near it. Heavy imports wait inside the commands, so that
`odekit --help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from analysis.arguments import FRESH, JSON, STEPS, check_file, method_name, output, problem_options, step_counts
from analysis.terminal import method_table, summary, tell, tell_audited, write, write_json

HOLDS, DOUBTFUL, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; the entry point exits with it."""
    try:
        return int(odekit.main(args=arguments, prog_name="odekit", standalone_mode=False) or 0)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (KeyboardInterrupt, click.Abort):
        print("odekit: interrupted; finished work is kept, the same command continues it", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return HOLDS
    except OSError as error:
        return _refuse(f"{error.filename or 'a file'}: {error.strerror or error}")
    except ValueError as error:
        from odekit.exceptions import OdekitError  # imported here: it brings torch along

        if not isinstance(error, OdekitError):
            raise
        return _refuse(str(error))


def _refuse(message: str) -> int:
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    print(f"odekit: {line}", file=sys.stderr)
    return BAD_INPUT


class _Group(click.Group):
    """A group whose unknown command is answered with what is near it."""

    def resolve_command(self, ctx: click.Context, args: list[str]):
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from odekit.exceptions import unknown

            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]):
        if not args:
            args = ["--help"]
        return super().parse_args(ctx, args)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("odekit")
    except metadata.PackageNotFoundError:
        return "(not installed)"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="odekit", message="%(prog)s %(version)s")
def odekit() -> None:
    """The numerical analyst's bench for diffusion solvers."""


@odekit.command("list")
@JSON
def list_methods(json_path: str | None) -> int:
    """Every method: formula order, order with start and last step, evaluations a step, planned or eager, source."""
    import odekit as ok
    from analysis.tasks import about_method

    known = [about_method(name) for name in ok.methods.names()]
    known.sort(key=lambda one: (one["family"], one["formula_order"], one["name"]))
    if write_json(json_path, {"methods": known}):
        return HOLDS
    click.echo("\n".join(method_table(known)))
    return HOLDS


@odekit.command()
@click.argument("methods", nargs=-1, metavar="[METHOD|FILE.toml]...")
@problem_options
@STEPS
@click.option("--kind", type=click.Choice(["formula", "with start"]), help="Only this one of the two claims.")
@JSON
@FRESH
def verify(methods, process, prediction, problem, grid, steps, kind, json_path, fresh) -> int:
    """Measure the order of METHODs (default: all) and compare it with what they claim.

    Each makes two claims, the order of its formula and the order with its start and last step. A METHOD is a name
    from `odekit list` or a file: `odekit verify my_method.toml`.
    """
    import odekit as ok
    from analysis.problems import cases
    from analysis.tasks import KINDS, document, order_tasks
    from analysis.verify import merged, verdict_of

    counts, found = step_counts(steps), cases(process, prediction, problem, grid)
    names = [method_name(name) for name in methods] or ok.methods.names()
    kinds = KINDS if kind is None else (kind,)
    tasks = order_tasks(names, found, counts, kinds)
    rows = _measure(tasks, fresh, f"verifying {len(names)} method{'s' * (len(names) != 1)}")
    _refuse_if_nothing_ran(rows)
    if not write_json(json_path, document(rows, names)) or json_path != "-":
        for row in merged(rows):
            tell(row)
        click.echo(summary(rows))
    return HOLDS if verdict_of(rows) == "pass" else DOUBTFUL


@odekit.command()
@click.argument("what", metavar="METHOD|FILE.toml|MODULE:CALLABLE")
@click.option("--order", "claim", type=float, help="The order to hold it to (default: its own; a sampler has none).")
@problem_options
@STEPS
@click.option("--config", multiple=True, metavar="KEY=VALUE", help="A setting of another package's solver.")
@click.option("--html", "html_path", metavar="FILE", callback=check_file, help="Write the page with its figures.")
@JSON
def certify(what, claim, process, prediction, problem, grid, steps, config, html_path, json_path) -> int:
    """Certify a method by three routes: a proof from its coefficients, its local and its global slope.

    A METHOD is a name from `odekit list` or of the algebra's lists (krogstad4, strang, sra1, ...), a file is a method
    file, MODULE:CALLABLE a sampler(model, x, times) -> x or a function without arguments that makes a method. Solvers
    of other packages: diffusers:UniPCMultistepScheduler, k_diffusion.sampling:sample_dpmpp_2m, torchdiffeq:rk4,
    torchsde:heun; --config sets their settings, --steps N the steps of a scheduler's own grid.
    """
    from analysis.cache import write_atomically
    from analysis.certify import certify as certificate_of
    from analysis.foreign import is_foreign, settings

    if claim is not None and not abs(claim) < 100:
        raise click.UsageError(f"--order {claim}: expected a number, e.g. 3")
    _one_thread()
    counts, given = step_counts(steps), settings(config)
    if is_foreign(what) and counts and len(counts) == 1:
        counts, given["inference_steps"] = None, counts[0]
    page = certificate_of(what, claim, process, prediction, problem, grid, counts, given)
    if html_path:
        write_atomically(html_path, page.to_html())
    if not write_json(json_path, {"certificate": page.to_dict(), "results": page.rows}) or json_path != "-":
        click.echo(page)
    return HOLDS if page.verdict == "pass" else DOUBTFUL


@odekit.command()
@click.argument("recipe", required=False, metavar="[RECIPE]")
@click.argument("choices", nargs=-1, metavar="[CHOICE=VALUE]...")
@output("toml", "the method file")
@output("latex", "the coefficients as LaTeX")
@output("python", "source that runs without odekit")
@output("json", "coefficients, route and comparisons")
def derive(recipe, choices, **paths) -> int:
    """Derive a method: solve its order conditions, exactly, for the CHOICEs given; alone: list the recipes.

    A CHOICE is one of the recipe's, or a free parameter of what it derives: `odekit derive explicit-runge-kutta order=3
    c2=1/2 --toml my_rk3.toml`.
    """
    from analysis.derivations import derivation, listing, texts, told

    if recipe is None:
        click.echo("\n".join(listing()))
        return HOLDS
    found = derivation(recipe, choices)
    paths = {name: path for name, path in paths.items() if path is not None}
    lines, holds = told(found)
    for name, text in texts(found, list(paths)).items():
        write(paths[name], text)
    if "-" not in paths.values():
        click.echo("\n".join(lines))
    return HOLDS if holds else DOUBTFUL


@odekit.command()
@click.argument("methods", nargs=-1, metavar="[METHOD]...")
@problem_options
@click.option("--folder", default="figures", show_default=True, help="Where the figures go.")
@click.option("--stability", is_flag=True, help="Draw stability regions and order stars instead, one METHOD each.")
@click.option("--study", multiple=True, metavar="NAME", help="Repeat this comparison of matrix diffusions (or: all).")
@FRESH
def figures(methods, process, prediction, problem, grid, folder, stability, study, fresh) -> int:
    """Draw the convergence of several METHODs in one plot, and their local errors: PNG, SVG and PDF.

    With --study: the tables and figures of docs/studies.md instead, as CSV, JSON, Markdown and pictures.
    """
    from analysis.figures import draw_figures
    from analysis.problems import cases

    if study:
        from analysis.studies.matrix import draw_studies

        _one_thread()
        for path in draw_studies(study, Path(folder)):
            click.echo(path)
        return HOLDS
    if stability:
        from analysis.stability import SHOWN, draw_stability

        for path in draw_stability(methods or SHOWN, Path(folder)):
            click.echo(path)
        return HOLDS
    names = [method_name(name) for name in methods]
    case = cases(process, prediction, problem, grid)[0]
    _one_thread()
    for path in draw_figures(names, case, Path(folder), fresh):
        click.echo(path)
    return HOLDS


@odekit.command()
@click.option("--folder", default="report", show_default=True, help="Where index.html and results.json go.")
@click.option("--audit", is_flag=True, help="Hold other packages' solvers to their claims instead: audit.html.")
@FRESH
def report(folder, audit, fresh) -> int:
    """Verify every method on every problem and write the page that tells it.

    With --audit: every solver of the installed diffusers, k-diffusion, torchdiffeq and torchsde, in audit.html and
    audit.json. What is wrong with others is no failure of ours: the exit status is 0 when the audit was made.
    """
    if audit:
        return _audit(folder, fresh)
    import odekit as ok
    from analysis.report import write_report
    from analysis.tasks import document, report_tasks
    from analysis.verify import timed, verdict_of

    seconds = timed()
    Path(folder).mkdir(parents=True, exist_ok=True)
    names = ok.methods.names()
    rows = _measure(report_tasks(names), fresh, f"verifying {len(names)} methods")
    page = write_report(document(rows, names, seconds()), folder)
    for row in rows:
        if row["verdict"] != "pass":
            tell(row)
    click.echo(summary(rows))
    click.echo(f"report: {page}")
    return HOLDS if verdict_of(rows) == "pass" else DOUBTFUL


def _audit(folder: str, fresh: bool) -> int:
    from analysis.studies.audit import document, tasks, write_audit
    from analysis.verify import timed

    seconds = timed()
    Path(folder).mkdir(parents=True, exist_ok=True)
    found, absent = tasks()
    rows = _measure(found, fresh, f"auditing {len(found)} solvers")
    page = write_audit(document(rows, absent, seconds()), folder)
    for line in absent:
        click.echo(line)
    for row in rows:
        if row["verdict"] == "fail":
            tell_audited(row)
    click.echo(summary([row for row in rows if not row["refused"]]) + f", {len(rows)} asked")
    click.echo(f"audit: {page}")
    return HOLDS


def _one_thread() -> None:
    """The states here are small: torch's threads would only wait for each other."""
    import torch

    torch.set_num_threads(1)


def _measure(tasks: Sequence[Any], fresh: bool, title: str) -> list[dict[str, Any]]:
    from analysis.cache import Cache
    from analysis.verify import available_cores, process_pool, progress, run_tasks

    cache = Cache(fresh=fresh)
    workers = available_cores() if len(tasks) > 8 else 1
    with progress(len(tasks), title) as advance, process_pool(workers) as pool:
        return run_tasks(tasks, cache, pool, advance)


def _refuse_if_nothing_ran(rows: Sequence[dict[str, Any]]) -> None:
    from odekit.exceptions import OdekitError

    if rows and all(row.get("refused") for row in rows):
        raise OdekitError(rows[0]["reason"].removeprefix("could not be measured: "))


def run() -> None:
    sys.exit(main())


if __name__ == "__main__":
    run()
