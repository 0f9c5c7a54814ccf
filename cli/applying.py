"""Apply the states to this machine or over ssh: slips first, then Salt, with progress meanwhile."""

import contextlib
import difflib
import fcntl
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path

from . import slips, views
from .asking import DEPLOYS_NO_KEY, Asker, AskError

_RECORD = Path("/var/lib/netboot/applied/config.json")
_LOCK = Path("/run/netboot-apply.lock")
_WAITS = (
    "netboot: another apply runs on this machine, perhaps the scheduled one; waiting for its end"
)
_EVERY_S = 15
# Of salt.modules.state.apply_, sls and highstate.
_ARGUMENTS = ("test", "pillar", "pillar_enc", "pillarenv", "saltenv", "exclude")
_TEST = ("True", "true", "False", "false", "1", "0")
_ARGUMENTS += ("sync_mods", "concurrent", "mods", "state_events")
# Of salt-ssh; those in the second line have a value.
_WHOM = ("-i", "--ignore-host-keys", "--no-host-keys", "-E", "--pcre", "-L", "--list", "--sudo")
_BY = ("--user", "--priv", "--passwd", "--ssh-option", "--roster-file", "--config-dir", "-c")
_DHCP = {
    "proxy": "beside the network's DHCP server",
    "server": "as their DHCP server",
    "off": "without answering DHCP",
}


def mistakes(roster=False):
    """The slips in the pillar files of the checkout, and in its roster."""
    found = [slip for path in sorted(Path("pillar").rglob("*.sls")) for slip in slips.slips(path)]
    found += slips.twice(Path("pillar"))
    return found + (slips.slips(Path("conf/roster"), key=None) if roster else [])


def unrendered(program, target, words):
    """The slips that Salt finds when it renders the pillar; it is asked only if that has Jinja."""
    folder = Path("pillar")
    if not any(map(slips.renders, folder.rglob("*.sls"))):
        return []
    # Without, it would print the same by a traceback.
    command = [program, "--out=json", "--log-level=critical", *_options(words)]
    command += [target] if target else []
    command += ["pillar.items"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, input=DEPLOYS_NO_KEY
    )
    return slips.rendered(done.stderr, folder)


def _options(words):
    """Those of Salt's program that decide whom it asks, and how."""
    return [
        word
        for word, before in zip(words, ["", *words])
        if word in _WHOM or word.split("=")[0] in _BY or before in _BY
    ]


def mistyped(words):
    """What is wrong with an argument: test=True that is mistyped would apply."""
    for word in words:
        name, _, value = word.partition("=")
        if name == "test" and "=" in word and value not in _TEST:
            return f"{word}: say test=True to look, or leave it out to apply"
        if name == "queue" and value.isdecimal():
            continue  # of the timer: it waits here
        if name == "queue":
            return f"{word}: without a minion nobody runs what Salt queues; leave it out"
        if "=" in word and not word.startswith("-") and name not in _ARGUMENTS:
            near = difflib.get_close_matches(name, _ARGUMENTS, 1)
            return f"unknown argument {word!r}" + (f", did you mean {near[0]}=?" if near else "")
    return None


def question(program, target, words):
    """What a first apply makes of machines, a line each; "" if they are netboot servers already."""
    if not target and _RECORD.exists():
        return ""
    asker = Asker(program, target, _options(words))
    # Of a machine that does not answer, or whose pillar has mistakes, the apply says what is wrong,
    # and changes nothing there.
    versions = _answers(asker, "netboot.version")
    new = [name for name, one in versions.items() if one["applied"] is None]
    answers = _answers(asker, "netboot.config") if new else {}
    return "\n".join(
        _becomes(name if target else f"This machine, {platform.node()},", answers[name]["config"])
        for name in sorted(new)
        if "config" in answers.get(name, {})
    )


def _answers(asker, function, kind=dict):
    try:
        found = asker.ask(function)
    except AskError as err:
        found = err.answers
    return {name: one for name, one in found.items() if isinstance(one, kind)}


def _becomes(name, config):
    at = " and ".join(f"{one['name']} ({one['address']})" for one in config["interfaces"])
    dhcp = _DHCP[config["dhcp"]["mode"]]
    return f"{name} becomes a netboot server for clients on {at}, {dhcp}."


def run(program, target, words):
    """state.apply, on this machine if there is no target; returns the exit status."""
    given = {word.split("=")[0] for word in words}
    how = [] if given & {"--out", "--output"} else ["--out=netboot_apply"]
    # What fails is in the output; what Salt only tried, such as an absent unit, is no error.
    how += [] if given & {"-l", "--log-level"} else ["--log-level=critical"]
    command = [program, *how, *([target] if target else []), "state.apply", *words]
    done = threading.Event()
    asker = Asker(program, target, _options(words)).beside_an_apply()
    watch = threading.Thread(target=_watch, args=(asker, done), daemon=True)
    if target and sys.stderr.isatty():
        watch.start()
    try:
        answers = {} if sys.stdin.isatty() else {"input": DEPLOYS_NO_KEY, "text": True}
        with contextlib.nullcontext() if target else _alone():
            return subprocess.run(command, check=False, **answers).returncode
    finally:
        done.set()
        if watch.is_alive():
            watch.join()  # its salt-ssh must not outlive this program


def may_bring(pillar=Path("pillar"), master=Path("conf/master")):
    """Whether a pillar may name controller in netboot:fetch:from: machines are asked only then."""
    if master.exists() and "ext_pillar" in master.read_text(errors="replace"):
        return True
    files = (path for kind in ("sls", "yaml", "json") for path in pillar.rglob(f"*.{kind}"))
    return any(re.search(r"\bcontroller\b", path.read_text(errors="replace")) for path in files)


def run_bringing(program, target, words):
    """The same on other machines, with ISOs that this host sends if their pillar says so."""
    if not may_bring():
        return run(program, target, words)
    from . import bringing  # noqa: PLC0415 (needs the libraries of the states)

    images = bringing.wanted(Asker(program, target, _options(words)))
    if not images:
        return run(program, target, words)
    with bringing.served(images) as port:
        return run(program, target, bringing.words_for(port, words))


@contextlib.contextmanager
def _alone():
    """
    One apply at a time on this machine: Salt would refuse the second.

    Nor is Salt's own queue of use: without a minion's daemon queue=True never applies, and two that
    wait by queue=N wait for each other (salt.utils.state.check_prior_running_states, 3008.3).
    """
    try:
        lock = _LOCK.open("a")
    except OSError:
        lock = None  # not root: test=True
    with lock or contextlib.nullcontext():
        if lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(_WAITS, file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _watch(asker, done):
    """Say how far fetches on the other machines are, which their salt-call can't show here."""
    while not done.wait(_EVERY_S):
        # Where nothing was applied yet there is no such function: salt-ssh may call that success.
        for machine, fetches in _answers(asker, "iso_fetch.progress", list).items():
            for one in fetches:
                if one["running"] and not done.is_set():
                    print(f"{machine}: {one['file']}: {views.rate(one)}", file=sys.stderr)
