/* A missing file does not change what is known about its last text. When the file returns with this text, the result
 * holds again. */
#include "controller/config_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/json.h"

static const char *const names[] = {[CONFIG_IN_FORCE] = "in force",
                                    [CONFIG_WAITING] = "waiting",
                                    [CONFIG_UNCHECKED] = "unchecked",
                                    [CONFIG_REFUSED] = "refused",
                                    [CONFIG_MISSING] = "missing"};

void config_state_done(struct config_state *s)
{
    free(STEAL(s->reason));
    free(STEAL(s->reason_before));
}

void config_state_set(struct config_state *s, enum config_standing standing, const char *reason)
{
    char *copy = reason ? xstrdup(reason) : NULL;

    if (standing == CONFIG_MISSING) {
        if (s->standing != CONFIG_MISSING) {
            s->before = s->standing;
            s->reason_before = STEAL(s->reason);
        }
    } else {
        free(STEAL(s->reason_before));
    }
    if (s->standing != standing || s->since_ns == 0)
        s->since_ns = clock_now_ns();
    free(s->reason);
    s->reason = copy;
    s->standing = standing;
}

void config_state_found(struct config_state *s)
{
    if (s->standing != CONFIG_MISSING)
        return;
    CLEANUP(free_ptr) char *reason = STEAL(s->reason_before);
    config_state_set(s, s->before, reason);
}

void config_state_say(const struct config_state *s, struct buf *out)
{
    if (s->standing == CONFIG_REFUSED)
        buf_printf(out, "the newest configuration is refused, the one before it serves: %s\n", s->reason);
    else if (s->standing == CONFIG_MISSING)
        buf_printf(out, "the configuration file cannot be read, the text read last serves: %s\n", s->reason);
}

void config_state_collect(const struct config_state *s, struct metrics *metrics)
{
    bool in_force = s->standing == CONFIG_IN_FORCE || s->standing == CONFIG_UNCHECKED;

    metric_set(metric_gauge(metrics, "haptic_config_in_force",
                            "1 when the newest text of the configuration file is in force; 0 when it waits, is refused "
                            "or cannot be read."),
               in_force);
}

static void put_string(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "null"); /* only text that is not UTF-8 ends here */
}

void config_state_describe(const struct config_state *s, const char *file, struct buf *out)
{
    put_string(out, "{\"state\":", names[s->standing]);
    if (file != NULL)
        put_string(out, ",\"file\":", file);
    if (s->reason != NULL)
        put_string(out, ",\"error\":", s->reason);
    buf_printf(out, ",\"seconds\":%lld}",
               (long long)(s->since_ns != 0 ? (clock_now_ns() - s->since_ns) / NS_PER_S : 0));
}
