"""The structure: who may import whom, and that every function that is called exists."""

import ast
import functools
import re
from pathlib import Path

import pytest
import salt.modules
import salt.states

from tests.conftest import CHECKOUT

SALT = CHECKOUT / "salt"
PURE = ("words", "rules")
# What pure code has no use for.
IMPURE = {"os", "socket", "subprocess", "tempfile", "shutil", "pathlib", "urllib.request", "fcntl"}
DOCUMENTS = "".join(
    path.read_text() for path in (*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"))
)


def layers():
    """The files by layer, as docs/architecture.md has them."""
    found, layer = {}, None
    table = (CHECKOUT / "docs/architecture.md").read_text().partition("## Layers")[2]
    for name, file in re.findall(r"^\| (\w*) +\| `(_\w+/\w+)` \|", table, re.MULTILINE):
        layer = name or layer
        found.setdefault(layer, []).append(file)
    return found


LAYERS = layers()
RANK = {file: rank for rank, files in enumerate(LAYERS.values()) for file in files}
FILES = sorted(
    path.relative_to(SALT).with_suffix("").as_posix()
    for folder in ("_utils", "_modules", "_states", "_wrapper")
    for path in (SALT / folder).glob("*.py")
)
LIBRARIES = {file.partition("/")[2] for file in FILES if file.startswith("_utils/")}


def tree(file):
    return ast.parse((SALT / f"{file}.py").read_text())


def imports(file):
    """The libraries that a file imports."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in LIBRARIES)
        elif isinstance(node, ast.ImportFrom) and node.module in LIBRARIES:
            yield node.module


def defined(file):
    """The names that a file has at its top."""
    names = set()
    for node in tree(file).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        names |= {
            one.id if isinstance(one, ast.Name) else getattr(one, "name", None)
            for target in targets
            for one in (target.elts if isinstance(target, ast.Tuple) else [target])
        }
    return names - {None}


def functions(file):
    """The functions that users or SLS may call, by the names that Salt gives them."""
    aliases = {"list_": "list"}
    return {
        aliases.get(node.name, node.name): node
        for node in tree(file).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def test_every_file_has_a_layer():
    assert sorted(RANK) == FILES
    assert len(FILES) == len(sum(LAYERS.values(), []))


def test_libraries_have_names_of_their_own():
    """Salt puts the directories of modules and states on the path before that of libraries."""
    others = {file.partition("/")[2] for file in FILES if not file.startswith("_utils/")}
    assert others & LIBRARIES == set()


@pytest.mark.parametrize("file", FILES)
def test_imports_go_down(file):
    for library in imports(file):
        assert RANK[f"_utils/{library}"] <= RANK[file], f"{file} imports {library}"


def test_no_cycle():
    below = {file: {f"_utils/{one}" for one in imports(file)} for file in FILES}
    while free := [file for file, needs in below.items() if not needs]:
        below = {file: needs - set(free) for file, needs in below.items() if file not in free}
    assert below == {}, "these import each other"


@pytest.mark.parametrize("file", [file for layer in PURE for file in LAYERS[layer][1:]])
def test_pure(file):
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} & IMPURE == set()
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in IMPURE
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open"


@pytest.mark.parametrize("file", FILES)
def test_what_is_used_of_a_library_is_there(file):
    """mypy sees libraries alone."""
    aliases = {}
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            aliases.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module in LIBRARIES:
            for alias in node.names:
                assert alias.name in defined(f"_utils/{node.module}"), alias.name
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            library = aliases.get(node.value.id)
            if library in LIBRARIES:
                assert node.attr in defined(f"_utils/{library}"), f"{library}.{node.attr}"


@functools.cache
def of_salt(kind):
    """Salt's own functions by module, whichever file provides it on some system."""
    found = {}
    for path in Path({"modules": salt.modules, "states": salt.states}[kind].__path__[0]).glob(
        "*.py"
    ):
        text = path.read_text(encoding="utf-8")
        names = {path.stem, *re.findall(r"^__virtualname__ = \"(\w+)\"", text, re.MULTILINE)}
        for name in names:
            found.setdefault(name, set()).update(re.findall(r"^def (\w+)\(", text, re.MULTILINE))
    return found


def exists(kind, name):
    """Whether there is such a function, ours or Salt's."""
    module, _, function = name.partition(".")
    if f"_{kind}/{module}" in FILES:
        return function in functions(f"_{kind}/{module}")
    return function in of_salt(kind).get(module, ())


@pytest.mark.parametrize("file", FILES)
def test_functions_that_are_called_through_salt_exist(file):
    text = (SALT / f"{file}.py").read_text()
    for name in re.findall(r"__salt__\[\"([\w.]+)\"\]", text):
        assert exists("modules", name), name
    for name in re.findall(r"__states__\[\"([\w.]+)\"\]", text):
        assert exists("states", name), name


TEMPLATES = sorted((SALT / "netboot").rglob("*.*"))


@pytest.mark.parametrize("path", TEMPLATES, ids=[path.name for path in TEMPLATES])
def test_functions_that_templates_call_exist(path):
    """The states of the SLS: tests/functional/test_sls.py."""
    for name in re.findall(r"salt\[\"([\w.]+)\"\]", path.read_text()):
        assert exists("modules", name), name


@pytest.mark.parametrize("file", [one for one in FILES if one.startswith("_modules/")])
def test_public_functions_are_in_the_documents(file):
    module = file.partition("/")[2]
    if module == "aptrpm":
        return  # Salt's own pkg, by Salt's documents
    for name in functions(file):
        assert f"{module}.{name}" in DOCUMENTS, f"nobody documents {module}.{name}"


@pytest.mark.parametrize("file", [one for one in FILES if one.startswith(("_modules", "_states"))])
def test_libraries_are_fresh(file):
    """A minion that stays up must not use libraries of before a sync."""
    lines = [
        ast.unparse(node)
        for node in tree(file).body
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr))
    ]
    used = [number for number, line in enumerate(lines) if any(one in line for one in LIBRARIES)]
    if used:
        first = lines[used[0] : used[0] + 2]
        assert first == ["import netboot_fresh", "netboot_fresh.forget_old()"]
