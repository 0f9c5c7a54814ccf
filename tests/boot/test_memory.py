"""What real iPXE adds up of a machine's memory modules, by the menu's own lines."""

import struct

import pytest

from lab import Lab
from lab.ipxe import HASHES, RELEASE, boot_loaders
from lab.iso import make_iso
from lab.salt import SaltCall
from tests.conftest import CHECKOUT
from tests.servers import WITH_CLIENTS

SAYS = "echo memory: ${nb-mib} MiB, ${nb-quarters} quarters of a GiB.\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as made:
        yield made


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The part of the menu that does it."""
    text = (CHECKOUT / "salt/netboot/files/menu.ipxe.jinja").read_text()
    loop = text[text.index(":module\n") : text.index("set nb-report ")]
    begin = [f"set nb-{name}:int32 0" for name in ("slot", "low", "mid", "high")]
    path = tmp_path_factory.mktemp("script") / "memory.ipxe"
    path.write_text("\n".join(["#!ipxe", *begin, loop + SAYS]))
    return path


def structure(number, size, extended=0):
    """A memory device, as SMBIOS 2.7 has it (DSP0134, 7.18)."""
    body = struct.pack("<BBH8xH14xI", 17, 0x28, 0x1100 + number, size, extended)
    return body.ljust(0x28, b"\0") + b"\0\0"


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ([(2048,), (0,), (1024,)], "3072 MiB, 12 quarters"),
        ([(0x7FFF, 32768), (8192,), (1000,)], "41960 MiB, 163 quarters"),
        ([(0x7FFF, 131072)], "131072 MiB,  quarters"),  # never too little
        ([(4096,), (0xFFFF,)], " MiB,  quarters"),  # one of unknown size
    ],
)
@pytest.mark.parametrize("release", [RELEASE, pytest.param(HASHES, marks=pytest.mark.long)])
def test_memory_modules(lab, script, tmp_path, release, modules, said):
    words = []
    for number, module in enumerate(modules):
        (tmp_path / str(number)).write_bytes(structure(number, *module))
        words += ["-smbios", f"file={tmp_path / str(number)}"]
    kernel = boot_loaders(release) / "ipxe.lkrn"
    with lab.client("bios", kernel=kernel, initrd=script, extra=words) as client:
        assert client.wait_for(r"memory: ([^.]*) of a GiB\.", timeout=60)[1] == said


@pytest.mark.long
def test_default_that_needs_more_memory_is_mounted_instead(tmp_path):
    """From the menu, which compares, to the end of the mount."""
    iso = make_iso(tmp_path, stage_mib=257)
    with Lab(logs=tmp_path / "logs") as lab:
        server = lab.server("netboot1", installed=WITH_CLIENTS, binds=[CHECKOUT])
        image = {
            "url": f"{lab.web(tmp_path).url}/{iso.path.name}",
            "checksum": {"sha256": iso.sha256},
            "variants": ["livecd"],
            "methods": ["http", "cifs"],
        }
        pillar = {
            "images": {"p11": image},
            "default_image": {"x86_64": "p11"},
            "menu": {"timeout_s": 2},
        }
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        methods = {}
        for memory_mib in (2048, 900):
            with lab.client("bios", memory_mib=memory_mib) as client:
                marker = client.booted(timeout=180)
            assert marker["digest"] == iso.stages["live"][1]
            methods[memory_mib] = marker["method"]
    assert methods == {2048: "http", 900: "cifs"}
