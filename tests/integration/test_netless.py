"""Machines without internet, over ssh as a user with sudo: ISOs come from the controlling host."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from lab import webserver
from lab.network import inside
from tests.integration.test_checkout_ssh import roster  # noqa: F401 (a fixture)

# On the controlling host's own loopback: the machine cannot reach it.
ADDRESS, PORT = "127.0.0.9", 8003
PART = "/srv/export/.staging/{}.part"


@pytest.fixture(scope="module")
def web(lan, tmp_path_factory):
    """What only the controlling host reaches; an ISO takes 6 s."""
    log = tmp_path_factory.mktemp("web") / "log"
    words = [str(lan.iso.path.parent), ADDRESS, str(PORT), str(log), str(lan.iso.size // 6)]
    program = [sys.executable, webserver.__file__, *words]
    with lan.lab.popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"

        def fetched():
            lines = log.read_text().splitlines() if log.exists() else []
            return sum(one["bytes"] for one in map(json.loads, lines))

        yield SimpleNamespace(url=f"http://{ADDRESS}:{PORT}/{lan.iso.path.name}", fetched=fetched)
        process.kill()


@pytest.fixture
def ssh(lan, checkout, roster, web):  # noqa: F811
    """Start ./netboot ssh for the machine, with that image."""
    roster(ssh_options=["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"])
    image = {"url": web.url, "checksum": {"sha256": lan.iso.sha256}}
    pillar = {"interface": "eth0", "probe": False, "images": {"ALT p11": image}}
    pillar["fetch"] = {"from": ["controller", "upstream"], "attempts": 2}
    (checkout.path / "pillar/netboot.sls").write_text(yaml.safe_dump({"netboot": pillar}))
    checkout.give_away()
    words = ["sh", "-c", 'cd / && exec "$@"', "-", checkout.path / "netboot", "ssh", "netboot1"]

    def start(*more):
        return subprocess.Popen(
            checkout.as_nobody([*words, "--yes", *more], inside(lan.lab.name)),
            cwd=checkout.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def finished(process):
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def test_iso_comes_through_the_connection(lan, ssh, web):
    status, text = finished(ssh())
    assert status == 0, text
    assert "Ready to boot: ALT p11." in text
    size = f"{lan.iso.size / 1e6:.1f} MB"
    assert f"{lan.iso.path.name}: {size} fetched by this host, {size} sent" in text
    assert web.fetched() == lan.iso.size
    digest = lan.server.run(["sha256sum", f"/srv/export/dist/{lan.iso.path.name}"]).stdout
    assert digest.split()[0] == lan.iso.sha256


@pytest.mark.long
def test_resumed_on_both_sides(lan, checkout, ssh, web):
    """Killed in the middle of another fetch."""
    lan.server.run(["rm", "-f", f"/srv/export/dist/{lan.iso.path.name}"])
    shutil.rmtree(checkout.path / ".cache/isos", ignore_errors=True)
    before = web.fetched()
    part = PART.format(lan.iso.path.name)
    killed = ssh()
    until = time.monotonic() + 120
    begun = ["sh", "-c", f"test $(stat -c %s {part} || echo 0) -gt {lan.iso.size // 4}"]
    while lan.server.run(begun, check=False).returncode:
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    lan.server.run(
        ["sh", "-c", "pkill -9 -f '[s]alt-call'; while pgrep -f '[s]alt-call'; do :; done"]
    )
    there = int(lan.server.run(["stat", "-c", "%s", part]).stdout)
    status, text = finished(ssh())
    assert status == 0, text
    assert "Ready to boot: ALT p11." in text
    there_again = re.search(r"(\S+ \S+) fetched by this host, (\S+) MB sent", text)
    assert there_again, text
    assert abs(float(there_again[2]) - (lan.iso.size - there) / 1e6) < 1, (there, text)
    assert lan.iso.size <= web.fetched() - before < lan.iso.size + 2_000_000


@pytest.mark.long
def test_second_apply_changes_nothing(ssh, web):
    before = web.fetched()
    status, text = finished(ssh())
    assert status == 0, text
    assert "sent" not in text
    assert re.search(r"0 changed|[Nn]othing (was )?changed|no changes", text), text
    assert web.fetched() == before


@pytest.mark.long
def test_sshd_that_forwards_nothing(lan, ssh, web):
    lan.server.run(["rm", "-f", f"/srv/export/dist/{lan.iso.path.name}"])
    forbid = "echo AllowTcpForwarding no >/etc/ssh/sshd_config.d/no.conf; systemctl restart ssh"
    lan.server.run(["sh", "-ec", forbid])
    status, text = finished(ssh())
    assert status, text
    assert text.count("Set AllowTcpForwarding to yes or remote in its sshd_config") == 1, text
    lan.server.run(["sh", "-ec", "rm /etc/ssh/sshd_config.d/no.conf; systemctl restart ssh"])
    status, text = finished(ssh())
    assert status == 0, text
