"""README.md: its Python blocks run as written, and what it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_python_blocks_run_as_written_and_defend_attack_and_report(tmp_path, monkeypatch, capsys):
    """The three snippets share names, so they run in one namespace, in order, in an empty folder, on the digits."""
    monkeypatch.chdir(tmp_path)
    found = blocks("python")
    assert len(found) == 3
    names: dict = {}
    for number, block in enumerate(found):
        exec(compile(block, f"README.md, Python block {number}", "exec"), names)

    x, x_adv = names["x"], names["x_adv"].numpy()
    assert x_adv.shape == x.shape == (100, 28, 28, 1)
    assert 0.1 < abs(x_adv - x).max() <= 0.2 + 1e-6
    assert x_adv.min() >= 0.0
    assert x_adv.max() <= 1.0
    report = names["report"]
    assert report.clean_accuracy > 0.8  # ten epochs on 1,297 digits learn them
    assert 0.0 <= report.robust_accuracy <= report.clean_accuracy
    assert (tmp_path / "report" / "report.json").is_file()
    assert (tmp_path / "report" / "report.html").is_file()
    assert f"robust {report.robust_accuracy:.1%}" in capsys.readouterr().out


def test_every_link_leads_to_a_file():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link.split("#")[0]).exists()] == []


def test_the_table_lists_every_program_and_its_command():
    rows = re.findall(r"^\| `(\w+/\w+\.py)` \| `([\w-]+)` \|", README, re.MULTILINE)
    on_disk = {f"{folder}/{file.name}" for folder in ("trainers", "attacks") for file in (ROOT / folder).glob("*.py")}
    assert {path for path, _ in rows} == on_disk
    assert [f"tfadv-{Path(path).stem.replace('_', '-')}" for path, _ in rows] == [command for _, command in rows]


def test_what_is_claimed_beside_true_is_what_the_results_say():
    results = (ROOT / "results" / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    section = README.split("## Claimed beside true\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 4
    assert [line for line in lines if line not in results] == []


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"quickstart", "test"} <= named
    assert named <= targets


def test_the_suites_of_the_readme_are_those_of_the_package():
    """The README names the suites that exist, and calls `evaluate` with one of them."""
    from tfadv.evaluation import SUITES

    called = {
        ast.literal_eval(keyword.value)
        for block in blocks("python")
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "suite"
    }
    assert called
    assert called <= set(SUITES)
    assert [name for name in SUITES if f"`{name}`" not in README] == []
