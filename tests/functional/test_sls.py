"""Every SLS renders, alone and together; of a wrong pillar only the state that says so is left."""

import pytest
import salt.fileclient
import salt.pillar
import yaml
from saltfactories.utils.functional import Loaders

from tests.conftest import CHECKOUT
from tests.unit.test_layers import FILES, functions

SLS = sorted(path.stem for path in (CHECKOUT / "salt/netboot").glob("*.sls"))
IMAGE = {
    "url": "http://192.0.2.1/alt-p11-x86_64.iso",
    "checksum": {"sha256": "0" * 64},
}
PILLAR = {"interface": "lo", "images": {"ALT p11": IMAGE}}
HOST = {"image": "ALT p11", "variant": "install"}
CONTROL = {"nfs": {"control": ["rpcbind"]}}
# What the state compiler adds to arguments, and requisites.
STATE_KEYWORDS = {"state", "fun", "name", "order", "failhard", "__id__", "__env__", "__sls__"}
STATE_KEYWORDS |= {"require", "onchanges", "reload_modules", "__sls_included_from__"}
PLATFORMS = yaml.safe_load((CHECKOUT / "salt/netboot/platforms.yaml").read_text())


@pytest.fixture
def rendered(modules):
    def _rendered(sls, netboot):
        shown = modules.state.show_sls(sls, pillar={"netboot": netboot})
        assert isinstance(shown, dict), shown
        return shown

    return _rendered


def names(sls):
    return [f"netboot.{name}" if name != "init" else "netboot" for name in sls]


@pytest.mark.parametrize("sls", names(sorted(set(SLS) - {"invalid"})))
def test_renders(rendered, sls):
    states = rendered(sls, PILLAR)
    assert all(name.startswith("netboot-") for name in states)
    assert "netboot-config-valid" not in states
    # It needs no directories and puts nothing on record.
    assert ("netboot-config-applied" in states) == (sls != "netboot.clean")


@pytest.mark.parametrize(("mirror", "makes"), [("off", False), ("only", True), ("also", True)])
def test_deltas(rendered, mirror, makes):
    mirrors = {} if mirror == "off" else {"mirror": mirror}
    states = rendered("netboot", {**PILLAR, "deltas": True, **mirrors})
    assert "netboot-deltas-packages" in states
    assert ("netboot-mirror-deltas" in states) == makes
    assert "netboot-deltas-packages" not in rendered("netboot", {**PILLAR, **mirrors})


@pytest.mark.parametrize("sls", names(SLS))
def test_wrong_pillar_leaves_one_state(rendered, sls):
    states = rendered(sls, {**PILLAR, "imags": {}, "interface": "eth77"})
    assert list(states) == ["netboot-config-valid"]


@pytest.mark.parametrize("netboot", [[], "x", {"images": 3}, {"images": {"a": None}}, None])
def test_pillar_of_any_shape_renders(rendered, netboot):
    assert rendered("netboot", netboot)


@pytest.mark.parametrize("sls", ["netboot", "netboot.clean"])
@pytest.mark.parametrize(
    "more",
    [
        {"images": {"ALT p11": {**IMAGE, "mount": True}}},
        {"methods": ["http", "cifs", "nfs", "ftp"], "hosts": {"pc1": {**HOST, "once": True}}},
        {
            "firewall": "off",
            "admins": {"alice": {"keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"]}},
            "platform": CONTROL,
        },
    ],
)
def test_states_and_their_arguments_exist(modules, loaders, sls, more):
    """A state with an unknown argument would end the apply before it begins."""
    lowered = modules.state.show_low_sls(sls, pillar={"netboot": {**PILLAR, **more}})
    ours = 0
    for chunk in lowered:
        name = f"{chunk['state']}.{chunk['fun']}"
        assert name in loaders.states, name
        file = f"_states/{chunk['state']}"
        if file in FILES:
            known = {argument.arg for argument in functions(file)[chunk["fun"]].args.args}
            assert set(chunk) - STATE_KEYWORDS <= known, name
            ours += 1
    assert ours > 5


def test_wrong_pillar_fails_with_every_problem(modules):
    for test in (True, False):
        applied = modules.state.apply(
            "netboot", pillar={"netboot": {**PILLAR, "imags": {}, "interface": "eth77"}}, test=test
        )
        (state,) = applied.raw.values()
        assert state["result"] is False
        assert state["changes"] == {}
        assert "netboot:imags: unknown key, did you mean images?" in state["comment"]
        assert "netboot:interface: this machine has no interface 'eth77'" in state["comment"]


def test_newer_records_stop_the_apply_before_anything_changes(modules, state_dir, tmp_path):
    pillar = {"netboot": {**PILLAR, "root": str(tmp_path / "export")}}
    (state_dir / "schema.json").write_text('{"schema": 2}')
    try:
        # Only netboot.base: what it writes is below the root of this test.
        for test in (True, False):
            done = modules.state.apply("netboot.base", pillar=pillar, test=test).raw.values()
            (first,) = (one for one in done if one["__id__"] == "netboot-config-resolved")
            assert (first["result"], first["__run_num__"]) == (False, 0)
            assert "update netboot-alt, or restore a backup" in first["comment"]
        # Under test=True Salt goes on after a failure.
        assert not any(one["changes"] for one in done)
        assert not (tmp_path / "export").exists()
    finally:
        (state_dir / "schema.json").unlink()


@pytest.mark.parametrize("sls", ["netboot", "netboot.clean"])
def test_newer_records_are_met_first(modules, sls):
    """Only looked at: netboot.clean would remove things of this machine."""
    first = modules.state.show_low_sls(sls, pillar={"netboot": PILLAR})[0]
    assert (first["state"], first["fun"], first["failhard"]) == ("netboot", "config_resolved", True)


def test_number_of_states_grows_with_images_only(rendered):
    one = rendered("netboot", PILLAR)
    other = {**IMAGE, "url": "http://192.0.2.1/b.iso"}
    two = rendered("netboot", {**PILLAR, "images": {"ALT p11": IMAGE, "b": other}})
    assert len(two) == len(one) + 3


def test_mirror_has_nothing_for_clients(rendered):
    states = rendered("netboot", {**PILLAR, "mirror": "only"})
    assert "netboot-mirror-sums" in states
    assert {one.split("-")[1] for one in states} <= {
        *("config", "root", "staging", "ports", "http", "images", "image", "mirror", "firewall"),
        *("admins", "schedule", "events", "applied"),
    }
    assert "netboot-image-alt_p11-ready" not in states
    also = rendered("netboot", {**PILLAR, "mirror": "also"})
    assert {"netboot-mirror-sums", "netboot-image-alt_p11-ready"} <= set(also)


def test_mirror_needs_its_key(modules):
    (told,) = (
        state["comment"]
        for state in modules.state.sls("netboot.mirror", pillar={"netboot": PILLAR}, test=True)
        if state.id == "netboot-mirror"
    )
    assert "netboot:mirror: is missing; only: " in told


def test_hosts_are_in_no_state(rendered):
    """Thousands of them would not fit into what salt-ssh passes on."""
    host = {"image": "ALT p11", "variant": "install", "once": True}
    one = rendered("netboot", {**PILLAR, "hosts": {"teacher0": host}})
    many = rendered("netboot", {**PILLAR, "hosts": {f"teacher{n}": host for n in range(500)}})
    assert list(one) == list(many)
    assert "netboot-once-armed" in one
    assert "teacher" not in str(many)


def test_leases_are_in_no_state(rendered):
    dhcp = {
        "mode": "server",
        "subnets": {"203.0.113.0/24": {"range": ["203.0.113.9"] * 2, "router": "203.0.113.1"}},
        "leases": {"52:54:00:00:00:01": {"address": "203.0.113.8", "hostname": "teacher0"}},
    }
    states = rendered("netboot", {**PILLAR, "dhcp": dhcp})
    assert "203.0.113.9" in str(states)
    assert "teacher" not in str(states)


# Who renders, by what `opts` have then. A minion's files and pillar come from here all the same.
WORLDS = {
    "masterless": {},
    "ssh": {"__master_opts__": {}},
    "minion": {"file_client": "remote"},
}


@pytest.fixture(params=WORLDS)
def world(request, minion_opts, monkeypatch):
    monkeypatch.setattr(salt.fileclient, "RemoteClient", salt.fileclient.FSClient)
    monkeypatch.setattr(salt.pillar, "RemotePillar", salt.pillar.Pillar)
    loaders = Loaders({**minion_opts, **WORLDS[request.param]})

    def _states(sls="netboot.schedule", **netboot):
        shown = loaders.modules.state.show_sls(sls, pillar={"netboot": {**PILLAR, **netboot}})
        found = {}
        for name, state in shown.items():
            ((module, words),) = ((key, words) for key, words in state.items() if key[:2] != "__")
            function = next(word for word in words if isinstance(word, str))
            found[name] = f"{module}.{function}"
        return {name: state for name, state in found.items() if "schedule" in name}

    _states.name = request.param
    yield _states
    loaders.reset_state()


def test_schedule_is_kept_by_what_is_there(world):
    units = {name: f"netboot-schedule-{name}" for name in ("service", "timer")}
    no_timer = {units["timer"]: "netboot_service.absent"}
    unscheduled = {
        "masterless": no_timer,
        "ssh": no_timer,
        "minion": {"netboot-schedule": "schedule.absent", **no_timer},
    }
    scheduled = {
        "masterless": {
            **dict.fromkeys(units.values(), "netboot_file.written"),
            "netboot-schedule": "netboot_service.current",
        },
        "ssh": {"netboot-schedule": "test.show_notification", **no_timer},
        "minion": {"netboot-schedule": "schedule.present", **no_timer},
    }
    assert world() == unscheduled[world.name]
    assert world(schedule={"hours": 24}) == scheduled[world.name]
    assert world(schedule={"hours": 24, "minutes": 3}) == {}


def test_pillar_is_checked_once_an_apply(modules):
    first = modules.netboot.config({**PILLAR, "root": "/srv/a"}, PLATFORMS)
    assert modules.netboot.config({**PILLAR, "root": "/srv/a"}, PLATFORMS) is first
    other = modules.netboot.config({**PILLAR, "root": "/srv/b"}, PLATFORMS)
    assert other["config"]["root"] == "/srv/b"


def words(value):
    """All texts in what was rendered, names of keys too."""
    if isinstance(value, dict):
        return {word for pair in value.items() for one in pair for word in words(one)}
    if isinstance(value, list):
        return {word for one in value for word in words(one)}
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize("name", PLATFORMS)
def test_renders_for_every_platform(rendered, name):
    """Which of them a system is, tests/unit/test_platforms.py shows."""
    row = PLATFORMS[name]
    pillar = {**PILLAR, "platform": row, "methods": ["http", "cifs", "nfs", "ftp"]}
    states = rendered("netboot", pillar)
    said = words(states)
    for section, keys in row.items():
        for value in words(list(keys.values())):
            assert value in said or any(value in word for word in said), (section, value)
    assert any("netboot_control" in word for word in said) == (name == "altlinux")
    # Nothing of another system: each says by itself what is only its own.
    others = set().union(*(words(other) for key, other in PLATFORMS.items() if key != name))
    assert said & (others - words(row)) == set()
    removed = words(rendered("netboot.clean", pillar))
    site = f"{row['nginx']['directory']}/{row['nginx']['site']}"
    assert {site, row["smb"]["config"], row["nfs"]["exports"]} <= removed
    assert any("netboot_control" in word for word in removed) == (name == "altlinux")
