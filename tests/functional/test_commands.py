"""What users may call: few functions, each with examples that run, none that removes anything."""

import contextlib
import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from salt.utils.args import parse_input

import netboot_arming
from tests.isos import make_iso
from tests.unit.test_layers import FILES, functions

MODULES = [file.partition("/")[2] for file in FILES if file.startswith("_modules/")]
# On ALT they are Salt's pkg; tests/functional/test_aptrpm.py runs their examples.
OURS = [
    f"{module}.{name}"
    for module in MODULES
    if module != "aptrpm"
    for name in functions(f"_modules/{module}")
]
EXAMPLE = re.compile(r"^ +salt '[^']+' (\S+)(.*)$", re.MULTILINE)


@pytest.fixture
def server(modules, records, tmp_path):
    """A netboot server on which something was applied, with one host that boots once."""
    root = tmp_path / "export"
    for directory in ("dist", "tftp", ".staging"):
        (root / directory).mkdir(parents=True)
    iso = root / "dist/alt-server-11.0-x86_64.iso"
    make_iso(iso)
    image = {"url": "http://127.0.0.1/a.iso", "checksum": {"sha256": sha256(iso)}}
    pillar = {
        **{
            "interface": "lo",
            "root": str(root),
            "hosts": HOSTS,
            "groups": {"room12": {}},
            "images": {"p11": image},
        },
        "installs": {"pc": {"disk": "all", "root_password": "$6$salt$" + "a" * 86}},
    }
    done = modules.state.apply("netboot.menus", pillar={"netboot": pillar})
    assert all(state["result"] for state in done.raw.values()), done
    records.write_iso(iso.name, modules.iso_fetch.verify(str(iso), {"sha256": sha256(iso)}))
    scripts = Path(records.config()["paths"]["once_scripts"])
    scripts.mkdir(exist_ok=True)
    facts = {**modules.alt_iso.inspect(str(iso)), "tree": {"bytes": 0, "iso": {}}}
    record = {"name": "p11", "label": "p11", "file": "a.iso", "iso_sha256": sha256(iso)}
    tree = root / "tftp/netboot/x86_64/p11"
    records.write("images", "p11", {**record, "facts": facts, "tree": str(tree), "form": "boot"})
    hosts = {name: host(name) for name in ("pc1", "lab1")}
    netboot_arming.reconcile(records, hosts, test=False)
    yield root
    shutil.rmtree(scripts)


HOSTS = {
    "52:54:00:12:34:56": {"entry": "local"},
    "pc1": {"mac": "52:54:00:00:00:01", "group": "room12"},
}


def host(name):
    entry = {"entry": "p11-install", "straight": True, "server": "", "path": "/dist/a.iso"}
    install = {"install": "pc", "hostname": name, "network": None, "words": ["ai"]}
    return {"host": name, "told_by": [f"hostname={name}"], **entry, **install}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listed(modules):
    return [name for name in modules.sys.list_functions() if name.partition(".")[0] in MODULES]


def test_few_functions_are_public(modules):
    """With aptrpm's, which are there on ALT alone."""
    assert sorted(listed(modules)) == sorted(OURS)
    # doctor is one: netboot.check needs an apply, and fails on machines where doctor is wanted.
    assert len(OURS) + len(functions("_modules/aptrpm")) <= 46


@pytest.mark.parametrize("function", OURS)
def test_examples_run(modules, server, state_dir, function):
    examples = EXAMPLE.findall(modules.sys.doc(function)[function])
    assert examples
    for name, rest in examples:
        assert name == function
        words = [word for word in shlex.split(rest) if not word.startswith("--out=")]
        words = [word.replace("/srv/export", str(server)) for word in words]
        words = [word.replace("/root", str(server.parent)) for word in words]
        if name in ("netboot.export", "netboot.import"):
            (server.parent / "disk").mkdir(exist_ok=True)
        if name == "netboot.restore":
            modules.netboot.backup(*words)
            shutil.rmtree(state_dir)
        if name == "netboot.probe":
            Path(words[0]).write_text(json.dumps(modules.netboot.expected()))
        positional, keywords = parse_input(words, condition=False)
        modules[name](*positional, **keywords)


@pytest.mark.parametrize("function", OURS)
def test_called_without_arguments_nothing_changes(modules, server, state_dir, function):
    def contents():
        files = [path for root in (server, state_dir) for path in root.rglob("*")]
        return {path: path.read_bytes() for path in files if path.is_file()}

    before = contents()
    with contextlib.suppress(TypeError):  # an argument is missing
        modules[function]()
    assert contents() == before


AFTER = (
    "arm backup clients dhcp_hints doctor expected firewall_rules menu plan status trace"
).split()


@pytest.mark.parametrize("function", [f"netboot.{name}" for name in AFTER])
def test_after_an_update_before_the_next_apply(modules, server, state_dir, records, function):
    """The records are those that versions before Secure Boot left."""
    config = records.config()
    for key in ("secure_boot", "unsigned"):
        del config[key]
    for key in ("grub", "grub_once"):
        del config["paths"][key]
    for row in config["firmware"]:
        for key in ("secure", "http_file", "plain"):
            del row[key]
    records.write("applied", "config", config)
    image = records.image("p11")
    del image["facts"]["secure_boot"]
    records.write("images", "p11", image)
    records.write("owned", "firmware", ["undionly.kpxe"])
    test_examples_run(modules, server, state_dir, function)
