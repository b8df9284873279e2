"""An experiment is data: everything that decides which classifier a training run ends with."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

import tfadv.attacks
import tfadv.augment
import tfadv.data
import tfadv.models
from tfadv.adversarial import METHODS, WRAPPERS, AdversarialModel, NaturalTraining
from tfadv.losses import LabelSmoothing, add_weight_decay
from tfadv.training.fused_adam import FusedAdam
from tfadv.validation import UserError

# What a training step computes in: names of Keras' dtype policies.
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Name -> optimizer, a function of the learning rate and further settings.
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": FusedAdam,
    "sgd": keras.optimizers.SGD,
}


@dataclasses.dataclass(frozen=True)
class Validation:
    """Accuracy on held-out training examples while training: clean, and under an attack.

    Attributes:
        attack: config of `tfadv.attacks`.
        every: steps between two looks.
        limit: uses a seeded, stratified subset of the held-out examples of this size; None uses them all.
    """

    attack: Any
    every: int = 1_000
    limit: int | None = 500

    def __post_init__(self) -> None:
        if not isinstance(self.attack, tfadv.attacks.Attack):
            raise UserError(f"attack must be a config of tfadv.attacks, such as Pgd(0.3), got {self.attack!r}")
        if self.every < 1:
            raise UserError(f"every must be at least 1 step, got {self.every}")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides a training run; two equal experiments give the same classifier.

    Attributes:
        dataset: a name of `tfadv.data.DATASETS`; the model gets its image shape and number of classes.
        model: a name of `tfadv.models.MODELS`.
        loss: what is minimized; takes logits.
        augment: transformations of a batch, applied in this order.
        train_attack: None trains on the images, an attack's config on adversarial examples that it crafts (Madry).
        ramp_steps: epsilon of the training attack grows to its full value over this many steps.
        method: any other training method, from the inside out: a name of `tfadv.adversarial.METHODS` with its settings,
            then names of `WRAPPERS` with theirs, as (("trades", {"attack": Pgd(0.3), "beta": 1.0}), ("awp", {})). Every
            method is seeded by the experiment.
        optimizer: a name of `OPTIMIZERS`; momentum, nesterov: of "sgd".
        learning_rate: until the first decay.
        decay: (step, factor) pairs: from this step on the rate is factor * learning_rate.
        average: None, or the momentum of an exponential moving average of the weights, such as 0.999; the averages are
            what is validated and saved.
        batch_size: images drawn for a step over all replicas, before an augmentation adds points.
        steps: parameter updates. A finished run continues when asked for more.
        l1, l2: weight decay on every kernel, `tfadv.losses.add_weight_decay`.
        validation: None trains on the whole training split; otherwise a part of it is held out, and the classifier of
            the highest accuracy under attack there is kept beside the last.
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
    method: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    optimizer: str = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    learning_rate: float = 1e-4
    decay: tuple[tuple[int, float], ...] = ()
    average: float | None = None
    batch_size: int = 50
    steps: int = 240_000
    l1: float = 0.0
    l2: float = 0.0
    validation: Validation | None = None
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
        if not 0 <= self.seed < 2**31:
            raise UserError(f"seed must be a whole number in [0, 2^31), got {self.seed!r}")
        if self.average is not None and not 0 < self.average < 1:
            raise UserError(f"average must be a momentum in (0, 1), such as 0.999, or None, got {self.average!r}")
        if (self.momentum or self.nesterov) and self.optimizer != "sgd":
            raise UserError(f"momentum and nesterov belong to optimizer='sgd', got {self.optimizer!r}; leave them out")
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must lie in [0, 1), got {self.momentum!r}")
        if self.validation is not None and not isinstance(self.validation, Validation):
            raise UserError(f"validation must be a Validation, such as Validation(Pgd(0.3)), got {self.validation!r}")
        self._check_decay()
        self._check_method()

    def _check_decay(self) -> None:
        try:
            steps = [step for step, _ in self.decay]
            fits = steps == sorted(set(steps)) and all(step >= 1 and factor > 0 for step, factor in self.decay)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise UserError(
                "decay must be (step, factor) pairs of growing steps >= 1 and factors > 0, such as ((50_000, 0.1),), "
                f"got {self.decay!r}"
            )

    def _check_method(self) -> None:
        try:
            names = [name for name, settings in self.method if isinstance(settings, Mapping)]
        except (TypeError, ValueError):
            names = []
        if len(names) < len(self.method):
            raise UserError(
                'method must be (name, settings) pairs, such as (("trades", {"attack": Pgd(0.3), "beta": 1.0}),), got '
                f"{self.method!r}"
            )
        if self.method and self.train_attack is not None:
            raise UserError('train_attack must be None where method is given; write method=(("madry", {...}),)')
        if self.ramp_steps and self.train_attack is None:
            raise UserError("ramp_steps belongs to train_attack; give it in the settings of the method")
        for place, name in enumerate(names):
            allowed: Mapping[str, Any] = WRAPPERS if place else METHODS
            if name not in allowed:
                raise UserError(f"method {place} must be one of {sorted(allowed)}, got {name!r}")


def describe(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON values: the loss and each config by class name and constructor arguments."""

    def plain(value: Any) -> Any:
        if isinstance(value, keras.losses.Loss):
            return {"class": type(value).__name__, **value.get_config()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"class": type(value).__name__, **fields}
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple | list) else value

    return plain(experiment)


def build(experiment: Experiment) -> AdversarialModel:
    """The compiled trainee: the classifier inside its training method.

    Raises:
        UserError: settings that the model or the method refuses.
    """
    classifier = _classifier(experiment, experiment.precision)
    if experiment.l1 or experiment.l2:
        add_weight_decay(classifier, l1=experiment.l1, l2=experiment.l2)
    with _policy(experiment.precision):
        # It is the method's own policy by which Keras scales the loss for float16.
        trainee = _method(experiment, classifier)
    rate: Any = experiment.learning_rate
    if experiment.decay:
        boundaries, factors = zip(*experiment.decay, strict=True)
        values = [rate, *(factor * rate for factor in factors)]
        # Keras holds a value up to and including its boundary; here it ends before.
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([step - 1 for step in boundaries], values)
    options: dict[str, Any] = {"learning_rate": rate}
    if experiment.optimizer == "sgd":
        options |= {"momentum": float(experiment.momentum), "nesterov": experiment.nesterov}
    if experiment.average is not None:
        options |= {"use_ema": True, "ema_momentum": experiment.average}
    trainee.compile(OPTIMIZERS[experiment.optimizer](**options), experiment.loss)
    # compile() may have wrapped the optimizer in loss scaling, whose state belongs to the checkpoint as well.
    trainee.optimizer.build(trainee.trainable_variables)
    return trainee


def classifier_of(experiment: Experiment, trainee: AdversarialModel) -> keras.Model:
    """A float32 copy of the trained classifier, of its averaged weights where they are kept."""
    copy = _classifier(experiment, "float32")
    copy.set_weights(trainee.classifier.get_weights())
    if experiment.average is not None:
        # Inside loss scaling lies the optimizer that keeps the averages.
        optimizer: Any = getattr(trainee.optimizer, "inner_optimizer", trainee.optimizer)
        for weight, average in zip(copy.trainable_weights, optimizer._model_variables_moving_average, strict=True):
            weight.assign(average)
    return copy


def _classifier(experiment: Experiment, precision: str) -> keras.Model:
    spec = tfadv.data.find(experiment.dataset)
    with _policy(precision):
        return tfadv.models.MODELS[experiment.model](shape=spec.shape, classes=spec.classes, seed=experiment.seed)


def _method(experiment: Experiment, classifier: keras.Model) -> AdversarialModel:
    method = experiment.method
    if experiment.train_attack is not None:
        method = (("madry", {"attack": experiment.train_attack, "ramp_steps": experiment.ramp_steps}),)
    if not method:
        return NaturalTraining(classifier)
    (name, settings), *wrappers = method
    trainee: AdversarialModel = _made(METHODS[name], settings, classifier, seed=experiment.seed)
    for name, settings in wrappers:
        trainee = _made(WRAPPERS[name], settings, trainee)
    return trainee


def _made(kind: type[AdversarialModel], settings: Mapping[str, Any], inner: keras.Model, **given: Any) -> Any:
    """A method or wrapper around `inner`; settings that it does not know, or misses, are refused by name."""
    parameters = list(inspect.signature(kind).parameters.values())[1:]  # without what it is around
    known = [each for each in parameters if each.kind is not each.VAR_KEYWORD and each.name not in given]
    missing = [each.name for each in known if each.default is each.empty and each.name not in settings]
    unknown = sorted(set(settings) - {each.name for each in known})
    if missing or unknown:
        raise UserError(
            f"settings of {kind.__name__} must be among {[each.name for each in known]}, got {sorted(settings)}: "
            + (f"{unknown} unknown" if unknown else f"{missing} missing")
        )
    return kind(inner, **given, **settings)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers and models made in the block have this dtype policy; the global one is put back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
