#!/usr/bin/python3
"""/notification and /statechange against real daemons: what clients of another library are told, who is let in, and what
those hear who were away."""

import asyncio
import contextlib
import json
import os
import queue
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import unittest

import websockets

import landfall_test as lt
from drive_case import DriveCase

STRANGER = "nobody"
EXECUTED, EXIT, IGNORE = "EndpointExecution", "AppExit", 16
MEBIBYTE = 1 << 20

# Run as another user: prints the status that it gets instead of a WebSocket.
STRANGER_CLIENT = """
import asyncio, sys, websockets
async def main():
    for path in ("/notification", "/statechange"):
        try:
            await websockets.connect(f"ws://localhost:{sys.argv[1]}{path}")
        except websockets.InvalidStatusCode as e:
            print(e.status_code)
asyncio.run(main())
"""


class Listener:
    """A client in a thread of its own. What it hears is in `frames`, then None, and `code` says how it ended."""

    def __init__(self, instance, path, over_unix=False, **more):
        self.frames, self.seen, self.code = queue.SimpleQueue(), [], None
        self.uri = f"ws://localhost:{instance.info()['port']}{path}"
        self.socket_path = os.path.join(instance.dir, "run", "api.sock") if over_unix else None
        self.more = more
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.connection = None
        try:
            self.connection = self.do(self.connect())
        except BaseException:
            self.close()
            raise
        self.listening = asyncio.run_coroutine_threadsafe(self.listen(), self.loop)

    def do(self, coroutine, seconds=20):
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, seconds), self.loop).result()

    async def connect(self):
        if self.socket_path:
            return await websockets.unix_connect(self.socket_path, self.uri, **self.more)
        return await websockets.connect(self.uri, **self.more)

    async def listen(self):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self.connection:
                self.frames.put(json.loads(text))
        self.code = self.connection.close_code
        self.frames.put(None)

    def next(self, seconds=20):
        frame = self.frames.get(timeout=seconds)
        if frame is not None:
            self.seen.append(frame)
        return frame

    def until(self, wanted, seconds=60):
        """The first frame that is wanted; those before it are passed over."""
        end = time.monotonic() + seconds
        while (frame := self.next(max(0.1, end - time.monotonic()))) is not None:
            if wanted(frame):
                return frame
        raise AssertionError(f"{self.uri} ended with {self.code} instead")

    def until_called(self, address, method="POST"):
        return self.until(lambda f: f["Type"] == 4 and f["Data"]["EndpointAddress"] == address and f["Data"]["HttpMethod"] == method)

    def close(self):
        if not self.thread.is_alive():
            return
        if self.connection:
            self.do(self.connection.close())
            self.listening.result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


class Case(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        listener = Listener(cls.instance, "/statechange?since=1")
        for _ in range(2):      # that this id is nobody's, and that frontd listens to syncd now
            listener.next()
        listener.close()

    def listen(self, path, **more):
        listener = Listener(self.instance, path, **more)
        self.addCleanup(listener.close)
        return listener

    def notify(self, data="", status=200):
        reply = self.instance.request("POST", "/management/notify", {"operation": 2, "endpointAddress": "/test", "httpMethod": "PUT",
                                                                     "origion": "tests", "data": data})
        self.assertEqual(reply.status, status, reply.body)

    def refusal(self, path, **more):
        with self.assertRaises(websockets.InvalidStatusCode) as caught:
            Listener(self.instance, path, **more)
        return caught.exception


class Told(Case):
    def test_two_programs_hear_the_same_in_the_same_order(self):
        one, two = self.listen("/notification"), self.listen("/notification", over_unix=True)
        for i in range(50):
            self.notify(f"ä {i}")
        frames = [[c.until_called("/management/notify") for _ in range(50)] for c in (one, two)]
        self.assertEqual(frames[0], frames[1])
        self.assertEqual(one.seen, two.seen)
        ids = [f["Id"] for f in one.seen]
        self.assertEqual(ids, list(range(ids[0], ids[0] + 100)))
        self.assertLess(ids[-1], 1 << 53)
        self.assertEqual(one.seen[2], {"Type": 4, "Id": ids[2], "Data": {
            "Operation": EXECUTED, "EndpointAddress": "/test", "HttpMethod": "PUT", "Origin": "tests", "Data": "ä 1"}})

    def test_calls_that_change_something_are_told(self):
        listener = self.listen("/notification")
        self.folder_drive("told")
        drive = self.instance.api("GET", "/management/clouddrive")[0]
        self.instance.request("GET", f"/management/exist_clouddrive?path={drive['localPath']}")
        self.assertEqual(self.instance.request("POST", "/management/clouddrive", {"name": ""}).status, 499)
        self.assertEqual(self.instance.request("DELETE", "/management/clouddrive/none").status, 404)
        self.assertEqual(self.instance.request("DELETE", f"/management/clouddrive/{drive['id']}?force=true",
                                               headers={"X-App-Origin": "shell <1>"}).status, 200)
        last = listener.until_called(f"/management/clouddrive/{drive['id']}", "DELETE")
        self.assertEqual(last["Data"], {"Operation": EXECUTED, "EndpointAddress": f"/management/clouddrive/{drive['id']}",
                                        "HttpMethod": "DELETE", "Origin": "shell <1>"})
        self.assertEqual([(f["Data"]["HttpMethod"], f["Data"]["EndpointAddress"]) for f in listener.seen if f["Type"] == 4],
                         [("POST", "/cloud/insert_account"), ("POST", "/management/clouddrive"),
                          ("DELETE", f"/management/clouddrive/{drive['id']}")])

    def test_what_clients_say_means_nothing(self):
        listener = self.listen("/statechange")
        for text in ("hello", '{"Type":4}', b"\0\xff" * 1000):
            listener.do(listener.connection.send(text))
        listener.do(listener.do(listener.connection.ping(b"x")))
        listener.do(listener.connection.send("x" * 5000))
        self.assertIsNone(listener.next())
        self.assertEqual(listener.code, 1009)

    def test_the_end_of_the_agent_is_told(self):
        for ending in ("command", "signal"):
            with self.subTest(ending), contextlib.ExitStack() as stack:
                instance = lt.Instance().start()
                stack.callback(instance.remove)
                heard = [Listener(instance, path) for path in ("/notification", "/statechange")]
                if ending == "command":
                    instance.api("POST", "/management/command/Exit")
                    frame = heard[0].until(lambda f: f["Type"] == 4)
                    self.assertEqual(frame["Data"], {"Operation": EXIT, "EndpointAddress": "/management/command/Exit",
                                                     "HttpMethod": "POST", "Origin": ""})
                instance.stop()
                for listener in heard:
                    while listener.next() is not None:
                        pass
                    self.assertEqual(listener.code, 1000)


class Documented(Case):
    def test_the_example_of_the_readme_listens(self):
        with open(os.path.join(os.path.dirname(__file__), "..", "..", "README.md"), encoding="utf-8") as f:
            example = re.search(r"\n(    import asyncio, .*?\n)(?=\S)", f.read(), re.DOTALL).group(1)
        program = textwrap.dedent(example).replace("29123", str(self.instance.info()["port"]))
        process = subprocess.Popen(["/usr/bin/python3", "-c", program], stdout=subprocess.PIPE, stderr=sys.stderr, text=True,
                                   env=lt.clean_env())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        lt.wait_until(lambda: "path=/notification status=101" in self.instance.log("frontd"), 20, "the example's connection")
        self.notify("for the example")
        self.assertIn("'Data': 'for the example'", process.stdout.readline())
        self.instance.restart("frontd", signal.SIGKILL)
        self.assertIn("EndpointExecution", process.stdout.readline())       # of the call itself
        self.assertIn("'Kind': 'gap'", process.stdout.readline())


class Files(Case):
    def test_a_file_that_is_written_is_told_of(self):
        mount, _ = self.folder_drive("files")
        notification, statechange = self.listen("/notification"), self.listen("/statechange")
        path = os.path.join(mount, "a \u00fc.bin")
        with open(path, "wb") as f:
            f.write(b"x" * MEBIBYTE)
        change = statechange.until(lambda f: f["Path"] == path)
        self.assertEqual(set(change), {"Path", "StorageName", "State", "Id"})
        self.assertEqual(change["StorageName"], "bucket")
        statechange.until(lambda f: f["Path"] == path and f["State"] == 0)
        done = notification.until(lambda f: f["Type"] == 1 and f["Data"]["Path"] == path and f["Data"]["Status"] == "Completed")
        self.assertEqual((done["Data"]["TransferMode"], done["Data"]["Error"]), ("Upload", None))
        for name in ("StorageType", "Bytes", "Size", "Name", "StorageName", "Speed", "Duration", "TransferId", "StartTimeUtc",
                     "ProgressTimeUtc"):
            self.assertIn(name, done["Data"])


DELETING, DELETED = 8, 64


class Removals(Case):
    """That a name goes is told once, whoever takes it away, and then that the cloud has nothing of it any more."""

    arguments = ("--set", "SettleMilliseconds=100")

    def removals(self, listener, *paths):
        """What was told of removals, in order, once each of the paths is told to be gone."""
        missing = set(paths)
        while missing:
            frame = listener.until(lambda f: f["State"] == DELETED)
            missing.discard(os.path.relpath(frame["Path"], self.mount))
        return [(os.path.relpath(f["Path"], self.mount), f["State"]) for f in listener.seen if f["State"] in (DELETING, DELETED)]

    def setUp(self):
        self.mount, self.bucket = self.folder_drive(self._testMethodName[:30], syncIntervalSeconds=1)
        for name in ("file", "folder/below"):
            path = os.path.join(self.mount, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(b"x" * 100)
            self.instance.wait_uploaded(path)
        lt.wait_until(lambda: os.path.isdir(os.path.join(self.bucket, "folder")), 20, "the folder in the bucket")
        self.listener = self.listen("/statechange")

    def test_through_the_mount(self):
        os.unlink(os.path.join(self.mount, "file"))
        told = self.removals(self.listener, "file")
        self.assertEqual(told, [("file", DELETING), ("file", DELETED)])
        self.listener.seen.clear()
        os.unlink(os.path.join(self.mount, "folder", "below"))
        os.rmdir(os.path.join(self.mount, "folder"))
        told = self.removals(self.listener, "folder", "folder/below")
        self.assertEqual(told[:2], [("folder/below", DELETING), ("folder", DELETING)])
        self.assertCountEqual(told[2:], [("folder/below", DELETED), ("folder", DELETED)])

    def test_through_the_api(self):
        self.instance.api("POST", "/management/object_delete", path=os.path.join(self.mount, "file"))
        told = self.removals(self.listener, "file")
        self.assertEqual(told, [("file", DELETING), ("file", DELETED)])
        self.listener.seen.clear()
        self.instance.api("POST", "/management/object_delete", path=os.path.join(self.mount, "folder"))
        told = self.removals(self.listener, "folder", "folder/below")
        self.assertEqual(told[:2], [("folder/below", DELETING), ("folder", DELETING)])
        self.assertCountEqual(told[2:], [("folder/below", DELETED), ("folder", DELETED)])

    def test_in_the_bucket(self):
        os.listdir(self.mount), os.listdir(os.path.join(self.mount, "folder"))
        os.unlink(os.path.join(self.bucket, "file"))
        self.assertEqual(self.removals(self.listener, "file"), [("file", DELETED)])
        self.listener.seen.clear()
        shutil.rmtree(os.path.join(self.bucket, "folder"))
        told = self.removals(self.listener, "folder")       # the folder stands for what was in it, unless that was seen to go before
        self.assertIn(told, ([("folder", DELETED)], [("folder/below", DELETED), ("folder", DELETED)]))

    def test_what_the_cloud_never_had_is_gone_at_once(self):
        new = os.path.join(self.mount, "new")
        with open(new, "wb"):
            os.unlink(new)
            self.assertEqual(self.removals(self.listener, "new"), [("new", DELETED)])

    def test_what_another_takes_the_name_of_is_not_removed(self):
        os.rename(os.path.join(self.mount, "folder", "below"), os.path.join(self.mount, "file"))
        os.rmdir(os.path.join(self.mount, "folder"))
        told = self.removals(self.listener, "folder", "folder/below")
        self.assertNotIn("file", dict(told))


class Door(Case):
    arguments = ("--set", "CorsOrigins=https://app.example.org")

    def test_what_is_no_upgrade_gets_a_problem(self):
        for path in ("/notification", "/statechange"):
            reply = self.instance.request("GET", path)
            self.assertEqual(reply.status, 400)
            self.assertEqual(reply.headers["Content-Type"], "application/problem+json")
            self.assertEqual(reply.json()["status"], 400)

    def test_foreign_pages_are_refused(self):
        for path in ("/notification", "/statechange"):
            for origin in ("null", "http://evil.test", "https://app.example.org.evil.test", "http://localhost:1"):
                self.assertEqual(self.refusal(path, origin=origin).status_code, 403, origin)
            self.assertEqual(self.refusal(path, extra_headers={"Sec-Fetch-Site": "cross-site"}).status_code, 403)
            self.assertEqual(self.refusal(path, extra_headers={"Host": "evil.test"}).status_code, 421)
            for origin in ("https://app.example.org", f"http://localhost:{self.instance.info()['port']}"):
                self.listen(path, origin=origin)

    def test_other_users_are_refused(self):
        done = subprocess.run([*lt.as_user(STRANGER), "/usr/bin/python3", "-c", STRANGER_CLIENT, str(self.instance.info()["port"])],
                              stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=lt.clean_env(), timeout=60, check=True)
        self.assertEqual(done.stdout.split(), ["401", "401"])

    def test_the_document_has_both(self):
        paths = self.instance.api("GET", "/openapi.json")["paths"]
        for path in ("/notification", "/statechange"):
            self.assertIn("101", paths[path]["get"]["responses"])
            self.assertEqual(paths[path]["get"]["parameters"][0]["name"], "since")
        self.assertIn("requestBody", paths["/management/notify"]["post"])


class Away(Case):
    def test_who_comes_back_hears_what_followed(self):
        listener = self.listen("/notification")
        self.notify("first")
        first = listener.until_called("/test", "PUT")
        listener.close()
        for i in range(20):
            self.notify(str(i))
        back = self.listen(f"/notification?since={first['Id']}")
        self.assertEqual([back.until_called("/test", "PUT")["Data"]["Data"] for _ in range(20)], [str(i) for i in range(20)])
        self.assertEqual([f["Id"] for f in back.seen], list(range(first["Id"] + 1, first["Id"] + 41)))

    def test_after_a_killed_frontd_there_is_a_gap(self):
        heard = {path: self.listen(path) for path in ("/notification", "/statechange")}
        self.notify("before")
        last = heard["/notification"].until_called("/management/notify")["Id"]
        self.instance.restart("frontd", signal.SIGKILL)
        self.assertIsNone(heard["/notification"].next())
        self.assertEqual(heard["/notification"].code, 1006)
        back = self.listen(f"/notification?since={last}")
        self.notify("after")
        gap = back.next()
        self.assertEqual((gap["Type"], gap["Data"]["Kind"], "Missed" in gap["Data"]), (2, "gap", False))
        self.assertEqual(back.until_called("/test", "PUT")["Data"]["Data"], "after")
        ids = [last, *(f["Id"] for f in back.seen)]
        self.assertEqual(ids, sorted(set(ids)))
        back = self.listen(f"/statechange?since={last}")
        for _ in range(2):      # that this id is another one's, and that the new frontd listens to syncd
            gap = back.next()
            self.assertEqual((gap["Path"], gap["StorageName"], gap["State"]), ("", "", IGNORE))

    def test_a_restarted_syncd_leaves_a_gap(self):
        notification, statechange = self.listen("/notification"), self.listen("/statechange")
        self.instance.restart("syncd", signal.SIGKILL)
        gap = notification.until(lambda f: f["Type"] == 2 and f["Data"]["Kind"] == "gap")
        self.assertTrue(gap["Data"]["Text"])
        gap = statechange.until(lambda f: f["State"] == IGNORE)
        self.assertEqual(gap["Path"], "")
        self.notify("still here")
        notification.until_called("/test", "PUT")


class Many(Case):
    CLIENTS = 2000

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < self.CLIENTS + 200:
            self.skipTest("needs more descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, self.CLIENTS + 200), hard))

    def join(self, receive_buffer=None):
        port = self.instance.info()["port"]
        s = socket.socket()
        self.addCleanup(s.close)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.connect(("127.0.0.1", port))
        s.sendall(f"GET /notification HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 101 "))
        s.setblocking(False)
        return s

    def resident(self):
        with open(f"/proc/{self.instance.pid('frontd')}/status", encoding="ascii") as f:
            return int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) * 1024

    def processor_seconds(self):
        with open(f"/proc/{self.instance.pid('frontd')}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Crowd(Many):
    """2000 clients, of whom each hears 50 events a second."""

    EVENTS, RATE, BEGIN = 200, 50, b'{"Type":4'

    def tell(self):
        """Each call is two frames: its own and what it announces."""
        begin = time.monotonic()
        for i in range(self.EVENTS // 2):
            self.notify("x" * 200)
            time.sleep(max(0, begin + (i + 1) * 2 / self.RATE - time.monotonic()))

    def test_all_hear_everything(self):
        sockets = [self.join() for _ in range(self.CLIENTS)]
        counts, ends = (dict.fromkeys((s.fileno() for s in sockets), start) for start in (0, b""))
        by_fd = {s.fileno(): s for s in sockets}
        poll = select.epoll()
        for fd in counts:
            poll.register(fd, select.EPOLLIN)
        teller = threading.Thread(target=self.tell)
        begin, spent = time.monotonic(), self.processor_seconds()
        teller.start()
        while min(counts.values()) < self.EVENTS and time.monotonic() - begin < lt.patience(120):
            for fd, _ in poll.poll(1):
                data = by_fd[fd].recv(65536)
                self.assertTrue(data)
                data = ends[fd] + data
                self.assertNotIn(b'"gap"', data)
                counts[fd] += data.count(self.BEGIN)
                ends[fd] = data[1 - len(self.BEGIN):]      # what was cut within one
        teller.join()
        poll.close()
        self.assertEqual(set(counts.values()), {self.EVENTS})
        print(f"{self.CLIENTS} clients, {self.EVENTS} events in {time.monotonic() - begin:.1f} s: frontd had {self.resident() // MEBIBYTE} MiB "
              f"and took {self.processor_seconds() - spent:.1f} s of a processor", file=sys.stderr)
        self.assertLess(self.resident(), 100 * MEBIBYTE)


class Stalled(Many):
    """2000 clients that do not read, while much is told."""

    arguments = ("--set", "HttpTimeoutSeconds=5")
    NOTICES = 1500

    def test_they_cost_little_and_are_dropped(self):
        listener = self.listen("/notification")
        for _ in range(self.CLIENTS):
            self.join(receive_buffer=4096)
        data = "x" * 4096
        for i in range(self.NOTICES):
            self.notify(data)
            self.assertEqual(listener.until_called("/test", "PUT")["Data"]["Data"], data)
        self.assertLess(self.resident(), 100 * MEBIBYTE)
        lt.wait_until(lambda: self.instance.log("frontd").count("websocket_ended path=/notification code=1008") == self.CLIENTS, 60,
                      "the end of them all")
        self.assertNotIn("gap", [f["Data"].get("Kind") for f in listener.seen])
        self.notify("after")
        listener.until_called("/test", "PUT")
        print(f"{self.CLIENTS} clients that do not read: frontd had {self.resident() // MEBIBYTE} MiB", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
