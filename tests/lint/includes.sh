#!/bin/sh
# Who may include what. One row: an include path (shell pattern) and the files that may name it.
# A new row is the place to argue why a process needs a library.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"

rules='
sqlite3.h       syncd/store*.[ch]
curl/*          syncd/http.c syncd/http_call.[ch]
fuse*           mountd/*.[ch]
openssl/*       cryptd/*.[ch] syncd/sigv4*.c syncd/hash*.c
expat.h         syncd/s3_xml*.c
seccomp.h       common/sandbox*.c
cap-ng.h        common/sandbox*.c
linux/landlock* common/sandbox*.c
event2/http*    frontd/*.[ch]
wslay/*         frontd/websocket.c cli/websocket.c
systemd/*       common/daemon*.c syncd/session_bus.c
frontd/*        frontd/*.[ch]
syncd/*         syncd/*.[ch]
mountd/*        mountd/*.[ch]
cryptd/*        cryptd/*.[ch]
cli/*           cli/*.[ch]
'
failed=0
fail() {
    printf 'FAIL %s\n' "$*"
    failed=1
}

# Whether the file $1 matches one of the patterns that follow.
allowed() {
    file=$1
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2254
        case $file in $pattern) return 0 ;; esac
    done
    return 1
}

# Checks one "file header" pair against the first row that knows the header.
check_include() {
    while read -r header files; do
        [ -n "$header" ] || continue
        # shellcheck disable=SC2254
        case $2 in $header) ;; *) continue ;; esac
        set -f
        # shellcheck disable=SC2086
        allowed "$1" $files || fail "$1 includes <$2>, which belongs to: $files"
        set +f
        return
    done <<RULES
$rules
RULES
}

sources=$(find common frontd syncd mountd cryptd cli -name '*.[ch]' ! -name '*.pb-c.*' | sort)

# shellcheck disable=SC2016
includes=$(printf '%s\n' "$sources" |
    xargs awk 'match($0, /^[ \t]*#[ \t]*include[ \t]*[<"][^>"]+/) {
        name = substr($0, RSTART, RLENGTH); sub(/.*[<"]/, "", name); print FILENAME, name }')
while read -r file header; do
    [ -n "$file" ] && check_include "$file" "$header"
done <<INCLUDES
$includes
INCLUDES

for file in $(find common frontd syncd mountd cryptd cli tests proto systemd -type f ! -name '*.pb-c.*' | sort); do
    case ${file##*/} in
    *manager* | *helper* | *misc* | *util*) fail "$file: the name says nothing; name it after its subject" ;;
    esac
done

large=$(printf '%s\n' "$sources" | xargs wc -l | awk '$2 != "total" && $1 > 500 { print $2 " has " $1 " lines; 500 are the most" }')
[ -z "$large" ] || fail "$large"
# shellcheck disable=SC2016
wide=$(printf '%s\n' "$sources" | xargs awk 'length($0) > 120 { print FILENAME ":" FNR ": longer than 120 columns" }')
[ -z "$wide" ] || fail "$wide"
exit "$failed"
