"""Hosts from a CSV file, and machines that asked, in a pillar file of their own."""

import os
from pathlib import Path

import pytest
import yaml

from cli import host_file, inventory
from tests.unit.test_netboot_pillar import IMAGE, TARGET

TOP = "# mine\nbase:\n  'netboot*':\n    - netboot\n"
PILLAR = {
    "images": {"ALT p11": IMAGE},
    "groups": {"class": {"image": "ALT p11", "variant": "install", "once": True}},
    "hosts": {"teacher": {"mac": "52:54:00:00:02:01", "entry": "local"}},
}
CSV = """\
name,mac,group
pc1,52:54:00:00:01:01,class
pc2,AA-54-00-00-01-02,class
"""


class StandinAsker:
    """A server with the files of this directory as its pillar."""

    by_master = False

    def ask(self, function, *_arguments, **_named):
        hosts = {**PILLAR["hosts"], **host_file.read()}
        answers = {"pillar.get": {**PILLAR, "hosts": hosts}, "netboot.target": TARGET}
        return {"local": answers[function]}


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch):
    (tmp_path / "pillar").mkdir()
    (tmp_path / "pillar/top.sls").write_text(TOP)
    monkeypatch.chdir(tmp_path)


def given(text, encoding="utf-8"):
    Path("pcs.csv").write_text(text, encoding=encoding)
    return inventory.from_csv("pcs.csv")


def brought(text):
    hosts, shown = inventory.plan(StandinAsker(), given(text))
    inventory.write(hosts)
    return shown


def test_new_hosts():
    shown = brought(CSV)
    assert shown == [
        "HOST  IS                 GROUP  SETTINGS",
        "pc1   52:54:00:00:01:01  class            new",
        "pc2   AA-54-00-00-01-02  class            new",
        "",
        "2 new: pillar/netboot_hosts.sls",
    ]
    assert host_file.PATH.read_text().splitlines()[2:] == [
        "netboot:",
        "  hosts:",
        '    pc1: {mac: "52:54:00:00:01:01", group: "class"}',
        '    pc2: {mac: "AA-54-00-00-01-02", group: "class"}',
    ]
    assert Path("pillar/top.sls").read_text() == f"{TOP}    - netboot_hosts\n"
    assert sorted(os.listdir("pillar")) == ["netboot_hosts.sls", "top.sls"]


def test_what_is_there_stays():
    brought(CSV)
    edited = host_file.PATH.read_text().replace('"class"}\n', '"class"}  # by the window\n')
    host_file.PATH.write_text(edited + "    # the second room\n")
    shown = brought("name;mac;menu\npc2;52:54:00:00:01:09;yes\npc30;52:54:00:00:01:30;\n")
    assert shown[-1] == "1 new, 1 changed, 1 other host stay as they are: pillar/netboot_hosts.sls"
    assert host_file.PATH.read_text().splitlines()[4:] == [
        '    pc1: {mac: "52:54:00:00:01:01", group: "class"}  # by the window',
        '    pc2: {mac: "52:54:00:00:01:09", group: "class", menu: true}  # by the window',
        "    # the second room",
        '    pc30: {mac: "52:54:00:00:01:30"}',
    ]
    assert Path("pillar/top.sls").read_text().count("netboot_hosts") == 1
    assert inventory.plan(StandinAsker(), given("name,menu\npc2,\n"))[0] == {
        "pc2": {"mac": "52:54:00:00:01:09", "group": "class"}
    }
    assert inventory.plan(StandinAsker(), given("name,menu\npc2,yes\n"))[0] == {}


def test_every_kind_of_setting():
    columns = "name,mac,uuid,image,variant,once,menu,timeout_s,arguments"
    row = "a.b-1,52:54:00:00:01:01 52:54:00:00:01:02,,ALT p11,install,TRUE,no,30,a=1 b=2"
    brought(f"{columns}\n{row}\n")
    assert yaml.safe_load(host_file.PATH.read_text())["netboot"]["hosts"] == {
        "a.b-1": {
            "mac": ["52:54:00:00:01:01", "52:54:00:00:01:02"],
            "image": "ALT p11",
            "variant": "install",
            "once": True,
            "menu": False,
            "timeout_s": 30,
            "arguments": "a=1 b=2",
        }
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_as_spreadsheets_write_it(encoding):
    """A mark of the byte order, tabs, empty lines and columns."""
    assert given(
        "Name\tMAC\t\r\n\r\npc1\t52:54:00:00:01:01\t\r\n".replace("MAC\t", "MAC"), encoding
    )
    found = given("# ours\r\n\r\nname,mac\r\npc1, 52:54:00:00:01:01 ,,\r\n,,\r\n", encoding)
    assert found == {"pc1": {"mac": "52:54:00:00:01:01"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "pcs.csv: is empty; its first line names the columns: name,mac,group"),
        ("pc1,52:54:00:00:01:01\n", "pcs.csv line 1: 'pc1' is not a column; columns are name, mac"),
        ("name,gruop\npc1,class\n", "pcs.csv line 1: 'gruop' is not a column, did you mean group?"),
        ("mac,group\n", "pcs.csv line 1: no column is named name"),
        ("name,mac\npc1,x,y\n", "pcs.csv line 2: has 3 columns, the first line 2"),
        ("name,mac\n,52:54:00:00:01:01\n", "pcs.csv line 2: has no name"),
        ("name,mac\npc1,x\npc1,y\n", "pcs.csv line 3: pc1 is there twice"),
        ("name,once\npc1,ja\n", "pcs.csv line 2: once is true or false, not 'ja'"),
        ("name,mac,mac\npc1,x,\n", "pcs.csv line 1: the column mac is there twice"),
        ("name,timeout_s\npc1,5s\n", "pcs.csv line 2: timeout_s is a number, not '5s'"),
    ],
)
def test_mistakes_of_the_file(text, told):
    with pytest.raises(host_file.HostsError) as failed:
        given(text)
    assert str(failed.value).startswith(told)


def test_file_that_cannot_be_read():
    with pytest.raises(host_file.HostsError, match=r"none.csv: there is no such file\.$"):
        inventory.from_csv("none.csv")
    Path("pcs.csv").write_bytes(b"name\n\xd0\n")
    with pytest.raises(host_file.HostsError, match="save it as CSV in UTF-8"):
        inventory.from_csv("pcs.csv")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,mac\nteacher,52:54:00:00:01:01\n", "teacher is in another file of the pillar; "),
        ("name,mac\npc1,52:54:00:00:02:01\n", "netboot:hosts:pc1: has the same mac "),
        ("name,mac,group\npc1,52:54:00:00:01:01,clas\n", "netboot:hosts:pc1:group: "),
        ("name,mac\npc1,52:54:00:00:01\n", "netboot:hosts:pc1:mac: must be a MAC address"),
    ],
)
def test_what_an_apply_would_refuse(text, told):
    with pytest.raises(host_file.HostsError) as failed:
        brought(text)
    assert str(failed.value).startswith(told), failed.value
    assert os.listdir("pillar") == ["top.sls"]


def test_host_in_a_form_of_its_own_is_left_alone():
    text = 'netboot:\n  hosts:\n    pc1:\n      mac: "52:54:00:00:01:01"\n'
    host_file.PATH.write_text(text)
    with pytest.raises(host_file.HostsError, match="pc1 must be in a line of its own, such as"):
        brought("name,mac\npc1,52:54:00:00:01:02\n")
    assert host_file.PATH.read_text() == text
    brought("name,mac\npc2,52:54:00:00:01:02\n")
    assert list(host_file.read()) == ["pc1", "pc2"]


def test_file_that_ends_with_something_else():
    host_file.PATH.write_text("netboot:\n  hosts:\n  groups: {}\n")
    with pytest.raises(host_file.HostsError, match="does not end with its hosts"):
        brought(CSV)


def test_another_top_file_is_not_changed():
    Path("pillar/top.sls").write_text("base:\n  '*': [netboot]\n")
    hosts, _shown = inventory.plan(StandinAsker(), given(CSV))
    (told,) = inventory.write(hosts)
    assert told.startswith("2 hosts written. Name it in pillar/top.sls: `- netboot_hosts` ")
    assert Path("pillar/top.sls").read_text() == "base:\n  '*': [netboot]\n"


def test_line_breaks_in_cells_of_a_spreadsheet():
    found = given(
        '\n#x\nname;mac;arguments;\npc1;"52:54:00:00:01:01\n52:54:00:00:01:02";"a=1\nb=2";\n'
    )
    macs = ["52:54:00:00:01:01", "52:54:00:00:01:02"]
    assert found == {"pc1": {"mac": macs, "arguments": "a=1 b=2"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("netboot:\n\thosts: {}\n", "has a tab"),
        ("netboot:\n  hosts: {{ x }}\n", "has Jinja"),
        ("[1]\n", "must have a map of hosts"),
        ("netboot:\n  hosts: [a]\n", "must have a map of hosts"),
        ("netboot:\n  hosts:\n    pc1:\n", "must have a map of hosts"),
    ],
)
def test_odd_file_of_hosts_is_a_sentence(text, told):
    host_file.PATH.write_text(text)
    with pytest.raises(host_file.HostsError, match=told):
        brought(CSV)
    assert host_file.PATH.read_text() == text


@pytest.mark.parametrize("text", ["", "# mine\n"])
def test_empty_file_of_hosts(text):
    host_file.PATH.write_text(text)
    if text:
        with pytest.raises(host_file.HostsError):
            brought(CSV)
    else:
        brought(CSV)
        assert list(host_file.read()) == ["pc1", "pc2"]


def test_no_top_file_and_a_similar_name():
    Path("pillar/top.sls").write_text(TOP + "    - netboot_hosts-old\n")
    brought(CSV)
    assert "    - netboot_hosts\n" in Path("pillar/top.sls").read_text()
    Path("pillar/top.sls").unlink()
    assert host_file.name_in_top().startswith("Name it in pillar/top.sls")


def test_values_are_no_jinja():
    line = host_file.line("pc1", {"arguments": "a={{b}} {%x"})
    assert "{{" not in line
    assert "{%" not in line
    assert yaml.safe_load(line) == {"pc1": {"arguments": "a={{b}} {%x"}}


def test_lines_for_the_pillar_of_a_master():
    hosts, _shown = inventory.plan(StandinAsker(), given(CSV))
    assert yaml.safe_load("\n".join(inventory.lines(hosts))) == {"netboot": {"hosts": hosts}}
