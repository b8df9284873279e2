"""Training methods that need an attack, as `keras.Model` wrappers for compile and fit."""

from tfadv.adversarial.madry import AdversarialTraining as AdversarialTraining

__all__ = ["AdversarialTraining"]
