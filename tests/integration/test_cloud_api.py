#!/usr/bin/python3
"""/cloud/*: what people and programs do with objects of a real bucket, beside the drives."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
import unittest
import urllib.parse
import uuid

import landfall_test as lt
from cloud_case import CloudCase, TransferCase
from drive_case import SERVED, fill
from landfall_test import wait_until

SIZES = (0, 1, 5 << 20, (16 << 20) + 1, 40 << 20)
PART = 16 << 20
TRAVERSALS = ("..", "../a", "a/../../b", "a/./b", "a/..", "\x01", "")


def curl(*argv):
    """Status and body."""
    out = lt.run("curl", "-s", "-w", "\n%{http_code}", *argv).stdout
    return int(out.rsplit("\n", 1)[1]), out.rsplit("\n", 1)[0]


class Urls(CloudCase):
    def test_a_download_url_needs_nothing_else(self):
        self.s3.put("dir/a file+ü", b"content")
        url = self.ask("generate_download_url", key="dir/a file+ü")
        self.assertIsInstance(url, str)
        self.assertIn("X-Amz-Expires=86400", url)
        self.assertEqual(curl(url), (200, "content"))
        self.assertEqual(curl("-X", "PUT", "-d", "other", url)[0], 403)
        self.assertEqual(curl(url.replace("dir/a", "dir/b"))[0], 403)
        self.assertEqual(self.s3.get("dir/a file+ü"), b"content")

    def test_force_to_download_names_an_attachment(self):
        self.s3.put("a", b"<html>")
        shown, stored = (lt.run("curl", "-s", "-D", "-", "-o", "/dev/null", self.ask("generate_download_url", key="a", **more)).stdout.lower()
                         for more in ({}, {"forceToDownload": True}))
        self.assertNotIn("content-disposition", shown)
        self.assertIn("content-disposition: attachment", stored)

    def test_an_upload_url_is_bound_to_its_content_type(self):
        url = self.ask("generate_upload_url", key="up/b", contentType="image/png", expireHours=1)
        self.assertIn("X-Amz-Expires=3600", url)
        self.assertEqual(curl("-X", "PUT", "-H", "Content-Type: text/html", "-d", "<script>", url)[0], 403)
        self.assertEqual(curl("-X", "PUT", "-H", "Content-Type:", "-d", "none", url)[0], 403)
        self.assertIsNone(self.s3.get("up/b"))
        self.assertEqual(curl("-X", "PUT", "-H", "Content-Type: image/png", "-d", "png", url)[0], 200)
        self.assertEqual(self.s3.get("up/b"), b"png")
        self.assertEqual(curl("-H", "Content-Type: image/png", url)[0], 403)   # not for reading

    def test_an_account_may_be_named_by_its_id_alone(self):
        self.s3.put("a", b"1")
        url = self.instance.api("POST", "/cloud/generate_download_url", {
            "cloudAccountId": self.account["id"], "storageName": self.bucket, "key": "a"})
        self.assertEqual(curl(url), (200, "1"))

    def test_bounds_and_keys(self):
        for endpoint in ("generate_download_url", "generate_upload_url"):
            for hours in (0, -1, 169, 2 ** 31 - 1):
                self.assertIn("expireHours", self.refused(endpoint, key="a", expireHours=hours))
            for hours in (1, 168):
                self.assertIn(f"X-Amz-Expires={hours * 3600}&", self.ask(endpoint, key="a", expireHours=hours))
            self.refused(endpoint, key="a", expireHours="24")
            for key in TRAVERSALS:
                self.refused(endpoint, "SECURITY" if "." in key else "DEFAULT", key=key)
            self.refused(endpoint, key="x" * 1025)
            self.refused(endpoint, key="a", storageName="")
        self.assertIn("mail", self.refused("send_download_url", email="a@example.org", key="a"))

    def test_a_folder_of_this_machine_has_none(self):
        folder = self.owned("folder")
        account = self.instance.add_folder_account(folder)
        for endpoint in ("generate_download_url", "generate_upload_url"):
            self.assertIn("no URLs", self.refused(endpoint, account=account, key="a"))

    def test_nothing_of_it_is_logged(self):
        url = self.ask("generate_download_url", key="canary-key-name")
        signature = urllib.parse.parse_qs(urllib.parse.urlparse(url).query)["X-Amz-Signature"][0]
        for daemon in ("syncd", "frontd"):
            self.assertNotIn(signature, self.instance.log(daemon))
            self.assertNotIn("canary-key-name", self.instance.log(daemon))


class Changes(CloudCase):
    def test_one_object_goes(self):
        for key in ("a", "dir/", "dir/b", "dir/c"):
            self.s3.put(key, b"1")
        self.assertIsNone(self.ask("delete_object", key="dir/b"))
        self.assertEqual(self.s3.keys(), {b"a", b"dir/", b"dir/c"})
        self.ask("delete_object", key="dir/")     # its marker alone
        self.assertEqual(self.s3.keys(), {b"a", b"dir/c"})
        self.ask("delete_object", key="dir/b")    # it is gone, as was asked for
        for key in TRAVERSALS:
            self.refused("delete_object", "SECURITY" if "." in key else "DEFAULT", key=key)
        self.refused("delete_object", key="a", storageName="no-such-bucket-here")
        self.refused("delete_object", "NOT_FOUND", 404, key="a", account={"id": "5c4f1d0e-0000-4000-8000-000000000001"})
        self.assertEqual(self.s3.keys(), {b"a", b"dir/c"})

    def test_a_folder_is_a_marker_that_a_drive_shows(self):
        self.ask("create_folder", path="/", folderName="new")
        self.ask("create_folder", path="/new", folderName="inner ü")
        self.assertEqual(self.s3.keys(), {b"new/", "new/inner ü/".encode()})
        mount = self.instance.add_drive(self.account, self.bucket, name="folders")["localPath"]
        self.assertEqual(os.listdir(os.path.join(mount, "new")), ["inner ü"])
        self.assertTrue(os.path.isdir(os.path.join(mount, "new", "inner ü")))
        self.refused("create_folder", path="/", folderName="")
        self.refused("create_folder", path="/", folderName="a/b")
        self.refused("create_folder", "SECURITY", path="/", folderName="..")
        self.refused("create_folder", "SECURITY", path="/../x", folderName="a")

    def test_a_folder_that_is_there_stays_as_it_is(self):
        self.s3.put("kept/", b"somebody's bytes")
        self.ask("create_folder", path="/", folderName="kept")
        self.assertEqual(self.s3.get("kept/"), b"somebody's bytes")


class Transfers(TransferCase):
    """upload_object and download_object: both are answered at once and go on behind."""

    def test_files_of_all_sizes_there_and_back(self):
        target = self.owned("back")
        for size in SIZES:
            source = self.file(f"f{size} ü.bin", size)
            os.utime(source, (1700000000, 1700000000))
            up = self.upload(source, "/photos/2026")
            self.assertEqual((up["status"], up["transferredBytes"], up["totalBytes"], up.get("errorMessage")), ("completed", size, size, None))
            key = f"photos/2026/f{size} ü.bin"
            self.assertEqual(self.s3.get(key), self.bytes_of(source))
            down = self.download(target, key)
            self.assertEqual((down["status"], down["transferredBytes"], down["totalBytes"]), ("completed", size, size), down)
            copy = os.path.join(target, os.path.basename(key))
            self.assertEqual(self.bytes_of(copy), self.bytes_of(source))
            self.assertEqual((os.stat(copy).st_mtime, os.stat(copy).st_uid), (1700000000, os.stat(target).st_uid))
        self.assertEqual(len(os.listdir(target)), len(SIZES))

    def test_an_id_that_the_client_chose(self):
        mine = str(uuid.uuid4())
        self.assertEqual(self.ask("upload_object", uploadPath="/", localFilePath=self.file("a", 1), id=mine)["transferId"], mine)
        self.assertEqual(self.ended(mine)["status"], "completed")
        shown = next(t for t in self.instance.api("GET", "/cloud/client_transfer/all") if t["transferId"] == mine)
        self.assertEqual((shown["targetBucket"], shown["targetPath"], shown["progress"]), (self.bucket, "a", 100))

    def test_what_is_there_is_replaced_only_when_asked_for(self):
        for size in (1000, 20 << 20):
            source = self.file("a", size)
            self.s3.put("a", b"somebody's")
            refused = self.upload(source)
            self.assertEqual(refused["status"], "failed")
            self.assertIn("overwrite", refused["errorMessage"])
            self.assertEqual(self.s3.get("a"), b"somebody's")
            self.assertEqual(self.upload(source, overwrite=True)["status"], "completed")
            self.assertEqual(self.s3.get("a"), self.bytes_of(source))
        self.assertEqual(self.unfinished(), 0)
        same = self.file("same", 5000)
        self.s3.put("same", self.bytes_of(same))
        self.assertEqual(self.upload(same)["status"], "completed")

    def test_a_local_file_is_never_replaced(self):
        target = self.owned("names")
        for body in (b"1", b"2", b"3"):
            self.s3.put("dir/name.tar.gz", body)
            self.assertEqual(self.download(target, "dir/name.tar.gz")["status"], "completed")
        self.assertEqual({name: self.bytes_of(os.path.join(target, name)) for name in os.listdir(target)},
                         {"name.tar.gz": b"1", "name.tar (2).gz": b"2", "name.tar (3).gz": b"3"})

    def test_a_folder_with_hostile_keys(self):
        target = self.owned("tree")
        inside = os.path.join(target, "dir")
        good = {"dir/a": b"a", "dir/sub/b": b"bb", "dir/sub/deep/c": b"", "dir/ü .x": b"d", "dir/..b": b"e"}
        hostile = ["dir/../../escape", "dir/..", "dir//x", "dir/./y", "dir/sub/../z", "dir/" + "n" * 256]
        for key, body in good.items():
            self.s3.put(key, body)
        for key in hostile:
            self.s3.put(key, b"hostile")
        self.s3.put("dir/empty/", b"")
        self.s3.put("dirt", b"not below")
        before = sorted(os.listdir(self.instance.dir))
        told = self.download(target, "dir", objectType=2)
        self.assertEqual(told["status"], "failed")
        self.assertRegex(told["errorMessage"], r"^6 of 12 objects were not downloaded. The first of them is dir/")
        found = {os.path.relpath(os.path.join(here, leaf), inside): self.bytes_of(os.path.join(here, leaf))
                 for here, _, leaves in os.walk(inside) for leaf in leaves}
        self.assertEqual(found, {key[4:]: body for key, body in good.items()})
        self.assertTrue(os.path.isdir(os.path.join(inside, "empty")))
        self.assertEqual(os.listdir(target), ["dir"])
        self.assertEqual(sorted(os.listdir(self.instance.dir)), before)

    def test_links_on_the_way_are_not_followed(self):
        target, elsewhere = self.owned("links"), self.owned("elsewhere")
        os.mkdir(os.path.join(target, "dir"))
        os.symlink(elsewhere, os.path.join(target, "dir", "sub"))
        shutil.chown(os.path.join(target, "dir"), SERVED, SERVED)
        os.symlink(os.path.join(elsewhere, "made"), os.path.join(target, "dir", "file"))
        self.s3.put("dir/sub/a", b"1")
        self.s3.put("dir/file", b"2")
        told = self.download(target, "dir/", objectType=2)
        self.assertEqual(told["status"], "failed")
        self.assertEqual(os.listdir(elsewhere), [])
        self.assertEqual(self.bytes_of(os.path.join(target, "dir", "file (2)")), b"2")
        self.refused("download_object", downloadPath=os.path.join(target, "dir", "sub"), objectKey="dir/file")
        self.refused("upload_object", uploadPath="/", localFilePath=os.path.join(target, "dir", "sub", "a"))

    def test_paths_that_are_refused(self):
        state = os.path.join(self.instance.dir, "state")
        self.assertTrue(os.path.isdir(state), state)
        fifo = os.path.join(self.owned("fifo"), "pipe")
        os.mkfifo(fifo)
        for path in ("relative", "/no/such/file", "", "/dev/null", fifo, self.owned("a-folder"), os.path.join(state, "state.db")):
            self.refused("upload_object", uploadPath="/", localFilePath=path)
        for path in ("relative", "/no/such/folder", "", self.file("f", 1), state, os.path.join(self.owned("h"), ".ssh")):
            self.refused("download_object", downloadPath=path, objectKey="a")
        folder = self.owned("fine")
        self.refused("upload_object", "SECURITY", uploadPath="/", localFilePath=folder + "/../x")
        self.refused("upload_object", "SECURITY", uploadPath="/../x", localFilePath=self.file("g", 1))
        self.refused("download_object", "SECURITY", downloadPath=folder + "/..", objectKey="a")
        self.refused("download_object", "SECURITY", downloadPath=folder, objectKey="../a")
        self.refused("download_object", downloadPath=folder, objectKey="a/")
        self.refused("download_object", downloadPath=folder, objectKey="a", objectType=3)
        self.assertEqual(self.s3.keys(), set())
        missing = self.download(folder, "nothing")
        self.assertEqual((missing["status"], os.listdir(folder)), ("failed", []))
        mine = self.file("secret", 10)
        os.chown(mine, 0, 0)
        os.chmod(mine, 0o600)
        self.refused("upload_object", uploadPath="/", localFilePath=mine)

    def test_a_file_on_a_drive_is_not_read_through_it(self):
        mount = self.instance.add_drive(self.account, self.bucket, name="no-loop")["localPath"]
        lt.run("sh", "-c", f"echo hello > '{mount}/on-drive'", user=SERVED)
        self.assertIn("drive", self.refused("upload_object", uploadPath="/", localFilePath=mount + "/on-drive"))
        self.assertIn("drive", self.refused("download_object", downloadPath=mount, objectKey="a"))

    def test_cancel_in_the_midst_leaves_nothing(self):
        with self.slow_account() as account:
            source, target = self.file("big", 40 << 20), self.owned("partial")
            self.s3.put("big-there", os.urandom(40 << 20))
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source)["transferId"]
            down = self.ask("download_object", account=account, downloadPath=target, objectKey="big-there")["transferId"]
            for transfer in (up, down):
                wait_until(lambda t=transfer: self.status(t)["transferredBytes"] > 0, 30, "its first bytes")
                self.assertEqual(self.status(transfer)["status"], "running")
                self.control(transfer, "cancel")
                self.assertEqual(self.status(transfer)["status"], "cancelled")
        wait_until(lambda: not os.listdir(target) and self.unfinished() == 0, 30, "what was begun to be gone")
        self.assertEqual(self.s3.keys(), {b"big-there"})

    def test_pause_and_resume(self):
        with self.slow_account() as account:
            source, target = self.file("big", 40 << 20), self.owned("paused")
            self.s3.put("there", self.bytes_of(source))
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source)["transferId"]
            down = self.ask("download_object", account=account, downloadPath=target, objectKey="there")["transferId"]
            for transfer in (up, down):
                wait_until(lambda t=transfer: self.status(t)["transferredBytes"] > 0, 30, "its first bytes")
                self.control(transfer, "pause")
                self.assertEqual(self.status(transfer)["status"], "paused")
        for transfer in (up, down):
            self.assertEqual(self.status(transfer)["status"], "paused")
            self.control(transfer, "resume")
            self.assertEqual(self.ended(transfer)["status"], "completed", self.status(transfer))
        self.assertEqual(self.s3.get("big"), self.bytes_of(source))
        self.assertSameFile(os.path.join(target, "there"), source)

    def test_they_rest_while_the_agent_does(self):
        with self.slow_account() as account:
            source = self.file("big", 3 * PART)
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source)["transferId"]
            wait_until(lambda: self.status(up)["transferredBytes"] > 0, 30, "its first bytes")
            self.instance.api("POST", "/management/command/pause")
            self.addCleanup(self.instance.request, "POST", "/management/command/resume")
            self.assertIn("paused", self.refused("upload_object", "PENDING", uploadPath="/", localFilePath=source))
            self.proxy.rate = 0
            wait_until(lambda: self.status(up)["transferredBytes"] % PART == 0, 20, "the end of what was under way")
            moved = self.status(up)["transferredBytes"]
            time.sleep(2)                      # nothing is to happen
            self.assertEqual(self.status(up)["transferredBytes"], moved)
            self.assertEqual(self.s3.keys(), set())
            self.instance.api("POST", "/management/command/resume")
            self.assertEqual(self.ended(up)["status"], "completed")
        self.assertEqual(self.s3.get("big"), self.bytes_of(source))

    def test_an_object_that_comes_meanwhile_stays(self):
        self.put_something_meanwhile()

    def test_a_file_that_changes_meanwhile_is_not_put_there(self):
        with self.slow_account() as account:
            source = self.file("growing", 40 << 20)
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source)["transferId"]
            wait_until(lambda: self.status(up)["transferredBytes"] > 0, 30, "its first bytes")
            with open(source, "ab") as f:
                f.write(b"more")
        told = self.ended(up)
        self.assertEqual(told["status"], "failed")
        self.assertIn("changed", told["errorMessage"])
        wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")
        self.assertEqual(self.s3.keys(), set())

    def test_an_account_that_goes_ends_its_transfers(self):
        with self.slow_account(delete=False) as account:
            target = self.owned("no-account")
            self.s3.put("there", os.urandom(40 << 20))
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=self.file("big", 40 << 20))["transferId"]
            down = self.ask("download_object", account=account, downloadPath=target, objectKey="there")["transferId"]
            paused = self.ask("download_object", account=account, downloadPath=target, objectKey="there")["transferId"]
            for transfer in (up, down, paused):
                wait_until(lambda t=transfer: self.status(t)["transferredBytes"] > 0, 30, "its first bytes")
            self.control(paused, "pause")
            self.instance.api("DELETE", "/cloud/delete", id=account["id"])
            for transfer in (up, down):
                self.assertNotEqual(self.ended(transfer)["status"], "completed")
            self.control(paused, "resume")
            self.assertEqual(self.ended(paused)["status"], "failed")
        wait_until(lambda: os.listdir(target) == [], 30, "what was begun to be gone")
        self.assertEqual(self.s3.keys(), {b"there"})

    def test_bytes_that_are_missing_make_no_file(self):
        with self.slow_account() as account:
            target = self.owned("truncated")
            self.s3.put("there", os.urandom(20 << 20))
            self.proxy.rate = 0
            self.proxy.add("truncated", method="GET", target="/there", at=1 << 20, count=3)
            down = self.ask("download_object", account=account, downloadPath=target, objectKey="there")["transferId"]
            self.assertEqual(self.ended(down)["status"], "completed")   # tried again, and whole
            self.assertEqual(self.bytes_of(os.path.join(target, "there")), self.s3.get("there"))
            self.proxy.add("refused", method="GET", target="/there", status=403, code="AccessDenied")
            other = self.owned("refused")
            down = self.ask("download_object", account=account, downloadPath=other, objectKey="there")["transferId"]
            self.assertEqual(self.ended(down)["status"], "failed")
            wait_until(lambda: os.listdir(other) == [], 10, "its beginning to be gone")



class Forms(CloudCase):
    """upload_object_from_form: the file of a form, streamed."""

    BOUNDARY = "------------------------boundary"

    def part(self, name, value, filename=None):
        named = f'; filename="{filename}"' if filename is not None else ""
        value = value if isinstance(value, bytes) else value.encode()
        return (f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n').encode() + value + b"\r\n"

    def fields(self, **more):
        return {"cloudAccountJson": json.dumps(self.account), "storageName": self.bucket, "uploadPath": "/from form", **more}

    def form(self, data, filename="a.bin", **more):
        return (b"".join(self.part(name, value) for name, value in self.fields(**more).items() if value is not None)
                + (self.part("file", data, filename) if data is not None else b"") + f"--{self.BOUNDARY}--\r\n".encode())

    def post(self, body, headers=None):
        return self.instance.request("POST", "/cloud/upload_object_from_form", body,
                                     {"Content-Type": f"multipart/form-data; boundary={self.BOUNDARY}", **(headers or {})})

    def arrives(self, key, data):
        wait_until(lambda: self.s3.get(key) == data, 60, f"{key} in the bucket")

    def state_files(self):
        """How many files without a name syncd has in its state directory."""
        pid = self.instance.pid("syncd")
        links = (os.path.join(f"/proc/{pid}/fd", fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        state = os.path.join(self.instance.dir, "state")
        return sum(os.readlink(link).startswith(state) and "(deleted)" in os.readlink(link) for link in links if os.path.islink(link))

    def curl_form(self, path, *more):
        with open(os.path.join(self.scratch, "account.json"), "w") as f:
            json.dump(self.account, f)
        return curl("-F", f"cloudAccountJson=<{f.name}", "-F", f"storageName={self.bucket}", "-F", "uploadPath=/from form", *more,
                    "-F", f"file=@{path}", f"http://localhost:{self.instance.info()['port']}/cloud/upload_object_from_form")

    def test_curl_sends_files_of_all_sizes(self):
        for size in (1, 70000, 5 << 20, 40 << 20):
            source = os.path.join(self.scratch, f"form-{size}")
            fill(source, size)
            self.assertEqual(self.curl_form(source), (200, ""))
            with open(source, "rb") as f:
                self.arrives(f"from form/form-{size}", f.read())
        wait_until(lambda: self.state_files() == 0, 30, "the files of forms to be gone")

    def test_names_and_order_do_not_matter(self):
        body = (self.part("FILE", b"data\r\n--not the boundary", "C:\\fakepath\\win.txt") + self.part("other", "x" * 1000)
                + self.part("CloudAccountJson", json.dumps({"id": self.account["id"]})) + self.part("StorageName", self.bucket)
                + f"--{self.BOUNDARY}--".encode())
        mine = str(uuid.uuid4())
        self.assertEqual(self.post(self.part("Id", mine) + body).status, 200)
        self.arrives("win.txt", b"data\r\n--not the boundary")
        wait_until(lambda: self.instance.api("GET", f"/cloud/client_transfer/{mine}/status")["status"] == "completed", 20, "its end")

    def test_what_is_there_stays(self):
        self.s3.put("from form/a.bin", b"somebody's")
        mine = str(uuid.uuid4())
        self.assertEqual(self.post(self.form(b"ours", id=mine)).status, 200)
        wait_until(lambda: self.instance.api("GET", f"/cloud/client_transfer/{mine}/status")["status"] == "failed", 20, "its failure")
        self.assertEqual(self.s3.get("from form/a.bin"), b"somebody's")
        self.assertEqual(self.post(self.form(b"ours", overwrite="true")).status, 200)
        self.arrives("from form/a.bin", b"ours")

    def test_forms_that_are_refused(self):
        good = self.form(b"data")
        for status, body in (
                (400, self.form(None)), (400, self.form(b"")), (400, self.form(b"data", filename="")), (400, good[:-8]), (400, b""),
                (400, good.replace(b"\r\n\r\n", b"\r\n", 1)),
                (400, self.part("file", b"1", "b") + good), (400, self.part("storageName", "x" * 70000) + good),
                (400, b"".join(self.part("x", "") for _ in range(100)) + good), (400, self.form(b"data", cloudAccountJson="{")),
                (499, self.form(b"data", cloudAccountJson=None)), (499, self.form(b"data", cloudAccountJson="{}")),
                (499, self.form(b"data", storageName="")), (499, self.form(b"data", filename="..")),
                (499, self.form(b"data", uploadPath="/../x")), (499, self.form(b"data", overwrite="maybe")),
                (404, self.form(b"data", cloudAccountJson='{"id": "5c4f1d0e-0000-4000-8000-000000000001"}'))):
            reply = self.post(body)
            self.assertEqual(reply.status, status, (body[:300], reply.body))
        for headers, status in (({"Content-Type": "application/json"}, 415), ({"Content-Type": "multipart/form-data"}, 415),
                                ({"Content-Type": "multipart/mixed; boundary=x"}, 415), ({"Origin": "http://evil.example"}, 403),
                                ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Referer": "http://evil.example/x"}, 403)):
            self.assertEqual(self.post(good, headers).status, status, headers)
        self.assertEqual(self.s3.keys(), set())
        wait_until(lambda: self.state_files() == 0, 30, "the files of forms to be gone")
        self.assertEqual(self.instance.request("POST", "/cloud/delete_object", good, {
            "Content-Type": f"multipart/form-data; boundary={self.BOUNDARY}"}).status, 415)

    def begin(self, length):
        """A connection on which a form has begun: its head, the fields, and a part of the file."""
        wait_until(lambda: self.state_files() == 0, 60, "the files of forms before to be gone")
        connection = socket.create_connection(("127.0.0.1", self.instance.info()["port"]), timeout=60)
        self.addCleanup(connection.close)
        form = self.form(b"x" * 200000)
        connection.sendall((f"POST /cloud/upload_object_from_form HTTP/1.1\r\nHost: localhost:{self.instance.info()['port']}\r\n"
                            f"Content-Type: multipart/form-data; boundary={self.BOUNDARY}\r\nContent-Length: {length or len(form)}\r\n\r\n").encode())
        connection.sendall(form[:150000])
        wait_until(lambda: self.state_files() == 1, 20, "the file in the state directory")
        return connection, form[150000:]

    def test_a_client_that_leaves_leaves_nothing(self):
        connection, _ = self.begin(0)
        connection.close()
        wait_until(lambda: self.state_files() == 0, 20, "its file to be gone")
        self.assertEqual(self.s3.keys(), set())

    def test_syncd_dies_meanwhile(self):
        connection, rest = self.begin(0)
        self.instance.restart("syncd")
        with contextlib.suppress(ConnectionError):      # frontd listens on for two seconds after its answer
            connection.sendall(rest)
        self.assertRegex(connection.recv(65536).split(b"\r\n")[0], rb"^HTTP/1.1 499 ")
        self.assertEqual(self.post(self.form(b"again")).status, 200)
        self.arrives("from form/a.bin", b"again")

    def test_chunks_without_a_length(self):
        body = self.form(os.urandom(300000))

        def chunks():
            for i in range(0, len(body), 7000):
                yield body[i:i + 7000]
        connection = http.client.HTTPConnection("127.0.0.1", self.instance.info()["port"], timeout=60)
        self.addCleanup(connection.close)
        connection.request("POST", "/cloud/upload_object_from_form", chunks(), {
            "Content-Type": f"multipart/form-data; boundary={self.BOUNDARY}"}, encode_chunked=True)
        self.assertEqual(connection.getresponse().status, 200)
        wait_until(lambda: len(self.s3.get("from form/a.bin") or b"") == 300000, 30, "the object")

    def test_a_syncd_that_does_not_take_it_holds_the_sender(self):
        """What it does not take waits at the client, not in frontd's memory; others are served meanwhile."""
        data = os.urandom(48 << 20)
        connection, _ = self.begin(len(self.form(data)))
        answers = []
        before, pid = self.memory("frontd"), self.instance.pid("syncd")
        os.kill(pid, signal.SIGSTOP)
        try:
            sender = threading.Thread(target=self.send_rest, args=(connection, self.form(data), answers))
            sender.start()
            sender.join(2)
            self.assertTrue(sender.is_alive())
            self.assertLess(self.memory("frontd") - before, 4 << 20)
            self.assertEqual(self.instance.request("GET", "/openapi.json").status, 200)
        finally:
            os.kill(pid, signal.SIGCONT)
        sender.join(60)
        self.assertRegex(answers[0], rb"^HTTP/1.1 200 ")

    def send_rest(self, connection, form, answers):
        """All but what begin() has sent: its form is another one, but begins alike up to the file."""
        connection.sendall(form[150000:])
        answers.append(connection.recv(65536))

    def test_a_form_that_is_too_large_is_not_read(self):
        connection = socket.create_connection(("127.0.0.1", self.instance.info()["port"]), timeout=60)
        self.addCleanup(connection.close)
        connection.sendall((f"POST /cloud/upload_object_from_form HTTP/1.1\r\nHost: localhost:{self.instance.info()['port']}\r\n"
                            f"Content-Type: multipart/form-data; boundary={self.BOUNDARY}\r\nContent-Length: {1 << 40}\r\n\r\n").encode())
        self.assertRegex(connection.recv(65536).split(b"\r\n")[0], rb"^HTTP/1.1 413 ")

    def test_it_is_streamed(self):
        """A form of 200 MiB costs frontd next to no memory."""
        source = os.path.join(self.scratch, "streamed")
        fill(source, 200 << 20)
        before = self.memory("frontd")
        self.assertEqual(self.curl_form(source, "-H", "Expect:")[0], 200)
        self.assertLess(self.memory("frontd") - before, 8 << 20)
        wait_until(lambda: b"from form/streamed" in self.s3.keys(), 120, "the object")

    def memory(self, daemon):
        """The most that it has had in memory."""
        with open(f"/proc/{self.instance.pid(daemon)}/status") as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM"))


if __name__ == "__main__":
    unittest.main()
