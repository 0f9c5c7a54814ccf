"""
Minions that do not exist: what minions ask of a master in an apply, by Salt's own channel.

    python -m tests.fleet < JSON

JSON: ``master`` (an address), ``directory`` (where their keys go), ``minions`` (ids), ``requests``
(how many of each kind of the master's commands one sends), ``grains`` and ``return`` (those of a
real minion; each sends them as its own). They begin together: each has a key that the master
accepts, begins a session, and sends its requests one after another, as a minion does. None listens
for jobs. The last line that it prints is JSON: ``seconds``, ``auth_s`` until all had a session,
``each_s`` (of each, sorted), ``requests`` and ``failures`` (texts).
"""

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import salt.channel.client
import salt.config
import salt.crypt

_TIMEOUT_S = 120
#: What is asked for once with all that there is, then for one file after another.
_FILES = ("_file_hash", "_serve_file", "_file_find")


def options(plan, name, directory):
    return {
        **salt.config.DEFAULT_MINION_OPTS.copy(),
        **{"id": name, "__role": "minion", "master": plan["master"], "master_ip": plan["master"]},
        **{"master_uri": f"tcp://{plan['master']}:4506", "pki_dir": str(directory / "pki")},
        **{"cachedir": str(directory / "cache"), "sock_dir": str(directory / "sock")},
        **{"root_dir": str(directory), "grains": {"id": name}, "saltenv": None},
    }


def load(plan, name, kind, files, number):
    """What a minion sends for a command of its master."""
    common = {"cmd": kind, "saltenv": "base"}
    if kind == "_pillar":
        grains = {**plan["grains"], "id": name, "nodename": name, "host": name, "localhost": name}
        more = {"id": name, "grains": grains, "pillarenv": None, "pillar_override": {}}
        return {**common, **more, "ver": "2", "extra_minion_data": {}, "clean_cache": False}
    if kind == "_return":
        jid = f"20990101{number:012d}"
        return {**plan["return"], "cmd": kind, "id": name, "jid": jid}
    if kind in _FILES:
        path = files[number % len(files)]
        return {**common, "path": path, "loc": 0, "gzip": False, "id": name}
    if kind == "_ext_nodes":
        return {"cmd": kind, "id": name, "opts": {"grains": {}, "id": name}}
    return {**common, "prefix": "", "id": name}


class Minion:
    """One of them."""

    def __init__(self, plan, number, name):
        self.plan, self.number, self.name = plan, number, name
        self.sent, self.failure, self.had_session, self.done = 0, "", 0.0, 0.0

    async def boot(self):
        """Its session, then all requests of an apply."""
        directory = Path(self.plan["directory"]) / self.name
        settings = options(self.plan, self.name, directory)
        try:
            with salt.channel.client.AsyncReqChannel.factory(settings, crypt="aes") as channel:
                files = await self._send(channel, "_file_list", [])
                self.had_session = time.monotonic()
                for kind, count in self._order():
                    for _ in range(count):
                        await self._send(channel, kind, files)
        except Exception as err:  # noqa: BLE001 (it is a row of the result)
            self.failure = f"{self.name}: {type(err).__name__}: {err}"
        self.done = time.monotonic()

    def _order(self):
        """Kinds of requests with their number; of a fraction, so many minions send one."""
        known = (
            "_file_list",
            "_file_list_emptydirs",
            "_symlink_list",
            "_master_opts",
            "_ext_nodes",
        )
        for kind in ("_pillar", *known, *_FILES, "_return"):
            exact = self.plan["requests"].get(kind, 0)
            exact -= kind == "_file_list"  # the first
            count = int(exact) + (self.number % 100 < 100 * (exact % 1))
            yield kind, max(count, 0)

    async def _send(self, channel, kind, files):
        sent = load(self.plan, self.name, kind, files, self.number * 1000 + self.sent)
        if kind == "_pillar":
            answer = await channel.crypted_transfer_decode_dictentry(sent, dictkey="pillar")
        else:
            answer = await channel.send(sent, timeout=_TIMEOUT_S)
        self.sent += 1
        if kind == "_pillar" and "netboot" not in answer:
            raise ValueError(f"its pillar has only {', '.join(answer) or 'nothing'}")
        return answer


def prepare(plan):
    """One key for all, as making one takes a while."""
    base = Path(plan["directory"])
    settings = options(plan, "key", base / "key")
    keys = Path(settings["pki_dir"])
    keys.mkdir(parents=True)
    salt.crypt.AsyncAuth(settings, io_loop=None)
    for name in plan["minions"]:
        shutil.copytree(keys, base / name / "pki")


async def main(plan):
    minions = [Minion(plan, number, name) for number, name in enumerate(plan["minions"])]
    began = time.monotonic()
    await asyncio.gather(*(minion.boot() for minion in minions))
    return {
        "seconds": max(one.done for one in minions) - began,
        "auth_s": max(one.had_session for one in minions) - began,
        "each_s": sorted(one.done - began for one in minions),
        "requests": sum(one.sent for one in minions),
        "failures": [one.failure for one in minions if one.failure],
    }


if __name__ == "__main__":
    given = json.load(sys.stdin)
    prepare(given)
    print(json.dumps(asyncio.run(main(given))))
