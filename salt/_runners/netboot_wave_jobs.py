"""
Jobs of a roll on minions: what ``netboot_waves`` asks of a master. Not a runner.
"""

import time

import netboot_wave_report

ASK_S = 15
# Jobs are looked at so often; at minions that may have lost theirs, every so many seconds.
_POLL_S = 2
_LOST_S = 60
_LOST = 3
_SHORT_S = 60


def __virtual__():
    return False, "netboot_waves imports it"


def run(client, ids, fun, args, kwargs, seconds, batch, ended=None, begun=None):
    """
    Run a function on minions, so many at a time; the master's job cache is looked at, nothing waits
    for one answer. Return by minion what it returned, or a sentence of why there is nothing.

    args
        A list, or one for each minion, by id.

    ended, begun
        Called with the id of a minion and what it returned, or its job.
    """
    said, left, running = {}, list(ids), {}

    def end(id_, value):
        running.pop(id_)
        said[id_] = value
        if ended:
            ended(id_, value)

    looked = time.monotonic()
    while left or running:
        new, left = left[: batch - len(running)], left[batch - len(running) :]
        own = isinstance(args, dict)
        for some in [[id_] for id_ in new] if own else [new] if new else []:
            words = args[some[0]] if own else args
            done = client.run_job(some, fun, words, tgt_type="list", kwarg=kwargs, timeout=ASK_S)
            for id_ in some:
                jid = done.get("jid", "")
                running[id_] = {"jid": jid, "until": time.monotonic() + seconds, "lost": 0}
                if begun:
                    begun(id_, jid)
                if id_ not in done.get("minions", ()):
                    end(id_, "is not an accepted minion")
        time.sleep(_POLL_S if seconds > _SHORT_S else 0.5)
        for jid in {one["jid"] for one in running.values()}:
            for id_, one in (client.get_cache_returns(jid) or {}).items():
                if running.get(id_, {}).get("jid") == jid:
                    end(id_, one.get("ret") if isinstance(one, dict) else one)
        now = time.monotonic()
        for id_ in [id_ for id_, one in running.items() if now > one["until"]]:
            end(id_, f"did not end within {netboot_wave_report.span(seconds)}")
        if running and now - looked > _LOST_S:
            looked = now
            for id_ in _lost(client, running):
                end(id_, "does not answer any more, or has lost its job")
    return said


def _lost(client, running):
    """Return which minions were found without their job several times."""
    for jid in {one["jid"] for one in running.values()}:
        ids = [id_ for id_, one in running.items() if one["jid"] == jid]
        found = client.cmd(ids, "saltutil.find_job", [jid], tgt_type="list", timeout=ASK_S)
        for id_ in ids:
            # One that waits for another apply is found as well.
            running[id_]["lost"] = 0 if found.get(id_) else running[id_]["lost"] + 1
    return [id_ for id_, one in running.items() if one["lost"] >= _LOST]
