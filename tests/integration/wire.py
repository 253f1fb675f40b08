"""The IPC as somebody speaks it who is none of the daemons: packets made from proto/*.proto, well-formed or not, sent as any user."""

import array
import contextlib
import grp
import os
import pwd
import re
import socket

import landfall_test as lt

MESSAGE_MAX = 128 * 1024
FDS_MAX = 4
NONE, FRONTD, SYNCD, MOUNTD, CRYPTD, WORKER = range(6)
VARINT, FIXED64, BYTES = 0, 1, 2
ENVELOPE_ID, ENVELOPE_FAILURE = 1, 3

EXTREMES = {
    "number": [0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1],
    "bool": [0, 1, 2],
    "text": [b"", b"x", b"/", b"../../../../etc/shadow", b"/etc/shadow", b"%s%n\x1b[2J\n", b"\xff\xfe", b"x" * 4096, b"/" * 30000],
}


def _read(name):
    with open(os.path.join(lt.SOURCE, *name.split("/")), encoding="utf-8") as f:
        return re.sub(r"//[^\n]*", "", f.read())


_FIELD = re.compile(r"(?:(required|optional|repeated)\s+)?([A-Za-z0-9_]+)\s+([a-z0-9_]+)\s*=\s*(\d+)\s*(?:\[[^]]*\]\s*)?;")
_MESSAGE = re.compile(r"\bmessage\s+(\w+)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")

MESSAGES = {}          # name of a message: its fields as (number, type, name, label)
for _file in ("proto/api.proto", "proto/ipc.proto"):
    for _name, _body in _MESSAGE.findall(_read(_file)):
        MESSAGES[_name] = [(int(number), kind, name, label) for label, kind, name, number in _FIELD.findall(_body)]
BODIES = {number: (name, kind) for number, kind, name, label in MESSAGES["Envelope"] if not label}      # the oneof
NUMBER_OF = {name: number for number, (name, _) in BODIES.items()}
PROTOCOL = int(re.search(r"IPC_PROTOCOL = (\d+)", _read("common/messages.h")).group(1))


def rows():
    """The message table: name to (letters of senders, of receivers, descriptors)."""
    found = re.findall(r"\{ B\(([A-Z0-9_]+)\),\s*([FSMCW |]+),\s*([FSMCW |]+),\s*(?:EVENT|B\(\w+\)),\s*(\d),\s*\d,", _read("common/messages.c"))
    return {name.lower(): (set(senders) - set(" |"), set(receivers) - set(" |"), int(fds)) for name, senders, receivers, fds in found}


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value % 2**64)
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def text(value):
    return value.encode() if isinstance(value, str) else value


def message(kind, values):
    """The message with these fields, by name; a dictionary is a message, a list is repeated."""
    out = b""
    for number, of, name, _ in MESSAGES[kind]:
        value = values.get(name)
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            if isinstance(one, dict):
                out += field(number, message(of, one))
            elif of == "fixed64":
                out += varint(number << 3 | FIXED64) + (one % 2**64).to_bytes(8, "little")
            else:
                out += field(number, one if isinstance(one, int) else text(one))
    return out


def envelope(name, values, request=0):
    number = NUMBER_OF[name]
    return field(ENVELOPE_ID, request) + field(number, message(BODIES[number][1], values))


def garbage(kind, draw, depth=0):
    """Values of every field of the message, each an extreme that draw.choice() picks."""
    values = {}
    for _, of, name, label in MESSAGES[kind]:
        if label == "optional" and draw.random() < 0.2:
            continue
        count = draw.choice([0, 1, 3]) if label == "repeated" else 1
        if of in MESSAGES:
            made = [garbage(of, draw, depth + 1) for _ in range(count if depth < 3 else 0)]
        else:
            made = [draw.choice(EXTREMES["text" if of in ("string", "bytes") else "bool" if of == "bool" else "number"]) for _ in range(count)]
        values[name] = made if label == "repeated" else made[0] if made else None
    return values


@contextlib.contextmanager
def user(name, group=None):
    """What is opened and connected meanwhile is this user's."""
    account = pwd.getpwnam(name)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(grp.getgrnam(group).gr_gid if group else account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def connect(path, name=None, group="landfall", hello=FRONTD, timeout=20):
    """A connection to an internal socket; with a Hello unless `hello` is None."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MESSAGE_MAX)
    try:
        with user(name, group) if name else contextlib.nullcontext():
            s.connect(path)
        if hello is not None:
            s.send(envelope("hello", {"protocol": PROTOCOL, "role": hello, "instance": 1}))
    except BaseException:
        s.close()
        raise
    return s


def send(s, packet, fds=()):
    s.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def receive(s):
    """One packet; its descriptors are closed. b"" at the end of the connection."""
    try:
        data, fds, _, _ = socket.recv_fds(s, MESSAGE_MAX, 2 * FDS_MAX)
    except ConnectionError:
        return b""
    for fd in fds:
        os.close(fd)
    return data


def head(packet):
    """Of an envelope: (id, number of the body; that of a failure where there is one)."""
    request = body = at = 0
    while at < len(packet):
        tag, at = _varint_at(packet, at)
        number, kind = tag >> 3, tag & 7
        value, end = _varint_at(packet, at) if kind != FIXED64 else (0, at + 8)
        at = end + (value if kind == BYTES else 0)
        if number == ENVELOPE_ID:
            request = value
        elif number == ENVELOPE_FAILURE or number in BODIES:
            body = number
    return request, body


def _varint_at(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def closed(s):
    """Whether the other side ends it, whatever it says before."""
    while True:
        if not receive(s):
            return True
