"""A headless Chromium, by the WebDriver protocol (w3.org/TR/webdriver2)."""

import base64
import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from lab.host import require

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": "\ue00d"}


class Browser:
    """One window. Pages are given by URL; what JavaScript returns comes back as Python."""

    def __init__(self, url, session):
        self._url = f"{url}/session/{session}"

    def _ask(self, method, path, **body):
        return ask(method, f"{self._url}{path}", body if method == "POST" else None)

    def open(self, url):
        self._ask("POST", "/url", url=url)

    def run(self, script, *arguments):
        """Run a function's body; what it returns."""
        return self._ask("POST", "/execute/sync", script=script, args=list(arguments))

    def wait(self, script, seconds=10):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return !!({script})"):
            assert time.monotonic() < end, script
            time.sleep(0.05)

    def press(self, *keys):
        """Press keys one after the other, by name."""
        actions = []
        for key in keys:
            value = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._ask("POST", "/actions", actions=[source])

    def chromium(self, command, **parameters):
        """A command of the Chrome DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def resize(self, width, height=900, dark=False):
        """Show pages as a screen of this size does."""
        self.chromium(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.chromium("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path, whole=True):
        """Write what the page looks like, from top to bottom, to a PNG."""
        shot = self.chromium("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def errors(self):
        """What the page's console has of errors, also refusals by its policy."""
        logged = self._ask("POST", "/se/log", type="browser")
        return [one["message"] for one in logged if one["level"] == "SEVERE"]


def ask(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["value"]
    except urllib.error.HTTPError as err:
        raise AssertionError(json.load(err)["value"]["message"]) from err


@contextlib.contextmanager
def browser(*arguments):
    """Yield a Browser; arguments: more of Chromium's."""
    require("chromedriver")
    with tempfile.TemporaryDirectory() as home:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HOME": home},
        )
        try:
            line = next(line for line in driver.stdout if "started successfully on port" in line)
            url = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}"
            words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            options = {
                "browserName": "chrome",
                "goog:chromeOptions": {"args": [*words, f"--user-data-dir={home}/c", *arguments]},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            made = ask("POST", f"{url}/session", {"capabilities": {"alwaysMatch": options}})
            yield Browser(url, made["sessionId"])
            ask("DELETE", f"{url}/session/{made['sessionId']}")
        finally:
            driver.terminate()
            driver.wait()
