"""Preparing from archives: whole or not at all, and every wrong file named with both hashes."""

import hashlib
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfadv import data
from tfadv.data import prepare as room
from tfadv.data import through_tfds
from tfadv.data.prepare import prepare
from tfadv.validation import UserError

FILES = data.DATASETS["mnist"].archives


def silent(line):
    """Swallows progress."""


@pytest.fixture
def registered(tmp_path):
    """File name -> (sha256, size) that TFDS registers for MNIST."""
    infos = tfds.builder("mnist", data_dir=tmp_path / "unused").url_infos.values()
    return {info.filename: (info.checksum, int(info.size)) for info in infos}


@pytest.fixture
def archives(tmp_path):
    """Four files of the right names and the wrong content."""
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


def test_archives_of_the_original_format_are_prepared_and_read(small, tmp_path):
    (name, source), lines = small, []
    before = {path.name: path.stat().st_mtime_ns for path in source.iterdir()}
    result = prepare(name, source, tmp_path / "tfds", lines.append)
    assert result == room.Prepared(tmp_path / "tfds" / name / "3.0.1", already=False)
    assert [line.split(":")[0] for line in lines[:4]] == [f"verified {file}" for file in data.DATASETS[name].archives]
    assert [path.name for path in (tmp_path / "tfds").iterdir()] == [name]
    assert {path.name: path.stat().st_mtime_ns for path in source.iterdir()} == before

    x, y = data.arrays(name, "test", tmp_path / "tfds")
    assert np.bincount(y).tolist() == [4] * 10
    brightness = ((20 * y + 5) / 255).astype(np.float32)
    np.testing.assert_allclose(x, np.broadcast_to(brightness[:, None, None, None], (40, 28, 28, 1)), rtol=1e-6)

    assert prepare(name, source, tmp_path / "tfds", silent).already


def test_every_wrong_file_is_named_with_both_hashes_and_nothing_is_written(archives, registered, tmp_path):
    with pytest.raises(UserError) as caught:
        prepare("mnist", archives, tmp_path / "tfds", silent)
    for name in FILES:
        got = hashlib.sha256(name.encode()).hexdigest()
        assert f"{name} is truncated at {len(name)} of {registered[name][1]} bytes" in str(caught.value)
        assert f"(expected sha256 {registered[name][0]}, got {got})" in str(caught.value)
    assert not (tmp_path / "tfds").exists()


def test_a_file_of_full_length_with_other_content_is_not_called_truncated(archives, registered, tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    (archives / name).write_bytes(bytes(registered[name][1]))
    with pytest.raises(UserError, match=rf"{name} is not the original file \(expected sha256 {registered[name][0]}"):
        prepare("mnist", archives, tmp_path / "tfds", silent)


def test_a_missing_file_is_named_with_the_hash_to_look_for(archives, registered, tmp_path):
    name = FILES[0]
    (archives / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing \(expected sha256 {registered[name][0]}, got no file\)"):
        prepare("mnist", archives, tmp_path / "tfds", silent)


def test_archives_that_are_not_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match=f"archives must be a folder that holds {FILES[0]}.* got {tmp_path}/nowhere"):
        prepare("mnist", tmp_path / "nowhere", tmp_path / "tfds", silent)
    assert not (tmp_path / "tfds").exists()


def test_an_embedded_data_set_needs_no_preparation(tmp_path):
    with pytest.raises(UserError, match="'digits' ships inside an installed package"):
        prepare("digits", tmp_path, tmp_path, silent)


def test_a_view_of_another_data_set_is_prepared_as_that(tmp_path):
    with pytest.raises(UserError, match="'mnist_3v7' consists of classes of 'mnist'; prepare that"):
        prepare("mnist_3v7", tmp_path, tmp_path, silent)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "tiny_imagenet"])
def test_wrong_archives_of_every_data_set_are_refused_with_both_hashes(name, tmp_path):
    spec = data.DATASETS[name]
    source = tmp_path / "archives"
    source.mkdir()
    for file in spec.archives:
        (source / file).write_bytes(file.encode())
    expected = {
        info.filename: info.checksum for info in through_tfds.builder(spec, tmp_path / "unused").url_infos.values()
    }
    with pytest.raises(UserError) as caught:
        prepare(name, source, tmp_path / "tfds", silent)
    for file in spec.archives:
        got = hashlib.sha256(file.encode()).hexdigest()
        assert f"{file} is truncated at {len(file)} of " in str(caught.value)
        assert f"(expected sha256 {expected[file]}, got {got})" in str(caught.value)
    assert not (tmp_path / "tfds").exists()


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"name must be a data set, one of \[.*\], got 'mnits'"):
        prepare("mnits", tmp_path, tmp_path, silent)


def test_a_prepared_data_set_is_left_alone_and_needs_no_archives(shared_data, tmp_path):
    result = prepare("cifar10", tmp_path / "nowhere", shared_data / "tfds", silent)
    assert result == room.Prepared(shared_data / "tfds" / "cifar10" / "3.0.2", already=True)


@pytest.fixture
def verified(monkeypatch):
    """Lets any archives pass, for the tests of what follows the comparison."""
    monkeypatch.setattr(room, "verify", lambda *_: None)


def test_a_failure_while_preparing_leaves_the_folder_as_it_was(archives, tmp_path, verified, monkeypatch):
    """TFDS refuses the files a second time, by its own comparison."""
    with pytest.raises(tfds.download.download_manager.NonMatchingChecksumError):
        prepare("mnist", archives, tmp_path / "new" / "tfds", silent)
    assert not (tmp_path / "new").exists()

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.txt").write_text("keep")
    with pytest.raises(tfds.download.download_manager.NonMatchingChecksumError):
        prepare("mnist", archives, tmp_path / "old", silent)
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["mine.txt"]


def test_the_remains_of_a_killed_run_are_cleared_and_the_archives_are_only_linked(
    archives, tmp_path, verified, monkeypatch
):
    remains = tmp_path / "tfds" / ".preparing-mnist"
    (remains / "prepared" / "mnist").mkdir(parents=True)
    (remains / "half").write_text("half")
    seen = {}

    def build(spec, source, work):
        seen["entries"] = list(work.iterdir())
        done = work / "prepared" / spec.name / "3.0.1"
        done.mkdir(parents=True)
        (done / "dataset_info.json").write_text("{}")
        return done

    monkeypatch.setattr(room, "_build", build)
    result = prepare("mnist", archives, tmp_path / "tfds", silent)
    assert seen["entries"] == []
    assert result == room.Prepared(tmp_path / "tfds" / "mnist" / "3.0.1", already=False)
    assert [path.name for path in (tmp_path / "tfds").iterdir()] == ["mnist"]
    assert sorted(path.name for path in archives.iterdir()) == sorted(FILES)


def test_a_second_process_is_told_to_wait(archives, tmp_path, verified):
    root = tmp_path / "tfds"
    with room._workspace(root, "mnist") as work:
        (work / "theirs").write_text("theirs")
        with pytest.raises(UserError, match=rf"'mnist' in {root} is in use by process {os.getpid()} .*; wait until"):
            prepare("mnist", archives, root, silent)
        assert (work / "theirs").exists()
    assert not root.exists()


def test_a_folder_in_the_way_is_reported_and_kept(archives, tmp_path, verified):
    blocking = tmp_path / "tfds" / "mnist" / "3.0.1"
    blocking.mkdir(parents=True)
    (blocking / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match=r"3\.0\.1 exists but holds no prepared data set"):
        prepare("mnist", archives, tmp_path / "tfds", silent)
    assert (blocking / "notes.txt").exists()


def test_a_data_dir_that_cannot_be_written_is_reported(archives, tmp_path, verified):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write to .*/file: .*; name a folder that you may"):
        prepare("mnist", archives, tmp_path / "file", silent)
