"""Defense losses: one file each, a pure function of (labels, logits) and the Keras class that carries it.

Two frames hold most of them: `SmoothedCrossEntropy`, where a loss is its q' (where smoothing moves the probability),
and `PenalizedCrossEntropy`, where it is its penalty on the logits.
"""

from tfadv.losses.confidence_penalty import ConfidencePenalty, confidence_penalty
from tfadv.losses.label_smoothing import LabelSmoothing, label_smoothing, other_classes
from tfadv.losses.label_smoothing_variants import (
    AdversarialLabelSmoothing,
    BoltzmannLabelSmoothing,
    SecondBestLabelSmoothing,
    boltzmann,
    second_best_class,
    worst_class,
)
from tfadv.losses.logit_pairing import CleanLogitPairing, clean_logit_pairing, logit_pairing
from tfadv.losses.logit_squeezing import LogitSqueezing, logit_squeezing
from tfadv.losses.penalized_cross_entropy import PenalizedCrossEntropy, penalized_cross_entropy
from tfadv.losses.smoothed_cross_entropy import LabelSmoothingToward, SmoothedCrossEntropy, smoothed_cross_entropy
from tfadv.losses.weight_decay import L2Norm, MeanL1, add_weight_decay, regularize_kernels

__all__ = [
    "AdversarialLabelSmoothing",
    "BoltzmannLabelSmoothing",
    "CleanLogitPairing",
    "ConfidencePenalty",
    "L2Norm",
    "LabelSmoothing",
    "LabelSmoothingToward",
    "LogitSqueezing",
    "MeanL1",
    "PenalizedCrossEntropy",
    "SecondBestLabelSmoothing",
    "SmoothedCrossEntropy",
    "add_weight_decay",
    "boltzmann",
    "clean_logit_pairing",
    "confidence_penalty",
    "label_smoothing",
    "logit_pairing",
    "logit_squeezing",
    "other_classes",
    "penalized_cross_entropy",
    "regularize_kernels",
    "second_best_class",
    "smoothed_cross_entropy",
    "worst_class",
]
