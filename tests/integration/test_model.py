#!/usr/bin/python3
"""Seeded random operations on a drive, and the same on a plain directory: results, errno and what stat(2) says are compared after each
step, whole trees now and then. In between the daemons are killed or ended, the drive is mounted anew, its cache is small, its
bucket is compared by another client, and a drive made anew on it must show the same. LANDFALL_SEED repeats a run; with
LANDFALL_SOAK each test goes on with the seeds that follow."""

import os
import random
import signal
import time
import unittest

import landfall_test as lt
import twin
from drive_case import DriveCase
from fault_case import SEED, turns
from killer import VICTIMS, Killer
from landfall_test import wait_until
from model import Model
from raw_s3 import RawS3

MIB = 1 << 20


class ModelCase(DriveCase):
    arguments = ("--set", "SettleMilliseconds=50")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)
        cls.killer = Killer(cls.instance)

    def begin(self, name, turn, most_size=2 * MIB, **more):
        self.seed = SEED + turn
        self.name = f"{name}-{self.seed}"
        self.bucket = self.server.make_bucket("lf-" + self.name)
        self.drive = self.add_drive(**more)
        plain = os.path.join(self.scratch, self.name)
        os.mkdir(plain)
        self.model = Model(self.drive["localPath"], plain, f"{self.seed} {name}", most_size)
        self.dice = random.Random(f"{self.seed} {name} what happens in between")
        os.umask(0o022)

    def add_drive(self, **more):
        return self.instance.add_drive(self.account, self.bucket, name=self.name, **{"syncIntervalSeconds": 3600, **more})

    def finish(self):
        self.model.close_all()
        self.instance.api("DELETE", f"/management/clouddrive/{self.drive['id']}", force="true")
        lt.remove_tree(self.model.roots[twin.PLAIN])
        print(f"  {self.name}: {self.model.steps} steps", flush=True)

    def guarded(self, call, *args):
        """A failure says how to repeat it and what came before."""
        try:
            return call(*args)
        except Exception as e:
            raise AssertionError(f"{e}\nrepeat with LANDFALL_SEED={self.seed}, the last steps were:\n{self.model.story()}") from e

    # --- what the cloud has -----------------------------------------------------------------------

    def state(self, name):
        path = os.path.join(self.model.roots[twin.DRIVE], name.rstrip("/"))
        if os.path.islink(path):
            return self.instance.api("GET", "/management/object_status", path=path) == 0 and "clean"
        return os.getxattr(path, "user.landfall.state").decode()

    def drained(self):
        return self.nothing_left() and all(self.state(n) == "clean" for n in twin.walk(self.model.roots[twin.PLAIN]))

    def nothing_left(self):
        """Also removals, which no path speaks for any more: the bucket has the keys that it should have."""
        return self.wanted_keys() == RawS3(self.server, self.bucket).keys()

    def wanted_keys(self):
        return {n.encode() for n in twin.walk(self.model.roots[twin.PLAIN])}

    def drain(self):
        try:
            wait_until(self.drained, 60, "the cloud to have everything")
        except AssertionError as e:
            stored, wanted = RawS3(self.server, self.bucket).keys(), self.wanted_keys()
            states = {n: self.state(n) for n in twin.walk(self.model.roots[twin.PLAIN])}
            raise AssertionError(f"{e}; missing in the bucket: {sorted(wanted - stored)}, too much there: {sorted(stored - wanted)}, "
                                 f"not clean: { {n: s for n, s in states.items() if s != 'clean'} }") from None

    def compare_bucket(self):
        """Every object by another client: its bytes are the file's."""
        self.model.note("the bucket is compared")
        self.model.flush_maps()
        self.drain()
        plain, raw = self.model.roots[twin.PLAIN], RawS3(self.server, self.bucket)
        for name in twin.walk(plain):
            path = os.path.join(plain, name)
            has = not name.endswith("/") and not os.path.islink(path)
            twin.compare_content(f"object {name}", raw.get(name), twin.content(path) if has else b"")

    def drive_anew(self):
        """Index and cache gone: all must come back from the bucket, metadata too."""
        self.model.note("a new drive on the same bucket")
        self.model.close_all()
        self.drain()
        self.instance.api("DELETE", f"/management/clouddrive/{self.drive['id']}", force="true")
        self.drive = self.add_drive()
        self.model.roots[twin.DRIVE] = self.drive["localPath"]
        self.model.await_metadata()
        self.model.compare()

    # --- what happens in between --------------------------------------------------------------------

    def kill(self):
        victim = self.dice.choice(VICTIMS)
        sig = signal.SIGTERM if victim == "worker" and self.dice.random() < 0.5 else signal.SIGKILL
        self.model.note(f"{victim} gets signal {sig}")
        thread = self.killer.kill_soon(victim, self.dice.uniform(0, 0.02), sig)
        self.model.run(self.dice.randrange(20))
        thread.join()

    def kill_several(self):
        victims = self.dice.sample(VICTIMS, self.dice.randrange(2, len(VICTIMS)))
        self.model.note(f"killed at once: {victims}")
        threads = [self.killer.kill_soon(v, self.dice.uniform(0, 0.01)) for v in victims]
        self.model.run(self.dice.randrange(20))
        for thread in threads:
            thread.join()

    def mount_anew(self):
        self.model.note("stopped and started")
        self.model.close_all()
        self.killer.wait()
        self.restart_instance()
        self.instance.wait_mounted(self.model.roots[twin.DRIVE])

    def between(self, weighted):
        names, weights = zip(*weighted)
        self.dice.choices(names, weights)[0]()

    def play(self, rounds, steps, weighted):
        for _ in range(rounds):
            self.guarded(self.model.run, steps)
            self.guarded(self.between, weighted)
            self.guarded(self.model.compare)
        self.guarded(self.killer.wait)
        self.guarded(self.drive_anew)


class ModelTest(ModelCase):
    def test_operations(self):
        for turn in turns():
            self.begin("model", turn)
            self.play(4, 250, [(self.compare_bucket, 3), (self.mount_anew, 1), (self.drive_anew, 1)])
            self.finish()

    def test_operations_while_daemons_are_killed(self):
        for turn in turns():
            self.begin("model-kills", turn)
            self.play(12, 60, [(self.kill, 6), (self.kill_several, 2), (self.mount_anew, 1), (self.drive_anew, 1)])
            self.finish()

    def test_operations_in_a_small_cache(self):
        for turn in turns():
            self.begin("model-small", turn, most_size=6 * MIB, maximumCacheSize=48 * MIB)
            self.play(3, 150, [(self.kill, 2), (self.drain, 3), (self.drive_anew, 1)])
            self.finish()


if __name__ == "__main__":
    unittest.main()
