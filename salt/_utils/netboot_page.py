"""
The status page: what ``netboot_live`` found, as HTML in each language. Pure.

Every text comes from elsewhere, and is escaped: names from the pillar and from ISOs, what clients
say of themselves. Without scripts and styles in it, as its Content-Security-Policy allows none.
"""

from __future__ import annotations

import calendar
import html
import time
from typing import Any

from netboot_page_texts import TEXTS

#: The languages of the page, the first for whoever asks for none of them.
LANGUAGES = tuple(TEXTS)

_TONES = {
    **{"ready": "fine", "fetching": "busy", "missing": "bad", "left over": "dim"},
    **{"in menu": "busy", "loading": "busy", "running": "fine", "local disk": "fine"},
    **{"failed": "bad", "gone silent": "doubt", "active": "fine", "inactive": "bad"},
    **{"error": "bad", "warning": "doubt", "info": "dim"},
}
_RUNS = ("active", "reloading", "activating")
_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_NUMBERS = ("size", "sent", "took")
_EMPTY = ("–", "0 B", "0 Б", "0 s", "0 с")


def page(status: dict[str, Any], language: str) -> str:
    """
    Return the page.

    status
        What ``netboot_live.look`` returned.

    language
        One of ``LANGUAGES``.
    """
    return _Page(status, language).text()


def problems(status: dict[str, Any]) -> list[dict[str, str]]:
    """
    Return what is wrong or doubtful, the worst first: ``severity``, ``text``; ``name`` and
    ``state`` for a service that does not run, and neither for an apply that is overdue.

    status
        See ``page``.
    """
    stopped = [
        {"severity": "error", "text": "", **service}
        for service in status["services"]
        if service["state"] not in _RUNS
    ]
    late = [{"severity": "warning", "text": ""}] if status["applied"]["late"] else []
    found = [*stopped, *late, *status["findings"]["list"]]
    order = ("error", "warning", "info")
    return sorted(found, key=lambda one: order.index(one["severity"]))


class _Page:
    def __init__(self, status: dict[str, Any], language: str) -> None:
        self._status, self._language, self._words = status, language, TEXTS[language]
        self._entries = {entry["id"]: entry for entry in status["entries"]}

    # -- words ------------------------------------------------------------------------------------

    def _say(self, key: str, **values: Any) -> str:
        """Return an own text, escaped; values are HTML already."""
        text = html.escape(self._words.get(key) or TEXTS["en"].get(key, key))
        return text.format(**values) if values else text

    def _number(self, value: float, digits: int = 0) -> str:
        return f"{value:.{digits}f}".replace(".", self._words["point"])

    def _bytes(self, size: float | None) -> str:
        if size is None:
            return "–"
        for unit, least in _SIZES:
            if size >= least:
                digits = 1 if size < 10 * least else 0
                return f"{self._number(size / least, digits)} {self._words[unit]}"
        return f"{size:.0f} {self._words['B']}"

    def _seconds(self, seconds: float) -> str:
        for unit, least in (("h", 3600), ("min", 60)):
            if seconds >= 2 * least:
                return f"{self._number(seconds / least)} {self._words[unit]}"
        return f"{self._number(seconds)} {self._words['s']}"

    def _time(self, at: str | None) -> str:
        """Return a point in time; the script of the page shows it in the reader's time zone."""
        if not at:
            return "–"
        known = time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")
        made = time.strptime(self._status["made"], "%Y-%m-%dT%H:%M:%SZ")
        # A day's own times need no date.
        same = calendar.timegm(made) - calendar.timegm(known) < 12 * 3600
        written = time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", known)
        return f'<time datetime="{_e(at)}">{written} UTC</time>'

    def _state(self, state: str, more: str = "") -> str:
        tone = _TONES.get(state, "bad")
        return f'<span class="state {tone}">{self._say(state)}{more}</span>'

    # -- the page ---------------------------------------------------------------------------------

    def text(self) -> str:
        """Return the document."""
        name = _e(self._status["server"])
        tone, verdict = self._verdict()
        return f"""<!DOCTYPE html>
<html lang="{self._language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}: {verdict}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page.css">
<script src="page.js" defer></script>
<noscript><meta http-equiv="refresh" content="60"></noscript>
</head>
<body>
<a class="skip" href="#main">{self._say("skip")}</a>
<header>
<div><p>{self._say("kind")}</p><h1><bdi>{name}</bdi></h1></div>
<nav aria-label="{self._say("languages")}">{self._switch()}</nav>
</header>
<main id="main">
<div id="notices">
<p id="old" class="notice bad" role="alert" hidden><strong>{self._say("old")}</strong>
<span>{self._say("old_advice")}</span></p>
<p id="lost" class="notice bad" role="alert" hidden><strong>{self._say("lost")}</strong></p>
</div>
<p class="verdict {tone}">{verdict}</p>
{self._figures()}
{self._problems()}
{self._images()}
{self._clients()}
{self._armed()}
{self._installs()}
{self._menus()}
{self._services()}
{self._about()}
</main>
<footer>
<p>{self._say("made", at=self._made())}
{self._say("data")}: <a href="status.json">status.json</a></p>
</footer>
</body>
</html>
"""

    def _made(self) -> str:
        at = _e(self._status["made"])
        return f'<time id="made" datetime="{at}">{at.replace("T", " ")[:16]} UTC</time>'

    def _switch(self) -> str:
        links = []
        for code in LANGUAGES:
            now = ' aria-current="true"' if code == self._language else ""
            links.append(
                f'<a href="index.{code}.html" id="to-{code}" lang="{code}" hreflang="{code}"{now}>'
                f"{html.escape(TEXTS[code]['language'])}</a>"
            )
        return " ".join(links)

    def _verdict(self) -> tuple[str, str]:
        status = self._status
        severities = [one["severity"] for one in problems(status)]
        errors, warnings = severities.count("error"), severities.count("warning")
        if status["out_of_service"]:
            return "bad", self._say("out", at=_e(status["out_of_service"][:16].replace("T", " ")))
        if errors:
            return "bad", self._say("wrong", errors=errors, warnings=warnings)
        if warnings:
            return "doubt", self._say("doubts", warnings=warnings)
        return (
            ("fine", self._say("fine")) if status["images"] else ("doubt", self._say("no_images"))
        )

    def _figures(self) -> str:
        status = self._status
        images = [one for one in status["images"] if one["state"] != "left over"]
        ready = sum(one["state"] == "ready" for one in images)
        runs = sum(one["state"] in _RUNS for one in status["services"])
        stopped = sum(status["clients"]["states"].get(one, 0) for one in ("failed", "gone silent"))
        of = self._say("of")
        more = self._say("clients_failed", number=stopped) if stopped else ""
        figures = [
            ("images_ready", str(ready), f"{of} {len(images)}"),
            ("clients_seen", str(status["clients"]["total"]), more),
            ("hosts_armed", str(status["hosts"]["armed"]), f"{of} {status['hosts']['named']}"),
            ("services_run", str(runs), f"{of} {len(status['services'])}"),
            ("disk_free", self._bytes(status["disk"]["free"]), ""),
        ]
        rows = (
            f"<div><dt>{self._say(key)}</dt><dd><b>{_e(value)}</b> {beside}</dd></div>"
            for key, value, beside in figures
        )
        return f'<dl class="figures">{"".join(rows)}</dl>'

    def _problems(self) -> str:
        found = [self._problem(one) for one in problems(self._status)]
        return self._section("problems", f"<ul>{''.join(found)}</ul>") if found else ""

    def _problem(self, one: dict[str, str]) -> str:
        if one["text"]:
            text = f'<span lang="en">{_e(one["text"])}</span>'
        elif "name" not in one:
            text = f"<span>{self._say('late', at=self._time(self._status['applied']['at']))}</span>"
        else:
            state = self._say(one["state"])
            text = f"<span>{self._say('not_running', name=_e(one['name']), state=state)}</span>"
        return f"<li>{self._state(one['severity'])} {text}</li>"

    def _images(self) -> str:
        rows = []
        for image in self._status["images"]:
            entries = ", ".join(map(self._kind, image["entries"]))
            digest = image["sha256"] or ""
            rows.append(
                [
                    f"{_name(image['name'])}<small>{entries}</small>",
                    _e(image["arch"]) or "–",
                    self._image_state(image),
                    self._bytes(image["bytes"]),
                    f'<code title="{_e(digest)}">{_e(digest[:12])}</code>' if digest else "–",
                    self._time(image["verified"]),
                ]
            )
        columns = ("name", "arch", "state", "size", "digest", "verified")
        return self._section("images", self._table("images", columns, rows))

    def _image_state(self, image: dict[str, Any]) -> str:
        fetch = image["fetch"]
        if image["elsewhere"]:
            return f'<span class="state dim">{self._say("elsewhere")}</span>'
        if not fetch:
            return self._state(image["state"])
        if fetch["percent"] is None:
            return self._state("fetching", f" {_e(self._bytes(fetch['bytes']))}")
        left = fetch["seconds_left"]
        time_left = self._say("left", time=_e(self._seconds(left))) if left is not None else ""
        bar = f'<progress max="100" value="{fetch["percent"]}">{fetch["percent"]} %</progress>'
        return (
            self._state("fetching", f" {fetch['percent']} %") + f"<small>{bar} {time_left}</small>"
        )

    def _clients(self) -> str:
        clients = self._status["clients"]
        states = " ".join(
            self._state(state, f" {number}") for state, number in sorted(clients["states"].items())
        )
        rows = [self._client(one) for one in clients["list"]]
        columns = ("client", "machine", "state", "boots", "sent", "took", "seen")
        table = self._table("clients", columns, rows)
        more = clients["total"] - len(rows)
        rest = f'<p class="more">{self._say("more_clients", number=more)}</p>' if more else ""
        return self._section("clients", f'<p class="states">{states}</p>{table}{rest}')

    def _client(self, one: dict[str, Any]) -> list[str]:
        mac = f"{_e(one['mac'])} " if one["host"] else ""
        step = self._words.get(f"step_{one['step']}", one["step"])
        beside = f"<small>{_e(step)}</small>" if one["state"] == "loading" else ""
        if one["cause"]:
            label = self._words.get(f"cause_{one['cause']}", one["cause"])
            command = f"./netboot trace {one['host'] or one['mac']}"
            number = _e(one["mac"].replace(":", ""))
            beside = (
                f'<details id="why-{number}"><summary>{_e(label)}</summary>'
                f'<p lang="en">{_e(one["text"])} {_e(one["advice"])}</p>'
                f"<p><code>{_e(command)}</code></p></details>"
            )
        return [
            f"{_name(one['host'] or one['mac'])}<small>{mac}{_e(one['address'])}</small>",
            f"{_name(one['model'])}<small>{_e(one['firmware'])} {_e(one['arch'])}</small>",
            self._state(one["state"]) + beside,
            self._entry(one["entry"]),
            self._bytes(one["bytes"]),
            self._seconds(one["seconds"]),
            self._time(one["last"]),
        ]

    def _entry(self, entry: str) -> str:
        if entry in self._entries:
            return f"{_name(self._entries[entry]['image'])}<small>{self._kind(entry)}</small>"
        return self._say("own_disk") if entry == "local" else _name(entry) if entry else "–"

    def _kind(self, entry: str) -> str:
        """Return what is booted of an image, and how if that is not by HTTP."""
        known = self._entries.get(entry)
        if not known:
            return _name(entry)
        over = "" if known["method"] == "http" else f" ({_e(known['method'])})"
        return f"{_e(known['variant'])}{over}"

    def _armed(self) -> str:
        rows = [
            [_name(one["host"]), self._entry(one["entry"]), self._time(one["armed"])]
            for one in self._status["armed"]
        ]
        return self._section("armed", self._table("armed", ("host", "entry", "since"), rows))

    def _installs(self) -> str:
        rows = [
            [
                _name(one["host"]),
                self._entry(one["entry"]),
                self._say(f"install_{one['state']}"),
                _e(one["step"]),
                self._time(one["since"]),
            ]
            for one in self._status["installs"]
        ]
        if not rows:
            return ""
        columns = ("host", "entry", "state", "step", "since")
        return self._section("installs", self._table("installs", columns, rows))

    def _menus(self) -> str:
        menus = "".join(map(self._menu, self._status["menus"]))
        return self._section("menus", menus or f"<p>{self._say('no_menus')}</p>")

    def _menu(self, menu: dict[str, Any]) -> str:
        shown, page_of = [], ""
        for line in menu["lines"]:
            if line["page"] != page_of:
                page_of = line["page"]
                shown.append(f'<li class="page">{_name(page_of)}</li>')
            default = line["id"] == menu["default"]
            tags = [self._say("bios_only")] if line["bios_only"] else []
            tags += [self._say("asks_password")] if line["password"] else []
            tags += [self._say("default", seconds=menu["timeout_s"])] if default else []
            beside = f" <small>{', '.join(tags)}</small>" if tags else ""
            mark = ' class="default"' if default else ""
            shown.append(f"<li{mark}>{_name(line['title'])}{beside}</li>")
        of = _e(f"{menu['arch']}: {', '.join(menu['firmware'])}")
        return (
            f'<details class="menu" id="menu-{_e(menu["arch"])}" open><summary>{of}</summary>'
            f"<p><bdi>{_e(menu['title'])}</bdi></p><ol>{''.join(shown)}</ol></details>"
        )

    def _services(self) -> str:
        shown = (
            f"<li>{_name(one['name'])} {self._state(one['state'])}</li>"
            for one in self._status["services"]
        )
        return self._section("services", f'<ul class="services">{"".join(shown)}</ul>')

    def _about(self) -> str:
        status, disk = self._status, self._status["disk"]
        serves = ", ".join(f"{one['address']} ({one['interface']})" for one in status["serves"])
        free = self._say(
            "disk_of", free=self._bytes(disk["free"]), total=self._bytes(disk["total"])
        )
        rows = [
            ("version", _e(f"netboot-alt {status['version']}")),
            ("serves", _e(serves)),
            ("dhcp", self._say(f"dhcp_{status['dhcp']}")),
            ("applied", self._time(status["applied"]["at"])),
            ("changed", self._time(status["applied"]["changed"])),
            ("hosts", str(status["hosts"]["named"])),
            ("disk", f"{_e(disk['path'])}: {free}"),
        ]
        shown = (f"<div><dt>{self._say(key)}</dt><dd>{value}</dd></div>" for key, value in rows)
        return self._section("about", f'<dl class="about">{"".join(shown)}</dl>')

    def _section(self, key: str, content: str) -> str:
        return (
            f'<section id="{key}" aria-labelledby="{key}-head">'
            f'<h2 id="{key}-head">{self._say(key)}</h2>\n{content}\n</section>'
        )

    def _table(self, key: str, columns: tuple[str, ...], rows: list[list[str]]) -> str:
        """Return a table; roles, as style sheets may show its cells one below the other."""
        if not rows:
            return f'<p class="none">{self._say(f"no_{key}")}</p>'
        heads = "".join(
            f'<th scope="col" role="columnheader"{_class(one)}>{self._say(one)}</th>'
            for one in columns
        )
        body = []
        for first, *rest in rows:
            cells = "".join(
                f'<td role="cell" data-label="{self._say(one)}"{_class(one, cell)}>'
                f"<div>{cell}</div></td>"
                for one, cell in zip(columns[1:], rest)
            )
            body.append(f'<tr role="row"><th scope="row" role="rowheader">{first}</th>{cells}</tr>')
        return (
            f'<table role="table"><caption>{self._say(key)}</caption>'
            f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
            f'<tbody role="rowgroup">{chr(10).join(body)}</tbody></table>'
        )


def _class(column: str, cell: str = "") -> str:
    """Return a cell's classes for the style sheet: numbers, and what a phone need not show."""
    found = ["number"] if column in _NUMBERS else []
    found += ["empty"] if cell in _EMPTY else []
    return f' class="{" ".join(found)}"' if found else ""


def _e(text: object) -> str:
    return html.escape(str(text))


def _name(text: str) -> str:
    """Return a name that may be in any script, so that it changes no order around it."""
    return f"<bdi>{_e(text)}</bdi>"
