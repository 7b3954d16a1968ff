/* renderer.h — the jailed process that runs the templates, seen from the core.
 * Thread:  loop thread only.
 * Owns:    the child process, its socket, what is queued for it.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  calls never block and never fail for the child's sake: a dead, stuck or oversized child is killed, reported
 *          through events->died, started anew and given the whole store again.
 *
 * The renderer listens to the store by itself. renderer_render() asks for the newest state; at most one render is in
 * flight, and a request while one is means one more afterwards. During a render `fragment`, `gone` and `failed` arrive
 * for exactly the fragments whose output may have changed, then `rendered` once. Where the work of some namespaces
 * would make others wait, it comes in several parts: .unfinished is set in all but the last. After a restart every
 * fragment arrives again (`rendered` then has .complete set: fragments not seen since the restart no longer exist).
 */
#ifndef HAPTIC_ENGINE_RENDERER_H
#define HAPTIC_ENGINE_RENDERER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"
#include "engine/contribution.h"
#include "store/store.h"

struct renderer;

struct renderer_limits {
    int64_t deadline_ns;   /* of one render; 0: 10 s. The first after a start gets ten times as much */
    size_t memory_bytes;   /* RLIMIT_AS of the child; 0: 1 GiB */
    size_t output_bytes;   /* of all contributions of one render; 0: 256 MiB */
    size_t fragment_bytes; /* of one fragment's contributions; 0: 4 MiB */
    size_t garbage_bytes;  /* of the first render, before it is collected; 0: 12 MiB. The memory stays the process's */
    int niceness;          /* by how much it gives way to others more than the core does */
    /* For a command: the first program is in force only when it has rendered, also when it has loaded before a
     * rendering is asked for. Its output comes as it is made, since nothing is in force that it could spoil. `replaced`
     * is not called for it. */
    bool is_command;
};

struct fragment_failure {
    const char *id; /* the fragment; "" when the program itself failed (a script that does not compile) */
    const char *template_name;
    const char *owner_kind, *owner_id;
    int64_t owner_created_s;
    const char *message; /* "ingress.lua:12: ... (ingresses shop/web)" */
};

/* Fragments of a namespace that have to wait, so that others are not harmed. */
struct render_held {
    const char *namespace_name;
    uint64_t by_size; /* its share of all output is used up */
    uint64_t by_time; /* it rests after one that took long, or ended a renderer */
};

struct render_stats {
    uint64_t request; /* number of the renderer_render() this answers */
    bool complete;    /* all fragments that exist were reported (first render after a start or a new program) */
    bool unfinished;  /* cut, so that others are heard: the rest follows by itself, and another `rendered` */
    const struct render_held *held; /* during the event */
    size_t held_count;
    uint64_t fragments_run; /* fragments executed */
    uint64_t fragments_total;
    int64_t duration_ns; /* inside the child */
    uint64_t heap_bytes; /* Lua heap */
};

struct renderer_death {
    /* "deadline", "memory", "crash: SIGSEGV", "seccomp: SIGSYS", "protocol: …", "setup: …", "engine: …", "exit 1" */
    const char *reason;
    /* What ran at that moment; "" where nothing did. The fragment is skipped after the restart until its owner
     * changes. */
    const char *fragment_id, *template_name, *owner_kind, *owner_id;
    /* "ingress.lua:12": the line that ran when the deadline passed; "" where it is not known. */
    const char *place;
    /* It ran a new program that is being tried: what is in force is not touched. The fragment comes as a failure when
     * the new program has rendered. */
    bool is_trial;
};

struct renderer_events {
    void (*fragment)(void *ctx, struct fragment *f); /* take a reference to keep it */
    void (*gone)(void *ctx, const char *fragment_id);
    /* In a complete render: the fragment exists, and its turn has not come yet. */
    void (*waits)(void *ctx, const char *fragment_id);
    void (*failed)(void *ctx, const struct fragment_failure *failure);
    void (*rendered)(void *ctx, const struct render_stats *stats);
    /* A new program takes over: what came since the last `rendered` is void, all its fragments follow, then a complete
     * `rendered`. May be NULL. */
    void (*replaced)(void *ctx);
    /* A new program has rendered everything, with these failures, and would take the place of one in force. A reason
     * (malloc'ed) refuses it: program_failed follows with that message. May be NULL. Must not call the renderer. */
    char *(*objection)(void *ctx, const struct fragment_failure *failures, size_t count);
    void (*died)(void *ctx, const struct renderer_death *death);
    /* The program did not load (message names file:line), or there was an objection. The previous program, if any,
     * stays in force. */
    void (*program_failed)(void *ctx, const char *message);
};

/* executable: the haptic binary, run as "haptic renderer". program: see renderer_set_program(). */
struct renderer *renderer_new(uv_loop_t *loop, struct store *store, const char *executable,
                              const struct renderer_limits *limits, const struct renderer_events *events, void *ctx,
                              struct metrics *metrics);
/* Kill the child and free; NULL is fine; not from within an event. The handles are closed on the loop: run it until
 * nothing is left before closing it. The store must still be there. */
struct renderer *renderer_free(struct renderer *r);
/* For the programs that are set from now on; 0 as in renderer_new(). */
void renderer_set_limits(struct renderer *r, const struct renderer_limits *limits);

/* The templates, as one JSON document (bytes are copied): see docs/design.md, "Program". Takes effect by a fresh child
 * that loads it; the old one serves until the new one has loaded. */
void renderer_set_program(struct renderer *r, const char *json, size_t length);
/* Ask for a rendering of the newest state; returns the request's number. */
uint64_t renderer_render(struct renderer *r);
/* For a renderer beside the one whose output counts: render as if the store had this object, from the next rendering
 * that is asked for until another one is given, or none (NULL). A reference is taken. The store is not changed. False:
 * nothing was rendered yet, or the process has ended. It is forgotten with a process, and with a program. */
bool renderer_pretend(struct renderer *r, struct object *o);
/* Is more of the last rendering to come? How many objects are asked for that are not known yet, after which what reads
 * them is rendered again, with the same number? */
bool renderer_is_unfinished(const struct renderer *r);
size_t renderer_open_needs(const struct renderer *r);
/* Where does line `line` (0-based) of a contribution come from? The fragment runs again with line tracking; done is
 * called once with template line text such as "ingress.lua:42" or "" when unknown. */
void renderer_explain(struct renderer *r, const char *fragment_id, enum contribution_kind kind, const char *scope,
                      const char *key, unsigned line, void (*done)(void *ctx, const char *where), void *ctx);
/* A prompt's question about the program in force. mode "evaluate": question is a chunk of Lua, the answer
 * "STATUS\nTEXT" (lua/haptic/repl.lua); "complete": the beginning of a line, the answer is one name in each line. done
 * is called once, with "" when the renderer ended instead (after the deadline of a rendering, or killed). */
void renderer_ask(struct renderer *r, const char *mode, const char *question,
                  void (*done)(void *ctx, const char *answer), void *ctx);
/* Resident memory of the child in bytes, 0 when there is none. */
uint64_t renderer_memory_bytes(const struct renderer *r);
/* The child's process id, 0 when there is none. */
int renderer_pid(const struct renderer *r);

#endif
