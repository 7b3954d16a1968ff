/* Tests of check.c: about forty kinds of mistakes put to each real series, and the jail. The messages alone:
 * haproxy_check_messages_test.c. */
#include "haproxy_support.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "haproxy/check.h"

#define SECOND NS_PER_S

static const char head[] = "global\n"
                           "  default-path config\n"
                           "  maxconn 100\n"
                           "defaults base\n"
                           "  mode http\n"
                           "  timeout client 5s\n"
                           "  timeout server 5s\n"
                           "  timeout connect 1s\n"
                           "frontend always from base\n"
                           "  bind 127.0.0.1:1\n"; /* line 10 */

/* What is put after it (from line 11 on), and what must be found out. */
static const struct mistake {
    const char *body;
    unsigned line;
    const char *section, *name, *server, *file;
    unsigned file_line;
    const char *text; /* part of it */
} mistakes[] = {
    {"backend a from base\n  bogus x\n", 12, NULL, NULL, NULL, NULL, 0, "unknown keyword 'bogus'"},
    {"bogus a\n", 11, NULL, NULL, NULL, NULL, 0, "bogus"},
    {"  use_backend %[path,map(none.map)]\n", 11, NULL, NULL, NULL, "none.map", 0, "failed to open pattern file"},
    {"  use_backend %[src,map_ip(maps/bad.map)]\n", 11, NULL, NULL, NULL, "maps/bad.map", 2, "not a valid IPv4"},
    {"  use_backend nope if TRUE\n", 0, "proxy", "always", NULL, NULL, 0,
     "unable to find required use_backend: 'nope'"},
    {"  default_backend nope\n", 0, "proxy", "always", NULL, NULL, 0,
     "unable to find required default_backend: 'nope'"},
    {"backend a from base\nbackend a from base\n", 12, "backend", "a", NULL, NULL, 0, "same name"},
    {"backend a from base\n  server s 1.2.3.4:80\n  server s 1.2.3.5:80\n", 13, "backend", "a", NULL, NULL, 0,
     "another server named 's'"},
    {"backend a from base\n  server s 1.2.3.4:99999\n", 12, "proxy", "a", "s", NULL, 0, "invalid port"},
    {"backend a from base\n  server s 1.2.3.4:80 bogus\n", 12, "proxy", "a", "s", NULL, 0, "unknown keyword 'bogus'"},
    {"backend a from base\n  server s 1.2.3.4:80 ssl\n", 12, "proxy", "a", "s", NULL, 0,
     "verify is enabled by default"},
    {"backend a from base\n  server s\n", 12, NULL, NULL, NULL, NULL, 0, "expects <name> and <addr>"},
    {"backend a from base\n  acl x bogus_fetch foo\n", 12, NULL, NULL, NULL, NULL, 0,
     "unknown fetch method 'bogus_fetch'"},
    {"backend a from base\n  http-request deny if nope\n", 12, NULL, NULL, NULL, NULL, 0, "no such ACL : 'nope'"},
    {"  bind :8 ssl crt certs/none.pem\n", 11, NULL, NULL, NULL, "certs/none.pem", 0, "No such file"},
    {"  bind :8 ssl crt files/bad.pem\n", 11, NULL, NULL, NULL, "files/bad.pem", 0, "unable to load certificate"},
    {"  bind :8 ssl crt-list files/bad.list\n", 11, NULL, NULL, NULL, "none.pem", 0, "crt-list"},
    {"backend a from base\n  server s 1.2.3.4:80 ssl ca-file certs/none.pem\n", 12, "proxy", "a", "s", "certs/none.pem",
     0, "Couldn't open the ca-file"},
    {"backend a from base\n  errorfile 503 none.http\n", 12, NULL, NULL, NULL, "none.http", 0, "error opening file"},
    {"backend a from nodef\n", 11, "backend", "a", NULL, NULL, 0, "defaults section 'nodef' not found"},
    {"backend a from base\n  http-request replace-path ([ x\n", 12, "backend", "a", NULL, NULL, 0,
     "failed to parse the regex"},
    {"backend a from base\n  http-request set-header X %[bogus]\n", 12, "backend", "a", NULL, NULL, 0,
     "unknown fetch method 'bogus'"},
    {"backend a from base\n  timeout server bogus\n", 12, NULL, NULL, NULL, NULL, 0, "unexpected character 'b'"},
    {"backend a from base\n  http-request set-header X \"abc\n", 12, NULL, NULL, NULL, NULL, 0, "unmatched quote"},
    {"  default_backend a\nbackend a from base\n  mode tcp\n", 9, "frontend", "always", NULL, NULL, 0, "incompatible"},
    {"backend a from base\n  server s x.y:80 resolvers nope\n", 0, "backend", "a", "s", NULL, 0,
     "unable to find required resolvers"},
    {"backend a from base\n  stick-table type ip size 10 peers nope\n", 0, "proxy", "a", NULL, NULL, 0,
     "unable to find sync peers"},
    {"backend a from base\n  http-request track-sc0 src table nope\n", 0, "proxy", "a", NULL, NULL, 0,
     "unable to find table 'nope'"},
    {"backend a from base\n  http-request auth unless { http_auth(nope) }\n", 12, "proxy", "a", NULL, NULL, 0,
     "unable to find userlist 'nope'"},
    {"backend a from base\n  filter bogus\n", 12, NULL, NULL, NULL, NULL, 0, "unknown keyword 'bogus'"},
    {"global\n  lua-load files/bad.lua\n", 12, NULL, NULL, NULL, "files/bad.lua", 0, "unexpected symbol near '='"},
    {"backend a from base\n  server s 1.2.3.4:80 track b/x\n", 12, "proxy", "a", "s", NULL, 0,
     "unable to find required proxy 'b'"},
    {"backend a from base\n  use-server nope if TRUE\n", 0, "backend", "a", NULL, NULL, 0,
     "unable to find server 'nope'"},
    {"backend a from base\n  id 5\nbackend b from base\n  id 5\n", 14, NULL, NULL, NULL, NULL, 0, "same custom id"},
    {"backend a from base\n  server s 1.2.3.4:80 id 1\n  server t 1.2.3.4:80 id 1\n", 13, "proxy", "a", "t", NULL, 0,
     "already used"},
    {"backend a from base\n  balance bogus\n", 12, NULL, NULL, NULL, NULL, 0, "balance only supports"},
    {"backend a from base\n  server s 1.2.3.4:80", 12, NULL, NULL, NULL, NULL, 0, "Missing LF on last line"},
    {"backend a from base\n  http-request cache-use nope\n", 0, "backend", "a", NULL, NULL, 0,
     "unable to find the cache 'nope'"},
    {"backend a from base\n  use-fcgi-app nope\n  server s 1.2.3.4:80 proto fcgi\n", 0, "proxy", "a", NULL, NULL, 0,
     "fcgi-app 'nope' not found"},
    {"backend a from base\n  compression algo bogus\n", 12, NULL, NULL, NULL, NULL, 0, "not a supported algorithm"},
    {"backend a from base\n  retry-on bogus\n", 12, NULL, NULL, NULL, NULL, 0, "unknown keyword 'bogus'"},
};

/* --- real HAProxy --- */

struct outcome {
    bool told, ok;
    enum err_kind kind;
    char *error;
    struct check_message first;
    size_t count, warnings;
    char *copies[5];
    char *output;
    int64_t duration_ns;
};

static const char *copy(struct outcome *o, int slot, const char *text)
{
    o->copies[slot] = text ? xstrdup(text) : NULL;
    return o->copies[slot];
}

static void take(void *ctx, const struct check_result *result)
{
    struct outcome *o = ctx;
    assert_false(o->told);
    o->told = true;
    o->ok = result->ok;
    o->kind = result->err ? result->err->kind : ERR_NONE;
    o->error = xstrdup(result->err ? result->err->text : "");
    o->count = result->count;
    o->warnings = result->warning_count;
    o->output = xstrdup(result->output);
    o->duration_ns = result->duration_ns;
    if (result->count) {
        o->first = result->messages[0];
        o->first.section = copy(o, 0, o->first.section);
        o->first.name = copy(o, 1, o->first.name);
        o->first.server = copy(o, 2, o->first.server);
        o->first.file = copy(o, 3, o->first.file);
        o->first.text = copy(o, 4, o->first.text);
    }
}

static void outcome_done(struct outcome *o)
{
    for (size_t i = 0; i < ARRAY_LEN(o->copies); i++)
        free(o->copies[i]);
    free(o->error);
    free(o->output);
    memset(o, 0, sizeof(*o));
}

static struct disk_files files_with(const char *body)
{
    struct disk_files files = {0};
    char *config = xasprintf("%s%s", head, body);
    disk_files_take(&files, DISK_CONFIG, config, strlen(config));
    disk_files_add(&files, "maps/bad.map", "1.2.3.4 a\nnonsense b\n", 21);
    disk_files_add(&files, "files/bad.pem", "garbage\n", 8);
    disk_files_add(&files, "files/bad.list", "none.pem\n", 9);
    disk_files_add(&files, "files/bad.lua", "x = = 1\n", 8);
    return files;
}

static size_t leftovers(const char *directory)
{
    size_t count = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void check_one(struct outcome *o, const struct check_config *config, const char *body)
{
    uv_loop_t loop;
    struct disk_files files = files_with(body);
    uv_loop_init(&loop);
    check_start(&loop, config, &files, take, o);
    assert_int_equal(files.items.length, 0);
    assert_false(o->told);
    assert_true(loop_until(&loop, &o->told, 60));
    loop_end(&loop);
    if (config->temporary)
        assert_int_equal(leftovers(config->temporary), 0);
}

static void same(const char *what, const char *body, const char *got, const char *wanted)
{
    if ((got == NULL) != (wanted == NULL) || (got && strcmp(got, wanted) != 0))
        fail_msg("%s of \"%s\": %s, not %s", what, body, got ? got : "none", wanted ? wanted : "none");
}

static void each_series(void (*test)(const char *series, const struct check_config *config))
{
    int found = 0;
    for (size_t i = 0; i < ARRAY_LEN(haproxy_series); i++) {
        CLEANUP(free_ptr) char *binary = haproxy_binary(haproxy_series[i]);
        if (!binary)
            continue;
        found++;
        char *temporary = directory_new();
        struct check_config config = {.binary = binary, .temporary = temporary, .tells_all = true};
        test(haproxy_series[i], &config);
        directory_remove(temporary);
    }
    if (!found)
        skip();
}

static void test_mistakes(const char *series, const struct check_config *config)
{
    print_message("HAProxy %s\n", series);
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        const struct mistake *m = &mistakes[i];
        struct outcome o = {0};
        check_one(&o, config, m->body);
        if (o.kind != ERR_NONE || o.ok || o.count == 0)
            fail_msg("\"%s\": %s%s", m->body, o.error, o.output);
        if (o.first.line != m->line)
            fail_msg("line of \"%s\": %u, not %u: %s", m->body, o.first.line, m->line, o.first.text);
        /* Some series name the section where others do not: it must be the right one then. */
        if (m->section || m->line == 0)
            same("section", m->body, o.first.section, m->section);
        if (m->name)
            same("name", m->body, o.first.name, m->name);
        same("server", m->body, o.first.server, m->server);
        same("file", m->body, o.first.file, m->file);
        assert_int_equal(o.first.file_line, m->file_line);
        if (!strstr(o.first.text, m->text))
            fail_msg("text of \"%s\": %s", m->body, o.first.text);
        assert_null(strchr(o.first.text, '\n'));
        outcome_done(&o);
    }
}

static void mistakes_are_located(void **state UNUSED)
{
    each_series(test_mistakes);
}

static void test_good(const char *series UNUSED, const struct check_config *config)
{
    struct outcome o = {0};
    check_one(&o, config, "backend a from base\n  server s 1.2.3.4:80\n");
    assert_string_equal(o.error, "");
    assert_true(o.ok);
    assert_int_equal(o.count, 0);
    outcome_done(&o);
    check_one(&o, config, "defaults other\n  mode http\nbackend b from other\n  server s 1.2.3.4:80\n");
    assert_true(o.ok);
    assert_true(o.warnings >= 1);
    outcome_done(&o);
    /* No name is looked up, and what does not resolve is not wrong. */
    check_one(&o, config, "backend a from base\n  server s nowhere.invalid:80\n");
    assert_true(o.ok);
    assert_true(o.duration_ns < 5 * SECOND);
    outcome_done(&o);
    /* Several mistakes are all told, without the summary. */
    check_one(&o, config, "backend a from base\n  bogus1\n  bogus2\n");
    assert_false(o.ok);
    assert_int_equal(o.count, 2);
    outcome_done(&o);
}

static void good_ones_pass(void **state UNUSED)
{
    each_series(test_good);
}

/* HAProxy makes the key of an account that is not there, which it cannot in the jail; and a certificate. */
static void test_acme(const char *series, const struct check_config *config)
{
    struct outcome o = {0};
    if (strcmp(series, "3.4") < 0)
        return;
    check_one(&o, config,
              "global\n  expose-experimental-directives\nacme a\n  directory https://a.invalid/\n"
              "  account-key acme/account.key\n  map virt@acme\n"
              "crt-store\n  load crt acme/a.pem acme a domains a.example\n"
              "frontend f from base\n  bind :8 ssl crt acme/a.pem\n"
              "  http-request deny if { path,map(virt@acme) -m found }\n");
    assert_string_equal(o.error, "");
    if (!o.ok)
        fail_msg("%s", o.output);
    outcome_done(&o);
    check_one(&o, config,
              "global\n  expose-experimental-directives\nacme a\n  directory https://a.invalid/\n"
              "  account-key files/none.key\n");
    assert_false(o.ok);
    outcome_done(&o);
}

static void accounts_need_no_key(void **state UNUSED)
{
    each_series(test_acme);
}

/* Lua that HAProxy loads while it reads a configuration is the most that a configuration can do. */
static const char jail_lua[] =
    "local out = {}\n"
    "local function try(name, fn) local ok, a, b = pcall(fn); out[#out + 1] = name .. '=' .. tostring(ok and a and true or false) end\n"
    "try('run', function() return os.execute('true') end)\n"
    "try('popen', function() local p = io.popen('echo hello'); return p and p:read('a') == 'hello\\n' end)\n"
    "try('write_out', function() return io.open(os.getenv('OUTSIDE') .. '/written', 'w') end)\n"
    "try('write_in', function() return io.open(os.getenv('HAPTIC_DIR') .. '/files/written', 'w') end)\n"
    "try('read_out', function() return io.open(os.getenv('OUTSIDE') .. '/secret'):read(1) end)\n"
    "try('read_in', function() return io.open(os.getenv('HAPTIC_DIR') .. '/haproxy.cfg'):read(1) end)\n"
    "try('parent', function() return io.open('/proc/' .. os.getenv('PARENT') .. '/environ'):read(1) end)\n"
    "try('status', function() return io.open('/proc/' .. os.getenv('PARENT') .. '/status'):read(1) end)\n"
    "try('home', function() return os.getenv('HOME') end)\n"
    "try('secret', function() return os.getenv('HAPTIC_TEST_SECRET') end)\n"
    "error('JAIL ' .. table.concat(out, ' '))\n";

static void test_jail(const char *series UNUSED, const struct check_config *base)
{
    struct check_config config = *base;
    char *outside = directory_new();
    CLEANUP(free_ptr) char *variable = xasprintf("OUTSIDE=%s", outside);
    CLEANUP(free_ptr) char *parent = xasprintf("PARENT=%d", (int)getpid());
    const char *environment[] = {variable, parent, NULL};
    config.environment = environment;
    CLEANUP(free_ptr) char *secret = xasprintf("%s/secret", outside);
    CLEANUP(close_fd) int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, "secret", 6), 6);
    setenv("HAPTIC_TEST_SECRET", "1", 1);
    uv_loop_t loop;
    struct outcome o = {0};
    struct disk_files files = files_with("global\n  lua-load files/jail.lua\n");
    disk_files_add(&files, "files/jail.lua", jail_lua, strlen(jail_lua));
    uv_loop_init(&loop);
    check_start(&loop, &config, &files, take, &o);
    assert_true(loop_until(&loop, &o.told, 60));
    loop_end(&loop);
    assert_false(o.ok);
    const char *report = strstr(o.output, "JAIL ");
    if (!report)
        fail_msg("%s%s", o.error, o.output);
    assert_non_null(strstr(report, "run=false"));
    assert_non_null(strstr(report, "popen=false"));
    assert_non_null(strstr(report, "write_out=false"));
    assert_non_null(strstr(report, "write_in=false"));
    assert_non_null(strstr(report, "read_in=true"));
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) >= 1) {
        assert_non_null(strstr(report, "read_out=false"));
        assert_non_null(strstr(report, "parent=false"));
        assert_non_null(strstr(report, "status=false"));
    } else {
        print_message("this kernel has no Landlock: reading is not tested\n");
    }
    assert_non_null(strstr(report, "home=false"));
    assert_non_null(strstr(report, "secret=false"));
    assert_int_equal(leftovers(outside), 1);
    directory_remove(outside);
    outcome_done(&o);
}

static void jail_holds(void **state UNUSED)
{
    each_series(test_jail);
}

/* What configurations use beyond the plain: certificates and authorities, name servers, Lua, threads, processors,
 * statistics, state, caches, peers, logs; and a large one. */
static void test_rich(const char *series UNUSED, const struct check_config *base)
{
    static const char first[] = "global\n"
                                "  nbthread 32\n"
                                "  cpu-map auto:1/1-32 0-31\n";
    static const char rich[] = "global\n"
                               "  user daemon\n"
                               "  group daemon\n"
                               "  stats socket ${HAPTIC_DIR}/runtime.sock mode 600 level admin expose-fd listeners\n"
                               "  server-state-file ${HAPTIC_DIR}/state\n"
                               "  log stdout format raw local0\n"
                               "  log 127.0.0.1:514 local0\n"
                               "  lua-load files/good.lua\n"
                               "  ssl-default-bind-options ssl-min-ver TLSv1.2\n"
                               "resolvers r\n"
                               "  parse-resolv-conf\n"
                               "  nameserver a 127.0.0.1:53\n"
                               "cache c\n"
                               "  total-max-size 10\n"
                               "frontend front from base\n"
                               "  bind :8443 ssl crt certs/ alpn h2,http/1.1 ca-file certs/good.pem verify optional\n"
                               "  bind :::8080 v4v6\n"
                               "  bind unix@${HAPTIC_DIR}/front.sock\n"
                               "  stick-table type ip size 100k expire 10s store http_req_rate(10s)\n"
                               "  http-request use-service lua.good if FALSE\n"
                               "  default_backend tls\n"
                               "backend tls from base\n"
                               "  compression algo gzip\n"
                               "  server a nowhere.invalid:80 resolvers r init-addr last,libc,none\n"
                               "  server b 1.2.3.4:443 ssl verify required ca-file certs/good.pem\n"
                               "  server-template t 10 x.invalid:80 resolvers r init-addr none\n";
    static const char lua[] = "core.register_service('good', 'http', function(applet) applet:start_response() end)\n"
                              "core.register_init(function() core.log(core.info, 'good') end)\n";
    CLEANUP(free_ptr) char *outside = directory_new();
    CLEANUP(free_ptr) char *key = xasprintf("%s/key.pem", outside);
    CLEANUP(free_ptr) char *certificate = xasprintf("%s/good.pem", outside);
    CLEANUP(free_ptr)
    char *command = xasprintf(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 9 "
        "-keyout %s -out %s 2>/dev/null && cat %s >> %s && cat %s",
        key, certificate, key, certificate, certificate);
    struct buf pem = {0}, body = {0};
    char chunk[8192];
    FILE *openssl = popen(command, "r");
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), openssl)) > 0;)
        buf_add(&pem, chunk, n);
    assert_int_equal(pclose(openssl), 0);
    buf_puts(&body, first);
    buf_puts(&body, head);
    buf_puts(&body, rich);
    for (int i = 0; i < 2000; i++)
        buf_printf(&body, "backend large%d from base\n  server a 10.0.%d.%d:80 check\n", i, i / 250, i % 250);
    struct disk_files files = {0};
    disk_files_add(&files, DISK_CONFIG, body.data, body.length);
    disk_files_add(&files, "certs/good.pem", pem.data, pem.length);
    disk_files_add(&files, "files/good.lua", lua, strlen(lua));
    struct outcome o = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    check_start(&loop, base, &files, take, &o);
    assert_true(loop_until(&loop, &o.told, 60));
    loop_end(&loop);
    if (!o.ok)
        fail_msg("%s%s", o.error, o.output);
    outcome_done(&o);
    buf_done(&body);
    buf_done(&pem);
    directory_remove(STEAL(outside));
}

static void what_configurations_use_is_allowed(void **state UNUSED)
{
    each_series(test_rich);
}

/* A file that the configuration names outside of its directory: refused, and read when it is told of. */
static void test_elsewhere(const char *series UNUSED, const struct check_config *base)
{
    CLEANUP(free_ptr) char *folder = directory_new();
    CLEANUP(free_ptr) char *page = xasprintf("%s/503.http", folder);
    CLEANUP(free_ptr) char *body = xasprintf("backend a from base\n  errorfile 503 %s\n", page);
    static const char answer[] = "HTTP/1.0 503 Elsewhere\r\nConnection: close\r\n\r\n";
    CLEANUP(close_fd) int fd = open(page, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, answer, strlen(answer)), strlen(answer));
    assert_int_equal(chmod(folder, 0755), 0);
    struct check_config config = *base;
    CLEANUP(free_ptr) char *readable = xasprintf("/nonexistent:%s", page);
    config.readable = readable;
    struct outcome o = {0};
    check_one(&o, &config, body);
    if (!o.ok)
        fail_msg("%s%s", o.error, o.output);
    outcome_done(&o);
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) >= 1) {
        check_one(&o, base, body);
        assert_false(o.ok);
        outcome_done(&o);
    }
    directory_remove(STEAL(folder));
}

static void further_files_are_read_when_allowed(void **state UNUSED)
{
    each_series(test_elsewhere);
}

static void test_limits(const char *series UNUSED, const struct check_config *base)
{
    static const struct {
        const char *lua;
        enum err_kind kind;
    } cases[] = {
        {"while true do end\n", ERR_TIMEOUT},
        /* told by HAProxy: not enough memory */
        {"local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end\n", ERR_NONE},
        {"for i = 1, 1e7 do io.stderr:write('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\\n') end\n", ERR_LIMIT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct check_config config = *base;
        config.deadline_ns = cases[i].kind == ERR_TIMEOUT ? SECOND / 2 : 30 * SECOND;
        config.memory_bytes = (size_t)512 << 20;
        config.output_bytes = 200000;
        uv_loop_t loop;
        struct outcome o = {0};
        struct disk_files files = files_with("global\n  lua-load files/limit.lua\n");
        disk_files_add(&files, "files/limit.lua", cases[i].lua, strlen(cases[i].lua));
        uv_loop_init(&loop);
        int64_t start = clock_now_ns();
        check_start(&loop, &config, &files, take, &o);
        assert_true(loop_until(&loop, &o.told, 60));
        loop_end(&loop);
        assert_false(o.ok);
        if (o.kind != cases[i].kind)
            fail_msg("case %zu: %s %.300s", i, o.error, o.output);
        if (cases[i].kind == ERR_TIMEOUT)
            assert_true(clock_now_ns() - start < 5 * SECOND);
        assert_true(strlen(o.output) <= 400000);
        outcome_done(&o);
        assert_int_equal(leftovers(base->temporary), 0);
    }
}

static void limits_hold(void **state UNUSED)
{
    each_series(test_limits);
}

static void several_run_at_a_time(void **state UNUSED)
{
    CLEANUP(free_ptr) char *binary = haproxy_binary("2.6");
    if (!binary)
        skip();
    char *temporary = directory_new();
    struct check_config config = {.binary = binary, .temporary = temporary, .tells_all = true};
    uv_loop_t loop;
    struct outcome o[8] = {0};
    struct check *checks[8];
    uv_loop_init(&loop);
    for (size_t i = 0; i < 8; i++) {
        struct disk_files files = files_with(i % 2 ? "backend a from base\n" : "backend a from base\n bogus\n");
        checks[i] = check_start(&loop, &config, &files, take, &o[i]);
    }
    check_cancel(checks[7]);
    for (size_t i = 0; i < 7; i++) {
        assert_true(loop_until(&loop, &o[i].told, 60));
        assert_int_equal(o[i].ok, i % 2);
        outcome_done(&o[i]);
    }
    /* Cancelled at some later time. */
    for (int turns = 1; turns < 8; turns++) {
        struct disk_files files = files_with("");
        struct check *c = check_start(&loop, &config, &files, take, &o[7]);
        for (int i = 0; i < turns && !o[7].told; i++)
            uv_run(&loop, UV_RUN_ONCE);
        if (!o[7].told)
            check_cancel(c);
        else
            outcome_done(&o[7]);
    }
    loop_end(&loop);
    assert_false(o[7].told);
    assert_int_equal(leftovers(temporary), 0);
    directory_remove(temporary);
}

static void what_cannot_run_is_told(void **state UNUSED)
{
    struct outcome o = {0};
    struct check_config config = {.binary = "/nonexistent/haproxy"};
    check_one(&o, &config, "");
    assert_int_equal(o.kind, ERR_SYS);
    outcome_done(&o);
    struct check_config nowhere = {.binary = "/usr/sbin/haproxy", .temporary = "/nonexistent"};
    uv_loop_t loop;
    struct disk_files files = files_with("");
    uv_loop_init(&loop);
    check_start(&loop, &nowhere, &files, take, &o);
    assert_true(loop_until(&loop, &o.told, 10));
    loop_end(&loop);
    assert_int_equal(o.kind, ERR_SYS);
    outcome_done(&o);
    struct check_config other = {.binary = "/bin/false"};
    check_one(&o, &other, "");
    assert_int_equal(o.kind, ERR_HAPROXY);
    outcome_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_located),
        cmocka_unit_test(good_ones_pass),
        cmocka_unit_test(accounts_need_no_key),
        cmocka_unit_test(jail_holds),
        cmocka_unit_test(what_configurations_use_is_allowed),
        cmocka_unit_test(further_files_are_read_when_allowed),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(several_run_at_a_time),
        cmocka_unit_test(what_cannot_run_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
