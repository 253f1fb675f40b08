#!/usr/bin/python3
"""/cloud/*: what people and programs do with objects of a real bucket, beside the drives."""

import os
import shutil
import unittest
import urllib.parse

import landfall_test as lt
from drive_case import SERVED, DriveCase
from raw_s3 import RawS3

TRAVERSALS = ("..", "../a", "a/../../b", "a/./b", "a/..", "\x01", "")


class CloudCase(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def setUp(self):
        super().setUp()
        self.bucket = self.server.make_bucket("lfc-" + self.id().rsplit(".", 1)[1].replace("_", "-")[5:60].strip("-"))
        self.s3 = RawS3(self.server, self.bucket)

    def owned(self, name):
        """A folder of the served user's."""
        path = os.path.join(self.instance.dir, "cloud-api-" + name)
        os.mkdir(path, 0o700)
        shutil.chown(path, SERVED, SERVED)
        return path

    def ask(self, endpoint, account=None, **body):
        """The JSON of the answer; an account that was not named is sent whole, with masked keys, as clients do."""
        return self.instance.api("POST", "/cloud/" + endpoint, {
            "cloudAccount": account or self.account, "id": "", "storageName": self.bucket, **body})

    def refused(self, endpoint, code="DEFAULT", status=499, **body):
        with self.assertRaises(lt.ApiError) as caught:
            self.ask(endpoint, **body)
        self.assertEqual((caught.exception.status, caught.exception.code), (status, code), caught.exception.body)
        return caught.exception.body


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


if __name__ == "__main__":
    unittest.main()
