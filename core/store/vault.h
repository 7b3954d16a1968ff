/* vault.h — the values of Secrets, and the handles that stand for them everywhere else.
 * Thread:  loop thread only.
 * Owns:    the bytes, in hidden memory; wiped when dropped.
 * Units:   *_ns clock_now_ns(); *_bytes bytes.
 * Errors:  0, or -1 with *err set (ERR_LIMIT, ERR_NOTFOUND); no text ever has a byte of a value.
 *
 * A handle is a word of letters and digits, so it survives being a word, a map value or part of a file:
 *
 *     HapticSecret  32 hexadecimal digits  End      the value
 *                                          Fmt      the value in a log-format: "%" doubled
 *                                          Rgx      the value in a regular expression: escaped to match itself
 *
 * The digits are a hash of namespace, name, key, uid and resourceVersion: equal on all replicas, another one with each
 * version of the object, and not to be guessed by who cannot read the Secret (its uid is random). Where an object has
 * no uid or resourceVersion (a folder), or two contents claim the same one, they are a hash of the content under a key
 * that each process draws anew. Either tells nothing of the content.
 *
 * A value is kept as long as an object of the store has it (vault_hold), and after that as long as the referee marks
 * it: the last good version of a Secret stays for what was rendered with it, also when the Secret is gone. What nobody
 * marks goes at the first sweep after it was released long enough ago; when the values together pass half of their
 * maximum, at once.
 */
#ifndef HAPTIC_STORE_VAULT_H
#define HAPTIC_STORE_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define VAULT_PREFIX "HapticSecret"
#define VAULT_HANDLE_LENGTH (sizeof(VAULT_PREFIX) - 1 + 32 + 3)
/* Values with fewer bytes are not looked for when texts are redacted: they would be found everywhere. */
#define VAULT_REDACT_MIN 4

struct vault;
struct vault_hold; /* what one object has in the vault */

struct vault *vault_new(size_t max_bytes);
struct vault *vault_free(struct vault *v); /* NULL is fine; holds may outlive it */

/* From here on handles depend on names alone, where an object has no uid or resourceVersion: the same in each process,
 * as output that people compare needs it. Not for a process that serves: a changed value keeps its handle. */
void vault_fix_handles(struct vault *v);

/* Whose value it is. */
struct vault_name {
    const char *namespace, *name, *uid, *resource_version, *key;
};
/* Keep a value for a hold (NULL at first: made) and write its handle. */
int vault_put(struct vault *v, struct vault_hold **hold, const struct vault_name *name, const void *bytes,
              size_t length, char ret_handle[VAULT_HANDLE_LENGTH + 1], struct err *err) MUST_CHECK;
/* Take back a value that an earlier process gave out under these 32 digits. No object has it: it stays as long as the
 * referee marks it. Nothing happens when the digits are known. */
int vault_restore(struct vault *v, const char *digits, const char *secret, const char *key, const void *bytes,
                  size_t length, struct err *err) MUST_CHECK;
size_t vault_hold_bytes(const struct vault_hold *hold);  /* 0 for NULL */
struct vault_hold *vault_share(struct vault_hold *hold); /* the same, to be released once more; NULL is fine */
void vault_release(struct vault_hold *hold);             /* NULL is fine */

enum vault_form { VAULT_PLAIN, VAULT_FORMAT, VAULT_REGEX };
/* The first handle in a text, or NULL. *ret_whole is false for one that was cut or changed: the beginning of a handle
 * is there. */
const char *vault_find(const char *text, size_t length, bool *ret_whole);
static inline bool vault_is_in(const char *text, size_t length)
{
    bool whole;
    return vault_find(text, length, &whole) != NULL;
}

struct vault_value {
    const char *bytes; /* not ended by a NUL */
    size_t length;
    enum vault_form form;
    const char *secret; /* "namespace/name" */
    const char *key;
};
/* What a whole handle stands for; valid until the loop turns. ERR_NOTFOUND: nobody (any more) has given that one out. v
 * may be NULL. */
int vault_get(struct vault *v, const char *handle, struct vault_value *ret_value, struct err *err) MUST_CHECK;

/* Append text with what it has of values replaced by their handles: each whole value of VAULT_REDACT_MIN bytes or more,
 * and each part of 8 bytes or more of one (of VAULT_REDACT_MIN or more at the end of the text), as texts are cut and
 * quoted. Only values that have been asked for by vault_get() count: nobody else can have told of others. v may be
 * NULL. */
void vault_redact(struct vault *v, const char *text, size_t length, struct buf *out);
/* The same for an error's text. */
void vault_redact_err(struct vault *v, struct err *err);

/* Marks what is still needed by calling vault_mark() with every text that may have a handle. */
typedef void vault_referee(void *ctx, struct vault *v);
void vault_set_referee(struct vault *v, vault_referee *referee, void *ctx);
void vault_mark(struct vault *v, const char *text, size_t length);
/* Wipe what was released at least age_ns ago and is not marked. Costs nothing when nothing is released. */
void vault_sweep(struct vault *v, int64_t age_ns);

size_t vault_count(const struct vault *v);
size_t vault_bytes(const struct vault *v);

#endif
