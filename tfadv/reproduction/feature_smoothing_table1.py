"""Table 1 of "Theoretical and empirical study of adversarial examples": ten defenses on MNIST, five columns."""

from __future__ import annotations

from tfadv.attacks import Pgd
from tfadv.reproduction.target import Column, Row, Target


def _pgd(objective: str) -> Pgd:
    """40 steps of 0.01, epsilon 0.3, one random start, pixels in [0, 1] (section 3.1)."""
    return Pgd(epsilon=0.3, step_size=0.01, steps=40, objective=objective, keep="last", seed=0)


TARGET = Target(
    title="Feature smoothing, table 1: MNIST, accuracy in percent",
    reference="feature_smoothing_table1.csv",
    paper_steps=240_000,
    epsilon=0.3,
    standard=1_000,
    rows=tuple(
        Row(label, f"feature_smoothing_table1/{experiment}")
        for label, experiment in (
            ("Clean", "clean"),
            ("Gaussian random noise", "noise"),
            ("Logit Squeezing(LoS)", "los"),
            ("Label smoothing(LaS)", "las"),
            ("Mix up", "mixup"),
            ("Feature smoothing(FS, ours)", "fs"),
            ("LoS + noise", "los_noise"),
            ("LaS + noise", "las_noise"),
            ("LoS + noise + mix-up", "los_noise_mixup"),
            ("LoS + noise + FS", "los_noise_fs"),
        )
    ),
    source=Row("independently trained copy", "feature_smoothing_table1/copy"),
    readings=(
        "PGD as printed: 40 steps of 0.01, epsilon 0.3, one random start, on the cross-entropy without the penalty.",
        '"Correct-wrong loss" is read as the logit margin.',
        "The paper does not say how its black-box source was trained; ours is one naturally trained copy of the "
        "network with another seed. Its printed 83% for the undefended net suggests another source.",
        "The 10 feature-smoothing or mixup points are added to the batch of 50; noise then applies to all of them.",
        "Trained in mixed bfloat16 (the paper: not stated, presumably float32); the classifiers attacked are float32.",
    ),
    columns=(
        Column("PGD", _pgd("cross_entropy"), "white-box", "loss=xent"),
        Column("PGD-cw", _pgd("margin"), "white-box", "loss=cw"),
        Column("black-box PGD", _pgd("cross_entropy"), "black-box", "loss=xent"),
        Column("black-box PGD-cw", _pgd("margin"), "black-box", "loss=cw"),
        Column("Clean", None, "clean", ""),
    ),
)
