#!/usr/bin/python3
"""Keys that are no file names, on a real S3 service: what another client put there is shown, read, written, renamed and deleted through the
mount under its escaped name, what is made here under such a name gets that key, and nothing leaves the drive."""

import os
import pwd
import subprocess
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase
from landfall_test import wait_until
from raw_s3 import RawS3

LONG = "n" * 300

# Keys and the paths they are shown under; "#" stands for what a shortened name ends in.
ODD = {
    ".": "␛2E", "..": "␛2E.␛", "../up": "␛2E./up", "d/../etc": "d/␛2E./etc", "d/./x": "d/␛2E/x", "/lead": "␛/lead", "a//b": "a/␛/b",
    "//": None, "e/..": "e/␛2E.", "a": "a␛", "a/c": "a/c", "␛": "␛␛", "␛2E": "␛␛2E", "f/␛": "f/␛␛", "caf\u00e9": "caf\u00e9",
    "cafe\u0301": "cafe\u0301", LONG: "#", "ctl\x01": "ctl\x01",
}


def names(path):
    return sorted(os.path.relpath(os.path.join(here, n), path) for here, _, files in os.walk(path) for n in files)


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


class OddKeys:
    server_class = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.server_class.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def drive(self, name, keys=(), **more):
        """(mount point, client) of a drive on a bucket that has objects of these keys, which are their content too."""
        bucket = f"odd-{name}"
        self.server.make_bucket(bucket)
        s3 = RawS3(self.server, bucket)
        for key in keys:
            s3.put(key, key.encode())
        drive = self.instance.add_drive(self.account, bucket, name=name, syncIntervalSeconds=1, **more)
        return drive["localPath"], s3

    def path_of(self, mount, key):
        if ODD[key] != "#":
            return os.path.join(mount, ODD[key])
        return next(os.path.join(mount, n) for n in os.listdir(mount) if n.startswith("nnn"))

    def wait_keys(self, s3, keys):
        keys = {k if isinstance(k, bytes) else k.encode() for k in keys}
        try:
            wait_until(lambda: s3.keys() == keys, 60, "the keys")
        except AssertionError:
            self.assertEqual(s3.keys(), keys)

    def read(self, path):
        with open(path, "rb") as f:
            return f.read().decode()

    def test_all_are_shown_and_read(self):
        mount, _ = self.drive("read", ODD)
        shown = {os.path.relpath(self.path_of(mount, k), mount) for k in ODD if ODD[k]}
        self.assertEqual(set(names(mount)), shown)
        for key in ODD:
            if ODD[key]:
                self.assertEqual(self.read(self.path_of(mount, key)), key)
        self.assertTrue(os.path.isdir(os.path.join(mount, "␛", "␛")))          # "//"
        self.assertEqual(len([n for n in os.listdir(mount) if n.startswith("caf")]), 2)
        self.assertEqual(subprocess.run(["ls", "-lR", mount], stdout=subprocess.DEVNULL, check=False).returncode, 0)

    def test_what_is_written_goes_to_the_key(self):
        mount, s3 = self.drive("write", ODD)
        for key in ODD:
            if ODD[key]:
                write(self.path_of(mount, key), "new " + key)
        for key in ODD:
            if ODD[key]:
                wait_until(lambda k=key: s3.get(k) == b"new " + k.encode(), 60, repr(key))
        self.wait_keys(s3, ODD)

    def test_deleted(self):
        mount, s3 = self.drive("delete", ODD)
        for key in ODD:
            if ODD[key]:
                os.unlink(self.path_of(mount, key))
        wait_until(lambda: not {k.encode() for k in ODD if ODD[k]} & s3.keys(), 60, "the keys gone")
        for name in os.listdir(mount):
            subprocess.run(["rm", "-r", os.path.join(mount, name)], check=True)
        self.wait_keys(s3, [])

    def test_renamed_to_names_and_back(self):
        mount, s3 = self.drive("rename", ODD)
        keep = {k: f"plain {i}" for i, k in enumerate(k for k in ODD if ODD[k])}
        for key, plain in keep.items():
            os.rename(self.path_of(mount, key), os.path.join(mount, plain))
        for plain in keep.values():
            wait_until(lambda p=plain: s3.get(p) is not None, 60, plain)
        for key in keep:
            wait_until(lambda k=key: s3.get(k) is None, 60, repr(key))
        for key, plain in keep.items():
            if ODD[key] != "#" and not ODD[key].endswith("␛"):
                os.rename(os.path.join(mount, plain), os.path.join(mount, ODD[key]))
        for key in keep:
            if ODD[key] != "#" and not ODD[key].endswith("␛"):
                wait_until(lambda k=key: s3.get(k) == k.encode(), 60, repr(key))

    def test_made_here(self):
        mount, s3 = self.drive("made")
        os.makedirs(os.path.join(mount, "d", "␛", "␛2E."))
        made = {"␛2E": ".", "␛2E.": "..", "␛␛": "␛", "d/␛/␛2E./x": "d//../x", "␛␛2E": "␛2E"}
        for name, key in made.items():
            write(os.path.join(mount, name), key)
        self.wait_keys(s3, [*made.values(), "d/", "d//", "d//../"])
        for key in made.values():
            self.assertEqual(s3.get(key), key.encode())
        s3.put("marker", b"")
        wait_until(lambda: "marker" in os.listdir(mount), 30, "the next listing")
        self.assertEqual(names(mount), sorted([*made, "marker"]))
        for name in ("␛", "␛41", "x␛", "a␛b"):
            with self.assertRaises(OSError) as e:
                write(os.path.join(mount, name), "")
            self.assertEqual(e.exception.errno, 22, name)
        self.assertEqual(os.listdir(os.path.join(mount, "d")), ["␛"])

    def test_a_directory_of_such_a_name_moves(self):
        mount, s3 = self.drive("move", ["../a", "..//b", "../../c"])
        self.assertEqual(names(os.path.join(mount, "␛2E.")), ["a", "␛/b", "␛2E./c"])
        os.rename(os.path.join(mount, "␛2E."), os.path.join(mount, "up"))
        self.wait_keys(s3, ["up/a", "up//b", "up/../c"])
        os.rename(os.path.join(mount, "up"), os.path.join(mount, "␛2E"))
        self.wait_keys(s3, ["./a", ".//b", "./../c"])

    def test_directory_and_object_of_one_name(self):
        mount, s3 = self.drive("beside", ["a", "a/b"])
        self.assertEqual(sorted(os.listdir(mount)), ["a", "a␛"])
        s3.put("a", b"by another")
        wait_until(lambda: self.read(os.path.join(mount, "a␛")) == "by another", 30, "the other version")
        os.unlink(os.path.join(mount, "a", "b"))
        os.rmdir(os.path.join(mount, "a"))
        self.assertEqual(os.listdir(mount), ["a"])
        self.assertEqual(self.read(os.path.join(mount, "a")), "by another")
        self.wait_keys(s3, ["a"])
        s3.put("a/c", b"1")
        wait_until(lambda: sorted(os.listdir(mount)) == ["a", "a␛"], 30, "the directory")
        self.assertEqual(self.read(os.path.join(mount, "a␛")), "by another")
        s3.remove("a/c")
        wait_until(lambda: os.listdir(mount) == ["a"], 30, "the object alone")

    def test_after_a_restart(self):
        mount, s3 = self.drive("restart", ODD)
        before = names(mount)
        self.restart_instance()
        self.instance.wait_mounted(mount)
        self.assertEqual(names(mount), before)
        write(self.path_of(mount, LONG), "long")
        write(os.path.join(mount, "a/␛/b"), "b")
        wait_until(lambda: s3.get(LONG) == b"long" and s3.get("a//b") == b"b", 60, "both")

    def test_below_a_prefix_nothing_leaves_the_drive(self):
        mount, s3 = self.drive("prefix", ["p/../secret", "p/x", "secret", "p//etc"], prefix="p")
        self.assertEqual(names(mount), ["x", "␛/etc", "␛2E./secret"])
        write(os.path.join(mount, "␛2E.", "secret"), "mine")
        wait_until(lambda: s3.get("p/../secret") == b"mine", 60, "the key")
        self.assertEqual(s3.get("secret"), b"secret")

    def test_presigned_and_status(self):
        mount, _ = self.drive("api", ["a", "a/b", LONG, "a//x"])
        for path, key in ((self.path_of(mount, LONG), LONG), (os.path.join(mount, "a␛"), "a"), (os.path.join(mount, "a/␛/x"), "a//x")):
            self.assertEqual(self.instance.api("GET", "/management/object_status", path=path), 0)
            urls = self.instance.api("POST", "/management/generate_presigned_urls",
                                     {"driveName": "api", "relativePath": os.path.relpath(path, mount), "uploadKey": "x"})
            self.assertEqual(lt.run("curl", "-sf", "--path-as-is", urls["downloadUrl"]).stdout, key)


class OddKeysOnRadosgw(OddKeys, DriveCase):
    server_class = lt.Radosgw


class OddNamesInAFolder(DriveCase):
    """File names that are not UTF-8 are keys of a LocalFolder."""

    def test_bytes(self):
        mount, bucket = self.folder_drive("bytes", syncIntervalSeconds=1)
        beside = os.path.join(os.path.dirname(bucket), "new")
        write(beside, "latin")
        os.chown(beside, pwd.getpwnam(SERVED).pw_uid, -1)
        os.rename(beside, os.path.join(os.fsencode(bucket), b"caf\xe9"))
        wait_until(lambda: os.listdir(mount) == ["caf␛E9"], 30, "the name")
        with open(os.path.join(mount, "caf␛E9"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "latin")
        write(os.path.join(mount, "caf␛E9"), "latin-1")
        os.mkdir(os.path.join(mount, "d"))
        os.rename(os.path.join(mount, "caf␛E9"), os.path.join(mount, "d", "na␛EFve"))
        target = os.path.join(os.fsencode(bucket), b"d", b"na\xefve")
        wait_until(lambda: os.path.exists(target) and not os.path.exists(os.path.join(os.fsencode(bucket), b"caf\xe9")), 60, "the file")
        with open(target, "rb") as f:
            self.assertEqual(f.read(), b"latin-1")
        with self.assertRaises(OSError):
            with open(os.path.join(mount, "␛2E."), "wb"):
                pass


if __name__ == "__main__":
    unittest.main()
