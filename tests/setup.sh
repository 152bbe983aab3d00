#!/bin/sh
# Installs the Debian packages that are missing; says so and stops where it may not. Quick when all are there.
set -e

# To build, to run the demo, to test and to lint, in this order.
packages="build-essential pkg-config liblua5.4-dev libopenblas-dev libstb-dev libcjson-dev zlib1g-dev libedit-dev nettle-dev
libseccomp-dev
dataset-fashion-mnist
libcmocka-dev lua5.4 strace
clang clang-format lua-check"
# Only for those who ask for it.
[ "${TURBOJPEG:-0}" != 1 ] || packages="$packages libturbojpeg0-dev"

missing=""
for package in $packages; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "missing packages:$missing"
if ! command -v apt-get >/dev/null; then
    echo "this system has no apt-get: install what corresponds to them, then run make again" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root="sudo"
else
    echo "install them as root, then run make again:  apt-get install$missing" >&2
    exit 1
fi
# The package lists are fetched only when the packages cannot be had with those at hand.
export DEBIAN_FRONTEND=noninteractive
install="$as_root apt-get install -y -q --no-install-recommends"
$install $missing >/dev/null 2>&1 || { $as_root apt-get update -q && $install $missing; }
