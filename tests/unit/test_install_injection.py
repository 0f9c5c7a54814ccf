"""What the pillar gives an unattended install is a text, whatever it looks like."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

import netboot_answers
import netboot_installs
import netboot_values
from netboot_install_shell import STATE
from tests.scheme import read
from tests.unit.test_netboot_answers import MACHINE, MINION, OWN, P9, P11
from tests.unit.test_netboot_pillar import HASH, INSTALL

NASTY = (
    *("$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", '"; touch PWNED; "', "& touch PWNED"),
    *("x\nEND\ntouch PWNED\nEND_\n", "END", "END\n", "x\nEOF\ntouch PWNED", "x\n\ntouch PWNED"),
    *('")) (system "touch PWNED")', "\\", "x\\", "\\n", "%s", "-n", "#", "*", "~", "x\ry", "x\0y"),
    *("Ёж №1", "x\u2028y", "x\x85y", "$PATH", "${IFS}", "!x", "| sh", "<(x)"),
)


def with_salt(salt):
    return f"$6${salt}${HASH.rpartition('$')[2]}"


def named(text):
    return f"x{NASTY.index(text)}"


# Where a value stands in an install: what is around it.
PLACES = {
    "real name": lambda text: {"users": {named(text): {"password": HASH, "real_name": text}}},
    "user": lambda text: {"users": {text: {"password": HASH}}},
    "salt of a hash": lambda text: {"root_password": with_salt(text[:16])},
    "hash of a user": lambda text: {"users": {named(text): {"password": with_salt(text[-16:])}}},
    "file": lambda text: {"files": {f"/etc/{named(text)}": {"text": text}}},
    "path": lambda text: {"files": {f"/etc/{text}": {"text": "x"}}},
    "mode": lambda text: {"files": {"/etc/x": {"text": "x", "mode": text}}},
    "command": lambda text: {"commands": [text]},
    "package": lambda text: {"packages": [text]},
    "package group": lambda text: {"package_groups": [f"a/{text}"]},
    "repository": lambda text: {"repositories": [f"rpm http://192.0.2.1/{text} x86_64 classic"]},
    "time server": lambda text: {"ntp": [text]},
    "proxy": lambda text: {"apt_proxy": f"http://192.0.2.1/{text}"},
    "script": lambda text: {"script": f"http://192.0.2.1/{text}"},
    "card": lambda text: {"interfaces": [text]},
    "zone": lambda text: {"timezone": f"Europe/{text}"},
    "language": lambda text: {"language": text},
    "disk": lambda text: {"disk": f"/dev/disk/by-id/{text}"},
    "boot loader": lambda text: {"grub_device": f"/dev/{text}"},
    "master": lambda text: {"salt": {"master": text}},
    "profile": lambda text: {"layout": "own", "vm_profile": OWN.replace("Mine", text)},
}
STUBS = ("curl", "chroot", "apt-get", "rpm", "systemctl", "salt-call", "sleep", "grub-install")


def accepted(**keys):
    """The install, or None if the pillar is refused."""
    pillar = {"installs": {"school": {**INSTALL, **keys}}}
    if netboot_values.problems(pillar):
        return None
    done = netboot_values.completed({"images": {}, **pillar})["installs"]["school"]
    return None if netboot_installs.problems({"school": done}) else netboot_installs.build(done)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """Programs that do nothing, so that the scripts run here."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in STUBS:
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    return folder


def run(script, root, stubs, cwd):
    done = subprocess.run(
        ["sh", "-s"],
        **{"input": script, "cwd": cwd, "capture_output": True, "check": False},
        env={"PATH": f"{stubs}:{os.defpath}", "NB_ROOT": str(root), "ALTERATOR_DESTDIR": str(root)},
    )
    assert done.returncode == 0, done.stderr
    for sign in (b"syntax error", b"not found", b"unexpected"):
        assert sign not in done.stderr, done.stderr


def installs(place):
    """Installs with all values that are accepted in a place: as many in one as fit."""
    together = {}
    for text in NASTY:
        keys = PLACES[place](text)
        if accepted(**keys):
            (name, value), *_ = keys.items()
            if len(keys) == 1 and isinstance(value, (dict, list)) and name != "salt":
                kept = together.setdefault(name, type(value)())
                kept.update(value) if isinstance(value, dict) else kept.extend(value)
            else:
                yield accepted(**keys)
    if together:
        yield accepted(**together)


@pytest.mark.parametrize("place", PLACES)
def test_no_value_of_the_pillar_is_run(place, stubs, tmp_path):
    for number, install in enumerate(installs(place)):
        facts = (P9, P11)[number % 2] if place == "salt of a hash" else P11
        machine = {**MACHINE, "minion": MINION}
        files = netboot_answers.files(install, facts, machine, "pcbios")
        names = [str(one[0]) for one in read(files["autoinstall.scm"].decode())]
        assert names.count("/root/change_password") == 1
        assert "system" not in names
        assert len(read(files["vm-profile.scm"].decode())) == 1
        if place == "profile":
            continue
        root = tmp_path / str(number)
        (root / "etc").mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(files["install-scripts.tar"])) as tar:
            after = tar.extractfile("postinstall.d/98-netboot.sh").read()
        run(after, root, stubs, tmp_path)
        state = root / STATE[1:]
        assert (state / "installed").exists()
        texts = {f"{root}{path}": one["text"] for path, one in install["files"].items()}
        for at, command in enumerate(install["commands"]):
            texts[state / f"commands/{at:03}"] = command
        for path, text in texts.items():
            assert Path(path).read_bytes().decode() == text + ("" if text[-1] == "\n" else "\n")
        if place != "command":  # these are there to be run
            run((state / "first-boot").read_bytes(), root, stubs, tmp_path)
        assert not list(tmp_path.rglob("*PWNED*"))
        assert not Path("PWNED").exists()
