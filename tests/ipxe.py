"""What an iPXE script does, told without firmware: a reader of iPXE's script language.

Rules: iPXE's src/core/exec.c (terminators), src/image/script.c (labels), ipxe.org/cmd. It knows
only the commands that the project's scripts use, and takes nothing that iPXE of 2019 lacks.
"""

import re
import urllib.parse
from dataclasses import dataclass, field

# Commands of the script language that do nothing that a test looks at.
SILENT = {"echo", "imgfree", "item", "menu", "login"}
ENDS = {"boot", "exit", "reboot", "sanboot", "shell"}


class ScriptError(Exception):
    """iPXE would stop here with an error."""


def module(mib):
    """The SMBIOS structure of a memory module (DSP0134, 7.18); None: of unknown size."""
    size = (0xFFFF if mib is None else min(mib, 0x7FFF)).to_bytes(2, "little")
    return bytes(12) + size + bytes(14) + (mib or 0).to_bytes(4, "little")


@dataclass
class Client:
    """A machine that runs scripts.

    settings: iPXE's, by name; modules: SMBIOS structures of its memory, see `module`; files: texts
    of the scripts that the server has, by URL; chosen: the labels that somebody picks, menu after
    menu, then time runs out; refused: commands that fail; sums: SHA-256 of what it loads, by name,
    None where its iPXE cannot say. What happens is in `titled`, `items` and
    `gaps` (the last menu: title; label and title; lines that nobody can choose), `said` (what it
    prints), `fetched` (URLs asked for), `seen` (steps that it reported) and `end` (the command that
    ended it, with kernel and command line if that is boot).
    """

    files: dict
    settings: dict = field(default_factory=dict)
    modules: list = field(default_factory=list)
    chosen: list = field(default_factory=list)
    refused: set = field(default_factory=set)
    items: list = field(default_factory=list)
    gaps: list = field(default_factory=list)
    said: list = field(default_factory=list)
    titled: str = ""
    seen: list = field(default_factory=list)
    fetched: list = field(default_factory=list)
    sums: dict | None = None
    kernel: str = ""
    end: str = ""
    steps: int = 0

    def run(self, url):
        """Fetch a script and run it; False when it is not there or ends with an error."""
        self.fetched.append(url)
        if url not in self.files:
            return False
        lines = self.files[url].splitlines()
        assert lines[0] == "#!ipxe", url
        number = 0
        while number < len(lines) and not self.end:
            self.steps += 1
            assert self.steps < 4000, "an endless loop"
            target = self._line(lines[number], lines)
            if target is False:
                return False
            number = number + 1 if target is None else target
        return True

    def _expand(self, word):
        """The innermost ${...} first (settings.c, expand_settings)."""
        while match := re.search(r"\$\{([^${}]*)\}", word):
            word = word[: match.start()] + self._value(match[1]) + word[match.end() :]
        return word

    def _value(self, setting):
        name, _, kind = setting.partition(":")
        text = self._smbios(name) or self.settings.get(name, "")
        if isinstance(text, int):
            return f"{text:08x}" if kind == "hexraw" else str(text)
        if kind in ("int32", "uint8"):
            number = int(text or "0", 16)
            return text and (hex(number) if kind == "uint8" else str(number))
        return {
            "": text,
            "uristring": urllib.parse.quote(text, safe=""),
            "hexraw": text.replace(":", ""),
        }[kind]

    def _smbios(self, name):
        """A byte of a memory module, in hexadecimal: smbios/INSTANCE.TYPE.OFFSET.LENGTH."""
        match = re.fullmatch(r"smbios/(\d+)\.17\.(\d+)\.1", name)
        if not match or int(match[1]) >= len(self.modules):
            return ""
        return f"{self.modules[int(match[1])][int(match[2])]:02x}"

    def _line(self, line, lines):
        """The number of the next line if that is not the following one; False: the script ends."""
        if line.startswith(("#", ":")):
            return None
        success, words, wanted = True, [], True
        for word in [*line.split(), ";"]:
            if word not in ("||", "&&", ";"):
                # Values with spaces stay one word (exec.c, expand_tokens).
                words.append(self._expand(word))
                continue
            if wanted:
                if words[:1] == ["goto"]:
                    label = f":{words[1]}" if len(words) > 1 else ":"
                    # iPXE looks from the top of the script (script.c, goto_find_label)
                    if label in lines:
                        return lines.index(label)
                    success = False
                else:
                    success = self._command(words)
                if self.end:
                    return None
            words, wanted = [], {"||": not success, "&&": success, ";": False}[word]
        return None if success else False

    def _command(self, words):
        if not words:
            return True
        name, *rest = words
        if name in self.refused or " ".join(words[:2]) in self.refused:
            return False
        positional = [word for word in rest if not word.startswith("--")]
        if name == "menu":
            self.items, self.gaps, self.titled = [], [], " ".join(rest)
        if name == "echo":
            self.said.append(" ".join(rest))
        if name == "item":
            self._item(rest)
        if name in SILENT:
            return True
        if name in ENDS:
            self.end = " ".join([self.kernel, *words]) if name == "boot" else " ".join(words)
            return True
        return getattr(self, f"_{name}")(rest, positional)

    def _item(self, rest):
        if "--gap" in rest:
            self.gaps.append(" ".join(rest[1:]))
            return
        if rest[0] == "--key":
            rest = rest[2:]
        self.items.append((rest[0], " ".join(rest[1:])))

    def _isset(self, _rest, positional):
        return bool(positional and positional[0])

    def _iseq(self, rest, _positional):
        return len(rest) == 2 and rest[0] == rest[1]

    def _set(self, rest, _positional):
        name, _, kind = rest[0].partition(":")
        value = " ".join(rest[1:])
        self.settings[name] = int(value) if kind == "int32" else value
        return True

    def _inc(self, rest, _positional):
        name, increment = [*rest, 1][:2]
        self.settings[name] += int(str(increment), 0)
        return True

    def _clear(self, rest, _positional):
        return self.settings.pop(rest[0], None) is not None

    def _cpuid(self, rest, _positional):
        return "cpuid" not in self.refused and rest == ["--ext", "29"]

    def _prompt(self, rest, _positional):
        return False  # nobody presses a key

    def _imgfetch(self, rest, positional):
        if "/seen?" in positional[-1]:
            self.seen.append(positional[-1].partition("&s=")[2])
            return "seen" not in self.refused
        self.fetched.append(positional[-1])
        return positional[-1] in self.files or "/private/" in positional[-1]

    def _chain(self, rest, positional):
        replace = "--replace" in rest
        done = self.run(positional[-1])
        if done and replace and not self.end:
            self.end = "exit"
        return done

    def _kernel(self, rest, _positional):
        self.kernel = " ".join(rest)
        self.fetched.append(rest[0])
        return True

    def _initrd(self, rest, _positional):
        self.fetched.append(rest[0])
        return True

    def _sha256sum(self, rest, _positional):
        if self.sums is None:
            return False  # command not found
        option, setting, name = rest
        assert option == "--set"
        assert name in [url.rpartition("/")[2] for url in self.fetched]
        self.settings[setting] = self.sums[name]
        return True

    def _choose(self, rest, positional):
        labels = [label for label, _ in self.items]
        default = rest[rest.index("--default") + 1] if "--default" in rest else None
        if self.chosen:
            label = self.chosen.pop(0)
            if label not in labels:
                raise ScriptError(f"{label} is not in the menu: {labels}")
        elif "--timeout" in rest:
            label = default if default in labels else labels[0]
        else:
            raise ScriptError("a menu that waits for ever")
        self.settings[positional[-1]] = label
        return True


def problems(script):
    """What is wrong with a script whatever the client: labels that are twice or nowhere, length."""
    lines = script.splitlines()
    found = [] if lines[0] == "#!ipxe" else ["it does not begin with #!ipxe"]
    labels = [line[1:] for line in lines if line.startswith(":")]
    found += [f"label {one} stands twice" for one in set(labels) if labels.count(one) > 1]
    for line in lines:
        if line.startswith("#"):
            continue
        if "{{" in line or "{%" in line or not line.isprintable():
            found.append(f"not iPXE: {line!r}")
        for target in re.findall(r"\bgoto (\S+)", line):
            if "${" not in target and target not in labels:
                found.append(f"goto {target} leads nowhere")
    return found
