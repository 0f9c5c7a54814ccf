"""The states through Salt's own loader: test=True, apply, apply again; and what goes wrong."""

import hashlib
import os

import pytest

ISO = os.urandom(100000)
SHA256 = hashlib.sha256(ISO).hexdigest()


@pytest.fixture
def root(tmp_path):
    for folder in ("dist", "tftp/netboot", ".staging"):
        (tmp_path / "export" / folder).mkdir(parents=True, mode=0o755)
    (tmp_path / "export" / ".staging").chmod(0o700)
    return tmp_path / "export"


@pytest.fixture
def fetched(states, root, web):
    (web.folder / "a.iso").write_bytes(ISO)

    def _fetched(digest=SHA256, kind="sha256", **kwargs):
        return states.alt_iso.fetched(
            str(root / "dist/a.iso"),
            url=f"{web.url}/a.iso",
            checksum={kind: digest},
            staging=str(root / ".staging"),
            **kwargs,
        )

    return _fetched


def test_fetched(fetched, root, web):
    foretold = fetched(test=True)
    assert foretold.result is None
    assert "would be fetched from" in foretold.comment
    assert foretold.changes
    assert web.requests == []

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


def test_another_checksum_in_the_pillar_is_checked(fetched, web):
    fetched()
    assert fetched(hashlib.sha512(ISO).hexdigest(), kind="sha512").result is True
    wrong = fetched("0" * 128, kind="sha512")
    assert wrong.result is False
    assert "0" * 128 in wrong.comment


def test_wrong_digest_fails_with_both_and_without_the_file(fetched, root):
    wrong = fetched("0" * 64)
    assert wrong.result is False
    assert wrong.changes == {}
    assert "0" * 64 in wrong.comment
    assert SHA256 in wrong.comment
    assert list((root / "dist").iterdir()) == []


def test_config_valid(states):
    assert states.netboot.config_valid("x", problems=[]).result is True
    for test in (True, False):
        bad = states.netboot.config_valid("x", problems=["a: b", "c: d"], test=test)
        assert bad.result is False
        assert "- a: b\n- c: d" in bad.comment


def test_config_applied(states, modules):
    def applied(config, **kwargs):
        return states.netboot.config_applied("config", config=config, **kwargs)

    assert applied({"root": "/x"}, test=True).result is None
    assert modules.netboot_records.read("applied", "config") is None
    assert applied({"root": "/x"}).changes == {"root": "new"}
    assert applied({"root": "/x"}).changes == {}
    assert applied({"root": "/y"}).changes == {"root": "changed"}
    assert modules.netboot_records.read("applied", "config") == {"root": "/y"}


def test_firmware_copied(states, root, tmp_path):
    source = tmp_path / "snponly.efi"

    def copied(**kwargs):
        return states.netboot.firmware_copied(
            str(root / "tftp"),
            firmware={"efi-x86_64": {"source": str(source), "file": "snponly-x86_64.efi"}},
            staging=str(root / ".staging"),
            **kwargs,
        )

    assert copied(test=True).result is None  # its package is still to be installed
    missing = copied()
    assert missing.result is False
    assert str(source) in missing.comment
    source.write_bytes(b"one")
    assert copied().changes == {"snponly-x86_64.efi": "new"}
    assert copied().changes == {}
    source.write_bytes(b"two")
    assert copied(test=True).changes == {"snponly-x86_64.efi": "changed"}
    assert (root / "tftp/snponly-x86_64.efi").read_bytes() == b"one"
    assert copied().result is True
    assert (root / "tftp/snponly-x86_64.efi").read_bytes() == b"two"
    assert list((root / ".staging").iterdir()) == []


CONFIG = {
    "address": "192.0.2.10",
    "http": {"port": 80, "url": "http://192.0.2.10"},
    "menu": {"title": "A menu", "timeout_s": 7},
    "default_image": {},
    "images": [],
    "platform": {"firmware": {"efi-x86_64": {"arch": "x86_64"}}},
}


@pytest.fixture
def menus_written(states, root):
    def _menus(template="salt://netboot/files/menu.ipxe.jinja", test=False, **changed):
        return states.netboot.menus_written(
            str(root / "tftp"),
            config={**CONFIG, **changed},
            template=template,
            staging=str(root / ".staging"),
            test=test,
        )

    return _menus


def test_menus_written(menus_written, root):
    menu = root / "tftp/config-x86_64.ipxe"
    assert menus_written(test=True).result is None
    assert not menu.exists()
    assert menus_written().changes == {"config-x86_64.ipxe": "new"}
    assert menu.read_text().startswith("#!ipxe\n")
    assert "--default local --timeout 7000" in menu.read_text()
    assert menus_written().changes == {}
    menu.write_text("by hand")
    assert menus_written().changes == {"config-x86_64.ipxe": "changed"}
    assert list((root / ".staging").iterdir()) == []


def test_stale_menus_go_and_foreign_files_stay(menus_written, root):
    menus_written(
        platform={
            "firmware": {"a": {"arch": "x86_64"}, "b": {"arch": "aarch64"}},
        }
    )
    (root / "tftp/config-riscv64.ipxe").write_text("of the admin")
    assert menus_written(test=True).changes == {"config-aarch64.ipxe": "removed"}
    assert (root / "tftp/config-aarch64.ipxe").exists()
    assert menus_written().changes == {"config-aarch64.ipxe": "removed"}
    assert menus_written().changes == {}
    assert not (root / "tftp/config-aarch64.ipxe").exists()
    assert (root / "tftp/config-riscv64.ipxe").read_text() == "of the admin"


def test_missing_template_is_named(menus_written):
    missing = menus_written(template="salt://netboot/files/none.jinja")
    assert missing.result is False
    assert "salt://netboot/files/none.jinja" in missing.comment
