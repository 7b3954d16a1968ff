/* process_internal.h — what a supervised HAProxy consists of, for process.c (its states) and process_ask.c (is one
 * there, does it answer?) only.
 * Thread:  loop thread only.
 */
#ifndef HAPTIC_HAPROXY_PROCESS_INTERNAL_H
#define HAPTIC_HAPROXY_PROCESS_INTERNAL_H

#include "base/clock.h"
#include "base/vec.h"
#include "haproxy/output.h"
#include "haproxy/process.h"
#include "haproxy/runtime.h"
#include "net/backoff.h"

#define PROCESS_POLL_NS (25 * NS_PER_MS)

struct process {
    uv_loop_t *loop;
    struct process_events events;
    void *ctx;
    char *binary, *directory, *master_socket;
    VEC(char *) environment;
    int64_t start_deadline_ns;
    struct net_backoff backoff; /* between two starts */

    enum process_state state;
    uv_timer_t timer, log_timer;
    unsigned open_handles;
    pid_t pid;            /* of the master; 0: none */
    uv_process_t *child;  /* NULL: adopted, or none */
    uv_poll_t *exit_poll; /* on the pidfd of an adopted one */
    struct master_call *ask;
    struct runtime_call *ask_worker;
    struct master_state answer; /* kept while the worker is asked */
    int64_t since_ns;           /* the state began */
    bool start_overdue;         /* killed because it did not answer */

    struct output log; /* haproxy.log */

    bool stop_wanted;
    int64_t grace_ns;
    int stop_step; /* signals sent: 0 none, 1 USR1, 2 TERM, 3 KILL */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/* process.c */
void process_timer_set(struct process *p, int64_t ns);
void process_kill(struct process *p, int sig); /* SIGKILL goes to its whole group, if that is its own */
/* While it is not known whether one runs: */
void process_prepare(struct process *p);          /* none does */
bool process_adopt(struct process *p, pid_t pid); /* one does: watch it; false when it is gone already */
void process_became_running(struct process *p);   /* it answers, as in p->answer */

/* process_program.c: what to execute, relative to the directory. The next reload of one that runs executes it, too. */
const char *process_program(const struct process *p);

/* process_ask.c */
void process_ask(struct process *p); /* ends in one of those, or in another question by the timer */
void process_ask_cancel(struct process *p);
void process_pid_keep(const struct process *p);

#endif
