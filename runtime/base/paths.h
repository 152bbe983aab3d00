/* Which files this process may touch. All of them, until gr_paths_close: from then on only what lies at or
 * beneath the roots that were allowed before, links followed. Every function of the runtime that opens a file
 * by its name asks here first. The kernel is asked to hold the same rules where it can (bindings/sandbox.h);
 * this is the layer that every kernel has, and the one with words for a person. */
#ifndef GRAFT_BASE_PATHS_H
#define GRAFT_BASE_PATHS_H

#include <stdbool.h>

enum { GR_PATH_ROOM = 4096 }; /* bytes of a path, its end included */

/* Lets this file, or this folder and all beneath it, be read; `write` also lets files and folders beneath it
 * be made, replaced and removed, and then it must exist. What is not there may be looked for. GR_ERROR_FILE
 * gives the cause without the path. */
int gr_paths_allow(const char *path, bool write);

/* Closes everything else, for good. The two sentences, which end refusals, must stay alive. */
void gr_paths_close(const char *when_read, const char *when_written);
bool gr_paths_closed(void);

/* May `path` be read (or written, which includes making and removing it)? Then *use is the path to open:
 * `path` itself while nothing is closed, else its real one, in `room`, which has no link left but perhaps the
 * last part of a path that is written. Refusals, GR_ERROR_FILE without the path, do not tell whether the file
 * is there. */
int gr_path_check(const char *path, bool write, char room[GR_PATH_ROOM], const char **use);

/* Why a file could not be opened or examined, right after errno said so, as GR_ERROR_FILE without the path:
 * of one that is not there "no such WHAT", and the nearest name in its folder, where that may be read. */
int gr_path_fail(const char *path, const char *what);
/* The nearest name to the last part of `path` in its folder, in `room`; NULL when there is none, or when the
 * folder may not be read. */
const char *gr_path_nearest(const char *path, char room[GR_PATH_ROOM]);

#endif
