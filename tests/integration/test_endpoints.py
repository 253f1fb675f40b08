#!/usr/bin/python3
"""docs/ENDPOINTS.md names every endpoint, and for each a test that is there and asks it. Here are those of them that no other
module has with a real bucket."""

import importlib
import inspect
import os
import re
import shutil
import unittest
import urllib.parse

import landfall_test as lt
from drive_case import SERVED, DriveCase
from landfall_test import wait_until
from raw_s3 import RawS3
from test_keys import IDENTITY, RECIPIENT, keygen
from test_objects import age
from test_websockets import Listener

PAGE = os.path.join(lt.SOURCE, "docs", "ENDPOINTS.md")
AGE = b"age-encryption.org/v1\n"
NORMAL = 0
BODY = b"what is in the object" * 1000


def table(heading):
    """The rows of the table below a heading: (method, path) to what stands in the last column."""
    with open(PAGE, encoding="utf-8") as f:
        section = f.read().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (GET|POST|PUT|DELETE) \| `([^`]+)` \| (.*) \|$", section, re.MULTILINE)
    found = {(method, path): rest.rpartition("| ")[2] for method, path, rest in rows}
    assert len(found) == len(rows), f"an endpoint stands twice below {heading}"
    return found


def source_of(module, class_name, test):
    """The text of a test, and of what is in its class and those above beside tests."""
    case = getattr(importlib.import_module(module), class_name)
    members = {name: value for above in reversed(case.__mro__) if above.__module__ not in ("builtins", "unittest.case")
               for name, value in vars(above).items() if inspect.isroutine(value) or isinstance(value, (classmethod, staticmethod))}
    return "".join(inspect.getsource(getattr(value, "__func__", value)) for name, value in members.items()
                   if name == test or not name.startswith("test_")) if test in members else None


class Table(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        paths = cls.instance.api("GET", "/openapi.json")["paths"]
        cls.operations = {(method.upper(), path): operation for path, methods in paths.items() for method, operation in methods.items()}
        cls.there, cls.missing = table("What there is"), table("What is not available")

    def test_every_endpoint_is_in_it(self):
        self.assertEqual(sorted([*self.there, *self.missing]), sorted(self.operations))

    def test_what_is_missing_is_named(self):
        self.assertEqual(self.missing, {key: operation["summary"] for key, operation in self.operations.items()
                                        if "missing" in operation["x-policy"]})

    def test_each_has_a_test_that_asks_it(self):
        for (method, path), name in self.there.items():
            with self.subTest(f"{method} {path}"):
                source = source_of(*re.fullmatch(r"`(\w+)\.(\w+)\.(\w+)`", name).groups())
                self.assertIsNotNone(source, f"there is no {name}")
                lacking = [part for part in re.findall(r"/([^/{}]+)", path) if not re.search(rf"\b{re.escape(part)}\b", source)]
                self.assertEqual(lacking, [], f"{name} does not ask it")

    def test_a_test_that_is_gone_or_asks_something_else_is_noticed(self):
        self.assertIsNone(source_of("test_endpoints", "Bucket", "test_that_is_gone"))
        self.assertNotIn("list_drives", source_of("test_endpoints", "Bucket", "test_the_keys_of_a_drive"))


class Bucket(DriveCase):
    arguments = ("--set", "SettleMilliseconds=50")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)
        cls.api = cls.instance.api

    def drive(self, name, **more):
        """The drive, and its bucket."""
        bucket = self.server.make_bucket("lf-endpoints-" + name)
        more = {"cloudObjectsEncrypted": False, "syncIntervalSeconds": 1, **more}
        return self.instance.add_drive(self.account, bucket, name=name, **more), RawS3(self.server, bucket)

    def put(self, drive, s3, key, body=BODY):
        """Into the bucket; returns its path when the drive shows it."""
        s3.put(key, body)
        path = os.path.join(drive["localPath"], key)
        wait_until(lambda: os.path.exists(path), 30, path)
        return path

    def write(self, drive, name):
        """Through the drive, until the bucket has it."""
        path = os.path.join(drive["localPath"], name)
        with open(path, "wb") as f:
            f.write(BODY)
        self.instance.wait_uploaded(path)
        return path

    def local(self, method, path, body=None, status=200):
        """Over the Unix socket."""
        reply = self.instance.request(method, path, body, socket_path=self.instance.info()["api_socket"])
        self.assertEqual(reply.status, status, reply.body)
        return reply.json()

    # --- drives ----------------------------------------------------------------------------------

    def test_a_drive_is_found_changed_and_removed(self):
        drive, s3 = self.drive("drive")
        path, of_id = self.write(drive, "stays"), "/management/clouddrive/" + drive["id"]
        self.assertEqual([d["id"] for d in self.api("GET", "/management/clouddrive", path=path)], [drive["id"]])
        self.assertIn(drive["id"], [d["id"] for d in self.api("GET", "/management/clouddrive")])
        self.assertEqual(self.api("GET", "/management/exist_clouddrive", path=path), "1")
        self.assertEqual(self.api("GET", "/management/exist_clouddrive", path="/tmp"), "0")
        self.assertEqual(self.api("PUT", of_id, {**drive, "permissionType": 1})["permissionType"], 1)
        wait_until(lambda: self.api("GET", "/management/clouddrive", path=path)[0]["permissionType"] == 1, 20, "the change")
        self.instance.wait_mounted(drive["localPath"])
        with self.assertRaises(OSError):
            self.write(drive, "refused")
        counted = self.instance.request("GET", "/metrics").body.decode()
        self.assertRegex(counted, r'landfall_cloud_requests_total\{drive="drive",operation="put",result="ok"\} [1-9]')
        self.api("DELETE", of_id)
        self.assertEqual(self.api("GET", "/management/exist_clouddrive", path=path), "0")
        self.assertFalse(os.path.ismount(drive["localPath"]))
        self.assertEqual(s3.get("stays"), BODY)

    def test_the_cache_of_a_drive_moves(self):
        drive, s3 = self.drive("cache", localCacheEncrypted=False)
        path = self.write(drive, "a")
        above = os.path.join(self.instance.dir, "caches")
        os.mkdir(above, 0o700)
        shutil.chown(above, SERVED, SERVED)
        there = os.path.join(above, "there")
        changed = self.api("PUT", "/management/clouddrive_change_cache/" + drive["id"],
                           {"permanentLocalPath": there, "localCacheEncrypted": True, "maximumCacheSize": 1 << 30})
        self.assertEqual((changed["permanentLocalPath"], changed["localCacheEncrypted"], changed["maximumCacheSize"]),
                         (there, True, 1 << 30))
        self.assertFalse(os.path.exists(drive["permanentLocalPath"]))
        keys = "/management/drive_keys/" + drive["id"]
        wait_until(lambda: self.api("GET", keys).get("unconverted", 0) == 0, 30, "the end of the conversion")
        with open(path, "rb") as f:
            self.assertEqual(f.read(), BODY)
        self.assertEqual(s3.get("a"), BODY)

    # --- objects ---------------------------------------------------------------------------------

    def test_objects_of_the_drive_and_of_the_bucket(self):
        drive, s3 = self.drive("objects", driveName="Q")
        path = self.put(drive, s3, "dir/file ü")
        s3.put("dir/sub/deep", b"x")
        one = self.api("GET", "/management/object_info", path=path)
        self.assertEqual((one["path"], one["size"], one["state"], one["isDirectory"], one["driveName"], one["bucketName"]),
                         (path, len(BODY), NORMAL, False, "Q", s3.bucket))
        folder = os.path.dirname(path)
        wait_until(lambda: len(os.listdir(folder)) == 2, 30, "both names")
        self.assertEqual([(o["path"], o["isDirectory"]) for o in self.api("GET", "/management/objects_info", path=folder)],
                         [(path, False), (os.path.join(folder, "sub"), True)])
        self.assertEqual(self.api("GET", "/management/object_status", path=path), NORMAL)
        with open(os.path.join(folder, "ours"), "wb") as f:
            f.write(BODY)
        self.assertIs(self.api("GET", "/management/object_wait", path=folder, seconds=60)["there"], True)
        self.assertEqual(s3.get("dir/ours"), BODY)
        listed = self.api("POST", "/cloud/list_objects", {"account": {"id": self.account["id"]},
                                                          "request": {"bucketName": s3.bucket, "path": "dir/"}})
        self.assertEqual(sorted((o["name"], o["type"], o.get("size", 0)) for o in listed["data"]),
                         [("file ü", 1, len(BODY)), ("ours", 1, len(BODY)), ("sub", 2, 0)])

    def test_accounts(self):
        shown = next(a for a in self.api("GET", "/cloud/accounts") if a["id"] == self.account["id"])
        self.assertEqual(shown, self.api("GET", "/cloud/account", id=self.account["id"]))
        self.assertNotIn(self.server.secret_key, str(shown))
        more = self.api("POST", "/cloud/insert_account", {"name": "more", "cloudType": 8, "serviceUrl": self.server.url,
                                                          "accessKey": self.server.access_key, "secretKey": self.server.secret_key})
        self.server.make_bucket("lf-endpoints-listed")
        buckets = self.api("POST", "/cloud/list_buckets", {"id": more["id"]})
        self.assertIn("lf-endpoints-listed", [b["name"] for b in buckets["data"]])
        self.assertIs(self.api("DELETE", "/cloud/delete", id=more["id"]), True)
        self.assertNotIn(more["id"], [a["id"] for a in self.api("GET", "/cloud/accounts")])

    def test_the_calls_are_in_the_audit_log(self):
        bucket = self.server.make_bucket("lf-endpoints-audit")
        since = self.local("GET", "/management/audit")[-1]["seq"]
        self.api("POST", "/cloud/create_folder", {"cloudAccountId": self.account["id"], "storageName": bucket, "folderName": "made"})
        self.assertEqual(RawS3(self.server, bucket).keys(), {b"made/"})

        def results():
            lines = self.local("GET", f"/management/audit?since={since}")
            calls = {line["call"] for line in lines if line.get("endpoint") == "/cloud/create_folder"}
            return [line["status"] for line in lines if line["call"] in calls and "status" in line]
        wait_until(lambda: results() == [200], 20, "its result in the log")
        self.assertIs(self.local("GET", "/management/audit_verify")["whole"], True)

    def test_states_are_told(self):
        drive, s3 = self.drive("states")
        listener = Listener(self.instance, "/statechange")
        self.addCleanup(listener.close)
        path = self.put(drive, s3, "by others")
        listener.until(lambda f: f["Path"] == path and f["StorageName"] == s3.bucket)
        path = self.write(drive, "by us")
        listener.until(lambda f: f["Path"] == path and f["State"] == 4)
        listener.until(lambda f: f["Path"] == path and f["State"] == 0)

    # --- what encrypts ---------------------------------------------------------------------------

    def opened(self, s3, key, identity):
        path = os.path.join(self.scratch, "identity")
        with open(path, "w") as f:
            f.write(identity + "\n")
        return age("-d", "-i", path, stdin=s3.get(key), check=False)

    def test_the_keys_of_a_drive(self):
        drive, s3 = self.drive("keys", cloudObjectsEncrypted=True)
        of_id = drive["id"]
        first = self.api("GET", f"/management/drive_keys/{of_id}")
        self.assertRegex(first["recipient"], RECIPIENT)
        self.assertIn(drive["id"], [k["id"] for k in self.api("GET", "/management/drive_keys")])
        kit = self.local("POST", f"/management/drive_keys_export/{of_id}")
        self.assertRegex(kit["identities"][0], IDENTITY)
        self.write(drive, "first")
        self.assertEqual(self.opened(s3, "first", kit["identities"][0]), BODY)
        self.assertNotEqual(self.api("POST", f"/management/drive_keys_rotate/{of_id}?newIdentity=true")["recipient"], first["recipient"])
        safe, recipient = keygen()
        self.assertEqual(self.api("POST", f"/management/drive_keys_escrow/{of_id}", {"add": [recipient]})["escrow"], [recipient])
        self.write(drive, "second")
        self.assertEqual(self.opened(s3, "second", safe), BODY)
        self.assertEqual(self.opened(s3, "second", kit["identities"][0]), b"")
        ours, recipient = keygen()
        self.assertEqual(self.local("POST", f"/management/drive_keys_import/{of_id}", {"identity": ours})["recipient"], recipient)
        self.write(drive, "third")
        self.assertEqual(self.opened(s3, "third", ours), BODY)
        self.local("POST", f"/management/drive_keys_destroy/{of_id}", status=499)
        self.assertTrue(self.local("POST", f"/management/drive_keys_destroy/{of_id}?confirmed=true"))
        wait_until(lambda: self.api("GET", "/management/clouddrive", path=drive["localPath"])[0].get("mountError"), 30,
                   "the drive to be down")

    def left(self, drive, **more):
        progress = self.api("GET", "/management/object_encrypt_status", path=drive["localPath"], **more)
        return progress["filesLeft"] + progress["foldersLeft"]

    def test_objects_are_encrypted_behind_and_an_older_one_is_accepted(self):
        drive, s3 = self.drive("encrypt", cloudObjectsEncrypted=True)
        paths = [self.put(drive, s3, name) for name in ("plain", "stays")]
        self.api("POST", "/management/command/pause")
        self.addCleanup(lambda: self.instance.request("POST", "/management/command/resume"))
        self.api("POST", "/management/object_encrypt", path=drive["localPath"])
        self.assertGreater(self.left(drive), 0)
        self.api("POST", "/management/object_encrypt_stop", path=drive["localPath"])
        self.assertEqual(self.left(drive), 0)
        self.api("POST", "/management/command/resume")
        self.api("POST", "/management/object_encrypt", path=paths[0])
        wait_until(lambda: self.left(drive, seconds=5) == 0, 60, "the end of it")
        self.assertTrue(s3.get("plain").startswith(AGE))
        self.assertEqual(s3.get("stays"), BODY)
        older, path = s3.get("plain"), paths[0]
        with open(path, "wb") as f:
            f.write(b"newer")
        self.instance.wait_uploaded(path)
        s3.put("plain", older)
        wait_until(lambda: "error" in self.api("GET", "/management/object_explain", path=path)["state"], 30, "the older version")
        self.assertEqual(self.instance.request("POST", "/management/object_accept?" + urllib.parse.urlencode({"path": path})).status, 200)
        with open(path, "rb") as f:
            self.assertEqual(f.read(), BODY)


if __name__ == "__main__":
    unittest.main()
