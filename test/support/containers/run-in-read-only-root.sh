#!/bin/sh
# test/flows/assembled-services.test.ts -> here -> a program that sees what it would see in its container.
# Guarantees: its root is read-only, /tmp and /dev/shm too; its files are those of <app>, at /app; it runs as user 10001,
# without capabilities or a way to gain any. Only the program sees its mounts, and they end with it.
#
#   run-in-read-only-root.sh <empty directory> <app> <secrets> <files> <node> <program> [<argument> …]
#   run-in-read-only-root.sh --beside <pid> <program> [<argument> …]   in the root of one that runs, as its health check
#
# Needs root, on Linux. <files> are single files as Compose mounts them, "<file>:<place> …"; none holds a space. <node> is
# the path of the `node` binary.
set -eu
inside_path=/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin
as_user="setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all"
if [ "${1:-}" = --beside ]; then
  pid=$2
  shift 2
  # shellcheck disable=SC2086 # several words
  exec nsenter --target "$pid" --mount --root --wd=/ -- env PATH="$inside_path" \
    $as_user -- env --chdir=/app "$@"
fi
if [ "${1:-}" != --inside ]; then
  exec unshare --mount --propagation private "$0" --inside "$@"
fi
root=$2 app=$3 secrets=$4 files=$5 node=$6
shift 6

mount -t tmpfs -o mode=0755 tmpfs "$root"
mkdir -p "$root/app" "$root/dev" "$root/etc" "$root/proc" "$root/run/secrets" "$root/tmp" "$root/usr" "$root/opt/bin"
# A start makes some forty mounts: all in one command, at the end.
mounts=""
read_only() { mounts="$mounts$1 $2 none bind,ro 0 0
"; }
for name in bin lib lib64 sbin; do
  if [ -L "/$name" ]; then
    cp -P "/$name" "$root/$name"
  elif [ -d "/$name" ]; then
    mkdir "$root/$name"
    read_only "/$name" "$root/$name"
  fi
done
read_only /usr "$root/usr"
# What programs look up; the rest of it is the image's own.
for name in ssl resolv.conf hosts nsswitch.conf passwd group ld.so.cache localtime; do
  if [ -d "/etc/$name" ]; then
    mkdir "$root/etc/$name"
  elif [ -e "/etc/$name" ]; then
    : >"$root/etc/$name"
  else
    continue
  fi
  read_only "/etc/$name" "$root/etc/$name"
done
for mounted in $files; do
  place=$root${mounted##*:}
  mkdir -p "${place%/*}"
  if [ -d "${mounted%%:*}" ]; then mkdir -p "$place"; else : >"$place"; fi
  read_only "${mounted%%:*}" "$place"
done
read_only "$app" "$root/app"
# One by one, as Compose does it, and under Compose's names: the file's name without its ending.
for file in "$secrets"/*; do
  name=${file##*/}
  : >"$root/run/secrets/${name%.*}"
  read_only "$file" "$root/run/secrets/${name%.*}"
done
: >"$root/opt/bin/node"
read_only "$node" "$root/opt/bin/node"
for device in null urandom random; do
  : >"$root/dev/$device"
  mounts="$mounts/dev/$device $root/dev/$device none bind 0 0
"
done
table=$(mktemp)
printf %s "$mounts" >"$table"
mount --all --fstab "$table"
rm "$table"
mount -t proc proc "$root/proc" 2>/dev/null || mount --bind /proc "$root/proc"
mount -o remount,ro "$root"
export PATH="$inside_path"
# shellcheck disable=SC2086 # several words
exec chroot "$root" $as_user -- env --chdir=/app "$@"
