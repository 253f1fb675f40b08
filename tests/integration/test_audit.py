#!/usr/bin/python3
"""The audit log of real daemons: whose call it was over TCP and the Unix socket, without tokens, verified by the command."""

import json
import os
import pwd
import re
import signal
import unittest

import landfall_test as lt
from drive_case import DriveCase

CANARY = "canary-token-41d8cd98f00b"


class Audit(DriveCase):
    def lines(self, since=0):
        reply = self.instance.request("GET", f"/management/audit?since={since}", socket_path=self.instance.info()["api_socket"])
        self.assertEqual(reply.status, 200)
        return reply.json()

    def last(self):
        return max((line["seq"] for line in self.lines()), default=0)

    def calls(self, since, endpoint):
        """(call, result) of each call of the endpoint, once it has both."""
        def both():
            lines = self.lines(since)
            results = {line["call"]: line for line in lines if "status" in line}
            found = [(line, results.get(line["call"])) for line in lines if line.get("endpoint") == endpoint]
            return found if found and all(result for _, result in found) else None
        return lt.wait_until(both, 20, f"the lines of {endpoint}")

    def test_who_called(self):
        since = self.last()
        port, socket = self.instance.info()['port'], self.instance.info()["api_socket"]
        lt.run("curl", "-s", "-X", "POST", f"http://localhost:{port}/management/command/9?token={CANARY}&x=a%20b", user=None)
        lt.run("curl", "-s", "-X", "POST", "--unix-socket", socket, f"http://localhost:{port}/management/command/7", user="landfall")
        (tcp, refused), = self.calls(since, "/management/command/9")
        self.assertEqual((tcp["uid"], tcp["method"], tcp["query"]), (0, "POST", "x=a b"))
        self.assertEqual((refused["status"], refused["error"]), (499, "DEFAULT"))
        (local, _), = self.calls(since, "/management/command/7")
        account = pwd.getpwnam("landfall")
        self.assertEqual(local["uid"], account.pw_uid)
        self.assertGreater(local["pid"], 1)
        self.instance.api("GET", "/management/agent_status")
        self.assertEqual([line for line in self.lines(since) if line.get("endpoint") == "/management/agent_status"], [])
        self.assertNotIn(CANARY, json.dumps(self.lines()))

    def test_what_is_read_is_written(self):
        """Parameters that nobody reads, or that stand there again, push none out of the line."""
        long = "x" * 5000
        for query in (f"junk={long}&path=/first", f"path=/second&junk={long}", f"PATH=/third&path={long}&{long}=1"):
            since = self.last()
            self.instance.request("POST", f"/management/object_accept?{query}")
            (call, _), = self.calls(since, "/management/object_accept")
            self.assertRegex(call["query"], "^path=/(first|second|third)(&|$)", query[:20])

    def test_the_program_of_a_waiting_caller(self):
        """It is there to be found as long as it waits for its answer."""
        since = self.last()
        program = lt.run("sh", "-c", "readlink -f /usr/bin/curl").stdout.strip()
        mount, _ = self.folder_drive("waits")
        lt.run("curl", "-s", "-X", "POST", f"http://localhost:{self.instance.info()['port']}/management/object_accept?path={mount}/none")
        (call, _), = self.calls(since, "/management/object_accept")
        if "exe" in call:   # root's programs are not for the served user to look into
            self.assertEqual(call["exe"], program)

    def test_strangers_are_not_in_it(self):
        since = self.last()
        lt.run("curl", "-s", "-X", "POST", f"http://localhost:{self.instance.info()['port']}/management/command/5", user="nobody")
        self.instance.request("POST", "/management/command/6", headers={"Origin": "http://evil.test"})
        self.instance.request("POST", "/management/command/3")
        self.calls(since, "/management/command/3")
        self.assertEqual([line for line in self.lines(since) if line.get("endpoint", "").endswith(("/5", "/6"))], [])

    def test_the_command(self):
        self.instance.request("POST", "/management/command/3")
        self.calls(0, "/management/command/3")
        said = self.instance.landfall("audit", "list")
        self.assertRegex(said.stdout, r"uid 0 .* POST /management/command/3  499 DEFAULT")
        said = self.instance.landfall("audit", "verify")
        head = re.search("head ([0-9]+:[0-9a-f]{64})", said.stdout).group(1)
        self.assertIn("as they were written", said.stdout)
        for name in ("syncd", "frontd"):
            self.instance.restart(name, signal.SIGKILL)
        lt.wait_until(lambda: self.instance.request("POST", "/management/command/3").status == 499, 20, "the API")
        self.assertEqual(self.instance.landfall("audit", "verify", "--head", head).returncode, 0)
        wrong = head[:-1] + ("0" if head[-1] != "0" else "1")
        self.assertEqual(self.instance.landfall("audit", "verify", "--head", wrong, check=False).returncode, 1)

    def test_a_changed_line(self):
        self.instance.request("POST", "/management/command/3")
        self.calls(0, "/management/command/3")
        folder = os.path.join(self.instance.info()["dirs"]["state"], "audit")
        path = os.path.join(folder, sorted(os.listdir(folder))[-1])
        with open(path, "rb") as f:
            whole = f.read()
        with open(path, "wb") as f:
            f.write(whole.replace(b'"uid":0', b'"uid":7', 1))
        said = self.instance.landfall("audit", "verify", check=False)
        with open(path, "wb") as f:
            f.write(whole)
        self.assertEqual(said.returncode, 1)
        self.assertIn("not the one that was written there", said.stderr)

    def test_not_over_the_port(self):
        for path in ("/management/audit", "/management/audit_verify"):
            self.assertEqual(self.instance.request("GET", path, port=self.instance.info()['port']).status, 403, path)


if __name__ == "__main__":
    unittest.main()
