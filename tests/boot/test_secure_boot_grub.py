"""Machines with Secure Boot, out of the ISO alone: its own shim and GRUB, over TFTP.

Debian's shim, signed GRUB and signed kernel lie where ALT has its own: GRUB 2.12 in the image of
p11, 2.06 in that of p10.
"""

import shutil
import time
from types import SimpleNamespace

import pytest

from lab import Lab, network
from lab.disk import MARKER
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from lab.secure_boot import Keys, debian
from tests.servers import INSTALLED

GRUBS = {"p11": ("p11", "grub"), "p10": ("p10.4", "grub-2.06")}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    isos = {
        name: make_iso(folder, generation, stage_mib=2, signed="eltorito", grub=grub)
        for name, (generation, grub) in GRUBS.items()
    }
    plain = {"edition": "plain", "signed": "tree", "unsigned": ("kernel",)}
    isos["plain"] = make_iso(folder, stage_mib=2, **plain)
    return SimpleNamespace(folder=folder, isos=isos, keys=Keys(folder / "keys"))


def site_of(lab, media, **own):
    """A netboot server of these images; `apply` puts more into its pillar."""
    server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
    web = lab.web(media.folder)
    pillar = {
        "interface": "eth0",
        "images": {
            name: {
                "url": f"{web.url}/{iso.path.name}",
                "checksum": {"sha256": iso.sha256},
                "variants": ["livecd"],
            }
            for name, iso in media.isos.items()
        },
        "default_image": {"x86_64": "p11"},
        "menu": {"timeout_s": 2},
        **own,
    }
    salt = SaltCall(server, {"netboot": pillar})

    def apply(image, kind="efi-x86_64", **more):
        secure = {kind: {"image": image}}
        salt.write_pillar({"netboot": {**pillar, "secure_boot": secure, **more}})
        done = salt.apply(server)
        assert done.failed == {}
        return done

    return SimpleNamespace(
        lab=lab, server=server, salt=salt, apply=apply, isos=media.isos, keys=media.keys
    )


@pytest.fixture(scope="module")
def beside(media, tmp_path_factory):
    """Beside the network's own DHCP server."""
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        yield site_of(lab, media)


@pytest.fixture(scope="module")
def giving(media, tmp_path_factory):
    """The network's DHCP server itself."""
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as lab:
        prefix = lab.address.rpartition(".")[0]
        subnet = {"range": [f"{prefix}.100", f"{prefix}.150"], "router": lab.address}
        yield site_of(lab, media, dhcp={"mode": "server", "subnets": {lab.network: subnet}})


def client_of(site, databases=("2011", "2023"), **how):
    variables = site.keys.variables(databases, mok=None, on=how.pop("on", True))
    return site.lab.client("efi-secure", variables=variables, **how)


def boots(site, client, name="p11", lockdown="integrity"):
    """The client gets the live system's stage, with a kernel that knows of Secure Boot."""
    with client:
        marker = client.booted(timeout=240)
    assert marker["lockdown"] == lockdown
    # The web server notes a request when it is over, which on a busy machine may be after that.
    for _ in range(10):
        boot = site.salt.call(site.server, "netboot.trace", client.mac)["boots"][-1]
        if boot["state"] != "loading":
            break
        time.sleep(1)
    print(boot)
    assert (boot["state"], boot["cause"]) == ("running", "")
    assert (marker["variant"], marker["digest"]) == ("livecd", site.isos[name].stages["live"][1])
    return marker


def sent_over_tftp(site):
    log = site.server.run(["journalctl", "-u", "netboot-dnsmasq", "-o", "cat"]).stdout
    return {line.split()[1] for line in log.splitlines() if line.startswith("sent /")}


def test_beside_another_server(beside):
    beside.apply("p11")
    boots(beside, client_of(beside))
    names = ("grub/shimx64.efi", "grub/grubx64.efi", "grub/grub.cfg")
    kernel = f"netboot/x86_64/p11{beside.isos['p11'].kernel}"
    assert {f"/srv/export/tftp/{one}" for one in (*names, kernel)} <= sent_over_tftp(beside)


@pytest.mark.long
def test_old_grub_hangs_beside_another_server(beside):
    """It asks that one for its menu. The apply says so before anybody waits in front of it."""
    done = beside.apply("p10")
    assert "GRUB 2.06 of p10 is expected to hang" in str(done.states["netboot-menus"])
    beside.server.run(["sh", "-c", "journalctl --rotate && journalctl --vacuum-time=1s"])
    with client_of(beside) as client:
        client.wait_for("Welcome to GRUB!", timeout=120)
        time.sleep(20)
        client.note({"variant": "hangs"})
        text = client.serial_log.read_text(errors="replace")
    assert "/srv/export/tftp/grub/grubx64.efi" in sent_over_tftp(beside)
    assert "/srv/export/tftp/grub/grub.cfg" not in sent_over_tftp(beside)
    assert "p10: livecd" not in text


@pytest.mark.long
@pytest.mark.parametrize(("image", "booted"), [("p11", "p11"), ("p10", "p10"), ("p10", "p11")])
def test_server_that_gives_addresses(giving, image, booted):
    """GRUB of either image starts what is signed with a key that its shim has."""
    giving.apply(image, default_image={"x86_64": booted})
    boots(giving, client_of(giving), booted)


@pytest.mark.long
@pytest.mark.parametrize("databases", [["2011"], ["2023"]], ids="-".join)
def test_key_databases(giving, databases):
    giving.apply("p11")
    boots(giving, client_of(giving, databases))


@pytest.mark.long
def test_kernel_that_is_not_signed(giving):
    """GRUB shows why and starts its next choice; without Secure Boot it boots."""
    giving.apply("p11", default_image={"x86_64": "plain"})
    with client_of(giving) as client:
        client.wait_for(r"plain: livecd \(does not start with Secure Boot: its kernel", timeout=120)
        client.wait_for("Booting `l  Boot from the local disk'", timeout=60)
        client.note({"variant": "refused"})
    boots(giving, client_of(giving, on=False), "plain", lockdown="none")


@pytest.mark.long
def test_aarch64(tmp_path_factory):
    """With Debian's files: ALT has no signed shim for it."""
    folder = tmp_path_factory.mktemp("web")
    isos = {"arm": make_iso(folder, stage_mib=2, arch="aarch64", signed="tree")}
    media = SimpleNamespace(folder=folder, isos=isos, keys=Keys(folder / "keys"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        site = site_of(lab, media, default_image={"aarch64": "arm"})
        site.apply("arm", kind="efi-aarch64")
        variables = site.keys.variables(["2011", "2023"], mok=None, arch="aarch64")
        boots(site, lab.client("efi-secure-aarch64", variables=variables), "arm")


@pytest.mark.long
def test_secure_boot_switched_off(giving):
    giving.apply("p11")
    boots(giving, client_of(giving, on=False), lockdown="none")


def disk(tmp_path, loader):
    """QEMU's words for a disk with an installed system: a shim at this path, its GRUB beside it."""
    shim = tmp_path / "esp" / loader
    shim.parent.mkdir(parents=True)
    shutil.copy(debian("shim"), shim)
    shutil.copy(debian("grub").with_name("grubx64.efi.signed"), shim.with_name("grubx64.efi"))
    config = tmp_path / "esp/EFI/debian/grub.cfg"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f"echo {MARKER}\nsleep 60\n")
    return [
        *("-drive", f"if=none,id=disk,format=raw,readonly=on,file=fat:{tmp_path / 'esp'}"),
        *("-device", "virtio-blk-pci,drive=disk,bootindex=2"),
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("image", "loader"),
    [
        ("p11", "EFI/BOOT/BOOTX64.EFI"),
        ("p11", "EFI/debian/shimx64.efi"),
        ("p10", "EFI/debian/shimx64.efi"),
    ],
)
def test_host_that_boots_once(giving, tmp_path, image, loader):
    """Armed, it boots over the network; that is seen; then it starts its own disk."""
    number, drive = 20, disk(tmp_path, loader)
    host = {"mac": network.client_mac(giving.lab.number, number), "image": "p11"}
    hosts = {"pc1": {**host, "variant": "livecd", "once": True}}
    giving.apply(image, hosts=hosts, default_image={})
    with client_of(giving, extra=drive, number=number) as client:
        client.wait_for(MARKER, timeout=120)
    giving.salt.call(giving.server, "netboot.arm", "pc1")
    script = "/srv/export/tftp/grub/once/pc1.cfg"
    giving.server.run(["test", "-f", script])
    boots(giving, client_of(giving, extra=drive, number=number))
    (seen,) = giving.salt.call(giving.server, "netboot_once.list")
    assert seen["booted"]
    giving.server.run(["test", "!", "-e", script])
    with client_of(giving, extra=drive, number=number) as client:
        client.wait_for(MARKER, timeout=120)
