"""Waves from sites, and the report: tables for the master's runner, without a master."""

import json
import sys

import pytest
from salt.exceptions import CommandExecutionError

from tests.conftest import CHECKOUT

sys.path.append(str(CHECKOUT / "salt/_runners"))
import netboot_wave_jobs as jobs  # noqa: E402
import netboot_wave_report as plan  # noqa: E402
import netboot_waves as runner  # noqa: E402

PERCENTS = (1, 5, 20)


def servers(sites, each=1, **of):
    found = {
        f"s{site}-{number}": {"site": f"s{site}", "mirror": "", "waves": True}
        for site in range(1, sites + 1)
        for number in range(each)
    }
    return {**found, **of}


def sizes(waves):
    return [(wave["name"], len(wave["sites"])) for wave in waves]


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        (1, [("1 %", 1)]),
        (3, [("1 %", 1), ("5 %", 1), ("20 %", 1)]),
        (10, [("1 %", 1), ("5 %", 1), ("20 %", 2), ("the rest", 6)]),
        (200, [("1 %", 2), ("5 %", 10), ("20 %", 40), ("the rest", 148)]),
    ],
)
def test_waves(sites, expected):
    """One site at least; all servers of a site are in one wave; none is in two."""
    found = servers(sites, each=2)
    made = plan.waves(found, PERCENTS, [])
    assert sizes(made) == expected
    ids = [id_ for wave in made for id_ in plan.ids_of(wave)]
    assert sorted(ids) == sorted(found)
    for wave in made:
        for site, those in wave["sites"].items():
            assert those == [f"{site}-0", f"{site}-1"]
    assert plan.waves(dict(reversed(found.items())), PERCENTS, []) == made


def test_mirrors_come_first_and_named_sites_next():
    mirror = {"site": "hub", "mirror": "only", "waves": False}
    made = plan.waves(servers(12, hub=mirror), PERCENTS, ["s7"])
    assert made[0] == {"name": "mirrors", "sites": {"hub": ["hub"]}}
    assert list(made[1]["sites"]) == ["s7"]
    assert list(made[3]["sites"]) == ["s2", "s3"]  # in the order of people
    assert list(made[4]["sites"])[:3] == ["s4", "s5", "s6"]


@pytest.mark.parametrize("wrong", [[0], [101], ["x"], "", [-1, 5]])
def test_waves_that_are_none(wrong):
    with pytest.raises(CommandExecutionError, match="per cents"):
        plan.percents_of(wrong)
    assert plan.percents_of("2,10") == [2, 10]


def test_who_looks_at_a_server():
    """A minion of the site that serves nobody, else another server of it, never itself."""
    found = servers(3, each=2)
    sites = {"s1": ["s1-0", "s1-1", "pc"], "s2": ["s2-0", "s2-1"], "s3": ["s3-0"]}
    assert plan.chosen(sites, found) == {
        "s1": {"s1-0": "pc", "s1-1": "pc"},
        "s2": {"s2-0": "s2-1", "s2-1": "s2-0"},
        "s3": {"s3-1": "s3-0"},
    }


GOOD = {"a": {"result": True, "comment": "", "__run_num__": 0}}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (GOOD, ""),
        ("did not end within 12 hours", "did not end within 12 hours"),
        (["Rendering SLS failed", "more"], "Rendering SLS failed"),
        (None, "returned nothing"),
        ({}, "returned nothing"),
        ([], "returned nothing"),
        (
            {
                "b": {"result": False, "comment": "One or more requisite failed", "__run_num__": 1},
                "a": {"result": False, "comment": "no\nmore", "__id__": "x", "__run_num__": 2},
            },
            "x: no",
        ),
        (
            {"a": {"result": True, "comment": "i.iso: another revision waits for the window (1)."}},
            "waits for the window (1).",
        ),
        (
            {"a": {"result": True, "comment": "Another revision waits for another wave, as it."}},
            "waits for another wave, as it.",
        ),
    ],
)
def test_why_an_apply_was_not_good(said, why):
    assert plan.why_not_applied(said) == why


def test_why_a_check_was_not_good():
    warning, error = ({"severity": one, "text": f"{one}!"} for one in ("warning", "error"))
    assert plan.why_not_good([warning]) == ""
    assert plan.why_not_good([error, warning]) == "error!"
    assert plan.why_not_good("ERROR: no such function") == "ERROR: no such function"
    assert plan.why_not_good(None) == "the check returned nothing"


def told(sites, failing, **more):
    found = servers(sites)
    made = plan.waves(found, PERCENTS, [])
    state = {id_: {**one, "state": "good", "why": "", "by": id_} for id_, one in found.items()}
    for id_ in plan.ids_of(made[-1])[:failing]:
        state[id_].update(state="failed", why="image.missing: " + "long " * 60)
    return {
        **{"tgt": "netboot*", "at": 1800000000, "state": "stopped", "wave": len(made) - 1},
        **{"waves": made, "servers": state, **more},
    }


@pytest.mark.parametrize("failing", [0, 1, 10, 100])
@pytest.mark.parametrize("sites", [1, 3, 200])
def test_report(sites, failing):
    """Twenty lines at most: counts by wave, failing sites with the cause, how to go on."""
    lines = plan.report(told(sites, failing), False)
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("Roll of 2027-01-15 08:00 UTC to netboot*: stopped in wave ")
    shown = sum("image.missing: long" in line for line in lines)
    of = min(failing, sites and len(told(sites, 0)["waves"][-1]["sites"]))
    rest = [line for line in lines if line.startswith("And ")]
    assert shown + sum(int(line.split()[1]) for line in rest) == of
    assert lines[-1].startswith("Mend what failed, then salt-run netboot_waves.resume; to undo: ")


def test_report_of_many_waves():
    state = told(200, 30)
    state["waves"] = plan.waves(servers(200), [1] * 30, [])
    lines = plan.report(state, True)
    assert len(lines) <= 20
    assert "interrupted" in lines[0]
    assert "24 more waves." in lines


def test_line_of_a_server():
    said = {
        "version": "0.1.0",
        "images": {"ready": ["a", "b"], "missing": ["c"]},
        "applied": {"at": "2026-11-27T10:00:00+00:00", "failed": ["x"]},
        "findings": {"error": 1, "warning": 2},
    }
    assert plan.line("n1", said) == (
        "n1: 0.1.0, images 2 ready, missing 1, check: 1 error, 2 warning, "
        "applied 2026-11-27T10:00:00+00:00, 1 states failed"
    )
    assert plan.line("n1", "Minion did not return") == "n1: Minion did not return"


# -- a roll, by a stand-in for Salt's client: what minions return is in tables ---------------------


class StandInClient:
    """What a roll asks of Salt's client; `broken` is what servers return instead, by function."""

    def __init__(self, ids):
        self.ids, self.broken, self.silent, self.asked, self.jobs = ids, {}, set(), [], {}
        self.before = None  # called before servers apply

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def cmd(self, ids, fun, *_args, **_kwargs):
        return {id_: True for id_ in ids if id_ not in self.silent}

    def run_job(self, ids, fun, args, kwarg=None, **_kwargs):
        self.asked += [
            (id_, fun, ((kwarg or {}).get("pillar") or {}).get("netboot")) for id_ in ids
        ]
        good = {
            "state.apply": GOOD,
            "netboot.expected": {"server": 1},
            "netboot.check": [],
            "netboot.probe": [],
            "saltutil.term_job": "",
        }[fun]
        if fun == "state.apply" and self.before:
            self.before(ids)
        found = {id_: {"ret": self.broken.get((id_, fun), good)} for id_ in ids}
        if KeyboardInterrupt in [one["ret"] for one in found.values()]:
            raise KeyboardInterrupt
        self.jobs[str(len(self.jobs))] = found
        return {"jid": str(len(self.jobs) - 1), "minions": ids}

    def get_cache_returns(self, jid):
        return self.jobs[jid]

    def applied(self, wave="go"):
        """Which servers were given this wave, in their order."""
        return [id_ for id_, _fun, given in self.asked if given == {"wave": wave}]


@pytest.fixture
def fleet(monkeypatch, tmp_path):
    """Three sites of two servers, s1 to s3; each server is looked at by the other one."""
    found = servers(3, each=2)
    client = StandInClient(list(found))
    bank = {}
    monkeypatch.setattr(jobs, "_POLL_S", 0)
    monkeypatch.setattr(runner, "__opts__", {"cachedir": str(tmp_path)}, raising=False)
    monkeypatch.setattr(runner, "__context__", {}, raising=False)
    monkeypatch.setattr(runner, "_client", lambda: client)
    client.found = found
    monkeypatch.setattr(runner, "_found", lambda *_: {id_: dict(one) for id_, one in found.items()})
    monkeypatch.setattr(runner, "_load", lambda: json.loads(bank["x"]) if bank else None)
    monkeypatch.setattr(runner, "_store", lambda told: bank.update(x=json.dumps(told)))

    def probes(*_):
        sites = {f"s{site}": [f"s{site}-0", f"s{site}-1"] for site in (1, 2, 3)}
        return plan.chosen(sites, found)

    monkeypatch.setattr(runner, "_probes", probes)
    return client


BAD = {"a": {"result": False, "comment": "broken", "__id__": "x"}}
ERROR = [{"severity": "error", "text": "no kernel"}]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (("s2-1", "state.apply", BAD), "s2: s2-1: x: broken"),
        (("s2-1", "netboot.check", ERROR), "s2: s2-1: no kernel"),
        # s2-0 looks at s2-1
        (("s2-0", "netboot.probe", ERROR), "s2: s2-1: no kernel"),
    ],
)
def test_a_roll_stops_and_resumes(fleet, broken, why):
    id_, fun, said = broken
    fleet.broken[id_, fun] = said
    done = runner.roll()
    assert (done["retcode"], runner.__context__["retcode"]) == (1, 1)
    assert why in done["report"].splitlines()
    assert fleet.applied() == ["s1-0", "s1-1", "s2-0", "s2-1"]
    with pytest.raises(CommandExecutionError, match="The last roll is not finished"):
        runner.roll()
    fleet.broken.clear()
    fleet.asked.clear()
    done = runner.resume()
    assert done["retcode"] == 0
    assert done["report"].splitlines()[0].endswith("to netboot*: done.")
    assert fleet.applied() == ["s2-1", "s3-0", "s3-1"]
    assert "Looked at from another minion of the site: 6; from itself: 0." in done["report"]


def test_a_killed_roll_resumes(fleet):
    fleet.broken["s2-0", "state.apply"] = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        runner.roll()
    assert "interrupted in wave 2 of 3" in runner.report()
    fleet.broken.clear()
    fleet.asked.clear()
    assert runner.resume()["retcode"] == 0
    assert fleet.applied() == ["s2-0", "s2-1", "s3-0", "s3-1"]


def test_a_silent_server_stops_a_roll_or_is_left_out(fleet):
    fleet.silent = {"s1-1"}
    done = runner.roll()
    assert "s1: s1-1: does not answer" in done["report"].splitlines()
    assert (done["retcode"], fleet.applied()) == (1, [])
    done = runner.resume(offline="skip")
    assert done["retcode"] == 0
    assert fleet.applied() == ["s1-0", "s2-0", "s2-1", "s3-0", "s3-1"]


def test_back_is_for_those_that_got_it(fleet):
    fleet.broken["s2-1", "state.apply"] = BAD
    runner.roll()
    assert runner.back()["retcode"] == 1
    assert set(fleet.applied("back")) == {"s1-0", "s1-1", "s2-0", "s2-1"}
    with pytest.raises(CommandExecutionError, match="netboot_waves.back continues that"):
        runner.resume()
    fleet.broken.clear()
    fleet.asked.clear()
    done = runner.back()
    assert (done["retcode"], fleet.applied("back")) == (0, ["s2-1"])
    with pytest.raises(CommandExecutionError, match="is back; nothing is left to do"):
        runner.resume()
    with pytest.raises(CommandExecutionError, match="was taken back"):
        runner.through()
    assert runner.roll()["retcode"] == 0


def test_going_back_has_time_for_all_servers(fleet, monkeypatch):
    """In docs/scale.md 200 applies that begin at once are done after 110 s."""
    many = [f"n{number}" for number in range(200)]
    fleet.ids = many
    fleet.found.clear()
    fleet.found.update({id_: {"site": id_, "mirror": "", "waves": True} for id_ in many})
    runner.roll()
    given = []
    run = jobs.run

    def timed(client, ids, fun, args, kwargs, seconds, *more):
        given.append((len(ids), seconds))
        return run(client, ids, fun, args, kwargs, seconds, *more)

    monkeypatch.setattr(jobs, "run", timed)
    assert runner.back()["retcode"] == 0
    assert given == [(200, 660)]


def test_through_is_for_a_roll_that_is_done(fleet):
    """Then nothing goes back; one that failed at a server is repeated there."""
    fleet.silent = {"s2-1"}
    runner.roll()
    with pytest.raises(CommandExecutionError, match="The last roll is stopped, not done"):
        runner.through()
    fleet.silent = set()
    runner.resume()
    fleet.broken["s2-1", "state.apply"] = BAD
    done = runner.through()
    assert done["retcode"] == 1
    assert done["report"].splitlines()[-1] == (
        "Mend what failed, then salt-run netboot_waves.through again."
    )
    with pytest.raises(CommandExecutionError, match="nothing goes back"):
        runner.back()
    fleet.broken.clear()
    fleet.asked.clear()
    assert runner.through()["retcode"] == 0
    assert fleet.applied("through") == ["s2-1"]


def test_a_wave_in_which_nobody_answers_is_not_good(fleet):
    fleet.silent = {"s1-0", "s1-1"}
    done = runner.roll(offline="skip")
    assert (done["retcode"], fleet.applied()) == (1, [])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"offline": "ignore"}, "offline must be stop or skip."),
        ({"hours": 0}, "hours must be a number greater than 0."),
        ({"hours": "x"}, "hours must be a number greater than 0."),
        ({"batch": 0}, "batch must be an integer from 1."),
        ({"first": ["kazna"]}, "first: no server has the site kazna."),
    ],
)
def test_wrong_arguments_start_nothing(fleet, given, told):
    """By errors for which salt-run exits with 1; for wrong usage it exits with 0."""
    with pytest.raises(CommandExecutionError, match=told):
        runner.roll(**given)
    assert fleet.applied() == []
    if "hours" in given or "offline" in given:
        with pytest.raises(CommandExecutionError, match=told):
            runner.resume(**given)


def test_one_roll_at_a_time(fleet):
    with runner._alone():
        with pytest.raises(CommandExecutionError, match="Another roll is running"):
            runner.roll()
    assert runner.roll()["retcode"] == 0


def test_images_that_change_in_the_middle_do_not_reach_the_next_wave(fleet):
    """Nobody has looked at them; resume is the word that they are meant."""

    fleet.before = lambda _ids: [one.update(images="new") for one in fleet.found.values()]
    done = runner.roll()
    why = "s2: s2-0: its netboot:images changed while the roll ran"
    assert why in done["report"].splitlines()
    assert (done["retcode"], fleet.applied()) == (1, ["s1-0", "s1-1"])
    assert runner.resume()["retcode"] == 0
    assert fleet.applied()[2:] == ["s2-0", "s2-1", "s3-0", "s3-1"]
