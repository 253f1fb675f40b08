#!/usr/bin/python3
"""Any process may die while nothing happens: afterwards everything works without a hand laid on."""

import os
import signal
import unittest

import landfall_test as lt
from drive_case import DriveCase
from landfall_test import wait_until


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


class Restart(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)
        cls.mount = cls.instance.add_drive(cls.account, cls.server.make_bucket("lf-restart"), name="restart")["localPath"]

    def write(self, name):
        with open(os.path.join(self.mount, name), "w") as f:
            f.write(name)

    def read(self, name):
        with open(os.path.join(self.mount, name)) as f:
            return f.read()

    def check_everything(self, tag):
        """An old file, a new one, one fetched afresh from the bucket, and the API."""
        self.assertEqual(self.read("before"), "before")
        self.write(f"after-{tag}")
        self.assertEqual(self.read(f"after-{tag}"), f"after-{tag}")
        self.assertEqual(self.instance.api("GET", "/management/agent_status"), 1)
        self.instance.wait_uploaded(os.path.join(self.mount, f"after-{tag}"))
        self.assertEqual(self.server.rclone("cat", f"s3:lf-restart/after-{tag}").stdout, f"after-{tag}")
        self.assertIn("before", os.listdir(self.mount))
        # A new account needs cryptd, whoever restarted.
        account = self.instance.add_s3_account(self.server, name=f"s3 {tag}")
        self.instance.api("DELETE", "/cloud/delete", id=account["id"])

    def setUp(self):
        self.write("before")
        self.instance.wait_uploaded(os.path.join(self.mount, "before"))

    def test_frontd(self):
        self.instance.restart("frontd")
        self.check_everything("frontd")

    def test_syncd(self):
        self.instance.restart("syncd")
        self.check_everything("syncd")

    def test_mountd(self):
        before = os.stat(self.mount).st_dev
        self.instance.restart("mountd")
        self.check_everything("mountd")
        self.assertEqual(os.stat(self.mount).st_dev, before, "the mount itself outlives mountd")

    def test_cryptd(self):
        self.instance.restart("cryptd")
        self.check_everything("cryptd")

    def test_worker(self):
        before = os.stat(self.mount).st_dev
        worker, = children(self.instance.pid("mountd"))
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: [p for p in children(self.instance.pid("mountd")) if p != worker], 20, "the next worker")
        self.check_everything("worker")
        self.assertEqual(os.stat(self.mount).st_dev, before, "the mount itself outlives its worker")

    def test_an_open_file_outlives_all_of_them(self):
        with open(os.path.join(self.mount, "open"), "w+") as f:
            f.write("first ")
            f.flush()
            for daemon in lt.DAEMONS:
                self.instance.restart(daemon)
            f.write("second")
            f.flush()
            f.seek(0)
            self.assertEqual(f.read(), "first second")
        self.assertEqual(self.read("open"), "first second")

    def test_a_lost_key_store(self):
        """What is wrong is said, nothing is sealed with the new store, and putting the old one back is all it takes."""
        store = os.path.join(self.instance.dir, "keys", "keys")
        os.rename(store, store + ".lost")
        self.instance.restart("cryptd")
        reply = self.instance.request("POST", "/cloud/list_buckets", {"id": self.account["id"]})
        self.assertEqual((reply.status, reply.headers["error-code"]), (499, "ACCESS"))
        self.assertIn(b"lost or replaced", reply.body)
        with self.assertRaisesRegex(lt.ApiError, "lost or replaced"):
            self.instance.add_s3_account(self.server, name="s3 sealed with another key")
        self.instance.restart("syncd")
        wait_until(lambda: "keys_do_not_open" in self.instance.log("syncd"), 20, "the line in the log")
        os.rename(store + ".lost", store)
        self.instance.restart("cryptd")
        self.check_everything("key store")

    def test_all_at_once(self):
        pids = self.instance.info()["pids"]
        for daemon in lt.DAEMONS:
            os.kill(pids[daemon], signal.SIGKILL)
        for daemon in lt.DAEMONS:
            wait_until(lambda d=daemon: self.instance.pid(d) not in (0, pids[d]), 20, f"the next {daemon}")
        wait_until(lambda: self.instance.api("GET", "/management/agent_status") == 1, 20, "the API")
        self.check_everything("all")


class Commands(DriveCase):
    def test_pause_resume_exit(self):
        mount, _ = self.folder_drive()
        self.instance.api("POST", "/management/command/2")
        self.assertEqual(self.instance.api("GET", "/management/agent_status"), 4)
        self.instance.api("POST", "/management/command/resume")
        self.assertEqual(self.instance.api("GET", "/management/agent_status"), 1)
        self.instance.wait_mounted(mount)
        pids = self.instance.info()["pids"]
        self.instance.api("POST", "/management/command/8")
        self.assertEqual(self.instance.process.wait(lt.patience(40)), 0)
        self.assertFalse(any(lt.alive(p) for p in pids.values()))
        self.assertEqual(lt.mounts_below(self.instance.dir), [])


if __name__ == "__main__":
    unittest.main()
