/* Networks: running one in inference, its plans, and one training pass for comparisons. */
#include "network.h"

#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "error.h"
#include "state.h"
#include "tensor.h"
#include "tensor/arithmetic.h"
#include "tensor/view.h"
#include "value.h"

/* Capacities of inference plans: a batch runs by the smallest that holds it, a larger one in pieces. Fixed
 * steps, so that the kernels chosen do not depend on what ran before. */
static const int capacities[] = {1, 8, 32};
enum { LARGEST = 32 };

static const int to_nhwc[] = {0, 2, 3, 1}, to_nchw[] = {0, 3, 1, 2};

int graft_to_inner(const struct gr_tensor *x, struct gr_shape shape, float *inner) {
    struct gr_tensor target = {0}, turned = {0};
    int64_t sizes[] = {x->shape[0], shape.h, shape.w, shape.c};
    GR_TRY(gr_tensor_borrow(&target, GR_F32, x->rank, x->rank == 4 ? sizes : x->shape, inner));
    int status = x->rank == 4 ? gr_tensor_permute(&turned, x, to_nhwc) : GR_OK;
    if (!status)
        status = gr_assign(&target, x->rank == 4 ? &turned : x);
    gr_tensor_release(&turned);
    gr_tensor_revoke(&target);
    gr_tensor_release(&target);
    return status;
}

int graft_from_inner(struct gr_tensor *out, int n, struct gr_shape shape, const float *inner) {
    struct gr_tensor source = {0}, turned = {0};
    int64_t sizes[] = {n, shape.h, shape.w, shape.c}, flat[] = {n, shape.c};
    /* borrowed for reading alone */
    GR_TRY(gr_tensor_borrow(&source, GR_F32, shape.flat ? 2 : 4, shape.flat ? flat : sizes, (float *)inner));
    int status = shape.flat ? GR_OK : gr_tensor_permute(&turned, &source, to_nchw);
    if (!status)
        status = gr_assign(out, shape.flat ? &source : &turned);
    gr_tensor_release(&turned);
    gr_tensor_revoke(&source);
    gr_tensor_release(&source);
    return status;
}

/* ---- plans ---- */

static bool fits(const struct graft_plan *entry, int capacity, struct gr_shape input,
                 struct gr_layer *const *outputs, int count) {
    if (!entry->plan || gr_plan_stale(entry->plan) || entry->capacity != capacity ||
        entry->output_count != count || entry->input.c != input.c || entry->input.h != input.h ||
        entry->input.w != input.w)
        return false;
    return count == 0 || memcmp(entry->outputs, outputs, (size_t)count * sizeof *outputs) == 0;
}

/* The place for a new plan: a stale or empty one, else the one used longest ago. */
static struct graft_plan *make_room(struct graft_network *network) {
    struct graft_plan *oldest = &network->plans[0];
    for (int i = 0; i < GRAFT_PLANS; i++) {
        struct graft_plan *entry = &network->plans[i];
        if (!entry->plan || gr_plan_stale(entry->plan)) {
            oldest = entry;
            break;
        }
        if (entry->used < oldest->used)
            oldest = entry;
    }
    gr_plan_free(oldest->plan);
    gr_free(oldest->outputs);
    *oldest = (struct graft_plan){0};
    return oldest;
}

/* The inference plan for these outputs (count 0: the main classifier), compiled when there is none. */
static int get_plan(struct graft_network *network, int n, struct gr_shape input,
                    struct gr_layer *const *outputs, int count, struct graft_plan **out) {
    int capacity = LARGEST;
    for (int i = (int)(sizeof capacities / sizeof capacities[0]) - 1; i >= 0; i--)
        if (n <= capacities[i])
            capacity = capacities[i];
    for (int i = 0; i < GRAFT_PLANS; i++) {
        *out = &network->plans[i];
        if (fits(*out, capacity, input, outputs, count)) {
            (*out)->used = ++network->clock;
            return GR_OK;
        }
    }
    struct graft_plan *entry = make_room(network);
    struct gr_layer *main_output[] = {network->net->output};
    struct gr_plan_request request = {.capacity = capacity,
                                      .input = input,
                                      .outputs = count ? outputs : main_output,
                                      .output_count = count ? count : 1};
    if (count > 0) {
        entry->outputs = gr_calloc((size_t)count, sizeof *outputs);
        if (!entry->outputs)
            return gr_error()->code;
        memcpy(entry->outputs, outputs, (size_t)count * sizeof *outputs);
    }
    int status = gr_plan_create(&entry->plan, network->net, &request);
    if (status) {
        gr_free(entry->outputs);
        *entry = (struct graft_plan){0};
        return status;
    }
    entry->output_count = count;
    entry->capacity = capacity;
    entry->input = input;
    entry->used = ++network->clock;
    *out = entry;
    return GR_OK;
}

/* x must be [N,C,H,W] with the network's channels. */
static struct gr_shape check_photos(lua_State *L, const struct gr_network *net, const struct gr_tensor *x,
                                    const char *who) {
    char came[96];
    if (x->rank != 4 || x->dtype != GR_F32 || x->shape[1] != net->input.c || x->shape[0] < 1 ||
        x->shape[2] < 1 || x->shape[3] < 1 || x->shape[2] > 1 << 16 || x->shape[3] > 1 << 16 ||
        x->shape[0] > 1 << 24) {
        gr_format_shape(x->rank, x->shape, came);
        graft_fail(L, GR_ERROR_SHAPE, "%s: %s takes photos [N,%d,H,W] with N from 1 on, got %s%s", who,
                   net->name, net->input.c, came,
                   x->rank == 3 ? "; net:preprocess(image) makes a batch of one" : "");
    }
    return (struct gr_shape){(int)x->shape[1], (int)x->shape[2], (int)x->shape[3], false};
}

struct run {
    lua_State *L; /* only to look for Ctrl-C */
    struct gr_plan *plan;
    int capacity, outputs;
    struct gr_tensor **out;
};

/* Runs all photos in pieces and fills the output tensors. */
static int run_pieces(const struct run *run, const struct gr_tensor *x, struct gr_shape input) {
    for (int64_t done = 0; done < x->shape[0]; done += run->capacity) {
        int n = (int)(x->shape[0] - done < run->capacity ? x->shape[0] - done : run->capacity);
        struct gr_tensor piece = {0};
        GR_TRY(graft_poll(run->L));
        GR_TRY(gr_tensor_slice(&piece, x, 0, done, n));
        int status = graft_to_inner(&piece, input, gr_plan_input(run->plan));
        gr_tensor_release(&piece);
        GR_TRY(status);
        GR_TRY(gr_plan_forward(run->plan, n, NULL));
        for (int i = 0; i < run->outputs; i++) {
            struct gr_tensor target = {0};
            GR_TRY(gr_tensor_slice(&target, run->out[i], 0, done, n));
            status = graft_from_inner(&target, n, gr_plan_output_shape(run->plan, i),
                                      gr_plan_output(run->plan, i));
            gr_tensor_release(&target);
            GR_TRY(status);
        }
    }
    return GR_OK;
}

/* Around what may call functions of the script: they must not change the network, nor run it again. */
static void begin(struct graft_network *network) {
    graft_lock(network);
    network->running = true;
}

static int end(struct graft_network *network, int status) {
    network->running = false;
    return graft_unlock(network, status);
}

/* Pushes one tensor for each output, or only the one when `count` is 0, in a list otherwise. */
static int forward(lua_State *L, struct graft_network *network, const struct gr_tensor *x,
                   struct gr_layer *const *layers, int count, const char *who) {
    struct graft_plan *entry = NULL;
    graft_no_finalizer(L, who);
    if (network->running)
        graft_fail(L, GR_ERROR_OPTION,
                   "%s: this network runs just now, and a function of its layers cannot run it again", who);
    struct gr_shape input = check_photos(L, network->net, x, who);
    int n = (int)(x->shape[0] < LARGEST ? x->shape[0] : LARGEST), outputs = count ? count : 1;
    begin(network);
    graft_check_in(L, end(network, get_plan(network, n, input, layers, count, &entry)), who);
    struct run run = {L, entry->plan, entry->capacity, outputs,
                      graft_scratch(L, (size_t)outputs, sizeof *run.out)};
    lua_createtable(L, outputs, 0);
    for (int i = 0; i < outputs; i++) {
        struct gr_shape shape = gr_plan_output_shape(run.plan, i);
        int64_t sizes[] = {x->shape[0], shape.c, shape.h, shape.w};
        run.out[i] = graft_new_tensor(L);
        graft_made_tensor(L, gr_tensor_reserve(run.out[i], GR_F32, shape.flat ? 2 : 4, sizes), who);
        lua_rawseti(L, -2, i + 1);
    }
    begin(network);
    graft_check_in(L, end(network, run_pieces(&run, x, input)), who);
    if (count == 0)
        lua_rawgeti(L, -1, 1);
    return 1;
}

/* Layers by name, each the end of a stage, subtree or itself. Pushes the array. */
static struct gr_layer **check_layers(lua_State *L, int index, const struct gr_network *net, const char *who,
                                      int *count) {
    const char *const *names = graft_strings(L, index, who, "the layers", count);
    struct gr_layer **layers = graft_scratch(L, (size_t)*count, sizeof *layers);
    if (*count == 0)
        graft_fail(L, GR_ERROR_NAME, "%s: name at least one layer", who);
    for (int i = 0; i < *count; i++) {
        layers[i] = gr_network_end(net, names[i]);
        if (!layers[i])
            graft_check_in(L, gr_error()->code, who);
    }
    return layers;
}

/* net:forward(x [, layers]) -> T, or {T, ...} */
static int network_forward(lua_State *L) {
    struct graft_network *network = graft_check_network(L, 1, "net:forward");
    const struct gr_tensor *x = graft_tensor_argument(L, 2, "net:forward", "the photos");
    struct gr_layer **layers = NULL;
    int count = 0;
    if (!lua_isnoneornil(L, 3))
        layers = check_layers(L, 3, network->net, "net:forward", &count);
    return forward(L, network, x, layers, count, "net:forward");
}

/* ---- explaining ---- */

static void release_plan(void *plan) {
    gr_plan_free(plan);
}

/* Never called: the plan is not run. */
static int no_update(void *payload, int trained) {
    (void)payload;
    (void)trained;
    return GR_OK;
}

/* net:plan{input=, capacity=, training=, at_once=, lean=, layers=, inputs=, stash=, prefix=} ->
 * {rows=, arena=, memory=, stashed=, stashes=};
 * layers: those whose output is wanted; inputs: those whose output is given */
static int network_plan(lua_State *L) {
    static const char *const known[] = {"input",  "capacity", "training", "at_once", "lean",
                                        "layers", "inputs",   "stash",    "prefix",  NULL};
    struct graft_network *network = graft_check_network(L, 1, "net:plan");
    struct gr_plan *plan = NULL;
    lua_settop(L, 2);
    graft_known(L, 2, "net:plan", known);
    struct gr_plan_request request = {
        .capacity = (int)graft_field_integer(L, 2, "net:plan", "capacity", 1, 1, 1 << 16),
        .input = network->net->input,
        .training = graft_field_boolean(L, 2, "net:plan", "training", false),
        .lean = graft_field_boolean(L, 2, "net:plan", "lean", false),
        .update = graft_field_boolean(L, 2, "net:plan", "at_once", false) ? no_update : NULL,
        .stash = graft_field_stash(L, 2, "net:plan"),
        .precision = graft_field_precision(L, 2, "net:plan"),
    };
    if (graft_field(L, 2, "input"))
        request.input = graft_shape(L, -1, "net:plan");
    if (graft_field(L, 2, "layers"))
        request.outputs = check_layers(L, -1, network->net, "net:plan", &request.output_count);
    if (graft_field(L, 2, "inputs"))
        request.inputs = check_layers(L, -1, network->net, "net:plan", &request.input_count);
    void **held_plan = graft_hold(L, release_plan), **held_rows = graft_hold_json(L);
    graft_no_finalizer(L, "net:plan");
    graft_lock(network);
    graft_check_in(L, graft_unlock(network, gr_plan_create(&plan, network->net, &request)), "net:plan");
    *held_plan = plan;
    *held_rows = gr_plan_explain(plan);
    if (!*held_rows)
        return graft_raise(L);
    lua_createtable(L, 0, 3);
    graft_check(L, graft_from_json(L, *held_rows));
    lua_setfield(L, -2, "rows");
    lua_pushinteger(L, (lua_Integer)gr_plan_arena(plan));
    lua_setfield(L, -2, "arena");
    lua_pushinteger(L, (lua_Integer)gr_plan_memory(plan));
    lua_setfield(L, -2, "memory");
    int stashes;
    lua_pushinteger(L, (lua_Integer)gr_plan_stashed(plan, &stashes));
    lua_setfield(L, -2, "stashed");
    lua_pushinteger(L, stashes);
    lua_setfield(L, -2, "stashes");
    graft_drop(held_rows);
    graft_drop(held_plan);
    return 1;
}

/* ---- one training pass ---- */

static int run_gradient(struct gr_plan *plan, const struct gr_tensor *x, struct gr_shape input,
                        const struct gr_tensor *gy, const struct gr_stream *stream) {
    int n = (int)x->shape[0];
    struct gr_shape out = gr_plan_output_shape(plan, 0);
    GR_TRY(graft_to_inner(x, input, gr_plan_input(plan)));
    GR_TRY(gr_plan_forward(plan, n, stream));
    if (gy->shape[0] != n || gy->shape[1] != out.c)
        return gr_fail(GR_ERROR_SHAPE, "the gradient of the logits must be [%d,%d]", n, out.c);
    GR_TRY(graft_to_inner(gy, out, gr_plan_output_gradient(plan, 0)));
    return gr_plan_backward(plan);
}

static void push_gradients(lua_State *L, struct gr_plan *plan) {
    struct gr_param *const *params;
    struct gr_layer *const *layers;
    int count = gr_plan_trained(plan, &params, &layers);
    for (int i = 0; i < count; i++) {
        struct gr_tensor borrowed = {0};
        const struct gr_tensor *like = &params[i]->tensor;
        struct gr_tensor *out = graft_new_tensor(L);
        int status =
            gr_tensor_borrow(&borrowed, GR_F32, like->rank, like->shape, gr_plan_gradient(plan, params[i]));
        if (!status)
            status = gr_tensor_copy(out, &borrowed);
        gr_tensor_release(&borrowed);
        graft_made_tensor(L, status, "net:step_gradient");
        lua_setfield(L, -2, params[i]->name);
    }
}

/* net:step_gradient(x, gy) -> {gx=, [tensor]=}, logits */
static int network_step_gradient(lua_State *L) {
    struct graft_network *network = graft_check_network(L, 1, "net:step_gradient");
    const struct gr_tensor *x = graft_tensor_argument(L, 2, "net:step_gradient", "the photos");
    const struct gr_tensor *gy =
        graft_tensor_argument(L, 3, "net:step_gradient", "the gradient of the logits");
    struct gr_shape input = check_photos(L, network->net, x, "net:step_gradient");
    struct gr_layer *outputs[] = {network->net->output};
    struct gr_plan *plan = NULL;
    struct gr_stream stream = {graft_state(L)->seed, graft_state(L)->fit, 0};
    struct gr_plan_request request = {.capacity = (int)x->shape[0],
                                      .input = input,
                                      .training = true,
                                      .outputs = outputs,
                                      .output_count = 1,
                                      .input_gradient = true};
    if (gy->rank != 2)
        return graft_fail(L, GR_ERROR_SHAPE, "net:step_gradient: expected the gradient of logits [N,K]");
    void **held = graft_hold(L, release_plan);
    graft_no_finalizer(L, "net:step_gradient");
    graft_lock(network);
    int status = gr_plan_create(&plan, network->net, &request);
    *held = plan;
    if (!status)
        status = run_gradient(plan, x, input, gy, &stream);
    graft_check_in(L, graft_unlock(network, status), "net:step_gradient");
    lua_newtable(L);
    push_gradients(L, plan);
    struct gr_tensor *gx = graft_new_tensor(L);
    status = gr_tensor_reserve(gx, GR_F32, 4, x->shape);
    if (!status)
        status = graft_from_inner(gx, (int)x->shape[0], input, gr_plan_input_gradient(plan));
    graft_made_tensor(L, status, "net:step_gradient");
    lua_setfield(L, -2, "gx");
    graft_drop(held);
    return 1;
}

const luaL_Reg graft_network_running[] = {
    {"forward", network_forward},
    {"plan", network_plan},
    {"step_gradient", network_step_gradient},
    {NULL, NULL},
};
