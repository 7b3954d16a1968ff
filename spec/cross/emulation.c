/* For a program of another machine under QEMU's user emulation, which has no seccomp: the renderer, which does not
 * work without its filter, is told that it has one. In front of the program by /etc/ld.so.preload, in the system of
 * the check alone.
 *
 * The answers are those that libseccomp asks for: "the call exists", "that action exists", "that flag exists", "the
 * filter is loaded". */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/syscall.h>

static long answer(long operation, long arguments)
{
    if (operation == SECCOMP_SET_MODE_STRICT)
        errno = EINVAL;
    else if (operation == SECCOMP_SET_MODE_FILTER && arguments == 0)
        errno = EFAULT;
    else
        return 0;
    return -1;
}

static long call(long number, const long *a)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a[0];
    register long x1 __asm__("x1") = a[1];
    register long x2 __asm__("x2") = a[2];
    register long x3 __asm__("x3") = a[3];
    register long x4 __asm__("x4") = a[4];
    register long x5 __asm__("x5") = a[5];

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

long syscall(long number, ...)
{
    long arguments[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_seccomp)
        return answer(arguments[0], arguments[2]);
    long result = call(number, arguments);
    if (result > -4096 && result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
