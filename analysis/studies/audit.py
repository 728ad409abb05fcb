"""The audit: every solver of the installed diffusers, k-diffusion, torchdiffeq and torchsde, held to what it claims.

Each is traced as installed. Its formula is certified from its own tables and by whole solves on an exact problem;
schedulers are looked at once more as they ship, on grids of their own. Nothing here is typed in but the settings that
are asked for: every order, condition and defect comes out of the code that runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.order import FAIL, PASS, UNDETERMINED
from analysis.verify import Row
from odekit.exceptions import OdekitError

MULTISTEP, SINGLESTEP, SDE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "sde-dpmsolver++"
NOISE_FORM = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}

SETTINGS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "PNDMScheduler": ({}, {"skip_prk_steps": True}),
    "DEISMultistepScheduler": ({}, {"solver_order": 3}),
    "HeunDiscreteScheduler": ({}, {"use_karras_sigmas": True}),
    "LMSDiscreteScheduler": ({}, {"use_karras_sigmas": True}),
    MULTISTEP: (
        {}, {"solver_type": "heun"}, {"solver_order": 3}, NOISE_FORM, {**NOISE_FORM, "solver_order": 3},
        {"algorithm_type": SDE}, {"algorithm_type": SDE, "solver_type": "heun"},
        {"algorithm_type": SDE, "solver_order": 3},
        {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True},
        {"use_lu_lambdas": True},
    ),
    SINGLESTEP: (
        {}, {"solver_order": 3}, {"solver_order": 3, "solver_type": "heun"}, {"algorithm_type": SDE},
        {"algorithm_type": SDE, "solver_order": 3}, {"algorithm_type": SDE, "solver_order": 3, "solver_type": "heun"},
    ),
    "UniPCMultistepScheduler": (
        {}, {"solver_order": 3}, {"solver_type": "bh1"}, {"solver_type": "bh1", "solver_order": 3},
    ),
    "SASolverScheduler": ({}, {"predictor_order": 3, "corrector_order": 3}),
    "EDMDPMSolverMultistepScheduler": (
        {}, {"solver_order": 3}, {"solver_order": 3, "final_sigmas_type": "sigma_min"},
    ),
}  # fmt: skip
"""The settings under which a scheduler is another method; all others are audited with their defaults."""

STEPS = (6, 12, 18, 24, 36, 48, 72, 96, 144)
BATCH = 64  # trajectories of the problem that all are measured on

ETA = ({}, {"eta": 0.0})  # k-diffusion's samplers with noise are deterministic ones where eta is zero


@dataclass(frozen=True)
class AuditTask:
    """One solver with its settings, small enough to send to another process."""

    what: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        return self.what

    def description(self) -> Mapping[str, Any]:
        """What the row depends on besides our sources: the version of the package that is audited."""
        from analysis.foreign import _version

        return {"audit": self.what, "settings": self.settings, "version": _version(self.what.partition(":")[0])}

    def run(self) -> list[Row]:
        return [audit_row(self.what, dict(self.settings))]


def tasks(packages: Iterable[str] | None = None) -> tuple[list[AuditTask], list[str]]:
    """What is audited, and the packages that are not installed, each in a line of its own."""
    from analysis.foreign import PACKAGES

    found, absent = [], []
    for package in packages or PACKAGES:
        try:
            names = _names(package)
        except OdekitError as error:
            absent.append(f"{package} is not audited: {error}")
            continue
        for name, settings in names:
            found.append(AuditTask(f"{package}:{name}", tuple(settings.items())))
    return found, absent


def _names(package: str) -> list[tuple[str, Mapping[str, Any]]]:
    from odekit.interop import driven, kdiffusion_trace

    if package == "diffusers":
        return [(name, settings) for name in driven.names() for settings in SETTINGS.get(name, ({},))]
    if package == "k_diffusion.sampling":
        import inspect

        functions = vars(kdiffusion_trace.kdiffusion())
        noisy = {n for n, f in functions.items() if callable(f) and "eta" in inspect.signature(f).parameters}
        return [(n, given) for n in kdiffusion_trace.kdiffusion_names() for given in (ETA if n in noisy else ({},))]
    return [(name, {}) for name in kdiffusion_trace.fixed_steps(package)]


def audit_row(what: str, settings: Mapping[str, Any] | None = None) -> Row:
    """Claim, orders, first failing condition and defects of one solver; a refusal is a row as well, with its reason.

    ``order`` is that of the formula by algebra, ``method_order`` with its start, ``observed_order`` the slope of whole
    solves on smooth grids; ``shipped``: errors of whole runs on the scheduler's own grids, and their last slope.
    """
    from analysis.certify import certify
    from analysis.foreign import foreign

    settings = dict(settings or {})
    package, _, name = what.partition(":")
    shown = ", ".join(f"{key}={value}" for key, value in settings.items())
    row: Row = {
        "package": package, "name": name, "settings": shown, "version": "", "claimed_order": None, "order": None,
        "method_order": None, "observed_order": None, "order_low": None, "order_high": None, "failing": "",
        "nearest": None, "verdict": UNDETERMINED, "defects": [], "notes": [], "shipped": None, "refused": "",
    }  # fmt: skip
    try:
        case = replace(foreign(what, settings).case, batch=BATCH)
        page = certify(what, problem=case, steps=STEPS, config=settings)
    except OdekitError as error:
        return {**row, "refused": str(error)}
    slope, low, high = page.observed
    algebra = page.algebra
    below = algebra is not None and page.claim is not None and algebra.order < page.claim
    row |= {
        "version": page.subject.foreign.version, "claimed_order": page.claim, "order": page.order,
        "method_order": getattr(algebra, "method_order", None), "observed_order": slope, "order_low": low,
        "order_high": high, "nearest": page.nearest, "verdict": page.verdict,
        "failing": page.failing[0] if below and page.failing else "",
    }  # fmt: skip
    row["defects"], row["notes"] = _sorted(page.findings)
    for smooth, rough in zip(page.rows[::2], page.rows[1::2], strict=False):
        if smooth["verdict"] == PASS and rough["verdict"] == FAIL:
            row["defects"].append(f"on steps 3 : 1 : 2 {rough['reason']}")
    make = page.subject.foreign.make
    if make is not None and not page.routes["global slope"].reason.startswith("it draws noise"):
        row["shipped"] = _as_shipped(make, row)
    if algebra is None:
        row["refused"] = page.routes["algebra"].reason
    return row


def _as_shipped(make: Any, row: Row) -> Mapping[str, Any] | None:
    """Whole runs on the scheduler's own grids; what they lose against the formula is a defect."""
    from analysis.shipped import ladder, slope

    steps, errors = ladder(make)
    if not steps:  # refused, or it draws noise as it ships
        return None
    last = slope(steps, errors)
    expected = row["method_order"] or row["order"] or 1
    if last is not None and last < expected - LOSS:
        between = f"from {steps[-2]} to {steps[-1]} steps"
        falls = f"falls like h^{last:.1f} {between}, to {errors[-1]:.1e}"
        if last < STILL:
            falls = f"stands still at {errors[-1]:.1e} {between}"
        if last < -STILL:
            falls = f"grows from {errors[-2]:.1e} to {errors[-1]:.1e} {between}"
        row["defects"].append(f"as shipped the error {falls}")
    return {"steps": steps, "errors": [e if math.isfinite(e) else None for e in errors], "slope": last}


LOSS = 0.5  # orders that a shipped grid costs and that are worth a word
STILL = 0.3  # a slope this small, up or down, is a floor
DEFECTS = (" as claimed:", "NaN", "noise level", "float32", "repeat an earlier", "do not reach", "with its start the",
           "row sums and clock", "differs from run to run", "routes disagree")  # fmt: skip
"""What a finding says where it is a defect."""


def _sorted(findings: Sequence[str]) -> tuple[list[str], list[str]]:
    """Findings that are defects, and those that only say what a solver is."""
    defects = [text for text in findings if any(sign in text for sign in DEFECTS)]
    return defects, [text for text in findings if text not in defects]


def document(rows: Sequence[Row], absent: Sequence[str] = (), seconds: float | None = None) -> dict[str, Any]:
    """The content of audit.json."""
    from analysis.report import versions

    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    audited = list(dict.fromkeys(row["version"] for row in rows if row["version"]))
    return {
        "audit": list(rows), "absent": list(absent), "packages": audited, "versions": versions(), "created": created,
        "seconds": seconds,
    }  # fmt: skip


def write_audit(found: Mapping[str, Any], folder: str | Path) -> Path:
    """Write audit.html and audit.json into a folder, each atomically; returns the path of the page."""
    from analysis.cache import write_atomically
    from analysis.verify import as_json

    folder = Path(folder)
    write_atomically(folder / "audit.json", as_json(found))
    write_atomically(folder / "audit.html", audit_page(found))
    return folder / "audit.html"


def audit_page(found: Mapping[str, Any]) -> str:
    """The audit as one self-contained HTML text."""
    from analysis.report import rendered

    groups: dict[str, list[Row]] = {}
    refusals: dict[str, list[Row]] = {}
    for row in found["audit"]:
        (refusals if row["refused"] and row["order"] is None else groups).setdefault(row["package"], []).append(row)
    rows = [row for group in groups.values() for row in group]
    return rendered(
        "audit.html.j2",
        found=found,
        groups=groups,
        refusals=refusals,
        counts={verdict: sum(row["verdict"] == verdict for row in rows) for verdict in (PASS, FAIL, UNDETERMINED)},
        zip=zip,
        told=_told,
        marks={PASS: "✓", FAIL: "✗", UNDETERMINED: "?"},
    )


NAMES = 3  # of methods that have the same table: some have a dozen


def _told(row: Row) -> list[tuple[str, str]]:
    """("defect" or "note", text) of what the columns of the page do not say."""
    defects = [text for text in row["defects"] if not (row["failing"] and text.startswith(f"order {row['order']}, "))]
    notes = []
    for text in row["notes"]:
        same, _, names = text.partition("the same method as ")
        if not same and names.count(",") > NAMES:
            names, _, how = names.partition(" (")
            text = f"the same method as {', '.join(names.split(', ')[:NAMES])}, ... ({how}"
        notes.append(text)
    return [*(("defect", text) for text in defects), *(("note", text) for text in notes)]
