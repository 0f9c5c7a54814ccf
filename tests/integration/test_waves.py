"""Images rolled out in waves by a real master to three servers at two sites, and back.

The tests build on each other. Revisions of the image have names of their own, or not.
"""

import json
import os
import time

import pytest
import yaml

from lab import Lab
from lab.iso import make_iso
from lab.master import VENV, Master
from lab.salt import CHECKOUT, PROGRAMS
from tests.accepting import wait_until
from tests.servers import INSTALLED

pytestmark = pytest.mark.long
NAME, LABEL = "ALT p11", "alt_p11"
SITES = {"netboot1": "a", "netboot2": "b", "netboot3": "b"}


class Fleet:
    """A master, its servers, the web server with the ISO's revisions, and the pillar."""

    def __init__(self, lab, folder, isos):
        self.lab, self.folder, self.isos = lab, folder, isos
        self.web = lab.web(folder)
        self.master = Master(lab, {}, timeout=20, module_dirs=[])  # as with gitfs
        config = f"--config-dir={self.master.directory}"
        lab.run([str(PROGRAMS / "salt-run"), config, "saltutil.sync_runners"])
        self.more = {}
        self.machines = {
            name: lab.server(name, installed=INSTALLED, binds=[CHECKOUT, VENV]) for name in SITES
        }
        self.revise(1)
        for machine in self.machines.values():
            self.master.add_minion(machine, mine_interval=60)

    def revise(self, number, file=None):
        """Put a revision into everybody's pillar, and its ISO on the web server."""
        iso = self.isos[number]
        self.file = file or f"alt-{number}.iso"
        path = self.folder / self.file
        path.unlink(missing_ok=True)
        os.link(iso.path, path)
        checksum = {"sha256": iso.sha256}
        self.image = {"url": f"{self.web.url}/{self.file}", "checksum": checksum}
        self.write()

    def write(self, **more):
        self.more.update(more)
        pillar = {
            **{"images": {NAME: self.image}, "waves": True, "interface": "eth0"},
            **{"dhcp": {"mode": "off"}, "probe": False, "methods": ["http"], **self.more},
        }
        directory = self.master.directory / "pillar"
        self.master.write_pillar({"netboot": pillar})
        top = {"base": {"*": ["all"], **{name: [f"site_{SITES[name]}"] for name in SITES}}}
        for site in SITES.values():
            (directory / f"site_{site}.sls").write_text(yaml.safe_dump({"netboot": {"site": site}}))
        (directory / "top.sls").write_text(yaml.safe_dump(top))

    def run(self, function, *words, status=0):
        """What the runner returns, as lines."""
        config = f"--config-dir={self.master.directory}"
        argv = [str(PROGRAMS / "salt-run"), config, "--out=json", f"netboot_waves.{function}"]
        done = self.lab.run([*argv, *words], check=False, cwd=CHECKOUT, capture_output=True)
        assert done.returncode == status, done.stdout + done.stderr
        said = json.loads(done.stdout)
        return (said["report"] if isinstance(said, dict) else said).splitlines()

    def begin(self, *words):
        """Start a roll, until servers are applying; returns the process."""
        config = f"--config-dir={self.master.directory}"
        argv = [str(PROGRAMS / "salt-run"), config, "netboot_waves.roll", "netboot*"]
        process = self.lab.popen([*argv, *words], cwd=CHECKOUT)
        wait_until(lambda: "applying" in self.run("report")[1], 60)
        return process

    def roll(self, *words, status=0):
        return self.run("roll", "netboot*", "hours=0.1", *words, status=status)

    def apply(self, name, *words):
        done = self.master.apply(self.machines[name], "netboot", *words)
        assert done.failed == {}, done.text
        return done

    def revisions(self):
        """Which revision each server's tree is; its ISO must be the same."""
        found = {}
        for name, machine in self.machines.items():
            record = machine.run(["cat", f"/var/lib/netboot/images/{LABEL}.json"]).stdout
            record = json.loads(record)
            iso = machine.run(["sha256sum", record["iso"]]).stdout.split()[0]
            assert iso == record["iso_sha256"], name
            live = machine.run(["sha256sum", f"{record['tree']}/live"]).stdout.split()[0]
            assert live == record["facts"]["sha256"]["live"], name
            found[name] = next(key for key, one in self.isos.items() if one.sha256 == iso)
        return found

    def fetched(self):
        """How many bytes of ISOs the web server has sent so far."""
        return sum(one["bytes"] for one in self.web.requests() if one["path"].endswith(".iso"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    isos = {
        number: make_iso(
            tmp_path_factory.mktemp(f"iso{number}"), stage_mib=1, edition=f"e{number}", boots=False
        )
        for number in (1, 2)
    }
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        yield Fleet(lab, folder, isos)


def test_first_install_comes_at_once(fleet):
    """All sites in one wave."""
    report = fleet.roll("waves=[100]")
    assert report[0].endswith("to netboot*: done.")
    assert report[1] == "Wave 1 (100 %): 2 sites, 3 servers: 3 good."
    assert report[2] == "Looked at from another minion of the site: 2; from itself: 1."
    assert set(fleet.revisions().values()) == {1}
    assert fleet.run("report", "netboot*")[0].startswith("netboot1: ")


def test_the_schedule_holds_it(fleet):
    fleet.revise(2)
    sent = fleet.fetched()
    done = fleet.apply("netboot1")
    said = done.states[f"netboot-image-{LABEL}-fetched"]["comment"]
    assert "Another revision waits for its wave." in said
    assert fleet.revisions()["netboot1"] == 1
    assert fleet.fetched() == sent


def test_a_wave_stops_at_a_failing_site(fleet):
    """The first site is good; of the second one server cannot serve, and says why."""
    fleet.machines["netboot2"].run(["systemctl", "mask", "--now", "nginx"])
    report = fleet.roll("waves=[50]", status=1)
    assert "stopped in wave 2 of 2 (the rest)" in report[0]
    assert report[1] == "Wave 1 (50 %): 1 site, 1 server: 1 good."
    assert report[2] == "Wave 2 (the rest): 1 site, 2 servers: 1 failed, 1 good."
    assert report[4].startswith("b: netboot2: netboot-http-")
    assert report[5].startswith("Mend what failed, then salt-run netboot_waves.resume; ")
    refused = fleet.run("roll", "netboot*", status=1)
    assert "The last roll is not finished: salt-run netboot_waves.resume" in refused[-1]


def test_it_resumes_once_it_is_mended(fleet):
    fleet.machines["netboot2"].run(["systemctl", "unmask", "nginx"])
    report = fleet.run("resume")
    assert report[0].endswith("to netboot*: done.")
    assert set(fleet.revisions().values()) == {2}


def test_back_without_a_byte(fleet):
    sent, begun = fleet.fetched(), time.monotonic()
    report = fleet.run("back")
    took = time.monotonic() - begun
    assert report[0].endswith("to netboot*: back.")
    assert set(fleet.revisions().values()) == {1}
    assert fleet.fetched() == sent
    assert took < 60
    said = fleet.apply("netboot3").states[f"netboot-image-{LABEL}-ready"]["comment"]
    assert "Another revision waits for its wave." in said
    assert fleet.revisions()["netboot3"] == 1


def test_through(fleet):
    fleet.roll("waves=[100]")
    machine = fleet.machines["netboot1"]
    assert machine.run(["ls", f"/srv/export/.previous/{LABEL}"]).stdout.split() == ["iso", "tree"]
    report = fleet.run("through")
    assert report[0].endswith("to netboot*: through.")
    assert report[-1] == "Nothing is left to do."
    assert machine.run(["ls", "-A", "/srv/export/.previous"], check=False).returncode
    assert set(fleet.revisions().values()) == {2}


def test_one_roll_at_a_time_and_a_killed_one_resumes(fleet):
    fleet.revise(1)
    with fleet.begin("waves=[100]") as process:
        refused = fleet.run("roll", "netboot*", status=1)
        assert "Another roll is running" in refused[-1]
        process.kill()
    report = fleet.run("report")
    assert "interrupted in wave 1 of 1 (100 %)" in report[0]
    assert report[-1].startswith("Mend what failed, then salt-run netboot_waves.resume")
    assert fleet.run("resume")[1] == "Wave 1 (100 %): 2 sites, 3 servers: 3 good."
    assert set(fleet.revisions().values()) == {1}
    fleet.run("through")


def test_orchestration_and_few_events(fleet):
    """It says whether all is good; a server's apply is few events of all kinds."""
    fleet.revise(2, "alt-1.iso")  # the same name
    heard = fleet.master.listen("*")
    config = f"--config-dir={fleet.master.directory}"
    roll = {"tgt": "netboot*", "waves": [100]}
    argv = [str(PROGRAMS / "salt-run"), config, "state.orchestrate", "orch.netboot_waves"]
    argv.append(f"pillar={json.dumps({'roll': roll})}")
    done = fleet.lab.run(argv, check=False, cwd=CHECKOUT, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Wave 1 (100 %): 2 sites, 3 servers: 3 good." in done.stdout
    assert set(fleet.revisions().values()) == {2}
    events = [(tag, data) for tag, data in heard() if data.get("id") == "netboot1"]
    own = [(tag, data["data"]) for tag, data in events if tag.startswith("netboot/")]
    assert [tag for tag, _data in own] == [f"netboot/iso/{LABEL}/refreshed", "netboot/applied"]
    assert own[1][1]["images"] == {NAME: fleet.isos[2].sha256[:12]}
    (applied,) = (tag for tag, data in events if data.get("fun") == "state.apply")
    job = [tag for tag, _data in events if tag.startswith("salt/job/" + applied.split("/")[2])]
    print(sorted({tag for tag, _data in events}))
    assert len(job) + len(own) <= 6


def test_back_from_the_same_name(fleet):
    sent = fleet.fetched()
    fleet.run("back")
    assert set(fleet.revisions().values()) == {1}
    assert fleet.fetched() == sent


def test_a_restart_waits_for_the_window(fleet):
    machine = fleet.machines["netboot1"]
    hour = int(machine.run(["date", "+%H"]).stdout)
    window = {"from": f"{(hour + 2) % 24}:00", "to": f"{(hour + 4) % 24}:00"}
    fleet.write(window=window, tftp={"ports": [50000, 50999]})
    before = machine.run(["systemctl", "show", "-pMainPID", "netboot-dnsmasq"]).stdout

    def pid():
        return machine.run(["systemctl", "show", "-pMainPID", "netboot-dnsmasq"]).stdout

    for words in ([], ["test=True"]):
        said = fleet.apply("netboot1", *words).states["netboot-dhcp-service"]
        assert said["comment"].startswith(
            "netboot-dnsmasq must be restarted. It waits for the window ("
        )
        assert (said["result"], said["changes"]) == (True, {})
    assert pid() == before
    listed = fleet.master.call(machine, "netboot.check")
    assert "service.waits" in {one["key"] for one in listed}
    given = json.dumps({"netboot": {"window": {"open": True}}})
    fleet.apply("netboot1", f"pillar={given}")
    assert pid() != before
