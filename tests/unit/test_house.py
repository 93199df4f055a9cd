"""The house rules that no linter knows: names, shapes, and pages that name what exists."""

import ast
import functools
import itertools
import re
import statistics
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llmbench"
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

SHARED_NAMES = {
    "command": "every subcommand's module has one, which `cli.main` imports by that name",
    "main": "what a process runs: the command line, a worker, a step",
    "Run": "the interface's run is the stored one with `to_pandas`",
    "compare": "the interface's `compare` takes runs where the analysis takes reports",
    "measure": "the interface's `measure` is that of the session",
}
"""Public names that several modules define, and why."""

NOUNS = {"serving", "embedding", "pairing", "pinning", "timing", "scripted"}
"""Module names that end as a participle does, and are none; the scripted engine is called so."""

STAND_ALONE = {
    "__main__.py": "`python -m llmbench`",
    "_version.py": "setuptools reads it without importing the package",
    "cli/baseline.py": "what --baseline stands for",
    "cli/profile.py": "one file a subcommand",
    "convert/texts.py": "two steps read the same texts",
    "cli/run_files.py": "every report and the baseline find their runs by it",
    "files/package_data.py": "prompts and properties, of two rows, are found by it",
    "files/atomic.py": "everything that writes a file uses it",
    "files/strict_json.py": "the one strict reader of JSON",
    "machine/procfs.py": "the one reader of /proc and /sys",
    "models/safetensors.py": "converting and LoRA adapters share it",
    "render/sentences/level_changes.py": "terminal and page share it",
    "store/acceptances.py": "the one file beside the runs that people edit",
    "render/junit.py": "one file an output format",
    "render/terminal/calibration.py": "one file a screen",
    "render/terminal/comparison.py": "one file a screen",
    "render/terminal/history.py": "one file a screen",
    "runner/blocks.py": "the rules that end a run early: all of a plan that looks at results",
    "store/schema_1.py": "schema 2 is described without its past",
    "models/integrity.py": "which files a model must have, read by location and by manifest",
    "cli/dry_run.py": "the check and the plan without a run, for run and ab alike",
    "schema/tasks.py": "options, models, engines and workloads share it",
    "schema/progress.py": "converting, fetching and the screen share it",
}
"""Modules below 60 lines, and why each stands alone."""

BY_WORKLOAD = ("analysis/metrics/", "schema/settings/")
"""Packages that have a module per workload, however short."""

OLD_WORDS = {
    "told": "reported, recorded, parsed",
    "said": "recorded",
    "asked": "requested",
    "answer": "response",
    "answers": "responses",
    "in_force": "effective",
    "hold": "pin",
    "held": "pinned",
    "place": "placement, affinity",
    "foreign": "other processes, interference",
    "took": "used",
    "neighbour": "other process",
    "neighbours": "other processes",
    "ability": "capability",
    "abilities": "capabilities",
    "parting": "divergence",
    "steady": "stable",
    "steadiness": "stability",
    "traffic": "bandwidth",
    "subject": "model",
    "subjects": "models",
}
"""Words that no identifier holds, and the field's own."""

STABLE_NAMES = {"foreign_cpu_limit"}
"""An option's name, which is a key of recipes and run files, too."""


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its path."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")
    }


def definitions(tree: ast.Module) -> Iterator[str]:
    """Public names that a module defines at its top level; what it imports is not its own."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function after its signature and its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def words(module: str, tree: ast.Module) -> set[str]:
    """Words of a module's name and of its identifiers: `InForce` has in_force, in, and force."""
    names = {
        value
        for node in ast.walk(tree)
        if not isinstance(node, ast.Constant)
        for _, value in ast.iter_fields(node)
        if isinstance(value, str) and value not in STABLE_NAMES
    }
    parts = [
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).lower().split("_")
        for name in (*names, module.removesuffix(".py"))
        for part in re.split("[./]", name)
    ]
    pairs = {f"{first}_{second}" for each in parts for first, second in itertools.pairwise(each)}
    return pairs.union(*parts)


def test_a_public_name_means_one_thing() -> None:
    """No public name is defined at the top level of two modules."""
    homes = defaultdict(set)
    for module, tree in modules().items():
        for name in definitions(tree):
            homes[name].add(module)
    twice = {name: where for name, where in homes.items() if len(where) > 1 and not name.startswith("_")}

    assert {} == {name: where for name, where in twice.items() if name not in SHARED_NAMES}


def test_modules_are_named_by_nouns() -> None:
    """No participle, and no name that says nothing."""
    names = {part for module in modules() for part in module.removesuffix(".py").split("/")}

    assert {name for name in names if re.search("(ed|ing)$", name)} <= NOUNS
    assert not {name for name in names if re.search("utils?|common|helper|manager|handler", name)}


def test_the_root_of_the_package_is_small() -> None:
    """At most eight files: what is more belongs in a package."""
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 8


def test_a_small_module_has_a_reason() -> None:
    """Below 60 lines, it says that it stands alone, or is in the table above; a package's own may be short."""
    lines = {name: len((PACKAGE / name).read_text().splitlines()) for name in modules()}
    small = {name for name, count in lines.items() if count < 60 and not name.endswith("__init__.py")}
    explained = {name for name in small if "stands alone" in (ast.get_docstring(modules()[name]) or "")}

    assert {name for name in small - explained if not name.startswith(BY_WORKLOAD)} <= STAND_ALONE.keys()


def test_every_module_says_what_it_answers() -> None:
    """A docstring, packages included."""
    assert not [name for name, tree in modules().items() if not ast.get_docstring(tree)]


def test_identifiers_use_the_terms_of_the_field() -> None:
    """No identifier holds a word that outsiders have to read twice."""
    used = {(name, word) for name, tree in modules().items() for word in words(name, tree) & OLD_WORDS.keys()}

    assert [] == [f"{name}: {word}; write {OLD_WORDS[word]}" for name, word in sorted(used)]


def test_functions_are_short() -> None:
    """Half have at most 8 lines, nine of ten at most 25, none more than 50."""
    lines = {
        (module, function.name, function.lineno): body_lines(function)
        for module, tree in modules().items()
        for function in functions(tree)
    }

    assert {} == {function: count for function, count in lines.items() if count > 50}
    assert statistics.median(lines.values()) <= 8
    assert statistics.quantiles(lines.values(), n=10)[-1] <= 25


def test_functions_say_what_they_return() -> None:
    """Every one, nested ones included; mypy does not look into those without any annotation."""
    assert [] == [
        (module, function.name)
        for module, tree in modules().items()
        for function in functions(tree)
        if function.returns is None
    ]


def test_the_architecture_names_every_package() -> None:
    """As a path in backticks that ends in a slash."""
    packages = [name.removesuffix("/__init__.py") for name in modules() if name.endswith("/__init__.py")]
    missing = [name for name in packages if f"`{name}/`" not in ARCHITECTURE]

    assert [] == missing


def holds(path: Path, name: str) -> bool:
    """Whether a file has a name: as a word, and in Python as a definition or as a text, as a row's name is."""
    text = path.read_text()
    if path.suffix != ".py":
        return re.search(rf"\b{name}\b", text) is not None
    tree = ast.parse(text)
    return name in definitions(tree) or any(
        isinstance(node, ast.Constant) and node.value == name for node in ast.walk(tree)
    )


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_what_a_page_names_exists(page: str) -> None:
    """Paths in backticks, from the repository's root or the package's, and names in them: `path.py::name`."""
    named = re.findall(r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:py|toml|md))(?:::(\w+))?`", page)
    found = [
        next((base / path for base in (ROOT, PACKAGE) if (base / path).exists()), None) for path, _ in named
    ]

    assert named
    assert [] == [path for (path, _), file in zip(named, found, strict=True) if file is None]
    assert [] == [
        f"{path}::{name}"
        for (path, name), file in zip(named, found, strict=True)
        if name and file is not None and not holds(file, name)
    ]


def test_commands_that_contributors_type_exist() -> None:
    """Every `make TARGET` of CONTRIBUTING.md is a target."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", CONTRIBUTING))

    assert named
    assert set() == named - targets


def yaml_files() -> list[Path]:
    """The YAML that tools of others read, and nothing of ours does."""
    return sorted([*ROOT.glob(".*.yaml"), *ROOT.glob(".github/**/*.yml"), *ROOT.glob("docs/*.yml")])


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_yaml_reads(path: Path) -> None:
    """It parses, and is what its reader expects: a mapping."""
    yaml = pytest.importorskip("yaml")
    content: Any = yaml.safe_load(path.read_text())

    assert isinstance(content, dict)


def test_the_workflow_runs_the_gate() -> None:
    """The same script as everywhere else, so that there is one gate."""
    assert "run: .ci/run" in (ROOT / ".github/workflows/gate.yml").read_text()


def imported(tree: ast.Module) -> Iterator[str]:
    """The packages that a module imports, at its top or late, by their first names."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0]


def installed_by(requirements: list[str], extras: dict[str, list[str]]) -> set[str]:
    """What installing some requirements installs, in the end; those of this project are its *extras*."""
    found: set[str] = set()
    left = [Requirement(each) for each in requirements]
    while left:
        wanted = left.pop()
        if wanted.name == "llmbench":
            left += [Requirement(each) for extra in wanted.extras for each in extras[extra]]
        elif wanted.name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(wanted.name)
            left += map(Requirement, metadata.requires(wanted.name) or ())
    return {canonicalize_name(name) for name in found}


def test_a_newcomer_can_lint() -> None:
    """The extra `dev` brings each package that mypy reads: without one, `make quick` ends there in a fresh clone."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, overrides = settings["project"], settings["tool"]["mypy"]["overrides"]
    skipped = {module.partition(".")[0] for each in overrides for module in each["module"]}
    read = {name for tree in modules().values() for name in imported(tree)} - skipped - {"llmbench"}
    extras = project["optional-dependencies"]
    brought = installed_by([*project["dependencies"], *extras["dev"]], extras)
    homes = metadata.packages_distributions()

    assert {} == {
        name: homes.get(name)
        for name in read - sys.stdlib_module_names
        if not brought & {canonicalize_name(home) for home in homes.get(name, ())}
    }
