/* Faults of a configuration are findings, as in the commands that render it. */
#include "cmd/given_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/terminal.h"
#include "cmd/version.h"
#include "cmd/workbench_options.h"
#include "controller/config_paths.h"
#include "data/json.h"
#include "data/yaml.h"
#include "offline/template_place.h"

int text_or_json(const char *value, enum finding_format *ret_format, struct err *err)
{
    if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
        return err_set(err, ERR_INVALID, "\"%.32s\" is no format: text or json", value);
    *ret_format = strcmp(value, "json") == 0 ? FINDING_JSON : FINDING_TEXT;
    return 0;
}

void given_config_set(struct given_config *g, const char *value)
{
    char *before = g->files;

    if (value == getenv("CONFIG")) {
        g->variable = value;
        return;
    }
    g->files = config_paths_with(before, value);
    free(before);
}

static const char *given(const struct given_config *g)
{
    return g->files != NULL ? g->files : g->variable;
}

bool given_config_exists(const struct given_config *g)
{
    return given(g) != NULL;
}

static void print(struct findings *findings, enum finding_format format, FILE *to)
{
    CLEANUP(buf_done) struct buf text = {0};
    bool colour = terminal_has_colour(to);

    findings_write(findings, format, colour, HAPTIC_VERSION, &text);
    fwrite(buf_str(&text), 1, text.length, to);
}

struct config *given_config_load(const struct given_config *g, const char *command, enum finding_format format,
                                 int *ret_status)
{
    CLEANUP(config_cleanup) struct config *config = NULL;
    CLEANUP(findings_done) struct findings findings = {0};
    struct err err;

    *ret_status = EXIT_CLEAN;
    if (given(g) == NULL)
        return config_new_default();
    if (config_paths_check(given(g), &err) < 0) {
        fprintf(stderr, "haptic %s: %s\n", command, err.text);
        *ret_status = EXIT_USAGE;
        return NULL;
    }
    if (config_load(given(g), &config, &err) < 0) {
        place_finding(&findings, FINDING_CONFIG, err.text);
        print(&findings, format, format == FINDING_TEXT ? stderr : stdout);
        *ret_status = EXIT_FINDINGS;
        return NULL;
    }
    for (size_t i = 0; i < config->warnings.length; i++)
        place_finding(&findings, FINDING_FIELD_IGNORED, config->warnings.items[i]);
    if (findings.items.length > 0)
        print(&findings, FINDING_TEXT, stderr);
    return STEAL(config);
}

void given_config_done(struct given_config *g)
{
    free(g->files);
    g->files = NULL;
}

static int put_list(const char *yaml, size_t length, struct buf *out, struct err *err)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    const char *before = "\n";

    if (yaml_parse(yaml, length, CONFIG_FILE_MAX, &docs, NULL, err) < 0)
        return -1;
    buf_puts(out, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[");
    for (size_t i = 0; i < docs.length; i++) {
        yyjson_val *root = yyjson_doc_get_root(docs.items[i].json);
        if (!yyjson_is_obj(root))
            continue;
        buf_puts(out, before);
        before = ",\n";
        if (json_write(out, root, NULL, err) < 0)
            return -1;
    }
    buf_puts(out, "\n]}\n");
    return 0;
}

int print_manifests(const char *command, const char *yaml, size_t length, enum finding_format format)
{
    CLEANUP(buf_done) struct buf list = {0};
    struct err err;

    if (format == FINDING_JSON && put_list(yaml, length, &list, &err) < 0) {
        fprintf(stderr, "haptic %s: %s\n", command, err.text);
        return EXIT_USAGE;
    }
    if (format == FINDING_JSON)
        fwrite(buf_str(&list), 1, list.length, stdout);
    else
        fwrite(yaml, 1, length, stdout);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_CLEAN;
    fprintf(stderr, "haptic %s: standard output cannot be written\n", command);
    return EXIT_USAGE;
}
