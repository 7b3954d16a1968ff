/* runtime_fuzz.c — what HAProxy sends back: framing of the command line's answers, `show proc`, versions, help,
 * messages of a check.
 *
 * The first byte chooses. For the framing, the second says how the rest is cut into pieces; a peer on a socket of this
 * loop sends it.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "haproxy/check.h"
#include "haproxy/master.h"
#include "haproxy/runtime.h"
#include "haproxy/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    uv_loop_t loop;
    uv_pipe_t server, client;
    char path[64];
    const uint8_t *bytes;
    size_t length, piece;
    bool begun, open;
} peer;

static void server_remove(void)
{
    unlink(peer.path);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char sink[4096];
    (void)handle, (void)suggested;
    *ret = uv_buf_init(sink, sizeof(sink));
}

static void client_closed(uv_handle_t *handle)
{
    (void)handle;
    peer.open = false;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *chunk)
{
    (void)chunk;
    if (count > 0 && !peer.begun) {
        peer.begun = true;
        /* In pieces, with the reader's turn between them. */
        for (size_t sent = 0; sent < peer.length;) {
            size_t n = peer.length - sent < peer.piece ? peer.length - sent : peer.piece;
            uv_buf_t piece = uv_buf_init((char *)(uintptr_t)(peer.bytes + sent), (unsigned)n);
            if (uv_try_write(stream, &piece, 1) <= 0)
                break;
            sent += n;
        }
        count = UV_EOF;
    }
    if (count < 0 && !uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, client_closed);
}

static void on_connection(uv_stream_t *server, int status)
{
    assert(status == 0 && !peer.open);
    uv_pipe_init(server->loop, &peer.client, 0);
    peer.open = true;
    if (uv_accept(server, (uv_stream_t *)&peer.client) == 0)
        uv_read_start((uv_stream_t *)&peer.client, on_alloc, on_read);
}

static void on_done(void *ctx, const struct err *err, const struct runtime_answer *answers, size_t count)
{
    bool *told = ctx;
    assert(!*told && count <= 3 && (err || count == 3));
    for (size_t i = 0; i < count; i++) {
        assert(strlen(answers[i].text) <= answers[i].length && answers[i].text[answers[i].length] == '\0');
        assert(answers[i].length == 0 ||
               (answers[i].text[0] != '\n' && answers[i].text[answers[i].length - 1] != '\n'));
    }
    *told = true;
}

static void fuzz_framing(const uint8_t *data, size_t size)
{
    static const char *const commands[] = {"show map", "add map m <<\na b\nc d\n", "show version"};
    if (!peer.path[0]) {
        snprintf(peer.path, sizeof(peer.path), "/tmp/haptic-fuzz-%d.sock", (int)getpid());
        server_remove();
        uv_loop_init(&peer.loop);
        uv_pipe_init(&peer.loop, &peer.server, 0);
        signal(SIGPIPE, SIG_IGN);
        if (uv_pipe_bind(&peer.server, peer.path) < 0 || uv_listen((uv_stream_t *)&peer.server, 4, on_connection) < 0)
            abort();
        atexit(server_remove);
    }
    if (size == 0 || size > 65536)
        return;
    peer.begun = false;
    peer.piece = data[0] % 16 ? data[0] % 16 : 65536;
    peer.bytes = data + 1;
    peer.length = size - 1;
    bool told = false;
    /* The peer always ends. A call that never ends is a fault, which a short time limit would hide. */
    runtime_run(&peer.loop, peer.path, commands, 3, 3600 * NS_PER_S, 20000, on_done, &told);
    while (!told || peer.open)
        uv_run(&peer.loop, UV_RUN_ONCE);
    uv_run(&peer.loop, UV_RUN_NOWAIT); /* what was closed goes */
}

/* Every string is read, so that one that does not end inside its memory is found. */
static void messages_check(const struct check_message *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct check_message *m = &items[i];
        assert(strchr(m->text, '\n') == NULL);
        assert((m->name == NULL) == (m->section == NULL));
        assert(!m->name || !strchr(m->name, '\''));
        assert(!m->server || !strchr(m->server, '\''));
        assert(!m->file || m->file[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 4 == 0) {
        fuzz_framing(data + 1, size - 1);
        return 0;
    }
    char *text = xmemdup0((const char *)data + 1, size - 1);
    if (data[0] % 4 == 1) {
        struct master_state state;
        if (master_state_parse(text, &state, NULL) == 0) {
            assert(state.master.pid > 0 && (state.workers.length > 0 || state.old_workers.length == 0));
            master_state_done(&state);
        }
    } else if (data[0] % 4 == 2) {
        struct haproxy_caps caps;
        if (haproxy_version_parse(text, &caps, NULL) == 0) {
            assert(caps.major >= 0 && caps.minor >= 0 && caps.patch >= 0 && caps.text[0]);
            haproxy_caps_from_help(&caps, text);
        }
    } else {
        struct check_messages m;
        check_messages_parse(text, "/run/haptic", &m);
        messages_check(m.alerts.items, m.alerts.length);
        messages_check(m.warnings.items, m.warnings.length);
        check_messages_done(&m);
    }
    free(text);
    return 0;
}
