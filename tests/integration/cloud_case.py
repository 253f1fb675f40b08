"""Test cases about a bucket and what people and programs move to and from it, beside the drives."""

import contextlib
import os
import shutil

import landfall_test as lt
from drive_case import SERVED, DriveCase, fill
from fault_proxy import FaultProxy
from landfall_test import wait_until
from raw_s3 import RawS3


class CloudCase(DriveCase):
    server_class = lt.Radosgw

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.server_class.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def setUp(self):
        super().setUp()
        self.bucket = self.server.make_bucket("lfc-" + self.id().rsplit(".", 1)[1].replace("_", "-")[5:60].strip("-"))
        self.s3 = RawS3(self.server, self.bucket)

    def owned(self, name):
        """A folder of the served user's."""
        path = os.path.join(self.instance.dir, "cloud-api-" + name)
        os.mkdir(path, 0o700)
        shutil.chown(path, SERVED, SERVED)
        return path

    def ask(self, endpoint, account=None, **body):
        """The JSON of the answer; an account that was not named is sent whole, with masked keys, as clients do."""
        return self.instance.api("POST", "/cloud/" + endpoint, {
            "cloudAccount": account or self.account, "id": "", "storageName": self.bucket, **body})

    def refused(self, endpoint, code="DEFAULT", status=499, **body):
        with self.assertRaises(lt.ApiError) as caught:
            self.ask(endpoint, **body)
        self.assertEqual((caught.exception.status, caught.exception.code), (status, code), caught.exception.body)
        return caught.exception.body


class TransferCase(CloudCase):
    def status(self, transfer):
        return self.instance.api("GET", f"/cloud/client_transfer/{transfer}/status")

    def ended(self, transfer, seconds=60):
        wait_until(lambda: self.status(transfer)["status"] in ("completed", "failed", "cancelled"), seconds, "the end of the transfer")
        return self.status(transfer)

    def control(self, transfer, what):
        self.instance.api("POST", f"/cloud/client_transfer/{transfer}/{what}")

    def file(self, name, size, folder=None):
        path = os.path.join(folder or self.owned("files-" + str(len(os.listdir(self.instance.dir)))), name)
        fill(path, size)
        shutil.chown(path, SERVED, SERVED)
        return path

    def upload(self, path, folder="/", **more):
        return self.ended(self.ask("upload_object", uploadPath=folder, localFilePath=path, **more)["transferId"])

    def download(self, folder, key, **more):
        return self.ended(self.ask("download_object", downloadPath=folder, objectKey=key, **more)["transferId"])

    def bytes_of(self, path):
        with open(path, "rb") as f:
            return f.read()

    def unfinished(self):
        status, body = self.s3.request("GET", uploads="")
        self.assertEqual(status, 200)
        return body.count(b"<UploadId>")

    def put_something_meanwhile(self):
        """An object at the key of an upload that is under way stays. Where the server does not compare, it is looked once more
        before the request that makes the object."""
        with self.slow_account() as account:
            source = self.file("big", 40 << 20)
            self.proxy.add("held", method="PUT", target="partNumber=3")
            up = self.ask("upload_object", account=account, uploadPath="/", localFilePath=source)["transferId"]
            wait_until(lambda: self.status(up)["transferredBytes"] > 0, 30, "its first bytes")
            self.s3.put("big", b"somebody's")
        told = self.ended(up)
        self.assertEqual(told["status"], "failed")
        self.assertIn("overwrite", told["errorMessage"])
        self.assertEqual(self.s3.get("big"), b"somebody's")
        wait_until(lambda: self.unfinished() == 0, 30, "the parts to be gone")

    @contextlib.contextmanager
    def slow_account(self, delete=True):
        """An account by way of a slow network, which is a fast one without faults when this is left."""
        self.proxy = proxy = FaultProxy(self.server.port).start()
        self.addCleanup(proxy.stop)
        account = self.instance.api("POST", "/cloud/insert_account", {
            "name": "slow", "cloudType": 8, "serviceUrl": proxy.url, "region": self.server.region,
            "accessKey": self.server.access_key, "secretKey": self.server.secret_key})
        if delete:
            self.addCleanup(self.instance.api, "DELETE", "/cloud/delete", id=account["id"])
        proxy.rate = 4 << 20
        try:
            yield account
        finally:
            proxy.clear()
            proxy.rate = 0
