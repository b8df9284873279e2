"""Writing files: whole or not at all, JSON without NaN, one clear error where nothing can be written."""

import errno
import json
import os
import queue
import re
import shutil
import socket
import sys
import threading

import pytest

from tfadv import files
from tfadv.files import replacing, write_json, write_text
from tfadv.validation import UserError


def test_text_and_json_come_back_as_they_went_in(tmp_path):
    write_text(tmp_path / "a.txt", "ε = 8/255\n")
    write_json(tmp_path / "b.json", {"accuracy": [0.25, None], "ok": True})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "ε = 8/255\n"
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == {"accuracy": [0.25, None], "ok": True}


def test_missing_folders_are_made_and_a_string_is_a_path(tmp_path):
    write_text(str(tmp_path / "new" / "deep" / "a.txt"), "x")
    assert (tmp_path / "new" / "deep" / "a.txt").read_text() == "x"


def test_the_temporary_file_stands_beside_the_target_with_its_suffix(tmp_path):
    """A rename is atomic only inside one file system; writers such as Keras choose the format by the suffix."""
    with replacing(tmp_path / "model.keras") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        assert temporary != tmp_path / "model.keras"
        temporary.write_bytes(b"weights")
    assert (tmp_path / "model.keras").read_bytes() == b"weights"
    assert sorted(os.listdir(tmp_path)) == ["model.keras"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_json_has_no_word_for_and_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "a.json"
    write_json(path, [1])
    with pytest.raises(ValueError):
        write_json(path, {"accuracy": value})
    assert json.loads(path.read_text()) == [1]
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_path_below_a_regular_file_is_a_user_error_that_names_it(tmp_path):
    """Also root cannot write there, so the test means the same for everybody."""
    (tmp_path / "file").write_text("I am no folder")
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(UserError) as caught:
        write_text(path, "x")
    assert str(path) in str(caught.value)
    assert "name a folder that you may write to" in str(caught.value)


def test_a_target_that_is_a_folder_is_a_user_error_and_leaves_no_temporary(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*taken"):
        write_text(tmp_path / "taken", "x")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_full_disk_is_a_user_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UserError, match="No space left on device; free space"), replacing(path):
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "other").write_text("")
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_held_folder_names_its_holder_to_everybody_else(tmp_path, monkeypatch):
    """So in this process too; afterwards the folder is free, and gone if it was new."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "program", "--workdir=my run"])
    with (
        files.holding(tmp_path / "run"),
        pytest.raises(files.InUse) as caught,
        files.holding(tmp_path / "run"),
    ):
        pass
    command = re.escape("(python -m program '--workdir=my run')")
    holder = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since [-\d]+ [:\d]+ {command}"
    remedy = "wait until it has ended, or name another folder"
    assert re.fullmatch(rf"{re.escape(str(tmp_path / 'run'))} is in use by {holder}; {remedy}", str(caught.value))
    with files.holding(tmp_path / "run"):
        assert os.listdir(tmp_path / "run") == [".lock"]
    assert os.listdir(tmp_path) == []


def test_a_held_folder_keeps_what_was_written_into_it(tmp_path):
    with files.holding(tmp_path / "new/run"):
        write_text(tmp_path / "new/run/result", "x")
    assert os.listdir(tmp_path / "new/run") == ["result"]


def test_a_lock_whose_holder_died_does_not_keep_anybody_out(tmp_path):
    (tmp_path / ".lock").write_text("process 1 on another-machine since yesterday (forgotten)")
    with files.holding(tmp_path):
        assert "forgotten" not in (tmp_path / ".lock").read_text()


def test_whoever_waits_is_told_for_whom_and_comes_next(tmp_path):
    """The holder removes the folder, as finished work does: the waiting one holds it anew, and not the old file."""
    told, events, begun = queue.Queue(), [], threading.Event()

    def wait():
        begun.wait()
        with files.holding(tmp_path / "run", waiting=told.put):
            events.append("second")
            with pytest.raises(files.InUse), files.holding(tmp_path / "run"):
                pass

    thread = threading.Thread(target=wait)
    thread.start()
    with files.holding(tmp_path / "run"):
        begun.set()
        assert f"process {os.getpid()} " in told.get(timeout=60)
        events.append("first")
        shutil.rmtree(tmp_path / "run")
    thread.join(timeout=60)
    assert events == ["first", "second"]


def test_a_disk_without_locks_is_a_user_error(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", flock)
    remedy = r"No locks available; name a folder that you may write to, on a disk that knows locks"
    with pytest.raises(UserError, match=remedy) as caught, files.holding(tmp_path):
        pass
    assert not isinstance(caught.value, files.InUse)


def test_a_folder_that_cannot_be_made_cannot_be_held(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(UserError, match="name a folder that you may write to"), files.holding(tmp_path / "file/run"):
        pass


def test_a_seal_holds_until_something_is_changed():
    value = {"b": [1, 2.5, None], "a": {"z": "text", "y": True}}
    sealed = json.loads(json.dumps(files.sealed(value)))
    assert {**value, "sha256": sealed["sha256"]} == sealed
    assert files.is_whole(sealed)
    assert files.is_whole(dict(reversed(sealed.items())))
    assert files.is_whole(value)
    assert not files.is_whole({**sealed, "b": [1, 2.5000001, None]})
    assert not files.is_whole({**sealed, "c": 0})
