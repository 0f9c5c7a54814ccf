"""netboot.doctor by Salt's loader, on this machine, which is no netboot server."""

import netboot_doctor


def keys(modules, **named):
    found = modules.netboot.doctor(**named)
    assert [set(one) for one in found] == [{"key", "severity", "text"}] * len(found)
    order = [("error", "warning", "info").index(one["severity"]) for one in found]
    assert order == sorted(order), "the worst comes first"
    return {one["key"] for one in found}


def test_without_pillar_and_record(modules):
    """As over salt-ssh, before the first apply."""
    assert "pillar.missing" in keys(modules)


def test_record_is_enough(modules, configured):
    """As with the master away; all looks work, whatever they find here."""
    (one,) = configured()["interfaces"]
    here = "127.0.0.1"  # nothing leaves this machine
    configured(address=here, interfaces=[{**one, "name": "eth9", "address": here}])
    found = keys(modules)
    assert "pillar.missing" not in found
    assert "look.failed" not in found
    assert "interface.missing" in found


def test_what_was_applied_is_not_outdated(modules, records, configured):
    config = configured()
    resolved = {"problems": [], "warnings": [], "config": config}
    records.remove("applied", "config")
    states = {
        "resolved": {"netboot": ["config_resolved", {"name": "x"}, {"config": config}]},
        "applied": {"netboot": ["config_applied", {"name": "x"}, {"order": "last"}]},
    }
    assert not modules.state.high(states).failed
    applied = records.applied()
    assert netboot_doctor._of_pillar(resolved, applied, records) == []
    ((key, _, _),) = netboot_doctor._of_pillar(resolved, {**applied, "prune": True}, records)
    assert key == "apply.outdated"


def test_damaged_record(modules, configured, records):
    configured()
    path = records._path("applied", "config")
    with open(path, "w", encoding="ascii") as file:
        file.write("{")
    found = keys(modules)
    assert "records.damaged" in found
    assert "pillar.missing" not in found
