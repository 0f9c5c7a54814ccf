"""Apply the states to this machine or over ssh: slips first, then Salt, with progress meanwhile."""

import difflib
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from . import slips, views
from .asking import Asker, AskError

_RECORD = Path("/var/lib/netboot/applied/config.json")
_EVERY_S = 15
_FOLLOW = "journalctl -fu netboot-apply"
# Of salt.modules.state.apply_, sls and highstate.
_ARGUMENTS = ("test", "pillar", "pillar_enc", "pillarenv", "saltenv", "exclude", "queue")
_ARGUMENTS += ("sync_mods", "concurrent", "mods", "state_events")
_DHCP = {
    "proxy": "beside the network's DHCP server",
    "server": "as their DHCP server",
    "off": "without answering DHCP",
}


def mistakes(roster=False):
    """The slips in the pillar files of the checkout, and in its roster."""
    found = [slip for path in sorted(Path("pillar").rglob("*.sls")) for slip in slips.slips(path)]
    return found + (slips.slips(Path("conf/roster"), key=None) if roster else [])


def mistyped(words):
    """What is wrong with an argument: test=True that is mistyped would apply."""
    for word in words:
        name = word.partition("=")[0]
        if "=" in word and not word.startswith("-") and name not in _ARGUMENTS:
            near = difflib.get_close_matches(name, _ARGUMENTS, 1)
            return f"unknown argument {word!r}" + (f", did you mean {near[0]}=?" if near else "")
    return None


def question(program):
    """What the first apply on this machine makes of it; None if it is a netboot server."""
    if _RECORD.exists():
        return None
    asker = Asker(program)
    try:
        if asker.ask("netboot.version")["local"]["applied"] is not None:
            return None
        config = asker.ask("netboot.config")["local"].get("config")
    except AskError:
        config = None
    if not config:
        return None  # the apply lists what is wrong, and changes nothing
    at = " and ".join(f"{one['name']} ({one['address']})" for one in config["interfaces"])
    return (
        f"This machine, {platform.node()}, becomes a netboot server for clients on {at}, "
        f"{_DHCP[config['dhcp']['mode']]}."
    )


def run(program, target, words):
    """state.apply, on this machine if there is no target; returns the exit status."""
    given = {word.split("=")[0] for word in words}
    how = [] if given & {"--out", "--output"} else ["--out=netboot_apply"]
    # What fails is in the output; what Salt only tried, such as an absent unit, is no error.
    how += [] if given & {"-l", "--log-level"} else ["--log-level=critical"]
    command = [program, *how, *([target] if target else []), "state.apply", *words]
    done = threading.Event()
    if not target and sys.stderr.isatty() and _scheduled_runs():
        print("netboot: waiting for the end of the scheduled apply:", _FOLLOW, file=sys.stderr)
    if target and sys.stderr.isatty():
        threading.Thread(target=_watch, args=(Asker(program, target), done), daemon=True).start()
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        done.set()


def _scheduled_runs():
    """Whether the timer's apply runs, for which Salt waits (state_queue in conf/minion)."""
    if not shutil.which("systemctl"):
        return False
    asked = ["systemctl", "is-active", "netboot-apply.service"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    return said.stdout.strip() == "activating"


def _watch(asker, done):
    """Say how far fetches on the other machines are, which their salt-call can't show here."""
    while not done.wait(_EVERY_S):
        try:
            found = asker.ask("iso_fetch.progress")
        except AskError:
            continue  # nothing was applied there yet
        for machine, fetches in found.items():
            for one in fetches:
                if one["running"] and not done.is_set():
                    print(f"{machine}: {one['file']}: {views.rate(one)}", file=sys.stderr)
