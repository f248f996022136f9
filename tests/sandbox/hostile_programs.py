"""Programs that try to do harm, to use everything up, or to pass without having come to their end.

Each raises nothing if it gets its way, and would then pass: so "not passed" means that it did not. ``CANARY`` and
``FOLDER`` stand for a file outside and the folder around it.
"""

from __future__ import annotations

HARM = {
    "fork bomb": "import os\nwhile True: os.fork()",
    "fork bomb that does not give up": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "thread bomb": """
import threading, time
threading.stack_size(1 << 16)
for _ in range(200): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
""",
    "double fork with a session of its own": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(60)
    os._exit(0)
""",
    "zombie": "import os\nif os.fork() == 0: os._exit(0)",
    "posix_spawn": "import os; os.posix_spawn('/usr/bin/env', ['env'], {})",
    "another program": "import subprocess; subprocess.run(['/usr/bin/env'], check=True)",
    "exec": "import os; os.execv('/usr/bin/env', ['env'])",
    "deletion": "import os; os.unlink(CANARY)",
    "deletion of a tree": "import shutil; shutil.rmtree(FOLDER)",
    "deletion of its own file": "open('/tmp/own', 'w').close(); import os; os.unlink('/tmp/own')",
    "overwriting": "open(CANARY, 'w').write('gone')",
    "appending": "open(CANARY, 'a').write('more')",
    "reading": "open(CANARY).read()",
    "a new file": "open(FOLDER + '/new', 'x')",
    "a new folder": "import os; os.mkdir(FOLDER + '/new')",
    "renaming": "import os; os.rename(CANARY, CANARY + '2')",
    "changing rights": "import os; os.chmod(CANARY, 0o777)",
    "changing times": "import os; os.utime(CANARY, (0, 0))",
    "truncating": "import os; os.truncate(CANARY, 0)",
    "overwriting itself": "import os; open(os.__file__, 'r+b').write(b'x')",
    "symbolic link": "import os; os.symlink(CANARY, '/tmp/link'); open('/tmp/link').read()",
    "hard link": "import os; os.link(CANARY, '/tmp/link')",
    "pipe with a name": "import os; os.mkfifo('/tmp/fifo')",
    "device": "import os; os.mknod('/tmp/device', 0o60666, 0)",
    "shared memory": "open('/dev/shm/sandbox-harm', 'w').write('x')",
    "named shared memory": "from multiprocessing import shared_memory as s; s.SharedMemory('sandbox-harm', True, 99)",
    "memory without a file": "import os; os.memfd_create('x')",
    "inet socket": "import socket; socket.socket(socket.AF_INET)",
    "unix socket": "import socket; socket.socket(socket.AF_UNIX)",
    "pair of sockets": "import socket; socket.socketpair()",
    "netlink socket": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)",
    "name resolution": "import socket; socket.getaddrinfo('example.org', 80)",
    "killing the parent": "import os; os.kill(os.getppid(), 9)",
    "killing everybody": "import os; os.kill(-1, 9)",
    "killing its group": "import os; os.killpg(os.getpgrp(), 9)",
    "the parent's environment": "open(f'/proc/{__import__(\"os\").getppid()}/environ', 'rb').read()",
    "the first process's command": "open('/proc/1/cmdline', 'rb').read()",
    "its own memory by file": "open('/proc/self/mem', 'r+b')",
    "home": "import os; os.listdir('/root') + os.listdir('/home'); open('/etc/passwd').read()",
    "higher limits": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); raise OSError",
    "priority": "import os; os.setpriority(os.PRIO_PROCESS, 0, 5)",
    "blocking pipes for the next": "import os; os.set_blocking(1, False)",
}
EXHAUSTION = {
    "endless output": "while True: print('x' * 100)",
    "endless output without a line": "import os\nwhile True: os.write(2, b'x' * 4096)",
    "memory as a list": "x = []\nwhile True: x.append([0] * 100000)",
    "memory at once": "bytearray(1 << 40)",
    "memory mapped": "import mmap\nx = [mmap.mmap(-1, 1 << 26) for _ in range(100)]",
    "memory mapped, touched": """
import mmap
x = []
while True:
    x.append(mmap.mmap(-1, 1 << 22))
    x[-1].write(b'x' * (1 << 22))
""",
    "memory as text": "x = 'x'\nwhile True: x += x",
    "memory caught": """
x = []
while True:
    try:
        x.append(bytearray(1 << 20))
    except MemoryError:
        pass
""",
    "infinite loop": "while True: pass",
    "infinite loop in C": "sum(iter(int, 1))",
    "sleep": "import time; time.sleep(60)",
    "catching all signals": """
import signal
for number in signal.valid_signals():
    try:
        signal.signal(number, lambda *_: None)
    except (OSError, ValueError):
        pass
while True: pass
""",
    "ignoring the end of its time": """
import signal
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True:
    try:
        while True: pass
    except BaseException:
        pass
""",
    "huge file": "open('/tmp/huge', 'wb').write(bytes(1 << 26))",
    "many files": "for i in range(1000): open(f'/tmp/{i}', 'w').close()",
    "many folders": "import os\nfor i in range(1000): os.mkdir('x'); os.chdir('x')",
    "many descriptors": "x = [open('/dev/null') for _ in range(1000)]",
    "deep recursion": "import sys\nsys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()",
    "deep nesting": "eval('(' * 100000 + ')' * 100000)",
    "compiler": "-" * 500_000 + "1",
    "uncleanable folder": "import os; os.umask(0o777); os.mkdir('/tmp/x'); os.mkdir('/tmp/x/y'); raise OSError",
    "crash": "import sys; exec((lambda: 0).__code__.replace(co_code=b'\\x64\\xff' * 99))",
}
FORGERY = {
    "os._exit(0)": "import os; os._exit(0)",
    "sys.exit(0)": "import sys; sys.exit(0)",
    "SystemExit": "raise SystemExit",
    "SystemExit(0) in a thread's main": "import _thread; _thread.interrupt_main(); __import__('time').sleep(9)",
    "own verdict": "import os; os.write(3, b'passed'); os._exit(0)",
    "own verdict as JSON": 'import os; os.write(3, b\'{"verdict": "passed"}\'); os._exit(0)',
    "the nonce's pipe": "import os; os.write(3, os.read(4, 32)); os._exit(0)",
    "nothing but zeros": "import os; os.write(3, bytes(32)); os._exit(0)",
    "closing everything": "import os; os.closerange(0, 64)",
    "closing the verdict's pipe": "import os; os.close(3)",
    "its own pipe": "import os; r, w = os.pipe(); os.dup2(w, 3)",
    "patched builtins": """
import builtins, os, sys
builtins.exec = builtins.compile = builtins.print = lambda *_, **__: None
builtins.BaseException = builtins.Exception = builtins.AssertionError = type('Other', (), {})
sys.excepthook = sys.unraisablehook = lambda *_: None
assert False
""",
    "patched unittest": """
import unittest
unittest.TestCase.fail = unittest.TestCase.assertEqual = lambda *_: None
raise unittest.SkipTest
""",
    "ending in a finaliser": "import atexit, os; atexit.register(os._exit, 0); raise ValueError",
    "an exception that lies": """
class Lie(BaseException):
    def __str__(self):
        import os
        os.write(3, bytes(32)); os._exit(0)
raise Lie
""",
    "every object of the collector": """
import gc, os, sys
def walk(objects, depth):
    for item in objects:
        if isinstance(item, (bytes, bytearray)) and len(item) == 32: os.write(3, item)
        if depth: walk(gc.get_referents(item), depth - 1)
frame, seen = sys._getframe(), []
while frame:
    seen += [*frame.f_locals.values(), *frame.f_globals.values(), frame.f_code]
    frame = frame.f_back
walk(gc.get_objects() + seen, 2)
os._exit(0)
""",
    "jumping in the frames below": """
import sys
def trace(frame, event, argument):
    if event == 'line':
        try:
            frame.f_lineno = frame.f_lineno + 1
        except ValueError:
            pass
    return trace
frame = sys._getframe().f_back
while frame:
    frame.f_trace = trace
    frame = frame.f_back
sys.settrace(trace)
raise ValueError
""",
    "swapping the report": """
import gc, sys, types
frame = sys._getframe().f_back
while frame:
    for value in [*frame.f_globals.values(), *frame.f_locals.values()]:
        if isinstance(value, types.FunctionType): value.__code__ = (lambda *a, **k: None).__code__
    frame = frame.f_back
raise ValueError
""",
    "ctypes": "import ctypes; ctypes.string_at(0)",
    "ctypes from sys.modules": """
import sys
del sys.modules['ctypes'], sys.modules['_ctypes']
import ctypes
ctypes.CDLL(None)
""",
    "ctypes from its types": """
def below(kind):
    for other in type.__subclasses__(kind):
        yield other
        yield from below(other)
kind = next(kind for kind in below(object) if kind.__name__ == 'c_ulong')
kind.from_address(id(kind))
""",
    "ctypes of another Python": """
import glob, importlib.machinery as m, importlib.util as u
for path in glob.glob('/usr/lib/python3*/lib-dynload/_ctypes.*') + [m.__file__]:
    loader = m.ExtensionFileLoader('_ctypes', path)
    u.module_from_spec(u.spec_from_loader('_ctypes', loader)).sizeof
""",
    "raw memory of the test modules": """
import sys
sys.modules.pop('_testcapi', None)
import _testcapi
""",
    "a library of its own": """
import importlib.machinery as m, importlib.util as u, math
open('/tmp/x.so', 'wb').write(open(math.__spec__.origin, 'rb').read())
loader = m.ExtensionFileLoader('x', '/tmp/x.so')
u.module_from_spec(u.spec_from_loader('x', loader))
""",
    "the rest after its end": "import threading, os, time\nraise ValueError(threading.get_ident())",
}
