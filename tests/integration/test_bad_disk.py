#!/usr/bin/python3
"""A cache whose disk gives I/O errors. What the cloud has comes from there again; what it lacks is kept, said, and not sent as
something else; no daemon ends."""

import contextlib
import errno
import os
import pwd
import re
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase, fill, put_whole
from fault_case import read_file, write_file
from landfall_test import wait_until
from loop_disk import BadDisk

MIB = 1 << 20


class BadDiskCase(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.caches = os.path.join(cls.instance.dir, "cache-disk")
        cls.disk = BadDisk(cls.caches, 96 * MIB).own(pwd.getpwnam(SERVED))
        cls.addClassCleanup(cls.disk.remove)
        cls.addClassCleanup(cls.instance.stop)

    def setUp(self):
        self.pids = self.instance.info()["pids"]

    def tearDown(self):
        self.disk.mend()

    def drive(self, name):
        self.folder = os.path.join(self.caches, name)
        os.mkdir(self.folder, 0o700)
        account = pwd.getpwnam(SERVED)
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        return self.folder_drive(name, syncIntervalSeconds=1, permanentLocalPath=self.folder)

    def put(self, mount, bucket, name, size, seed):
        with put_whole(bucket, name) as made:
            fill(made, size, seed)
        wait_until(lambda: os.path.exists(os.path.join(mount, name)), 20, "the name")
        data = read_file(os.path.join(bucket, name))
        self.assertEqual(read_file(os.path.join(mount, name)), data)
        return data

    def parts(self, path, *kinds):
        ino = os.stat(path).st_ino
        return [os.path.join(self.folder, f"{ino & 0xff:02x}", f"{ino:x}.{kind}") for kind in kinds]

    def assertNobodyEnded(self):
        self.assertEqual(self.instance.info()["pids"], self.pids)
        self.assertNotIn("worker_died", self.instance.log("mountd"))

    def assertSaid(self, path, kind):
        file = self.parts(path, kind)[0]
        self.assertRegex(self.instance.log("syncd"), f"file=({re.escape(file)}|{re.escape(os.path.relpath(file, self.folder))}) ")


class Unreadable(BadDiskCase):
    arguments = ("--set", "SettleMilliseconds=5000")

    def test_content_of_the_cloud(self):
        mount, bucket = self.drive("clean")
        small, large, other = (self.put(mount, bucket, n, size, k) for k, (n, size) in
                               enumerate((("small", 100_000), ("large", 3 * MIB), ("other", MIB))))
        self.disk.break_files(*self.parts(os.path.join(mount, "small"), lt.CONTENT), *self.parts(os.path.join(mount, "large"), lt.CONTENT))
        self.assertEqual(read_file(os.path.join(mount, "small")), small)
        self.assertSaid(os.path.join(mount, "small"), lt.CONTENT)
        with open(os.path.join(mount, "large"), "r+b", buffering=0) as f:
            for at in (MIB, 0, 2 * MIB):
                self.assertEqual(os.pread(f.fileno(), MIB, at), large[at:at + MIB])
            os.pwrite(f.fileno(), b"ours", 2 * MIB + 5)
        changed = large[:2 * MIB + 5] + b"ours" + large[2 * MIB + 9:]
        self.assertEqual(read_file(os.path.join(mount, "other")), other)
        self.instance.wait_uploaded(os.path.join(mount, "large"), seconds=60)
        self.assertEqual(read_file(os.path.join(bucket, "large")), changed)
        self.assertNobodyEnded()

    def test_a_map(self):
        mount, bucket = self.drive("maps")
        path, dirty = os.path.join(mount, "f"), os.path.join(mount, "dirty")
        data = self.put(mount, bucket, "f", MIB, 1)
        old = self.put(mount, bucket, "dirty", MIB, 2)
        with open(dirty, "r+b") as f:
            f.write(b"ours")
            os.fsync(f.fileno())
        self.disk.break_files(*self.parts(path, "map"), *self.parts(dirty, "map"))
        self.assertEqual(read_file(path), data)
        with contextlib.suppress(OSError):
            self.assertEqual(read_file(dirty), b"ours" + old[4:])
        self.instance.wait_uploaded(dirty, seconds=60)
        self.assertEqual(read_file(os.path.join(bucket, "dirty")), b"ours" + old[4:])
        self.assertNobodyEnded()

    def test_what_the_cloud_lacks(self):
        mount, bucket = self.drive("dirty")
        path = os.path.join(mount, "f")
        old = self.put(mount, bucket, "f", 300_000, 1)
        new = os.urandom(300_000)
        with open(path, "r+b") as f:
            f.write(new)
            f.flush()
            os.fsync(f.fileno())
        said = len(self.instance.log("syncd"))
        self.disk.break_files(*self.parts(path, lt.CONTENT))
        with self.assertRaises(OSError) as refused:
            read_file(path)
        self.assertEqual(refused.exception.errno, errno.EIO)
        wait_until(lambda: "upload_failed" in self.instance.log("syncd")[said:], 20, "the upload's failure")
        self.assertSaid(path, lt.CONTENT)
        self.assertNotEqual(os.getxattr(path, "user.landfall.state"), b"clean")
        self.assertIn("cannot be read", self.instance.landfall("stat", path).stdout)
        self.assertNotEqual(self.instance.api("GET", "/management/object_status", path=path), 0)
        self.assertEqual(read_file(os.path.join(bucket, "f")), old)
        self.disk.mend()
        self.assertEqual(read_file(path), new)
        with open(path, "r+b") as f:   # else it is tried again in half a minute
            f.write(new[:1])
        self.instance.wait_uploaded(path, seconds=60)
        self.assertEqual(read_file(os.path.join(bucket, "f")), new)
        self.assertEqual(sorted(n for n in os.listdir(bucket) if not n.startswith(".")), ["f"])
        self.assertNobodyEnded()


    def test_what_the_disk_does_not_take(self):
        mount, bucket = self.drive("refused")
        path = os.path.join(mount, "f")
        old = self.put(mount, bucket, "f", 300_000, 1)
        new = os.urandom(300_000)
        self.disk.break_files(*self.parts(path, lt.CONTENT), ways="w")
        with open(path, "r+b", buffering=0) as f:
            f.write(new)
            for _ in range(2):   # the kernel says it once
                with self.assertRaises(OSError) as refused:
                    os.fsync(f.fileno())
                self.assertEqual(refused.exception.errno, errno.EIO)
            self.assertIn("content_not_on_disk", self.instance.log("syncd"))
            self.assertIn("did not keep all that was written", self.instance.landfall("stat", path).stdout)
        copy, = wait_until(lambda: [n for n in os.listdir(bucket) if "(conflict " in n], 30, "the conflict copy")
        self.instance.wait_uploaded(os.path.join(mount, copy), seconds=60)
        self.disk.forget_pages()
        self.assertEqual(read_file(os.path.join(bucket, "f")), old)
        self.assertEqual(read_file(path), old)
        self.assertEqual(read_file(os.path.join(bucket, copy)), new)
        self.assertEqual(read_file(os.path.join(mount, copy)), new)   # from the cloud: the disk has older bytes
        self.assertNobodyEnded()


class Gone(BadDiskCase):
    """Nothing can be read or written: a disk that was pulled out."""

    arguments = ("--set", "SettleMilliseconds=60000", "--set", "ReadDeadlineSeconds=3")

    def test_no_disk(self):
        mount, bucket = self.drive("gone")
        path = os.path.join(mount, "f")
        data = self.put(mount, bucket, "f", 200_000, 1)
        ours = os.path.join(mount, "ours")
        with open(ours, "w+b", buffering=0) as f, open(path, "r+b", buffering=0) as g:
            f.write(data)
            os.fsync(f.fileno())
            self.disk.sync()      # what has no place yet the file system drops, without a word to whoever reads
            self.disk.break_all()
            for _ in range(3):
                with self.assertRaises(OSError):
                    os.pwrite(f.fileno(), bytes(50_000), 0)
                    os.fsync(f.fileno())
                with contextlib.suppress(OSError):
                    self.assertEqual(os.pread(g.fileno(), 1000, 100_000), data[100_000:101_000])
                self.disk.forget_pages()
        self.assertIn("ours", os.listdir(mount))
        self.assertNotEqual(os.getxattr(ours, "user.landfall.state"), b"clean")
        self.assertNobodyEnded()
        self.assertEqual([n for n in os.listdir(bucket) if not n.startswith(".")], ["f"])


if __name__ == "__main__":
    unittest.main()
