#!/usr/bin/python3
"""./quickstart as a person runs it, on programs that are built already."""

import json
import os
import pwd
import signal
import subprocess
import unittest

import landfall_test as lt
from landfall_test import needs_root, wait_until

QUICKSTART = os.path.join(lt.SOURCE, "quickstart")


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.dir = lt.temporary_directory("lf-q-")
        self.addCleanup(lt.remove_tree, self.dir)
        self.addCleanup(self.stop_whatever_runs)
        self.port = lt.free_port()

    def stop_whatever_runs(self):
        try:
            lt.end_process(self.info()["pids"]["landfall"], 60)
        except FileNotFoundError:
            pass

    def argv(self, *more):
        return [QUICKSTART, "--build-dir", lt.programs(), "--dir", self.dir, "--port", str(self.port), *more]

    def quickstart(self, *more, **options):
        return lt.run(*self.argv(*more), **options)

    def info(self):
        with open(os.path.join(self.dir, "instance.json")) as f:
            return json.load(f)

    def assertNothingLeft(self, pids):
        self.assertEqual([name for name, pid in pids.items() if lt.alive(pid)], [])
        self.assertEqual(lt.mounts_below(self.dir), [])
        self.assertFalse(os.path.exists(os.path.join(self.dir, "instance.json")))
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    self.assertNotIn(self.dir.encode() + b"/", f.read(), "a process of the instance is left")
            except (FileNotFoundError, ProcessLookupError):
                continue

    def use(self, mount, user=None):
        """What the issue asks of a first drive."""
        for argv in (["cp", "-r", "/usr/share/common-licenses", f"{mount}/licenses"], ["ls", "-lR", mount],
                     ["diff", "-r", "--no-dereference", "/usr/share/common-licenses", f"{mount}/licenses"],
                     ["mv", f"{mount}/licenses", f"{mount}/moved"], ["rm", "-r", f"{mount}/moved"]):
            lt.run(*argv, user=user)


@needs_root
class AsRoot(Quickstart):
    def test_background_again_and_stop(self):
        first = self.quickstart("--background")
        info = self.info()
        mount = os.path.join(self.dir, "mnt", "first")
        self.assertEqual(info["mounts"], [{"drive": info["mounts"][0]["drive"], "mount_point": mount}])
        self.assertEqual(info["api"], f"http://localhost:{self.port}")
        self.assertEqual(info["user"], "landfall")
        for expected in (info["api"], mount, "Three things to try"):
            self.assertIn(expected, first.stdout)
        self.use(mount)
        self.use(mount, user="landfall")
        second = self.quickstart("--background")
        self.assertIn("runs in", second.stdout)
        self.assertEqual(self.info()["pids"], info["pids"])
        self.assertEqual(len(lt.mounts_below(self.dir)), 1)
        lt.run(QUICKSTART, "--stop", "--dir", self.dir)
        self.assertNothingLeft(info["pids"])
        self.assertIn("Nothing runs", lt.run(QUICKSTART, "--stop", "--dir", self.dir).stdout)

    def test_started_again_it_finds_what_was_there(self):
        self.quickstart("--background")
        mount = os.path.join(self.dir, "mnt", "first")
        with open(os.path.join(mount, "kept"), "w") as f:
            f.write("kept")
        lt.run(QUICKSTART, "--stop", "--dir", self.dir)
        self.quickstart("--background")
        with open(os.path.join(mount, "kept")) as f:
            self.assertEqual(f.read(), "kept")
        self.assertEqual(len(os.listdir(os.path.join(self.dir, "mnt"))), 1)
        lt.run(QUICKSTART, "--stop", "--dir", self.dir)

    def test_control_c(self):
        with subprocess.Popen(self.argv(), env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, start_new_session=True) as foreground:
            for line in foreground.stdout:
                if "Ctrl-C" in line:
                    break
            pids = self.info()["pids"]
            os.killpg(foreground.pid, signal.SIGINT)     # as a terminal does
            foreground.wait(60)
        self.assertNothingLeft(pids)

    def test_an_exit_through_the_api(self):
        with subprocess.Popen(self.argv(), env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, start_new_session=True) as foreground:
            for line in foreground.stdout:
                if "Ctrl-C" in line:
                    break
            pids = self.info()["pids"]
            lt.run("curl", "-sf", "-X", "POST", f"http://localhost:{self.port}/management/command/exit")
            self.assertEqual(foreground.wait(60), 0)
        self.assertNothingLeft(pids)

    def test_the_port_is_taken(self):
        import socket
        with socket.create_server(("127.0.0.1", self.port)):
            done = self.quickstart("--background", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is taken by another program", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "instance.json")))

    def test_wrong_calls(self):
        for argv, sentence in ((["--nonsense"], "is not an option"), (["--dir"], "needs a value"),
                               (["--s3-endpoint", "http://127.0.0.1:1"], "needs --bucket"),
                               (["--s3-endpoint", "http://127.0.0.1:1", "--bucket", "b"], "there are no keys")):
            done = lt.run(QUICKSTART, *argv, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(sentence, done.stderr)

    def s3_quickstart(self, *more, **env):
        server = lt.Radosgw.shared()
        return self.quickstart("--background", "--s3-endpoint", server.url, "--bucket", "lf-quickstart", "--region", server.region, *more,
                               env=lt.clean_env(**env))

    def check_bucket(self, server):
        mount = os.path.join(self.dir, "mnt", "lf-quickstart")
        with open(os.path.join(mount, "hello"), "w") as f:
            f.write("hello")
        wait_until(lambda: server.rclone("lsf", "s3:lf-quickstart").stdout.split() == ["hello"], 30, "the object in the bucket")
        lt.run("rm", os.path.join(mount, "hello"))
        wait_until(lambda: server.rclone("lsf", "s3:lf-quickstart").stdout.split() == [], 30, "the empty bucket")

    def test_a_real_bucket_with_keys_from_the_environment(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        said = self.s3_quickstart(AWS_ACCESS_KEY_ID=server.access_key, AWS_SECRET_ACCESS_KEY=server.secret_key)
        self.assertNotIn(server.secret_key, said.stdout + said.stderr)
        self.check_bucket(server)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for what in ("environ", "cmdline"):
                try:
                    with open(f"/proc/{pid}/{what}", "rb") as f:
                        self.assertNotIn(server.secret_key.encode(), f.read(), f"/proc/{pid}/{what}")
                except OSError:
                    continue
        lt.run(QUICKSTART, "--stop", "--dir", self.dir)

    def test_a_real_bucket_with_keys_from_a_file(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        keys = os.path.join(self.dir, "keys.txt")
        with open(keys, "w") as f:
            f.write(f"AWS_ACCESS_KEY_ID={server.access_key}\nAWS_SECRET_ACCESS_KEY={server.secret_key}\n")
        self.s3_quickstart("--keys-file", keys)
        self.check_bucket(server)
        lt.run(QUICKSTART, "--stop", "--dir", self.dir)

    def test_wrong_keys(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        with self.assertRaisesRegex(AssertionError, "account:") as caught:
            self.s3_quickstart(AWS_ACCESS_KEY_ID=server.access_key, AWS_SECRET_ACCESS_KEY="wrong-secret")
        self.assertNotIn("wrong-secret", str(caught.exception))


@needs_root
class WithoutRoot(Quickstart):
    """The account nobody plays the ordinary user."""

    def setUp(self):
        super().setUp()
        account = pwd.getpwnam("nobody")
        os.chown(self.dir, account.pw_uid, account.pw_gid)
        if os.stat("/dev/fuse").st_mode & 0o666 != 0o666:
            self.skipTest("/dev/fuse is closed to users here")

    def test_rootless(self):
        said = self.quickstart("--background", user="nobody")
        self.assertIn("without root every process runs as nobody", said.stdout)
        info = self.info()
        mount = os.path.join(self.dir, "mnt", "first")
        self.use(mount, user="nobody")
        for name, pid in info["pids"].items():
            self.assertEqual(os.stat(f"/proc/{pid}").st_uid in (pwd.getpwnam("nobody").pw_uid, 0), True, name)
        lt.run(QUICKSTART, "--stop", "--dir", self.dir, user="nobody")
        self.assertNothingLeft(info["pids"])


if __name__ == "__main__":
    unittest.main()
