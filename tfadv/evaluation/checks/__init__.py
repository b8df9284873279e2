"""Checks of an evaluation, one small function each; this is their list, in the order in which they are made.

Those that attack further come from the cheapest on; what one of them breaks, the next need not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tfadv.evaluation.checks import binarization, comparisons, convergence, forward, gradients, radius
from tfadv.evaluation.checks.rule import QUICK as QUICK
from tfadv.evaluation.checks.rule import THOROUGH as THOROUGH
from tfadv.evaluation.checks.rule import Effort as Effort
from tfadv.evaluation.checks.rule import Rule as Rule
from tfadv.evaluation.subject import Subject
from tfadv.report.records import Check

CHECKS: tuple[Rule, ...] = (
    forward.deterministic,
    forward.logits,
    forward.no_optimization,
    forward.stable,
    gradients.exist,
    gradients.not_zero,
    comparisons.coverage,
    comparisons.iterative_beats_single,
    comparisons.scale,
    convergence.silent,
    convergence.rises,
    convergence.rests,
    convergence.steps,
    convergence.restarts,
    convergence.step_sizes,
    binarization.planted,
    radius.epsilon_zero,
    radius.monotone,
    radius.unbounded,
    radius.half_range,
    comparisons.stand_in,
    comparisons.white_beats_black,
    comparisons.random_search,
    forward.feasible,
    forward.rounded,
)


def carry_out(
    subject: Subject,
    effort: Effort,
    rules: Sequence[Rule] = CHECKS,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> tuple[Check, ...]:
    """The outcome of every rule on one subject; those that come after `deadline` (time.monotonic) are not run."""
    made = []
    for number, each in enumerate(rules, start=1):
        late = deadline is not None and time.monotonic() > deadline
        made.append(each.without("the time that was given is spent") if late else each(subject, effort))
        if progress is not None:
            progress(number, len(rules))
    return tuple(made)
