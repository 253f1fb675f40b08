#!/bin/sh
# The unit files: systemd understands every line, and the exposure it computes stays below a bound
# for each service. Needs systemd-analyze; without it the test is skipped.
set -eu
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
command -v systemd-analyze >/dev/null || exit 77
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT

for unit in "$srcdir"/systemd/*; do
    name=$(basename "$unit")
    case $name in
    *.service.in) sed 's|@pkglibexecdir@/landfall-[a-z]*|/bin/true|' "$unit" >"$units/${name%.in}" ;;
    *.socket | *.target) cp "$unit" "$units/$name" ;;
    esac
done

failed=0
# It exits 0 for keys it does not know, so any mention of a unit of ours counts.
for unit in "$units"/*; do
    instance=$units/$(basename "$unit" | sed 's/@/@root/')
    said=$(systemd-analyze verify --man=no "$instance" 2>&1 | grep landfall || true)
    if [ -n "$said" ]; then
        printf 'FAIL %s\n' "$said"
        failed=1
    fi
done

# What they are told to read is there as soon as systemd-tmpfiles has run, and stays the administrator's.
root=$units/root
make_files() { grep '^f' "$srcdir/systemd/landfall.tmpfiles" | systemd-tmpfiles --create --root="$root" -; }
mkdir "$root"
make_files
sed -n 's/^ExecStart=.* --config \([^ ]*\) .*/\1/p' "$units"/*.service | sort -u >"$units/read"
while read -r file; do
    made=$(cat "$root$file")
    echo '{"LogLevel": 7}' >"$root$file"
    chmod 640 "$root$file"
    make_files
    if [ "$made, $(cat "$root$file"), $(stat -c %a "$root$file")" != '{}, {"LogLevel": 7}, 640' ]; then
        printf 'FAIL %s: it is not made, or made again\n' "$file"
        failed=1
    fi
done <"$units/read"

# By default five deaths within ten seconds are the last, and twenty of a socket's service within two.
for unit in "$units"/*; do
    case $unit in
    *.service) key=StartLimitIntervalSec ;;
    *.socket) key=TriggerLimitIntervalSec ;;
    *) continue ;;
    esac
    if ! grep -qx "$key=0" "$unit"; then
        printf 'FAIL %s: %s=0 is missing, so it may stay down\n' "$(basename "$unit")" "$key"
        failed=1
    fi
done

# Exposure times ten: what systemd-analyze calls OK ends at 50. mountd must mount.
while read -r service bound; do
    if ! systemd-analyze security --offline=true --threshold="$bound" --no-pager \
        "$units/landfall-$service@.service" >"$units/report" 2>&1; then
        printf 'FAIL %s: %s\n' "$service" "$(tail -n 1 "$units/report")"
        failed=1
    fi
done <<BOUNDS
frontd 10
syncd 20
mountd 65
cryptd 5
BOUNDS
exit "$failed"
