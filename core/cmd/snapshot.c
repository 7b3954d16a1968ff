/* haptic snapshot: what a configuration watches, as files for the offline commands. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cmd/cluster.h"
#include "cmd/cmd.h"
#include "cmd/given_config.h"
#include "cmd/workbench_options.h"
#include "data/json.h"
#include "offline/snapshot.h"

enum { SNAPSHOT_CONFIG, SNAPSHOT_RESOURCE, SNAPSHOT_DIRECTORY, SNAPSHOT_OUTPUT, SNAPSHOT_HELP };

static const struct option_row rows[] = {
    {SNAPSHOT_CONFIG, 'c', "config", "FILE|DIR", NULL, NULL,
     "the configuration whose kinds are read; a folder of them; may be repeated: later values replace earlier ones. "
     "Without one: the kinds of the built-in libraries"},
    {SNAPSHOT_RESOURCE, 0, "config-resource", "NAMESPACE/NAME", NULL, NULL,
     "the same as a resource HAProxyTemplateConfig of the cluster"},
    {SNAPSHOT_DIRECTORY, 'd', "directory", "DIR", NULL, NULL,
     "write one file for each kind there. It must be empty, or have been written by this command"},
    CLUSTER_ROWS,
    ROW_TEXT_OR_JSON(SNAPSHOT_OUTPUT,
                     "with -d: what was taken, in a sentence or as JSON; without: the snapshot is JSON"),
    {SNAPSHOT_HELP, 'h', "help", NULL, NULL, NULL, "this text"},
};

static const struct option_table table = {
    .command = "snapshot",
    .arguments = NULL,
    .text =
        "Reads all objects that a configuration watches from a cluster. Values of Secrets are replaced by working "
        "fakes: certificates with the\nsame names and dates, hashes of the password \"haptic\", other texts of the "
        "same length. Every offline command takes the result as SOURCE.\n\n"
        "  haptic snapshot -d snap                      one file for each kind\n"
        "  haptic snapshot -c my.yaml > snap.json       everything in one file\n"
        "  haptic validate -c new.yaml snap\n\n"
        "Exit status: 0 done, 1 the API server refuses or does not answer, or the configuration is wrong, 2 wrong usage "
        "or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct snapshot_command {
    struct cluster cluster;
    struct given_config config;
    const char *resource, *directory;
    enum finding_format format;
    bool help;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    struct snapshot_command *c = ctx;

    if (cluster_set(&c->cluster, id, value))
        return 0;
    switch (id) {
    case SNAPSHOT_CONFIG:
        given_config_set(&c->config, value);
        return 0;
    case SNAPSHOT_OUTPUT:
        return text_or_json(value, &c->format, err);
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

static bool is_fetching(const struct config *config)
{
    for (size_t i = 0; i < config->kinds.length; i++)
        if (config_is_fetched(&config->kinds.items[i]))
            return true;
    return false;
}

static void report_text(const struct snapshot_command *c, const struct snapshot *s, bool is_fetching)
{
    if (c->directory != NULL)
        fprintf(stderr, "haptic snapshot: %zu objects in %s\n", snapshot_objects(s), c->directory);
    if (is_fetching)
        fprintf(stderr, "haptic snapshot: contents of URLs are not in it: those of a controller are in its "
                        "/debug/fetched, and belong beside it\n");
    for (size_t i = 0; i < s->absent.length; i++)
        fprintf(stderr, "haptic snapshot: %s: the cluster does not have this kind\n", s->absent.items[i]);
}

/* Names of kinds are words. */
static void report_json(const struct snapshot_command *c, const struct snapshot *s, bool is_fetching)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct err err;

    buf_puts(&text, "{\"directory\":");
    if (json_write_string(&text, c->directory, strlen(c->directory), &err) < 0)
        buf_puts(&text, "\"\"");
    buf_printf(&text, ",\"objects\":%zu,\"fetches\":%s,\"absent\":[", snapshot_objects(s),
               is_fetching ? "true" : "false");
    for (size_t i = 0; i < s->absent.length; i++)
        buf_printf(&text, "%s\"%s\"", i > 0 ? "," : "", s->absent.items[i]);
    printf("%s]}\n", buf_str(&text));
}

/* The configuration of a file or a resource; NULL: it was said why not. */
static struct config *find_config(struct snapshot_command *c, int *ret_status)
{
    CLEANUP(buf_done) struct buf object = {0};
    struct config *config = NULL;
    struct err err;

    if (c->resource == NULL && (config = given_config_load(&c->config, "snapshot", c->format, ret_status)) == NULL)
        return NULL;
    if (cluster_open(&c->cluster, &err) == 0 &&
        (config != NULL || cluster_config(&c->cluster, c->resource, &config, &object, &err) == 0))
        return config;
    fprintf(stderr, "haptic snapshot: %s\n", err.text);
    *ret_status = EXIT_USAGE;
    return config_free(config);
}

static int take(struct snapshot_command *c)
{
    struct snapshot s;
    struct err err;
    int status = EXIT_CLEAN;
    CLEANUP(config_cleanup) struct config *config = find_config(c, &status);

    if (config == NULL)
        return status;
    if (snapshot_take(&c->cluster.loop, c->cluster.client, config, false, &s, &err) < 0) {
        fprintf(stderr, "haptic snapshot: %s\n", err.text);
        return EXIT_FINDINGS;
    }
    if (put_out(c, &s, &err) < 0) {
        fprintf(stderr, "haptic snapshot: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (c->format == FINDING_JSON && c->directory != NULL) {
        report_json(c, &s, is_fetching(config));
    } else {
        report_text(c, &s, is_fetching(config));
    }
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
    } else if (given_config_exists(&c.config) && c.resource != NULL) {
        fprintf(stderr, "haptic snapshot: --config or --config-resource, not both\n");
        status = 2;
    } else {
        status = take(&c);
    }
    cluster_close(&c.cluster);
    given_config_done(&c.config);
    vec_done(&arguments.items);
    return status;
}

const struct option_table *cmd_snapshot_options(void)
{
    return &table;
}
