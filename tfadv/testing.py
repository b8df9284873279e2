"""Robustness as an assertion, for the tests of a project that trains a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfadv.evaluation import evaluate
from tfadv.report import Report
from tfadv.report.records import STATEMENT, VERDICTS
from tfadv.validation import UserError


def assert_robust(
    model: Any,
    data: Any,
    at_least: float,
    epsilon: float,
    norm: str = "linf",
    *,
    suite: Any = "quick",
    verdicts: Sequence[str] = ("trusted",),
    **options: Any,
) -> Report:
    """Fails unless `model` keeps an accuracy of `at_least` under the suite, and the evaluation itself is sound.

        def test_robust():
            assert_robust(model, (x_test, y_test), at_least=0.45, epsilon=8 / 255, limit=500)

    Args:
        model, data, epsilon, norm, suite: as in `tfadv.evaluate`.
        at_least: the lowest worst-case accuracy allowed, in [0, 1].
        verdicts: the verdicts that are good enough.
        options: further arguments of `tfadv.evaluate`, such as limit, budget, seed.

    Returns:
        The report, for further assertions or `.save(folder)`.

    Raises:
        AssertionError: fewer images withstood the attacks, or the verdict is another; the message has the table.
        UserError: what `tfadv.evaluate` refuses, or an `at_least` or verdict that does not exist.
    """
    if not 0 <= at_least <= 1:
        raise UserError(f"at_least must be an accuracy from 0 to 1, got {at_least!r}; write 0.45 for 45%")
    if unknown := set(verdicts) - set(VERDICTS):
        raise UserError(f"verdicts must be among {VERDICTS}, got {sorted(unknown)}")
    report = evaluate(model, data, epsilon, norm, suite, **options)
    complaints = []
    if report.robust_accuracy < at_least:
        complaints.append(f"worst-case accuracy {report.robust_accuracy:.4f} is below {at_least:g}")
    if report.verdict is not None and report.verdict.word not in verdicts:
        complaints.append(
            f"the verdict is {report.verdict.word!r}, not {' or '.join(verdicts)}: {report.verdict.reason}"
        )
    if complaints:
        # Raised, not asserted: `python -O` drops assert statements.
        raise AssertionError(f"{'; '.join(complaints)} ({STATEMENT})\n\n{report.summary()}")
    return report
