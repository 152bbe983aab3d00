#!/bin/sh
# What `make demo` runs once everything is built: transfer against from scratch on real pictures, offline.
set -e
cd "$(dirname "$0")/.."
out=runs/demo-$(date +%Y%m%d-%H%M%S)-$$
exec ./build/graft run demo --out "$out"
