"""Single values of the pillar: what is refused, which part of it the message names, the schema."""

import jsonschema
import pytest

import netboot_checks
import netboot_keys
import netboot_values
from netboot_names import nearest
from tests.unit.test_netboot_pillar import IMAGE, SCHEMA, SHA256, problems, resolve

ROWS = {row.path: row.check for row in netboot_keys.KEYS}
CHECKS = {**ROWS, **{f"the names in {path}": check for path, check in netboot_keys.NAMES.items()}}
# Written by no YAML: Salt stops with a traceback (YAML 1.2, c-printable), or controls a terminal.
UNWRITTEN = ["\0", "\x1b", "\x7f", "\x80", "\x85", "\x9f", "\ud800", "\udfff", "\ufffe", "\uffff"]
VALUES = """
a a/b /a /a/b /a/../b ../a a\\ -a # a# a;b a||b a&&b ${x} ${x a:b a,b a..b .a a. -a- a@b a_b a*b я
a\u2028b 1 10M 5D ignore 192.0.2.1 192.0.2.0/24 192.0.2.0/255.255.255.0 01.2.3.4 eth0 ru_RU auto
http https://x/ http://x http://x/ http:///a.iso http://x/a.iso http://x/a b.iso http://x/я.iso
http://x/a?b http://x/a,b/ file:///я/a.iso file:///я.iso file://x/a.iso http://x/a# smb://x/a.iso
52:54:00:12:34:56 525-400-123-456 f81d4fae-7dec-11d0-a765-00a0c91e6bf6 {f81d4fae
""".split()
# Of a password's hash, after its salt; forms as in crypt(5).
SHORT, MEDIUM, LONG = "a" * 22, "./09azAZ" * 5 + "abc", "./09azAZ" * 10 + "abcdef"
HASHES = [f"$6$a.b${LONG}", f"$6$rounds=99999$abc${LONG}", f"$5$abc${MEDIUM}", f"$1$abc${SHORT}"]
HASHES += [f"$apr1$abc${SHORT}", f"$2y$10${'a' * 53}", f"$y$j9T$abc${MEDIUM}", f"$y$j9T$${MEDIUM}"]
HASHES += ["{SSHA}" + "a+/9" * 8, "{SSHA}" + "a" * 27 + "="]
# They are cut short, or the web server would take too long over them.
NO_HASHES = [one[:-1] for one in HASHES[:-2]] + [f"{one}a" for one in HASHES[:-2]]
NO_HASHES += ["$6$abc", "$6$a$b", f"$6${'a' * 17}${LONG}", f"$6$${LONG}", "{SSHA}abcd"]
NO_HASHES += [f"$6$rounds=5000000$a${LONG}", f"$2y$12${'a' * 53}", f"$y$jFT$a${MEDIUM}"]
VALUES += [*HASHES, *NO_HASHES]
VALUES += ["", " ", "a b", " --a", "a\nb", "a\n:b", "a" * 64, "a" * 101, "a" * 300, "ssh-rsa AAAAx"]
VALUES += [*UNWRITTEN, *(f"a{one}" for one in UNWRITTEN)]
# What JSON Schema cannot express: lists of words, sums of lengths, netmasks; what is ignored.
INEXPRESSIBLE = (
    "is not unique",
    "must be at most 192 characters long in total",
    "must be at most 1024 characters long in total",
    "is not a netmask",
)
IGNORED = ("images.*.grub_arch", "images.*.need_ramdisk_size")


@pytest.mark.parametrize("path", CHECKS)
def test_schema_refuses_what_the_check_refuses_by_form(path):
    """And accepts what the check accepts, alone and in lists."""
    check = CHECKS[path]
    schema = jsonschema.Draft202012Validator(check.schema, format_checker=SCHEMA.format_checker)
    for value in (one for text in VALUES for one in (text, [text], [text, text], {"a": text})):
        wrong = check(value)
        if wrong:
            assert wrong.isprintable(), value
        if not wrong and not netboot_values.not_written(value):
            assert schema.is_valid(value), value
        elif schema.is_valid(value) and path not in IGNORED:
            assert any(words in wrong for words in INEXPRESSIBLE), (value, wrong)


@pytest.mark.parametrize("value", NO_HASHES)
def test_what_is_no_hash_of_a_password(value):
    """And no message repeats what may be the password."""
    wrong = netboot_values.wrong("menu.password.users.*", value)
    assert wrong
    assert value not in wrong


@pytest.mark.parametrize("char", UNWRITTEN)
def test_characters_that_no_yaml_has(char):
    """Wherever they are: in the values of all keys, in lists and maps, in names."""
    name = f"U+{ord(char):04X}"
    for path in ROWS:
        parts = path.split(".")
        for value in (f"a{char}", [f"a{char}"], {"a": f"a{char}"}, {f"a{char}": "a"}):
            pillar = value
            for part in reversed(parts):
                pillar = {"a" if part == "*" else part: pillar}
            found = problems(pillar)
            assert found, path
            assert all(problem.isprintable() for problem in found)
    url = IMAGE["url"].replace("org/", f"org/{char}")
    (problem,) = problems({"images": {"a": {**IMAGE, "url": url}}})
    assert name in problem.upper().replace("\\X", "U+00").replace("\\U", "U+")
    snippet = {"comment": f"by {char}", "snippet": "echo"}
    (problem,) = problems({"images": {"a": {**IMAGE, "extra_ipxe_conf": [snippet]}}})
    assert name in problem
    (problem,) = problems({"images": {"a": {**IMAGE, "grub_arch": [{"x": char}]}}})
    assert name in problem


def test_text_with_other_letters_is_accepted_where_only_people_read_it():
    snippet = {"comment": "для класса 12 ☺", "snippet": "echo"}
    assert problems({"images": {"a": {**IMAGE, "extra_ipxe_conf": [snippet]}}}) == []
    url = "file:///media/Диск/alt.iso"
    assert problems({"images": {"a": {**IMAGE, "url": url}}}) == []


@pytest.mark.parametrize("odd", ["x\ny", "x\u2028y", "x\x85y", "x\ud800y", "x\x1b[31m", "x: y\n"])
@pytest.mark.parametrize("known", ["images", "groups", "hosts", "menu", "default_image", "dhcp"])
def test_every_problem_has_one_line_of_printable_characters(known, odd):
    """Whatever a name is, also where it is suggested for another."""
    assert "\n" not in nearest("x", ["x\n"])
    pillars = [
        {known: {odd: {}}},
        {known: {odd: IMAGE}, "default_image": {"x86_64": odd}},
        {known: {odd: odd}, "hosts": {"a": {"group": odd, "image": odd, "variant": odd}}},
        {"images": {odd: {**IMAGE, "password": True}, "b": IMAGE}, known: {odd: {odd: odd}}},
        {"groups": {odd: {}}, "images": {odd: {}}, "hosts": {"a": {"group": odd[:-1]}}},
        {"menu": {"extra": {odd: {}, "b": {odd: odd}}}, "images": [{"name": odd}, {"name": odd}]},
        {"dhcp": {"leases": {odd: {"address": odd}}, "subnets": {odd: {"range": [odd, odd]}}}},
        {"platform": {odd: {odd: odd}}, "hosts": {odd: {"image": odd}, odd.upper(): {}}},
    ]
    for pillar in pillars:
        found = resolve(pillar)
        assert found["problems"]
        assert all(one.isprintable() for one in found["problems"]), found["problems"]


@pytest.mark.parametrize("text", ["a  b", " a b", "a b\n", "a b "])
def test_arguments_as_yaml_folds_them_and_people_align_them(text):
    config = resolve({"images": {"a": {**IMAGE, "arguments": text}}})["config"]
    assert config["images"][0]["offer"]["arguments"] == text.split()


# A key and a value, and which part of it the message names.
NAMED = [
    ("images.*.kernel", "boot/vm linuz", "' '"),
    ("images.*.kernel", "/", "not '/'"),
    ("images.*.initrd", "./.", "not './.'"),
    ("images.*.kernel_url", "http://x/я", "'я'"),
    ("images.*.kernel_url", "http:///x", "lacks a host"),
    ("images.*.kernel_url", "http://x", "lacks a path"),
    ("images.*.kernel_url", "http://[::1/x", "not a valid URL"),
    ("images.*.stage2_http_url", "http://x/a?b", "'?'"),
    ("images.*.stage2_http_url", "https://x/a", "'https://x/a'"),
    ("images.*.url", "http://x/a.iso#b", "'#'"),
    ("images.*.url", "ftp://x/a.iso?b", "'?'"),
    ("images.*.url", "http://x/a\u00a0b.iso", "U+00A0"),
    ("images.*.url", "http://x y/c.iso", "host"),
    ("images.*.url", "http://x/c.iso ", "space"),
    ("images.*.file", "a b.iso", "' '"),
    ("images.*.file", "download", "'download'"),
    ("images.*.mirrors", ["http://x/a.iso", "http://[::1/a.iso"], "'http://[::1/a.iso' is not a"),
    ("mirrors", ["http://[::1/dist"], "'http://[::1/dist' is not a valid URL"),
    ("mirrors", ["http://x:²/dist"], "'²'"),
    ("firmware.*.url", "http://[::1/a.efi", "not a valid URL"),
    ("firmware.*.url", "http://x:99999/a.efi", "not a valid URL"),
    ("root", "/srv/a b", "' '"),
    ("root", "/srv/.x", "'.x'"),
    ("hosts.*.mac", None, "not empty"),
    ("hosts.*.hostname", ["pc1"], "not a list"),
    ("images.*.arguments", "a  b;c", "'b;c'"),
    ("images.*.arguments", "a\u00a0b", "U+00A0"),
    ("root", "/srv//x", "''"),
    ("root", "srv", "'srv'"),
    ("http.certificate", "/etc/a;b", "';'"),
    ("platform.nginx.site", "/etc/x", "part ''"),
    ("platform.nginx.site", "a/../b", "part '..'"),
    ("platform.packages.dhcp", ["dnsmasq", "a b"], "' '"),
    ("platform.firmware.*", ["/a", "/b c"], "' '"),
    ("platform.nginx.service", "-nginx", "'-'"),
    ("platform.dnsmasq.user", "a b", "' '"),
    ("interface", "eth 0", "' '"),
    ("interface", "e" * 16, "more than 15"),
    ("address", "192.0.2.x", "'x'"),
    ("address", "192.0.2", "'192.0.2'"),
    ("dhcp.relayed", ["192.0.2.0/31"], "/31"),
    ("dhcp.relayed", ["192.0.2.0/24", "192.0.2.0/24"], "duplicate, '192.0.2.0/24'"),
    ("dhcp.subnets.*.domain", "a b.org", "' '"),
    ("dhcp.subnets.*.domain", "a..org", "''"),
    ("dhcp.subnets.*.domain", "a." + "b" * 64, "64"),
    ("dhcp.subnets.*.domain", "192.0.2.1", "address"),
    ("dhcp.leases.*.hostname", "b" * 64, "64"),
    ("dhcp.leases.*.hostname", "pc." + "b" * 64, "64"),
    ("dhcp.leases.*.hostname", "-pc", "'-pc'"),
    ("dhcp.leases.*.hostname", "10M", "'10M'"),
    ("dhcp.leases.*.hostname", "5D", "lease time"),
    ("dhcp.leases.*.hostname", "1w", "lease time"),
    ("dhcp.leases.*.hostname", "Ignore", "reserved"),
    ("dhcp.leases.*.hostname", "192.0.2.7", "address"),
    ("hosts.*.hostname", "192.0.2.7", "address"),
    ("hosts.*.hostname", "пк1", "'п', 'к'"),
    ("hosts.*.hostname", "pc..lan", "''"),
    ("hosts.*.mac", "52:54:00:12:34:5g", "'g'"),
    ("hosts.*.mac", "52:54:00:12:34", "not 10"),
    ("hosts.*.mac", "525-400-123-456", "'525-400-123-456'"),
    ("hosts.*.mac", ["52:54:00:12:34:56", "52:54"], "'52:54'"),
    ("hosts.*.mac", ["52:54:00:12:34:5a", "5254.0012.345A"], "duplicate"),
    ("hosts.*.mac", [], "empty list"),
    ("hosts.*.uuid", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", "'{', '}'"),
    ("hosts.*.uuid", "f81d4fae-7dec-11d0-a765-00a0c91e6bf", "not 31"),
    ("hosts.*.uuid", "f81d4fae7-dec-11d0-a765-00a0c91e6bf6", "'f81d4fae7-dec"),
    ("hosts.*.serial", "a\tb", "'\\t'"),
    ("hosts.*.product", "p" * 201, "201"),
    ("nfs.clients", ["198.18.0.0/0.0.0.255"], "255.255.255.0"),
    ("nfs.clients", ["192.0.2.0/24", "192.0.2.0/255.255.255.0"], "duplicate"),
    ("nfs.clients", ["192.0.2.0/255.0.255.0"], "255.0.255.0"),
    ("nfs.clients", ["*.school"], "'*'"),
    ("http.listen", ["192.0.2.10", "192.0.2.10"], "duplicate, '192.0.2.10'"),
    ("methods", ["http", "http"], "duplicate, 'http'"),
    ("images.*.variants", ["livecd", "livecd"], "duplicate, 'livecd'"),
    ("images.*.forms", ["iso", "iso"], "duplicate, 'iso'"),
    ("menu.extra.*.arches", ["i586", "i586"], "duplicate, 'i586'"),
    ("menu.languages", ["ru_RU", "en_US", "ru_RU"], "duplicate, 'ru_RU'"),
    ("menu.title", " --- ALT ---", "begin with -"),
    ("menu.title", "— Меню", "in Latin letters, as a menu draws it, is '- Meniu': begins with -"),
    ("menu.title", "ь", "is '': is empty"),
    ("menu.title", "a |ь| reboot", "contains '||'"),
    ("menu.title", "xь\\ь", "ends in a backslash"),
    ("menu.title", "$ь{lang}", "contains '${'"),
    ("menu.title", "部屋 12", "'部', '屋'; use Latin or Russian letters"),
    ("menu.extra.*.script", "echo é", "'é'"),
    ("menu.password.users.*", "secret", "hash"),
    ("menu.password.users.*", "$6$rounds=5000$abc$def", "openssl passwd -6 prints it"),
    ("menu.password.users.*", f"$6$rounds=5000000$abc${LONG}", "rounds=5000000"),
    ("menu.password.users.*", f"$5$rounds=100000$abc${MEDIUM}", "rounds=100000"),
    ("menu.password.users.*", f"$5$rounds=0$abc${MEDIUM}", "rounds=0"),
    ("menu.password.users.*", f"$2y$12${'a' * 53}", "cost 12"),
    ("menu.password.users.*", f"$y$jFT$abc${MEDIUM}", "jFT"),
    ("menu.password.users.*", f"$y$j9T5$abc${MEDIUM}", "j9T5"),
    ("arguments.*", ["a", "quiet я"], "' ', 'я'"),
    ("admins.*.keys", ["ssh-rsa AAAA$x me"], "'$'"),
    ("admins.*.keys", ["ssh-rsa AAAAx я"], "'я'"),
    ("admins.*.keys", ["rsa AAAAx"], "'rsa'"),
    ("images.*.checksum.sha256", SHA256[:-1] + "g", "'g'"),
    ("menu.timeout_s", "5", "'5'"),
    ("prune", "no", "'no'"),
    ("tftp.ports", [5, 6], "[5, 6]"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "part"), NAMED)
def test_message_names_the_part_that_is_wrong(path, value, part):
    wrong = netboot_values.wrong(path, value)
    assert part in wrong
    assert wrong.isprintable()


@pytest.mark.parametrize(
    ("check", "value", "part"),
    [
        ("images.*", "a/b", "'/'"),
        ("images.*", ".a", "'.'"),
        ("hosts.*", "a b", "' '"),
        ("hosts.*", "-a", "'-'"),
        ("hosts.*", "a" * 65, "65"),
        ("admins.*", "Alice", "'A'"),
        ("admins.*", "1a", "'1'"),
        ("menu.password.users.*", "a:b", "':'"),
        ("dhcp.subnets.*", "192.0.2.0/255.255.255.0", "'192.0.2.0/255.255.255.0'"),
    ],
)
def test_message_names_the_part_of_a_name_that_is_wrong(check, value, part):
    assert part in netboot_keys.NAMES[check](value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dhcp.subnets.*.range", ["192.0.2.9", "192.0.2.9"]),
        ("dhcp.leases.*.hostname", "b" * 63),
        ("dhcp.leases.*.hostname", "10Mb"),
        ("hosts.*.hostname", "101"),
        ("hosts.*.hostname", "PC_1.school.lan"),
        ("hosts.*.mac", "525400-12345a"),
        ("hosts.*.mac", ["52:54:00:12:34:56", "52:54:00:12:34:57"]),
        ("nfs.clients", ["192.0.2.0/255.255.255.0", "198.51.100.7"]),
        ("menu.title", "  ALT - room 12"),
        ("mirrors", ["http://x", "http://user:a%20b@x:8080/dist/", "file:///media"]),
        *(("menu.password.users.*", one) for one in HASHES),
    ],
)
def test_value_is_accepted(path, value):
    assert netboot_values.wrong(path, value) is None
    assert jsonschema.Draft202012Validator(ROWS[path].schema).is_valid(value)


@pytest.mark.parametrize("key", ["mirrors", "images.*.mirrors", "images.*.url"])
def test_message_hides_the_password_of_a_url(key):
    url = "htp://me:1/secret@host/a.iso"
    wrong = netboot_values.wrong(key, url if key.endswith("url") else [url])
    assert "host" in wrong
    assert "secret" not in wrong
    if not key.endswith("url"):
        right = url.replace("htp", "http").replace("1/", "")
        assert "secret" not in netboot_values.wrong(key, [right, right])


def test_message_hides_what_may_be_a_password():
    assert "secret" not in netboot_checks.password_hash("secret")


@pytest.mark.parametrize(("typed", "known"), [("room12", "r\u043eom12"), ("\u0440\u0441", "pc")])
def test_letters_that_look_alike_are_named(typed, known):
    told = f", did you mean {known}? One has Cyrillic letters that look alike"
    assert nearest(typed, ["other", known]) == told
