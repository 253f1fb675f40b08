"""PUTs as Landfall sends them, for one that only sends: signed (AWS Signature Version 4), conditional, with an inode's metadata."""

import datetime
import hashlib
import hmac
import time
import uuid


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def heads(server, bucket, prefix, size, number):
    """Of `number` requests for as many new objects, of `size` letters x each, signed now; S3 takes them for 15 minutes."""
    now = datetime.datetime.now(datetime.timezone.utc)
    date, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/{server.region}/s3/aws4_request"
    key = f"AWS4{server.secret_key}".encode()
    for part in scope.split("/"):
        key = mac(key, part)
    drive, digest = uuid.uuid4(), hashlib.sha256(b"x" * size).hexdigest()
    for n in range(number):
        path = f"/{bucket}/{prefix}{n}"
        fields = {
            "content-type": "application/octet-stream", "host": f"127.0.0.1:{server.port}", "if-none-match": "*",
            "x-amz-content-sha256": digest, "x-amz-date": date, "x-amz-meta-gid": "0",
            "x-amz-meta-landfall-stamp": f"{drive}-{n}-1", "x-amz-meta-mode": "33188",
            "x-amz-meta-mtime": f"{time.time_ns() / 1e9:.9f}", "x-amz-meta-uid": "0"}
        lines, names = "".join(f"{name}:{value}\n" for name, value in fields.items()), ";".join(fields)
        asked = hashlib.sha256(f"PUT\n{path}\n\n{lines}\n{names}\n{digest}".encode()).hexdigest()
        signature = mac(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{asked}").hex()
        yield (f"PUT {path} HTTP/1.1\r\nUser-Agent: wrk\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) +
               f"authorization: AWS4-HMAC-SHA256 Credential={server.access_key}/{scope}, SignedHeaders={names}, "
               f"Signature={signature}\r\nContent-Length: {size}\r\n\r\n")
