"""How a library of an earlier version is forgotten, in a folder like a minion's."""

import contextlib
import importlib
import importlib.util
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

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
    """Replace libraries, each at once, as threads may be reading them."""
    time.sleep(0.01)  # the clock of file systems ticks about every 4 ms
    for name, text in (libraries or {"lower": LOWER, "upper": UPPER}).items():
        (folder / "written").write_text(text.format(version=version))
        (folder / "written").rename(folder / f"netboot_lab_{name}.py")


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
    foreign = ["acme", "isodate", "netbootable"]
    write(folder, "A")
    for name in foreign:
        (folder / f"{name}.py").write_text("")
    load()
    before = [importlib.import_module(name) for name in foreign]
    # As a file of ours is called when Salt's own loader has loaded it for `__utils__`.
    loaded = importlib.util.spec_from_file_location(
        "salt.loaded.ext.utils.netboot_lab_lower", folder / "netboot_lab_lower.py"
    )
    sys.modules[loaded.name] = importlib.util.module_from_spec(loaded)
    write(folder, "B")
    for name in foreign:
        (folder / f"{name}.py").write_text("CHANGED = True\n")
    load()
    assert [sys.modules[name] for name in foreign] == before
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


def test_a_library_that_another_thread_imports_is_waited_for(folder, monkeypatch):
    gate = SimpleNamespace(begun=threading.Event(), go_on=threading.Event())
    monkeypatch.setitem(sys.modules, "gate", gate)
    slow = LOWER + "import gate\ngate.begun.set()\ngate.go_on.wait(9)\n"
    write(folder, "A", lower=slow, upper=UPPER)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(load)
        assert gate.begun.wait(9)
        write(folder, "B")
        second = pool.submit(load)
        time.sleep(0.3)
        gate.go_on.set()
        assert first.result().VERSION.startswith("A")
        assert second.result().VERSION == "BB"


def test_a_library_whose_import_fails_in_another_thread(folder, monkeypatch):
    gate = SimpleNamespace(begun=threading.Event(), go_on=threading.Event())
    monkeypatch.setitem(sys.modules, "gate", gate)
    wrong = "import gate\ngate.begun.set()\ngate.go_on.wait(9)\n1 / 0\n"
    write(folder, "A", lower=wrong, upper=UPPER)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(load)
        assert gate.begun.wait(9)
        write(folder, "B", upper=LOWER)
        second = pool.submit(load)
        time.sleep(0.3)
        gate.go_on.set()
        with pytest.raises(ZeroDivisionError):
            first.result()
        assert second.result().VERSION == "B"


def test_files_are_replaced_while_threads_import(folder, often_switched):
    slow = {"lower": LOWER + "import time\ntime.sleep(0.002)\n", "upper": UPPER}
    write(folder, "A", **slow)
    done = threading.Event()

    def load_again_and_again():
        while not done.is_set():
            load()

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(load_again_and_again) for _ in range(4)]
        try:
            for version in "BCDEFGHIJKLMNOPQRSTUVWXYZ":
                write(folder, version, **slow)
        finally:
            done.set()
        for thread in threads:
            thread.result()
    assert load().VERSION == "ZZ"


def test_a_file_that_vanishes_while_it_is_looked_at_is_absent(folder, monkeypatch):
    write(folder, "A")
    fresh = importlib.import_module("netboot_fresh")
    scandir = os.scandir

    def vanishing(path):
        with scandir(path) as files:
            found = list(files)
        (folder / "netboot_lab_lower.py").unlink()
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert set(fresh._versions()) == {"netboot_fresh.py", "netboot_lab_upper.py"}


@pytest.mark.parametrize("path", sorted(FRESH.parent.glob("*.py")), ids=lambda path: path.stem)
def test_every_library_of_the_tree_is_one_that_would_be_forgotten(folder, path):
    fresh = importlib.import_module("netboot_fresh")
    shutil.copy(path, folder)
    assert path.name in fresh._versions()
