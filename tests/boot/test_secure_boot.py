"""Machines with Secure Boot, from power-on to a kernel that knows of it, and what refuses what.

Key databases are made here, as they are in machines that are sold today: Microsoft's certificates
of 2011, of 2023, of both. The first stage is Debian's shim, which Microsoft has signed, or one that
trusts no distribution, as iPXE's own; the second Debian's newest iPXE with a key of this test. An
image's shim, GRUB and kernel are Debian's, as ALT's were not at hand.
"""

import hashlib
import os
import shutil
import time

import pytest

from lab import Lab, network
from lab.client import HTTP_BOOT
from lab.iso import make_iso
from lab.iso.signed import with_one_signature
from lab.salt import CHECKOUT, SaltCall
from lab.secure_boot import Keys, debian, ipxe, ipxe_version
from tests.boot.test_boot import served
from tests.servers import INSTALLED

SHIM, SECOND = "ipxe-shimx64.efi", "grubx64.efi"
TITLE = "ALT Linux network boot"
REFUSED = r"Verification failed: \(0x1A\) Security Violation"
DENIED = r"failed to load Boot\d+ .*Access Denied"
IMAGES_SHIM = "EFI/BOOT/BOOTX64.EFI"
BOTH = ["2011", "2023"]
LONG = pytest.mark.long


class Site:
    """A netboot server whose boot loaders a test chooses; for `tests.boot.test_boot.served`, too.

    keys: of this site; iso: what its image is made of; url: of its web server.
    """

    def __init__(self, lab, folder):
        self.lab, self.keys, self._folder = lab, Keys(folder / "keys"), folder
        self.server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        self._web = lab.web(folder)
        self.isos = {}
        images = {
            "ALT p11": self.image("ALT p11", signed="tree"),
            "ALT p10": self.image("ALT p10", "p10.4", signed="eltorito", grub="grub-2.06"),
        }
        self._pillar = {"interface": "eth0", "images": images, "menu": {"timeout_s": 2}}
        self.salt = SaltCall(self.server, {"netboot": self._pillar})
        self._applied = None

    def apply(self, shim=None, loader=None, arch="x86_64", default="ALT p11", **more):
        """Apply the states.

        shim: the first stage, by default the one that trusts no distribution; loader: the second,
        by default signed with the key of this test; arch: whose they are; default: the image that
        boots by itself; more: keys of the pillar.
        """
        files = {
            "shim": shim or self.keys.shim(arch),
            "ipxe": loader or self.keys.signed(ipxe(arch)),
        }
        secure = {name: self._given(path) for name, path in files.items()}
        pillar = {
            **self._pillar,
            "secure_boot": {f"efi-{arch}": secure},
            "default_image": {arch: default},
            **more,
        }
        if pillar != self._applied:
            self.salt.write_pillar({"netboot": pillar})
            assert self.salt.apply(self.server).failed == {}
            self._applied = pillar
        served(self)

    def image(self, name, generation="p11", **arguments):
        """Make an ISO; returns what the pillar says of it. arguments: of lab.iso.make_iso."""
        file = name.lower().replace(" ", "-")
        self.isos[name] = make_iso(self._folder, generation, file, stage_mib=2, **arguments)
        url = f"{self._web.url}/{file}.iso"
        return {"url": url, "checksum": {"sha256": self.isos[name].sha256}}

    def _given(self, path):
        copy = self._folder / path.name
        shutil.copyfile(path, copy)
        digest = hashlib.sha256(copy.read_bytes()).hexdigest()
        return {"url": f"{self._web.url}/{copy.name}", "checksum": {"sha256": digest}}

    def client(self, databases=BOTH, mok=None, arch="x86_64", uri=None, on=True, **arguments):
        """A machine. Its firmware trusts the shim that trusts no distribution."""
        variables = self.keys.variables([*databases, "vendor"], mok, arch, uri, on)
        firmware = "efi-secure" if arch == "x86_64" else f"efi-secure-{arch}"
        return self.lab.client(firmware, variables=variables, **arguments)

    def boots(self, client, image="ALT p11"):
        """A client gets the image's live system; returns its marker and what it was sent."""
        with client:
            marker = client.booted(timeout=180)
        assert marker["digest"] == self.isos[image].stages["live"][1]
        boot = self.trace(client.mac)
        assert (boot["state"], boot["cause"]) == ("running", "")
        return marker, [path for _method, path, status, _bytes in served(self) if status == 200]

    def found(self):
        """What the doctor finds of Secure Boot, by its keys."""
        found = self.salt.call(self.server, "netboot.doctor")
        print([one["text"] for one in found])  # for the report of a failure
        return [one["key"] for one in found if one["key"].startswith("secure.")]

    def loaders(self, client):
        """Names of boot loaders that a client was sent over TFTP in its last boot."""
        steps = self.trace(client.mac)["steps"]
        sent = (os.path.basename(one["what"]) for one in steps if one["step"] == "tftp")
        return [name for name in sent if name.endswith(".efi")]

    def trace(self, mac):
        return self.salt.call(self.server, "netboot.trace", mac)["boots"][-1]

    def cause(self, mac, timeout=60):
        """The cause of a client's last boot, once there is one."""
        deadline = time.monotonic() + timeout
        while True:
            boot = self.trace(mac)
            if (boot["cause"] and boot["state"] != "loading") or time.monotonic() > deadline:
                print(boot)  # for the report of a failure
                return boot["cause"]
            time.sleep(2)


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A netboot server beside the network's own DHCP server."""
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        yield Site(lab, tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A netboot server that is the network's DHCP server."""
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as lab:
        site = Site(lab, tmp_path_factory.mktemp("web"))
        prefix = lab.address.rpartition(".")[0]
        subnet = {"range": [f"{prefix}.100", f"{prefix}.150"], "router": lab.address}
        site.dhcp = {"mode": "server", "subnets": {lab.network: subnet}}
        yield site


# Databases of the firmware, MOK, how iPXE is signed, what the doctor finds, what the screen shows.
CASES = {
    "both": (BOTH, "lab", {}, "secure.mok", TITLE),
    "2011": (["2011"], "lab", {}, "secure.mok", TITLE),
    "2023": (["2023"], "lab", {}, "secure.mok", TITLE),
    "2023-http": (["2023"], "lab", {}, "secure.mok", TITLE),
    "no-mok": (BOTH, None, {}, "secure.mok", REFUSED),
    "other-key": (BOTH, "lab", {"name": "other"}, "secure.mok", REFUSED),
    "no-sbat": (BOTH, "lab", {"sbat": False}, "secure.no_sbat", REFUSED),
    "unsigned": (BOTH, "lab", {"name": None}, "secure.unsigned", REFUSED),
    "no-microsoft": ([], "lab", {}, "secure.mok", DENIED),
}
CAUSES = {REFUSED: "second-stage-refused", DENIED: "shim-refused"}
BY_DEFAULT = ("both", "no-sbat")


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name in BY_DEFAULT else LONG) for name in CASES]
)
def test_from_firmware_to_ipxe(beside, case):
    """A shim that Microsoft has signed, and an iPXE that the machine's owner has."""
    databases, mok, signature, finding, shows = CASES[case]
    beside.apply(debian("shim"), beside.keys.signed(ipxe(), **signature))
    assert beside.found() == [finding]
    # As a firmware that was told where to boot from, whatever DHCP says.
    uri = f"http://{beside.server.address}/tftp/{SHIM}" if case == "2023-http" else None
    with beside.client(databases, mok, uri=uri) as client:
        client.wait_for(shows, timeout=120)
        version = client.note({"variant": "menu" if shows == TITLE else "refused"})["ipxe"]
    assert version == (ipxe_version() if shows == TITLE else "")
    # It takes half a minute of silence to be sure.
    if shows != TITLE and case not in BY_DEFAULT:
        assert beside.cause(client.mac) == CAUSES[shows]


@pytest.mark.parametrize(
    "databases",
    [BOTH, pytest.param(["2011"], marks=LONG), pytest.param(["2023"], marks=LONG)],
    ids="-".join,
)
def test_kernel_through_the_shim_of_its_image(beside, databases):
    """No shim but the image's own trusts its kernel."""
    beside.apply()
    marker, fetched = beside.boots(beside.client(databases))
    assert marker["lockdown"] == "integrity"
    assert f"/tftp/netboot/x86_64/alt_p11/{IMAGES_SHIM}" in fetched


@LONG
def test_shim_in_the_el_torito_image(beside):
    beside.apply(default="ALT p10")
    marker, fetched = beside.boots(beside.client(), "ALT p10")
    assert marker["lockdown"] == "integrity"
    assert f"/tftp/netboot/x86_64/alt_p10/{IMAGES_SHIM}" in fetched


@LONG
@pytest.mark.parametrize("databases", [BOTH, ["2011"], ["2023"]], ids="-".join)
def test_kernel_that_the_first_shim_trusts(beside, databases):
    """All is Debian's, and Microsoft's signature is all that the firmware goes by."""
    beside.apply(debian("shim"))
    marker, _ = beside.boots(beside.client(databases, "lab"))
    assert marker["lockdown"] == "integrity"


@LONG
def test_uefi_over_http(beside, tmp_path):
    """The firmware and the shim fetch all by HTTP; the shim writes two slashes."""
    beside.apply()
    with beside.lab.capture(tmp_path / "packets"):
        client = beside.client(extra=HTTP_BOOT)
        marker, fetched = beside.boots(client)
    assert marker["lockdown"] == "integrity"
    assert {f"/tftp/{SHIM}", f"/tftp/{SECOND}"} <= set(fetched)
    assert f"GET /tftp//{SECOND} HTTP".encode() in (tmp_path / "packets").read_bytes()
    assert beside.loaders(client) == []


@LONG
def test_secure_boot_off(beside):
    """The same files start a machine where it is switched off, which asks for no image's shim."""
    beside.apply()
    marker, fetched = beside.boots(beside.client(on=False))
    assert marker["lockdown"] == "none"
    assert not [path for path in fetched if path.endswith(IMAGES_SHIM)]


@LONG
def test_server_that_gives_addresses(alone):
    alone.apply(dhcp=alone.dhcp)
    assert alone.found() == ["secure.authority"]
    client = alone.client()
    marker, _ = alone.boots(client)
    assert marker["lockdown"] == "integrity"
    assert alone.loaders(client) == [SHIM, SECOND]


@LONG
def test_image_whose_kernel_is_not_signed(beside):
    """The menu says so, starts it neither by itself nor when it is chosen, and trace knows why."""
    image = beside.image("ALT bare", signed="tree", unsigned=["kernel"])
    beside.apply(default="ALT bare", images={"ALT bare": image})
    with beside.client() as client:
        client.wait_for("ALT bare: livecd.*does not start with Secure Boot", timeout=120)
        time.sleep(1)  # the menu is drawn after its lines
        client.press("1")
        client.wait_for("Press a key for the menu", timeout=30)
        client.note({"variant": "refused"})
    assert beside.cause(client.mac) == "image-not-signed"
    # Without Secure Boot it is an image as any.
    marker, _ = beside.boots(beside.client(on=False), "ALT bare")
    assert marker["lockdown"] == "none"


@LONG
def test_first_shim_that_is_signed_with_the_key_of_2011_alone(beside, tmp_path):
    """A machine that trusts the key of 2023 alone refuses it, of which the doctor warns."""
    shim = tmp_path / "shim-2011.efi"
    shim.write_bytes(with_one_signature(debian("shim").read_bytes(), 0))
    beside.apply(shim)
    assert beside.found() == ["secure.authority", "secure.mok"]
    with beside.client(["2011"], "lab") as client:
        client.wait_for(TITLE, timeout=120)
    with beside.client(["2023"], "lab") as client:
        client.wait_for(DENIED, timeout=120)
        client.note({"variant": "refused"})
    assert beside.cause(client.mac) == "shim-refused"


@LONG
def test_host_that_is_kept_on_the_unsigned_loader(beside):
    """An old machine, in which signed iPXE hangs."""
    number = 50
    host = {"mac": network.client_mac(beside.lab.number, number), "secure_boot": False}
    beside.apply(hosts={"old": {**host, "image": "ALT p11", "variant": "livecd"}})
    client = beside.client(on=False, number=number)
    beside.boots(client)
    assert beside.loaders(client) == ["snponly-x86_64.efi"]


@LONG
def test_image_whose_shim_the_firmware_refuses(beside):
    """As an old shim on a machine that has Microsoft's certificate of 2023 alone."""
    beside.apply()
    with beside.client(databases=[]) as client:
        client.wait_for(TITLE, timeout=120)
        client.wait_for("Could not boot: Error", timeout=60)
        client.note({"variant": "refused"})
    assert beside.cause(client.mac) == "kernel-refused"


@LONG
def test_aarch64(beside):
    image = beside.image("ALT arm", arch="aarch64", signed="eltorito")
    beside.apply(arch="aarch64", default="ALT arm", images={"ALT arm": image})
    marker, fetched = beside.boots(beside.client(arch="aarch64"), "ALT arm")
    assert marker["lockdown"] == "integrity"
    assert "/tftp/netboot/aarch64/alt_arm/EFI/BOOT/BOOTAA64.EFI" in fetched
