"""The same attack by CleverHans (TensorFlow 2): from the same start, with the same steps, compared image by image.

CleverHans returns the last iterate and draws its random start inside; it is handed ours through the one function that
draws it, and the iterate it then begins with is compared with ours. Both attack in float32, batch by batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.balls import BALLS
from tfadv.crosscheck.peers import (
    PLAIN_FGM,
    PLAIN_MIM,
    PLAIN_PGD,
    NotShared,
    Peer,
    batches,
    by_batch,
    check_shared,
    require,
)
from tfadv.models import predictor
from tfadv.validation import UserError, check_images, check_labels, check_logits
from tfadv.version import __version__

# Two libraries round differently, and the sign of a gradient flips on ties: these shares count as agreement.
SMALLEST_SHARE_OF_EQUAL_FLAGS = 0.995
LARGEST_SHARE_OF_DIFFERING_IMAGES = 0.005
PIXEL_TOLERANCE = 1e-5

_BATCH_SIZE = 250
_ORDERS = {"linf": np.inf, "l2": 2}
# CleverHans floors the length of an l2 gradient at 1e-6, so that a confident model is attacked with shorter steps. The
# factor moves that floor to 1e-18; a power of two changes no digit of a gradient, and a direction does not see it.
_L2_LOSS_FACTOR = 2.0**40


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One attack by both libraries on the same images; shares and accuracies lie in [0, 1].

    Attributes:
        attack: description of the attack.
        examples: how many images, N.
        fooled, peer_fooled: bool [N]; our and CleverHans' result is misclassified, in float32.
        share_of_equal_flags: of examples that both fool or both do not.
        share_of_differing_images: of examples with a pixel that differs by more than 1e-5.
        largest_difference: of any pixel, input units.
        pixels_must_agree: False for l2 steps inside finite bounds, except a single one from x: CleverHans clips to
            the box before and after it projects onto the ball, we project and then clip: other iterates.
        robust_accuracy, peer_robust_accuracy: share that is classified correctly after the attack.
        seconds, peer_seconds: wall time, tracing included.
        versions: of tfadv, cleverhans, tensorflow, keras, numpy.
    """

    attack: str
    examples: int
    fooled: np.ndarray
    peer_fooled: np.ndarray
    share_of_equal_flags: float
    share_of_differing_images: float
    largest_difference: float
    pixels_must_agree: bool
    robust_accuracy: float
    peer_robust_accuracy: float
    seconds: float
    peer_seconds: float
    versions: dict[str, str]

    @property
    def agreed(self) -> bool:
        """Success flags equal for >= 99.5% of examples and, where pixels must agree, <= 0.5% of images that differ."""
        flags_agree = self.share_of_equal_flags >= SMALLEST_SHARE_OF_EQUAL_FLAGS
        pixels_agree = self.share_of_differing_images <= LARGEST_SHARE_OF_DIFFERING_IMAGES
        return flags_agree and (pixels_agree or not self.pixels_must_agree)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values; the flags as the indices of the examples that one library alone fools."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fooled, peer_fooled = values.pop("fooled"), values.pop("peer_fooled")
        values["fooled_by_tfadv_only"] = np.flatnonzero(fooled & ~peer_fooled).tolist()
        values["fooled_by_cleverhans_only"] = np.flatnonzero(peer_fooled & ~fooled).tolist()
        return {**values, "agreed": self.agreed}


def compare(model: Any, x: Any, y: Any, config: Pgd | Fgm, *, start: Any = None) -> Comparison:
    """Runs `config` by tfadv and by CleverHans from the same start, and compares the results.

    Args:
        model: as in `tfadv.models.predictor`.
        x: float32 images [N, ...] in the config's bounds; infinite bounds compare without a box.
        y: labels, int [N] or [N, K].
        config: `Fgm`, or `Pgd` with keep="last", one start, and step_size <= epsilon, as CleverHans has it.
        start: [N, ...], where `Pgd` begins; None is uniform in the ball (seeded by the config), or x without
            random_start. It is projected onto ball and box first.

    Raises:
        UserError: CleverHans is not installed, or it has no attack like `config`; images or labels of a wrong kind.
        RuntimeError: CleverHans did not begin where we told it to.
    """
    check_config(config)
    peer = _Peer()
    predict = predictor(model)
    x = check_images(x, config.bounds)
    if not len(x):
        raise UserError("x must hold at least one image, got an empty batch")
    logits = predict(tf.constant(x[:_BATCH_SIZE]))
    check_logits(logits)
    y = check_labels(y, len(x), int(logits.shape[-1]))
    start = _start(x, config, start)

    attack = compiled(predict, config, precision="float32", batch_size=_BATCH_SIZE)
    with devices.matrix_products(bfloat16=False):
        began = time.perf_counter()
        ours = attack(x, y, start).numpy()
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        rows = batches(len(x), _BATCH_SIZE)
        theirs = np.concatenate([peer.run(predict, x[row], y[row], start[row], config) for row in rows])
        peer_seconds = time.perf_counter() - began
        fooled, peer_fooled = _classes(predict, ours) != y, _classes(predict, theirs) != y
    difference = np.abs(ours - theirs).reshape(len(x), -1).max(axis=1)
    steps_leave_x = isinstance(config, Pgd) and (config.steps > 1 or not np.array_equal(start, x))
    composed = config.norm == "l2" and steps_leave_x and bool(np.isfinite(config.bounds).any())
    return Comparison(
        attack=describe(config),
        examples=len(x),
        fooled=fooled,
        peer_fooled=peer_fooled,
        share_of_equal_flags=float((fooled == peer_fooled).mean()),
        share_of_differing_images=float((difference > PIXEL_TOLERANCE).mean()),
        largest_difference=float(difference.max()),
        pixels_must_agree=not composed,
        robust_accuracy=float(1 - fooled.mean()),
        peer_robust_accuracy=float(1 - peer_fooled.mean()),
        seconds=seconds,
        peer_seconds=peer_seconds,
        versions={
            "tfadv": __version__,
            "cleverhans": peer.version,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    )


def suite(config: Pgd) -> list[Pgd | Fgm]:
    """FGM, BIM and PGD of the config's radius, step and steps, as CleverHans has them; in l2 also PGD without the box.

    Without the box the l2 iterates of the two libraries are the same points, so that their pixels can be judged too.
    """
    pgd = dataclasses.replace(config, keep="last", restarts=1, random_start=True)
    free = dataclasses.replace(pgd, bounds=(-math.inf, math.inf))
    return [
        Fgm(epsilon=config.epsilon, norm=config.norm, objective=config.objective, bounds=config.bounds),
        dataclasses.replace(pgd, random_start=False),
        pgd,
        *([free] if config.norm == "l2" else []),
    ]


def table(comparisons: list[Comparison]) -> str:
    """The comparisons as one plain-text table."""
    head = ("attack", "N", "robust", "CleverHans", "flags equal", "images differ", "largest", "s", "CleverHans s", "")
    rows = [
        (
            item.attack,
            str(item.examples),
            f"{item.robust_accuracy:.2%}",
            f"{item.peer_robust_accuracy:.2%}",
            f"{item.share_of_equal_flags:.2%}",
            f"{item.share_of_differing_images:.2%}{'' if item.pixels_must_agree else '*'}",
            f"{item.largest_difference:.1e}",
            f"{item.seconds:.1f}",
            f"{item.peer_seconds:.1f}",
            "agrees" if item.agreed else "DISAGREES",
        )
        for item in comparisons
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows)]
    if not all(item.pixels_must_agree for item in comparisons):
        lines.append(
            "* not judged: over many l2 steps in a box the rounding of the two libraries adds up (1 to 2% of images)"
        )
    return "\n".join(lines)


class _Peer:
    """CleverHans' attacks, imported when first needed."""

    def __init__(self) -> None:
        # The function `projected_gradient_descent` hides the module of that name, so the module is asked for.
        self._pgd, self._fgm, self._mim = (
            require(f"cleverhans.tf2.attacks.{name}", "crosscheck")
            for name in ("projected_gradient_descent", "fast_gradient_method", "momentum_iterative_method")
        )
        self.version = importlib.metadata.version("cleverhans")

    def run(
        self, predict: Callable, x: np.ndarray, y: np.ndarray, start: np.ndarray | None, config: Pgd | Fgm
    ) -> np.ndarray:
        """CleverHans' last iterate for one batch, after its first iterate was found equal to `start`.

        Without a start, PGD begins where the config and CleverHans say.
        """
        images, labels = tf.constant(x), tf.constant(y)
        common = {
            "norm": _ORDERS[config.norm],
            "loss_fn": _scaled_cross_entropy if config.norm == "l2" else None,
            "clip_min": config.bounds[0],
            "clip_max": config.bounds[1],
            "y": labels,
        }
        if isinstance(config, Fgm):
            return self._fgm.fast_gradient_method(predict, images, config.epsilon, **common).numpy()

        def after(steps: int, rand_init: bool = True) -> np.ndarray:
            return self._pgd.projected_gradient_descent(
                predict, images, config.epsilon, config.step_size, steps, rand_init=rand_init, **common
            ).numpy()

        if start is None:
            return after(config.steps, config.random_start)
        with self._starting_at(start - x):
            # `start` is a fixed point of projection and clipping, up to one rounding of x + (start - x).
            if not np.allclose(after(0), start, rtol=0, atol=1e-6):
                raise RuntimeError(
                    f"CleverHans {self.version} did not begin at the given start; no comparison is possible"
                )
            return after(config.steps)

    def momentum(self, predict: Callable, x: np.ndarray, y: np.ndarray, config: Any) -> np.ndarray:
        """CleverHans' momentum iterative method for one batch."""
        return self._mim.momentum_iterative_method(
            predict,
            tf.constant(x),
            config.epsilon,
            config.step_size,
            config.steps,
            norm=_ORDERS[config.norm],
            clip_min=config.bounds[0],
            clip_max=config.bounds[1],
            y=tf.constant(y),
            decay_factor=config.decay,
        ).numpy()

    @contextlib.contextmanager
    def _starting_at(self, delta: np.ndarray) -> Iterator[None]:
        """Inside the block CleverHans' PGD takes `delta` for its random point of the ball."""

        def given(shape: tf.Tensor, order: Any, radius: Any, dtype: Any = tf.float32, seed: Any = None) -> tf.Tensor:
            del shape, order, radius, seed
            return tf.constant(delta, dtype)

        with mock.patch.object(self._pgd, "random_lp_vector", given):
            yield


def _scaled_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return _L2_LOSS_FACTOR * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def check_config(config: Pgd | Fgm) -> None:
    """Refuses a config that CleverHans cannot run; other libraries can run what it can.

    Raises:
        UserError: names the setting, and what CleverHans has.
    """
    if type(config) not in (Pgd, Fgm):  # An attack derived from them is another one.
        raise UserError(f"config must be Pgd or Fgm, the attacks that CleverHans shares, got {type(config).__name__}")
    if config.norm not in _ORDERS or config.objective != "cross_entropy" or np.ndim(config.epsilon):
        raise UserError(
            f"config must have a norm of {sorted(_ORDERS)}, objective 'cross_entropy' and one epsilon for all, as "
            f"CleverHans has; got norm={config.norm!r}, objective={config.objective!r}, epsilon={config.epsilon!r}"
        )
    if not isinstance(config, Pgd):
        return
    if config.keep != "last" or config.restarts != 1:
        raise UserError(
            "config must have keep='last' and restarts=1, because CleverHans returns the last iterate of one start; "
            f"got keep={config.keep!r}, restarts={config.restarts}"
        )
    if np.ndim(config.step_size) or not config.step_size <= config.epsilon:
        raise UserError(
            "config must have one step_size <= epsilon, which CleverHans asserts; got "
            f"step_size={config.step_size!r}, epsilon={config.epsilon!r}"
        )


def _start(x: np.ndarray, config: Pgd | Fgm, start: Any) -> np.ndarray:
    """Where both begin: in ball and box, [N, ...]; `Fgm` leaves from x."""
    if isinstance(config, Fgm):
        return x
    if start is None:
        start = x
        if config.random_start:
            points = BALLS[config.norm].sample(x.shape, tf.constant([config.seed, 0], tf.int32))
            start = x + np.float32(config.epsilon) * points.numpy()
    start = np.asarray(start, np.float32)
    if start.shape != x.shape:
        raise UserError(f"start must have the shape of x, {x.shape}, got {start.shape}")
    epsilon = tf.constant(config.epsilon, tf.float32)
    return BALLS[config.norm].confine(tf.constant(x), tf.constant(start), epsilon, config.bounds).numpy()


def _classes(predict: Callable, x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.argmax(predict(tf.constant(x[rows])), axis=-1) for rows in batches(len(x), _BATCH_SIZE)])


def describe(config: Pgd | Fgm) -> str:
    """The attack in a few words: "PGD-40 linf 0.3 step 0.01"; BIM is PGD that starts at the image."""
    box = "" if math.isfinite(config.bounds[0]) else ", no box"
    if isinstance(config, Fgm):
        return f"FGM {config.norm} {config.epsilon:g}{box}"
    name = "PGD" if config.random_start else "BIM"
    return f"{name}-{config.steps} {config.norm} {config.epsilon:g} step {config.step_size:g}{box}"


class _Loaded(NamedTuple):
    """CleverHans, and the one function of our model that it is given: it traces anew for every other function."""

    library: _Peer
    predict: Callable


def load(model: Any) -> _Loaded:
    """Our classifier as the attacks below take it."""
    return _Loaded(_Peer(), predictor(model))


@by_batch
def fgm(model: _Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`fast_gradient_method`."""
    check_shared(config, norm=tuple(_ORDERS), **PLAIN_FGM)
    return model.library.run(model.predict, x, y, None, config)


@by_batch
def pgd(model: _Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`projected_gradient_descent`, from `start` where there is one."""
    check_shared(config, norm=tuple(_ORDERS), targeted=(False,), **PLAIN_PGD)
    if config.step_size > config.epsilon:
        raise NotShared("Pgd is shared with step_size <= epsilon only, which CleverHans asserts")
    return model.library.run(model.predict, x, y, start, config)


@by_batch
def mim(model: _Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`momentum_iterative_method`."""
    check_shared(config, norm=tuple(_ORDERS), targeted=(False,), **PLAIN_MIM)
    return model.library.momentum(model.predict, x, y, config)


PEER = Peer(
    name="CleverHans",
    packages=("cleverhans", "tensorflow"),
    load=load,
    attacks={"Fgm": fgm, "Mim": mim, "Pgd": pgd},
    takes_start=("Pgd",),
    broken={
        "CarliniWagner": "calls a property of the optimizer as a function: TypeError under Keras 3",
        "Spsa": "gives Adam the argument lr, which Keras 3 refuses",
    },
)
