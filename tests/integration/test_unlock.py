#!/usr/bin/python3
"""landfall-cryptd by itself: unlocked by key file, credential or a descriptor, and the change from one to another."""

import os
import signal
import socket
import subprocess
import tempfile
import unittest

import landfall_test as lt

CRYPTD = os.path.join(lt.BUILD, "landfall-cryptd")
# LISTEN_PID has to be that of the program, so it is set by what becomes it.
SHELL = 'LISTEN_PID=$$ exec "$0" "$@"'


class Unlock(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="landfall-unlock-")
        self.addCleanup(scratch.cleanup)
        self.dir = scratch.name
        self.credentials = os.path.join(self.dir, "credentials")
        os.mkdir(self.credentials, 0o700)
        os.mkdir(os.path.join(self.dir, "keys"), 0o700)

    def give(self, name, data):
        path = os.path.join(self.credentials, name)
        with open(path, "wb") as f:
            os.fchmod(f.fileno(), 0o400)
            f.write(data)
        return path

    def start(self, settings=(), **descriptors):
        """Whether it serves with these settings and descriptors; then it is ended. Else what it said."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(listener.close)
        listener.bind("\0" + os.path.join(self.dir, os.urandom(4).hex()))
        listener.listen()
        given = {"ipc": listener.fileno()}
        for name, data in descriptors.items():
            r, w = os.pipe()
            os.write(w, data)
            os.close(w)
            given[name.replace("_", "-")] = r
        sets = [f"KeyDir={self.dir}/keys", f"RuntimeDir={self.dir}", *settings]
        fds = list(given.values())

        def place():
            for i, fd in enumerate([os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]):
                os.dup2(fd, 3 + i)

        argv = ["sh", "-c", SHELL, CRYPTD, *(word for s in sets for word in ("--set", s))]
        env = lt.clean_env(LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=":".join(given), CREDENTIALS_DIRECTORY=self.credentials)
        with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, preexec_fn=place,
                              pass_fds=range(3, 3 + len(given)), text=True) as p:
            for fd in fds[1:]:
                os.close(fd)
            said = ""
            for line in p.stderr:
                said += line
                if "landfall ready" in line or " ready" in line:
                    p.send_signal(signal.SIGTERM)
            code = p.wait(20)
        return code == 0, said

    def serves(self, *args, **descriptors):
        served, said = self.start(*args, **descriptors)
        self.assertTrue(served, said)
        return said

    def refuses(self, *args, **descriptors):
        served, said = self.start(*args, **descriptors)
        self.assertFalse(served, said)
        return said

    def test_from_a_key_to_passphrases(self):
        key = self.give("root.key", os.urandom(32))
        with_key = (f"KeyFile={key}",)
        self.assertIn("key_store_made", self.serves(with_key))
        self.assertIn("key_store_rewritten", self.serves(with_key, new_passphrase=b"one\n"))
        self.assertIn("unlocked with a passphrase, and none was given", self.refuses(with_key))
        self.assertIn("not the one", self.refuses(with_key, passphrase=b"two"))
        self.serves(with_key, passphrase=b"one")
        self.give("landfall.passphrase", b"one\n")
        self.give("landfall.new-passphrase", b"two\n")
        self.assertIn("key_store_rewritten", self.serves())
        said = self.serves(passphrase=b"two")
        for secret in "one", "two":
            self.assertNotIn(f"={secret}", said)


class Supervised(unittest.TestCase):
    """`landfall run` asks for the passphrase, on a terminal or from stdin."""

    def setUp(self):
        self.instance = lt.Instance()
        self.addCleanup(self.instance.remove)

    def run_with(self, typed, *more):
        """Starts it; stdin is a pipe with these lines."""
        self.instance.stdin = subprocess.PIPE
        self.instance.spawn(*more)
        self.instance.process.stdin.write(typed.encode())
        self.instance.process.stdin.close()

    def serves(self, typed, *more):
        self.run_with(typed, *more)
        lt.wait_until(lambda: self.instance.failed_to_start() or self.instance.ready(), 60, "readiness of all daemons")

    def refuses(self, typed, *more):
        """What it said after it was started this last time."""
        before = len(self.instance.said()) if os.path.exists(os.path.join(self.instance.dir, "supervisor.out")) else 0
        self.run_with(typed, *more)
        self.assertEqual(self.instance.process.wait(60), 1)
        self.instance.stop()
        return self.instance.said()[before:] + self.instance.log("cryptd")

    def test_from_the_key_file_to_passphrases(self):
        self.instance.start()
        self.assertEqual(self.instance.stop(), 0)
        self.assertIn("are not the same", self.refuses("one\ntwo\n", "--new-passphrase"))
        self.serves("one\none\n", "--new-passphrase")
        self.instance.restart("cryptd")                       # it is handed over again
        self.assertEqual(self.instance.stop(), 0)
        self.assertIn("No passphrase was given", self.refuses(""))
        self.assertIn("not the one", self.refuses("two\n"))
        self.serves("one\n")
        self.instance.restart("cryptd")
        self.assertEqual(self.instance.stop(), 0)
        self.serves("one\ntwo\ntwo\n", "--new-passphrase")
        self.instance.restart("cryptd")
        self.assertEqual(self.instance.stop(), 0)
        self.serves("two\n")
        self.assertEqual(self.instance.stop(), 0)

    def test_a_store_that_begins_with_one(self):
        self.serves("one\none\n", "--new-passphrase")
        self.instance.restart("cryptd")
        self.assertEqual(self.instance.stop(), 0)
        self.serves("one\n")

    def test_a_terminal_does_not_show_it(self):
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        self.instance.stdin = theirs
        self.instance.spawn("--new-passphrase")
        os.close(theirs)
        for prompt in "New passphrase: ", "New passphrase, once more: ":
            lt.wait_until(lambda p=prompt: p in self.instance.said(), 20, prompt)
            os.write(ours, b"secret of mine\n")
        lt.wait_until(lambda: self.instance.failed_to_start() or self.instance.ready(), 60, "readiness of all daemons")
        os.set_blocking(ours, False)
        try:
            shown = os.read(ours, 4096)
        except BlockingIOError:
            shown = b""
        self.assertNotIn(b"secret", shown)
        self.assertNotIn("secret of mine", self.instance.said())


if __name__ == "__main__":
    unittest.main()
