"""What the server gives without any mount, asked by curl and wrk."""

import os
import re
import shutil
import time

import ground as g
import landfall_test as lt
import signed
import systems as s
import work

HERE = os.path.dirname(os.path.abspath(__file__))
RANGES, PART = 8, 8 * work.MIB
PARTS_AT_ONCE = 8
PUTS_AT_ONCE, GETS_AT_ONCE = 16, 8
WRK_SECONDS, PUTS_AT_MOST = 3, 20000


def curl(*argv):
    return lt.run("curl", "--silent", "--show-error", "--fail", *argv).stdout


def curl_parallel(at_once, transfers):
    """Each transfer is a list of its own options and URL."""
    argv = ["--no-progress-meter", "--parallel", "--parallel-immediate", "--parallel-max", str(at_once)]
    for n, transfer in enumerate(transfers):
        argv += (["--next", "--silent", "--show-error", "--fail"] if n else []) + ["-o", "/dev/null", *transfer]
    return curl(*argv)


def cold_by_curl(ground, tag):
    yield "cold_read", s.CURL, work.timed(curl, "-o", "/dev/null", f"{ground.read.url}/big")


def cold_by_ranges(ground, tag):
    size = g.BIG // RANGES
    transfers = [["-r", f"{n * size}-{(n + 1) * size - 1}", f"{ground.read.url}/big"] for n in range(RANGES)]
    yield "cold_read", s.RANGES, work.timed(curl_parallel, RANGES, transfers)


def cut_into_parts(ground):
    """Not counted: curl cannot send a part of a file."""
    directory = os.path.join(ground.scratch, "parts")
    os.makedirs(directory, exist_ok=True)
    paths = [os.path.join(directory, str(n + 1)) for n in range(g.BIG // PART)]
    if not os.path.exists(paths[-1]):
        with open(ground.big, "rb") as f:
            for path in paths:
                with open(path, "wb") as part:
                    part.write(f.read(PART))
    return paths


def send_parts(url, paths):
    upload = re.search("<UploadId>(.*?)</UploadId>", curl("-X", "POST", url + "?uploads")).group(1)
    said = curl_parallel(PARTS_AT_ONCE, [["-T", path, "-w", f"{n} %header{{etag}}\n", f"{url}?partNumber={n}&uploadId={upload}"]
                                         for n, path in enumerate(paths, 1)])
    tags = sorted((int(n), tag) for n, tag in (line.split() for line in said.splitlines()))
    body = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in tags)
    curl("-X", "POST", "--data-binary", f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>", f"{url}?uploadId={upload}")


def written_by_parts(ground, tag):
    paths, key = cut_into_parts(ground), f"written-parts-{tag}"
    work.drop_caches()
    for path in paths:
        work.read_file(path)
    seconds = work.timed(send_parts, f"{ground.written.url}/{key}", paths)
    for row in ("write_cloud", "waiting_big"):
        yield row, s.PARTS, seconds
    assert ground.written.has_object(key, g.BIG), "the parts did not become the object"


def written_to_disk(ground, tag):
    """The page cache takes it, then the disk."""
    path = os.path.join(ground.scratch, f"written-{tag}")
    work.drop_caches()
    work.read_file(ground.big)
    began = time.perf_counter()
    shutil.copyfile(ground.big, path)
    yield "write_close", s.COPY, time.perf_counter() - began
    with open(path, "rb") as f:
        os.fsync(f.fileno())
    yield "write_close", s.DISK, time.perf_counter() - began


def wrk_seconds(ground, script, connections, *arguments):
    """For 1000 requests."""
    said = lt.run("wrk", "-t1", f"-c{connections}", f"-d{WRK_SECONDS}s", "-s", os.path.join(HERE, script), ground.server.url,
                  "--", *arguments).stdout
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    return work.SMALL_FILES / float(re.search(r"Requests/sec: *([0-9.]+)", said).group(1))


def puts(ground, tag):
    plain = wrk_seconds(ground, "put.lua", PUTS_AT_ONCE, f"/{ground.limit.name}/put-{tag}-", str(work.SMALL_BYTES))
    path = os.path.join(ground.scratch, "heads")
    with open(path, "w") as f:
        for head in signed.heads(ground.server, ground.limit.name, f"signed-{tag}-", work.SMALL_BYTES, PUTS_AT_MOST):
            f.write(head + "\0")
    asked = wrk_seconds(ground, "put_signed.lua", PUTS_AT_ONCE, path, str(work.SMALL_BYTES))
    for row in ("small_cloud", "waiting_small"):
        yield row, s.SERVER, plain
        yield row, s.SERVER_SIGNED, asked


def gets(ground, tag):
    for connections, name in ((GETS_AT_ONCE, s.SERVER), (1, s.SERVER_ALONE)):
        seconds = wrk_seconds(ground, "get.lua", connections, f"/{ground.read.name}/out-0/small-", str(work.SMALL_FILES))
        for row in ("small_out", "small_out_listed", "small_out_random"):
            yield row, name, seconds


def pages(ground, tag):
    def ask():
        number = ground.read.list("list/")
        assert number == work.LIST_DIRECTORIES * work.LIST_FILES, f"the server lists {number} keys"

    yield "list_first", s.LIST, work.timed(ask)
