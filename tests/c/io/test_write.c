/* Writing: what goes in comes out, and whatever happens in between, the old file or the new one is whole. */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file.h"
#include "tensor/view.h"

static char folder[] = "/tmp/graft-write-XXXXXX", path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/w.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int files_in_folder(void) {
    DIR *list = opendir(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(list));)
        count += entry->d_name[0] != '.';
    closedir(list);
    return count;
}

/* Two tensors whose numbers all are `value`, `size` floats in the first. */
static struct gr_weights *sample(float value, int64_t size) {
    struct gr_weights *weights;
    struct gr_tensor floats, integers;
    assert_int_equal(gr_weights_create(&weights), GR_OK);
    assert_int_equal(gr_tensor_create(&floats, GR_F32, 2, (int64_t[]){size, 1}), GR_OK);
    assert_int_equal(gr_tensor_create(&integers, GR_I64, 0, NULL), GR_OK);
    for (int64_t i = 0; i < size; i++)
        gr_tensor_floats(&floats)[i] = value;
    *gr_tensor_integers(&integers) = (int64_t)value;
    assert_int_equal(gr_weights_add(weights, "floats", &floats), GR_OK);
    assert_int_equal(gr_weights_add(weights, "integer", &integers), GR_OK);
    gr_tensor_release(&floats);
    gr_tensor_release(&integers);
    return weights;
}

static void write_sample(float value, int64_t size) {
    struct gr_weights *weights = sample(value, size);
    assert_int_equal(gr_weights_write(weights, path), GR_OK);
    gr_weights_free(weights);
}

/* The file is whole; gives its value. */
static float whole(void) {
    struct gr_weights *weights;
    if (gr_weights_read(&weights, path) != 0)
        fail_msg("%s", gr_error()->message);
    float value = *gr_tensor_floats(&gr_weights_find(weights, "floats")->tensor);
    assert_int_equal(*gr_tensor_integers(&gr_weights_find(weights, "integer")->tensor), (int64_t)value);
    gr_weights_free(weights);
    return value;
}

static void round_trip(void **state) {
    (void)state;
    struct gr_weights *weights = sample(3, 5), *back;
    char before[65], after[65];
    const char *note = "caf\xc3\xa9 \"quoted\" \\ \n\t\x01 \xf0\x9f\x98\x80 /";
    struct gr_tensor grid, turned;
    assert_int_equal(gr_tensor_create(&grid, GR_F32, 2, (int64_t[]){2, 3}), GR_OK);
    for (int i = 0; i < 6; i++)
        gr_tensor_floats(&grid)[i] = (float)i;
    assert_int_equal(gr_tensor_transpose(&turned, &grid, 0, 1), GR_OK);
    assert_int_equal(gr_weights_add(weights, "a.turned", &turned), GR_OK);
    gr_tensor_release(&grid);
    gr_tensor_release(&turned);
    assert_int_equal(gr_weights_set(weights, "note", "old"), GR_OK);
    assert_int_equal(gr_weights_set(weights, "note", note), GR_OK);
    assert_int_equal(gr_weights_set(weights, "gone", "x"), GR_OK);
    assert_int_equal(gr_weights_set(weights, "gone", NULL), GR_OK);
    assert_int_equal(gr_weights_write(weights, path), GR_OK);
    assert_int_equal(gr_weights_read(&back, path), GR_OK);
    assert_int_equal(back->count, 3);
    assert_string_equal(back->items[0].name, "integer"); /* by falling alignment, then by name */
    assert_string_equal(back->items[1].name, "a.turned");
    assert_string_equal(back->items[2].name, "floats");
    const float *values = gr_tensor_floats(&gr_weights_find(back, "a.turned")->tensor);
    assert_true(values[1] == 3 && values[2] == 1 && values[5] == 5);
    assert_string_equal(gr_weights_get(back, "note"), note);
    assert_null(gr_weights_get(back, "gone"));
    gr_weights_digest(weights, before);
    gr_weights_digest(back, after);
    assert_string_equal(before, after);
    assert_string_equal(gr_weights_get(back, "graft.digest"), before);
    /* Written again, it is the same file byte for byte. */
    struct gr_weights *again;
    assert_int_equal(gr_weights_write(back, path), GR_OK);
    assert_int_equal(gr_weights_read(&again, path), GR_OK);
    assert_int_equal(again->metadata_count, back->metadata_count);
    gr_weights_free(again);
    gr_weights_free(back);
    gr_weights_free(weights);
    assert_int_equal(files_in_folder(), 1);
}

static void header_is_padded(void **state) {
    (void)state;
    write_sample(1, 3);
    struct stat info;
    unsigned char prefix[9];
    FILE *file = fopen(path, "rb");
    assert_int_equal(fread(prefix, 1, 9, file), 9);
    fclose(file);
    assert_int_equal(stat(path, &info), 0);
    size_t header = prefix[0] + 256u * prefix[1];
    assert_int_equal(header % 8, 0);
    assert_int_equal(prefix[8], '{');
    assert_int_equal(info.st_size, 8 + header + 3 * 4 + 8);
}

static void names_are_checked(void **state) {
    (void)state;
    struct gr_weights *weights = sample(1, 1);
    struct gr_tensor scalar;
    char longest[400];
    memset(longest, 'x', sizeof longest);
    longest[399] = 0;
    assert_int_equal(gr_tensor_create(&scalar, GR_F32, 0, NULL), GR_OK);
    assert_int_equal(gr_weights_add(weights, "floats", &scalar), GR_ERROR_NAME);
    assert_string_equal(gr_error()->message, "the tensor name \"floats\" appears twice");
    assert_int_equal(gr_weights_add(weights, "", &scalar), GR_ERROR_NAME);
    assert_int_equal(gr_weights_add(weights, "\xff", &scalar), GR_ERROR_NAME);
    assert_int_equal(gr_weights_add(weights, "__metadata__", &scalar), GR_ERROR_NAME);
    assert_int_equal(gr_weights_add(weights, longest, &scalar), GR_ERROR_LIMIT);
    assert_int_equal(gr_weights_set(weights, "key", "\xff"), GR_ERROR_OPTION);
    assert_int_equal(weights->count, 2);
    gr_tensor_release(&scalar);
    gr_weights_free(weights);
}

/* The file of an earlier save, cut at every 512 bytes or with a zeroed tail: the digest or the reader
 * notices. */
static void torn_files(void **state) {
    (void)state;
    write_sample(7, 2000);
    struct bytes bytes = {0};
    unsigned char piece[512];
    size_t got;
    FILE *file = fopen(path, "rb");
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        put(&bytes, piece, got);
    fclose(file);
    for (size_t size = 0; size < bytes.size; size += 512) {
        struct bytes cut = {0}, zeroed = {0};
        put(&cut, bytes.at, size);
        refused(cut, "");
        put(&zeroed, bytes.at, bytes.size);
        memset(zeroed.at + size, 0, bytes.size - size);
        refused(zeroed, size >= 1024 ? "is damaged" : "");
    }
    free(bytes.at);
}

static void failures_that_name_the_cause(void **state) {
    (void)state;
    struct gr_weights *weights = sample(1, 1);
    char place[128];
    snprintf(place, sizeof place, "%s/absent/w.safetensors", folder);
    assert_int_equal(gr_weights_write(weights, place), GR_ERROR_FILE);
    assert_non_null(
        strstr(gr_error()->message, "absent/w.safetensors: cannot be created: No such file or directory"));
    snprintf(place, sizeof place, "%s/sub", folder);
    assert_int_equal(mkdir(place, 0777), 0);
    assert_int_equal(gr_weights_write(weights, place), GR_ERROR_FILE);
    assert_non_null(strstr(gr_error()->message, "sub: cannot be replaced: Is a directory"));
    assert_int_equal(rmdir(place), 0);
    gr_weights_free(weights);
    assert_int_equal(files_in_folder(), 1);
}

/* Every write beyond so many bytes fails, as on a full disk. */
static void a_disk_that_is_full(void **state) {
    (void)state;
    struct rlimit old, limited;
    write_sample(1, 1000);
    struct gr_weights *weights = sample(2, 5000);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    size_t blocks = gr_memory().blocks;
    for (rlim_t most = 0; most < 20000; most += 997) {
        limited = old;
        limited.rlim_cur = most;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
        int status = gr_weights_write(weights, path);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, GR_ERROR_FILE);
        assert_non_null(strstr(gr_error()->message, "w.safetensors: cannot be written: File too large"));
        assert_int_equal(files_in_folder(), 1);
        assert_true(whole() == 1);
    }
    assert_int_equal(gr_memory().blocks, blocks);
    gr_weights_free(weights);
}

static void failing_allocations(void **state) {
    (void)state;
    write_sample(1, 10);
    struct gr_weights *weights = sample(2, 10);
    size_t blocks = gr_memory().blocks;
    long n = 0;
    int status;
    do {
        gr_memory_fail(++n, false);
        status = gr_weights_write(weights, path);
        gr_memory_fail(0, false);
        assert_int_equal(gr_memory().blocks, blocks);
        assert_int_equal(files_in_folder(), 1);
        if (status)
            assert_true(whole() == 1 || whole() == 2); /* 2: only the folder's fsync was left to do */
    } while (status && n < 100);
    assert_true(n > 3 && whole() == 2);
    gr_weights_free(weights);
}

/* Killed at any moment, a save leaves the old file or the new one. */
static void killed_while_saving(void **state) {
    (void)state;
    write_sample(1, 20000);
    for (int round = 0; round < 60; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (int value = 2;; value++) {
                struct gr_weights *weights = sample((float)value, 20000);
                if (gr_weights_write(weights, path) != 0)
                    _exit(1);
                gr_weights_free(weights);
            }
        }
        assert_true(child > 0);
        usleep(200 + (useconds_t)(round * 397) % 9000);
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_true(whole() >= 1);
        char left[96];
        snprintf(left, sizeof left, "%s.%ld.part", path, (long)child);
        unlink(left);
    }
    assert_int_equal(files_in_folder(), 1);
}

/* A temporary file that a process of the same number left behind is no obstacle; a link is not followed. */
static void left_overs(void **state) {
    (void)state;
    char left[96];
    snprintf(left, sizeof left, "%s.%ld.part", path, (long)getpid());
    assert_int_equal(symlink("/nowhere/at/all", left), 0);
    write_sample(5, 10);
    assert_true(whole() == 5);
    assert_int_equal(files_in_folder(), 1);
}

static void small_files(void **state) {
    (void)state;
    char text[16] = "", place[96];
    snprintf(place, sizeof place, "%s/text", folder);
    assert_int_equal(gr_file_replace(place, "one", 3), GR_OK);
    assert_int_equal(gr_file_replace(place, "two", 3), GR_OK);
    struct gr_source source;
    assert_int_equal(gr_source_open(&source, place), GR_OK);
    assert_int_equal(source.size, 3);
    assert_int_equal(gr_source_read(&source, 0, text, 3), GR_OK);
    assert_string_equal(text, "two");
    assert_int_equal(gr_source_read(&source, 2, text, 2), GR_ERROR_FILE);
    assert_int_equal(gr_source_read(&source, UINT64_MAX, text, 2), GR_ERROR_FILE);
    gr_source_close(&source);
    gr_source_close(&source);
    unlink(place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(header_is_padded),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(torn_files),
        cmocka_unit_test(failures_that_name_the_cause),
        cmocka_unit_test(a_disk_that_is_full),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(killed_while_saving),
        cmocka_unit_test(left_overs),
        cmocka_unit_test(small_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
