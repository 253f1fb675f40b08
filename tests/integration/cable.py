"""A network of two ends whose cable can be pulled: an address in a network namespace of its own. What is sent while it is pulled is
lost without a word, and the kernel's TCP behaves as with any other network that is gone."""

import ctypes
import os
import socket
import threading

import landfall_test as lt

CLONE_NEWNET = 0x40000000


class Cable:
    """Exists from plug_in() to remove(). `address` answers while the cable is plugged in."""

    def __init__(self):
        self.name = f"lf{os.getpid() % 100000}"
        net = f"10.{200 + os.getpid() // 256 % 32}.{os.getpid() % 256}"        # another run may be beside this one, or have left its own
        self.ours, self.address = net + ".1", net + ".2"

    def ip(self, *argv):
        lt.run("ip", *argv)

    def inside(self, *argv):
        self.ip("-n", self.name, *argv)

    def lay(self):
        near, far = self.name + "a", self.name + "b"
        self.ip("netns", "add", self.name)
        self.ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        self.ip("addr", "add", self.ours + "/30", "dev", near)
        self.ip("link", "set", near, "up")
        self.inside("addr", "add", self.address + "/30", "dev", far)
        self.inside("link", "set", far, "address", "02:00:00:00:00:02", "up")
        # Nobody asks who has the address: that nobody answers would tell at once.
        self.ip("neigh", "replace", self.address, "lladdr", "02:00:00:00:00:02", "dev", near, "nud", "permanent")
        self.far = far
        return self

    def remove(self):
        self.ip("netns", "del", self.name)

    def pull(self):
        """The far end no longer takes what comes, as if it came no more."""
        self.inside("addr", "del", self.address + "/30", "dev", self.far)

    def plug_in(self):
        self.inside("addr", "add", self.address + "/30", "dev", self.far)

    def listening_socket(self):
        """At the far end, for this process."""
        found = []
        thread = threading.Thread(target=self.open_there, args=(found,))
        thread.start()
        thread.join()
        return found[0]

    def open_there(self, found):
        """By a thread that goes there and ends."""
        namespace = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace, CLONE_NEWNET) == 0:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((self.address, 0))
            found.append(s)
        os.close(namespace)
