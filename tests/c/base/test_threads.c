#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNKS = 1000 };

struct tally {
    atomic_int ran[CHUNKS];
    atomic_int wrong_worker, nested;
};

static void count_chunk(void *context, int64_t chunk, int worker) {
    struct tally *tally = context;
    atomic_fetch_add(&tally->ran[chunk], 1);
    if (worker < 0 || worker >= gr_threads())
        atomic_fetch_add(&tally->wrong_worker, 1);
}

static void check_each_once(struct tally *tally, int chunks) {
    for (int i = 0; i < chunks; i++)
        assert_int_equal(atomic_exchange(&tally->ran[i], 0), 1);
    assert_int_equal(tally->wrong_worker, 0);
}

static void every_chunk_runs_once(void **state) {
    (void)state;
    static struct tally tally;
    for (int threads = 1; threads <= 4; threads += 3) {
        assert_int_equal(gr_threads_set(threads), 0);
        assert_int_equal(gr_threads(), threads);
        for (int repeat = 0; repeat < 2000; repeat++) {
            int chunks = repeat % 17;
            gr_parallel(chunks, count_chunk, &tally);
            check_each_once(&tally, chunks);
        }
        gr_parallel(CHUNKS, count_chunk, &tally);
        check_each_once(&tally, CHUNKS);
    }
}

static void jobs_after_sleep(void **state) {
    (void)state;
    static struct tally tally;
    gr_threads_set(4);
    for (int i = 0; i < 20; i++) {
        usleep(2000); /* long enough for the workers to fall asleep */
        gr_parallel(50, count_chunk, &tally);
        check_each_once(&tally, 50);
    }
}

struct outer {
    struct tally *tally;
    int worker;
};

static void inner_chunk(void *context, int64_t chunk, int worker) {
    struct outer *outer = context;
    (void)chunk;
    if (worker != outer->worker)
        atomic_fetch_add(&outer->tally->wrong_worker, 1);
    atomic_fetch_add(&outer->tally->nested, 1);
}

static void outer_chunk(void *context, int64_t chunk, int worker) {
    struct outer outer = {context, worker};
    count_chunk(context, chunk, worker);
    gr_parallel(10, inner_chunk, &outer);
}

static void nested_jobs_run_in_place(void **state) {
    (void)state;
    static struct tally tally;
    for (int threads = 1; threads <= 4; threads += 3) {
        gr_threads_set(threads);
        gr_parallel(100, outer_chunk, &tally);
        check_each_once(&tally, 100);
        assert_int_equal(atomic_exchange(&tally.nested, 0), 1000);
    }
}

struct numbered {
    struct gr_task task; /* first, so that the task's address is the whole's */
    struct tally *tally;
    int number;
};

static void run_numbered(struct gr_task *task) {
    struct numbered *numbered = (struct numbered *)task;
    atomic_fetch_add(&numbered->tally->ran[numbered->number], 1);
    struct outer outer = {numbered->tally, 0};
    if (numbered->number % 10 == 0)
        gr_parallel(3, inner_chunk, &outer); /* the worker number is whatever this thread's is */
}

static void tasks_run_once_beside_jobs(void **state) {
    (void)state;
    static struct tally tally, chunks;
    static struct numbered tasks[64];
    for (int threads = 1; threads <= 4; threads += 3) {
        gr_threads_set(threads);
        for (int repeat = 0; repeat < 50; repeat++) {
            for (int i = 0; i < 64; i++) {
                tasks[i] = (struct numbered){.task.run = run_numbered, .tally = &tally, .number = i};
                gr_task_submit(&tasks[i].task);
            }
            gr_parallel(100, count_chunk, &chunks);
            check_each_once(&chunks, 100);
            for (int i = 63; i >= 0; i--)
                gr_task_wait(&tasks[i].task);
            tally.wrong_worker = 0;
            check_each_once(&tally, 64);
            assert_int_equal(atomic_exchange(&tally.nested, 0), 7 * 3);
        }
    }
}

struct gated {
    struct gr_task task;
    atomic_bool running, release;
};

static void run_gated(struct gr_task *task) {
    struct gated *gated = (struct gated *)task;
    atomic_store(&gated->running, true);
    while (!atomic_load(&gated->release))
        usleep(100);
}

/* A worker that is busy with a long task must not hold up a job: here the task ends only after the job. */
static void a_long_task_delays_no_job(void **state) {
    (void)state;
    static struct tally tally;
    struct gated gated = {.task.run = run_gated};
    gr_threads_set(2);
    gr_task_submit(&gated.task);
    while (!atomic_load(&gated.running))
        usleep(100);
    for (int i = 0; i < 100; i++) {
        gr_parallel(20, count_chunk, &tally);
        check_each_once(&tally, 20);
    }
    atomic_store(&gated.release, true);
    gr_task_wait(&gated.task);
}

static void add_denormal(void *context, int64_t chunk, int worker) {
    (void)worker;
    volatile float *out = context;
    volatile float small = 1e-38f;
    out[chunk] = small * 0.1f;
}

static void denormals_are_flushed(void **state) {
    (void)state;
#if defined(__x86_64__) || defined(__aarch64__)
    float out[64];
    memset(out, 1, sizeof out);
    gr_threads_set(4);
    gr_parallel(64, add_denormal, out);
    for (int i = 0; i < 64; i++)
        assert_true(out[i] == 0.0f);
#else
    (void)add_denormal;
    skip();
#endif
}

static void the_pool_stops_and_starts(void **state) {
    (void)state;
    static struct tally tally;
    gr_threads_set(3);
    for (int i = 0; i < 20; i++) {
        gr_threads_stop();
        gr_threads_stop();
        gr_parallel(10, count_chunk, &tally);
        check_each_once(&tally, 10);
        assert_int_equal(gr_threads(), 3);
    }
    assert_int_equal(gr_threads_set(0), 0);
    assert_in_range(gr_threads(), 1, GR_MAX_THREADS);
    assert_int_equal(gr_threads_set(-1), GR_ERROR_OPTION);
    assert_int_equal(gr_threads_set(GR_MAX_THREADS + 1), GR_ERROR_OPTION);
}

static void allocate(void *context, int64_t chunk, int worker) {
    (void)context;
    (void)worker;
    void *block = gr_alloc((size_t)chunk * 10 + 1);
    gr_free(gr_realloc(block, (size_t)chunk * 40 + 1));
}

static void memory_is_accounted_across_threads(void **state) {
    (void)state;
    struct gr_memory before = gr_memory();
    gr_threads_set(4);
    gr_parallel(5000, allocate, NULL);
    assert_int_equal(gr_memory().live, before.live);
    assert_int_equal(gr_memory().blocks, before.blocks);
}

static int stop(void **state) {
    (void)state;
    gr_threads_stop();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_runs_once),     cmocka_unit_test(jobs_after_sleep),
        cmocka_unit_test(nested_jobs_run_in_place),  cmocka_unit_test(tasks_run_once_beside_jobs),
        cmocka_unit_test(a_long_task_delays_no_job), cmocka_unit_test(denormals_are_flushed),
        cmocka_unit_test(the_pool_stops_and_starts), cmocka_unit_test(memory_is_accounted_across_threads),
    };
    return cmocka_run_group_tests(tests, NULL, stop);
}
