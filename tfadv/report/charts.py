"""Charts and pictures as data: what a function of numbers returns, so that JSON keeps it and any page can draw it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tfadv.report.values import freeze, pack, unpack

KINDS = ("lines", "points", "bars", "histogram")


class Series(NamedTuple):
    """Points of one series: four sequences of one length, or low and high empty where no interval is known."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Chart:
    """Numbers against numbers.

    Attributes:
        title: what is seen, in a sentence; the caption of the figure and the beginning of its text alternative.
        x_label, y_label: the axes, with units.
        series: name -> Series. "bars": one bar for each x. "histogram": x has one edge more than y.
        kind: one of `KINDS`.
        rules: name -> height of a horizontal line, such as the limit of a pass rule.
        log_x: whether x runs over powers of ten, and is therefore above 0.
        percent: whether y is a fraction in [0, 1], to be shown as a percentage.
        x_names: of "bars" alone: what stands below the bars in place of the numbers x, which are then 0, 1, 2, ...
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Series]
    kind: str = "lines"
    rules: Mapping[str, float] = dataclasses.field(default_factory=dict)
    log_x: bool = False
    percent: bool = False
    x_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "x_names", tuple(self.x_names))
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        series = {name: Series(*(tuple(map(float, part)) for part in each)) for name, each in self.series.items()}
        object.__setattr__(self, "series", series)
        object.__setattr__(self, "rules", {name: float(height) for name, height in self.rules.items()})
        for name, each in series.items():
            counts = {len(each.x) - (self.kind == "histogram"), len(each.y), len(each.low or each.y)}
            if len(counts) != 1 or len(each.low) != len(each.high):
                raise ValueError(f"x, y, low and high of {name!r} do not fit each other, got {each}")
            if not np.isfinite([value for part in each for value in part]).all():
                raise ValueError(f"a chart holds finite numbers, got {each} in {name!r}")
            if self.log_x and min(each.x, default=1) <= 0:
                raise ValueError(f"x must be above 0 where it runs over powers of ten, got {each} in {name!r}")
            if self.x_names and not (self.kind == "bars" and set(each.x) <= set(range(len(self.x_names)))):
                raise ValueError(f"x_names name the bars at 0, 1, 2, ..., got {self.x_names} for {each} in {name!r}")

    def to_json(self) -> dict[str, Any]:
        """JSON values of the chart."""
        values = dataclasses.asdict(self)
        series = {name: {k: list(v) for k, v in each._asdict().items()} for name, each in self.series.items()}
        own = {"series": series, "x_names": list(self.x_names)}
        return {"chart": self.kind, **{k: v for k, v in values.items() if k != "kind"}, **own}


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """A grid of small pictures.

    Attributes:
        title: what is seen, in a sentence.
        images: float32 [m, H, W, C], C 1 or 3.
        labels: m texts, one above each picture.
        columns: pictures side by side on a wide page.
        bounds: values shown as black and white; None takes minus and plus the largest absolute value: 0 is gray.
    """

    title: str
    images: np.ndarray
    labels: tuple[str, ...]
    columns: int = 8
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        freeze(self, {"images": np.float32})
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.images.ndim != 4 or not len(self.images) or len(self.labels) != len(self.images):
            raise ValueError(f"images must be [m, H, W, C] with m labels, got {self.images.shape}, {self.labels}")

    def to_json(self) -> dict[str, Any]:
        """JSON values; images as `{"shape", "float32_zlib_base64"}`."""
        values = {"title": self.title, "labels": list(self.labels), "columns": self.columns}
        bounds = None if self.bounds is None else list(self.bounds)
        return {"chart": "pictures", **values, "images": pack(self.images), "bounds": bounds}


def from_json(data: Mapping[str, Any]) -> Chart | Pictures:
    """The inverse of `Chart.to_json` and `Pictures.to_json`."""
    fields = {key: value for key, value in data.items() if key != "chart"}
    if data["chart"] == "pictures":
        bounds = None if data["bounds"] is None else tuple(data["bounds"])
        return Pictures(**{**fields, "images": unpack(data["images"]), "bounds": bounds})
    return Chart(
        **{**fields, "series": {name: Series(**each) for name, each in data["series"].items()}}, kind=data["chart"]
    )
