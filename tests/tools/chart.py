"""Renders the Helm chart in the folder argv[1] by Helm itself, once for each set of values that stands on standard input as a
JSON list, and holds what comes out to the schemas of Kubernetes. Prints a JSON list: the documents, or {"error": why}."""

import json
import sys

import helm_python
import kubernetes_validate
import yaml
from helm_python.chart import Chart, lint

VERSION = "1.31"


def rendered(chart, values):
    try:
        chart.validate_schema(values)
        files = chart.render(values, name="load", namespace="tests", revision=3)
    except helm_python.HelmError as error:
        return {"error": str(error)}
    documents = []
    for path, text in sorted(files.items()):
        if path.endswith("NOTES.txt"):
            documents.append({"kind": "Notes", "text": text})
            continue
        for document in yaml.safe_load_all(text):
            if document is not None:
                kubernetes_validate.validate(document, VERSION, strict=True)
                documents.append(document)
    return documents


folder = sys.argv[1]
report = lint(folder, json.load(open(sys.argv[2])), strict=True)
bad = [m for m in report["messages"] if m["severity"] >= 2]
assert not bad and not report["errors"], report
chart = Chart.load(folder)
print(json.dumps([rendered(chart, values) for values in json.load(sys.stdin)]))
