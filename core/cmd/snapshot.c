/* haptic snapshot: what a configuration watches, as files for the offline commands. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cmd/cluster.h"
#include "cmd/cmd.h"
#include "offline/snapshot.h"

enum { SNAPSHOT_CONFIG, SNAPSHOT_RESOURCE, SNAPSHOT_DIRECTORY, SNAPSHOT_HELP };

static const struct option_row rows[] = {
    {SNAPSHOT_CONFIG, 'c', "config", "FILE|DIR", NULL, NULL,
     "the configuration whose kinds are read. Without one: the kinds of the built-in libraries"},
    {SNAPSHOT_RESOURCE, 0, "config-resource", "NAMESPACE/NAME", NULL, NULL,
     "the same as a resource HAProxyTemplateConfig of the cluster"},
    {SNAPSHOT_DIRECTORY, 'd', "directory", "DIR", NULL, NULL,
     "write one file for each kind there. It must be empty, or have been written by this command"},
    CLUSTER_ROWS,
    {SNAPSHOT_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "snapshot",
    .arguments = NULL,
    .text = "Reads all objects that a configuration watches from a cluster. Values of Secrets are replaced by working "
            "fakes: certificates with the\nsame names and dates, hashes of the password \"haptic\", other texts of the "
            "same length. Every offline command takes the result as SOURCE.\n\n"
            "  haptic snapshot -d snap                      one file for each kind\n"
            "  haptic snapshot -c my.yaml > snap.json       everything in one file\n"
            "  haptic validate -c new.yaml snap\n\n"
            "Exit status: 0 done, 1 the API server refuses or does not answer, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct snapshot_command {
    struct cluster cluster;
    const char *config, *resource, *directory;
    bool help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct snapshot_command *c = ctx;

    (void)err;
    if (cluster_set(&c->cluster, id, value))
        return 0;
    switch (id) {
    case SNAPSHOT_CONFIG:
        c->config = value;
        return 0;
    case SNAPSHOT_RESOURCE:
        c->resource = value;
        return 0;
    case SNAPSHOT_DIRECTORY:
        c->directory = value;
        return 0;
    default:
        c->help = true;
        return 0;
    }
}

static int put_out(const struct snapshot_command *c, const struct snapshot *s, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {0};

    if (c->directory != NULL)
        return snapshot_write_folder(s, c->directory, err);
    if (snapshot_write(s, &text, err) < 0)
        return -1;
    fwrite(buf_str(&text), 1, text.length, stdout);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : err_set(err, ERR_IO, "standard output cannot be written");
}

static int take(struct snapshot_command *c)
{
    CLEANUP(config_cleanup) struct config *config = NULL;
    CLEANUP(buf_done) struct buf object = {0};
    struct snapshot s;
    struct err err;

    if (cluster_open(&c->cluster, &err) < 0 ||
        cluster_config(&c->cluster, c->config, c->resource, &config, &object, &err) < 0) {
        fprintf(stderr, "haptic snapshot: %s\n", err.text);
        return 2;
    }
    if (snapshot_take(&c->cluster.loop, c->cluster.client, config, false, &s, &err) < 0) {
        fprintf(stderr, "haptic snapshot: %s\n", err.text);
        return 1;
    }
    int status = 0;
    if (put_out(c, &s, &err) < 0) {
        fprintf(stderr, "haptic snapshot: %s\n", err.text);
        status = 2;
    } else if (c->directory != NULL) {
        fprintf(stderr, "haptic snapshot: %zu objects in %s\n", snapshot_objects(&s), c->directory);
    }
    for (size_t i = 0; i < config->kinds.length; i++)
        if (config_is_fetched(&config->kinds.items[i]))
            fprintf(stderr, "haptic snapshot: contents of URLs are not in it: those of a controller are in its "
                            "/debug/fetched, and belong beside it\n");
    for (size_t i = 0; i < s.absent.length; i++)
        fprintf(stderr, "haptic snapshot: %s: the cluster does not have this kind\n", s.absent.items[i]);
    snapshot_done(&s);
    return status;
}

int cmd_snapshot(int argc, char **argv)
{
    struct option_arguments arguments = {0};
    struct snapshot_command c = {0};
    struct err err;
    int status;

    log_set_fd(STDERR_FILENO);
    log_set_level(LOG_ERROR);
    if (options_parse(&table, argc, argv, set, &c, &arguments, &err) < 0) {
        fprintf(stderr, "haptic snapshot: %s\n", err.text);
        status = 2;
    } else if (c.help) {
        options_print_help(&table);
        status = 0;
    } else if (c.config != NULL && c.resource != NULL) {
        fprintf(stderr, "haptic snapshot: --config or --config-resource, not both\n");
        status = 2;
    } else {
        status = take(&c);
    }
    cluster_close(&c.cluster);
    vec_done(&arguments.items);
    return status;
}

const struct option_table *cmd_snapshot_options(void)
{
    return &table;
}
