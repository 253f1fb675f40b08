#!/usr/bin/python3
"""The examples of docs/API.md, as they stand there: each is run against a real agent and a drive on radosgw, for what it prints and
for what it changes. The last one in JavaScript is run by a browser."""

import functools
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase
from landfall_test import wait_until
from raw_s3 import RawS3
from test_browser import BROWSER, Site, browser

PAGE = os.path.join(lt.SOURCE, "docs", "API.md")
TASKS = ("status", "account", "drive", "list", "offline", "stream", "delete", "share", "upload", "listen")
LANGUAGES = ("sh", "python", "js")
NODE = shutil.which("node", path=lt.clean_env()["PATH"])
PROGRAMS = {"sh": ["/bin/sh"], "python": ["/usr/bin/python3", "-B"], "js": [NODE]}
SUFFIX = {"sh": ".sh", "python": ".py", "js": ".mjs"}
ADDRESS = "http://localhost:29123"
BODY = b"Hello World, and what follows."
TOLD = {"Operation": "EndpointExecution", "EndpointAddress": "/of/the/example", "HttpMethod": "PUT", "Origin": "examples", "Data": "ä"}

# Around the example: what it shows goes to whoever serves the page.
IN_PAGE = """
console.log = (...what) => fetch('/told', {method: 'POST', body: JSON.stringify(what.join(' '))});
%s
socket.onopen = () => console.log('open');
"""


def examples():
    """(task, language) to the text of the block."""
    with open(PAGE, encoding="utf-8") as f:
        found = re.findall(r"^```(\w+) task=(\w+)\n(.*?)^```$", f.read(), re.MULTILINE | re.DOTALL)
    blocks = {(task, language): text for language, task, text in found}
    assert len(blocks) == len(found), "a task is shown twice in one language"
    return blocks


def in_each_language(test):
    @functools.wraps(test)
    def run(self):
        for language in LANGUAGES:
            with self.subTest(language):
                test(self, language)
    return run


class Examples(DriveCase):
    @classmethod
    def setUpClass(cls):
        if not NODE:
            raise unittest.SkipTest("node is not installed")
        cls.site = Site("")
        cls.addClassCleanup(cls.site.close)
        cls.arguments = ("--set", f"CorsOrigins=http://app.test:{cls.site.port}", "--set", "SettleMilliseconds=50")
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.blocks = examples()
        cls.account = cls.instance.add_s3_account(cls.server, name="of the tests")
        cls.s3 = RawS3(cls.server, cls.server.make_bucket("lf-examples"))
        cls.mount = cls.instance.add_drive(cls.account, "lf-examples", name="examples", syncIntervalSeconds=1)["localPath"]

    def prepare(self, task, language, **more):
        """The command of an example, and its environment."""
        path = os.path.join(self.scratch, task + SUFFIX[language])
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.blocks[task, language])
        env = lt.clean_env(API=f"http://localhost:{self.instance.info()['port']}", **more)
        return [*PROGRAMS[language], path], env

    def run_one(self, task, language, **more):
        argv, env = self.prepare(task, language, **more)
        return lt.run(*argv, env=env, timeout=120).stdout

    def put(self, key, body=BODY):
        """Into the bucket; returns its path in the drive when it is there."""
        self.s3.put(key, body)
        path = os.path.join(self.mount, key)
        wait_until(lambda: os.path.exists(path), 30, path)
        return path

    def test_every_task_is_there_in_every_language(self):
        self.assertEqual(sorted(self.blocks), sorted((task, language) for task in TASKS for language in LANGUAGES))
        for (task, language), text in self.blocks.items():
            self.assertEqual(text.count(ADDRESS), 1, (task, language))

    def test_the_problem_is_what_is_answered(self):
        with open(PAGE, encoding="utf-8") as f:
            path, shown = re.search(r"`GET (/\S+)`:\n\n```json\n(.*?)\n```", f.read(), re.DOTALL).groups()
        reply = self.instance.request("GET", path)
        self.assertEqual(reply.json(), json.loads(shown))
        self.assertEqual((reply.status, reply.headers["error-code"]), (reply.json()["status"], reply.json()["type"]))
        self.assertEqual(reply.headers["Content-Type"], "application/problem+json")

    def test_settings_have_these_defaults(self):
        with open(PAGE, encoding="utf-8") as f:
            rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \| ([^|]+) \|$", f.read().partition("**Limits**")[2], re.MULTILINE)
        shown = {key: size for keys, sizes in rows for key, size in zip(re.findall(r"`(\w+)`", keys), sizes.split(", "), strict=True)}
        factors = {"": 1, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
        defaults = {line.split()[0]: line.split()[2] for line in lt.run(os.path.join(self.instance.bin, "landfall"), "config").stdout.splitlines()
                    if " NUMBER " in line}
        self.assertGreater(len(shown), 10)
        for key, size in shown.items():
            number, _, unit = size.partition(" ")
            self.assertEqual(int(defaults[key]), int(number) * factors[unit], key)

    @in_each_language
    def test_status(self, language):
        self.assertEqual(self.run_one("status", language).strip(), "1")

    @in_each_language
    def test_account(self, language):
        keys = {"SERVICE_URL": self.server.url, "ACCESS_KEY": self.server.access_key, "SECRET_KEY": self.server.secret_key}
        said = self.run_one("account", language, **keys).strip()
        identity = json.loads(said)["id"] if language == "sh" else said
        stored = self.instance.api("GET", "/cloud/account", id=identity)
        self.assertEqual((stored["name"], stored["serviceUrl"], stored["secretKey"]), ("Mine", self.server.url, "****"))
        buckets = self.instance.api("POST", "/cloud/list_buckets", {"id": identity})["data"]
        self.assertIn("lf-examples", [b["name"] for b in buckets])
        self.assertIs(self.instance.api("DELETE", "/cloud/delete", id=identity), True)

    @in_each_language
    def test_drive(self, language):
        bucket = self.server.make_bucket("lf-examples-" + language)
        RawS3(self.server, bucket).put("there", BODY)
        said = self.run_one("drive", language, NAME="by " + language, BUCKET=bucket, ACCOUNT=self.account["id"]).strip()
        mount = json.loads(said)["localPath"] if language == "sh" else said
        self.assertEqual(os.path.basename(mount), "by " + language)
        self.instance.wait_mounted(mount)
        with open(os.path.join(mount, "there"), "rb") as f:
            self.assertEqual(f.read(), BODY)

    @in_each_language
    def test_list(self, language):
        self.put(f"list ü {language}/a&b")
        folder = os.path.join(self.mount, f"list ü {language}")
        path = os.path.join(folder, "a&b")
        said = self.run_one("list", language, FOLDER=folder)
        listed = [(o["state"], o["size"], o["path"]) for o in json.loads(said)] if language == "sh" else \
            [(int(state), int(size), name) for state, size, name in (line.split(" ", 2) for line in said.splitlines())]
        self.assertEqual(listed, [(0, len(BODY), path)])

    @in_each_language
    def test_offline(self, language):
        path = self.put(f"offline {language}/deep/file", os.urandom(3 << 20))
        folder = os.path.join(self.mount, f"offline {language}")
        explained = self.instance.api("GET", "/management/object_explain", path=path)
        self.assertEqual((explained.get("pinned", False), explained.get("cachedBytes", 0)), (False, 0))
        self.assertEqual(self.run_one("offline", language, FOLDER=folder).strip(), f"all of {folder} is here")
        explained = self.instance.api("GET", "/management/object_explain", path=path)
        self.assertEqual((explained["pinned"], explained["cachedBytes"]), (True, 3 << 20))

    @in_each_language
    def test_stream(self, language):
        body = BODY + os.urandom(3 << 20)
        path = self.put(f"stream {language}/a file+ü", body)
        target = os.path.join(self.scratch, "streamed by " + language)
        self.assertEqual(self.run_one("stream", language, FILE=path, TARGET=target), "World")
        with open(target, "rb") as f:
            self.assertEqual(f.read(), body)

    @in_each_language
    def test_delete(self, language):
        path, stays = self.put(f"delete {language}/gone"), self.put(f"delete {language}/stays")
        self.assertEqual(self.run_one("delete", language, FILE=path).strip(), "deleted")
        self.assertEqual(os.listdir(os.path.dirname(path)), [os.path.basename(stays)])
        wait_until(lambda: self.s3.get(os.path.relpath(path, self.mount)) is None, 30, "the bucket to follow")
        self.assertEqual(self.s3.get(os.path.relpath(stays, self.mount)), BODY)

    @in_each_language
    def test_share(self, language):
        self.s3.put("share/a file+ü", BODY)
        said = self.run_one("share", language, ACCOUNT=self.account["id"], BUCKET="lf-examples", KEY="share/a file+ü").strip()
        url = json.loads(said) if language == "sh" else said
        self.assertIn("X-Amz-Expires=3600", url)
        self.assertEqual(lt.run("curl", "-sf", url, text=False).stdout, BODY)

    @in_each_language
    def test_upload(self, language):
        folder = os.path.join(self.instance.dir, "to upload by " + language)
        os.mkdir(folder, 0o700)
        shutil.chown(folder, SERVED, SERVED)
        path, body = os.path.join(folder, "by " + language), os.urandom(20 << 20)
        with open(path, "wb") as f:
            f.write(body)
        shutil.chown(path, SERVED, SERVED)
        last = self.run_one("upload", language, ACCOUNT=self.account["id"], BUCKET="lf-examples", FOLDER="/up/load",
                            FILE=path).splitlines()[-1]
        self.assertEqual(json.loads(last)["status"] if language == "sh" else last.strip(), "completed")
        self.assertTrue(self.s3.get("up/load/by " + language) == body)

    # --- listening -----------------------------------------------------------------------------

    def notify(self):
        self.instance.api("POST", "/management/notify", {"operation": 2, "endpointAddress": TOLD["EndpointAddress"],
                                                         "httpMethod": TOLD["HttpMethod"], "origion": TOLD["Origin"], "data": TOLD["Data"]})

    def connected(self):
        return self.instance.log("frontd").count("path=/notification status=101")

    def listener(self, language, **more):
        """The example, when it is connected."""
        argv, env = self.prepare("listen", language, **more)
        before = self.connected()
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: self.connected() > before, 20, "the example's connection")
        return process

    def test_listen_in_the_shell(self):
        process = self.listener("sh", SECONDS_TO_LISTEN=f"{min(lt.patience(4), 10):.0f}")
        self.notify()
        frames = [json.loads(line) for line in process.communicate(timeout=60)[0].splitlines()]
        self.assertIn((4, TOLD), [(f["Type"], f["Data"]) for f in frames])

    def test_listen_in_python(self):
        process = self.listener("python")
        self.notify()
        kind, told = process.stdout.readline().split(" ", 1)
        self.assertEqual((int(kind), json.loads(told)), (4, TOLD))

    @unittest.skipUnless(BROWSER, "chromium is missing")
    def test_listen_in_a_page(self):
        block = self.blocks["listen", "js"].replace(ADDRESS, f"http://localhost:{self.instance.info()['port']}", 1)
        self.site.script = IN_PAGE % block
        with browser(f"http://app.test:{self.site.port}/"):
            self.assertEqual(self.site.told.get(timeout=60), "open")
            self.notify()
            try:
                while (told := self.site.told.get(timeout=60)) != "4 " + json.dumps(TOLD, ensure_ascii=False, separators=(",", ":")):
                    pass
            except queue.Empty:
                self.fail(f"the page did not tell of the call but {told}")


if __name__ == "__main__":
    unittest.main()
