#!/usr/bin/python3
"""What of a file system comes back from a bucket, and what does not come from there."""

import contextlib
import os
import pwd
import socket
import stat
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase
from landfall_test import wait_until
from posix_case import write
from raw_s3 import RawS3

SECOND = 1_000_000_000
TIMES = [-(2**31) + 5, -1, 0, 2**31 + 5, 2**32 + 5, 7_258_118_400]   # 1901, 1969, 1970, 2038, 2106, 2200


class RoundTrip:
    """What one drive wrote, a second drive with a cache of its own shows."""

    links_have_owners = True
    device_mode = 0o640
    maxDiff = None

    def drive(self, name, bucket):
        return self.instance.add_drive(self.account, bucket, name=name, syncIntervalSeconds=1)["localPath"]

    def assertComes(self, look, expected):
        """A listing on S3 has no metadata: what it showed is corrected soon."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: look() == expected, 20)
        self.assertEqual(look(), expected)

    def facts(self, mount):
        return {os.path.relpath(path, mount): self.fact(path) for here, names, leaves in os.walk(mount)
                for path in (os.path.join(here, name) for name in names + leaves)}

    def fact(self, path):
        st = os.lstat(path)
        link, special = stat.S_ISLNK(st.st_mode), stat.S_ISFIFO(st.st_mode) or stat.S_ISSOCK(st.st_mode)
        return {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid) if self.links_have_owners or not link else None,
                "mtime": None if stat.S_ISDIR(st.st_mode) else st.st_mtime_ns, "target": os.readlink(path) if link else None,
                "attributes": {} if link or special else {name: os.getxattr(path, name) for name in os.listxattr(path)}}

    def test_metadata_comes_back(self):
        bucket = self.make_bucket("metadata")
        first = self.drive("first", bucket)

        def path(*names):
            return os.path.join(first, *names)
        for n, seconds in enumerate(TIMES):
            write(path(f"time-{n}"), b"x")
            os.utime(path(f"time-{n}"), ns=(seconds * SECOND + 123_456_789, seconds * SECOND + 123_456_789))
        for mode in (0o000, 0o400, 0o755, 0o777, 0o1644):
            write(path(f"mode-{mode:o}"), b"x")
            os.chmod(path(f"mode-{mode:o}"), mode)
            os.mkdir(path(f"d-{mode:o}"))
            os.chmod(path(f"d-{mode:o}"), mode)
        write(path("owned"), b"x")
        os.chown(path("owned"), 12345, 54321)
        os.symlink("nowhere/ü \udcff", path("link"))
        os.mkfifo(path("fifo"), 0o640)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path("socket"))
        write(path("attributes"), b"x")
        os.setxattr(path("attributes"), "user.note", b"\0\xff bytes")
        os.setxattr(path("attributes"), "user.empty", b"")
        os.setxattr(path("attributes"), "user.Ünïcode and spaces", b"1")
        os.setxattr(path("d-755"), "user.of.a.directory", b"2")
        expected = self.facts(first)
        self.instance.wait_uploaded(*(path(name) for name in os.listdir(first)))
        second = self.drive("second", bucket)
        wait_until(lambda: len(os.listdir(second)) == len(os.listdir(first)), 30, "the names")
        self.assertComes(lambda: self.facts(second), expected)

    def test_no_set_user_id_comes_from_there(self):
        bucket = self.make_bucket("set-id")
        first = self.drive("set-id", bucket)
        path = os.path.join(first, "set-id")
        write(path, b"x")
        os.chmod(path, 0o6755)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o6755)
        self.instance.wait_uploaded(path)
        second = self.drive("set-id-again", bucket)
        self.assertComes(lambda: stat.S_IMODE(os.stat(os.path.join(second, "set-id")).st_mode), 0o755)

    def test_what_comes_from_there_is_no_device(self):
        """Whatever an empty object says in its mode."""
        bucket = self.make_bucket("types")
        types = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "char": stat.S_IFCHR, "block": stat.S_IFBLK, "file": stat.S_IFREG}
        for name, kind in types.items():
            self.put_empty(bucket, name, kind | 0o640)
        mount = self.drive("types", bucket)
        expected = {name: kind | 0o640 for name, kind in types.items()}
        expected["char"] = expected["block"] = stat.S_IFREG | self.device_mode
        self.assertComes(lambda: {name: os.lstat(os.path.join(mount, name)).st_mode for name in types}, expected)


class Folder(RoundTrip, DriveCase):
    links_have_owners = False   # a link of the folder has no attributes to keep it in
    device_mode = 0o644         # a mode of another type than the file's is not believed at all

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cloud = os.path.join(cls.instance.dir, "cloud")
        cls.make_folder(cls.cloud)
        cls.account = cls.instance.add_folder_account(cls.cloud)

    @staticmethod
    def make_folder(path):
        os.mkdir(path, 0o700)
        os.chown(path, pwd.getpwnam(SERVED).pw_uid, -1)

    def make_bucket(self, name):
        self.make_folder(os.path.join(self.cloud, name))
        return name

    def put_empty(self, bucket, name, mode):
        path = os.path.join(self.cloud, bucket, name)
        write(path, b"")
        os.chown(path, pwd.getpwnam(SERVED).pw_uid, -1)
        os.setxattr(path, "user.landfall.mode", b"%d" % mode)


class Radosgw(RoundTrip, DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def make_bucket(self, name):
        return self.server.make_bucket("lf-posix-" + name)

    def put_empty(self, bucket, name, mode):
        RawS3(self.server, bucket).put(name, b"", {"mode": str(mode)})


if __name__ == "__main__":
    unittest.main()
