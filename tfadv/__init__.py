"""Adversarial robustness for TensorFlow and Keras: defend a classifier, attack it, and learn whether it is robust."""

from tfadv import adversarial, attacks, augment, data, evaluation, losses, models, report
from tfadv.evaluation import evaluate
from tfadv.validation import UserError
from tfadv.version import __version__

__all__ = [
    "UserError",
    "__version__",
    "adversarial",
    "attacks",
    "augment",
    "data",
    "evaluate",
    "evaluation",
    "losses",
    "models",
    "report",
]
