/* Which HAProxy runs, and is it the one that checks? */
#include <stdio.h>
#include <string.h>

#include "agent/agent_state.h"

/* A HAProxy that was kept over an update runs what another version has checked. */
static void note_version(struct agent *a)
{
    bool other = a->config.version && strcmp(a->config.version, a->caps.text) != 0;
    metric_set(metric_gauge(a->metrics, "haptic_haproxy_version_differs",
                            "1 when HAProxy runs in another version than the one that checks configurations."),
               other);
    if (!other) {
        a->other_version[0] = '\0';
        return;
    }
    if (strcmp(a->other_version, a->caps.text) == 0)
        return;
    snprintf(a->other_version, sizeof(a->other_version), "%s", a->caps.text);
    log_warn("HAProxy runs in another version than the one that checks configurations: stop this HAProxy so that the "
             "right one is started, or set --haproxy-binary to its executable",
             "running", a->caps.text, "checks", a->config.version, "binary", a->config.binary);
}

void versions_read(struct agent *a, const char *show_version, const char *help)
{
    if (haproxy_version_parse(show_version, &a->caps, NULL))
        return;
    haproxy_caps_from_help(&a->caps, help);
    a->caps_known = true;
    note_version(a);
}
