"""A certificate: what is certified, what is proved of it, the three routes to its order, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.exact import ExactProblem
from analysis.order import FAIL, PASS, UNDETERMINED, WIDTH
from analysis.subjects import Subject

ABSENT = "absent"
ROUTES = ("algebra", "local slope", "global slope")
APART = 0.3  # routes whose orders differ by more disagree


@dataclass(frozen=True)
class Route:
    """One way to the order: the order it finds, its verdict on the claim ("absent" where it cannot be taken), why."""

    name: str
    order: float | None
    verdict: str
    reason: str
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class CertificatePage:
    """A certificate: the subject, its proof, the three routes and what they say together.

    `algebra` is the certificate of `odekit.algebra` (of the sampler's own table for a sampler), None where there is
    none; `routes` by the names of `ROUTES`; `rows` are the entries of results.json. As text: `str(page)`.
    """

    subject: Subject
    algebra: Any
    routes: dict[str, Route]
    testimony: str
    told: tuple[str, ...] = ()
    nearest: str | None = None

    @property
    def name(self) -> str:
        """The name of what is certified."""
        return self.subject.name

    @property
    def claim(self) -> Any:
        """The order claimed; None where nothing is."""
        return self.subject.claim

    @property
    def order(self) -> Any:
        """The order by the algebra; None where there is no proof."""
        return self.algebra and self.algebra.order

    @property
    def stiff_order(self) -> int | None:
        """The order uniformly in stiffness, where the family knows one."""
        return getattr(self.algebra, "stiff_order", None)

    @property
    def observed(self) -> tuple[float | None, float | None, float | None]:
        """(slope, low, high) of the global error."""
        row = next(iter(self.routes["global slope"].rows), {})
        return tuple(row.get(key) for key in ("observed_order", "order_low", "order_high"))

    @property
    def principal_error(self) -> Any:
        """The leading error by trees, for Runge-Kutta methods."""
        return getattr(self.algebra, "principal_error", None)

    @property
    def failing(self) -> tuple[str, ...]:
        """The first conditions that fail, each named."""
        return tuple(map(str, self.algebra.failing)) if self.algebra else ()

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """All that was measured, as in results.json; whole solves come last."""
        return [row for name in ROUTES[1:] for row in self.routes[name].rows]

    @property
    def verdict(self) -> str:
        """fail where a route refutes the claim; pass where the proof and the whole solves confirm it, as far as there
        are both; else undetermined. A single step may decide nothing: of a high order it is rounding before it settles.
        """
        if FAIL in {route.verdict for route in self.routes.values()}:
            return FAIL
        decided = {self.routes[name].verdict for name in ("algebra", "global slope")} - {ABSENT}
        return PASS if decided == {PASS} else UNDETERMINED

    @cached_property
    def findings(self) -> list[str]:
        """What else there is to know: claims that do not hold, routes that disagree."""
        proved = self.algebra.findings() if self.algebra else []
        measured = [text for row in self.rows for text in row.get("findings", ()) if text not in self.told]
        step = self.routes["local slope"]
        if step.verdict == UNDETERMINED and self.claim is not None:
            measured.append(f"the local slope decides nothing: {step.reason}")
        return list(dict.fromkeys([*self.told, *proved, *self._disagreements(), *measured]))

    def _disagreements(self) -> list[str]:
        known = [route for route in self.routes.values() if route.order is not None]
        found = []
        for i, one in enumerate(known):
            for other in known[i + 1 :]:
                if abs(float(one.order) - float(other.order)) > APART:
                    orders = f"{one.name} says {_number(one.order)}, {other.name} {_number(other.order)}"
                    found.append(f"the routes disagree: {orders} ({self.testimony})")
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        slope, low, high = self.observed
        return {
            "name": self.name,
            "family": self.subject.family,
            "source": self.subject.source,
            "claimed_order": _plain(self.claim),
            "order": _plain(self.order),
            "stiff_order": _plain(self.stiff_order),
            "observed": {"slope": slope, "low": low, "high": high},
            "verdict": self.verdict,
            "failing": list(self.failing),
            "testimony": self.testimony,
            "nearest": self.nearest,
            "findings": self.findings,
            "routes": {
                route.name: {"order": _plain(route.order), "verdict": route.verdict, "reason": route.reason}
                for route in self.routes.values()
            },
            "algebra": self.algebra and self.algebra.to_dict(),
        }

    def to_json(self) -> str:
        """Strict JSON: the certificate and the measured rows."""
        from analysis.verify import as_json

        return as_json({"certificate": self.to_dict(), "results": list(self.rows)})

    def to_html(self) -> str:
        """One self-contained page, figures inline."""
        from analysis.certificate_page import as_html

        return as_html(self)

    def to_markdown(self) -> str:
        """The certificate as Markdown tables."""
        lines = [f"# {self.name}", "", self._claim_line(), "", "| route | verdict | why |", "|---|---|---|"]
        lines += [f"| {r.name} | {r.verdict} | {_cell(r.reason)} |" for r in self.routes.values()]
        lines += ["", f"Testimony: {self.testimony}.", ""]
        if self.algebra:
            lines += ["| property | value |", "|---|---|"]
            lines += [f"| {label} | {_cell(text)} |" for label, text in self.algebra.rows()]
            lines.append("")
        return "\n".join([*lines, *(f"- {finding}" for finding in self.findings)]).rstrip() + "\n"

    def _claim_line(self) -> str:
        claims = "claims no order" if self.claim is None else f"claims order {_number(self.claim)}"
        about = ", ".join(part for part in (self.subject.family, self.subject.source) if part)
        return f"{self.name} ({about}) {claims}: {self.verdict}"

    def __str__(self) -> str:
        lines = [self._claim_line()]
        lines += [f"  {r.name:<13} {r.verdict:<13} {r.reason}" for r in self.routes.values()]
        if self.algebra:
            lines += [f"  {label}: {text}" for label, text in self.algebra.rows()]
        return "\n".join([*lines, *(f"  - {finding}" for finding in self.findings)])


# The routes of what is proved and of what was measured.


def proved(found: Any, claim: Any) -> Route:
    """The verdict of a proof: on the order, and on the claims for embedded weights and stiff problems."""
    short = [
        f"{what.replace('_', ' ')} {getattr(found, what)}, not {claimed}"
        for what, claimed in (
            ("order", claim),
            ("embedded_order", getattr(found, "claimed_embedded", None)),
            ("stiff_order", getattr(found, "claimed_stiff", None)),
        )
        if claimed is not None and getattr(found, what) is not None and getattr(found, what) < claimed
    ]
    if getattr(getattr(found, "main", found), "zero_stable", True) is False:
        short.append("not zero-stable: it does not converge")
    beyond = found.order < (claim or 0) and not found.failing  # conditions were asked no further
    verdict = UNDETERMINED if claim is None or beyond else FAIL if short else PASS
    reached = f"order {found.order}" + (f"; next: {found.failing[0]}" if found.failing else " at least")
    extra = [text for text in short if not text.startswith("order")]
    return Route(ROUTES[0], found.order, verdict, "; ".join([reached, *extra]))


def route_of(name: str, rows: Sequence[Mapping[str, Any]], claim: Any, shift: int = 0) -> Route:
    """One route from its rows: the first one's order, the worst verdict."""
    from analysis.verify import verdict_of

    first = rows[0]
    width = (first["order_high"] or 0) - (first["order_low"] or 0)
    known = first["observed_order"] is not None and width <= WIDTH
    verdict = UNDETERMINED if claim is None else verdict_of(rows)
    apart = "kind" if len({row["kind"] for row in rows}) > 1 else "grid"
    labels = [f"{row[apart]}: " if len(rows) > 1 else "" for row in rows]
    reason = "; ".join(f"{label}{row['reason']}" for label, row in zip(labels, rows, strict=True))
    return Route(name, first["observed_order"] + shift if known else None, verdict, reason, tuple(rows))


def testimony_of(exact: ExactProblem) -> str:
    """To which order the problem can testify, and why."""
    about, seen = exact.about(), exact.excitation
    where = " \u00b7 ".join(str(about[part]) for part in ("process", "prediction", "problem") if about.get(part))
    if seen is None:
        return f"{where}: which trees it excites is not known"
    if seen.max_order is None:
        return f"{where} testifies to any order asked here: {seen.reason}"
    hidden = f"; unseen: {', '.join(seen.unseen)}" if seen.unseen else ""
    return f"{where} testifies to order {seen.max_order} at most: {seen.reason}{hidden}"


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else str(value)


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) and not float(value).is_integer() else str(_plain(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
