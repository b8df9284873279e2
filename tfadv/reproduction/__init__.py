"""The papers' tables, trained and attacked again: paper beside ours beside the difference. `TARGETS` is the index."""

from __future__ import annotations

from tfadv.reproduction import feature_smoothing_table1
from tfadv.reproduction.table import reproduce as reproduce
from tfadv.reproduction.target import Target as Target

TARGETS: dict[str, Target] = {"feature_smoothing/table1": feature_smoothing_table1.TARGET}
