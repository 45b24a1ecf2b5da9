"""Names that are known for what a pickle can do with them, in words.

The words are for people; they decide nothing. What a pickle may name is the policy's table, and every name outside it
is refused, whether or not it stands here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ptfile.machine.policy import python3_name

_SHELL = "runs a shell command"
_PROGRAM = "starts a program"
_CODE = "runs Python code"
_IMPORT = "imports code"
_UNPICKLE = "unpickles other data, without any check"
_NATIVE = "calls native code"
_NETWORK = "uses the network"
_FILES = "changes or removes files"
_OPEN = "opens a file"
_REACH = "reaches any attribute of any object"
_CALL = "calls whatever it is given"
_PROCESS = "controls processes"
_DOWNLOAD = "downloads code and runs it"

_OF_MODULES: Mapping[str, str] = {
    **dict.fromkeys(("subprocess", "pty", "_posixsubprocess", "commands", "popen2", "pexpect", "plumbum"), _PROGRAM),
    **dict.fromkeys(
        ("multiprocessing", "concurrent", "threading", "_thread", "signal", "_winapi", "pexpect"), _PROCESS
    ),
    **dict.fromkeys(
        ("runpy", "code", "codeop", "timeit", "profile", "cProfile", "pdb", "bdb", "trace", "doctest"), _CODE
    ),
    **dict.fromkeys(
        ("idlelib", "test", "lib2to3", "pip", "setuptools", "distutils", "ensurepip", "venv", "site"), _CODE
    ),
    **dict.fromkeys(("importlib", "imp", "pkgutil", "zipimport", "_frozen_importlib", "_imp"), _IMPORT),
    **dict.fromkeys(
        ("pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"), _UNPICKLE
    ),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi", "_cffi_backend", "_ctypes_test"), _NATIVE),
    **dict.fromkeys(("socket", "_socket", "ssl", "_ssl", "urllib", "urllib2", "urllib3", "http", "httplib"), _NETWORK),
    **dict.fromkeys(("requests", "httpx", "aiohttp", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib"), _NETWORK),
    **dict.fromkeys(("asyncio", "socketserver", "xmlrpc", "paramiko", "nntplib"), _NETWORK),
    "webbrowser": "opens a web page",
    "antigravity": "opens a web page",
    **dict.fromkeys(("shutil", "tempfile", "zipfile", "tarfile", "fileinput"), _FILES),
    **dict.fromkeys(("io", "_io", "codecs", "linecache", "mmap", "sqlite3"), _OPEN),
    **dict.fromkeys(("operator", "_operator"), _REACH),
    **dict.fromkeys(("functools", "_functools", "itertools"), _CALL),
    **dict.fromkeys(("posix", "nt", "os"), "works on files and processes"),
    **dict.fromkeys(("sys", "gc", "inspect", "atexit", "_xxsubinterpreters"), "changes the running interpreter"),
    "torch.hub": _DOWNLOAD,
    "torch.utils.cpp_extension": "compiles and runs native code",
    "torch.utils.model_zoo": "downloads a file and unpickles it",
    "torch._inductor": "compiles and runs code",
    "torch.distributed.rpc": _CALL,
    "torch.package": _CODE,
    "transformers.dynamic_module_utils": _DOWNLOAD,
    "numpy.testing._private.utils": _CODE,
    "numpy.distutils": _PROGRAM,
    "numpy.f2py": _PROGRAM,
    "pandas.io.pickle": _UNPICKLE,
}
"""By the module, or the package that it is in."""

_BUILTINS: Mapping[str, str] = {
    **dict.fromkeys(("eval", "exec", "execfile", "compile", "breakpoint", "help"), _CODE),
    "__import__": _IMPORT,
    "open": _OPEN,
    "file": _OPEN,
    **dict.fromkeys(("getattr", "setattr", "delattr", "globals", "locals", "vars", "__build_class__"), _REACH),
    **dict.fromkeys(("apply", "map", "filter", "reduce"), _CALL),
    "input": "waits for the user",
}
_OS: Mapping[str, str] = {
    **dict.fromkeys(("system", "popen", "popen2", "popen3", "popen4"), _SHELL),
    **{f"exec{kind}": _PROGRAM for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")},
    **{f"spawn{kind}": _PROGRAM for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")},
    **dict.fromkeys(("posix_spawn", "posix_spawnp", "startfile"), _PROGRAM),
    **dict.fromkeys(("fork", "forkpty", "kill", "killpg", "abort", "_exit"), _PROCESS),
    **dict.fromkeys(("remove", "unlink", "rmdir", "removedirs", "rename", "renames", "replace", "truncate"), _FILES),
    **dict.fromkeys(("chmod", "chown", "link", "symlink", "mkdir", "makedirs", "write", "ftruncate"), _FILES),
    **dict.fromkeys(("open", "fdopen"), _OPEN),
    **dict.fromkeys(("putenv", "unsetenv", "environ"), "changes the environment of programs"),
}
_NAMES: Mapping[tuple[str, str], str] = {
    **{("builtins", name): words for name, words in _BUILTINS.items()},
    **{(module, name): words for module in ("os", "posix", "nt") for name, words in _OS.items()},
    ("subprocess", "getoutput"): _SHELL,
    ("subprocess", "getstatusoutput"): _SHELL,
    ("asyncio", "create_subprocess_shell"): _SHELL,
    ("asyncio.subprocess", "create_subprocess_shell"): _SHELL,
    ("platform", "popen"): _SHELL,
    ("uuid", "_get_command_stdout"): _PROGRAM,
    ("types", "FunctionType"): "makes a function of code in the file",
    ("types", "LambdaType"): "makes a function of code in the file",
    ("types", "CodeType"): "makes a function of code in the file",
    ("new", "function"): "makes a function of code in the file",
    ("new", "code"): "makes a function of code in the file",
    ("torch", "load"): _UNPICKLE,
    ("torch.serialization", "load"): _UNPICKLE,
    ("torch.storage", "_load_from_bytes"): _UNPICKLE,
    ("torch.jit", "load"): _CODE,
    ("torch", "compile"): "compiles and runs code",
    ("torch.utils._config_module", "ConfigModule.load_config"): _UNPICKLE,
    ("numpy", "load"): _UNPICKLE,
    ("numpy.lib.npyio", "load"): _UNPICKLE,
    ("pandas", "read_pickle"): _UNPICKLE,
    ("pathlib", "Path.unlink"): _FILES,
    ("logging.config", "_resolve"): _IMPORT,
    ("pydoc", "locate"): _IMPORT,
    ("pydoc", "pipepager"): _PROGRAM,
    ("bdb", "Bdb.run"): _CODE,
}
"""By the very name, which goes before the module."""
_LONGEST = 300
"""Characters of a name that are looked at: none here is as long."""


def does(module: str, name: str) -> str:
    """What a call of a name is known to do, to follow "which"; empty for a name that is not known for anything.

    >>> does("posix", "system")
    'runs a shell command'
    >>> does("__builtin__", "eval"), does("torch", "serialization.os.system"), does("collections", "OrderedDict")
    ('runs Python code', 'runs a shell command', '')
    """
    module, name = python3_name(module[:_LONGEST], name[:_LONGEST])
    if (module, name) in _NAMES:
        return _NAMES[module, name]
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        words = _OF_MODULES.get(".".join(parts[:length]))
        if words:
            return words
    # A name with dots goes through attributes of the module: what it ends with is what it reaches.
    steps = name.split(".")
    return _NAMES.get((steps[-2], steps[-1]), "") or _OF_MODULES.get(steps[-2], "") if len(steps) > 1 else ""
