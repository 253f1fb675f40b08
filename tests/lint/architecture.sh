#!/bin/sh
# docs/ARCHITECTURE.md has a line for every source file, and none for a file that is gone; every source and header is listed
# in its local.mk, or a tarball would lack it.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"
failed=0

for file in common/*.c frontd/*.c syncd/*.c mountd/*.c cryptd/*.c cli/*.c; do
    case $file in *.pb-c.c) continue ;; esac
    awk -v dir="${file%/*}" -v name="${file##*/}" '
        /^### `/ { section = $2; gsub(/[`\/:]/, "", section) }
        section == dir && index($0, "| `" name "` |") == 1 { found = 1 }
        END { exit !found }' docs/ARCHITECTURE.md || { echo "FAIL $file has no line in docs/ARCHITECTURE.md"; failed=1; }
done

gone=$(awk '/^### `/ { section = $2; gsub(/[`:]/, "", section) }
    /^\| `[a-z0-9_]*\.c` / { print section $2 }' docs/ARCHITECTURE.md | tr -d '`' |
    while read -r file; do [ -f "$file" ] || echo "$file"; done)
for file in common/*.[ch] frontd/*.[ch] syncd/*.[ch] mountd/*.[ch] cryptd/*.[ch] cli/*.[ch] tests/unit/*.[ch]; do
    case $file in *.pb-c.[ch]) continue ;; esac
    grep -q "[[:space:]]$file\>" "${file%%/*}/local.mk" || { echo "FAIL $file is not in ${file%%/*}/local.mk"; failed=1; }
done

[ -z "$gone" ] || { echo "FAIL docs/ARCHITECTURE.md names files that are gone: $gone"; failed=1; }
exit "$failed"
