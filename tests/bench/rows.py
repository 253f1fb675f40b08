"""The rows of the table: what each is called, how its figures are shown, and what they must reach and aim at.

Everything is measured in seconds or bytes, so less is better in every row. A bound compares Landfall's figure with the best of
some others', or with a number."""

import statistics
from dataclasses import dataclass
from typing import Callable

import api
import ground as g
import systems as s
import work

MB = 1_000_000


@dataclass(frozen=True)
class Bound:
    """`factor` times as fast as the best of `others`, or at most `limit`."""

    text: str
    others: tuple = ()
    factor: float = 0
    limit: float = 0

    def judge(self, ours, figures, shown):
        """(what was found, whether it is enough), from ours and medians by column; None where a figure is missing."""
        theirs = [figures[o] for o in self.others if o in figures]
        if ours is None or len(theirs) < len(self.others):
            return None
        if self.limit:
            return shown(ours), ours <= self.limit
        found = min(theirs) / ours
        return f"{found:.2f} ×", found >= self.factor


def faster(factor, *others):
    text = f"{factor:g} × " + (others[0] if len(others) == 1 else "the better of " + " and ".join(others))
    return Bound(text, others, factor)


def not_slower(other):
    return Bound(f"not slower than {other}", (other,), 1)


def within(factor, other):
    return Bound(f"within {factor:g} × of {other} ({1 / factor:.2f} ×)", (other,), 1 / factor)


def at_most(limit, shown):
    return Bound(f"≤ {shown(limit)}", limit=limit)


# --- how figures are shown ---------------------------------------------------------------------

def seconds(value):
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.3g} ms"


def megabytes(value):
    return f"{value / MB:.0f} MB"


def rate(size):
    return lambda value: f"{seconds(value)} ({size / work.MIB / value:.0f} MiB/s)"


def number(value):
    return f"{value:g}"


def per_second(value):
    return f"{1 / value / 1000:.3g} k/s"


# --- the rows ----------------------------------------------------------------------------------

@dataclass(frozen=True)
class Row:
    key: str
    title: str
    must: tuple = ()
    aim: tuple = ()
    shown: Callable = seconds
    middle: Callable = statistics.median     # of all rounds
    compared: bool = True                    # with the others' figures
    ours: str = s.Landfall.key               # the column that is judged

    def figures(self, results):
        """Column to figure, for those that were measured."""
        return {column: self.middle(values) for column, values in results.get(self.key, {}).items()}


LANDFALL, RCLONE, AT_ONCE, S3FS, CACHE, SEALED, OBJECTS, BOTH, GOCRYPTFS = [c.key for c in s.SYSTEMS]
BIG, GREAT = rate(g.BIG), rate(g.GREAT)
GREAT_AT_2500 = Bound("≥ 2.5 GB/s (0.43 s)", limit=g.GREAT / 2.5e9)
AT_500_K = Bound("≥ 500 k/s", limit=1 / 500e3)
SMALL_OUT = {"must": (faster(2, RCLONE, S3FS),), "aim": (faster(1, s.SERVER),)}


def memory_row(key, title, must, aim):
    return [Row(f"memory_{key}_{kind}", f"{title}, {kind.upper()}", must and (at_most(must * MB, megabytes),),
                aim and (at_most(aim * MB, megabytes),), megabytes) for kind in ("pss", "rss")]


def crypt_rows(key, title, ours, must, aim, shown):
    return [Row(f"crypt_{key}", title, (must,), (aim,), shown, ours=ours),
            Row(f"crypt_{key}_spent", f"processor time of that in the system's processes: {title}", ours=ours)]


def spent_row(key, title):
    """Whose the processors' time was in the row of that key: when all was used, only less work would make it quicker."""
    return Row(f"{key}_spent", f"processor time of that: {title}", compared=False)


ROWS = [
    Row("cold_read", "read 256 MiB, cold", (faster(1.3, RCLONE, S3FS),), (faster(0.9, s.RANGES),), BIG),
    spent_row("cold_read", "read, cold"),
    Row("warm_read", "`cat` of 1 GiB, warm", (faster(0.8, s.FILE),), (faster(0.95, s.FILE),), GREAT),
    Row("warm_random", "4 KiB reads at random, warm, by fio", (faster(8, RCLONE, CACHE),), (faster(0.7, s.FILE),), per_second),
    Row("write_close", "write 256 MiB, until close returns", (not_slower(RCLONE),), (faster(1, s.DISK),), BIG),
    Row("write_cloud", "write 256 MiB, until it is in the bucket", (faster(1.3, AT_ONCE, S3FS),), (faster(0.9, s.PARTS),), BIG),
    spent_row("write_cloud", "write, until in the bucket"),
    Row("waiting_big", "256 MiB that wait in the cache, until they are in the bucket", aim=(faster(0.9, s.PARTS),)),
    Row("small_in", "1000 × 4 KiB in, until the last close", (faster(1.5, RCLONE),)),
    Row("small_cloud", "1000 × 4 KiB in, until all are in the bucket", (within(1.3, s.SERVER),)),
    spent_row("small_cloud", "in, until all are in the bucket"),
    Row("waiting_small", "1000 × 4 KiB that wait in the cache, until all are in the bucket", (within(1.3, s.SERVER),)),
    Row("small_out", "1000 × 4 KiB out, cold, by number", **SMALL_OUT),
    spent_row("small_out", "out, by number"),
    Row("small_out_listed", "1000 × 4 KiB out, cold, listed and read in that order", **SMALL_OUT),
    spent_row("small_out_listed", "out, as listed"),
    Row("small_out_random", "1000 × 4 KiB out, cold, at random", **SMALL_OUT),
    spent_row("small_out_random", "out, at random"),
    Row("list_first", "`ls -lR` of 10 000 objects, first", (faster(3, S3FS),), (faster(1, s.LIST),)),
    Row("list_again", "`ls -lR` of 10 000 objects, again", (not_slower(S3FS),), (at_most(0.1, seconds),)),
    Row("find_first", "`find` of 100 000 names, first"),
    Row("find_warm", "`find` of 100 000 names, warm", aim=(at_most(0.5, seconds),)),
    Row("find_restart", "`find` of 100 000 names, right after a restart", aim=(at_most(0.5, seconds),)),
    Row("find_offline", "`find` of 100 000 names, right after a restart, server silent", aim=(at_most(0.5, seconds),)),
    Row("rename", "rename of a directory with 100 000 objects, slowest of 4", (at_most(0.020, seconds),), (at_most(0.005, seconds),)),
    *memory_row("idle", "memory, idle", 40, 25),
    *memory_row("listed", "memory, most during `ls -lR` of 10 000 objects", 60, 50),
    *memory_row("indexing", "memory, most while 1 000 000 names are listed first", (), ()),
    *memory_row("million", "memory, most with 1 000 000 names and busy", 300, 200),
    Row("million_restart", "1 000 000 names, from the start of all processes until the root is listed", (at_most(1, seconds),)),
    Row("million_restart_folder", "`ls` of 1000 of them, right after that"),
    Row("million_offline", "1 000 000 names, from the start of all processes until the root is listed, cloud away", (at_most(1, seconds),)),
    Row("million_offline_folder", "`ls` of 1000 of them, right after that, cloud away"),
    Row("stall_worst", "longest call while the worker is killed, at worst", (at_most(1, seconds),), (at_most(0.3, seconds),), middle=max),
    Row("stall_median", "longest call while the worker is killed, median"),
    Row("copy_tree", "`cp -a` of a tree of 7 000 entries, until it returns"),
    Row("copy_complaints", "what `cp -a` complained about, lines", shown=number),
    *crypt_rows("read", "`cat` of 1 GiB, encrypted on the disk", SEALED, faster(1.5, GOCRYPTFS), GREAT_AT_2500, GREAT),
    Row("crypt_random", "each page of 16 MiB at random, encrypted on the disk", (faster(5, GOCRYPTFS),), (AT_500_K,), per_second,
        ours=SEALED),
    *crypt_rows("write", "write 256 MiB to be encrypted on the disk, until close returns", SEALED, not_slower(GOCRYPTFS),
                faster(0.9, LANDFALL), BIG),
    *crypt_rows("cold", "read 256 MiB, cold, an encrypted object", OBJECTS, faster(0.75, LANDFALL), faster(0.95, LANDFALL), BIG),
    *crypt_rows("upload", "1 GiB that waits in the cache, until it is in the bucket, encrypted", OBJECTS, faster(0.75, LANDFALL),
                faster(0.95, LANDFALL), GREAT),
    Row("crypt_cpu", "processor time for 1 GiB, from the object's form to the cache's", (at_most(1, seconds),),
        (at_most(0.6, seconds),)),
    Row("api_status", f"`GET agent_status`, {api.CONNECTIONS} connections", (faster(0.7, s.HELLO),), shown=per_second),
    Row("api_drives", f"`GET clouddrive` with {api.DRIVES} drives, {api.CONNECTIONS} connections, while a GiB is downloaded",
        (Bound("≥ 5 k/s", limit=1 / 5000),), shown=per_second),
    Row("api_drives_slow", "the slowest hundredth of these", (at_most(0.005, seconds),)),
    Row("api_list", f"`GET objects_info` of {api.LISTED} objects", (at_most(0.150, seconds),)),
    Row("api_list_growth", "what frontd has more in memory after that", (at_most(8 * MB, megabytes),), shown=megabytes),
    Row("api_stream", "`get_object_stream` of 1 GiB that is here, by `curl`", (faster(0.6, s.NGINX),), shown=GREAT),
    Row("api_listeners", f"memory of frontd, {api.CLIENTS} WebSockets that hear {api.EVENTS_A_SECOND} events a second each",
        (at_most(100 * MB, megabytes),), shown=megabytes),
    Row("api_listeners_behind", f"how much later than it was told the last of them has heard all of {api.EVENTS} events"),
]


def chosen(names):
    """The rows whose keys begin with one of these, or all."""
    return [r for r in ROWS if not names or r.key.startswith(tuple(names))]
