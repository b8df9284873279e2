"""Writes the BUILD files from the files on disk and the imports in them.

One py_library for each room of tfadv/ and for each module beside the rooms, one py_binary for each program, one
py_test for each test file. Dependencies are the imports found by parsing; nothing is imported or run. The visibility
of each library restates the floors: Bazel itself refuses a room that imports from its own floor or from above.

    python tools/bazel/generate.py            writes the files
    python tools/bazel/generate.py --check    writes nothing; exit status 1 and a diff where a file is out of date
"""

import argparse
import ast
import dataclasses
import difflib
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = "tfadv"
PROGRAM_FOLDERS = ("trainers", "attacks")
TESTS = "tests"
BY_TESTS = f"//{TESTS}:__subpackages__"  # The visibility of what only tests may depend on.
HEADER = "# Written by tools/bazel/generate.py, which is to be run after adding a file or an import."
IGNORED = {"__pycache__", "BUILD", "README.md"}  # Files beside the sources that no target carries.

# Its table FLOORS says on which floor a room or module stands, and its TOP where the programs stand.
FLOORS_FILE = f"{TESTS}/test_architecture.py"


class BuildError(ValueError):
    """A source file that cannot be described by a BUILD file; the message says what to change."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One rule of a BUILD file. `srcs` and `data` are names inside `folder`; `deps` are full labels."""

    folder: str  # Relative to the repository, "tfadv/losses".
    rule: str
    name: str
    srcs: tuple[str, ...]
    data: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    visibility: str = ""
    tags: tuple[str, ...] = ()
    size: str = ""

    @property
    def label(self) -> str:
        return f"//{self.folder}:{self.name}"

    def text(self) -> str:
        """The rule in the layout of buildifier: one-element lists on one line, longer ones a line for each element."""
        lines = [f"{self.rule}(", f'    name = "{self.name}",']
        if self.size:
            lines.append(f'    size = "{self.size}",')
        lines += _list("srcs", self.srcs) + _list("data", self.data) + _list("tags", self.tags)
        lines += _list("visibility", (self.visibility,) if self.visibility else ())
        lines += _list("deps", tuple(shorten(dep, self.folder) for dep in self.deps))
        return "\n".join([*lines, ")"])


def _list(name: str, values: tuple[str, ...]) -> list[str]:
    if len(values) < 2:
        return [f'    {name} = ["{value}"],' for value in values]
    return [f"    {name} = [", *(f'        "{value}",' for value in values), "    ],"]


def shorten(label: str, folder: str) -> str:
    """The label as written in the BUILD file of `folder`: //tfadv:balls is ":balls" in tfadv/BUILD."""
    package, name = label[2:].split(":")
    if package == folder:
        return f":{name}"
    return f"//{package}" if package.split("/")[-1] == name else label


def _order(label: str) -> tuple[bool, str]:
    """Sorts labels as buildifier does: this package's first, then by path."""
    return not label.startswith(":"), label


def imports(node: ast.AST, package: str) -> list[tuple[str, int]]:
    """Every dotted name that a file imports, with its line; `from a import b` gives "a.b".

    `package` ("tfadv.losses") resolves relative imports. What stands under `if TYPE_CHECKING` never runs and is left
    out. Imports inside functions count.
    """
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return [name for child in node.orelse for name in imports(child, package)]
    if isinstance(node, ast.Import):
        return [(alias.name, node.lineno) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        parents = parts[: len(parts) - node.level + 1] if node.level else []
        base = ".".join([*parents, *([node.module] if node.module else [])])
        return [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return [name for child in ast.iter_child_nodes(node) for name in imports(child, package)]


class Tree:
    """The sources under one repository root, and the targets that describe them."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.modules: dict[str, str] = {}  # "tfadv.losses" -> "//tfadv/losses:losses"
        self.parsed: dict[str, ast.Module] = {}
        self.floors: dict[str, int] = self.read_constant("FLOORS")
        self.top: int = self.read_constant("TOP")
        self.rooms = sorted({path.parent.name for path in (root / PACKAGE).glob("*/*.py")})
        for room in self.rooms:
            self.modules[f"{PACKAGE}.{room}"] = f"//{PACKAGE}/{room}:{room}"
        for path in sorted((root / PACKAGE).glob("*.py")):
            name = PACKAGE if path.stem == "__init__" else path.stem
            self.modules[PACKAGE if name == PACKAGE else f"{PACKAGE}.{name}"] = f"//{PACKAGE}:{name}"
        for folder in PROGRAM_FOLDERS:
            for path in sorted((root / folder).glob("*.py")):
                self.modules[f"{folder}.{path.stem}"] = f"//{folder}:{path.stem}"

    def parse(self, relative: str) -> ast.Module:
        if relative not in self.parsed:
            self.parsed[relative] = ast.parse((self.root / relative).read_text(encoding="utf-8"), relative)
        return self.parsed[relative]

    def read_constant(self, name: str) -> Any:
        """The value of a constant of FLOORS_FILE, which is parsed like every other file."""
        for node in self.parse(FLOORS_FILE).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.literal_eval(node.value)
        raise BuildError(f"{FLOORS_FILE} has no constant {name}, from which the BUILD files take the floors.")

    def resolve(self, dotted: str) -> str | None:
        """The target that holds a module or a name inside it; None for what is not ours."""
        while dotted:
            if dotted in self.modules:
                return self.modules[dotted]
            dotted = dotted.rpartition(".")[0]
        return None

    def deps(self, sources: list[str], strings: bool = False) -> set[str]:
        """The targets that these files import, by label.

        With `strings`, a string that is exactly one of our module names counts as well: the table of a lazy index,
        or the "trainers.train" of a test that runs `python -m trainers.train`.
        """
        found = set()
        for source in sources:
            tree = self.parse(source)
            for dotted, line in imports(tree, ".".join(pathlib.PurePath(source).parts[:-1])):
                label = self.resolve(dotted)
                if label == self.modules.get(PACKAGE) and source.startswith(f"{PACKAGE}/"):
                    if source != f"{PACKAGE}/__init__.py":
                        raise BuildError(
                            f"{source}:{line} imports the whole package, which depends on every room; "
                            f"import the room or module itself, as in `from {PACKAGE} import balls`."
                        )
                elif label:
                    found.add(label)
            if strings:
                constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
                found |= {label for name, label in self.modules.items() if name in constants}
        return found

    def files(self, folder: str, deep: bool = False) -> tuple[list[str], list[str]]:
        """(Python files, other files) of a folder, as sorted names inside it; `deep` includes its subfolders."""
        base = self.root / folder
        paths = [path.relative_to(base) for path in sorted(base.glob("**/*" if deep else "*")) if path.is_file()]
        paths = [path for path in paths if not IGNORED & set(path.parts) and not path.name.startswith(".")]
        return [str(path) for path in paths if path.suffix == ".py"], [str(p) for p in paths if p.suffix != ".py"]

    def library(self, folder: str, name: str, srcs: list[str], data: list[str]) -> Target:
        deps = self.deps([f"{folder}/{src}" for src in srcs], strings=name == PACKAGE) - {f"//{folder}:{name}"}
        if name == PACKAGE:
            floor, visibility = "index", f"//:floor_{self.top}"
        elif name in self.floors:
            floor, visibility = f"floor_{self.floors[name]}", f"//:floor_{self.floors[name] + 1}"
        else:
            raise BuildError(f"{PACKAGE}.{name} has no floor; add it to FLOORS in {FLOORS_FILE}.")
        return Target(folder, "py_library", name, tuple(srcs), tuple(data), tuple(deps), visibility, (floor,))

    def rooms_and_modules(self) -> list[Target]:
        sources, others = self.files(PACKAGE)
        modules = [self.library(PACKAGE, src[:-3], [src], []) for src in sources if src != "__init__.py"]
        modules.sort(key=lambda target: (target.tags, target.name))
        index = [self.library(PACKAGE, PACKAGE, ["__init__.py"], others)] if "__init__.py" in sources else []
        rooms = [self.library(f"{PACKAGE}/{room}", room, *self.files(f"{PACKAGE}/{room}", True)) for room in self.rooms]
        return [*modules, *index, *rooms]

    def programs(self) -> list[Target]:
        return [
            Target(folder, "py_binary", src[:-3], (src,), (), tuple(self.deps([f"{folder}/{src}"])), BY_TESTS)
            for folder in PROGRAM_FOLDERS
            for src in self.files(folder)[0]
        ]

    def tests(self) -> list[Target]:
        """For each folder of tests, a library `support` of its conftest.py and data, and a test for each test file."""
        targets: list[Target] = []
        supports: dict[str, list[str]] = {}  # Folder -> the support libraries of it and of the folders above.
        reading: dict[str, set[str]] = {}  # Folder -> the fixtures in scope that read the checkout.
        folders = [self.root / TESTS, *sorted(path for path in (self.root / TESTS).rglob("*") if path.is_dir())]
        for path in folders:
            folder = str(path.relative_to(self.root))
            if IGNORED & set(path.parts):
                continue
            sources, others = self.files(folder)
            helpers = [src for src in sources if not src.startswith("test_")]
            parent = str(path.parent.relative_to(self.root))
            supports[folder], reading[folder] = list(supports.get(parent, [])), set(reading.get(parent, set()))
            if helpers or others:
                deps = tuple(self.deps([f"{folder}/{src}" for src in helpers]))
                support = Target(folder, "py_library", "support", tuple(helpers), tuple(others), deps, BY_TESTS)
                targets.append(support)
                supports[folder].append(support.label)
                reading[folder] |= {name for src in helpers for name in self.reading_fixtures(f"{folder}/{src}")}
            for src in sources:
                if src.startswith("test_"):
                    targets.append(self.test(folder, src, supports[folder], reading[folder]))
        return targets

    def reading_fixtures(self, source: str) -> set[str]:
        """The functions of a conftest.py that look at files outside of Bazel's sight: those that mention __file__,
        directly or through a constant of the module."""
        tree = self.parse(source)
        names = {"__file__"}
        for node in tree.body:
            if isinstance(node, ast.Assign) and names & _names(node):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and names & _names(node)}

    def test(self, folder: str, src: str, supports: list[str], reading: set[str]) -> Target:
        tree = self.parse(f"{folder}/{src}")
        deps = self.deps([f"{folder}/{src}"], strings=True) | set(supports)
        room = folder.removeprefix(TESTS).strip("/").split("/")[0]
        default = f"floor_{self.top}" if room else "repository"  # Tests of programs, and of the repository itself.
        if not room:  # test_training.py and test_training_resumes.py are both tests of the module training.
            about = src[:-3].removeprefix("test_") + "_"
            room = max((name for name in self.floors if about.startswith(f"{name}_")), key=len, default="")
        tags = [f"floor_{self.floors[room]}" if room in self.floors else default]
        if all_slow(tree):
            tags.append("slow")
        if _names(tree) & {"__file__", *reading}:
            # Such a test reads the checkout, which Bazel does not track: its result is never taken from the cache.
            tags.append("external")
        size = "large" if "slow" in tags else "medium"
        return Target(folder, "pytest_test", src[:-3], (src,), deps=tuple(deps), tags=tuple(tags), size=size)

    def build_files(self) -> dict[str, str]:
        """The text of every generated BUILD file, by its path relative to the repository."""
        folders: dict[str, list[Target]] = {}
        for target in [*self.rooms_and_modules(), *self.programs(), *self.tests()]:
            deps = tuple(sorted(target.deps, key=lambda label: _order(shorten(label, target.folder))))
            folders.setdefault(target.folder, []).append(dataclasses.replace(target, deps=deps))
        files = {f"{folder}/BUILD": build_file(targets) for folder, targets in sorted(folders.items())}
        return {"BUILD": self.root_build_file(), **files}

    def root_build_file(self) -> str:
        """pyproject.toml for the tests, and who may use what stands below each floor."""
        parts = [HEADER, 'exports_files(["pyproject.toml"])']
        for floor in range(1, self.top + 1):
            # tfadv/BUILD holds modules of several floors; the imports of those are held by tests/test_bazel.py.
            packages = [f"//{PACKAGE}/{room}" for room in self.rooms if self.floors.get(room) == floor]
            if floor == self.top:
                packages = [*(f"//{folder}" for folder in PROGRAM_FOLDERS), f"//{TESTS}/...", f"//{PACKAGE}"]
            group = ["package_group(", f'    name = "floor_{floor}",', *_list("packages", tuple(packages))]
            if floor < self.top:
                group.append(f'    includes = [":floor_{floor + 1}"],')
            parts.append("\n".join([*group, ")"]))
        return "\n\n".join(parts) + "\n"


def _names(node: ast.AST) -> set[str]:
    """Every variable and argument that a piece of code mentions."""
    walked = list(ast.walk(node))
    return {n.id for n in walked if isinstance(n, ast.Name)} | {n.arg for n in walked if isinstance(n, ast.arg)}


def all_slow(tree: ast.Module) -> bool:
    """Whether every test of a file is marked slow, by `pytestmark` or one by one."""

    def slow(nodes: Iterable[ast.expr]) -> bool:
        return any("mark.slow" in ast.unparse(node) for node in nodes)

    if slow(n.value for n in tree.body if isinstance(n, ast.Assign) and "pytestmark" in ast.unparse(n.targets[0])):
        return True
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test")]
    return bool(tests) and all(slow(test.decorator_list) for test in tests)


def build_file(targets: list[Target]) -> str:
    """The text of one BUILD file."""
    parts = [HEADER]
    if any(target.rule == "pytest_test" for target in targets):
        parts.append('load("//tools/bazel:pytest.bzl", "pytest_test")')
    return "\n\n".join([*parts, *(target.text() for target in targets)]) + "\n"


def present(root: pathlib.Path) -> set[str]:
    """The BUILD files on disk that this program owns; tools/bazel/BUILD is written by hand."""
    folders = [PACKAGE, TESTS, *PROGRAM_FOLDERS]
    return {str(path.relative_to(root)) for folder in folders for path in (root / folder).rglob("BUILD")}


def differences(root: pathlib.Path) -> str:
    """What the BUILD files on disk lack or have too much, as one diff; empty where they are up to date."""
    expected = Tree(root).build_files()
    lines: list[str] = []
    for name in sorted(present(root) | expected.keys()):
        path = root / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        before, after = found.splitlines(), expected.get(name, "").splitlines()
        lines += difflib.unified_diff(before, after, name, f"{name} as it should be", lineterm="", n=3)
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; show what would change.")
    parser.add_argument("--root", type=pathlib.Path, default=REPOSITORY, help="The repository; default: this one.")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            difference = differences(options.root)
            print(difference or "The BUILD files are up to date.")
            return 1 if difference else 0
        expected = Tree(options.root).build_files()
        for name in present(options.root) - expected.keys():
            (options.root / name).unlink()
        for name, text in expected.items():
            (options.root / name).write_text(text, encoding="utf-8")
    except (BuildError, SyntaxError) as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
