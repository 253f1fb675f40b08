#!/usr/bin/python3
"""What statvfs(2) says of a drive."""

import os
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import FaultCase, content, write_file
from landfall_test import wait_until


def used(st):
    return (st.f_blocks - st.f_bfree) * st.f_frsize


class Statfs(FaultCase):
    def test_a_bucket(self):
        mount, bucket = self.s3_drive("statfs")
        before = os.statvfs(mount)
        self.assertEqual(used(before), 0)
        self.assertEqual(before.f_blocks * before.f_frsize, 1 << 50)
        write_file(os.path.join(mount, "a"), content(self.dice, 3 << 20))
        self.put(bucket, {"b": content(self.dice, 1 << 20)})
        self.see(mount, ["b"])
        wait_until(lambda: used(os.statvfs(mount)) == 4 << 20, 30, "both")
        df = lt.run("df", "--output=used,iused", "-B1", mount).stdout.split()
        self.assertEqual(df[-2:], [str(4 << 20), "3"])     # and the root
        self.assertIn("Blocks: Total: ", lt.run("stat", "-f", mount).stdout)
        self.instance.restart("syncd")
        wait_until(lambda: used(os.statvfs(mount)) == 4 << 20, 30, "the same after a restart")
        os.unlink(os.path.join(mount, "a"))
        self.assertEqual(used(os.statvfs(mount)), 1 << 20)


class StatfsFolder(DriveCase):
    def test_a_folder(self):
        mount, bucket = self.folder_drive("statfs-folder", syncIntervalSeconds=1)
        write_file(os.path.join(mount, "a"), b"x" * (2 << 20))

        def alike():   # who asks waits half a second for the folder's file system, and not again for ten
            st, of = os.statvfs(mount), os.statvfs(bucket)
            self.assertEqual(used(st), 2 << 20)
            return abs(st.f_bavail * st.f_frsize - of.f_bavail * of.f_frsize) < (of.f_blocks * of.f_frsize) // 10
        wait_until(alike, 30, "the room that the folder has")


if __name__ == "__main__":
    unittest.main()
