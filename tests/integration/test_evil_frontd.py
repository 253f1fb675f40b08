#!/usr/bin/python3
"""A frontd that was taken over: whatever its user can say to syncd, mountd and cryptd while the real one serves. None of them ends,
leaks or is kept from others; what is not frontd's to say ends the connection; of other users nothing is read or changed. What it
can do, docs/SECURITY.md tells, and the last tests show."""

import contextlib
import os
import pwd
import random
import re
import resource
import shutil
import socket
import time
import unittest

import landfall_test as lt
import wire
from drive_case import SERVED, DriveCase
from landfall_test import wait_until
from test_floods import descriptors, resident

LETTER = {"syncd": "S", "mountd": "M", "cryptd": "C"}
HIGHEST = 1000                     # above every number of a message
SEED = int(os.environ.get("LANDFALL_SEED", "1"))
ROUNDS = 100
GROWTH = 96 << 20
ENDS = {"shutdown", "agent_command"}      # what is allowed to end the agent
OTHER = "nobody"
CANARY = b"canary-of-another-user-17c2\n"
ENTRY = b"entry"
SHARE = 64 // 5                    # IpcConnections, for one role of five


class Evil(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive(localCacheEncrypted=True)
        with open(os.path.join(cls.mount, "file"), "wb") as f:
            f.write(CANARY)
        # Nothing of the drive changes by itself from here on.
        cls.instance.wait_uploaded(os.path.join(cls.mount, "file"))
        cls.drive = cls.instance.api("GET", "/management/clouddrive")[0]
        cls.pids = {d: cls.instance.pid(d) for d in lt.DAEMONS}
        cls.rows = wire.rows()

    def setUp(self):
        self.held = {d: descriptors(self.pids[d]) for d in LETTER}

    def tearDown(self):
        self.honest()
        for daemon in LETTER:
            self.assertEqual(self.instance.pid(daemon), self.pids[daemon], f"{daemon} is another one")
            wait_until(lambda d=daemon: descriptors(self.pids[d]) <= self.held[d] + 2, 20, f"{daemon} to let go of its descriptors")

    def honest(self, seconds=5):
        """Calls through the real frontd, that ask all three, and the drive."""
        began = time.monotonic()
        self.assertIn(self.drive["id"], [d["id"] for d in self.instance.api("GET", "/management/clouddrive")])
        self.assertEqual(self.instance.request("GET", "/metrics").status, 200)
        with open(os.path.join(self.mount, "file"), "rb") as f:
            self.assertEqual(f.read(), CANARY)
        self.assertLess(time.monotonic() - began, lt.patience(seconds))

    def connect(self, daemon, hello=wire.FRONTD, user="landfall-frontd"):
        """A place is free again once the daemon has seen that the last one is."""
        path = os.path.join(self.instance.dir, "run", daemon + ".sock")
        s = wait_until(lambda: self.settled(wire.connect(path, user, "landfall", hello), hello), 10, f"a place at {daemon}")
        self.addCleanup(s.close)
        return s

    @staticmethod
    def settled(s, hello):
        """Whether it was let in: cryptd, mountd and syncd all tell their metrics to frontd."""
        if hello != wire.FRONTD:
            return s
        with contextlib.suppress(OSError):
            wire.send(s, wire.envelope("metrics_get", {}, 1))
            if wire.receive(s):
                return s
        s.close()
        return None

    def ended(self, daemon, packet, fds=(), hello=wire.FRONTD, why=""):
        s = self.connect(daemon, hello)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(s, packet, fds)
        self.assertTrue(wire.closed(s), f"{daemon} {why}")
        s.close()

    def ask(self, name, values, daemon="syncd"):
        """What is answered: the number of the body, or of a failure; and the packet."""
        with contextlib.closing(self.connect(daemon)) as s:
            wire.send(s, wire.envelope(name, values, 2))
            packet = wire.receive(s)
            return wire.head(packet)[1], packet

    @staticmethod
    def page():
        """What docs/SECURITY.md says that it can do."""
        with open(os.path.join(lt.SOURCE, "docs", "SECURITY.md"), encoding="utf-8") as f:
            return f.read().partition("* **frontd**:")[2].partition("* **syncd**:")[0]

    def is_frontds(self, name, daemon):
        senders, receivers, _ = self.rows.get(name, (set(), set(), 0))
        return "F" in senders and LETTER[daemon] in receivers


class Speaks(Evil):
    def test_what_is_not_frontds_to_say(self):
        """Every number: messages of the other roles, replies to what was never asked, numbers of nothing."""
        draw, refused = random.Random(SEED), 0
        for daemon in LETTER:
            for number in range(10, HIGHEST):
                name, kind = wire.BODIES.get(number, (None, None))
                if name and self.is_frontds(name, daemon) and name != "hello":
                    continue
                body = wire.message(kind, wire.garbage(kind, draw)) if kind else b""
                for request in (0, 5):
                    self.ended(daemon, wire.field(wire.ENVELOPE_ID, request) + wire.field(number, body), why=f"{name or number} {request}")
                    refused += 1
                if number in wire.BODIES and number % 10 == 0:
                    self.honest()
        self.assertGreater(refused, 3 * 2 * 850)
        for daemon in LETTER:
            self.paced(daemon)

    def paced(self, daemon):
        """Each refusal is counted; at most ten in a second have a line."""
        def lines():
            self.ended(daemon, b"x")
            return [int(n) for n in re.findall(r"ipc_refused .*refused=(\d+)", self.instance.log(daemon))]
        wait_until(lambda: lines()[-1] > 1000, 5, "the number of all refusals")
        self.assertLess(len(lines()), lines()[-1] / 2)

    def test_failures_that_nobody_waits_for(self):
        failure = wire.field(wire.ENVELOPE_FAILURE, wire.field(1, 5))
        for daemon in LETTER:
            for request in (0, 1, 7, 2**64 - 1):
                self.ended(daemon, wire.field(wire.ENVELOPE_ID, request) + failure)

    def test_in_other_roles(self):
        """And of users who have no role of that name, or none at all."""
        for daemon in LETTER:
            for role in (wire.NONE, wire.SYNCD, wire.MOUNTD, wire.CRYPTD, wire.WORKER, 6, 2**32 - 1):
                s = self.connect(daemon, role)
                self.assertTrue(wire.closed(s), f"{daemon} {role}")
            path = os.path.join(self.instance.dir, "run", daemon + ".sock")
            with contextlib.closing(wire.connect(path, OTHER, "landfall", None)) as s:
                self.assertTrue(wire.closed(s))
            with self.assertRaises(PermissionError):
                wire.connect(path, OTHER, None)

    def test_out_of_order(self):
        ask, hello = wire.envelope("metrics_get", {}, 1), wire.envelope("hello", {"protocol": wire.PROTOCOL, "role": wire.FRONTD, "instance": 1})
        for daemon in LETTER:
            self.ended(daemon, ask, hello=None, why="asked before Hello")
            self.ended(daemon, hello, why="said Hello twice")
            self.ended(daemon, wire.envelope("hello", {"protocol": wire.PROTOCOL + 1, "role": wire.FRONTD, "instance": 1}), hello=None)
            self.ended(daemon, wire.envelope("metrics_get", {}, 0), why="asked without an id")

    def test_bytes(self):
        draw = random.Random(SEED)
        valid = wire.envelope("metrics_get", {"page": "x" * 100}, 9)
        packets = [valid[:n] for n in range(1, len(valid))] + [draw.randbytes(draw.choice([1, 2, 10, 1000, wire.MESSAGE_MAX])) for _ in range(100)]
        packets += [b"\x08\x01\x6a" + wire.varint(n) + b"x" for n in (2, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1)]     # longer than the packet
        packets += [b"x" * (wire.MESSAGE_MAX + 1), b"\x6b" * 60000]
        for daemon in LETTER:
            for packet in packets:
                self.ended(daemon, packet, why=repr(packet[:20]))
            self.honest()

    def test_descriptors_that_nobody_asked_for(self):
        """Also more than there is room for, and sockets that hold others."""
        a, b = socket.socketpair()
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b.fileno().to_bytes(4, "little") * 200)])
        memory = os.memfd_create("evil")
        self.addCleanup(os.close, memory)
        for daemon in LETTER:
            for name in ("metrics_get", "agent_status_get", "drive_list", "account_insert", "stream_open", "shutdown"):
                if not self.is_frontds(name, daemon):
                    continue
                for fds in ([memory], [a.fileno(), b.fileno()], [memory] * 4, [memory] * 5, [a.fileno()] * 253):
                    self.ended(daemon, wire.envelope(name, {"path": "/", "account": {}}, 1), fds, why=f"{name} with {len(fds)}")


class Asks(Evil):
    """What frontd may say, with whatever in it."""

    def honestly_frontds(self, daemon):
        return [name for name in wire.NUMBER_OF if self.is_frontds(name, daemon) and name != "hello" and name not in ENDS]

    def test_every_message_with_extremes(self):
        draw = random.Random(SEED)
        before = self.instance.api("GET", "/management/clouddrive")
        for daemon in LETTER:
            memory, names, answers = resident(self.pids[daemon]), self.honestly_frontds(daemon), 0
            for name in names:
                with contextlib.closing(self.connect(daemon)) as s:
                    answers += self.extremes(s, name, draw)
                self.honest()
            self.assertGreater(answers, ROUNDS * len(names) / 2, daemon)
            self.assertLess(resident(self.pids[daemon]) - memory, GROWTH)
        after = self.instance.api("GET", "/management/clouddrive")
        self.assertEqual([d for d in after if d["id"] == self.drive["id"]], [d for d in before if d["id"] == self.drive["id"]])

    def extremes(self, s, name, draw):
        """How many were answered when a harmless one behind them is. What waits for something may still do so."""
        last, answers = 10 + ROUNDS, 0
        for i in range(ROUNDS):
            packet = wire.envelope(name, wire.garbage(wire.BODIES[wire.NUMBER_OF[name]][1], draw), 10 + i)
            if len(packet) <= wire.MESSAGE_MAX:
                wire.send(s, packet)
        wire.send(s, wire.envelope("metrics_get", {}, last))
        while (answer := wire.head(wire.receive(s))[0]) != last:
            self.assertNotEqual(answer, 0, f"{name} ended the connection")
            answers += 1
        return answers

    def test_more_than_can_be_answered(self):
        """From all the connections that it may have, and without reading one answer."""
        for daemon in LETTER:
            memory = resident(self.pids[daemon])
            crowd = [self.connect(daemon) for _ in range(SHARE - 2)]
            packet = wire.envelope("metrics_get", {}, 7)
            for s in crowd:
                s.setblocking(False)
                for _ in range(20000):
                    try:
                        wire.send(s, packet)
                    except OSError:
                        break
            self.honest()
            self.assertLess(resident(self.pids[daemon]) - memory, GROWTH, daemon)
            for s in crowd:
                s.close()
            self.honest()

    def test_the_same_id_for_all(self):
        with contextlib.closing(self.connect("syncd")) as s:
            for _ in range(200):
                wire.send(s, wire.envelope("drive_list", {}, 3))
                wire.send(s, wire.envelope("object_status_get", {"path": self.mount}, 3))
            for _ in range(400):
                self.assertEqual(wire.head(wire.receive(s))[0], 3)

    def test_a_form_without_end_and_streams_that_nobody_reads(self):
        """Pipes that syncd gives out and that are dropped at once."""
        for _ in range(200):
            self.ask("form_open", {})
            self.ask("stream_open", {"path": os.path.join(self.mount, "file")})
        for form in (0, 1, 2**64 - 1):
            self.ask("form_done", {"form": form, "size": 2**64 - 1, "cloud_account": {}})


class Others(Evil):
    """Nothing that is another user's is read or changed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.theirs = os.path.join(cls.scratch, "theirs")
        os.mkdir(cls.theirs)
        with open(os.path.join(cls.theirs, "file"), "wb") as f:
            f.write(CANARY)
        account = pwd.getpwnam(OTHER)
        for path in (os.path.join(cls.theirs, "file"), cls.theirs):
            os.chown(path, account.pw_uid, account.pw_gid)
            os.chmod(path, 0o700)
        os.symlink(cls.theirs, os.path.join(cls.scratch, "link"))

    def places(self):
        return [self.theirs, os.path.join(self.scratch, "link"), os.path.join(self.instance.dir, "keys"), "/proc/1/root", "/proc/self/root/" + self.theirs]

    def theirs_now(self):
        with open(os.path.join(self.theirs, "file"), "rb") as f:
            return sorted(os.listdir(self.theirs)), f.read(), os.stat(self.theirs).st_uid

    def test_folders(self):
        failure, before = wire.ENVELOPE_FAILURE, self.theirs_now()
        for place in self.places():
            for name in ("directory_list", "local_list"):
                self.assertEqual(self.ask(name, {"path": place})[0], failure, f"{name} {place}")
            self.assertEqual(self.ask("directory_make", {"path": place, "directory_name": "made"})[0], failure, place)
        self.assertEqual(self.theirs_now(), before)

    def test_files_into_the_cloud_and_out_of_it(self):
        account, before = self.drive["account"]["id"], self.theirs_now()
        for place in self.places():
            self.ask("cloud_upload", {"cloud_account_id": account, "storage_name": "bucket", "upload_path": "/", "local_file_path": place + "/file"})
            self.ask("cloud_download", {"cloud_account_id": account, "storage_name": "bucket", "object_key": "file", "download_path": place})
        self.instance.api("GET", "/management/clouddrive")
        self.assertEqual(self.theirs_now(), before)
        self.instance.wait_uploaded(os.path.join(self.mount, "file"))
        self.assertNotIn("theirs", os.listdir(self.bucket))

    def test_accounts_and_drives_there(self):
        before = self.theirs_now()
        for place in [*self.places(), "/", "/etc", os.path.join(self.instance.dir, "state")]:
            number, _ = self.ask("account_insert", {"account": {"name": "evil", "cloud_type": 1048576, "service_url": "file://" + place}})
            self.assertEqual(number, wire.ENVELOPE_FAILURE, place)
            self.ask("drive_insert", {"drive": {"name": "evil", "storage_name": "bucket", "permanent_local_path": place, "local_path": place,
                                                "drive_type": 1, "account": self.drive["account"]["id"] and {"id": self.drive["account"]["id"]}}})
        self.assertEqual(self.theirs_now(), before)

    def test_no_key_is_told_by_cryptd(self):
        """Of all that cryptd answers frontd may ask for numbers alone."""
        for name in wire.NUMBER_OF:
            if self.is_frontds(name, "cryptd"):
                self.assertIn(name, ("hello", "shutdown", "metrics_get"))


class Can(Evil):
    """What is not prevented: docs/SECURITY.md says so, and each of these is there."""

    def test_files_of_the_served_user(self):
        path = os.path.join(self.scratch, "own")
        with open(path, "wb") as f:
            f.write(ENTRY)
        shutil.chown(path, SERVED)
        self.assertNotEqual(self.ask("cloud_upload", {"cloud_account_id": self.drive["account"]["id"], "storage_name": "bucket",
                                                      "upload_path": "/", "local_file_path": path})[0], wire.ENVELOPE_FAILURE)
        wait_until(lambda: os.path.exists(os.path.join(self.bucket, "own")), 30, "the upload")
        self.assertIn("upload any file that the served user can read", self.page())

    def test_the_audit_log(self):
        """It is frontd that says who called; what it has said is not changed again."""
        self.assertNotEqual(self.ask("audit_call", {"call": 77, "uid": 12345, "method": "GET", "endpoint": "/forged"})[0], wire.ENVELOPE_FAILURE)
        lines = self.instance.request("GET", "/management/audit", socket_path=self.instance.info()["api_socket"]).json()
        self.assertIn("/forged", [line.get("endpoint") for line in lines])
        self.assertIn("lines that are not true", self.page())

    def test_keys_of_drives(self):
        mount, _ = self.folder_drive("keys", cloudObjectsEncrypted=True)
        self.held = {d: descriptors(self.pids[d]) for d in LETTER}
        drive = self.instance.api("GET", "/management/clouddrive", path=mount)[0]
        _, packet = self.ask("keys_export", {"id": drive["id"]})
        self.assertIn(b"AGE-SECRET-KEY-1", packet)
        self.assertIn("export the keys of drives", self.page())


class Ends(Evil):
    """The last thing that it can do."""

    def tearDown(self):
        pass

    def test_the_end_of_the_agent(self):
        self.instance.wait_uploaded(os.path.join(self.mount, "file"))
        for daemon in ("mountd", "syncd", "cryptd"):
            wire.send(self.connect(daemon), wire.envelope("shutdown", {}, 2))
            wait_until(lambda d=daemon: not lt.alive(self.pids[d]), 20, f"the end of {daemon}")
        self.assertIn("file", os.listdir(self.bucket))
        self.assertIn("end the agent", self.page())


if __name__ == "__main__":
    unittest.main()
