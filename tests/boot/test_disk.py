"""After an installation the machine's own disk starts, in whatever order its firmware looks."""

import hashlib
import shutil
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.client import HTTP_BOOT
from lab.disk import MARKER, aarch64_disk, bios_disk, efi_disk
from lab.ipxe import boot_loaders
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.boot.test_boot import served
from tests.servers import INSTALLED

pytestmark = pytest.mark.long

# UEFI tries all that its network card can do before it goes on.
QUICK = ("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no")
#: Where the disk is in the firmware's order, and more words; the network card has place 1.
ORDERS = {"network first": (2, QUICK), "disk first": (0, QUICK), "HTTP first": (2, HTTP_BOOT)}
DISKS = {"bios": bios_disk, "efi-x86_64": efi_disk, "efi-aarch64": aarch64_disk}
CASES = [
    (kind, order) for kind in DISKS for order in ORDERS if (kind, order) != ("bios", "HTTP first")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server of both architectures; nothing boots by itself but the disk."""
    folder = tmp_path_factory.mktemp("iso")
    isos = {arch: make_iso(folder, arch=arch) for arch in ("x86_64", "aarch64")}
    loader = folder / "arm.efi"
    shutil.copy(boot_loaders() / "ipxe-arm64.efi", loader)
    digest = hashlib.sha256(loader.read_bytes()).hexdigest()
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(folder)
        pillar = {
            "images": {
                f"p11 {arch}": {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
                for arch, iso in isos.items()
            },
            "firmware": {
                "efi-aarch64": {"url": f"{web.url}/{loader.name}", "checksum": {"sha256": digest}}
            },
            "menu": {"timeout_s": 2},
        }
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        yield SimpleNamespace(lab=lab, server=server, salt=salt)


def starts_its_disk(site, kind, words):
    with site.lab.client(kind, extra=words) as client:
        client.wait_for(MARKER, timeout=300)
    return [path for _, path, _, _ in served(site) if path.startswith(("/dist", "/tftp/netboot"))]


@pytest.mark.parametrize(("kind", "order"), CASES)
def test_order(site, kind, order, tmp_path):
    place, words = ORDERS[order]
    served(site)
    assert starts_its_disk(site, kind, [*DISKS[kind](tmp_path, place), *words]) == []


def test_ten_boots_in_a_row(site, tmp_path):
    """Each by the menu, whose time runs out; none of them asks for an installer."""
    words = bios_disk(tmp_path)
    asked = [starts_its_disk(site, "bios", words) for _ in range(10)]
    assert asked == [[]] * 10
