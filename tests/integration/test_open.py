#!/usr/bin/python3
"""clouddrive_open: what the file manager of the served user's session is asked, and when nobody is."""

import json
import os
import pwd
import signal
import socket
import subprocess
import time
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase
from landfall_test import wait_until

NAME = "Team & co #1 ä%41?"

# Stands in for the file manager: appends the arguments of each call to a file, and may be slow, or refuse.
MANAGER = """
import json, sys
import dbus, dbus.mainloop.glib, dbus.service
from gi.repository import GLib

class Manager(dbus.service.Object):
    @dbus.service.method("org.freedesktop.FileManager1", in_signature="ass", sender_keyword="sender")
    def ShowFolders(self, uris, startup, sender=None):
        with open(sys.argv[1], "a") as f:
            uid = int(bus.get_unix_user(sender))
            f.write(json.dumps({"uris": [str(u) for u in uris], "startup": str(startup), "uid": uid}) + chr(10))
        if sys.argv[2] == "refuse":
            raise dbus.exceptions.DBusException("no such folder", name="org.example.Refused")

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName("org.freedesktop.FileManager1", bus)
manager = Manager(bus, "/org/freedesktop/FileManager1")
print("ready", flush=True)
GLib.MainLoop().run()
"""


class Open(DriveCase):
    # Who asks again and again for a second would come to the pace of changes first, on a fast machine.
    arguments = ("--set", "ChangesPerSecond=0")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account = pwd.getpwnam(SERVED)
        cls.runtime = f"/run/user/{cls.account.pw_uid}"
        if os.path.exists(cls.runtime):
            raise unittest.SkipTest(f"{cls.runtime} is there: {SERVED} has a session")
        try:
            lt.run("/usr/bin/python3", "-c", "import dbus, gi")
            lt.run("/usr/bin/dbus-daemon", "--version")
        except (AssertionError, FileNotFoundError):
            raise unittest.SkipTest("dbus, python3-dbus and python3-gi are not installed") from None
        cls.mount, _ = cls.folder_drive("first")
        account = cls.instance.api("GET", "/cloud/accounts")[0]
        cls.odd = cls.instance.add_drive(account, "bucket", name=NAME, prefix="odd")

    def setUp(self):
        self.record = os.path.join(self.scratch, f"record-{len(os.listdir(self.scratch))}")
        os.chmod(self.scratch, 0o755)
        with open(self.record, "w"):
            pass
        os.chown(self.record, self.account.pw_uid, self.account.pw_gid)
        os.makedirs("/run/user", exist_ok=True)
        os.mkdir(self.runtime, 0o700)
        os.chown(self.runtime, self.account.pw_uid, self.account.pw_gid)
        self.addCleanup(lt.remove_tree, self.runtime)

    def start(self, *argv, **more):
        process = subprocess.Popen(lt.as_user(SERVED) + list(argv), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   stdout=more.get("stdout", subprocess.DEVNULL), env=more.get("env", lt.clean_env()))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def session(self):
        bus = os.path.join(self.runtime, "bus")
        self.start("/usr/bin/dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={bus}")

        def listens():
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(bus)
            return True

        wait_until(listens, 10, "the bus")
        return bus

    def manager(self, bus, manner="answer"):
        env = lt.clean_env(DBUS_SESSION_BUS_ADDRESS=f"unix:path={bus}")
        process = self.start("/usr/bin/python3", "-c", MANAGER, self.record, manner, env=env, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def open(self, drive=None):
        """The reply; waits for the second that has to lie between two calls."""
        path = "/management/clouddrive_open/" + (drive or self.odd["id"])

        def ask():
            self.reply = self.instance.request("POST", path, {})
            return b"a moment ago" not in self.reply.body
        wait_until(ask, 10, "the second to pass")
        return self.reply

    def asked(self):
        with open(self.record) as f:
            return [json.loads(line) for line in f]

    def assertRefused(self, reply, status, code, part):
        self.assertEqual((reply.status, reply.headers.get("error-code")), (status, code), reply.body)
        self.assertIn(part, reply.json()["errors"][code][0])

    def test_the_mount_point_is_shown(self):
        self.manager(self.session())
        self.assertEqual(self.open().status, 200, self.reply.body)
        escaped = os.path.dirname(self.odd["localPath"]) + "/Team%20%26%20co%20%231%20%C3%A4%2541%3F"
        self.assertEqual(self.asked(), [{"uris": ["file://" + escaped], "startup": "", "uid": self.account.pw_uid}])

    def test_once_a_second(self):
        self.manager(self.session())
        began, opened, refused = time.monotonic(), [], 0
        while (len(opened) < 3 or not refused) and time.monotonic() - began < lt.patience(30):
            asked = time.monotonic()
            status = self.instance.request("POST", "/management/clouddrive_open/" + self.odd["id"], {}).status
            self.assertIn(status, (200, 499))
            if status == 200:
                opened.append((asked, time.monotonic()))
            refused += status == 499
        self.assertGreaterEqual(len(opened), 3)
        self.assertGreater(refused, 0)
        for (before, _), (_, after) in zip(opened, opened[1:]):
            self.assertGreaterEqual(after - before, 1)
        self.assertEqual(len(self.asked()), len(opened))

    def test_without_a_session(self):
        self.assertRefused(self.open(), 499, "DEFAULT", "no desktop session of user")
        self.session()
        self.assertRefused(self.open(), 499, "DEFAULT", "No file manager of the desktop session")
        self.assertEqual(self.instance.api("GET", "/management/agent_status"), 1)

    def test_a_file_manager_that_refuses(self):
        self.manager(self.session(), "refuse")
        self.assertRefused(self.open(), 499, "DEFAULT", "no such folder")

    def test_a_file_manager_that_does_not_answer(self):
        manager = self.manager(self.session())
        os.kill(manager.pid, signal.SIGSTOP)
        self.assertRefused(self.open(), 499, "DEFAULT", "did not answer within")
        os.kill(manager.pid, signal.SIGCONT)
        self.assertEqual(self.open().status, 200)

    def test_a_bus_of_somebody_else(self):
        self.manager(self.session())
        os.chown(self.runtime, 0, 0)
        self.addCleanup(os.chown, self.runtime, self.account.pw_uid, self.account.pw_gid)
        self.assertRefused(self.open(), 499, "DEFAULT", "no desktop session of user")
        self.assertEqual(self.asked(), [])

    def test_nothing_that_a_caller_chose(self):
        self.manager(self.session())
        for wrong in ("00000000-0000-4000-8000-000000000000", "%2Fetc", "..%2F..%2Fetc", "file:%2F%2F%2Fetc", "-h", "x.desktop"):
            reply = self.instance.request("POST", "/management/clouddrive_open/" + wrong, {})
            self.assertIn(reply.status, (400, 404), wrong)
        foreign = self.instance.request("POST", "/management/clouddrive_open/" + self.odd["id"], {}, {"Origin": "https://evil.example"})
        self.assertEqual(foreign.status, 403)
        self.assertEqual(self.asked(), [])


if __name__ == "__main__":
    unittest.main()
