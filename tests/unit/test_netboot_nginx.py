"""Sites of nginx that are there already: how they are read, and which are in the way."""

import pytest

import netboot_nginx

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


def test_sites():
    inside, own = netboot_nginx.sites(DUMP)
    assert inside == {"file": "/etc/nginx/nginx.conf", "listen": [["*", 80]], "names": ["inside"]}
    assert own["file"] == "/etc/nginx/sites-enabled/own"
    assert own["names"] == ["example.org", "www.example.org"]
    assert [one for one in own["listen"] if one[1]] == [
        ["192.0.2.9", 8080],
        ["*", 81],
        ["*", 82],
        ["192.0.2.8", 80],
    ]


@pytest.mark.parametrize("text", ["", "}", "server {", "server { listen", '"', "listen 80;"])
def test_broken_text_is_no_error(text):
    netboot_nginx.sites(text)


# A site, our settings, and what is said.
CASES = [
    (["*", 80], ["example.org"], {}, None),
    (["*", 80], ["_"], {}, None),
    (["*", 80], ["192.0.2.10"], {}, "has the name 192.0.2.10 on TCP port 80"),
    (["*", 8080], ["192.0.2.10"], {}, None),
    (["192.0.2.10", 80], ["example.org"], {}, "listens on 192.0.2.10:80 and would get all"),
    (["192.0.2.11", 80], ["192.0.2.10"], {}, None),
    (["192.0.2.10", 80], ["example.org"], {"listen": HERE}, None),
    (["192.0.2.10", 80], ["192.0.2.10"], {"listen": HERE}, "has the name 192.0.2.10"),
    (["*", 80], ["example.org"], {"listen": HERE}, "no longer get requests for example.org on 192"),
    (["*", 80], ["_"], {"listen": HERE}, None),
    (["*", 443], ["example.org"], {}, None),
    (["*", 443], ["example.org"], {"certificate": "/a"}, "also listens on TCP port 443"),
    (["127.0.0.1", 443], [], {"certificate": "/a", "listen": HERE}, None),
]


@pytest.mark.parametrize(("listen", "names", "http", "said"), CASES)
def test_clashes(listen, names, http, said):
    site = {"file": "/etc/nginx/sites-enabled/own", "listen": [listen], "names": names}
    config = {"address": HERE[0], "interfaces": [], "http": {**HTTP, **http}}
    found = netboot_nginx.clashes([site], config)
    assert len(found) == (said is not None)
    for one in found:
        assert said in one
        assert one.startswith("The nginx site in /etc/nginx/sites-enabled/own ")
        assert "netboot:http:" in one
