/* libyaml's events build one tree of nodes for each document; the tree is then written as JSON text, expanding aliases
 * and merge keys and noting the line of each value, and yyjson reads that. yyjson keeps values in the order of the
 * text, so the place of a value in its document is the index of its line. The detour costs a second pass and buys one
 * set of rules for all JSON. */
#include "data/yaml.h"

#include <string.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"
#include "data/encoding.h"
#include "data/yaml_scalar.h"

enum node_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING, NODE_ALIAS };

/* Nodes name each other by index; 0 is no node. A mapping's children are key, value, key, value. */
struct node {
    enum node_kind kind;
    enum yaml_type type; /* of a scalar */
    bool is_merge;       /* an unquoted << */
    bool open;           /* its end has not been read */
    uint32_t line, column;
    uint32_t first, next;
    uint32_t target;     /* of an alias */
    size_t text, length; /* of a scalar: where in texts; numbers already as JSON writes them */
};

struct reader {
    yaml_parser_t parser;
    VEC(struct node) nodes;
    struct buf texts;
    struct map anchors; /* name → node index */
    struct buf json;
    VEC(uint32_t) lines;
    size_t expanded;
    unsigned in_alias;
    size_t input_length, lines_before;
    struct json_position *at;
    struct err *err;
};

static void reader_done(struct reader *r)
{
    yaml_parser_delete(&r->parser);
    vec_done(&r->nodes);
    vec_done(&r->lines);
    buf_done(&r->texts);
    buf_done(&r->json);
    map_done(&r->anchors);
}

static void place(struct reader *r, size_t line, size_t column)
{
    *r->at = (struct json_position){line ? line + r->lines_before : 0, column};
}

static void place_node(struct reader *r, const struct node *node)
{
    *r->at = (struct json_position){node->line, node->column};
}

static int fail_at(struct reader *r, const struct node *node, const char *message)
{
    place_node(r, node);
    return err_set(r->err, ERR_INVALID, "%s", message);
}

/* ── events to nodes ─────────────────────────────────────────────────────────────────────────────────────────────────── */

/* The probable mistake, where libyaml's message names only the token that it expected. The index of a mark counts
 * characters, so after a character beyond ASCII it is not the index of the byte: then there is no advice. */
static const char *advice_on(const char *problem, char at)
{
    if (strcmp(problem, "found character that cannot start any token") == 0 && at == '\t')
        return ": a tab; YAML is indented by spaces";
    if (strcmp(problem, "did not find expected key") == 0 || strcmp(problem, "mapping values are not allowed in this "
                                                                             "context") == 0)
        return ": is the line indented as its neighbours are?";
    return "";
}

static int parser_failed(struct reader *r, const char *text)
{
    const yaml_parser_t *p = &r->parser;

    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->err, ERR_LIMIT, "no memory to read YAML");
    if (p->error == YAML_READER_ERROR) {
        size_t line = 1, start = 0;
        for (size_t i = 0; i < r->input_length && i < p->problem_offset; i++)
            if (text[i] == '\n') {
                line++;
                start = i + 1;
            }
        place(r, line, p->problem_offset - start + 1);
        return err_set(r->err, ERR_INVALID, "%s", p->problem);
    }
    place(r, p->problem_mark.line + 1, p->problem_mark.column + 1);
    const char *problem = p->problem ? p->problem : "syntax error";
    const char *advice = advice_on(problem, p->problem_mark.index < r->input_length ? text[p->problem_mark.index] : 0);
    return err_set(r->err, ERR_INVALID, "%s%s%s%s", problem, p->context ? ", " : "", p->context ? p->context : "",
                   advice);
}

static uint32_t node_new(struct reader *r, enum node_kind kind, yaml_mark_t mark)
{
    struct node node = {
        .kind = kind, .line = (uint32_t)(mark.line + r->lines_before) + 1, .column = (uint32_t)mark.column + 1};

    vec_push(&r->nodes, node);
    return (uint32_t)(r->nodes.length - 1);
}

static void anchor_set(struct reader *r, const yaml_char_t *anchor, uint32_t index)
{
    if (anchor)
        (void)map_put(&r->anchors, (const char *)anchor, (void *)(uintptr_t)index);
}

/* Apply an explicit !!tag to what the text looks like. */
static int tag_apply(struct reader *r, struct node *node, const char *tag, enum yaml_type looks)
{
    static const char core[] = "tag:yaml.org,2002:";

    node->type = YAML_TYPE_STRING;
    if (strncmp(tag, core, sizeof(core) - 1) != 0)
        return 0; /* an application's own tag: its text */
    tag += sizeof(core) - 1;
    if (strcmp(tag, "binary") == 0)
        return fail_at(r, node, "!!binary is not supported: write the value as a string");
    bool fits = (strcmp(tag, "int") == 0 && looks == YAML_TYPE_INT) ||
                (strcmp(tag, "float") == 0 &&
                 (looks == YAML_TYPE_INT || looks == YAML_TYPE_FLOAT || looks == YAML_TYPE_NOT_FINITE)) ||
                (strcmp(tag, "bool") == 0 && (looks == YAML_TYPE_TRUE || looks == YAML_TYPE_FALSE)) ||
                (strcmp(tag, "null") == 0 && looks == YAML_TYPE_NULL);
    if (fits) {
        node->type = looks;
        return 0;
    }
    if (strcmp(tag, "int") == 0 || strcmp(tag, "float") == 0 || strcmp(tag, "bool") == 0 || strcmp(tag, "null") == 0) {
        place_node(r, node);
        return err_set(r->err, ERR_INVALID, "the value is not a !!%s", tag);
    }
    return 0;
}

static int scalar_read(struct reader *r, const yaml_event_t *event, uint32_t *ret_index)
{
    CLEANUP(buf_done) struct buf number = {0};
    const char *text = (const char *)event->data.scalar.value, *tag = (const char *)event->data.scalar.tag;
    size_t length = event->data.scalar.length;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    uint32_t index = node_new(r, NODE_SCALAR, event->start_mark);
    struct node *node = &r->nodes.items[index];

    anchor_set(r, event->data.scalar.anchor, index);
    if (tag || plain) {
        enum yaml_type looks = yaml_scalar_resolve(text, length, &number);
        if (!tag)
            node->type = looks;
        else if (tag_apply(r, node, tag, looks) < 0)
            return -1;
    }
    if (node->type == YAML_TYPE_NOT_FINITE)
        return fail_at(r, node, "JSON has no infinity and no NaN: write the value as a string");
    node->is_merge = plain && !tag && length == 2 && memcmp(text, "<<", 2) == 0;
    if (node->type == YAML_TYPE_INT || node->type == YAML_TYPE_FLOAT) {
        text = buf_str(&number);
        length = number.length;
    }
    node->text = r->texts.length;
    node->length = length;
    *ret_index = index;
    return buf_try_add(&r->texts, text, length, r->err);
}

static int alias_read(struct reader *r, const yaml_event_t *event, uint32_t *ret_index)
{
    const char *name = (const char *)event->data.alias.anchor;
    uint32_t index = node_new(r, NODE_ALIAS, event->start_mark);
    struct node *node = &r->nodes.items[index];
    uint32_t target = (uint32_t)(uintptr_t)map_get(&r->anchors, name);

    if (!target) {
        place_node(r, node);
        return err_set(r->err, ERR_INVALID, "the alias *%.100s has no anchor before it", name);
    }
    if (r->nodes.items[target].open) {
        place_node(r, node);
        return err_set(r->err, ERR_INVALID, "the alias *%.100s is inside its own anchor", name);
    }
    node->target = target;
    *ret_index = index;
    return 0;
}

struct frame {
    uint32_t container, last;
};

/* Read one document's nodes: from after DOCUMENT-START to DOCUMENT-END. */
static int document_read(struct reader *r, const char *text, uint32_t *ret_root)
{
    struct frame stack[JSON_DEPTH_MAX];
    size_t depth = 0;
    uint32_t root = 0;

    for (;;) {
        yaml_event_t event;
        uint32_t index = 0;
        int result = 0;

        if (!yaml_parser_parse(&r->parser, &event))
            return parser_failed(r, text);
        yaml_event_type_t type = event.type;
        switch (type) {
        case YAML_SCALAR_EVENT:
            result = scalar_read(r, &event, &index);
            break;
        case YAML_ALIAS_EVENT:
            result = alias_read(r, &event, &index);
            break;
        case YAML_SEQUENCE_START_EVENT:
        case YAML_MAPPING_START_EVENT:
            index = node_new(r, type == YAML_SEQUENCE_START_EVENT ? NODE_SEQUENCE : NODE_MAPPING, event.start_mark);
            r->nodes.items[index].open = true;
            anchor_set(r,
                       type == YAML_SEQUENCE_START_EVENT ? event.data.sequence_start.anchor
                                                         : event.data.mapping_start.anchor,
                       index);
            if (depth == JSON_DEPTH_MAX) {
                place(r, event.start_mark.line + 1, event.start_mark.column + 1);
                result = err_set(r->err, ERR_LIMIT, "YAML nested deeper than %d levels", JSON_DEPTH_MAX);
            }
            break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
            r->nodes.items[stack[--depth].container].open = false;
            break;
        case YAML_NO_EVENT:
        case YAML_STREAM_START_EVENT:
        case YAML_STREAM_END_EVENT:
        case YAML_DOCUMENT_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        }
        yaml_event_delete(&event);
        if (result < 0)
            return -1;
        if (type == YAML_DOCUMENT_END_EVENT) {
            *ret_root = root;
            return 0;
        }
        if (!index)
            continue;
        if (depth == 0)
            root = index;
        else if (stack[depth - 1].last)
            r->nodes.items[stack[depth - 1].last].next = index;
        else
            r->nodes.items[stack[depth - 1].container].first = index;
        if (depth > 0)
            stack[depth - 1].last = index;
        if (r->nodes.items[index].open)
            stack[depth++] = (struct frame){.container = index};
    }
}

/* ── nodes to JSON ───────────────────────────────────────────────────────────────────────────────────────────────────── */

struct pair {
    uint32_t key, value;
};

struct pairs {
    struct pair *items;
    size_t length, capacity;
};

static void pairs_done(struct pairs *pairs)
{
    vec_done(pairs);
}

static int expand(struct reader *r, const struct node *node)
{
    if (!r->in_alias || ++r->expanded <= YAML_EXPANSION_MAX)
        return 0;
    place_node(r, node);
    return err_set(r->err, ERR_LIMIT, "aliases expand to more than %d values", YAML_EXPANSION_MAX);
}

static uint32_t resolve(const struct reader *r, uint32_t index)
{
    return r->nodes.items[index].kind == NODE_ALIAS ? r->nodes.items[index].target : index;
}

static const char *key_text(const struct reader *r, uint32_t index, size_t *ret_length)
{
    const struct node *node = &r->nodes.items[resolve(r, index)];

    *ret_length = node->length;
    switch (node->type) {
    case YAML_TYPE_TRUE:
        *ret_length = 4;
        return "true";
    case YAML_TYPE_FALSE:
        *ret_length = 5;
        return "false";
    case YAML_TYPE_STRING:
    case YAML_TYPE_INT:
    case YAML_TYPE_FLOAT:
    case YAML_TYPE_NULL:
    case YAML_TYPE_NOT_FINITE:
        break;
    }
    return buf_str(&r->texts) + node->text;
}

/* Keys seen so far in a mapping: pair by pair for few, a table for many. The table's keys are borrowed from texts,
 * which no longer grows. */
#define KEYS_PAIRWISE 16

static bool key_is_known(const struct reader *r, const struct pairs *pairs, struct map *table, uint32_t key)
{
    size_t length, other_length;
    const char *text = key_text(r, key, &length);

    if (pairs->length <= KEYS_PAIRWISE) {
        for (size_t i = 0; i < pairs->length; i++) {
            const char *other = key_text(r, pairs->items[i].key, &other_length);
            if (length == other_length && memcmp(text, other, length) == 0)
                return true;
        }
        return false;
    }
    for (size_t i = table->count; i < pairs->length; i++) {
        const char *other = key_text(r, pairs->items[i].key, &other_length);
        (void)map_putn(table, other, other_length, r->nodes.items);
    }
    return map_getn(table, text, length) != NULL;
}

/* The mapping's own pairs, then those that merge keys bring and that are not there yet; the first of several merged
 * mappings wins. */
static int collect(struct reader *r, uint32_t mapping, struct pairs *pairs, struct map *table, bool merged,
                   unsigned depth)
{
    const struct node *nodes = r->nodes.items;

    if (depth > JSON_DEPTH_MAX) {
        place_node(r, &nodes[mapping]);
        return err_set(r->err, ERR_LIMIT, "merge keys nested deeper than %d levels", JSON_DEPTH_MAX);
    }
    for (uint32_t key = nodes[mapping].first; key; key = nodes[nodes[key].next].next) {
        const struct node *node = &nodes[resolve(r, key)];
        if (expand(r, &nodes[key]) < 0)
            return -1;
        if (node->is_merge)
            continue;
        if (node->kind != NODE_SCALAR || node->type == YAML_TYPE_NULL)
            return fail_at(r, &nodes[key], "a key must be a string, a number or a boolean");
        if (!key_is_known(r, pairs, table, key)) {
            vec_push(pairs, ((struct pair){key, nodes[key].next}));
        } else if (!merged) {
            size_t length;
            const char *text = key_text(r, key, &length);
            place_node(r, &nodes[key]);
            return err_set(r->err, ERR_INVALID, "the key \"%.*s\" occurs twice in one mapping",
                           (int)(length < 200 ? length : 200), text);
        }
    }
    for (uint32_t key = nodes[mapping].first; key; key = nodes[nodes[key].next].next) {
        if (!nodes[resolve(r, key)].is_merge)
            continue;
        uint32_t value = resolve(r, nodes[key].next), source = value;
        bool is_list = nodes[value].kind == NODE_SEQUENCE;
        if (is_list)
            source = nodes[value].first;
        for (; source; source = is_list ? nodes[source].next : 0) {
            uint32_t target = resolve(r, source);
            if (nodes[target].kind != NODE_MAPPING)
                return fail_at(r, &nodes[key], "a merge key needs a mapping or a list of mappings");
            r->in_alias++;
            int result = collect(r, target, pairs, table, true, depth + 1);
            r->in_alias--;
            if (result < 0)
                return -1;
        }
    }
    return 0;
}

static int emit(struct reader *r, const char *json)
{
    return buf_try_add(&r->json, json, strlen(json), r->err);
}

static int write_node(struct reader *r, uint32_t index, unsigned depth);

static int write_mapping(struct reader *r, uint32_t index, unsigned depth)
{
    CLEANUP(pairs_done) struct pairs pairs = {0};
    CLEANUP(map_done) struct map table;

    map_init(&table, true);
    if (collect(r, index, &pairs, &table, false, 0) < 0 || emit(r, "{") < 0)
        return -1;
    for (size_t i = 0; i < pairs.length; i++) {
        size_t length;
        const char *text = key_text(r, pairs.items[i].key, &length);
        vec_push(&r->lines, r->nodes.items[pairs.items[i].key].line);
        if ((i > 0 && emit(r, ",") < 0) || json_write_string(&r->json, text, length, r->err) < 0 || emit(r, ":") < 0 ||
            write_node(r, pairs.items[i].value, depth + 1) < 0)
            return -1;
    }
    return emit(r, "}");
}

static int write_scalar(struct reader *r, const struct node *node)
{
    const char *text = buf_str(&r->texts) + node->text;

    switch (node->type) {
    case YAML_TYPE_STRING:
        return json_write_string(&r->json, text, node->length, r->err);
    case YAML_TYPE_TRUE:
        return emit(r, "true");
    case YAML_TYPE_FALSE:
        return emit(r, "false");
    case YAML_TYPE_INT:
    case YAML_TYPE_FLOAT:
        return buf_try_add(&r->json, text, node->length, r->err);
    case YAML_TYPE_NULL:
    case YAML_TYPE_NOT_FINITE:
        break;
    }
    return emit(r, "null");
}

static int write_node(struct reader *r, uint32_t index, unsigned depth)
{
    const struct node *node = &r->nodes.items[index];
    int result;

    if (expand(r, node) < 0)
        return -1;
    if (depth > JSON_DEPTH_MAX) {
        place_node(r, node);
        return err_set(r->err, ERR_LIMIT, "YAML nested deeper than %d levels", JSON_DEPTH_MAX);
    }
    switch (node->kind) {
    case NODE_ALIAS:
        r->in_alias++;
        result = write_node(r, node->target, depth);
        r->in_alias--;
        return result;
    case NODE_SCALAR:
        vec_push(&r->lines, node->line);
        return write_scalar(r, node);
    case NODE_MAPPING:
        vec_push(&r->lines, node->line);
        return write_mapping(r, index, depth);
    case NODE_SEQUENCE:
        vec_push(&r->lines, node->line);
        if (emit(r, "[") < 0)
            return -1;
        for (uint32_t item = node->first; item; item = r->nodes.items[item].next)
            if ((item != node->first && emit(r, ",") < 0) || write_node(r, item, depth + 1) < 0)
                return -1;
        return emit(r, "]");
    }
    return 0;
}

static int document_convert(struct reader *r, const char *text, struct yaml_doc *ret_doc)
{
    uint32_t root = 0;

    vec_clear(&r->nodes);
    vec_push(&r->nodes, (struct node){0});
    map_clear(&r->anchors);
    buf_clear(&r->texts);
    buf_clear(&r->json);
    r->lines.length = 0;
    if (document_read(r, text, &root) < 0 || write_node(r, root, 0) < 0)
        return -1;
    if (json_parse(r->json.data, r->json.length, SIZE_MAX, &ret_doc->json, r->err) < 0)
        return -1;
    ret_doc->lines = r->lines.items;
    memset(&r->lines, 0, sizeof(r->lines));
    return 0;
}

static int read_all(struct reader *r, const char *text, struct yaml_docs *docs)
{
    for (;;) {
        yaml_event_t event;
        struct yaml_doc doc;

        if (!yaml_parser_parse(&r->parser, &event))
            return parser_failed(r, text);
        yaml_event_type_t type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return 0;
        if (type != YAML_DOCUMENT_START_EVENT)
            continue;
        if (document_convert(r, text, &doc) < 0)
            return -1;
        vec_push(docs, doc);
    }
}

int yaml_parse(const char *text, size_t length, size_t max_bytes, struct yaml_docs *ret_docs,
               struct json_position *ret_at, struct err *err)
{
    return yaml_parse_part(text, length, max_bytes, 0, ret_docs, ret_at, err);
}

int yaml_parse_part(const char *text, size_t length, size_t max_bytes, size_t lines_before, struct yaml_docs *ret_docs,
                    struct json_position *ret_at, struct err *err)
{
    struct json_position at = {0};
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    CLEANUP(buf_done) struct buf copy = {0};
    struct reader r = {.lines_before = lines_before, .at = ret_at ? ret_at : &at, .err = err};

    *r.at = (struct json_position){0};
    if (length > max_bytes)
        return err_set(err, ERR_LIMIT, "%zu bytes of YAML are more than the maximum of %zu", length, max_bytes);
    text = encoding_without_marks(text, &length, &copy);
    r.input_length = length;
    if (!yaml_parser_initialize(&r.parser))
        return err_set(err, ERR_LIMIT, "no memory to read YAML");
    if (!encoding_is_utf16(text, length)) /* that one is told by its mark */
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    /* A control character of one byte is six in JSON; aliases may add as much again, and a little more to short
     * texts. */
    buf_init(&r.json, 12 * length + (1 << 20));
    buf_init(&r.texts, 2 * length + 65536);
    map_init(&r.anchors, false);
    int result = read_all(&r, text, &docs);
    reader_done(&r);
    if (result < 0)
        return !ret_at && at.line ? err_wrap(err, "line %zu, column %zu", at.line, at.column) : -1;
    docs.expanded = r.expanded;
    *ret_docs = docs;
    docs = (struct yaml_docs){0};
    return 0;
}

void yaml_docs_done(struct yaml_docs *docs)
{
    for (size_t i = 0; i < docs->length; i++) {
        json_doc_done(&docs->items[i].json);
        free(docs->items[i].lines);
    }
    vec_done(docs);
}

size_t yaml_line(const struct yaml_doc *doc, const struct yyjson_val *value)
{
    return doc->lines[value - yyjson_doc_get_root(doc->json)];
}
