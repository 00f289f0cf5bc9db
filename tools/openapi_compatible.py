#!/usr/bin/env python3
"""Would a client that was generated from the last release still work with the present API descriptions?

    tools/openapi_compatible.py [RELEASED [PRESENT]]        folders; by default openapi/released and openapi

Prints every break in plain words. Exit status 1 if there is one that the version does not admit: a break has to raise the first number of
info.version that is not 0. What is compared, and what counts as a break:

- operations: removed; another operationId or first tag, which generated code is named by; a way to authenticate that is gone or asked anew
- parameters: removed, newly required, written another way; the body of a request: removed, newly required, a media type less
- answers: a status, header or media type less; a header that may now be missing
- schemas: one that is gone, for generated code is named by it
- values in requests may become more, values in answers fewer, never the other way: types, null, formats, bounds, alternatives. A property
  that is gone is a break everywhere; a new one is one in a request that requires it; so is one in an answer that may now be missing.
  Values of an enumeration may be added in requests only; in answers they stay as they are.
- additionalProperties: user-defined fields that are no longer allowed, or no longer described, for generators drop what is not described

Words for people (descriptions, examples) do not count. A keyword that this check does not know must not change.
"""

import json
import pathlib
import sys

REQUEST, ANSWER = "request", "answer"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
FOR_PEOPLE = {"title", "description", "example", "examples", "deprecated", "externalDocs", "$comment", "summary", "xml"}
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
KNOWN = {
    "$ref", "type", "enum", "const", "format", "properties", "required", "additionalProperties", "items", "oneOf", "anyOf", "allOf",
    "default", "pattern", "multipleOf", "uniqueItems", *LOWER, *UPPER,
}  # fmt: skip
ALL_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
NARROWER_FORMATS = {("int32", "int64"), ("float", "double")}


def breaks(old, new):
    """The breaks from one description to the next, as lines."""
    return Comparison(old, new).run()


def admitted(old, new):
    """Whether a version may break what the other one promised: the first number that is not 0 rose."""
    old, new = numbers(old), numbers(new)
    first = next((place for place, number in enumerate(old) if number), len(old) - 1)
    return new[: first + 1] > old[: first + 1]


def numbers(version):
    return tuple(int(number) for number in version.split("+")[0].split("-")[0].split("."))


class Comparison:
    def __init__(self, old, new):
        self.old, self.new = old, new
        self.found = []
        self.under_way = set()

    def run(self):
        old_paths, new_paths = self.old.get("paths", {}), self.new.get("paths", {})
        for path, old_item in old_paths.items():
            for method in METHODS:
                if method not in old_item:
                    continue
                where = f"{method.upper()} {path}"
                if method in new_paths.get(path, {}):
                    self.operation(where, (old_item, old_item[method]), (new_paths[path], new_paths[path][method]))
                else:
                    self.say(where, "the operation is gone")
        for name in sorted(set(schemas(self.old)) - set(schemas(self.new))):
            self.say(f"schema {name}", "it is gone, and generated code is named by it")
        return list(dict.fromkeys(self.found))

    def say(self, where, what):
        self.found.append(f"{where}: {what}")

    # Operations

    def operation(self, where, old_pair, new_pair):
        old, new = old_pair[1], new_pair[1]
        for word, name in (("operationId", "operationId"), ("tags", "first tag")):
            was, now = ((value[:1] if isinstance(value, list) else value) for value in (old.get(word), new.get(word)))
            if was != now:
                self.say(where, f"the {name} was {shown(was)}, now {shown(now)}")
        self.unknown(where, old, new, {"operationId", "tags", "security", "parameters", "requestBody", "responses"})
        self.security(where, old, new)
        self.parameters(where, self.all_parameters(self.old, *old_pair), self.all_parameters(self.new, *new_pair))
        self.body(where, resolved(self.old, old.get("requestBody")), resolved(self.new, new.get("requestBody")))
        self.answers(where, old.get("responses", {}), new.get("responses", {}))

    def security(self, where, old, new):
        old, new = self.ways_in(self.old, old), self.ways_in(self.new, new)
        for way in old:
            # Nothing asked for is a way in as well.
            if way not in new and not any(other <= way for other in new):
                self.say(where, f"one may no longer come in with {' and '.join(sorted(name for name, _ in way)) or 'nothing'}")

    @staticmethod
    def ways_in(document, operation):
        schemes = document.get("components", {}).get("securitySchemes", {})
        alternatives = operation.get("security", document.get("security")) or [{}]

        def scheme(name, scopes):
            told = {key: value for key, value in schemes.get(name, {}).items() if key not in FOR_PEOPLE}
            return name, json.dumps([told, sorted(scopes)], sort_keys=True)

        return [frozenset(scheme(name, scopes) for name, scopes in way.items()) for way in alternatives]

    @staticmethod
    def all_parameters(document, item, operation):
        listed = [resolved(document, parameter) for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]]
        return {(parameter["in"], parameter["name"]): parameter for parameter in listed}

    def parameters(self, where, old, new):
        for (place, name), parameter in new.items():
            if parameter.get("required") and not old.get((place, name), {}).get("required"):
                self.say(where, f"the {place} parameter {name} is newly required")
        for (place, name), parameter in old.items():
            spot = f"{where}: {place} parameter {name}"
            if (place, name) not in new:
                self.say(where, f"the {place} parameter {name} is gone")
                continue
            present = new[place, name]
            self.unknown(spot, parameter, present, {"name", "in", "required", "schema", "content"})
            self.schema(spot, parameter.get("schema", {}), present.get("schema", {}), REQUEST)
            self.content(spot, parameter.get("content", {}), present.get("content", {}), REQUEST)

    def body(self, where, old, new):
        where += ": body"
        if new and new.get("required") and not (old or {}).get("required"):
            self.say(where, "it is newly required")
        if old and not new:
            self.say(where, "it is gone")
        elif old:
            self.content(where, old.get("content", {}), new.get("content", {}), REQUEST)

    def answers(self, where, old, new):
        for status, answer in old.items():
            spot = f"{where}: answer {status}"
            if status not in new:
                self.say(spot, "it is gone")
                continue
            answer, present = resolved(self.old, answer), resolved(self.new, new[status])
            self.content(spot, answer.get("content", {}), present.get("content", {}), ANSWER)
            present_headers = present.get("headers", {})
            for name, header in answer.get("headers", {}).items():
                if name not in present_headers:
                    self.say(spot, f"the header {name} is gone")
                    continue
                header, present_header = resolved(self.old, header), resolved(self.new, present_headers[name])
                if header.get("required") and not present_header.get("required"):
                    self.say(spot, f"the header {name} may now be missing")
                self.schema(f"{spot}: header {name}", header.get("schema", {}), present_header.get("schema", {}), ANSWER)

    def content(self, where, old, new, way):
        for media_type, content in old.items():
            if media_type not in new:
                self.say(where, f"{media_type} is gone")
            else:
                self.unknown(f"{where}: {media_type}", content, new[media_type], {"schema"})
                self.schema(f"{where}: {media_type}", content.get("schema", {}), new[media_type].get("schema", {}), way)

    def unknown(self, where, old, new, known):
        for word in sorted((set(old) | set(new)) - known - FOR_PEOPLE):
            if not word.startswith("x-") and old.get(word) != new.get(word):
                self.say(where, f"{word} was {shown(old.get(word))}, now {shown(new.get(word))}")

    # Schemas

    def schema(self, where, old, new, way):
        # A schema that holds itself is compared once.
        pair = (json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True), way)
        if pair in self.under_way:
            return
        self.under_way.add(pair)
        old, new = flat(self.old, old), flat(self.new, new)
        if old is False or new is False:
            # Nothing fits; what may become fewer may become nothing.
            if old is not new and (new is False) == (way == REQUEST):
                self.say(where, "no value is allowed any longer" if way == REQUEST else "there was no value, now there is one")
        elif alternatives(old) != [old] or alternatives(new) != [new]:
            self.alternatives(where, old, new, way)
        else:
            self.values(where, old, new, way)
            self.properties(where, old, new, way)
            self.further_members(where, old, new, way)
            if "items" in old or "items" in new:
                self.schema(f"{where}[]", old.get("items", True), new.get("items", True), way)
            self.unknown(where, old, new, KNOWN)
        self.under_way.discard(pair)

    def alternatives(self, where, old, new, way):
        old, new = alternatives(old), alternatives(new)
        from_ones, to_ones = (old, new) if way == REQUEST else (new, old)
        for one in from_ones:
            tried = [self.attempt(where, *((one, other) if way == REQUEST else (other, one)), way) for other in to_ones]
            if all(tried):
                same_name = [lines for lines, other in zip(tried, to_ones) if "$ref" in one and other.get("$ref") == one["$ref"]]
                self.found += (same_name or [[]])[0] or [
                    f"{where}: the alternative {shown(one)} is {'gone' if way == REQUEST else 'new'}",
                ]

    def attempt(self, where, old, new, way):
        inner = Comparison(self.old, self.new)
        inner.under_way = set(self.under_way)
        inner.schema(where, old, new, way)
        return inner.found

    def values(self, where, old, new, way):
        wider, narrower = (new, old) if way == REQUEST else (old, new)
        worse = "narrower" if way == REQUEST else "wider"

        def changed(word):
            self.say(where, f"{word} is {worse}: was {shown(old.get(word))}, now {shown(new.get(word))}")

        if not types(narrower) <= types(wider):
            changed("type")
        inner, outer = narrower.get("format"), wider.get("format")
        if outer not in (None, inner) and (inner, outer) not in NARROWER_FORMATS:
            changed("format")
        allowed, promised = listed(wider), listed(narrower)
        if allowed is not None and (promised is None or not set(promised) <= set(allowed)):
            was, now = ("any" if values is None else ", ".join(values) for values in (listed(old), listed(new)))
            self.say(where, f"the values are {worse}: were {was}, now {now}")
        elif way == ANSWER and allowed is not None and set(promised) != set(allowed):
            self.say(where, f"values are gone: {', '.join(sorted(set(allowed) - set(promised)))}")
        for words, beyond in ((LOWER, lambda inner, outer: inner < outer), (UPPER, lambda inner, outer: inner > outer)):
            for word in words:
                if word in wider and (word not in narrower or beyond(narrower[word], wider[word])):
                    changed(word)
        for word in ("pattern", "multipleOf", "uniqueItems"):
            if wider.get(word, False) not in (False, narrower.get(word)):
                changed(word)
        if way == REQUEST and "default" in old and old["default"] != new.get("default"):
            self.say(where, f"the default was {shown(old['default'])}, now {shown(new.get('default'))}")

    def properties(self, where, old, new, way):
        old_ones, new_ones = old.get("properties", {}), new.get("properties", {})
        for name, schema in old_ones.items():
            if name in new_ones:
                self.schema(f"{where}: {name}", schema, new_ones[name], way)
            else:
                self.say(where, f"the property {name} is gone")
        for name in [name for name in new_ones if name not in old_ones]:
            # It was a user-defined field until now, where those are described.
            if old.get("additionalProperties") is not None and not (way == REQUEST and old["additionalProperties"] is False):
                self.schema(f"{where}: new property {name}", old["additionalProperties"], new_ones[name], way)
        for name in new.get("required", []) if way == REQUEST else old.get("required", []):
            if name not in old.get("required", []):
                self.say(where, f"the property {name} is newly required")
            elif name not in new.get("required", []) and name in new_ones:
                self.say(where, f"the property {name} may now be missing")

    def further_members(self, where, old, new, way):
        was, now = old.get("additionalProperties"), new.get("additionalProperties")
        if was not in (None, False) and now is None:
            self.say(where, "further members are no longer described, so that generated code may drop them")
        elif was is False and now is None and way == ANSWER:
            self.say(where, "further members are no longer ruled out")
        elif now is not None:
            self.schema(f"{where}: further members", True if was is None else was, now, way)


def schemas(document):
    return document.get("components", {}).get("schemas", {})


def resolved(document, part):
    """What a reference stands for; what stands beside the reference wins."""
    while isinstance(part, dict) and "$ref" in part:
        target = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        part = {**target, **{word: value for word, value in part.items() if word != "$ref"}} if isinstance(target, dict) else target
    return part


def flat(document, schema):
    """A schema without references and allOf at its top; True becomes {}."""
    schema = resolved(document, schema)
    if not isinstance(schema, dict):
        return {} if schema in (True, None) else False
    whole = {word: value for word, value in schema.items() if word != "allOf"}
    for part in schema.get("allOf", []):
        part = flat(document, part)
        if part is False:
            return False
        for word, value in part.items():
            if word == "properties":
                whole[word] = {**value, **whole.get(word, {})}
            elif word == "required":
                whole[word] = [*whole.get(word, []), *value]
            else:
                whole.setdefault(word, value)
    return whole


def alternatives(schema):
    """The schemas of which one has to fit, each with what stands beside them; the schema itself if it gives no choice."""
    word = next((word for word in ("oneOf", "anyOf") if word in schema), None)
    if word is None:
        return [schema]
    beside = {other: value for other, value in schema.items() if other != word and other not in FOR_PEOPLE}
    return [{"allOf": [one, beside]} if beside else one for one in schema[word]]


def types(schema):
    told = schema.get("type", ALL_TYPES)
    told = frozenset([told]) if isinstance(told, str) else frozenset(told)
    return told | {"integer"} if "number" in told else told


def listed(schema):
    """The values of an enumeration as JSON texts, None where there is no enumeration."""
    if "const" in schema:
        return [json.dumps(schema["const"])]
    return [json.dumps(value, sort_keys=True) for value in schema["enum"]] if "enum" in schema else None


def shown(value):
    if value is None:
        return "not told"
    if isinstance(value, dict) and "$ref" in value:
        return value["$ref"].rsplit("/", 1)[-1]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def count(found):
    return f"{len(found)} break{'s' if len(found) > 1 else ''}"


def main(released="openapi/released", present="openapi"):
    released, present = pathlib.Path(released), pathlib.Path(present)
    files = sorted(released.glob("*.json"))
    if not files:
        print(f"{released} holds no API description", file=sys.stderr)
        return 1
    status = 0
    for file in files:
        name = present / file.name
        if not name.exists():
            print(f"{name}: the description is gone")
            status = 1
            continue
        old, new = json.loads(file.read_text("utf-8")), json.loads(name.read_text("utf-8"))
        found = breaks(old, new)
        was, now = old["info"]["version"], new["info"]["version"]
        for line in found:
            print(f"{name}: {line}")
        if numbers(now) < numbers(was):
            print(f"{name}: the version fell from {was} to {now}")
            status = 1
        elif found and admitted(was, now):
            print(f"{name}: {count(found)}, which the version admits ({was} to {now})")
        elif found:
            print(f"{name}: {count(found)}; the version ({was} to {now}) has to raise its first number that is not 0")
            status = 1
        else:
            print(f"{name}: whoever knows {was} can use it")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
