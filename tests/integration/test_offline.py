#!/usr/bin/python3
"""The network is gone, or the folder: names and what is cached go on, nothing hangs, and what was done meanwhile reaches the cloud by
itself afterwards."""

import errno
import os
import threading
import time
import unittest

import landfall_test as lt
from cable import Cable
from drive_case import DriveCase
from fault_case import SOAK, FaultCase, content, interrupted, read_file, took, write_file
from landfall_test import wait_until

DEADLINE = 8          # of reads
PATIENCE = 3          # the longest that anything else waits, and that once; some of it for a slow machine; of these,
                      # lt.patience()
AT_ONCE = 0.7
NO_WAIT = 0.4         # of a listing alone; the least patience is 0.5
WAITS = 2             # who waits: one for the network, and one that the machine held up, which has others to run
DRAINED = 12          # seconds from the return of the network


def names_of(mount):
    """ls -lR, as a set of paths; whatever the kernel does not remember is asked for."""
    found = set()
    for here, folders, files in os.walk(mount):
        for name in folders + files:
            path = os.path.join(here, name)
            os.lstat(path)
            found.add(os.path.relpath(path, mount))
    return found


class Away:
    """What has to hold while the cloud of a drive is away. `put`, `go`, `come_back` and `bucket_has` are the subclasses'."""

    def prepare(self, mount):
        """Files in the cloud, of which only those below cached/ are here. Returns name to bytes."""
        files = {f"{d}/f{i}": content(self.dice, 70_000 + i) for d in ("cached", "absent", "cached/deep") for i in range(6)}
        self.put(files)
        wait_until(lambda: all(os.path.exists(os.path.join(mount, name)) for name in files), 60, "the files in the mount")
        for name, data in files.items():
            if name.startswith("cached"):
                self.assertEqual(read_file(os.path.join(mount, name)), data)
        time.sleep(1.1)       # the sync interval passes: every name would have to be asked for again
        return files

    def quick(self, what, call, *args):
        """Nothing waits long, and few wait at all."""
        seconds, result = took(call, *args)
        self.assertLess(seconds, lt.patience(PATIENCE), what)
        if seconds > lt.patience(AT_ONCE):
            self.waits.append((what, round(seconds, 2)))
            self.assertLessEqual(len(self.waits), WAITS, self.waits)
        if isinstance(result, OSError):
            raise result
        return result

    def check_names(self, mount, wanted, seconds):
        end = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < end or rounds < 4:
            self.assertEqual(self.quick("ls -lR", names_of, mount), wanted)
            self.quick("statfs", os.statvfs, mount)
            self.assertFalse(self.quick("a name that is not there", os.path.exists, os.path.join(mount, f"nothing-{rounds}")))
            rounds += 1

    def check_cached(self, mount, files):
        for name, data in files.items():
            if name.startswith("cached"):
                self.assertTrue(self.quick("read of cached content", read_file, os.path.join(mount, name)) == data, name)

    def check_absent(self, mount):
        began = time.monotonic()
        fd = self.quick("open of what is absent", os.open, os.path.join(mount, "absent/f1"), os.O_RDONLY)
        seconds, result = took(os.read, fd, 4096)
        os.close(fd)
        self.assertIsInstance(result, OSError)
        self.assertEqual(result.errno, errno.EIO)
        self.assertLess(seconds, lt.patience(DEADLINE + 3))
        print(f"  read of absent data failed after {time.monotonic() - began:.1f} s", flush=True)

    def change(self, mount, files):
        """Writes, renames, removals. Returns what the cloud has to have in the end."""
        wanted = dict(files)
        for i in range(5):
            wanted[f"new/n{i}"] = content(self.dice, 50_000)
        self.quick("mkdir", os.mkdir, os.path.join(mount, "new"))
        for name in [n for n in wanted if n.startswith("new/")] + ["cached/f0"]:
            wanted[name] = content(self.dice, 60_000)
            self.quick("write", write_file, os.path.join(mount, name), wanted[name])
        self.quick("rename", os.rename, os.path.join(mount, "cached/f1"), os.path.join(mount, "renamed"))
        wanted["renamed"] = wanted.pop("cached/f1")
        self.quick("rename of a directory", os.rename, os.path.join(mount, "cached/deep"), os.path.join(mount, "deeper"))
        for i in range(6):
            wanted[f"deeper/f{i}"] = wanted.pop(f"cached/deep/f{i}")
        self.quick("rename of what is absent", os.rename, os.path.join(mount, "absent/f0"), os.path.join(mount, "absent/moved"))
        wanted["absent/moved"] = wanted.pop("absent/f0")
        self.quick("removal", os.unlink, os.path.join(mount, "cached/f2"))
        del wanted["cached/f2"]
        return wanted

    def check_drained(self, mount, wanted):
        began = time.monotonic()
        self.come_back()
        wait_until(lambda: self.bucket_has() == wanted, 120, "the cloud to be what the mount shows")
        seconds = time.monotonic() - began
        print(f"  all in the cloud {seconds:.1f} s after its return", flush=True)
        self.assertLess(seconds, lt.patience(DRAINED))
        for name, data in wanted.items():
            wait_until(lambda n=name, d=data: read_file(os.path.join(mount, n)) == d, 15, f"{name} through the mount")
        for name in wanted:
            wait_until(lambda n=name: os.getxattr(os.path.join(mount, n), "user.landfall.state") == b"clean", 15, f"{name} to be clean")

    def check_all(self, mount, interrupt=True):
        files = self.prepare(mount)
        wanted = {d for name in files for d in (name, os.path.dirname(name))}
        self.waits = []
        self.go()
        self.check_names(mount, wanted, SOAK or 15)
        self.check_cached(mount, files)
        if interrupt:
            seconds = interrupted("cat", os.path.join(mount, "absent/f2"))
            self.assertLess(seconds, lt.patience(3.5))
            print(f"  cat ended {seconds:.1f} s after SIGINT", flush=True)
        self.check_absent(mount)
        wanted = self.change(mount, files)
        self.check_cached(mount, {n: d for n, d in wanted.items() if n.startswith("cached")})
        print(f"  what waited: {self.waits}", flush=True)
        self.check_drained(mount, wanted)


class Network(Away, FaultCase):
    # Of a silent server the kernel knows nothing; only time tells.
    arguments = ("--set", f"ReadDeadlineSeconds={DEADLINE}", "--set", "CloudStallSeconds=5")

    def put(self, files):
        FaultCase.put(self, self.bucket, files)

    def bucket_has(self):
        return self.stored(self.bucket, check=False)

    def come_back(self):
        self.proxy.heal()

    def test_silent(self):
        mount, self.bucket = self.s3_drive("offline-silent")
        self.go = self.proxy.silence
        self.check_all(mount)

    def test_refused(self):
        mount, self.bucket = self.s3_drive("offline-refused")
        self.go = self.proxy.refuse
        self.check_all(mount, interrupt=False)    # the read fails sooner than anybody could interrupt it


class Cut(Network):
    """A network that swallows everything, as when a cable is pulled somewhere."""

    arguments = ("--set", f"ReadDeadlineSeconds={DEADLINE}", "--set", "AllowPlainHttp=true")
    test_silent = test_refused = None

    @classmethod
    def make_cable(cls):
        cls.cable = Cable().lay()
        cls.addClassCleanup(cls.cable.remove)
        return cls.cable

    def come_back(self):
        self.cable.plug_in()

    def test_pulled(self):
        mount, self.bucket = self.s3_drive("offline-pulled")
        self.go = self.cable.pull
        self.check_all(mount)

    def test_listings_that_are_due(self):
        """Of many of several directories one waits; and what another client changed meanwhile is there soon after."""
        mount, bucket = self.s3_drive("offline-listings")
        folders = [f"d{i}" for i in range(6)]
        FaultCase.put(self, bucket, {f"{d}/f": b"x" for d in folders})
        self.see(mount, [f"{d}/f" for d in folders])
        for d in folders:
            os.listdir(os.path.join(mount, d))
        self.instance.restart("syncd")    # a new one refreshes nothing before somebody comes by
        os.statvfs(mount)
        time.sleep(1.1)       # the sync interval passes: all are due
        self.cable.pull()
        waits = []
        for i in range(30):
            d = folders[i % len(folders)]
            seconds, names = took(os.listdir, os.path.join(mount, d))
            self.assertEqual(names, ["f"])
            self.assertLess(seconds, lt.patience(PATIENCE))
            if seconds > lt.patience(NO_WAIT):
                waits.append((i, d, round(seconds, 2)))
            time.sleep(0.4)   # all of it takes as long as failures were once remembered
        print(f"  who waited of 30: {waits}", flush=True)
        self.assertLessEqual(len(waits), WAITS)
        FaultCase.put(self, bucket, {"d3/new": b"y"})
        self.cable.plug_in()
        seconds, _ = took(wait_until, lambda: "new" in os.listdir(os.path.join(mount, "d3")), 30, "the remote change")
        print(f"  a remote change was seen {seconds:.1f} s after the return", flush=True)
        self.assertLess(seconds, lt.patience(1 + 6))

    def test_pulled_while_files_are_written(self):
        """200 files, and in their middle the network is gone."""
        mount, bucket = self.s3_drive("offline-writing")
        off = SOAK or 20
        files = {f"f{i:03}": content(self.dice, 100_000) for i in range(200)}
        longest, failed = [0.0], []

        def write_all():
            for name, data in files.items():
                seconds, result = took(write_file, os.path.join(mount, name), data)
                longest[0] = max(longest[0], seconds)
                if result is not None:
                    failed.append((name, result))
                time.sleep(0.02 + off / 400)      # half of them while it is gone

        writer = threading.Thread(target=write_all)
        began = time.monotonic()
        writer.start()
        wait_until(lambda: len(self.server.rclone("lsf", f"s3:{bucket}").stdout.splitlines()) >= 20, 60, "the first files in the cloud")
        self.cable.pull()
        print(f"  {time.monotonic() - began:5.1f} s: the network is cut; {len(os.listdir(mount))} files are written", flush=True)
        time.sleep(off)       # the outage itself
        print(f"  {time.monotonic() - began:5.1f} s: it is back; {len(os.listdir(mount))} files are written", flush=True)
        self.cable.plug_in()
        back = time.monotonic()
        writer.join()
        print(f"  {time.monotonic() - began:5.1f} s: the last file is written; the longest write took {longest[0]:.2f} s", flush=True)
        self.wait_clean([os.path.join(mount, name) for name in files], 120)
        print(f"  {time.monotonic() - began:5.1f} s: all in the cloud, {time.monotonic() - back:.1f} s after its return", flush=True)
        self.assertEqual(failed, [])
        self.assertLess(longest[0], lt.patience(PATIENCE))
        self.assertStored(bucket, files)


class Folder(Away, DriveCase):
    arguments = ("--set", f"ReadDeadlineSeconds={DEADLINE}")

    def setUp(self):
        import random
        self.dice = random.Random(self.id())

    def put(self, files):
        owner = os.stat(self.bucket)
        for name, data in files.items():
            path = os.path.join(self.bucket, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_file(path, data)
        lt.run("chown", "-R", f"{owner.st_uid}:{owner.st_gid}", self.bucket)

    def go(self):
        os.rename(self.root, self.root + ".away")

    def come_back(self):
        os.rename(self.root + ".away", self.root)

    def bucket_has(self):
        found = {}
        for here, folders, names in os.walk(self.bucket):
            folders[:] = [f for f in folders if f != ".landfall"]
            for name in names:
                path = os.path.join(here, name)
                found[os.path.relpath(path, self.bucket)] = read_file(path)
        return found

    def test_the_folder_vanishes(self):
        mount, self.bucket = self.folder_drive(syncIntervalSeconds=1)
        self.root = os.path.dirname(self.bucket)
        self.check_all(mount, interrupt=False)


if __name__ == "__main__":
    unittest.main()
