#!/usr/bin/python3
"""./quickstart as a person runs it, on programs that are built already."""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import time
import unittest

import landfall_test as lt
from killer import children
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

    def foreground(self):
        """As in a terminal of its own; what is said to it comes from its stdout."""
        return subprocess.Popen(self.argv(), env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, start_new_session=True)

    def until_it_runs(self, foreground):
        """Returns what it said."""
        said = ""
        for line in foreground.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        return said

    def stop(self, **options):
        return lt.run(QUICKSTART, "--stop", "--build-dir", lt.programs(), "--dir", self.dir, **options)

    def landfall(self, *argv, **options):
        return lt.run(os.path.join(lt.programs(), "landfall"), *argv, "--dir", self.dir, **options)

    def start_after_a_kill(self, **options):
        """As after a power cut, but that the mount is still in the way; then it is stopped, twice."""
        before = self.info()
        for pid in before["pids"].values():
            with contextlib.suppress(ProcessLookupError):     # it has ended with the supervisor
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(lt.alive(pid) for pid in before["pids"].values()), 10, "the end of all")
        self.quickstart("--background", **options)
        self.use(os.path.join(self.dir, "mnt", "first"), **options)
        pids = self.info()["pids"]
        self.assertIn("Stopped", self.stop(**options).stdout)
        self.assertNothingLeft(pids)
        self.assertIn("Nothing runs", self.stop(**options).stdout)

    def refused(self, sentence, *more, **options):
        """It fails with just one sentence, and nothing runs."""
        done = self.quickstart("--background", *more, check=False, **options)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(sentence, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        return done

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

    def restart_with(self, setting, user=None):
        """The same instance with a setting that quickstart does not have."""
        self.stop(user=user)
        log = open(os.path.join(self.dir, "by-hand.log"), "wb")
        self.addCleanup(log.close)
        argv = [os.path.join(self.dir, "bin", "landfall"), "run", "--dir", self.dir, "--port", str(self.port), "--set", setting]
        by_hand = subprocess.Popen([*(lt.as_user(user) if user else []), *argv], env=lt.clean_env(), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, start_new_session=True)
        self.addCleanup(by_hand.wait, 60)
        self.addCleanup(self.stop_whatever_runs)
        wait_until(lambda: self.info()["ready"] and self.info()["mounts"], 30, "the mount")

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
        self.stop()
        self.assertNothingLeft(info["pids"])
        self.assertIn("Nothing runs", self.stop().stdout)

    def test_a_private_directory_is_not_opened(self):
        os.chmod(self.dir, 0o700)
        with open(os.path.join(self.dir, "letter"), "w") as f:
            f.write("private")
        self.refused("closed to others and not empty")
        self.assertEqual(os.stat(self.dir).st_mode & 0o777, 0o700)
        os.unlink(os.path.join(self.dir, "letter"))

    def test_another_folder_is_another_account(self):
        self.quickstart("--background")
        account = pwd.getpwnam("landfall")
        other = os.path.join(self.dir, "other-cloud")
        for path in (other, os.path.join(other, "first-bucket")):
            os.mkdir(path, 0o700)
            os.chown(path, account.pw_uid, account.pw_gid)
        with open(os.path.join(other, "first-bucket", "other"), "w") as f:
            f.write("other")
        os.chown(f.name, account.pw_uid, account.pw_gid)
        self.landfall("drive", "add", "--wait", "--name", "other", "--bucket", "first-bucket", "--folder", other)
        self.assertEqual(os.listdir(os.path.join(self.dir, "mnt", "other")), ["other"])
        self.assertEqual(os.listdir(os.path.join(self.dir, "mnt", "first")), [])

    def test_again_after_all_of_it_was_killed(self):
        self.quickstart("--background")
        self.start_after_a_kill()

    def test_started_again_it_finds_what_was_there(self):
        self.quickstart("--background")
        mount = os.path.join(self.dir, "mnt", "first")
        with open(os.path.join(mount, "kept"), "w") as f:
            f.write("kept")
        self.stop()
        self.quickstart("--background")
        with open(os.path.join(mount, "kept")) as f:
            self.assertEqual(f.read(), "kept")
        self.assertEqual(len(os.listdir(os.path.join(self.dir, "mnt"))), 1)
        self.stop()

    def test_control_c(self):
        with self.foreground() as foreground:
            self.until_it_runs(foreground)
            pids = self.info()["pids"]
            os.killpg(foreground.pid, signal.SIGINT)     # as a terminal does
            foreground.wait(60)
        self.assertNothingLeft(pids)

    def test_control_c_while_it_starts(self):
        with self.foreground() as foreground:
            self.assertEqual(foreground.stdout.readline(), "Starting\n")
            os.killpg(foreground.pid, signal.SIGINT)
            self.assertEqual(foreground.wait(60), 130)
        self.assertNothingLeft({})
        self.quickstart("--background")
        self.stop()

    def test_an_exit_through_the_api(self):
        with self.foreground() as foreground:
            self.until_it_runs(foreground)
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

    def leave_a_stray_file(self):
        """Something was written below the mount point while nothing was mounted there. Returns its path."""
        self.quickstart("--background")
        self.stop()
        stray = os.path.join(self.dir, "mnt", "first", "stray")
        with open(stray, "w") as f:
            f.write("written while it was unmounted")
        return stray

    def test_a_stray_file_below_the_mount_point_is_named_and_the_rest_runs_on(self):
        stray = self.leave_a_stray_file()
        with self.foreground() as foreground:
            began = time.monotonic()
            said = self.until_it_runs(foreground)
            self.assertLess(time.monotonic() - began, lt.patience(30), "it does not wait for what cannot come")
            self.assertIn("not empty", said)
            self.assertIn("runs without this drive", said)
            pids = self.info()["pids"]
            self.assertEqual(self.names("drive")[0].split("\t")[1], "first")
            again = self.quickstart("--background", check=False)     # beside one that runs it changes nothing
            self.assertNotEqual(again.returncode, 0)
            self.assertEqual(self.info()["pids"], pids)
            os.unlink(stray)
            wait_until(lambda: lt.mounts_below(self.dir), 60, "the mount once the file is gone")
            os.killpg(foreground.pid, signal.SIGINT)
            foreground.wait(60)
        self.assertNothingLeft(pids)

    def test_a_stray_file_in_the_background_leaves_nothing_running(self):
        stray = self.leave_a_stray_file()
        began = time.monotonic()
        self.refused("not empty")
        self.assertLess(time.monotonic() - began, lt.patience(30))
        self.assertNothingLeft({})
        os.unlink(stray)
        self.quickstart("--background")
        self.stop()

    def test_a_port_that_is_none_is_told_before_anything_is_done(self):
        os.rmdir(self.dir)
        for port in ("0", "65536", "100000", "-1", "http", "80a"):
            self.refused("takes a number from 1 to 65535", "--port", port)
        self.assertFalse(os.path.exists(self.dir))

    def test_another_port_than_the_one_in_use(self):
        self.quickstart("--background")
        self.refused(f"at http://localhost:{self.port} and not at port {self.port + 1}", "--port", str(self.port + 1))
        lt.run(QUICKSTART, "--build-dir", lt.programs(), "--dir", self.dir, "--background")
        self.assertEqual(self.info()["port"], self.port)

    def test_nothing_is_made_or_run_where_another_user_could_replace_it(self):
        """DIR itself, a directory above it, a link above it, DIR as a link: the same rule for starting and stopping."""
        nobody = pwd.getpwnam("nobody").pw_uid
        for name in ("theirs", "open", "real"):
            os.mkdir(os.path.join(self.dir, name))
        os.chown(os.path.join(self.dir, "theirs"), nobody, nobody)
        os.chmod(os.path.join(self.dir, "open"), 0o777)
        os.symlink("real", os.path.join(self.dir, "link"))
        os.symlink("real", os.path.join(self.dir, "their-link"))
        os.lchown(os.path.join(self.dir, "their-link"), nobody, nobody)
        top = self.dir
        for name, sentence in (("theirs", "belongs to nobody"), ("theirs/below", "who could replace"), ("open", "chmod go-w"),
                               ("open/below/deeper", "who could replace"), ("link", "is a symbolic link"),
                               ("link/below", "is a symbolic link"), ("their-link/below", "is a symbolic link")):
            self.dir = os.path.join(top, name)
            with self.subTest(name):
                before = sorted(os.walk(top))
                self.refused(sentence)
                self.assertEqual(sorted(os.walk(top)), before, "nothing is made")
        self.dir = top

    def test_stop_believes_no_directory_that_another_user_could_replace(self):
        """Whoever writes instance.json names the process that root ends."""
        nobody = pwd.getpwnam("nobody").pw_uid
        top, self.dir = self.dir, os.path.join(self.dir, "below")
        os.mkdir(self.dir)
        bystander = subprocess.Popen(["sleep", "600"])
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        started = lt.run("awk", "{ print $22 }", f"/proc/{bystander.pid}/stat").stdout
        with open(os.path.join(self.dir, "instance.json"), "w") as f:
            json.dump({"pids": {"landfall": bystander.pid}, "started": {"landfall": int(started)}, "dir": self.dir}, f)
        for theirs in (self.dir, top):
            os.chown(theirs, nobody, -1)
            done = self.stop(check=False)
            os.chown(theirs, 0, -1)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, f"{theirs} belongs to (nobody|uid {nobody})")
            self.assertIsNone(bystander.poll())
        self.stop()
        self.assertEqual(bystander.wait(10), -signal.SIGTERM, "it would have been ended")
        os.unlink(os.path.join(self.dir, "instance.json"))
        self.dir = top

    def test_stop_waits_for_uploads(self):
        mount = os.path.join(self.dir, "mnt", "first")
        self.quickstart("--background")
        self.restart_with("SettleMilliseconds=8000")
        with open(os.path.join(mount, "late"), "w") as f:
            f.write("late")
        said = self.stop().stdout
        self.assertIn("Waiting for uploads: 1 changes", said)
        self.assertNotIn("are kept", said)
        with open(os.path.join(self.dir, "cloud", "first-bucket", "late")) as f:
            self.assertEqual(f.read(), "late")

    def test_a_second_control_c_waits_no_longer(self):
        mount = os.path.join(self.dir, "mnt", "first")
        self.quickstart("--background")
        self.restart_with("SettleMilliseconds=60000")
        with open(os.path.join(mount, "kept"), "w") as f:
            f.write("kept")
        # As `end` of quickstart calls it: with the signal ignored.
        argv = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", os.path.join(lt.programs(), "landfall"), "stop", "--dir", self.dir]
        with subprocess.Popen(argv, env=lt.clean_env(), stdout=subprocess.PIPE, text=True) as stop:
            self.assertIn("Waiting for uploads", stop.stdout.readline())
            began = time.monotonic()
            stop.send_signal(signal.SIGINT)
            self.assertIn("1 changes are not in the cloud yet. They are kept", stop.stdout.read())
            self.assertLess(time.monotonic() - began, lt.patience(30))

    def test_what_was_not_uploaded_is_kept_and_told(self):
        mount, cloud = os.path.join(self.dir, "mnt", "first"), os.path.join(self.dir, "cloud", "first-bucket")
        self.quickstart("--background")
        self.restart_with("SettleMilliseconds=20000")
        with open(os.path.join(mount, "kept"), "w") as f:
            f.write("kept")
        said = self.landfall("stop", "--wait", "1").stdout
        self.assertIn("Waiting for uploads: 1 changes", said)
        self.assertIn(f"1 changes are not in the cloud yet. They are kept in {self.dir}/state", said)
        self.assertEqual(os.listdir(cloud), [])
        self.quickstart("--background")
        wait_until(lambda: os.path.exists(os.path.join(cloud, "kept")), 60, "the upload after the next start")
        self.assertNotIn("are kept", self.stop().stdout)

    def test_stop_does_not_wait_for_what_cannot_arrive(self):
        mount, cloud = os.path.join(self.dir, "mnt", "first"), os.path.join(self.dir, "cloud", "first-bucket")
        self.quickstart("--background")
        os.chmod(cloud, 0o500)
        with open(os.path.join(mount, "refused"), "w") as f:
            f.write("kept")
        why = self.landfall("wait", mount, check=False).stderr
        self.assertIn("refused", why)
        said = self.landfall("stop", "--wait", "86400").stdout
        self.assertNotIn("Waiting for uploads", said)
        self.assertRegex(said, "1 changes are not in the cloud yet.*, once nothing holds them:\nfirst: .*refused")
        os.chmod(cloud, 0o700)
        self.quickstart("--background")
        wait_until(lambda: os.path.exists(os.path.join(cloud, "refused")), 60, "the upload after the next start")

    def test_stop_waits_for_what_comes_beside_what_cannot(self):
        mount, cloud = os.path.join(self.dir, "mnt", "first"), os.path.join(self.dir, "cloud", "first-bucket")
        self.quickstart("--background")
        self.restart_with("SettleMilliseconds=4000")
        os.mkdir(os.path.join(mount, "closed"))
        self.landfall("wait", mount)
        os.chmod(os.path.join(cloud, "closed"), 0o500)
        with open(os.path.join(mount, "closed", "refused"), "w") as f:
            f.write("kept")
        self.assertIn("refused", self.landfall("wait", mount, check=False).stderr)
        with open(os.path.join(mount, "late"), "w") as f:
            f.write("late")
        said = self.landfall("stop", "--wait", "86400").stdout
        self.assertIn("Waiting for uploads: 2 changes", said)
        self.assertRegex(said, "1 changes are not in the cloud yet.*, once nothing holds them:\nfirst: .*refused")
        self.assertTrue(os.path.exists(os.path.join(cloud, "late")))
        os.chmod(os.path.join(cloud, "closed"), 0o700)

    def test_wrong_calls(self):
        for argv, sentence in ((["--nonsense"], "is not an option"), (["--dir"], "needs a value"),
                               (["--s3-endpoint", "http://127.0.0.1:1"], "needs --bucket"),
                               (["--s3-endpoint", "http://127.0.0.1:1", "--bucket", "b"], "there are no keys")):
            done = lt.run(QUICKSTART, *argv, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(sentence, done.stderr)

    def test_an_empty_value_is_no_value(self):
        """An unset variable of the caller's must not lead to the usual place, or to where he happens to stand."""
        for argv in (["--dir", ""], ["--stop", "--dir", ""], ["--port", ""], ["--s3-endpoint", ""]):
            done = lt.run(QUICKSTART, *argv, "--build-dir", "/nonexistent", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(done.stderr, f"quickstart: {argv[-2]} needs a value, and an empty one is none.\n")
        for argv in (["install"], ["run"], ["config"], ["status"], ["stop"], ["drive", "list"], ["account", "list"]):
            with self.subTest(argv):
                done = lt.run(os.path.join(lt.programs(), "landfall"), *argv, "--dir", "", check=False, cwd=self.dir)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("--dir needs the name of a directory", done.stderr)
                self.assertEqual(os.listdir(self.dir), [])

    def test_keys_that_are_not_there_are_told_before_anything_is_done(self):
        s3 = ["--s3-endpoint", "http://127.0.0.1:1", "--bucket", "b"]
        os.rmdir(self.dir)
        self.refused("AWS_ACCESS_KEY_ID is not", *s3, env=lt.clean_env(AWS_SECRET_ACCESS_KEY="s"))
        for path in ("/tmp", self.dir + "/none"):
            self.refused(f"the keys file {path} cannot be read", *s3, "--keys-file", path)
        self.assertFalse(os.path.exists(self.dir))

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
        daemons = [pid for pid in self.info()["pids"].values() if pid]
        workers = [pid for daemon in daemons for pid in children(daemon)]
        self.assertGreater(len(workers), 0)
        for pid in {*daemons, *workers}:
            for what in ("environ", "cmdline"):
                with open(f"/proc/{pid}/{what}", "rb") as f:
                    self.assertNotIn(server.secret_key.encode(), f.read(), f"/proc/{pid}/{what}")
        self.stop()

    def test_a_real_bucket_with_keys_from_a_file(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        keys = os.path.join(self.dir, "keys.txt")
        with open(keys, "w") as f:
            f.write(f"AWS_ACCESS_KEY_ID={server.access_key}\nAWS_SECRET_ACCESS_KEY={server.secret_key}\n")
        self.s3_quickstart("--keys-file", keys)
        self.check_bucket(server)
        self.stop()

    def names(self, what):
        return self.landfall(what, "list").stdout.splitlines()

    def s3_argv(self, server, bucket, **keys):
        path = os.path.join(self.dir, "keys.txt")
        with open(path, "w") as f:
            f.write(f"AWS_ACCESS_KEY_ID={keys.get('access', server.access_key)}\nAWS_SECRET_ACCESS_KEY={keys.get('secret', server.secret_key)}\n")
        return ["--s3-endpoint", server.url, "--bucket", bucket, "--region", server.region, "--keys-file", path]

    def test_wrong_keys(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        done = self.refused("The account was not accepted", *self.s3_argv(server, "lf-quickstart", secret="wrong-secret"))
        self.assertNotIn("wrong-secret", done.stdout + done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "instance.json")))
        self.quickstart("--background")
        self.refused("The account was not accepted", *self.s3_argv(server, "lf-quickstart", secret="wrong-secret"))
        self.assertEqual(len(self.names("account")), 1, "the local folder's")

    def test_keys_are_tried_although_the_endpoint_is_known(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        server.make_bucket("lf-quickstart-2")
        self.quickstart("--background", *self.s3_argv(server, "lf-quickstart"))
        accounts = self.names("account")
        for bucket in ("lf-quickstart", "lf-quickstart-2"):
            self.refused("landfall drive: ", *self.s3_argv(server, bucket, secret="wrong-secret"))
        self.quickstart("--background", *self.s3_argv(server, "lf-quickstart"))
        self.quickstart("--background", *self.s3_argv(server, "lf-quickstart-2"))
        self.assertEqual(self.names("account"), accounts, "the same keys are the same account")
        self.assertEqual(len(self.names("drive")), 2)

    def test_other_keys_at_the_same_endpoint_are_another_account(self):
        server = lt.Radosgw.shared()
        server.make_bucket("lf-quickstart")
        other = server.make_user("other")
        server.make_bucket_of(other, "lf-quickstart-other")
        self.quickstart("--background", *self.s3_argv(server, "lf-quickstart"))
        keys = {"access": other[0], "secret": other[1]}
        self.refused("with other keys", *self.s3_argv(server, "lf-quickstart", **keys))
        before = self.names("account")
        self.assertEqual(len(before), 1, "nothing is left of the other account")
        self.quickstart("--background", *self.s3_argv(server, "lf-quickstart-other", **keys))
        self.assertEqual(len(self.names("account")), 2)
        account = next(line.split("\t")[1] for line in self.names("account") if line not in before)
        done = self.landfall("account", "remove", "--name", account, check=False)
        self.assertIn("used by the drive lf-quickstart-other", done.stderr)
        self.landfall("drive", "remove", "--name", "lf-quickstart-other")
        self.landfall("account", "remove", "--name", account)
        self.assertEqual(len(self.names("account")), 1)

    def test_a_bucket_that_is_not_there_leaves_no_account(self):
        server = lt.Radosgw.shared()
        self.quickstart("--background")
        self.refused("no-such-bucket-here", *self.s3_argv(server, "no-such-bucket-here"))
        self.assertEqual([line.split("\t")[1].split(" ")[0] for line in self.names("account")], ["cloud"])
        self.assertEqual([line.split("\t")[1] for line in self.names("drive")], ["first"])

    def test_an_endpoint_that_does_not_answer(self):
        self.refused("landfall drive:", "--s3-endpoint", f"http://127.0.0.1:{lt.free_port()}", "--bucket", "lf-quickstart",
                     env=lt.clean_env(AWS_ACCESS_KEY_ID="A", AWS_SECRET_ACCESS_KEY="S"))
        self.assertEqual(lt.mounts_below(self.dir), [])
        self.assertFalse(os.path.exists(os.path.join(self.dir, "instance.json")))


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
        self.assertIn("without root every process runs as nobody instead of five accounts", said.stdout)
        info = self.info()
        self.assertEqual(set(info["users"].values()), {"nobody"})
        # Just what the note says is missing.
        self.assertEqual(len(lt.run("cat", os.path.join(self.dir, "root.key"), user="nobody", text=False).stdout), 32)
        self.assertIn("no_filter", lt.run("cat", os.path.join(self.dir, "log", "mountd.log"), user="nobody").stdout)
        mount = os.path.join(self.dir, "mnt", "first")
        self.use(mount, user="nobody")
        for name, pid in info["pids"].items():
            with open(f"/proc/{pid}/status") as f:
                uids = next(line.split()[1:] for line in f if line.startswith("Uid:"))
            self.assertEqual(set(uids), {str(pwd.getpwnam("nobody").pw_uid)}, name)
        self.stop(user="nobody")
        self.assertNothingLeft(info["pids"])

    def test_its_usual_place_lies_in_a_hidden_folder(self):
        self.dir = os.path.join(self.dir, ".local", "share", "landfall-quickstart")
        self.quickstart("--background", user="nobody")
        lt.run("sh", "-c", f"echo there >{self.dir}/mnt/first/file", user="nobody")
        self.stop(user="nobody")
        self.quickstart("--background", user="nobody")
        self.assertEqual(lt.run("cat", f"{self.dir}/mnt/first/file", user="nobody").stdout, "there\n")
        os.makedirs(os.path.join(self.dir, "other", "bucket"))
        done = self.landfall("drive", "add", "--name", "other", "--bucket", "bucket", "--folder", os.path.join(self.dir, "other"),
                             check=False, user="nobody")
        self.assertIn("lies in the hidden folder .local", done.stderr)

    def test_again_after_all_of_it_was_killed(self):
        self.quickstart("--background", user="nobody")
        self.start_after_a_kill(user="nobody")

    def test_a_port_is_refused_and_uploads_are_waited_for(self):
        """What root's start and stop do, an ordinary user's do too."""
        self.refused("takes a number", "--port", "0", user="nobody")
        self.quickstart("--background", user="nobody")
        self.restart_with("SettleMilliseconds=8000", user="nobody")
        lt.run("sh", "-c", f"echo late >{self.dir}/mnt/first/late", user="nobody")
        self.assertIn("Waiting for uploads: 1 changes", self.stop(user="nobody").stdout)
        with open(os.path.join(self.dir, "cloud", "first-bucket", "late")) as f:
            self.assertEqual(f.read(), "late\n")

    def test_a_place_that_cannot_be_written(self):
        self.dir = os.path.join(self.dir, "below")
        os.mkdir(self.dir)
        self.refused("belongs to root (uid 0), not to you", user="nobody")
        top, self.dir = self.dir, os.path.join(self.dir, "deeper")
        self.refused("cannot be made: Permission denied", user="nobody")
        self.dir = os.path.dirname(top)


if __name__ == "__main__":
    unittest.main()
