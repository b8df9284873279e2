"""An experiment is data; `run` trains it, logs it, survives a kill, and leaves a float32 classifier behind.

Every random number is a function of the experiment's seed and of the step: the order of the data, the augmentation and
the start of a training attack. So a run that was killed and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfadv.attacks
import tfadv.augment
import tfadv.data
import tfadv.models
from tfadv import devices, files
from tfadv.adversarial.madry import AdversarialTraining
from tfadv.losses import LabelSmoothing, add_weight_decay
from tfadv.validation import UserError
from tfadv.version import __version__

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}
# Salts keep the streams of one seed apart: the data order must not repeat the augmentation's numbers.
_ORDER, _AUGMENT = 0, 1


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides a training run; two equal experiments give the same classifier.

    Attributes:
        dataset: a name of `tfadv.data.DATASETS`.
        model: a name of `tfadv.models.MODELS`.
        loss: what is minimized; takes logits.
        augment: transformations of a batch, applied in this order.
        train_attack: None trains on the images, an attack's config on adversarial examples that it crafts (Madry).
        ramp_steps: epsilon of the training attack grows to its full value over this many steps.
        optimizer: a name of `OPTIMIZERS`; learning_rate: its constant rate.
        batch_size: images drawn for a step, before an augmentation adds points.
        steps: parameter updates. A finished run continues when asked for more.
        l1, l2: weight decay on every kernel, `tfadv.losses.add_weight_decay`.
        precision: the Keras dtype policy while training; the saved classifier computes in float32 all the same.
        seed: of the initial weights, the data order, the augmentation and the attack's starts.
        limit: trains on a seeded, stratified subset of this size.
    """

    dataset: str = "mnist"
    model: str = "madry_mnist"
    loss: keras.losses.Loss = dataclasses.field(default_factory=lambda: LabelSmoothing(mass=0.0))
    augment: tuple[tfadv.augment.Augmentation, ...] = ()
    train_attack: Any = None
    ramp_steps: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    batch_size: int = 50
    steps: int = 240_000
    l1: float = 0.0
    l2: float = 0.0
    precision: str = "float32"
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("dataset", tfadv.data.DATASETS),
            ("model", tfadv.models.MODELS),
            ("optimizer", OPTIMIZERS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} must be one of {sorted(allowed)}, got {getattr(self, name)!r}")
        for name in ("batch_size", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be > 0, got {self.learning_rate}")


def describe(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON values: the loss and each config by class name and constructor arguments."""

    def plain(value: Any) -> Any:
        if isinstance(value, keras.losses.Loss):
            return {"class": type(value).__name__, **value.get_config()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"class": type(value).__name__, **fields}
        return [plain(item) for item in value] if isinstance(value, tuple | list) else value

    return plain(experiment)


def batches(experiment: Experiment, x: tf.Tensor, y: tf.Tensor, start: int, stop: int) -> tf.data.Dataset:
    """The augmented batches of steps start..stop-1; step s is the same whatever step the pipeline began at.

    Each epoch is a fresh permutation (stateless, seeded by (seed, epoch)); what does not fill a batch waits for
    another epoch's order. Augmentation number k is seeded by (seed, k, epoch, step).

    Raises:
        UserError: fewer images than one batch.
    """
    size, count = experiment.batch_size, len(x)
    _check_batch_size(experiment, count)
    steps_per_epoch = count // size
    images, labels = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    root = tf.constant([experiment.seed, 0], tf.int32)

    def seeded(*path: Any) -> tf.Tensor:
        seed = root
        for branch in path:
            seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(branch, tf.int32))
        return seed

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, position = step // steps_per_epoch, step % steps_per_epoch
        rows = tf.random.experimental.index_shuffle(
            tf.cast(position * size + tf.range(size, dtype=tf.int64), tf.int32),
            seeded(_ORDER, epoch),
            max_index=count - 1,
        )
        features, targets = tf.gather(images, rows), tf.gather(labels, rows)
        for number, augmentation in enumerate(experiment.augment):
            seed = seeded(_AUGMENT, augmentation.seed, number, epoch, step)
            features, targets = tfadv.augment.apply(augmentation, features, targets, seed)
        return features, targets

    steps = tf.data.Dataset.range(start, stop)
    return steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(8)


def build(experiment: Experiment) -> keras.Model:
    """The compiled trainee: the classifier, wrapped where an attack crafts its training examples.

    The policy is set only while the layers are made, and put back.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(experiment.precision)
    try:
        classifier = tfadv.models.MODELS[experiment.model](seed=experiment.seed)
    finally:
        keras.config.set_dtype_policy(before)
    if experiment.l1 or experiment.l2:
        add_weight_decay(classifier, l1=experiment.l1, l2=experiment.l2)
    trainee = classifier
    if experiment.train_attack is not None:
        trainee = AdversarialTraining(
            classifier, experiment.train_attack, seed=experiment.seed, ramp_steps=experiment.ramp_steps
        )
    optimizer = OPTIMIZERS[experiment.optimizer](learning_rate=experiment.learning_rate)
    metric = "categorical_accuracy" if _dense_labels(experiment) else "sparse_categorical_accuracy"
    trainee.compile(optimizer, experiment.loss, metrics=[metric], jit_compile=devices.wants_xla("auto"))
    # compile() may have wrapped the optimizer in loss scaling, whose state belongs to the checkpoint as well.
    trainee.optimizer.build(trainee.trainable_variables)
    return trainee


def classifier_of(experiment: Experiment, trainee: keras.Model) -> keras.Model:
    """A float32 copy of the trained classifier, without the training attack around it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        copy = tfadv.models.MODELS[experiment.model](seed=experiment.seed)
    finally:
        keras.config.set_dtype_policy(before)
    trained = trainee.classifier if isinstance(trainee, AdversarialTraining) else trainee
    copy.set_weights(trained.get_weights())
    return copy


def run(
    experiment: Experiment,
    workdir: str | os.PathLike,
    *,
    data_dir: str | None = None,
    checkpoint_every: int = 1_000,
    keep_every: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains `experiment` in `workdir`, from its last checkpoint if there is one.

    Writes experiment.json (experiment, seed, versions, command), metrics.jsonl and tensorboard/ (one entry for each
    `checkpoint_every` steps), checkpoints/ (the last two), models/step-N.keras (each `keep_every` steps), model.keras
    (the float32 classifier) and metrics.json.

    Args:
        workdir: belongs to this experiment; may hold an unfinished run of it, or one of fewer steps.
        data_dir: where TFDS keeps its data sets; None is its default.
        checkpoint_every: steps between checkpoints, which are also the points where metrics are logged.
        keep_every: keeps a classifier at every multiple of this number, and makes a checkpoint there too.
        report: receives one line of progress for each checkpoint.

    Returns:
        The content of metrics.json: step, train_loss, test_accuracy in [0, 1], images_per_second.

    Raises:
        UserError: `workdir` holds another experiment or another process is at work in it, a checkpoint cannot be read,
            or the loss is no longer finite.
    """
    workdir = pathlib.Path(workdir)
    periods = {"checkpoint_every": checkpoint_every, **({} if keep_every is None else {"keep_every": keep_every})}
    for name, period in periods.items():
        if period < 1:
            raise UserError(f"{name} must be at least 1 step, got {period}")
    train = tfadv.data.arrays(experiment.dataset, "train", data_dir=data_dir, limit=experiment.limit)
    test = tfadv.data.arrays(experiment.dataset, "test", data_dir=data_dir)
    # Whatever is wrong with the experiment is found before anything is written.
    _check_batch_size(experiment, len(train[0]))
    trainee = build(experiment)
    with files.holding(workdir):
        _claim(experiment, workdir)
        return _run(experiment, workdir, trainee, train, test, periods, report)


def _run(
    experiment: Experiment,
    workdir: pathlib.Path,
    trainee: keras.Model,
    train: tfadv.data.Arrays,
    test: tfadv.data.Arrays,
    periods: dict[str, int],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """`run` once everything is checked and the folder is ours."""
    checkpoint = tf.train.Checkpoint(model=trainee, optimizer=trainee.optimizer)
    manager = tf.train.CheckpointManager(checkpoint, workdir / "checkpoints", max_to_keep=2)
    step = _restore(checkpoint, manager)
    log = _Log(workdir / "metrics.jsonl", step)
    if step:
        report(f"resumed at step {step:,} of {experiment.steps:,}")

    writer = tf.summary.create_file_writer(str(workdir / "tensorboard"))
    began, first = time.monotonic(), step
    # One copy in TensorFlow, shared by the pipelines of every span.
    images, labels = tf.constant(train[0]), tf.constant(train[1], tf.int32)
    while step < experiment.steps:
        span = min(*(period - step % period for period in periods.values()), experiment.steps - step)
        tick = time.monotonic()
        history = trainee.fit(batches(experiment, images, labels, step, step + span), shuffle=False, verbose=0).history
        values = {name: float(value[-1]) for name, value in history.items()}
        step += span
        if not math.isfinite(values["loss"]):
            kept = f"; the checkpoint of step {step - span:,} is kept in {workdir}" if step > span else ""
            raise UserError(
                f"the loss is {values['loss']} at step {step:,}: lower learning_rate={experiment.learning_rate} or use "
                f"precision='float32'{kept}"
            )
        rate = span * experiment.batch_size / (time.monotonic() - tick)
        row = {"step": step, **{f"train_{name}": value for name, value in values.items()}, "images_per_second": rate}
        if step % periods.get("keep_every", step + 1) == 0:
            milestone = classifier_of(experiment, trainee)
            row["test_accuracy"] = accuracy(milestone, *test)
            save(milestone, workdir / "models" / f"step-{step:07d}.keras")
        log.append(row)
        with writer.as_default(step=step):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        writer.flush()
        # Last, because a run resumes after it: a kill before this line repeats the span, and its row is dropped.
        manager.save(checkpoint_number=step)
        left = (experiment.steps - step) * (time.monotonic() - began) / (step - first)
        pace = f"{rate:,.0f} images/s  {left / 60:.1f} min left"
        report(f"step {step:,}/{experiment.steps:,}  loss {values['loss']:.4f}  {pace}")

    classifier = classifier_of(experiment, trainee)
    save(classifier, workdir / "model.keras")
    rows = log.rows
    metrics = {
        "step": step,
        "train_loss": rows[-1]["train_loss"],
        "test_accuracy": accuracy(classifier, *test),
        "images_per_second": float(np.median([row["images_per_second"] for row in rows])),
    }
    files.write_json(workdir / "metrics.json", metrics)
    return metrics


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray, batch_size: int = 500) -> float:
    """Share of `x` that `model` classifies as `y`, in [0, 1]."""
    logits = model.predict(x, batch_size=batch_size, verbose=0)
    return float((logits.argmax(axis=1) == y).mean())


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Saves `model` as a `.keras` file, atomically."""
    with files.replacing(path) as temporary:
        model.save(temporary)


def environment() -> dict[str, str]:
    """Versions and hardware that a number was measured with."""
    return {
        "tfadv": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor_cores": str(os.cpu_count()),
    }


def _dense_labels(experiment: Experiment) -> bool:
    return any(isinstance(augmentation, tfadv.augment.Mixup) for augmentation in experiment.augment)


def _check_batch_size(experiment: Experiment, count: int) -> None:
    if count < experiment.batch_size:
        raise UserError(f"batch_size must be at most the {count} training images, got {experiment.batch_size}")


def _claim(experiment: Experiment, workdir: pathlib.Path) -> None:
    """Writes experiment.json, or refuses a folder that belongs to another experiment."""
    path, mine = workdir / "experiment.json", json.loads(json.dumps(describe(experiment)))
    if path.exists():
        # A folder written before a field existed was trained with the field's default.
        defaults = json.loads(json.dumps(describe(Experiment())))
        try:
            theirs = {**defaults, **json.loads(path.read_text(encoding="utf-8"))["experiment"]}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(f"{path} is not an experiment's description ({error}); name another workdir") from error
        differing = sorted(key for key in mine if key != "steps" and mine[key] != theirs[key])
        if differing:
            changes = ", ".join(f"{key}: {theirs[key]!r} there, {mine[key]!r} now" for key in differing)
            raise UserError(f"workdir {workdir} holds another experiment ({changes}); name another workdir")
        if theirs["steps"] >= experiment.steps:
            return
    files.write_json(
        path,
        {"experiment": mine, "seed": experiment.seed, "versions": environment(), "command": " ".join(sys.argv)},
    )


def _restore(checkpoint: tf.train.Checkpoint, manager: tf.train.CheckpointManager) -> int:
    """Loads the newest checkpoint that is there; returns its step, 0 without one."""
    there = [path for path in manager.checkpoints if os.path.exists(f"{path}.index")]
    if not there:
        return 0
    try:
        checkpoint.restore(there[-1]).assert_existing_objects_matched()
    except Exception as error:  # TensorFlow raises another type for each kind of damage, IndexError among them.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"checkpoint {there[-1]} cannot be read ({reason}); remove {there[-1]}.* to go back to the one before, or "
            "name another workdir"
        ) from error
    # Not the optimizer's count, which leaves out the updates that loss scaling skipped.
    return int(there[-1].rpartition("-")[2])


class _Log:
    """metrics.jsonl, one row for each checkpoint; rows newer than the one that a run resumes from are dropped."""

    def __init__(self, path: pathlib.Path, step: int) -> None:
        self.path, self.rows = path, []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    break  # A kill in the middle of a write: the checkpoint before it is what we resume from.
                if row["step"] <= step:
                    self.rows.append(row)
        files.write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
