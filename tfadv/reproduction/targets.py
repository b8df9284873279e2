"""The index of everything that can be reproduced: trained tables, and studies."""

from __future__ import annotations

from tfadv.reproduction import feature_smoothing_table1
from tfadv.reproduction.studies import (
    feature_smoothing_bands,
    feature_smoothing_theorems,
    feature_smoothing_toy,
    feature_smoothing_variances,
)
from tfadv.reproduction.study import Study
from tfadv.reproduction.target import Target

TARGETS: dict[str, Target] = {"feature_smoothing/table1": feature_smoothing_table1.TARGET}
_STUDIES: tuple[Study, ...] = (
    feature_smoothing_toy.STUDY,
    *feature_smoothing_bands.STUDIES,
    *feature_smoothing_variances.STUDIES,
    feature_smoothing_theorems.STUDY,
)

STUDIES: dict[str, Study] = {study.key: study for study in _STUDIES}
