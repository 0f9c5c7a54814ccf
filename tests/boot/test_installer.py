"""The stand-in for ALT's installer, from the first stage to the first boot of what it installed.

Kernel and initrd are started directly; the installed system starts from its disk by its firmware.
"""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Lab
from lab.client import FIRMWARE
from lab.iso import make_iso
from lab.master import Master
from lab.repository import make_repository
from tests import answers
from tests.servers import IN_GUEST

GIB = 1 << 30
LONG = pytest.mark.long
PROPAGATOR = "changedisk fastboot automatic=method:http,network:dhcp,server:{server}"
P11 = (
    "root=bootchain bootchain=fg,altboot ip=dhcp4 stagename=live systemd.unit=install2.target"
    " automatic=method:http,network:dhcp,server:{server},type:iso,directory:/{name} ai curl={curl}"
)
P11_NFS = (
    "root=bootchain bootchain=fg,altboot ip=dhcp4 stagename=live systemd.unit=install2.target"
    " lowmem automatic=method:nfs,server:NFS,directory:/srv/netinst ai curl={curl}"
)
P10 = f"{PROPAGATOR},directory:/{{name}} stagename=altinst ai curl={{curl}}"
# As a tree: the medium's own files are not mounted then, but fetched.
P9 = (
    f"{PROPAGATOR},directory:/{{tree}} stagename=altinst ramdisk_size={{ramdisk_size}}"
    " ai curl={curl} poweroff"
)
HELLO = "#!/bin/sh\necho HELLO-{} > /dev/ttyS0\n"


@dataclass
class Site:
    """A lab with a web server of ISOs, their trees, and answers."""

    lab: Lab
    folder: Path
    web: object

    def install(self, iso, cmdline, firmware, disks, files):
        """Installs with these answers (content by file name); returns what the client wrote."""
        tree = self.folder / f"tree-{iso.path.stem}"
        if not tree.exists():
            iso.unpack(tree)
        self.serve(files)
        (stage,) = {"altinst", "live"} & {*cmdline.replace("=", " ").split()}
        words = cmdline.format(
            server=self.web.url.removeprefix("http://"),
            name=iso.path.name,
            tree=tree.name,
            ramdisk_size=iso.stages[stage][0] // 1024 + 1,
            curl=f"{self.web.url}/answers/",
        )
        kernel, initrd = (tree / path[1:] for path in (iso.kernel, iso.initrd))
        extra = [*drives(disks), *self.flash(firmware)]
        with self.lab.client(
            firmware, kernel=kernel, initrd=initrd, cmdline=words, extra=extra
        ) as client:
            client.wait(600)
            return client.serial_log.read_text(errors="replace").replace("\r", "")

    def serve(self, files):
        """Puts these files, and no others, into the directory of curl=."""
        place = self.folder / "answers"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (place / name).write_bytes(data)

    def flash(self, name):
        """QEMU's words for UEFI, which a client that is given a kernel does without otherwise."""
        firmware = FIRMWARE[name]
        if firmware.code:
            variables = self.lab.directory / "install.vars"
            shutil.copyfile(firmware.variables, variables)
            yield from ("-drive", f"if=pflash,format=raw,readonly=on,file={firmware.code}")
            yield from ("-drive", f"if=pflash,format=raw,file={variables}")

    def first_boot(self, firmware, disks):
        """Starts from the first disk; returns what its system says of itself, and all it wrote."""
        extra = [*drives(disks, ",bootindex=0")]
        with self.lab.client(firmware, extra=extra) as client:
            said = client.wait_for(r"NETBOOT-ALT-INSTALLED (.*?)\r?\n", timeout=600)
            log = client.serial_log.read_text(errors="replace").replace("\r", "")
        return dict(word.split("=", 1) for word in said[1].split()), log


def drives(disks, first=""):
    """QEMU's words for disks; first: more of them for the first disk."""
    for number, disk in enumerate(disks):
        yield from ("-drive", f"if=none,id=disk{number},format=raw,cache=unsafe,file={disk}")
        yield from ("-device", f"virtio-blk-pci,drive=disk{number}{first * (not number)}")


def some_disk(path, size=2 * GIB):
    """A disk that begins and ends with something that nobody may lose."""
    with path.open("wb") as file:
        file.write(b"mine")
        file.truncate(size - 4)
        file.seek(size - 4)
        file.write(b"mine")
    return path


def is_kept(path):
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(-4, 2)
        return (begin, file.read()) == (b"mine", b"mine")


def fetched(log):
    """Where each file came from, by its name."""
    return dict(re.findall(r"NETBOOT-ALT-FETCHED (\S+) (.*)", log))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        yield Site(lab, folder, lab.web(folder))


@pytest.fixture(scope="module")
def p11(site):
    return make_iso(site.folder, stage_mib=1, installer=True)


def p11_answers(**more):
    text = (
        answers.BEGINNING
        + answers.DISK.format(profile="arming-1a2b")
        + answers.PACKAGES.format(step="pkg-install-init", lists="test/base")
        + answers.GRUB_EFI
        + answers.network("pc1")
        + answers.CRYPTED_ROOT
        + answers.CRYPTED_USER
        + answers.HOOK.format(hook="firsttime", key="run", value="echo HELLO-FIRST")
    )
    profile = answers.profile("arming-1a2b", answers.SWAP, answers.BTRFS)
    return {"autoinstall.scm": text, "vm-profile.scm": profile, **more}


@LONG
def test_p11_by_uefi(site, p11, tmp_path):
    disk = some_disk(tmp_path / "disk")
    scripts = {
        "initinstall.d/50-early": HELLO.format("EARLY"),
        "preinstall.d/10-there": HELLO.format("THERE"),
        "postinstall.d/80-files": '#!/bin/sh\n. install2-init-functions\necho "HELLO-IN-IT"'
        ' > "$destdir/etc/mine"\nexec_chroot cat /etc/mine > /dev/ttyS0\n',
        "postinstall.d/90-unit": "#!/bin/sh\n. install2-init-functions\n"
        'cat > "$destdir/etc/systemd/system/my.service" <<END\n'
        '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo HELLO-UNIT > /dev/ttyS0"\n'
        "[Install]\nWantedBy=multi-user.target\nEND\n"
        'systemctl --root "$destdir" enable my.service\n',
    }
    files = p11_answers(**{"install-scripts.tar": answers.scripts_tar(scripts)})
    log = site.install(p11, P11, "efi-x86_64", [disk], files)
    assert re.search(r"NETBOOT-ALT-DONE .*\ninstall2: reboot\n", log)
    assert re.findall("HELLO-.*", log) == ["HELLO-EARLY", "HELLO-THERE", "HELLO-IN-IT"]
    curl = f"{site.web.url}/answers"
    assert fetched(log) == {
        "install-scripts.tar": f"{curl}/install-scripts.tar",
        "pkg-groups.tar": "/.medium/Metadata/pkg-groups.tar",
        "autoinstall.scm": f"{curl}/autoinstall.scm",
        "vm-profile.scm": f"{curl}/vm-profile.scm",
    }
    said, log = site.first_boot("efi-x86_64", [disk])
    seconds = float(said.pop("seconds"))
    assert seconds < 300
    assert said == {
        "generation": "p11",
        "hostname": "pc1",
        "root": "btrfs",
        "disk": "/dev/vda",
        "partitions": "vda1:536870912,vda2:134217728,vda3:1474297856",
        "mounts": "/:btrfs,/boot/efi:vfat,/home:btrfs",
        "swap": "/dev/vda2",
        "users": "pupil",
        "nics": "enp0s2",
        "address": said["address"],
        "ssh": "disabled",
        "failed": "none",
    }
    assert said["address"].startswith("198.18.")
    assert "HELLO-FIRST" in log
    assert "HELLO-UNIT" in log


@LONG
def test_p10_by_bios(site, tmp_path):
    """With a static address, plain passwords, and the hooks that enable what is disabled again."""
    iso = make_iso(site.folder, "p10.4", stage_mib=1, installer=True)
    disk = some_disk(tmp_path / "disk")
    address = f"{site.lab.address.rpartition('.')[0]}.9"
    card = {"how": "static", "gateway": site.lab.address, "dns": site.lab.address, "host": "pc2"}
    cards = "".join(
        answers.CARD.format(name=name, controlled="etcnet", **card)
        + answers.ADDRESS.format(name=name, address=address)
        for name in answers.CARDS
    )
    last = (
        "echo $ALTERATOR_DESTDIR > /dev/ttyS0; cd $(dirname $AUTOINSTALL); cp-metadata more.txt; "
        "cp more.txt $ALTERATOR_DESTDIR/etc; chroot $ALTERATOR_DESTDIR systemctl enable ssh"
    )
    text = (
        answers.BEGINNING
        + answers.DISK.format(profile="server")
        + answers.PACKAGES.format(step="pkg-init", lists="")
        + answers.GRUB_BIOS.format("/dev/vda")
        + answers.RESET
        + cards
        + answers.COMMIT
        + answers.PLAIN_ROOT
        + answers.PLAIN_USER
        + answers.HOOK.format(hook="laststate", key="run", value=last)
        + answers.HOOK.format(hook="firsttime", key="run", value="cat /etc/more.txt")
        + answers.HOOK.format(
            hook="firsttime", key="script", value=f"{site.web.url}/answers/first.sh"
        )
    )
    rows = (answers.SLOT, answers.SWAP, answers.ROOT, answers.HOME)
    files = {
        "autoinstall.scm": text,
        "vm-profile.scm": answers.profile("server", *rows),
        "more.txt": "HELLO-MORE\n",
        "first.sh": "#!/bin/sh\necho HELLO-FETCHED\n",
    }
    log = site.install(iso, P10, "bios", [disk], files)
    assert "NETBOOT-ALT-DONE" in log
    assert "\n/mnt/destination\n" in log
    site.serve({})
    said, log = site.first_boot("bios", [disk])
    assert re.findall("HELLO-.*", log) == ["HELLO-FETCHED", "HELLO-MORE"]
    assert (said["generation"], said["hostname"], said["root"]) == ("p10.4", "pc2", "ext4")
    assert said["mounts"] == "/:ext4,/home:ext4"
    assert (said["address"], said["users"], said["ssh"]) == (address, "pupil", "disabled")
    _, log = site.first_boot("bios", [disk])
    assert "HELLO" not in log  # each script once


@LONG
def test_p9_by_bios(site, tmp_path):
    """From a tree; install-scripts.tar is not even fetched, and the partition table is a PC's."""
    iso = make_iso(site.folder, "p9", stage_mib=1, installer=True)
    disk = some_disk(tmp_path / "disk")
    text = (
        answers.BEGINNING
        + answers.DISK.format(profile="workstation")
        + answers.PACKAGES.format(step="pkg-init", lists="test/base")
        + answers.GRUB_BIOS.format("/dev/vda")
        + answers.network("pc3")
        + answers.PLAIN_ROOT
        + answers.PLAIN_USER
    )
    profile = answers.profile("workstation", answers.SWAP, answers.ROOT)
    scripts = answers.scripts_tar({"postinstall.d/80-files": HELLO.format("NEVER")})
    files = {"autoinstall.scm": text, "vm-profile.scm": profile, "install-scripts.tar": scripts}
    log = site.install(iso, P9, "bios", [disk], files)
    assert re.search(r"NETBOOT-ALT-DONE .*\ninstall2: poweroff\n", log)
    assert "HELLO" not in log
    assert "install-scripts.tar" not in fetched(log)
    assert fetched(log)["pkg-groups.tar"].startswith("http://")  # of the medium's tree
    said, _ = site.first_boot("bios", [disk])
    assert (said["generation"], said["hostname"], said["root"]) == ("p9", "pc3", "ext4")
    assert said["partitions"].startswith("vda1:134217728,vda2:")


@LONG
def test_p11_over_nfs(site, p11, tmp_path):
    """By a BIOS, for which the installer adds what GRUB needs; the medium is what is mounted."""
    server = site.lab.guest("nfs1", installed=IN_GUEST)
    fetch = "import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])"
    server.run(["python3", "-c", fetch, f"{site.web.url}/{p11.path.name}", "/root/p11.iso"])
    server.run(["mkdir", "-p", "/srv/netinst"])
    server.run(["mount", "-o", "loop,ro", "/root/p11.iso", "/srv/netinst"])
    server.run(["tee", "/etc/exports"], input="/srv/netinst *(ro,fsid=91,insecure)\n")
    server.run(["systemctl", "restart", "nfs-server"])
    disk = some_disk(tmp_path / "disk")
    files = p11_answers()
    grub = answers.GRUB_BIOS.format("/dev/vda")
    files["autoinstall.scm"] = files["autoinstall.scm"].replace(answers.GRUB_EFI, grub)
    log = site.install(p11, P11_NFS.replace("NFS", server.address), "bios", [disk], files)
    assert "NETBOOT-ALT-DONE" in log
    assert fetched(log)["pkg-groups.tar"] == "/.medium/Metadata/pkg-groups.tar"
    said, _ = site.first_boot("bios", [disk])
    assert (said["root"], said["hostname"], said["failed"]) == ("btrfs", "pc1", "none")
    assert said["partitions"].startswith("vda1:1048576,vda2:134217728,vda3:")


@LONG
def test_disk_that_a_script_hides(site, p11, tmp_path):
    """No key names a disk, so on p11 a script before the wizard takes the others away."""
    disks = [some_disk(tmp_path / "first"), some_disk(tmp_path / "second", 3 * GIB)]
    script = (
        "#!/bin/sh\nfor disk in /sys/block/vd*; do\n"
        f'    [ "$(cat $disk/size)" = {3 * GIB // 512} ] ||\n'
        '        basename "$(readlink -f $disk/device)" >'
        " /sys/bus/virtio/drivers/virtio_blk/unbind\n"
        "done\n"
    )
    archive = answers.scripts_tar({"initinstall.d/40-disks": script})
    files = p11_answers(**{"install-scripts.tar": archive})
    log = site.install(p11, P11, "efi-x86_64", disks, files)
    assert "NETBOOT-ALT-DONE" in log
    assert re.findall("NETBOOT-ALT-WIPED disk=(.*)", log) == ["vdb"]
    assert is_kept(disks[0])
    said, _ = site.first_boot("efi-x86_64", disks[::-1])
    assert (said["disk"], said["root"]) == ("/dev/vda", "btrfs")


@LONG
def test_answers_that_are_gone_become_the_mediums_own(site, tmp_path):
    """What must never happen to our users: it wipes every disk."""
    text = (
        answers.BEGINNING
        + answers.DISK.format(profile="workstation")
        + answers.PACKAGES.format(step="pkg-install-init", lists="")
        + answers.GRUB_BIOS.format("/dev/vda")
    )
    own = {
        "autoinstall.scm": text,
        "vm-profile.scm": answers.profile("workstation", answers.ROOT),
    }
    iso = make_iso(site.folder, name="own", stage_mib=1, installer=True, metadata=own)
    disks = [some_disk(tmp_path / name) for name in ("first", "second")]
    log = site.install(iso, P11, "bios", disks, {})
    assert fetched(log)["autoinstall.scm"] == "/.medium/Metadata/autoinstall.scm"
    assert re.findall("NETBOOT-ALT-WIPED disk=(.*)", log) == ["vda", "vdb"]
    assert not any(map(is_kept, disks))


@LONG
@pytest.mark.parametrize(
    ("more", "end"),
    [
        (
            {"vm-profile.scm": answers.profile("other", answers.ROOT)},
            "NETBOOT-ALT-REFUSED vm-profile.scm has no profile arming-1a2b, only other",
        ),
        (
            {
                "vm-profile.scm": answers.profile(
                    "arming-1a2b", '("/" (size 9000000 . #t) (fsim . "Ext4") (methods plain))'
                )
            },
            'autoinstall FAILED: the profile fits no disk, ((#f "")), so nothing is mounted at'
            " /mnt/destination",
        ),
        (
            {
                "install-scripts.tar": answers.scripts_tar(
                    {"initinstall.d/40-disks": "#!/bin/sh\n[ -b /dev/vdc ] || poweroff\nsleep 60\n"}
                )
            },
            "install2: initinstall.d/40-disks",
        ),
    ],
)
def test_ends_before_a_disk_is_touched(site, p11, tmp_path, more, end):
    disks = [some_disk(tmp_path / name) for name in ("first", "second")]
    log = site.install(p11, P11, "efi-x86_64", disks, p11_answers(**more))
    assert log.rstrip().splitlines()[-2:] == [end, "install2: poweroff"]
    assert all(map(is_kept, disks))


@LONG
def test_minion_of_a_master(site, p11, tmp_path):
    """The installed system fetches Salt from a repository at its first boot."""
    repository = site.folder / "repository"
    line = f"rpm [p11] {site.web.url}/repository {make_repository(repository)}"
    minion = f"id: pc1\nmaster: {site.lab.address}\n"
    scripts = {
        "postinstall.d/80-minion": "#!/bin/sh\n. install2-init-functions\n"
        f'echo "{line}" > "$destdir/etc/apt/sources.list"\nmkdir -p "$destdir/etc/salt/minion.d"\n'
        f'printf "{minion}" > "$destdir/etc/salt/minion.d/master.conf"\n',
    }
    run = (
        "until apt-get update; do sleep 5; done; apt-get -y install salt-minion"
        " && systemctl enable --now --no-block salt-minion"
    )
    files = p11_answers(**{"install-scripts.tar": answers.scripts_tar(scripts)})
    files["autoinstall.scm"] = files["autoinstall.scm"].replace("echo HELLO-FIRST", run)
    disk = some_disk(tmp_path / "disk")
    assert "NETBOOT-ALT-DONE" in site.install(p11, P11, "efi-x86_64", [disk], files)
    master = Master(site.lab, {})
    with site.lab.client("efi-x86_64", extra=[*drives([disk], ",bootindex=0")]) as client:
        client.wait_for("NETBOOT-ALT-INSTALLED", timeout=600)
        end = time.monotonic() + 300
        while '"pc1": true' not in master.run("pc1", "test.ping", "--timeout=5").stdout:
            assert time.monotonic() < end
            time.sleep(1)


@LONG
def test_without_ai(site, p11):
    """The same image is looked into, as every other one."""
    tree = site.folder / f"tree-{p11.path.stem}"
    if not tree.exists():
        p11.unpack(tree)
    words = P11.replace(" ai ", " ").format(
        server=site.web.url.removeprefix("http://"), name=p11.path.name, curl="http://nowhere/"
    )
    kernel, initrd = (tree / path[1:] for path in (p11.kernel, p11.initrd))
    with site.lab.client("bios", kernel=kernel, initrd=initrd, cmdline=words) as client:
        assert client.booted(timeout=300)["digest"] == p11.stages["live"][1]
