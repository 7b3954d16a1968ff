/* Where the API server is: kubeconfig files with their merging and their errors, the pod, the flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "kube/config.h"
#include "kube/url.h"

static char dir[64];

static void put(const char *name, const char *text)
{
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/kube_config_test.XXXXXX");
    assert_non_null(mkdtemp(dir));
    setenv("HOME", dir, 1);
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"a",         "b",      "c",      "ca.crt",     "token",
                                        "namespace", "my.crt", "my.key", "user.token", "config"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(free_ptr) char *path = xasprintf("%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return 0;
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

static const char file_a[] =
    "apiVersion: v1\n"
    "kind: Config\n"
    "current-context: prod\n"
    "contexts:\n"
    "- {name: prod, context: {cluster: east, user: jane, namespace: web}}\n"
    "clusters:\n"
    "- name: east\n"
    "  cluster: {server: 'https://east:6443/', certificate-authority: ca.crt, tls-server-name: kube}\n";

static const char file_b[] =
    "current-context: other\n"
    "contexts:\n"
    "- {name: prod, context: {cluster: wrong, user: wrong}}\n"
    "- {name: other, context: {cluster: west, user: joe}}\n"
    "clusters:\n"
    "- name: east\n"
    "  cluster: {server: 'https://wrong'}\n"
    "- name: west\n"
    "  cluster: {server: west.example.com, insecure-skip-tls-verify: true, proxy-url: 'http://p:1'}\n"
    "users:\n"
    "- name: jane\n"
    "  user: {client-certificate: my.crt, client-key-data: a2V5Cg==, as: boss, as-groups: [g1, g2]}\n"
    "- name: joe\n"
    "  user:\n"
    "    exec:\n"
    "      apiVersion: client.authentication.k8s.io/v1\n"
    "      command: bin/login\n"
    "      args: [get, token]\n"
    "      env: [{name: A, value: b}]\n"
    "      interactiveMode: IfAvailable\n"
    "      provideClusterInfo: true\n";

static void the_first_file_wins(void **state)
{
    struct err err = {0};
    CLEANUP(kube_config_done) struct kube_config c = {0};
    (void)state;
    put("a", file_a);
    put("b", file_b);
    put("ca.crt", "authority");
    put("my.crt", "certificate");
    CLEANUP(free_ptr) char *list = xasprintf("%s/a:%s/missing::%s/b", dir, dir, dir);
    setenv("KUBECONFIG", list, 1);
    if (kube_config_load(&c, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(c.server, "https://east:6443");
    assert_string_equal(c.namespace, "web");
    assert_string_equal(c.tls_server_name, "kube");
    assert_string_equal(c.ca.bytes, "authority");
    assert_string_equal(c.certificate.bytes, "certificate");
    assert_string_equal(c.key.bytes, "key\n");
    assert_string_equal(c.impersonate_user, "boss");
    assert_int_equal(c.impersonate_groups.length, 2);
    assert_non_null(strstr(c.origin, "/a: context \"prod\""));
    assert_null(c.exec);
}

static void a_context_can_be_chosen(void **state)
{
    struct err err = {0};
    struct kube_overrides o = {.context = "other", .namespace = "mine", .token = "t"};
    CLEANUP(kube_config_done) struct kube_config c = {0};
    (void)state;
    put("b", file_b);
    CLEANUP(free_ptr) char *path = path_of("b");
    CLEANUP(free_ptr) char *command = path_of("bin/login");
    o.kubeconfig = path;
    if (kube_config_load(&c, &o, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(c.server, "https://west.example.com");
    assert_string_equal(c.namespace, "mine");
    assert_string_equal(c.proxy_url, "http://p:1");
    assert_string_equal(c.token.bytes, "t");
    assert_true(c.insecure_skip_tls_verify);
    assert_non_null(c.exec);
    assert_string_equal(c.exec->command, command);
    assert_int_equal(c.exec->args.length, 2);
    assert_string_equal(c.exec->args.items[1], "token");
    assert_string_equal(c.exec->env.items[0], "A=b");
    assert_true(c.exec->wants_cluster_info);
}

static void a_token_file_wins_and_is_read_again(void **state)
{
    struct err err = {0};
    CLEANUP(kube_config_done) struct kube_config c = {0};
    bool has_changed;
    (void)state;
    put("config", "contexts: [{name: x, context: {cluster: k, user: u}}]\ncurrent-context: x\n"
                  "clusters: [{name: k, cluster: {server: 'http://k'}}]\n"
                  "users: [{name: u, user: {token: inline, tokenFile: user.token}}]\n");
    put("user.token", "one\n");
    CLEANUP(free_ptr) char *path = path_of("config");
    struct kube_overrides o = {.kubeconfig = path};
    if (kube_config_load(&c, &o, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(c.namespace, "default");
    assert_string_equal(c.token.bytes, "one\n");
    assert_int_equal(kube_blob_refresh(&c.token, &has_changed, &err), 0);
    assert_false(has_changed);
    put("user.token", "second\n");
    assert_int_equal(kube_blob_refresh(&c.token, &has_changed, &err), 0);
    assert_true(has_changed);
    assert_string_equal(c.token.bytes, "second\n");
    put("user.token", "");
    assert_int_equal(kube_blob_refresh(&c.token, &has_changed, &err), -1);
    assert_string_equal(c.token.bytes, "second\n");
}

static void a_pod_knows_its_server(void **state)
{
    struct err err = {0};
    struct kube_overrides o = {.service_account_dir = dir};
    CLEANUP(kube_config_done) struct kube_config c = {0};
    (void)state;
    assert_int_equal(kube_config_load(&c, &o, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    assert_non_null(strstr(err.text, "--kubeconfig"));
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(kube_config_load(&c, &o, &err), -1);
    assert_non_null(strstr(err.text, "automountServiceAccountToken"));
    put("token", "t");
    put("ca.crt", "authority");
    put("namespace", "ns1\n");
    if (kube_config_load(&c, &o, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(c.server, "https://[fd00::1]:443");
    assert_string_equal(c.namespace, "ns1");
    assert_string_equal(c.token.bytes, "t");
    assert_string_equal(c.ca.bytes, "authority");
    assert_string_equal(c.origin, "in-cluster");
}

#define CLUSTER "clusters: [{name: k, cluster: {server: 'https://k'}}]\n"
#define CONTEXT "current-context: x\ncontexts: [{name: x, context: {cluster: k, user: u}}]\n"

static void errors_name_file_and_field(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "read "},
        {"[]", "not a kubeconfig"},
        {"kind: Pod", "kind is Pod"},
        {"a: [", "/a: line "},
        {CLUSTER, "no current-context; choose one with --context"},
        {"current-context: y\n" CLUSTER, "current-context: want a string (quote it)"},
        {"current-context: z\n" CLUSTER, "no entry \"z\" in contexts"},
        {CONTEXT, "no entry \"k\" in clusters"},
        {CONTEXT CLUSTER, "no entry \"u\" in users"},
        {CONTEXT "clusters: [{name: k, cluster: {server: 5}}]\n", "/a:3: clusters \"k\": server: want a string"},
        {CONTEXT "clusters: [{name: k, cluster: {}}]\nusers: [{name: u}]", "cluster.server is empty"},
        {CONTEXT "clusters: [{name: k, cluster: {server: 'ftp://k'}}]\nusers: [{name: u}]",
         "want an https:// or http:// URL"},
        {CONTEXT "clusters: [{name: k, cluster: {server: k, insecure-skip-tls-verify: sometimes}}]\n",
         "want true or false"},
        {CONTEXT "clusters: [{name: k, cluster: {server: k, certificate-authority-data: '?'}}]\n",
         "certificate-authority-data: not base64"},
        {CONTEXT "clusters: [{name: k, cluster: {server: k, certificate-authority: nowhere}}]\n",
         "certificate-authority: read "},
        {CONTEXT "clusters: [{name: k, cluster: {server: k, certificate-authority-data: YQ==, "
                 "insecure-skip-tls-verify: true}}]\n"
                 "users: [{name: u}]",
         "exclude each other"},
        {CONTEXT CLUSTER "users: [{name: u, user: {client-key-data: YQ==}}]",
         "client-key is given without client-certificate"},
        {CONTEXT CLUSTER "users: [{name: u, user: {token: \"a\\nb\"}}]", "the token has a line break"},
        {CONTEXT CLUSTER "users: [{name: u, user: {auth-provider: {}}}]", "use an exec plugin"},
        {CONTEXT CLUSTER "users: [{name: u, user: {exec: {command: c}}}]", "exec.apiVersion"},
        {CONTEXT CLUSTER "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1}}}]",
         "exec.command"},
        {CONTEXT CLUSTER "users: [{name: u, user: {exec: {command: c, apiVersion: client.authentication.k8s.io/v1, "
                         "interactiveMode: Always}}}]",
         "nobody is here"},
        {CONTEXT CLUSTER
         "users: [{name: u, user: {exec: {command: c, apiVersion: client.authentication.k8s.io/v1, args: [1]}}}]",
         "exec.args: want strings"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct kube_config c = {0};
        CLEANUP(free_ptr) char *path = path_of("a");
        struct kube_overrides o = {.kubeconfig = path};
        put("a", cases[i].text);
        assert_int_equal(kube_config_load(&c, &o, &err), -1);
        if (!strstr(err.text, cases[i].want) || !strstr(err.text, "/a"))
            fail_msg("case %zu: \"%s\", want \"%s\"", i, err.text, cases[i].want);
    }
}

#define PROXY(url) \
    CONTEXT "clusters: [{name: k, cluster: {server: 'https://k', proxy-url: '" url "'}}]\nusers: [{name: u}]"
#define SERVER(url) CONTEXT "clusters: [{name: k, cluster: {server: '" url "'}}]\nusers: [{name: u}]"

static void a_servers_url_is_taken_apart(void **state)
{
    static const struct {
        const char *url, *host, *port, *path;
    } rows[] = {
        {"https://h.example:6443", "h.example", "6443", ""},
        {"https://h.example:6443/", "h.example", "6443", ""},
        {"https://h.example/clusters/a", "h.example", "", "/clusters/a"},
        {"https://[fd00::1]:6443/k8s", "[fd00::1]", "6443", "/k8s"},
        {"https://[::1]", "[::1]", "", ""},
        {"h.example:80/x", "h.example", "80", "/x"},
        {"127.0.0.1", "127.0.0.1", "", ""},
        {"https://h:port/", "", "", ""},
        {"", "", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(kube_url_done) struct kube_url url = {0};
        kube_url_split(rows[i].url, &url);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.port, rows[i].port);
        assert_string_equal(url.path, rows[i].path);
    }
}

static void passwords_in_urls_are_not_quoted(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {PROXY("http://user:pa/ssSECRET@127.0.0.1:3128"), "/a:3: clusters \"k\": proxy-url: want a URL http://USER"},
        {PROXY("http://user/SECRET@127.0.0.1:3128"), "clusters \"k\": proxy-url: want a URL http://USER"},
        {PROXY("http://user:1#SECRET@127.0.0.1:3128"), "clusters \"k\": proxy-url: want a URL http://USER"},
        {PROXY("user:1?SECRET@127.0.0.1:3128"), "clusters \"k\": proxy-url: want a URL http://USER"},
        {PROXY("http://user:SE CRET@127.0.0.1:3128"), "clusters \"k\": proxy-url: not a URL"},
        {PROXY("http://user:SECRET@127.0.0.1:port"), "clusters \"k\": proxy-url: not a URL"},
        {PROXY("ftp://user:SECRET@127.0.0.1:3128"), "clusters \"k\": proxy-url: want a URL with http, https"},
        {SERVER("https://user:SECRET@k:6443"), "cluster.server: want https://HOST:PORT without user name"},
        {SERVER("https://user:a/SECRET@k:6443"), "cluster.server: want https://HOST:PORT without user name"},
        {SERVER("user:SECRET@k"), "cluster.server: want https://HOST:PORT without user name"},
        {SERVER("ftp://user:SECRET@k"), "cluster.server: want https://HOST:PORT without user name"},
    };
    static const char *const good[] = {PROXY("http://user:pa%2FssSECRET@127.0.0.1:3128"),
                                       PROXY("p.example:3128"),
                                       PROXY("user:SECRET@p.example:3128"),
                                       PROXY("HTTP://p/"),
                                       PROXY("https://[::1]:3128"),
                                       PROXY("socks5h://user:SECRET@p")};
    CLEANUP(free_ptr) char *path = path_of("a");
    struct kube_overrides o = {.kubeconfig = path};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct kube_config c = {0};
        put("a", cases[i].text);
        assert_int_equal(kube_config_load(&c, &o, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
        if (!strstr(err.text, cases[i].want) || !strstr(err.text, "/a") || strstr(err.text, "SECRET"))
            fail_msg("case %zu: \"%s\", want \"%s\"", i, err.text, cases[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct err err = {0};
        CLEANUP(kube_config_done) struct kube_config c = {0};
        put("a", good[i]);
        if (kube_config_load(&c, &o, &err) < 0)
            fail_msg("good case %zu: \"%s\"", i, err.text);
    }
    o.server = "https://user:SECRET@k:6443";
    struct err err = {0};
    struct kube_config c = {0};
    assert_int_equal(kube_config_load(&c, &o, &err), -1);
    assert_null(strstr(err.text, "SECRET"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_file_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_context_can_be_chosen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_file_wins_and_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pod_knows_its_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_name_file_and_field, set_up, tear_down),
        cmocka_unit_test(a_servers_url_is_taken_apart),
        cmocka_unit_test_setup_teardown(passwords_in_urls_are_not_quoted, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
