"""
What an iPXE script does, without iPXE: a reader of its script language. Pure.

It knows the commands that our menus use, and none that iPXE of 2019 lacks. Rules: iPXE's
src/core/exec.c (terminators, comments), src/image/script.c (labels), src/core/settings.c
(``${...}``), and https://ipxe.org/cmd. A script that comes over the network may be hostile: what it
costs is limited.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Optional

# Commands that do nothing that anybody looks at.
_SILENT = {"imgfree", "login"}
_ENDS = {"boot", "exit", "poweroff", "reboot", "sanboot", "shell"}
#: Further commands of iPXE, which lines of the pillar (``extra_ipxe_conf``) may use: they draw,
#: wait, show, or set up the network, and change nothing of what is loaded.
OTHERS = frozenset(
    (
        "certfree certstat certstore colour config console cpair dhcp ifclose ifconf iflinkwait "
        "ifopen ifstat imgextract imgstat imgtrust imgverify ipstat lotest md5sum neighstat "
        "nslookup nstat ntp param params pciscan ping profstat route sanhook sanunhook sha1sum "
        "show sleep startpxe stoppxe sync usbscan vcreate vdestroy"
    ).split()
)
_MOST_STEPS = 4000
_MOST_CHOICES = 4000
_DEEPEST = 32
# Characters of words with settings, each time that one is filled in; and what that costs besides.
_MOST_EXPANDED = 1 << 20
_EXPANSION = 64
#: Returns the text of a script by its URL, or None when the server does not have it.
Get = Callable[[str], Optional[str]]


class ScriptError(Exception):
    """iPXE would stop here with an error; the text says why, in a sentence."""


class Waits(ScriptError):
    """The script shows a menu, and nobody chooses."""


class Client:
    """
    A machine that runs scripts.

    get
        See ``Get``.

    settings
        Values of iPXE's settings, by name.

    modules
        SMBIOS structures of the memory modules (bytes).

    chosen
        Labels that somebody picks, menu after menu; then time runs out.

    refused
        Commands that fail.

    sums
        SHA-256 of what it loads by file name; None: its iPXE has no such command.

    waits : False
        Whether a menu raises ``Waits`` once ``chosen`` is used up.

    silent : ()
        More commands that succeed, and do nothing that anybody looks at.

    What happens is in ``titled``, ``items`` and ``gaps`` (the last menu: title; label and title;
    lines that nobody can choose), ``said`` (what it prints), ``fetched`` (URLs), ``seen`` (steps
    that it reported), ``asked`` (whether a password was), ``kernel``, ``initrd`` and ``shim`` (URL,
    with the command line for the kernel) and ``end`` (the command that ended it, with ``kernel`` if
    that is ``boot``).
    """

    def __init__(
        self,
        get: Get,
        settings: dict[str, str] | None = None,
        modules: Iterable[bytes] = (),
        chosen: Iterable[str] = (),
        refused: Iterable[str] = (),
        sums: dict[str, str] | None = None,
        waits: bool = False,
        silent: Iterable[str] = (),
    ):
        self.get = get
        self.settings: dict[str, str | int] = dict(settings or {})
        self.modules = list(modules)
        self.chosen = list(chosen)
        self.refused = set(refused)
        self.sums = sums
        self.waits = waits
        self.silent = _SILENT | set(silent)
        self.items: list[tuple[str, str]] = []
        self.gaps: list[str] = []
        self.titled = ""
        self.said: list[str] = []
        self.fetched: list[str] = []
        self.seen: list[str] = []
        self.asked = False
        self.kernel = self.initrd = self.shim = self.end = ""
        self._steps = self._depth = self._expanded = 0

    def run(self, url: str) -> bool:
        """
        Fetch a script and run it; return whether it was there and ended without an error.

        url
            The address of the script.
        """
        self.fetched.append(url)
        text = self.get(url)
        if text is None:
            return False
        lines = text.splitlines()
        if lines[:1] != ["#!ipxe"]:
            raise ScriptError(f"{url} does not begin with #!ipxe.")
        if self._depth == _DEEPEST:
            raise ScriptError(f"{url} is chained without end.")
        self._depth += 1
        # iPXE looks from the top of the script (script.c, goto_find_label).
        labels: dict[str, int] = {}
        for number, line in enumerate(lines):
            if line.startswith(":"):
                labels.setdefault(line, number)
        number = 0
        while number < len(lines) and not self.end:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise ScriptError(f"{url} is an endless loop.")
            target = self._line(lines[number], labels)
            if target is False:
                break
            number = number + 1 if target is None else target
        self._depth -= 1
        return number >= len(lines) or bool(self.end)

    def _expand(self, word: str) -> str:
        """Expand the innermost ``${...}`` first (settings.c, expand_settings)."""
        while match := re.search(r"\$\{([^${}]*)\}", word):
            self._expanded += len(word) + _EXPANSION
            if self._expanded > _MOST_EXPANDED:
                raise ScriptError("Its settings grow without end.")
            word = word[: match.start()] + self._value(match[1]) + word[match.end() :]
        return word

    def _value(self, setting: str) -> str:
        name, _, kind = setting.partition(":")
        text = self._smbios(name) or self.settings.get(name, "")
        if isinstance(text, int):
            return f"{text:08x}" if kind == "hexraw" else str(text)
        if kind in ("int32", "uint8"):
            if not re.fullmatch("(0x)?[0-9a-fA-F]{1,16}", text):
                return ""
            number = int(text, 16)
            return hex(number) if kind == "uint8" else str(number)
        if kind == "uristring":
            return urllib.parse.quote(text, safe="")
        return text.replace(":", "") if kind == "hexraw" else text

    def _smbios(self, name: str) -> str:
        """Return a byte of a memory module, in hexadecimal: smbios/INSTANCE.TYPE.OFFSET.LENGTH."""
        match = re.fullmatch(r"smbios/(\d+)\.17\.(\d+)\.1", name)
        if not match or int(match[1]) >= len(self.modules):
            return ""
        return f"{self.modules[int(match[1])][int(match[2])]:02x}"

    def _line(self, line: str, labels: dict[str, int]) -> int | bool | None:
        """Return the number of the next line if it is not the one below; False: an error."""
        if line.startswith(("#", ":")):
            return None
        success, wanted = True, True
        words: list[str] = []
        for word in [*line.split(), "#"]:
            ends = word.startswith("#")  # a comment, or the end of the line
            if not ends and word not in ("||", "&&", ";"):
                # Values with spaces stay one word (exec.c, expand_tokens).
                words.append(self._expand(word))
                continue
            if wanted:
                if words[:1] == ["goto"]:
                    label = f":{words[1]}" if len(words) > 1 else ":"
                    if label in labels:
                        return labels[label]
                    success = False
                else:
                    success = self._command(words)
            if self.end:
                return None
            if ends:
                break
            words, wanted = [], {"||": not success, "&&": success, ";": True}[word]
        return None if success else False

    def _command(self, words: list[str]) -> bool:
        if not words:
            return True
        name, *rest = words
        if name in self.refused or " ".join(words[:2]) in self.refused:
            return False
        if name in self.silent:
            return True
        if name in _ENDS:
            self.end = " ".join([self.kernel, *words]) if name == "boot" else " ".join(words)
            return True
        known = getattr(self, f"_do_{name}", None)
        if not known:
            raise ScriptError(f"{name} is a command that this reader of scripts does not know.")
        try:
            return bool(known(rest, [word for word in rest if not word.startswith("--")]))
        except (IndexError, ValueError):
            return False  # iPXE says how the command is used

    def _do_menu(self, rest: list[str], _positional: list[str]) -> bool:
        self.items, self.gaps, self.titled = [], [], " ".join(rest)
        return True

    def _do_echo(self, rest: list[str], _positional: list[str]) -> bool:
        self.said.append(" ".join(rest))
        return True

    def _do_item(self, rest: list[str], _positional: list[str]) -> bool:
        if "--gap" in rest:
            self.gaps.append(" ".join(rest[1:]))
            return True
        if rest[0] == "--key":
            rest = rest[2:]
        self.items.append((rest[0], " ".join(rest[1:])))
        return True

    def _do_isset(self, _rest: list[str], positional: list[str]) -> bool:
        return bool(positional and positional[0])

    def _do_iseq(self, rest: list[str], _positional: list[str]) -> bool:
        return len(rest) == 2 and rest[0] == rest[1]

    def _do_set(self, rest: list[str], _positional: list[str]) -> bool:
        name, _, kind = rest[0].partition(":")
        value = " ".join(rest[1:])
        self.settings[name] = int(value) if kind == "int32" else value
        return True

    def _do_inc(self, rest: list[str], _positional: list[str]) -> bool:
        name, increment = [*rest, "1"][:2]
        self.settings[name] = int(self.settings.get(name, 0)) + int(increment, 0)
        return True

    def _do_clear(self, rest: list[str], _positional: list[str]) -> bool:
        return self.settings.pop(rest[0], None) is not None

    def _do_cpuid(self, rest: list[str], _positional: list[str]) -> bool:
        return rest == ["--ext", "29"]

    def _do_prompt(self, _rest: list[str], _positional: list[str]) -> bool:
        return False  # nobody presses a key

    def _do_imgfetch(self, _rest: list[str], positional: list[str]) -> bool:
        url = positional[-1]
        if "/seen?" in url:
            self.seen.append(url.partition("&s=")[2])
            return "seen" not in self.refused
        self.fetched.append(url)
        if "/private/" in url:
            self.asked = True
            return True
        return self.get(url) is not None

    def _do_chain(self, rest: list[str], positional: list[str]) -> bool:
        if positional[-1].endswith("/turn"):
            return self._turn(positional[-1])
        done = self.run(positional[-1])
        if done and "--replace" in rest and not self.end:
            self.end = "exit"
        return done

    def _turn(self, url: str) -> bool:
        """Ask for a turn to load; none is waited for, as nothing is loaded."""
        self.settings["nb-turn"] = "1"
        return self.get(url) is not None

    def _do_kernel(self, rest: list[str], _positional: list[str]) -> bool:
        self.kernel = " ".join(rest)
        self.fetched.append(rest[0])
        return True

    def _do_initrd(self, rest: list[str], _positional: list[str]) -> bool:
        self.initrd = rest[0]
        self.fetched.append(rest[0])
        return True

    def _do_shim(self, _rest: list[str], positional: list[str]) -> bool:
        self.shim = positional[0]
        self.fetched.append(self.shim)
        return True

    def _do_sha256sum(self, rest: list[str], _positional: list[str]) -> bool:
        if self.sums is None or rest[2] not in self.sums:
            return False  # command not found, or no such file
        self.settings[rest[1]] = self.sums[rest[2]]
        return True

    def _do_choose(self, rest: list[str], positional: list[str]) -> bool:
        labels = [label for label, _ in self.items]
        default = rest[rest.index("--default") + 1] if "--default" in rest else None
        if self.chosen:
            label = self.chosen.pop(0)
            if label not in labels:
                raise ScriptError(f"{label} is not in the menu: {labels}")
        elif self.waits or "--timeout" not in rest:
            raise Waits("The menu waits for ever.")
        else:
            label = default if default in labels else labels[0]
        self.settings[positional[-1]] = label
        return True


class Choice(NamedTuple):
    """What happens once somebody has chosen a line of a menu, and whether it needs a password."""

    label: str
    client: Client
    asked: bool
    wrong: str  # what iPXE stops with, or empty


def choices(
    make: Callable[[list[str]], Client], url: str, wanted: Callable[[str], bool]
) -> Iterator[Choice]:
    """
    Yield what happens for each wanted line of a menu and the menus below it.

    make
        Returns a client that picks these labels, and waits at the next menu.

    url
        The address of the first script.

    wanted
        Whether a label is chosen; without the ``!`` with which it starts where a line needs a
        password.

    Raises ScriptError when the first menu does not come.
    """
    ways: list[list[str]] = [[]]
    done: set[str] = set()
    while ways:
        way = ways.pop(0)
        client, wrong = make(list(way)), ""
        try:
            if not client.run(url):
                wrong = f"the script {client.fetched[-1]} is missing or ends with an error"
        except Waits:
            before = len(done)
            for label, _title in client.items:
                plain = label.lstrip("!")
                if plain not in done and len(done) < _MOST_CHOICES and wanted(plain):
                    done.add(plain)
                    ways.append([*way, label])
            if not client.kernel or len(done) > before:
                continue
            wrong = f"it comes back after it says: {' '.join(client.said[-1:])}"
        except ScriptError as err:
            wrong = str(err)
        if not way:
            raise ScriptError(wrong or "The script ends without a menu.")
        yield Choice(way[-1].lstrip("!"), client, client.asked, wrong)
