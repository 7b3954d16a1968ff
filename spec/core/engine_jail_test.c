/* The jail behind the language. The renderer of this test has all of Lua's libraries and no sandbox: what a template
 * would be if it had broken out of everything in Lua. Each attempt must end with the kernel killing the process, or
 * with nothing gained. */
#include "engine_support.h"

#include <sys/stat.h>

#define DEADLINE_NS (NS_PER_S / 2 * 3) /* where it is what ends the code */
#define PATIENT_NS (50 * NS_PER_S)     /* where something else is */

/* Run Lua code within the first render, in a renderer with all libraries; what it returns is fragment "answer". */
static struct watched *run_code_within(const char *code, int64_t deadline_ns)
{
    const struct renderer_limits limits = {.deadline_ns = deadline_ns, .memory_bytes = (size_t)512 << 20};
    CLEANUP(free_ptr)
    char *source = xasprintf("local host, objects, skipped = ...\n"
                             "return function()\n"
                             "  if skipped.answer then return true, 0, 0 end\n"
                             "  host.at('answer', 'evil.lua', 'things', 'default/evil')\n"
                             "  local answer = (function() %s end)()\n"
                             "  host.fragment('answer', 'evil.lua', 'things', 'default/evil', 0,\n"
                             "    {3, 0, 0, 'answer', '', tostring(answer)}, 1)\n"
                             "  return true, 1, 1\n"
                             "end\n",
                             code);
    CLEANUP(free_ptr) char *quoted = json_quoted(source);
    CLEANUP(free_ptr) char *program = xasprintf("{\"kinds\":[],\"source\":%s}", quoted);
    struct watched *w = watched_new(&limits);

    renderer_render(w->renderer);
    renderer_set_program(w->renderer, program, strlen(program));
    return w;
}

static struct watched *run_code(const char *code)
{
    return run_code_within(code, PATIENT_NS);
}

static void assert_killed_by_jail(const char *code)
{
    struct watched *w = run_code(code);

    WAIT_UNTIL(w, w->deaths || w->renders || w->refusals);
    if (!w->deaths)
        fail_msg("%s: went on: %s%s", code, text_of(w, "answer"), w->refusal);
    if (strcmp(w->reason, "seccomp: SIGSYS") != 0)
        fail_msg("%s: %s", code, w->reason);
    assert_string_equal(w->at_hand, "answer");
    assert_string_equal(w->owner, "default/evil");
    watched_free(w);
}

static void assert_answers(const char *code, const char *answer)
{
    struct watched *w = run_code(code);

    WAIT_UNTIL(w, w->deaths || w->renders || w->refusals);
    if (!w->renders)
        fail_msg("%s: %s%s", code, w->reason, w->refusal);
    assert_string_equal(text_of(w, "answer"), answer);
    watched_free(w);
}

static void harmless_code_runs(void **state)
{
    (void)state;
    assert_answers("return 6 * 7", "42");
    /* enough for the JIT compiler to be at work inside the jail */
    assert_answers("local n = 0 for i = 1, 1e7 do n = (n + i) % 1000003 end return jit.status() and n > 0", "true");
    assert_answers("return require('cjson').decode('{\"a\":[1,2,3]}').a[3]", "3");
    assert_answers("return (select(2, pcall(error, {})) ~= nil)", "true");
}

static void files_are_out_of_reach(void **state)
{
    (void)state;
    assert_killed_by_jail("return io.open('/etc/passwd')");
    assert_killed_by_jail("return io.open('/var/run/secrets/kubernetes.io/serviceaccount/token'):read('*a')");
    assert_killed_by_jail("for line in io.lines('/proc/self/environ') do return line end");
    assert_killed_by_jail("return dofile('/etc/hostname')");
    assert_killed_by_jail("return package.loadlib('/tmp/evil.so', '*')");
    assert_killed_by_jail("return os.remove('/tmp/something')");
    assert_killed_by_jail("return os.rename('/tmp/a', '/tmp/b')");
    assert_killed_by_jail("return os.tmpname()");
}

static void processes_are_out_of_reach(void **state)
{
    (void)state;
    assert_killed_by_jail("return os.execute('true')");
    assert_killed_by_jail("return io.popen('id'):read('*a')");
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int fork(void);' return C.C.fork()");
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int kill(int, int);' return C.C.kill(1, 0)");
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int getppid(void);' return C.C.getppid()");
    assert_killed_by_jail(
        "local C = require('ffi') C.cdef 'long syscall(long, ...);' return C.C.syscall(101, 0, 0, 0, 0)");
}

static void network_is_out_of_reach(void **state)
{
    (void)state;
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int socket(int, int, int);' return C.C.socket(2, 1, 0)");
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int socketpair(int, int, int, int *);' "
                          "return C.C.socketpair(1, 1, 0, C.new('int[2]'))");
}

/* No call may loosen the jail, and none may pass a descriptor. */
static void jail_can_not_be_opened(void **state)
{
    (void)state;
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int prctl(int, long, long, long, long);' "
                          "return C.C.prctl(4, 1, 0, 0, 0)");
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int setrlimit(int, const void *);' "
                          "return C.C.setrlimit(9, C.new('long[2]'))");
    assert_killed_by_jail("local C = require('ffi') C.cdef 'int dup(int);' return C.C.dup(3)");
    assert_killed_by_jail(
        "local C = require('ffi') C.cdef 'long recvmsg(int, void *, int);' return C.C.recvmsg(3, nil, 0)");
}

/* Advice that goes beyond the process's own pages; what allocators ask for is let through (harmless_code_runs). */
static void advice_is_limited(void **state)
{
    (void)state;
    static const char *const names[] = {"8", "12", "21", "100"}; /* free, mergeable, pageout, hwpoison */
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        CLEANUP(free_ptr)
        char *code = xasprintf(
            "local C = require('ffi') C.cdef 'int madvise(void *, size_t, int); void *mmap(void *, size_t, int, int, int, long);' "
            "return C.C.madvise(C.C.mmap(nil, 4096, 3, 0x22, -1, 0), 4096, %s)",
            names[i]);
        assert_killed_by_jail(code);
    }
    assert_answers(
        "local C = require('ffi') C.cdef 'int madvise(void *, size_t, int); void *mmap(void *, size_t, int, int, int, long);' "
        "return C.C.madvise(C.C.mmap(nil, 4096, 3, 0x22, -1, 0), 4096, 4)",
        "0");
}

/* Root's renderer has nothing that makes it root. */
static void it_has_no_capability(void **state)
{
    (void)state;
    struct watched *w = run_code("return 1");
    char line[256];
    unsigned lines = 0;

    if (geteuid() != 0)
        print_message("not root: there are no capabilities to lose\n");
    WAIT_UNTIL(w, w->renders);
    CLEANUP(free_ptr) char *path = xasprintf("/proc/%d/status", renderer_pid(w->renderer));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        /* The bounding set is only root's to empty. */
        if (strncmp(line, "Cap", 3) != 0 || (geteuid() != 0 && strncmp(line, "CapBnd", 6) == 0))
            continue;
        if (!strstr(line, ":\t0000000000000000"))
            fail_msg("%s", line);
        lines++;
    }
    fclose(file);
    assert_true(lines >= 4);
    watched_free(w);
}

static void environment_is_empty(void **state)
{
    (void)state;
    setenv("HAPTIC_TEST_SECRET", "do-not-tell", 1);
    assert_answers("return os.getenv('HAPTIC_TEST_SECRET')", "nil");
    assert_answers("return os.getenv('PATH')", "nil");
    assert_answers("local C = require('ffi') C.cdef 'extern char **environ;' return C.C.environ[0] == nil", "true");
}

/* Only the socket is left: writing to any other descriptor fails. */
static void descriptors_are_closed(void **state)
{
    (void)state;
    int first = JAIL_SANITIZED ? 3 : 0;
    CLEANUP(free_ptr)
    char *code = xasprintf(
        "local ffi = require('ffi') ffi.cdef 'long write(int, const void *, size_t);' local open = {} "
        "for fd = %d, 200 do if ffi.C.write(fd, 'x', 0) == 0 then open[#open + 1] = fd end end "
        "return table.concat(open, ',')",
        first);
    assert_answers(code, "3");
}

static void assert_ends(const char *code, const char *reason)
{
    int64_t deadline_ns = strcmp(reason, "deadline") == 0 ? DEADLINE_NS : PATIENT_NS;
    struct watched *w = run_code_within(code, deadline_ns);
    int64_t begin = clock_now_ns();
    size_t before = resident_bytes();

    WAIT_UNTIL(w, w->deaths || w->renders || w->refusals);
    if (!w->deaths || strcmp(w->reason, reason) != 0)
        fail_msg("%s: %s%s", code, w->reason, text_of(w, "answer"));
    assert_string_equal(w->at_hand, "answer");
    assert_true(clock_now_ns() - begin < 5 * deadline_ns); /* four, without a processor of its own */
    assert_grew_less(before, 16);
    /* the next process leaves the fragment out */
    WAIT_UNTIL(w, w->renders);
    assert_int_equal(w->deaths, 1);
    watched_free(w);
}

static void endless_code_is_killed(void **state)
{
    (void)state;
    assert_ends("while true do end", "deadline");
    assert_ends("while true do pcall(error, 'no') end", "deadline");
    assert_ends("return string.find(('a'):rep(300) .. 'b', ('a-'):rep(40) .. 'c')", "deadline");
    assert_ends("local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
                "deadline");
}

static void memory_is_bounded(void **state)
{
    (void)state;
    assert_ends("return #('x'):rep(1e9)", "memory");
    assert_ends("local t = {} while true do t[#t + 1] = {t} end", "memory");
    assert_ends("local s = 'x' while true do s = s .. s end", "memory");
    assert_ends("local t = {} while true do t[#t + 1] = coroutine.create(print) end", "memory");
    /* what the fragment catches is the fragment's own affair */
    assert_answers("return select(2, pcall(string.rep, 'x', 1e9))", "not enough memory");
}

/* Memory outside Lua's heap has the address space as its limit. */
static void memory_of_c_is_bounded(void **state)
{
    (void)state;
    if (JAIL_SANITIZED)
        skip();
    assert_answers("local ffi = require('ffi') ffi.cdef 'void *malloc(size_t);' return ffi.C.malloc(1e9) == nil",
                   "true");
}

static void deep_recursion_ends(void **state)
{
    (void)state;
    assert_answers("local function f(n) return 1 + f(n + 1) end "
                   "local ok, message = pcall(f, 1) return not ok and message:find('stack overflow') ~= nil",
                   "true");
    assert_answers("local function f() return (('x'):gsub('x', f)) end local ok = pcall(f) return ok", "false");
    assert_answers("local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k .. 'x'] end "
                   "return (pcall(function() return t.a end))",
                   "false");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "renderer") == 0)
        worker_run(&(struct vm_options){.engine_source = open_engine, .all_libraries = true});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(harmless_code_runs),         cmocka_unit_test(files_are_out_of_reach),
        cmocka_unit_test(processes_are_out_of_reach), cmocka_unit_test(network_is_out_of_reach),
        cmocka_unit_test(jail_can_not_be_opened),     cmocka_unit_test(environment_is_empty),
        cmocka_unit_test(descriptors_are_closed),     cmocka_unit_test(endless_code_is_killed),
        cmocka_unit_test(memory_is_bounded),          cmocka_unit_test(memory_of_c_is_bounded),
        cmocka_unit_test(deep_recursion_ends),        cmocka_unit_test(advice_is_limited),
        cmocka_unit_test(it_has_no_capability),
    };

    log_set_level(LOG_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
