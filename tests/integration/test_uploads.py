#!/usr/bin/python3
"""What uploads of large files cost and survive, counted between syncd and a real radosgw: unchanged parts are copied there, parts that are
there are not sent again, nothing is left of what was begun, and what was altered on the way does not count."""

import json
import os
import signal
import unittest

import landfall_test as lt
from fault_case import FaultCase, content, read_file, took, write_file
from landfall_test import wait_until
from raw_s3 import RawS3

MIB = 1 << 20
PART = 16 * MIB
LARGE = 256 * MIB + 12_345
SOME = 64 << 10                # what heads, documents and the like may add


class Uploads(FaultCase):
    arguments = ("--set", "SettleMilliseconds=50", "--set", "CloudStallSeconds=20")

    def large(self):
        """As random as one MiB of it, and no two MiB the same."""
        block = content(self.dice, MIB)
        return b"".join(i.to_bytes(8, "little") + block[8:] for i in range(LARGE // MIB)) + block[:LARGE % MIB]

    def change(self, path, at, data):
        with open(path, "r+b", buffering=0) as f:
            f.seek(at)
            self.assertEqual(f.write(data), len(data))

    def unfinished(self, bucket):
        said = self.server.aws("s3api", "list-multipart-uploads", "--bucket", bucket, "--output", "json").stdout
        return json.loads(said or "{}").get("Uploads", [])

    def cost(self, path, change):
        """Bytes sent and fetched until the change is in the cloud."""
        up, down = self.proxy.up, self.proxy.down
        change()
        self.wait_clean([path])
        return self.proxy.up - up, self.proxy.down - down

    def assertObject(self, bucket, data):
        self.assertTrue(RawS3(self.server, bucket).get("large") == data, "the object has other bytes")

    # --- only what changed ---

    def test_unchanged_parts_stay_in_the_cloud(self):
        mount, bucket = self.s3_drive("up-edit")
        path, data, more = os.path.join(mount, "large"), self.large(), content(self.dice, MIB)
        RawS3(self.server, bucket).put("large", data)
        self.see(mount, ["large"])
        up, down = self.cost(path, lambda: self.change(path, len(data), more))
        print(f"  1 MiB appended to {len(data)} bytes: {up} sent, {down} fetched", flush=True)
        self.assertLess(up, 2 * PART)
        self.assertLess(down, MIB)
        data += more
        up, down = self.cost(path, lambda: self.change(path, 100 * MIB, more))
        print(f"  1 MiB changed in the middle: {up} sent, {down} fetched", flush=True)
        self.assertLess(up, PART + SOME)
        self.assertLess(down, PART + MIB)
        data = data[:100 * MIB] + more + data[101 * MIB:]
        self.assertObject(bucket, data)
        up, down = self.cost(path, lambda: os.truncate(path, 50 * MIB))
        print(f"  cut to 50 MiB: {up} sent, {down} fetched", flush=True)
        self.assertLess(up, SOME)
        self.assertLess(down, SOME)
        self.assertObject(bucket, data[:50 * MIB])
        self.assertEqual(read_file(path), data[:50 * MIB])
        self.assertEqual(self.unfinished(bucket), [])

    # --- only once ---

    def test_a_name_that_xml_cannot_carry(self):
        mount, bucket = self.s3_drive("up-odd")
        name, data = "escape \x1b[0m bell \x07", content(self.dice, 2 * PART + 5)
        path = os.path.join(mount, name)
        write_file(path, data)
        self.wait_clean([path])
        self.assertTrue(self.instance.opened("up-odd", RawS3(self.server, bucket).get(name)) == data, "the object has other bytes")
        self.assertEqual(self.unfinished(bucket), [])

    def test_parts_are_not_sent_again(self):
        mount, bucket = self.s3_drive("up-kill")
        path, data = os.path.join(mount, "large"), self.large()
        before = self.proxy.up
        write_file(path, data)
        wait_until(lambda: self.proxy.up > before + LARGE // 3, 30, "a third of it to be sent")
        os.kill(self.instance.pid("syncd"), signal.SIGKILL)
        sent = self.proxy.up - before
        self.wait_clean([path])
        again = self.proxy.up - before - sent
        print(f"  {sent} bytes before syncd was killed, {again} after, {sent + again - LARGE} twice", flush=True)
        self.assertLess(sent + again, LARGE + 5 * PART)
        self.assertObject(bucket, data)
        self.assertEqual(self.unfinished(bucket), [])

    def test_beginnings_that_nobody_heard_of(self):
        mount, bucket = self.s3_drive("up-begin")
        path, data = os.path.join(mount, "begun"), content(self.dice, PART + 5)
        fault = self.proxy.add("no_answer", method="POST", target=r"begun\?uploads", count=3)
        write_file(path, data)
        self.wait_clean([path])
        self.assertEqual(fault.hits, 3)
        self.assertEqual(self.unfinished(bucket), [])
        self.assertStored(bucket, {"begun": data})

    def test_nothing_of_a_deleted_drive_is_left(self):
        mount, bucket = self.s3_drive("up-deleted")
        part = self.proxy.add("silent", method="PUT", target="large")
        write_file(os.path.join(mount, "large"), content(self.dice, PART + 5))
        wait_until(lambda: part.hits and self.unfinished(bucket), 20, "an upload that has begun")
        drive, = (d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == "up-deleted")
        self.instance.api("DELETE", f"/management/clouddrive/{drive['id']}", force="true")
        self.assertEqual(self.unfinished(bucket), [])
        self.assertStored(bucket, {})

    # --- nothing but what was sent ---

    def test_altered_content_is_refused(self):
        mount, bucket = self.s3_drive("up-altered")
        files = {"small": content(self.dice, 70_000), "parts": content(self.dice, PART + 5)}
        refused = self.proxy.seen["PUT", 400]
        faults = [self.proxy.add("corrupted", method="PUT", target=name + r"(\?partNumber|$)", count=1) for name in files]
        for name, data in files.items():
            write_file(os.path.join(mount, name), data)
        wait_until(lambda: self.proxy.seen["PUT", 400] >= refused + 2 and all(f.hits for f in faults), 20, "two refusals")
        self.assertStored(bucket, {})
        for name in files:
            self.assertNotEqual(self.state(os.path.join(mount, name)), "clean")
            os.unlink(os.path.join(mount, name))     # else it is sent again after a while

    def test_a_wrong_etag_is_noticed(self):
        mount, bucket = self.s3_drive("up-etag")
        files = {"small": content(self.dice, 70_000), "parts": content(self.dice, 2 * PART + 5)}
        for turn in range(2):      # a version that was not known right would be somebody else's the second time
            faults = [self.proxy.add("wrong_etag", method="PUT", target=name + r"(\?partNumber|$)", count=1) for name in files]
            files = {name: bytes([turn]) + data[1:] for name, data in files.items()}
            for name, data in files.items():
                self.change(os.path.join(mount, name), 0, data) if turn else write_file(os.path.join(mount, name), data)
            wait_until(lambda faults=faults: all(f.hits for f in faults), 20, "the wrong answers")
            self.wait_clean([os.path.join(mount, name) for name in files])
            self.assertStored(bucket, files)

    # --- and others go on ---

    def test_stuck_uploads_leave_room_for_reads(self):
        mount, bucket = self.s3_drive("up-stuck")
        names, data = [f"stuck-{n}" for n in range(16)], content(self.dice, 3 * MIB)
        self.put(bucket, {"wanted": data})
        self.see(mount, ["wanted"])
        stuck = self.proxy.add("silent", method="PUT", target="stuck-")
        for name in names:
            write_file(os.path.join(mount, name), name.encode())
        wait_until(lambda: stuck.hits >= 12, 20, "twelve stuck uploads")
        seconds, got = took(read_file, os.path.join(mount, "wanted"))
        self.assertEqual(got, data)
        self.assertLess(seconds, lt.patience(5))
        self.assertEqual(stuck.hits, 12)
        self.proxy.heal()
        self.wait_clean([os.path.join(mount, name) for name in names], 120)


if __name__ == "__main__":
    unittest.main()
