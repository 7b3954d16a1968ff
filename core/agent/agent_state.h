/* agent_state.h — what an agent consists of, shared by the files of core/agent only.
 * Thread:  loop thread only.
 *
 * Each file calls only files below it in this list:
 *
 *   agent.c    life, events of the process, the public functions
 *   apply.c    one apply: fence → read → plan → run → read back → commit, or reload
 *   prepare.c  the directory of an attached HAProxy that does not run yet
 *   forecast.c  what a change would need, without an HAProxy
 *   versions.c  which HAProxy runs
 *   reload.c   a new process: reload and start; ends in one outcome
 *   read.c     everything that HAProxy tells is read and merged into what is live; ends in one outcome
 *   pace.c     when the next reload may be made
 *   watch.c    the master and the worker: which there are, whether they answer
 *   leave.c    servers and backends on their way out
 *   batch.c    the commands of a plan: sent, judged, read back, committed
 *   walk.c     everything there is, compared in slices
 *   structural.c  what may go live without a check
 *   judge.c    the same without an HAProxy to look at
 *   compare.c  what is wanted against what is live: what has changed, kind by kind
 *   touched.c  a row for each kind of thing: read back, proved, noted as live
 *   entries.c  entries of maps: planned and proved
 *   backends.c  the same for backends
 *   certificates.c  the same for certificates, authorities, revocations
 *   crt_lists.c  the same for crt-lists
 *   list_proof.c  crt-lists that changed are read back, a moment later
 *   partial.c  what commands can do about a backend that needs a reload
 *   acme.c     certificates that HAProxy obtains: read from it
 *   audit.c    the directory: is it still what was written?
 *   image.c    the directory: building, writing, restoring
 *   orders.c   what has become of their orders
 *   acme_files.c  the directory: certificates that HAProxy has obtained
 *   addresses.c  the directory: addresses of names, for the next worker
 *   journal.c  what the directory does not know yet
 *   altered.c  files that somebody else has altered
 *   list_uses.c  which files the lines of crt-lists name
 *   wanted.c   a backend as the model has it
 *   part.c     the plan for one item, moved into the whole plan
 *   commands.c  the list of commands that go out together
 *   steps.c    the next step of an apply, in a later turn of the loop
 *   gate.c     may something be changed now? What is known of HAProxy, and who is told
 *   expect.c   a connection that is made before its commands are there
 *   reveal.c   values of Secrets: in what is compared and sent, and not in what is said
 */
#ifndef HAPTIC_AGENT_STATE_H
#define HAPTIC_AGENT_STATE_H

#include "agent/agent.h"
#include "agent/fence.h"
#include "agent/live.h"
#include "agent/live_list.h"
#include "agent/orders.h"
#include "agent/read.h"
#include "agent/walk.h"
#include "base/clock.h"
#include "base/log.h"
#include "haproxy/disk.h"
#include "haproxy/expand.h"
#include "haproxy/master.h"
#include "haproxy/plan.h"
#include "haproxy/process.h"
#include "haproxy/runtime.h"

/* A backend that an apply looks at. */
struct touched_backend {
    char *name; /* "backend x" */
    struct cfg_backend wanted;
    bool is_wanted;
    bool has_ops;  /* something is done to it: read it back */
    size_t answer; /* index of the read-back's command in the last batch */
};

/* A key of a map that an apply looks at. */
struct touched_entry {
    struct live_map *map;
    char *key;
    struct text *wanted; /* NULL: absent */
    size_t answer;
};

/* A file for TLS that an apply looks at. */
struct touched_certificate {
    char *path;
    enum ssl_file_kind kind;
    bool is_wanted;
    struct digest digest; /* of its content */
    struct ssl_file_mark mark;
    size_t answer;
};

struct touched_list {
    struct live_list *list;
    VEC(unsigned) goes;    /* numbers of lines */
    struct crt_list comes; /* lines, in the order in which they are added */
    bool is_read;          /* the whole list is read back at once, else a moment later */
    size_t answer;
};

struct touched {
    VEC(struct touched_backend) backends;
    VEC(struct touched_entry) entries;
    VEC(struct touched_certificate) certificates;
    VEC(struct touched_list) lists;
    struct map appearing;    /* names of backends that are made */
    uint64_t appearing_cost; /* what HAProxy looks at to make them: backends that are there, for each new one */
    /* files that crt-lists name, as what: of what changed, then (listed_known) of everything */
    struct map listed;
    bool listed_known;
};

/* Commands that go out together, and what they are. */
struct batch {
    VEC(const char *) commands;   /* owned by the plan or by strings */
    VEC(enum plan_op_type) types; /* of the first ones: the rest only reads */
    VEC(char *) strings;
};

enum reload_outcome {
    RELOAD_RUNS,      /* a new process runs what was written */
    RELOAD_UNWRITTEN, /* nothing could be written, and nothing has changed */
    RELOAD_FAILED     /* the old worker goes on, or nothing runs */
};

/* ROUND_REST: no reload can be made; what needs none is done. */
enum apply_round { ROUND_FIRST, ROUND_REPAIR, ROUND_RELOAD, ROUND_AFTER_RELOAD, ROUND_REST };

enum apply_state {
    APPLY_NONE,   /* none is under way */
    APPLY_RUNS,   /* it looks, or changes something */
    APPLY_AWAITS, /* the process, which starts with what the directory had */
    APPLY_STARTS  /* the process, which starts with what this apply has written */
};

struct apply {
    enum apply_state state;
    agent_done *done;
    void *ctx;
    int64_t start_ns; /* right before the fence was raised */
    bool just_raised; /* nothing has run on the loop since the fence was raised */
    bool all;         /* compare everything */
    bool drift;       /* everything was believed to be live when it began: what differs is drift */
    bool gives_way;   /* a comparison of what is believed to be live that has found nothing yet */
    bool gave_way;
    void (*after_leave)(struct agent *a); /* what leaves is being deleted; it begins when that is answered */
    /* A reload, or a start that the apply waits for, has ended. */
    void (*after_reload)(struct agent *a, enum reload_outcome outcome, const struct err *err);
    /* Reading everything has ended. err: with READ_FAILED only, valid during the call. */
    void (*after_read)(struct agent *a, enum read_outcome outcome, const struct err *err);
    struct reading reading;
    enum apply_round round;
    bool dropped;     /* the operations of the plan were given up for a reload */
    unsigned rests;   /* comparisons in ROUND_REST */
    struct map avoid; /* names of backends that answered with a surprise: only a reload can change them */
    struct touched touched;
    struct walk walk;
    struct plan plan;
    struct batch batch;
    size_t stage; /* next stage of the plan */
    unsigned rereads;
    struct digest digest; /* the model's accepted digest when the plan was made */
    int64_t asked_ns;     /* when commands went out last */
    int64_t haproxy_ns;   /* from commands to their answers, in all */
    unsigned operations;
    bool reloaded;
    char *reload_reason;
    const char *reload_class;
    int64_t reload_after_ns;
    struct err err;
    struct fence_record highest;
};

/* One that is asked regularly. */
struct watched {
    unsigned unanswered;       /* in a row */
    int64_t silent_since_ns;   /* when the first of them was asked; 0: it answers */
    bool has_answered, warned; /* since HAProxy was started or found */
    struct log_limit limit;
};

/* The master at its last answer. */
struct master_seen {
    int pid; /* 0: none has answered yet */
    unsigned reloads;
    int64_t uptime_s, answered_ns;
};

/* Writing what is live into the directory, from the first slice until everything is on disk. */
struct leveling {
    struct draft *draft; /* NULL: nothing is under way */
    int64_t spent_ns;    /* on the loop thread */
    unsigned refusals;   /* how often everything was collected and was not what is live */
    char *lineage, *socket;
};

/* When the next reload may be made. */
struct pace {
    struct map owners; /* namespace → struct pace_owner */
    /* Something needs a reload: of the templates; of anybody. */
    bool template_waits, any_waits;
    unsigned lived_through; /* reloads, by the oldest worker that still has connections */
    unsigned max_reloads;   /* of the configuration, as is hard_stop_ns */
    int64_t hard_stop_ns;
};

/* Certificates that HAProxy obtains by itself: "acme/NAME". */
struct acme {
    struct map saved;        /* path → int64_t: when the certificate on disk ends, Unix seconds */
    bool saved_known;        /* the directory was read */
    struct disk_files files; /* read from HAProxy, and not on their way to the disk yet */
    struct orders orders;
    struct runtime_call *call;
    VEC(char *) asked; /* paths, while they are read */
    unsigned repeats;
    int64_t next_ns;
    void (*then)(struct agent *a); /* when the look that is under way has ended */
};

/* Crt-lists that are being read to prove their changes. */
struct list_proof {
    struct runtime_call *call;
    VEC(char *) paths;
    uint64_t changes, changes_begun; /* of lists, and how many there were when reading began */
    int worker_pid;                  /* who is asked */
};

struct agent {
    uv_loop_t *loop;
    struct agent_config config; /* strings owned */
    struct model *model;
    struct metrics *metrics;
    struct metric *op_counts[PLAN_OP_TYPES]; /* NULL: none of these yet */
    struct metric *apply_durations, *reload_wait;
    void (*changed)(void *ctx, const char *what);
    void *ctx;

    struct process *process; /* NULL: attached */
    bool prepare_pending;    /* the process waits for process_continue() */
    bool running;
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    bool stop_haproxy, stop_looked, stop_wrote, closed;
    int64_t grace_ns;

    struct haproxy_caps caps;
    bool caps_known;
    bool known;          /* live is what runs */
    struct live *live;   /* never NULL */
    unsigned ways_given; /* comparisons in a row that have ended for a change */
    bool live_is_new;  /* a process has just started with the texts that live was made from, and nothing is read yet */
    bool shapes_due;   /* live came from texts that were not learned yet */
    struct live *next; /* what the process that is being started or reloaded will have; NULL when none is */
    struct map shapes; /* 16 bytes of a digest → anything: server lines that HAProxy has accepted */
    /* name → anything: maps that texts which do not run yet read in another way, see agent_judge_begin() */
    struct map contested_maps;
    struct fence_record last_fence; /* of the last apply that was let through */
    bool fenced;

    struct apply apply;
    struct runtime_call *call;
    struct runtime_call *expected; /* a connection for commands that will come */
    struct master_call *reload_call, *poll_call;
    struct runtime_call *probe_call;
    struct watched master_watched, worker_watched;
    struct master_seen master_seen; /* of an attached HAProxy */
    int64_t poll_ns, probe_ns;      /* when they were begun */
    unsigned polls;
    uv_timer_t step_timer; /* continues or ends an apply from the loop */
    uv_idle_t step_idle;   /* the same in the next turn */
    void (*step)(struct agent *a);
    uv_timer_t poll_timer; /* processes, leaving servers */
    uv_timer_t disk_timer;
    uv_timer_t reload_timer;      /* a reload that was held back is due */
    uv_timer_t predecessor_timer; /* the last commands of the writer before have ended */
    unsigned open_handles;
    struct acme acme;
    struct runtime_call *leave_call;
    struct plan leave_plan;
    struct list_proof list_proof;

    struct disk *disk;
    bool level;                /* the directory has what is live */
    bool writing;              /* the leveling write is under way */
    struct digest live_digest; /* the model's accepted digest that is live */
    struct digest disk_digest; /* and on disk */
    void (*after_write)(struct agent *a, const struct err *err);
    void (*step_after_write)(struct agent *a); /* waits for the disk to be free */
    struct digest writing_digest;
    bool files_foreign; /* files may differ because another writer wrote them: no drift */
    uint64_t audits;
    unsigned altered; /* files found altered and not written again yet */
    char *first_altered;
    struct log_repeat write_repeat;
    int journal_fd;
    uint64_t journal_size, journal_mark;
    int64_t last_write_ns, write_cost_ns;
    struct leveling leveling;
    struct buf previous_config;      /* haproxy.cfg before a reload, to go back to */
    char lineage[LIVE_LINEAGE_SIZE]; /* planted in haproxy.cfg on disk */
    char next_lineage[LIVE_LINEAGE_SIZE];

    int worker_pid, master_pid;
    unsigned workers_old;
    int64_t last_reload_ns, reload_due_ns;
    bool reload_waits; /* what is live lacks what needs a reload; also when that is due and has not begun */
    uint64_t reloads, restarts, operations, drift_repairs;
    bool live_ok;
    bool serves; /* as in struct agent_status */
    struct pace pace;
    struct map addresses; /* "backend/server" → struct known_address */
    struct err owed;      /* why the last reload could not be made; ERR_NONE: none is owed */
    char *owed_reason;
    char other_version[64]; /* the running version that was warned of */
    bool version_tried;     /* a reload was to bring the version that checks */
    struct log_repeat surprise_repeat;
};

/* apply.c */
void apply_begin(struct agent *a);
void apply_process_ready(struct agent *a);
void apply_process_failed(struct agent *a, const char *reason);
void apply_cancel(struct agent *a);
void apply_abort(struct agent *a, const char *why); /* HAProxy is gone */
void apply_finish(struct agent *a);
void apply_fail(struct agent *a, const struct err *err);
void apply_fail_later(struct agent *a, const struct err *err); /* not from within the call that began it */

/* versions.c: what the running HAProxy can do, by its answers. True: it is of another version than the one that checks,
 * and a reload is to be made for that, once. */
bool versions_read(struct agent *a, const char *show_version, const char *help);

/* expect.c: commands with the gate, on the connection that agent_expect() has made if there is one; done gets a. */
struct runtime_call *expect_run(struct agent *a, const char *const *commands, size_t count, int64_t deadline_ns,
                                size_t max_answer_bytes, runtime_gate *gate, runtime_done *done);
void expect_end(struct agent *a); /* another worker answers, or will soon */

/* watch.c: the worker of this number answers. Another one than before is somebody else's reload. */
bool watch_note_worker(struct agent *a, int pid);
/* Is this the master of another HAProxy than the one that answered before? asked_ns: when it was asked. */
bool watch_is_another_master(const struct master_seen *before, const struct master_process *now, int64_t asked_ns);

/* reload.c */
void reload_begin(struct agent *a);            /* for the reason in the plan */
void reload_wait_for_process(struct agent *a); /* HAProxy is not there yet */
/* The process is about to be started: write the directory, or go on with what is there. */
void apply_prepare(struct agent *a);

/* steps.c */
void apply_step_later(struct agent *a, void (*step)(struct agent *a), int64_t delay_ns);
void apply_step_drop(struct agent *a); /* the one that waits */

/* gate.c */
void agent_tell(struct agent *a, const char *what); /* changed() */
void agent_count_death(struct agent *a);            /* HAProxy ended by itself */
void agent_on_reload_due(uv_timer_t *timer);
/* Is this writer still the highest? Not asked before the first apply. */
int agent_check_fence(struct agent *a, struct err *err) MUST_CHECK;
/* The gate of a call that changes something: the fence is read, and time is left. ctx: the agent. */
int agent_gate(void *ctx, struct err *err) MUST_CHECK;
/* Before a group of commands: the same, and what it may take of limit_ns. ERR_TIMEOUT: no time to write is left. */
int agent_may_run(struct agent *a, int64_t limit_ns, int64_t *ret_ns, struct err *err) MUST_CHECK;
/* The same, with the time that so many commands may take. */
int agent_may_run_batch(struct agent *a, size_t count, int64_t *ret_ns, struct err *err) MUST_CHECK;
void agent_forget_live(struct agent *a, const char *why);

/* pace.c */
void pace_learn(struct agent *a, const char *config); /* what haproxy.cfg says about old workers */
/* Of all, after an old worker has lived through so many reloads. */
int64_t pace_distance_ns(int64_t shortest_ns, int64_t hard_stop_ns, unsigned max_reloads, unsigned lived_through);
void pace_note_item(struct agent *a, const struct item *item); /* its change needs a reload */
void pace_note_section(struct agent *a, const char *name);     /* a change of one of its pieces does */
void pace_clear(struct agent *a);                              /* nothing needs one */
int64_t pace_wait_ns(const struct agent *a);                   /* for what was noted; <= 0: now */
void pace_reloaded(struct agent *a);
void pace_note_workers(struct agent *a, const struct master_state *state);
void pace_done(struct agent *a);

/* compare.c */
/* What is to be done about one of them: into the plan, and what commands can do about is touched. */
void touch_section(struct agent *a, struct touched *t, const char *name, struct plan *plan);
void touch_file(struct agent *a, enum contribution_kind kind, const char *path, const char *bytes, size_t length,
                struct plan *plan);
/* The same, or what commands can do, for what the model has of a file; bytes NULL: nothing. */
void touch_stored(struct agent *a, struct touched *t, enum contribution_kind kind, const char *path, const char *bytes,
                  size_t length, struct plan *plan);
void touch_changes(struct agent *a, struct touched *t, const struct model_changes *changes, struct plan *plan);

/* touched.c: of all kinds. After an apply: the commands that read back what it touched, their comparison with what is
 * wanted, and the result; what was touched is forgotten. */
void touched_add_reads(struct touched *t, struct batch *b);
int touched_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                   struct err *err) MUST_CHECK;
void touched_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers);
void touched_done(struct touched *t);

/* wanted.c */
/* The section as the model has it in a state; false when it has none. */
int wanted_parse(const struct agent *a, const char *name, enum model_state state, struct cfg_backend *ret_wanted,
                 bool *ret_is_wanted, struct err *err) MUST_CHECK;

/* backends.c */
void touch_backend(struct agent *a, struct touched *t, const char *name, struct plan *plan);
/* A row of touched.c. */
void backends_add_reads(struct touched *t, struct batch *b);
int backends_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                    struct err *err) MUST_CHECK;
void backends_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers);
void backends_done(struct touched *t);

/* entries.c */
void touch_entry(struct agent *a, struct touched *t, struct live_map *map, const char *key, struct text *wanted,
                 struct plan *plan);
/* The same for an entry as the model has it. */
void touch_item(struct agent *a, struct touched *t, struct live_map *map, const struct item *item, struct plan *plan);
/* Does the entry open a route whose protection may need the reload that is due? It comes with that. */
bool entry_is_guarded(const struct agent *a, const struct item *item, const struct plan *plan);
/* A row of touched.c. */
void entries_add_reads(struct touched *t, struct batch *b);
int entries_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                   struct err *err) MUST_CHECK;
void entries_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers);
void entries_done(struct touched *t);

/* partial.c: what live can become without a reload on its way to wanted, and live as a plan is to see it (unknown words
 * count as known in both); false: nothing. */
bool backend_in_reach(const struct agent *a, const struct cfg_backend *wanted, const struct live_backend *live,
                      struct cfg_backend *ret_reach, struct cfg_backend *ret_view) MUST_CHECK;

/* part.c */
/* Move the operations of one item into the plan; its reason to reload, too. Are there any operations? */
bool plan_take(struct plan *plan, struct plan *part);

/* certificates.c: wanted: the content, with the values of Secrets; NULL: it is to go. */
void touch_certificate(struct agent *a, struct touched *t, const char *path, const struct buf *wanted,
                       struct plan *plan);
/* bytes: with handles of Secrets; NULL: it is to go. */
void touch_stored_certificate(struct agent *a, struct touched *t, const char *path, const char *bytes, size_t length,
                              struct plan *plan);
/* A name of a list is about to be touched: which files its line names. */
void certificates_note_listed(const struct agent *a, struct touched *t, const struct item *item);

/* crt_lists.c */
/* Does it have the lines of these certificates and options ("certs/a.pem [alpn h2]"), for whatever names? */
bool list_has(const struct live_list *list, const char *text);
void touch_list(struct agent *a, struct touched *t, struct live_list *list, struct plan *plan);
/* The same for the names that changed. The work follows these, and the names that share a line with them. */
void touch_list_items(struct agent *a, struct touched *t, struct live_list *list, struct item *const *items,
                      size_t count, struct plan *plan);
/* The commands of a full read, once the names of the loaded certificates and lists are known. */
void certificates_commands(const struct agent *a, struct batch *b);
void certificates_merge_names(struct agent *a, const struct runtime_answer answers[SSL_FILE_KINDS],
                              const struct runtime_answer *lists); /* of commands without a name */
void certificates_merge(struct agent *a, const struct runtime_answer *answers, size_t count);
/* A row of touched.c. */
void certificates_add_reads(struct touched *t, struct batch *b);
int certificates_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers,
                        struct err *err) MUST_CHECK;
void certificates_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers);
void certificates_done(struct touched *t);
/* The same for crt-lists. */
void lists_add_reads(struct touched *t, struct batch *b);
int lists_verify(const struct agent *a, const struct touched *t, const struct runtime_answer *answers, struct err *err)
    MUST_CHECK;
void lists_commit(struct agent *a, struct touched *t, const struct runtime_answer *answers);
void lists_done(struct touched *t);
void touched_list_done(struct touched_list *t);

/* list_proof.c */
void list_proof_begin(struct agent *a); /* each second: read lists that have changed since they were read last */
void list_proof_cancel(struct agent *a);

/* acme.c */
#define ACME_RING "acme-log" /* of templates/acme.lua */
void acme_init(struct agent *a);
void acme_begin(struct agent *a); /* each second: save what is new */
/* Read what is not saved yet, then go on; at once, if there can be nothing. What was read comes with the files of the
 * next image_build(). then is called once, unless acme_cancel() comes first. */
void acme_look(struct agent *a, void (*then)(struct agent *a));
void acme_save(struct agent *a); /* what was read, if the disk is free */
void acme_cancel(struct agent *a);
void acme_done(struct agent *a);

/* acme_files.c */
bool acme_is_file(const char *path);
/* Is a certificate on disk that ends then? */
bool acme_files_have(struct agent *a, const char *path, int64_t end_s);
/* Take over what HAProxy has; false: it is no certificate that is worth to be saved. */
bool acme_files_take(struct agent *a, const char *path, const char *pem, size_t length);
void acme_files_add(struct agent *a, struct disk_files *files); /* what was taken and is not written yet */
void acme_files_failed(struct agent *a);                        /* they could not be written */
/* Remove those that have ended and that HAProxy does not use. */
void acme_files_sweep(struct agent *a, const struct map *used, int64_t now_s);
void acme_files_done(struct agent *a);

/* commands.c */
void batch_done(struct batch *b);
size_t batch_add_read(struct batch *b, char *command); /* takes it */

/* batch.c */
/* The next commands of the plan; false when none are left. The last batch ends with the reads. */
bool batch_next(struct agent *a, struct batch *b);
/* Only the reads, again. */
void batch_reads(struct agent *a, struct batch *b);
/* What the batch did, judged; -1 and why when something is not as it should be. */
int batch_judge(struct agent *a, const struct batch *b, const struct runtime_answer *answers, struct err *err)
    MUST_CHECK;

/* leave.c */
/* Is something that is touched being deleted right now? */
bool leave_meets(const struct agent *a, const struct touched *t);
void leave_begin(struct agent *a); /* each second: delete leaving servers and backends that are gone */

/* structural.c */
void shape_learn(struct agent *a, const struct cfg_server *s, const char *from);
void shapes_learn_all(struct agent *a);

/* journal.c: what changed in words of servers and in backends since haproxy.cfg was written. */
void journal_begin(struct agent *a, const struct touched *t);
void journal_end(struct agent *a, const struct touched *t);
void journal_clear(struct agent *a, uint64_t size); /* unless it has grown beyond size meanwhile */
void journal_load(struct agent *a, struct live *live);

/* reveal.c */
/* An entry of a map as HAProxy has it. */
struct revealed_entry {
    const char *key;
    struct text *value; /* NULL: absent */
    char *own_key;
};
int reveal_entry(const struct agent *a, const char *key, struct text *value, struct revealed_entry *ret_entry,
                 struct err *err) MUST_CHECK;
void reveal_entry_done(struct revealed_entry *entry);
/* A text for people: without the values of Secrets. malloc'ed. */
char *agent_redacted(const struct agent *a, const char *text);
void agent_redact(const struct agent *a, char **text); /* in place; NULL is fine */

/* image.c */
bool image_has_file(enum contribution_kind kind); /* is it in a file of its own or part of one? */
/* All files of the accepted state under a new lineage; a->next becomes what a process that loads them has. On an error
 * (a value of a Secret that is gone) there are no files and no next. */
int image_build(struct agent *a, struct disk_files *files, bool new_lineage, struct err *err) MUST_CHECK;
void image_write(struct agent *a, struct disk_files *files, bool whole,
                 void (*after)(struct agent *a, const struct err *err));
/* The same, of what compose adds to files in the thread that writes them. */
void image_write_composed(struct agent *a, struct disk_files *files, disk_compose *compose, void *ctx,
                          void (*after)(struct agent *a, const struct err *err));
void image_load(struct agent *a, struct live *live);
void image_release(struct agent *a); /* the disk is free again */
/* Our own first lines of haproxy.cfg, for what the templates have made. */
void image_head(struct buf *out, const char *lineage, const char *socket, const struct buf *body);

/* level.c: bring the directory to what is live. */
void level_schedule(struct agent *a); /* when it is time to */
void level_on_timer(uv_timer_t *timer);
/* Now, and without slices; false when nothing was begun. */
bool level_now(struct agent *a);
void level_done(struct agent *a);

/* addresses.c */
void addresses_take(struct agent *a, const char *show_servers_state);
void addresses_load(struct agent *a);        /* from the directory, when none are known */
bool addresses_exist(const struct agent *a); /* has HAProxy servers with names? */
/* For the servers as they are in live. */
void addresses_add_file(struct agent *a, const struct live *live, struct disk_files *files);
void addresses_done(struct agent *a);

/* audit.c */
void audit_begin(struct agent *a); /* after a comparison of everything that ended well */

/* altered.c */
void altered_note(struct agent *a, const struct disk_result *result); /* altered files were found, */
void altered_tell(struct agent *a);                                   /* and are right again */

/* watch.c */
void watch_begin(struct agent *a); /* each second */
void watch_reset(struct agent *a); /* HAProxy is another one */
void watch_cancel(struct agent *a);
bool watch_is_silent(const struct agent *a); /* for so long that nothing can be said about it */

#endif
