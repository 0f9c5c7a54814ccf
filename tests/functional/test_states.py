"""The states through Salt's own loader: test=True, apply, apply again; and what goes wrong."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

import iso_tree
import netboot_files
import netboot_images
import netboot_secure_boot
from netboot_names import ARCHES
from tests.conftest import CHECKOUT
from tests.functional.test_killed import killed
from tests.unit.test_netboot_entries import P11

ISO = os.urandom(100000)
SHA256 = hashlib.sha256(ISO).hexdigest()


@pytest.fixture
def root(tmp_path):
    for folder in ("dist", "tftp/netboot", ".staging"):
        (tmp_path / "export" / folder).mkdir(parents=True, mode=0o755)
    (tmp_path / "export" / ".staging").chmod(0o700)
    return tmp_path / "export"


@pytest.fixture
def fetched(states, root, web, configured):
    (web.folder / "a.iso").write_bytes(ISO)

    def _fetched(digest=SHA256, kind="sha256", test=False, sources=None, **image):
        image = {
            "name": "A",
            "label": "a",
            "file": "a.iso",
            "sources": sources or [f"{web.url}/a.iso"],
            "checksum": {kind: digest} if digest else {},
            "sums": False,
            "refresh": False,
            "verify": "changed",
            "keep_iso": True,
            **image,
        }
        configured({"fetch": {"attempts": 1}}, images=[image])
        return states.alt_iso.fetched("a", test=test)

    return _fetched


def test_fetched(fetched, root, web):
    foretold = fetched(test=True)
    assert foretold.result is None
    assert f"would be fetched from {web.url}/a.iso (0.00 GB)" in foretold.comment
    assert foretold.changes
    assert web.requests.pop() == "HEAD /a.iso"

    done = fetched()
    assert done.result is True
    assert SHA256 in str(done.changes)
    assert (root / "dist/a.iso").read_bytes() == ISO

    for again in (fetched(), fetched(test=True)):
        assert again.result is True
        assert again.changes == {}
    assert web.requests == ["GET /a.iso"]


def test_file_that_was_there_is_verified_and_not_fetched(fetched, root, web):
    (root / "dist/a.iso").write_bytes(ISO)
    assert fetched(test=True).result is None
    assert fetched().result is True
    assert fetched().changes == {}
    assert web.requests == []


def test_file_that_changed_is_fetched_again(fetched, root, web):
    fetched()
    (root / "dist/a.iso").write_bytes(b"rotten")
    assert fetched().result is True
    assert (root / "dist/a.iso").read_bytes() == ISO
    assert len(web.requests) == 2


def test_file_that_was_only_touched_is_no_change(fetched, root, web, records):
    fetched()
    path = str(root / "dist/a.iso")
    os.utime(path, (1, 1))
    done = fetched()
    assert done.result is True
    assert done.changes == {}
    assert records.iso(path)["identity"] == netboot_files.identity(path)
    assert fetched(test=True).result is True
    assert len(web.requests) == 1


STARTED = """
import sys, time
sys.path.insert(0, "salt/_utils")
from iso_download import Fetches, How
url, path, sha256, staging = sys.argv[1:]
fetch = {"sources": [url], "path": path, "checksum": {"sha256": sha256}}
Fetches(How(staging, 5, 60), {}).start([fetch], 1)
time.sleep(60)
"""


@pytest.fixture
def published(root, web):
    """An ISO whose run was killed when it had its name and wasn't on record yet."""
    (web.folder / "a.iso").write_bytes(ISO)
    iso = root / "dist/a.iso"
    arguments = [f"{web.url}/a.iso", str(iso), SHA256, str(root / ".staging")]
    run = subprocess.Popen([sys.executable, "-c", STARTED, *arguments], cwd=CHECKOUT)
    end = time.monotonic() + 60
    while not iso.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    run.kill()
    run.wait()
    return iso


def test_killed_before_the_record_it_is_still_ours(fetched, root, web, records, published):
    assert fetched().result is True
    assert netboot_images.is_owned_iso(records, str(published))
    assert web.requests == ["GET /a.iso"]
    assert list((root / ".staging").iterdir()) == []


def test_copy_that_somebody_put_there_after_a_kill_is_not_ours(fetched, records, published):
    copy = published.with_name("copy")
    copy.write_bytes(ISO)
    copy.rename(published)
    assert fetched().result is True
    assert not netboot_images.is_owned_iso(records, str(published))


def test_another_checksum_in_the_pillar_is_checked(fetched, web):
    fetched()
    assert fetched(hashlib.sha512(ISO).hexdigest(), kind="sha512").result is True
    wrong = fetched("0" * 128, kind="sha512")
    assert wrong.result is False
    assert "0" * 128 in wrong.comment


def test_rotten_file_is_out_of_service_while_its_source_is_away(fetched, root):
    fetched()
    (root / "dist/a.iso").write_bytes(b"rotten")
    assert fetched(test=True).result is None
    assert (root / "dist/a.iso").exists()
    failed = fetched(sources=["http://127.0.0.1:9/a.iso"])
    assert failed.result is False
    assert "http://127.0.0.1:9/a.iso cannot be fetched" in failed.comment
    assert failed.changes[str(root / "dist/a.iso")]["new"] == "removed"
    assert list((root / "dist").iterdir()) == []
    assert fetched().result is True


def test_rot_that_no_time_tells_is_found_when_the_pillar_says_always(fetched, root, web, records):
    fetched()
    path = root / "dist/a.iso"
    assert fetched(verify="always", test=True).changes == {}
    assert fetched(verify="always").changes == {}
    rot_unseen(path, records)
    assert fetched().changes == {}
    found = fetched(verify="always")
    assert found.result is True
    assert "which was wrong" in found.changes[str(path)]["old"]
    assert path.read_bytes() == ISO
    assert len(web.requests) == 2


def test_rot_that_no_time_tells_is_found_by_a_call(fetched, root, modules, records):
    fetched()
    path = root / "dist/a.iso"
    assert modules.iso_fetch.verify(str(path))["digests"] == {"sha256": SHA256}
    rot_unseen(path, records)
    with pytest.raises(CommandExecutionError, match="is not the expected file"):
        modules.iso_fetch.verify(str(path))
    assert fetched().result is True
    assert path.read_bytes() == ISO


def rot_unseen(path, records):
    """Change a file and put its record right, as nothing tells when a disk rots."""
    path.write_bytes(b"\0" + ISO[1:])
    known = records.iso(path)
    known["identity"] = netboot_files.identity(str(path))
    records.write_iso(path, known)


def test_outdated_file_stays_until_its_successor_has_come(fetched, root, web):
    fetched()
    newer = os.urandom(len(ISO))
    digest = hashlib.sha256(newer).hexdigest()
    assert "would be fetched" in fetched(digest, test=True).comment
    assert fetched(digest).result is False
    assert (root / "dist/a.iso").read_bytes() == ISO
    (web.folder / "a.iso").write_bytes(newer)
    with open(root / "dist/a.iso", "rb") as reader:
        done = fetched(digest)
        assert reader.read() == ISO
    assert done.changes == {
        str(root / "dist/a.iso"): {"old": f"sha256 {SHA256}", "new": f"sha256 {digest}"}
    }
    assert (root / "dist/a.iso").read_bytes() == newer


def sums(kind, content):
    return f"{'0' * 8}  other.iso\n{hashlib.new(kind, content).hexdigest()}  a.iso\n"


def test_digest_from_the_sum_file(fetched, root, web):
    missing = fetched(digest=None, sums=True)
    assert missing.result is False
    assert "has no SHA512SUM, SHA256SUM, MD5SUM that lists a.iso" in missing.comment
    (web.folder / "MD5SUM").write_text(sums("md5", ISO))
    (web.folder / "SHA256SUM").write_text(sums("sha256", ISO))
    assert fetched(digest=None, sums=True, test=True).result is None
    assert web.requests.pop() == "HEAD /a.iso"
    assert fetched(digest=None, sums=True).result is True
    assert fetched(digest=None, sums=True).changes == {}
    assert web.requests[3:] == ["GET /SHA512SUM", "GET /SHA256SUM", "GET /a.iso"]


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (["/b.iso"], "a.iso cannot be fetched now: {url}/b.iso: 404 File not found."),
        (["http://127.0.0.1:1/a.iso"], "cannot be fetched now: .* Connection refused"),
        (["http://absent.invalid/a.iso"], "cannot be fetched now: .*"),
        (["/b.iso", "/a.iso"], None),
        (["/large.iso"], r"a.iso has 1\d+ bytes, but only \d+ are free\."),
    ],
)
def test_what_can_be_asked_without_a_body_is_foretold(fetched, web, sources, told):
    with (web.folder / "large.iso").open("wb") as file:
        file.truncate(10**13)
    urls = [one if "://" in one else f"{web.url}{one}" for one in sources]
    done = fetched(test=True, sources=urls)
    assert done.result is None
    (returned,) = done.raw.values()
    warnings = returned.get("warnings", [])
    assert len(warnings) == bool(told)
    if told:
        assert re.search(told.format(url=web.url), warnings[0]), warnings
    assert not any(one.startswith("GET") for one in web.requests)


def test_only_md5sum_is_a_warning(fetched, web):
    (web.folder / "MD5SUM").write_text(sums("md5", ISO))
    done = fetched(digest=None, sums=True)
    assert done.result is True
    (warning,) = warnings_of(done)
    assert "MD5" in warning


def warnings_of(done):
    (returned,) = done.raw.values()
    return returned["warnings"]


def test_refresh(fetched, root, web):
    (web.folder / "SHA256SUM").write_text(sums("sha256", ISO))
    moving = {"digest": None, "sums": True, "refresh": True}
    assert fetched(**moving).result is True
    del web.requests[:]
    for test in (True, False):
        again = fetched(**moving, test=test)
        assert again.result is True
        assert again.changes == {}
    assert web.requests == ["GET /SHA512SUM", "GET /SHA256SUM: 304"] * 2

    newer = os.urandom(1000)
    (web.folder / "a.iso").write_bytes(newer)
    (web.folder / "SHA256SUM").write_text(sums("sha256", newer))
    os.utime(web.folder / "SHA256SUM", (2e9, 2e9))
    foretold = fetched(**moving, test=True)
    assert foretold.result is None
    assert (root / "dist/a.iso").read_bytes() == ISO
    assert fetched(**moving).changes == {
        str(root / "dist/a.iso"): {
            "old": f"sha256 {SHA256}",
            "new": f"sha256 {hashlib.sha256(newer).hexdigest()}",
        }
    }
    assert (root / "dist/a.iso").read_bytes() == newer
    assert fetched(**moving).changes == {}

    away = fetched(**moving, sources=["http://127.0.0.1:9/a.iso"])
    assert away.result is True
    assert away.changes == {}
    (warning,) = warnings_of(away)
    assert "Cannot check whether" in warning


def test_images_come_at_the_same_time_and_each_has_its_result(modules, root, web):
    """No answer comes before all are asked, so one after the other they would never come."""
    for name in ("a", "c"):
        (web.folder / f"{name}.iso").write_bytes(ISO)
    pillar = {
        "interface": "lo",
        "root": str(root),
        "fetch": {"attempts": 1},
        "images": {
            name: {"url": f"{web.url}/{name}.iso", "checksum": {"sha256": SHA256}} for name in "abc"
        },
    }

    def apply(test):
        done = modules.state.apply("netboot.images", pillar={"netboot": pillar}, test=test)
        return {one["__id__"]: one for one in done.raw.values()}

    foretold = apply(test=True)["netboot-images-fetching"]
    assert foretold["comment"] == "Would be fetched: a.iso, b.iso, c.iso."
    assert web.requests == [f"HEAD /{name}.iso" for name in "abc"]
    web.requests.clear()
    web.hold = threading.Barrier(3, timeout=60)
    done = apply(test=False)
    fetched = [done[f"netboot-image-{name}-fetched"] for name in "abc"]
    assert [one["result"] for one in fetched] == [True, False, True]
    assert "b.iso cannot be fetched: 404" in fetched[1]["comment"]
    assert "was fetched" in fetched[2]["comment"]
    assert str(root / "dist/c.iso") in fetched[2]["changes"]
    assert len(web.requests) == 3
    assert (root / "dist/c.iso").read_bytes() == ISO


def test_wrong_digest_fails_with_both_and_without_the_file(fetched, root):
    wrong = fetched("0" * 64)
    assert wrong.result is False
    assert wrong.changes == {}
    assert "0" * 64 in wrong.comment
    assert SHA256 in wrong.comment
    assert list((root / "dist").iterdir()) == []


def test_wrong_file_of_somebody_else_is_put_aside_and_not_lost(fetched, root, web):
    """A mistyped checksum must not cost an ISO that the admin copied there."""
    (root / "dist/a.iso").write_bytes(b"the admin's own")
    (web.folder / "a.iso").unlink()
    assert fetched().result is False
    assert not (root / "dist/a.iso").exists()
    (aside,) = (root / ".staging").glob("a.iso.*")
    assert aside.read_bytes() == b"the admin's own"


def test_config_valid(states):
    assert states.netboot.config_valid("x", problems=[]).result is True
    for test in (True, False):
        bad = states.netboot.config_valid("x", problems=["a: b", "c: d"], test=test)
        assert bad.result is False
        assert "- a: b\n- c: d" in bad.comment


def test_sum_file_of_a_mirror(states, records, configured):
    config = configured(
        {"mirror": "only", "images": {"a": {"url": "http://x/a.iso", "sums": True}}}
    )
    path = Path(config["paths"]["dist"]) / "SHA256SUM"
    path.parent.mkdir(parents=True)
    records.write_iso("a.iso", {"digests": {"sha256": "0" * 64}, "identity": None})
    records.write_iso("old.iso", {"digests": {"sha256": "1" * 64}, "identity": None})
    assert states.netboot_mirror.listed(str(path), test=True).result is None
    assert states.netboot_mirror.listed(str(path)).changes == {"diff": "New file"}
    assert path.read_text() == f"{'0' * 64}  a.iso\n"
    assert states.netboot_mirror.listed(str(path)).changes == {}
    configured({"mirror": "only", "images": {"old": {"url": "http://x/old.iso", "sums": True}}})
    diff = states.netboot_mirror.listed(str(path)).changes["diff"].splitlines()
    assert diff[3:] == [f"-{'0' * 64}  a.iso", f"+{'1' * 64}  old.iso"]


def test_config_applied(modules, records):
    """What one state of a run resolves, the others read; it is put on record last."""

    def applied(config, test=False):
        resolved = ["config_resolved", {"name": "x"}, {"config": config}, {"order": 1}]
        states = {
            "resolved": {"netboot": resolved},
            "applied": {"netboot": ["config_applied", {"name": "x"}]},
        }
        done = modules.state.high(states, test=test)
        first, second = sorted(done.raw.values(), key=lambda state: state["__run_num__"])
        assert first["changes"] == {}
        return second

    def config(root):
        kernel_over = dict.fromkeys(ARCHES, "http")
        paths, none = {"tree": root}, {"site": "", "mirror": "off"}
        return {"version": "1", "paths": paths, "root": root, "kernel_over": kernel_over, **none}

    assert applied(config("/x"), test=True)["result"] is None
    assert records.applied() is None
    assert applied(config("/x"))["changes"] == dict.fromkeys(config("/x"), "new")
    assert applied(config("/x"))["changes"] == {}
    assert applied(config("/y"))["changes"] == {"root": "changed", "paths": "changed"}
    assert records.applied() == config("/y")


def test_firmware_copied(states, root, tmp_path, configured):
    packaged = [tmp_path / "snponly-x86_64.efi", tmp_path / "snponly.efi"]

    def copied(**kwargs):
        files = [
            {
                "kind": "efi-x86_64",
                "file": "snponly-x86_64.efi",
                "packaged": [str(path) for path in packaged],
            },
            {"kind": "efi-aarch64", "file": "snponly-aarch64.efi", "packaged": ["/nowhere"]},
        ]
        configured(boot_files=files)
        return states.netboot_tftp.firmware_copied("boot loaders", **kwargs)

    assert copied(test=True).result is None  # its package is still to be installed
    missing = copied()
    assert missing.result is False
    assert str(packaged[1]) in missing.comment
    packaged[1].write_bytes(b"one")
    first = copied()
    assert first.changes == {"snponly-x86_64.efi": "new"}
    assert "have no boot loader for efi-aarch64" in first.comment
    assert copied().changes == {}
    assert copied(test=True).changes == {}
    packaged[1].write_bytes(b"two")
    assert copied(test=True).changes == {"snponly-x86_64.efi": "changed"}
    assert (root / "tftp/snponly-x86_64.efi").read_bytes() == b"one"
    assert copied().result is True
    assert (root / "tftp/snponly-x86_64.efi").read_bytes() == b"two"
    packaged[0].write_bytes(b"of a newer package")
    assert copied().changes == {"snponly-x86_64.efi": "changed"}
    assert list((root / ".staging").iterdir()) == []


def test_firmware_fetched(states, root, tmp_path, web, configured):
    """A boot loader of the pillar's is verified before it can be read, and again at each apply."""
    (tmp_path / "undionly.kpxe").write_bytes(b"bios")
    (web.folder / "ipxe-arm64.efi").write_bytes(b"an EFI program")
    digest = hashlib.sha256(b"an EFI program").hexdigest()
    path = root / "tftp/snponly-aarch64.efi"

    def copied(sha256, **kwargs):
        bios = {"kind": "bios", "file": "undionly.kpxe"}
        arm = {"kind": "efi-aarch64", "file": path.name, "url": f"{web.url}/ipxe-arm64.efi"}
        files = [
            {**bios, "packaged": [str(tmp_path / "undionly.kpxe")]},
            {**arm, "checksum": {"sha256": sha256}},
        ]
        configured(boot_files=files)
        return states.netboot_tftp.firmware_copied("boot loaders", **kwargs)

    assert path.name in copied(digest, test=True).changes
    assert web.requests == []
    wrong = copied("0" * 64)
    assert wrong.result is False
    assert "efi-aarch64" in wrong.comment
    assert not path.exists()
    assert copied(digest).changes == {path.name: "new"}
    assert path.read_bytes() == b"an EFI program"
    assert path.stat().st_mode & 0o777 == 0o644
    web.requests.clear()
    assert copied(digest).changes == {}
    assert web.requests == []
    path.write_bytes(b"an EFI PROGRAM")
    assert copied(digest, test=True).changes == {path.name: "changed"}
    assert copied(digest).changes == {path.name: "changed"}
    assert list((root / ".staging").iterdir()) == []


def test_firmware_out_of_an_archive(states, root, web, configured):
    """As iPXE's release has its signed boot loaders; a shim's second stage is there twice."""
    archive = web.folder / "ipxeboot.tar.gz"

    def packed(content):
        with tarfile.open(archive, "w:gz") as tar:
            member = tarfile.TarInfo("./ipxeboot/x86_64-sb/snponly.efi")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("ipxeboot/x86_64-sb/snponly-shim.efi")
            link.type, link.linkname = tarfile.SYMTYPE, "../shimx64.efi"
            tar.addfile(link)

    def copied(path="ipxeboot/x86_64-sb/snponly.efi", files=True, **kwargs):
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        kind = {"kind": "efi-x86_64"}
        given = {"url": f"{web.url}/{archive.name}", "checksum": {"sha256": digest}, "path": path}
        both = [
            {**kind, "file": "ipxe.efi", **given},
            {**kind, "file": "grubx64.efi", "copy_of": "ipxe.efi"},
        ]
        other = {"kind": "bios", "file": "undionly.kpxe", "packaged": [__file__]}
        configured(boot_files=[other, *(both if files else [])], firmware=[])
        return states.netboot_tftp.firmware_copied("boot loaders", **kwargs)

    names = ["ipxe.efi", "grubx64.efi"]
    packed(b"signed \xff one")
    assert set(names) <= set(copied(test=True).changes)
    assert not (root / "tftp/ipxe.efi").exists()
    assert set(names) <= set(copied().changes)
    assert [(root / "tftp" / name).read_bytes() for name in names] == [b"signed \xff one"] * 2
    web.requests.clear()
    assert copied().changes == {}
    assert web.requests == []
    (root / "tftp/ipxe.efi").write_bytes(b"touched")
    assert copied().changes == {"ipxe.efi": "changed"}
    packed(b"signed two")
    assert copied(test=True).changes == dict.fromkeys(names, "changed")
    assert copied().changes == dict.fromkeys(names, "changed")
    for path, wrong in (
        (
            "ipxeboot/x86_64-sb/snponly-shim.efi",
            "is not a file but a link to ../shimx64.efi; name that",
        ),
        ("x86_64-sb/snponly.efi", "has no x86_64-sb/snponly.efi"),
    ):
        refused = copied(path)
        assert refused.result is False
        assert wrong in refused.comment
        assert (root / "tftp/ipxe.efi").read_bytes() == b"signed two"
    archive.write_bytes(b"no archive")
    assert "is not a .tar.gz" in copied().comment
    assert copied(files=False, test=True).changes == dict.fromkeys(names, "removed")
    assert copied(files=False).changes == dict.fromkeys(names, "removed")
    assert not (root / "tftp/ipxe.efi").exists()
    assert list((root / ".staging").iterdir()) == []


@pytest.mark.parametrize("missing", ["shim.efi", "ipxe.efi"])
def test_machines_boot_if_a_shim_cannot_be_fetched(states, root, web, configured, missing):
    """DHCP names it all the same, to machines without Secure Boot, too."""
    files = {"shim.efi": b"shim", "ipxe.efi": b"signed"}
    for name, content in files.items():
        (web.folder / name).write_bytes(content)
    given = {
        name.partition(".")[0]: {
            "url": f"{web.url}/{name}",
            "checksum": {"sha256": hashlib.sha256(content).hexdigest()},
        }
        for name, content in files.items()
    }
    (web.folder / missing).unlink()
    config = configured({"secure_boot": {"efi-x86_64": given}})
    rows = [
        {**row, "packaged": [__file__]} if row["file"] == "snponly-x86_64.efi" else row
        for row in config["boot_files"]
    ]
    configured({"secure_boot": {"efi-x86_64": given}}, boot_files=rows)
    shim, plain = root / "tftp/ipxe-shimx64.efi", root / "tftp/snponly-x86_64.efi"
    assert states.netboot_tftp.firmware_copied("boot loaders", test=True).result is None
    assert not shim.exists()
    for _ in range(2):
        done = states.netboot_tftp.firmware_copied("boot loaders")
        assert done.result is False
        assert shim.read_bytes() == plain.read_bytes() == Path(__file__).read_bytes()
    (web.folder / missing).write_bytes(files[missing])
    assert states.netboot_tftp.firmware_copied("boot loaders").result is True
    assert shim.read_bytes() == b"shim"


def test_archive_of_a_killed_apply(states, root, web, configured):
    """It does not stay, whatever the pillar says then."""
    archive = web.folder / "ipxeboot.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("snponly.efi"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    of = {"url": f"{web.url}/{archive.name}", "checksum": {"sha256": digest}}
    loader = {"kind": "efi-x86_64", "file": "ipxe.efi", "path": "snponly.efi", **of}
    configured(boot_files=[loader], firmware=[])

    def left():
        return [path.name for path in (root / ".staging").iterdir()]

    number = 0
    while not left() or any(".part" in name for name in left()):
        assert killed(lambda: states.netboot_tftp.firmware_copied("boot loaders"), number)
        number += 1
    netboot_files.sweep_directory(str(root / ".staging"))
    iso_tree.sweep(str(root / ".staging"), [])
    assert left() == []
    assert states.netboot_tftp.firmware_copied("boot loaders").changes


def test_image_that_no_firmware_boots(states, records, root, configured):
    """It is named with its architecture, and the key that brings its boot loader."""
    image = {"name": "ALT for ARM", "label": "alt_for_arm", "facts": {"arch": "aarch64"}}
    image["tree"] = f"{root}/tftp/netboot/aarch64/alt_for_arm"
    records.write("images", "alt_for_arm", image)
    files = [
        {"kind": "bios", "file": "undionly.kpxe", "packaged": [__file__]},
        {"kind": "efi-aarch64", "file": "snponly-aarch64.efi", "packaged": ["/nowhere"]},
    ]
    config = {
        "boot_files": files,
        "firmware": [
            {"kind": "bios", "file": "undionly.kpxe", "boots": ["x86_64", "i586"]},
            {"kind": "efi-aarch64", "file": "snponly-aarch64.efi", "boots": ["aarch64"]},
        ],
        "images": [image],
        "elsewhere": [],
        "default_image": {"aarch64": "ALT for ARM"},
    }
    (root / "tftp/undionly.kpxe").touch()

    def complete(test=False, **changes):
        configured(**{**config, **changes})
        return states.netboot_tftp.firmware_complete("boot loaders", test=test)

    done = complete()
    assert done.result is False
    assert "the image ALT for ARM is for aarch64" in done.comment
    assert "netboot:firmware:efi-aarch64" in done.comment
    assert "netboot:default_image:aarch64" in done.comment
    assert complete(images=[], default_image={}).result is True  # left behind, not offered
    assert complete(test=True).result is False
    # After netboot.clean: a preview foresees that the boot loader is copied again.
    brought = [files[0], {**files[1], "packaged": [__file__]}]
    assert complete(test=True, boot_files=brought).result is True
    assert complete(boot_files=brought).result is False
    (root / "tftp/snponly-aarch64.efi").touch()
    assert complete().result is True


# Scripts of boards that come with the project.
BOARDS = {f"config-product-{name}.ipxe" for name in ("TF307-MB", "TF307-MB-S-D", "ET101-1.2")}
MENUS = {f"config-{arch}.ipxe" for arch in ("x86_64", "i586", "aarch64", "riscv64", "loongarch64")}


@pytest.fixture
def menus_written(states, root, configured):
    def _menus(template="salt://netboot/files/menu.ipxe.jinja", test=False):
        configured({"menu": {"timeout_s": 7}})
        return states.netboot_tftp.menus_written("menus", template=template, test=test)

    return _menus


def test_menus_written(menus_written, root):
    menu = root / "tftp/config-x86_64.ipxe"
    assert menus_written(test=True).result is None
    assert not menu.exists()
    assert menus_written().changes == dict.fromkeys(MENUS | BOARDS, "new")
    assert menu.read_text().startswith("#!ipxe\n")
    assert "set nb-timeout 7000" in menu.read_text()
    assert menus_written().changes == {}
    menu.write_text("by hand")
    assert menus_written().changes == {"config-x86_64.ipxe": "changed"}
    assert list((root / ".staging").iterdir()) == []


def test_stale_menus_go_and_foreign_files_stay(menus_written, records, root):
    menus_written()
    stale = root / "tftp/config-mac-525400000001.ipxe"
    stale.write_text("of a host that the pillar had")
    owned = records.owned("menus", [])
    records.write("owned", "menus", [*owned, stale.name])
    foreign = root / "tftp/config-mac-525400000002.ipxe"
    foreign.write_text("of the admin")
    board = root / "tftp" / sorted(BOARDS)[0]
    board.write_text("of the admin, as netinstall-alt has it")
    owned = [one for one in records.owned("menus", []) if one != board.name]
    records.write("owned", "menus", owned)
    assert menus_written(test=True).changes == {stale.name: "removed"}
    assert stale.exists()
    assert menus_written().changes == {stale.name: "removed"}
    assert menus_written().changes == {}
    assert not stale.exists()
    assert foreign.read_text() == "of the admin"
    assert board.read_text() == "of the admin, as netinstall-alt has it"
    (warning,) = warnings_of(menus_written())
    assert board.name in warning


def test_missing_template_is_named(menus_written):
    missing = menus_written(template="salt://netboot/files/none.jinja")
    assert missing.result is False
    assert "salt://netboot/files/none.jinja" in missing.comment


# -- an image's own shim and GRUB -----------------------------------------------------------------

LOADERS = {"EFI/BOOT/BOOTX64.EFI": b"MZ shim \xff\x00", "EFI/BOOT/grubx64.efi": b"MZ grub \xfe\r\n"}
SIGNED = {"signers": [{"name": "S", "issuer": "CA"}], "changed": False, "sbat": {}, "keys": ["CA"]}
BY_GRUB = {"grub/grub.cfg", "grub/shimx64.efi", "grub/grubx64.efi"}


@pytest.fixture
def by_grub(states, minion_opts, root, records, configured):
    """The menus of a server with an image that has both, as `alt_image.unpacked` records it."""
    tree = root / "tftp/netboot/x86_64/alt"
    (tree / "EFI/BOOT").mkdir(parents=True)
    (root / "dist/alt.iso").write_bytes(b"")
    for path, content in LOADERS.items():
        (tree / path).write_bytes(content)
    secure = {
        "shim": "EFI/BOOT/BOOTX64.EFI",
        "grub": "EFI/BOOT/grubx64.efi",
        "grub_version": "2.12",
        "lacks": "",
        "files": dict.fromkeys([*LOADERS, "boot/vmlinuz"], SIGNED),
    }

    def written(
        hosts=None,
        test=False,
        on=True,
        record=None,
        ready=True,
        form="stages",
        sha256=None,
        **facts,
    ):
        pillar = {
            "images": {"ALT": {"url": "http://x/alt.iso", "checksum": {"sha256": SHA256}}},
            "hosts": hosts or {},
            **({"secure_boot": {"efi-x86_64": {"image": "ALT"}}} if on else {}),
        }
        configured(pillar)
        record = record or {
            "name": "ALT",
            "label": "alt",
            "file": "alt.iso",
            "iso": str(root / "dist/alt.iso"),
            "iso_sha256": SHA256,
            "tree": str(tree),
            "form": form,
            "facts": {
                **P11,
                "sha256": sha256
                or {path: hashlib.sha256(one).hexdigest() for path, one in LOADERS.items()},
                "secure_boot": {**secure, **facts},
            },
            "boot_files": {},
        }
        if ready:
            records.write("images", "alt", record)
        folder = Path(minion_opts["pillar_roots"]["base"][0])
        (folder / "top.sls").write_text("base: {'*': [netboot]}")
        (folder / "netboot.sls").write_text(json.dumps({"netboot": {"hosts": hosts or {}}}))
        try:
            return states.netboot_tftp.menus_written(
                "menus",
                template="salt://netboot/files/menu.ipxe.jinja",
                grub="salt://netboot/files/grub.cfg.jinja",
                test=test,
            )
        finally:
            for path in folder.iterdir():
                path.unlink()

    return written


def test_menu_of_an_images_own_grub(by_grub, root, records):
    folder = root / "tftp/grub"
    foretold = by_grub(test=True)
    assert not folder.exists()
    done = by_grub()
    assert done.changes == foretold.changes
    assert set(done.changes) > BY_GRUB
    assert (folder / "shimx64.efi").read_bytes() == LOADERS["EFI/BOOT/BOOTX64.EFI"]
    assert (folder / "grubx64.efi").read_bytes() == LOADERS["EFI/BOOT/grubx64.efi"]
    assert folder.stat().st_mode & 0o777 == 0o755
    assert "menuentry" in (folder / "grub.cfg").read_text()
    assert by_grub().changes == {}
    (folder / "grubx64.efi").write_bytes(b"by hand")
    assert by_grub().changes == {"grub/grubx64.efi": "changed"}
    foretold = by_grub(test=True, on=False)
    assert folder.exists()
    assert by_grub(on=False).changes == foretold.changes == dict.fromkeys(BY_GRUB, "removed")
    assert not folder.exists()
    assert not BY_GRUB & set(records.owned("menus", []))


def test_hosts_of_an_images_own_grub(by_grub, root):
    hosts = {"pc1": {"mac": "52:54:00:00:00:01", "entry": "local"}, "pc2": {"entry": "local"}}
    done = by_grub(hosts)
    assert "set nb_entry='local'" in (root / "tftp/grub/grub.cfg-01-52-54-00-00-00-01").read_text()
    assert any("by mac alone: pc2" in one for one in warnings_of(done))
    assert by_grub().changes["grub/grub.cfg-01-52-54-00-00-00-01"] == "removed"


def test_image_without_a_signed_shim(by_grub, root):
    """One clear failure, and what is there stays."""
    by_grub()
    done = by_grub(shim="", lacks="no-shim")
    assert done.result is False
    lines = [one for one in done.comment.splitlines() if "secure_boot" in one]
    assert len(lines) == 1
    assert lines[0].startswith("netboot:secure_boot:efi-x86_64:image: ALT has no signed shim;")
    assert (root / "tftp/grub/shimx64.efi").exists()


def test_image_that_an_earlier_version_inspected(by_grub, root, records):
    """Its state unpacks it again, so that it may well have them; test=True says no other."""
    by_grub()
    record = records.image("alt")
    del record["facts"]["secure_boot"]
    for test in (True, False):
        done = by_grub(test=test, record=record)
        assert done.result is not False, done.comment
    assert (root / "tftp/grub/shimx64.efi").exists()


def test_clients_boot_while_the_image_is_not_ready(by_grub, root, records, modules):
    """DHCP names its shim from the start, to machines without Secure Boot, too."""
    (root / "tftp").mkdir(exist_ok=True)
    (root / "tftp/snponly-x86_64.efi").write_bytes(b"unsigned \xff")
    shim = root / "tftp/grub/shimx64.efi"
    for record in ({"ready": False}, {"shim": "", "lacks": "no-shim"}):
        assert by_grub(**record).changes["grub/shimx64.efi"] == "new"
        assert shim.read_bytes() == b"unsigned \xff"
        assert by_grub(**record).changes == {}
        assert "efi-x86_64" not in [row["kind"] for row in modules.netboot.expected()["firmware"]]
        assert netboot_secure_boot.warnings(records) == []
        by_grub(on=False)
        assert not shim.exists()
    by_grub(shim="", lacks="no-shim")
    assert by_grub().changes == {
        "config-x86_64.ipxe": "changed",
        "grub/grub.cfg": "changed",
        "grub/shimx64.efi": "changed",
        "grub/grubx64.efi": "new",
    }
    assert shim.read_bytes() == LOADERS["EFI/BOOT/BOOTX64.EFI"]
    shim.unlink()
    assert by_grub().changes == {"grub/shimx64.efi": "new"}


def test_shim_and_grub_are_of_one_image(by_grub, root):
    by_grub()
    tree = root / "tftp/netboot/x86_64/alt/EFI/BOOT"
    (tree / "BOOTX64.EFI").write_bytes(b"of another image")
    sums = {name: hashlib.sha256(b"of another image").hexdigest() for name in LOADERS}
    by_grub(sha256=sums)
    assert (root / "tftp/grub/shimx64.efi").read_bytes() == LOADERS["EFI/BOOT/BOOTX64.EFI"]


def test_mounted_image_without_a_shim(by_grub):
    assert "; unpack it, without mount: true, name" in by_grub(form="mount", shim="").comment


@pytest.mark.parametrize("name", sorted(BY_GRUB))
def test_foreign_file_in_the_folder_of_grub(by_grub, root, name):
    """Its name is a common one. It is left alone, and the apply says so."""
    (root / "tftp/grub").mkdir()
    foreign = root / "tftp" / name
    foreign.write_text("of another")
    for test in (True, False, False):
        done = by_grub(test=test)
        assert done.result is False
        assert f"{foreign} is a foreign file; move it away" in done.comment
    by_grub(on=False)
    assert foreign.read_text() == "of another"
    foreign.unlink()
    assert by_grub().result is True


def test_loader_that_was_changed_in_the_tree(by_grub, root):
    """It is not handed to clients."""
    by_grub()
    (root / "tftp/netboot/x86_64/alt/EFI/BOOT/grubx64.efi").write_bytes(b"changed")
    done = by_grub()
    assert done.result is False
    assert "grubx64.efi of ALT was changed" in done.comment
    assert (root / "tftp/grub/grubx64.efi").read_bytes() == LOADERS["EFI/BOOT/grubx64.efi"]


def test_clean_removes_the_menu_of_grub(by_grub, states, root):
    by_grub({"pc1": {"mac": "52:54:00:00:00:01", "entry": "local"}})
    assert states.netboot_clean.served("served files").result is True
    assert not (root / "tftp/grub").exists()
