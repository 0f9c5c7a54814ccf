"""Each cause that netboot.trace can name, made for real: the right one is named."""

import contextlib
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import Lab, LabError, network
from lab.ipxe import chained
from lab.iso import make_iso
from lab.pxe import ask
from lab.salt import CHECKOUT, SaltCall
from tests.boot.test_memory import structure
from tests.servers import INSTALLED

pytestmark = pytest.mark.long

TITLE = "ALT Linux network boot"
# Or it is loaded, and there is no memory for it.
FAILED = "could not be loaded|did not start"
TFTP = "/srv/export/tftp"
TREE = f"{TFTP}/netboot/x86_64/alt_p11"
LOADER, SCRIPT = f"{TFTP}/snponly-x86_64.efi", f"{TFTP}/config-x86_64.ipxe"
DROP_TFTP = "nft add rule inet lab in udp dport 69 drop"
# nginx sends at this rate: the kernel takes half a minute, the stage a quarter.
SLOW = "tc qdisc add dev eth0 root tbf rate 4mbit burst 32k latency 400ms"
FAST = "tc qdisc del dev eth0 root"


class Site:
    """A netboot server whose clients fail."""

    def __init__(self, lab, base):
        self.lab, self._iso = lab, make_iso(base)
        self.server = lab.server("netboot1", installed=[*INSTALLED, "nftables"], binds=[CHECKOUT])
        web = lab.web(base)
        image = {"checksum": {"sha256": self._iso.sha256}}
        self.pillar = {
            "images": {"ALT p11": {"url": f"{web.url}/{self._iso.path.name}", **image}},
            "default_image": {"x86_64": "ALT p11"},
            "menu": {"timeout_s": 2},
        }
        self.salt = SaltCall(self.server, {"netboot": self.pillar})
        self.apply()

    def apply(self, **more):
        self.salt.write_pillar({"netboot": {**self.pillar, **more}})
        done = self.salt.apply(self.server)
        return [one["comment"] for one in done.failed.values()]

    def sh(self, command):
        self.server.run(["sh", "-ec", command])

    @contextlib.contextmanager
    def broken(self, begin, end):
        table = "nft flush ruleset; nft add table inet lab; " + "; ".join(
            f"nft add chain inet lab {hook} '{{ type filter hook {hook}put priority 0; }}'"
            for hook in ("in", "out")
        )
        self.sh(f"{table}; {begin}")
        try:
            yield
        finally:
            self.sh(f"{end}; nft flush ruleset; systemctl start nginx")

    def until(self, mac, step, timeout=60):
        """Wait for a step of a client's last boot."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            boots = self.trace(mac)["boots"]
            if boots and step in [one["step"] for one in boots[-1]["steps"]]:
                return
            time.sleep(0.5)
        raise LabError(f"No step {step} of {mac}: {boots}")

    def trace(self, mac):
        return self.salt.call(self.server, "netboot.trace", mac)

    def cause(self, mac, timeout=60):
        """The cause of a client's last boot, once there is one."""
        deadline = time.monotonic() + timeout
        while True:
            boots = self.trace(mac)["boots"]
            known = boots and boots[-1]["cause"] and boots[-1]["state"] != "loading"
            if known or time.monotonic() > deadline:
                print(boots[-1:])  # for the report of a failure
                return boots[-1]["cause"] if boots else "nothing seen"
            time.sleep(3)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        yield Site(lab, tmp_path_factory.mktemp("iso"))


def boot(site, firmware="bios", wait=None, timeout=60, **machine):
    """Switch a client on until it shows something, or that long; returns its MAC address."""
    with site.lab.client(firmware, **machine) as client:
        if wait:
            client.wait_for(wait, timeout)
        else:
            time.sleep(timeout)
    return client.mac


# Of its firmware: cause, firmware, what breaks it, what mends it, what its screen shows.
FIRMWARE = [
    ("offer-not-taken", "efi-x86_64", "nft add rule inet lab in udp dport 4011 drop", ":", "E16"),
    ("file-not-asked", "efi-x86_64", DROP_TFTP, ":", "E18"),
    (
        *("tftp-cut-off", "efi-x86_64"),
        # As a tunnel with a small MTU does.
        "nft add rule inet lab out udp sport 1024-65535 meta length '>' 600 drop",
        *(":", "E18"),
    ),
    (
        *("loader-missing", "efi-x86_64", f"mv {LOADER} {LOADER}.x", f"mv {LOADER}.x {LOADER}"),
        "E23",
    ),
    ("secure-boot", "efi-secure", ":", ":", "Access Denied"),
    ("web-server-down", "bios", "systemctl stop nginx", ":", FAILED),
    ("web-server-not-reached", "bios", "nft add rule inet lab in tcp dport 80 drop", ":", None),
    (
        "script-missing",
        "bios",
        f"mv {SCRIPT} {SCRIPT}.x",
        f"mv {SCRIPT}.x {SCRIPT}",
        "No such file",
    ),
]


@pytest.mark.parametrize(
    ("cause", "firmware", "begin", "end", "wait"), FIRMWARE, ids=[one[0] for one in FIRMWARE]
)
def test_before_the_menu(site, cause, firmware, begin, end, wait):
    with site.broken(begin, end):
        mac = boot(site, firmware, wait, timeout=120 if wait else 20)
    assert site.cause(mac) == cause


def test_unknown_firmware(site):
    mac = "52:54:00:00:00:31"
    assert ask(site.lab, 10, mac=mac) == []
    assert site.cause(mac) == "unknown-firmware"


def test_loader_that_does_not_start(site):
    """On a BIOS: a program that halts the processor."""
    loader = f"{TFTP}/undionly.kpxe"
    damage = f"mv {loader} {loader}.x; printf '\\372\\364\\353\\375' > {loader}"
    with (
        site.broken(damage, f"mv {loader}.x {loader}"),
        chained(site.lab, site.server.address) as client,
    ):
        time.sleep(20)
    assert site.cause(client.mac) == "loader-not-started"


@pytest.mark.parametrize(
    ("there", "instead", "cause"),
    [
        # A command that scripts need; a feature that it tells DHCP servers, 39: menus.
        (b"\0menu\0", b"\0mewu\0", "script-without-menu"),
        (b"\x27\x01\x01", b"\x7f\x01\x01", "ipxe-lacks-feature"),
    ],
)
def test_ipxe_that_lacks(site, there, instead, cause):
    with site.broken(f"cp -a {LOADER} {LOADER}.x", f"mv {LOADER}.x {LOADER}"):
        loader = Path(f"{site.server.files}{LOADER}")
        whole = loader.read_bytes()
        assert whole.count(there) == 1
        loader.write_bytes(whole.replace(there, instead))
        with site.lab.client("efi-x86_64") as client:
            site.until(client.mac, "script" if cause == "script-without-menu" else "ipxe")
            assert site.cause(client.mac) == cause


def test_switched_off_between_script_and_menu(site):
    with site.broken(SLOW.replace("4mbit burst 32k", "16kbit burst 1600"), FAST):
        with site.lab.client("bios") as client:
            site.until(client.mac, "script")
    assert site.cause(client.mac) == "script-without-menu"


def test_switched_off_in_the_menu(site):
    mac = boot(site, wait=TITLE)
    site.until(mac, "menu")
    assert site.cause(mac, timeout=120) == "left-in-menu"


def test_processor_of_32_bits(site):
    mac = boot(site, wait="No image is ready", extra=["-cpu", "pentium3"])
    assert site.cause(mac) == "no-image-for-arch"


KERNEL = f"{TREE}/boot/vmlinuz"
LOADED = [
    ("not-found", f"mv {KERNEL} {KERNEL}.x", f"mv {KERNEL}.x {KERNEL}", 2048),
    ("forbidden", f"chmod 0 {KERNEL}", f"chmod 644 {KERNEL}", 2048),
    (
        "not-bootable",
        f"mv {KERNEL} {KERNEL}.x; yes | head -c 3000000 > {KERNEL}",
        f"mv {KERNEL}.x {KERNEL}",
        2048,
    ),
    ("not-loaded", ":", ":", 20),
]


@pytest.mark.parametrize(
    ("cause", "begin", "end", "memory"), LOADED, ids=[one[0] for one in LOADED]
)
def test_kernel_that_is_not_loaded(site, cause, begin, end, memory):
    with site.broken(begin, end):
        mac = boot(site, wait=FAILED, memory_mib=memory)
    site.apply()
    assert site.cause(mac) == cause


def test_switched_off_while_the_kernel_comes(site):
    with site.broken(SLOW, FAST), site.lab.client("bios") as client:
        site.until(client.mac, "chosen")
    # nginx waits a minute for it. What was sent until then is cut off, or nothing was.
    assert site.cause(client.mac, timeout=180) in ("stopped-loading", "cut-off")


def test_stage_cut_off_at_a_byte(site):
    with site.broken(":", FAST), site.lab.client("bios") as client:
        client.wait_for("stage1: ", timeout=60)
        site.sh(SLOW)
        time.sleep(5)
    assert site.cause(client.mac, timeout=180) == "cut-off"


def test_slow_line(site):
    with site.broken(SLOW, FAST):
        mac = boot(site, wait="MARKER", timeout=120)
    assert site.cause(mac) == "slow"


def test_machine_that_begins_again_and_again(site):
    number = 70
    for _ in range(3):
        mac = boot(site, wait="MARKER", number=number)
    assert site.cause(mac) == "loop"


def test_little_memory(site, tmp_path):
    """Too little for the stage, as the first stage finds; for the kernel, which says nothing."""
    (tmp_path / "smbios").write_bytes(structure(0, 0xFFFF))
    unknown = ["-smbios", f"file={tmp_path / 'smbios'}"]
    installers = []
    for words in ([], unknown):
        with site.lab.client("bios", memory_mib=112, extra=words) as client:
            client.wait_for(TITLE, timeout=60)
            client.press("2")  # the installer, from the whole ISO
            client.wait_for("REFUSED .* more than half of the available memory", timeout=60)
        installers.append(client.mac)
    kernel = boot(site, timeout=20, memory_mib=48, extra=unknown)
    known, not_known = installers
    assert site.cause(known, timeout=180) == "too-little-memory"
    assert site.cause(not_known, timeout=180) == "stage-not-fetched"
    assert site.cause(kernel, timeout=180) == "stage-not-asked"


def test_file_that_was_changed(site):
    with site.broken(f"printf x | dd of={TREE}/live bs=1 seek=5000 conv=notrunc", ":"):
        mac = boot(site, wait="MARKER")
        assert site.cause(mac) == "wrong-digest"
    site.apply()


def test_other_server(site):
    other = site.lab.server("other", installed=INSTALLED)
    network_ = f"{other.address.rpartition('.')[0]}.0"
    other.run(
        [
            *("systemd-run", "--unit=other", "dnsmasq", "-k", "--port=0", "--interface=eth0"),
            *(f"--dhcp-range={network_},proxy,255.255.255.0", "--dhcp-boot=other.0"),
            "--pxe-service=x86PC,other,other",
        ]
    )
    # Ours comes too late for the client.
    with site.broken("nft add rule inet lab out udp sport 67 drop", ":"):
        mac = boot(site, timeout=25)
    assert site.cause(mac) == "other-server"
    assert f"{other.address} (" in site.trace(mac)["boots"][-1]["text"]
    other.kill()


# -- hosts of the pillar ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosts(site):
    """Hosts by number, a password, kernels over TFTP, an image that cannot be fetched."""
    names = ["unready", "armed", "unarmed", "local"]
    macs = {name: network.client_mac(site.lab.number, 80 + at) for at, name in enumerate(names)}
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "secret"], check=True, capture_output=True, text=True
    ).stdout.strip()
    missing = {"url": f"http://{site.server.address}/none.iso", "checksum": {"sha256": "0" * 64}}
    install = {"variant": "install"}
    failed = site.apply(
        images={**site.pillar["images"], "Missing": missing},
        kernel_over={"x86_64": "tftp"},
        menu={"timeout_s": 2, "password": {"users": {"admin": hashed}}},
        hosts={
            "unready": {"mac": macs["unready"], "image": "Missing", **install},
            "armed": {"mac": macs["armed"], "image": "Missing", **install, "once": True},
            "unarmed": {"mac": macs["unarmed"], "image": "ALT p11", **install, "once": True},
            "local": {"mac": macs["local"], "entry": "local"},
        },
    )
    assert any("none.iso cannot be fetched" in one for one in failed)
    site.salt.call(site.server, "netboot.arm", "host=armed")
    site.salt.call(site.server, "netboot.arm", "host=unarmed", "disarm=True")
    return SimpleNamespace(macs=macs, numbers={name: 80 + at for at, name in enumerate(names)})


@pytest.mark.parametrize(
    ("host", "cause", "wait"),
    [
        ("unready", "entry-not-ready", "Not ready yet"),
        ("armed", "armed-not-ready", "Not ready yet"),
        ("unarmed", "not-armed", "SAN device"),
    ],
)
def test_host(site, hosts, host, cause, wait):
    mac = boot(site, wait=wait, number=hosts.numbers[host])
    assert site.cause(mac) == cause


def test_nothing_on_its_disk(site, hosts):
    for _ in range(3):
        mac = boot(site, wait="SAN device", number=hosts.numbers["local"])
    assert site.cause(mac) == "local-disk"


def test_stranger(site, hosts):
    mac = boot(site, wait=TITLE)
    site.until(mac, "menu")
    assert site.cause(mac) == "not-in-pillar"


def test_wrong_password(site, hosts):
    with site.lab.client("bios") as client:
        client.wait_for(TITLE, timeout=60)
        time.sleep(1)
        client.press("2")
        time.sleep(1)
        client.press(*"admin", "ret", *"wrong", "ret")
        client.wait_for("Wrong user name or password", timeout=30)
    assert site.cause(client.mac) == "wrong-password"


def test_kernel_out_of_reach(site, hosts):
    """UDP is blocked while the menu is shown; the web server hears of the failure."""
    with site.broken(":", ":"), site.lab.client("bios") as client:
        client.wait_for(TITLE, timeout=60)
        site.sh(DROP_TFTP)
        client.wait_for(FAILED, timeout=240)
    assert site.cause(client.mac) == "unreachable"


def test_lease_shorter_than_the_download(tmp_path_factory):
    """As the network's DHCP server; the machine loses its address, as when it is switched off."""
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as lab:
        site = Site(lab, tmp_path_factory.mktemp("iso"))
        prefix = lab.address.rpartition(".")[0]
        subnet = {"range": [f"{prefix}.100", f"{prefix}.199"], "lease_s": 120}
        dhcp = {"mode": "server", "subnets": {f"{prefix}.0/24": subnet}}
        assert site.apply(dhcp=dhcp) == []
        with site.broken(":", FAST), lab.client("bios") as client:
            client.wait_for("stage1: ", timeout=60)
            site.sh(SLOW.replace("4mbit", "256kbit"))
            time.sleep(125)
        assert site.cause(client.mac, timeout=240) == "lease-too-short"
