/* A match limit bounds what a wrong pattern can cost. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "data/pattern.h"

#include <pcre2.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/alloc.h"

#define STEPS_MAX 10000000
#define HEAP_KIB 4096

struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

int pattern_new(const char *text, struct pattern **ret_pattern, struct err *err)
{
    PCRE2_UCHAR message[128];
    PCRE2_SIZE at = 0;
    int number = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C, &number, &at,
                                     NULL);

    if (code == NULL) {
        pcre2_get_error_message(number, message, sizeof(message));
        return err_set(err, ERR_INVALID, "the pattern \"%.100s\" is wrong at character %zu: %s", text, (size_t)at + 1,
                       (const char *)message);
    }
    struct pattern *p = xmalloc(sizeof(*p));
    *p = (struct pattern){.code = code,
                          .match = pcre2_match_data_create_from_pattern(code, NULL),
                          .context = pcre2_match_context_create(NULL)};
    pcre2_set_match_limit(p->context, STEPS_MAX);
    *ret_pattern = p;
    return 0;
}

struct pattern *pattern_free(struct pattern *p)
{
    if (p == NULL)
        return NULL;
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->context);
    pcre2_code_free(p->code);
    free(p);
    return NULL;
}

int pattern_find(const struct pattern *p, const char *subject, size_t length, size_t from, size_t *ret_start,
                 size_t *ret_end, struct err *err)
{
    int result = pcre2_match(p->code, (PCRE2_SPTR)subject, length, from, 0, p->match, p->context);

    if (result == PCRE2_ERROR_NOMATCH)
        return 0;
    if (result < 0)
        return err_set(err, ERR_LIMIT, "the pattern takes too many steps on this text (PCRE2 error %d)", result);
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(p->match);
    *ret_start = place[0];
    *ret_end = place[1];
    return 1;
}

void pattern_limit(struct pattern *p, unsigned steps)
{
    pcre2_set_match_limit(p->context, steps);
    pcre2_set_heap_limit(p->context, HEAP_KIB);
}

int pattern_replace(const struct pattern *p, const char *subject, size_t length, const char *replacement,
                    struct buf *out, struct err *err)
{
    const uint32_t options = PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_UNKNOWN_UNSET | PCRE2_SUBSTITUTE_UNSET_EMPTY |
                             PCRE2_SUBSTITUTE_OVERFLOW_LENGTH;
    PCRE2_SIZE room = length + 256, size;
    int result;

    do {
        buf_clear(out);
        char *to = buf_room(out, room, err);
        if (to == NULL)
            return -1;
        size = room;
        result = pcre2_substitute(p->code, (PCRE2_SPTR)subject, length, 0, options, p->match, p->context,
                                  (PCRE2_SPTR)replacement, PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *)to, &size);
        bool is_short = result == PCRE2_ERROR_NOMEMORY && size > room;
        room = size;
        if (!is_short)
            break;
    } while (true);
    if (result == PCRE2_ERROR_MATCHLIMIT || result == PCRE2_ERROR_HEAPLIMIT || result == PCRE2_ERROR_DEPTHLIMIT)
        return err_set(err, ERR_LIMIT, "the pattern takes too many steps on this text (PCRE2 error %d)", result);
    if (result < 0)
        return err_set(err, ERR_INVALID,
                       "the replacement \"%.100s\" is wrong (PCRE2 error %d): $1 and ${name} stand "
                       "for groups, $$ for a dollar",
                       replacement, result);
    buf_grew(out, size);
    return 0;
}
