#!/usr/bin/python3
"""Reads from the beginning of an encrypted file to its end, in pieces of which what comes next is opened before it is asked for, be they
whole chunks or not. Each gets what was written there."""

import mmap
import os
import random
import unittest

from drive_case import DriveCase

KIB = 1024
SIZE = 24 * KIB * KIB + 5000
LENGTHS = [n * KIB for n in (256, 260, 300, 320, 500, 700, 1000, 1020, 1024)]


class Pieces(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        mount, _ = cls.folder_drive(localCacheEncrypted=True)
        cls.path = os.path.join(mount, "file")
        cls.right = random.Random(1).randbytes(SIZE)
        with open(cls.path, "wb") as f:
            f.write(cls.right)
        cls.instance.wait_uploaded(cls.path)

    def open(self, flags=0):
        fd = os.open(self.path, os.O_RDONLY | flags)
        self.addCleanup(os.close, fd)
        return fd

    def assert_right(self, pieces, read):
        self.assertEqual([(at, n) for at, n in pieces if read(n, at) != self.right[at:at + n]], [])

    def assert_right_past_the_page_cache(self, pieces):
        """The kernel asks for each piece as it is."""
        fd = self.open(os.O_DIRECT)
        with mmap.mmap(-1, KIB * KIB) as memory:
            self.assert_right(pieces, lambda n, at: memory[:os.preadv(fd, [memoryview(memory)[:n]], at)])

    def test_of_any_length(self):
        for n in LENGTHS:
            with self.subTest(n=n):
                self.assert_right_past_the_page_cache([(at, n) for at in range(0, SIZE, n)])

    def test_that_are_announced(self):
        """Then the kernel asks for them at once, for its page cache."""
        def read(n, at):
            os.posix_fadvise(fd, at, n, os.POSIX_FADV_WILLNEED)
            return os.pread(fd, n, at)

        for n in LENGTHS:
            fd = self.open()
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            with self.subTest(n=n):
                self.assert_right([(at, n) for at in range(0, SIZE, n)], read)


if __name__ == "__main__":
    unittest.main()
