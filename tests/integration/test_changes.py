#!/usr/bin/python3
"""Files that others change in the cloud, opened here before any listing knows: an application gets the bytes of one version, whole, or
an error; never a mixture, never zeros where the file was cut."""

import itertools
import os
import subprocess
import sys
import threading
import time
import unittest

import landfall_test as lt
from drive_case import DriveCase, put_whole

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
    """A listing may find the change between cp's stat(2) and its open(2), and then the file has another number: cp says so, as it does
    of a file that another was renamed over, and copies nothing. The next one sees one file."""
    target = os.path.join("/tmp", f"lf-copy-{os.getpid()}")
    done = lt.run("cp", path, target, check=False)
    if done.returncode != 0:
        if "replaced while being copied" not in done.stderr:
            raise AssertionError(done.stderr)
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
            for way, name in sorted(names.items(), reverse=True):   # against the order in which files are fetched ahead
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

    def test_appending_to_what_was_never_read(self):
        sizes = [1, 6, 65535, 65536, 65537, 300000, MIB + 5]
        for size in sizes:
            self.put(f"append-{size}", b"o" * size)
        self.listed([f"append-{size}" for size in sizes])
        for size in sizes:
            with open(self.path(f"append-{size}"), "ab") as f:
                f.write(b"more")
        for size in sizes:
            self.instance.wait_uploaded(self.path(f"append-{size}"))
            self.assertEqual(self.get(f"append-{size}"), b"o" * size + b"more")

    def test_what_is_gone_cannot_be_opened(self):
        self.put_all(["gone-1", "gone-2"], b"o" * (10 * MIB))
        with open(self.path("gone-2"), "rb", buffering=0) as f:
            f.read(1)
        for name in ("gone-1", "gone-2"):
            self.remove(name)
            for mode in ("rb", "r+b"):
                with self.assertRaises(FileNotFoundError):
                    open(self.path(name), mode)
        lt.wait_until(lambda: not {"gone-1", "gone-2"} & set(os.listdir(self.mount)), 30, "the listing")

    def test_handles_that_outlive_a_worker_keep_their_version(self):
        """No worker has used them when the file changes and somebody else opens it."""
        old, new = b"o" * (10 * MIB), b"n" * (3 * MIB)
        names = ["outlive-read", "outlive-write", "outlive-unlinked"]
        self.put_all(names, old)
        modes = {"outlive-read": "rb", "outlive-write": "r+b", "outlive-unlinked": "rb"}
        handles = {name: open(self.path(name), modes[name], buffering=0) for name in names}
        for f in handles.values():
            self.assertEqual(f.read(4096), old[:4096])
        self.kill_worker()
        for name in names[:2]:
            self.put(name, new)
        os.unlink(self.path("outlive-unlinked"))
        self.assertEqual(by_descriptor(self.path("outlive-read")), new)
        with open(self.path("outlive-write"), "rb", buffering=0) as f:
            self.assertEqual(f.read(4096), old[:4096], "it is open for writing and stays")
        for f in handles.values():
            f.seek(0)
            self.assertEqual(f.read(4096), old[:4096])
            self.assertEqual(os.fstat(f.fileno()).st_size, len(old))
        with self.assertRaises(OSError):
            handles["outlive-read"].seek(9 * MIB)
            handles["outlive-read"].read(4096)
        handles["outlive-write"].seek(0)
        handles["outlive-write"].write(b"W")
        for f in handles.values():
            f.close()
        self.assertEqual(self.get("outlive-write"), new, "theirs is not overwritten")

    def test_opening_alone_changes_nothing(self):
        """Readers and would-be writers of a file that the kernel reads by itself."""
        self.put_all(["touched"], b"o" * (2 * MIB))
        self.assertEqual(len(by_descriptor(self.path("touched"))), 2 * MIB)

        def opener(flags):
            for _ in range(300):
                os.close(os.open(self.path("touched"), flags))

        openers = [threading.Thread(target=opener, args=(flags,)) for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY, os.O_RDWR)]
        for t in openers:
            t.start()
        for t in openers:
            t.join()
        self.assertEqual(os.getxattr(self.path("touched"), "user.landfall.state"), b"clean")

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
            if time.monotonic() > end and (good[0] > 40 or time.monotonic() > end + lt.patience(60)):
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
        cls.mount, cls.bucket = cls.folder_drive(syncIntervalSeconds=2)

    def put(self, name, content):
        with put_whole(self.bucket, name) as made, open(made, "wb") as f:
            f.write(content)

    def get(self, name):
        with open(os.path.join(self.bucket, name), "rb") as f:
            return f.read()

    def remove(self, name):
        os.unlink(os.path.join(self.bucket, name))


class Radosgw(Changes, DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.bucket = cls.server.make_bucket("lf-changes")
        account = cls.instance.add_s3_account(cls.server)
        cls.mount = cls.instance.add_drive(account, cls.bucket, name="changes", syncIntervalSeconds=2)["localPath"]

    def put(self, name, content):
        source = os.path.join(self.scratch, "put")
        with open(source, "wb") as f:
            f.write(content)
        self.server.rclone("copyto", source, f"s3:{self.bucket}/{name}")

    def get(self, name):
        target = os.path.join(self.scratch, "got")
        self.server.rclone("copyto", "--ignore-times", f"s3:{self.bucket}/{name}", target)
        with open(target, "rb") as f:
            return f.read()

    def remove(self, name):
        self.server.rclone("deletefile", f"s3:{self.bucket}/{name}")


if __name__ == "__main__":
    unittest.main()
