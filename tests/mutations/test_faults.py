"""The tests see deliberate faults: each must turn the tests red that `faults.py` names for it.

Ten, chosen by the commit, run by default; all of them in `./netboot test long`. A fault that nobody
sees is a defect of the tests.
"""

import os
import random
import re
import subprocess
import sys

import pytest

from tests.checkout import SOURCE, copy_tracked
from tests.mutations.faults import FAULTS

BY_DEFAULT = 10
# What needs the lab takes a minute.
CHEAP = [fault for fault in FAULTS if not fault.seen_by.startswith("tests/integration/")]


def chosen():
    """The faults of this commit."""
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=SOURCE, check=False, capture_output=True, text=True).stdout
    return random.Random(commit).sample(CHEAP, BY_DEFAULT)  # noqa: S311 (no secret)


def params():
    now = chosen()
    return [
        pytest.param(
            fault,
            id=fault.what.replace(" ", "-"),
            marks=() if fault in now else pytest.mark.long,
        )
        for fault in FAULTS
    ]


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    """A copy of this checkout that may be spoiled."""
    folder = tmp_path_factory.mktemp("mutations") / "checkout"
    copy_tracked(folder)
    (folder / ".venv").symlink_to(SOURCE / ".venv")
    (folder / ".cache").mkdir()
    (folder / ".cache/lab").symlink_to(SOURCE / ".cache/lab")
    return folder


def outcome(folder, path):
    """Run tests until one fails; returns the exit status and what was printed."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")}
    # Not those of bytecode: the fault has the length and the second of what it replaces.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", path]
    done = subprocess.run(
        words, cwd=folder, check=False, capture_output=True, text=True, env=environment
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="session")
def good(copy):
    """Whether tests pass without a fault, by their file: else a red one would say nothing."""
    known = {}

    def ask(path):
        if path not in known:
            known[path] = outcome(copy, path)
        return known[path]

    return ask


@pytest.mark.parametrize("fault", params())
def test_fault_turns_its_test_red(copy, good, fault, record_property):
    status, printed = good(fault.seen_by)
    assert status == 0, printed
    path = copy / fault.file
    right = path.read_text()
    assert right.count(fault.old) == 1, f"{fault.file} no longer has {fault.old!r} once"
    path.write_text(right.replace(fault.old, fault.new))
    try:
        status, printed = outcome(copy, fault.seen_by)
    finally:
        path.write_text(right)
    assert status == 1, f"nobody in {fault.seen_by} sees it: {fault.what}"
    found = re.search(r"^(?:FAILED|ERROR) \S+?::(.*?)(?: - .*)?$", printed, re.MULTILINE)
    record_property("fault", fault.what)
    record_property("seen_by", f"{fault.seen_by}::{found[1]}" if found else fault.seen_by)
