"""What all training methods share: one step that crafts and updates, and the two questions that a method answers.

A method is a `keras.Model` around a classifier. It says how the training examples are crafted (`craft`) and what is
minimized on them (`objective`); `train_step` does the rest and needs neither `fit` nor its callbacks: a loop over
`strategy.run(model.train_step, args=(batch,))` trains the same weights. The step's number is `optimizer.iterations`,
and every random number follows from (seed, step, position in the batch of all replicas), so a resumed run repeats
itself, and the number of replicas changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfadv import attacks
from tfadv.adversarial.crafting import replicas
from tfadv.attacks.search import Predictor
from tfadv.validation import UserError

CRAFTING_MODES = ("inference", "training")

Evaluated = tuple[tf.Tensor, tf.Tensor]
Differentiated = tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]


class Criterion(NamedTuple):
    """What an objective is made of. Sample weights are in both, and both are shares: R replicas sum up to the whole.

    Attributes:
        compiled: (labels, logits [B, K]) -> scalar, the loss that `compile` was given, plus the penalties of the
            classifier's layers.
        mean: values [B] -> scalar, the sum of the weighted values divided by B, as Keras reduces a loss.
    """

    compiled: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    mean: Callable[[tf.Tensor], tf.Tensor]


class Updated(NamedTuple):
    """What one update saw: the loss (mean over the replica's batch), the crafted examples, and logits [B, K]."""

    loss: tf.Tensor
    x_adv: tf.Tensor
    logits: tf.Tensor


class AdversarialModel(keras.Model):
    """Base of all methods; a subclass has a `classifier` and says `craft` and `objective`.

    Calling, evaluating and predicting are the classifier's own, on clean images. The metrics of a training step
    compare the labels with the logits that `objective` returns: those of the crafted examples.
    """

    classifier: keras.Model

    def craft(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """The examples of training step `step`: x float32 [B, ...], y int [B] or [B, K] -> like x, without gradient."""
        raise NotImplementedError

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        """(loss to minimize, logits [B, K] for the metrics) of a batch and of what was crafted from it.

        It calls `self.classifier(..., training=True)`, where each call has its own batch statistics.
        """
        raise NotImplementedError

    def differentiate(
        self, evaluate: Callable[[], Evaluated], scale: Callable[[tf.Tensor], tf.Tensor], step: tf.Tensor
    ) -> Differentiated:
        """(loss, logits, gradients of scale(loss) with respect to the classifier's trainable weights)."""
        with tf.GradientTape() as tape:
            loss, logits = evaluate()
            scaled = scale(loss)
        return loss, logits, tape.gradient(scaled, self.classifier.trainable_weights)

    def update(self, x: tf.Tensor, y: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Updated:
        """Crafts and updates the weights once; a whole training step but for the metrics of `fit`."""
        step = tf.cast(self.optimizer.iterations, tf.int32)
        x_adv = self.craft(x, y, step)
        criterion = self._criterion(x, sample_weight)
        loss, logits, gradients = self.differentiate(
            lambda: self.objective(x, y, x_adv, step, criterion), self.optimizer.scale_loss, step
        )
        if replicas() > 1:
            # Loss scaling asks the first replica alone whether gradients overflowed; a zero that is NaN tells of all.
            nothing = tf.add_n(
                [tf.reduce_sum(0.0 * tf.cast(each, tf.float32)) for each in gradients if each is not None]
            )
            nothing = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, nothing)
            gradients = [None if each is None else each + tf.cast(nothing, each.dtype) for each in gradients]
        # Nothing here calls the wrapper itself, so Keras would take it for unbuilt and warn when it is saved.
        self.built = True
        self.optimizer.apply_gradients(zip(gradients, self.classifier.trainable_weights, strict=True))
        return Updated(loss * replicas(), x_adv, logits)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        # Keras hands over NumPy arrays where it runs eagerly.
        x, y, sample_weight = (
            None if part is None else tf.convert_to_tensor(part) for part in keras.utils.unpack_x_y_sample_weight(data)
        )
        updated = self.update(x, y, sample_weight)
        self._loss_tracker.update_state(updated.loss, sample_weight=tf.shape(x)[0])
        return self.compute_metrics(updated.x_adv, y, updated.logits, sample_weight=sample_weight)

    def _criterion(self, x: tf.Tensor, sample_weight: tf.Tensor | None) -> Criterion:
        def compiled(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            sparse = self.loss == "sparse_categorical_crossentropy" or isinstance(
                self.loss, keras.losses.SparseCategoricalCrossentropy
            )
            if sparse and labels.shape.rank == 2 and labels.shape[1] == logits.shape[1]:
                raise UserError(
                    "loss must take distributions, because this method trains on soft labels, got "
                    "sparse_categorical_crossentropy; compile with tfadv.losses.LabelSmoothing(mass=0.0), which is "
                    "cross-entropy for class numbers and distributions"
                )
            return self.compute_loss(x=x, y=labels, y_pred=logits, sample_weight=sample_weight)

        def mean(values: tf.Tensor) -> tf.Tensor:
            if sample_weight is not None:
                values *= tf.reshape(tf.cast(sample_weight, values.dtype), [-1])
            return tf.reduce_mean(values) / replicas()

        return Criterion(compiled, mean)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self.classifier(x, training=training)

    def build(self, input_shape: Any) -> None:
        if not self.classifier.built:
            self.classifier.build(input_shape)
        self.built = True

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AdversarialModel:
        config = dict(config)
        for name in {"classifier", "inner"} & set(config):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
        if "attack" in config:
            config["attack"] = attacks.from_dict(config["attack"])
        return cls(**config)


class AdversarialMethod(AdversarialModel):
    """Base of the methods that craft by an attack; a subclass says `perturbed` and `objective`.

    Args:
        classifier: images -> logits; it holds the trained weights afterwards.
        attack: a first-order attack (`Fgm`, `Mim`, `Pgd`). Its norm, epsilon, step_size, steps and bounds are used;
            its `keep` and `restarts` are not, because training wants the loss at the end, not success.
        seed: of all random numbers of the method.
        ramp_steps: over the first this many steps of the attack, epsilon and step_size grow linearly to their full
            values. Where epsilon is large for the data, full strength from the first step leaves the net at the uniform
            prediction.
        start_step: before this step nothing is crafted, x_adv = x; the ramp begins here. A classifier that has learnt
            something first makes better examples (Galloway et al. 2018, section 6: 50 of 250 epochs).
        crafting_mode: how the classifier runs while it is attacked. "inference" uses moving averages in batch
            normalization and no dropout (TRADES, MART, feature scatter); "training" uses the statistics of the attacked
            batch, as the programs of Madry et al., AVmixup and fast adversarial training do. There all steps of the
            attack see one dropout mask; the moving averages and the random state of dropout stay as they are, while
            those programs let each attack step update the averages.

    Raises:
        UserError: an attack that is not first-order or is targeted, a negative number of steps, an unknown mode.
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: Any,
        seed: int = 0,
        ramp_steps: int = 0,
        start_step: int = 0,
        crafting_mode: str = "inference",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, meaning in (
            ("ramp_steps", ramp_steps, "0 trains at full strength from the first step"),
            ("start_step", start_step, "0 attacks from the first step"),
        ):
            if value < 0:
                raise UserError(f"{name} must be >= 0, got {value}; {meaning}")
        if crafting_mode not in CRAFTING_MODES:
            raise UserError(f"crafting_mode must be one of {list(CRAFTING_MODES)}, got {crafting_mode!r}")
        self.classifier = classifier
        self.attack = attack
        self.seed = seed
        self.ramp_steps = ramp_steps
        self.start_step = start_step
        self.crafting_mode = crafting_mode
        self.config = training_form(attack)

    def perturbed(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        """The examples of one step, like x, at `share` of the full epsilon and step_size, in (0, 1]."""
        raise NotImplementedError

    def strength(self, share: tf.Tensor) -> dict[str, tf.Tensor]:
        """epsilon and step_size at this share."""
        return {
            "epsilon": share * self.config.epsilon,
            "step_size": share * getattr(self.config, "step_size", self.config.epsilon),
        }

    def attacked(self) -> Predictor:
        """The classifier as the attack sees it; whatever its layers would update stays as it is."""
        training = self.crafting_mode == "training"

        def model(images: tf.Tensor) -> tf.Tensor:
            with keras.StatelessScope(initialize_variables=False):
                return self.classifier(images, training=training)

        return model

    def craft(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.int32)
        # The first step attacks a little already: (0 + 1) / ramp_steps of the full strength.
        share = tf.minimum(tf.cast(step - self.start_step + 1, tf.float32) / max(self.ramp_steps, 1), 1.0)
        if not self.start_step:
            return tf.stop_gradient(self.perturbed(x, y, step, share))
        return tf.stop_gradient(tf.cond(step < self.start_step, lambda: x, lambda: self.perturbed(x, y, step, share)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "attack": attacks.to_dict(self.attack),
            "seed": self.seed,
            "ramp_steps": self.ramp_steps,
            "start_step": self.start_step,
            "crafting_mode": self.crafting_mode,
        }


class AdversarialWrapper(AdversarialModel):
    """Base of what changes another method: the examples are the inner method's, as are all settings not named here.

    Args:
        inner: the method; `compile` and `fit` are called on the wrapper.

    Raises:
        UserError: `inner` is no method.
    """

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(inner, AdversarialModel):
            raise UserError(
                f"inner must be a training method such as AdversarialTraining(classifier, attack), got "
                f"{type(inner).__name__}"
            )
        self.inner = inner

    @property
    def classifier(self) -> keras.Model:  # type: ignore[override]
        return self.inner.classifier

    @property
    def method(self) -> AdversarialMethod:
        """The innermost method, which holds attack, seed and schedule."""
        return self.inner.method if isinstance(self.inner, AdversarialWrapper) else self.inner

    def craft(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return self.inner.craft(x, y, step)

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        return self.inner.objective(x, y, x_adv, step, criterion)

    def differentiate(
        self, evaluate: Callable[[], Evaluated], scale: Callable[[tf.Tensor], tf.Tensor], step: tf.Tensor
    ) -> Differentiated:
        return self.inner.differentiate(evaluate, scale, step)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}


def training_form(attack: Any) -> Any:
    """The attack as training uses it: one start and its last iterate, whether it fools or not.

    Raises:
        UserError: not a first-order attack, one with an epsilon or a step for each example, or a targeted one.
    """
    if getattr(attack, "targeted", False):
        raise UserError("attack must have targeted=False: towards the label itself an example only becomes easier")
    if isinstance(attack, attacks.Fgm):
        # The rest is checked on the plain step; what is not one step of PGD keeps its own form.
        plain = attacks.training_form(dataclasses.replace(attack, label="true", scale=None))
        return plain if attack.label == "true" and attack.scale is None else attack
    return attacks.training_form(attack)
