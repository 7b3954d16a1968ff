/* The version is the first text of the form digits.digits. Features that a build may lack, or that were backported, are
 * then read from the list of commands of the running process. */
#include "haproxy/version.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool at_least(const struct haproxy_caps *caps, int major, int minor)
{
    return caps->major > major || (caps->major == major && caps->minor >= minor);
}

/* A number of at most four digits; -1 for other texts. */
static int number(const char **p)
{
    int value = 0;
    const char *start = *p;
    while (isdigit((unsigned char)**p) && *p - start < 4)
        value = value * 10 + (*(*p)++ - '0');
    return *p == start ? -1 : value;
}

/* True for a word in the list of features of `haproxy -vv`. */
static bool has_feature(const char *text, const char *feature)
{
    size_t length = strlen(feature);
    for (const char *at = text; (at = strstr(at, feature)); at += length)
        if (at > text && at[-1] == ' ' && (at[length] == ' ' || at[length] == '\n' || !at[length]))
            return true;
    return false;
}

int haproxy_version_parse(const char *text, struct haproxy_caps *ret_caps, struct err *err)
{
    struct haproxy_caps caps = {0};
    const char *p = text + strcspn(text, "0123456789\n");
    const char *start = p;
    caps.major = number(&p);
    caps.minor = caps.major >= 0 && *p == '.' ? (p++, number(&p)) : -1;
    if (caps.minor < 0)
        return err_set(err, ERR_INVALID, "no HAProxy version in \"%.60s\"", text);
    /* Development versions have no third number: "3.5-dev1". */
    caps.patch = *p == '.' ? (p++, number(&p)) : 0;
    if (caps.patch < 0)
        caps.patch = 0;
    size_t length = strcspn(start, " \t\r\n");
    if (length >= sizeof(caps.text))
        length = sizeof(caps.text) - 1;
    memcpy(caps.text, start, length);
    caps.text[length] = '\0';

    caps.dynamic_servers = at_least(&caps, 2, 6);
    caps.server_removable = at_least(&caps, 3, 0);
    caps.dynamic_backends = at_least(&caps, 3, 4);
    caps.reload_reports = at_least(&caps, 2, 7);
    caps.authorities_in_parts = at_least(&caps, 2, 7);
    caps.authorities_end_sessions = at_least(&caps, 3, 2);
    caps.quic = has_feature(text, "+QUIC");
    caps.quic_limited = caps.quic && has_feature(text, "+QUIC_OPENSSL_COMPAT");
    caps.lua = has_feature(text, "+LUA");
    caps.acme = at_least(&caps, 3, 4) && has_feature(text, "+ACME");
    *ret_caps = caps;
    return 0;
}

/* True when a line of the help begins with this command. */
static bool has_command(const char *help_text, const char *command)
{
    size_t length = strlen(command);
    for (const char *line = help_text; *line;) {
        const char *p = line + strspn(line, " ");
        if (strncmp(p, command, length) == 0 && (p[length] == ' ' || p[length] == ':'))
            return true;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return false;
}

void haproxy_caps_from_help(struct haproxy_caps *caps, const char *help_text)
{
    caps->dynamic_servers = has_command(help_text, "add server") && has_command(help_text, "del server");
    caps->server_removable = has_command(help_text, "wait");
    caps->dynamic_backends = has_command(help_text, "add backend") && has_command(help_text, "publish backend") &&
                             has_command(help_text, "del backend");
    caps->authorities_in_parts = has_command(help_text, "add ssl ca-file");
}
