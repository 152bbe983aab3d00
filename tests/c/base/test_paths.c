/* Which files may be touched, once everything else is closed. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/paths.h"
#include "base/status.h"
#include "io/file.h"
#include "tensor/npy.h"

static char root[GR_PATH_ROOM]; /* real path of a new folder; the tests run in it */

static void touch(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static int set_up(void **state) {
    char name[] = "/tmp/graft-paths-XXXXXX";
    (void)state;
    if (!mkdtemp(name) || !realpath(name, root) || chdir(root))
        return -1;
    const char *const folders[] = {"data", "data/deep", "data-more", "run", "outside"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(folders[i], 0777), 0);
    touch("data/a");
    touch("data/deep/b");
    touch("data-more/c");
    touch("outside/d");
    touch("weights");
    assert_int_equal(symlink("../outside/d", "data/link"), 0);
    assert_int_equal(symlink("deep/b", "data/inner"), 0);
    assert_int_equal(symlink("../outside", "run/away"), 0);
    assert_int_equal(symlink("data", "named"), 0);
    assert_int_equal(symlink("../outside/new", "run/dangling"), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[GR_PATH_ROOM + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static int check(const char *path, bool write) {
    char room[GR_PATH_ROOM];
    const char *use;
    return gr_path_check(path, write, room, &use);
}

static void everything_is_open_before(void **state) {
    (void)state;
    char room[GR_PATH_ROOM];
    const char *use;
    assert_int_equal(gr_path_check("outside/nothing", true, room, &use), GR_OK);
    assert_string_equal(use, "outside/nothing");
    assert_false(gr_paths_closed());
    assert_int_equal(gr_paths_allow("nowhere", true), GR_ERROR_FILE);
    assert_int_equal(gr_paths_allow("data/a/x", false), GR_ERROR_FILE);
    assert_int_equal(gr_paths_allow("expected", false), GR_OK); /* it may be looked for */
    assert_int_equal(gr_paths_allow("named", false), GR_OK);    /* the folder that the link means */
    assert_int_equal(gr_paths_allow("weights", false), GR_OK);
    assert_int_equal(gr_paths_allow("run", true), GR_OK);
    gr_paths_close("not to be read", "not to be written");
    assert_true(gr_paths_closed());
    assert_int_equal(gr_paths_allow("outside", false), GR_ERROR_FILE);
}

static void what_was_named_is_read(void **state) {
    (void)state;
    static const char *const readable[] = {
        "data",          "data/",        "data/a",           "data//deep/./b", "data/inner",
        "expected",      "expected/x",   "named/deep/b",     "weights",        "run",
        "run/missing/x", "data/missing", "outside/../data/a"};
    for (size_t i = 0; i < sizeof readable / sizeof *readable; i++)
        assert_int_equal(check(readable[i], false), GR_OK);
    char room[GR_PATH_ROOM], wanted[GR_PATH_ROOM + 16];
    const char *use;
    assert_int_equal(gr_path_check("named/inner", false, room, &use), GR_OK);
    snprintf(wanted, sizeof wanted, "%s/data/deep/b", root);
    assert_string_equal(use, wanted);
}

static void nothing_else_is(void **state) {
    (void)state;
    static const char *const closed[] = {"outside",
                                         "outside/d",
                                         "outside/missing",
                                         "data/link",
                                         "data/../outside/d",
                                         "data/missing/../../outside/d",
                                         "data-more/c",
                                         ".",
                                         "..",
                                         "/",
                                         "/etc/passwd",
                                         "",
                                         "/proc/self/mem",
                                         "run/away/d",
                                         "run/away",
                                         "data/a/",
                                         "data/a/x",
                                         "missing/../outside/d"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        assert_int_equal(check(closed[i], false), GR_ERROR_FILE);
        assert_string_equal(gr_error()->message, "not to be read");
    }
    char longest[2 * GR_PATH_ROOM];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(check(longest, false), GR_ERROR_FILE);
    memcpy(longest, "run/", 4);
    assert_int_equal(check(longest, true), GR_ERROR_FILE);
}

static void only_the_run_folder_is_written(void **state) {
    (void)state;
    static const char *const closed[] = {"data/a",      "data/new", "weights",        "run",
                                         "run/",        "run/.",    "run/../new",     "run/away/new",
                                         "outside/new", "new",      "run/x/../../new"};
    assert_int_equal(check("run/new", true), GR_OK);
    assert_int_equal(check("run/fit-1/new", true), GR_OK);
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        assert_int_equal(check(closed[i], true), GR_ERROR_FILE);
        assert_string_equal(gr_error()->message, "not to be written");
    }
}

static void the_functions_that_open_files_ask(void **state) {
    (void)state;
    struct gr_source source;
    struct gr_tensor tensor = {0};
    char hex[65];
    assert_int_equal(gr_source_open(&source, "outside/d"), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "not to be read");
    assert_int_equal(gr_source_open(&source, "named/a"), GR_OK);
    gr_source_close(&source);
    assert_int_equal(gr_digest_file("outside/d", hex), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "outside/d: not to be read");
    assert_int_equal(gr_npy_read(&tensor, "outside/d"), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "outside/d: not to be read");
    assert_int_equal(gr_file_replace("outside/d", "y", 1), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "outside/d: not to be written");
    assert_int_equal(gr_file_replace("run/new", "y", 1), GR_OK);
    assert_int_equal(access("run/new", F_OK), 0);
    /* a link that leads nowhere yet is replaced, never followed */
    assert_int_equal(gr_file_replace("run/dangling", "y", 1), GR_OK);
    assert_int_not_equal(access("outside/new", F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_open_before),
        cmocka_unit_test(what_was_named_is_read),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(only_the_run_folder_is_written),
        cmocka_unit_test(the_functions_that_open_files_ask),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
