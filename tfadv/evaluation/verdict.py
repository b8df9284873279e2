"""The verdict: what the checks of an evaluation together say of its number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfadv.report.records import Check, Verdict
from tfadv.report.tables import percent


def allowed(count: int) -> float:
    """Fewer examples than max(3, 0.5% of n) may be found beside the suite before its number counts as too high."""
    return max(3.0, 0.005 * count)


def decide(count: int, robust: float, worst: float, checks: Sequence[Check], claimed: float | None = None) -> Verdict:
    """The verdict on a robust accuracy.

    `overestimated` if the claimed accuracy (or, without a claim, the suite's) exceeds the worst case over the suite and
    all attacks of the checks by max(3 images, 0.5% of n) or more; else `unverified` if a check failed or could not run;
    else `trusted`, which says no more than that no check failed.

    Where every check passed and nobody claims anything, two standard errors are allowed too: the checks with more steps
    and starts pass up to that, because any further effort finds a few more images of a sound network (PGD-40 to PGD-80
    moved one from 94.7% to 93.3%), and together they should not say what none of them says.

    Args:
        count: n, examples.
        robust: share that the suite left unbroken.
        worst: share that neither the suite nor the checks' attacks broke; at most `robust`.
        checks: with their outcomes.
        claimed: the robust accuracy that somebody states, a fraction, to be judged in place of the suite's.
    """
    judged = robust if claimed is None else claimed
    lost = (judged - worst) * count
    failed = [check.name for check in checks if check.outcome == "failed"]
    missing = [check.name for check in checks if check.outcome == "not run"]
    limit = allowed(count)
    if claimed is None and not failed and not missing:
        limit = max(limit, 2 * math.sqrt(robust * (1 - robust) * count))
    if lost >= limit - 1e-9:
        of_claim = "the claimed" if claimed is not None else "the suite's"
        reason = (
            f"Stronger attacks leave {percent(worst, count)} of the {count:,} images, not {of_claim} "
            f"{percent(judged, count)}, so that number is too high."
        )
        return Verdict("overestimated", reason, judged, worst)
    if failed or missing:
        parts = [
            f"{len(names)} check{'s' if len(names) > 1 else ''} {what} ({'; '.join(names)})"
            for names, what in ((failed, "failed"), (missing, "could not run"))
            if names
        ]
        reason = (
            f"{' and '.join(parts)}, so the attacks may have missed images that a better attack would find; nothing "
            "shows by how much."
        )
        return Verdict("unverified", reason[0].upper() + reason[1:], judged, worst)
    run = sum(check.outcome in ("passed", "warning") for check in checks)
    reason = (
        f"No check failed: {run} checks of the evaluation found no sign that the attacks were hindered, and their own "
        f"attacks found {'no further image' if worst >= robust else 'too few further images to matter'}."
    )
    return Verdict("trusted", reason, judged, worst)
