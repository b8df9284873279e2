"""Every program with every flag wrong: status 1, one line that says what, no traceback, and no file left."""

import ast
import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.slow

# What no flag takes for a number, and what few take for a name.
BAD_NUMBERS = ["", "x", "1e", "--", "0x", "1,5", "NaNs"]
BAD_COUNTS = ["0", "-1", "1.5", "1e3", "nan", "inf", *BAD_NUMBERS]
BAD_NAMES = ["", " ", "no such", "../..", "/", "\u202e", "a" * 300, "DIGITS", "--"]
# Of every flag of a kind, whatever it is for: none of a program is a number below 0, infinite, or free text.
WRONG = {
    "integer": ["", "x", "1.5", "-1"],
    "float": ["", "x", "nan", "inf", "-1"],
    "enum": ["", "no such"],
    "bool": ["maybe"],
}
PROGRAMS = {
    f"{folder}.{file.stem}": file
    for folder in ("attacks", "trainers")
    for file in (Path(__file__).resolve().parents[2] / folder).glob("*.py")
    if file.stem != "__init__"
}
RADII = ["-0.1", "nan", "inf", "-inf", "8", "1e308", *BAD_NUMBERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sound model of the digits, and files and folders that are none."""
    folder = tmp_path_factory.mktemp("given")
    layers = keras.layers
    net = keras.Sequential([layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)], name="linear")
    net.save(folder / "net.keras")
    keras.Sequential([layers.Input((2, 2, 1)), layers.Flatten(), layers.Dense(3)]).save(folder / "small.keras")
    (folder / "empty.keras").touch()
    (folder / "empty").mkdir()
    (folder / "noise.npz").write_bytes(bytes(range(256)))
    np.savez(folder / "data.npz", x=np.full([4, 28, 28, 1], 0.5, np.float32), y=np.arange(4))
    return folder


def flags_of(program):
    """Name -> kind of the flags that a program defines, from its source."""
    calls = [node for node in ast.walk(ast.parse(PROGRAMS[program].read_text())) if isinstance(node, ast.Call)]
    defined = [(call, ast.unparse(call.func).rpartition("flags.DEFINE_")) for call in calls]
    return {call.args[0].value: kind for call, (_, found, kind) in defined if found}


@pytest.fixture
def refuses(run_program, tmp_path):
    """`refuses(program, good, bad)`: each of the lists of flags `bad`, after `good`, is refused in one line.

    So is what is `WRONG` of every flag, unless `every` is False. Each list is run with "OUT" standing for an output
    that must not come to exist.
    """

    def check(program, good, bad, every=True):
        output, kinds = tmp_path / "out", flags_of(program)
        unknown = {flag[2:].partition("=")[0] for flags in (good, *bad) for flag in flags if "=" in flag} - set(kinds)
        assert unknown <= {"nothing"}, f"{program} has no flag {unknown}"
        if every:
            bad = [*bad, *(flags for name, kind in kinds.items() for flags in each(name, WRONG.get(kind, ())))]
        lists = [[flag.replace("OUT", str(output)) for flag in (*good, *flags)] for flags in bad]
        faults = []
        for flags, end in zip(lists, run_program(program, *lists), strict=True):
            own = [each for each in end.err.splitlines() if each.startswith("error: ")]
            # Absl's own complaint of a flag is a line, and how to call the program.
            usage = re.search(r"Flags parsing error|USAGE|unexpected", end.err)
            refused = end.status == 1 and "Traceback" not in end.out + end.err
            # What is complained of is the flag itself, or nothing in its place, and not a fault that all lists share.
            words = {word for flag in flags[len(good) :] for word in re.split("[=:]", flag.lstrip("-")) if word}
            named = not words or any(word in end.err for word in (*words, "''", "None"))
            if not refused or not named or not (len(own) == 1 or (not own and usage)):
                faults.append(
                    f"{shlex.join(flags[len(good) :])[-300:]}: {end.status} {end.out[-300:]} {end.err[-600:]}"
                )
        assert not faults, "\n".join((f"{len(faults)} of {len(lists)} of {program}", *faults))
        assert not list(tmp_path.iterdir())

    return check


def each(flag, values):
    return [[f"--{flag}={value}"] for value in values]


def test_every_program_is_tried():
    """By its name in this file, in a call of `refuses`."""
    source = Path(__file__).read_text()
    assert [program for program in PROGRAMS if f'"{program}"' not in source] == []
    assert flags_of("trainers.prepare_data").keys() == {"dataset", "archives", "data_dir"}


def test_every_flag_that_does_not_exist_and_every_surplus_argument(refuses):
    for program in ("attacks.evaluate", "trainers.train"):
        good = ["--model=x"] if program == "attacks.evaluate" else ["--experiment=x", "--workdir=OUT"]
        refuses(program, good, [["--nothing=1"], ["--no"], ["surplus"], ["--", "--limit=1"], ["--limit"]], False)


def test_evaluate(refuses, folder):
    good = [f"--model={folder / 'net.keras'}", "--epsilon=0.1", "--suite=quick", "--limit=4", "--output=OUT"]
    paths = ["", "no/such", str(folder / "empty"), str(folder / "empty.keras"), str(folder / "noise.npz"), "/dev/null"]
    bad = [
        *each("epsilon", RADII),
        *each("limit", BAD_COUNTS),
        *each("norm", BAD_NAMES),
        *each("suite", BAD_NAMES),
        *each("claimed", ["-0.1", "1.1", "nan", "inf", *BAD_NUMBERS]),
        *each("budget", ["", "0", "-1 s", "nan s", "1e999 h", "soon", "10 parsecs"]),
        *each("seed", ["-1", str(2**31), "1.5", *BAD_NUMBERS]),
        *each("batch_size", BAD_COUNTS),
        *each("precision", BAD_NAMES),
        *each("strategy", BAD_NAMES),
        *each("model", paths),
        *each("source", paths),
        *each("stand_in", paths),
        *each(
            "dataset", ["", "no such", str(folder / "empty"), str(folder / "noise.npz"), "no.npz", "tfds:", "tfds:no"]
        ),
        *each("architecture", ["", "small_cnn", "no such"]),
        *each("signature", ["", "serve"]),
        [f"--model={folder / 'small.keras'}"],
        [f"--output={folder / 'net.keras'}"],
        ["--output=/proc/self/no"],
        [f"--dataset={folder / 'data.npz'}", "--limit=5"],
    ]
    refuses("attacks.evaluate", good, bad)


def test_evaluate_without_a_threat_model_or_with_two(refuses, folder):
    good = [f"--model={folder / 'net.keras'}", "--suite=quick", "--limit=4", "--output=OUT"]
    threats = ["", ":", "linf:", "linf:x", "linf:-1", "linf:nan", "linf:1/0", "l9:1", "linf:0.1:0.1", "l0:0.5"]
    refuses("attacks.evaluate", good, [[], ["--epsilon=0.1", "--threat=linf:0.1"], *each("threat", threats)], False)


@pytest.mark.parametrize("program", ["attacks.autoattack", "attacks.crosscheck", "attacks.benchmark"])
def test_programs_that_compare(program, refuses, folder):
    model = f"--model={folder / 'net.keras'}"
    paths = ["", "no/such", str(folder / "empty"), str(folder / "empty.keras"), str(folder / "noise.npz")]
    common = [
        *each("epsilon", RADII),
        *each("norm", BAD_NAMES),
        *each("dataset", BAD_NAMES),
    ]
    # A ball wider than the box is a legitimate check of an attack, and a warning.
    common = [flags for flags in common if flags != ["--epsilon=8"]]
    common += [*each("model", paths), ["surplus"], [f"--model={folder / 'small.keras'}"]]
    if program == "attacks.autoattack":
        good = [model, "--dataset=digits", "--epsilon=0.1", "--limit=4", "--work=OUT"]
        own = [*each("seeds", ["", "x", "1.5", "-1", "0,x", str(2**31)]), *each("published", ["no/such", str(folder)])]
        own += [["--published=x", f"--published_seeds={value}"] for value in ("", "x", "-1")]
    elif program == "attacks.crosscheck":
        good = [model, "--epsilon=0.1", "--step_size=0.05", "--limit=4", "--steps=1", "--output=OUT.json"]
        own = [*each("step_size", ["0.2", *RADII]), *each("steps", BAD_COUNTS), *each("seed", ["x", "1.5", "-1"])]
        own += [
            *each("peers", ["nobody", "art,nobody"]),
            ["--peers=cleverhans", "--attacks=pdg"],
            ["--peers=cleverhans", "--attacks="],
            ["--peers="],
            ["--peers=cleverhans", "--output=out.txt"],
        ]
        own += [*each("autoattack_source", ["no/such", str(folder)]), ["--peers=cleverhans", "--batch_size=0"]]
        own += [["--frameworks", "--modules=no_such_module"], ["--frameworks", "--peers=art"], ["--l2_epsilon=1"]]
        own += [["--frameworks", "--timeout=0"], ["--frameworks", "--timeout=nan"]]
    else:
        small = ["--limit=20", "--images=4", "--steps=1", "--peers=cleverhans"]
        good = [model, "--epsilon=0.1", *small, "--output=OUT.json"]
        own = [*each("peers", ["nobody"]), *each("steps", BAD_COUNTS), *each("repeats", BAD_COUNTS)]
        own += [
            *each("kind", BAD_NAMES),
            *each("images", BAD_COUNTS),
            *each("batch_size", BAD_COUNTS),
        ]
        own += each("step_size", ["-0.1", "nan", "inf", "x"])
    refuses(program, good, [*common, *own])


def test_compare(refuses, folder):
    bad = [[], ["no/such"], [str(folder)], [str(folder / "net.keras")], [str(folder / "empty")], [""], ["/dev/null"]]
    refuses("attacks.compare", ["--output=OUT"], bad)


def test_export(refuses, folder):
    good = [f"--model={folder / 'net.keras'}", "--output=OUT"]
    attack = ["--attack=pgd", "--epsilon=0.1", "--step_size=0.05"]
    bad = [
        *each("model", ["", "no/such", str(folder / "empty"), str(folder / "empty.keras"), str(folder / "noise.npz")]),
        *each("format", BAD_NAMES),
        *each("attack", BAD_NAMES),
        *each("architecture", ["", "small_cnn", "no such"]),
        *[[*attack, f"--epsilon={value}"] for value in RADII if value != "8"],
        *[[*attack, f"--step_size={value}"] for value in ("-1", "nan", "inf", "x")],
        *[[*attack, f"--{flag}={value}"] for flag in ("steps", "restarts") for value in BAD_COUNTS],
        *[[*attack, f"--seed={value}"] for value in ("x", "1.5", "-1", str(2**31))],
        *[["--format=stablehlo", f"--batch_size={value}"] for value in BAD_COUNTS],
        ["--epsilon=0.1"],
        ["--attack=fgm"],
        ["--format=tflite"],
        ["--format=tflite", "--dataset=no such"],
        ["--format=onnx", *attack],
        ["surplus"],
    ]
    refuses("trainers.export", good, bad)


def test_train(refuses, folder):
    good = ["--experiment=quickstart_digits/cheap", "--limit=60", "--steps=1", "--workdir=OUT"]
    bad = [
        *each("experiment", BAD_NAMES),
        *each("steps", BAD_COUNTS),
        *each("limit", BAD_COUNTS),
        *each("seed", ["-1", "1.5", "x", str(2**32)]),
        *each("checkpoint_every", BAD_COUNTS),
        *each("keep_every", BAD_COUNTS),
        *each("strategy", BAD_NAMES),
        [f"--workdir={folder / 'net.keras'}"],
        ["--workdir=/proc/self/no"],
        ["--workdir="],
        ["--workdir=", "--steps=0"],
        ["surplus"],
    ]
    refuses("trainers.train", good, bad)


def test_the_other_programs(refuses, folder):
    refuses(
        "trainers.quickstart",
        ["--output=OUT"],
        [*each("dataset", [*BAD_NAMES, "cifar10"]), [f"--output={folder / 'net.keras'}"], ["surplus"]],
    )
    refuses(
        "trainers.prepare_data",
        ["--data_dir=OUT"],
        [
            *[[f"--dataset={name}", "--archives=."] for name in (*BAD_NAMES, "digits", "moons", "mnist_3v7")],
            ["--dataset=mnist"],
            *[["--dataset=mnist", f"--archives={path}"] for path in ("", "no/such", folder, folder / "net.keras")],
            ["--dataset=mnist", f"--archives={folder}", f"--data_dir={folder / 'net.keras'}"],
        ],
    )
    refuses(
        "trainers.reproduce",
        ["--target=feature_smoothing/table1", "--output=OUT", "--scale=smoke"],
        [
            *each("target", [*BAD_NAMES, "feature_smoothing/table1,no", ","]),
            *each("scale", BAD_NAMES),
            *each("steps", BAD_COUNTS),
            *each("rows", ["no", "clean,no"]),
            *each("limit", ["0", "-1", "x", "1.5"]),
            *each("precision", BAD_NAMES),
            *each("executor", BAD_NAMES),
            ["surplus"],
        ],
    )
    refuses(
        "trainers.survey",
        ["--family=quickstart_digits", "--output=OUT", "--members=natural"],
        [
            *each("family", BAD_NAMES),
            *each("members", ["", "no", "natural,no"]),
            *each("steps", BAD_COUNTS),
            *each("limit", ["0", "-1", "501", "x"]),
            *each("standard_limit", ["-1", "x", "1.5"]),
            *each("precision", BAD_NAMES),
            ["surplus"],
        ],
    )
    refuses(
        "trainers.training_cost",
        ["--model=linear", "--dataset=digits", "--repeats=1", "--output=OUT.json"],
        [
            *each("model", BAD_NAMES),
            *each("dataset", BAD_NAMES),
            *each("repeats", BAD_COUNTS),
            *each("steps", BAD_COUNTS),
            *each("only", ["no", "losses,no"]),
            *each("output", ["", "out.txt", str(folder / "empty"), "/proc/self/no.json"]),
            ["surplus"],
        ],
    )
