/* Packs: what is written has one spelling and is read back; every deviation is refused by the name of its
 * rule. */
#include "files.h"

#include <unistd.h>

#include "base/digest.h"
#include "io/pack.h"

/* A pack under construction: sums and parts, then what the directory says about them. */
struct part {
    const char *name;
    const char *content;
    size_t size;
};

static const struct part usual[] = {
    {"recipe.lua", "print(1)\n", 9}, {"recipe.lock", "{}\n", 3}, {"metrics.csv", "fit\n", 4}, {0}};

static void hex_of(const char *bytes, size_t size, char hex[65]) {
    struct gr_digest digest;
    gr_digest_start(&digest);
    gr_digest_add(&digest, bytes, size);
    gr_digest_hex(&digest, hex);
}

static void header(struct bytes *out, const struct part *part, bool central) {
    uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), (const unsigned char *)part->content, (uInt)part->size);
    put(out, central ? "PK\x01\x02\x0a\x00" : "PK\x03\x04", central ? 6 : 4);
    put(out, "\x0a\0\0\0\0\0\0\0\x21\0", 10);
    put_number(out, crc, 4);
    put_number(out, part->size, 4);
    put_number(out, part->size, 4);
    put_number(out, strlen(part->name), 2);
    put_number(out, 0, 2);
}

/* The archive of these parts, the list of sums among them. */
static struct bytes archive(const struct part *parts) {
    struct bytes out = {0}, list = {0};
    int count = 0;
    for (const struct part *part = parts; part->name; part++, count++) {
        size_t local = out.size;
        header(&out, part, false);
        put_text(&out, part->name);
        put(&out, part->content, part->size);
        header(&list, part, true);
        put(&list, "\0\0\0\0\0\0\0\0\0\0", 10);
        put_number(&list, local, 4);
        put_text(&list, part->name);
    }
    size_t place = out.size;
    put(&out, list.at, list.size);
    put(&out, "PK\x05\x06\0\0\0\0", 8);
    put_number(&out, (uint64_t)count, 2);
    put_number(&out, (uint64_t)count, 2);
    put_number(&out, list.size, 4);
    put_number(&out, place, 4);
    put_number(&out, 0, 2);
    free(list.at);
    return out;
}

/* A pack of these parts with a list of sums that is right for them. */
static struct bytes pack_of(const struct part *parts) {
    char sums[2048] = "# graft pack 1\n", hex[65];
    struct part all[8] = {{"SHA256SUMS", sums, 0}};
    for (int i = 0; parts[i].name; i++) {
        hex_of(parts[i].content, parts[i].size, hex);
        sprintf(sums + strlen(sums), "%s  %s\n", hex, parts[i].name);
        all[i + 1] = parts[i];
    }
    all[0].size = strlen(sums);
    return archive(all);
}

/* A pack of the usual parts whose list of sums is this text. */
static struct bytes pack_with_sums(const char *sums) {
    return archive((struct part[]){{"SHA256SUMS", sums, strlen(sums)}, usual[0], usual[1], usual[2], {0}});
}

/* Opens and reads every part, as those who use a pack do. */
static int read_all(const struct bytes *bytes) {
    struct gr_source source = gr_source_memory(bytes->at, bytes->size);
    struct gr_pack pack;
    GR_TRY(gr_pack_open(&pack, &source));
    for (int part = 0; part < GR_PACK_PARTS; part++) {
        struct gr_pack_entry *entry = &pack.parts[part];
        if (!entry->present)
            continue;
        assert_true(entry->offset <= bytes->size && entry->size <= bytes->size - entry->offset);
        char *buffer = part == GR_PACK_WEIGHTS ? NULL : malloc((size_t)entry->size + 1);
        int status = gr_pack_read(&pack, &source, (enum gr_pack_part)part, buffer);
        free(buffer);
        GR_TRY(status);
    }
    return GR_OK;
}

static void breaks(struct bytes bytes, const char *rule, const char *words) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "(rule \"%s\")", rule);
    int status = read_all(&bytes);
    if (status == GR_OK || !strstr(gr_error()->message, wanted) || !strstr(gr_error()->message, words)) {
        print_error("expected %s \"%s\", came \"%s\"\n", wanted, words,
                    status ? gr_error()->message : "success");
        fail();
    }
    free(bytes.at);
}

/* Where the n-th local header begins (1: SHA256SUMS). */
static size_t local(const struct bytes *bytes, int n) {
    for (size_t at = 0; at + 4 <= bytes->size; at++)
        if (memcmp(bytes->at + at, "PK\x03\x04", 4) == 0 && --n == 0)
            return at;
    fail();
    return 0;
}

static size_t central(const struct bytes *bytes) {
    for (size_t at = 0; at + 4 <= bytes->size; at++)
        if (memcmp(bytes->at + at, "PK\x01\x02", 4) == 0)
            return at;
    fail();
    return 0;
}

/* The usual pack with `size` bytes at `offset` of the n-th local header replaced by a number. */
static struct bytes with_field(int n, size_t offset, uint64_t value, int size) {
    struct bytes bytes = pack_of(usual);
    set_number(&bytes, local(&bytes, n) + offset, value, size);
    return bytes;
}

/* The usual pack with something put in at a place. */
static struct bytes with_inserted(size_t at, const char *what, size_t size) {
    struct bytes bytes = pack_of(usual), out = {0};
    put(&out, bytes.at, at);
    put(&out, what, size);
    put(&out, bytes.at + at, bytes.size - at);
    free(bytes.at);
    return out;
}

static struct bytes cut(size_t by) {
    struct bytes bytes = pack_of(usual);
    bytes.size -= by;
    return bytes;
}

static void the_usual_pack_is_read(void **state) {
    (void)state;
    struct bytes bytes = pack_of(usual);
    struct gr_source source = gr_source_memory(bytes.at, bytes.size);
    struct gr_pack pack;
    char text[16] = "";
    assert_int_equal(read_all(&bytes), GR_OK);
    assert_int_equal(gr_pack_open(&pack, &source), GR_OK);
    assert_true(pack.parts[GR_PACK_METRICS].present);
    assert_false(pack.parts[GR_PACK_WEIGHTS].present);
    assert_int_equal(gr_pack_read(&pack, &source, GR_PACK_RECIPE, text), GR_OK);
    assert_string_equal(text, "print(1)\n");
    free(bytes.at);
}

/* Packs that are about stay readable. */
static void a_pack_of_version_1_is_read(void **state) {
    (void)state;
    struct bytes bytes = fixture("run.graft");
    struct gr_weights *weights;
    assert_int_equal(read_all(&bytes), GR_OK);
    assert_int_equal(gr_weights_read(&weights, FIXTURES "run.graft"), GR_OK);
    assert_true(weights->count > 1);
    gr_weights_free(weights);
    free(bytes.at);
}

static void what_is_written_has_that_spelling(void **state) {
    (void)state;
    char path[] = "/tmp/graft-pack-XXXXXX", weights[] = "/tmp/graft-part-XXXXXX";
    close(mkstemp(path));
    close(mkstemp(weights));
    struct part parts[] = {usual[0], usual[1], usual[2], {"weights.safetensors", "not read here", 13}, {0}};
    struct gr_pack_input inputs[GR_PACK_PARTS] = {[GR_PACK_RECIPE] = {"print(1)\n", 9, NULL},
                                                  [GR_PACK_LOCK] = {"{}\n", 3, NULL},
                                                  [GR_PACK_METRICS] = {"fit\n", 4, NULL},
                                                  [GR_PACK_WEIGHTS] = {NULL, 0, weights}};
    FILE *file = fopen(weights, "wb");
    fputs("not read here", file);
    fclose(file);
    assert_int_equal(gr_pack_write(path, inputs), GR_OK);
    struct bytes right = pack_of(parts), written = {0};
    unsigned char piece[4096];
    file = fopen(path, "rb");
    put(&written, piece, fread(piece, 1, sizeof piece, file));
    fclose(file);
    assert_int_equal(written.size, right.size);
    assert_memory_equal(written.at, right.at, right.size);
    free(written.at);
    free(right.at);
    inputs[GR_PACK_LOCK] = (struct gr_pack_input){0};
    assert_int_equal(gr_pack_write(path, inputs), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "a pack needs recipe.lock"));
    inputs[GR_PACK_LOCK] = (struct gr_pack_input){"\xe9", 1, NULL};
    assert_int_equal(gr_pack_write(path, inputs), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "recipe.lock is not UTF-8"));
    unlink(path);
    unlink(weights);
}

static void lists_that_are_not_sound(void **state) {
    (void)state;
    char zeros[65], text[2048], lines[2][128];
    memset(zeros, '0', 64);
    zeros[64] = 0;
    sprintf(lines[0], "%s  recipe.lua\n", zeros);
    sprintf(lines[1], "%s  recipe.lock\n", zeros);
#define SUMS(...) (sprintf(text, __VA_ARGS__), pack_with_sums(text))
    breaks(SUMS("# graft pack 2\n%s%s", lines[0], lines[1]), "version", "\"# graft pack 2\" came");
    breaks(SUMS("%s%s", lines[0], lines[1]), "version", "expected");
    breaks(SUMS("# graft pack 1\r\n%s%s", lines[0], lines[1]), "version", "expected");
    breaks(SUMS("# graft pack 1\n\n%s%s", lines[0], lines[1]), "list", "DIGEST  NAME");
    breaks(SUMS("# graft pack 1\n%s *recipe.lua\n%s", zeros, lines[1]), "list", "DIGEST  NAME");
    breaks(SUMS("# graft pack 1\n%s%.*sF  recipe.lock\n", lines[0], 63, zeros), "list", "DIGEST  NAME");
    breaks(SUMS("# graft pack 1\n%s%s  recipe.lock", lines[0], zeros), "list", "does not end");
    breaks(SUMS("# graft pack 1\n%s%s  ../recipe.lock\n", lines[0], zeros), "names", "../recipe.lock");
    breaks(SUMS("# graft pack 1\n%s%s  recipe.lock/\n", lines[0], zeros), "names", "none of the parts");
    breaks(SUMS("# graft pack 1\n%s%s  SHA256SUMS\n", lines[0], zeros), "names", "SHA256SUMS");
    breaks(SUMS("# graft pack 1\n%s%s  RECIPE.LOCK\n", lines[0], zeros), "names", "RECIPE.LOCK");
    breaks(SUMS("# graft pack 1\n%s%s%s", lines[0], lines[0], lines[1]), "duplicate", "recipe.lua");
    breaks(SUMS("# graft pack 1\n%s%s", lines[1], lines[0]), "order", "behind recipe.lock");
    breaks(SUMS("# graft pack 1\n%s", lines[0]), "missing", "no recipe.lock");
    breaks(SUMS("# graft pack 1\n"), "missing", "no recipe.lua");
    breaks(SUMS("# graft pack 1\n%s%s%s  metrics.csv\n", lines[0], lines[1], zeros), "digest", "recipe.lua");
    memset(text, '#', 1100);
    text[1100] = 0;
    breaks(pack_with_sums(text), "size", "SHA256SUMS has 1100 bytes");
#undef SUMS
}

static void archives_that_are_not_sound(void **state) {
    (void)state;
    struct bytes bytes = pack_of(usual);
    size_t second = local(&bytes, 2), listed = central(&bytes), size = bytes.size;
    free(bytes.at);
    breaks((struct bytes){malloc(1), 0, 1}, "signature", "begins with");
    breaks(archive(usual), "signature", "SHA256SUMS expected"); /* no list */
    breaks(with_inserted(0, "#!/bin/sh\n", 10), "signature", "begins with");
    breaks(with_inserted(second, "\0", 1), "header", "no entry begins");
    breaks(with_inserted(size, "\0", 1), "trailing", "1 bytes follow");
    breaks(with_inserted(listed, "hidden", 6), "directory", "not the directory");
    breaks(cut(1), "short", "directory should have");
    breaks(cut(size - listed + 1), "short", "should have 4 bytes");
    breaks(cut(size - second - 20), "short", "ends where recipe.lua should begin");
    breaks(with_field(2, 8, 8, 2), "stored", "zip method 8");
    breaks(with_field(2, 6, 1, 2), "header", "recipe.lua");       /* encrypted */
    breaks(with_field(2, 6, 8, 2), "header", "recipe.lua");       /* sizes behind the content */
    breaks(with_field(2, 10, 0x6000, 2), "header", "recipe.lua"); /* a time */
    breaks(with_field(2, 28, 4, 2), "header", "recipe.lua");      /* an extra field */
    breaks(with_field(2, 18, 8, 4), "header", "recipe.lua");      /* stored in fewer bytes */
    breaks(with_field(2, 22, 0x200000, 4), "size", "at most 1048576 are allowed");
    breaks(with_field(2, 22, 0xFFFFFFFF, 4), "size", "has 4294967295 bytes");
    breaks(with_field(2, 26, 200, 2), "names", "200 bytes of name");
    breaks(with_field(2, 30, '/', 1), "names", "\"/ecipe.lua\"");
    breaks(with_field(2, 40, 'X', 1), "digest", "recipe.lua");
    breaks(with_field(2, 14, 7, 4), "directory", "not the directory"); /* the CRC in one place */
    breaks(with_field(1, 40, 'X', 1), "crc", "SHA256SUMS");
    struct part latin[] = {{"recipe.lua", "-- caf\xe9\n", 8}, usual[1], {0}};
    struct part binary[] = {usual[0], {"recipe.lock", "{\0}", 3}, {0}};
    breaks(pack_of(latin), "text", "recipe.lua is not UTF-8");
    breaks(pack_of(binary), "text", "recipe.lock is not UTF-8");
    /* an entry that no list names, even though the directory does */
    char sums[2048] = "# graft pack 1\n", hex[65];
    for (int i = 0; i < 2; i++) {
        hex_of(usual[i].content, usual[i].size, hex);
        sprintf(sums + strlen(sums), "%s  %s\n", hex, usual[i].name);
    }
    struct part hidden[] = {{"SHA256SUMS", sums, strlen(sums)}, usual[0], usual[1], usual[2], {0}};
    breaks(archive(hidden), "directory", "not the directory");
}

static void no_byte_may_change_and_none_be_missing(void **state) {
    (void)state;
    struct bytes bytes = pack_of(usual);
    for (size_t at = 0; at < bytes.size; at++) {
        struct bytes shorter = {bytes.at, at, at};
        assert_int_not_equal(read_all(&shorter), GR_OK);
        for (int bit = 0; bit < 8; bit++) {
            bytes.at[at] ^= (unsigned char)(1 << bit);
            assert_int_not_equal(read_all(&bytes), GR_OK);
            bytes.at[at] ^= (unsigned char)(1 << bit);
        }
    }
    assert_int_equal(read_all(&bytes), GR_OK);
    free(bytes.at);
}

/* Writes a pack whose weights are these bytes and reads them as weights are read. */
static int read_weights_of(struct gr_weights **out, const void *content, size_t size, const char *path) {
    struct gr_pack_input inputs[GR_PACK_PARTS] = {[GR_PACK_RECIPE] = {"", 0, NULL},
                                                  [GR_PACK_LOCK] = {"{}", 2, NULL},
                                                  [GR_PACK_WEIGHTS] = {content, size, NULL}};
    assert_int_equal(gr_pack_write(path, inputs), GR_OK);
    return gr_weights_read(out, path);
}

static void weights_are_read_where_they_lie(void **state) {
    (void)state;
    char path[] = "/tmp/graft-pack-XXXXXX", hex[65];
    close(mkstemp(path));
    struct bytes plain = safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", 12);
    struct gr_weights *weights, *same;
    assert_int_equal(read_weights_of(&weights, plain.at, plain.size, path), GR_OK);
    assert_int_equal(parse(&same, &plain), GR_OK);
    assert_int_equal(weights->count, 1);
    assert_memory_equal(gr_tensor_floats(&weights->items[0].tensor), gr_tensor_floats(&same->items[0].tensor),
                        12);
    hex_of((const char *)plain.at, plain.size, hex);
    assert_string_equal(weights->sha256, hex);
    gr_weights_free(weights);
    gr_weights_free(same);

    FILE *file = fopen(path, "r+b"); /* damage inside the tensor */
    struct bytes whole = {0};
    unsigned char piece[4096];
    put(&whole, piece, fread(piece, 1, sizeof piece, file));
    for (size_t at = 0; at + plain.size <= whole.size; at++)
        if (memcmp(whole.at + at, plain.at, plain.size) == 0)
            fseek(file, (long)(at + plain.size - 1), SEEK_SET);
    fputc('X', file);
    fclose(file);
    assert_int_equal(gr_weights_read(&weights, path), GR_ERROR_FILE);
    assert_non_null(strstr(gr_error()->message, "(rule \"digest\")"));
    assert_int_equal(strncmp(gr_error()->message, path, strlen(path)), 0);
    free(whole.at);

    struct zip_entry nothing = {.name = "archive/data.pkl"};
    struct bytes other = zip(&nothing, 1);
    assert_int_not_equal(read_weights_of(&weights, other.at, other.size, path), GR_OK);
    free(other.at);
    struct gr_pack_input bare[GR_PACK_PARTS] = {
        [GR_PACK_RECIPE] = {"", 0, NULL}, [GR_PACK_LOCK] = {"{}", 2, NULL}};
    assert_int_equal(gr_pack_write(path, bare), GR_OK);
    assert_int_equal(gr_weights_read(&weights, path), GR_ERROR_FILE);
    assert_non_null(strstr(gr_error()->message, "is a pack without weights"));
    free(plain.at);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_pack_is_read),
        cmocka_unit_test(a_pack_of_version_1_is_read),
        cmocka_unit_test(what_is_written_has_that_spelling),
        cmocka_unit_test(lists_that_are_not_sound),
        cmocka_unit_test(archives_that_are_not_sound),
        cmocka_unit_test(no_byte_may_change_and_none_be_missing),
        cmocka_unit_test(weights_are_read_where_they_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
