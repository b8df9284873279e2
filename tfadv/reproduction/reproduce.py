"""`run`: reproduces some targets, or all, and publishes what they show."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tfadv.reproduction import gallery, plan, results
from tfadv.reproduction.table import reproduce
from tfadv.reproduction.targets import STUDIES, TARGETS
from tfadv.validation import UserError

# Training steps for each row of a trained table; None is the paper's own schedule.
_TABLE_STEPS = {"smoke": 20, "short": 20_000, "paper": None}
_SMOKE_LIMIT = 100


def run(
    targets: Sequence[str],
    output: str | os.PathLike,
    *,
    scale: str = "short",
    data_dir: str | None = None,
    executor: str = "local",
    only_finished: bool = False,
    publish: str | os.PathLike | None = None,
    steps: int | None = None,
    rows: Sequence[str] | None = None,
    keep_every: int | None = None,
    limit: int | None = None,
    precision: str = "auto",
    report: Callable[[str], None] = lambda line: print(line, flush=True),
) -> None:
    """Does the work of the targets, writes what each shows into a folder of `output`, and publishes it.

    Args:
        targets: keys, PAPER/TABLE_OR_FIGURE, or "all".
        scale, data_dir, executor, only_finished: as in `plan.carry_out`; trained tables are left out by the last.
        publish: a record, usually results; every target has a folder there, and RESULTS.md is its index.
        steps, rows, keep_every, limit, precision: of trained tables, as in `table.reproduce`.

    Raises:
        UserError: an unknown target, or whatever the work refuses; what is finished by then is kept.
    """
    known = [*TARGETS, *STUDIES]
    chosen = known if list(targets) == ["all"] else list(targets)
    unknown = [key for key in chosen if key not in known]
    if unknown or not chosen:
        raise UserError(f"target must be one of {', '.join(known)}; got {', '.join(unknown) or 'none'!r}")
    output = pathlib.Path(output)
    studies = [STUDIES[key] for key in chosen if key in STUDIES]
    if studies:
        how: dict[str, Any] = {"scale": scale, "data_dir": data_dir, "executor": executor}
        found = plan.carry_out(studies, output, only_finished=only_finished, report=report, **how)
        for study in studies:
            jobs = found[study.key]
            rendering = study.render({key: values["result"] for key, values in jobs.items()})
            for folder in [output] if publish is None else [output, pathlib.Path(publish)]:
                gallery.write(study, rendering, jobs, scale, results.place(study.key, folder))
            report(f"{study.key}: {study.title}")
            if rendering.compared:
                report(gallery.table(rendering.compared).text())
            for finding in rendering.findings:
                report(f"- {finding}")
    for key in chosen:
        if key not in TARGETS or only_finished:
            continue
        options: dict[str, Any] = {"rows": rows, "keep_every": keep_every, "precision": precision, "report": report}
        reproduce(
            TARGETS[key],
            output if len(chosen) == 1 else results.place(key, output),
            steps=steps or _TABLE_STEPS[scale] or TARGETS[key].paper_steps,
            data_dir=data_dir,
            limit=limit or (_SMOKE_LIMIT if scale == "smoke" else None),
            record=results.place(key, publish) if publish else None,
            **options,
        )
        if publish:
            folder = results.publish(output if len(chosen) == 1 else results.place(key, output), key, publish)
            report(f"published in {folder}")
    if publish and studies:
        results.write_index(pathlib.Path(publish))
        report(f"published in {publish}")
