/* The two texts belong together: the second function searches for the text of the first. */
#include "controller/ending.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

#define ENDED "the renderer was ended while this ran"

char *ending_reason(const char *reason, int64_t timeout_ns, uint64_t memory_bytes)
{
    if (strcmp(reason, "deadline") == 0 && timeout_ns > 0)
        return xasprintf("a rendering may take %s (templatingSettings.renderTimeout)", log_duration(timeout_ns));
    if (strcmp(reason, "memory") == 0 && memory_bytes > 0)
        return xasprintf("it may use %llu bytes of memory (templatingSettings.renderMemoryBytes)",
                         (unsigned long long)memory_bytes);
    return NULL;
}

char *ending_message(const struct reconcile_config *config, const struct renderer_death *death)
{
    CLEANUP(free_ptr)
    char *why = ending_reason(death->reason, config->render_timeout_ns, config->render_memory_bytes);
    const char *place = strcmp(death->reason, "deadline") == 0 ? death->place : "";

    if (why != NULL)
        return xasprintf("%s%s" ENDED ": %s", place, *place != '\0' ? ": " : "", why);
    return xasprintf("the renderer ended while this ran: %s", death->reason);
}

char *ending_cause(const struct problems *problems, const struct fragment_failure *f)
{
    const char *before = problems_message(problems, f->id);
    const char *cause = before != NULL ? strstr(before, ENDED) : NULL;

    if (cause == NULL || strstr(f->message, "it ended the renderer before") == NULL)
        return NULL;
    while (cause > before && cause[-1] != ';') /* the line is before the cause */
        cause--;
    return xasprintf("%s; %s", f->message, cause + strspn(cause, " "));
}
