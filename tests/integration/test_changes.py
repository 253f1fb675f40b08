#!/usr/bin/python3
"""Files that others change in the cloud, opened here before any listing knows: an application gets the bytes of one version, whole, or
an error; never a mixture, never zeros where the file was cut."""

import itertools
import os
import pwd
import subprocess
import sys
import threading
import time
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase

MIB = 1 << 20

# Sizes before and after: cut within the first page, to several parts, to a part of a page beyond; grown; another one of the same.
SIZES = [(300000, 24), (10 * MIB, 3 * MIB + 777), (3 * MIB, 5000), (24, 300000), (70000, 70000)]


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.stdout if done.returncode == 0 else None


def by_descriptor(path):
    """read(2) and nothing else: no program asks for the size first."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(fd, MIB), b""))
    finally:
        os.close(fd)


MAPPING = "import mmap, sys; f = open(sys.argv[1], 'rb'); sys.stdout.buffer.write(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:])"


def for_update(path):
    with open(path, "r+b") as f:
        return f.read()


def copied(path):
    target = os.path.join("/tmp", f"lf-copy-{os.getpid()}")
    lt.run("cp", path, target)
    with open(target, "rb") as f:
        os.unlink(target)
        return f.read()


WAYS = {
    "cat": lambda path: output("cat", path),
    "cp": copied,
    "dd": lambda path: output("dd", "bs=4096", "if=" + path),
    "dd-direct": lambda path: output("dd", "bs=65536", "iflag=direct", "if=" + path),
    "tail": lambda path: output("tail", "-c", "+1", path),
    "descriptor": by_descriptor,
    "mapping": lambda path: output(sys.executable, "-c", MAPPING, path),   # which a signal may end
    "update": for_update,
}


class Changes:
    def path(self, name):
        return os.path.join(self.mount, name)

    def put_all(self, names, content):
        for name in names:
            self.put(name, content)
        self.listed(names)

    def listed(self, names):
        lt.wait_until(lambda: set(names) <= set(os.listdir(self.mount)), 60, "the files in the mount")

    def test_a_change_that_no_listing_has_seen(self):
        for old, new in SIZES:
            names = {way: f"{way}-{old}-{new}" for way in WAYS}
            self.put_all(names.values(), b"o" * old)
            for way, name in names.items():
                with self.subTest(way=way, old=old, new=new):
                    self.assertEqual(os.stat(self.path(name)).st_size, old)
                    self.put(name, b"n" * new)
                    self.assertTrue(WAYS[way](self.path(name)) == b"n" * new, "other bytes than the new ones")
                    self.assertEqual(os.stat(self.path(name)).st_size, new)

    def test_a_change_after_a_part_was_read(self):
        names = {way: "part-" + way for way in WAYS}
        old, new = b"o" * (40 * MIB), b"n" * (2 * MIB + 5)
        self.put_all(names.values(), old)
        for way, name in names.items():
            with self.subTest(way=way):
                with open(self.path(name), "rb", buffering=0) as f:
                    self.assertEqual(f.read(4096), old[:4096])
                self.put(name, new)
                self.assertTrue(WAYS[way](self.path(name)) == new, "other bytes than the new ones")

    def test_an_open_file_is_one_version(self):
        old, new = b"o" * (64 * MIB), b"n" * 100
        self.put_all(["held"], old)
        with open(self.path("held"), "rb", buffering=0) as f:
            self.assertEqual(f.read(4096), old[:4096])
            self.put("held", new)
            self.assertEqual(by_descriptor(self.path("held")), new)
            self.assertEqual(f.read(4096), old[:4096], "what is here of it stays readable")
            f.seek(60 * MIB)
            with self.assertRaises(OSError):
                f.read(4096)
            self.assertEqual(os.fstat(f.fileno()).st_size, len(old))
        self.assertEqual(by_descriptor(self.path("held")), new)

    def test_a_pin_holds_for_every_version(self):
        old, new = b"o" * 70000, b"n" * 90000
        self.put_all(["pinned"], old)
        os.setxattr(self.path("pinned"), "user.landfall.pin", b"1")
        self.assertEqual(by_descriptor(self.path("pinned")), old)
        self.put("pinned-other", b"x")
        self.put("pinned", new)
        self.listed(["pinned-other"])
        self.assertEqual(by_descriptor(self.path("pinned")), new)
        self.assertEqual(os.getxattr(self.path("pinned"), "user.landfall.pin"), b"1")

    def test_many_readers_of_a_file_that_changes(self):
        """What a read gives is one of the versions, from its first byte to its last; or an error."""
        stop, wrong, good = threading.Event(), [], [0]
        sizes = [5, 3 * MIB + 1, 70000, 4096, 900000, 131072, 9 * MIB, 4097]

        def read():
            while not stop.is_set():
                try:
                    got = by_descriptor(self.path("changing"))
                except OSError:
                    continue
                if got != got[:1] * len(got) or len(got) != sizes[ord(got[:1] or b"?") % len(sizes)]:
                    wrong.append((got[:1], len(got), got.count(b"\0")))
                good[0] += 1

        def version(n):
            letter = ord("A") + n % 16
            return bytes([letter]) * sizes[letter % len(sizes)]

        self.put_all(["changing"], version(0))
        readers = [threading.Thread(target=read) for _ in range(6)]
        for reader in readers:
            reader.start()
        end = time.monotonic() + 5
        for n in itertools.count(1):
            self.put("changing", version(n))
            if time.monotonic() > end:
                break
        stop.set()
        for reader in readers:
            reader.join()
        self.assertEqual(wrong, [])
        self.assertGreater(good[0], 40)


class Folder(Changes, DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive(syncIntervalSeconds=5)

    def put(self, name, content):
        hidden = os.path.join(os.path.dirname(self.bucket), "new")
        with open(hidden, "wb") as f:
            f.write(content)
        os.chown(hidden, pwd.getpwnam(SERVED).pw_uid, -1)
        os.rename(hidden, os.path.join(self.bucket, name))


class Radosgw(Changes, DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.bucket = cls.server.make_bucket("lf-changes")
        account = cls.instance.add_s3_account(cls.server)
        cls.mount = cls.instance.add_drive(account, cls.bucket, name="changes", syncIntervalSeconds=5)["localPath"]

    def put(self, name, content):
        source = os.path.join(self.scratch, "put")
        with open(source, "wb") as f:
            f.write(content)
        self.server.rclone("copyto", source, f"s3:{self.bucket}/{name}")


if __name__ == "__main__":
    unittest.main()
