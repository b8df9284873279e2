"""Logistic regression as a classifier with two logits, and its "expert" start ("Adversarial training versus weight
decay", section 3)."""

from __future__ import annotations

import keras
import numpy as np

from tfadv.models import arguments
from tfadv.validation import UserError


def logistic_regression(
    classes: int = 2,
    seed: int = 0,
    shape: tuple[int, ...] = (28, 28, 1),
    *,
    weights: np.ndarray | None = None,
    use_bias: bool = False,
) -> keras.Model:
    """Logits (0, w'x + b), so that softmax gives class 1 the probability sigmoid(w'x + b); 784 parameters for MNIST.

    One weight vector and a constant first logit, in place of two weight vectors or of logits -+(w'x + b) / 2: softmax
    cross-entropy is then the papers' sigmoid cross-entropy, weight decay is theirs too (it acts on w once), and the
    1-norm and the 2-norm of the logits are |w'x + b|, as in the analysis of logit squeezing for two classes. In the
    paper's 3 versus 7, class 1 is "3" and class 0 is "7". Its text has a bias, its authors' program (github.com/
    uoguelph-mlrg/adversarial_training_vs_weight_decay) none: `use_bias` says which.

    Args:
        classes: two, and nothing else; there for callers that treat all architectures alike.
        seed: seeds the initial weights, a truncated normal of standard deviation 0.1 as in that program.
        shape: of one input, of any rank.
        weights: starts from this w, of shape `shape`, in place of random weights; see `expert_weights`.
        use_bias: whether there is a b, which starts at 0.

    Returns:
        A model from inputs [B, *shape] to logits [B, 2], float32 under every precision policy.

    Raises:
        UserError: a number of classes other than two, or weights of another shape than the inputs.
    """
    if classes != 2:
        raise UserError(f"classes must be 2 for logistic regression, got {classes}; tfadv.models.linear takes any")
    arguments.check(shape, classes)
    if weights is not None and np.shape(weights) != tuple(shape):
        raise UserError(f"weights must have the shape of an input, {tuple(shape)}, got {np.shape(weights)}")
    start = keras.initializers.TruncatedNormal(stddev=0.1, seed=seed)
    score = keras.layers.Dense(1, use_bias=use_bias, kernel_initializer=start, name="score", dtype="float32")
    inputs = keras.Input(shape)
    scores = score(keras.layers.Flatten(name="flatten")(inputs))
    if weights is not None:
        score.kernel.assign(np.reshape(weights, [-1, 1]))
    return keras.Model(inputs, keras.ops.pad(scores, [[0, 0], [1, 0]]), name="logistic_regression")


def expert_weights(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean of the inputs of class 1 minus the mean of those of class 0: the "expert initialization".

    The weights of a nearest-mean classifier up to scale and offset. The paper says "subtracting the average 7 from the
    average 3", neither scaled nor with a bias.

    Args:
        x: inputs [N, ...].   y: labels [N], 0 or 1, of both at least one.

    Returns:
        float32 [...], for `logistic_regression(weights=...)`.

    Raises:
        UserError: other labels, or one class alone.
    """
    x, y = np.asarray(x), np.asarray(y)
    if set(np.unique(y)) != {0, 1} or len(x) != len(y):
        raise UserError(
            f"y must have the labels 0 and 1, one for each of the {len(x)} inputs, got {len(y)} labels out of "
            f"{np.unique(y).tolist()[:5]}; keep two classes and number them 0 and 1"
        )
    # float64 sums: a float32 sum over thousands of images would depend on their order.
    one, zero = (x[y == label].mean(axis=0, dtype=np.float64) for label in (1, 0))
    return (one - zero).astype(np.float32)
