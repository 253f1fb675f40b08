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


if __name__ == "__main__":
    unittest.main()
