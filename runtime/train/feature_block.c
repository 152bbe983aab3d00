#include "train/feature_block.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>
#include <zlib.h>

enum { FORMAT = 1, HEADER = 96, MARK = 8, KEY = 64 };

static const char mark[] = "GRAFTROW";

static void put_number(unsigned char *to, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(number >> 8 * i);
}

static uint64_t get_number(const unsigned char *from, int bytes) {
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number |= (uint64_t)from[i] << 8 * i;
    return number;
}

/* What the file of a block begins with. */
static void make_header(const struct gr_feature_block *block, unsigned char header[HEADER]) {
    memset(header, 0, HEADER);
    memcpy(header, mark, MARK);
    put_number(header + MARK, FORMAT, 8);
    put_number(header + MARK + 8, block->floats, 8);
    put_number(header + MARK + 16, (uint64_t)block->count, 8);
    memcpy(header + MARK + 24, block->key, KEY);
}

static uint32_t sum_of(uint32_t sum, const void *bytes, size_t size) {
    return (uint32_t)crc32_z(sum, bytes, size);
}

/* ---- life ---- */

static int allocate(struct gr_feature_block **out, const char *key, int64_t count, size_t floats,
                    const char *path) {
    size_t numbers, bytes;
    *out = NULL;
    if (count < 0 || floats < 1 || !gr_size_multiply((size_t)count, floats, &numbers) ||
        !gr_size_multiply(numbers, sizeof(float), &bytes))
        return gr_fail(GR_ERROR_LIMIT, "%lld rows of %zu numbers are too large", (long long)count, floats);
    struct gr_feature_block *block = gr_calloc(1, sizeof *block);
    if (!block)
        return GR_ERROR_MEMORY;
    memcpy(block->key, key, strnlen(key, KEY));
    block->floats = floats;
    block->count = count;
    block->users = 1;
    block->file.fd = block->write.fd = -1;
    block->row_at = gr_calloc((size_t)count + 1, sizeof *block->row_at);
    bool ok = block->row_at;
    if (ok && path) {
        block->path = gr_strdup(path);
        block->sums = gr_calloc((size_t)count + 1, sizeof *block->sums);
        ok = block->path && block->sums;
    } else if (ok) {
        block->values = gr_alloc(bytes);
        ok = block->values;
    }
    for (int64_t i = 0; ok && i < count; i++)
        block->row_at[i] = -1;
    if (!ok) {
        gr_feature_block_release(block);
        return GR_ERROR_MEMORY;
    }
    *out = block;
    return GR_OK;
}

int gr_feature_block_create(struct gr_feature_block **out, const char *key, int64_t count, size_t floats,
                            const char *path) {
    unsigned char header[HEADER];
    GR_TRY(allocate(out, key, count, floats, path));
    if (!path)
        return GR_OK;
    make_header(*out, header);
    int status = gr_writer_open(&(*out)->write, path);
    (*out)->write.unsafe = true;
    if (!status)
        status = gr_writer_put(&(*out)->write, header, HEADER);
    if (status) {
        gr_feature_block_release(*out);
        *out = NULL;
    }
    return status;
}

int gr_feature_block_add(struct gr_feature_block *block, int n, const int64_t *positions, const float *rows) {
    size_t bytes = block->floats * sizeof *rows;
    for (int i = 0; i < n; i++) {
        const float *row = rows + (size_t)i * block->floats;
        if (block->values)
            memcpy(block->values + (size_t)block->rows * block->floats, row, bytes);
        else
            block->sums[block->rows] = sum_of(0, row, bytes);
        block->row_at[positions[i]] = block->rows++;
    }
    return block->values ? GR_OK : gr_writer_put(&block->write, rows, (size_t)n * bytes);
}

/* What stands behind the rows, made or to be compared: [count] flags, [rows] sums, the sum of all of it and
 * of the header. A new array of *size bytes, or NULL. */
static unsigned char *make_tail(const struct gr_feature_block *block, size_t *size) {
    unsigned char header[HEADER];
    size_t flags = (size_t)block->count, sums = (size_t)block->rows * 4;
    *size = flags + sums + 4;
    unsigned char *tail = gr_calloc(*size, 1);
    if (!tail)
        return NULL;
    for (size_t i = 0; i < flags; i++)
        tail[i] = block->row_at[i] >= 0;
    for (int64_t i = 0; i < block->rows; i++)
        put_number(tail + flags + 4 * (size_t)i, block->sums[i], 4);
    make_header(block, header);
    put_number(tail + flags + sums, sum_of(sum_of(0, header, HEADER), tail, flags + sums), 4);
    return tail;
}

int gr_feature_block_finish(struct gr_feature_block *block) {
    size_t size;
    if (block->values)
        return GR_OK;
    unsigned char *tail = make_tail(block, &size);
    if (!tail)
        return GR_ERROR_MEMORY;
    int status = gr_writer_put(&block->write, tail, size);
    gr_free(tail);
    if (status)
        gr_writer_abort(&block->write);
    else
        status = gr_writer_commit(&block->write);
    if (!status && gr_source_open(&block->file, block->path))
        status = gr_fail_in("%s", block->path);
    return status;
}

/* ---- a file from earlier ---- */

/* Takes the tail of the file over; false: it does not fit the block. */
static bool read_tail(struct gr_feature_block *block) {
    uint64_t row = block->floats * sizeof(float) + 4, rest = HEADER + (uint64_t)block->count + 4;
    if (block->file.size < rest || (block->file.size - rest) % row)
        return false;
    uint64_t rows = (block->file.size - rest) / row;
    size_t size = (size_t)block->count + (size_t)rows * 4 + 4, own;
    if (rows > (uint64_t)block->count)
        return false;
    unsigned char *tail = gr_alloc(size), *expected = NULL;
    bool good = tail && !gr_source_read(&block->file, block->file.size - size, tail, size);
    for (int64_t i = 0; good && i < block->count; i++)
        block->row_at[i] = tail[i] && block->rows < (int64_t)rows ? block->rows++ : -1;
    for (int64_t i = 0; good && i < block->rows; i++)
        block->sums[i] = (uint32_t)get_number(tail + block->count + 4 * i, 4);
    if (good && block->rows == (int64_t)rows)
        expected = make_tail(block, &own);
    good = expected && !memcmp(tail, expected, size);
    gr_free(tail);
    gr_free(expected);
    return good;
}

static bool is_good(struct gr_feature_block *block) {
    unsigned char header[HEADER], expected[HEADER];
    make_header(block, expected);
    if (gr_source_read(&block->file, 0, header, HEADER) || memcmp(header, expected, HEADER) ||
        !read_tail(block))
        return false;
    float *row = gr_alloc(block->floats * sizeof *row);
    bool good = row;
    for (int64_t i = 0; good && i < block->rows; i++)
        good = !gr_feature_block_read(block, i, row);
    gr_free(row);
    return good;
}

int gr_feature_block_open(struct gr_feature_block **out, const char *key, int64_t count, size_t floats,
                          const char *path) {
    GR_TRY(allocate(out, key, count, floats, path));
    if (gr_source_open(&(*out)->file, path) || !is_good(*out)) {
        gr_feature_block_release(*out);
        *out = NULL;
    }
    return GR_OK;
}

int gr_feature_block_read(const struct gr_feature_block *block, int64_t row, float *out) {
    size_t bytes = block->floats * sizeof *out;
    if (block->values) {
        memcpy(out, block->values + (size_t)row * block->floats, bytes);
        return GR_OK;
    }
    if (gr_source_read(&block->file, HEADER + (uint64_t)row * bytes, out, bytes) ||
        sum_of(0, out, bytes) != block->sums[row])
        return gr_fail(GR_ERROR_DATA,
                       "%s was changed or damaged while it was in use; remove it and go on with --resume",
                       block->path);
    return GR_OK;
}

size_t gr_feature_block_memory(const struct gr_feature_block *block) {
    return block->values ? (size_t)block->count * block->floats * sizeof *block->values : 0;
}

void gr_feature_block_release(struct gr_feature_block *block) {
    if (!block || --block->users > 0)
        return;
    gr_writer_abort(&block->write);
    gr_source_close(&block->file);
    gr_free(block->row_at);
    gr_free(block->values);
    gr_free(block->path);
    gr_free(block->sums);
    gr_free(block);
}

/* ---- the store ---- */

struct gr_feature_block *gr_feature_store_find(struct gr_feature_store *store, const char *key) {
    for (struct gr_feature_block *block = store->first; block; block = block->next)
        if (!strcmp(block->key, key)) {
            block->used = ++store->clock;
            block->users++;
            return block;
        }
    return NULL;
}

void gr_feature_store_add(struct gr_feature_store *store, struct gr_feature_block *block) {
    block->used = ++store->clock;
    block->users++;
    block->next = store->first;
    store->first = block;
}

size_t gr_feature_store_memory(const struct gr_feature_store *store) {
    size_t bytes = 0;
    for (const struct gr_feature_block *block = store->first; block; block = block->next)
        bytes += gr_feature_block_memory(block);
    return bytes;
}

/* Forgets the block that *at points to. */
static void forget(struct gr_feature_block **at) {
    struct gr_feature_block *block = *at;
    *at = block->next;
    gr_feature_block_release(block);
}

void gr_feature_store_shrink(struct gr_feature_store *store, size_t bytes) {
    for (struct gr_feature_block **at = &store->first; *at;)
        if ((*at)->users == 1 && !(*at)->values)
            forget(at);
        else
            at = &(*at)->next;
    while (gr_feature_store_memory(store) > bytes) {
        struct gr_feature_block **oldest = NULL;
        for (struct gr_feature_block **at = &store->first; *at; at = &(*at)->next)
            if ((*at)->users == 1 && (!oldest || (*at)->used < (*oldest)->used))
                oldest = at;
        if (!oldest)
            return;
        forget(oldest);
    }
}

void gr_feature_store_clear(struct gr_feature_store *store) {
    while (store->first)
        forget(&store->first);
}
