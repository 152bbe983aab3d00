/* The parent: starts the child with its policy, watches it, and says how it ended. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/memory.h"
#include "base/status.h"
#include "core.h"
#include "error.h"
#include "sandbox.h"
#include "state.h"

enum {
    NOT_STARTED = 127,
    LOOK_EVERY = 50000000, /* nanoseconds between two looks at memory */
    MIN_FILE = 16384,      /* bytes that every file counts, for those that hold nothing take room too */
    DEEPEST = 8,           /* folders in folders of a run folder */
    PAGES = 1 << 20,       /* of slack for what is not the recipe's: 1 MiB ... */
    SHARE = 10,            /* ... and this part of the limit */
    MANY_FILES = 1024,
};
static const double GRACE = 1; /* seconds between the wish to end and the end */

struct watch {
    pid_t pid;
    const char *out;     /* run folder, or NULL */
    double time;         /* seconds; 0: no limit */
    size_t memory, disk; /* bytes */
    double began, next_look_at_disk;
    double kill_at;      /* when patience ends; 0: it was not asked to stop */
    int signals, signal; /* how many came to be passed on, and the last */
    const char *ended;   /* "time", "memory" or "disk": the limit that it broke */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- starting ---- */

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* What the child may know of the environment: how to show text, and where the program's own parts are. */
static bool passed_on(const char *variable) {
    static const char *const names[] = {"TERM=",
                                        "LANG=",
                                        "LC_",
                                        "TZ=",
                                        "COLUMNS=",
                                        "NO_COLOR=",
                                        "GRAFT_LUA_PATH=",
                                        "GRAFT_SIMD=",
                                        "LD_LIBRARY_PATH=",
                                        "OPENBLAS_CORETYPE=",
                                        "UBSAN_OPTIONS="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static const char **environment(lua_State *L) {
    static const char *const own[] = {
        "OPENBLAS_NUM_THREADS=1",
#ifdef SANITIZED
        "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1", /* looking for leaks needs a process */
#endif
    };
    extern char **environ;
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    const char **list = graft_scratch(L, count + 1 + sizeof own / sizeof *own, sizeof *list);
    for (size_t i = 0; i < count; i++)
        if (passed_on(environ[i]))
            list[kept++] = environ[i];
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        list[kept++] = own[i];
    return list;
}

/* A file without a name that holds the policy, at its beginning; -1 with the error set. */
static int policy_file(const char *policy, size_t size, const char *text, size_t length) {
    int fd = memfd_create("graft-policy", MFD_CLOEXEC);
    const char *parts[] = {policy, "\n", text};
    const size_t sizes[] = {size, 1, length};
    bool good = fd >= 0;
    for (int i = 0; good && i < 3; i++)
        for (size_t done = 0; good && done < sizes[i];) {
            ssize_t put = write(fd, parts[i] + done, sizes[i] - done);
            good = put > 0;
            done += good ? (size_t)put : 0;
        }
    int high =
        good ? fcntl(fd, F_DUPFD_CLOEXEC, GRAFT_GUEST_POLICY + 1) : -1; /* away from what the child gets */
    if (high >= 0) {
        close(fd);
        return high;
    }
    gr_fail(GR_ERROR_FILE, "the sandbox's policy cannot be passed on: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct start {
    const char **words, **variables;
    int policy;  /* its file */
    bool silent; /* stdout leads nowhere */
    pid_t parent;
    sigset_t mask; /* of signals, as it was */
};

/* In the new process. It gets a group of its own, so that Ctrl-C at a terminal reaches only the parent, which
 * passes it on. Only what is safe between fork and exec is called here. */
static void become(const struct start *start) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDWR);
    bool ready = getppid() == start->parent && dup2(nothing, STDIN_FILENO) == STDIN_FILENO;
    if (start->silent)
        ready = ready && dup2(nothing, STDOUT_FILENO) == STDOUT_FILENO;
    ready = ready && dup2(start->policy, GRAFT_GUEST_POLICY) == GRAFT_GUEST_POLICY;
    for (int fd = GRAFT_GUEST_POLICY + 1; fd < MANY_FILES;
         fd++) /* what came from above may stay open by itself */
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    sigprocmask(SIG_SETMASK, &start->mask, NULL);
    if (ready)
        execve("/proc/self/exe", (char *const *)start->words, (char *const *)start->variables);
    _exit(NOT_STARTED);
}

/* ---- watching ---- */

/* Bytes of memory that the process holds; 0 when the system does not say. */
static size_t resident(pid_t pid) {
    char path[32], text[128] = "";
    size_t whole = 0, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    return got > 0 && sscanf(text, "%zu %zu", &whole, &pages) == 2 ? pages * (size_t)sysconf(_SC_PAGESIZE)
                                                                   : 0;
}

/* Adds up what the files beneath an open folder, which is closed, take; stops above `most`. */
static size_t folder_size(int fd, size_t most, int depth) {
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    size_t sum = 0;
    struct stat info;
    if (!stream && fd >= 0)
        close(fd);
    for (const struct dirent *entry; stream && sum <= most && (entry = readdir(stream));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            fstatat(dirfd(stream), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        size_t size = (size_t)info.st_blocks * 512;
        sum += size > MIN_FILE ? size : MIN_FILE;
        if (S_ISDIR(info.st_mode) && depth < DEEPEST)
            sum += folder_size(
                openat(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), most,
                depth + 1);
    }
    if (stream)
        closedir(stream);
    return sum;
}

static bool fills_the_disk(struct watch *watch) {
    double started = now();
    if (!watch->out || started < watch->next_look_at_disk)
        return false;
    size_t used = folder_size(open(watch->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC), watch->disk, 0);
    double spent = now() - started;
    watch->next_look_at_disk = started + spent + (20 * spent > 0.5 ? 20 * spent : 0.5);
    return used > watch->disk;
}

static void end(struct watch *watch, const char *limit) {
    watch->ended = limit;
    watch->kill_at = now();
}

/* Looks at the clock, the memory and the disk. */
static void look(struct watch *watch) {
    double time = now();
    if (watch->kill_at == 0 && resident(watch->pid) > watch->memory + watch->memory / SHARE + PAGES)
        end(watch, "memory");
    else if (watch->kill_at == 0 && fills_the_disk(watch))
        end(watch, "disk");
    else if (!watch->ended && watch->time > 0 && time - watch->began > watch->time) {
        watch->ended = "time"; /* a step and a checkpoint may still be finished */
        watch->kill_at = time + GRACE;
        kill(watch->pid, SIGXCPU);
    }
    if (watch->kill_at > 0 && now() >= watch->kill_at)
        kill(watch->pid, SIGKILL);
}

/* Ctrl-C and its like go on to the child; the second time the child has a second left. */
static void pass_on(struct watch *watch, int number) {
    watch->signal = number;
    kill(watch->pid, number);
    if (++watch->signals > 1 && watch->kill_at == 0)
        watch->kill_at = now() + GRACE;
}

/* Ctrl-Z stops both; the time of the pause does not count. */
static void pause_both(struct watch *watch) {
    double before = now();
    kill(watch->pid, SIGSTOP);
    raise(SIGSTOP);
    kill(watch->pid, SIGCONT);
    watch->began += now() - before;
}

static void watched_signals(sigset_t *set) {
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGTSTP};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(set, numbers[i]);
}

/* Waits for the child's end. Returns its status as waitpid gives it. */
static int wait_for(struct watch *watch, const sigset_t *set) {
    int status = 0;
    const struct timespec wait = {.tv_nsec = LOOK_EVERY};
    for (;;) {
        int number = sigtimedwait(set, NULL, &wait);
        if (number == SIGINT || number == SIGTERM)
            pass_on(watch, number);
        else if (number == SIGTSTP)
            pause_both(watch);
        pid_t ended = waitpid(watch->pid, &status, WNOHANG);
        if (ended == watch->pid)
            return status;
        if (ended < 0 && errno == ECHILD)
            return NOT_STARTED << 8; /* cannot be: SIGCHLD has its default */
        look(watch);
    }
}

/* ---- core.guard ---- */

static int push_end(lua_State *L, const struct watch *watch, int status) {
    lua_createtable(L, 0, 4);
    if (WIFEXITED(status))
        lua_pushinteger(L, WEXITSTATUS(status));
    else
        lua_pushinteger(L, WTERMSIG(status));
    lua_setfield(L, -2, WIFEXITED(status) ? "status" : "killed_by");
    lua_pushstring(L,
                   WIFEXITED(status) && WEXITSTATUS(status) == GRAFT_GUEST_MEMORY ? "memory" : watch->ended);
    lua_setfield(L, -2, "limit");
    if (watch->signals) {
        lua_pushinteger(L, watch->signal);
        lua_setfield(L, -2, "signal");
    }
    return 1;
}

/* core.guard(words, policy, text, {time=, memory=, disk=, out=, silent=}) -> {status=|killed_by=, limit=,
 * signal=} */
static int core_guard(lua_State *L) {
    static const char *const known[] = {"time", "memory", "disk", "out", "silent", NULL};
    int count = 0;
    size_t size = 0, length = 0;
    sigset_t set;
    graft_check(L, graft_poll(L));
    lua_settop(L, 4);
    const char *const *given = graft_strings(L, 1, "core.guard", "the words", &count);
    const char *policy = graft_bytes(L, 2, "core.guard", "the policy", &size);
    const char *text = graft_bytes(L, 3, "core.guard", "the recipe", &length);
    graft_known(L, 4, "core.guard", known);
    struct watch watch = {
        .time = graft_field_number(L, 4, "core.guard", "time", 0),
        .memory = (size_t)graft_field_integer(L, 4, "core.guard", "memory", 0, 0, LUA_MAXINTEGER),
        .disk = (size_t)graft_field_integer(L, 4, "core.guard", "disk", 0, 0, LUA_MAXINTEGER),
        .out = graft_field_string(L, 4, "core.guard", "out", NULL),
    };
    struct start start = {.parent = getpid(),
                          .silent = graft_field_boolean(L, 4, "core.guard", "silent", false)};
    start.words = graft_scratch(L, (size_t)count + 3, sizeof *start.words);
    start.words[0] = "graft";
    start.words[1] = "--guest";
    memcpy(start.words + 2, given, (size_t)count * sizeof *start.words);
    start.variables = environment(L);
    graft_no_finalizer(L, "core.guard");
    start.policy = policy_file(policy, size, text, length);
    if (start.policy < 0)
        return graft_raise(L);
    watched_signals(&set);
    fflush(NULL);
    signal(SIGCHLD, SIG_DFL); /* who ignores it hears of no end */
    sigprocmask(SIG_BLOCK, &set, &start.mask);
    watch.began = now();
    watch.pid = fork();
    if (watch.pid == 0)
        become(&start);
    int cause = errno, status = 0;
    close(start.policy);
    if (watch.pid > 0)
        status = wait_for(&watch, &set);
    sigprocmask(SIG_SETMASK, &start.mask, NULL);
    if (watch.pid < 0)
        return graft_fail(L, GR_ERROR_FILE, "no new process: %s", strerror(cause));
    return push_end(L, &watch, status);
}

/* core.end_by(signal): ends this process as the child was ended, so that a shell sees the same. */
static int core_end_by(lua_State *L) {
    int number = (int)graft_integer(L, 1, "core.end_by", "the signal");
    fflush(NULL);
    signal(number, SIG_DFL);
    raise(number);
    return 0;
}

/* core.protections() -> text */
static int core_protections(lua_State *L) {
    int abi = graft_rules_landlock();
    bool calls = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
    if (abi)
        lua_pushfstring(L, "paths, Landlock %d%s", abi, calls ? ", seccomp" : "");
    else
        lua_pushfstring(L, "paths%s; this kernel has no Landlock", calls ? ", seccomp" : "");
    return 1;
}

/* core.room(path) -> free bytes of the file system, bytes of memory of this machine or its control group */
static int core_room(lua_State *L) {
    struct statvfs info;
    const char *path = graft_string(L, 1, "core.room", "the path");
    if (statvfs(path, &info) != 0)
        return graft_fail(L, GR_ERROR_FILE, "%s: cannot be looked at: %s", path, strerror(errno));
    lua_pushinteger(L, (lua_Integer)(info.f_bavail * info.f_frsize));
    lua_pushinteger(L, (lua_Integer)gr_memory_machine());
    return 2;
}

void graft_open_guard(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"guard", core_guard},
        {"end_by", core_end_by},
        {"protections", core_protections},
        {"room", core_room},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
