"""The program as a user runs it: one member of a family in seconds, published, and what it refuses."""

import json

import pytest

pytestmark = pytest.mark.slow

FAMILY = "--family=quickstart_digits"


def test_a_member_is_trained_measured_published_and_not_done_again(run_program, tmp_path):
    output, record = tmp_path / "out", tmp_path / "results"
    small = [FAMILY, "--members=natural", "--steps=5", "--limit=20", "--standard_limit=0", f"--output={output}"]
    first, again, published = run_program("trainers.survey", small, small, [*small, f"--publish={record}"])
    assert first.status == 0, first.err
    lines = [line.partition(" of 20 images")[0].rpartition(" ")[0] for line in first.out.splitlines()]
    assert lines[0] == "natural: training to 5"
    assert lines[2:-1] == [f"natural: {name}" for name in ("clean", "FGSM", "PGD-20", "PGD-20 margin")]
    assert first.out.endswith(f"table in {output / 'table.md'}\n")
    assert again.out.splitlines()[0] == "natural: measured before, 5 steps"
    assert published.out.endswith(f"published in {record / 'quickstart_digits'}\n")
    (member,) = json.loads((record / "quickstart_digits" / "table.json").read_text())["members"]
    assert (member["member"], member["step"]) == ("natural", 5)
    assert "## Quickstart on digits" in (record / "RESULTS.md").read_text()


def test_what_it_cannot_do_is_one_line_and_status_1_and_leaves_no_file(run_program, tmp_path):
    output = f"--output={tmp_path / 'out'}"
    bad = {
        "error: family must be one of attack_strength, ": ["--family=defenses", output],
        "error: members must be among natural, cheap, adversarial, source; got nat;": [FAMILY, output, "--members=nat"],
        "error: members must be among natural, cheap, adversarial, source; got none;": [FAMILY, output, "--members="],
        "error: limit must be a whole number from 1 to 500": [FAMILY, output, "--limit=0"],
        "error: standard_limit must be at least 0": [FAMILY, output, "--standard_limit=-1"],
        "unexpected arguments: ['surplus']": [FAMILY, output, "surplus"],
    }
    for message, end in zip(bad, run_program("trainers.survey", *bad.values()), strict=True):
        assert end.status == 1, message
        assert message in end.err + end.out
        assert "Traceback" not in end.err
    assert list(tmp_path.iterdir()) == []
