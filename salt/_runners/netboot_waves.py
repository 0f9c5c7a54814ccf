"""
Roll new revisions of images out to netboot servers in waves, site by site.

Each wave applies ``netboot`` to its servers with ``wave: go`` and then checks what clients get,
from another minion of the site where there is one. The next wave begins only when all of that is
good. Servers need ``netboot:waves: true``; a site is all servers with the same ``netboot:site``, a
server without it is one of its own. Servers with ``netboot:mirror`` come first.

The state of the roll is in the master's cache, so that ``resume`` continues after a stop, or after
the master was killed. One roll runs at a time.

The runner imports only the two files beside it, so it loads wherever they were synced to.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import time
import zlib

import salt.cache
import salt.client
import salt.pillar
import salt.utils.data
import salt.utils.minions
from salt.exceptions import CommandExecutionError

import netboot_wave_jobs as _jobs
import netboot_wave_report as _report

__virtualname__ = "netboot_waves"

_BANK, _KEY = "netboot", "waves"
_PERCENTS = (1, 5, 20)
_CHECK_S = 600
# All go back at once; 200 applies were done after 110 s (docs/scale.md).
_BACK_S, _BACK_EACH_S = 60, 3
_BATCH = 25


def __virtual__():
    return __virtualname__


def roll(
    tgt="netboot*",
    tgt_type="glob",
    waves=_PERCENTS,
    first=(),
    offline="stop",
    hours=12,
    batch=_BATCH,
    open=False,
    site="netboot:site",
    again=False,
):
    """
    Roll out what the pillar says, wave by wave, and stop at the first that is not good.

    tgt, tgt_type : netboot*, glob
        The servers, mirrors included.

    waves : [1, 5, 20]
        Per cent of the sites in each wave, one site at least; the rest is the last wave.

    first : []
        Sites that come first, in this order; the others follow by name.

    offline : stop
        ``skip``: leave servers out that do not answer.

    hours : 12
        How long an apply may take, with all that it fetches.

    batch : 25
        How many servers apply at the same time.

    open : False
        Do not wait for ``netboot:window``.

    site : netboot:site
        The pillar's key for the site of a minion.

    again : False
        Begin although the last roll was neither finished nor taken back.

    Returns a map: ``report``, and ``retcode``, the exit code: 1 if it stopped.

    CLI Example:

    .. code-block:: bash

        salt-run netboot_waves.roll 'netboot*' waves='[2, 10, 50]' first='[office]'
    """
    _check(offline=offline, hours=hours, batch=batch)
    percents = _report.percents_of(waves)
    with _alone():
        last = _load()
        if last and last["state"] in ("running", "stopped") and not again:
            raise CommandExecutionError(
                "The last roll is not finished: salt-run netboot_waves.resume, .back, or .roll "
                "again=True."
            )
        with _client() as client:
            found = _found(tgt, tgt_type, site)
            if not found:
                raise CommandExecutionError(f"No accepted minion matches {tgt!r}.")
            first = list(map(str, [first] if isinstance(first, (str, int)) else first))
            made = _report.waves(found, percents, first)
            missing = [
                site for site in first if site not in {one["site"] for one in found.values()}
            ]
            if missing:
                raise CommandExecutionError(f"first: no server has the site {', '.join(missing)}.")
            told = {
                "tgt": tgt,
                "at": int(time.time()),
                "state": "running",
                "wave": 0,
                "waves": made,
                "servers": {
                    id_: {**one, "state": "waiting", "why": ""} for id_, one in found.items()
                },
                "options": {
                    **{"offline": offline, "hours": hours, "batch": batch, "open": open},
                    "site": site,
                },
            }
            return _go(client, told)


def resume(offline=None, hours=None, open=None):
    """
    Continue the last roll where it stopped, or was killed.

    offline, hours, open
        Other values than at ``roll``.

    Returns what ``roll`` returns.

    CLI Example:

    .. code-block:: bash

        salt-run netboot_waves.resume
    """
    given = {"offline": offline, "hours": hours, "open": open}
    given = {key: one for key, one in given.items() if one is not None}
    _check(**given)
    with _alone():
        told = _last()
        if told["state"] not in ("running", "stopped"):
            raise CommandExecutionError(f"The last roll is {told['state']}; nothing is left to do.")
        if told.get("ending"):
            raise CommandExecutionError(
                f"The last roll was ended: salt-run netboot_waves.{told['ending']} continues that."
            )
        told["options"].update(given)
        for id_, one in _found(list(told["servers"]), "list", told["options"]["site"]).items():
            if id_ in told["servers"]:
                told["servers"][id_]["images"] = one.get("images")
        with _client() as client:
            return _go(client, told)


def back():
    """
    Put images back to what they were at all servers that the last roll reached; nothing is fetched.

    Returns what ``roll`` returns; the exit code is 1 if a server did not go back.

    CLI Example:

    .. code-block:: bash

        salt-run netboot_waves.back
    """
    return _end("back", "back", _BACK_S)


def through():
    """
    Remove what images were before, at all servers of the last roll; then nothing goes back.

    Returns what ``roll`` returns; the exit code is 1 if a server did not do it.

    CLI Example:

    .. code-block:: bash

        salt-run netboot_waves.through
    """
    return _end("through", "through", _CHECK_S)


def report(tgt=None, tgt_type="glob"):
    """
    Return how the last roll is, in at most 20 lines; or how servers are, in a line for each.

    tgt : None
        Servers that are asked now: version, images, what a check found, and the last apply.

    tgt_type : glob
        How ``tgt`` is meant.

    CLI Example:

    .. code-block:: bash

        salt-run netboot_waves.report
        salt-run netboot_waves.report 'netboot*'
    """
    if tgt is None:
        told = _last()
        return "\n".join(_report.report(told, told["state"] == "running" and not _is_locked()))
    with _client() as client:
        ids = _matching(tgt, tgt_type)
        there = _answering(client, ids)
        said = dict.fromkeys(ids, "does not answer")
        said.update(_jobs.run(client, there, "netboot.status", (), {}, _CHECK_S, len(ids) or 1))
    return "\n".join(_report.line(id_, said[id_]) for id_ in ids)


# -- a roll on the master --------------------------------------------------------------------------


def _go(client, told):
    told["state"], told["why"] = "running", ""
    _store(told)
    try:
        while told["wave"] < len(told["waves"]):
            if not _wave(client, told):
                told["state"] = "stopped"
                break
            told["wave"] += 1
            _store(told)
        else:
            told["state"] = "done"
    finally:
        _store(told)
    return _ended(told)


def _ended(told):
    """Return the report, and the exit code as salt-run and the state salt.runner read it."""
    code = int(told["state"] == "stopped")
    __context__["retcode"] = code
    return {"report": "\n".join(_report.report(told, False)), "retcode": code}


def _wave(client, told):
    """Apply to the servers of a wave and check them; return whether all is good."""
    options, servers = told["options"], told["servers"]
    ids = [
        id_
        for id_ in _report.ids_of(told["waves"][told["wave"]])
        if servers[id_]["state"] != "good"
    ]
    there = _answering(client, ids)
    for id_ in ids:
        if id_ not in there:
            _set(told, id_, "offline", "does not answer")
    if ids and (not there or (len(there) < len(ids) and options["offline"] != "skip")):
        return False
    now = _found(there, "list", options["site"]) if there else {}
    changed = [
        id_ for id_ in there if id_ in now and now[id_].get("images") != servers[id_].get("images")
    ]
    for id_ in changed:
        _set(told, id_, "failed", "its netboot:images changed while the roll ran")
    if changed:
        return False

    def applied(id_, said):
        why = _report.why_not_applied(said)
        _set(told, id_, "failed" if why else "applied", why)

    def begun(id_, jid):
        servers[id_]["reached"] = True
        _set(told, id_, "applying", "", jid)

    for waves in (True, False):
        some = [id_ for id_ in there if bool(servers[id_].get("waves")) is waves]
        given = {"wave": "go"} if waves else {}
        if options["open"]:
            given["window"] = {"open": True}
        _apply(
            client,
            some,
            ["netboot"],
            given,
            options["hours"] * 3600,
            options["batch"],
            applied,
            begun,
        )
    applied_ids = [id_ for id_ in there if servers[id_]["state"] == "applied"]
    for id_, (why, by) in _checked(client, told, applied_ids).items():
        _set(told, id_, "failed" if why else "good", why)
        servers[id_]["by"] = by
    _store(told)
    return all(servers[id_]["state"] == "good" for id_ in there)


def _apply(client, ids, sls, given, seconds, batch, ended, begun=None):
    # Not True: see netboot_timer.
    kwargs = {"queue": 9, "sync_mods": "all"}
    if given:
        kwargs["pillar"] = {"netboot": given}
    _jobs.run(client, ids, "state.apply", [",".join(sls)], kwargs, seconds, batch, ended, begun)


def _checked(client, told, ids):
    """Return by server what is wrong, or an empty string, and who looked."""
    servers = told["servers"]
    probes = _probes(client, servers, told["options"]["site"])
    plans = _jobs.run(client, ids, "netboot.expected", (), {}, _CHECK_S, _BATCH)
    left = {
        id_: probes[servers[id_]["site"]][id_]
        for id_ in ids
        if isinstance(plans[id_], dict) and id_ in probes.get(servers[id_]["site"], {})
    }
    seen = {}
    while left:
        # A minion looks at one server at a time.
        now = {other: id_ for id_, other in left.items()}
        args = {other: [_packed(plans[id_])] for other, id_ in now.items()}
        said = _jobs.run(client, list(now), "netboot.probe", args, {}, _CHECK_S, _BATCH)
        seen.update({now[other]: one for other, one in said.items() if isinstance(one, list)})
        left = {id_: other for id_, other in left.items() if id_ not in now.values()}
    found = {}
    for probe in (True, False):
        # Where nobody else could look, the server tries itself.
        some = [
            id_ for id_ in ids if (id_ not in seen and servers[id_]["mirror"] != "only") is probe
        ]
        kwargs = {"probe": probe}
        own = _jobs.run(client, some, "netboot.check", (), kwargs, _CHECK_S, _BATCH)
        for id_ in some:
            why = _report.why_not_good(own[id_])
            if id_ in seen:
                why = why or _report.why_not_good(seen[id_])
            by = probes[servers[id_]["site"]][id_] if id_ in seen else id_
            found[id_] = (why, by)
    return found


def _packed(plan):
    return base64.b64encode(zlib.compress(json.dumps(plan).encode())).decode()


def _probes(client, servers, key):
    """Return by site and server which other minion looks; those that serve nobody come first."""
    wanted = {one["site"] for one in servers.values()}
    sites = {}
    for id_ in _matching("*", "glob"):
        # As the master compiled it last; a minion does not show its own (salt.utils.secret).
        pillar = salt.utils.minions.get_minion_data(id_, __opts__)[2] or {}
        site = str(salt.utils.data.traverse_dict_and_list(pillar, key, ""))
        if site in wanted:
            sites.setdefault(site, []).append(id_)
    there = _answering(client, [id_ for ids in sites.values() for id_ in ids if len(ids) > 1])
    sites = {site: [id_ for id_ in ids if id_ in there] for site, ids in sites.items()}
    return _report.chosen(sites, servers)


def _end(wave, state, seconds):
    with _alone(), _client() as client:
        told = _last()
        servers, ending = told["servers"], told.get("ending")
        if wave == "through" and told["state"] == "back":
            raise CommandExecutionError("The last roll was taken back: nothing has proved good.")
        if wave == "through" and told["state"] != "done" and ending != "through":
            raise CommandExecutionError(
                f"The last roll is {told['state']}, not done: salt-run netboot_waves.resume, or "
                ".back."
            )
        if wave == "back" and ending == "through":
            raise CommandExecutionError("What images were before was removed: nothing goes back.")
        told["ending"] = wave
        _store(told)
        asked = [
            id_
            for id_, one in servers.items()
            if one.get("reached") and one["waves"] and one["state"] != state
        ]
        for id_ in asked:
            # Perhaps it still fetches.
            if servers[id_]["state"] in ("applying", "failed") and servers[id_].get("jid"):
                client.run_job([id_], "saltutil.term_job", [servers[id_]["jid"]], tgt_type="list")

        def ended(id_, said):
            why = _report.why_not_applied(said)
            _set(told, id_, "failed" if why else state, why)

        # Not all of netboot: no service is concerned.
        sls = ["netboot.images", "netboot.menus"]
        seconds += _BACK_EACH_S * len(asked)
        _apply(client, asked, sls, {"wave": wave}, seconds, len(asked) or 1, ended)
        wrong = [id_ for id_ in asked if servers[id_]["state"] != state]
        told["state"] = "stopped" if wrong else state
        _store(told)
    return _ended(told)


def _check(offline="stop", hours=1, batch=1, **_others):
    # No SaltInvocationError: salt-run takes that for wrong usage, and exits with 0.
    if offline not in ("stop", "skip"):
        raise CommandExecutionError("offline must be stop or skip.")
    if type(hours) not in (int, float) or hours <= 0:
        raise CommandExecutionError("hours must be a number greater than 0.")
    if type(batch) is not int or batch < 1:
        raise CommandExecutionError("batch must be an integer from 1.")


def _found(tgt, tgt_type, site_key):
    """Return site, mirror, waves and what its images are of each server, by its pillar now."""
    found = {}
    for id_ in _matching(tgt, tgt_type):
        grains = salt.utils.minions.get_minion_data(id_, __opts__)[1] or {"id": id_}
        pillar = salt.pillar.Pillar(__opts__, grains, id_, "base").compile_pillar()
        if pillar.get("_errors"):
            raise CommandExecutionError(f"The pillar of {id_} has errors: {pillar['_errors'][0]}")
        netboot = _report.as_map(pillar.get("netboot"))
        site = salt.utils.data.traverse_dict_and_list(pillar, site_key, "")
        mirror = netboot.get("mirror")
        found[id_] = {
            "site": str(site or id_),
            "mirror": mirror if mirror in ("only", "also") else "",
            "waves": netboot.get("waves") is True,
            "images": _digest(netboot.get("images")),
        }
    return found


def _digest(value):
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _answering(client, ids):
    said = client.cmd(ids, "test.ping", tgt_type="list", timeout=_jobs.ASK_S) if ids else {}
    return [id_ for id_ in ids if said.get(id_) is True]


def _matching(tgt, tgt_type):
    matched = salt.utils.minions.CkMinions(__opts__).check_minions(tgt, tgt_type)["minions"]
    return sorted(matched, key=_report.natural)


def _set(told, id_, state, why, jid=None):
    server = told["servers"][id_]
    server.update(state=state, why=why, changed=int(time.time()))
    server["jid"] = jid or server.get("jid")
    _store(told)


def _client():
    return salt.client.get_local_client(mopts=__opts__)


def _load():
    return salt.cache.Cache(__opts__).fetch(_BANK, _KEY) or None


def _last():
    told = _load()
    if not told:
        raise CommandExecutionError("Nothing was rolled out yet: salt-run netboot_waves.roll.")
    return told


def _store(told):
    salt.cache.Cache(__opts__).store(_BANK, _KEY, told)


def _lock_path():
    return os.path.join(__opts__["cachedir"], "netboot_waves.lock")


@contextlib.contextmanager
def _alone():
    """Refuse a second roll; the kernel drops the lock with the process that holds it."""
    with open(_lock_path(), "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandExecutionError(
                "Another roll is running; salt-run netboot_waves.report says how far it is."
            ) from None
        yield


def _is_locked():
    try:
        with _alone():
            return False
    except CommandExecutionError:
        return True
