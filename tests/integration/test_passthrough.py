#!/usr/bin/python3
"""Files that are wholly here are read by the kernel past the worker, and nothing else changes by that."""

import mmap
import os
import platform
import signal
import unittest

from drive_case import DriveCase, fill
from landfall_test import wait_until
from test_restart import children

SIZE = 8 << 20
KERNEL = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])


def content(path):
    with open(path, "rb") as f:
        return f.read()


@unittest.skipIf(KERNEL < (6, 9), "FUSE passthrough came with kernel 6.9")
class Passthrough(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive(syncIntervalSeconds=1)
        cls.number = 0

    def setUp(self):
        type(self).number += 1
        self.name = f"file{self.number}"
        self.path = os.path.join(self.mount, self.name)
        self.there = os.path.join(self.bucket, self.name)
        fill(self.path, SIZE, self.number)
        self.instance.wait_uploaded(self.path)
        self.bytes = content(self.there)

    def worker(self):
        pid, = children(self.instance.pid("mountd"))
        return pid

    def read_by_worker(self):
        with open(f"/proc/{self.worker()}/io") as f:
            return int(dict(line.split(": ") for line in f)["rchar"])

    def assertPassed(self, passed=True):
        """Reading all of the file through a fresh open goes past the worker, or not."""
        before = self.read_by_worker()
        with open(self.path, "rb", buffering=0) as f:
            self.assertEqual(f.readall(), content(self.there))
        self.assertEqual(self.read_by_worker() - before < SIZE / 4, passed)

    def test_a_whole_file_is_read_past_the_worker(self):
        self.assertPassed()
        self.assertPassed()

    def test_a_file_that_is_being_written_is_not(self):
        with open(self.path, "r+b"):
            with open(self.path, "rb") as f:
                self.assertEqual(f.read(), self.bytes)
        self.assertPassed()

    def test_a_file_that_is_not_here_comes_through_the_worker_first(self):
        name = self.name + "-new"
        with open(os.path.join(self.bucket, name), "wb") as f:
            f.write(self.bytes)
        self.path, self.there = (os.path.join(d, name) for d in (self.mount, self.bucket))
        wait_until(lambda: name in os.listdir(self.mount), 60, "the new file")
        self.assertPassed(False)
        self.assertPassed()

    def test_a_reader_sees_what_a_writer_beside_it_writes(self):
        with open(self.path, "rb", buffering=0) as reader:
            self.assertEqual(reader.read(16), self.bytes[:16])
            with open(self.path, "r+b", buffering=0) as writer:
                writer.seek(1 << 20)
                writer.write(b"written beside")
                writer.seek(0, os.SEEK_END)
                writer.write(b"and behind")
                self.assertEqual(os.pread(reader.fileno(), 14, 1 << 20), b"written beside")
                self.assertEqual(os.pread(reader.fileno(), 100, SIZE), b"and behind")
                self.assertEqual(os.pread(writer.fileno(), 14, 1 << 20), b"written beside")
            self.assertEqual(os.fstat(reader.fileno()).st_size, SIZE + 10)
            self.instance.wait_uploaded(self.path)
            self.assertEqual(os.pread(reader.fileno(), 100, SIZE), b"and behind")
        changed = bytearray(self.bytes)
        changed[1 << 20:(1 << 20) + 14] = b"written beside"
        self.assertEqual(content(self.there), bytes(changed) + b"and behind")
        self.assertPassed()

    def test_a_writer_that_maps_the_file_beside_a_reader(self):
        with open(self.path, "rb") as reader:
            reader.read(1)
            with open(self.path, "r+b") as writer:
                mapping = mmap.mmap(writer.fileno(), SIZE)
            mapping[5 << 20:(5 << 20) + 6] = b"mapped"
            mapping.close()
            self.assertEqual(os.pread(reader.fileno(), 6, 5 << 20), b"mapped")
        wait_until(lambda: content(self.there)[5 << 20:(5 << 20) + 6] == b"mapped", 30, "what was written through a mapping")
        self.assertPassed()

    def test_truncating_beside_a_reader(self):
        with open(self.path, "rb", buffering=0) as reader:
            reader.read(1)
            os.truncate(self.path, 100)
            self.assertEqual(reader.read(), self.bytes[1:100])
            with open(self.path, "wb") as writer:
                writer.write(b"anew")
            self.assertEqual(os.pread(reader.fileno(), 100, 0), b"anew")
        self.instance.wait_uploaded(self.path)
        self.assertEqual(content(self.there), b"anew")

    def test_readers_and_writers_outlive_the_worker(self):
        with open(self.path, "rb", buffering=0) as reader:
            reader.read(1)
            worker = self.worker()
            os.kill(worker, signal.SIGKILL)
            self.assertEqual(reader.read(), self.bytes[1:])
            wait_until(lambda: [p for p in children(self.instance.pid("mountd")) if p != worker], 20, "the next worker")
            self.assertPassed()
            with open(self.path, "r+b", buffering=0) as writer:
                writer.write(b"next")
                self.assertEqual(os.pread(reader.fileno(), 4, 0), b"next")
                os.kill(self.worker(), signal.SIGKILL)
                writer.write(b" one")
            self.assertEqual(os.pread(reader.fileno(), 8, 0), b"next one")
        self.instance.wait_uploaded(self.path)
        self.assertEqual(content(self.there), b"next one" + self.bytes[8:])
        self.assertPassed()

    def test_a_reader_outlives_syncd_and_mountd(self):
        with open(self.path, "rb", buffering=0) as reader:
            reader.read(1)
            for daemon in ("syncd", "mountd"):
                self.instance.restart(daemon)
                self.assertEqual(os.pread(reader.fileno(), SIZE, 0), self.bytes)
                self.assertPassed()

    def test_a_reader_keeps_the_version_it_opened(self):
        """The cloud has another one: who opens the file anew gets that."""
        with open(self.path, "rb", buffering=0) as reader:
            reader.read(1)
            other = self.bytes[::-1]
            with open(self.there + ".new", "wb") as f:
                f.write(other)
            os.rename(self.there + ".new", self.there)
            wait_until(lambda: content(self.path) == other, 60, "the other version")
            self.assertEqual(os.pread(reader.fileno(), SIZE, 0), self.bytes)
            self.assertEqual(os.fstat(reader.fileno()).st_nlink, 0)
        self.assertPassed()

    def test_a_reader_keeps_a_file_that_goes(self):
        with open(self.path, "rb", buffering=0) as reader:
            reader.read(1)
            os.unlink(self.there)
            wait_until(lambda: not os.path.exists(self.path), 60, "the removal")
            self.assertEqual(os.pread(reader.fileno(), SIZE, 0), self.bytes)


if __name__ == "__main__":
    unittest.main()
