#!/bin/sh
# Prints a C file that holds the named files as gr_embedded[] (bindings/embedded.h).
# The folder scripts/ is left out of the names: scripts/graft/init.lua is "graft/init.lua".
set -e
LC_ALL=C
export LC_ALL

# One path a line, sorted by the name that the program will know.
paths=$(for path; do printf '%s %s\n' "${path#scripts/}" "$path"; done | sort | cut -d' ' -f2)

echo '#include "embedded.h"'
number=0
for path in $paths; do
    number=$((number + 1))
    printf '\nstatic const unsigned char file_%d[] = { /* %s */\n' "$number" "$path"
    od -v -A n -t x1 "$path" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
    echo '0};'
done

printf '\nconst struct gr_embedded gr_embedded[] = {\n'
number=0
for path in $paths; do
    number=$((number + 1))
    # One byte less: the array ends with a 0, so that an empty file is valid C too.
    printf '    {"%s", file_%d, sizeof file_%d - 1},\n' "${path#scripts/}" "$number" "$number"
done
printf '    {0, 0, 0},\n};\n'
