#!/usr/bin/python3
"""`landfall stat` and `landfall wait`: what they say about files on their way to a real server, and when they return."""

import json
import os
import re
import subprocess
import time
import unittest

import landfall_test as lt
from fault_case import FaultCase, content, read_file, write_file
from landfall_test import wait_until

MIB = 1 << 20
THERE, ERROR, USAGE, LATE = 0, 1, 2, 124


class SayingCase(FaultCase):
    arguments = ("--set", "SettleMilliseconds=50", "--set", "CloudRetries=3", "--set", "CloudConnectSeconds=2")

    def cli(self, *argv):
        """(status, stdout, stderr)"""
        done = self.instance.landfall(*argv, check=False)
        return done.returncode, done.stdout, done.stderr

    def stat(self, path):
        status, out, err = self.cli("stat", path, "--json")
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)

    def begin(self, *argv):
        p = subprocess.Popen([os.path.join(self.instance.bin, "landfall"), *argv, "--dir", self.instance.dir], env=lt.clean_env(),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(p.communicate)
        self.addCleanup(p.kill)
        return p

    def ended(self, p, seconds=30):
        out, err = p.communicate(timeout=seconds)
        return p.returncode, out, err


class Wait(SayingCase):
    def test_a_file_that_was_closed_a_moment_ago(self):
        """Each time the object is there, whole, when the command returns."""
        mount, bucket = self.s3_drive("closed")
        for n in range(5):
            data = content(self.dice, 1000 + n)
            write_file(os.path.join(mount, "f"), data)
            self.assertEqual(self.cli("wait", os.path.join(mount, "f")), (THERE, "", ""))
            self.assertEqual(self.server.s3cmd("get", f"s3://{bucket}/f", "-", text=False).stdout, data)

    def test_a_tree_with_renames_and_removals(self):
        mount, bucket = self.s3_drive("tree")
        wanted = {}
        top = os.path.join(mount, "top")
        for d in ("a", "b/c"):
            os.makedirs(os.path.join(top, d))
            for n in range(5):
                wanted[f"top/{d}/f{n}"] = content(self.dice, 500)
                write_file(os.path.join(mount, f"top/{d}/f{n}"), wanted[f"top/{d}/f{n}"])
        self.assertEqual(self.cli("wait", top), (THERE, "", ""))
        self.assertTrue(set(wanted) <= set(self.stored(bucket)))
        os.rename(os.path.join(top, "b"), os.path.join(top, "moved"))
        os.unlink(os.path.join(top, "a/f0"))
        os.rename(os.path.join(top, "a/f1"), os.path.join(top, "a/other"))
        del wanted["top/a/f0"]
        wanted["top/a/other"] = wanted.pop("top/a/f1")
        wanted = {name.replace("top/b/", "top/moved/"): data for name, data in wanted.items()}
        self.assertEqual(self.cli("wait", top), (THERE, "", ""))
        found = {name: data for name, data in self.stored(bucket).items() if not name.endswith("/") and data}
        self.assertEqual(found, wanted)

    def test_it_returns_by_itself_and_shows_progress(self):
        mount, _ = self.s3_drive("later")
        fault = self.proxy.add("refused", method="PUT")
        write_file(os.path.join(mount, "f"), b"x" * 1000)
        p = self.begin("wait", "-v", os.path.join(mount, "f"))
        line = p.stdout.readline()
        self.assertIn("1 to do. ", line)
        self.assertIsNone(p.poll())
        fault.end()
        self.assertEqual((self.ended(p)[0], self.state(os.path.join(mount, "f"))), (THERE, "clean"))

    def test_time_is_over(self):
        mount, _ = self.s3_drive("late")
        self.proxy.refuse()
        path = os.path.join(mount, "f")
        write_file(path, b"x")
        began = time.monotonic()
        status, out, err = self.cli("wait", "--timeout", "2", path)
        self.assertEqual((status, out), (LATE, ""))
        self.assertGreaterEqual(time.monotonic() - began, 1.9)
        self.assertIn(path, err)
        self.assertRegex(err, "next attempt|is being uploaded")       # or it is at it just then
        self.assertEqual(self.cli("wait", "--timeout", "0", path)[0], LATE)
        self.proxy.heal()
        self.assertEqual(self.cli("wait", "--timeout", "60", path), (THERE, "", ""))

    def test_what_does_not_pass_by_itself(self):
        """Refused by the server: said at once when it happens, and to who comes later too."""
        mount, _ = self.s3_drive("refused")
        path = os.path.join(mount, "d/f")
        os.mkdir(os.path.dirname(path))
        self.assertEqual(self.cli("wait", os.path.dirname(path))[0], THERE)
        fault = self.proxy.add("refused", method="PUT", status=403, code="AccessDenied")
        write_file(path, b"x")
        for waited in (path, os.path.dirname(path), mount):
            status, _, err = self.cli("wait", "--timeout", "60", waited)
            self.assertEqual(status, ERROR, err)
            self.assertIn("AccessDenied", err)
        fault.end()

    def test_paused(self):
        mount, _ = self.s3_drive("paused")
        path = os.path.join(mount, "f")
        fault = self.proxy.add("refused", method="PUT")
        write_file(path, b"x")
        self.instance.request("POST", "/management/command/2", b"{}", {"Content-Type": "application/json"})
        status, _, err = self.cli("wait", path)
        self.instance.request("POST", "/management/command/4", b"{}", {"Content-Type": "application/json"})
        self.assertEqual(status, ERROR)
        self.assertIn("paused", err)
        fault.end()
        self.assertEqual(self.cli("wait", path)[0], THERE)

    def test_renamed_and_removed_while_it_waits(self):
        mount, _ = self.s3_drive("moving")
        fault = self.proxy.add("refused", method="PUT")
        for name in ("a", "b"):
            write_file(os.path.join(mount, name), b"x" * 100)
        renamed, removed = (self.begin("wait", "-v", os.path.join(mount, name)) for name in ("a", "b"))
        for p in (renamed, removed):
            p.stdout.readline()
        os.rename(os.path.join(mount, "a"), os.path.join(mount, "c"))
        os.unlink(os.path.join(mount, "b"))
        status, _, err = self.ended(removed)
        self.assertEqual(status, ERROR)
        self.assertRegex(err, "It was removed meanwhile|There is no b on the drive")    # between two questions
        self.assertIsNone(renamed.poll())
        fault.end()
        self.assertEqual(self.ended(renamed)[0], THERE)
        self.assertEqual(self.state(os.path.join(mount, "c")), "clean")

    def test_daemons_are_restarted_while_it_waits(self):
        mount, _ = self.s3_drive("restarts")
        fault = self.proxy.add("refused", method="PUT")
        path = os.path.join(mount, "f")
        write_file(path, b"x" * 100)
        p = self.begin("wait", path)
        for daemon in ("frontd", "syncd"):
            self.instance.restart(daemon)
        self.assertIsNone(p.poll())
        fault.end()
        self.assertEqual(self.ended(p, 60), (THERE, "", ""))
        self.assertEqual(self.state(path), "clean")

    def test_wrong_calls(self):
        mount, _ = self.s3_drive("wrong")
        off = os.path.join(self.scratch, "off")
        write_file(off, b"")
        rows = [
            (["wait"], USAGE, "give the paths"),
            (["stat"], USAGE, "give one path"),
            (["stat", mount, mount], USAGE, "give one path"),
            (["wait", "--bad", mount], USAGE, "--bad is not an option"),
            (["wait", mount, "--timeout"], USAGE, "--timeout"),
            (["wait", "--timeout", "-1", mount], USAGE, "not a number"),
            (["wait", "--timeout", "soon", mount], USAGE, "not a number"),
            (["wait", off], ERROR, "No drive owns the path"),
            (["stat", off], ERROR, "No drive owns the path"),
            (["wait", os.path.join(mount, "nothing")], ERROR, "There is no nothing"),
            (["stat", os.path.join(mount, "nothing")], ERROR, "There is no nothing"),
            (["stat", os.path.join(os.path.dirname(mount), "no-drive/f")], ERROR, "No drive owns the path"),
            (["stat", ""], ERROR, "cannot be used"),
        ]
        for argv, status, words in rows:
            if argv[-1] == "--timeout":    # the last argument of all
                done = lt.run(os.path.join(self.instance.bin, "landfall"), "--dir", self.instance.dir, *argv, check=False)
                self.assertEqual(done.returncode, USAGE)
                continue
            got = self.cli(*argv)
            self.assertEqual(got[0], status, (argv, got))
            self.assertIn(words, got[2], argv)
        for query, status in (("", 499), ("?path=", 499), (f"?path={mount}&seconds=x", 499), (f"?path={mount}&id=-1", 200)):
            reply = self.instance.request("GET", "/management/object_wait" + query)
            self.assertEqual(reply.status, status, query)


class Stat(SayingCase):
    def test_life_of_a_file(self):
        mount, bucket = self.s3_drive("life", prefix="below/here")
        path = os.path.join(mount, "f.bin")
        fault = self.proxy.add("refused", method="PUT")
        data = content(self.dice, 300_000)
        write_file(path, data)
        dirty = self.stat(path)
        self.assertEqual({k: dirty[k] for k in ("path", "driveName", "bucketName", "type", "size", "pinned", "cachedBytes", "lacking", "nextKey")},
                         {"path": path, "driveName": "", "bucketName": bucket, "type": "file", "size": len(data), "pinned": False,
                          "cachedBytes": len(data), "lacking": ["content"], "nextKey": "below/here/f.bin"})
        self.assertNotIn("version", dirty)
        self.assertNotIn("key", dirty)
        self.assertRegex(dirty["dirtySince"], r"^20\d\d-")
        self.assertEqual(dirty["inode"], os.stat(path).st_ino)
        wait_until(lambda: re.search("(503|SlowDown).*next attempt is in", self.stat(path)["waitsFor"]), 20, "the server's refusal")
        fault.end()
        self.assertEqual(self.cli("wait", path)[0], THERE)
        clean = self.stat(path)
        self.assertEqual((clean["state"], clean["key"], clean["cloudSize"]), ("clean", "below/here/f.bin", len(data)))
        self.assertEqual(clean["version"], self.etag(bucket, "below/here/f.bin"))
        for absent in ("waitsFor", "dirtySince", "nextKey", "lacking", "conflict"):
            self.assertFalse(clean.get(absent), absent)
        status, out, _ = self.cli("stat", path)
        self.assertEqual(status, 0)
        self.assertIn("  state       clean\n", out)
        self.assertIn("  cached      300000 of 300000 bytes (100 %)\n", out)

    def etag(self, bucket, key):
        return json.loads(self.server.aws("s3api", "head-object", "--bucket", bucket, "--key", key).stdout)["ETag"].strip('"')

    def test_ranges_and_why(self):
        mount, bucket = self.s3_drive("ranges")
        size = 12 * MIB
        self.put(bucket, {"f": content(self.dice, size)})
        self.see(mount, ["f"])
        path = os.path.join(mount, "f")
        with open(path, "rb", buffering=0) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            f.seek(8 * MIB)
            f.read(4096)
            wait_until(lambda: {"open", "read"} <= {f["why"] for f in self.stat(path)["fetched"]}, 20, "what both want")
            said = self.stat(path)
        self.assertEqual(said["readers"], 1)
        self.assertLess(said["cachedBytes"], size)
        self.assertEqual(said["cachedBytes"], sum(r["end"] - r["start"] + 1 for r in said["cachedRanges"]))
        self.assertTrue(any(r["start"] <= 8 * MIB <= r["end"] for r in said["cachedRanges"]))
        fetched = {f["why"]: f["bytes"] for f in said["fetched"]}
        self.assertEqual(sum(fetched.values()), said["cachedBytes"])
        self.assertGreater(fetched["open"], 0)
        self.assertGreater(fetched["read"], 0)
        os.setxattr(path, "user.landfall.pin", b"1")
        wait_until(lambda: self.stat(path)["cachedBytes"] == size, 30, "the pinned file")
        pinned = self.stat(path)
        self.assertTrue(pinned["pinned"])
        self.assertEqual(pinned["cachedRanges"], [{"start": 0, "end": size - 1}])
        self.assertIn("pin", [f["why"] for f in pinned["fetched"]])

    def test_upload_is_seen_to_advance(self):
        """The server takes some bytes of a PUT and then no more."""
        mount, _ = self.s3_drive("advance")
        path = os.path.join(mount, "f")
        fault = self.proxy.add("silent", method="PUT")
        write_file(path, content(self.dice, 8 * MIB))
        said = wait_until(lambda: (lambda s: s if "%" in s else None)(self.stat(path).get("waitsFor", "")), 20, "an upload under way")
        self.assertRegex(said, r"^It is being uploaded: \d+ %\.$")
        fault.end()
        self.proxy.refuse()
        self.proxy.heal()
        self.assertEqual(self.cli("wait", path)[0], THERE)

    def test_no_network(self):
        mount, _ = self.s3_drive("offline")
        path = os.path.join(mount, "f")
        self.proxy.refuse()
        write_file(path, b"x")
        said = wait_until(lambda: (lambda s: s if "next attempt" in s else None)(self.stat(path).get("waitsFor", "")), 30, "what it waits for")
        self.assertRegex(said, r"The next attempt is in \d+ s\.$")
        self.proxy.heal()
        self.assertEqual(self.cli("wait", path)[0], THERE)

    def test_reader_without_a_network(self):
        """cat waits for bytes that are not here: which, since when, and that the cloud does not answer."""
        mount, bucket = self.s3_drive("reader")
        data = content(self.dice, 100_000)
        self.put(bucket, {"f": data})
        self.see(mount, ["f"])
        path = os.path.join(mount, "f")
        self.proxy.silence()
        cat = subprocess.Popen(["cat", path], env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(cat.communicate)
        self.addCleanup(cat.kill)
        said = wait_until(lambda: (lambda s: s if "reads it" in s and "does not answer" in s else None)(self.stat(path).get("waitsFor", "")), 20,
                          "what cat waits for")
        print(f"  {said}", flush=True)
        self.assertRegex(said, r"^A program that reads it waits for the bytes 0 to \d+, for \d+ s so far and \d+ s more at most\. "
                               r"They were asked for \d+ s ago, and the cloud does not answer\. .+\.$")
        self.assertIn(f"  waits for   {said[:40]}", self.cli("stat", path)[1])
        self.proxy.refuse()    # the connections that nothing comes through break
        self.proxy.heal()
        self.assertEqual((cat.communicate(timeout=30)[0], cat.returncode), (data, 0))
        self.assertFalse(self.stat(path).get("waitsFor"))

    def test_conflict(self):
        mount, bucket = self.s3_drive("conflict", syncIntervalSeconds=3600)
        path = os.path.join(mount, "f.txt")
        write_file(path, b"base")
        self.assertEqual(self.cli("wait", path)[0], THERE)
        self.put(bucket, {"f.txt": b"theirs"})
        write_file(path, b"ours")
        self.assertEqual(self.cli("wait", path)[0], THERE)
        copy = wait_until(lambda: next((n for n in os.listdir(mount) if "(conflict " in n), None), 10, "the copy")
        self.assertEqual(self.cli("wait", os.path.join(mount, copy))[0], THERE)
        said = self.stat(os.path.join(mount, copy))
        self.assertIn('Two sides changed "f.txt"', said["conflict"])
        self.assertEqual(said["state"], "clean")

    def test_directories_and_links_and_where_one_stands(self):
        mount, _ = self.s3_drive("others")
        os.mkdir(os.path.join(mount, "d"))
        os.symlink("d", os.path.join(mount, "l"))
        self.assertEqual(self.cli("wait", mount)[0], THERE)
        self.assertEqual(self.stat(mount)["type"], "directory")
        self.assertEqual(self.stat(os.path.join(mount, "l"))["type"], "symlink")
        self.assertEqual(self.stat(os.path.join(mount, "l/"))["path"], os.path.join(mount, "l"))
        os.mkdir(os.path.join(mount, "d/e"))
        link = os.path.join(self.scratch, "way")
        os.symlink(os.path.join(mount, "d"), link)
        for path in (os.path.join(link, "e"), os.path.join(mount, "d/./e/"), os.path.join(mount, "d/e/../e/.")):
            self.assertEqual(self.stat(path)["path"], os.path.join(mount, "d/e"), path)
        done = lt.run(os.path.join(self.instance.bin, "landfall"), "stat", "e", "--json", "--dir", self.instance.dir, cwd=link)
        self.assertEqual(json.loads(done.stdout)["path"], os.path.join(mount, "d/e"))


class Away(SayingCase):
    def test_no_instance(self):
        mount, _ = self.s3_drive("gone")
        path = os.path.join(mount, "f")
        write_file(path, b"x")
        self.assertEqual(self.cli("wait", path)[0], THERE)
        self.instance.stop()
        for command in ("stat", "wait"):
            status, out, err = self.cli(command, path)
            self.assertEqual((status, out), (ERROR, ""), err)
            self.assertRegex(err, r"^landfall \w+: [A-Z].*\.$")


if __name__ == "__main__":
    unittest.main()
