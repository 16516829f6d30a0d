#!/usr/bin/env python3
"""Compares protocol/methods.h with the methods of the AMQP 0-9-1 specification.

check_methods.py                       compare; exit status 1 on a difference (a ctest)
check_methods.py --from-xml SPEC.xml   print the table to compare with, made from the public XML
                                       (amqp0-9-1.extended.xml, with RabbitMQ's extensions)

The table, tests/unit/protocol/spec_methods.txt, has one method per line:
name class-index method-index sender content|plain argument:type...
"""

import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHODS_H = ROOT / "protocol" / "methods.h"
TABLE = ROOT / "tests" / "unit" / "protocol" / "spec_methods.txt"

# What the XML lacks or has wrong.
NOT_IN_XML = [
    # Dropped from 0-9-1, still asked for by old clients and answered by RabbitMQ.
    "access.request 30 10 client plain realm:shortstr exclusive:bit passive:bit active:bit"
    " write:bit read:bit",
    "access.request-ok 30 11 server plain ticket:short",
]
SENDER_IN_FACT = {
    # The XML has the chassis of these two the wrong way round.
    "connection.update-secret": "client",
    "connection.update-secret-ok": "server",
}
ARGUMENT_IN_FACT = {"nowait": "no-wait"}  # confirm.select alone spells it so

CPP_TYPES = {
    "std::uint8_t": {"octet"},
    "std::uint16_t": {"short"},
    "std::uint32_t": {"long"},
    "std::uint64_t": {"longlong"},
    "std::string_view": {"shortstr", "longstr"},
    "TableView": {"table"},
    "bool": {"bit"},
}


def table_from_xml(path):
    spec = ElementTree.parse(path).getroot()
    domains = {d.get("name"): d.get("type") for d in spec.findall("domain")}
    lines = list(NOT_IN_XML)
    for spec_class in spec.findall("class"):
        for method in spec_class.findall("method"):
            name = f"{spec_class.get('name')}.{method.get('name')}"
            # A chassis is who must implement, that is receive, the method.
            receivers = {c.get("name") for c in method.findall("chassis")}
            sender = "both" if len(receivers) == 2 else "client" if "server" in receivers else "server"
            content = "content" if method.get("content") else "plain"
            arguments = [
                ARGUMENT_IN_FACT.get(f.get("name"), f.get("name"))
                + ":"
                + (f.get("type") or domains[f.get("domain")])
                for f in method.findall("field")
            ]
            head = [name, spec_class.get("index"), method.get("index"),
                    SENDER_IN_FACT.get(name, sender), content]
            lines.append(" ".join(head + arguments))
    return sorted(lines, key=lambda line: [int(n) for n in line.split()[1:3]])


def struct_name(method_name):
    return "".join(word.capitalize() for word in re.split(r"[.-]", method_name))


def lines_from_header(text):
    """The structs of methods.h in the form of the table, and complaints about the structs."""
    lines, complaints = [], []
    structs = re.findall(r"^struct (\w+) \{\n(  AMQP_(?:CONTENT_)?METHOD.*?)^\};", text, re.M | re.S)
    for struct, body in structs:
        head = re.match(r'  AMQP_(CONTENT_)?METHOD\((\d+), (\d+), "([^"]+)", (\w+)\);', body)
        content, class_index, method_index, name, sender = head.groups()
        if struct != struct_name(name):
            complaints.append(f"{struct} should be named {struct_name(name)}")
        members = dict(
            (member, cpp_type)
            for cpp_type, member in re.findall(r"^  ([\w:]+) (\w+)(?: = \w+|\{\});", body, re.M)
        )
        arguments = []
        for macro, list_text in re.findall(r"AMQP_(FIELDS|BITS|LONGSTR)\(([^)]*)\)", body):
            for member in re.split(r",\s*", list_text):
                wire_type = {"BITS": "bit", "LONGSTR": "longstr"}.get(macro)
                possible = CPP_TYPES[members.pop(member)]
                if wire_type is None:
                    wire_type = min(possible - {"longstr"})
                if wire_type not in possible:
                    complaints.append(f"{name}: {member} is listed as {wire_type}")
                arguments.append(f"{member.replace('_', '-')}:{wire_type}")
        complaints += [f"{name}: {member} is missing in fields()" for member in members]
        head = [name, class_index, method_index, sender, "content" if content else "plain"]
        lines.append(" ".join(head + arguments))
    listed = re.search(r"using AllMethods =\s*MethodList<([^;]*)>;", text).group(1)
    if re.findall(r"\w+", listed) != [struct for struct, _ in structs]:
        complaints.append("AllMethods must list every struct in the order of the file")
    return lines, complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from-xml", metavar="SPEC.xml")
    arguments = parser.parse_args()
    if arguments.from_xml:
        print("\n".join(table_from_xml(arguments.from_xml)))
        return 0
    wanted = TABLE.read_text().splitlines()
    found, complaints = lines_from_header(METHODS_H.read_text())
    complaints += [f"not in methods.h: {line}" for line in wanted if line not in found]
    complaints += [f"not in the specification: {line}" for line in found if line not in wanted]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"{len(found)} methods in methods.h, {len(wanted)} in the specification")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
