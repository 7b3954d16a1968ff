/* What `haptic run` is told, and how it answers what it cannot do: flags over environment over built-in values, exit
 * codes, the help. */
#include "haproxy_support.h"

#include "cmd/run_options.h"

#define MAX_ARGUMENTS 24

/* Arguments separated by spaces. */
static int parse(struct run_options *o, const char *arguments, struct err *err)
{
    static char words[1024];
    char *argv[MAX_ARGUMENTS + 2] = {(char[]){"run"}};
    int argc = 1;

    memset(o, 0, sizeof(*o));
    *err = (struct err){0};
    snprintf(words, sizeof(words), "%s", arguments);
    for (char *at = words; *at != '\0' && argc <= MAX_ARGUMENTS;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at == ' ')
            *at++ = '\0';
    }
    return run_options_parse(o, argc, argv, err);
}

static const struct {
    const char *flag, *environment, *value, *other;
} strings[] = {
    {"config", "CONFIG", "/a.yaml", "/b.yaml"},
    {"source", "SOURCE", "/manifests", "/others"},
    {"haproxy-dir", "HAPROXY_DIR", "/run/a", "/run/b"},
    {"haproxy-binary", "HAPROXY_BINARY", "/usr/sbin/haproxy", "haproxy-3"},
    {"master-socket", "HAPROXY_MASTER_SOCKET", "/m.sock", "/n.sock"},
    {"runtime-socket", "HAPROXY_RUNTIME_SOCKET", "/r.sock", "/s.sock"},
    {"namespace", "POD_NAMESPACE", "ns", "other"},
    {"pod-name", "POD_NAME", "pod-a", "pod-b"},
    {"metrics-address", "METRICS_ADDRESS", "127.0.0.1", "::1"},
};

static const char *value_of(const struct run_options *o, const char *flag)
{
    const struct {
        const char *flag, *value;
    } values[] = {
        {"config", o->app.config_file},          {"source", o->app.source_dir},
        {"haproxy-dir", o->app.haproxy_dir},     {"haproxy-binary", o->app.haproxy_binary},
        {"master-socket", o->app.master_socket}, {"runtime-socket", o->app.runtime_socket},
        {"namespace", o->app.pod_namespace},     {"pod-name", o->app.pod_name},
        {"metrics-address", o->metrics_address},
    };

    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i].flag, flag) == 0)
            return values[i].value;
    return NULL;
}

static int clear(void **state)
{
    static const char *const others[] = {"HAPROXY", "KUBECONFIG", "METRICS_PORT", "DEBUG_PORT", "LOG_LEVEL", "GRACE"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        unsetenv(strings[i].environment);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        unsetenv(others[i]);
    return 0;
}

static void a_flag_wins_over_the_environment_over_what_is_built_in(void **state)
{
    struct run_options o;
    struct err err;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        CLEANUP(free_ptr) char *spaced = xasprintf("--%s %s", strings[i].flag, strings[i].value);
        CLEANUP(free_ptr) char *joined = xasprintf("--%s=%s", strings[i].flag, strings[i].value);
        assert_int_equal(parse(&o, spaced, &err), 0);
        assert_string_equal(value_of(&o, strings[i].flag), strings[i].value);
        run_options_done(&o);
        setenv(strings[i].environment, strings[i].other, 1);
        assert_int_equal(parse(&o, "", &err), 0);
        assert_string_equal(value_of(&o, strings[i].flag), strings[i].other);
        run_options_done(&o);
        assert_int_equal(parse(&o, joined, &err), 0);
        assert_string_equal(value_of(&o, strings[i].flag), strings[i].value);
        run_options_done(&o);
        setenv(strings[i].environment, "", 1); /* empty is not set */
        assert_int_equal(parse(&o, joined, &err), 0);
        assert_string_equal(value_of(&o, strings[i].flag), strings[i].value);
        run_options_done(&o);
        unsetenv(strings[i].environment);
    }
}

static void what_is_built_in(void **state)
{
    struct run_options o;
    struct err err;
    (void)state;

    assert_int_equal(parse(&o, "", &err), 0);
    assert_null(o.app.config_file);
    assert_null(o.app.source_dir);
    assert_false(o.app.attach);
    assert_false(o.app.keep_haproxy);
    assert_string_equal(o.app.haproxy_binary, "haproxy");
    assert_string_equal(o.metrics_address, "*");
    assert_int_equal(o.metrics_port, 9090);
    assert_int_equal(o.debug_port, 0);
    assert_int_equal(o.log_level, LOG_INFO);
    assert_false(o.app.log_level_fixed);
    assert_int_equal(o.app.grace_ns, 25 * NS_PER_S);
    assert_int_equal(o.app.watch_stall_ns, 150 * NS_PER_S);
    assert_int_equal(o.app.haproxy_dir[0], '/');
    assert_null(o.app.extra_context[0]);
    run_options_done(&o);
}

static void values_are_read(void **state)
{
    struct run_options o;
    struct err err;
    (void)state;

    setenv("KUBECONFIG", "/one:/two", 1); /* a list: read elsewhere */
    setenv("METRICS_PORT", "0", 1);
    setenv("LOG_LEVEL", "warn", 1);
    assert_int_equal(parse(&o,
                           "--haproxy attach --keep-haproxy --debug-port 6060 --grace 5s --watch-stall-timeout 1m "
                           "--set a=1 --set b=x=y --kubeconfig /k --context c --server https://s",
                           &err),
                     0);
    assert_true(o.app.attach && o.app.keep_haproxy);
    assert_int_equal(o.metrics_port, 0);
    assert_int_equal(o.debug_port, 6060);
    assert_int_equal(o.app.grace_ns, 5 * NS_PER_S);
    assert_int_equal(o.app.watch_stall_ns, 60 * NS_PER_S);
    assert_int_equal(o.log_level, LOG_WARN);
    assert_true(o.app.log_level_fixed);
    assert_string_equal(o.app.extra_context[0], "a=1");
    assert_string_equal(o.app.extra_context[1], "b=x=y");
    assert_null(o.app.extra_context[2]);
    assert_string_equal(o.app.kube.kubeconfig, "/k");
    assert_string_equal(o.app.kube.context, "c");
    assert_string_equal(o.app.kube.server, "https://s");
    run_options_done(&o);
    assert_int_equal(parse(&o, "", &err), 0);
    assert_null(o.app.kube.kubeconfig);
    run_options_done(&o);
    /* Kubernetes' own variables for a Service "metrics" in the namespace. */
    setenv("METRICS_PORT", "tcp://10.0.0.1:80", 1);
    assert_int_equal(parse(&o, "", &err), 0);
    assert_int_equal(o.metrics_port, 9090);
    run_options_done(&o);
}

static void a_folder_allows_endpoints_of_this_machine_unless_told_otherwise(void **state)
{
    struct run_options o;
    struct err err;
    (void)state;

    assert_int_equal(parse(&o, "--source /x --set a=1 --set local_endpoints=false --set a=2", &err), 0);
    assert_string_equal(o.app.extra_context[0], "local_endpoints=true"); /* the last one counts */
    assert_string_equal(o.app.extra_context[1], "a=1");
    assert_string_equal(o.app.extra_context[2], "local_endpoints=false");
    assert_string_equal(o.app.extra_context[3], "a=2");
    assert_null(o.app.extra_context[4]);
    run_options_done(&o);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *message;
    } cases[] = {
        {"--nonsense", "unknown option --nonsense"},
        {"--config", "--config needs a value"},
        {"--keep-haproxy=yes", "--keep-haproxy=yes"},
        {"extra", "unexpected argument \"extra\""},
        {"--metrics-port 70000", "\"70000\" is not a port"},
        {"--metrics-port -1", "\"-1\" is not a port"},
        {"--metrics-port 80x", "\"80x\" is not a port"},
        {"--haproxy remote", "write local, attach or fleet"},
        {"--set x", "write KEY=VALUE"},
        {"--set =x", "write KEY=VALUE"},
        {"--log-level loud", "log level \"loud\""},
        {"--grace soon", "soon"},
        {"--watch-stall-timeout soon", "watch stall timeout: "},
        {"--watch-stall-timeout 999ms", "999ms is not from 1s to 10m"},
        {"--watch-stall-timeout 601s", "601s is not from 1s to 10m"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct run_options o;
        struct err err;
        assert_int_equal(parse(&o, cases[i].arguments, &err), -1);
        if (strstr(err.text, cases[i].message) == NULL)
            fail_msg("%s: \"%s\"", cases[i].arguments, err.text);
        run_options_done(&o);
    }
    struct run_options o;
    struct err err;
    setenv("GRACE", "soon", 1);
    assert_int_equal(parse(&o, "", &err), -1);
    assert_non_null(strstr(err.text, "environment variable GRACE"));
    run_options_done(&o);
}

/* ---- the program itself ---- */

static void need_program(void)
{
    const char *program = getenv("HAPTIC_BIN");
    if (program == NULL || access(program, X_OK) != 0)
        skip();
}

/* Its output and exit code. */
static char *run_program(const char *arguments, int *ret_code)
{
    CLEANUP(free_ptr) char *command = xasprintf("timeout 20 %s %s 2>&1 </dev/null", getenv("HAPTIC_BIN"), arguments);
    FILE *p = popen(command, "r");
    char *text = xcalloc(1, 1 << 16);
    size_t length = fread(text, 1, (1 << 16) - 1, p);
    text[length] = '\0';
    int status = pclose(p);
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return text;
}

static void the_help_has_everything(void **state)
{
    (void)state;
    static const char *const wanted[] = {"--config FILE",
                                         "[CONFIG]",
                                         "--source DIR",
                                         "--haproxy local|attach",
                                         "(local)",
                                         "--haproxy-dir DIR",
                                         "--haproxy-binary FILE",
                                         "--master-socket PATH",
                                         "--runtime-socket PATH",
                                         "--keep-haproxy",
                                         "--kubeconfig FILE",
                                         "--context NAME",
                                         "--server URL",
                                         "--namespace NAME",
                                         "[POD_NAMESPACE]",
                                         "--pod-name NAME",
                                         "--set KEY=VALUE",
                                         "--metrics-address IP",
                                         "--metrics-port PORT",
                                         "(9090)",
                                         "--debug-port PORT",
                                         "--log-level LEVEL",
                                         "[LOG_LEVEL]",
                                         "--grace DURATION",
                                         "(25s)",
                                         "--help",
                                         "SIGHUP",
                                         "SIGTERM"};
    int code;
    need_program();
    CLEANUP(free_ptr) char *text = run_program("run --help", &code);

    assert_int_equal(code, 0);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (strstr(text, wanted[i]) == NULL)
            fail_msg("%s is not in the help:\n%s", wanted[i], text);
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 150);
}

static void exit_codes_tell_what_kind_of_trouble(void **state)
{
    (void)state;
    need_program();
    char *directory = directory_new();
    static const struct {
        const char *arguments;
        int code;
        const char *message;
    } cases[] = {
        {"", 2, "usage: haptic"},
        {"nonsense", 2, "there is no command \"nonsense\""},
        {"vlidate", 2, "there is no command \"vlidate\"; did you mean \"validate\"?; haptic --help lists them"},
        {"explain ingress default/none", 2, "no objects were given: use --source"},
        {"run --nonsense", 2, "haptic run: unknown option"},
        {"run --metrics-port x", 2, "is not a port"},
        {"run --config /no/such/file --source DIR", 1, "/no/such/file"},
        {"run --config DIR --source DIR", 1, "must be a regular file"},
        {"run --config DIR/fifo --source DIR", 1, "must be a regular file"},
        {"run --config DIR/wrong.yaml --source DIR", 1, "wrong.yaml:1: nonsense: unknown field"},
        {"run --source /no/such/folder --haproxy-dir DIR/hap", 1, "/no/such/folder"},
        {"run --haproxy-binary /no/such/program --source DIR", 1, "give another --haproxy-binary"},
        {"run --haproxy-binary no-such-program --source DIR", 1, "there is no program"},
        {"run --haproxy-binary /bin/cat --source DIR", 1, "give another --haproxy-binary"},
        {"run --haproxy-binary DIR/hangs --source DIR", 1, "does not end"},
        {"run --metrics-address nowhere --source DIR", 1, "is not an IP address"},
    };
    CLEANUP(free_ptr) char *fifo = xasprintf("%s/fifo", directory);
    CLEANUP(free_ptr) char *hangs = xasprintf("%s/hangs", directory);

    assert_int_equal(mkfifo(fifo, 0600), 0);
    file_write(directory, "wrong.yaml", "nonsense: 1\n");
    file_write(directory, "hangs", "#!/bin/sh\nexec sleep 60\n");
    assert_int_equal(chmod(hangs, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf arguments = {0};
        for (const char *at = cases[i].arguments; *at != '\0';) {
            bool is_directory = strncmp(at, "DIR", 3) == 0;
            buf_puts(&arguments, is_directory ? directory : "");
            if (!is_directory)
                buf_putc(&arguments, *at);
            at += is_directory ? 3 : 1;
        }
        if (cases[i].code == 1 && strstr(cases[i].arguments, "--metrics-address") == NULL)
            buf_puts(&arguments, " --metrics-port 0");
        int code;
        CLEANUP(free_ptr) char *text = run_program(buf_str(&arguments), &code);
        if (code != cases[i].code || strstr(text, cases[i].message) == NULL)
            fail_msg("haptic %s: exit code %d\n%s", buf_str(&arguments), code, text);
        buf_done(&arguments);
    }
    directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_flag_wins_over_the_environment_over_what_is_built_in, clear, clear),
        cmocka_unit_test_setup_teardown(what_is_built_in, clear, clear),
        cmocka_unit_test_setup_teardown(values_are_read, clear, clear),
        cmocka_unit_test_setup_teardown(a_folder_allows_endpoints_of_this_machine_unless_told_otherwise, clear, clear),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_named, clear, clear),
        cmocka_unit_test_setup_teardown(the_help_has_everything, clear, clear),
        cmocka_unit_test_setup_teardown(exit_codes_tell_what_kind_of_trouble, clear, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
