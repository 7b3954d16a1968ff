/* model_support.h — what tests with a model share: hand-made fragments, a base configuration and routes, what is
 * accepted of them.
 *
 * Static functions in a header: each test is one program of one file, and uses some of them.
 */
#ifndef SPEC_CORE_MODEL_SUPPORT_H
#define SPEC_CORE_MODEL_SUPPORT_H

#include "haproxy_support.h"

#include "haproxy/model.h"

struct emitted {
    enum contribution_kind kind;
    const char *scope, *key, *text;
    int32_t rank, order;
};

/* owner "": the fragment is of the templates themselves. */
static UNUSED struct fragment *fragment_make(const char *id, const char *owner, int64_t created_s,
                                             const struct emitted *emitted, size_t count)
{
    struct contribution_input *items = xcalloc(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct contribution_input){.kind = emitted[i].kind,
                                               .rank = emitted[i].rank,
                                               .order = emitted[i].order,
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
                                       .owner_created_s = created_s};
    struct fragment *f = fragment_new(&head, items, count);
    free(items);
    return f;
}

static UNUSED void model_put_owned(struct model *m, const char *id, const char *owner, int64_t created_s,
                                   const struct emitted *emitted, size_t count)
{
    struct fragment *f = fragment_make(id, owner, created_s, emitted, count);
    model_fragment_put(m, f);
    fragment_unref(f);
}

/* A fragment of an object of the same name. */
static UNUSED void model_put(struct model *m, const char *id, const struct emitted *emitted, size_t count)
{
    model_put_owned(m, id, id, 1, emitted, count);
}

/* Global, defaults, a frontend that routes by maps/host.map; extra: further lines of the frontend. */
static UNUSED void model_put_base(struct model *m, int port, const char *extra)
{
    CLEANUP(free_ptr)
    char *frontend = xasprintf("bind 127.0.0.1:%d\n%suse_backend %%[req.hdr(host),lower,map(maps/host.map)]\n", port,
                               extra);
    const struct emitted base[] = {
        {CONTRIBUTION_SECTION, "global", "body", "default-path config\nmaxconn 200\nhard-stop-after 5s\n", 0, 0},
        {CONTRIBUTION_SECTION, "defaults base", "body",
         "mode http\ntimeout client 5s\ntimeout server 5s\ntimeout connect 1s\nretries 2\n", 10, 0},
        {CONTRIBUTION_SECTION, "frontend http", "body", frontend, 20, 0},
        {CONTRIBUTION_SECTION_FROM, "frontend http", "from", "base", 20, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", "", "", 0, 0},
    };
    model_put_owned(m, "base", "", 0, base, ARRAY_LEN(base));
}

/* One route of the object: host → backend of these lines. */
static UNUSED void model_put_route(struct model *m, const char *object, const char *host, const char *backend,
                                   const char *lines)
{
    CLEANUP(free_ptr) char *section = xasprintf("backend %s", backend);
    const struct emitted route[] = {
        {CONTRIBUTION_SECTION, section, "body", lines, 30, 0},
        {CONTRIBUTION_SECTION_FROM, section, "from", "base", 30, 0},
        {CONTRIBUTION_MAP_ENTRY, "host.map", host, backend, 0, 0},
    };
    model_put(m, object, route, ARRAY_LEN(route));
}

/* As after a check that went well, or did not. */
static UNUSED void model_check(struct model *m, bool accepted)
{
    model_check_begin(m);
    model_check_end(m, accepted);
}

static UNUSED char *model_config(struct model *m, enum model_state state)
{
    struct buf out = {0};
    model_write_config(m, state, &out, NULL);
    return buf_str(&out) == out.data ? buf_steal(&out) : xstrdup("");
}

static UNUSED char *model_map(struct model *m, enum model_state state, const char *name)
{
    struct buf out = {0};
    model_write_map(m, state, name, &out);
    return buf_steal(&out);
}

#define assert_accepted(m, part) \
    do { \
        CLEANUP(free_ptr) char *text_ = model_config(m, MODEL_ACCEPTED); \
        if (strstr(text_, part) == NULL) \
            fail_msg("\"%s\" is not in the accepted configuration:\n%s", part, text_); \
    } while (0)
#define assert_not_accepted(m, part) \
    do { \
        CLEANUP(free_ptr) char *text_ = model_config(m, MODEL_ACCEPTED); \
        if (strstr(text_, part) != NULL) \
            fail_msg("\"%s\" is in the accepted configuration:\n%s", part, text_); \
    } while (0)

#endif
