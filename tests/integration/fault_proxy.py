"""A network that fails when it is told to: a TCP proxy that understands as much of HTTP/1.1 as it takes to break one exchange
at a chosen place and leave the others alone.

It stands between syncd and a real server, in a thread of its own, and passes everything on as it came, the Host header too, which
the signature covers. What is broken says a list of faults; the first that matches a request is what happens to it. The network as a
whole can be refused or silent. It must not know S3 beyond the form of an error.
"""

import asyncio
import collections
import collections.abc
import contextlib
import dataclasses
import email.utils
import http
import math
import random
import re
import socket
import struct
import threading
import time
import types

import landfall_test as lt

PIECE = 64 << 10
HEAD_MAX = 256 << 10
ESTABLISHED = 1                # linux/tcp.h
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'


@dataclasses.dataclass
class Fault:
    """One way to fail. `at` counts the bytes that still pass, head included; None: somewhere, as the dice say."""

    kind: str                  # a row of KINDS
    method: str = ".*"         # regular expressions: of the whole method,
    target: str = ""           # and of a part of path and query
    count: float = math.inf    # so many requests, then no more
    at: int | None = None
    seconds: float = 0         # of a delay, or by which a date is off
    status: int = 503
    code: str = "SlowDown"
    headers: tuple = ()        # of the refusal
    performed: bool = False    # the server does it, but nobody hears of that
    when: collections.abc.Callable = lambda request: True     # and of what else the request is
    hits: int = 0

    def end(self):
        self.count = 0

    def matches(self, request):
        return (self.hits < self.count and re.fullmatch(self.method, request.method) and
                re.search(self.target, request.target) and self.when(request))


class Cut(Exception):
    """The connection breaks here."""


class Silence(Exception):
    """Nothing gets through any more."""


class Message:
    """The head of a request or a response as it stands, and how long its body is."""

    def __init__(self, head):
        self.head = head
        lines = head.decode("latin-1").split("\r\n")
        self.start = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.length = int(self.headers.get("content-length", "0"))
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"

    method = property(lambda self: self.start[0])
    target = property(lambda self: self.start[1])
    status = property(lambda self: int(self.start[1]))

    def replace(self, name, value):
        pattern = rb"(?im)^(" + name.encode() + rb":)[^\r\n]*"
        return Message(re.sub(pattern, rb"\1 " + value.encode(), self.head))


async def read_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return Message(head)


async def body_of(message, reader, bodiless=False):
    """The bytes of a body as they come, framing and all."""
    if bodiless:
        return
    if message.chunked:
        async for piece in chunks_of(reader):
            yield piece
        return
    left = message.length
    while left:
        piece = await reader.read(min(PIECE, left))
        if not piece:
            raise Cut
        left -= len(piece)
        yield piece


async def chunks_of(reader):
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        yield line + await reader.readexactly(size + 2)
        if size == 0:
            return


def reset(writer):
    """Closes at once with RST: what is lost is lost, and no port is left waiting."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Pipe:
    """Writes on, up to a number of bytes; with the last of them the connection breaks."""

    def __init__(self, writer, proxy, limit=None):
        self.writer, self.proxy, self.left = writer, proxy, limit

    async def send(self, data):
        await self.proxy.passable()
        if self.proxy.rate:
            await asyncio.sleep(len(data) / self.proxy.rate)
        if self.left is not None and len(data) >= self.left:
            self.writer.write(data[:self.left])
            await self.writer.drain()
            raise Cut
        if self.left is not None:
            self.left -= len(data)
        self.writer.write(data)
        await self.writer.drain()


class Exchange:
    """One request of a client until its answer has been passed on, or has not."""

    def __init__(self, proxy, request, reader, writer):
        self.proxy, self.request, self.reader, self.writer = proxy, request, reader, writer

    @contextlib.asynccontextmanager
    async def server(self):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.server_port, limit=HEAD_MAX)
        except OSError as e:
            raise Cut from e
        try:
            yield reader, writer
        finally:
            reset(writer)

    def bodiless(self, response):
        return self.request.method == "HEAD" or response.status in (204, 304) or response.status < 200

    @contextlib.asynccontextmanager
    async def forward(self, limit=None, edit=lambda piece, at: piece):
        """The request to the server; gives what the answer is read from."""
        at = 0
        async with self.server() as (reader, writer):
            pipe = Pipe(writer, self.proxy, limit)
            await pipe.send(self.request.head)
            async for piece in body_of(self.request, self.reader):
                await pipe.send(edit(piece, at))
                at += len(piece)
                self.proxy.up += len(piece)
            yield reader

    async def back(self, reader, limit=None, edit=lambda response: response, spoil=lambda piece: piece):
        response = edit(await read_head(reader))
        size = len(response.head) + (0 if self.bodiless(response) else response.length)
        pipe = Pipe(self.writer, self.proxy, limit(response, size) if limit else None)
        self.proxy.note(self.request, response.status)
        await pipe.send(response.head)
        async for piece in body_of(response, reader, self.bodiless(response)):
            await pipe.send(spoil(piece))
            self.proxy.down += len(piece)

    async def swallow(self, reader):
        """An answer that nobody gets."""
        response = await read_head(reader)
        async for _ in body_of(response, reader, self.bodiless(response)):
            pass
        return response

    async def whole(self):
        return b"".join([piece async for piece in body_of(self.request, self.reader)])

    async def answer(self, fault):
        body = ERROR.format(code=fault.code, text="told to fail").encode() if fault.code else b""
        date = email.utils.formatdate(time.time() + fault.seconds, usegmt=True)
        head = [f"HTTP/1.1 {fault.status} {http.HTTPStatus(fault.status).phrase}", "Content-Type: application/xml",
                f"Content-Length: {len(body)}", f"Date: {date}", *fault.headers]
        self.writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + (b"" if self.request.method == "HEAD" else body))
        await self.writer.drain()


# --- what may happen to a request ----------------------------------------------------------------

async def passed(x, fault):
    async with x.forward() as reader:
        await x.back(reader)


async def cut_request(x, fault):
    size = len(x.request.head) + x.request.length
    limit = x.proxy.dice.randrange(1, size + 1) if fault.at is None else fault.at
    async with x.forward(limit) as reader:   # all of it went out, but the client does not hear what came of it
        await x.swallow(reader)
        raise Cut


async def cut_response(x, fault):
    def limit(response, size):
        return x.proxy.dice.randrange(1, size + 1) if fault.at is None else fault.at

    async with x.forward() as reader:
        await x.back(reader, limit)
    raise Cut


async def truncated(x, fault):
    """The head says how long it is, and then less comes."""
    def limit(response, size):
        return size - x.proxy.dice.randrange(1, max(2, size - len(response.head)))

    async with x.forward() as reader:
        await x.back(reader, limit)
    raise Cut


async def no_answer(x, fault):
    """The server has done it, and the connection breaks before it can say so."""
    async with x.forward() as reader:
        await x.swallow(reader)
        raise Cut


async def delayed(x, fault):
    async with x.forward() as reader:
        await asyncio.sleep(fault.seconds)
        await x.back(reader)


async def refused(x, fault):
    if fault.performed:
        async with x.forward() as reader:
            await x.swallow(reader)
    else:
        await x.whole()
    await x.answer(fault)


async def wrong_etag(x, fault):
    async with x.forward() as reader:
        await x.back(reader, edit=lambda response: response.replace("ETag", '"' + "0" * 32 + '"'))


async def corrupted(x, fault):
    """One byte of the request's body is another one when it arrives."""
    wrong = x.proxy.dice.randrange(max(1, x.request.length))

    def edit(piece, at):
        if not at <= wrong < at + len(piece):
            return piece
        return piece[:wrong - at] + bytes([piece[wrong - at] ^ 1]) + piece[wrong - at + 1:]

    async with x.forward(edit=edit) as reader:
        await x.back(reader)


async def corrupt_response(x, fault):
    """One byte of each piece of the response's body is another one when it arrives."""
    def spoil(piece):
        wrong = x.proxy.dice.randrange(len(piece))
        return piece[:wrong] + bytes([piece[wrong] ^ x.proxy.dice.randrange(1, 256)]) + piece[wrong + 1:]

    async with x.forward() as reader:
        await x.back(reader, spoil=spoil)


async def silent(x, fault):
    await x.proxy.until_hung_up(x.reader)
    raise Cut


async def held(x, fault):
    """It comes no further before the fault ends; not at all when its client is gone by then."""
    while fault.count:
        await asyncio.sleep(0.02)
    if x.writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED:
        raise Cut
    await passed(x, fault)


async def duplicated(x, fault):
    """The server gets it twice; the client hears what it said to the second."""
    request = x.request.head + await x.whole()
    for last in (False, True):
        async with x.server() as (reader, writer):
            writer.write(request)
            await writer.drain()
            if last:
                await x.back(reader)
            else:
                await x.swallow(reader)


KINDS = {
    "cut_request": cut_request, "cut_response": cut_response, "truncated": truncated, "no_answer": no_answer, "delayed": delayed,
    "refused": refused, "wrong_etag": wrong_etag, "corrupted": corrupted, "corrupt_response": corrupt_response, "silent": silent,
    "duplicated": duplicated, "held": held,
}


# --- the proxy --------------------------------------------------------------------------------------

class FaultProxy:
    """Runs from start() to stop(). Faults come with add() and go with clear(), or by themselves when their count is reached."""

    def __init__(self, server_port, seed=0, cable=None):
        self.server_port = server_port
        self.cable = cable                         # it answers at its far end
        self.dice = random.Random(seed)
        self.faults = []
        self.seen = collections.Counter()          # (method, status): how often
        self.up = self.down = 0                    # bytes of bodies that were passed on
        self.is_silent = self.is_refusing = False
        self.rate = 0                              # bytes a second and direction of a connection; 0: as fast as it goes
        self.server = None
        self.connections = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def start(self):
        self.thread.start()
        self.port = lt.free_port()     # of one that refuses for a while nobody else may take it meanwhile
        self.run(self.listen())
        return self

    def before(self, server):
        """The server by way of this network, as add_s3_account() takes it."""
        return types.SimpleNamespace(url=self.url, region=server.region, access_key=server.access_key,
                                     secret_key=server.secret_key)

    def stop(self):
        self.run(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def end(self):
        await self.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- steering ---

    def add(self, kind, **more):
        fault = Fault(kind, **more)
        if kind not in KINDS:
            raise ValueError(kind)
        self.faults = [*self.faults, fault]
        return fault

    def clear(self):
        for fault in self.faults:
            fault.end()
        self.faults = []

    def refuse(self):
        """No connection can be made, and those that there were break."""
        self.run(self.close())

    def silence(self):
        """Connections are accepted, and nothing goes through. Those on which something was to go through stay so."""
        self.is_silent = True

    def heal(self):
        self.is_silent = False
        self.clear()
        if not self.server:
            self.run(self.listen())

    # --- serving ---

    def near_socket(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", self.port))
        return s

    async def listen(self):
        self.is_refusing = False
        s = self.cable.listening_socket() if self.cable else self.near_socket()
        host, self.port = s.getsockname()
        self.url = f"http://{host}:{self.port}"
        self.server = await asyncio.start_server(self.serve, sock=s, limit=HEAD_MAX, backlog=512)

    async def close(self):
        self.is_refusing = True
        if self.server:
            self.server.close()
            self.server = None
        for writer in list(self.connections):
            reset(writer)

    async def passable(self):
        if self.is_silent:
            raise Silence

    async def until_hung_up(self, reader):
        while await reader.read(PIECE):
            pass

    def note(self, request, status):
        self.seen[request.method, status] += 1

    def fault_of(self, request):
        for fault in self.faults:
            if fault.matches(request):
                fault.hits += 1
                return fault
        return None

    async def serve(self, reader, writer):
        self.connections.add(writer)
        try:
            while not self.is_refusing:       # one that was accepted just before does not live on
                request = await read_head(reader)
                await self.passable()
                fault = self.fault_of(request)
                await (KINDS[fault.kind] if fault else passed)(Exchange(self, request, reader, writer), fault)
        except Silence:
            with contextlib.suppress(OSError):
                await self.until_hung_up(reader)
        except (Cut, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections.discard(writer)
            self.end_connection(writer)

    def end_connection(self, writer):
        """Both manners that connections break in."""
        if self.dice.random() < 0.5:
            writer.close()
        else:
            reset(writer)
