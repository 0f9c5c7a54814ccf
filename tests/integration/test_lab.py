"""The lab itself: labs side by side, what is left behind (nothing), what a killed one leaves."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import Lab, LabError, network
from lab.lab import clean
from lab.machine import CGROUPS
from tests.checkout import SOURCE

# A whole lab: router, web server, machine, client; then it waits to be ended.
# What a shell starts in the background ignores Ctrl-C; that is not what is tested here.
HOLD = """
import signal, sys, time
from lab import Lab
signal.signal(signal.SIGINT, signal.default_int_handler)
with Lab() as lab:
    lab.web(".")
    lab.server("netboot1")
    with lab.client("bios", memory_mib=256):
        print(lab.number, flush=True)
        if sys.argv[1] == "fail":
            raise RuntimeError("as a test does")
        time.sleep(600 if sys.argv[1] == "wait" else 0)
"""


def traces(number):
    """What a lab of this number has on this machine."""
    name, directory = f"nb{number}", f"/var/lib/netboot-lab/{number}"
    found = [f"namespace {one}" for one in network.namespaces_of(name)]
    found += [f"mount {line}" for line in Path("/proc/mounts").open() if directory in line]
    found += [one for one in (directory, f"/run/netboot-lab/{number}.lock") if os.path.exists(one)]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            # Labs of another root (a container) count from 0 too; their /run is not ours.
            if (process.parent / "root/run").stat().st_dev != os.stat("/run").st_dev:
                continue
            command = process.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"{directory}/" in command or f"198.18.{number}.1 " in command:
            found.append(f"process {command}")
    if not list(network.NAMESPACES.glob("*")) and network.namespaces_are_mounted():
        found.append(f"mount {network.NAMESPACES}")
    found += [str(one) for top in CGROUPS for one in top.glob(f"netboot-lab-{name}-*")]
    return found


@pytest.fixture
def hold():
    """Start a program that holds a lab; returns it and the lab's number."""
    started = []

    def _hold(how):
        program = subprocess.Popen(
            [sys.executable, "-c", HOLD, how],
            cwd=SOURCE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program, int(program.stdout.readline())

    yield _hold
    for program in started:
        program.kill()
        program.communicate()
    clean()


@pytest.mark.parametrize("how", ["end", "fail"])
def test_nothing_is_left_after_success_and_failure(hold, how):
    program, number = hold(how)
    assert (program.wait(60) == 0) == (how == "end")
    assert traces(number) == []


@pytest.mark.parametrize("number_of_signal", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_a_signal(hold, number_of_signal):
    program, number = hold("wait")
    assert any("namespace" in one for one in traces(number))
    assert any("process" in one for one in traces(number))
    program.send_signal(number_of_signal)
    assert program.wait(60) != 0
    assert traces(number) == []


def test_what_a_killed_run_left_is_cleaned_by_the_next(hold):
    program, number = hold("wait")
    program.kill()
    program.wait(60)
    assert any("namespace" in one for one in traces(number))
    with Lab() as lab:
        cleaned = [one for one in traces(number) if lab.number != number]
        assert cleaned == []
        assert network.namespaces_of(f"nb{number}") in ([], [lab.name])
    assert traces(number) == []


def test_nothing_is_left_when_opening_is_interrupted(monkeypatch):
    def interrupt(lab):
        interrupted.append(lab.number)
        raise KeyboardInterrupt

    interrupted = []
    monkeypatch.setattr(network, "start_router", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Lab():
        pass
    assert traces(interrupted[0]) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_client_started_by_a_thread_outlives_it():
    with Lab() as lab, ThreadPoolExecutor(2) as threads:
        clients = list(threads.map(lambda _: lab.client("bios", memory_mib=256), range(2)))
        threads.shutdown()
        assert clients[0].mac != clients[1].mac
        for client in clients:
            client.wait_for("SeaBIOS", timeout=60)
            client.close()


def test_clean_leaves_a_living_lab_alone():
    with Lab() as lab:
        assert lab.number not in clean()
        assert lab.run(["true"]).returncode == 0


def test_two_labs_side_by_side():
    with Lab() as one, Lab() as other:
        assert one.network != other.network
        first, second = one.server("netboot1"), other.server("netboot1")
        assert first.run(["hostname"]).stdout == second.run(["hostname"]).stdout == "netboot1\n"
        reach = ["bash", "-c", f"exec 3<>/dev/tcp/{second.address}/22"]
        assert other.run(reach, check=False, timeout=10).returncode == 0
        # No route from one to the other, so it is refused at once.
        assert one.run(reach, check=False, timeout=10, capture_output=True).returncode != 0


def test_a_client_gets_an_address_from_the_router(tmp_path):
    with Lab() as lab, lab.capture(tmp_path / "lan.pcap"), lab.client("bios") as client:
        # iPXE in the card's ROM; there is no netboot server, so it finds an address and no file.
        client.wait_for(rf"net0: {client.address}/", timeout=90)
        picture = client.screenshot(tmp_path / "screen.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
    # IPv6 with ICMP of type 134 and hop limit 255: the router has said that it has no IPv6.
    said = rb"\x86\xdd.{6}\x3a\xff.{32}\x86\x00"
    assert re.search(said, (tmp_path / "lan.pcap").read_bytes(), re.DOTALL)


def test_a_machine_keeps_its_disk_when_the_plug_is_pulled():
    with Lab() as lab:
        server = lab.server("netboot1")
        server.run(["sh", "-c", "echo kept > /root/note; sync"])
        server.kill()
        with pytest.raises(LabError, match="is not running"):
            server.run(["true"])
        server.start()
        assert server.run(["cat", "/root/note"]).stdout == "kept\n"
        server.stop()
        server.start()
        assert server.run(["cat", "/root/note"]).stdout == "kept\n"


def test_apt_has_what_was_asked_for_and_no_more():
    with Lab() as lab:
        server = lab.server("netboot1", packages=["dnsmasq-base"])
        server.run(["apt-get", "-q", "update"])
        assert server.run(["apt-get", "-qy", "install", "nginx"], check=False).returncode != 0
        server.run(["apt-get", "-qy", "install", "dnsmasq-base"])
        server.run(["dnsmasq", "--version"])


def test_unknown_firmware_is_named():
    with Lab() as lab, pytest.raises(LabError, match="efi-x86_64"):
        lab.client("coreboot")
