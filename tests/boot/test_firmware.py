"""Real firmware of each kind, on each way to the menu, boots a live system to its marker.

What plain boot ROMs are answered is in tests/integration/test_dhcp.py; local disks are in
test_boot.py.
"""

import hashlib
import shutil
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.client import HTTP_BOOT
from lab.ipxe import boot_loaders, chained
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.boot.test_boot import served
from tests.servers import INSTALLED


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A web server's folder with an image of each architecture, and Debian 13's iPXE for ARM."""
    folder = tmp_path_factory.mktemp("web")
    isos = {arch: make_iso(folder, arch=arch, stage_mib=2) for arch in ("x86_64", "aarch64")}
    shutil.copy(boot_loaders() / "ipxe-arm64.efi", folder)
    return SimpleNamespace(folder=folder, isos=isos)


def pillar_of(web, isos):
    return {
        "images": {
            f"p11 {arch}": {
                "url": f"{web.url}/{iso.path.name}",
                "checksum": {"sha256": iso.sha256},
            }
            for arch, iso in isos.items()
        },
        "default_image": {arch: f"p11 {arch}" for arch in isos},
        "menu": {"timeout_s": 2},
    }


@pytest.fixture(scope="module")
def beside(media, tmp_path_factory):
    """A netboot server beside the network's own DHCP server."""
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(media.folder)
        pillar = pillar_of(web, media.isos)
        salt = SaltCall(server, {"netboot": pillar})
        refused = salt.apply(server)
        loader = media.folder / "ipxe-arm64.efi"
        digest = hashlib.sha256(loader.read_bytes()).hexdigest()
        binary = {"url": f"{web.url}/{loader.name}", "checksum": {"sha256": digest}}
        # Debian has no iPXE for 32-bit UEFI: what lies in its place can be fetched, not started.
        pillar["firmware"] = {"efi-aarch64": binary, "efi-i386": binary}
        salt.write_pillar({"netboot": pillar})
        assert salt.apply(server).failed == {}

        def apply(**more):
            salt.write_pillar({"netboot": {**pillar, **more}})
            assert salt.apply(server).failed == {}

        yield SimpleNamespace(
            lab=lab, server=server, salt=salt, isos=media.isos, refused=refused, apply=apply
        )


@pytest.fixture(scope="module")
def alone(media, tmp_path_factory):
    """A netboot server that is the network's DHCP server, and a machine that could be it."""
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        other = lab.server("dhcp1", packages=["isc-dhcp-server"])
        pillar = pillar_of(lab.web(media.folder), {"x86_64": media.isos["x86_64"]})
        salt = SaltCall(server, {"netboot": pillar})

        def apply(**dhcp):
            salt.write_pillar({"netboot": {**pillar, "dhcp": dhcp}})
            assert salt.apply(server).failed == {}

        yield SimpleNamespace(
            lab=lab, server=server, other=other, salt=salt, apply=apply, isos=media.isos
        )


def boots(lan, client, iso, timeout=240):
    """The client gets the live system's stage; returns what it fetched over HTTP."""
    served(lan)
    with client:
        marker = client.booted(timeout)
    assert (marker["variant"], marker["digest"]) == ("livecd", iso.stages["live"][1])
    boot = lan.salt.call(lan.server, "netboot.trace", client.mac)["boots"][-1]
    assert (boot["state"], boot["cause"]) == ("running", "")
    kinds = [one["step"] for one in boot["steps"] if one["step"] != "fetch"]
    # Of DHCP where this server answers it, else of TFTP.
    assert kinds[0] in ("dhcp", "ipxe", "tftp"), "what its firmware asked for"
    assert kinds[-6:] == ["script", "menu", "chosen", "kernel", "initrd", "boot"]
    return [path for _method, path, status, _bytes in served(lan) if status == 200]


def sent_over_tftp(lan):
    log = lan.server.run(["journalctl", "-u", "netboot-dnsmasq", "-o", "cat"]).stdout
    return {line.split()[1] for line in log.splitlines() if line.startswith("sent /")}


def test_image_without_boot_loader_is_refused(beside):
    """Debian 12 brings no iPXE for ARM."""
    failed = beside.refused.failed
    assert list(failed) == ["netboot-firmware-complete"]
    comment = failed["netboot-firmware-complete"]["comment"]
    assert "the image p11 aarch64 is for aarch64" in comment
    assert "netboot:firmware:efi-aarch64" in comment


def test_bios_through_undionly(beside):
    client = chained(beside.lab, beside.server.address)
    boots(beside, client, beside.isos["x86_64"])
    assert "/srv/export/tftp/undionly.kpxe" in sent_over_tftp(beside)


@pytest.mark.long
def test_aarch64(beside):
    boots(beside, beside.lab.client("efi-aarch64"), beside.isos["aarch64"])
    assert "/srv/export/tftp/snponly-aarch64.efi" in sent_over_tftp(beside)


def test_kernel_over_tftp(beside):
    """As Baikal-M boards need it; the stage comes over HTTP all the same."""
    beside.apply(kernel_over={"aarch64": "tftp"})
    iso = beside.isos["aarch64"]
    fetched = boots(beside, beside.lab.client("efi-aarch64"), iso)
    kernel = f"/netboot/aarch64/p11_aarch64{iso.kernel}"
    assert {f"/srv/export/tftp{kernel}", "/srv/export/tftp/snponly-aarch64.efi"} <= sent_over_tftp(
        beside
    )
    assert f"/tftp{kernel}" not in fetched


def test_uefi_over_http(beside):
    """The firmware fetches iPXE by HTTP: its way over PXE is switched off."""
    client = beside.lab.client("efi-x86_64", extra=HTTP_BOOT)
    fetched = boots(beside, client, beside.isos["x86_64"])
    assert "/tftp/snponly-x86_64.efi" in fetched


def test_32_bit_uefi_finds_its_boot_loader(beside):
    with beside.lab.client("efi-i386") as client:
        client.wait_for(r"failed to (load|start) Boot\d+ .UEFI PXEv4", timeout=120)
    assert "/srv/export/tftp/snponly-i586.efi" in sent_over_tftp(beside)


@pytest.fixture(scope="module")
def giving(alone):
    prefix = alone.lab.address.rpartition(".")[0]
    subnet = {"range": [f"{prefix}.100", f"{prefix}.150"], "router": alone.lab.address}
    alone.apply(mode="server", subnets={alone.lab.network: subnet})
    return alone


@pytest.mark.parametrize("firmware", ["efi-x86_64", pytest.param("bios", marks=pytest.mark.long)])
def test_server_that_gives_addresses(giving, firmware):
    boots(giving, giving.lab.client(firmware), giving.isos["x86_64"])


@pytest.mark.long
def test_server_of_somebody_else(alone):
    """ISC's dhcpd with what netboot.dhcp_hints prints; nothing of ours answers DHCP."""
    alone.apply(mode="off")
    prefix = alone.lab.address.rpartition(".")[0]
    hints = alone.salt.call(alone.server, "netboot.dhcp_hints", "server=isc")
    subnet = f"subnet {prefix}.0 netmask 255.255.255.0 {{ range {prefix}.100 {prefix}.150; }}\n"
    alone.other.run(["apt-get", "-qq", "update"])
    alone.other.run(["apt-get", "-qqy", "install", "isc-dhcp-server"])
    alone.other.run(["tee", "/etc/dhcp/dhcpd.conf"], input=hints + subnet)
    alone.other.run(["dhcpd", "-q", "-4", "eth0"])
    boots(alone, alone.lab.client("efi-x86_64"), alone.isos["x86_64"])
