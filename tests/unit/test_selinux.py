"""Where SELinux is on: which of Salt's states are called. SELinux itself is nowhere here."""

import json
import re

import jinja2
import pytest
import yaml

from _states import netboot_selinux
from tests.conftest import CHECKOUT
from tests.unit.test_netboot_pillar import resolve

# The real one, but for the question to the machine.
MAP = re.sub(
    r"\{%- import_yaml .*\n\{%- set checked = .*",
    "{%- set checked = {'problems': [], 'warnings': [], 'config': given} %}",
    (CHECKOUT / "salt/netboot/map.jinja").read_text(),
)


@pytest.fixture
def called(monkeypatch):
    """The calls of Salt's states; each has something to do."""
    calls = []

    def state(name):
        def _call(**arguments):
            calls.append((name, arguments))
            return {"result": True, "changes": {"new": name}, "comment": ""}

        return _call

    names = ["fcontext_policy_absent", "fcontext_policy_applied", "fcontext_policy_present"]
    names.append("port_policy_present")
    states = {f"selinux.{name}": state(name) for name in names}
    monkeypatch.setattr(netboot_selinux, "__states__", states, raising=False)
    monkeypatch.setattr(netboot_selinux, "__opts__", {"test": False}, raising=False)
    return calls


def test_folder_and_what_will_be_in_it_is_labeled(called, tmp_path):
    folder = tmp_path / "ex.port"
    folder.mkdir()
    done = netboot_selinux.labeled(str(folder), "public_content_t")
    spec = str(folder).replace(".", r"\.") + "(/.*)?"
    assert called == [
        ("fcontext_policy_present", {"name": spec, "sel_type": "public_content_t"}),
        ("fcontext_policy_applied", {"name": str(folder), "recursive": True}),
    ]
    assert done["result"] is True
    assert set(done["changes"]) == {"fcontext_policy_present", "fcontext_policy_applied"}
    called.clear()
    netboot_selinux.unlabeled(str(folder))
    assert called == [
        ("fcontext_policy_absent", {"name": spec}),
        ("fcontext_policy_applied", {"name": str(folder), "recursive": True}),
    ]


def test_folder_that_is_not_there_yet_has_nothing_to_relabel(called):
    netboot_selinux.labeled("/no/such", "bin_t")
    assert [name for name, _ in called] == ["fcontext_policy_present"]


def test_port(called):
    assert netboot_selinux.http_port(8888)["result"] is True
    assert called == [("port_policy_present", {"name": "tcp/8888", "sel_type": "http_port_t"})]


def test_failure_ends_it(called):
    def refuse(**_):
        return {"result": False, "changes": {}, "comment": "no"}

    netboot_selinux.__states__["selinux.fcontext_policy_present"] = refuse
    done = netboot_selinux.labeled("/", "bin_t")
    assert (done["result"], done["comment"], called) == (False, "no", [])


@pytest.mark.parametrize(("test", "result"), [(True, None), (False, False)])
def test_semanage_is_not_there(called, monkeypatch, test, result):
    monkeypatch.setattr(netboot_selinux, "__states__", {})
    monkeypatch.setitem(netboot_selinux.__opts__, "test", test)
    assert netboot_selinux.labeled("/", "bin_t")["result"] is result
    assert netboot_selinux.unlabeled("/")["result"] is True


def rendered(sls, pillar, **target):
    """The states of an SLS, with their arguments as one map each."""
    text = (CHECKOUT / "salt/netboot" / f"{sls}.sls").read_text()
    loader = jinja2.DictLoader({"netboot/map.jinja": MAP, sls: text})
    environment = jinja2.Environment(loader=loader, extensions=["jinja2.ext.do"])  # noqa: S701
    environment.filters["json"] = json.dumps
    given = resolve(pillar, **target)["config"]
    states = yaml.safe_load(
        environment.get_template(sls, globals={"given": given}).render(opts={}, pillar={})
    )
    return {
        state: {key: value for one in body[function] for key, value in one.items()}
        for state, bodies in states.items()
        if state != "include"
        for body, function in [(bodies, next(iter(bodies)))]
    }


def test_what_is_labeled():
    states = rendered("selinux", {"root": "/srv/own"}, platform=["fedora"], selinux=True)
    assert {
        one["name"]: one["selinux_type"] for one in states.values() if "selinux_type" in one
    } == {
        "/srv/own": "public_content_t",
        "/var/lib/netboot-once": "public_content_t",
        "/var/lib/netboot-answers": "public_content_t",
        "/var/lib/netboot-status/www": "public_content_t",
        "/var/lib/netboot-dnsmasq": "dnsmasq_lease_t",
        "/usr/local/lib/netboot": "bin_t",
    }
    assert states["netboot-selinux-packages"]["pkgs"] == ["policycoreutils-python-utils"]
    assert "netboot-clean-selinux" in rendered("clean", {}, selinux=True)


def test_port_of_one_s_own():
    states = rendered("selinux", {"http": {"port": 8888}}, selinux=True)
    assert states["netboot-selinux-port-8888"]["name"] == 8888
    assert not [name for name in rendered("selinux", {}, selinux=True) if "port" in name]


def test_without_selinux_nothing_is_labeled():
    assert rendered("selinux", {}) == {}
    assert "netboot-clean-selinux" not in rendered("clean", {})
