"""
Servers of one site, which fetch each ISO once from elsewhere and then from each other; and mirrors.

What each has lies in the mine of Salt's master: no other daemon knows of it. Bytes come over plain
HTTP. Whatever a server says of its ISOs, the digests of the pillar decide.

Before a server fetches from outside its site it claims the file, so that the others wait for it: it
asks, looks whether others do, and the one with the first id goes on. Who waits looks at the web
server of the other one, not at the master.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import logging
import os
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Callable

import netboot_files
import netboot_url_checks
from iso_choice import Choice
from netboot_names import has_digests
from netboot_records import Records
from netboot_shapes import Config, Image, IsoRecord

log = logging.getLogger(__name__)

#: In the mine: mirrors that belong to no site, and servers by site.
MIRRORS = "netboot_mirrors"
_SITE = "netboot_site_{}"
_CONTEXT = "netboot_site"

# A mine arrives at the master within this time, and what others sent is there then.
_SETTLED_S = 2.5
_LOOK_S = 2
_ASKED_AGAIN_S = 30
# Salt tries for three minutes before it says that a master does not answer.
_AWAY_S = 600
# A fetch that goes on shows that each few seconds (iso_coming).
_SILENT_S = 10
_ANSWERS_S = 3
# 5 GB at 2 Mbit/s. Who shows for ever that it fetches does not keep a site without its ISO.
_PATIENCE_S = 6 * 3600
_MOST_ISOS = 1000
# Other servers are on the local network; no redirects, which could lead anywhere.
_DIRECT = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.HTTPHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
):
    _DIRECT.add_handler(_handler())


class Site:
    """
    The other servers of this machine's site, and the mirrors that its master knows.

    records
        The records of this machine.

    me
        The id of its minion.

    get_mine, send_mine
        Salt's ``mine.get`` and ``mine.send``.
    """

    def __init__(
        self,
        records: Records,
        me: str,
        get_mine: Callable[..., Any],
        send_mine: Callable[..., Any],
    ) -> None:
        # Not the context of this run: fetches in threads do not have it.
        self._records, self._me = Records(records.directory), me
        self._get_mine, self._send_mine = get_mine, send_mine
        self._config = records.config()
        self._lock = threading.Lock()
        self._new: dict[str, IsoRecord] = {}
        self._claims: dict[str, str] = {}
        self._claimed: dict[tuple[str, str], float] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._asks_after = 0.0

    @property
    def name(self) -> str:
        """The site's name, or empty."""
        return self._config["site"]

    def asks(self) -> bool:
        """Return whether other servers are asked for ISOs."""
        order = self._config["fetch"]["from"]
        return "master" in order or ("peers" in order and bool(self.name))

    def share(self) -> bool:
        """Send to the mine what this machine has, and what it fetches; return whether it went."""
        with self._lock:
            return self._share()

    def _share(self) -> bool:
        if not self.name and self._config["mirror"] == "off":
            return True  # nobody is to fetch here
        text = self.shared()
        try:
            return bool(self._send_mine(where(self._config), mine_function="test.echo", text=text))
        except Exception as err:  # noqa: BLE001 (a fetch never fails because of it)
            log.warning("The other servers cannot be told: %s", err)
            return False

    def shared(self) -> dict[str, Any]:
        """Return what the others see of this machine."""
        dist = self._config["paths"]["dist"]
        isos: dict[str, dict[str, str]] = {}
        for file in self._records.names("isos"):
            record: Any = self._records.iso(file) or {}
            at = os.path.join(dist, file)
            # What is on record as dropped, or was changed, is not there.
            if record.get("identity") and record["identity"] == netboot_files.identity(at):
                isos[file] = record["digests"]
        isos.update({file: record["digests"] for file, record in self._new.items()})
        return {
            "url": self._config["share_url"],
            "isos": isos,
            "claims": dict(self._claims),
        }

    def peers(self) -> dict[str, dict[str, Any]]:
        """Return what the other servers of the site have, by id."""
        return self._others(_SITE.format(self.name)) if self.name else {}

    def mirrors(self) -> dict[str, dict[str, Any]]:
        """Return what the mirrors have that belong to no site, by id."""
        return self._others(MIRRORS)

    def _others(self, function: str) -> dict[str, dict[str, Any]]:
        with self._lock:
            if time.monotonic() >= self._asks_after:
                try:
                    self._known[function] = dict(self._get_mine("*", function) or {})
                except Exception as err:  # noqa: BLE001 (whatever Salt raises when its master is away)
                    log.warning("The master cannot be asked for other servers: %s", err)
                    self._asks_after = time.monotonic() + _AWAY_S
            found = self._known.get(function, {})
        return {id_: one for id_, one in found.items() if id_ != self._me and _is_sound(one)}

    def claim(self, file: str) -> str:
        """
        Claim a file; return the id of the server that fetches it already, or an empty string.

        file
            Name of the ISO.
        """
        with self._lock:
            self._claims[file] = "asks"
            self._share()
        time.sleep(_SETTLED_S)
        for id_, one in sorted(self.peers().items()):
            theirs = one["claims"].get(file)
            if (theirs == "fetches" or (theirs and id_ < self._me)) and self.fetches(id_, one):
                self.release(file)
                return id_
        with self._lock:
            self._claims[file] = "fetches"
            self._share()
        return ""

    def fetches(self, id_: str, one: dict[str, Any]) -> bool:
        """
        Return whether another server goes on with what it claims.

        id_, one
            The server, and what it shares.
        """
        # A claim outlives the fetch of a server that lost its power; a new one has no bytes yet.
        first = self._claimed.setdefault((id_, str(sorted(one["claims"]))), time.monotonic())
        return time.monotonic() - first < _SILENT_S or _receives(one["url"])

    def release(self, file: str, record: IsoRecord | None = None) -> None:
        """
        End a claim.

        file
            Name of the ISO.

        record
            What is known of it if it is there now.
        """
        with self._lock:
            claimed = self._claims.pop(file, None)
            if record:
                self._new[file] = record
            if claimed or record:
                self._share()

    def choice(self, sources: list[str], path: str, checksum: dict[str, str]) -> Choice:
        """
        Return where a file is fetched from, see ``iso_download.How``.

        sources, path, checksum
            Its URLs in the configuration, where it is to lie, and its digests.
        """
        return _SiteChoice(self, self._config, sources, os.path.basename(path), checksum, self._me)

    def urls(self, image: Image) -> list[str]:
        """
        Return the URLs of an image whose sum file is believed, in order: those that the pillar
        names. Only if it names none they are those of the mirrors that the master knows, which any
        minion of it can say that it is.

        image
            The image of the configuration.
        """
        if image["sources"] or "master" not in self._config["fetch"]["from"]:
            return image["sources"]
        return [_at(one["url"], image["file"]) for one in self.mirrors().values()]


def where(config: Config) -> str:
    """
    Return what in the mine a machine's own ISOs are called.

    config
        Its configuration.
    """
    return _SITE.format(config["site"]) if config["site"] else MIRRORS


def of(
    records: Records,
    opts: Mapping[str, Any],
    context: Any,
    get_mine: Callable[..., Any],
    send_mine: Callable[..., Any],
) -> Site | None:
    """
    Return the site of a machine, or None if there is no master to ask.

    records, opts, context
        The records, ``__opts__`` and ``__context__`` of a state.

    get_mine, send_mine
        See ``Site``.
    """
    if opts.get("file_client") != "remote" or opts.get("__master_opts__"):
        return None
    if _CONTEXT not in context:
        context[_CONTEXT] = Site(records, opts["id"], get_mine, send_mine)
    site: Site = context[_CONTEXT]
    return site


class _SiteChoice(Choice):
    """Peers, mirrors and what is further away, in the order of ``netboot:fetch:from``."""

    def __init__(
        self,
        site: Site,
        config: Config,
        sources: list[str],
        file: str,
        checksum: dict[str, str],
        me: str,
    ) -> None:
        super().__init__(sources)
        self._site, self._file, self._checksum, self._me = site, file, checksum, me
        mirrors = [one["mirrors"] for one in config["images"] if one["file"] == file]
        self._order = config["fetch"]["from"]
        self._urls = _groups(sources, mirrors[0] if mirrors else [])
        self._tried: set[str] = set()
        self._claimed = not site.name or "peers" not in self._order
        self._patient_until = time.monotonic() + _PATIENCE_S

    def next(self) -> str | None:
        while True:
            self._look()
            word = next((one for one in self._order if self._left(one)), None)
            if word is None:
                return None
            if word == "peers" or self._claimed:
                url = self._left(word)[0]
                self._tried.add(url)
                return url
            # After it is claimed it is looked again, as another server may have got it meanwhile.
            busy = self._site.claim(self._file)
            self._claimed = not busy or self._is_late()
            if not self._claimed:
                self._wait(busy)

    def others(self) -> bool:
        return any(self._left(word) for word in self._order)

    def is_mirror(self, url: str) -> bool:
        return any(url in self._urls.get(word, []) for word in ("mirrors", "master"))

    def ended(self, record: IsoRecord | None) -> None:
        self._site.release(self._file, record)

    def _left(self, word: str) -> list[str]:
        return [url for url in self._urls.get(word, []) if url not in self._tried]

    def _look(self) -> None:
        if "peers" in self._order:
            self._urls["peers"] = self._having(self._site.peers())
        if "master" in self._order:
            self._urls["master"] = self._having(self._site.mirrors())

    def _having(self, servers: dict[str, dict[str, Any]]) -> list[str]:
        """Return where servers have the file, for each machine in another order."""
        found = {
            id_: _at(one["url"], self._file)
            for id_, one in servers.items()
            if has_digests(one["isos"].get(self._file, {}), self._checksum)
        }
        order = sorted(found, key=lambda id_: hashlib.sha256(f"{self._me} {id_}".encode()).digest())
        return [found[id_] for id_ in order]

    def _is_late(self) -> bool:
        return time.monotonic() >= self._patient_until

    def _wait(self, id_: str) -> None:
        """Wait until another server has the file, or no longer fetches it."""
        while not self._is_late():
            one = self._site.peers().get(id_)
            if not one or self._file not in one["claims"]:
                return
            # The master is asked seldom.
            until = min(time.monotonic() + _ASKED_AGAIN_S, self._patient_until)
            while time.monotonic() < until:
                if not self._site.fetches(id_, one):
                    if self._file in self._site.peers().get(id_, {}).get("claims", {}):
                        log.warning("%s no longer fetches %s.", id_, self._file)
                    return
                time.sleep(_LOOK_S)


def _groups(sources: list[str], mirrors: list[str]) -> dict[str, list[str]]:
    return {
        "mirrors": [url for url in sources if url in mirrors],
        "upstream": [url for url in sources if url not in mirrors],
    }


def _at(url: str, file: str) -> str:
    return f"{url}/dist/{urllib.parse.quote(file)}"


def _is_sound(one: Any) -> bool:
    """Return whether what a minion shares has the right shape: it may be anybody's."""
    if not isinstance(one, dict) or not isinstance(one.get("url"), str):
        return False
    if not all(map(_is_by_file, (one.get("isos"), one.get("claims")))):
        return False
    digests = all(isinstance(known, dict) for known in one["isos"].values())
    return digests and netboot_url_checks.server_url(one["url"]) is None


def _is_by_file(value: Any) -> bool:
    sound = isinstance(value, dict) and len(value) <= _MOST_ISOS
    return sound and all(isinstance(file, str) for file in value)


def _receives(url: str) -> bool:
    """Return whether a server shows that an ISO grows there now, see ``iso_coming``."""
    request = urllib.request.Request(f"{url}/tftp/coming.ipxe", method="HEAD")  # noqa: S310
    try:
        with _DIRECT.open(request, timeout=_ANSWERS_S) as answer:
            times = [answer.headers.get(name) for name in ("Date", "Last-Modified")]
        now, changed = (email.utils.parsedate_to_datetime(one).timestamp() for one in times)
    except (OSError, http.client.HTTPException, ValueError, TypeError, AttributeError):
        return False
    return now - changed < _SILENT_S
