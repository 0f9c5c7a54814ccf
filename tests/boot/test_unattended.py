"""
From power-on to an installed system that is a minion: real firmware, our answers, the stand-in for
ALT's installer. A machine starts over the network each time; what it then boots is the server's
decision. What goes wrong is in test_install_breakages.py.
"""

import json

import pytest

from netboot_installing import STEPS
from tests.accepting import accepting_master, keys_of, wait_until
from tests.unattended import (
    GIB,
    STATIC,
    arm,
    disk,
    installed,
    is_kept,
    left,
    made_site,
    record,
    state,
    switched_on,
    wait_for_state,
)

LONG = pytest.mark.long
ISOS = {
    "p11": ({}, {}),
    "cifs": ({"methods": ["cifs"]}, {}),
    "p10": ({}, {"generation": "p10.4"}),
    "p9": ({}, {"generation": "p9"}),
}
INSTALLS = {
    "new": {"disk": "smallest", "layout": "btrfs", "salt": True},
    "home": {"disk": "smallest", "home": True},
    "old": {"disk": "all", "network": "etcnet"},
    "off": {"disk": "all", "finish": "poweroff"},
}
HOSTS = {
    "pc1": ("p11", "new"),
    "pc2": ("p10", "old"),
    "pc3": ("p11", "new"),
    "pc4": ("cifs", "home"),
    "pc5": ("p10", "off"),
    "pc6": ("p9", "old"),
}
STATIC_HOST = "pc5"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with made_site(tmp_path_factory, ISOS, INSTALLS, HOSTS, [STATIC_HOST]) as found:
        yield found


@pytest.fixture(scope="module")
def master(site):
    made = accepting_master(site.lab, site.server, site.pillar)
    states = made.directory / "states"
    states.mkdir()
    (states / "top.sls").write_text("base: {'pc*': [school]}\n")
    (states / "school.sls").write_text("/root/school: {file.managed: [{contents: yes}]}\n")
    made.call(site.server, "saltutil.sync_all")
    yield made
    # The other tests arm without a master.
    site.server.run(["systemctl", "stop", "salt-minion"])


@pytest.mark.parametrize(
    ("firmware", "name"), [("bios", "pc1"), pytest.param("efi-x86_64", "pc3", marks=LONG)]
)
def test_p11_to_a_minion(site, master, tmp_path, firmware, name):
    """Of two disks the smaller one. Nobody but our reactor accepts its key."""
    master.call(site.server, "netboot.arm", name)
    assert state(site, name) == ("armed", "")
    wait_until((keys_of(master) / "minions" / name).is_file)
    disks = [disk(tmp_path / "small"), disk(tmp_path / "large", 16 * GIB)]
    with switched_on(site, firmware, name, disks) as client:
        said = installed(client)
        wait_for_state(site, name, ("installed", "minion"), 300)
        answers = (master.run(name, "test.ping", "--timeout=5").stdout for _ in range(60))
        assert any(f'"{name}": true' in text for text in answers)
        # The highstate of its first boot.
        done = ["file.file_exists", "/root/school", "--timeout=20"]
        wait_until(lambda: "true" in master.run(name, *done).stdout, 120)
    assert (said["generation"], said["hostname"], said["root"]) == ("p11", name, "btrfs")
    assert said["users"] == "pupil"
    assert [is_kept(path) for path in disks] == [False, True]
    assert left(site, name) == ""
    told = [step for step, *_ in json.loads(record(site, name))["steps"]]
    assert told == [*STEPS]


@LONG
@pytest.mark.parametrize(
    ("firmware", "name", "expected"),
    [
        ("bios", "pc2", {"generation": "p10.4", "mounts": "/:ext4"}),
        ("bios", "pc4", {"generation": "p11", "mounts": "/:ext4,/home:ext4"}),
        ("efi-x86_64", "pc5", {"generation": "p10.4", "mounts": "/:ext4,/boot/efi:vfat"}),
        ("bios", "pc6", {"generation": "p9", "mounts": "/:ext4"}),
    ],
)
def test_installed(site, tmp_path, firmware, name, expected):
    """Also over CIFS; with a static address; of a machine that is turned off at the end."""
    arm(site, name)
    disks = [disk(tmp_path / "only")]
    if HOSTS[name][1] == "off":
        with switched_on(site, firmware, name, disks) as client:
            client.wait(600)
        assert state(site, name) == ("installed", "installed")
        assert left(site, name) == ""
    with switched_on(site, firmware, name, disks) as client:
        said = installed(client)
        wait_for_state(site, name, ("installed", "first-boot"))
    wanted = {**expected, "hostname": name, "users": "pupil", "failed": "none"}
    assert {key: said[key] for key in wanted} == wanted
    assert said["address"].endswith(f".{STATIC}") == (name == STATIC_HOST)
    assert not is_kept(disks[0])
    assert left(site, name) == ""
