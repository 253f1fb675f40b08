#!/usr/bin/python3
"""The states of the agent on real drives: what works in which of them, what lasts over kills, what Exit leaves behind."""

import contextlib
import errno
import os
import time
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import FaultCase, content, write_file
from landfall_test import wait_until

STARTED, STOPPED, PAUSED, DISPOSED = 1, 2, 4, 8


class States(DriveCase):
    def command(self, which):
        self.instance.api("POST", f"/management/command/{which}")

    def status(self):
        return self.instance.api("GET", "/management/agent_status")

    def refused(self, which, part):
        with self.assertRaises(lt.ApiError) as caught:
            self.command(which)
        self.assertEqual((caught.exception.status, caught.exception.code), (499, "DEFAULT"))
        self.assertIn(part, str(caught.exception))

    def tearDown(self):
        if self.status() == DISPOSED:
            self.command("start")
        elif self.status() == PAUSED:
            self.command("resume")

    def test_paused_drives_are_read_only(self):
        mount, bucket = self.folder_drive("paused")
        path = os.path.join(mount, "a")
        write_file(path, b"before")
        self.instance.wait_uploaded(mount)
        self.command("pause")
        self.refused("pause", "paused")
        self.refused("start", "paused")
        with open(path, "rb") as f:
            self.assertEqual(f.read(), b"before")
        with self.assertRaises(OSError) as caught:
            write_file(path, b"during")
        self.assertEqual(caught.exception.errno, errno.EROFS)
        self.instance.restart("syncd")
        self.assertEqual(self.status(), PAUSED)
        self.command("resume")
        self.refused("resume", "started")
        write_file(path, b"after")
        self.instance.wait_uploaded(mount)
        with open(os.path.join(bucket, "a"), "rb") as f:
            self.assertEqual(f.read(), b"after")

    def test_what_is_not_here_is_not_fetched_while_paused(self):
        mount, _ = self.folder_drive("absent")
        path = os.path.join(mount, "a")
        write_file(path, b"x" * 100000)
        self.instance.wait_uploaded(path)
        self.instance.api("POST", f"/management/object_remove_from_cache?path={path}")
        self.command("pause")
        for method, endpoint in (("GET", "get_object_stream"), ("POST", "read_object")):
            reply = self.instance.request(method, f"/management/{endpoint}?path={path}")
            self.assertEqual(reply.status, 499, endpoint)
            self.assertIn(b"paused", reply.body)
        with self.assertRaises(OSError) as caught, open(path, "rb") as f:
            f.read()
        self.assertEqual(caught.exception.errno, errno.ENETDOWN)
        self.command("resume")
        with open(path, "rb") as f:
            self.assertEqual(len(f.read()), 100000)

    def test_disposed_drives_are_unmounted(self):
        mount, bucket = self.folder_drive("disposed")
        write_file(os.path.join(mount, "a"), b"mine")
        self.instance.wait_uploaded(mount)
        self.command("dispose")
        self.assertEqual(self.status(), DISPOSED)
        self.assertFalse(os.path.ismount(mount))
        self.refused("pause", "disposed")
        for daemon in ("syncd", "mountd", "frontd"):
            self.instance.restart(daemon)
        wait_until(lambda: self.status() == DISPOSED, 20, "the state after the restarts")
        self.assertEqual(len([d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == "disposed"]), 1)
        self.assertFalse(os.path.ismount(mount))
        self.command("start")
        self.instance.wait_mounted(mount)
        with open(os.path.join(mount, "a"), "rb") as f:
            self.assertEqual(f.read(), b"mine")

    def test_a_drive_in_use(self):
        """Its programs lose the file, what they have written stays."""
        mount, bucket = self.folder_drive("busy")
        fd = os.open(os.path.join(mount, "open"), os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"written")
        self.command("dispose")
        self.assertFalse(os.path.ismount(mount))
        with self.assertRaises(OSError) as caught:
            os.write(fd, b"late")
        self.assertEqual(caught.exception.errno, errno.ENOTCONN)
        with contextlib.suppress(OSError):
            os.close(fd)
        self.command("start")
        self.instance.wait_mounted(mount)
        self.instance.wait_uploaded(mount)
        with open(os.path.join(bucket, "open"), "rb") as f:
            self.assertEqual(f.read(), b"written")


class Drained(FaultCase):
    # More than it takes anywhere: it is not waited for when all has arrived.
    arguments = ("--set", "DrainSeconds=60")

    def test_exit_lets_uploads_arrive(self):
        mount, bucket = self.s3_drive("drained")
        files = {f"f{n}": content(self.dice, 100_000) for n in range(20)}
        for name, data in files.items():
            write_file(os.path.join(mount, name), data)
        begun = time.monotonic()
        self.instance.api("POST", "/management/command/exit")
        self.assertEqual(self.instance.process.wait(lt.patience(40)), 0)
        self.assertLess(time.monotonic() - begun, lt.patience(30))
        self.assertStored(bucket, files)
        self.instance.start()


if __name__ == "__main__":
    unittest.main()
