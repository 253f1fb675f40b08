#!/usr/bin/python3
"""The real frontd under the real supervisor, with stand-ins behind it: what bytes on the wire can and cannot do.

test_guard.py asks politely, through HTTP libraries; here requests are written by hand, other users
connect by themselves, and nobody waits for answers."""

import contextlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

import landfall_test as lt

FAKE = os.path.join(os.path.dirname(__file__), "fake_daemon.py")
STRANGER = "nobody"
CANARY = "canary-5ab7e0c3"
MEBIBYTE = 1 << 20

# Run as another user: sends what it gets on stdin once for every line and prints the statuses of the replies.
STRANGER_CLIENT = """
import json, socket, sys
where, requests = json.load(sys.stdin)
for text in requests:
    s = socket.socket(socket.AF_UNIX) if isinstance(where, str) else socket.create_connection(where)
    if isinstance(where, str):
        s.connect(where)
    s.settimeout(20)
    s.sendall(text.encode())
    reply = b""
    while b"\\r\\n" not in reply:
        got = s.recv(4096)
        if not got:
            break
        reply += got
    print(reply.split(b"\\r\\n")[0].decode())
    s.close()
"""

# Connects, sends, and leaves without waiting, `times` times over.
HIT_AND_RUN = """
import socket, sys
port, times, request = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
for _ in range(times):
    s = socket.create_connection(("127.0.0.1", port))
    try:
        s.sendall(request)
    except OSError:
        pass
    s.close()
"""

# Holds as many connections as it can and pushes bytes into each.
FLOOD = """
import socket, sys, time
port, number, each = (int(a) for a in sys.argv[1:4])
held = []
for _ in range(number):
    s = socket.create_connection(("127.0.0.1", port))
    s.setblocking(False)
    held.append(s)
data = b"POST /management/notify HTTP/1.1\\r\\nContent-Length: 900000000\\r\\nX: " + b"x" * 65536
end = time.monotonic() + 3
sent = {}
while time.monotonic() < end:
    for s in held:
        try:
            if sent.get(s, 0) < each:
                sent[s] = sent.get(s, 0) + s.send(data)
        except OSError:
            pass
    time.sleep(0.01)
print("flooded", flush=True)
sys.stdin.read()
"""


class Frontd(unittest.TestCase):
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.bin = lt.temporary_directory("lf-front-")
        cls.addClassCleanup(lt.remove_tree, cls.bin)
        for name in ("landfall", "landfall-frontd"):
            shutil.copy(os.path.join(lt.programs(), name), cls.bin)
        for name in ("landfall-syncd", "landfall-mountd", "landfall-cryptd"):
            shutil.copy(FAKE, os.path.join(cls.bin, name))
        cls.instance = lt.Instance(bin_dir=cls.bin, arguments=cls.arguments)
        cls.addClassCleanup(cls.instance.remove)
        control = os.path.join(cls.instance.dir, "control")
        os.mkdir(control)
        os.chmod(control, 0o777)
        with open(os.path.join(control, "all.order"), "w", encoding="ascii"):
            pass
        os.chmod(os.path.join(control, "all.order"), 0o666)
        cls.instance.start()
        cls.port = cls.instance.info()["port"]
        cls.api_socket = os.path.join(cls.instance.dir, "run", "api.sock")
        paths = cls.instance.api("GET", "/openapi.json")["paths"]
        cls.routes = [(method.upper(), re.sub(r"\{\w+\}", "x", path)) for path, methods in paths.items() for method in methods]

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port))
        s.settimeout(20)
        self.addCleanup(s.close)
        return s

    def send(self, text):
        s = self.connect()
        s.sendall(text.encode() if isinstance(text, str) else text)
        return s

    def read_status(self, s):
        reply = b""
        while b"\r\n" not in reply:
            got = s.recv(4096)
            if not got:
                return 0
            reply += got
        return int(reply.split(b" ")[1])

    def status(self, text):
        return self.read_status(self.send(text))

    def answers(self, seconds=5):
        """frontd answers its owner, and soon."""
        began = time.monotonic()
        self.assertEqual(self.status(f"GET /openapi.json HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"), 200)
        self.assertLess(time.monotonic() - began, lt.patience(seconds))

    def every_request(self):
        """Routes of the table, and what is none."""
        yield from self.routes
        for method in ("OPTIONS", "HEAD", "PATCH", "TRACE", "CONNECT", "BREW"):
            yield method, "/management/agent_status"
        yield "GET", "/"
        yield "GET", "/no/such/thing"
        yield "GET", "/notification"

    def as_stranger(self, program, *argv, **more):
        return subprocess.Popen([*lt.as_user(STRANGER), "/usr/bin/python3", "-c", program, *map(str, argv)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=lt.clean_env(), **more)

    def resident(self):
        with open(f"/proc/{self.instance.pid('frontd')}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


class Hosts(Frontd):
    def test_there_are_routes(self):
        self.assertGreater(len(self.routes), 90)

    def test_every_request_needs_one_host_of_ours(self):
        ours = f"localhost:{self.port}"
        heads = [
            ("", "1.1", ""), ("", "1.0", ""), ("", "1.1", "Host:\r\n"), ("", "1.1", f"Host: {ours}\r\nHost: {ours}\r\n"),
            ("", "1.1", f"Host: {ours}\r\nHOST: evil.test\r\n"), ("http://evil.test", "1.1", f"Host: {ours}\r\n"),
            (f"http://{ours}", "1.1", "Host: evil.test\r\n"), (f"http://{ours}@evil.test", "1.1", f"Host: {ours}\r\n"),
        ]
        for method, path in self.every_request():
            for before, version, host in heads:
                text = f"{method} {before}{path} HTTP/{version}\r\n{host}\r\n"
                self.assertEqual(self.status(text), 421, text)

    def test_every_request_of_a_foreign_page_is_refused(self):
        pages = ["Origin: null\r\n", "Origin: http://evil.test\r\n", f"Origin: http://localhost:{self.port}\r\nOrigin: http://evil.test\r\n",
                 "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n",
                 f"Origin: http://localhost:{self.port}\r\nSec-Fetch-Site: cross-site\r\n"]
        for method, path in self.every_request():
            for page in pages:
                text = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\n{page}\r\n"
                self.assertEqual(self.status(text), 403, text)

    def test_malformed_requests_get_a_problem_and_the_protecting_fields(self):
        for text in ("nonsense\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nA : b\r\n\r\n", "GET /%0 HTTP/9.9\r\n\r\n",
                     "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"):
            s = self.send(text)
            reply = b""
            while got := s.recv(65536):
                reply += got
            head, _, body = reply.partition(b"\r\n\r\n")
            self.assertRegex(head, rb"^HTTP/1\.1 (400|505) ", text)
            for field in (b"application/problem+json", b"no-store", b"nosniff", b"no-referrer", b"default-src 'none'"):
                self.assertIn(field, head, text)
            self.assertTrue(body.startswith(b'{"type":"DEFAULT","status":'), body)

    def test_a_refused_body_is_not_taken_for_a_request(self):
        smuggled = f"POST /management/command/8 HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"
        s = self.send(f"POST /management/clouddrive HTTP/1.1\r\nHost: evil.test\r\nContent-Length: {len(smuggled)}\r\n\r\n{smuggled}")
        reply = b""
        while got := s.recv(65536):
            reply += got
        self.assertEqual(reply.count(b"HTTP/1.1 "), 1)
        self.answers()


@lt.needs_root
class Strangers(Frontd):
    def test_another_user_is_refused_on_every_request(self):
        texts = [f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n" for method, path in self.every_request()]
        for where in (["127.0.0.1", self.port], ["::1", self.port], self.api_socket):
            process = self.as_stranger(STRANGER_CLIENT)
            out, _ = process.communicate(json.dumps([where, texts]), timeout=60)
            self.assertEqual(out.splitlines(), ["HTTP/1.1 401 Unauthorized"] * len(texts), where)

    def test_a_flood_costs_little_and_holds_nobody(self):
        before = self.resident()
        process = self.as_stranger(FLOOD, self.port, 400, 10 * MEBIBYTE)
        try:
            self.answers()
            self.assertEqual(process.stdout.readline(), "flooded\n")
            self.answers()
            self.assertLess(self.resident() - before, 24 * MEBIBYTE)
        finally:
            process.communicate("")

    def test_the_served_user_is_let_in(self):
        done = lt.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://localhost:{self.port}/openapi.json", user="landfall")
        self.assertEqual(done.stdout, "200")
        done = lt.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", self.api_socket, "http://localhost/openapi.json",
                      user="landfall")
        self.assertEqual(done.stdout, "200")

    def test_frontd_is_locked_in(self):
        with open(f"/proc/{self.instance.pid('frontd')}/status", encoding="ascii") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual({status[k] for k in ("CapEff", "CapPrm", "CapInh", "CapAmb")}, {"0" * 16})
        self.assertEqual(status["Uid"].split()[0], str(pwd.getpwnam("landfall-frontd").pw_uid))


@lt.needs_root
class Deserters(Frontd):
    def test_leaving_at_once_does_not_make_anybody_root(self):
        """The kernel reports a socket that nobody holds any more as root's."""
        request = f"POST /management/command/8 HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"
        frontd = self.instance.pid("frontd")
        os.kill(frontd, signal.SIGSTOP)
        try:
            process = self.as_stranger(HIT_AND_RUN, self.port, 20, request)
            self.assertEqual(process.wait(20), 0)
            process.communicate()
        finally:
            os.kill(frontd, signal.SIGCONT)
        self.answers()
        log = lt.wait_until(lambda: (text := self.instance.log("frontd")).count("command/8") >= 10 and text, 10, "the refusals in the log")
        self.assertEqual({line.split("status=")[1].split()[0] for line in log.splitlines() if "command/8" in line}, {"401"})
        self.assertEqual(self.instance.pid("frontd"), frontd)


class Slow(Frontd):
    arguments = ("--set", "HttpTimeoutSeconds=6", "--set", "MaxConnections=40")

    def test_slow_clients_hold_nobody_and_are_ended(self):
        slow = [self.send(f"POST /management/clouddrive HTTP/1.1\r\nHost: localhost:{self.port}\r\nContent-Type: application/json\r\n"
                          "Content-Length: 100\r\n\r\n{") for _ in range(30)]
        began = time.monotonic()
        self.answers()
        while slow and time.monotonic() - began < lt.patience(20):
            for s in slow:
                with contextlib.suppress(OSError):
                    s.send(b" ")
            for s in select.select(slow, [], [], 0.2)[0]:
                self.assertEqual(self.read_status(s), 408)
                slow.remove(s)
        self.assertFalse(slow)
        self.answers()

    def test_readers_that_stop_are_dropped(self):
        s = self.connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /openapi.json HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n".encode()
        s.setblocking(False)
        began = time.monotonic()
        dropped = False
        while not dropped and time.monotonic() - began < lt.patience(30):
            try:
                s.send(request * 10)
            except BlockingIOError:
                time.sleep(0.05)
            except ConnectionError:
                dropped = True
        self.assertTrue(dropped)
        self.answers()


class Crowded(Frontd):
    arguments = ("--set", "MaxConnections=40")

    def test_silent_connections_give_way_to_calls(self):
        """Long before their time is over."""
        request = f"GET /openapi.json HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"
        idle = [self.connect() for _ in range(60)]
        statuses = {self.status(request)}
        lt.wait_until(lambda: statuses.add(self.status(request)) or 200 in statuses, 10, "an answer")
        self.assertLessEqual(statuses, {200, 503})
        self.assertEqual(idle[0].recv(1), b"")
        self.answers()


class Rate(Frontd):
    arguments = ("--set", "ChangesPerSecond=20")

    def test_changes_have_a_pace(self):
        request = f"POST /management/command/9 HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"
        began, statuses = time.monotonic(), []
        while 429 not in statuses and time.monotonic() - began < lt.patience(30):     # soon, unless a machine answers 20 a second
            statuses.append(self.status(request))
        self.assertEqual(set(statuses), {499, 429})
        self.assertEqual(statuses[:80], [499] * 80)       # four seconds' worth at once
        self.answers()                                    # who only reads goes on
        lt.wait_until(lambda: self.status(request) == 499, 20, "the next one")
        s = self.send(request * 3)
        refused = b""
        while b"ChangesPerSecond" not in refused:
            refused += s.recv(4096) or self.fail("no refusal")
            s.sendall(request.encode())
        self.assertIn(b" 429 ", refused)
        self.assertIn(b"Retry-After: 1", refused)


class Tokens(Frontd):
    def test_tokens_are_accepted_and_kept_out_of_the_logs(self):
        request = f"POST /management/command/9?token={CANARY} HTTP/1.1\r\nHost: localhost:{self.port}\r\n"
        self.assertEqual(self.status(request + "\r\n"), 499)
        self.assertEqual(self.status(request + f"Origin: http://evil.test\r\nReferer: http://evil.test/?token={CANARY}\r\n\r\n"), 403)
        self.assertEqual(self.status(f"GET /nothing?token={CANARY} HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"), 404)
        lt.wait_until(lambda: "/nothing" in self.instance.log("frontd"), 10, "the request in the log")
        folder = os.path.join(self.instance.dir, "log")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), errors="replace") as f:
                self.assertNotIn(CANARY, f.read(), name)
        self.assertNotIn(CANARY, self.instance.said())


if __name__ == "__main__":
    unittest.main()
