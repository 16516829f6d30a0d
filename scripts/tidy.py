#!/usr/bin/python3
"""The rules of this tree that no compiler checks; a ctest (tests/tidy).

  scripts/tidy.py              checks the tree; prints PATH:LINE: RULE: what and why; fails if any
  scripts/tidy.py --report     also prints the ten longest files and functions (no limit, a look)
  scripts/tidy.py --self-test  shows on small trees that each rule can fail, and that it can hold

Rules work on a Tree: a mapping from path to text. Adding a rule is adding a function to RULES and
a case to CASES.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import namedtuple

Finding = namedtuple("Finding", "path line rule text")

# Which folder may include from which (docs/architecture.md, "Arrows"). A folder may always include
# from itself. The longest matching folder name decides; tests may include anything.
ARROWS = {
    "base": [],
    "protocol": ["base"],
    "storage": ["base"],
    "broker/core": ["base", "storage"],
    "broker/runtime": ["base", "protocol", "storage", "broker/core"],
    "broker/auth": ["base", "protocol"],
    "broker/session": ["base", "protocol", "storage", "broker/core", "broker/runtime", "broker/auth"],
    "broker/metrics": ["base", "broker/core", "broker/runtime"],
    "broker/management": ["base", "protocol", "broker/core", "broker/runtime", "broker/auth",
                          "broker/metrics", "broker/config"],
    "broker/admin": ["base", "protocol", "storage", "broker/core", "broker/runtime"],
    "broker/config": ["base"],
    "broker": ["base", "protocol", "storage", "broker/core", "broker/runtime", "broker/auth",
               "broker/session", "broker/metrics", "broker/management", "broker/admin", "broker/config"],
    "cli": ["base", "broker/config"],
}

# Single headers that cross where the folder may not: (from folder, pattern of the header).
# Core knows AMQP's values, never its frames and methods. Config gathers every folder's own config.
# The CLI has to find the socket of a running broker.
CROSSINGS = [
    ("broker/core", r"protocol/(value|field_table|properties|reply_code|constants|delay_headers|expiration|utf8"
                    r"|erlang_term)\.h"),
    ("broker/config", r".*_config\.h"),
    ("cli", r"broker/admin/admin_address\.h"),
]

# Libraries whose headers are slow to compile or whose use is the business of one place:
# (pattern of the header, pattern of the files that may include it).
LIBRARIES = [
    (r"rocksdb/", r"storage/[^/]*\.cc"),
    (r"spdlog/", r"base/log\.cc"),
    (r"asio(/|\.hpp)", r"broker/(runtime|session|management|admin)/.*|broker/(app|main)\..*"),
    (r"nlohmann/", r"(broker/(management|admin|config)|cli)/.*\.cc"),
    (r"CLI/", r"broker/config/command_line\.cc|cli/.*"),
    (r"re2/", r"broker/[^/]*/.*\.cc"),
    (r"openssl/", r"broker/(auth|session)/.*\.cc|broker/core/queue_parts/deduplication\.cc"),
    (r"regex$", r"(?!)"),
]

# Words with a home: (pattern, files it is searched in, files where it is right, why).
PRODUCT = r"(base|protocol|storage|broker|cli)/.*\.(h|cc)"
WORDS = [
    (r"\bstd::(shared_|recursive_|timed_)?mutex\b", PRODUCT,
     r"broker/runtime/mailbox\.h|storage/(commit_loop|lane_reader|garbage_collector)\..*",
     "shards share nothing; hand it over through a mailbox"),
    (r"shared_from_this", PRODUCT, r"(?!)", "a shard owns its objects; lend a reference"),
    (r"\basio::post\b", PRODUCT, r"broker/session/(listener|shard_server)\.cc|broker/admin/admin_server\.cc",
     "other shards are reached by a mailbox; only what lies under the mailboxes posts"),
    (r"\bsystem_clock\b", PRODUCT, r"base/clock\.h", "time is an argument; ask the Clock"),
    # Right where sleeping is the matter itself: the one polling helper, a task that takes long, a
    # canary that idles, a child that dies at a random time.
    (r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(", r"tests/.*",
     r"tests/conformance/(harness|celery_app|hostile)\.py|tests/unit/storage/store_crash_child\.cc",
     "await the condition instead of a time"),
]

LEFTOVERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|farm|root)/|\.\./shar" + "ed")
TEXT_FILES = re.compile(r".*\.(h|cc|py|cmake|md|conf|txt|json|js|mjs|sh)$|(scripts|\.ci)/[a-z]+$")


def strip_comments_and_strings(text):
    """The code alone, with every line where it was."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)

    def blank(match):
        found = match.group(0)
        quote = found[-1] if found[0] in "\"'R" else ""
        return quote + "\n" * found.count("\n") + quote

    return pattern.sub(blank, text)


def sources(tree, pattern=r".*\.(h|cc)"):
    return [(path, text) for path, text in sorted(tree.items()) if re.fullmatch(pattern, path)]


def lines_matching(text, pattern):
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.search(line):
            yield number, line.strip()


def folder_of(path):
    inside = [name for name in ARROWS if path.startswith(name + "/")]
    return max(inside, key=len) if inside else None


def includes(text, brackets):
    left, right = brackets
    pattern = re.compile(r"\s*#\s*include\s*" + re.escape(left) + "([^" + re.escape(right) + "]+)")
    for number, line in enumerate(text.splitlines(), 1):
        match = pattern.match(line)
        if match:
            yield number, match.group(1)


def rule_arrows(tree):
    for path, text in sources(tree):
        folder = folder_of(path)
        if folder is None:
            continue
        for line, header in includes(text, '""'):
            target = folder_of(header)
            crosses = any(folder == where and re.fullmatch(what, header) for where, what in CROSSINGS)
            if target is None or target == folder or target in ARROWS[folder] or crosses:
                continue
            yield Finding(path, line, "arrows", f"{folder} may not include {header}")


def rule_libraries(tree):
    for path, text in sources(tree, PRODUCT):
        for line, header in includes(text, "<>"):
            for library, home in LIBRARIES:
                if re.match(library, header) and not re.fullmatch(home, path):
                    yield Finding(path, line, "libraries", f"<{header}> does not belong here")


def rule_words(tree):
    for path, text in sources(tree, r".*\.(h|cc|py|js|mjs)"):
        code = strip_comments_and_strings(text) if path.endswith((".h", ".cc")) else text
        for word, scope, home, why in WORDS:
            if not re.fullmatch(scope, path) or re.fullmatch(home, path):
                continue
            for line, found in lines_matching(code, re.compile(word)):
                yield Finding(path, line, "words", f"{found[:60]}: {why}")


def rule_leftovers(tree):
    for path, text in sources(tree, TEXT_FILES.pattern):
        for line, found in lines_matching(text, LEFTOVERS):
            yield Finding(path, line, "leftovers", f"{found[:60]}: do it or say what holds instead")


def rule_machine_paths(tree):
    for path, text in sources(tree, TEXT_FILES.pattern):
        for line, found in lines_matching(text, MACHINE_PATHS):
            yield Finding(path, line, "machine-paths", f"{found[:60]}: exists on one machine only")


def rule_pragma_once(tree):
    for path, text in sources(tree, r".*\.h"):
        if not re.search(r"^#pragma once$", text, re.M):
            yield Finding(path, 1, "pragma-once", "begin the header with #pragma once")


def rule_listed(tree):
    """Every .cc stands in a CMakeLists.txt at or above it, or in a CMake module. ${variables} stand for anything."""
    listed = []
    for path, text in tree.items():
        if os.path.basename(path) != "CMakeLists.txt" and not path.endswith(".cmake"):
            continue
        folder = os.path.dirname(path)
        for token in re.findall(r"[\w./${}-]+\.cc\b", text):
            token = token.replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
            if token.startswith("${CMAKE_SOURCE_DIR}/"):
                full = token[len("${CMAKE_SOURCE_DIR}/"):]
            else:
                full = os.path.normpath(os.path.join(folder, token))
            pieces = re.split(r"\$\{\w+\}", full)
            listed.append(re.compile(r"[^/]+".join(re.escape(piece) for piece in pieces)))
    for path, _ in sources(tree, r"(base|protocol|storage|broker|cli|tests)/.*\.cc"):
        if not any(pattern.fullmatch(path) for pattern in listed):
            yield Finding(path, 1, "listed", "no CMakeLists.txt builds this file")


RULES = [rule_arrows, rule_libraries, rule_words, rule_leftovers, rule_machine_paths,
         rule_pragma_once, rule_listed]


SCOPE = re.compile(r"\s*(template\s*<.*>\s*)?(inline\s+)?(namespace|class|struct|union|enum|extern)\b"
                   r"(?!.*\)\s*(const|noexcept|override|\s)*$)", re.S)


def function_lengths(text):
    """Guesses (lines, line, name) of each function body: good enough to show the longest."""
    code = re.sub(r"^\s*#[^\n]*", "", strip_comments_and_strings(text), flags=re.M)
    line, depth_of_function, depth, header, start, name = 1, None, 0, "", 1, ""
    for index, char in enumerate(code):
        if char == "\n":
            line += 1
        if depth_of_function is None and char == "{":
            scope = SCOPE.match(header)
            called = re.search(r"([~\w:]+|operator\S+)\s*\(", header)
            depth += 1
            if called and not scope:
                depth_of_function, start, name = depth, line, called.group(1)
            else:
                header = ""
        elif char == "{":
            depth += 1
        elif char == "}":
            if depth == depth_of_function:
                depth_of_function = None
                if not re.match(r"\s*[,{]", code[index + 1:index + 80]):  # else a member initializer
                    yield line - start + 1, start, name
                    header = ""
            elif depth_of_function is None:
                header = ""
            depth -= 1
        elif depth_of_function is None:
            header = "" if char == ";" else header + char


def report(tree):
    files = [(text.count("\n"), path) for path, text in sources(tree)]
    print("Longest files:")
    for count, path in sorted(files, reverse=True)[:10]:
        print(f"  {count:5} {path}")
    functions = [(count, path, line, name) for path, text in sources(tree, PRODUCT)
                 for count, line, name in function_lengths(text)]
    print("Longest functions:")
    for count, path, line, name in sorted(functions, reverse=True)[:10]:
        print(f"  {count:5} {path}:{line} {name}")


# (rule, a tree that breaks it, the same tree put right)
CASES = [
    ("arrows", {"base/a.h": '#pragma once\n#include "protocol/frame.h"\n'},
     {"base/a.h": '#pragma once\n#include "base/bytes.h"\n'}),
    ("arrows", {"protocol/a.h": '#pragma once\n#include "storage/store.h"\n'},
     {"protocol/a.h": '#pragma once\n#include "base/bytes.h"\n'}),
    ("arrows", {"broker/core/a.h": '#pragma once\n#include "protocol/method_codec.h"\n'},
     {"broker/core/a.h": '#pragma once\n#include "protocol/field_table.h"\n'}),
    ("arrows", {"broker/core/a.h": '#pragma once\n#include "broker/runtime/shard.h"\n'},
     {"broker/runtime/a.h": '#pragma once\n#include "broker/core/queue.h"\n'}),
    ("arrows", {"broker/runtime/a.h": '#pragma once\n#include "broker/session/channel.h"\n'},
     {"broker/session/a.h": '#pragma once\n#include "broker/runtime/shard.h"\n'}),
    ("arrows", {"broker/config/a.h": '#pragma once\n#include "storage/store.h"\n'},
     {"broker/config/a.h": '#pragma once\n#include "storage/store_config.h"\n'}),
    ("arrows", {"cli/a.h": '#pragma once\n#include "protocol/frame.h"\n'},
     {"broker/app.h": '#pragma once\n#include "broker/session/sessions.h"\n'}),
    ("arrows", {"cli/a.h": '#pragma once\n#include "broker/admin/admin_server.h"\n'},
     {"cli/a.h": '#pragma once\n#include "broker/admin/admin_address.h"\n'}),
    ("libraries", {"storage/a.h": "#pragma once\n#include <rocksdb/db.h>\n"},
     {"storage/CMakeLists.txt": "a.cc", "storage/a.cc": "#include <rocksdb/db.h>\n"}),
    ("libraries", {"broker/core/a.h": "#pragma once\n#include <asio.hpp>\n"},
     {"broker/session/a.h": "#pragma once\n#include <asio/ip/tcp.hpp>\n"}),
    ("libraries", {"broker/config/a.h": "#pragma once\n#include <CLI/App.hpp>\n"},
     {"broker/config/CMakeLists.txt": "command_line.cc",
      "broker/config/command_line.cc": "#include <CLI/App.hpp>\n"}),
    ("libraries", {"broker/management/a.h": "#pragma once\n#include <nlohmann/json.hpp>\n"},
     {"broker/management/CMakeLists.txt": "a.cc",
      "broker/management/a.cc": "#include <nlohmann/json.hpp>\n"}),
    ("libraries", {"base/a.h": "#pragma once\n#include <spdlog/spdlog.h>\n"},
     {"base/CMakeLists.txt": "log.cc", "base/log.cc": "#include <spdlog/spdlog.h>\n"}),
    ("libraries", {"broker/core/a.h": "#pragma once\n#include <regex>\n"},
     {"broker/core/a.h": "#pragma once\n#include <string>\n"}),
    ("words", {"broker/core/a.h": "#pragma once\nstd::mutex m;\n"},
     {"broker/runtime/mailbox.h": "#pragma once\nstd::mutex m;\n"}),
    ("words", {"broker/session/a.h": "#pragma once\nauto x = shared_from_this();\n"},
     {"broker/session/a.h": "#pragma once\n// no shared_from_this here\n"}),
    ("words", {"broker/session/a.h": "#pragma once\nasio::post(x);\n"},
     {"broker/session/shard_server.cc": "asio::post(x);\n", "broker/session/CMakeLists.txt": "shard_server.cc"}),
    ("words", {"broker/core/a.h": "#pragma once\nauto t = std::chrono::system_clock::now();\n"},
     {"base/clock.h": "#pragma once\nauto t = std::chrono::system_clock::now();\n"}),
    ("words", {"tests/a.py": "time.sleep(1)\n"}, {"tests/a.py": "asleep = 1\n"}),
    ("words", {"tests/a.h": "#pragma once\nstd::this_thread::sleep_for(1ms);\n"},
     {"tests/a.h": '#pragma once\nconst char* s = "sleep_for(1)";\n'}),
    ("leftovers", {"base/a.h": "#pragma once\n// TO" + "DO: later\n"},
     {"base/a.h": "#pragma once\n// todos\n"}),
    ("leftovers", {"scripts/run": "# FIX" + "ME\n"}, {"scripts/run": "# fixed\n"}),
    ("machine-paths", {"README.md": "see /wo" + "rk/main\n"}, {"README.md": "see docs/farming.md\n"}),
    ("machine-paths", {"docs/a.md": "see ../shar" + "ed/design\n"}, {"docs/a.md": "shared\n"}),
    ("pragma-once", {"base/a.h": "int f();\n"}, {"base/a.h": "#pragma once\nint f();\n"}),
    ("listed", {"base/CMakeLists.txt": "SRCS b.cc", "base/a.cc": ""},
     {"base/CMakeLists.txt": "SRCS a.cc", "base/a.cc": ""}),
    ("listed", {"tests/CMakeLists.txt": "unit/b.cc", "tests/unit/a.cc": ""},
     {"tests/CMakeLists.txt": "${CMAKE_SOURCE_DIR}/tests/unit/a.cc", "tests/unit/a.cc": ""}),
    ("listed", {"tests/fuzz/CMakeLists.txt": "${name}_fuzz.cc", "tests/fuzz/a.cc": ""},
     {"tests/fuzz/CMakeLists.txt": "${name}_fuzz.cc", "tests/fuzz/a_fuzz.cc": ""}),
]


def check(tree):
    return [finding for rule in RULES for finding in rule(tree)]


def self_test():
    wrong = []
    for rule, broken, right in CASES:
        if [finding.rule for finding in check(broken)] != [rule]:
            wrong.append(f"{rule} alone should be found in {broken}, not {check(broken)}")
        if check(right):
            wrong.append(f"nothing should be found in {right}, not {check(right)}")
    untested = {rule.__name__[5:].replace("_", "-") for rule in RULES} - {case[0] for case in CASES}
    wrong += [f"rule {name} has no case" for name in untested]

    body = "namespace a {\nstruct S {\n  S() : x_{1},\n        y_(2) {\n    f();\n  }\n};\n" \
           "int g(int a) {\n  if (a) {\n    return 1;\n  }\n  return '{';\n}\n}\n"
    body += "template <class R>\nclass T<R(int)> {\n  void h() const {\n  }\n};\n"
    lengths = [(count, name) for count, _, name in function_lengths(body)]
    if lengths != [(3, "S"), (6, "g"), (2, "h")]:
        wrong.append(f"function lengths: {lengths}")

    for line in wrong:
        print(line)
    print(f"{len(CASES)} cases, {len(wrong)} wrong")
    return not wrong


def load_tree(root):
    known = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
                           cwd=root, capture_output=True, check=True).stdout.decode()
    tree = {}
    for path in filter(None, known.split("\0")):
        full = os.path.join(root, path)
        if TEXT_FILES.fullmatch(path) and os.path.isfile(full):
            with open(full, encoding="utf-8", errors="replace") as file:
                tree[path] = file.read()
    return tree


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="test the rules themselves")
    parser.add_argument("--report", action="store_true", help="print the longest files and functions")
    arguments = parser.parse_args()
    if arguments.self_test:
        return 0 if self_test() else 1

    tree = load_tree(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    findings = check(tree)
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}")
    if arguments.report:
        report(tree)
    print(f"{len(tree)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
