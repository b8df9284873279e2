"""The table of a survey: every number in its place, and a legend that calls nothing AutoAttack that is not."""

import json

import pytest

from tfadv import training
from tfadv.experiments import EXPERIMENTS
from tfadv.reproduction.survey_table import description, markdown, table

HERE = {"processor_cores": "2", "platform": "Linux", "tensorflow": "2.21.0"}
THERE = {**HERE, "processor_cores": "16"}
SETTINGS = {
    name: {"dataset": "mnist", "available": 10_000, "count": count}
    for name, count in (("clean", 10_000), ("PGD-20", 10_000), ("AutoAttack", 1_000))
}
ABOUT = {"survey": "small", "title": "Small nets", "epsilon": 8 / 255, "norm": "linf", "settings": SETTINGS}


def column(accuracy, count, seconds, **changes):
    return {
        "key": "0123",
        "accuracy": accuracy,
        "count": count,
        "seconds": seconds,
        "precision": "float32",
        "stages": [{"attack": "APGD-CE"}, {"attack": "APGD-T"}],
        "environment": HERE,
        **changes,
    }


def evaluation(member, **columns):
    return {
        "member": member,
        "what": "trades(beta=1)",
        "experiment": {"model": "small_cnn", "batch_size": 50},
        "step": 4_800,
        "epochs": 4.0,
        "model_parameters": 1_000,
        "seconds_of_training": 1_234.5,
        "images_per_second": 194.4,
        "weights": "abc",
        "trained_with": HERE,
        "columns": {
            "clean": column(0.9886, 10_000, 1.0),
            "PGD-20": column(0.9123, 10_000, 60.0),
            "AutoAttack": column(0.84, 1_000, 500.0),
            **columns,
        },
    }


def cells(text):
    """The rows of the Markdown table, head first."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ") and "---" not in line
    ]


def test_every_number_stands_in_its_place_with_its_interval():
    """Clopper-Pearson for 840 of 1,000: 81.6 to 86.2; and one more decimal for ten times the images."""
    head, line = cells(markdown(table(ABOUT, [evaluation("trades")])))
    assert head == [
        *("member", "what it is", "steps", "epochs", "clean", "PGD-20", "AutoAttack (1,000)"),
        *("training s", "evaluation s"),
    ]
    assert line == [
        *("trades", "trades(beta=1)", "4,800", "4.0", "98.86%", "91.23%", "84.0% (81.6% to 86.2%)"),
        *("1,234", "561"),
    ]


def test_the_json_holds_what_the_evaluations_hold_and_the_sum_of_their_seconds():
    result = table(ABOUT, [evaluation("trades")])
    assert result == json.loads(json.dumps(result))
    assert {name: result[name] for name in ABOUT} == ABOUT
    (member,) = result["members"]
    assert (member["member"], member["step"], member["batch_size"]) == ("trades", 4_800, 50)
    assert (member["seconds_of_training"], member["seconds_of_evaluation"]) == (1_234.5, 561.0)
    assert member["columns"]["AutoAttack"]["interval"] == pytest.approx([0.8158, 0.8622], abs=1e-3)
    assert member["columns"]["AutoAttack"]["stages"][1]["attack"] == "APGD-T"
    assert member["trained_on"] == "2 cores, Linux, TensorFlow 2.21.0"


def test_the_legend_states_the_threat_the_images_and_what_to_trust():
    text = markdown(table(ABOUT, [evaluation("trades")]))
    assert "- Threat model: linf, epsilon 8/255 (0.0314), pixels in [0, 1], white box, any wrong class." in text
    assert "- Images: all test images of mnist;" in text
    assert "- AutoAttack is the number to trust here: APGD-CE, then APGD-T, each on what is left, on a seeded," in text
    assert "stratified subset of 1,000 test images; in brackets the 95% interval (Clopper-Pearson)" in text
    assert "Where PGD leaves more than AutoAttack's interval, the defense masks gradients" in text
    assert "- All searches ran in float32." in text
    assert "†" not in text
    assert "- Trained and measured on 2 cores, Linux, TensorFlow 2.21.0." in text


def test_a_search_in_bfloat16_is_marked_and_the_head_does_not_call_it_autoattack():
    low = evaluation("low", AutoAttack=column(0.5, 1_000, 1.0, precision="bfloat16"))
    text = markdown(table(ABOUT, [evaluation("high"), low]))
    head, high, low = cells(text)
    assert head[6] == "AutoAttack or † its attacks (1,000)"
    assert high[6] == "84.0% (81.6% to 86.2%)"
    assert low[6] == "50.0% (46.9% to 53.1%) †"
    assert "- † searched in bfloat16, each success verified in float32. Only an all-float32 run may be called" in text
    assert "All searches ran" not in text


def test_bfloat16_in_another_column_leaves_autoattack_its_name():
    head, line = cells(
        markdown(table(ABOUT, [evaluation("low", **{"PGD-20": column(0.5, 10, 1, precision="bfloat16")})]))
    )
    assert head[6] == "AutoAttack (1,000)"
    assert (line[5], line[6]) == ("50.0% †", "84.0% (81.6% to 86.2%)")


def test_without_autoattack_the_legend_says_what_is_missing():
    settings = {name: SETTINGS[name] for name in ("clean", "PGD-20")}
    text = markdown(table({**ABOUT, "settings": settings}, [evaluation("trades")]))
    assert cells(text)[0][5:] == ["PGD-20", "training s", "evaluation s"]
    assert "AutoAttack was left out: without it nothing tells a robust member from one that masks gradients." in text
    assert "number to trust" not in text


def test_a_subset_other_machines_and_other_networks_are_named():
    settings = {**SETTINGS, "clean": {**SETTINGS["clean"], "count": 200}}
    other = {**evaluation("other", AutoAttack=column(0.5, 1_000, 1.0, environment=THERE)), "trained_with": THERE}
    other["experiment"] = {"model": "resnet18", "batch_size": 128}
    text = markdown(table({**ABOUT, "settings": settings}, [evaluation("trades"), other]))
    assert "- Images: 200 of the 10,000 test images of mnist;" in text
    both = "2 cores, Linux, TensorFlow 2.21.0; 16 cores, Linux, TensorFlow 2.21.0"
    assert f"- Trained and measured on {both}." in text
    assert "Networks: small_cnn, batch 50; resnet18, batch 128." in text
    assert [line[1] for line in cells(text)[1:]] == ["small_cnn: trades(beta=1)", "resnet18: trades(beta=1)"]


def test_where_training_and_measuring_happened_on_different_machines_it_says_so():
    text = markdown(table(ABOUT, [{**evaluation("trades"), "trained_with": THERE}]))
    assert "Trained on 16 cores, Linux, TensorFlow 2.21.0; measured on 2 cores, Linux, TensorFlow 2.21.0." in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("defenses_mnist/natural", "plain training"),
        ("defenses_mnist/label_smoothing", "LabelSmoothing(mass=0.1)"),
        ("defenses_mnist/noise", "GaussianNoise(stddev=0.5)"),
        ("defenses_mnist/l2", "l2=0.0005"),
        ("defenses_mnist/trades", "trades(attack=PGD-10 cross-entropy, beta=1)"),
        ("defenses_mnist/awp", "madry(attack=PGD-10 cross-entropy) + awp(gamma=0.01)"),
        ("attack_strength/pgd_small", "madry(attack=PGD-10 cross-entropy)"),
    ],
)
def test_a_member_is_described_by_what_it_adds_to_plain_training(name, words):
    assert description(json.loads(json.dumps(training.describe(EXPERIMENTS[name])))) == words


def test_no_two_members_of_a_family_are_described_alike():
    for family in ("defenses_mnist", "quickstart_digits"):
        words = [description(training.describe(each)) for name, each in EXPERIMENTS.items() if name.startswith(family)]
        assert len(words) > 1
        alike = {each for each in words if words.count(each) > 1}
        assert alike <= {"plain training"}  # the quickstart's natural net, and its copy of another seed
