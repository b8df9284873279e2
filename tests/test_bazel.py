"""The BUILD files name every source file and every import, the floors hold in them, and a run without tests fails."""

import ast
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
TOOLS = REPOSITORY / "tools" / "bazel"
REMEDY = "Run: python tools/bazel/generate.py"


def load(path: pathlib.Path):
    """A module of tools/bazel, which is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


generate = load(TOOLS / "generate.py")
pytest_main = load(TOOLS / "pytest_main.py")


def rules_of(path: pathlib.Path) -> list[dict]:
    """The rules of a BUILD file (which has Python's syntax) as dictionaries of their attributes, "rule" among them."""
    calls = [node.value for node in ast.parse(path.read_text()).body if isinstance(node.value, ast.Call)]
    return [
        {"rule": call.func.id, **{word.arg: ast.literal_eval(word.value) for word in call.keywords}} for call in calls
    ]


def targets() -> dict[str, dict]:
    """Every target with sources, by its label."""
    found = {}
    for top in ("tfadv", "trainers", "attacks", "tests"):
        for path in sorted((REPOSITORY / top).rglob("BUILD")):
            folder = path.parent.relative_to(REPOSITORY).as_posix()
            found.update({f"//{folder}:{rule['name']}": rule for rule in rules_of(path) if "srcs" in rule})
    return found


def full(label: str, folder: str) -> str:
    """The label ":balls" in tfadv/BUILD, or "//tfadv/losses", in full."""
    if label.startswith(":"):
        return f"//{folder}{label}"
    return label if ":" in label else f"{label}:{label.rpartition('/')[2]}"


def test_the_build_files_are_what_the_generator_writes():
    """Files on disk and imports in them, compared line by line; the lines with + are the ones to add."""
    difference = generate.differences(REPOSITORY)
    if difference:
        pytest.fail(f"The BUILD files are out of date. {REMEDY}\n{difference}", pytrace=False)


@pytest.mark.parametrize("top", ["tfadv", "trainers", "attacks", "tests"])
def test_every_source_file_belongs_to_exactly_one_target(top):
    """Counted from the BUILD files themselves, without the generator."""
    listed = [
        f"{label[2:].split(':')[0]}/{src}"
        for label, rule in targets().items()
        for src in rule.get("srcs", [])
        if re.match(f"//{top}[/:]", label)
    ]
    on_disk = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / top).rglob("*.py")}
    missing, gone = sorted(on_disk - set(listed)), sorted(set(listed) - on_disk)
    assert not missing, f"{REMEDY}, or add to srcs in the BUILD file: {missing}"
    assert not gone, f"{REMEDY}, or remove from srcs in the BUILD file, since no such file exists: {gone}"
    assert on_disk, f"no source file under {top}/: this test would compare nothing"
    assert len(listed) == len(set(listed)), f"listed twice: {sorted({n for n in listed if listed.count(n) > 1})}"


def test_the_dependencies_of_the_libraries_point_down_the_floors():
    """A room depends on lower floors only, a module of floor 0 also on its neighbors."""
    known = targets()

    def floor(label):
        tag = known[label]["tags"][0]
        return generate.Tree(REPOSITORY).top if tag == "index" else int(tag.removeprefix("floor_"))

    libraries = [label for label in known if label.startswith("//tfadv")]
    assert {floor(label) for label in libraries} >= set(generate.Tree(REPOSITORY).floors.values())
    for label in libraries:
        folder = label[2:].split(":")[0]
        for dep in (full(dep, folder) for dep in known[label].get("deps", [])):
            assert floor(dep) < floor(label) or floor(dep) == floor(label) == 0, (
                f"{label} (floor {floor(label)}) imports {dep} (floor {floor(dep)}), but imports point down only"
            )


def test_only_higher_floors_may_see_a_library():
    """The visibility of a library on floor n is the group floor_(n + 1), and each group includes the next."""
    for label, rule in targets().items():
        if label.startswith("//tfadv") and rule["tags"] != ["index"]:
            floor = int(rule["tags"][0].removeprefix("floor_"))
            assert rule["visibility"] == [f"//:floor_{floor + 1}"], label
    groups = {rule["name"]: rule for rule in rules_of(REPOSITORY / "BUILD") if rule["rule"] == "package_group"}
    for floor in range(1, generate.Tree(REPOSITORY).top):
        assert groups[f"floor_{floor}"]["includes"] == [f":floor_{floor + 1}"]
    for room, floor in generate.Tree(REPOSITORY).floors.items():
        if (REPOSITORY / "tfadv" / room).is_dir():
            assert f"//tfadv/{room}" in groups[f"floor_{floor}"]["packages"]


def test_every_tag_of_the_fast_run_selects_a_test():
    """CI runs the tests with one of the tags in .bazelrc and without the tag "slow"."""
    text = (REPOSITORY / ".bazelrc").read_text()
    (filters,) = re.findall(r"^test:fast --test_tag_filters=(\S+)$", text, re.MULTILINE)
    wanted = set(filters.split(",")) - {"-slow"}
    assert "-slow" in filters
    assert wanted >= {"floor_0", "floor_1", "repository"}
    tests = [set(rule["tags"]) for rule in targets().values() if rule["rule"] == "pytest_test"]
    assert {tag for tags in tests if "slow" not in tags for tag in tags & wanted} == wanted


TOY = {
    "tfadv/__init__.py": "from tfadv import balls, losses",
    "tfadv/balls.py": "import os",
    "tfadv/losses/__init__.py": "from tfadv.losses.trades import trades",
    "tfadv/losses/trades.py": "from tfadv.balls import clip",
    "trainers/train.py": "import tfadv",
    "tests/test_architecture.py": "FLOORS = {'balls': 0, 'losses': 1}\nTOP = 6",
    "tests/losses/test_trades.py": "from tfadv import losses\ndef test_a(): pass",
}


def toy(root: pathlib.Path, changes: dict[str, str]) -> pathlib.Path:
    """A small repository in `root`: TOY with some files added or changed."""
    for name, text in {**TOY, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def toy_target(root: pathlib.Path, changes: dict[str, str], build_file: str, name: str) -> dict:
    """One rule as `python tools/bazel/generate.py` writes it for a small repository."""
    assert generate.main(["--root", str(toy(root, changes))]) == 0
    return {rule.get("name"): rule for rule in rules_of(root / build_file)}[name]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy", []),
        ("from tfadv import balls", ["//tfadv:balls"]),
        ("import tfadv.balls", ["//tfadv:balls"]),
        ("from tfadv.balls import clip", ["//tfadv:balls"]),
        ("from ..balls import clip", ["//tfadv:balls"]),
        ("from .. import balls", ["//tfadv:balls"]),
        ("from .trades import trades", []),
        ("def late():\n    from tfadv import balls", ["//tfadv:balls"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tfadv import balls", []),
        ("# from tfadv import balls", []),
    ],
)
def test_the_dependencies_of_a_room_are_its_imports(tmp_path, source, expected):
    changes = {"tfadv/losses/trades.py": "", "tfadv/losses/mixup.py": source}
    rule = toy_target(tmp_path, changes, "tfadv/losses/BUILD", "losses")
    assert rule.get("deps", []) == expected
    assert rule["srcs"] == ["__init__.py", "mixup.py", "trades.py"]


def test_a_program_and_a_test_depend_on_what_they_import_or_name(tmp_path):
    """A test that starts `python -m trainers.train` depends on the program; conftest.py reaches every test below it."""
    test = "from tfadv import losses\nCOMMAND = ['-m', 'trainers.train']\ndef test_a(): pass"
    changes = {"tests/losses/test_trades.py": test, "tests/conftest.py": "import pytest"}
    rule = toy_target(tmp_path, changes, "tests/losses/BUILD", "test_trades")
    assert rule["deps"] == ["//tests:support", "//tfadv/losses", "//trainers:train"]
    assert rules_of(tmp_path / "trainers/BUILD")[0]["deps"] == ["//tfadv"]


def test_data_files_of_a_room_are_listed_and_its_readme_is_not(tmp_path):
    changes = {"tfadv/losses/tables/a.csv": "1", "tfadv/losses/README.md": "text", "tfadv/losses/__pycache__/a.pyc": ""}
    assert toy_target(tmp_path, changes, "tfadv/losses/BUILD", "losses")["data"] == ["tables/a.csv"]


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("def test_a(): pass", ["floor_1"]),
        ("import pytest\npytestmark = pytest.mark.slow\ndef test_a(): pass", ["floor_1", "slow"]),
        ("import pytest\n@pytest.mark.slow\ndef test_a(): pass", ["floor_1", "slow"]),
        ("import pytest\n@pytest.mark.slow\ndef test_a(): pass\ndef test_b(): pass", ["floor_1"]),
        ("import pathlib\ndef test_a(): print(pathlib.Path(__file__))", ["floor_1", "external"]),
        ("def test_a(shared_data): pass", ["floor_1", "external"]),
        ("def test_a(tmp_path): pass", ["floor_1"]),
    ],
)
def test_the_tags_of_a_test_say_what_it_tests_and_how_it_runs(tmp_path, source, tags):
    """slow: every test of the file is; external: it reads files that Bazel does not track, so no cached result."""
    conftest = "ROOT = __file__\nDATA = ROOT + '/data'\ndef shared_data(): return DATA\ndef other(): return 1"
    changes = {"tests/losses/test_trades.py": source, "tests/conftest.py": conftest}
    assert toy_target(tmp_path, changes, "tests/losses/BUILD", "test_trades")["tags"] == tags


@pytest.mark.parametrize(
    ("file", "tag"),
    [
        ("test_balls.py", "floor_0"),
        ("test_balls_exhaustive.py", "floor_0"),
        ("test_ballsport.py", "repository"),
        ("losses/deep/test_a.py", "floor_1"),
        ("trainers/test_train.py", "floor_6"),
        ("test_readme.py", "repository"),
    ],
)
def test_the_place_of_a_test_file_gives_its_tag(tmp_path, file, tag):
    path = pathlib.PurePath("tests", file)
    rule = toy_target(tmp_path, {str(path): "def test_a(): pass"}, str(path.parent / "BUILD"), path.stem)
    assert rule["tags"] == [tag]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tfadv/losses/trades.py": "import tfadv"}, "tfadv/losses/trades.py:1 imports the whole package"),
        ({"tfadv/cutout.py": ""}, "tfadv.cutout has no floor; add it to FLOORS in tests/test_architecture.py"),
        ({"tests/test_architecture.py": ""}, "tests/test_architecture.py has no constant FLOORS"),
        ({"tfadv/balls.py": "def"}, "invalid syntax"),
    ],
)
def test_what_no_build_file_can_say_is_refused_in_one_line(tmp_path, capsys, changes, message):
    assert generate.main(["--root", str(toy(tmp_path, changes))]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "BUILD").exists()


def test_check_shows_the_line_to_add_and_writes_nothing(tmp_path, capsys):
    root = ["--root", str(toy(tmp_path, {}))]
    assert generate.main(root) == 0
    assert generate.main([*root, "--check"]) == 0
    before = (tmp_path / "tfadv/losses/BUILD").read_text()
    (tmp_path / "tfadv/losses/mixup.py").write_text("")
    capsys.readouterr()
    assert generate.main([*root, "--check"]) == 1
    assert '+        "mixup.py",' in capsys.readouterr().out.splitlines()
    assert (tmp_path / "tfadv/losses/BUILD").read_text() == before


def test_a_build_file_of_a_removed_folder_is_removed(tmp_path):
    root = ["--root", str(toy(tmp_path, {"tests/data/test_mnist.py": "def test_a(): pass"}))]
    generate.main(root)
    (tmp_path / "tests/data/test_mnist.py").unlink()
    assert "tests/data/BUILD" in generate.differences(tmp_path)
    generate.main(root)
    assert not (tmp_path / "tests/data/BUILD").exists()


def test_the_offline_config_overrides_repositories_with_stubs_that_exist():
    """The paths of .bazelrc start at the server's working folder, which is the workspace."""
    text = (REPOSITORY / ".bazelrc").read_text()
    pattern = r"^common:offline --override_repository=(\w+)=/proc/self/cwd/(\S+)$"
    overrides = dict(re.findall(pattern, text, re.MULTILINE))
    assert overrides.keys() == {"rules_cc", "rules_java", "rules_proto", "remote_coverage_tools"}
    for name, folder in overrides.items():
        assert f'workspace(name = "{name}")' in (REPOSITORY / folder / "WORKSPACE").read_text()
    assert "tools/bazel/offline" in (REPOSITORY / ".bazelignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("source", "options", "status"),
    [
        ("def test_a(): pass", [], 0),
        ("def test_a(): assert False", [], 1),
        ("", [], 5),
        ("import pytest\n@pytest.mark.slow\ndef test_a(): pass", ["-m", "not slow"], 5),
    ],
)
def test_a_run_under_bazel_that_selects_no_test_fails(tmp_path, source, options, status):
    """5 is pytest's status for "no test was collected or selected"."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow: long"]')
    (tmp_path / "test_toy.py").write_text(source)
    command = [sys.executable, str(TOOLS / "pytest_main.py"), "test_toy.py", *options]
    environment = {**os.environ, "XML_OUTPUT_FILE": str(tmp_path / "test.xml"), "TEST_TMPDIR": str(tmp_path)}
    environment.pop("TESTBRIDGE_TEST_ONLY", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert (tmp_path / "test.xml").exists()


def test_the_filter_of_bazel_becomes_that_of_pytest():
    """bazel test --test_filter=noise sets TESTBRIDGE_TEST_ONLY=noise."""
    options = pytest_main.arguments(["tests/test_a.py"], {"TESTBRIDGE_TEST_ONLY": "noise"})
    assert options[-3:] == ["-k", "noise", "tests/test_a.py"]


def test_the_interpreter_of_bazel_is_the_virtual_environment_beside_its_link_target(tmp_path):
    """Bazel runs python.sh through links in other folders; without an environment the message says what to do."""
    script = tmp_path / "clone/tools/bazel/python.sh"
    script.parent.mkdir(parents=True)
    script.write_text((TOOLS / "python.sh").read_text())
    link = tmp_path / "link"
    link.symlink_to(script)
    environment = {name: value for name, value in os.environ.items() if name != "TFADV_PYTHON"}

    def run(**variables):
        command = ["sh", str(link), "-c", "print(6 * 7)"]
        return subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=False)

    refused = run()
    assert refused.returncode == 1
    assert f"no interpreter at {script.parent}/../../.venv/bin/python" in refused.stderr
    assert run(TFADV_PYTHON=sys.executable).stdout == "42\n"
    python = tmp_path / "clone/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert run().stdout == "42\n"
