/* The loop under element-wise work. */
#include "tensor/walk.h"

#include "base/interrupt.h"
#include "base/status.h"
#include "base/threads.h"

enum { PIECE = 16384 }; /* elements that are worth handing to a thread */

struct gr_walk gr_walk(int rank, const int64_t *shape) {
    struct gr_walk walk = {.rank = rank};
    for (int d = 0; d < rank; d++)
        walk.shape[d] = shape[d];
    return walk;
}

void gr_walk_add(struct gr_walk *walk, const struct gr_tensor *tensor) {
    int k = walk->operands++;
    int missing = walk->rank - tensor->rank;
    for (int d = missing; d < walk->rank; d++)
        walk->stride[k][d] = tensor->shape[d - missing] == 1 ? 0 : tensor->stride[d - missing];
    walk->size[k] = tensor->dtype == GR_F32 ? (int)sizeof(float) : (int)sizeof(int64_t);
    walk->base[k] =
        tensor->dtype == GR_F32 ? (char *)gr_tensor_floats(tensor) : (char *)gr_tensor_integers(tensor);
}

void gr_walk_add_number(struct gr_walk *walk, const float *number) {
    int k = walk->operands++;
    walk->size[k] = (int)sizeof(float);
    walk->base[k] = (char *)number; /* a row writes operand 0 only, which is never a number */
}

/* Drops dimensions of size 1 and merges neighbours; afterwards rank is at least 1. */
static void merge(struct gr_walk *walk) {
    int rank = 0;
    for (int d = 0; d < walk->rank; d++) {
        if (walk->shape[d] == 1)
            continue;
        bool even = rank > 0;
        for (int k = 0; even && k < walk->operands; k++)
            even = walk->stride[k][rank - 1] == walk->stride[k][d] * walk->shape[d];
        if (even) {
            walk->shape[rank - 1] *= walk->shape[d];
        } else {
            walk->shape[rank] = walk->shape[d];
            rank++;
        }
        for (int k = 0; k < walk->operands; k++)
            walk->stride[k][rank - 1] = walk->stride[k][d];
    }
    if (rank == 0) {
        walk->shape[0] = 1;
        for (int k = 0; k < walk->operands; k++)
            walk->stride[k][0] = 0;
        rank = 1;
    }
    walk->rank = rank;
}

struct job {
    const struct gr_walk *walk;
    gr_walk_row *row;
    const void *context;
    int64_t rows;     /* product of all dimensions but the last */
    int64_t per_row;  /* pieces that a row is cut into; 1 when rows are short */
    int64_t per_call; /* rows that a chunk handles when rows are short */
};

static void visit(const struct job *job, int64_t row, int64_t first, int64_t n) {
    const struct gr_walk *walk = job->walk;
    int last = walk->rank - 1;
    int64_t place[GR_WALK_OPERANDS], stride[GR_WALK_OPERANDS];
    char *at[GR_WALK_OPERANDS];
    for (int k = 0; k < walk->operands; k++) {
        stride[k] = walk->stride[k][last];
        place[k] = first * stride[k];
    }
    for (int d = last - 1; d >= 0; d--) {
        int64_t index = row % walk->shape[d];
        row /= walk->shape[d];
        for (int k = 0; k < walk->operands; k++)
            place[k] += index * walk->stride[k][d];
    }
    for (int k = 0; k < walk->operands; k++)
        at[k] = walk->base[k] + place[k] * walk->size[k];
    job->row(job->context, n, at, stride);
}

static void chunk(void *context, int64_t index, int worker) {
    const struct job *job = context;
    int64_t n = job->walk->shape[job->walk->rank - 1];
    (void)worker;
    if (job->walk->interruptible && gr_interrupted())
        return;
    if (job->per_row > 1) {
        int64_t first = index % job->per_row * PIECE;
        visit(job, index / job->per_row, first, n - first < PIECE ? n - first : PIECE);
        return;
    }
    int64_t end = (index + 1) * job->per_call;
    for (int64_t row = index * job->per_call; row < end && row < job->rows; row++)
        visit(job, row, 0, n);
}

void gr_walk_run(struct gr_walk *walk, gr_walk_row *row, const void *context) {
    for (int d = 0; d < walk->rank; d++) {
        if (walk->shape[d] == 0)
            return;
    }
    merge(walk);
    struct job job = {.walk = walk, .row = row, .context = context, .rows = 1, .per_row = 1, .per_call = 1};
    for (int d = 0; d < walk->rank - 1; d++)
        job.rows *= walk->shape[d];
    int64_t n = walk->shape[walk->rank - 1], chunks;
    if (n > PIECE) {
        job.per_row = (n + PIECE - 1) / PIECE;
        chunks = job.rows * job.per_row;
    } else {
        job.per_call = PIECE / n;
        chunks = (job.rows + job.per_call - 1) / job.per_call;
    }
    if (chunks == 1)
        chunk(&job, 0, 0); /* most work at a prompt is small: it needs no pool */
    else
        gr_parallel(chunks, chunk, &job);
}

/* The end of work that could be given up. */
static int made(struct gr_tensor *out) {
    int status = gr_interrupt_check();
    if (status)
        gr_tensor_release(out);
    return status;
}

int gr_walk_make(struct gr_walk *walk, gr_walk_row *row, const void *context, struct gr_tensor *out) {
    walk->interruptible = true;
    gr_walk_run(walk, row, context);
    return made(out);
}

int64_t gr_lane_count(const struct gr_tensor *tensor, int dim) {
    int64_t count = 1;
    for (int d = 0; d < tensor->rank; d++)
        count *= d == dim ? 1 : tensor->shape[d];
    return count;
}

int64_t gr_lane_offset(const struct gr_tensor *tensor, int dim, int64_t lane) {
    int64_t offset = 0;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        if (d == dim)
            continue;
        offset += lane % tensor->shape[d] * tensor->stride[d];
        lane /= tensor->shape[d];
    }
    return offset;
}

struct lanes {
    void (*body)(void *context, int64_t lane);
    void *context;
    int64_t count, per_call;
};

static void lanes_chunk(void *context, int64_t index, int worker) {
    const struct lanes *lanes = context;
    int64_t end = (index + 1) * lanes->per_call;
    (void)worker;
    if (gr_interrupted())
        return;
    for (int64_t lane = index * lanes->per_call; lane < end && lane < lanes->count; lane++)
        lanes->body(lanes->context, lane);
}

int gr_lanes_make(const struct gr_tensor *tensor, int dim, void (*body)(void *context, int64_t lane),
                  void *context, struct gr_tensor *out) {
    int64_t n = tensor->shape[dim] > 0 ? tensor->shape[dim] : 1;
    struct lanes lanes = {.body = body, .context = context, .count = gr_lane_count(tensor, dim)};
    lanes.per_call = n < PIECE ? PIECE / n : 1;
    int64_t chunks = lanes.count / lanes.per_call + (lanes.count % lanes.per_call != 0);
    if (chunks == 1)
        lanes_chunk(&lanes, 0, 0);
    else
        gr_parallel(chunks, lanes_chunk, &lanes);
    return made(out);
}
