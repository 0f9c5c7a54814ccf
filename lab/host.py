"""What the lab needs from this machine: programs, and the Debian mirror that its apt uses."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# A name without a slash is looked up in PATH. None of these packages starts a daemon.
PACKAGES = {
    "apt-ftparchive": "apt-utils",
    "busybox": "busybox-static",
    "chromedriver": "chromium-driver",
    "cpio": "cpio",
    "curl": "curl",
    "git": "git",
    "grub-mkstandalone": "grub-common",
    "ip": "iproute2",
    "mcopy": "mtools",
    "mdel": "mtools",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.fat": "dosfstools",
    "mksquashfs": "squashfs-tools",
    "mmd": "mtools",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "objcopy": "binutils",
    "objdump": "binutils",
    "openssl": "openssl",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "rpmbuild": "rpm",
    "sbsign": "sbsigntool",
    "sbverify": "sbsigntool",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "tcpdump": "tcpdump",
    "xorriso": "xorriso",
    "zsync": "zsync",
    "/usr/lib/ipxe/qemu/efi-virtio.rom": "ipxe-qemu",
    "/usr/lib/u-boot/qemu_arm64/u-boot.bin": "u-boot-qemu",
    "/usr/share/AAVMF/AAVMF_CODE.fd": "qemu-efi-aarch64",
    "/usr/share/AAVMF/AAVMF_CODE.ms.fd": "qemu-efi-aarch64",
    "/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd": "ovmf-ia32",
    "/usr/lib/grub/x86_64-efi/serial.mod": "grub-efi-amd64-bin",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd": "ovmf",
}


class LabError(Exception):
    """The lab cannot do what was asked; the message is one sentence, sometimes with a log's end."""


def say(text):
    """Tell the user on stderr what takes time."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def tail(path, lines=15):
    """The last `lines` lines of the log `path`, indented, for an error message."""
    if not path.exists():
        return "    (no such file)"
    text = path.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in text) or "    (it is empty)"


def require(*names):
    """Install what is missing of `names`: programs or absolute paths, each a key of PACKAGES.

    Raises LabError, naming what is missing and its packages, when apt cannot bring it.
    """
    missing = [name for name in names if not _present(name)]
    if not missing:
        return
    packages = sorted({PACKAGES[name] for name in missing})
    if shutil.which("apt-get") and os.geteuid() == 0:
        say(f"installing {' '.join(packages)}")
        install = [
            "apt-get",
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=300",
            "install",
            "--no-install-recommends",
            "-y",
            *packages,
        ]
        quiet = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        }
        if subprocess.run(install, check=False, **quiet).returncode:
            # The package lists may be too old, or not there at all as in a container.
            subprocess.run(["apt-get", "-qq", "update"], check=False, **quiet)
            subprocess.run(install, check=False, **quiet)
        missing = [name for name in missing if not _present(name)]
    if missing:
        raise LabError(
            f"Missing: {', '.join(missing)}; install the Debian packages {' '.join(packages)}."
        )


def _present(name):
    return Path(name).exists() if name.startswith("/") else shutil.which(name) is not None


def debian_sources(release=None):
    """This machine's own Debian sources, as sources.list lines without options.

    release: of another Debian on the same mirrors, such as "trixie". None: this machine's.
    Raises LabError when apt here knows no Debian mirror.
    """
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(COMPONENT)",
            "Origin: Debian",
            "Identifier: Packages",
        ],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout.splitlines()
    if not listed:
        raise LabError(
            "apt on this machine knows no Debian mirror; run apt-get update, or use a Debian host."
        )
    if release:
        sites = {line.split()[0] for line in listed if "-" not in line.split()[1]}
        return [f"deb {site} {release} main" for site in sorted(sites)]
    return [f"deb {line}" for line in sorted(set(listed))]


def apt_options():
    """How this machine's apt reaches its mirror (proxies, dates), as the text of an apt.conf."""
    keys = ["http", "https", "Retries", "Check-Valid-Until", "Check-Date"]
    return subprocess.run(
        [
            "apt-config",
            "dump",
            "--no-empty",
            "--format",
            '%F "%v";%n',
            *(f"Acquire::{key}" for key in keys),
        ],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout


@contextlib.contextmanager
def apt_of(release=None, arch=None):
    """In this `with` block apt knows another Debian's packages, on this machine's own mirror.

    release: "trixie", for example; arch: Debian's name of an architecture. None: this machine's.
    Gives the environment for apt's programs; what other programs know of packages stays as it is.
    """
    sources = debian_sources(release)
    with tempfile.TemporaryDirectory(prefix="netboot-lab.") as work:
        for folder in ("state/lists/partial", "cache/archives/partial"):
            os.makedirs(f"{work}/{folder}")
        settings = f"""{apt_options()}
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Etc::SourceList "{work}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Acquire::Languages "none";
"""
        if arch:
            settings += f'APT::Architecture "{arch}"; APT::Architectures "{arch}";\n'
        if os.geteuid() == 0:
            settings += 'APT::Sandbox::User "root";\n'
        for name, text in (
            ("apt.conf", settings),
            ("sources.list", "\n".join(sources) + "\n"),
            ("status", ""),
        ):
            Path(work, name).write_text(text)
        environment = {**os.environ, "APT_CONFIG": f"{work}/apt.conf"}
        say(f"asking for the packages of {release or 'this Debian'}{f', {arch}' if arch else ''}")
        done = subprocess.run(
            ["apt-get", "-qq", "update"],
            check=False,
            text=True,
            capture_output=True,
            env=environment,
        )
        if done.returncode:
            raise LabError(f"apt cannot list {', '.join(sources)}: {done.stderr.strip()[-500:]}")
        yield environment
