"""A folder of measurements and the README made from it."""

import json

import pytest

from tfadv.crosscheck import record
from tfadv.validation import UserError


def test_the_readme_holds_all_measurements_of_the_folder_by_file_name(tmp_path):
    record.publish(tmp_path / "b.json", "Speed", "| a |", {"seconds": 3})
    readme = record.publish(tmp_path / "a.json", "Strength", "as strong", {})
    text = readme.read_text(encoding="utf-8")
    assert readme == tmp_path / "README.md"
    assert text.index("## Strength\n\nas strong") < text.index("## Speed\n\n| a |")
    assert "[b.json](b.json)" in text
    assert json.loads((tmp_path / "b.json").read_text())["seconds"] == 3


def test_a_measurement_made_again_replaces_the_first(tmp_path):
    for text in ("first", "second"):
        readme = record.publish(tmp_path / "a.json", "Strength", text, {})
    assert "first" not in readme.read_text(encoding="utf-8")


def test_refused(tmp_path):
    with pytest.raises(UserError, match=r"output must end in \.json, got .*a\.txt"):
        record.publish(tmp_path / "a.txt", "", "", {})
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(UserError, match=r"other\.json' is no measurement of these programs"):
        record.publish(tmp_path / "a.json", "A", "a", {})


def test_a_folder_may_have_an_introduction_of_its_own(tmp_path):
    readme = record.publish(tmp_path / "a.json", "Cost", "a step", {}, introduction="# Training\n")
    assert readme.read_text(encoding="utf-8").startswith("# Training\n\n## Cost\n\na step\n")
    assert record.publish(tmp_path / "a.json", "Cost", "", {}).read_text().startswith("# Attacks, measured\n")


def test_an_output_is_refused_before_anything_is_measured(tmp_path):
    assert record.check_output(tmp_path / "new" / "a.json") == tmp_path / "new" / "a.json"
    with pytest.raises(UserError, match=r"output must end in \.json, got .*a\.txt"):
        record.check_output(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
