"""
Unattended installs that go wrong, with real firmware: what is on record, whether a disk is touched,
and that nothing is installed twice. All the time another host, pc1, stays armed.
"""

import json
import time

import pytest

from tests import answers
from tests.unattended import (
    GIB,
    LATER,
    arm,
    disk,
    is_kept,
    left,
    listed,
    log_of,
    made_site,
    record,
    state,
    switched_on,
    wait_for_state,
    wait_for_step,
)

pytestmark = pytest.mark.long

# What a medium of one's own may have: answers that wipe each disk.
WIPES = {
    "autoinstall.scm": answers.BEGINNING
    + answers.DISK.format(profile="workstation")
    + answers.PACKAGES.format(step="pkg-install-init", lists="")
    + answers.GRUB_BIOS.format("/dev/vda"),
    "vm-profile.scm": answers.profile("workstation", answers.ROOT),
}
# The medium of p10 has no answers, but a profile, as each of ALT's has in its stage.
PROFILE = {"vm-profile.scm": answers.profile("workstation", answers.SLOT, answers.ROOT)}
ISOS = {
    "p11": ({}, {}),
    "wiping": ({}, {"edition": "own", "metadata": WIPES}),
    "p10": ({}, {"generation": "p10.4", "metadata": PROFILE}),
}
OWN = (
    '((mine (title . "Mine") (action . trivial) (actiondata ("/" (size {} . #t)'
    ' (fsim . "Ext4") (methods plain)))))'
)
# Salt's minion is looked for during an hour, with a minute between tries: here with none.
HASTE = {"/usr/local/bin/sleep": {"text": "#!/bin/sh\nexec /bin/sleep 0.1\n", "mode": "0755"}}
INSTALLS = {
    "new": {"disk": "smallest", "salt": True},
    "empty": {"disk": "empty"},
    "own": {"disk": "all", "layout": "own", "vm_profile": OWN.format(9 * GIB // 512)},
    "old": {"disk": "all"},
    "minion": {"disk": "all", "salt": True, "files": HASTE},
}
HOSTS = {
    "pc1": ("p11", "new"),
    "pc2": ("p11", "new"),
    "pc3": ("p11", "empty"),
    "pc4": ("p11", "own"),
    "pc5": ("p10", "old"),
    "pc6": ("wiping", "new"),
    "pc7": ("p11", "minion"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with made_site(tmp_path_factory, ISOS, INSTALLS, HOSTS) as found:
        arm(found, "pc1")
        yield found


@pytest.fixture
def site(made):
    """Another host's arming is as it was, and so are its answers."""
    before = left(made, "pc1")
    assert "autoinstall.scm" in before
    yield made
    assert state(made, "pc1") == ("armed", "")
    assert left(made, "pc1") == before


def can_be_armed_again(site, name):
    arm(site, name)
    assert state(site, name) == ("armed", "")


def is_not_installed_again(site, name):
    """Its script is gone, so the menu leads to its disk."""
    assert f"{name}.ipxe" not in site.server.run(["ls", "/var/lib/netboot-once"]).stdout.split()


def boots_from_its_disk(site, name, disks):
    """Whatever is there: no installer starts, and what is on record stays."""
    is_not_installed_again(site, name)
    before = state(site, name)
    with switched_on(site, "bios", name, disks) as client:
        client.wait_for("Booting from SAN device 0x80", timeout=120)
        assert "stage1:" not in log_of(client)
    assert state(site, name) == before


@pytest.mark.parametrize(
    ("name", "sizes", "why"),
    [
        ("pc2", (), "this machine has no disk"),
        ("pc2", (1,), "vda lacks the 4736 MiB that the partitions need"),
        ("pc2", (8, 8), "the rule smallest fits several disks  vda and vdb"),
        ("pc3", (8, 9), "the rule empty fits several disks  vda and vdb"),
        ("pc4", (8,), "no disk has the 9216 MiB that the partitions need"),
    ],
    ids=["none", "too-small", "two-equal", "two-empty", "own-layout"],
)
def test_disks_that_do_not_fit(site, tmp_path, name, sizes, why):
    """The machine stops before it writes, and says why."""
    arm(site, name)
    at = LATER if name == "pc3" else 0
    disks = [disk(tmp_path / f"{number}", size * GIB, at) for number, size in enumerate(sizes)]
    with switched_on(site, "bios", name, disks) as client:
        wait_for_state(site, name, ("failed", "disk"), 300)
        assert "NETBOOT-ALT-WIPED" not in log_of(client)
    assert listed(site, name)["why"] == why
    assert all(is_kept(path, at) for path in disks)
    can_be_armed_again(site, name)


def test_p10_disk_that_is_too_small(site, tmp_path):
    """Nothing of ours runs before it partitions: it becomes silent, and the disk is kept."""
    arm(site, "pc5")
    disks = [disk(tmp_path / "only", 4 * GIB)]
    with switched_on(site, "bios", "pc5", disks) as client:
        client.wait_for("autoinstall FAILED: the profile fits no disk", timeout=300)
    assert is_kept(disks[0])
    assert state(site, "pc5") == ("booting", "")
    hours_later(site, "pc5", 1.1)
    assert state(site, "pc5") == ("silent", "")
    assert "autoinstall.scm" in left(site, "pc5")
    hours_later(site, "pc5", 6)
    time.sleep(2)
    assert left(site, "pc5") == ""
    is_not_installed_again(site, "pc5")
    can_be_armed_again(site, "pc5")


def hours_later(site, name, hours):
    """As if its script had been read so long ago."""
    one = json.loads(record(site, name))
    one["served_at"] -= int(hours * 3600)
    site.server.run(["systemctl", "stop", "netboot-once"])
    site.server.run(["tee", f"/var/lib/netboot/installs/{name}.json"], input=json.dumps(one))
    site.server.run(["systemctl", "start", "netboot-once"])


def test_profile_that_is_gone(site, tmp_path):
    """The steps that wipe name one that the medium's own file does not have."""
    arm(site, "pc5")
    disks = [disk(tmp_path / "only")]
    gone = ["find", "/var/lib/netboot-answers", "-path", "*/pc5.*/vm-profile.scm", "-delete"]
    with switched_on(site, "bios", "pc5", disks) as client:
        client.wait_for(r"vmlinuz\.\.\. ok", timeout=120)
        site.server.run(gone)
        client.wait_for("NETBOOT-ALT-REFUSED vm-profile.scm has no profile nb-", timeout=300)
    assert is_kept(disks[0])
    assert state(site, "pc5") == ("booting", "")


def test_answers_that_are_over_once_the_installer_runs(site, tmp_path):
    """On a medium that would wipe by itself: our script sees that, and stops."""
    arm(site, "pc6")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc6", disks) as client:
        client.wait_for("NETBOOT-ALT-FETCHED install-scripts.tar http", timeout=300)
        site.server.run(["sh", "-c", "rm -r /var/lib/netboot-answers/served/*"])
        wait_for_state(site, "pc6", ("failed", "answers"))
        assert "NETBOOT-ALT-WIPED" not in log_of(client)
    assert is_kept(disks[0])
    can_be_armed_again(site, "pc6")


@pytest.mark.parametrize(
    ("name", "end", "kept"),
    [
        ("pc2", "autoinstall FAILED: there is no autoinstall.scm, a person would be asked", True),
        # What docs/install.md warns of.
        ("pc6", "install2: mounted", False),
    ],
    ids=["asks", "wipes"],
)
def test_disarmed_while_the_stage_loads(site, tmp_path, name, end, kept):
    """The installer gets no answers, and takes those of its medium if that has any."""
    arm(site, name)
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", name, disks) as client:
        client.wait_for(r"initrd\.img\.\.\. ok", timeout=120)
        arm(site, name, "disarm=True")
        assert left(site, name) == ""
        client.wait_for(end, timeout=300)
    assert is_kept(disks[0]) == kept
    assert state(site, name) == ("", "")
    is_not_installed_again(site, name)


def test_server_that_is_gone_before_the_first_question(site, tmp_path):
    arm(site, "pc2")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks) as client:
        client.wait_for("stage1: stage 2 on", timeout=300)
        site.server.run(["systemctl", "stop", "nginx"])
        client.wait_for("autoinstall FAILED: there is no autoinstall.scm", timeout=300)
        site.server.run(["systemctl", "start", "nginx"])
    assert is_kept(disks[0])
    assert state(site, "pc2") == ("booting", "")
    is_not_installed_again(site, "pc2")
    can_be_armed_again(site, "pc2")


def test_install_that_began_is_finished(site, tmp_path):
    """The server is away until it is over, the power fails at the first boot, and there is no
    repository: each boot tries again, and none installs."""
    repository, away = site.folder / "repository", site.folder / "away"
    arm(site, "pc7")
    disks = [disk(tmp_path / "only")]
    repository.rename(away)
    with switched_on(site, "bios", "pc7", disks) as client:
        wait_for_step(site, "pc7", "answers")
        client.wait_for("NETBOOT-ALT-FETCHED vm-profile.scm http", timeout=120)
        site.server.run(["systemctl", "stop", "nginx"])
        client.wait_for("NETBOOT-ALT-DONE", timeout=300)
        assert state(site, "pc7") == ("installing", "answers")
        site.server.run(["systemctl", "start", "nginx"])
        wait_for_step(site, "pc7", "first-boot")
    assert state(site, "pc7") == ("installed", "first-boot")
    assert left(site, "pc7") == ""
    with switched_on(site, "bios", "pc7", disks) as client:
        wait_for_state(site, "pc7", ("failed", "minion"), 400)
        assert "stage1:" not in log_of(client)
    away.rename(repository)
    with switched_on(site, "bios", "pc7", disks) as client:
        wait_for_state(site, "pc7", ("installed", "minion"), 400)
        assert "stage1:" not in log_of(client)


def test_power_cut_before_the_image_came(site, tmp_path):
    """Nothing was installed, so it is at the next start."""
    arm(site, "pc2")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks) as client:
        client.wait_for(r"vmlinuz\.\.\. ok", timeout=120)
    assert state(site, "pc2") == ("booting", "")
    assert is_kept(disks[0])
    with switched_on(site, "bios", "pc2", disks):
        wait_for_step(site, "pc2", "answers")
    assert state(site, "pc2")[0] == "installing"


@pytest.mark.parametrize(
    ("line", "found", "kept"),
    [
        ("stage1: stage 2 on", ("booting", ""), True),
        ("install2: mounted", ("installing", "answers"), False),
        (r"preinstall\.d/98-netboot\.sh\ninstall2: line", ("installing", "packages"), False),
        (r"/grub\ninstall2: line", ("installing", "packages"), False),
    ],
    ids=["stage", "disk", "packages", "bootloader"],
)
def test_power_cut(site, tmp_path, line, found, kept):
    """It is not installed by itself again."""
    arm(site, "pc2")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks) as client:
        client.wait_for(line.replace(r"\n", r"\r?\n"), timeout=300)
    time.sleep(1)  # for netboot-once
    assert state(site, "pc2") == found
    assert is_kept(disks[0]) == kept
    boots_from_its_disk(site, "pc2", disks)
    can_be_armed_again(site, "pc2")
