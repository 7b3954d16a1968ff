/* Each file has the keys ("kind/id") that it claims. A round reads the files that changed, then settles each touched
 * key: the claiming file with the smallest path owns it and its object is put. After all puts, keys without a claim are
 * deleted. When the owner of an object has changed and the round has not read the new owner, that file is read again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/source_dir_state.h"

/* The files that define an object. */
struct claim {
    VEC(struct dir_file *) files;
    struct dir_file *first; /* the file with the smallest path; NULL: to be found */
    struct dir_file *owner; /* the file whose object is in the store */
    bool is_touched;
};

/* ── claims ──────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void claim_free(struct claim *claim)
{
    vec_done(&claim->files);
    free(claim);
}

void dir_claims_done(struct map *claims)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(claims, &it));)
        claim_free(slot->value);
    map_done(claims);
}

static struct claim *claim_touch(struct source_dir *d, const char *key)
{
    struct claim *claim = map_get(&d->claims, key);

    if (!claim) {
        claim = xcalloc(1, sizeof(*claim));
        (void)map_put(&d->claims, key, claim);
    }
    if (!claim->is_touched)
        vec_push(&d->touched, xstrdup(key));
    claim->is_touched = true;
    return claim;
}

static void claim_remove(struct source_dir *d, const char *key, struct dir_file *file)
{
    struct claim *claim = claim_touch(d, key);

    for (size_t i = 0; i < claim->files.length; i++)
        if (claim->files.items[i] == file) {
            vec_swap_remove(&claim->files, i);
            break;
        }
    if (claim->owner == file)
        claim->owner = NULL;
    if (claim->first == file)
        claim->first = NULL;
}

/* True when the file did not claim the key before. */
static bool claim_add(struct source_dir *d, const char *key, struct dir_file *file)
{
    struct claim *claim = claim_touch(d, key);

    for (size_t i = 0; i < claim->files.length; i++)
        if (claim->files.items[i] == file)
            return false;
    vec_push(&claim->files, file);
    if (claim->first && strcmp(file->path, claim->first->path) < 0)
        claim->first = file;
    return true;
}

/* The file's claims become the keys of its entries and of the objects that stay. A file that cannot be read keeps all
 * its claims. */
static void file_claim(struct source_dir *d, struct dir_file *file)
{
    struct dir_keys before = {0};

    if (file->is_whole || file->is_gone) {
        before = file->keys;
        file->keys = (struct dir_keys){0};
        for (size_t i = 0; i < before.length; i++) {
            if (!file->is_gone && dir_file_holds(file, before.items[i]))
                vec_push(&file->keys, STEAL(before.items[i]));
            else
                claim_remove(d, before.items[i], file);
        }
    }
    for (size_t i = 0; i < file->entries.length; i++)
        if (claim_add(d, file->entries.items[i].key, file))
            vec_push(&file->keys, xstrdup(file->entries.items[i].key));
    dir_keys_clear(&before);
    vec_done(&before);
}

static struct dir_file *claim_first(struct claim *claim)
{
    for (size_t i = 0; i < claim->files.length && !(claim->first && i == 0); i++)
        if (!claim->first || strcmp(claim->files.items[i]->path, claim->first->path) < 0)
            claim->first = claim->files.items[i];
    return claim->first;
}

/* ── a round ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void put_entry(struct source_dir *d, struct dir_file *file, const struct dir_entry *entry)
{
    const struct manifest_object *o = &file->manifest.items[entry->object];
    struct err err = {0};

    if (store_put_value(entry->kind, o->value, NULL, &err) < 0)
        dir_file_wrong(d, file, o->line, err.text);
}

static void report_second(struct source_dir *d, struct dir_file *file, const struct dir_entry *entry,
                          const struct dir_file *owner)
{
    const struct manifest_object *o = &file->manifest.items[entry->object];
    CLEANUP(free_ptr)
    char *message = xasprintf("%s %s%s%s is also defined in %s; that one is used", o->kind, o->namespace,
                              *o->namespace ? "/" : "", o->name, owner->path);

    dir_file_wrong(d, file, o->line, message);
}

/* Puts the objects that fresh files own. The others belong to other files. */
static void put_fresh(struct source_dir *d, struct dir_file *file, struct map *settled)
{
    for (size_t i = 0; i < file->entries.length; i++) {
        const struct dir_entry *entry = &file->entries.items[i];
        struct claim *claim = map_get(&d->claims, entry->key);
        struct dir_file *owner = claim_first(claim);

        if (owner != file) {
            report_second(d, file, entry, owner);
            continue;
        }
        claim->owner = file;
        (void)map_put(settled, entry->key, claim);
        put_entry(d, file, entry);
    }
}

/* Keys whose owner was not read in this round: their objects are in an unchanged file. When the first of them is met,
 * all objects of this file are put. */
static void put_inherited(struct source_dir *d, struct dir_file *owner, const struct map *settled)
{
    if (!owner->is_fresh) {
        struct stat known = owner->stat; /* so that a later change is still noticed */
        bool is_read = dir_file_load(d, owner);
        owner->stat = known;
        if (!is_read)
            return;
        vec_push(&d->dirty, owner);
    }
    for (size_t i = 0; i < owner->entries.length; i++) {
        const struct dir_entry *entry = &owner->entries.items[i];
        struct claim *claim = map_get(&d->claims, entry->key);
        if (!claim || !claim->is_touched || claim->owner == owner || claim_first(claim) != owner ||
            map_get(settled, entry->key))
            continue;
        claim->owner = owner;
        put_entry(d, owner, entry);
    }
}

static void delete_key(struct source_dir *d, const char *key)
{
    const char *slash = strchr(key, '/'), *second = strchr(slash + 1, '/');
    CLEANUP(free_ptr) char *kind_name = xmemdup0(key, (size_t)(slash - key));
    CLEANUP(free_ptr) char *namespace = second ? xmemdup0(slash + 1, (size_t)(second - slash - 1)) : xstrdup("");
    struct store_kind *kind = store_kind_by_name(d->store, kind_name);

    if (kind)
        store_delete(kind, namespace, second ? second + 1 : slash + 1, NULL);
}

static void settle(struct source_dir *d)
{
    struct map settled, inherited;

    map_init(&settled, true);
    map_init(&inherited, true);
    for (size_t i = 0; i < d->dirty.length; i++)
        put_fresh(d, d->dirty.items[i], &settled);
    /* A file of this round may now come before the present owner. */
    for (size_t i = 0; i < d->touched.length; i++) {
        struct claim *claim = map_get(&d->claims, d->touched.items[i]);
        struct dir_file *first = claim_first(claim);
        if (first && !map_get(&settled, d->touched.items[i]) && claim->owner != first &&
            !map_put(&inherited, first->path, first))
            put_inherited(d, first, &settled);
    }
    map_done(&inherited);
    map_done(&settled);
    for (size_t i = 0; i < d->touched.length; i++) {
        struct claim *claim = map_get(&d->claims, d->touched.items[i]);
        claim->is_touched = false;
        if (claim->files.length > 0)
            continue;
        delete_key(d, d->touched.items[i]);
        claim_free(map_del(&d->claims, d->touched.items[i]));
    }
    dir_keys_clear(&d->touched);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp((*(struct dir_file *const *)a)->path, (*(struct dir_file *const *)b)->path);
}

void dir_round_run(struct source_dir *d)
{
    if (d->dirty.length == 0)
        return;
    qsort(d->dirty.items, d->dirty.length, sizeof(d->dirty.items[0]), compare_files);
    size_t count = 0;
    for (size_t i = 0; i < d->dirty.length; i++)
        if (i == 0 || d->dirty.items[i] != d->dirty.items[i - 1])
            d->dirty.items[count++] = d->dirty.items[i];
    d->dirty.length = count;

    CLEANUP(free_ptr) bool *was_wrong = xcalloc(count, sizeof(*was_wrong));
    dir_files_parse(d->dirty.items, count);
    for (size_t i = 0; i < count; i++) {
        struct dir_file *file = d->dirty.items[i];
        was_wrong[i] = file->is_wrong;
        if (file->is_gone)
            file->is_wrong = false;
        else
            (void)dir_file_load(d, file);
        file_claim(d, file);
    }
    settle(d);
    for (size_t i = 0; i < d->dirty.length; i++) {
        struct dir_file *file = d->dirty.items[i];
        dir_file_unload(file);
        if (i < count && was_wrong[i] && !file->is_wrong)
            d->report(d->ctx, SOURCE_DIR_RIGHT, file->path, 0, NULL);
    }
    for (size_t i = 0; i < count; i++)
        if (d->dirty.items[i]->is_gone) {
            (void)map_del(&d->files, d->dirty.items[i]->path);
            dir_file_free(d->dirty.items[i]);
        }
    vec_clear(&d->dirty);
}
