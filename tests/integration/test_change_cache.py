#!/usr/bin/python3
"""The cache of a drive is encrypted, made plain, and moved while programs work on the drive and daemons are killed. They see no
error and no wrong byte; afterwards no plaintext is left in the cache."""

import os
import pwd
import random
import subprocess
import unittest

import landfall_test as lt
import test_websockets
from drive_case import SERVED, DriveCase
from fault_case import SEED
from killer import Killer
from landfall_test import wait_until
from loop_disk import LoopDisk
from twin import content

MIB = 1 << 20
PROGRAM = os.path.join(lt.BUILD, "tests", "integration", "file_exerciser")
CANARY = b"the canary that no disk may have in clear"


def files_with(folder, what):
    """Files below the folder that have these bytes in them."""
    found = []
    for here, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(here, name)
            with open(path, "rb") as f:
                fd, at = f.fileno(), 0
                size = os.fstat(fd).st_size
                while at < size:
                    try:
                        at = os.lseek(fd, at, os.SEEK_DATA)
                    except OSError:
                        break
                    end = min(os.lseek(fd, at, os.SEEK_HOLE), at + 16 * MIB)
                    if what in os.pread(fd, end - at + len(what), at):
                        found.append(path)
                        break
                    at = end
    return found


class ChangeCache(DriveCase):
    arguments = ("--set", "SettleMilliseconds=50")

    def setUp(self):
        self.name = self._testMethodName[5:20].strip("_")
        self.mount, self.bucket = self.folder_drive(self.name)
        self.running = []

    def entry(self):
        return next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == self.name)

    def cache(self):
        return self.entry()["permanentLocalPath"]

    def change(self, **cache):
        return self.instance.api("PUT", "/management/clouddrive_change_cache/" + self.entry()["id"], cache)

    def kill_syncd(self):
        Killer(self.instance).kill("syncd")
        wait_until(lambda: not self.entry().get("mountError"), 30, "the drive's keys")

    def metric(self, name):
        text = self.instance.request("GET", "/metrics").body.decode()
        return next((int(float(line.split()[-1])) for line in text.splitlines()
                     if line.startswith(f'landfall_{name}{{drive="{self.name}"')), None)

    def convert(self, on):
        self.change(localCacheEncrypted=on)
        wait_until(lambda: self.metric("cache_unconverted_files") == 0, 120, "the end of the conversion")

    def test_shown_as_transfers(self):
        path = os.path.join(self.mount, "large")
        with open(path, "wb") as f:
            f.write(CANARY * 200_000)
        self.instance.wait_uploaded(path)
        listener = test_websockets.Listener(self.instance, "/notification")
        self.addCleanup(listener.close)
        for on, mode in ((True, "Encrypt"), (False, "Decrypt")):
            self.convert(on)
            told = []
            while not told or told[-1]["Status"] != "Completed":
                told.append(listener.until(lambda f, m=mode: f["Type"] == 1 and f["Data"]["TransferMode"] == m)["Data"])
            # One that finds the file in use, as by syncd that brings it to the disk, is given up and begun anew.
            given_up = ["InProgress", "Canceled"] * (len(told) // 2 - 1)
            self.assertEqual([d["Status"] for d in told], [*given_up, "InProgress", "Completed"])
            for data in told:
                self.assertEqual((data["Path"], data["Name"], data["Size"]), (path, "large", 200_000 * len(CANARY)))

    def start(self, *arguments):
        path = os.path.join(self.mount, f"file-{len(self.running)}")
        self.running.append((path, subprocess.Popen(
            [PROGRAM, "-s", str(SEED + len(self.running)), *arguments, path], env=lt.clean_env(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))

    def finish(self):
        for path, program in self.running:
            said = program.communicate(timeout=300)[0]
            self.assertEqual(program.returncode, 0, said)
            self.instance.wait_uploaded(path)
            with open(os.path.join(self.bucket, os.path.basename(path)), "rb") as f:
                self.assertEqual(f.read(), content(path), path)
        self.running = []

    def work(self):
        return any(program.poll() is None for _, program in self.running)

    def fill(self, files=40):
        """Some that are clean by and by, with canaries in them."""
        made = {}
        for n in range(files):
            path = os.path.join(self.mount, f"canary-{n}")
            made[path] = b"".join(CANARY + os.urandom(random.Random(n).choice([10, 5000, 70000])) for _ in range(1 + n % 5))
            with open(path, "wb") as f:
                f.write(made[path])
        return made

    def assertContents(self, made):
        for path, wanted in made.items():
            with open(path, "rb") as f:
                self.assertEqual(f.read(), wanted, path)

    def test_on_and_off(self):
        made = self.fill()
        self.instance.wait_uploaded(*made)
        self.assertNotEqual(files_with(self.cache(), CANARY), [])
        self.convert(True)
        self.assertEqual(files_with(self.cache(), CANARY), [])
        self.assertContents(made)
        self.assertIn("may still be on the disk", self.instance.log("syncd"))
        self.restart_instance()
        self.instance.wait_mounted(self.mount)
        self.assertContents(made)
        self.convert(False)
        self.assertContents(made)
        self.assertNotEqual(files_with(self.cache(), CANARY), [])

    def test_on_the_command_line(self):
        def landfall(*argv):
            return subprocess.run([os.path.join(self.instance.bin, "landfall"), *argv, "--dir", self.instance.dir],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=lt.clean_env())

        done = landfall("drive", "cache", "--name", self.name, "--encrypt", "--size", "100000000")
        self.assertEqual((done.returncode, done.stdout), (0, self.cache() + "\n"), done.stderr)
        self.assertTrue(self.entry()["localCacheEncrypted"])
        self.assertEqual(self.entry()["maximumCacheSize"], 100000000)
        for part, argv in {"either": ["--encrypt", "--plain"], "Say what": [], "bytes": ["--size", "1G"]}.items():
            done = landfall("drive", "cache", "--name", self.name, *argv)
            self.assertEqual(done.returncode, 2)
            self.assertIn(part, done.stderr)
        with open(os.path.join(self.mount, "open"), "wb") as f:
            f.write(b"x")
            f.flush()
            self.change(localCacheEncrypted=False)
            wait_until(lambda: "left       1 files of the cache are on their way" in landfall("key", "show", self.name).stdout, 30, "it to say so")

    def test_open_files_wait(self):
        path = os.path.join(self.mount, "open")
        with open(path, "wb") as f:
            f.write(CANARY * 5000)
            f.flush()
            self.change(localCacheEncrypted=True)
            wait_until(lambda: self.metric("cache_unconverted_files") == 1, 30, "the open file to be left")
            f.write(b"more")
        wait_until(lambda: self.metric("cache_unconverted_files") == 0, 30, "its conversion")
        self.assertEqual(files_with(self.cache(), CANARY), [])
        self.assertEqual(content(path), CANARY * 5000 + b"more")

    def test_while_programs_work(self):
        made = self.fill()
        killer = Killer(self.instance)
        for n in range(6):
            if not self.work():     # once, unless all of this takes longer than they work
                self.finish()
                for _ in range(2):
                    self.start("-t", "25")
            self.change(localCacheEncrypted=n % 2 == 0)
            made.update(self.fill(10))
            killer.kill(("syncd", "cryptd", "worker")[n % 3])
            wait_until(lambda: not self.entry().get("mountError"), 30, "the drive's keys")
        self.finish()
        self.convert(True)
        self.assertContents(made)
        self.assertEqual(files_with(self.cache(), CANARY), [])

    def test_keys_rotate_while_programs_work(self):
        self.convert(True)
        made = self.fill()
        self.start("-t", "10")
        for _ in range(3):
            self.instance.api("POST", "/management/drive_keys_rotate/" + self.entry()["id"], {})
            Killer(self.instance).kill("cryptd")
        self.finish()
        self.assertContents(made)
        wait_until(lambda: self.metric("cache_old_key_files") == 0, 120, "new keys of all files")
        self.assertContents(made)

    def test_moves_on_one_disk(self):
        self.change(localCacheEncrypted=True)
        made, before = self.fill(), self.cache()
        self.start("-t", "8")
        above, account = os.path.join(self.instance.dir, "caches"), pwd.getpwnam(SERVED)
        os.mkdir(above, 0o700)
        os.chown(above, account.pw_uid, account.pw_gid)
        there = os.path.join(above, "here")
        self.assertEqual(self.change(permanentLocalPath=there)["permanentLocalPath"], there)
        self.assertFalse(os.path.exists(before))
        self.kill_syncd()
        self.assertEqual(self.change(permanentLocalPath="$$$")["permanentLocalPath"], before)
        self.finish()
        self.assertFalse(os.path.exists(there))
        self.assertContents(made)

    def test_moves_to_another_disk(self):
        disk = LoopDisk(lt.temporary_directory("lf-cache-disk-"), 512 * MIB).own(pwd.getpwnam(SERVED))
        self.addCleanup(disk.remove)
        made, before = self.fill(), self.cache()
        self.start("-t", "12")
        there = os.path.join(disk.point, "cache")
        self.change(permanentLocalPath=there)
        self.assertEqual(self.cache(), there)
        self.assertFalse(os.path.exists(before))
        self.assertContents(made)
        self.change(localCacheEncrypted=True)
        self.change(permanentLocalPath="$$$")
        self.kill_syncd()
        self.finish()
        self.assertContents(made)
        self.convert(True)
        self.assertEqual(files_with(self.cache(), CANARY), [])
        self.assertEqual([n for n in os.listdir(disk.point) if n != "lost+found"], [])


if __name__ == "__main__":
    unittest.main()
