"""Secure Boot in the lab: keys made on the spot, key databases of machines, signed boot files.

Keys(folder).signed(ipxe()) is an iPXE that a shim starts on machines of which
lab.client("efi-secure", variables=Keys(folder).variables(["2011", "2023"])) is one.
"""

import ssl
import struct
import sys
from importlib import resources
from pathlib import Path

from .client import FIRMWARE
from .host import LabError, require
from .ipxe import boot_loaders
from .iso.debian import debian_kernel
from .iso.scratch import run
from .iso.signed import signed_file, without_signature
from .roots import CACHE

#: Debian's newest suite that has an iPXE for Secure Boot, of version 2.0 and later.
NEWEST = "sid"
# Microsoft's certificates for programs of others are in the package virt-firmware. Its own word for
# the one of 2011, uefi11, would bring that of 2023 too.
MICROSOFT = resources.files("virt.firmware") / "certs/microsoft.com"
# Whose certificates they are, in key databases.
MICROSOFT_OWNER = "77fa9abd-0359-4d32-bd60-28f4e78f784b"
OWNER = "5bbd42ac-6b5b-4c6c-a0d7-1f3d1e6f3d6c"  # any will do
IPXE = {"x86_64": "snponly.efi", "aarch64": "ipxe-arm64.efi"}


def debian(what, arch="x86_64"):
    """The path of a file that Debian has signed, or for the shim Microsoft; fetched once and kept.

    what: "kernel", or a key of lab.iso.signed.FILES: "shim", "grub", "grub-2.06".
    """
    if what == "kernel":
        return debian_kernel(CACHE, arch).vmlinuz
    return signed_file(CACHE, what, arch)


def ipxe(arch="x86_64"):
    """The path of Debian's newest iPXE, which Debian does not sign."""
    return boot_loaders(NEWEST) / IPXE[arch]


def ipxe_version():
    """The version of that package."""
    (package,) = boot_loaders(NEWEST).parents[2].glob("ipxe_*.deb")
    return package.name.split("_")[1]


class Keys:
    """Keys of one test, in a folder of its own.

    There are "lab", which the test signs with, "platform", which belongs to the machine's maker,
    and "vendor", which signs the shim of shim(). Others are made when they are first named.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def key(self, name="lab"):
        """The path of a private key, PEM."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            run(
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"),
                *("-subj", f"/CN=netboot-alt {name}", "-keyout", str(path)),
                *("-out", str(path.with_suffix(".crt"))),
            )
        return path

    def certificate(self, name="lab"):
        """The path of a key's certificate, PEM."""
        return self.key(name).with_suffix(".crt")

    def signed(self, program, name="lab", sbat=True):
        """The path of a copy of an EFI program that is signed.

        name: of the key; None: the copy has no signature. sbat: False: its section .sbat has
        another name, so that all else in it is the same.
        """
        path = self.folder / f"{program.name}-{name}{'' if sbat else '-no-sbat'}"
        content = without_signature(program.read_bytes())
        if content.count(b".sbat\0\0\0") != 1:
            raise LabError(f"{program} has no section .sbat: shims start none of its kind")
        path.write_bytes(content if sbat else content.replace(b".sbat\0\0\0", b".foo\0\0\0\0"))
        if name:
            self._sign(path, name)
        return path

    def shim(self, arch="x86_64"):
        """The path of a shim that trusts "lab" without MOK, and no distribution.

        So does iPXE's own. It is Debian's with another certificate in it, for machines whose
        firmware has that of "vendor".
        """
        content = bytearray(without_signature(debian("shim", arch).read_bytes()))
        own = ssl.PEM_cert_to_DER_cert(self.certificate().read_text())
        start, room = _vendor_certificate(content)
        if len(own) > room:
            raise LabError(f"the certificate has {len(own)} bytes and the shim room for {room}")
        struct.pack_into("<I", content, start, len(own))
        content[start + 16 : start + 16 + len(own)] = own
        path = self.folder / f"shim-{arch}.efi"
        path.write_bytes(content)
        self._sign(path, "vendor")
        return path

    def _sign(self, path, name):
        require("sbsign")
        files = ["--key", self.key(name), "--cert", self.certificate(name), "--output", path]
        run("sbsign", *map(str, files), str(path))

    def variables(self, databases=("2011", "2023"), mok="lab", arch="x86_64", uri=None, on=True):
        """The path of a new machine's variables.

        databases: whose certificates its firmware has: years of Microsoft's, names of keys. mok:
        the name of the key whose certificate its owner has enrolled for shims; None: none. uri:
        what it boots over HTTP, whatever DHCP says. on: whether Secure Boot is switched on.
        """
        kind = ["variables", arch, *databases, mok or "no-mok", "on" if on else "off"]
        path = self.folder / "-".join(kind)
        firmware = FIRMWARE["efi-secure" if arch == "x86_64" else f"efi-secure-{arch}"]
        require(firmware.code)
        words = ["--input", firmware.variables, "--output", path]
        for name in ("PK", "KEK", "db", "dbx"):  # of what it comes with
            words += ["--delete", name]
        words += ["--enroll-cert", self.certificate("platform"), "--microsoft-kek", "all"]
        words += ["--no-microsoft", *(["--sb"] if on else ["--set-false", "SecureBootEnable"])]
        for name in databases:
            if name in ("2011", "2023"):
                words += ["--add-db", MICROSOFT_OWNER, MICROSOFT / f"ms-uefi-{name}.pem"]
            else:
                words += ["--add-db", OWNER, self.certificate(name)]
        words += ["--add-mok", OWNER, self.certificate(mok)] if mok else []
        words += ["--set-boot-uri", uri] if uri else []
        run(str(Path(sys.executable).with_name("virt-fw-vars")), *map(str, words))
        return path


def _vendor_certificate(shim):
    """Where a shim's table of its vendor's certificates begins, and how long the certificate is."""
    # rhboot/shim, cert.S: two sizes, of what is trusted and what is revoked; then where each is.
    for start in range(0, len(shim) - 16, 512):
        size, _, first, second = struct.unpack_from("<4I", shim, start)
        if size and first == 16 and second == 16 + size:
            return start, size
    raise LabError("the shim has no certificate of its vendor")
