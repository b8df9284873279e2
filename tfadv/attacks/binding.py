"""`compiled`: an attack, or a suite of them, bound to a model."""

from __future__ import annotations

from typing import Any

from tfadv.attacks.auto_attack import AutoAttack
from tfadv.attacks.cascade import Cascade
from tfadv.attacks.passes import bind


def compiled(
    model: Any, config: Any, *, jit: str = "auto", precision: str = "auto", batch_size: int | None = None
) -> Any:
    """Binds an attack to a model and compiles it.

    Inside the scope of a `tf.distribute` strategy, where the model should be loaded too, the attack runs on all its
    replicas, with the results of one device.

    Args:
        model: a Keras model, a SavedModel, or any callable from images in [0, 1] to logits; its variables are not
            touched, and it runs in inference mode.
        config: an attack of this room, such as `Pgd`, or `AutoAttack`.
        jit: "on" compiles by XLA, "off" to a TensorFlow graph, "auto" chooses by device (`devices.wants_xla`).
        precision: of the search: "float32", "bfloat16", or "auto" (`devices.wants_bfloat16`). Every success is verified
            in float32; only a "float32" search may be reported as an all-float32 attack. Minimum-norm attacks always
            search in float32. "both" searches in bfloat16 and what that leaves once more in float32, unless a pilot
            shows that the first pass would cost more than it saves; every survivor has met the whole float32 search.
        batch_size: examples searched at a time; None begins with 500 and halves it when memory runs out.

    Returns:
        A `CompiledAttack`, callable as (x, y, start=None) -> x_adv; of `AutoAttack` a `Cascade`, callable as (x, y).
        Both have `run`, which says more, and keep their compiled programs between calls.

    Raises:
        UserError: a batch size below 1, an unknown `jit` or `precision`, or no attack.
    """
    options: dict[str, Any] = {"jit": jit, "precision": precision, "batch_size": batch_size}
    if isinstance(config, AutoAttack):
        return Cascade(model, config.stages(), **options)
    return bind(model, config, **options)
