"""What the index says of a data set agrees with what TensorFlow Datasets says."""

import pytest

from tfadv import data
from tfadv.data import through_tfds

THROUGH_TFDS = sorted(name for name, spec in data.DATASETS.items() if not spec.embedded and not spec.view)


@pytest.mark.parametrize("name", THROUGH_TFDS)
def test_shape_classes_and_archives_are_those_of_tfds(name, tmp_path):
    spec = data.DATASETS[name]
    builder = through_tfds.builder(spec, tmp_path)
    assert builder.info.features["image"].shape == spec.shape
    assert builder.info.features["label"].num_classes == spec.classes
    if not name.startswith("cifar"):  # TFDS reads these names from the archives: test_cifar10.py, test_cifar100.py
        assert tuple(builder.info.features["label"].names) == spec.class_names
    registered = {info.filename for info in builder.url_infos.values()}
    assert registered == (set() if name == "tiny_imagenet_subset" else set(spec.archives))


@pytest.mark.parametrize("name", sorted(data.DATASETS))
def test_every_data_set_is_indexed_by_its_name_and_names_its_classes(name):
    spec = data.DATASETS[name]
    assert spec.name == name
    assert len(set(spec.class_names)) == len(spec.class_names) == spec.classes
    assert set(spec.splits) == (set() if name == "tiny_imagenet_subset" else {"train", "test"})


@pytest.mark.parametrize("name", sorted(data.DATASETS))
def test_a_data_set_has_exactly_one_source(name):
    spec = data.DATASETS[name]
    assert sum([spec.embedded is not None, spec.view is not None, bool(spec.archives)]) == 1


def test_a_view_names_a_data_set_and_as_many_of_its_classes_as_it_has():
    views = [spec for spec in data.DATASETS.values() if spec.view]
    assert views
    for spec in views:
        base = data.DATASETS[spec.view.of]
        assert tuple(base.class_names[label] for label in spec.view.labels) == spec.class_names
        assert spec.shape == base.shape


def test_the_index_holds_the_data_sets_of_the_papers():
    images = ["mnist", "mnist_3v7", "fashion_mnist", "cifar10", "cifar100", "svhn"]
    assert list(data.DATASETS) == ["digits", "moons", *images, "tiny_imagenet", "tiny_imagenet_subset"]
