"""A survey: members trained and measured alike, nothing done twice, continued where killed, grown in a record."""

import dataclasses
import json
import shutil

import pytest

from tfadv import attacks, data, evaluation, files, models, training
from tfadv.attacks import Pgd
from tfadv.experiments import EXPERIMENTS
from tfadv.reproduction import families, survey
from tfadv.reproduction.families import FAMILIES, Family
from tfadv.training import Experiment
from tfadv.validation import UserError

EPSILON, LIMIT, STANDARD_LIMIT, STEPS = 0.03, 60, 30, 20
COLUMNS = ["clean", "FGSM", "PGD-20", "PGD-20 margin", "AutoAttack"]


class ShortSuite:
    """In place of AutoAttack: two attacks in turn, in a fraction of its time."""

    def __init__(self, epsilon, norm):
        first = Pgd(epsilon, epsilon / 4, 2, norm)
        self.configs = (first, dataclasses.replace(first, steps=8, objective="margin"))

    def stages(self):
        return self.configs


@pytest.fixture(scope="module")
def family(small_net):
    """Two members, on the digits, while the tests of this file run."""
    plain = Experiment("digits", small_net, learning_rate=1e-2, batch_size=20, steps=STEPS, limit=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "small", Family("Small nets", EPSILON))
        patch.setattr(families, "AutoAttack", ShortSuite)
        for name, changes in {"plain": {}, "decayed": {"l2": 0.01}}.items():
            patch.setitem(EXPERIMENTS, f"small/{name}", dataclasses.replace(plain, **changes))
        yield


def measure(folder, **options):
    given = {"limit": LIMIT, "standard_limit": STANDARD_LIMIT, "precision": "float32", "report": lambda line: None}
    return survey.survey("small", folder, **{**given, **options})


@pytest.fixture(scope="module")
def done(family, tmp_path_factory):
    """(table, folder, lines of progress) of both members."""
    folder, lines = tmp_path_factory.mktemp("survey"), []
    return measure(folder, report=lines.append), folder, lines


@pytest.fixture
def copy(done, tmp_path):
    """The folder of `done`, free to be changed."""
    return shutil.copytree(done[1], tmp_path / "copy")


@pytest.fixture
def record(done, tmp_path):
    """A record that has the survey, and nothing else of the machine it was made on."""
    measure(done[1], publish=tmp_path / "record")
    return tmp_path / "record"


@pytest.fixture
def work(done, monkeypatch):
    """Everything costly that happens from here on, in order: "train plain", "plain, FGSM"; nothing is attacked."""
    happened = []
    train, canned = training.run, evaluation_of(done[1], "plain")["columns"]["PGD-20"]

    def training_run(experiment, folder, **options):
        happened.append(f"train {folder.name}")
        return train(experiment, folder, **options)

    def measured(self, model, column, test, label, state):
        happened.append(label)
        return {name: value for name, value in canned.items() if name != "key"} | {"count": len(column.rows)}

    monkeypatch.setattr(training, "run", training_run)
    monkeypatch.setattr(survey._Survey, "_column", measured)
    return happened


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def evaluation_of(folder, member):
    return json.loads((folder / "evaluations" / f"{member}.json").read_text())


class TestNumbers:
    @pytest.mark.parametrize("member", ["plain", "decayed"])
    def test_every_column_is_what_evaluate_finds_on_the_same_images(self, done, member):
        """AutoAttack's attacks run in turn, on their own subset of the whole test split: the worst case over them."""
        model, test = models.load(done[1] / "runs" / member), data.arrays("digits", "test")
        found = evaluation_of(done[1], member)["columns"]
        step = 2.5 * EPSILON / 20
        alone = [evaluation.suites.quick(EPSILON, "linf", 0)[0]]
        alone += [Pgd(EPSILON, step, 20, objective=objective) for objective in ("cross_entropy", "margin")]
        by_hand = evaluation.evaluate(model, test, EPSILON, suite=alone, limit=LIMIT, precision="float32")
        assert found["clean"]["accuracy"] == pytest.approx(by_hand.clean_accuracy)
        assert [found[name]["accuracy"] for name in COLUMNS[1:4]] == pytest.approx(
            [row.accuracy for row in by_hand.rows]
        )
        suite = ShortSuite(EPSILON, "linf").stages()
        by_hand = evaluation.evaluate(model, test, EPSILON, suite=suite, limit=STANDARD_LIMIT, precision="float32")
        assert found["AutoAttack"]["accuracy"] == pytest.approx(by_hand.robust_accuracy)
        assert found["AutoAttack"]["clean_accuracy"] == pytest.approx(by_hand.clean_accuracy)
        assert found["AutoAttack"]["stages"][0]["robust_accuracy"] == pytest.approx(by_hand.rows[0].accuracy)
        assert [found[name]["count"] for name in COLUMNS] == [LIMIT] * 4 + [STANDARD_LIMIT]
        # Trained, for chance is 10%, and attacked, or equality would say little.
        assert 0.3 < found["clean"]["accuracy"]
        assert found["PGD-20"]["accuracy"] < found["clean"]["accuracy"]

    def test_how_a_member_was_trained_and_measured_is_recorded(self, done):
        """20 steps of 20 images of 100 are 4 epochs."""
        found = evaluation_of(done[1], "decayed")
        assert (found["family"], found["member"], found["what"]) == ("small", "decayed", "l2=0.01")
        assert (found["step"], found["train_size"], found["epochs"]) == (STEPS, 100, 4.0)
        run = done[1] / "runs" / "decayed"
        assert found["experiment"] == json.loads((run / "experiment.json").read_text())["experiment"]
        assert found["experiment"]["batch_size"] == 20
        assert found["images_per_second"] == json.loads((run / "metrics.json").read_text())["images_per_second"]
        assert 0 < found["seconds_of_training"] < 60
        assert found["model_parameters"] == models.load(run).count_params()
        for column in found["columns"].values():
            assert column["environment"] == found["trained_with"] == training.environment()
            assert column["precision"] == "float32"
            assert 0 < column["seconds"] < 60

    def test_the_table_holds_both_members_in_order_and_is_what_is_returned(self, done):
        table, folder, lines = done
        assert json.loads((folder / "table.json").read_text()) == table
        assert [member["member"] for member in table["members"]] == ["plain", "decayed"]
        for member in table["members"]:
            assert list(member["columns"]) == COLUMNS
            stored = evaluation_of(folder, member["member"])
            for name, column in member["columns"].items():
                assert column["accuracy"] == stored["columns"][name]["accuracy"]
                assert column["interval"][0] <= column["accuracy"] <= column["interval"][1]
        assert (folder / "table.md").read_text().startswith("# Small nets\n\n| member |")
        assert [line for line in lines if "training to" in line or "clean" in line] == [
            line
            for member in ("plain", "decayed")
            for line in lines
            if line in (f"{member}: training to 20 steps",) or line.startswith(f"{member}: clean ")
        ]


class TestReuse:
    def test_run_again_it_does_nothing_and_changes_no_file(self, done, copy, work):
        before = contents(copy)
        assert measure(copy) == done[0]
        assert work == []
        assert contents(copy) == before

    def test_run_for_fewer_steps_it_takes_the_longer_run(self, done, copy, work):
        assert measure(copy, steps=5) == done[0]
        assert work == []

    def test_more_steps_train_on_and_renew_the_member_but_not_the_other(self, done, copy, work):
        table = measure(copy, steps=30, members=["plain"])
        assert work == ["train plain", *(f"plain, {name}" for name in COLUMNS)]
        assert [member["step"] for member in table["members"]] == [30, 20]
        assert table["members"][1] == done[0]["members"][1]

    def test_a_limit_of_one_column_leaves_the_others_as_they_are(self, done, copy, work):
        measure(copy, members=["plain"], limit=40)
        assert work == [f"plain, {name}" for name in COLUMNS[:4]]
        del work[:]
        table = measure(copy, members=["plain"], limit=40, standard_limit=0)
        assert work == []
        assert list(table["members"][0]["columns"]) == COLUMNS[:4]
        table = measure(copy, members=["plain"], limit=40, standard_limit=20)
        assert work == ["plain, AutoAttack"]
        assert [member["member"] for member in table["members"]] == ["plain"]  # the other one has other images

    def test_auto_takes_what_float32_found_and_float32_takes_nothing_else(self, done, copy, work):
        assert measure(copy, precision="auto") == done[0]
        assert work == []
        found = evaluation_of(copy, "plain")
        found["columns"]["PGD-20"]["precision"] = "bfloat16"
        (copy / "evaluations" / "plain.json").write_text(json.dumps(found))
        assert measure(copy, precision="auto")["members"][0]["columns"]["PGD-20"]["precision"] == "bfloat16"
        assert work == []
        assert measure(copy)["members"][0]["columns"]["PGD-20"]["precision"] == "float32"
        assert work == ["plain, PGD-20"]


def test_killed_within_a_suite_it_goes_on_after_the_stage_that_was_done(done, copy):
    """A damaged evaluation is made again; the columns done are on disk, the stage is in the state file."""
    (copy / "evaluations" / "plain.json").write_text("{half")

    def killing(line):
        if line.startswith("plain, AutoAttack: PGD-2 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(copy, members=["plain"], report=killing)
    assert list(evaluation_of(copy, "plain")["columns"]) == COLUMNS[:4]
    (state,) = (copy / "states" / "plain").iterdir()
    assert state.name.endswith("-float32.npz")
    lines = []
    table = measure(copy, report=lines.append)
    assert [line.partition("%")[0] for line in lines] == [
        line.partition("%")[0] for line in done[2] if line.startswith(("plain, AutoAttack: PGD-8", "plain: AutoAttack"))
    ] + ["decayed: measured before, 20 steps"]
    assert not state.exists()
    for now, before in zip(table["members"], done[0]["members"], strict=True):
        for name in COLUMNS:
            assert now["columns"][name]["accuracy"] == before["columns"][name]["accuracy"]


def test_a_member_that_another_process_is_measuring_is_refused(copy, work):
    with files.holding(copy / "states/plain"), pytest.raises(files.InUse, match="plain is in use by process"):
        measure(copy)
    assert work == []


def test_a_run_of_another_family_is_not_measured_for_this_one(copy, monkeypatch):
    monkeypatch.setitem(FAMILIES, "other", Family("Others", EPSILON))
    other = dataclasses.replace(EXPERIMENTS["small/plain"], seed=1)
    monkeypatch.setitem(EXPERIMENTS, "other/plain", other)
    with pytest.raises(UserError, match=r"holds another experiment \(seed: 0 there, 1 now\); name another workdir"):
        survey.survey("other", copy, limit=LIMIT, standard_limit=0, report=print)
    assert evaluation_of(copy, "plain")["family"] == "small"


class TestRecord:
    def test_published_twice_it_is_the_same_to_the_byte(self, done, record, work):
        before = contents(record)
        assert set(before) == {
            "RESULTS.md",
            *(f"small/{name}" for name in ("table.json", "table.md")),
            *(f"small/evaluations/{name}.json" for name in ("plain", "decayed")),
        }
        assert measure(done[1], publish=record) == done[0]
        assert (work, contents(record)) == ([], before)
        assert json.loads((record / "small" / "table.json").read_text()) == done[0]
        assert evaluation_of(record / "small", "plain") == evaluation_of(done[1], "plain")

    def test_the_index_lists_it(self, done, record):
        index = (record / "RESULTS.md").read_text()
        assert "- Small nets: [small/table.md](small/table.md)" in index
        assert f"#{(done[1] / 'table.md').read_text()}" in index

    def test_on_another_machine_members_are_taken_from_it(self, done, record, work, tmp_path):
        lines = []
        assert measure(tmp_path / "new", publish=record, report=lines.append) == done[0]
        assert work == []
        assert lines == [f"{name}: taken from {record / 'small'}, 20 steps" for name in ("plain", "decayed")]

    def test_on_another_machine_the_others_stay_in_the_table(self, done, record, work, tmp_path):
        table = measure(tmp_path / "new", publish=record, members=["decayed"], steps=30)
        assert work == ["train decayed", *(f"decayed, {name}" for name in COLUMNS)]
        assert [(member["member"], member["step"]) for member in table["members"]] == [("plain", 20), ("decayed", 30)]
        assert table["members"][0] == done[0]["members"][0]
        assert evaluation_of(record / "small", "decayed")["step"] == 30
        assert json.loads((record / "small" / "table.json").read_text()) == table
        # The first machine has the member of fewer steps; publishing from there takes nothing back.
        assert measure(done[1], publish=record) == table

    def test_a_member_whose_experiment_has_changed_is_trained_anew_and_replaced(
        self, record, work, tmp_path, monkeypatch
    ):
        changed = dataclasses.replace(EXPERIMENTS["small/decayed"], l2=0.02, steps=10)
        monkeypatch.setitem(EXPERIMENTS, "small/decayed", changed)
        stays = measure(tmp_path / "new", publish=record, members=["plain"])
        assert [member["what"] for member in stays["members"]] == ["plain training", "l2=0.01"]
        table = measure(tmp_path / "new", publish=record)
        assert work[0] == "train decayed"
        assert [(member["what"], member["step"]) for member in table["members"]] == [
            ("plain training", 20),
            ("l2=0.02", 10),
        ]

    def test_float32_replaces_bfloat16_and_not_the_other_way(self, done, record, work, copy):
        in_float32 = evaluation_of(copy, "plain")
        in_bfloat16 = json.loads(json.dumps(in_float32))
        in_bfloat16["columns"]["FGSM"]["precision"] = "bfloat16"
        (copy / "evaluations" / "plain.json").write_text(json.dumps(in_bfloat16))
        assert measure(copy, publish=record, precision="auto") == done[0]
        assert evaluation_of(record / "small", "plain") == in_float32
        (record / "small" / "evaluations" / "plain.json").write_text(json.dumps(in_bfloat16))
        assert measure(done[1], publish=record) == done[0]
        assert evaluation_of(record / "small", "plain") == in_float32
        assert work == []

    def test_a_record_of_other_images_is_refused_before_anything_happens(self, record, work, tmp_path):
        before = contents(record)
        with pytest.raises(
            UserError,
            match=r"other settings of clean, FGSM, PGD-20, PGD-20 margin \(clean: 60 images there, 40 now\); use"
            r" its limits, or publish in another folder",
        ):
            measure(tmp_path / "new", publish=record, limit=40)
        with pytest.raises(UserError, match=r"settings of AutoAttack \(AutoAttack: 30 images there, 0 now\)"):
            measure(tmp_path / "new", publish=record, standard_limit=0)
        assert (work, contents(record), (tmp_path / "new").exists()) == ([], before, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"members": ["plain", "zz", "nois"]},
            "members must be among plain, decayed; got nois, zz; leave it out for all",
        ),
        ({"members": []}, "members must be among plain, decayed; got none"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"limit": 501}, r"limit must be a whole number from 1 to 500 \(the size of 'test' of 'digits'\)"),
        ({"standard_limit": -1}, "standard_limit must be at least 0"),
        ({"precision": "bfloat16"}, r"precision must be one of \['auto', 'float32'\], got 'bfloat16'"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_written(family, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        measure(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_an_unknown_family_is_refused_with_those_there_are(family, tmp_path):
    with pytest.raises(UserError, match=r"family must be one of attack_strength, .*, small; got 'smal'"):
        survey.survey("smal", tmp_path / "out")


@pytest.mark.slow
def test_the_real_suite_is_the_standard_one_of_evaluate(copy, monkeypatch):
    """AutoAttack itself, on twelve images, stage by stage."""
    monkeypatch.setattr(families, "AutoAttack", attacks.AutoAttack)
    (member,) = measure(copy, members=["plain"], standard_limit=12)["members"]
    found = member["columns"]["AutoAttack"]
    model, test = models.load(copy / "runs" / "plain"), data.arrays("digits", "test")
    by_hand = evaluation.evaluate(model, test, EPSILON, suite="standard", limit=12, precision="float32")
    assert [stage["attack"] for stage in found["stages"]] == ["APGD-CE", "APGD-T", "FAB-T", "Square, 5,000 queries"]
    assert [stage["robust_accuracy"] for stage in found["stages"]] == pytest.approx(
        [row.accuracy for row in by_hand.rows]
    )
    assert found["accuracy"] == pytest.approx(by_hand.robust_accuracy)
    assert (found["count"], found["precision"]) == (12, "float32")
