"""The records that a report is made of: threat model, result of one attack, example images, check; and the interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.files import is_whole
from tfadv.report.charts import Chart
from tfadv.report.charts import from_json as chart_from_json
from tfadv.report.tables import one_line
from tfadv.report.values import freeze, pack, plain, unpack
from tfadv.validation import UserError

STATEMENT = "upper bound under this threat model; the interval covers sampling only"
CONFIDENCE = 0.95
OUTCOMES = ("passed", "failed", "warning", "not run", "not applicable")
VERDICTS = ("trusted", "overestimated", "unverified")


def clopper_pearson(successes: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact two-sided binomial interval for a proportion (Clopper and Pearson 1934).

    The ends are the proportions at which `successes` or more (fewer) out of `count` have probability
    (1 - confidence) / 2; with a = 1 - confidence, 0 of n gives [0, 1 - (a/2)^(1/n)] and n of n gives [(a/2)^(1/n), 1].

    Args:
        successes: how many examples of the sample count, 0 to `count`.
        count: size of the sample, at least 1.
        confidence: coverage, between 0 and 1.

    Returns: (low, high), fractions in [0, 1].

    Raises:
        ValueError: `count` is below 1, or `successes` outside 0..count.
    """
    # SciPy's statistics take half a second to import, and `import tfadv` should not wait for them.
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(confidence_level=confidence, method="exact")
    return float(interval.low), float(interval.high)


@dataclasses.dataclass(frozen=True)
class ThreatModel:
    """What the attacker may do, wants and knows (Carlini et al. 2019, arXiv:1902.06705, section 2).

    Attributes:
        norm: how the size of a change is measured: "linf", "l2", "l1", "l0" or another name.
        epsilon: the largest size allowed, in the image's own units (8/255, never 8).
        bounds: (lowest, highest) value of a pixel.
        knowledge: what the attacker knows, "white box" or "black box", say.
        goal: "untargeted": any wrong class will do.
    """

    norm: str
    epsilon: float
    bounds: tuple[float, float] = (0.0, 1.0)
    knowledge: str = "white box"
    goal: str = "untargeted"

    def __post_init__(self) -> None:
        low, high = map(float, self.bounds)
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise UserError(f"epsilon must be a finite number >= 0, got {self.epsilon!r}")
        if not low < high:
            raise UserError(f"bounds must be (low, high) with low < high, got {self.bounds!r}")
        object.__setattr__(self, "epsilon", float(self.epsilon))
        object.__setattr__(self, "bounds", (low, high))

    def epsilon_text(self) -> str:
        """Epsilon as people write it: "0.3", or "8/255 (0.0314)" where that is what it is."""
        levels = self.epsilon * 255
        if abs(levels - round(levels)) < 1e-4 and abs(self.epsilon * 1000 - round(self.epsilon * 1000)) > 1e-6:
            return f"{round(levels)}/255 ({self.epsilon:.3g})"
        return f"{self.epsilon:.6g}"

    def describe(self) -> str:
        """One line with every part of the threat model."""
        low, high = self.bounds
        return one_line(
            f"{self.norm}, epsilon {self.epsilon_text()}, pixels in [{low:g}, {high:g}], {self.knowledge}, {self.goal}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class AttackResult:
    """What one attack did to every example.

    Attributes:
        name: as a reader should see it, "PGD-40 cross-entropy"; unique within a report.
        config: the attack's settings, JSON values.
        adversarial: [n] bool; True where this attack, alone, ended with a misclassified image inside the threat
            model, or where the clean image was misclassified already; of AutoAttack's, which follow each other, also
            where an earlier one did.
        new_successes: examples that this attack broke and that neither the clean image nor an earlier row had.
        distances: [n] float32, size of the change in the threat model's norm where the attack broke the example, in the
            image's own units; NaN elsewhere.
        seconds: wall time.
        gradient_evaluations: gradients of the model taken, counted for each image; None if not counted.
        queries: forward passes of which no gradient was taken, counted for each image; None if not counted.
        precision: "float32", or "bfloat16 search, successes verified in float32".
    """

    name: str
    config: Mapping[str, Any]
    adversarial: np.ndarray
    new_successes: int
    distances: np.ndarray
    seconds: float
    gradient_evaluations: int | None = None
    precision: str = "float32"
    queries: int | None = None

    def __post_init__(self) -> None:
        freeze(self, {"adversarial": bool, "distances": np.float32})
        object.__setattr__(self, "config", plain(dict(self.config), "config"))
        if self.adversarial.ndim != 1 or self.adversarial.shape != self.distances.shape:
            raise ValueError(
                f"adversarial and distances of {self.name!r} must both have shape [n], "
                f"got {self.adversarial.shape} and {self.distances.shape}"
            )

    @property
    def accuracy(self) -> float:
        """Share of the examples that this attack, alone, left correctly classified; 0 to 1."""
        return float(np.mean(~self.adversarial))

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95% interval of `accuracy`."""
        return clopper_pearson(int(np.sum(~self.adversarial)), len(self.adversarial))

    @property
    def median_distance(self) -> float | None:
        """Median size of the change over the examples that the attack broke; None if it broke none."""
        found = self.distances[np.isfinite(self.distances)]
        return float(np.median(found)) if len(found) else None

    def to_json(self) -> dict[str, Any]:
        """JSON values; `adversarial` as 0 and 1, a missing distance as null, and the derived numbers beside them."""
        return {
            "name": self.name,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "new_successes": int(self.new_successes),
            "median_distance": self.median_distance,
            "seconds": float(self.seconds),
            "gradient_evaluations": None if self.gradient_evaluations is None else int(self.gradient_evaluations),
            "queries": None if self.queries is None else int(self.queries),
            "precision": self.precision,
            "config": self.config,
            "adversarial": self.adversarial.astype(int).tolist(),
            # The shortest decimals that give the same float32 back: 0.2, not 0.20000000298023224.
            "distances": [float(str(d)) if np.isfinite(d) else None for d in self.distances],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AttackResult:
        """The inverse of `to_json`; derived numbers are computed again. Schema version 1 had no queries."""
        names = {field.name for field in dataclasses.fields(cls)} - {"distances", "queries"}
        distances = np.array([math.nan if d is None else d for d in data["distances"]], np.float32)
        return cls(**{name: data[name] for name in names}, distances=distances, queries=data.get("queries"))


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """A few images to look at.

    Attributes:
        clean: [m, H, W, C] float32, in the threat model's bounds.
        adversarial: [m, H, W, C] float32, the same images after the attack.
        labels: [m] int, true classes.
        predictions: [m] int, the model's classes of `adversarial`.
    """

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray

    def __post_init__(self) -> None:
        freeze(self, {"clean": np.float32, "adversarial": np.float32, "labels": np.int64, "predictions": np.int64})
        if self.clean.ndim != 4 or self.clean.shape != self.adversarial.shape:
            raise ValueError(
                "clean and adversarial must have one shape [m, H, W, C], "
                f"got {self.clean.shape} and {self.adversarial.shape}"
            )
        if self.labels.shape != self.predictions.shape or self.labels.shape != self.clean.shape[:1]:
            raise ValueError(
                f"labels and predictions must have shape [{len(self.clean)}], one for each image, "
                f"got {self.labels.shape} and {self.predictions.shape}"
            )

    def to_json(self) -> dict[str, Any]:
        """JSON values; images as `{"shape", "float32_zlib_base64"}`."""
        return {
            "clean": pack(self.clean),
            "adversarial": pack(self.adversarial),
            "labels": self.labels.tolist(),
            "predictions": self.predictions.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Examples:
        """The inverse of `to_json`."""
        return cls(unpack(data["clean"]), unpack(data["adversarial"]), data["labels"], data["predictions"])


@dataclasses.dataclass(frozen=True)
class Check:
    """One check of the evaluation itself.

    Attributes:
        name: the claim, "epsilon 0 equals the clean accuracy".
        outcome: one of `OUTCOMES`. A warning does not touch the verdict; "not run" says that the check applies but
            could not be carried out; "not applicable" that it means nothing for this model, suite or data.
        evidence: the numbers behind it, in words.
        source: where the rule comes from.
        rule: when it passes, with its limits.
        value: the number that the rule compares, or None.
        found: examples that this check broke and that neither the suite nor an earlier check had.
        chart: the evidence as a figure, or None.
    """

    name: str
    outcome: str
    evidence: str
    source: str
    rule: str = ""
    value: float | None = None
    found: int = 0
    chart: Chart | None = None

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {OUTCOMES}, got {self.outcome!r}")

    def to_json(self) -> dict[str, Any]:
        """JSON values of the check."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "chart": None if self.chart is None else self.chart.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Check:
        """The inverse of `to_json`; reads also what schema version 1 wrote, which said passed: true, false or null."""
        fields = dict(data)
        if "passed" in fields:
            fields["outcome"] = {True: "passed", False: "failed", None: "not applicable"}[fields.pop("passed")]
        chart = fields.get("chart")
        return cls(**{**fields, "chart": None if chart is None else chart_from_json(chart)})


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the checks together say of the robust accuracy.

    Attributes:
        word: "trusted" (no check failed), "overestimated" (attacks of the checks broke so many more examples that the
            number does not stand) or "unverified" (a check failed or could not run, without such examples).
        reason: why, in one sentence that needs no special knowledge.
        claimed: the robust accuracy that was judged, a fraction: the caller's claim, or what the suite found.
        worst: share of examples that neither the suite nor any attack of a check broke.
    """

    word: str
    reason: str
    claimed: float
    worst: float

    def __post_init__(self) -> None:
        if self.word not in VERDICTS:
            raise ValueError(f"word must be one of {VERDICTS}, got {self.word!r}")


def check_schema(data: Any, schema: str, version: int) -> None:
    """Raises UserError unless `data` says that it is `schema`, in `version` or an earlier one, and is whole."""
    found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
    if found != schema:
        raise UserError(f"expected a JSON object with schema {schema!r}, got {found!r}; name a report.json")
    written = data.get("schema_version")
    if not (isinstance(written, int) and 1 <= written <= version):
        raise UserError(
            f"schema_version must lie in 1..{version}, got {written!r}; "
            "read the report with the version of tfadv that wrote it"
        )
    if not is_whole(data):
        raise UserError(
            "sha256 of the report is not that of its content: it was damaged or changed after it was written; take "
            "another copy, or remove the entry sha256 if you changed it yourself"
        )
