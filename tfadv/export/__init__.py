"""Exports: a classifier, and what attacks or trains it, where tfadv is not installed; one format per file.

    export_classifier, export_attack          a SavedModel, for TensorFlow and TensorFlow Serving
    export_stablehlo, export_training_step    StableHLO and its weights, for XLA (tfadv.crosscheck.stablehlo)
    export_onnx                               an ONNX file, for ONNX Runtime
    export_tflite                             a TensorFlow Lite file in int8; `TfliteClassifier` runs it here

`robust_accuracy_by_transfer` measures anew what a quantized classifier withstands.
"""

from __future__ import annotations

from tfadv.export.onnx import export_onnx as export_onnx
from tfadv.export.quantized import robust_accuracy_by_transfer as robust_accuracy_by_transfer
from tfadv.export.saved_model import export_attack as export_attack
from tfadv.export.saved_model import export_classifier as export_classifier
from tfadv.export.stablehlo import export_stablehlo as export_stablehlo
from tfadv.export.tflite import TfliteClassifier as TfliteClassifier
from tfadv.export.tflite import export_tflite as export_tflite
from tfadv.export.training_step import export_training_step as export_training_step
