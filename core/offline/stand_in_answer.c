/* With trailers the length is not told in front, so that they can follow. */
#include "offline/stand_in_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

const struct stand_in_script *stand_in_script_of(const struct stand_in_script *scripts, size_t count,
                                                 const char *backend, const char *server)
{
    CLEANUP(free_ptr) char *whole = xasprintf("%s/%s", backend, server);
    const struct stand_in_script *found = NULL;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(scripts[i].where, whole) == 0)
            return &scripts[i];
        if (strcmp(scripts[i].where, backend) == 0)
            found = &scripts[i];
    }
    return found;
}

static void wait_ns(int64_t ns)
{
    struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

/* A body whose length is not told, so that trailers can follow it. */
struct streamed {
    char *bytes;
    size_t length;
};

static ssize_t read_streamed(void *ctx, uint64_t at, char *to, size_t max)
{
    const struct streamed *b = ctx;

    if (at >= b->length)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t length = b->length - (size_t)at < max ? b->length - (size_t)at : max;
    memcpy(to, b->bytes + at, length);
    return (ssize_t)length;
}

static void free_streamed(void *ctx)
{
    struct streamed *b = ctx;

    free(b->bytes);
    free(b);
}

static bool is_grpc(const struct stand_in_record *r)
{
    const char *type = stand_in_header(r, "content-type");

    return type != NULL && strncasecmp(type, "application/grpc", strlen("application/grpc")) == 0;
}

/* A message of gRPC is one byte, four of its length, and itself. */
static struct MHD_Response *make_streamed(const char *body, bool grpc)
{
    struct streamed *b = xcalloc(1, sizeof(*b));
    size_t length = strlen(body), frame = grpc ? 5 : 0;

    b->length = frame + length;
    b->bytes = xcalloc(1, b->length + 1);
    for (size_t i = 1; i < frame; i++)
        b->bytes[i] = (char)(length >> (8 * (4 - i)) & 0xff);
    memcpy(b->bytes + frame, body, length);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_streamed, b, free_streamed);
}

typedef enum MHD_Result add_line(struct MHD_Response *response, const char *name, const char *value);

static void add_lines(struct MHD_Response *response, const char *const *lines, add_line *add)
{
    for (; lines != NULL && *lines != NULL; lines++) {
        const char *colon = strchr(*lines, ':');
        CLEANUP(free_ptr) char *name = xmemdup0(*lines, (size_t)(colon - *lines));
        if (strcasecmp(name, "content-type") == 0) {
            (void)MHD_del_response_header(response, "content-type", "text/plain");
            (void)MHD_del_response_header(response, "content-type", "application/grpc");
        }
        (void)add(response, name, colon + 1 + strspn(colon + 1, " "));
    }
}

enum MHD_Result stand_in_answer(struct MHD_Connection *connection, const struct stand_in_server *server,
                                const struct stand_in_script *script, const struct stand_in_record *r)
{
    static const char *const fine[] = {"grpc-status: 0", NULL};
    CLEANUP(free_ptr)
    char *usual = xasprintf("%s/%s %s %s\n", server->backend, server->name, r->method, r->target);
    const char *body = script && script->body ? script->body : usual;
    bool grpc = is_grpc(r);
    const char *const *trailers = script && script->trailers ? script->trailers : grpc ? fine : NULL;

    if (script != NULL && script->delay_ns > 0)
        wait_ns(script->delay_ns);
    if (script != NULL && script->reset)
        return MHD_NO;
    struct MHD_Response *response = trailers != NULL
                                        ? make_streamed(body, grpc)
                                        : MHD_create_response_from_buffer(strlen(body), (void *)(uintptr_t)body,
                                                                          MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, "content-type", grpc ? "application/grpc" : "text/plain");
    add_lines(response, script ? script->headers : NULL, MHD_add_response_header);
    add_lines(response, trailers, MHD_add_response_footer);
    enum MHD_Result result = MHD_queue_response(connection, script && script->status ? script->status : 200, response);
    MHD_destroy_response(response);
    return result;
}
