/* What the kernel holds for the sandbox, by itself: every check runs in a process of its own that has given
 * its rights up and then breaks the rules in C, as a recipe could that had taken the program over. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/status.h"
#include "sandbox.h"

enum { GOOD = 0, BROKEN = 1, NO_RULES = 2 };

static char root[64];
static cJSON *policy;

static int set_up(void **state) {
    (void)state;
    strcpy(root, "/tmp/graft-rules-XXXXXX");
    if (!mkdtemp(root) || chdir(root) || mkdir("data", 0777) || mkdir("run", 0777) ||
        mkdir("run/deep", 0777) || mkdir("outside", 0777))
        return -1;
    static const char *const files[] = {"data/a", "run/b", "outside/c"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        close(open(files[i], O_WRONLY | O_CREAT, 0666));
    if (symlink("../outside/c", "data/link"))
        return -1;
    policy = cJSON_Parse("{\"read\": [\"data\", \"not-there\"], \"out\": \"run\"}");
    return policy ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[96];
    cJSON_Delete(policy);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* Runs the body in a process with these rules. Returns what waitpid says. */
static int in_sandbox(bool files, bool calls, int (*body)(void)) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if ((files && graft_rules_files(policy)) || (calls && graft_rules_calls()))
            _exit(NO_RULES);
        _exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_good(int status) {
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static void assert_killed(int status) {
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- files ---- */

static bool refused(int result) {
    return result < 0 && (errno == EACCES || errno == EPERM || errno == EXDEV);
}

static int try_files(void) {
    bool good = open("data/a", O_RDONLY) >= 0 && open("data", O_RDONLY | O_DIRECTORY) >= 0 &&
                open("run/b", O_RDWR) >= 0 && open("run/new", O_WRONLY | O_CREAT, 0666) >= 0 &&
                mkdir("run/fit-1", 0777) == 0 && rename("run/new", "run/fit-1/new") == 0 &&
                unlink("run/fit-1/new") == 0 && rmdir("run/fit-1") == 0;
    good = good && refused(open("outside/c", O_RDONLY)) && refused(open("data/link", O_RDONLY)) &&
           refused(open("outside", O_RDONLY | O_DIRECTORY)) && refused(open("/", O_RDONLY | O_DIRECTORY)) &&
           refused(open("/etc/passwd", O_RDONLY)) && refused(open("/proc/self/mem", O_RDONLY)) &&
           refused(open("data/a", O_RDWR)) && refused(open("data/new", O_WRONLY | O_CREAT, 0666)) &&
           refused(open("outside/new", O_WRONLY | O_CREAT, 0666)) && refused(mkdir("outside/new", 0777)) &&
           refused(unlink("outside/c")) && refused(unlink("data/a")) && refused(rename("data/a", "run/a")) &&
           refused(rename("run/b", "outside/b")) && refused(symlink("/etc/passwd", "run/link")) &&
           refused(mknod("run/pipe", S_IFIFO | 0666, 0));
    return good ? GOOD : BROKEN;
}

static void files_are_those_of_the_policy(void **state) {
    (void)state;
    if (graft_rules_landlock() == 0)
        skip();
    assert_good(in_sandbox(true, false, try_files));
}

static void *open_outside(void *unused) {
    (void)unused;
    return (void *)(intptr_t)refused(open("outside/c", O_RDONLY));
}

static int try_files_in_a_thread(void) {
    pthread_t thread;
    void *good = NULL;
    return !pthread_create(&thread, NULL, open_outside, NULL) && !pthread_join(thread, &good) && good
               ? GOOD
               : BROKEN;
}

static void threads_have_no_more_rights(void **state) {
    (void)state;
    if (graft_rules_landlock() == 0)
        skip();
    assert_good(in_sandbox(true, true, try_files_in_a_thread));
}

static int try_what_comes_later(void) {
    return mkdir("run/later", 0777) == 0 && rename("run/later", "run/missing") == 0 &&
                   refused(open("missing", O_RDONLY)) && refused(unlink("missing"))
               ? GOOD
               : BROKEN;
}

static void what_is_missing_stays_closed(void **state) {
    (void)state;
    if (graft_rules_landlock() == 0)
        skip();
    cJSON *no_folder = cJSON_Parse("{\"read\": [], \"out\": \"nowhere\"}");
    assert_int_equal(graft_rules_files(no_folder), GR_ERROR_FILE);
    cJSON_Delete(no_folder);
    close(open("missing", O_WRONLY | O_CREAT, 0666));
    assert_good(in_sandbox(true, false, try_what_comes_later));
}

/* ---- system calls ---- */

static int try_exec(void) {
    execl("/bin/true", "true", (char *)NULL);
    return BROKEN;
}
static int try_fork(void) {
    pid_t child = (pid_t)syscall(SYS_fork);
    return child == 0 ? GOOD : BROKEN;
}
static int try_socket(void) {
    socket(AF_INET, SOCK_STREAM, 0);
    return BROKEN;
}
static int try_unix_socket(void) {
    socket(AF_UNIX, SOCK_DGRAM, 0);
    return BROKEN;
}
static int try_ptrace(void) {
    ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
    return BROKEN;
}
static int try_kill(void) {
    kill(getppid(), 0);
    return BROKEN;
}
static int try_mount(void) {
    syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL);
    return BROKEN;
}
static int try_unshare(void) {
    syscall(SYS_unshare, 0x10000000);
    return BROKEN;
}
static int try_link(void) {
    symlink("/etc/passwd", "run/link") ? errno = 0 : 0;
    return BROKEN;
}
static int try_mode(void) {
    chmod("run/b", 04777);
    return BROKEN;
}
static int try_memory_file(void) {
    memfd_create("x", 0);
    return BROKEN;
}
static int try_other_memory(void) {
    syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
    return BROKEN;
}
static int try_bpf(void) {
    syscall(SYS_bpf, 0, NULL, 0);
    return BROKEN;
}

static void what_has_no_business_here_ends_the_process(void **state) {
    (void)state;
    static int (*const bodies[])(void) = {
        try_exec,    try_fork, try_socket, try_unix_socket, try_ptrace,       try_kill, try_mount,
        try_unshare, try_link, try_mode,   try_memory_file, try_other_memory, try_bpf};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        assert_killed(in_sandbox(false, true, bodies[i]));
}

static int try_harmless(void) {
    struct rlimit limit = {100, 100};
    struct winsize size;
    char character = 'x';
    long page = sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool good = memory != MAP_FAILED && mprotect(memory, (size_t)page, PROT_READ) == 0;
    /* code that is not the program's own, limits, the terminal's input, other processes' threads: an error */
    errno = 0;
    good = good &&
           mmap(NULL, (size_t)page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
    good = good && errno == EPERM && mprotect(memory, (size_t)page, PROT_READ | PROT_EXEC) != 0 &&
           errno == EPERM;
    good = good && getrlimit(RLIMIT_NOFILE, &limit) == 0 && setrlimit(RLIMIT_NOFILE, &limit) != 0 &&
           errno == EPERM;
    good = good && ioctl(0, TIOCSTI, &character) != 0 && errno == EPERM;
    good = good && (ioctl(0, TIOCGWINSZ, &size) == 0 || errno != EPERM);
    good = good && syscall(SYS_tgkill, getppid(), getppid(), 0) != 0 && errno == EPERM;
    good = good && syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) < 0 && errno == EPERM;
    good = good && chdir("/") != 0 && errno == EPERM;
    return good ? GOOD : BROKEN;
}

static void the_rest_is_an_error_or_works(void **state) {
    (void)state;
    assert_good(in_sandbox(false, true, try_harmless));
}

static int try_limits(void) {
    if (graft_rules_limits(1000))
        return NO_RULES;
    signal(SIGXFSZ, SIG_IGN);
    static char bytes[4096];
    struct rlimit core;
    int fd = open("run/large", O_WRONLY | O_CREAT, 0666);
    bool good =
        fd >= 0 && write(fd, bytes, sizeof bytes) == 1000 && write(fd, bytes, 1) < 0 && errno == EFBIG;
    good = good && getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0;
    return good ? GOOD : BROKEN;
}

static void files_have_a_largest_size(void **state) {
    (void)state;
    assert_good(in_sandbox(false, false, try_limits));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_those_of_the_policy),
        cmocka_unit_test(threads_have_no_more_rights),
        cmocka_unit_test(what_is_missing_stays_closed),
        cmocka_unit_test(what_has_no_business_here_ends_the_process),
        cmocka_unit_test(the_rest_is_an_error_or_works),
        cmocka_unit_test(files_have_a_largest_size),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
