"""Models on a line, whose attacks can be worked out, and small nets of digits, some defended in appearance only."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import adversarial, data
from tfadv.attacks import Fgm, Pgd
from tfadv.evaluation.subject import Subject
from tfadv.losses import LabelSmoothing, LogitSqueezing

RADIUS = 0.1
_ATTACK = Pgd(RADIUS, RADIUS / 4, 10, keep="last")
# At full strength from the first step, adversarial training on so few images stays near the uniform prediction.
_RAMP = {"ramp_steps": 200}
_PLAIN = LabelSmoothing(mass=0.0)

# Defense -> epochs, loss, training method. FGSM starts from the image itself, so the net learns to resist that one step
# alone; squeezed logits make every gradient small, and change little else.
_DEFENSES = {
    "none": (15, _PLAIN, adversarial.NaturalTraining),
    "logit squeezing": (15, LogitSqueezing(weight=0.5), adversarial.NaturalTraining),
    "fgsm": (20, _PLAIN, lambda net: adversarial.AdversarialTraining(net, Fgm(2 * RADIUS), **_RAMP)),
    "pgd": (20, _PLAIN, lambda net: adversarial.AdversarialTraining(net, _ATTACK, **_RAMP)),
    "trades": (20, _PLAIN, lambda net: adversarial.Trades(net, _ATTACK, beta=3.0, **_RAMP)),
}


def _net() -> keras.Model:
    layers = keras.layers
    glorot = [keras.initializers.GlorotUniform(seed=number) for number in range(4)]
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(16, 5, 3, "same", activation="relu", kernel_initializer=glorot[0]),
            layers.Conv2D(32, 3, 2, "same", activation="relu", kernel_initializer=glorot[1]),
            layers.Flatten(),
            layers.Dense(64, activation="relu", kernel_initializer=glorot[2]),
            layers.Dense(10, kernel_initializer=glorot[3]),
        ]
    )


@pytest.fixture(scope="session")
def trained():
    """`trained("pgd")` is a net with that defense, and `trained("pgd", examples)` one trained on these (x, y).

    Each is trained once, when it is first asked for: 2 to 15 seconds on one core.
    """

    @functools.cache
    def of_digits(defense):
        return train(defense, data.arrays("digits", "train"))

    def train(defense, examples):
        epochs, loss, method = _DEFENSES[defense]
        keras.utils.set_random_seed(0)
        net = _net()
        trainee = method(net)
        trainee.compile(keras.optimizers.Adam(2e-3), loss, jit_compile=False)
        trainee.fit(*examples, batch_size=50, epochs=epochs, verbose=0)
        return net

    return lambda defense, examples=None: of_digits(defense) if examples is None else train(defense, examples)


@pytest.fixture(scope="session")
def unseen_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 500 test digits."""
    return data.arrays("digits", "test")


@pytest.fixture
def on_a_line():
    """`on_a_line(points, score, *suite)`: a subject with inputs [n, 1] of class 1, after the attacks of the suite.

    The logits are (0, score): an input is classified correctly where its score is above 0.
    """

    def build(points, score, *suite, norm="linf", epsilon=0.1, **options):
        x = np.float32(points)[:, None]

        def model(v):
            value = score(v)
            return tf.concat([tf.zeros_like(value), value], axis=1)

        options = {"norm": norm, "epsilon": epsilon, "precision": "float32", **options}
        subject = Subject(model, x, np.ones(len(x), np.int32), **options)
        for number, config in enumerate(suite):
            subject.attack(number, config, np.arange(len(x)), survivors=False)
        subject.finish()
        return subject

    return build


@pytest.fixture
def recorded(monkeypatch):
    """`recorded(subject)`: a list that receives every config that the subject crafts with from now on."""

    def record(subject):
        crafted, craft = [], subject.craft

        def craft_and_tell(config, rows, **options):
            crafted.append(config)
            return craft(config, rows, **options)

        monkeypatch.setattr(subject, "craft", craft_and_tell)
        return crafted

    return record
