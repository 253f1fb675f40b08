#!/usr/bin/python3
"""copy_file_range(2), as cp(1) calls it, between files of one drive: made by the cloud where that can be, counted between syncd and a
real radosgw; and right in every other case."""

import os
import signal
import subprocess
import time
import unittest

import landfall_test as lt
from drive_case import DriveCase, fill, put_whole
from fault_case import FaultCase, content, read_file, turns, write_file
from killer import Killer
from landfall_test import wait_until
from raw_s3 import RawS3
from test_metrics import Scrape

MIB = 1 << 20
LARGE = 256 * MIB + 12_345
SOME = 4 * MIB                 # what opening a file, listings and heads may add, far below any content here
PARTS = r"\?.*partNumber"


def start(*argv):
    return subprocess.Popen(argv, env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Copies(FaultCase):
    arguments = ("--set", "SettleMilliseconds=50", "--set", "CloudStallSeconds=20", "--set", "ReadDeadlineSeconds=5")

    def drive(self, name, size, **more):
        """A drive with an object that nobody has read. Returns (mount point, the bucket's client, the object's bytes)."""
        mount, bucket = self.s3_drive("cp-" + name, **more)
        block = content(self.dice, MIB)
        data = b"".join(i.to_bytes(8, "little") + block[8:] for i in range(size // MIB)) + block[:size % MIB]
        RawS3(self.server, bucket).put("a", data)
        self.see(mount, ["a"])
        return mount, RawS3(self.server, bucket), data

    def counted(self, name):
        s = Scrape(self.instance)
        return {key: s.sum(f"landfall_{metric}", drive="cp-" + name) for key, metric in (
            ("copies", "cloud_copies_total"), ("copied", "cloud_copied_bytes_total"), ("received", "cloud_received_bytes_total"),
            ("sent", "cloud_sent_bytes_total"), ("cache", "cache_used_bytes"))}

    def assertUnfinished(self, bucket):
        wait_until(lambda: b"<Upload>" not in bucket.request("GET", uploads="")[1], 30, "the end of unfinished uploads")

    def assertCopy(self, mount, bucket, name, data):
        path = os.path.join(mount, name)
        self.wait_clean([path])
        self.assertTrue(bucket.get(name) == data, "the object has other bytes")
        self.assertTrue(read_file(path) == data, "the file has other bytes")
        self.assertUnfinished(bucket)

    # --- by the cloud ---

    def test_a_large_file_that_is_not_here(self):
        mount, bucket, data = self.drive("large", LARGE)
        before, up, down = self.counted("large"), self.proxy.up, self.proxy.down
        began = time.monotonic()
        lt.run("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
        seconds = time.monotonic() - began
        after, up, down = self.counted("large"), self.proxy.up - up, self.proxy.down - down
        print(f"  cp of {len(data)} bytes: {seconds:.2f} s, {up} sent, {down} fetched", flush=True)
        self.assertLess(up, SOME)
        self.assertLess(down, SOME)
        self.assertEqual((after["copies"], after["copied"]), (before["copies"] + 1, before["copied"] + len(data)))
        self.assertLess(after["received"] - before["received"], SOME)
        self.assertEqual(after["sent"], before["sent"])
        self.assertLess(after["cache"] - before["cache"], SOME)
        self.assertEqual(self.state(os.path.join(mount, "b")), "clean")
        self.assertEqual(os.stat(os.path.join(mount, "b")).st_size, len(data))
        said = self.instance.landfall("stat", os.path.join(mount, "b")).stdout
        self.assertIn(str(len(data)), said)
        self.assertCopy(mount, bucket, "b", data)

    def test_over_another_file_with_its_mode_and_time(self):
        mount, bucket, data = self.drive("over", 20 * MIB + 1)
        target = os.path.join(mount, "b")
        write_file(target, b"before")
        os.chmod(target, 0o640)
        self.wait_clean([target])
        before = self.counted("over")["copied"]
        lt.run("cp", os.path.join(mount, "a"), target)
        self.assertEqual(self.counted("over")["copied"], before + len(data))
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o640)
        self.assertLess(abs(os.stat(target).st_mtime - time.time()), 60)
        self.assertCopy(mount, bucket, "b", data)
        lt.run("cp", "-p", os.path.join(mount, "b"), os.path.join(mount, "c"))
        self.assertEqual(os.stat(os.path.join(mount, "c")).st_mtime_ns, os.stat(target).st_mtime_ns)
        self.assertCopy(mount, bucket, "c", data)

    def test_ranges_and_what_holds_something(self):
        mount, bucket, data = self.drive("range", 8 * MIB)
        with open(os.path.join(mount, "a"), "rb", buffering=0) as a:
            with open(os.path.join(mount, "part"), "wb", buffering=0) as f:
                self.assertEqual(os.copy_file_range(a.fileno(), f.fileno(), 3 * MIB, 1_234_567), 3 * MIB)
                self.assertEqual(os.fstat(f.fileno()).st_size, 3 * MIB)
            self.assertEqual(self.counted("range")["copied"], 3 * MIB)
            with open(os.path.join(mount, "held"), "w+b", buffering=0) as f:
                f.write(b"held")
                done = 0
                while done < 2 * MIB:
                    done += os.copy_file_range(a.fileno(), f.fileno(), 2 * MIB - done, done)
                self.assertEqual(os.pread(f.fileno(), 4 + MIB, 0), b"held" + data[:MIB])
        self.assertEqual(self.counted("range")["copied"], 3 * MIB)
        self.assertCopy(mount, bucket, "part", data[1_234_567:1_234_567 + 3 * MIB])
        self.assertCopy(mount, bucket, "held", b"held" + data[:2 * MIB])

    def test_a_copy_is_written_on(self):
        mount, bucket, data = self.drive("on", 5 * MIB)
        with open(os.path.join(mount, "a"), "rb", buffering=0) as a, open(os.path.join(mount, "b"), "w+b", buffering=0) as b:
            self.assertEqual(os.copy_file_range(a.fileno(), b.fileno(), len(data)), len(data))
            b.seek(0)
            self.assertEqual(b.read(1000), data[:1000])
            os.pwrite(b.fileno(), b"written", MIB)
            b.seek(0, os.SEEK_END)
            b.write(b"more")
        self.assertCopy(mount, bucket, "b", data[:MIB] + b"written" + data[MIB + 7:] + b"more")

    # --- something comes in between ---

    def held(self, mount, method="PUT", target=PARTS):
        """A cp that hears of the end of a request, that of its only part, some seconds later."""
        fault = self.proxy.add("delayed", method=method, target=target, count=1, seconds=3)
        p = start("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
        self.addCleanup(p.stdout.close)
        wait_until(lambda: fault.hits, 20, "an answer that is late")
        return p

    def assertDone(self, p):
        said = p.communicate(timeout=60)[0]
        self.assertEqual((p.returncode, said), (0, b""))

    def test_syncd_is_killed(self):
        mount, bucket, data = self.drive("syncd", 9 * MIB)
        before = self.counted("syncd")
        p = self.held(mount)
        self.instance.restart("syncd")
        self.assertDone(p)
        self.assertEqual(self.counted("syncd")["copied"], len(data), f"of a new syncd; before {before}")
        self.assertCopy(mount, bucket, "b", data)

    def test_the_worker_is_killed(self):
        mount, bucket, data = self.drive("worker", 9 * MIB)
        p = self.held(mount)
        self.kill_worker()
        self.assertDone(p)
        self.assertEqual(self.counted("worker")["copied"], len(data))
        self.assertCopy(mount, bucket, "b", data)

    def test_daemons_are_killed_at_any_moment(self):
        mount, bucket, data = self.drive("kill", 66 * MIB)
        killer, copies = Killer(self.instance), {}
        for turn in turns():
            for victim in ("syncd", "worker", "mountd", "cryptd", "syncd", "worker"):
                name = f"copy {turn} {len(copies)}"
                kill = killer.kill_soon(victim, self.dice.uniform(0, 0.4))
                lt.run("cp", os.path.join(mount, "a"), os.path.join(mount, name))
                kill.join()
                copies[name] = victim
            killer.wait()
            for name, victim in copies.items():
                self.wait_clean([os.path.join(mount, name)])
                self.assertTrue(bucket.get(name) == data, f"{name}, killed {victim}: the object has other bytes")
                self.assertTrue(read_file(os.path.join(mount, name)) == data, f"{name}, killed {victim}: the file has other bytes")
            self.assertEqual(bucket.keys(), {b"a", *(name.encode() for name in copies)})
            self.assertUnfinished(bucket)
            for name in copies:
                os.unlink(os.path.join(mount, name))
            copies.clear()

    def test_a_program_is_interrupted(self):
        mount, bucket, data = self.drive("int", 9 * MIB)
        fault = self.proxy.add("silent", method="PUT", target=PARTS, count=1)
        p = start("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
        wait_until(lambda: fault.hits, 20, "the request that is not answered")
        began = time.monotonic()
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        self.assertLess(time.monotonic() - began, lt.patience(2))
        self.assertEqual(self.counted("int")["copies"], 0)
        self.assertCopy(mount, bucket, "b", b"")
        lt.run("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
        self.assertEqual(self.counted("int")["copies"], 1)
        self.assertCopy(mount, bucket, "b", data)

    def test_the_source_is_changed_in_the_cloud(self):
        mount, bucket, data = self.drive("412", 17 * MIB)
        self.assertTrue(read_file(os.path.join(mount, "a")) == data)     # so the kernel can copy what it has
        with open(os.path.join(mount, "a"), "rb"):
            p = self.held(mount, "POST", "uploads")
            bucket.put("a", b"another version")
            self.assertDone(p)
            self.assertEqual(self.counted("412")["copies"], 0)
        self.assertCopy(mount, bucket, "b", data)

    def test_a_cloud_that_says_nothing(self):
        mount, bucket, data = self.drive("mute", 17 * MIB)
        with open(os.path.join(mount, "a"), "rb") as a:
            self.assertTrue(a.read() == data)       # so the kernel can copy what is here
            fault = self.proxy.add("silent", method="POST", target="uploads")
            began = time.monotonic()
            lt.run("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
            seconds = time.monotonic() - began
        self.assertTrue(fault.hits)
        self.assertLess(seconds, lt.patience(10))
        self.assertTrue(read_file(os.path.join(mount, "b")) == data)
        self.proxy.heal()
        self.assertEqual(self.counted("mute")["copies"], 0)
        self.assertCopy(mount, bucket, "b", data)

    def test_without_the_network(self):
        mount, bucket, data = self.drive("off", 20 * MIB)
        read_file(os.path.join(mount, "a"))
        self.proxy.add("refused")
        began = time.monotonic()
        lt.run("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
        print(f"  without the network: {time.monotonic() - began:.1f} s", flush=True)
        self.assertTrue(read_file(os.path.join(mount, "b")) == data)
        self.proxy.heal()
        self.assertEqual(self.counted("off")["copies"], 0)
        self.assertCopy(mount, bucket, "b", data)


class LocalCopies(DriveCase):
    def test_cp_on_a_folder(self):
        mount, bucket = self.folder_drive(syncIntervalSeconds=1)
        with put_whole(bucket, "a") as made:
            fill(made, 70 * MIB + 5)
        wait_until(lambda: os.path.exists(os.path.join(mount, "a")), 20, "the file")
        lt.run("cp", os.path.join(mount, "a"), os.path.join(mount, "b"))
        self.assertEqual(Scrape(self.instance).sum("landfall_cloud_copied_bytes_total"), 70 * MIB + 5)
        self.assertSameFile(os.path.join(bucket, "a"), os.path.join(bucket, "b"))
        self.assertSameFile(os.path.join(bucket, "a"), os.path.join(mount, "b"))


if __name__ == "__main__":
    unittest.main()
