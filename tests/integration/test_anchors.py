#!/usr/bin/python3
"""Two machines with the same keys on one bucket of a real S3 service: what one has put or removed the other one knows, whatever
the service shows it."""

import os
import subprocess
import unittest
import xml.etree.ElementTree

import landfall_test as lt
from landfall_test import wait_until
from raw_s3 import NAMESPACE
from test_objects import ObjectCase

FOLDER = ".landfall-versions/"


def segments(bucket):
    status, text = bucket.request("GET", **{"list-type": "2", "prefix": FOLDER})
    if status != 200:
        raise AssertionError(text)
    return [e.text for e in xml.etree.ElementTree.fromstring(text).iter(NAMESPACE + "Key")]


class TwoMachines(ObjectCase):
    arguments = ("--set", "AnchorSeconds=1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = lt.Instance(arguments=cls.arguments).start()
        cls.addClassCleanup(cls.other.remove)
        cls.other_account = cls.other.add_s3_account(cls.server)

    def second(self, name, bucket):
        """The same drive on the other machine, which has the keys before it reads anything."""
        entry = self.other.add_drive(self.other_account, bucket.bucket, name=name, cloudObjectsEncrypted=True, syncIntervalSeconds=1)
        with open(self.identity(name)) as f:
            subprocess.run([os.path.join(self.other.bin, "landfall"), "key", "import", name, "--dir", self.other.dir],
                           input=f.read().encode(), check=True, env=lt.clean_env())
        return entry["localPath"]

    def told(self, bucket, since=()):
        """Waits until a segment is another one than those, {key: bytes}; returns them all."""
        def now():
            there = {key: bucket.get(key) for key in segments(bucket)}
            return there if there and there != dict(since) else None
        return wait_until(now, 30, "a segment")

    def reads(self, path):
        try:
            return self.read(path)
        except OSError:
            return None

    def test_a_rollback_is_refused_by_both(self):
        mount, bucket = self.drive("rollback")
        path = os.path.join(mount, "a")
        self.write(path, b"first" * 1000)
        self.instance.wait_uploaded(path)
        first, before = bucket.get("a"), self.told(bucket)
        self.write(path, b"second" * 1000)
        self.instance.wait_uploaded(path)
        second = bucket.get("a")
        self.told(bucket, before)
        bucket.put("a", first)
        there = os.path.join(self.second("rollback", bucket), "a")
        # From the first reading of what others tell, which readers wait for, but two seconds at most.
        wait_until(lambda: self.reads(there) is None, 30, "the older version to be refused")
        self.assertIn("object_rolled_back", self.other.log("syncd"))
        bucket.put("a", second)
        wait_until(lambda: self.reads(there) == b"second" * 1000, 30, "the newest version")

    def test_what_the_other_one_saw_before(self):
        mount, bucket = self.drive("seen")
        mark = len(self.other.log("syncd"))
        path = os.path.join(mount, "a")
        self.write(path, b"first" * 1000)
        self.instance.wait_uploaded(path)
        first, before = bucket.get("a"), self.told(bucket)
        there = os.path.join(self.second("seen", bucket), "a")
        self.assertEqual(self.read(there), b"first" * 1000)
        self.write(path, b"second" * 1000)
        self.instance.wait_uploaded(path)
        wait_until(lambda: self.reads(there) == b"second" * 1000, 30, "the second version there")
        self.told(bucket, before)
        self.assertNotIn("object_rolled_back", self.other.log("syncd")[mark:])
        bucket.put("a", first)
        wait_until(lambda: self.reads(there) is None, 30, "the older version to be refused")

    def test_both_write(self):
        """In turns, for a while: nobody ever refuses what the other one wrote."""
        mount, bucket = self.drive("turns")
        other = self.second("turns", bucket)
        marks = [len(i.log("syncd")) for i in (self.instance, self.other)]
        for n in range(12):
            body = b"%d" % n * 500
            self.write(os.path.join((mount, other)[n % 2], "a"), body)
            (self.instance, self.other)[n % 2].wait_uploaded(os.path.join((mount, other)[n % 2], "a"))
            wait_until(lambda b=body: self.reads(os.path.join(mount, "a")) == b == self.reads(os.path.join(other, "a")), 30, "both")
        for mark, instance in zip(marks, (self.instance, self.other)):
            self.assertNotIn("object_rolled_back", instance.log("syncd")[mark:])
            self.assertNotIn("anchors_", instance.log("syncd")[mark:])

    def test_segments_rolled_back_and_removed(self):
        mount, bucket = self.drive("segments")
        self.write(os.path.join(mount, "a"), b"first")
        self.instance.wait_uploaded(mount)
        old = self.told(bucket)
        key = next(iter(old))
        self.write(os.path.join(mount, "b"), b"second")
        self.instance.wait_uploaded(mount)
        self.told(bucket, old)
        other = self.second("segments", bucket)
        self.assertEqual(self.read(os.path.join(other, "b")), b"second")
        machines = {mount: self.instance, other: self.other}
        marks = {path: len(machine.log("syncd")) for path, machine in machines.items()}

        def said(event):   # by whoever comes first: the first machine mends it
            return any(os.listdir(path) and event in machine.log("syncd")[marks[path]:] for path, machine in machines.items())

        bucket.put(key, old[key])
        wait_until(lambda: said("anchors_rolled_back"), 30, "the event")
        wait_until(lambda: os.listdir(mount) and len(segments(bucket)) and key not in segments(bucket), 30,
                   "the first machine to tell it anew")
        bucket.remove(segments(bucket)[0])
        wait_until(lambda: said("anchors_missing"), 30, "the event")
        self.assertEqual(self.read(os.path.join(other, "b")), b"second")

    def trouble(self, name):
        return next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == name).get("trouble", "")

    def test_the_status_says_so(self):
        mount, bucket = self.drive("trouble")
        key = FOLDER + "0" * 32 + "-00000001"
        self.write(os.path.join(mount, "a"), b"content")
        self.instance.wait_uploaded(mount)
        self.told(bucket)
        self.assertEqual(self.trouble("trouble"), "")
        bucket.put(key, b"nothing that a machine of the drive has written")
        wait_until(lambda: os.listdir(mount) and key in self.trouble("trouble"), 30, "the trouble")
        self.assertIn("key import", self.trouble("trouble"))
        self.assertIn("trouble   trouble: The object " + key, self.instance.landfall("status").stdout)
        bucket.remove(key)
        wait_until(lambda: os.listdir(mount) and not self.trouble("trouble"), 30, "the end of the trouble")
        self.assertNotIn("trouble   trouble: ", self.instance.landfall("status").stdout)

    def test_not_shown_and_reserved(self):
        mount, bucket = self.drive("reserved")
        self.write(os.path.join(mount, "a"), b"content")
        self.instance.wait_uploaded(mount)
        self.told(bucket)
        self.assertEqual(os.listdir(mount), ["a"])
        with self.assertRaises(PermissionError):
            os.mkdir(os.path.join(mount, FOLDER[:-1]))

    def test_restart_before_it_is_told(self):
        mount, bucket = self.drive("restart")
        self.write(os.path.join(mount, "a"), b"content")
        self.instance.wait_uploaded(mount)
        self.instance.restart("syncd")
        self.told(bucket)


class LastWords(ObjectCase):
    """What would wait for an hour is told when nobody knows when there will be another occasion."""
    arguments = ("--set", "AnchorSeconds=3600")

    def changed(self, name):
        mount, bucket = self.drive(name)
        self.write(os.path.join(mount, "a"), b"content")
        self.instance.wait_uploaded(mount)
        self.assertEqual(segments(bucket), [])
        return bucket

    def test_of_a_drive_that_is_deleted(self):
        bucket = self.changed("deleted")
        entry = next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == "deleted")
        self.instance.api("DELETE", "/management/clouddrive/" + entry["id"])
        self.assertEqual(len(segments(bucket)), 1)

    def test_of_an_agent_that_is_paused(self):
        bucket = self.changed("paused")
        self.instance.api("POST", "/management/command/2")
        wait_until(lambda: segments(bucket), 30, "a segment")
        self.instance.api("POST", "/management/command/4")

    def test_of_a_syncd_that_ends(self):
        bucket = self.changed("ended")
        self.restart_instance()
        self.assertEqual(len(segments(bucket)), 1)


if __name__ == "__main__":
    unittest.main()
