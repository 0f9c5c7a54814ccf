"""
How a client's boot ended, or how far it is, and why it may have stopped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from netboot_seen import Boot, Fetch, Step
from netboot_shapes import Entry

#: What a client may be doing.
STATES = ("in menu", "loading", "running", "local disk", "failed", "gone silent")
#: Seconds without a request after which nothing more is expected.
_SILENT_S = 120
#: Lines of the menu that boot nothing from here.
_CHOICES = {
    "reboot": "It was rebooted from the menu.",
    "firmware": "It went back to its firmware from the menu.",
    "shell": "It was left in iPXE's shell.",
}
_FAILURES = ("failed", "missing", "refused")
_BEGINS = ("menu", "chosen", "host")
_NONE = Step(0, "")
# iPXE's error numbers begin with the POSIX error (ipxe.org/err; errno.h), here in hexadecimal.
_ERRNO = {
    "02": "the server refused it",
    "0f": "the connection was reset",
    "2d": "the server has no such file",
    "2e": "this firmware starts no such file",
    "38": "the server's network cannot be reached",
    "4c": "the server did not answer in time",
}


class Verdict(NamedTuple):
    """How a boot ended: its state, and for what stopped the cause's name, what happened, advice."""

    state: str
    cause: str = ""
    text: str = ""
    advice: str = ""


class Context(NamedTuple):
    """What verdicts are made with."""

    entries: dict[str, Entry]
    armed: dict[str, Any]  # by name of the host
    now: float
    connected: set[str] = set()  # addresses that the web server is sending to


def verdict(boot: Boot, context: Context, host: str = "") -> Verdict:
    """
    Return how a boot ended, or how far it is.

    boot
        The boot.

    context
        See ``Context``.

    host
        Name of the client in the pillar, if it has one.
    """
    silent = context.now - boot.last > _SILENT_S
    kind = _kind(boot)
    if kind == "failed":
        return _failed(boot)
    if kind == "missing":
        return Verdict(
            "failed",
            "entry-not-ready",
            f"Its entry {boot.entry} is not in the menu: the image is not ready, or lacks it.",
            "./netboot images shows what is ready; the last apply says why an image is not.",
        )
    if kind == "refused":
        return Verdict(
            "failed",
            "wrong-password",
            "The name or password that was typed is wrong.",
            "Passwords are those of netboot:menu:password:users.",
        )
    if kind == "local":
        return _local(context, host)
    if kind in _CHOICES:
        return Verdict("gone silent", text=_CHOICES[kind])
    if kind == "chosen" and boot.steps[-1].what in _CHOICES:
        return Verdict("gone silent", text=_CHOICES[boot.steps[-1].what])
    if kind == "chosen" and boot.entry.startswith("+"):
        return Verdict("running", text="It started a line of netboot:menu:extra.")
    if kind == "chosen" and boot.entry.startswith(("@", "!")):
        kind = "menu"
    if kind in ("boot", "initrd", "kernel", "chosen", "host"):
        return _loading(boot, context, kind, silent)
    if kind == "menu":
        waits = int(boot.facts.get("waits_ms") or 0) / 1000
        if context.now - boot.last < (waits + 60 if waits else 3600):
            return Verdict("in menu")
        return Verdict(
            "gone silent",
            "left-in-menu",
            "Nobody chose anything in the menu, or the machine was switched off.",
            "Without a time-out a menu waits for a key.",
        )
    # A menu that reports nothing: of an earlier version, or its reports failed.
    stages = {entry["stage"]["path"] for entry in context.entries.values()}
    if any(fetch.whole and fetch.path in stages for fetch in boot.fetches):
        return Verdict("running")
    if not silent:
        return Verdict("loading")
    if kind == "dhcp":
        offered = next((step.what for step in boot.steps[::-1] if step.what), "")
        return Verdict(
            "gone silent",
            "no-menu",
            "Its firmware asked for a boot"
            + (f", was offered {offered}" if offered else "")
            + ", and no menu of it was seen.",
            "Another server's offer was taken; UDP 4011, 69 or the ports of transfers are blocked; "
            "or the boot loader does not start (Secure Boot): look at its screen.",
        )
    return Verdict(
        "gone silent",
        "script-without-menu",
        "It read the menu's script and went no further.",
        "Its iPXE may lack a feature: let it load this server's boot loader first.",
    )


def _kind(boot: Boot) -> str:
    """Return the kind of the last step; of a failure, after which the local disk boots, its own."""
    kinds = [step.kind for step in boot.steps]
    if kinds[-1:] == ["local"]:
        kinds.pop()
    if kinds[-2:] == ["missing", "failed"]:
        kinds.pop()
    return kinds[-1] if kinds[-1:] and kinds[-1] in _FAILURES else (boot.steps or [_NONE])[-1].kind


def _failed(boot: Boot) -> Verdict:
    at = next((step.what for step in boot.steps[::-1] if step.kind == "failed"), "") or "script"
    begun = max((step.at for step in boot.steps if step.kind in _BEGINS), default=0)
    fetches = [fetch for fetch in boot.fetches if fetch.at >= begun]
    refused = [fetch for fetch in fetches if fetch.status >= 400]
    if refused:
        return _refused(refused[-1], f"The {at}")
    cut = [fetch for fetch in fetches if not fetch.whole and fetch.method == "GET"]
    if cut:
        return _cut(cut[-1], f"The {at}")
    number = boot.facts.get("errno", "")
    why = _ERRNO.get(number.replace(":", "")[:2], f"iPXE's error is {number}" if number else "")
    return Verdict(
        "failed",
        "not-loaded",
        f"The {at} could not be loaded" + (f": {why}." if why else "."),
        "https://ipxe.org/err/ explains the number." if number else "Look at its screen.",
    )


def _refused(fetch: Fetch, what: str) -> Verdict:
    why = {403: ", as the server may not read it", 404: ", as it is not there"}
    return Verdict(
        "failed",
        "not-sent",
        f"{what} was not sent: {fetch.path} was answered {fetch.status}"
        f"{why.get(fetch.status, '')}.",
        "./netboot check; ./netboot apply brings what is missing.",
    )


def _cut(fetch: Fetch, what: str) -> Verdict:
    total = f" of {fetch.length}" if fetch.length >= 0 else ""
    return Verdict(
        "failed",
        "cut-off",
        f"{what} was cut off at byte {fetch.sent}{total}: {fetch.path}.",
        "The client stopped reading: too little memory, a cable, or it was switched off.",
    )


def _local(context: Context, host: str) -> Verdict:
    arming = context.armed.get(host)
    if arming and not arming["armed"]:
        return Verdict(
            "local disk",
            "not-armed",
            f"{host} is not armed, so it boots from its own disk.",
            f"./netboot arm {host}",
        )
    return Verdict("local disk")


def _loading(boot: Boot, context: Context, kind: str, silent: bool) -> Verdict:
    entry = context.entries.get(boot.entry)
    path = entry["stage"]["path"] if entry else ""
    stage = [fetch for fetch in boot.fetches if fetch.path == path]
    got = [fetch for fetch in stage if fetch.method == "GET"]
    if any(fetch.whole for fetch in got):
        return Verdict("running")
    if stage and stage[-1].status >= 400:
        return _refused(stage[-1], "The stage")
    # The web server logs a request when it ends.
    if not silent or boot.address in context.connected:
        return Verdict("loading")
    if got:
        return _cut(got[-1], "The stage")
    if stage:
        return Verdict(
            "gone silent",
            "stage-not-fetched",
            "The first stage asked for the size of its image, and did not fetch it.",
            _memory(boot, entry),
        )
    if kind == "boot" and entry and entry["method"] != "http":
        return Verdict("running", text=f"Its stage comes over {entry['method']}, unseen from here.")
    if kind == "boot":
        return Verdict(
            "gone silent",
            "stage-not-asked",
            "The kernel was started, and its first stage asked for nothing.",
            "No address for the kernel's network card (spanning tree, another card), another one "
            f"than the menu's, or {_memory(boot, entry)}",
        )
    return Verdict(
        "gone silent",
        "stopped-loading",
        f"After the {kind} nothing more was asked for.",
        "It was switched off, or hangs: look at its screen.",
    )


def _memory(boot: Boot, entry: Entry | None) -> str:
    needs = f"the entry needs {entry['memory_mib']} MiB" if entry else "memory"
    has = boot.facts.get("memory")
    return f"too little memory: {needs}" + (f", the machine has {has} MiB." if has else ".")
