"""The index of everything that can be reproduced: trained tables, and studies."""

from __future__ import annotations

from tfadv.reproduction import feature_smoothing_table1
from tfadv.reproduction.studies import (
    avmixup_features,
    avmixup_theory,
    avmixup_vertex,
    feature_smoothing_bands,
    feature_smoothing_theorems,
    feature_smoothing_toy,
    feature_smoothing_variances,
    label_smoothing_effects,
    label_smoothing_gaussian,
    label_smoothing_robust_linear,
    label_smoothing_theory,
    weight_decay_adversarial,
    weight_decay_logistic,
    weight_decay_schematics,
)
from tfadv.reproduction.study import Study
from tfadv.reproduction.target import Target

TARGETS: dict[str, Target] = {"feature_smoothing/table1": feature_smoothing_table1.TARGET}
_STUDIES: tuple[Study, ...] = (
    feature_smoothing_toy.STUDY,
    *feature_smoothing_bands.STUDIES,
    *feature_smoothing_variances.STUDIES,
    feature_smoothing_theorems.STUDY,
    *label_smoothing_theory.STUDIES,
    *label_smoothing_gaussian.STUDIES,
    *label_smoothing_robust_linear.STUDIES,
    *label_smoothing_effects.STUDIES,
    *weight_decay_schematics.STUDIES,
    *weight_decay_logistic.STUDIES,
    *weight_decay_adversarial.STUDIES,
    *avmixup_vertex.STUDIES,
    *avmixup_theory.STUDIES,
    *avmixup_features.STUDIES,
)

STUDIES: dict[str, Study] = {study.key: study for study in _STUDIES}
