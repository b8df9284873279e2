"""`run` trains an experiment, logs it, survives a kill, and leaves a float32 classifier behind.

Every random number is a function of the experiment's seed and of the step: the order of the data, the augmentation and
the start of a training attack. So a run that was killed and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfadv.data
from tfadv import attacks, files
from tfadv.devices import is_chief
from tfadv.training import experiment as experiments
from tfadv.training import pipeline, record
from tfadv.training.experiment import Experiment
from tfadv.training.loop import Loop
from tfadv.training.strategies import LOST, WorkerLost
from tfadv.validation import UserError

# What the log calls the accuracy under the validation's attack.
ROBUST = "validation_robust_accuracy"


def run(
    experiment: Experiment,
    workdir: str | os.PathLike,
    *,
    data_dir: str | None = None,
    checkpoint_every: int = 1_000,
    keep_every: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains `experiment` in `workdir`, from its last checkpoint if there is one.

    Writes experiment.json (experiment, seed, versions, command), metrics.jsonl and tensorboard/ (one entry for each
    `checkpoint_every` steps), checkpoints/ (the last two), models/step-N.keras (each `keep_every` steps), best.keras
    (where the experiment has a validation), model.keras (the float32 classifier) and metrics.json.

    Args:
        workdir: belongs to this experiment; may hold an unfinished run of it, or one of fewer steps. Processes of one
            cluster share it; the chief writes.
        data_dir: where TFDS keeps its data sets; None is its default.
        checkpoint_every: steps between checkpoints, which are also the points where metrics are logged.
        keep_every: keeps a classifier at every multiple of this number, and makes a checkpoint there too.
        strategy: of `tfadv.training.make_strategy`; None trains on one device. The classifier is the same up to
            rounding, whatever the strategy: a step's batch is the experiment's, shared out among the replicas. What
            compares the examples of a batch sees a replica's part: batch normalization, and feature scattering.
        report: receives one line of progress for each checkpoint.

    Returns:
        The content of metrics.json: step, train_loss, test_accuracy in [0, 1], images_per_second.

    Raises:
        UserError: `workdir` holds another experiment or another process is at work in it, a checkpoint cannot be read,
            the loss is no longer finite, or batches do not divide by the replicas.
        WorkerLost: another process of the cluster ended.
    """
    workdir = pathlib.Path(workdir)
    strategy = tf.distribute.get_strategy() if strategy is None else strategy
    periods = {"checkpoint_every": checkpoint_every}
    if keep_every is not None:
        periods["keep_every"] = keep_every
    if experiment.validation is not None:
        periods["validation"] = experiment.validation.every
    for name, period in periods.items():
        if period < 1:
            raise UserError(f"{name} must be at least 1 step, got {period}")
    split = "train" if experiment.validation is None else "train_fit"
    train = tfadv.data.arrays(experiment.dataset, split, data_dir=data_dir, limit=experiment.limit)
    held_out = None
    if experiment.validation is not None:
        limit = experiment.validation.limit
        held_out = tfadv.data.arrays(experiment.dataset, "validation", data_dir=data_dir, limit=limit)
    test = tfadv.data.arrays(experiment.dataset, "test", data_dir=data_dir)
    # Whatever is wrong with the experiment is found before anything is written.
    pipeline.check_batch_size(experiment, len(train[0]))
    pipeline.shared(pipeline.batches(experiment, *train, 0, 1), strategy)
    with strategy.scope():
        trainee = experiments.build(experiment)
    with files.holding(workdir) if is_chief(strategy) else contextlib.nullcontext():
        if is_chief(strategy):
            record.claim(experiment, workdir)
        return _Run(experiment, workdir, trainee, strategy, periods, report).finish(train, held_out, test)


class _Run:
    """`run` once everything is checked and the folder is ours."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: pathlib.Path,
        trainee: Any,
        strategy: tf.distribute.Strategy,
        periods: dict[str, int],
        report: Callable[[str], None],
    ) -> None:
        self.experiment, self.workdir, self.trainee, self.strategy = experiment, workdir, trainee, strategy
        self.chief = is_chief(strategy)
        self.periods, self.report = periods, report if self.chief else lambda line: None
        self.checkpoint = tf.train.Checkpoint(
            model=trainee.classifier, optimizer=trainee.optimizer, **_random_states(trainee.classifier)
        )
        self.robust: Any = None

    def finish(
        self, train: tfadv.data.Arrays, held_out: tfadv.data.Arrays | None, test: tfadv.data.Arrays
    ) -> dict[str, Any]:
        """Trains to the end and returns the metrics."""
        experiment = self.experiment
        step = record.restore(self.checkpoint, self.workdir / "checkpoints")
        if step:
            self.report(f"resumed at step {step:,} of {experiment.steps:,}")
        with self._outputs() as folder:
            manager = tf.train.CheckpointManager(self.checkpoint, folder / "checkpoints", max_to_keep=2)
            log = record.Log(folder / "metrics.jsonl", step)
            writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
            loop, began, first = Loop(self.trainee, self.strategy), time.monotonic(), step
            # One copy in TensorFlow, shared by the pipelines of every span.
            images, labels = tf.constant(train[0]), tf.constant(train[1], tf.int32)
            while step < experiment.steps:
                span = min(*(period - step % period for period in self.periods.values()), experiment.steps - step)
                tick = time.monotonic()
                dataset = pipeline.batches(experiment, images, labels, step, step + span)
                try:
                    with self._noticing_losses(step):
                        values = loop.run(iter(pipeline.shared(dataset, self.strategy)), step, span)
                except WorkerLost:
                    raise
                except UserError as error:
                    kept = f"; the checkpoint of step {step:,} is kept in {self.workdir}" if step else ""
                    raise UserError(
                        f"{error}: lower learning_rate={experiment.learning_rate} or use precision='float32'{kept}"
                    ) from error
                step += span
                rate = span * experiment.batch_size / (time.monotonic() - tick)
                row = {"step": step, **{f"train_{name}": value for name, value in values.items()}}
                row |= {"images_per_second": rate}
                if self.chief:
                    row |= self._looks(step, log, held_out, test)
                    log.append(row)
                    with writer.as_default(step=step):
                        for name, value in row.items():
                            tf.summary.scalar(name, value)
                    writer.flush()
                # Last, because a run resumes after it: a kill before this line repeats the span, and its row is
                # dropped. Every process of a cluster takes part, because variables may have to be gathered.
                with self._noticing_losses(step):
                    _save(manager, step)
                left = (experiment.steps - step) * (time.monotonic() - began) / (step - first)
                pace = f"{rate:,.0f} images/s  {left / 60:.1f} min left"
                found = f"  robust {row[ROBUST]:.1%} of held-out" if ROBUST in row else ""
                self.report(f"step {step:,}/{experiment.steps:,}  loss {values['loss']:.4f}{found}  {pace}")
            return self._metrics(step, log, test)

    @contextlib.contextmanager
    def _noticing_losses(self, step: int) -> Iterator[None]:
        """Says clearly that another process of the cluster ended while the block waited for it."""
        try:
            yield
        except LOST as error:
            if not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy):
                raise
            raise WorkerLost(
                f"another process of the cluster was lost after step {step:,}; start every process again with its "
                "command, and the run goes on from its last checkpoint"
            ) from error

    @contextlib.contextmanager
    def _outputs(self) -> Iterator[pathlib.Path]:
        """Where this process writes: the chief into workdir, any other into a folder that is thrown away."""
        if self.chief:
            yield self.workdir
            return
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder)

    def _looks(
        self, step: int, log: record.Log, held_out: tfadv.data.Arrays | None, test: tfadv.data.Arrays
    ) -> dict[str, float]:
        """The accuracies that are due at this step; keeps the classifiers that are to be kept."""
        due = {name for name, period in self.periods.items() if step % period == 0} - {"checkpoint_every"}
        if not due:
            return {}
        classifier, found = experiments.classifier_of(self.experiment, self.trainee), {}
        if "keep_every" in due:
            found["test_accuracy"] = accuracy(classifier, *test)
            save(classifier, self.workdir / "models" / f"step-{step:07d}.keras")
        if held_out is not None and "validation" in due:
            found["validation_accuracy"] = accuracy(classifier, *held_out)
            found[ROBUST] = self._robust_accuracy(classifier, held_out)
            if found[ROBUST] > log.best(ROBUST):
                save(classifier, self.workdir / "best.keras")
        return found

    def _robust_accuracy(self, classifier: keras.Model, held_out: tfadv.data.Arrays) -> float:
        """Share of the held-out examples that the validation's attack does not fool, in [0, 1]."""
        assert self.experiment.validation is not None
        if self.robust is None:
            # The attack is traced once, for a copy that gets the weights of each look.
            self.robust = (classifier, attacks.compiled(classifier, self.experiment.validation.attack))
        traced, attack = self.robust
        traced.set_weights(classifier.get_weights())
        return float(1 - attack.run(*held_out).adversarial.mean())

    def _metrics(self, step: int, log: record.Log, test: tfadv.data.Arrays) -> dict[str, Any]:
        classifier = experiments.classifier_of(self.experiment, self.trainee)
        metrics: dict[str, Any] = {"step": step, "test_accuracy": accuracy(classifier, *test)}
        if not self.chief:
            return metrics
        save(classifier, self.workdir / "model.keras")
        metrics["train_loss"] = log.rows[-1]["train_loss"]
        metrics["images_per_second"] = float(np.median([row["images_per_second"] for row in log.rows]))
        if (best := log.best(ROBUST)) >= 0:  # there is none in a run that ended before its first look
            metrics[f"best_{ROBUST}"] = best
        files.write_json(self.workdir / "metrics.json", metrics)
        return metrics


def _save(manager: tf.train.CheckpointManager, step: int) -> None:
    """Writes the checkpoint of `step`; one that cannot be written leaves nothing behind but those before it."""
    try:
        manager.save(checkpoint_number=step)
    except LOST:
        raise
    except (tf.errors.OpError, OSError) as error:
        folder = pathlib.Path(manager.directory)
        for half in folder.glob(f"ckpt-{step}*"):
            shutil.rmtree(half, ignore_errors=True) if half.is_dir() else half.unlink(missing_ok=True)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the checkpoint of step {step:,} cannot be written to {folder} ({reason}); free space there, and the run "
            "goes on from the checkpoint before it"
        ) from error


def _random_states(classifier: keras.Model) -> dict[str, Any]:
    """What dropout draws its next masks from; Keras counts it neither to the weights nor to a checkpoint of a model."""
    weights = {id(weight) for weight in classifier.weights}
    states = [variable for variable in classifier.variables if id(variable) not in weights]
    return {"random": states} if states else {}


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray, batch_size: int = 500) -> float:
    """Share of `x` that `model` classifies as `y`, in [0, 1]."""
    logits = model.predict(x, batch_size=batch_size, verbose=0)
    return float((logits.argmax(axis=1) == y).mean())


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Saves `model` as a `.keras` file, atomically."""
    with files.replacing(path) as temporary:
        model.save(temporary)
