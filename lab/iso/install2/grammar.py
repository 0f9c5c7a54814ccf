"""The calls of autoinstall.scm that public examples have, by generation; all others are refused.

A call is ``("/object" key value ...)``. Its values are compared by type too: ``"write"`` is a
string and ``apply`` a symbol in all examples. Free texts (names, commands, addresses) have the form
that they must have to mean something; ``utc`` and ``allow_su`` choose, so may be ``#f`` too.
"""

import ipaddress
import re
from dataclasses import dataclass

from .scheme import Dotted, Refused, Symbol, read, same


@dataclass(frozen=True)
class Call:
    """One line of autoinstall.scm. keys: its values by their names."""

    line: int
    name: str
    keys: dict


@dataclass(frozen=True)
class Kind:
    """A kind of value: what it is in a message, and whether a value is of it."""

    what: str
    holds: object


def _shown(value):
    """A value as it is written."""
    if value is True or value is False:
        return "#t" if value else "#f"
    if isinstance(value, Dotted):
        return f"({' '.join(map(_shown, value))} . {_shown(value.tail)})"
    if isinstance(value, list):
        return f"({' '.join(map(_shown, value))})"
    if isinstance(value, Symbol) or not isinstance(value, str):
        return str(value)
    return f'"{value}"'


def exactly(*values):
    """One of these values, of the same type."""
    return Kind(
        " or ".join(_shown(value) for value in values),
        lambda given: any(same(given, value) for value in values),
    )


def text(pattern, what):
    """A string that a regular expression matches whole."""
    return Kind(what, lambda given: type(given) is str and bool(re.fullmatch(pattern, given, re.S)))


def texts(pattern, what):
    """A list of such strings, at least one."""
    one = text(pattern, what)
    return Kind(
        f"a list of {what}",
        lambda given: type(given) is list and bool(given) and all(map(one.holds, given)),
    )


def _is_address(given):
    try:
        ipaddress.IPv4Address(given)
    except ValueError:
        return False
    return type(given) is str


WRITE = exactly("write")
TRUE, FALSE, BOOL = exactly(True), exactly(False), exactly(True, False)
LOCALES = texts(r"[a-z]{2}_[A-Z]{2}", 'locales like "ru_RU"')
NAME = text(r"[a-z_][a-z0-9_-]{0,31}", "a user's name")
PLAIN = text(r"[^\n]+", "a password")
HASH = text(r"\$(?:y|gy|[0-9][a-z]?)\$[!-9;-~]+", "a password's hash as in /etc/shadow")
ADDRESS = Kind("an IPv4 address", _is_address)
ADDRESS_OR_NONE = Kind('an IPv4 address or ""', lambda given: given == "" or _is_address(given))
ADDRESSES = Kind(
    "IPv4 addresses with spaces between them",
    lambda given: type(given) is str and all(map(_is_address, given.split())),
)
NIC = text(r"[a-z][a-z0-9_.-]{0,14}", "a network card's name")
PROFILE = re.compile(r"/evms/profiles/([A-Za-z0-9_-]+)")
HOOKS = ("/postinstall/laststate", "/postinstall/firsttime")

# The order in which the examples have the steps that build on each other.
STEPS = (
    ("/evms/control", "open"),
    ("/evms/control", "update"),
    ("/evms/profiles/", None),
    ("/evms/control", "commit"),
    ("/evms/control", "close"),
    ("/remount-destination", None),
    ("package step", None),
    ("/pkg-install", None),
    ("/preinstall", None),
    ("/grub", None),
)
# What writes into the installed system, which is there once /preinstall is done.
AFTERWARDS = ("/net-eth", "/root/change_password", "/users/create_account", *HOOKS)
ONCE = ("/sysconfig-base/language", "/sysconfig-base/kbd", "/datetime-installer")
ONCE += ("/root/change_password",)


def check(source, features):
    """Reads autoinstall.scm.

    source: its text. features: Features of the installer.
    Returns a list of Call. Raises Refused with the line and what is wrong.
    """
    calls = [_call(line, value, features) for line, value in read(source)]
    _check_steps(calls, features)
    _check_networks([call for call in calls if call.name == "/net-eth"])
    for name in ONCE:
        _at_most_one([call for call in calls if call.name == name], name)
    for key in ("script", "run"):
        for hook in HOOKS:
            # The file that the module writes has the same name each time.
            writers = [call for call in calls if call.name == hook and key in call.keys]
            _at_most_one(writers, f"{hook} {key}")
    names = [call.keys["new_name"] for call in calls if call.name == "/users/create_account"]
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"/users/create_account makes {name} twice")
    return calls


def step_of(call, features):
    """The member of STEPS that a call is, or None."""
    if call.name == "/evms/control":
        return call.name, str(call.keys["control"])
    if PROFILE.fullmatch(call.name):
        return "/evms/profiles/", None
    if call.name.lstrip("/") == features.package_step:
        return "package step", None
    return (call.name, None) if (call.name, None) in STEPS else None


def _call(line, value, features):
    if type(value) is not list or not value or type(value[0]) is not str:
        raise Refused(f'line {line}: {_shown(value)} is no call like ("/object" key value)')
    name, *words = value
    where = f"line {line}: {name}"
    keys = {}
    for key, given in zip(words[::2], words[1::2]):
        if type(key) is not Symbol:
            raise Refused(f"{where}: {_shown(key)} stands where a key should")
        if key in keys:
            raise Refused(f"{where}: {key} is there twice")
        keys[str(key)] = given
    if len(words) % 2:
        raise Refused(f"{where}: {_shown(words[-1])} has no value after it")
    refusals = []
    for needed, optional in _forms(name, keys, features, where):
        refusal = _compare(keys, needed, optional)
        if not refusal:
            return Call(line, name, keys)
        refusals.append(refusal)
    raise Refused(f"{where}: {'; or: '.join(refusals)}")


def _compare(keys, needed, optional):
    """What keeps keys from having this form, or None."""
    for key, given in keys.items():
        kind = needed.get(key) or optional.get(key)
        if not kind:
            return f"no public example has the key {key} here"
        if not kind.holds(given):
            return f"{key} is {_shown(given)}, not {kind.what}"
    missing = [key for key in needed if key not in keys]
    return f"{', '.join(missing)} is missing" if missing else None


def _forms(name, keys, features, where):
    """The forms of a call, each (needed keys, optional keys); Refused for calls that none has."""
    write = {"action": WRITE}
    if name == "/sysconfig-base/language":
        return [({**write, "lang": LOCALES}, {})]
    if name == "/sysconfig-base/kbd":
        layouts = exactly("ctrl_shift_toggle", "alt_shift_toggle", "alt_sh_toggle")
        return [({**write, "layout": layouts}, {"language": LOCALES})]
    if name == "/datetime-installer":
        place = text(r"[A-Z]{2}|[A-Z][a-z]+", 'a country or region like "RU" or "Asia"')
        zone = text(r"[A-Z][A-Za-z]+(?:/[A-Za-z0-9_+-]+)+|UTC", "a time zone")
        optional = {"ctime": text(r".*", "a time"), "language": LOCALES}
        return [({**write, "commit": TRUE, "name": place, "zone": zone, "utc": BOOL}, optional)]
    if name == "/evms/control":
        opens = {**write, "control": exactly(Symbol("open")), "installer": TRUE}
        others = exactly(Symbol("update"), Symbol("commit"), Symbol("close"))
        return [
            (opens, {}) if keys.get("control") == "open" else ({**write, "control": others}, {})
        ]
    if PROFILE.fullmatch(name):
        needed = {"action": exactly(Symbol("apply")), "commit": FALSE}
        return [({**needed, "clearall": TRUE, "exclude": exactly([])}, {})]
    if name.lstrip("/") in ("pkg-init", "pkg-install-init"):
        if name.lstrip("/") != features.package_step:
            raise Refused(f"{where}: this installer has {features.package_step} instead")
        return [(write, {})]
    if name == "/pkg-install":
        lists = text(r"|[\w.+-]+(?:/[\w.+-]+)+(?: [\w.+-]+(?:/[\w.+-]+)+)*", "paths of lists")
        return [({"lists": lists}, {**write, "auto": TRUE})]
    if name == "/preinstall":
        return [(write, {})]
    if name == "/remount-destination" and features.remount:
        return [(write, {})]
    if name == "/grub":
        device = text(r"/dev/[a-z0-9/]+|efi|efiremovable|efinonvram", "a disk, or efi")
        star = exactly("*")
        optional = {"passwd": FALSE, "passwd_1": star, "passwd_2": star}
        return [({**write, "device": device}, optional)]
    if name == "/net-eth":
        return _net_eth_forms(keys, features)
    if name == "/root/change_password":
        return _passwords(keys, features, {}, write)
    if name == "/users/create_account":
        person = {features.person: text(r"[^:\n]*", "a name without colons")}
        needed = {"new_name": NAME, "allow_su": BOOL, "auto": FALSE, **person}
        optional = {**write, "autologin": FALSE} if features.crypted else write
        return _passwords(keys, features, needed, optional)
    if name in HOOKS and features.postinstall:
        url = text(r"(?:https?|ftp)://[^\s/]+/\S*", "an http, https or ftp URL")
        return [
            ({"run": text(r".+", "a command")}, write),
            ({"script": url}, write),
        ]
    raise Refused(f"{where}: no public example of this generation has this call")


def _net_eth_forms(keys, features):
    write = {"action": WRITE}
    if keys.get("action") == "add_iface_address":
        width = text(r"[1-9]|[12][0-9]|3[0-2]", "a prefix length")
        needed = {"action": exactly("add_iface_address"), "name": NIC, "ipv": exactly("4")}
        return [({**needed, "addip": ADDRESS, "addmask": width}, {})]
    if "reset" in keys:
        return [({**write, "reset": TRUE}, {})]
    if "commit" in keys:
        return [({**write, "commit": TRUE}, {})]
    label = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    needed = {
        **write,
        "name": NIC,
        "ipv": exactly("4"),
        "ipv_enabled": TRUE,
        "configuration": exactly("dhcp", "static"),
    }
    optional = {
        "default": ADDRESS_OR_NONE,
        "search": text(r"[A-Za-z0-9. -]*", "domains with spaces between them"),
        "dns": ADDRESSES,
        "computer_name": text(rf"{label}(?:\.{label})*", "a host name"),
        "controlled": exactly(*features.controllers),
        "onboot": TRUE,
    }
    return [(needed, optional)]


def _passwords(keys, features, needed, optional):
    """Forms with a plain password twice, or its hash once."""
    if "iscrypted" in keys and features.crypted:
        return [({**needed, "iscrypted": TRUE, "passwd_1": HASH}, optional)]
    again = exactly(keys.get("passwd_1"))
    return [({**needed, "passwd_1": PLAIN, "passwd_2": Kind("the same", again.holds)}, optional)]


def _check_steps(calls, features):
    """Each step once and in order; what follows the last ones that they need is there too."""
    wanted = [step for step in STEPS if step != ("/remount-destination", None)]
    done = [(call, step_of(call, features)) for call in calls]
    done = [(call, step) for call, step in done if step]
    for (call, step), (_, before) in zip(done[1:], done):
        if STEPS.index(step) <= STEPS.index(before):
            steps = f"{_said(step)} after {_said(before)}"
            raise Refused(f"line {call.line}: {steps}, which no public example has")
    for step in wanted:
        if step not in [step for _, step in done]:
            raise Refused(f"{_said(step, features)} is missing")
    (there,) = [call.line for call in calls if call.name == "/preinstall"]
    for call in calls:
        if call.name in AFTERWARDS and call.line < there:
            raise Refused(
                f"line {call.line}: {call.name} before /preinstall: no system is there yet"
            )


def _check_networks(calls):
    """reset, then cards and addresses, then commit; an address for each static card, no other."""
    if not calls:
        return
    if "reset" not in calls[0].keys or "commit" not in calls[-1].keys:
        raise Refused("/net-eth: the first of its calls is reset #t and the last commit #t")
    static, dhcp, addressed = set(), set(), set()
    for call in calls[1:-1]:
        keys = call.keys
        if "reset" in keys or "commit" in keys:
            raise Refused(f"line {call.line}: /net-eth: reset and commit once each, first and last")
        if "addip" in keys:
            addressed.add(keys["name"])
        else:
            (static if keys["configuration"] == "static" else dhcp).add(keys["name"])
    if static != addressed or static & dhcp:
        cards = ", ".join(sorted(static ^ addressed | static & dhcp))
        raise Refused(f"/net-eth: an add_iface_address for each static card and only them: {cards}")


def _at_most_one(calls, what):
    if len(calls) > 1:
        raise Refused(f"line {calls[1].line}: {what} is there twice")


def _said(step, features=None):
    name, control = step
    if name == "package step" and features:
        name = features.package_step
    return f"{name} {control}" if control else name
