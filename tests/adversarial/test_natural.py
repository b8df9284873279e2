"""Natural training in the form of the other methods: what `fit` does with the classifier itself."""

import keras
import numpy as np

from tfadv.adversarial import NaturalTraining
from tfadv.losses import LabelSmoothing


def test_it_trains_the_weights_that_fit_trains_on_the_classifier(net, compiled, images, labels, tmp_path):
    """With weighted examples, batch normalization and a penalty; and the file holds the same classifier."""
    norms = [keras.layers.BatchNormalization() for _ in range(2)]
    classifiers = [net(extra=[norm]) for norm in norms]
    for classifier in classifiers:
        classifier.layers[-1].kernel.regularizer = keras.regularizers.L2(0.1)
    wrapped = NaturalTraining(classifiers[0])
    weights = np.linspace(0, 2, 10).astype(np.float32)
    histories = [
        compiled(model, loss=LabelSmoothing(0.1), rate=0.3)
        .fit(images, labels, sample_weight=weights, batch_size=5, epochs=2, shuffle=False, verbose=0)
        .history
        for model in (wrapped, classifiers[1])
    ]
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=1e-5)
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, two, three in zip(*(each.get_weights() for each in (*classifiers, loaded.classifier)), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
        np.testing.assert_array_equal(three, one)
