"""Images of several generations on one netboot server: real firmware boots each in its own way.

p11 is booted in test_boot.py, and each first stage is shown alone in test_stage1.py.
"""

import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.boot.test_boot import served
from tests.servers import INSTALLED

TITLE = "Every generation"
GENERATIONS = ("p9", "p10.1", "p11", "sisyphus-2022")


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A netboot server that has all these images, and its boot entries in the menu's order."""
    folder = tmp_path_factory.mktemp("web")
    isos = {generation: make_iso(folder, generation, stage_mib=2) for generation in GENERATIONS}
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(folder)
        pillar = {
            "images": {
                generation: {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
                for generation, iso in isos.items()
            },
            "default_image": {"x86_64": GENERATIONS[0]},
            # long enough for the keys of a busy machine
            "menu": {
                "title": "Школа № 5",
                "timeout_s": 20,
                "languages": ["ru_RU"],
                "unicode": True,  # not for a BIOS
            },
        }
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        entries = salt.call(server, "netboot.entries", "arch=x86_64")
        yield SimpleNamespace(lab=lab, server=server, isos=isos, entries=entries)


def test_every_image_has_its_entries(applied):
    assert {(entry["image"], entry["variant"], entry["form"]) for entry in applied.entries} == {
        ("p9", "livecd", "tree"),
        ("p9", "install", "tree"),
        ("p9", "rescue", "tree"),
        ("p10.1", "livecd", "tree"),
        ("p10.1", "install", "iso"),
        ("p10.1", "rescue", "tree"),
        ("p11", "livecd", "tree"),
        ("p11", "install", "iso"),
        ("p11", "rescue", "tree"),
        ("sisyphus-2022", "livecd", "tree"),
        ("sisyphus-2022", "install", "tree"),
    }


@pytest.mark.parametrize(
    ("image", "variant", "stage", "expected"),
    [
        ("p9", "livecd", "live", {"dialect": "propagator", "form": "tree", "target": "ram0"}),
        pytest.param(
            *("p10.1", "livecd", "live"),
            {"dialect": "propagator", "form": "tree", "target": "ram0"},
            marks=pytest.mark.long,
        ),
        ("p10.1", "install", "altinst", {"dialect": "propagator", "form": "iso"}),
        ("sisyphus-2022", "install", "live", {"dialect": "altboot", "form": "tree"}),
    ],
)
def test_boots(applied, image, variant, stage, expected):
    """Somebody goes through the menu from its default entry, the first image's live system."""
    served(applied)
    order = [(entry["image"], entry["variant"]) for entry in applied.entries]
    steps = order.index((image, variant)) - order.index((GENERATIONS[0], "livecd"))
    with applied.lab.client("bios") as client:
        client.wait_for("Shkola No 5", timeout=120)
        client.wait_for("l Zagruzka s lokalnogo diska", timeout=10)
        time.sleep(2)  # the menu is drawn after its title, and takes no keys before
        client.press(*["down" if steps > 0 else "up"] * abs(steps), "ret")
        marker = client.booted(timeout=180)
    size, digest = applied.isos[image].stages[stage]
    entry = applied.entries[order.index((image, variant))]
    assert marker | expected == marker
    assert (marker["generation"], marker["variant"], marker["stage"]) == (image, variant, stage)
    assert (marker["digest"], marker["bytes"]) == (digest, str(size))
    # what the client checked while it downloaded, and what it downloaded
    checks = expected["dialect"] == "propagator" and expected["form"] == "tree"
    assert (f"hash={digest}" in entry["cmdline"]) == checks
    fetched = [
        count
        for verb, path, status, count in served(applied)
        if (verb, status) == ("GET", 200) and path.startswith(("/dist/", "/tftp/netboot/"))
    ]
    assert (len(fetched), sum(fetched)) == (3, entry["bytes"])
