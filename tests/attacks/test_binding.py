"""`compiled` gives one attack or a cascade, by what it is asked to bind."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import AutoAttack, Cascade, CompiledAttack, Pgd, compiled
from tfadv.validation import UserError


def model(x):
    return tf.reshape(x, [-1, 4]) @ tf.constant(np.eye(4, 3, dtype=np.float32))


def test_an_attack_becomes_a_compiled_attack_with_the_options_given():
    attack = compiled(model, Pgd(epsilon=0.1), precision="float32", batch_size=7)
    assert isinstance(attack, CompiledAttack)
    assert (attack.config, attack.precision, attack.batch_size) == (Pgd(epsilon=0.1), "float32", 7)


def test_autoattack_becomes_a_cascade_of_its_stages():
    cascade = compiled(model, AutoAttack(0.1, "l2"), precision="float32")
    assert isinstance(cascade, Cascade)
    assert cascade.configs == AutoAttack(0.1, "l2").stages()


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("pgd", {}, r"config must be an attack of tfadv.attacks, such as Pgd\(...\), got str"),
        (Pgd(), {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (Pgd(), {"precision": "half"}, "precision must be one of"),
        (Pgd(), {"jit": "yes"}, "jit must be one of"),
    ],
)
def test_refused(config, options, message):
    with pytest.raises(UserError, match=message):
        compiled(model, config, **options)
