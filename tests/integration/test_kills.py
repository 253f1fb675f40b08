#!/usr/bin/python3
"""Programs at work on a drive while every daemon is killed again and again, at random moments: fio that verifies what it wrote, a git
clone, a compile. None of them sees an error, and no byte is lost, here or in the bucket. LANDFALL_KILLS says how often each daemon
is killed (20 is what `make soak` takes), LANDFALL_SEED when."""

import json
import os
import random
import shutil
import threading
import time
import unittest

import landfall_test as lt
from drive_case import DriveCase, difference
from fault_case import SEED, SOAK
from killer import Killer, Schedule
from landfall_test import wait_until

KILLS = int(os.environ.get("LANDFALL_KILLS", "20" if SOAK else "2"))
PAUSE = 0.4                    # between kills, on average
LONG = KILLS >= 10
FILES = 2000 if LONG else 150  # of the repository
SOURCES = 60 if LONG else 15   # of the program that is compiled, and ...
FUNCTIONS = 40                 # of each
FIO_SIZE = "64m" if LONG else "8m"

GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
       "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.com", "GIT_COMMITTER_NAME": "Test",
       "GIT_COMMITTER_EMAIL": "test@example.com"}
MAKEFILE = """objects = $(patsubst %.c,%.o,$(wildcard source-*.c))
program: $(objects)
\tcc -o $@ $^
%.o: %.c
\tcc -O1 -c -o $@ $<
"""


def git(*argv, cwd):
    return lt.run("git", *argv, cwd=cwd, env=lt.clean_env(**GIT))


def source(n):
    """A file of the program; the first has main(), which prints the sum of what all return."""
    body = "".join(f"static int f{i}(int x) {{ return x * {i + n} % 1009 + {'f%d(x + 1)' % (i - 1) if i else '1'}; }}\n" for i in range(FUNCTIONS))
    body += f"int part_{n}(void) {{ return f{FUNCTIONS - 1}({n}); }}\n"
    if n == 0:
        body += "int printf(const char *, ...);\n" + "".join(f"int part_{i}(void);\n" for i in range(SOURCES))
        body += "int main(void) { return printf(\"%d\\n\", " + " + ".join(f"part_{i}()" for i in range(SOURCES)) + ") < 0; }\n"
    return body


class Work(threading.Thread):
    """One program after the other until it is told to stop; the first error ends it."""

    def __init__(self, turn):
        super().__init__(daemon=True)
        self.turn, self.turns, self.error, self.enough = turn, 0, None, threading.Event()

    def run(self):
        try:
            while not self.enough.is_set() or self.turns == 0:
                self.turn(self.turns)
                self.turns += 1
        except BaseException as e:      # is raised where the caller joins
            self.error = e

    def end(self):
        self.enough.set()
        self.join()
        if self.error:
            raise self.error


class Heartbeat(threading.Thread):
    """An application that looks at a file, writes a little and reads it back, all the time. How long it had to wait at most."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.enough, self.error = path, threading.Event(), None
        self.waits = []                # (when it began, seconds)

    def beat(self, fd, n):
        data = n.to_bytes(8, "little")
        os.pwrite(fd, data, 0)
        os.stat(self.path)
        if os.pread(fd, 8, 0) != data:
            raise AssertionError("what was just written is not there")

    def run(self):
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            n = 0
            while not self.enough.is_set():
                began = time.monotonic()
                self.beat(fd, n)
                self.waits.append((began, time.monotonic() - began))
                n += 1
                time.sleep(0.002)
            os.close(fd)
        except BaseException as e:      # is raised where the caller joins
            self.error = e

    def end(self):
        self.enough.set()
        self.join()
        if self.error:
            raise self.error
        return self.waits


class Kills(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.bucket = cls.server.make_bucket("lf-kills")
        account = cls.instance.add_s3_account(cls.server)
        cls.mount = cls.instance.add_drive(account, cls.bucket, name="kills")["localPath"]

    # --- the programs -------------------------------------------------------------------------------

    def fio(self, turn):
        """Writes at random, and reads it all again with a checksum in each block."""
        path = os.path.join(self.mount, f"fio-{turn % 2}")
        said = lt.run("fio", "--name=verify", f"--filename={path}", f"--size={FIO_SIZE}", "--rw=randwrite", "--bsrange=4k-64k", "--ioengine=psync",
                      "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--fsync=64", f"--randseed={SEED + turn}", "--output-format=json",
                      "--verify_state_save=0", timeout=600)
        job = json.loads(said.stdout[said.stdout.index("{"):])["jobs"][0]
        self.assertEqual(job["error"], 0)

    def clone(self, turn):
        path = os.path.join(self.mount, f"clone-{turn % 3}")
        if os.path.exists(path):
            shutil.rmtree(path)
        git("clone", "-q", "--no-hardlinks", self.origin, path, cwd=self.mount)
        git("fsck", "--strict", cwd=path)
        self.assertEqual(git("status", "--porcelain", cwd=path).stdout, "")
        self.assertEqual(difference(os.path.join(self.origin, "tree"), os.path.join(path, "tree")), b"")

    def compile(self, turn):
        path = os.path.join(self.mount, f"build-{turn % 2}")
        if os.path.exists(path):
            shutil.rmtree(path)
        shutil.copytree(self.sources, path)
        lt.run("make", "-s", "-C", path)
        self.assertEqual(lt.run(os.path.join(path, "program")).stdout, self.sum)
        lt.run("make", "-q", "-C", path)        # times are kept: nothing is left to do

    # --- what they work on ---------------------------------------------------------------------------

    def make_repository(self):
        self.origin = os.path.join(self.scratch, "origin")
        dice = random.Random(SEED)
        for i in range(FILES):
            path = os.path.join(self.origin, "tree", f"d{i % 17}", f"file-{i}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(dice.randbytes(dice.randrange(40000)))
        git("init", "-q", "-b", "main", ".", cwd=self.origin)
        git("add", "-A", cwd=self.origin)
        git("commit", "-q", "-m", "first", cwd=self.origin)

    def make_sources(self):
        self.sources = os.path.join(self.scratch, "sources")
        os.mkdir(self.sources)
        for n in range(SOURCES):
            with open(os.path.join(self.sources, f"source-{n}.c"), "w") as f:
                f.write(source(n))
        with open(os.path.join(self.sources, "Makefile"), "w") as f:
            f.write(MAKEFILE)
        reference = os.path.join(self.scratch, "built")
        shutil.copytree(self.sources, reference)
        lt.run("make", "-s", "-j2", "-C", reference)
        self.sum = lt.run(os.path.join(reference, "program")).stdout

    def compare_bucket(self):
        """Everything there and nothing else, by another client; which does not make empty folders."""
        stored = os.path.join(self.scratch, "stored")
        self.server.rclone("copy", "--fast-list", "--transfers", "8", f"s3:{self.bucket}", stored, timeout=600)
        for here, _, _ in os.walk(self.mount):
            os.makedirs(os.path.join(stored, os.path.relpath(here, self.mount)), exist_ok=True)
        self.assertSameTree(self.mount, stored)

    def drained(self):
        paths = [os.path.join(here, name) for here, _, names in os.walk(self.mount) for name in names]
        return (all(os.getxattr(p, "user.landfall.state") == b"clean" for p in paths if not os.path.islink(p))
                and self.instance.api("GET", "/management/clouddrive")[0]["pendingChanges"] == 0)      # removals, too

    # --- tests ----------------------------------------------------------------------------------------

    def test_programs_at_work(self):
        self.make_repository()
        self.make_sources()
        began = time.monotonic()
        works = [Work(turn) for turn in (self.fio, self.clone, self.compile)]
        heart = Heartbeat(os.path.join(self.mount, "heartbeat"))
        schedule = Schedule(self.instance, KILLS, SEED, PAUSE)
        for thread in [*works, heart, schedule]:
            thread.start()
        wait_until(lambda: schedule.over or any(w.error for w in works) or heart.error, 60 + 20 * 5 * KILLS, "the last kill")
        schedule.stopped.set()
        schedule.end()
        waits = heart.end()
        for work in works:
            work.end()
        print(f"  seed {SEED}, {time.monotonic() - began:.0f} s, killed: {schedule.summary()}; meanwhile fio {works[0].turns} times, "
              f"git clone {works[1].turns}, compile {works[2].turns}, no error; heartbeat {len(waits)}, the longest took "
              f"{max(w for _, w in waits) * 1000:.0f} ms", flush=True)
        wait_until(self.drained, 180, "the cloud to have everything")
        self.compare_bucket()

    def stalls(self, victim, times):
        """How long an application has to wait at each kill, in seconds, when what is killed has served for a second or more."""
        killer, path = Killer(self.instance), os.path.join(self.mount, "stall")
        heart = Heartbeat(path)
        heart.start()
        worst = []
        for _ in range(times):
            steady = time.monotonic() + 1.2
            wait_until(lambda t=steady: heart.waits and heart.waits[-1][0] > t, 30, "the application to go on")
            at = time.monotonic()
            killer.kill(victim)
            wait_until(lambda n=len(heart.waits): len(heart.waits) > n + 50, 30, "the application to go on")
            worst.append(max(w for began, w in heart.waits if began + w >= at))
        heart.end()
        os.unlink(path)
        print(f"  stalls when {victim} was killed, ms: " + ", ".join(f"{w * 1000:.0f}" for w in worst), flush=True)
        return worst

    def test_what_is_killed_each_time_it_is_back_comes_soon_again(self):
        """The pause before the next start grows, but not beyond what a program may wait."""
        heart = Heartbeat(os.path.join(self.mount, "again"))
        heart.start()
        killer = Killer(self.instance)
        for victim in ("syncd", "worker"):
            for _ in range(9):
                wait_until(lambda n=len(heart.waits): len(heart.waits) > n + 1, 30, "the application to go on")
                killer.kill(victim)
        wait_until(lambda n=len(heart.waits): len(heart.waits) > n + 1, 30, "the application to go on")
        longest = max(w for _, w in heart.end())
        print(f"  killed nine times in a row: the longest call took {longest * 1000:.0f} ms", flush=True)
        self.assertLess(longest, lt.patience(3))

    # The machine, which has others to run, may hold up one of three as well.

    def test_an_application_waits_briefly_for_the_next_worker(self):
        self.assertLess(sorted(self.stalls("worker", 3))[1], lt.patience(2))

    def test_an_application_waits_briefly_for_the_next_daemon(self):
        for daemon in ("syncd", "mountd"):
            self.assertLess(sorted(self.stalls(daemon, 3))[1], lt.patience(2))


if __name__ == "__main__":
    unittest.main()
