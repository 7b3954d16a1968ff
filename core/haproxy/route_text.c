#include "haproxy/route_text.h"

#include <string.h>

#define BLANKS " \t"

/* The length of a word with its quotes and escapes. */
static size_t word_length(const char *word)
{
    const char *at = word;
    char quote = '\0';

    for (; *at && *at != '\n'; at++) {
        if (*at == '\\' && quote != '\'' && at[1] && at[1] != '\n')
            at++;
        else if (quote)
            quote = *at == quote ? '\0' : quote;
        else if (*at == '"' || *at == '\'')
            quote = *at;
        else if (*at == ' ' || *at == '\t' || *at == '#')
            break;
    }
    return (size_t)(at - word);
}

/* The keyword may be quoted as well. */
static bool is_keyword(const char *word, size_t length)
{
    static const char *const keywords[] = {"use_backend", "default_backend"};
    char plain[24];
    size_t n = 0;

    for (size_t i = 0; i < length; i++)
        if (!strchr("\"'\\", word[i])) {
            if (n == sizeof(plain) - 1)
                return false;
            plain[n++] = word[i];
        }
    plain[n] = '\0';
    for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
        if (strcmp(plain, keywords[i]) == 0)
            return true;
    return false;
}

bool route_text_next(const char **at, const char **ret_name, size_t *ret_length)
{
    while (**at) {
        const char *word = *at + strspn(*at, BLANKS);
        size_t length = word_length(word);
        const char *name = word + length + strspn(word + length, BLANKS);
        const char *end = strchr(word, '\n');

        *at = end ? end + 1 : word + strlen(word);
        if (!is_keyword(word, length) || (*ret_length = word_length(name)) == 0)
            continue;
        *ret_name = name;
        return true;
    }
    return false;
}

void route_text_close(const char *text, const char *closed, struct buf *out)
{
    const char *at = text, *written = text, *name;
    size_t length;

    while (route_text_next(&at, &name, &length)) {
        buf_add(out, written, (size_t)(name - written));
        buf_puts(out, closed);
        written = name + length;
    }
    buf_puts(out, written);
}
