/* A kind of which only what finds its objects is kept: what that saves, who brings a text, and what goes wrong. */
#include "kube_script.h"

#include "store/ask.h"
#include "store/source_kube.h"

static struct script server;
static struct kube_client *client;
static struct store *store;
static struct store_kind *kind;
static struct source_kube *source;
static struct buf told; /* what is answered, and what the store tells */
static unsigned synced, changes, answers, reports;
static char last_report[1200];
static struct script_conn *watching;
static unsigned gets, open_gets, most_open;
static int get_status; /* of the next GET */
static bool is_held;   /* GETs are not answered yet */
static struct script_conn *waiting[256];
static size_t object_count, object_bytes;

#define RESOURCES \
    "{\"resources\":[{\"name\":\"things\",\"kind\":\"Thing\",\"namespaced\":true,\"verbs\":[\"list\",\"watch\"]}]}"
#define LISTED \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\",\"annotations\":{" \
    "\"k8s.io/initial-events-end\":\"true\"}}}}"

static char *thing_text(const char *name, const char *version, char fill)
{
    CLEANUP(free_ptr) char *bytes = xmalloc(object_bytes + 1);
    /* Letters that depend on the name, so that no other text helps to write them. */
    for (size_t i = 0, random = strtoul(name + 1, NULL, 10) * 7919 + (size_t)fill; i < object_bytes; i++)
        bytes[i] = (char)('a' + ((random = random * 6364136223846793005 + 1442695040888963407) >> 56) % 26);
    bytes[object_bytes] = '\0';
    return xasprintf(
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\",\"labels\":{\"g\":\"g%c\"},\"resourceVersion\":"
        "\"%s\"},\"text\":\"%s\"}",
        name, name[strlen(name) - 1], version, bytes);
}

static void send_event(struct script_conn *c, const char *type, const char *name, const char *version, char fill)
{
    CLEANUP(free_ptr) char *text = thing_text(name, version, fill);
    CLEANUP(free_ptr) char *line = xasprintf("{\"type\":\"%s\",\"object\":%s}", type, text);
    script_line(c, line);
}

static void answer_get(struct script_conn *c)
{
    open_gets--;
    if (get_status == 200) {
        CLEANUP(free_ptr) char *text = thing_text(strrchr(c->target, '/') + 1, "1", 'x');
        script_reply(c, 200, NULL, text);
    } else {
        script_reply(c, get_status, NULL, "{\"message\":\"no\"}");
    }
}

static void serve(struct script_conn *c)
{
    if (strcmp(c->target, "/apis/x/v1") == 0) {
        script_reply(c, 200, NULL, RESOURCES);
    } else if (script_has(c, "watch=1")) {
        script_open(c);
        watching = c;
        for (size_t i = 0; i < object_count; i++) {
            char name[32];
            snprintf(name, sizeof(name), "t%zu", i);
            send_event(c, "ADDED", name, "1", 'x');
        }
        script_line(c, LISTED);
    } else {
        assert_non_null(strstr(c->target, "/apis/x/v1/namespaces/n/things/"));
        if (gets < 256)
            waiting[gets] = c;
        gets++;
        most_open = ++open_gets > most_open ? open_gets : most_open;
        if (!is_held)
            answer_get(c);
    }
}

static void on_store(void *ctx, enum store_event event, struct store_kind *of, struct object *now,
                     struct object *before)
{
    (void)ctx, (void)of;
    synced += event == STORE_EVENT_SYNCED;
    changes += event != STORE_EVENT_SYNCED;
    if (event != STORE_EVENT_SYNCED && synced > 0)
        buf_printf(&told, "%c%s:%s ",
                   event == STORE_EVENT_DELETE ? '-'
                   : before                    ? '~'
                                               : '+',
                   now ? now->id : before->id, now && now->text_length > 0 ? "text" : "key");
}

static void on_answer(void *ctx, const char *name, const char *id, const char *refusal)
{
    (void)ctx, (void)name;
    answers += refusal != NULL;
    buf_printf(&told, "=%s[%s] ", id, refusal ? refusal : "void");
}

static void on_report(void *ctx, const char *name, const struct err *err, const char *reason, int64_t retry_in_ns)
{
    (void)ctx, (void)retry_in_ns;
    reports += err != NULL;
    if (err)
        snprintf(last_report, sizeof(last_report), "%s %s: %s", name, reason, err->text);
}

static void begin(bool is_on_demand, size_t count, size_t bytes)
{
    static const char *const index[] = {"metadata.labels.g", NULL};
    struct store_kind_spec spec = {
        .name = "things", .api_version = "x/v1", .resource = "things", .index_by = index, .is_on_demand = is_on_demand};
    struct err err;
    buf_clear(&told);
    synced = changes = answers = reports = gets = open_gets = most_open = 0;
    get_status = 200;
    is_held = false;
    object_count = count;
    object_bytes = bytes;
    script_init(&server, serve);
    client = script_client(&server);
    store = store_new(1 << 20, (size_t)1 << 30);
    store_listen(store, on_store, NULL);
    asks_listen(store_asks(store), on_answer, NULL);
    assert_int_equal(store_add_kind(store, &spec, &kind, &err), 0);
    if (source_kube_new(client, store, NULL, on_report, NULL, &source, &err) < 0)
        fail_msg("%s", err.text);
    script_wait_for(&server, &synced, 1, 60);
    buf_clear(&told);
}

static void finish(void)
{
    source = source_kube_free(source);
    asks_unlisten(store_asks(store), on_answer, NULL);
    client = kube_client_free(client);
    store = store_free(store);
    script_done(&server);
    buf_done(&told);
}

static void expect(const char *want)
{
    if (strcmp(buf_str(&told), want) != 0)
        fail_msg("told \"%s\", want \"%s\" (%s)", buf_str(&told), want, last_report);
}

static size_t text_of(const char *id)
{
    const struct object *o = store_get(kind, id);
    return o ? o->text_length : 0;
}

static void what_is_not_read_costs_its_key(void **state)
{
    size_t whole, keys;
    (void)state;
    begin(false, 5000, 4096);
    whole = store_kind_bytes(kind);
    assert_int_equal(store_kind_objects(kind), 5000);
    finish();
    begin(true, 5000, 4096);
    keys = store_kind_bytes(kind);
    assert_int_equal(store_kind_objects(kind), 5000);
    assert_string_equal(store_get(kind, "n/t4999")->index[0], "g9");
    assert_string_equal(store_get(kind, "n/t4999")->resource_version, "1");
    printf("5 000 objects of 4 KiB: %zu bytes whole, %zu bytes as keys\n", whole, keys);
    assert_true(whole > (size_t)5000 * 4096);
    assert_true(keys < (size_t)5000 * 300);
    /* Fifty of them are read. */
    for (int i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof(id), "n/t%d", i);
        asks_add(store_asks(store), "things", id);
    }
    script_wait_for(&server, &answers, 50, 60);
    assert_int_equal(gets, 50);
    assert_true(store_kind_bytes(kind) > (size_t)50 * 4096 && store_kind_bytes(kind) < (size_t)60 * 4096 + keys);
    finish();
}

static void a_text_is_here_while_somebody_asks(void **state)
{
    struct asks *asks;
    (void)state;
    begin(true, 3, 10);
    asks = store_asks(store);
    asks_add(asks, "things", "n/t1");
    script_wait_for(&server, &answers, 1, 10);
    expect("~n/t1:text =n/t1[] ");
    buf_clear(&told);
    /* Its changes come by the watch, those of the others are nothing. */
    send_event(watching, "MODIFIED", "t2", "2", 'y');
    send_event(watching, "MODIFIED", "t1", "2", 'y');
    script_wait_for(&server, &changes, 5, 10);
    expect("~n/t1:text ");
    assert_string_equal(store_get(kind, "n/t2")->resource_version, "2");
    /* The second who asks, and one for what does not exist. */
    buf_clear(&told);
    asks_add(asks, "things", "n/t1");
    asks_add(asks, "things", "n/none");
    expect("=n/none[] ");
    assert_int_equal(gets, 1);
    asks_remove(asks, "things", "n/t1");
    assert_true(text_of("n/t1") > 0);
    asks_remove(asks, "things", "n/t1");
    assert_int_equal(text_of("n/t1"), 0);
    assert_non_null(store_get(kind, "n/t1"));
    /* What did not exist and comes is kept whole: it is asked for. */
    send_event(watching, "ADDED", "none", "3", 'z');
    script_wait_for(&server, &changes, 6, 10);
    expect("=n/none[] +n/none:text ");
    finish();
}

static void what_goes_wrong_is_told_and_tried_again(void **state)
{
    struct asks *asks;
    (void)state;
    begin(true, 3, 10);
    asks = store_asks(store);
    get_status = 403;
    asks_add(asks, "things", "n/t0");
    script_wait_for(&server, &answers, 1, 10);
    expect("=n/t0[the controller may not read it: its account needs the verb get for things in the namespace n] ");
    assert_non_null(strstr(last_report, "things unread: get things n/t0: 403"));
    buf_clear(&told);
    get_status = 404; /* the deletion is on its way */
    asks_add(asks, "things", "n/t1");
    script_wait_for(&server, &answers, 2, 10);
    expect("-n/t1:key =n/t1[] ");
    buf_clear(&told);
    reports = 0;
    get_status = 500;
    asks_add(asks, "things", "n/t2");
    script_wait_for(&server, &reports, 1, 10);
    assert_non_null(strstr(last_report, "things unread: get things n/t2: 500"));
    get_status = 200;
    script_wait_for(&server, &answers, 3, 10);
    expect("~n/t2:text =n/t2[] ");
    finish();
}

/* Is that object among those that were requested? */
static bool is_requested(const char *name)
{
    for (unsigned i = 0; i < gets; i++)
        if (strcmp(strrchr(waiting[i]->target, '/') + 1, name) == 0)
            return true;
    return false;
}

static void a_burst_is_bounded(void **state)
{
    char id[32];
    int later = 0;
    (void)state;
    begin(true, 200, 10);
    is_held = true;
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "n/t%d", i);
        asks_add(store_asks(store), "things", id);
    }
    script_wait_for(&server, &gets, 16, 10);
    script_run_ms(&server, 100);
    assert_int_equal(gets, 16);
    do
        snprintf(id, sizeof(id), "n/t%d", later++);
    while (is_requested(id + 2));
    asks_remove(store_asks(store), "things", id); /* it was not its turn yet */
    is_held = false;
    for (unsigned i = 0; i < 16; i++)
        answer_get(waiting[i]);
    script_wait_for(&server, &answers, 99, 30);
    assert_int_equal(gets, 99);
    assert_true(most_open <= 16);
    finish();
}

/* While a list is taken over, what was fetched is in neither. */
static void a_list_that_begins_anew_keeps_what_is_asked_for(void **state)
{
    (void)state;
    begin(true, 3, 10);
    asks_add(store_asks(store), "things", "n/t1");
    script_wait_for(&server, &answers, 1, 10);
    synced = 0;
    script_line(watching, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}");
    script_run_ms(&server, 500);
    assert_int_equal(store_kind_objects(kind), 3);
    assert_true(text_of("n/t1") > 0);
    assert_int_equal(text_of("n/t0"), 0);
    assert_int_equal(gets, 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_read_costs_its_key),
        cmocka_unit_test(a_text_is_here_while_somebody_asks),
        cmocka_unit_test(what_goes_wrong_is_told_and_tried_again),
        cmocka_unit_test(a_burst_is_bounded),
        cmocka_unit_test(a_list_that_begins_anew_keeps_what_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
