"""The stand-in for ALT's installer and files: where it gets them, what it runs and writes."""

import http.server
import threading
from pathlib import Path

import pytest

from lab.host import require
from lab.iso.install2 import console, metadata, scripts, system
from lab.iso.install2.features import features_of
from lab.iso.install2.grammar import check
from lab.iso.install2.scheme import Refused
from tests import answers

P11 = features_of("p11", "2025-06-02")
P9 = features_of("p9", "2020-07-20")


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "LOG", tmp_path / "install2.log")
    monkeypatch.setattr(console, "consoles", list)
    return tmp_path / "install2.log"


@pytest.fixture
def server():
    """A web server: the answer to /STATUS/anything has that status."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(int(self.path.split("/")[1]))
            self.send_header("Content-Length", "4")
            self.send_header("Location", "/200/a")
            self.end_headers()
            self.wfile.write(b"curl")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        made.asked = asked
        made.url = f"http://127.0.0.1:{made.server_port}"
        yield made
        made.shutdown()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("status", "places", "expected"),
    [
        (200, ["medium", "own"], "curl"),
        # in silence
        (404, ["medium", "own"], "medium"),
        (500, ["medium"], "medium"),
        (301, ["medium"], "medium"),
        (404, ["own"], "own"),
        (404, [], None),
    ],
)
def test_where_files_come_from(server, tmp_path, monkeypatch, slash, status, places, expected):
    require("curl")
    for place in places:
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.scm").write_text(place)
    monkeypatch.setenv("CURL", f"{server.url}/{status}{slash}")
    monkeypatch.setenv("MEDIUM", str(tmp_path / "medium"))
    monkeypatch.setattr(metadata, "OWN", tmp_path / "own")
    target = tmp_path / "target"
    source = metadata.fetch("a.scm", target)
    assert server.asked == [f"/{status}/a.scm"]
    assert (source is None) == (expected is None)
    assert (target.read_text() if target.exists() else None) == expected


def test_order_of_scripts(tmp_path, monkeypatch, log):
    """One that is added meanwhile runs, unless its turn is over; a failed one stops nothing."""
    monkeypatch.setattr(scripts, "HOOKS", tmp_path)
    folder = tmp_path / "initinstall.d"
    folder.mkdir()
    for name, text in {
        "10-a": "echo a",
        "20-b": f"cp {folder}/10-a {folder}/15-late; cp {folder}/10-a {folder}/25-c; false",
        "30-d": "echo destdir=$destdir",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("destdir", "/elsewhere")
    scripts.run_folder("initinstall.d", after="09")
    lines = [line for line in log.read_text().splitlines() if not line.startswith("+ ")]
    assert lines == [
        "install2: initinstall.d/10-a",
        "a",
        "install2: initinstall.d/20-b",
        "install2: initinstall.d/20-b FAILED",
        "install2: initinstall.d/25-c",
        "a",
        "install2: initinstall.d/30-d",
        "destdir=",
    ]


def test_scripts_replace(tmp_path, monkeypatch, log):
    monkeypatch.setattr(scripts, "HOOKS", tmp_path / "hooks")
    archive = tmp_path / "install-scripts.tar"
    for number in (1, 2):
        archive.write_bytes(answers.scripts_tar({"postinstall.d/65-x": f"echo {number}"}))
        scripts.unpack(archive, P11)
        assert (tmp_path / "hooks/postinstall.d/65-x").read_text() == f"echo {number}"
    assert log.read_text().endswith("postinstall.d/65-x replaces ours\n")
    archive.write_text("no archive")
    with pytest.raises(Refused, match="cannot be unpacked"):
        scripts.unpack(archive, P11)


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False), (302, False)])
def test_script_for_the_first_boot(server, tmp_path, monkeypatch, log, status, there):
    """It is fetched now, five times at most, and nothing fails without it."""
    require("curl")
    monkeypatch.setattr(scripts, "DESTINATION", tmp_path)
    monkeypatch.setattr(scripts.time, "sleep", lambda _: None)
    (tmp_path / "etc").mkdir()
    scripts.first_time({"script": f"{server.url}/{status}/x.sh"})
    script = tmp_path / "etc/firsttime.d/99-z-auto_postinstall_script.sh"
    assert script.exists() == there
    assert len(server.asked) == (1 if there else 5)
    assert there or "FAILED" in log.read_text()


def test_command_for_the_first_boot(tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "DESTINATION", tmp_path)
    (tmp_path / "etc").mkdir()
    scripts.first_time({"run": "echo $HOME"})
    script = tmp_path / "etc/firsttime.d/99-zz-auto_postinstall_run.sh"
    assert script.read_text() == "#!/bin/sh\necho $HOME\n"
    assert script.stat().st_mode & 0o111


def networks(text, features):
    """Calls of /net-eth in a whole p9 or p11."""
    new = features.crypted
    whole = answers.DISK.format(profile="a") + answers.PACKAGES.format(
        step="pkg-install-init" if new else "pkg-init", lists=""
    )
    whole += answers.GRUB_EFI + text
    return [call for call in check(whole, features) if call.name == "/net-eth"]


@pytest.mark.parametrize(
    ("features", "controlled", "others"),
    [(P11, "etcnet", False), (P11, "NetworkManager", True), (P9, "etcnet", False)],
)
def test_networks(tmp_path, monkeypatch, features, controlled, others):
    monkeypatch.setattr(system, "DESTINATION", tmp_path)
    folder = tmp_path / "etc/systemd/network"
    folder.mkdir(parents=True)
    card = answers.CARD.format(
        name="ens1", how="static", gateway="192.0.2.1", dns="192.0.2.2 192.0.2.3",
        host="pc1", controlled=controlled,
    )  # fmt: skip
    text = answers.RESET + card + answers.ADDRESS.format(name="ens1", address="192.0.2.9")
    system.set_network(networks(text + answers.COMMIT, features), features)
    assert (folder / "50-ens1.network").read_text().split() == [
        "[Match]",
        "Name=ens1",
        "[Network]",
        "Address=192.0.2.9/24",
        "Gateway=192.0.2.1",
        "DNS=192.0.2.2",
        "DNS=192.0.2.3",
    ]
    assert Path(tmp_path, "etc/hostname").read_text() == "pc1\n"
    assert (folder / "90-others.network").exists() == others


@pytest.mark.parametrize(
    ("device", "efi", "said"),
    [
        ("efi", False, "device is efi, but this machine starts by BIOS"),
        ("/dev/vda", True, "device is /dev/vda, but this machine starts by UEFI"),
        ("/dev/sda", False, "no whole disk /dev/sda, only vda, vdb"),
        ("/dev/vda1", False, "no whole disk /dev/vda1"),
    ],
)
def test_boot_loader_that_would_not_start(device, efi, said):
    with pytest.raises(Refused, match=said):
        system.check_loader(device, efi, ["vda", "vdb"])
    system.check_loader("efi" if efi else "/dev/vdb", efi, ["vda", "vdb"])
