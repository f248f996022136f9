"""The system calls by name, with their numbers on each machine, sorted by what a program may do with them.

Numbers are those of the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h).
An entry is ``name x86_64 aarch64``; ``-`` where the machine has no such call. What stands in no list is denied.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

ALLOWED: Final = """
read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; close 3 57; close_range 436 436;
fstat 5 80; newfstatat 262 79; stat 4 -; lstat 6 -; statx 332 291; statfs 137 43; fstatfs 138 44; lseek 8 62;
munmap 11 215; mremap 25 216; madvise 28 233; brk 12 214; rt_sigaction 13 134; rt_sigprocmask 14 135;
rt_sigreturn 15 139; rt_sigpending 127 136; rt_sigtimedwait 128 137; rt_sigsuspend 130 133; sigaltstack 131 132;
access 21 -; faccessat 269 48; faccessat2 439 439; readlink 89 -; readlinkat 267 78; getcwd 79 17; chdir 80 49;
fchdir 81 50; getdents64 217 61; dup 32 23; dup2 33 -; dup3 292 24; pipe 22 -; pipe2 293 59; poll 7 -; ppoll 271 73;
select 23 -; pselect6 270 72; epoll_create 213 -; epoll_create1 291 20; epoll_ctl 233 21; epoll_wait 232 -;
epoll_pwait 281 22; eventfd2 290 19; futex 202 98; futex_waitv 449 449; set_robust_list 273 99; rseq 334 293;
set_tid_address 218 96; exit 60 93; exit_group 231 94; gettid 186 178; getpid 39 172; getppid 110 173;
getpgid 121 155; getpgrp 111 -; getsid 124 156; getuid 102 174; geteuid 107 175; getgid 104 176; getegid 108 177;
getresuid 118 148; getresgid 120 150; getgroups 115 158; clock_gettime 228 113; clock_getres 229 114;
clock_nanosleep 230 115; nanosleep 35 101; gettimeofday 96 169; time 201 -; times 100 153; getrusage 98 165;
uname 63 160; sysinfo 99 179; getrandom 318 278; getcpu 309 168; sched_yield 24 124; sched_getaffinity 204 123;
sched_getparam 143 121; sched_getscheduler 145 120; sched_get_priority_max 146 125; sched_get_priority_min 147 126;
getpriority 140 141; setitimer 38 103; getitimer 36 102; alarm 37 -; pause 34 -; getrlimit 97 163; ftruncate 77 46;
fsync 74 82; fdatasync 75 83; umask 95 166; restart_syscall 219 128; membarrier 324 283
"""
"""Reading what is visible, the own memory, descriptors, threads, clocks and signals to oneself."""
JUDGED: Final = """
open 2 -; openat 257 56; clone 56 220; clone3 435 435; ioctl 16 29; fcntl 72 25; prlimit64 302 261; mkdir 83 -;
mkdirat 258 34; openat2 437 437; mmap 9 222; mprotect 10 226
"""
"""Allowed or not by their arguments, see filter.py."""
FATAL: Final = """
ptrace 101 117; process_vm_readv 310 270; process_vm_writev 311 271; pidfd_getfd 438 438; bpf 321 280;
perf_event_open 298 241; keyctl 250 219; add_key 248 217; request_key 249 218; userfaultfd 323 282;
io_uring_setup 425 425; io_uring_enter 426 426; io_uring_register 427 427; mount 165 40; umount2 166 39;
pivot_root 155 41; move_mount 429 429; open_tree 428 428; fsopen 430 430; fsconfig 431 431; fsmount 432 432;
fspick 433 433; mount_setattr 442 442; unshare 272 97; setns 308 268; chroot 161 51; init_module 175 105;
finit_module 313 273; delete_module 176 106; kexec_load 246 104; kexec_file_load 320 294; reboot 169 142;
swapon 167 224; swapoff 168 225; acct 163 89; quotactl 179 60; open_by_handle_at 304 -; name_to_handle_at 303 -;
fanotify_init 300 262; lookup_dcookie 212 18; syslog 103 116; sethostname 170 161; setdomainname 171 162;
settimeofday 164 170; clock_settime 227 112; adjtimex 159 171; clock_adjtime 305 266; iopl 172 -; ioperm 173 -;
modify_ldt 154 -; personality 135 92; process_madvise 440 440; memfd_secret 447 447;
landlock_create_ruleset 444 444; landlock_add_rule 445 445; landlock_restrict_self 446 446
"""
"""No program that solves an exercise calls these: it is ended on the spot."""
OWN: Final = """
seccomp 317 277; capset 126 91
"""
"""What the sandbox itself calls by number."""

Numbers = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An architecture, as seccomp and the assembler of filters see it."""

    name: str
    audit_arch: int
    """``AUDIT_ARCH_*``: what seccomp finds in ``seccomp_data.arch``."""
    column: int
    """Of the lists above."""
    foreign_from: int | None
    """Numbers from here on belong to another ABI of the same architecture (x32), None where there is none."""

    def numbers(self, names: str) -> Numbers:
        """Number by name, of one of the lists above."""
        rows = (entry.split() for entry in names.split(";"))
        return {row[0]: int(row[self.column]) for row in rows if row[self.column] != "-"}


MACHINES: Final = {
    "x86_64": Machine(name="x86_64", audit_arch=0xC000003E, column=1, foreign_from=0x40000000),
    "aarch64": Machine(name="aarch64", audit_arch=0xC00000B7, column=2, foreign_from=None),
}


def this_machine() -> Machine:
    """The machine that runs this; raises ``OSError`` on one that has no table."""
    name = platform.machine()
    if name not in MACHINES:
        raise OSError(f"no table of system calls for {name}; there are {', '.join(MACHINES)}")
    return MACHINES[name]
