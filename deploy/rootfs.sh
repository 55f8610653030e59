#!/bin/sh
# Puts a program and what it needs to run into an empty root directory: for an image without a distribution in it.
#
#   deploy/rootfs.sh PROGRAM DIRECTORY
set -eu

program=${1:?the program}
root=${2:?an empty directory}

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/tmp"
chmod 1777 "$root/tmp"
cp "$program" "$root/usr/bin/loadr-fast"

# Each at the path that the loader looks for it.
ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'loadr:x:65532:65532:loadr-fast:/tmp:/usr/bin/loadr-fast' > "$root/etc/passwd"
echo 'loadr:x:65532:' > "$root/etc/group"
# Names are looked up in /etc/hosts, which containers are given, and then by DNS.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
