"""The status page in a headless Chromium, served with the headers that nginx gives it."""

import email.utils
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

import netboot_live
import netboot_page
from tests import pages
from tests.browser import browser
from tests.conftest import CHECKOUT

FILES = CHECKOUT / "salt/netboot/files"
SITE = (FILES / "nginx.conf.jinja").read_text()
HEADERS = dict(re.findall(r'add_header (\S+) "?([^";][^"]*?)"? always;', SITE))


class Site:
    """What nginx serves, at a time of its own."""

    def __init__(self, base):
        self.base, self.now, self.gone = base, pages.NOW + 30, False
        site = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(base))

            def do_GET(self):
                if site.gone:
                    self.send_error(403)
                else:
                    super().do_GET()

            def end_headers(self):
                for name, value in HEADERS.items():
                    self.send_header(name, value)
                super().end_headers()

            def date_time_string(self, timestamp=None):
                return email.utils.formatdate(timestamp or site.now, usegmt=True)

            def log_message(self, *args):
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def show(self, kind, tmp_path, made=pages.NOW):
        """Serve a page of such a server; return its URL."""
        live = netboot_live.look(getattr(pages, kind)(tmp_path).write(), made)
        for language in netboot_page.LANGUAGES:
            text = netboot_page.page(live.status, language)
            (self.base / f"index.{language}.html").write_text(text)
        return f"{self.url}/index.en.html"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as one:
        yield one


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    pages.Services(monkeypatch)
    base = tmp_path_factory.mktemp("site")
    for path in (FILES / "page").iterdir():
        (base / path.name).write_text(path.read_text())
    one = Site(base)
    yield one
    one.close()


def settled(chromium, url):
    chromium.open(url)
    chromium.wait("document.getElementById('made').title")


def is_shown(chromium, name):
    return chromium.run(f"return document.getElementById('{name}').checkVisibility()")


def test_policy_is_that_of_the_site():
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")


@pytest.mark.parametrize("language", netboot_page.LANGUAGES)
def test_hostile_names_do_nothing(chromium, site, tmp_path, language):
    url = site.show("broken", tmp_path).replace(".en.", f".{language}.")
    settled(chromium, url)
    assert chromium.errors() == []
    assert chromium.run("return document.scripts.length") == 1
    assert chromium.run("return document.images.length") == 0
    assert "<script>alert(1)</script>" in chromium.run("return document.body.innerText")
    # The page is styled: its policy lets its own files through.
    assert chromium.run("return getComputedStyle(document.querySelector('h1')).marginTop") == "0px"


@pytest.mark.parametrize(
    ("language", "dark", "back"),
    [("en", False, "rgb(251, 251, 250)"), ("ru", True, "rgb(21, 24, 28)")],
)
@pytest.mark.parametrize("kind", ["empty", "broken"])
def test_phone(chromium, site, tmp_path, kind, language, dark, back):
    """Nothing is wider than the screen, in either language; as dark as the reader's other pages."""
    url = site.show(kind, tmp_path).replace(".en.", f".{language}.")
    chromium.resize(360, 740, dark)
    settled(chromium, url)
    chromium.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert chromium.run("return document.documentElement.scrollWidth") == 360
    wide = "return [...document.body.querySelectorAll('main *')].filter(one => !one.closest("
    wide += (
        "'caption, thead') && one.getBoundingClientRect().right > 360).map(one => one.outerHTML)"
    )
    assert chromium.run(wide) == []
    assert chromium.run("return getComputedStyle(document.body).backgroundColor") == back
    chromium.resize(1280)
    assert chromium.run("return document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(chromium, site, tmp_path, dark):
    """Of all texts, as WCAG 2.2 wants it of small ones (1.4.3)."""
    chromium.resize(1280, dark=dark)
    settled(chromium, site.show("broken", tmp_path))
    low = chromium.run(CONTRAST)
    assert low == []


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function light(color) {
  const [r, g, b] = color.match(/[\\d.]+/g).map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function back(one) {
  const color = getComputedStyle(one).backgroundColor;
  return color === "rgba(0, 0, 0, 0)" ? back(one.parentElement) : color;
}
const low = new Set();
for (const one of document.querySelectorAll("body *")) {
  if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  const [a, b] = [light(getComputedStyle(one).color), light(back(one))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) low.add(`${one.tagName} ${one.className} ${ratio.toFixed(2)}`);
}
return [...low];
"""


def test_keyboard_alone(chromium, site, tmp_path):
    """From the address bar to the other language, and to why a client stopped."""
    chromium.resize(1280)
    settled(chromium, site.show("broken", tmp_path))
    focused = "return document.activeElement.id || document.activeElement.textContent"
    chromium.press("Tab")
    assert chromium.run(focused) == "To the content"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert chromium.run(outline) == "solid"
    assert chromium.run("return document.activeElement.getBoundingClientRect().left") >= 0
    chromium.press("Tab", "Tab")
    assert chromium.run(focused) == "to-ru"
    chromium.press("Enter")
    chromium.wait("document.documentElement.lang === 'ru'")
    chromium.run("document.querySelector('#clients summary').focus()")
    chromium.press("Enter")
    why = "document.querySelector('#clients details').open"
    chromium.wait(why)
    assert "./netboot trace" in chromium.run("return document.body.innerText")
    # It stays open, and has the focus, when the next page comes.
    site.now += 60
    for language in netboot_page.LANGUAGES:
        path = site.base / f"index.{language}.html"
        path.write_text(path.read_text().replace("18:00", "18:01"))
    chromium.run("look = document.querySelector('#clients'); document.title = 'before'")
    chromium.run("window.dispatchEvent(new Event('focus'))")
    chromium.wait("document.title !== 'before'")
    assert chromium.run(f"return {why}")
    assert chromium.run("return document.activeElement.tagName") == "SUMMARY"
    assert chromium.errors() == []


def test_old_page_says_so(chromium, site, tmp_path):
    """By the server's clock, as the reader's may be wrong."""
    url = site.show("at_work", tmp_path)
    settled(chromium, url)
    assert not is_shown(chromium, "old")
    site.now = pages.NOW + 599
    settled(chromium, url)
    assert not is_shown(chromium, "old")
    site.now = pages.NOW + 601
    settled(chromium, url)
    chromium.wait("document.getElementById('old').checkVisibility()")
    assert not is_shown(chromium, "lost")


def test_server_that_does_not_answer_any_more(chromium, site, tmp_path):
    settled(chromium, site.show("at_work", tmp_path))
    site.gone = True
    chromium.run("window.dispatchEvent(new Event('focus'))")
    chromium.wait("document.getElementById('lost').checkVisibility()")
    assert [one for one in chromium.errors() if "403" not in one] == []


def test_without_script(site, tmp_path):
    """Both languages, the time when it was made, and a new page each minute."""
    url = site.show("at_work", tmp_path)
    with browser("--blink-settings=scriptEnabled=false") as chromium:
        chromium.open(url)
        document = chromium.chromium("DOM.getDocument", depth=-1)["root"]
        text = str(document)
        assert "2026-11-26 18:00 UTC" in text
        assert "'NOSCRIPT'" in text
        assert "'index.ru.html'" in text
