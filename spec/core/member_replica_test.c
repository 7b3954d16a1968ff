/* What a member was given is there again after a restart: to the last commit, whatever was being written then; a copy
 * that is damaged is named, and the one before it used; what HAProxy refuses is given back. */
#include <fcntl.h>
#include <unistd.h>

#include "offer_support.h"

#include "base/metric.h"
#include "haproxy/disk.h"
#include "member/replica.h"

struct receiver {
    struct model *model;
    struct vault *vault;
    struct metrics *metrics;
    struct replica *replica;
};

static char complaints[4096];

static void complain(const char *file, const struct err *err)
{
    size_t n = strlen(complaints);
    snprintf(complaints + n, sizeof(complaints) - n, "%s: %s\n", file, err->text);
}

static void receiver_begin(struct receiver *r, const char *directory)
{
    r->model = model_new();
    r->vault = vault_new(1 << 20);
    r->metrics = metrics_new();
    r->replica = replica_new(directory, r->model, r->vault, r->metrics);
    complaints[0] = '\0';
}

static void receiver_end(struct receiver *r)
{
    replica_free(r->replica);
    model_free(r->model);
    vault_free(r->vault);
    metrics_free(r->metrics);
}

static void take(struct receiver *r, const struct buf *bytes)
{
    struct offer o;
    struct err err;
    if (offer_read(buf_str(bytes), bytes->length, &o, &err) < 0 ||
        replica_take(r->replica, &o, buf_str(bytes), bytes->length, &err) < 0)
        fail_msg("%s", err.text);
    offer_done(&o);
}

static void take_whole(struct receiver *r, struct writer *w)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    writer_whole(w, &bytes);
    take(r, &bytes);
}

static void take_delta(struct receiver *r, struct writer *w)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    char hex[DIGEST_HEX_SIZE];
    writer_delta(w, replica_digest(r->replica, hex), &bytes);
    take(r, &bytes);
}

static char *digest_of_replica(const struct receiver *r)
{
    char hex[DIGEST_HEX_SIZE];
    return xstrdup(replica_digest(r->replica, hex));
}

static void write_file(const char *directory, const char *name, const char *bytes, size_t length)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", directory, name);
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, bytes, length) == (ssize_t)length);
}

static void read_file(const char *directory, const char *name, struct buf *out)
{
    struct err err;
    assert_int_equal(disk_read_file(directory, name, 1 << 26, out, &err), 0);
}

static void test_a_restart_knows_the_last_commit(void **state)
{
    char *directory = directory_new();
    struct replica_restored restored;
    struct receiver r, again;
    struct writer w;
    (void)state;
    writer_begin(&w);
    receiver_begin(&r, directory);
    replica_set_minimal(r.replica, "127.0.0.1:1");
    CLEANUP(free_ptr) char *none = digest_of_replica(&r);
    assert_string_equal(none, "");
    take_whole(&r, &w);
    replica_commit(r.replica);
    for (int i = 1; i < 40; i++) {
        writer_set(&w, i % 7, i % 5);
        take_delta(&r, &w);
        replica_commit(r.replica);
    }
    CLEANUP(free_ptr) char *committed = digest_of_replica(&r);
    writer_set(&w, 1, 9);
    take_delta(&r, &w); /* open: HAProxy does not have it yet */
    receiver_end(&r);

    receiver_begin(&again, directory);
    assert_true(replica_restore(again.replica, &restored, complain));
    assert_string_equal(restored.file, "bundle");
    assert_int_equal(restored.transitions, 3);
    CLEANUP(free_ptr) char *now = digest_of_replica(&again);
    assert_string_equal(now, committed);
    assert_string_equal(complaints, "");
    /* It goes on from there. */
    writer_set(&w, 3, 3);
    take_whole(&again, &w);
    assert_same_state(w.model, again.model);
    receiver_end(&again);
    writer_end(&w);
    directory_remove(directory);
}

/* The power is cut at any byte of the last write. */
static void test_what_was_being_written_does_not_count(void **state)
{
    char *directory = directory_new();
    CLEANUP(buf_done) struct buf before = {0}, after = {0};
    struct replica_restored restored;
    struct receiver r;
    struct writer w;
    (void)state;
    writer_begin(&w);
    receiver_begin(&r, directory);
    take_whole(&r, &w);
    replica_commit(r.replica);
    read_file(directory, REPLICA_FILE, &before);
    CLEANUP(free_ptr) char *old = digest_of_replica(&r);
    writer_set(&w, 1, 2);
    take_delta(&r, &w);
    replica_commit(r.replica);
    read_file(directory, REPLICA_FILE, &after);
    receiver_end(&r);
    assert_memory_equal(before.data, after.data, before.length);
    for (size_t length = before.length; length < after.length; length++) {
        write_file(directory, REPLICA_FILE, after.data, length);
        receiver_begin(&r, directory);
        assert_true(replica_restore(r.replica, &restored, complain));
        CLEANUP(free_ptr) char *now = digest_of_replica(&r);
        assert_string_equal(now, old);
        assert_int_equal(restored.cut, length - before.length);
        receiver_end(&r);
    }
    writer_end(&w);
    directory_remove(directory);
}

static void test_a_damaged_copy_is_named_and_the_one_before_used(void **state)
{
    char *directory = directory_new();
    CLEANUP(buf_done) struct buf bytes = {0};
    struct replica_restored restored;
    struct receiver r;
    struct writer w;
    (void)state;
    writer_begin(&w);
    receiver_begin(&r, directory);
    take_whole(&r, &w);
    replica_commit(r.replica);
    CLEANUP(free_ptr) char *old = digest_of_replica(&r);
    writer_set(&w, 1, 2);
    take_whole(&r, &w);
    replica_commit(r.replica);
    receiver_end(&r);
    read_file(directory, REPLICA_FILE, &bytes);
    for (size_t at = 0; at < bytes.length; at += 97) {
        bytes.data[at] ^= 1;
        write_file(directory, REPLICA_FILE, bytes.data, bytes.length);
        bytes.data[at] ^= 1;
        receiver_begin(&r, directory);
        assert_true(replica_restore(r.replica, &restored, complain));
        CLEANUP(free_ptr) char *now = digest_of_replica(&r);
        assert_string_equal(restored.file, REPLICA_PREVIOUS);
        assert_string_equal(now, old);
        if (strncmp(complaints, "bundle: at byte 0: ", 19) != 0 && !strstr(complaints, "no whole state"))
            fail_msg("byte %zu: \"%s\"", at, complaints);
        receiver_end(&r);
    }
    write_file(directory, REPLICA_FILE, "x", 1);
    write_file(directory, REPLICA_PREVIOUS, "", 0);
    receiver_begin(&r, directory);
    assert_false(replica_restore(r.replica, &restored, complain));
    assert_true(model_is_empty(r.model, MODEL_ACCEPTED));
    receiver_end(&r);
    writer_end(&w);
    directory_remove(directory);
}

static void test_what_is_refused_goes_back_to_the_commit(void **state)
{
    char *directory = directory_new();
    struct receiver r;
    struct writer w;
    (void)state;
    writer_begin(&w);
    receiver_begin(&r, directory);
    replica_set_minimal(r.replica, "127.0.0.1:1");
    take_whole(&r, &w);
    replica_roll_back(r.replica);
    assert_true(replica_is_minimal(r.replica));
    assert_accepted(r.model, "not configured");
    take_whole(&r, &w);
    replica_commit(r.replica);
    CLEANUP(free_ptr) char *good = digest_of_replica(&r);
    writer_set(&w, 1, 1);
    take_delta(&r, &w);
    writer_set(&w, 2, 1);
    writer_set(&w, 1, 0);
    take_delta(&r, &w);
    assert_true(replica_is_open(r.replica));
    replica_roll_back(r.replica);
    assert_false(replica_is_open(r.replica));
    CLEANUP(free_ptr) char *now = digest_of_replica(&r);
    assert_string_equal(now, good);
    receiver_end(&r);
    writer_end(&w);
    directory_remove(directory);
}

/* HAProxy is away, and offers go on and on. */
static void test_many_open_offers_go_back_to_the_commit(void **state)
{
    char *directory = directory_new();
    struct replica_restored restored;
    struct receiver r;
    struct writer w;
    (void)state;
    writer_begin(&w);
    receiver_begin(&r, directory);
    take_whole(&r, &w);
    writer_set(&w, 3, 1);
    take_delta(&r, &w);
    replica_commit(r.replica);
    CLEANUP(free_ptr) char *good = digest_of_replica(&r);
    CLEANUP(free_ptr) char *config = model_config(r.model, MODEL_ACCEPTED);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 300; i++) {
            writer_set(&w, i % 9, i % 5);
            take_delta(&r, &w);
            struct model_changes changes = {0};
            model_take_changes(r.model, &changes);
            model_changes_done(&changes);
        }
        if (round == 1)
            break;
        replica_roll_back(r.replica);
        CLEANUP(free_ptr) char *now = digest_of_replica(&r);
        CLEANUP(free_ptr) char *again = model_config(r.model, MODEL_ACCEPTED);
        assert_string_equal(now, good);
        assert_string_equal(again, config);
        writer_set(&w, 3, 1);
        take_whole(&r, &w);
    }
    replica_commit(r.replica);
    CLEANUP(free_ptr) char *last = digest_of_replica(&r);
    receiver_end(&r);
    receiver_begin(&r, directory);
    assert_true(replica_restore(r.replica, &restored, complain));
    CLEANUP(free_ptr) char *now = digest_of_replica(&r);
    assert_string_equal(now, last);
    assert_same_state(w.model, r.model);
    receiver_end(&r);
    writer_end(&w);
    directory_remove(directory);
}

static void test_an_offer_from_elsewhere_is_told_where_this_is(void **state)
{
    char *directory = directory_new();
    CLEANUP(buf_done) struct buf bytes = {0};
    struct receiver r;
    struct writer w;
    struct offer o;
    struct err err;
    (void)state;
    writer_begin(&w);
    receiver_begin(&r, directory);
    take_whole(&r, &w);
    CLEANUP(free_ptr) char *here = digest_of_replica(&r);
    writer_set(&w, 1, 1);
    writer_delta(&w, "0123456789abcdef0123456789abcdef", &bytes);
    assert_int_equal(offer_read(bytes.data, bytes.length, &o, &err), 0);
    assert_int_equal(replica_take(r.replica, &o, bytes.data, bytes.length, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_non_null(strstr(err.text, here));
    offer_done(&o);
    receiver_end(&r);
    writer_end(&w);
    directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_restart_knows_the_last_commit),
        cmocka_unit_test(test_what_was_being_written_does_not_count),
        cmocka_unit_test(test_a_damaged_copy_is_named_and_the_one_before_used),
        cmocka_unit_test(test_what_is_refused_goes_back_to_the_commit),
        cmocka_unit_test(test_many_open_offers_go_back_to_the_commit),
        cmocka_unit_test(test_an_offer_from_elsewhere_is_told_where_this_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
