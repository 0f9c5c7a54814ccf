"""The tree applied to a bare machine, first by a user with sudo; tests build on another."""

import copy
import datetime
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from lab.demo import PACKAGES
from lab.salt import CHECKOUT, SaltCall, SaltSsh
from tests.checkout import copy_tracked
from tests.conftest import made_lan

# Prints status, Content-Length and SHA-256 of a URL.
GET = """
import hashlib, sys, urllib.request, urllib.error
request = urllib.request.Request(sys.argv[2], method=sys.argv[1])
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        digest = hashlib.sha256(answer.read()).hexdigest()
        print(answer.status, answer.headers["Content-Length"], digest)
except urllib.error.HTTPError as err:
    print(err.code)
"""

# All files of the machine with size and time, but for what salt-ssh itself keeps there, logs, and
# what systemd and sshd write by themselves, and the status page, which is made each minute.
SNAPSHOT = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp \
    -o -path /var/tmp -o -path /var/log -o -path /var/lib/netboot-status \
    -o -path /var/lib/systemd \) -prune \
    -o \( -type f -o -type l \) \
    -printf '%p %s %T@ %m %u\n' | grep -v -e '\.pyc ' -e '/\.bash_history ' | sort
"""


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """With a machine that nobody touched yet; `ssh` is salt-ssh of a plain user with sudo."""
    with made_lan(tmp_path_factory, packages=PACKAGES, binds=[CHECKOUT]) as found:
        pillar = {"netboot": found.pillar}
        found.salt = SaltCall(found.server, pillar)
        found.ssh = SaltSsh(found.lab, [found.server], pillar, user="admin")
        yield found


def snapshot(lan):
    return set(lan.server.run(["sh", "-c", SNAPSHOT]).stdout.splitlines())


def get(lan, path, method="GET"):
    url = f"http://{lan.server.address}{path}"
    done = lan.lab.run([sys.executable, "-c", GET, method, url], capture_output=True)
    return done.stdout.split()


@pytest.fixture
def with_pillar(lan):
    """Apply with a changed pillar; afterwards the pillar is what it was."""

    def _apply(change, *arguments):
        pillar = copy.deepcopy(lan.pillar)
        change(pillar)
        lan.salt.write_pillar({"netboot": pillar})
        return lan.salt.apply(lan.server, *arguments)

    yield _apply
    lan.salt.write_pillar({"netboot": lan.pillar})


def test_foretold_on_an_untouched_machine(lan):
    lan.ssh.call(lan.server, "test.ping")  # brings Salt's thin, which is not ours
    before = snapshot(lan)
    foretold = lan.ssh.apply(lan.server, "test=True")
    assert foretold.status == 0
    assert foretold.failed == {}
    assert all(state["result"] is None for state in foretold.states.values() if state["changes"])
    assert "netboot-image-alt_p11-fetched" in foretold.changed
    assert "netboot-menus" in foretold.changed
    assert snapshot(lan) == before
    assert {one["method"] for one in lan.web.requests()} == {"HEAD"}


def break_all(pillar):
    """Every kind of mistake that a pillar can have, at once."""
    image = pillar["images"]["ALT p11"]
    pillar["interface"] = "eth77"
    pillar["imags"] = {}
    pillar["images"]["No Sum"] = {"url": "http://192.0.2.1/no-sum.iso"}
    pillar["images"]["Short"] = {"url": "http://192.0.2.1/s.iso", "checksum": {"sha256": "abc"}}
    pillar["images"]["alt P11"] = {**image, "url": "http://192.0.2.1/other.iso"}
    pillar["images"]["Twin"] = {**image, "url": "http://192.0.2.1/" + image["url"].split("/")[-1]}


@pytest.mark.parametrize("arguments", [(), ("test=True",), ("netboot.dhcp",)])
def test_wrong_pillar_is_one_failed_state_and_changes_nothing(lan, with_pillar, arguments):
    before = snapshot(lan)
    applied = with_pillar(break_all, *arguments)
    assert applied.status != 0
    assert list(applied.failed) == list(applied.states) == ["netboot-config-valid"]
    assert applied.changed == {}
    comment = applied.failed["netboot-config-valid"]["comment"]
    for said in (
        "netboot:interface: this machine has no interface 'eth77', it has eth0, lo",
        "netboot:imags: unknown key, did you mean images?",
        "netboot:images:No Sum:checksum: is missing",
        "netboot:images:Short:checksum:sha256: must be 64 hexadecimal digits, but has 3",
        "netboot:images:alt P11: has the same directory name 'alt_p11' as netboot:images:ALT p11",
        "netboot:images:Twin:url: has the same file name",
    ):
        assert said in comment
    assert snapshot(lan) == before


def test_wrong_digest_publishes_nothing(lan, with_pillar):
    wrong = "0" * 64

    def change(pillar):
        pillar["images"]["ALT p11"]["checksum"]["sha256"] = wrong

    applied = with_pillar(change, "netboot.images")
    assert applied.status != 0
    comment = applied.failed["netboot-image-alt_p11-fetched"]["comment"]
    assert wrong in comment
    assert lan.iso.sha256 in comment
    assert (
        lan.server.run(["find", "/srv/export/dist", "/srv/export/.staging", "-type", "f"]).stdout
        == ""
    )


def test_apply(lan):
    applied = lan.ssh.apply(lan.server)
    assert applied.failed == {}
    assert applied.status == 0
    assert lan.server.run(["ls", "/srv/export/dist"]).stdout.split() == [lan.iso.path.name]
    for service in ("nginx", "netboot-dnsmasq"):
        assert lan.server.run(["systemctl", "is-active", service]).stdout == "active\n"
        assert lan.server.run(["systemctl", "is-enabled", service]).stdout == "enabled\n"


def test_second_apply_changes_nothing(lan):
    before = snapshot(lan)
    for salt, arguments in ((lan.ssh, ()), (lan.salt, ()), (lan.salt, ("test=True",))):
        again = salt.apply(lan.server, *arguments)
        assert again.status == 0
        assert again.changed == {}
        assert all(state["result"] for state in again.states.values())
    assert snapshot(lan) == before


@pytest.mark.parametrize(
    "sls",
    [
        *("http", "images"),
        *(
            pytest.param(sls, marks=pytest.mark.long)
            for sls in ("base", "firmware", "dhcp", "menus", "schedule")
        ),
    ],
)
def test_each_sls_alone_changes_nothing_more(lan, sls):
    assert lan.salt.apply(lan.server).failed == {}  # the long ones run without the tests above
    for arguments in ((), ("test=True",)):
        applied = lan.salt.apply(lan.server, f"netboot.{sls}", *arguments)
        assert applied.status == 0
        assert applied.failed == applied.changed == {}


def test_image_is_served_byte_for_byte(lan):
    assert get(lan, f"/dist/{lan.iso.path.name}") == ["200", str(lan.iso.size), lan.iso.sha256]
    tree = "/tftp/netboot/x86_64/alt_p11"
    size, digest = lan.iso.stages["live"]
    assert get(lan, f"{tree}/live") == ["200", str(size), digest]
    assert get(lan, f"{tree}/live", method="HEAD")[:2] == ["200", str(size)]
    assert get(lan, tree + lan.iso.kernel)[2] == lan.iso.kernel_sha256
    assert get(lan, tree + lan.iso.initrd)[2] == lan.iso.initrd_sha256


@pytest.mark.parametrize(
    "path", ["/x", "/.staging/", "/dist/../../../etc/passwd", "/dist/..%2f..%2f..%2fetc/passwd"]
)
def test_nothing_else_is_served(lan, path):
    assert get(lan, path)[0] in ("403", "404", "400")


# Asks a TFTP server for a file (RFC 1350) and prints the opcode of its answer: 3 data, 5 error.
TFTP = """
import socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(5)
    sock.sendto(struct.pack("!H", 1) + sys.argv[2].encode() + b"\\0octet\\0", (sys.argv[1], 69))
    print(struct.unpack("!H", sock.recv(600)[:2])[0])
"""


def tftp(lan, path):
    return lan.lab.run(
        [sys.executable, "-c", TFTP, lan.server.address, path], capture_output=True
    ).stdout.strip()


def test_tftp_serves_its_root_and_nothing_else(lan):
    assert tftp(lan, "snponly-x86_64.efi") == "3"
    for path in ("/etc/hostname", "../../../etc/hostname", "..\\..\\etc\\hostname", "../dist/"):
        assert tftp(lan, path) == "5"


def test_nothing_unverified_is_served_during_a_fetch(lan, with_pillar):
    name = "slow-x86_64.iso"
    (lan.iso.path.parent / name).write_bytes(lan.iso.path.read_bytes())
    slow = lan.lab.web(lan.iso.path.parent, port=8001, rate=lan.iso.size // 8)
    part = f"/srv/export/.staging/{name}.part"

    def change(pillar):
        pillar["images"]["slow"] = {
            "url": f"{slow.url}/{name}",
            "checksum": {"sha256": lan.iso.sha256},
        }

    with ThreadPoolExecutor() as pool:
        applying = pool.submit(with_pillar, change, "netboot.images")
        while lan.server.run(["test", "-s", part], check=False).returncode:
            assert not applying.done()
            time.sleep(0.2)
        assert get(lan, f"/dist/{name}") == ["404"]
        for path in (
            "/.staging/",
            "/dist/../.staging/",
            "/dist/%2e%2e/.staging/",
            "/tftp/../.staging/",
        ):
            assert get(lan, f"{path}{name}.part")[0] in ("400", "403", "404")
        for path in ("../.staging/", "/srv/export/.staging/", "netboot/../../.staging/"):
            assert tftp(lan, f"{path}{name}.part") == "5"
        assert (
            lan.server.run(["stat", "-c", "%a %U", "/srv/export/.staging"]).stdout == "700 root\n"
        )
        assert not applying.done()
        assert applying.result().failed == {}
    assert get(lan, f"/dist/{name}") == ["200", str(lan.iso.size), lan.iso.sha256]


def test_what_the_pillar_no_longer_names_is_told_and_removed_when_asked(lan, with_pillar):
    """The image of the test before."""
    told = lan.salt.apply(lan.server)
    assert "slow-x86_64.iso" in told.states["netboot-images-pruned"]["comment"]
    assert told.states["netboot-images-pruned"]["changes"] == {}
    assert get(lan, "/dist/slow-x86_64.iso", method="HEAD")[0] == "200"
    menu = lan.salt.call(lan.server, "netboot.menu", "arch=x86_64")
    assert "slow" not in menu

    pruned = with_pillar(lambda pillar: pillar.update(prune=True))
    assert set(pruned.changed["netboot-images-pruned"]) == {
        "/srv/export/dist/slow-x86_64.iso",
        "/srv/export/tftp/netboot/x86_64/slow",
    }
    assert get(lan, "/dist/slow-x86_64.iso") == ["404"]
    assert get(lan, f"/dist/{lan.iso.path.name}")[0] == "200"


def test_facts_are_on_record_and_functions_read_them(lan):
    (image,) = lan.salt.call(lan.server, "netboot.images")
    facts = image["facts"]
    assert image["iso_sha256"] == lan.iso.sha256
    assert facts["arch"] == "x86_64"
    assert facts["dialect"] == "altboot"
    assert facts["installer"] == {"stage": "live", "argument": "systemd.unit=install2.target"}
    assert facts["stages"]["live"]["size"] == lan.iso.stages["live"][0]
    assert facts["sha256"]["live"] == lan.iso.stages["live"][1]
    assert facts["missing"] == {}
    entries = lan.salt.call(lan.server, "netboot.entries", "arch=x86_64")
    assert [entry["variant"] for entry in entries] == ["livecd", "install", "rescue"]
    menu = lan.salt.call(lan.server, "netboot.menu", "arch=x86_64")
    assert all(entry["cmdline"] in menu for entry in entries)
    record = lan.server.run(["stat", "-c", "%a %U", "/var/lib/netboot"]).stdout
    assert record == "700 root\n"


def test_check_names_what_clients_do_not_get(lan):
    def check():
        return [(one["key"], one["severity"]) for one in lan.salt.call(lan.server, "netboot.check")]

    hint = ("network.spanning_tree", "info")
    assert check() == [hint]
    iso, menu = f"/srv/export/dist/{lan.iso.path.name}", "/srv/export/tftp/config-aarch64.ipxe"
    lan.server.run(["mv", iso, f"{iso}.away"])
    lan.server.run(["chmod", "600", menu])
    assert check() == [("menu.missing", "error"), ("http.answer", "error"), hint]
    lan.server.run(["chmod", "644", menu])
    lan.server.run(["mv", f"{iso}.away", iso])
    lan.server.run(["systemctl", "stop", "nginx"])
    silent = ("http.answer", "error")
    assert check() == [("service.dead", "error"), silent, silent, hint]
    lan.server.run(["systemctl", "start", "nginx"])


def test_daemons_accept_their_configurations(lan):
    lan.server.run(["nginx", "-t"])
    lan.server.run(["dnsmasq", "--test", "--conf-file=/etc/netboot/dnsmasq.conf"])
    lan.server.run(["systemd-analyze", "verify", "netboot-dnsmasq.service"])


@pytest.mark.parametrize(
    ("template", "file", "state"),
    [
        ("dnsmasq.conf.jinja", "/etc/netboot/dnsmasq.conf", "netboot-dhcp-config"),
        ("nginx.conf.jinja", "/etc/nginx/sites-enabled/netboot.conf", "netboot-http-site"),
    ],
)
def test_configuration_that_its_daemon_refuses_replaces_nothing(lan, template, file, state):
    """The template comes from a state tree of the user's own, before ours."""
    before = lan.server.run(["sha256sum", file]).stdout
    with lan.salt.overridden(f"netboot/files/{template}", "nonsense {\n"):
        applied = lan.salt.apply(lan.server)
    assert applied.status != 0
    assert state in applied.failed
    assert lan.server.run(["sha256sum", file]).stdout == before
    for service in ("nginx", "netboot-dnsmasq"):
        assert lan.server.run(["systemctl", "is-active", service]).stdout == "active\n"
    assert lan.salt.apply(lan.server).changed == {}


def test_service_restarts_only_when_its_own_configuration_changed(lan, with_pillar):
    def since():
        return [
            lan.server.run(
                ["systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", unit]
            ).stdout
            for unit in ("nginx", "netboot-dnsmasq")
        ]

    def change(pillar):
        pillar["dhcp"] = {"mode": "off"}

    nginx, dnsmasq = since()
    assert with_pillar(change).status == 0
    assert since()[0] == nginx
    assert since()[1] != dnsmasq


# -- a schedule without a master -------------------------------------------------------------------

MENU = "/srv/export/tftp/config-x86_64.ipxe"
OWN = "/root/netboot alt"  # the machine's own checkout


@pytest.fixture(scope="module")
def own(lan):
    """`./netboot` in a checkout on the machine, which takes the machine's own salt-call."""
    path = lan.server.files / OWN[1:]
    path.mkdir()
    copy_tracked(path)
    salt = f'#!/bin/sh\nexec {CHECKOUT}/.venv/bin/salt-call "$@"\n'
    lan.server.run(["tee", "/usr/bin/salt-call"], input=salt)
    lan.server.run(["chmod", "755", "/usr/bin/salt-call"])

    def _own(*words, **pillar):
        if pillar:
            tree = lan.server.files / OWN[1:] / "pillar"
            (tree / "netboot.sls").write_text(yaml.safe_dump({"netboot": lan.pillar | pillar}))
            (tree / "top.sls").write_text("base: {'*': [netboot]}\n")
        return lan.server.run([f"{OWN}/netboot", *words], check=False).stdout if words else None

    return _own


def unit(lan, *words):
    return lan.server.run(["systemctl", *words], check=False).stdout.strip()


def applied_by_its_unit(lan, status=0):
    """What the journal has of a run of the timer's service."""
    done = lan.server.run(["systemctl", "start", "netboot-apply.service"], check=False)
    assert done.returncode == status, done.stderr
    invocation = unit(lan, "show", "--property=InvocationID", "--value", "netboot-apply.service")
    journal = ["journalctl", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation}"]
    return lan.server.run(journal).stdout


def test_schedule_adds_a_timer_that_applies_the_same(lan, own):
    added = own("apply", "--yes", "netboot.schedule", schedule={"minutes": 300, "splay_s": 60})
    assert "netboot-apply.timer was started and enabled." in added
    assert unit(lan, "is-active", "netboot-apply.service") == "inactive", "not at once"
    assert "0 changed, " in own("apply", "--yes", "netboot.schedule")
    # 15 minutes and the splay from now, with systemd's accuracy of a minute.
    found = json.loads(own("status", "--json"))["schedule"]
    due = datetime.datetime.strptime(found.pop("next"), "%Y-%m-%dT%H:%M:%SZ")
    left = due - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert 13 < left.total_seconds() / 60 < 18
    none = {"last": None, "failed": False}
    assert found == {"by": "timer", "interval": {"minutes": 300}, **none}

    menu = lan.server.run(["cat", MENU]).stdout
    lan.server.run(["rm", MENU])
    own(schedule={"hours": 1})
    run = applied_by_its_unit(lan)
    assert "changed  1 menu was written.\n" in run
    assert lan.server.run(["cat", MENU]).stdout == menu
    assert "netboot-apply.timer was reloaded." in run, "a run may change its own units"
    assert (
        unit(lan, "show", "--property=NeedDaemonReload", "--value", "netboot-apply.timer") == "no"
    )
    assert "OnUnitActiveUSec=1h " in unit(lan, "show", "netboot-apply.timer")


def test_scheduled_run_that_fails_is_seen(lan, own):
    own(interface="eth77", schedule={"hours": 1})
    assert "netboot:interface: this machine has no interface" in applied_by_its_unit(lan, status=1)
    assert "netboot-apply.service" in unit(lan, "--failed")
    (line,) = [line for line in own("status").splitlines() if line.startswith("schedule ")]
    assert line.startswith("schedule  every 1 hour, next 2")
    assert "last run FAILED 2" in line
    assert "ERROR  The scheduled apply of 2" in own("check")
    assert unit(lan, "is-active", "netboot-apply.timer") == "active", "it may be mended"


def test_over_ssh_a_sentence_says_what_to_do(lan, own):
    """Nothing of the timer is left: it would undo what comes over ssh."""
    assert unit(lan, "is-active", "netboot-apply.timer") == "active"
    lan.ssh.write_pillar({"netboot": {**lan.pillar, "schedule": {"hours": 1}}})
    done = lan.ssh.apply(lan.server, "netboot.schedule")
    lan.ssh.write_pillar({"netboot": lan.pillar})
    assert done.failed == {}
    assert "over salt-ssh: run ./netboot ssh from a timer" in done.text
    assert unit(lan, "list-unit-files", "netboot-apply.*", "--quiet", "--legend=false") == ""
    assert unit(lan, "--failed", "--quiet", "--legend=false") == ""


def test_timer_goes_with_its_key(lan, with_pillar):
    """In a configuration that is no checkout's; by the salt-call that runs."""
    scheduled = {"schedule": {"hours": 1}}
    assert with_pillar(lambda pillar: pillar.update(scheduled), "netboot.schedule").failed == {}
    lan.server.run(["rm", MENU])
    assert "Failed:     0" in applied_by_its_unit(lan)
    lan.server.run(["test", "-e", MENU])
    lan.salt.write_pillar({"netboot": lan.pillar})
    removed = lan.salt.apply(lan.server, "netboot.schedule")
    assert "netboot-apply.timer" in removed.changed["netboot-schedule-timer"]
    assert unit(lan, "list-unit-files", "netboot-apply.*", "--quiet", "--legend=false") == ""


@pytest.mark.long
def test_timer_elapses(lan, own):
    lan.salt.apply(lan.server)  # without the tests above
    own("apply", "--yes", "netboot.schedule", schedule={"minutes": 1, "splay_s": 0})
    lan.server.run(["rm", MENU])
    deadline = time.monotonic() + 200  # the accuracy is a minute
    while lan.server.run(["test", "-e", MENU], check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(1)
    own("apply", "--yes", "netboot.schedule", schedule={})


def test_pulled_plug_is_repaired_by_the_next_apply(lan):
    assert lan.salt.apply(lan.server).status == 0
    lan.server.run(["sh", "-c", "echo half > /srv/export/.staging/x.iso.part; sync"])
    lan.server.run(["rm", "-r", "/srv/export/tftp/netboot/x86_64/alt_p11/boot"])
    lan.server.kill()
    lan.server.start()
    assert lan.salt.apply(lan.server).failed == {}
    tree = "/tftp/netboot/x86_64/alt_p11"
    assert get(lan, tree + lan.iso.kernel)[2] == lan.iso.kernel_sha256
    assert lan.salt.apply(lan.server).changed == {}
