"""A small S3 client that sends keys as they are. Others mend them on the way: rclone takes "a//b" for "a/b", and what stands on
urllib3 takes the dots out of "../x"."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class RawS3:
    def __init__(self, server, bucket):
        self.server, self.bucket = server, bucket
        self.host = urllib.parse.urlparse(server.url).netloc

    def authorization(self, method, path, query, headers):
        """Signature Version 4: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
        date, names = headers["x-amz-date"], ";".join(sorted(headers))
        scope = f"{date[:8]}/{self.server.region}/s3/aws4_request"
        canonical = "\n".join([method, path, query, *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, headers["x-amz-content-sha256"]])
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = sign(sign(sign(sign(b"AWS4" + self.server.secret_key.encode(), date[:8]), self.server.region), "s3"), "aws4_request")
        return (f"AWS4-HMAC-SHA256 Credential={self.server.access_key}/{scope},SignedHeaders={names},"
                f"Signature={hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}")

    def request(self, method, key=b"", body=b"", metadata=None, **query):
        key = key.encode() if isinstance(key, str) else key
        path = f"/{self.bucket}/" + urllib.parse.quote(key, safe="/")
        text = "&".join(f"{urllib.parse.quote(n, safe='')}={urllib.parse.quote(v, safe='')}" for n, v in sorted(query.items()))
        headers = {"host": self.host, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
                   "x-amz-date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ"),
                   **{"x-amz-meta-" + name: value for name, value in (metadata or {}).items()}}
        headers["authorization"] = self.authorization(method, path, text, headers)
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path + ("?" + text if text else ""), body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def put(self, key, body, metadata=None):
        status, text = self.request("PUT", key, body, metadata)
        if status != 200:
            raise AssertionError(f"PUT {key!r}: {status} {text[:300]!r}")

    def remove(self, key):
        status, text = self.request("DELETE", key)
        if status not in (200, 204):
            raise AssertionError(f"DELETE {key!r}: {status} {text[:300]!r}")

    def get(self, key):
        """The object's bytes; None: there is none."""
        status, body = self.request("GET", key)
        if status not in (200, 404):
            raise AssertionError(f"GET {key!r}: {status} {body[:300]!r}")
        return body if status == 200 else None

    def keys(self):
        found, token = set(), {}
        while True:
            status, body = self.request("GET", **{"list-type": "2", "encoding-type": "url", **token})
            if status != 200:
                raise AssertionError(f"LIST: {status} {body[:300]!r}")
            root = xml.etree.ElementTree.fromstring(body)
            found |= {urllib.parse.unquote_to_bytes(k.text.replace("+", " ")) for k in root.iter(NAMESPACE + "Key")}
            following = root.find(NAMESPACE + "NextContinuationToken")
            if following is None:
                return found
            token = {"continuation-token": following.text}
