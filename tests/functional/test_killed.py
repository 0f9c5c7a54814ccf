"""Installs, as something is killed: at each call that changes files, one after the other."""

import contextlib
import datetime
import os
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import netboot_arming
from netboot_records import Records
from tests.conftest import CHECKOUT
from tests.functional.test_answering import (  # noqa: F401
    FILES,
    HOSTS,
    INSTALLS,
    iso,
    server,
    token_of,
)
from tests.functional.test_once import line, write

CALLS = "chmod chown fchmod fsync link mkdir remove rename replace rmdir symlink truncate unlink"
MAC, ADDRESS = "52:54:00:00:00:01", "198.18.0.20"
WHOLE = {f"{platform}/{name}" for platform in ("efi", "pcbios") for name in FILES}


def killed(do, number):
    """Do something in a process that ends before its call of that number; return if it did."""
    child = os.fork()
    if not child:
        left = [number]

        def wrapped(call):
            def counted(*args, **how):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return call(*args, **how)

            return counted

        for name in CALLS.split():
            setattr(os, name, wrapped(getattr(os, name)))
        ended = 1
        try:
            do()
            ended = 0
        finally:
            os._exit(ended)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), "it failed by itself"
    return status == 9


@pytest.fixture
def machine(server, records, tmp_path):  # noqa: F811
    """A server, its netboot-once, and what can happen to it; `again` puts everything back."""
    (server.answers / "served").mkdir(parents=True, exist_ok=True)
    log = tmp_path / "log"
    neighbours = tmp_path / "arp"
    neighbours.write_text(f"title\n{ADDRESS} 0x1 0x2 {MAC} * eth0\n")
    program = runpy.run_path(str(CHECKOUT / "salt/netboot/files/netboot-once"))

    def look(start=False):
        watch = program["Watch"](
            SimpleNamespace(
                **{"log": str(log), "records": records.directory, "scripts": str(server.scripts)},
                **{"answers": str(server.answers), "answer_hours": 6, "arm_days": 7},
                neighbours=str(neighbours),
                grub="",
            )
        )
        with contextlib.suppress(ZeroDivisionError):
            sleep, program["time"].sleep = program["time"].sleep, lambda _: 1 / 0
            try:
                watch.run()
            finally:
                program["time"].sleep = sleep

    def logged(path, **other):
        now = datetime.datetime.now(datetime.timezone.utc)
        write(log, line(path, client=ADDRESS, time=f"{now:%Y-%m-%dT%H:%M:%S+00:00}", **other))

    def did(step):
        token = token_of(records, "pc1")
        logged(f"/host/pc1.{token}/did/{step}", length="0", sent=0)

    places = [Path(records.directory), server.scripts, server.answers]

    def keep():
        for place in places:
            shutil.copytree(place, tmp_path / "kept" / place.name)

    def again():
        for place in places:
            shutil.rmtree(place)
            shutil.copytree(tmp_path / "kept" / place.name, place)

    return SimpleNamespace(
        **vars(server),
        **{"look": look, "logged": logged, "did": did, "keep": keep, "again": again},
        log=log,
        reader=lambda: logged("/once/pc1.ipxe"),
        fresh=lambda: Records(records.directory),
    )


def armed(machine):
    return sorted(path.stem for path in machine.scripts.glob("[!.]*.ipxe"))


def answers(machine):
    """All directories of answers, by path, with their files."""
    return {
        str(top.relative_to(machine.answers)): {
            str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*")
            if path.is_file()
        }
        for top in (
            *machine.answers.glob("armed/[!.]*/answers"),
            *machine.answers.glob("served/*/[!.]*"),
        )
    }


def profile(machine, **changed):
    machine.pillar["installs"] = {**INSTALLS, "school": {**INSTALLS["school"], **changed}}


def arm(machine):
    netboot_arming.arm(machine.fresh(), "pc1")


def disarm(machine):
    netboot_arming.disarm(machine.fresh(), "*")


def renamed(machine):
    hosts = {name: one for name, one in HOSTS.items() if name != "pc1"}
    machine.pillar["hosts"] = {**hosts, "lab-pc1": HOSTS["pc1"]}


def narrowed(machine):
    """The records of this pillar are there, its answers not."""
    profile(machine, disk="smallest")


def nothing(machine):
    """Nothing."""


def installing(machine):
    arm(machine)
    machine.reader()
    machine.look()


def installed(machine):
    installing(machine)
    machine.did("installed")


def read(machine):
    arm(machine)
    machine.reader()


def look(machine):
    machine.look()


def apply(machine):
    machine.reconcile()


@pytest.mark.parametrize(
    ("before", "change", "do", "expected", "serves"),
    [
        (arm, nothing, arm, {"pc1"}, 0),
        (installing, nothing, disarm, set(), 0),
        (arm, narrowed, apply, {"pc1"}, 0),
        (arm, renamed, apply, {"lab-pc1"}, 0),
        (read, nothing, look, {"pc1"}, 1),
        (installed, nothing, look, set(), 0),
    ],
)
def test_killed_at_each_call(machine, modules, records, before, change, do, expected, serves):
    """Nobody is armed by that; netboot-once, the same again, and an apply put everything right."""
    before(machine)
    change(machine)
    if change is not nothing:
        modules.state.apply("netboot.images", pillar={"netboot": machine.pillar})
    machine.keep()
    was, answers_before = set(armed(machine)), answers(machine)
    do(machine)
    answers_after = answers(machine)
    machine.again()
    number = 0
    while killed(lambda: do(machine), number):
        at = f"call {number}"
        number += 1
        # What an installer may read at this moment.
        for path, files in answers(machine).items():
            assert set(files) == WHOLE, (at, path)
            (token,) = {part.split(".")[1] for part in path.split("/") if len(part) > 33}
            assert f"nb-{token}".encode() in files["efi/vm-profile.scm"], (at, path)
            if path in answers_before and path in answers_after:
                assert files in (answers_before[path], answers_after[path]), (at, path)
        assert set(armed(machine)) <= was | expected, at
        machine.look()
        assert set(armed(machine)) <= was | expected, at
        do(machine)
        machine.look()
        machine.reconcile()
        assert set(os.listdir(machine.scripts)) == {f"{key}.ipxe" for key in expected}, at
        tokens = {f"{key}.{one['arming']}" for key, one in machine.fresh().armings().items()}
        found = answers(machine)
        assert len([path for path in found if path.startswith("served/")]) == serves, at
        assert all(
            path.split("/")[-1 if path.startswith("served") else 1] in tokens for path in found
        )
        # Nothing besides: no rest of a secret.
        files = {path for path in machine.answers.rglob("*") if path.is_file()}
        assert len(files) == len(WHOLE) * len(found), (at, files)
        if expected:
            (key,) = expected
            token = machine.fresh().armings()[key]["arming"]
            assert set(found[f"armed/{key}.{token}/answers"]) == WHOLE, at
            assert token in (machine.scripts / f"{key}.ipxe").read_text(), at
        machine.again()
    assert number > 10, "no call of it was counted"


@pytest.mark.parametrize("disarms", [False, True])
def test_renamed_in_the_middle(machine, modules, records, disarms):
    """It boots below its old name: neither without its answers, nor a second time."""
    installing(machine)
    token = token_of(records, "pc1")
    renamed(machine)
    modules.state.apply("netboot.images", pillar={"netboot": machine.pillar})
    machine.reconcile()
    machine.look()
    assert armed(machine) == ["lab-pc1"]
    top = f"served/{ADDRESS}/pc1.{token}"
    assert set(answers(machine)[top]) == WHOLE
    if disarms:
        disarm(machine)
        assert (armed(machine), answers(machine)) == ([], {})
        return
    machine.logged(f"/host/pc1.{token}{records.armings()['lab-pc1']['path']}")
    machine.look()
    assert armed(machine) == []
    machine.logged(f"/host/pc1.{token}/did/installed", length="0", sent=0)
    machine.look()
    machine.reconcile()
    assert (armed(machine), answers(machine)) == ([], {})


def test_report_of_a_renamed_host(machine, modules, records):
    """What reports has booted, whatever it is called by now."""
    installing(machine)
    token = token_of(records, "pc1")
    renamed(machine)
    modules.state.apply("netboot.images", pillar={"netboot": machine.pillar})
    machine.reconcile()
    machine.logged(f"/host/pc1.{token}/did/disk", length="0", sent=0)
    machine.look()
    assert armed(machine) == []
