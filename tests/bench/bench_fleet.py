"""
What many servers with many images cost their master: one real master, real minions, a replay.

    .venv/bin/python -m tests.bench.bench_fleet [MINIONS [REPLAYED [IMAGES]]]

30 lab machines, each with its own system, Salt minion and services, from a disk on which these
states were applied once; 50 images (small ISOs) and 25 hosts a machine. All apply unchanged states
by one job, each after a random time (Salt's splay), as the processors are shared. Then 200 minions
that do not exist ask that master for what the real ones asked, by Salt's own channel
(tests/fleet.py), together.

It prints: seconds of an apply; for each apply the master's processor time, events on its bus, bytes
of the pillar, of what is returned and of all over the network, and requests by kind (Salt's
master_stats); the master's memory. It fails on a failed or changed state, never on time.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgpack
import psutil

from lab import Lab
from lab.master import VENV, Master
from lab.salt import CHECKOUT, PROGRAMS
from tests.bench.bench_apply import SMALL
from tests.isos import make_iso
from tests.servers import INSTALLED

HOSTS = 25
# Machines at a time on the copied disk; seconds of the splay for each, as all share the processors.
AT_ONCE = 4
EACH_S = 5
STATS_S = 5
# 25 hosts of the minion's own site; as a pillar that a site's people keep would be.
SITE = """
{% set site = grains.id | replace('netboot', '') | int %}
netboot:
  hosts:
{% for number in range(HOSTS) %}
    pc{{ site }}-{{ number }}:
      mac: '52:54:00:{{ '%02x' % (site % 256) }}:00:{{ '%02x' % number }}'
      image: alt-{{ number % IMAGES }}
      variant: livecd
{% endfor %}
"""


def images(lab, base, count):
    """So many small ISOs on a web server; returns the pillar's images."""
    found = {}
    web = lab.web(base)
    for number in range(count):
        iso = Path(make_iso(base / f"alt-{number}.iso", SMALL, {"number": os.urandom(8)}))
        digest = subprocess.run(["sha256sum", iso], check=True, capture_output=True, text=True)
        checksum = {"sha256": digest.stdout.split()[0]}
        found[iso.stem] = {"url": f"{web.url}/{iso.name}", "checksum": checksum}
    return found


class Fleet:
    """A master and its minions."""

    def __init__(self, lab, pillar):
        self.lab, self.machines = lab, []
        self.master = Master(
            lab,
            pillar,
            master_stats=True,
            master_stats_event_iter=STATS_S,
            fileserver_list_cache_time=20,
        )
        directory = self.master.directory / "pillar"
        (directory / "site.sls").write_text(
            SITE.replace("HOSTS", str(HOSTS)).replace(
                "IMAGES", str(len(pillar["netboot"]["images"]))
            )
        )
        (directory / "top.sls").write_text("base: {'*': [all, site]}\n")
        self._process = psutil.Process(self.master._process.pid)

    def start(self, name, **more):
        machine = self.lab.server(name, binds=[CHECKOUT, VENV], **more)
        self.master._configure(machine, {})
        program = str(PROGRAMS / "salt-minion")
        machine.run(["systemd-run", "--unit=salt-minion", "--property=KillMode=process", program])
        self.machines.append(machine)
        return machine

    def salt(self, *words):
        """What minions return, by name."""
        done = self.master.run(*words)
        decoder, text, found = json.JSONDecoder(), done.stdout, {}
        while (at := text.find("{")) >= 0:
            try:
                answer, end = decoder.raw_decode(text[at:])
            except ValueError:
                raise AssertionError(done.stdout[-3000:] + done.stderr[-3000:]) from None
            found.update(answer)
            text = text[at + end :]
        return found

    def forget(self, name):
        """A minion that is gone would be waited for."""
        words = [f"--config-dir={self.master.directory}", "--yes", "--delete", name]
        self.lab.run([str(PROGRAMS / "salt-key"), *words], cwd=CHECKOUT, capture_output=True)

    def up(self, timeout=600):
        deadline = time.monotonic() + timeout
        names = {machine.name for machine in self.machines}
        while missing := names - {
            name
            for name, said in self.salt("*", "test.ping", "--timeout=10").items()
            if said is True
        }:
            assert time.monotonic() < deadline, f"no answer: {missing}"

    def cpu_s(self):
        """Processor time of the master's processes, ended ones too."""
        times = self._process.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in self._process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                own = child.cpu_times()
                total += own.user + own.system
        return total

    def memory(self):
        """Bytes of memory of its processes, what they share counted once."""
        found = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                found += process.memory_full_info().pss
        return found

    def bytes(self):
        """Bytes that the machines have exchanged with the lab."""
        lines = self.lab.run(["cat", "/proc/net/dev"], capture_output=True).stdout.splitlines()
        ports = [line.split() for line in lines if line.strip().startswith("machine")]
        return sum(int(words[1]) + int(words[9]) for words in ports)


def of_apply(name, states):
    wrong = [one for one in states.values() if one["result"] is False or one["changes"]]
    assert not wrong, (name, [(one["__id__"], one["comment"], one["changes"]) for one in wrong][:5])
    return sum(one["duration"] for one in states.values()) / 1000


def requests(events):
    """Requests by kind, of master_stats' events."""
    found = Counter()
    for tag, data in events:
        if tag.startswith("salt/stats/"):
            for command, stats in data["stats"].items():
                found[command] += stats["runs"]
    return found


def returned(events):
    """How many minions have returned an apply."""
    return sum("/ret/" in tag and data["fun"] == "state.apply" for tag, data in events)


def quiet(fleet, heard):
    """Wait until each of the master's workers has said what it did."""
    time.sleep(STATS_S + 1)
    fleet.salt("*", "test.ping")
    time.sleep(1)
    return len(heard())


def report(title, count, figures):
    print(f"\n{title}")
    for name, value, unit in figures:
        print(f"  {name:46} {value:>10} {unit}")
    sys.stdout.flush()
    return count


def measure(fleet, heard):
    """Apply everywhere; print what it costs, and return the requests of one apply."""
    count = len(fleet.machines)
    first = quiet(fleet, heard)
    before = fleet.cpu_s(), fleet.bytes()
    began = time.monotonic()
    splay = json.dumps({"splaytime": EACH_S * count})
    executors = ["--module-executors=[splay, direct_call]", f"--executor-opts={splay}"]
    fleet.master.run("*", "--async", *executors, "state.apply")
    while returned(heard()[first:]) < count:
        assert time.monotonic() - began < 60 * count, "some do not return"
        time.sleep(1)
    took = time.monotonic() - began
    cpu, network = fleet.cpu_s() - before[0], fleet.bytes() - before[1]
    memory = fleet.memory()
    at_end = len(heard())
    quiet(fleet, heard)
    states, returns = {}, []
    for tag, data in heard()[first:at_end]:
        if "/ret/" in tag and data.get("fun") in ("state.apply", "state.highstate"):
            states[data["id"]] = data["return"]
            returns.append(data)
    sizes = [len(msgpack.packb(one, default=str)) / 1e3 for one in returns]
    seconds = [of_apply(name, found) for name, found in states.items()]
    assert len(seconds) == count, Counter(tag for tag, _ in heard()).most_common(40)
    tags = Counter(
        "/".join(part for part in tag.split("/") if not part.isdigit() and part not in states)
        for tag, _ in heard()[first:at_end]
        if not tag.startswith("salt/stats/") and len(tag) != 20
    )
    asked = requests(heard()[first:])
    pillar = fleet.salt(fleet.machines[-1].name, "pillar.items", "unmask=True")
    own = pillar[fleet.machines[-1].name]
    report(
        f"{count} minions, {len(own['netboot']['images'])} images, "
        f"{len(own['netboot']['hosts'])} hosts each, unchanged, within {EACH_S * count} s",
        count,
        [
            ("all applied after", f"{took:.0f}", "s"),
            ("states of one apply, median", f"{statistics.median(seconds):.1f}", "s"),
            ("states in one apply", len(next(iter(states.values()))), ""),
            ("master's processors, an apply", f"{cpu / count:.2f}", "s"),
            ("master's memory", f"{memory / 1e6:.0f}", "MB"),
            ("pillar of a minion", f"{len(msgpack.packb(own)) / 1e3:.1f}", "kB"),
            ("returned by an apply", f"{statistics.median(sizes):.1f}", "kB"),
            ("network, an apply", f"{network / count / 1e3:.0f}", "kB"),
            ("events, an apply", f"{sum(tags.values()) / count:.1f}", ""),
            *((f"  {tag}", f"{number / count:.2f}", "") for tag, number in tags.most_common(12)),
            *((f"  request {name}", f"{n / count:.1f}", "") for name, n in asked.most_common(20)),
        ],
    )
    return {name: n / count for name, n in asked.items()}, returns[0]


def replay(fleet, count, asked, answer):
    """The same of minions that do not exist, all at once."""
    machine = fleet.machines[0]
    grains = fleet.salt(machine.name, "grains.items")[machine.name]
    plan = {
        "master": fleet.lab.address,
        "directory": str(fleet.lab.directory / "replay"),
        "minions": [f"netboot{number}" for number in range(1001, 1001 + count)],
        "requests": asked,
        "grains": grains,
        "return": answer,
    }
    before, began = fleet.cpu_s(), time.monotonic()
    done = fleet.lab.run(
        [sys.executable, "-m", "tests.fleet"],
        input=json.dumps(plan, default=str),
        capture_output=True,
        cwd=CHECKOUT,
    )
    took, cpu = time.monotonic() - began, fleet.cpu_s() - before
    told = json.loads(done.stdout.splitlines()[-1])
    report(
        f"{count} minions replayed, all at once",
        count,
        [
            ("all done after", f"{told['seconds']:.0f}", "s"),
            ("a minion, median", f"{statistics.median(told['each_s']):.1f}", "s"),
            ("keys accepted and sessions begun after", f"{told['auth_s']:.0f}", "s"),
            ("failures", len(told["failures"]), ""),
            ("requests", told["requests"], ""),
            ("master's processors, an apply", f"{cpu / count:.2f}", "s"),
            ("master's processors used", f"{cpu / took:.2f}", ""),
            ("master's memory", f"{fleet.memory() / 1e6:.0f}", "MB"),
        ],
    )
    for failure in told["failures"][:5]:
        print(f"    {failure}")


def main():
    words = [int(word) for word in sys.argv[1:]]
    count, replayed, number = [*words, *[30, 200, 50][len(words) :]]
    with (
        tempfile.TemporaryDirectory(prefix="netboot-bench.", dir="/var/tmp") as base,  # noqa: S108
        room_for(count),
        Lab() as lab,
        contextlib.ExitStack() as stack,
    ):
        pillar = {"interface": "eth0", "images": images(lab, Path(base), number)}
        fleet = Fleet(lab, {"netboot": pillar})
        first = fleet.start("netboot1", installed=INSTALLED)
        fleet.up()
        heard = fleet.master.listen("*")
        began = time.monotonic()
        states = fleet.salt("netboot1", "state.apply")["netboot1"]
        wrong = [one["comment"] for one in states.values() if one["result"] is False]
        assert not wrong, wrong
        print(f"the first apply, with {number} images to fetch: {time.monotonic() - began:.0f} s")
        root = stack.enter_context(disk_of(first))
        fleet.machines.clear()
        fleet.forget("netboot1")
        for one in range(1, count + 1):
            fleet.start(f"netboot{one + 1}", root=root)
        fleet.up()
        # On a copied disk the records are those of other files.
        began = time.monotonic()
        fleet.salt("*", "state.apply", f"--batch-size={AT_ONCE}", "--batch-wait=0")
        print(
            f"{count} minions on copies of its disk, first apply: {time.monotonic() - began:.0f} s"
        )
        asked, answer = measure(fleet, heard)
        replay(fleet, replayed, asked, answer)


@contextlib.contextmanager
def room_for(machines):
    """While the block runs, so many systemds can watch files: each takes nine of root's 128."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    was = int(limit.read_text())
    limit.write_text(str(max(was, 128 + 16 * machines)))
    try:
        yield
    finally:
        limit.write_text(str(was))


@contextlib.contextmanager
def disk_of(machine):
    """Shut a machine down; while the block runs, its disk is a directory that others begin as."""
    machine.run(["rm", "-rf", "/etc/salt/pki"])
    machine.stop()
    directory = machine._directory
    disk = directory / "disk"
    disk.mkdir()
    layers = f"lowerdir={directory / 'upper'}:{machine._root}"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


if __name__ == "__main__":
    main()
