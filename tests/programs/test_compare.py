"""The program as a user runs it: a leaderboard on the terminal and on disk, and what it refuses in one line."""

import json

import pytest

from tfadv.report import AttackResult, Report, ThreatModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds strong/ and weak/, each with the report of four images: all withstand, one withstands."""
    folder = tmp_path_factory.mktemp("reports")
    for name, broken in (("strong", [False] * 4), ("weak", [True] * 3 + [False])):
        distances = [0.1 if each else float("nan") for each in broken]
        row = AttackResult("FGSM", {"class": "Fgm"}, broken, sum(broken), distances, 0.5, 4)
        Report(name, "digits", ThreatModel("linf", 0.1), [1] * 4, [1] * 4, (row,)).save(folder / name)
    return folder


def test_it_prints_and_saves_the_leaderboard(run_program, folder, tmp_path):
    weak, strong = folder / "weak", folder / "strong" / "report.json"
    options = ["--claimed=weak=0.89", "--attack=FGSM", "--title=Nets", f"--output={tmp_path / 'out'}"]
    (done,) = run_program("attacks.compare", [str(weak), str(strong), *options])
    assert done.status == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert ["strong", "1", "–", "100.0%", "100.0%"] in [line[:5] for line in lines]
    assert ["weak", "2", "89.0%", "25.0%", "25.0%"] in [line[:5] for line in lines]
    assert "upper bound under this threat model" in done.out
    assert f"comparison in {tmp_path / 'out'}" in done.out
    assert "| strong | 1 |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "<h1>Nets</h1>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    data = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [report["name"] for report in data["reports"]] == ["strong", "weak"]


def test_what_it_cannot_do_is_one_line_and_status_1_and_leaves_no_file(run_program, folder, tmp_path):
    output, weak = f"--output={tmp_path / 'out'}", str(folder / "weak")
    bad = {
        "error: reports must be one or more folders": [],
        "error: no report at no/such": [weak, "no/such"],
        "error: reports must differ": [weak, weak],
        "error: claimed must be NAME=ACCURACY": [weak, "--claimed=weak"],
        "error: claimed must name one of the models ['weak'], got 'other'": [weak, "--claimed=other=0.5"],
        "error: claimed must be a fraction in [0, 1], got 89.0": [weak, "--claimed=weak=89"],
        "error: attack must be a row of a report, one of ['FGSM'], got 'PGD'": [weak, "--attack=PGD"],
    }
    lists = [[output, *flags] for flags in bad.values()]
    for message, end in zip(bad, run_program("attacks.compare", *lists), strict=True):
        assert end.status == 1, message
        assert message in end.err
        assert len(end.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
