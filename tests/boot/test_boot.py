"""Real firmware boots an ALT-layout ISO from a machine that the states made a netboot server."""

import hashlib
import json
import shutil
import subprocess
import time

import pytest

from lab import network
from lab.disk import MARKER, bios_disk, efi_disk
from lab.ipxe import HASHES, boot_loaders

TITLE = "ALT Linux network boot"
PAGE = "/var/lib/netboot-status/www"
TREE = "/tftp/netboot/x86_64/alt_p11"


@pytest.fixture(scope="module")
def applied(lan):
    done = lan.salt.apply(lan.server)
    assert done.failed == {}
    return lan


def served(lan):
    """What the web server answered since the last call: method, path, status, bytes."""
    # What the timer has kept, and what it has not read yet.
    files = ["/var/lib/netboot-clients/*.jsonl", "/var/log/nginx/netboot-clients.jsonl"]
    moving = f"{files[1]}.read"
    waited = f"while [ -e {moving} ]; do sleep 0.2; done; cat {' '.join(files)} || true"
    log = lan.server.run(["sh", "-c", waited], timeout=30).stdout.splitlines()
    lan.server.run(["sh", "-c", f"rm -f {files[0]}; truncate --size=0 {files[1]}"])
    lines = sorted(map(json.loads, log), key=lambda line: line["t"])
    return [(line["m"], line["u"], line["s"], line["n"]) for line in lines if line["u"] != "/seen"]


@pytest.mark.parametrize("firmware", ["efi-x86_64", pytest.param("bios", marks=pytest.mark.long)])
def test_default_entry_boots_by_itself(applied, firmware):
    """The menu's time runs out; the live system's stage comes over http, out of the tree."""
    served(applied)
    size, digest = applied.iso.stages["live"]
    with applied.lab.client(firmware) as client:
        marker = client.booted(timeout=180)
    assert marker["digest"] == digest
    assert marker["variant"] == "livecd"
    assert marker["form"] == "tree"
    (seen,) = (
        one
        for one in applied.salt.call(applied.server, "netboot.clients", "since=5m")
        if one["mac"] == client.mac
    )
    assert (seen["state"], seen["entry"], seen["cause"]) == ("running", "alt_p11-livecd", "")
    boot = applied.salt.call(applied.server, "netboot.trace", client.mac)["boots"][-1]
    assert boot["facts"]["memory"] == "2048"
    kinds = [one["step"] for one in boot["steps"] if one["step"] != "fetch"]
    assert kinds[0] in ("dhcp", "ipxe")
    assert kinds[-6:] == ["script", "menu", "chosen", "kernel", "initrd", "boot"]
    for service in ("netboot-clients", "netboot-status"):
        applied.server.run(["systemctl", "start", service])
    page = json.loads(applied.server.run(["cat", f"{PAGE}/status.json"]).stdout)
    (shown,) = (one for one in page["clients"]["list"] if one["mac"] == client.mac)
    assert {key: shown[key] for key in seen if key != "last"} == {
        key: seen[key] for key in seen if key != "last"
    }
    assert ("GET", f"{TREE}/live", 200, size) in served(applied)


@pytest.mark.long
def test_chosen_entry_boots(applied, tmp_path):
    """Somebody presses keys: the installer in another language, from the whole ISO."""
    served(applied)
    with applied.lab.client("efi-x86_64") as client:
        client.wait_for(TITLE, timeout=120)
        client.press("t", "2")
        marker = client.booted(timeout=180)
        picture = client.screenshot(tmp_path / "screen.png")
        client.wait_for(r"command line: .* lang=ru_RU ", timeout=10)
    assert marker["digest"] == applied.iso.stages["live"][1]
    assert marker["variant"] == "install"
    assert marker["form"] == "iso"
    assert picture.read_bytes().startswith(b"\x89PNG")
    iso = ("GET", f"/dist/{applied.iso.path.name}", 200, applied.iso.size)
    assert iso in served(applied)


@pytest.fixture(scope="module")
def unassigned(applied):
    """No default image, an iPXE that compares digests, the installer asks for a password."""
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "secret"], check=True, capture_output=True, text=True
    ).stdout.strip()
    loader = applied.iso.path.parent / "snponly.efi"
    shutil.copy(boot_loaders(HASHES) / loader.name, loader)
    digest = hashlib.sha256(loader.read_bytes()).hexdigest()
    firmware = {"url": f"{applied.web.url}/{loader.name}", "checksum": {"sha256": digest}}
    pillar = {
        **{key: value for key, value in applied.pillar.items() if key != "default_image"},
        "firmware": {"efi-x86_64": firmware},
        "menu": {
            "timeout_s": 3,
            "password": {"users": {"admin": hashed}},
            # That the screen has no such letters must not stop the script.
            "unicode": True,
            "labels": {"local": "Мой диск"},
        },
    }
    applied.salt.write_pillar({"netboot": pillar})
    assert applied.salt.apply(applied.server).failed == {}
    return applied


@pytest.mark.parametrize(
    ("firmware", "disk"),
    [
        ("efi-x86_64", efi_disk),
        # By default test_host_that_boots_once shows it.
        pytest.param("bios", bios_disk, marks=pytest.mark.long),
    ],
)
def test_local_disk(unassigned, firmware, disk, tmp_path):
    """Nobody assigned anything: when the menu's time is up, the machine's own disk starts."""
    served(unassigned)
    # UEFI tries all that its network card can do before it goes on to the disk.
    words = [*disk(tmp_path), "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no"]
    with unassigned.lab.client(firmware, extra=words) as client:
        client.wait_for(TITLE, timeout=120)
        client.wait_for(MARKER, timeout=240)
    assert [path for _, path, _, _ in served(unassigned) if path.startswith(TREE)] == []


@pytest.mark.long
def test_password(unassigned):
    """A wrong password leads back to the menu, the right one to the installer."""
    with unassigned.lab.client("efi-x86_64") as client:
        client.wait_for(TITLE, timeout=120)
        # The second time the name stands there already.
        for name, word in (("admin", "wrong"), ("", "secret")):
            time.sleep(1)  # the menu is drawn after its title
            client.press("2")
            time.sleep(1)
            client.press(*name, "ret", *word, "ret")
            if word == "wrong":
                client.wait_for("Wrong user name or password", timeout=30)
                client.press("spc")
        assert client.booted(timeout=180)["variant"] == "install"


@pytest.mark.long
def test_kernel_that_is_not_the_one_on_record(unassigned):
    """One byte is another: refused, with the reason, and the menu is read again."""
    kernel = f"/srv/export{TREE}/boot/vmlinuz"
    flip = f"printf '\\377' | dd of={kernel} bs=1 seek=5000 conv=notrunc"
    unassigned.server.run(["sh", "-c", f"cp {kernel} /root/kernel && {flip}"])
    try:
        with unassigned.lab.client("efi-x86_64") as client:
            client.wait_for(TITLE, timeout=120)
            time.sleep(1)  # the menu is drawn after its title
            client.press("1")
            client.wait_for(
                "vmlinuz: this is not the file that the server has on record", timeout=60
            )
            client.wait_for(f"on record(?s:.*){TITLE}", timeout=30)
        boot = unassigned.salt.call(unassigned.server, "netboot.trace", client.mac)["boots"][0]
    finally:
        unassigned.server.run(["cp", "/root/kernel", kernel])
    assert (boot["facts"]["errno"], boot["cause"]) == ("sum", "wrong-digest")
    assert ("failed", "kernel") in [(one["step"], one["what"]) for one in boot["steps"]]


def test_host_that_boots_once(applied, tmp_path):
    """The installer starts by itself, once; then the machine's own disk, and again when armed."""
    number = 70
    mac = network.client_mac(applied.lab.number, number)
    host = {"mac": mac.upper(), "image": "ALT p11", "variant": "install", "once": True}
    applied.salt.write_pillar({"netboot": {**applied.pillar, "hosts": {"pc1": host}}})
    assert applied.salt.apply(applied.server).failed == {}
    applied.salt.call(applied.server, "netboot.arm", "host=pc1")
    disk = bios_disk(tmp_path)
    served(applied)

    def boot():
        return applied.lab.client("bios", number=number, extra=disk)

    with boot() as client:
        # The power fails while the installer is on its way.
        client.wait_for("stage1: ", timeout=120)
    with boot() as client:
        marker = client.booted(timeout=180)
        assert marker["variant"] == "install"
    with boot() as client:
        client.wait_for(MARKER, timeout=120)
    applied.salt.call(applied.server, "netboot.arm", "host=pc1")
    with boot() as client:
        assert client.booted(timeout=180)["variant"] == "install"
