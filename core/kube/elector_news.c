/* What an elector tells its owner. */
#include <assert.h>
#include <string.h>

#include "kube/elector_state.h"

void elector_copy_name(char *into, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);
    memcpy(into, from, length);
    into[length] = '\0';
}

struct elector_news *elector_add_news(struct elector_output *out, enum elector_news_kind kind)
{
    assert(out->news_count < ELECTOR_NEWS_MAX);
    struct elector_news *news = &out->news[out->news_count++];
    *news = (struct elector_news){.kind = kind};
    return news;
}
