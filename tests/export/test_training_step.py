"""The exported training step: its description and its refusals; tests/crosscheck trains with it."""

import json

import keras
import numpy as np
import pytest

from tfadv import export
from tfadv.validation import UserError


def compiled(*layers):
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), *layers, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model


def test_the_step_updates_what_training_changes_and_reads_the_rest(tmp_path):
    model = compiled(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    before = [np.array(variable) for variable in model.variables]
    folder = export.export_training_step(model, tmp_path / "step", batch_size=4)
    programs = json.loads((folder / "program.json").read_text())["programs"]
    step = programs["training_step"]
    assert [(each["name"], each["shape"]) for each in step["inputs"]] == [("images", [4, 2, 2, 1]), ("labels", [4])]
    assert [each["name"] for each in step["outputs"]] == ["accuracy", "loss"]
    # Keras numbers the optimizers of a process.
    assert set(step["weights"]) - set(step["updates"]) == {model.optimizer.learning_rate.path}
    assert {variable.path for variable in model.variables} <= set(step["updates"])
    assert model.optimizer.iterations.path in step["updates"]
    assert set(programs["classifier"]["weights"]) <= set(step["weights"])
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_model_that_is_not_compiled_is_refused(linear_model, tmp_path):
    with pytest.raises(UserError, match="compiled with an optimizer and a loss; call compile"):
        export.export_training_step(linear_model, tmp_path / "step", batch_size=4)
    linear_model.compile("sgd")
    with pytest.raises(UserError, match="compiled with an optimizer and a loss; call compile"):
        export.export_training_step(linear_model, tmp_path / "step", batch_size=4)
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        export.export_training_step(compiled(), tmp_path / "step", batch_size=0)
    assert list(tmp_path.iterdir()) == []
