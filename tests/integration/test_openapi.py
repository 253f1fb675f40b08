#!/usr/bin/python3
"""GET /openapi.json is what the OpenAPI Initiative says a document is, and what the daemons really do."""

import json
import re
import unittest

import jsonschema

import landfall_test as lt
from drive_case import DriveCase

SCHEMA = "/usr/share/openapi-specification/schemas/v3.0/schema.json"
WIRE_CONTRACT_ROUTES = 80


class Document(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = cls.instance.api("GET", "/openapi.json")
        cls.operations = [(path, method, operation) for path, methods in cls.document["paths"].items()
                          for method, operation in methods.items()]

    def test_it_is_valid(self):
        with open(SCHEMA) as f:
            schema = json.load(f)
        jsonschema.Draft4Validator.check_schema(schema)
        errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}"
                  for e in jsonschema.Draft4Validator(schema).iter_errors(self.document)]
        self.assertEqual(errors, [])
        self.assertGreater(len(self.operations), WIRE_CONTRACT_ROUTES)

    def test_the_validator_finds_faults(self):
        with open(SCHEMA) as f:
            schema = json.load(f)
        broken = json.loads(json.dumps(self.document))
        del broken["paths"]["/management/clouddrive"]["get"]["responses"]
        self.assertTrue(list(jsonschema.Draft4Validator(schema).iter_errors(broken)))

    def test_references_and_ids(self):
        def references(value):
            if isinstance(value, dict):
                if "$ref" in value:
                    yield value["$ref"]
                for inner in value.values():
                    yield from references(inner)
            elif isinstance(value, list):
                for inner in value:
                    yield from references(inner)

        for reference in set(references(self.document)):
            found = self.document
            for part in reference.removeprefix("#/").split("/"):
                self.assertIn(part, found, reference)
                found = found[part]
        ids = [operation["operationId"] for _, _, operation in self.operations]
        self.assertEqual(len(ids), len(set(ids)))
        for path, method, operation in self.operations:
            named = {p["name"] for p in operation["parameters"] if p.get("in") == "path"}
            if "missing" not in operation["x-policy"]:
                self.assertEqual(named, set(re.findall(r"\{(\w+)\}", path)), f"{method} {path}")

    def test_every_operation_has_a_policy(self):
        for path, method, operation in self.operations:
            policy = set(operation["x-policy"])
            self.assertEqual(len(policy & {"reads", "changes"}), 1, f"{method} {path}")
            self.assertTrue(operation["summary"], f"{method} {path}")

    def test_what_is_missing_says_so(self):
        missing = [(path, method) for path, method, operation in self.operations if "missing" in operation["x-policy"]]
        self.assertTrue(missing)
        for path, method in missing:
            reply = self.instance.request(method.upper(), re.sub(r"\{\w+\}", "x", path))
            self.assertEqual((reply.status, reply.headers["error-code"]), (499, "DEFAULT"), f"{method} {path}")
            self.assertIn("not available in this version", reply.json()["errors"]["DEFAULT"][0])

    def test_replies_have_their_schema(self):
        """Of what can be asked without knowing anything."""
        self.folder_drive("documented")
        looked = 0
        for path, method, operation in self.operations:
            schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
            required = [p for p in operation["parameters"] if p.get("required")]
            if method != "get" or not schema or required or "local" in operation["x-policy"]:
                continue
            reply = self.instance.request("GET", path)
            self.assertEqual(reply.status, 200, path)
            resolver = jsonschema.RefResolver("", self.document)
            jsonschema.Draft4Validator(schema, resolver=resolver).validate(reply.json())
            looked += 1
        self.assertGreater(looked, 6)


if __name__ == "__main__":
    unittest.main()
