-- Tries: to load a library of C
-- Status: 1
-- Says: package is not there

package.loadlib("libc.so.6", "system")
