"""What every file of the project keeps to."""

import ast
import re
import subprocess
import sys

import pytest
import tomllib
import yaml

from netboot_names import VERSION
from tests.conftest import CHECKOUT
from tests.mutations.faults import FAULTS

TOOLS = CHECKOUT / ".venv/bin"
MODULES = sorted((CHECKOUT / "salt/_modules").glob("*.py"))
STATES = sorted((CHECKOUT / "salt/_states").glob("*.py"))
LIBRARIES = sorted((CHECKOUT / "salt/_utils").glob("*.py"))


@pytest.mark.parametrize(
    "command",
    [
        [TOOLS / "ruff", "check", "--no-cache", "."],
        [TOOLS / "ruff", "format", "--no-cache", "--check", "."],
        [TOOLS / "yamllint", "--strict", "conf", "Saltfile", "salt/netboot", "docs"],
    ],
    ids=["ruff-check", "ruff-format", "yamllint"],
)
def test_lint(command):
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_deliberate_faults_have_a_place(fault):
    """Those of tests/mutations, which take too long to run with each change."""
    assert (CHECKOUT / fault.file).read_text().count(fault.old) == 1


def test_all_python_is_linted():
    """The names at the top are links to folders of the same names, which an exclusion can hit."""
    command = [TOOLS / "ruff", "check", "--show-files", "."]
    shown = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    for top in ("docs", "lab", "salt", "tests"):
        assert {str(path) for path in (CHECKOUT / top).rglob("*.py")} <= set(shown.splitlines())


def test_shell_scripts_parse():
    scripts = [CHECKOUT / name for name in ("netboot", ".ci/run", "tests/thrice")]
    for pattern in ("lab/iso/*.sh", "lab/iso/install2/files/*"):
        scripts += [path for path in CHECKOUT.glob(pattern) if path.suffix != ".service"]
    for script in scripts:
        subprocess.run(["sh", "-n", script], check=True)


def public_functions(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield pytest.param(node, id=f"{path.stem}.{node.name}")


def unexplained(function, text):
    """The arguments that a docstring does not explain, alone or with others before a comma."""
    names = [argument.arg for argument in function.args.args]
    return [one for one in names if not re.search(rf"^(\w+, )*{one}\b", text, re.MULTILINE)]


@pytest.mark.parametrize("function", [f for path in MODULES for f in public_functions(path)])
def test_execution_function_is_documented(function):
    text = ast.get_docstring(function) or ""
    assert "CLI Example:\n\n.. code-block:: bash\n\n    salt" in text or (
        "CLI Example:\n\n.. code-block:: bash\n\n    python3" in text
    )
    assert unexplained(function, text) == []


@pytest.mark.parametrize("function", [f for path in LIBRARIES for f in public_functions(path)])
def test_library_function_is_documented(function):
    if function.returns and ast.unparse(function.returns) in ("Wrong", "Check"):
        return  # a check: its name, and what it says of a value
    text = ast.get_docstring(function) or ""
    assert text
    assert unexplained(function, text) == []


@pytest.mark.parametrize("function", [f for path in STATES for f in public_functions(path)])
def test_state_function_is_documented(function):
    text = ast.get_docstring(function) or ""
    assert ".. code-block:: yaml\n\n    netboot-" in text
    assert "hanges" in text
    assert unexplained(function, text) == []


def test_target_code_compiles_for_python_3_9():
    for path in (*MODULES, *STATES, *LIBRARIES):
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_repository_root_is_no_file_root():
    """`pillar/` may hold secrets."""
    for name in ("minion", "master"):
        assert "file_roots: {base: [salt]}" in (CHECKOUT / "conf" / name).read_text()


def test_python_is_the_one_of_the_launcher():
    assert sys.prefix == str(CHECKOUT / ".venv")


def test_version_is_the_same_everywhere():
    with open(CHECKOUT / "pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["version"] == VERSION
    assert yaml.safe_load((CHECKOUT / "FORMULA").read_text())["version"] == VERSION
    assert f"\n## {VERSION} " in (CHECKOUT / "CHANGELOG.md").read_text()


def test_samples_have_the_names_that_salt_people_look_for():
    assert (CHECKOUT / "pillar.example").resolve() == CHECKOUT / "pillar/netboot.sls.example"
