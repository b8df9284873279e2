"""The index of everything that can be reproduced: trained tables, and studies."""

from __future__ import annotations

from tfadv.reproduction import feature_smoothing_table1
from tfadv.reproduction.studies import (
    avmixup_features,
    avmixup_theory,
    avmixup_trained_curves,
    avmixup_trained_scatter,
    avmixup_trained_tables,
    avmixup_trained_transfer,
    avmixup_vertex,
    feature_smoothing_bands,
    feature_smoothing_theorems,
    feature_smoothing_toy,
    feature_smoothing_variances,
    label_smoothing_effects,
    label_smoothing_gaussian,
    label_smoothing_robust_linear,
    label_smoothing_theory,
    label_smoothing_trained,
    label_smoothing_trained_curves,
    logit_squeezing_figures,
    logit_squeezing_table1,
    logit_squeezing_table5,
    weight_decay_adversarial,
    weight_decay_cnn_curves,
    weight_decay_cnn_filters,
    weight_decay_cnn_fooling,
    weight_decay_cnn_saliency,
    weight_decay_cnn_swaps,
    weight_decay_logistic,
    weight_decay_schematics,
)
from tfadv.reproduction.study import Study
from tfadv.reproduction.target import Target

# Key, such as feature_smoothing/table1 -> a table of trained classifiers.
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
    *label_smoothing_trained.STUDIES,
    *label_smoothing_trained_curves.STUDIES,
    logit_squeezing_table1.STUDY,
    logit_squeezing_table5.STUDY,
    *logit_squeezing_figures.STUDIES,
    *weight_decay_schematics.STUDIES,
    *weight_decay_logistic.STUDIES,
    *weight_decay_adversarial.STUDIES,
    *weight_decay_cnn_fooling.STUDIES,
    weight_decay_cnn_curves.STUDY,
    *weight_decay_cnn_swaps.STUDIES,
    weight_decay_cnn_saliency.STUDY,
    weight_decay_cnn_filters.STUDY,
    *avmixup_vertex.STUDIES,
    *avmixup_theory.STUDIES,
    *avmixup_features.STUDIES,
    *avmixup_trained_tables.STUDIES,
    avmixup_trained_transfer.STUDY,
    *avmixup_trained_scatter.STUDIES,
    avmixup_trained_curves.STUDY,
)

# Key, such as weight_decay/fig1 -> a figure, table or theorem with what computes it.
STUDIES: dict[str, Study] = {study.key: study for study in _STUDIES}
