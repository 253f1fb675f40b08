#!/usr/bin/python3
"""A drive on a real S3 service, compared with what other tools find in the same bucket, both ways."""

import hashlib
import os
import re
import stat
import subprocess
import unittest

import landfall_test as lt
from drive_case import ODD_NAMES, TREE_FILES, DriveCase, fill, make_tree
from landfall_test import wait_until

GIB = 1 << 30


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class S3Drive:
    """Runs once for every server: the subclasses at the end name it."""

    server_class = None
    prefix = "lf"
    tree_files = TREE_FILES
    large_bytes = GIB + 12345

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.server_class.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def drive(self, name, bucket=None, **more):
        """A drive of that name on a bucket of its own, or on one that is there. Returns (mount point, bucket)."""
        if bucket is None:
            bucket = self.server.make_bucket(f"{self.prefix}-{name}")
        return self.instance.add_drive(self.account, bucket, name=name, **more)["localPath"], bucket

    def keys(self, bucket):
        return set(self.server.rclone("lsf", "-R", "--fast-list", "--files-only", f"s3:{bucket}").stdout.splitlines())

    def wait_keys(self, bucket, number, seconds=300):
        wait_until(lambda: len(self.keys(bucket)) >= number, seconds, f"{number} objects in {bucket}")

    def fetch(self, bucket, path):
        target = os.path.join(self.scratch, f"fetched-{bucket}-{len(os.listdir(self.scratch))}")
        self.server.rclone("copy", "--fast-list", "--transfers", "16", f"s3:{bucket}/{path}", target)
        return target

    def test_a_tree_copied_in_is_identical_in_the_bucket(self):
        tree = os.path.join(self.scratch, "tree-in")
        count = make_tree(tree, self.tree_files)
        self.assertEqual(count, self.tree_files)
        mount, bucket = self.drive("tree-in")
        lt.run("cp", "-r", tree, os.path.join(mount, "tree"), user="landfall")
        self.wait_keys(bucket, count)
        self.assertSameTree(tree, os.path.join(mount, "tree"))
        self.assertSameTree(tree, self.fetch(bucket, "tree"))
        self.fetch_otherwise(tree, bucket)

    def test_a_tree_put_there_by_others_is_identical_in_the_mount(self):
        tree = os.path.join(self.scratch, "tree-out")
        count = make_tree(tree, self.tree_files)
        mount, bucket = self.drive("tree-out", syncIntervalSeconds=1)
        self.assertEqual(os.listdir(mount), [])
        self.server.rclone("copy", "--transfers", "16", tree, f"s3:{bucket}/by-rclone")
        small = os.path.join(tree, sorted(os.listdir(tree))[0])
        self.server.s3cmd("put", "--recursive", small + "/", f"s3://{bucket}/by-s3cmd/")
        wait_until(lambda: {"by-rclone", "by-s3cmd"} <= set(os.listdir(mount)), 20, "both directories")
        self.assertSameTree(tree, os.path.join(mount, "by-rclone"))
        self.assertSameTree(small, os.path.join(mount, "by-s3cmd"))
        self.assertEqual(sum(len(f) for _, _, f in os.walk(os.path.join(mount, "by-rclone"))), count)

    def odd_names(self):
        return ODD_NAMES

    def test_odd_names_survive_both_ways(self):
        names = self.odd_names()
        mount, bucket = self.drive("odd-names")
        for directory in ("plain", "dir with #+%&'\" ü"):
            os.mkdir(os.path.join(mount, directory))
            for name in names:
                with open(os.path.join(mount, directory, name), "w") as f:
                    f.write(f"{directory}/{name}")
        self.wait_keys(bucket, 2 * len(names))
        fetched = self.fetch(bucket, "")
        self.assertSameTree(mount, fetched)
        self.server.rclone("copy", fetched, f"s3:{bucket}-back", "--s3-no-check-bucket=false")
        again, _ = self.drive("odd-names-back", bucket=bucket + "-back")
        self.assertSameTree(fetched, again)

    def test_a_large_file_goes_up_in_parts_and_comes_back(self):
        source = os.path.join(self.scratch, "gibibyte")
        fill(source, self.large_bytes)
        wanted = sha256(source)
        mount, bucket = self.drive("gibibyte")
        lt.run("cp", source, os.path.join(mount, "big"), user="landfall")
        os.unlink(source)
        self.instance.wait_uploaded(os.path.join(mount, "big"), seconds=300)
        self.assertEqual(self.content_hash(bucket, "big"), wanted)
        self.check_parts(bucket, "big")
        again, _ = self.drive("gibibyte-again", bucket=bucket)
        self.assertEqual(sha256(os.path.join(again, "big")), wanted)

    def content_hash(self, bucket, key):
        argv = self.server.rclone_argv("cat", f"s3:{bucket}/{key}")
        with subprocess.Popen(argv, env=lt.clean_env(), stdout=subprocess.PIPE) as cat:
            return hashlib.file_digest(cat.stdout, "sha256").hexdigest()

    def check_parts(self, bucket, key):
        said = self.server.aws("s3api", "head-object", "--bucket", bucket, "--key", key, "--query", "ETag", "--output", "text").stdout
        self.assertRegex(said.strip().strip('"'), r"^[0-9a-f]{32}-\d+$", "an upload in parts has an ETag that counts them")

    def test_empty_files_directories_and_attributes_survive(self):
        mount, bucket = self.drive("survivors")
        os.makedirs(os.path.join(mount, "empty", "nested"))
        with open(os.path.join(mount, "zero"), "w"):
            pass
        with open(os.path.join(mount, "script"), "w") as f:
            f.write("#!/bin/sh\n")
        os.chmod(os.path.join(mount, "script"), 0o750)
        os.utime(os.path.join(mount, "script"), ns=(1_500_000_000_000_000_000, 1_400_000_000_123_456_789))
        os.symlink("script", os.path.join(mount, "link"))
        self.wait_keys(bucket, 3)
        self.instance.wait_uploaded(os.path.join(mount, "script"), os.path.join(mount, "zero"), mount)
        self.check_survivors(mount)
        self.restart_instance()
        self.instance.wait_mounted(mount)
        self.check_survivors(mount)
        again, _ = self.drive("survivors-again", bucket=bucket)   # with an index and a cache that know nothing yet
        self.check_survivors(again)
        listed = self.server.rclone("lsl", f"s3:{bucket}/script").stdout
        self.assertIn("2014-05-13 16:53:20.123456789", listed)    # the same time, as rclone keeps it

    def check_survivors(self, mount):
        self.assertEqual(sorted(os.listdir(mount)), ["empty", "link", "script", "zero"])
        self.assertEqual(os.listdir(os.path.join(mount, "empty")), ["nested"])
        self.assertEqual(os.listdir(os.path.join(mount, "empty", "nested")), [])
        self.assertEqual(os.path.getsize(os.path.join(mount, "zero")), 0)
        self.assertEqual(os.readlink(os.path.join(mount, "link")), "script")

        def attributes():
            st = os.stat(os.path.join(mount, "script"))
            return stat.S_IMODE(st.st_mode), st.st_mtime_ns

        # A listing does not have them; they follow.
        wait_until(lambda: attributes() == (0o750, 1_400_000_000_123_456_789), 30, "the attributes of script")

    def test_moves_and_removals_reach_the_bucket(self):
        mount, bucket = self.drive("moves")
        os.makedirs(os.path.join(mount, "a", "b"))
        for i in range(20):
            with open(os.path.join(mount, "a", "b", str(i)), "w") as f:
                f.write(str(i))
        self.wait_keys(bucket, 20)
        os.rename(os.path.join(mount, "a"), os.path.join(mount, "c"))
        wait_until(lambda: self.keys(bucket) == {f"c/b/{i}" for i in range(20)}, 60, "the moved keys")
        self.assertEqual(self.server.rclone("cat", f"s3:{bucket}/c/b/7").stdout, "7")
        lt.run("rm", "-r", os.path.join(mount, "c"))
        wait_until(lambda: not self.keys(bucket), 60, "the empty bucket")

    def copies(self, mount, stem):
        return [n for n in os.listdir(mount) if n.startswith(stem + " (conflict ")]

    def the_copy(self, mount, stem, extension):
        wait_until(lambda: self.copies(mount, stem), 60, f"our version of {stem} under another name")
        copy, = self.copies(mount, stem)
        self.assertRegex(copy, rf"^{stem} \(conflict [\w.-]+ \d{{4}}-\d\d-\d\d \d\d-\d\d-\d\d\){re.escape(extension)}$")
        return copy

    def check_both(self, mount, bucket, wanted):
        """What the mount shows, the bucket has, and nothing else."""
        self.instance.wait_uploaded(*(os.path.join(mount, name) for name in wanted))
        self.assertEqual(set(os.listdir(mount)), set(wanted))
        self.assertEqual(self.keys(bucket), set(wanted))
        for name, content in wanted.items():
            with open(os.path.join(mount, name)) as f:
                self.assertEqual(f.read(), content, name)
            self.assertEqual(self.server.rclone("cat", f"s3:{bucket}/{name}").stdout, content, name)

    def test_both_sides_change_a_file(self):
        mount, bucket = self.drive("both-sides")
        path = os.path.join(mount, "report.txt")
        with open(path, "w") as f:
            f.write("first")
        self.instance.wait_uploaded(path)
        with open(path, "r+") as ours:
            self.server.rclone("rcat", f"s3:{bucket}/report.txt", input="by somebody else")
            ours.write("ours!")
            ours.flush()
            os.fsync(ours.fileno())
            copy = self.the_copy(mount, "report", ".txt")   # written to a pause ago, and still open
            ours.write(" and more")
        self.check_both(mount, bucket, {"report.txt": "by somebody else", copy: "ours! and more"})
        self.assertEqual(self.instance.log("syncd").count(f' copy="{copy}"'), 1)

    def test_both_sides_make_a_file(self):
        mount, bucket = self.drive("both-new")
        self.assertEqual(os.listdir(mount), [])
        self.server.rclone("rcat", f"s3:{bucket}/new", input="by somebody else")
        with open(os.path.join(mount, "new"), "x") as ours:
            ours.write("ours")
        copy = self.the_copy(mount, "new", "")
        self.check_both(mount, bucket, {"new": "by somebody else", copy: "ours"})

    def test_wrong_keys_and_missing_buckets_are_told(self):
        with self.assertRaises(lt.ApiError) as caught:
            self.instance.api("POST", "/cloud/insert_account", {
                "name": "wrong", "cloudType": 8, "serviceUrl": self.server.url, "region": self.server.region,
                "accessKey": self.server.access_key, "secretKey": "wrong"})
        self.assertEqual(caught.exception.status, 499)
        self.assertNotIn("wrong", [a["name"] for a in self.instance.api("GET", "/cloud/accounts")])
        with self.assertRaises(lt.ApiError) as caught:
            self.drive("no-bucket", bucket="no-such-bucket-here")
        self.assertIn("no-such-bucket-here", caught.exception.body)
        self.assertNotIn("no-bucket", [d["name"] for d in self.instance.api("GET", "/management/clouddrive")])

    def test_presigned_urls_work_without_keys(self):
        mount, _ = self.drive("presigned")
        with open(os.path.join(mount, "a file"), "w") as f:
            f.write("content")
        self.instance.wait_uploaded(os.path.join(mount, "a file"))
        urls = self.instance.api("POST", "/management/generate_presigned_urls",
                                 {"driveName": "presigned", "relativePath": "a file", "uploadKey": "by url"})
        self.assertEqual(lt.run("curl", "-sf", urls["downloadUrl"]).stdout, "content")
        source = os.path.join(self.scratch, "to upload")
        with open(source, "w") as f:
            f.write("uploaded")
        lt.run("curl", "-sf", "-T", source, urls["uploadUrl"])
        self.assertEqual(self.server.rclone("cat", f"s3:{self.prefix}-presigned/by url").stdout, "uploaded")


class RadosgwDrive(S3Drive, DriveCase):
    server_class = lt.Radosgw

    def fetch_otherwise(self, tree, bucket):
        """The same with a tool that shares no code with rclone."""
        target = os.path.join(self.scratch, "by-aws")
        self.server.aws("s3", "sync", "--only-show-errors", f"s3://{bucket}/tree", target)
        self.assertSameTree(tree, target)


class SwiftDrive(S3Drive, DriveCase):
    server_class = lt.Swift
    prefix = "lfs"
    tree_files = 1300    # more than one page of a listing; each costs it ten times what it costs radosgw
    large_bytes = GIB // 4 + 12345

    def odd_names(self):
        # Swift stores a key with a control character but fails to list it, since XML 1.0 cannot hold one.
        return [name for name in ODD_NAMES if name != "control-\x01"]

    def fetch_otherwise(self, tree, bucket):
        """A part of it with s3cmd, which fetches one file after the other, and stumbles over the markers of directories."""
        part = next(d for d in sorted(os.listdir(tree)) if len(os.listdir(os.path.join(tree, d))) > 20)
        target = os.path.join(self.scratch, "by-s3cmd")
        os.mkdir(target)
        self.server.s3cmd("get", "--recursive", "--rexclude", "/$", f"s3://{bucket}/tree/{part}/", target + "/")
        self.assertSameTree(os.path.join(tree, part), target)


if __name__ == "__main__":
    unittest.main()
