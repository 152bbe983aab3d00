/* One persistent pool of threads. The calling thread always works too, so "2 threads" means one worker.
 *
 * Work is cut into chunks by the caller, in a way that does not depend on the number of threads where a sum
 * is involved: which thread runs a chunk is left to chance, so a chunk may only write what no other chunk
 * writes. Denormals are flushed to zero in every thread of the pool. */
#ifndef GRAFT_BASE_THREADS_H
#define GRAFT_BASE_THREADS_H

#include <stdbool.h>
#include <stdint.h>

enum { GR_MAX_THREADS = 64 };

/* Sets the number of threads, 1..GR_MAX_THREADS; 0 means one a processor that this process may use.
 * Not to be called from inside a chunk or a task. GR_ERROR_LIMIT when the system gives no more threads. */
int gr_threads_set(int threads);

/* The number of threads in use; starts the pool on the first call. */
int gr_threads(void);

/* Ends the workers (used before a fork and at exit). The next use starts them again. */
void gr_threads_stop(void);

/* Calls body(context, chunk, worker) once for each chunk 0..chunks-1 and returns when all are done. `worker`
 * is 0..gr_threads()-1 and names a private scratch area, never a part of a sum. A call from inside a chunk or
 * a task runs its chunks in the calling thread (with that thread's own worker number). */
void gr_parallel(int64_t chunks, void (*body)(void *context, int64_t chunk, int worker), void *context);

/* A background task: a unit of work that idle threads take up (decoding the photos of the next batch). */
struct gr_task {
    void (*run)(struct gr_task *task); /* called once, in any thread of the pool or in the waiting thread */
    struct gr_task *next;              /* the queue's link; not to be touched between submit and wait */
    int state;                         /* the pool's own */
};

/* Queues a task; the caller keeps the memory alive until gr_task_wait has returned. */
void gr_task_submit(struct gr_task *task);

/* Returns when the task has run. A waiting thread takes up queued tasks itself, so it works with one thread
 * too. */
void gr_task_wait(struct gr_task *task);

#endif
