"""Sites of nginx that are there already: how they are read, and which are in the way."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import netboot_nginx
import netboot_nginx_sites

# As nginx -T prints it: each file by itself.
DUMP = r"""
# configuration file /etc/nginx/nginx.conf:
user www-data; # server { listen 1; }
http {
    log_format main '$remote_addr "{" server {';
    include /etc/nginx/sites-enabled/*;
    upstream behind { server 192.0.2.5:80; }
    server { server_name inside; location / { return 200 "a;}"; } }
}
# configuration file /etc/nginx/sites-enabled/own:
map $host $to { default "a{"; ~^(?<x>.+)\.org$ ${x}; }
server {
    listen 192.0.2.9:8080 default_server;
    listen *:81; listen 82; listen [::]:83; listen unix:/run/x; listen 192.0.2.8;
    server_name example.org
        www.example.org;
    location ~ \.php$ { server_tokens off; }
}
"""
HTTP = {"port": 80, "listen": [], "certificate": "", "https_port": 443}
HERE = ["192.0.2.10"]
PLATFORM = {"nginx": {"directory": "/etc/nginx", "site": "sites-enabled/netboot.conf"}}
INCLUDED = ["/etc/nginx/sites-enabled/*"]


def test_sites():
    found = netboot_nginx_sites.read(DUMP)
    own, inside = found.sites
    default = {"at": "*", "port": 80, "default": False, "both": False, "proxied": False}
    assert (inside["file"], inside["names"]) == ("/etc/nginx/nginx.conf", ["inside"])
    assert inside["listen"] == [default]
    assert own["file"] == "/etc/nginx/sites-enabled/own"
    assert own["names"] == ["example.org", "www.example.org"]
    assert [(one["at"], one["port"], one["default"]) for one in own["listen"]] == [
        ("192.0.2.9", 8080, True),
        ("*", 81, False),
        ("*", 82, False),
        ("[::]", 83, False),
        ("unix:/run/x", 0, False),
        ("192.0.2.8", 80, False),
    ]
    assert found.included == ["/etc/nginx/sites-enabled/*"]


@pytest.mark.parametrize("text", ["", "}", "server {", "server { listen", '"', "listen 80;"])
def test_broken_text_is_no_error(text):
    netboot_nginx_sites.sites(text)


# nginx, ngx_parse_url and the directive listen: what it binds.
NOTATIONS = [
    ("80", [("*", 80, False)]),
    ("0.0.0.0", [("*", 80, False)]),  # noqa: S104 (text)
    ("*:8080 default_server", [("*", 8080, False)]),
    ("localhost:80", [("127.0.0.1", 80, False)]),
    ("[::]:80", [("[::]", 80, False)]),
    ("[::]:80 ipv6only=off", [("[::]", 80, True)]),
    ("[::] ipv6only=off", [("[::]", 80, True)]),
    ("[::]:80 ipv6only=on", [("[::]", 80, False)]),
    ("[::ffff:192.0.2.10]:80", [("192.0.2.10", 80, False)]),
    ("79-81", [("*", 79, False), ("*", 80, False), ("*", 81, False)]),
    ("192.0.2.10:79-80", [("192.0.2.10", 79, False), ("192.0.2.10", 80, False)]),
    ("80 quic", []),
    ("unix:/run/80", [("unix:/run/80", 0, False)]),
]


@pytest.mark.parametrize(("notation", "bound"), NOTATIONS)
def test_notations(notation, bound):
    (site,) = netboot_nginx_sites.sites(f"server {{ server_name a; listen {notation}; }}")
    assert [(one["at"], one["port"], one["both"]) for one in site["listen"]] == bound


def listens(*words, file="own"):
    return netboot_nginx_sites.sites(
        f"# configuration file /etc/nginx/sites-enabled/{file}:\n"
        f"server {{ {' '.join(f'{word};' for word in words)} }}"
    )


def configured(**http):
    return {
        "address": HERE[0],
        "interfaces": [],
        "http": {**HTTP, **http},
        "platform": PLATFORM,
    }


# A site, our settings, and what is said.
CASES = [
    ("80", ["example.org"], {}, None),
    ("80", ["_"], {}, None),
    ("80", ["192.0.2.10"], {}, "has the name 192.0.2.10 on TCP port 80"),
    ("8080", ["192.0.2.10"], {}, None),
    ("192.0.2.10:80", ["example.org"], {}, "listens on 192.0.2.10:80 and would get all"),
    ("192.0.2.11:80", ["192.0.2.10"], {}, None),
    ("192.0.2.10:80", ["example.org"], {"listen": HERE}, None),
    ("192.0.2.10:80", ["192.0.2.10"], {"listen": HERE}, "has the name 192.0.2.10"),
    ("80", ["example.org"], {"listen": HERE}, "no longer get requests for example.org on 192"),
    ("80", ["_"], {"listen": HERE}, None),
    ("443", ["example.org"], {}, None),
    ("443", ["example.org"], {"certificate": "/a"}, "also listens on TCP port 443"),
    ("127.0.0.1:443", ["_"], {"certificate": "/a", "listen": HERE}, None),
    ("[::]:80 ipv6only=off", ["example.org"], {}, "in one socket (listen [::]:80 ipv6only=off)"),
    ("[::]:80 ipv6only=off", ["_"], {"listen": HERE}, "in one socket"),
    ("[::]:80", ["example.org"], {}, None),
    ("[::ffff:192.0.2.10]:80", ["_"], {}, "listens on 192.0.2.10:80 and would get all"),
    ("80 proxy_protocol", ["a"], {}, "has the option proxy_protocol on TCP port 80"),
    ("80 proxy_protocol", ["_"], {"listen": HERE}, None),
    ("70-90", ["192.0.2.10"], {}, "has the name 192.0.2.10 on TCP port 80"),
]


@pytest.mark.parametrize(("listen", "names", "http", "said"), CASES)
def test_clashes(listen, names, http, said):
    found = netboot_nginx.clashes(
        listens(f"listen {listen}", f"server_name {' '.join(names)}"), configured(**http)
    )
    assert len(found) == (said is not None)
    for one in found:
        assert said in one
        assert one.startswith("The nginx site in /etc/nginx/sites-enabled/own ")
        assert "netboot:http:" in one


def test_other_kinds_of_blocks_are_told_by_what_includes_them():
    text = """
# configuration file /etc/nginx/nginx.conf:
http { include conf.d/*.conf; }
stream { include /etc/nginx/streams/*.conf; }
# configuration file /etc/nginx/conf.d/a.conf:
server { server_name a; }
# configuration file /etc/nginx/streams/b.conf:
server { listen 80; proxy_pass 192.0.2.1:80; }
"""
    found = netboot_nginx_sites.read(text)
    assert [one["kind"] for one in found.sites] == ["http", "stream"]
    assert found.included == ["/etc/nginx/conf.d/*.conf"]
    (said,) = netboot_nginx.clashes(found.sites, configured())
    assert "streams/b.conf has TCP port 80 in its block stream" in said


# As the site `a` has it, beside another site: a file that it includes, or a language of its own.
WITHIN = {
    "included": "include snippets/*.conf;",
    "Lua with a length": "access_by_lua_block { local x = { #y } }",
    "Lua with quotes": "set_by_lua_block $x { -- it 's {\n return '}' .. \"{'\" .. [[ \" ]] }",
    "Lua with comments": "content_by_lua_block { --[==[ } ]] { ' ]==] if #t > 0 then x = {} end }",
    "what was Lua": "# content_by_lua_block {\n",
}


@pytest.mark.parametrize("within", WITHIN.values(), ids=WITHIN)
def test_what_is_within_a_site_belongs_to_it(within):
    text = f"""
# configuration file /etc/nginx/nginx.conf:
http {{
    include conf.d/*.conf;
    server {{ server_name a;
        {within}
    }}
    server {{ listen 81; server_name b; {within.replace("#", "# ;")}
    }}
}}
stream {{ include conf.d/streams/*.conf; }}
# configuration file /etc/nginx/conf.d/streams/c.conf:
server {{ listen 82; }}
# configuration file /etc/nginx/snippets/names.conf:
listen 80 default_server; server_name c 192.0.2.10;
"""
    first, second, third = netboot_nginx_sites.sites(text)
    more = [80] if "include" in within else []
    assert [one["port"] for one in first["listen"]] == [80]
    assert [one["port"] for one in second["listen"]] == [81, *more]
    assert first["names"] == (["a", "c", "192.0.2.10"] if more else ["a"])
    assert (third["kind"], [one["port"] for one in third["listen"]]) == ("stream", [82])


def test_inclusion_in_a_circle_ends():
    head = "# configuration file /etc/nginx/nginx.conf:\n"
    (site,) = netboot_nginx_sites.sites(f"{head}server {{ include *.conf; }} include nginx.conf;")
    assert site["names"] == [""]


# The words of a site, whether it keeps us from being the default, whether from the empty name.
STANDING = [
    (["listen 80", "server_name example.org"], False, False),
    (["listen 80 default_server", "server_name example.org"], True, False),
    (["listen 80 default_server", "server_name _"], True, False),
    (["listen 80", "server_name _"], True, False),
    (["listen 80"], True, True),
    (["server_name example.org ''"], False, True),
    (["listen 192.0.2.9:80 default_server"], False, False),
    (["listen 8080 default_server"], False, False),
    (["listen [::]:80 default_server"], False, False),
]


@pytest.mark.parametrize(("words", "default", "nameless"), STANDING)
def test_who_gets_requests_without_a_known_name(words, default, nameless):
    nginx = netboot_nginx_sites.Nginx(listens(*words), INCLUDED)
    config = configured()
    assert bool(netboot_nginx.defaults(nginx.sites, config)) == default
    assert bool(netboot_nginx.nameless(nginx.sites, config)) == nameless
    found = {key: (severity, text) for key, severity, text in netboot_nginx.findings(nginx, config)}
    assert ("nginx.no_host" in found) == nameless
    assert ("nginx.default_server" in found) == (default and not nameless)
    for severity, text in found.values():
        assert severity in ("warning", "info")
        assert "p10 and older" in text
        assert "/etc/nginx/sites-enabled/own" in text


def test_site_that_nginx_would_not_read():
    nginx = netboot_nginx_sites.Nginx([], ["/etc/nginx/conf.d/*.conf", "/etc/nginx/mime.types"])
    ((key, severity, text),) = netboot_nginx.findings(nginx, configured())
    assert (key, severity) == ("nginx.not_included", "error")
    assert "does not include /etc/nginx/sites-enabled/netboot.conf" in text
    assert "a file that it includes (/etc/nginx/conf.d/*.conf)" in text


# -- the copy in which everything is checked -------------------------------------------------------

SITE = "sites-enabled/netboot.conf"


@pytest.fixture
def nginx(tmp_path, monkeypatch):
    """A directory of nginx with the netboot site, and which files an nginx would find in a copy."""
    directory = tmp_path / "nginx"
    for name, text in {
        SITE: "ours",
        "sites-available/other": "other",
        "nginx.conf": f"include {directory}/sites-enabled/*;",
    }.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    read = {}

    def tried(*argv):
        main = Path(argv[-1])
        for file in (main, main.parent / "conf.d/sites.conf"):
            text = file.read_text() if file.exists() else ""
            for pattern in (one.strip(" ;") for one in text.split("include ")[1:]):
                parent = file.parent / os.path.dirname(pattern)
                found = [parent] if parent.is_file() else parent.glob("*")
                read.update({one.name: one.read_text() for one in found if one.is_file()})
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setattr(netboot_nginx.netboot_run, "tried", tried)
    return SimpleNamespace(directory=directory, read=read)


def in_another_file(directory):
    (directory / "conf.d").mkdir()
    (directory / "conf.d/sites.conf").write_text((directory / "nginx.conf").read_text())
    (directory / "nginx.conf").write_text("include conf.d/*;")


def in_another_notation(directory):
    main = directory / "nginx.conf"
    main.write_text(main.read_text().replace("nginx/sites", "nginx/.//sites"))


def behind_a_link(directory, target="../elsewhere"):
    (directory / "sites-enabled").rename(directory / target)
    (directory / "sites-enabled").symlink_to((directory / target).resolve())


def behind_a_link_within(directory):
    behind_a_link(directory, "sites")


def all_behind_a_link(directory):
    real = directory.rename(directory.with_name("real"))
    directory.symlink_to(real)
    main = directory / "nginx.conf"
    main.write_text(main.read_text().replace("/nginx/", "/real/"))


def with_links(directory):
    (directory.parent / "app").write_text("app")
    (directory / "sites-enabled/app").symlink_to("../../app")
    (directory / "sites-enabled/other").symlink_to("../sites-available/other")
    (directory / "sites-enabled/same").symlink_to(directory / "sites-available/other")


PLACES = [
    in_another_file,
    in_another_notation,
    behind_a_link,
    behind_a_link_within,
    all_behind_a_link,
    with_links,
]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_leads_from_the_copy_to_the_site_itself(nginx, place):
    place(nginx.directory)
    netboot_nginx.others(str(nginx.directory), SITE)
    assert "netboot.conf" not in nginx.read
    if place is with_links:
        assert nginx.read == {"app": "app", "other": "other", "same": "other"}
    netboot_nginx.check(str(nginx.directory), SITE, "new", [])
    assert nginx.read["netboot.conf"] == "new"
    assert (nginx.directory / SITE).read_text() == "ours"
