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

enum process_told {
    PROCESS_TOLD_NOBODY,  /* nobody is there */
    PROCESS_TOLD_NOTHING, /* no answer, or none of use */
    PROCESS_TOLD_MASTER,  /* it is in p->answer, with a worker */
    PROCESS_TOLD_WORKER,  /* that worker answers */
};

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
    void (*told)(struct process *p, enum process_told told);
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

/* process_program.c: what to execute, relative to the directory. The next reload of one that runs executes it, too. */
const char *process_program(const struct process *p);

/* process_ask.c */
/* Ask the master; told once, with WORKER only after process_ask_worker(). */
void process_ask(struct process *p, void (*told)(struct process *p, enum process_told told));
void process_ask_worker(struct process *p); /* the first one in p->answer */
void process_ask_cancel(struct process *p);
void process_pid_keep(const struct process *p);
pid_t process_find(const struct process *p); /* one that does not answer; 0: there is none */

#endif
