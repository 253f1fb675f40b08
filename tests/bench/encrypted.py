"""What encryption costs: Landfall's encrypted drives beside gocryptfs on the same disk, and beside drives that do not encrypt."""

import filecmp
import os
import re
import shutil

import ground as g
import landfall_test as lt
import page_cache
import processes
import systems as s
import work

AGE = b"age-encryption.org/v1\n"    # how an encrypted object begins
CPU_SECONDS = 2
CPU_ROW = "download: object open, cache seal"


# --- what is in the cache, or in gocryptfs' directory ---------------------------------------------

def bring(system, point, source):
    """The file's path in the mount, all of it stored on the disk: gocryptfs gets it written, a drive fetches it."""
    path = os.path.join(point, os.path.basename(source))
    if isinstance(system, s.Gocryptfs):
        shutil.copyfile(source, path)
    else:
        work.read_file(path)
    os.sync()
    return path


def warm(system, tag):
    """A first read through a fresh open, with the encrypted bytes in the page cache and none of the plain ones."""
    with system.mounted(system.ground.read) as point:
        path = bring(system, point, system.ground.great)
        page_cache.leave_only(path, system.stored(path))
        with processes.Spent(system) as spent:
            yield "crypt_read", system.key, work.timed(work.cat, path)
        yield "crypt_read_spent", system.key, spent.ours
        path = bring(system, point, system.ground.middle)
        page_cache.leave_only(path, system.stored(path))
        yield "crypt_random", system.key, work.pages_at_random_seconds(path)
        same(path, system.ground.middle)


def same(path, source):
    assert filecmp.cmp(path, source, shallow=False), f"{path} has other bytes than were put there"


def write(system, tag):
    bucket, key = system.ground.written, f"written-crypt-{system.short}-{tag}"
    with system.mounted(bucket) as point:
        path = os.path.join(point, key)
        work.read_file(system.ground.big)
        with processes.Spent(system) as spent:
            yield "crypt_write", system.key, work.timed(shutil.copyfile, system.ground.big, path)
        yield "crypt_write_spent", system.key, spent.ours
        if not isinstance(system, s.Gocryptfs):       # what was not sent when the drive goes would stay with the server
            bucket.wait(lambda: bucket.has_content(key, g.BIG), f"the file that {system.name} wrote")
        page_cache.leave_only(path, system.stored(path))
        same(path, system.ground.big)
        system.ground.collect_garbage()


# --- objects -----------------------------------------------------------------------------------------

def is_encrypted(bucket, key):
    return bucket.ask("GET", f"/{key}", headers={"Range": f"bytes=0-{len(AGE) - 1}"})[2] == AGE


def keep_encrypted_object(ground):
    """The same bytes as in the bucket for reading, as the object of a drive whose identity is known from then on."""
    system = s.EncryptedObjects(ground)
    with system.mounted(ground.encrypted) as point:
        path = os.path.join(point, "big")
        shutil.copyfile(ground.big, path)
        ground.encrypted.wait(lambda: ground.encrypted.has_content("big", g.BIG), "the encrypted object")
        ground.kit = system.key_of_drive("export").stdout
    assert is_encrypted(ground.encrypted, "big"), "the object of an encrypted drive is no age file"


def cold(system, tag):
    """Another machine with the drive's identity, and nothing in its cache."""
    ground, bucket = system.ground, system.ground.read
    if system.encrypts_objects:
        bucket = ground.encrypted
        if not ground.kit:
            keep_encrypted_object(ground)
    with system.mounted(bucket) as point:
        path = os.path.join(point, "big")
        if system.encrypts_objects:
            system.key_of_drive("import", stdin=ground.kit)
        with processes.Spent(system) as spent:
            yield "crypt_cold", system.key, work.timed(work.read_file, path)
        yield "crypt_cold_spent", system.key, spent.ours
        same(path, ground.big)


def upload(system, tag):
    bucket, key = system.ground.written, f"written-crypt-{system.short}-{tag}"
    with system.mounted(bucket) as point:
        with system.ground.silent():
            shutil.copyfile(system.ground.great, os.path.join(point, key))
            os.sync()
        with processes.Spent(system) as spent:
            yield "crypt_upload", system.key, work.timed(
                bucket.wait, lambda: bucket.has_content(key, g.GREAT), "the file that waited")
        yield "crypt_upload_spent", system.key, spent.ours
        assert is_encrypted(bucket, key) == system.encrypts_objects, f"the object of {system.name} has the wrong form"
    system.ground.collect_garbage()


# --- cryptd alone ---------------------------------------------------------------------------------------

def cpu(ground, tag):
    """Seconds of processor time for a GiB."""
    said = lt.run(os.path.join(lt.BUILD, "tests", "bench", "cryptd_bench"), str(os.cpu_count()), str(CPU_SECONDS), CPU_ROW).stdout
    for column, name in ((s.ONE_PASS, "one pass alone, AES-256-GCM"), (s.Landfall.key, CPU_ROW)):
        found = re.findall(rf"^{re.escape(name)}.* ([0-9.]+) CPU s/GiB", said, re.MULTILINE)
        yield "crypt_cpu", column, float(found[-1])
