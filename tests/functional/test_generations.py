"""alt_iso.inspect against ISOs of every generation and architecture in the lab's table."""

import pytest

from lab.iso import make_iso
from lab.iso.generations import GENERATIONS

MEDIA = [
    pytest.param(row, arch, id=f"{row.name}-{arch}")
    for row in GENERATIONS.values()
    for arch in row.arches
]


def stage_of(row, *entry_ids):
    """The first of these entries of the medium's menu, as inspect gives it."""
    for entry in row.entries:
        if entry.id in entry_ids:
            return {"stage": entry.stage, "argument": entry.arguments}
    return None


@pytest.mark.parametrize(("row", "arch"), MEDIA)
def test_inspect(loaders, tmp_path, row, arch):
    # the name must not tell what the medium itself should tell
    iso = make_iso(tmp_path, row.name, name="image", stage_mib=1, arch=arch, boots=False)
    facts = loaders.modules.alt_iso.inspect(str(iso.path))
    expected = {
        "arch": arch,
        "product": iso.product,
        "version": row.version,
        "branch": row.branch,
        "volume_id": iso.volume_id,
        "uuid": row.date,
        "build_date": row.date[:10],
        "dialect": row.dialect,
        "dialect_source": row.boot_of(arch).menus[0],
        "kernel": iso.kernel[1:],
        "initrd": iso.initrd[1:],
        "boot_source": row.boot_of(arch).menus[0],
        "flavours": {},
        "stages": {
            name: {"path": name, "size": size, "ramdisk_size": size // 1024 + 1}
            for name, (size, _) in iso.stages.items()
        },
        "livecd": stage_of(row, "live"),
        "installer": stage_of(row, "linux"),
        "rescue": stage_of(row, "rescue"),
        "http_iso": row.http_iso,
        "repository": True,
        "missing": {fact: "" for fact in ("version", "branch") if not getattr(row, fact)},
        "rejected": [],
    }
    assert {fact: facts[fact] for fact in expected} == expected
    assert len(facts["efi_loaders"]) == 1


def test_table_has_both_dialects_and_every_architecture():
    """What the other test would not notice when rows go."""
    assert {row.dialect for row in GENERATIONS.values()} == {"altboot", "propagator"}
    assert {arch for row in GENERATIONS.values() for arch in row.arches} == {
        "x86_64",
        "i586",
        "aarch64",
        "riscv64",
        "loongarch64",
    }
