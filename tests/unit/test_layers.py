"""The structure: who may import or call whom, and that every function that is called exists."""

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

SALT = CHECKOUT / "salt"
PURE = ("words", "rules")
# What pure code may import besides pure libraries.
HARMLESS = """
__future__ collections difflib fnmatch hashlib io ipaddress jinja2 json posixpath re salt.exceptions
shlex string tarfile time typing urllib.parse uuid
""".split()
# What Salt's own loader puts into the files that it loads.
LOADERS = {"__salt__": "modules", "__states__": "states", "__utils__": "utils"}
DUNDERS = {*LOADERS, "__context__", "__grains__", "__opts__", "__pillar__"}
# The same for code that makes such a loader itself, by the function of salt.loader.
MADE = {"minion_mods": "modules", "states": "states", "utils": "utils"}
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
# Modules and states: Salt puts their directories on the path before that of libraries.
OTHERS = {file.partition("/")[2] for file in FILES if not file.startswith("_utils/")}


@functools.cache
def tree(file):
    return ast.parse((SALT / f"{file}.py").read_text())


def imported(file):
    """All that a file imports, with dots: what is imported from a module, too."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(file):
    """The libraries that a file imports."""
    return {name.partition(".")[0] for name in imported(file)} & LIBRARIES


def loaders(file):
    """Salt's loaders by the names that they have in a file."""
    found = dict(LOADERS)
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            maker, _, function = ast.unparse(node.value.func).rpartition(".")
            if maker == "salt.loader":
                found[ast.unparse(node.targets[0])] = MADE[function]
    return found


def calls(file):
    """
    What a file calls through Salt, or looks for there: the kind, and MODULE.FUNCTION.

    Without the function where only that is put together: `f"service.{do}"`.
    """
    names = loaders(file)
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Subscript):
            loader, name = node.value, node.slice
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            loader, name = node.comparators[0], node.left
        else:
            continue
        if isinstance(loader, ast.Name) and loader.id in names:
            if isinstance(name, ast.JoinedStr):
                name = name.values[0]
            if isinstance(name, ast.Constant) and "." in name.value:
                yield names[loader.id], name.value


@functools.cache
def provider(kind, module):
    """Our file that Salt calls this, or None."""
    for file in FILES:
        if file.startswith(f"_{kind}/"):
            text = (SALT / f"{file}.py").read_text()
            virtual = re.search(r"^__virtualname__ = \"(\w+)\"", text, re.MULTILINE)
            if module == (virtual[1] if virtual else Path(file).name):
                return file
    return None


def needs(file):
    """Our files that a file imports, or calls through Salt."""
    called = {provider(kind, name.partition(".")[0]) for kind, name in calls(file)}
    return {f"_utils/{library}" for library in imports(file)} | (called - {None})


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
    aliases = {"list_": "list", "import_": "import"}
    return {
        aliases.get(node.name, node.name): node
        for node in tree(file).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def test_every_file_has_a_layer():
    assert sorted(RANK) == FILES
    assert len(FILES) == len(sum(LAYERS.values(), []))


def test_libraries_have_names_of_their_own():
    assert OTHERS & LIBRARIES == set()


@pytest.mark.parametrize("file", FILES)
def test_only_libraries_are_imported(file):
    """Modules and states are called through Salt, which gives them their dunders."""
    assert {name.partition(".")[0] for name in imported(file)} & OTHERS == set()


@pytest.mark.parametrize("file", FILES)
def test_imports_and_calls_go_down(file):
    for needed in needs(file):
        assert RANK[needed] <= RANK[file], f"{file} needs {needed}"


def test_no_cycle():
    below = {file: needs(file) for file in FILES}
    while free := [file for file, needed in below.items() if not needed]:
        below = {file: needed - set(free) for file, needed in below.items() if file not in free}
    assert below == {}, "these import or call each other"


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_libraries_have_no_dunders(library):
    """Salt gives them to what its own loader loads, not to what is imported."""
    used = {node.id for node in ast.walk(tree(f"_utils/{library}")) if isinstance(node, ast.Name)}
    assert used & DUNDERS == set()


@pytest.mark.parametrize("file", [file for layer in PURE for file in LAYERS[layer]])
def test_pure(file):
    pure = [path.partition("/")[2] for layer in PURE for path in LAYERS[layer]]
    for name in imported(file):
        assert any(f"{name}.".startswith(f"{one}.") for one in (*HARMLESS, *pure)), name
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
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
    for path in Path(importlib.import_module(f"salt.{kind}").__path__[0]).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        names = {path.stem, *re.findall(r"^__virtualname__ = \"(\w+)\"", text, re.MULTILINE)}
        for name in names:
            found.setdefault(name, set()).update(re.findall(r"^def (\w+)\(", text, re.MULTILINE))
    return found


def exists(kind, name):
    """Whether there is such a function, ours or Salt's."""
    module, _, function = name.partition(".")
    file = provider(kind, module)
    known = {*(functions(file) if file else ()), *of_salt(kind).get(module, ())}
    return function in known if function else bool(known)


@pytest.mark.parametrize("file", FILES)
def test_functions_that_are_called_through_salt_exist(file):
    for kind, name in calls(file):
        assert exists(kind, name), name


@pytest.mark.parametrize("file", FILES)
def test_calls_through_salt_can_be_read(file):
    """No loader is used in a way that `calls` does not see."""
    names = loaders(file)
    nodes = list(ast.walk(tree(file)))
    used = [
        node
        for node in nodes
        if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load)
    ]
    assert len(used) == len(list(calls(file)))
    called = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    made = [name for name in called if name.startswith("salt.loader.")]
    assert len(made) == len(set(names) - set(LOADERS))


TEMPLATES = sorted(path for path in (SALT / "netboot").rglob("*") if path.is_file())
IDS = [path.name for path in TEMPLATES]


@pytest.mark.parametrize("path", TEMPLATES, ids=IDS)
def test_functions_that_templates_call_exist(path):
    text = path.read_text()
    found = re.findall(r"\bsalt(?:\[[\"'](\w+\.\w+)[\"']\]|\.(\w+\.\w+))", text)
    for name in map("".join, found):
        assert exists("modules", name), name
    assert len(found) == len(re.findall(r"\bsalt\s*(?:\[|\.\w)", text)), "not all can be read"


@pytest.mark.parametrize("path", TEMPLATES, ids=IDS)
def test_states_that_sls_use_exist(path):
    """Their arguments: tests/functional/test_sls.py."""
    if path.suffix == ".sls":
        for name in re.findall(r"^ +(\w+\.\w+):", path.read_text(), re.MULTILINE):
            assert exists("states", name), name


@pytest.mark.parametrize(
    "file", [one for one in FILES if one.startswith(("_modules/", "_wrapper/"))]
)
def test_public_functions_are_in_the_documents(file):
    """In a table, at the start of code: elsewhere `netboot.dhcp` is an SLS."""
    module = file.partition("/")[2]
    if module == "aptrpm":
        return  # Salt's own pkg, by Salt's documents
    for name in functions(file):
        row = rf"^\|.*`{module}\.{name}\b"
        assert re.search(row, DOCUMENTS, re.MULTILINE), f"nobody documents {module}.{name}"


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
