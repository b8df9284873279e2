"""What was found, and how it is shown: records, tables, figures, the page, and several reports side by side."""

from tfadv.report.charts import Chart as Chart
from tfadv.report.charts import Pictures as Pictures
from tfadv.report.charts import Series as Series
from tfadv.report.collection import Collection as Collection
from tfadv.report.records import AttackResult as AttackResult
from tfadv.report.records import Check as Check
from tfadv.report.records import Examples as Examples
from tfadv.report.records import ThreatModel as ThreatModel
from tfadv.report.records import Verdict as Verdict
from tfadv.report.report import Report as Report
from tfadv.report.section import Curve as Curve
from tfadv.report.section import Section as Section
from tfadv.report.tables import Table as Table

__all__ = [
    "AttackResult",
    "Chart",
    "Check",
    "Collection",
    "Curve",
    "Examples",
    "Pictures",
    "Report",
    "Section",
    "Series",
    "Table",
    "ThreatModel",
    "Verdict",
]
