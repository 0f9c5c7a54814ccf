"""
Hosts that a netboot server installs become minions: a real master, a netboot server that is its
minion, minions with the keys that travel in answers, and a hostile minion.

The machine that is installed is a network namespace that reports as its installer would, and a
minion there. The tests of a netboot server build on each other.
"""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from lab.master import VENV
from lab.roots import salt_program
from lab.salt import CHECKOUT, PROGRAMS
from tests.accepting import accept, accepting_master, keys_of, new_key, openssl, wait_until
from tests.conftest import made_lan
from tests.machines import MAC, Machines
from tests.servers import INSTALLED

LONG = pytest.mark.long
# Sends to the master what no minion sends. Words: directory of a minion, address of the master; it
# reads JSON of a list of [id, version of the protocol, load].
FORGE = """
import json, signal, sys, time, uuid
import salt.channel.client, salt.config
from salt.channel.client import AsyncReqChannel

directory, address = sys.argv[1:]
opts = salt.config.minion_config(f"{directory}/minion")
opts.update(master_uri=f"tcp://{address}:4506", master_ip=address, request_channel_tries=1,
            request_channel_timeout=5)

usual = AsyncReqChannel._package_load

def package(self, load, nonce=None, session_crypticle=None):
    if self.crypt == "clear":  # it logs in
        return usual(self, load, nonce)
    load = {**load, "nonce": nonce or uuid.uuid4().hex, "ts": int(time.time())}
    if self.version == 2:  # the key that all minions share, and no proof of who it is
        return {"enc": "aes", "load": self.auth.crypticle.dumps(load), "version": 2}
    load["tok"] = self.auth.gen_token(b"salt")
    sealed = (session_crypticle or self.auth.session_crypticle).dumps(load)
    return {"enc": "aes", "load": sealed, "version": 3, "id": opts["id"]}

def give_up(*_):  # of a refused message, clients send their keys again and again
    raise TimeoutError

AsyncReqChannel._package_load = package
signal.signal(signal.SIGALRM, give_up)
for id_, AsyncReqChannel.version, load in json.load(sys.stdin):
    signal.alarm(6)
    try:
        with salt.channel.client.ReqChannel.factory(opts, crypt="aes") as channel:
            channel.send({**load, "id": id_})
    except Exception as err:
        print(type(err).__name__, err)
    signal.alarm(0)
"""
HASH = "$6$saltsalt$" + "a" * 86
NAMES = ("pc1", "pc2", "pc3")


class Host(SimpleNamespace):
    """A host of the pillar, its minion, and what its machine reports."""

    minion = None

    def arm(self):
        """Arm it; returns what is printed, and keeps the pair of keys that its answers have."""
        (armed,) = self.lan.salt.call(self.lan.server, "netboot.arm", self.name)
        prefix = self.lan.server.run(["cat", f"/var/lib/netboot-once/{self.name}.ipxe"]).stdout
        self.prefix = prefix.partition("set nb-via ")[2].split()[0]
        token = self.prefix.rpartition(".")[2]
        path = f"/var/lib/netboot-answers/armed/{self.name}.{token}/minion.pem"
        self.pem = self.lan.server.run(["cat", path]).stdout
        self.pub = openssl("rsa", "-pubout", input=self.pem)
        return armed

    def install(self):
        """Its machine boots, fetches the answers, and reports that it is installed."""
        ask = self.lan.machines.ask
        assert ask(f"/once/{self.name}.ipxe", by=self.number)[0] == 200
        wait_until(
            lambda: ask(f"{self.prefix}/answers/efi/autoinstall.scm", by=self.number)[0] == 200
        )
        assert ask(f"{self.prefix}/did/installed", by=self.number) == (200, 0)

    def start(self):
        """Start a minion with this pair of keys, as the first boot does."""
        return Minion(self.lan, self.name, self.pem)

    def is_known(self):
        """Whether the master has this very key of it."""
        path = self.lan.keys / "minions" / self.name
        return path.is_file() and path.read_text().split() == self.pub.split()

    def answers(self):
        return self.lan.salt.run(self.name, "test.ping", "--timeout=3").returncode == 0


class Minion:
    """A minion's daemon in the lab's network, with these keys."""

    count = itertools.count()

    def __init__(self, lan, name, pem):
        self._lan = lan
        self.directory = lan.lab.directory / f"minion-{next(self.count)}"
        pki = self.directory / "etc/salt/pki/minion"
        pki.mkdir(parents=True)
        (pki / "minion.pem").write_text(pem)
        (pki / "minion.pub").write_text(openssl("rsa", "-pubout", input=pem))
        settings = {
            "id": name,
            "master": lan.lab.address,
            "root_dir": str(self.directory),
            "rejected_retry": True,
            "acceptance_wait_time": 2,
            "random_reauth_delay": 1,
            "mine_enabled": False,
        }
        (self.directory / "minion").write_text(yaml.safe_dump(settings))
        self._process = lan.lab.popen(
            [str(PROGRAMS / "salt-minion"), f"--config-dir={self.directory}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def call(self, *argv):
        """Run salt-call with this minion's keys."""
        command = [str(PROGRAMS / "salt-call"), f"--config-dir={self.directory}", "--out=json"]
        done = self._lan.lab.run([*command, *argv], check=False, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["local"]

    def stop(self):
        self._process.terminate()
        self._process.wait()


class Hostile(Minion):
    """One that sends what no minion sends."""

    def __init__(self, lan, name, pem):
        super().__init__(lan, name, pem)
        self._name = name

    def mine(self, of, keys, version=3):
        """A message: the mine of this minion has these keys."""
        told = {id_: {"pub": pub, "installed": True} for id_, pub in keys.items()}
        data = {"netboot_minion_keys": told}
        return [of, version, {"cmd": "_mine", "data": data, "clear": False}]

    def event(self, by, id_, pub):
        """A message: this netboot server has this key. That of another is one of several events."""
        data = {"id": id_, "pub": pub, "host": id_, "armed_at": 1, "installed": True}
        tag = "netboot/minion/key"
        if by == self._name:
            return [by, 3, {"cmd": "_minion_event", "tag": tag, "data": data}]
        events = [{"tag": tag, "data": {"id": by, "data": data}}]
        return [self._name, 3, {"cmd": "_minion_event", "events": events}]

    def send(self, *messages):
        command = [sys.executable, "-c", FORGE, str(self.directory), self._lan.lab.address]
        self._lan.lab.run(command, input=json.dumps(messages), capture_output=True, timeout=200)


def decided(lan, text):
    """Whether the master's log has a decision with this text."""
    lines = lan.log.read_text(errors="replace").splitlines()
    return any("netboot_minions: " in line and text in line for line in lines)


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    with made(tmp_path_factory) as found:
        yield found


@contextlib.contextmanager
def made(tmp_path_factory, binds=(), **minion):
    """A master and a netboot server, whose minion is started with these arguments."""
    with made_lan(tmp_path_factory, installed=INSTALLED, binds=[VENV, *binds]) as found:
        found.pillar.update(
            installs={
                "school": {
                    "disk": "all",
                    "root_password": HASH,
                    "salt": {"master": found.lab.address},
                }
            },
            hosts={
                name: {"mac": MAC.format(number), "image": "ALT p11", "install": "school"}
                for number, name in enumerate(NAMES, 1)
            },
        )
        found.salt = accepting_master(found.lab, found.server, found.pillar, **minion)
        found.log = found.lab.logs / "salt-master.log"
        found.keys = keys_of(found.salt)
        done = found.salt.apply(found.server)
        assert done.failed == {}, done.failed
        found.machines = Machines(found)
        found.hosts = {
            name: Host(lan=found, name=name, number=number) for number, name in enumerate(NAMES, 1)
        }
        yield found


def minion_of(host):
    """The minion of a host, which is armed first; its key is there before the machine is."""
    if host.minion:
        return host.minion
    armed = host.arm()
    wait_until(host.is_known)
    said = f"netboot1 asks for minion {host.name}, fingerprint {armed['finger']}: accepted"
    assert decided(host.lan, said)
    host.minion = host.start()
    wait_until(host.answers)
    sent = ["cat", "/var/lib/netboot/owned/minion-keys.json"]
    wait_until(lambda: '"answered": true' in host.lan.server.run(sent).stdout)
    return host.minion


def test_an_armed_host_is_an_accepted_minion(lan):
    assert minion_of(lan.hosts["pc1"])


@LONG
def test_a_netboot_server_with_salt_3006(tmp_path_factory):
    program = salt_program("3006.28")
    words = ["env", f"PYTHONPATH={program}", str(PROGRAMS / "python"), f"{program}/bin/salt-minion"]
    with made(tmp_path_factory, binds=[program], program=words) as lan:
        assert lan.salt.call(lan.server, "test.version") == "3006.28"
        assert minion_of(lan.hosts["pc1"])


# Words: the runner, a directory. Prints what the runner finds and leaves of keys there.
STORED = """
import importlib.util, os, sys
import salt.config

path, root = sys.argv[1:]
opts = {**salt.config.DEFAULT_MASTER_OPTS, "id": "m_master", "user": "root", "__role": "master"}
opts.update({one: f"{root}/{one}" for one in ("pki_dir", "cachedir", "sock_dir", "conf_file")})
spec = importlib.util.spec_from_file_location("netboot_minions", path)
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)
runner.__opts__ = opts
for state, key in (("minions", "old"), ("minions_pre", "waits"), ("minions_denied", "denied")):
    for id_ in ("pc1", "pc2"):
        os.makedirs(f"{root}/pki_dir/{state}", exist_ok=True)
        with open(f"{root}/pki_dir/{state}/{id_}", "w") as file:
            file.write(key)
runner._store("pc1", "new")
runner._store_denied("pc1", [])
print(salt.config.__file__.split("/salt/config")[0], runner._verifies_senders())
print(runner._keys("pc1"), sorted(runner._keys("pc2")))
"""


@LONG
@pytest.mark.parametrize("version", ["3006.28", "3007.15"])
def test_keys_on_masters_of_other_versions(tmp_path, version):
    """Only how they are kept; the rest of a master is the newest."""
    program = salt_program(version)
    runner = CHECKOUT / "salt/_runners/netboot_minions.py"
    done = subprocess.run(
        [sys.executable, "-c", STORED, str(runner), str(tmp_path)],
        env={"PYTHONPATH": str(program)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        f"{program} True",
        "{'minions': 'new'} ['minions', 'minions_denied', 'minions_pre']",
    ]
    assert (tmp_path / "pki_dir/minions/pc1").stat().st_mode & 0o777 == 0o600


@LONG
def test_a_highstate_of_the_users_runs(lan):
    """By the command of the first boot."""
    states = lan.salt.directory / "states"
    states.mkdir(exist_ok=True)
    (states / "top.sls").write_text("base: {pc1: [school]}\n")
    (states / "school.sls").write_text("school: {test.nop: []}\n")
    done = minion_of(lan.hosts["pc1"]).call("state.apply")
    assert [state["__sls__"] for state in done.values()] == ["school"]


@LONG
def test_a_machine_that_is_installed_again(lan):
    """Its key is replaced when it is installed and its old minion is gone, and no sooner."""
    host = lan.hosts["pc1"]
    old = minion_of(host)
    host.arm()
    wait_until(lambda: decided(lan, "another key is accepted until the host is installed"))
    assert host.answers()
    assert not host.is_known()
    host.install()
    new = host.start()
    denied = lan.keys / "minions_denied/pc1"
    wait_until(denied.is_file)
    wait_until(lambda: decided(lan, "the minion with the accepted key is connected"), 120)
    assert host.answers()
    assert not host.is_known()
    old.stop()
    wait_until(host.is_known, 180)
    wait_until(host.answers)
    assert not denied.exists()
    new.stop()


@LONG
def test_an_id_that_an_admin_rejected_stays_so(lan):
    host = lan.hosts["pc3"]
    rejected = lan.keys / "minions_rejected/pc3"
    rejected.parent.mkdir(exist_ok=True)
    rejected.write_text(new_key()[1])
    host.arm()
    wait_until(lambda: decided(lan, "asks for minion pc3"))
    assert decided(lan, "an admin has rejected this minion")
    assert rejected.exists()
    assert not host.is_known()
    rejected.unlink()


@LONG
def test_a_hostile_netboot_server(lan):
    """
    It has a key of its own for each id in its own mine, tries to put them into the other server's,
    and asks for them in its own name and in that of the other. Its own host is accepted.
    """
    desk_pem, desk = new_key()
    accept(lan.salt, "desk", desk)
    minion = Minion(lan, "desk", desk_pem)
    wait_until(lambda: lan.salt.run("desk", "test.ping", "--timeout=3").returncode == 0)
    master = socket.gethostname()
    pem, public = new_key()
    accept(lan.salt, "netboot2", public)
    good = new_key()[1]
    wanted = {
        "pc2": "names no host that is installed as this minion",
        "pc3": "netboot1 names this host, too",
        master: "that is the minion of the master",
        "netboot1": "the id is one of netboot servers",
        "netboot2": "it asks for itself",
        "*": "an id is not plain",
        "../x": "an id is not plain",
        "desk": "the minion with the accepted key is connected",
    }
    no_keys = ["", new_key(1024)[1], good + "A" * 100_000]
    named = [*(set(wanted) - {"pc2"}), "own"]
    hosts = {name: {"install": "school"} for name in named}
    pillar = {"netboot": {"installs": lan.pillar["installs"], "hosts": hosts}}
    path = lan.salt.directory / "pillar/hostile.sls"
    path.write_text(yaml.safe_dump(pillar))
    hostile = Hostile(lan, "netboot2", pem)
    wait_until(lambda: lan.salt.run("netboot2", "test.ping", "--timeout=3").returncode == 0)

    ours = mine_of_netboot1(lan)
    for version in (3, 2):
        hostile.send(hostile.mine("netboot1", dict.fromkeys(wanted, good), version))
    assert mine_of_netboot1(lan) == ours
    heard = lan.salt.listen("netboot/minion/*ed")
    hostile.send(
        hostile.mine("netboot2", {**dict.fromkeys(wanted, good), "own": good}),
        *(hostile.event(by, id_, good) for id_ in wanted for by in ("netboot2", "netboot1")),
        *(hostile.event(by, "own", key) for key in no_keys for by in ("netboot2", "netboot1")),
    )
    wait_until(lambda: len(heard()) == 2 * (len(wanted) + len(no_keys)), 120)
    assert {tag for tag, _ in heard()} == {"netboot/minion/refused"}
    found = [data for _, data in heard()]
    for id_, why in wanted.items():
        (said,) = (
            one["why"]
            for one in found
            if one["netboot"] == "netboot2" and one["id"] in (id_, ascii(id_)) and one["finger"]
        )
        assert why in said
    (forged,) = (one for one in found if (one["netboot"], one["id"]) == ("netboot1", "pc2"))
    assert forged["why"] == "the mine of netboot1 does not have this key"
    no_key = [one["why"] for one in found if (one["netboot"], one["id"]) == ("netboot2", "own")]
    assert len(no_key) == len(no_keys)
    assert all("not an RSA key of at least 2048 bits" in why for why in no_key)
    assert (lan.keys / "minions/desk").read_text() == desk
    known = {path.name for path in (lan.keys / "minions").iterdir() if path.read_text() == good}
    assert known == set()
    hostile.send(hostile.event("netboot2", "own", good))
    wait_until(lambda: (lan.keys / "minions/own").is_file())
    assert (lan.keys / "minions/own").read_text() == good
    # A master that lets minions pass for each other would be deceived.
    lan.salt.restart(lan.server, minimum_auth_version=0)
    hostile.send(hostile.mine("netboot1", {"pc2": good}, version=2))
    assert mine_of_netboot1(lan)["netboot1"]["pc2"]["pub"] == good
    hostile.send(hostile.event("netboot1", "pc2", good))
    wait_until(lambda: decided(lan, "this master lets minions pass for each other"))
    assert not (lan.keys / "minions/pc2").exists()
    for one in (minion, hostile):
        one.stop()


def mine_of_netboot1(lan):
    return lan.salt.call(lan.server, "mine.get", "netboot1", "netboot_minion_keys")
