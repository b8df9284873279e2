"""A free part of a report: what belongs beside the attacks, in words, tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfadv.report.charts import Chart, Pictures, Series, from_json
from tfadv.report.tables import Table
from tfadv.report.values import plain


class Curve(NamedTuple):
    """Accuracy against something, with its interval; four sequences of one length.

    x: training steps, or epsilon.   accuracy, low, high: fractions in [0, 1].
    """

    x: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """A free part of a page: a heading, then paragraphs, a table, curves and charts, each of them optional.

    Attributes:
        title: the heading.
        text: paragraphs of plain text; one text is one paragraph.
        table: a table, or None.
        curves: series name -> Curve; drawn as one plot.
        axis: what the curves run over, "training steps" or "epsilon".
        charts: further figures.
    """

    title: str
    text: tuple[str, ...] | str = ()
    table: Table | None = None
    curves: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    axis: str = "training steps"
    charts: tuple[Chart | Pictures, ...] = ()

    def __post_init__(self) -> None:
        text = (self.text,) if isinstance(self.text, str) else tuple(self.text)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "charts", tuple(self.charts))
        curves = {name: Curve(*(tuple(map(float, part)) for part in curve)) for name, curve in self.curves.items()}
        object.__setattr__(self, "curves", curves)
        for name, curve in curves.items():
            if len({len(part) for part in curve}) != 1:
                raise ValueError(f"x, accuracy, low and high of curve {name!r} must have one length, got {curve}")
        if self.axis not in ("training steps", "epsilon"):
            raise ValueError(f"axis must be 'training steps' or 'epsilon', got {self.axis!r}")

    def curve_chart(self) -> Chart:
        """The curves as one chart."""
        axis = "epsilon (image units)" if self.axis == "epsilon" else self.axis
        series = {name: Series(curve.x, curve.accuracy, curve.low, curve.high) for name, curve in self.curves.items()}
        return Chart(f"Accuracy against {self.axis}, with 95% intervals.", axis, "accuracy", series, percent=True)

    def to_json(self) -> dict[str, Any]:
        """JSON values of the section."""
        return {
            "title": self.title,
            "text": list(self.text),
            "table": None if self.table is None else self.table.to_json(),
            "curves": {name: plain(curve._asdict(), name) for name, curve in self.curves.items()},
            "axis": self.axis,
            "charts": [chart.to_json() for chart in self.charts],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Section:
        """The inverse of `to_json`."""
        return cls(
            title=data["title"],
            text=tuple(data["text"]),
            table=None if data["table"] is None else Table.from_json(data["table"]),
            curves={name: Curve(**curve) for name, curve in data["curves"].items()},
            axis=data["axis"],
            charts=tuple(map(from_json, data.get("charts", ()))),
        )
