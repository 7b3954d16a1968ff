/* controller_support.h — what the tests of core/controller share: hand-made fragments, and the log that is written
 * meanwhile.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_CONTROLLER_SUPPORT_H
#define SPEC_CORE_CONTROLLER_SUPPORT_H

#include "haproxy_support.h"

#include "base/log.h"
#include "base/metric.h"
#include "haproxy/model.h"

struct emitted {
    enum contribution_kind kind;
    const char *scope, *key, *text;
    int32_t rank;
};

/* A fragment of an object; owner "": one of the templates themselves. */
static UNUSED void put_owned(struct model *m, const char *id, const char *owner, const struct emitted *emitted,
                             size_t count)
{
    struct contribution_input *items = xcalloc(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct contribution_input){.kind = emitted[i].kind,
                                               .rank = emitted[i].rank,
                                               .scope = emitted[i].scope,
                                               .scope_length = strlen(emitted[i].scope),
                                               .key = emitted[i].key,
                                               .key_length = strlen(emitted[i].key),
                                               .text = emitted[i].text,
                                               .text_length = strlen(emitted[i].text)};
    const struct fragment_head head = {.id = id,
                                       .template_name = "test.lua",
                                       .owner_kind = *owner ? "things" : "",
                                       .owner_id = owner,
                                       .owner_created_s = *owner ? 1 : 0};
    struct fragment *f = fragment_new(&head, items, count);
    free(items);
    model_fragment_put(m, f);
    fragment_unref(f);
}

/* global, defaults, a frontend that routes by maps/host.map; extra: further lines of the frontend. */
static UNUSED void put_base(struct model *m, int port, const char *extra)
{
    CLEANUP(free_ptr)
    char *frontend = xasprintf("bind 127.0.0.1:%d\n%suse_backend %%[req.hdr(host),lower,map(maps/host.map)]\n", port,
                               extra);
    const struct emitted base[] = {
        {CONTRIBUTION_SECTION, "global", "body", "default-path config\nmaxconn 200\n", 0},
        {CONTRIBUTION_SECTION, "defaults base", "body",
         "mode http\ntimeout client 5s\ntimeout server 5s\ntimeout connect 1s\n", 10},
        {CONTRIBUTION_SECTION, "frontend http", "body", frontend, 20},
        {CONTRIBUTION_SECTION_FROM, "frontend http", "from", "base", 20},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "", "", 0},
    };
    put_owned(m, "base", "", base, ARRAY_LEN(base));
}

/* A backend of these lines and a map entry that routes NAME.example to it. */
static UNUSED void put_route(struct model *m, const char *name, const char *lines)
{
    CLEANUP(free_ptr) char *section = xasprintf("backend %s", name);
    CLEANUP(free_ptr) char *host = xasprintf("%s.example", name);
    const struct emitted route[] = {
        {CONTRIBUTION_SECTION, section, "body", lines, 30},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 30},
        {CONTRIBUTION_MAP_ENTRY, "host.map", host, name, 0},
    };
    put_owned(m, name, name, route, ARRAY_LEN(route));
}

static UNUSED char *accepted_config(struct model *m)
{
    struct buf out = {0};
    model_write_config(m, MODEL_ACCEPTED, &out, NULL);
    return buf_str(&out) == out.data ? buf_steal(&out) : xstrdup("");
}

#define assert_accepted(m, part) \
    do { \
        CLEANUP(free_ptr) char *text_ = accepted_config(m); \
        if (strstr(text_, part) == NULL) \
            fail_msg("\"%s\" is not in the accepted configuration:\n%s", part, text_); \
    } while (0)
#define assert_not_accepted(m, part) \
    do { \
        CLEANUP(free_ptr) char *text_ = accepted_config(m); \
        if (strstr(text_, part) != NULL) \
            fail_msg("\"%s\" is in the accepted configuration:\n%s", part, text_); \
    } while (0)

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

static UNUSED unsigned log_count(int fd, const char *part)
{
    CLEANUP(free_ptr) char *text = log_text(fd);
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

#endif
