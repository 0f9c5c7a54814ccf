"""Records: of this version, of an older one, of a newer one, damaged ones."""

import errno
import json
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_records
from netboot_records import Records
from tests.unit.test_netboot_pillar import resolve

# As commit 23b0365 and its forerunners left them, without schema.json.
OLD = {
    "applied/config": {"root": "/srv/export", "images": [], "kernel_over": {"aarch64": "tftp"}},
    "images/alt_p11": {"name": "ALT p11", "label": "alt_p11", "facts": {"arch": "x86_64"}},
    "isos/a.iso": {"size": 1, "digests": {"sha256": "ab"}, "identity": None, "verified_at": 1},
    "owned/once": {
        "pc1": {
            "host": "pc1",
            "entry": "p11-install",
            "arming": "1a2b",
            "armed_at": 1,
            "dropped": False,
        }
    },
    "owned/menus": ["config-x86_64.ipxe"],
    "once/pc1": {"arming": "1a2b", "entry": "p11-install", "booted_at": 1},
}


@pytest.fixture
def old(tmp_path):
    for name, value in OLD.items():
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value))
    return Records(str(tmp_path))


def contents(records):
    files = (path for path in Path(records.directory).rglob("*") if path.is_file())
    return {path: path.read_text() for path in files}


def schema_of(records):
    with open(f"{records.directory}/schema.json", encoding="utf-8") as file:
        return json.load(file)


def test_written_and_read(tmp_path):
    records = Records(str(tmp_path / "netboot"))
    assert records.names("images") == []
    assert records.image("a") is None
    records.write("images", "a", {"label": "a"})
    assert records.names("images") == ["a"]
    assert records.image("a")["label"] == "a"
    assert (tmp_path / "netboot").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "netboot/images/a.json").stat().st_mode & 0o777 == 0o600
    assert schema_of(records) == {"schema": netboot_records.SCHEMA}
    records.remove("images", "a")
    records.remove("images", "a")
    assert records.names("images") == []


def test_older_records_are_read_as_if_they_were_of_today(old):
    before = contents(old)
    config = old.config()
    assert config["paths"]["staging"] == "/srv/export/.staging"
    assert config["kernel_over"]["aarch64"] == "tftp"
    assert config["kernel_over"]["x86_64"] == "http"
    assert config["version"] == ""
    assert old.image("alt_p11")["form"] == ""
    assert old.armings()["pc1"]["told_by"] == []
    assert old.boots()["pc1"]["arming"] == "1a2b"
    assert contents(old) == before


def test_the_first_write_migrates_all_of_them(old):
    old.write("owned", "trees", [])
    assert schema_of(old) == {"schema": netboot_records.SCHEMA}
    again = Records(old.directory)
    assert again.image("alt_p11")["form"] == ""
    assert again.config()["paths"]["records"] == old.directory
    with open(f"{old.directory}/images/alt_p11.json", encoding="utf-8") as file:
        assert json.load(file)["identities"] == {}
    assert again.boots()["pc1"] == OLD["once/pc1"]


def test_a_migration_that_was_killed_is_done_again(old, monkeypatch):
    real, written = netboot_records.netboot_files.write, []

    def killed(path, *arguments, **keywords):
        if path.endswith("schema.json") and not written:
            written.append(path)
            raise OSError("killed")
        real(path, *arguments, **keywords)

    monkeypatch.setattr(netboot_records.netboot_files, "write", killed)
    with pytest.raises(OSError, match="killed"):
        old.write("owned", "trees", [])
    again = Records(old.directory)
    again.write("owned", "trees", [])
    assert schema_of(again) == {"schema": netboot_records.SCHEMA}
    assert again.armings()["pc1"]["told_by"] == []


def test_records_that_an_older_version_wrote_in_between(old):
    old.write("owned", "trees", [])
    with open(f"{old.directory}/applied/config.json", "w", encoding="utf-8") as file:
        json.dump(OLD["applied/config"], file)
    assert Records(old.directory).config()["paths"]["dist"] == "/srv/export/dist"


def test_newer_records_are_refused(old):
    with open(f"{old.directory}/schema.json", "w", encoding="utf-8") as file:
        json.dump({"schema": netboot_records.SCHEMA + 1}, file)
    before = contents(old)
    for use in (
        old.config,
        lambda: old.resolve({}),
        lambda: old.write("owned", "trees", []),
        lambda: old.remove("images", "alt_p11"),
    ):
        with pytest.raises(
            CommandExecutionError, match="schema 2.* up to 1; update netboot-alt, or restore"
        ):
            use()
    assert contents(old) == before


def test_damaged_record_is_named(old):
    with open(f"{old.directory}/images/alt_p11.json", "w", encoding="utf-8") as file:
        file.write("{")
    with pytest.raises(CommandExecutionError, match=r"alt_p11\.json is damaged .* apply again"):
        old.images()


@pytest.mark.parametrize("name", ["owned/once", "once/pc1"])
@pytest.mark.parametrize("text", ["{", "[]"])
def test_damaged_record_of_once_is_not_to_be_removed(old, name, text):
    """Its hosts would be installed again."""
    (Path(old.directory) / f"{name}.json").write_text(text)
    kind, _, name = name.partition("/")
    with pytest.raises(CommandExecutionError, match=r"\.json is damaged") as failed:
        old.read(kind, name)
    assert str(failed.value).endswith(
        "; restore it from a backup; removing it arms hosts with once: true again."
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("schema", text) for text in ('{"x": 1}', '"abc"', '""', "null", '{"schema": "1"}')),
        *(("applied/config", text) for text in ("{}", "[]", "null")),
        *(("images/alt_p11", text) for text in ("{}", "3", '{"label": []}')),
        *(("images/alt_p11", f'{{"label": "a", "{key}": 3}}') for key in ("facts", "tree")),
        ("isos/a.iso", '{"digests": [], "identity": null}'),
        ("owned/nginx", '{"/etc/nginx/sites-enabled/default": 3}'),
        ("owned/once", '{"a": {"arming": "a", "host": "a", "entry": "a", "armed_at": "x"}}'),
        ("once/pc1", '{"arming": "a", "entry": "a", "booted_at": []}'),
        *(("isos/a.iso", text) for text in ("null", "[]", "{}")),
        *(("owned/menus", text) for text in ("{}", '""', "[3]", "[null]")),
        *(
            ("owned/once", text)
            for text in ("[]", '{"pc1": 3}', '{"pc1": {}}', '{"pc1": {"arming": "1a2b"}}')
        ),
        *(("once/pc1", text) for text in ("{}", "null", '{"arming": "1a2b"}')),
    ],
)
def test_json_of_the_wrong_shape_is_damage(old, name, text):
    (Path(old.directory) / f"{name}.json").write_text(text)
    uses = (old.config, old.images, old.armings, old.boots, lambda: old.iso("a.iso"))
    said = []
    for use in (*uses, *(lambda one=one: old.owned(one, []) for one in ("menus", "nginx"))):
        try:
            use()
        except CommandExecutionError as err:
            said.append(str(err))
    assert said
    for one in said:
        assert one.startswith(f"{old.directory}/{name}.json is damaged (it")


def test_records_of_root_are_not_missing(old, monkeypatch):
    """For another user, whom root's directory (0700) keeps out."""

    def refused(path, *_arguments, **_keywords):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(netboot_records, "open", refused, raising=False)
    monkeypatch.setattr(netboot_records.os, "listdir", refused)
    for use in (old.config, old.applied, old.on_record, old.images, lambda: old.names("isos")):
        with pytest.raises(
            CommandExecutionError, match=r"may not read /.*; run the command as root"
        ):
            use()


def test_what_a_run_resolves_is_for_that_run(tmp_path):
    context = {}
    records, config = Records(str(tmp_path), context), resolve({})["config"]
    with pytest.raises(CommandExecutionError, match="Nothing was applied"):
        records.config()
    records.resolve(config)
    assert Records(str(tmp_path), context).config() == config
    assert Records(str(tmp_path), context).on_record() is None
    assert Records(str(tmp_path), {}).applied() is None
    records.write("applied", "config", config)
    assert Records(str(tmp_path), {}).config() == json.loads(json.dumps(config))


def test_names_that_would_leave_the_directory(tmp_path):
    with pytest.raises(SaltInvocationError, match="cannot be the kind or name of a record"):
        Records(str(tmp_path)).read("images", "../../etc/passwd")
