"""pip's settings reach uv."""

from __future__ import annotations

import sys

import pytest

from harness.toolchains import pip_configuration
from harness.toolchains.pip_configuration import parse_listing, read_pip_settings, uv_environment

LISTING = """\
:env:.cert='/certificates/mine.crt'
global.extra-index-url='https://one.example/simple\\nhttps://two.example/simple'
global.find-links='/wheels /more'
global.index-url='https://weak.example/simple'
install.index-url='https://strong.example/simple'
wheel.index-url='https://other.example/simple'
"""


class TestParseListing:
    def test_the_install_section_overrides_the_global_one(self):
        """As ``pip install`` reads them; sections of other commands do not count."""
        assert parse_listing(LISTING)["index-url"] == "https://strong.example/simple"

    def test_variables_override_files(self):
        """Whatever the order of the lines."""
        assert parse_listing(":env:.index-url='a'\ninstall.index-url='b'\nglobal.index-url='c'\n")["index-url"] == "a"

    def test_values_are_unquoted(self):
        """pip prints Python literals."""
        assert parse_listing(LISTING)["extra-index-url"].split() == [
            "https://one.example/simple",
            "https://two.example/simple",
        ]

    def test_other_lines_are_ignored(self):
        """Warnings may stand among the settings."""
        assert parse_listing("WARNING: something\n\nglobal.proxy=plain\n") == {"proxy": "plain"}


class TestUvEnvironment:
    def test_every_setting_has_its_variable(self):
        """What uv is told is what pip was told."""
        told = uv_environment(parse_listing(LISTING) | {"no-index": "true", "trusted-host": "a b", "proxy": "p:1"}, {})
        assert told == {
            "UV_INDEX_STRATEGY": "unsafe-best-match",
            "UV_DEFAULT_INDEX": "https://strong.example/simple",
            "UV_INDEX": "https://one.example/simple https://two.example/simple",
            "UV_FIND_LINKS": "/wheels,/more",
            "UV_NO_INDEX": "1",
            "UV_INSECURE_HOST": "a b",
            "SSL_CERT_FILE": "/certificates/mine.crt",
            "HTTPS_PROXY": "p:1",
            "HTTP_PROXY": "p:1",
        }

    def test_relative_places_become_absolute(self, tmp_path, monkeypatch):
        """uv runs in another folder; addresses stay as they are."""
        monkeypatch.chdir(tmp_path)
        told = uv_environment({"find-links": "wheels file:///shared", "constraint": "pins.txt"}, {})
        assert told["UV_FIND_LINKS"] == f"{tmp_path}/wheels,file:///shared"
        assert told["UV_CONSTRAINT"] == f"{tmp_path}/pins.txt"

    @pytest.mark.parametrize(
        ("option", "given"),
        [
            ("find-links", "UV_FIND_LINKS"),
            ("index-url", "UV_DEFAULT_INDEX"),
            ("index-url", "UV_INDEX_URL"),
            ("extra-index-url", "UV_EXTRA_INDEX_URL"),
            ("cert", "SSL_CERT_FILE"),
        ],
    )
    def test_what_the_user_told_uv_stays(self, option, given):
        """Also under the older names of the same variables."""
        told = uv_environment({option: "pip's"}, {given: "uv's"})
        assert told == {given: "uv's", "UV_INDEX_STRATEGY": "unsafe-best-match"}

    def test_an_empty_variable_is_not_set(self):
        """Scripts that pass variables on leave empty ones behind."""
        assert uv_environment({"find-links": "/wheels"}, {"UV_FIND_LINKS": ""})["UV_FIND_LINKS"] == "/wheels"

    def test_no_index_may_be_off(self):
        """``no-index = false`` is a setting, too."""
        assert "UV_NO_INDEX" not in uv_environment({"no-index": "false"}, {})


class TestReadPipSettings:
    def test_the_real_pip_is_asked(self, tmp_path):
        """A configuration file counts, and a variable counts more."""
        configuration = tmp_path / "pip.conf"
        configuration.write_text("[global]\nfind-links = /from-file\nindex-url = https://from-file.example/simple\n")
        environment = {"PIP_CONFIG_FILE": str(configuration), "PIP_INDEX_URL": "https://variable.example/simple"}
        settings = read_pip_settings(environment)
        assert settings["find-links"] == "/from-file"
        assert settings["index-url"] == "https://variable.example/simple"

    def test_without_pip_the_variables_count(self, monkeypatch):
        """An environment that uv made has no pip."""
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        monkeypatch.setattr(sys, "_base_executable", "/nowhere/python")
        assert pip_configuration.read_pip_settings({"PIP_FIND_LINKS": "/wheels"}) == {"find-links": "/wheels"}
