"""Reproducing a table: paper beside ours beside the difference, reused where nothing changed, grown where asked."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tfadv import attacks, data, models
from tfadv.attacks import Pgd
from tfadv.experiments import EXPERIMENTS
from tfadv.reproduction import joined, results, table
from tfadv.reproduction.target import Column, Row, Target
from tfadv.training import Experiment
from tfadv.validation import UserError

# Two rows of the paper's table 1, attacked with fewer steps. Its file prints 0.00 and 99.17 for "Clean" (PGD, clean),
# 21.02 and 99.20 for "Gaussian random noise", and 83.04 and 84.57 for black-box PGD.
PAPER = {
    ("Clean", "PGD"): 0.0,
    ("Clean", "transfer"): 83.04,
    ("Clean", "clean"): 99.17,
    ("Gaussian random noise", "PGD"): 21.02,
    ("Gaussian random noise", "transfer"): 84.57,
    ("Gaussian random noise", "clean"): 99.20,
}
ATTACK = Pgd(0.1, 0.03, 5, keep="last")
TARGET = Target(
    title="A small table",
    reference="feature_smoothing_table1.csv",
    paper_steps=240_000,
    rows=(Row("Clean", "small/plain"), Row("Gaussian random noise", "small/other")),
    source=Row("copy", "small/source"),
    columns=(
        Column("PGD", ATTACK, "white-box", "loss=xent"),
        Column("transfer", ATTACK, "black-box", "loss=xent"),
        Column("clean", None, "clean", ""),
    ),
)
LIMIT = 50


@pytest.fixture(scope="module")
def experiments(small_net):
    """The experiments of the target, on the digits, while the tests of this file run."""
    plain = Experiment("digits", small_net, learning_rate=1e-2, batch_size=20, steps=240_000, limit=100)
    with pytest.MonkeyPatch.context() as patch:
        for name, seed in {"plain": 0, "other": 2, "source": 1}.items():
            patch.setitem(EXPERIMENTS, f"small/{name}", dataclasses.replace(plain, seed=seed))
        yield


@pytest.fixture(scope="module")
def done(experiments, tmp_path_factory):
    """(result, folder, lines of progress) after twenty steps of both rows."""
    folder, lines = tmp_path_factory.mktemp("table"), []
    return table.reproduce(TARGET, folder, steps=20, limit=LIMIT, report=lines.append), folder, lines


@pytest.fixture
def copy(done, tmp_path):
    """The folder of `done`, free to be changed."""
    return shutil.copytree(done[1], tmp_path / "copy")


@pytest.fixture
def work(monkeypatch):
    """Everything costly that `reproduce` does from here on, in order: ("train", folder) and ("attack", label)."""
    happened = []
    train, attack = table.training.run, table._attack

    def training_run(experiment, folder, **options):
        happened.append(("train", folder.name))
        return train(experiment, folder, **options)

    def attack_run(model, config, precision, x, y, label):
        happened.append(("attack", label))
        return attack(model, config, precision, x, y, label)

    monkeypatch.setattr(table.training, "run", training_run)
    monkeypatch.setattr(table, "_attack", attack_run)
    return happened


def reproduce(folder, **options):
    return table.reproduce(TARGET, folder, **{"steps": 20, "limit": LIMIT, "report": lambda line: None, **options})


def test_the_json_holds_paper_ours_and_their_difference_of_every_cell(done):
    result, folder, _ = done
    assert json.loads((folder / "table.json").read_text()) == json.loads(json.dumps(result))
    assert [(cell["row"], cell["column"]) for cell in result["cells"]] == list(PAPER)
    for cell in result["cells"]:
        paper = PAPER[cell["row"], cell["column"]]
        assert cell["paper"] == paper
        assert cell["difference"] == pytest.approx(cell["ours"] - paper, abs=0.0051)  # both are rounded to 0.01
        low, high = cell["interval"]
        assert low <= cell["ours"] <= high
        assert cell["step"] == 20
        assert cell["status"] == "not comparable: 0% of the schedule"
    assert result["count"] == LIMIT
    assert result["attacks"] == {"PGD": attacks.to_dict(ATTACK), "transfer": attacks.to_dict(ATTACK), "clean": None}


def test_ours_is_what_the_models_of_the_run_folders_do(done):
    result, folder, _ = done
    x, y = data.arrays("digits", "test", limit=LIMIT)
    ours = {(cell["row"], cell["column"]): cell for cell in result["cells"]}
    source = models.load(folder / "runs" / "source")
    transferred = attacks.compiled(source, ATTACK).run(x, y).x_adv
    for row in TARGET.rows:
        model = models.load(folder / "runs" / row.key)
        outcome = attacks.compiled(model, ATTACK).run(x, y)

        def right(images, model=model):
            return 100 * (np.argmax(model(images), axis=1) == y).mean()

        assert ours[row.label, "clean"]["ours"] == pytest.approx(right(x))
        assert ours[row.label, "transfer"]["ours"] == pytest.approx(right(transferred))
        assert ours[row.label, "PGD"]["ours"] == pytest.approx(100 * (~outcome.adversarial).mean())
        assert ours[row.label, "PGD"]["ours_best_iterate"] == pytest.approx(100 * (~outcome.ever_adversarial).mean())
        assert ours[row.label, "PGD"]["ours_best_iterate"] <= ours[row.label, "PGD"]["ours"]
        assert ours[row.label, "clean"]["ours"] > 20  # trained: chance is 10
        assert ours[row.label, "clean"]["ours"] > ours[row.label, "PGD"]["ours"]


def test_the_markdown_shows_the_same_numbers_signed_and_says_what_is_not_comparable(done):
    result, folder, _ = done
    caption, _, *lines = (folder / "table.md").read_text().splitlines()
    assert caption == f"A small table; {LIMIT} test images."
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head[:5] == ["method", "attack", "paper", "ours", "difference"]
    for cells, cell in zip(body, result["cells"], strict=True):
        assert cells[:4] == [cell["row"], cell["column"], f"{cell['paper']:.2f}", f"{cell['ours']:.2f}"]
        assert cells[4] == f"{cell['difference']:+.2f}"
        assert cells[-2:] == ["20", "not comparable: 0% of the schedule"]


def test_how_each_row_was_trained_is_recorded(done):
    result, _, lines = done
    assert [run["row"] for run in result["runs"]] == [row.label for row in TARGET.rows]
    for run in result["runs"]:
        assert run["step"] == 20
        assert 0 < run["seconds_of_training"] < 600
        assert "tensorflow" in run["environment"]
    assert [line for line in lines if "training to" in line] == [
        f"{label}: training to 20 steps" for label in ("copy", "Clean", "Gaussian random noise")
    ]


def test_run_again_it_does_nothing_and_says_the_same(done, copy, work):
    assert reproduce(copy) == done[0]
    assert work == []


def test_run_for_fewer_steps_it_takes_the_longer_run(done, copy, work):
    assert reproduce(copy, steps=5) == done[0]
    assert work == []


def test_more_steps_train_on_and_replace_the_row_but_not_the_other(done, copy, work):
    result = reproduce(copy, steps=30, rows=["plain"])
    assert [name for kind, name in work if kind == "train"] == ["source", "plain"]
    steps = {cell["row"]: cell["step"] for cell in result["cells"]}
    assert steps == {"Clean": 30, "Gaussian random noise": 20}
    before = [cell for cell in done[0]["cells"] if cell["row"] != "Clean"]
    assert [cell for cell in result["cells"] if cell["row"] != "Clean"] == before


def test_a_source_that_was_trained_further_renews_the_black_box_column_alone(done, copy, work):
    """The row itself has its thirty steps already; only what was crafted on the source is out of date."""
    reproduce(copy, steps=30, rows=["plain"])
    del work[:]
    renewed = {(cell["row"], cell["column"]): cell["ours"] for cell in reproduce(copy, rows=["other"])["cells"]}
    assert work == []
    x, y = data.arrays("digits", "test", limit=LIMIT)
    transferred = attacks.compiled(models.load(copy / "runs" / "source"), ATTACK).run(x, y).x_adv
    predictions = np.argmax(models.load(copy / "runs" / "other")(transferred), axis=1)
    assert renewed["Gaussian random noise", "transfer"] == pytest.approx(100 * (predictions == y).mean())
    kept = {(cell["row"], cell["column"]): cell["ours"] for cell in done[0]["cells"]}
    for column in ("PGD", "clean"):
        assert renewed["Gaussian random noise", column] == kept["Gaussian random noise", column]


def test_the_schedule_is_the_papers_from_its_number_of_steps_on(done, copy):
    """At twenty of forty steps: half of the schedule; at twenty of twenty: comparable."""
    for paper_steps, status in {40: "not comparable: 50% of the schedule", 20: "the paper's schedule"}.items():
        target = dataclasses.replace(TARGET, paper_steps=paper_steps)
        result = joined.write_table(target, copy, count=LIMIT)
        assert {cell["status"] for cell in result["cells"]} == {status}


def test_a_table_of_another_number_of_images_does_not_mix_with_this_one(done, copy, work):
    result = reproduce(copy, limit=40, rows=["plain"])
    assert result["count"] == 40
    assert {cell["row"] for cell in result["cells"]} == {"Clean"}
    assert [kind for kind, _ in work] == ["attack", "attack"]
    assert joined.write_table(TARGET, copy, count=LIMIT)["cells"] == done[0]["cells"]


def test_kept_classifiers_make_a_curve_that_is_not_computed_twice(experiments, tmp_path, work, monkeypatch):
    monkeypatch.setattr(table, "CURVE_IMAGES", 40)
    result = reproduce(tmp_path, rows=["plain"], keep_every=10)
    assert [(point["row"], point["step"], point["count"]) for point in result["curve"]] == [
        ("Clean", 10, 40),
        ("Clean", 20, 40),
    ]
    x, y = data.arrays("digits", "test")
    chosen = data.stratified_subset(y, 40, seed=0)
    kept = models.load(tmp_path / "runs" / "plain" / "models" / "step-0000010.keras")
    expected = (~attacks.compiled(kept, ATTACK).run(x[chosen], y[chosen]).adversarial).mean()
    assert result["curve"][0]["accuracy"] == pytest.approx(expected)
    for point in result["curve"]:
        assert point["low"] <= point["accuracy"] <= point["high"]
    del work[:]
    assert reproduce(tmp_path, rows=["plain"], keep_every=10)["curve"] == result["curve"]
    assert work == []


def test_a_cell_that_the_paper_does_not_print_has_no_difference(done, copy):
    target = dataclasses.replace(TARGET, rows=(Row("A method of our own", "small/plain"),))
    cells = joined.write_table(target, copy, count=LIMIT)["cells"]
    assert [(cell["paper"], cell["difference"]) for cell in cells] == [(None, None)] * 3
    assert "| – |" in (copy / "table.md").read_text()


def test_an_unknown_row_is_refused_before_anything_is_written(experiments, tmp_path):
    with pytest.raises(UserError, match="rows must be among plain, other; got nois, zz"):
        reproduce(tmp_path / "out", rows=["plain", "zz", "nois"])
    assert not (tmp_path / "out").exists()


def test_a_damaged_evaluation_is_made_again(done, copy, work):
    (path,) = (copy / "evaluations").glob("plain-*.json")
    path.write_text("{half")
    assert reproduce(copy)["cells"] == done[0]["cells"]
    assert work == [("attack", "Clean")]


class TestRecord:
    """A table that grows on another machine: of the first one only the published record is left."""

    @pytest.fixture
    def record(self, done, tmp_path):
        return results.publish(done[1], "small/table", tmp_path / "record")

    def test_rows_that_the_record_holds_are_taken_from_it(self, done, record, work, tmp_path):
        result = reproduce(tmp_path / "new", record=record)
        assert result == done[0]
        assert work == []

    def test_more_steps_than_the_record_has_are_trained(self, done, record, work, tmp_path):
        result = reproduce(tmp_path / "new", record=record, steps=30, rows=["other"])
        assert [name for kind, name in work if kind == "train"] == ["source", "other"]
        assert {cell["row"]: cell["step"] for cell in result["cells"]} == {"Clean": 20, "Gaussian random noise": 30}
        assert [cell for cell in result["cells"] if cell["row"] == "Clean"] == [
            cell for cell in done[0]["cells"] if cell["row"] == "Clean"
        ]

    def test_a_record_of_other_attacks_or_another_number_of_images_is_not_taken(self, record, work, tmp_path):
        reproduce(tmp_path / "new", record=record, limit=40, rows=["plain"])
        assert [name for kind, name in work if kind == "train"] == ["source", "plain"]
        columns = (
            dataclasses.replace(TARGET.columns[0], attack=dataclasses.replace(ATTACK, steps=4)),
            *TARGET.columns[1:],
        )
        other = dataclasses.replace(TARGET, columns=columns)
        assert joined.newest_evaluations(other, [record / "evaluations"], LIMIT) == {}
        assert len(joined.newest_evaluations(TARGET, [record / "evaluations"], LIMIT)) == 2


@pytest.mark.slow
def test_a_row_is_judged_by_autoattack_once(done, copy, monkeypatch):
    target = dataclasses.replace(TARGET, rows=TARGET.rows[:1], epsilon=0.1, standard=20)
    result = table.reproduce(target, copy, steps=20, limit=LIMIT, report=lambda line: None)
    (line,) = result["beside"]
    (pgd,) = (cell["ours"] for cell in result["cells"] if cell["column"] == "PGD")
    assert (line["defense"], line["claimed"], line["count"], line["schedule"]) == ("Clean", 0.0, 20, "0%")
    assert line["ours"] == pytest.approx(pgd, abs=0.01)
    assert line["interval"][0] <= line["strong"] <= line["interval"][1]
    monkeypatch.setattr(table, "strong", None)
    assert table.reproduce(target, copy, steps=20, limit=LIMIT, report=lambda line: None) == result


def test_a_subset_of_the_images_has_no_strong_evaluation(done, copy):
    target = dataclasses.replace(TARGET, epsilon=0.1, standard=LIMIT + 1)
    assert table.reproduce(target, copy, steps=20, limit=LIMIT, report=lambda line: None)["beside"] == []
