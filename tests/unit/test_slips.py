"""Slips of people who edit YAML: each is answered with file, line, the line itself, what to do."""

import re

import pytest

from cli import slips

GOOD = """# a comment
netboot:
  images:
    ALT Server 11.1:
      url: http://192.0.2.1/a.iso
      checksum: {sha256: abc}
  menu:
    title: School
  hosts:
    pc1: {mac: '52:54:00:12:34:56', entry: local}
    pc2: {mac: '52:54:00:12:34:57', entry: local}
"""
SLIPS = {
    "wrong indent": ("  menu:", "   menu:", 7, "indented"),
    "indented less": ("    title: School", " title: School", 8, "indented"),
    "too far": ("      checksum:", "        checksum:", 6, "indented|second colon"),
    "a bit further": ("      url:", "       url:", 6, "lines above have|indented"),
    "value, then deeper": (
        "    title: School",
        "    title: School\n      timeout_s: 5",
        9,
        "further",
    ),
    "tab": ("    title: School", "\ttitle: School", 8, "has a tab; indent with spaces"),
    "colon": (
        "title: School",
        "title: School: netboot",
        8,
        "second colon; put the value in quotes",
    ),
    "key twice": ("pc2", "pc1", 11, "pc1 is already in line 10; merge the two"),
    "no colon": ("  menu:\n", "  menu\n", 7, "has no colon|second colon"),
    "open quote": ("title: School", "title: 'School", 10, "follows a quote that is not closed"),
    "open quote, the last": (
        "entry: local}\n",
        "entry: 'local}\n",
        11,
        "lacks a comma, a bracket or the end of a quote",
    ),
    "name": ("netboot:", "netboott:", 2, "netboott is unknown, did you mean netboot?"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slip_is_named_with_its_line(tmp_path, slip):
    old, new, line, told = SLIPS[slip]
    path = tmp_path / "netboot.sls"
    path.write_text(GOOD.replace(old, new, 1))
    (found,) = slips.slips(path)
    head, shown = found.split("\n")
    assert head.startswith(f"{path}, line "), found
    said = int(re.search(r"line (\d+)", head).group(1))
    assert said in (line, line + 1), found
    assert re.search(told, head), found
    assert shown.strip() in path.read_text().replace("\t", "<TAB>")


@pytest.mark.parametrize(
    "text", [GOOD, "{% set a = 1 %}\n\tnetboot:\n", "", "#!py\ndef run():\n", "other: 1\n"]
)
def test_what_is_no_slip(tmp_path, text):
    path = tmp_path / "netboot.sls"
    path.write_text(text)
    assert slips.slips(path) == []


JINJA = """# {{ grains.id }}
{% set title = 'School' %}
netboot:
  {% if grains.id == 'a' %}
  title: {{ title }}
  {% endif %}
"""
JINJA_SLIPS = {
    "open braces": ("{{ title }}", "{{ title }", 5, "{{ or {% that is not closed"),
    "open to the end": ("{{ title }}", "{{ title", 6, "{{ or {% that is not closed"),
    "no end": ("  {% endif %}\n", "", 4, "{% if %} without {% endif %}"),
    "no begin": ("{% if grains.id == 'a' %}", "", 6, "{% endif %} without what it ends"),
    "nested": ("  title", "{% for a in b %}title", 6, "{% endif %}, but {% for %} is still open"),
    "mistyped": ("{% if", "{% iff", 4, "unknown tag {% iff %}, did you mean if?"),
    "comment": ("# {{ grains.id }}", "{# why", 1, "{# without #}"),
    "quote": ("'a'", "'a", 4, "a quote that nothing closes"),
    "assignment": ("==", "=", 4, "expected token 'end of statement block', got '='"),
}


@pytest.mark.parametrize("slip", JINJA_SLIPS)
def test_slip_in_jinja_is_named_with_its_line(tmp_path, slip):
    old, new, line, told = JINJA_SLIPS[slip]
    path = tmp_path / "netboot.sls"
    assert old in JINJA
    path.write_text(JINJA.replace(old, new, 1))
    (found,) = slips.slips(path)
    head, shown = found.split("\n")
    assert head.startswith(f"{path}, line {line}: "), found
    assert told in head
    assert shown.strip() == path.read_text().splitlines()[line - 1].strip()


@pytest.mark.parametrize(
    "text", [JINJA, "{% import_yaml 'a' as b %}{{ b | unless }}", "{% do a.b() %}", "{% raw %}{{"]
)
def test_what_is_no_slip_in_jinja(tmp_path, text):
    path = tmp_path / "netboot.sls"
    path.write_text(text.replace("{% raw %}{{", "{% raw %}{{{% endraw %}"))
    assert slips.slips(path) == []


# What Salt 3008 logs, shortened.
RENDERED = {
    "Jinja variable 'foo' is undefined; line 2\n\n---\nnetboot:\n  a: {{ foo }}   <====\n---\n"
    "Traceback (most recent call last):\n  File": (
        "line 2: Jinja variable 'foo' is undefined; set it above, or give it a default "
        "({{ NAME | default('...') }}):\n    a: {{ foo }}"
    ),
    "Jinja error: division by zero\nTraceback (most recent call last):\n\n; line 2\n\n---": (
        "line 2: Jinja error: division by zero:\n    a: {{ foo }}"
    ),
    "mapping values are not allowed in this context\nTraceback (most recent call last):\n"
    '  in "<unicode string>", line 9, column 13\n': (
        "line 9 of what its Jinja makes: mapping values are not allowed in this context"
    ),
    "Jinja variable 'x' is undefined\n": (
        "Jinja variable 'x' is undefined; set it above, or give it a default "
        "({{ NAME | default('...') }})"
    ),
}


@pytest.mark.parametrize("said", RENDERED)
def test_what_salt_says_of_rendering_is_a_sentence(tmp_path, said):
    path = tmp_path / "my/netboot.sls"
    path.parent.mkdir()
    path.write_text("netboot:\n  a: {{ foo }}\n")
    end = "[CRITICAL] Pillar render error: Rendering SLS 'my.netboot' failed. Please see\n"
    log = f"[CRITICAL] Rendering SLS 'my.netboot' failed, render error:\n{said}{end}"
    (found,) = slips.rendered(log + log, tmp_path)
    assert found == f"{path}, {RENDERED[said]}".replace("sls, Jinja", "sls: Jinja")


def test_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "netboot.sls"
    path.write_bytes(b"netboot: {menu: {title: \xd8}}\n")
    assert slips.slips(path) == [f"{path}: byte 25 is not UTF-8; save the file as UTF-8"]


@pytest.mark.parametrize("top", ["[netboot, netboot_hosts]", "[netboot]"])
def test_host_in_two_files(tmp_path, top):
    (tmp_path / "top.sls").write_text(f"base: {{'netboot*': {top}}}\n")
    (tmp_path / "netboot.sls").write_text("netboot: {hosts: {pc1: {entry: local}, pc2: {}}}\n")
    (tmp_path / "netboot_hosts.sls").write_text("netboot: {hosts: {pc1: {}, pc3: {}}}\n")
    told = [
        f"{tmp_path}/netboot_hosts.sls: pc1 is in {tmp_path}/netboot.sls too; remove one of the "
        "two, as Salt would merge them"
    ]
    assert slips.twice(tmp_path) == (told if "hosts" in top else [])


@pytest.mark.parametrize(
    "text", ["", "[]", "base: 5", "base: {x: [5, {a: b}, none]}", "a: {{ b }}"]
)
def test_top_file_of_another_kind(tmp_path, text):
    (tmp_path / "top.sls").write_text(text)
    assert slips.twice(tmp_path) == []
    assert slips.twice(tmp_path / "nowhere") == []
