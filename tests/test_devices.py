"""Devices: what "auto" resolves to on each kind of machine, a bfloat16 block that leaves no trace, and who writes."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfadv import devices

CLUSTER = {"worker": ["a:1", "b:1"]}
OPTION = "auto_mixed_precision_onednn_bfloat16"
RNG = np.random.default_rng(0)
LEFT, RIGHT = (tf.constant(RNG.normal(size=(64, 64)), tf.float32) for _ in range(2))


@pytest.fixture
def machine(monkeypatch):
    """Makes the machine look like another: machine(accelerator=..., cpu_flags=...)."""

    def become(*, accelerator=(), cpu_flags=None):
        def read_text(path, encoding):
            assert str(path) == "/proc/cpuinfo"
            if cpu_flags is None:
                raise FileNotFoundError(path)
            return f"processor : 0\nflags : fpu {cpu_flags} sse\n"

        monkeypatch.setattr(pathlib.Path, "read_text", read_text)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["it"] if kind in accelerator else [])
        devices.has_accelerator.cache_clear()
        devices.cpu_has_bfloat16.cache_clear()

    yield become
    monkeypatch.undo()
    devices.has_accelerator.cache_clear()
    devices.cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(("accelerator", "expected"), [((), False), (("GPU",), True), (("TPU",), True)])
def test_auto_compiles_by_xla_on_an_accelerator_only(machine, accelerator, expected):
    machine(accelerator=accelerator)
    assert devices.has_accelerator() is expected
    assert [devices.wants_xla(mode) for mode in ("auto", "on", "off")] == [expected, True, False]


@pytest.mark.parametrize(
    ("cpu_flags", "expected"),
    [
        ("avx512_bf16", True),
        ("amx_bf16 amx_int8", True),
        ("avx512f avx2", False),
        ("avx512_bf16_like", False),
        (None, False),
    ],
)
def test_auto_searches_in_bfloat16_where_the_cpu_multiplies_it_natively(machine, cpu_flags, expected):
    """None: a system without /proc/cpuinfo, where nothing is known."""
    machine(cpu_flags=cpu_flags)
    assert devices.cpu_has_bfloat16() is expected
    assert [devices.wants_bfloat16(mode) for mode in ("auto", "bfloat16", "float32")] == [expected, True, False]


def test_auto_never_searches_in_bfloat16_beside_an_accelerator(machine):
    """The option concerns oneDNN on the CPU; what runs on a GPU would only pay for the bookkeeping."""
    machine(accelerator=("GPU",), cpu_flags="amx_bf16")
    assert devices.wants_bfloat16("auto") is False


def test_unknown_modes_are_refused_and_the_known_ones_named():
    with pytest.raises(ValueError, match=r"jit must be one of \['auto', 'on', 'off'\], got 'xla'"):
        devices.wants_xla("xla")
    with pytest.raises(ValueError, match=r"precision must be one of \['auto', 'float32', 'bfloat16'\], got 'float16'"):
        devices.wants_bfloat16("float16")


def option():
    return bool(tf.config.optimizer.get_experimental_options().get(OPTION, False))


def test_the_block_sets_the_option_and_the_end_restores_it_also_after_an_error_and_nested():
    assert not option()
    with devices.matrix_products(bfloat16=True):
        assert option()
        with devices.matrix_products(bfloat16=False):
            assert not option()
        assert option()
    assert not option()
    with pytest.raises(RuntimeError), devices.matrix_products(bfloat16=True):
        raise RuntimeError
    assert not option()


def test_the_block_leaves_the_users_other_options_as_they_are():
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"constant_folding": True, OPTION: True})
    try:
        with devices.matrix_products(bfloat16=False):
            assert tf.config.optimizer.get_experimental_options()["constant_folding"] is True
            assert not option()
        assert tf.config.optimizer.get_experimental_options()["constant_folding"] is True
        assert option()
    finally:
        tf.config.optimizer.set_experimental_options({"constant_folding": before.get("constant_folding", True)})
        tf.config.optimizer.set_experimental_options({OPTION: False})


def test_one_function_multiplies_in_both_precisions_and_float32_keeps_its_bits():
    """bfloat16 has 8 bits of mantissa: each factor is off by up to 2^-9, a product by 2^-8 = 0.4%.

    The bound holds on every machine; that the numbers differ at all is asked of CPUs that report the instructions.
    """

    @tf.function
    def product(a, b):
        return tf.nn.relu(tf.matmul(a, b))

    expected = product(LEFT, RIGHT).numpy()
    with devices.matrix_products(bfloat16=True):
        rough = product(LEFT, RIGHT).numpy()
    with devices.matrix_products(bfloat16=False):
        np.testing.assert_array_equal(product(LEFT, RIGHT), expected)
    np.testing.assert_array_equal(product(LEFT, RIGHT), expected)
    bound = 2**-7 * (np.abs(LEFT) @ np.abs(RIGHT))
    assert (np.abs(rough - expected) <= bound).all()
    if devices.cpu_has_bfloat16() and not devices.has_accelerator():
        assert np.abs(rough - expected).max() > 1e-3
    assert product.experimental_get_tracing_count() == 1


# Who writes.


def process(jobs, kind, index):
    """A strategy as far as `is_chief` looks at it: a process of a cluster with these jobs."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(tf.train.ClusterSpec(jobs), "", kind, index)
    return SimpleNamespace(cluster_resolver=resolver)


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "chief"),
    [
        (CLUSTER, "worker", 0, True),
        (CLUSTER, "worker", 1, False),
        ({"chief": ["c:1"], **CLUSTER}, "chief", 0, True),
        ({"chief": ["c:1"], **CLUSTER}, "worker", 0, False),
        ({"chief": ["c:1"], **CLUSTER}, "worker", 1, False),
    ],
)
def test_exactly_one_process_of_a_cluster_writes(jobs, kind, index, chief):
    assert devices.is_chief(process(jobs, kind, index)) is chief


def test_a_process_alone_writes():
    assert devices.is_chief(tf.distribute.get_strategy())
    assert devices.is_chief(process({}, "", 0))
