"""A client that runs GRUB's scripts: what its menu has, and what an entry boots.

Only the part of GRUB's language (grub.info, "Shell-like scripting") that the menus use; anything
else is an error, and so is each sign that would end a word or a command where none should end.
`grub-script-check` reads the same texts in the tests, and real GRUBs in tests/boot.
"""

import fnmatch
import re
from typing import NamedTuple

WORD_ENDS = " \t\n;"
# Signs that GRUB's lexer keeps for later (script/yylex.l).
FORBIDDEN = "|&<>"
RESERVED = ("then", "do", "elif", "else", "fi", "done", "}", "in")
COMMANDS = (
    *("boot", "chainloader", "configfile", "echo", "exit", "export", "fwsetup", "initrd", "linux"),
    *("menuentry", "reboot", "regexp", "search", "set", "sleep", "source", "test", "["),
)


class GrubError(Exception):
    pass


class Menuentry(NamedTuple):
    title: str
    id: str
    hotkey: str
    unrestricted: bool
    body: list


def lexed(text):
    """Words, each a list of (quoted, variable, text); and the strings "\n" and ";"."""
    at, words = 0, []
    while at < len(text):
        char = text[at]
        if char in " \t":
            at += 1
        elif char in "\n;":
            words.append(char)
            at += 1
        elif char == "#":
            while at < len(text) and text[at] != "\n":
                at += 1
        else:
            word, at = _word(text, at)
            words.append(word)
    return words


def _word(text, at):
    parts, quote = [], ""
    while at < len(text) and (quote or text[at] not in WORD_ENDS):
        char = text[at]
        if quote == "'" or (quote == '"' and char == '"'):
            if char == quote:
                quote = ""
            else:
                parts.append((True, False, char))
        elif char in "'\"" and not quote:
            quote = char
            parts.append((True, False, ""))
        elif char == "\\":
            at += 1
            if quote and text[at] not in '"$\\':
                parts.append((True, False, "\\"))
            parts.append((True, False, text[at]))
        elif char == "$":
            name = re.compile(r"\$(?:\{(\w+)\}|(\w+))").match(text, at)
            if not name:
                raise GrubError(f"$ without a name: {text[at : at + 40]!r}")
            parts.append((bool(quote), True, name[1] or name[2]))
            at = name.end() - 1
        elif not quote and char in FORBIDDEN:
            raise GrubError(f"{char} outside of quotes: {text[max(0, at - 40) : at + 40]!r}")
        else:
            parts.append((bool(quote), False, char))
        at += 1
    if quote:
        raise GrubError("a quote that does not end")
    return parts, at


def plain(word):
    """The text of a word without quotes and variables; None: it has some."""
    if isinstance(word, str) or any(quoted or variable for quoted, variable, _ in word):
        return None
    return "".join(text for *_, text in word)


def parsed(text):
    """Commands: ("command", words), ("if", cases, otherwise), ("for", name, words, body), ..."""
    words = lexed(text)
    commands, at = _parse(words, 0, ())
    if at != len(words):
        raise GrubError(f"{plain(words[at])!r} without its beginning")
    return commands


def _parse(words, at, ends):
    found = []
    while at < len(words):
        if isinstance(words[at], str):
            at += 1
            continue
        first = plain(words[at])
        if first in ends or first in RESERVED:
            return found, at
        if first == "if":
            cases, otherwise, end = [], [], "elif"
            while end == "elif":
                condition, at = _parse(words, at + 1, ("then",))
                body, at = _parse(words, at + 1, ("elif", "else", "fi"))
                cases.append((condition, body))
                end = plain(words[at])
            if end == "else":
                otherwise, at = _parse(words, at + 1, ("fi",))
            if plain(words[at]) != "fi":
                raise GrubError(f"fi is missing before {plain(words[at])!r}")
            found.append(("if", cases, otherwise))
            at += 1
        elif first == "for":
            name, line = plain(words[at + 1]), []
            at += 3
            while not isinstance(words[at], str):
                line.append(words[at])
                at += 1
            body, at = _parse(words, at, ("do",))
            body, at = _parse(words, at + 1, ("done",))
            found.append(("for", name, line, body))
            at += 1
        else:
            line = []
            while at < len(words) and not isinstance(words[at], str) and plain(words[at]) != "{":
                line.append(words[at])
                at += 1
            if at < len(words) and plain(words[at]) == "{":
                body, at = _parse(words, at + 1, ("}",))
                found.append(("menuentry", line, body))
                at += 1
            else:
                found.append(("command", line))
    if ends:
        raise GrubError(f"{' or '.join(ends)} is missing")
    return found, at


class Machine:
    """A machine in front of GRUB's menu.

    files: texts by path below the prefix. disks: paths of files on its disks.
    """

    def __init__(self, files, mac="52:54:00:00:00:01", cpu="x86_64", disks=(), lockdown=False):
        self.files, self.disks = files, disks
        self.env = {
            "prefix": "(tftp,192.0.2.10)/grub",
            "root": "tftp,192.0.2.10",
            "grub_cpu": cpu,
            "net_default_mac": mac,
            "net_default_ip": "192.0.2.77",
            "net_default_server": "192.0.2.10",
            **({"lockdown": "y"} if lockdown else {}),
        }
        self.exported = set(self.env)
        self.entries, self.asked, self.said = [], [], []
        self.kernel = self.initrd = self.end = None
        self.failed = False

    def starts(self, alt=False):
        """Load the menu as Debian's GRUB does, or ALT's."""
        own = f"grub.cfg-01-{self.env['net_default_mac'].replace(':', '-')}"
        self.load(own if alt and own in self.files else "grub.cfg")
        return self

    def load(self, name):
        self.asked.append(name)
        if name not in self.files:
            return False
        self.run(parsed(self.files[name]))
        return True

    def menu(self):
        return [entry.title for entry in self.entries]

    def waits(self):
        """Let the time run out: the default, or what comes instead of it."""
        if self.env.get("timeout") == "-1":
            raise GrubError("the menu waits for somebody")
        entry = self._named(self.env.get("default", "0"))
        self.choose(entry)
        if self.end is None and "fallback" in self.env:
            self.choose(self._named(self.env["fallback"]))
        return self.end

    def _named(self, name):
        number = re.match(r"\d+", name)
        if number:
            raise GrubError(f"{name} is a number for GRUB")
        return next((one for one in self.entries if name in (one.title, one.id)), self.entries[0])

    def presses(self, key):
        self.choose(next(one for one in self.entries if one.hotkey == key))
        return self.end

    def choose(self, entry):
        self.kernel = self.initrd = None
        if "superusers" in self.env and not entry.unrestricted:
            raise GrubError(f"{entry.title} asks for a password")
        self.run(entry.body)
        if self.end is None and self.kernel and self.initrd:
            self.end = f"linux {self.kernel} initrd {self.initrd}"

    def run(self, commands):
        done = True
        for command in commands:
            if self.end is not None:
                return done
            if command[0] == "if":
                _, cases, otherwise = command
                body = next((body for test, body in cases if self.run(test)), otherwise)
                done = self.run(body)
            elif command[0] == "for":
                _, name, line, body = command
                for value in self.words(line):
                    self.env[name] = value
                    done = self.run(body)
            elif command[0] == "menuentry":
                name, title, *options = self.words(command[1])
                told = dict(one.partition("=")[::2] for one in options)
                if name != "menuentry" or not set(told) <= {"--id", "--hotkey", "--unrestricted"}:
                    raise GrubError(f"{name} {title} {options}")
                self.entries.append(
                    Menuentry(
                        title,
                        told.get("--id", ""),
                        told.get("--hotkey", ""),
                        "--unrestricted" in told,
                        command[2],
                    )
                )
                done = True
            else:
                done = self.command(self.words(command[1]))
        return done

    def words(self, line):
        found = []
        for word in line:
            texts = [""]
            bare = not any(quoted for quoted, *_ in word)
            for quoted, variable, text in word:
                value = self.env.get(text, "") if variable else text
                parts = [value] if quoted or not variable else value.split() or [""]
                texts[-1] += parts[0]
                texts += parts[1:]
            texts = [one for one in texts if one or not bare]
            globs = bare and any("*" in text for *_, text in word)
            found += [path for one in texts for path in (self.globbed(one) if globs else [one])]
        return found

    def command(self, words):
        name, *rest = words
        if name not in COMMANDS:
            raise GrubError(f"no such command: {name}")
        if name in ("[", "test"):
            return self.test(rest[:-1] if name == "[" else rest)
        return getattr(self, f"do_{name}")(*rest)

    def test(self, words):
        if words[0] in ("-z", "-n"):
            return (not words[1]) == (words[0] == "-z")
        left, sign, right = words
        return (left == right) == {"=": True, "!=": False}[sign]

    def do_set(self, assignment):
        name, mark, value = assignment.partition("=")
        if not mark or not re.fullmatch(r"\w+", name):
            raise GrubError(f"set {assignment}")
        self.env[name] = value
        return True

    def do_export(self, name):
        self.exported.add(name)
        return True

    def do_source(self, path):
        return self.load(path.partition("/grub/")[2])

    def do_configfile(self, path):
        self.env = {name: value for name, value in self.env.items() if name in self.exported}
        self.entries = []
        return self.load(path.partition("/grub/")[2])

    def do_regexp(self, *words):
        *options, pattern, text = words
        match = re.search(pattern, text)
        for option in options if match else ():
            number, _, name = option.partition("=")[2].partition(":")
            self.env[name] = match[int(number)]
        return bool(match)

    def do_echo(self, *words):
        self.said.append(" ".join(words))
        return True

    def do_sleep(self, *_words):
        return True

    def do_search(self, *words):
        *options, path = words
        (name,) = [one.partition("=")[2] for one in options if one.startswith("--set=")]
        if path in self.disks:
            self.env[name] = "hd0,gpt1"
        return path in self.disks

    def globbed(self, pattern):
        """Files on disks that a pattern means; the pattern itself if there are none."""
        found = [f"(hd0,gpt1){path}" for path in self.disks]
        return [one for one in found if fnmatch.fnmatchcase(one, pattern)] or [pattern]

    def do_chainloader(self, path):
        # What is started gets the root as its device, whatever the path says.
        self.kernel = f"({self.env['root']}){path.rpartition(')')[2]}"
        return True

    def do_boot(self):
        self.end = f"chainloader {self.kernel}"
        return True

    def do_linux(self, path, *arguments):
        self.kernel = " ".join([path, *arguments])
        return True

    def do_initrd(self, path):
        self.initrd = path
        return bool(self.kernel)

    def do_exit(self, code=""):
        self.end = f"exit {code}".strip()
        return True

    def do_reboot(self):
        self.end = "reboot"
        return True

    def do_fwsetup(self):
        self.end = "fwsetup"
        return True
