#!/usr/bin/python3
"""Three programs that are demanding of a file system, on a bucket: git, a build, SQLite."""

import os
import sqlite3
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase

PROGRAM = """all: program
program: main.o part.o
\tcc -o $@ $^
%.o: %.c part.h
\tcc -c -o $@ $<
clean:
\trm -f *.o program
"""


def git(*argv, cwd):
    env = lt.clean_env(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*",
                       GIT_AUTHOR_NAME="Test", GIT_AUTHOR_EMAIL="test@example.com", GIT_COMMITTER_NAME="Test",
                       GIT_COMMITTER_EMAIL="test@example.com")
    return lt.run("git", *argv, cwd=cwd, env=env, user=SERVED)


class Programs(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        account = cls.instance.add_s3_account(cls.server)
        cls.mount = cls.instance.add_drive(account, cls.server.make_bucket("lf-programs"), name="programs")["localPath"]

    def make_repository(self):
        path = os.path.join(self.scratch, "repository")
        os.mkdir(path)
        os.chmod(self.scratch, 0o777)
        os.chmod(path, 0o777)
        git("init", "-q", "-b", "main", ".", cwd=path)
        files = {"Makefile": PROGRAM, "part.h": "int part(void);\n", "part.c": '#include "part.h"\nint part(void) { return 42; }\n',
                 "main.c": '#include <stdio.h>\n#include "part.h"\nint main(void) { return printf("%d\\n", part()) < 0; }\n',
                 **{f"docs/{i}/page-{i}.txt": f"page {i}\n" * i for i in range(1, 60)}}
        for name, text in files.items():
            full = os.path.join(path, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w") as f:
                f.write(text)
        lt.run("chown", "-R", SERVED, path)
        git("add", "-A", cwd=path)
        git("commit", "-q", "-m", "first", cwd=path)
        return path

    def test_clone_build_commit(self):
        origin, clone = self.make_repository(), os.path.join(self.mount, "clone")
        git("clone", "-q", origin, clone, cwd=self.mount)
        self.assertEqual(git("status", "--porcelain", cwd=clone).stdout, "")
        git("fsck", "--strict", cwd=clone)
        lt.run("make", "-s", "-C", clone, user=SERVED)
        self.assertEqual(lt.run(os.path.join(clone, "program"), user=SERVED).stdout, "42\n")
        lt.run("make", "-q", "-C", clone, user=SERVED)      # times are kept: nothing is left to do
        lt.run("sh", "-c", "cd \"$1\" && sed -i s/42/43/ part.c && make -s && ./program", "sh", clone, user=SERVED)
        self.assertEqual(git("diff", "--stat", "--", "part.c", cwd=clone).stdout.split()[:2], ["part.c", "|"])
        git("commit", "-q", "-a", "-m", "second", cwd=clone)
        git("gc", "-q", cwd=clone)
        git("push", "-q", "origin", "main:pushed", cwd=clone)
        self.assertEqual(git("log", "--format=%s", "pushed", cwd=origin).stdout.split(), ["second", "first"])

    def database(self, journal):
        path = os.path.join(self.mount, f"{journal}.sqlite")
        with sqlite3.connect(path, isolation_level=None) as db:
            self.assertEqual(db.execute(f"PRAGMA journal_mode={journal}").fetchone()[0], journal)
            db.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
            for batch in range(10):
                db.execute("BEGIN")
                db.executemany("INSERT INTO t VALUES (?, ?)", ((batch * 100 + i, os.urandom(300)) for i in range(100)))
                db.execute("COMMIT")
            db.execute("BEGIN")
            db.execute("DELETE FROM t")
            db.execute("ROLLBACK")
            db.execute("DELETE FROM t WHERE k % 3 = 0")
            db.execute("VACUUM")
        db.close()
        return path

    def check_database(self, path):
        db = sqlite3.connect(path)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        self.assertEqual(db.execute("SELECT count(*), max(k) FROM t").fetchone(), (666, 998))
        db.close()

    def test_sqlite_with_a_rollback_journal(self):
        path = self.database("delete")
        self.check_database(path)
        self.instance.wait_uploaded(path)
        fetched = os.path.join(self.scratch, "fetched.sqlite")
        self.server.rclone("copyto", "s3:lf-programs/delete.sqlite", fetched)
        self.check_database(fetched)

    def test_sqlite_with_a_write_ahead_log(self):
        self.check_database(self.database("wal"))

    def test_sqlite_locks_exclude_each_other(self):
        path = self.database("truncate")
        first, second = (sqlite3.connect(path, timeout=0, isolation_level=None) for _ in range(2))
        first.execute("BEGIN EXCLUSIVE")
        with self.assertRaises(sqlite3.OperationalError):
            second.execute("BEGIN EXCLUSIVE")
        first.execute("ROLLBACK")
        second.execute("BEGIN EXCLUSIVE")
        second.execute("ROLLBACK")
        first.close()
        second.close()


if __name__ == "__main__":
    unittest.main()
