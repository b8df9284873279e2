"""Sources of transfer attacks, trained on the spot: an undefended twin of a model, and an adversarially trained one."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.adversarial import AdversarialModel, AdversarialTraining, NaturalTraining
from tfadv.attacks import Pgd
from tfadv.attacks.search import check_choice, check_count
from tfadv.balls import BALLS
from tfadv.evaluation.inputs import as_arrays
from tfadv.models import MODELS, predictor
from tfadv.progress import Progress
from tfadv.validation import UserError, check_epsilon, check_labels

STEPS = 1_500
_FORWARD_BATCH = 500
# How far from guessing to the accuracy of the model a surrogate has to come. Adversarial training costs accuracy.
_NATURAL_SHARE, _ADVERSARIAL_SHARE = 0.5, 0.25
_PGD_STEPS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """A model to craft adversarial examples on; one of the `sources` of `evaluate`.

    Attributes:
        name: "undefended twin", "adversarially trained twin (linf 0.3)".
        model: a Keras model from images to logits.
        clean_accuracy: on the examples that it was tested on, in [0, 1].
        least_accuracy: what it had to reach.
        architecture: what it is, in words.
        steps: training steps that it took; seconds: their wall time.
    """

    name: str
    model: keras.Model
    clean_accuracy: float
    least_accuracy: float
    architecture: str
    steps: int
    seconds: float


def undefended_twin(
    model: Any,
    train: Any,
    test: Any,
    *,
    architecture: str | keras.Model | None = None,
    steps: int = STEPS,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    least_accuracy: float | None = None,
    seed: int = 1,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Surrogate:
    """A model of the same architecture, trained on the images as they are: what hides gradients in `model` it has not.

    What is crafted on it and fools `model`, where attacks on `model` itself do not, shows that they were hindered
    (Carlini et al. 2019, arXiv:1902.06705); label smoothing was found out so (Fu et al. 2020,
    arXiv:2009.08233). Minimizes cross-entropy by Adam, without augmentation; it costs `steps` x `batch_size` images
    forward and back, and follows from the seed alone. (On MNIST `small_cnn` had 98.1% after 38 s on two busy cores.)

    Args:
        model: the model under evaluation, in any form that `predictor` takes. Of a Sequential or functional model the
            layers are made anew, with new initial weights and without regularizers; whatever else the defense consists
            of in layers is made again. For any other model: `small_cnn` for images, `mlp` for other inputs.
        train: (x, y) arrays or a Dataset, as for `evaluate`, and disjoint from `test`.
        test: the same; what the accuracy is measured on.
        architecture: a name of `tfadv.models.MODELS`, or a Keras model that is taken as a model is, in place of it.
        steps, batch_size, learning_rate: of training; each epoch is a new order of all images.
        least_accuracy: what the twin has to reach on `test`, in [0, 1]; None is halfway between the share of the
            largest class and the accuracy of `model`.
        seed: of the initial weights and of the order.
        bounds: (lowest, highest) pixel value.

    Raises:
        UserError: unusable data or settings, or a twin that did not learn: it would transfer nothing, and pass for
            evidence.
    """
    twin, data = _prepared(model, train, test, architecture, seed, bounds)
    return _trained(
        "undefended twin",
        NaturalTraining(twin.model),
        twin,
        data,
        _Settings(steps, batch_size, learning_rate, least_accuracy, _NATURAL_SHARE, seed),
    )


def adversarial_surrogate(
    model: Any,
    train: Any,
    test: Any,
    epsilon: float,
    norm: str = "linf",
    *,
    architecture: str | keras.Model | None = None,
    steps: int = STEPS,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    least_accuracy: float | None = None,
    seed: int = 2,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Surrogate:
    """A model of the same architecture after PGD training (Madry et al. 2018) at the threat model's epsilon.

    To a robust model, examples transfer from another robust one: the published net of Madry et al. keeps 96.8% of MNIST
    against PGD on a natural net and 93.5% against PGD on three of its kind (github.com/MadryLab/mnist_challenge). Here
    PGD-10 has steps of epsilon / 4, and epsilon and step grow over the first half of the training, without which small
    networks stay at the uniform prediction. It costs `steps` x `batch_size` images, each eleven times forward and back
    (on MNIST at epsilon 0.3 `small_cnn` had 98.2% clean after 143 s).

    Args:
        epsilon, norm: the threat model; a norm of `tfadv.balls.BALLS`.
        least_accuracy: as in `undefended_twin`, but None is a quarter of the way from the share of the largest class
            to the accuracy of `model`: robustness has its price, and this short training is no defense to be proud of.
        model, train, test, architecture, steps, batch_size, learning_rate, seed, bounds: as in `undefended_twin`.

    Raises:
        UserError: as in `undefended_twin`, or another norm.
    """
    check_choice("norm", norm, BALLS)
    check_epsilon(epsilon, bounds, norm, strict=True)
    twin, data = _prepared(model, train, test, architecture, seed, bounds)
    attack = Pgd(epsilon, epsilon / 4, _PGD_STEPS, norm, keep="last", bounds=bounds)
    return _trained(
        f"adversarially trained twin ({norm} {epsilon:.3g})",
        AdversarialTraining(twin.model, attack, seed=seed, ramp_steps=max(steps // 2, 1)),
        twin,
        data,
        _Settings(steps, batch_size, learning_rate, least_accuracy, _ADVERSARIAL_SHARE, seed),
    )


@dataclasses.dataclass(frozen=True)
class _Settings:
    """How a surrogate is trained, and how much of the model's accuracy it has to reach."""

    steps: int
    batch_size: int
    learning_rate: float
    least_accuracy: float | None
    share: float
    seed: int

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("batch_size", self.batch_size)
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be a number > 0, got {self.learning_rate!r}")
        if self.least_accuracy is not None and not 0 <= self.least_accuracy <= 1:
            raise UserError(f"least_accuracy must lie in [0, 1], got {self.least_accuracy!r}; write 0.9 for 90%")


@dataclasses.dataclass(frozen=True, eq=False)
class _Twin:
    """A network that is not trained yet, what it is, and the accuracy of the model that it stands for."""

    model: keras.Model
    architecture: str
    original_accuracy: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Data:
    """Images and labels to train and to test on."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def _prepared(
    model: Any, train: Any, test: Any, architecture: Any, seed: int, bounds: tuple[float, float]
) -> tuple[_Twin, _Data]:
    if not (architecture is None or isinstance(architecture, str | keras.Model)):
        raise UserError(f"architecture must be one of {sorted(MODELS)} or a Keras model, got {architecture!r}")
    (x, y), (x_test, y_test) = as_arrays(train, bounds), as_arrays(test, bounds)
    if x.shape[1:] != x_test.shape[1:]:
        raise UserError(f"train must have images like those of test, {x_test.shape[1:]}, got {x.shape[1:]}")
    predict = predictor(model)
    logits = _logits(predict, x_test)
    classes = logits.shape[1]
    check_labels(y, len(x), classes, name="labels of train")
    check_labels(y_test, len(x_test), classes, name="labels of test")
    twin, what = _network(model if architecture is None else architecture, x.shape[1:], classes, seed, bounds)
    accuracy = float(np.mean(logits.argmax(axis=1) == y_test))
    return _Twin(twin, what, accuracy), _Data(x, y, x_test, y_test)


def _network(
    model: Any, shape: tuple[int, ...], classes: int, seed: int, bounds: tuple[float, float]
) -> tuple[keras.Model, str]:
    """A network with new weights for these inputs, and what it is."""
    if isinstance(model, str):
        check_choice("architecture", model, MODELS)
        return MODELS[model](classes=classes, seed=seed, shape=shape), model
    if _can_be_cloned(model):
        try:
            twin = fresh(model, seed)
            if predictor(twin)(tf.fill((1, *shape), float(bounds[0]))).shape != (1, classes):
                raise UserError(f"architecture must give {classes} logits for inputs of shape {shape}; it does not")
            return twin, f"the architecture of {model.name!r}"
        except UserError:
            raise
        except Exception as error:  # Layers of others raise every type where they cannot be made from their config.
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"
            why = f", because the layers of {model.name!r} cannot be made again ({reason})"
    else:
        why = ", because the model does not show its layers"
    name = "small_cnn" if len(shape) == 3 else "mlp"
    return MODELS[name](classes=classes, seed=seed, shape=shape), name + why


def _can_be_cloned(model: Any) -> bool:
    """Whether the graph of its layers is known."""
    if not isinstance(model, keras.Model):
        return False
    try:
        return bool(model.inputs) and bool(model.outputs)
    except (AttributeError, ValueError):  # A subclassed model; an unbuilt Sequential.
        return False


def fresh(model: keras.Model, seed: int) -> keras.Model:
    """A Sequential or functional model made again, with initial weights by `seed`, and without regularizers.

    Dropout and other layers that draw numbers draw others, too. The model itself and global random states stay as they
    are.
    """

    def again(layer: Any) -> Any:
        return type(layer).from_config(_undetermined(layer.get_config()))

    # A graph of its own, because a compiled Sequential would be compiled again, with a loss that may be unknown here.
    graph = keras.Model(model.inputs[0] if len(model.inputs) == 1 else model.inputs, model.outputs[0], name=model.name)
    with _seeded(seed):
        twin = keras.models.clone_model(graph, clone_function=again, recursive=True)
    # One by one: the model says that it is trainable already, and setting an attribute to what it is does nothing.
    for layer in twin._flatten_layers():
        layer.trainable = True
    return twin


def _undetermined(config: Any) -> Any:
    """A layer's config without seeds, so that those of the surrounding block hold, and without regularizers."""
    if isinstance(config, dict):
        return {
            key: None if key == "seed" or key.endswith("_regularizer") else _undetermined(value)
            for key, value in config.items()
        }
    return [_undetermined(value) for value in config] if isinstance(config, list) else config


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Layers without a seed that are made in the block draw theirs from `seed`: Keras takes them from Python's."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def _logits(predict: Any, x: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [np.asarray(predict(tf.constant(x[at : at + _FORWARD_BATCH]))) for at in range(0, len(x), _FORWARD_BATCH)]
    )


def _trained(name: str, trainee: AdversarialModel, twin: _Twin, data: _Data, settings: _Settings) -> Surrogate:
    """Trains, tests, and refuses what has not learnt."""
    began = time.monotonic()
    _train(name, trainee, data, settings)
    seconds = time.monotonic() - began
    accuracy = float(np.mean(_logits(predictor(twin.model), data.x_test).argmax(axis=1) == data.y_test))
    guessing = float(np.bincount(data.y_test).max() / len(data.y_test))
    least = settings.least_accuracy
    if least is None:
        least = guessing + settings.share * max(twin.original_accuracy - guessing, 0.0)
    if accuracy < least:
        raise UserError(
            f"the {name} ({twin.architecture}) did not learn: accuracy {accuracy:.1%} after {settings.steps:,} steps "
            f"on {len(data.x):,} images, and it needs {least:.1%} to be a source of transfer (guessing gives "
            f"{guessing:.1%}, the model {twin.original_accuracy:.1%}). Give it more steps or images, another "
            "learning_rate, an architecture that can be trained (architecture='small_cnn'), or your own model as a "
            "source; least_accuracy changes the bar"
        )
    return Surrogate(name, twin.model, accuracy, least, twin.architecture, settings.steps, seconds)


def _train(name: str, trainee: AdversarialModel, data: _Data, settings: _Settings) -> None:
    """Takes the steps; the batches follow from (seed, epoch), the attack's starts from (seed, step)."""
    size = settings.batch_size
    if size > len(data.x):
        raise UserError(f"batch_size must be at most the {len(data.x)} training images, got {size}")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainee.compile(keras.optimizers.Adam(settings.learning_rate), loss)
    trainee.optimizer.build(trainee.classifier.trainable_variables)
    options = {"jit_compile": True} if devices.wants_xla("auto") else {}

    @tf.function(autograph=False, **options)
    def update(x, y):  # type: ignore[no-untyped-def]  # tf.function hides its types
        return trainee.update(x, y).loss

    progress = Progress(f"training the {name}", unit="steps")
    epoch = len(data.x) // size
    order = np.zeros(0, int)
    for step in range(settings.steps):
        if step % epoch == 0:
            # RandomState, not default_rng: NumPy freezes the numbers of the former for all its versions.
            order = np.random.RandomState([settings.seed % 2**32, step // epoch]).permutation(len(data.x))
        rows = order[step % epoch * size :][:size]
        update(tf.constant(data.x[rows]), tf.constant(data.y[rows]))
        progress(step + 1, settings.steps)
    progress.close()
