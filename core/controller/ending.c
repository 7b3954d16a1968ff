/* The two texts belong together: the second finds the first again. */
#include "controller/ending.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

#define ENDED "the renderer was ended while this ran"

char *ending_message(const struct reconcile_config *config, const struct renderer_death *death)
{
    const char *reason = death->reason, *place = death->place;

    if (strcmp(reason, "deadline") == 0 && config->render_timeout_ns > 0)
        return xasprintf("%s%s" ENDED ": a rendering may take %s "
                         "(templatingSettings.renderTimeout)",
                         place, *place != '\0' ? ": " : "", log_duration(config->render_timeout_ns));
    if (strcmp(reason, "memory") == 0 && config->render_memory_bytes > 0)
        return xasprintf(ENDED ": it may use %llu bytes of memory "
                               "(templatingSettings.renderMemoryBytes)",
                         (unsigned long long)config->render_memory_bytes);
    return xasprintf("the renderer ended while this ran: %s", reason);
}

char *ending_cause(const struct problems *problems, const struct fragment_failure *f)
{
    const char *before = problems_message(problems, f->id);
    const char *cause = before != NULL ? strstr(before, ENDED) : NULL;

    if (cause == NULL || strstr(f->message, "it ended the renderer before") == NULL)
        return NULL;
    while (cause > before && cause[-1] != ';') /* the line stands before it */
        cause--;
    return xasprintf("%s; %s", f->message, cause + strspn(cause, " "));
}
