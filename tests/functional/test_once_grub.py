"""Hosts that boot once by an image's own GRUB, whose scripts lie in the TFTP root."""

import contextlib
import re
import runpy
import shutil
import time
from types import SimpleNamespace

import pytest
from salt.exceptions import SaltInvocationError

import netboot_arming
import netboot_grub
from netboot_records import Records
from tests.conftest import CHECKOUT
from tests.functional.test_killed import killed
from tests.functional.test_once import (  # noqa: F401
    OWN,
    PROGRAM,
    STAGE,
    host,
    line,
    neighbours,
    running,
    server,
    wait_for,
    wait_for_a_look,
    write,
)

BY_GRUB = {
    "images": {"P11": {"url": "http://x/p.iso", "checksum": {"sha256": "ab" * 32}}},
    "secure_boot": {"efi-x86_64": {"image": "P11"}},
}


def by_grub(at):
    return sorted(path.stem for path in at.grub.glob("*")) if at.grub.exists() else []


def token(text):
    return re.search(r"/host/[a-z0-9]+[.]([0-9a-f]{32})", text)[1]


@pytest.fixture
def secure(server, configured):  # noqa: F811
    configured(BY_GRUB, arm_new=True)
    return server


def test_both_scripts_of_an_arming(secure, modules):
    """One token; both come, change and go together."""
    own = {**host("pc1"), "told_by": OWN}
    changes = {"pc1": "armed", "pc1.ipxe": "new", "grub/once/pc1.cfg": "new"}
    assert secure.reconcile(own, test=True) == changes
    assert not secure.grub.exists()
    assert secure.reconcile(own) == changes
    assert secure.grub.stat().st_mode & 0o777 == 0o755

    def tokens():
        return {
            token(path.read_text())
            for path in (secure.grub / "pc1.cfg", secure.scripts / "pc1.ipxe")
        }

    first = tokens()
    assert len(first) == 1
    assert secure.reconcile(own) == {}
    modules.netboot.arm("pc1")
    assert len(tokens()) == 1
    assert tokens() != first
    (secure.grub / "pc1.cfg").unlink()
    assert secure.reconcile(own) == {"grub/once/pc1.cfg": "new"}
    modules.netboot.arm("pc1", disarm=True)
    assert (secure.armed(), by_grub(secure)) == ([], [])


def test_menu_of_a_host(secure, modules, records):
    config = records.config()
    hosts = {
        "pc1": {"mac": "52:54:00:00:00:01", "image": "P11", "variant": "livecd", "once": True},
        "pc2": {"mac": "52:54:00:00:00:02", "entry": "local"},
    }
    template = (CHECKOUT / "salt/netboot/files/grub.cfg.jinja").read_text()
    made = netboot_grub.render(template, config, [], hosts, {}, [])
    files = {**made.menus, **made.hosts}
    secure.grub.mkdir(parents=True)
    for name, text in files.items():
        (secure.root / "tftp" / name).write_text(text)
    records.write("owned", "menus", sorted(files))
    secure.reconcile({**host("pc1"), "told_by": OWN})

    def shown(**which):
        text = modules.netboot.menu("grub", **which)
        return [one[4:] for one in text.splitlines() if one.startswith("=== ")]

    assert modules.netboot.menu("grub") == files["grub/grub.cfg"]
    own = "grub/grub.cfg-01-52-54-00-00-00-0"
    for which in ("pc1", "5254.0000.0001"):
        assert shown(host=which) == [f"{own}1", "grub/once/pc1.cfg", "grub/grub.cfg"]
    assert shown(host="pc2") == [f"{own}2", "grub/grub.cfg"]
    with pytest.raises(SaltInvocationError, match="no file of GRUB for host 'pc3'"):
        modules.netboot.menu("grub", host="pc3")


def test_script_of_grub_only_where_its_boot_can_be_seen(secure):
    for more in ({"server": "http://x"}, {"told_by": ["uuid=x"]}):
        secure.reconcile({**host("pc1"), "told_by": OWN, **more})
        assert (secure.armed(), by_grub(secure)) == (["pc1"], [])
    secure.reconcile({**host("pc1"), "told_by": OWN})
    assert by_grub(secure) == ["pc1"]


def test_key_that_goes_takes_the_scripts_of_grub(secure, configured):
    own = {**host("pc1"), "told_by": OWN}
    secure.reconcile(own)
    configured({}, arm_new=True)
    assert secure.reconcile(own) == {"grub/once/pc1.cfg": "removed"}
    assert not secure.grub.exists()
    assert secure.armed() == ["pc1"]


def test_renamed_host_of_grub(secure):
    secure.reconcile({**host("pc1"), "told_by": OWN})
    secure.reconcile({**host("pc2"), "told_by": OWN})
    assert (secure.armed(), by_grub(secure)) == (["pc2"], ["pc2"])


def fetched(at, key="pc1"):
    """What a machine that read GRUB's script of a host fetches last."""
    return f"/host/{key}.{token((at.grub / f'{key}.cfg').read_text())}{STAGE}"


@pytest.mark.parametrize(
    ("known", "sent", "boots"),
    [
        (["20"], [], True),  # on the segment its MAC address tells
        (["21"], ["20"], True),  # routed: it read the script
        (["21"], [], False),
        (["21"], ["30"], False),  # somebody else read it
        (["21"], ["200"], False),
    ],
)
def test_who_boots_by_grub(secure, known, sent, boots):
    secure.reconcile({**host("pc1"), "told_by": OWN}, host("pc2"))
    neighbours(secure, *known)
    journal(secure, *(f"sent {secure.grub}/pc1.cfg to 198.18.0.{one}" for one in sent))
    write(secure.log, line(fetched(secure)))
    write(secure.log, line(secure.uri("pc2", client="198.18.0.99"), client="198.18.0.99"))
    with running(secure):
        wait_for(lambda: "pc2" in secure.booted() and "pc2" not in secure.armed())
        assert "pc1" in secure.booted() or not boots
        if boots:
            wait_for(lambda: (secure.armed(), by_grub(secure)) == ([], []))
    assert ("pc1" in secure.booted()) == boots
    assert ("198.18.0.20 fetched what pc1 boots, but" in secure.said) == (not boots)


def journal(secure, *lines, at=None):
    """What the journal has, as `journalctl` of a program of this test prints it."""
    at = time.time() + 5 if at is None else at
    text = "".join(f"{at:.6f} netboot1 dnsmasq-tftp[99]: {one}\n" for one in lines)
    (secure.log.parent / "lines").write_text(text)
    program = secure.log.parent / "journalctl"
    program.write_text(f"#!/bin/sh\necho run >> {program}.runs\ncat {secure.log.parent}/lines\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    "said",
    [
        "file /srv/x sent {grub}/pc1.cfg to 198.18.0.20 not found for 198.18.0.30",
        "sent /srv/x: sent {grub}/pc1.cfg to 198.18.0.20",
        "failed sending {grub}/pc1.cfg to 198.18.0.20",
        "sent {grub}/pc1.cfg to 198.18.0.20 to 198.18.0.30",
        "sent {grub}/pc10.cfg to 198.18.0.20",
        "file x\u20289999999999.0 a b: sent {grub}/pc1.cfg to 198.18.0.20\u2028 not found",
    ],
)
def test_names_of_files_that_look_like_lines(secure, said):
    """Anybody can ask for a file of any name."""
    secure.reconcile({**host("pc1"), "told_by": OWN})
    neighbours(secure, "21")
    journal(secure, said.format(grub=secure.grub))
    write(secure.log, line(fetched(secure)))
    with running(secure):
        wait_for_a_look(secure)
    assert secure.booted() == []


def test_script_that_was_read_before_the_host_was_armed(secure):
    secure.reconcile({**host("pc1"), "told_by": OWN})
    neighbours(secure, "21")
    journal(secure, f"sent {secure.grub}/pc1.cfg to 198.18.0.20", at=time.time() - 600)
    write(secure.log, line(fetched(secure)))
    with running(secure):
        wait_for_a_look(secure)
    assert secure.booted() == []


def test_flood_of_stages_reads_the_journal_rarely(secure):
    secure.reconcile({**host("pc1"), "told_by": OWN})
    neighbours(secure, "21")
    journal(secure)
    write(secure.log, line(fetched(secure)) * 500)
    with running(secure):
        wait_for_a_look(secure)
    assert (secure.log.parent / "journalctl.runs").read_text().count("run") <= 3


def test_power_cut_between_the_scripts(secure):
    """GRUB's script comes back, or goes, with the record of the boot."""
    secure.reconcile({**host("pc1"), "told_by": OWN})
    neighbours(secure, "20")
    scripts = [secure.grub / "pc1.cfg", secure.scripts / "pc1.ipxe"]
    texts = [path.read_text() for path in scripts]
    write(secure.log, line(fetched(secure)))
    with running(secure):
        wait_for(lambda: not any(path.exists() for path in scripts))
    for path, text in zip(scripts, texts):
        path.write_text(text)
        with running(secure):
            wait_for(lambda path=path: not path.exists())
        path.write_text(text)
    assert set(secure.reconcile({**host("pc1"), "told_by": OWN}).values()) == {"removed"}


# -- killed ----------------------------------------------------------------------------------------


def look(secure):
    """netboot-once begins, and looks once."""
    program = runpy.run_path(str(PROGRAM))
    options = {
        **{"log": str(secure.log), "records": str(secure.records), "scripts": str(secure.scripts)},
        **{"grub": str(secure.grub), "answers": str(secure.answers), "answer_hours": 6},
        **{"arm_days": 7, "neighbours": str(secure.neighbours)},
    }
    sleep, program["time"].sleep = program["time"].sleep, lambda _: 1 / 0
    try:
        with contextlib.suppress(ZeroDivisionError):
            program["Watch"](SimpleNamespace(**options)).run()
    finally:
        program["time"].sleep = sleep


def arm(secure):
    netboot_arming.arm(Records(str(secure.records)), "pc1")


def disarm(secure):
    netboot_arming.disarm(Records(str(secure.records)), "pc1")


def again(secure):
    secure.reconcile({**host("pc1"), "told_by": OWN})


def lost(secure):
    """Its scripts are gone from the disk."""
    for path in (*secure.grub.iterdir(), *secure.scripts.iterdir()):
        path.unlink()


def booted(secure):
    write(secure.log, line(fetched(secure)))


def nothing(secure):
    """Nothing."""


@pytest.mark.parametrize(
    ("before", "do", "armed"),
    [(nothing, arm, True), (nothing, disarm, False), (lost, again, True), (booted, look, False)],
)
def test_killed_at_each_call(secure, tmp_path, before, do, armed):
    """What comes after it puts both scripts right, and GRUB's never arms a host that is not."""
    again(secure)
    neighbours(secure, "20")
    before(secure)
    kept = tmp_path / "kept"
    places = (secure.records, secure.scripts, secure.grub)

    def back():
        for place in places:
            if not (kept / place.name).exists():
                shutil.copytree(place, kept / place.name)
            shutil.rmtree(place)
            shutil.copytree(kept / place.name, place)

    back()
    number = 0
    while killed(lambda: do(secure), number):
        at = f"call {number}"
        number += 1
        look(secure)
        do(secure)
        look(secure)
        again(secure)
        names = [path.name for path in (*secure.grub.iterdir(), *secure.scripts.iterdir())]
        assert names == (["pc1.cfg", "pc1.ipxe"] if armed else []), at
        if armed:
            own = Records(str(secure.records)).armings()["pc1"]["arming"]
            assert {token(path.read_text()) for path in secure.grub.iterdir()} == {own}, at
            assert {token(path.read_text()) for path in secure.scripts.iterdir()} == {own}, at
        back()
    assert number >= 2, "no call of it was counted"
