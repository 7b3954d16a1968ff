/* What haproxy/runtime.h asks of every program; linked into each test. */
#include <signal.h>

__attribute__((constructor)) static void ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}
