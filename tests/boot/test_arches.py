"""Rarer firmware over PXE: riscv64 and loongarch64 boot to the marker, U-Boot starts iPXE.

Boot loaders are Debian 13's, from the pillar; kernels and busybox are Debian's.
"""

import contextlib
import hashlib
import shutil
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.ipxe import boot_loaders
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.boot.test_firmware import boots, pillar_of, sent_over_tftp
from tests.servers import INSTALLED

LOADERS = {
    "aarch64": "ipxe-arm64.efi",
    "riscv64": "ipxe-riscv64.efi",
    "loongarch64": "ipxe-loong64.efi",
}
NEWER = ["riscv64", "loongarch64"]

pytestmark = pytest.mark.long


@contextlib.contextmanager
def server_of(tmp_path_factory, arches, dhcp):
    """A netboot server with an image and a boot loader of each architecture."""
    folder = tmp_path_factory.mktemp("web")
    isos = {arch: make_iso(folder, arch=arch, stage_mib=2) for arch in arches}
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=dhcp == "proxy") as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(folder)
        pillar = {**pillar_of(web, isos), "firmware": {}, "dhcp": {"mode": dhcp}}
        for arch in arches:
            shutil.copy(boot_loaders() / LOADERS[arch], folder)
            digest = hashlib.sha256((folder / LOADERS[arch]).read_bytes()).hexdigest()
            url = f"{web.url}/{LOADERS[arch]}"
            pillar["firmware"][f"efi-{arch}"] = {"url": url, "checksum": {"sha256": digest}}
        if dhcp == "server":
            prefix = lab.address.rpartition(".")[0]
            subnet = {"range": [f"{prefix}.100", f"{prefix}.150"], "router": lab.address}
            pillar["dhcp"]["subnets"] = {lab.network: subnet}
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        yield SimpleNamespace(lab=lab, server=server, salt=salt, isos=isos)


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    with server_of(tmp_path_factory, NEWER, "proxy") as lan:
        yield lan


@pytest.mark.parametrize("arch", NEWER)
def test_uefi(beside, arch):
    boots(beside, beside.lab.client(f"efi-{arch}"), beside.isos[arch], timeout=400)
    assert f"/srv/export/tftp/snponly-{arch}.efi" in sent_over_tftp(beside)


def test_u_boot(tmp_path_factory):
    """It gets its file whole and starts it, once it asks as UEFI; before, it asked as 22.

    There the CPU sleeps for good, as iPXE waits for a key and U-Boot has no interrupts
    (ipxe/ipxe, issue 1510): an iPXE for it is compiled without NAP_EFIARM.
    """
    with server_of(tmp_path_factory, ["aarch64"], "server") as lan:
        with lan.lab.client("u-boot-aarch64") as client:
            client.wait_for("Booting /snponly-aarch64.efi", timeout=120)
            got = client.wait_for(r"Bytes transferred = (\d+)", timeout=1)[1]
            client.wait_for("Press Ctrl-B for the iPXE command line", timeout=60)
        assert int(got) == (boot_loaders() / LOADERS["aarch64"]).stat().st_size
        assert "/srv/export/tftp/snponly-aarch64.efi" in sent_over_tftp(lan)
