#!/usr/bin/python3
"""After real work, the secret key stands nowhere: not in a file of the instance, not in a log, not in the arguments
or the environment of any process. What is looked for is the key itself and the usual ways of writing it."""

import base64
import copy
import os
import unittest
import urllib.parse

import landfall_test as lt
from drive_case import DriveCase, make_tree


def spellings(secret):
    raw = secret.encode()
    return {raw, base64.b64encode(raw), raw.hex().encode(), raw.hex().upper().encode(), urllib.parse.quote(secret, safe="").encode(),
            secret.replace("/", "\\/").encode(), raw[::-1]}


class Secrets(DriveCase):
    arguments = ("--set", "LogLevel=7")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = copy.copy(lt.Radosgw.shared())
        # Nobody else's: programs of other tests, which run beside this one, may have that in their environment.
        secret = f"secret/of+{os.urandom(12).hex()}/test+key"
        cls.server.access_key, cls.server.secret_key = keys = cls.server.make_user("secrets", secret)
        cls.server.make_bucket_of(keys, "lf-secrets")
        cls.needles = spellings(cls.server.secret_key)
        cls.account = cls.instance.add_s3_account(cls.server)
        cls.mount = cls.instance.add_drive(cls.account, "lf-secrets", name="secrets")["localPath"]
        tree = os.path.join(cls.scratch, "tree")
        make_tree(tree, files=100)
        lt.run("cp", "-r", tree, cls.mount)
        cls.instance.wait_uploaded(*(os.path.join(d, f) for d, _, fs in os.walk(os.path.join(cls.mount, "tree")) for f in fs))
        cls.instance.api("POST", "/cloud/list_buckets", cls.account)
        cls.instance.api("POST", "/management/generate_presigned_urls", {"driveName": "secrets", "relativePath": "tree"})
        for daemon in lt.DAEMONS:
            cls.instance.restart(daemon)
        os.listdir(cls.mount)
        cls.wrong_attempt()

    @classmethod
    def wrong_attempt(cls):
        """A refused account must leave no trace of its keys either; the right secret under a wrong id is refused."""
        reply = cls.instance.request("POST", "/cloud/insert_account", {
            "name": "refused", "cloudType": 8, "serviceUrl": cls.server.url, "accessKey": "WRONG", "secretKey": cls.server.secret_key})
        assert reply.status == 499, reply.status

    def holds(self, data):
        return any(needle in data for needle in self.needles)

    def test_the_needle_would_be_found(self):
        self.assertTrue(self.holds(b"x" + self.server.secret_key.encode() + b"y"))

    def test_files(self):
        searched = 0
        for directory, _, names in os.walk(self.instance.dir):
            if directory.startswith(os.path.join(self.instance.dir, "mnt")):
                continue
            for name in names:
                path = os.path.join(directory, name)
                if not os.path.isfile(path):
                    continue
                with open(path, "rb") as f:
                    overlap = b""
                    while part := f.read(1 << 24):
                        self.assertFalse(self.holds(overlap + part), path)
                        overlap = part[-256:]
                searched += 1
        self.assertGreater(searched, 100)

    def test_processes(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for what in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{what}", "rb") as f:
                        self.assertFalse(self.holds(f.read()), f"/proc/{pid}/{what}")
                except OSError:
                    continue

    def test_the_api_masks_it(self):
        for path in ("/cloud/accounts", f"/cloud/account?id={self.account['id']}", "/management/clouddrive"):
            self.assertFalse(self.holds(self.instance.request("GET", path).body), path)


if __name__ == "__main__":
    unittest.main()
