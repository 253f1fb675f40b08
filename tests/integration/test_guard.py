#!/usr/bin/python3
"""Who may ask: every route that /openapi.json names refuses a foreign Host, a foreign Origin and another user."""

import os
import unittest

import landfall_test as lt
from drive_case import DriveCase

METHODS = ("get", "put", "post", "delete", "patch", "head")


class Guard(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.port = cls.instance.info()["port"]
        paths = cls.instance.api("GET", "/openapi.json")["paths"]
        cls.routes = [(method.upper(), path.replace("{", "").replace("}", "")) for path, methods in paths.items()
                      for method in methods if method in METHODS]

    def refused(self, allowed, **headers):
        for method, path in self.routes:
            body = {} if method in ("POST", "PUT") else None
            names = {k.replace("_", "-"): v for k, v in headers.items()}
            reply = self.instance.request(method, path, body, names)
            self.assertIn(reply.status, allowed, f"{method} {path} {headers}")
            self.assertNotIn("Access-Control-Allow-Origin", reply.headers, f"{method} {path} {headers}")

    def test_there_are_routes(self):
        self.assertGreaterEqual(len(self.routes), 19)

    def test_foreign_hosts(self):
        for host in ("evil.test", f"evil.test:{self.port}", f"localhost.evil.test:{self.port}", f"127.0.0.1.nip.io:{self.port}",
                     f"localhost.:{self.port}", f"LOCALHOST:{self.port}@evil.test", f"0.0.0.0:{self.port}", f"2130706433:{self.port}",
                     f"0x7f.1:{self.port}", f"localhost:{self.port + 1}", "localhost"):
            self.refused((400, 403, 421), Host=host)

    def test_foreign_origins(self):
        for origin in ("http://evil.test", f"http://evil.test:{self.port}", "null", f"https://localhost:{self.port}",
                       f"http://localhost:{self.port + 1}", f"http://localhost:{self.port}.evil.test"):
            self.refused((403,), Origin=origin)

    def test_cross_site_requests_without_an_origin(self):
        for site in ("cross-site", "same-site"):
            self.refused((403,), Sec_Fetch_Site=site)

    def test_another_user(self):
        api = os.path.join(self.instance.dir, "run", "api.sock")
        for extra in ([], ["--unix-socket", api]):
            for method, path in self.routes:
                done = lt.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *extra, "-X", method, "-H", "Content-Type: application/json",
                              *(["-d", "{}"] if method in ("POST", "PUT") else []), f"http://localhost:{self.port}{path}", user="nobody")
                self.assertIn(done.stdout, ("401", "403"), f"{method} {path} {extra}")

    def test_own_origin_and_own_hosts_pass(self):
        for host in (f"localhost:{self.port}", f"127.0.0.1:{self.port}", f"[::1]:{self.port}"):
            reply = self.instance.request("GET", "/management/agent_status", headers={"Host": host})
            self.assertEqual(reply.status, 200, host)
        own = self.instance.request("GET", "/management/agent_status", headers={"Origin": f"http://localhost:{self.port}"})
        self.assertEqual(own.status, 200)

    def test_every_route_exists(self):
        for method, path in self.routes:
            if path == "/management/command/cmd":
                continue
            self.assertNotEqual(self.instance.request(method, path, {} if method in ("POST", "PUT") else None).status, 405,
                                f"{method} {path}")

    def test_forms_and_plain_text_are_no_requests(self):
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
            reply = self.instance.request("POST", "/management/clouddrive", b'{"name": "x"}', {"Content-Type": kind})
            self.assertEqual(reply.status, 415, kind)


if __name__ == "__main__":
    unittest.main()
