/* haptic render: what the templates make of the objects, as files or on standard output. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmd/cmd.h"
#include "cmd/workbench_options.h"
#include "data/json.h"
#include "offline/fill.h"
#include "offline/timings.h"

enum { RENDER_DIRECTORY = WORKBENCH_OWN, RENDER_TYPE, RENDER_FILL, RENDER_TIMINGS };

static const struct option_row rows[] = {
    WORKBENCH_ROW_CONFIG,
    {RENDER_DIRECTORY, 'd', "directory", "DIR", NULL, NULL,
     "write all files there, and remove others from its maps, files and certs folders. It must be empty, or have been "
     "written by this command"},
    {RENDER_TYPE, 't', "type", "TYPE", NULL, NULL,
     "without -d: print haproxy.cfg only (cfg), or maps, certs, files; all: everything. status: the status that "
     "templates want; objects: the objects that templates want; events: the Events for owners"},
    {RENDER_FILL, 0, "fill-missing", NULL, NULL, NULL,
     "invent missing Services, endpoints and certificates that Ingresses name, and list them"},
    {RENDER_TIMINGS, 0, "timings", NULL, NULL, NULL, "print on standard error what the templates' fragments cost"},
    WORKBENCH_ROW_SET,
    {WORKBENCH_HAPROXY, 0, "haproxy-binary", "FILE", "HAPROXY_BINARY", NULL,
     "the HAProxy to render for (haproxy in PATH)"},
    WORKBENCH_ROW_VERSION,
    {WORKBENCH_OUTPUT, 'o', "output", "FORMAT", NULL, "text",
     "text: files on standard output, findings on standard error; json: one document with both; junit, sarif, github: "
     "the findings in that form, on standard error"},
    WORKBENCH_ROW_STRICT,
    WORKBENCH_ROW_HELP,
};

static const struct option_table table = {
    .command = "render",
    .arguments = "[SOURCE…]",
    .text = "Renders the configuration from manifests, without a cluster. SOURCE: a folder, a file, or - for standard "
            "input. Handles stand for\nthe values of Secrets. The same input gives the same bytes.\n\n"
            "  haptic render examples/manifests                       haproxy.cfg on standard output\n"
            "  haptic render -c my.yaml -d out examples/manifests     all files, for diff -r\n"
            "  kubectl get ing,svc,endpointslices -A -o yaml | haptic render -\n\n"
            "Exit status: 0 clean, 1 findings, 2 wrong usage or unreadable input.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct render {
    struct workbench_command common;
    const char *directory, *type;
    bool fills;
};

static int set(void *ctx, int id, const char *value, struct err *err)
{
    static const char *const types[] = {"cfg", "maps", "certs", "files", "all", "status", "objects", "events"};
    struct render *r = ctx;

    switch (id) {
    case RENDER_DIRECTORY:
        r->directory = value;
        return 0;
    case RENDER_FILL:
        r->fills = true;
        return 0;
    case RENDER_TIMINGS:
        r->common.options.timings = true;
        return 0;
    case RENDER_TYPE:
        break;
    default:
        return workbench_command_set(&r->common, id, value, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(value, types[i]) == 0) {
            r->type = types[i];
            return 0;
        }
    return err_set(err, ERR_INVALID,
                   "there is no type \"%.32s\": cfg, maps, certs, files, all, status, objects or events", value);
}

/* ---- to a directory ---- */

struct writing {
    bool done;
    struct err err;
};

static void on_written(void *ctx, const struct disk_result *result)
{
    struct writing *w = ctx;

    w->done = true;
    if (result->err != NULL)
        w->err = *result->err;
}

/* Only an empty folder, or one that has what this command writes, is written to: its files are removed. */
static int check_directory(const char *path, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set_sys(err, errno, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a folder", path);
    if (rmdir(path) == 0) /* empty */
        return 0;
    CLEANUP(buf_done) struct buf name = {0};
    buf_printf(&name, "%s/%s", path, DISK_CONFIG);
    if (access(buf_str(&name), F_OK) < 0)
        return err_set(err, ERR_INVALID, "%s is not empty and has no %s: choose another --directory", path,
                       DISK_CONFIG);
    return 0;
}

static int write_directory(struct render *r, struct disk_files *files, struct err *err)
{
    struct writing writing = {0};

    if (check_directory(r->directory, err) < 0)
        return -1;
    struct disk *disk = disk_open(&r->common.loop, r->directory, err);
    if (disk == NULL)
        return -1;
    (void)disk_write(disk, files, true, on_written, &writing);
    while (!writing.done)
        uv_run(&r->common.loop, UV_RUN_ONCE);
    disk_free(disk);
    if (writing.err.kind != ERR_NONE) {
        *err = writing.err;
        return -1;
    }
    return 0;
}

/* ---- to standard output ---- */

static bool is_wanted(const struct render *r, const char *path)
{
    const char *type = r->type ? r->type : "cfg";

    if (strcmp(type, "all") == 0 || strcmp(type, path) == 0)
        return true;
    if (strcmp(path, DISK_CONFIG) == 0)
        return strcmp(type, "cfg") == 0;
    return strncmp(path, type, strlen(type)) == 0 && path[strlen(type)] == '/';
}

static void print_text(const struct render *r, const struct disk_files *files)
{
    bool alone = r->type == NULL || strcmp(r->type, "cfg") == 0 || strcmp(r->type, "events") == 0;

    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *f = &files->items.items[i];
        if (!is_wanted(r, f->path))
            continue;
        if (!alone)
            printf("# ==> %s <==\n", f->path);
        fwrite(f->bytes, 1, f->length, stdout);
        if (!alone && f->length > 0 && f->bytes[f->length - 1] != '\n')
            putchar('\n');
    }
}

static void print_json(struct render *r, const struct disk_files *files)
{
    CLEANUP(buf_done) struct buf out = {0}, findings = {0};
    struct err err;

    buf_puts(&out, "{\"files\":{");
    for (size_t i = 0; i < files->items.length; i++) {
        const struct disk_file *f = &files->items.items[i];
        if (r->type != NULL && !is_wanted(r, f->path))
            continue;
        if (out.data[out.length - 1] != '{')
            buf_putc(&out, ',');
        (void)!json_write_string(&out, f->path, strlen(f->path), &err);
        buf_putc(&out, ':');
        if (json_write_string(&out, f->bytes, f->length, &err) < 0)
            buf_puts(&out, "null");
    }
    findings_write(&r->common.findings, FINDING_JSON, false, "", &findings);
    buf_printf(&out, "},\"report\":%s}\n", buf_str(&findings));
    fwrite(buf_str(&out), 1, out.length, stdout);
}

/* Names the invented objects on standard error. False: they cannot be invented. */
static bool fill(struct render *r)
{
    CLEANUP(buf_done) struct buf said = {0};
    struct err err;

    if (!r->fills || r->common.workbench == NULL)
        return true;
    int result = fill_missing(r->common.workbench, &said, &err);
    for (const char *at = buf_str(&said); *at != '\0'; at += strcspn(at, "\n") + 1)
        fprintf(stderr, "invented: %.*s\n", (int)strcspn(at, "\n"), at);
    if (result < 0)
        fprintf(stderr, "haptic render: --fill-missing: %s\n", err.text);
    return result == 0;
}

static bool is_type(const struct render *r, const char *type)
{
    return r->directory == NULL && r->type != NULL && strcmp(r->type, type) == 0;
}

/* Files, or what stands in their place. */
static void gather(struct render *r, struct disk_files *files)
{
    CLEANUP(buf_done) struct buf events = {0};

    if (is_type(r, "events")) {
        workbench_events(r->common.workbench, &events);
        disk_files_add(files, "events", buf_str(&events), events.length);
    } else if (is_type(r, "status")) {
        workbench_status(r->common.workbench, files);
    } else if (is_type(r, "objects")) {
        workbench_objects(r->common.workbench, files);
    } else {
        workbench_files(r->common.workbench, files);
    }
}

static void print_timings(struct render *r)
{
    CLEANUP(timings_done) struct timings timings = {0};
    CLEANUP(buf_done) struct buf text = {0};

    if (!r->common.options.timings)
        return;
    timings_take(&timings, r->common.workbench);
    timings_put(&timings, 0, &text);
    fputs(buf_str(&text), stderr);
}

static int finish(struct render *r)
{
    CLEANUP(disk_files_done) struct disk_files files = {0};
    enum finding_format format = r->common.format;
    struct err err;

    if (!fill(r))
        return EXIT_USAGE;
    if (r->common.workbench != NULL && workbench_render(r->common.workbench)) {
        print_timings(r);
        gather(r, &files);
        if (format != FINDING_JSON && r->directory == NULL)
            print_text(r, &files);
    }
    if (format == FINDING_JSON)
        print_json(r, &files);
    if (r->directory != NULL && files.items.length > 0) {
        size_t count = files.items.length;
        if (write_directory(r, &files, &err) < 0) {
            fprintf(stderr, "haptic render: %s\n", err.text);
            return EXIT_USAGE;
        }
        fprintf(stderr, "haptic render: %zu files in %s\n", count, r->directory);
    }
    if (format == FINDING_JSON) {
        size_t errors = findings_count(&r->common.findings, r->common.strict ? FINDING_WARNING : FINDING_ERROR);
        return errors > 0 ? EXIT_FINDINGS : EXIT_CLEAN;
    }
    return workbench_command_report(&r->common, stderr);
}

int cmd_render(int argc, char **argv)
{
    struct render r = {0};
    struct err err;
    int status = EXIT_CLEAN;

    if (options_parse(&table, argc, argv, set, &r, &r.common.sources, &err) < 0) {
        fprintf(stderr, "haptic render: %s\n", err.text);
        status = EXIT_USAGE;
    } else if (r.common.help) {
        options_print_help(&table);
    } else if (workbench_command_begin(&r.common, "render", &status)) {
        status = finish(&r);
    }
    workbench_command_done(&r.common);
    return status;
}

const struct option_table *cmd_render_options(void)
{
    return &table;
}
