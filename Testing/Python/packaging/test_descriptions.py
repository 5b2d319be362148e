"""CMakeLists.txt, AutofocusSegmentation.json and .s4ext say the same, and what the extension index asks for.

The index's rules: Slicer/ExtensionsIndex, scripts/check_description_files.py and catalogue entry schema 1.0.2.
"""

import json
import re
import struct
from urllib.parse import urlsplit

import jsonschema
import pytest
from cmake_lists import MODULE, REPOSITORY

NAME = "AutofocusSegmentation"

ENTRY_SCHEMA = {
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string"},
        "category": {"type": "string"},
        "scm_url": {"type": "string", "pattern": "^https://"},
        "scm_revision": {"type": "string"},
        "scm_type": {"enum": ["git", "local"]},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "build_subdirectory": {"type": "string"},
        "dicom_support_rule": {"type": "string"},
        "enabled": {"type": "boolean"},
        "tier": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}


@pytest.fixture(scope="module")
def cmake_text() -> str:
    return (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def variables(cmake_text) -> dict[str, str]:
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"]*)"\)$', cmake_text, re.MULTILINE))


@pytest.fixture(scope="module")
def entry() -> dict:
    return json.loads((REPOSITORY / f"{NAME}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def s4ext() -> dict[str, str]:
    lines = (REPOSITORY / f"{NAME}.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {key: value.strip() for key, _, value in pairs}


def test_json_follows_the_schema_of_the_index(entry):
    jsonschema.validate(entry, ENTRY_SCHEMA)
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["category"] == "Segmentation"


def test_scm_url_names_the_repository(entry):
    assert urlsplit(entry["scm_url"]).path.endswith("/SlicerAutofocusSegmentation")


def test_names_agree(cmake_text):
    assert re.search(r"^project\((\w+)\)$", cmake_text, re.MULTILINE)[1] == NAME
    assert not NAME.startswith("Slicer")
    assert f"set(MODULE_NAME {NAME})" in (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")


def test_dependencies_agree(variables, entry, s4ext):
    assert variables["DEPENDS"] == "PyTorch"
    assert variables["DEPENDS"].split() == entry["build_dependencies"] == s4ext["depends"].split()


def test_three_descriptions_agree(variables, entry, s4ext):
    assert s4ext["scm"] == entry["scm_type"]
    assert s4ext["scmurl"] == entry["scm_url"] == variables["HOMEPAGE"] == s4ext["homepage"]
    assert s4ext["scmrevision"] == entry["scm_revision"]
    assert s4ext["build_subdirectory"] == entry["build_subdirectory"]
    assert s4ext["category"] == entry["category"] == variables["CATEGORY"]
    for key in ("CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"):
        assert s4ext[key.lower()] == variables[key], key


def test_cmake_reads_what_we_read(cmake_build, variables):
    _, description = cmake_build
    assert description == {**variables, "NAME": NAME}


def test_pictures_are_quoted_and_in_the_repository(cmake_text, variables, entry):
    """The index's own patterns; the address must be that of a file on the branch which the index builds."""
    assert re.search(r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)', cmake_text)
    assert re.search(r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', cmake_text)
    owner_and_name = urlsplit(entry["scm_url"]).path
    for url in [variables["ICONURL"], *variables["SCREENSHOTURLS"].split()]:
        prefix = f"https://raw.githubusercontent.com{owner_and_name}/{entry['scm_revision']}/Resources/"
        assert url.startswith(prefix), url
        assert url.endswith((".png", ".jpg")), url


def test_icon_is_a_png_of_128_pixels(variables):
    data = (REPOSITORY / "Resources" / variables["ICONURL"].rpartition("/")[2]).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (128, 128)


def test_licence_is_in_the_root_and_named_in_the_readme():
    assert (REPOSITORY / "LICENSE.txt").read_text(encoding="utf-8").startswith("MIT License")
    assert "LICENSE.txt" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_description_is_one_or_two_sentences(variables):
    assert 40 < len(variables["DESCRIPTION"]) < 250
    assert variables["DESCRIPTION"].count(".") <= 2
    assert not re.search(r'[;"$\\]', variables["DESCRIPTION"])  # CMake would split or expand it
