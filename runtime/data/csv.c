/* Data sets made of a table, and of a list that a script gives. */
#include "data/listing.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "io/file.h"

#include <string.h>

enum { MAX_TABLE = 256 << 20, MAX_FIELDS = 4096 };

/* ---- the table: RFC 4180, with LF or CRLF, with or without a byte order mark ---- */

struct table {
    const char *path;
    char *bytes; /* of the file; fields are unquoted in place and end in NUL */
    char *at, *end;
    int line;      /* of the record that was read last, from 1 */
    int next_line; /* where the next one begins */
    char **fields; /* of that record */
    int count, capacity;
};

static int add_field(struct table *table, char *field) {
    char name[256];
    if (table->count == MAX_FIELDS)
        return gr_fail(GR_ERROR_LIMIT, "%s:%d: more than %d columns",
                       gr_printable(table->path, name, sizeof name), table->line, MAX_FIELDS);
    if (table->count == table->capacity) {
        int capacity = table->capacity ? 2 * table->capacity : 16;
        char **fields = gr_realloc(table->fields, (size_t)capacity * sizeof *fields);
        if (!fields)
            return GR_ERROR_MEMORY;
        table->fields = fields;
        table->capacity = capacity;
    }
    table->fields[table->count++] = field;
    return GR_OK;
}

/* A field in quotes, behind the first of them: removes the quotes, halves doubled ones, ends behind the last.
 */
static int quoted(struct table *table, char **end) {
    char name[256], *from = table->at, *to = from;
    for (; from < table->end; from++) {
        if (*from == '\n')
            table->next_line++;
        if (*from == '"') {
            if (from + 1 < table->end && from[1] == '"')
                from++;
            else
                break;
        }
        *to++ = *from;
    }
    if (from == table->end)
        return gr_fail(GR_ERROR_FILE, "%s:%d: a quoted field has no closing quote",
                       gr_printable(table->path, name, sizeof name), table->line);
    table->at = from + 1;
    if (table->at < table->end && *table->at != ',' && *table->at != '\r' && *table->at != '\n')
        return gr_fail(GR_ERROR_FILE,
                       "%s:%d: after a closing quote comes a comma or the end of the line, not \"%c\"",
                       gr_printable(table->path, name, sizeof name), table->line,
                       *table->at >= ' ' && *table->at < 127 ? *table->at : '?');
    *end = to;
    return GR_OK;
}

/* Reads the next record that is no empty line; *more false: there is none. */
static int next_record(struct table *table, bool *more) {
    while (table->at < table->end && (*table->at == '\n' || *table->at == '\r')) {
        table->next_line += *table->at == '\n';
        table->at++;
    }
    table->count = 0;
    table->line = table->next_line;
    *more = table->at < table->end;
    for (bool last = !*more; !last;) {
        char *field = table->at, *end;
        if (field < table->end && *field == '"') {
            table->at++;
            field++;
            GR_TRY(quoted(table, &end));
        } else {
            while (table->at < table->end && !strchr(",\r\n", *table->at))
                table->at++;
            end = table->at;
        }
        char stop = table->at < table->end ? *table->at : '\n';
        *end = 0; /* `bytes` has one more byte than the file */
        GR_TRY(add_field(table, field));
        last = stop != ',';
        if (stop == '\r' && table->at + 1 < table->end && table->at[1] == '\n')
            table->at++;
        if (table->at < table->end)
            table->at++;
        table->next_line += last;
    }
    return GR_OK;
}

static int table_open(struct table *table, const char *path) {
    struct gr_source source;
    char name[256];
    *table = (struct table){.path = path, .next_line = 1};
    gr_printable(path, name, sizeof name);
    int status = gr_source_open(&source, path);
    if (status)
        return gr_fail_in("%s", name);
    size_t size = (size_t)source.size;
    if (source.size > MAX_TABLE)
        status = gr_fail(GR_ERROR_LIMIT, "%s is too large for a table: at most %d MiB are read", name,
                         MAX_TABLE >> 20);
    if (!status && !(table->bytes = gr_alloc(size + 1)))
        status = GR_ERROR_MEMORY;
    if (!status && (status = gr_source_read(&source, 0, table->bytes, size)))
        gr_fail_in("%s", name);
    gr_source_close(&source);
    if (!status && memchr(table->bytes, 0, size))
        status = gr_fail(GR_ERROR_FILE, "%s is no text table: it holds zero bytes", name);
    if (!status) {
        table->bytes[size] = 0;
        table->at = table->bytes + (size >= 3 && !memcmp(table->bytes, "\xEF\xBB\xBF", 3) ? 3 : 0);
        table->end = table->bytes + size;
    }
    return status;
}

static void table_close(struct table *table) {
    gr_free(table->bytes);
    gr_free(table->fields);
}

/* ---- columns ---- */

struct columns {
    int image, label, labels, split;
    int *flags;
    struct gr_names header;
};

static int find_column(const struct table *table, const struct columns *columns, const char *wanted,
                       int *out) {
    char name[256], path[256];
    const struct gr_names *header = &columns->header;
    *out = -1;
    if (!wanted)
        return GR_OK;
    for (int i = 0; i < header->count; i++)
        if (!strcmp(header->items[i], wanted)) {
            *out = i;
            return GR_OK;
        }
    gr_fail(GR_ERROR_NAME, "%s has no column \"%s\"", gr_printable(table->path, path, sizeof path),
            gr_printable(wanted, name, sizeof name));
    const char *near = gr_nearest(wanted, (const char *const *)header->items, (size_t)header->count);
    return near ? gr_fail_near(near) : GR_ERROR_NAME;
}

static int read_header(struct table *table, const struct gr_csv_options *csv, struct columns *columns) {
    char path[256];
    bool more;
    GR_TRY(next_record(table, &more));
    if (!more)
        return gr_fail(GR_ERROR_DATA, "%s is empty: the first line names the columns",
                       gr_printable(table->path, path, sizeof path));
    for (int i = 0; i < table->count; i++)
        GR_TRY(gr_names_add(&columns->header, table->fields[i]));
    GR_TRY(find_column(table, columns, csv->image, &columns->image));
    GR_TRY(find_column(table, columns, csv->label, &columns->label));
    GR_TRY(find_column(table, columns, csv->labels, &columns->labels));
    GR_TRY(find_column(table, columns, csv->split, &columns->split));
    columns->flags = gr_calloc((size_t)csv->flag_count + 1, sizeof *columns->flags);
    if (!columns->flags)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < csv->flag_count; i++)
        GR_TRY(find_column(table, columns, csv->flags[i], &columns->flags[i]));
    return GR_OK;
}

/* ---- rows ---- */

/* The field without blanks around it. */
static char *trim(char *text) {
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = 0;
    return text;
}

/* The classes of the current row into `names`. */
static int row_classes(const struct table *table, const struct gr_csv_options *csv,
                       const struct columns *columns, struct gr_names *names) {
    char path[256], value[64];
    if (columns->label >= 0) {
        const char *class = trim(table->fields[columns->label]);
        return class[0] ? gr_names_add(names, class) : GR_OK;
    }
    if (columns->labels >= 0) {
        const char *separator = csv->separator && csv->separator[0] ? csv->separator : "|";
        for (char *at = table->fields[columns->labels], *next; at; at = next) {
            next = strstr(at, separator);
            if (next) {
                *next = 0;
                next += strlen(separator);
            }
            const char *class = trim(at);
            if (class[0])
                GR_TRY(gr_names_add(names, class));
        }
        gr_names_sort_unique(names);
        return GR_OK;
    }
    for (int i = 0; i < csv->flag_count; i++) {
        const char *flag = trim(table->fields[columns->flags[i]]);
        if (!strcmp(flag, "1"))
            GR_TRY(gr_names_add(names, csv->flags[i]));
        else if (flag[0] && strcmp(flag, "0"))
            return gr_fail(GR_ERROR_DATA, "%s:%d: column \"%s\" holds 0 or 1, not \"%s\"",
                           gr_printable(table->path, path, sizeof path), table->line, csv->flags[i],
                           gr_printable(flag, value, sizeof value));
    }
    return GR_OK;
}

static int read_row(struct gr_listing *listing, const struct table *table, const struct gr_csv_options *csv,
                    const struct columns *columns) {
    char path[256], value[64];
    struct gr_names names = {0};
    int set = -1, status = GR_OK;
    gr_printable(table->path, path, sizeof path);
    if (table->count != columns->header.count)
        return gr_fail(GR_ERROR_FILE, "%s:%d: %d fields, but the first line names %d columns", path,
                       table->line, table->count, columns->header.count);
    if (columns->split >= 0) {
        const char *word = trim(table->fields[columns->split]);
        set = gr_set_named(word);
        if (set < 0)
            return gr_fail(GR_ERROR_DATA, "%s:%d: column \"%s\" holds train, val or test, not \"%s\"", path,
                           table->line, csv->split, gr_printable(word, value, sizeof value));
    }
    const char *image = trim(table->fields[columns->image]);
    if (!image[0])
        return gr_fail(GR_ERROR_DATA, "%s:%d: column \"%s\" names no photo", path, table->line, csv->image);
    status = row_classes(table, csv, columns, &names);
    if (!status && columns->label >= 0 && names.count == 0)
        status = gr_listing_skip(listing, image, "its row names no class", true);
    else if (!status)
        status = gr_listing_add(listing, image, set, (const char *const *)names.items, names.count);
    gr_names_free(&names);
    return status;
}

static int check_csv_options(const struct gr_csv_options *csv) {
    int ways = (csv->label != NULL) + (csv->labels != NULL) + (csv->flag_count > 0);
    if (!csv->image)
        return gr_fail(GR_ERROR_OPTION, "data.csv needs image=, the column of the photos' paths");
    if (ways != 1)
        return gr_fail(
            GR_ERROR_OPTION,
            "data.csv takes one of label=\"column\", labels=\"column\" and labels={\"column\", ...}");
    return GR_OK;
}

/* The folder of a file: "." for a bare name. */
static char *folder_of(const char *path) {
    char *folder = gr_strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash)
        slash[slash == folder] = 0;
    else if (folder)
        strcpy(folder, path[0] ? "." : "");
    return folder;
}

int gr_data_csv(struct gr_dataset **out, const char *path, const struct gr_csv_options *csv,
                const struct gr_data_options *options) {
    struct gr_listing listing = {0};
    struct table table = {0};
    struct columns columns = {0};
    bool more = true;
    *out = NULL;
    GR_TRY(check_csv_options(csv));
    char *folder = folder_of(path);
    int status = folder ? table_open(&table, path) : GR_ERROR_MEMORY;
    if (!status)
        status = gr_listing_start(&listing, path, folder, options);
    if (!status)
        status = read_header(&table, csv, &columns);
    if (!status)
        listing.data->multilabel = !csv->label;
    for (int i = 0; !status && i < csv->flag_count; i++)
        status = gr_names_add(&listing.declared, csv->flags[i]);
    while (!status && !(status = next_record(&table, &more)) && more)
        status = read_row(&listing, &table, csv, &columns);
    if (!status)
        status = gr_listing_finish(&listing, out);
    gr_names_free(&columns.header);
    gr_free(columns.flags);
    gr_free(folder);
    table_close(&table);
    gr_listing_free(&listing);
    return status;
}

/* ---- a list ---- */

int gr_data_list(struct gr_dataset **out, const struct gr_data_item *items, int64_t count,
                 const struct gr_data_options *options) {
    struct gr_listing listing;
    *out = NULL;
    int status = gr_listing_start(&listing, "list", NULL, options);
    for (int64_t i = 0; !status && i < count; i++) {
        const struct gr_data_item *item = &items[i];
        if (i == 0)
            listing.data->multilabel = !item->label;
        if (!item->image || !item->image[0])
            status = gr_fail(GR_ERROR_DATA, "data.list: item %lld names no photo", (long long)i + 1);
        else if (listing.data->multilabel != !item->label)
            status = gr_fail(GR_ERROR_DATA, "data.list: item %lld has %s, unlike the items before",
                             (long long)i + 1, item->label ? "one class" : "a list of classes");
        else if (item->set < -1 || item->set >= GR_SETS)
            status =
                gr_fail(GR_ERROR_DATA, "data.list: item %lld: split is train, val or test", (long long)i + 1);
        else
            status =
                gr_listing_add(&listing, item->image, item->set, item->label ? &item->label : item->labels,
                               item->label ? 1 : item->label_count);
    }
    if (!status)
        status = gr_listing_finish(&listing, out);
    gr_listing_free(&listing);
    return status;
}
