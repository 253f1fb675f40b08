#!/usr/bin/python3
"""docs/SECURITY.md says of each attack what protects from it and which tests prove it: they are there, and all of them run. Here are
those of them that go through the route table: what a program or a page can send to each route that there is."""

import contextlib
import glob
import http.client
import importlib
import json
import os
import re
import socket
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase
from landfall_test import wait_until
from raw_s3 import RawS3

PAGE = os.path.join(lt.SOURCE, "docs", "SECURITY.md")
ATTACKS = [*range(1, 13), 17, 18, 19, 26, 29]
EVERY_ROUTE = {1, 2, 3, 5, 7}          # of these a test goes through the route table
CANARY = "canary-7c41d09e"
STRANGER = "nobody"
FORM = "/cloud/upload_object_from_form"        # the one body that pages may send: from where, is all that is asked there
FOREIGN = ("http://evil.test", "https://localhost", "null", "file://", "http://localhost.evil.test", "chrome-extension://abc")


def rows():
    """Of the table: number to (attack, what protects, names of tests)."""
    with open(PAGE, encoding="utf-8") as f:
        section = f.read().partition("\n## Attacks, and what proves that they fail\n")[2].partition("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in section.splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(number): (attack, protects, re.findall(r"`([^`]+)`", tests)) for number, attack, protects, tests in found}


def read(*path):
    with open(os.path.join(lt.SOURCE, *path), encoding="utf-8") as f:
        return f.read()


def integration_test(name):
    """Whether there is such a test."""
    module, class_name, test = name.split(".")
    if not os.path.exists(os.path.join(lt.SOURCE, "tests", "integration", module + ".py")) or not test.startswith("test_"):
        return False
    case = getattr(importlib.import_module(module), class_name, None)
    return isinstance(case, type) and issubclass(case, unittest.TestCase) and callable(getattr(case, test, None))


def unit_test(name):
    """Whether its module is built, defines it and runs it."""
    module, test = name.removeprefix("unit/").split(".")
    path = os.path.join(lt.SOURCE, "tests", "unit", module + ".c")
    if not os.path.exists(path) or f"tests/unit/{module}" not in read("tests", "local.mk"):
        return False
    text = read("tests", "unit", module + ".c")
    return f"static void {test}(void **state)" in text and re.search(rf"(unit_test\w*|\bTEST)\({test}\b", text) is not None


def fuzzer(name):
    return os.path.exists(os.path.join(lt.SOURCE, "tests", "fuzz", name.removeprefix("fuzz/") + ".c")) and \
        f"tests/fuzz/{name.removeprefix('fuzz/')}" in read("tests", "local.mk")


def exists(name):
    return unit_test(name) if name.startswith("unit/") else fuzzer(name) if name.startswith("fuzz/") else integration_test(name)


class Table(unittest.TestCase):
    def test_every_attack_is_in_it(self):
        self.assertEqual(list(rows()), ATTACKS)
        for number, (attack, protects, tests) in rows().items():
            with self.subTest(number):
                self.assertTrue(len(attack) > 10 and len(protects) > 20 and tests)

    def test_each_test_is_there(self):
        for number, (_, _, tests) in rows().items():
            for name in tests:
                with self.subTest(f"{number}: {name}"):
                    self.assertTrue(exists(name), f"there is no {name}")

    def test_those_of_every_route_go_through_the_route_table(self):
        for number in EVERY_ROUTE:
            with self.subTest(number):
                self.assertTrue([name for name in rows()[number][2] if name.startswith("test_threats.Routes.")])

    def test_each_module_is_in_the_tarball(self):
        listed = read("tests", "local.mk")
        for name in {name.split(".")[0] for _, _, tests in rows().values() for name in tests if name.startswith("test_")}:
            self.assertIn(f"tests/integration/{name}.py", listed)

    def test_what_is_gone_is_noticed(self):
        for name in ("test_threats.Table.test_that_is_gone", "test_none.Table.test_x", "test_threats.None.test_x", "test_threats.Table.maxDiff",
                     "unit/test_http.gone", "unit/test_none.gone", "unit/test_http.set_up", "fuzz/fuzz_none"):
            self.assertFalse(exists(name), name)


class Routes(DriveCase):
    """All of GET /openapi.json, so a new route is in it by itself; that each has a policy, unit/test_route holds."""

    arguments = ("--set", "CorsOrigins=https://app.example.org", "--set", "ChangesPerSecond=0")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, _ = cls.folder_drive()
        cls.port = cls.instance.info()["port"]
        cls.ours = f"localhost:{cls.port}"
        cls.socket = cls.instance.info()["api_socket"]
        paths = cls.instance.api("GET", "/openapi.json")["paths"]
        cls.routes = [(method.upper(), re.sub(r"\{\w+\}", "x", path), operation["x-policy"])
                      for path, methods in paths.items() for method, operation in methods.items()]
        cls.pids = cls.instance.info()["pids"]
        cls.drives = cls.instance.api("GET", "/management/clouddrive")

    def tearDown(self):
        self.assertEqual(self.instance.info()["pids"], self.pids)
        self.assertEqual(self.instance.api("GET", "/management/clouddrive"), self.drives)
        self.assertEqual(self.instance.api("GET", "/management/agent_status"), 1)

    def ask(self, method, target, *fields, host=None, body=b""):
        """Status and fields of the reply to a request as it stands."""
        lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host or self.ours}"] if host != "" else []), *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 30)) as s:
            s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            reply = http.client.HTTPResponse(s, method=method)
            reply.begin()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}

    def test_there_are_routes(self):
        self.assertGreater(len(self.routes), 90)
        for method, path, policy in self.routes:
            self.assertEqual(len({"reads", "changes"} & set(policy)), 1, f"{method} {path}")
        changing = {path for method, path, policy in self.routes if method == "GET" and "changes" in policy}
        self.assertLessEqual({"/management/clouddrive/sync/x", "/management/object_download", "/management/object_make_offline"}, changing)

    # --- 1 -------------------------------------------------------------------------------------------

    def test_hosts(self):
        """Also of what asks to become a WebSocket."""
        p = self.port
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        hosts = ["evil.test", f"localhost.evil.test:{p}", f"127.0.0.1.nip.io:{p}", f"localhost.:{p}", f"LOCALHOST:{p}@evil", " ", f"0.0.0.0:{p}",
                 f"2130706433:{p}", f"0x7f000001:{p}", f"0177.0.0.1:{p}", f"127.1:{p}", f"127.0.0.2:{p}", f"localhost:{p + 1}", "localhost",
                 f"[::ffff:127.0.0.1]:{p}", f"[::]:{p}", f"[::1%lo]:{p}", f"localhost:{p},evil.test", f"localhost:{p}/", f"localhost:0{p}"]
        for method, path, _ in self.routes:
            for host in hosts:
                for fields in ((), upgrade):
                    self.assertEqual(self.ask(method, path, *fields, host=host)[0], 421, f"{method} {path} {host} {fields}")

    # --- 2 -------------------------------------------------------------------------------------------

    def test_what_pages_can_send_without_asking(self):
        """Forms, images, sendBeacon, navigations, fetch(no-cors): what they say of themselves, on what can change something."""
        for method, path, policy in self.routes:
            if "changes" not in policy:
                continue
            for fields in (("Referer: http://evil.test/page",), (f"Referer: http://localhost:{self.port}.evil.test/",), ("Referer: nonsense",),
                           ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
                           ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate"), ("Origin: http://evil.test",), ("Origin: null",)):
                self.assertEqual(self.ask(method, path, *fields)[0], 403, f"{method} {path} {fields}")

    def test_bodies_that_pages_can_send_without_asking(self):
        body = b'{"name": "evil"}'
        for method, path, policy in self.routes:
            if method not in ("POST", "PUT") or {"missing", "local"} & set(policy) or path == FORM:
                continue
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json"):
                self.assertEqual(self.ask(method, path, f"Content-Type: {kind}", body=body)[0], 415, f"{method} {path} {kind}")
            self.assertEqual(self.ask(method, path, body=body)[0], 415, f"{method} {path} without a type")

    # --- 3 -------------------------------------------------------------------------------------------

    def test_preflights_and_origins(self):
        asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-evil", "Access-Control-Request-Private-Network: true")
        for path in {path for _, path, _ in self.routes}:
            for origin in FOREIGN:
                for method, more in (("OPTIONS", asks), ("GET", ())):
                    status, fields = self.ask(method, path, f"Origin: {origin}", *more)
                    self.assertEqual(status, 403, f"{method} {path} {origin}")
                    self.assertFalse([name for name in fields if name.startswith("access-control-")], f"{path} {origin} {fields}")
            status, fields = self.ask("OPTIONS", path, "Origin: https://app.example.org", *asks)
            self.assertEqual(fields.get("access-control-allow-origin"), "https://app.example.org", path)
            self.assertNotIn("access-control-allow-private-network", fields, path)
            self.assertNotIn("access-control-allow-credentials", fields, path)

    # --- 5 -------------------------------------------------------------------------------------------

    def test_root_of_a_user_namespace(self):
        """As in a container with the host's network: root there is another user here."""
        script = """
import json, socket, sys
port, api, routes = json.load(sys.stdin)
for where in (("127.0.0.1", port), ("::1", port), api):
    for method, path in routes:
        s = socket.socket(socket.AF_UNIX) if isinstance(where, str) else socket.create_connection(where)
        if isinstance(where, str):
            s.connect(where)
        s.settimeout(20)
        s.sendall(f"{method} {path} HTTP/1.1\\r\\nHost: localhost:{port}\\r\\n\\r\\n".encode())
        print(s.recv(4096).split(b" ")[1].decode())
"""
        ask = json.dumps([self.port, self.socket, [(method, path) for method, path, _ in self.routes]])
        inside = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--", "/usr/bin/python3", "-c", script]
        if lt.run("unshare", "--user", "--map-root-user", "true", user=STRANGER, check=False).returncode:
            self.skipTest("users may make no namespaces here")
        out = lt.run(*inside, user=STRANGER, input=ask).stdout
        self.assertEqual(out.split(), ["401"] * 3 * len(self.routes))

    # --- 7 and 29 ------------------------------------------------------------------------------------

    def everything_kept(self):
        """Of the instance: logs, databases, the audit log."""
        for folder in ("log", "state", "run"):
            for path in glob.glob(os.path.join(self.instance.dir, folder, "**"), recursive=True):
                if os.path.isfile(path):
                    with open(path, "rb") as f:
                        yield path, f.read()
        with open(os.path.join(self.instance.dir, "supervisor.out"), "rb") as f:
            yield f.name, f.read()

    def test_tokens(self):
        """In the query of every route, let through and not."""
        for method, path, policy in self.routes:
            target = f"{path}?token={CANARY}"
            for fields in ((), ("Origin: http://evil.test",), (f"Referer: http://{self.ours}/?token={CANARY}",)):
                _, head = self.ask(method, target, *fields)
                self.assertEqual((head["cache-control"], head["referrer-policy"]), ("no-store", "no-referrer"), f"{method} {path}")
                self.assertNotIn(CANARY, str(head))
            if "local" in policy:
                self.instance.request(method, target, socket_path=self.socket)
        wait_until(lambda: "drive_keys_destroy" in self.instance.log("frontd"), 10, "the last of them")
        for path, content in self.everything_kept():
            self.assertNotIn(CANARY.encode(), content, path)
        for pid in self.pids.values():
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                self.assertNotIn(CANARY.encode(), f.read())

    def test_nothing_from_outside_makes_a_line_or_steers_a_terminal(self):
        odd = "%0a%3c3%3elandfall%20forged%20by=evil%0d%1b%5b2J%1b%5d0;evil%07%c2%9b2J"
        for method, path, _ in self.routes:
            self.ask(method, path.replace("/x", "/" + odd) if "/x" in path else f"{path}/{odd}", f"X-App-Origin: {odd}")
            self.ask(method, f"{path}?path={odd}&name={odd}", "User-Agent: \x1b[2J", "Origin: http://evil.test/\x1b]0;x")
        name = "file\nlandfall forged\x1b[2J\x9b"
        with open(os.path.join(self.mount, name), "w", encoding="utf-8") as f:
            f.write("x")
        self.instance.wait_uploaded(os.path.join(self.mount, name))
        for daemon in lt.DAEMONS:
            text = self.instance.log(daemon)
            self.assertEqual(re.findall(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]", text), [], daemon)
            self.assertEqual([line for line in text.splitlines() if re.search(r"^(<\d>)?landfall forged", line)], [], daemon)

    # --- 8 -------------------------------------------------------------------------------------------

    def test_nothing_is_configured_or_debugged_by_calls(self):
        held = lt.run(os.path.join(self.instance.bin, "landfall"), "config", "--dir", self.instance.dir).stdout
        for word in ("config", "option", "setting", "debug", "pprof", "auth", "trace", "log"):
            self.assertEqual([path for _, path, _ in self.routes if word in re.split("[/_]", path)], [], word)
        for method, path, policy in self.routes:
            if "missing" not in policy and "/command/" not in path:
                self.ask(method, path, "Content-Type: application/json", body=b'{"CorsOrigins": ["*"], "corsOrigins": "*", "User": "nobody"}')
        self.assertEqual(lt.run(os.path.join(self.instance.bin, "landfall"), "config", "--dir", self.instance.dir).stdout, held)
        self.assertEqual(self.ask("GET", "/management/agent_status", "Origin: http://evil.test")[0], 403)


class Limits(unittest.TestCase):
    def test_units_have_limits(self):
        """Of tasks each, of memory those whose memory nobody else's files count for."""
        for daemon in lt.DAEMONS:
            unit = read("systemd", f"landfall-{daemon}@.service.in")
            self.assertRegex(unit, r"(?m)^TasksMax=\d+$", daemon)
            if daemon in ("frontd", "cryptd"):
                self.assertRegex(unit, r"(?m)^MemoryMax=\d+M$", daemon)


class Presigned(DriveCase):
    def test_urls_are_in_no_log(self):
        server = lt.Radosgw.shared()
        bucket = server.make_bucket("lf-threats")
        RawS3(server, bucket).put("key-" + CANARY, b"x")
        account = self.instance.add_s3_account(server)
        url = self.instance.api("POST", "/cloud/generate_download_url", {"cloudAccountId": account["id"], "storageName": bucket,
                                                                       "key": "key-" + CANARY})
        signature = re.search(r"X-Amz-Signature=([0-9a-f]{64})", url).group(1)
        for name in os.listdir(os.path.join(self.instance.dir, "log")):
            with open(os.path.join(self.instance.dir, "log", name), encoding="utf-8", errors="replace") as f:
                text = f.read()
            self.assertNotIn(signature, text, name)
            self.assertNotIn(CANARY, text, name)
        self.assertNotIn(signature, str(self.instance.request("GET", "/management/audit", socket_path=self.instance.info()["api_socket"]).body))


if __name__ == "__main__":
    unittest.main()
