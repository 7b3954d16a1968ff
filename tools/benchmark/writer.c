/* writer CLUSTER: writes objects to the API server of a test cluster, many at a time on one HTTP/2 connection. Each
 * line of stdin is a request, each line of stdout the end of one, in the order of their ends:
 *
 *   ID METHOD PATH BODY        BODY: JSON in one line, or - for none
 *      → ID STATUS BEGUN ENDED     HTTP status (0: none); CLOCK_MONOTONIC just before it was sent, and of the answer
 *
 * At most 64 requests are under way; further lines wait in the pipe. What was refused is told on stderr. Ends with
 * stdin.
 *
 * How it works: poll on libcurl's sockets and on stdin; free handles are kept on a stack. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "http.h"

#define MAX_UNDER_WAY 64
#define MAX_LINE 65536

struct request {
    CURL *handle;
    int64_t begun_ns;
    size_t answer_length;
    char *body;
    char id[32], answer[512];
};

struct writer {
    struct api api;
    CURLM *multi;
    struct curl_slist *json, *patch;
    struct request requests[MAX_UNDER_WAY];
    struct request *idle[MAX_UNDER_WAY];
    size_t idle_count, have;
    char input[2 * MAX_LINE];
};

static size_t keep_answer(char *data, size_t size, size_t count, void *ctx)
{
    struct request *r = ctx;
    size_t room = sizeof(r->answer) - 1 - r->answer_length, length = size * count < room ? size * count : room;

    memcpy(r->answer + r->answer_length, data, length);
    r->answer_length += length;
    return size * count;
}

static void begin(struct writer *w, char *line)
{
    char *rest = NULL, *id = strtok_r(line, " ", &rest), *method = strtok_r(NULL, " ", &rest);
    char *path = strtok_r(NULL, " ", &rest), *body = rest;

    if (id == NULL || method == NULL || path == NULL || body == NULL || *body == '\0') {
        fputs("writer: a line is \"ID METHOD PATH BODY\"\n", stderr);
        exit(2);
    }
    struct request *r = w->idle[--w->idle_count];
    snprintf(r->id, sizeof(r->id), "%s", id);
    r->answer_length = 0;
    api_set_path(&w->api, r->handle, path);
    curl_easy_setopt(r->handle, CURLOPT_CUSTOMREQUEST, method);
    if (strcmp(body, "-") == 0) {
        curl_easy_setopt(r->handle, CURLOPT_POST, 0L);
        curl_easy_setopt(r->handle, CURLOPT_HTTPGET, 1L);
    } else {
        r->body = strdup(body);
        curl_easy_setopt(r->handle, CURLOPT_POSTFIELDS, r->body);
        curl_easy_setopt(r->handle, CURLOPT_HTTPHEADER, strcmp(method, "PATCH") == 0 ? w->patch : w->json);
    }
    r->begun_ns = now_ns();
    curl_multi_add_handle(w->multi, r->handle);
}

static void end_all(struct writer *w)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(w->multi, &left)) != NULL) {
        struct request *r;
        long status = 0;
        int64_t ended_ns = now_ns();

        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &r);
        curl_easy_getinfo(r->handle, CURLINFO_RESPONSE_CODE, &status);
        if (message->data.result != CURLE_OK) {
            fprintf(stderr, "writer: %s: %s\n", r->id, curl_easy_strerror(message->data.result));
            status = 0;
        } else if (status >= 300) {
            fprintf(stderr, "writer: %s: %ld %.*s\n", r->id, status, (int)r->answer_length, r->answer);
        }
        printf("%s %ld %lld %lld\n", r->id, status, (long long)r->begun_ns, (long long)ended_ns);
        curl_multi_remove_handle(w->multi, r->handle);
        free(r->body);
        r->body = NULL;
        w->idle[w->idle_count++] = r;
    }
    fflush(stdout);
}

/* Begins the requests of the whole lines that are there, as far as there are handles. */
static void take_lines(struct writer *w)
{
    char *at = w->input, *end;

    while (w->idle_count > 0 && (end = memchr(at, '\n', w->have - (size_t)(at - w->input))) != NULL) {
        *end = '\0';
        begin(w, at);
        at = end + 1;
    }
    w->have -= (size_t)(at - w->input);
    memmove(w->input, at, w->have);
}

int main(int argc, char **argv)
{
    struct writer state = {0}, *w = &state;
    int open = 1;

    if (argc != 2) {
        fputs("usage: writer CLUSTER\n", stderr);
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    api_open(&w->api, argv[1]);
    w->multi = curl_multi_init();
    w->json = curl_slist_append(NULL, "Content-Type: application/json");
    w->patch = curl_slist_append(NULL, "Content-Type: application/merge-patch+json");
    for (size_t i = 0; i < MAX_UNDER_WAY; i++) {
        struct request *r = &w->requests[i];
        r->handle = api_handle(&w->api, "/");
        curl_easy_setopt(r->handle, CURLOPT_PRIVATE, r);
        curl_easy_setopt(r->handle, CURLOPT_WRITEFUNCTION, keep_answer);
        curl_easy_setopt(r->handle, CURLOPT_WRITEDATA, r);
        curl_easy_setopt(r->handle, CURLOPT_TIMEOUT, 30L);
        w->idle[w->idle_count++] = r;
    }
    while (open || w->have > 0 || w->idle_count < MAX_UNDER_WAY) {
        int room = open && w->idle_count > 0 && w->have < MAX_LINE;
        struct curl_waitfd input = {.fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN};
        int running;

        take_lines(w);
        curl_multi_perform(w->multi, &running);
        end_all(w);
        take_lines(w);
        curl_multi_poll(w->multi, &input, room ? 1 : 0, w->idle_count == MAX_UNDER_WAY ? 1000 : 100, NULL);
        if (room && input.revents != 0) {
            ssize_t got = read(STDIN_FILENO, w->input + w->have, sizeof(w->input) - w->have);
            if (got < 0 && errno != EINTR)
                return 1;
            open = got != 0;
            w->have += got > 0 ? (size_t)got : 0;
        }
        if (w->have >= MAX_LINE && memchr(w->input, '\n', w->have) == NULL) {
            fputs("writer: a line is too long\n", stderr);
            return 2;
        }
    }
    return 0;
}
