#!/usr/bin/python3
"""One file in every way a program can use it (file_exerciser.c): several at once, each with a seed of its own, on a drive whose
cache is small; undisturbed, and while daemons are killed. Afterwards the bucket has the same bytes. LANDFALL_SEED repeats a run."""

import os
import random
import subprocess
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import SEED, SOAK, turns
from killer import Schedule
from landfall_test import wait_until
from raw_s3 import RawS3
from twin import content

MIB = 1 << 20
PROGRAM = os.path.join(lt.BUILD, "tests", "integration", "file_exerciser")
AT_ONCE = 2
OPERATIONS = 1500
DENSITIES = [(20, AT_ONCE, 0.5), (20, 5, 0.12)]     # in a soak: for how long, how many, and the pause between two kills


class Exercises:
    bucket = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        account = cls.instance.add_s3_account(cls.server)
        cls.server.make_bucket(cls.bucket)
        cls.mount = cls.instance.add_drive(account, cls.bucket, name="exerciser", maximumCacheSize=64 * MIB)["localPath"]

    def start(self, seed, *arguments):
        path = os.path.join(self.mount, f"file-{seed}")
        return path, subprocess.Popen([PROGRAM, "-s", str(seed), *arguments, path], env=lt.clean_env(), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, path, program):
        said = program.communicate(timeout=300)[0]
        self.assertEqual(program.returncode, 0, said)
        print("  " + said.strip(), flush=True)
        self.instance.wait_uploaded(path)
        there = self.instance.opened("exerciser", RawS3(self.server, self.bucket).get(os.path.basename(path)))
        self.assertTrue(there == content(path), f"{path} in the bucket")
        os.unlink(path)

    def test_files_while_daemons_are_killed(self):
        for turn in turns():
            seconds, at_once, pause = random.Random(f"{SEED} {turn}").choice(DENSITIES) if SOAK else (6, AT_ONCE, 0.5)
            started = [self.start(SEED + turn + 1000 * n, "-t", str(seconds)) for n in range(2, 2 + at_once)]
            schedule = Schedule(self.instance, 1000, random.Random(f"{SEED} {turn}").random(), pause=pause)
            schedule.start()
            wait_until(lambda s=started: all(p.poll() is not None for _, p in s), 300, "the programs to end")
            schedule.stopped.set()
            schedule.end()
            print(f"  killed: {schedule.summary()}", flush=True)
            for running in started:
                self.finish(*running)


class Exerciser(Exercises, DriveCase):
    arguments = ("--set", "SettleMilliseconds=50")
    bucket = "lf-exerciser"

    def test_files(self):
        for turn in turns():
            for running in [self.start(SEED + turn + 1000 * n, "-n", str(OPERATIONS)) for n in range(AT_ONCE)]:
                self.finish(*running)


class OldKernel(Exercises, DriveCase):
    """One that sends no request again: the next worker carries out what the last one owed."""
    arguments = ("--set", "SettleMilliseconds=50", "--set", "RecentFuse=false")
    bucket = "lf-exerciser-old"


if __name__ == "__main__":
    unittest.main()
