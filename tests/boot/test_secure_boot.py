"""Machines with Secure Boot: Debian's shim, Debian's newest iPXE with a key of this test.

Key databases are made here, as they are in machines that are sold today: Microsoft's certificates
of 2011, of 2023, of both. What shims are told to trust besides (MOK) is the key of this test.
"""

import hashlib
import re
import shutil
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from lab.secure_boot import Keys, debian, ipxe, ipxe_version
from tests.servers import INSTALLED

SHIM = "ipxe-shimx64.efi"
TFTP = "/srv/export/tftp"
TITLE = "ALT Linux network boot"
BOTH = ["2011", "2023"]
REFUSED = r"Verification failed: \(0x1A\) Security Violation"
DENIED = r"failed to load Boot\d+ .*Access Denied"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A netboot server beside the network's own DHCP server, whose boot loaders are signed."""
    folder = tmp_path_factory.mktemp("web")
    keys = Keys(folder / "keys")
    iso = make_iso(folder, stage_mib=2, signed="tree")
    loaders = {"shim": folder / "shim.efi", "ipxe": keys.signed(ipxe())}
    shutil.copy(debian("shim"), loaders["shim"])
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT, folder])
        web = lab.web(folder)

        def given(path):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            url = f"{web.url}/{path.relative_to(folder)}"
            return {"url": url, "checksum": {"sha256": digest}}

        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {
            "interface": "eth0",
            "images": {"ALT p11": image},
            "default_image": {"x86_64": "ALT p11"},
            "menu": {"timeout_s": 2},
            "secure_boot": {"efi-x86_64": {what: given(path) for what, path in loaders.items()}},
        }
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        yield SimpleNamespace(lab=lab, server=server, salt=salt, iso=iso, keys=keys, pillar=pillar)


@pytest.fixture
def second_stage(site):
    """Puts another program where the shim finds it."""

    def put(program):
        site.server.run(["cp", str(program), f"{TFTP}/grubx64.efi"])

    yield put
    put(f"{TFTP}/ipxe.efi")


LONG = pytest.mark.long
CASES = [
    pytest.param(BOTH, "lab", {}, None, TITLE, id="both"),
    pytest.param(["2011"], "lab", {}, None, TITLE, marks=LONG, id="2011"),
    pytest.param(["2023"], "lab", {}, None, TITLE, marks=LONG, id="2023"),
    pytest.param(["2023"], "lab", {}, "http", TITLE, marks=LONG, id="2023-http"),
    pytest.param(BOTH, None, {}, None, REFUSED, marks=LONG, id="no-mok"),
    pytest.param(BOTH, "lab", {"sbat": False}, None, REFUSED, id="no-sbat"),
    pytest.param(BOTH, "lab", {"name": None}, None, REFUSED, marks=LONG, id="unsigned"),
    pytest.param([], "lab", {}, None, DENIED, marks=LONG, id="no-microsoft"),
]


@pytest.mark.parametrize(("databases", "mok", "signature", "way", "seen"), CASES)
def test_from_firmware_to_ipxe(site, second_stage, databases, mok, signature, way, seen):
    """The eight cases of the chain: what starts, and who refuses what."""
    second_stage(site.keys.signed(ipxe(), **signature))
    uri = f"http://{site.server.address}/tftp/{SHIM}" if way == "http" else None
    variables = site.keys.variables(databases, mok, uri=uri)
    with site.lab.client("efi-secure", variables=variables) as client:
        client.wait_for(seen, timeout=120)
        client.note({"variant": "menu" if seen == TITLE else "refused"})
        if seen == TITLE:
            client.wait_for(f"iPXE {re.escape(ipxe_version())} ", timeout=1)
        else:
            assert not re.search("iPXE", client.serial_log.read_text(errors="replace"))


@pytest.mark.parametrize("databases", [BOTH, ["2011"], ["2023"]], ids="-".join)
def test_from_power_on_to_the_stage(site, databases):
    """Through shim and iPXE into a kernel that knows that Secure Boot is on."""
    variables = site.keys.variables(databases)
    with site.lab.client("efi-secure", variables=variables) as client:
        marker = client.booted(timeout=180)
    assert marker["lockdown"] == "integrity"
    assert marker["digest"] == site.iso.stages["live"][1]
    boot = site.salt.call(site.server, "netboot.trace", client.mac)["boots"][-1]
    print(boot)
    assert (boot["state"], boot["cause"]) == ("running", "")
