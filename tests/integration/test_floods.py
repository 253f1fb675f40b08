#!/usr/bin/python3
"""Ten thousand connections at each door: to the port, to the API's socket and to the sockets between the processes, silent or in the
middle of a request, by other users, by the served user and by a process of the agent. Others are answered meanwhile, memory is
bounded, who has no descriptor left does not spin, and what is gone costs nothing."""

import contextlib
import errno
import itertools
import json
import os
import pwd
import re
import resource
import socket
import subprocess
import time
import unittest

import landfall_test as lt
import wire
from drive_case import SERVED, DriveCase
from landfall_test import wait_until

MANY = 10000
STRANGER = "nobody"
SECONDS = 10               # in which who is not part of the flood is answered; of these, lt.patience()
GROWTH = 48 << 20
FEW = 5                    # descriptors: less than any role may have connections
TICKS = os.sysconf("SC_CLK_TCK")
HALF = b"POST /management/clouddrive HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Len"

# Run as another user: one call to the port or to the socket. Prints the status. What finds the queue of the port full
# the kernel repeats after one, three and seven seconds: here that is done sooner. Who comes and goes fast enough uses
# up the ports of clients for a moment: then it is tried again, too.
CALLER = """
import errno, socket, sys, time
where = sys.argv[1]
def connected():
    s = socket.socket(socket.AF_UNIX) if where.startswith("/") else socket.socket()
    s.settimeout(None if where.startswith("/") else 0.5)
    try:
        s.connect(where if where.startswith("/") else ("127.0.0.1", int(where)))
        return s
    except OSError as e:
        s.close()
        if e.errno not in (None, errno.EADDRNOTAVAIL):     # None: its time is over
            raise
        time.sleep(0.01)
while not (s := connected()):
    pass
s.settimeout(60)
s.sendall(b"GET /management/agent_status HTTP/1.1\\r\\nHost: localhost:%s\\r\\nConnection: close\\r\\n\\r\\n" % sys.argv[2].encode())
print(s.recv(4096).split(b" ")[1].decode())
"""

# Run as another user: connects and leaves, without end.
STORM = """
import socket, sys
while True:
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", int(sys.argv[1])))
    s.close()
"""


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Flood:
    """Connections that are made and held. One that is not taken at once is held too."""

    def __init__(self, family, kind, address, user, group=None, first=b"", number=MANY):
        self.held = []
        with wire.user(user, group):
            for _ in range(number):
                s = socket.socket(family, kind)
                s.setblocking(False)
                self.held.append(s)
                self.connect(s, address)
                if first:
                    with contextlib.suppress(OSError):
                        s.send(first)

    def connect(self, s, address):
        """A Unix socket whose queue is full says so at once: it is tried again for a moment."""
        end = time.monotonic() + 0.05
        error = s.connect_ex(address)
        while error == errno.EAGAIN and time.monotonic() < end:
            time.sleep(0.001)
            error = s.connect_ex(address)

    def say(self, what):
        """Again, where the connection came about meanwhile."""
        for s in self.held:
            with contextlib.suppress(OSError):
                s.send(what)

    def close(self):
        for s in self.held:
            s.close()
        self.held = []


class Flooded(DriveCase):
    @classmethod
    def setUpClass(cls):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        super().setUpClass()                   # with the limits that it has by itself
        most = max(limits[1], 2 * MANY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        cls.port = cls.instance.info()["port"]
        cls.sockets = os.path.join(cls.instance.dir, "run")
        cls.api = os.path.join(cls.sockets, "api.sock")
        cls.mount, _ = cls.folder_drive()
        with open(os.path.join(cls.mount, "file"), "w", encoding="ascii") as f:
            f.write("content")
        cls.pids = {d: cls.instance.pid(d) for d in lt.DAEMONS}

    def answered(self, who, where, flooding):
        """A call of that user is answered in that time. Who floods may be told to wait: that is no answer, but soon followed by one."""
        argv = ["/usr/bin/python3", "-c", CALLER, str(where), str(self.port)]

        def status():
            done = lt.run(*argv, user=None if who == "root" else who, check=who != flooding)
            return done.stdout.strip()
        began = time.monotonic()
        if who == flooding:
            wait_until(lambda: status() == "200", SECONDS, f"an answer for {who} at {where}")
        else:
            self.assertEqual(status(), "200", f"{who} at {where}")
        self.assertLess(time.monotonic() - began, lt.patience(SECONDS), f"{who} at {where}")

    @contextlib.contextmanager
    def bounded(self, daemon, growth=GROWTH):
        """The daemon lives on, does not grow beyond that while it is flooded, and has no more descriptors afterwards."""
        pid = self.pids[daemon]
        memory, held = resident(pid), descriptors(pid)
        yield
        self.assertLess(resident(pid) - memory, growth)
        self.assertEqual(self.instance.pid(daemon), pid)
        self.after = lambda: wait_until(lambda: descriptors(pid) <= held + 1, 40, f"{daemon} to let go of what is gone")

    def door(self, where):
        return (socket.AF_UNIX, socket.SOCK_STREAM, where) if where == self.api else (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", where))

    def asked(self, path, user, role, group="landfall"):
        """A new connection of that role is answered: in time, by a reply."""
        began = time.monotonic()
        connection = wait_until(lambda: wire.connect(path, user, group, role), SECONDS, f"room in the queue of {path}")
        with contextlib.closing(connection) as s:
            name = {wire.FRONTD: "metrics_get", wire.MOUNTD: "mount_list", wire.SYNCD: "unseal"}[role]
            wire.send(s, wire.envelope(name, {"purpose": "x", "sealed": "x"}, 1))
            answer = wire.receive(s)
            if not answer:
                raise ConnectionError(f"{user} is not let in at {path}")
            self.assertEqual(wire.head(answer)[0], 1, f"{user} at {path}")
        self.assertLess(time.monotonic() - began, lt.patience(SECONDS))

    def asked_at_last(self, path):
        """By the role that flooded, once the places have been given back."""
        wait_until(lambda: self.asked(path, "landfall-frontd", wire.FRONTD) or True, SECONDS, f"a place at {path}")


class Api(Flooded):
    def flood(self, user, where, first, *callers):
        def ask():
            for who, at in callers:
                self.answered(who, at, user)
        with self.bounded("frontd"):
            flood = Flood(*self.door(where), user, first=first)
            self.addCleanup(flood.close)
            ask()
            flood.say(HALF)
            ask()
        flood.close()
        self.after()
        ask()
        with open(os.path.join(self.mount, "file"), encoding="ascii") as f:
            self.assertEqual(f.read(), "content")

    def test_the_port_by_another_user(self):
        self.flood(STRANGER, self.port, b"", (SERVED, self.port), ("root", self.port), (SERVED, self.api))

    def test_the_port_by_the_served_user(self):
        """For whom root is another one. Also the user's own next call comes to its turn, here and at the socket."""
        self.flood(SERVED, self.port, b"", ("root", self.port), (SERVED, self.api), ("root", self.api), (SERVED, self.port))

    def test_the_port_by_the_served_user_in_the_middle_of_requests(self):
        self.flood(SERVED, self.port, HALF, ("root", self.port), (SERVED, self.api), (SERVED, self.port))

    def test_the_socket_by_another_user(self):
        self.flood(STRANGER, self.api, b"", (SERVED, self.port), (SERVED, self.api), ("root", self.api))

    def test_the_socket_by_the_served_user(self):
        self.flood(SERVED, self.api, HALF, ("root", self.api), (SERVED, self.port))

    def test_connections_that_come_and_go(self):
        """As fast as four processes of another user can make them."""
        storm = [subprocess.Popen([*lt.as_user(STRANGER), "/usr/bin/python3", "-c", STORM, str(self.port)], stdin=subprocess.DEVNULL,
                                  env=lt.clean_env()) for _ in range(4)]
        try:
            for _ in range(5):
                self.answered(SERVED, self.port, STRANGER)
                self.answered(SERVED, self.api, STRANGER)
        finally:
            for process in storm:
                process.kill()
                process.wait()

    def test_the_command_is_answered_meanwhile(self):
        flood = Flood(*self.door(self.port), STRANGER, first=HALF)
        self.addCleanup(flood.close)
        began = time.monotonic()
        self.assertIn("local", str(json.loads(self.instance.landfall("drive", "list", "--json").stdout)))
        self.assertLess(time.monotonic() - began, lt.patience(SECONDS))


class Calls(Flooded):
    arguments = ("--set", "SettleMilliseconds=60000")    # for so long nothing is uploaded

    def test_calls_that_take_their_time(self):
        """Six hundred calls of the served user, none of them at its end: his next one is told so, and root has the last eighth."""
        path = os.path.join(self.mount, "waits")
        with open(path, "w", encoding="ascii") as f:
            f.write("content")
        waiting = f"GET /management/object_wait?path={path}&seconds=60 HTTP/1.1\r\nHost: localhost:{self.port}\r\n\r\n"
        flood = Flood(*self.door(self.port), SERVED, first=waiting.encode(), number=600)
        self.addCleanup(flood.close)
        argv = ["/usr/bin/python3", "-c", CALLER, str(self.port), str(self.port)]
        wait_until(lambda: lt.run(*argv, user=SERVED, check=False).stdout.strip() == "503", SECONDS, "the refusal")
        for where in (self.port, self.api):
            self.answered("root", where, SERVED)
        flood.close()
        self.answered(SERVED, self.port, SERVED)


class Sockets(Flooded):
    def flood_socket(self, daemon, *others):
        path = os.path.join(self.sockets, daemon + ".sock")
        hello = wire.envelope("hello", {"protocol": wire.PROTOCOL, "role": wire.FRONTD, "instance": 1})
        for first in (b"", hello):
            with self.bounded(daemon):
                flood = Flood(socket.AF_UNIX, socket.SOCK_SEQPACKET, path, "landfall-frontd", "landfall", first)
                self.addCleanup(flood.close)
                for user, role in others:
                    self.asked(path, user, role)
                self.instance.api("GET", "/management/clouddrive")
            flood.close()
            self.after()
            self.asked_at_last(path)

    def test_syncd(self):
        self.flood_socket("syncd", ("root", wire.MOUNTD))

    def test_mountd(self):
        self.flood_socket("mountd")

    def test_cryptd(self):
        self.flood_socket("cryptd", (SERVED, wire.SYNCD))

    def test_they_find_each_other_again_meanwhile(self):
        """A process that was killed is let in by those whose sockets are flooded."""
        floods = [Flood(socket.AF_UNIX, socket.SOCK_SEQPACKET, os.path.join(self.sockets, d + ".sock"), "landfall-frontd", "landfall",
                        wire.envelope("hello", {"protocol": wire.PROTOCOL, "role": wire.FRONTD, "instance": 1}), 1000)
                  for d in ("cryptd", "syncd")]
        for flood in floods:
            self.addCleanup(flood.close)
        for daemon in ("syncd", "mountd"):
            self.instance.restart(daemon)
            self.pids[daemon] = self.instance.pid(daemon)
        self.instance.wait_mounted(self.mount)
        with open(os.path.join(self.mount, "more"), "w", encoding="ascii") as f:
            f.write("content")
        for flood in floods:
            flood.close()
        self.instance.wait_uploaded(os.path.join(self.mount, "more"))


class Descriptors(Flooded):
    def limit(self, daemon, number):
        """As a process of the same user may; for root's own that takes no more."""
        argv = ["prlimit", "--pid", str(self.pids[daemon]), f"--nofile={number}:"]
        with open(f"/proc/{self.pids[daemon]}/status", encoding="ascii") as f:
            user = pwd.getpwuid(int(re.search(r"Uid:\s+(\d+)", f.read()).group(1))).pw_name
        lt.run(*argv, user=user)

    def starve(self, daemon, make):
        """With few descriptors left and more connections than that: no spinning, and all is well when they are back."""
        pid = self.pids[daemon]
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            before = int(re.search(r"Max open files\s+(\d+)", f.read()).group(1))
        used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        free = (fd for fd in itertools.count() if fd not in used)
        self.limit(daemon, next(itertools.islice(free, FEW, None)))
        try:
            flood = make()
            self.addCleanup(flood.close)
            wait_until(lambda: "accept_failed" in self.instance.log(daemon), 20, "the end of the descriptors")
            spent, lines, began = processor_seconds(pid), self.instance.log(daemon).count("\n"), time.monotonic()
            wait_until(lambda: time.monotonic() - began > 3, 5)
            taken = time.monotonic() - began
            self.assertLess(processor_seconds(pid) - spent, 0.2 * taken)
            self.assertLess(self.instance.log(daemon).count("\n") - lines, 2 * taken)
            flood.close()
        finally:
            self.limit(daemon, before)
        self.assertEqual(self.instance.pid(daemon), pid)

    def test_frontd_without_descriptors(self):
        self.starve("frontd", lambda: Flood(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", self.port), SERVED, number=100))
        self.answered(SERVED, self.port, SERVED)

    def test_the_others_without_descriptors(self):
        for daemon in ("syncd", "mountd", "cryptd"):
            path = os.path.join(self.sockets, daemon + ".sock")
            with self.subTest(daemon):
                self.starve(daemon, lambda p=path: Flood(socket.AF_UNIX, socket.SOCK_SEQPACKET, p, "landfall-frontd", "landfall",
                                                         number=100))
                self.asked_at_last(path)


if __name__ == "__main__":
    unittest.main()
