"""The papers' tables and figures, made again: paper beside ours beside the difference."""

from __future__ import annotations

from tfadv.reproduction.reproduce import run as run
from tfadv.reproduction.study import Study as Study
from tfadv.reproduction.target import Target as Target
from tfadv.reproduction.targets import STUDIES as STUDIES
from tfadv.reproduction.targets import TARGETS as TARGETS

__all__ = ["STUDIES", "TARGETS", "Study", "Target", "run"]
