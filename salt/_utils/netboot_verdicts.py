"""
How a client's boot ended, or how far it is, and why it may have stopped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from netboot_causes import CAUSES
from netboot_firmware import SECURE_BOOT
from netboot_host_checks import colons
from netboot_labels import LABELS
from netboot_seen import Boot, Fetch, Step
from netboot_shapes import Entry

#: Seconds after which nothing more is expected: of firmware and menus, and of a kernel that starts,
#: whose network card may wait for its switch.
_SILENT_S = 30
_KERNEL_S = 120
#: A menu without a time-out waits for somebody.
_IN_MENU_S = 3600
#: Of the boots before one, more are not looked at.
LOOKED_AT = 10
#: So many boots within so many seconds are a loop.
_AGAIN_S = 600
_LOOP = 3
# A file of which this much came, at less than so many bytes a second, came slowly.
_MUCH = 2 << 20
_SLOW = 1_000_000
#: Lines of the menu that boot nothing from here.
_CHOICES = {
    "reboot": "It was rebooted from the menu.",
    "firmware": "It went back to its firmware from the menu.",
    "shell": "It was left in iPXE's shell.",
    "handed": "It went on to the server that has armed it.",
}
#: The web server is missed by what stopped so long before.
_BEFORE_S = 60
_FAILURES = ("failed", "missing", "refused")
_BEGINS = ("menu", "chosen", "host")
_LOADS = ("initrd", "kernel", "chosen", "host")
#: What is seen of a boot before its menu reports anything.
_FIRMWARE = ("dhcp", "ipxe", "ignored", "tftp", "tftp cut off", "tftp missing", "loader")
_NONE = Step(0, "")
# iPXE's error numbers begin with that of its list of POSIX errors (ipxe.org/err), in hexadecimal.
_UNREACHABLE = {
    "0e": "the connection was refused",
    "0f": "the connection was reset",
    "17": "the server cannot be reached",
    "1d": "the connection ended before the file did",
    "28": "the server's network cannot be reached",
    "38": "the connection broke",
    "4c": "the server did not answer in time",
}
_ERRNO = {
    "02": "the server refused it",
    "2d": "the server has no such file",
    "31": "there is not enough memory",
}
_NOT_BOOTABLE = "2e"
#: In their place: the menu compared digests, or knows what Secure Boot refuses.
_OTHER_SUM = "sum"
_INSECURE = "secure"
_ON = "01"
_SHIMS = {names[one] for names in SECURE_BOOT.values() for one in ("shim", "own")}
_SECOND_STAGES = {names[one] for names in SECURE_BOOT.values() for one in ("ipxe", "default")}


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
    hosts: int = 0  # in the pillar
    #: Paths that are served and not what was verified, with the time of their change.
    changed: Mapping[str, float] = MappingProxyType({})
    #: The web server: its unit, port, URL, and from when to when it did not run of late.
    service: str = "nginx"
    port: int = 80
    url: str = ""
    outage: tuple[float, float] | None = None
    lease_s: int = 0  # of the addresses that this server gives; 0: it gives none
    others: Sequence[str] = ()  # boots that other servers offer, as texts


def verdict(boot: Boot, context: Context, host: str = "", earlier: Sequence[Boot] = ()) -> Verdict:
    """
    Return how a boot ended, or how far it is.

    boot
        The boot.

    context
        See ``Context``.

    host
        Name of the client in the pillar, if it has one.

    earlier
        The boots of the same client before it, the oldest first.
    """
    how = _verdict(boot, context, host)
    if how.cause in ("", "stopped-loading", "stage-not-asked") and how.state != "in menu":
        return _loop(boot, earlier) or how
    return how


def _stopped(cause: str, state: str = "", /, **fields: object) -> Verdict:
    known = CAUSES[cause]
    text, advice = known.text.format(**fields), known.advice.format(**fields)
    return Verdict(state or known.state, cause, text, advice)


def _verdict(boot: Boot, context: Context, host: str) -> Verdict:
    kind = _kind(boot)
    # Of a kernel that comes by TFTP nothing is seen until it is there.
    patient = kind == "boot" or (kind in _LOADS and not boot.fetches)
    silent = context.now - boot.last > (_KERNEL_S if patient else _SILENT_S)
    if kind == "failed":
        return _failed(boot, context, host)
    if kind == "missing":
        arming = context.armed.get(host)
        armed = arming and arming["armed"]
        cause = "armed-not-ready" if armed else "entry-not-ready"
        return _stopped(cause, entry=boot.entry, host=host)
    if kind == "refused":
        return _stopped("wrong-password")
    if kind == "local":
        return _local(context, host)
    if kind == "turn":
        waiting = context.now - boot.last < _IN_MENU_S
        text = "It waits for its turn to load: netboot:http:clients_at_once."
        return Verdict("loading" if waiting else "gone silent", text=text)
    if kind in ("answers", "installer"):
        return _installing(boot, host)
    last = boot.steps[-1].what.lstrip("!") if boot.steps else ""
    if kind in _CHOICES or (kind == "chosen" and last in _CHOICES):
        return Verdict("gone silent", text=_CHOICES[kind if kind in _CHOICES else last])
    if kind in ("chosen", "host") and boot.entry.lstrip("!").startswith("+"):
        return Verdict("running", text="It started a line of netboot:menu:extra.")
    if kind == "chosen" and boot.entry.startswith(("@", "!")):
        kind = "menu"
    if kind == "boot" or kind in _LOADS:
        return _loading(boot, context, kind, silent)
    if kind == "menu":
        return _in_menu(boot, context, host)
    # A menu that reports nothing: of an earlier version, or its reports failed.
    stages = {entry["stage"]["path"] for entry in context.entries.values()}
    if any(fetch.whole and fetch.path in stages for fetch in boot.fetches):
        return Verdict("running")
    if _lacks_a_feature(boot):
        return _stopped("ipxe-lacks-feature", file=os.path.basename(last))
    if not silent:
        return Verdict("loading")
    if kind == "script missing":
        return _stopped("script-missing", file=os.path.basename(last))
    return _firmware(boot, context) if kind in _FIRMWARE else _stopped("script-without-menu")


def _installing(boot: Boot, host: str) -> Verdict:
    """Return a verdict on a host that is installed unattended."""
    step, _, why = boot.steps[-1].what.partition(" ")
    if boot.steps[-1].kind == "answers" and why:
        return _stopped("answers-missing", file=os.path.basename(step), host=host)
    if step.startswith("failed-"):
        return _stopped("install-failed", step=step[7:], why=why or "no reason given", host=host)
    return Verdict("running", text=f"Its installer's last word: {step}.")


def _kind(boot: Boot) -> str:
    """Return the kind of the last step; of a failure, after which the local disk boots, its own."""
    kinds = [step.kind for step in boot.steps]
    if kinds[-1:] == ["local"]:
        kinds.pop()
    if kinds[-2:] == ["missing", "failed"]:
        kinds.pop()
    return kinds[-1] if kinds[-1:] and kinds[-1] in _FAILURES else (boot.steps or [_NONE])[-1].kind


def _loop(boot: Boot, earlier: Sequence[Boot]) -> Verdict | None:
    """Return a verdict if a client begins again and again, each time to the same step."""
    again, step = [boot], (boot.steps or [_NONE])[-1]
    for before in reversed(earlier):
        if boot.started - before.started > _AGAIN_S or _end(before) != _end(boot):
            break
        again.append(before)
    if len(again) < _LOOP:
        return None
    times = {"times": len(again), "minutes": round((boot.started - again[-1].started) / 60) or 1}
    if step.kind == "local":
        return _stopped("local-disk", **times)
    return _stopped("loop", **times, step=f"{step.kind} {boot.entry}".strip())


def _end(boot: Boot) -> tuple[str, str]:
    return (boot.steps or [_NONE])[-1].kind, boot.entry


# -- before the menu -----------------------------------------------------------------------------


def _firmware(boot: Boot, context: Context) -> Verdict:
    """Return a verdict on a boot of which its menu reported nothing."""
    last = boot.steps[-1]
    file = os.path.basename(last.what)
    if last.kind == "ignored":
        return _stopped("unknown-firmware", arch=last.what)
    if last.kind == "tftp cut off":
        return _stopped("tftp-cut-off", file=file)
    if last.kind == "tftp missing":
        script = file.endswith(".ipxe")
        return _stopped("script-missing" if script else "loader-missing", file=file)
    if last.kind in ("tftp", "loader"):
        if file.endswith(".ipxe"):
            return _without_web(boot, context)
        return _not_started(boot, context)
    if last.what.startswith("http"):
        return _without_web(boot, context)
    if context.others:
        return _stopped("other-server", others="; ".join(context.others))
    return _stopped("file-not-asked", file=file) if file else _stopped("offer-not-taken")


def _not_started(boot: Boot, context: Context) -> Verdict:
    """Return a verdict on a boot that ended with a file over TFTP or UEFI's HTTP boot."""
    *before, what = [step.what for step in boot.steps]
    file = os.path.basename(what)
    loaded = {os.path.basename(one) for one in before}
    if file in _SHIMS:
        return _stopped("shim-refused", file=file)
    if file in _SECOND_STAGES and loaded & _SHIMS:
        return _stopped("second-stage-refused", file=file)
    if loaded & _SECOND_STAGES and not file.endswith(".efi"):
        return _by_grub(boot, what, context)
    return _stopped("secure-boot" if file.endswith(".efi") else "loader-not-started", file=file)


def _by_grub(boot: Boot, what: str, context: Context) -> Verdict:
    """Return a verdict on what a GRUB loaded last."""
    for entry in context.entries.values():
        if what.endswith(entry["kernel"]):
            return _stopped("kernel-refused", what=f"The kernel of {entry['image']}")
        if what.endswith(entry["initrd"]):
            stage = [fetch for fetch in boot.fetches if fetch.path == entry["stage"]["path"]]
            if stage:
                return _cut(boot, context, stage[-1], "The stage")
            told = {"entry": entry["id"], "needs": entry["memory_mib"]}
            return _stopped("stage-not-asked", **told)
    return Verdict("gone silent", text="It read GRUB's menu, which reports nothing.")


def _lacks_a_feature(boot: Boot) -> bool:
    """Return whether an iPXE that came from here got a boot loader, no menu, see netboot_dhcp."""
    *before, last = boot.steps or [_NONE]
    loaded = [os.path.basename(step.what) for step in before if step.kind == "tftp"]
    return last.kind == "ipxe" and not last.what.endswith(".ipxe") and last.what in loaded


def _without_web(boot: Boot, context: Context) -> Verdict:
    last = boot.steps[-1].what
    what = last if last.startswith("http") else f"the menu from {context.url}"
    return _down(boot.last, context) or _stopped(
        "web-server-not-reached", what=what, port=context.port
    )


def _down(at: float, context: Context) -> Verdict | None:
    """Return a verdict if the web server did not run at a time, or ended soon after."""
    began, ended = context.outage or (0, 0)
    if not began - _BEFORE_S <= at <= ended:
        return None
    since = "it was started later" if ended < context.now else "it does not run now either"
    return _stopped("web-server-down", service=context.service, since=since)


# -- the menu ------------------------------------------------------------------------------------


def _in_menu(boot: Boot, context: Context, host: str) -> Verdict:
    waits = int(boot.facts.get("waits_ms") or 0) / 1000
    waiting = context.now - boot.last < (waits + 60 if waits else _IN_MENU_S)
    state = "in menu" if waiting else "gone silent"
    arch = boot.facts.get("arch", "")
    shown = ("x86_64", "i586") if arch == "x86_64" else (arch,)
    if arch and not any(entry["arch"] in shown for entry in context.entries.values()):
        return _stopped("no-image-for-arch", state, arch=arch)
    if context.hosts and not host and boot.mac:
        return _stopped("not-in-pillar", state, mac=colons(boot.mac))
    return Verdict(state) if waiting else _stopped("left-in-menu")


def _local(context: Context, host: str) -> Verdict:
    arming = context.armed.get(host)
    if arming and not arming["armed"]:
        return _stopped("not-armed", host=host)
    return Verdict("local disk")


# -- what is loaded ------------------------------------------------------------------------------


def _failed(boot: Boot, context: Context, host: str) -> Verdict:
    at = next((step.what for step in boot.steps[::-1] if step.kind == "failed"), "") or "script"
    if at == "answers":
        return _stopped("answers-missing", file="answers", host=host)
    what = f"The {at}"
    begun = max((step.at for step in boot.steps if step.kind in _BEGINS), default=0)
    fetches = [fetch for fetch in boot.fetches if fetch.at >= begun]
    refused = [fetch for fetch in fetches if fetch.status >= 400]
    if refused:
        return _refused(refused[-1], what)
    number = boot.facts.get("errno", "")
    if number == _INSECURE:
        name = boot.entry or boot.facts.get("refused", "")
        entry = context.entries.get(name)
        why = LABELS["en"].get(entry["secure_lacks"] if entry else "", "it is not signed for it")
        return _stopped("image-not-signed", entry=name, why=why)
    changed = _changed(fetches, context)
    if changed or number == _OTHER_SUM:
        return _stopped("wrong-digest", path=changed[-1] if changed else what)
    cut = [fetch for fetch in fetches if not fetch.whole and fetch.method == "GET"]
    if cut:
        return _down(cut[-1].at, context) or _cut(boot, context, cut[-1], what)
    error = number.replace(":", "")[:2]
    if error == _NOT_BOOTABLE:
        return _stopped("not-bootable", what=what)
    if error in _UNREACHABLE:
        return _stopped("unreachable", what=what, why=_UNREACHABLE[error], service=context.service)
    if at == "boot" and boot.facts.get("secure_boot") == _ON:
        return _stopped("kernel-refused", what=f"The kernel of {boot.entry}")
    unknown = f"iPXE's error is {number}" if number else "iPXE names no error"
    return _stopped("not-loaded", what=what, why=_ERRNO.get(error, unknown))


def _refused(fetch: Fetch, what: str) -> Verdict:
    cause = "not-found" if fetch.status in (404, 410) else "forbidden"
    return _stopped(cause, what=what, path=fetch.path, status=fetch.status)


def _cut(boot: Boot, context: Context, fetch: Fetch, what: str) -> Verdict:
    total = fetch.length if fetch.length >= 0 else "an unknown size"
    how = {"what": what, "sent": fetch.sent, "total": total, "path": fetch.path}
    lasted = fetch.at - boot.started
    if context.lease_s and lasted >= context.lease_s:
        return _stopped("lease-too-short", **how, seconds=round(lasted), lease=context.lease_s)
    return _stopped("cut-off", **how)


def _loading(boot: Boot, context: Context, kind: str, silent: bool) -> Verdict:
    entry = context.entries.get(boot.entry)
    stage = _stage(boot, entry, kind)
    got = [fetch for fetch in stage if fetch.method == "GET"]
    whole = any(fetch.whole for fetch in got) or _in_parts(got)
    changed = _changed(boot.fetches, context)
    if changed and (silent or whole):
        # What was sent whole may run all the same, as not every first stage checks it.
        return _stopped("wrong-digest", "running" if whole else "", path=changed[-1])
    needs = entry["memory_mib"] if entry else 0
    told = {"entry": boot.entry, "needs": needs}
    has = boot.facts.get("memory", "")
    lacks = has.isdecimal() and int(has) < needs
    if whole:
        # It may run all the same, as what it needs is estimated.
        doubt = (
            f"It was sent everything; it has {has} MiB of memory, and {boot.entry} needs {needs}."
        )
        return _slowly(boot, "running") or Verdict("running", text=doubt if lacks else "")
    if stage and stage[-1].status >= 400:
        return _refused(stage[-1], "The stage")
    # The web server logs a request when it ends.
    if not silent or boot.address in context.connected:
        return _slowly(boot, "loading") or Verdict("loading")
    if got:
        return _cut(boot, context, got[-1], "The stage")
    if kind == "boot" and entry and entry["method"] != "http":
        return Verdict("running", text=f"Its stage comes over {entry['method']}, unseen from here.")
    if not entry and kind == "boot" and not stage:
        return Verdict("gone silent", text=f"{boot.entry} is no longer in the menu.")
    if (stage or kind == "boot") and lacks:
        return _stopped("too-little-memory", **told, has=has)
    if stage:
        return _stopped("stage-not-fetched", **told)
    if kind == "boot":
        return _stopped("stage-not-asked", **told)
    return _down(boot.last, context) or _stopped("stopped-loading", step=kind)


def _stage(boot: Boot, entry: Entry | None, kind: str) -> list[Fetch]:
    """Return what the first stage fetched; of an entry that is another now, all after boot."""
    path = entry["stage"]["path"] if entry else ""
    stage = [fetch for fetch in boot.fetches if fetch.path == path]
    if stage or kind != "boot":
        return stage
    started = boot.steps[-1].at
    return [fetch for fetch in boot.fetches if fetch.at > started]


def _in_parts(got: list[Fetch]) -> bool:
    """Return whether the rest of a file was fetched by its range."""
    rest = got[1:] and got[-1].status == 206 and got[0].length >= 0
    return bool(rest) and sum(fetch.sent for fetch in got) >= got[0].length


def _changed(fetches: list[Fetch], context: Context) -> list[str]:
    """Return the paths of what was fetched after it had been changed."""
    changed = context.changed
    return [fetch.path for fetch in fetches if changed.get(fetch.path, fetch.at + 1) <= fetch.at]


def _slowly(boot: Boot, state: str) -> Verdict | None:
    """Return a verdict if what a boot loaded came slowly."""
    for fetch in boot.fetches:
        if fetch.sent >= _MUCH and fetch.sent < _SLOW * fetch.seconds:
            rate = f"{fetch.sent / fetch.seconds / 1e6:.1f}"
            return _stopped("slow", state, path=fetch.path, rate=rate)
    return None
