"""Several threat models on the same images, and their union: a model robust in one norm may be open in another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfadv.balls import BALLS
from tfadv.evaluation.engine import evaluate
from tfadv.evaluation.inputs import as_arrays
from tfadv.evaluation.threats import Threat, parse_all
from tfadv.report import Collection, Report, Section, Table
from tfadv.report.records import clopper_pearson
from tfadv.report.tables import NOT_AVAILABLE, percent, percent_interval


def evaluate_threats(
    model: Any,
    data: Any,
    threats: Iterable[str | Threat] | str,
    *,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
    name: str | None = None,
    dataset: str = "data",
    **options: Any,
) -> Collection:
    """Evaluates `model` under each threat model, and under all of them at once.

    Args:
        model, data, seed, bounds, name, dataset: as in `evaluate`; `options` are its further arguments, such as limit,
            precision, check. A threat that is no norm (rotation, brightness, l0) has no checks and no verdict.
        threats: such as "linf:8/255,l2:0.5,rotation:20", or a list of texts or `Threat`s.

    Returns:
        A page of one report for each threat, with a table of them all whose last row is the per-example union: an image
        is robust there if it withstands every threat.

    Raises:
        UserError: an unknown threat, or whatever `evaluate` refuses.
    """
    chosen = parse_all(threats)
    x, y = as_arrays(data, bounds)
    reports = []
    for threat in chosen:
        given = {**options, "check": options.get("check", True) and threat.norm in BALLS}
        # AutoAttack under its own name, because how it runs and is checked hangs on that.
        suite = "standard" if threat.norm in ("linf", "l2") else threat.parts(x.shape[1:], seed=seed, bounds=bounds)
        called = f"{name or getattr(model, 'name', None) or type(model).__name__}, {threat}"
        report = evaluate(
            model, (x, y), threat.epsilon, threat.norm, suite,
            seed=seed, bounds=bounds, name=called, dataset=dataset, **given,
        )  # fmt: skip
        reports.append(report)
    return Collection(
        f"Robust accuracy of {name or getattr(model, 'name', 'the model')} under several threats",
        tuple(reports),
        (Section("All threats", _TEXT, union(reports)),),
    )


_TEXT = "The union counts an image as robust if it withstands every attack of every threat."


def union(reports: list[Report]) -> Table:
    """A row for each report of the same examples, and one for all of them together."""
    count = min(report.count for report in reports)
    lines = []
    for report in reports:
        verdict = NOT_AVAILABLE if report.verdict is None else report.verdict.word
        shown = percent(report.robust_accuracy, report.count), percent_interval(report.interval, report.count)
        lines.append((report.threat.describe(), *shown, verdict))
    if all(report.count == count for report in reports):
        left = ~np.logical_or.reduce([report.broken for report in reports])
        interval = percent_interval(clopper_pearson(int(left.sum()), count), count)
        lines.append(("union", percent(float(left.mean()), count), interval, NOT_AVAILABLE))
    return Table(("threat", "accuracy", "95% interval", "verdict"), tuple(lines), f"{count:,} images.")
