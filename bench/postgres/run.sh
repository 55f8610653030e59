#!/usr/bin/env bash
# Searches the capacity of a small service in front of PostgreSQL, both started here on free ports in a folder of their own
# and ended with it: bench/postgres/run.sh [FLAGS OF capacity]. Needs Debian's postgresql, python3-psycopg2 and
# python3-waitress, and a built loadr-fast (LOADR, or target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
loadr=${LOADR:-$here/../../target/release/loadr-fast}
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
folder=$(mktemp -d)
user=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL does not run as root.
    chown postgres "$folder"
    user=(setpriv --reuid postgres --regid postgres --init-groups)
fi
service=
stop() {
    [ -z "$service" ] || kill "$service" 2>/dev/null || true
    "${user[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM
"${user[@]}" "$bin/initdb" -D "$folder/data" -U bench -A trust >/dev/null
"${user[@]}" "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" \
    -o "-c listen_addresses= -c unix_socket_directories=$folder" start >/dev/null
"${user[@]}" "$bin/createdb" -h "$folder" -U bench bench
mkfifo "$folder/port"
/usr/bin/python3 "$here/service.py" "$folder" >"$folder/port" 2>"$folder/service.log" &
service=$!
read -r port <"$folder/port" || { cat "$folder/service.log" >&2; exit 1; }
export ACCOUNTS_URL="http://127.0.0.1:$port"
status=0
"$loadr" capacity "$here/plan.yaml" "$@" || status=$?
exit "$status"
