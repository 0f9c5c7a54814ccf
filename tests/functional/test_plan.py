"""What clients should get, as netboot.expected says it for a probe."""

import os

BINARY = {"url": "http://mirror.example/a.efi", "checksum": {"sha256": "ab" * 32}}


def test_what_a_shim_starts_is_expected(modules, configured, records):
    config = configured({"secure_boot": {"efi-x86_64": {"shim": BINARY, "ipxe": BINARY}}})
    records.write("owned", "firmware", ["ipxe-shimx64.efi", "ipxe.efi", "undionly.kpxe"])
    os.makedirs(config["paths"]["tftp"])
    with open(os.path.join(config["paths"]["tftp"], "ipxe-shimx64.efi"), "wb") as file:
        file.write(b"shim")
    plan = modules.netboot.expected()
    starts = {row["kind"]: (row["file"], row["starts"]) for row in plan["firmware"]}
    assert starts["efi-x86_64"] == ("ipxe-shimx64.efi", "ipxe.efi")
    assert starts["bios"] == ("undionly.kpxe", "")
    assert plan["files"]["/tftp/ipxe-shimx64.efi"]["bytes"] == 4
    assert plan["files"]["/tftp/ipxe.efi"] is None


def test_what_is_not_tried_is_said(modules, configured, records):
    configured()
    assert modules.netboot.expected()["untried"] == []
    configured({"menu": {"extra": {"memtest": {"kernel": "http://boot.example/memtest"}}}})
    records.write("applied", "hosts", {"pc1": {}})
    assert [text.partition(" ")[0] for text in modules.netboot.expected()["untried"]] == [
        "lines",
        "what",
    ]
