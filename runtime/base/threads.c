/* How the pool works.
 *
 * There is one slot for a parallel job. `gate` says whether the job is open (the high bit) and counts the
 * workers that are inside. A worker enters by raising the count of an open gate, draws chunk numbers from one
 * counter until none is left, and leaves. The caller draws chunks too; when none is left it closes the gate
 * and waits only for the workers that are inside. A worker that is busy with a background task never entered,
 * so it holds up nobody; and the slot is written only while the gate is closed and empty.
 *
 * Threads without work spin for a moment, since the next job mostly follows at once, then sleep on a
 * condition. Whoever makes work looks at `sleepers` after it was published, and a sleeper looks for work
 * after it counted itself: with both in sequential order, one of them sees the other. */
#define _GNU_SOURCE

#include "base/threads.h"

#include "base/status.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

enum { SPINS = 2000 };
#define GATE_OPEN 0x80000000u

enum { TASK_QUEUED = 1, TASK_RUNNING, TASK_DONE };

static struct {
    pthread_mutex_t lock;   /* guards the queue, task states and sleeping */
    pthread_mutex_t caller; /* held for a whole job: jobs from several threads of a host program take turns */
    pthread_cond_t work;    /* for sleeping workers */
    pthread_cond_t done;    /* for callers that wait for the last chunk or a task */
    pthread_t handles[GR_MAX_THREADS];
    int started;        /* workers that run; changed only by the thread that sets up the pool */
    atomic_int threads; /* workers and the caller; 0: the pool is not up */
    int wanted;         /* what gr_threads_set asked for; 0: one a processor */
    atomic_bool stop;
    atomic_int sleepers; /* workers that sleep or are about to */
    atomic_int waiters;  /* callers that sleep until the gate is empty */

    atomic_uint gate;
    _Atomic int64_t next; /* chunk to be drawn */
    int64_t chunks;
    void (*body)(void *context, int64_t chunk, int worker);
    void *context;

    struct gr_task *first, *last; /* the queue */
    atomic_int queued;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .caller = PTHREAD_MUTEX_INITIALIZER,
    .work = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static _Thread_local int own_number;  /* this thread's worker number; 0 outside the pool */
static _Thread_local bool own_inside; /* in a chunk or a task */

static void flush_denormals(void) {
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040); /* FTZ | DAZ */
#elif defined(__aarch64__)
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("msr fpcr, %0" : : "r"(control | (UINT64_C(1) << 24)));
#endif
}

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- jobs ---- */

static void draw_chunks(void) {
    int64_t chunk;
    own_inside = true;
    while ((chunk = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed)) < pool.chunks)
        pool.body(pool.context, chunk, own_number);
    own_inside = false;
}

/* Takes part in the open job, if there is one. */
static void help(void) {
    unsigned gate = atomic_load(&pool.gate);
    do {
        if (!(gate & GATE_OPEN))
            return;
    } while (!atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1));
    draw_chunks();
    /* No chunk is left: closing the gate here saves the next idle worker the way in. */
    atomic_fetch_and(&pool.gate, ~GATE_OPEN);
    if (atomic_fetch_sub(&pool.gate, 1) == 1 && atomic_load(&pool.waiters)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
}

static void wake_workers(bool all) {
    if (!atomic_load(&pool.sleepers))
        return;
    pthread_mutex_lock(&pool.lock);
    if (all)
        pthread_cond_broadcast(&pool.work);
    else
        pthread_cond_signal(&pool.work);
    pthread_mutex_unlock(&pool.lock);
}

/* Waits until every worker has left the closed gate. */
static void wait_empty(void) {
    for (int i = 0; i < SPINS; i++) {
        if (!atomic_load(&pool.gate))
            return;
        pause_cpu();
    }
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.waiters, 1);
    while (atomic_load(&pool.gate))
        pthread_cond_wait(&pool.done, &pool.lock);
    atomic_fetch_sub(&pool.waiters, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void run_inline(int64_t chunks, void (*body)(void *, int64_t, int), void *context) {
    bool inside = own_inside;
    own_inside = true;
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        body(context, chunk, own_number);
    own_inside = inside;
}

void gr_parallel(int64_t chunks, void (*body)(void *context, int64_t chunk, int worker), void *context) {
    if (own_inside) {
        run_inline(chunks, body, context);
        return;
    }
    int threads = gr_threads();
    pthread_mutex_lock(&pool.caller);
    if (chunks <= 1 || threads == 1) {
        run_inline(chunks, body, context);
    } else {
        pool.chunks = chunks;
        pool.body = body;
        pool.context = context;
        atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
        atomic_store(&pool.gate, GATE_OPEN);
        wake_workers(true);
        draw_chunks();
        atomic_fetch_and(&pool.gate, ~GATE_OPEN);
        wait_empty();
    }
    pthread_mutex_unlock(&pool.caller);
}

/* ---- tasks ---- */

/* Takes the first task of the queue, or NULL. Called with the lock held. */
static struct gr_task *take_first(void) {
    struct gr_task *task = pool.first;
    if (!task)
        return NULL;
    pool.first = task->next;
    if (!pool.first)
        pool.last = NULL;
    task->state = TASK_RUNNING;
    atomic_fetch_sub(&pool.queued, 1);
    return task;
}

/* Takes this task out of the queue, in which it is. Called with the lock held. */
static void take(struct gr_task *task) {
    struct gr_task **link = &pool.first, *before = NULL;
    while (*link != task) {
        before = *link;
        link = &before->next;
    }
    *link = task->next;
    if (pool.last == task)
        pool.last = before;
    task->state = TASK_RUNNING;
    atomic_fetch_sub(&pool.queued, 1);
}

/* Called with the lock held, which is given up while the task runs. */
static void run_task(struct gr_task *task) {
    pthread_mutex_unlock(&pool.lock);
    bool inside = own_inside;
    own_inside = true;
    task->run(task);
    own_inside = inside;
    pthread_mutex_lock(&pool.lock);
    task->state = TASK_DONE; /* from here on the task belongs to the waiting thread */
    pthread_cond_broadcast(&pool.done);
}

void gr_task_submit(struct gr_task *task) {
    gr_threads();
    pthread_mutex_lock(&pool.lock);
    task->next = NULL;
    task->state = TASK_QUEUED;
    if (pool.last)
        pool.last->next = task;
    else
        pool.first = task;
    pool.last = task;
    atomic_fetch_add(&pool.queued, 1);
    pthread_mutex_unlock(&pool.lock);
    wake_workers(false);
}

void gr_task_wait(struct gr_task *task) {
    pthread_mutex_lock(&pool.lock);
    if (task->state == TASK_QUEUED) {
        take(task);
        run_task(task);
    }
    while (task->state == TASK_RUNNING) {
        struct gr_task *other = take_first();
        if (other)
            run_task(other);
        else
            pthread_cond_wait(&pool.done, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
}

/* ---- workers ---- */

static bool has_work(void) {
    return (atomic_load(&pool.gate) & GATE_OPEN) || atomic_load(&pool.queued) > 0 || atomic_load(&pool.stop);
}

static void wait_for_work(void) {
    for (int i = 0; i < SPINS; i++) {
        if (has_work())
            return;
        pause_cpu();
    }
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (!has_work())
        pthread_cond_wait(&pool.work, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void *worker(void *number) {
    own_number = (int)(intptr_t)number;
    flush_denormals();
    while (!atomic_load(&pool.stop)) {
        help();
        if (atomic_load(&pool.queued) > 0) {
            pthread_mutex_lock(&pool.lock);
            struct gr_task *task = take_first();
            if (task)
                run_task(task);
            pthread_mutex_unlock(&pool.lock);
        } else {
            wait_for_work();
        }
    }
    return NULL;
}

/* ---- setting up ---- */

static int processors(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    int count = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return count < 1 ? 1 : count > GR_MAX_THREADS ? GR_MAX_THREADS : count;
}

/* Starts the workers; returns 0 or the system's error number. Called with `caller` held. */
static int start_workers(int threads) {
    int error = 0;
    sigset_t all, old;
    atomic_store(&pool.stop, false);
    /* Signals are for the program's own threads: a handler for Ctrl-C must not run in a worker. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (!error && pool.started < threads - 1) {
        error =
            pthread_create(&pool.handles[pool.started], NULL, worker, (void *)(intptr_t)(pool.started + 1));
        if (!error)
            pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    atomic_store(&pool.threads, pool.started + 1);
    return error;
}

/* Called with `caller` held. */
static void stop_workers(void) {
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.stop, true);
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.started; i++)
        pthread_join(pool.handles[i], NULL);
    pool.started = 0;
    atomic_store(&pool.threads, 0);
}

int gr_threads_set(int threads) {
    if (threads < 0 || threads > GR_MAX_THREADS)
        return gr_fail(GR_ERROR_OPTION, "threads must be 0 (one a processor) or 1 to %d, not %d",
                       GR_MAX_THREADS, threads);
    if (own_inside)
        return gr_fail(GR_ERROR_OPTION, "the number of threads cannot change while the pool is at work");
    flush_denormals();
    int count = threads ? threads : processors(), error = 0;
    pthread_mutex_lock(&pool.caller);
    pool.wanted = count;
    if (atomic_load(&pool.threads) != count) {
        stop_workers();
        error = start_workers(count);
    }
    pthread_mutex_unlock(&pool.caller);
    if (error)
        return gr_fail(GR_ERROR_LIMIT, "the system gives no %d threads, only %d: %s", count,
                       atomic_load(&pool.threads), strerror(error));
    return GR_OK;
}

int gr_threads(void) {
    int threads = atomic_load(&pool.threads);
    if (own_inside && threads)
        return threads;
    flush_denormals();
    if (!threads) {
        pthread_mutex_lock(&pool.caller);
        if (!atomic_load(&pool.threads))
            start_workers(pool.wanted ? pool.wanted : processors()); /* fewer than wanted still work */
        threads = atomic_load(&pool.threads);
        pthread_mutex_unlock(&pool.caller);
    }
    return threads;
}

void gr_threads_stop(void) {
    pthread_mutex_lock(&pool.caller);
    stop_workers();
    pthread_mutex_unlock(&pool.caller);
}
