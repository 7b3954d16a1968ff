/* A report is written at the end of a process, so they may be read one after the other. */
#include "offline/test_jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include "data/json.h"

#define REPORT_MAX ((size_t)256 << 20)

const char test_jobs_share[] = "SHARE";

struct job {
    pid_t pid; /* 0: none */
    int fd;    /* its standard output; -1 */
};

static int start(struct job *job, const char *executable, const char *const *arguments, const char *share,
                 struct err *err)
{
    VEC(char *) argv = {0};
    posix_spawn_file_actions_t actions;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_sys(err, errno, "pipe");
    for (size_t i = 0; arguments[i] != NULL; i++)
        vec_push(&argv, (char *)(uintptr_t)(arguments[i] == test_jobs_share ? share : arguments[i]));
    vec_push(&argv, (char *)NULL);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int result = posix_spawn(&job->pid, executable, &actions, NULL, argv.items, environ);
    posix_spawn_file_actions_destroy(&actions);
    vec_done(&argv);
    close(ends[1]);
    job->fd = ends[0];
    if (result == 0)
        return 0;
    job->pid = 0;
    return err_set_sys(err, result, "starting %s", executable);
}

static int read_report(struct job *job, struct buf *out, struct err *err)
{
    char chunk[65536];
    ssize_t n;

    while ((n = read(job->fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, errno, "reading a report");
        if (buf_try_add(out, chunk, (size_t)n, err) < 0)
            return err_wrap(err, "a report");
    }
    return 0;
}

static int finish(struct job *job, unsigned number,
                  int (*report)(void *ctx, unsigned job, yyjson_val *document, struct err *err), void *ctx,
                  struct err *err)
{
    CLEANUP(buf_done) struct buf text = {.max = REPORT_MAX};
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err why;
    int status;

    if (read_report(job, &text, err) < 0)
        return -1;
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    job->pid = 0;
    if (json_parse(buf_str(&text), text.length, REPORT_MAX, &doc, &why) < 0)
        return err_set(err, ERR_INVALID, "one of the processes ended without a report");
    return report(ctx, number, yyjson_doc_get_root(doc), err);
}

int test_jobs_run(const char *executable, const char *const *arguments, unsigned jobs,
                  int (*report)(void *ctx, unsigned job, yyjson_val *document, struct err *err), void *ctx,
                  struct err *err)
{
    struct job list[TEST_JOBS_MAX];
    unsigned started = 0;
    int result = 0;

    for (unsigned i = 0; i < jobs && i < TEST_JOBS_MAX && result == 0; i++) {
        CLEANUP(free_ptr) char *share = xasprintf("%u/%u", i + 1, jobs);
        list[i] = (struct job){.fd = -1};
        result = start(&list[i], executable, arguments, share, err);
        started++;
    }
    for (unsigned i = 0; i < started && result == 0; i++)
        result = finish(&list[i], i, report, ctx, err);
    for (unsigned i = 0; i < started; i++) {
        if (list[i].pid > 0) {
            kill(list[i].pid, SIGTERM);
            while (waitpid(list[i].pid, NULL, 0) < 0 && errno == EINTR)
                continue;
        }
        if (list[i].fd >= 0)
            close(list[i].fd);
    }
    return result;
}
