#include "io/pickle.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

enum {
    VALUES_MOST = 300000, /* also of the stack, the marks and the memo */
    CELLS_MOST = 600000,
    NAME_MOST = 256, /* bytes of a module's or a class's name */
    PROTOCOL_MOST = 5,
    RANK_MOST = 64, /* PyTorch's own */
};

enum class_id { CLASS_DICT = 1, CLASS_SIZE, CLASS_TENSOR, CLASS_PARAMETER, CLASS_STORAGE };

/* Everything that a pickle may name; the storages are in gr_elements. */
static const struct {
    const char *module, *name;
    enum class_id id;
} classes[] = {
    {"collections", "OrderedDict", CLASS_DICT},
    {"torch", "Size", CLASS_SIZE},
    {"torch._utils", "_rebuild_tensor", CLASS_TENSOR},
    {"torch._utils", "_rebuild_tensor_v2", CLASS_TENSOR},
    {"torch._utils", "_rebuild_parameter", CLASS_PARAMETER},
};

/* A growing array of value numbers. */
struct list {
    uint32_t *items, count, capacity;
};

struct machine {
    struct gr_pickle *out;
    const unsigned char *bytes;
    size_t size, at, start;         /* start: of the operation in work */
    struct list stack, marks, memo; /* memo: value + 1; 0: not set */
};

const char *gr_value_kind_name(enum gr_value_kind kind) {
    static const char *const names[] = {"None",    "a boolean", "an integer", "a number",
                                        "a text",  "a tuple",   "a list",     "a dictionary",
                                        "a class", "a storage", "a tensor",   "a large integer"};
    return names[kind];
}

static int bad(const struct machine *machine, const char *what) {
    return gr_fail(GR_ERROR_FILE, "its pickle is damaged at byte %zu: %s", machine->start, what);
}

/* Makes room for one more item in an array that may hold at most `most`: the array, perhaps at another place,
 * or NULL with the error set. */
static void *grow(void *items, uint32_t count, uint32_t *capacity, size_t size, uint32_t most) {
    if (count < *capacity)
        return items;
    if (count >= most) {
        gr_fail(GR_ERROR_LIMIT, "its pickle builds more than %u values", most);
        return NULL;
    }
    uint32_t wanted = *capacity ? *capacity * 2 : 256;
    if (wanted > most)
        wanted = most;
    void *grown = gr_realloc(items, wanted * size);
    if (grown)
        *capacity = wanted;
    return grown;
}

static int list_push(struct list *list, uint32_t item) {
    uint32_t *items = grow(list->items, list->count, &list->capacity, sizeof *items, VALUES_MOST);
    if (!items)
        return gr_error()->code;
    list->items = items;
    list->items[list->count++] = item;
    return GR_OK;
}

static int push(struct machine *machine, struct gr_value value) {
    struct gr_pickle *out = machine->out;
    struct gr_value *values =
        grow(out->values, out->value_count, &out->value_capacity, sizeof *values, VALUES_MOST);
    if (!values)
        return gr_error()->code;
    out->values = values;
    out->values[out->value_count] = value;
    return list_push(&machine->stack, out->value_count++);
}

static int push_kind(struct machine *machine, enum gr_value_kind kind) {
    return push(machine, (struct gr_value){.kind = kind});
}

static int push_integer(struct machine *machine, enum gr_value_kind kind, int64_t integer) {
    return push(machine, (struct gr_value){.kind = kind, .integer = integer});
}

/* How many values lie above the last mark. */
static uint32_t above_mark(const struct machine *machine) {
    const struct list *marks = &machine->marks;
    return machine->stack.count - (marks->count ? marks->items[marks->count - 1] : 0);
}

static int pop(struct machine *machine, uint32_t *value) {
    if (above_mark(machine) == 0)
        return bad(machine, "a value is missing on the stack");
    *value = machine->stack.items[--machine->stack.count];
    return GR_OK;
}

static struct gr_value *top(struct machine *machine) {
    return above_mark(machine) ? &machine->out->values[machine->stack.items[machine->stack.count - 1]] : NULL;
}

/* Appends a child; `parent` is a number, since the array of values may move. */
static int append(struct machine *machine, uint32_t parent, uint32_t child) {
    struct gr_pickle *out = machine->out;
    struct gr_cell *cells = grow(out->cells, out->cell_count, &out->cell_capacity, sizeof *cells, CELLS_MOST);
    if (!cells)
        return gr_error()->code;
    out->cells = cells;
    struct gr_value *value = &out->values[parent];
    out->cells[out->cell_count++] = (struct gr_cell){.value = child};
    if (value->last)
        out->cells[value->last - 1].next = out->cell_count;
    else
        value->first = out->cell_count;
    value->last = out->cell_count;
    value->count++;
    return GR_OK;
}

const struct gr_value *gr_pickle_child(const struct gr_pickle *pickle, const struct gr_value *value,
                                       uint32_t i) {
    uint32_t cell = value->first;
    while (i--)
        cell = pickle->cells[cell - 1].next;
    return &pickle->values[pickle->cells[cell - 1].value];
}

static int take(struct machine *machine, size_t size, const unsigned char **bytes) {
    if (size > machine->size - machine->at)
        return bad(machine, "it ends in the middle");
    *bytes = machine->bytes + machine->at;
    machine->at += size;
    return GR_OK;
}

static int take_number(struct machine *machine, int size, uint64_t *out) {
    const unsigned char *bytes = NULL;
    GR_TRY(take(machine, (size_t)size, &bytes));
    *out = 0;
    for (int i = size - 1; i >= 0; i--)
        *out = *out << 8 | bytes[i];
    return GR_OK;
}

static int push_text(struct machine *machine, int length_size) {
    const unsigned char *bytes = NULL;
    uint64_t length = 0;
    GR_TRY(take_number(machine, length_size, &length));
    GR_TRY(take(machine, (size_t)length, &bytes));
    return push(machine, (struct gr_value){
                             .kind = GR_VALUE_TEXT, .count = (uint32_t)length, .text = (const char *)bytes});
}

static int push_long(struct machine *machine) {
    const unsigned char *bytes = NULL;
    uint64_t length = 0, value = 0;
    GR_TRY(take_number(machine, 1, &length));
    GR_TRY(take(machine, (size_t)length, &bytes));
    if (length > 8)
        return push_kind(machine, GR_VALUE_OTHER);
    for (size_t i = 8; i-- > 0;) /* two's complement: the sign fills the missing bytes */
        value = value << 8 | (i < length ? bytes[i] : length && bytes[length - 1] & 0x80 ? 0xFFu : 0u);
    return push_integer(machine, GR_VALUE_INTEGER, (int64_t)value);
}

static int push_real(struct machine *machine) {
    const unsigned char *bytes = NULL;
    uint64_t bits = 0;
    struct gr_value value = {.kind = GR_VALUE_REAL};
    GR_TRY(take(machine, 8, &bytes));
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&value.real, &bits, sizeof bits);
    return push(machine, value);
}

/* --- classes: the only place that decides what a pickle may name --- */

static bool same(const char *text, size_t length, const char *wanted) {
    return strlen(wanted) == length && memcmp(text, wanted, length) == 0;
}

static int push_class(struct machine *machine, const char *module, size_t module_length, const char *name,
                      size_t name_length) {
    struct gr_value value = {.kind = GR_VALUE_CLASS};
    char full[2 * NAME_MOST + 2], shown[300];
    if (module_length > NAME_MOST || name_length > NAME_MOST)
        return bad(machine, "the name of a class is too long");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (same(module, module_length, classes[i].module) && same(name, name_length, classes[i].name)) {
            value.count = classes[i].id;
            return push(machine, value);
        }
    for (value.element = gr_elements; value.element->name; value.element++)
        if (same(module, module_length, "torch") && same(name, name_length, value.element->pickled)) {
            value.count = CLASS_STORAGE;
            return push(machine, value);
        }
    snprintf(full, sizeof full, "%.*s.%.*s", (int)module_length, module, (int)name_length, name);
    return gr_fail(
        GR_ERROR_FILE,
        "its pickle names %s; only plain dictionaries of tensors are read, and nothing was executed. In "
        "PyTorch, save net.state_dict()",
        gr_printable(full, shown, sizeof shown));
}

/* Two lines: module and name. */
static int push_global(struct machine *machine) {
    const char *text[2];
    size_t length[2];
    for (int i = 0; i < 2; i++) {
        const unsigned char *line = machine->bytes + machine->at;
        const unsigned char *end = memchr(line, '\n', machine->size - machine->at);
        if (!end)
            return bad(machine, "the name of a class does not end");
        text[i] = (const char *)line;
        length[i] = (size_t)(end - line);
        machine->at += length[i] + 1;
    }
    return push_class(machine, text[0], length[0], text[1], length[1]);
}

static int push_stack_global(struct machine *machine) {
    uint32_t name = 0, module = 0;
    GR_TRY(pop(machine, &name));
    GR_TRY(pop(machine, &module));
    const struct gr_value *a = &machine->out->values[module], *b = &machine->out->values[name];
    if (a->kind != GR_VALUE_TEXT || b->kind != GR_VALUE_TEXT)
        return bad(machine, "the name of a class is no text");
    return push_class(machine, a->text, a->count, b->text, b->count);
}

/* --- containers --- */

/* A tuple of the last `count` values. */
static int make_tuple(struct machine *machine, uint32_t count) {
    uint32_t first = machine->stack.count - count;
    if (count > above_mark(machine))
        return bad(machine, "a value is missing on the stack");
    GR_TRY(push_kind(machine, GR_VALUE_TUPLE));
    uint32_t tuple = machine->stack.items[machine->stack.count - 1];
    for (uint32_t i = 0; i < count; i++)
        GR_TRY(append(machine, tuple, machine->stack.items[first + i]));
    machine->stack.items[first] = tuple;
    machine->stack.count = first + 1;
    return GR_OK;
}

/* Takes the last mark away; *count is the number of values above it. */
static int pop_mark(struct machine *machine, uint32_t *count) {
    if (machine->marks.count == 0)
        return bad(machine, "a mark is missing");
    *count = above_mark(machine);
    machine->marks.count--;
    return GR_OK;
}

/* Moves the last `count` values into the list or dictionary below them. */
static int fill(struct machine *machine, enum gr_value_kind kind, uint32_t count) {
    if (count >= above_mark(machine))
        return bad(machine, "a value is missing on the stack");
    uint32_t first = machine->stack.count - count, parent = machine->stack.items[first - 1];
    if (machine->out->values[parent].kind != kind)
        return bad(machine, kind == GR_VALUE_LIST ? "something is appended to what is no list"
                                                  : "something is put into what is no dictionary");
    if (kind == GR_VALUE_DICT && count % 2)
        return bad(machine, "a key without a value");
    for (uint32_t i = 0; i < count; i++)
        GR_TRY(append(machine, parent, machine->stack.items[first + i]));
    machine->stack.count = first;
    return GR_OK;
}

static int fill_from_mark(struct machine *machine, enum gr_value_kind kind) {
    uint32_t count = 0;
    GR_TRY(pop_mark(machine, &count));
    return fill(machine, kind, count);
}

/* --- memo --- */

static int memo_put(struct machine *machine, uint64_t index) {
    struct list *memo = &machine->memo;
    if (above_mark(machine) == 0)
        return bad(machine, "nothing to remember");
    if (index >= VALUES_MOST)
        return gr_fail(GR_ERROR_LIMIT, "its pickle remembers a value under the number %llu; %d are allowed",
                       (unsigned long long)index, VALUES_MOST);
    while (memo->count <= index)
        GR_TRY(list_push(memo, 0));
    memo->items[index] = machine->stack.items[machine->stack.count - 1] + 1;
    return GR_OK;
}

static int memo_get(struct machine *machine, uint64_t index) {
    if (index >= machine->memo.count || machine->memo.items[index] == 0)
        return bad(machine, "a value is recalled that was never remembered");
    return list_push(&machine->stack, machine->memo.items[index] - 1);
}

static int memo_op(struct machine *machine, int size, bool put) {
    uint64_t index = 0;
    GR_TRY(take_number(machine, size, &index));
    return put ? memo_put(machine, index) : memo_get(machine, index);
}

/* --- what stands for calls --- */

/* Sizes or strides. The number is checked first, so that one long tuple cannot be walked again and again. */
static bool all_integers(const struct gr_pickle *pickle, const struct gr_value *value) {
    if (value->kind != GR_VALUE_TUPLE || value->count > RANK_MOST)
        return false;
    for (uint32_t cell = value->first; cell; cell = pickle->cells[cell - 1].next)
        if (pickle->values[pickle->cells[cell - 1].value].kind != GR_VALUE_INTEGER)
            return false;
    return true;
}

/* torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks, metadata) */
static int make_tensor(struct machine *machine, const struct gr_value *arguments) {
    const struct gr_pickle *out = machine->out;
    struct gr_value tensor = *arguments;
    if (tensor.count < 4 || tensor.count > 7 || gr_pickle_child(out, &tensor, 0)->kind != GR_VALUE_STORAGE ||
        gr_pickle_child(out, &tensor, 1)->kind != GR_VALUE_INTEGER ||
        !all_integers(out, gr_pickle_child(out, &tensor, 2)) ||
        !all_integers(out, gr_pickle_child(out, &tensor, 3)))
        return bad(machine, "a tensor without storage, offset, sizes and strides");
    if (tensor.count == 7) {
        const struct gr_value *more = gr_pickle_child(out, &tensor, 6);
        if (more->kind != GR_VALUE_NONE && (more->kind != GR_VALUE_DICT || more->count))
            return bad(machine, "a tensor with properties (conjugate, negated) that are not read");
    }
    tensor.kind = GR_VALUE_TENSOR;
    return push(machine, tensor);
}

/* OrderedDict() or OrderedDict([(key, value), ...]) */
static int make_dict(struct machine *machine, const struct gr_value *arguments) {
    const struct gr_pickle *out = machine->out;
    uint32_t pair = arguments->count ? gr_pickle_child(out, arguments, 0)->first : 0;
    if (arguments->count > 1 ||
        (arguments->count && gr_pickle_child(out, arguments, 0)->kind != GR_VALUE_LIST))
        return bad(machine, "an OrderedDict is made from something else than a list");
    GR_TRY(push_kind(machine, GR_VALUE_DICT));
    uint32_t dict = machine->stack.items[machine->stack.count - 1];
    for (; pair; pair = out->cells[pair - 1].next) {
        struct gr_value item = out->values[out->cells[pair - 1].value];
        if ((item.kind != GR_VALUE_LIST && item.kind != GR_VALUE_TUPLE) || item.count != 2)
            return bad(machine, "an OrderedDict is made from something else than pairs");
        uint32_t key = out->cells[item.first - 1].value, value = out->cells[item.last - 1].value;
        GR_TRY(append(machine, dict, key));
        GR_TRY(append(machine, dict, value));
    }
    return GR_OK;
}

/* Pushes the argument itself when it is of one of two kinds. */
static int pass_on(struct machine *machine, const struct gr_value *arguments, enum gr_value_kind a,
                   enum gr_value_kind b) {
    const struct gr_pickle *out = machine->out;
    if (arguments->count == 0)
        return bad(machine, "a call without its argument");
    enum gr_value_kind kind = gr_pickle_child(out, arguments, 0)->kind;
    if (kind != a && kind != b)
        return bad(machine, "a call with an argument of the wrong kind");
    return list_push(&machine->stack, out->cells[arguments->first - 1].value);
}

static int reduce(struct machine *machine) {
    uint32_t arguments = 0, function = 0;
    GR_TRY(pop(machine, &arguments));
    GR_TRY(pop(machine, &function));
    struct gr_value called = machine->out->values[function], with = machine->out->values[arguments];
    if (called.kind != GR_VALUE_CLASS || with.kind != GR_VALUE_TUPLE)
        return bad(machine, "a call of what is no class");
    switch ((enum class_id)called.count) {
    case CLASS_DICT:
        return make_dict(machine, &with);
    case CLASS_SIZE:
        return pass_on(machine, &with, GR_VALUE_TUPLE, GR_VALUE_LIST);
    case CLASS_TENSOR:
        return make_tensor(machine, &with);
    case CLASS_PARAMETER:
        return pass_on(machine, &with, GR_VALUE_TENSOR, GR_VALUE_TENSOR);
    case CLASS_STORAGE:
        break;
    }
    return bad(machine, "a storage is made by a call");
}

/* ("storage", class, key, location, numel[, view]) */
static int make_storage(struct machine *machine) {
    const struct gr_pickle *out = machine->out;
    uint32_t id = 0;
    GR_TRY(pop(machine, &id));
    struct gr_value storage = out->values[id];
    if (storage.kind != GR_VALUE_TUPLE || storage.count < 5 || storage.count > 6)
        return bad(machine, "a persistent id that is no storage");
    const struct gr_value *word = gr_pickle_child(out, &storage, 0),
                          *class = gr_pickle_child(out, &storage, 1);
    if (word->kind != GR_VALUE_TEXT || !same(word->text, word->count, "storage") ||
        class->kind != GR_VALUE_CLASS || class->count != CLASS_STORAGE ||
        gr_pickle_child(out, &storage, 2)->kind != GR_VALUE_TEXT ||
        gr_pickle_child(out, &storage, 4)->kind != GR_VALUE_INTEGER)
        return bad(machine, "a persistent id that is no storage");
    storage.kind = GR_VALUE_STORAGE;
    storage.element = class->element;
    return push(machine, storage);
}

/* Attributes of an OrderedDict (its _metadata) say nothing about weights. */
static int build(struct machine *machine) {
    uint32_t state = 0;
    GR_TRY(pop(machine, &state));
    const struct gr_value *object = top(machine);
    return object && object->kind == GR_VALUE_DICT ? GR_OK
                                                   : bad(machine, "attributes of what is no dictionary");
}

/* --- the loop --- */

static int step_number(struct machine *machine, unsigned char op) {
    uint64_t value = 0;
    if (op == 0x8a)
        return push_long(machine);
    if (op == 'G')
        return push_real(machine);
    GR_TRY(take_number(machine, op == 'K' ? 1 : op == 'M' ? 2 : 4, &value));
    return push_integer(machine, GR_VALUE_INTEGER,
                        op == 'J' ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value);
}

static int step_frame(struct machine *machine, unsigned char op) {
    uint64_t value = 0;
    GR_TRY(take_number(machine, op == 0x80 ? 1 : 8, &value));
    if (op == 0x80 && value > PROTOCOL_MOST)
        return gr_fail(GR_ERROR_FILE, "its pickle is of protocol %llu; up to %d are read",
                       (unsigned long long)value, PROTOCOL_MOST);
    return GR_OK;
}

/* One operation. lint: long function because it is the table of all of them. */
static int step(struct machine *machine, unsigned char op) {
    uint32_t count = 0;
    switch (op) {
    case 0x80: /* PROTO */
    case 0x95: /* FRAME */
        return step_frame(machine, op);
    case '(': /* MARK */
        return list_push(&machine->marks, machine->stack.count);
    case ')': /* EMPTY_TUPLE */
        return push_kind(machine, GR_VALUE_TUPLE);
    case ']': /* EMPTY_LIST */
        return push_kind(machine, GR_VALUE_LIST);
    case '}': /* EMPTY_DICT */
        return push_kind(machine, GR_VALUE_DICT);
    case 'N': /* NONE */
        return push_kind(machine, GR_VALUE_NONE);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_integer(machine, GR_VALUE_BOOL, op == 0x88);
    case 'J':  /* BININT */
    case 'K':  /* BININT1 */
    case 'M':  /* BININT2 */
    case 'G':  /* BINFLOAT */
    case 0x8a: /* LONG1 */
        return step_number(machine, op);
    case 'X': /* BINUNICODE */
    case 'T': /* BINSTRING */
        return push_text(machine, 4);
    case 'U':  /* SHORT_BINSTRING */
    case 0x8c: /* SHORT_BINUNICODE */
        return push_text(machine, 1);
    case 'c': /* GLOBAL */
        return push_global(machine);
    case 0x93: /* STACK_GLOBAL */
        return push_stack_global(machine);
    case 'q': /* BINPUT */
    case 'h': /* BINGET */
        return memo_op(machine, 1, op == 'q');
    case 'r': /* LONG_BINPUT */
    case 'j': /* LONG_BINGET */
        return memo_op(machine, 4, op == 'r');
    case 0x94: /* MEMOIZE */
        return memo_put(machine, machine->memo.count);
    case 't': /* TUPLE */
        GR_TRY(pop_mark(machine, &count));
        return make_tuple(machine, count);
    case 0x85: /* TUPLE1, 2, 3 */
    case 0x86:
    case 0x87:
        return make_tuple(machine, op - 0x84u);
    case 'a': /* APPEND */
        return fill(machine, GR_VALUE_LIST, 1);
    case 'e': /* APPENDS */
        return fill_from_mark(machine, GR_VALUE_LIST);
    case 's': /* SETITEM */
        return fill(machine, GR_VALUE_DICT, 2);
    case 'u': /* SETITEMS */
        return fill_from_mark(machine, GR_VALUE_DICT);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        return reduce(machine);
    case 'Q': /* BINPERSID */
        return make_storage(machine);
    case 'b': /* BUILD */
        return build(machine);
    default:
        return gr_fail(
            GR_ERROR_FILE,
            "its pickle uses operation 0x%02x at byte %zu, which a dictionary of tensors does not need", op,
            machine->start);
    }
}

static int run(struct machine *machine) {
    for (;;) {
        const unsigned char *op = NULL;
        machine->start = machine->at;
        GR_TRY(take(machine, 1, &op));
        if (*op == '.') { /* STOP */
            if (machine->stack.count != 1 || machine->marks.count != 0)
                return bad(machine, "it stops with something else than one value");
            machine->out->root = machine->stack.items[0];
            return GR_OK;
        }
        GR_TRY(step(machine, *op));
    }
}

int gr_pickle_read(struct gr_pickle *out, const unsigned char *bytes, size_t size, size_t *used) {
    struct machine machine = {.out = out, .bytes = bytes, .size = size};
    *out = (struct gr_pickle){0};
    int status = run(&machine);
    gr_free(machine.stack.items);
    gr_free(machine.marks.items);
    gr_free(machine.memo.items);
    *used = machine.at;
    if (status)
        gr_pickle_free(out);
    return status;
}

void gr_pickle_free(struct gr_pickle *pickle) {
    gr_free(pickle->values);
    gr_free(pickle->cells);
    *pickle = (struct gr_pickle){0};
}
