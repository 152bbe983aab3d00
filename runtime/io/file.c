#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/status.h"

int gr_source_open(struct gr_source *out, const char *path) {
    char room[GR_PATH_ROOM];
    *out = (struct gr_source){.fd = -1};
    GR_TRY(gr_path_check(path, false, room, &path));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return gr_path_fail(path, "file");
    struct stat info;
    if (fstat(fd, &info) != 0) {
        gr_fail(GR_ERROR_FILE, "cannot be examined: %s", strerror(errno));
        goto failed;
    }
    if (!S_ISREG(info.st_mode)) {
        gr_fail(GR_ERROR_FILE, "is %s, not a file",
                S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
        goto failed;
    }
    out->fd = fd;
    out->size = (uint64_t)info.st_size;
    return GR_OK;
failed:
    close(fd);
    return GR_ERROR_FILE;
}

struct gr_source gr_source_memory(const void *bytes, size_t size) {
    return (struct gr_source){.fd = -1, .bytes = bytes, .size = size};
}

struct gr_source gr_source_part(const struct gr_source *whole, uint64_t offset, uint64_t size) {
    struct gr_source part = *whole;
    if (part.bytes)
        part.bytes += offset;
    part.base += offset;
    part.size = size;
    return part;
}

void gr_source_close(struct gr_source *source) {
    if (source->fd >= 0)
        close(source->fd);
    *source = (struct gr_source){.fd = -1};
}

int gr_source_read(const struct gr_source *source, uint64_t offset, void *buffer, size_t size) {
    if (offset > source->size || size > source->size - offset)
        return gr_fail(GR_ERROR_FILE, "ends early: %zu bytes are expected at byte %llu, the file has %llu",
                       size, (unsigned long long)offset, (unsigned long long)source->size);
    if (source->fd < 0) {
        if (size)
            memcpy(buffer, source->bytes + offset, size);
        return GR_OK;
    }
    char *to = buffer;
    while (size) {
        ssize_t got = pread(source->fd, to, size, (off_t)(source->base + offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return gr_fail(GR_ERROR_FILE, "cannot be read at byte %llu: %s", (unsigned long long)offset,
                           strerror(errno));
        if (got == 0)
            return gr_fail(GR_ERROR_FILE, "became shorter while it was read: it ends at byte %llu",
                           (unsigned long long)offset);
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return GR_OK;
}

/* Sets the error for a call on the writer's file that just failed. */
static int write_error(const struct gr_writer *writer, const char *what) {
    int cause = errno;
    return gr_fail(GR_ERROR_FILE, "%s: %s: %s", writer->path, what, strerror(cause));
}

int gr_writer_open(struct gr_writer *out, const char *path) {
    char room[GR_PATH_ROOM];
    const char *given = path;
    *out = (struct gr_writer){.fd = -1};
    if (gr_path_check(given, true, room, &path))
        return gr_fail_in("%s", given);
    size_t length = strlen(path);
    out->path = gr_strdup(path);
    out->temporary = gr_alloc(length + 32);
    if (!out->path || !out->temporary) {
        gr_writer_abort(out);
        return GR_ERROR_MEMORY;
    }
    snprintf(out->temporary, length + 32, "%s.%ld.part", path, (long)getpid());
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    out->fd = open(out->temporary, flags, 0666);
    if (out->fd < 0 && errno == EEXIST && unlink(out->temporary) == 0)
        out->fd = open(out->temporary, flags, 0666); /* the old one was left by a process that is no more */
    if (out->fd < 0) {
        write_error(out, "cannot be created");
        gr_writer_abort(out);
        return GR_ERROR_FILE;
    }
    return GR_OK;
}

int gr_writer_put(struct gr_writer *writer, const void *bytes, size_t size) {
    const char *from = bytes;
    while (size) {
        ssize_t put = write(writer->fd, from, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return write_error(writer, "cannot be written");
        from += put;
        size -= (size_t)put;
    }
    return GR_OK;
}

/* Puts the rename itself on the disk. A folder that cannot be opened or synchronised is no error: the file
 * is. */
static int sync_folder(const struct gr_writer *writer) {
    char *folder = gr_strdup(writer->path);
    if (!folder)
        return GR_ERROR_MEMORY;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = GR_OK;
    if (fd >= 0 && fsync(fd) != 0 && errno == EIO)
        status = write_error(writer, "its folder cannot be written to the disk");
    if (fd >= 0)
        close(fd);
    gr_free(folder);
    return status;
}

int gr_writer_commit(struct gr_writer *writer) {
    int status = GR_OK;
    /* After a failed fsync the pages may be lost though marked clean: another try would prove nothing. */
    if (!writer->unsafe && fsync(writer->fd) != 0)
        status = write_error(writer, "cannot be written to the disk");
    int fd = writer->fd;
    writer->fd = -1;
    if (close(fd) != 0 && !status)
        status = write_error(writer, "cannot be closed");
    if (!status && rename(writer->temporary, writer->path) != 0)
        status = write_error(writer, "cannot be replaced");
    if (status) {
        unlink(writer->temporary);
    } else {
        gr_free(writer->temporary);
        writer->temporary = NULL;
        status = writer->unsafe ? GR_OK : sync_folder(writer);
    }
    gr_writer_abort(writer);
    return status;
}

void gr_writer_abort(struct gr_writer *writer) {
    if (writer->fd >= 0) {
        close(writer->fd);
        unlink(writer->temporary);
    }
    gr_free(writer->path);
    gr_free(writer->temporary);
    *writer = (struct gr_writer){.fd = -1};
}

int gr_file_replace(const char *path, const void *bytes, size_t size) {
    struct gr_writer writer;
    GR_TRY(gr_writer_open(&writer, path));
    int status = gr_writer_put(&writer, bytes, size);
    if (!status)
        return gr_writer_commit(&writer);
    gr_writer_abort(&writer);
    return status;
}
