"""
Checks of pillar values: each returns what is wrong with a value, or None. Pure.

A check also has a ``schema``: the part of its rule that JSON Schema (draft 2020-12) can express.
"""

from __future__ import annotations

import re
import string
from typing import Any

from netboot_labels import LETTERS, latin
from netboot_names import label, nearest
from netboot_paths import LEASES, STATE_DIR
from netboot_patterns import (
    WRITTEN,
    Check,
    Wrong,
    duplicate,
    each,
    like,
    list_of,
    others,
    refused,
    shown,
)

# An image's name travels through URLs, iPXE scripts and altboot's `automatic=`, none of which can
# quote: altboot splits at commas. Its spaces become `_`, and its letters Latin.
_RUSSIAN = "".join(filter(str.isalpha, LETTERS))
_DIRECTORY_NAME = "[a-z0-9][a-z0-9._+-]{0,99}"
_IMAGE_NAME = rf"[A-Za-z0-9{_RUSSIAN}][A-Za-z0-9{_RUSSIAN} ._+-]*"
# iPXE interprets these anywhere in a line (ipxe.org/scripting) and has no quoting.
_IPXE_ACTS_ON = ("${", "||", "&&", ";", "#")


# A menu has 80 columns.
_LONGEST_TEXT = 76
# A kernel's command line has 2048 characters (COMMAND_LINE_SIZE of x86 and arm64). A host, its
# board and the groups of both add to an entry's line, which netboot_entries limits.
LONGEST_ARGUMENTS = 1024
LONGEST_HOST_ARGUMENTS = 192

_LOCALE = r"[a-z]{2,3}_[A-Z]{2}(\.[A-Za-z0-9-]+)?"
# Password hashes that nginx accepts: those of crypt(5) and its own (ngx_crypt.c), complete. It
# computes them in the process that serves the files: these limits keep that to some 0.1 s.
_SALT, _SIGN = "[./A-Za-z0-9=,+]", "[./A-Za-z0-9]"
_ROUNDS = "rounds=[1-9][0-9]{3,4}"
_SALTED = rf"({_ROUNDS}\$)?(?!rounds=){_SALT}{{1,16}}"
_CRYPT_HASH = (
    rf"(\$(apr1|1)\${_SALT}{{1,8}}\${_SIGN}{{22}}|\{{SSHA\}}[A-Za-z0-9+/]{{27,}}={{0,2}}"
    rf"|\$(5\${_SALTED}\${_SIGN}{{43}}|6\${_SALTED}\${_SIGN}{{86}})"
    rf"|\$2[aby]\$(0[4-9]|10)\${_SIGN}{{53}}"
    rf"|\$y\$j[./0-9A][./0-9A-T]\${_SIGN}{{0,86}}\${_SIGN}{{43}})"
)
_PATH_IN_ISO = r"/?[A-Za-z0-9._+/-]+"
_DIRECTORY = r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+"
_FILE = r"(/[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*)+"
_UNIT = r"[A-Za-z0-9][A-Za-z0-9._@:+-]*"
_USER_NAME = r"[A-Za-z0-9._-]{1,32}"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,30}"
# See `argument`: words whose settings of iPXE are whole, without what iPXE acts on.
_ARGUMENT = r"(?!#)(?![!-~]*(\|\||&&|;|\$\{(?![a-z0-9/:._-]+\})))(?![!-~]*\\( |$))[!-~]+"
# See `script`: lines without labels, the last without a backslash.
_SCRIPT = r"(?=\s*\S)(?!(.*\n)*\s*:)(?!(.*\n)*.*\\\s*$)[\t\n -~]*"
# See `text`: what iPXE acts on, a last backslash, and a first - even after spaces.
_TEXT = rf"(?!.*(\$\{{|\|\||&&|[;#]))(?!.*\\$) *[!-,.-~{LETTERS}][ -~{LETTERS}]*"


@like(type="string", pattern=f"^{_TEXT}$", maxLength=_LONGEST_TEXT)
def text(value: Any) -> Wrong:
    if not isinstance(value, str) or not value.strip():
        return refused(value, "must be a string")
    if len(value) > _LONGEST_TEXT:
        return f"must be at most {_LONGEST_TEXT} characters long, not {len(value)}"
    if value.lstrip().startswith("-"):
        return "must not begin with -: iPXE would read it as an option"
    if odd := others(value, f" -~{LETTERS}"):
        rule = "use Latin or Russian letters, digits and the signs of ASCII"
        return f"contains characters that a boot menu cannot show: {odd}; {rule}"
    return _for_ipxe(value) or _drawn(value)


def _for_ipxe(text: str) -> Wrong:
    for word in _IPXE_ACTS_ON:
        if word in text:
            return f"contains {word!r}, which iPXE interprets and cannot quote"
    return _goes_on(text)


def _drawn(text: str) -> Wrong:
    """Return what is wrong with a text once its letters are Latin, as most firmware draws it."""
    plain = latin(text)
    wrong = "is empty" if not plain.strip() else _for_ipxe(plain)
    wrong = "begins with -" if plain.lstrip().startswith("-") else wrong
    return f"in Latin letters, as a menu draws it, is {plain!r}: {wrong}" if wrong else None


def _goes_on(text: str) -> Wrong:
    # iPXE's script.c, process_script
    if text.endswith("\\"):
        return "ends in a backslash, which joins it to the next line of the iPXE script"
    return None


def arguments(most: int) -> Check:
    @like(
        anyOf=[
            {
                "type": "string",
                "pattern": f"^ *{_ARGUMENT}( +{_ARGUMENT})* *\\n?$",
            },
            list_of({"type": "string", "pattern": f"^{_ARGUMENT}$"}),
        ]
    )
    def check(value: Any) -> Wrong:
        if not isinstance(value, list) and (not isinstance(value, str) or not value.strip()):
            return refused(value, "must be a list of kernel arguments, or a string of them")
        # As YAML folds lines, and people align them.
        words = value
        if isinstance(value, str):
            words = re.split(" +", re.sub("\n$", "", value).strip(" "))
        for word in words:
            if wrong := argument(word):
                return f"{word!r} {wrong}"
        if len(" ".join(words)) > most:
            return (
                f"must be at most {most} characters long in total, not {len(' '.join(words))}: "
                "kernels cut off the rest"
            )
        return None

    return check


def argument(word: Any) -> Wrong:
    if not isinstance(word, str) or not re.fullmatch(r"[!-~]+", word):
        rule = "must be a kernel argument: printable ASCII characters without spaces"
        return refused(word, rule, "!-~")
    # Settings of iPXE, such as ${mac:hexhyp}, are allowed.
    bare = re.sub(r"\$\{[a-z0-9/:._-]+\}", "", word)
    for sign in ("${", "||", "&&", ";"):
        if sign in bare:
            return f"contains {sign!r}, which iPXE interprets and cannot quote"
    if word.startswith("#"):
        return "begins with #, which starts a comment in iPXE"
    return _goes_on(word)


@like(type="string", pattern=f"^{_SCRIPT}$")
def script(value: Any) -> Wrong:
    if not isinstance(value, str) or not value.strip():
        return refused(value, "must be lines of iPXE script")
    for line in value.split("\n"):
        if line.lstrip().startswith(":"):
            return f"contains the label {line.strip()!r}, which may clash with a label of the menu"
        odd = [char for char in line if char not in string.printable or char in "\r\v\f"]
        if odd:
            return f"contains characters that iPXE cannot show: {shown(odd)}"
    return _goes_on(value.strip())


@like(
    type="array",
    items={
        "type": "object",
        "required": ["snippet"],
        "properties": {
            "comment": {"type": ["string", "null"], "pattern": WRITTEN},
            "snippet": {"type": "string", "pattern": f"^{_SCRIPT}$"},
        },
        "additionalProperties": False,
    },
)
def snippets(value: Any) -> Wrong:
    if not isinstance(value, list):
        return "must be a list of maps with comment and snippet"
    for one in value:
        if not isinstance(one, dict) or not set(one) <= {"comment", "snippet"}:
            return "must be a list of maps with comment and snippet"
        if not isinstance(one.get("comment"), (str, type(None))):
            return f"comment must be a string, not {one['comment']!r}"
        wrong = script(one.get("snippet"))
        if wrong:
            return f"snippet {wrong}"
    return None


@like(
    type="array", minItems=1, uniqueItems=True, items={"type": "string", "pattern": f"^{_LOCALE}$"}
)
def languages(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return refused(value, "must be a list such as [en_US, ru_RU]")
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(_LOCALE, one):
            return f"{one!r} must be a locale such as ru_RU: two letters, _, two capitals"
    return duplicate(value)


@like(type="string", pattern=rf"^{_CRYPT_HASH}$")
def password_hash(value: Any) -> Wrong:
    rule = "must be a password's hash, as openssl passwd -6 prints it"
    # A message must not repeat what may be the password itself.
    if not isinstance(value, str):
        return f"{rule}, in quotes"
    if re.fullmatch(_CRYPT_HASH, value):
        return None
    slow = re.match(r"\$[56]\$(rounds=[0-9]*)\$|\$2[aby]\$([0-9]+)\$|\$y\$([^$]*)\$", value)
    if not slow:
        return rule
    rounds, cost, settings = slow.groups()
    if rounds and not re.fullmatch(_ROUNDS, rounds):
        return f"has {rounds}, but must have 1000 to 99999: more stall the web server"
    if cost and not 4 <= int(cost[:9]) <= 10:
        return f"has the cost {cost}, but must have 04 to 10: more stalls the web server"
    if settings and not re.fullmatch("j[./0-9A][./0-9A-T]", settings):
        return f"has the parameters {settings}, but must have at most jAT: more stall the server"
    return rule


@like(type="string", pattern=rf"^(?!(.*/)?\.\.(/|$))(?=.*[^./]){_PATH_IN_ISO}$")
def path_in_iso(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_PATH_IN_ISO, value):
        rule = "must be a path inside the ISO, such as boot/vmlinuz"
        return refused(value, rule, "A-Za-z0-9._+/-")
    if ".." in value.split("/"):
        return "must not contain .. (it would leave the ISO)"
    return (
        None if value.strip("./") else f"must be the path of a file inside the ISO, not {value!r}"
    )


# The states make root the owner of `netboot:root`, set mode 0755, and serve all that is in it.
_NO_ROOTS = (
    "/media",
    "/mnt",
    "/opt",
    "/srv",
    "/tmp",
    "/var",
    "/var/lib",
)
_NO_ROOTS_NOR_BELOW = (
    *("/bin", "/boot", "/dev", "/etc", "/proc", "/run", "/sbin", "/sys", "/usr"),
    *("/lib", "/lib32", "/lib64", "/libx32"),
    *("/home", "/root", "/var/cache", "/var/lock", "/var/log", "/var/run", "/var/spool"),
    *(STATE_DIR, LEASES, "/var/tmp", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/nfs"),
    *("/var/lib/rpm", "/var/lib/samba", "/var/lib/systemd"),
)


def _wrong_path(value: Any, rule: str) -> str:
    """Return which part of a path its pattern refuses."""
    odd = isinstance(value, str) and others(
        value, "A-Za-z0-9._+/@-" if "@" in rule else "A-Za-z0-9._+/-"
    )
    if odd or not isinstance(value, str) or not value.startswith("/"):
        return refused(value, rule, "A-Za-z0-9._+/@-" if "@" in rule else "A-Za-z0-9._+/-")
    for part in value[1:].split("/"):
        if not part or part.startswith("."):
            return f"{rule}, without the part {part!r}"
    return refused(value, rule, "A-Za-z0-9._+/@-")


@like(type="string", pattern=f"^{_DIRECTORY}$")
def directory(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_DIRECTORY, value):
        return _wrong_path(value, "must be an absolute path of letters, digits and . _ + -")
    if value in _NO_ROOTS or any(
        value == one or value.startswith(one + "/") for one in _NO_ROOTS_NOR_BELOW
    ):
        return f"must be a directory of its own; {value} belongs to the system"
    return None


def state_dir(value: Any) -> Wrong:
    """Check the minion option ``netboot.state_dir``, no pillar key: its name comes first."""
    if not isinstance(value, str) or not re.fullmatch(_DIRECTORY, value):
        return _wrong_path(
            value,
            "minion option netboot.state_dir: must be an absolute path of letters, digits and "
            ". _ + -",
        )
    return None


@like(type="string", pattern=f"^{_FILE}$")
def file(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_FILE, value):
        return _wrong_path(value, "must be an absolute path of letters, digits and . _ @ + -")
    return None


def file_ending(end: str) -> Check:
    @like(type="string", pattern=f"^{_FILE}$", allOf=[{"pattern": rf"[^/]{re.escape(end)}$"}])
    def check(value: Any) -> Wrong:
        if wrong := file(value):
            return wrong
        if not re.search(rf"[^/]{re.escape(end)}$", value):
            return f"must be the path of a file that ends in {end}, not {value!r}"
        return None

    return check


@like(type="string", pattern=f"^{_FILE[:-2].replace('(/', '', 1)}(/{_FILE[2:-2]})*$")
def file_below(value: Any) -> Wrong:
    rule = "must be a path without a leading slash, of letters, digits and . _ @ + -"
    if not isinstance(value, str) or file(f"/{value}"):
        return _wrong_path(f"/{value}" if isinstance(value, str) else value, rule)
    return None


@like(**list_of({"type": "string", "pattern": f"^{_FILE}$"}))
def files(value: Any) -> Wrong:
    if not isinstance(value, list):
        return refused(value, "must be a list of absolute paths")
    return (wrong := each(value, file)) and f"must be a list of absolute paths: {wrong}"


def _wrong_name(value: Any, rule: str, allowed: str) -> str:
    """Return which character of a name its pattern refuses, or that it is the first or last."""
    if isinstance(value, str) and value and not others(value, allowed):
        return f"{rule}, and begin with a letter or digit, not {value[0]!r}"
    return refused(value, rule, allowed)


@like(type="string", pattern=f"^{_UNIT}$")
def unit(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_UNIT, value):
        return _wrong_name(value, "must be the name of a systemd unit", "A-Za-z0-9._@:+-")
    return None


_CERTIFICATE = "^[ -~\u00a1-\u04ff]*[!-~\u00a1-\u04ff][ -~\u00a1-\u04ff]*$"


@like(**list_of({"type": "string", "pattern": _CERTIFICATE}, minItems=1))
def certificate_names(value: Any) -> Wrong:
    rule = "must be a list of names of certificates"
    if not isinstance(value, list) or not value:
        return refused(value, rule)
    good = (isinstance(one, str) and re.fullmatch(_CERTIFICATE[1:-1], one) for one in value)
    return None if all(good) else rule


def names_of(what: str) -> Check:
    @like(**list_of({"type": "string", "pattern": f"^{_UNIT}$"}))
    def check(value: Any) -> Wrong:
        # Package names allow the same characters as unit names.
        if not isinstance(value, list):
            return refused(value, f"must be a list of {what} names")
        for one in value:
            if unit(one):
                rule = f"must be a list of {what} names"
                return f"{rule}; {one!r} {unit(one)}".replace("systemd unit", what)
        return None

    return check


def whole(least: int, most: int) -> Check:
    @like(type="integer", minimum=least, maximum=most)
    def check(value: Any) -> Wrong:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"must be an integer from {least} to {most}, not {str(value)[:40]!r}"
        return None

    return check


@like(
    type="array",
    items={"type": "integer", "minimum": 1024, "maximum": 65535},
    minItems=2,
    maxItems=2,
)
def port_range(value: Any) -> Wrong:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(whole(1024, 65535)(port) for port in value)
        or value[0] > value[1]
    ):
        rule = "must be first and last port of a range above 1023, such as [50000, 50999]"
        return f"{rule}, not {str(value)[:60]!r}"
    return None


def one_of(*choices: str) -> Check:
    @like(enum=list(choices))
    def check(value: Any) -> Wrong:
        if value not in choices:
            return "must be one of {}".format(", ".join(choices)) + nearest(value, choices)
        return None

    return check


def one_of_or_off(*choices: str) -> Check:
    @like(enum=[*choices, "off", False])
    def check(value: Any) -> Wrong:
        # YAML reads a bare off as false.
        return one_of(*choices, "off")("off" if value is False else value)

    return check


def some_of(*choices: str) -> Check:
    @like(**list_of({"enum": list(choices)}, minItems=1, uniqueItems=True))
    def check(value: Any) -> Wrong:
        if not isinstance(value, list) or not value:
            return refused(value, f"must be a list of {', '.join(choices)}")
        for one in value:
            if one not in choices:
                return f"{one!r} is not one of {', '.join(choices)}" + nearest(one, choices)
        return duplicate(value)

    return check


def digest(digits: int) -> Check:
    @like(type="string", pattern=f"^[0-9A-Fa-f]{{{digits}}}$")
    def check(value: Any) -> Wrong:
        if not isinstance(value, str):
            return f"must be {digits} hexadecimal digits, in quotes"
        if len(value) != digits:
            return f"must be {digits} hexadecimal digits, but has {len(value)}"
        if not re.fullmatch(r"[0-9A-Fa-f]+", value):
            odd = others(value, "0-9A-Fa-f")
            return f"contains characters that are not hexadecimal digits: {odd}"
        return None

    return check


@like(type="boolean")
def yes_or_no(value: Any) -> Wrong:
    return None if isinstance(value, bool) else refused(value, "must be true or false")


@like()
def taken_from_iso(_value: Any) -> Wrong:
    return None


@like(type="string", pattern=f"^{_USER_NAME}$")
def user_name(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_USER_NAME, value):
        rule = "must be a name of letters, digits and . _ -, at most 32"
        return refused(value, rule, "A-Za-z0-9._-")
    return None


_SITE = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


# A part of a name in Salt's mine, which splits names at commas.
@like(type="string", pattern=f"^{_SITE}$")
def site(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_SITE, value):
        return refused(
            value, "must be a name of letters, digits and _ -, at most 64", "A-Za-z0-9_-"
        )
    return None


# useradd(8), with what Debian and ALT allow by default.
@like(type="string", pattern=f"^{_ACCOUNT}$")
def account(value: Any) -> Wrong:
    if not isinstance(value, str) or not re.fullmatch(_ACCOUNT, value):
        rule = "the name must be 1 to 31 lower-case letters, digits and _ -"
        if isinstance(value, str) and re.match("[0-9-]", value):
            return f"{rule}, and not begin with {value[0]!r}"
        return refused(value, rule, "a-z0-9_-")
    return None


# sshd(8), "AUTHORIZED_KEYS FILE FORMAT", without options
_KEY_KIND = r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+"
_PUBLIC_KEY = rf"{_KEY_KIND} AAAA[A-Za-z0-9+/]+=*( [ -~]*)?"


@like(**list_of({"type": "string", "pattern": f"^{_PUBLIC_KEY}$"}, minItems=1, uniqueItems=True))
def public_keys(value: Any) -> Wrong:
    if not isinstance(value, list) or not value:
        return refused(value, "must be a list of public keys")
    for one in value:
        if not isinstance(one, str) or not re.fullmatch(_PUBLIC_KEY, one):
            rule = "must be a line of an id_*.pub file, as written by ssh-keygen"
            return f"{str(one)[:40]!r} {rule}{_wrong_part_of_key(one)}"
    return duplicate(value)


def _wrong_part_of_key(key: Any) -> str:
    kind, _, rest = str(key).partition(" ")
    if not re.fullmatch(_KEY_KIND, kind):
        return f"; {kind[:40]!r} is not a kind of key"
    material, _, comment = rest.partition(" ")
    if odd := others(material, "A-Za-z0-9+/="):
        return f"; its key contains {odd}"
    if not re.fullmatch(r"AAAA[A-Za-z0-9+/]+=*", material):
        return "; its key does not begin with AAAA"
    return f"; its comment contains {others(comment, ' -~')}"


@like(type="string", pattern=f"^{_IMAGE_NAME}$", maxLength=_LONGEST_TEXT)
def image_name(value: Any) -> Wrong:
    wrong = text(value)
    if not wrong and not re.fullmatch(_IMAGE_NAME, value):
        rule = "may only contain letters, digits, spaces and . _ + -"
        wrong = _wrong_name(value, rule, f"A-Za-z0-9{_RUSSIAN} ._+-")
    directory = label(value) if not wrong else ""
    if not wrong and not re.fullmatch(_DIRECTORY_NAME, directory):
        wrong = (
            f"becomes {directory[:30]!r} as a directory, which must begin with a letter or digit "
            "and have at most 100"
        )
    return wrong and f"the name {wrong}"
