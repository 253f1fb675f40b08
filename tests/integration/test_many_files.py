#!/usr/bin/python3
"""Five hundred files of a bucket open at once: what they cost in memory, and what happens where descriptors end.

No content passes through a process's own memory, so there is no budget to be set; what could grow with the files is what is under
way for each. Connections are few here, so that much of it waits."""

import errno
import os
import random
import resource
import sys
import threading
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import read_file, write_file
from landfall_test import wait_until
from test_metrics import Scrape
from test_passthrough import KERNEL

sys.path.insert(0, os.path.join(lt.SOURCE, "tests", "bench"))
from processes import descendants, memory_of  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
READ, WRITTEN, PASSED = 220, 130, 150
SIZE, STEP = 512 * KIB, 128 * KIB
CEILING = 40 * MIB         # of everything; one request of the kernel held for each file would be 500 MiB
GROWTH = 16 * MIB          # by the files; one chunk of 64 KiB held for each would be 31 MiB


def content(name, size):
    return random.Random(name).randbytes(size)


def read_by(pid):
    with open(f"/proc/{pid}/io") as f:
        return int(dict(line.split(": ") for line in f)["rchar"])


def descriptor_limits(pid):
    with open(f"/proc/{pid}/limits") as f:
        return [int(n) for line in f if line.startswith("Max open files") for n in line.split()[3:5]]


class MemoryWatch(threading.Thread):
    """The most memory, as a sum of PSS, that the processes had at any look."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.ended = pid, threading.Event()
        self.before = self.most = memory_of(descendants(pid))[0]
        self.looks = 0

    def run(self):
        while not self.ended.wait(0.05):
            self.most = max(self.most, memory_of(descendants(self.pid))[0])
            self.looks += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


class BucketCase(DriveCase):
    """Daemons that inherit what a login gives: few descriptors, more when asked for."""

    starter = ("prlimit", "--nofile=1024:", "--")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def bucket_drive(self, name, objects):
        """A drive on a bucket with these objects, name to size. Returns its mount point, once they are seen."""
        bucket, folder = self.server.make_bucket("lf-" + name), os.path.join(self.scratch, name)
        os.mkdir(folder)
        for key, size in objects.items():
            os.makedirs(os.path.dirname(os.path.join(folder, key)), exist_ok=True)
            write_file(os.path.join(folder, key), content(key, size))
        self.server.rclone("copy", "--transfers", "16", folder, f"s3:{bucket}")
        mount = self.instance.add_drive(self.account, bucket, name=name, syncIntervalSeconds=1)["localPath"]
        wait_until(lambda: all(os.path.exists(os.path.join(mount, key)) for key in objects), 60, "the objects in the mount")
        return mount, bucket

    def assertStored(self, bucket, objects):
        folder = os.path.join(self.scratch, "stored-" + bucket)
        self.server.rclone("copy", "--transfers", "16", "--include", "new*/**", "--include", "new*", f"s3:{bucket}", folder)
        for key, size in objects.items():
            self.assertEqual(read_file(os.path.join(folder, key)), content(key, size), key)


class FiveHundred(BucketCase):
    arguments = ("--set", "CloudConnections=8", "--set", "CloudConnectionsPerHost=8")

    def test_open_at_once(self):
        sizes = {f"read/{n}": SIZE for n in range(READ)} | {f"passed/{n}": SIZE for n in range(PASSED)}
        mount, bucket = self.bucket_drive("many", sizes)
        passed = [name for name in sizes if name.startswith("passed/")]
        for name in passed:
            read_file(os.path.join(mount, name))
        os.mkdir(os.path.join(mount, "new"))
        written = [f"new/{n}" for n in range(WRITTEN)]
        sizes |= {name: SIZE for name in written}
        wanted = {name: content(name, size) for name, size in sizes.items()}

        with MemoryWatch(self.instance.process.pid) as memory:
            files = {name: open(os.path.join(mount, name), "w+b" if name in written else "rb", buffering=0) for name in sizes}
            for at in range(0, SIZE, STEP):
                for name in set(sizes) - set(passed):
                    piece = wanted[name][at:at + STEP]
                    if name in written:
                        self.assertEqual(files[name].write(piece), len(piece))
                    else:
                        self.assertEqual(files[name].read(STEP), piece, name)
            before = read_by(self.worker())
            for name in passed:
                self.assertEqual(files[name].read(SIZE), wanted[name], name)
            if KERNEL >= (6, 9):
                self.assertLess(read_by(self.worker()) - before, PASSED * SIZE / 4)
            scrape = Scrape(self.instance)
            for name in written:
                self.assertEqual(os.pread(files[name].fileno(), SIZE, 0), wanted[name], name)
            for f in files.values():
                f.close()
        self.assertEqual(scrape.get("landfall_open_files", drive="many", mode="write"), WRITTEN)
        self.assertEqual(scrape.get("landfall_open_files", drive="many", mode="read"), READ + PASSED)
        self.assertGreater(memory.looks, 0)
        self.assertLess(memory.most, CEILING)
        self.assertLess(memory.most - memory.before, GROWTH)
        self.instance.wait_uploaded(*(os.path.join(mount, name) for name in written))
        self.assertStored(bucket, {name: SIZE for name in written})

    def test_limits_of_the_daemons(self):
        self.assertEqual(descriptor_limits(self.instance.process.pid)[0], 1024)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for pid in (self.instance.pid("syncd"), self.instance.pid("mountd")):
            self.assertEqual(descriptor_limits(pid)[0], min(65536, hard))


class FewDescriptors(BucketCase):
    arguments = ("--set", "OpenFiles=400", "--set", "CloudConnections=16")

    def open_until_refused(self, paths, flags):
        """Descriptors, and the errno that ended it."""
        fds = []
        for path in paths:
            try:
                fds.append(os.open(path, flags, 0o644))
            except OSError as e:
                return fds, e.errno
        raise AssertionError(f"all of {len(paths)} files could be opened")

    def close(self, fds):
        for fd in fds:
            os.close(fd)

    def test_beyond_what_there_are(self):
        sizes = {f"small/{n}": 100 * KIB for n in range(400)} | {f"elsewhere/{n}": 300 * KIB for n in range(3)}
        mount, bucket = self.bucket_drive("few", sizes)
        order = random.Random("no order that would be read ahead of").sample(range(400), 400)
        paths = [os.path.join(mount, f"small/{n}") for n in order]
        held, refused = self.open_until_refused(paths, os.O_RDONLY)
        self.assertEqual(refused, errno.ENFILE)
        self.assertGreater(len(held), 80)
        with self.assertRaises(OSError) as caught:
            os.open(os.path.join(mount, "new"), os.O_WRONLY | os.O_CREAT)
        self.assertEqual(caught.exception.errno, errno.ENFILE)
        self.assertFalse(os.path.exists(os.path.join(mount, "new")))
        self.assertEqual(self.instance.log("syncd").count("too_many_open_files"), 1)

        # All else goes on: what is open is read from the cloud, once more opened, listed; the API answers.
        for n, fd in zip(order, held):
            self.assertEqual(os.pread(fd, 100 * KIB, 0), content(f"small/{n}", 100 * KIB))
        self.assertEqual(read_file(paths[0]), content(f"small/{order[0]}", 100 * KIB))
        self.assertEqual(sorted(os.listdir(os.path.join(mount, "elsewhere"))), ["0", "1", "2"])
        wait_until(lambda: Scrape(self.instance).get("landfall_open_files", drive="few", mode="read") == len(held), 20,
                   "the end of the one that was closed")

        # One that closes makes room for one, once that is heard of: close(2) does not wait for it.
        self.close([held.pop()])
        got = wait_until(lambda: read_file(os.path.join(mount, "elsewhere/0")), 20, "room")
        self.assertEqual(got, content("elsewhere/0", 300 * KIB))
        self.close(held)
        held, refused = self.open_until_refused([os.path.join(mount, f"new{n}") for n in range(400)], os.O_RDWR | os.O_CREAT)
        self.assertEqual(refused, errno.ENFILE)
        written = {f"new{n}": 64 * KIB for n in range(len(held))}
        for name, fd in zip(written, held):
            self.assertEqual(os.write(fd, content(name, 64 * KIB)), 64 * KIB)
        self.instance.restart("syncd")
        self.kill_worker()
        for name, fd in zip(written, held):
            self.assertEqual(os.pread(fd, 64 * KIB, 0), content(name, 64 * KIB))
        self.close(held)
        self.instance.wait_uploaded(*(os.path.join(mount, name) for name in written))
        self.assertStored(bucket, written)


if __name__ == "__main__":
    unittest.main()
