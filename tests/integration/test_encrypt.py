#!/usr/bin/python3
"""A drive whose objects are plain encrypts from now on, and what is there is encrypted when somebody asks (landfall encrypt), on a
real S3 service: every object opens with age then, and nothing else about the files has changed, whatever happens meanwhile."""

import os
import pty
import random
import re
import signal
import subprocess
import unittest

import landfall_test as lt
from drive_case import fill
from fault_proxy import FaultProxy
from landfall_test import wait_until
from test_objects import SIZES, ObjectCase, age, sha256

MIB = 1 << 20
AGE = b"age-encryption.org/v1\n"


class EncryptCase(ObjectCase):
    arguments = (*ObjectCase.arguments, "--set", "SettleMilliseconds=50")

    def plain(self, name, **more):
        return self.drive(name, cloudObjectsEncrypted=False, **more)

    def entry(self, name):
        return next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == name)

    def turn_on(self, name, **more):
        self.instance.api("PUT", "/management/clouddrive/" + self.entry(name)["id"], {"cloudObjectsEncrypted": True, **more})
        wait_until(lambda: not self.entry(name).get("mountError") and os.path.ismount(self.entry(name)["localPath"]), 30, "the drive")

    def instance_import(self, name, kit):
        subprocess.run([os.path.join(self.instance.bin, "landfall"), "key", "import", name, "--dir", self.instance.dir],
                       input=kit.encode(), check=True, env=lt.clean_env())

    def encrypt(self, *argv, status=0):
        done = self.instance.landfall("encrypt", *argv, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def progress(self, mount, seconds=0):
        return self.instance.api("GET", "/management/object_encrypt_status", path=mount, seconds=seconds)

    def wait_encrypted(self, mount, seconds=120):
        wait_until(lambda: self.progress(mount, 5)["filesLeft"] + self.progress(mount)["foldersLeft"] == 0, seconds, "the end of it")

    def assertSame(self, a, b, what):
        """Without printing either."""
        self.assertTrue(a == b, f"{what}: {len(a)} bytes that are not the {len(b)} expected ones")

    def wait_listed(self, mount, wanted):
        wait_until(lambda: all(os.path.exists(os.path.join(mount, key)) for key in wanted), 60, "what another client has put there")

    def opened(self, identity, body):
        self.assertTrue(body.startswith(AGE), body[:40])
        return age("-d", "-i", identity, stdin=body)

    def assertEncrypted(self, name, bucket, mount, wanted):
        identity = self.identity(name)
        keys = {key.decode() for key in bucket.keys() if not key.startswith(b".landfall") and not key.endswith(b"/")}
        self.assertEqual(keys, set(wanted))
        for key, body in wanted.items():
            self.assertSame(self.opened(identity, bucket.get(key)), body, key)
            self.assertSame(self.read(os.path.join(mount, key)), body, key)

    def put_many(self, bucket, files, size):
        wanted = {f"d{n % 7}/f{n}": random.Random(n).randbytes(size + n) for n in range(files)}
        for key, body in wanted.items():
            bucket.put(key, body)
        return wanted


class Encrypt(EncryptCase):
    def test_every_size_and_all_that_files_have(self):
        mount, bucket = self.plain("all")
        wanted = {f"f{n}": os.urandom(n) for n in SIZES}
        for n, (name, body) in enumerate(wanted.items()):
            path = os.path.join(mount, name)
            self.write(path, body)
            os.chmod(path, 0o640 + n % 5)
            os.setxattr(path, "user.mark", b"value %d" % n)
            os.utime(path, ns=(0, 1_500_000_000_123_456_789 + n))
        self.instance.wait_uploaded(mount)
        for key in "unseen/deep/one", "unseen/two":
            wanted[key] = os.urandom(70000)
            bucket.put(key, wanted[key])
        before = {name: os.stat(os.path.join(mount, name)) for name in wanted if "/" not in name}
        self.turn_on("all")
        self.assertTrue(all(not bucket.get(key).startswith(AGE) for key in wanted))     # not by itself
        said = self.encrypt(mount)
        self.assertIn(f"{len(wanted)} files", said)
        self.assertIn("nothing is left", said)
        self.assertIn("older versions", said)
        self.assertEncrypted("all", bucket, mount, wanted)
        for n, (name, was) in enumerate(before.items()):
            now = os.stat(os.path.join(mount, name))
            self.assertEqual((now.st_ino, now.st_mode, now.st_uid, now.st_size, now.st_mtime_ns),
                             (was.st_ino, was.st_mode, was.st_uid, was.st_size, was.st_mtime_ns), name)
            self.assertEqual(os.getxattr(os.path.join(mount, name), "user.mark"), b"value %d" % n)
        fresh, _ = self.drive("all-fresh", bucket=bucket.bucket)      # what the metadata in the cloud say
        with open(self.identity("all")) as kit:
            self.instance_import("all-fresh", kit.read())
        for n, (name, was) in enumerate(before.items()):
            def told(path=os.path.join(fresh, name)):
                now = os.stat(path)
                return now.st_mode, now.st_size, now.st_mtime_ns
            wait_until(lambda w=was, t=told: t() == (w.st_mode, w.st_size, w.st_mtime_ns), 20, f"what the cloud says of {name}")
            self.assertEqual(os.getxattr(os.path.join(fresh, name), "user.mark"), b"value %d" % n)
        self.assertIn("0 files", self.encrypt(mount))

    def test_one_file_of_several(self):
        mount, bucket = self.plain("one")
        for name in "a", "b":
            self.write(os.path.join(mount, name), name.encode() * 1000)
        self.instance.wait_uploaded(mount)
        said = self.encrypt(os.path.join(mount, "a"), status=1)
        self.assertIn("does not encrypt", said)
        self.turn_on("one")
        self.encrypt(os.path.join(mount, "a"))
        self.assertEqual(self.opened(self.identity("one"), bucket.get("a")), b"a" * 1000)
        self.assertEqual(bucket.get("b"), b"b" * 1000)
        self.assertIn("0 files (0.0 MiB) left", self.encrypt("--status", "one"))
        self.assertIn(mount, self.encrypt("--status"))
        self.encrypt(os.path.join(mount, "none"), status=1)
        self.encrypt(status=2)

    def test_the_state_and_an_interrupted_command(self):
        proxy = FaultProxy(self.server.port).start()
        self.addClassCleanup(proxy.stop)
        account = self.instance.add_s3_account(proxy.before(self.server), name="slow")
        mount, bucket = self.plain("large", account=account)
        path = os.path.join(mount, "large")
        fill(path, 64 * MIB)
        digest = sha256(path)
        self.instance.wait_uploaded(mount)
        self.turn_on("large")
        proxy.rate = MIB        # so each of four parts takes 16 s
        terminal, end = pty.openpty()
        command = subprocess.Popen([os.path.join(self.instance.bin, "landfall"), "encrypt", mount, "--dir", self.instance.dir],
                                   stdout=end, stderr=subprocess.PIPE, text=True, env=lt.clean_env())
        os.close(end)
        wait_until(lambda: self.instance.api("GET", "/management/object_status", path=path) == 7, 30, "the state of it")
        self.assertEqual(os.getxattr(path, "user.landfall.state"), b"encrypting")
        shown = os.read(terminal, 4096).decode()      # a line that is written over, again and again
        self.assertRegex(shown, r"^\r0 files \(0.0 MiB\) encrypted, .* left")
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=30)[1]
        os.close(terminal)
        self.assertEqual(command.returncode, 130, said)
        self.assertIn("goes on without this command", said)
        proxy.rate = 0
        self.wait_encrypted(mount)
        self.assertEqual(self.instance.api("GET", "/management/object_status", path=path), 0)
        there = os.path.join(self.scratch, "large")
        self.write(there, self.opened(self.identity("large"), bucket.get("large")))
        self.assertEqual(sha256(there), digest)
        os.unlink(there)

    def test_ended(self):
        mount, bucket = self.plain("ended")
        wanted = self.put_many(bucket, 120, 20000)
        self.wait_listed(mount, wanted)
        self.turn_on("ended")
        self.encrypt("--background", mount)
        self.encrypt("--stop", "ended")
        now = self.progress(mount)
        self.assertEqual((now["filesLeft"], now["foldersLeft"]), (0, 0))
        identity = self.identity("ended")
        for key, body in wanted.items():
            there = bucket.get(key)
            self.assertSame(self.opened(identity, there) if there.startswith(AGE) else there, body, key)
            self.assertSame(self.read(os.path.join(mount, key)), body, key)

    def test_a_small_cache(self):
        mount, bucket = self.plain("small", maximumCacheSize=8 * MIB)
        wanted = {f"f{n}": os.urandom(3 * MIB + n) for n in range(10)}
        for key, body in wanted.items():
            bucket.put(key, body)
        bucket.put("too-large", os.urandom(16 * MIB))
        self.turn_on("small")
        said = self.encrypt(mount, status=1)
        self.assertRegex(said, r"/too-large stays as it is: It is larger than the drive's cache")
        self.assertFalse(bucket.get("too-large").startswith(AGE))
        used = re.search(r'landfall_cache_used_bytes\{drive="small"\} ([0-9.e+]+)', self.instance.request("GET", "/metrics").body.decode())
        self.assertLessEqual(float(used.group(1)), 8 * MIB)
        identity = self.identity("small")
        for key, body in wanted.items():
            self.assertSame(self.opened(identity, bucket.get(key)), body, key)


class Meanwhile(EncryptCase):
    def test_syncd_is_killed(self):
        mount, bucket = self.plain("killed")
        wanted = self.put_many(bucket, 150, 30000)
        wanted["large"] = os.urandom(60 * MIB)
        self.write(os.path.join(mount, "large"), wanted["large"])
        self.instance.wait_uploaded(mount)
        self.turn_on("killed")
        self.encrypt("--background", mount)
        for n in range(4):
            done = self.progress(mount)["filesDone"]
            wait_until(lambda d=done: self.progress(mount)["filesDone"] > d + 5 or self.progress(mount)["filesLeft"] == 0, 60, "progress")
            self.instance.restart("cryptd" if n == 2 else "syncd")
            wait_until(lambda: not self.entry("killed").get("mountError"), 30, "the drive's keys")
        self.assertIn("nothing is left", self.encrypt(mount))
        self.assertEncrypted("killed", bucket, mount, wanted)

    def test_programs_write(self):
        mount, bucket = self.plain("written")
        wanted = self.put_many(bucket, 150, 30000)
        self.wait_listed(mount, wanted)
        self.turn_on("written")
        self.encrypt("--background", mount)
        for n, key in enumerate(sorted(wanted)):
            path = os.path.join(mount, key)
            if n % 5 == 0:
                wanted[key] = os.urandom(40000)
                self.write(path, wanted[key])
            elif n % 5 == 1:
                with open(path, "r+b") as f:
                    f.seek(100)
                    f.write(b"changed in place")
                wanted[key] = wanted[key][:100] + b"changed in place" + wanted[key][116:]
            elif n % 15 == 2:
                os.unlink(path)
                del wanted[key]
            elif n % 15 == 7:
                os.rename(path, path + "-renamed")
                wanted[key + "-renamed"] = wanted.pop(key)
        self.encrypt(mount)
        self.instance.landfall("wait", mount)       # what was removed is gone there, too
        self.assertEncrypted("written", bucket, mount, wanted)

    def test_another_client_writes(self):
        """Its versions stay: encrypted, or as they are where the file was encrypted before, and then they are refused here."""
        mount, bucket = self.plain("theirs")
        wanted = self.put_many(bucket, 150, 30000)
        self.turn_on("theirs")
        self.encrypt("--background", mount)
        theirs = {key: os.urandom(30500) for n, key in enumerate(sorted(wanted)) if n % 3 == 0}
        for key, body in theirs.items():
            bucket.put(key, body)
        self.instance.landfall("encrypt", mount, check=False)
        identity = self.identity("theirs")
        keys = {key.decode() for key in bucket.keys() if not key.startswith(b".landfall")}
        self.assertEqual(keys, set(wanted))       # and no conflict copies
        for key, body in {**wanted, **theirs}.items():
            there = bucket.get(key)
            if there.startswith(AGE):
                self.assertSame(self.opened(identity, there), body, key)
                self.assertSame(self.read(os.path.join(mount, key)), body, key)
            else:
                self.assertTrue(key in theirs, key)
                self.assertSame(there, body, key)


if __name__ == "__main__":
    unittest.main()
