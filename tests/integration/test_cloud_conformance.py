#!/usr/bin/python3
"""Our S3 provider against real servers: cloud_conformance.c, once for each of them."""

import os
import socket
import ssl
import threading
import unittest

import landfall_test as lt

PROGRAM = os.path.join(lt.BUILD, "tests", "integration", "cloud_conformance")


def settings(server, endpoint, **more):
    """A file that tells the program which server to ask."""
    path = os.path.join(server.dir, "conformance.conf")
    values = {"endpoint": endpoint, "access_key": server.access_key, "secret_key": server.secret_key,
              "region": server.region, "bucket": "conformance", **more}
    with open(path, "w") as f:
        os.fchmod(f.fileno(), 0o600)
        f.writelines(f"{name}={value}\n" for name, value in values.items())
    return path


class Conformance:
    server_class = None

    def test_conformance(self):
        server = self.server_class.shared()
        done = lt.run(PROGRAM, settings(server, server.url))
        self.assertIn("[  PASSED  ]", done.stdout + done.stderr)


class RadosgwConformance(Conformance, unittest.TestCase):
    server_class = lt.Radosgw


class SwiftConformance(Conformance, unittest.TestCase):
    server_class = lt.Swift


class TlsFront:
    """https in front of a server: passes on bytes, both ways."""

    def __init__(self, server):
        self.certificate = os.path.join(server.dir, "tls.pem")
        key = os.path.join(server.dir, "tls.key")
        lt.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", self.certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.behind = ("127.0.0.1", server.port)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://localhost:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            front = self.context.wrap_socket(client, server_side=True)
        except (ssl.SSLError, OSError):
            client.close()
            return
        back = socket.create_connection(self.behind)
        threading.Thread(target=self.pump, args=(back, front), daemon=True).start()
        self.pump(front, back)

    @staticmethod
    def pump(source, to):
        try:
            while data := source.recv(262144):
                to.sendall(data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.socket.close()


class TlsConformance(unittest.TestCase):
    def setUp(self):
        self.server = lt.Radosgw.shared()
        self.front = TlsFront(self.server)
        self.addCleanup(self.front.close)

    def test_conformance(self):
        done = lt.run(PROGRAM, settings(self.server, self.front.url, ca_bundle=self.front.certificate))
        self.assertIn("[  PASSED  ]", done.stdout + done.stderr)

    def test_unknown_certificate(self):
        done = lt.run(PROGRAM, settings(self.server, self.front.url), check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not trusted", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
