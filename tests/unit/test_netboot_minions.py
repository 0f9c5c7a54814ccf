"""Which keys of minions a master accepts: tables for the runner's decision, without a master."""

import importlib.util
import subprocess

import pytest

import netboot_arming
import netboot_host_scripts
import netboot_minion_keys
from tests.conftest import CHECKOUT


def load():
    path = CHECKOUT / "salt/_runners/netboot_minions.py"
    spec = importlib.util.spec_from_file_location("netboot_minions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load()


def public(*made):
    """A public key that OpenSSL makes by these words."""
    private = subprocess.run(["openssl", *made], check=True, capture_output=True).stdout
    words = ["openssl", "pkey", "-pubout"]
    return subprocess.run(words, input=private, check=True, capture_output=True).stdout.decode()


KEY = public("genrsa", "2048")
OTHER = public("genrsa", "2048")
SALT = {"salt": {"master": "salt.example.org"}}


def pillar(hosts, **keys):
    return {"netboot": {"installs": {"room": SALT, "own": {}}, "hosts": hosts, **keys}}


PILLARS = {
    "netboot1": pillar({"pc1": {"install": "room"}, "pc2": {"install": "room"}}),
    "netboot2": pillar(
        {
            "pc2": {"install": "room"},
            "pc3": {"install": "room"},
            "plain": {"image": "p11"},
            "ownmade": {"install": "own"},
            "netboot1": {"install": "room"},
            "netboot2": {"install": "room"},
            "netboot9": {"install": "room"},
            "salt": {"install": "room"},
            "server5": {"install": "room"},
            "*": {"install": "room"},
            "../x": {"install": "room"},
            "a/b": {"install": "room"},
            "a\nb": {"install": "room"},
        }
    ),
    "server5": {"netboot": {"images": {}}},
}


def refusal(id_, key=KEY, netboot="netboot2", pillars=PILLARS):
    return runner._refusal(
        id_, runner._rsa_key(key), netboot, pillars, {"salt", "salt_master"}, ["netboot*"]
    )


def test_a_host_of_the_server_is_accepted():
    assert refusal("pc3") == ""
    assert refusal("pc1", netboot="netboot1") == ""


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("pc1", "names no host that is installed as this minion"),
        ("pc2", "netboot1 names this host, too"),
        ("plain", "names no host that is installed as this minion"),
        ("ownmade", "names no host that is installed as this minion"),
        ("netboot1", "one of netboot servers"),
        ("netboot9", "one of netboot servers"),
        ("NETBOOT9", "one of netboot servers"),
        ("netboot2", "asks for itself"),
        ("server5", "is a netboot server"),
        ("salt", "the minion of the master"),
        ("SALT", "the minion of the master"),
        ("pc4", "names no host that is installed as this minion"),
        *((id_, "not plain") for id_ in ("*", "../x", "a/b", "a\nb", "a..b", "", ".x", None, 1)),
        ("x" * 300, "not plain"),
    ],
)
def test_a_hostile_server_asks(id_, why):
    """Its pillar is the admin's; even one that names all these would not help."""
    assert why in refusal(id_)


@pytest.mark.parametrize(
    "key",
    [
        "",
        None,
        7,
        "-----BEGIN PUBLIC KEY-----\n\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "x" * 10_000_000,
        KEY + "x" * 10_000_000,
        KEY + KEY,
        KEY.replace("PUBLIC", "PRIVATE"),
        KEY.replace("MIIB", "MIIC"),
        KEY.replace("A\n-----END", "B\n-----END").replace("B\n-----END", "AAAA\n-----END"),
        f"{KEY}\nssh-rsa AAAA",
        f"\n{KEY}",
        public("genrsa", "1024"),
        public("genpkey", "-algorithm", "ed25519"),
        public("ecparam", "-name", "prime256v1", "-genkey"),
    ],
    ids=range(16),
)
def test_what_is_not_such_a_key(key):
    assert "not an RSA key" in refusal("pc3", key)


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_key_is_written_as_openssl_does(bits):
    key = public("genrsa", str(bits))
    assert runner._rsa_key(key) == key
    assert runner._rsa_key(key.strip()) == key


def test_an_even_modulus_or_exponent_is_no_key():
    for modulus, exponent in ((1 << 2047, 65537), ((1 << 2047) + 1, 2), ((1 << 2047) + 1, 1)):
        der = runner._encoded(modulus, exponent)
        text = runner.base64.encodebytes(der).decode()
        made = f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"
        assert runner._rsa_key(made) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        None,
        {"netboot": None},
        {"netboot": []},
        {"netboot": {"hosts": ["pc3"]}},
        {"_errors": ["x"], **PILLARS["netboot2"]},
        pillar({"pc3": {"install": "none"}}),
        pillar({"pc3": {"install": ["room"]}}),
        pillar({"pc3": None}),
        pillar({"pc3": {"group": "a", "entry": "local"}}, groups={"a": {"install": "room"}}),
        pillar({"pc3": {"install": "room"}}, arms=False),
        pillar({"pc3": {"install": "room"}}, arms="http://192.0.2.1"),
    ],
    ids=range(12),
)
def test_pillars_that_allow_nothing(wrong):
    assert refusal("pc3", pillars={"netboot2": wrong}) != ""


def test_a_reserve_server_with_the_same_pillar_is_in_nobodys_way():
    other = pillar({"pc3": {"install": "room"}}, arms=False)
    assert refusal("pc3", pillars={**PILLARS, "netboot3": other}) == ""


def test_groups_give_installs():
    one = pillar({"pc3": {"group": "a"}}, groups={"a": {"install": "room"}})
    assert refusal("pc3", pillars={"netboot2": one}) == ""


HOSTS = {
    "pc1": {},
    "52:54:00:00:00:01": {},
    "5254.0000.0002": {},
    "52-54-00-00-00-0A": {},
    "4C4C4544-0000-2010-8020-80C04F202021": {},
    "other": {"hostname": "pc9.example.org", "mac": "52:54:00:00:00:03"},
    "named": {"mac": "52:54:00:00:00:04"},
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_has_the_id_that_its_server_gives_it(name, monkeypatch):
    monkeypatch.setattr(netboot_host_scripts.netboot_answers, "kernel_words", lambda _: [])
    host = {**HOSTS[name], "install": "room"}
    there = netboot_host_scripts._installed(name, host, {"installs": {"room": {}}})
    assert runner._minions(pillar({name: host}), installed=True) == {there["hostname"]}


H = 3600


@pytest.mark.parametrize(
    ("there", "age_s", "step"),
    [
        ({}, 0, "accept"),
        ({"minions_pre": KEY}, 0, "accept"),
        ({"minions_pre": KEY.strip()}, 999 * H, "accept"),
        ({"minions_pre": OTHER}, 0, "another key waits"),
        ({"minions": KEY.strip()}, 999 * H, "accepted before"),
        ({"minions": OTHER}, 0, "replace"),
        ({"minions": OTHER}, 192 * H - 1, "replace"),
        ({"minions": OTHER}, 192 * H, "older than 192 hours"),
        ({"minions": OTHER, "minions_denied": KEY}, 0, "replace"),
        ({"minions": OTHER, "minions_denied": OTHER}, 0, "replace"),
        ({"minions": KEY, "minions_denied": OTHER}, 0, "accepted before"),
        ({"minions_denied": OTHER}, 0, "accept"),
        ({"minions_pre": OTHER, "minions_denied": KEY}, 0, "another key waits"),
        ({"minions_rejected": KEY}, 0, "rejected"),
        ({"minions_rejected": OTHER}, 0, "rejected"),
        ({"minions_rejected": OTHER, "minions_denied": KEY}, 0, "rejected"),
    ],
)
def test_what_is_on_the_master_decides(there, age_s, step):
    assert step in runner._step(there, runner._rsa_key(KEY), age_s, 192, installed=True)


@pytest.mark.parametrize(
    ("there", "step"),
    [
        ({}, "accept"),
        ({"minions_pre": KEY}, "accept"),
        ({"minions": KEY}, "accepted before"),
        ({"minions": OTHER}, "until the host is installed"),
    ],
)
def test_what_may_still_run_is_not_replaced(there, step):
    assert step in runner._step(there, runner._rsa_key(KEY), 0, 192, installed=False)


@pytest.mark.parametrize(
    ("hours", "is_taken"), [(0, 1), (6, 1), (-1, 0), ("6", 0), (None, 0), (True, 0)]
)
def test_hours_are_a_number(hours, is_taken, monkeypatch):
    monkeypatch.setattr(runner, "__opts__", {"netboot.key_hours": hours}, raising=False)
    assert runner._hours() == (hours if is_taken else None)


class StandIn:
    """What the runner asks of a master, made up; what it stores."""

    def __init__(self, monkeypatch):
        self.keys = {"netboot2": {"minions": OTHER}, "pc3": {}}
        self.mine = {"pc3": {"pub": KEY, "installed": True}}
        self.opts = {"minimum_auth_version": 3}
        self.connected = False
        self.cache = {}
        self.stored, self.denied = None, None
        self.now = 1000
        replaced = {
            "__opts__": self.opts,
            "__salt__": {"mine.get": lambda *_, **__: {"netboot2": self.mine}},
            "_MINE_S": 0,
            "_keys": lambda id_: self.keys[id_],
            "_pillars": lambda *_: PILLARS,
            "_own_ids": lambda: {"salt"},
            "_answers": lambda _: self.connected,
            "_store": lambda id_, key: setattr(self, "stored", (id_, key)),
            "_store_denied": lambda id_, keys: setattr(self, "denied", (id_, keys)),
        }
        for name, one in replaced.items():
            monkeypatch.setattr(runner, name, one, raising=False)
        monkeypatch.setattr(runner.salt.cache, "Cache", lambda *_: self)
        monkeypatch.setattr(runner.time, "time", lambda: self.now)

    def fetch(self, bank, key):
        return self.cache.get((bank, key))

    def store(self, bank, key, data):
        self.cache[bank, key] = data

    def asked(self, id_="pc3", pub=KEY, netboot="netboot2"):
        key, why = runner._decided(id_, pub, netboot)
        assert (why == "") == (self.stored == (id_, key))
        return why


@pytest.fixture
def stand_in(monkeypatch):
    return StandIn(monkeypatch)


def test_stand_in_accepts(stand_in):
    stand_in.mine["pc3"]["installed"] = False
    assert stand_in.asked() == ""
    assert stand_in.denied is None


def test_stand_in_replaces_a_key(stand_in):
    stand_in.keys["pc3"] = {"minions": OTHER}
    for one in (False, None, "yes", 1):
        stand_in.mine["pc3"]["installed"] = one
        assert "until the host is installed" in stand_in.asked()
    stand_in.mine["pc3"]["installed"] = True
    stand_in.connected = True
    assert "is connected" in stand_in.asked()
    stand_in.connected = False
    stand_in.now += 192 * H - 1
    assert stand_in.asked() == ""
    stand_in.stored = None
    stand_in.now += 1
    assert "older than 192 hours" in stand_in.asked()
    # A new arming begins again.
    new = public("genrsa", "2048")
    stand_in.mine = {"pc3": {"pub": new, "installed": True}}
    assert stand_in.asked(pub=new) == ""


@pytest.mark.parametrize(
    ("denied", "left"), [(KEY, []), ([OTHER, KEY], [OTHER]), (OTHER, None), ([], None)]
)
@pytest.mark.parametrize("accepted", [OTHER, KEY])
def test_stand_in_clears_only_the_denied_key_that_it_accepts(stand_in, accepted, denied, left):
    stand_in.keys["pc3"] = {"minions": accepted, "minions_denied": denied}
    key, why = runner._decided("pc3", KEY, "netboot2")
    assert why == ("" if accepted == OTHER else "it was accepted before")
    assert stand_in.denied == (None if left is None else ("pc3", left))


def test_stand_in_leaves_what_it_does_not_accept(stand_in):
    stand_in.keys["pc3"] = {"minions": OTHER, "minions_denied": KEY}
    stand_in.connected = True
    assert "is connected" in stand_in.asked()
    assert stand_in.denied is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mine": {}}, "does not have this key"),
        ({"mine": {"pc3": {"pub": OTHER}}}, "does not have this key"),
        ({"mine": {"pc2": {"pub": KEY}}}, "does not have this key"),
        ({"mine": {"pc3": KEY}}, "does not have this key"),
        ({"mine": KEY}, "does not have this key"),
        ({"keys": {"netboot2": {"minions_pre": OTHER}, "pc3": {}}}, "not an accepted minion"),
        ({"opts": {"minimum_auth_version": 2}}, "lets minions pass for each other"),
        ({"opts": {"minimum_auth_version": 3, "netboot.key_hours": "6"}}, "not a number"),
    ],
)
def test_stand_in_refuses(stand_in, change, why, monkeypatch):
    for name, one in change.items():
        setattr(stand_in, name, one)
    monkeypatch.setattr(runner, "__opts__", stand_in.opts)
    assert why in stand_in.asked()


def test_salt_that_cannot_verify_senders(stand_in, monkeypatch):
    monkeypatch.setattr(runner.salt.config, "DEFAULT_MASTER_OPTS", {})
    assert "lets minions pass for each other" in stand_in.asked()


def test_fingerprints_are_those_of_netboot_arm():
    assert runner._finger(KEY) == netboot_minion_keys.finger(KEY) == netboot_arming.finger(KEY)
    assert runner._finger("") == netboot_minion_keys.finger("") == ""


# -- what the netboot server sends -----------------------------------------------------------------


def arming(**more):
    return {
        "arming": "a",
        "host": "pc1",
        "armed_at": 1000,
        "dropped": False,
        "minion": {"id": "pc1", "pub": KEY},
        **more,
    }


DAY = 86400


@pytest.mark.parametrize(
    ("more", "now", "there"),
    [
        ({}, 1000, True),
        ({}, 1000 + 8 * DAY - 1, True),
        ({}, 1000 + 8 * DAY, False),
        ({"until": 1000 + 30 * DAY}, 1000 + 20 * DAY, True),
        ({"dropped": True}, 1000, False),
        ({"armed_at": 0}, 1000, False),
        ({"minion": {}}, 1000, False),
        ({"minion": {"id": "pc1", "pub": ""}}, 1000, False),
    ],
)
def test_armed_hosts_have_keys(more, now, there):
    found = netboot_minion_keys.current({"pc1": arming(**more)}, now, 7 * DAY)
    assert bool(found) == there


def test_a_host_armed_by_an_older_version_has_none():
    old = {key: value for key, value in arming().items() if key != "minion"}
    assert netboot_minion_keys.current({"pc1": old}, 1000, 7 * DAY) == {}


def times(until, installed_at=0, answered_at=None):
    """When the key of a host that was armed at 1000 is sent, looked each 30 seconds."""
    sent, found = {}, []
    for now in range(1000, until, 30):
        installed = {"pc1": installed_at if installed_at <= now else 0}
        if netboot_minion_keys.due({"pc1": arming()}, installed, sent, now):
            found.append(now - 1000)
            mark = netboot_minion_keys.finger(KEY)
            sent["pc1"] = {"finger": mark, "at": now, "answered": False}
        if answered_at and now >= answered_at and sent:
            sent["pc1"]["answered"] = True
    return found


def test_a_key_is_sent_at_once_then_more_and_more_seldom():
    assert times(1000 + 4 * H) == [0, 60, 120, 240, 480, 960, 1920, 3840, 7680]
    days = times(1000 + 3 * DAY)
    assert {later - one for one, later in zip(days[-6:], days[-5:])} == {6 * H}


def test_a_key_is_sent_until_it_is_answered():
    assert times(1000 + 4 * H, answered_at=1090) == [0, 60]


def test_a_key_is_sent_again_soon_after_the_install():
    found = times(6000 + 5 * H, installed_at=6000)
    assert [one for one in found if one >= 5000][:4] == [5010, 5070, 5160, 5340]
    assert found[-1] - found[-2] == H


@pytest.mark.parametrize(
    ("steps", "at"),
    [
        ([], 0),
        ([["started", 5], ["bootloader", 7]], 0),
        ([["started", 5], ["installed", 8], ["first-boot", 9]], 8),
        ([["failed-bootloader", 7]], 0),
        ([["first-boot", 9, "", ""], ["minion", 10]], 9),
    ],
)
def test_when_a_host_was_installed(steps, at):
    install = {"arming": "a", "steps": steps}
    assert netboot_minion_keys.installed_at(arming(), install) == at
    assert netboot_minion_keys.installed_at(arming(arming="b"), install) == 0
    assert netboot_minion_keys.installed_at(arming(), None) == 0


def test_another_key_is_sent_at_once():
    sent = {"pc1": {"finger": netboot_minion_keys.finger(OTHER), "at": 1000, "answered": True}}
    assert netboot_minion_keys.due({"pc1": arming()}, {}, sent, 1001) == ["pc1"]
