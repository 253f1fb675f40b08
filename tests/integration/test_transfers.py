#!/usr/bin/python3
"""Transfers that drives make by themselves, paused, resumed and canceled while they are under way to and from a real radosgw."""

import os
import signal
import threading
import time
import unittest
import urllib.parse

from fault_case import FaultCase, content, read_file, write_file
from landfall_test import ApiError, wait_until
from raw_s3 import RawS3

MIB = 1 << 20
SIZE = 64 * MIB + 12_345
SLOW = MIB                     # bytes a second of a connection


class Transfers(FaultCase):
    arguments = ("--set", "SettleMilliseconds=50")

    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, self.proxy, "rate", 0)

    def drive(self, name):
        """Its mount point; self.s3 is its bucket."""
        self.name = name
        mount, self.bucket = self.s3_drive(name)
        self.s3 = RawS3(self.server, self.bucket)
        return mount

    def data(self):
        """As random as one MiB of it, and no two MiB the same."""
        block = content(self.dice, MIB)
        return b"".join(i.to_bytes(8, "little") + block[8:] for i in range(SIZE // MIB)) + block[:SIZE % MIB]

    def transfers(self, name):
        return [t for t in self.instance.api("GET", "/cloud/client_transfer/all")
                if os.path.basename(t.get("targetPath", "")) == name]

    def moving(self, name, statuses=("running",), before=()):
        """The transfer of that file, which has moved something."""
        found = [t for t in self.transfers(name) if t["status"] in statuses and t["transferId"] not in before]
        return found[-1] if found and found[-1]["transferredBytes"] > 0 else None

    def begun(self, name, *among):
        return wait_until(lambda: self.moving(name, *among), 30, "its first bytes")["transferId"]

    def status(self, transfer):
        return self.instance.api("GET", f"/cloud/client_transfer/{transfer}/status")["status"]

    def control(self, transfer, what):
        self.instance.api("POST", f"/cloud/client_transfer/{transfer}/{what}")

    def refused(self, transfer, what):
        with self.assertRaises(ApiError) as caught:
            self.control(transfer, what)
        self.assertEqual(caught.exception.status, 400, caught.exception.body)
        return caught.exception.body

    def unfinished(self):
        status, body = self.s3.request("GET", uploads="")
        self.assertEqual(status, 200)
        return body.count(b"<UploadId>")

    def assertRests(self, way):
        """Nothing of it passes the network any more, though that is fast now."""
        def moved(seconds):
            before = getattr(self.proxy, way)
            time.sleep(seconds)                 # nothing is to happen
            return getattr(self.proxy, way) - before

        self.proxy.rate = 0
        wait_until(lambda: moved(1) < 64 << 10, 30, "the end of what is on its way")
        self.assertLess(moved(3), 64 << 10)

    def assertObject(self, key, data):
        self.assertTrue(self.instance.opened(self.name, self.s3.get(key)) == data, "the object has other bytes")

    def begin_upload(self, mount, data):
        """(path, transfer) of a large file that is being sent slowly."""
        self.proxy.rate = SLOW
        path = os.path.join(mount, "large")
        write_file(path, data)
        return path, self.begun("large")

    def wait_sent(self, path, data):
        self.proxy.rate = 0
        self.wait_clean([path])
        self.assertObject("large", data)
        wait_until(lambda: self.unfinished() == 0, 30, "the end of what was begun there")

    # --- uploads ---

    def test_an_upload_is_paused_and_goes_on(self):
        mount, data = self.drive("tr-pause"), self.data()
        path, transfer = self.begin_upload(mount, data)
        self.control(transfer, "pause")
        self.assertEqual(self.status(transfer), "paused")
        self.assertIn("paused", self.refused(transfer, "pause"))
        self.assertRests("up")
        self.assertNotIn(b"large", self.s3.keys())
        self.assertEqual((self.unfinished(), self.state(path)), (1, "dirty"))
        small = os.path.join(mount, "small")
        write_file(small, b"others go on")
        self.wait_clean([small])
        self.instance.api("GET", "/management/clouddrive/sync/" + self.drive_id())
        self.assertRests("up")                  # a pause is a pause
        self.assertEqual(self.status(transfer), "paused")
        told = self.instance.landfall("wait", path, check=False)
        self.assertEqual(told.returncode, 1)
        self.assertIn("paused", told.stderr)
        self.control(transfer, "resume")
        wait_until(lambda: self.status(transfer) == "completed", 60, "the end of the same transfer")
        self.wait_sent(path, data)
        self.assertIn("completed", self.refused(transfer, "cancel"))

    def drive_id(self):
        return next(d["id"] for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == self.name)

    def test_a_paused_upload_goes_on_after_a_crash(self):
        mount, data = self.drive("tr-crash"), self.data()
        path, transfer = self.begin_upload(mount, data)
        self.control(transfer, "pause")
        self.proxy.rate = 0
        self.instance.restart("syncd", signal.SIGKILL)
        self.wait_sent(path, data)

    def test_a_canceled_upload_is_here_and_not_there(self):
        mount, data = self.drive("tr-cancel"), self.data()
        path, transfer = self.begin_upload(mount, data)
        self.control(transfer, "cancel")
        self.assertEqual(self.status(transfer), "cancelled")
        self.assertIn("cancelled", self.refused(transfer, "resume"))
        wait_until(lambda: self.unfinished() == 0, 30, "the end of what was begun there")
        self.assertRests("up")
        self.assertNotIn(b"large", self.s3.keys())
        self.assertTrue(read_file(path) == data)
        self.assertIn("canceled", self.state(path))
        told = self.instance.landfall("wait", path, check=False)
        self.assertEqual(told.returncode, 1)
        self.assertIn("drive sync", told.stderr)
        with open(path, "r+b", buffering=0) as f:
            f.write(b"written again")
        self.wait_sent(path, b"written again" + data[13:])

    def test_a_canceled_upload_survives_a_crash(self):
        mount, data = self.drive("tr-kill"), self.data()
        path, transfer = self.begin_upload(mount, data)
        self.control(transfer, "cancel")
        self.instance.restart("syncd", signal.SIGKILL)
        self.proxy.rate = 0
        wait_until(lambda: self.unfinished() == 0, 60, "the end of what was begun there")
        self.assertTrue(read_file(path) == data)
        self.assertRests("up")
        self.assertNotIn(b"large", self.s3.keys())
        self.assertIn("canceled", self.state(path))
        self.instance.landfall("drive", "sync", self.name)
        self.wait_sent(path, data)

    def test_pauses_and_cancels_at_any_moment_lose_nothing(self):
        mount = self.drive("tr-often")
        path = os.path.join(mount, "large")
        for turn in range(6):
            data = content(self.dice, self.dice.randrange(MIB, 40 * MIB))
            self.proxy.rate = 8 * MIB
            before = {t["transferId"] for t in self.transfers("large")}
            write_file(path, data)
            transfer = self.begun("large", ("running", "completed"), before)
            time.sleep(self.dice.random())      # somewhere on its way
            for what in ("pause", "resume", "cancel")[turn % 2 * 2:]:
                try:
                    self.control(transfer, what)
                except ApiError as e:           # it was being put in place, or was there
                    self.assertEqual(e.status, 400)
            if turn % 3 == 0:
                self.instance.restart("syncd", signal.SIGKILL)
            self.instance.landfall("drive", "sync", self.name)
            self.wait_sent(path, data)
            self.assertEqual(os.listdir(mount), ["large"])

    def test_the_agent_that_is_paused_stays_above(self):
        mount, data = self.drive("tr-agent"), self.data()
        path, transfer = self.begin_upload(mount, data)
        self.control(transfer, "pause")
        self.instance.api("POST", "/management/command/pause")
        self.addCleanup(self.instance.request, "POST", "/management/command/resume")
        self.control(transfer, "resume")
        self.assertRests("up")
        self.assertNotIn(b"large", self.s3.keys())
        self.instance.api("POST", "/management/command/resume")
        wait_until(lambda: self.status(transfer) in ("running", "completed"), 30, "the transfer to go on")
        self.wait_sent(path, data)

    # --- downloads ---

    def evicted(self, mount, data):
        """The path of a large file that is not here and comes slowly."""
        path = os.path.join(mount, "large")
        write_file(path, data)
        self.wait_clean([path])
        self.instance.landfall("evict", path)
        self.proxy.rate = SLOW
        return path

    def begin_download(self, mount, data):
        """(path, transfer) of an object that is being fetched slowly because somebody said so."""
        path = self.evicted(mount, data)
        self.instance.landfall("fetch", path)
        return path, self.begun("large")

    def cached(self, path):
        return self.instance.api("GET", "/management/object_explain", path=path)["cachedBytes"]

    def test_a_download_is_paused_and_reads_go_on(self):
        mount, data = self.drive("tr-down"), self.data()
        path, transfer = self.begin_download(mount, data)
        self.control(transfer, "pause")
        self.assertEqual(self.status(transfer), "paused")
        self.assertRests("down")
        self.assertLess(self.cached(path), SIZE)
        with open(path, "rb", buffering=0) as f:
            f.seek(SIZE - MIB)
            self.assertTrue(f.read(MIB) == data[-MIB:])
        self.assertRests("down")
        self.assertLess(self.cached(path), SIZE)
        self.control(transfer, "resume")
        wait_until(lambda: self.status(transfer) == "completed", 60, "the end of the transfer")
        self.assertEqual(self.cached(path), SIZE)
        self.assertTrue(read_file(path) == data)

    def test_a_canceled_download_is_told_and_can_be_read(self):
        mount, data = self.drive("tr-told"), self.data()
        path, answers = self.evicted(mount, data), []
        waiter = threading.Thread(target=lambda: answers.append(
            self.instance.request("POST", "/management/read_object?" + urllib.parse.urlencode({"path": path, "seconds": 60}))))
        waiter.start()
        transfer = self.begun("large")          # so it waits
        self.control(transfer, "cancel")
        self.assertEqual(self.status(transfer), "cancelled")
        waiter.join(30)
        self.assertFalse(waiter.is_alive())
        self.assertIn(b"canceled", answers[0].body)
        self.assertNotEqual(answers[0].status, 200)
        self.assertRests("down")
        self.assertLess(self.cached(path), SIZE)
        self.assertTrue(read_file(path) == data)

    def test_a_pin_that_is_canceled_stays_a_pin(self):
        mount, data = self.drive("tr-pin"), self.data()
        path = self.evicted(mount, data)
        self.instance.landfall("pin", path)
        self.control(self.begun("large"), "cancel")
        self.assertRests("down")
        self.assertLess(self.cached(path), SIZE)
        self.instance.landfall("drive", "sync", self.name)
        wait_until(lambda: self.cached(path) == SIZE, 60, "all of it")


if __name__ == "__main__":
    unittest.main()
