/* The jail of the check, attacked: as root and as an ordinary user, with Landlock and on a kernel without it. A program
 * (attack/confine_attack.c) tries what reaches others; outside of the jail it succeeds, which shows that each attempt
 * is a real one. */
#include "haproxy_support.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/capability.h"
#include "haproxy/confine.h"

#define ORDINARY_USER ((uid_t)12345)

enum jail { FREE, JAILED };

static struct place {
    char *program, *cwd, *folder; /* the attacker's executable and working directory; what it is after */
} place;

static void chown_to(const char *path, uid_t user)
{
    if (geteuid() == 0)
        assert_int_equal(chown(path, user, user), 0);
}

static void file_make(const char *path, const char *text, uid_t user, mode_t mode)
{
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    chown_to(path, user);
}

static void place_begin(uid_t user)
{
    const char *attack = getenv("HAPTIC_ATTACK");
    CLEANUP(free_ptr) char *folder = directory_new();
    if (!attack)
        fail_msg("HAPTIC_ATTACK does not name the attacking program");
    chmod(folder, 0755);
    place.program = xasprintf("%s/attack", folder);
    CLEANUP(free_ptr) char *copy = xasprintf("cp %s %s && chmod 755 %s", attack, place.program, place.program);
    assert_int_equal(pclose(popen(copy, "r")), 0);
    place.cwd = directory_new();
    place.folder = directory_new();
    CLEANUP(free_ptr) char *files = xasprintf("%s/files", place.cwd);
    CLEANUP(free_ptr) char *config = xasprintf("%s/haproxy.cfg", place.cwd);
    CLEANUP(free_ptr) char *victim = xasprintf("%s/victim", place.folder);
    CLEANUP(free_ptr) char *secret = xasprintf("%s/secret", place.folder);
    assert_int_equal(mkdir(files, 0750), 0);
    file_make(config, "global\n", user, 0640);
    file_make(victim, "victim", user, 0600);
    file_make(secret, "secret", user, 0600);
    const char *const folders[] = {place.cwd, files, place.folder};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        chown_to(folders[i], user);
        if (confine_user() && user == 0) { /* as the check does it */
            assert_int_equal(chmod(folders[i], i < 2 ? 0750 : 0700), 0);
            assert_int_equal(chown(folders[i], 0, i < 2 ? CONFINE_USER : 0), 0);
        }
    }
    if (confine_user() && user == 0)
        assert_int_equal(chown(config, 0, CONFINE_USER), 0);
}

static void place_end(void)
{
    char *slash = strrchr(place.program, '/');
    *slash = '\0';
    directory_remove(place.program);
    directory_remove(place.cwd);
    directory_remove(place.folder);
}

/* Make this process one on a kernel without Landlock. */
static void landlock_hide(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SYS_landlock_create_ruleset, 0) < 0 ||
        seccomp_load(filter) < 0)
        _exit(90);
    seccomp_release(filter);
}

/* In a child that is as the controller would be: run the attacker, and wait for it. */
_Noreturn static void runner(enum jail jail, uid_t user, bool landlock, int output_fd)
{
    const char *const arguments[] = {place.program, place.folder, NULL}, *const environment[] = {NULL};
    struct confine_spec spec = {.arguments = arguments,
                                .environment = environment,
                                .cwd = place.cwd,
                                .user = user == 0 ? confine_user() : 0,
                                .output_fd = output_fd,
                                .memory_bytes = (size_t)1 << 30,
                                .cpu_s = 10,
                                .descriptors = 100,
                                .idle = false};
    struct err err;
    pid_t pid;
    int status = 0;

    if (user && (setgid(user) < 0 || setuid(user) < 0))
        _exit(91);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* to be no harder a target than any process */
    if (!landlock)
        landlock_hide();
    if (jail == FREE) {
        pid = fork();
        if (pid == 0) {
            if (chdir(place.cwd) < 0 || dup2(output_fd, 1) < 0)
                _exit(92);
            execve(place.program, (char *const *)(uintptr_t)arguments, (char *const *)(uintptr_t)environment);
            _exit(93);
        }
    } else if (confine_spawn(&spec, &pid, &err) < 0) {
        dprintf(output_fd, "spawn: %s\n", err.text);
        _exit(94);
    }
    _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 95);
}

static char *attack(enum jail jail, uid_t user, bool landlock)
{
    struct buf output = {0};
    char chunk[4096];
    int ends[2], status;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        runner(jail, user, landlock, ends[1]);
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], chunk, sizeof(chunk))) > 0;)
        buf_add(&output, chunk, (size_t)n);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("the runner ended with %d: %s", status, buf_str(&output));
    return buf_steal(&output);
}

/* The number that an attempt's line has. */
static int result_of(const char *output, const char *name)
{
    CLEANUP(free_ptr) char *line = xasprintf("\n%s ", name);
    CLEANUP(free_ptr) char *text = xasprintf("\n%s", output);
    const char *at = strstr(text, line);
    if (!at)
        fail_msg("no line %s in %s", name, output);
    return (int)strtol(at + strlen(line), NULL, 10);
}

/* What the kernel of this machine does not permit outside of the jail either says nothing; it is told. */
static bool is_optional(const char *name)
{
    static const char *const names[] = {"setxattr", "io_uring", "namespace", "add_key", "ptrace", "ioprio_set"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Reading is Landlock's and the user's: where there is neither, who runs as the controller reads what it reads. */
static bool is_reading(const char *name)
{
    return strncmp(name, "read_", 5) == 0 || strcmp(name, "list") == 0;
}

/* Of these the names of processes are everybody's, and only Landlock hides them. */
static bool is_public(const char *name)
{
    return strcmp(name, "read_cmdline") == 0;
}

static void compare(uid_t user, bool landlock)
{
    place_begin(user);
    struct stat before, after;
    CLEANUP(free_ptr) char *victim = xasprintf("%s/victim", place.folder);
    assert_int_equal(stat(victim, &before), 0);
    CLEANUP(free_ptr) char *jailed = attack(JAILED, user, landlock);
    assert_int_equal(stat(victim, &after), 0);
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
    assert_int_equal(result_of(jailed, "end"), user == 0 ? (int)confine_user() : (int)user);
    CLEANUP(free_ptr) char *free_run = attack(FREE, user, landlock);
    assert_int_equal(stat(victim, &after), -1);
    place_end();

    bool separate = user == 0 && confine_user() != 0;
    unsigned attempts = 0;
    for (const char *line = free_run; *line; line = strchr(line, '\n') + 1) {
        char name[64];
        assert_int_equal(sscanf(line, "%63s", name), 1);
        if (strcmp(name, "end") == 0)
            break;
        attempts++;
        int outside = result_of(free_run, name), inside = result_of(jailed, name);
        if (outside != 0 && is_optional(name))
            print_message("%s is not possible outside of the jail either: %s\n", name, strerror(outside));
        else if (outside != 0)
            fail_msg("%s fails outside of the jail too: %s", name, strerror(outside));
        bool may = !landlock && is_reading(name) && (!separate || is_public(name));
        if (inside == 0 && !may)
            fail_msg("%s succeeds in the jail", name);
    }
    assert_true(attempts > 50);
}

static bool have_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) >= 1;
}

static void an_ordinary_users_check_reaches_nobody(void **state UNUSED)
{
    if (!have_landlock())
        print_message("this kernel has no Landlock: reading is not tested\n");
    compare(geteuid() == 0 ? ORDINARY_USER : geteuid(), have_landlock());
}

static void so_it_is_without_landlock_but_for_reading(void **state UNUSED)
{
    compare(geteuid() == 0 ? ORDINARY_USER : geteuid(), false);
}

static void roots_check_reaches_nobody(void **state UNUSED)
{
    if (geteuid() != 0) {
        print_message("not root\n");
        skip();
    }
    compare(0, have_landlock());
}

static void so_it_is_for_root_without_landlock(void **state UNUSED)
{
    if (geteuid() != 0) {
        print_message("not root\n");
        skip();
    }
    compare(0, false);
}

/* The program's memory, descriptors and privileges are not the parent's. */
static void it_has_no_capability(void **state UNUSED)
{
    const char *const arguments[] = {"/usr/bin/sleep", "60", NULL}, *const environment[] = {NULL};
    if (geteuid() != 0 || !capability_has(1U << CAP_SYS_ADMIN)) {
        print_message("no capabilities to lose\n");
        skip();
    }
    place_begin(0);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    /* Once as a user of its own, once as root. */
    for (int turn = 0; turn < 2; turn++) {
        struct confine_spec spec = {.arguments = arguments,
                                    .environment = environment,
                                    .cwd = place.cwd,
                                    .user = turn ? 0 : confine_user(),
                                    .output_fd = ends[1],
                                    .memory_bytes = (size_t)1 << 30,
                                    .cpu_s = 10,
                                    .descriptors = 100};
        struct err err;
        pid_t pid;
        char line[256];
        unsigned lines = 0;
        assert_int_equal(confine_spawn(&spec, &pid, &err), 0);
        CLEANUP(free_ptr) char *path = xasprintf("/proc/%d/status", (int)pid);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        while (fgets(line, sizeof(line), file)) {
            if (strncmp(line, "Cap", 3) == 0) {
                assert_non_null(strstr(line, ":\t0000000000000000"));
                lines++;
            }
            if (strncmp(line, "NoNewPrivs", 10) == 0 || strncmp(line, "Seccomp:", 8) == 0) {
                assert_true(strchr(line, '\t')[1] > '0');
                lines++;
            }
            if (strncmp(line, "Groups:", 7) == 0 && !turn)
                assert_null(strpbrk(line, "0123456789"));
        }
        fclose(file);
        assert_int_equal(lines, 7);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    close(ends[0]);
    close(ends[1]);
    place_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_users_check_reaches_nobody),
        cmocka_unit_test(so_it_is_without_landlock_but_for_reading),
        cmocka_unit_test(roots_check_reaches_nobody),
        cmocka_unit_test(so_it_is_for_root_without_landlock),
        cmocka_unit_test(it_has_no_capability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
