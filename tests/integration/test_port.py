#!/usr/bin/python3
"""Another user at our port: before the agent starts, while parts of it restart, where IPv6 comes later, with every option that lets
ports be shared. The agent refuses to start and says so, or has the port; and who asks it can tell whether he talks to it."""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import unittest

import landfall_test as lt
import wire
from drive_case import SERVED, DriveCase
from landfall_test import needs_root, wait_until
from test_supervisor import Supervised

STRANGER = "nobody"
PLACES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")]
SHARING = [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]

# Run as another user in our network namespace: tries to have the port on every address and in every way, and says how often it did.
SQUATTER = """
import itertools, json, socket, sys, time
port, places, sharing, until = json.loads(sys.argv[1])
tried = had = 0
end = time.monotonic() + until
while not tried or time.monotonic() < end:
    for (family, address), options, only, free in itertools.product(places, sharing, (0, 1), (0, 1)):
        with socket.socket(family) as s:
            for option in options:
                s.setsockopt(socket.SOL_SOCKET, option, 1)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                s.setsockopt(socket.IPPROTO_IPV6, 78, free)
            tried += 1
            try:
                s.bind((address, port))
                s.listen()
                had += 1
            except OSError:
                pass
print(json.dumps([tried, had]))
"""


def squat(port, seconds=0, starter=()):
    """How often it was tried, and with success."""
    argument = json.dumps([port, PLACES, SHARING, seconds])
    return subprocess.Popen([*starter, *lt.as_user(STRANGER), "/usr/bin/python3", "-c", SQUATTER, argument], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True, env=lt.clean_env())


def result(process):
    out, _ = process.communicate(timeout=60)
    return json.loads(out)


@needs_root
class Squatted(Supervised):
    def refused(self, port):
        self.instance.spawn("--port", str(port))
        self.assertEqual(self.instance.process.wait(20), 1)
        self.assertIn(f"Port {port} on this machine's loopback address is taken by another program; stop that one, or choose another port "
                      "with --port N.", self.instance.said())
        self.assertFalse(os.path.exists(os.path.join(self.instance.dir, "instance.json")))
        self.assertEqual([name for name in os.listdir(self.control) if name.endswith(".json")], [])

    def test_who_was_there_before(self):
        """No daemon is started, and no other port is taken."""
        for family, address in PLACES:
            for options in SHARING:
                with self.subTest(address=address, options=options), wire.user(STRANGER), socket.socket(family) as s:
                    for option in options:
                        s.setsockopt(socket.SOL_SOCKET, option, 1)
                    s.bind((address, 0))
                    s.listen()
                    with self.as_root():
                        self.refused(s.getsockname()[1])

    @contextlib.contextmanager
    def as_root(self):
        os.seteuid(0)
        os.setegid(0)
        yield

    def test_who_has_bound_and_waits_with_listening(self):
        """Two that do not listen may have one port; who listens first has it alone."""
        for family, address in PLACES:
            with self.subTest(address), socket.socket(family) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, 0))
                port = s.getsockname()[1]
                self.instance.spawn("--port", str(port))
                wait_until(lambda: self.instance.process.poll() is not None or self.instance.ready(), 20, "one of both")
                if self.instance.process.poll() is None:
                    with self.assertRaises(OSError):
                        s.listen()
                    self.instance.stop()
                else:
                    self.assertIn("is taken by another program", self.instance.said())

    def test_nobody_else_while_it_runs_and_restarts(self):
        self.instance.start()
        port = self.instance.info()["port"]
        squatter = squat(port, 3)
        for _ in range(3):
            before = self.instance.pid("frontd")
            os.kill(before, signal.SIGKILL)
            self.next_pid("frontd", before)
        tried, had = result(squatter)
        self.assertGreater(tried, 50)
        self.assertEqual(had, 0)
        self.assertEqual(self.instance.info()["port"], port)

    def test_after_all_of_it_was_killed(self):
        """The port is anybody's then. The command asks at the Unix socket alone, and a new start says who is there."""
        self.instance.start()
        port = self.instance.info()["port"]
        pids = [pid for pid in self.instance.info()["pids"].values()]
        self.instance.process.kill()
        self.instance.process.wait()
        wait_until(lambda: not any(lt.alive(pid) for pid in pids), 20, "the end of all")
        with wire.user(STRANGER), socket.create_server(("127.0.0.1", port)) as s:
            with self.as_root():
                self.assertNotEqual(self.instance.landfall("status", check=False).returncode, 0)
                done = self.instance.landfall("drive", "list", check=False)
                self.assertIn("Landfall does not answer at", done.stderr)
                s.setblocking(False)
                with self.assertRaises(BlockingIOError):
                    s.accept()
                found = json.loads(self.instance.landfall("doctor", "--json", check=False).stdout)
                self.assertIn(f"Port {port} is taken by another program", next(f["text"] for f in found if f["check"] == "port"))
                self.instance.spawn("--port", str(port))
                self.assertEqual(self.instance.process.wait(20), 1)
        self.instance.start("--port", str(port))

    def test_the_unix_socket_is_nobody_elses(self):
        self.instance.start()
        path = self.instance.info()["api_socket"]
        with wire.user(STRANGER):
            for way in (lambda: os.unlink(path), lambda: os.rename(path, path + "x"), lambda: os.rename(os.path.dirname(path), "/tmp/x"),
                        lambda: socket.socket(socket.AF_UNIX).bind(path + "x"), lambda: open(os.path.join(self.instance.dir, "instance.json"), "a")):
                with self.assertRaises(OSError):
                    way()


@needs_root
class Later(Supervised):
    """A machine on which IPv6 is off while the agent starts."""

    def inside(self, *argv):
        return ["nsenter", f"--net=/proc/{self.instance.process.pid}/ns/net", "--", *argv]

    def test_ipv6_that_comes_later(self):
        self.instance.starter = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && '
                                 'exec "$@"', "sh"]
        self.instance.start()
        port = self.instance.info()["port"]
        self.assertNotIn("::1", lt.run(*self.inside("ip", "-6", "address")).stdout)
        tried, had = result(squat(port, starter=self.inside()))
        self.assertGreater(tried, 10)
        self.assertEqual(had, 0)
        for name in ("all", "lo"):
            lt.run(*self.inside("sh", "-c", f"echo 0 >/proc/sys/net/ipv6/conf/{name}/disable_ipv6"))
        wait_until(lambda: "::1" in lt.run(*self.inside("ip", "-6", "address")).stdout, 10, "the address")
        self.assertEqual(result(squat(port, starter=self.inside()))[1], 0)
        connect = f"import socket; socket.create_connection(('::1', {port}))"
        lt.run(*self.inside("/usr/bin/python3", "-c", connect))


class Pretender(http.server.BaseHTTPRequestHandler):
    """Answers whatever it is asked with what it was asked with."""

    def do_GET(self):
        body = json.dumps(self.path.partition("nonce=")[2]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Proof(DriveCase):
    """Who asks at the port finds out whether it is the agent that he asks."""

    NONCE = "0123456789abcdef-_Z"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = cls.instance.info()["api_socket"]
        cls.port = cls.instance.info()["port"]

    def proof(self, nonce, **where):
        return self.instance.request("GET", "/management/proof?nonce=" + nonce, **where)

    def test_both_doors_say_the_same(self):
        wanted = self.proof(self.NONCE, socket_path=self.api).json()
        self.assertRegex(wanted, "^[0-9a-f]{32}$")
        self.assertEqual(self.proof(self.NONCE).json(), wanted)
        self.assertEqual(self.proof(self.NONCE, socket_path=self.api).json(), wanted)
        self.assertNotEqual(self.proof(self.NONCE + "1", socket_path=self.api).json(), wanted)

    def test_the_port_says_nothing_first(self):
        reply = self.proof("asked-at-the-port-first")
        self.assertEqual((reply.status, "over the Unix socket" in reply.body.decode()), (499, True))

    def test_nonces_that_others_guess(self):
        for nonce in ("", "short", "x" * 65, "with space 0123456789", "%00" * 20, "ü" * 20):
            self.assertEqual(self.proof(urlencoded(nonce), socket_path=self.api).status, 499 if "%00" not in nonce else 400, nonce)

    def test_old_ones_are_forgotten(self):
        first = self.proof("the-first-of-many", socket_path=self.api).json()
        for i in range(64):
            self.proof(f"one-of-many-{i:08}", socket_path=self.api)
        self.assertEqual(self.proof("the-first-of-many").status, 499)
        self.assertNotEqual(self.proof("the-first-of-many", socket_path=self.api).json(), first)

    def documented(self, port):
        """The lines of the page, for whoever listens there."""
        with open(os.path.join(lt.SOURCE, "docs", "API.md"), encoding="utf-8") as f:
            script = next(block for block in f.read().split("```") if block.startswith("sh\n") and "management/proof" in block)[3:]
        env = lt.clean_env(API=f"http://localhost:{port}", SOCKET=self.api)
        return lt.run("sh", "-c", script.replace("${API##*:}", str(self.port)), env=env, user=SERVED, check=False).returncode

    def test_the_lines_of_the_page(self):
        self.assertEqual(self.documented(self.port), 0)
        self.assertNotEqual(self.documented(self.pretender()), 0)

    def pretender(self):
        with wire.user(STRANGER):
            server = http.server.HTTPServer(("127.0.0.1", 0), Pretender)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        return server.server_port

    def doctor(self, user):
        done = lt.run(os.path.join(self.instance.bin, "landfall"), "doctor", "--json", "--dir", self.instance.dir, user=user, check=False)
        return [(f["verdict"], f["text"]) for f in json.loads(done.stdout) if f["check"] == "port"]

    def test_doctor_knows_the_agent(self):
        for user in (None, SERVED):
            self.assertEqual(self.doctor(user), [("ok", f"Port {self.port} is Landfall's.")], user)

    def test_doctor_knows_a_pretender(self):
        """As if the port that the agent had were another one's now."""
        path = os.path.join(self.instance.dir, "instance.json")
        port = self.pretender()
        with open(path, encoding="utf-8") as f:
            before = f.read()
        try:
            with open(path, "w", encoding="utf-8") as f:
                f.write(json.dumps({**json.loads(before), "port": port}))
            for user in (None, SERVED):
                verdict, text = self.doctor(user)[0]
                self.assertEqual(verdict, "fail")
                self.assertIn(f"Port {port} is taken by another program", text)
        finally:
            with open(path, "w", encoding="utf-8") as f:
                f.write(before)


def urlencoded(text):
    return "".join(c if c.isascii() and c not in " " else "".join(f"%{b:02x}" for b in c.encode()) for c in text)


if __name__ == "__main__":
    unittest.main()
