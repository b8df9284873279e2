"""The loss along the path of an attack: an attack that works climbs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.analysis.batches import BATCH_SIZE, check_models, checked, slices
from tfadv.attacks import compiled, search
from tfadv.attacks.engine import CompiledAttack
from tfadv.objectives import cross_entropy, margin
from tfadv.report.charts import Chart, Series
from tfadv.report.values import freeze
from tfadv.validation import UserError, check_labels

_QUANTILES = (0.1, 0.9)


@dataclasses.dataclass(frozen=True, eq=False)
class LossPath:
    """Losses of every example at every point that the attack looks at.

    Attributes:
        cross_entropy: float32 [N, steps + 1], nats; column 0 is the start, the last column the end.
        margin: float32 [N, steps + 1], largest wrong logit minus that of y: positive where misclassified.
    """

    cross_entropy: np.ndarray
    margin: np.ndarray

    def __post_init__(self) -> None:
        freeze(self, {"cross_entropy": np.float32, "margin": np.float32})

    @property
    def rising(self) -> float:
        """Share of the examples whose cross-entropy is higher at the end of the path than at its start."""
        return float((self.cross_entropy[:, -1] > self.cross_entropy[:, 0]).mean())


def loss_path(
    model: Any, x: Any, y: Any, config: Any, *, precision: str = "float32", batch_size: int = BATCH_SIZE
) -> LossPath:
    """Runs one attack move by move, and looks at the losses of every point on the way.

    The first run only (no restarts, no further targets), all moves of it, also of examples that are fooled on the way.
    A search that ends before its last move stays where it ended. An attack that tries points and rejects them, such as
    `Square`, is seen at what it tries.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x, y: inputs [N, ...] in the config's bounds, labels [N] or [N, K]; of a targeted attack, the classes to reach,
            which the losses are then about.
        config: an attack, such as `Pgd`; not a suite of them.
        precision: of the search, as in `tfadv.attacks.compiled`; the losses are those in float32.
        batch_size: examples at a time.

    Raises:
        UserError: unusable inputs or model, or no single attack.
    """
    if not isinstance(config, search.Attack):
        raise UserError(f"config must be one attack of tfadv.attacks, such as Pgd(...), got {type(config).__name__}")
    attack = compiled(model, config, precision=precision, batch_size=batch_size)
    if not isinstance(attack, CompiledAttack):
        raise UserError("precision must be that of one search, 'float32', 'bfloat16' or 'auto', got 'both'")
    _, x, classes = checked(model, x, config.bounds)
    y = check_labels(y, len(x), classes)
    paths = [
        _followed(attack, rows, x[rows], y[rows])
        for rows in slices(len(x), batch_size, f"path of {type(config).__name__}")
    ]
    return LossPath(*(np.concatenate(losses) for losses in zip(*paths, strict=True)))


def _followed(attack: CompiledAttack, rows: slice, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cross-entropy, margin), each [B, steps + 1], of one batch, the examples `rows` of the data set."""
    config = attack.config
    own = {}
    for name in ("epsilon", "step_size"):
        value: Any = getattr(config, name, None)
        own[name] = np.asarray(value, np.float32)[rows] if np.ndim(value) else value
    numbers = tf.range(rows.start, rows.stop)
    problem = search.problem_of(config, tf.constant(x), tf.constant(y), example=numbers, **own)
    state = attack.begin(problem, attack.draw(problem))
    losses = []
    for move in range(config.moves + 1):
        if move:
            state = attack.advance(problem, state, np.full(len(x), move, np.int32))
        logits = attack.judge(problem, state.x_adv)[2]
        losses.append([cross_entropy(y, logits).numpy(), margin(y, logits).numpy()])
    first, second = np.array(losses).transpose(1, 2, 0)
    return first, second


def loss_charts(paths: Mapping[str, LossPath]) -> tuple[Chart, Chart]:
    """Mean cross-entropy and mean margin along the path; the band holds the examples from the 10th to the 90th percent.

    Raises:
        UserError: no path.
    """
    check_models(paths)

    def drawn(title: str, y_label: str, losses: Mapping[str, np.ndarray]) -> Chart:
        series = {}
        for name, each in losses.items():
            # float64: the float32 mean of many examples would depend on their order.
            mean = each.mean(axis=0, dtype=np.float64)
            low, high = np.quantile(each, _QUANTILES, axis=0)
            series[name] = Series(tuple(range(len(mean))), tuple(mean), tuple(low), tuple(high))
        return Chart(f"{title} along the attack's path (band: middle 80% of the examples).", "step", y_label, series)

    return (
        drawn("Mean cross-entropy", "nats", {name: path.cross_entropy for name, path in paths.items()}),
        drawn(
            "Mean margin (positive: misclassified)",
            "largest wrong logit - true logit",
            {name: path.margin for name, path in paths.items()},
        ),
    )
