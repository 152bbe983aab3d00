/* core.child: the program starts itself, for work that wants a process of its own (program only). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "core.h"
#include "error.h"
#include "state.h"

enum {
    EXIT_NOT_STARTED = 127,
    LOOK_EVERY = 100 /* milliseconds, for a signal that came between two looks */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* In the new process, which reads nothing; it gets a group of its own, so that Ctrl-C at a terminal reaches
 * only the parent, which passes it on. Only what is safe between fork and exec is called here. */
static void become(const char *const *words, int out, pid_t parent) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDONLY);
    if (getppid() == parent && dup2(nothing, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0) {
        execv("/proc/self/exe", (char *const *)words);
    }
    _exit(EXIT_NOT_STARTED);
}

struct child {
    pid_t pid;
    int out;      /* what it writes comes from here */
    double began; /* when it was started */
    double first; /* seconds until its first output, negative: none came */
};

static int start(struct child *child, const char *const *words) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return gr_fail(GR_ERROR_FILE, "no pipe to a new process: %s", strerror(errno));
    pid_t parent = getpid();
    child->began = now();
    child->pid = fork();
    if (child->pid == 0)
        become(words, ends[1], parent);
    int reason = errno;
    close(ends[1]);
    child->out = ends[0];
    if (child->pid > 0)
        return GR_OK;
    close(ends[0]);
    return gr_fail(GR_ERROR_FILE, "no new process: %s", strerror(reason));
}

/* Waits for what comes next. Returns the number of bytes, 0 at the end. When a signal came the child is ended
 * with its parent: it has nothing to tidy up. */
static ssize_t receive(lua_State *L, struct child *child, char *to, size_t room) {
    struct pollfd waiting = {.fd = child->out, .events = POLLIN};
    int ready = 0;
    while (ready <= 0) {
        if (graft_poll(L)) {
            kill(child->pid, SIGKILL);
            return 0;
        }
        ready = poll(&waiting, 1, LOOK_EVERY);
    }
    ssize_t count = read(child->out, to, room);
    if (count > 0 && child->first < 0)
        child->first = now() - child->began;
    return count;
}

/* Waits for its end. Returns its exit status, or 128 and the signal's number. */
static int finish(const struct child *child) {
    int status = 0;
    close(child->out);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* core.child(list of words) -> what it wrote, exit status, seconds from its start to its first output */
static int core_child(lua_State *L) {
    int count = 0;
    char part[4096];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const char *const *given = graft_strings(L, 1, "core.child", "the words", &count);
    const char **words = graft_scratch(L, (size_t)count + 2, sizeof *words);
    words[0] = "graft";
    memcpy(words + 1, given, (size_t)count * sizeof *words);
    graft_no_finalizer(L, "core.child");
    size_t length = 0, room = 1 << 20;
    char *text = graft_scratch(L, 1, room);
    struct child child = {.first = -1};
    graft_check(L, start(&child, words));
    ssize_t came;
    while ((came = receive(L, &child, part, sizeof part)) > 0)
        for (ssize_t i = 0; i < came && length < room; i++)
            text[length++] = part[i];
    int status = finish(&child);
    graft_check(L, graft_poll(L));
    lua_pushlstring(L, text, length);
    lua_pushinteger(L, status);
    lua_pushnumber(L, child.first);
    return 3;
}

void graft_open_child(lua_State *L) {
    lua_pushcfunction(L, core_child);
    lua_setfield(L, -2, "child");
}
