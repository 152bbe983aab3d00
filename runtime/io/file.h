/* Bytes in and files out: random access to a file or to memory, and writing that never leaves half a file. */
#ifndef GRAFT_IO_FILE_H
#define GRAFT_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a reader takes its bytes from. */
struct gr_source {
    int fd;                     /* -1: memory */
    const unsigned char *bytes; /* of memory */
    uint64_t base;              /* where it begins in the file */
    uint64_t size;
};

/* Opens a regular file for reading (never waits, as a FIFO would make it). GR_ERROR_FILE gives the cause
 * without the path, which the caller adds. */
int gr_source_open(struct gr_source *out, const char *path);
/* Memory of the caller, who keeps it alive. */
struct gr_source gr_source_memory(const void *bytes, size_t size);
/* `size` bytes at `offset` of a source, which stays open as long as this is used; not to be closed. They must
 * lie in it. */
struct gr_source gr_source_part(const struct gr_source *whole, uint64_t offset, uint64_t size);
void gr_source_close(struct gr_source *source);

/* Reads exactly `size` bytes at `offset`, or fails with GR_ERROR_FILE. */
int gr_source_read(const struct gr_source *source, uint64_t offset, void *buffer, size_t size);

/* A file being written beside its final place: PATH.PID.part, renamed to PATH when it is whole and on the
 * disk. */
struct gr_writer {
    int fd; /* -1: not open */
    char *path, *temporary;
    bool unsafe; /* set by the owner: not forced onto the disk, for what is checked before it is trusted and
                    can be made again */
};

/* Creates the temporary file. What stands at `path` stays as it is until gr_writer_commit. */
int gr_writer_open(struct gr_writer *out, const char *path);
int gr_writer_put(struct gr_writer *writer, const void *bytes, size_t size);
/* fsync, close, rename, fsync of the folder (`unsafe`: close and rename). Ends the writer, also on failure:
 * then the temporary file is gone and the old file whole. */
int gr_writer_commit(struct gr_writer *writer);
/* Gives up: removes the temporary file. Allowed on a writer that was ended. */
void gr_writer_abort(struct gr_writer *writer);

/* All in one: replaces the file at `path` by these bytes, or leaves the old one whole. */
int gr_file_replace(const char *path, const void *bytes, size_t size);

#endif
