"""Draw the menu that a client shows, from its iPXE script."""

import re

_ITEM = re.compile(
    r"^(?:iseq \$\{platform\} pcbios && )?item (?:--key (\S) )?(--gap|\S+) ?(.*?)(?: \|\|)?$"
)
_HOST = re.compile(r"^# Host: ([^,\n]+)", re.MULTILINE)
_SET = re.compile(
    r"^(?:isset \$\{(\S+)\} \|\| |iseq \$\{platform\} efi && )?set (\S+) (.*?)(?: \|\|)?$"
)


def draw(script):
    """
    Return the lines of the first page of a menu, and a sentence about what starts by itself. A
    host without a menu has no lines.

    script
        What ``netboot.menu`` returns: the menu's script, after those of the host, if any.
    """
    values, lines, titles, title, open_menu = {}, [], {}, "", False
    for line in script.splitlines():
        if found := _SET.match(line):
            unless, name, value = found.groups()
            if unless not in values:
                # It is drawn for a machine with enough memory and without Secure Boot.
                values[name] = "" if name.startswith(("nb-short-", "nb-lacks-")) else value
        elif line.startswith("menu ") and not title:
            title, open_menu = _filled(line[5:], values), True
        elif line.startswith("choose "):
            break
        elif open_menu and (found := _ITEM.match(line)):
            label, text = found.group(2), _filled(found.group(3), values).rstrip()
            lines.append(text)
            titles[label.lstrip("!")] = text
            if "pcbios" in line:
                lines[-1] += "   (BIOS only)"
    if "nb-straight" in values:
        return [], _straight(script, values)
    return [title, "-" * len(title), *lines], _starts(values, titles)


def _starts(values, titles):
    entry = values.get("nb-entry", "local")
    what = re.sub(r"^(\S)  ", "", titles.get(entry, entry).strip()).strip()
    seconds = int(values.get("nb-timeout", "0")) // 1000
    if not seconds:
        return f"It waits for a choice; the cursor is on: {what}."
    return f"After {seconds} s without a key: {what}."


def _straight(script, values):
    host = _HOST.search(script)
    name = host[1] if host else "This machine"
    entry = values.get("nb-entry", "local")
    if entry == "local":
        does = "it boots from its own disk at once"
        if "\nchain --autofree http" in script.partition("\n=== config-")[0]:
            does = f"it is not armed, so {does} (./netboot arm {name})"
    elif f"\n:{entry}\n" not in script:
        does = f"it should start {entry} at once, which is not ready"
    else:
        does = f"it {'is armed and ' if 'nb-via' in values else ''}starts {entry} at once"
    return f"{name} shows no menu: {does}."


def _filled(text, values):
    """A text with its variables; those of the machine by their names."""
    return re.sub(
        r"\$\{(\S+?)\}",
        lambda found: values.get(found[1], f"<{found[1].rpartition('/')[2]}>"),
        text,
    )
