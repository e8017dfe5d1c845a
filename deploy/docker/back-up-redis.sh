#!/usr/bin/env bash
# Redis' append-only directory -> here -> $BACKUP_TARGET/petrel-<time>.tar.gz.
# Guarantees: what was answered before it began is in the copy; a copy bears its name only when it is whole; Redis does not
# rewrite its files meanwhile, and may again afterwards (after SIGKILL from the next round on); the newest $BACKUP_KEEP stay.
#
#   back-up-redis.sh         now, and every $BACKUP_HOURS hours
#   back-up-redis.sh once    now
#   back-up-redis.sh check   is the newest copy younger than two rounds?
#
# Reads REDIS_HOST, REDIS_PORT, REDIS_USER, REDIS_PASSWORD_FILE, REDIS_DATA, BACKUP_TARGET, BACKUP_HOURS, BACKUP_KEEP.
set -euo pipefail

hours=${BACKUP_HOURS:-6}
keep=${BACKUP_KEEP:-28}
data=${REDIS_DATA:-/data}
target=${BACKUP_TARGET:-/backup}
# What Redis is set to again afterwards.
percentage=${REWRITE_PERCENTAGE:-100}

ask_redis() {
  REDISCLI_AUTH=$(cat "${REDIS_PASSWORD_FILE:-/dev/null}") redis-cli -e \
    -h "${REDIS_HOST:-127.0.0.1}" -p "${REDIS_PORT:-6379}" --user "${REDIS_USER:-default}" "$@"
}

allow_rewrites() {
  ask_redis CONFIG SET auto-aof-rewrite-percentage "$percentage" >/dev/null
}

back_up() {
  local name draft info status=0
  name="petrel-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"
  draft="$target/.$name"
  ask_redis CONFIG SET auto-aof-rewrite-percentage 0 >/dev/null
  # One that runs is let end.
  while true; do
    info=$(ask_redis INFO persistence)
    grep -Eq '^aof_rewrite_(in_progress|scheduled):1' <<<"$info" || break
    sleep 1
  done
  # With `appendfsync everysec` a write may wait for the disk, two seconds at most, before it is in the file.
  for _ in $(seq 30); do
    info=$(ask_redis INFO persistence)
    grep -q '^aof_buffer_length:0' <<<"$info" && break
    sleep 0.1
  done
  # The last file grows while it is read: 1 is tar's word for that, and Redis loads a file whose last command is cut short.
  tar -czf "$draft" -C "$data" appendonlydir 2>/dev/null || status=$?
  allow_rewrites
  if [ "$status" -gt 1 ]; then
    rm -f "$draft"
    echo "backup: tar failed with $status" >&2
    return 1
  fi
  gzip -t "$draft"
  mv "$draft" "$target/$name"
  echo "backup: $name, $(stat -c %s "$target/$name") bytes"
  # Names are in the order of time.
  find "$target" -maxdepth 1 -name 'petrel-*.tar.gz' | sort | head -n "-$keep" | xargs -r rm -f
}

check() {
  [ -n "$(find "$target" -maxdepth 1 -name 'petrel-*.tar.gz' -mmin "-$((hours * 120))")" ]
}

case ${1:-} in
  check) check ;;
  once)
    trap 'allow_rewrites || true' EXIT
    back_up
    ;;
  "")
    trap 'exit 0' TERM INT
    rm -f "$target"/.petrel-*.tar.gz
    while true; do
      # A round that fails says why; the health check notices that none succeeds.
      bash "$0" once || true
      sleep "$((hours * 3600))" &
      wait $!
    done
    ;;
  *)
    echo "back-up-redis.sh [once | check]" >&2
    exit 2
    ;;
esac
