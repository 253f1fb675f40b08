#!/usr/bin/python3
"""The limit of a drive's cache, on a real mount, while it is read and written far beyond. The caches lie on a file system
of their own, whose statvfs(2) says at one stroke what they take; a walk through the folder would count what goes and
what comes in its place both."""

import errno
import os
import pwd
import threading
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase, fill
from landfall_test import wait_until

MIB = 1 << 20
CAP = 48 * MIB


def blocks_below(path):
    """What du -s says, in bytes; what goes meanwhile does not count."""
    total = 0
    for here, _, names in os.walk(path):
        for name in [""] + names:
            try:
                total += os.lstat(os.path.join(here, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def taken_of(path):
    st = os.statvfs(path)
    return (st.f_blocks - st.f_bfree) * st.f_frsize


class Watch(threading.Thread):
    """The most that was taken on the file system, as far as was seen, beyond what was there."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.most, self.looks, self.ended = path, 0, 0, threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.most = max(self.most, taken_of(self.path))
            self.looks += 1
            self.ended.wait(0.001)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


class LimitCase(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.caches = os.path.join(cls.instance.dir, "state", "cache")
        os.makedirs(cls.caches, exist_ok=True)
        account = pwd.getpwnam(SERVED)
        lt.run("mount", "-t", "tmpfs", "-o", f"size=4g,mode=0700,uid={account.pw_uid},gid={account.pw_gid}", "caches", cls.caches)
        cls.addClassCleanup(lt.run, "umount", "-l", cls.caches)

    def tearDown(self):
        for drive in self.instance.api("GET", "/management/clouddrive"):
            self.instance.api("DELETE", f"/management/clouddrive/{drive['id']}", force="true")

    @classmethod
    def limited_drive(cls, name, **more):
        mount, bucket = cls.folder_drive(name=name, maximumCacheSize=CAP, rotationalCache=True, **more)
        drive = next(d for d in cls.instance.api("GET", "/management/clouddrive") if d["name"] == name)
        return mount, bucket, drive

    def see(self, mount, bucket, names):
        """Until the drive shows what was put into its bucket. Returns the paths in the drive."""
        owner = os.stat(bucket)
        lt.run("chown", "-R", f"{owner.st_uid}:{owner.st_gid}", bucket)
        paths = [os.path.join(mount, name) for name in names]
        wait_until(lambda: all(os.path.exists(path) for path in paths), 20, "the names of the cloud")
        return paths

    def put(self, mount, bucket, names, size, seed=0):
        """Objects that are in the cloud before anything is read. Returns their paths in the drive."""
        for n, name in enumerate(names):
            path = os.path.join(bucket, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fill(path, size, seed + n)
        return self.see(mount, bucket, names)

    def read_all(self, folder):
        lt.run("find", folder, "-type", "f", "-exec", "cat", "{}", "+", text=False)


class Reading(LimitCase):
    def test_a_tree_ten_times_the_limit(self):
        mount, bucket, drive = self.limited_drive("tree", syncIntervalSeconds=1)
        self.put(mount, bucket, [f"d{n % 7}/f{n}" for n in range(120)], 4 * MIB)
        with Watch(self.caches) as watch:
            for _ in range(2):
                lt.run("diff", "-r", "--no-dereference", bucket, mount, "--exclude=.landfall")
        self.assertLessEqual(watch.most, CAP)
        self.assertGreater(watch.most, CAP // 2)
        self.assertGreater(watch.looks, 0)

    def test_the_working_set_survives_a_scan(self):
        mount, bucket, drive = self.limited_drive("scan", syncIntervalSeconds=1)
        work = self.put(mount, bucket, [f"work/{n}" for n in range(8)], 2 * MIB)
        self.put(mount, bucket, [f"rest/{n}" for n in range(60)], 4 * MIB, seed=100)

        def read(paths):
            for path in paths:
                with open(path, "rb") as f:
                    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    self.assertEqual(len(f.read()), 2 * MIB)

        def here():
            cached = blocks_of(drive["permanentLocalPath"], [os.stat(path).st_ino for path in work])
            return sum(n >= 2 * MIB for n in cached)

        read(work)
        ended = threading.Event()
        ended.wait(11)   # uses within ten seconds are one; nothing to be awaited tells that they passed
        read(work)
        self.read_all(os.path.join(mount, "rest"))
        self.assertEqual(here(), 8)

    def test_five_hundred_open_files(self):
        mount, bucket, drive = self.limited_drive("many", syncIntervalSeconds=1)
        for n in range(500):
            self.write_small(os.path.join(bucket, f"s{n}"), n)
        files = [open(path, "rb") for path in self.see(mount, bucket, [f"s{n}" for n in range(500)])]
        with Watch(self.caches) as watch:
            for at in (0, 150_000, 50_000):
                for n, f in enumerate(files):
                    f.seek(at)
                    self.assertEqual(f.read(8), (n * 1000 + at // 50_000).to_bytes(8, "little"))
        for f in files:
            f.close()
        self.assertLessEqual(watch.most, CAP)

    def write_small(self, path, n):
        with open(path, "wb") as f:
            for part in range(4):
                f.write((n * 1000 + part).to_bytes(8, "little") + os.urandom(49_992))


def blocks_of(folder, inos):
    out = []
    for ino in inos:
        try:
            out.append(os.stat(os.path.join(folder, f"{ino & 0xff:02x}", f"{ino:x}.{lt.CONTENT}")).st_blocks * 512)
        except FileNotFoundError:
            out.append(0)
    return out


class Writing(LimitCase):
    arguments = ("--set", "SettleMilliseconds=40000", "--set", "WriteWaitSeconds=1")

    def test_beyond_the_limit_without_uploads(self):
        mount, bucket, drive = self.limited_drive("full")
        written, reference = [], os.path.join(self.scratch, "reference")
        os.mkdir(reference)

        def write(n):
            fill(os.path.join(reference, f"w{n}"), 4 * MIB, n)
            lt.run("cp", os.path.join(reference, f"w{n}"), os.path.join(mount, f"w{n}"))
            written.append(f"w{n}")

        with Watch(self.caches) as watch:
            with self.assertRaisesRegex(AssertionError, "No space left on device"):
                for n in range(40):
                    write(n)
            refused = f"w{len(written)}"
            self.assertGreater(len(written), 6)
            for name in written:
                self.assertSameFile(os.path.join(reference, name), os.path.join(mount, name))
            os.unlink(os.path.join(mount, refused))
            wait_until(lambda: all(os.path.exists(os.path.join(bucket, name)) for name in written), 150, "the uploads")
            for name in list(written):
                self.assertSameFile(os.path.join(reference, name), os.path.join(bucket, name))
            write(50)   # and on it goes
            write(51)
        self.assertLessEqual(watch.most, CAP)
        with self.assertRaises(OSError) as caught:   # one file larger than all there is
            with open(os.path.join(mount, "huge"), "wb") as f:
                for _ in range(80):
                    f.write(b"x" * MIB)
                    f.flush()
        self.assertEqual(caught.exception.errno, errno.ENOSPC)


class Slowed(LimitCase):
    arguments = ("--set", "WriteWaitSeconds=60")    # for a disk that takes little at a time

    def test_writers_wait_for_uploads(self):
        mount, bucket, drive = self.limited_drive("slow")
        with Watch(self.caches) as watch:
            for n in range(60):
                fill(os.path.join(mount, f"w{n}"), 4 * MIB, n)
        self.assertLessEqual(watch.most, CAP)
        self.instance.wait_uploaded(*(os.path.join(mount, f"w{n}") for n in range(60)))
        self.assertSameTree(bucket + "/w7", mount + "/w7")


class Pinned(LimitCase):
    def test_a_pinned_folder_stays(self):
        mount, bucket, drive = self.limited_drive("pins", syncIntervalSeconds=1)
        keep = self.put(mount, bucket, [f"keep/{n}" for n in range(5)], 2 * MIB)
        self.put(mount, bucket, [f"rest/{n}" for n in range(30)], 4 * MIB, seed=100)
        folder, rest = os.path.join(mount, "keep"), os.path.join(mount, "rest")
        os.setxattr(folder, "user.landfall.pin", b"1")
        inos = [os.stat(path).st_ino for path in keep]
        complete = lambda: all(n >= 2 * MIB for n in blocks_of(drive["permanentLocalPath"], inos))
        wait_until(complete, 60, "the pinned files")
        self.assertEqual(os.getxattr(keep[3], "user.landfall.pin"), b"1")
        self.read_all(rest)
        self.assertTrue(complete())
        self.restart_instance()
        self.instance.wait_mounted(mount)
        self.read_all(rest)
        self.assertTrue(complete())
        os.removexattr(folder, "user.landfall.pin")
        with self.assertRaises(OSError):
            os.getxattr(keep[3], "user.landfall.pin")

    def test_a_smaller_limit(self):
        mount, bucket, drive = self.limited_drive("shrink", syncIntervalSeconds=1)
        lt.run("cat", *self.put(mount, bucket, [f"f{n}" for n in range(10)], 4 * MIB), text=False)
        drive["maximumCacheSize"] = 20 * MIB
        self.instance.api("PUT", f"/management/clouddrive/{drive['id']}", drive)
        wait_until(lambda: blocks_below(drive["permanentLocalPath"]) <= 20 * MIB, 20, "the eviction")


if __name__ == "__main__":
    unittest.main()
