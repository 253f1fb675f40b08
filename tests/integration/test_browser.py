#!/usr/bin/python3
"""A real browser: what pages of other origins can do to the agent (nothing), and what a page of a configured origin hears.

Pages are served on a port of their own, as http://127.0.0.1 (another origin of the same site), as http://evil.test (another site) and
as http://app.test, which is in CorsOrigins. The browser takes names that end in .test for this machine; so evil.test with the agent's
port is a page that has had its name rebound."""

import asyncio
import contextlib
import http.server
import json
import os
import pwd
import queue
import shutil
import signal
import subprocess
import threading
import unittest

import websockets

import landfall_test as lt
from drive_case import SERVED, DriveCase

BROWSER = shutil.which("chromium")

# Each attack is [what it is, a function of the agent's base URL and a path in the drive that resolves to what the page could tell].
ATTACKS = r"""
const base = %(base)s, path = encodeURIComponent(%(path)s), socketBase = base.replace('http', 'ws');
const readable = async (r) => { r = await r; return r.type === 'opaque' ? 'opaque' : 'READ ' + r.status + ' ' + (await r.text()).slice(0, 40); };
const json = {'Content-Type': 'application/json'};
const element = (tag, set) => new Promise((done) => {
  const e = document.createElement(tag);
  e.onload = () => done(tag === 'iframe' ? 'framed' : 'LOADED'); e.onerror = () => done('error'); set(e); document.body.append(e);
});
const posted = (enctype, action, fields) => new Promise((done) => {
  const frame = document.createElement('iframe'); frame.name = 'f' + Math.random(); document.body.append(frame);
  const form = document.createElement('form'); Object.assign(form, {method: 'POST', action, enctype, target: frame.name});
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement('input'); input.name = name; input.value = value; form.append(input);
  }
  document.body.append(form); frame.onload = () => { if (submitted) done('framed'); }; let submitted = true; form.submit();
});
const socket = (where) => new Promise((done) => {
  const s = new WebSocket(socketBase + where); s.onopen = () => done('OPENED'); s.onerror = () => done('error');
});
const attacks = {
  'fetch status': () => readable(fetch(base + '/management/agent_status')),
  'fetch drives': () => readable(fetch(base + '/management/clouddrive', {credentials: 'include'})),
  'fetch no-cors': () => readable(fetch(base + '/management/clouddrive', {mode: 'no-cors'})),
  'fetch pause': () => readable(fetch(base + '/management/command/pause', {method: 'POST'})),
  'fetch pause as JSON': () => readable(fetch(base + '/management/command/pause', {method: 'POST', headers: json, body: '{}'})),
  'fetch pause as text': () => readable(fetch(base + '/management/command/pause', {method: 'POST', mode: 'no-cors', body: '{}'})),
  'fetch drive deletion': () => readable(fetch(base + '/management/clouddrive/%(drive)s?force=true', {method: 'DELETE'})),
  'fetch drive as text': () => readable(fetch(base + '/management/clouddrive', {method: 'POST', mode: 'no-cors', body: '{"name": "evil"}'})),
  'fetch notify': () => readable(fetch(base + '/management/notify', {method: 'POST', mode: 'no-cors', body: '{"operation": 1}'})),
  'fetch stream': () => readable(fetch(base + '/management/get_object_stream?path=' + path)),
  'fetch with a header': () => readable(fetch(base + '/management/agent_status', {headers: {'X-App-Origin': 'evil'}})),
  'request': () => new Promise((done) => { const x = new XMLHttpRequest(); x.onload = () => done('READ ' + x.status); x.onerror = () => done('error');
    x.open('GET', base + '/management/clouddrive'); x.send(); }),
  'beacon': async () => (navigator.sendBeacon(base + '/management/command/pause', '{}'), 'sent'),
  'beacon of JSON': async () => (navigator.sendBeacon(base + '/management/command/pause', new Blob(['{}'], {type: 'application/json'})), 'sent'),
  'image that makes offline': () => element('img', (e) => e.src = base + '/management/object_make_offline?path=' + path),
  'image that downloads': () => element('img', (e) => e.src = base + '/management/object_download?path=' + path),
  'image of a stream': () => element('img', (e) => e.src = base + '/management/get_object_stream?path=' + path),
  'script': () => element('script', (e) => e.src = base + '/management/clouddrive'),
  'style': () => element('link', (e) => { e.rel = 'stylesheet'; e.href = base + '/openapi.json'; }),
  'frame': () => element('iframe', (e) => e.src = base + '/management/object_make_offline?path=' + path),
  'form': () => posted('application/x-www-form-urlencoded', base + '/management/command/pause', {a: 'b'}),
  'form of text that is JSON': () => posted('text/plain', base + '/management/clouddrive', {'{"name": "evil", "x": "': '"}'}),
  'form of files': () => posted('multipart/form-data', base + '/cloud/upload_object_from_form', {storageName: 'bucket', file: 'x'}),
  'socket of notifications': () => socket('/notification'),
  'socket of states': () => socket('/statechange?since=0'),
  'events': () => new Promise((done) => { const s = new EventSource(base + '/notification'); s.onopen = () => done('OPENED'); s.onerror = () => done('error'); }),
};
const slow = (ms) => new Promise((done) => setTimeout(() => done('nothing'), ms));
(async () => {
  const told = {};
  for (const [name, attack] of Object.entries(attacks))
    told[name] = await Promise.race([attack().catch((e) => 'refused: ' + e.name), slow(4000)]);
  await fetch('/told', {method: 'POST', body: JSON.stringify(told)});
})();
"""

LISTENER = r"""
const base = %(base)s;
const tell = (what) => fetch('/told', {method: 'POST', body: JSON.stringify(what)});
let last = Promise.resolve();
for (const path of ['/notification', '/statechange']) {
  const s = new WebSocket(base.replace('http', 'ws') + path);
  s.onopen = () => last = last.then(() => tell({opened: path}));
  s.onmessage = (m) => last = last.then(() => tell({path, frame: JSON.parse(m.data)}));
  s.onclose = (c) => last = last.then(() => tell({closed: path, code: c.code}));
}
fetch(base + '/management/agent_status').then((r) => r.json()).then((status) => last = last.then(() => tell({status})));
"""


class Site:
    """Serves one page under every name and takes what it tells."""

    def __init__(self, script):
        self.told = queue.SimpleQueue()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = f"<!doctype html><meta charset=utf-8><title>page</title><body><script>{site.script}</script>".encode()
                self.send_response(200 if self.path == "/" else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page) if self.path == "/" else 0))
                self.end_headers()
                if self.path == "/":
                    self.wfile.write(page)

            def do_POST(self):
                site.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.script = script
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def browser(url):
    profile = lt.temporary_directory("lf-browser-")
    process = subprocess.Popen(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--host-resolver-rules=MAP *.test 127.0.0.1", f"--user-data-dir={profile}", "--remote-debugging-port=0", url],
        env=lt.clean_env(HOME=profile), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        lt.remove_tree(profile)


class Foreign(DriveCase):
    def setUp(self):
        if not BROWSER:
            raise unittest.SkipTest("chromium is missing")

    def attack(self, page_host, agent_host):
        """What the page at that host could tell of the agent, called by that name."""
        port = self.instance.info()["port"]
        site = Site("")
        self.addCleanup(site.close)
        site.script = ATTACKS % {"base": json.dumps(f"http://{agent_host}:{port}"), "path": json.dumps(self.path), "drive": self.drive}
        with browser(f"http://{page_host}:{site.port}/"):
            return site.told.get(timeout=300)    # attacks of which nothing comes take four seconds each

    def snapshot(self):
        explained = self.instance.api("GET", "/management/object_explain", path=self.path)
        return {
            "status": self.instance.api("GET", "/management/agent_status"), "drives": self.instance.api("GET", "/management/clouddrive"),
            "pinned": explained.get("pinned", False), "cached": explained.get("cachedBytes", 0), "mount": sorted(os.listdir(self.mount)),
            "calls": [line for line in self.instance.request("GET", "/management/audit", socket_path=self.instance.info()["api_socket"]).json()],
        }

    def test_nothing_gets_through(self):
        self.mount, bucket = self.folder_drive("attacked", syncIntervalSeconds=1)
        file = os.path.join(bucket, "secret")
        with open(file, "w") as f:
            f.write("secret" * 1000)
        account = pwd.getpwnam(SERVED)
        os.chown(file, account.pw_uid, account.pw_gid)
        self.path = os.path.join(self.mount, "secret")
        lt.wait_until(lambda: os.path.exists(self.path), 20, "the file")
        self.drive = self.instance.api("GET", "/management/clouddrive")[0]["id"]
        before = self.snapshot()
        for page_host, agent_host in (("evil.test", "localhost"), ("evil.test", "127.0.0.1"), ("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1"),
                                      ("evil.test", "evil.test")):
            with self.subTest(page=page_host, agent=agent_host):
                seen = len(self.instance.log("frontd"))
                told = self.attack(page_host, agent_host)
                print(f"page of http://{page_host}, agent as {agent_host}:")
                for name, outcome in told.items():
                    print(f"    {name}: {outcome}")
                through = {name: outcome for name, outcome in told.items() if outcome.startswith(("READ", "LOADED", "OPENED"))}
                self.assertEqual(through, {})
                statuses = {line.split(" status=")[1].split()[0] for line in self.instance.log("frontd")[seen:].splitlines() if " status=" in line}
                self.assertTrue(statuses and statuses <= {"403", "421"}, statuses)
                self.assertEqual(self.snapshot(), before)


class Configured(DriveCase):
    @classmethod
    def setUpClass(cls):
        if not BROWSER:
            raise unittest.SkipTest("chromium is missing")
        cls.site = Site("")
        cls.addClassCleanup(cls.site.close)
        cls.arguments = ("--set", f"CorsOrigins=http://app.test:{cls.site.port}")
        super().setUpClass()

    def hear(self, path, frames):
        """Frames of the path go into the list, in a thread of their own, until the connection ends."""
        async def listen():
            async with websockets.connect(f"ws://localhost:{self.instance.info()['port']}{path}") as connection:
                ready.set()
                with contextlib.suppress(websockets.ConnectionClosed):
                    async for text in connection:
                        frames.append(json.loads(text))

        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
        thread.start()
        self.assertTrue(ready.wait(20))
        return thread

    def told(self, until, seconds=60):
        """Takes what the page tells into self.page until the condition holds."""
        def holds():
            with contextlib.suppress(queue.Empty):
                while True:
                    self.page.append(self.site.told.get_nowait())
            return until()
        lt.wait_until(holds, seconds, "what the page tells")

    def test_a_browser_and_a_program_hear_the_same(self):
        mount, bucket = self.folder_drive("heard", syncIntervalSeconds=1)
        account = pwd.getpwnam(SERVED)
        os.listdir(mount)
        frames = {"/notification": [], "/statechange": []}
        self.page = []
        self.site.script = LISTENER % {"base": json.dumps(f"http://localhost:{self.instance.info()['port']}")}
        with browser(f"http://app.test:{self.site.port}/"):
            self.told(lambda: {"/notification", "/statechange"} <= {t.get("opened") for t in self.page} and {"status": 1} in self.page)
            for path, heard in frames.items():
                self.hear(path, heard)
            # through the mount
            for n in range(20):
                with open(os.path.join(mount, f"file {n}"), "wb") as f:
                    f.write(os.urandom(10_000))
            self.instance.wait_uploaded(mount)
            # in the bucket
            there = os.path.join(bucket, "from elsewhere")
            with open(there, "wb") as f:
                f.write(b"x" * 50_000)
            os.chown(there, account.pw_uid, account.pw_gid)
            lt.wait_until(lambda: "from elsewhere" in os.listdir(mount), 30, "the new file in the mount")
            os.unlink(there)
            lt.wait_until(lambda: "from elsewhere" not in os.listdir(mount), 30, "the end of the file in the mount")
            os.unlink(os.path.join(mount, "file 5"))
            # through the API
            self.instance.api("POST", "/management/object_delete", path=os.path.join(mount, "file 3"))
            self.instance.api("POST", "/management/notify", {"operation": 2, "endpointAddress": "/the/end", "httpMethod": "POST", "origion": "test"})

            def has_all(states, notes):
                at = {(s["Path"], s["State"]) for s in states}
                return all((os.path.join(mount, f"file {n}"), 4) in at and (os.path.join(mount, f"file {n}"), 0) in at for n in range(20)) and \
                    (os.path.join(mount, "from elsewhere"), 1) in at and \
                    all((os.path.join(mount, gone), 64) in at for gone in ("from elsewhere", "file 3", "file 5")) and \
                    any(f["Type"] == 4 and f["Data"]["EndpointAddress"] == "/the/end" for f in notes)

            lt.wait_until(lambda: has_all(frames["/statechange"], frames["/notification"]), 60, "all of it at the program")

            def page_frames(path):
                return [t["frame"] for t in self.page if t.get("path") == path]

            last = {path: heard[-1]["Id"] for path, heard in frames.items()}
            self.told(lambda: all(page_frames(p) and page_frames(p)[-1]["Id"] >= last[p] for p in frames))
            for path, heard in frames.items():
                first = heard[0]["Id"]
                page = [f for f in page_frames(path) if first <= f["Id"] <= last[path]]
                self.assertEqual(page, [f for f in heard if f["Id"] <= last[path]], path)
                ids = [f["Id"] for f in page]
                self.assertEqual(ids, sorted(set(ids)))
                print(f"{path}: {len(page)} frames, the same in both")
            removals = {gone: [s["State"] for s in frames["/statechange"] if s["Path"] == os.path.join(mount, gone) and s["State"] in (8, 64)]
                        for gone in ("from elsewhere", "file 3", "file 5")}
            self.assertEqual(removals, {"from elsewhere": [64], "file 3": [8, 64], "file 5": [8, 64]})
            progress = [f["Data"] for f in frames["/notification"] if f["Type"] == 1]
            self.assertEqual({p["Path"] for p in progress if p["TransferMode"] == "Upload" and p["Status"] == "Completed"},
                             {os.path.join(mount, f"file {n}") for n in range(20)})


if __name__ == "__main__":
    unittest.main()
