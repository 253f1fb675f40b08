#!/usr/bin/python3
"""Two agents on one bucket, each writing through its own mount, and the history of what both did. Every write goes through a
descriptor that the file was read through before, so the history says which version each write was based on. At the end each
acknowledged write exists, under its name or as a copy beside it, unless another one was based on it."""

import contextlib
import dataclasses
import os
import random
import threading
import time
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import SEED, SOAK, FaultProxy, read_file
from landfall_test import wait_until

NAMES = [f"file-{i}.txt" for i in range(5)]
SECONDS = SOAK or 20
STALL = 2


@dataclasses.dataclass
class Write:
    agent: int
    name: str
    content: bytes
    base: bytes | None         # what was in the file; None: it was new
    acknowledged: bool = False


class Agent(threading.Thread):
    """Reads and writes at random through one mount until it is told to stop."""

    def __init__(self, number, mount, seed):
        super().__init__(daemon=True)
        self.number, self.mount = number, mount
        self.dice = random.Random(seed)
        self.writes, self.reads, self.errors = [], [], []
        self.stop = threading.Event()

    def run(self):
        while not self.stop.wait(self.dice.expovariate(8)):
            name = self.dice.choice(NAMES)
            try:
                (self.write if self.dice.random() < 0.6 else self.read)(name)
            except OSError as e:
                self.errors.append((name, e))

    def read(self, name):
        with contextlib.suppress(FileNotFoundError):
            self.reads.append((name, read_file(os.path.join(self.mount, name))))

    def open(self, name):
        """(descriptor, what is in it)"""
        path = os.path.join(self.mount, name)
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), None
        try:
            return fd, os.pread(fd, 1 << 20, 0)
        except OSError:
            os.close(fd)
            raise

    def write(self, name):
        fd, base = self.open(name)
        text = f"{self.number} {len(self.writes)} {name} "
        write = Write(self.number, name, (text + "x" * self.dice.randrange(3000)).encode(), base)
        self.writes.append(write)
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, write.content, 0)
        finally:
            os.close(fd)
        write.acknowledged = True

    def acknowledged(self):
        return sum(w.acknowledged for w in self.writes)

    def end(self):
        self.stop.set()
        self.join()


class TwoAgents(DriveCase):
    arguments = ("--set", f"CloudStallSeconds={STALL}", "--set", "CloudConnectSeconds=2", "--set", "ReadDeadlineSeconds=10")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.other = lt.Instance(arguments=cls.arguments).start()
        cls.addClassCleanup(cls.other.remove)
        cls.agents = []
        for n, instance in enumerate((cls.instance, cls.other)):
            proxy = FaultProxy(cls.server.port, SEED + n).start()
            cls.addClassCleanup(proxy.stop)
            account = instance.api("POST", "/cloud/insert_account", {
                "name": "s3", "cloudType": 8, "serviceUrl": proxy.url, "region": cls.server.region,
                "accessKey": cls.server.access_key, "secretKey": cls.server.secret_key})
            cls.agents.append((instance, proxy, account))

    def setUp(self):
        self.dice = random.Random(f"{SEED} {self.id()}")

    def run_history(self, name, meanwhile):
        bucket = self.server.make_bucket("lf-" + name)
        self.bucket = bucket
        self.mounts = [instance.add_drive(account, bucket, name=name, syncIntervalSeconds=1)["localPath"]
                       for instance, _, account in self.agents]
        agents = [Agent(n, mount, self.dice.random()) for n, mount in enumerate(self.mounts)]
        for agent in agents:
            agent.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or (sum(map(Agent.acknowledged, agents)) <= SECONDS and time.monotonic() < end + lt.patience(60)):
            meanwhile()
        for agent in agents:
            agent.end()
        for _, proxy, _ in self.agents:
            proxy.heal()
        self.wait_drained()
        self.check(agents)

    def clean(self, mount):
        return all(os.getxattr(os.path.join(mount, n), "user.landfall.state") == b"clean" for n in os.listdir(mount))

    def stored(self):
        folder = os.path.join(self.scratch, f"stored-{len(os.listdir(self.scratch))}")
        self.server.rclone("copy", "--transfers", "8", f"s3:{self.bucket}", folder, check=False)    # what is renamed meanwhile is missed
        return {n: read_file(os.path.join(folder, n)) for n in os.listdir(folder)}

    def shown(self, mount):
        return {n: read_file(os.path.join(mount, n)) for n in os.listdir(mount)}

    def wait_drained(self):
        began = time.monotonic()
        wait_until(lambda: all(self.clean(m) for m in self.mounts), 120, "both agents to be done")
        wait_until(lambda: all(self.shown(m) == self.stored() for m in self.mounts) and all(self.clean(m) for m in self.mounts), 120,
                   "both mounts to show what the bucket has")
        print(f"  drained in {time.monotonic() - began:.1f} s", flush=True)

    def check(self, agents):
        writes = [w for a in agents for w in a.writes]
        final = self.stored()
        acknowledged = [w for w in writes if w.acknowledged]
        print(f"  seed {SEED}: {len(acknowledged)} of {len(writes)} writes acknowledged, {sum(len(a.reads) for a in agents)} reads, "
              f"{sum(len(a.errors) for a in agents)} errors, {sum(' (conflict ' in n for n in final)} copies", flush=True)
        self.assertGreater(len(acknowledged), SECONDS)
        known = {w.content for w in writes} | {b"", None}      # new files are empty until they are written
        strange = [(n, r[:60]) for a in agents for n, r in a.reads if r not in known] + [w for w in writes if w.base not in known]
        self.assertEqual(strange, [], "read, but never written so")
        there = set(final.values())
        based_on = {w.base for w in writes}
        lost = [w for w in acknowledged if w.content not in there and w.content not in based_on]
        self.assertEqual([(w.agent, w.content[:30]) for w in lost], [], "acknowledged, and gone")
        for name, content in final.items():
            self.assertTrue(any(name == w.name or name.startswith(w.name.removesuffix(".txt") + " (conflict ")
                                for w in writes if w.content == content) or content == b"", f"{name} has what was written elsewhere")

    def test_history(self):
        self.run_history("two-agents", lambda: time.sleep(0.1))

    def break_something(self):
        """One of the two has a bad network, now this way and now that."""
        proxy = self.dice.choice(self.agents)[1]
        kind = self.dice.choice(["cut_request", "cut_response", "no_answer", "refused", "duplicated", "delayed", "away"])
        if kind == "away":
            self.dice.choice([proxy.silence, proxy.refuse])()
            time.sleep(self.dice.uniform(0, 3))
            proxy.heal()
        else:
            proxy.add(kind, method=self.dice.choice(["PUT", "PUT|POST", ".*"]), count=self.dice.randrange(1, 5), seconds=0.5,
                      status=500, code="InternalError", performed=self.dice.random() < 0.5)
            time.sleep(self.dice.uniform(0, 0.5))

    def test_history_with_failing_networks(self):
        self.run_history("two-agents-faults", self.break_something)


if __name__ == "__main__":
    unittest.main()
