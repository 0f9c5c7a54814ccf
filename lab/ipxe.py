"""iPXE of newer Debians than the netboot server's: boot loaders for the pillar, and a BIOS ROM."""

from .host import apt_of
from .iso.scratch import run, unfinished
from .roots import CACHE

RELEASE = "trixie"
#: Of which iPXE on UEFI has sha256sum --set, as those since 2025-08.
HASHES = "forky"

# The first stage of a machine whose boot ROM is told nothing but to load the BIOS boot loader.
FIRST_STAGE = """#!ipxe
dhcp net0
chain tftp://{server}/{file}
"""


def boot_loaders(release=RELEASE):
    """The folder of all that a Debian's package ipxe has, for every architecture.

    Downloaded through apt once and kept; deleting it is how to get newer ones.
    """
    kept = CACHE / "ipxe" / release
    if not kept.exists():
        with apt_of(release=release) as environment, unfinished(kept) as work:
            run("apt-get", "-q", "download", "ipxe", cwd=work, environment=environment)
            (package,) = work.iterdir()
            run("dpkg-deb", "-x", str(package), str(work))
    return kept / "usr/lib/ipxe"


def chained(lab, server, file="undionly.kpxe", **kwargs):
    """A BIOS client whose first stage loads `file` over TFTP and does nothing else.

    QEMU's own boot ROM is iPXE, and so it is sent to the menu at once. This one is iPXE too, but
    what it loads finds a BIOS with a network card's ROM (PXE, UNDI), and asks DHCP anew.
    """
    script = lab.directory / "first-stage.ipxe"
    script.write_text(FIRST_STAGE.format(server=server, file=file))
    kernel = boot_loaders() / "ipxe.lkrn"
    return lab.client("bios", kernel=kernel, initrd=script, **kwargs)
