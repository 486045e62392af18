#!/bin/sh
# sh appliance/setup.sh run|lab|test|bench|deb
#
# Makes a bare Debian 12 ready to be a gateway (`run`), for `npm run lab`, `npm test`, `npm run bench` or `npm run deb`: installs the Debian packages whose
# programs are missing and the npm packages of package-lock.json. Says what it installs and why; says nothing when nothing is missing.
# Starts no service, and builds nothing: the npm packages need no install script.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
# Only the test of this script sets it: the root of the machine that is looked at.
root=${POSTERN_SETUP_ROOT:-}
PATH=$PATH:$root/usr/local/sbin:$root/usr/sbin:$root/sbin

# One line each: what must be there (a command or a path), its package, what for.
for_run() {
  cat <<'END'
/usr/lib/*/libatomic.so.1 libatomic1 Node itself
/usr/lib/*/libstdc++.so.6 libstdc++6 Node itself
/etc/ssl/certs/ca-certificates.crt ca-certificates TLS towards npm packages and smarthosts
ip iproute2 network namespaces, policy routes
iptables iptables the rules in the kernel
ipset ipset sets of addresses in the kernel
sysctl procps settings of the kernel; ps for people
setpriv util-linux starting each role as its own user
END
}
for_lab() {
  for_run
  cat <<'END'
conntrack conntrack looking at tracked connections
openssl openssl certificates of the servers that are played
swaks swaks a mail client that people know
curl curl looking at the metrics
/usr/share/perl5/IO/Socket/INET6.pm libio-socket-inet6-perl swaks over IPv6
END
}
for_test() {
  for_lab
  cat <<'END'
tcpdump tcpdump captures that show what leaves the gateway
python3 python3 Python's smtplib as a sender
strip binutils taking the debug information out of the Node of the package
mmdebstrap mmdebstrap a root file system to try the units in
systemd-nspawn systemd-container booting it
chromium chromium looking at the panel
END
}
for_bench() {
  for_lab
  cat <<'END'
gcc gcc the load generator and the sink
/usr/include/stdio.h libc6-dev the load generator and the sink
END
}

for_deb() {
  for_run
  cat <<'END'
dpkg-deb dpkg building the package
strip binutils taking the debug information out of Node
lintian lintian looking for mistakes in it
END
}

say() { printf 'setup: %s\n' "$*" >&2; }

is_there() {
  case $1 in
    /*) for path in "$root"$1; do [ -e "$path" ] && return 0; done; return 1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

# No service is started by what is installed here, and no prompt waits for an answer.
quiet_apt() {
  policy=/usr/sbin/policy-rc.d
  if ! [ -e "$root$policy" ]; then
    trap 'rm -f "$root$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$root$policy"
    chmod 755 "$root$policy"
  fi
  # An installation without lists of packages cannot find one; old lists name versions that are gone.
  [ -n "${updated:-}" ] || { say 'apt-get update'; apt-get -q update >&2; updated=1; }
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >&2
}

install_debian() {
  missing=
  reasons=
  while read -r need package why; do
    is_there "$need" && continue
    missing="$missing $package"
    reasons="$reasons
  $package: $why"
  done <<END
$("for_$1")
END
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    say "missing here, and this is no Debian. Install what corresponds to these packages:$reasons"
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    say "missing here:$reasons"
    say "as root: apt-get update && apt-get install --no-install-recommends$missing"
    exit 1
  fi
  say "installing from Debian:$reasons"
  # shellcheck disable=SC2086 # a list of names
  quiet_apt install --no-install-recommends $missing
}

# Prometheus' checker is one program in the package of a whole server, so it is taken out instead of installing that.
unpack_promtool() {
  ! is_there promtool && ! [ -x "$top/.cache/bin/promtool" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say 'promtool is missing (package prometheus): its test will say "skipped"'
    return 0
  fi
  say 'unpacking promtool from the package prometheus: it checks the metrics (the server is not installed)'
  mkdir -p "$top/.cache/bin" "$top/.cache/prometheus"
  (cd "$top/.cache/prometheus" && quiet_apt -o APT::Sandbox::User=root download prometheus && dpkg-deb -x ./prometheus_*.deb .)
  mv "$top/.cache/prometheus/usr/bin/promtool" "$top/.cache/bin/promtool"
  rm -rf "$top/.cache/prometheus"
}

npm_ci() {
  # `npm run -s` hands its silence down, which would hide why an installation failed.
  (cd "$top" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  # The npm of Debian 12 installs this package, but does not link its program.
  [ -x "$bin/node" ] || ln -sf "../node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')/bin/node" "$bin/node"
  if ! "$bin/node" --version >/dev/null; then
    say "node_modules/.bin/node does not run on this machine ($(uname -sm)); Postern runs on Linux, x64 or arm64"
    exit 1
  fi
}

# The lock file that node_modules was made from is kept beside it.
install_npm() {
  bin=$top/node_modules/.bin
  stamp=$top/node_modules/.package-lock.stamp
  [ -x "$bin/node" ] && cmp -s "$top/package-lock.json" "$stamp" && return 0
  say 'npm ci: the packages of package-lock.json, Node 26 among them, into node_modules'
  npm_ci
  # npm leaves out, without a word, optional packages that want a newer Node than the one it runs on. Now there is one.
  (PATH=$bin:$PATH && oxlint --version >/dev/null 2>&1) || { say 'npm ci again, on the new Node'; PATH=$bin:$PATH npm_ci; }
  cp "$top/package-lock.json" "$stamp"
}

case ${1:-} in
  run) install_debian run ;;
  lab) install_debian lab ;;
  test) install_debian test; unpack_promtool ;;
  bench) install_debian bench ;;
  deb) install_debian deb ;;
  *) echo 'usage: sh appliance/setup.sh run|lab|test|bench|deb' >&2; exit 2 ;;
esac
install_npm
