/* controller_support.h — what the tests of core/controller share: routes, and the log that is written meanwhile.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_CONTROLLER_SUPPORT_H
#define SPEC_CORE_CONTROLLER_SUPPORT_H

#include "model_support.h"

#include "base/log.h"
#include "base/metric.h"

/* A backend of these lines and a map entry that routes NAME.example to it. */
static UNUSED void put_route(struct model *m, const char *name, const char *lines)
{
    CLEANUP(free_ptr) char *host = xasprintf("%s.example", name);
    model_put_route(m, name, host, name, lines);
}

/* The log goes to a file from now on. */
static UNUSED int log_capture(void)
{
    const char *base = getenv("TMPDIR");
    CLEANUP(free_ptr) char *path = xasprintf("%s/haptic-log-XXXXXX", base && base[0] ? base : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC | O_APPEND);
    assert_true(fd >= 0);
    unlink(path);
    log_set_fd(fd);
    return fd;
}

static UNUSED char *log_text(int fd)
{
    off_t length = lseek(fd, 0, SEEK_END);
    char *text = xcalloc(1, (size_t)length + 1);
    assert_int_equal(pread(fd, text, (size_t)length, 0), length);
    return text;
}

/* The end of the log, for who looks for the cause of a failure: cmocka cuts messages after a kilobyte. */
static UNUSED void log_show(int fd)
{
    CLEANUP(free_ptr) char *text = log_text(fd);
    size_t length = strlen(text), max = 20000;
    const char *from = length > max ? strchr(text + length - max, '\n') : text;
    fprintf(stderr, "the end of the log:\n%s\n", from ? from : "");
}

static UNUSED unsigned log_count(int fd, const char *part)
{
    CLEANUP(free_ptr) char *text = log_text(fd);
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

#endif
