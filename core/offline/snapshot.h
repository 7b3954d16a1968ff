/* snapshot.h — the objects that a configuration watches, taken from an API server, with fakes in the place of Secrets.
 * Thread:  loop thread only; snapshot_take() runs the loop until it is done.
 * Owns:    the objects' texts.
 * Errors:  as the API server's client has them, with the kind; ERR_SYS and ERR_INVALID of files.
 *
 * The same objects give the same bytes. Kinds that the API server does not serve are left out and listed.
 */
#ifndef HAPTIC_OFFLINE_SNAPSHOT_H
#define HAPTIC_OFFLINE_SNAPSHOT_H

#include "base/map.h"
#include "controller/config.h"
#include "data/json.h"
#include "kube/client.h"
#include "store/vault.h"

struct snapshot_object {
    char *id, *json; /* id: "namespace/name" */
};
struct snapshot_kind {
    char *label; /* "ingresses.networking.k8s.io" */
    VEC(struct snapshot_object) objects;
};
struct snapshot {
    VEC(struct snapshot_kind) kinds; /* in the configuration's order, each once */
    VEC(char *) absent;              /* labels of kinds that are not served */
    struct vault *vault;             /* the real values, to look for them in other texts; NULL: not kept */
    VEC(struct vault_hold *) holds;
};

/* keep_values: for snapshot_redact(). */
int snapshot_take(uv_loop_t *loop, struct kube_client *client, const struct config *config, bool keep_values,
                  struct snapshot *ret_snapshot, struct err *err) MUST_CHECK;
void snapshot_done(struct snapshot *s);
size_t snapshot_objects(const struct snapshot *s);

/* The values of one more Secret are looked for. */
int snapshot_learn(struct snapshot *s, struct yyjson_val *secret, struct err *err) MUST_CHECK;
/* Append text without the values of the snapshot's Secrets, plain or as base64. */
void snapshot_redact(struct snapshot *s, const char *text, size_t length, struct buf *out);

/* Call for each file of the snapshot as a folder: "ingresses.networking.k8s.io.json". Stops at the first -1. */
typedef int snapshot_file(void *ctx, const char *name, const char *bytes, size_t length, struct err *err);
int snapshot_each_file(const struct snapshot *s, snapshot_file *file, void *ctx, struct err *err) MUST_CHECK;
/* All objects as one List. ERR_LIMIT: more than one file may have. */
int snapshot_write(const struct snapshot *s, struct buf *out, struct err *err) MUST_CHECK;
/* Write the files to a folder that is empty, or was written by this function: then its files are removed before. */
int snapshot_write_folder(const struct snapshot *s, const char *path, struct err *err) MUST_CHECK;

#endif
