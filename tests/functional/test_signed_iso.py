"""Test ISOs with signed boot files: where they are, and that the same arguments give the same."""

import subprocess

import pytest

from lab.host import require
from lab.iso import make, make_iso
from lab.secure_boot import debian


@pytest.mark.parametrize("signed", ["tree", "eltorito"])
def test_boot_files(signed, tmp_path, monkeypatch):
    require("mcopy")
    iso = make_iso(tmp_path, edition=f"signed-{signed}", stage_mib=1, signed=signed)
    tree = iso.unpack(tmp_path / "medium")
    files = {"BOOTX64.EFI": debian("shim"), "grubx64.efi": debian("grub")}
    for name, original in files.items():
        path = tree / "EFI/BOOT" / name
        if signed == "eltorito":
            assert not path.exists()
            path = tmp_path / name
            image = str(tree / "EFI/.efiboot.img")
            subprocess.run(["mcopy", "-i", image, f"::EFI/BOOT/{name}", path], check=True)
        assert path.read_bytes() == original.read_bytes()
    assert (tree / iso.kernel[1:]).read_bytes() == debian("kernel").read_bytes()

    for folder in ("kernels", "signed"):
        (tmp_path / folder).symlink_to(make.CACHE / folder)
    monkeypatch.setattr(make, "CACHE", tmp_path)  # without the ISO that was made
    again = make_iso(tmp_path, edition=f"signed-{signed}", stage_mib=1, signed=signed)
    assert again.sha256 == iso.sha256


def test_without_signatures(tmp_path):
    """As sbattach(1) takes them away."""
    require("sbsign")
    unsigned = ["shim", "grub", "kernel"]
    iso = make_iso(tmp_path, stage_mib=1, signed="tree", unsigned=unsigned)
    tree = iso.unpack(tmp_path / "medium")
    for path in ("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", iso.kernel[1:]):
        listed = subprocess.run(["sbverify", "--list", tree / path], capture_output=True, text=True)
        assert "No signature table present" in listed.stderr
