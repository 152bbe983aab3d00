/* Status codes and the one error message of a thread.
 *
 * Every function of the runtime that can fail returns 0 (GR_OK) or one of the negative codes below, and
 * leaves a sentence for a person in the thread's error slot: what was expected, what came, and where. The
 * codes are the `kind` that a Lua script reads in the error that it catches. */
#ifndef GRAFT_BASE_STATUS_H
#define GRAFT_BASE_STATUS_H

enum gr_status {
    GR_OK = 0,
    GR_ERROR_NAME = -1,      /* no layer, class, tensor or key of that name */
    GR_ERROR_OPTION = -2,    /* an option has the wrong type or value */
    GR_ERROR_SHAPE = -3,     /* shapes do not fit each other */
    GR_ERROR_FILE = -4,      /* a file cannot be read, written, or is not what it claims to be */
    GR_ERROR_DATA = -5,      /* the photos or labels do not allow what was asked */
    GR_ERROR_MEMORY = -6,    /* memory ran out */
    GR_ERROR_LIMIT = -7,     /* a size limit or a time limit was reached */
    GR_ERROR_NUMBER = -8,    /* a number stopped being finite */
    GR_ERROR_INTERRUPT = -9, /* the user asked to stop */
    GR_ERROR_USER = -10,     /* a callback failed; its own error is kept by whoever made the callback */
};

/* The error of a thread, copied out so that a worker's failure can be handed to the caller's thread. */
struct gr_error {
    int code;
    char message[1024]; /* UTF-8, one or more sentences, no trailing newline */
    char near[128];     /* the nearest right name for GR_ERROR_NAME and GR_ERROR_OPTION, or "" */
};

/* Sets this thread's error and returns `code`, so that `return gr_fail(...)` is one statement. Long messages
 * are cut at a UTF-8 boundary. Clears `near`. */
int gr_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Names the nearest right spelling for the error that is set (see gr_nearest in base/text.h). Returns the
 * code. */
int gr_fail_near(const char *near);

/* Puts "PREFIX: " before the message that is set; used by callers that know the layer or file. Returns the
 * code. */
int gr_fail_in(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The error of this thread; its message is "" when nothing failed yet. Valid until the next failure. */
const struct gr_error *gr_error(void);

/* Replaces this thread's error (from a copy taken in another thread). Returns its code. */
int gr_error_restore(const struct gr_error *error);

/* "name", "option", "shape", "file", "data", "memory", "limit", "number", "interrupt" or "user". */
const char *gr_status_name(int code);

/* Returns from the calling function when `call` fails. Only where nothing has to be released. */
#define GR_TRY(call)                                                                                         \
    do {                                                                                                     \
        int gr_try_status = (call);                                                                          \
        if (gr_try_status)                                                                                   \
            return gr_try_status;                                                                            \
    } while (0)

#endif
