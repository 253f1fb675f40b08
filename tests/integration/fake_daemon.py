#!/usr/bin/python3
"""Stands in for every daemon when the supervisor is tested alone. It reports what it was born with
to <control>/<name>.<pid>.json and behaves as the files in <control> say:

  <name>.exit    exit at once with the status written there
  <name>.mute    do not report readiness
  <name>.deaf    ignore SIGTERM
  <name>.store   keep a memory file with that text under the name "kept-<text>"

The one with the API's socket takes connections and closes them.
SIGUSR1: exit with 0. SIGUSR2: remove what is kept. SIGHUP: a child process sends FDSTORE=1 and WATCHDOG=trigger in our name.
"""

import array
import ctypes
import json
import os
import signal
import socket
import sys

name = os.path.basename(sys.argv[0]).removeprefix("landfall-")
settings = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
control = os.path.join(os.path.dirname(settings["RuntimeDir"]), "control")
PR_GET_PDEATHSIG, PR_GET_NO_NEW_PRIVS = 2, 39


def told(what):
    try:
        with open(os.path.join(control, f"{name}.{what}")) as f:
            return f.read()
    except FileNotFoundError:
        return None


def notify(text, fds=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        s.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def describe_fd(fd):
    try:
        s = socket.socket(fileno=os.dup(fd))
        return f"{s.family.name} {s.type.name}"
    except OSError:
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 100).decode()


def report():
    libc = ctypes.CDLL(None)
    death = ctypes.c_int()
    libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(death))
    listen = int(os.environ["LISTEN_FDS"])
    names = os.environ["LISTEN_FDNAMES"].split(":") if listen else []
    facts = {
        "uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups()), "environment": dict(os.environ), "cwd": os.getcwd(),
        "arguments": sys.argv[1:], "death_signal": death.value, "no_new_privs": libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "fds": sorted(int(f) for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}")), "pid": os.getpid(),
        "sockets": [[names[i], describe_fd(3 + i)] for i in range(listen)], "session": os.getsid(0),
    }
    path = os.path.join(control, f"{name}.{os.getpid()}.json")
    with open(path + ".new", "w") as f:
        json.dump(facts, f)
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


def stop(*_):
    if told("deaf") is None:
        with open(os.path.join(control, "all.order"), "a") as f:
            f.write(name + "\n")
        sys.exit(0)


def impostor(*_):
    if os.fork() == 0:
        notify("FDSTORE=1\nFDNAME=stolen", [0])
        notify("WATCHDOG=trigger")
        os._exit(0)
    os.wait()
    with open(os.path.join(control, f"{name}.tried"), "w") as f:
        f.write("yes")


def forget(*_):
    notify("FDSTOREREMOVE=1\nFDNAME=kept-" + told("store"))
    with open(os.path.join(control, f"{name}.removed"), "w") as f:
        f.write("yes")


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR2, forget)
signal.signal(signal.SIGHUP, impostor)
report()
if told("exit") is not None:
    print("the fake daemon was told to fail", file=sys.stderr, flush=True)
    sys.exit(int(told("exit")))
if told("store") is not None and os.environ["LISTEN_FDNAMES"].find("kept-") < 0:
    kept = os.memfd_create("kept")
    os.write(kept, told("store").encode())
    notify("FDSTORE=1\nFDNAME=kept-" + told("store"), [kept])
if told("mute") is None:
    notify("READY=1")
names = os.environ["LISTEN_FDNAMES"].split(":")
if "api" in names:
    api = socket.socket(fileno=3 + names.index("api"))
    api.setblocking(True)
    while True:
        api.accept()[0].close()
while True:
    signal.pause()
