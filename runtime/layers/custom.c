/* The kind "custom": see custom.h. Activations are handed over in [n,c,h,w] order, by copies in scratch. */
#include "layers/custom.h"

#include <pthread.h>
#include <string.h>
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

struct custom_options {
    char *kind;
    cJSON *options;
};

static const struct gr_option custom_option_table[] = {
    {"kind", GR_OPTION_STRING, offsetof(struct custom_options, kind), true, 0, 0, 0},
    {"options", GR_OPTION_JSON, offsetof(struct custom_options, options), false, 0, 0, 0},
    {.name = NULL},
};

enum { MAX_KINDS = 256 };

extern const struct gr_layer_kind gr_layer_custom;

static struct {
    pthread_mutex_t mutex;
    struct gr_custom_kind kinds[MAX_KINDS]; /* their names are owned */
    int count;
} registry = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Called with the mutex held; -1 when there is none. */
static int position_of(const char *name) {
    for (int i = 0; i < registry.count; i++)
        if (!strcmp(registry.kinds[i].name, name))
            return i;
    return -1;
}

int gr_custom_register(const struct gr_custom_kind *kind) {
    if (!kind->name || !*kind->name || !kind->shape || !kind->forward)
        return gr_fail(GR_ERROR_OPTION,
                       "a custom layer kind needs a name, a shape function and a forward function");
    char *name = gr_strdup(kind->name);
    if (!name)
        return GR_ERROR_MEMORY;
    int status = GR_OK;
    pthread_mutex_lock(&registry.mutex);
    int at = position_of(name);
    if (at >= 0) {
        gr_free((char *)registry.kinds[at].name);
    } else if (registry.count < MAX_KINDS) {
        at = registry.count++;
    } else {
        gr_free(name);
        status = gr_fail(GR_ERROR_LIMIT, "there can be at most %d custom layer kinds", MAX_KINDS);
    }
    if (!status) {
        registry.kinds[at] = *kind;
        registry.kinds[at].name = name;
    }
    pthread_mutex_unlock(&registry.mutex);
    return status;
}

/* Called with the mutex held. */
static int no_such_kind(const char *name) {
    const char *names[MAX_KINDS], *near;
    char shown[128];
    for (int i = 0; i < registry.count; i++)
        names[i] = registry.kinds[i].name;
    near = gr_nearest(name, names, (size_t)registry.count);
    gr_fail(GR_ERROR_NAME,
            "no custom layer kind \"%s\" is registered%s%s%s: run the recipe that defines it before this "
            "network is "
            "built",
            gr_printable(name, shown, sizeof shown), near ? "; nearest: \"" : "", near ? near : "",
            near ? "\"" : "");
    return near ? gr_fail_near(near) : GR_ERROR_NAME;
}

int gr_custom_unregister(const char *name) {
    int status = GR_OK;
    pthread_mutex_lock(&registry.mutex);
    int at = position_of(name);
    if (at < 0) {
        status = no_such_kind(name);
    } else {
        gr_free((char *)registry.kinds[at].name);
        registry.kinds[at] = registry.kinds[--registry.count];
    }
    pthread_mutex_unlock(&registry.mutex);
    return status;
}

int gr_custom_find(const char *name, struct gr_custom_kind *out) {
    int status = GR_OK;
    pthread_mutex_lock(&registry.mutex);
    int at = position_of(name);
    if (at < 0) {
        status = no_such_kind(name);
    } else {
        *out = registry.kinds[at];
        out->name = name;
    }
    pthread_mutex_unlock(&registry.mutex);
    return status;
}

static int kind_of(const struct gr_layer *layer, struct gr_custom_kind *out) {
    const struct custom_options *o = layer->options;
    return gr_custom_find(o->kind, out);
}

bool gr_custom_pure(const struct gr_layer *layer) {
    struct gr_custom_kind kind;
    return layer->kind != &gr_layer_custom || (!kind_of(layer, &kind) && kind.pure);
}

static int custom_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    const struct custom_options *o = layer->options;
    struct gr_custom_kind kind;
    GR_TRY(kind_of(layer, &kind));
    GR_TRY(kind.shape(kind.payload, o->options, layer->input_count, in, out));
    if (out->flat && (out->h != 1 || out->w != 1))
        return gr_fail(GR_ERROR_SHAPE,
                       "custom kind \"%s\": a flat output has one row and one column, not %dx%d", o->kind,
                       out->h, out->w);
    return gr_layer_shape_limit(*out);
}

static int check_spec(const char *kind, const struct gr_param_spec *spec) {
    int64_t count;
    if (!spec->role || !*spec->role)
        return gr_fail(GR_ERROR_OPTION, "custom kind \"%s\": every parameter needs a name", kind);
    if (spec->dtype != GR_F32 || spec->rank < 0 || spec->rank > 4)
        return gr_fail(GR_ERROR_OPTION,
                       "custom kind \"%s\": parameter \"%s\" must hold floats in at most 4 dimensions", kind,
                       spec->role);
    return gr_shape_count(spec->rank, spec->shape, &count);
}

static int custom_parameters(const struct gr_layer *layer, const struct gr_shape *in,
                             struct gr_param_spec *out) {
    const struct custom_options *o = layer->options;
    struct gr_custom_kind kind;
    GR_TRY(kind_of(layer, &kind));
    if (!kind.parameters)
        return 0;
    int count = kind.parameters(kind.payload, o->options, layer->input_count, in, out);
    if (count > GR_MAX_PARAMS)
        return gr_fail(GR_ERROR_LIMIT, "custom kind \"%s\": a layer has at most %d parameters, got %d",
                       o->kind, GR_MAX_PARAMS, count);
    for (int i = 0; i < count; i++)
        GR_TRY(check_spec(o->kind, &out[i]));
    return count;
}

/* Where the copies lie in scratch, in floats. The gradients come last: an inference plan does without them.
 */
struct layout {
    size_t x[GR_MAX_INPUTS], y, forward_size;
    size_t gx[GR_MAX_INPUTS], gy, spare, size;
};

static size_t take(size_t *end, const struct gr_geometry *geometry, struct gr_shape shape) {
    size_t at = *end;
    *end += (size_t)geometry->n * (size_t)gr_shape_size(shape);
    return at;
}

static void lay_out(const struct gr_layer *layer, const struct gr_geometry *geometry, struct layout *out) {
    size_t end = 0;
    struct gr_shape largest = geometry->in[0];
    for (int i = 0; i < layer->input_count; i++)
        out->x[i] = take(&end, geometry, geometry->in[i]);
    out->y = take(&end, geometry, geometry->out);
    out->forward_size = end;
    out->gy = take(&end, geometry, geometry->out);
    for (int i = 0; i < layer->input_count; i++) {
        out->gx[i] = take(&end, geometry, geometry->in[i]);
        if (gr_shape_size(geometry->in[i]) > gr_shape_size(largest))
            largest = geometry->in[i];
    }
    out->spare = take(&end, geometry, largest);
    out->size = end;
}

/* saved: nothing is stored there, its address is the key of this use of the layer. */
static void custom_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                         const struct gr_want *want, int kernel, struct gr_needs *out) {
    struct layout at;
    bool gradient = want->param_gradient || want->input_gradient;
    (void)kernel;
    lay_out(layer, geometry, &at);
    out->keep = gradient ? GR_KEEP_INPUTS | GR_KEEP_OUTPUT : GR_KEEP_NOTHING;
    out->saved = 1;
    out->scratch = sizeof(float) * (gradient ? at.size : at.forward_size);
}

static struct gr_custom_pass pass_of(const struct gr_pass *pass, const float **params) {
    const struct custom_options *o = pass->layer->options;
    for (int i = 0; i < pass->layer->param_count; i++)
        params[i] = gr_tensor_floats(&pass->layer->params[i].tensor);
    return (struct gr_custom_pass){
        .layer = pass->layer,
        .options = o->options,
        .use = pass->saved,
        .training = pass->training,
        .n = pass->n,
        .inputs = pass->layer->input_count,
        .in = pass->geometry->in,
        .out = pass->geometry->out,
        .params = params,
    };
}

static void to_users_order(const struct gr_pass *pass, struct gr_shape shape, const float *from, float *to) {
    gr_nhwc_to_nchw(pass->n, shape.c, shape.h * shape.w, from, to);
}

static void from_users_order(const struct gr_pass *pass, struct gr_shape shape, const float *from,
                             float *to) {
    gr_nchw_to_nhwc(pass->n, shape.c, shape.h * shape.w, from, to);
}

static int custom_forward(const struct gr_pass *pass) {
    const struct gr_shape *in = pass->geometry->in, out = pass->geometry->out;
    const float *params[GR_MAX_PARAMS], *x[GR_MAX_INPUTS];
    float *scratch = pass->scratch;
    struct gr_custom_kind kind;
    struct layout at;
    GR_TRY(kind_of(pass->layer, &kind));
    lay_out(pass->layer, pass->geometry, &at);
    for (int i = 0; i < pass->layer->input_count; i++) {
        to_users_order(pass, in[i], pass->x[i], scratch + at.x[i]);
        x[i] = scratch + at.x[i];
    }
    struct gr_custom_pass call = pass_of(pass, params);
    call.x = x;
    call.y = scratch + at.y;
    GR_TRY(kind.forward(kind.payload, &call));
    from_users_order(pass, out, call.y, pass->y);
    return GR_OK;
}

static int custom_backward(const struct gr_pass *pass) {
    const struct gr_shape *in = pass->geometry->in, out = pass->geometry->out;
    const float *params[GR_MAX_PARAMS], *x[GR_MAX_INPUTS];
    float *gx[GR_MAX_INPUTS], *gp[GR_MAX_PARAMS], *scratch = pass->scratch;
    struct gr_custom_kind kind;
    struct layout at;
    GR_TRY(kind_of(pass->layer, &kind));
    if (!kind.backward)
        return gr_fail(GR_ERROR_OPTION,
                       "custom kind \"%s\" has no backward function, so nothing below it can learn",
                       kind.name);
    lay_out(pass->layer, pass->geometry, &at);
    for (int i = 0; i < pass->layer->input_count; i++) {
        to_users_order(pass, in[i], pass->x[i], scratch + at.x[i]);
        x[i] = scratch + at.x[i];
        gx[i] = pass->gx[i] ? scratch + at.gx[i] : NULL;
    }
    for (int i = 0; i < pass->layer->param_count; i++)
        gp[i] = gr_pass_gradient(pass, i);
    to_users_order(pass, out, pass->y, scratch + at.y);
    to_users_order(pass, out, pass->gy, scratch + at.gy);
    struct gr_custom_pass call = pass_of(pass, params);
    call.x = x;
    call.y = scratch + at.y;
    call.gy = scratch + at.gy;
    call.gx = gx;
    call.gp = gp;
    GR_TRY(kind.backward(kind.payload, &call));
    for (int i = 0; i < pass->layer->input_count; i++) {
        if (!gx[i])
            continue;
        float *to = pass->accumulate[i] ? scratch + at.spare : pass->gx[i];
        from_users_order(pass, in[i], gx[i], to);
        if (pass->accumulate[i])
            gr_accumulate(gr_pass_count(pass, in[i]), to, pass->gx[i]);
    }
    return GR_OK;
}

static int custom_operators(const struct gr_layer *layer, struct gr_operators *to) {
    const struct custom_options *o = layer->options;
    char shown[64];
    (void)to;
    return gr_fail(
        GR_ERROR_OPTION,
        "kind \"%s\" is written in Lua, and ONNX has no operator for it; a network can be exported when "
        "all its layers are Graft's own",
        gr_printable(o->kind, shown, sizeof shown));
}

const struct gr_layer_kind gr_layer_custom = {
    .name = "custom",
    .summary = "a layer defined by a recipe: kind names it, options are its own",
    .traits = GR_TRAIT_IMPURE | GR_TRAIT_MAIN_THREAD,
    .inputs_min = 1,
    .inputs_max = GR_MAX_INPUTS,
    .options_size = sizeof(struct custom_options),
    .options = custom_option_table,
    .shape = custom_shape,
    .parameters = custom_parameters,
    .needs = custom_needs,
    .forward = custom_forward,
    .backward = custom_backward,
    .operators = custom_operators,
};
