/* Counts are summed over the renderings of all tests: each test has two. */
#include "offline/coverage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "data/json.h"
#include "haproxy/route.h"

#define LINES_MAX 1000000
#define ROUTES_MAX 100000
#define ROUTES_SHOWN 20
#define RANGES_SHOWN 8

struct covered_template {
    char *name;
    VEC(int64_t) counts; /* index: line - 1; -1: no code */
};

struct covered_route {
    char *name, *file;
    size_t line;
    uint64_t requests;
};

void coverage_init(struct coverage *c)
{
    map_init(&c->templates, false);
    map_init(&c->routes, false);
}

void coverage_done(struct coverage *c)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&c->templates, &it));) {
        struct covered_template *t = slot->value;
        free(t->name);
        vec_done(&t->counts);
        free(t);
    }
    for (size_t it = 0; (slot = map_next(&c->routes, &it));) {
        struct covered_route *r = slot->value;
        free(r->name);
        free(r->file);
        free(r);
    }
    map_done(&c->templates);
    map_done(&c->routes);
}

/* ---- lines ---- */

static struct covered_template *template_of(struct coverage *c, const char *name)
{
    struct covered_template *t = map_get(&c->templates, name);

    if (t == NULL) {
        t = xcalloc(1, sizeof(*t));
        t->name = xstrdup(name);
        map_put(&c->templates, name, t);
    }
    return t;
}

static void add_line(struct covered_template *t, uint64_t line, uint64_t count)
{
    if (line == 0 || line > LINES_MAX)
        return;
    while (t->counts.length < line)
        vec_push(&t->counts, -1);
    int64_t *at = &t->counts.items[line - 1];
    *at = (*at < 0 ? 0 : *at) + (int64_t)(count < INT64_MAX / 2 ? count : INT64_MAX / 2);
}

/* The renderer's answer comes in parts: "NEXT LINE:COUNT …". */
static void take_template(struct coverage *c, struct workbench *w, const char *name)
{
    unsigned long next = 1;

    while (next > 0) {
        CLEANUP(free_ptr) char *question = xasprintf("%lu %s", next, name);
        CLEANUP(free_ptr) char *answer = workbench_ask(w, "coverage", question);
        char *at;
        unsigned long former = next;
        next = strtoul(answer, &at, 10);
        while (*at == ' ') {
            char *colon;
            uint64_t line = strtoull(at + 1, &colon, 10);
            if (*colon != ':')
                break;
            add_line(template_of(c, name), line, strtoull(colon + 1, &at, 10));
        }
        if (next <= former)
            return;
    }
}

static void take_texts(struct coverage *c, struct workbench *w, const char *prefix, const struct config_texts *texts)
{
    for (size_t i = 0; i < texts->items.length; i++) {
        CLEANUP(free_ptr) char *name = xasprintf("%s%s", prefix, texts->items.items[i].name);
        take_template(c, w, name);
    }
}

void coverage_take_lines(struct coverage *c, struct workbench *w)
{
    const struct config *config = workbench_config(w);

    take_texts(c, w, "", &config->snippets);
    take_texts(c, w, "maps/", &config->maps);
    take_texts(c, w, "files/", &config->files);
    take_texts(c, w, "certs/", &config->certificates);
    take_texts(c, w, "certs/", &config->crt_lists);
    if (config->haproxy_config != NULL)
        take_template(c, w, "haproxyConfig");
}

/* ---- routes ---- */

struct walk {
    struct coverage *c;
    struct workbench *w;
    const char *map, *file;
    size_t line;
};

static char *route_name(const struct item *entry)
{
    const struct fragment *owner = route_item_owner(entry, MODEL_RENDERED);

    return owner != NULL && *owner->owner_kind != '\0'
               ? xasprintf("%s (%s %s)", entry->key, owner->owner_kind, owner->owner_id)
               : xstrdup(entry->key);
}

static struct covered_route *route_of(struct coverage *c, const char *name, const char *file, size_t line)
{
    struct covered_route *r = map_get(&c->routes, name);

    if (r == NULL && c->routes.count < ROUTES_MAX) {
        r = xmalloc(sizeof(*r));
        *r = (struct covered_route){.name = xstrdup(name), .file = xstrdup(file), .line = line};
        map_put(&c->routes, name, r);
    }
    return r;
}

static bool is_backend(struct workbench *w, const char *value)
{
    CLEANUP(free_ptr) char *name = xasprintf("backend %.*s", (int)model_backend_length(value, strlen(value)), value);

    return model_section(workbench_model(w), name) != NULL;
}

static void look_at_entry(void *ctx, const char *key, const char *value)
{
    struct walk *walk = ctx;
    const struct item *entry = model_map_item(workbench_model(walk->w), walk->map, key);

    if (entry == NULL || !is_backend(walk->w, value))
        return;
    CLEANUP(free_ptr) char *name = route_name(entry);
    (void)route_of(walk->c, name, walk->file, walk->line);
}

static void look_at_map(void *ctx, const char *name)
{
    struct walk *walk = ctx;

    walk->map = name;
    model_each_map_entry(workbench_model(walk->w), MODEL_RENDERED, name, look_at_entry, walk);
}

void coverage_take_routes(struct coverage *c, struct workbench *w, const char *file, size_t line)
{
    struct walk walk = {.c = c, .w = w, .file = file, .line = line};

    model_each_map(workbench_model(w), look_at_map, &walk);
}

void coverage_count_request(struct coverage *c, struct workbench *w, const char *host, const char *path,
                            const char *backend)
{
    struct route route;

    if (!route_find(workbench_model(w), MODEL_RENDERED, host, path, &route) ||
        route.backend_length != strlen(backend) || strncmp(route.value, backend, route.backend_length) != 0)
        return;
    CLEANUP(free_ptr) char *name = route_name(route.entry);
    struct covered_route *r = map_get(&c->routes, name);
    if (r != NULL)
        r->requests++;
}

/* ---- JSON ---- */

static int compare_slots(const void *left, const void *right)
{
    const struct map_slot *const *a = left, *const *b = right;

    return strcmp((*a)->key, (*b)->key);
}

struct slots {
    VEC(struct map_slot *) items;
};

/* In the order of the names. */
static void sorted(const struct map *m, struct slots *out)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next((struct map *)(uintptr_t)m, &it));)
        vec_push(&out->items, slot);
    if (out->items.length > 1)
        qsort(out->items.items, out->items.length, sizeof(*out->items.items), compare_slots);
}

static void slots_done(struct slots *s)
{
    vec_done(&s->items);
}

static void put_string(struct buf *out, const char *text)
{
    struct err ignored;

    if (json_write_string(out, text, strlen(text), &ignored) < 0)
        buf_puts(out, "\"\"");
}

void coverage_put_json(const struct coverage *c, struct buf *out)
{
    CLEANUP(slots_done) struct slots templates = {0}, routes = {0};

    sorted(&c->templates, &templates);
    sorted(&c->routes, &routes);
    buf_puts(out, "{\"templates\":{");
    for (size_t i = 0; i < templates.items.length; i++) {
        const struct covered_template *t = templates.items.items[i]->value;
        const char *comma = "";
        buf_puts(out, i ? "," : "");
        put_string(out, t->name);
        buf_puts(out, ":{");
        for (size_t line = 0; line < t->counts.length; line++) {
            if (t->counts.items[line] < 0)
                continue;
            buf_printf(out, "%s\"%zu\":%" PRId64, comma, line + 1, t->counts.items[line]);
            comma = ",";
        }
        buf_putc(out, '}');
    }
    buf_puts(out, "},\"routes\":{");
    for (size_t i = 0; i < routes.items.length; i++) {
        const struct covered_route *r = routes.items.items[i]->value;
        buf_puts(out, i ? "," : "");
        put_string(out, r->name);
        buf_puts(out, ":{\"file\":");
        put_string(out, r->file);
        buf_printf(out, ",\"line\":%zu,\"requests\":%" PRIu64 "}", r->line, r->requests);
    }
    buf_puts(out, "}}");
}

int coverage_take_json(struct coverage *c, yyjson_val *document, struct err *err)
{
    size_t i, max, j, count;
    yyjson_val *name, *value, *line, *times;

    if (!yyjson_is_obj(document))
        return err_set(err, ERR_INVALID, "there is no coverage in the answer");
    yyjson_obj_foreach(yyjson_obj_get(document, "templates"), i, max, name, value)
    {
        struct covered_template *t = template_of(c, yyjson_get_str(name));
        yyjson_obj_foreach(value, j, count, line, times)
        {
            add_line(t, strtoull(yyjson_get_str(line), NULL, 10), yyjson_get_uint(times));
        }
    }
    yyjson_obj_foreach(yyjson_obj_get(document, "routes"), i, max, name, value)
    {
        const char *file = yyjson_get_str(yyjson_obj_get(value, "file"));
        struct covered_route *r = route_of(c, yyjson_get_str(name), file ? file : "",
                                           yyjson_get_uint(yyjson_obj_get(value, "line")));
        if (r != NULL)
            r->requests += yyjson_get_uint(yyjson_obj_get(value, "requests"));
    }
    return 0;
}

/* ---- sums ---- */

struct sum {
    size_t all, covered;
};

static void add_template(const struct covered_template *t, struct sum *s)
{
    for (size_t i = 0; i < t->counts.length; i++) {
        s->all += t->counts.items[i] >= 0;
        s->covered += t->counts.items[i] > 0;
    }
}

static double percent_of(const struct sum *s)
{
    return s->all == 0 ? 100 : 100 * (double)s->covered / (double)s->all;
}

static struct sum lines_sum(const struct coverage *c)
{
    struct sum s = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next((struct map *)(uintptr_t)&c->templates, &it));)
        add_template(slot->value, &s);
    return s;
}

static struct sum routes_sum(const struct coverage *c)
{
    struct sum s = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next((struct map *)(uintptr_t)&c->routes, &it));) {
        s.all++;
        s.covered += ((struct covered_route *)slot->value)->requests > 0;
    }
    return s;
}

double coverage_lines_percent(const struct coverage *c)
{
    struct sum s = lines_sum(c);

    return percent_of(&s);
}

double coverage_routes_percent(const struct coverage *c)
{
    struct sum s = routes_sum(c);

    return percent_of(&s);
}

/* ---- the table ---- */

/* "3-5, 9"; lines without code do not end a range. */
static void put_missing(const struct covered_template *t, struct buf *out)
{
    size_t ranges = 0;

    for (size_t i = 0; i < t->counts.length; i++) {
        if (t->counts.items[i] != 0)
            continue;
        size_t first = i + 1, last = i + 1;
        for (; i < t->counts.length && t->counts.items[i] <= 0; i++)
            if (t->counts.items[i] == 0)
                last = i + 1;
        if (ranges++ == RANGES_SHOWN) {
            buf_puts(out, ", …");
            return;
        }
        buf_printf(out, first == last ? "%s%zu" : "%s%zu-%zu", ranges > 1 ? ", " : "  not run: ", first, last);
    }
}

void coverage_put_table(const struct coverage *c, struct buf *out)
{
    CLEANUP(slots_done) struct slots templates = {0}, routes = {0};
    struct sum lines = lines_sum(c), asked = routes_sum(c);
    size_t shown = 0;

    sorted(&c->templates, &templates);
    sorted(&c->routes, &routes);
    for (size_t i = 0; i < templates.items.length; i++) {
        const struct covered_template *t = templates.items.items[i]->value;
        struct sum s = {0};
        add_template(t, &s);
        buf_printf(out, "%5.1f %%  %4zu of %-4zu %s", percent_of(&s), s.covered, s.all, t->name);
        put_missing(t, out);
        buf_putc(out, '\n');
    }
    for (size_t i = 0; i < routes.items.length; i++) {
        const struct covered_route *r = routes.items.items[i]->value;
        if (r->requests == 0 && shown++ < ROUTES_SHOWN)
            buf_printf(out, "no request: %s\n", r->name);
    }
    if (shown > ROUTES_SHOWN)
        buf_printf(out, "no request: %zu more routes\n", shown - ROUTES_SHOWN);
    buf_printf(out, "Coverage: %.1f %% of %zu template lines, %.1f %% of %zu routes\n", percent_of(&lines), lines.all,
               percent_of(&asked), asked.all);
}

/* ---- LCOV ---- */

/* A template that is a file of its own has that one's name. */
static const char *file_of(const struct config *config, const char *name)
{
    const struct config_texts *const lists[] = {&config->snippets, &config->maps, &config->files, &config->certificates,
                                                &config->crt_lists};
    static const char *const prefixes[] = {"", "maps/", "files/", "certs/", "certs/"};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (size_t j = 0; j < lists[i]->items.length; j++) {
            const struct config_text *t = &lists[i]->items.items[j];
            size_t length = strlen(prefixes[i]);
            if (t->file != NULL && strncmp(name, prefixes[i], length) == 0 && strcmp(name + length, t->name) == 0)
                return t->file;
        }
    return strcmp(name, "haproxyConfig") == 0 && config->haproxy_config_file != NULL ? config->haproxy_config_file
                                                                                     : name;
}

static void put_lcov_template(const struct covered_template *t, const struct config *config, struct buf *out)
{
    struct sum s = {0};

    add_template(t, &s);
    buf_printf(out, "TN:\nSF:%s\n", file_of(config, t->name));
    for (size_t i = 0; i < t->counts.length; i++)
        if (t->counts.items[i] >= 0)
            buf_printf(out, "DA:%zu,%" PRId64 "\n", i + 1, t->counts.items[i]);
    buf_printf(out, "LF:%zu\nLH:%zu\nend_of_record\n", s.all, s.covered);
}

/* The routes of one file of tests, from the given one on; how many. */
static size_t put_lcov_routes(const struct slots *routes, size_t from, struct buf *out)
{
    const char *file = ((struct covered_route *)routes->items.items[from]->value)->file;
    CLEANUP(buf_done) struct buf counts = {0};
    struct sum s = {0};

    buf_printf(out, "TN:\nSF:%s\n", file);
    for (size_t i = from; i < routes->items.length; i++) {
        const struct covered_route *r = routes->items.items[i]->value;
        if (strcmp(r->file, file) != 0)
            continue;
        buf_printf(out, "FN:%zu,%s\n", r->line, r->name);
        buf_printf(&counts, "FNDA:%" PRIu64 ",%s\n", r->requests, r->name);
        s.all++;
        s.covered += r->requests > 0;
    }
    buf_printf(out, "%sFNF:%zu\nFNH:%zu\nend_of_record\n", buf_str(&counts), s.all, s.covered);
    return s.all;
}

static bool is_first_of_file(const struct slots *routes, size_t at)
{
    const char *file = ((struct covered_route *)routes->items.items[at]->value)->file;

    for (size_t i = 0; i < at; i++)
        if (strcmp(((struct covered_route *)routes->items.items[i]->value)->file, file) == 0)
            return false;
    return true;
}

int coverage_write_lcov(const struct coverage *c, const struct config *config, const char *path, struct err *err)
{
    CLEANUP(slots_done) struct slots templates = {0}, routes = {0};
    CLEANUP(buf_done) struct buf out = {0};
    size_t done = 0;

    sorted(&c->templates, &templates);
    sorted(&c->routes, &routes);
    for (size_t i = 0; i < templates.items.length; i++)
        put_lcov_template(templates.items.items[i]->value, config, &out);
    for (size_t i = 0; i < routes.items.length && done < routes.items.length; i++)
        if (is_first_of_file(&routes, i))
            done += put_lcov_routes(&routes, i, &out);
    FILE *stream = fopen(path, "we");
    if (stream == NULL)
        return err_set(err, ERR_SYS, "%s cannot be written", path);
    bool written = fwrite(buf_str(&out), 1, out.length, stream) == out.length;
    return fclose(stream) == 0 && written ? 0 : err_set(err, ERR_SYS, "%s cannot be written", path);
}
