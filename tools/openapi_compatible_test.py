"""Every kind of break is seen and told in plain words, and what only adds is none."""

import contextlib
import copy
import io
import json
import pathlib
import tempfile
import unittest

from openapi_compatible import admitted, breaks, main

FIELD = {"type": "string", "enum": ["open", "closed"]}
SESSION = {
    "type": "object",
    "required": ["call", "turns"],
    "properties": {
        "call": {"type": "string", "maxLength": 40},
        "state": FIELD,
        "age": {"type": "integer", "format": "int32", "minimum": 0},
        "note": {"type": ["string", "null"]},
        "turns": {"type": "array", "items": {"$ref": "#/components/schemas/Turn"}},
    },
    "additionalProperties": {},
}
DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Sessions", "version": "0.3.1"},
    "paths": {
        "/sessions": {
            "get": {
                "operationId": "fetchSession",
                "tags": ["sessions"],
                "security": [{"key": []}, {"bearer": []}],
                "parameters": [
                    {"name": "call", "in": "query", "required": True, "schema": {"type": "string"}},
                    {"name": "wait", "in": "query", "schema": {"type": "integer", "maximum": 30, "default": 0}},
                ],
                "responses": {
                    "200": {
                        "description": "The session, or none.",
                        "headers": {"X-Reason": {"required": True, "schema": {"type": "string"}}},
                        "content": {
                            "application/json": {
                                "schema": {"oneOf": [{"$ref": "#/components/schemas/Session"}, {"$ref": "#/components/schemas/Miss"}]}
                            },
                            "text/plain": {"schema": {"type": "string"}},
                        },
                    },
                    "404": {"description": "None."},
                },
            },
            "post": {
                "operationId": "storeSession",
                "tags": ["sessions"],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Posted"}}}},
                "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Stored"}}}}},
            },
        }
    },
    "components": {
        "schemas": {
            "Session": SESSION,
            "Posted": copy.deepcopy(SESSION),
            "Stored": copy.deepcopy(SESSION),
            # A schema that holds itself.
            "Turn": {"type": "object", "properties": {"said": {"type": "string"}, "answers": {"$ref": "#/components/schemas/Turn"}}},
            "Miss": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
        },
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "x-key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        },
    },
}


def at(document, *steps):
    for step in steps:
        document = document[step]
    return document


class Described(unittest.TestCase):
    def changed(self, change):
        document = copy.deepcopy(DESCRIPTION)
        change(document)
        self.assertNotEqual(document, DESCRIPTION, "the change changes something")
        return breaks(DESCRIPTION, document)

    def red(self, change, *words):
        found = self.changed(change)
        for word in words:
            self.assertTrue(any(word in line for line in found), f"{word!r} is told: {found}")
        self.assertTrue(found)

    def green(self, change):
        self.assertEqual(self.changed(change), [])


def get(document):
    return document["paths"]["/sessions"]["get"]


def post(document):
    return document["paths"]["/sessions"]["post"]


def posted(document):
    return document["components"]["schemas"]["Posted"]


def stored(document):
    return document["components"]["schemas"]["Stored"]


class Operations(Described):
    def test_the_same_is_no_break(self):
        self.assertEqual(breaks(DESCRIPTION, copy.deepcopy(DESCRIPTION)), [])

    def test_an_operation_or_path_that_is_gone_is_a_break(self):
        self.red(lambda d: d["paths"]["/sessions"].pop("post"), "POST /sessions: the operation is gone")
        self.red(lambda d: d["paths"].clear(), "GET /sessions: the operation is gone", "POST /sessions: the operation is gone")

    def test_new_operations_are_none(self):
        self.green(lambda d: d["paths"].update({"/others": {"get": {"responses": {}}}}))
        self.green(lambda d: d["paths"]["/sessions"].update(delete={"responses": {}}))

    def test_other_names_in_generated_code_are_a_break(self):
        self.red(lambda d: get(d).update(operationId="getSession"), "the operationId was fetchSession, now getSession")
        self.red(lambda d: get(d).update(tags=["calls"]), "the first tag was")

    def test_a_schema_of_another_name_is_a_break(self):
        def rename(document):
            document["components"]["schemas"]["Missing"] = document["components"]["schemas"].pop("Miss")
            choice = at(get(document), "responses", "200", "content", "application/json", "schema", "oneOf")
            choice[1] = {"$ref": "#/components/schemas/Missing"}

        self.red(rename, "schema Miss: it is gone")

    def test_a_way_in_that_is_gone_or_changed_is_a_break_and_a_new_one_is_none(self):
        self.red(lambda d: get(d).update(security=[{"key": []}]), "one may no longer come in with bearer")
        self.red(lambda d: post(d).update(security=[{"key": []}]), "one may no longer come in with nothing")
        self.red(lambda d: d["components"]["securitySchemes"]["key"].update(name="x-token"), "one may no longer come in with key")
        self.red(lambda d: get(d).update(security=[{"key": [], "bearer": []}]), "come in with key")
        self.green(lambda d: get(d).update(security=[{"key": []}, {"bearer": []}, {}]))
        self.green(lambda d: get(d).update(security=[]))

    def test_words_for_people_do_not_count(self):
        self.green(lambda d: get(d).update(summary="Fetch", description="Fetches."))
        self.green(lambda d: posted(d)["properties"]["call"].update(description="The call.", example="1"))

    def test_what_is_not_known_must_not_change(self):
        self.red(lambda d: posted(d).update({"not": {"required": ["other"]}}), "not was not told")
        self.red(lambda d: get(d).update(callbacks={}), "callbacks was not told")


class Parameters(Described):
    def test_one_that_is_gone_or_moved_is_a_break(self):
        self.red(lambda d: get(d)["parameters"].pop(), "the query parameter wait is gone")
        self.red(lambda d: get(d)["parameters"][1].update({"in": "header"}), "the query parameter wait is gone")

    def test_one_that_is_newly_required_is_a_break(self):
        self.red(lambda d: get(d)["parameters"][1].update(required=True), "the query parameter wait is newly required")
        new = {"name": "client", "in": "query", "required": True, "schema": {"type": "string"}}
        self.red(lambda d: get(d)["parameters"].append(new), "the query parameter client is newly required")
        self.red(lambda d: d["paths"]["/sessions"].update(parameters=[new]), "the query parameter client is newly required")

    def test_the_content_of_one_counts(self):
        text = {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "string"}}}}
        described = {"paths": {"/": {"get": {"parameters": [text], "responses": {}}}}}
        other = copy.deepcopy(described)
        other["paths"]["/"]["get"]["parameters"][0]["content"]["application/json"]["schema"]["type"] = "object"
        self.assertEqual(
            breaks(described, other), ["GET /: query parameter filter: application/json: type is narrower: was string, now object"]
        )

    def test_one_that_may_be_given_is_none(self):
        self.green(lambda d: get(d)["parameters"].append({"name": "client", "in": "query", "schema": {"type": "string"}}))
        self.green(lambda d: get(d)["parameters"][0].update(required=False))

    def test_other_values_are_a_break_unless_there_are_more(self):
        self.red(lambda d: get(d)["parameters"][0].update(schema={"type": "integer"}), "type is narrower: was string, now integer")
        self.red(lambda d: get(d)["parameters"][1]["schema"].update(maximum=20), "maximum is narrower: was 30, now 20")
        self.red(lambda d: get(d)["parameters"][1]["schema"].update(default=5), "the default was 0, now 5")
        self.red(lambda d: get(d)["parameters"][1].update(style="form"), "style was not told, now form")
        self.green(lambda d: get(d)["parameters"][1]["schema"].update(maximum=60))
        self.green(lambda d: get(d)["parameters"][1]["schema"].update(type="number"))


class Requests(Described):
    def test_a_body_that_is_gone_or_newly_required_is_a_break(self):
        self.red(lambda d: post(d).pop("requestBody"), "body: it is gone")
        self.red(lambda d: post(d)["requestBody"].update(required=True), "body: it is newly required")
        body = {"required": True, "content": {"application/json": {"schema": {}}}}
        self.red(lambda d: get(d).update(requestBody=body), "GET /sessions: body: it is newly required")
        self.red(lambda d: post(d)["requestBody"].update(content={"application/xml": {}}), "body: application/json is gone")
        self.red(lambda d: post(d)["requestBody"]["content"]["application/json"].update(encoding={}), "encoding was not told")
        self.green(lambda d: post(d)["requestBody"]["content"].update({"application/xml": {}}))

    def test_a_property_that_is_gone_or_newly_required_is_a_break(self):
        self.red(lambda d: posted(d)["properties"].pop("note"), "the property note is gone")
        self.red(lambda d: posted(d)["required"].append("note"), "the property note is newly required")
        self.green(lambda d: posted(d)["required"].remove("call"))

    def test_a_new_property_is_a_break_if_it_is_required_or_was_a_field_of_the_user(self):
        def require(document):
            posted(document)["properties"]["language"] = {}
            posted(document)["required"].append("language")

        self.red(require, "the property language is newly required")
        self.red(lambda d: posted(d)["properties"].update(language={"type": "string"}), "new property language: type is narrower")
        self.green(lambda d: posted(d)["properties"].update(language={}))

    def test_fewer_values_are_a_break_and_more_are_none(self):
        call, state, age, note = (lambda d, name=name: posted(d)["properties"][name] for name in ("call", "state", "age", "note"))
        self.red(lambda d: call(d).update(type="integer"), "type is narrower: was string, now integer")
        self.red(lambda d: note(d).update(type="string"), 'type is narrower: was ["string", "null"], now string')
        self.red(lambda d: call(d).update(maxLength=20), "maxLength is narrower: was 40, now 20")
        self.red(lambda d: call(d).update(minLength=1), "minLength is narrower: was not told, now 1")
        self.red(lambda d: call(d).update(pattern="^[0-9]+$"), "pattern is narrower")
        self.red(lambda d: call(d).update(format="uuid"), "format is narrower: was not told, now uuid")
        self.red(lambda d: call(d).update(enum=["a"]), 'the values are narrower: were any, now "a"')
        self.red(lambda d: state(d).update(enum=["open"]), 'the values are narrower: were "open", "closed", now "open"')
        self.green(lambda d: state(d).update(enum=["open", "closed", "lost"]))
        self.green(lambda d: call(d).update(maxLength=80))
        self.green(lambda d: call(d).update(type=["string", "null"]))
        self.green(lambda d: age(d).update(format="int64", minimum=-1))

    def test_fields_of_the_user_that_are_no_longer_allowed_or_described_are_a_break(self):
        self.red(lambda d: posted(d).update(additionalProperties=False), "further members: no value is allowed any longer")
        self.red(lambda d: posted(d).update(additionalProperties={"type": "string"}), "further members: type is narrower")
        self.red(lambda d: posted(d).pop("additionalProperties"), "further members are no longer described")


class Answers(Described):
    def test_a_status_media_type_or_header_that_is_gone_is_a_break(self):
        self.red(lambda d: get(d)["responses"].pop("404"), "answer 404: it is gone")
        self.red(lambda d: get(d)["responses"]["200"]["content"].pop("text/plain"), "answer 200: text/plain is gone")
        self.red(lambda d: get(d)["responses"]["200"]["headers"].pop("X-Reason"), "the header X-Reason is gone")
        self.red(lambda d: get(d)["responses"]["200"]["headers"]["X-Reason"].pop("required"), "the header X-Reason may now be missing")
        self.red(lambda d: get(d)["responses"]["200"]["headers"]["X-Reason"].update(schema={}), "header X-Reason: type is wider")

    def test_more_of_them_are_none(self):
        self.green(lambda d: get(d)["responses"].update({"429": {"description": "Too many."}}))
        self.green(lambda d: get(d)["responses"]["200"]["content"].update({"text/html": {}}))
        self.green(lambda d: get(d)["responses"]["404"].update(headers={"X-Reason": {}}))

    def test_a_property_that_is_gone_or_may_be_missing_is_a_break(self):
        self.red(lambda d: stored(d)["properties"].pop("note"), "POST /sessions: answer 200: application/json: the property note is gone")
        self.red(lambda d: stored(d)["required"].remove("call"), "the property call may now be missing")
        self.green(lambda d: stored(d)["required"].append("note"))
        self.green(lambda d: stored(d)["properties"].update(language={"type": "string"}))

    def test_more_or_other_values_are_a_break(self):
        call, state, age, note = (lambda d, name=name: stored(d)["properties"][name] for name in ("call", "state", "age", "note"))
        self.red(lambda d: call(d).update(type="integer"), "type is wider: was string, now integer")
        self.red(lambda d: call(d).update(type=["string", "null"]), "type is wider")
        self.red(lambda d: call(d).pop("type"), "type is wider: was string, now not told")
        self.red(lambda d: call(d).pop("maxLength"), "maxLength is wider: was 40, now not told")
        self.red(lambda d: age(d).update(format="int64"), "format is wider: was int32, now int64")
        self.red(lambda d: age(d).update(minimum=-1), "minimum is wider: was 0, now -1")
        self.red(lambda d: state(d).update(enum=["open", "closed", "lost"]), "the values are wider")
        self.red(lambda d: state(d).update(enum=["open"]), 'values are gone: "closed"')
        self.red(lambda d: state(d).pop("enum"), 'the values are wider: were "open", "closed", now any')
        self.green(lambda d: note(d).update(type="string"))
        self.green(lambda d: call(d).update(maxLength=20, minLength=1))

    def test_fields_of_the_user_that_are_no_longer_described_are_a_break(self):
        self.red(lambda d: stored(d).pop("additionalProperties"), "further members are no longer described")

    def test_further_members_that_were_ruled_out_are_a_break(self):
        def closed(document, further):
            turn = document["components"]["schemas"]["Turn"]
            turn.pop("additionalProperties", None)
            return turn.update(further)

        old = copy.deepcopy(DESCRIPTION)
        closed(old, {"additionalProperties": False})
        for further in ({}, {"additionalProperties": {}}, {"additionalProperties": {"type": "string"}}):
            new = copy.deepcopy(DESCRIPTION)
            closed(new, further)
            self.assertTrue(any("answer 200" in line for line in breaks(old, new)), further)

    def test_what_an_array_holds_counts(self):
        self.red(lambda d: stored(d)["properties"]["turns"].update(items={"type": "string"}), "turns[]: type is wider")

    def test_a_schema_that_holds_itself_is_compared(self):
        turn = lambda d: d["components"]["schemas"]["Turn"]["properties"]
        self.red(lambda d: turn(d).pop("said"), "turns[]: the property said is gone")
        self.green(lambda d: turn(d).update(more={"type": "string"}))

    def test_a_new_alternative_is_a_break_and_one_less_is_none(self):
        choice = lambda d: at(get(d), "responses", "200", "content", "application/json", "schema")
        self.red(lambda d: choice(d)["oneOf"].append({"type": "integer"}), 'the alternative {"type": "integer"} is new')
        self.green(lambda d: choice(d)["oneOf"].pop())
        self.green(lambda d: choice(d).update(anyOf=choice(d).pop("oneOf")))

    def test_what_changed_in_an_alternative_is_told(self):
        self.red(lambda d: d["components"]["schemas"]["Miss"]["required"].clear(), "the property error may now be missing")

    def test_all_of_several_is_one_schema(self):
        def split(document):
            schema = stored(document)
            note = {"properties": {"note": schema["properties"].pop("note")}}
            document["components"]["schemas"]["Note"] = note
            document["components"]["schemas"]["Stored"] = {"allOf": [schema, {"$ref": "#/components/schemas/Note"}]}

        self.green(split)


class Versions(unittest.TestCase):
    def test_a_break_has_to_raise_the_first_number_that_is_not_0(self):
        for old, new in (("0.3.1", "0.4.0"), ("0.3.1", "1.0.0"), ("1.4.2", "2.0.0"), ("0.0.3", "0.0.4"), ("1.4.2", "10.0.0")):
            self.assertTrue(admitted(old, new), f"{old} to {new}")
        for old, new in (("0.3.1", "0.3.2"), ("0.3.1", "0.3.1"), ("1.4.2", "1.5.0"), ("2.0.0", "1.9.0"), ("0.4.0", "0.3.9")):
            self.assertFalse(admitted(old, new), f"{old} to {new}")


class Command(unittest.TestCase):
    def run_with(self, version, change):
        with tempfile.TemporaryDirectory() as folder:
            released, present = pathlib.Path(folder, "released"), pathlib.Path(folder, "present")
            for place in (released, present):
                place.mkdir()
            document = copy.deepcopy(DESCRIPTION)
            (released / "sessions.json").write_text(json.dumps(document), "utf-8")
            document["info"]["version"] = version
            change(document)
            if document["paths"]:
                (present / "sessions.json").write_text(json.dumps(document), "utf-8")
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                status = main(released, present)
            return status, said.getvalue()

    def test_a_break_fails_unless_the_version_says_so(self):
        change = lambda d: get(d)["responses"].pop("404")
        status, said = self.run_with("0.3.2", change)
        self.assertEqual(status, 1)
        self.assertIn("GET /sessions: answer 404: it is gone", said)
        status, said = self.run_with("0.4.0", change)
        self.assertEqual(status, 0)
        self.assertIn("1 break, which the version admits (0.3.1 to 0.4.0)", said)

    def test_additions_pass_and_a_version_that_fell_does_not(self):
        self.assertEqual(self.run_with("0.3.1", lambda d: get(d)["responses"].update({"429": {}}))[0], 0)
        self.assertEqual(self.run_with("0.3.0", lambda d: None)[0], 1)

    def test_a_description_that_is_gone_fails(self):
        status, said = self.run_with("0.4.0", lambda d: d["paths"].clear())
        self.assertEqual(status, 1)
        self.assertIn("sessions.json: the description is gone", said)

    def test_no_released_description_at_all_fails(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(main(folder, folder), 1)


if __name__ == "__main__":
    unittest.main()
