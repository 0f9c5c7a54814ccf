"""Real firmware boots an ALT-layout ISO from a machine that the states made a netboot server."""

import pytest

TITLE = "ALT Linux network boot"
TREE = "/tftp/netboot/x86_64/alt_p11"


@pytest.fixture(scope="module")
def applied(lan):
    done = lan.salt.apply(lan.server)
    assert done.failed == {}
    return lan


def served(lan):
    """What the web server answered since the last call: method, path, status, bytes."""
    log = lan.server.run(["cat", "/var/log/nginx/access.log"]).stdout.splitlines()
    lan.server.run(["truncate", "--size=0", "/var/log/nginx/access.log"])
    answers = []
    for line in log:
        request, status_and_bytes = line.split('"')[1:3]
        method, path, _protocol = request.split()
        status, count = status_and_bytes.split()
        answers.append((method, path, int(status), int(count)))
    return answers


@pytest.mark.parametrize("firmware", ["efi-x86_64", "bios"])
def test_default_entry_boots_by_itself(applied, firmware):
    """The menu's time runs out; the live system's stage comes over http, out of the tree."""
    served(applied)
    size, digest = applied.iso.stages["live"]
    with applied.lab.client(firmware) as client:
        marker = client.booted(timeout=180)
    assert marker["digest"] == digest
    assert marker["variant"] == "livecd"
    assert marker["form"] == "tree"
    assert ("GET", f"{TREE}/live", 200, size) in served(applied)


def test_chosen_entry_boots(applied, tmp_path):
    """Somebody presses keys: the installer, from the whole ISO, whose hash the client checks."""
    served(applied)
    with applied.lab.client("efi-x86_64") as client:
        client.wait_for(TITLE, timeout=120)
        client.press("down", "ret")
        marker = client.booted(timeout=180)
        picture = client.screenshot(tmp_path / "screen.png")
    assert marker["digest"] == applied.iso.stages["live"][1]
    assert marker["variant"] == "install"
    assert marker["form"] == "iso"
    assert picture.read_bytes().startswith(b"\x89PNG")
    iso = ("GET", f"/dist/{applied.iso.path.name}", 200, applied.iso.size)
    assert iso in served(applied)


def test_nobody_assigned_anything(applied):
    """Without a default image the menu ends at the local disk, and nothing is installed."""
    pillar = {key: value for key, value in applied.pillar.items() if key != "default_image"}
    applied.salt.write_pillar({"netboot": pillar})
    assert applied.salt.apply(applied.server).failed == {}
    served(applied)
    with applied.lab.client("efi-x86_64") as client:
        client.wait_for(TITLE, timeout=120)
        # OVMF says so when it goes on to its next boot entry, where a disk would be.
        client.wait_for(r"failed to start Boot\d+ .UEFI PXEv4", timeout=60)
    assert [path for _, path, _, _ in served(applied) if path.startswith(TREE)] == []
