#!/usr/bin/python3
"""What is made offline over HTTP can be read when the server is gone, whatever comes later included."""

import os
import unittest

import landfall_test as lt
from fault_case import FaultCase, content, read_file, write_file
from landfall_test import wait_until


def forget_pages(path):
    """What the kernel still has of it in memory, as it may have of an encrypted cache."""
    with open(path, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Offline(FaultCase):
    arguments = ("--set", "ReadDeadlineSeconds=4")

    def make(self, path):
        self.assertIsNone(self.instance.api("GET", "/management/object_make_offline", path=path))

    def remove(self, path):
        self.assertIsNone(self.instance.api("POST", "/management/object_remove_offline", path=path))

    def cached(self, path):
        return self.instance.api("GET", "/management/object_explain", path=path).get("cachedBytes", 0)

    def refused(self, method, path, status, code):
        for verb, route in (("GET", "object_make_offline"), ("POST", "object_remove_offline")):
            if method in (verb, "*"):
                with self.assertRaises(lt.ApiError) as caught:
                    self.instance.api(verb, "/management/" + route, path=path)
                self.assertEqual((caught.exception.status, caught.exception.code), (status, code), route)

    def test_a_folder_without_a_server(self):
        mount, bucket = self.s3_drive("make-offline")
        files = {f"keep/{n}": content(self.dice, 60_000 * n) for n in range(6)}
        files["keep/deep/large"] = content(self.dice, 9 << 20)
        self.put(bucket, {**files, "other": content(self.dice, 100_000)})
        self.see(mount, ["keep", "other"])
        folder = os.path.join(mount, "keep")
        paths = {os.path.join(mount, name): data for name, data in files.items()}
        self.make(folder)
        self.make(folder)
        wait_until(lambda: all(self.cached(p) == len(d) for p, d in paths.items()), 60, "all of it")
        self.put(bucket, {"keep/deep/later": b"later" * 1000})
        paths[os.path.join(mount, "keep/deep/later")] = b"later" * 1000
        wait_until(lambda: os.path.exists(os.path.join(mount, "keep/deep/later")), 30, "the new name")
        wait_until(lambda: all(self.cached(p) == len(d) for p, d in paths.items()), 60, "the new file")
        self.refused("POST", os.path.join(folder, "1"), 499, "DEFAULT")   # it is offline with its folder

        self.proxy.refuse()
        for path, data in paths.items():
            self.assertTrue(read_file(path) == data, path)
        with self.assertRaises(OSError):
            read_file(os.path.join(mount, "other"))
        self.remove(folder)                 # that needs no server either
        wait_until(lambda: not any(self.cached(p) for p in paths), 30, "the copies to go")
        forget_pages(os.path.join(folder, "deep", "large"))
        with self.assertRaises(OSError):
            read_file(os.path.join(folder, "deep", "large"))
        self.remove(folder)
        self.proxy.heal()
        for path, data in paths.items():
            wait_until(lambda p=path, d=data: read_file(p) == d, 30, f"{path} from the server")

    def test_errors(self):
        mount, bucket = self.s3_drive("make-offline-errors")
        self.refused("*", os.path.join(mount, "nothing"), 404, "NOT_FOUND")
        self.refused("*", "/etc/passwd", 404, "NOT_FOUND")
        self.refused("*", os.path.join(mount, "..", "x"), 499, "SECURITY")
        self.refused("*", "", 499, "DEFAULT")


if __name__ == "__main__":
    unittest.main()
