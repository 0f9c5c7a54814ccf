"""UEFI of riscv64 and loongarch64, in a newer QEMU, boots a live system to its marker over PXE.

Boot loaders are Debian 13's, from the pillar, kernels and busybox Debian's.
"""

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.ipxe import boot_loaders
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.boot.test_firmware import boots, pillar_of, sent_over_tftp
from tests.servers import INSTALLED

LOADERS = {"riscv64": "ipxe-riscv64.efi", "loongarch64": "ipxe-loong64.efi"}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A netboot server beside the network's own DHCP server, with an image of each architecture."""
    folder = tmp_path_factory.mktemp("web")
    isos = {arch: make_iso(folder, arch=arch, stage_mib=2) for arch in LOADERS}
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(folder)
        firmware = {}
        for arch, name in LOADERS.items():
            loader = Path(shutil.copy(boot_loaders() / name, folder))
            digest = hashlib.sha256(loader.read_bytes()).hexdigest()
            firmware[f"efi-{arch}"] = {"url": f"{web.url}/{name}", "checksum": {"sha256": digest}}
        salt = SaltCall(server, {"netboot": {**pillar_of(web, isos), "firmware": firmware}})
        assert salt.apply(server).failed == {}
        yield SimpleNamespace(lab=lab, server=server, salt=salt, isos=isos)


@pytest.mark.parametrize("arch", LOADERS)
def test_arch(lan, arch):
    boots(lan, lan.lab.client(f"efi-{arch}"), lan.isos[arch], timeout=400)
    assert f"/srv/export/tftp/snponly-{arch}.efi" in sent_over_tftp(lan)
