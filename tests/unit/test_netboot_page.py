"""The status page and status.json, made of what a server has on record; without a browser."""

import fcntl
import html.parser
import json
import re
import subprocess
import time

import jsonschema
import pytest

import netboot_libraries
import netboot_live
import netboot_page
from netboot_causes import CAUSES
from netboot_page_texts import TEXTS
from tests import pages
from tests.conftest import CHECKOUT

FILES = CHECKOUT / "salt/netboot/files"
SCHEMA = json.loads((CHECKOUT / "docs/status.schema.json").read_text())
# What the program imports, as the state copies it.
SLS = (CHECKOUT / "salt/netboot/clients.sls").read_text()
LIBRARIES = re.findall(r"'(netboot_\w+)'", re.search(r"- libraries: (.*)", SLS)[1])
KINDS = ("empty", "at_work", "broken")
TOKEN = "0123456789abcdef"  # noqa: S105 (of an arming in tests/pages.py)
ATTRIBUTES = """
aria-current aria-label aria-labelledby charset class content data-label datetime defer hidden href
hreflang http-equiv id lang max name open rel role scope src title value
"""
# Words of the page by what a server says: of images, clients, services, findings.
STATES = {
    *("ready", "fetching", "missing", "left over", "in menu", "loading", "running", "local disk"),
    *("failed", "gone silent", "active", "inactive", "activating", "deactivating", "reloading"),
    *("unknown", "error", "warning", "info"),
}


@pytest.fixture(autouse=True)
def services(monkeypatch):
    return pages.Services(monkeypatch)


@pytest.fixture
def look(tmp_path):
    """What a server of one of these kinds is like, after changes to it."""

    def _look(kind, change=lambda server: None, now=pages.NOW):
        server = getattr(pages, kind)(tmp_path)
        change(server)
        return netboot_live.look(server.write(), now)

    return _look


class Parser(html.parser.HTMLParser):
    """Its elements with their attributes, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("kind", KINDS)
def test_shape(look, kind):
    status = look(kind).status
    jsonschema.Draft202012Validator(SCHEMA).validate(status)
    # What cannot be written as UTF-8 is not in it.
    json.dumps(status, ensure_ascii=False).encode()


@pytest.mark.parametrize("language", netboot_page.LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_elements(look, kind, language):
    """Nothing that is not ours is an element or an attribute; nothing is fetched from elsewhere."""
    page = Parser(netboot_page.page(look(kind).status, language))
    assert page.open == []
    assert page.all("script") == [{"src": "page.js", "defer": None}]
    assert page.all("html") == [{"lang": language}]
    assert [one["href"] for one in page.all("link")] == ["data:,", "page.css"]
    assert {one["href"] for one in page.all("a")} == {
        *("#main", "status.json", "index.en.html", "index.ru.html")
    }
    used = {name for _tag, attributes in page.elements for name in attributes}
    assert used <= set(ATTRIBUTES.split())
    ids = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    heads = [attributes for tag, attributes in page.elements if tag == "th"]
    assert all("scope" in one for one in heads)
    assert len(page.all("caption")) == len(page.all("table"))


@pytest.mark.parametrize("language", netboot_page.LANGUAGES)
def test_hostile_names(look, language):
    """They are shown as they are; what is not printed, and changes how the rest is read, is not."""
    text = netboot_page.page(look("broken").status, language)
    assert all(one.isprintable() or one == "\n" for one in text)
    shown = Parser(text).texts
    assert "ALT <script>alert(1)</script>" in shown
    assert "\"'><img src=x onerror=alert(1)>" in shown
    assert "ALT \ufffdgnirts\ufffd" in shown
    assert "ALT \U0001f4a5 \U0001d573" in shown
    assert "ALT {name} %s ${x}" in shown


def test_nothing_secret(look):
    def change(server):
        finding = {"key": "x", "severity": "error", "text": f"/once/pc1.{TOKEN}.ipxe is not sent"}
        server.snapshot["findings"].append(finding)
        finding = {**finding, "text": f"http://192.0.2.10/host/pc1.{TOKEN}/dist/x.iso: 403"}
        server.snapshot["findings"].append(finding)

    live = look("broken", change)
    texts = [netboot_page.page(live.status, one) for one in netboot_page.LANGUAGES]
    for text in (*texts, json.dumps(live.status)):
        for secret in (TOKEN, "s3cr3t", "token=abc", "user:"):
            assert secret not in text
    assert "/host/.../dist/x.iso: 403" in texts[0]
    assert "https://example.org/p11/alt.iso?... cannot be fetched" in texts[0]


def test_texts_are_complete():
    """Each is used, and has the same values in each language."""
    names = {key: set(values(text)) for key, text in TEXTS["en"].items()}
    assert names == {key: set(values(text)) for key, text in TEXTS["ru"].items()}
    used = (CHECKOUT / "salt/_utils/netboot_page.py").read_text()
    for key in TEXTS["en"]:
        dynamic = key.startswith(("cause_", "step_", "dhcp_", "no_", "install_")) or key in STATES
        assert dynamic or f'"{key}"' in used or f"'{key}'" in used, key


def test_each_cause_has_words():
    for texts in TEXTS.values():
        assert {key for key in texts if key.startswith("cause_")} == {
            f"cause_{cause}" for cause in CAUSES
        }


def values(text):
    return [part.partition("}")[0] for part in text.split("{")[1:]]


def test_small(look):
    """Without data: pages in both languages, style and script."""
    live = look("empty")
    made = [netboot_page.page(live.status, one) for one in netboot_page.LANGUAGES]
    made += [path.read_text() for path in (FILES / "page").iterdir()]
    assert sum(len(text.encode()) for text in made) < 30_000


def test_problems(look, services):
    services.states.update({"nginx": "failed", "smbd": "activating"})
    live = look("broken")
    found = [(one["severity"], one.get("name", "")) for one in netboot_page.problems(live.status)]
    assert found == [
        ("error", "nginx"),
        ("error", ""),
        ("warning", ""),
        ("warning", ""),
        ("info", ""),
    ]
    page = netboot_page.page(live.status, "en")
    assert "Needs attention. Errors: 2, warnings: 2" in page
    assert "nginx: failed. See journalctl -u nginx" in page
    assert live.status["applied"]["late"]
    assert "The scheduled apply is overdue" in page


def test_schedule_is_not_overdue_before_a_day(look):
    def change(server):
        server.snapshot.update(every_s=3600, at=pages.NOW - 80000)

    live = look("at_work", change)
    assert not live.status["applied"]["late"]
    assert "Everything works" in netboot_page.page(live.status, "en")


def test_out_of_service(look):
    live = look("empty", lambda server: server.snapshot.update(out_of_service=pages.NOW - 60))
    assert "Out of service since 2026-11-26 17:59" in netboot_page.page(live.status, "en")


def test_clients(look):
    live = look("at_work")
    clients = live.status["clients"]
    assert (clients["total"], clients["states"]) == (
        *(30, {"in menu": 1, "local disk": 2, "running": 27}),
    )
    first = clients["list"][0]
    assert (first["host"], first["mac"], first["step"]) == (
        *("class1-pc07", "52:54:00:00:00:07", "menu"),
    )
    assert [one["host"] for one in live.status["armed"]] == ["class1-pc12", "class2-pc21"]
    assert live.status["hosts"] == {"named": 30, "new": 0, "armed": 2, "booted": 0}


def test_client_that_stopped_names_the_command(look):
    live = look("broken")
    page = netboot_page.page(live.status, "ru")
    assert "./netboot trace 52:54:00:00:00:1f" in page
    assert "Оборвалось" in page
    assert '<p lang="en">The stage was cut off at byte' in page


def test_client_whose_firmware_asked_alone(look, services):
    """It did not come to a menu, and is seen all the same."""
    services.journal = [
        f"{pages.NOW - 400}.5 netboot1 dnsmasq-dhcp[7]: 1 vendor class: PXEClient:Arch:00007:UNDI",
        f"{pages.NOW - 400}.5 netboot1 dnsmasq-dhcp[7]: 1 PXE(eth0) 52:54:00:00:00:77 proxy",
        f"{pages.NOW - 400}.5 netboot1 dnsmasq-dhcp[7]: 1 bootfile name: snponly-x86_64.efi",
    ]
    live = look("empty")
    (client,) = live.status["clients"]["list"]
    assert (client["mac"], client["state"], client["step"]) == (
        *("52:54:00:00:00:77", "gone silent", "dhcp"),
    )
    assert "./netboot trace 52:54:00:00:00:77" in netboot_page.page(live.status, "en")


def test_many_clients(look):
    """The newest are shown, and how many more there are."""

    def change(server):
        for number in range(100, 350):
            server.boot(number, pages.NOW - 100_000 - number, until="local")

    live = look("at_work", change)
    assert live.status["clients"]["total"] == 280
    assert len(live.status["clients"]["list"]) == 200
    assert "And 80 more: ./netboot clients" in netboot_page.page(live.status, "en")


def test_client_of_last_week_is_gone(look):
    def change(server):
        server.boot(99, pages.NOW - 8 * 86400, until="local")

    assert look("empty", change).status["clients"]["total"] == 0


def test_fetch_that_goes_on_and_one_that_was_left(look):
    held = []

    def change(server):
        held.append(open(server.part))
        fcntl.flock(held[0], fcntl.LOCK_EX)

    with_lock = look("broken", change).status["images"]
    (image,) = [one for one in with_lock if one["state"] == "fetching"]
    assert image["name"] == "ALT Virtualization Server 11.0"
    assert image["fetch"] == {
        **{"bytes": 420_000, "total": 1_000_000, "percent": 42, "rate": 7000},
        "seconds_left": 82,
    }
    held[0].close()


def test_fetch_that_was_left(look):
    states = [one["state"] for one in look("broken").status["images"]]
    assert (states.count("missing"), states.count("fetching")) == (1, 0)


def test_damaged_records_do_not_end_the_page(look, tmp_path):
    look("at_work")
    (tmp_path / "records/owned/once.json").write_text('{"pc1"')
    (tmp_path / "records/applied/hosts.json").write_text("[]")
    live = netboot_live.look(str(tmp_path / "records"), pages.NOW)
    assert live.status["armed"] == []
    assert live.status["clients"]["list"][0]["host"] == ""


def test_a_client_that_floods_costs_little(look, tmp_path):
    """Of each client the newest lines are read."""
    look("empty")
    line = '{"t":%.1f,"a":"192.0.2.77","m":"GET","u":"/seen","g":"%s&m=525400000001","s":200,'
    line += '"n":0,"l":"0","c":"OK","d":0.1,"w":"","i":"%d"}\n'
    flood = line % (pages.NOW - 10.5, f"s=boot&n={'x' * 800}", 1)
    last = line % (pages.NOW - 10.5, "s=script", 2)
    (tmp_path / "store/192.0.2.77.jsonl").write_text(flood * 4000 + last)
    started = time.monotonic()
    live = netboot_live.look(str(tmp_path / "records"), pages.NOW)
    assert time.monotonic() - started < 1
    assert live.status["clients"]["list"][0]["step"] == "script"


def test_libraries_need_no_salt(tmp_path):
    """Copies beside the program, in a Python that sees nothing else but its own library."""
    for name, text in netboot_libraries.sources(LIBRARIES).items():
        (tmp_path / name).write_text(text)
    program = tmp_path / "netboot-status"
    program.write_text((FILES / "netboot-status").read_text())
    server = pages.at_work(tmp_path / "server")
    (tmp_path / "www").mkdir()
    command = ["/usr/bin/python3", "-I", "-S", program, f"--records={server.write()}"]
    subprocess.run([*command, f"--page={tmp_path}/www"], check=True)
    made = {path.name for path in (tmp_path / "www").iterdir()}
    assert made == {"index.en.html", "index.ru.html", "status.json"}
    names = [f'"{path.stem}"' for path in tmp_path.glob("netboot_*.py")]
    check = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    check += (
        f"[__import__(name) for name in [{', '.join(names)}]]; assert 'salt' not in sys.modules"
    )
    subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", check], check=True)


def test_nothing_applied_yet(tmp_path):
    for name, text in netboot_libraries.sources(LIBRARIES).items():
        (tmp_path / name).write_text(text)
    program = tmp_path / "netboot-status"
    program.write_text((FILES / "netboot-status").read_text())
    command = ["/usr/bin/python3", "-I", program, f"--records={tmp_path}/none"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "Nothing to show before the first apply has ended.\n"


def test_installs(look):
    """One that boots, one at work, one that failed."""

    def change(server):
        for number, steps in enumerate(
            ([], [["started", pages.NOW - 60, "a"]], [["failed-disk", pages.NOW, "a"]])
        ):
            name, token = f"class1-pc{number + 1}", f"{number}" * 32
            server.arm(name, "p11-install")
            server.once[name].update(install="school-pc", arming=token)
            record = {"arming": token, "served_at": pages.NOW - 90, "steps": steps}
            record |= {"addresses": {}, "done_at": 0}
            path = server.base / f"records/installs/{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(record))

    live = look("at_work", change)
    states = {one["host"]: (one["state"], one["step"]) for one in live.status["installs"]}
    assert states == {
        "class1-pc1": ("booting", ""),
        "class1-pc2": ("installing", "started"),
        "class1-pc3": ("failed", "disk"),
    }
    jsonschema.Draft202012Validator(SCHEMA).validate(live.status)
    page = netboot_page.page(live.status, "ru")
    for words in ("загружается", "устанавливается", "не удалась", "disk"):
        assert words in page


def test_without_installs_there_is_no_table(look):
    assert TEXTS["en"]["installs"] not in netboot_page.page(look("at_work").status, "en")
