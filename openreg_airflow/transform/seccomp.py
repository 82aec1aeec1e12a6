"""The system calls that a script's process may make: those of a program that computes.

The engine's own profile serves every program that people put into containers. This one allows
less: no sockets but pairs between a script's own processes, no tracing, no namespaces, no mounts,
no keys, no BPF, no io_uring, no user faults. What is not listed answers that the kernel does not
know it, which libraries take for an older kernel.
"""

from __future__ import annotations

import json
from typing import Any

#: As the machines of this architecture spell it; the engine adds what belongs to it.
_ARCHITECTURES = (
    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
)
_ENOSYS = 38
#: The flags of clone that make namespaces.
_NEW_NAMESPACES = 0x7E020000
_FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync
    fgetxattr flistxattr flock fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64
    getxattr ioctl lchown lgetxattr link linkat listxattr llistxattr lseek lstat mkdir mkdirat
    newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile splice stat statfs
    statx symlink symlinkat sync_file_range tee truncate umask unlink unlinkat utime utimensat
    utimes write writev inotify_init1 inotify_add_watch inotify_rm_watch
"""
_MEMORY = """
    brk madvise mincore mlock mlock2 mmap mprotect mremap msync munlock munmap memfd_create
    membarrier shmat shmctl shmdt shmget
"""
_PROCESSES = """
    arch_prctl capget execve execveat exit exit_group fork futex futex_waitv get_robust_list
    getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid getppid getpriority
    getresgid getresuid getrlimit getrusage getsid gettid getuid kill pause pidfd_open
    pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_yield set_robust_list
    set_tid_address setitimer setpgid setpriority setrlimit setsid sigaltstack tgkill tkill vfork
    wait4 waitid seccomp
"""
_WAITING = """
    clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 gettimeofday nanosleep poll ppoll pselect6 select
    signalfd signalfd4 time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
    timerfd_create timerfd_gettime timerfd_settime times semctl semget semop semtimedop
"""
_REST = """
    getrandom getsockname getsockopt recvfrom recvmsg sendmsg sendto setsockopt shutdown socketpair
    sysinfo uname
"""


def profile() -> str:
    """The profile as JSON, in the form that Docker takes."""
    return json.dumps({**_rules(), "archMap": _ARCHITECTURES}, separators=(",", ":"))


def node_profile() -> str:
    """The profile as JSON, in the form of the OCI runtime specification, for a cluster's nodes."""
    names: list[str] = []
    for one in _ARCHITECTURES:
        names += [str(one["architecture"]), *one["subArchitectures"]]
    return json.dumps({**_rules(), "architectures": names}, indent=2)


def _rules() -> dict[str, Any]:
    names = sorted(f"{_FILES} {_MEMORY} {_PROCESSES} {_WAITING} {_REST}".split())
    threads = {"index": 0, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [threads]},
            # Older engines know no other default than "not permitted", after which nobody would
            # try clone in place of clone3, whose flags no filter can see.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        ],
    }
