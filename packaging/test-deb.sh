#!/usr/bin/env bash
# Builds the Debian package, installs it in a clean root, starts the server there as the unit does, counts,
# restarts, and purges the package. Needs root, debootstrap, and what build-deb.sh needs. Everything is made
# in a temporary directory and removed afterwards. MIRROR names a Debian mirror.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }
fail() { echo "test-deb: $*" >&2; exit 1; }

# Without the host's network, so that a server on the host does not matter.
if [ "${1:-}" != --in-root ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    step "build"
    ./build-deb.sh "$work"
    dpkg-deb --info "$work"/globalcounter_*.deb
    dpkg-deb --contents "$work"/globalcounter_*.deb

    step "a clean root"
    . /etc/os-release
    debootstrap --variant=minbase --include=adduser,man-db "$VERSION_CODENAME" "$work/root" \
        ${MIRROR:+"$MIRROR"} >"$work/debootstrap.log" || { tail "$work/debootstrap.log"; exit 1; }
    cp "$work"/globalcounter_*.deb "$work/root/globalcounter.deb"
    cp /etc/resolv.conf "$work/root/etc/resolv.conf"

    step "install"
    chroot "$work/root" apt-get install --yes --no-install-recommends /globalcounter.deb
    unshare --net ./test-deb.sh --in-root "$work/root"

    step "purge"
    chroot "$work/root" apt-get purge --yes globalcounter
    for path in etc/globalcounter var/lib/globalcounter usr/bin/globalcounter usr/share/doc/globalcounter; do
        [ ! -e "$work/root/$path" ] || fail "/$path is left"
    done
    step "passed"
    exit
fi

root=$2
run() { chroot "$root" "$@"; }
# A network of its own begins without its loopback interface.
ip link set lo up

unit=$root/usr/lib/systemd/system/globalcounter.service
command=$(sed -n 's/^ExecStart=//p' "$unit")
environment=$(sed -n 's/^Environment=//p' "$unit")
state=/var/lib/$(sed -n 's/^StateDirectory=//p' "$unit")
user=$(sed -n 's/^User=//p' "$unit")
# As systemd does.
run install --directory --owner="$user" --group="$user" --mode=700 "$state"

start() {
    # shellcheck disable=SC2086 # each is a list of words
    chroot --userspec="$user" "$root" env $environment STATE_DIRECTORY="$state" $command >"$root/ready" &
    server=$!
    until grep -q '^admin ' "$root/ready"; do kill -0 "$server"; sleep 0.1; done
}
stop() {
    kill "$server"
    wait "$server" || fail "the server did not shut down cleanly"
}

step "start: $command"
start
grep -q '^serving tcp://127.0.0.1:9999 ' "$root/ready" || fail "it does not listen on loopback"
[ "$(run globalcounter count visits)" = 1 ] || fail "the first count is not 1"
[ "$(run globalcounter count --server udp://127.0.0.1:9999 visits)" = 2 ] || fail "the second is not 2"
stop
start
[ "$(run globalcounter count visits)" = 3 ] || fail "the topic did not survive the restart"
stop

step "manual pages, completions, configuration"
run man --where globalcounter globalcounter-serve
run man globalcounter-serve | grep -- --durability >/dev/null || fail "the page of serve is not complete"
run bash -c '. /usr/share/bash-completion/completions/globalcounter; complete -p globalcounter'
[ -f "$root/usr/share/zsh/vendor-completions/_globalcounter" ] || fail "no completion for zsh"
[ -f "$root/usr/share/fish/vendor_completions.d/globalcounter.fish" ] || fail "no completion for fish"
run dpkg-query --show --showformat '${Conffiles}\n' globalcounter | grep /etc/globalcounter/globalcounter.toml
[ -L "$root/etc/systemd/system/multi-user.target.wants/globalcounter.service" ] || fail "not enabled"
[ ! -L "$root/etc/systemd/system/sockets.target.wants/globalcounter.socket" ] || fail "the socket is enabled"
