"""Fashion-MNIST, which shares its format and its file names with MNIST but not its files."""

import pytest

from tfadv import data
from tfadv.data.prepare import prepare
from tfadv.validation import UserError


def test_the_files_of_mnist_are_not_taken_for_those_of_fashion_mnist(shared_data, tmp_path):
    with pytest.raises(UserError, match=r"'fashion_mnist': train-images-idx3-ubyte\.gz .* got 440fcabf73cc546f"):
        prepare("fashion_mnist", shared_data / "mnist", tmp_path, print)
    assert list(tmp_path.iterdir()) == []


def test_class_names_follow_the_labels_of_its_authors():
    """Label 0 is a T-shirt/top, label 9 an ankle boot; the whole list is compared with TFDS in test_spec.py."""
    names = data.DATASETS["fashion_mnist"].class_names
    assert (names[0], names[9]) == ("T-shirt/top", "Ankle boot")
