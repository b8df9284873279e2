"""The house rules as tests: imports point down the floors, files stay small, programs hold the flags."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tfadv"
PROGRAM_FOLDERS = ("trainers", "attacks")
LONGEST_FILE = 400  # lines

# Room or module of tfadv -> floor. A file may import its own room and lower floors only; on floor 0, where the
# modules are single files without a common subject, also its neighbors.
FLOORS = {
    "version": 0,
    "validation": 0,
    "files": 0,
    "devices": 0,
    "progress": 0,
    "stopping": 0,
    "balls": 0,
    "soft_labels": 0,
    "objectives": 0,
    "draws": 0,
    "losses": 1,
    "augment": 1,
    "data": 1,
    "models": 1,
    "report": 1,
    "attacks": 2,
    "adversarial": 3,
    "analysis": 3,
    "crosscheck": 3,
    "export": 3,
    "evaluation": 4,
    "training": 5,
    "testing": 5,
    "experiments": 6,
    "reproduction": 7,  # trains and measures experiments, as does the quickstart
    "quickstart": 7,
}
TOP = 8  # tfadv/__init__.py, which re-exports the rooms, and the programs
PEERS = {"cleverhans", "foolbox", "art", "autoattack", "torch", "torchattacks", "torchvision", "jax", "jaxlib"}

# Wraps every program's main (`exit_cleanly`), and may therefore look at the flags that a program has defined.
KNOWS_FLAGS = PACKAGE / "validation.py"

# Modules without a mirrored test file, each with the reason.
WITHOUT_A_TEST_FILE = {
    "version.py": "one constant, asserted by tests/test_packaging.py",
}


def python_files(*folders: str) -> list[Path]:
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert files, f"no Python file below {folders}"
    return files


LIBRARY = python_files("tfadv")
PROGRAMS = [file for folder in PROGRAM_FOLDERS for file in sorted((ROOT / folder).glob("*.py"))]


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, absolute dotted name) of every import, also of those inside functions.

    `from a import b` yields "a.b": b may be a module. Relative imports are resolved against the file's folder.
    """
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{prefix}.{alias.name}"


def room_of(file: Path) -> str | None:
    """The room or floor-0 module that a library file belongs to; None for tfadv/__init__.py."""
    first = file.relative_to(PACKAGE).parts[0]
    return None if first == "__init__.py" else first.removesuffix(".py")


def upward_imports(file: Path) -> list[str]:
    """The imports of a library file that break the floors, as "line: name"."""
    own = room_of(file)
    broken = []
    for line, target in imports_of(file):
        parts = target.split(".")
        if parts[0] in PROGRAM_FOLDERS:
            broken.append(f"{line}: {target} (programs are leaves)")
        if parts[0] != "tfadv" or own is None:
            continue
        room = parts[1] if len(parts) > 1 else ""
        floor, own_floor = FLOORS.get(room, TOP), FLOORS[own]
        if room != own and (floor > own_floor or (floor == own_floor and floor > 0)):
            broken.append(f"{line}: {target} (floor {floor}) from {own} (floor {own_floor})")
    return broken


def test_every_room_of_the_package_has_a_floor():
    rooms = {room_of(file) for file in LIBRARY} - {None}
    assert rooms <= set(FLOORS), f"give these a floor: {sorted(rooms - set(FLOORS))}"


@pytest.mark.parametrize("file", LIBRARY, ids=name_of)
def test_imports_point_down(file):
    assert upward_imports(file) == []


def test_the_import_rule_sees_an_upward_a_sideways_and_a_hidden_import(tmp_path, monkeypatch):
    """The rule itself, on a room of floor 1 that imports its own floor, a higher one and the top."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "tfadv")
    file = tmp_path / "tfadv" / "losses" / "hinge.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import tfadv\nfrom tfadv import balls, data\nfrom tfadv.losses.other import x\nfrom . import sibling\n"
        "from .. import training\n\ndef f():\n    import tfadv.attacks.pgd\n    from trainers import train\n"
    )
    assert [line.split(":")[0] for line in upward_imports(file)] == ["1", "2", "5", "8", "9"]


@pytest.mark.parametrize("file", LIBRARY + PROGRAMS, ids=name_of)
def test_only_the_crosscheck_imports_peers(file):
    if PACKAGE / "crosscheck" in file.parents:
        return
    assert [target for _, target in imports_of(file) if target.split(".")[0] in PEERS] == []


@pytest.mark.parametrize("file", python_files("tfadv", *PROGRAM_FOLDERS, "tests"), ids=name_of)
def test_no_file_is_longer_than_the_limit(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("file", LIBRARY, ids=name_of)
def test_the_library_defines_no_flags(file):
    """What a function depends on is among its arguments; only what wraps a program may look at flags."""
    assert "DEFINE_" not in file.read_text(encoding="utf-8")
    named = [target for _, target in imports_of(file) if target.startswith(("absl.flags", "absl.app", "argparse"))]
    assert named == [] or file == KNOWS_FLAGS


def flag_reads_outside_main(source: str) -> list[int]:
    """Lines of a program that read a flag (`_NAME.value` or `FLAGS`) outside the function `main`."""
    tree = ast.parse(source)
    flags = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and "flags.DEFINE_" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    lines = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "main":
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and (
                node.attr == "FLAGS"
                or (node.attr == "value" and isinstance(node.value, ast.Name) and node.value.id in flags)
            ):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("file", PROGRAMS, ids=name_of)
def test_a_program_reads_its_flags_in_main_and_has_a_run(file):
    source = file.read_text(encoding="utf-8")
    functions = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert {"main", "run"} <= functions
    assert flag_reads_outside_main(source) == []


def test_the_flag_rule_sees_a_read_in_a_helper():
    source = "_A = flags.DEFINE_string('a', None, '')\ndef main(_):\n    _A.value\ndef f():\n    return _A.value\n"
    assert flag_reads_outside_main(source) == [5]


@pytest.mark.parametrize("folder", PROGRAM_FOLDERS)
def test_program_folders_are_leaves_without_init(folder):
    """`__init__.py` would make an installed top-level package `trainers` or `attacks` out of a program folder."""
    assert list((ROOT / folder).rglob("__init__.py")) == []
    readme = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    programs = sorted(file.name for file in (ROOT / folder).glob("*.py"))
    assert programs
    assert [name for name in programs if name not in readme] == []


def test_programs_import_the_library_and_no_other_program():
    names = (*PROGRAM_FOLDERS, "tfadv.trainers", "tfadv.programs")
    found = [
        f"{name_of(file)}:{line}: {target}"
        for file in PROGRAMS
        for line, target in imports_of(file)
        if target.startswith(tuple(f"{name}." for name in names)) or target in names
    ]
    assert found == []


def test_every_module_has_a_mirrored_test_file():
    """tfadv/losses/x.py -> tests/losses/test_x.py; experiments are data and share one test."""
    missing = []
    for file in LIBRARY:
        relative = file.relative_to(PACKAGE)
        if file.name.startswith("_") or relative.parts[0] == "experiments":
            continue
        if relative.as_posix() not in WITHOUT_A_TEST_FILE:
            expected = ROOT / "tests" / relative.parent / f"test_{file.name}"
            missing += [] if expected.is_file() else [name_of(expected)]
    assert missing == []


IMPORT_PROBE = """
import os, pathlib, sys
import keras, tensorflow  # Keras writes its own configuration below the home folder

def listing():
    return sorted((str(file), file.stat().st_mtime_ns) for file in pathlib.Path(os.environ["HOME"]).rglob("*"))

before, modules = listing(), set(sys.modules)
import tfadv
assert tfadv.__file__ and os.getcwd() == os.environ["HOME"]
assert listing() == before, "import tfadv wrote a file"
print("\\n".join(sorted({name.split(".")[0] for name in set(sys.modules) - modules})))
"""


@pytest.mark.slow
def test_import_writes_no_file_and_leaves_heavy_packages_alone(tmp_path):
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_PROBE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert "tfadv" in imported
    heavy = {"matplotlib", "tensorflow_datasets", "sklearn", "jinja2", *PEERS}
    assert imported & heavy == set()
