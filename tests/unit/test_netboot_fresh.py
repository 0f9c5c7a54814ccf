"""How a library of an earlier version is forgotten, in a folder like a minion's."""

import importlib
import importlib.util
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import CHECKOUT

FRESH = CHECKOUT / "salt/_utils/netboot_fresh.py"

LOWER = "VERSION = {version!r}\n"
UPPER = "import netboot_lab_lower\n\nVERSION = {version!r} + netboot_lab_lower.VERSION\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of libraries on Python's path; what is imported from it is gone after the test."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name == FRESH.stem}
    # No compiled files: Python compares whole seconds and sizes, and tests write more quickly.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copy(FRESH, tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if os.path.dirname(getattr(module, "__file__", None) or "") == str(tmp_path):
            del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def often_switched():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def write(folder, version, **libraries):
    """Write libraries as a sync does: into the files that are there."""
    time.sleep(0.01)  # the clock of file systems ticks about every 4 ms
    for name, text in (libraries or {"lower": LOWER, "upper": UPPER}).items():
        (folder / f"netboot_lab_{name}.py").write_text(text.format(version=version))


def load(name="netboot_lab_upper"):
    """Do as the first lines of a module do; returns the library that it gets."""
    importlib.import_module("netboot_fresh").forget_old()
    return importlib.import_module(name)


def test_nothing_is_forgotten_while_nothing_changes(folder):
    write(folder, "A")
    library = load()
    assert library.VERSION == "AA"
    assert load() is library


def test_new_versions_are_used(folder):
    write(folder, "A")
    old = load()
    write(folder, "B")
    new = load()
    assert new.VERSION == "BB"
    assert load() is new
    assert old.VERSION == "AA"  # whoever holds it keeps it


def test_a_library_that_imports_a_changed_one_is_loaded_again(folder):
    write(folder, "A")
    load()
    write(folder, "B", lower=LOWER)
    assert load().VERSION == "AB"


def test_a_new_version_may_bring_another_library(folder):
    write(folder, "A")
    load()
    write(folder, "B", lower="import netboot_lab_added\nVERSION = netboot_lab_added.WORD\n")
    write(folder, "B", added="WORD = {version!r}\n")
    assert load().VERSION == "AB"


def test_a_library_that_is_gone_cannot_be_imported(folder):
    write(folder, "A")
    load()
    (folder / "netboot_lab_lower.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        load()


def test_a_new_version_of_itself_is_used_and_keeps_what_is_new(folder):
    write(folder, "A")
    load()
    lock = importlib.import_module("netboot_fresh")._lock
    write(folder, "B")
    (folder / FRESH.name).write_text(FRESH.read_text() + "\n\nNEW = True\n")
    library = load()
    assert library.VERSION == "BB"
    fresh = importlib.import_module("netboot_fresh")
    assert fresh.NEW
    assert fresh._lock is lock
    # Or one module would raise an exception that another, which imported its class again, misses.
    assert load() is library


def test_foreign_libraries_stay(folder):
    write(folder, "A")
    (folder / "acme.py").write_text("")
    load()
    acme = importlib.import_module("acme")
    # As a file of ours is called when Salt's own loader has loaded it for `__utils__`.
    loaded = importlib.util.spec_from_file_location(
        "salt.loaded.ext.utils.netboot_lab_lower", folder / "netboot_lab_lower.py"
    )
    sys.modules[loaded.name] = importlib.util.module_from_spec(loaded)
    write(folder, "B")
    (folder / "acme.py").write_text("CHANGED = True\n")
    load()
    assert sys.modules["acme"] is acme
    assert loaded.name in sys.modules


def test_threads_get_the_same_library(folder, often_switched):
    write(folder, "A")
    load()
    for version in "BCDEFGHIJK":
        write(folder, version)
        with ThreadPoolExecutor(8) as pool:
            libraries = list(pool.map(lambda _: load(), range(8)))
        assert {library.VERSION for library in libraries} == {version * 2}
        assert len(set(map(id, libraries))) == 1


@pytest.mark.parametrize("path", sorted(FRESH.parent.glob("*.py")), ids=lambda path: path.stem)
def test_every_library_of_the_tree_is_one_that_would_be_forgotten(folder, path):
    fresh = importlib.import_module("netboot_fresh")
    shutil.copy(path, folder)
    assert path.name in fresh._versions()
