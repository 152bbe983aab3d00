/* A recipe is a guest: `graft run` and `graft plan` execute it in a process of its own with few rights.
 *
 *   the program (bindings/sandbox_parent.c) reads the command line, makes the run folder, starts itself once
 * more with a policy in file descriptor 3, watches clock, memory and disk, and says how it ended; the child
 * (bindings/sandbox_child.c) takes the policy, loads everything that is trusted, gives its rights up
 *   (bindings/sandbox_rules.c), and only then reads the first byte of the recipe.
 *
 * Three layers, each of which holds by itself: what a recipe can name in Lua (scripts/graft/guest.lua), the
 * paths that the runtime opens (base/paths.h), and the kernel's rules. */
#ifndef GRAFT_BINDINGS_SANDBOX_H
#define GRAFT_BINDINGS_SANDBOX_H

#include <cjson/cJSON.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* How the child ends when Lua's own memory breaks the limit, or when its rights could not be given up. */
enum { GRAFT_GUEST_POLICY = 3, GRAFT_GUEST_MEMORY = 97, GRAFT_GUEST_REFUSED = 98 };

/* The policy, one line of JSON, the recipe's text behind it:
 *   {"name", "chunk", "path", "out": folder|null, "read": [paths], "memory": bytes, "disk": bytes, "threads":
 * count, "landlock": boolean} */

/* ---- the child ---- */

/* Is this process the child (`graft --guest WORDS...`)? */
bool graft_guest_called(int argc, char **argv);
/* Takes the policy, closes the file system, sets the limits of files, warms BLAS and starts the pool. The
 * status is GR_OK or that of the error that is set; without it nothing may run. */
int graft_guest_enter(void);
/* A state whose memory counts like that of tensors. */
lua_State *graft_guest_state(void);
/* Adds core.guest to the core table at the top of the stack: the policy as a table, with the recipe's `text`.
 */
void graft_open_guest(lua_State *L);
/* After this no system call is left but for computing, reading and writing open files and those of the roots.
 */
int graft_guest_lock(lua_State *L);

/* ---- the parent ---- */

/* Adds core.guard and core.protections to the core table at the top of the stack. */
void graft_open_guard(lua_State *L);

/* ---- the rules ---- */

/* The version of Landlock that this kernel offers; 0: none that helps. */
int graft_rules_landlock(void);
/* Only the files of the policy from now on, for this thread and those that it starts. */
int graft_rules_files(const cJSON *policy);
/* Only harmless system calls from now on, for all threads. */
int graft_rules_calls(void);
/* Most bytes of a file, open files, no core dump. */
int graft_rules_limits(size_t disk);

#endif
