"""A report in the forms that other programs read: rows for each image, RobustBench's fields, AutoAttack's log.

RobustBench (github.com/RobustBench/robustbench) describes a model in model_info/<data set>/<threat model>/<name>.json:
texts, accuracies in percent with two decimals among them. AutoAttack (github.com/fra31/auto-attack) logs what each
attack left, counting those before it in. Both are written from the rows of a report, and claim nothing beyond them.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from tfadv.report.records import STATEMENT, AttackResult
from tfadv.report.report import Report
from tfadv.report.tables import one_line
from tfadv.validation import UserError

BY_CHECKS = "attacks of the checks"
# The suites that are versions of AutoAttack.
_VERSIONS = ("standard", "plus", "rand")


def breaking_attacks(report: Report) -> list[str | None]:
    """For each image the name of the first row that broke it, `BY_CHECKS`, or None: misclassified clean, or robust."""
    names: list[str | None] = [BY_CHECKS if found else None for found in report.found_by_checks & report.broken]
    before = report.labels != report.predictions
    for row in report.rows:
        for image in np.flatnonzero(row.adversarial & ~before):
            names[image] = row.name
        before = before | row.adversarial
    return names


def images_parquet(report: Report) -> bytes:
    """One row for each image, as a Parquet file (parquet.apache.org).

    Columns: index, label, prediction (int64); clean_correct, robust (bool; robust means not `Report.broken`); distance
    (float32: size of the change that the breaking attack made, null where there is none or it was not kept);
    breaking_attack (text or null: see `breaking_attacks`); and queries, adversarial_prediction (int64) if the report
    has them. The file's metadata hold name, dataset and threat.
    """
    import pyarrow
    import pyarrow.parquet

    breaking = breaking_attacks(report)
    rows = {row.name: row.distances for row in report.rows}
    distances = [float(rows[name][image]) if name in rows else np.nan for image, name in enumerate(breaking)]
    known = np.isfinite(distances)
    columns: dict[str, Any] = {
        "index": np.arange(report.count) if report.index is None else report.index,
        "label": report.labels,
        "prediction": report.predictions,
        "clean_correct": report.labels == report.predictions,
        "robust": ~report.broken,
        "distance": pyarrow.array(np.asarray(distances, np.float32), mask=~known),
        "breaking_attack": pyarrow.array([each and one_line(each) for each in breaking], pyarrow.string()),
    }
    optional = {"queries": report.image_queries, "adversarial_prediction": report.adversarial_predictions}
    columns |= {name: values for name, values in optional.items() if values is not None}
    metadata = {"name": one_line(report.name), "dataset": one_line(report.dataset), "threat": report.threat.describe()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, metadata=metadata), buffer)
    return buffer.getvalue()


def adversarial_npz(report: Report, adversarial: Any) -> bytes:
    """The images after the attacks as a compressed .npz: x_adv [n, ...] float32, and y, index, robust [n].

    Raises:
        UserError: `adversarial` does not hold one image for each of the report.
    """
    images = np.asarray(adversarial, dtype=np.float32)
    if images.ndim < 2 or len(images) != report.count:
        raise UserError(
            f"adversarial must hold one image for each of the {report.count} of the report, got shape {images.shape}; "
            "pass the images after the attacks, clean where none succeeded"
        )
    index = np.arange(report.count) if report.index is None else report.index
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x_adv=images, y=report.labels, index=index, robust=~report.broken)
    return buffer.getvalue()


def is_autoattack(report: Report) -> bool:
    """Whether the rows are those of AutoAttack's standard version, all in float32, and so may bear its name."""
    return report.settings.get("suite") == "standard" and bool(_suite(report)) and _in_float32(report)


def _in_float32(report: Report) -> bool:
    return all(row.precision == "float32" for row in _suite(report))


def _suite(report: Report) -> list[AttackResult]:
    """The rows of the suite itself: without examples that were crafted on another model."""
    return [row for row in report.rows if "source" not in row.config]


def robustbench(report: Report) -> dict[str, Any]:
    """The fields of RobustBench's model_info, accuracies in percent as text.

    What a report does not know is left empty for the author to fill in: link, authors, venue and architecture "",
    additional_data and number_forward_passes null. autoattack_acc is there only if `is_autoattack`; external, which
    RobustBench ranks by where it is present, holds the worst case wherever that is lower, or of other attacks.
    """
    fields: dict[str, Any] = {
        "link": "",
        "name": report.name,
        "authors": "",
        "additional_data": None,
        "number_forward_passes": None,
        "dataset": report.dataset,
        "venue": "",
        "architecture": "",
        "eps": report.threat.epsilon_text().split(" ")[0],
        "clean_acc": _percent(report.clean_accuracy),
        "reported": _percent(report.suite_accuracy if report.claimed is None else report.claimed),
    }
    notes = [f"Worst case on {report.count:,} images, {report.threat.describe()}: {STATEMENT}."]
    accuracy = None
    if is_autoattack(report):
        # A row is True also where the clean image is misclassified.
        accuracy = float(np.mean(~np.logical_or.reduce([row.adversarial for row in _suite(report)])))
        fields["autoattack_acc"] = _percent(accuracy)
    else:
        names = "; ".join(one_line(row.name) for row in report.rows) or "none"
        notes.append(f"The attacks were not AutoAttack's standard version in float32 but: {names}.")
    if accuracy is None or report.robust_accuracy < accuracy:
        fields["external"] = _percent(report.robust_accuracy)
    if report.verdict is not None:
        fields["unreliable"] = report.verdict.word != "trusted"
        notes.append(report.judgment())
    fields["footnote"] = " ".join(notes)
    return fields


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def autoattack_log(report: Report, adversarial: Any = None) -> str:
    """The report in the lines of AutoAttack's log, accuracies in percent.

    The accuracy after each attack counts the attacks before it in; the seconds too. AutoAttack's attacks are called
    what it calls them ("square"), others what the report calls them. What AutoAttack prints of the images themselves
    (NaN, largest and smallest value) needs `adversarial` [n, ...]; without it that line holds the largest change alone.
    The statement and the verdict follow as lines that AutoAttack does not have.
    """
    suite = report.settings.get("suite")
    version = suite if isinstance(suite, str) else "custom"
    if suite in _VERSIONS and not _in_float32(report):
        version = f"{suite} (bfloat16)"
    ours = {row.name: row.name.split(",")[0].lower() for row in _suite(report)} if suite in _VERSIONS else {}
    names = [ours.get(row.name, one_line(row.name)) for row in report.rows]
    lines = [
        f"using {version} version including {', '.join(names)}.",
        f"initial accuracy: {report.clean_accuracy:.2%}",
    ]
    broken, seconds, sizes = report.labels != report.predictions, 0.0, [0.0]
    for name, row in zip(names, report.rows, strict=True):
        left, broken = int((~broken).sum()), broken | row.adversarial
        seconds += row.seconds
        sizes.append(float(np.nanmax(row.distances, initial=0.0)))
        lines.append(f"{name} - 1/1 - {row.new_successes} out of {left} successfully perturbed")
        accuracy = 1 - float(np.mean(broken))
        lines.append(f"robust accuracy after {name.upper()}: {accuracy:.2%} (total time {seconds:.1f} s)")
    norm = {"linf": "Linf", "l2": "L2", "l1": "L1"}.get(report.threat.norm, one_line(report.threat.norm))
    images = ""
    if adversarial is not None:
        values = np.asarray(adversarial, dtype=np.float32)
        bad = int(np.isnan(values).sum())
        images = f", nan in tensor: {bad}, max: {np.nanmax(values):.5f}, min: {np.nanmin(values):.5f}"
    lines.append(f"max {norm} perturbation: {max(sizes):.5f}{images}")
    lines.append(f"robust accuracy: {report.suite_accuracy:.2%}")
    lines.append(f"statement: {STATEMENT}")
    return "\n".join(filter(None, [*lines, report.judgment()])) + "\n"
