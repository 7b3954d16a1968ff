/* Finds out which HAProxy runs, and whether it is the version that checks configurations. A supervised HAProxy that an
 * earlier controller has left running is reloaded first, which starts the program of this controller
 * (haproxy/process_program). An HAProxy that is attached, or that was started in another way, stays as it is. Then each
 * reload is also the check: a text that HAProxy refuses does not come into force, and haproxy.cfg is restored.
 */
#include <stdio.h>
#include <string.h>

#include "agent/agent_state.h"

static void warn(struct agent *a)
{
    if (strcmp(a->other_version, a->caps.text) == 0)
        return;
    snprintf(a->other_version, sizeof(a->other_version), "%s", a->caps.text);
    log_warn(a->process ? "HAProxy runs in another version than the one that checks configurations: stop this HAProxy "
                          "so that the right one is started, or set --haproxy-binary to its executable"
                        : "HAProxy runs in another version than the one that checks configurations: set "
                          "--haproxy-binary to an executable of its version",
             "running", a->caps.text, "checks", a->config.version, "binary", a->config.binary);
}

static bool note_version(struct agent *a)
{
    bool other = a->config.version && strcmp(a->config.version, a->caps.text) != 0;

    metric_set(metric_gauge(a->metrics, "haptic_haproxy_version_differs",
                            "1 when HAProxy runs in another version than the one that checks configurations."),
               other);
    if (!other) {
        a->other_version[0] = '\0';
        a->version_tried = false;
        return false;
    }
    if (a->process && !a->version_tried) {
        a->version_tried = true;
        return true;
    }
    warn(a);
    return false;
}

bool versions_read(struct agent *a, const char *show_version, const char *help)
{
    if (haproxy_version_parse(show_version, &a->caps, NULL))
        return false;
    haproxy_caps_from_help(&a->caps, help);
    a->caps_known = true;
    return note_version(a);
}
