"""The program as a user runs it: sections that are measured, kept and measured again, and what bad flags say."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_a_run_shows_and_writes_what_it_finds_and_goes_on_by_section(run_program, tmp_path):
    output = tmp_path / "out" / "training.json"
    flags = ["--model=linear", "--dataset=digits", "--repeats=1", f"--output={output}"]
    other = tmp_path / "other.json"
    other.write_text("[1]")
    bad = {
        "error: only must be among losses, ": [*flags, "--only=speed"],
        "error: output must end in .json": [*flags, f"--output={tmp_path / 'out.txt'}"],
        "error: output ": [*flags, f"--output={other}"],
        "unexpected arguments: ['surplus']": [*flags, "surplus"],
    }
    first, second, *ends = run_program(
        "trainers.training_cost",
        [*flags, "--steps=2", "--only=precision"],
        [*flags, "--steps=3", "--only=loop"],
        *bad.values(),
    )
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert "precision:\n  mixed_bfloat16  float32  " in first.out
    assert "Clean accuracy after 4 steps of both on 500 test images" in first.out
    assert "loop:\n  tfadv's loop  model.fit of Keras  " in second.out
    sections = json.loads(output.read_text())["sections"]
    assert {name: each["settings"]["steps"] for name, each in sections.items()} == {"precision": 2, "loop": 3}
    readme = (output.parent / "README.md").read_text()
    assert readme.index("### precision") < readme.index("### loop")
    for message, end in zip(bad, ends, strict=True):
        assert (end.status, message in end.err, "Traceback" in end.err) == (1, True, False), end.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "out"]
