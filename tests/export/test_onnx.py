"""ONNX files: the logits of the live model in ONNX Runtime, where it and the converter are installed."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from tfadv import export
from tfadv.models import load
from tfadv.validation import UserError


@pytest.fixture
def converter():
    return pytest.importorskip("tf2onnx", reason="tf2onnx is optional")


@pytest.fixture
def session(converter):
    """Opens a file in ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is optional")
    return lambda path: runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("saved", [False, True], ids=["keras", "saved model"])
def test_onnx_runtime_gives_the_answers_of_the_live_model(session, trained, digits, tmp_path, saved):
    x = digits[0]
    model = load(export.export_classifier(trained, tmp_path / "saved")) if saved else trained
    opened = session(export.export_onnx(model, tmp_path / "model.onnx"))
    assert [(each.name, each.type, each.shape[1:]) for each in opened.get_inputs()] == [
        ("images", "tensor(float)", [28, 28, 1])
    ]
    assert {each.name for each in opened.get_outputs()} == {"class", "logits", "probabilities"}
    for count in (1, len(x)):
        classes, logits, probabilities = opened.run(["class", "logits", "probabilities"], {"images": x[:count]})
        expected = trained(x[:count])
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_allclose(probabilities, tf.nn.softmax(expected), atol=1e-5)
        np.testing.assert_array_equal(classes, np.argmax(expected, axis=1))


def test_a_file_is_replaced_and_nothing_else_is_left(session, linear_model, tmp_path):
    (tmp_path / "model.onnx").write_text("old")
    path = export.export_onnx(linear_model, tmp_path / "model.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert session(path).get_inputs()[0].name == "images"


def numpy_inside(x):
    return tf.ensure_shape(tf.numpy_function(lambda a: a.reshape(len(a), 4), [x], tf.float32), [None, 4])


def test_an_operation_that_onnx_lacks_is_named_and_nothing_is_written(converter, tmp_path):
    with pytest.raises(UserError, match=r"an operation that ONNX lacks \(.*PyFunc.*\); export a SavedModel"):
        export.export_onnx(numpy_inside, tmp_path / "model.onnx", image_shape=(2, 2, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_converter_is_named_with_the_extra_that_brings_it(linear_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'needs the package tf2onnx .*; pip install "tfadv\[onnx\]"'):
        export.export_onnx(linear_model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
