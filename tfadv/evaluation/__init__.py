"""Evaluation that can be trusted: suites of attacks, the per-example worst case, checks of the evaluation itself."""

from tfadv.evaluation.engine import evaluate as evaluate
from tfadv.evaluation.suites import SUITES as SUITES

__all__ = ["SUITES", "evaluate"]
