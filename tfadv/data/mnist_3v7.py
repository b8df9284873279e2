"""MNIST, threes against sevens: the binary problem of the weight decay paper (WD, section 3), a view of MNIST.

Label 1 is the digit 3 and label 0 the digit 7, as in the authors' code, where a positive logit means "3" and the expert
weights are the mean three minus the mean seven. The splits are those of MNIST: 6,131 threes and 6,265 sevens to train
(the authors read them through a tutorial that keeps 5,000 of the 60,000 training images for itself), 1,010 and 1,028 to
test.
"""

from __future__ import annotations

from tfadv.data import mnist
from tfadv.data.spec import DatasetSpec, View

SPEC = DatasetSpec(
    name="mnist_3v7",
    shape=mnist.SPEC.shape,
    classes=2,
    splits={"train": 12_396, "test": 2_038},
    class_names=("7", "3"),
    view=View(of="mnist", labels=(7, 3)),
)
