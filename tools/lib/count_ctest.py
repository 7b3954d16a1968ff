"""Prints "PASSED FAILED SKIPPED", the number of cmocka tests in a JUnit file of ctest.

One ctest test is a program of many tests, and the program's output says how they went. A program that ended badly
without telling of a failed test (it crashed, a sanitizer stopped it, it took too long) counts as one failure.
"""
import re
import sys
import xml.etree.ElementTree


def main():
    totals = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for case in xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        counts = {
            word: sum(int(n) for n in re.findall(rf"^\[  {word} *\] (?:[^:\n]*: )?(\d+) test\(s\)", output, re.M))
            for word in totals
        }
        if case.get("status") != "run" and counts["FAILED"] == 0:
            counts["FAILED"] = 1
        if sum(counts.values()) == 0:
            sys.exit(f"{case.get('name')} ran no test")
        for word, count in counts.items():
            totals[word] += count
    print(totals["PASSED"], totals["FAILED"], totals["SKIPPED"])


main()
