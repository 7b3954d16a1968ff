/* Lists of one object a line, so that two snapshots can be compared by line. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "offline/snapshot.h"
#include "store/source_dir.h"

#define FILE_BYTES ((size_t)32 << 20)
#define MARKER ".haptic-snapshot" /* hidden names are no manifests */

static void begin_list(struct buf *out)
{
    buf_puts(out, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n");
}

static void end_list(struct buf *out)
{
    buf_puts(out, "\n]}\n");
}

int snapshot_write(const struct snapshot *s, struct buf *out, struct err *err)
{
    bool first = true;

    begin_list(out);
    for (size_t i = 0; i < s->kinds.length; i++) {
        for (size_t j = 0; j < s->kinds.items[i].objects.length; j++) {
            const char *json = s->kinds.items[i].objects.items[j].json;
            if (out->length + strlen(json) + 8 > SOURCE_DIR_FILE_BYTES_MAX)
                return err_set(err, ERR_LIMIT, "the snapshot has more than %zu bytes: write a folder (--directory)",
                               SOURCE_DIR_FILE_BYTES_MAX);
            buf_printf(out, "%s%s", first ? "" : ",\n", json);
            first = false;
        }
    }
    end_list(out);
    return 0;
}

/* A kind whose objects are too many for one file has several. */
static int write_kind(const struct snapshot_kind *kind, snapshot_file *file, void *ctx, struct err *err)
{
    size_t at = 0;

    for (unsigned part = 1; at < kind->objects.length; part++) {
        CLEANUP(buf_done) struct buf text = {0};
        CLEANUP(free_ptr)
        char *name = part == 1 ? xasprintf("%s.json", kind->label) : xasprintf("%s-%u.json", kind->label, part);
        begin_list(&text);
        for (bool first = true; at < kind->objects.length && (first || text.length < FILE_BYTES); first = false, at++)
            buf_printf(&text, "%s%s", first ? "" : ",\n", kind->objects.items[at].json);
        end_list(&text);
        if (file(ctx, name, buf_str(&text), text.length, err) < 0)
            return -1;
    }
    return 0;
}

int snapshot_each_file(const struct snapshot *s, snapshot_file *file, void *ctx, struct err *err)
{
    for (size_t i = 0; i < s->kinds.length; i++)
        if (write_kind(&s->kinds.items[i], file, ctx, err) < 0)
            return -1;
    return 0;
}

/* ---- a folder ---- */

static bool is_own(const char *name)
{
    size_t length = strlen(name);

    return strcmp(name, MARKER) == 0 || (*name != '.' && length > 5 && strcmp(name + length - 5, ".json") == 0);
}

static int clear_folder(DIR *dir, const char *path, struct err *err)
{
    bool has_marker = faccessat(dirfd(dir), MARKER, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    const struct dirent *entry;

    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!has_marker)
            return err_set(err, ERR_INVALID, "%s is not empty and is no snapshot: choose another --directory", path);
        if (is_own(entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            return err_set_sys(err, errno, "remove %s/%s", path, entry->d_name);
    }
    return 0;
}

static int write_file(void *ctx, const char *name, const char *bytes, size_t length, struct err *err)
{
    CLEANUP(close_fd)
    int fd = openat(*(const int *)ctx, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

    for (size_t at = 0; fd >= 0 && at < length;) {
        ssize_t n = write(fd, bytes + at, length - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "write %s", name);
        at += (size_t)n;
    }
    return fd < 0 ? err_set_sys(err, errno, "write %s", name) : 0;
}

int snapshot_write_folder(const struct snapshot *s, const char *path, struct err *err)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set_sys(err, errno, "make %s", path);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return err_set_sys(err, errno, "%s", path);
    int fd = dirfd(dir), result = clear_folder(dir, path, err);
    if (result == 0)
        result = write_file(&fd, MARKER, "haptic snapshot\n", 16, err);
    if (result == 0)
        result = snapshot_each_file(s, write_file, &fd, err);
    closedir(dir);
    return result;
}
