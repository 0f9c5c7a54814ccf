"""Debian roots and package repositories for lab machines, cached by a hash of their recipe."""

import contextlib
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .host import LabError, apt_options, debian_sources, require, say, tail

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "lab"

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"

# What a machine has before anybody manages it: python3 and sshd, and what these need.
BARE = ["ca-certificates", "dbus", "openssh-server", "python3", "sudo", "systemd", "systemd-sysv"]

# What a machine needs besides to boot in QEMU. The initrd has the disk's and the network's drivers.
GUEST = ["initramfs-tools", "kmod", "linux-image-cloud-amd64", "udev", "zstd"]

# What the installer of lab/iso/install2 works with, and what the system has that it installs.
INSTALLER = ["btrfs-progs", "busybox-static", "curl", "dosfstools", "e2fsprogs", "fdisk"]
INSTALLER += ["grub-efi-amd64-bin", "grub-pc-bin", "grub2-common", "iproute2", "kmod", "mount"]
INSTALLER += ["openssh-server", "passwd", "python3", "systemd", "systemd-sysv", "tzdata", "udev"]

# QEMU and UEFI of architectures for which this machine's Debian has none that work together.
QEMU = ["qemu-efi-loongarch64", "qemu-efi-riscv64", "qemu-system-misc", "qemu-system-riscv"]

# Identity (host keys, machine id) belongs to a machine, not to a root that many share.
# The timers would take apt's lock in the middle of a test.
SET_UP = """set -e
chroot "$1" useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/admin"
chroot "$1" install -d -m 700 root/.ssh
chroot "$1" install -d -m 700 -o admin -g admin home/admin/.ssh
chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
echo 'Acquire::Languages "none";' > "$1/etc/apt/apt.conf.d/lab"
echo force-unsafe-io > "$1/etc/dpkg/dpkg.cfg.d/lab"
rm -rf "$1"/etc/ssh/ssh_host_* "$1/etc/machine-id" "$1/var/lib/dbus/machine-id" \
    "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*
"""

# eth0, as in the other machines, by net.ifnames=0; its address is the machine's own.
SET_UP_GUEST = """set -e
chroot "$1" systemctl enable systemd-networkd
chroot "$1" systemctl mask systemd-networkd-wait-online.service
"""

# Small, as each of its installations loads it into memory and copies it to a disk.
SET_UP_INSTALLER = """set -e
chroot "$1" systemctl enable systemd-networkd
chroot "$1" systemctl mask systemd-networkd-wait-online.service apt-daily.timer \
    apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer \
    fstrim.timer getty@tty1.service systemd-timesyncd.service
rm -rf "$1"/etc/ssh/ssh_host_* "$1/etc/machine-id" "$1"/etc/apt/sources.list* \
    "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/usr/share/info/* \
    "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/debconf/* "$1"/var/log/* \
    "$1"/usr/share/grub "$1"/usr/lib/grub/x86_64-efi/monolithic "$1"/usr/share/perl \
    "$1"/usr/lib/*/perl "$1"/usr/lib/*/libperl.so* "$1"/usr/lib/*/gconv "$1"/usr/lib/udev/hwdb* \
    "$1"/usr/lib/python3*/lib2to3 "$1"/usr/lib/python3*/pydoc_data "$1"/usr/share/zoneinfo/right
"""

# $1 the bare root, $2 a work directory, $3 where the repository goes, then the packages.
DOWNLOAD = """set -e
root=$1 work=$2 repository=$3; shift 3
mkdir "$work/upper" "$work/work" "$work/lower" "$work/merged"
mount --bind "$root" "$work/lower"
mount -t overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/work" \
    overlay "$work/merged"
mount --rbind /dev "$work/merged/dev"
cp /etc/resolv.conf "$work/merged/etc/resolv.conf"
cp "$work/sources.list" "$work/merged/etc/apt/sources.list"
cp "$work/apt.conf" "$work/merged/etc/apt/apt.conf.d/host"
chroot "$work/merged" apt-get -q update
chroot "$work/merged" apt-get -q -y --download-only install "$@"
mkdir "$repository"
mv "$work/merged/var/cache/apt/archives"/*.deb "$repository"
cd "$repository"
apt-ftparchive packages . > Packages
apt-ftparchive release . > Release
"""

# $1 the root, $2 the repository of what it lacks, $3 where the root that has it goes, $4 the
# unpacked thin or nothing, then the packages. Nothing is started, as in a chroot nothing can be.
INSTALL = """set -e
root=$1 repository=$2 result=$3 thin=$4; shift 4
cp -a --reflink=auto "$root" "$result"
mkdir "$result/repository"
mount --bind "$repository" "$result/repository"
mount --rbind /dev "$result/dev"
mount -t proc proc "$result/proc"
echo 'deb [trusted=yes] file:/repository ./' > "$result/etc/apt/sources.list"
printf '#!/bin/sh\\nexit 101\\n' > "$result/usr/sbin/policy-rc.d"
chmod 755 "$result/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive
chroot "$result" apt-get -q -o APT::Sandbox::User=root update
chroot "$result" apt-get -q -y -o APT::Sandbox::User=root install "$@"
chroot "$result" apt-get -q clean
umount "$result/proc" "$result/repository"
umount --recursive "$result/dev"
rmdir "$result/repository"
rm -rf "$result/usr/sbin/policy-rc.d" "$result/etc/apt/sources.list" "$result"/var/lib/apt/lists/* \
    "$result/etc/machine-id" "$result/var/lib/dbus/machine-id"
[ -z "$thin" ] || cp -a "$thin" "$result$THIN"
"""

# Where salt-ssh's thin lies on a machine that root is to log in to.
THIN = "/var/tmp/salt-thin"
MAKE_THIN = "import sys, salt.utils.thin; print(salt.utils.thin.gen_thin(sys.argv[1]))"

# For machines: all of a folder, by the Python that they have; they need not compare dates.
COMPILE = ["/usr/bin/python3", "-m", "compileall", "-qq", "-j0"]
COMPILE += ["--invalidation-mode=unchecked-hash"]

# A build that is killed takes its mounts and processes with it.
CONTAINED = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]


def bare_root(release=None):
    """The path of a Debian root with only python3, sshd and sudo; built when not yet cached.

    release: "trixie", for example. None: this machine's.
    """
    return _root(f"the bare root{f' of {release}' if release else ''}", BARE, [SET_UP], release)


def guest_root():
    """The path of the bare root with Debian's cloud kernel; built when not yet cached."""
    return _root("the root with a kernel", [*BARE, *GUEST], [SET_UP, SET_UP_GUEST])


def installer_root():
    """The path of the system that stands in for ALT's installer and for what that installs."""
    return _root("the installer's system", INSTALLER, [SET_UP_INSTALLER])


def newer_qemu():
    """The path of a folder with Debian 13's QEMU, its UEFI and their libraries, unpacked only."""
    return _root("QEMU of Debian 13", QEMU, [], "trixie", "extract")


def loaded(root, program):
    """The words that run a program of `root` with that root's libraries, on this host's files."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(libraries), str(root / "usr/bin" / program)]


def _root(what, packages, set_up, release=None, variant="minbase"):
    require("mmdebstrap", "apt-ftparchive")
    sources = debian_sources(release)

    def build(target):
        (target / "apt.conf").write_text(apt_options())
        _run(
            target,
            [
                "mmdebstrap",
                "--mode=root",
                f"--variant={variant}",
                f"--include={','.join(packages)}",
                f"--aptopt={target / 'apt.conf'}",
                *(f"--customize-hook={commands}" for commands in set_up),
                "",
                str(target / "result"),
                *sources,
            ],
        )

    return _cached("roots", what, [sources, packages, *set_up], build)


def package_repository(root, packages, release=None):
    """A flat repository of all that `root` lacks to install `packages` with what they recommend.

    root: a path that bare_root(release) returned; packages: Debian package names.
    Returns the repository's path; its directory's name is the hash of its recipe.
    """
    packages = sorted(set(packages))
    sources = debian_sources(release)

    def build(target):
        (target / "apt.conf").write_text(apt_options())
        (target / "sources.list").write_text("\n".join(sources) + "\n")
        _run(
            target,
            [
                "sh",
                "-c",
                DOWNLOAD,
                "download",
                str(root),
                str(target),
                str(target / "result"),
                *packages,
            ],
        )

    what = f"the packages {' '.join(packages)}"
    return _cached("packages", what, [root.name, sources, packages, DOWNLOAD], build)


def installed_root(root, packages, release=None):
    """The path of a copy of `root` that has `packages`, with what they recommend; cached.

    root, release: as for package_repository(). It has salt-ssh's thin too, compiled, unless it is
    of another release: a machine that was managed before, for tests that begin after that.
    """
    packages = sorted(set(packages))
    repository = package_repository(root, packages, release)
    thin = None if release else salt_thin()

    def build(target):
        places = [root, repository, target / "result", thin / "unpacked" if thin else ""]
        install = f"THIN={THIN}\n{INSTALL}"
        _run(target, ["sh", "-c", install, "install", *map(str, places), *packages])

    recipe = [root.name, repository.name, thin and thin.name, packages, INSTALL, THIN]
    return _cached("roots", f"a root with {' '.join(packages)}", recipe, build)


def salt_thin():
    """The path of a folder with what salt-ssh sends to its targets; made when missing.

    `thin` is what its cache on the controller has, `unpacked` what a target has, compiled. Making
    it takes ten seconds of every lab's time otherwise.
    """
    installed = sorted(path.name for path in Path(sys.prefix).glob("lib/*/site-packages/*-info"))
    recipe = [installed, sys.version, MAKE_THIN, "compiled"]

    def build(target):
        result = target / "result"
        result.mkdir()
        _run(target, [sys.executable, "-c", MAKE_THIN, str(result)])
        unpacked = result / "unpacked"
        unpacked.mkdir(mode=0o700)
        _run(target, ["tar", "-xzf", str(result / "thin/thin.tgz"), "-C", str(unpacked)])
        # Not all that is in it can be compiled by this Python.
        _run(target, ["sh", "-c", '"$@" || true', "compile", *COMPILE, str(unpacked)])

    return _cached("thin", "what salt-ssh sends", recipe, build)


def salt_program(version):
    """The path of a folder with Salt `version`, without what it needs; fetched when not yet cached.

    It is Python alone, so it is the same for every Python. looseversion, which not every Debian
    has, lies with it. For Lab.server(binds=...).
    """
    wanted = [f"salt=={version}", "looseversion==1.3.0"]

    def build(target):
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-compile"]
        _run(target, [*pip, f"--target={target / 'result'}", *wanted])

    return _cached("salt", f"Salt {version}", wanted, build)


def python_archive(wanted, folder, files, without):
    """The path of a tar.gz with what pip installs, compiled; made when not yet cached.

    wanted: a requirement, which requirements.lock completes; folder: where it is in the archive;
    files: texts of more files by their paths there, executable where they are in a folder bin;
    without: what is in the folder then and is left out.
    """

    def build(target):
        tree = target / "tree"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
        _run(target, [*pip, f"--constraint={LOCK}", f"--target={tree / folder}", wanted])
        for name in without:
            shutil.rmtree(tree / folder / name)
        # Not all that is in it can be compiled by this Python.
        _run(target, ["sh", "-c", '"$@" || true', "compile", *COMPILE, str(tree / folder)])
        for name, text in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if path.parent.name == "bin" else 0o644)
        (target / "result").mkdir()
        archive = target / "result/archive.tar.gz"
        _run(target, ["tar", "-czf", str(archive), "--owner=0", "--group=0", "-C", str(tree), "."])

    recipe = [wanted, folder, files, without, LOCK.read_text()]
    return _cached("salt", f"{wanted} as an archive", recipe, build) / "archive.tar.gz"


def _cached(kind, what, recipe, build):
    """CACHE/kind/<hash of recipe>, made by build(directory) as directory/result when missing."""
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    path = CACHE / kind / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        if not path.exists():
            say(f"building {what}, once")
            started = time.monotonic()
            building = path.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            build(building)
            (building / "result").rename(path)
            shutil.rmtree(building)
            say(f"built {what} in {time.monotonic() - started:.0f} s")
    return path


def _run(directory, argv):
    log = directory / "log"
    with log.open("w") as output:
        done = subprocess.run(
            [*CONTAINED, *argv],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        raise LabError(f"{argv[0]} failed, see {log}:\n{tail(log)}")


@contextlib.contextmanager
def _locked(path):
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
