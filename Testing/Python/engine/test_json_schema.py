"""The schema checker agrees with the `jsonschema` package on the models' documents, broken in many ways."""

import copy
import json
import random

import jsonschema
import pytest
from tiny_model import tiny_document

from afnet.finetuning.request import CASES_SCHEMA
from afnet.models.json_schema import parse, violations
from afnet.models.manifest import BUNDLED_MODELS, SCHEMA_FILE

SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
REFERENCE = jsonschema.Draft202012Validator(SCHEMA)
SUPPORTED = {
    "$schema", "title", "description", "type", "enum", "const", "properties", "required", "additionalProperties",
    "items", "minItems", "maxItems", "minimum", "exclusiveMinimum", "maximum", "pattern", "minLength", "anyOf",
}
"""What `violations` looks at, and what it may leave alone."""

SUBSTITUTES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    0.5,
    300,
    10**9,
    "",
    "x",
    "UPPER case",
    [],
    [1, 2, 3],
    ["a"] * 3,
    {},
    {"a": 1},
]


def places(value, path=()):
    """Every path into a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutated(document: dict, path, change) -> dict:
    document = copy.deepcopy(document)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return document


def agree(document) -> bool:
    """Assert that both checkers give the same verdict; return it."""
    found, theirs = violations(parse(json.dumps(document)), SCHEMA), REFERENCE.is_valid(document)
    ours = not found
    assert ours == theirs, found or [error.message for error in REFERENCE.iter_errors(document)]
    return ours


def every_mutation(document: dict):
    for path in places(document):
        if not path:
            continue
        yield mutated(document, path, lambda parent, key: parent.pop(key))
        yield mutated(document, path, lambda parent, key: parent.__setitem__(key, random.choice(SUBSTITUTES)))
    for path in places(document):
        value = document
        for key in path:
            value = value[key]
        if isinstance(value, dict):
            yield mutated(document, (*path, "extra"), lambda parent, key: parent.__setitem__(key, 1))
        elif isinstance(value, list):
            yield mutated(
                document, (*path, 0), lambda parent, _: parent.append(copy.deepcopy(parent[0])) if parent else None
            )


@pytest.mark.parametrize("model", ["pelvis-ct", "brain-tumour-mri"])
def test_agrees_with_jsonschema_on_mutated_models(model):
    random.seed(0)
    document = tiny_document(model)
    assert agree(document)
    verdicts = [agree(broken) for broken in every_mutation(document)]
    assert len(verdicts) > 300 and verdicts.count(False) > 200 and verdicts.count(True) > 20


@pytest.mark.parametrize("value", SUBSTITUTES, ids=repr)
def test_agrees_on_each_value_in_each_kind_of_place(value):
    document = tiny_document("pelvis-ct")
    kinds = [
        ("schema",),
        ("id",),
        ("version",),
        ("network", "name"),
        ("network", "widths", 0),
        ("inputs",),
        ("channels", 0),
        ("channels", 0, "normalisation"),
        ("channels", 0, "window_hu"),
        ("grid", "spacing_mm"),
        ("decoding", "minimum_ml"),
        ("structures", 0, "color", 1),
        ("structures", 0, "tg263"),
        ("structures", 0, "terminology", "type_modifier"),
        ("labelmap", 0, "code"),
        ("scores",),
        ("weights_sha256",),
    ]
    for path in kinds:
        agree(mutated(document, path, lambda parent, key: parent.__setitem__(key, value)))
    agree(value)


def test_bundled_models_are_valid():
    files = sorted(BUNDLED_MODELS.glob("*/model.json"))
    assert len(files) >= 2
    for file in files:
        assert violations(json.loads(file.read_text(encoding="utf-8")), SCHEMA) == []


def keywords(schema: dict):
    yield from schema
    for name in ("properties",):
        for part in schema.get(name, {}).values():
            yield from keywords(part)
    if "items" in schema:
        yield from keywords(schema["items"])
    for part in schema.get("anyOf", []):
        yield from keywords(part)


@pytest.mark.parametrize("schema", [SCHEMA, CASES_SCHEMA], ids=["model", "cases"])
def test_schemas_use_only_what_the_checker_supports(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(keywords(schema)) <= SUPPORTED


@pytest.mark.parametrize(
    "path,value,sentence",
    [
        (("id",), "Bad Id", "id does not match ^[a-z0-9][a-z0-9-]{1,60}$"),
        (("grid", "spacing_mm"), 0, "grid.spacing_mm is out of range"),
        (("network", "widths"), [4] * 7, "network.widths has a wrong number of entries"),
        (("structures", 0, "color", 2), 256, "structures[0].color[2] is out of range"),
        (("network", "flavour"), "mine", "network.flavour must be one of ['paper', 'released']"),
        (("title",), "", "title is too short"),
        (("title",), 3, "title must be of type string"),
        (("schema",), 0, "schema must be 1"),
        (("colour",), 0, "colour is not known"),
    ],
)
def test_names_the_place_and_the_fault(path, value, sentence):
    broken = mutated(tiny_document("pelvis-ct"), path, lambda parent, key: parent.__setitem__(key, value))
    assert violations(broken, SCHEMA) == [sentence]


def test_names_what_is_missing():
    document = tiny_document("pelvis-ct")
    del document["inputs"][0]["title"]
    assert violations(document, SCHEMA) == ["inputs[0].title is missing"]
