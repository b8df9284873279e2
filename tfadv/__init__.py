"""Adversarial robustness for TensorFlow and Keras: defend a classifier, attack it, and learn whether it is robust."""

from tfadv import attacks, augment, data, losses, models
from tfadv.validation import UserError
from tfadv.version import __version__

__all__ = ["UserError", "__version__", "attacks", "augment", "data", "losses", "models"]
