#!/usr/bin/python3
"""A cache whose file system is full: of others' bytes, of inodes; and a state directory that is full. Writers are refused,
nothing that was accepted is lost, no daemon ends, and all drains once there is room."""

import errno
import os
import pwd
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase, fill, put_whole
from fault_case import read_file
from landfall_test import wait_until
from loop_disk import LoopDisk

MIB = 1 << 20


def fill_up(path, leave=0):
    """Others take all that is free but some. Returns their file."""
    ballast = os.path.join(path, "ballast")
    with open(ballast, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(MIB))
        except OSError as e:
            assert e.errno == errno.ENOSPC, e
        os.ftruncate(f.fileno(), max(0, os.fstat(f.fileno()).st_size - leave))
        os.fsync(f.fileno())
    return ballast


class FullCase(DriveCase):
    size, options = 96 * MIB, ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.caches = os.path.join(cls.instance.dir, *cls.where)
        if cls.where == ("state",):
            cls.instance.stop()
            lt.remove_tree(cls.caches)
        cls.disk = LoopDisk(cls.caches, cls.size, *cls.options).own(pwd.getpwnam(SERVED))
        cls.addClassCleanup(cls.disk.remove)
        if cls.where == ("state",):
            cls.addClassCleanup(cls.instance.stop)
            cls.instance.start()

    def write(self, mount, name, size, seed):
        """Returns the bytes when all was accepted and synced, or None when it was refused with ENOSPC."""
        reference = os.path.join(self.scratch, name)
        fill(reference, size, seed)
        data = read_file(reference)
        try:
            with open(os.path.join(mount, name), "wb", buffering=0) as f:
                at = 0
                while at < size:
                    at += f.write(data[at:at + 65536])
                os.fsync(f.fileno())
        except OSError as e:
            self.assertEqual(e.errno, errno.ENOSPC, f"{name}: {e}")
            return None
        return data

    def drain(self, mount, bucket, accepted):
        def there():
            return all(os.path.exists(os.path.join(bucket, n)) for n in accepted)
        wait_until(there, 60, "the uploads")
        wait_until(lambda: all(os.getxattr(os.path.join(mount, n), "user.landfall.state") == b"clean" for n in accepted), 60, "their end")
        for name, data in accepted.items():
            self.assertEqual(read_file(os.path.join(bucket, name)), data, name)
            self.assertEqual(read_file(os.path.join(mount, name)), data, name)

    def refused_and_drained(self, mount, bucket, pids, make_room):
        accepted, refused = {}, []
        for n in range(6):
            data = self.write(mount, f"f{n}", 4 * MIB, n)
            if data is None:
                refused.append(f"f{n}")
            else:
                accepted[f"f{n}"] = data
        self.assertTrue(refused, "nothing was refused")
        make_room()
        wait_until(lambda: self.write(mount, "after", 300_000, 77) is not None, 40, "room")
        accepted["after"] = read_file(os.path.join(self.scratch, "after"))
        self.drain(mount, bucket, accepted)
        self.assertEqual(self.instance.info()["pids"], pids, "a daemon ended")
        return accepted, refused


class Cache(FullCase):
    # What is refused is refused before the first uploads could make room for it.
    arguments = ("--set", "WriteWaitSeconds=1", "--set", "CacheFreePercent=0", "--set", "SettleMilliseconds=4000")
    where = ("state", "cache")

    def test_others_fill_the_disk(self):
        mount, bucket = self.folder_drive("full", syncIntervalSeconds=1)
        with put_whole(bucket, "big") as made:
            fill(made, 40 * MIB, 5)
        wait_until(lambda: os.path.exists(os.path.join(mount, "big")), 20, "the name")
        pids = self.instance.info()["pids"]
        ballast = fill_up(self.caches, leave=20 * MIB)
        self.assertEqual(read_file(os.path.join(mount, "big")), read_file(os.path.join(bucket, "big")), "reads pass through")
        os.unlink(ballast)
        with open(os.path.join(mount, "big"), "rb", buffering=0) as f:
            f.read(MIB)
        ballast = fill_up(self.caches)
        self.refused_and_drained(mount, bucket, pids, lambda: os.unlink(ballast))

    def test_no_inodes_are_left(self):
        mount, bucket = self.folder_drive("inodes", syncIntervalSeconds=1)
        pids = self.instance.info()["pids"]
        litter = os.path.join(self.caches, "litter")
        os.mkdir(litter)
        n = 0
        try:
            while True:
                os.close(os.open(os.path.join(litter, str(n)), os.O_CREAT | os.O_WRONLY))
                n += 1
        except OSError as e:
            self.assertEqual(e.errno, errno.ENOSPC)
        self.refused_and_drained(mount, bucket, pids, lambda: lt.remove_tree(litter))


class State(FullCase):
    """The databases cannot grow: SQLITE_FULL at any statement."""

    arguments = ("--set", "WriteWaitSeconds=1", "--set", "CacheFreePercent=0")
    where = ("state",)

    def test_the_databases_cannot_grow(self):
        mount, bucket = self.folder_drive("full", syncIntervalSeconds=1)
        before = self.write(mount, "before", 300_000, 3)
        self.drain(mount, bucket, {"before": before})
        pids = self.instance.info()["pids"]
        ballast = fill_up(self.caches)
        for n in range(400):
            try:
                os.mkdir(os.path.join(mount, f"d{n}"))
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC)
                break
        else:
            self.fail("400 directories went into a full database")
        made = [f"d{k}" for k in range(n)]
        self.refused_and_drained(mount, bucket, pids, lambda: os.unlink(ballast))
        self.assertTrue(all(os.path.isdir(os.path.join(mount, d)) for d in made))
        self.assertEqual(read_file(os.path.join(mount, "before")), before)
        wait_until(lambda: all(os.path.isdir(os.path.join(bucket, d)) for d in made), 40, "the directories in the cloud")


if __name__ == "__main__":
    unittest.main()
