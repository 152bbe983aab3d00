/* What the kernel holds for the sandbox: Landlock for files and the network, seccomp for system calls, limits
 * of resources. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"
#include "sandbox.h"

/* ---- files: Landlock ---- */

/* As of Linux 6.12; headers may be older than the kernel. */
struct ruleset {
    uint64_t files, network, scoped;
};
enum {
    ABI_MOVES = 2, /* files can be allowed to move between folders: without it, a run folder cannot be used */
    ABI_TRUNCATE = 3,
    ABI_NETWORK = 4,
    ABI_DEVICES = 5,
    ABI_SCOPES = 6,
    TRUNCATE = 1 << 14,
    DEVICES = 1 << 15,
    BIND_AND_CONNECT = 3,
    SOCKETS_AND_SIGNALS = 3,
    MAX_OPEN = 1024,
};
#define READ_A_FILE ((uint64_t)LANDLOCK_ACCESS_FS_READ_FILE)
#define READ (READ_A_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                                \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |      \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REFER | TRUNCATE)

int graft_rules_landlock(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi < ABI_MOVES ? 0 : (int)abi;
}

static struct ruleset everything(int abi) {
    uint64_t files = (LANDLOCK_ACCESS_FS_REFER << 1) - 1; /* all up to ABI 2 */
    if (abi >= ABI_TRUNCATE)
        files |= TRUNCATE;
    if (abi >= ABI_DEVICES)
        files |= DEVICES;
    return (struct ruleset){files, abi >= ABI_NETWORK ? BIND_AND_CONNECT : 0,
                            abi >= ABI_SCOPES ? SOCKETS_AND_SIGNALS : 0};
}

static size_t size_of_ruleset(int abi) {
    return abi >= ABI_SCOPES    ? sizeof(struct ruleset)
           : abi >= ABI_NETWORK ? offsetof(struct ruleset, scoped)
                                : offsetof(struct ruleset, network);
}

static int allow(int ruleset, const char *path, uint64_t rights) {
    struct stat info;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && !(rights & LANDLOCK_ACCESS_FS_WRITE_FILE))
        return GR_OK; /* what cannot be opened now is not for the recipe later */
    if (fd < 0 || fstat(fd, &info) != 0) {
        int cause = errno;
        if (fd >= 0)
            close(fd);
        return gr_fail(GR_ERROR_FILE, "%s: cannot be opened for the recipe: %s", path, strerror(cause));
    }
    if (!S_ISDIR(info.st_mode))
        rights &= READ_A_FILE;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int cause = errno;
    close(fd);
    return result == 0 ? GR_OK
                       : gr_fail(GR_ERROR_FILE, "%s: Landlock does not take it: %s", path, strerror(cause));
}

static int allow_all(int ruleset, const cJSON *policy, uint64_t rights) {
    const cJSON *path, *out = cJSON_GetObjectItemCaseSensitive(policy, "out");
    cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(policy, "read")) {
        if (cJSON_IsString(path))
            GR_TRY(allow(ruleset, path->valuestring, READ & rights));
    }
    return cJSON_IsString(out) ? allow(ruleset, out->valuestring, WRITE & rights) : GR_OK;
}

int graft_rules_files(const cJSON *policy) {
    int abi = graft_rules_landlock();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return gr_fail(GR_ERROR_FILE, "the kernel does not take new privileges away: %s", strerror(errno));
    if (abi == 0 || cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(policy, "landlock")))
        return GR_OK; /* base/paths.h holds by itself */
    struct ruleset all = everything(abi);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, size_of_ruleset(abi), 0);
    if (ruleset < 0)
        return gr_fail(GR_ERROR_FILE, "Landlock gives no set of rules: %s", strerror(errno));
    int status = allow_all(ruleset, policy, all.files);
    if (!status && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        status = gr_fail(GR_ERROR_FILE, "Landlock does not take its rules: %s", strerror(errno));
    close(ruleset);
    return status;
}

/* ---- system calls: seccomp ---- */

/* What computing, and reading and writing files, needs. */
static const int harmless[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(_llseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(fstat64),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(openat2),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents),
    SCMP_SYS(getdents64),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rmdir),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fadvise64),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(times),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_nanosleep_time64),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(membarrier),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* What has no business here: the process ends. All that is on neither list fails with EPERM, since libraries
 * try this and that, and do without. */
static const int hostile[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(memfd_create),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setresuid),
    SCMP_SYS(open_by_handle_at),
};

#define MANY(list) (sizeof(list) / sizeof *(list))

/* For calls whose argument of that number, from 0 on, has this value. */
static struct scmp_arg_cmp equals(unsigned argument, scmp_datum_t value) {
    return (struct scmp_arg_cmp){argument, SCMP_CMP_EQ, value, 0};
}

/* Calls of which some arguments are harmless. */
static int add_narrow(scmp_filter_ctx filter) {
    const unsigned long new_thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    const unsigned long never = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                CLONE_NEWPID | CLONE_NEWNET | CLONE_VFORK | CLONE_PTRACE;
    const unsigned long requests[] = {TIOCGWINSZ, TCGETS};
    const unsigned long commands[] = {F_GETFD, F_SETFD, F_GETFL};
    const struct scmp_arg_cmp thread = {0, SCMP_CMP_MASKED_EQ, new_thread | never, new_thread};
    int failed = 0;
    for (size_t i = 0; i < MANY(requests); i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, equals(1, requests[i]));
    for (size_t i = 0; i < MANY(commands); i++) {
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, equals(1, commands[i]));
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl64), 1, equals(1, commands[i]));
    }
    /* memory, but none that can be executed */
    const struct scmp_arg_cmp no_code = {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_code);
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap2), 1, no_code);
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
    /* limits are looked at, never set */
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, equals(2, 0));
    /* threads of this process (`threads =` of a fit starts the pool anew); never a process. clone3 hides its
     * flags from filters; the C library then takes clone. */
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, thread);
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* a signal to itself: how abort() ends */
    failed |=
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, equals(0, (scmp_datum_t)getpid()));
    return failed;
}

int graft_rules_calls(void) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return gr_fail(GR_ERROR_MEMORY, "no memory for the filter of system calls");
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); /* for the threads of the pool too */
    for (size_t i = 0; i < MANY(harmless); i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, harmless[i], 0);
    for (size_t i = 0; i < MANY(hostile); i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, hostile[i], 0);
    failed |= add_narrow(filter);
    int loaded = failed ? -EINVAL : seccomp_load(filter);
    seccomp_release(filter);
    if (loaded != 0)
        return gr_fail(GR_ERROR_FILE,
                       "the kernel takes no filter of system calls (seccomp): %s; without it recipes run "
                       "only with --trust",
                       strerror(-loaded));
    return GR_OK;
}

/* ---- resources ---- */

static bool lower(int resource, rlim_t most) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return false;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit) == 0;
}

/* RLIMIT_NPROC is left alone: it counts all processes of the user, and the filter lets none be made. */
int graft_rules_limits(size_t disk) {
    if (!lower(RLIMIT_FSIZE, disk) || !lower(RLIMIT_NOFILE, MAX_OPEN) || !lower(RLIMIT_CORE, 0))
        return gr_fail(GR_ERROR_FILE, "the limits of resources cannot be set: %s", strerror(errno));
    return GR_OK;
}
