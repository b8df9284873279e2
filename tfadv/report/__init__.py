"""What was found, and how it is shown: records, tables, figures, the page, and several reports side by side."""

from tfadv.report.collection import Collection as Collection
from tfadv.report.collection import Curve as Curve
from tfadv.report.collection import Section as Section
from tfadv.report.records import AttackResult as AttackResult
from tfadv.report.records import Check as Check
from tfadv.report.records import Examples as Examples
from tfadv.report.records import ThreatModel as ThreatModel
from tfadv.report.report import Report as Report
from tfadv.report.tables import Table as Table

__all__ = ["AttackResult", "Check", "Collection", "Curve", "Examples", "Report", "Section", "Table", "ThreatModel"]
