#!/usr/bin/python3
"""Uploads and downloads beside the drives outlive syncd: whatever ends it, they go on under the same id, and nothing is left behind."""

import contextlib
import os
import shutil
import sqlite3
import time
import unittest

import landfall_test as lt
from cloud_case import TransferCase
from drive_case import SERVED
from landfall_test import wait_until

MIB = 1 << 20
PART = 16 * MIB


class OutliveCase(TransferCase):
    def setUp(self):
        super().setUp()
        self.target = self.owned("to-" + self.bucket)

    # What has begun does not end before the network is let go: whatever a machine has to do meanwhile.

    def hold_upload(self, name, size):
        self.proxy.add("held", method="PUT", target=rf"{name}\?partNumber={size // PART}(&|$)")

    def hold_download(self, key, size):
        def has_the_last_byte(request):
            return request.headers.get("range", "").endswith(f"-{size - 1}")

        self.proxy.add("held", method="GET", target=key, when=has_the_last_byte)

    def let_go(self):
        self.proxy.clear()
        self.proxy.rate = 0

    def begin_upload(self, account, size=5 * PART, name="big", **more):
        """(path, transfer), when two of its parts have arrived."""
        source = self.file(name, size)
        self.hold_upload(name, size)
        before = self.proxy.seen["PUT", 200]
        up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source, **more)["transferId"]
        self.arrived(before + 2)
        return source, up

    def arrived(self, parts):
        wait_until(lambda: self.proxy.seen["PUT", 200] >= parts, 60, f"{parts} parts in the bucket")

    def begin_download(self, account, size=80 * MIB, key="there", **more):
        """(bytes of the object, transfer), when some of it is on the disk for sure."""
        body = os.urandom(MIB) * (size // MIB)
        body = b"".join(i.to_bytes(8, "little") + body[i * MIB + 8:(i + 1) * MIB] for i in range(size // MIB))
        self.s3.put(key, body)
        self.hold_download(key, size)
        down = self.ask("download_object", account=account, downloadPath=self.target, objectKey=key, **more)["transferId"]
        self.on_disk(down, 40 * MIB)
        return body, down

    def on_disk(self, down, size):
        wait_until(lambda: self.status(down)["transferredBytes"] > size, 60, "so much of the file")

    def temporary(self):
        return [name for _, _, leaves in os.walk(self.target) for name in leaves if name.startswith(".landfall-download-")]

    def assertArrived(self, up, source, key="big"):
        told = self.ended(up)
        self.assertEqual((told["status"], told["transferredBytes"]), ("completed", os.path.getsize(source)), told)
        self.assertEqual(self.s3.get(key), self.bytes_of(source))
        self.assertEqual(self.unfinished(), 0)

    def assertDownloaded(self, down, body, name="there"):
        told = self.ended(down)
        self.assertEqual((told["status"], told["transferredBytes"]), ("completed", len(body)), told)
        self.assertEqual(os.listdir(self.target), [name])
        self.assertEqual(self.bytes_of(os.path.join(self.target, name)), body)

    def state_says(self, query):
        """What the state database says: a copy of it does, since it is locked."""
        copy = os.path.join(self.scratch, "state.db")
        for tail in ("", "-wal"):
            shutil.copyfile(os.path.join(self.instance.dir, "state", "state.db" + tail), copy + tail)
        with contextlib.closing(sqlite3.connect(copy)) as db:
            try:
                return db.execute(query).fetchone()[0]
            except sqlite3.DatabaseError:
                return None       # it was written to meanwhile

    def assertRecorded(self, number):
        wait_until(lambda: self.state_says("SELECT count(*) FROM hauls") == number, 20, f"{number} records")

    def assertNothingRecorded(self):
        self.assertRecorded(0)

    def noted(self):
        """How many bytes of a download a next process would not fetch again: they are on the disk."""
        return wait_until(lambda: self.state_says("SELECT sum(done) FROM haul_files"), 20, "bytes on the disk")


class Killed(OutliveCase):
    """kill -9."""

    def test_an_upload_goes_on(self):
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            source, up = self.begin_upload(account, 8 * PART)
            self.instance.restart("syncd")
            self.assertEqual(self.status(up)["status"], "running")
            self.assertRecorded(1)
            self.arrived(4)
            self.instance.restart("syncd")      # and once more
            self.assertEqual(self.unfinished(), 1)
        self.assertArrived(up, source)
        self.assertLess(self.proxy.up, 8 * PART + 4 * PART + MIB)   # each time two of them were on their way
        self.assertNothingRecorded()

    def test_a_download_goes_on(self):
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            body, down = self.begin_download(account, 160 * MIB)
            self.instance.restart("syncd")
            self.assertEqual(len(self.temporary()), 1)
            self.on_disk(down, 90 * MIB)
            noted = self.noted()
            self.instance.restart("syncd")
            moved = self.proxy.down
        self.assertDownloaded(down, body)
        self.assertLess(self.proxy.down, moved + len(body) - noted + MIB)
        self.assertNothingRecorded()

    def test_what_is_paused_stays_so(self):
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            source, up = self.begin_upload(account)
            self.control(up, "pause")
            body, down = self.begin_download(account, 160 * MIB)
            self.on_disk(down, 90 * MIB)
            self.control(down, "pause")
            self.instance.restart("syncd")
            self.assertEqual({self.status(t)["status"] for t in (up, down)}, {"paused"})
            moved, noted = self.proxy.up + self.proxy.down, self.noted()
            self.control(down, "resume")
        self.assertDownloaded(down, body)
        self.assertEqual(self.status(up)["status"], "paused")
        self.assertLess(self.proxy.up + self.proxy.down, moved + len(body) - noted + MIB)
        self.instance.restart("syncd")
        self.assertEqual(self.status(up)["status"], "paused")
        self.control(up, "resume")
        self.assertArrived(up, source)

    def test_what_is_canceled_afterwards_leaves_nothing(self):
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            _, up = self.begin_upload(account)
            _, down = self.begin_download(account)
            self.instance.restart("syncd")
            for transfer in (up, down):
                self.control(transfer, "cancel")
                self.assertEqual(self.status(transfer)["status"], "cancelled")
        wait_until(lambda: self.unfinished() == 0 and not os.listdir(self.target), 30, "what was begun to be gone")
        self.assertEqual(self.s3.keys(), {b"there"})
        self.assertNothingRecorded()

    def test_a_kill_while_it_is_undone(self):
        """The cloud is not there when a transfer is canceled: the next process ends the upload."""
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            _, up = self.begin_upload(account)
            self.proxy.silence()
            self.control(up, "cancel")
            self.instance.restart("syncd")
            self.assertEqual(self.unfinished(), 1)
            self.proxy.heal()
            self.instance.restart("syncd")
            wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")
        self.assertEqual(self.s3.keys(), set())

    def test_an_upload_whose_beginning_was_not_heard_of(self):
        with self.slow_account() as account:
            self.proxy.rate = 0
            silence = self.proxy.add("delayed", method="POST", target="uploads", seconds=60, count=1)
            source = self.file("big", 3 * PART)
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source)["transferId"]
            wait_until(lambda: silence.hits == 1 and self.unfinished() == 1, 30, "the beginning in the bucket")
            self.instance.restart("syncd")
        self.assertArrived(up, source)

    def test_an_upload_whose_end_was_not_heard_of(self):
        """The object is there: it is known, and not sent again, nor taken for somebody else's."""
        with self.slow_account() as account:
            self.proxy.rate = 0
            for size, overwrite in ((3 * PART, False), (3 * PART, True), (MIB, False), (MIB, True)):
                with self.subTest(size=size, overwrite=overwrite):
                    key = f"{size} {overwrite}"
                    end = ("POST", "uploadId") if size > PART else ("PUT", "%20")
                    late = self.proxy.add("delayed", method=end[0], target=end[1], seconds=60, count=1)
                    source, before = self.file(key, size), self.proxy.up
                    up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source, overwrite=overwrite)["transferId"]
                    wait_until(lambda o=late, k=key: o.hits == 1 and k.encode() in self.s3.keys(), 30, "the object in the bucket")
                    self.instance.restart("syncd")
                    self.assertArrived(up, source, key)
                    self.assertLess(self.proxy.up - before, size + 100_000)

    def test_an_account_that_goes(self):
        with self.slow_account(delete=False) as account:
            self.proxy.rate = 8 * MIB
            _, up = self.begin_upload(account)
            _, down = self.begin_download(account)
            self.control(down, "pause")
            self.instance.restart("syncd")
            self.instance.api("DELETE", "/cloud/delete", id=account["id"])
            self.assertEqual(self.ended(up)["status"], "failed")
            self.assertEqual(self.status(down)["status"], "paused")
            self.instance.restart("syncd")
            self.assertEqual(self.ended(down)["status"], "failed")
        wait_until(lambda: not os.listdir(self.target), 30, "its beginning to be gone")
        self.assertNothingRecorded()

    def test_all_below_a_prefix(self):
        """Each object once, in spite of kills at any moment; those that had a name before as well."""
        objects = {f"dir/{folder}/{i:03}": os.urandom(100_000 + i) for folder in ("a", "b", "c") for i in range(60)}
        objects["dir/a/030 large"] = os.urandom(30 * MIB)
        objects["dir/0"] = b""
        for key, body in objects.items():
            self.s3.put(key, body)
        with self.slow_account() as account:
            self.proxy.rate = 2 * MIB
            down = self.ask("download_object", account=account, downloadPath=self.target, objectKey="dir", objectType=2)["transferId"]
            for kill in range(4):
                before = self.status(down)["transferredBytes"]
                wait_until(lambda: self.status(down)["transferredBytes"] > before + 4 * MIB, 60, "some more")
                self.instance.restart("syncd")
        told = self.ended(down, 120)
        self.assertEqual((told["status"], told["totalBytes"]), ("completed", sum(map(len, objects.values()))), told)
        found = {os.path.relpath(os.path.join(here, leaf), self.target): self.bytes_of(os.path.join(here, leaf))
                 for here, _, leaves in os.walk(self.target) for leaf in leaves}
        self.assertEqual(set(found), set(objects))
        self.assertEqual(found, objects)
        self.assertNothingRecorded()

    def test_objects_that_go_from_a_prefix_meanwhile(self):
        for key in ("dir/large", "dir/other"):
            self.s3.put(key, os.urandom(40 * MIB))
        self.s3.put("dir/small", b"small")
        with self.slow_account() as account:
            self.proxy.rate = 4 * MIB
            self.hold_download("dir/large", 40 * MIB)
            down = self.ask("download_object", account=account, downloadPath=self.target, objectKey="dir/", objectType=2)["transferId"]
            wait_until(lambda: len(self.temporary()) == 2, 30, "two files on their way")
            self.instance.stop()
            self.s3.remove("dir/large")
            self.instance.start()
        self.assertEqual(self.ended(down)["status"], "completed")
        self.assertEqual(sorted(os.listdir(os.path.join(self.target, "dir"))), ["other", "small"])

    def test_an_account_that_is_stored_nowhere(self):
        """Its keys came in the body. They are in the state sealed, and as long as they are needed."""
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            given = {"cloudType": 8, "serviceUrl": self.proxy.url, "region": self.server.region,
                     "accessKey": self.server.access_key, "secretKey": self.server.secret_key}
            source, up = self.begin_upload(given, 8 * PART)
            body, down = self.begin_download(given)
            self.control(up, "pause")
            self.instance.restart("syncd")
            for tail in ("", "-wal"):
                state = self.bytes_of(os.path.join(self.instance.dir, "state", "state.db" + tail))
                self.assertNotIn(self.server.secret_key.encode(), state)
                self.assertNotIn(self.server.access_key.encode(), state)
            self.assertIsNotNone(account)
        self.assertDownloaded(down, body)
        self.control(up, "resume")
        self.assertArrived(up, source)
        self.assertNothingRecorded()

    def test_a_form_ends(self):
        """Its file has no name: it fails, and says so, and no part of it stays."""
        source = self.file("form", 5 * PART)
        with self.slow_account() as account:
            mine = "0f000000-0000-4000-8000-00000000000f"
            self.proxy.rate = 8 * MIB
            self.hold_upload("form", 5 * PART)
            self.send_form(source, account, mine)
            self.arrived(1)
            self.instance.restart("syncd")
            told = self.ended(mine)
            self.assertEqual(told["status"], "failed")
            self.assertIn("form", told["errorMessage"])
        wait_until(lambda: self.unfinished() == 0, 30, "its parts to be gone")
        self.assertEqual(self.s3.keys(), set())

    def send_form(self, path, account, transfer):
        fields = {"cloudAccountJson": '{"id": "%s"}' % account["id"], "storageName": self.bucket, "uploadPath": "/", "id": transfer}
        boundary = "----boundary"
        body = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()).encode()
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="form"\r\n\r\n'.encode() + self.bytes_of(path)
        reply = self.instance.request("POST", "/cloud/upload_object_from_form", body + f"\r\n--{boundary}--\r\n".encode(),
                                      {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        self.assertEqual(reply.status, 200, reply.body)


class Stopped(OutliveCase):
    """An orderly end; and what changes before the next start."""

    arguments = ("--set", "DrainSeconds=2")

    def stop(self):
        self.assertEqual(self.instance.stop(), 0)

    def start(self):
        self.instance.start()
        self.let_go()

    def test_a_stop_and_a_start(self):
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            source, up = self.begin_upload(account)
            body, down = self.begin_download(account)
            self.stop()
            self.assertEqual((self.unfinished(), len(self.temporary())), (1, 1))
            self.instance.start()
        self.assertArrived(up, source)
        self.assertDownloaded(down, body)

    def test_exit_and_a_start(self):
        """The deadline is too short for them."""
        with self.slow_account() as account:
            self.proxy.rate = 4 * MIB
            source, up = self.begin_upload(account, 8 * PART)
            body, down = self.begin_download(account, 128 * MIB)
            self.instance.api("POST", "/management/command/exit")
            self.instance.process.wait(60)
            self.assertEqual((self.unfinished(), len(self.temporary())), (1, 1))
            self.instance.start()
        self.assertArrived(up, source)
        self.assertDownloaded(down, body)

    def test_a_file_that_changed(self):
        with self.slow_account() as account:
            for how in ("appended", "rewritten", "replaced", "removed"):
                with self.subTest(how):
                    self.proxy.rate = 16 * MIB
                    source, up = self.begin_upload(account, name=how)
                    self.stop()
                    getattr(self, how)(source)
                    self.start()
                    told = self.ended(up)
                    self.assertEqual(told["status"], "failed", told)
                    self.assertRegex(told["errorMessage"], "is not there" if how == "removed" else "changed")
                    wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")
                    self.assertEqual(self.s3.keys(), set())

    def appended(self, path):
        with open(path, "ab") as f:
            f.write(b"more")

    def rewritten(self, path):
        with open(path, "r+b") as f:
            f.seek(70 * MIB)
            f.write(b"other")

    def replaced(self, path):
        shutil.copy2(path, path + ".new")     # of the same size and time
        os.replace(path + ".new", path)
        shutil.chown(path, SERVED, SERVED)

    def removed(self, path):
        os.unlink(path)

    def test_a_file_that_may_not_be_read_any_more(self):
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            source, up = self.begin_upload(account)
            self.stop()
            os.chown(source, 0, 0)
            os.chmod(source, 0o600)
            self.start()
            told = self.ended(up)
        self.assertEqual(told["status"], "failed")
        self.assertIn("Permission denied", told["errorMessage"])
        wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")

    def test_a_link_that_takes_the_place(self):
        """Of the file, and of the folder of a download: neither is followed."""
        elsewhere = self.owned("elsewhere-" + self.bucket)
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            source, up = self.begin_upload(account)
            _, down = self.begin_download(account)
            self.stop()
            os.rename(source, source + ".moved")
            os.symlink(source + ".moved", source)
            os.rename(self.target, self.target + ".moved")
            os.symlink(elsewhere, self.target)
            self.start()
            for transfer in (up, down):
                told = self.ended(transfer)
                self.assertEqual(told["status"], "failed")
                self.assertIn("symbolic link", told["errorMessage"])
        self.assertEqual(os.listdir(elsewhere), [])
        wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")

    def test_an_object_that_changed(self):
        """Anew, and never out of two."""
        with self.slow_account() as account:
            for size in (80 * MIB, 60 * MIB, 1000):
                with self.subTest(size):
                    self.proxy.rate = 16 * MIB
                    _, down = self.begin_download(account, key=f"of {size}")
                    self.stop()
                    body = os.urandom(size)
                    self.s3.put(f"of {size}", body)
                    self.start()
                    self.assertEqual(self.ended(down)["status"], "completed")
                    self.assertEqual(os.listdir(self.target), [f"of {size}"])
                    self.assertEqual(self.bytes_of(os.path.join(self.target, f"of {size}")), body)
                    os.unlink(os.path.join(self.target, f"of {size}"))

    def test_an_object_that_is_gone(self):
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            _, down = self.begin_download(account)
            self.stop()
            self.s3.remove("there")
            self.start()
            self.assertEqual(self.ended(down)["status"], "failed")
        wait_until(lambda: not os.listdir(self.target), 30, "its beginning to be gone")

    def test_a_temporary_file_that_is_gone_or_another_one(self):
        with self.slow_account() as account:
            for replace in (False, True):
                with self.subTest(replace):
                    self.proxy.rate = 16 * MIB
                    body, down = self.begin_download(account, key=f"there {replace}")
                    self.stop()
                    name = os.path.join(self.target, *self.temporary())
                    os.unlink(name)
                    if replace:
                        os.symlink("/nowhere", name)
                    self.start()
                    self.assertEqual(self.ended(down)["status"], "completed")
                    self.assertEqual(self.bytes_of(os.path.join(self.target, f"there {replace}")), body)

    def test_an_object_that_comes_meanwhile_stays(self):
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            _, up = self.begin_upload(account)
            self.stop()
            self.s3.put("big", b"somebody's")
            self.start()
            told = self.ended(up)
        self.assertEqual(told["status"], "failed")
        self.assertIn("overwrite", told["errorMessage"])
        self.assertEqual(self.s3.get("big"), b"somebody's")
        wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")

    def test_an_upload_that_the_bucket_has_forgotten(self):
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            source, up = self.begin_upload(account)
            self.stop()
            status, body = self.s3.request("GET", uploads="")
            self.s3.request("DELETE", "big", uploadId=body.split(b"<UploadId>")[1].split(b"<")[0].decode())
            self.assertEqual((status, self.unfinished()), (200, 0))
            self.start()
        self.assertArrived(up, source)


class LateNetwork(OutliveCase):
    """After a start of the machine."""

    arguments = ("--set", "CloudRetries=0")

    def test_they_wait_for_it(self):
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            source, up = self.begin_upload(account)
            body, down = self.begin_download(account)
            self.assertEqual(self.instance.stop(), 0)
            self.proxy.refuse()
            self.instance.start()
            wait_until(lambda: self.instance.log("syncd").count("transfer_waits_for_cloud") >= 4, 60, "two tries of each")
            self.assertEqual({self.status(t)["status"] for t in (up, down)}, {"running"})
            self.proxy.heal()
        self.assertArrived(up, source)
        self.assertDownloaded(down, body)


class OnSwift(OutliveCase):
    """Another server, which has no conditions on what is put."""

    server_class = lt.Swift

    def test_they_go_on(self):
        with self.slow_account() as account:
            self.proxy.rate = 8 * MIB
            source, up = self.begin_upload(account, 8 * PART)
            self.instance.restart("syncd")
            body, down = self.begin_download(account)
            self.instance.restart("syncd")
        self.assertArrived(up, source)
        self.assertDownloaded(down, body)

    def test_an_object_that_comes_meanwhile_stays(self):
        self.put_something_meanwhile()


class Drained(OutliveCase):
    arguments = ("--set", "DrainSeconds=60")

    def test_exit_waits_for_them(self):
        with self.slow_account() as account:
            self.proxy.rate = 16 * MIB
            source, up = self.begin_upload(account)
            body, down = self.begin_download(account)
            self.control(self.begin_paused(account), "pause")     # that would be for ever
            began = time.monotonic()
            self.proxy.clear()                    # they go on, as slowly
            self.instance.api("POST", "/management/command/exit")
            self.instance.process.wait(60)
            self.assertLess(time.monotonic() - began, 55)
            self.assertEqual(self.s3.get("big"), self.bytes_of(source))
            self.assertEqual(self.bytes_of(os.path.join(self.target, "there")), body)
            self.assertEqual(self.unfinished(), 1)
            self.instance.start()
            paused = self.instance.api("GET", "/cloud/client_transfer/all")
            self.assertEqual([t["status"] for t in paused], ["paused"])
            self.assertNotIn(paused[0]["transferId"], (up, down))
            self.control(paused[0]["transferId"], "cancel")
        wait_until(lambda: self.unfinished() == 0, 30, "its parts to be gone")

    def begin_paused(self, account):
        self.hold_upload("paused", 3 * PART)
        paused = self.ask("upload_object", account=account, uploadPath="/", localFilePath=self.file("paused", 3 * PART))["transferId"]
        wait_until(lambda: self.status(paused)["transferredBytes"] > 0, 30, "its first bytes")
        return paused


if __name__ == "__main__":
    unittest.main()
