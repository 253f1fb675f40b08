#!/usr/bin/python3
"""Damaged files of state: whoever owns them goes on or says what to do, nothing wrong is sent or shown, and what the cloud has
comes back by itself."""

import contextlib
import glob
import os
import random
import re
import shutil
import sqlite3
import unittest

import landfall_test as lt
from drive_case import DriveCase
from fault_case import SEED, read_file, write_file
from landfall_test import wait_until

PAGE = 4096


class Index(DriveCase):
    FILES = 300

    def damage(self, path):
        """Pages by which the later half of the names is found: no check looks at them, and no start needs them."""
        with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
            pages = [row[0] for row in db.execute("SELECT pageno FROM dbstat WHERE name = 'inode_name' AND pagetype = 'leaf'"
                                                  " ORDER BY path")]
        self.assertGreater(len(pages), 3)
        with open(path, "r+b") as f:
            for page in pages[len(pages) // 2:]:
                f.seek((page - 1) * PAGE)
                f.write(random.Random(SEED + page).randbytes(PAGE))

    def written_meanwhile(self, file, mount):
        """A program that goes on writing to what it has open is refused, or what it wrote is kept."""
        with contextlib.suppress(OSError):
            os.pwrite(file, b"later", 0)
            os.fsync(file)
            return b"later"
        return b"ours"

    def test_met_in_use(self):
        mount, bucket = self.folder_drive("damage", syncIntervalSeconds=3600)   # until it is asked for below
        names = [f"n{n:04d}-" + "x" * 60 for n in range(self.FILES)]
        for name in names:
            write_file(os.path.join(mount, name), name.encode())
        self.instance.wait_uploaded(*(os.path.join(mount, name) for name in names))
        self.assertEqual(self.instance.stop(), 0)
        path, = glob.glob(os.path.join(self.instance.dir, "state", "drives", "*", "index.db"))
        self.damage(path)
        said = len(self.instance.log("syncd"))
        self.instance.start("--set", "SettleMilliseconds=60000")
        pids = self.instance.info()["pids"]
        wait_until(lambda: os.path.ismount(mount), 20, "the mount")
        file = os.open(os.path.join(mount, names[0]), os.O_RDWR)
        self.addCleanup(os.close, file)
        os.pwrite(file, b"ours", 0)
        os.fsync(file)
        workers = self.instance.log("mountd").count("worker_started")
        self.assertNotIn("database_damaged", self.instance.log("syncd")[said:])
        self.instance.request("GET", "/management/clouddrive/sync/" + os.path.basename(os.path.dirname(path)))
        wait_until(lambda: os.listdir(mount) and "drive_opened_anew" in self.instance.log("syncd")[said:], 20, "the damage in the log")
        self.assertIn("database_damaged", self.instance.log("syncd")[said:])
        kept, = glob.glob(path + ".corrupt-*[!l]")
        self.assertIn("is damaged", self.instance.log("syncd")[said:])
        self.assertIn(f"It is kept as {kept}.", self.instance.log("syncd")[said:])
        self.instance.wait_mounted(mount)
        wait_until(lambda: set(names) <= set(os.listdir(mount)), 30, "the names of the cloud")
        for name in names[::29]:
            self.assertEqual(read_file(os.path.join(mount, name)), name.encode())
        written = self.written_meanwhile(file, mount)
        lost, = glob.glob(os.path.join(self.instance.dir, "state", "cache", "*", "lost", "*.data"))
        self.assertEqual(read_file(lost)[:len(written)], written)
        self.assertIn(f"file={lost}", self.instance.log("syncd")[said:])
        self.assertEqual({n: read_file(os.path.join(bucket, n)).decode() for n in os.listdir(bucket) if not n.startswith(".")},
                         dict(zip(names, names)))
        self.assertEqual(self.instance.info()["pids"], pids)
        self.assertEqual(self.instance.log("mountd").count("worker_started"), workers)


# --- the table: each file of state x what can become of it ------------------------------------------------

def emptied(path):
    os.truncate(path, 0)


def cut_short(path):
    os.truncate(path, os.path.getsize(path) // 2)


def zeroed(path):
    write_file(path, bytes(min(os.path.getsize(path), 64 * PAGE)))


def garbage(path):
    write_file(path, random.Random(SEED).randbytes(min(os.path.getsize(path), 64 * PAGE)))


def unreadable(path):
    os.chmod(path, 0)


def missing(path):
    os.remove(path)


def a_directory(path):
    os.remove(path)
    os.mkdir(path)
    write_file(os.path.join(path, "something"), b"of somebody's")


DAMAGES = (emptied, cut_short, zeroed, garbage, unreadable, missing, a_directory)
# Bytes inside a data file that keeps its size are not looked at (docs/ARCHITECTURE.md).
DAMAGES_OF = {"data": (emptied, cut_short, unreadable, missing, a_directory), "map": DAMAGES}

THEIRS, OURS, CONFLICT = "the cloud's", "ours", "the cloud's, and what is left of ours beside it"


def outcome(kind, way, damage):
    """What the cloud and the drive have in the end."""
    if way == "clean":
        return THEIRS
    if kind == "map" or damage is unreadable:
        return OURS
    return THEIRS if damage in (missing, a_directory) else CONFLICT


class Table(DriveCase):
    def state(self, *names):
        return os.path.join(self.instance.dir, "state", *names)

    def drive_id(self, mount):
        drive, = [d for d in self.instance.api("GET", "/management/clouddrive") if d["localPath"] == mount]
        return drive["id"]

    def put(self, mount, bucket, files):
        """Versions that another client has made, and that were read here."""
        for name, data in files.items():
            path = os.path.join(bucket, name)
            write_file(path, data)
            os.chown(path, os.stat(bucket).st_uid, os.stat(bucket).st_gid)
        for name, data in files.items():
            wait_until(lambda n=name, d=data: read_file(os.path.join(mount, n)) == d, 20, "the other client's bytes")

    def change(self, path, data):
        with open(path, "r+b", buffering=0) as f:
            f.write(data)
            os.fsync(f.fileno())

    def stop(self):
        self.assertEqual(self.instance.stop(), 0)

    def start(self, *more):
        self.said = len(self.instance.log("syncd"))
        self.instance.start(*more)
        self.pids = self.instance.info()["pids"]

    def log(self):
        return self.instance.log("syncd")[self.said:]

    def assertNobodyEnded(self):
        self.assertEqual(self.instance.info()["pids"], self.pids)
        self.assertNotIn("worker_died", self.instance.log("mountd"))

    def objects(self, bucket):
        return {n: read_file(os.path.join(bucket, n)) for n in os.listdir(bucket) if not n.startswith(".")}

    def cached(self, folder, mount, name, kind):
        ino = os.stat(os.path.join(mount, name)).st_ino
        return os.path.join(folder, f"{ino & 0xff:02x}", f"{ino:x}.{kind}")

    def test_cache_files(self):
        mount, bucket = self.folder_drive("cache", syncIntervalSeconds=1)
        folder = self.state("cache", self.drive_id(mount))
        dice = random.Random(SEED)
        rows = {f"{kind} {way} {damage.__name__}": (kind, way, damage)
                for kind, damages in DAMAGES_OF.items() for way in ("clean", "changed") for damage in damages}
        theirs, ours = ({n: dice.randbytes(200_000) for n in rows} for _ in range(2))
        self.put(mount, bucket, theirs)
        self.stop()
        self.start("--set", "SettleMilliseconds=20000")
        self.instance.wait_mounted(mount)
        for name, (_, way, _) in rows.items():
            if way == "changed":
                self.change(os.path.join(mount, name), ours[name])
        paths = {name: self.cached(folder, mount, name, row[0]) for name, row in rows.items()}
        self.stop()
        for name, (_, _, damage) in rows.items():
            damage(paths[name])
        self.start("--set", "SettleMilliseconds=300")
        self.instance.wait_mounted(mount)
        self.instance.landfall("wait", "--timeout", "120", mount)
        stored = self.objects(bucket)
        for name, row in rows.items():
            with self.subTest(name=name):
                expected = outcome(*row)
                conflicts = [data for n, data in stored.items() if n.startswith(name + " (conflict")]
                self.assertEqual(len(conflicts), expected is CONFLICT)
                for data in (stored[name], read_file(os.path.join(mount, name))):
                    self.assertTrue(data == (ours if expected is OURS else theirs)[name])
                if expected is CONFLICT:
                    self.assertTrue(ours[name].startswith(conflicts[0]))
                if row[2] is a_directory:
                    self.assertEqual(read_file(os.path.join(paths[name] + ".aside", "something")), b"of somebody's")
                if row[1:] in (("changed", missing), ("changed", a_directory)) and row[0] == "data":
                    self.assertRegex(self.log(), f'unsaved_content_missing .*name="{name}"')
        self.assertNobodyEnded()

    def test_indexes(self):
        """A drive comes back by itself, whatever became of its index, and what was not sent is in the cloud or in "lost"."""
        name, drives = "n07-" + "x" * 100, {}
        dice = random.Random(SEED)
        for damage in DAMAGES:
            mount, bucket = self.folder_drive("index " + damage.__name__, syncIntervalSeconds=1)
            for n in range(60):
                write_file(os.path.join(bucket, f"n{n:02d}-" + "x" * 100), b"%d" % n)
            lt.run("chown", "-R", "--reference", bucket, bucket)
            drives[damage] = mount, bucket, self.drive_id(mount), dice.randbytes(100_000)
        self.stop()
        self.start("--set", "SettleMilliseconds=20000")
        for mount, _, _, data in drives.values():
            self.instance.wait_mounted(mount)
            wait_until(lambda m=mount: len(os.listdir(m)) == 60, 20, "the names")
            self.change(os.path.join(mount, name), data)
        self.stop()
        for damage, (_, _, drive, _) in drives.items():
            damage(self.state("drives", drive, "index.db"))
        self.start("--set", "SettleMilliseconds=300")
        for damage, (mount, bucket, drive, data) in drives.items():
            with self.subTest(damage=damage.__name__):
                self.instance.wait_mounted(mount)
                wait_until(lambda m=mount: len(os.listdir(m)) == 60, 20, "the names of the cloud")
                for n in (3, 59):
                    self.assertEqual(read_file(os.path.join(mount, f"n{n:02d}-" + "x" * 100)), b"%d" % n)
                lost = glob.glob(self.state("cache", drive, "lost", "*.data"))
                if damage is unreadable:
                    wait_until(lambda b=bucket, d=data: self.objects(b)[name] == d, 60, "what was not sent")
                    self.assertEqual(lost, [])
                    continue
                self.assertTrue([read_file(path) for path in lost] == [data])
                self.assertIn(f"file={lost[0]}", self.log())
                self.assertRegex(self.log(), f"index_lost drive={drive}")
                self.assertEqual(self.objects(bucket)[name], b"7")
                self.assertGreater(os.stat(os.path.join(mount, name)).st_ino, 1 << 32)
        self.assertNobodyEnded()

    def refused(self):
        """It does not start, and does not go on trying."""
        self.instance.spawn()
        wait_until(lambda: self.instance.process.poll() is not None or self.instance.ready(), 30, "an end or a start")
        ended = self.instance.process.poll() is not None
        self.instance.stop()
        return ended

    def test_state_and_keys(self):
        """Nothing can be had again of these: the daemon starts with what is left, or ends and says what to do."""
        mount, bucket = self.folder_drive("state")
        write_file(os.path.join(mount, "f"), b"ours")
        self.instance.wait_uploaded(os.path.join(mount, "f"))
        self.stop()
        for daemon, path, starts in (("syncd", self.state("state.db"), (unreadable,)),
                                     ("cryptd", os.path.join(self.instance.dir, "keys", "keys"), (missing,))):
            copy = os.path.join(self.scratch, daemon)
            shutil.copyfile(path, copy)
            owner = os.stat(path)
            for damage in DAMAGES:
                with self.subTest(file=path, damage=damage.__name__):
                    said = len(self.instance.log(daemon))
                    damage(path)
                    self.assertEqual(self.refused(), damage not in starts)
                    if damage not in starts:
                        self.assertIn(path, self.instance.log(daemon)[said:])
                    self.assertEqual(self.objects(bucket), {"f": b"ours"})
                lt.run("rm", "-rf", path, *glob.glob(path + ".corrupt-*"), *glob.glob(path + "-*"))
                shutil.copyfile(copy, path)
                os.chown(path, owner.st_uid, owner.st_gid)
                os.chmod(path, 0o600)
        strange = self.state("cache", "of-a-drive-that-is-gone", "lost")
        os.makedirs(strange)
        self.start()
        self.instance.wait_mounted(mount)
        self.assertEqual(read_file(os.path.join(mount, "f")), b"ours")
        self.assertEqual(re.findall("folder_of_no_drive .*name=([^ ]*)", self.log()), ["of-a-drive-that-is-gone"])
        self.assertTrue(os.path.isdir(strange))


if __name__ == "__main__":
    unittest.main()
