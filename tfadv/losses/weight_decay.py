"""Weight decay on the kernels of a model that exists already: what the papers compare with adversarial training.

| source | penalty on a kernel w | here |
|---|---|---|
| feature smoothing, L_wd | lambda ||w||_2^2 | `add_weight_decay(model, l2=lambda)` |
| "Adversarial training versus weight decay", eq. 4 | lambda ||w||_2 | `regularize_kernels(model, L2Norm(lambda))` |
| the same, eq. 8 | lambda ||w||_1 | `add_weight_decay(model, l1=lambda)` |
| its program, L2 of logistic regression | (lambda / 2) ||w||_2^2 | `add_weight_decay(model, l2=lambda / 2)` |
| its program, L1 of logistic regression | lambda mean |w| | `regularize_kernels(model, MeanL1(lambda))` |

Its program is what the authors released, logistic/logistic.py of uoguelph-mlrg/adversarial_training_vs_weight_decay.
There the L1 of lambda = 3.25 on 784 weights is eq. 8 with lambda = 3.25 / 784 = 0.0041.
"""

from __future__ import annotations

from typing import Any

import keras

from tfadv.losses.parameters import check_weight
from tfadv.validation import UserError

# Layer attribute -> names of the variables that it governs. DepthwiseConv calls its variable "kernel".
_GOVERNED = {
    "kernel_regularizer": ("kernel",),
    "_kernel_regularizer": ("kernel",),  # attention layers keep it for the projections that they own
    "depthwise_regularizer": ("kernel", "depthwise_kernel"),
    "pointwise_regularizer": ("pointwise_kernel",),
    "recurrent_regularizer": ("recurrent_kernel",),
}

_REMARK = "it multiplies the penalty on the weights"


@keras.saving.register_keras_serializable("tfadv")
class L2Norm(keras.regularizers.Regularizer):
    """weight * ||w||_2 of one kernel, not squared: eq. 4 of "Adversarial training versus weight decay".

    Its pull does not fade as the weights shrink, so that it can drive a kernel to exactly zero; the gradient at w = 0
    is 0. Compare `keras.regularizers.L2`, the squared form. With several kernels each has its own norm. Use it with
    `regularize_kernels(model, L2Norm(0.05))`, or as the `kernel_regularizer` of a layer.

    Args:
        weight: >= 0, loss units for each unit of the norm.

    Raises:
        UserError: `weight` negative or not finite.
    """

    def __init__(self, weight: float) -> None:
        self.weight = check_weight(weight, remark=_REMARK)

    def __call__(self, x: Any) -> Any:
        squares = keras.ops.sum(keras.ops.square(x))
        # The inner `where` keeps the infinite slope of sqrt at 0 out of the chain rule (inf * 0 = NaN).
        root = keras.ops.sqrt(keras.ops.where(squares > 0, squares, keras.ops.ones_like(squares)))
        return self.weight * keras.ops.where(squares > 0, root, keras.ops.zeros_like(squares))

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight}


@keras.saving.register_keras_serializable("tfadv")
class MeanL1(keras.regularizers.Regularizer):
    """weight * mean |w| of one kernel: L1 in the released program of "Adversarial training versus weight decay".

    It is `keras.regularizers.L1(weight / n)` for a kernel of n entries, so that with several kernels a large one is
    decayed less for each entry. Use it with `regularize_kernels(model, MeanL1(3.25))`, or as the `kernel_regularizer`
    of a layer.

    Args:
        weight: >= 0, loss units for each unit of the mean.

    Raises:
        UserError: `weight` negative or not finite.
    """

    def __init__(self, weight: float) -> None:
        self.weight = check_weight(weight, remark=_REMARK)

    def __call__(self, x: Any) -> Any:
        return self.weight * keras.ops.mean(keras.ops.abs(x))

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight}


def add_weight_decay(model: keras.Model, l1: float = 0.0, l2: float = 0.0) -> keras.Model:
    """Adds l1 sum |w| + l2 sum w^2 over all kernels to the training loss of `model`.

    Feature smoothing, L_wd = L + lambda ||w||_2^2 (l2 = lambda; there is no half, so that a source that prints
    (lambda / 2) ||w||^2 needs l2 = lambda / 2); eq. 8 of "Adversarial training versus weight decay",
    L + lambda ||w||_1 (l1 = lambda). For that paper's other forms see `L2Norm` and `MeanL1`.

    Args:
        model: see `regularize_kernels`, which this calls.
        l1, l2: >= 0, at least one positive.

    Returns:
        `model`, changed in place.

    Raises:
        UserError: a negative strength, both zero, or a model that `regularize_kernels` refuses.
    """
    l1, l2 = check_weight(l1, "l1", _REMARK), check_weight(l2, "l2", _REMARK)
    if l1 == 0.0 and l2 == 0.0:
        raise UserError("l1 or l2 must be positive, got 0 for both; leave the call out to train without weight decay")
    return regularize_kernels(model, keras.regularizers.L1L2(l1=l1, l2=l2))


def regularize_kernels(model: keras.Model, regularizer: keras.regularizers.Regularizer) -> keras.Model:
    """Puts `regularizer` on every kernel of `model`, also in nested models; never on biases or normalization.

    Works before or after building, before or after `compile()` (a traced training function is made anew), and the
    saved `.keras` file carries it. Kernels of dense, convolution, recurrent and attention layers count, frozen ones
    included; Keras leaves those out of the loss while they are frozen.

    Args:
        model: a Keras model; changed in place, or left as it was when this raises.
        regularizer: for example `L2Norm(0.05)`; called with each kernel on its own.

    Returns:
        `model`.

    Raises:
        UserError: no kernel to regularize, a kernel that has a regularizer already (two penalties on one kernel are
            more often a slip than a wish), or a kernel whose layer has no place to save one.
    """
    if not isinstance(model, keras.Model):
        raise UserError(f"model must be a keras.Model, got {type(model).__name__}; wrap a single layer in Sequential")
    places = [
        (layer, attribute) for layer in model._flatten_layers() for attribute in _GOVERNED if attribute in vars(layer)
    ]
    if not places:
        raise UserError(
            f"model must have layers with kernels (Dense, Conv2D, ...), got {model.name!r} with none; "
            "weight decay would have no effect"
        )
    taken = sorted({layer.name for layer, attribute in places if getattr(layer, attribute) is not None})
    if taken:
        raise UserError(
            f"model must have kernels without a regularizer, got one already in layers {taken}; "
            "build those layers without it, or give both strengths in a single call"
        )
    kernels = {
        id(weight): weight
        for layer, attribute in places
        for weight in layer.weights
        if weight.name in _GOVERNED[attribute]
    }
    homeless = [weight.path for weight in model.weights if weight.name.endswith("kernel") and id(weight) not in kernels]
    if homeless:
        raise UserError(
            f"model must keep a kernel_regularizer for every kernel, got none for {homeless}; give the layer a "
            "kernel_regularizer attribute and save it in get_config"
        )

    for layer, attribute in places:
        setattr(layer, attribute, regularizer)  # what get_config saves, and what a layer built later uses
    for kernel in kernels.values():
        kernel.regularizer = regularizer  # what the loss of a layer built already uses
    if getattr(model, "train_function", None) is not None:
        model.make_train_function(force=True)
    if getattr(model, "test_function", None) is not None:
        model.make_test_function(force=True)
    return model
