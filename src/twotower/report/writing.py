"""From a run to its report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.audit.finding import Finding, Severity
from twotower.core.atomic import check_file, write_text
from twotower.core.charts import converter
from twotower.errors import ConfigError, nearest
from twotower.evaluation.showing import metrics_dict
from twotower.report.case import CHOICES, Case
from twotower.report.content import content_of
from twotower.report.doctor import examine
from twotower.report.page import render, template
from twotower.workflows import Run, TunedSettings, load_parts
from twotower.workflows.stages import Log, quiet


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: the file.
        case: what it is made of.
        findings: of the doctor.
        seconds: how long it took.
    """

    path: Path
    case: Case
    findings: tuple[Finding, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report for ``--json``, without the page."""
        case = self.case
        return {
            "report": str(self.path),
            "metric": case.main,
            "score": case.score.as_dict(),
            "compared": None if case.compared is None else case.compared.as_dict(),
            "left_out": dict(case.left_out),
            "data_changed": case.data.changed,
            "counts": {
                severity.value: sum(of.severity is severity for of in self.findings) for severity in Severity
            },
            "findings": [finding.as_dict() for finding in self.findings],
            "importance": [
                {
                    "side": worth.side,
                    "column": worth.column,
                    **metrics_dict({"loss": worth.loss}),
                    "moved": worth.moved,
                }
                for worth in case.importance.features
            ],
            "seconds": round(self.seconds, 3),
        }


def write_report(
    run: str | Path, out: str | Path | None = None, *, baselines: str = "quick", log: Log = quiet
) -> Report:
    """Read a run's data again, measure its model and baselines, and write the report.

    Args:
        run: the directory of a finished run.
        out: the file; None for ``report.html`` in the run.
        baselines: ``"quick"``, ``"all"`` (some take minutes to tune) or ``"none"``.
        log: told what is going on.

    Raises:
        ConfigError: no finished run there; ``baselines`` is none of the three; ``out`` is no place for
            a file.
        ConfigError, DataError: the data can't be read any more.
        MissingExtraError: a package of the extra ``report`` is not installed.
        BundleError: the bundle is damaged, or the file can't be written.
    """
    start = time.perf_counter()
    if baselines not in CHOICES:
        raise ConfigError(
            f"baselines must be one of {', '.join(CHOICES)}; got {baselines!r}.{nearest(baselines, CHOICES)}"
        )
    found = Run.finished(run)
    path = found.report_file if out is None else Path(out).expanduser()
    check_file(path)
    converter(), template()  # a missing package is told before anything is measured
    config, recommender = found.config(), found.recommender(index=False)
    parts = load_parts(config, log=log)
    tuned = None
    if config.objective.implicit and baselines != "none":
        tuned = TunedSettings.of(found.baselines_file, config, parts, log)
    case = Case.of(config, recommender, parts, found.metrics(), baselines=baselines, tuned=tuned, log=log)
    findings = examine(case)
    html = html_of(case, findings, title=found.path.resolve().name)
    write_text(path, html)
    return Report(path, case, findings, time.perf_counter() - start)


def html_of(case: Case, findings: tuple[Finding, ...] | None = None, *, title: str = "Model") -> str:
    """Return the page of a case that is already measured."""
    return render(content_of(case, examine(case) if findings is None else findings, title))
