#!/usr/bin/python3
"""Every route with everything wrong that can be: the table is made from GET /openapi.json, so a new route is in it by itself.

Whatever comes in, the answer is one of the contract's errors with the right error-code, no process ends, and nothing is changed."""

import collections
import json
import os
import pwd
import re
import unittest
import urllib.parse

import landfall_test as lt
from drive_case import SERVED, DriveCase

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
LONG = 900_000            # below MaxBodyBytes, far above everything that is a name
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW")

# What may come of each kind of fault: statuses, and the error-code they have.
EXPECTED = {
    "wrong method": {405: {"DEFAULT"}},
    "unknown id": {404: {"NOT_FOUND"}, 499: {"DEFAULT"}},
    "missing parameter": {499: {"DEFAULT"}},
    "empty parameter": {499: {"DEFAULT"}},
    "NUL": {400: {"DEFAULT"}, 499: {"DEFAULT", "SECURITY"}},
    "bad escape": {400: {"DEFAULT"}},
    "no UTF-8": {400: {"DEFAULT"}, 404: {"NOT_FOUND"}, 499: {"DEFAULT", "SECURITY"}},
    "traversal": {404: {"NOT_FOUND"}, 499: {"SECURITY"}},
    "no number": {499: {"DEFAULT"}},
    "long": {400: {"DEFAULT"}, 404: {"NOT_FOUND"}, 413: {"DEFAULT"}, 414: {"DEFAULT"}, 431: {"DEFAULT"}, 499: {"DEFAULT", "SECURITY", "FILESYSTEM_ACCESS"}},
    "content type": {415: {"DEFAULT"}},
    "truncated": {400: {"DEFAULT"}},
    "twice": {400: {"DEFAULT"}, 499: {"DEFAULT"}},   # of the same letters; of others
    "deep": {400: {"DEFAULT"}},
    "no object": {400: {"DEFAULT"}, 499: {"DEFAULT"}},
    "wrong type": {499: {"DEFAULT"}},
    "out of range": {400: {"DEFAULT"}, 499: {"DEFAULT"}},
}

# These answer about any path, and say that nothing is there.
ABOUT_ANYTHING = ("/management/exist_clouddrive", "/management/object_encrypt_status", "/management/get_directory_rename_status")
ANY_PATH_KINDS = ("long", "no UTF-8", "traversal")

Case = collections.namedtuple("Case", "kind method path body headers local names")


def wrong_values(schema):
    kind = schema.get("type")
    values = {"string": [1, True, [], {}], "integer": ["1", True, 1.5, [], {}], "boolean": ["true", 1, []], "array": [{}, "x", 1],
              "number": ["1", [], True]}
    return values.get(kind, ["x", 1, []] if "$ref" in schema or kind == "object" else [])


class BadInput(DriveCase):
    arguments = ("--set", "ChangesPerSecond=0")     # however many there are, and however soon they are answered

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive("target")
        with open(os.path.join(cls.bucket, "kept"), "w") as f:
            f.write("as it was")
        account = pwd.getpwnam(SERVED)
        os.chown(os.path.join(cls.bucket, "kept"), account.pw_uid, account.pw_gid)
        cls.document = cls.instance.api("GET", "/openapi.json")
        cls.socket = cls.instance.info()["api_socket"]

    # --- the table --------------------------------------------------------------------------------

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def operations(self):
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                if not {"missing", "websocket"} & set(operation["x-policy"]):
                    yield path, method.upper(), operation

    def filled(self, path, value=UNKNOWN_ID):
        return re.sub(r"\{\w+\}", urllib.parse.quote(value, safe=""), path)

    @staticmethod
    def parameters(operation, where):
        return [p for p in operation["parameters"] if p.get("in") == where]

    def query(self, operation, **other):
        """Its required parameters with values that are about nothing, but for `other`."""
        values = {p["name"]: self.mount + "/none" for p in self.parameters(operation, "query") if p["required"]}
        return "&".join(f"{name}={urllib.parse.quote(value, safe='%/') if isinstance(value, str) else value.decode()}"
                        for name, value in {**values, **other}.items() if value is not None)

    def case(self, kind, method, path, operation, query=None, body=b"{}", headers=None, names=None):
        query = self.query(operation) if query is None else query
        if method in ("GET", "DELETE"):
            body = None
        headers = headers if headers is not None else ({"Content-Type": "application/json"} if body is not None else {})
        return Case(kind, method, path + ("?" + query if query else ""), body, headers, "local" in operation["x-policy"], names)

    def of_methods(self):
        for path, methods in self.document["paths"].items():
            also = [m for other, more in self.document["paths"].items() if re.match(re.sub(r"\{\w+\}", "[^/]+", other) + "$", path)
                    for m in more]
            has = {m.upper() for m in [*methods, *also]}
            for method in METHODS:
                if method not in has:
                    yield Case("wrong method", method, self.filled(path), None, {}, False, None)

    def of_paths(self, path, method, operation):
        if "{" not in path:
            return
        if operation.get("requestBody") is None:
            yield self.case("unknown id", method, self.filled(path), operation)
        yield self.case("NUL", method, path.replace(re.search(r"\{\w+\}", path)[0], "a%00b"), operation)
        yield self.case("bad escape", method, path.replace(re.search(r"\{\w+\}", path)[0], "%zz"), operation)
        yield self.case("no UTF-8", method, path.replace(re.search(r"\{\w+\}", path)[0], "%ff%fe"), operation)

    def of_queries(self, path, method, operation):
        path = self.filled(path)
        for p in self.parameters(operation, "query"):
            name = p["name"]
            if p["required"]:
                yield self.case("missing parameter", method, path, operation, self.query(operation, **{name: None}), names=name)
                yield self.case("empty parameter", method, path, operation, self.query(operation, **{name: ""}))
            yield self.case("NUL", method, path, operation, self.query(operation, **{name: b"/a%00b"}))
            yield self.case("bad escape", method, path, operation, self.query(operation, **{name: b"%q"}))
            yield self.case("long", method, path, operation, self.query(operation, **{name: "/" + "x" * 1_100_000}))
            if p["schema"].get("type") in ("integer", "boolean"):
                for wrong in ("x", "1x", "1.5", "99999999999999999999", " 1"):
                    yield self.case("no number", method, path, operation, self.query(operation, **{name: wrong}), names=name)
            elif p["required"] and name == "path":
                yield self.case("long", method, path, operation, self.query(operation, **{name: self.mount + "/x" * 3000}))
                yield self.case("no UTF-8", method, path, operation, self.query(operation, **{name: (self.mount + "/%ff%fe").encode()}))
                for up in ("/../../../etc/passwd", "/a/../../..", "/..", "/./../.."):
                    yield self.case("traversal", method, path, operation, self.query(operation, **{name: self.mount + up}))

    def of_bodies(self, path, method, operation):
        if "requestBody" not in operation or "application/json" not in operation["requestBody"]["content"]:
            return
        path = self.filled(path)
        for kind, body in (("truncated", b'{"name": "x'), ("truncated", b"{"), ("truncated", b'{"a":1}x'), ("truncated", b""),
                           ("no UTF-8", b'{"name": "\xff\xfe"}'), ("NUL", b'{"name": "\0"}'), ("deep", b"[" * 3000 + b"]" * 3000),
                           ("no object", b"[]"), ("no object", b'"x"'), ("no object", b"1"), ("no object", b"null")):
            yield self.case(kind, method, path, operation, body=body)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", ""):
            yield self.case("content type", method, path, operation, headers={"Content-Type": kind})
        schema = self.resolve(operation["requestBody"]["content"]["application/json"]["schema"])
        for name, inner in schema.get("properties", {}).items():
            for value in wrong_values(inner):
                yield self.case("wrong type", method, path, operation, body=json.dumps({name: value}).encode(), names=name)
            yield self.case("twice", method, path, operation, body=f'{{"{name}": null, "{name}": null}}'.encode())
            yield self.case("twice", method, path, operation, body=f'{{"{name}": null, "{name.upper()}": null}}'.encode())
            if inner.get("type") == "integer":
                for number in ("1e400", "9223372036854775808", "-9223372036854775809", "NaN", "0x10"):
                    yield self.case("out of range", method, path, operation, body=f'{{"{name}": {number}}}'.encode())
            if inner.get("type") == "string":
                yield self.case("NUL", method, path, operation, body=json.dumps({name: "a\0b"}).encode())

    def table(self):
        yield from self.of_methods()
        for path, method, operation in self.operations():
            yield from self.of_paths(path, method, operation)
            yield from self.of_queries(path, method, operation)
            yield from self.of_bodies(path, method, operation)

    # --- what holds -------------------------------------------------------------------------------

    def snapshot(self):
        return {
            "drives": self.instance.api("GET", "/management/clouddrive"),
            "accounts": self.instance.api("GET", "/cloud/accounts"),
            "status": self.instance.api("GET", "/management/agent_status"),
            "transfers": self.instance.api("GET", "/cloud/client_transfer/all"),
            "bucket": sorted(os.listdir(self.bucket)),
            "mount": sorted(os.listdir(self.mount)),
            "home": sorted(os.listdir(pwd.getpwnam(SERVED).pw_dir)) if os.path.isdir(pwd.getpwnam(SERVED).pw_dir) else [],
            "pids": self.instance.info()["pids"],
        }

    def wrong(self, case, reply):
        """What is wrong with the reply, or None."""
        if reply.status == 200 and case.kind in ANY_PATH_KINDS and case.path.split("?")[0] in ABOUT_ANYTHING:
            return None
        if reply.status not in EXPECTED[case.kind]:
            return f"status {reply.status} {reply.body[:200]}"
        try:
            problem = reply.json()
        except ValueError:
            return f"status {reply.status} without JSON: {reply.body[:80]}"
        code = reply.headers["error-code"]
        if reply.headers["Content-Type"] != "application/problem+json" or problem.get("type") != code or \
                problem.get("status") != reply.status or list(problem.get("errors", {})) != [code]:
            return f"shape: {reply.status} {code} {problem}"
        if code not in EXPECTED[case.kind][reply.status]:
            return f"{reply.status} with {code}: {problem['errors'][code]}"
        text = problem["errors"][code][0]
        if len(text) < 10 or self.state_dir in text:
            return f"text: {text}"
        if case.names and case.names.lower() not in text.lower():
            return f"does not name {case.names}: {text}"
        if case.kind == "wrong method" and not reply.headers["Allow"]:
            return "no Allow"
        return None

    def ask(self, case):
        return self.instance.request(case.method, case.path, case.body, case.headers, socket_path=self.socket if case.local else None)

    def test_everything_wrong_on_every_route(self):
        self.state_dir = self.instance.info()["dirs"]["state"]
        before = self.snapshot()
        counts = collections.Counter()
        failures = []
        for case in self.table():
            counts[case.kind] += 1
            wrong = self.wrong(case, self.ask(case))
            if wrong:
                failures.append(f"{case.kind}: {case.method} {case.path[:150]} {(case.body or b'')[:80]}: {wrong}")
        print(f"bad input: {sum(counts.values())} requests", dict(counts))
        self.assertEqual(self.snapshot(), before)
        with open(os.path.join(self.bucket, "kept")) as f:
            self.assertEqual(f.read(), "as it was")
        self.assertEqual(failures, [], f"{len(failures)} of {sum(counts.values())}:\n" + "\n".join(failures[:400]))
        self.assertEqual(set(counts), set(EXPECTED))

    def test_large_strings(self):
        """A mebibyte in each member of each body, which may be right: then it is refused as too long or as unknown, never kept."""
        before = self.snapshot()
        for path, method, operation in self.operations():
            if "requestBody" not in operation or "application/json" not in operation["requestBody"]["content"]:
                continue
            schema = self.resolve(operation["requestBody"]["content"]["application/json"]["schema"])
            for name, inner in schema.get("properties", {}).items():
                if inner.get("type") == "string":
                    reply = self.ask(self.case("long", method, self.filled(path), operation, body=json.dumps({name: "x" * LONG}).encode()))
                    self.assertTrue(400 <= reply.status < 500, f"{method} {path} {name}: {reply.status} {reply.body[:100]}")
        self.assertEqual(self.snapshot(), before)


if __name__ == "__main__":
    unittest.main()
