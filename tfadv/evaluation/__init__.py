"""Evaluation that can be trusted: suites of attacks, checks, the per-example worst case, and its report."""

from tfadv.evaluation.collection import Collection as Collection
from tfadv.evaluation.collection import Curve as Curve
from tfadv.evaluation.collection import Section as Section
from tfadv.evaluation.engine import evaluate as evaluate
from tfadv.evaluation.report import Report as Report
from tfadv.evaluation.suites import SUITES as SUITES

__all__ = ["SUITES", "Collection", "Curve", "Report", "Section", "evaluate"]
