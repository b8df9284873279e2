"""What the index says of a data set agrees with what TensorFlow Datasets says."""

import pytest
import tensorflow_datasets as tfds

from tfadv import data

DOWNLOADED = sorted(name for name, spec in data.DATASETS.items() if spec.embedded is None)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_shape_classes_and_archives_are_those_of_tfds(name, tmp_path):
    builder, spec = tfds.builder(name, data_dir=tmp_path), data.DATASETS[name]
    assert builder.info.features["image"].shape == spec.shape
    assert builder.info.features["label"].num_classes == spec.classes
    if name != "cifar10":  # TFDS reads these names from the archive: tests/data/test_cifar10.py
        assert tuple(builder.info.features["label"].names) == spec.class_names
    assert {info.filename for info in builder.url_infos.values()} == set(spec.archives)


@pytest.mark.parametrize("name", sorted(data.DATASETS))
def test_every_data_set_is_indexed_by_its_name_and_names_its_classes(name):
    spec = data.DATASETS[name]
    assert spec.name == name
    assert len(set(spec.class_names)) == spec.classes
    assert set(spec.splits) == {"train", "test"}


def test_the_index_holds_the_four_data_sets_of_the_library():
    assert list(data.DATASETS) == ["digits", "mnist", "fashion_mnist", "cifar10"]
