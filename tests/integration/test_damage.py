#!/usr/bin/python3
"""Damage of an index that a clean end left behind and no check looks for: it is met in use, named, kept aside, and the drive
comes back from the cloud."""

import glob
import os
import random
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import SEED, read_file, write_file
from landfall_test import wait_until

PAGE = 4096


class Index(DriveCase):
    FILES = 300

    def damage(self, path):
        """Bytes of the inner pages; the first, which has the schema, stays as it was."""
        dice = random.Random(SEED)
        with open(path, "r+b") as f:
            for _ in range(200):
                f.seek(dice.randrange(PAGE, os.path.getsize(path)))
                f.write(bytes([dice.randrange(256)]))

    def test_met_in_use(self):
        mount, bucket = self.folder_drive("damage", syncIntervalSeconds=1)
        names = [f"n{n:04d}-" + "x" * 60 for n in range(self.FILES)]
        for name in names:
            write_file(os.path.join(mount, name), name.encode())
        self.instance.wait_uploaded(*(os.path.join(mount, name) for name in names))
        self.assertEqual(self.instance.stop(), 0)
        path, = glob.glob(os.path.join(self.instance.dir, "state", "drives", "*", "index.db"))
        self.damage(path)
        said = len(self.instance.log("syncd"))
        self.instance.start()
        wait_until(lambda: "database_damaged" in self.instance.log("syncd")[said:], 20, "the damage in the log")
        self.restart_instance()
        kept, = glob.glob(path + ".corrupt-*[!l]")
        self.assertIn("is damaged", self.instance.log("syncd")[said:])
        self.assertIn(f"It is kept as {kept}.", self.instance.log("syncd")[said:])
        self.restart_instance()
        self.instance.wait_mounted(mount)
        wait_until(lambda: set(names) <= set(os.listdir(mount)), 30, "the names of the cloud")
        for name in names[::29]:
            self.assertEqual(read_file(os.path.join(mount, name)), name.encode())
        self.assertEqual(sorted(n for n in os.listdir(bucket) if not n.startswith(".")), names)


if __name__ == "__main__":
    unittest.main()
