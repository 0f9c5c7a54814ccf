"""A server that an older version set up is managed by this one, while its clients go on.

The tests build on each other.
"""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import SaltSsh
from netboot_names import VERSION
from tests.conftest import CHECKOUT
from tests.integration.test_hosts import MAC, TEXT
from tests.servers import INSTALLED

# The last version whose modules were not libraries and whose records had no schema.
OLD = "23b0365b5b13f63b98bd9029e282e460bfe4d171"
ENTRY = {"image": "ALT p11", "variant": "livecd", "once": True}
# Asks for the menu all the time until its stdin ends; says how often, and what else it got.
POLL = """
import select, sys, time, urllib.request
asked, wrong = 0, []
while not select.select([sys.stdin], [], [], 0.05)[0]:
    asked += 1
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
            if not answer.read().startswith(b"#!ipxe"):
                wrong.append("another text")
    except OSError as err:
        wrong.append(str(err))
print(asked, wrong)
"""


@pytest.fixture(scope="module")
def old_checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions") / "before"
    folder.mkdir()
    archive = ["git", "-C", CHECKOUT, "archive", "--format=tar", OLD]
    done = subprocess.run(archive, check=False, capture_output=True)
    if done.returncode:
        pytest.fail(
            f"This clone lacks commit {OLD[:7]}; run `git fetch --unshallow` and test again."
        )
    subprocess.run(["tar", "-x", "-C", folder], input=done.stdout, check=True)
    return folder


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory, old_checkout):
    """A server that the older version set up, on which one host has booted; then this version."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED)
        web = lab.web(iso.path.parent)
        pillar = {
            "images": {
                "ALT p11": {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
            },
            "hosts": {f"pc{number}": {"mac": MAC.format(number), **ENTRY} for number in (1, 2)},
        }
        before = SaltSsh(lab, [server], {"netboot": pillar}, checkout=old_checkout)
        done = before.apply(server)
        assert done.failed == {}, done.text
        script = server.run(["cat", "/srv/export/tftp/once/pc1.ipxe"]).stdout
        via = script.partition("set nb-via ")[2].split()[0]
        stage = f"{via}/tftp/netboot/x86_64/alt_p11/live"
        fetch = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"
        url = f"http://{server.address}"
        lab.run([sys.executable, "-c", fetch, f"{url}{stage}"])
        server.run(["sh", "-c", "until [ -e /var/lib/netboot/once/pc1.json ]; do sleep 0.2; done"])
        fetched = len(web.requests())
        salt = SaltSsh(lab, [server], {"netboot": pillar})
        listed = salt.call(server, "netboot_once.list")
        menu = f"{url}/tftp/config-x86_64.ipxe"
        poll = lab.popen(
            [sys.executable, "-c", POLL, menu], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        done = salt.apply(server)
        polled = poll.communicate("\n")[0]
        yield SimpleNamespace(
            lab=lab,
            server=server,
            web=web,
            salt=salt,
            before=before,
            done=done,
            listed=listed,
            polled=polled,
            fetched=fetched,
            menu=menu,
        )


def test_nothing_fails_and_nothing_is_fetched_or_unpacked_again(upgraded):
    assert upgraded.done.failed == {}
    assert upgraded.done.status == 0
    assert len(upgraded.web.requests()) == upgraded.fetched
    for step in ("fetched", "ready"):
        assert upgraded.done.states[f"netboot-image-alt_p11-{step}"]["changes"] == {}


def test_clients_found_the_menu_at_any_moment(upgraded):
    asked, wrong = upgraded.polled.split(" ", 1)
    assert int(asked) > 20
    assert wrong == "[]\n"
    text = upgraded.lab.run([sys.executable, "-c", TEXT, upgraded.menu], capture_output=True).stdout
    assert "alt_p11-livecd" in text


def test_host_that_booted_stays_disarmed_and_the_other_armed(upgraded):
    now = upgraded.salt.call(upgraded.server, "netboot_once.list")
    assert now == upgraded.listed
    assert [(host["host"], bool(host["booted"])) for host in now] == [("pc1", True), ("pc2", False)]
    scripts = upgraded.server.run(["ls", "/var/lib/netboot-once"]).stdout
    assert scripts == "pc2.ipxe\n"
    upgraded.server.run(["test", "!", "-e", "/srv/export/tftp/once"])


def test_version_is_on_record(upgraded):
    version = upgraded.salt.call(upgraded.server, "netboot.version")
    assert version == {"version": VERSION, "applied": VERSION}
    schema = upgraded.server.run(["cat", "/var/lib/netboot/schema.json"]).stdout
    assert '"schema": 1' in schema


def test_second_apply_changes_nothing(upgraded):
    for arguments in ((), ("test=True",)):
        again = upgraded.salt.apply(upgraded.server, *arguments)
        assert (again.failed, again.changed) == ({}, {})


@pytest.mark.long
def test_the_way_back(upgraded):
    """The older version reads what this one left, and fetches nothing either."""
    done = upgraded.before.apply(upgraded.server)
    assert done.failed == {}
    assert len(upgraded.web.requests()) == upgraded.fetched
    scripts = upgraded.server.run(["ls", "/srv/export/tftp/once"]).stdout
    assert scripts == "pc2.ipxe\n"


@pytest.mark.long
def test_and_forward_again(upgraded):
    """The older version knows no schema, and leaves its number beside records of its own."""
    version = upgraded.salt.call(upgraded.server, "netboot.version")
    assert version == {"version": VERSION, "applied": ""}
    done = upgraded.salt.apply(upgraded.server)
    assert done.failed == {}
    assert len(upgraded.web.requests()) == upgraded.fetched
    assert upgraded.salt.apply(upgraded.server).changed == {}
