/* draft.h — the files of a model's accepted state, collected in slices and put together by another thread.
 * Thread:  loop thread, except draft_compose().
 * Owns:    copies of all accepted texts, with the values of Secrets; wiped when it is freed.
 *
 * The model may change while a draft is collected: what changes is collected again at the end, so the cost of the last
 * step follows the change. The result is what model_write_config(), model_write_map() and model_each_file() would have
 * written at that moment, byte for byte.
 */
#ifndef HAPTIC_HAPROXY_DRAFT_H
#define HAPTIC_HAPROXY_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "haproxy/disk.h"
#include "haproxy/model.h"
#include "store/vault.h"

struct draft;

/* Items and sections of the model are held (model_hold_parts()) until draft_end(), so only one draft of a model can be
 * collected at a time: not while model_parts_are_held(). vault: may be NULL. */
struct draft *draft_begin(struct model *m, struct vault *vault);
/* After draft_end() the model may be gone, and any thread may free the draft. NULL is fine; always returns NULL. */
struct draft *draft_free(struct draft *d);

/* Collect for about budget_ns. *ret_is_done: everything was seen. ERR_NOTFOUND, ERR_INVALID: a value of a Secret cannot
 * be put in, or is part of a section's name; the text names the file or the section. */
int draft_step(struct draft *d, int64_t budget_ns, bool *ret_is_done, struct err *err) MUST_CHECK;
/* After the last step: collect again what has changed since. Changes after this do not count; the draft does not need
 * the model any more. After an error it can only be freed. */
int draft_end(struct draft *d, struct err *err) MUST_CHECK;
/* Append the text of haproxy.cfg to config, and the other files to files ("maps/NAME", "files/NAME", "certs/NAME").
 * Any thread, once, after draft_end(), while the loop thread leaves the draft alone. */
void draft_compose(struct draft *d, struct buf *config, struct disk_files *files);
/* The same with haproxy.cfg among the files, for check_start_composed(). Frees the draft: to wipe and free so much
 * would hold up the loop thread. */
void draft_files(void *draft, struct disk_files *files);

/* "files/x", "certs/y", "maps/z"; malloc'ed. */
char *draft_path(enum contribution_kind kind, const char *name);

#endif
