"""Defense losses: one file each, a pure function of (labels, logits) and the Keras class that carries it."""

from tfadv.losses.label_smoothing import LabelSmoothing, label_smoothing
from tfadv.losses.logit_squeezing import LogitSqueezing, logit_squeezing
from tfadv.losses.weight_decay import L2Norm, add_weight_decay, regularize_kernels

__all__ = [
    "L2Norm",
    "LabelSmoothing",
    "LogitSqueezing",
    "add_weight_decay",
    "label_smoothing",
    "logit_squeezing",
    "regularize_kernels",
]
