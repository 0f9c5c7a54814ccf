"""Minions that stay up use a new version of the tree without a restart, libraries and all.

A module, a state and their libraries are written for these tests, in two versions, and served by a
master to two minions: one runs each job in a process, one in a thread. The tests build on each
other: a minion that has loaded one version gets the other.
"""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import Lab
from lab.master import VENV, Master
from lab.salt import CHECKOUT

WRITTEN = "/run/netboot-lab.json"

FILES = {
    "top.sls": "base: {'*': [netboot_lab]}\n",
    "netboot_lab.sls": f"lab:\n  netboot_lab.written:\n    - name: {WRITTEN}\n",
    "_utils/netboot_fresh.py": (CHECKOUT / "salt/_utils/netboot_fresh.py").read_text(),
    "_modules/netboot_lab.py": """
import netboot_fresh

netboot_fresh.forget_old()

import netboot_lab_upper


def versions():
    return {"module": "@VERSION@", **netboot_lab_upper.versions()}
""",
    "_states/netboot_lab.py": """
import json
import os

import netboot_fresh

netboot_fresh.forget_old()

import netboot_lab_upper


def written(name):
    seen = {"state": "@VERSION@", **netboot_lab_upper.versions()}
    with open(name + ".unfinished", "w") as file:
        json.dump([seen, __salt__["netboot_lab.versions"]()], file)
    os.replace(file.name, name)
    return {"name": name, "result": True, "changes": {}, "comment": ""}
""",
    "_utils/netboot_lab_upper.py": """
import netboot_lab_lower


def versions():
    return {"upper": "@VERSION@", "lower": netboot_lab_lower.VERSION}
""",
    "_utils/netboot_lab_lower.py": 'VERSION = "@VERSION@"\n',
}

# The newer version has one library more, which another needs while it is loaded itself.
NEWER_FILES = {
    **FILES,
    "_utils/netboot_lab_added.py": 'WORDS = {"added": "@VERSION@"}\n',
    "_utils/netboot_lab_upper.py": """
import netboot_lab_added
import netboot_lab_lower

ADDED = netboot_lab_added.WORDS["added"]


def versions():
    return {"upper": "@VERSION@", "lower": netboot_lab_lower.VERSION, "added": ADDED}
""",
}

VERSIONS = {"A": FILES, "B": NEWER_FILES}


class Lan:
    """A master with a state tree of its own, and its minions."""

    def __init__(self, lab, tree):
        self._lab, self._tree, self._machines = lab, tree, []
        self._salt = Master(lab, {}, file_roots={"base": [str(tree)]})

    def add_minion(self, name, **settings):
        machine = self._lab.server(name, binds=[VENV])
        self._salt.add_minion(machine, **settings)
        self._machines.append(machine)

    def serve(self, version):
        shutil.rmtree(self._tree)
        for name, text in VERSIONS[version].items():
            path = self._tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("@VERSION@", version))

    def each(self, do):
        """What `do` returns for each machine, by the machine's name; for all of them at once."""
        with ThreadPoolExecutor() as pool:
            results = pool.map(do, self._machines)
            return {
                machine.name: result
                for machine, result in zip(self._machines, results, strict=True)
            }

    def call(self, *argv):
        return self.each(lambda machine: self._salt.call(machine, *argv))

    def applied(self, *argv):
        """What the state wrote while it was applied."""

        def apply(machine):
            done = self._salt.apply(machine, *argv)
            assert done.status == 0, done.text
            return written(machine)

        return self.each(apply)


def written(machine):
    """What the state saw the last time that it ran on the machine: by itself, by the module."""
    return json.loads(machine.run(["cat", WRITTEN]).stdout)


def seen(by, version):
    """What `by` sees when all that it is made of is of the same version."""
    names = [by, "upper", "lower", *(["added"] if version == "B" else [])]
    return dict.fromkeys(names, version)


def on_both(expected):
    return {"in-processes": expected, "in-threads": expected}


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        lan = Lan(lab, tmp_path_factory.mktemp("tree"))
        with ThreadPoolExecutor() as pool:
            minions = [
                pool.submit(lan.add_minion, "in-processes", multiprocessing=True),
                pool.submit(lan.add_minion, "in-threads", multiprocessing=False),
            ]
            for minion in minions:
                minion.result()
        yield lan


def test_a_highstate_brings_the_first_version(lan):
    lan.serve("A")
    assert lan.applied() == on_both([seen("state", "A"), seen("module", "A")])
    assert lan.call("netboot_lab.versions") == on_both(seen("module", "A"))


def test_a_highstate_brings_the_next_version(lan):
    lan.serve("B")
    assert lan.applied() == on_both([seen("state", "B"), seen("module", "B")])
    assert lan.call("netboot_lab.versions") == on_both(seen("module", "B"))


def test_a_sync_brings_another_version(lan):
    lan.serve("A")
    lan.call("saltutil.sync_all")
    assert lan.call("netboot_lab.versions") == on_both(seen("module", "A"))
    # One SLS by its name, which syncs nothing.
    assert lan.applied("netboot_lab") == on_both([seen("state", "A"), seen("module", "A")])


def test_the_minions_own_schedule_brings_the_next_version(lan):
    lan.serve("B")
    lan.call("schedule.add", "lab", "function=state.apply", "seconds=3")
    deadline = time.monotonic() + 60
    new = on_both([seen("state", "B"), seen("module", "B")])
    while lan.each(written) != new:
        assert time.monotonic() < deadline, lan.each(written)
        time.sleep(0.5)
    lan.call("schedule.delete", "lab")
    assert lan.call("netboot_lab.versions") == on_both(seen("module", "B"))
