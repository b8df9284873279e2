"""Evaluation that can be trusted: suites of attacks, the per-example worst case, checks of the evaluation itself."""

from tfadv.evaluation.engine import evaluate as evaluate
from tfadv.evaluation.inputs import NamedData as NamedData
from tfadv.evaluation.inputs import named as named
from tfadv.evaluation.several import evaluate_threats as evaluate_threats
from tfadv.evaluation.suites import SUITES as SUITES
from tfadv.evaluation.suites import Part as Part
from tfadv.evaluation.surrogates import Surrogate as Surrogate
from tfadv.evaluation.surrogates import adversarial_surrogate as adversarial_surrogate
from tfadv.evaluation.surrogates import undefended_twin as undefended_twin
from tfadv.evaluation.threats import Threat as Threat

__all__ = [
    "SUITES",
    "NamedData",
    "Part",
    "Surrogate",
    "Threat",
    "adversarial_surrogate",
    "evaluate",
    "evaluate_threats",
    "named",
    "undefended_twin",
]
