#!/usr/bin/python3
"""Objects that are fetched, given up and deleted over HTTP, and URLs for them, against a real S3 service."""

import os
import unittest
import urllib.parse

import landfall_test as lt
from fault_case import FaultCase, content, read_file, write_file
from landfall_test import wait_until

BUNDLES = ("cut.fcpbundle", "edit.postlabteam", "scene.aep", "scene.aepx", "film.prproj")


class ObjectCalls(FaultCase):
    arguments = ("--set", "ReadDeadlineSeconds=4")

    def ask(self, method, route, path, **query):
        return self.instance.request(method, f"/management/{route}?" + urllib.parse.urlencode({"path": path, **query}))

    def call(self, method, route, path, **query):
        reply = self.ask(method, route, path, **query)
        self.assertEqual(reply.status, 200, (route, path, reply.body))

    def refused(self, method, route, path, status, code, part="", **query):
        reply = self.ask(method, route, path, **query)
        self.assertEqual((reply.status, reply.headers.get("error-code")), (status, code), (route, path, reply.body))
        said = reply.json()["errors"][code][0]
        self.assertIn(part, said)
        return said

    def cached(self, path):
        return self.instance.api("GET", "/management/object_explain", path=path).get("cachedBytes", 0)

    def drive(self, name, files, **more):
        mount, bucket = self.s3_drive("calls-" + name, **more)
        self.put(bucket, files)
        self.see(mount, {name.partition("/")[0] for name in files})
        return mount, bucket, {os.path.join(mount, name): data for name, data in files.items()}

    def test_a_folder_is_downloaded_once(self):
        files = {f"folder/{n}": content(self.dice, 50_000 * n) for n in range(1, 6)}
        files["folder/deep/er/large"] = content(self.dice, 9 << 20)
        mount, _, paths = self.drive("folder", {**files, "other": b"other"})
        folder = os.path.join(mount, "folder")
        self.call("GET", "object_download", folder)
        inside = {p: d for p, d in paths.items() if p.startswith(folder + "/")}
        wait_until(lambda: all(self.cached(p) == len(d) for p, d in inside.items()), 60, "all of it")
        self.assertEqual(self.cached(os.path.join(mount, "other")), 0)
        self.proxy.refuse()
        for path, data in inside.items():
            self.assertTrue(read_file(path) == data, path)
        self.proxy.heal()
        # It does not stay as what is offline does: what is given up goes, and nothing fetches it again. What was read
        # may be open for a moment yet: close(2) does not wait until that is heard of.
        wait_until(lambda: self.ask("POST", "object_remove_from_cache", folder).status == 200, 20, "all to be closed")
        self.assertEqual(sum(self.cached(p) for p in inside), 0)
        for path, data in inside.items():
            self.assertTrue(read_file(path) == data, path)

    def test_bundles_come_and_stay_whole(self):
        files = {f"{bundle}/Contents/{n}/data": content(self.dice, 30_000 + n) for bundle in BUNDLES[:3] for n in range(3)}
        files |= {bundle: content(self.dice, 300_000) for bundle in BUNDLES[3:]}
        mount, _, paths = self.drive("bundles", files)
        for bundle in BUNDLES:
            self.call("GET", "object_download", os.path.join(mount, bundle))
        wait_until(lambda: all(self.cached(p) == len(d) for p, d in paths.items()), 60, "all bundles")
        for bundle in BUNDLES:
            self.call("POST", "object_remove_from_cache", os.path.join(mount, bundle))
        self.assertEqual(sum(self.cached(p) for p in paths), 0)
        for bundle in BUNDLES:
            self.call("GET", "object_make_offline", os.path.join(mount, bundle))
        wait_until(lambda: all(self.cached(p) == len(d) for p, d in paths.items()), 60, "all bundles, to stay")
        self.proxy.refuse()
        for path, data in paths.items():
            self.assertTrue(read_file(path) == data, path)
        self.proxy.heal()
        said = self.refused("POST", "object_remove_from_cache", os.path.join(mount, BUNDLES[0]), 499, "DEFAULT")
        self.assertIn("object_remove_offline", said)
        for bundle in BUNDLES:
            self.call("POST", "object_remove_offline", os.path.join(mount, bundle))
        wait_until(lambda: not any(self.cached(p) for p in paths), 30, "the copies to go")

    def test_read_object_answers_when_it_is_here(self):
        mount, _, paths = self.drive("read", {"file": content(self.dice, 20 << 20), "dir/a": b"a", "dir/b": b"b"})
        file = os.path.join(mount, "file")
        self.call("POST", "read_object", file)
        self.assertEqual(self.cached(file), 20 << 20)
        self.call("POST", "read_object", os.path.join(mount, "dir"))
        self.call("POST", "object_remove_from_cache", file)
        self.proxy.refuse()
        reply = self.ask("POST", "read_object", file, seconds=2)
        self.assertEqual(reply.status, 499, reply.body)
        self.call("POST", "read_object", os.path.join(mount, "dir"))     # that is here
        self.proxy.heal()
        wait_until(lambda: self.ask("POST", "read_object", file).status == 200, 60, "the file")
        self.assertTrue(read_file(file) == paths[file])

    def test_what_the_cloud_lacks_is_not_given_up_nor_deleted(self):
        mount, bucket, _ = self.drive("dirty", {"dir/clean": b"clean" * 1000})
        folder, new = os.path.join(mount, "dir"), os.path.join(mount, "dir", "new")
        self.call("POST", "read_object", folder)
        self.proxy.refuse()
        write_file(new, b"new" * 1000)
        self.refused("POST", "object_remove_from_cache", new, 499, "PENDING", "the cloud does not have")
        self.refused("POST", "object_remove_from_cache", folder, 499, "PENDING", "1 of it")
        self.assertEqual(self.cached(os.path.join(folder, "clean")), 0)
        self.assertTrue(read_file(new) == b"new" * 1000)
        self.refused("POST", "object_delete", new, 499, "PENDING", "dir/new is left in place: it is being uploaded")
        self.refused("POST", "object_delete", folder, 499, "PENDING", "dir/new")
        self.assertEqual(os.listdir(folder), ["new"])
        self.proxy.heal()
        self.wait_clean([new])
        wait_until(lambda: sorted(self.stored(bucket, check=False)) == ["dir/new"], 60, "the bucket to follow")
        self.call("POST", "object_remove_from_cache", folder)
        self.assertTrue(read_file(new) == b"new" * 1000)
        self.call("POST", "object_delete", folder)
        self.assertEqual(os.listdir(mount), [])
        wait_until(lambda: not self.keys(bucket), 60, "the empty bucket")

    def keys(self, bucket):
        return self.server.rclone("lsf", "-R", "--files-only", f"s3:{bucket}").stdout.split()

    def test_deletion_of_a_tree(self):
        files = {f"tree/{n % 7}/{n % 3}/{n}": b"x" * n for n in range(300)}
        mount, bucket, _ = self.drive("tree", {**files, "tree2/stays": b"stays", "file": b"file"})
        tree = os.path.join(mount, "tree")
        self.assertEqual(len(os.listdir(tree)), 7)                    # the kernel knows names
        with open(os.path.join(tree, "1/1/1"), "rb") as f:
            self.call("POST", "object_delete", tree)
            self.assertEqual(sorted(os.listdir(mount)), ["file", "tree2"])
            with self.assertRaises(FileNotFoundError):
                os.stat(os.path.join(tree, "1/1/1"))
            self.assertEqual(f.read(), b"x")                          # as after unlink(2)
        self.call("POST", "object_delete", os.path.join(mount, "file"))
        self.refused("POST", "object_delete", os.path.join(mount, "file"), 404, "NOT_FOUND")
        self.restart_instance()                                       # it was durable
        self.instance.wait_mounted(mount)
        self.assertEqual(os.listdir(mount), ["tree2"])
        wait_until(lambda: [k for k in self.keys(bucket) if not k.startswith(".landfall")] == ["tree2/stays"], 60, "the bucket to follow")

    def test_deletion_that_is_not_allowed(self):
        mount, bucket, _ = self.drive("kept", {"file": b"file", "dir/file": b"file"}, allowDelete=False)
        self.refused("POST", "object_delete", os.path.join(mount, "file"), 403, "ACCESS", "allowDelete")
        self.refused("POST", "object_delete", os.path.join(mount, "dir"), 403, "ACCESS", "allowDelete")
        other, _, _ = self.drive("read-only", {"file": b"file"}, permissionType=1)
        self.refused("POST", "object_delete", os.path.join(other, "file"), 403, "ACCESS", "read only")
        self.refused("POST", "object_delete", mount, 403, "ACCESS")
        self.assertEqual(sorted(os.listdir(mount)), ["dir", "file"])
        self.assertEqual(sorted(self.keys(bucket)), ["dir/file", "file"])

    def test_hostile_paths(self):
        mount, _, _ = self.drive("hostile", {"file": b"file"})
        os.symlink("/etc", os.path.join(mount, "etc"))
        for method, route in (("GET", "object_download"), ("POST", "read_object"), ("POST", "object_remove_from_cache"),
                              ("POST", "object_delete")):
            self.refused(method, route, os.path.join(mount, "..", "x"), 499, "SECURITY")
            self.refused(method, route, mount + "/a/../../x", 499, "SECURITY")
            self.refused(method, route, "/etc/passwd", 404, "NOT_FOUND")
            self.refused(method, route, mount + "x/file", 404, "NOT_FOUND")
            self.refused(method, route, os.path.join(mount, "none"), 404, "NOT_FOUND")
            self.refused(method, route, os.path.join(mount, "etc", "passwd"), 404, "NOT_FOUND")
            self.refused(method, route, os.path.join(mount, "file", "below"), 404, "NOT_FOUND")
            self.refused(method, route, "", 499, "DEFAULT")
            self.assertEqual(self.instance.request(method, f"/management/{route}?path={mount}/fi%00le").status, 400)
            cross = self.instance.request(method, f"/management/{route}?path={mount}/file", headers={"Sec-Fetch-Site": "cross-site"})
            self.assertEqual(cross.status, 403)
        self.refused("POST", "object_delete", mount, 499, "DEFAULT", "the drive itself")
        self.assertEqual(sorted(os.listdir(mount)), ["etc", "file"])
        self.assertTrue(os.path.exists("/etc/passwd"))

    def sync(self, identity, **query):
        return self.instance.request("GET", f"/management/clouddrive/sync/{identity}?" + urllib.parse.urlencode(query))

    def test_synchronised_at_once(self):
        mount, bucket = self.s3_drive("calls-sync", syncIntervalSeconds=3600)
        self.assertEqual(os.listdir(mount), [])
        self.put(bucket, {"dir/one": b"1", "other/one": b"1"})
        identity = next(d["id"] for d in self.instance.api("GET", "/management/clouddrive") if d["localPath"] == mount)
        self.assertEqual(self.sync(identity).status, 200)
        self.see(mount, ["dir", "other"])
        self.assertEqual(os.listdir(os.path.join(mount, "dir")) + os.listdir(os.path.join(mount, "other")), ["one", "one"])
        self.put(bucket, {"dir/two": b"2", "other/two": b"2"})
        self.assertFalse(os.path.exists(os.path.join(mount, "dir/two")))
        self.assertEqual(self.sync(identity, path="/other").status, 200)
        wait_until(lambda: "two" in os.listdir(os.path.join(mount, "other")), 30, "what came in the bucket")
        self.assertFalse(os.path.exists(os.path.join(mount, "dir/two")))
        self.assertEqual(self.sync(identity).status, 200)
        wait_until(lambda: os.path.exists(os.path.join(mount, "dir/two")), 30, "the rest")
        for wrong in ("00000000-0000-4000-8000-000000000000", "x"):
            self.assertEqual(self.sync(wrong).status, 404)
        self.assertEqual(self.sync(identity, path="/a/../..").status, 499)

    def presign(self, **body):
        return self.instance.request("POST", "/management/generate_presigned_urls", body)

    def test_presigned_urls_stay_below_the_drive(self):
        mount, _, _ = self.drive("signed", {"within/file": b"file", "beside": b"beside"}, cloudObjectsEncrypted=False)
        urls = self.presign(driveName="calls-signed", relativePath="within/file", uploadKey="within/new").json()
        self.assertTrue(urls["downloadUrl"] and urls["uploadUrl"])
        for key in ("../other", "within/../../other", "..", "/../x"):
            for body in ({"uploadKey": key}, {"relativePath": key}, {"relativePath": "within/file", "uploadKey": key}):
                reply = self.presign(driveName="calls-signed", **body)
                self.assertEqual((reply.status, reply.headers.get("error-code")), (499, "SECURITY"), (body, reply.body))
                self.assertNotIn(b"http", reply.body)
        self.drive("signed-read-only", {"file": b"file"}, permissionType=1, cloudObjectsEncrypted=False)
        self.assertEqual(self.presign(driveName="calls-signed-read-only", relativePath="file").status, 200)
        reply = self.presign(driveName="calls-signed-read-only", relativePath="file", uploadKey="new")
        self.assertEqual((reply.status, reply.headers.get("error-code")), (403, "ACCESS"), reply.body)


if __name__ == "__main__":
    unittest.main()
