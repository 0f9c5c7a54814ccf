"""The pillar of docs/waves.md: of all servers and of a site, merged by Salt itself."""

import pytest
import salt.config
import salt.pillar
import yaml

from tests.unit.test_netboot_pillar import resolve

TOP = {
    "base": {
        "netboot*": ["netboot"],
        "netboot-kazan-*": ["site.kazan"],
        "site:omsk": [{"match": "grain"}, "site.omsk"],
        "netboot-kazan-2": ["server.kazan-2"],
    }
}
COMMON = {
    "waves": True,
    "methods": ["http", "nfs"],
    "menu": {"timeout_s": 20, "title": "Boot"},
    "schedule": {"hours": 1},
}
FILES = {
    "top": TOP,
    "netboot": {"netboot": COMMON},
    "site/kazan": {"netboot": {"methods": ["http"], "menu": {"timeout_s": 5}, "prune": True}},
    "site/omsk": {"netboot": {"schedule": {"hours": 6}}},
    "server/kazan-2": {"netboot": {"menu": {"timeout_s": 9}}},
}


@pytest.fixture
def pillar_of(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "pillar" / f"{name}.sls"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(data, sort_keys=False))
    opts = salt.config.master_config(None)
    opts.update(
        pillar_roots={"base": [str(tmp_path / "pillar")]},
        cachedir=str(tmp_path / "cache"),
        root_dir=str(tmp_path),
        extension_modules=str(tmp_path / "extmods"),
        file_roots={"base": []},
    )
    assert opts["pillar_source_merging_strategy"] == "smart"  # Salt's defaults: nothing to set
    assert opts["pillar_merge_lists"] is False

    def compiled(id_, **grains):
        pillar = salt.pillar.Pillar(opts, {"id": id_, **grains}, id_, "base").compile_pillar()
        assert "_errors" not in pillar
        assert resolve(pillar["netboot"])["problems"] == []
        return pillar["netboot"]

    return compiled


def test_maps_merge_lists_are_replaced_and_the_nearest_wins(pillar_of):
    assert pillar_of("netboot-tomsk-1") == COMMON
    kazan = {
        **COMMON,
        "methods": ["http"],
        "menu": {"timeout_s": 5, "title": "Boot"},
        "prune": True,
    }
    assert pillar_of("netboot-kazan-1") == kazan
    assert pillar_of("netboot-kazan-2") == {**kazan, "menu": {"timeout_s": 9, "title": "Boot"}}


def test_a_site_by_grain(pillar_of):
    assert pillar_of("netboot7", site="omsk") == {**COMMON, "schedule": {"hours": 6}}
    assert pillar_of("netboot7", site="perm") == COMMON
