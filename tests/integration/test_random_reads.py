#!/usr/bin/python3
"""Random reads of a small encrypted file, all of which goes to the kernel's page cache then, piece by piece. Nobody reads anything but
what was written, also while it is being written, and the worker is not asked for each page."""

import os
import random
import threading
import unittest

from drive_case import DriveCase, fill

PAGE = 4096
SIZE = (4 << 20) + 5 * PAGE + 123
PAGES = SIZE // PAGE
READERS, VERSIONS = 4, 40


def content(version):
    """Each page says of which version it is."""
    return (version.to_bytes(8, "little") * (PAGE // 8)) * PAGES + b"x" * (SIZE % PAGE)


class RandomReads(DriveCase):

    def setUp(self):
        mount, _ = self.folder_drive(self._testMethodName, localCacheEncrypted=True)
        self.path = os.path.join(mount, "file")

    def keep_none(self):
        """The kernel has no page of it."""
        with open(self.path, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def asked(self):
        """How many reads the kernel sent."""
        lines = self.instance.request("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("landfall_reads_total{"))

    def test_by_many(self):
        source = os.path.join(self.scratch, "source")
        fill(source, SIZE)
        with open(source, "rb") as f:
            right = f.read()
        with open(self.path, "wb") as f:
            f.write(right)
        self.instance.wait_uploaded(self.path)
        self.keep_none()
        before, wrong = self.asked(), []

        def read(seed):
            order = list(range(0, SIZE, PAGE))
            random.Random(seed).shuffle(order)
            fd = os.open(self.path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for at in order:
                if os.pread(fd, PAGE, at) != right[at:at + PAGE]:
                    wrong.append(at)
            os.close(fd)

        self.run_threads([lambda s=s: read(s) for s in range(READERS)])
        self.assertEqual(wrong, [])
        self.assertLess(self.asked() - before, PAGES / 4)

    def test_while_it_is_written(self):
        """Of no page anybody sees an older version after a newer one, nor any that was not written yet."""
        done, wrong, newest = threading.Event(), [], [1]

        def put(version):
            with open(self.path, "r+b" if version > 1 else "wb") as f:
                f.write(content(version))

        def write():
            for version in range(2, VERSIONS):
                newest[0] = version
                put(version)
                self.keep_none()
            done.set()

        def read(seed):
            choose, seen = random.Random(seed), [0] * PAGES
            while not done.is_set():
                fd = os.open(self.path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
                for _ in range(PAGES // 4):
                    page = choose.randrange(PAGES)
                    version = int.from_bytes(os.pread(fd, 8, page * PAGE), "little")
                    if not seen[page] <= version <= newest[0]:
                        wrong.append((page, seen[page], version))
                    seen[page] = version
                os.close(fd)

        put(1)
        self.instance.wait_uploaded(self.path)
        self.run_threads([write] + [lambda s=s: read(s) for s in range(READERS)])
        self.assertEqual(wrong, [])
        with open(self.path, "rb") as f:
            self.assertEqual(f.read(), content(VERSIONS - 1))

    def run_threads(self, work):
        threads = [threading.Thread(target=w, daemon=True) for w in work]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
            self.assertFalse(t.is_alive(), "a read or a write does not come to an end")


if __name__ == "__main__":
    unittest.main()
