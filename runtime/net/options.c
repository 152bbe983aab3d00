#include "net/options.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_OPTIONS = 32,      /* of one kind, for the list of names in a message */
    MAX_STRING = 4096,     /* bytes of a string option */
    MAX_PADDING = 1 << 20, /* pixels, when the table gives no range */
};

static void *field(const struct gr_option *option, void *options) {
    return (char *)options + option->offset;
}

static const void *const_field(const struct gr_option *option, const void *options) {
    return (const char *)options + option->offset;
}

static bool ranged(const struct gr_option *option) {
    return option->low != 0 || option->high != 0;
}

/* Reads one number and checks its range. `integral`: only whole numbers that an int holds. */
static int read_number(const struct gr_option *option, const cJSON *value, bool integral, const char *who,
                       double *out) {
    const char *sort = integral ? "a whole number" : "a number";
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble))
        return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" must be %s", who, option->name, sort);
    double number = value->valuedouble;
    if (integral && (number != floor(number) || number < INT_MIN || number > INT_MAX))
        return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" must be a whole number, not %g", who, option->name,
                       number);
    if (ranged(option) && (number < option->low || number > option->high))
        return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" must be %s from %g to %g, not %g", who,
                       option->name, sort, option->low, option->high, number);
    *out = number;
    return GR_OK;
}

/* Reads an array of `count` whole numbers. */
static int read_numbers(const struct gr_option *option, const cJSON *value, int count, const char *who,
                        int *out) {
    for (int i = 0; i < count; i++) {
        double number;
        GR_TRY(read_number(option, cJSON_GetArrayItem(value, i), true, who, &number));
        out[i] = (int)number;
    }
    return GR_OK;
}

static int read_pair(const struct gr_option *option, const cJSON *value, const char *who, int *pair) {
    if (cJSON_IsArray(value)) {
        if (cJSON_GetArraySize(value) != 2)
            return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" must be one number or {height, width}", who,
                           option->name);
        return read_numbers(option, value, 2, who, pair);
    }
    double number;
    GR_TRY(read_number(option, value, true, who, &number));
    pair[0] = pair[1] = (int)number;
    return GR_OK;
}

static int read_padding(const struct gr_option *option, const cJSON *value, const char *who,
                        struct gr_padding *padding) {
    struct gr_option limited = *option;
    int sides[4], count = 0;
    if (!ranged(option))
        limited.high = MAX_PADDING;
    if (cJSON_IsString(value) && strcmp(value->valuestring, "same") == 0) {
        *padding = (struct gr_padding){.same = true};
        return GR_OK;
    }
    if (cJSON_IsArray(value))
        count = cJSON_GetArraySize(value);
    if (cJSON_IsString(value) || (cJSON_IsArray(value) && count != 2 && count != 4))
        return gr_fail(GR_ERROR_OPTION,
                       "%s: option \"%s\" must be a number, {height, width}, {top, bottom, left, right} or "
                       "\"same\"",
                       who, option->name);
    if (count) {
        GR_TRY(read_numbers(&limited, value, count, who, sides));
    } else {
        double number;
        GR_TRY(read_number(&limited, value, true, who, &number));
        count = 2;
        sides[0] = sides[1] = (int)number;
    }
    if (count == 2)
        *padding = (struct gr_padding){false, sides[0], sides[0], sides[1], sides[1]};
    else
        *padding = (struct gr_padding){false, sides[0], sides[1], sides[2], sides[3]};
    return GR_OK;
}

static int read_string(const struct gr_option *option, const cJSON *value, const char *who, char **out) {
    if (!cJSON_IsString(value))
        return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" must be a string", who, option->name);
    if (strlen(value->valuestring) > MAX_STRING)
        return gr_fail(GR_ERROR_LIMIT, "%s: option \"%s\" is longer than %d bytes", who, option->name,
                       MAX_STRING);
    *out = gr_strdup(value->valuestring);
    return *out ? GR_OK : GR_ERROR_MEMORY;
}

static int read_value(const struct gr_option *option, const cJSON *value, const char *who, void *to) {
    double number = 0;
    switch (option->type) {
    case GR_OPTION_INT:
        GR_TRY(read_number(option, value, true, who, &number));
        *(int *)to = (int)number;
        return GR_OK;
    case GR_OPTION_FLOAT:
        GR_TRY(read_number(option, value, false, who, &number));
        *(float *)to = (float)number;
        return GR_OK;
    case GR_OPTION_BOOL:
        if (!cJSON_IsBool(value))
            return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" must be true or false", who, option->name);
        *(bool *)to = cJSON_IsTrue(value);
        return GR_OK;
    case GR_OPTION_PAIR:
        return read_pair(option, value, who, to);
    case GR_OPTION_PADDING:
        return read_padding(option, value, who, to);
    case GR_OPTION_STRING:
        return read_string(option, value, who, to);
    case GR_OPTION_JSON:
        *(cJSON **)to = cJSON_Duplicate(value, true);
        return *(cJSON **)to ? GR_OK : gr_fail(GR_ERROR_MEMORY, "%s: out of memory", who);
    }
    return GR_OK;
}

static void set_fallback(const struct gr_option *option, void *to) {
    int whole = (int)option->fallback;
    switch (option->type) {
    case GR_OPTION_INT:
        *(int *)to = whole;
        break;
    case GR_OPTION_FLOAT:
        *(float *)to = (float)option->fallback;
        break;
    case GR_OPTION_BOOL:
        *(bool *)to = option->fallback != 0;
        break;
    case GR_OPTION_PAIR:
        ((int *)to)[0] = ((int *)to)[1] = whole;
        break;
    case GR_OPTION_PADDING:
        *(struct gr_padding *)to = (struct gr_padding){false, whole, whole, whole, whole};
        break;
    case GR_OPTION_STRING:
        *(char **)to = NULL;
        break;
    case GR_OPTION_JSON:
        *(cJSON **)to = NULL;
        break;
    }
}

static const struct gr_option *find(const struct gr_option *table, const char *name) {
    for (const struct gr_option *option = table; option && option->name; option++)
        if (strcmp(option->name, name) == 0)
            return option;
    return NULL;
}

static int unknown_key(const struct gr_option *table, const char *key, const char *who) {
    const char *names[MAX_OPTIONS];
    size_t count = 0;
    struct gr_text list = {0};
    char shown[80];
    for (const struct gr_option *option = table; option && option->name && count < MAX_OPTIONS; option++) {
        gr_text_add(&list, "%s%s", count ? ", " : "", option->name);
        names[count++] = option->name;
    }
    gr_printable(key, shown, sizeof shown);
    if (count == 0)
        gr_fail(GR_ERROR_OPTION, "%s: no option \"%s\": this layer has none", who, shown);
    else
        gr_fail(GR_ERROR_OPTION, "%s: no option \"%s\"; there are: %s", who, shown,
                list.bytes ? list.bytes : "others");
    gr_text_free(&list);
    gr_fail_near(gr_nearest(key, names, count));
    return GR_ERROR_OPTION;
}

static int check_keys(const struct gr_option *table, const cJSON *object, const char *who) {
    for (const cJSON *item = object->child; item; item = item->next) {
        if (!item->string || !find(table, item->string))
            return unknown_key(table, item->string ? item->string : "", who);
        for (const cJSON *other = item->next; other; other = other->next)
            if (other->string && strcmp(other->string, item->string) == 0)
                return gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" is given twice", who, item->string);
    }
    return GR_OK;
}

int gr_options_read(const struct gr_option *table, const cJSON *object, const char *who, void *options) {
    int status = GR_OK;
    if (object && !cJSON_IsObject(object)) {
        /* An empty Lua table arrives as an empty list. */
        if (!cJSON_IsArray(object) || object->child)
            return gr_fail(GR_ERROR_OPTION, "%s: options must be a table of names and values", who);
        object = NULL;
    }
    if (object)
        GR_TRY(check_keys(table, object, who));
    for (const struct gr_option *option = table; option && option->name; option++)
        set_fallback(option, field(option, options));
    for (const struct gr_option *option = table; option && option->name; option++) {
        const cJSON *value = object ? cJSON_GetObjectItemCaseSensitive(object, option->name) : NULL;
        if (value)
            status = read_value(option, value, who, field(option, options));
        else if (option->required)
            status = gr_fail(GR_ERROR_OPTION, "%s: option \"%s\" is required", who, option->name);
        if (status)
            break;
    }
    if (status)
        gr_options_clear(table, options);
    return status;
}

/* The shortest decimal number that reads back as the same float: 1e-05, not 9.9999997473787516e-06. */
static double shortest(float value) {
    char text[32];
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            return strtod(text, NULL);
    }
    return value;
}

static cJSON *write_pair(int a, int b) {
    return a == b ? cJSON_CreateNumber(a) : cJSON_CreateIntArray((int[]){a, b}, 2);
}

static cJSON *write_padding(const struct gr_padding *p) {
    if (p->same)
        return cJSON_CreateString("same");
    if (p->top == p->bottom && p->left == p->right)
        return write_pair(p->top, p->left);
    return cJSON_CreateIntArray((int[]){p->top, p->bottom, p->left, p->right}, 4);
}

static bool is_fallback(const struct gr_option *option, const void *from) {
    int whole = (int)option->fallback;
    const struct gr_padding *p = from;
    switch (option->type) {
    case GR_OPTION_INT:
        return *(const int *)from == whole;
    case GR_OPTION_FLOAT:
        return *(const float *)from == (float)option->fallback;
    case GR_OPTION_BOOL:
        return *(const bool *)from == (option->fallback != 0);
    case GR_OPTION_PAIR:
        return ((const int *)from)[0] == whole && ((const int *)from)[1] == whole;
    case GR_OPTION_PADDING:
        return !p->same && p->top == whole && p->bottom == whole && p->left == whole && p->right == whole;
    case GR_OPTION_STRING:
        return !*(char *const *)from;
    case GR_OPTION_JSON:
        return !*(cJSON *const *)from;
    }
    return true;
}

static cJSON *write_value(const struct gr_option *option, const void *from) {
    switch (option->type) {
    case GR_OPTION_INT:
        return cJSON_CreateNumber(*(const int *)from);
    case GR_OPTION_FLOAT:
        return cJSON_CreateNumber(shortest(*(const float *)from));
    case GR_OPTION_BOOL:
        return cJSON_CreateBool(*(const bool *)from);
    case GR_OPTION_PAIR:
        return write_pair(((const int *)from)[0], ((const int *)from)[1]);
    case GR_OPTION_PADDING:
        return write_padding(from);
    case GR_OPTION_STRING:
        return cJSON_CreateString(*(char *const *)from);
    case GR_OPTION_JSON:
        return cJSON_Duplicate(*(cJSON *const *)from, true);
    }
    return NULL;
}

cJSON *gr_options_write(const struct gr_option *table, const void *options) {
    cJSON *object = cJSON_CreateObject();
    bool ok = object != NULL;
    for (const struct gr_option *option = table; ok && option && option->name; option++) {
        const void *from = const_field(option, options);
        if (!option->required && is_fallback(option, from))
            continue;
        if (option->type == GR_OPTION_STRING && !*(char *const *)from)
            continue;
        cJSON *value = write_value(option, from);
        ok = value && cJSON_AddItemToObject(object, option->name, value);
        if (!ok)
            cJSON_Delete(value);
    }
    if (ok)
        return object;
    cJSON_Delete(object);
    gr_fail(GR_ERROR_MEMORY, "out of memory while writing the options of a layer");
    return NULL;
}

void gr_options_clear(const struct gr_option *table, void *options) {
    for (const struct gr_option *option = table; options && option && option->name; option++) {
        void *to = field(option, options);
        if (option->type == GR_OPTION_STRING) {
            gr_free(*(char **)to);
            *(char **)to = NULL;
        } else if (option->type == GR_OPTION_JSON) {
            cJSON_Delete(*(cJSON **)to);
            *(cJSON **)to = NULL;
        }
    }
}
