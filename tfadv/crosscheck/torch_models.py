"""A Keras classifier as a PyTorch module with the same logits, so that PyTorch's attacks can be run on its weights.

Peers want images as [B, C, H, W]; so does the module. `images` and `array` turn the axes of what goes in and comes out.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import keras
import numpy as np

from tfadv.crosscheck.peers import require
from tfadv.validation import UserError

# Two libraries add up in another order; of the largest logit, or of 1 where all are smaller.
LOGIT_TOLERANCE = 1e-5


class _Built(NamedTuple):
    """What a layer becomes.

    Attributes:
        modules: PyTorch modules, one after the other.
        shape: of one example behind the layer, as Keras has it: (H, W, C) or (features,).
        order: int [features], the Keras feature that stands at each place of PyTorch's; None where they are the same.
    """

    modules: list[Any]
    shape: tuple[int, ...]
    order: np.ndarray | None = None


class Classifier(NamedTuple):
    """A model as the peers of PyTorch take it.

    Attributes:
        module: as `to_torch` gives it.
        shape: of one of its inputs, as PyTorch has it: (C, H, W) or (features,).
        classes: number of logits.
    """

    module: Any
    shape: tuple[int, ...]
    classes: int


def classifier(model: keras.Model) -> Classifier:
    """`to_torch`, with what some peers ask for beside the module."""
    module = to_torch(model)
    shape = tuple(model.input_shape[1:])
    return Classifier(module, (*shape[-1:], *shape[:-1]), int(model.output_shape[-1]))


def to_torch(model: keras.Model) -> Any:
    """The model as `torch.nn.Sequential` in inference mode, [B, C, H, W] (or [B, features]) -> logits [B, K].

    Its parameters take no gradient, so that an attack pays for the gradient of the images alone.

    Args:
        model: a built Sequential, or a functional model that is one chain; its layers may be such models too.

    Raises:
        UserError: PyTorch is not installed; a layer, or a setting of one, that has no translation here.
        RuntimeError: the logits differ, so that a comparison would not be of the same model.
    """
    layers = chain(model)
    for layer in layers:
        if type(layer) not in _TRANSLATIONS:
            raise _untranslated(layer, f"is a {type(layer).__name__}")
        if layer.compute_dtype != "float32":
            raise _untranslated(layer, f"computes in {layer.compute_dtype}")
    torch = require("torch", "torch")
    built = _Built([], tuple(model.input_shape[1:]))
    for layer in layers:
        after = _TRANSLATIONS[type(layer)](torch.nn, layer, built)
        built = after._replace(modules=built.modules + after.modules)
    if built.order is not None:
        raise UserError(f"model {model.name!r} ends in Flatten; end it in Dense(classes)")
    module = torch.nn.Sequential(*built.modules).eval().requires_grad_(False)
    _check_logits(torch, model, module)
    return module


def images(x: np.ndarray) -> Any:
    """Images [B, H, W, C] as a tensor [B, C, H, W]; other inputs as they are."""
    # A copy: an attack that writes into its images does not write into the caller's.
    return require("torch", "torch").tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1) if x.ndim == 4 else x))


def array(x: Any) -> np.ndarray:
    """What `images` gave, back as an array."""
    values = x.detach().cpu().numpy()
    return np.ascontiguousarray(np.moveaxis(values, 1, -1) if values.ndim == 4 else values).astype(np.float32)


def labels(y: np.ndarray) -> Any:
    """Labels as PyTorch's losses take them, int64."""
    return require("torch", "torch").tensor(np.asarray(y, np.int64))


@contextlib.contextmanager
def starting_at(x: np.ndarray, start: np.ndarray, epsilon: float) -> Iterator[None]:
    """Inside the block an attack of a library of PyTorch that draws its start in the ball begins at `start`.

    What it draws in the shape of the images is `start - x`, whichever distribution it asks for. What it draws in the
    shape of one number for each image is a radius as a share of epsilon, and is the length of that.
    """
    torch = require("torch", "torch")
    delta = images(start) - images(x)
    radius = delta.flatten(1).norm(dim=1) / epsilon

    def given(self: Any, *_: Any, **__: Any) -> Any:
        return delta.clone() if self.shape == delta.shape else radius.reshape(self.shape)

    with mock.patch.object(torch.Tensor, "uniform_", given), mock.patch.object(torch.Tensor, "normal_", given):
        yield


def check_began(library: str, first: np.ndarray, start: np.ndarray) -> None:
    """Refuses a comparison where the first iterate is not where the attack was told to begin.

    Raises:
        RuntimeError: it is not.
    """
    # Up to one rounding of x + (start - x), and one of a factor that is 1.
    if not np.allclose(first, start, rtol=0, atol=1e-6):
        raise RuntimeError(f"{library} did not begin at the given start; no comparison is possible")


def chain(model: keras.Model) -> list[Any]:
    """The layers from input to output, models inside the model taken apart.

    Raises:
        UserError: not built, branches, or more than one input or output.
    """
    try:
        (tensor,) = model.outputs
        (_,) = model.inputs
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"model {getattr(model, 'name', type(model).__name__)!r} must be a Keras model, Sequential or functional, "
            "built, with one input and one output, to be repeated in PyTorch"
        ) from error
    layers: list[Any] = []
    while True:
        operation, node, _ = tensor._keras_history
        if isinstance(operation, keras.layers.InputLayer):
            return layers
        inputs = operation._inbound_nodes[node].input_tensors
        if len(inputs) != 1:
            raise UserError(
                f"model {model.name!r} branches at {operation.name!r}; only a chain of layers is repeated in PyTorch"
            )
        layers = [*(chain(operation) if isinstance(operation, keras.Model) else [operation]), *layers]
        (tensor,) = inputs


def _check_logits(torch: Any, model: keras.Model, module: Any) -> None:
    x = np.random.default_rng(0).random((8, *model.input_shape[1:]), np.float32)
    expected = np.asarray(model(x, training=False))
    with torch.no_grad():
        found = module(images(x)).numpy()
    allowed = LOGIT_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max())
    if not difference <= allowed:
        raise RuntimeError(f"PyTorch gives other logits than Keras for {model.name!r}: they differ by {difference:g}")


def _untranslated(layer: Any, what: str) -> UserError:
    known = sorted(kind.__name__ for kind in _TRANSLATIONS)
    return UserError(f"layer {layer.name!r} {what}, which is not repeated in PyTorch; known layers: {', '.join(known)}")


def _activation(nn: Any, layer: Any) -> list[Any]:
    activations: dict[Any, Callable[[], list[Any]]] = {
        keras.activations.linear: list,
        keras.activations.relu: lambda: [nn.ReLU()],
        keras.activations.leaky_relu: lambda: [nn.LeakyReLU(0.2)],
        keras.activations.elu: lambda: [nn.ELU()],
        keras.activations.gelu: lambda: [nn.GELU()],
        keras.activations.silu: lambda: [nn.SiLU()],
        keras.activations.tanh: lambda: [nn.Tanh()],
        keras.activations.sigmoid: lambda: [nn.Sigmoid()],
        keras.activations.softplus: lambda: [nn.Softplus()],
    }
    if layer.activation not in activations:
        raise _untranslated(layer, f"has the activation {getattr(layer.activation, '__name__', layer.activation)!r}")
    return activations[layer.activation]()


def _tensor(values: Any) -> Any:
    return require("torch", "torch").tensor(np.ascontiguousarray(values, np.float32))


def _filled(module: Any, **values: Any) -> Any:
    """`module` with these parameters and buffers."""
    for name, value in values.items():
        getattr(module, name).data = _tensor(value)
    return module


def _windows(layer: Any, size: tuple[int, ...], strides: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Padding (left, right, top, bottom) of an image, as PyTorch orders it; TensorFlow's "same" may be lopsided."""
    if layer.data_format != "channels_last":
        raise _untranslated(layer, "has data_format 'channels_first'")
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    sides: list[int] = []
    for length, window, stride in zip(shape[:2], size, strides, strict=True):
        # "same" gives ceil(length / stride) windows, and the odd one of the missing pixels comes last.
        missing = max((math.ceil(length / stride) - 1) * stride + window - length, 0)
        sides = [missing // 2, missing - missing // 2, *sides]
    return sides


def _convolution(nn: Any, layer: Any, built: _Built) -> _Built:
    size = tuple((side - 1) * step + 1 for side, step in zip(layer.kernel_size, layer.dilation_rate, strict=True))
    left, right, top, bottom = _windows(layer, size, layer.strides, built.shape)
    even = left == right and top == bottom
    convolution = nn.Conv2d(
        built.shape[-1],
        layer.filters,
        layer.kernel_size,
        layer.strides,
        padding=(top, left) if even else 0,
        dilation=layer.dilation_rate,
        groups=layer.groups,
        bias=layer.use_bias,
    )
    weights = {"weight": np.transpose(layer.kernel, (3, 2, 0, 1)), **({"bias": layer.bias} if layer.use_bias else {})}
    padding = [] if even else [nn.ZeroPad2d((left, right, top, bottom))]
    modules = [*padding, _filled(convolution, **weights), *_activation(nn, layer)]
    return _Built(modules, _shape(layer, built))


def _pooling(nn: Any, layer: Any, built: _Built) -> _Built:
    sides = _windows(layer, layer.pool_size, layer.strides, built.shape)
    padding = [nn.ConstantPad2d(tuple(sides), -math.inf)] if any(sides) else []
    return _Built([*padding, nn.MaxPool2d(layer.pool_size, layer.strides)], _shape(layer, built))


def _global_average(nn: Any, layer: Any, built: _Built) -> _Built:
    if layer.keepdims or layer.data_format != "channels_last":
        raise _untranslated(layer, "has keepdims or data_format 'channels_first'")
    return _Built([nn.AdaptiveAvgPool2d(1), nn.Flatten()], _shape(layer, built))


def _flatten(nn: Any, layer: Any, built: _Built) -> _Built:
    if len(built.shape) == 1:
        return _same(nn, layer, built)
    # Keras reads pixel after pixel, PyTorch channel after channel; the next Dense has its rows in PyTorch's order.
    count = math.prod(built.shape)
    order = np.moveaxis(np.arange(count).reshape(built.shape), -1, 0).ravel()
    return _Built([nn.Flatten()], (count,), None if np.array_equal(order, np.arange(count)) else order)


def _dense(nn: Any, layer: Any, built: _Built) -> _Built:
    if len(built.shape) != 1:
        raise _untranslated(layer, "is applied to images")
    kernel = np.asarray(layer.kernel)
    rows = kernel if built.order is None else kernel[built.order]
    linear = nn.Linear(built.shape[0], layer.units, bias=layer.use_bias)
    weights = {"weight": rows.T, **({"bias": layer.bias} if layer.use_bias else {})}
    return _Built([_filled(linear, **weights), *_activation(nn, layer)], (layer.units,))


def _affine(nn: Any, layer: Any, built: _Built, scale: Any, offset: Any) -> _Built:
    """scale * x + offset for each channel: PyTorch's batch norm of mean 0 and variance 1, in inference mode."""
    channels = built.shape[-1]
    norm = (nn.BatchNorm2d if len(built.shape) == 3 else nn.BatchNorm1d)(channels, eps=0.0)
    weights = [np.broadcast_to(np.asarray(value, np.float32).ravel(), [channels]) for value in (scale, offset)]
    if built.order is not None:
        raise _untranslated(layer, "stands between Flatten and Dense")
    return _Built([_filled(norm, weight=weights[0], bias=weights[1])], built.shape)


def _rescaling(nn: Any, layer: Any, built: _Built) -> _Built:
    return _affine(nn, layer, built, layer.scale, layer.offset)


def _normalization(nn: Any, layer: Any, built: _Built) -> _Built:
    mean, variance = np.asarray(layer.mean, np.float64), np.asarray(layer.variance, np.float64)
    if layer.invert or mean.size not in (1, built.shape[-1]):
        raise _untranslated(layer, "normalizes something else than each channel")
    # As Keras does: a channel without variance is divided by its backend's epsilon.
    scale = 1.0 / np.maximum(np.sqrt(variance), keras.backend.epsilon())
    return _affine(nn, layer, built, scale, -mean * scale)


def _batch_normalization(nn: Any, layer: Any, built: _Built) -> _Built:
    if layer.axis not in (-1, len(built.shape)):
        raise _untranslated(layer, f"has axis={layer.axis}")
    scale = 1.0 / np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)
    scale = scale * (np.asarray(layer.gamma) if layer.scale else 1.0)
    offset = (np.asarray(layer.beta) if layer.center else 0.0) - np.asarray(layer.moving_mean) * scale
    return _affine(nn, layer, built, scale, offset)


def _relu(nn: Any, layer: Any, built: _Built) -> _Built:
    if layer.max_value is not None or layer.threshold:
        raise _untranslated(layer, f"has max_value={layer.max_value}, threshold={layer.threshold}")
    return built._replace(modules=[nn.LeakyReLU(float(layer.negative_slope))])


def _leaky_relu(nn: Any, layer: Any, built: _Built) -> _Built:
    return built._replace(modules=[nn.LeakyReLU(float(layer.negative_slope))])


def _activation_layer(nn: Any, layer: Any, built: _Built) -> _Built:
    return built._replace(modules=_activation(nn, layer))


def _same(nn: Any, layer: Any, built: _Built) -> _Built:
    """A layer that does nothing in inference mode."""
    return built._replace(modules=[])


def _shape(layer: Any, built: _Built) -> tuple[int, ...]:
    return tuple(layer.compute_output_shape((None, *built.shape))[1:])


_TRANSLATIONS: dict[type, Callable[[Any, Any, _Built], _Built]] = {
    keras.layers.Activation: _activation_layer,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Conv2D: _convolution,
    keras.layers.Dense: _dense,
    keras.layers.Dropout: _same,
    keras.layers.Flatten: _flatten,
    keras.layers.GaussianNoise: _same,
    keras.layers.GlobalAveragePooling2D: _global_average,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.MaxPooling2D: _pooling,
    keras.layers.Normalization: _normalization,
    keras.layers.ReLU: _relu,
    keras.layers.Rescaling: _rescaling,
}
