"""The part of JSON Schema that `model.schema.json` uses, so that checking a model needs no package.

Supported: type, enum, const, properties, required, additionalProperties (false), items, minItems,
maxItems, minimum, exclusiveMinimum, maximum, pattern, minLength, anyOf. A test compares it with the
`jsonschema` package and refuses a schema that uses anything else.
"""

import json
import re

_EXACT = 2**53
"""Below it a float can be every integer."""

_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "number": (int, float), "integer": int,
}


def parse(text: str):
    """Return the value of a JSON text, in which 1.0 is the integer that a schema takes it for. Raises ValueError, also
    for NaN and Infinity, which Python would take."""
    return json.loads(text, parse_constant=_no_number, parse_float=_number)


def _no_number(name: str):
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def violations(value, schema: dict, where: str = "") -> list[str]:
    """Return one short sentence for each way in which `value`, which `parse` gave, departs from `schema`."""
    place = where or "the document"
    if "anyOf" in schema:
        attempts = [violations(value, option, where) for option in schema["anyOf"]]
        return [] if any(not attempt for attempt in attempts) else min(attempts, key=len)
    if "type" in schema and not _has_type(value, schema["type"]):
        return [f"{place} must be of type {schema['type']}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place} must be one of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{place} must be {schema['const']!r}")
    if isinstance(value, dict):
        found += _object_violations(value, schema, where)
    elif isinstance(value, list):
        found += _array_violations(value, schema, where, place)
    elif isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            found.append(f"{place} is too short")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{place} does not match {schema['pattern']}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            found.append(f"{place} is out of range")
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            found.append(f"{place} must be above {schema['exclusiveMinimum']}")
    return found


def _has_type(value, names) -> bool:
    for name in [names] if isinstance(names, str) else names:
        if isinstance(value, bool) and name in ("number", "integer"):
            continue
        if isinstance(value, _TYPES[name]):
            return True
    return False


def _object_violations(value: dict, schema: dict, where: str) -> list[str]:
    prefix = f"{where}." if where else ""
    properties = schema.get("properties", {})
    found = [f"{prefix}{name} is missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in properties:
            found += violations(item, properties[name], prefix + name)
        elif schema.get("additionalProperties") is False:
            found.append(f"{prefix}{name} is not known")
    return found


def _array_violations(value: list, schema: dict, where: str, place: str) -> list[str]:
    found = []
    if len(value) < schema.get("minItems", 0) or len(value) > schema.get("maxItems", len(value)):
        found.append(f"{place} has a wrong number of entries")
    if "items" in schema:
        for index, item in enumerate(value):
            found += violations(item, schema["items"], f"{where}[{index}]")
    return found
