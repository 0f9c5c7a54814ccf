"""
The scripts of an unattended install, run for real on directories that stand in for a machine: a
fake /sys, programs that only note how they were called, an installed system of a few directories.
"""

import io
import os
import re
import shutil
import subprocess
import tarfile

import pytest

import netboot_answers
import netboot_install_scripts
import netboot_installing
from tests.unit.test_netboot_answers import (
    HASH,
    MACHINE,
    MINION,
    OTHER_HASH,
    P9,
    P10,
    P11,
    PEM,
    PUB,
    install,
)

# ALT's sh is bash, Debian's is dash.
SHELLS = ["dash", "bash"]
REPORTS = MACHINE["reports"]
GB = 1000**3 // 512
DONE = "/var/lib/netboot-install"

STUB = """#!/bin/sh
echo "${{0##*/}} $*" >>"{log}"
{body}
"""
# What the kernel does when something is written to these files; time passes by sleeping.
KERNEL = """
[ "$1" != 1200 ] || exit 0 # of what sends logs beside the script
for disk in "$NB_ROOT"/sys/block/*; do
    device=$disk/device
    for file in "$device/delete" "$device/device/remove" "$device/driver/unbind"; do
        [ ! -s "$file" ] || rm -rf "$disk"
    done
done
"""


class Machine:
    """Directories and programs of a machine that is being installed."""

    def __init__(self, path):
        self.path = path
        self.root, self.programs, self.log = path / "root", path / "programs", path / "log"
        self.log.touch()
        for one in ("sys/block", "sys/class/block", "dev", "proc", "tmp"):
            (self.root / one).mkdir(parents=True)
        self.programs.mkdir()
        (self.root / "dev/console").touch()
        self.program("curl")
        self.program("sleep", KERNEL)
        self.program("poweroff", "kill -9 $PPID")

    def program(self, name, body=""):
        program = self.programs / name
        program.write_text(STUB.format(log=self.log, body=body))
        program.chmod(0o755)

    def disk(self, name, gigabytes, removable=0, data=False, hides="delete", parts=0, hidden=0):
        """A disk; `hides`: the file by which the kernel forgets it."""
        here = self.root / "sys/block" / name
        (here / hides).parent.mkdir(parents=True, exist_ok=True)
        (here / "device").mkdir(exist_ok=True)
        if hides:
            (here / "device" / hides).parent.mkdir(parents=True, exist_ok=True)
            (here / "device" / hides).touch()
        (here / "size").write_text(f"{int(gigabytes * GB)}\n")
        (here / "removable").write_text(f"{removable}\n")
        (here / "ro").write_text("0\n")
        (here / "hidden").write_text(f"{hidden}\n")
        for number in range(1, parts + 1):
            (here / f"{name}{number}").mkdir()
            (here / f"{name}{number}/partition").write_text(f"{number}\n")
        with (self.root / "dev" / name).open("wb") as file:
            if data:
                file.write(b"data")
            file.truncate(int(gigabytes * GB) * 512)

    def run(self, script, shell="dash", **environment):
        """The lines that a script wrote about what it does."""
        done = subprocess.run(
            [shell, "-c", script] if "\n" not in script else [shell, "/dev/stdin"],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            env={
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "NB_ROOT": str(self.root),
                **environment,
            },
        )
        self.code, self.said = done.returncode, done.stderr
        return done.stderr

    def calls(self, *names):
        """How programs were called, without reports."""
        lines = self.log.read_text().splitlines()
        return [one for one in lines if one.partition(" ")[0] in names]

    def reports(self):
        lines = self.log.read_text().splitlines()
        assert all("--max-time 2 " in one for one in lines if one.startswith("curl "))
        urls = [one.rpartition(" ")[2] for one in lines if one.startswith("curl ")]
        assert all(re.fullmatch(r"[A-Za-z0-9:./_?=+-]+", one) for one in urls)
        steps = [one.partition("/did/")[2].partition("?y=") for one in urls]
        self.why = {step: why.replace("+", " ") for step, _, why in steps}
        self.sent = {step: why for step, _, why in steps if step.startswith("log-")}
        return [step for step, _, _ in steps if step not in self.sent]

    def disks(self):
        return sorted(one.name for one in (self.root / "sys/block").iterdir())


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def scripts(facts=P11, platform="pcbios", more=None, **keys):
    """The scripts of an install by path in the archive."""
    files = netboot_answers.files(install(**keys), facts, {**MACHINE, **(more or {})}, platform)
    with tarfile.open(fileobj=io.BytesIO(files["install-scripts.tar"])) as tar:
        return {
            one.name: tar.extractfile(one).read().decode()
            for one in tar.getmembers()
            if one.isfile()
        }


def early(**keys):
    return scripts(**keys)["initinstall.d/28-netboot.sh"]


def after(facts=P11, **keys):
    return scripts(facts, **keys)["postinstall.d/98-netboot.sh"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("facts", [P9, P11])
def test_scripts_have_no_mistakes_of_syntax(shell, facts):
    more = {"minion": MINION}
    for name, script in scripts(facts, more=more, commands=["echo 'x'"], ntp=["ntp"]).items():
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name


# -- before any disk is touched --------------------------------------------------------------------

ONE = {"sda": (500, {})}
TWO = {"sda": (500, {}), "sdb": (240, {})}
USB = {"sda": (500, {}), "sdz": (32, {"removable": 1})}
NVME = {"sda": (2000, {}), "nvme0n1": (500, {"hides": "device/remove"})}
VIRTIO = {"vda": (100, {"hides": "driver/unbind"}), "vdb": (200, {"hides": "driver/unbind"})}
BY_PATH = "/dev/disk/by-path/pci-0000:00:17.0-ata-1"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("disks", "rule", "left"),
    [
        (ONE, "all", ["sda"]),
        (TWO, "all", ["sda", "sdb"]),
        (ONE, "smallest", ["sda"]),
        (TWO, "smallest", ["sdb"]),
        ({**TWO, "sdc": (500, {})}, "smallest", ["sdb"]),
        (USB, "smallest", ["sda"]),
        (NVME, "smallest", ["nvme0n1"]),
        (NVME, [1900, 2100], ["sda"]),
        ({"nvme0n1": (500, {}), "nvme0c0n1": (500, {"hidden": 1})}, "smallest", None),
        (VIRTIO, "smallest", ["vda"]),
        (TWO, [200, 250], ["sdb"]),
        (TWO, [500, 500], ["sda"]),
        ({"sda": (500, {"data": True}), "sdb": (500, {})}, "empty", ["sdb"]),
        ({"sda": (500, {"parts": 2}), "sdb": (500, {})}, "empty", ["sdb"]),
        (TWO, BY_PATH, ["sda"]),
        ({**ONE, "loop0": (1, {}), "sr0": (1, {"removable": 1})}, "smallest", None),
    ],
)
def test_installer_gets_the_disk_of_the_rule(machine, shell, disks, rule, left):
    for name, (gigabytes, more) in disks.items():
        machine.disk(name, gigabytes, **more)
    link = machine.root / BY_PATH[1:]
    link.parent.mkdir(parents=True)
    link.symlink_to("../../sda")
    machine.run(early(disk=rule), shell)
    assert (machine.code, machine.calls("poweroff")) == (0, [])
    assert machine.disks() == (sorted(disks) if left is None else left)
    assert machine.reports() == ["started"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("disks", "rule", "said"),
    [
        ({}, "all", "this machine has no disk"),
        ({"sr0": (5, {"removable": 1})}, "smallest", "this machine has no disk"),
        ({"sda": (8, {})}, "all", "no disk has the 23040 MiB that the partitions need"),
        ({"sda": (8, {})}, "smallest", "sda lacks the 23040 MiB that the partitions need"),
        (
            {"sda": (500, {}), "sdb": (500, {})},
            "smallest",
            "the rule smallest fits several disks, sda and sdb",
        ),
        (TWO, "empty", "the rule empty fits several disks, sda and sdb"),
        (
            {"sda": (500, {"data": True}), "sdb": (240, {"parts": 1})},
            "empty",
            "the rule empty fits no disk of: sda sdb",
        ),
        ({"sdz": (500, {"removable": 1})}, "smallest", "the rule smallest fits no disk of: sdz"),
        (TWO, [1000, 2000], "the rule range fits no disk of: sda sdb"),
        (TWO, "/dev/disk/by-id/ata-x", "this machine has no disk /dev/disk/by-id/ata-x"),
        (
            {"sda": (240, {}), "sdb": (500, {"hides": "nothing"})},
            "smallest",
            "sdb cannot be hidden from the installer",
        ),
    ],
)
def test_machine_stops_instead_of_guessing(machine, shell, disks, rule, said):
    for name, (gigabytes, more) in disks.items():
        machine.disk(name, gigabytes, **more)
    machine.run(early(disk=rule), shell)
    assert machine.code != 0
    assert f"netboot-alt: {said}; nothing was changed on any disk." in machine.said
    assert machine.calls("poweroff") == ["poweroff -f"]
    assert machine.reports() == ["started", "failed-disk"]
    assert machine.why["failed-disk"] == re.sub(r"[^A-Za-z0-9./_ -]", " ", said).rstrip()


def test_machine_that_stops_reports_until_it_is_heard(machine):
    """Its last words, and the server may be away for a moment."""
    machine.program("curl", f'[ "$(grep -c did/failed-disk {machine.log})" -gt 2 ]')
    machine.run(early(disk="smallest"))
    assert machine.reports() == ["started", *3 * ["failed-disk"]]
    assert machine.calls("poweroff") == ["poweroff -f"]


def test_partition_is_not_a_disk(machine):
    machine.disk("sda", 500, parts=1)
    link = machine.root / BY_PATH[1:]
    link.parent.mkdir(parents=True)
    link.symlink_to("../../sda1")
    (machine.root / "dev/sda1").touch()
    machine.run(early(disk=BY_PATH))
    assert f"{BY_PATH} is not a whole disk" in machine.said


@pytest.mark.parametrize(("slave", "stops"), [("sdb1", True), ("sdb", True), ("sda2", False)])
def test_volumes_over_other_disks_stop_it(machine, slave, stops):
    """Through RAID and LVM the installer would still reach them."""
    machine.disk("sda", 240)
    machine.disk("sdb", 500)
    volume = machine.root / "sys/block/md127"
    (volume / "slaves" / slave).mkdir(parents=True)
    (volume / "size").write_text("1000\n")
    machine.run(early(disk="smallest"))
    assert (f"md127 is a RAID or LVM volume on {slave}" in machine.said) == stops
    assert machine.disks() == (["md127", "sda", "sdb"] if stops else ["md127", "sda"])


@pytest.mark.parametrize("foreign", ["autoinstall.scm", "vm-profile.scm", None])
def test_answers_of_the_medium_are_noticed(machine, foreign):
    """A file that the server no longer has comes from the medium, without a word."""
    machine.disk("sda", 500)
    files = netboot_answers.files(install(), P11, MACHINE, "efi")
    there = machine.path / "answers"
    there.mkdir()
    for name in ("autoinstall.scm", "vm-profile.scm"):
        (there / name).write_bytes(b"((workstation))" if name == foreign else files[name])
    machine.program("cp-metadata", f'cp "{there}/$1" .')
    machine.run(early())
    assert machine.reports() == ["started", "failed-answers" if foreign else "answers"]
    assert machine.calls("poweroff") == (["poweroff -f"] if foreign else [])


def test_installer_goes_on_without_the_server(machine):
    machine.disk("sda", 500)
    machine.program("curl", "exit 28")
    machine.run(early())
    assert machine.code == 0
    assert machine.calls("poweroff") == []


# -- after the packages ----------------------------------------------------------------------------


@pytest.fixture
def target(machine):
    """The installed system, and what ALT's installer has for scripts."""
    destdir = machine.path / "destination"
    for one in ("etc/apt/sources.list.d", "var/lib/rpm", "boot/grub"):
        (destdir / one).mkdir(parents=True)
    (destdir / "var/lib/rpm/Packages").touch()
    (machine.programs / "install2-init-functions").write_text(
        f'destdir={destdir}\nexec_chroot() {{ "$@"; }}\n'
    )
    machine.program("chpasswd", f'cat >>"{machine.path}/passwords"')
    machine.program("usermod")
    machine.program("grub-install")
    machine.program("grub-mkconfig")
    machine.destdir = destdir
    (machine.root / "proc/mounts").write_text(f"/dev/sda2 {destdir} ext4 rw 0 0\n")
    machine.disk("sda", 500, parts=2)
    at = machine.root / "sys/class/block/sda2"
    at.symlink_to("../../block/sda/sda2")
    return machine


def mode(path):
    return oct(path.stat().st_mode & 0o777)


@pytest.mark.parametrize("shell", SHELLS)
def test_installed_system_gets_its_files(target, shell):
    script = after(
        more={"minion": MINION},
        files={
            "/etc/motd": {"text": "It's $HOME `x`\nEND\n"},
            "/root/x": {"text": "", "mode": "600"},
        },
        repositories=["rpm [p11] http://192.0.2.1/p11 x86_64 classic"],
        apt_proxy="http://192.0.2.1:3142",
        ntp=["192.0.2.1", "ntp.example.org"],
        commands=["echo one\necho two", "echo 'three'"],
    )
    assert target.run(script, shell) == ""
    assert target.code == 0
    texts = {
        "etc/motd": ("It's $HOME `x`\nEND\n", "0o644"),
        "root/x": ("", "0o600"),
        "etc/apt/sources.list.d/netboot.list": (
            "rpm [p11] http://192.0.2.1/p11 x86_64 classic\n",
            "0o644",
        ),
        "etc/apt/apt.conf.d/netboot-proxy.conf": (
            'Acquire::http::Proxy "http://192.0.2.1:3142";\n',
            "0o644",
        ),
        "etc/systemd/timesyncd.conf.d/netboot.conf": (
            "[Time]\nNTP=192.0.2.1 ntp.example.org\n",
            "0o644",
        ),
        "etc/salt/minion.d/netboot.conf": (
            f'master: "salt.example.org"\nmaster_finger: "{MINION["master_finger"]}"\n'
            "rejected_retry: true\n",
            "0o644",
        ),
        "etc/salt/minion_id": ("pc1.example.org\n", "0o644"),
        "etc/salt/pki/minion/minion.pem": (PEM, "0o400"),
        "etc/salt/pki/minion/minion.pub": (PUB, "0o644"),
        f"{DONE[1:]}/commands/000": ("echo one\necho two\n", "0o700"),
        f"{DONE[1:]}/commands/001": ("echo 'three'\n", "0o700"),
    }
    for path, (text, rights) in texts.items():
        assert ((target.destdir / path).read_text(), mode(target.destdir / path)) == (text, rights)
    assert mode(target.destdir / DONE[1:]) == "0o700"
    assert mode(target.destdir / "etc/salt/pki") == "0o755"
    unit = "etc/systemd/system/netboot-first-boot.service"
    enabled = target.destdir / "etc/systemd/system/multi-user.target.wants"
    assert (enabled / "netboot-first-boot.service").resolve() == target.destdir / unit
    assert target.reports() == ["started", "disk", "packages", "bootloader", "installed"]
    assert target.calls("chpasswd") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_old_installers_get_passwords_from_the_script(target, shell):
    users = {"pupil": {"password": OTHER_HASH}}
    assert target.run(after(P10, users=users), shell) == ""
    assert target.calls("chpasswd") == ["chpasswd -e"]
    assert (target.path / "passwords").read_text() == f"root:{HASH}\npupil:{OTHER_HASH}\n"


def test_other_way_to_set_passwords(target):
    target.program("chpasswd", "exit 1")
    target.run(after(P10, users={"pupil": {"password": OTHER_HASH}}))
    assert target.calls("usermod") == [
        f"usermod -p {HASH} root",
        f"usermod -p {OTHER_HASH} pupil",
    ]
    assert target.reports()[-1] == "installed"


def test_passwords_that_cannot_be_set_are_reported(target):
    for one in ("chpasswd", "usermod"):
        target.program(one, "exit 1")
    target.run(after(P10))
    assert "the password of root cannot be set" in target.said
    assert HASH not in target.said
    assert target.reports()[-1] == "failed-installed"


def test_nothing_is_done_twice(target):
    script = after(files={"/etc/motd": {"text": "x"}})
    target.run(script)
    (target.destdir / "etc/motd").write_text("changed")
    before = target.reports()
    target.run(script)
    assert (target.destdir / "etc/motd").read_text() == "changed"
    assert target.reports() == before


def test_reports_that_failed_are_sent_by_the_next_script(target):
    target.program("curl", "exit 28")
    target.run(scripts()["preinstall.d/98-netboot.sh"])
    assert target.reports() == ["started", "disk", "packages"]
    target.program("curl")
    target.run(scripts()["preinstall.d/98-netboot.sh"])
    target.run(after())
    assert target.reports()[3:] == ["started", "disk", "packages", "bootloader", "installed"]


def test_no_installed_system(target):
    shutil.rmtree(target.destdir)
    target.run(after())
    assert (target.code, target.reports()) == (0, ["started", "failed-packages"])
    assert not target.destdir.exists()


@pytest.mark.parametrize(
    ("device", "efi", "called"),
    [
        ("/dev/sda", False, []),
        ("/dev/sda", True, []),
        (
            "/dev/vda",
            False,
            [
                "grub-install --target=i386-pc /dev/sda",
                "grub-mkconfig -o /boot/grub/grub.cfg",
            ],
        ),
        ("/dev/vda", True, []),
    ],
)
def test_boot_loader_follows_the_system(target, device, efi, called):
    if efi:
        (target.root / "sys/firmware/efi").mkdir(parents=True)
    target.run(after(grub_device=device))
    assert target.calls("grub-install", "grub-mkconfig") == called
    assert target.reports()[-2:] == ["bootloader", "installed"]


def test_boot_loader_that_fails_is_reported(target):
    target.program("grub-install", "exit 1")
    target.run(after(grub_device="/dev/vda"))
    assert target.reports()[-1] == "failed-bootloader"
    assert "installed" not in target.reports()


@pytest.mark.parametrize("shell", SHELLS)
def test_logs_of_what_failed_are_sent_without_secrets(target, shell):
    """The ends of the installer's own, too."""
    noise = "".join(f"{number} {os.urandom(30).hex()[:31]}\n" for number in range(2000))
    (target.root / "tmp/install2.log").write_text(f"{noise}wizard: no space left\r\xd0\x9f\n")
    secrets = f'passwd_1 "{HASH}"', f"root:{HASH}", REPORTS
    (target.root / "tmp/wizard.log").write_text("\n".join(secrets))
    target.program("grub-install", "echo 'cannot find a device for /boot'; exit 1")
    target.run(after(grub_device="/dev/vda"), shell)
    assert target.reports()[-1] == "failed-bootloader"
    lines = netboot_installing.log_lines({"log": target.sent})
    assert any(one.startswith("wizard: no space left") for one in lines)
    assert "cannot find a device for /boot" in lines
    assert not any(HASH in one or REPORTS in one or "passw" in one for one in lines)
    assert any("/host/pc1.***" in one for one in lines)
    assert 10 < len(target.sent) <= 64
    assert all(len(piece) <= 700 for piece in target.sent.values())


def test_old_installers_fetch_the_archive_at_the_end(target):
    """What installers before p10.1 do not unpack by themselves."""
    files = netboot_answers.files(install(), P9, {**MACHINE, "minion": MINION}, "efi")
    archive = target.path / "install-scripts.tar"
    archive.write_bytes(files["install-scripts.tar"])
    target.program("cp-metadata", f'cp "{archive}" .')
    target.run(netboot_install_scripts.LAST_STATE)
    assert target.code == 0
    assert target.reports()[-1] == "installed"
    assert not (target.destdir / "etc/salt/pki").exists()
    assert (target.destdir / "etc/salt/minion_id").exists()


# -- the first boot --------------------------------------------------------------------------------


@pytest.fixture
def booted(machine):
    """An installed system at its first boot."""
    for one in ("etc/apt/sources.list.d", "var/lib/netboot-install/commands"):
        (machine.root / one).mkdir(parents=True)
    machine.program("apt-get")
    machine.program("rpm", "exit 1")
    machine.program("systemctl")
    machine.program("salt-call")
    return machine


def first_boot(more=None, **keys):
    text = after(more=more, **keys)
    start = text.index(f"put {DONE}/first-boot 0700 <<'END'\n")
    return text[text.index("\n", start) + 1 : text.index("\nEND\n", start) + 1]


def done(machine):
    return (machine.root / DONE[1:] / "done").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_first_boot(booted, shell):
    lists = booted.root / "etc/apt"
    (lists / "sources.list").write_text("rpm cdrom:[x]/ ALTLinux main\n# rpm old\n")
    (lists / "sources.list.d/alt.list").write_text("  rpm [alt] http://ftp x86_64 classic\n")
    (lists / "sources.list.d/netboot.list").write_text("rpm http://192.0.2.1/p11 x86_64 classic\n")
    chrony = booted.root / "etc/chrony.conf"
    chrony.write_text("pool pool.ntp.org iburst\nserver a\ndriftfile /var/lib/chrony/drift\n")
    (booted.root / f"{DONE[1:]}/commands/000").write_text(f'echo one >>"{booted.path}/commands"\n')
    script = first_boot(
        {"minion": MINION},
        repositories=["rpm http://192.0.2.1/p11 x86_64 classic"],
        packages=["vim-console", "mc"],
        ntp=["192.0.2.1"],
    )
    booted.run(script, shell)
    assert booted.code == 0
    assert list(booted.calls("apt-get")) == [
        "apt-get update",
        "apt-get -y install vim-console mc",
        "apt-get update",
        "apt-get -y install salt-minion",
    ]
    assert booted.calls("systemctl") == [
        "systemctl try-restart chronyd.service",
        "systemctl enable --now salt-minion.service",
    ]
    assert booted.calls("salt-call") == ["salt-call state.apply"]
    assert booted.reports() == ["first-boot", "minion"]
    assert (lists / "sources.list").read_text() == "#rpm cdrom:[x]/ ALTLinux main\n# rpm old\n"
    assert (lists / "sources.list.d/alt.list").read_text().startswith("#  rpm")
    assert (lists / "sources.list.d/netboot.list").read_text().startswith("rpm http")
    assert chrony.read_text() == (
        "#pool pool.ntp.org iburst\n#server a\ndriftfile /var/lib/chrony/drift\n"
        "server 192.0.2.1 iburst\n"
    )
    assert (booted.path / "commands").read_text() == "one\n"
    assert done(booted)


def test_first_boot_without_anything_to_do(booted):
    booted.run(first_boot())
    assert booted.reports() == ["first-boot"]
    assert booted.calls("apt-get", "systemctl", "salt-call") == []
    assert done(booted)


def test_network_and_repositories_that_come_up_late(booted):
    """The third try succeeds, of the report and of apt-get."""
    count = f'echo x >>"{booted.path}/$1.tries"; [ "$(wc -l <"{booted.path}/$1.tries")" -gt 2 ]'
    booted.program("curl", count.replace("$1", "curl"))
    booted.program("apt-get", count.replace("$1", "apt-get"))
    booted.run(first_boot({"minion": MINION}))
    assert booted.reports() == ["first-boot"] * 3 + ["minion"]
    assert booted.calls("apt-get")[-1] == "apt-get -y install salt-minion"
    assert done(booted)


def test_no_minion_in_the_repositories(booted):
    """It is reported, and the next boot tries again, without repeating the rest."""
    booted.program("apt-get", '[ "$1" = update ]')
    (booted.root / f"{DONE[1:]}/commands/000").write_text(f'echo one >>"{booted.path}/commands"\n')
    script = first_boot({"minion": MINION})
    booted.run(script)
    # After the first five tries, and in the end.
    assert booted.reports() == ["first-boot", "failed-minion", "failed-minion"]
    assert len(booted.calls("apt-get")) == 120
    assert not done(booted)
    assert "minion: failed" in netboot_installing.log_lines({"log": booted.sent})[-1]
    booted.program("apt-get")
    booted.run(script)
    assert booted.reports() == ["first-boot", "failed-minion", "failed-minion", "minion"]
    assert (booted.path / "commands").read_text() == "one\n"
    assert done(booted)


def test_minion_that_is_installed_already(booted):
    booted.program("rpm")
    booted.run(first_boot({"minion": MINION}, salt={"highstate": False}))
    assert booted.calls("apt-get", "salt-call") == []
    assert booted.reports() == ["first-boot", "minion"]


def test_key_that_is_accepted_late(booted):
    tries = f'echo x >>"{booted.path}/tries"; [ "$(wc -l <"{booted.path}/tries")" -gt 4 ]'
    booted.program("salt-call", tries)
    booted.run(first_boot({"minion": MINION}))
    assert len(booted.calls("salt-call")) == 5
    assert booted.reports() == ["first-boot", "minion"]


def test_command_that_fails_is_reported_and_tried_again(booted):
    for number, text in enumerate(["exit 1", f'echo two >>"{booted.path}/commands"']):
        (booted.root / f"{DONE[1:]}/commands/00{number}").write_text(f"{text}\n")
    booted.run(first_boot({"minion": MINION}))
    assert (booted.path / "commands").read_text() == "two\n"
    assert booted.reports() == ["first-boot", "failed-first-boot", "minion"]
    assert not done(booted)


def test_without_curl(booted):
    """Not every installed system has it."""
    (booted.programs / "curl").unlink()
    booted.program("wget")
    for one in ("sh", "dash", "mkdir", "date"):
        (booted.programs / one).symlink_to(shutil.which(one))
    booted.run(first_boot(), PATH=str(booted.programs), shell=shutil.which("dash"))
    assert booted.calls("wget") == [f"wget -q -O /dev/null -T 2 -t 1 {REPORTS}/first-boot"]
