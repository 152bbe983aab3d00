/* .npy files: round trips, every type that is read, and files that lie. */
#include "check_tensor.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/arithmetic.h"
#include "tensor/npy.h"
#include "tensor/view.h"

static char folder[] = "/tmp/graft-npy-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/x.npy", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Writes a version 1 file with this header and these numbers. */
static void write_file(const char *header, const void *numbers, size_t size) {
    FILE *file = fopen(path, "wb");
    size_t length = strlen(header);
    const unsigned char head[] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)length, (unsigned char)(length >> 8)};
    assert_non_null(file);
    assert_int_equal(fwrite(head, 1, sizeof head, file), sizeof head);
    assert_int_equal(fwrite(header, 1, length, file), length);
    assert_int_equal(fwrite(numbers, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_bytes(const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 3, 4)), turned, y;
    bool equal;
    assert_ok(gr_tensor_permute(&turned, &x, (int[]){2, 0, 1}));
    assert_ok(gr_npy_write(path, &turned));
    assert_ok(gr_npy_read(&y, path));
    assert_ok(gr_equal(&equal, &turned, &y));
    assert_true(equal);
    gr_tensor_release(&y);
    gr_tensor_release(&turned);
    gr_tensor_release(&x);
    assert_ok(gr_tensor_create(&x, GR_I64, SHAPE(2)));
    gr_tensor_integers(&x)[0] = INT64_MIN;
    gr_tensor_integers(&x)[1] = INT64_MAX;
    assert_ok(gr_npy_write(path, &x));
    assert_ok(gr_npy_read(&y, path));
    assert_ok(gr_equal(&equal, &x, &y));
    assert_true(equal);
    gr_tensor_release(&x);
    gr_tensor_release(&y);
    assert_ok(gr_tensor_create(&x, GR_F32, 0, NULL));
    assert_ok(gr_npy_write(path, &x));
    assert_ok(gr_npy_read(&y, path));
    assert_int_equal(y.rank, 0);
    gr_tensor_release(&x);
    gr_tensor_release(&y);
    assert_ok(gr_tensor_create(&x, GR_F32, SHAPE(0, 3)));
    assert_ok(gr_npy_write(path, &x));
    assert_ok(gr_npy_read(&y, path));
    assert_int_equal(y.shape[1], 3);
    gr_tensor_release(&x);
    gr_tensor_release(&y);
}

static void assert_read(const char *header, const void *numbers, size_t size, int rank, const int64_t *shape,
                        const float *values) {
    struct gr_tensor x, y;
    write_file(header, numbers, size);
    assert_ok(gr_npy_read(&x, path));
    assert_ok(gr_tensor_cast(&y, &x, GR_F32));
    assert_values(&y, rank, shape, values);
    gr_tensor_release(&x);
    gr_tensor_release(&y);
}

static void types_orders_and_bytes(void **state) {
    (void)state;
    assert_read("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", (float[]){1, 2, 3, 4, 5, 6},
                24, SHAPE(2, 3), (float[]){1, 3, 5, 2, 4, 6});
    assert_read("{\"shape\":(2,),\"fortran_order\":False,\"descr\":\">f4\"}", "\x3f\x80\0\0\xc0\0\0\0", 8,
                SHAPE(2), (float[]){1, -2});
    assert_read("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", (double[]){0.5}, 8, SHAPE(1),
                (float[]){0.5f});
    assert_read("{'descr': '<f2', 'fortran_order': False, 'shape': (6,)}",
                (uint16_t[]){0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x8000}, 12, SHAPE(6),
                (float[]){1, -2, 65504, 5.9604645e-8f, INFINITY, -0.0f});
    assert_read("{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", "\xff\x01", 2, SHAPE(2),
                (float[]){255, 1});
    assert_read("{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}", "\xff\x01", 2, SHAPE(2),
                (float[]){-1, 1});
    assert_read("{'descr': '>i2', 'fortran_order': False, 'shape': (1,)}", "\xff\xfe", 2, SHAPE(1),
                (float[]){-2});
    assert_read("{'descr': '<i4', 'fortran_order': False, 'shape': (1,)}", (int32_t[]){-70000}, 4, SHAPE(1),
                (float[]){-70000});
    assert_read("{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", "\0\x01\0", 3, SHAPE(3),
                (float[]){0, 1, 0});
    assert_read("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", (float[]){3}, 4, 0, NULL,
                (float[]){3});
}

static void later_versions_have_a_longer_length(void **state) {
    (void)state;
    static const char file[] =
        "\x93NUMPY\x02\0\x37\0\0\0{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\0\0\x80\x3f";
    struct gr_tensor x;
    write_bytes(file, sizeof file - 1);
    assert_ok(gr_npy_read(&x, path));
    assert_values(&x, SHAPE(1), (float[]){1});
    gr_tensor_release(&x);
}

static void bad_files_are_refused_by_cause(void **state) {
    (void)state;
    static const struct {
        const char *header, *words;
    } cases[] = {
        {"", "not a Python dictionary"},
        {"[1, 2]", "not a Python dictionary"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", "not a Python dictionary"},
        {"{'descr': '<f4', 'fortran_order': False}", "lacks \"shape\""},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", "unknown key \"x\""},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "twice the key"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "type \"<c8\""},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "type \"|O\""},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "records are not read"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "neither True nor False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2)}", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [2]}", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "not a size"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "not a size"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2)}", "more than 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "does not fit"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}", "needs 4000000000 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "needs 4 bytes of numbers, but 8 follow"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} os.system", "goes on after"},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (8,)}", "no boolean"},
    };
    struct gr_tensor x;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(cases[i].header, "\1\0\0\0\7\0\0\0", 8);
        int status = gr_npy_read(&x, path);
        assert_true(status == GR_ERROR_FILE || status == GR_ERROR_LIMIT);
        if (!strstr(gr_error()->message, cases[i].words) || !strstr(gr_error()->message, path))
            fail_msg("case %zu: \"%s\"", i, gr_error()->message);
        assert_null(x.storage);
    }
}

static void bad_beginnings_are_refused(void **state) {
    (void)state;
    struct gr_tensor x;
    write_bytes("", 0);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "not a .npy file");
    write_bytes("PK\3\4 and so on", 14);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "not a .npy file");
    write_bytes("\x93NUMPY\x04\0\1\0{", 11);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "version is 4.0");
    write_bytes("\x93NUMPY\x01\0\xff\0{", 11);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "ends in its header");
    write_bytes("\x93NUMPY\x02\0\xff\xff\xff\xff{", 13);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "claims 4294967295 bytes");
    write_bytes("\x93NUMPY\x02\0\xff", 9);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "not a .npy file");
    unlink(path);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "no such file");
    assert_fails(gr_npy_read(&x, folder), GR_ERROR_FILE, "regular file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(gr_npy_read(&x, path), GR_ERROR_FILE, "regular file");
    unlink(path);
}

static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2)), y;
    assert_ok(gr_npy_write(path, &x));
    assert_fails(gr_npy_write("/nowhere/x.npy", &x), GR_ERROR_FILE, "/nowhere/x.npy: cannot be written");
    assert_fails(gr_npy_write(folder, &x), GR_ERROR_FILE, "cannot be written");
    assert_ok(gr_npy_read(&y, path));
    assert_values(&y, SHAPE(2), (float[]){1, 2});
    gr_tensor_release(&x);
    gr_tensor_release(&y);
    char beside[80]; /* the temporary of the write over the folder is gone */
    snprintf(beside, sizeof beside, "%s.%ld.part", folder, (long)getpid());
    assert_int_equal(access(beside, F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKLESS(what_is_written_is_read),
        LEAKLESS(types_orders_and_bytes),
        LEAKLESS(later_versions_have_a_longer_length),
        LEAKLESS(bad_files_are_refused_by_cause),
        LEAKLESS(bad_beginnings_are_refused),
        LEAKLESS(a_failed_write_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
