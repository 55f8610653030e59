"""Runs the command argv[2:] under the seccomp profile in the file argv[1], which is in the form that container engines read."""

import json
import os
import sys

import seccomp

profile = json.load(open(sys.argv[1]))


def action(rule):
    name = rule.get("action") or rule.get("defaultAction")
    if name == "SCMP_ACT_ALLOW":
        return seccomp.ALLOW
    assert name == "SCMP_ACT_ERRNO", name
    return seccomp.ERRNO(rule.get("errnoRet", rule.get("defaultErrnoRet", 1)))


default = profile["defaultAction"]
filter = seccomp.SyscallFilter(defaction=action({"defaultAction": default, **profile}))
operators = {"SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ, "SCMP_CMP_EQ": seccomp.EQ}
for rule in profile["syscalls"]:
    # What is done anyway is no rule, here as in container engines.
    if rule["action"] == default:
        continue
    args = [
        seccomp.Arg(arg["index"], operators[arg["op"]], arg["value"], arg["valueTwo"])
        for arg in rule.get("args", [])
    ]
    for name in rule["names"]:
        try:
            filter.add_rule(action(rule), name, *args)
        except RuntimeError:
            # Not every processor has every call.
            if rule["action"] == "SCMP_ACT_ALLOW":
                raise
filter.load()
os.execv(sys.argv[2], sys.argv[2:])
