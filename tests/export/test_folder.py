"""A folder is replaced whole or not at all, and nothing that is not an export is ever touched."""

from pathlib import Path

import pytest

from tfadv.export.folder import replacing_folder
from tfadv.validation import UserError


def write(folder, text, mark="mark.json"):
    with replacing_folder(folder, mark, "an export") as temporary:
        (temporary / mark).write_text(text)
        (temporary / text).mkdir()


def content(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_new_folder_replaces_an_old_one_and_leaves_nothing_else(tmp_path):
    write(tmp_path / "model", "old")
    write(tmp_path / "model", "new")
    assert content(tmp_path) == {"model", "model/mark.json", "model/new"}
    assert (tmp_path / "model" / "mark.json").read_text() == "new"


def test_what_fails_leaves_the_old_one_whole(tmp_path):
    write(tmp_path / "model", "old")
    before = content(tmp_path)

    def half():
        with replacing_folder(tmp_path / "model", "mark.json", "an export") as temporary:
            (temporary / "half").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*No space left on device; name a folder"):
        half()
    assert content(tmp_path) == before


def test_the_old_one_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "model", "old")
    before, rename = content(tmp_path), Path.rename

    def refuse(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="Input/output error"):
        write(tmp_path / "model", "new")
    assert content(tmp_path) == before


def test_a_folder_of_something_else_and_a_file_are_refused_and_kept(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    write(tmp_path / "other", "other", mark="other.json")
    before = content(tmp_path)
    for name, kind in (("thesis", "a folder with other content"), ("file", "a file"), ("other", "a folder")):
        with pytest.raises(UserError, match=f"{name}' is {kind}.*, not an export, and is left as it is"):
            write(tmp_path / name, "new")
    assert content(tmp_path) == before


def test_an_empty_folder_and_missing_parents_are_fine_and_permissions_are_those_of_new_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        write(folder, "new")
        assert content(folder) == {"mark.json", "new"}
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode
