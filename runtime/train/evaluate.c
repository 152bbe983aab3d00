#include "train/evaluate.h"

#include "base/memory.h"
#include "base/status.h"
#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH = 32 };

/* An evaluation under way. */
struct tally {
    const struct gr_frozen *prefix; /* batches are rows of it; NULL: photos */
    struct gr_result *result;
    struct gr_network *net;
    struct gr_loss loss;
    int k;
    size_t photo; /* numbers in one photo, or in one row */
    int capacity; /* photos that the plan runs at a time */
    double loss_sum;
    int64_t top5;
    int64_t *head_right; /* one for each head */
    float *scores;  /* probabilities [capacity, k]; several labels: of all photos [count, k], for the average
                       precision */
    uint8_t *given; /* several labels: targets [count, k] */
    int64_t room;   /* photos that fit in scores and given */
    int64_t kept;   /* photos that fit in result->photos; 0: they are not kept */
    int64_t *hits;  /* several labels, a class: true positives, false positives, false negatives */
};

static int best(const float *row, int k) {
    int at = 0;
    for (int i = 1; i < k; i++)
        if (row[i] > row[at])
            at = i;
    return at;
}

/* How many classes are more likely than `label`; of equals the earlier ones. */
static int rank(const float *row, int k, int label) {
    int above = 0;
    for (int i = 0; i < k; i++)
        above += row[i] > row[label] || (row[i] == row[label] && i < label);
    return above;
}

/* --- one label a photo --- */

/* The class that is most likely after `first`; with one class, `first`. */
static int second(const float *row, int k, int first) {
    int at = first == 0 ? k - 1 : 0;
    for (int i = 1; i < k; i++)
        if (i != first && row[i] > row[at])
            at = i;
    return at;
}

static void tally_single(struct tally *t, int n, const float *logits, const float *y) {
    gr_probabilities(false, n, t->k, logits, t->scores);
    for (int i = 0; i < n; i++) {
        const float *row = logits + (size_t)i * (size_t)t->k, *p = t->scores + (size_t)i * (size_t)t->k;
        int label = best(y + (size_t)i * (size_t)t->k, t->k), guess = best(row, t->k);
        t->result->confusion[(size_t)label * (size_t)t->k + (size_t)guess]++;
        t->top5 += rank(row, t->k, label) < 5;
        gr_calibration_add(&t->result->calibration, (double)p[guess], guess == label);
        if (t->kept) {
            struct gr_photo_result *photo = &t->result->photos[t->result->count + i];
            photo->label = label;
            photo->guess = guess;
            photo->label_p = p[label];
            photo->guess_p = p[guess];
            photo->margin = t->k > 1 ? p[guess] - p[second(row, t->k, guess)] : 1;
            photo->wrong = guess != label;
        }
    }
}

static int64_t right_single(int n, int k, const float *logits, const float *y) {
    int64_t right = 0;
    for (int i = 0; i < n; i++)
        right += best(logits + (size_t)i * (size_t)k, k) == best(y + (size_t)i * (size_t)k, k);
    return right;
}

/* Precision, recall and support out of the confusion matrix. */
static void finish_single(struct tally *t) {
    struct gr_result *r = t->result;
    int k = t->k;
    for (int c = 0; c < k; c++) {
        int64_t there = 0, said = 0, hit = r->confusion[(size_t)c * (size_t)k + (size_t)c];
        for (int other = 0; other < k; other++) {
            there += r->confusion[(size_t)c * (size_t)k + (size_t)other];
            said += r->confusion[(size_t)other * (size_t)k + (size_t)c];
        }
        r->classes[c].support = there;
        r->classes[c].recall = there ? (double)hit / (double)there : 0;
        r->classes[c].precision = said ? (double)hit / (double)said : 0;
    }
    r->accuracy = r->count ? (double)r->right / (double)r->count : 0;
    r->top5 = r->count ? (double)t->top5 / (double)r->count : 0;
}

/* --- several labels a photo --- */

static int grow_scores(struct tally *t, int64_t count) {
    int64_t capacity = t->room ? t->room : 256;
    size_t numbers, bytes;
    if (count <= t->room)
        return GR_OK;
    while (capacity < count)
        capacity *= 2;
    if (!gr_size_multiply((size_t)capacity, (size_t)t->k, &numbers) ||
        !gr_size_multiply(numbers, sizeof(float), &bytes))
        return gr_fail(GR_ERROR_LIMIT, "too many photos to evaluate at once");
    float *scores = gr_realloc(t->scores, bytes);
    if (!scores)
        return GR_ERROR_MEMORY;
    t->scores = scores;
    uint8_t *given = gr_realloc(t->given, numbers);
    if (!given)
        return GR_ERROR_MEMORY;
    t->given = given;
    t->room = capacity;
    return GR_OK;
}

static int64_t right_multi(int n, int k, const float *logits, const float *y) {
    int64_t right = 0;
    for (size_t i = 0; i < (size_t)n * (size_t)k; i++)
        right += (logits[i] > 0) == (y[i] > 0.5f);
    return right;
}

/* The label that is furthest from the truth, and the one that is nearest to being said otherwise. */
static void note_multi(const struct tally *t, struct gr_photo_result *photo, const float *logits,
                       const float *p, const uint8_t *there) {
    float furthest = -1;
    photo->margin = 1;
    for (int c = 0; c < t->k; c++) {
        float away = there[c] ? 1 - p[c] : p[c], doubt = fabsf(2 * p[c] - 1);
        photo->wrong += (logits[c] > 0) != there[c];
        photo->margin = doubt < photo->margin ? doubt : photo->margin;
        if (away > furthest) {
            furthest = away;
            photo->label = photo->guess = c;
            photo->label_p = photo->guess_p = p[c];
            photo->given = there[c];
        }
    }
}

static int tally_multi(struct tally *t, int n, const float *logits, const float *y) {
    size_t first = (size_t)t->result->count * (size_t)t->k;
    GR_TRY(grow_scores(t, t->result->count + n));
    gr_probabilities(true, n, t->k, logits, t->scores + first);
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < t->k; c++) {
            size_t at = (size_t)i * (size_t)t->k + (size_t)c;
            bool said = logits[at] > 0, there = y[at] > 0.5f;
            t->given[first + at] = there;
            gr_calibration_add(&t->result->calibration, (double)t->scores[first + at], there);
            t->hits[3 * c] += said && there;
            t->hits[3 * c + 1] += said && !there;
            t->hits[3 * c + 2] += !said && there;
        }
        size_t row = (size_t)i * (size_t)t->k;
        if (t->kept)
            note_multi(t, &t->result->photos[t->result->count + i], logits + row, t->scores + first + row,
                       t->given + first + row);
    }
    return GR_OK;
}

struct scored {
    float score;
    bool there;
};

static int by_score(const void *a, const void *b) {
    float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return x > y ? -1 : x < y;
}

/* Area under precision over recall in steps, photos of equal score taken together. */
static double average_precision(const struct tally *t, int c, struct scored *list, int64_t positives) {
    int64_t count = t->result->count, hits = 0;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t at = (size_t)i * (size_t)t->k + (size_t)c;
        list[i] = (struct scored){t->scores[at], t->given[at]};
    }
    qsort(list, (size_t)count, sizeof *list, by_score);
    for (int64_t i = 0; i < count;) {
        int64_t fresh = 0, next = i;
        for (; next < count && list[next].score == list[i].score; next++)
            fresh += list[next].there;
        hits += fresh;
        sum += (double)fresh / (double)positives * ((double)hits / (double)next);
        i = next;
    }
    return sum;
}

static int finish_multi(struct tally *t) {
    struct gr_result *r = t->result;
    int occurring = 0;
    struct scored *list = gr_calloc((size_t)r->count, sizeof *list);
    if (!list)
        return GR_ERROR_MEMORY;
    for (int c = 0; c < t->k; c++) {
        int64_t hit = t->hits[3 * c], wrong = t->hits[3 * c + 1], missed = t->hits[3 * c + 2];
        struct gr_class_result *class = &r->classes[c];
        class->support = hit + missed;
        class->precision = hit + wrong ? (double)hit / (double)(hit + wrong) : 0;
        class->recall = class->support ? (double)hit / (double)class->support : 0;
        r->f1 += hit ? 2.0 * (double)hit / (double)(2 * hit + wrong + missed) : 0;
        if (class->support) {
            class->average_precision = average_precision(t, c, list, class->support);
            r->map += class->average_precision;
            occurring++;
        }
    }
    r->f1 /= t->k;
    r->map = occurring ? r->map / occurring : 0;
    r->accuracy = r->count ? (double)r->right / ((double)r->count * t->k) : 0;
    r->top5 = r->accuracy;
    gr_free(list);
    return GR_OK;
}

/* --- the pass --- */

/* Room for `n` more photos, numbered. */
static int grow_photos(struct tally *t, int n, const int64_t *samples) {
    struct gr_result *r = t->result;
    size_t bytes;
    if (r->count + n > t->kept) {
        int64_t kept = 2 * t->kept > r->count + n ? 2 * t->kept : r->count + n;
        if (!gr_size_multiply((size_t)kept, sizeof *r->photos, &bytes))
            return gr_fail(GR_ERROR_LIMIT, "too many photos to evaluate at once");
        struct gr_photo_result *photos = gr_realloc(r->photos, bytes);
        if (!photos)
            return GR_ERROR_MEMORY;
        r->photos = photos;
        t->kept = kept;
    }
    for (int i = 0; i < n; i++)
        r->photos[r->count + i] = (struct gr_photo_result){.sample = samples ? samples[i] : r->count + i};
    return GR_OK;
}

static int tally_photos(struct tally *t, struct gr_plan *plan, int n, const float *x, const float *y,
                        const int64_t *samples) {
    struct gr_result *r = t->result;
    bool multi = t->net->multilabel;
    double value;
    if (t->kept)
        GR_TRY(grow_photos(t, n, samples));
    if (t->prefix)
        gr_frozen_give(t->prefix, plan, n, x);
    else
        memcpy(gr_plan_input(plan), x, (size_t)n * t->photo * sizeof *x);
    GR_TRY(gr_plan_forward(plan, n, NULL));
    const float *logits = gr_plan_output(plan, 0);
    GR_TRY(gr_loss(&t->loss, 0, n, t->k, logits, y, &value, NULL));
    t->loss_sum += value * n;
    for (int i = 1; i < r->head_count; i++) {
        double other;
        GR_TRY(gr_loss(&t->loss, i, n, t->k, gr_plan_output(plan, i), y, &other, NULL));
        r->heads[i].loss += other * n;
    }
    for (int i = 0; i < r->head_count; i++)
        t->head_right[i] += (multi ? right_multi : right_single)(n, t->k, gr_plan_output(plan, i), y);
    if (multi)
        GR_TRY(tally_multi(t, n, logits, y));
    else
        tally_single(t, n, logits, y);
    r->count += n;
    return GR_OK;
}

static int tally_batch(struct tally *t, struct gr_plan *plan, const struct gr_batch *batch) {
    for (int first = 0; first < batch->n; first += t->capacity) {
        int n = batch->n - first < t->capacity ? batch->n - first : t->capacity;
        GR_TRY(tally_photos(t, plan, n, batch->x + (size_t)first * t->photo,
                            batch->y + (size_t)first * (size_t)t->k,
                            batch->samples ? batch->samples + first : NULL));
    }
    return GR_OK;
}

static int start_result(struct gr_result *r, const struct gr_network *net, bool heads) {
    size_t k = (size_t)net->class_count;
    r->class_count = net->class_count;
    r->classes = gr_calloc(k, sizeof *r->classes);
    if (!net->multilabel)
        r->confusion = gr_calloc(k * k, sizeof *r->confusion);
    r->heads = gr_calloc(heads ? (size_t)net->aux_count + 1 : 1, sizeof *r->heads);
    if (!r->classes || !r->heads || (!net->multilabel && !r->confusion))
        return GR_ERROR_MEMORY;
    for (int i = 0; i < (heads ? net->aux_count + 1 : 1); i++) {
        r->heads[i].layer = gr_strdup(i ? net->aux[i - 1].at : "head");
        if (!r->heads[i].layer)
            return GR_ERROR_MEMORY;
        r->head_count++;
    }
    return GR_OK;
}

static int start_tally(struct tally *t, const struct gr_evaluate_options *o) {
    struct gr_network *net = t->net;
    t->k = net->class_count;
    t->loss = o->loss
                  ? *o->loss
                  : (struct gr_loss){.kind = net->multilabel ? GR_BINARY_CROSS_ENTROPY : GR_CROSS_ENTROPY};
    if (t->k < 1 || !net->output || gr_shape_size(net->output->shape) != t->k)
        return gr_fail(GR_ERROR_DATA,
                       "%s has no classifier to evaluate; net:replace_head or net:add_head makes one",
                       net->name);
    GR_TRY(gr_loss_check(&t->loss, t->k));
    GR_TRY(start_result(t->result, net, o->heads));
    t->head_right = gr_calloc((size_t)t->result->head_count, sizeof *t->head_right);
    t->hits = gr_calloc((size_t)t->k, 3 * sizeof *t->hits);
    if (!net->multilabel)
        t->scores = gr_calloc((size_t)t->capacity, (size_t)t->k * sizeof *t->scores);
    if (!t->head_right || !t->hits || (!net->multilabel && !t->scores))
        return GR_ERROR_MEMORY;
    if (!o->photos)
        return GR_OK;
    t->kept = t->capacity;
    t->result->photos = gr_calloc((size_t)t->kept, sizeof *t->result->photos);
    return t->result->photos ? GR_OK : GR_ERROR_MEMORY;
}

static int finish(struct tally *t) {
    struct gr_result *r = t->result;
    double labels = (double)r->count * (t->net->multilabel ? t->k : 1);
    if (r->count == 0)
        return gr_fail(GR_ERROR_DATA, "there are no photos to evaluate on");
    gr_calibration_finish(&r->calibration);
    r->right = t->head_right[0];
    r->loss = t->loss_sum / (double)r->count;
    r->heads[0].loss = t->loss_sum;
    for (int i = 0; i < r->head_count; i++) {
        r->heads[i].accuracy = (double)t->head_right[i] / labels;
        r->heads[i].loss /= (double)r->count;
    }
    if (t->net->multilabel)
        return finish_multi(t);
    finish_single(t);
    return GR_OK;
}

static int make_plan(struct gr_plan **out, const struct tally *t, struct gr_shape input,
                     const struct gr_evaluate_options *options) {
    struct gr_network *net = t->net;
    int count = options->heads ? net->aux_count + 1 : 1;
    struct gr_layer **outputs = gr_calloc((size_t)count, sizeof *outputs);
    if (!outputs)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < count; i++)
        outputs[i] = i ? net->aux[i - 1].output : net->output;
    struct gr_plan_request request = {
        .capacity = t->capacity, .input = input, .outputs = outputs, .output_count = count};
    request.precision = options->precision;
    if (t->prefix) {
        request.inputs = t->prefix->layers;
        request.input_count = t->prefix->layer_count;
    }
    int status = gr_plan_create(out, net, &request);
    gr_free(outputs);
    return status;
}

/* Evaluates on batches of photos, or of rows of a prefix. */
static int evaluate(struct gr_result *out, struct gr_network *net, const struct gr_frozen *prefix,
                    gr_batch_source *source, void *from, const struct gr_evaluate_options *options) {
    struct gr_evaluate_options o = options ? *options : (struct gr_evaluate_options){0};
    struct gr_result result = {0};
    struct tally t = {.result = &result, .net = net, .prefix = prefix};
    struct gr_plan *plan = NULL;
    const struct gr_batch *batch = NULL;
    struct gr_shape input = o.input.c ? o.input : net->input;
    t.capacity = o.batch_size > 0 ? o.batch_size : DEFAULT_BATCH;
    int status = start_tally(&t, &o);
    t.photo = prefix ? prefix->floats : (size_t)gr_shape_size(input);
    if (!status)
        status = make_plan(&plan, &t, input, &o);
    while (!status && !(status = source(from, &batch)) && batch) {
        if (!prefix && batch->n > t.capacity)
            status = gr_fail(GR_ERROR_SHAPE, "a batch of %d photos is larger than %d", batch->n, t.capacity);
        else
            status = tally_batch(&t, plan, batch);
        if (!status && o.progress)
            status = o.progress(o.payload, result.count);
    }
    if (!status)
        status = finish(&t);
    gr_plan_free(plan);
    gr_free(t.head_right);
    gr_free(t.hits);
    gr_free(t.scores);
    gr_free(t.given);
    if (status)
        gr_result_clear(&result);
    else
        *out = result;
    return status;
}

int gr_evaluate_batches(struct gr_result *out, struct gr_network *net, gr_batch_source *source, void *from,
                        const struct gr_evaluate_options *options) {
    return evaluate(out, net, NULL, source, from, options);
}

static int next_of_loader(void *from, const struct gr_batch **batch) {
    return gr_loader_next(from, batch);
}

/* From photos that have no frozen prefix before them, or from rows that are kept. */
static int evaluate_loaded(struct gr_result *out, struct gr_network *net, const struct gr_set *set,
                           const int *columns, const struct gr_evaluate_options *o) {
    struct gr_preprocessing preprocessing = gr_preprocessing_for(&net->preprocessing, net->input, o->input);
    struct gr_loader_options loading = {.input = o->input,
                                        .preprocessing = &preprocessing,
                                        .batch_size = o->features ? gr_frozen_batch(set) : o->batch_size,
                                        .columns = columns,
                                        .rows = o->features ? &o->features->rows : NULL};
    struct gr_loader *loader = NULL;
    GR_TRY(gr_loader_open(&loader, set, &loading));
    int status = evaluate(out, net, o->features ? &o->features->prefix : NULL, next_of_loader, loader, o);
    gr_loader_close(loader);
    return status;
}

static int evaluate_pass(struct gr_result *out, const struct gr_frozen *prefix, const struct gr_set *set,
                         const int *columns, const struct gr_evaluate_options *o) {
    struct gr_frozen_pass *pass = NULL;
    GR_TRY(gr_frozen_open(&pass, prefix, set, NULL, columns));
    int status = evaluate(out, prefix->net, prefix, gr_frozen_next, pass, o);
    gr_frozen_close(pass);
    return status;
}

int gr_evaluate(struct gr_result *out, struct gr_network *net, const struct gr_set *set,
                const struct gr_evaluate_options *options) {
    struct gr_evaluate_options o = options ? *options : (struct gr_evaluate_options){0};
    struct gr_frozen prefix = {0};
    int *columns = gr_calloc((size_t)set->data->class_count, sizeof *columns);
    if (!columns)
        return GR_ERROR_MEMORY;
    if (o.batch_size < 1)
        o.batch_size = DEFAULT_BATCH;
    if (set->count > 0 && o.batch_size > set->count)
        o.batch_size = (int)set->count;
    if (!o.input.c)
        o.input = net->input;
    int status = gr_data_match(set->data, (const char *const *)net->classes, net->class_count, columns);
    if (!status && o.features)
        status = gr_frozen_check(&o.features->prefix, o.input, o.precision);
    if (!status && !o.features)
        status = gr_frozen_find(&prefix, net, o.input);
    prefix.precision = o.precision;
    if (!status && prefix.layer_count > 0)
        status = gr_frozen_calibrate(&prefix, set->data);
    if (!status && prefix.layer_count > 0)
        status = evaluate_pass(out, &prefix, set, columns, &o);
    else if (!status)
        status = evaluate_loaded(out, net, set, columns, &o);
    gr_frozen_clear(&prefix);
    gr_free(columns);
    return status;
}

void gr_result_clear(struct gr_result *result) {
    for (int i = 0; i < result->head_count; i++)
        gr_free(result->heads[i].layer);
    gr_free(result->heads);
    gr_free(result->classes);
    gr_free(result->confusion);
    gr_free(result->photos);
    *result = (struct gr_result){0};
}

/* --- telling --- */

static bool put_number(cJSON *object, const char *key, double value) {
    return cJSON_AddNumberToObject(object, key, value) != NULL;
}

/* Appends a new object to a list; NULL when memory ran out. */
static cJSON *append_object(cJSON *list) {
    cJSON *object = cJSON_CreateObject();
    if (object && list && cJSON_AddItemToArray(list, object))
        return object;
    cJSON_Delete(object);
    return NULL;
}

static bool describe_classes(cJSON *list, const struct gr_result *r, const struct gr_network *net) {
    for (int c = 0; c < r->class_count; c++) {
        cJSON *object = append_object(list);
        const struct gr_class_result *class = &r->classes[c];
        if (!object || !cJSON_AddStringToObject(object, "name", net->classes[c]) ||
            !put_number(object, "precision", class->precision) ||
            !put_number(object, "recall", class->recall) ||
            !put_number(object, "support", (double)class->support))
            return false;
        if (!r->confusion && !put_number(object, "average_precision", class->average_precision))
            return false;
    }
    return true;
}

static bool describe_confusion(cJSON *list, const struct gr_result *r) {
    for (int i = 0; r->confusion && i < r->class_count; i++) {
        cJSON *row = cJSON_CreateArray();
        if (!row || !cJSON_AddItemToArray(list, row))
            return false;
        for (int j = 0; j < r->class_count; j++) {
            cJSON *number =
                cJSON_CreateNumber((double)r->confusion[(size_t)i * (size_t)r->class_count + (size_t)j]);
            if (!number || !cJSON_AddItemToArray(row, number))
                return false;
        }
    }
    return true;
}

static bool describe_heads(cJSON *list, const struct gr_result *r) {
    for (int i = 0; i < r->head_count; i++) {
        cJSON *object = append_object(list);
        if (!object || !cJSON_AddStringToObject(object, "layer", r->heads[i].layer) ||
            !put_number(object, "accuracy", r->heads[i].accuracy) ||
            !put_number(object, "loss", r->heads[i].loss))
            return false;
    }
    return true;
}

cJSON *gr_result_describe(const struct gr_result *r, const struct gr_network *net) {
    cJSON *object = cJSON_CreateObject();
    bool ok = object && put_number(object, "accuracy", r->accuracy) && put_number(object, "top5", r->top5) &&
              put_number(object, "loss", r->loss) && put_number(object, "count", (double)r->count);
    if (ok && !r->confusion)
        ok = put_number(object, "f1", r->f1) && put_number(object, "map", r->map);
    cJSON *classes = ok ? cJSON_AddArrayToObject(object, "classes") : NULL;
    ok = ok && classes && describe_classes(classes, r, net);
    cJSON *confusion = ok ? cJSON_AddArrayToObject(object, "confusion") : NULL;
    ok = ok && confusion && describe_confusion(confusion, r);
    cJSON *heads = ok ? cJSON_AddArrayToObject(object, "heads") : NULL;
    ok = ok && heads && describe_heads(heads, r);
    cJSON *calibration = ok ? gr_calibration_describe(&r->calibration) : NULL;
    if (calibration && !cJSON_AddItemToObject(object, "calibration", calibration)) {
        cJSON_Delete(calibration);
        calibration = NULL;
    }
    ok = ok && calibration;
    if (ok)
        return object;
    cJSON_Delete(object);
    gr_fail(GR_ERROR_MEMORY, "out of memory while describing a result");
    return NULL;
}

void gr_wilson(int64_t right, int64_t count, double *low, double *high) {
    const double z = 1.959963984540054;
    *low = 0;
    *high = 1;
    if (count < 1)
        return;
    double n = (double)count, p = (double)right / n, centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    *low = centre - half > 0 ? centre - half : 0;
    *high = centre + half < 1 ? centre + half : 1;
}
