"""What the machine at hand can do: whether XLA pays, whether its CPU multiplies bfloat16; which process writes."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from tfadv.validation import UserError

JIT_MODES = ("auto", "on", "off")
PRECISIONS = ("auto", "float32", "bfloat16")
_BFLOAT16_SEARCH = "auto_mixed_precision_onednn_bfloat16"


@functools.cache
def has_accelerator() -> bool:
    """True where TensorFlow sees a GPU or a TPU."""
    return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))


def wants_xla(jit: str) -> bool:
    """Resolves jit="auto": XLA on a GPU or TPU; on a CPU a graph, because oneDNN's kernels are several times faster.

    Measured on two cores with the Madry MNIST net: 720-840 image-steps/s under XLA:CPU against 2,800-3,300.

    Raises:
        UserError: `jit` is not one of `JIT_MODES`.
    """
    if jit not in JIT_MODES:
        raise UserError(f"jit must be one of {list(JIT_MODES)}, got {jit!r}")
    return has_accelerator() if jit == "auto" else jit == "on"


@functools.cache
def cpu_has_bfloat16() -> bool:
    """True where the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX-BF16), as Linux reports it."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def wants_bfloat16(precision: str) -> bool:
    """Resolves precision="auto": bfloat16 gradients where a CPU without accelerator multiplies them natively.

    Raises:
        UserError: `precision` is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {list(PRECISIONS)}, got {precision!r}")
    return cpu_has_bfloat16() and not has_accelerator() if precision == "auto" else precision == "bfloat16"


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes the run's files; true wherever there is only one process."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    kinds = resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or ("chief" not in kinds and resolver.task_id == 0)


@contextlib.contextmanager
def matrix_products(bfloat16: bool) -> Iterator[None]:
    """Inside the block graphs on the CPU multiply in bfloat16 through oneDNN (True) or as they were written (False).

    The option is read at each call of a `tf.function`, so one and the same function runs in both; nothing outside the
    block changes, and the model's layers and policies are not touched.
    """
    before = bool(tf.config.optimizer.get_experimental_options().get(_BFLOAT16_SEARCH, False))
    tf.config.optimizer.set_experimental_options({_BFLOAT16_SEARCH: bfloat16})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_BFLOAT16_SEARCH: before})
