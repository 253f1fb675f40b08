#!/usr/bin/python3
"""Renamed directories on a real S3 service: at once in the mount, then in the bucket, as another client finds it."""

import os
import shutil
import time
import unittest

import landfall_test as lt
from drive_case import DriveCase, make_tree
from landfall_test import wait_until

FILES = 2500


class Renames(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)
        cls.tree = os.path.join(cls.scratch, "tree")
        make_tree(cls.tree, FILES, most_bytes=65536)

    def drive(self, name):
        """A drive on a bucket of its own that has the tree as "old". Returns (mount point, bucket)."""
        bucket = self.server.make_bucket(f"rename-{name}")
        self.server.rclone("copy", "--fast-list", "--transfers", "16", self.tree, f"s3:{bucket}/old")
        return self.instance.add_drive(self.account, bucket, name=name)["localPath"], bucket

    def keys(self, bucket):
        return set(self.server.rclone("lsf", "-R", "--fast-list", "--files-only", f"s3:{bucket}").stdout.splitlines())

    def finished(self, path):
        return self.instance.api("GET", "/management/get_directory_rename_status", path=path)

    def rename(self, old, new):
        start = time.monotonic()
        os.rename(old, new)
        print(f"rename of a directory with {FILES} files: {(time.monotonic() - start) * 1000:.1f} ms")

    def wait_finished(self, mount, *paths):
        for path in paths:
            wait_until(lambda p=path: self.finished(os.path.join(mount, p)), 300, f"the end of the rename of {path}")

    def assertBucketHas(self, bucket, tree, folder):
        """The folder has exactly the tree, and nothing else is in the bucket."""
        target = os.path.join(self.scratch, "fetched-" + bucket)
        self.assertEqual({k for k in self.keys(bucket) if not k.startswith(folder + "/")}, set())
        self.server.rclone("copy", "--fast-list", "--transfers", "16", f"s3:{bucket}/{folder}", target)
        self.assertSameTree(tree, target)

    def test_a_tree_that_was_looked_at(self):
        mount, bucket = self.drive("known")
        self.assertSameTree(self.tree, os.path.join(mount, "old"))
        self.rename(os.path.join(mount, "old"), os.path.join(mount, "new"))
        self.assertFalse(self.finished(os.path.join(mount, "new")))
        self.assertEqual(os.listdir(mount), ["new"])
        self.assertSameTree(self.tree, os.path.join(mount, "new"))
        self.wait_finished(mount, "new", "old")
        self.assertBucketHas(bucket, self.tree, "new")
        self.assertIn("directory_rename_finished", self.instance.log("syncd"))

    def test_a_tree_that_nobody_looked_at_and_a_daemon_that_dies(self):
        mount, bucket = self.drive("unseen")
        want = os.path.join(self.scratch, "want")
        shutil.copytree(self.tree, want)
        self.assertEqual(os.listdir(mount), ["old"])
        self.rename(os.path.join(mount, "old"), os.path.join(mount, "between"))
        self.instance.restart("syncd")
        self.rename(os.path.join(mount, "between"), os.path.join(mount, "new"))
        for root in (want, os.path.join(mount, "new")):
            first = sorted(os.listdir(root))[0]
            with open(os.path.join(root, "written meanwhile"), "w") as f:
                f.write("new\n")
            os.rename(os.path.join(root, first), os.path.join(root, "renamed meanwhile"))
        wait_until(lambda: len([k for k in self.keys(bucket) if k.startswith("new/")]) > 100, 120, "the first hundred objects")
        self.instance.restart("syncd")
        self.assertSameTree(want, os.path.join(mount, "new"))
        self.wait_finished(mount, "new", "between", "old")
        wait_until(lambda: self.instance.api("GET", "/management/object_status", path=os.path.join(mount, "new")) == 0, 120,
                   "the upload of all that is new")
        self.assertBucketHas(bucket, want, "new")
        self.assertEqual(os.listdir(mount), ["new"])

    def test_there_is_no_status_outside_of_drives(self):
        with self.assertRaises(lt.ApiError) as refused:
            self.finished("/nowhere/at/all")
        self.assertEqual(refused.exception.status, 404)


if __name__ == "__main__":
    unittest.main()
